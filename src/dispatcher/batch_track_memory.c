/*
 * batch_track_memory.c
 *		How batches are remembered: found, lined up, and forgotten for others that come before them.
 *
 * A third of evq.max_tracked is how many are, and of each flow its share at least. Where there is no memory for one more, one
 * that comes after it is forgotten: the row of evq.backlog has all that it takes to read it again. That cannot be one of
 * which somebody has events, or may have. Batches of a suspended type (parked ones) can do nothing but expire; they have what
 * memory the others leave, and a complete walk looks at all of them in turn.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/guc.h"
#include "dispatcher/batch_track_internal.h"

/* A batch takes as much memory as so many events. */
#define EVENTS_OF_MEMORY 3

/* This part of the memory is for parked batches in any case: so many at a time are looked at. */
#define PARKED_PART 10

static int
compare_timers(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const EvqTrackedBatch *batch_a = pairingheap_const_container(EvqTrackedBatch, in_timers, a);
	const EvqTrackedBatch *batch_b = pairingheap_const_container(EvqTrackedBatch, in_timers, b);

	if (batch_a->look_at != batch_b->look_at)
		return batch_a->look_at < batch_b->look_at ? 1 : -1;
	return 0;
}

/* Above 0 = a comes before b in the line of their flow. */
static int
compare_order(const EvqTrackedBatch *a, const EvqTrackedBatch *b)
{
	if (a->priority != b->priority)
		return a->priority > b->priority ? 1 : -1;
	if (a->at != b->at)
		return a->at < b->at ? 1 : -1;
	return -memcmp(&a->batch_id, &b->batch_id, sizeof(pg_uuid_t));
}

static int
compare_waiting(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	return compare_order(pairingheap_const_container(EvqTrackedBatch, in_waiting, a),
						 pairingheap_const_container(EvqTrackedBatch, in_waiting, b));
}

static int
compare_spare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	return -compare_order(pairingheap_const_container(EvqTrackedBatch, in_spare, a),
						  pairingheap_const_container(EvqTrackedBatch, in_spare, b));
}

/* Of parked ones, that goes first which was looked at first. */
static int
compare_parked(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const EvqTrackedBatch *batch_a = pairingheap_const_container(EvqTrackedBatch, in_spare, a);
	const EvqTrackedBatch *batch_b = pairingheap_const_container(EvqTrackedBatch, in_spare, b);

	return batch_a->looked < batch_b->looked ? 1 : -1;
}

