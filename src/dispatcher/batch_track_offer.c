/*
 * batch_track_offer.c
 *		What of the remembered batches is on offer, and what comes next.
 *
 * Neighbours are offered together, as one entry. A flow's batches with something to offer are in a heap, and the dispatch
 * (engine_dispatch.c) takes turns between that and the ready events with rows of their own, whichever comes first.
 */
#include "postgres.h"

#include "dispatcher/batch_track_internal.h"
#include "session/config.h"

/* It is among those of its flow that have something to offer, if it has. */
void
evq_batch_track_set_waiting(EvqTrackedBatch *batch)
{
	bool is_waiting = evq_ordinals_have_any(&batch->to_offer);

	if (is_waiting && !batch->is_waiting)
		pairingheap_add(batch->flow->waiting, &batch->in_waiting);
	else if (!is_waiting && batch->is_waiting)
		pairingheap_remove(batch->flow->waiting, &batch->in_waiting);
	batch->is_waiting = is_waiting;
}

/* An event is not on offer any more. */
void
evq_batch_track_take_one_off(EvqTrackedBatch *batch, int ordinal)
{
	batch->flow->offered -= evq_ordinals_have(&batch->on_offer, ordinal);
	evq_ordinals_remove(&batch->on_offer, ordinal);
}

/* They are not on offer any more. */
void
evq_batch_track_take_off(EvqBatchTrack *track, EvqTrackedBatch *batch, int first, int events)
{
	for (int i = first; i < Min(first + events, batch->events); i++)
	{
		evq_batch_track_take_one_off(batch, i);
		evq_ordinals_remove(&batch->to_offer, i);
	}
	evq_batch_track_set_waiting(batch);
	if (batch->is_idle)
		evq_batch_track_set_idle(track, batch, false);
}

/* They are on offer now. */
void
evq_batch_track_put_on_offer(EvqBatchTrack *track, EvqTrackedBatch *batch, int first, int last,
							 TimestampTz until)
{
	for (int i = first; i <= last; i++)
	{
		batch->flow->offered += !evq_ordinals_have(&batch->on_offer, i);
		evq_ordinals_add(&batch->on_offer, i);
		evq_ordinals_remove(&batch->to_offer, i);
	}
	batch->offered_until = until;
	if (batch->is_idle)
		evq_batch_track_set_idle(track, batch, false);
}

/* How many events of the flow's batches are on offer. */
int64
evq_batch_track_on_offer(const EvqBatchTrack *track, int32 flow_no)
{
	const EvqFlowBatches *flow = evq_batch_track_find_flow(track, flow_no);

	return flow == NULL ? 0 : flow->offered;
}

/* Of the flow's batches with events to offer, the one that comes first; false = there is none. Sets what evq_change_compare() asks for. */
bool
evq_batch_track_first_waiting(const EvqBatchTrack *track, int32 flow_no, EvqChange *facts)
{
	const EvqFlowBatches *flow = evq_batch_track_find_flow(track, flow_no);
	EvqTrackedBatch *batch;

	for (;;)
	{
		if (flow == NULL || pairingheap_is_empty(flow->waiting))
			return false;
		batch = pairingheap_container(EvqTrackedBatch, in_waiting, pairingheap_first(flow->waiting));
		if (!evq_config_is_type_suspended(batch->event_type_no))
			break;
		/* It is looked at again when that changes, as all is. */
		memset(&batch->to_offer, 0, sizeof(batch->to_offer));
		evq_batch_track_set_waiting(batch);
	}
	facts->priority = batch->priority;
	facts->at = batch->at;
	facts->event_id = batch->batch_id;
	return true;
}

/*
 * Offers the first neighbours of the batch that comes first, which there is, as one entry, of no more events than
 * max_dispatched; returns how many. was_empty: they are the first on offer in their flow.
 */
int
evq_batch_track_offer_first(EvqBatchTrack *track, int32 flow_no, TimestampTz now, bool *was_empty)
{
	const EvqFlow *flow = evq_config_flow(flow_no);
	EvqFlowBatches *batches = evq_batch_track_find_flow(track, flow_no);
	EvqTrackedBatch *batch = pairingheap_container(EvqTrackedBatch, in_waiting,
												   pairingheap_first(batches->waiting));
	EvqChange range = {.flow_no = flow_no, .event_type_no = batch->event_type_no, .tid = batch->tid};
	int first = 0;
	int last;

	Assert(batch->is_waiting && evq_memory_keeps_offer(track->memory));
	while (!evq_ordinals_have(&batch->to_offer, first))
		first++;
	for (last = first; last + 1 < batch->events && last + 1 - first < flow->max_dispatched &&
					   evq_ordinals_have(&batch->to_offer, last + 1);)
		last++;
	range.event_id = evq_uuid_in_batch(&batch->batch_id, first);
	range.events = last - first + 1;
	(void) evq_offers_push(track->slot->offers, &range, EVQ_OFFERS_NO_LIMIT, was_empty);
	evq_batch_track_put_on_offer(track, batch, first, last, evq_retry_add(now, flow->dispatch_timeout));
	evq_batch_track_look_by(track, batch, batch->offered_until);
	evq_batch_track_set_waiting(batch);
	return last - first + 1;
}

/* Offers were pushed out, and are wanted: all that is on offer of batches is looked at, and offered again. */
void
evq_batch_track_offer_missing(EvqBatchTrack *track, TimestampTz now)
{
	HASH_SEQ_STATUS scan;
	EvqTrackedBatch *batch;

	hash_seq_init(&scan, track->batches);
	while ((batch = hash_seq_search(&scan)) != NULL)
	{
		if (!evq_ordinals_have_any(&batch->on_offer))
			continue;
		batch->offered_until = now;
		evq_batch_track_look_by(track, batch, now);
	}
}
