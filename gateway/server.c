/*
 * server.c
 *		The HTTP server: connections, what is admitted, and which route does it.
 *
 * libmicrohttpd reads and writes HTTP; we run it in our own loop. Its timeout counts from the last byte, so that a
 * client that sends one now and then would stay for ever: the deadlines here are for whole headers, bodies and answers.
 */
#include "server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "access.h"
#include "call.h"
#include "log.h"
#include "loop.h"
#include "memory.h"
#include "metrics.h"
#include "options.h"
#include "page.h"
#include "sse.h"
#include "stream.h"
#include "wait.h"
#include "websocket.h"

#define SWEEP_EVERY 500
#define SPARE_DESCRIPTORS 64
#define DESCRIPTORS_A_CLIENT 3
#define FEWEST_CLIENTS 10
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

static struct MHD_Daemon *daemon_handle;
static Watch daemon_watch = {.fd = -1};
static Timer sweep_timer;
static Timer stop_timer;
static bool stopping;
static Client *clients;

/* ---------- clients ---------- */

static void
set_deadline(Client *client, int seconds)
{
	client->deadline = loop_now() + seconds * INT64_C(1000);
}

static void
hang_up(Client *client)
{
	client->deadline = 0;
	(void) shutdown(client->fd, SHUT_RDWR);
}

/* libmicrohttpd does not look at the connection of a request that waits for us. */
static void
notice_leaving(const Client *client)
{
	Request *request = client->request;

	if (request != NULL && request->is_suspended && request->route->kind != ROUTE_STREAM &&
		request->route->kind != ROUTE_WEBSOCKET && request_is_gone(request))
		call_leave(request);
}

static void
sweep(Timer *timer)
{
	int64_t now = loop_now();

	for (Client *client = clients; client != NULL; client = client->next)
	{
		notice_leaving(client);
		if (client->deadline != 0 && client->deadline <= now)
		{
			log_write(LOG_LEVEL_INFO, "too slow client=%s", client->address);
			hang_up(client);
		}
	}
	loop_set_timer(timer, SWEEP_EVERY);
}

static void
name_client(Client *client, const struct sockaddr *address)
{
	if (address->sa_family == AF_INET6)
	{
		const struct sockaddr_in6 *v6 = (const void *) address;
		const unsigned char *bytes = v6->sin6_addr.s6_addr;

		inet_ntop(AF_INET6, &v6->sin6_addr, client->address, sizeof(client->address));
		snprintf(client->group, sizeof(client->group), "%02x%02x:%02x%02x:%02x%02x:%02x%02x", bytes[0],
				 bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]);
	}
	else
	{
		const struct sockaddr_in *v4 = (const void *) address;

		inet_ntop(AF_INET, &v4->sin_addr, client->address, sizeof(client->address));
		snprintf(client->group, sizeof(client->group), "%s", client->address);
	}
}

