/*
 * sse.c
 *		The live stream as server-sent events.
 */
#include "sse.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "loop.h"
#include "memory.h"
#include "metrics.h"
#include "stream.h"

#define BLOCK_SIZE 16384

typedef struct Sse
{
	StreamReader reader;
	Request *request;
	Buffer line; /* what is being sent */
	size_t sent;
	bool is_over;
} Sse;

static void
resume(StreamReader *reader)
{
	Sse *sse = LOOP_OWNER(Sse, reader, reader);

	request_resume(sse->request);
}

static void
drop(StreamReader *reader)
{
	Sse *sse = LOOP_OWNER(Sse, reader, reader);

	sse->is_over = true;
	(void) shutdown(sse->request->client->fd, SHUT_RDWR);
	request_resume(sse->request);
}

static void
end(StreamReader *reader)
{
	Sse *sse = LOOP_OWNER(Sse, reader, reader);

	sse->is_over = true;
	request_resume(sse->request);
}

static const StreamReaderKind reader_kind = {resume, drop, end, end};

/* The next bytes to be sent, if there are any. */
static bool
fill_line(Sse *sse)
{
	const StreamMessage *message;
	char id[STREAM_ID_SIZE];

	if (sse->sent < sse->line.length)
		return true;
	sse->line.length = 0;
	sse->sent = 0;
	message = stream_read(&sse->reader);
	if (message != NULL)
	{
		stream_id(&sse->reader, id);
		buffer_format(&sse->line, "id: %s\ndata: ", id);
		buffer_append(&sse->line, message->text, message->length);
		buffer_text(&sse->line, "\n\n");
	}
	else if (sse->reader.sign_is_due)
		buffer_text(&sse->line, ":\n\n");
	else
		return false;
	sse->reader.sign_is_due = false;
	return true;
}

static ssize_t
read_stream(void *closure, uint64_t position, char *data, size_t room)
{
	Sse *sse = closure;
	size_t length = 0;

	(void) position;
	if (sse->is_over)
		return MHD_CONTENT_READER_END_OF_STREAM;
	while (length < room && fill_line(sse))
	{
		size_t part = sse->line.length - sse->sent;

		if (part > room - length)
			part = room - length;
		memcpy(data + length, sse->line.data + sse->sent, part);
		sse->sent += part;
		length += part;
	}
	if (length == 0)
		request_suspend(sse->request);
	return (ssize_t) length;
}

static void
leave(void *closure)
{
	Sse *sse = closure;

	stream_leave(&sse->reader);
	metrics_clients[METRICS_SSE]--;
	buffer_free(&sse->line);
	free(sse);
}

static void
open_stream(Request *request)
{
	Sse *sse = memory_new(sizeof(Sse));
	char id[STREAM_ID_SIZE];

	sse->request = request;
	stream_limit_buffer(request->client->fd);
	stream_join(&sse->reader, &reader_kind, request);
	metrics_clients[METRICS_SSE]++;
	stream_id(&sse->reader, id);
	buffer_format(&sse->line, "retry: 2000\nid: %s\n\n", id);
	request_answer(request, MHD_HTTP_OK, "text/event-stream");
	request->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE, read_stream, sse,
														  leave);
	/* Proxies shall not keep the messages until they have enough of them. */
	MHD_add_response_header(request->response, "X-Accel-Buffering", "no");
}

void
sse_start(Request *request)
{
	stream_admit(request, open_stream);
}
