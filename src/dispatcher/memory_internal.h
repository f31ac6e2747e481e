/*
 * memory_internal.h
 *		What the files of memory share, and no other includes.
 */
#ifndef EVQ_MEMORY_INTERNAL_H
#define EVQ_MEMORY_INTERNAL_H

#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "utils/hsearch.h"

#include "dispatcher/memory.h"
#include "session/config.h"

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

/* Events that ought to be remembered and may be in the table alone, for want of memory. */
typedef struct EvqUnread
{
	EvqDuePosition from; /* none of them comes before this; infinity = there is none */
	int16 priority;      /* ... and none has a higher one */
	TimestampTz aged_at; /* ... nor, with a priority_step, comes before this: see aging.h */
} EvqUnread;

/* Those of a flow, or of a group. */
typedef struct EvqLeft
{
	EvqUnread unread;
	EvqUnread anew;     /* the same, since reading on began */
	bool is_reading_on; /* they are being read, now that there is memory */
} EvqLeft;

/* Who has met an event that is to be remembered. */
typedef enum EvqMet
{
	EVQ_MET_BY_OTHERS,
	EVQ_MET_READING_ON,      /* reading on in the flow */
	EVQ_MET_READING_ON_GROUP /* ... in its group */
} EvqMet;

typedef struct EvqGroupId
{
	uint64 hash;   /* EvqChange.group_hash */
	int64 flow_no; /* wide, so that there is no padding */
} EvqGroupId;

/* Events of a flow that count together; there is one where any is remembered, or is known to be left to the table. */
struct EvqTrackedGroup
{
	EvqGroupId id; /* hash key */
	EvqTrackedFlow *flow;
	int tracked;      /* its events that are remembered, */
	int on_their_way; /* and of these, on offer or in process, */
	int on_offer;     /* or on offer alone */
	EvqGroupLimits limits;
	EvqBucket bucket;  /* where there is a rate */
	int64 next_turn;   /* in a fair flow, where its next turn is; see memory_turns.c */
	pairingheap ready; /* its ready events */
	pairingheap_node
		open_node; /* in the flow's line, while it is open: it has ready events, and room, and a token */
	bool is_open;
	bool is_closed; /* it has ready events, or unread ones, and is not open */
	bool is_refilling;
	int64 refill_at; /* while it waits for a token, when that comes; nanoseconds */
	pairingheap_node refill_node;
	bool is_idle; /* nothing is known of it but when it had its last token */

	/* memory_unread.c */
	pairingheap last;  /* its events that are waiting or ready; the one to do without first */
	int waiting;       /* ... so many */
	EvqLeft left;      /* what of it is in the table alone, if it is limited */
	pg_uuid_t left_id; /* one of these */
	char *key;         /* NULL = not known here */
	EvqDuePosition reading_on_from;
	bool is_hungry; /* it may go, and has less in memory than there is room for */
	dlist_node hungry_node;
};

/* What several flows share, and events of one flow, group and type with named limits, which wait in one line: memory_limits.c. */
typedef struct EvqMemoryLimits EvqMemoryLimits;
typedef struct EvqLane EvqLane;

struct EvqTracked
{
	pg_uuid_t event_id; /* hash key */
	EvqTrackState state;
	EvqChange facts;
	EvqTrackedFlow *flow;
	EvqTrackedGroup *group; /* NULL = it is of none */
	EvqLane *lane;          /* NULL = its type has no named limits */
	TimestampTz timer_at;   /* when to look at it again */
	pairingheap_node timer_node;
	pairingheap_node ready_node;
	pairingheap_node last_node;
	pairingheap_node group_last_node;
	bool offered_before;  /* it was on offer without a dispatch, and nobody took it */
	int put_offs;         /* how often it could not be processed, since it was told of */
	uint32 seen_in_sweep; /* the last sweep that came by, or that was under way when it was told of */
	char *flow_id;        /* of an ordered event that was dispatched from here; NULL = unknown */
};

/* In which order the events of a flow go. */
typedef struct EvqLine
{
	bool is_fair; /* groups take turns, and each event is in one */
	int64 step;   /* the flow's priority_step, see aging.h; 0 = none */
} EvqLine;

