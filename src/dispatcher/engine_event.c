/*
 * engine_event.c
 *		What a turn does about one event: in a subtransaction where need be, and what its timer asks.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/clock.h"
#include "base/guc.h"
#include "base/trace.h"
#include "dispatcher/engine_internal.h"
#include "rules/uuid.h"
#include "session/lifecycle.h"

/* How long to put off an event that cannot be processed, at most, and to isolate events after that. */
#define SHORTEST_LONGEST_PUT_OFF USECS_PER_SEC
#define LONGEST_PUT_OFF USECS_PER_MINUTE
#define ISOLATION_TIME (10 * USECS_PER_MINUTE)

/* So many events that are put off are logged a minute. */
#define LOGGED_A_MINUTE 10

/* Says in the log, where that is asked for, what became of an event. */
void
evq_engine_trace(const pg_uuid_t *event_id, const char *what)
{
	char id[EVQ_UUID_TEXT_SIZE];

	if (EVQ_TRACES(DEBUG2))
		EVQ_TRACE(DEBUG2, "evq: event %s: %s", evq_uuid_text(event_id, id), what);
}

/*
 * Opens a store in the current context, for the caller to close. evq_tick() may be
 * called in a transaction that keeps a snapshot; a turn goes by what is there now.
 */
EvqStore *
evq_engine_open_store(void)
{
	EvqStore *store = evq_store_open("evq_tick()");

	evq_store_see_present(store, true);
	return store;
}

/* ---------- in isolation ---------- */

/* A turn failed: for some time each event is to have a subtransaction of its own, so that one that fails stops no other. */
void
evq_engine_isolate_events(EvqEngine *engine)
{
	engine->isolates_until = evq_clock_monotonic() + ISOLATION_TIME;
}

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

/* The longest pause of an event that is put off: what is transient keeps it waiting no longer than a wake-up that was lost. */
static int64
longest_put_off(bool is_transient)
{
	if (!is_transient)
		return LONGEST_PUT_OFF;
	return Min(Max(SHORTEST_LONGEST_PUT_OFF, (int64) evq_poll_interval * 1000), LONGEST_PUT_OFF);
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

/*
 * Does something about an event, or a batch, in a subtransaction; false = it failed, which was logged. What cannot be
 * processed, say because a payload is damaged, so does not stop the others.
 */
static bool
try_in_subtransaction(EvqWork *work, const pg_uuid_t *event_id, void (*act)(EvqWork *, void *), void *subject,
					  bool *is_transient)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	EvqStore *store = work->store;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work->store = evq_engine_open_store();
		act(work, subject);
		evq_store_close(work->store);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		*is_transient = is_transient_error(error->sqlerrcode);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		log_put_off(event_id, error->message);
		FreeErrorData(error);
		evq_engine_isolate_events(work->engine);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	work->store = store;
	return done;
}

/* What is to be done about an event. */
typedef struct Deed
{
	EvqTracked *tracked;
	void (*act)(EvqWork *, EvqTracked *);
} Deed;

static void
do_deed(EvqWork *work, void *subject)
{
	Deed *deed = subject;

	deed->act(work, deed->tracked);
}

static void
act_in_subtransaction(EvqWork *work, EvqTracked *tracked, void (*act)(EvqWork *, EvqTracked *))
{
	EvqMemory *memory = work->engine->memory;
	pg_uuid_t event_id = evq_memory_facts(tracked)->event_id;
	Deed deed = {.tracked = tracked, .act = act};
	bool is_transient;

	if (try_in_subtransaction(work, &event_id, do_deed, &deed, &is_transient))
		return;
	tracked = evq_memory_find(memory, &event_id);
	if (tracked != NULL)
		evq_memory_put_off(memory, tracked, longest_put_off(is_transient), work->now);
}

static bool
isolates(const EvqWork *work)
{
	return evq_clock_monotonic() < work->engine->isolates_until;
}

/*
 * Does something about one event, in a context that is reset after it, and for a
 * while after a turn that failed in a subtransaction of its own. The event may be
 * forgotten after it.
 */
