/*
 * live.c
 *		The live events as an engine knows them, and what of them is on offer.
 *
 * What is remembered decides only when to look at an event: its row is read
 * before anything is done with it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/guc.h"
#include "dispatcher/live.h"
#include "rules/transition.h"
#include "rules/uuid.h"
#include "session/config.h"
#include "session/pending.h"

/* Suspended events that are to time out within this time are remembered: several times what a sweep takes. */
#define SUSPENDED_HORIZON (10 * USECS_PER_MINUTE)

EvqLive *
evq_live_create(MemoryContext context, EvqSlot *slot)
{
	EvqLive *live = MemoryContextAllocZero(context, sizeof(EvqLive));

	live->context = context;
	live->slot = slot;
	live->track = evq_track_create(context);
	live->future_at = DT_NOEND;
	evq_live_want_sweep(live);
	if (evq_live_keeps_offer(live))
		evq_offers_clear(slot->offers);
	return live;
}

/* Nothing that was told can be relied on: all live events are looked at. */
void
evq_live_want_sweep(EvqLive *live)
{
	live->sweep_wanted = live->complete_wanted = true;
}

bool
evq_live_any_flow(const EvqLive *live, bool (*is_so)(const EvqTrackedFlow *))
{
	ListCell *cell;

	foreach(cell, evq_track_flows(live->track))
	{
		if (is_so(lfirst(cell)))
			return true;
	}
	return false;
}

bool
evq_live_is_type_suspended(int32 event_type_no)
{
	const EvqEventType *event_type = evq_config_event_type(event_type_no);

	return event_type == NULL || event_type->is_suspended;
}

/* ---------- the offer ---------- */

/* Only the dispatcher keeps the offer for evq_acquire_next(). */
bool
evq_live_keeps_offer(const EvqLive *live)
{
	return live->slot != NULL && live->slot->pid == MyProcPid;
}

/* Puts an event on offer; false = its flow can have none. */
bool
evq_live_offer(EvqLive *live, const EvqChange *facts, bool *was_empty)
{
	*was_empty = false;
	return evq_live_keeps_offer(live) &&
		   evq_offers_push(live->slot->offers, facts->flow_no, facts->event_type_no, &facts->event_id,
						   &facts->tid, EVQ_OFFERS_NO_LIMIT, was_empty);
}

static bool
is_on_offer(const EvqTracked *tracked)
{
	return tracked->state == EVQ_TRACK_OFFERED || tracked->state == EVQ_TRACK_DISPATCHED;
}

/* Takes an event off the offer that it will leave. */
static void
withdraw(EvqLive *live, const EvqTracked *tracked)
{
	if (evq_live_keeps_offer(live) && is_on_offer(tracked))
		evq_offers_remove(live->slot->offers, &tracked->event_id);
}

static int
compare_order(const void *a, const void *b)
{
	return evq_change_compare(&(*(EvqTracked *const *) a)->facts, &(*(EvqTracked *const *) b)->facts);
}

/* Does a worker ask for offers that were pushed out? */
bool
evq_live_is_offer_missing(const EvqLive *live)
{
	return evq_live_keeps_offer(live) && evq_offers_is_asked(live->slot->offers);
}

/* If so, offers all that is to be on offer, in its order. What is there is left there. */
void
evq_live_offer_missing(EvqLive *live)
{
	EvqTracked **offered;
	bool was_empty;
	int count;

	if (!evq_live_keeps_offer(live) || !evq_offers_answer(live->slot->offers))
		return;
	offered = evq_track_collect(live->track, is_on_offer, &count);
	qsort(offered, count, sizeof(EvqTracked *), compare_order);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		evq_live_offer(live, &offered[i]->facts, &was_empty);
	}
	pfree(offered);
}

/* ---------- what stays in the table ---------- */

/* A due event that cannot go yet stays in the table. type_suspended: until its event type is no longer suspended. */
void
evq_live_park(EvqLive *live, bool type_suspended)
{
	live->parked = live->parked_anew = true;
	live->suspended_met |= type_suspended;
}

