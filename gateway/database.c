/*
 * database.c
 *		Statements in the database, many at once.
 *
 * A few connections in pipeline mode. Each has a queue of the calls that it was sent and has not answered; a call goes
 * to the connection with the shortest. A call is answered when its transaction has ended, not when its rows are there.
 */
#include "database.h"

#include <stddef.h>

#include "connection.h"
#include "memory.h"
#include "options.h"

#define CHECK_EVERY 1000

typedef struct Line
{
	Connection connection;
	Call *first;
	Call *last;
	int length;
} Line;

static Line *lines;
static Timer check_timer;

/* The first call of the line is over. */
static void
finish_first(Line *line, bool lost)
{
	Call *call = line->first;
	PGresult *result = call->result;

	line->first = call->next;
	if (line->first == NULL)
		line->last = NULL;
	line->length--;
	call->next = NULL;
	call->result = NULL;
	call->done(call, lost ? NULL : result);
	PQclear(result);
}

/* Of the results of a call that of its statement counts, or else the first error. */
static void
keep(Call *call, PGresult *result)
{
	if (call->result != NULL && PQresultStatus(call->result) != PGRES_TUPLES_OK)
	{
		PQclear(result);
		return;
	}
	PQclear(call->result);
	call->result = result;
}

static void
take_results(Connection *connection)
{
	Line *line = LOOP_OWNER(Line, connection, connection);

	while (line->first != NULL && !PQisBusy(connection->pg))
	{
		PGresult *result = PQgetResult(connection->pg);

		if (result == NULL && PQstatus(connection->pg) != CONNECTION_BAD)
			continue; /* between two statements */
		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
		{
			PQclear(result);
			finish_first(line, false);
		}
		else if (result != NULL)
			keep(line->first, result);
		if (PQstatus(connection->pg) == CONNECTION_BAD)
		{
			connection_fail(connection, PQerrorMessage(connection->pg));
			return;
		}
	}
}

static void
enter_pipeline(Connection *connection)
{
	if (PQenterPipelineMode(connection->pg) == 0)
		connection_fail(connection, PQerrorMessage(connection->pg));
}

static void
lose_calls(Connection *connection)
{
	Line *line = LOOP_OWNER(Line, connection, connection);

	while (line->first != NULL)
		finish_first(line, true);
}

static const ConnectionUser line_user = {"requests", enter_pipeline, take_results, lose_calls};

/* statement_timeout ends what takes too long; where even that does not help, the server is gone. */
static void
check_lines(Timer *timer)
{
	int64_t longest = options.statement_timeout * INT64_C(1000) + 5000;

	for (int i = 0; i < options.connections; i++)
	{
		if (lines[i].first != NULL && loop_now() - lines[i].first->sent_at > longest)
			connection_fail(&lines[i].connection, "the database does not answer");
	}
	loop_set_timer(timer, CHECK_EVERY);
}

void
database_start(void)
{
	lines = memory_new(sizeof(Line) * (size_t) options.connections);
	for (int i = 0; i < options.connections; i++)
		connection_start(&lines[i].connection, &line_user);
	check_timer.due = check_lines;
	loop_set_timer(&check_timer, CHECK_EVERY);
}

void
database_stop(void)
{
	loop_clear_timer(&check_timer);
	for (int i = 0; i < options.connections; i++)
	{
		connection_stop(&lines[i].connection);
		lose_calls(&lines[i].connection);
	}
}

static Line *
shortest_line(void)
{
	Line *best = NULL;

	for (int i = 0; i < options.connections; i++)
	{
		if (lines[i].connection.state == CONNECTION_UP && (best == NULL || lines[i].length < best->length))
			best = &lines[i];
	}
	return best;
}

bool
database_is_up(void)
{
	return shortest_line() != NULL;
}

/* false = there is no connection, and done() will not be called. */
bool
database_submit(Call *call)
{
	Line *line = shortest_line();
	PGconn *pg;

	if (line == NULL)
		return false;
	pg = line->connection.pg;

	/* What comes between two Syncs is one transaction, so the role ends with it. */
	if ((call->role != NULL && PQsendQueryParams(pg, "SELECT pg_catalog.set_config('role', $1, true)", 1,
												 NULL, &call->role, NULL, NULL, 0) == 0) ||
		PQsendQueryParams(pg, call->sql, call->value_count, NULL, call->values, NULL, NULL, 0) == 0 ||
		PQpipelineSync(pg) == 0)
	{
		/* Half sent: nothing good can follow on this connection. */
		loop_set_timer(&line->connection.timer, 0);
		return false;
	}
	call->sent_at = loop_now();
	call->next = NULL;
	if (line->last != NULL)
		line->last->next = call;
	else
		line->first = call;
	line->last = call;
	line->length++;
	connection_flush(&line->connection);
	return true;
}
