/*
 * engine_flows.c
 *		What the flows have to dispatch, and room for; and who may decide about their order.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "dispatcher/engine_internal.h"
#include "session/order.h"

/* Makes what is not there yet of the flows that the memory knows. */
void
evq_engine_use_flows(EvqEngine *engine)
{
	int count = evq_memory_flow_count(engine->memory);
	MemoryContext previous;

	if (list_length(engine->flows) == count)
		return;
	previous = MemoryContextSwitchTo(engine->context);
	for (int i = list_length(engine->flows); i < count; i++)
	{
		EvqFlowDispatch *flow = palloc0(sizeof(EvqFlowDispatch));

		flow->flow = evq_memory_flow(engine->memory, i);
		engine->flows = lappend(engine->flows, flow);
	}
	MemoryContextSwitchTo(previous);
}

/* A flow by its number; made where there is nothing yet. */
EvqFlowDispatch *
evq_engine_use_flow(EvqEngine *engine, int32 flow_no)
{
	int index = evq_memory_flow_index(evq_memory_use_flow(engine->memory, flow_no));

	evq_engine_use_flows(engine);
	return list_nth(engine->flows, index);
}

/* ---------- room ---------- */

/* Has the flow room for one more offer, and a token? */
bool
evq_engine_has_room(const EvqEngine *engine, const EvqFlowDispatch *flow)
{
	int64 offered = evq_memory_on_offer(flow->flow) +
					evq_batch_track_on_offer(engine->batches, evq_memory_flow_no(flow->flow));

	if (flow->max_dispatched == 0)
		return true;
	return offered < flow->max_dispatched &&
		   (flow->max_processing == 0 ||
			offered + evq_memory_processing(flow->flow) < flow->max_processing) &&
		   evq_memory_has_token(engine->memory, flow->flow);
}

/*
 * Of the flow's batches with events to offer, the one that comes first, as evq_batch_track_first_waiting(); false = there
 * is none, or its flow is not one of batches any more: they will leave it.
 */
bool
evq_engine_first_batch(const EvqEngine *engine, const EvqFlowDispatch *flow, EvqChange *facts)
{
	int32 flow_no = evq_memory_flow_no(flow->flow);
	const EvqFlow *configured;

	if (!evq_batch_track_first_waiting(engine->batches, flow_no, facts) ||
		!evq_memory_keeps_offer(engine->memory))
		return false;
	configured = evq_config_flow(flow_no);
	return configured != NULL && evq_flow_takes_batches(configured);
}

/* Has the flow anything for which there may be room? */
bool
evq_engine_has_ready(const EvqEngine *engine, const EvqFlowDispatch *flow)
{
	EvqChange facts;

	return evq_memory_first_ready(flow->flow) != NULL || evq_engine_first_batch(engine, flow, &facts);
}

/* Do ready events of the flow wait for room? */
static bool
is_blocked(const EvqEngine *engine, const EvqFlowDispatch *flow)
{
	return evq_memory_ready(flow->flow) > 0 && !evq_engine_has_room(engine, flow);
}

static bool
is_paused(const EvqFlowDispatch *flow, TimestampTz now)
{
	return evq_config_is_flow_paused(evq_memory_flow_no(flow->flow), now);
}

/* What the flows have in all. Forgets who held a flow when it is time to try again. */
EvqProspects
evq_engine_look_at_flows(EvqEngine *engine, TimestampTz now)
{
	EvqProspects all = {.can_dispatch = false};
	ListCell *cell;

	evq_engine_use_flows(engine);
	all.held_until = Min(evq_config_first_resume(now), evq_memory_refill(engine->memory, now));
	all.held_until = Min(all.held_until, evq_memory_refill_limits(engine->memory, now));
	foreach(cell, engine->flows)
	{
		EvqFlowDispatch *flow = lfirst(cell);

		/* The clock may have been set back. */
		if (flow->held_until <= now || flow->held_until > now + EVQ_ENGINE_BUSY_DELAY)
			flow->held_until = 0;
		if (is_paused(flow, now))
		{
			/* Who asks in vain meanwhile is to ask again when it goes on. */
			flow->tell_ready |= evq_config_flow(evq_memory_flow_no(flow->flow))->pull;
			continue;
		}
		evq_memory_open_lanes(engine->memory, flow->flow);
		if (flow->held_until != 0)
			all.held_until = Min(all.held_until, flow->held_until);
		else if (evq_engine_has_ready(engine, flow) && evq_engine_has_room(engine, flow))
			all.can_dispatch = true;
		all.must_tell |= flow->tell_ready;
	}
	return all;
}

/* ---------- what sessions are told ---------- */

