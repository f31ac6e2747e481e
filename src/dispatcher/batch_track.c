/*
 * batch_track.c
 *		What the engine remembers of batches: what is to be offered, and when to look at one.
 *
 * A batch is remembered while an event of it is in it and not final, if there is memory (batch_track_memory.c); others stay in
 * evq.backlog, and are read when there is room again. What is remembered is told by sessions, as soon as their transactions
 * have committed. To look at a batch means to read its runs and exceptions, and to do what they ask (batch_track_look.c).
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/clock.h"
#include "dispatcher/batch_track_internal.h"

/* A walk rests so many times as long as it took, with the looks that it wanted. */
#define REST_OF_WALK 9

/* While there is no memory for batches that may expire, a complete walk begins so long after the last one. */
#define COMPLETE_AFTER USECS_PER_MINUTE

/*
 * evq_tick() looks at so many batches of each flow that come first, and at those in so many pages of the backlog, wherever:
 * so its cost does not grow with the backlog, and calls look at all of it in the end.
 */
#define FIRST_OF_FLOW 1000
#define PAGES_OF_ANY 10

/* Makes what an engine remembers of batches, nothing yet, in a context of its own below this one; slot: NULL = without shared memory. */
EvqBatchTrack *
evq_batch_track_create(MemoryContext parent, EvqSlot *slot, EvqMemory *memory)
{
	MemoryContext context = AllocSetContextCreate(parent, "evq batches", ALLOCSET_DEFAULT_SIZES);
	EvqBatchTrack *track = MemoryContextAllocZero(context, sizeof(EvqBatchTrack));
	MemoryContext previous = MemoryContextSwitchTo(context);

	track->context = context;
	track->slot = slot;
	track->memory = memory;
	track->walk = evq_batch_walk_create();
	track->future_at = DT_NOEND;
	evq_batch_track_init_memory(track);
	MemoryContextSwitchTo(previous);
	return track;
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
	batch = evq_batch_track_remember(track, change, change->due_at, false);
	if (batch == NULL)
		return;
	if (flow == NULL || !change->is_offered)
	{
		/* Nobody has any of it yet, so it gives way to what is more urgent, if that is heard of in the same moment. */
		evq_batch_track_set_idle(track, batch, true);
		evq_batch_track_look_by(track, batch, Max(change->at, now));
		return;
	}
	evq_batch_track_put_on_offer(track, batch, 0, batch->events - 1,
								 evq_retry_add(now, flow->dispatch_timeout));
	evq_batch_track_look_by(track, batch, batch->offered_until);
}

/* Somebody has acquired of a batch that there was no memory for. What is not told of it here, the look will read. */
static void
hear_acquired(EvqBatchTrack *track, const EvqChange *change)
{
	EvqChange facts = *change;

	facts.event_id = evq_uuid_in_batch(&change->event_id, 0);
	facts.events = EVQ_BATCH_EVENTS;
	ItemPointerSetInvalid(&facts.tid);
	(void) evq_batch_track_remember(track, &facts, change->at, true);
}

