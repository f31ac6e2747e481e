/*
 * connection.c
 *		A connection to the database, which comes back by itself.
 */
#include "connection.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "log.h"
#include "session.h"

#define CONNECT_TIMEOUT 10000
#define SHORTEST_PAUSE 100
#define LONGEST_PAUSE 3000

/* Why the database cannot be had, as last seen; "" = it can. */
static char problem[256];

/* Once for all connections and each reason. */
static void
tell_problem(const char *why)
{
	char line[sizeof(problem)];
	size_t length;

	snprintf(line, sizeof(line), "%s", why);
	length = strcspn(line, "\n");
	line[length] = '\0';
	if (strcmp(line, problem) == 0)
		return;
	log_write(LOG_LEVEL_WARNING, "database away error=\"%s\"", line);
	memcpy(problem, line, sizeof(problem));
}

const char *
connection_problem(void)
{
	return problem[0] != '\0' ? problem : "the connections are being made";
}

/* Closes it and tries again later. */
void
connection_fail(Connection *connection, const char *why)
{
	ConnectionState state = connection->state;

	tell_problem(why);
	connection->state = CONNECTION_AWAY;
	loop_unwatch(&connection->watch);
	PQfinish(connection->pg);
	connection->pg = NULL;
	loop_set_timer(&connection->timer, connection->pause);
	connection->pause = connection->pause * 2 < LONGEST_PAUSE ? connection->pause * 2 : LONGEST_PAUSE;
	if (state == CONNECTION_UP)
		connection->user->down(connection);
}

static void
set_up(Connection *connection)
{
	char sql[SESSION_SET_UP_SIZE];

	connection->state = CONNECTION_SETTING_UP;
	if (PQsetnonblocking(connection->pg, 1) != 0 || PQsendQuery(connection->pg, session_set_up(sql)) == 0)
		connection_fail(connection, PQerrorMessage(connection->pg));
	else
		connection_flush(connection);
}

static void
finish_set_up(Connection *connection)
{
	char missing[160] = "";
	PGresult *result;

	if (PQisBusy(connection->pg))
		return;
	while ((result = PQgetResult(connection->pg)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			snprintf(missing, sizeof(missing), "%s", PQresultErrorMessage(result));
		else if (PQntuples(result) != 1)
			snprintf(missing, sizeof(missing), "the extension evq is not installed in database %s",
					 PQdb(connection->pg));
		PQclear(result);
	}
	if (missing[0] != '\0')
	{
		connection_fail(connection, missing);
		return;
	}
	loop_clear_timer(&connection->timer);
	connection->pause = SHORTEST_PAUSE;
	connection->state = CONNECTION_UP;
	if (problem[0] != '\0')
		log_write(LOG_LEVEL_INFO, "database back");
	problem[0] = '\0';
	log_write(LOG_LEVEL_DEBUG, "database connection up use=%s pid=%d", connection->user->name,
			  PQbackendPID(connection->pg));
	connection->user->up(connection);
}

static void
connect_on(Connection *connection)
{
	switch (PQconnectPoll(connection->pg))
	{
		case PGRES_POLLING_READING:
			loop_watch(&connection->watch, PQsocket(connection->pg), EPOLLIN);
			break;
		case PGRES_POLLING_WRITING:
			loop_watch(&connection->watch, PQsocket(connection->pg), EPOLLOUT);
			break;
		case PGRES_POLLING_OK:
			set_up(connection);
			break;
		default:
			connection_fail(connection, PQerrorMessage(connection->pg));
	}
}

static void
take_events(Watch *watch, uint32_t events)
{
	Connection *connection = LOOP_OWNER(Connection, watch, watch);

	if (connection->state == CONNECTION_CONNECTING)
	{
		/* libpq may go on with another socket, of the same number even. */
		loop_unwatch(watch);
		connect_on(connection);
		return;
	}
	if ((events & EPOLLOUT) != 0)
		connection_flush(connection);
	if ((events & ~(uint32_t) EPOLLOUT) == 0)
		return;
	if (PQconsumeInput(connection->pg) == 0)
		connection_fail(connection, PQerrorMessage(connection->pg));
	else if (connection->state == CONNECTION_SETTING_UP)
		finish_set_up(connection);
	else
		connection->user->readable(connection);
}

static void
ignore_notice(void *closure, const char *message)
{
	(void) closure;
	log_write(LOG_LEVEL_DEBUG, "database notice=\"%s\"", message);
}

static void
begin(Connection *connection)
{
	connection->state = CONNECTION_CONNECTING;
	loop_set_timer(&connection->timer, CONNECT_TIMEOUT);
	connection->pg = session_begin_to_connect();
	if (connection->pg == NULL || PQstatus(connection->pg) == CONNECTION_BAD)
	{
		connection_fail(connection, PQerrorMessage(connection->pg));
		return;
	}
	PQsetNoticeProcessor(connection->pg, ignore_notice, NULL);
	loop_watch(&connection->watch, PQsocket(connection->pg), EPOLLOUT);
}

static void
take_timer(Timer *timer)
{
	Connection *connection = LOOP_OWNER(Connection, timer, timer);

	if (connection->state == CONNECTION_AWAY)
		begin(connection);
	else if (connection->state == CONNECTION_UP)
		connection_fail(connection, PQerrorMessage(connection->pg));
	else
		connection_fail(connection, "the database does not answer");
}

void
connection_start(Connection *connection, const ConnectionUser *user)
{
	memset(connection, 0, sizeof(*connection));
	connection->user = user;
	connection->watch.fd = -1;
	connection->watch.ready = take_events;
	connection->timer.due = take_timer;
	connection->pause = SHORTEST_PAUSE;
	begin(connection);
}

void
connection_stop(Connection *connection)
{
	loop_clear_timer(&connection->timer);
	loop_unwatch(&connection->watch);
	PQfinish(connection->pg);
	connection->pg = NULL;
	connection->state = CONNECTION_AWAY;
}

/* Sends what can be sent, and sees to it that the rest is. It never calls down(); the loop does. */
void
connection_flush(Connection *connection)
{
	int left = PQflush(connection->pg);

	loop_watch(&connection->watch, PQsocket(connection->pg), left > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
	if (left < 0)
		loop_set_timer(&connection->timer, 0);
}
