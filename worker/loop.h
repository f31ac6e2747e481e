/*
 * loop.h
 *		The worker: one loop over the connection and the handlers.
 */
#ifndef EVQ_WORKER_LOOP_H
#define EVQ_WORKER_LOOP_H

#include "options.h"

/* Serves until told to end by SIGTERM or SIGINT; returns the exit status. */
extern int loop_run(const Options *options);

#endif /* EVQ_WORKER_LOOP_H */
