/*
 * memory_unread.c
 *		What ought to be remembered, and stays in the table for want of memory.
 *
 * What is remembered of a flow is what comes first in it, and nothing that
 * might come after an event that was left to the table. Of those it is known
 * from which position on they are, and the highest priority among them; where
 * priorities rise, also from when on they stand in line.
 *
 * Of a group with limits, or in a fair flow, the same is known by itself. It has a
 * part of the memory at most, and some whatever others take: so a group that has
 * reached its limit, or waits for its turns, hides no other, however many events of
 * it wait. When it may go, and little of it is left in memory, it is read on in an
 * index of its own: what waits of other groups is not read for it. Groups that are
 * more than evq.max_tracked have no line of their own.
 */
#include "postgres.h"

#include "base/guc.h"
#include "dispatcher/memory_internal.h"

/* A limited group has so many of its waiting events remembered, and no more than a part of all; and so many whatever others take. */
#define MOST_OF_GROUP 1000
#define PART_OF_GROUP 4
#define LEAST_OF_GROUP 2

static void
leave_none(EvqUnread *unread)
{
	unread->from = evq_due_position(DT_NOEND);
	unread->priority = PG_INT16_MIN;
	unread->aged_at = DT_NOEND;
}

/* From a position on, events of up to a priority may not be remembered. step: of their flow, as it is meant by the next ones. */
static void
leave_from(EvqUnread *unread, const EvqDuePosition *from, int16 priority, int64 step)
{
	unread->from = evq_due_first(unread->from, *from);
	unread->priority = Max(unread->priority, priority);
	if (step > 0)
		unread->aged_at = Min(unread->aged_at, evq_aged_at(from->at, priority, step));
}

/* Notes that an event is in the table alone: reading on will meet it there. */
static void
leave_to_table(EvqLeft *left, const EvqChange *facts, int64 step)
{
	EvqDuePosition position = evq_change_position(facts);

	leave_from(&left->unread, &position, facts->priority, step);
	leave_from(&left->anew, &position, facts->priority, step);
}

/* Is the event's turn surely before that of all unread ones? */
static bool
comes_before(const EvqUnread *unread, const EvqChange *facts, int64 step)
{
	EvqDuePosition position = evq_change_position(facts);
	TimestampTz aged_at;

	if (unread->from.at == DT_NOEND)
		return true;
	if (step == 0)
		return facts->priority > unread->priority ||
			   (facts->priority == unread->priority && !evq_due_is_before(&unread->from, &position));
	aged_at = evq_aged_at(facts->at, facts->priority, step);
	return aged_at < unread->aged_at ||
		   (aged_at == unread->aged_at && !evq_due_is_before(&unread->from, &position));
}

/* Is the turn of an event surely before that of all unread ones from a position on, which is later in line? */
static bool
comes_before_rest(const EvqTracked *last, const EvqUnread *unread, const EvqDuePosition *from)
{
	int64 step = last->flow->line.step;

	return step > 0 ? evq_aged_at(last->facts.at, last->facts.priority, step) <=
						  evq_aged_at(from->at, unread->priority, step)
					: last->facts.priority >= unread->priority;
}

/* Is there no memory for one more waiting event of the flow? Each flow has its share, whatever others take. */
static bool
is_full(const EvqMemory *memory, const EvqTrackedFlow *flow, int64 max_waiting)
{
	return memory->count[EVQ_TRACK_WAITING] + memory->count[EVQ_TRACK_READY] >= max_waiting &&
		   flow->count[EVQ_TRACK_WAITING] + flow->count[EVQ_TRACK_READY] >=
			   max_waiting / Max(list_length(memory->flow_list), 1);
}

/* Nothing is unread. */
void
evq_memory_unread_init(EvqLeft *left)
{
	leave_none(&left->unread);
	leave_none(&left->anew);
	left->is_reading_on = false;
}

/* ---------- of a group ---------- */

/* The one to do without first comes first. */
static int
compare_last(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	return evq_memory_compare(pairingheap_const_container(EvqTracked, group_last_node, a),
							  pairingheap_const_container(EvqTracked, group_last_node, b));
}

/* Makes the line of a group's waiting events. */
void
evq_memory_unread_init_group(EvqTrackedGroup *group)
{
	group->last.ph_compare = compare_last;
	evq_memory_unread_init(&group->left);
}

/* An event waits, or is ready. */
void
evq_memory_wait_in_group(EvqTracked *tracked)
{
	EvqTrackedGroup *group = tracked->group;

	if (group == NULL)
		return;
	pairingheap_add(&group->last, &tracked->group_last_node);
	group->waiting++;
}

/* ... and it does so no more. */
void
evq_memory_wait_no_more(EvqMemory *memory, EvqTracked *tracked)
{
	EvqTrackedGroup *group = tracked->group;

	if (group == NULL)
		return;
	pairingheap_remove(&group->last, &tracked->group_last_node);
	group->waiting--;
	if (evq_memory_is_group_unread(group))
		evq_memory_place_group(memory, group);
}

