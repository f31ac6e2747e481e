/*
 * token.c
 *		The token of a batch: a value that names its events and permits.
 *
 * Who calls passes it back as it is, from whatever session. Its form is nobody
 * else's business and may change: the first byte says which it is. It is as
 * secret as the permits in it, and no more: what the engine believes are the
 * events' rows. The checksum only tells a token that was cut or mixed up from
 * one whose permits are lost.
 *
 * Form 1, in base64, numbers with the highest byte first:
 *
 *		1 byte		1, the form
 *		4 bytes		where: a checksum of the system identifier and the database
 *		4 bytes		the epoch of all permits
 *		20 bytes	an event: its id, and what is left of its permit; up to 10,000 of them
 *		4 bytes		checksum of all before
 *
 * Form 2, where neighbours of a batch have one permit, which are named at once:
 *
 *		9 bytes		as above, but for the form
 *		22 bytes	the id of the first of them, how many they are (2 bytes), what is left of the permit
 *		4 bytes		checksum of all before
 */
#include "postgres.h"

#include "access/xlog.h"
#include "common/base64.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "rules/uuid.h"
#include "session/token.h"

#define FORM 1
#define FORM_OF_RUNS 2
#define HEAD_BYTES 9
#define EVENT_BYTES 20
#define RUN_BYTES (EVENT_BYTES + 2)
#define MAX_EVENTS 10000
#define CHECKSUM_BYTES 4

static char *
put_number(char *bytes, uint32 number)
{
	number = pg_hton32(number);
	memcpy(bytes, &number, sizeof(number));
	return bytes + sizeof(number);
}

static uint32
read_number(const char *bytes)
{
	uint32 number;

	memcpy(&number, bytes, sizeof(number));
	return pg_ntoh32(number);
}

static uint32
checksum(const char *bytes, int length)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, length);
	FIN_CRC32C(crc);
	return crc;
}

/* This database of this server. A standby that takes its place is the same. */
static uint32
number_of_here(void)
{
	uint64 server = pg_hton64(GetSystemIdentifier());
	uint32 database = pg_hton32(MyDatabaseId);
	char bytes[sizeof(server) + sizeof(database)];

	memcpy(bytes, &server, sizeof(server));
	memcpy(bytes + sizeof(server), &database, sizeof(database));
	return checksum(bytes, sizeof(bytes));
}

/* How many events, from the first on, are neighbours in a batch with one permit? */
static int
count_neighbours(const pg_uuid_t *event_ids, const int64 *permits, int count)
{
	int ordinal = evq_uuid_ordinal(&event_ids[0]);
	int neighbours = 1;

	while (evq_uuid_is_of_batch(&event_ids[0]) && neighbours < count && permits[neighbours] == permits[0] &&
		   evq_uuid_ordinal(&event_ids[neighbours]) == ordinal + neighbours &&
		   evq_uuid_is_same_batch(&event_ids[0], &event_ids[neighbours]))
		neighbours++;
	return neighbours;
}

static int
count_runs(const pg_uuid_t *event_ids, const int64 *permits, int count)
{
	int runs = 0;

	for (int i = 0; i < count; i += count_neighbours(&event_ids[i], &permits[i], count - i))
		runs++;
	return runs;
}

/* Makes the token of a batch, a text in the current memory context. All permits are of one epoch, and there is at least one. */
Datum
evq_token_make(const pg_uuid_t *event_ids, const int64 *permits, int count)
{
	int runs = count_runs(event_ids, permits, count);
	bool is_of_runs = runs < count;
	int length = HEAD_BYTES + runs * (is_of_runs ? RUN_BYTES : EVENT_BYTES) + CHECKSUM_BYTES;
	int room = pg_b64_enc_len(length);
	char *bytes = palloc(length);
	char *next = bytes;
	text *token = palloc(VARHDRSZ + room);
	int written;

	Assert(count > 0);
	*next++ = is_of_runs ? FORM_OF_RUNS : FORM;
	next = put_number(next, number_of_here());
	next = put_number(next, (uint32) EVQ_PERMIT_EPOCH(permits[0]));
	for (int i = 0; i < count;)
	{
		int neighbours = count_neighbours(&event_ids[i], &permits[i], count - i);

		if (EVQ_PERMIT_EPOCH(permits[i]) != EVQ_PERMIT_EPOCH(permits[0]))
			elog(ERROR, "permits of two epochs in a batch");
		memcpy(next, &event_ids[i], UUID_LEN);
		next += UUID_LEN;
		if (is_of_runs)
		{
			*next++ = (char) (neighbours >> 8);
			*next++ = (char) neighbours;
		}
		next = put_number(next, (uint32) permits[i]);
		i += neighbours;
	}
	put_number(next, checksum(bytes, next - bytes));
	written = pg_b64_encode((void *) bytes, length, VARDATA(token), room);
	if (written < 0)
		elog(ERROR, "could not encode a token");
	SET_VARSIZE(token, VARHDRSZ + written);
	pfree(bytes);
	return PointerGetDatum(token);
}

