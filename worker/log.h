/*
 * log.h
 *		One line on stderr for each thing that happened, in the form key=value.
 */
#ifndef EVQ_WORKER_LOG_H
#define EVQ_WORKER_LOG_H

#include <stdbool.h>

typedef enum LogLevel
{
	LOG_INFO,
	LOG_WARNING,
	LOG_ERROR
} LogLevel;

extern void log_quietly(void);

/* Pairs of key and value follow the message, then NULL; a pair whose value is NULL is left out. */
extern void log_write(LogLevel level, const char *message, ...) __attribute__((sentinel));

#endif /* EVQ_WORKER_LOG_H */