/* The waiting or ready event of the group whose turn comes last; NULL = there is none. */
static EvqTracked *
last_of(const EvqTrackedGroup *group)
{
	return pairingheap_is_empty(&group->last)
			   ? NULL
			   : pairingheap_container(EvqTracked, group_last_node, group->last.ph_root);
}

/* For how many waiting events of a limited group there is memory. */
static int
places_of(const EvqMemory *memory, const EvqTrackedGroup *group)
{
	return is_full(memory, group->flow, evq_max_tracked)
			   ? LEAST_OF_GROUP
			   : Max(Min(MOST_OF_GROUP, evq_max_tracked / PART_OF_GROUP), LEAST_OF_GROUP);
}

/* Has it less in memory than there is room for? Reading on begins when half of that is free, and ends when none is. */
bool
evq_memory_is_group_hungry(const EvqMemory *memory, const EvqTrackedGroup *group)
{
	return group->left.is_reading_on || group->waiting <= places_of(memory, group) / 2;
}

/* The group of an event, if it is one with limits, and not one of too many; NULL = it has none, or none that is to have a line of its own. */
static EvqTrackedGroup *
use_limited_group(EvqMemory *memory, EvqTrackedFlow *flow, const EvqChange *facts)
{
	EvqGroupId id = {.hash = facts->group_hash, .flow_no = flow->flow_no};
	EvqTrackedGroup known = {.id = id, .flow = flow};
	EvqTrackedGroup *group;

	if (facts->group_hash == 0)
		return NULL;
	group = hash_search(memory->groups, &id, HASH_FIND, NULL);
	if (group != NULL)
		return evq_memory_is_limited(group) ? group : NULL;
	evq_config_limits_of_group(flow->flow_no, facts->group_hash, &known.limits);
	if (!evq_memory_is_limited(&known) || hash_get_num_entries(memory->groups) >= evq_max_tracked)
		return NULL;
	return evq_memory_use_group(memory, flow, facts->group_hash);
}

/* Notes that an event of the group is in the table alone. */
static void
leave_to_group(EvqMemory *memory, EvqTrackedGroup *group, const EvqChange *facts)
{
	bool was_unread = evq_memory_is_group_unread(group);

	leave_to_table(&group->left, facts, group->flow->line.step);
	group->left_id = facts->event_id;
	if (!was_unread)
		evq_memory_place_group(memory, group);
}

/* See evq_memory_leave_unread(). */
static bool
leave_unread_in_group(EvqMemory *memory, EvqTrackedGroup *group, const EvqChange *facts, bool is_reading_on)
{
	int64 step = group->flow->line.step;
	EvqTracked *last;

	if (!comes_before(is_reading_on ? &group->left.anew : &group->left.unread, facts, step))
	{
		leave_to_group(memory, group, facts);
		return true;
	}
	if (group->waiting < places_of(memory, group))
		return false;

	last = last_of(group);
	if (evq_change_compare(facts, &last->facts, step) > 0)
	{
		leave_to_group(memory, group, facts);
		return true;
	}
	leave_to_group(memory, group, &last->facts);
	evq_memory_drop(memory, last);
	return false;
}

/* Are unread events of any group to be read? */
bool
evq_memory_has_hungry(const EvqMemory *memory)
{
	return !dlist_is_empty(unconstify(dlist_head *, &memory->hungry));
}

/* The next group whose unread events are to be read; NULL = there is none. They take turns. */
EvqTrackedGroup *
evq_memory_next_hungry(EvqMemory *memory)
{
	EvqTrackedGroup *group;

	if (dlist_is_empty(&memory->hungry))
		return NULL;
	group = dlist_head_element(EvqTrackedGroup, hungry_node, &memory->hungry);
	dlist_delete(&group->hungry_node);
	dlist_push_tail(&memory->hungry, &group->hungry_node);
	return group;
}

/* The number of its flow in the configuration. */
int32
evq_memory_flow_no_of_group(const EvqTrackedGroup *group)
{
	return group->flow->flow_no;
}

/* Its key; NULL = it is not known yet. */
const char *
evq_memory_group_key(const EvqTrackedGroup *group)
{
	return group->key;
}

/* An event of it that was left to the table, and may be there. */
const pg_uuid_t *
evq_memory_left_of_group(const EvqTrackedGroup *group)
{
	return &group->left_id;
}

/* Keeps its key, which an event of it has; false = it is not its key. */
bool
evq_memory_learn_group_key(EvqMemory *memory, EvqTrackedGroup *group, const char *group_key)
{
	if (group_key == NULL || evq_change_group_hash(group_key) != group->id.hash)
		return false;
	if (group->key == NULL)
		group->key = MemoryContextStrdup(memory->context, group_key);
	return true;
}

/* As of a flow: evq_memory_is_full_of_first(). */
bool
evq_memory_is_group_full_of_first(const EvqMemory *memory, const EvqTrackedGroup *group)
{
	const EvqTracked *last = last_of(group);

	return group->waiting >= places_of(memory, group) &&
		   comes_before_rest(last, &group->left.unread, &group->reading_on_from);
}

