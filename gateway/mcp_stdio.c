/*
 * mcp_stdio.c
 *		The Model Context Protocol for the program that started us: messages on standard input, answers on standard
 *		output, one a line.
 *
 * One message is answered after the other, so nothing here waits for two things at once. A connection that was lost is
 * made again for the next message; the one under way gets an error, for nobody knows whether it was done.
 */
#include "mcp_stdio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "options.h"
#include "release.h"
#include "session.h"

#define FUNCTION "evq_http.mcp"

static bool
is_set_up(PGconn *pg)
{
	char sql[SESSION_SET_UP_SIZE];
	PGresult *result = PQexec(pg, session_set_up(sql, options.statement_timeout * 1000, 0));
	bool is_so = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;

	if (is_so)
		release_learn(result);
	else if (PQresultStatus(result) == PGRES_TUPLES_OK)
		log_write(LOG_LEVEL_ERROR,
				  "the extension evq is not installed; if this is a router, name a shard database=%s",
				  PQdb(pg));
	PQclear(result);
	return is_so;
}

/* Connects, if that is not so already. */
static bool
is_connected(PGconn **pg)
{
	static Connector *connector;

	if (*pg != NULL && PQstatus(*pg) == CONNECTION_OK)
		return true;
	PQfinish(*pg);
	*pg = NULL;
	if (connector == NULL)
		connector = session_connector();
	if (connector_wait(connector) == CONNECTOR_FAILED)
	{
		log_write(LOG_LEVEL_WARNING, "database away error=\"%s\"", connector_error(connector));
		return false;
	}
	*pg = connector_take(connector);
	if (is_set_up(*pg))
		return true;
	log_write(LOG_LEVEL_WARNING, "database away error=\"%s\"", PQerrorMessage(*pg));
	connector_pass(connector);
	PQfinish(*pg);
	*pg = NULL;
	return false;
}

/* Whose id it has is not known here. */
static void
answer_error(const char *message)
{
	Buffer line = {0};

	buffer_text(&line, "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32603,\"message\":");
	json_string(&line, message);
	buffer_text(&line, "}}");
	puts(line.data);
	buffer_free(&line);
}

/* One row, of status and answer, or an error. */
static PGresult *
call(PGconn *pg, const char *message)
{
	const char *values[] = {message, options.mcp_write ? "true" : "false"};
	char *sql = release_statement(FUNCTION, "(NULL::jsonb, $1::text, $2::boolean)", release_is_old());
	PGresult *result = PQexecParams(pg, sql, 2, NULL, values, NULL, NULL, 0);

	free(sql);
	return result;
}

/* The extension may have been updated since it was looked at. */
static bool
is_of_other_release(PGconn *pg)
{
	bool was_old = release_is_old();
	PGresult *result = PQexec(pg, RELEASE_SQL);

	release_learn(result);
	PQclear(result);
	return release_is_old() != was_old;
}

static void
answer(PGconn **pg, const char *message)
{
	PGresult *result;

	if (!is_connected(pg))
	{
		answer_error("the database is away");
		return;
	}
	result = call(*pg, message);
	if (PQntuples(result) != 1 && is_of_other_release(*pg))
	{
		PQclear(result);
		result = call(*pg, message);
	}
	if (PQntuples(result) != 1)
	{
		log_write(LOG_LEVEL_WARNING, "statement failed function=" FUNCTION " error=\"%s\"",
				  PQresultErrorMessage(result));
		answer_error(PQresultErrorMessage(result));
	}
	else if (!PQgetisnull(result, 0, 1))
		puts(PQgetvalue(result, 0, 1));
	PQclear(result);
}

/* Until the end of the input; returns the program's exit status. */
int
mcp_stdio_serve(void)
{
	PGconn *pg = NULL;
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	while ((length = getline(&line, &room, stdin)) > 0)
	{
		if (line[length - 1] == '\n')
			line[--length] = '\0';
		if (length == 0)
			continue;
		if (strlen(line) < (size_t) length)
			answer_error("the message has a NUL byte");
		else if (length > options.max_body)
			answer_error("the message is too large");
		else
			answer(&pg, line);
		if (fflush(stdout) != 0)
			break;
	}
	free(line);
	PQfinish(pg);
	return ferror(stdin) || ferror(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
