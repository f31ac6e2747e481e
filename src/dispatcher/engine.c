/*
 * engine.c
 *		The turn: what is due is timed out, expired or dispatched.
 *
 * Only one turn runs at a time in a database, whether in the dispatcher or in
 * evq_tick(): a transaction-level lock sees to that. So order within a flow_id
 * and the limits of a flow are kept by one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/async.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/guc.h"
#include "base/trace.h"
#include "dispatcher/engine.h"
#include "dispatcher/message.h"
#include "dispatcher/sweep.h"
#include "dispatcher/watch.h"
#include "rules/uuid.h"
#include "session/lifecycle.h"
#include "session/order.h"
#include "session/pending.h"
#include "tables/events.h"

/* How long to put off an event that cannot be processed, doubling from the one to the other, and to be careful after that. */
#define FIRST_PUT_OFF USECS_PER_SEC
#define SHORTEST_LONGEST_PUT_OFF USECS_PER_SEC
#define LONGEST_PUT_OFF USECS_PER_MINUTE
#define CAREFUL_TIME (10 * USECS_PER_MINUTE)

/* So many events that are put off are logged a minute. */
#define LOGGED_A_MINUTE 10

/* When to look again at a row that somebody else is changing. */
#define BUSY_DELAY (USECS_PER_SEC / 10)

/*
 * A push flow with so many events ready, out of whose offers workers have taken
 * some within this time, is drained; for so long an event is on offer there
 * before it is dispatched after all.
 */
#define DRAIN_BACKLOG 100
#define DRAIN_FRESH (USECS_PER_SEC / 20)
#define DRAIN_TIMEOUT USECS_PER_SEC

/* Above this share of the notification queue nothing is notified: offers time out and are repeated. */
#define MAX_QUEUE_USAGE 0.9

/* So many changes are taken out of the ring under one lock. */
#define HEARD_AT_ONCE 512

/* How often to try for the lock of NOTIFY, a millisecond apart. */
#define NOTIFY_TRIES 50

/* The turn's lock is an advisory one of a class that SQL cannot take. */
#define TURN_LOCK_CLASS 0xE5

struct EvqEngine
{
	MemoryContext context;
	MemoryContext turn_context;
	MemoryContext event_context; /* what one event needs, which may be several times its payload */
	EvqLive *live;
	EvqSweeper *sweeper;
	EvqWatch *watch;
	int64 careful_until; /* by the monotonic clock; see act_on() */
	uint32 first_flow;   /* where the last turn began to dispatch */
	uint64 configuration_seen;
	uint64 locked_first; /* see lock_orders_before_reading() */
};

/* What the engine knows of a flow to dispatch its events. */
typedef struct EvqFlowDispatch
{
	uint64 taken;           /* by workers, out of what is on offer */
	TimestampTz taken_at;   /* when that was last seen to grow */
	TimestampTz held_until; /* a session decides whose turn it is, until then at least; 0 = none */
	bool is_order_locked;   /* ... and in this turn we do; see order.h */
} EvqFlowDispatch;

/* Makes it, when there is something to dispatch for the first time. */
static void
use_flow_dispatch(EvqEngine *engine, EvqTrackedFlow *flow)
{
	if (flow->dispatch == NULL)
		flow->dispatch = MemoryContextAllocZero(engine->context, sizeof(EvqFlowDispatch));
}

EvqEngine *
evq_engine_create(EvqSlot *slot)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "evq engine", ALLOCSET_DEFAULT_SIZES);
	EvqEngine *engine = MemoryContextAllocZero(context, sizeof(EvqEngine));

	engine->context = context;
	engine->turn_context = AllocSetContextCreate(context, "evq turn", ALLOCSET_DEFAULT_SIZES);
	engine->event_context = AllocSetContextCreate(context, "evq event", ALLOCSET_DEFAULT_SIZES);
	engine->live = evq_live_create(context, slot);
	engine->sweeper = evq_sweep_create(engine->live);
	engine->watch = evq_watch_create(context);
	return engine;
}

void
evq_engine_destroy(EvqEngine *engine)
{
	MemoryContextDelete(engine->context);
}

