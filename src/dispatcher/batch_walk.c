/*
 * batch_walk.c
 *		Reading which batches are not done, a bounded number in a turn.
 *
 * A walk goes over the backlog of each flow in the order of the due index, the flows taking turns: so a long backlog in one
 * does not hide what is in the others. It begins at the earliest batch that the last one met there, less a margin, for what
 * is done leaves dead rows in front; a complete one begins at the very beginning.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "dispatcher/batch_walk.h"
#include "rules/uuid.h"
#include "session/config.h"

/* Batches that a walk meets in one turn, and of one flow at least. */
#define MET_AT_ONCE 200
#define MET_OF_FLOW 10

/* A walk goes back at least so far before the last one: transactions that commit late bring earlier batches. */
#define MARGIN (10 * USECS_PER_SEC)

/* Where the walk stands in a flow. */
typedef struct FlowWalk
{
	int32 flow_no; /* hash key */
	EvqDuePosition from;
	TimestampTz first_at; /* of the earliest that was met; infinite = none */
	bool is_done;
} FlowWalk;

struct EvqBatchWalk
{
	HTAB *flows; /* of FlowWalk */
	bool is_wanted;
	bool is_wanted_complete;
	bool is_under_way;
	bool is_complete;
	int first_flow; /* where the next turn begins */
};

/* A part of a walk. */
typedef struct Visit
{
	FlowWalk *flow;
	EvqMeetBatch meet;
	void *context;
	int left; /* so many may be met */
	EvqMet met;
} Visit;

/* Makes one that has not begun, in the current memory context; the first one is complete. */
EvqBatchWalk *
evq_batch_walk_create(void)
{
	EvqBatchWalk *walk = palloc0(sizeof(EvqBatchWalk));
	HASHCTL control = {.keysize = sizeof(int32), .entrysize = sizeof(FlowWalk), .hcxt = CurrentMemoryContext};

	walk->flows = hash_create("evq walks", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	walk->is_wanted = walk->is_wanted_complete = true;
	return walk;
}

/* Something may have been missed: another walk is to be made, after the one under way. */
void
evq_batch_walk_want(EvqBatchWalk *walk, bool completely)
{
	walk->is_wanted = true;
	walk->is_wanted_complete |= completely;
}

/* Is there something to read? */
bool
evq_batch_walk_is_wanted(const EvqBatchWalk *walk)
{
	return walk->is_wanted || walk->is_under_way;
}

/* Did the one that began last begin at the very beginning? */
bool
evq_batch_walk_is_complete(const EvqBatchWalk *walk)
{
	return walk->is_complete;
}

static FlowWalk *
use_flow(EvqBatchWalk *walk, int32 flow_no)
{
	bool found;
	FlowWalk *flow = hash_search(walk->flows, &flow_no, HASH_ENTER, &found);

	if (!found)
	{
		memset(flow, 0, sizeof(FlowWalk));
		flow->flow_no = flow_no;
		flow->first_at = DT_NOBEGIN;
	}
	return flow;
}

/* Begins a walk, unless one is under way; false = there is. */
bool
evq_batch_walk_begin(EvqBatchWalk *walk)
{
	int count;
	const EvqFlow *flows = evq_config_flows(&count);

	if (walk->is_under_way)
		return false;
	walk->is_complete = walk->is_wanted_complete;
	walk->is_wanted = walk->is_wanted_complete = false;
	walk->is_under_way = true;
	for (int i = 0; i < count; i++)
	{
		FlowWalk *flow = use_flow(walk, flows[i].flow_no);
		bool is_known = !walk->is_complete && !TIMESTAMP_NOT_FINITE(flow->first_at);

		flow->from = evq_due_position(is_known ? flow->first_at - MARGIN : DT_NOBEGIN);
		flow->first_at = DT_NOEND;
		flow->is_done = false;
	}
	return true;
}

static bool
meet(void *context, const EvqWaitingBatch *waiting)
{
	Visit *visit = context;
	FlowWalk *flow = visit->flow;

	flow->first_at = Min(flow->first_at, waiting->attempt_scheduled_at);
	visit->met = visit->meet(visit->context, flow->flow_no, waiting);
	if (visit->met == EVQ_MET_LATER)
		return true;
	/* The next one of this instant has a greater id than any event of this one. */
	flow->from.at = waiting->attempt_scheduled_at;
	flow->from.event_id = evq_uuid_in_batch(&waiting->batch_id, EVQ_UUID_BATCH_ROOM - 1);
	visit->left--;
	return visit->met == EVQ_MET_ENOUGH || visit->left == 0;
}

/* Goes on with a walk; true = it is over. */
bool
evq_batch_walk_go_on(EvqBatchWalk *walk, EvqStore *store, EvqMeetBatch tell, void *context)
{
	int count;
	const EvqFlow *flows = evq_config_flows(&count);
	int left = MET_AT_ONCE;
	bool is_over = true;

	if (!evq_batches_are_left(store))
		count = 0;
	for (int i = 0; i < count; i++)
	{
		FlowWalk *flow = use_flow(walk, flows[(walk->first_flow + i) % count].flow_no);
		Visit visit = {.flow = flow, .meet = tell, .context = context};
		int allowed;

		CHECK_FOR_INTERRUPTS();
		if (flow->is_done)
			continue;
		if (left <= 0)
		{
			is_over = false;
			continue;
		}
		allowed = visit.left = Max(left / 2, MET_OF_FLOW);
		evq_batches_walk(store, flow->flow_no, &flow->from, DT_NOEND, meet, &visit);
		left -= allowed - visit.left;
		flow->is_done = visit.met == EVQ_MET_ENOUGH || (visit.met == EVQ_MET && visit.left > 0);
		is_over &= flow->is_done;
	}
	if (count > 0)
		walk->first_flow = (walk->first_flow + 1) % count;
	walk->is_under_way = !is_over;
	return is_over;
}
