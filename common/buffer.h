/*
 * buffer.h
 *		Text that grows.
 */
#ifndef EVQ_COMMON_BUFFER_H
#define EVQ_COMMON_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

/* data is NULL while nothing was appended, else followed by a NUL. */
typedef struct Buffer
{
	char *data;
	size_t length;
	size_t room;
} Buffer;

extern void buffer_append(Buffer *buffer, const char *data, size_t length);
extern void buffer_text(Buffer *buffer, const char *text);
extern void buffer_format(Buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern char *buffer_take(Buffer *buffer);
extern void buffer_free(Buffer *buffer);

extern size_t buffer_utf8_length(const char *bytes, size_t length);
extern bool buffer_is_utf8(const char *text, size_t length);

#endif /* EVQ_COMMON_BUFFER_H */
