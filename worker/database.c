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

#include "database.h"
#include "log.h"
#include "memory.h"

/* Pauses before connecting again double from the first to the longest. */
#define FIRST_PAUSE 100
#define LONGEST_PAUSE 30000

/* How long to wait for a connection, and for a reply. */
#define CONNECT_LIMIT 30000
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
	const char *conninfo;
	const char *application_name;
	PGconn *connection; /* NULL while PAUSING */
	Phase phase;
	Millis phase_ends_at; /* NEVER while FREE */
	Millis pause;
	PostgresPollingStatusType connecting;
	bool flushing;
	PGresult *reply;
};

Database *
database_create(const char *conninfo, const char *application_name)
{
	Database *database = memory_new(sizeof(Database));

	database->conninfo = conninfo;
	database->application_name = application_name;
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
	PQfinish(database->connection);
	database->connection = NULL;
}

void
database_destroy(Database *database)
{
	close_connection(database);
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

void
database_give_up_connection(Database *database, Millis now, const char *why)
{
	Millis pause = database->pause / 2 + random() % database->pause;
	char seconds[32];

	snprintf(seconds, sizeof(seconds), "%.1f", (double) pause / 1000);
	log_write(LOG_WARNING, "no connection to the database", "reason", why, "again_in_seconds", seconds, NULL);
	close_connection(database);
	database->phase = PHASE_PAUSING;
	database->phase_ends_at = now + pause;
	database->pause = 2 * database->pause < LONGEST_PAUSE ? 2 * database->pause : LONGEST_PAUSE;
}

static DatabaseNews
lose(Database *database, Millis now)
{
	char *why = last_error(database);

	database_give_up_connection(database, now, why);
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

static void
begin_to_connect(Database *database, Millis now)
{
	/* What comes before the connection string gives way to it, what comes after does not. */
	const char *keywords[] = {"fallback_application_name", "keepalives_idle",
							  "keepalives_interval",       "keepalives_count",
							  "tcp_user_timeout",          "dbname",
							  "client_encoding",           NULL};
	const char *values[] = {database->application_name, "30",   "10", "3", "60000",
							database->conninfo,         "UTF8", NULL};

	database->connection = PQconnectStartParams(keywords, values, true);
	database->phase = PHASE_CONNECTING;
	database->phase_ends_at = now + CONNECT_LIMIT;
	database->connecting = PGRES_POLLING_WRITING;
	if (database->connection != NULL)
		PQsetNoticeReceiver(database->connection, receive_notice, NULL);
}

void
database_ask_poll(const Database *database, struct pollfd *poll)
{
	*poll = (struct pollfd){.fd = database->connection == NULL ? -1 : PQsocket(database->connection)};
	if (database->phase != PHASE_CONNECTING)
		poll->events = (short) (POLLIN | (database->flushing ? POLLOUT : 0));
	else
		poll->events = database->connecting == PGRES_POLLING_READING ? POLLIN : POLLOUT;
}

Millis
database_wake_at(const Database *database)
{
	return database->phase_ends_at;
}

static DatabaseNews
go_on_connecting(Database *database, Millis now)
{
	database->connecting = PQconnectPoll(database->connection);
	if (database->connecting == PGRES_POLLING_FAILED)
		return lose(database, now);
	if (database->connecting != PGRES_POLLING_OK)
		return DATABASE_NO_NEWS;
	PQsetnonblocking(database->connection, true);
	database->phase = PHASE_FREE;
	database->phase_ends_at = NEVER;
	return DATABASE_CONNECTED;
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
				begin_to_connect(database, now);
				if (PQstatus(database->connection) == CONNECTION_BAD)
					return lose(database, now);
				return DATABASE_NO_NEWS;
			case PHASE_CONNECTING:
				database_give_up_connection(database, now, "the connection takes too long");
				return DATABASE_LOST;
			case PHASE_WAITING:
				if (PQstatus(database->connection) == CONNECTION_BAD)
					return lose(database, now);
				database_give_up_connection(database, now, "the reply takes too long");
				return DATABASE_LOST;
			case PHASE_FREE:
				break;
		}
	}
	if (revents == 0)
		return DATABASE_NO_NEWS;
	return database->phase == PHASE_CONNECTING ? go_on_connecting(database, now) : exchange(database, now);
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

/* True if there was a notification, however many. */
bool
database_take_notification(Database *database)
{
	bool taken = false;
	PGnotify *notification;

	while (database->connection != NULL && (notification = PQnotifies(database->connection)) != NULL)
	{
		PQfreemem(notification);
		taken = true;
	}
	return taken;
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
