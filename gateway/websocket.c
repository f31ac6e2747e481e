/*
 * websocket.c
 *		The live stream over WebSocket: libmicrohttpd for the handshake, wslay for the frames.
 *
 * Clients have nothing to say but pong and close; what else they send is checked by wslay and otherwise ignored.
 */
#include "websocket.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "loop.h"
#include "memory.h"
#include "metrics.h"
#include "stream.h"

#define LARGEST_MESSAGE 65536
#define SILENCE_ALLOWED 60000
#define END_ALLOWED 5000
#define KEY_LENGTH 24
#define PROTOCOL "evq"

typedef struct WebSocket
{
	StreamReader reader;
	Watch watch;
	wslay_event_context_ptr frames;
	struct MHD_UpgradeResponseHandle *handle;
	char *early; /* bytes that came right behind the request */
	size_t early_length;
	size_t early_read;
	int64_t heard_at;
	bool has_ended; /* nothing more can be received */
	bool is_over;   /* all is sent; what still comes is thrown away */
} WebSocket;

/* ---------- a connection ---------- */

static void
close_socket(WebSocket *socket)
{
	stream_leave(&socket->reader);
	metrics_clients[METRICS_WEBSOCKET]--;
	loop_unwatch(&socket->watch);
	wslay_event_context_free(socket->frames);
	(void) MHD_upgrade_action(socket->handle, MHD_UPGRADE_ACTION_CLOSE);
	free(socket->early);
	free(socket);
}

