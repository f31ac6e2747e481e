/*
 * log.c
 *		Lines on standard error.
 */
#include "log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "outlet.h"

LogLevel log_level = LOG_LEVEL_INFO;

static const char *const level_names[LOG_LEVEL_COUNT] = {"error", "warning", "info", "debug"};

/* -1 = no such level. */
int
log_level_from_name(const char *name)
{
	for (int i = 0; i < LOG_LEVEL_COUNT; i++)
	{
		if (strcmp(name, level_names[i]) == 0)
			return i;
	}
	return -1;
}

/* Lines that found no room, as nobody reads what was written before, are told of once there is some. */
static unsigned long lost;

static void
tell_lost(void)
{
	static bool telling;
	unsigned long count = lost;

	if (count == 0 || telling)
		return;
	telling = true;
	lost = 0;
	log_write(LOG_LEVEL_ERROR, "lines of the log are lost count=%lu", count);
	if (lost > 0)
		lost = count;
	telling = false;
}

/* What comes from outside cannot begin another line. */
void
log_write_list(LogLevel level, const char *format, va_list arguments)
{
	char line[2048];
	struct timespec now;
	struct tm parts;
	size_t length;
	int written;

	if (level > log_level)
		return;
	tell_lost();
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	length = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &parts);
	length += (size_t) snprintf(line + length, sizeof(line) - length, ".%03ldZ %s ", now.tv_nsec / 1000000,
								level_names[level]);
	written = vsnprintf(line + length, sizeof(line) - length, format, arguments);
	if (written > 0)
		length += (size_t) written;
	if (length > sizeof(line) - 2)
		length = sizeof(line) - 2;
	while (length > 0 && line[length - 1] == '\n')
		length--;
	for (size_t i = 0; i < length; i++)
	{
		if ((unsigned char) line[i] < ' ' || line[i] == 127)
			line[i] = ' ';
	}
	line[length++] = '\n';
	if (!outlet_write(line, length))
		lost++;
}

void
log_write(LogLevel level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_write_list(level, format, arguments);
	va_end(arguments);
}