/* Nothing that was told can be relied on: all live events are looked at. */
void
evq_engine_want_sweep(EvqEngine *engine)
{
	evq_live_want_sweep(engine->live);
}

/* The last turn failed: the next ones are to keep the events apart. */
void
evq_engine_be_careful(EvqEngine *engine)
{
	engine->careful_until = evq_clock_monotonic() + CAREFUL_TIME;
}

/* Has a sweep begun that needs further turns? */
bool
evq_engine_is_sweeping(const EvqEngine *engine)
{
	return evq_sweep_is_under_way(engine->sweeper);
}

/* Has it read what comes first in each flow? */
bool
evq_engine_has_read(const EvqEngine *engine)
{
	return evq_sweep_has_read(engine->sweeper);
}

static void
absorb(EvqEngine *engine, const EvqChange *changes, int count, TimestampTz now)
{
	EvqLive *live = engine->live;

	for (int i = 0; i < count; i++)
	{
		if (!changes[i].is_returned && evq_live_keeps_offer(live) && evq_shmem_is_watched(live->slot))
			evq_watch_note(engine->watch, &changes[i]);
		if (!changes[i].is_own)
			evq_live_absorb(live, &changes[i], now);
	}
}

/* Takes in all that sessions have told the dispatcher; false = they told more than there was room for. */
bool
evq_engine_hear(EvqEngine *engine, TimestampTz now)
{
	EvqSlot *slot = engine->live->slot;
	EvqChange changes[HEARD_AT_ONCE];
	bool heard_all = true;
	bool overflowed;
	int heard = 0;
	int count;

	do
	{
		count = evq_ring_pop(slot->ring, changes, HEARD_AT_ONCE, &overflowed);
		heard += count;
		if (overflowed)
		{
			heard_all = false;
			evq_engine_want_sweep(engine);
			if (evq_shmem_is_watched(slot))
				evq_watch_note_lost(engine->watch);
		}
		absorb(engine, changes, count, now);
	} while (count == HEARD_AT_ONCE);
	if (heard > 0 || !heard_all)
		EVQ_TRACE(DEBUG1, "evq: heard of %d changes%s", heard,
				  heard_all ? "" : "; others were lost for want of room, so the tables are read");
	return heard_all;
}

/* ---------- one event ---------- */

/* Says what became of an event. */
static void
trace_event(const pg_uuid_t *event_id, const char *what)
{
	char id[EVQ_UUID_TEXT_SIZE];

	if (EVQ_TRACES(DEBUG2))
		EVQ_TRACE(DEBUG2, "evq: event %s: %s", evq_uuid_text(event_id, id), what);
}

typedef struct Message
{
	char *channel;
	char *text;
} Message;

/* A flow_id in which another event than one that is ready has its turn. */
typedef struct Blocked
{
	uint64 hash; /* of flow and flow_id, the key */
	pg_uuid_t front;
} Blocked;

/* What one turn works with. */
typedef struct Work
{
	EvqEngine *engine;
	EvqStore *store;
	TimestampTz now;
	bool notify;    /* there is room for notifications */
	bool drained;   /* the flow whose events are being dispatched: see is_drained() */
	HTAB *blocked;  /* of Blocked, NULL = none */
	int parked;     /* ready events that cannot go, which cost next to nothing */
	List *messages; /* of Message, to notify at the end; all in the turn's context */
	EvqTurn *turn;
} Work;

/* Is it an error that comes of the server's state, a lock or a full disk say, and not of the event? It may be gone any moment. */
static bool
is_transient_error(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK):
		case ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES):
		case ERRCODE_TO_CATEGORY(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE):
		case ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION):
		case ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR):
			return true;
		default:
			return false;
	}
}

/* What is transient keeps an event waiting no longer than a wake-up that was lost. */
static void
put_off(Work *work, EvqTracked *tracked, bool is_transient)
{
	int64 longest = is_transient ? Max(SHORTEST_LONGEST_PUT_OFF, (int64) evq_poll_interval * 1000)
								 : LONGEST_PUT_OFF;
	int64 pause = Min(FIRST_PUT_OFF << Min(tracked->put_offs, 10), Min(longest, LONGEST_PUT_OFF));

	tracked->put_offs++;
	evq_track_set(work->engine->live->track, tracked,
				  tracked->state == EVQ_TRACK_READY ? EVQ_TRACK_WAITING : tracked->state, work->now + pause);
}