static void
refuse(const char *what)
{
	ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("token is %s", what),
					errhint("Pass the token as evq_acquire_batch() has returned it, whole.")));
}

/* Reads the events of the form that names each. */
static void
read_events(EvqReports *reports, const char *next, int length, int32 epoch)
{
	reports->count = length / EVENT_BYTES;
	reports->attempts = palloc(reports->count * sizeof(EvqAttempt));
	for (int i = 0; i < reports->count; i++, next += EVENT_BYTES)
	{
		memcpy(&reports->attempts[i].event_id, next, UUID_LEN);
		reports->attempts[i].permit.given = true;
		reports->attempts[i].permit.value = EVQ_PERMIT_MAKE(epoch, read_number(next + UUID_LEN));
	}
}

/* Reads the events of the form that names neighbours at once. */
static void
read_runs(EvqReports *reports, const char *next, int length, int32 epoch)
{
	int room = 0;

	for (int i = 0; i < length; i += RUN_BYTES)
		room += (uint8) next[i + UUID_LEN] << 8 | (uint8) next[i + UUID_LEN + 1];
	if (room > MAX_EVENTS)
		refuse("of another version of evq");
	reports->count = 0;
	reports->attempts = palloc(Max(room, 1) * sizeof(EvqAttempt));
	for (const char *end = next + length; next < end; next += RUN_BYTES)
	{
		int neighbours = (uint8) next[UUID_LEN] << 8 | (uint8) next[UUID_LEN + 1];
		EvqPermit permit = {true, EVQ_PERMIT_MAKE(epoch, read_number(next + UUID_LEN + 2))};
		pg_uuid_t first;

		memcpy(&first, next, UUID_LEN);
		if (evq_uuid_ordinal(&first) + neighbours > EVQ_UUID_BATCH_ROOM)
			refuse("of another version of evq");
		for (int i = 0; i < neighbours; i++)
		{
			EvqAttempt *attempt = &reports->attempts[reports->count++];

			attempt->event_id = i == 0 ? first : evq_uuid_in_batch(&first, evq_uuid_ordinal(&first) + i);
			attempt->permit = permit;
		}
	}
}

/* Reads an argument that is a token: its events and permits, in the current memory context. Raises EQ006 where it is none, or a part of one. */
void
evq_token_read(FunctionCallInfo fcinfo, int argno, EvqToken *token)
{
	text *argument;
	char *bytes;
	int length;
	int events_length;
	uint32 epoch;

	if (PG_ARGISNULL(argno))
		refuse("NULL");
	argument = PG_GETARG_TEXT_PP(argno);
	length = pg_b64_dec_len(VARSIZE_ANY_EXHDR(argument));
	bytes = palloc(length + 1);
	length = pg_b64_decode(VARDATA_ANY(argument), VARSIZE_ANY_EXHDR(argument), (void *) bytes, length);
	if (length < HEAD_BYTES + EVENT_BYTES + CHECKSUM_BYTES)
		refuse("not one of a batch");
	if (read_number(bytes + length - CHECKSUM_BYTES) != checksum(bytes, length - CHECKSUM_BYTES))
		refuse("cut or changed");
	events_length = length - HEAD_BYTES - CHECKSUM_BYTES;
	if ((bytes[0] != FORM || events_length % EVENT_BYTES != 0) &&
		(bytes[0] != FORM_OF_RUNS || events_length % RUN_BYTES != 0))
		refuse("of another version of evq");

	token->is_of_here = read_number(bytes + 1) == number_of_here();
	epoch = read_number(bytes + 5);
	if (bytes[0] == FORM)
		read_events(&token->reports, bytes + HEAD_BYTES, events_length, (int32) epoch);
	else
		read_runs(&token->reports, bytes + HEAD_BYTES, events_length, (int32) epoch);
	pfree(bytes);
}
