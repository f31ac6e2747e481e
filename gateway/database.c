/*
 * database.c
 *		Statements in the database, many at once.
 *
 * A few connections in pipeline mode. Each has a queue of the batches that it was sent and has not answered. A batch is
 * a transaction, of one call or of several that may share one; it goes to the connection with the shortest queue. A call
 * is answered when its transaction has ended, not when its rows are there.
 *
 * Calls that may share a transaction wait while a few such batches are under way, no two of them on one connection, and
 * then go together: the busier the database, the more of them share the cost of a commit, and none waits where nothing
 * is to be gained. What fails together is repeated one by one, so that no call notices the others.
 */
#include "database.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "memory.h"
#include "options.h"
#include "statements.h"

#define CHECK_EVERY 1000
#define LONGEST_BATCH 64
#define MOST_SHARED 4

static const char role_sql[] = "SELECT pg_catalog.set_config('role', $1, true)";

typedef struct Batch
{
	Call *first;
	Call *turn; /* the one whose result is next */
	bool is_shared;
	bool awaits_role;
	/* Those that it prepares, in order, as long as their success is not known. */
	Statement *unconfirmed[2];
	PGresult *error; /* the first one */
	struct Batch *next;
} Batch;

typedef struct Line
{
	Connection connection;
	Statements statements;
	Batch *first;
	Batch *last;
	int length; /* in calls */
	bool has_shared;
	int64_t heard_at; /* when the last result came, or the first batch went */
} Line;

static Line *lines;
static Timer check_timer;

/* Calls that may share a transaction, and wait for the end of another such. */
static Call *waiting;
static Call **waiting_end = &waiting;
static int shared_count; /* batches of such calls that are under way */

static void send_waiting(void);

static void
answer(Call *call, const PGresult *result)
{
	PGresult *own = call->result;

	call->next = NULL;
	call->result = NULL;
	call->done(call, result);
	PQclear(own);
}

static bool
send_alone(Call *call)
{
	call->may_share = false;
	return database_submit(call);
}

/* The statement that the connection had prepared is not what it was: an upgrade came between, or its preparing failed. */
static bool
is_outdated(Line *line, const Call *call, const PGresult *error)
{
	const char *sqlstate = PQresultErrorField(error, PG_DIAG_SQLSTATE);
	const char *function = PQresultErrorField(error, PG_DIAG_SOURCE_FUNCTION);

	if (sqlstate == NULL || function == NULL || call->is_repeated)
		return false;
	if (strcmp(sqlstate, "0A000") == 0 && strcmp(function, "RevalidateCachedQuery") == 0)
	{
		statements_forget(&line->statements, call->sql, call->role);
		return true;
	}
	return strcmp(sqlstate, "26000") == 0 && strcmp(function, "FetchPreparedStatement") == 0;
}

/* Nothing of the batch was done. */
static void
finish_failed(Line *line, Batch *batch)
{
	bool again = batch->first->next != NULL;
	Call *next;

	if (!again && is_outdated(line, batch->first, batch->error))
		again = batch->first->is_repeated = true;
	for (Call *call = batch->first; call != NULL; call = next)
	{
		next = call->next;
		if (!again)
			answer(call, batch->error);
		else if (!send_alone(call))
			answer(call, NULL);
	}
}

/* lost: nobody knows what became of the batch. */
static void
finish(Batch *batch, bool lost)
{
	Call *next;

	for (Call *call = batch->first; call != NULL; call = next)
	{
		next = call->next;
		answer(call, lost ? NULL : call->result);
	}
}

static Batch *
take_first(Line *line)
{
	Batch *batch = line->first;

	line->first = batch->next;
	if (line->first == NULL)
		line->last = NULL;
	for (Call *call = batch->first; call != NULL; call = call->next)
		line->length--;
	if (batch->is_shared)
	{
		line->has_shared = false;
		shared_count--;
	}
	for (int i = 0; i < 2; i++)
	{
		if (batch->unconfirmed[i] != NULL)
			batch->unconfirmed[i]->is_prepared = false;
	}
	return batch;
}

static void
free_batch(Batch *batch)
{
	PQclear(batch->error);
	free(batch);
}

static void
confirm(Batch *batch)
{
	batch->unconfirmed[batch->unconfirmed[0] == NULL] = NULL;
}

/* The result is the batch's from here on. */
static void
keep(Batch *batch, PGresult *result)
{
	switch (PQresultStatus(result))
	{
		case PGRES_COMMAND_OK:
			confirm(batch);
			break;
		case PGRES_TUPLES_OK:
			if (batch->awaits_role)
				batch->awaits_role = false;
			else if (batch->turn != NULL)
			{
				batch->turn->result = result;
				batch->turn = batch->turn->next;
				return;
			}
			break;
		default:
			if (batch->error == NULL)
			{
				batch->error = result;
				return;
			}
	}
	PQclear(result);
}

static void
finish_first(Line *line)
{
	Batch *batch = take_first(line);

	send_waiting();
	if (batch->error != NULL)
		finish_failed(line, batch);
	else
		finish(batch, false);
	free_batch(batch);
}

