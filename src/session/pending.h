/*
 * pending.h
 *		From a transaction's changes to the dispatcher: remembered until commit, then announced.
 */
#ifndef EVQ_PENDING_H
#define EVQ_PENDING_H

#include "shared/ring.h"
#include "shared/shmem.h"

extern void evq_pending_init(void);
extern void evq_pending_changed(const EvqEvent *event);
extern void evq_pending_published(const EvqEvent *event, int32 offer_limit);
extern void evq_pending_changed_range(const EvqEvent *first, int events);
extern void evq_pending_published_batch(const EvqEvent *first, int events, int32 offer_limit);
extern void evq_pending_moved(const EvqEvent *event, bool is_in_batch);
extern void evq_pending_taken(int32 flow_no, const EvqTakenOffer *event);
extern void evq_pending_return_offer(EvqSlot *slot, int32 flow_no, const EvqTakenOffer *event);
extern int evq_pending_changes(void);
extern TimestampTz evq_pending_own_batches_from(void);
extern bool
evq_pending_own_waiting(int32 flow_no, TimestampTz until, int change_count, EvqChange **own, int *count);
extern uint64 evq_pending_upsets(void);
extern void evq_pending_add_own(EvqLiveCount *counts, int count);
extern void evq_pending_look(void);
extern void evq_pending_schedules_changed(void);
extern void evq_pending_extension_created(void);
extern void evq_pending_extension_dropped(void);
extern void evq_pending_turn_given(void);
extern bool evq_pending_gave_turn(void);
extern void evq_pending_pause_changed(void);
extern void evq_pending_databases_changed(void);
extern void evq_pending_prepared_committed(void);
extern void evq_pending_database_created(Oid database);

#endif /* EVQ_PENDING_H */
