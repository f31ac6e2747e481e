/*
 * memory_limits.c
 *		Named limits, which several flows and event types share: what counts against them, and who waits for them.
 *
 * A use is a limit as a whole, or that of one group. It knows how many events are on their way that have it, and has a
 * bucket (rate.c) in which an event's tokens are as many as its cost. What is on its way is in the tables, dispatched or
 * in process, so that counts are right again after a crash; buckets begin empty.
 *
 * Events of one flow, group and type with limits are a lane. Only the first one of an open lane stands in the line of its
 * group or flow (memory_groups.c), and the others behind it, here. When its turn has come and a limit has no room
 * (evq_memory_limits_let_go()) the lane goes to wait for that limit: one entry in a heap, whatever is in the lane, and
 * nothing of it is looked at until there is room, or tokens for which the use has one timer. Others of the flow pass by.
 *
 * Where there is room again, the first waiting lane of each flow is opened, for a flow may be paused or full; and when a
 * flow has given a turn, or has nothing else to give one to, the next ones while room is left (evq_memory_open_lanes()).
 * A lane that finds none goes back. So each step of an event costs a few steps here, however many lanes there are.
 *
 * Cheap events would always take the tokens for which a dear one waits: so tokens are saved for one lane at a time.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "dispatcher/memory_internal.h"

/* Uses without an event whose buckets are looked at together, at least. */
#define LEAST_REAPED 1024

typedef struct UseId
{
	uint64 group_hash; /* 0 = of all groups together */
	int64 limit_no;    /* wide, so that there is no padding */
} UseId;

typedef struct Use
{
	UseId id; /* hash key */
	int max_processing;
	EvqRate rate;
	uint64 digest; /* of the limit, as it is configured */
	int lanes;     /* so many have it */
	int in_use;    /* events on their way */
	int64 given;   /* tokens of those on offer */
	EvqBucket bucket;
	dlist_head waits; /* of Wait */
	EvqLane *saves_for;
	bool is_dirty; /* there may be room again */
	dlist_node dirty_node;
	bool is_refilling;
	int64 refill_at; /* when the tokens come for which a lane waits; nanoseconds */
	pairingheap_node refill_node;
} Use;

/* The lanes of a flow that wait for a use; there is one as long as any does. */
typedef struct Wait
{
	Use *use;
	EvqTrackedFlow *flow;
	pairingheap lanes; /* by their first events */
	dlist_node node;
	bool is_openable; /* there was room lately: it is in a list of its flow */
	dlist_node openable_node;
} Wait;

typedef struct LaneId
{
	uint64 group_hash;
	int32 flow_no;
	int32 event_type_no;
} LaneId;

struct EvqLane
{
	LaneId id; /* hash key */
	EvqTrackedFlow *flow;
	int tracked; /* its events that are remembered */
	int use_count;
	Use *uses[EVQ_MOST_LIMITS];
	int costs[EVQ_MOST_LIMITS];
	EvqTracked *front; /* in the line of its group or flow; NULL = it waits, or has none that is ready */
	pairingheap rest;  /* the other ready ones */
	Wait *wait;        /* NULL = it is open */
	pairingheap_node wait_node;
};

struct EvqMemoryLimits
{
	MemoryContext context; /* of lanes and waits */
	HTAB *lanes;
	HTAB *uses;
	pairingheap *refills; /* uses that wait for tokens */
	dlist_head dirty;
	uint64 digest; /* of all limits */
	int waiting;   /* lanes */
	int idle;      /* uses without a lane, but when they had their last token */
	int reap_at;
	int64 buckets_from; /* buckets of which nothing is known were empty then */
};

/* ---------- uses ---------- */

static int
compare_refills(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	int64 at_a = pairingheap_const_container(Use, refill_node, a)->refill_at;
	int64 at_b = pairingheap_const_container(Use, refill_node, b)->refill_at;

	return at_a < at_b ? 1 : at_a > at_b ? -1 : 0;
}

static int
given_tokens(const Use *use)
{
	return (int) Min(use->given, PG_INT32_MAX);
}

static void
fill(Use *use)
{
	(void) evq_bucket_fill(&use->bucket, &use->rate, given_tokens(use), evq_memory_bucket_clock());
}

