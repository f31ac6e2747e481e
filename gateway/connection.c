/*
 * connection.c
 *		A connection to the database, which comes back by itself.
 */
#include "connection.h"

#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "log.h"
#include "release.h"
#include "session.h"

#define SET_UP_TIMEOUT 10000
#define SHORTEST_PAUSE 100
#define LONGEST_PAUSE 3000

/* Has there been a database? */
static bool was_up;

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

/* Where the program was started for what there is not, another try is of no use. */
static void
end_without_database(const char *why)
{
	if (was_up)
		return;
	log_write(LOG_LEVEL_ERROR, "cannot serve this database error=\"%s\"", why);
	exit(1);
}

/* What another try may not change: there is no such database or role, or it may not be used. */
static bool
is_final(const char *sqlstate)
{
	static const char *const final[] = {"3D000", "28000", "28P01", "42501"};

	for (size_t i = 0; i < sizeof(final) / sizeof(final[0]); i++)
	{
		if (strcmp(sqlstate, final[i]) == 0)
			return true;
	}
	return false;
}

/* Closes it and tries again later. */
void
connection_fail(Connection *connection, const char *why)
{
	ConnectionState state = connection->state;

	tell_problem(why);
	if (state == CONNECTION_SETTING_UP)
		connector_pass(connection->connector);
	connection->state = CONNECTION_AWAY;
	loop_unwatch(&connection->watch);
	connector_stop(connection->connector);
	PQfinish(connection->pg);
	connection->pg = NULL;
	loop_set_timer(&connection->timer, connection->pause);
	connection->pause = connection->pause * 2 < LONGEST_PAUSE ? connection->pause * 2 : LONGEST_PAUSE;
	if (state == CONNECTION_UP)
		connection->user->down(connection);
}

static void
ignore_notice(void *closure, const char *message)
{
	(void) closure;
	log_write(LOG_LEVEL_DEBUG, "database notice=\"%s\"", message);
}

static void
set_up(Connection *connection)
{
	char sql[SESSION_SET_UP_SIZE];

	connection->state = CONNECTION_SETTING_UP;
	connection->pg = connector_take(connection->connector);
	PQsetNoticeProcessor(connection->pg, ignore_notice, NULL);
	loop_set_timer(&connection->timer, SET_UP_TIMEOUT);
	if (PQsetnonblocking(connection->pg, 1) != 0 ||
		PQsendQuery(connection->pg, session_set_up(sql, connection->user->statement_timeout,
												   connection->user->lock_timeout)) == 0)
		connection_fail(connection, PQerrorMessage(connection->pg));
	else
		connection_flush(connection);
}

static void
finish_set_up(Connection *connection)
{
	PGresult *result;

	/* Its end may come later than the result. */
	while (!PQisBusy(connection->pg) && (result = PQgetResult(connection->pg)) != NULL)
	{
		char missing[160] = "";

		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			snprintf(missing, sizeof(missing), "%s", PQresultErrorMessage(result));
		else if (PQntuples(result) != 1)
		{
			snprintf(missing, sizeof(missing),
					 "the extension evq is not installed in database %s; if it is a router, name a shard",
					 PQdb(connection->pg));
			end_without_database(missing);
		}
		else
			release_learn(result);
		PQclear(result);
		if (missing[0] != '\0')
		{
			connection_fail(connection, missing);
			return;
		}
	}
	if (PQisBusy(connection->pg))
		return;
	loop_clear_timer(&connection->timer);
	connection->pause = SHORTEST_PAUSE;
	connection->state = CONNECTION_UP;
	was_up = true;
	if (problem[0] != '\0')
		log_write(LOG_LEVEL_INFO, "database back");
	problem[0] = '\0';
	log_write(LOG_LEVEL_DEBUG, "database connection up use=%s pid=%d", connection->user->name,
			  PQbackendPID(connection->pg));
	connection->user->up(connection);
}

/* Waits for what the connector waits for. */
static void
follow(Connection *connection, ConnectorState state)
{
	short events;
	int fd;

	switch (state)
	{
		case CONNECTOR_GOING_ON:
			fd = connector_fd(connection->connector, &events);
			loop_watch(&connection->watch, fd, (events & POLLOUT) != 0 ? EPOLLOUT : EPOLLIN);
			loop_set_timer(&connection->timer, connector_wake_at(connection->connector) - loop_now());
			break;
		case CONNECTOR_CONNECTED:
			set_up(connection);
			break;
		case CONNECTOR_FAILED:
			if (is_final(connector_sqlstate(connection->connector)))
				end_without_database(connector_error(connection->connector));
			connection_fail(connection, connector_error(connection->connector));
			break;
	}
}

static void
go_on_connecting(Connection *connection)
{
	/* It may go on with another descriptor, of the same number even. */
	loop_unwatch(&connection->watch);
	follow(connection, connector_go_on(connection->connector, loop_now()));
}

static void
take_events(Watch *watch, uint32_t events)
{
	Connection *connection = LOOP_OWNER(Connection, watch, watch);

	if (connection->state == CONNECTION_CONNECTING)
	{
		go_on_connecting(connection);
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
begin(Connection *connection)
{
	connection->state = CONNECTION_CONNECTING;
	follow(connection, connector_begin(connection->connector, loop_now()));
}

static void
take_timer(Timer *timer)
{
	Connection *connection = LOOP_OWNER(Connection, timer, timer);

	if (connection->state == CONNECTION_AWAY)
		begin(connection);
	else if (connection->state == CONNECTION_CONNECTING)
		go_on_connecting(connection);
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
	connection->connector = session_connector();
	begin(connection);
}

void
connection_stop(Connection *connection)
{
	loop_clear_timer(&connection->timer);
	loop_unwatch(&connection->watch);
	PQfinish(connection->pg);
	connection->pg = NULL;
	connector_free(connection->connector);
	connection->connector = NULL;
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
