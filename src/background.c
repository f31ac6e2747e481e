/*
 * background.c
 *		What the background workers of a database have in common.
 */
#include "postgres.h"

#include "access/xact.h"
#include "pgstat.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "background.h"

/* How long to wait for a lock on a table, say from DROP EXTENSION, before trying again later. */
#define LOCK_TIMEOUT "500ms"

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

/* Begins a transaction; activity is what pg_stat_activity shows meanwhile. */
void
evq_background_begin(const char *activity)
{
	pgstat_report_activity(STATE_RUNNING, activity);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
evq_background_end(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}