void
evq_live_note_future(EvqLive *live, TimestampTz at)
{
	live->future_at = Min(live->future_at, at);
	live->future_anew = Min(live->future_anew, at);
}

/* Leaves an event to the table; reading on will meet it. */
static void
leave_to_table(EvqTrackedFlow *flow, const EvqChange *facts)
{
	EvqDuePosition position = evq_change_position(facts);

	evq_track_leave_unread(&flow->unread, &position, facts->priority);
	evq_track_leave_unread(&flow->unread_anew, &position, facts->priority);
}

/*
 * An event that waits is to be remembered. Is there no memory for it, or does
 * it come after others for which there was none? What is remembered of a flow
 * is what comes first in it: another event may have to go for this one. One
 * whose lifespan is over does not stand in that line.
 */
static bool
leave_unread(EvqLive *live, const EvqChange *facts, TimestampTz now)
{
	EvqTrackedFlow *flow = evq_track_use_flow(live->track, facts->flow_no);
	EvqTracked *last;

	if (facts->due_at <= now && !evq_track_is_full(live->track, flow, 2 * (int64) evq_max_tracked))
		return false;
	if (!evq_track_comes_before(live->is_reading_on ? &flow->unread_anew : &flow->unread, facts))
	{
		leave_to_table(flow, facts);
		return true;
	}
	if (!evq_track_is_full(live->track, flow, evq_max_tracked))
		return false;

	last = evq_track_last_waiting(flow);
	if (last == NULL || evq_change_compare(facts, &last->facts) > 0)
	{
		leave_to_table(flow, facts);
		return true;
	}
	leave_to_table(flow, &last->facts);
	evq_track_remove(live->track, last);
	return false;
}

/* ---------- remembering ---------- */

/* An event has gone: the next one of its flow_id may come. */
void
evq_live_forget(EvqLive *live, EvqTracked *tracked)
{
	if (tracked->facts.ordered)
	{
		if (tracked->flow_id != NULL)
		{
			MemoryContext previous = MemoryContextSwitchTo(live->context);
			EvqSuccessor *successor = palloc(sizeof(EvqSuccessor));

			successor->flow_no = tracked->facts.flow_no;
			successor->flow_id = pstrdup(tracked->flow_id);
			live->successors = lappend(live->successors, successor);
			MemoryContextSwitchTo(previous);
		}
		else
			evq_live_want_sweep(live);
	}
	withdraw(live, tracked);
	evq_track_remove(live->track, tracked);
}

/* Remembers the facts of an event that is live or was just finished; NULL = it is not remembered. */
EvqTracked *
evq_live_remember(EvqLive *live, const EvqChange *facts, TimestampTz now)
{
	EvqTracked *tracked = evq_track_find(live->track, &facts->event_id);

	if (evq_transition_is_final((EvqState) facts->state))
	{
		if (tracked != NULL)
			evq_live_forget(live, tracked);
		else if (facts->ordered)
			evq_live_want_sweep(live);
		return NULL;
	}
	if (facts->state == EVQ_STATE_SUSPENDED && !facts->ordered &&
		Min(facts->at, facts->due_at) > now + SUSPENDED_HORIZON)
	{
		if (tracked != NULL)
			evq_live_forget(live, tracked);
		evq_live_park(live, false);
		return NULL;
	}
	if (tracked == NULL && facts->state == EVQ_STATE_AWAITING_PROCESSING)
	{
		if (facts->at > now + EVQ_LIVE_HORIZON)
		{
			evq_live_note_future(live, facts->at);
			return NULL;
		}
		if (leave_unread(live, facts, now))
			return NULL;
	}

	if (tracked != NULL && facts->state != EVQ_STATE_DISPATCHED)
		withdraw(live, tracked);
	return evq_track_put(live->track, facts, now);
}

/* ---------- what sessions tell ---------- */

/* An event on offer was taken in vain. */
static void
take_back(EvqLive *live, EvqTracked *tracked)
{
	bool was_empty;

	if (tracked->state == EVQ_TRACK_DISPATCHED)
		evq_live_offer(live, &tracked->facts, &was_empty);
	else if (tracked->state == EVQ_TRACK_OFFERED)
		evq_track_set(live->track, tracked, EVQ_TRACK_READY, tracked->facts.due_at);
}

