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
#include "session/config.h"
#include "tables/runs.h"

/* The batches of a flow. */
typedef struct EvqFlowBatches
{
	int32 flow_no;         /* hash key */
	pairingheap *waiting;  /* of batches with events to offer, those that come first on top */
	pairingheap *spare;    /* of those that can be forgotten for others, the one to do without first on top */
	int64 offered;         /* events */
	int batches;           /* remembered, but for parked ones */
	int met;               /* by the walk under way */
	bool is_unread;        /* there was no memory for some, */
	int16 unread_priority; /* none of which has a higher one */
	bool tell_ready;       /* listeners are to be told of what is on offer */
	TimestampTz
		due_since; /* for the counters: of those that wait, and of the attempts under way, the longest */
	TimestampTz held_since;
} EvqFlowBatches;

typedef struct EvqTrackedBatch
{
	pg_uuid_t batch_id; /* hash key */
	pairingheap_node in_timers;
	pairingheap_node in_waiting;
	pairingheap_node in_spare; /* of the flow, or of the parked ones */
	bool is_waiting;           /* ... it is in there */
	bool is_spare;
	bool is_changed; /* since it was looked at */
	bool is_idle;    /* when it was, nobody had any of it, and nothing was on offer */
	bool is_parked;  /* ... and its type was suspended; also when that is expected of the first look */
	uint64 looked;   /* number of that look */
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
	EvqMemory *memory;  /* of events with a row of their own */
	EvqSlot *slot;      /* NULL = no shared memory */
	HTAB *batches;      /* of EvqTrackedBatch */
	HTAB *flows_by_no;  /* of EvqFlowBatches */
	List *flows;        /* ... all of them */
	List *ready;        /* ... whose tell_ready is set */
	pairingheap *spare; /* of parked batches, as in EvqFlowBatches */
	int parked;         /* so many of those remembered are */
	uint64 looks;
	pairingheap *timers;
	EvqBatchWalk *walk;
	int64 walk_began_at; /* this turn's part of it; 0 = none has; by the monotonic clock, as the next ones */
	int64 walk_rests_until; /* beside work, it rests */
	int64 complete_at;      /* when the next complete one is to begin, whatever is told; 0 = not for that */
	bool has_walked;
	bool has_left_parked; /* there was no memory for parked ones */
	bool tell_oldest;     /* since it was last told, the backlog was read */
	TimestampTz last_turn_at;
	TimestampTz future_at; /* the earliest beyond the horizon */
};

/* batch_track_memory.c */
extern void evq_batch_track_init_memory(EvqBatchTrack *track);
extern EvqFlowBatches *evq_batch_track_find_flow(const EvqBatchTrack *track, int32 flow_no);
extern EvqTrackedBatch *evq_batch_track_find(const EvqBatchTrack *track, const pg_uuid_t *batch_id);
extern EvqTrackedBatch *
evq_batch_track_remember(EvqBatchTrack *track, const EvqChange *facts, TimestampTz look_at, bool is_held);
extern void evq_batch_track_forget(EvqBatchTrack *track, EvqTrackedBatch *batch);
extern void evq_batch_track_forget_parked(EvqBatchTrack *track);
extern bool evq_batch_track_looks_at_all(const EvqBatchTrack *track);
extern bool evq_batch_track_has_room_for_unread(const EvqBatchTrack *track);
extern EvqTrackedBatch *evq_batch_track_first_timer(const EvqBatchTrack *track);
extern void evq_batch_track_set_timer(EvqBatchTrack *track, EvqTrackedBatch *batch, TimestampTz at);
extern void evq_batch_track_look_by(EvqBatchTrack *track, EvqTrackedBatch *batch, TimestampTz at);
extern void evq_batch_track_set_idle(EvqBatchTrack *track, EvqTrackedBatch *batch, bool is_idle);
extern void evq_batch_track_tell_ready(EvqBatchTrack *track, EvqFlowBatches *flow);

/* batch_track_offer.c */
extern void evq_batch_track_set_waiting(EvqTrackedBatch *batch);
extern void evq_batch_track_take_one_off(EvqTrackedBatch *batch, int ordinal);
extern void evq_batch_track_take_off(EvqBatchTrack *track, EvqTrackedBatch *batch, int first, int events);
extern void evq_batch_track_put_on_offer(EvqBatchTrack *track, EvqTrackedBatch *batch, int first, int last,
										 TimestampTz until);

#endif /* EVQ_BATCH_TRACK_INTERNAL_H */
