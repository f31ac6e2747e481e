/*
 * memory_groups.c
 *		Groups of events: how many of each are on their way, which of them comes next, and when the next one may begin.
 *
 * A group that has as many on their way as it may, or no token, is closed: its ready events stand in a line of its own,
 * and cost nothing until one of those has gone, or a token comes. The flow sees the first ready event of each open group,
 * and those of no group. Groups are known by a hash. Where two have the same one they are counted together, so no limit
 * is passed.
 *
 * A flow and a group have a bucket each, see rate.c. The dispatcher alone fills them: by its clock that nobody sets, from
 * its start on. Of a group that is not remembered nothing is known but that its bucket was not fuller than empty at
 * "buckets_from"; so one is forgotten when that makes no difference any more, or "buckets_from" is moved.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/guc.h"
#include "dispatcher/memory_internal.h"
#include "rules/retry.h"

#define NANOSECONDS 1000

/* Groups without an event whose buckets are looked at together, at least. */
#define LEAST_REAPED 1024

/* The clock of buckets, which nobody sets; nanoseconds. */
int64
evq_memory_bucket_clock(void)
{
	return evq_clock_monotonic() * NANOSECONDS;
}

/* A time of the clock of buckets by that of events; now: the present one. A moment later rather than earlier. */
TimestampTz
evq_memory_time_of_bucket(int64 at, TimestampTz now)
{
	return at == EVQ_RATE_NEVER
			   ? DT_NOEND
			   : evq_retry_add(now, Max(at - evq_memory_bucket_clock(), 0) / NANOSECONDS + 1);
}

/* ---------- lines ---------- */

/* The ready event of the group whose turn comes first; there is one. */
static EvqTracked *
first_of(const EvqTrackedGroup *group)
{
	return pairingheap_container(EvqTracked, ready_node, group->ready.ph_root);
}

/* Open groups are lined up by their first ready event; in a fair flow by their turns, and in a round by that. */
static int
compare_open(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const EvqTrackedFlow *flow = arg;
	const EvqTrackedGroup *group_a = pairingheap_const_container(EvqTrackedGroup, open_node, a);
	const EvqTrackedGroup *group_b = pairingheap_const_container(EvqTrackedGroup, open_node, b);

	if (flow->line.is_fair && group_a->next_turn != group_b->next_turn)
		return group_a->next_turn < group_b->next_turn ? 1 : -1;
	return evq_memory_compare(first_of(group_b), first_of(group_a));
}

static int
compare_refills(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	int64 at_a = pairingheap_const_container(EvqTrackedGroup, refill_node, a)->refill_at;
	int64 at_b = pairingheap_const_container(EvqTrackedGroup, refill_node, b)->refill_at;

	return at_a < at_b ? 1 : at_a > at_b ? -1 : 0;
}

