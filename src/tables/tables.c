/*
 * tables.c
 *		The tables as wholes: which they are, what columns they have, who owns them.
 *
 * Where SQL is used it runs as the owner of the extension, names everything
 * with its schema, and uses no operator.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "tables/tables.h"

#define REQUIRED(name, type)            \
	{                                   \
		name, type, EVQ_COLUMN_REQUIRED \
	}
#define NULLABLE(name, type)            \
	{                                   \
		name, type, EVQ_COLUMN_NULLABLE \
	}
#define LATER(name, type)            \
	{                                \
		name, type, EVQ_COLUMN_LATER \
	}

static const EvqColumn event_columns[EVENT_COLUMNS] = {
	[EVENT_ID] = REQUIRED("event_id", UUIDOID),
	[EVENT_PUBLISHED_AT] = REQUIRED("published_at", TIMESTAMPTZOID),
	[EVENT_ATTEMPT_SCHEDULED_AT] = REQUIRED("attempt_scheduled_at", TIMESTAMPTZOID),
	[EVENT_DUE_AT] = REQUIRED("due_at", TIMESTAMPTZOID),
	[EVENT_TYPE_NO] = REQUIRED("event_type_no", INT4OID),
	[EVENT_FLOW_NO] = REQUIRED("flow_no", INT4OID),
	[EVENT_PRIORITY] = REQUIRED("priority", INT2OID),
	[EVENT_CHAIN_DEPTH] = REQUIRED("chain_depth", INT2OID),
	[EVENT_ORDERED] = REQUIRED("ordered", BOOLOID),
	[EVENT_STATE] = REQUIRED("state", CHAROID),
	[EVENT_ATTEMPTS_USED] = REQUIRED("attempts_used", INT2OID),
	[EVENT_STATE_DUE_AT] = REQUIRED("state_due_at", TIMESTAMPTZOID),
	[EVENT_STATE_SINCE] = REQUIRED("state_since", TIMESTAMPTZOID),
	[EVENT_PERMIT] = REQUIRED("permit", INT8OID),
	[EVENT_FLOW_ID] = REQUIRED("flow_id", TEXTOID),
	[EVENT_PARENT_ID] = NULLABLE("parent_id", UUIDOID),
	[EVENT_ON_FAIL_NO] = NULLABLE("on_fail_event_type_no", INT4OID),
	[EVENT_WORKER] = NULLABLE("worker", TEXTOID),
	[EVENT_PAYLOAD] = NULLABLE("payload", JSONBOID),
	[EVENT_ANSWER] = LATER("answer", JSONBOID),
	[EVENT_ANSWERED_PERMIT] = LATER("answered_permit", INT8OID),
	[EVENT_GROUP_KEY] = LATER("group_key", TEXTOID),
};

static const EvqColumn payload_columns[PAYLOAD_COLUMNS] = {
	[PAYLOAD_EVENT_ID] = REQUIRED("event_id", UUIDOID),
	[PAYLOAD_PAYLOAD] = REQUIRED("payload", JSONBOID),
	[PAYLOAD_HEADERS] = NULLABLE("headers", JSONBOID),
};

static const EvqColumn history_columns[HISTORY_COLUMNS] = {
	[EVENT_ID] = REQUIRED("event_id", UUIDOID),
	[EVENT_PUBLISHED_AT] = REQUIRED("published_at", TIMESTAMPTZOID),
	[EVENT_ATTEMPT_SCHEDULED_AT] = REQUIRED("attempt_scheduled_at", TIMESTAMPTZOID),
	[EVENT_DUE_AT] = REQUIRED("due_at", TIMESTAMPTZOID),
	[EVENT_TYPE_NO] = REQUIRED("event_type_no", INT4OID),
	[EVENT_FLOW_NO] = REQUIRED("flow_no", INT4OID),
	[EVENT_PRIORITY] = REQUIRED("priority", INT2OID),
	[EVENT_CHAIN_DEPTH] = REQUIRED("chain_depth", INT2OID),
	[EVENT_ORDERED] = REQUIRED("ordered", BOOLOID),
	[EVENT_STATE] = REQUIRED("state", CHAROID),
	[EVENT_ATTEMPTS_USED] = REQUIRED("attempts_used", INT2OID),
	[HISTORY_ATTEMPT_STARTED_AT] = REQUIRED("attempt_started_at", TIMESTAMPTZOID),
	[HISTORY_FINISHED_AT] = REQUIRED("finished_at", TIMESTAMPTZOID),
	[EVENT_PERMIT] = REQUIRED("permit", INT8OID),
	[EVENT_FLOW_ID] = REQUIRED("flow_id", TEXTOID),
	[EVENT_PARENT_ID] = NULLABLE("parent_id", UUIDOID),
	[EVENT_ON_FAIL_NO] = NULLABLE("on_fail_event_type_no", INT4OID),
	[EVENT_WORKER] = NULLABLE("worker", TEXTOID),
	[EVENT_PAYLOAD] = NULLABLE("payload", JSONBOID),
	[HISTORY_REASON] = NULLABLE("reason", TEXTOID),
	[HISTORY_RESULT] = NULLABLE("result", JSONBOID),
	[HISTORY_SPINOFF_IDS] = NULLABLE("spinoff_ids", UUIDARRAYOID),
	[HISTORY_ANSWER] = LATER("answer", JSONBOID),
	[HISTORY_ANSWERED_PERMIT] = LATER("answered_permit", INT8OID),
	[HISTORY_GROUP_KEY] = LATER("group_key", TEXTOID),
};

static const EvqColumn error_columns[ERROR_COLUMNS] = {
	[ERROR_EVENT_ID] = REQUIRED("event_id", UUIDOID),
	[ERROR_FAILED_AT] = REQUIRED("failed_at", TIMESTAMPTZOID),
	[ERROR_ATTEMPT] = REQUIRED("attempt", INT2OID),
	[ERROR_OUTCOME] = REQUIRED("outcome", TEXTOID),
	[ERROR_MESSAGE] = REQUIRED("error_message", TEXTOID),
	[ERROR_STACK_TRACE] = NULLABLE("stack_trace", TEXTOID),
	[ERROR_WORKER] = NULLABLE("worker", TEXTOID),
};

static const EvqColumn key_columns[KEY_COLUMNS] = {
	[KEY_EVENT_TYPE_NO] = REQUIRED("event_type_no", INT4OID),
	[KEY_IDEMPOTENCY_KEY] = REQUIRED("idempotency_key", TEXTOID),
	[KEY_EVENT_ID] = REQUIRED("event_id", UUIDOID),
	[KEY_CONTENT_HASH] = REQUIRED("content_hash", INT8OID),
};

static const EvqColumn epoch_columns[EPOCH_COLUMNS] = {
	[EPOCH_EPOCH] = REQUIRED("epoch", INT4OID),
	[EPOCH_SYSTEM_IDENTIFIER] = REQUIRED("system_identifier", INT8OID),
	[EPOCH_DATABASE_OID] = REQUIRED("database_oid", OIDOID),
	[EPOCH_EVENT_TABLE_OID] = REQUIRED("event_table_oid", OIDOID),
	[EPOCH_TIMELINE] = REQUIRED("timeline", INT4OID),
	[EPOCH_BEGAN_AT] = REQUIRED("began_at", TIMESTAMPTZOID),
};

static const EvqColumn log_columns[LOG_COLUMNS] = {
	[LOG_EVENT_ID] = REQUIRED("event_id", UUIDOID),
	[LOG_FLOW_ID] = REQUIRED("flow_id", TEXTOID),
	[LOG_PAYLOAD] = REQUIRED("payload", JSONBOID),
	[LOG_HEADERS] = NULLABLE("headers", JSONBOID),
};

static const EvqColumn batch_columns[BATCH_COLUMNS] = {
	[BATCH_ID] = REQUIRED("batch_id", UUIDOID),
	[BATCH_PUBLISHED_AT] = REQUIRED("published_at", TIMESTAMPTZOID),
	[BATCH_ATTEMPT_SCHEDULED_AT] = REQUIRED("attempt_scheduled_at", TIMESTAMPTZOID),
	[BATCH_DUE_AT] = REQUIRED("due_at", TIMESTAMPTZOID),
	[BATCH_EVENT_TYPE_NO] = REQUIRED("event_type_no", INT4OID),
	[BATCH_FLOW_NO] = REQUIRED("flow_no", INT4OID),
	[BATCH_PRIORITY] = REQUIRED("priority", INT2OID),
	[BATCH_EVENTS] = REQUIRED("events", INT2OID),
	[BATCH_ON_FAIL_NO] = NULLABLE("on_fail_event_type_no", INT4OID),
	[BATCH_PLACES] = REQUIRED("places", BYTEAOID),
};

static const EvqColumn backlog_columns[BACKLOG_COLUMNS] = {
	[BACKLOG_FLOW_NO] = REQUIRED("flow_no", INT4OID),
	[BACKLOG_ATTEMPT_SCHEDULED_AT] = REQUIRED("attempt_scheduled_at", TIMESTAMPTZOID),
	[BACKLOG_BATCH_ID] = REQUIRED("batch_id", UUIDOID),
	[BACKLOG_EVENT_TYPE_NO] = REQUIRED("event_type_no", INT4OID),
	[BACKLOG_PRIORITY] = REQUIRED("priority", INT2OID),
	[BACKLOG_EVENTS] = REQUIRED("events", INT2OID),
};

static const EvqColumn run_columns[RUN_COLUMNS] = {
	[RUN_LAST_ID] = REQUIRED("last_id", UUIDOID),
	[RUN_EVENTS] = REQUIRED("events", INT2OID),
	[RUN_STATE] = REQUIRED("state", CHAROID),
	[RUN_STATE_SINCE] = REQUIRED("state_since", TIMESTAMPTZOID),
	[RUN_STATE_DUE_AT] = REQUIRED("state_due_at", TIMESTAMPTZOID),
	[RUN_ATTEMPT_STARTED_AT] = REQUIRED("attempt_started_at", TIMESTAMPTZOID),
	[RUN_PERMIT] = REQUIRED("permit", INT8OID),
	[RUN_WORKER] = NULLABLE("worker", TEXTOID),
};

static const EvqColumn exception_columns[EXCEPTION_COLUMNS] = {
	[EXCEPTION_EVENT_ID] = REQUIRED("event_id", UUIDOID),
	[EXCEPTION_STATE] = REQUIRED("state", CHAROID),
	[EXCEPTION_STATE_SINCE] = REQUIRED("state_since", TIMESTAMPTZOID),
};

static const EvqColumn event_type_columns[TYPE_COLUMNS] = {
	[TYPE_NO] = REQUIRED("event_type_no", INT4OID),
	[TYPE_EVENT_TYPE] = REQUIRED("event_type", TEXTOID),
	[TYPE_FLOW_NO] = REQUIRED("flow_no", INT4OID),
	[TYPE_MAX_ATTEMPTS] = REQUIRED("max_attempts", INT2OID),
	[TYPE_LIFESPAN] = REQUIRED("lifespan", INTERVALOID),
	[TYPE_ATTEMPT_DELAYS] = REQUIRED("attempt_delays", INTERVALARRAYOID),
	[TYPE_BACKOFF_FACTOR] = REQUIRED("backoff_factor", FLOAT8OID),
	[TYPE_MAX_DELAY] = REQUIRED("max_delay", INTERVALOID),
	[TYPE_JITTER] = REQUIRED("jitter", FLOAT8OID),
	[TYPE_ATTEMPT_TIMEOUT] = NULLABLE("attempt_timeout", INTERVALOID),
	[TYPE_IS_SUSPENDED] = REQUIRED("is_suspended", BOOLOID),
	[TYPE_ON_SUSPEND_TIMEOUT] = REQUIRED("on_suspend_timeout", TEXTOID),
	[TYPE_ON_FAIL_EVENT_TYPE] = NULLABLE("on_fail_event_type", TEXTOID),
	[TYPE_PRIORITY] = REQUIRED("priority", INT2OID),
	[TYPE_MAX_PAYLOAD_BYTES] = NULLABLE("max_payload_bytes", INT4OID),
	[TYPE_RETENTION] = REQUIRED("retention", INTERVALOID),
	[TYPE_DROPPED] = REQUIRED("dropped", BOOLOID),
	[TYPE_LIMITS] = LATER("limits", TEXTARRAYOID),
	[TYPE_COST] = LATER("cost", INT4OID),
};

static const EvqColumn flow_columns[FLOW_COLUMNS] = {
	[FLOW_NO] = REQUIRED("flow_no", INT4OID),
	[FLOW_FLOW_TYPE] = REQUIRED("flow_type", TEXTOID),
	[FLOW_CHANNEL] = REQUIRED("channel", TEXTOID),
	[FLOW_MAX_DISPATCHED] = REQUIRED("max_dispatched", INT4OID),
	[FLOW_MAX_PROCESSING] = NULLABLE("max_processing", INT4OID),
	[FLOW_DISPATCH_TIMEOUT] = REQUIRED("dispatch_timeout", INTERVALOID),
	[FLOW_DELIVERY] = REQUIRED("delivery", TEXTOID),
	[FLOW_ORDERED] = REQUIRED("ordered", BOOLOID),
	[FLOW_NOTIFY_PAYLOAD] = REQUIRED("notify_payload", BOOLOID),
	[FLOW_PAUSED_AT] = LATER("paused_at", TIMESTAMPTZOID),
	[FLOW_PAUSED_UNTIL] = LATER("paused_until", TIMESTAMPTZOID),
	[FLOW_PAUSE_REASON] = LATER("pause_reason", TEXTOID),
	[FLOW_GROUP_BY] = LATER("group_by", TEXTOID),
	[FLOW_MAX_PROCESSING_PER_GROUP] = LATER("max_processing_per_group", INT4OID),
	[FLOW_RATE] = LATER("rate", FLOAT8OID),
	[FLOW_PER] = LATER("per", INTERVALOID),
	[FLOW_BURST] = LATER("burst", INT4OID),
	[FLOW_RATE_PER_GROUP] = LATER("rate_per_group", FLOAT8OID),
	[FLOW_PER_PER_GROUP] = LATER("per_per_group", INTERVALOID),
	[FLOW_BURST_PER_GROUP] = LATER("burst_per_group", INT4OID),
	[FLOW_GROUPS_PAUSED_UNTIL] = LATER("groups_paused_until", TIMESTAMPTZOID),
	[FLOW_FAIR] = LATER("fair", BOOLOID),
	[FLOW_PRIORITY_STEP] = LATER("priority_step", INTERVALOID),
};

static const EvqColumn pause_columns[PAUSE_COLUMNS] = {
	[PAUSE_PAUSED_AT] = REQUIRED("paused_at", TIMESTAMPTZOID),
	[PAUSE_REASON] = NULLABLE("reason", TEXTOID),
};

static const EvqColumn restriction_columns[RESTRICTION_COLUMNS] = {
	[RESTRICTION_ROLE_NAME] = REQUIRED("role_name", NAMEOID),
	[RESTRICTION_MAY] = REQUIRED("may", TEXTOID),
	[RESTRICTION_ROLE_OID] = REQUIRED("role_oid", OIDOID),
	[RESTRICTION_FLOW_NOS] = REQUIRED("flow_nos", INT4ARRAYOID),
};

static const EvqColumn lifespan_change_columns[LIFESPAN_CHANGE_COLUMNS] = {
	[LIFESPAN_CHANGE_TYPE_NO] = REQUIRED("event_type_no", INT4OID),
	[LIFESPAN_CHANGE_CHANGED_AT] = REQUIRED("changed_at", TIMESTAMPTZOID),
	[LIFESPAN_CHANGE_SHIFT] = REQUIRED("shift", INTERVALOID),
};

static const EvqColumn group_columns[GROUP_COLUMNS] = {
	[GROUP_FLOW_NO] = REQUIRED("flow_no", INT4OID),
	[GROUP_GROUP_KEY] = REQUIRED("group_key", TEXTOID),
	[GROUP_MAX_PROCESSING] = NULLABLE("max_processing", INT4OID),
	[GROUP_RATE] = NULLABLE("rate", FLOAT8OID),
	[GROUP_PER] = NULLABLE("per", INTERVALOID),
	[GROUP_BURST] = NULLABLE("burst", INT4OID),
	[GROUP_PAUSED_AT] = NULLABLE("paused_at", TIMESTAMPTZOID),
	[GROUP_PAUSED_UNTIL] = NULLABLE("paused_until", TIMESTAMPTZOID),
	[GROUP_PAUSE_REASON] = NULLABLE("pause_reason", TEXTOID),
	[GROUP_WEIGHT] = NULLABLE("weight", INT4OID),
};

static const EvqColumn limit_columns[LIMIT_COLUMNS] = {
	[LIMIT_NO] = REQUIRED("limit_no", INT4OID),
	[LIMIT_NAME] = REQUIRED("limit_name", TEXTOID),
	[LIMIT_MAX_PROCESSING] = NULLABLE("max_processing", INT4OID),
	[LIMIT_RATE] = NULLABLE("rate", FLOAT8OID),
	[LIMIT_PER] = NULLABLE("per", INTERVALOID),
	[LIMIT_BURST] = NULLABLE("burst", INT4OID),
	[LIMIT_BY_GROUP] = REQUIRED("by_group", BOOLOID),
};

static const EvqColumn home_columns[HOME_COLUMNS] = {
	[HOME_IS_ONLY] = REQUIRED("is_only", BOOLOID),
	[HOME_DATABASE_OID] = REQUIRED("database_oid", OIDOID),
	[HOME_BACKUP_LABEL] = REQUIRED("backup_label", TEXTOID),
};

static const struct
{
	const char *name;
	const EvqColumn *columns;
	int count;
} table_facts[EVQ_TABLE_COUNT] = {
	[EVQ_TABLE_EVENT] = {"event", event_columns, EVENT_COLUMNS},
	[EVQ_TABLE_PAYLOAD] = {"event_payload", payload_columns, PAYLOAD_COLUMNS},
	[EVQ_TABLE_HISTORY] = {"event_history", history_columns, HISTORY_COLUMNS},
	[EVQ_TABLE_ERROR] = {"event_error", error_columns, ERROR_COLUMNS},
	[EVQ_TABLE_IDEMPOTENCY] = {"idempotency", key_columns, KEY_COLUMNS},
	[EVQ_TABLE_EPOCH] = {"epoch", epoch_columns, EPOCH_COLUMNS},
	[EVQ_TABLE_LOG] = {"log", log_columns, LOG_COLUMNS},
	[EVQ_TABLE_BATCH] = {"batch", batch_columns, BATCH_COLUMNS},
	[EVQ_TABLE_BACKLOG] = {"backlog", backlog_columns, BACKLOG_COLUMNS},
	[EVQ_TABLE_RUN] = {"run", run_columns, RUN_COLUMNS},
	[EVQ_TABLE_EXCEPTION] = {"exception", exception_columns, EXCEPTION_COLUMNS},
	[EVQ_TABLE_EVENT_TYPE] = {"event_type", event_type_columns, TYPE_COLUMNS},
	[EVQ_TABLE_FLOW] = {"flow", flow_columns, FLOW_COLUMNS},
	[EVQ_TABLE_PAUSE] = {"pause", pause_columns, PAUSE_COLUMNS},
	[EVQ_TABLE_RESTRICTION] = {"restriction", restriction_columns, RESTRICTION_COLUMNS},
	[EVQ_TABLE_HOME] = {"home", home_columns, HOME_COLUMNS},
	[EVQ_TABLE_LIFESPAN_CHANGE] = {"lifespan_change", lifespan_change_columns, LIFESPAN_CHANGE_COLUMNS},
	[EVQ_TABLE_FLOW_GROUP] = {"flow_group", group_columns, GROUP_COLUMNS},
	[EVQ_TABLE_NAMED_LIMIT] = {"named_limit", limit_columns, LIMIT_COLUMNS},
};

/* Filled when first needed, emptied when one of the tables or the schema changes. */
static Oid relids[EVQ_TABLE_COUNT];
static Oid group_index;

