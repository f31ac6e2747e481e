/*
 * text.h
 *		Text that came from a program: its end, and what PostgreSQL takes of it.
 */
#ifndef EVQ_WORKER_TEXT_H
#define EVQ_WORKER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

extern void text_keep_end(Buffer *text, size_t limit);

extern bool text_has_nul(const Buffer *text);
extern bool text_is_blank(const Buffer *text);
extern void text_trim_end(Buffer *text);
extern void text_end_at_line(Buffer *text);
extern void text_make_utf8(Buffer *text);
extern const char *text_last_lines(const Buffer *text, size_t limit);

#endif /* EVQ_WORKER_TEXT_H */
