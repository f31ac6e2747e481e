/*
 * handler.h
 *		The process that works on one event, and its three pipes.
 */
#ifndef EVQ_WORKER_HANDLER_H
#define EVQ_WORKER_HANDLER_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>

#include "text.h"

#define HANDLER_PIPES 3

typedef struct Handler Handler;

/* How it ended: exit status, or the signal that killed it. */
typedef struct HandlerEnd
{
	bool by_signal;
	int number;
} HandlerEnd;

/* Called with each line that comes from stderr, NULL = nobody wants them. */
typedef void (*HandlerLine)(void *context, const char *line);

/* What all handlers of a worker have in common. */
typedef struct HandlerSetting
{
	char **command;
	sigset_t signal_mask;
	size_t max_output;
	HandlerLine take_line;
} HandlerSetting;

/* variables: "NAME=value", then NULL; input becomes the handler's; NULL = it could not be started, see errno. */
extern Handler *
handler_start(const HandlerSetting *setting, char *const *variables, Buffer *input, void *line_context);

extern void handler_ask_poll(const Handler *handler, struct pollfd polls[HANDLER_PIPES]);
extern void handler_exchange(Handler *handler, const struct pollfd polls[HANDLER_PIPES]);
extern void handler_signal(const Handler *handler, int number);

/* True once it has ended; its processes are gone then, and its output is complete. */
extern bool handler_has_ended(Handler *handler, HandlerEnd *end);

extern bool handler_wrote_too_much(const Handler *handler);
extern Buffer *handler_output(Handler *handler);
extern Buffer *handler_complaint(Handler *handler);
extern void handler_free(Handler *handler);

#endif /* EVQ_WORKER_HANDLER_H */