/* What was found out about each table, or about one of its partitions; InvalidOid = nothing. */
static struct
{
	Oid relid;
	EvqColumnMap map;
} known[EVQ_TABLE_COUNT];

static void
forget_relids(Datum arg, Oid relid)
{
	for (int i = 0; i < EVQ_TABLE_COUNT; i++)
	{
		if (relid == InvalidOid || known[i].relid == relid)
			known[i].relid = InvalidOid;
	}
	if (relid != InvalidOid)
	{
		bool is_ours = group_index == relid;

		for (int i = 0; i < EVQ_TABLE_COUNT && !is_ours; i++)
			is_ours = relids[i] == relid;
		if (!is_ours)
			return;
	}
	memset(relids, 0, sizeof(relids));
	group_index = InvalidOid;
}

/* Has the oids forgotten when tables change. Called by _PG_init(). */
void
evq_tables_init(void)
{
	CacheRegisterRelcacheCallback(forget_relids, (Datum) 0);
}

static Oid
find_table(const char *name)
{
	Oid schema = get_namespace_oid("evq", true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

/* The oid of the index EVQ_GROUP_INDEX; InvalidOid = there is none. */
Oid
evq_tables_group_index(void)
{
	Oid schema;

	if (!OidIsValid(group_index) && OidIsValid(schema = get_namespace_oid("evq", true)))
		group_index = get_relname_relid(EVQ_GROUP_INDEX, schema);
	return group_index;
}

/* The table's oid. Where this database does not have it: InvalidOid if missing_ok, else an error. */
Oid
evq_tables_relid(EvqTableNo no, bool missing_ok)
{
	if (!OidIsValid(relids[no]))
	{
		relids[no] = find_table(table_facts[no].name);
		if (!OidIsValid(relids[no]) && !missing_ok)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
							errmsg("table evq.%s does not exist", table_facts[no].name),
							errhint("Run CREATE EXTENSION evq in this database.")));
	}
	return relids[no];
}

