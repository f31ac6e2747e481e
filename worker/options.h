/*
 * options.h
 *		What the command line says.
 */
#ifndef EVQ_WORKER_OPTIONS_H
#define EVQ_WORKER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "clock.h"

typedef struct Options
{
	const char *flow;
	const char *types; /* an array as PostgreSQL reads it, NULL = all */
	const char *name;
	const char *conninfo; /* NULL = what the environment says */
	int concurrency;
	int batch;
	bool listen;
	bool show_stderr;
	Millis poll;
	Millis heartbeat;
	Millis grace;
	Millis drain;
	double permit_for; /* seconds, 0 = the event type's attempt_timeout */
	double snooze;     /* seconds */
	size_t max_output;
	char **command; /* the handler and its arguments */
} Options;

/* Ends the program where the command line asks for help or the version, or is wrong. */
extern void options_read(int argc, char **argv, Options *options);

#endif /* EVQ_WORKER_OPTIONS_H */
