/*
 * order.c
 *		Whose turn it is in a flow that is ordered or has limits of what is processed.
 *
 * The engine decides that, in its turn. A session does for the events of its
 * own transaction, which nobody else sees yet. They keep out of each other's
 * way by a lock, until the end of the transaction that took it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"

#include "session/config.h"
#include "session/order.h"
#include "session/pending.h"
#include "shared/change.h"
#include "tables/walk.h"

/* An advisory lock of a class that SQL cannot take, which has 1 and 2; one for each EVQ_FLOW_CLASS(): a turn takes as many as there are, at most. */
#define ORDER_LOCK_CLASS 0xE6
#define ORDER_LOCKS 64

static void
refuse_prepare(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE && evq_pending_gave_turn())
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot PREPARE a transaction that has acquired events of its own"),
						errdetail("In their flow, which is ordered or has a limit, nobody else could "
								  "be given a turn until COMMIT PREPARED."),
						errhint("Acquire them after the commit.")));
}

/* Sees to it that a transaction that gave turns cannot be prepared. Called by _PG_init(). */
void
evq_order_init(void)
{
	RegisterXactCallback(refuse_prepare, NULL);
}

static bool
lock_order(int32 flow_no, bool wait)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, flow_no % ORDER_LOCKS, ORDER_LOCK_CLASS);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Takes the right to decide whose turn it is in the flow, until the end of the
 * transaction, for a session, which waits for it. What others have decided is
 * committed then, and seen by a new snapshot. The transaction cannot be prepared.
 */
void
evq_order_lock(int32 flow_no)
{
	evq_pending_turn_given();
	(void) lock_order(flow_no, true);
}

/*
 * The same for a turn of the engine, which waits for nobody; false = somebody has it.
 * Whoever had it has told the dispatcher before what was decided.
 */
bool
evq_order_try_lock(int32 flow_no)
{
	return lock_order(flow_no, false);
}

/* Reads the oldest live event of a flow_id of an ordered flow, with strings that the next walk may overwrite; false = there is none. */
bool
evq_order_front(EvqStore *store, int32 flow_no, const char *flow_id, EvqEvent *front)
{
	bool found;

	evq_walk_flow_id(store, flow_no, flow_id);
	found = evq_walk_next(store, front);
	evq_walk_end(store);
	return found;
}

static bool
is_on_its_way(const EvqEvent *event)
{
	return event->state != EVQ_STATE_AWAITING_PROCESSING && event->state != EVQ_STATE_NONE;
}

/* Is it the oldest of its flow_id, and none of that on its way? */
static bool
is_its_turn(EvqStore *store, const EvqEvent *event)
{
	EvqEvent other;
	bool is_first = true;
	bool may_go = true;

	evq_walk_flow_id(store, event->flow_no, event->flow_id);
	while (may_go && evq_walk_next(store, &other))
	{
		CHECK_FOR_INTERRUPTS();
		if (is_first)
			may_go = memcmp(&other.event_id, &event->event_id, sizeof(pg_uuid_t)) == 0;
		else
			may_go = !is_on_its_way(&other);
		is_first = false;
	}
	evq_walk_end(store);
	return may_go;
}

/* Are fewer of the flow on their way than may be? group_hash: of this group; 0 = of any. */
static bool
has_room(EvqStore *store, const EvqFlow *flow, uint64 group_hash, int most)
{
	EvqDuePosition from = evq_due_position(DT_NOBEGIN);
	int on_their_way = 0;
	EvqEvent event;

	if (most == 0)
		return true;
	evq_walk_due(store, flow->flow_no, &from);
	while (on_their_way < most &&
		   (group_hash == 0 ? evq_walk_next_briefly(store, &event) : evq_walk_next(store, &event)))
	{
		CHECK_FOR_INTERRUPTS();
		if (event.state != EVQ_STATE_DISPATCHED && event.state != EVQ_STATE_BEING_PROCESSED)
			continue;
		on_their_way += group_hash == 0 ||
						(event.group_key != NULL && evq_change_group_hash(event.group_key) == group_hash);
	}
	evq_walk_end(store);
	return on_their_way < most;
}

/* The same of the event's group. */
static bool
has_room_in_group(EvqStore *store, const EvqFlow *flow, const EvqEvent *event)
{
	EvqGroupLimits limits;
	uint64 group_hash;

	if (event->group_key == NULL || flow->max_processing_per_group == 0)
		return true;
	group_hash = evq_change_group_hash(event->group_key);
	evq_config_use_groups();
	evq_config_limits_of_group(flow->flow_no, group_hash, &limits);
	return has_room(store, flow, group_hash, limits.max_processing);
}

static bool
has_named_limits(const EvqEvent *event)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);

	return event_type != NULL && event_type->limit_count > 0;
}

/*
 * May this event, which waits and is due, be dispatched now, by the tables alone? They do not tell how many events began
 * lately: where that is limited only the dispatcher knows. So does it of limits that flows share, for the lock is of one
 * flow. The caller has the lock of evq_order_lock().
 */
bool
evq_order_may_go(EvqStore *store, const EvqFlow *flow, const EvqEvent *event)
{
	return !evq_flow_has_rate(flow) && !has_named_limits(event) &&
		   (!event->ordered || is_its_turn(store, event)) && has_room(store, flow, 0, flow->max_processing) &&
		   has_room_in_group(store, flow, event);
}
