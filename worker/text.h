/*
 * text.h
 *		Text that grows, or of which the end is kept.
 */
#ifndef EVQ_WORKER_TEXT_H
#define EVQ_WORKER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* data is NULL until something was added, then ends with a NUL that length does not count. */
typedef struct Text
{
	char *data;
	size_t length;
	size_t room;
} Text;

extern void text_add(Text *text, const char *data, size_t length);
extern void text_add_string(Text *text, const char *string);
extern void text_keep_end(Text *text, size_t limit);
extern void text_reset(Text *text);

extern bool text_has_nul(const Text *text);
extern bool text_is_blank(const Text *text);
extern void text_trim_end(Text *text);
extern void text_make_utf8(Text *text);
extern const char *text_last_lines(const Text *text, size_t limit);

#endif /* EVQ_WORKER_TEXT_H */
