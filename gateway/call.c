/*
 * call.c
 *		Routes that are SQL functions.
 */
#include "call.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "loop.h"
#include "metrics.h"
#include "options.h"
#include "release.h"
#include "wait.h"

#define JSON "application/json"
#define PROMETHEUS_TEXT "text/plain; version=0.0.4; charset=utf-8"
#define HEALTH_AWAY "{\"status\": \"down\", \"database\": \"away\"}\n"

/* What the functions are called with. The values are typed, so that no other function of the name can be meant. */
static const char *const arguments[] = {
	[ROUTE_CALL] = "($1::text, $2::jsonb, $3::jsonb, $4::jsonb)",
	[ROUTE_HEALTH] = "($1::text, $2::jsonb, $3::jsonb, $4::jsonb)",
	[ROUTE_MCP] = "($1::jsonb, $2::text, $3::boolean)",
	[ROUTE_METRICS] = "()",
};

static const char joint_arguments[] = "($1::jsonb[], $2::text[])";

/* The columns of a function that may have the client wait. */
enum
{
	COLUMN_ANSWER,
	COLUMN_WAIT_MS,
	COLUMN_CHANNEL,
	COLUMNS_OF_WAIT,
	COLUMN_CHOICE = COLUMNS_OF_WAIT /* since 0.3 */
};

static void ask(Request *request);

static void
finish(Request *request)
{
	wait_done(request, false);
	request_resume(request);
}

/* It has asked in vain and is willing to wait. false = its time is over. */
static bool
wait_on(Request *request, const PGresult *result)
{
	Buffer choice = {0};
	bool waits;

	if (request->variable != NULL)
		buffer_text(&choice, request->variable);
	buffer_text(&choice, "\n");
	if (PQnfields(result) > COLUMN_CHOICE)
		buffer_text(&choice, PQgetvalue(result, 0, COLUMN_CHOICE));
	else if (request->body.data != NULL)
		buffer_text(&choice, request->body.data);
	waits = wait_begin(request, PQgetvalue(result, 0, COLUMN_CHANNEL), choice.data,
					   atoi(PQgetvalue(result, 0, COLUMN_WAIT_MS)), ask, finish);
	buffer_free(&choice);
	return waits;
}

static void
take_value(Request *request, const PGresult *result, int column)
{
	buffer_append(&request->answer, PQgetvalue(result, 0, column), (size_t) PQgetlength(result, 0, column));
}

static void
take_answer(Request *request, const PGresult *result)
{
	buffer_free(&request->answer);
	switch (request->route->kind)
	{
		case ROUTE_MCP:
			take_value(request, result, 1);
			request_answer(request, atoi(PQgetvalue(result, 0, 0)), JSON);
			break;
		case ROUTE_METRICS:
			take_value(request, result, 0);
			metrics_write(&request->answer, true);
			request_answer(request, request->route->status, PROMETHEUS_TEXT);
			break;
		default:
			take_value(request, result, COLUMN_ANSWER);
			buffer_text(&request->answer, "\n");
			request_answer(request, request->route->status, JSON);
	}
}

/* The database is away, which some routes have an answer to. */
static void
answer_without_database(Request *request)
{
	buffer_free(&request->answer);
	if (request->route->kind == ROUTE_HEALTH)
	{
		buffer_text(&request->answer, HEALTH_AWAY);
		request_answer(request, MHD_HTTP_SERVICE_UNAVAILABLE, JSON);
	}
	else if (request->route->kind == ROUTE_METRICS)
	{
		metrics_write(&request->answer, false);
		request_answer(request, MHD_HTTP_OK, PROMETHEUS_TEXT);
	}
	else
		request_refuse_away(request);
}

static void
take_result(Call *call, const PGresult *result)
{
	Request *request = LOOP_OWNER(Request, call, call);

	if (result == NULL)
		answer_without_database(request);
	else if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		request_refuse_result(request, result);
	else
	{
		take_answer(request, result);
		if (PQnfields(result) >= COLUMNS_OF_WAIT)
		{
			if (PQgetisnull(result, 0, COLUMN_WAIT_MS))
				wait_done(request, true);
			else if (wait_on(request, result))
				return;
		}
	}
	finish(request);
}

static void
ask(Request *request)
{
	if (!database_submit(&request->call))
		take_result(&request->call, NULL);
}

static void
write_query(Request *request)
{
	buffer_text(&request->query_json, "{");
	for (int i = 0; i < request->target.parameter_count; i++)
		json_pair(&request->query_json, request->target.names[i], request->target.values[i]);
	buffer_text(&request->query_json, "}");
}

static void
write_headers(Request *request)
{
	buffer_text(&request->headers_json, "{");
	for (int i = HEADER_FIRST_HANDED_ON; i < HEADER_COUNT; i++)
		json_pair(&request->headers_json, header_names[i], request->headers.values[i]);
	buffer_text(&request->headers_json, "}");
}

/* NULL = it is the same in an old release. */
static const char *
statement_of(const Route *route, bool of_old_release)
{
	static char *made[64][2];
	char **statement = &made[route - routes][of_old_release];

	if (*statement == NULL)
		*statement = release_statement(route->function, arguments[route->kind], of_old_release);
	return *statement;
}

/* NULL = there is none; nor has an old release one. */
static const char *
joint_statement_of(const Route *route)
{
	static char *made[64];
	char **statement = &made[route - routes];

	if (*statement == NULL && route->joint_function != NULL)
		*statement = release_statement(route->joint_function, joint_arguments, false);
	return *statement;
}

/* The program at the other end as it calls itself, in what any encoding has. */
static const char *
name_client(Request *request)
{
	const char *given = request->headers.values[HEADER_USER_AGENT];
	size_t length = 0;

	for (; given != NULL && *given != '\0' && length < sizeof(request->client_name) - 1; given++)
	{
		if (*given >= ' ' && *given <= '~')
			request->client_name[length++] = *given;
	}
	return length > 0 ? request->client_name : NULL;
}

void
call_start(Request *request)
{
	Call *call = &request->call;

	write_query(request);
	write_headers(request);
	*call = (Call){.sql = statement_of(request->route, false),
				   .old_sql = statement_of(request->route, true),
				   .lane = request->route->lane,
				   .may_share = request->route->may_share,
				   .joint_sql = joint_statement_of(request->route),
				   .joint_json = request->body.data,
				   .joint_text = request->headers.values[HEADER_IDEMPOTENCY_KEY],
				   .done = take_result};
	if (request->route->kind != ROUTE_HEALTH)
		call->role = request->role;
	if (request->route->is_audited)
		call->client = name_client(request);
	switch (request->route->kind)
	{
		case ROUTE_METRICS:
			break;
		case ROUTE_MCP:
			call->values[0] = request->headers_json.data;
			call->values[1] = request->body.data != NULL ? request->body.data : "";
			call->values[2] = options.mcp_write ? "true" : "false";
			call->value_count = 3;
			break;
		default:
			call->values[0] = request->variable;
			call->values[1] = request->query_json.data;
			call->values[2] = request->headers_json.data;
			call->values[3] = request->body.data;
			call->value_count = 4;
	}
	request_suspend(request);
	ask(request);
}

/* Its client has left: what only reads is stopped, and it waits for nothing more. */
void
call_leave(Request *request)
{
	if (strcmp(request->route->method, "GET") == 0)
		database_abandon(&request->call);
	else
		wait_leave(request);
}
