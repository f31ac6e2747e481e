/*
 * tables.c
 *		The tables as wholes: which they are, who owns them, whether they are as this library knows them.
 *
 * Where SQL is used it runs as the owner of the extension, names everything
 * with its schema, and uses no operator.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "tables.h"

static const struct
{
	const char *name;
	int columns;
} table_facts[EVQ_TABLE_COUNT] = {
	[EVQ_TABLE_EVENT] = {"event", EVENT_COLUMNS},
	[EVQ_TABLE_PAYLOAD] = {"event_payload", PAYLOAD_COLUMNS},
	[EVQ_TABLE_HISTORY] = {"event_history", HISTORY_COLUMNS},
	[EVQ_TABLE_ERROR] = {"event_error", ERROR_COLUMNS},
	[EVQ_TABLE_IDEMPOTENCY] = {"idempotency", KEY_COLUMNS},
	[EVQ_TABLE_EPOCH] = {"epoch", EPOCH_COLUMNS},
	[EVQ_TABLE_EVENT_TYPE] = {"event_type", TYPE_COLUMNS},
	[EVQ_TABLE_FLOW] = {"flow", FLOW_COLUMNS},
	[EVQ_TABLE_PAUSE] = {"pause", PAUSE_COLUMNS},
	[EVQ_TABLE_RESTRICTION] = {"restriction", RESTRICTION_COLUMNS},
	[EVQ_TABLE_HOME] = {"home", HOME_COLUMNS},
};

/* Filled when first needed, emptied when one of the tables or the schema changes. */
static Oid relids[EVQ_TABLE_COUNT];

static void
forget_relids(Datum arg, Oid relid)
{
	if (relid != InvalidOid)
	{
		bool known = false;

		for (int i = 0; i < EVQ_TABLE_COUNT && !known; i++)
			known = relids[i] == relid;
		if (!known)
			return;
	}
	memset(relids, 0, sizeof(relids));
}

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

/* The table's OID; InvalidOid, where that is allowed, if this database does not have it. */
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

/* Has this database the extension? */
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

/* Refuses a table that is not as this library knows it. */
void
evq_tables_check(EvqTableNo no, Relation rel)
{
	if (RelationGetNumberOfAttributes(rel) != table_facts[no].columns)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table evq.%s is of another version of evq", table_facts[no].name),
						errhint("Run ALTER EXTENSION evq UPDATE, then start a new session.")));
	/* They would be passed over. */
	if (rel->trigdesc != NULL && no < EVQ_TABLE_EVENT_TYPE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("table evq.%s has a trigger", table_facts[no].name),
						errhint("Drop it: evq writes its tables without firing triggers.")));
}

Relation
evq_tables_open(EvqTableNo no, LOCKMODE lock)
{
	Relation rel = table_open(evq_tables_relid(no, false), lock);

	evq_tables_check(no, rel);
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

/* Reads a whole table, as of now, into an array in the current memory context. */
int
evq_tables_read_all(EvqTableNo no, EvqReadRow read_row, Size row_size, void **rows)
{
	Relation rel = evq_tables_open(no, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
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
		slot_getallattrs(slot);
		read_row(slot, array + count++ * row_size);
	}
	table_endscan(scan);
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	*rows = array;
	return count;
}

/* ---------- SQL, as the owner ---------- */

/* From here on SPI runs statements as the owner of the extension, in a security-restricted operation. */
void
evq_tables_become_owner(EvqIdentity *previous)
{
	GetUserIdAndSecContext(&previous->user, &previous->context);
	SetUserIdAndSecContext(table_owner(),
						   previous->context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/* An error on the way restores the identity too: the abort of the (sub)transaction does. */
void
evq_tables_become_oneself(const EvqIdentity *previous)
{
	SPI_finish();
	SetUserIdAndSecContext(previous->user, previous->context);
}

/* Runs a query as the owner of the extension; returns its only column, a boolean. */
bool
evq_tables_ask(const char *query)
{
	EvqIdentity previous;
	bool is_null;
	bool answer;

	evq_tables_become_owner(&previous);
	if (SPI_execute(query, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "no answer to: %s", query);
	answer = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	evq_tables_become_oneself(&previous);
	return answer && !is_null;
}