/* Makes the table of groups, in the memory's context, which is the current one. */
void
evq_memory_groups_init(EvqMemory *memory)
{
	HASHCTL control = {.keysize = sizeof(EvqGroupId),
					   .entrysize = sizeof(EvqTrackedGroup),
					   .hcxt = memory->context};

	memory->groups = hash_create("evq tracked groups", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	memory->refills = pairingheap_allocate(compare_refills, NULL);
	memory->groups_resume_at = DT_NOEND;
	memory->buckets_from = evq_memory_bucket_clock();
	memory->reap_at = LEAST_REAPED;
}

/* Makes the line of a flow's open groups, in the memory's context, which is the current one. */
void
evq_memory_groups_init_flow(EvqTrackedFlow *flow)
{
	flow->open = pairingheap_allocate(compare_open, flow);
}

static bool
fill(EvqTrackedFlow *flow)
{
	return evq_bucket_fill(&flow->bucket, &flow->rate, evq_memory_given(flow), evq_memory_bucket_clock());
}

static bool
fill_group(EvqTrackedGroup *group)
{
	return evq_bucket_fill(&group->bucket, &group->limits.rate, group->on_offer, evq_memory_bucket_clock());
}

/* Is nothing of the group to be dispatched or acquired now? */
bool
evq_memory_is_group_paused(const EvqTrackedGroup *group)
{
	return !TIMESTAMP_IS_NOBEGIN(group->limits.paused_until) && group->limits.paused_until > evq_clock_now();
}

/* Has a group room for one more, and a token? Sets when the token comes for which it waits. */
static bool
may_go(EvqMemory *memory, EvqTrackedGroup *group, int64 *token_at)
{
	const EvqGroupLimits *limits = &group->limits;

	*token_at = EVQ_RATE_NEVER;
	if (evq_memory_is_group_paused(group))
	{
		memory->groups_resume_at = Min(memory->groups_resume_at, limits->paused_until);
		return false;
	}
	if (limits->max_processing > 0 && group->on_their_way >= limits->max_processing)
		return false;
	if (limits->rate.every == 0)
		return true;
	if (!evq_memory_keeps_offer(memory))
		return false;
	if (fill_group(group))
		return true;
	*token_at = evq_bucket_next_at(&group->bucket, &limits->rate, group->on_offer);
	return false;
}

/*
 * Puts a group in its place among the open ones, or among the closed ones: after each change of its first ready event, or
 * of what it has room for. One whose unread events are to be read is noted, too.
 */
void
evq_memory_place_group(EvqMemory *memory, EvqTrackedGroup *group)
{
	EvqTrackedFlow *flow = group->flow;
	bool has_ready = !pairingheap_is_empty(&group->ready);
	bool is_unread = evq_memory_is_group_unread(group);
	bool was_open = group->is_open;
	int64 token_at = EVQ_RATE_NEVER;
	bool may = false;

	if (group->is_open)
		pairingheap_remove(flow->open, &group->open_node);
	if (group->is_refilling)
		pairingheap_remove(memory->refills, &group->refill_node);
	if (group->is_hungry)
		dlist_delete(&group->hungry_node);
	flow->closed -= group->is_closed;
	if (has_ready || is_unread)
		may = may_go(memory, group, &token_at);
	group->is_open = has_ready && may;
	group->is_closed = (has_ready || is_unread) && !group->is_open;
	group->is_hungry = is_unread && may && evq_memory_is_group_hungry(memory, group);
	group->is_refilling = token_at != EVQ_RATE_NEVER;
	group->refill_at = token_at;
	flow->closed += group->is_closed;
	if (group->is_open && !was_open)
		evq_memory_enter_turns(group);
	if (group->is_open)
		pairingheap_add(flow->open, &group->open_node);
	if (group->is_refilling)
		pairingheap_add(memory->refills, &group->refill_node);
	if (group->is_hungry)
		dlist_push_tail(&memory->hungry, &group->hungry_node);
}

/* Lines up an event that is ready. */
void
evq_memory_line_up(EvqMemory *memory, EvqTracked *tracked)
{
	EvqTrackedGroup *group = tracked->group;

	if (group == NULL)
	{
		pairingheap_add(tracked->flow->ready, &tracked->ready_node);
		return;
	}
	pairingheap_add(&group->ready, &tracked->ready_node);
	if (!group->is_closed && first_of(group) == tracked)
		evq_memory_place_group(memory, group);
}

/* It leaves the line. */
void
evq_memory_leave_line(EvqMemory *memory, EvqTracked *tracked)
{
	EvqTrackedGroup *group = tracked->group;
	bool was_first;

	if (group == NULL)
	{
		pairingheap_remove(tracked->flow->ready, &tracked->ready_node);
		return;
	}
	was_first = first_of(group) == tracked;
	pairingheap_remove(&group->ready, &tracked->ready_node);
	if (was_first)
		evq_memory_place_group(memory, group);
}

/* The ready event of the flow whose turn comes first, of those that their group has room for; NULL = there is none. */
EvqTracked *
evq_memory_first_ready(const EvqTrackedFlow *flow)
{
	EvqTracked *alone = pairingheap_is_empty(flow->ready)
							? NULL
							: pairingheap_container(EvqTracked, ready_node, pairingheap_first(flow->ready));
	EvqTracked *grouped;

	if (pairingheap_is_empty(flow->open))
		return alone;
	grouped = first_of(pairingheap_container(EvqTrackedGroup, open_node, pairingheap_first(flow->open)));
	return alone != NULL && evq_memory_compare(alone, grouped) < 0 ? alone : grouped;
}

/* Do due events of the flow wait for room in their groups? */
bool
evq_memory_has_closed_groups(const EvqTrackedFlow *flow)
{
	return flow->closed > 0;
}

/* ---------- what is counted ---------- */

static bool
is_in_use(const EvqTrackedGroup *group)
{
	return group->tracked > 0 || evq_memory_is_group_unread(group);
}

static void
count_idle(EvqMemory *memory, EvqTrackedGroup *group, bool is_idle)
{
	memory->idle_groups += (int) is_idle - (int) group->is_idle;
	group->is_idle = is_idle;
}

static void
forget_group(EvqMemory *memory, EvqTrackedGroup *group)
{
	Assert(!group->is_open && !group->is_closed && !group->is_refilling && !group->is_hungry);
	count_idle(memory, group, false);
	if (group->key != NULL)
		pfree(group->key);
	hash_search(memory->groups, &group->id, HASH_REMOVE, NULL);
}

/* Forgets groups without an event whose buckets are full by now, and whose turn would be the next; if that is not enough, all of them: then no unknown one is fuller than empty now. */
static void
reap(EvqMemory *memory)
{
	int64 now = evq_memory_bucket_clock();
	bool all = false;

	do
	{
		HASH_SEQ_STATUS groups;
		EvqTrackedGroup *group;

		hash_seq_init(&groups, memory->groups);
		while ((group = hash_seq_search(&groups)) != NULL)
		{
			const EvqRate *rate = &group->limits.rate;

			if (!group->is_idle)
				continue;
			if (all || (evq_memory_is_behind_turns(group) &&
						(rate->every == 0 || (evq_bucket_is_full_since(rate, group->bucket.since, now) &&
											  evq_bucket_is_full_since(rate, memory->buckets_from, now)))))
				forget_group(memory, group);
		}
		if (all)
			memory->buckets_from = now;
		all = !all && memory->idle_groups > evq_max_tracked;
	} while (all);
	memory->reap_at = Max(LEAST_REAPED, 2 * memory->idle_groups);
}

/* A group, made where nothing is known of it. The caller has an event of it remembered, or noted as left to the table. */
EvqTrackedGroup *
evq_memory_use_group(EvqMemory *memory, EvqTrackedFlow *flow, uint64 group_hash)
{
	EvqGroupId id = {.hash = group_hash, .flow_no = flow->flow_no};
	bool found;
	EvqTrackedGroup *group = hash_search(memory->groups, &id, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) group + sizeof(id), 0, sizeof(*group) - sizeof(id));
		group->flow = flow;
		group->ready.ph_compare = flow->ready->ph_compare;
		evq_memory_unread_init_group(group);
		evq_config_limits_of_group(flow->flow_no, group_hash, &group->limits);
		evq_bucket_begin(&group->bucket, memory->buckets_from);
	}
	count_idle(memory, group, false);
	return group;
}