/* What the table is called in the schema evq. */
const char *
evq_tables_name(EvqTableNo no)
{
	return table_facts[no].name;
}

/* Has this database the extension? Needs a transaction, as all that follows. */
bool
evq_tables_exist(void)
{
	return OidIsValid(evq_tables_relid(EVQ_TABLE_EVENT, true));
}

/* Has this database a table that C code does not read, but may be of a version without it? */
bool
evq_tables_has(const char *name)
{
	return OidIsValid(find_table(name));
}

/* Where a table, or a partition of it, has evq's columns. Raises an error if evq cannot work with it. */
void
evq_tables_map(EvqTableNo no, Relation rel, EvqColumnMap *map)
{
	if (known[no].relid == RelationGetRelid(rel))
	{
		*map = known[no].map;
		return;
	}
	evq_columns_map(rel, table_facts[no].columns, table_facts[no].count, map);
	/* They would be passed over. */
	if (rel->trigdesc != NULL && no < EVQ_TABLE_EVENT_TYPE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("table evq.%s has a trigger or a foreign key", RelationGetRelationName(rel)),
						errhint("Drop it: evq writes its tables without firing triggers.")));
	known[no].relid = RelationGetRelid(rel);
	known[no].map = *map;
}

/* Is it a table that C code writes, past triggers, or a partition of one? */
bool
evq_tables_is_direct(Oid relid)
{
	Oid table = get_rel_relispartition(relid) ? get_partition_parent(relid, true) : relid;

	for (EvqTableNo no = 0; no < EVQ_TABLE_EVENT_TYPE; no++)
	{
		if (OidIsValid(table) && evq_tables_relid(no, true) == table)
			return true;
	}
	return false;
}

