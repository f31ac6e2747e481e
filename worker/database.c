/*
 * database.c
 *		The connection: opened again whenever it is lost, with one statement on its way at a time.
 *
 * Nothing is repeated here. When the connection is lost, so is the statement;
 * who sent it knows whether it may be sent again.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connector.h"
#include "database.h"
#include "log.h"
#include "memory.h"

/* Pauses before connecting again double from the first to the longest. */
#define FIRST_PAUSE 100
#define LONGEST_PAUSE 3000

/* How long to wait for a connection to one of the hosts, all together, and for a reply. */
#define CONNECT_LIMIT 10000
#define REPLY_LIMIT 60000

typedef enum Phase
{
	PHASE_PAUSING,
	PHASE_CONNECTING,
	PHASE_FREE,
	PHASE_WAITING /* for the reply to a statement */
} Phase;

struct Database
{
	const char *settings[8]; /* values of the keywords */
	Connector *connector;
	PGconn *connection; /* NULL while PAUSING and CONNECTING */
	Phase phase;
	Millis phase_ends_at; /* NEVER while FREE */
	Millis pause;
	bool has_replied; /* this connection, once */
	bool was_connected;
	bool flushing;
	PGresult *reply;
};

/* What comes before the connection string gives way to it, what comes after does not. */
static const char *const keywords[] = {"fallback_application_name", "keepalives_idle",
									   "keepalives_interval",       "keepalives_count",
									   "tcp_user_timeout",          "dbname",
									   "client_encoding",           NULL};

Database *
database_create(const char *conninfo, const char *application_name)
{
	Database *database = memory_new(sizeof(Database));
	const char *settings[] = {application_name, "30", "10", "3", "60000", conninfo, "UTF8", NULL};

	memcpy(database->settings, settings, sizeof(settings));
	database->connector = connector_create(keywords, database->settings, CONNECT_LIMIT);
	database->phase = PHASE_PAUSING;
	database->phase_ends_at = clock_now();
	database->pause = FIRST_PAUSE;
	/* Workers that lost the same server shall not come back in step. */
	srandom((unsigned int) getpid() ^ (unsigned int) time(NULL));
	return database;
}

static void
close_connection(Database *database)
{
	PQclear(database->reply);
	database->reply = NULL;
	connector_stop(database->connector);
	PQfinish(database->connection);
	database->connection = NULL;
}

void
database_destroy(Database *database)
{
	close_connection(database);
	connector_free(database->connector);
	free(database);
}

/* libpq's message, on one line and without its end. */
static char *
last_error(const Database *database)
{
	char *message = memory_string(PQerrorMessage(database->connection));
	size_t length = strlen(message);

	while (length > 0 && message[length - 1] == '\n')
		message[--length] = '\0';
	return message;
}

static void
give_up_connection(Database *database, Millis now, const char *why)
{
	Millis pause = database->pause / 2 + random() % database->pause;
	char seconds[32];

	snprintf(seconds, sizeof(seconds), "%.1f", (double) pause / 1000);
	log_write(LOG_WARNING, "no connection to the database", "reason", why, "again_in_seconds", seconds, NULL);
	/* A server that never answers is not the first to be tried again. */
	if (database->connection != NULL && !database->has_replied)
		connector_pass(database->connector);
	close_connection(database);
	database->phase = PHASE_PAUSING;
	database->phase_ends_at = now + pause;
	database->pause = 2 * database->pause < LONGEST_PAUSE ? 2 * database->pause : LONGEST_PAUSE;
}

void
database_leave_server(Database *database, Millis now, const char *why)
{
	connector_pass(database->connector);
	database->has_replied = true;
	give_up_connection(database, now, why);
}

static DatabaseNews
lose(Database *database, Millis now)
{
	char *why = last_error(database);

	give_up_connection(database, now, why);
	free(why);
	return DATABASE_LOST;
}

static void
receive_notice(void *argument, const PGresult *notice)
{
	const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);

	(void) argument;
	if (severity != NULL && strcmp(severity, "WARNING") == 0)
		log_write(LOG_WARNING, PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY), "sqlstate",
				  PQresultErrorField(notice, PG_DIAG_SQLSTATE), NULL);
}

void
database_ask_poll(const Database *database, struct pollfd *poll)
{
	*poll = (struct pollfd){.fd = -1};
	if (database->phase == PHASE_CONNECTING)
		poll->fd = connector_fd(database->connector, &poll->events);
	else if (database->connection != NULL)
	{
		poll->fd = PQsocket(database->connection);
		poll->events = (short) (POLLIN | (database->flushing ? POLLOUT : 0));
	}
}

Millis
database_wake_at(const Database *database)
{
	return database->phase_ends_at;
}

