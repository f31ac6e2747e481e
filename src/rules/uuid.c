/*
 * uuid.c
 *		Event ids: UUIDv7 (RFC 9562, section 5.7).
 *
 * 48 bits of milliseconds, then 12 bits of the fraction of a millisecond
 * (method 3 of section 6.2), then 62 random bits. Within a backend the ids
 * rise strictly: where the clock stands still or goes back, the fraction is
 * counted up instead. New ids so land at the right edge of every index.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/random.h"
#include "rules/uuid.h"

static uint64 last_stamp; /* milliseconds << 12 | fraction */

static pg_uuid_t
make(TimestampTz now)
{
	uint64 unix_us = (uint64) (now + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
	uint64 stamp = (unix_us / 1000) << 12 | ((unix_us % 1000) * 4096 / 1000);
	uint64 milliseconds;
	uint64 random = evq_random();
	pg_uuid_t id;

	if (stamp <= last_stamp)
		stamp = last_stamp + 1;
	last_stamp = stamp;

	milliseconds = stamp >> 12;
	for (int i = 0; i < 6; i++)
		id.data[i] = (uint8) (milliseconds >> (40 - 8 * i));
	id.data[6] = 0x70 | (uint8) ((stamp >> 8) & 0x0f);
	id.data[7] = (uint8) stamp;
	memcpy(&id.data[8], &random, sizeof(random));
	id.data[8] = 0x80 | (id.data[8] & 0x3f & ~EVQ_UUID_OF_BATCH);
	return id;
}

/* A new id: UUIDv7 of this time. Ids of one session ascend, even if its clock is set back. */
pg_uuid_t
evq_uuid_make(TimestampTz now)
{
	return make(now);
}

/* The id of a batch, which is that of its first event. */
pg_uuid_t
evq_uuid_make_batch(TimestampTz now)
{
	pg_uuid_t id = make(now);

	id.data[8] |= EVQ_UUID_OF_BATCH;
	return evq_uuid_in_batch(&id, 0);
}

/* The id of the event with this number in the same batch. */
pg_uuid_t
evq_uuid_in_batch(const pg_uuid_t *id, int ordinal)
{
	pg_uuid_t other = *id;

	Assert(ordinal >= 0 && ordinal < EVQ_UUID_BATCH_ROOM);
	other.data[14] = (uint8) ((id->data[14] & 0xfc) | (ordinal >> 8));
	other.data[15] = (uint8) ordinal;
	return other;
}

/* Are they the ids of two events of one batch, or of one event? */
bool
evq_uuid_is_same_batch(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, 14) == 0 && ((a->data[14] ^ b->data[14]) & 0xfc) == 0;
}

/* When the id was made, to the millisecond. */
TimestampTz
evq_uuid_time(const pg_uuid_t *id)
{
	int64 milliseconds = 0;

	for (int i = 0; i < 6; i++)
		milliseconds = milliseconds << 8 | id->data[i];
	return milliseconds * 1000 - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/* Writes the id into the buffer (EVQ_UUID_TEXT_SIZE bytes) and returns that. */
const char *
evq_uuid_text(const pg_uuid_t *id, char *buffer)
{
	static const char digits[] = "0123456789abcdef";
	char *p = buffer;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[id->data[i] >> 4];
		*p++ = digits[id->data[i] & 0x0f];
	}
	*p = '\0';
	return buffer;
}
