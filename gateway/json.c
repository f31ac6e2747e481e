/*
 * json.c
 *		JSON strings.
 */
#include "json.h"

#include <string.h>

/* Whatever the bytes, the result is a JSON string: what is not UTF-8 becomes U+FFFD. */
void
json_string(Buffer *buffer, const char *text)
{
	size_t left = strlen(text);

	buffer_append(buffer, "\"", 1);
	while (left > 0)
	{
		unsigned char c = (unsigned char) *text;
		size_t step = buffer_utf8_length(text, left);

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
json_pair(Buffer *buffer, const char *name, const char *text)
{
	if (text == NULL)
		return;
	if (buffer->data[buffer->length - 1] != '{')
		buffer_append(buffer, ",", 1);
	json_string(buffer, name);
	buffer_append(buffer, ":", 1);
	json_string(buffer, text);
}
