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

typedef void (*EvqBatchDeed)(EvqStore *store, void *subject);

/* What is done in a turn. */
typedef struct EvqBatchWork
{
	int left; /* so many more events may leave their batches */
	int timed_out;
	int expired;

	/* Does something about one event, so that it fails alone. Returns for how long it is put off then, 0 = it was done; NULL = as it is. */
	int64 (*apart)(struct EvqBatchWork *work, const pg_uuid_t *event_id, EvqBatchDeed act, void *subject);
	void *context; /* of that */
} EvqBatchWork;

extern EvqBatchTrack *evq_batch_track_create(MemoryContext parent, EvqSlot *slot, EvqMemory *memory);
extern void evq_batch_track_hear(EvqBatchTrack *track, const EvqChange *change, TimestampTz now);
extern void evq_batch_track_want_walk(EvqBatchTrack *track, bool completely);
extern bool evq_batch_track_has_more(const EvqBatchTrack *track);
extern TimestampTz evq_batch_track_next_at(const EvqBatchTrack *track, TimestampTz now);
extern int32 evq_batch_track_take_ready(EvqBatchTrack *track);
extern bool evq_batch_track_has_waiting(const EvqBatchTrack *track, int32 flow_no);

/* The offer. */
extern int64 evq_batch_track_on_offer(const EvqBatchTrack *track, int32 flow_no);
extern bool evq_batch_track_first_waiting(const EvqBatchTrack *track, int32 flow_no, EvqChange *facts);
extern int evq_batch_track_offer_first(EvqBatchTrack *track, int32 flow_no, TimestampTz now, bool *was_empty);
extern void evq_batch_track_offer_missing(EvqBatchTrack *track, TimestampTz now);

/* In a transaction. */
extern void evq_batch_track_read(EvqBatchTrack *track, EvqStore *store, TimestampTz now);
extern void evq_batch_track_count_oldest(EvqBatchTrack *track, TimestampTz now);
extern bool evq_batch_track_is_look_due(const EvqBatchTrack *track, TimestampTz now, pg_uuid_t *batch_id);
extern void evq_batch_track_look(EvqBatchTrack *track, const pg_uuid_t *batch_id, EvqStore *store,
								 TimestampTz now, EvqBatchWork *work);
extern void evq_batch_track_put_off(EvqBatchTrack *track, const pg_uuid_t *batch_id, TimestampTz until);
extern void evq_batch_track_rest(EvqBatchTrack *track);

#endif /* EVQ_BATCH_TRACK_H */