static void
note_room(EvqMemoryLimits *limits, Use *use)
{
	if (use->is_dirty || dlist_is_empty(&use->waits))
		return;
	use->is_dirty = true;
	dlist_push_tail(&limits->dirty, &use->dirty_node);
}

static void
forget_use(EvqMemoryLimits *limits, Use *use)
{
	Assert(use->lanes == 0 && dlist_is_empty(&use->waits));
	if (use->is_dirty)
		dlist_delete(&use->dirty_node);
	if (use->is_refilling)
		pairingheap_remove(limits->refills, &use->refill_node);
	hash_search(limits->uses, &use->id, HASH_REMOVE, NULL);
}

/* Forgets uses without a lane whose buckets are full by now; if that is not enough, all of them: then no unknown one is fuller than empty now. */
static void
reap(EvqMemoryLimits *limits)
{
	int64 now = evq_memory_bucket_clock();
	bool all = false;

	do
	{
		HASH_SEQ_STATUS uses;
		Use *use;

		hash_seq_init(&uses, limits->uses);
		while ((use = hash_seq_search(&uses)) != NULL)
		{
			if (use->lanes > 0)
				continue;
			if (all || (evq_bucket_is_full(&use->bucket, &use->rate, now) &&
						evq_bucket_is_full_since(&use->rate, limits->buckets_from, now)))
			{
				forget_use(limits, use);
				limits->idle--;
			}
		}
		if (all)
			limits->buckets_from = now;
		all = !all && limits->idle > evq_max_tracked;
	} while (all);
	limits->reap_at = Max(LEAST_REAPED, 2 * limits->idle);
}

/* One more lane has the limit, that of the group or, if this is 0, as a whole. */
static Use *
join_use(EvqMemoryLimits *limits, const EvqLimit *limit, uint64 group_hash)
{
	UseId id = {.group_hash = group_hash, .limit_no = limit->limit_no};
	bool found;
	Use *use = hash_search(limits->uses, &id, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) use + sizeof(id), 0, sizeof(*use) - sizeof(id));
		use->max_processing = limit->max_processing;
		use->rate = evq_config_rate_of_limit(limit);
		use->digest = evq_config_limit_digest(limit);
		dlist_init(&use->waits);
		evq_bucket_begin(&use->bucket, limits->buckets_from);
	}
	else if (use->lanes == 0)
		limits->idle--;
	use->lanes++;
	return use;
}

static void
leave_use(EvqMemoryLimits *limits, Use *use)
{
	if (--use->lanes > 0)
		return;
	if (use->rate.every == 0)
		forget_use(limits, use);
	else
		limits->idle++;
}

static int
cost_of(const EvqLane *lane, const Use *use)
{
	for (int i = 0; i < lane->use_count; i++)
	{
		if (lane->uses[i] == use)
			return lane->costs[i];
	}
	Assert(false);
	return 1;
}

/* Has the use room for one more event of the lane, and tokens? Only the dispatcher has tokens. */
static bool
has_room(const EvqMemory *memory, Use *use, const EvqLane *lane)
{
	int64 wanted = cost_of(lane, use);

	if (use->max_processing > 0 && use->in_use >= use->max_processing)
		return false;
	if (use->rate.every == 0)
		return true;
	if (!evq_memory_keeps_offer(memory))
		return false;
	fill(use);
	if (use->saves_for != NULL && use->saves_for != lane)
		wanted += cost_of(use->saves_for, use);
	return use->bucket.tokens >= wanted;
}

/* Sets when the use is to be looked at again for a lane that waits for its tokens, and saves them for it; nothing where it saves for another, which is opened first. */
static void
wait_for_tokens(EvqMemory *memory, Use *use, EvqLane *lane)
{
	EvqMemoryLimits *limits = memory->limits;
	int cost = cost_of(lane, use);
	int64 at;

	if (use->rate.every == 0 || !evq_memory_keeps_offer(memory) ||
		(use->max_processing > 0 && use->in_use >= use->max_processing) ||
		(use->saves_for != NULL && use->saves_for != lane))
		return;
	fill(use);
	at = evq_bucket_when(&use->bucket, &use->rate, given_tokens(use), cost);
	if (at == EVQ_RATE_NEVER)
		return;
	if (cost > 1)
		use->saves_for = lane;
	if (use->is_refilling && use->refill_at <= at)
		return;
	if (use->is_refilling)
		pairingheap_remove(limits->refills, &use->refill_node);
	use->is_refilling = true;
	use->refill_at = at;
	pairingheap_add(limits->refills, &use->refill_node);
}