static ssize_t
receive(wslay_event_context_ptr frames, uint8_t *data, size_t length, int flags, void *closure)
{
	WebSocket *socket = closure;
	ssize_t received;

	(void) flags;
	if (socket->early_read < socket->early_length)
	{
		size_t left = socket->early_length - socket->early_read;

		if (length > left)
			length = left;
		memcpy(data, socket->early + socket->early_read, length);
		socket->early_read += length;
		return (ssize_t) length;
	}
	received = recv(socket->watch.fd, data, length, MSG_DONTWAIT);
	if (received > 0)
	{
		socket->heard_at = loop_now();
		return received;
	}
	socket->has_ended = received == 0 || (errno != EAGAIN && errno != EINTR);
	wslay_event_set_error(frames, received < 0 && (errno == EAGAIN || errno == EINTR)
									  ? WSLAY_ERR_WOULDBLOCK
									  : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t
transmit(wslay_event_context_ptr frames, const uint8_t *data, size_t length, int flags, void *closure)
{
	WebSocket *socket = closure;
	ssize_t sent = send(socket->watch.fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);

	(void) flags;
	if (sent < 0)
		wslay_event_set_error(frames, errno == EAGAIN || errno == EINTR ? WSLAY_ERR_WOULDBLOCK
																		: WSLAY_ERR_CALLBACK_FAILURE);
	return sent;
}

/* Messages go to wslay one by one, each when the one before is sent: those that wait stay in the stream's ring. */
static bool
send_messages(WebSocket *socket)
{
	for (;;)
	{
		if (!wslay_event_want_write(socket->frames) && !wslay_event_get_close_sent(socket->frames))
		{
			const StreamMessage *message = stream_read(&socket->reader);
			struct wslay_event_msg next = {.opcode = WSLAY_TEXT_FRAME};

			if (message != NULL)
			{
				next.msg = (const uint8_t *) message->text;
				next.msg_length = message->length;
			}
			else if (socket->reader.sign_is_due)
				next.opcode = WSLAY_PING;
			else
				return true;
			socket->reader.sign_is_due = false;
			if (wslay_event_queue_msg(socket->frames, &next) != 0)
				return false;
		}
		if (wslay_event_send(socket->frames) != 0)
			return false;
		if (wslay_event_want_write(socket->frames))
			return true; /* the client's turn to read */
		if (wslay_event_get_close_sent(socket->frames))
			return !wslay_event_get_close_received(socket->frames);
	}
}

/*
 * Closing a socket that has something to read makes the kernel tell the other side of a failure, and our last words are
 * lost; so the client is the one to hang up.
 */
static void
let_client_end(WebSocket *socket)
{
	char unread[4096];
	ssize_t received;

	if (!socket->is_over)
	{
		socket->is_over = true;
		socket->heard_at = loop_now();
		(void) shutdown(socket->watch.fd, SHUT_WR);
		loop_watch(&socket->watch, socket->watch.fd, EPOLLIN);
	}
	received = recv(socket->watch.fd, unread, sizeof(unread), MSG_DONTWAIT);
	if (received == 0 || (received < 0 && errno != EAGAIN && errno != EINTR))
		close_socket(socket);
}

static void
go_on(WebSocket *socket)
{
	uint32_t wanted = 0;

	if (socket->is_over)
	{
		let_client_end(socket);
		return;
	}
	if (!socket->has_ended && send_messages(socket))
	{
		if (wslay_event_want_read(socket->frames))
			wanted |= EPOLLIN;
		if (wslay_event_want_write(socket->frames))
			wanted |= EPOLLOUT;
	}
	if (socket->has_ended)
		close_socket(socket);
	else if (wanted == 0)
		let_client_end(socket);
	else
		loop_watch(&socket->watch, socket->watch.fd, wanted);
}

static void
take_events(Watch *watch, uint32_t events)
{
	WebSocket *socket = LOOP_OWNER(WebSocket, watch, watch);

	/* Where this fails it has queued a close, or the connection has ended. */
	if ((events & ~(uint32_t) EPOLLOUT) != 0 && !socket->is_over)
		(void) wslay_event_recv(socket->frames);
	go_on(socket);
}

/* ---------- as a reader of the stream ---------- */

static void
continue_reading(StreamReader *reader)
{
	WebSocket *socket = LOOP_OWNER(WebSocket, reader, reader);

	if (loop_now() - socket->heard_at > (socket->is_over ? END_ALLOWED : SILENCE_ALLOWED))
		close_socket(socket);
	else
		go_on(socket);
}

static void
drop(StreamReader *reader)
{
	close_socket(LOOP_OWNER(WebSocket, reader, reader));
}

static void
say_goodbye(StreamReader *reader, uint16_t code)
{
	WebSocket *socket = LOOP_OWNER(WebSocket, reader, reader);

	(void) wslay_event_queue_close(socket->frames, code, NULL, 0);
	go_on(socket);
}

static void
end(StreamReader *reader)
{
	say_goodbye(reader, WSLAY_CODE_GOING_AWAY);
}

static void
cut_off(StreamReader *reader)
{
	say_goodbye(reader, WSLAY_CODE_POLICY_VIOLATION);
}

static const StreamReaderKind reader_kind = {continue_reading, drop, end, cut_off};

/* ---------- the handshake ---------- */

static void
open_socket(void *closure, struct MHD_Connection *connection, void *request_closure, const char *early,
			size_t early_length, MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
	static const struct wslay_event_callbacks callbacks = {.recv_callback = receive,
														   .send_callback = transmit};
	Request *request = closure;
	WebSocket *socket = memory_new(sizeof(WebSocket));

	(void) connection;
	(void) request_closure;
	socket->handle = handle;
	socket->early = memory_text(early_length > 0 ? early : "", early_length);
	socket->early_length = early_length;
	socket->heard_at = loop_now();
	socket->watch.fd = -1;
	socket->watch.ready = take_events;
	metrics_clients[METRICS_WEBSOCKET]++;
	stream_join(&socket->reader, &reader_kind, request);
	if (wslay_event_context_server_init(&socket->frames, &callbacks, socket) != 0)
		abort();
	wslay_event_config_set_max_recv_msg_length(socket->frames, LARGEST_MESSAGE);
	stream_limit_buffer(fd);
	loop_watch(&socket->watch, fd, EPOLLIN);
	if (early_length > 0)
		(void) wslay_event_recv(socket->frames);
	go_on(socket);
}

/* The proof that we understood the request: RFC 6455, 4.2.2. */
static void
make_accept(const char *key, char *accept, size_t size)
{
	char text[KEY_LENGTH + 37];
	unsigned char hash[20];
	gnutls_datum_t raw = {hash, sizeof(hash)};
	gnutls_datum_t encoded;

	snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	gnutls_hash_fast(GNUTLS_DIG_SHA1, text, strlen(text), hash);
	if (gnutls_base64_encode2(&raw, &encoded) != 0)
		abort();
	snprintf(accept, size, "%.*s", (int) encoded.size, (const char *) encoded.data);
	gnutls_free(encoded.data);
}

/* Is the name one of a list with commas? */
static bool
lists(const char *list, const char *name)
{
	while (list != NULL && *list != '\0')
	{
		size_t length;

		list += strspn(list, " \t,");
		length = strcspn(list, " \t,");
		if (length == strlen(name) && strncmp(list, name, length) == 0)
			return true;
		list += length;
	}
	return false;
}

static void
answer_handshake(Request *request)
{
	char accept[64];

	make_accept(request->headers.values[HEADER_SEC_WEBSOCKET_KEY], accept, sizeof(accept));
	request->status = MHD_HTTP_SWITCHING_PROTOCOLS;
	request->response = MHD_create_response_for_upgrade(open_socket, request);
	MHD_add_response_header(request->response, MHD_HTTP_HEADER_UPGRADE, "websocket");
	MHD_add_response_header(request->response, MHD_HTTP_HEADER_SEC_WEBSOCKET_ACCEPT, accept);
	if (lists(request->headers.values[HEADER_SEC_WEBSOCKET_PROTOCOL], PROTOCOL))
		MHD_add_response_header(request->response, MHD_HTTP_HEADER_SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
}

void
websocket_start(Request *request)
{
	const char *upgrade = request->headers.values[HEADER_UPGRADE];
	const char *version = request->headers.values[HEADER_SEC_WEBSOCKET_VERSION];
	const char *key = request->headers.values[HEADER_SEC_WEBSOCKET_KEY];

	if (upgrade == NULL || strcasecmp(upgrade, "websocket") != 0)
		request_refuse(request, MHD_HTTP_UPGRADE_REQUIRED, "this is for WebSocket",
					   "Connect with a WebSocket client, or use /api/stream.");
	else if (version == NULL || strcmp(version, "13") != 0)
		request_refuse(request, MHD_HTTP_UPGRADE_REQUIRED, "the version of WebSocket is not 13", NULL);
	else if (key == NULL || strlen(key) != KEY_LENGTH)
		request_refuse(request, MHD_HTTP_BAD_REQUEST, "Sec-WebSocket-Key is not a key", NULL);
	else
		stream_admit(request, answer_handshake);
}
