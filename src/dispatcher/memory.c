/*
 * memory.c
 *		What an engine remembers of live events, and what of them is on offer.
 *
 * The model:
 *
 * 1. The engine must know what comes next without searching the tables for it, for
 *	  that costs the more the longer the queue is and the more dead rows it left. So it
 *	  remembers live events. It is a memory and not the truth: it decides when to look
 *	  at an event, and the event's row, read then, decides what is done.
 *
 * 2. It is filled in three ways: sessions tell of each change (evq_memory_absorb()),
 *	  sweeps read rows (evq_memory_see()), and the engine says what it did itself.
 *
 * 3. A remembered event is in one of these states, which follow from the state in its
 *	  row but for two: READY is due and waits for its flow to have room, OFFERED is on
 *	  offer without a dispatch. A flow's ready events are lined up by priority, time and
 *	  id.
 *
 *			WAITING --due--> READY --offer--> OFFERED --worker--> PROCESSING
 *			   ^               |                                  ^       |
 *			   |               +--dispatch--> DISPATCHED ---------+       v
 *			   +---- its time comes again: retry, timeout, release ---- SUSPENDED
 *
 * 4. Each has one timer: when to read its row. That is the end of what it is in: the
 *	  time of the next attempt, of a dispatch, a permit, a suspension, or of its
 *	  lifespan.
 *
 * 5. Not all live events are here. What is known of the others is this:
 *	  - what is due beyond the horizon: when the earliest of them is;
 *	  - what is parked, that is due but cannot go yet (its type is suspended, or another
 *	    event of its flow_id is on its way), or sleeps for long: that there are some, so
 *	    that sweeps go on;
 *	  - what is unread, for want of memory: from which position on, and the highest
 *	    priority among them, of the flow and of each limited group (memory_unread.c).
 *
 * 6. Waiting and ready events take evq.max_tracked places, and a flow has its share
 *	  whatever others take. Of a flow those are remembered that come first; one that
 *	  comes before the last of them takes its place. A group with limits takes a part of
 *	  the places at most, and two whatever others take, so one that has reached its limit
 *	  hides no other. Events on their way are always remembered: the limits of flows
 *	  bound them.
 *
 * 7. In an ordered flow, a flow_id is busy while an event of it is offered, dispatched,
 *	  in process or suspended. When that has gone, the engine is told to read the next
 *	  one (evq_memory_take_successors()). The flow_id of an event that was not
 *	  dispatched from here may not be known; then all is in doubt.
 *
 * 8. What may be wrong is found out by looking. Doubt, which begins with the memory,
 *	  makes the next sweep a complete one. An event on its way that a sweep did not meet
 *	  is looked at by its id. An offer that nobody took is repeated when its timer
 *	  comes.
 *
 * 9. Nothing here survives an error: see engine.c. All memory is in one context.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "dispatcher/memory_internal.h"
#include "rules/retry.h"
#include "rules/transition.h"
#include "rules/uuid.h"
#include "session/config.h"

/* Suspended events that are to time out within this time are remembered: several times what a sweep takes. */
#define SUSPENDED_HORIZON (10 * USECS_PER_MINUTE)

/* The pause after an event could not be processed for the first time; each further one is twice as long. */
#define FIRST_PUT_OFF USECS_PER_SEC

/* Makes an empty memory below the context; it lives as long. slot: NULL = without shared memory. */
EvqMemory *
evq_memory_create(MemoryContext parent, EvqSlot *slot)
{
	MemoryContext context = AllocSetContextCreate(parent, "evq memory", ALLOCSET_DEFAULT_SIZES);
	EvqMemory *memory = MemoryContextAllocZero(context, sizeof(EvqMemory));

	memory->context = context;
	memory->slot = slot;
	memory->future_at = DT_NOEND;
	evq_memory_events_init(memory);
	evq_memory_doubt(memory);
	if (evq_memory_keeps_offer(memory))
		evq_offers_clear(slot->offers);
	return memory;
}

