/*
 * buffer.h
 *		Text that grows, and JSON strings in it.
 */
#ifndef EVQ_GATEWAY_BUFFER_H
#define EVQ_GATEWAY_BUFFER_H

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
extern void buffer_json_string(Buffer *buffer, const char *text);
extern void buffer_json_pair(Buffer *buffer, const char *name, const char *text);
extern char *buffer_take(Buffer *buffer);
extern void buffer_free(Buffer *buffer);

extern bool buffer_is_utf8(const char *text, size_t length);

#endif /* EVQ_GATEWAY_BUFFER_H */
