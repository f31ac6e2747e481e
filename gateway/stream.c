/*
 * stream.c
 *		The live stream of what happens to events.
 *
 * While there is a reader we listen to the channel and ask the dispatcher, again and again, to go on telling. Where
 * something may have been missed stands a message {"type":"reset"}: the reader has to read the state anew.
 */
#include "stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "access.h"
#include "listener.h"
#include "log.h"
#include "loop.h"
#include "memory.h"
#include "options.h"

#define CHANNEL "evq_events"
#define WATCH_SQL "SELECT evq_watch('1 minute'::interval)"
#define WATCH_EVERY 10000
#define WATCH_RETRY 1000
#define WATCH_HOLDS 60000 /* the minute that it asks for */
#define SIGN_EVERY 15000
#define SEND_BUFFER 65536
#define RESET "{\"type\":\"reset\"}"

static StreamMessage **ring; /* the message of number n at n modulo stream_backlog */
static uint64_t next_number = 1;
static uint64_t run; /* tells the numbers of this run of the program from those of another */
static StreamMessage *gap;

static StreamReader *readers;
static bool ending;
static Channel *channel;
static Timer watch_timer;
static Timer sign_timer;
static Call watch_call;
static char watch_role[sizeof(((StreamReader *) NULL)->role)];
static bool watch_is_under_way;
static int64_t watch_asked_at;
static int64_t watched_until; /* the dispatcher tells for so long at least */
static bool has_gap;          /* something may have been missed */
static char
	sequence_of[32]; /* the dispatcher whose message came last, "" = none did, and the message's number */
static uint64_t sequence;

static uint64_t
oldest_number(void)
{
	uint64_t backlog = (uint64_t) options.stream_backlog;

	return next_number > backlog ? next_number - backlog : 1;
}

static void
wake_readers(void)
{
	StreamReader *next;

	for (StreamReader *reader = readers; reader != NULL; reader = next)
	{
		next = reader->next;
		if (reader->place < oldest_number())
			reader->kind->late(reader);
		else
			reader->kind->more(reader);
	}
}

static StreamMessage *
new_message(const char *before, const char *payload, const char *behind)
{
	size_t length = strlen(before) + strlen(payload) + strlen(behind);
	StreamMessage *message = memory_new(sizeof(StreamMessage) + length + 1);

	message->length = length;
	snprintf(message->text, length + 1, "%s%s%s", before, payload, behind);
	/* A line's end would end the message for readers of server-sent events; in JSON a blank is as good. */
	for (char *c = message->text; *c != '\0'; c++)
	{
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	}
	return message;
}

static void
add_message(StreamMessage *message)
{
	StreamMessage **place = &ring[next_number % (uint64_t) options.stream_backlog];

	free(*place);
	*place = message;
	next_number++;
	wake_readers();
}

/* The dispatcher counts its messages: where one is missing, so is what it told. */
static bool
is_next(const char *payload)
{
	char of[sizeof(sequence_of)];
	uint64_t number;
	bool is_next;

	if (sscanf(payload, "{\"seq\":\"%31[0-9]-%" SCNu64 "\"", of, &number) != 2)
		return true;
	is_next = sequence_of[0] == '\0' || (strcmp(of, sequence_of) == 0 && number == sequence + 1);
	memcpy(sequence_of, of, sizeof(sequence_of));
	sequence = number;
	return is_next;
}

static void
tell_event(Channel *listened, const char *payload)
{
	(void) listened;
	if (*payload != '{')
		return;
	if (!is_next(payload))
		add_message(new_message(RESET, "", ""));
	add_message(new_message("{\"type\":\"event_update\",\"event\":", payload, "}"));
}

/* ---------- watching ---------- */

static void
revoke_reader(StreamReader *reader, const char *why)
{
	log_write(LOG_LEVEL_INFO, "stream ended role=%s why=\"%s\"", reader->role[0] != '\0' ? reader->role : "-",
			  why);
	reader->kind->revoke(reader);
}

