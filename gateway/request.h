/*
 * request.h
 *		A request and its answer, and the client that it came from.
 *
 * A request that waits, for the database or for an event, is suspended: libmicrohttpd does not look at its connection
 * until it is resumed, and then asks for the answer.
 */
#ifndef EVQ_GATEWAY_REQUEST_H
#define EVQ_GATEWAY_REQUEST_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"
#include "database.h"
#include "headers.h"
#include "problem.h"
#include "routes.h"
#include "target.h"

/* A connection of a client. */
typedef struct Client
{
	struct MHD_Connection *connection;
	int fd;
	char address[64];
	char group[64];          /* whom the limit of connections counts as one: an address, or the /64 of IPv6 */
	bool is_refused;         /* its group has too many connections */
	bool is_busy;            /* with a request that was received */
	int64_t deadline;        /* 0 = none */
	struct Request *request; /* NULL = none was received */
	struct Client *next;
	struct Client *previous;
} Client;

typedef struct Request
{
	struct MHD_Connection *connection;
	Client *client;
	int64_t started_at;

	Target target;
	const char *target_problem;
	Headers headers;
	const Route *route; /* NULL = none */
	const char *variable;
	const char *role; /* NULL = that of the gateway's own connection; else role_name */
	char role_name[64];
	char *token; /* NULL = none, or none is needed */
	Buffer body;

	bool is_admitted; /* its header was looked at */
	bool is_begun;    /* all of it has come and was acted on */
	bool is_suspended;

	Call call;
	char client_name[101]; /* "" = it has none, or it need not be known */
	Buffer query_json;
	Buffer headers_json;
	struct Wait *wait;                         /* for an event */
	void (*admitted)(struct Request *request); /* to the live stream: makes the answer */

	/* The answer, once status is not 0. response: in place of answer. content_type: NULL = the response has all headers. */
	int status;
	struct MHD_Response *response;
	Buffer answer;
	const char *content_type;
	char sqlstate[6]; /* "" = no statement failed */
	char allow[ROUTES_METHODS];
	bool must_close;
	bool is_sent;
} Request;

extern void request_set_role(Request *request, const char *role);
extern void request_answer(Request *request, int status, const char *content_type);
extern void request_refuse(Request *request, int status, const char *title, const char *hint);
extern void request_refuse_result(Request *request, const PGresult *result);
extern void request_refuse_away(Request *request);
extern void request_suspend(Request *request);
extern void request_resume(Request *request);
extern bool request_is_gone(const Request *request);
extern enum MHD_Result request_send(Request *request);
extern void request_free(Request *request);

#endif /* EVQ_GATEWAY_REQUEST_H */
