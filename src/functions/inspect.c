/*
 * inspect.c
 *		SQL functions that look inside.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupconvert.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/guc.h"
#include "rules/transition.h"
#include "session/arguments.h"
#include "session/pending.h"
#include "shared/counters.h"
#include "tables/history.h"
#include "tables/partitions.h"
#include "tables/store.h"
#include "tables/tables.h"

PG_FUNCTION_INFO_V1(evq_sql_transitions);
PG_FUNCTION_INFO_V1(evq_sql_status);
PG_FUNCTION_INFO_V1(evq_sql_counters);
PG_FUNCTION_INFO_V1(evq_sql_live_counts);
PG_FUNCTION_INFO_V1(evq_sql_history_partitions);
PG_FUNCTION_INFO_V1(evq_sql_log_partitions);
PG_FUNCTION_INFO_V1(evq_sql_finished_events);
PG_FUNCTION_INFO_V1(evq_sql_watch);
PG_FUNCTION_INFO_V1(evq_sql_caller_may_work);
PG_FUNCTION_INFO_V1(evq_sql_caller_may_publish);
PG_FUNCTION_INFO_V1(evq_sql_library_version);
PG_FUNCTION_INFO_V1(evq_sql_known_columns);
PG_FUNCTION_INFO_V1(evq_sql_announce_extension);

/* The transition table of the code. */
Datum
evq_sql_transitions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < evq_transition_count; i++)
	{
		const EvqTransition *transition = &evq_transition_table[i];
		Oid enum_type = TupleDescAttr(result->setDesc, 0)->atttypid;
		Datum values[4];
		bool nulls[4] = {false};

		nulls[0] = transition->from == EVQ_STATE_NONE;
		values[0] = nulls[0] ? (Datum) 0 : evq_argument_state_datum(transition->from, enum_type);
		values[1] = CStringGetTextDatum(evq_transition_verb_name(transition->verb));
		values[2] = evq_argument_state_datum(transition->to, enum_type);
		values[3] = CStringGetTextDatum(transition->note);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static Datum
return_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc row_type;

	if (get_call_result_type(fcinfo, NULL, &row_type) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row_type), values, nulls));
}

/* What keeps this database's events from being dispatched, and what to do; false = nothing. */
static bool
find_problem(const EvqSlot *slot, const char **problem, const char **hint)
{
	if (evq_shared == NULL)
	{
		*problem = "evq is not preloaded: no dispatcher runs";
		*hint = "Add evq to shared_preload_libraries and restart, or call evq_tick() from pg_cron.";
	}
	else if (evq_config_is_paused())
	{
		*problem = "this database is paused";
		*hint = "evq.pause says since when and why; let it go on with evq_resume().";
	}
	else if (!evq_enabled)
	{
		*problem = "dispatchers are switched off";
		*hint = "Set evq.enabled = on and reload.";
	}
	else if (RecoveryInProgress())
	{
		*problem = "this server is a standby: events are dispatched on the primary";
		*hint = "Connect to the primary; after a promotion the dispatcher starts by itself.";
	}
	else if ((slot == NULL || slot->pid == 0) && evq_shared->launcher_latch == NULL)
	{
		*problem = "the launcher is not running, which starts dispatchers";
		*hint =
			"If it does not come within seconds, the server's log says why: most often max_worker_processes is too small. Raise it and restart.";
	}
	else if (slot == NULL)
	{
		*problem = "no dispatcher is assigned to this database";
		*hint =
			"Raise evq.max_databases and restart, or let another database go without; template databases get no dispatcher.";
	}
	else if (slot->holds > 0)
	{
		*problem = "a session holds the dispatcher off to change the database";
		*hint = "It starts again when DROP, ALTER or CREATE DATABASE has ended.";
	}
	else if (slot->pid == 0 && slot->lacks_worker)
	{
		*problem = "no background worker is free for the dispatcher";
		*hint =
			"Raise max_worker_processes and restart; the dispatcher starts by itself when one becomes free.";
	}
	else if (slot->pid == 0)
	{
		*problem = "the dispatcher is not running";
		*hint = "It starts again by itself; see last_error and the server's log for why it ended.";
	}
	else if (slot->refused_since != 0 &&
			 GetCurrentTimestamp() - slot->refused_since > (int64) evq_poll_interval * 1000)
	{
		*problem = "a session that called evq_tick() has not ended its transaction: no other turn can run";
		*hint = "End that transaction; pg_locks shows it with an advisory lock of objsubid 229.";
	}
	else if (slot->is_failing)
	{
		*problem = "the dispatcher fails";
		*hint = "last_error says why; it tries again, after pauses of up to evq.poll_interval.";
	}
	else
		return false;
	return true;
}