static Client *
add_client(struct MHD_Connection *connection)
{
	Client *client = memory_new(sizeof(Client));
	int others = 0;

	client->connection = connection;
	client->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	name_client(client, MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
	for (Client *other = clients; other != NULL; other = other->next)
		others += strcmp(other->group, client->group) == 0;
	client->is_refused = options.max_connections_per_client > 0 &&
						 others >= options.max_connections_per_client;
	set_deadline(client, options.header_timeout);
	client->next = clients;
	if (clients != NULL)
		clients->previous = client;
	clients = client;
	metrics_clients[METRICS_HTTP]++;
	return client;
}

static void
remove_client(Client *client)
{
	if (client->previous != NULL)
		client->previous->next = client->next;
	else
		clients = client->next;
	if (client->next != NULL)
		client->next->previous = client->previous;
	metrics_clients[METRICS_HTTP]--;
	free(client);
}

static void
on_connection(void *closure, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	(void) closure;
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		*context = add_client(connection);
	else
	{
		remove_client(*context);
		*context = NULL;
	}
}

/* ---------- what is admitted ---------- */

static void
refuse_and_close(Request *request, int status, const char *title, const char *hint)
{
	request_refuse(request, status, title, hint);
	request->must_close = true;
}

/* The length of the body; -1 = not a length. */
static int64_t
body_length(const Request *request)
{
	const char *text = request->headers.values[HEADER_CONTENT_LENGTH];

	if (text == NULL)
		return 0;
	if (*text == '\0' || strlen(text) > 18 || text[strspn(text, "0123456789")] != '\0')
		return -1;
	return strtoll(text, NULL, 10);
}

/* Where one request ends and the next begins must be beyond doubt. */
static bool
admit_framing(Request *request, const char *method, const char *version)
{
	const char *problem = headers_read(&request->headers, request->connection, method, version);
	bool has_length = request->headers.values[HEADER_CONTENT_LENGTH] != NULL;

	if (request->client->is_refused)
		refuse_and_close(request, MHD_HTTP_TOO_MANY_REQUESTS, "too many connections from this address",
						 "Close some, or reuse them.");
	else if (problem != NULL)
		refuse_and_close(request, MHD_HTTP_BAD_REQUEST, problem, NULL);
	else if (request->headers.values[HEADER_TRANSFER_ENCODING] != NULL && has_length)
		refuse_and_close(request, MHD_HTTP_BAD_REQUEST, "both Transfer-Encoding and Content-Length", NULL);
	else if (request->headers.values[HEADER_TRANSFER_ENCODING] != NULL)
		refuse_and_close(request, MHD_HTTP_LENGTH_REQUIRED, "Transfer-Encoding is not accepted",
						 "Send the body with a Content-Length.");
	else if (body_length(request) < 0)
		refuse_and_close(request, MHD_HTTP_BAD_REQUEST, "Content-Length is not a number", NULL);
	else if (body_length(request) > options.max_body)
		refuse_and_close(request, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large",
						 "The gateway's --max-body says how much it takes.");
	return request->status == 0;
}

static bool
admit_page(Request *request)
{
	const char *host = request->headers.values[HEADER_HOST];
	const char *origin = request->headers.values[HEADER_ORIGIN];

	if (host == NULL)
		request_refuse(request, MHD_HTTP_BAD_REQUEST, "there is no Host header", NULL);
	else if (!hosts_serves(&options.hosts, host))
		request_refuse(request, MHD_HTTP_FORBIDDEN, "the Host header is not a name of this server",
					   "The gateway's --host adds names.");
	else if (origin != NULL && !hosts_admits_origin(&options.hosts, origin, host))
		request_refuse(request, MHD_HTTP_FORBIDDEN, "pages of this Origin may not call",
					   "The gateway's --origin admits them.");
	return request->status == 0;
}

static bool
admit_route(Request *request, const char *method)
{
	bool is_head = strcmp(method, "HEAD") == 0;

	request->route = routes_find(&request->target, method, &request->variable, request->allow);
	if (request->route != NULL && is_head &&
		(request->route->kind == ROUTE_STREAM || request->route->kind == ROUTE_WEBSOCKET))
	{
		strcpy(request->allow, "GET");
		request->route = NULL;
	}
	if (request->route != NULL)
		return true;
	if (request->allow[0] != '\0')
		request_refuse(request, MHD_HTTP_METHOD_NOT_ALLOWED, "the method is not one of this path", NULL);
	else
		request_refuse(request, MHD_HTTP_NOT_FOUND, "there is nothing at this path",
					   "GET /openapi.json lists what there is.");
	return false;
}

static bool
is_json(const char *content_type)
{
	static const char json[] = "application/json";
	size_t length = sizeof(json) - 1;

	return content_type != NULL && strncasecmp(content_type, json, length) == 0 &&
		   (content_type[length] == '\0' || content_type[length] == ';' || content_type[length] == ' ');
}

static bool
is_encoded(const char *content_encoding)
{
	return content_encoding != NULL && strcasecmp(content_encoding, "identity") != 0;
}

static bool
admit_body(Request *request)
{
	if (body_length(request) == 0)
		return true;
	if (strcmp(request->route->method, "GET") == 0)
		request_refuse(request, MHD_HTTP_BAD_REQUEST, "a GET has no body", NULL);
	else if (!is_json(request->headers.values[HEADER_CONTENT_TYPE]))
		request_refuse(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "the body is not application/json",
					   "Send the header Content-Type: application/json.");
	else if (is_encoded(request->headers.values[HEADER_CONTENT_ENCODING]))
		request_refuse(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "the body has a Content-Encoding",
					   "Send it as it is, not compressed.");
	return request->status == 0;
}

/* A browser asks whether a page of a listed origin may send what it is about to send. */
static bool
is_preflight(const Request *request, const char *method)
{
	const char *origin = request->headers.values[HEADER_ORIGIN];

	return strcmp(method, "OPTIONS") == 0 && origin != NULL && hosts_lists_origin(&options.hosts, origin) &&
		   request->headers.values[HEADER_ACCESS_CONTROL_REQUEST_METHOD] != NULL;
}

static void
answer_preflight(Request *request)
{
	request_answer(request, MHD_HTTP_NO_CONTENT, "text/plain");
	request->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(request->response, "Access-Control-Allow-Methods", "GET, POST, PUT");
	MHD_add_response_header(
		request->response, "Access-Control-Allow-Headers",
		"Authorization, Content-Type, Idempotency-Key, Last-Event-ID, MCP-Protocol-Version, Mcp-Method, Mcp-Name");
	MHD_add_response_header(request->response, "Access-Control-Max-Age", "600");
}

/* Looks at the header; what is not admitted has its answer. */
static void
admit(Request *request, const char *method, const char *version)
{
	const File *file;

	if (!admit_framing(request, method, version) || !admit_page(request))
		return;
	if (request->target_problem != NULL)
	{
		request_refuse(request, MHD_HTTP_BAD_REQUEST, request->target_problem, NULL);
		return;
	}
	if (is_preflight(request, method))
	{
		answer_preflight(request);
		return;
	}
	file = files_find(request->target.path);
	if (file != NULL && (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0))
	{
		page_answer(request, file);
		return;
	}
	if (!admit_route(request, method) || !access_admit(request))
		return;
	(void) admit_body(request);
}

/* ---------- requests ---------- */

/* The request line has come: the target as it was sent. What this returns is the request's from here on. */
static void *
on_target(void *closure, const char *raw, struct MHD_Connection *connection)
{
	Request *request = memory_new(sizeof(Request));

	(void) closure;
	request->connection = connection;
	request->started_at = loop_now();
	request->client = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	request->target_problem = target_parse(&request->target, raw);
	return request;
}

/* libmicrohttpd shall not decode anything: that is done once, and by target.c. */
static size_t
leave_encoded(void *closure, struct MHD_Connection *connection, char *text)
{
	(void) closure;
	(void) connection;
	return strlen(text);
}

static void
act(Request *request)
{
	if (request->body.data != NULL && memchr(request->body.data, '\0', request->body.length) != NULL)
	{
		request_refuse(request, MHD_HTTP_BAD_REQUEST, "the body has a NUL", NULL);
		return;
	}
	switch (request->route->kind)
	{
		case ROUTE_STREAM:
			sse_start(request);
			break;
		case ROUTE_WEBSOCKET:
			websocket_start(request);
			break;
		default:
			call_start(request);
	}
}

static enum MHD_Result
on_request(void *closure, struct MHD_Connection *connection, const char *url, const char *method,
		   const char *version, const char *data, size_t *length, void **context)
{
	Request *request = *context;

	(void) closure;
	(void) connection;
	(void) url;
	if (!request->is_admitted)
	{
		request->is_admitted = true;
		request->client->is_busy = true;
		request->client->request = request;
		set_deadline(request->client, options.body_timeout);
		admit(request, method, version);
		/* An answer now would close the connection, so it waits for the body where it can. */
		return request->must_close ? request_send(request) : MHD_YES;
	}
	if (*length > 0)
	{
		if (request->status == 0)
			buffer_append(&request->body, data, *length);
		*length = 0;
		return MHD_YES;
	}
	if (request->is_sent)
		return MHD_YES;
	if (!request->is_begun)
	{
		request->is_begun = true;
		request->client->deadline = 0;
		if (request->status == 0)
			act(request);
	}
	if (request->is_suspended)
		return MHD_YES;
	request->must_close |= stopping;
	if (request->route == NULL ||
		(request->route->kind != ROUTE_STREAM && request->route->kind != ROUTE_WEBSOCKET))
		set_deadline(request->client, options.body_timeout);
	return request_send(request);
}

static void
log_request(const Request *request, int64_t milliseconds)
{
	log_write(LOG_LEVEL_INFO, "request method=%s route=%s status=%d ms=%lld client=%s role=%s sqlstate=%s",
			  request->route != NULL ? request->route->method : "-",
			  request->route != NULL ? request->route->pattern : "-", request->status,
			  (long long) milliseconds, request->client->address, request->role != NULL ? request->role : "-",
			  request->sqlstate[0] != '\0' ? request->sqlstate : "-");
}

static void
on_completed(void *closure, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	Request *request = *context;

	(void) closure;
	(void) connection;
	(void) code;
	if (request == NULL)
		return;
	*context = NULL;
	if (request->is_admitted)
	{
		int64_t milliseconds = loop_now() - request->started_at;

		log_request(request, milliseconds);
		metrics_count(request->route, request->status, milliseconds);
	}
	request->client->is_busy = false;
	request->client->request = NULL;
	set_deadline(request->client, options.idle_timeout);
	if (stopping)
		hang_up(request->client);
	request_free(request);
}

/* ---------- the server ---------- */

static void
log_message(void *closure, const char *format, va_list arguments) __attribute__((format(printf, 2, 0)));

static void
log_message(void *closure, const char *format, va_list arguments)
{
	(void) closure;
	log_write_list(LOG_LEVEL_DEBUG, format, arguments);
}

static void
give_up(const char *what)
{
	log_write(LOG_LEVEL_ERROR, "%s", what);
	exit(1);
}

static void
run_daemon(Watch *watch, uint32_t events)
{
	/* Each turn runs it. */
	(void) watch;
	(void) events;
}

/* Descriptors beyond the limit would make the listening socket spin. */
static int
most_connections(void)
{
	rlim_t others = (rlim_t) (SPARE_DESCRIPTORS + database_sessions());
	rlim_t wanted = others + (rlim_t) options.max_connections * DESCRIPTORS_A_CLIENT;
	rlim_t needed = others + DESCRIPTORS_A_CLIENT * FEWEST_CLIENTS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return options.max_connections;
	limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
	(void) setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= wanted)
		return options.max_connections;
	if (limit.rlim_cur < needed)
	{
		log_write(LOG_LEVEL_ERROR, "too few open files are allowed limit=%llu needed=%llu hint=\"ulimit -n\"",
				  (unsigned long long) limit.rlim_cur, (unsigned long long) needed);
		exit(1);
	}
	log_write(LOG_LEVEL_WARNING, "fewer connections max=%d why=\"the limit of open files is %llu\"",
			  (int) ((limit.rlim_cur - others) / DESCRIPTORS_A_CLIENT), (unsigned long long) limit.rlim_cur);
	return (int) ((limit.rlim_cur - others) / DESCRIPTORS_A_CLIENT);
}

