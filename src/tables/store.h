/*
 * store.h
 *		All access to events: live, finished, their payloads, errors and keys.
 *
 * A store is open for the length of one verb. It holds one snapshot, which
 * sees what the verb itself has written, and is renewed when a row turns out
 * to be changed by someone else.
 */
#ifndef EVQ_STORE_H
#define EVQ_STORE_H

#include "executor/tuptable.h"

#include "base/types.h"

typedef struct EvqStore EvqStore;

typedef enum EvqStoreResult
{
	EVQ_STORE_DONE,
	EVQ_STORE_BUSY,   /* another transaction is changing the row, and we did not wait */
	EVQ_STORE_CHANGED /* another transaction has changed the row: fetch it again and decide again */
} EvqStoreResult;

/* A failed attempt: a row of evq.event_error. */
typedef struct EvqFailure
{
	pg_uuid_t event_id;
	TimestampTz failed_at;
	int16 attempt;
	const char *outcome;
	const char *error_message;
	const char *stack_trace; /* NULL = none */
	const char *worker;      /* NULL = unknown */
} EvqFailure;

/* Microseconds from the due_at in the row of a live event to the one that counts. */
typedef int64 (*EvqLifespanShift)(int32 event_type_no, TimestampTz published_at);

extern void evq_store_set_lifespan_shift(EvqLifespanShift shift);
extern EvqStore *evq_store_open(const char *function);
extern EvqStore *evq_store_open_to_read(void);
extern void evq_store_close(EvqStore *store);
extern void evq_store_refresh(EvqStore *store);
extern void evq_store_see_present(EvqStore *store, bool present);
extern void evq_store_pass_over_changed(EvqStore *store);

/* live events */
extern void evq_store_hint(const pg_uuid_t *event_id, const ItemPointerData *tid);
extern bool evq_store_fetch(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event);
extern void
evq_store_insert(EvqStore *store, EvqEvent *events, const Datum *payloads, const Datum *headers, int count);
extern EvqStoreResult evq_store_update(EvqStore *store, EvqEvent *event, bool wait);
extern EvqStoreResult
evq_store_finish(EvqStore *store, const EvqEvent *event, const EvqOutcome *outcome, bool wait);
extern EvqStoreResult evq_store_delete(EvqStore *store, const EvqEvent *event);

/* finished events */
extern void evq_store_begin_batch(EvqStore *store);
extern void evq_store_end_batch(EvqStore *store);
extern bool
evq_store_fetch_finished(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event, EvqOutcome *outcome);
extern bool evq_store_fetch_finished_since(EvqStore *store, const pg_uuid_t *event_id, TimestampTz since,
										   EvqEvent *event, EvqOutcome *outcome);
extern TupleTableSlot *evq_store_fetch_finished_row(EvqStore *store, const pg_uuid_t *event_id);
extern EvqStoreResult evq_store_revive(EvqStore *store, const EvqEvent *event);

/* payloads, answers and errors */
extern bool evq_store_fetch_payload(EvqStore *store, const EvqEvent *event, Datum *payload, Datum *headers);
extern bool evq_store_fetch_small_payload(EvqStore *store, const EvqEvent *event, Size most, Datum *payload);
extern Datum evq_store_fetch_answer(EvqStore *store, const EvqEvent *event);
extern bool evq_store_keeps_answers(EvqStore *store);
extern EvqStoreResult evq_store_update_with_answer(EvqStore *store, EvqEvent *event, Datum answer);
extern EvqStoreResult
evq_store_update_with_payload(EvqStore *store, EvqEvent *event, Datum answer, Datum payload, Datum headers);
extern void evq_store_insert_error(EvqStore *store, const EvqFailure *failure);

/* idempotency keys */
extern bool
evq_store_claim_key(EvqStore *store, int32 event_type_no, const char *key, const pg_uuid_t *event_id,
					int64 content_hash, pg_uuid_t *first_id, int64 *first_hash);

/* walks over live events, in order */
extern void evq_store_walk_due(EvqStore *store, int32 flow_no, const EvqLinePlace *from);
extern bool evq_store_walk_splits_instants(const EvqStore *store);
extern void evq_store_walk_flow_id(EvqStore *store, int32 flow_no, const char *flow_id);
extern bool evq_store_walk_next(EvqStore *store, EvqEvent *event);
extern bool evq_store_walk_next_briefly(EvqStore *store, EvqEvent *event);
extern bool evq_store_walk_is_own(const EvqStore *store);
extern void evq_store_walk_end(EvqStore *store);

#endif /* EVQ_STORE_H */
