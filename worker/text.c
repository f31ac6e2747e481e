/*
 * text.c
 *		Text that grows, or of which the end is kept.
 */
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "text.h"

void
text_add(Text *text, const char *data, size_t length)
{
	size_t needed = text->length + length + 1;

	if (needed > text->room)
	{
		text->room = needed > 2 * text->room ? needed : 2 * text->room;
		text->data = memory_resized(text->data, text->room);
	}
	memcpy(text->data + text->length, data, length);
	text->length += length;
	text->data[text->length] = '\0';
}

void
text_add_string(Text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

/* Drops all but the last limit bytes. */
void
text_keep_end(Text *text, size_t limit)
{
	if (text->length > limit)
	{
		memmove(text->data, text->data + text->length - limit, limit + 1);
		text->length = limit;
	}
}

void
text_reset(Text *text)
{
	free(text->data);
	*text = (Text){0};
}

bool
text_has_nul(const Text *text)
{
	return text->length > 0 && memchr(text->data, '\0', text->length) != NULL;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool
text_is_blank(const Text *text)
{
	for (size_t i = 0; i < text->length; i++)
	{
		if (!is_space(text->data[i]))
			return false;
	}
	return true;
}

void
text_trim_end(Text *text)
{
	while (text->length > 0 && is_space(text->data[text->length - 1]))
		text->data[--text->length] = '\0';
}

/* The length of the UTF-8 character at the position, 0 if it is none that PostgreSQL takes. */
static size_t
character_length(const unsigned char *at, size_t left)
{
	size_t length;
	unsigned char least =
		0x80; /* bounds of the second byte: no overlong form, no surrogate, no more than 10FFFF */
	unsigned char most = 0xBF;

	if (at[0] == '\0')
		return 0;
	if (at[0] < 0x80)
		return 1;
	if (at[0] < 0xC2 || at[0] > 0xF4)
		return 0;
	length = at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
	if (at[0] == 0xE0)
		least = 0xA0;
	else if (at[0] == 0xED)
		most = 0x9F;
	else if (at[0] == 0xF0)
		least = 0x90;
	else if (at[0] == 0xF4)
		most = 0x8F;
	if (length > left || at[1] < least || at[1] > most)
		return 0;
	for (size_t i = 2; i < length; i++)
	{
		if (at[i] < 0x80 || at[i] > 0xBF)
			return 0;
	}
	return length;
}

/* Replaces each byte that is not part of valid UTF-8, NUL included. */
void
text_make_utf8(Text *text)
{
	for (size_t i = 0; i < text->length;)
	{
		size_t length = character_length((unsigned char *) text->data + i, text->length - i);

		if (length == 0)
			text->data[i++] = '?';
		else
			i += length;
	}
}

/* Where the last whole lines begin that fit into limit bytes; in the middle of the last line if that does not fit. */
const char *
text_last_lines(const Text *text, size_t limit)
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
