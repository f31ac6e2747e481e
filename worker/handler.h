/*
 * handler.h
 *		The process that works on one event, and its pipes: stdin, stdout, stderr and that of its report.
 */
#ifndef EVQ_WORKER_HANDLER_H
#define EVQ_WORKER_HANDLER_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "text.h"

#define HANDLER_PIPES 4

/* The descriptor of the report in the handler, and the name of the file that it can be opened by. */
#define HANDLER_REPORT_FD 3
#define HANDLER_REPORT_FILE "/dev/fd/3"
#define HANDLER_STDOUT_FILE "/dev/fd/1"

typedef struct Handler Handler;

/* How it ended: exit status, or the signal that killed it. */
typedef struct HandlerEnd
{
	bool by_signal;
	int number;
} HandlerEnd;

/* Called with each line that comes from stdout or stderr, NULL = nobody wants them. */
typedef void (*HandlerLine)(void *context, const char *line);

/* What all handlers of a worker have in common. */
typedef struct HandlerSetting
{
	char **command;
	sigset_t signal_mask;
	bool reports_on_stdout;
	size_t max_report;
	rlim_t file_limit; /* how many files a handler may open, as the worker at its start */
	HandlerLine take_printed;
	HandlerLine take_complaint;
} HandlerSetting;

/* variables: "NAME=value", then NULL; input becomes the handler's; NULL = it could not be started, see errno. */
extern Handler *
handler_start(const HandlerSetting *setting, char *const *variables, Buffer *input, void *line_context);

extern void handler_ask_poll(const Handler *handler, struct pollfd polls[HANDLER_PIPES]);
extern void handler_exchange(Handler *handler, const struct pollfd polls[HANDLER_PIPES]);
extern void handler_signal(const Handler *handler, int number);

/* True once it has ended; its processes are gone then, and its output is complete. */
extern bool handler_has_ended(Handler *handler, HandlerEnd *end);

extern bool handler_is(const Handler *handler, pid_t pid);

extern bool handler_reported_too_much(const Handler *handler);
extern Buffer *handler_report(Handler *handler);
extern Buffer *handler_complaint(Handler *handler);
extern void handler_free(Handler *handler);

#endif /* EVQ_WORKER_HANDLER_H */