/* Tells of a few a minute: a disk that is full, say, stops all events, and must not be filled with this. */
static void
log_put_off(const pg_uuid_t *event_id, const char *message)
{
	static int64 minute_began_at;
	static int logged;
	static int withheld;
	char id[EVQ_UUID_TEXT_SIZE];

	if (evq_clock_once_a_minute(&minute_began_at))
		logged = 0;
	if (logged++ >= LOGGED_A_MINUTE)
	{
		withheld++;
		return;
	}
	ereport(LOG, (errmsg("evq: event %s could not be processed and is put off: %s",
						 evq_uuid_text(event_id, id), message),
				  withheld > 0 ? errdetail("So were %d others that were not logged.", withheld) : 0));
	withheld = 0;
}

/* evq_tick() may be called in a transaction that keeps a snapshot; a turn goes by what is there now. */
static EvqStore *
open_store(void)
{
	EvqStore *store = evq_store_open("evq_tick()");

	evq_store_see_present(store, true);
	return store;
}

/*
 * Does something about one event in a subtransaction: one that cannot be
 * processed, say because its payload is damaged, is put off and does not stop
 * the others.
 */
static void
act_carefully(Work *work, EvqTracked *tracked, void (*act)(Work *, EvqTracked *))
{
	EvqEngine *engine = work->engine;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	EvqStore *store = work->store;
	pg_uuid_t event_id = tracked->event_id;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work->store = open_store();
		act(work, tracked);
		evq_store_close(work->store);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;
		bool is_transient;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		is_transient = is_transient_error(error->sqlerrcode);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		log_put_off(&event_id, error->message);
		FreeErrorData(error);
		engine->careful_until = evq_clock_monotonic() + CAREFUL_TIME;
		tracked = evq_track_find(engine->live->track, &event_id);
		if (tracked != NULL)
			put_off(work, tracked, is_transient);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	work->store = store;
}

/* Does something about one event; carefully for a while after a turn that failed. */
static void
act_on(Work *work, EvqTracked *tracked, void (*act)(Work *, EvqTracked *))
{
	EvqEngine *engine = work->engine;
	MemoryContext previous = MemoryContextSwitchTo(engine->event_context);

	if (evq_clock_monotonic() < engine->careful_until)
		act_carefully(work, tracked, act);
	else
		act(work, tracked);
	MemoryContextSwitchTo(previous);
	MemoryContextReset(engine->event_context);
}

/* ---------- timers ---------- */

/* Looks at an event whose timer has come and does what the clock asks. */
static void
fire(Work *work, EvqTracked *tracked)
{
	EvqEngine *engine = work->engine;
	TimestampTz now = work->now;
	EvqEvent event;
	EvqChange facts;

	if (tracked->state == EVQ_TRACK_WAITING && tracked->facts.at <= now && tracked->facts.due_at > now)
	{
		evq_track_set(engine->live->track, tracked, EVQ_TRACK_READY, tracked->facts.due_at);
		return;
	}

	switch (evq_lifecycle_settle(work->store, now, &tracked->event_id, &event))
	{
		case EVQ_SETTLED_GONE:
			evq_live_forget(engine->live, tracked);
			return;
		case EVQ_SETTLED_BUSY:
			evq_track_set(engine->live->track, tracked,
						  tracked->state == EVQ_TRACK_READY ? EVQ_TRACK_WAITING : tracked->state,
						  now + BUSY_DELAY);
			return;
		case EVQ_SETTLED_TIMED_OUT:
			work->turn->timed_out++;
			trace_event(&event.event_id, "timed out");
			break;
		case EVQ_SETTLED_EXPIRED:
			work->turn->expired++;
			trace_event(&event.event_id, "expired");
			break;
		case EVQ_SETTLED_NOTHING:
			break;
	}

	if (event.state == EVQ_STATE_NONE)
	{
		evq_track_remove(engine->live->track, tracked);
		return;
	}
	evq_change_from_event(&facts, &event);
	tracked = evq_live_remember(engine->live, &facts, now);
	if (tracked != NULL && tracked->timer_at <= now)
		evq_track_set(engine->live->track, tracked, tracked->state, now + BUSY_DELAY);
}