/*
 * A session has published an event, and perhaps put it on offer. What is known
 * of it already is as young or younger: a sweep met it, or a worker took it,
 * before we heard that it is new.
 */
static void
absorb_published(EvqLive *live, const EvqChange *facts, TimestampTz now)
{
	const EvqFlow *flow = evq_config_flow(facts->flow_no);
	EvqTracked *tracked = evq_track_find(live->track, &facts->event_id);

	if (facts->was_empty)
		evq_track_use_flow(live->track, facts->flow_no)->tell_ready = true;
	if (facts->is_offered)
		live->offered_directly++;
	if (tracked != NULL)
		return;
	tracked = evq_live_remember(live, facts, now);
	if (facts->is_offered && flow != NULL && tracked != NULL && tracked->state == EVQ_TRACK_READY)
		evq_track_set(live->track, tracked, EVQ_TRACK_OFFERED,
					  Min(evq_retry_add(now, flow->dispatch_timeout), facts->due_at));
}

/* Takes in what a session has told. */
void
evq_live_absorb(EvqLive *live, const EvqChange *change, TimestampTz now)
{
	EvqTracked *tracked;

	if (change->is_new)
		absorb_published(live, change, now);
	else if (!change->is_returned)
		evq_live_remember(live, change, now);
	else if ((tracked = evq_track_find(live->track, &change->event_id)) != NULL)
		take_back(live, tracked);
}

/* ---------- what sweeps meet ---------- */

/* Is the event put off, so that its timer brings it back, and has nothing become of it since? */
static bool
is_put_off(const EvqTracked *tracked, const EvqChange *facts)
{
	return tracked != NULL && tracked->put_offs > 0 && tracked->facts.state == facts->state &&
		   tracked->facts.at == facts->at;
}

static void
warn_unknown_state(const EvqEvent *event)
{
	static int64 logged_at;
	char id[EVQ_UUID_TEXT_SIZE];

	if (evq_clock_once_a_minute(&logged_at))
		ereport(LOG, (errmsg("evq: event %s has an unknown state and is passed over",
							 evq_uuid_text(&event->event_id, id)),
					  errhint("Correct or delete its row in evq.event; there may be others.")));
}

/* Looks at a live event that a sweep came by. */
void
evq_live_see(EvqLive *live, const EvqEvent *event, TimestampTz now)
{
	EvqTracked *tracked = evq_track_find(live->track, &event->event_id);
	bool was_empty;
	bool type_suspended;
	EvqChange facts;

	if (tracked != NULL)
		evq_track_mark_seen(live->track, tracked);
	if (event->state == EVQ_STATE_NONE)
	{
		warn_unknown_state(event);
		return;
	}

	evq_change_from_event(&facts, event);
	if (is_put_off(tracked, &facts))
		return;
	if (event->state == EVQ_STATE_AWAITING_PROCESSING)
	{
		if (tracked != NULL && tracked->state == EVQ_TRACK_OFFERED)
			evq_live_offer(live, &facts, &was_empty); /* it may have been lost */
		if (tracked != NULL && (tracked->state == EVQ_TRACK_OFFERED || tracked->state == EVQ_TRACK_READY))
			return;
		if (event->due_at > now && tracked == NULL &&
			((type_suspended = evq_live_is_type_suspended(event->event_type_no)) ||
			 (event->ordered && evq_track_is_flow_id_busy(live->track, event->flow_no, facts.flow_id_hash))))
		{
			evq_live_park(live, type_suspended);
			return;
		}
	}
	tracked = evq_live_remember(live, &facts, now);
	if (tracked != NULL && tracked->state == EVQ_TRACK_DISPATCHED)
		evq_live_offer(live, &facts, &was_empty); /* as well */
	if (tracked != NULL && event->ordered && event->state != EVQ_STATE_AWAITING_PROCESSING)
		evq_track_set_flow_id(live->track, tracked, event->flow_id);
}