/* Stays for as long as libmicrohttpd may look at it. */
static char *
read_pem(const char *path)
{
	size_t length;
	char *text = options_read_file(path, &length);

	if (text == NULL)
		exit(1);
	return text;
}

static void
listen_at(struct sockaddr_storage *address)
{
	struct sockaddr_in *v4 = (void *) address;
	struct sockaddr_in6 *v6 = (void *) address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, options.listen, &v4->sin_addr) == 1)
	{
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t) options.port);
	}
	else if (inet_pton(AF_INET6, options.listen, &v6->sin6_addr) == 1)
	{
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t) options.port);
	}
	else
		give_up("--listen is not an IP address");
}

void
server_start(void)
{
	struct sockaddr_storage address;
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG;
	static struct MHD_OptionItem tls[] = {{MHD_OPTION_END, 0, NULL},
										  {MHD_OPTION_END, 0, NULL},
										  {MHD_OPTION_END, 0, NULL},
										  {MHD_OPTION_END, 0, NULL}};

	listen_at(&address);
	if (address.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	if (options.tls_certificate != NULL)
	{
		flags |= MHD_USE_TLS;
		tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, read_pem(options.tls_certificate)};
		tls[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, read_pem(options.tls_key)};
		tls[2] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *) TLS_PRIORITIES};
	}
	daemon_handle = MHD_start_daemon(flags, 0, NULL, NULL, on_request, NULL, MHD_OPTION_EXTERNAL_LOGGER,
									 log_message, NULL, MHD_OPTION_SOCK_ADDR, &address,
									 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) options.max_header,
									 MHD_OPTION_CONNECTION_LIMIT, (unsigned int) most_connections(),
									 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) options.idle_timeout,
									 MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
									 MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL,
									 MHD_OPTION_URI_LOG_CALLBACK, on_target, NULL,
									 MHD_OPTION_UNESCAPE_CALLBACK, leave_encoded, NULL,
									 MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	if (daemon_handle == NULL)
		give_up(
			"cannot listen: the address is taken or not of this machine, or the certificate is not usable; --log-level=debug tells");
	daemon_watch.ready = run_daemon;
	loop_watch(&daemon_watch, MHD_get_daemon_info(daemon_handle, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
			   EPOLLIN);
	sweep_timer.due = sweep;
	loop_set_timer(&sweep_timer, SWEEP_EVERY);
	log_write(LOG_LEVEL_INFO, "listening address=%s port=%u tls=%s tokens=%d version=" EVQ_VERSION,
			  options.listen, MHD_get_daemon_info(daemon_handle, MHD_DAEMON_INFO_BIND_PORT)->port,
			  options.tls_certificate != NULL ? "yes" : "no", tokens.count);
}