static void
fire_timers(Work *work)
{
	for (int i = 0; i < evq_dispatch_batch; i++)
	{
		EvqTracked *tracked = evq_track_first_timer(work->engine->live->track);

		CHECK_FOR_INTERRUPTS();
		if (tracked == NULL || tracked->timer_at > work->now)
			break;
		act_on(work, tracked, fire);
	}
}

/* ---------- order within a flow_id ---------- */

/* A ready event that cannot go yet goes back to the table. */
static void
park(Work *work, EvqTracked *tracked)
{
	trace_event(&tracked->event_id, "cannot go yet, and stays in the table");
	evq_live_park(work->engine->live, evq_live_is_type_suspended(tracked->facts.event_type_no));
	evq_track_remove(work->engine->live->track, tracked);
	work->parked++;
}

static uint64
blocked_key(const EvqChange *facts)
{
	return hash_combine64(facts->flow_id_hash, (uint64) facts->flow_no);
}

/* Until the end of the turn, no other event of its flow_id can go than the one in front. */
static void
block(Work *work, const EvqTracked *tracked, const EvqEvent *front)
{
	uint64 key = blocked_key(&tracked->facts);
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

/* Is an event of the same flow_id on its way, or known to come first? Without looking at the table. */
static bool
is_held_back(const Work *work, const EvqTracked *tracked)
{
	const EvqChange *facts = &tracked->facts;
	uint64 key = blocked_key(facts);
	const Blocked *blocked;

	if (evq_track_is_flow_id_busy(work->engine->live->track, facts->flow_no, facts->flow_id_hash))
		return true;
	if (work->blocked == NULL)
		return false;
	blocked = hash_search(work->blocked, &key, HASH_FIND, NULL);
	return blocked != NULL && memcmp(&blocked->front, &tracked->event_id, sizeof(pg_uuid_t)) != 0;
}

/* Is it this ready event's turn? If not, it goes back to the table and the one in front is remembered. */
static bool
is_in_front(Work *work, EvqTracked *tracked, const EvqEvent *event)
{
	EvqEvent front;

	if (!evq_order_front(work->store, event->flow_no, event->flow_id, &front) ||
		memcmp(&front.event_id, &event->event_id, sizeof(pg_uuid_t)) == 0)
		return true;
	block(work, tracked, &front);
	park(work, tracked);
	evq_live_see(work->engine->live, &front, work->now);
	return false;
}

static void
follow_successors(EvqEngine *engine, EvqStore *store, TimestampTz now)
{
	List *successors = engine->live->successors;
	ListCell *cell;

	engine->live->successors = NIL;
	foreach(cell, successors)
	{
		EvqSuccessor *successor = lfirst(cell);
		EvqEvent front;

		CHECK_FOR_INTERRUPTS();
		if (evq_order_front(store, successor->flow_no, successor->flow_id, &front))
			evq_live_see(engine->live, &front, now);
		pfree(successor->flow_id);
	}
	list_free_deep(successors);
}

/* ---------- dispatch ---------- */

static void
warn_not_notified(const char *problem, const char *hint)
{
	static int64 warned_at;

	if (!evq_clock_once_a_minute(&warned_at))
		return;
	ereport(WARNING,
			(errmsg("evq: workers are not notified: %s", problem),
			 errdetail("They can poll with evq_acquire_next(); what nobody acquires is offered again."),
			 errhint("%s", hint)));
}

/* Is there room for notifications? A listener that does not read can fill the queue. */
static bool
can_notify(void)
{
	if (DatumGetFloat8(OidFunctionCall0(F_PG_NOTIFICATION_QUEUE_USAGE)) < MAX_QUEUE_USAGE)
		return true;
	warn_not_notified("the notification queue is almost full",
					  "End the session that listens without reading.");
	return false;
}

static void
add_message(Work *work, const char *channel, const char *text)
{
	MemoryContext previous = MemoryContextSwitchTo(work->engine->turn_context);
	Message *message = palloc(sizeof(Message));

	message->channel = pstrdup(channel);
	message->text = pstrdup(text);
	work->messages = lappend(work->messages, message);
	MemoryContextSwitchTo(previous);
}

/*
 * Do workers come for the backlog of this push flow by themselves? Then its
 * events are put on offer as those of a pull flow, for to mark and to notify
 * each of them would only keep the workers waiting.
 */
static bool
is_drained(Work *work, EvqTrackedFlow *tracked_flow, const EvqFlow *flow)
{
	uint64 taken;

	if (flow->pull || evq_flow_is_regulated(flow) || !evq_live_keeps_offer(work->engine->live) ||
		tracked_flow->count[EVQ_TRACK_READY] < DRAIN_BACKLOG)
		return false;
	taken = evq_offers_taken(work->engine->live->slot->offers, flow->flow_no);
	if (taken != tracked_flow->dispatch->taken)
		tracked_flow->dispatch->taken_at = work->now;
	tracked_flow->dispatch->taken = taken;
	return work->now - tracked_flow->dispatch->taken_at < DRAIN_FRESH;
}

/* Offers an event without a dispatch; false = its flow can have no offer. */
static bool
offer_ready(Work *work, EvqTracked *tracked, const EvqFlow *flow)
{
	EvqEngine *engine = work->engine;
	bool was_empty;

	if (!evq_live_offer(engine->live, &tracked->facts, &was_empty))
		return false;
	/* One wake-up when work comes, and again when nobody came for it. */
	if (flow->pull && (was_empty || tracked->offered_before))
		tracked->flow->tell_ready = true;
	trace_event(&tracked->event_id, "offered");
	tracked->offered_before = true;
	evq_track_set(engine->live->track, tracked, EVQ_TRACK_OFFERED,
				  Min(evq_retry_add(work->now, flow->pull ? flow->dispatch_timeout : DRAIN_TIMEOUT),
					  tracked->facts.due_at));
	work->turn->dispatched++;
	return true;
}

/* Offers or dispatches the first ready event of a flow, or puts it where it belongs. */
static void
dispatch_ready(Work *work, EvqTracked *tracked)
{
	EvqEngine *engine = work->engine;
	const EvqFlow *flow = evq_config_flow(tracked->facts.flow_no);
	EvqEvent event;
	EvqChange facts;

	if (evq_live_is_type_suspended(tracked->facts.event_type_no) ||
		(tracked->facts.ordered && is_held_back(work, tracked)))
	{
		park(work, tracked);
		return;
	}
	if (!tracked->facts.ordered && !evq_flow_is_regulated(flow) &&
		(flow->pull || (work->drained && !tracked->offered_before)) && offer_ready(work, tracked, flow))
		return;

	evq_events_hint(&tracked->event_id, &tracked->facts.tid);
	if (!evq_events_fetch(work->store, &tracked->event_id, &event))
	{
		evq_live_forget(engine->live, tracked);
		return;
	}
	if (event.state == EVQ_STATE_NONE)
	{
		evq_track_remove(engine->live->track, tracked);
		return;
	}
	if (event.state != EVQ_STATE_AWAITING_PROCESSING || event.attempt_scheduled_at > work->now ||
		event.due_at <= work->now)
	{
		evq_change_from_event(&facts, &event);
		tracked = evq_live_remember(engine->live, &facts, work->now);
		if (tracked != NULL && event.due_at <= work->now)
			evq_track_set(engine->live->track, tracked, EVQ_TRACK_WAITING, work->now);
		return;
	}
	if (event.ordered)
	{
		if (!is_in_front(work, tracked, &event))
			return;
		evq_track_set_flow_id(engine->live->track, tracked, event.flow_id);
	}

	if (!evq_lifecycle_dispatch(work->store, work->now, &event, flow->dispatch_timeout))
	{
		evq_track_set(engine->live->track, tracked, EVQ_TRACK_WAITING, work->now + BUSY_DELAY);
		return;
	}
	trace_event(&event.event_id, "dispatched");
	evq_track_set(engine->live->track, tracked, EVQ_TRACK_DISPATCHED, event.state_due_at);
	if (flow->pull && evq_live_keeps_offer(engine->live))
		tracked->flow->tell_ready = true;
	else if (work->notify)
		add_message(work, flow->channel, evq_message_dispatched(work->store, &event, work->now));
	work->turn->dispatched++;
}

/* Sends what this turn has to say. The lock of NOTIFY, which one may hold for long, is not waited for. */
static void
notify(EvqEngine *engine, List *messages)
{
	LOCKTAG tag;
	bool locked = !evq_live_keeps_offer(engine->live);
	ListCell *cell;

	/* Any session that waits for a synchronous standby in the commit of a NOTIFY keeps it: see async.c. */
	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, InvalidOid, 0);
	for (int i = 0; i < NOTIFY_TRIES && !locked; i++)
	{
		locked = LockAcquire(&tag, AccessExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
		if (!locked)
			pg_usleep(1000);
	}
	if (!locked)
	{
		warn_not_notified("another session holds the lock of NOTIFY",
						  "It may wait for a synchronous standby; see pg_locks and pg_stat_activity.");
		return;
	}
	foreach(cell, messages)
	{
		Message *message = lfirst(cell);

		Async_Notify(message->channel, message->text);
	}
}

/*
 * May order and limit of the flow be kept in this turn? Not before the first
 * complete sweep, and not while a session gives turns to its own events, which
 * it does as long as its transaction lasts. Nor where evq_tick() could not take
 * the lock before it read the tables.
 */
static bool
lock_order(Work *work, EvqTrackedFlow *flow)
{
	EvqLive *live = work->engine->live;

	if (!evq_sweep_has_seen_all(work->engine->sweeper) || flow->dispatch->held_until != 0)
		return false;
	if ((evq_live_keeps_offer(live) || (work->engine->locked_first & EVQ_FLOW_CLASS(flow->flow_no)) != 0) &&
		evq_order_try_lock(flow->flow_no))
		return true;
	flow->dispatch->held_until = work->now + BUSY_DELAY;
	return false;
}

/*
 * Takes the locks of the flows that are to be regulated in this turn, hears what
 * sessions that had them have told, and takes a snapshot that sees it.
 */
static void
lock_orders(Work *work)
{
	bool any = false;
	ListCell *cell;

	foreach(cell, evq_track_flows(work->engine->live->track))
	{
		EvqTrackedFlow *tracked_flow = lfirst(cell);
		const EvqFlow *flow = evq_config_flow(tracked_flow->flow_no);

		use_flow_dispatch(work->engine, tracked_flow);
		tracked_flow->dispatch->is_order_locked = flow != NULL && evq_flow_is_regulated(flow) &&
												  tracked_flow->count[EVQ_TRACK_READY] > 0 &&
												  lock_order(work, tracked_flow);
		any |= tracked_flow->dispatch->is_order_locked;
	}
	if (!any)
		return;
	if (evq_live_keeps_offer(work->engine->live) && !evq_engine_hear(work->engine, work->now))
	{
		/* What they decided may be among what was lost, which the next turn reads first. */
		foreach(cell, evq_track_flows(work->engine->live->track))
		{
			EvqTrackedFlow *tracked_flow = lfirst(cell);

			use_flow_dispatch(work->engine, tracked_flow);
			tracked_flow->dispatch->is_order_locked = false;
		}
	}
	evq_store_refresh(work->store);
}

/*
 * For evq_tick(), which nobody tells what others decide: it takes the locks that
 * it may need before it reads the tables. Returns the classes of flows of which
 * it has them.
 */
static uint64
lock_orders_before_reading(void)
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

/*
 * Dispatches what the flows have room for, a batch at most. Each flow has its
 * share of the batch, and each turn begins with another flow.
 */
static void
dispatch_flows(Work *work)
{
	EvqEngine *engine = work->engine;
	List *flows;
	int with_ready = 0;
	int share;

	lock_orders(work);
	flows = evq_track_flows(engine->live->track);
	for (int i = 0; i < list_length(flows); i++)
	{
		if (((EvqTrackedFlow *) list_nth(flows, i))->count[EVQ_TRACK_READY] > 0)
			with_ready++;
	}
	if (with_ready == 0)
		return;
	share = Max(evq_dispatch_batch / with_ready, 1);

	engine->first_flow++;
	for (int i = 0; i < list_length(flows); i++)
	{
		EvqTrackedFlow *tracked_flow = list_nth(flows, (engine->first_flow + i) % list_length(flows));
		const EvqFlow *flow = evq_config_flow(tracked_flow->flow_no);
		EvqTracked *tracked;

		/* What was heard of while the locks were taken may be of a flow that is new here. */
		use_flow_dispatch(engine, tracked_flow);
		if (flow == NULL || (evq_flow_is_regulated(flow) && !tracked_flow->dispatch->is_order_locked))
			continue;
		tracked_flow->max_dispatched = flow->max_dispatched;
		tracked_flow->max_processing = flow->max_processing;
		work->drained = is_drained(work, tracked_flow, flow);
		for (int n = 0; n < share && evq_track_has_room(tracked_flow) &&
						(tracked = evq_track_first_ready(tracked_flow)) != NULL;)
		{
			int parked = work->parked;

			CHECK_FOR_INTERRUPTS();
			act_on(work, tracked, dispatch_ready);
			n += work->parked == parked;
		}
	}
}

/* Tells the listeners of the flows in which events were put on offer. */
static void
tell_ready(Work *work)
{
	ListCell *cell;

	foreach(cell, evq_track_flows(work->engine->live->track))
	{
		EvqTrackedFlow *tracked_flow = lfirst(cell);
		const EvqFlow *flow = evq_config_flow(tracked_flow->flow_no);

		if (tracked_flow->tell_ready && flow != NULL && work->notify)
			add_message(work, flow->channel, evq_message_ready(flow));
		tracked_flow->tell_ready = false;
	}
}

static void
tell_watchers(Work *work)
{
	ListCell *cell;

	foreach(cell, evq_watch_tell(work->engine->watch, work->store, work->now))
	{
		if (work->notify)
			add_message(work, EVQ_WATCH_CHANNEL, lfirst(cell));
	}
}

/* ---------- the turn ---------- */

static bool turn_taken; /* by this transaction */

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE && turn_taken)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot PREPARE a transaction that has called evq_tick()"),
						errhint("It would keep the engine from its next turn.")));
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		turn_taken = false;
}