/* Tokens may have expired, or be gone. */
void
stream_review(void)
{
	StreamReader *next;

	for (StreamReader *reader = readers; reader != NULL; reader = next)
	{
		next = reader->next;
		if (!access_holds(reader->token, reader->role))
			revoke_reader(reader, "its token counts no more");
	}
}

static void
revoke_role(const char *role, const char *why)
{
	StreamReader *next;

	for (StreamReader *reader = readers; reader != NULL; reader = next)
	{
		next = reader->next;
		if (strcmp(reader->role, role) == 0)
			revoke_reader(reader, why);
	}
}

/* Is it the role that is refused, and not watching that fails? */
static bool
is_refusal(const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	/* Not granted; not a member of the role; there is no such role. */
	return sqlstate != NULL && (strcmp(sqlstate, "42501") == 0 || strcmp(sqlstate, "22023") == 0 ||
								strcmp(sqlstate, "42704") == 0);
}

static void
take_watch(void)
{
	if (loop_now() > watched_until)
		has_gap = true; /* nobody told for a while */
	watched_until = watch_asked_at + WATCH_HOLDS;
	if (has_gap && channel->is_active)
	{
		has_gap = false;
		sequence_of[0] = '\0';
		add_message(new_message(RESET, "", ""));
	}
}

static void ask_next_role(void);

static void
take_watch_result(Call *call, const PGresult *result)
{
	(void) call;
	watch_is_under_way = false;
	if (readers == NULL)
		return;
	if (result != NULL && PQresultStatus(result) == PGRES_TUPLES_OK)
		take_watch();
	else if (result != NULL && is_refusal(result))
		revoke_role(watch_role, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
	else
	{
		if (result != NULL)
			log_write(LOG_LEVEL_WARNING, "watching failed error=\"%s\"", PQresultErrorMessage(result));
		has_gap = true;
		loop_set_timer(&watch_timer, WATCH_RETRY);
		return;
	}
	ask_next_role();
}

/* Each role among the readers asks: one that may no more is found out, and is not what the others depend on. */
static void
ask_next_role(void)
{
	const StreamReader *reader = readers;

	while (reader != NULL && reader->is_asked_for)
		reader = reader->next;
	if (reader == NULL)
		return;
	memcpy(watch_role, reader->role, sizeof(watch_role));
	for (StreamReader *same = readers; same != NULL; same = same->next)
		same->is_asked_for |= strcmp(same->role, watch_role) == 0;
	watch_call = (Call){.sql = WATCH_SQL,
						.role = watch_role[0] != '\0' ? watch_role : NULL,
						.lane = LANE_CONTROL,
						.done = take_watch_result};
	watch_asked_at = loop_now();
	watch_is_under_way = database_submit(&watch_call);
	if (!watch_is_under_way)
	{
		has_gap = true;
		loop_set_timer(&watch_timer, WATCH_RETRY);
	}
}

static void
watch_on(Timer *timer)
{
	loop_set_timer(timer, WATCH_EVERY);
	if (watch_is_under_way)
		return;
	stream_review();
	for (StreamReader *reader = readers; reader != NULL; reader = reader->next)
		reader->is_asked_for = false;
	ask_next_role();
}

/* We listen, but nobody may have been telling: the gap ends when both are so. */
static void
begin_watching(Channel *listened)
{
	(void) listened;
	has_gap = true;
	watch_on(&watch_timer);
}

static const ChannelUser channel_user = {begin_watching, tell_event};

static void
give_signs(Timer *timer)
{
	stream_review();
	if (readers == NULL)
		return;
	for (StreamReader *reader = readers; reader != NULL; reader = reader->next)
		reader->sign_is_due = true;
	wake_readers();
	loop_set_timer(timer, SIGN_EVERY);
}

void
stream_start(void)
{
	ring = memory_new(sizeof(StreamMessage *) * (size_t) options.stream_backlog);
	run = (uint64_t) time(NULL) << 20 ^ (uint64_t) getpid();
	gap = new_message(RESET, "", "");
	watch_timer.due = watch_on;
	sign_timer.due = give_signs;
}

void
stream_end_all(void)
{
	StreamReader *next;

	ending = true;
	for (StreamReader *reader = readers; reader != NULL; reader = next)
	{
		next = reader->next;
		reader->kind->end(reader);
	}
}

/* For readers that do not take the end. */
void
stream_drop_all(void)
{
	StreamReader *next;

	for (StreamReader *reader = readers; reader != NULL; reader = next)
	{
		next = reader->next;
		reader->kind->late(reader);
	}
}

/* ---------- readers ---------- */

static void
take_admission(Call *call, const PGresult *result)
{
	Request *request = LOOP_OWNER(Request, call, call);

	if (result == NULL || PQresultStatus(result) != PGRES_TUPLES_OK)
		request_refuse_result(request, result);
	else if (!access_confirm(request))
		; /* it has its answer */
	else if (ending)
		request_refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "the gateway is about to stop", NULL);
	else
		request->admitted(request);
	request_resume(request);
}

