/*
 * line.c
 *		A connection for statements, and the batch of them that it is at.
 *
 * A batch is a transaction, of one call or of several that share it, sent at once: the connection is in pipeline mode. Where
 * there is a statement that does all of them it is one, with a row for each; else each has its own. A
 * call is answered when its transaction has ended, not when its rows are there. Nothing is sent behind a batch: what
 * it waits for, nothing else has to wait for.
 */
#include "line.h"

#include <stddef.h>
#include <string.h>

#include "arrays.h"
#include "buffer.h"
#include "loop.h"
#include "release.h"

#define SPARE_TIME 5000

/* Bytes of a call that may be done with others by one statement: a larger one gains nothing, and would be copied. */
#define MOST_JOINT 16384

static const char client_sql[] =
	"SELECT pg_catalog.set_config('application_name', pg_catalog.concat('evq-gateway ', $1::text), true)";
static const char role_sql[] = "SELECT pg_catalog.set_config('role', $1, true)";

static void
end_batch(Line *line, LineEnd end)
{
	Call *calls = line->calls;
	PGresult *error = line->error;

	line->calls = line->turn = NULL;
	line->error = NULL;
	for (int i = 0; i < LINE_MOST_UNCONFIRMED; i++)
	{
		if (line->unconfirmed[i] != NULL)
			line->unconfirmed[i]->is_prepared = false;
		line->unconfirmed[i] = NULL;
	}
	line->user->ended(line, calls, end, error);
}

/* The first of those that are not known is known to be prepared. */
static void
confirm(Line *line)
{
	int i = 0;

	while (i < LINE_MOST_UNCONFIRMED - 1 && line->unconfirmed[i] == NULL)
		i++;
	line->unconfirmed[i] = NULL;
}

/* One of the rows, as a result. */
static PGresult *
copy_row(const PGresult *rows, int row)
{
	PGresult *result = PQcopyResult(rows, PG_COPYRES_ATTRS);

	for (int field = 0; field < PQnfields(rows); field++)
		PQsetvalue(result, 0, field, PQgetvalue(rows, row, field), PQgetlength(rows, row, field));
	return result;
}

/* Gives each call its row; for whom there is none nobody knows what was done. */
static void
hand_out(Line *line, const PGresult *rows)
{
	int row = 0;

	for (Call *call = line->calls; call != NULL; call = call->next, row++)
	{
		PQclear(call->result); /* of a batch that failed */
		call->result = row < PQntuples(rows) ? copy_row(rows, row) : NULL;
	}
}

/* The result is the batch's from here on. */
static void
keep(Line *line, PGresult *result)
{
	switch (PQresultStatus(result))
	{
		case PGRES_COMMAND_OK:
			confirm(line);
			break;
		case PGRES_TUPLES_OK:
			if (line->awaited_settings > 0)
				line->awaited_settings--;
			else if (line->is_joint)
				hand_out(line, result);
			else if (line->turn != NULL)
			{
				PQclear(line->turn->result); /* of a batch that failed */
				line->turn->result = result;
				line->turn = line->turn->next;
				return;
			}
			break;
		default:
			if (line->error == NULL)
			{
				line->error = result;
				return;
			}
	}
	PQclear(result);
}