/* May an event of the group have to wait for others of it, or for the turns of others? So it is in a fair flow, but for events of no group. */
bool
evq_memory_is_limited(const EvqTrackedGroup *group)
{
	return (group->flow->line.is_fair && group->id.hash != 0) || group->limits.max_processing > 0 ||
		   group->limits.rate.every > 0 || !TIMESTAMP_IS_NOBEGIN(group->limits.paused_until);
}

/* One more event of a group is remembered. Returns the group; NULL = the event is of none. In a fair flow each is of one. */
EvqTrackedGroup *
evq_memory_join_group(EvqMemory *memory, EvqTrackedFlow *flow, uint64 group_hash)
{
	EvqTrackedGroup *group = NULL;

	if (group_hash != 0 || flow->line.is_fair)
		group = evq_memory_use_group(memory, flow, group_hash);

	if (group != NULL)
		group->tracked++;
	return group;
}

/* Nothing more may be known of a group than its bucket; or that is not worth knowing. */
static void
retire_group(EvqMemory *memory, EvqTrackedGroup *group)
{
	if (is_in_use(group))
		return;
	if (group->limits.rate.every == 0 && evq_memory_is_behind_turns(group))
		forget_group(memory, group);
	else
		count_idle(memory, group, true);
}

/* An event of a group is forgotten; it is in no line any more, and not counted. */
void
evq_memory_leave_group(EvqMemory *memory, EvqTrackedGroup *group)
{
	if (group == NULL || --group->tracked > 0)
		return;
	Assert(group->on_their_way == 0);
	retire_group(memory, group);
	if (memory->idle_groups >= memory->reap_at)
		reap(memory);
}

/* Nothing of a group is unread any more. */
void
evq_memory_forget_unread(EvqMemory *memory, EvqTrackedGroup *group)
{
	evq_memory_unread_init(&group->left);
	evq_memory_place_group(memory, group);
	retire_group(memory, group);
}

/* ... nor of any group of the flow; NULL = of all flows. */
void
evq_memory_forget_unread_groups(EvqMemory *memory, const EvqTrackedFlow *flow)
{
	HASH_SEQ_STATUS all;
	EvqTrackedGroup *group;

	hash_seq_init(&all, memory->groups);
	while ((group = hash_seq_search(&all)) != NULL)
	{
		if (evq_memory_is_group_unread(group) && (flow == NULL || group->flow == flow))
			evq_memory_forget_unread(memory, group);
	}
}

/*
 * So many more events are on their way in the group and in the flow of an event, which is in the state by which it counts.
 * Where it is one less, this comes before the counts of the flow are changed: see rate.c.
 */
void
evq_memory_count_in_group(EvqMemory *memory, EvqTracked *tracked, int change)
{
	EvqTrackedFlow *flow = tracked->flow;
	EvqTrackedGroup *group = tracked->group;
	bool is_on_offer = evq_memory_is_on_offer(tracked);

	if (flow->rate.every > 0 && change < 0 && is_on_offer)
		(void) fill(flow);
	if (group == NULL)
		return;
	if (group->limits.rate.every > 0 && change < 0 && is_on_offer)
		(void) fill_group(group);
	group->on_their_way += change;
	group->on_offer += is_on_offer ? change : 0;
	Assert(group->on_offer >= 0 && group->on_their_way >= group->on_offer);
	if (group->is_open || group->is_closed)
		evq_memory_place_group(memory, group);
}

