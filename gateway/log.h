/*
 * log.h
 *		Lines on standard error: time, level, what happened, key=value.
 */
#ifndef EVQ_GATEWAY_LOG_H
#define EVQ_GATEWAY_LOG_H

#include <stdarg.h>

typedef enum LogLevel
{
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_COUNT
} LogLevel;

extern LogLevel log_level;

extern int log_level_from_name(const char *name);
extern void log_write(LogLevel level, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern void
log_write_list(LogLevel level, const char *format, va_list arguments) __attribute__((format(printf, 2, 0)));

#endif /* EVQ_GATEWAY_LOG_H */