/* The columns that this library knows of a table, "count" of them, and the table's name; static. */
const EvqColumn *
evq_tables_columns(EvqTableNo no, const char **name, int *count)
{
	*name = table_facts[no].name;
	*count = table_facts[no].count;
	return table_facts[no].columns;
}

/* A slot for rows of a table with evq's columns alone, in the current memory context; the caller drops it. */
TupleTableSlot *
evq_tables_make_slot(EvqTableNo no)
{
	return evq_columns_make_slot(table_facts[no].columns, table_facts[no].count);
}

/*
 * Opens and locks a table, for the caller to close; map: where it has evq's
 * columns. Raises an error if evq cannot work with it.
 */
Relation
evq_tables_open(EvqTableNo no, LOCKMODE lock, EvqColumnMap *map)
{
	Relation rel = table_open(evq_tables_relid(no, false), lock);

	evq_tables_map(no, rel, map);
	return rel;
}

/* The owner of the extension's tables: who evq's own SQL runs as. */
static Oid
table_owner(void)
{
	Relation rel = table_open(evq_tables_relid(EVQ_TABLE_EVENT, false), AccessShareLock);
	Oid owner = rel->rd_rel->relowner;

	table_close(rel, NoLock);
	return owner;
}

/* Reads a whole table, as of now, into an array in the current memory context; returns how many elements it has. */
int
evq_tables_read_all(EvqTableNo no, EvqReadRow read_row, Size row_size, void **rows)
{
	EvqColumnMap map;
	Relation rel = evq_tables_open(no, AccessShareLock, &map);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TupleTableSlot *row = map.is_plain ? slot : evq_tables_make_slot(no);
	/* In parallel mode this is the one that shows what is committed by now. */
	Snapshot snapshot = RegisterSnapshot(IsInParallelMode() ? GetCatalogSnapshot(RelationGetRelid(rel))
															: GetLatestSnapshot());
	TableScanDesc scan;
	int count = 0;
	int room = 16;
	char *array = palloc0(room * row_size);

	PushActiveSnapshot(snapshot); /* values may have to be detoasted */
	scan = EVQ_TABLE_BEGINSCAN(rel, snapshot);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (count == room)
		{
			array = repalloc(array, 2 * room * row_size);
			memset(array + room * row_size, 0, room * row_size);
			room *= 2;
		}
		if (map.is_plain)
			slot_getallattrs(slot);
		else
			evq_columns_read(&map, slot, row);
		read_row(row, array + count++ * row_size);
	}
	table_endscan(scan);
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	if (row != slot)
		ExecDropSingleTupleTableSlot(row);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	*rows = array;
	return count;
}

