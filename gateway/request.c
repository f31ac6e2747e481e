/*
 * request.c
 *		A request and its answer.
 */
#include "request.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "log.h"
#include "loop.h"
#include "options.h"

#define RETRY_AFTER "1"

/* role: NULL = that of the gateway's own connection. */
void
request_set_role(Request *request, const char *role)
{
	if (role != NULL)
		strncpy(request->role_name, role, sizeof(request->role_name) - 1);
	request->role = role != NULL ? request->role_name : NULL;
}

/* The answer is in request->answer. */
void
request_answer(Request *request, int status, const char *content_type)
{
	request->status = status;
	request->content_type = content_type;
}

static void
answer_problem(Request *request, const Problem *problem)
{
	buffer_free(&request->answer);
	problem_write(&request->answer, problem);
	request_answer(request, problem->status, PROBLEM_CONTENT_TYPE);
}

/* hint: what to do; NULL = nothing to say. */
void
request_refuse(Request *request, int status, const char *title, const char *hint)
{
	Problem problem = {.status = status, .title = title, .hint = hint};

	answer_problem(request, &problem);
}

void
request_refuse_away(Request *request)
{
	Problem problem = {
		.status = MHD_HTTP_SERVICE_UNAVAILABLE,
		.title = "the database is away",
		.detail = connection_problem(),
		.hint = "Repeat the request; a publish with the same Idempotency-Key is done once.",
	};

	if (request->call.has_waited_too_long)
	{
		problem.title = "the database is busy";
		problem.detail = "what came before it took too long, or waits for a lock";
	}
	answer_problem(request, &problem);
}

/* The statement failed; result NULL: its connection was lost. What is our fault and not the caller's is not shown. */
void
request_refuse_result(Request *request, const PGresult *result)
{
	const char *sqlstate = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	bool is_of_statement;
	Problem problem = {0};

	if (sqlstate == NULL)
	{
		request_refuse_away(request);
		return;
	}
	is_of_statement = PQresultErrorField(result, PG_DIAG_CONTEXT) == NULL;
	problem.status = problem_status(sqlstate, is_of_statement);
	problem.sqlstate = sqlstate;
	problem.title = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	problem.detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	problem.hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	if (problem.status >= 500)
		log_write(LOG_LEVEL_WARNING, "statement failed function=%s sqlstate=%s error=\"%s\"",
				  request->route != NULL ? request->route->function : "-", sqlstate, problem.title);
	if (problem.status == 501 && is_of_statement)
	{
		problem.title = "the installed version of evq does not have this";
		problem.hint = "ALTER EXTENSION evq UPDATE may bring it.";
	}
	else if (strcmp(sqlstate, "54001") == 0)
	{
		problem.title = "the JSON is nested too deep";
		problem.hint = "Send JSON with fewer levels; the server's max_stack_depth is the limit.";
	}
	else if (problem.status == 500)
	{
		problem.title = "internal error";
		problem.detail = problem.hint = NULL;
	}
	answer_problem(request, &problem);
	strncpy(request->sqlstate, sqlstate, sizeof(request->sqlstate) - 1);
}

void
request_suspend(Request *request)
{
	request->is_suspended = true;
	MHD_suspend_connection(request->connection);
}

/* In the loop's next turn the answer is sent. */
void
request_resume(Request *request)
{
	if (!request->is_suspended)
		return;
	request->is_suspended = false;
	MHD_resume_connection(request->connection);
}

/* Has the client hung up? libmicrohttpd does not notice it for a suspended connection. */
bool
request_is_gone(const Request *request)
{
	struct pollfd poll_fd = {.fd = request->client->fd, .events = POLLRDHUP};

	return poll(&poll_fd, 1, 0) > 0;
}

static void
add_headers(const Request *request, struct MHD_Response *response)
{
	const char *origin = request->headers.values[HEADER_ORIGIN];

	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, request->content_type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (request->allow[0] != '\0')
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, request->allow);
	if (request->status == MHD_HTTP_SERVICE_UNAVAILABLE || request->status == MHD_HTTP_TOO_MANY_REQUESTS)
		MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, RETRY_AFTER);
	if (request->status == MHD_HTTP_UNAUTHORIZED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (origin != NULL && hosts_lists_origin(&options.hosts, origin))
	{
		MHD_add_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, origin);
		MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ORIGIN);
	}
	if (request->must_close)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

/* Hands the answer to libmicrohttpd, whose connection is not suspended. */
enum MHD_Result
request_send(Request *request)
{
	struct MHD_Response *response = request->response;
	enum MHD_Result result;

	request->response = NULL;
	if (response == NULL)
	{
		size_t length = request->answer.length;

		response = MHD_create_response_from_buffer(length, buffer_take(&request->answer),
												   MHD_RESPMEM_MUST_FREE);
	}
	if (request->content_type != NULL)
		add_headers(request, response);
	request->is_sent = true;
	result = MHD_queue_response(request->connection, (unsigned int) request->status, response);
	MHD_destroy_response(response);
	return result;
}

void
request_free(Request *request)
{
	if (request->response != NULL)
		MHD_destroy_response(request->response);
	free(request->token);
	target_free(&request->target);
	buffer_free(&request->body);
	buffer_free(&request->query_json);
	buffer_free(&request->headers_json);
	buffer_free(&request->answer);
	free(request);
}
