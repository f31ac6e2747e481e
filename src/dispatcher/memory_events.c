/*
 * memory_events.c
 *		Remembered events and flows: found by id, counted by state, and lined up by what comes next.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "dispatcher/memory_internal.h"

typedef struct FlowIdKey
{
	uint64 flow_id_hash;
	int64 flow_no; /* wide, so that the key has no padding */
} FlowIdKey;

/* A flow_id of an ordered flow with events on their way. */
typedef struct BusyFlowId
{
	FlowIdKey key;
	int count;
} BusyFlowId;

/* Pairing heaps give their largest first: later times compare as smaller. */
static int
compare_timers(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	TimestampTz at_a = pairingheap_const_container(EvqTracked, timer_node, a)->timer_at;
	TimestampTz at_b = pairingheap_const_container(EvqTracked, timer_node, b)->timer_at;

	return at_a < at_b ? 1 : at_a > at_b ? -1 : 0;
}

static int
compare_ready(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	return evq_memory_compare(pairingheap_const_container(EvqTracked, ready_node, b),
							  pairingheap_const_container(EvqTracked, ready_node, a));
}

static int
compare_last(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	return evq_memory_compare(pairingheap_const_container(EvqTracked, last_node, a),
							  pairingheap_const_container(EvqTracked, last_node, b));
}

