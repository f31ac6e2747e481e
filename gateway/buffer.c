/*
 * buffer.c
 *		Text that grows, and JSON strings in it.
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

/* The length of the UTF-8 character at the beginning; 0 = there is none. */
static size_t
utf8_length(const unsigned char *text, size_t length)
{
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
		size_t step = utf8_length((const unsigned char *) text, length);

		if (step == 0)
			return false;
		text += step;
		length -= step;
	}
	return true;
}

/* Whatever the bytes, the result is a JSON string: what is not UTF-8 becomes U+FFFD. */
void
buffer_json_string(Buffer *buffer, const char *text)
{
	size_t left = strlen(text);

	buffer_append(buffer, "\"", 1);
	while (left > 0)
	{
		unsigned char c = (unsigned char) *text;
		size_t step = utf8_length((const unsigned char *) text, left);

		if (step == 0)
		{
			buffer_text(buffer, "\xEF\xBF\xBD");
			step = 1;
		}
		else if (c == '"' || c == '\\')
			buffer_format(buffer, "\\%c", c);
		else if (c < ' ' || c == 127)
			buffer_format(buffer, "\\u%04x", c);
		else
			buffer_append(buffer, text, step);
		text += step;
		left -= step;
	}
	buffer_append(buffer, "\"", 1);
}

/* A member of an object that has been opened with "{"; none for a NULL text. */
void
buffer_json_pair(Buffer *buffer, const char *name, const char *text)
{
	if (text == NULL)
		return;
	if (buffer->data[buffer->length - 1] != '{')
		buffer_append(buffer, ",", 1);
	buffer_json_string(buffer, name);
	buffer_append(buffer, ":", 1);
	buffer_json_string(buffer, text);
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
