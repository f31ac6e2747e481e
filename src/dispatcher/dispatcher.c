/*
 * dispatcher.c
 *		The background worker of one database: runs the engine when there is something to do.
 *
 * It sleeps on its latch. Sessions set the latch after their commit, unless
 * the dispatcher is known to wake early enough. It begins with nothing but the
 * tables, and goes back to that after every error.
 *
 * It commits asynchronously: losing a dispatch in a crash means dispatching
 * again. It leaves when the extension is dropped, when the database is paused or
 * made a template, when a session wants it empty, and when it is told to end,
 * and then puts the counters away;
 * the launcher decides whether and when it starts again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/clock.h"
#include "base/guc.h"
#include "base/trace.h"
#include "dispatcher/background.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/engine.h"
#include "dispatcher/housekeeper.h"
#include "dispatcher/recount.h"
#include "dispatcher/sweep.h"
#include "tables/config_rows.h"
#include "tables/home.h"
#include "tables/tables.h"

/* Turns that follow each other faster than this wait a little, so that more comes together. */
#define COALESCE_WITHIN (2 * USECS_PER_SEC / 1000)
#define COALESCE_MS 1

/* A fault that is gone must not hold up events for longer than a lost wake-up would. */
#define FIRST_BACKOFF_MS 100
#define SHORTEST_LONGEST_BACKOFF_MS 1000
#define LONGEST_BACKOFF_MS 60000

/* In a back-off, requests are looked at this often even if no latch is set for them. */
#define LONGEST_WAIT_MS 1000

/* Pauses after an error, and where the version of the SQL knows nothing of ringing. */
#define SCHEDULES_RETRY (10 * USECS_PER_SEC)
#define SCHEDULES_LOOK (10 * USECS_PER_MINUTE)

/* The housekeeper is not started more often than this to count the live events. */
#define HOUSE_RETRY USECS_PER_SEC

static EvqSlot *slot;
static int64 house_due_at; /* by the clock that nobody turns back, as the next */
static int64 house_started_at;
static bool database_changed;                  /* the row of some database did */
static TimestampTz schedules_at = DT_NOBEGIN;  /* when the next schedule is due */
static volatile sig_atomic_t is_interruptible; /* what runs can be canceled: its error is caught */

/* Describes the worker for the launcher to register. */
void
evq_dispatcher_describe(BackgroundWorker *worker, Oid database, int slot_index, const char *name)
{
	evq_background_describe(worker, "dispatcher");
	evq_background_assign(worker, database, slot_index, name);
	worker->bgw_notify_pid = MyProcPid;
}

/* ---------- coming and going ---------- */

static void
leave_slot(int code, Datum arg)
{
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	if (slot->pid == MyProcPid)
	{
		pg_atomic_write_u32(&slot->is_offering, 0);
		slot->pid = 0;
		slot->latch = NULL;
		if (slot->state != EVQ_SLOT_ABSENT)
			slot->state = EVQ_SLOT_STOPPED;
	}
	LWLockRelease(evq_shared->lock);
	evq_shmem_wake_launcher();
}

/* Takes the slot that the launcher had in mind; ends the process if that is somebody else's by now. */
static void
take_slot(int index, Oid database)
{
	bool taken;

	slot = &evq_shared->slots[index];
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	taken = slot->pid != 0 || slot->state != EVQ_SLOT_STARTING || slot->database != database;
	if (!taken)
	{
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->check_extension = slot->lacks_worker = false;
		slot->started_at = GetCurrentTimestamp();
	}
	LWLockRelease(evq_shared->lock);
	if (taken)
		proc_exit(0);
	before_shmem_exit(leave_slot, (Datum) 0);
}

/* SIGTERM: the work at hand is canceled, and the next look at requests ends the process. */
static void
request_end(SIGNAL_ARGS)
{
	int saved_errno = errno;

	ShutdownRequestPending = true;
	if (is_interruptible)
		InterruptPending = QueryCancelPending = true;
	SetLatch(MyLatch);
	errno = saved_errno;
}

/* Around what may be canceled. */
static void
set_interruptible(bool interruptible)
{
	is_interruptible = interruptible;
	if (!interruptible)
		QueryCancelPending = false;
	else if (ShutdownRequestPending)
		InterruptPending = QueryCancelPending = true;
}

/* The same error again and again is logged once a minute. */
static void
log_error(const ErrorData *error)
{
	static char logged[EVQ_LAST_ERROR_SIZE];
	static int64 logged_at;
	const char *message = error->message ? error->message : "";

	if (strncmp(logged, message, EVQ_LAST_ERROR_SIZE - 1) != 0)
		logged_at = 0;
	if (!evq_clock_once_a_minute(&logged_at))
		return;
	strlcpy(logged, message, EVQ_LAST_ERROR_SIZE);
	EmitErrorReport();
}

