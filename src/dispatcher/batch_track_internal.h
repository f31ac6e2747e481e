/*
 * batch_track_internal.h
 *		What the files of batch_track share, and no other includes.
 */
#ifndef EVQ_BATCH_TRACK_INTERNAL_H
#define EVQ_BATCH_TRACK_INTERNAL_H

#include "lib/pairingheap.h"
#include "utils/hsearch.h"

#include "dispatcher/batch_track.h"
#include "dispatcher/batch_walk.h"
#include "tables/runs.h"

/* The batches of a flow. */
typedef struct EvqFlowBatches
{
	int32 flow_no;        /* the key */
	pairingheap *waiting; /* of batches with events to offer, those that come first on top */
	int64 offered;        /* events */
	int batches;          /* remembered */
	bool is_unread;       /* there was no memory for some */
	bool tell_ready;      /* listeners are to be told of what is on offer */
	TimestampTz
		due_since; /* for the counters: of those that wait, and of the attempts under way, the longest */
	TimestampTz held_since;
} EvqFlowBatches;

typedef struct EvqTrackedBatch
{
	pg_uuid_t batch_id; /* the key */
	pairingheap_node in_timers;
	pairingheap_node in_waiting;
	bool is_waiting; /* ... it is in there */
	bool is_changed; /* since it was looked at */
	EvqFlowBatches *flow;
	ItemPointerData tid; /* of its row in evq.batch */
	int32 event_type_no;
	int16 priority;
	int16 events;
	TimestampTz at; /* when its events may be attempted */
	TimestampTz look_at;
	TimestampTz offered_until;
	TimestampTz
		held_since; /* when the first of its attempts under way began, as it was last looked at; infinity = none is */
	int ended; /* so many were told to have ended, or left the batch */
	EvqOrdinals to_offer;
	EvqOrdinals on_offer;
} EvqTrackedBatch;

struct EvqBatchTrack
{
	MemoryContext context;
	EvqMemory *memory; /* of events with a row of their own */
	EvqSlot *slot;     /* NULL = no shared memory */
	HTAB *batches;     /* of EvqTrackedBatch */
	HTAB *flows_by_no; /* of EvqFlowBatches */
	List *flows;       /* the same */
	pairingheap *timers;
	EvqBatchWalk *walk;
	int64 walk_began_at;    /* this turn's part of it; 0 = none has; by the monotonic clock, as the next */
	int64 walk_rests_until; /* beside work, it rests */
	bool has_walked;
	bool tell_oldest; /* since it was last told, the backlog was read */
	TimestampTz last_turn_at;
	TimestampTz future_at; /* the earliest beyond the horizon */
};

/* batch_track.c */
extern EvqFlowBatches *evq_batch_track_find_flow(const EvqBatchTrack *track, int32 flow_no);
extern void evq_batch_track_look_by(EvqBatchTrack *track, EvqTrackedBatch *batch, TimestampTz at);

/* batch_track_offer.c */
extern void evq_batch_track_set_waiting(EvqTrackedBatch *batch);
extern void evq_batch_track_take_one_off(EvqTrackedBatch *batch, int ordinal);
extern void evq_batch_track_take_off(EvqTrackedBatch *batch, int first, int events);
extern void evq_batch_track_put_on_offer(EvqTrackedBatch *batch, int first, int last, TimestampTz until);

#endif /* EVQ_BATCH_TRACK_INTERNAL_H */
