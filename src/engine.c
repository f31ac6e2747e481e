/*
 * engine.c
 *		The turn: what is due is timed out, expired or dispatched.
 *
 * An engine knows of events in two ways: sessions tell it of each change
 * (absorb), and it reads the tables (pass). A pass goes over the due index,
 * flow by flow, a bounded number of rows in a turn; it finds whatever nobody
 * told. What was remembered decides only when to look: the row itself is read
 * before anything is done with it.
 *
 * Only one turn runs at a time in a database, whether in the dispatcher or in
 * evq_tick(): a transaction-level lock sees to that. So order within a flow_id
 * and the limits of a flow are kept by one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "engine.h"
#include "guc.h"
#include "lifecycle.h"
#include "message.h"
#include "track.h"
#include "transition.h"
#include "uuid.h"
#include "wake.h"
#include "watch.h"

/*
 * Rows that a pass reads in one turn; more only where they are scheduled for
 * the same instant. Few, once all is known, while there is work to offer: a
 * backlog may be long, and workers are not to wait for the pass over it.
 */
#define PASS_BATCH 20000
#define PASS_BATCH_BESIDE_WORK 500

/*
 * A pass goes back at least so far before the last one: transactions that
 * commit late bring earlier events. A complete one is made once in a while.
 */
#define PASS_MARGIN (10 * USECS_PER_SEC)
#define COMPLETE_PASS_AFTER USECS_PER_MINUTE

/* Events due within this time are remembered; later ones stay in the table. */
#define HORIZON (60 * USECS_PER_SEC)

/* How long to put off an event that cannot be processed, doubling from the one to the other, and to be careful after that. */
#define FIRST_PUT_OFF USECS_PER_SEC
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

/* How often to try for the lock of NOTIFY, a millisecond apart. */
#define NOTIFY_TRIES 50

/* The turn's lock is an advisory one of a class that SQL cannot take. */
#define TURN_LOCK_CLASS 0xE5

/* A flow_id of an ordered flow whose event in front has gone. */
typedef struct Successor
{
	int32 flow_no;
	char *flow_id;
} Successor;

struct EvqEngine
{
	MemoryContext context;
	MemoryContext turn_context;
	EvqPlace *place; /* NULL = no shared memory */
	EvqTrack *track;
	List *successors;
	EvqWatch *watch;
	int64 careful_until;  /* by the monotonic clock; see carefully() */
	uint32 first_flow;    /* where the last turn began to dispatch */
	int offered_directly; /* by sessions, since the last turn */

	/* the pass */
	bool pass_wanted;
	bool complete_wanted; /* ... one that does not stop where memory is full */
	bool passing;
	bool pass_complete;
	int pass_flow;         /* index of the flow it is at */
	TimestampTz pass_from; /* where in that flow */
	bool pass_parked;      /* this pass left due events in the table */
	bool pass_full;        /* ... for want of memory */
	TimestampTz pass_future_at;

	/* as of the last complete pass */
	bool parked;
	bool full;
	int64 last_pass_at;     /* by the monotonic clock, as the next */
	int64 last_complete_at; /* 0 = never: events on their way may be unknown */
	TimestampTz future_at;  /* the earliest event beyond the horizon */
	uint64 announcing_seen;
	uint64 configuration_seen;
};

EvqEngine *
evq_engine_create(EvqPlace *place)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "evq engine", ALLOCSET_DEFAULT_SIZES);
	EvqEngine *engine = MemoryContextAllocZero(context, sizeof(EvqEngine));

	engine->context = context;
	engine->turn_context = AllocSetContextCreate(context, "evq turn", ALLOCSET_DEFAULT_SIZES);
	engine->place = place;
	engine->track = evq_track_create(context);
	engine->watch = evq_watch_create(context);
	engine->future_at = DT_NOEND;
	evq_engine_want_pass(engine);
	if (place != NULL && place->pid == MyProcPid)
		evq_ready_clear(place->ready);
	return engine;
}

void
evq_engine_destroy(EvqEngine *engine)
{
	MemoryContextDelete(engine->context);
}