/* Takes in what a session has told of neighbours in a batch. */
void
evq_batch_track_hear(EvqBatchTrack *track, const EvqChange *change, TimestampTz now)
{
	pg_uuid_t batch_id = evq_uuid_in_batch(&change->event_id, 0);
	int first = evq_uuid_ordinal(&change->event_id);
	EvqTrackedBatch *batch = evq_batch_track_find(track, &batch_id);

	Assert(change->events > 0);
	if (batch == NULL)
	{
		if (change->is_new && !change->is_returned && !change->is_moved)
			hear_published(track, change, now);
		else if (!change->is_returned && change->state == EVQ_STATE_BEING_PROCESSED)
			hear_acquired(track, change);
		return;
	}
	if (change->is_returned)
	{
		evq_batch_track_take_off(track, batch, first, change->events);
		evq_batch_track_look_by(track, batch, now);
		return;
	}
	if (change->is_new && !change->is_moved)
		return; /* a walk met it before we heard of it */
	evq_batch_track_take_off(track, batch, first, change->events);
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

/* ---------- walking ---------- */

/* A batch was met that is not done; tells what a walk that met it is to do then. */
static EvqMet
meet(EvqBatchTrack *track, int32 flow_no, const EvqWaitingBatch *waiting)
{
	EvqTrackedBatch *tracked = evq_batch_track_find(track, &waiting->batch_id);
	EvqChange facts = {.event_id = waiting->batch_id,
					   .at = waiting->attempt_scheduled_at,
					   .flow_no = flow_no,
					   .event_type_no = waiting->event_type_no,
					   .priority = waiting->priority,
					   .events = waiting->events};

	if (waiting->attempt_scheduled_at > track->last_turn_at + EVQ_MEMORY_HORIZON)
	{
		track->future_at = Min(track->future_at, waiting->attempt_scheduled_at);
		return EVQ_MET_ENOUGH;
	}
	ItemPointerSetInvalid(&facts.tid);
	if (tracked == NULL)
		tracked = evq_batch_track_remember(track, &facts, track->last_turn_at, false);
	else if (tracked->is_changed || evq_batch_walk_is_complete(track->walk))
		evq_batch_track_look_by(track, tracked, track->last_turn_at);
	if (tracked != NULL)
		return EVQ_MET;
	/* Of a suspended type: those met before it are looked at first. It hides nothing that is behind it. */
	if (evq_config_is_type_suspended(waiting->event_type_no))
		return evq_batch_track_looks_at_all(track) ? EVQ_MET_LATER : EVQ_MET;
	/* One of a higher priority may be behind it. */
	return evq_batch_track_looks_at_all(track) ? EVQ_MET : EVQ_MET_ENOUGH;
}

/* A walk has met a batch. */
static EvqMet
meet_in_line(void *context, int32 flow_no, const EvqWaitingBatch *waiting)
{
	EvqBatchTrack *track = context;
	EvqFlowBatches *flow = evq_batch_track_find_flow(track, flow_no);

	if (flow != NULL && !evq_memory_keeps_offer(track->memory) && ++flow->met >= FIRST_OF_FLOW)
		return EVQ_MET_ENOUGH;
	return meet(track, flow_no, waiting);
}

static bool
meet_any(void *context, const EvqWaitingBatch *waiting)
{
	(void) meet(context, waiting->flow_no, waiting);
	return false;
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
		if (evq_batch_walk_is_complete(track->walk) && track->has_left_parked)
		{
			evq_batch_track_forget_parked(track);
			track->has_left_parked = false;
		}
		track->complete_at = 0;
		foreach(cell, track->flows)
		{
			((EvqFlowBatches *) lfirst(cell))->is_unread = false;
			((EvqFlowBatches *) lfirst(cell))->met = 0;
		}
	}
	if (!evq_batch_walk_go_on(track->walk, store, meet_in_line, track))
		return;
	if (!evq_memory_keeps_offer(track->memory) && evq_batches_are_left(store))
		evq_batches_sample(store, PAGES_OF_ANY, meet_any, track);
	track->has_walked = track->tell_oldest = true;
	if (track->has_left_parked)
		track->complete_at = track->walk_began_at + COMPLETE_AFTER;
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

static bool
is_walk_due(const EvqBatchTrack *track)
{
	return evq_batch_walk_is_wanted(track->walk) || evq_batch_track_has_room_for_unread(track) ||
		   (track->complete_at != 0 && evq_clock_monotonic() >= track->complete_at);
}

/* ---------- the turn ---------- */

static bool
is_look_due(const EvqBatchTrack *track, TimestampTz now)
{
	const EvqTrackedBatch *first = evq_batch_track_first_timer(track);

	return first != NULL && first->look_at <= now;
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
	const EvqTrackedBatch *first = evq_batch_track_first_timer(track);

	if (is_walk_due(track))
	{
		int64 rest = track->walk_rests_until - evq_clock_monotonic();

		if (rest <= 0)
			return DT_NOBEGIN;
		next_at = Min(next_at, now + rest);
	}
	else if (track->complete_at != 0)
		next_at = Min(next_at, now + Max(track->complete_at - evq_clock_monotonic(), 0));
	return first == NULL ? next_at : Min(next_at, first->look_at);
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
	EvqFlowBatches *flow;

	if (track->ready == NIL)
		return 0;
	flow = llast(track->ready);
	track->ready = list_delete_last(track->ready);
	flow->tell_ready = false;
	return flow->flow_no;
}

/* Reads which batches there are, where that is to be done. */
void
evq_batch_track_read(EvqBatchTrack *track, EvqStore *store, TimestampTz now)
{
	track->last_turn_at = now;
	if (track->future_at <= now + EVQ_MEMORY_HORIZON / 2)
		evq_batch_walk_want(track->walk, false);
	if (track->complete_at != 0 && evq_clock_monotonic() >= track->complete_at)
		evq_batch_walk_want(track->walk, true);
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
		*batch_id = evq_batch_track_first_timer(track)->batch_id;
	return is_due;
}