static void
take_results(Connection *connection)
{
	Line *line = LOOP_OWNER(Line, connection, connection);

	line->heard_at = loop_now();
	while (line->calls != NULL && !PQisBusy(connection->pg))
	{
		PGresult *result = PQgetResult(connection->pg);

		if (result == NULL && PQstatus(connection->pg) != CONNECTION_BAD)
			continue; /* between two statements */
		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
		{
			PQclear(result);
			end_batch(line, line->error != NULL ? LINE_FAILED : LINE_COMMITTED);
		}
		else if (result != NULL)
			keep(line, result);
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
	Line *line = LOOP_OWNER(Line, connection, connection);

	if (PQenterPipelineMode(connection->pg) == 0)
		connection_fail(connection, PQerrorMessage(connection->pg));
	else
		line->user->up(line);
}

static void
lose(Connection *connection)
{
	Line *line = LOOP_OWNER(Line, connection, connection);

	if (line->calls != NULL)
		end_batch(line, LINE_LOST);
	statements_free(&line->statements);
	line->user->down(line);
}

const ConnectionUser line_connection = {.name = "requests",
										.up = enter_pipeline,
										.readable = take_results,
										.down = lose};

void
line_start(Line *line, const LineUser *user, const ConnectionUser *setting)
{
	line->user = user;
	connection_start(&line->connection, setting);
}

void
line_stop(Line *line)
{
	connection_stop(&line->connection);
	if (line->calls != NULL)
		end_batch(line, LINE_LOST);
	statements_free(&line->statements);
}

bool
line_is_up(const Line *line)
{
	return line->connection.state == CONNECTION_UP;
}

/* statement_timeout ends what takes too long; where even that does not help, the server is gone. */
void
line_check(Line *line)
{
	if (line->calls != NULL &&
		loop_now() - line->heard_at > line->connection.user->statement_timeout + SPARE_TIME)
		connection_fail(&line->connection, "the database does not answer");
}

static void
note_unconfirmed(Line *line, Statement *statement)
{
	int i = 0;

	while (i < LINE_MOST_UNCONFIRMED - 1 && line->unconfirmed[i] != NULL)
		i++;
	line->unconfirmed[i] = statement;
}

typedef struct Parameters
{
	int count;
	const char *const *values;
	const int *lengths; /* NULL where all are text */
	const int *formats;
} Parameters;

/* Sends a statement, and the preparing of it where that is still to be done; false = the connection is broken. */
static bool
send_statement(Line *line, const char *sql, const char *role, Parameters given)
{
	PGconn *pg = line->connection.pg;
	Statement *statement = statements_find(&line->statements, sql, role);

	if (statement == NULL)
		return PQsendQueryParams(pg, sql, given.count, NULL, given.values, given.lengths, given.formats, 0) !=
			   0;
	if (!statement->is_prepared)
	{
		if (PQsendPrepare(pg, statement->name, sql, 0, NULL) == 0)
			return false;
		statement->is_prepared = true;
		note_unconfirmed(line, statement);
	}
	return PQsendQueryPrepared(pg, statement->name, given.count, given.values, given.lengths, given.formats,
							   0) != 0;
}

/* Is there one statement for all of them, and are they small enough? */
static bool
can_be_joint(const Call *calls)
{
	if (calls->next == NULL || calls->joint_sql == NULL || release_is_old())
		return false;
	for (const Call *call = calls; call != NULL; call = call->next)
	{
		if (call->joint_json != NULL && strnlen(call->joint_json, MOST_JOINT + 1) > MOST_JOINT)
			return false;
	}
	return true;
}

static bool
send_joint(Line *line, Call *calls)
{
	static const int formats[] = {1, 1};
	Buffer json = {0};
	Buffer texts = {0};
	bool has_text = false;
	int count = 0;
	bool is_sent;

	for (Call *call = calls; call != NULL; call = call->next)
	{
		call->was_old = false;
		has_text = has_text || call->joint_text != NULL;
		count++;
	}
	array_begin(&json, ARRAY_JSONB, count);
	array_begin(&texts, ARRAY_TEXT, count);
	for (Call *call = calls; call != NULL; call = call->next)
	{
		array_add(&json, ARRAY_JSONB, call->joint_json);
		array_add(&texts, ARRAY_TEXT, call->joint_text);
	}
	is_sent = send_statement(line, calls->joint_sql, calls->role,
							 (Parameters){.count = 2,
										  .values = (const char *const[]){json.data,
																		  has_text ? texts.data : NULL},
										  .lengths = (const int[]){(int) json.length, (int) texts.length},
										  .formats = formats});
	buffer_free(&json);
	buffer_free(&texts);
	return is_sent;
}

static bool
send_each(Line *line, Call *calls)
{
	for (Call *call = calls; call != NULL; call = call->next)
	{
		call->was_old = call->old_sql != NULL && release_is_old();
		if (!send_statement(line, call->was_old ? call->old_sql : call->sql, call->role,
							(Parameters){.count = call->value_count, .values = call->values}))
			return false;
	}
	return true;
}

/* What comes between two Syncs is one transaction, so the role and the name end with it. */
static bool
send_statements(Line *line, Call *calls)
{
	line->awaited_settings = (calls->client != NULL) + (calls->role != NULL);
	if (calls->client != NULL &&
		!send_statement(line, client_sql, NULL, (Parameters){.count = 1, .values = &calls->client}))
		return false;
	if (calls->role != NULL &&
		!send_statement(line, role_sql, NULL, (Parameters){.count = 1, .values = &calls->role}))
		return false;
	line->is_joint = can_be_joint(calls);
	if (!(line->is_joint ? send_joint(line, calls) : send_each(line, calls)))
		return false;
	return PQpipelineSync(line->connection.pg) != 0;
}

/* The line is up and has no batch. false = nothing was done with the calls, all of which have the same role. */
bool
line_send(Line *line, Call *calls)
{
	if (!send_statements(line, calls))
	{
		/* Half sent: nothing good can follow on this connection. */
		memset(line->unconfirmed, 0, sizeof(line->unconfirmed));
		loop_set_timer(&line->connection.timer, 0);
		return false;
	}
	line->calls = line->turn = calls;
	line->heard_at = loop_now();
	for (Call *call = calls; call != NULL; call = call->next)
		call->state = CALL_RUNNING;
	connection_flush(&line->connection);
	return true;
}