struct EvqTrackedFlow
{
	int32 flow_no;      /* hash key */
	int index;          /* in the list of flows */
	pairingheap *ready; /* of no group */
	pairingheap *open;  /* groups with ready events, and room for them */
	int closed;         /* so many groups have ready events, or unread ones, and are not open */
	EvqRate rate;       /* as it was when the configuration was seen last, as line */
	EvqBucket bucket;
	EvqLine line;
	int64 turn_begun;  /* the latest turn with which a worker has begun; see memory_turns.c */
	pairingheap *last; /* waiting or ready; the one to do without first */
	int count[EVQ_TRACK_STATES];

	dlist_head openable; /* of memory_limits.c: where lanes of it wait, and there may be room */
	EvqLeft left;        /* but those of limited groups */
};

struct EvqMemory
{
	MemoryContext context; /* of all that is here */
	EvqSlot *slot;         /* NULL = no shared memory */

	/* memory_events.c */
	HTAB *events;         /* of EvqTracked */
	HTAB *flows;          /* of EvqTrackedFlow */
	HTAB *busy;           /* flow_ids with events on their way */
	HTAB *groups;         /* of EvqTrackedGroup */
	pairingheap *refills; /* groups that wait for a token */
	TimestampTz
		groups_resume_at; /* when the first of those that are paused goes on, and have events here; infinity = never */
	dlist_head hungry;   /* groups whose unread events are to be read */
	uint64 rates_digest; /* of the configuration seen last */
	int64 buckets_from;  /* buckets of which nothing is known were empty then; nanoseconds */
	int idle_groups;     /* of which no event is remembered, but when they had their last token */
	int reap_at;         /* with so many of these, those whose buckets are full by now are forgotten */
	List *flow_list;
	pairingheap *timers;
	int count[EVQ_TRACK_STATES]; /* of all flows */

	EvqMemoryLimits *limits; /* NULL = there are no named limits */

	List *successors; /* of EvqSuccessor */
	bool is_in_doubt; /* what was told cannot be relied on */
	bool passed_by;   /* due events were passed by, or forgotten: see evq_memory_forget_passed_by() */
	uint32 sweep;     /* number of the last one begun */

	/* What was met since the last sweep ended, and since the present one began, which is what remains of it. */
	bool parked; /* due events that cannot go yet stay in the table: they must be looked for */
	bool parked_anew;
	TimestampTz future_at; /* the earliest event beyond the horizon */
	TimestampTz future_anew;
};

/* memory_events.c */
extern void evq_memory_events_init(EvqMemory *memory);
extern EvqTracked *evq_memory_put(EvqMemory *memory, const EvqChange *facts, TimestampTz now);
extern void evq_memory_set(EvqMemory *memory, EvqTracked *tracked, EvqTrackState state, TimestampTz timer_at);
extern EvqTracked *evq_memory_last_waiting(const EvqTrackedFlow *flow);
extern EvqTracked **evq_memory_collect_on_offer(const EvqMemory *memory, int *count);
extern void evq_memory_forget_waiting_of(EvqMemory *memory, const EvqTrackedFlow *flow);
extern void evq_memory_look_at_unseen(EvqMemory *memory, uint32 since, EvqTrackState first,
									  EvqTrackState last, TimestampTz now);

