/*
 * text.c
 *		Text that came from a program: its end, and what PostgreSQL takes of it.
 */
#include <string.h>

#include "text.h"

/* Drops all but the last limit bytes. */
void
text_keep_end(Buffer *text, size_t limit)
{
	if (text->length > limit)
	{
		memmove(text->data, text->data + text->length - limit, limit + 1);
		text->length = limit;
	}
}

bool
text_has_nul(const Buffer *text)
{
	return text->length > 0 && memchr(text->data, '\0', text->length) != NULL;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool
text_is_blank(const Buffer *text)
{
	for (size_t i = 0; i < text->length; i++)
	{
		if (!is_space(text->data[i]))
			return false;
	}
	return true;
}

void
text_trim_end(Buffer *text)
{
	while (text->length > 0 && is_space(text->data[text->length - 1]))
		text->data[--text->length] = '\0';
}

/* Drops what follows the last line's end. */
void
text_end_at_line(Buffer *text)
{
	while (text->length > 0 && text->data[text->length - 1] != '\n')
		text->data[--text->length] = '\0';
}

/* Replaces each byte that is not part of valid UTF-8, NUL included. */
void
text_make_utf8(Buffer *text)
{
	for (size_t i = 0; i < text->length;)
	{
		const char *at = text->data + i;
		size_t length = *at == '\0' ? 0 : buffer_utf8_length(at, text->length - i);

		if (length == 0)
			text->data[i++] = '?';
		else
			i += length;
	}
}

/* Where the last whole lines begin that fit into limit bytes; in the middle of the last line if that does not fit. */
const char *
text_last_lines(const Buffer *text, size_t limit)
{
	const char *start;
	const char *newline;

	if (text->length <= limit)
		return text->data;
	start = text->data + text->length - limit;
	newline = strchr(start, '\n');
	if (start[-1] == '\n')
		return start;
	if (newline != NULL)
		return newline + 1;
	while (((unsigned char) *start & 0xC0) == 0x80)
		start++;
	return start;
}