/* ---------- waiting lanes ---------- */

static EvqTracked *
first_of(const EvqLane *lane)
{
	return pairingheap_container(EvqTracked, ready_node, lane->rest.ph_root);
}

static bool
comes_before(const EvqLane *lane, const EvqTracked *a, const EvqTracked *b)
{
	return lane->rest.ph_compare(&a->ready_node, &b->ready_node, lane->rest.ph_arg) > 0;
}

static int
compare_lanes(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	return evq_memory_compare(first_of(pairingheap_const_container(EvqLane, wait_node, b)),
							  first_of(pairingheap_const_container(EvqLane, wait_node, a)));
}

/* The lane that is to be opened first: the one for which tokens are saved, or else that of the first event. */
static EvqLane *
first_lane(Wait *wait)
{
	if (wait->use->saves_for != NULL && wait->use->saves_for->wait == wait)
		return wait->use->saves_for;
	return pairingheap_container(EvqLane, wait_node, pairingheap_first(&wait->lanes));
}

static Wait *
use_wait(EvqMemoryLimits *limits, Use *use, EvqTrackedFlow *flow)
{
	dlist_iter iter;
	Wait *wait;

	dlist_foreach(iter, &use->waits)
	{
		wait = dlist_container(Wait, node, iter.cur);
		if (wait->flow == flow)
			return wait;
	}
	wait = MemoryContextAllocZero(limits->context, sizeof(Wait));
	wait->use = use;
	wait->flow = flow;
	wait->lanes.ph_compare = compare_lanes;
	dlist_push_tail(&use->waits, &wait->node);
	return wait;
}

static void
begin_waiting(EvqMemory *memory, EvqLane *lane, Use *use)
{
	lane->wait = use_wait(memory->limits, use, lane->flow);
	pairingheap_add(&lane->wait->lanes, &lane->wait_node);
	memory->limits->waiting++;
	wait_for_tokens(memory, use, lane);
}

static void
stop_waiting(EvqMemory *memory, EvqLane *lane)
{
	Wait *wait = lane->wait;

	pairingheap_remove(&wait->lanes, &lane->wait_node);
	memory->limits->waiting--;
	lane->wait = NULL;
	if (wait->use->saves_for == lane)
	{
		wait->use->saves_for = NULL;
		note_room(memory->limits, wait->use);
	}
	if (!pairingheap_is_empty(&wait->lanes))
		return;
	dlist_delete(&wait->node);
	if (wait->is_openable)
		dlist_delete(&wait->openable_node);
	pfree(wait);
}

/* Puts the first of the ready events that are behind into the line of its group or flow. */
static void
advance(EvqMemory *memory, EvqLane *lane)
{
	if (pairingheap_is_empty(&lane->rest))
		return;
	lane->front = pairingheap_container(EvqTracked, ready_node, pairingheap_remove_first(&lane->rest));
	evq_memory_line_up(memory, lane->front);
}

static void
retreat(EvqMemory *memory, EvqLane *lane)
{
	evq_memory_leave_line(memory, lane->front);
	pairingheap_add(&lane->rest, &lane->front->ready_node);
	lane->front = NULL;
}

/* Opens the first lane that waits there, if the use has room for it; the wait may be gone after that. */
static bool
open_first(EvqMemory *memory, Wait *wait)
{
	EvqLane *lane = first_lane(wait);

	if (!has_room(memory, wait->use, lane))
	{
		wait_for_tokens(memory, wait->use, lane);
		return false;
	}
	stop_waiting(memory, lane);
	advance(memory, lane);
	return true;
}

/* There may be room again: opens the first lane of each flow that waits for it, and says that others may follow. */
static void
use_room(EvqMemory *memory, Use *use)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &use->waits)
	{
		Wait *wait = dlist_container(Wait, node, iter.cur);

		if (!wait->is_openable)
			dlist_push_tail(&wait->flow->openable, &wait->openable_node);
		wait->is_openable = true;
		(void) open_first(memory, wait);
	}
}

