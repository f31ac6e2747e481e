/*
 * acquire.c
 *		How workers come by events: from the offer, from the table, from their own transaction.
 *
 * What is on offer is a hint. It is popped, the row is read, and only then is it
 * decided whether the event can be had. Whatever was popped in vain is returned
 * to the dispatcher, at the latest when the transaction aborts.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/random.h"
#include "rules/shares.h"
#include "rules/uuid.h"
#include "session/acquire.h"
#include "session/lifecycle_batch.h"
#include "session/pending.h"
#include "tables/events.h"

/*
 * A transaction that keeps its snapshot may not see what is on offer. After so
 * many for each one wanted, and at least, it searches the table for what it sees.
 */
#define UNSEEN_FACTOR 4
#define UNSEEN_LEAST 100

/* Tries to acquire one event, and tells of it; is_enough: what the callback said. It waits for nobody. */
static EvqGrant
acquire_and_tell(EvqStore *store, TimestampTz now, const EvqAcquisition *wanted, EvqAcquiredCallback acquired,
				 void *context, bool *is_enough)
{
	EvqAcquired event;
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "evq row", ALLOCSET_SMALL_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(row_context);
	EvqGrant grant = evq_lifecycle_acquire(store, now, wanted, &event);

	*is_enough = grant == EVQ_GRANTED && acquired(context, store, &event);
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(row_context);
	return grant;
}

/*
 * Tries to acquire one event, and tells acquired() of it, whose answer is ignored.
 * It waits for nobody. context: passed on.
 */
EvqGrant
evq_acquire_one(EvqStore *store, TimestampTz now, const EvqAcquisition *wanted, EvqAcquiredCallback acquired,
				void *context)
{
	bool is_enough;

	return acquire_and_tell(store, now, wanted, acquired, context, &is_enough);
}

/* Tries to acquire one event more. */
static EvqGrant
acquire_one_of(EvqAcquireNext *wanted, const pg_uuid_t *event_id)
{
	EvqAcquisition one = {.event_id = event_id, .worker = wanted->worker, .permit_for = wanted->permit_for};
	bool is_enough;
	EvqGrant grant = acquire_and_tell(wanted->store, evq_clock_now(), &one, wanted->acquired, wanted->context,
									  &is_enough);

	wanted->count += grant == EVQ_GRANTED;
	if (is_enough)
		wanted->max_events = wanted->count;
	return grant;
}

/* Tries to acquire neighbours in a batch; left: those at their end that nobody looked at, for it was enough. */
static EvqGrant
acquire_range_of(EvqAcquireNext *wanted, const EvqTakenOffer *offer, int *left)
{
	EvqBatchAcquisition some = {
		.first_id = &offer->event_id,
		.events = offer->events,
		.most = wanted->max_events - wanted->count,
		.hint = &offer->tid,
		.worker = wanted->worker,
		.permit_for = wanted->permit_for,
		.acquired = wanted->acquired,
		.context = wanted->context,
	};
	EvqGrant grant = evq_lifecycle_acquire_from_batch(wanted->store, evq_clock_now(), &some);

	wanted->count += some.count;
	*left = some.left;
	if (some.is_enough)
		wanted->max_events = wanted->count;
	return grant;
}

static List *
add_offer(List *offers, const EvqTakenOffer *offer)
{
	return lappend(offers, memcpy(palloc(sizeof(EvqTakenOffer)), offer, sizeof(EvqTakenOffer)));
}

/* The end of an offer of neighbours. */
static EvqTakenOffer
end_of_offer(const EvqTakenOffer *offer, int events)
{
	EvqTakenOffer end = *offer;

	end.event_id = evq_uuid_in_batch(&offer->event_id,
									 evq_uuid_ordinal(&offer->event_id) + offer->events - events);
	end.events = events;
	return end;
}

/*
 * Takes from what the dispatcher put on offer. What cannot be had just now is
 * given back at the end, so that it is not met again in the same call. false =
 * that does not tell what there is: no dispatcher runs, or it has not read all
 * flows yet, or too many offers cannot be seen by this transaction.
 */
static bool
acquire_offered(EvqAcquireNext *wanted, EvqSlot *slot)
{
	EvqTakenOffer *taken = palloc(wanted->max_events * sizeof(EvqTakenOffer));
	int32 flow_no = wanted->search.flow->flow_no;
	bool keeps_snapshot = IsolationUsesXactSnapshot();
	int unseen = keeps_snapshot ? Max(wanted->max_events * UNSEEN_FACTOR, UNSEEN_LEAST) : PG_INT32_MAX;
	bool is_offering;
	List *later = NIL;
	ListCell *cell;

	if (slot == NULL || slot->pid == 0)
		return false;
	is_offering = pg_atomic_read_u32(&slot->is_offering) != 0; /* before we look at the offers */
	while (wanted->count < wanted->max_events && list_length(later) < unseen)
	{
		int popped = evq_offers_pop(slot->offers, flow_no, wanted->search.event_type_nos,
									wanted->search.event_type_count, taken,
									wanted->max_events - wanted->count);

		if (popped == 0)
		{
			/* There may be room again for what had none. */
			if (evq_offers_ask_for_missing(slot->offers))
				evq_shmem_wake_dispatcher(slot);
			break;
		}
		for (int i = 0; i < popped; i++)
			evq_pending_taken(flow_no, &taken[i]);

		/* What we took may be younger than our snapshot. */
		evq_store_refresh(wanted->store);
		for (int i = 0; i < popped; i++)
		{
			EvqGrant grant = EVQ_GRANT_LATER;
			int left = 0;

			CHECK_FOR_INTERRUPTS();
			if (wanted->count < wanted->max_events && taken[i].events > 0)
				grant = acquire_range_of(wanted, &taken[i], &left);
			else if (wanted->count < wanted->max_events)
			{
				evq_events_hint(&taken[i].event_id, &taken[i].tid);
				grant = acquire_one_of(wanted, &taken[i].event_id);
			}
			if (grant == EVQ_GRANT_LATER || (grant == EVQ_GRANT_REFUSED && keeps_snapshot))
				later = add_offer(later, &taken[i]);
			else if (left > 0)
			{
				EvqTakenOffer end = end_of_offer(&taken[i], left);

				later = add_offer(later, &end);
			}
		}
	}
	foreach(cell, later)
		evq_pending_return_offer(slot, flow_no, lfirst(cell));
	return list_length(later) < unseen && (is_offering || wanted->count > 0);
}

