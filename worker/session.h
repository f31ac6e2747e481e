/*
 * session.h
 *		What the worker asks of the server, and what it makes of the answers.
 */
#ifndef EVQ_WORKER_SESSION_H
#define EVQ_WORKER_SESSION_H

#include "job.h"

typedef struct Session Session;

extern Session *session_create(const Options *options, Jobs *jobs);
extern void session_destroy(Session *session);

extern void session_ask_poll(const Session *session, struct pollfd *poll);
extern void session_advance(Session *session, short revents, Millis now);
extern void session_ask(Session *session, Millis now);
extern Millis session_wake_at(const Session *session);

/* From now on nothing is acquired; what an answer on its way still brings is given back. */
extern void session_stop_acquiring(Session *session);
extern bool session_is_waiting(const Session *session);

/* Is there no hope that it will ever acquire anything? It was logged why. */
extern bool session_is_hopeless(const Session *session);

#endif /* EVQ_WORKER_SESSION_H */