/* The next of the flow's waits where there was room: opens a lane there, or puts it off until there is room again. */
static void
open_next(EvqMemory *memory, EvqTrackedFlow *flow)
{
	Wait *wait = dlist_container(Wait, openable_node, dlist_pop_head_node(&flow->openable));

	dlist_push_tail(&flow->openable, &wait->openable_node);
	if (open_first(memory, wait))
		return;
	dlist_delete(&wait->openable_node);
	wait->is_openable = false;
}

/* Before the flow gives a turn: opens one more lane for which there may be room, and others until there is one to give it to. */
void
evq_memory_open_lanes(EvqMemory *memory, EvqTrackedFlow *flow)
{
	if (memory->limits == NULL)
		return;
	do
	{
		if (dlist_is_empty(&flow->openable))
			return;
		open_next(memory, flow);
	} while (evq_memory_first_ready(flow) == NULL);
}

/* Has each limit of an event, whose turn has come, room for it? If not, its lane waits, and another event may have the turn. */
bool
evq_memory_limits_let_go(EvqMemory *memory, EvqTracked *tracked)
{
	EvqLane *lane = tracked->lane;

	if (lane == NULL)
		return true;
	Assert(lane->front == tracked && lane->wait == NULL);
	for (int i = 0; i < lane->use_count; i++)
	{
		if (has_room(memory, lane->uses[i], lane))
			continue;
		retreat(memory, lane);
		begin_waiting(memory, lane, lane->uses[i]);
		return false;
	}
	return true;
}

/* Does any event wait for a named limit? */
bool
evq_memory_has_waiting_lanes(const EvqMemory *memory)
{
	return memory->limits != NULL && memory->limits->waiting > 0;
}

/* Opens the lanes for which room has come, or tokens. Returns when the next tokens come for which one waits. */
TimestampTz
evq_memory_refill_limits(EvqMemory *memory, TimestampTz now)
{
	EvqMemoryLimits *limits = memory->limits;
	int64 present;
	Use *use;

	if (limits == NULL)
		return DT_NOEND;
	present = evq_memory_bucket_clock();
	while (!pairingheap_is_empty(limits->refills))
	{
		use = pairingheap_container(Use, refill_node, pairingheap_first(limits->refills));
		if (use->refill_at > present)
			break;
		pairingheap_remove(limits->refills, &use->refill_node);
		use->is_refilling = false;
		note_room(limits, use);
	}
	while (!dlist_is_empty(&limits->dirty))
	{
		use = dlist_container(Use, dirty_node, dlist_pop_head_node(&limits->dirty));
		use->is_dirty = false;
		use_room(memory, use);
	}
	if (pairingheap_is_empty(limits->refills))
		return DT_NOEND;
	use = pairingheap_container(Use, refill_node, pairingheap_first(limits->refills));
	return evq_memory_time_of_bucket(use->refill_at, now);
}

/* ---------- events in lanes ---------- */

/* One more event of a lane is remembered. Returns the lane; NULL = its type has no limit that counts for it. */
EvqLane *
evq_memory_join_lane(EvqMemory *memory, EvqTrackedFlow *flow, const EvqChange *facts)
{
	LaneId id = {.group_hash = facts->group_hash,
				 .flow_no = facts->flow_no,
				 .event_type_no = facts->event_type_no};
	const EvqEventType *event_type;
	EvqLane *lane;
	bool found;

	if (memory->limits == NULL || (event_type = evq_config_event_type(facts->event_type_no)) == NULL ||
		event_type->limit_count == 0)
		return NULL;
	lane = hash_search(memory->limits->lanes, &id, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) lane + sizeof(id), 0, sizeof(*lane) - sizeof(id));
		lane->flow = flow;
		lane->rest.ph_compare = flow->ready->ph_compare;
		lane->rest.ph_arg = flow->ready->ph_arg;
		for (int i = 0; i < event_type->limit_count; i++)
		{
			const EvqLimit *limit = event_type->limits[i];
			Use *use;

			if (limit->by_group && facts->group_hash == 0)
				continue;
			use = join_use(memory->limits, limit, limit->by_group ? facts->group_hash : 0);
			lane->uses[lane->use_count] = use;
			lane->costs[lane->use_count++] = use->rate.every > 0 ? Min(event_type->cost, use->rate.burst) : 1;
		}
	}
	lane->tracked++;
	return lane;
}