/* Reading on begins, if it is not under way. Returns where it stands, for the caller to move on. */
EvqDuePosition *
evq_memory_begin_reading_on_group(EvqTrackedGroup *group)
{
	if (!group->left.is_reading_on)
	{
		group->left.is_reading_on = true;
		group->reading_on_from = group->left.unread.from;
		leave_none(&group->left.anew);
	}
	return &group->reading_on_from;
}

/* It has come to its end, or memory is full there. The group may be forgotten. */
void
evq_memory_end_reading_on_group(EvqMemory *memory, EvqTrackedGroup *group)
{
	EvqLeft *left = &group->left;

	if (evq_memory_is_group_full_of_first(memory, group))
		leave_from(&left->anew, &group->reading_on_from, left->unread.priority, group->flow->line.step);
	left->unread = left->anew;
	left->is_reading_on = false;
	if (evq_memory_is_group_unread(group))
		evq_memory_place_group(memory, group);
	else
		evq_memory_forget_unread(memory, group);
}

/* Its key cannot be found out: a complete sweep will meet what is unread of it. The group may be forgotten. */
void
evq_memory_give_up_group(EvqMemory *memory, EvqTrackedGroup *group)
{
	evq_memory_doubt(memory);
	evq_memory_forget_unread(memory, group);
}

/* ---------- of a flow ---------- */

/*
 * An event that waits is to be remembered. true = it is left to the table: there
 * is no memory for it, or it comes after others for which there was none.
 * Another event, whose turn is later, may have to go for this one. An event
 * whose lifespan is over does not stand in that line.
 */
bool
evq_memory_leave_unread(EvqMemory *memory, const EvqChange *facts, EvqMet met, TimestampTz now)
{
	EvqTrackedFlow *flow = evq_memory_use_flow(memory, facts->flow_no);
	EvqTrackedGroup *group;
	EvqTracked *last;

	if (facts->due_at <= now && !is_full(memory, flow, 2 * (int64) evq_max_tracked))
		return false;
	group = use_limited_group(memory, flow, facts);
	if (group != NULL)
		return leave_unread_in_group(memory, group, facts, met == EVQ_MET_READING_ON_GROUP);
	if (!comes_before(met == EVQ_MET_READING_ON ? &flow->left.anew : &flow->left.unread, facts,
					  flow->line.step))
	{
		leave_to_table(&flow->left, facts, flow->line.step);
		return true;
	}
	if (!is_full(memory, flow, evq_max_tracked))
		return false;

	last = evq_memory_last_waiting(flow);
	if (last == NULL || evq_change_compare(facts, &last->facts, flow->line.step) > 0)
	{
		leave_to_table(&flow->left, facts, flow->line.step);
		return true;
	}
	if (last->group != NULL && evq_memory_is_limited(last->group))
		leave_to_group(memory, last->group, &last->facts);
	else
		leave_to_table(&flow->left, &last->facts, flow->line.step);
	evq_memory_drop(memory, last);
	return false;
}

/* May events of the flow that ought to be remembered be in the table alone? */
bool
evq_memory_is_unread(const EvqTrackedFlow *flow)
{
	return flow->left.unread.from.at < DT_NOEND;
}

/* The position before which no event of the flow is unread; infinity = none is. */
const EvqDuePosition *
evq_memory_unread_from(const EvqTrackedFlow *flow)
{
	return &flow->left.unread.from;
}

/* Is memory full of events whose turn is before that of all unread ones, from a position on? */
bool
evq_memory_is_full_of_first(const EvqMemory *memory, const EvqTrackedFlow *flow, const EvqDuePosition *from)
{
	const EvqTracked *last = evq_memory_last_waiting(flow);

	return is_full(memory, flow, evq_max_tracked) &&
		   (last == NULL || comes_before_rest(last, &flow->left.unread, from));
}

/* Is it time to read on? It begins when half of the memory is free again, and ends when none is. */
bool
evq_memory_wants_reading_on(const EvqMemory *memory, const EvqTrackedFlow *flow)
{
	return flow->left.is_reading_on ||
		   (evq_memory_is_unread(flow) && !is_full(memory, flow, evq_max_tracked / 2));
}

/* Reading on begins, and sets where from; does nothing where it is under way. */
void
evq_memory_begin_reading_on(EvqTrackedFlow *flow, EvqDuePosition *from)
{
	if (flow->left.is_reading_on)
		return;
	flow->left.is_reading_on = true;
	*from = flow->left.unread.from;
	leave_none(&flow->left.anew);
}

/* Reading on has come to its end, "from" if memory is full there: what was left unread meanwhile is all that is. */
void
evq_memory_end_reading_on(EvqMemory *memory, EvqTrackedFlow *flow, const EvqDuePosition *from)
{
	if (evq_memory_is_full_of_first(memory, flow, from))
		leave_from(&flow->left.anew, from, flow->left.unread.priority, flow->line.step);
	flow->left.unread = flow->left.anew;
	flow->left.is_reading_on = false;
}