/* Reports the error and ends its transaction, if any; one that comes of being told to end is none. */
static void
recover(bool in_turn)
{
	ErrorData *error;

	MemoryContextSwitchTo(TopMemoryContext);
	HOLD_INTERRUPTS();
	error = CopyErrorData();
	if (error->sqlerrcode != ERRCODE_QUERY_CANCELED || !ShutdownRequestPending)
	{
		log_error(error);
		LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
		slot->errors++;
		slot->is_failing |= in_turn;
		strlcpy(slot->last_error, error->message ? error->message : "", EVQ_LAST_ERROR_SIZE);
		LWLockRelease(evq_shared->lock);
	}
	evq_background_abort();
	FreeErrorData(error);
	RESUME_INTERRUPTS();
	MemoryContextSwitchTo(TopMemoryContext);
}

/* May a dispatcher work in this database? The launcher goes by the same. */
static bool
is_for_work(void)
{
	HeapTuple row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	bool answer = false;

	if (HeapTupleIsValid(row))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(row);

		answer = database->datallowconn && !database->datistemplate;
		ReleaseSysCache(row);
	}
	return answer;
}

static void
note_database_change(Datum arg, int cache, uint32 hash)
{
	database_changed = true;
}

/* Finds out whether there is anything to do here. Who has begun to work goes on while an error, of a lock say, is all the answer. */
static bool
is_wanted(bool is_working)
{
	volatile bool wanted = true;

	database_changed = false;
	PG_TRY();
	{
		evq_background_begin("evq start");
		if (!evq_tables_exist())
		{
			/* They count what was dropped, perhaps by a prepared transaction, which cannot tell. */
			evq_counters_clear(slot->counters);
			wanted = false;
		}
		else if (!is_for_work())
			wanted = false;
		else
		{
			bool by_restore;

			evq_home_settle();
			wanted = !evq_config_rows_is_paused(&by_restore);
		}
		if (!wanted)
		{
			pg_atomic_exchange_u32(&slot->prepared, 0);
			if (evq_sweep_any_prepared())
				pg_atomic_write_u32(&slot->prepared, 1);
		}
		evq_background_end();
	}
	PG_CATCH();
	{
		recover(false);
		if (!is_working)
			proc_exit(1);
		wanted = true;
	}
	PG_END_TRY();
	return wanted;
}

/* Ends the process when the database has no extension, is paused, or is not for work. */
static void
require_extension(bool is_working)
{
	while (!is_wanted(is_working))
	{
		bool again;

		/* Whoever made it otherwise meanwhile took us for the one who looks. */
		LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
		again = slot->check_extension;
		slot->check_extension = false;
		if (!again)
			slot->state = EVQ_SLOT_ABSENT;
		LWLockRelease(evq_shared->lock);
		if (!again)
			proc_exit(0);
	}
}

/* Puts the counters away and ends the process, as told. */
static void
end_as_told(void)
{
	PG_TRY();
	{
		evq_background_begin("evq end");
		if (evq_tables_exist())
			evq_recount_put_away(slot);
		evq_background_end();
	}
	PG_CATCH();
	{
		recover(false);
	}
	PG_END_TRY();
	/* as by die(), which is not the same in all versions */
	ProcDiePending = true;
	InterruptPending = true;
	CHECK_FOR_INTERRUPTS();
}

/* Does what other sessions ask of this process. */
static void
heed_requests(void)
{
	bool check_extension;
	bool leave;

	CHECK_FOR_INTERRUPTS();
	if (ShutdownRequestPending)
		end_as_told();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}

	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	leave = slot->holds > 0;
	check_extension = slot->check_extension;
	slot->check_extension = false;
	LWLockRelease(evq_shared->lock);

	if (leave || !evq_enabled)
		proc_exit(0);
	if (check_extension)
	{
		require_extension(true);
		house_due_at = 0;
	}
	else if (database_changed)
		require_extension(true);
}

/* ---------- turns ---------- */

static void
count_turn(const EvqTurn *turn)
{
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	slot->last_turn_at = GetCurrentTimestamp();
	slot->is_failing = false;
	slot->turns++;
	slot->dispatched += turn->dispatched;
	LWLockRelease(evq_shared->lock);
}

/* One turn in a transaction of its own; false = another one is under way. */
static bool
run_turn(EvqEngine *engine, EvqTurn *turn)
{
	bool done;

	evq_background_begin("evq turn");
	done = evq_tables_exist() && evq_engine_turn(engine, evq_clock_now(), turn);
	evq_background_end();
	return done;
}