/* From now on the memory is in doubt: nothing that was told can be relied on, until the next complete sweep has begun. */
void
evq_memory_doubt(EvqMemory *memory)
{
	memory->is_in_doubt = true;
}

/* Is the memory in doubt, so that the next sweep is to be a complete one? */
bool
evq_memory_is_in_doubt(const EvqMemory *memory)
{
	return memory->is_in_doubt;
}

/* ---------- the offer ---------- */

/* Is this the dispatcher? Only that keeps the offer for evq_acquire_next(). */
bool
evq_memory_keeps_offer(const EvqMemory *memory)
{
	return memory->slot != NULL && memory->slot->pid == MyProcPid;
}

/* Puts an event on offer in shared memory; false = its flow can have none. */
static bool
push_offer(EvqMemory *memory, const EvqChange *facts, bool *was_empty)
{
	*was_empty = false;
	return evq_memory_keeps_offer(memory) &&
		   evq_offers_push(memory->slot->offers, facts, EVQ_OFFERS_NO_LIMIT, was_empty);
}

/* The same, where it does not matter what was there before. Of a group that is paused nothing is offered again until it goes on. */
static void
repeat_offer(EvqMemory *memory, const EvqTracked *tracked, const EvqChange *facts)
{
	bool was_empty;

	if (tracked->group == NULL || !evq_memory_is_group_paused(tracked->group))
		(void) push_offer(memory, facts, &was_empty);
}

/* Takes an event off the offer that it will leave. */
static void
withdraw(EvqMemory *memory, const EvqTracked *tracked)
{
	if (evq_memory_keeps_offer(memory) && evq_memory_is_on_offer(tracked))
		evq_offers_remove(memory->slot->offers, &tracked->event_id);
}

/*
 * Puts a ready event on offer without a dispatch, until it is to be looked at
 * again. false = its flow can have no offer, and nothing was done. was_empty:
 * the first in its flow's queue.
 */
bool
evq_memory_offer(EvqMemory *memory, EvqTracked *tracked, TimestampTz until, bool *was_empty)
{
	Assert(tracked->state == EVQ_TRACK_READY);
	tracked->facts.place = evq_memory_next_place(tracked);
	if (!push_offer(memory, &tracked->facts, was_empty))
		return false;
	evq_memory_take_turn(tracked);
	tracked->offered_before = true;
	evq_memory_set(memory, tracked, EVQ_TRACK_OFFERED, Min(until, tracked->facts.due_at));
	return true;
}

/* Was it once on offer without a dispatch, and nobody took it? */
bool
evq_memory_was_offered(const EvqTracked *tracked)
{
	return tracked->offered_before;
}

static int
compare_order(const void *a, const void *b)
{
	const EvqChange *facts_a = &(*(EvqTracked *const *) a)->facts;
	const EvqChange *facts_b = &(*(EvqTracked *const *) b)->facts;

	if (facts_a->place != facts_b->place)
		return facts_a->place < facts_b->place ? -1 : 1;
	return evq_change_compare(facts_a, facts_b, 0);
}

/*
 * If a worker asks for offers that were pushed out, offers all that is to be on
 * offer, in its order. What is there is left there. false = nobody asks.
 */
bool
evq_memory_offer_missing(EvqMemory *memory)
{
	EvqTracked **offered;
	int count;

	if (!evq_memory_keeps_offer(memory) || !evq_offers_answer(memory->slot->offers))
		return false;
	offered = evq_memory_collect_on_offer(memory, &count);
	qsort(offered, count, sizeof(EvqTracked *), compare_order);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		repeat_offer(memory, offered[i], &offered[i]->facts);
	}
	pfree(offered);
	return true;
}

/* Is there anything here for a turn to do, but for ready events? */
bool
evq_memory_is_due(const EvqMemory *memory, TimestampTz now)
{
	return evq_memory_next_at(memory) <= now || memory->successors != NIL ||
		   (evq_memory_keeps_offer(memory) && evq_offers_is_asked(memory->slot->offers));
}

