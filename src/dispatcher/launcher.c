/*
 * launcher.c
 *		The background worker that starts dispatchers, one for each database with evq.
 *
 * It is connected to no database, so it cannot see which ones have the
 * extension: at start it tries each, one after the other, and the dispatcher
 * itself ends at once where there is none. Later it hears of new ones from
 * CREATE EXTENSION and CREATE DATABASE (see hooks.c). It starts a dispatcher
 * that has ended again, after a pause that grows while it does not last.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/clock.h"
#include "base/guc.h"
#include "dispatcher/background.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/launcher.h"

#define FIRST_PAUSE (USECS_PER_SEC / 2)
#define LONGEST_PAUSE (60 * USECS_PER_SEC)
#define SHORTEST_LONGEST_PAUSE USECS_PER_SEC

/* Databases without a slot are not tried more often than this. */
#define ROUND_PAUSE USECS_PER_SEC

/* A dispatcher that ran for so long did not fail to start. */
#define LASTED (10 * USECS_PER_SEC)

typedef struct Database
{
	Oid oid;
	NameData name;
} Database;

/* What there was at a moment. */
typedef struct Survey
{
	List *databases; /* those that can have a dispatcher: they take connections and are no templates */
	List *had_slots; /* OIDs of those that had one before: one that got it later may be younger */
} Survey;

/* Registers the launcher, unless this is no place for one. */
void
evq_launcher_init(void)
{
	BackgroundWorker worker;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	evq_background_describe(&worker, "launcher");
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}

static List *
read_databases(MemoryContext context)
{
	List *databases = NIL;
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext previous;
		Database *database;

		if (!form->datallowconn || form->datistemplate)
			continue;
#ifdef DATCONNLIMIT_INVALID_DB
		/* left behind by an interrupted DROP DATABASE */
		if (form->datconnlimit == DATCONNLIMIT_INVALID_DB)
			continue;
#endif
		previous = MemoryContextSwitchTo(context);
		database = palloc(sizeof(Database));
		database->oid = form->oid;
		database->name = form->datname;
		databases = lappend(databases, database);
		MemoryContextSwitchTo(previous);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return databases;
}

static List *
read_slots(MemoryContext context)
{
	MemoryContext previous = MemoryContextSwitchTo(context);
	List *had_slots = NIL;

	for (int i = 0; i < evq_shared->slot_count; i++)
		had_slots = lappend_oid(had_slots, evq_shared->slots[i].database);
	MemoryContextSwitchTo(previous);
	return had_slots;
}

/* What this returns is in the context, which is emptied before. */
static Survey
take_survey(MemoryContext context)
{
	Survey survey;

	MemoryContextReset(context);
	survey.had_slots = read_slots(context);
	survey.databases = read_databases(context);
	return survey;
}

static const Database *
find_database(List *databases, Oid oid)
{
	ListCell *cell;

	foreach(cell, databases)
	{
		const Database *database = lfirst(cell);

		if (database->oid == oid)
			return database;
	}
	return NULL;
}

/* A fault that is gone must not keep a database waiting for longer than a lost wake-up would. */
static int64
longest_pause(void)
{
	return Min(LONGEST_PAUSE, Max(SHORTEST_LONGEST_PAUSE, (int64) evq_poll_interval * 1000));
}

/* Starts a dispatcher and waits until it has found out whether it has anything to do there. */
static void
start_dispatcher(EvqSlot *slot, const Database *database)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	bool is_registered;
	pid_t pid;

	evq_dispatcher_describe(&worker, database->oid, slot - evq_shared->slots, NameStr(database->name));
	slot->started_at = GetCurrentTimestamp();
	is_registered = RegisterDynamicBackgroundWorker(&worker, &handle);
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	slot->lacks_worker = !is_registered;
	if (!is_registered && slot->state == EVQ_SLOT_STARTING)
		slot->state = EVQ_SLOT_STOPPED;
	LWLockRelease(evq_shared->lock);
	if (!is_registered)
	{
		static int64 logged_at;

		if (evq_clock_once_a_minute(&logged_at))
			ereport(WARNING,
					(errmsg("evq: no background worker is free for the dispatcher of database \"%s\"",
							NameStr(database->name)),
					 errhint("Raise max_worker_processes and restart the server.")));
		return;
	}
	(void) WaitForBackgroundWorkerStartup(handle, &pid);
	pfree(handle);
}

/* When may a stopped dispatcher be started again? */
static TimestampTz
restart_time(EvqSlot *slot, TimestampTz now)
{
	if (slot->restart_at == 0)
	{
		int64 pause = FIRST_PAUSE << Min(slot->failures, 10);

		slot->failures = now - slot->started_at > LASTED ? 0 : slot->failures + 1;
		if (slot->failures == 0)
			pause = FIRST_PAUSE;
		slot->restart_at = now + Min(pause, longest_pause());
	}
	/* The clock may have been set back. */
	slot->restart_at = Min(slot->restart_at, now + longest_pause());
	return slot->restart_at;
}

/* When may one be tried that found nothing to do, but for what a prepared transaction may bring? */
static TimestampTz
retry_time(EvqSlot *slot, TimestampTz now)
{
	if (slot->restart_at == 0 || slot->restart_at > now + longest_pause())
		slot->restart_at = now + longest_pause();
	return slot->restart_at;
}

