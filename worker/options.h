/*
 * options.h
 *		What the command line says.
 */
#ifndef EVQ_WORKER_OPTIONS_H
#define EVQ_WORKER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

#include "clock.h"

typedef struct Options
{
	const char *flows; /* an array as PostgreSQL reads it */
	const char **flow_names;
	int *flow_weights;
	int flow_count;
	const char *types; /* an array as PostgreSQL reads it, NULL = all */
	const char *name;
	const char *conninfo; /* NULL = what the environment says */
	int concurrency;
	int batch;
	int events_per_run; /* of a batch that a handler gets; 0 = one event, and no batch */
	bool listen;
	bool show_stderr;
	bool reports_on_stdout;
	Millis poll;
	Millis heartbeat;
	Millis grace;
	Millis drain;
	double permit_for; /* seconds, 0 = the event type's attempt_timeout */
	double snooze;     /* seconds */
	Millis timeout;    /* of a handler; 0 = none, below 0 = the event type's attempt_timeout */
	size_t max_report; /* bytes */
	rlim_t file_limit; /* of the files that handlers may open */
	char **command;    /* the handler and its arguments */
} Options;

/* Ends the program where the command line asks for help or the version, or is wrong. */
extern void options_read(int argc, char **argv, Options *options);

#endif /* EVQ_WORKER_OPTIONS_H */
