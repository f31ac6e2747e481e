/*
 * engine_internal.h
 *		What the files of engine share, and no other includes.
 */
#ifndef EVQ_ENGINE_INTERNAL_H
#define EVQ_ENGINE_INTERNAL_H

#include "utils/hsearch.h"

#include "dispatcher/batch_track.h"
#include "dispatcher/engine.h"
#include "dispatcher/memory.h"
#include "dispatcher/sweep.h"
#include "dispatcher/watch.h"
#include "session/config.h"

/* When to look again at what somebody else is changing, or deciding. */
#define EVQ_ENGINE_BUSY_DELAY (USECS_PER_SEC / 10)

/* What the engine knows of a flow to dispatch its events. */
typedef struct EvqFlowDispatch
{
	EvqTrackedFlow *flow;
	int max_dispatched;     /* the limits as last seen; 0 = not seen yet */
	int max_processing;     /* 0 = none */
	bool tell_ready;        /* events were put on offer: listeners are to be told */
	uint64 taken;           /* by workers, out of what is on offer */
	TimestampTz taken_at;   /* when that was last seen to grow */
	TimestampTz held_until; /* a session decides whose turn it is, until then at least; 0 = none */
	bool is_order_locked;   /* ... and in this turn we do; see order.h */
} EvqFlowDispatch;

struct EvqEngine
{
	MemoryContext context;
	MemoryContext turn_context;
	MemoryContext event_context; /* what one event needs, which may be several times its payload */
	EvqSlot *slot;               /* NULL = no shared memory */
	EvqMemory *memory;
	EvqBatchTrack *batches;
	EvqSweeper *sweeper;
	uint32 sweeps_seen;
	EvqWatch *watch;
	List *flows;          /* of EvqFlowDispatch, by the memory's index of the flow */
	int offered_directly; /* by sessions, since the last turn */
	int64 isolates_until; /* by the monotonic clock; see evq_engine_isolate_events() */
	uint32 first_flow;    /* where the last turn began to dispatch */
	uint64 configuration_seen;
	uint64 locked_first; /* see evq_engine_lock_before_reading() */
};

/* What one turn works with. */
typedef struct EvqWork
{
	EvqEngine *engine;
	EvqStore *store;
	TimestampTz now;
	bool notify;           /* there is room for notifications */
	EvqFlowDispatch *flow; /* the one whose events are being dispatched */
	bool drained;          /* ... see is_drained() */
	HTAB *blocked;         /* of Blocked, NULL = none */
	int leaving;           /* so many more events may leave their batches in this turn */
	int parked;            /* ready events that cannot go, which cost next to nothing */
	List *notifications;   /* in the turn's context, to send at the end */
	EvqTurn *turn;
} EvqWork;

/* What the flows have in all, for a turn to do. */
typedef struct EvqProspects
{
	bool can_dispatch; /* in a flow events are ready, and there is room, and nobody holds or has paused it */
	bool must_tell;    /* listeners of a flow are to be told */
	TimestampTz
		held_until; /* the first of what is held, or paused, or waits for a token, is to be tried then; infinity = nothing is */
} EvqProspects;

/* engine_event.c */
extern EvqStore *evq_engine_open_store(void);
extern void evq_engine_trace(const pg_uuid_t *event_id, const char *what);
extern void evq_engine_act_on(EvqWork *work, EvqTracked *tracked, void (*act)(EvqWork *, EvqTracked *));
extern void evq_engine_look_at_batch(EvqWork *work, const pg_uuid_t *batch_id);
extern void evq_engine_fire(EvqWork *work, EvqTracked *tracked);
extern void evq_engine_fire_timers(EvqWork *work);

/* engine_flows.c */
extern void evq_engine_use_flows(EvqEngine *engine);
extern EvqFlowDispatch *evq_engine_use_flow(EvqEngine *engine, int32 flow_no);
extern bool evq_engine_has_room(const EvqEngine *engine, const EvqFlowDispatch *flow);
extern bool evq_engine_has_ready(const EvqEngine *engine, const EvqFlowDispatch *flow);
extern bool evq_engine_first_batch(const EvqEngine *engine, const EvqFlowDispatch *flow, EvqChange *facts);
extern EvqProspects evq_engine_look_at_flows(EvqEngine *engine, TimestampTz now);
extern void evq_engine_lock_orders(EvqWork *work);
extern uint64 evq_engine_lock_before_reading(void);

/* engine_dispatch.c */
extern void evq_engine_follow_successors(EvqWork *work);
extern void evq_engine_dispatch(EvqWork *work);
extern void evq_engine_tell(EvqWork *work, bool watch_due);

#endif /* EVQ_ENGINE_INTERNAL_H */
