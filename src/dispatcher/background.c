/*
 * background.c
 *		What the background workers have in common.
 */
#include "postgres.h"

#include "access/xact.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/lwlock.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "dispatcher/background.h"

/* How long to wait for a lock on a table, say from DROP EXTENSION, before trying again later. */
#define LOCK_TIMEOUT "500ms"

/* Describes a worker for whoever registers it: its main function is evq_ROLE_main(), and nobody starts it again. */
void
evq_background_describe(BackgroundWorker *worker, const char *role)
{
	memset(worker, 0, sizeof(*worker));
	snprintf(worker->bgw_type, BGW_MAXLEN, "evq %s", role);
	strlcpy(worker->bgw_name, worker->bgw_type, BGW_MAXLEN);
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "evq", BGW_MAXLEN);
	snprintf(worker->bgw_function_name, BGW_MAXLEN, "evq_%s_main", role);
}

/* What a worker is told of its work. A number of 64 bits does not fit into every Datum. */
typedef struct Assignment
{
	Oid database;
	int slot_index;
	char name[NAMEDATALEN]; /* of the database, for the worker's log */
} Assignment;

StaticAssertDecl(sizeof(Assignment) <= BGW_EXTRALEN, "a worker is told no more");

/* The worker will serve this database, whose slot has this index. */
void
evq_background_assign(BackgroundWorker *worker, Oid database, int slot_index, const char *name)
{
	Assignment assignment = {.database = database, .slot_index = slot_index};

	strlcpy(assignment.name, name, NAMEDATALEN);
	snprintf(worker->bgw_name, BGW_MAXLEN, "%s for database %u", worker->bgw_type, database);
	memcpy(worker->bgw_extra, &assignment, sizeof(assignment));
}

static Assignment
my_assignment(void)
{
	Assignment assignment;

	memcpy(&assignment, MyBgworkerEntry->bgw_extra, sizeof(assignment));
	return assignment;
}

/* The database that evq_background_assign() has given this worker. */
Oid
evq_background_database(void)
{
	return my_assignment().database;
}

/* The index of its slot. */
int
evq_background_slot(void)
{
	return my_assignment().slot_index;
}

/* The name of its database, in the current memory context. */
char *
evq_background_database_name(void)
{
	return pstrdup(my_assignment().name);
}

/* What the database or a role set for its sessions must not hold for the engine. */
void
evq_background_pin_settings(const char *application_name)
{
	static const char *const pins[][2] =
	{ {"search_path", "pg_catalog"},
	  {"synchronous_commit", "off"},
	  {"lock_timeout", LOCK_TIMEOUT},
	  {"statement_timeout", "0"},
	  {"idle_in_transaction_session_timeout", "0"},
#if PG_VERSION_NUM >= 170000
	  {"transaction_timeout", "0"},
#endif
	  {"default_transaction_isolation", "read committed"},
	  {"default_transaction_read_only", "off"},
	  {"default_transaction_deferrable", "off"},
	  {"row_security", "off"},
	  {"max_parallel_workers_per_gather", "0"},
	  {"jit", "off"},
	  {"client_min_messages", "error"},
	};

	SetConfigOption("application_name", application_name, PGC_SUSET, PGC_S_OVERRIDE);
	for (int i = 0; i < lengthof(pins); i++)
		SetConfigOption(pins[i][0], pins[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

/* Begins a transaction with a snapshot; activity: what pg_stat_activity shows meanwhile. */
void
evq_background_begin(const char *activity)
{
	pgstat_report_activity(STATE_RUNNING, activity);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* Commits the transaction of evq_background_begin(). */
void
evq_background_end(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Ends the transaction, if any, after an error that has been reported. */
void
evq_background_abort(void)
{
	LWLockReleaseAll();
	AbortCurrentTransaction();
	FlushErrorState();
	pgstat_report_activity(STATE_IDLE, NULL);
}