/* Returns for how many milliseconds the loop can wait; -1 = for ever. */
int
server_turn(void)
{
	MHD_UNSIGNED_LONG_LONG wait;

	(void) MHD_run(daemon_handle);
	if (stopping && clients == NULL)
		loop_end();
	return MHD_get_timeout(daemon_handle, &wait) == MHD_YES ? (int) wait : -1;
}

static void
stop_waiting(Timer *timer)
{
	(void) timer;
	log_write(LOG_LEVEL_WARNING, "stopping although requests are in flight");
	loop_end();
}

/* No new connections; what is in flight is finished, and then the loop ends. */
void
server_stop(void)
{
	MHD_socket listening;

	if (stopping)
		return;
	stopping = true;
	log_write(LOG_LEVEL_INFO, "stopping");
	listening = MHD_quiesce_daemon(daemon_handle);
	if (listening != MHD_INVALID_SOCKET)
		close(listening);
	for (Client *client = clients; client != NULL; client = client->next)
	{
		if (!client->is_busy)
			hang_up(client);
	}
	stream_end_all();
	wait_end_all();
	stop_timer.due = stop_waiting;
	loop_set_timer(&stop_timer, options.stop_timeout * INT64_C(1000));
}

/* After the loop: no request waits for the database any more. */
void
server_close(void)
{
	stream_drop_all();
	for (Client *client = clients; client != NULL; client = client->next)
		hang_up(client);
	loop_unwatch(&daemon_watch);
	(void) MHD_run(daemon_handle);
	MHD_stop_daemon(daemon_handle);
}