/* ---------- what stays in the table ---------- */

/* A due event that cannot go yet stays in the table: sweeps find it again. */
static void
leave_parked(EvqMemory *memory, bool type_suspended)
{
	memory->parked = memory->parked_anew = true;
	memory->passed_by |= type_suspended;
}

/* A ready event cannot go yet: back to the table. */
void
evq_memory_park(EvqMemory *memory, EvqTracked *tracked)
{
	leave_parked(memory, evq_config_is_type_suspended(tracked->facts.event_type_no));
	evq_memory_drop(memory, tracked);
}

/* Are there due events in the table that were parked, so that only sweeps find them? */
bool
evq_memory_has_parked(const EvqMemory *memory)
{
	return memory->parked;
}

/*
 * Were due events passed by since their event type is suspended, or forgotten since their flow has another order by now? Forgets it.
 */
bool
evq_memory_forget_passed_by(EvqMemory *memory)
{
	bool met = memory->passed_by;

	memory->passed_by = false;
	return met;
}

/* An event is due beyond the horizon. */
void
evq_memory_note_future(EvqMemory *memory, TimestampTz at)
{
	memory->future_at = Min(memory->future_at, at);
	memory->future_anew = Min(memory->future_anew, at);
}

/* When the earliest of those is due; infinity = there is none. */
TimestampTz
evq_memory_future_at(const EvqMemory *memory)
{
	return memory->future_at;
}

/* ---------- remembering ---------- */

/*
 * Forgets an event that has gone. The next one of its flow_id may come: where
 * the flow_id is not known, all live events are to be looked at.
 */
void
evq_memory_forget(EvqMemory *memory, EvqTracked *tracked)
{
	if (tracked->facts.ordered)
	{
		if (tracked->flow_id != NULL)
		{
			MemoryContext previous = MemoryContextSwitchTo(memory->context);
			EvqSuccessor *successor = palloc(sizeof(EvqSuccessor));

			successor->flow_no = tracked->facts.flow_no;
			successor->flow_id = pstrdup(tracked->flow_id);
			memory->successors = lappend(memory->successors, successor);
			MemoryContextSwitchTo(previous);
		}
		else
			evq_memory_doubt(memory);
	}
	withdraw(memory, tracked);
	evq_memory_drop(memory, tracked);
}

/* Hands over the flow_ids whose event in front has gone: a list of EvqSuccessor, for the caller to free with their strings. */
List *
evq_memory_take_successors(EvqMemory *memory)
{
	List *successors = memory->successors;

	memory->successors = NIL;
	return successors;
}

/* tracked: what is remembered of the event by now; NULL = nothing. */
static EvqTracked *
remember(EvqMemory *memory, EvqTracked *tracked, const EvqChange *facts, EvqMet met, TimestampTz now)
{
	if (evq_transition_is_final((EvqState) facts->state))
	{
		if (tracked != NULL)
		{
			evq_memory_begin_turn(tracked); /* acquired and finished in one transaction */
			evq_memory_forget(memory, tracked);
		}
		else if (facts->ordered)
			evq_memory_doubt(memory);
		return NULL;
	}
	if (facts->state == EVQ_STATE_SUSPENDED && !facts->ordered &&
		Min(facts->at, facts->due_at) > now + SUSPENDED_HORIZON)
	{
		if (tracked != NULL)
			evq_memory_forget(memory, tracked);
		leave_parked(memory, false);
		return NULL;
	}
	if (tracked == NULL && facts->state == EVQ_STATE_AWAITING_PROCESSING)
	{
		if (facts->at > now + EVQ_MEMORY_HORIZON)
		{
			evq_memory_note_future(memory, facts->at);
			return NULL;
		}
		if (evq_memory_leave_unread(memory, facts, met, now))
			return NULL;
	}

	if (tracked != NULL && facts->state != EVQ_STATE_DISPATCHED)
		withdraw(memory, tracked);
	if (tracked != NULL && facts->state == EVQ_STATE_BEING_PROCESSED)
		evq_memory_begin_turn(tracked);
	return evq_memory_put(memory, facts, now);
}

