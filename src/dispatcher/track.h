/*
 * track.h
 *		What an engine remembers of live events: timers, ready queues, how many are where.
 *
 * A memory, not the truth: it may be dropped at any time and filled again from
 * the tables.
 */
#ifndef EVQ_TRACK_H
#define EVQ_TRACK_H

#include "lib/pairingheap.h"
#include "nodes/pg_list.h"

#include "shared/ring.h"

typedef enum EvqTrackState
{
	EVQ_TRACK_WAITING, /* awaiting_processing, not due yet */
	EVQ_TRACK_READY,   /* awaiting_processing, due, in its flow's queue */
	EVQ_TRACK_OFFERED, /* awaiting_processing, on offer: in a pull flow, or in one that is drained */
	EVQ_TRACK_DISPATCHED,
	EVQ_TRACK_PROCESSING,
	EVQ_TRACK_SUSPENDED,
	EVQ_TRACK_STATES
} EvqTrackState;

typedef struct EvqTracked
{
	pg_uuid_t event_id; /* hash key */
	EvqTrackState state;
	EvqChange facts;
	struct EvqTrackedFlow *flow;
	TimestampTz timer_at; /* when to look at it again */
	pairingheap_node timer_node;
	pairingheap_node ready_node;
	pairingheap_node last_node;
	bool offered_before;  /* without a dispatch, and nobody took it */
	int put_offs;         /* how often it could not be processed, since it was told of */
	uint32 seen_in_sweep; /* the last sweep that came by, or that was under way when it was told of */
	char *flow_id;        /* of an ordered event that was dispatched from here; NULL = unknown */
} EvqTracked;

/* Events that ought to be remembered and may be in the table alone, for want of memory. */
typedef struct EvqUnread
{
	EvqDuePosition from; /* none of them comes before this; infinity = there is none */
	int16 priority;      /* ... and none has a higher one */
} EvqUnread;

typedef struct EvqTrackedFlow
{
	int32 flow_no; /* hash key */
	pairingheap *ready;
	pairingheap *last; /* waiting or ready; the one to do without first */
	int count[EVQ_TRACK_STATES];
	int max_dispatched; /* the limits as last seen; 0 = not seen yet */
	int max_processing; /* 0 = none */
	bool tell_ready;    /* events were put on offer: listeners are to be told */

	EvqUnread unread;
	EvqUnread unread_anew; /* the same, since reading on began */
	bool is_reading_on;    /* they are being read, now that there is memory */

	/* What others know of the flow; made and read by them alone, gone with the memory. */
	struct EvqFlowSweep *sweep;       /* sweep.c; NULL = no sweep came here yet */
	struct EvqFlowDispatch *dispatch; /* engine.c; NULL = nothing was dispatched yet */
} EvqTrackedFlow;

typedef struct EvqTrack EvqTrack;

extern EvqTrack *evq_track_create(MemoryContext parent);
extern long evq_track_count(const EvqTrack *track);
extern bool evq_track_is_full(const EvqTrack *track, const EvqTrackedFlow *flow, int64 max_waiting);
extern List *evq_track_flows(const EvqTrack *track);
extern EvqTrackedFlow *evq_track_use_flow(EvqTrack *track, int32 flow_no);
extern bool evq_track_comes_before(const EvqUnread *unread, const EvqChange *facts);
extern void evq_track_leave_unread(EvqUnread *unread, const EvqDuePosition *from, int16 priority);
extern void evq_track_leave_none_unread(EvqUnread *unread);
extern bool evq_track_is_unread(const EvqTrackedFlow *flow);

extern EvqTracked *evq_track_find(EvqTrack *track, const pg_uuid_t *event_id);
extern EvqTracked *evq_track_put(EvqTrack *track, const EvqChange *facts, TimestampTz now);
extern void evq_track_set(EvqTrack *track, EvqTracked *tracked, EvqTrackState state, TimestampTz timer_at);
extern void evq_track_set_flow_id(EvqTrack *track, EvqTracked *tracked, const char *flow_id);
extern void evq_track_remove(EvqTrack *track, EvqTracked *tracked);

extern void evq_track_forget_waiting(EvqTrack *track);
extern EvqTracked **evq_track_collect(const EvqTrack *track, bool (*is_so)(const EvqTracked *), int *count);

extern uint32 evq_track_begin_sweep(EvqTrack *track);
extern void evq_track_mark_seen(const EvqTrack *track, EvqTracked *tracked);
extern void evq_track_look_at_unseen(EvqTrack *track, uint32 since, bool suspended, TimestampTz now);

extern EvqTracked *evq_track_first_timer(const EvqTrack *track);
extern EvqTracked *evq_track_first_ready(const EvqTrackedFlow *flow);
extern EvqTracked *evq_track_last_waiting(const EvqTrackedFlow *flow);
extern bool evq_track_has_room(const EvqTrackedFlow *flow);
extern bool evq_track_is_flow_id_busy(const EvqTrack *track, int32 flow_no, uint64 flow_id_hash);

#endif /* EVQ_TRACK_H */