/* An event of a lane is forgotten; it is in no line any more, and not counted. */
void
evq_memory_leave_lane(EvqMemory *memory, EvqLane *lane)
{
	if (lane == NULL || --lane->tracked > 0)
		return;
	Assert(lane->front == NULL && lane->wait == NULL && pairingheap_is_empty(&lane->rest));
	for (int i = 0; i < lane->use_count; i++)
		leave_use(memory->limits, lane->uses[i]);
	hash_search(memory->limits->lanes, &lane->id, HASH_REMOVE, NULL);
	if (memory->limits->idle >= memory->limits->reap_at)
		reap(memory->limits);
}

/* Lines up an event that is ready: in its lane, or where there is none in its group or flow. */
void
evq_memory_make_wait(EvqMemory *memory, EvqTracked *tracked)
{
	EvqLane *lane = tracked->lane;
	Use *use;

	if (lane == NULL)
		evq_memory_line_up(memory, tracked);
	else if (lane->wait != NULL && comes_before(lane, tracked, first_of(lane)))
	{
		/* The heap of lanes is by their first events. */
		use = lane->wait->use;
		stop_waiting(memory, lane);
		pairingheap_add(&lane->rest, &tracked->ready_node);
		begin_waiting(memory, lane, use);
	}
	else if (lane->wait != NULL || (lane->front != NULL && !comes_before(lane, tracked, lane->front)))
		pairingheap_add(&lane->rest, &tracked->ready_node);
	else
	{
		if (lane->front != NULL)
			retreat(memory, lane);
		lane->front = tracked;
		evq_memory_line_up(memory, tracked);
	}
}

/* It leaves the line. */
void
evq_memory_stop_waiting(EvqMemory *memory, EvqTracked *tracked)
{
	EvqLane *lane = tracked->lane;
	Use *use;

	if (lane == NULL)
		evq_memory_leave_line(memory, tracked);
	else if (lane->front == tracked)
	{
		evq_memory_leave_line(memory, tracked);
		lane->front = NULL;
		advance(memory, lane);
	}
	else if (lane->wait != NULL && first_of(lane) == tracked)
	{
		use = lane->wait->use;
		stop_waiting(memory, lane);
		pairingheap_remove(&lane->rest, &tracked->ready_node);
		if (!pairingheap_is_empty(&lane->rest))
			begin_waiting(memory, lane, use);
	}
	else
		pairingheap_remove(&lane->rest, &tracked->ready_node);
}

/* So many more events of its lane are on their way as this one, which is in the state by which it counts. */
void
evq_memory_count_in_lane(EvqMemory *memory, const EvqTracked *tracked, int change)
{
	EvqLane *lane = tracked->lane;
	bool is_on_offer = evq_memory_is_on_offer(tracked);

	for (int i = 0; lane != NULL && i < lane->use_count; i++)
	{
		Use *use = lane->uses[i];

		/* Before what is given goes down: see rate.c. */
		if (use->rate.every > 0 && change < 0 && is_on_offer)
			fill(use);
		use->in_use += change;
		use->given += is_on_offer ? change * lane->costs[i] : 0;
		Assert(use->in_use >= 0 && use->given >= 0);
		if (change < 0)
			note_room(memory->limits, use);
	}
}

/* A ready event is about to be given its turn: it takes its tokens. */
void
evq_memory_pay(EvqTracked *tracked)
{
	EvqLane *lane = tracked->lane;

	for (int i = 0; lane != NULL && i < lane->use_count; i++)
	{
		if (lane->uses[i]->rate.every == 0)
			continue;
		fill(lane->uses[i]);
		evq_bucket_pay(&lane->uses[i]->bucket, lane->costs[i]);
	}
}

/* ---------- what the configuration changes ---------- */

static uint64
digest_of_all(const EvqLimit *configured, int count)
{
	uint64 digest = 0;

	for (int i = 0; i < count; i++)
		digest += evq_config_limit_digest(&configured[i]);
	return digest;
}