static DatabaseNews
follow(Database *database, ConnectorState state, Millis now)
{
	switch (state)
	{
		case CONNECTOR_GOING_ON:
			database->phase = PHASE_CONNECTING;
			database->phase_ends_at = connector_wake_at(database->connector);
			return DATABASE_NO_NEWS;
		case CONNECTOR_CONNECTED:
			database->connection = connector_take(database->connector);
			PQsetNoticeReceiver(database->connection, receive_notice, NULL);
			PQsetnonblocking(database->connection, true);
			database->phase = PHASE_FREE;
			database->phase_ends_at = NEVER;
			database->has_replied = false;
			database->was_connected = true;
			return DATABASE_CONNECTED;
		case CONNECTOR_FAILED:
			break;
	}
	/* No such database, no such role or no password for it: at the start nobody means to mend that meanwhile. */
	if (!database->was_connected && connector_sqlstate(database->connector) != NULL &&
		(strcmp(connector_sqlstate(database->connector), "3D000") == 0 ||
		 strncmp(connector_sqlstate(database->connector), "28", 2) == 0))
	{
		log_write(LOG_ERROR, "cannot connect", "reason", connector_error(database->connector), "sqlstate",
				  connector_sqlstate(database->connector), NULL);
		return DATABASE_HOPELESS;
	}
	give_up_connection(database, now, connector_error(database->connector));
	return DATABASE_LOST;
}

/* An error that comes after a result, from the commit, is what counts. */
static void
keep_reply(Database *database, PGresult *result)
{
	if (database->reply == NULL || PQresultStatus(result) == PGRES_FATAL_ERROR)
	{
		PQclear(database->reply);
		database->reply = result;
	}
	else
		PQclear(result);
}

static DatabaseNews
exchange(Database *database, Millis now)
{
	int unsent = PQflush(database->connection);

	if (unsent < 0 || !PQconsumeInput(database->connection))
		return lose(database, now);
	database->flushing = unsent > 0;
	while (database->phase == PHASE_WAITING && !PQisBusy(database->connection))
	{
		PGresult *result = PQgetResult(database->connection);

		if (PQstatus(database->connection) == CONNECTION_BAD)
		{
			PQclear(result);
			return lose(database, now);
		}
		if (result == NULL)
		{
			database->phase = PHASE_FREE;
			database->phase_ends_at = NEVER;
			database->has_replied = true;
			return DATABASE_REPLIED;
		}
		keep_reply(database, result);
	}
	return DATABASE_NO_NEWS;
}

DatabaseNews
database_advance(Database *database, short revents, Millis now)
{
	if (now >= database->phase_ends_at)
	{
		switch (database->phase)
		{
			case PHASE_PAUSING:
				return follow(database, connector_begin(database->connector, now), now);
			case PHASE_CONNECTING:
				return follow(database, connector_go_on(database->connector, now), now);
			case PHASE_WAITING:
				if (PQstatus(database->connection) == CONNECTION_BAD)
					return lose(database, now);
				give_up_connection(database, now, "the reply takes too long");
				return DATABASE_LOST;
			case PHASE_FREE:
				break;
		}
	}
	if (revents == 0)
		return DATABASE_NO_NEWS;
	if (database->phase == PHASE_CONNECTING)
		return follow(database, connector_go_on(database->connector, now), now);
	return exchange(database, now);
}

bool
database_is_free(const Database *database)
{
	return database->phase == PHASE_FREE;
}

bool
database_is_waiting(const Database *database)
{
	return database->phase == PHASE_WAITING;
}

/* Where sending fails, the loss is met by the next database_advance(). */
void
database_send(Database *database, Millis now, const char *statement, int count, const char *const *values)
{
	PQclear(database->reply);
	database->reply = NULL;
	database->phase = PHASE_WAITING;
	database->phase_ends_at = now + REPLY_LIMIT;
	if (!PQsendQueryParams(database->connection, statement, count, NULL, values, NULL, NULL, 0))
		database->phase_ends_at = now;
	database->flushing = PQflush(database->connection) > 0;
}

const PGresult *
database_reply(const Database *database)
{
	return database->reply;
}

/* The channel of the next notification; NULL = there is none. The caller frees it. */
char *
database_take_notification(Database *database)
{
	PGnotify *notification = database->connection == NULL ? NULL : PQnotifies(database->connection);
	char *channel;

	if (notification == NULL)
		return NULL;
	channel = memory_string(notification->relname);
	PQfreemem(notification);
	return channel;
}

void
database_is_good(Database *database)
{
	database->pause = FIRST_PAUSE;
}

/* The name as an identifier; NULL = it cannot be one. The caller frees it. */
char *
database_quoted(Database *database, const char *name)
{
	char *quoted = PQescapeIdentifier(database->connection, name, strlen(name));
	char *copy = quoted == NULL ? NULL : memory_string(quoted);

	PQfreemem(quoted);
	return copy;
}
