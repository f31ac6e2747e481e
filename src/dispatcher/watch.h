/*
 * watch.h
 *		State changes on their way from the dispatcher to those who watch.
 */
#ifndef EVQ_WATCH_H
#define EVQ_WATCH_H

#include "shared/shmem.h"
#include "tables/store.h"

/* The channel that watchers listen on. */
#define EVQ_WATCH_CHANNEL "evq_events"

typedef struct EvqWatch EvqWatch;

extern EvqWatch *evq_watch_create(MemoryContext context);
extern void evq_watch_note(EvqWatch *watch, const EvqChange *change);
extern void evq_watch_note_lost(EvqWatch *watch);
extern TimestampTz evq_watch_due_at(const EvqWatch *watch);
extern List *evq_watch_tell(EvqWatch *watch, EvqStore *store, TimestampTz now);

#endif /* EVQ_WATCH_H */