/* Starts what is to be started now; returns when to look again. */
static TimestampTz
start_dispatchers(const Survey *survey)
{
	TimestampTz next_at = DT_NOEND;

	for (int i = 0; i < evq_shared->slot_count && evq_enabled; i++)
	{
		EvqSlot *slot = &evq_shared->slots[i];
		TimestampTz now = GetCurrentTimestamp();
		const Database *database;
		bool start = false;

		LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
		database = OidIsValid(slot->database) ? find_database(survey->databases, slot->database) : NULL;
		if (OidIsValid(slot->database) && slot->holds == 0 && slot->pid == 0)
		{
			if (database == NULL && !list_member_oid(survey->had_slots, slot->database))
				next_at = DT_NOBEGIN; /* perhaps created just now */
			else if (database == NULL)
			{
				/* dropped, or turned into a template */
				evq_shmem_free(slot);
			}
			else if (slot->state == EVQ_SLOT_WANTED)
				start = true;
			else if (slot->state == EVQ_SLOT_STOPPED)
			{
				start = restart_time(slot, now) <= now;
				if (!start)
					next_at = Min(next_at, slot->restart_at);
			}
			else if (slot->state == EVQ_SLOT_ABSENT && pg_atomic_read_u32(&slot->prepared) != 0)
			{
				start = retry_time(slot, now) <= now;
				if (!start)
					next_at = Min(next_at, slot->restart_at);
			}
			else if (slot->state == EVQ_SLOT_STARTING &&
					 (now - slot->started_at > LASTED || now < slot->started_at))
				slot->state = EVQ_SLOT_STOPPED; /* it died before it took its slot */
			else if (slot->state == EVQ_SLOT_STARTING)
				next_at = Min(next_at, slot->started_at + LASTED);
			if (start)
			{
				slot->state = EVQ_SLOT_STARTING;
				slot->restart_at = 0;
			}
		}
		LWLockRelease(evq_shared->lock);
		if (start)
		{
			start_dispatcher(slot, database);
			/* That waited on our latch, and may have taken a wake-up for another slot. */
			next_at = DT_NOBEGIN;
		}
	}
	return next_at;
}

/*
 * Wants a dispatcher in every database that might have the extension, or, to
 * use a slot that can be had, in those that have none.
 */
static void
want_dispatchers(const Survey *survey, bool in_all)
{
	static uint32 start_wait;
	ListCell *cell;

	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	evq_shared->is_short = false;
	LWLockRelease(evq_shared->lock);

	foreach(cell, survey->databases)
	{
		const Database *database = lfirst(cell);
		EvqSlot *slot;

		LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
		if (!in_all && evq_shmem_find(database->oid) != NULL)
		{
			LWLockRelease(evq_shared->lock);
			continue;
		}
		slot = evq_shmem_find_or_make(database->oid);
		evq_shared->is_short |= slot == NULL;
		if (slot != NULL && slot->pid == 0 && slot->state != EVQ_SLOT_STARTING)
			slot->state = EVQ_SLOT_WANTED;
		LWLockRelease(evq_shared->lock);

		/* One after the other: a slot without the extension serves the next database. */
		if (slot != NULL)
		{
			(void) start_dispatchers(survey);
			for (int i = 0; i < 100 && slot->state == EVQ_SLOT_STARTING; i++)
			{
				CHECK_FOR_INTERRUPTS();
				(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100,
								 evq_wait_event(&start_wait, "EvqLauncherStart"));
				ResetLatch(MyLatch);
			}
		}
		else if (in_all)
			ereport(WARNING,
					(errmsg("evq: no slot for a dispatcher of database \"%s\"", NameStr(database->name)),
					 errhint("Raise evq.max_databases and restart the server.")));
	}
}

/* Is there a slot to be had, and perhaps a database that waits for it? */
static bool
can_serve_more(void)
{
	bool can;

	LWLockAcquire(evq_shared->lock, LW_SHARED);
	can = evq_shared->is_short && evq_shmem_has_room();
	LWLockRelease(evq_shared->lock);
	return can;
}

static void
forget_launcher(int code, Datum arg)
{
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	evq_shared->launcher_latch = NULL;
	LWLockRelease(evq_shared->lock);
}

/* The main function of the launcher, which the server looks up by name. It does not return. */
void
evq_launcher_main(Datum main_arg)
{
	static uint32 sleep_wait;
	MemoryContext context;
	bool try_all = true;
	int64 next_round_at = 0; /* by the clock that nobody turns back */

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	evq_shared->launcher_latch = MyLatch;
	LWLockRelease(evq_shared->lock);
	before_shmem_exit(forget_launcher, (Datum) 0);

	context = AllocSetContextCreate(TopMemoryContext, "evq launcher", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		bool was_enabled = evq_enabled;
		TimestampTz next_at;
		Survey survey;
		long timeout = -1;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			try_all = try_all || (evq_enabled && !was_enabled);
		}

		survey = take_survey(context);
		MemoryContextSwitchTo(context);
		if (try_all && evq_enabled)
		{
			want_dispatchers(&survey, true);
			try_all = false;
			continue; /* it waited on our latch too */
		}
		next_at = start_dispatchers(&survey);
		if (evq_enabled && can_serve_more())
		{
			int64 now = evq_clock_monotonic();

			if (now >= next_round_at)
			{
				want_dispatchers(&survey, false);
				next_round_at = evq_clock_monotonic() + ROUND_PAUSE;
				continue;
			}
			next_at = Min(next_at, GetCurrentTimestamp() + (next_round_at - now));
		}
		if (!TIMESTAMP_IS_NOEND(next_at))
			timeout = Max(evq_clock_ms_until(GetCurrentTimestamp(), next_at), 1);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
						 timeout, evq_wait_event(&sleep_wait, "EvqLauncherSleep"));
		ResetLatch(MyLatch);
	}
}
