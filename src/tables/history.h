/*
 * history.h
 *		Finished events, in the partitions of evq.event_history.
 */
#ifndef EVQ_HISTORY_H
#define EVQ_HISTORY_H

#include "executor/tuptable.h"

#include "tables/store.h"

extern EvqStoreResult
evq_history_finish(EvqStore *store, const EvqEvent *event, const EvqOutcome *outcome, bool wait);
extern void evq_history_begin_batch(EvqStore *store);
extern void evq_history_end_batch(EvqStore *store);
extern bool
evq_history_fetch(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event, EvqOutcome *outcome);
extern bool evq_history_fetch_since(EvqStore *store, const pg_uuid_t *event_id, TimestampTz since,
									EvqEvent *event, EvqOutcome *outcome);
extern TupleTableSlot *evq_history_fetch_row(EvqStore *store, const pg_uuid_t *event_id);
extern EvqStoreResult evq_history_revive(EvqStore *store, const EvqEvent *event);

#endif /* EVQ_HISTORY_H */
