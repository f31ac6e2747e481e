/*
 * log.c
 *		Lines on standard error.
 */
#include "log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

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

/* One write a line; what comes from outside cannot begin another one. */
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
	(void) !fwrite(line, 1, length, stderr);
}

void
log_write(LogLevel level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_write_list(level, format, arguments);
	va_end(arguments);
}