/* The columns of evq_status(). */
enum
{
	STATUS_PRELOADED,
	STATUS_ENABLED,
	STATUS_RUNNING,
	STATUS_PID,
	STATUS_STARTED_AT,
	STATUS_LAST_TURN_AT,
	STATUS_TURNS,
	STATUS_DISPATCHED,
	STATUS_LOST,
	STATUS_ERRORS,
	STATUS_LAST_ERROR,
	STATUS_PROBLEM,
	STATUS_HINT,
	STATUS_COLUMNS
};

Datum
evq_sql_status(PG_FUNCTION_ARGS)
{
	EvqSlot *slot = NULL;
	EvqSlot copy = {0};
	const char *problem;
	const char *hint;
	Datum values[STATUS_COLUMNS] = {0};
	bool nulls[STATUS_COLUMNS];

	evq_config_use();
	memset(nulls, true, sizeof(nulls));
	if (evq_shared != NULL)
	{
		LWLockAcquire(evq_shared->lock, LW_SHARED);
		slot = evq_shmem_find(MyDatabaseId);
		if (slot != NULL)
			memcpy(&copy, slot, sizeof(copy));
		LWLockRelease(evq_shared->lock);
	}

	values[STATUS_PRELOADED] = BoolGetDatum(evq_shared != NULL);
	values[STATUS_ENABLED] = BoolGetDatum(evq_enabled);
	values[STATUS_RUNNING] = BoolGetDatum(copy.pid != 0);
	nulls[STATUS_PRELOADED] = nulls[STATUS_ENABLED] = nulls[STATUS_RUNNING] = false;
	if (slot != NULL)
	{
		values[STATUS_PID] = Int32GetDatum(copy.pid);
		nulls[STATUS_PID] = copy.pid == 0;
		values[STATUS_STARTED_AT] = TimestampTzGetDatum(copy.started_at);
		nulls[STATUS_STARTED_AT] = copy.started_at == 0;
		values[STATUS_LAST_TURN_AT] = TimestampTzGetDatum(copy.last_turn_at);
		nulls[STATUS_LAST_TURN_AT] = copy.last_turn_at == 0;
		values[STATUS_TURNS] = Int64GetDatum((int64) copy.turns);
		values[STATUS_DISPATCHED] = Int64GetDatum((int64) copy.dispatched);
		values[STATUS_LOST] = Int64GetDatum((int64) copy.ring->overflow_count);
		values[STATUS_ERRORS] = Int64GetDatum((int64) copy.errors);
		nulls[STATUS_TURNS] = nulls[STATUS_DISPATCHED] = nulls[STATUS_LOST] = nulls[STATUS_ERRORS] = false;
		values[STATUS_LAST_ERROR] = CStringGetTextDatum(copy.last_error);
		nulls[STATUS_LAST_ERROR] = copy.last_error[0] == '\0';
	}
	if (find_problem(slot == NULL ? NULL : &copy, &problem, &hint))
	{
		values[STATUS_PROBLEM] = CStringGetTextDatum(problem);
		values[STATUS_HINT] = CStringGetTextDatum(hint);
		nulls[STATUS_PROBLEM] = nulls[STATUS_HINT] = false;
	}
	return return_row(fcinfo, values, nulls);
}

