/*
 * events.h
 *		Live events, with their payloads, answers and errors.
 */
#ifndef EVQ_EVENTS_H
#define EVQ_EVENTS_H

#include "tables/store.h"

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

extern void evq_events_set_lifespan_shift(EvqLifespanShift shift);

extern void evq_events_hint(const pg_uuid_t *event_id, const ItemPointerData *tid);
extern bool evq_events_fetch(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event);
extern void
evq_events_insert(EvqStore *store, EvqEvent *events, const Datum *payloads, const Datum *headers, int count);
extern EvqStoreResult evq_events_update(EvqStore *store, EvqEvent *event, bool wait);
extern EvqStoreResult evq_events_delete(EvqStore *store, const EvqEvent *event);
extern bool evq_events_have_more(EvqStore *store);

/* payloads, answers and errors */
extern bool evq_events_fetch_payload(EvqStore *store, const EvqEvent *event, Datum *payload, Datum *headers);
extern bool evq_events_fetch_small_payload(EvqStore *store, const EvqEvent *event, Size most, Datum *payload);
extern Datum evq_events_fetch_answer(EvqStore *store, const EvqEvent *event);
extern bool evq_events_keeps_answers(EvqStore *store);
extern EvqStoreResult evq_events_update_with_answer(EvqStore *store, EvqEvent *event, Datum answer);
extern EvqStoreResult
evq_events_update_with_payload(EvqStore *store, EvqEvent *event, Datum answer, Datum payload, Datum headers);
extern void evq_events_insert_error(EvqStore *store, const EvqFailure *failure);

#endif /* EVQ_EVENTS_H */