/* ---------- SQL, as the owner ---------- */

/* From here to evq_tables_become_oneself() SPI, which is connected, runs statements as the owner of the extension, in a security-restricted operation. */
void
evq_tables_become_owner(EvqIdentity *previous)
{
	GetUserIdAndSecContext(&previous->user, &previous->context);
	SetUserIdAndSecContext(table_owner(),
						   previous->context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/* Ends that. An error on the way does too: the abort of the (sub)transaction restores the identity. */
void
evq_tables_become_oneself(const EvqIdentity *previous)
{
	SPI_finish();
	SetUserIdAndSecContext(previous->user, previous->context);
}

/* Runs a query as the owner of the extension; its only column. */
static Datum
ask(const char *query, bool *is_null)
{
	EvqIdentity previous;
	Datum answer;

	evq_tables_become_owner(&previous);
	if (SPI_execute(query, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "no answer to: %s", query);
	answer = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, is_null);
	/* On 32 bits it points into what SPI frees. */
	if (!*is_null)
		answer = SPI_datumTransfer(answer, TupleDescAttr(SPI_tuptable->tupdesc, 0)->attbyval,
								   TupleDescAttr(SPI_tuptable->tupdesc, 0)->attlen);
	evq_tables_become_oneself(&previous);
	return answer;
}

/* Runs a query of one row as the owner of the extension and returns its boolean; NULL is false. */
bool
evq_tables_ask(const char *query)
{
	bool is_null;
	Datum answer = ask(query, &is_null);

	return !is_null && DatumGetBool(answer);
}

/* The same of a time; false = it is NULL, and "time" stays as it is. */
bool
evq_tables_ask_time(const char *query, TimestampTz *time)
{
	bool is_null;
	Datum answer = ask(query, &is_null);

	if (!is_null)
		*time = DatumGetTimestampTz(answer);
	return !is_null;
}