/* Nothing is remembered yet; in track->context. */
void
evq_batch_track_init_memory(EvqBatchTrack *track)
{
	HASHCTL batches = {.keysize = sizeof(pg_uuid_t),
					   .entrysize = sizeof(EvqTrackedBatch),
					   .hcxt = track->context};
	HASHCTL flows = {.keysize = sizeof(int32), .entrysize = sizeof(EvqFlowBatches), .hcxt = track->context};
	MemoryContext previous = MemoryContextSwitchTo(track->context);

	track->batches = hash_create("evq batches", 256, &batches, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	track->flows_by_no = hash_create("evq flows of batches", 64, &flows,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	track->timers = pairingheap_allocate(compare_timers, NULL);
	track->spare = pairingheap_allocate(compare_parked, NULL);
	MemoryContextSwitchTo(previous);
}

/* ---------- flows ---------- */

/* What is known of the batches of a flow; NULL = none was ever remembered. */
EvqFlowBatches *
evq_batch_track_find_flow(const EvqBatchTrack *track, int32 flow_no)
{
	return hash_search(track->flows_by_no, &flow_no, HASH_FIND, NULL);
}

static EvqFlowBatches *
use_flow(EvqBatchTrack *track, int32 flow_no)
{
	bool found;
	EvqFlowBatches *flow = hash_search(track->flows_by_no, &flow_no, HASH_ENTER, &found);

	if (!found)
	{
		MemoryContext previous = MemoryContextSwitchTo(track->context);

		memset((char *) flow + sizeof(int32), 0, sizeof(EvqFlowBatches) - sizeof(int32));
		flow->waiting = pairingheap_allocate(compare_waiting, NULL);
		flow->spare = pairingheap_allocate(compare_spare, NULL);
		track->flows = lappend(track->flows, flow);
		MemoryContextSwitchTo(previous);
		/* Flows are gone through there. */
		(void) evq_memory_use_flow(track->memory, flow_no);
	}
	return flow;
}

/* Listeners of the flow are to be told that there is something on offer. */
void
evq_batch_track_tell_ready(EvqBatchTrack *track, EvqFlowBatches *flow)
{
	MemoryContext previous;

	if (flow->tell_ready)
		return;
	flow->tell_ready = true;
	previous = MemoryContextSwitchTo(track->context);
	track->ready = lappend(track->ready, flow);
	MemoryContextSwitchTo(previous);
}

/* ---------- one batch ---------- */

/* A batch that is remembered; NULL = it is not. */
EvqTrackedBatch *
evq_batch_track_find(const EvqBatchTrack *track, const pg_uuid_t *batch_id)
{
	return hash_search(track->batches, batch_id, HASH_FIND, NULL);
}

/* The one that is to be looked at first; NULL = nothing is remembered. */
EvqTrackedBatch *
evq_batch_track_first_timer(const EvqBatchTrack *track)
{
	if (pairingheap_is_empty(track->timers))
		return NULL;
	return pairingheap_container(EvqTrackedBatch, in_timers, pairingheap_first(track->timers));
}

/* It is to be looked at then. */
void
evq_batch_track_set_timer(EvqBatchTrack *track, EvqTrackedBatch *batch, TimestampTz at)
{
	pairingheap_remove(track->timers, &batch->in_timers);
	batch->look_at = at;
	pairingheap_add(track->timers, &batch->in_timers);
}

/* ... or before. */
void
evq_batch_track_look_by(EvqBatchTrack *track, EvqTrackedBatch *batch, TimestampTz at)
{
	if (at < batch->look_at)
		evq_batch_track_set_timer(track, batch, at);
}

static pairingheap *
spare_of(EvqBatchTrack *track, EvqTrackedBatch *batch)
{
	return batch->is_parked ? track->spare : batch->flow->spare;
}

static void
set_parked(EvqBatchTrack *track, EvqTrackedBatch *batch, bool is_parked)
{
	Assert(!batch->is_spare);
	if (is_parked == batch->is_parked)
		return;
	batch->is_parked = is_parked;
	batch->flow->batches += is_parked ? -1 : 1;
	track->parked += is_parked ? 1 : -1;
}

/* Nobody has any of its events, and none is on offer, so it can be forgotten for others; false = that is so no more, or not known. */
void
evq_batch_track_set_idle(EvqBatchTrack *track, EvqTrackedBatch *batch, bool is_idle)
{
	if (batch->is_spare)
		pairingheap_remove(spare_of(track, batch), &batch->in_spare);
	batch->is_spare = false;
	set_parked(track, batch, is_idle && evq_config_is_type_suspended(batch->event_type_no));
	batch->is_idle = batch->is_spare = is_idle;
	if (is_idle)
		pairingheap_add(spare_of(track, batch), &batch->in_spare);
}

/* Forgets it; where something of it is left to do, a walk will meet it. */
void
evq_batch_track_forget(EvqBatchTrack *track, EvqTrackedBatch *batch)
{
	pg_uuid_t batch_id = batch->batch_id;

	evq_batch_track_set_idle(track, batch, false);
	for (int i = 0; i < batch->events; i++)
		batch->flow->offered -= evq_ordinals_have(&batch->on_offer, i);
	if (batch->is_waiting)
		pairingheap_remove(batch->flow->waiting, &batch->in_waiting);
	pairingheap_remove(track->timers, &batch->in_timers);
	batch->flow->batches--;
	hash_search(track->batches, &batch_id, HASH_REMOVE, NULL);
}

/* Forgets the parked ones, for a walk to meet all of them in line: their type may be suspended no more. */
void
evq_batch_track_forget_parked(EvqBatchTrack *track)
{
	while (!pairingheap_is_empty(track->spare))
		evq_batch_track_forget(track, pairingheap_container(EvqTrackedBatch, in_spare,
															pairingheap_first(track->spare)));
}

/* ---------- room ---------- */

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

static EvqTrackedBatch *
first_spare(pairingheap *spare)
{
	return pairingheap_is_empty(spare)
			   ? NULL
			   : pairingheap_container(EvqTrackedBatch, in_spare, pairingheap_first(spare));
}

/* Is the walk under way one that looks at all batches, whether there is memory for all of them or not? */
bool
evq_batch_track_looks_at_all(const EvqBatchTrack *track)
{
	return evq_batch_walk_is_complete(track->walk) && evq_memory_keeps_offer(track->memory);
}

/* Sees to it that there is memory for a parked batch more; what was looked at gives way to what was not. */
static bool
make_room_for_parked(EvqBatchTrack *track)
{
	EvqTrackedBatch *first = first_spare(track->spare);

	if (hash_get_num_entries(track->batches) < room() || track->parked < room() / PARKED_PART + 1)
		return true;
	track->has_left_parked = true;
	if (first == NULL || !evq_batch_track_looks_at_all(track))
		return false;
	evq_batch_track_forget(track, first);
	return true;
}

static void
leave_unread(EvqFlowBatches *flow, const EvqTrackedBatch *batch)
{
	flow->unread_priority = flow->is_unread ? Max(flow->unread_priority, batch->priority) : batch->priority;
	flow->is_unread = true;
}

/* Sees to it that there is memory for one more; false = there is none, for all that is there comes before it. */
static bool
make_room(EvqBatchTrack *track, EvqFlowBatches *flow, const EvqTrackedBatch *wanted)
{
	EvqTrackedBatch *first = first_spare(track->spare);

	/* It comes after those, or may: they are read first. */
	if (flow->is_unread && wanted->priority <= flow->unread_priority)
		return false;
	if (hash_get_num_entries(track->batches) < room())
		return true;
	if (first != NULL)
	{
		track->has_left_parked = true;
		evq_batch_track_forget(track, first);
		return true;
	}
	if (flow->batches < share(track))
		return true;
	first = first_spare(flow->spare);
	if (first == NULL || compare_order(wanted, first) < 0)
	{
		leave_unread(flow, wanted);
		return false;
	}
	leave_unread(flow, first);
	evq_batch_track_forget(track, first);
	return true;
}

/* Remembers a batch; NULL = there is no memory for it. is_held: somebody has some of it, so it is remembered in any case. */
EvqTrackedBatch *
evq_batch_track_remember(EvqBatchTrack *track, const EvqChange *facts, TimestampTz look_at, bool is_held)
{
	EvqFlowBatches *flow = use_flow(track, facts->flow_no);
	EvqTrackedBatch wanted = {
		.batch_id = facts->event_id,
		.flow = flow,
		.tid = facts->tid,
		.event_type_no = facts->event_type_no,
		.priority = facts->priority,
		.events = facts->events,
		.at = facts->at,
		.look_at = look_at,
		.offered_until = DT_NOEND,
		.held_since = DT_NOEND,
	};
	bool is_parked = !is_held && evq_config_is_type_suspended(facts->event_type_no);
	EvqTrackedBatch *batch;

	if (!is_held && !(is_parked ? make_room_for_parked(track) : make_room(track, flow, &wanted)))
		return NULL;
	batch = hash_search(track->batches, &facts->event_id, HASH_ENTER, NULL);
	*batch = wanted;
	flow->batches++;
	set_parked(track, batch, is_parked);
	pairingheap_add(track->timers, &batch->in_timers);
	return batch;
}

/* Was there no memory for batches for which there is some now? */
bool
evq_batch_track_has_room_for_unread(const EvqBatchTrack *track)
{
	bool is_free = hash_get_num_entries(track->batches) - track->parked <= room() / 2;
	ListCell *cell;

	foreach(cell, track->flows)
	{
		const EvqFlowBatches *flow = lfirst(cell);

		if (flow->is_unread && (is_free || flow->batches <= share(track) / 2))
			return true;
	}
	return false;
}