/* Asks the database whether the request's role may watch; admitted() makes its answer. */
void
stream_admit(Request *request, void (*admitted)(Request *request))
{
	request->admitted = admitted;
	request->call = (Call){.sql = WATCH_SQL,
						   .role = request->role,
						   .lane = LANE_CONTROL,
						   .done = take_admission};
	request_suspend(request);
	if (!database_submit(&request->call))
		take_admission(&request->call, NULL);
}

/*
 * The place that a reader of an earlier connection wants to go on from. Where that is of another run of the program, or
 * too long ago, it is the next message, and the reader has to be told: false.
 */
static bool
find_place(const char *last_id, uint64_t *place)
{
	uint64_t of_run;
	uint64_t number;

	*place = next_number;
	if (last_id == NULL)
		return true;
	if (sscanf(last_id, "%" SCNx64 "-%" SCNu64, &of_run, &number) != 2 || of_run != run ||
		number >= next_number || number + 1 < oldest_number())
		return false;
	*place = number + 1;
	return true;
}

void
stream_join(StreamReader *reader, const StreamReaderKind *kind, const Request *request)
{
	bool was_alone = readers == NULL;

	reader->has_missed = !find_place(request->headers.values[HEADER_LAST_EVENT_ID], &reader->place);
	reader->kind = kind;
	memcpy(reader->role, request->role_name, sizeof(reader->role));
	reader->token = request->token != NULL ? memory_string(request->token) : NULL;
	reader->previous = NULL;
	reader->next = readers;
	if (readers != NULL)
		readers->previous = reader;
	readers = reader;
	if (was_alone)
	{
		channel = listener_add(CHANNEL, &channel_user);
		loop_set_timer(&watch_timer, WATCH_EVERY);
		loop_set_timer(&sign_timer, SIGN_EVERY);
	}
}

void
stream_leave(StreamReader *reader)
{
	free(reader->token);
	if (reader->previous != NULL)
		reader->previous->next = reader->next;
	else
		readers = reader->next;
	if (reader->next != NULL)
		reader->next->previous = reader->previous;
	if (readers != NULL)
		return;
	listener_remove(channel);
	loop_clear_timer(&watch_timer);
	loop_clear_timer(&sign_timer);
}

/* The next message, which stays until control returns to the loop; NULL = there is none. */
const StreamMessage *
stream_read(StreamReader *reader)
{
	if (reader->has_missed)
	{
		reader->has_missed = false;
		return gap;
	}
	if (reader->place >= next_number || reader->place < oldest_number())
		return NULL;
	return ring[reader->place++ % (uint64_t) options.stream_backlog];
}

/* What a slow reader has not taken stands in the ring, once for all, and not in the kernel. */
void
stream_limit_buffer(int fd)
{
	int size = SEND_BUFFER;

	(void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* Identifies the message that was read last. */
void
stream_id(const StreamReader *reader, char id[STREAM_ID_SIZE])
{
	snprintf(id, STREAM_ID_SIZE, "%" PRIx64 "-%" PRIu64, run, reader->place - 1);
}