/* Nothing that was told can be relied on: all live events are looked at. */
void
evq_engine_want_pass(EvqEngine *engine)
{
	engine->pass_wanted = engine->complete_wanted = true;
}

/* The last turn failed: the next ones are to keep the events apart. */
void
evq_engine_be_careful(EvqEngine *engine)
{
	engine->careful_until = evq_clock_monotonic() + CAREFUL_TIME;
}

/* Has a pass begun that needs further turns? */
bool
evq_engine_is_passing(const EvqEngine *engine)
{
	return engine->passing;
}

/* ---------- remembering ---------- */

static bool
is_memory_full(const EvqEngine *engine, int32 flow_no)
{
	return evq_track_is_full(engine->track, flow_no, evq_max_tracked);
}

/* A due event stays in the table: it must be looked for. full: for want of memory. */
static void
park(EvqEngine *engine, bool full)
{
	engine->parked = engine->pass_parked = true;
	if (full)
		engine->full = engine->pass_full = true;
}

static void
note_future(EvqEngine *engine, TimestampTz at)
{
	engine->future_at = Min(engine->future_at, at);
	engine->pass_future_at = Min(engine->pass_future_at, at);
}

/* Only the dispatcher keeps the offer for evq_acquire_next(). */
static bool
keeps_offer(const EvqEngine *engine)
{
	return engine->place != NULL && engine->place->pid == MyProcPid;
}

/* Puts an event on offer; false = its flow can have none. */
static bool
offer(EvqEngine *engine, const EvqWake *facts, bool *was_empty)
{
	*was_empty = false;
	return keeps_offer(engine) &&
		   evq_ready_push(engine->place->ready, facts->flow_no, facts->event_type_no, &facts->event_id,
						  &facts->tid, EVQ_READY_NO_LIMIT, was_empty);
}

/* Takes an event off the offer that it will leave. */
static void
withdraw(EvqEngine *engine, const EvqTracked *tracked)
{
	if (keeps_offer(engine) &&
		(tracked->state == EVQ_TRACK_OFFERED || tracked->state == EVQ_TRACK_DISPATCHED))
		evq_ready_remove(engine->place->ready, &tracked->event_id);
}

/* An event has gone: the next one of its flow_id may come. */
static void
forget(EvqEngine *engine, EvqTracked *tracked)
{
	if (tracked->facts.ordered)
	{
		if (tracked->flow_id != NULL)
		{
			MemoryContext previous = MemoryContextSwitchTo(engine->context);
			Successor *successor = palloc(sizeof(Successor));

			successor->flow_no = tracked->facts.flow_no;
			successor->flow_id = pstrdup(tracked->flow_id);
			engine->successors = lappend(engine->successors, successor);
			MemoryContextSwitchTo(previous);
		}
		else
			evq_engine_want_pass(engine);
	}
	withdraw(engine, tracked);
	evq_track_remove(engine->track, tracked);
}

/* Remembers the facts of an event that is live or was just finished. */
static EvqTracked *
remember(EvqEngine *engine, const EvqWake *facts, TimestampTz now)
{
	EvqTracked *tracked = evq_track_find(engine->track, &facts->event_id);

	if (evq_transition_is_final((EvqState) facts->state))
	{
		if (tracked != NULL)
			forget(engine, tracked);
		else if (facts->ordered)
			evq_engine_want_pass(engine);
		return NULL;
	}
	if (tracked == NULL && facts->state == EVQ_STATE_AWAITING_PROCESSING)
	{
		if (facts->at > now + HORIZON)
		{
			note_future(engine, facts->at);
			return NULL;
		}
		if (is_memory_full(engine, facts->flow_no))
		{
			park(engine, true);
			return NULL;
		}
	}

	if (tracked != NULL && facts->state != EVQ_STATE_DISPATCHED)
		withdraw(engine, tracked);
	return evq_track_put(engine->track, facts, now);
}

/* An event on offer was taken in vain. */
static void
take_back(EvqEngine *engine, EvqTracked *tracked)
{
	bool was_empty;

	if (tracked->state == EVQ_TRACK_DISPATCHED)
		offer(engine, &tracked->facts, &was_empty);
	else if (tracked->state == EVQ_TRACK_OFFERED)
		evq_track_set(engine->track, tracked, EVQ_TRACK_READY, tracked->facts.due_at);
}

