/*
 * housekeeper.c
 *		The background worker that keeps a database's tables in order.
 *
 * The dispatcher starts it now and then, so that nothing it does delays a
 * dispatch; it ends when it is done. What there is to do is written in SQL
 * (sql/parts/064_history.sql, 077_schedule_run.sql), in steps, each a
 * transaction. It may be ended at any moment: the next one goes on from the
 * tables.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

#include "background.h"
#include "housekeeper.h"
#include "shmem.h"
#include "tables.h"

static EvqPlace *place;

/* Called by the dispatcher; does nothing while one is at work or no worker is free: there will be another time. */
void
evq_housekeeper_start(Oid database, int place_index)
{
	BackgroundWorker worker;

	evq_background_describe(&worker, "housekeeper");
	evq_background_assign(&worker, database, place_index);
	if (!RegisterDynamicBackgroundWorker(&worker, NULL))
		ereport(LOG, (errmsg("evq: no background worker is free for housekeeping"),
					  errhint("Raise max_worker_processes.")));
}

static void
leave_place(int code, Datum arg)
{
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	if (place->housekeeper_pid == MyProcPid)
		place->housekeeper_pid = 0;
	LWLockRelease(evq_shared->lock);
}

/* Ends the process if it is not wanted any more. */
static void
take_place(int index, Oid database)
{
	bool taken;

	place = &evq_shared->places[index];
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	taken = place->housekeeper_pid != 0 || place->holds > 0 || place->database != database;
	if (!taken)
		place->housekeeper_pid = MyProcPid;
	LWLockRelease(evq_shared->lock);
	if (taken)
		proc_exit(0);
	before_shmem_exit(leave_place, (Datum) 0);
}

/* One step in a transaction of its own. True = there may be another; an error is reported and ends the task. */
static bool
run_step(const char *query)
{
	MemoryContext previous = CurrentMemoryContext;
	volatile bool more = false;

	PG_TRY();
	{
		evq_background_begin(query);
		if (evq_tables_has("housekeeping"))
			more = evq_tables_ask(query);
		evq_background_end();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(previous);
		EmitErrorReport();
		evq_background_abort();
		more = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(previous);
	return more;
}

void
evq_housekeeper_main(Datum main_arg)
{
	static const char *const tasks[] = {
		"SELECT evq.prepare_history() > 0",
		"SELECT evq.catch_up_schedules() < 0",
		"SELECT more FROM evq.keep_house()",
	};
	Oid database = evq_background_database(main_arg);

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	take_place(evq_background_place(main_arg), database);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	evq_background_pin_settings("evq housekeeper");
	for (int i = 0; i < lengthof(tasks); i++)
	{
		while (run_step(tasks[i]))
			CHECK_FOR_INTERRUPTS();
	}
}
