/*
 * database.h
 *		The connection: opened again whenever it is lost, with one statement on its way at a time.
 */
#ifndef EVQ_WORKER_DATABASE_H
#define EVQ_WORKER_DATABASE_H

#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>

#include "clock.h"

typedef struct Database Database;

typedef enum DatabaseNews
{
	DATABASE_NO_NEWS,
	DATABASE_CONNECTED,
	DATABASE_LOST,     /* whether the statement on its way was carried out is unknown */
	DATABASE_HOPELESS, /* at the start: no such database, role or password */
	DATABASE_REPLIED
} DatabaseNews;

extern Database *database_create(const char *conninfo, const char *application_name);
extern void database_destroy(Database *database);

extern void database_ask_poll(const Database *database, struct pollfd *poll);
extern Millis database_wake_at(const Database *database);
extern DatabaseNews database_advance(Database *database, short revents, Millis now);

extern bool database_is_free(const Database *database);
extern bool database_is_waiting(const Database *database);
extern void
database_send(Database *database, Millis now, const char *statement, int count, const char *const *values);
extern const PGresult *database_reply(const Database *database);
extern char *database_take_notification(Database *database);

/* The connection serves: the next loss is answered without delay. */
extern void database_is_good(Database *database);
/* Another one is to be tried first, where the connection string has several. */
extern void database_leave_server(Database *database, Millis now, const char *why);

extern char *database_quoted(Database *database, const char *name);

#endif /* EVQ_WORKER_DATABASE_H */