static void
put_reading(const EvqReading *reading, void *arg)
{
	ReturnSetInfo *result = arg;
	Datum values[3] = {Int32GetDatum(reading->no), CStringGetTextDatum(reading->name),
					   Int64GetDatum(reading->value)};
	bool nulls[3] = {false};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* The counters; no rows without shared memory, and while those of before the last stop are not back. */
Datum
evq_sql_counters(PG_FUNCTION_ARGS)
{
	EvqSlot *slot = evq_shmem_mine();

	InitMaterializedSRF(fcinfo, 0);
	if (slot != NULL && evq_counters_phase(slot->counters) == EVQ_COUNTERS_OPEN)
		evq_counters_read(slot->counters, put_reading, fcinfo->resultinfo);
	return (Datum) 0;
}

/*
 * How many events of each type are in each live state, by the counters and what
 * this transaction has changed; no rows as with the counters, and none for types
 * that have none.
 */
Datum
evq_sql_live_counts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EvqSlot *slot = evq_shmem_mine();
	const EvqEventType *event_types;
	int32 *event_type_nos;
	EvqLiveCount *counts;
	int type_count;
	int count;
	bool is_exact;

	InitMaterializedSRF(fcinfo, 0);
	evq_config_use();
	event_types = evq_config_event_types(&type_count);
	if (slot == NULL || type_count == 0 || evq_counters_phase(slot->counters) != EVQ_COUNTERS_OPEN)
		return (Datum) 0;
	is_exact = !evq_counters_is_recount_wanted(slot->counters);
	event_type_nos = palloc(type_count * sizeof(int32));
	for (int i = 0; i < type_count; i++)
		event_type_nos[i] = event_types[i].event_type_no;
	counts = palloc(type_count * EVQ_LIVE_STATES * sizeof(EvqLiveCount));
	count = evq_counters_live(slot->counters, event_type_nos, type_count, counts);
	evq_pending_add_own(counts, count);
	for (int i = 0; i < count; i++)
	{
		/* Two changes may be told in the wrong order. */
		Datum values[4] = {Int32GetDatum(counts[i].event_type_no),
						   CharGetDatum(evq_transition_state_code(counts[i].state)),
						   Int64GetDatum(Max(counts[i].count, 0)), BoolGetDatum(is_exact)};
		bool nulls[4] = {false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Answers with the partitions of a table; the default one without times. */
static Datum
put_partitions(FunctionCallInfo fcinfo, EvqTableNo no)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int count;
	const EvqPartition *partitions;

	InitMaterializedSRF(fcinfo, 0);
	partitions = evq_partitions(evq_tables_relid(no, false), &count);
	for (int i = 0; i < count; i++)
	{
		bool is_default = partitions[i].is_default;
		Datum values[3] = {ObjectIdGetDatum(partitions[i].relid), TimestampTzGetDatum(partitions[i].from),
						   TimestampTzGetDatum(partitions[i].to)};
		bool nulls[3] = {false, is_default, is_default};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* The partitions of the history, by when events finished. */
Datum
evq_sql_history_partitions(PG_FUNCTION_ARGS)
{
	return put_partitions(fcinfo, EVQ_TABLE_HISTORY);
}

/* The partitions of evq.log, by when events were published. */
Datum
evq_sql_log_partitions(PG_FUNCTION_ARGS)
{
	return put_partitions(fcinfo, EVQ_TABLE_LOG);
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(DatumGetUUIDP(*(const Datum *) a), DatumGetUUIDP(*(const Datum *) b), UUID_LEN);
}

/* Adds a row of a partition to the answer, its columns by name: a partition may have them in another order, and gaps of dropped ones. */
static void
put_row(ReturnSetInfo *result, TupleTableSlot *row)
{
	TupleConversionMap *map = convert_tuples_by_name(row->tts_tupleDescriptor, result->setDesc);
	TupleTableSlot *converted;

	if (map == NULL)
	{
		tuplestore_puttupleslot(result->setResult, row);
		return;
	}
	converted = MakeSingleTupleTableSlot(result->setDesc, &TTSOpsVirtual);
	tuplestore_puttupleslot(result->setResult, execute_attr_map_slot(map->attrMap, row, converted));
	ExecDropSingleTupleTableSlot(converted);
	free_conversion_map(map);
}

/* The rows of finished events, by their ids, each once. */
Datum
evq_sql_finished_events(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum *ids;
	bool *nulls;
	int count;
	int given = 0;
	EvqStore *store;

	InitMaterializedSRF(fcinfo, 0);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids, &nulls,
					  &count);
	for (int i = 0; i < count; i++)
	{
		if (!nulls[i])
			ids[given++] = ids[i];
	}
	/* In the order of time: from one event to the next the partition seldom changes. */
	qsort(ids, given, sizeof(Datum), compare_ids);
	store = evq_store_open_to_read();
	for (int i = 0; i < given; i++)
	{
		TupleTableSlot *row = NULL;

		if (i == 0 || compare_ids(&ids[i - 1], &ids[i]) != 0)
			row = evq_history_fetch_row(store, DatumGetUUIDP(ids[i]));
		if (row != NULL)
			put_row(result, row);
	}
	evq_store_close(store);
	return (Datum) 0;
}

/* Has state changes told on the channel evq_events for a while. */
Datum
evq_sql_watch(PG_FUNCTION_ARGS)
{
	int64 duration = evq_argument_duration(fcinfo, 0, "duration", false);
	EvqSlot *slot = evq_shmem_mine();
	TimestampTz wanted;
	uint64 until;

	if (PG_ARGISNULL(0) || duration > USECS_PER_HOUR)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("duration is out of range"),
						errhint("Pass up to an hour, and call again before it is over.")));
	evq_config_use();
	if (evq_config_is_restricted(GetUserId(), EVQ_RIGHT_PUBLISH | EVQ_RIGHT_WORK))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to watch"),
						errhint("Watching tells of all flows, and role \"%s\" is restricted to some.",
								GetUserNameFromId(GetUserId(), false))));
	if (slot == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("no dispatcher serves this database"), errhint("evq_status() says why.")));
	wanted = GetCurrentTimestamp() + duration;
	until = pg_atomic_read_u64(&slot->watched_until);
	while ((TimestampTz) until < wanted &&
		   !pg_atomic_compare_exchange_u64(&slot->watched_until, &until, (uint64) wanted))
		;
	PG_RETURN_TIMESTAMPTZ((TimestampTz) pg_atomic_read_u64(&slot->watched_until));
}