static HTAB *
make_hash(const char *name, Size key_size, Size entry_size, MemoryContext context)
{
	HASHCTL control = {.keysize = key_size, .entrysize = entry_size, .hcxt = context};

	return hash_create(name, 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Makes the tables and the timers, in the memory's context. */
void
evq_memory_events_init(EvqMemory *memory)
{
	MemoryContext context = memory->context;
	MemoryContext previous = MemoryContextSwitchTo(context);

	memory->events = make_hash("evq tracked events", sizeof(pg_uuid_t), sizeof(EvqTracked), context);
	memory->flows = make_hash("evq tracked flows", sizeof(int32), sizeof(EvqTrackedFlow), context);
	memory->busy = make_hash("evq busy flow ids", sizeof(FlowIdKey), sizeof(BusyFlowId), context);
	memory->timers = pairingheap_allocate(compare_timers, NULL);
	dlist_init(&memory->hungry);
	evq_memory_groups_init(memory);
	MemoryContextSwitchTo(previous);
}

/* ---------- flows ---------- */

/* How many flows there are here: all that ever had an event, or were asked for. */
int
evq_memory_flow_count(const EvqMemory *memory)
{
	return list_length(memory->flow_list);
}

/* The flow of an index, in the order in which they came. */
EvqTrackedFlow *
evq_memory_flow(const EvqMemory *memory, int index)
{
	return list_nth(memory->flow_list, index);
}

/* What is remembered of a flow; made where there is nothing yet. */
EvqTrackedFlow *
evq_memory_use_flow(EvqMemory *memory, int32 flow_no)
{
	bool found;
	EvqTrackedFlow *flow = hash_search(memory->flows, &flow_no, HASH_ENTER, &found);

	if (!found)
	{
		MemoryContext previous = MemoryContextSwitchTo(memory->context);

		memset((char *) flow + sizeof(flow->flow_no), 0, sizeof(*flow) - sizeof(flow->flow_no));
		flow->index = list_length(memory->flow_list);
		flow->ready = pairingheap_allocate(compare_ready, NULL);
		evq_memory_groups_init_flow(flow);
		dlist_init(&flow->openable);
		evq_memory_turns_init_flow(flow);
		evq_memory_read_flow(memory, flow);
		flow->last = pairingheap_allocate(compare_last, NULL);
		evq_memory_unread_init(&flow->left);
		memory->flow_list = lappend(memory->flow_list, flow);
		MemoryContextSwitchTo(previous);
	}
	return flow;
}

/* The flow's number in the configuration. */
int32
evq_memory_flow_no(const EvqTrackedFlow *flow)
{
	return flow->flow_no;
}

/* Its index here, by which others keep what they know of it: see evq_memory_flow(). */
int
evq_memory_flow_index(const EvqTrackedFlow *flow)
{
	return flow->index;
}

/* How many events of the flow are due and not on offer. */
int
evq_memory_ready(const EvqTrackedFlow *flow)
{
	return flow->count[EVQ_TRACK_READY];
}

/* How many are on offer or dispatched. */
int
evq_memory_on_offer(const EvqTrackedFlow *flow)
{
	return evq_memory_given(flow);
}

/* How many are in process. */
int
evq_memory_processing(const EvqTrackedFlow *flow)
{
	return flow->count[EVQ_TRACK_PROCESSING];
}

/* Is an event of any flow ready, or on offer without a dispatch? */
bool
evq_memory_has_work(const EvqMemory *memory)
{
	return memory->count[EVQ_TRACK_READY] > 0 || memory->count[EVQ_TRACK_OFFERED] > 0;
}

/* ---------- busy flow ids ---------- */

static bool
keeps_busy(const EvqTracked *tracked)
{
	return tracked->facts.ordered && tracked->state >= EVQ_TRACK_OFFERED;
}

static FlowIdKey
flow_id_key(int32 flow_no, uint64 flow_id_hash)
{
	FlowIdKey key = {.flow_id_hash = flow_id_hash, .flow_no = flow_no};

	return key;
}

static void
count_busy(EvqMemory *memory, const EvqTracked *tracked, int change)
{
	FlowIdKey key = flow_id_key(tracked->facts.flow_no, tracked->facts.flow_id_hash);
	bool found;
	BusyFlowId *busy;

	if (!keeps_busy(tracked))
		return;
	busy = hash_search(memory->busy, &key, HASH_ENTER, &found);
	busy->count = (found ? busy->count : 0) + change;
	Assert(busy->count >= 0);
	if (busy->count == 0)
		hash_search(memory->busy, &key, HASH_REMOVE, NULL);
}

/* Is an event of the same flow_id offered, dispatched, in processing or suspended? */
bool
evq_memory_is_flow_id_busy(const EvqMemory *memory, const EvqChange *facts)
{
	FlowIdKey key = flow_id_key(facts->flow_no, facts->flow_id_hash);

	return hash_search(memory->busy, &key, HASH_FIND, NULL) != NULL;
}

/* ---------- events ---------- */

/* How many events are remembered. */
long
evq_memory_count(const EvqMemory *memory)
{
	return hash_get_num_entries(memory->events);
}

/* What is remembered of an event; NULL = nothing is. */
EvqTracked *
evq_memory_find(const EvqMemory *memory, const pg_uuid_t *event_id)
{
	return hash_search(memory->events, event_id, HASH_FIND, NULL);
}

/* What was last told of it, or read. */
const EvqChange *
evq_memory_facts(const EvqTracked *tracked)
{
	return &tracked->facts;
}

/* When its row is to be looked at. */
TimestampTz
evq_memory_timer(const EvqTracked *tracked)
{
	return tracked->timer_at;
}

/* Takes the event out of queues and counts, not out of the hash. */
static void
detach(EvqMemory *memory, EvqTracked *tracked)
{
	EvqTrackedFlow *flow = tracked->flow;

	pairingheap_remove(memory->timers, &tracked->timer_node);
	if (tracked->state == EVQ_TRACK_READY)
		evq_memory_stop_waiting(memory, tracked);
	if (evq_memory_is_waiting(tracked))
	{
		pairingheap_remove(flow->last, &tracked->last_node);
		evq_memory_wait_no_more(memory, tracked);
	}
	/* Before its flow's counts change: see rate.c. */
	if (evq_memory_takes_room(tracked))
	{
		evq_memory_count_in_lane(memory, tracked, -1);
		evq_memory_count_in_group(memory, tracked, -1);
	}
	flow->count[tracked->state]--;
	memory->count[tracked->state]--;
	Assert(flow->count[tracked->state] >= 0 && memory->count[tracked->state] >= flow->count[tracked->state]);
	count_busy(memory, tracked, -1);
}

static void
attach(EvqMemory *memory, EvqTracked *tracked, EvqTrackState state, TimestampTz timer_at)
{
	EvqTrackedFlow *flow = tracked->flow;

	Assert(flow->flow_no == tracked->facts.flow_no);
	tracked->state = state;
	tracked->timer_at = timer_at;
	pairingheap_add(memory->timers, &tracked->timer_node);
	if (evq_memory_is_waiting(tracked))
	{
		pairingheap_add(flow->last, &tracked->last_node);
		evq_memory_wait_in_group(tracked);
	}
	if (state == EVQ_TRACK_READY)
		evq_memory_make_wait(memory, tracked);
	flow->count[state]++;
	memory->count[state]++;
	count_busy(memory, tracked, 1);
	if (evq_memory_takes_room(tracked))
	{
		evq_memory_note_turn(tracked);
		evq_memory_count_in_lane(memory, tracked, 1);
		evq_memory_count_in_group(memory, tracked, 1);
	}
}

/* What is to be remembered of an event with these facts. */
static EvqTrackState
state_from_facts(const EvqChange *facts, TimestampTz now)
{
	switch ((EvqState) facts->state)
	{
		case EVQ_STATE_DISPATCHED:
			return EVQ_TRACK_DISPATCHED;
		case EVQ_STATE_BEING_PROCESSED:
			return EVQ_TRACK_PROCESSING;
		case EVQ_STATE_SUSPENDED:
			return EVQ_TRACK_SUSPENDED;
		default:
			return facts->at > now ? EVQ_TRACK_WAITING : EVQ_TRACK_READY;
	}
}

/* Remembers a live event in the state and with the timer that follow from its facts; what was remembered of it before is replaced. */
EvqTracked *
evq_memory_put(EvqMemory *memory, const EvqChange *facts, TimestampTz now)
{
	bool found;
	EvqTracked *tracked = hash_search(memory->events, &facts->event_id, HASH_ENTER, &found);
	EvqTrackState state = state_from_facts(facts, now);
	int64 place;

	if (found)
		detach(memory, tracked);
	else
	{
		tracked->flow_id = NULL;
		tracked->offered_before = false;
		tracked->facts.place = 0;
	}
	if (!found || tracked->flow->flow_no != facts->flow_no ||
		tracked->facts.group_hash != facts->group_hash ||
		(tracked->group == NULL && tracked->flow->line.is_fair))
	{
		if (found)
		{
			evq_memory_leave_lane(memory, tracked->lane);
			evq_memory_leave_group(memory, tracked->group);
		}
		tracked->flow = evq_memory_use_flow(memory, facts->flow_no);
		tracked->group = evq_memory_join_group(memory, tracked->flow, facts->group_hash);
		tracked->lane = evq_memory_join_lane(memory, tracked->flow, facts);
	}
	tracked->put_offs = 0;
	tracked->seen_in_sweep = memory->sweep;
	place = facts->place == 0 ? tracked->facts.place : facts->place;
	tracked->facts = *facts;
	tracked->facts.place = place;
	attach(memory, tracked, state, state == EVQ_TRACK_READY ? facts->due_at : Min(facts->at, facts->due_at));
	return tracked;
}

/* Puts the event into a state, with a time at which to look at its row. */
void
evq_memory_set(EvqMemory *memory, EvqTracked *tracked, EvqTrackState state, TimestampTz timer_at)
{
	detach(memory, tracked);
	attach(memory, tracked, state, timer_at);
}

/* Keeps a copy of an ordered event's flow_id, by which its successor is found. */
void
evq_memory_set_flow_id(EvqMemory *memory, EvqTracked *tracked, const char *flow_id)
{
	if (tracked->flow_id == NULL)
		tracked->flow_id = MemoryContextStrdup(memory->context, flow_id);
}

/* Forgets an event of which nothing follows: it comes back from the table, or cannot be read at all. */
void
evq_memory_drop(EvqMemory *memory, EvqTracked *tracked)
{
	detach(memory, tracked);
	evq_memory_leave_lane(memory, tracked->lane);
	evq_memory_leave_group(memory, tracked->group);
	if (tracked->flow_id != NULL)
		pfree(tracked->flow_id);
	hash_search(memory->events, &tracked->event_id, HASH_REMOVE, NULL);
}

/*
 * Forgets the waiting and ready events, and what was left unread, but not the events that are put off: their timers bring them
 * back. flow: those of this one; NULL = of all.
 */
void
evq_memory_forget_waiting_of(EvqMemory *memory, const EvqTrackedFlow *flow)
{
	HASH_SEQ_STATUS all;
	EvqTracked *tracked;
	ListCell *cell;

	hash_seq_init(&all, memory->events);
	while ((tracked = hash_seq_search(&all)) != NULL)
	{
		if (evq_memory_is_waiting(tracked) && tracked->put_offs == 0 &&
			(flow == NULL || tracked->flow == flow))
			evq_memory_drop(memory, tracked);
	}
	foreach(cell, memory->flow_list)
	{
		if (flow == NULL || lfirst(cell) == flow)
			evq_memory_unread_init(&((EvqTrackedFlow *) lfirst(cell))->left);
	}
	evq_memory_forget_unread_groups(memory, flow);
}

/* The same, of all flows. */
void
evq_memory_forget_waiting(EvqMemory *memory)
{
	evq_memory_forget_waiting_of(memory, NULL);
}

/* The events on offer or dispatched, in no order, in the current context. */
EvqTracked **
evq_memory_collect_on_offer(const EvqMemory *memory, int *count)
{
	EvqTracked **found = palloc(evq_memory_count(memory) * sizeof(EvqTracked *));
	HASH_SEQ_STATUS all;
	EvqTracked *tracked;

	*count = 0;
	hash_seq_init(&all, memory->events);
	while ((tracked = hash_seq_search(&all)) != NULL)
	{
		if (evq_memory_is_on_offer(tracked))
			found[(*count)++] = tracked;
	}
	return found;
}

/*
 * After a sweep: an event in one of these states, from first to last, that no sweep met since a
 * certain one, and nobody told of, may have been finished without a word. Its
 * timer is set to now, so that its row is looked at; until then it would count
 * as on its way, or be offered in vain, and hold up others.
 */
void
evq_memory_look_at_unseen(EvqMemory *memory, uint32 since, EvqTrackState first, EvqTrackState last,
						  TimestampTz now)
{
	HASH_SEQ_STATUS all;
	EvqTracked *tracked;

	hash_seq_init(&all, memory->events);
	while ((tracked = hash_seq_search(&all)) != NULL)
	{
		if (tracked->state >= first && tracked->state <= last &&
			(int32) (tracked->seen_in_sweep - since) < 0 && tracked->timer_at > now)
			evq_memory_set(memory, tracked, tracked->state, now);
	}
}

/* ---------- what comes next ---------- */

/* The time of the first timer; infinity = nothing is remembered. */
TimestampTz
evq_memory_next_at(const EvqMemory *memory)
{
	return pairingheap_is_empty(memory->timers)
			   ? DT_NOEND
			   : pairingheap_container(EvqTracked, timer_node, pairingheap_first(memory->timers))->timer_at;
}

/* The event whose timer is the first to have come; NULL = none has. */
EvqTracked *
evq_memory_first_due(const EvqMemory *memory, TimestampTz now)
{
	return evq_memory_next_at(memory) > now
			   ? NULL
			   : pairingheap_container(EvqTracked, timer_node, pairingheap_first(memory->timers));
}

/* The waiting or ready event of the flow whose turn comes last; NULL = there is none. */
EvqTracked *
evq_memory_last_waiting(const EvqTrackedFlow *flow)
{
	return pairingheap_is_empty(flow->last)
			   ? NULL
			   : pairingheap_container(EvqTracked, last_node, pairingheap_first(flow->last));
}