void
evq_engine_act_on(EvqWork *work, EvqTracked *tracked, void (*act)(EvqWork *, EvqTracked *))
{
	EvqEngine *engine = work->engine;
	MemoryContext previous = MemoryContextSwitchTo(engine->event_context);

	if (isolates(work))
		act_in_subtransaction(work, tracked, act);
	else
		act(work, tracked);
	MemoryContextSwitchTo(previous);
	MemoryContextReset(engine->event_context);
}

/* What is to be done about an event of a batch. */
typedef struct BatchDeed
{
	EvqBatchDeed act;
	void *subject;
} BatchDeed;

static void
do_batch_deed(EvqWork *work, void *subject)
{
	BatchDeed *deed = subject;

	deed->act(work->store, deed->subject);
}

/* One event that fails does not stop the others of its batch. */
static int64
act_apart(EvqBatchWork *batch_work, const pg_uuid_t *event_id, EvqBatchDeed act, void *subject)
{
	BatchDeed deed = {.act = act, .subject = subject};
	bool is_transient;

	return try_in_subtransaction(batch_work->context, event_id, do_batch_deed, &deed, &is_transient)
			   ? 0
			   : longest_put_off(is_transient);
}

static void
look_at_batch(EvqWork *work, void *subject)
{
	EvqBatchWork done = {.left = work->leaving, .context = work};

	if (isolates(work))
		done.apart = act_apart;
	evq_batch_track_look(work->engine->batches, subject, work->store, work->now, &done);
	work->leaving = done.left;
	work->turn->timed_out += done.timed_out;
	work->turn->expired += done.expired;
}

/* Looks at a batch, as evq_engine_act_on() does something about an event; batch_id: that of the batch. */
void
evq_engine_look_at_batch(EvqWork *work, const pg_uuid_t *batch_id)
{
	EvqEngine *engine = work->engine;
	MemoryContext previous = MemoryContextSwitchTo(engine->event_context);
	pg_uuid_t id = *batch_id;
	bool is_transient;

	if (!isolates(work))
		look_at_batch(work, &id);
	else if (!try_in_subtransaction(work, &id, look_at_batch, &id, &is_transient))
		evq_batch_track_put_off(engine->batches, &id, work->now + longest_put_off(is_transient));
	MemoryContextSwitchTo(previous);
	MemoryContextReset(engine->event_context);
}

/* ---------- timers ---------- */

/* Looks at an event whose timer has come and does what the clock asks. It may be forgotten after it. */
void
evq_engine_fire(EvqWork *work, EvqTracked *tracked)
{
	EvqMemory *memory = work->engine->memory;
	TimestampTz now = work->now;
	EvqEvent event;
	EvqChange facts;

	if (evq_memory_make_ready(memory, tracked, now))
		return;

	switch (evq_lifecycle_settle(work->store, now, &evq_memory_facts(tracked)->event_id, &event))
	{
		case EVQ_SETTLED_GONE:
			evq_memory_forget(memory, tracked);
			return;
		case EVQ_SETTLED_BUSY:
			evq_memory_look_again(memory, tracked, now + EVQ_ENGINE_BUSY_DELAY);
			return;
		case EVQ_SETTLED_TIMED_OUT:
			work->turn->timed_out++;
			evq_engine_trace(&event.event_id, "timed out");
			break;
		case EVQ_SETTLED_EXPIRED:
			work->turn->expired++;
			evq_engine_trace(&event.event_id, "expired");
			break;
		case EVQ_SETTLED_NOTHING:
			break;
	}

	if (event.state == EVQ_STATE_NONE)
	{
		evq_memory_drop(memory, tracked);
		return;
	}
	evq_change_from_event(&facts, &event);
	tracked = evq_memory_remember(memory, &facts, now);
	if (tracked != NULL && evq_memory_timer(tracked) <= now)
		evq_memory_look_again(memory, tracked, now + EVQ_ENGINE_BUSY_DELAY);
}

/* Looks at the events whose timers have come, a batch at most. */
void
evq_engine_fire_timers(EvqWork *work)
{
	for (int i = 0; i < evq_dispatch_batch; i++)
	{
		EvqTracked *tracked = evq_memory_first_due(work->engine->memory, work->now);

		CHECK_FOR_INTERRUPTS();
		if (tracked == NULL)
			break;
		evq_engine_act_on(work, tracked, evq_engine_fire);
	}
}
