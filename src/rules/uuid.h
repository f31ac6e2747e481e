/*
 * uuid.h
 *		Event ids: UUIDv7.
 */
#ifndef EVQ_UUID_H
#define EVQ_UUID_H

#include "base/types.h"

extern pg_uuid_t evq_uuid_make(TimestampTz now);
extern TimestampTz evq_uuid_time(const pg_uuid_t *id);

/* Room for the 36 characters of a UUID and its end. */
#define EVQ_UUID_TEXT_SIZE 37
extern const char *evq_uuid_text(const pg_uuid_t *id, char *buffer);

#endif /* EVQ_UUID_H */