void
evq_engine_init(void)
{
	RegisterXactCallback(at_end_of_transaction, NULL);
}

static bool
lock_turn(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, TURN_LOCK_CLASS);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	turn_taken = true;
	return true;
}

static bool
has_ready(const EvqTrackedFlow *flow)
{
	return flow->count[EVQ_TRACK_READY] > 0 && (flow->dispatch == NULL || flow->dispatch->held_until == 0) &&
		   evq_track_has_room(flow);
}

/* Forgets who held flows when it is time to try again; returns when that will be, of the others. */
static TimestampTz
try_held_flows(const EvqLive *live, TimestampTz now)
{
	TimestampTz next_at = DT_NOEND;
	ListCell *cell;

	foreach(cell, evq_track_flows(live->track))
	{
		EvqTrackedFlow *flow = lfirst(cell);

		if (flow->dispatch == NULL)
			continue;
		/* The clock may have been set back. */
		if (flow->dispatch->held_until <= now || flow->dispatch->held_until > now + BUSY_DELAY)
			flow->dispatch->held_until = 0;
		if (flow->dispatch->held_until != 0)
			next_at = Min(next_at, flow->dispatch->held_until);
	}
	return next_at;
}

/* Do ready events of the flow wait for room? */
static bool
is_blocked(const EvqTrackedFlow *flow)
{
	return flow->count[EVQ_TRACK_READY] > 0 && !evq_track_has_room(flow);
}

