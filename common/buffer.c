/*
 * buffer.c
 *		Text that grows.
 */
#include "buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

static void
make_room(Buffer *buffer, size_t more)
{
	size_t wanted = buffer->length + more + 1;

	if (wanted <= buffer->room)
		return;
	buffer->room = buffer->room * 2 > wanted ? buffer->room * 2 : wanted;
	buffer->data = memory_grow(buffer->data, buffer->room);
}

void
buffer_append(Buffer *buffer, const char *data, size_t length)
{
	make_room(buffer, length);
	memcpy(buffer->data + buffer->length, data, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
}

void
buffer_text(Buffer *buffer, const char *text)
{
	buffer_append(buffer, text, strlen(text));
}

void
buffer_format(Buffer *buffer, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	make_room(buffer, (size_t) length);
	va_start(arguments, format);
	vsnprintf(buffer->data + buffer->length, (size_t) length + 1, format, arguments);
	va_end(arguments);
	buffer->length += (size_t) length;
}

/* The length of the UTF-8 character at the beginning, which may be a NUL; 0 = there is none. */
size_t
buffer_utf8_length(const char *bytes, size_t length)
{
	const unsigned char *text = (const unsigned char *) bytes;
	static const struct
	{
		unsigned char first, last, second_first, second_last;
		size_t length;
	} forms[] = {
		{0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
		{0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
		{0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
	{
		if (text[0] < forms[i].first || text[0] > forms[i].last)
			continue;
		if (forms[i].length > length)
			return 0;
		if (forms[i].length > 1 && (text[1] < forms[i].second_first || text[1] > forms[i].second_last))
			return 0;
		for (size_t n = 2; n < forms[i].length; n++)
		{
			if ((text[n] & 0xC0) != 0x80)
				return 0;
		}
		return forms[i].length;
	}
	return 0;
}

bool
buffer_is_utf8(const char *text, size_t length)
{
	while (length > 0)
	{
		size_t step = buffer_utf8_length(text, length);

		if (step == 0)
			return false;
		text += step;
		length -= step;
	}
	return true;
}

/* The text, which is the caller's to free; the buffer is empty afterwards. */
char *
buffer_take(Buffer *buffer)
{
	char *data = buffer->data != NULL ? buffer->data : memory_text("", 0);

	memset(buffer, 0, sizeof(*buffer));
	return data;
}

void
buffer_free(Buffer *buffer)
{
	free(buffer->data);
	memset(buffer, 0, sizeof(*buffer));
}