/* true = the latch was set, by a session or a signal. */
static bool
wait_ms(long timeout)
{
	static uint32 sleep_wait;
	int events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout,
						   evq_wait_event(&sleep_wait, "EvqDispatcherSleep"));

	ResetLatch(MyLatch);
	return (events & WL_LATCH_SET) != 0;
}

/* How long to let the time pass after so many errors in a row. */
static long
backoff_ms(int errors)
{
	long longest = Min(LONGEST_BACKOFF_MS, Max(SHORTEST_LONGEST_BACKOFF_MS, (long) evq_poll_interval));

	return Min((long) FIRST_BACKOFF_MS << Min(errors, 10), longest);
}

/* Lets the time pass although sessions announce things, but not when asked to leave. */
static void
back_off(long timeout)
{
	int64 until = evq_clock_monotonic() + timeout * 1000;
	int64 left;

	pg_atomic_write_u64(&slot->sleeping_until, (uint64) DT_NOBEGIN);
	while ((left = (until - evq_clock_monotonic()) / 1000) > 0)
	{
		(void) wait_ms(Min(left, LONGEST_WAIT_MS));
		heed_requests();
	}
	pg_atomic_write_u64(&slot->sleeping_until, (uint64) DT_NOEND);
}

/* Remembers since when another session's evq_tick() has kept the turn. */
static void
note_refused_turn(bool refused)
{
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	if (!refused)
		slot->refused_since = 0;
	else if (slot->refused_since == 0)
		slot->refused_since = GetCurrentTimestamp();
	LWLockRelease(evq_shared->lock);
}

/* Waits a little while more comes in, but not for the latch, which says no more than that. */
static void
coalesce(TimestampTz last_turn_at)
{
	static uint32 coalesce_wait;

	if (GetCurrentTimestamp() - last_turn_at < COALESCE_WITHIN)
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, COALESCE_MS,
						 evq_wait_event(&coalesce_wait, "EvqDispatcherCoalesce"));
}

/* Tells sessions what they need to wake us for, and what they can do without us. */
static void
guide_sessions(EvqEngine *engine)
{
	EvqGuide guide = evq_engine_guide(engine, evq_clock_now());

	pg_atomic_write_u32(&slot->wants_changes, guide.wants_changes);
	pg_atomic_write_u64(&slot->full_flows, guide.full_flows);
	pg_atomic_write_u64(&slot->direct_flows, guide.direct_flows);
}

/*
 * Sleeps until something is due. Sessions read sleeping_until, and what
 * guide_sessions() has told, after they have written to the ring; we read the
 * ring after we have written those: one of the two sees the other.
 */
static void
sleep_until_due(EvqEngine *engine)
{
	TimestampTz now = evq_clock_now();
	TimestampTz next_at = Min(evq_engine_next_at(engine, now), schedules_at);
	long timeout = evq_clock_ms_until(now, next_at);

	pg_atomic_write_u64(&slot->sleeping_until, (uint64) next_at);
	timeout = Min(timeout, evq_poll_interval);
	if (evq_recount_is_wanted(slot))
		timeout = Min(timeout, HOUSE_RETRY / 1000);
	if (evq_ring_is_empty(slot->ring))
	{
		bool was_woken;

		if (EVQ_TRACES(DEBUG1))
			EVQ_TRACE(DEBUG1, "evq: sleeps for up to %ld ms; nothing is due before %s", timeout,
					  timestamptz_to_str(next_at));
		was_woken = wait_ms(timeout);
		EVQ_TRACE(DEBUG1, "evq: woken by %s", was_woken ? "its latch" : "the time");
	}
	pg_atomic_write_u64(&slot->sleeping_until, (uint64) DT_NOEND);
}

/* Takes the counters back, where that is to be done. */
static void
take_counters_back(void)
{
	if (!evq_recount_is_take_back_due(slot))
		return;
	PG_TRY();
	{
		set_interruptible(true);
		evq_background_begin("evq counters");
		evq_recount_take_back();
		evq_background_end();
		evq_recount_taken_back(slot);
	}
	PG_CATCH();
	{
		recover(false);
		evq_recount_put_off(slot);
	}
	PG_END_TRY();
	set_interruptible(false);
}

/* Starts the housekeeper at once, then again and again, and when the live events are to be counted. */
static void
look_after_house(void)
{
	int64 now = evq_clock_monotonic();

	house_due_at = Min(house_due_at, now + (int64) evq_housekeeping_interval * 1000);
	if (now < house_due_at && (!evq_recount_is_due(slot) || now < house_started_at + HOUSE_RETRY))
		return;
	house_started_at = now;
	house_due_at = now + (int64) evq_housekeeping_interval * 1000;
	evq_housekeeper_start(MyDatabaseId, slot - evq_shared->slots);
}

