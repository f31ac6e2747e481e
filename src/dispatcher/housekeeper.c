/*
 * housekeeper.c
 *		The background worker that keeps a database's tables in order.
 *
 * The dispatcher starts it now and then, and when the live events are to be
 * counted, so that nothing of this delays a dispatch; it ends when it is done.
 * What else there is to do is written in SQL (sql/parts/064_history.sql, 066_log.sql,
 * 077_schedule_run.sql), in steps, each a transaction. It may be ended at any
 * moment: the next one goes on from the tables.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/clock.h"
#include "dispatcher/background.h"
#include "dispatcher/housekeeper.h"
#include "dispatcher/recount.h"
#include "tables/tables.h"

/* How long to wait for a moment when no transaction is at work, before counting all the same. */
#define PATIENCE (10 * USECS_PER_SEC)
#define QUIET_LOOK_MS 10

static EvqSlot *slot;

/* For the dispatcher: registers a housekeeper. Where no worker is free nothing happens, and where one is at work it ends at once. */
void
evq_housekeeper_start(Oid database, int slot_index)
{
	static int64 logged_at;
	BackgroundWorker worker;

	evq_background_describe(&worker, "housekeeper");
	evq_background_assign(&worker, database, slot_index, "");
	if (!RegisterDynamicBackgroundWorker(&worker, NULL) && evq_clock_once_a_minute(&logged_at))
		ereport(LOG, (errmsg("evq: no background worker is free for housekeeping"),
					  errhint("Raise max_worker_processes.")));
}

static void
leave_slot(int code, Datum arg)
{
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	if (slot->housekeeper_pid == MyProcPid)
		slot->housekeeper_pid = 0;
	LWLockRelease(evq_shared->lock);
}

/* Ends the process if it is not wanted any more. */
static void
take_slot(int index, Oid database)
{
	bool taken;

	slot = &evq_shared->slots[index];
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	taken = slot->housekeeper_pid != 0 || slot->holds > 0 || slot->database != database;
	if (!taken)
		slot->housekeeper_pid = MyProcPid;
	LWLockRelease(evq_shared->lock);
	if (taken)
		proc_exit(0);
	before_shmem_exit(leave_slot, (Datum) 0);
}

/*
 * Does something in a transaction of its own; what it answers, or false after an error, which is reported, and where
 * the extension is of a version that does not have the table for it.
 */
static bool
run_step(const char *table, const char *activity, bool (*act)(const char *))
{
	MemoryContext previous = CurrentMemoryContext;
	volatile bool answer = false;

	PG_TRY();
	{
		evq_background_begin(activity);
		answer = evq_tables_has(table) && act(activity);
		evq_background_end();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(previous);
		EmitErrorReport();
		evq_background_abort();
		answer = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(previous);
	return answer;
}

static bool
recount(const char *activity)
{
	evq_recount_run(slot);
	return true;
}

/* Counts the live events, if that is to be done: when no transaction is at work, or when patience, if any, is at its end. */
static void
look_after_counters(int64 patience)
{
	static uint32 quiet_wait;
	int64 until = evq_clock_monotonic() + patience;

	if (!evq_recount_is_due(slot) || (patience == 0 && !evq_recount_is_quiet(slot)))
		return;
	while (!evq_recount_is_quiet(slot) && evq_clock_monotonic() < until)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, QUIET_LOOK_MS,
						 evq_wait_event(&quiet_wait, "EvqHousekeeperQuiet"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	if (!run_step("housekeeping", "evq recount", recount))
		evq_recount_put_off(slot);
}

/* The main function of a housekeeper, which the server looks up by name. It returns when all is done. */
void
evq_housekeeper_main(Datum main_arg)
{
	static const struct
	{
		const char *table;
		const char *query;
	} tasks[] = {
		{"housekeeping", "SELECT evq.prepare_history() > 0"},
		{"log", "SELECT evq.prepare_log() > 0"},
		{"housekeeping", "SELECT evq.catch_up_schedules() < 0"},
		{"housekeeping", "SELECT more FROM evq.keep_house()"},
	};
	Oid database = evq_background_database();

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	take_slot(evq_background_slot(), database);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	evq_background_pin_settings("evq housekeeper");
	look_after_counters(PATIENCE);
	for (int i = 0; i < lengthof(tasks); i++)
	{
		while (run_step(tasks[i].table, tasks[i].query, evq_tables_ask))
		{
			CHECK_FOR_INTERRUPTS();
			look_after_counters(0);
		}
	}
}
