/*
 * batch_track.h
 *		What the engine remembers of batches: what is to be offered, and when to look at one.
 *
 * Sessions tell what they did with neighbours in a batch, which is a hint as all they tell. What the clock asks, and that
 * a batch is done, is decided by its rows.
 */
#ifndef EVQ_BATCH_TRACK_H
#define EVQ_BATCH_TRACK_H

#include "dispatcher/memory.h"
#include "tables/store.h"

typedef struct EvqBatchTrack EvqBatchTrack;

/* What was done in a turn. */
typedef struct EvqBatchWork
{
	int offered;
	int timed_out;
	int expired;
} EvqBatchWork;

extern EvqBatchTrack *evq_batch_track_create(MemoryContext parent, EvqSlot *slot, EvqMemory *memory);
extern void evq_batch_track_hear(EvqBatchTrack *track, const EvqChange *change, TimestampTz now);
extern void evq_batch_track_want_walk(EvqBatchTrack *track);
extern bool evq_batch_track_is_walking(const EvqBatchTrack *track);
extern TimestampTz evq_batch_track_next_at(const EvqBatchTrack *track);
extern int32 evq_batch_track_take_ready(EvqBatchTrack *track);
extern bool evq_batch_track_has_waiting(const EvqBatchTrack *track, int32 flow_no);
extern void evq_batch_track_run(EvqBatchTrack *track, EvqStore *store, TimestampTz now, EvqBatchWork *work);

#endif /* EVQ_BATCH_TRACK_H */
