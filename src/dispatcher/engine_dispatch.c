/*
 * engine_dispatch.c
 *		A turn's dispatch: each flow gives turns to its events, as many as it has room for.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "dispatcher/engine_internal.h"
#include "dispatcher/message.h"
#include "dispatcher/notify.h"
#include "session/lifecycle.h"
#include "session/order.h"
#include "tables/events.h"

/*
 * A push flow with so many events ready, out of whose offers workers have taken
 * some within this time, is drained; for so long an event is on offer there
 * before it is dispatched after all.
 */
#define DRAIN_BACKLOG 100
#define DRAIN_FRESH (USECS_PER_SEC / 20)
#define DRAIN_TIMEOUT USECS_PER_SEC

/* A flow_id in which another event than one that is ready has its turn. */
typedef struct Blocked
{
	uint64 hash; /* of flow and flow_id, the key */
	pg_uuid_t front;
} Blocked;

static void
add_notification(EvqWork *work, const char *channel, const char *text)
{
	MemoryContext previous = MemoryContextSwitchTo(work->engine->turn_context);

	work->notifications = evq_notify_add(work->notifications, channel, text);
	MemoryContextSwitchTo(previous);
}

/* ---------- order within a flow_id ---------- */

/* A ready event that cannot go yet goes back to the table. */
static void
park(EvqWork *work, EvqTracked *tracked)
{
	evq_engine_trace(&evq_memory_facts(tracked)->event_id, "cannot go yet, and stays in the table");
	evq_memory_park(work->engine->memory, tracked);
	work->parked++;
}

static uint64
blocked_key(const EvqChange *facts)
{
	return hash_combine64(facts->flow_id_hash, (uint64) facts->flow_no);
}