/*
 * A session has published an event, and perhaps put it on offer. What is known
 * of it already is as young or younger: a pass met it, or a worker took it,
 * before we heard that it is new.
 */
static void
absorb_published(EvqEngine *engine, const EvqWake *facts, TimestampTz now)
{
	const EvqFlow *flow = evq_config_flow(facts->flow_no);
	EvqTracked *tracked = evq_track_find(engine->track, &facts->event_id);

	if (facts->was_empty)
		evq_track_use_flow(engine->track, facts->flow_no)->tell_ready = true;
	if (facts->is_offered)
		engine->offered_directly++;
	if (tracked != NULL)
		return;
	tracked = remember(engine, facts, now);
	if (facts->is_offered && flow != NULL && tracked != NULL && tracked->state == EVQ_TRACK_READY)
		evq_track_set(engine->track, tracked, EVQ_TRACK_OFFERED,
					  Min(evq_retry_add(now, flow->dispatch_timeout), facts->due_at));
}

/* Takes in what sessions have told. */
void
evq_engine_absorb(EvqEngine *engine, const EvqWake *wakes, int count, TimestampTz now)
{
	for (int i = 0; i < count; i++)
	{
		EvqTracked *tracked;

		if (!wakes[i].given_back && keeps_offer(engine) && evq_shmem_is_watched(engine->place))
			evq_watch_note(engine->watch, &wakes[i]);
		if (wakes[i].is_own)
			continue;
		if (wakes[i].is_new)
			absorb_published(engine, &wakes[i], now);
		else if (!wakes[i].given_back)
			remember(engine, &wakes[i], now);
		else if ((tracked = evq_track_find(engine->track, &wakes[i].event_id)) != NULL)
			take_back(engine, tracked);
	}
}

/* ---------- passes ---------- */

static bool
is_type_suspended(int32 event_type_no)
{
	const EvqEventType *event_type = evq_config_event_type(event_type_no);

	return event_type == NULL || event_type->is_suspended;
}

/* Has nothing been said for a minute? last: when something was, by the monotonic clock; 0 = never. */
static bool
once_a_minute(int64 *last)
{
	int64 now = evq_clock_monotonic();

	if (*last != 0 && now - *last < USECS_PER_MINUTE)
		return false;
	*last = now;
	return true;
}

/* Is the event put off, so that its timer brings it back, and has nothing become of it since? */
static bool
is_put_off(const EvqTracked *tracked, const EvqWake *facts)
{
	return tracked != NULL && tracked->put_offs > 0 && tracked->facts.state == facts->state &&
		   tracked->facts.at == facts->at;
}

/* Looks at a live event that a pass came by. */
static void
see(EvqEngine *engine, const EvqEvent *event, TimestampTz now)
{
	EvqTracked *tracked = evq_track_find(engine->track, &event->event_id);
	bool was_empty;
	EvqWake facts;

	if (tracked != NULL)
		evq_track_mark_seen(engine->track, tracked);
	if (event->state == EVQ_STATE_NONE)
	{
		static int64 logged_at;
		char id[EVQ_UUID_TEXT_SIZE];

		if (once_a_minute(&logged_at))
			ereport(LOG, (errmsg("evq: event %s has an unknown state and is passed over",
								 evq_uuid_text(&event->event_id, id)),
						  errhint("Correct or delete its row in evq.event; there may be others.")));
		return;
	}

	evq_wake_from_event(&facts, event);
	if (is_put_off(tracked, &facts))
		return;
	if (event->state == EVQ_STATE_AWAITING_PROCESSING)
	{
		if (tracked != NULL && tracked->state == EVQ_TRACK_OFFERED)
			offer(engine, &facts, &was_empty); /* it may have been lost */
		if (tracked != NULL && (tracked->state == EVQ_TRACK_OFFERED || tracked->state == EVQ_TRACK_READY))
			return;
		if (event->due_at > now && tracked == NULL)
		{
			if (is_type_suspended(event->event_type_no) ||
				(event->ordered &&
				 evq_track_is_flow_id_busy(engine->track, event->flow_no, facts.flow_id_hash)))
			{
				park(engine, false);
				return;
			}
			if (is_memory_full(engine, event->flow_no))
			{
				park(engine, true);
				return;
			}
		}
	}
	tracked = remember(engine, &facts, now);
	if (tracked != NULL && tracked->state == EVQ_TRACK_DISPATCHED)
		offer(engine, &facts, &was_empty); /* as well */
	if (tracked != NULL && event->ordered && event->state != EVQ_STATE_AWAITING_PROCESSING)
		evq_track_set_flow_id(engine->track, tracked, event->flow_id);
}

