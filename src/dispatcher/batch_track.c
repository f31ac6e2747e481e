/*
 * batch_track.c
 *		What the engine remembers of batches: what is to be offered, and when to look at one.
 *
 * A batch is remembered while an event of it is in it and not final, if there is memory; others stay in evq.backlog, and
 * are read when there is room again. Of each flow its share is remembered at least. What is remembered is told by sessions, as soon as their transactions have
 * committed. To look at a batch means to read its runs and exceptions, and to do what they ask: end attempts whose permit
 * ran out, expire what nobody has acquired, take events out where their flow is no longer one of batches, and forget the
 * batch when nothing of it is left.
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/guc.h"
#include "base/trace.h"
#include "dispatcher/batch_track_internal.h"
#include "dispatcher/batch_walk.h"
#include "session/config.h"
#include "session/lifecycle_batch.h"

/* A batch takes as much memory as so many events. */
#define EVENTS_OF_MEMORY 3

/* A walk rests so many times as long as it took, with the looks that it wanted. */
#define REST_OF_WALK 9

/* When to look again at what somebody else is changing. */
#define BUSY_DELAY (USECS_PER_SEC / 10)

static int
compare_timers(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const EvqTrackedBatch *batch_a = pairingheap_const_container(EvqTrackedBatch, in_timers, a);
	const EvqTrackedBatch *batch_b = pairingheap_const_container(EvqTrackedBatch, in_timers, b);

	if (batch_a->look_at != batch_b->look_at)
		return batch_a->look_at < batch_b->look_at ? 1 : -1;
	return 0;
}

static int
compare_waiting(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const EvqTrackedBatch *batch_a = pairingheap_const_container(EvqTrackedBatch, in_waiting, a);
	const EvqTrackedBatch *batch_b = pairingheap_const_container(EvqTrackedBatch, in_waiting, b);

	if (batch_a->priority != batch_b->priority)
		return batch_a->priority > batch_b->priority ? 1 : -1;
	if (batch_a->at != batch_b->at)
		return batch_a->at < batch_b->at ? 1 : -1;
	return -memcmp(&batch_a->batch_id, &batch_b->batch_id, sizeof(pg_uuid_t));
}