/* Notes, until the end of the turn, which event is in front of the flow_id of a ready one: no other can go. */
static void
block(EvqWork *work, const EvqTracked *tracked, const EvqEvent *front)
{
	uint64 key = blocked_key(evq_memory_facts(tracked));
	Blocked *blocked;

	if (work->blocked == NULL)
	{
		HASHCTL control = {.keysize = sizeof(uint64),
						   .entrysize = sizeof(Blocked),
						   .hcxt = work->engine->turn_context};

		work->blocked = hash_create("evq blocked flow ids", 64, &control,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	blocked = hash_search(work->blocked, &key, HASH_ENTER, NULL);
	blocked->front = front->event_id;
}

/* Does the memory alone, or what this turn has read, say that another event of this one's flow_id comes first? */
static bool
is_held_back(const EvqWork *work, const EvqChange *facts)
{
	uint64 key = blocked_key(facts);
	const Blocked *blocked;

	if (evq_memory_is_flow_id_busy(work->engine->memory, facts))
		return true;
	if (work->blocked == NULL)
		return false;
	blocked = hash_search(work->blocked, &key, HASH_FIND, NULL);
	return blocked != NULL && memcmp(&blocked->front, &facts->event_id, sizeof(pg_uuid_t)) != 0;
}

/* Is it this ready event's turn? If not, it goes back to the table and the one in front is remembered. */
static bool
is_in_front(EvqWork *work, EvqTracked *tracked, const EvqEvent *event)
{
	EvqEvent front;

	if (!evq_order_front(work->store, event->flow_no, event->flow_id, &front) ||
		memcmp(&front.event_id, &event->event_id, sizeof(pg_uuid_t)) == 0)
		return true;
	block(work, tracked, &front);
	park(work, tracked);
	evq_memory_see(work->engine->memory, &front, work->now);
	return false;
}

/* Remembers the events that are in front where those before them have gone. */
void
evq_engine_follow_successors(EvqWork *work)
{
	EvqMemory *memory = work->engine->memory;
	List *successors = evq_memory_take_successors(memory);
	ListCell *cell;

	foreach(cell, successors)
	{
		EvqSuccessor *successor = lfirst(cell);
		EvqEvent front;

		CHECK_FOR_INTERRUPTS();
		if (evq_order_front(work->store, successor->flow_no, successor->flow_id, &front))
			evq_memory_see(memory, &front, work->now);
		pfree(successor->flow_id);
	}
	list_free_deep(successors);
}

/* ---------- dispatch ---------- */

/*
 * Is the flow drained: a push flow with a backlog, out of whose offer workers take?
 * Then its events are put on offer as those of a pull flow: to mark and to notify
 * each of them would only keep the workers waiting.
 */
static bool
is_drained(EvqWork *work, const EvqFlow *configured)
{
	EvqEngine *engine = work->engine;
	EvqFlowDispatch *flow = work->flow;
	uint64 taken;

	if (configured->pull || evq_flow_is_regulated(configured) || !evq_memory_keeps_offer(engine->memory) ||
		evq_memory_ready(flow->flow) < DRAIN_BACKLOG)
		return false;
	taken = evq_offers_taken(engine->slot->offers, configured->flow_no);
	if (taken != flow->taken)
		flow->taken_at = work->now;
	flow->taken = taken;
	return work->now - flow->taken_at < DRAIN_FRESH;
}

/* Offers an event without a dispatch; false = its flow can have no offer. */
static bool
offer_ready(EvqWork *work, EvqTracked *tracked, const EvqFlow *configured)
{
	bool offered_before = evq_memory_was_offered(tracked);
	TimestampTz until = evq_retry_add(work->now,
									  configured->pull ? configured->dispatch_timeout : DRAIN_TIMEOUT);
	bool was_empty;

	if (!evq_memory_offer(work->engine->memory, tracked, until, &was_empty))
		return false;
	/* One wake-up when work comes, and again when nobody came for it. */
	if (configured->pull && (was_empty || offered_before))
		work->flow->tell_ready = true;
	evq_engine_trace(&evq_memory_facts(tracked)->event_id, "offered");
	work->turn->dispatched++;
	return true;
}

/* What was ready is not as it was remembered: remembers what the row says now. */
static void
correct(EvqWork *work, const EvqEvent *event)
{
	EvqMemory *memory = work->engine->memory;
	EvqTracked *tracked;
	EvqChange facts;

	evq_change_from_event(&facts, event);
	tracked = evq_memory_remember(memory, &facts, work->now);
	if (tracked != NULL && event->due_at <= work->now)
		evq_memory_look_again(memory, tracked, work->now);
}

/* Dispatches a ready event, whose row this is and who may go. */
static void
dispatch_row(EvqWork *work, EvqTracked *tracked, EvqEvent *event, const EvqFlow *configured)
{
	EvqMemory *memory = work->engine->memory;

	event->place = evq_memory_next_place(tracked);
	if (!evq_lifecycle_dispatch(work->store, work->now, event, configured->dispatch_timeout))
	{
		evq_memory_look_again(memory, tracked, work->now + EVQ_ENGINE_BUSY_DELAY);
		return;
	}
	evq_engine_trace(&event->event_id, "dispatched");
	evq_memory_dispatched(memory, tracked, event);
	if (configured->pull && evq_memory_keeps_offer(memory))
		work->flow->tell_ready = true;
	else if (work->notify)
		add_notification(work, configured->channel, evq_message_dispatched(work->store, event, work->now));
	work->turn->dispatched++;
}

/* Offers or dispatches the first ready event of a flow, or puts it where it belongs. */
static void
dispatch_ready(EvqWork *work, EvqTracked *tracked)
{
	EvqMemory *memory = work->engine->memory;
	const EvqChange *facts = evq_memory_facts(tracked);
	const EvqFlow *configured = evq_config_flow(facts->flow_no);
	EvqEvent event;

	if (evq_memory_timer(tracked) <= work->now) /* perhaps it is there no more */
	{
		evq_engine_fire(work, tracked);
		return;
	}
	if (evq_config_is_type_suspended(facts->event_type_no) || (facts->ordered && is_held_back(work, facts)))
	{
		park(work, tracked);
		return;
	}
	if (!facts->ordered && !evq_flow_is_regulated(configured) &&
		(configured->pull || (work->drained && !evq_memory_was_offered(tracked))) &&
		offer_ready(work, tracked, configured))
		return;

	evq_events_hint(&facts->event_id, &facts->tid);
	if (!evq_events_fetch(work->store, &facts->event_id, &event))
	{
		evq_memory_forget(memory, tracked);
		return;
	}
	if (event.state == EVQ_STATE_NONE)
	{
		evq_memory_drop(memory, tracked);
		return;
	}
	if (event.state != EVQ_STATE_AWAITING_PROCESSING || event.attempt_scheduled_at > work->now ||
		event.due_at <= work->now)
	{
		correct(work, &event);
		return;
	}
	if (event.ordered)
	{
		if (!is_in_front(work, tracked, &event))
			return;
		evq_memory_set_flow_id(memory, tracked, event.flow_id);
	}
	dispatch_row(work, tracked, &event, configured);
}

/* Offers neighbours in a batch, if they come before this ready event; tracked: NULL = none is ready. */
static bool
offer_from_batch(EvqWork *work, const EvqFlow *configured, const EvqTracked *tracked)
{
	EvqEngine *engine = work->engine;
	int64 step = configured->priority_step;
	EvqChange first;
	bool was_empty;

	if (!evq_engine_first_batch(engine, work->flow, &first) ||
		(tracked != NULL && evq_change_compare(evq_memory_facts(tracked), &first, step) < 0))
		return false;
	work->turn->dispatched += evq_batch_track_offer_first(engine->batches,
														  evq_memory_flow_no(work->flow->flow), work->now,
														  &was_empty);
	work->flow->tell_ready |= was_empty;
	return true;
}

/* The event of the flow whose turn it is, by its group and by named limits; NULL = there is none. */
static EvqTracked *
next_ready(const EvqWork *work, const EvqFlowDispatch *flow)
{
	EvqMemory *memory = work->engine->memory;
	EvqTracked *tracked;

	do
	{
		CHECK_FOR_INTERRUPTS();
		evq_memory_open_lanes(memory, flow->flow);
		tracked = evq_memory_first_ready(flow->flow);
	} while (tracked != NULL && !evq_memory_limits_let_go(memory, tracked));
	return tracked;
}

/* Dispatches what one flow has room for, up to its share of a batch. */
static void
dispatch_flow(EvqWork *work, EvqFlowDispatch *flow, int share)
{
	const EvqFlow *configured = evq_config_flow(evq_memory_flow_no(flow->flow));

	if (configured == NULL || evq_flow_is_paused(configured, work->now) ||
		(evq_flow_is_regulated(configured) && !flow->is_order_locked))
		return;
	flow->max_dispatched = configured->max_dispatched;
	flow->max_processing = configured->max_processing;
	work->flow = flow;
	work->drained = is_drained(work, configured);
	for (int n = 0; n < share && evq_engine_has_room(work->engine, flow);)
	{
		EvqTracked *tracked = next_ready(work, flow);
		int parked = work->parked;

		if (!offer_from_batch(work, configured, tracked))
		{
			if (tracked == NULL)
				break;
			evq_engine_act_on(work, tracked, dispatch_ready);
		}
		n += work->parked == parked;
	}
}

/*
 * Dispatches what the flows have room for, a batch at most. Each flow has its
 * share of the batch, and each turn begins with another flow.
 */
void
evq_engine_dispatch(EvqWork *work)
{
	EvqEngine *engine = work->engine;
	int with_ready = 0;
	int flow_count;
	ListCell *cell;

	evq_engine_lock_orders(work);
	evq_engine_use_flows(engine); /* what was heard meanwhile may be of a flow that is new here */
	foreach(cell, engine->flows)
	{
		const EvqFlowDispatch *flow = lfirst(cell);

		with_ready += evq_engine_has_ready(engine, flow) &&
					  !evq_config_is_flow_paused(evq_memory_flow_no(flow->flow), work->now);
	}
	if (with_ready == 0)
		return;

	engine->first_flow++;
	flow_count = list_length(engine->flows);
	for (int i = 0; i < flow_count; i++)
		dispatch_flow(work, list_nth(engine->flows, (engine->first_flow + i) % flow_count),
					  Max(evq_dispatch_batch / with_ready, 1));
}

/* ---------- telling ---------- */

/* Tells the listeners of the flows in which events were put on offer; those of paused ones when they go on. */
static void
tell_ready(EvqWork *work)
{
	ListCell *cell;

	evq_engine_use_flows(work->engine);
	foreach(cell, work->engine->flows)
	{
		EvqFlowDispatch *flow = lfirst(cell);
		const EvqFlow *configured = evq_config_flow(evq_memory_flow_no(flow->flow));

		if (configured != NULL && evq_flow_is_paused(configured, work->now))
			continue;
		if (flow->tell_ready && configured != NULL && work->notify)
			add_notification(work, configured->channel, evq_message_ready(configured));
		flow->tell_ready = false;
	}
}

static void
tell_watchers(EvqWork *work)
{
	ListCell *cell;

	foreach(cell, evq_watch_tell(work->engine->watch, work->store, work->now))
	{
		if (work->notify)
			add_notification(work, EVQ_WATCH_CHANNEL, lfirst(cell));
	}
}

/* Sends what this turn has to say; watch_due: to watchers, too. The dispatcher waits for no lock with it. */
void
evq_engine_tell(EvqWork *work, bool watch_due)
{
	tell_ready(work);
	if (watch_due)
		tell_watchers(work);
	evq_notify_send(work->notifications, !evq_memory_keeps_offer(work->engine->memory));
}
