/*
 * guc.c
 *		Settings.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "base/guc.h"

int evq_max_databases = 8;
int evq_ring_size = 8192;
int evq_ready_size = 32768;

bool evq_enabled = true;
int evq_poll_interval = 5000;
int evq_dispatch_batch = 1000;
int evq_max_tracked = 100000;
int evq_housekeeping_interval = 3600 * 1000;
bool evq_trace = false;

int evq_max_pending_per_transaction = 10000;
int evq_max_payload = 1024 * 1024;
int evq_max_chain_depth = 100;
int evq_store_batches_from = 8;

int evq_debug_clock_offset = 0;
bool evq_debug_lose_wakeups = false;
char *evq_debug_wait_at = "";

enum
{
	BY_HOUR,
	BY_DAY,
	BY_WEEK,
	BY_MONTH
};
static const struct config_enum_entry history_partitions[] = {{"hour", BY_HOUR, false},
															  {"day", BY_DAY, false},
															  {"week", BY_WEEK, false},
															  {"month", BY_MONTH, false},
															  {NULL, 0, false}};
/* SQL alone asks for these, by their names. */
static int history_partition = BY_DAY;
static int audit_retention = 365 * 24 * 60;

/* Defines the settings. Called by _PG_init() once a process. */
void
evq_guc_init(void)
{
	/* These size shared memory, which exists only when evq is preloaded. */
	if (process_shared_preload_libraries_in_progress)
	{
		DefineCustomIntVariable(
			"evq.max_databases", "Databases of this server that may have a dispatcher.",
			"Each takes shared memory of about ring_size * 96 + ready_size * 96 bytes + 100 kB.",
			&evq_max_databases, 8, 1, 1024, PGC_POSTMASTER, 0, NULL, NULL, NULL);
		DefineCustomIntVariable("evq.ring_size", "State changes that fit between sessions and a dispatcher.",
								"When it overflows, the dispatcher reads the tables instead.", &evq_ring_size,
								8192, 16, 1024 * 1024, PGC_POSTMASTER, 0, NULL, NULL, NULL);
		DefineCustomIntVariable(
			"evq.ready_size",
			"Offered events that evq_acquire_next() can take without a search, for each database.", NULL,
			&evq_ready_size, 32768, 16, 4 * 1024 * 1024, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	}

	DefineCustomBoolVariable("evq.enabled", "Runs dispatchers.",
							 "When off, events are published and reported, but only evq_tick() dispatches.",
							 &evq_enabled, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("evq.poll_interval",
							"Longest time until the dispatcher looks at the tables while there is live work.",
							"An event whose wake-up was lost waits at most this long.", &evq_poll_interval,
							5000, 10, 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("evq.dispatch_batch", "Events that the dispatcher changes in one transaction.",
							NULL, &evq_dispatch_batch, 1000, 1, 100000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"evq.max_tracked",
		"Waiting events that a dispatcher remembers; the others it reads from the tables when their turn comes.",
		"Each takes about 250 bytes of its memory. Of a flow, those are remembered that come first.",
		&evq_max_tracked, 100000, 100, 100000000, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"evq.housekeeping_interval",
		"How often partitions of the history are made ahead, and finished events past their retention deleted.",
		"A background worker does it, which ends when it is done.", &evq_housekeeping_interval, 3600 * 1000,
		100, 24 * 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomEnumVariable(
		"evq.history_partition",
		"The time that a new partition of the history, or of events in batches, covers.",
		"Retention drops partitions as a whole: finished events are kept up to this much longer.",
		&history_partition, BY_DAY, history_partitions, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("evq.audit_retention", "How long it is kept who did what.",
							"0 = for ever. Housekeeping deletes what is older.", &audit_retention,
							365 * 24 * 60, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);

	DefineCustomBoolVariable("evq.trace", "Logs each turn of the dispatcher, each sweep and each event.",
							 "The same lines have the levels DEBUG1 and, of events, DEBUG2 when it is off.",
							 &evq_trace, false, PGC_SUSET, 0, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"evq.max_pending_per_transaction",
		"State changes of one transaction that are announced to the dispatcher one by one.",
		"Past that it is told to read the tables.", &evq_max_pending_per_transaction, 10000, 0, 10000000,
		PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("evq.max_payload",
							"Largest payload, for event types without a limit of their own.",
							"Measured as stored: the bytes of the jsonb value.", &evq_max_payload,
							1024 * 1024, 2, 255 * 1024 * 1024, PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable("evq.max_chain_depth", "Longest chain of spinoff and on-fail events.", NULL,
							&evq_max_chain_depth, 100, 1, SHRT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"evq.store_batches_from",
		"Alike events that one call has to publish for them to be stored as a batch; 0 = never.",
		"Those that are stored stay as they are.", &evq_store_batches_from, 8, 0, INT_MAX, PGC_USERSET, 0,
		NULL, NULL, NULL);

	DefineCustomIntVariable("evq.debug_clock_offset", "Moves the engine's clock in this session; for tests.",
							NULL, &evq_debug_clock_offset, 0, INT_MIN, INT_MAX, PGC_SUSET,
							GUC_UNIT_S | GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomBoolVariable("evq.debug_lose_wakeups",
							 "Loses this session's announcements to the dispatcher; for tests.", NULL,
							 &evq_debug_lose_wakeups, false, PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"evq.debug_wait_at",
		"Holds this session at a point while another has pg_advisory_lock(1); for tests.", NULL,
		&evq_debug_wait_at, "", PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);

	MarkGUCPrefixReserved("evq");
}
