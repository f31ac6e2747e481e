/*
 * track.c
 *		What an engine remembers of live events.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "dispatcher/track.h"
#include "rules/transition.h"

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

struct EvqTrack
{
	MemoryContext context;
	HTAB *events;
	HTAB *flows;
	HTAB *busy;
	List *flow_list;
	pairingheap *timers;
	uint32 sweep; /* number of the last one begun */
	int waiting;  /* events waiting or ready */
};

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
	return evq_change_compare(&pairingheap_const_container(EvqTracked, ready_node, b)->facts,
							  &pairingheap_const_container(EvqTracked, ready_node, a)->facts);
}

static int
compare_last(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	return evq_change_compare(&pairingheap_const_container(EvqTracked, last_node, a)->facts,
							  &pairingheap_const_container(EvqTracked, last_node, b)->facts);
}

static HTAB *
make_hash(const char *name, Size key_size, Size entry_size, MemoryContext context)
{
	HASHCTL control = {.keysize = key_size, .entrysize = entry_size, .hcxt = context};

	return hash_create(name, 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

EvqTrack *
evq_track_create(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "evq track", ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	EvqTrack *track = palloc0(sizeof(EvqTrack));

	track->context = context;
	track->events = make_hash("evq tracked events", sizeof(pg_uuid_t), sizeof(EvqTracked), context);
	track->flows = make_hash("evq tracked flows", sizeof(int32), sizeof(EvqTrackedFlow), context);
	track->busy = make_hash("evq busy flow ids", sizeof(FlowIdKey), sizeof(BusyFlowId), context);
	track->timers = pairingheap_allocate(compare_timers, NULL);
	MemoryContextSwitchTo(previous);
	return track;
}

long
evq_track_count(const EvqTrack *track)
{
	return hash_get_num_entries(track->events);
}

/* Is there no memory for one more waiting event of the flow? Each flow has its share, whatever others take. */
bool
evq_track_is_full(const EvqTrack *track, const EvqTrackedFlow *flow, int64 max_waiting)
{
	return track->waiting >= max_waiting && flow->count[EVQ_TRACK_WAITING] + flow->count[EVQ_TRACK_READY] >=
												max_waiting / Max(list_length(track->flow_list), 1);
}

/* Is the event's turn surely before that of all unread ones? */
bool
evq_track_comes_before(const EvqUnread *unread, const EvqChange *facts)
{
	EvqDuePosition position = evq_change_position(facts);

	return unread->from.at == DT_NOEND || facts->priority > unread->priority ||
		   (facts->priority == unread->priority && !evq_due_is_before(&unread->from, &position));
}

/* From a position on, events of up to a priority may not be remembered. */
void
evq_track_leave_unread(EvqUnread *unread, const EvqDuePosition *from, int16 priority)
{
	unread->from = evq_due_first(unread->from, *from);
	unread->priority = Max(unread->priority, priority);
}

void
evq_track_leave_none_unread(EvqUnread *unread)
{
	unread->from = evq_due_position(DT_NOEND);
	unread->priority = PG_INT16_MIN;
}

/* May events of the flow that ought to be remembered be in the table alone? */
bool
evq_track_is_unread(const EvqTrackedFlow *flow)
{
	return flow->unread.from.at < DT_NOEND;
}

/* All flows that ever had an event here: a list of EvqTrackedFlow. */
List *
evq_track_flows(const EvqTrack *track)
{
	return track->flow_list;
}

/* What is remembered of a flow; made where there is nothing yet. */
EvqTrackedFlow *
evq_track_use_flow(EvqTrack *track, int32 flow_no)
{
	bool found;
	EvqTrackedFlow *flow = hash_search(track->flows, &flow_no, HASH_ENTER, &found);

	if (!found)
	{
		MemoryContext previous = MemoryContextSwitchTo(track->context);

		memset((char *) flow + sizeof(flow->flow_no), 0, sizeof(*flow) - sizeof(flow->flow_no));
		flow->ready = pairingheap_allocate(compare_ready, NULL);
		flow->last = pairingheap_allocate(compare_last, NULL);
		evq_track_leave_none_unread(&flow->unread);
		evq_track_leave_none_unread(&flow->unread_anew);
		track->flow_list = lappend(track->flow_list, flow);
		MemoryContextSwitchTo(previous);
	}
	return flow;
}

/* Has the flow room for one more offer? */
bool
evq_track_has_room(const EvqTrackedFlow *flow)
{
	int offered = flow->count[EVQ_TRACK_OFFERED] + flow->count[EVQ_TRACK_DISPATCHED];

	if (flow->max_dispatched == 0)
		return true;
	return offered < flow->max_dispatched &&
		   (flow->max_processing == 0 || offered + flow->count[EVQ_TRACK_PROCESSING] < flow->max_processing);
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
count_busy(EvqTrack *track, const EvqTracked *tracked, int change)
{
	FlowIdKey key = flow_id_key(tracked->facts.flow_no, tracked->facts.flow_id_hash);
	bool found;
	BusyFlowId *busy;

	if (!keeps_busy(tracked))
		return;
	busy = hash_search(track->busy, &key, HASH_ENTER, &found);
	busy->count = (found ? busy->count : 0) + change;
	Assert(busy->count >= 0);
	if (busy->count == 0)
		hash_search(track->busy, &key, HASH_REMOVE, NULL);
}

/* Is an event of this flow_id offered, dispatched, in processing or suspended? */
bool
evq_track_is_flow_id_busy(const EvqTrack *track, int32 flow_no, uint64 flow_id_hash)
{
	FlowIdKey key = flow_id_key(flow_no, flow_id_hash);

	return hash_search(track->busy, &key, HASH_FIND, NULL) != NULL;
}

/* ---------- events ---------- */

EvqTracked *
evq_track_find(EvqTrack *track, const pg_uuid_t *event_id)
{
	return hash_search(track->events, event_id, HASH_FIND, NULL);
}

static bool
is_waiting(EvqTrackState state)
{
	return state == EVQ_TRACK_WAITING || state == EVQ_TRACK_READY;
}

/* Takes the event out of queues and counts, not out of the hash. */
static void
detach(EvqTrack *track, EvqTracked *tracked)
{
	EvqTrackedFlow *flow = tracked->flow;

	pairingheap_remove(track->timers, &tracked->timer_node);
	if (tracked->state == EVQ_TRACK_READY)
		pairingheap_remove(flow->ready, &tracked->ready_node);
	if (is_waiting(tracked->state))
		pairingheap_remove(flow->last, &tracked->last_node);
	flow->count[tracked->state]--;
	track->waiting -= is_waiting(tracked->state);
	Assert(flow->count[tracked->state] >= 0 && track->waiting >= 0);
	count_busy(track, tracked, -1);
}

static void
attach(EvqTrack *track, EvqTracked *tracked, EvqTrackState state, TimestampTz timer_at)
{
	EvqTrackedFlow *flow = tracked->flow;

	Assert(flow->flow_no == tracked->facts.flow_no);
	tracked->state = state;
	tracked->timer_at = timer_at;
	pairingheap_add(track->timers, &tracked->timer_node);
	if (state == EVQ_TRACK_READY)
		pairingheap_add(flow->ready, &tracked->ready_node);
	if (is_waiting(state))
		pairingheap_add(flow->last, &tracked->last_node);
	flow->count[state]++;
	track->waiting += is_waiting(state);
	count_busy(track, tracked, 1);
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

/* Remembers a live event as the facts say, whatever was remembered of it before. */
EvqTracked *
evq_track_put(EvqTrack *track, const EvqChange *facts, TimestampTz now)
{
	bool found;
	EvqTracked *tracked = hash_search(track->events, &facts->event_id, HASH_ENTER, &found);
	EvqTrackState state = state_from_facts(facts, now);

	if (found)
		detach(track, tracked);
	else
	{
		tracked->flow_id = NULL;
		tracked->offered_before = false;
	}
	if (!found || tracked->flow->flow_no != facts->flow_no)
		tracked->flow = evq_track_use_flow(track, facts->flow_no);
	tracked->put_offs = 0;
	tracked->seen_in_sweep = track->sweep;
	tracked->facts = *facts;
	attach(track, tracked, state, state == EVQ_TRACK_READY ? facts->due_at : Min(facts->at, facts->due_at));
	return tracked;
}

void
evq_track_set(EvqTrack *track, EvqTracked *tracked, EvqTrackState state, TimestampTz timer_at)
{
	detach(track, tracked);
	attach(track, tracked, state, timer_at);
}

void
evq_track_set_flow_id(EvqTrack *track, EvqTracked *tracked, const char *flow_id)
{
	if (tracked->flow_id == NULL)
		tracked->flow_id = MemoryContextStrdup(track->context, flow_id);
}

void
evq_track_remove(EvqTrack *track, EvqTracked *tracked)
{
	detach(track, tracked);
	if (tracked->flow_id != NULL)
		pfree(tracked->flow_id);
	hash_search(track->events, &tracked->event_id, HASH_REMOVE, NULL);
}

/* Forgets the events that wait for their turn, and what was left unread. Those that are put off keep their timers. */
void
evq_track_forget_waiting(EvqTrack *track)
{
	HASH_SEQ_STATUS all;
	EvqTracked *tracked;
	ListCell *cell;

	hash_seq_init(&all, track->events);
	while ((tracked = hash_seq_search(&all)) != NULL)
	{
		if (is_waiting(tracked->state) && tracked->put_offs == 0)
			evq_track_remove(track, tracked);
	}
	foreach(cell, track->flow_list)
	{
		EvqTrackedFlow *flow = lfirst(cell);

		evq_track_leave_none_unread(&flow->unread);
		evq_track_leave_none_unread(&flow->unread_anew);
		flow->is_reading_on = false;
	}
}

/* The remembered events of which it is so, in no order, in the current context. */
EvqTracked **
evq_track_collect(const EvqTrack *track, bool (*is_so)(const EvqTracked *), int *count)
{
	EvqTracked **found = palloc(evq_track_count(track) * sizeof(EvqTracked *));
	HASH_SEQ_STATUS all;
	EvqTracked *tracked;

	*count = 0;
	hash_seq_init(&all, track->events);
	while ((tracked = hash_seq_search(&all)) != NULL)
	{
		if (is_so(tracked))
			found[(*count)++] = tracked;
	}
	return found;
}

/* ---------- sweeps over the table ---------- */

/* Returns the number of the sweep that begins. */
uint32
evq_track_begin_sweep(EvqTrack *track)
{
	return ++track->sweep;
}

void
evq_track_mark_seen(const EvqTrack *track, EvqTracked *tracked)
{
	tracked->seen_in_sweep = track->sweep;
}

/*
 * After a sweep: an event on its way that none came by since a certain one, and
 * nobody told of, may have been finished without a word. Its timer is set to
 * now, so that its row is looked at; until then it would count as on its way,
 * and hold up others. suspended: of such events, else of all others.
 */
void
evq_track_look_at_unseen(EvqTrack *track, uint32 since, bool suspended, TimestampTz now)
{
	HASH_SEQ_STATUS all;
	EvqTracked *tracked;

	hash_seq_init(&all, track->events);
	while ((tracked = hash_seq_search(&all)) != NULL)
	{
		if (tracked->state >= EVQ_TRACK_OFFERED && (tracked->state == EVQ_TRACK_SUSPENDED) == suspended &&
			(int32) (tracked->seen_in_sweep - since) < 0 && tracked->timer_at > now)
			evq_track_set(track, tracked, tracked->state, now);
	}
}

/* ---------- what comes next ---------- */

EvqTracked *
evq_track_first_timer(const EvqTrack *track)
{
	return pairingheap_is_empty(track->timers)
			   ? NULL
			   : pairingheap_container(EvqTracked, timer_node, pairingheap_first(track->timers));
}

EvqTracked *
evq_track_first_ready(const EvqTrackedFlow *flow)
{
	return pairingheap_is_empty(flow->ready)
			   ? NULL
			   : pairingheap_container(EvqTracked, ready_node, pairingheap_first(flow->ready));
}

/* The waiting or ready event of the flow whose turn comes last. */
EvqTracked *
evq_track_last_waiting(const EvqTrackedFlow *flow)
{
	return pairingheap_is_empty(flow->last)
			   ? NULL
			   : pairingheap_container(EvqTracked, last_node, pairingheap_first(flow->last));
}