/* Takes in the facts of an event that is live or was just finished; NULL = it is not remembered. */
EvqTracked *
evq_memory_remember(EvqMemory *memory, const EvqChange *facts, TimestampTz now)
{
	return remember(memory, evq_memory_find(memory, &facts->event_id), facts, EVQ_MET_BY_OTHERS, now);
}

/* ---------- what becomes of an event ---------- */

/* Is it the turn of an event that was not due? Then it is ready, and the answer is true. */
bool
evq_memory_make_ready(EvqMemory *memory, EvqTracked *tracked, TimestampTz now)
{
	if (tracked->state != EVQ_TRACK_WAITING || tracked->facts.at > now || tracked->facts.due_at <= now)
		return false;
	evq_memory_set(memory, tracked, EVQ_TRACK_READY, tracked->facts.due_at);
	return true;
}

/* A ready event was dispatched: what is told of before that is late. */
void
evq_memory_dispatched(EvqMemory *memory, EvqTracked *tracked, const EvqEvent *event)
{
	evq_memory_take_tokens(tracked);
	evq_memory_pay(tracked);
	evq_memory_take_turn(tracked);
	if (tracked->group != NULL && evq_memory_is_group_unread(tracked->group))
		(void) evq_memory_learn_group_key(memory, tracked->group, event->group_key);
	tracked->facts.state_since = event->state_since;
	evq_memory_set(memory, tracked, EVQ_TRACK_DISPATCHED, event->state_due_at);
}

/* Its row is to be looked at then; until then a ready event is not ready. */
void
evq_memory_look_again(EvqMemory *memory, EvqTracked *tracked, TimestampTz at)
{
	evq_memory_set(memory, tracked, tracked->state == EVQ_TRACK_READY ? EVQ_TRACK_WAITING : tracked->state,
				   at);
}

/* It could not be processed: looks again after a second at first, twice as long each time, "longest" at most. */
void
evq_memory_put_off(EvqMemory *memory, EvqTracked *tracked, int64 longest, TimestampTz now)
{
	int64 pause = Min(FIRST_PUT_OFF << Min(tracked->put_offs, 10), longest);

	tracked->put_offs++;
	evq_memory_look_again(memory, tracked, now + pause);
}

/* ---------- what sessions tell ---------- */

/* An event on offer was taken in vain. */
static void
take_back(EvqMemory *memory, EvqTracked *tracked)
{
	if (tracked->state == EVQ_TRACK_DISPATCHED)
		repeat_offer(memory, tracked, &tracked->facts);
	else if (tracked->state == EVQ_TRACK_OFFERED)
		evq_memory_set(memory, tracked, EVQ_TRACK_READY, tracked->facts.due_at);
}

/*
 * A session has published an event, and perhaps put it on offer. What is known
 * of it already is as young or younger: a sweep met it, or a worker took it,
 * before we heard that it is new.
 */
static void
absorb_published(EvqMemory *memory, const EvqChange *facts, TimestampTz now)
{
	const EvqFlow *flow = evq_config_flow(facts->flow_no);
	EvqTracked *tracked = evq_memory_find(memory, &facts->event_id);

	if (tracked != NULL)
		return;
	tracked = evq_memory_remember(memory, facts, now);
	if (facts->is_offered && flow != NULL && tracked != NULL && tracked->state == EVQ_TRACK_READY)
		evq_memory_set(memory, tracked, EVQ_TRACK_OFFERED,
					   Min(evq_retry_add(now, flow->dispatch_timeout), facts->due_at));
}

/*
 * Is what is told of an event on its way perhaps of before that? A session tells after its commit, so others may have acted on
 * that before. To believe it would be to count one too few on their way, now or with the next that is told.
 */
static bool
is_told_late(const EvqTracked *tracked, const EvqChange *change)
{
	if (tracked == NULL || tracked->state < EVQ_TRACK_OFFERED)
		return false;
	return change->state_since < tracked->facts.state_since ||
		   (change->state_since == tracked->facts.state_since &&
			(change->state == EVQ_STATE_AWAITING_PROCESSING ||
			 evq_transition_is_final((EvqState) change->state)));
}

