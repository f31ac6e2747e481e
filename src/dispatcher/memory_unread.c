/*
 * memory_unread.c
 *		What ought to be remembered, and stays in the table for want of memory.
 *
 * What is remembered of a flow is what comes first in it, and nothing that
 * might come after an event that was left to the table. Of those it is known
 * from which position on they are, and the highest priority among them.
 */
#include "postgres.h"

#include "base/guc.h"
#include "dispatcher/memory_internal.h"

static void
leave_none(EvqUnread *unread)
{
	unread->from = evq_due_position(DT_NOEND);
	unread->priority = PG_INT16_MIN;
}

/* From a position on, events of up to a priority may not be remembered. */
static void
leave_from(EvqUnread *unread, const EvqDuePosition *from, int16 priority)
{
	unread->from = evq_due_first(unread->from, *from);
	unread->priority = Max(unread->priority, priority);
}

/* Notes that an event is in the table alone: reading on will meet it there. */
static void
leave_to_table(EvqTrackedFlow *flow, const EvqChange *facts)
{
	EvqDuePosition position = evq_change_position(facts);

	leave_from(&flow->unread, &position, facts->priority);
	leave_from(&flow->unread_anew, &position, facts->priority);
}

/* Is the event's turn surely before that of all unread ones? */
static bool
comes_before(const EvqUnread *unread, const EvqChange *facts)
{
	EvqDuePosition position = evq_change_position(facts);

	return unread->from.at == DT_NOEND || facts->priority > unread->priority ||
		   (facts->priority == unread->priority && !evq_due_is_before(&unread->from, &position));
}

/* Is there no memory for one more waiting event of the flow? Each flow has its share, whatever others take. */
static bool
is_full(const EvqMemory *memory, const EvqTrackedFlow *flow, int64 max_waiting)
{
	return memory->count[EVQ_TRACK_WAITING] + memory->count[EVQ_TRACK_READY] >= max_waiting &&
		   flow->count[EVQ_TRACK_WAITING] + flow->count[EVQ_TRACK_READY] >=
			   max_waiting / Max(list_length(memory->flow_list), 1);
}

/* Nothing of the flow is unread. */
void
evq_memory_unread_init(EvqTrackedFlow *flow)
{
	leave_none(&flow->unread);
	leave_none(&flow->unread_anew);
	flow->is_reading_on = false;
}

/*
 * An event that waits is to be remembered. true = it is left to the table: there
 * is no memory for it, or it comes after others for which there was none.
 * Another event, whose turn is later, may have to go for this one. An event
 * whose lifespan is over does not stand in that line. was_unread: reading on
 * has met it.
 */
bool
evq_memory_leave_unread(EvqMemory *memory, const EvqChange *facts, bool was_unread, TimestampTz now)
{
	EvqTrackedFlow *flow = evq_memory_use_flow(memory, facts->flow_no);
	EvqTracked *last;

	if (facts->due_at <= now && !is_full(memory, flow, 2 * (int64) evq_max_tracked))
		return false;
	if (!comes_before(was_unread ? &flow->unread_anew : &flow->unread, facts))
	{
		leave_to_table(flow, facts);
		return true;
	}
	if (!is_full(memory, flow, evq_max_tracked))
		return false;

	last = evq_memory_last_waiting(flow);
	if (last == NULL || evq_change_compare(facts, &last->facts) > 0)
	{
		leave_to_table(flow, facts);
		return true;
	}
	leave_to_table(flow, &last->facts);
	evq_memory_drop(memory, last);
	return false;
}

/* May events of the flow that ought to be remembered be in the table alone? */
bool
evq_memory_is_unread(const EvqTrackedFlow *flow)
{
	return flow->unread.from.at < DT_NOEND;
}

/* The position before which no event of the flow is unread; infinity = none is. */
const EvqDuePosition *
evq_memory_unread_from(const EvqTrackedFlow *flow)
{
	return &flow->unread.from;
}

/* Is memory full of events whose turn is before that of all unread ones, which come later in line? */
bool
evq_memory_is_full_of_first(const EvqMemory *memory, const EvqTrackedFlow *flow)
{
	const EvqTracked *last = evq_memory_last_waiting(flow);

	return is_full(memory, flow, evq_max_tracked) &&
		   (last == NULL || last->facts.priority >= flow->unread.priority);
}

/* Is it time to read on? It begins when half of the memory is free again, and ends when none is. */
bool
evq_memory_wants_reading_on(const EvqMemory *memory, const EvqTrackedFlow *flow)
{
	return flow->is_reading_on || (evq_memory_is_unread(flow) && !is_full(memory, flow, evq_max_tracked / 2));
}

/* Reading on begins, and sets where from; does nothing where it is under way. */
void
evq_memory_begin_reading_on(EvqTrackedFlow *flow, EvqDuePosition *from)
{
	if (flow->is_reading_on)
		return;
	flow->is_reading_on = true;
	*from = flow->unread.from;
	leave_none(&flow->unread_anew);
}

/* Reading on has come to its end, "from" if memory is full there: what was left unread meanwhile is all that is. */
void
evq_memory_end_reading_on(EvqMemory *memory, EvqTrackedFlow *flow, const EvqDuePosition *from)
{
	if (evq_memory_is_full_of_first(memory, flow))
		leave_from(&flow->unread_anew, from, flow->unread.priority);
	flow->unread = flow->unread_anew;
	flow->is_reading_on = false;
}