static void
make_lanes(EvqMemoryLimits *limits)
{
	HASHCTL control = {.keysize = sizeof(LaneId), .entrysize = sizeof(EvqLane), .hcxt = limits->context};

	limits->lanes = hash_create("evq lanes", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	limits->waiting = 0;
	limits->idle = 0;
	dlist_init(&limits->dirty);
}

static EvqMemoryLimits *
make_limits(EvqMemory *memory)
{
	HASHCTL control = {.keysize = sizeof(UseId), .entrysize = sizeof(Use), .hcxt = memory->context};
	MemoryContext previous = MemoryContextSwitchTo(memory->context);
	EvqMemoryLimits *limits = palloc0(sizeof(EvqMemoryLimits));

	limits->context = AllocSetContextCreate(memory->context, "evq lanes", ALLOCSET_DEFAULT_SIZES);
	limits->uses = hash_create("evq limits in use", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	limits->refills = pairingheap_allocate(compare_refills, NULL);
	limits->reap_at = LEAST_REAPED;
	limits->buckets_from = evq_memory_bucket_clock();
	make_lanes(limits);
	MemoryContextSwitchTo(previous);
	return limits;
}

/* Takes all events out of their lanes, and forgets these. */
static void
empty_lanes(EvqMemory *memory)
{
	EvqMemoryLimits *limits = memory->limits;
	HASH_SEQ_STATUS all;
	EvqTracked *tracked;
	ListCell *cell;

	hash_seq_init(&all, memory->events);
	while ((tracked = hash_seq_search(&all)) != NULL)
	{
		if (tracked->state == EVQ_TRACK_READY && (tracked->lane == NULL || tracked->lane->front == tracked))
			evq_memory_leave_line(memory, tracked);
		tracked->lane = NULL;
	}
	foreach(cell, memory->flow_list)
		dlist_init(&((EvqTrackedFlow *) lfirst(cell))->openable);
	MemoryContextReset(limits->context);
	make_lanes(limits);
}

/* Takes what is configured of the uses; of a limit that is another one, buckets are empty. */
static void
read_uses(EvqMemoryLimits *limits, const EvqLimit *configured, int count)
{
	HASH_SEQ_STATUS all;
	Use *use;

	pairingheap_reset(limits->refills);
	hash_seq_init(&all, limits->uses);
	while ((use = hash_seq_search(&all)) != NULL)
	{
		const EvqLimit *limit = NULL;

		for (int i = 0; i < count; i++)
		{
			if (configured[i].limit_no == use->id.limit_no &&
				configured[i].by_group == (use->id.group_hash != 0))
				limit = &configured[i];
		}
		use->lanes = use->in_use = 0;
		use->given = 0;
		use->saves_for = NULL;
		use->is_dirty = use->is_refilling = false;
		dlist_init(&use->waits);
		if (limit == NULL || (use->rate = evq_config_rate_of_limit(limit)).every == 0)
		{
			hash_search(limits->uses, &use->id, HASH_REMOVE, NULL);
			continue;
		}
		limits->idle++;
		use->max_processing = limit->max_processing;
		if (use->digest != evq_config_limit_digest(limit))
			evq_bucket_begin(&use->bucket, evq_memory_bucket_clock());
		use->digest = evq_config_limit_digest(limit);
	}
	limits->buckets_from = evq_memory_bucket_clock();
}

/* Gives all events their lanes. */
static void
fill_lanes(EvqMemory *memory)
{
	HASH_SEQ_STATUS all;
	EvqTracked *tracked;

	hash_seq_init(&all, memory->events);
	while ((tracked = hash_seq_search(&all)) != NULL)
	{
		tracked->lane = evq_memory_join_lane(memory, tracked->flow, &tracked->facts);
		if (evq_memory_takes_room(tracked))
			evq_memory_count_in_lane(memory, tracked, 1);
		if (tracked->state == EVQ_TRACK_READY)
			evq_memory_make_wait(memory, tracked);
	}
}

/* The configuration has changed: where named limits, or which types have them, are others, all is counted anew. */
void
evq_memory_heed_named_limits(EvqMemory *memory)
{
	int count;
	const EvqLimit *configured = evq_config_limits(&count);
	uint64 digest = digest_of_all(configured, count);

	if (count > 0 && memory->limits == NULL)
		memory->limits = make_limits(memory);
	if (memory->limits == NULL || memory->limits->digest == digest)
		return;
	memory->limits->digest = digest;
	empty_lanes(memory);
	read_uses(memory->limits, configured, count);
	fill_lanes(memory);
}