static bool
must_tell_ready(const EvqTrackedFlow *flow)
{
	return flow->tell_ready;
}

/* Does a flow wait for room, so that every change matters? */
bool
evq_engine_is_blocked(const EvqEngine *engine)
{
	return evq_live_any_flow(engine->live, is_blocked);
}

/* The classes of flows in which it is so of every flow that counts. pull_only: only pull flows do. */
static uint64
classes_of_flows(const EvqEngine *engine, bool pull_only, bool (*is_so)(const EvqTrackedFlow *))
{
	uint64 classes = 0;
	uint64 others = 0;
	int flow_count;
	const EvqFlow *flows = evq_config_flows(&flow_count);

	for (int i = 0; i < flow_count; i++)
	{
		if (pull_only && !flows[i].pull)
			continue;
		if (is_so(evq_track_use_flow(engine->live->track, flows[i].flow_no)))
			classes |= EVQ_FLOW_CLASS(flows[i].flow_no);
		else
			others |= EVQ_FLOW_CLASS(flows[i].flow_no);
	}
	return classes & ~others;
}

/* The classes of flows none of which has room for what is ready already. */
uint64
evq_engine_full_flows(const EvqEngine *engine)
{
	return classes_of_flows(engine, false, is_blocked);
}

static bool
has_none_ready(const EvqTrackedFlow *flow)
{
	return flow->count[EVQ_TRACK_READY] == 0 && !evq_track_is_unread(flow);
}