/* memory_groups.c */
extern int64 evq_memory_bucket_clock(void);
extern TimestampTz evq_memory_time_of_bucket(int64 at, TimestampTz now);
extern void evq_memory_groups_init(EvqMemory *memory);
extern void evq_memory_groups_init_flow(EvqTrackedFlow *flow);
extern EvqTrackedGroup *evq_memory_use_group(EvqMemory *memory, EvqTrackedFlow *flow, uint64 group_hash);
extern bool evq_memory_is_limited(const EvqTrackedGroup *group);
extern bool evq_memory_is_group_paused(const EvqTrackedGroup *group);
extern void evq_memory_place_group(EvqMemory *memory, EvqTrackedGroup *group);
extern EvqTrackedGroup *evq_memory_join_group(EvqMemory *memory, EvqTrackedFlow *flow, uint64 group_hash);
extern void evq_memory_forget_unread(EvqMemory *memory, EvqTrackedGroup *group);
extern void evq_memory_forget_unread_groups(EvqMemory *memory, const EvqTrackedFlow *flow);
extern void evq_memory_leave_group(EvqMemory *memory, EvqTrackedGroup *group);
extern void evq_memory_count_in_group(EvqMemory *memory, EvqTracked *tracked, int change);
extern void evq_memory_take_tokens(EvqTracked *tracked);
extern void evq_memory_read_flow(EvqMemory *memory, EvqTrackedFlow *flow);
extern void evq_memory_line_up(EvqMemory *memory, EvqTracked *tracked);
extern void evq_memory_leave_line(EvqMemory *memory, EvqTracked *tracked);

/* memory_limits.c */
extern EvqLane *evq_memory_join_lane(EvqMemory *memory, EvqTrackedFlow *flow, const EvqChange *facts);
extern void evq_memory_leave_lane(EvqMemory *memory, EvqLane *lane);
extern void evq_memory_make_wait(EvqMemory *memory, EvqTracked *tracked);
extern void evq_memory_stop_waiting(EvqMemory *memory, EvqTracked *tracked);
extern void evq_memory_count_in_lane(EvqMemory *memory, const EvqTracked *tracked, int change);
extern void evq_memory_pay(EvqTracked *tracked);

/* memory_turns.c */
extern void evq_memory_turns_init_flow(EvqTrackedFlow *flow);
extern void evq_memory_read_line(EvqMemory *memory, EvqTrackedFlow *flow);
extern void evq_memory_enter_turns(EvqTrackedGroup *group);
extern bool evq_memory_is_behind_turns(const EvqTrackedGroup *group);
extern void evq_memory_take_turn(EvqTracked *tracked);
extern void evq_memory_note_turn(EvqTracked *tracked);
extern void evq_memory_begin_turn(const EvqTracked *tracked);

/* memory_unread.c */
extern void evq_memory_unread_init(EvqLeft *left);
extern void evq_memory_unread_init_group(EvqTrackedGroup *group);
extern bool evq_memory_leave_unread(EvqMemory *memory, const EvqChange *facts, EvqMet met, TimestampTz now);
extern void evq_memory_wait_in_group(EvqTracked *tracked);
extern void evq_memory_wait_no_more(EvqMemory *memory, EvqTracked *tracked);
extern bool evq_memory_is_group_hungry(const EvqMemory *memory, const EvqTrackedGroup *group);

static inline bool
evq_memory_is_on_offer(const EvqTracked *tracked)
{
	return tracked->state == EVQ_TRACK_OFFERED || tracked->state == EVQ_TRACK_DISPATCHED;
}

/* Does it count against the limits of its flow, its group and its type of what is on its way? One that is suspended does not. */
static inline bool
evq_memory_takes_room(const EvqTracked *tracked)
{
	return tracked->state >= EVQ_TRACK_OFFERED && tracked->state != EVQ_TRACK_SUSPENDED;
}

/* How many of the flow were given a turn, and have not begun. */
static inline int
evq_memory_given(const EvqTrackedFlow *flow)
{
	return flow->count[EVQ_TRACK_OFFERED] + flow->count[EVQ_TRACK_DISPATCHED];
}

/* May events of the group that ought to be remembered be in the table alone? */
static inline bool
evq_memory_is_group_unread(const EvqTrackedGroup *group)
{
	return group->left.unread.from.at < DT_NOEND;
}

/* Which of two events of the same flow is offered first, where groups do not take turns: -1 = a. */
static inline int
evq_memory_compare(const EvqTracked *a, const EvqTracked *b)
{
	return evq_change_compare(&a->facts, &b->facts, a->flow->line.step);
}

static inline bool
evq_memory_is_waiting(const EvqTracked *tracked)
{
	return tracked->state == EVQ_TRACK_WAITING || tracked->state == EVQ_TRACK_READY;
}

#endif /* EVQ_MEMORY_INTERNAL_H */