/* A ready event is about to be given its turn. The buckets were full until now, if they were: that time does not count. */
void
evq_memory_take_tokens(EvqTracked *tracked)
{
	if (tracked->flow->rate.every > 0 && fill(tracked->flow))
		evq_bucket_take(&tracked->flow->bucket);
	if (tracked->group != NULL && tracked->group->limits.rate.every > 0 && fill_group(tracked->group))
		evq_bucket_take(&tracked->group->bucket);
}

/* Has the flow a token, or need none? Only the dispatcher has tokens. */
bool
evq_memory_has_token(const EvqMemory *memory, EvqTrackedFlow *flow)
{
	return flow->rate.every == 0 || (evq_memory_keeps_offer(memory) && fill(flow));
}

/* ---------- what the clock and the configuration change ---------- */

/* The groups that were paused until now go on. What was dispatched of them before is offered again when a sweep meets it. */
static void
resume_groups(EvqMemory *memory)
{
	HASH_SEQ_STATUS all;
	EvqTrackedGroup *group;

	memory->groups_resume_at = DT_NOEND;
	hash_seq_init(&all, memory->groups);
	while ((group = hash_seq_search(&all)) != NULL)
	{
		if (is_in_use(group) && !TIMESTAMP_IS_NOBEGIN(group->limits.paused_until))
			evq_memory_place_group(memory, group);
	}
	evq_memory_doubt(memory);
}

/* Opens the groups whose tokens have come, or whose pause is over. Returns when the next of these ends, or a token comes for which a flow waits. */
TimestampTz
evq_memory_refill(EvqMemory *memory, TimestampTz now)
{
	int64 present = evq_memory_bucket_clock();
	int64 next_at = EVQ_RATE_NEVER;
	ListCell *cell;

	if (memory->groups_resume_at <= now)
		resume_groups(memory);
	while (!pairingheap_is_empty(memory->refills))
	{
		EvqTrackedGroup *group = pairingheap_container(EvqTrackedGroup, refill_node,
													   pairingheap_first(memory->refills));

		next_at = group->refill_at;
		if (next_at > present)
			break;
		evq_memory_place_group(memory, group);
		next_at = EVQ_RATE_NEVER;
	}
	foreach(cell, memory->flow_list)
	{
		EvqTrackedFlow *flow = lfirst(cell);

		if (flow->rate.every > 0 && evq_memory_first_ready(flow) != NULL &&
			!evq_memory_has_token(memory, flow))
			next_at = Min(next_at, evq_bucket_next_at(&flow->bucket, &flow->rate, evq_memory_given(flow)));
	}
	return Min(evq_memory_time_of_bucket(next_at, now), memory->groups_resume_at);
}

static bool
is_same_rate(const EvqRate *a, const EvqRate *b)
{
	return a->every == b->every && a->burst == b->burst;
}

/* What the configuration says of the flow. With another rate its bucket is empty. */
void
evq_memory_read_flow(EvqMemory *memory, EvqTrackedFlow *flow)
{
	const EvqFlow *configured = evq_config_flow(flow->flow_no);
	EvqRate rate = {0};

	evq_memory_read_line(memory, flow);
	if (configured != NULL)
		rate = evq_config_rate(configured);
	if (!is_same_rate(&rate, &flow->rate))
		evq_bucket_begin(&flow->bucket, evq_memory_bucket_clock());
	flow->rate = rate;
}

/* The configuration has changed: what flows and groups may have is looked at anew. */
void
evq_memory_heed_limits(EvqMemory *memory)
{
	HASH_SEQ_STATUS all;
	EvqTrackedGroup *group;
	ListCell *cell;

	memory->groups_resume_at = DT_NOEND;
	foreach(cell, memory->flow_list)
		evq_memory_read_flow(memory, lfirst(cell));
	hash_seq_init(&all, memory->groups);
	while ((group = hash_seq_search(&all)) != NULL)
	{
		EvqRate before = group->limits.rate;

		evq_config_limits_of_group(group->id.flow_no, group->id.hash, &group->limits);
		if (!is_same_rate(&before, &group->limits.rate))
			evq_bucket_begin(&group->bucket, evq_memory_bucket_clock());
		if (is_in_use(group))
			evq_memory_place_group(memory, group);
	}
	/* Of groups that are not remembered nothing is known of the time before. */
	if (evq_config_rates_digest() != memory->rates_digest)
		memory->buckets_from = evq_memory_bucket_clock();
	memory->rates_digest = evq_config_rates_digest();
}
