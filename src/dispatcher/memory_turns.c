/*
 * memory_turns.c
 *		How the groups of a fair flow take turns, by their weights.
 *
 * Each turn has a place on an axis, and the group whose next one has the least place goes first. A turn moves a group on by
 * the inverse of its weight: so those that always have work share the turns as their weights say, however many events wait
 * in each. A group that had none, or no room, takes its place where the flow is, not where it was left: it comes within one
 * round, and has saved nothing up. The flow is where the latest turn was that a worker has begun.
 *
 * This is start-time fair queueing (Goyal, Vin and Cheng, 1996), where each event costs the same. Events of no group are a
 * group of their own here.
 */
#include "postgres.h"

#include "dispatcher/memory_internal.h"

/* How far a turn moves a group of weight 1. Places begin here, for 0 is no place. */
#define TURN (INT64CONST(1) << 20)

static EvqLine
line_of(const EvqTrackedFlow *flow)
{
	const EvqFlow *configured = evq_config_flow(flow->flow_no);

	return configured == NULL ? (EvqLine){0}
							  : (EvqLine){.is_fair = configured->fair, .step = configured->priority_step};
}

/* Makes what there is of turns in a new flow. */
void
evq_memory_turns_init_flow(EvqTrackedFlow *flow)
{
	flow->turn_begun = TURN;
	flow->line = line_of(flow);
}

/* If the configuration says that the flow's events have another order, what waits is forgotten, to be met again and lined up anew. */
void
evq_memory_read_line(EvqMemory *memory, EvqTrackedFlow *flow)
{
	EvqLine line = line_of(flow);

	if (line.is_fair == flow->line.is_fair && line.step == flow->line.step)
		return;
	evq_memory_forget_waiting_of(memory, flow);
	flow->line = line;
	memory->passed_by = true;
}

/* A group that had nothing to do, or no room, is in line again. */
void
evq_memory_enter_turns(EvqTrackedGroup *group)
{
	group->next_turn = Max(group->next_turn, group->flow->turn_begun);
}

/* Does it make a difference where a group stands that has no event? */
bool
evq_memory_is_behind_turns(const EvqTrackedGroup *group)
{
	return !group->flow->line.is_fair || group->next_turn <= group->flow->turn_begun;
}

/* The place among the offers of its flow that a ready event has if it is given its turn now. */
int64
evq_memory_next_place(const EvqTracked *tracked)
{
	const EvqLine *line = &tracked->flow->line;

	if (line->is_fair)
		return tracked->group == NULL ? 0 : tracked->group->next_turn;
	return evq_aged_place(line->step, tracked->facts.at, tracked->facts.priority);
}

/* An event is given its turn. Its group may be in line, and has to be put in its place there. */
void
evq_memory_take_turn(EvqTracked *tracked)
{
	EvqTrackedGroup *group = tracked->group;

	tracked->facts.place = evq_memory_next_place(tracked);
	if (tracked->flow->line.is_fair && group != NULL)
		group->next_turn += TURN / group->limits.weight;
}

/* An event was met that was given its turn elsewhere, or before this memory was: it counts as one. */
void
evq_memory_note_turn(EvqTracked *tracked)
{
	if (!tracked->flow->line.is_fair || tracked->facts.place != 0 || tracked->group == NULL)
		return;
	evq_memory_enter_turns(tracked->group);
	evq_memory_take_turn(tracked);
}

/* An event leaves the offer with which a worker has begun. */
void
evq_memory_begin_turn(const EvqTracked *tracked)
{
	EvqTrackedFlow *flow = tracked->flow;

	if (evq_memory_is_on_offer(tracked))
		flow->turn_begun = Max(flow->turn_begun, tracked->facts.place);
}