/*
 * The classes of pull flows whose new events sessions may put on offer
 * themselves: none waits before them.
 */
uint64
evq_engine_direct_flows(const EvqEngine *engine)
{
	if (!evq_sweep_has_seen_all(engine->sweeper))
		return 0;
	return classes_of_flows(engine, true, has_none_ready);
}

/* Would a turn now do anything? */
bool
evq_engine_is_due(EvqEngine *engine, TimestampTz now)
{
	EvqLive *live = engine->live;
	EvqTracked *first = evq_track_first_timer(live->track);

	try_held_flows(live, now);
	return evq_sweep_is_due(engine->sweeper, now) || evq_live_is_offer_missing(live) ||
		   live->successors != NIL || (first != NULL && first->timer_at <= now) ||
		   evq_live_any_flow(live, has_ready) || evq_live_any_flow(live, must_tell_ready) ||
		   evq_watch_due_at(engine->watch) <= now;
}

/* The time until which nothing is due, if nobody tells of anything. */
TimestampTz
evq_engine_next_at(const EvqEngine *engine, TimestampTz now)
{
	EvqTracked *first = evq_track_first_timer(engine->live->track);
	TimestampTz next_at = Min(evq_sweep_next_at(engine->sweeper, now), evq_watch_due_at(engine->watch));

	next_at = Min(next_at, try_held_flows(engine->live, now));
	return first == NULL ? next_at : Min(next_at, first->timer_at);
}

