/*
 * wake.h
 *		From a transaction's changes to the dispatcher: remembered until commit, then announced.
 */
#ifndef EVQ_WAKE_H
#define EVQ_WAKE_H

#include "shared/ring.h"
#include "shared/shmem.h"

extern void evq_wake_init(void);
extern void evq_wake_from_event(EvqWake *wake, const EvqEvent *event);
extern void evq_wake_changed(const EvqEvent *event);
extern void evq_wake_published(const EvqEvent *event, int32 offer_limit);
extern void evq_wake_taken(int32 flow_no, const EvqReadyTaken *event);
extern void evq_wake_give_back(EvqPlace *place, int32 flow_no, const EvqReadyTaken *event);
extern int evq_wake_changes(void);
extern bool
evq_wake_own_waiting(int32 flow_no, TimestampTz until, int change_count, EvqWake **own, int *count);
extern uint64 evq_wake_upsets(void);
extern void evq_wake_add_own(EvqLiveCount *counts, int count);
extern void evq_wake_look(void);
extern void evq_wake_schedules_changed(void);
extern void evq_wake_extension_created(void);
extern void evq_wake_extension_dropped(void);
extern void evq_wake_pause_changed(void);
extern void evq_wake_databases_changed(void);
extern void evq_wake_prepared_committed(void);
extern void evq_wake_database_created(Oid database);

#endif /* EVQ_WAKE_H */