/* Bit masks of EVQ_FLOW_CLASS(): of flows for which something holds, and of flows for which it does not. */
typedef struct Classes
{
	uint64 of_some;
	uint64 not_of_some;
} Classes;

static void
note_class(Classes *classes, int32 flow_no, bool holds)
{
	if (holds)
		classes->of_some |= EVQ_FLOW_CLASS(flow_no);
	else
		classes->not_of_some |= EVQ_FLOW_CLASS(flow_no);
}

/* The classes of whose flows, as far as they were noted, it holds for every one. */
static uint64
whole_classes(const Classes *classes)
{
	return classes->of_some & ~classes->not_of_some;
}

/* What sessions need to wake the dispatcher for, and what they can do without it. */
EvqGuide
evq_engine_guide(EvqEngine *engine, TimestampTz now)
{
	bool has_seen_all = evq_sweep_has_seen_all(engine->sweeper);
	EvqGuide guide = {.wants_changes = evq_memory_has_waiting_lanes(engine->memory)};
	Classes full = {0};
	Classes direct = {0};
	int flow_count;
	const EvqFlow *flows = evq_config_flows(&flow_count);

	for (int i = 0; i < flow_count; i++)
	{
		int32 flow_no = flows[i].flow_no;
		const EvqFlowDispatch *flow = evq_engine_use_flow(engine, flow_no);
		bool has_batches = evq_batch_track_has_waiting(engine->batches, flow_no);
		bool blocked = is_blocked(engine, flow) || has_batches;

		guide.wants_changes |= blocked || evq_memory_has_closed_groups(flow->flow);
		note_class(&full, flow_no, blocked);
		if (flows[i].pull)
			note_class(&direct, flow_no,
					   has_seen_all && evq_memory_ready(flow->flow) == 0 &&
						   !evq_memory_is_unread(flow->flow) && !has_batches && !is_paused(flow, now));
	}
	guide.full_flows = whole_classes(&full);
	guide.direct_flows = whole_classes(&direct);
	return guide;
}

/* ---------- who decides about order ---------- */

/*
 * May order and limit of the flow be kept in this turn? Not before the first
 * complete sweep, and not while a session gives turns to its own events, which
 * it does as long as its transaction lasts. Nor where evq_tick() could not take
 * the lock before it read the tables.
 */
static bool
lock_order(EvqWork *work, EvqFlowDispatch *flow, int32 flow_no)
{
	EvqEngine *engine = work->engine;

	if (!evq_sweep_has_seen_all(engine->sweeper) || flow->held_until != 0)
		return false;
	if ((evq_memory_keeps_offer(engine->memory) || (engine->locked_first & EVQ_FLOW_CLASS(flow_no)) != 0) &&
		evq_order_try_lock(flow_no))
		return true;
	flow->held_until = work->now + EVQ_ENGINE_BUSY_DELAY;
	return false;
}

/*
 * Takes the locks of the flows that are to be regulated in this turn, hears what
 * sessions that had them have told, and takes a snapshot that sees it.
 */
void
evq_engine_lock_orders(EvqWork *work)
{
	EvqEngine *engine = work->engine;
	bool any = false;
	ListCell *cell;

	evq_engine_use_flows(engine);
	foreach(cell, engine->flows)
	{
		EvqFlowDispatch *flow = lfirst(cell);
		int32 flow_no = evq_memory_flow_no(flow->flow);
		const EvqFlow *configured = evq_config_flow(flow_no);

		flow->is_order_locked = configured != NULL && evq_flow_is_regulated(configured) &&
								!evq_flow_is_paused(configured, work->now) &&
								evq_memory_first_ready(flow->flow) != NULL && lock_order(work, flow, flow_no);
		any |= flow->is_order_locked;
	}
	if (!any)
		return;
	if (evq_memory_keeps_offer(engine->memory) && !evq_engine_hear(engine, work->now))
	{
		/* What they decided may be among what was lost, which the next turn reads first. */
		foreach(cell, engine->flows)
			((EvqFlowDispatch *) lfirst(cell))->is_order_locked = false;
	}
	evq_store_refresh(work->store);
}

/*
 * For evq_tick(), which nobody tells what others decide: it takes the locks that
 * it may need before it reads the tables. Returns the classes of flows of which
 * it has them.
 */
uint64
evq_engine_lock_before_reading(void)
{
	uint64 locked = 0;
	int flow_count;
	const EvqFlow *flows = evq_config_flows(&flow_count);

	for (int i = 0; i < flow_count; i++)
	{
		uint64 class = EVQ_FLOW_CLASS(flows[i].flow_no);

		if (evq_flow_is_regulated(&flows[i]) && (locked & class) == 0 && evq_order_try_lock(flows[i].flow_no))
			locked |= class;
	}
	return locked;
}