/* Hears what sessions have to tell; is a turn due? */
static bool
hear_sessions(EvqEngine *engine, TimestampTz last_turn_at)
{
	(void) evq_engine_hear(engine, evq_clock_now());
	guide_sessions(engine);
	if (!evq_engine_is_due(engine, evq_clock_now()))
		return false;
	coalesce(last_turn_at);
	(void) evq_engine_hear(engine, evq_clock_now());
	return true;
}

/* Publishes what schedules have due, and learns when the next one is; in a transaction, where there is anything to do. */
static void
ring_schedules(void)
{
	bool changed = pg_atomic_read_u32(&slot->schedules_changed) != 0;

	if (!changed && evq_clock_now() < schedules_at)
		return;
	pg_atomic_write_u32(&slot->schedules_changed, 0);
	pg_memory_barrier();
	PG_TRY();
	{
		set_interruptible(true);
		evq_background_begin("evq schedules");
		if (!evq_tables_exist() ||
			!evq_tables_ask("SELECT pg_catalog.to_regprocedure('evq.ring_schedules()') IS NOT NULL"))
			schedules_at = evq_clock_now() + SCHEDULES_LOOK;
		else if (!evq_tables_ask_time("SELECT evq.ring_schedules()", &schedules_at))
			schedules_at = DT_NOEND;
		evq_background_end();
	}
	PG_CATCH();
	{
		recover(false);
		schedules_at = evq_clock_now() + SCHEDULES_RETRY;
	}
	PG_END_TRY();
	set_interruptible(false);
}

typedef enum Outcome
{
	NOT_DUE,
	DONE,
	REFUSED, /* another turn is under way */
	FAILED
} Outcome;

static Outcome
hear_and_run(EvqEngine *engine, TimestampTz last_turn_at, EvqTurn *turn)
{
	volatile Outcome outcome = NOT_DUE;

	PG_TRY();
	{
		if (hear_sessions(engine, last_turn_at))
		{
			set_interruptible(true);
			outcome = run_turn(engine, turn) ? DONE : REFUSED;
		}
	}
	PG_CATCH();
	{
		outcome = FAILED;
	}
	PG_END_TRY();
	set_interruptible(false);
	return outcome;
}

static void
run(void)
{
	EvqEngine *engine = evq_engine_create(slot);
	TimestampTz last_turn_at = 0;
	int errors = 0;

	for (;;)
	{
		EvqTurn turn = {0};
		Outcome outcome;

		heed_requests();
		ring_schedules();
		outcome = hear_and_run(engine, last_turn_at, &turn);
		if (outcome != NOT_DUE)
			last_turn_at = GetCurrentTimestamp();

		switch (outcome)
		{
			case NOT_DUE:
				take_counters_back();
				look_after_house();
				sleep_until_due(engine);
				break;

			case DONE:
				errors = 0;
				count_turn(&turn);
				EVQ_TRACE(DEBUG1, "evq: turn: %d dispatched or offered, %d timed out, %d expired%s",
						  turn.dispatched, turn.timed_out, turn.expired,
						  turn.is_paused ? "; the database is paused" : "");
				if (turn.is_paused)
					require_extension(true);
				else if (evq_engine_has_read(engine))
					pg_atomic_write_u32(&slot->is_offering, 1);
				take_counters_back();
				look_after_house();
				note_refused_turn(false);
				break;

			case REFUSED:
				errors = 0;
				EVQ_TRACE(DEBUG1, "evq: no turn: another session has it");
				require_extension(true);
				back_off(FIRST_BACKOFF_MS);
				note_refused_turn(true);
				break;

			case FAILED:
				recover(true);
				heed_requests();
				pg_atomic_write_u32(&slot->is_offering, 0);
				evq_engine_destroy(engine);
				engine = evq_engine_create(slot);
				evq_engine_isolate_events(engine);
				require_extension(true);
				back_off(backoff_ms(errors));
				errors++;
				break;
		}
	}
}

/* The main function of a dispatcher, which the server looks up by name. It does not return. */
void
evq_dispatcher_main(Datum main_arg)
{
	Oid database = evq_background_database();

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	take_slot(evq_background_slot(), database);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	evq_background_pin_settings("evq dispatcher");
	CacheRegisterSyscacheCallback(DATABASEOID, note_database_change, (Datum) 0);
	require_extension(false);
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	slot->state = EVQ_SLOT_RUNNING;
	LWLockRelease(evq_shared->lock);
	pqsignal(SIGTERM, request_end);
	ereport(LOG, (errmsg("evq dispatcher of database \"%s\" started", evq_background_database_name())));
	run();
}
