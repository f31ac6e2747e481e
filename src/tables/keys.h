/*
 * keys.h
 *		Idempotency keys.
 */
#ifndef EVQ_KEYS_H
#define EVQ_KEYS_H

#include "tables/store.h"

extern bool evq_keys_claim(EvqStore *store, int32 event_type_no, const char *key, const pg_uuid_t *event_id,
						   int64 content_hash, pg_uuid_t *first_id, int64 *first_hash);

#endif /* EVQ_KEYS_H */