/* Takes in what a session has told. */
void
evq_memory_absorb(EvqMemory *memory, const EvqChange *change, TimestampTz now)
{
	EvqTracked *tracked;

	if (change->is_new)
		absorb_published(memory, change, now);
	else if (!change->is_returned)
	{
		tracked = evq_memory_find(memory, &change->event_id);
		if (is_told_late(tracked, change))
			evq_memory_look_again(memory, tracked, now);
		else
			remember(memory, tracked, change, EVQ_MET_BY_OTHERS, now);
	}
	else if ((tracked = evq_memory_find(memory, &change->event_id)) != NULL)
		take_back(memory, tracked);
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

static void
see(EvqMemory *memory, const EvqEvent *event, EvqMet met, TimestampTz now)
{
	EvqTracked *tracked = evq_memory_find(memory, &event->event_id);
	bool type_suspended;
	EvqChange facts;

	if (tracked != NULL)
		tracked->seen_in_sweep = memory->sweep;
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
		{
			facts.place = tracked->facts.place;
			repeat_offer(memory, tracked, &facts); /* it may have been lost */
		}
		if (tracked != NULL && (tracked->state == EVQ_TRACK_OFFERED || tracked->state == EVQ_TRACK_READY))
			return;
		if (event->due_at > now && tracked == NULL &&
			((type_suspended = evq_config_is_type_suspended(event->event_type_no)) ||
			 (event->ordered && evq_memory_is_flow_id_busy(memory, &facts))))
		{
			leave_parked(memory, type_suspended);
			return;
		}
	}
	tracked = remember(memory, tracked, &facts, met, now);
	if (tracked != NULL && tracked->state == EVQ_TRACK_DISPATCHED)
		repeat_offer(memory, tracked, &tracked->facts); /* as well */
	if (tracked != NULL && event->ordered && event->state != EVQ_STATE_AWAITING_PROCESSING)
		evq_memory_set_flow_id(memory, tracked, event->flow_id);
}

/* Takes in a live event that was read in the table. */
void
evq_memory_see(EvqMemory *memory, const EvqEvent *event, TimestampTz now)
{
	see(memory, event, EVQ_MET_BY_OTHERS, now);
}

/* The same for reading on: it was left unread, so it does not come after those that are. by_group: in its group. */
void
evq_memory_see_unread(EvqMemory *memory, const EvqEvent *event, bool by_group, TimestampTz now)
{
	see(memory, event, by_group ? EVQ_MET_READING_ON_GROUP : EVQ_MET_READING_ON, now);
}

/* ---------- sweeps ---------- */

/* A near sweep begins, and so the doubt ends. Returns its number. */
uint32
evq_memory_begin_sweep(EvqMemory *memory)
{
	memory->is_in_doubt = false;
	memory->parked_anew = false;
	memory->future_anew = DT_NOEND;
	return ++memory->sweep;
}

/*
 * It has ended: what was parked, and what is to come, is what it met; what it did not meet on its way is looked at, and
 * after a complete one what waits, too.
 */
void
evq_memory_end_near_sweep(EvqMemory *memory, uint32 number, bool is_complete, TimestampTz now)
{
	memory->parked = memory->parked_anew;
	memory->future_at = memory->future_anew;
	evq_memory_look_at_unseen(memory, number, is_complete ? EVQ_TRACK_WAITING : EVQ_TRACK_OFFERED,
							  EVQ_TRACK_PROCESSING, now);
}

/* A far sweep has ended: suspended events that no sweep met since the one with the number are looked at. */
void
evq_memory_end_far_sweep(EvqMemory *memory, uint32 since, TimestampTz now)
{
	evq_memory_look_at_unseen(memory, since, EVQ_TRACK_SUSPENDED, EVQ_TRACK_SUSPENDED, now);
}