/*
 * A prepared transaction may commit without a word: while there is one, passes
 * go on. It is asked before the pass takes its snapshot, which so sees the work
 * of all that are gone by then.
 */
static void
watch_prepared_transactions(EvqEngine *engine)
{
	if (engine->place == NULL || pg_atomic_exchange_u32(&engine->place->prepared, 0) == 0)
		return;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute("SELECT FROM pg_catalog.pg_prepared_xact() p JOIN pg_catalog.pg_database d"
					" ON p.dbid OPERATOR(pg_catalog.=) d.oid"
					" WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() LIMIT 1",
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for prepared transactions");
	if (SPI_processed > 0)
		pg_atomic_write_u32(&engine->place->prepared, 1);
	SPI_finish();
}

static void
begin_pass(EvqEngine *engine)
{
	engine->pass_complete = engine->complete_wanted ||
							evq_clock_monotonic() - engine->last_complete_at >= COMPLETE_PASS_AFTER;
	engine->pass_wanted = engine->complete_wanted = false;
	engine->passing = true;
	engine->pass_flow = 0;
	engine->pass_from = DT_NOBEGIN;
	engine->pass_parked = engine->pass_full = false;
	engine->pass_future_at = DT_NOEND;
	if (engine->place != NULL)
	{
		/* While a transaction has yet to announce something, this pass is not the last one. */
		uint64 announced = pg_atomic_read_u64(&engine->place->announced);

		engine->announcing_seen = pg_atomic_read_u64(&engine->place->announcing);
		if (engine->announcing_seen != announced)
			engine->announcing_seen = PG_UINT64_MAX;
	}
	watch_prepared_transactions(engine);
	evq_track_begin_pass(engine->track);
}

static void
end_pass(EvqEngine *engine, TimestampTz now)
{
	engine->passing = false;
	engine->last_pass_at = evq_clock_monotonic();
	if (engine->pass_complete)
		engine->last_complete_at = engine->last_pass_at;
	engine->parked = engine->pass_parked;
	engine->full = engine->pass_full;
	engine->future_at = engine->pass_future_at;
	evq_track_look_at_unseen(engine->track, now);
}

/*
 * Where a pass begins in a flow. Finished events leave dead index entries
 * behind, all of them early ones; only a complete pass goes over those again.
 */
static TimestampTz
pass_start(EvqEngine *engine, int32 flow_no)
{
	return engine->pass_complete ? DT_NOBEGIN : evq_track_use_flow(engine->track, flow_no)->first_live_at;
}

/* Notes what has been waiting longest, for a worker and for a worker's report. */
static void
note_oldest(EvqTrackedFlow *flow, const EvqEvent *event, TimestampTz now)
{
	if (event->state == EVQ_STATE_BEING_PROCESSED)
		flow->permit_since = Min(flow->permit_since, event->state_since);
	else if ((event->state == EVQ_STATE_AWAITING_PROCESSING || event->state == EVQ_STATE_DISPATCHED) &&
			 event->attempt_scheduled_at <= now && event->attempt_scheduled_at < flow->due_since &&
			 !is_type_suspended(event->event_type_no))
		flow->due_since = event->attempt_scheduled_at;
}

static bool
has_work(const EvqTrackedFlow *flow)
{
	return flow->count[EVQ_TRACK_READY] > 0 || flow->count[EVQ_TRACK_OFFERED] > 0;
}

static bool
any_flow(const EvqEngine *engine, bool (*is_so)(const EvqTrackedFlow *))
{
	ListCell *cell;

	foreach(cell, evq_track_flows(engine->track))
	{
		if (is_so(lfirst(cell)))
			return true;
	}
	return false;
}

/* Goes on with the pass, a bounded number of rows. */
static void
continue_pass(EvqEngine *engine, EvqStore *store, TimestampTz now)
{
	int flow_count;
	const EvqFlow *flows = evq_config_flows(&flow_count);
	int batch = engine->last_complete_at != 0 && any_flow(engine, has_work) ? PASS_BATCH_BESIDE_WORK
																			: PASS_BATCH;
	int read = 0;

	for (; engine->pass_flow < flow_count; engine->pass_flow++, engine->pass_from = DT_NOBEGIN)
	{
		int32 flow_no = flows[engine->pass_flow].flow_no;
		EvqTrackedFlow *flow = evq_track_use_flow(engine->track, flow_no);
		EvqEvent event;

		if (TIMESTAMP_IS_NOBEGIN(engine->pass_from))
		{
			engine->pass_from = pass_start(engine, flow_no);
			flow->first_live_at = now - PASS_MARGIN;
			flow->due_since = flow->permit_since = DT_NOEND;
		}
		evq_store_walk_due(store, flow_no, engine->pass_from);
		while (evq_store_walk_next(store, &event))
		{
			CHECK_FOR_INTERRUPTS();
			if (event.attempt_scheduled_at > now + HORIZON)
			{
				note_future(engine, event.attempt_scheduled_at);
				break;
			}
			if (read >= batch && event.attempt_scheduled_at > engine->pass_from)
			{
				engine->pass_from = event.attempt_scheduled_at;
				evq_store_walk_end(store);
				return;
			}
			engine->pass_from = event.attempt_scheduled_at;
			flow->first_live_at = Min(flow->first_live_at, event.attempt_scheduled_at);
			note_oldest(flow, &event, now);
			see(engine, &event, now);
			read++;
			if (is_memory_full(engine, flow_no) && !engine->pass_complete)
			{
				park(engine, true);
				break;
			}
		}
		evq_store_walk_end(store);
		if (engine->place != NULL)
			evq_counters_set_oldest(engine->place->counters, flow_no, flow->due_since, flow->permit_since);
	}
	end_pass(engine, now);
}

/* ---------- one event ---------- */

typedef struct Message
{
	char *channel;
	char *text;
} Message;

/* What one turn works with. */
typedef struct Work
{
	EvqEngine *engine;
	EvqStore *store;
	TimestampTz now;
	bool notify;    /* there is room for notifications */
	bool drained;   /* the flow whose events are being dispatched: see is_drained() */
	List *messages; /* of Message, to notify at the end */
	EvqTurn *turn;
} Work;

static void
put_off(Work *work, EvqTracked *tracked)
{
	int64 pause = Min(FIRST_PUT_OFF << Min(tracked->put_offs, 10), LONGEST_PUT_OFF);

	tracked->put_offs++;
	evq_track_set(work->engine->track, tracked,
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

	if (once_a_minute(&minute_began_at))
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

/*
 * Does something about one event. After a turn that failed, each event is done
 * with in a subtransaction for a while: so one that cannot be processed, say
 * because its payload is damaged, is put off and does not stop the others.
 */
static void
carefully(Work *work, EvqTracked *tracked, void (*act)(Work *, EvqTracked *))
{
	EvqEngine *engine = work->engine;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	EvqStore *store = work->store;
	pg_uuid_t event_id = tracked->event_id;

	if (evq_clock_monotonic() >= engine->careful_until)
	{
		act(work, tracked);
		return;
	}

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work->store = evq_store_open("evq_tick()");
		act(work, tracked);
		evq_store_close(work->store);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		log_put_off(&event_id, error->message);
		FreeErrorData(error);
		engine->careful_until = evq_clock_monotonic() + CAREFUL_TIME;
		tracked = evq_track_find(engine->track, &event_id);
		if (tracked != NULL)
			put_off(work, tracked);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	work->store = store;
}

/* ---------- timers ---------- */

/* Looks at an event whose timer has come and does what the clock asks. */
static void
fire(Work *work, EvqTracked *tracked)
{
	EvqEngine *engine = work->engine;
	TimestampTz now = work->now;
	EvqEvent event;
	EvqWake facts;

	if (tracked->state == EVQ_TRACK_WAITING && tracked->facts.at <= now && tracked->facts.due_at > now)
	{
		evq_track_set(engine->track, tracked, EVQ_TRACK_READY, tracked->facts.due_at);
		return;
	}

	switch (evq_lifecycle_settle(work->store, now, &tracked->event_id, &event))
	{
		case EVQ_SETTLED_GONE:
			forget(engine, tracked);
			return;
		case EVQ_SETTLED_BUSY:
			evq_track_set(engine->track, tracked,
						  tracked->state == EVQ_TRACK_READY ? EVQ_TRACK_WAITING : tracked->state,
						  now + BUSY_DELAY);
			return;
		case EVQ_SETTLED_TIMED_OUT:
			work->turn->timed_out++;
			break;
		case EVQ_SETTLED_EXPIRED:
			work->turn->expired++;
			break;
		case EVQ_SETTLED_NOTHING:
			break;
	}

	if (event.state == EVQ_STATE_NONE)
	{
		evq_track_remove(engine->track, tracked);
		return;
	}
	evq_wake_from_event(&facts, &event);
	tracked = remember(engine, &facts, now);
	if (tracked != NULL && tracked->timer_at <= now)
		evq_track_set(engine->track, tracked, tracked->state, now + BUSY_DELAY);
}

static void
fire_timers(Work *work)
{
	for (int i = 0; i < evq_dispatch_batch; i++)
	{
		EvqTracked *tracked = evq_track_first_timer(work->engine->track);

		CHECK_FOR_INTERRUPTS();
		if (tracked == NULL || tracked->timer_at > work->now)
			break;
		carefully(work, tracked, fire);
	}
}

/* ---------- order within a flow_id ---------- */

/*
 * The event whose turn it is in a flow_id of an ordered flow: the oldest live
 * one, unless another is on its way.
 */
static bool
fetch_front(EvqStore *store, int32 flow_no, const char *flow_id, EvqEvent *front)
{
	bool found;

	evq_store_walk_flow_id(store, flow_no, flow_id);
	found = evq_store_walk_next(store, front);
	evq_store_walk_end(store);
	return found;
}

/* Is it this ready event's turn? If not, it goes back to the table and the one in front is remembered. */
static bool
is_in_front(EvqEngine *engine, EvqStore *store, EvqTracked *tracked, const EvqEvent *event, TimestampTz now)
{
	EvqEvent front;

	if (evq_track_is_flow_id_busy(engine->track, tracked->facts.flow_no, tracked->facts.flow_id_hash))
	{
		park(engine, false);
		evq_track_remove(engine->track, tracked);
		return false;
	}
	if (!fetch_front(store, event->flow_no, event->flow_id, &front) ||
		memcmp(&front.event_id, &event->event_id, sizeof(pg_uuid_t)) == 0)
		return true;
	park(engine, false);
	evq_track_remove(engine->track, tracked);
	see(engine, &front, now);
	return false;
}

static void
follow_successors(EvqEngine *engine, EvqStore *store, TimestampTz now)
{
	List *successors = engine->successors;
	ListCell *cell;

	engine->successors = NIL;
	foreach(cell, successors)
	{
		Successor *successor = lfirst(cell);
		EvqEvent front;

		if (fetch_front(store, successor->flow_no, successor->flow_id, &front))
			see(engine, &front, now);
		pfree(successor->flow_id);
	}
	list_free_deep(successors);
}

/* ---------- dispatch ---------- */

static void
warn_not_notified(const char *problem, const char *hint)
{
	static int64 warned_at;

	if (!once_a_minute(&warned_at))
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
add_message(Work *work, const char *channel, char *text)
{
	Message *message = palloc(sizeof(Message));

	message->channel = pstrdup(channel);
	message->text = text;
	work->messages = lappend(work->messages, message);
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

	if (flow->pull || evq_flow_is_regulated(flow) || !keeps_offer(work->engine) ||
		tracked_flow->count[EVQ_TRACK_READY] < DRAIN_BACKLOG)
		return false;
	taken = evq_ready_taken(work->engine->place->ready, flow->flow_no);
	if (taken != tracked_flow->taken)
		tracked_flow->taken_at = work->now;
	tracked_flow->taken = taken;
	return work->now - tracked_flow->taken_at < DRAIN_FRESH;
}

/* Offers an event without a dispatch; false = its flow can have no offer. */
static bool
offer_ready(Work *work, EvqTracked *tracked, const EvqFlow *flow)
{
	EvqEngine *engine = work->engine;
	bool was_empty;

	if (!offer(engine, &tracked->facts, &was_empty))
		return false;
	/* One wake-up when work comes, and again when nobody came for it. */
	if (flow->pull && (was_empty || tracked->offered_before))
		evq_track_use_flow(engine->track, flow->flow_no)->tell_ready = true;
	tracked->offered_before = true;
	evq_track_set(engine->track, tracked, EVQ_TRACK_OFFERED,
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
	EvqWake facts;

	if (is_type_suspended(tracked->facts.event_type_no))
	{
		park(engine, false);
		evq_track_remove(engine->track, tracked);
		return;
	}
	if (!tracked->facts.ordered && !evq_flow_is_regulated(flow) &&
		(flow->pull || (work->drained && !tracked->offered_before)) && offer_ready(work, tracked, flow))
		return;

	evq_store_hint(&tracked->event_id, &tracked->facts.tid);
	if (!evq_store_fetch(work->store, &tracked->event_id, &event))
	{
		forget(engine, tracked);
		return;
	}
	if (event.state == EVQ_STATE_NONE)
	{
		evq_track_remove(engine->track, tracked);
		return;
	}
	if (event.state != EVQ_STATE_AWAITING_PROCESSING || event.attempt_scheduled_at > work->now ||
		event.due_at <= work->now)
	{
		evq_wake_from_event(&facts, &event);
		remember(engine, &facts, work->now);
		if (event.due_at <= work->now)
			evq_track_set(engine->track, tracked, EVQ_TRACK_WAITING, work->now);
		return;
	}
	if (event.ordered)
	{
		if (!is_in_front(engine, work->store, tracked, &event, work->now))
			return;
		evq_track_set_flow_id(engine->track, tracked, event.flow_id);
	}

	if (!evq_lifecycle_dispatch(work->store, work->now, &event, flow->dispatch_timeout))
	{
		evq_track_set(engine->track, tracked, EVQ_TRACK_WAITING, work->now + BUSY_DELAY);
		return;
	}
	evq_track_set(engine->track, tracked, EVQ_TRACK_DISPATCHED, event.state_due_at);
	if (flow->pull && keeps_offer(engine))
		evq_track_use_flow(engine->track, flow->flow_no)->tell_ready = true;
	else if (work->notify)
		add_message(work, flow->channel, evq_message_dispatched(work->store, &event, work->now));
	work->turn->dispatched++;
}

/* Sends what this turn has to say. The lock of NOTIFY, which one may hold for long, is not waited for. */
static void
notify(EvqEngine *engine, List *messages)
{
	LOCKTAG tag;
	bool locked = !keeps_offer(engine);
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
 * Dispatches what the flows have room for, a batch at most. Each flow has its
 * share of the batch, and each turn begins with another flow.
 */
static void
dispatch_flows(Work *work)
{
	EvqEngine *engine = work->engine;
	List *flows = evq_track_flows(engine->track);
	int with_ready = 0;
	int share;

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

		/* Before the first complete pass, order and limits cannot be kept. */
		if (flow == NULL || (engine->last_complete_at == 0 && (flow->ordered || flow->max_processing > 0)))
			continue;
		tracked_flow->max_dispatched = flow->max_dispatched;
		tracked_flow->max_processing = flow->max_processing;
		work->drained = is_drained(work, tracked_flow, flow);
		for (int n = 0; n < share && evq_track_has_room(tracked_flow) &&
						(tracked = evq_track_first_ready(tracked_flow)) != NULL;
			 n++)
		{
			CHECK_FOR_INTERRUPTS();
			carefully(work, tracked, dispatch_ready);
		}
	}
}

/* Tells the listeners of the flows in which events were put on offer. */
static void
tell_ready(Work *work)
{
	ListCell *cell;

	foreach(cell, evq_track_flows(work->engine->track))
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
	return flow->count[EVQ_TRACK_READY] > 0 && evq_track_has_room(flow);
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
	return any_flow(engine, is_blocked);
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
		if (is_so(evq_track_use_flow(engine->track, flows[i].flow_no)))
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
	return flow->count[EVQ_TRACK_READY] == 0;
}

/*
 * The classes of pull flows whose new events sessions may put on offer
 * themselves: none waits before them.
 */
uint64
evq_engine_direct_flows(const EvqEngine *engine)
{
	if (engine->last_complete_at == 0 || engine->full)
		return 0;
	return classes_of_flows(engine, true, has_none_ready);
}

/* Is there work that must be looked for although nobody tells of it? */
static bool
must_poll(const EvqEngine *engine)
{
	EvqPlace *place = engine->place;

	if (engine->parked || evq_track_count(engine->track) > 0)
		return true;
	if (place == NULL)
		return false;
	return pg_atomic_read_u32(&place->prepared) != 0 ||
		   pg_atomic_read_u64(&place->announcing) != engine->announcing_seen;
}

/* Microseconds until a pass is made whatever was told. */
static int64
time_to_poll(const EvqEngine *engine)
{
	return Max(engine->last_pass_at + (int64) evq_poll_interval * 1000 - evq_clock_monotonic(), 0);
}

/* Would a turn now do anything? */
bool
evq_engine_is_due(EvqEngine *engine, TimestampTz now)
{
	EvqTracked *first = evq_track_first_timer(engine->track);

	if (engine->place != NULL && pg_atomic_exchange_u32(&engine->place->look_now, 0) != 0)
		evq_engine_want_pass(engine);
	if (must_poll(engine) && time_to_poll(engine) == 0)
		engine->pass_wanted = true;
	if (engine->full && evq_track_count_waiting(engine->track) < evq_max_tracked / 2)
		engine->pass_wanted = true;
	if (engine->future_at - HORIZON / 2 <= now)
		engine->pass_wanted = true;

	return engine->pass_wanted || engine->passing || engine->successors != NIL ||
		   (first != NULL && first->timer_at <= now) || any_flow(engine, has_ready) ||
		   any_flow(engine, must_tell_ready) || evq_watch_due_at(engine->watch) <= now;
}

/* The time until which nothing is due, if nobody tells of anything. */
TimestampTz
evq_engine_next_at(const EvqEngine *engine, TimestampTz now)
{
	EvqTracked *first = evq_track_first_timer(engine->track);
	TimestampTz next_at = now + (must_poll(engine) ? time_to_poll(engine) : (int64) evq_poll_interval * 1000);

	next_at = Min(next_at, evq_watch_due_at(engine->watch));
	if (first != NULL)
		next_at = Min(next_at, first->timer_at);
	if (!TIMESTAMP_IS_NOEND(engine->future_at))
		next_at = Min(next_at, engine->future_at - HORIZON / 2);
	return next_at;
}

/*
 * One turn, in the current transaction; false = another one is under way. A
 * pass that is too long for one turn goes on in the next.
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
	turn->dispatched = engine->offered_directly;
	engine->offered_directly = 0;

	configuration = evq_config_use();
	if (evq_config_is_paused())
		return true;
	previous = MemoryContextSwitchTo(engine->turn_context);
	if (configuration != engine->configuration_seen)
	{
		engine->configuration_seen = configuration;
		evq_engine_want_pass(engine);
	}
	if (engine->pass_wanted && !engine->passing)
		begin_pass(engine);

	work.store = evq_store_open("evq_tick()");
	if (engine->passing)
	{
		int64 began_at = evq_clock_monotonic();

		continue_pass(engine, work.store, now);
		if (engine->place != NULL)
			evq_counters_add_sweep(engine->place->counters, evq_clock_monotonic() - began_at);
	}
	fire_timers(&work);
	follow_successors(engine, work.store, now);
	watch_due = evq_watch_due_at(engine->watch) <= now;
	work.notify = (watch_due || any_flow(engine, has_ready) || any_flow(engine, must_tell_ready)) &&
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