/*
 * One turn, in the current transaction; false = another one is under way. A
 * sweep that is too long for one turn goes on in the next.
 */
bool
evq_engine_turn(EvqEngine *engine, TimestampTz now, EvqTurn *turn)
{
	Work work = {.engine = engine, .now = now, .turn = turn};
	MemoryContext previous;
	uint64 configuration;
	bool watch_due;

	memset(turn, 0, sizeof(*turn));
	if (!lock_turn())
		return false;
	turn->dispatched = engine->live->offered_directly;
	engine->live->offered_directly = 0;

	configuration = evq_config_use();
	turn->is_paused = evq_config_is_paused();
	if (turn->is_paused)
		return true;
	previous = MemoryContextSwitchTo(engine->turn_context);
	if (engine->configuration_seen == 0 && !evq_live_keeps_offer(engine->live))
		engine->locked_first = lock_orders_before_reading();
	if (configuration != engine->configuration_seen)
	{
		engine->configuration_seen = configuration;
		if (engine->live->suspended_met)
			evq_sweep_begin_anew(engine->sweeper);
		else
			evq_engine_want_sweep(engine);
		engine->live->suspended_met = false;
	}

	evq_shmem_note_clock(engine->live->slot, now);
	work.store = open_store();
	evq_sweep_run(engine->sweeper, work.store, now);
	evq_live_offer_missing(engine->live);
	fire_timers(&work);
	follow_successors(engine, work.store, now);
	watch_due = evq_watch_due_at(engine->watch) <= now;
	work.notify = (watch_due || evq_live_any_flow(engine->live, has_ready) ||
				   evq_live_any_flow(engine->live, must_tell_ready)) &&
				  can_notify();
	dispatch_flows(&work);
	tell_ready(&work);
	if (watch_due)
		tell_watchers(&work);
	if (work.messages != NIL)
		notify(engine, work.messages);
	evq_store_close(work.store);

	MemoryContextSwitchTo(previous);
	MemoryContextReset(engine->turn_context);
	return true;
}
