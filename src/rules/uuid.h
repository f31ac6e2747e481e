/*
 * uuid.h
 *		Event ids: UUIDv7.
 */
#ifndef EVQ_UUID_H
#define EVQ_UUID_H

#include "base/types.h"

/* In byte 8 of an id. */
#define EVQ_UUID_OF_BATCH 0x20

/* So many events the ids of a batch can number. */
#define EVQ_UUID_BATCH_ROOM 1024

/* May the event have been published in a batch? Of ids made by this version, it was. */
static inline bool
evq_uuid_is_of_batch(const pg_uuid_t *id)
{
	return (id->data[8] & EVQ_UUID_OF_BATCH) != 0;
}

/* The number of an event in its batch. */
static inline int
evq_uuid_ordinal(const pg_uuid_t *id)
{
	return (id->data[14] & 0x03) << 8 | id->data[15];
}

extern pg_uuid_t evq_uuid_make(TimestampTz now);
extern pg_uuid_t evq_uuid_make_batch(TimestampTz now);
extern pg_uuid_t evq_uuid_in_batch(const pg_uuid_t *id, int ordinal);
extern bool evq_uuid_is_same_batch(const pg_uuid_t *a, const pg_uuid_t *b);
extern TimestampTz evq_uuid_time(const pg_uuid_t *id);

/* Room for the 36 characters of a UUID and its end. */
#define EVQ_UUID_TEXT_SIZE 37
extern const char *evq_uuid_text(const pg_uuid_t *id, char *buffer);

#endif /* EVQ_UUID_H */
