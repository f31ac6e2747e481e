/*
 * target.c
 *		The target of a request. Nothing here trusts the bytes.
 */
#include "target.h"

#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "memory.h"

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Decodes in place; false = a broken escape, a NUL, a control character or bytes that are not UTF-8. */
static bool
decode(char *text, bool plus_is_space)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++)
	{
		char c = *from;

		if (c == '%')
		{
			int high = hex_digit(from[1]);
			int low = high < 0 ? -1 : hex_digit(from[2]);

			if (low < 0)
				return false;
			c = (char) (high * 16 + low);
			from += 2;
		}
		else if (c == '+' && plus_is_space)
			c = ' ';
		if ((unsigned char) c < ' ' || c == 127)
			return false;
		*to++ = c;
	}
	*to = '\0';
	return buffer_is_utf8(text, (size_t) (to - text));
}

/* Cuts the text at the separator and returns what follows, NULL where there is none. */
static char *
cut(char *text, char separator)
{
	char *found = strchr(text, separator);

	if (found == NULL)
		return NULL;
	*found = '\0';
	return found + 1;
}

static const char *
add_parameter(Target *target, char *pair)
{
	char *value = cut(pair, '=');

	if (target->parameter_count == TARGET_PARAMETERS)
		return "the query has too many parameters";
	if (!decode(pair, true) || (value != NULL && !decode(value, true)))
		return "the query is not properly encoded";
	for (int i = 0; i < target->parameter_count; i++)
	{
		if (strcmp(target->names[i], pair) == 0)
			return "the query has a parameter twice";
	}
	target->names[target->parameter_count] = pair;
	target->values[target->parameter_count] = value != NULL ? value : pair + strlen(pair);
	target->parameter_count++;
	return NULL;
}

/* Returns what is wrong with it, NULL = nothing. Either way the target is to be freed. */
const char *
target_parse(Target *target, const char *raw)
{
	char *segment;
	char *query;

	memset(target, 0, sizeof(*target));
	target->storage = memory_string(raw);
	query = cut(target->storage, '?');
	target->path = memory_string(target->storage);
	if (target->storage[0] != '/')
		return "the target is not a path";
	if (strchr(raw, '#') != NULL)
		return "the target has a fragment";

	segment = target->storage + 1;
	while (segment != NULL && (*segment != '\0' || target->segment_count > 0))
	{
		char *next = cut(segment, '/');

		if (!decode(segment, false))
			return "the path is not properly encoded";
		if (target->segment_count < TARGET_SEGMENTS)
			target->segments[target->segment_count] = segment;
		target->segment_count++;
		segment = next;
	}
	while (query != NULL)
	{
		char *next = cut(query, '&');
		const char *problem = *query == '\0' ? NULL : add_parameter(target, query);

		if (problem != NULL)
			return problem;
		query = next;
	}
	return NULL;
}

void
target_free(Target *target)
{
	free(target->path);
	free(target->storage);
	memset(target, 0, sizeof(*target));
}
