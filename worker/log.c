/*
 * log.c
 *		One line on stderr for each thing that happened, in the form key=value.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "log.h"
#include "outlet.h"

/* Longer lines are cut, between characters. */
#define LINE_ROOM 4096

typedef struct Line
{
	char text[LINE_ROOM];
	size_t length;
} Line;

static bool quiet = false;

/* Lines that found no room, as nobody reads what was written before, are told of once there is some. */
static unsigned long lost;

void
log_quietly(void)
{
	quiet = true;
}

static void
put_char(Line *line, char c)
{
	/* The newline always has room. */
	if (line->length < LINE_ROOM - 1)
		line->text[line->length++] = c;
}

static void
put_plain(Line *line, const char *text)
{
	while (*text != '\0')
		put_char(line, *text++);
}

static bool
is_control(char c)
{
	return (unsigned char) c < ' ' || c == 0x7F;
}

static bool
is_plain(const char *value)
{
	for (const char *at = value; *at != '\0'; at++)
	{
		if (is_control(*at) || strchr(" \"=\\", *at) != NULL)
			return false;
	}
	return value[0] != '\0';
}

/* In quotes where a reader, or a terminal, could take it for something else. */
static void
put_value(Line *line, const char *value)
{
	if (is_plain(value))
	{
		put_plain(line, value);
		return;
	}
	put_char(line, '"');
	for (; *value != '\0'; value++)
	{
		if (*value == '\n')
			put_plain(line, "\\n");
		else if (is_control(*value))
		{
			char escaped[8];

			snprintf(escaped, sizeof(escaped), "\\x%02x", (unsigned char) *value);
			put_plain(line, escaped);
		}
		else
		{
			if (*value == '"' || *value == '\\')
				put_char(line, '\\');
			put_char(line, *value);
		}
	}
	put_char(line, '"');
}

static void
put_time(Line *line)
{
	struct timeval now;
	struct tm broken_down;
	char text[40];
	size_t length;

	gettimeofday(&now, NULL);
	gmtime_r(&now.tv_sec, &broken_down);
	length = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &broken_down);
	snprintf(text + length, sizeof(text) - length, ".%03dZ", (int) (now.tv_usec / 1000));
	put_plain(line, text);
}

static void
tell_lost(void)
{
	static bool telling;
	unsigned long count = lost;
	char number[24];

	if (count == 0 || telling)
		return;
	telling = true;
	lost = 0;
	snprintf(number, sizeof(number), "%lu", count);
	log_write(LOG_ERROR, "lines of the log are lost", "count", number, NULL);
	if (lost > 0)
		lost = count;
	telling = false;
}

void
log_write(LogLevel level, const char *message, ...)
{
	static const char *const names[] = {"info", "warning", "error"};
	Line line = {.length = 0};
	const char *key;
	va_list pairs;

	if (quiet && level == LOG_INFO)
		return;
	tell_lost();
	put_plain(&line, "time=");
	put_time(&line);
	put_plain(&line, " level=");
	put_plain(&line, names[level]);
	put_plain(&line, " msg=");
	put_value(&line, message);
	va_start(pairs, message);
	while ((key = va_arg(pairs, const char *)) != NULL)
	{
		const char *value = va_arg(pairs, const char *);

		if (value == NULL)
			continue;
		put_char(&line, ' ');
		put_plain(&line, key);
		put_char(&line, '=');
		put_value(&line, value);
	}
	va_end(pairs);
	line.text[line.length++] = '\n';

	if (!outlet_write(line.text, line.length))
		lost++;
}