static bool
acquire_found(void *context, const EvqChange *found)
{
	EvqAcquireNext *wanted = context;

	if (found->events == 0)
		(void) acquire_one_of(wanted, &found->event_id);
	else
	{
		EvqTakenOffer all = {.event_id = found->event_id, .tid = found->tid, .events = found->events};
		int left;

		(void) acquire_range_of(wanted, &all, &left);
	}
	return wanted->count >= wanted->max_events;
}

/* Batches that this transaction has published. */
typedef struct OwnBatches
{
	const EvqSearch *search;
	EvqChange *found;
	int count;
	int room;
} OwnBatches;

static bool
note_own_batch(void *context, const EvqWaitingBatch *waiting)
{
	OwnBatches *own = context;
	EvqChange *batch;

	if (!waiting->is_own || !evq_search_is_wanted(own->search, waiting->event_type_no))
		return false;
	if (own->count == own->room)
		own->found = repalloc_huge(own->found, (own->room *= 2) * sizeof(EvqChange));
	batch = &own->found[own->count++];
	memset(batch, 0, sizeof(*batch));
	batch->event_id = waiting->batch_id;
	batch->at = waiting->attempt_scheduled_at;
	batch->priority = waiting->priority;
	batch->events = waiting->events;
	ItemPointerSetInvalid(&batch->tid);
	return false;
}

/* step: the flow's priority_step. */
static int
compare_batches(const void *a, const void *b, void *step)
{
	return evq_change_compare(a, b, *(const int64 *) step);
}

/*
 * Takes from the batches of the flow that this transaction has published, by priority and time. All are found before one
 * of them is asked: what that does may take a new snapshot, which ends a walk.
 */
static void
acquire_own_batches(EvqAcquireNext *wanted)
{
	OwnBatches own = {.search = &wanted->search, .room = 16};
	EvqDuePosition from = evq_due_position(evq_pending_own_batches_from());
	int64 step = wanted->search.flow->priority_step;

	own.found = palloc(own.room * sizeof(EvqChange));
	if (evq_batches_are_left(wanted->store))
		evq_batches_walk(wanted->store, wanted->search.flow->flow_no, &from, evq_clock_now(), note_own_batch,
						 &own);
	qsort_arg(own.found, own.count, sizeof(EvqChange), compare_batches, &step);
	for (int i = 0; i < own.count && wanted->count < wanted->max_events; i++)
		(void) acquire_found(wanted, &own.found[i]);
	pfree(own.found);
}

/*
 * Acquires events of a flow: from the offer, then from the table, then those of
 * this transaction itself. Calls wanted->acquired() for each, which may keep
 * nothing that it does not copy.
 */
void
evq_acquire_next(EvqStore *store, EvqAcquireNext *wanted)
{
	int change_count = evq_pending_changes(); /* what follows from this call is not for this call */
	bool has_offer;

	if (evq_config_is_paused())
	{
		evq_config_tell_paused();
		return;
	}
	if (!TIMESTAMP_IS_NOBEGIN(wanted->search.flow->paused_until) &&
		evq_flow_is_paused(wanted->search.flow, evq_clock_now()))
		return;
	wanted->store = store;
	evq_store_pass_over_changed(store);
	has_offer = acquire_offered(wanted, evq_shmem_mine());
	if (!has_offer)
		evq_search_table(store, &wanted->search, acquire_found, wanted);
	else if (wanted->count < wanted->max_events && evq_pending_own_batches_from() != DT_NOEND)
		acquire_own_batches(wanted);
	if (wanted->count < wanted->max_events)
		evq_search_own(store, &wanted->search, change_count, acquire_found, wanted);
}

/* Acquires up to "most" events of one flow among several; returns how many there were. */
static int
acquire_of(EvqStore *store, const EvqAcquireNext *wanted, const EvqFlow *flow, int most)
{
	EvqAcquireNext one = *wanted;

	one.search.flow = flow;
	one.max_events = most;
	evq_acquire_next(store, &one);
	return one.count;
}

/*
 * Acquires events of several flows, in place of that in "wanted": each has its share of max_events by its
 * weight, and what it does not have is for the others. The callback has never enough.
 */
void
evq_acquire_next_of(EvqStore *store, const EvqAcquireNext *wanted, const EvqWeightedFlow *flows,
					int flow_count)
{
	int64 *weights = palloc(flow_count * sizeof(int64)); /* 0 = it has nothing more */
	int *shares = palloc(flow_count * sizeof(int));
	int asked = flow_count; /* have something, as far as is known */
	int left = wanted->max_events;

	for (int i = 0; i < flow_count; i++)
		weights[i] = flows[i].weight;
	while (left > 0 && asked > 0)
	{
		evq_shares(weights, flow_count, left, evq_random(), shares);
		for (int i = 0; i < flow_count; i++)
		{
			int count;

			if (shares[i] == 0)
				continue;
			count = acquire_of(store, wanted, flows[i].flow, shares[i]);
			left -= count;
			if (count < shares[i])
			{
				weights[i] = 0;
				asked--;
			}
		}
	}
}