static bool
caller_may(FunctionCallInfo fcinfo, int right)
{
	const char *flow_type = evq_argument_required_text(fcinfo, 0, "flow_type");

	evq_config_use();
	return evq_config_may(GetOuterUserId(), right, evq_argument_flow(flow_type)->flow_no);
}

/*
 * May who called the function that asks, one of evq's own that runs with the
 * owner's rights, work on a flow? Whoever calls it directly learns about himself.
 */
Datum
evq_sql_caller_may_work(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(caller_may(fcinfo, EVQ_RIGHT_WORK));
}

/* The same for publishing. */
Datum
evq_sql_caller_may_publish(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(caller_may(fcinfo, EVQ_RIGHT_PUBLISH));
}

/* The version of the library in use, which may be older or newer than the extension's script. */
Datum
evq_sql_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(EVQ_VERSION));
}

/* The columns of tables that C code reads, as it knows them. */
Datum
evq_sql_known_columns(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (EvqTableNo no = 0; no < EVQ_TABLE_COUNT; no++)
	{
		const char *table;
		int count;
		const EvqColumn *columns = evq_tables_columns(no, &table, &count);

		for (int i = 0; i < count; i++)
		{
			Datum values[2] = {CStringGetTextDatum(table), CStringGetTextDatum(columns[i].name)};
			bool nulls[2] = {false};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

/* Has this database a slot, or is there one for it? */
static bool
has_slot(void)
{
	bool answer;

	LWLockAcquire(evq_shared->lock, LW_SHARED);
	answer = evq_shmem_find(MyDatabaseId) != NULL || evq_shmem_has_room();
	LWLockRelease(evq_shared->lock);
	return answer;
}

/* Called by the extension's script: the launcher starts a dispatcher when CREATE EXTENSION commits. */
Datum
evq_sql_announce_extension(PG_FUNCTION_ARGS)
{
	if (evq_shared == NULL)
		ereport(
			WARNING,
			(errmsg("evq is not preloaded: no dispatcher will run"),
			 errhint(
				 "Add evq to shared_preload_libraries and restart the server; until then evq_tick() dispatches.")));
	else if (!has_slot())
		ereport(WARNING,
				(errmsg("no dispatcher will run in this database: all slots are taken"),
				 errhint("Raise evq.max_databases, now %d, and restart the server; one starts by itself when "
						 "another database goes without.",
						 evq_shared->slot_count)));
	evq_pending_extension_created();
	PG_RETURN_VOID();
}