static void
take_results(Connection *connection)
{
	Line *line = LOOP_OWNER(Line, connection, connection);

	line->heard_at = loop_now();
	while (line->first != NULL && !PQisBusy(connection->pg))
	{
		PGresult *result = PQgetResult(connection->pg);

		if (result == NULL && PQstatus(connection->pg) != CONNECTION_BAD)
			continue; /* between two statements */
		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
		{
			PQclear(result);
			finish_first(line);
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
	{
		Batch *batch = take_first(line);

		finish(batch, true);
		free_batch(batch);
	}
	statements_free(&line->statements);
	send_waiting();
}

static const ConnectionUser line_user = {"requests", enter_pipeline, take_results, lose_calls};

/* statement_timeout ends what takes too long; where even that does not help, the server is gone. */
static void
check_lines(Timer *timer)
{
	int64_t longest = options.statement_timeout * INT64_C(1000) + 5000;

	for (int i = 0; i < options.connections; i++)
	{
		if (lines[i].first != NULL && loop_now() - lines[i].heard_at > longest)
			connection_fail(&lines[i].connection, "the database does not answer");
	}
	loop_set_timer(timer, CHECK_EVERY);
}

void
database_start(void)
{
	lines = memory_array((size_t) options.connections, sizeof(Line));
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
		connection_stop(&lines[i].connection);
	for (int i = 0; i < options.connections; i++)
		lose_calls(&lines[i].connection);
}

static Line *
shortest_line(bool without_shared)
{
	Line *best = NULL;

	for (int i = 0; i < options.connections; i++)
	{
		if (lines[i].connection.state == CONNECTION_UP && !(without_shared && lines[i].has_shared) &&
			(best == NULL || lines[i].length < best->length))
			best = &lines[i];
	}
	return best;
}

bool
database_is_up(void)
{
	return shortest_line(false) != NULL;
}

/* Sends a statement, and the preparing of it where that is still to be done; false = the connection is broken. */
static bool
send_statement(Line *line, Batch *batch, const char *sql, const char *role, int count,
			   const char *const *values)
{
	PGconn *pg = line->connection.pg;
	Statement *statement = statements_find(&line->statements, sql, role);

	if (statement == NULL)
		return PQsendQueryParams(pg, sql, count, NULL, values, NULL, NULL, 0) != 0;
	if (!statement->is_prepared)
	{
		if (PQsendPrepare(pg, statement->name, sql, 0, NULL) == 0)
			return false;
		statement->is_prepared = true;
		batch->unconfirmed[batch->unconfirmed[0] != NULL] = statement;
	}
	return PQsendQueryPrepared(pg, statement->name, count, values, NULL, NULL, 0) != 0;
}

/* What comes between two Syncs is one transaction, so the role ends with it. */
static bool
send_statements(Line *line, Batch *batch)
{
	const char *role = batch->first->role;

	batch->awaits_role = role != NULL;
	if (role != NULL && !send_statement(line, batch, role_sql, NULL, 1, &role))
		return false;
	for (Call *call = batch->first; call != NULL; call = call->next)
	{
		if (!send_statement(line, batch, call->sql, role, call->value_count, call->values))
			return false;
	}
	return PQpipelineSync(line->connection.pg) != 0;
}

/* false = nothing was done with the batch. */
static bool
send_batch(Line *line, Batch *batch)
{
	if (!send_statements(line, batch))
	{
		/* Half sent: nothing good can follow on this connection. */
		loop_set_timer(&line->connection.timer, 0);
		return false;
	}
	if (line->last != NULL)
		line->last->next = batch;
	else
	{
		line->first = batch;
		line->heard_at = loop_now();
	}
	line->last = batch;
	for (Call *call = batch->first; call != NULL; call = call->next)
		line->length++;
	if (batch->is_shared)
	{
		line->has_shared = true;
		shared_count++;
	}
	connection_flush(&line->connection);
	return true;
}

static Batch *
new_batch(Call *calls, bool is_shared)
{
	Batch *batch = memory_new(sizeof(Batch));

	batch->first = batch->turn = calls;
	batch->is_shared = is_shared;
	return batch;
}

static bool
have_same_role(const Call *a, const Call *b)
{
	return a->role == b->role || (a->role != NULL && b->role != NULL && strcmp(a->role, b->role) == 0);
}

/* The first of those that wait, and those behind it that can be with it. */
static Call *
take_waiting(void)
{
	Call *first = waiting;
	Call *last = first;
	int count = 1;

	while (last->next != NULL && count < LONGEST_BATCH && last->next->sql == first->sql &&
		   have_same_role(last->next, first))
	{
		last = last->next;
		count++;
	}
	waiting = last->next;
	if (waiting == NULL)
		waiting_end = &waiting;
	last->next = NULL;
	return first;
}

static void
send_waiting(void)
{
	while (waiting != NULL)
	{
		Line *line = shortest_line(true);
		Batch *batch;

		if ((line == NULL || shared_count == MOST_SHARED) && database_is_up())
			return; /* the end of a batch sends them */
		batch = new_batch(take_waiting(), true);
		if (line == NULL || !send_batch(line, batch))
		{
			finish(batch, true);
			free_batch(batch);
		}
	}
}

/* false = there is no connection, and done() will not be called. */
bool
database_submit(Call *call)
{
	Line *line = shortest_line(false);
	Batch *batch;

	if (line == NULL)
		return false;
	call->next = NULL;
	if (call->may_share)
	{
		*waiting_end = call;
		waiting_end = &call->next;
		send_waiting();
		return true;
	}
	batch = new_batch(call, false);
	if (send_batch(line, batch))
		return true;
	free_batch(batch);
	return false;
}