/* Makes what an engine remembers of batches, nothing yet, in a context of its own below this one; slot: NULL = without shared memory. */
EvqBatchTrack *
evq_batch_track_create(MemoryContext parent, EvqSlot *slot, EvqMemory *memory)
{
	MemoryContext context = AllocSetContextCreate(parent, "evq batches", ALLOCSET_DEFAULT_SIZES);
	EvqBatchTrack *track = MemoryContextAllocZero(context, sizeof(EvqBatchTrack));
	HASHCTL control = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(EvqTrackedBatch), .hcxt = context};
	HASHCTL by_no = {.keysize = sizeof(int32), .entrysize = sizeof(EvqFlowBatches), .hcxt = context};
	MemoryContext previous = MemoryContextSwitchTo(context);

	track->context = context;
	track->slot = slot;
	track->memory = memory;
	track->batches = hash_create("evq batches", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	track->flows_by_no = hash_create("evq flows with batches", 16, &by_no,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	track->timers = pairingheap_allocate(compare_timers, NULL);
	track->walk = evq_batch_walk_create();
	track->future_at = DT_NOEND;
	MemoryContextSwitchTo(previous);
	return track;
}

/* What is remembered of a flow's batches; NULL = nothing. */
EvqFlowBatches *
evq_batch_track_find_flow(const EvqBatchTrack *track, int32 flow_no)
{
	return track->flows == NIL ? NULL : hash_search(track->flows_by_no, &flow_no, HASH_FIND, NULL);
}

static EvqFlowBatches *
use_flow(EvqBatchTrack *track, int32 flow_no)
{
	bool found;
	EvqFlowBatches *flow = hash_search(track->flows_by_no, &flow_no, HASH_ENTER, &found);

	if (!found)
	{
		MemoryContext previous = MemoryContextSwitchTo(track->context);

		memset((char *) flow + sizeof(flow->flow_no), 0, sizeof(*flow) - sizeof(flow->flow_no));
		flow->waiting = pairingheap_allocate(compare_waiting, NULL);
		track->flows = lappend(track->flows, flow);
		MemoryContextSwitchTo(previous);
		/* Flows are gone through there. */
		(void) evq_memory_use_flow(track->memory, flow_no);
	}
	return flow;
}

/* ---------- one batch ---------- */

static void
set_look_at(EvqBatchTrack *track, EvqTrackedBatch *batch, TimestampTz look_at)
{
	pairingheap_remove(track->timers, &batch->in_timers);
	batch->look_at = look_at;
	pairingheap_add(track->timers, &batch->in_timers);
}

/* It is to be looked at by then. */
void
evq_batch_track_look_by(EvqBatchTrack *track, EvqTrackedBatch *batch, TimestampTz at)
{
	if (at < batch->look_at)
		set_look_at(track, batch, at);
}

static void
forget(EvqBatchTrack *track, EvqTrackedBatch *batch)
{
	pg_uuid_t batch_id = batch->batch_id;

	for (int i = 0; i < batch->events; i++)
		batch->flow->offered -= evq_ordinals_have(&batch->on_offer, i);
	if (batch->is_waiting)
		pairingheap_remove(batch->flow->waiting, &batch->in_waiting);
	pairingheap_remove(track->timers, &batch->in_timers);
	batch->flow->batches--;
	hash_search(track->batches, &batch_id, HASH_REMOVE, NULL);
}

/* So many batches can be remembered, and of each flow its share at least. */
static int64
room(void)
{
	return Max(evq_max_tracked / EVENTS_OF_MEMORY, 1);
}

static int64
share(const EvqBatchTrack *track)
{
	return Max(room() / Max(list_length(track->flows), 1), 1);
}

/* Remembers a batch; NULL = there is no memory for it. */
static EvqTrackedBatch *
remember(EvqBatchTrack *track, const EvqChange *facts, TimestampTz look_at)
{
	EvqFlowBatches *flow = use_flow(track, facts->flow_no);
	EvqTrackedBatch *batch;

	if (hash_get_num_entries(track->batches) >= room() && flow->batches >= share(track))
	{
		flow->is_unread = true;
		return NULL;
	}
	batch = hash_search(track->batches, &facts->event_id, HASH_ENTER, NULL);
	memset((char *) batch + sizeof(pg_uuid_t), 0, sizeof(EvqTrackedBatch) - sizeof(pg_uuid_t));
	batch->flow = flow;
	flow->batches++;
	batch->tid = facts->tid;
	batch->event_type_no = facts->event_type_no;
	batch->priority = facts->priority;
	batch->events = facts->events;
	batch->at = facts->at;
	batch->look_at = look_at;
	batch->offered_until = batch->held_since = DT_NOEND;
	pairingheap_add(track->timers, &batch->in_timers);
	return batch;
}

/* ---------- what sessions tell ---------- */

static void
hear_published(EvqBatchTrack *track, const EvqChange *change, TimestampTz now)
{
	const EvqFlow *flow = evq_config_flow(change->flow_no);
	EvqTrackedBatch *batch;

	if (change->at > now + EVQ_MEMORY_HORIZON)
	{
		track->future_at = Min(track->future_at, change->at);
		return;
	}
	batch = remember(track, change, change->due_at);
	if (batch == NULL)
		return;
	if (flow == NULL || !change->is_offered)
	{
		evq_batch_track_look_by(track, batch, Max(change->at, now));
		return;
	}
	evq_batch_track_put_on_offer(batch, 0, batch->events - 1, evq_retry_add(now, flow->dispatch_timeout));
	evq_batch_track_look_by(track, batch, batch->offered_until);
}

/* Takes in what a session has told of neighbours in a batch. */
void
evq_batch_track_hear(EvqBatchTrack *track, const EvqChange *change, TimestampTz now)
{
	pg_uuid_t batch_id = evq_uuid_in_batch(&change->event_id, 0);
	int first = evq_uuid_ordinal(&change->event_id);
	EvqTrackedBatch *batch = hash_search(track->batches, &batch_id, HASH_FIND, NULL);

	Assert(change->events > 0);
	if (batch == NULL && change->is_new && !change->is_returned && !change->is_moved)
		hear_published(track, change, now);
	if (batch == NULL)
		return;
	if (change->is_returned)
	{
		evq_batch_track_take_off(batch, first, change->events);
		evq_batch_track_look_by(track, batch, now);
		return;
	}
	if (change->is_new && !change->is_moved)
		return; /* a walk met it before we heard of it */
	evq_batch_track_take_off(batch, first, change->events);
	batch->is_changed = true;
	if (change->is_moved || change->state == EVQ_STATE_SUCCEEDED)
	{
		batch->ended += change->events;
		if (batch->ended >= batch->events)
			evq_batch_track_look_by(track, batch, now);
		return;
	}
	batch->held_since = Min(batch->held_since, change->state_since);
	evq_batch_track_look_by(track, batch, change->at);
}

/* ---------- looking at a batch ---------- */

/* What its rows say. */
typedef struct Looked
{
	EvqBatchTrack *track;
	EvqStore *store;
	TimestampTz now;
	EvqBatchWork *work;
	EvqBatch batch;
	EvqExceptions exceptions;
	EvqOrdinals in_run;
	int ended;
	TimestampTz held_since; /* the first attempt of those under way */
	TimestampTz look_at;    /* when it is to be looked at again */
} Looked;

/* Somebody has changed the state of it, or is about to. */
static bool
has_exception(const Looked *looked, int ordinal)
{
	return evq_ordinals_have(&looked->exceptions.open, ordinal) ||
		   evq_ordinals_have(&looked->exceptions.moved, ordinal) ||
		   evq_ordinals_have(&looked->exceptions.succeeded, ordinal);
}

/* Takes an event out of the batch and does what the clock asks of it, if anything. */
static void
take_out(Looked *looked, int ordinal)
{
	EvqAttempt attempt = {.event_id = evq_uuid_in_batch(&looked->batch.batch_id, ordinal)};
	EvqEvent event;
	EvqChange facts;

	CHECK_FOR_INTERRUPTS();
	if (evq_lifecycle_take_out(looked->store, looked->now, &attempt, EVQ_TAKE_OUT_LIVE, false, &event) !=
		EVQ_TAKEN_OUT)
	{
		looked->look_at = looked->now + BUSY_DELAY;
		return;
	}
	switch (evq_lifecycle_settle(looked->store, looked->now, &attempt.event_id, &event))
	{
		case EVQ_SETTLED_TIMED_OUT:
			looked->work->timed_out++;
			break;
		case EVQ_SETTLED_EXPIRED:
			looked->work->expired++;
			break;
		case EVQ_SETTLED_NOTHING:
			break;
		case EVQ_SETTLED_BUSY:
		case EVQ_SETTLED_GONE:
			return;
	}
	looked->ended++;
	evq_change_from_event(&facts, &event);
	(void) evq_memory_remember(looked->track->memory, &facts, looked->now);
}

/* Looks at a run: what of it has ended, and whether its permit ran out. */
static void
look_at_run(Looked *looked, const EvqRun *run)
{
	bool is_over = run->state == EVQ_STATE_BEING_PROCESSED && run->state_due_at <= looked->now;

	for (int i = run->range.first; i <= run->range.last; i++)
	{
		evq_ordinals_add(&looked->in_run, i);
		if (TransactionIdIsValid(run->changer))
			continue;
		if (run->state == EVQ_STATE_SUCCEEDED || evq_ordinals_have(&looked->exceptions.moved, i) ||
			evq_ordinals_have(&looked->exceptions.succeeded, i))
			looked->ended++;
		else if (is_over && !has_exception(looked, i))
			take_out(looked, i);
		else if (run->state == EVQ_STATE_BEING_PROCESSED)
			looked->held_since = Min(looked->held_since, run->attempt_started_at);
	}
	if (TransactionIdIsValid(run->changer))
		looked->look_at = Min(looked->look_at, looked->now + (int64) evq_poll_interval * 1000);
	else if (run->state == EVQ_STATE_BEING_PROCESSED && !is_over)
		looked->look_at = Min(looked->look_at, run->state_due_at);
}

/* What nobody has acquired is to be offered, or expires, or leaves the batch for its flow is no longer one of batches. */
static void
look_at_rest(Looked *looked, EvqTrackedBatch *tracked, const EvqEvent *event)
{
	const EvqFlow *flow = evq_config_flow(event->flow_no);
	bool is_of_batches = flow != NULL && flow->pull && !evq_flow_is_regulated(flow);
	bool is_over = event->due_at <= looked->now;
	bool is_offer_over = tracked->offered_until <= looked->now;
	bool keeps_offer = evq_memory_keeps_offer(looked->track->memory);
	bool is_due = flow != NULL && event->attempt_scheduled_at <= looked->now &&
				  !evq_config_is_type_suspended(event->event_type_no);

	memset(&tracked->to_offer, 0, sizeof(tracked->to_offer));
	if (is_offer_over)
	{
		evq_batch_track_take_off(tracked, 0, tracked->events);
		tracked->offered_until = DT_NOEND;
	}
	for (int i = 0; i < looked->batch.events; i++)
	{
		if (evq_ordinals_have(&looked->in_run, i) || has_exception(looked, i))
		{
			looked->ended += !evq_ordinals_have(&looked->in_run, i) &&
							 !evq_ordinals_have(&looked->exceptions.open, i);
			evq_batch_track_take_one_off(tracked, i);
			continue;
		}
		looked->look_at = Min(looked->look_at, event->due_at);
		if (is_over || !is_of_batches)
		{
			evq_batch_track_take_one_off(tracked, i);
			take_out(looked, i);
		}
		else if (is_due && !keeps_offer)
			/* Workers find it in the tables. */
			tracked->flow->tell_ready |= !evq_flow_is_paused(flow, looked->now);
		else if (is_due && !evq_ordinals_have(&tracked->on_offer, i))
			evq_ordinals_add(&tracked->to_offer, i);
	}
	if (event->attempt_scheduled_at > looked->now)
		looked->look_at = Min(looked->look_at, event->attempt_scheduled_at);
	/* Nobody came for it. */
	if (is_offer_over && evq_ordinals_have_any(&tracked->to_offer))
		tracked->flow->tell_ready = true;
	evq_batch_track_set_waiting(tracked);
}

/* Looks at a batch that is remembered: reads what its rows say, and does what they ask. */
void
evq_batch_track_look(EvqBatchTrack *track, const pg_uuid_t *batch_id, EvqStore *store, TimestampTz now,
					 EvqBatchWork *work)
{
	EvqTrackedBatch *tracked = hash_search(track->batches, batch_id, HASH_FIND, NULL);
	Looked *looked = palloc0(sizeof(Looked));
	EvqRange all = {.first = 0};
	EvqEvent event;
	EvqRun run;
	int next = 0;

	Assert(tracked != NULL);
	looked->track = track;
	looked->store = store;
	looked->now = now;
	looked->work = work;
	looked->look_at = looked->held_since = DT_NOEND;
	if (!evq_batches_fetch(store, &tracked->batch_id, &tracked->tid, &looked->batch))
	{
		forget(track, tracked);
		return;
	}
	all.last = looked->batch.events - 1;
	evq_batches_make_event(&looked->batch, 0, &event);
	evq_runs_find_exceptions(store, &looked->batch, all, &looked->exceptions);
	while (next < looked->batch.events && evq_runs_find(store, &looked->batch, next, &run))
	{
		look_at_run(looked, &run);
		next = run.range.last + 1;
	}
	look_at_rest(looked, tracked, &event);
	tracked->ended = looked->ended;
	tracked->held_since = looked->held_since;
	tracked->is_changed = false;
	if (looked->ended == looked->batch.events)
	{
		evq_batches_done(store, &looked->batch);
		forget(track, tracked);
		return;
	}
	if (evq_ordinals_have_any(&looked->exceptions.open))
		looked->look_at = Min(looked->look_at, now + (int64) evq_poll_interval * 1000);
	set_look_at(track, tracked, Max(Min(looked->look_at, tracked->offered_until), now + 1));
}

/* It could not be looked at: not again before that time. */
void
evq_batch_track_put_off(EvqBatchTrack *track, const pg_uuid_t *batch_id, TimestampTz until)
{
	EvqTrackedBatch *tracked = hash_search(track->batches, batch_id, HASH_FIND, NULL);

	if (tracked != NULL)
		set_look_at(track, tracked, until);
}

/* ---------- walking ---------- */

/* A walk has met a batch; true = there is no memory for what comes after it, or it is too early for that. */
static bool
meet(void *context, int32 flow_no, const EvqWaitingBatch *waiting)
{
	EvqBatchTrack *track = context;
	EvqTrackedBatch *tracked = hash_search(track->batches, &waiting->batch_id, HASH_FIND, NULL);
	EvqChange facts = {.event_id = waiting->batch_id,
					   .at = waiting->attempt_scheduled_at,
					   .flow_no = flow_no,
					   .event_type_no = waiting->event_type_no,
					   .priority = waiting->priority,
					   .events = waiting->events};

	if (waiting->attempt_scheduled_at > track->last_turn_at + EVQ_MEMORY_HORIZON)
	{
		track->future_at = Min(track->future_at, waiting->attempt_scheduled_at);
		return true;
	}
	ItemPointerSetInvalid(&facts.tid);
	if (tracked == NULL)
		tracked = remember(track, &facts, track->last_turn_at);
	else if (tracked->is_changed || evq_batch_walk_is_complete(track->walk))
		evq_batch_track_look_by(track, tracked, track->last_turn_at);
	return tracked == NULL;
}

/* Reads some of the batches that are not done, and remembers those that there is memory for. */
static void
walk_on(EvqBatchTrack *track, EvqStore *store)
{
	track->walk_began_at = evq_clock_monotonic();
	if (evq_batch_walk_begin(track->walk))
	{
		ListCell *cell;

		track->future_at = DT_NOEND;
		foreach(cell, track->flows)
			((EvqFlowBatches *) lfirst(cell))->is_unread = false;
	}
	if (evq_batch_walk_go_on(track->walk, store, meet, track))
		track->has_walked = track->tell_oldest = true;
}

/* After what was looked at in a turn, which is part of what its walk took: when the next one may be. */
void
evq_batch_track_rest(EvqBatchTrack *track)
{
	int64 took = evq_clock_monotonic() - track->walk_began_at;

	if (track->walk_began_at == 0)
		return;
	if (track->has_walked && track->slot != NULL)
		track->walk_rests_until = track->walk_began_at + (1 + REST_OF_WALK) * took;
	track->walk_began_at = 0;
}

/* Something may have been missed: the backlog is to be read, beginning in the next turn. completely: and all that is remembered looked at. */
void
evq_batch_track_want_walk(EvqBatchTrack *track, bool completely)
{
	evq_batch_walk_want(track->walk, completely);
}

/* Was there no memory for batches for which there is some now? */
static bool
has_room_for_unread(const EvqBatchTrack *track)
{
	bool is_free = hash_get_num_entries(track->batches) <= room() / 2;
	ListCell *cell;

	foreach(cell, track->flows)
	{
		const EvqFlowBatches *flow = lfirst(cell);

		if (flow->is_unread && (is_free || flow->batches <= share(track) / 2))
			return true;
	}
	return false;
}

static bool
is_walk_due(const EvqBatchTrack *track)
{
	return evq_batch_walk_is_wanted(track->walk) || has_room_for_unread(track);
}

/* ---------- the turn ---------- */

static EvqTrackedBatch *
first_timer(const EvqBatchTrack *track)
{
	return pairingheap_container(EvqTrackedBatch, in_timers, pairingheap_first(track->timers));
}

static bool
is_look_due(const EvqBatchTrack *track, TimestampTz now)
{
	return !pairingheap_is_empty(track->timers) && first_timer(track)->look_at <= now;
}

/* Is there more to read, or to look at, than the last turn had time for? */
bool
evq_batch_track_has_more(const EvqBatchTrack *track)
{
	return is_walk_due(track) || is_look_due(track, track->last_turn_at);
}

/* When there is something to read or to look at; DT_NOBEGIN = now. */
TimestampTz
evq_batch_track_next_at(const EvqBatchTrack *track, TimestampTz now)
{
	TimestampTz next_at = track->future_at == DT_NOEND ? DT_NOEND : track->future_at - EVQ_MEMORY_HORIZON / 2;

	if (is_walk_due(track))
	{
		int64 rest = track->walk_rests_until - evq_clock_monotonic();

		if (rest <= 0)
			return DT_NOBEGIN;
		next_at = Min(next_at, now + rest);
	}
	return pairingheap_is_empty(track->timers) ? next_at : Min(next_at, first_timer(track)->look_at);
}

/* Has this flow batches that nobody has offered yet? */
bool
evq_batch_track_has_waiting(const EvqBatchTrack *track, int32 flow_no)
{
	const EvqFlowBatches *batches = evq_batch_track_find_flow(track, flow_no);

	return batches != NULL && (batches->is_unread || !pairingheap_is_empty(batches->waiting));
}

/* A flow whose listeners are to be told that there is something on offer, each once; 0 = there is none. */
int32
evq_batch_track_take_ready(EvqBatchTrack *track)
{
	ListCell *cell;

	foreach(cell, track->flows)
	{
		EvqFlowBatches *batches = lfirst(cell);

		if (batches->tell_ready)
		{
			batches->tell_ready = false;
			return batches->flow_no;
		}
	}
	return 0;
}

/* Reads which batches there are, where that is to be done. */
void
evq_batch_track_read(EvqBatchTrack *track, EvqStore *store, TimestampTz now)
{
	track->last_turn_at = now;
	if (track->future_at <= now + EVQ_MEMORY_HORIZON / 2)
		evq_batch_walk_want(track->walk, false);
	/* What it met before is looked at first. */
	if (is_walk_due(track) && !is_look_due(track, now) && evq_clock_monotonic() >= track->walk_rests_until)
		walk_on(track, store);
}

/* Tells the counters since when what waits has been due, and what is in process, when all has been looked at that was read. */
void
evq_batch_track_count_oldest(EvqBatchTrack *track, TimestampTz now)
{
	int count;
	const EvqFlow *flows = evq_config_flows(&count);
	HASH_SEQ_STATUS scan;
	EvqTrackedBatch *batch;

	if (!track->tell_oldest || track->slot == NULL || is_look_due(track, now))
		return;
	track->tell_oldest = false;
	for (int i = 0; i < count; i++)
	{
		EvqFlowBatches *flow = evq_batch_track_find_flow(track, flows[i].flow_no);

		if (flow != NULL)
			flow->due_since = flow->held_since = DT_NOEND;
	}
	hash_seq_init(&scan, track->batches);
	while ((batch = hash_seq_search(&scan)) != NULL)
	{
		if (evq_ordinals_have_any(&batch->to_offer) || evq_ordinals_have_any(&batch->on_offer))
			batch->flow->due_since = Min(batch->flow->due_since, batch->at);
		batch->flow->held_since = Min(batch->flow->held_since, batch->held_since);
	}
	for (int i = 0; i < count; i++)
	{
		const EvqFlowBatches *flow = evq_batch_track_find_flow(track, flows[i].flow_no);
		bool is_due = flow != NULL && !evq_flow_is_paused(&flows[i], now);

		evq_counters_set_oldest(track->slot->counters, flows[i].flow_no, true,
								is_due ? flow->due_since : DT_NOEND,
								flow == NULL ? DT_NOEND : flow->held_since);
	}
}

/* Is a batch to be looked at? Tells which. */
bool
evq_batch_track_is_look_due(const EvqBatchTrack *track, TimestampTz now, pg_uuid_t *batch_id)
{
	bool is_due = is_look_due(track, now);

	if (is_due)
		*batch_id = first_timer(track)->batch_id;
	return is_due;
}
