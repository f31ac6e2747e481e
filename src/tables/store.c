/*
 * store.c
 *		All access to events: live, finished, their payloads, errors and keys.
 *
 * Rows are read through their primary key and written with the table access
 * method's own calls, as the executor does for an UPDATE, but without planning
 * one. What the executor would do besides is done here or ruled out: the
 * transaction must not be read-only; index entries are added where a new row
 * version is not heap-only; in REPEATABLE READ and above a row changed by
 * someone else is a serialization failure; otherwise the caller fetches the
 * newest version and decides again. The tables have no triggers that fire
 * here, no row security, and privileges are those of the functions.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "rules/retry.h"
#include "rules/transition.h"
#include "rules/uuid.h"
#include "tables/partitions.h"
#include "tables/store.h"
#include "tables/tables.h"

#define DUE_INDEX "event_flow_no_attempt_scheduled_at_idx"
#define FLOW_ID_INDEX "event_flow_no_flow_id_event_id_idx"

/* The indexes of tables whose primary key does not begin with the event's id. */
static const char *const event_id_indexes[EVQ_TABLE_COUNT] = {
	[EVQ_TABLE_ERROR] = "event_error_event_id_idx",
	[EVQ_TABLE_IDEMPOTENCY] = "idempotency_event_id_idx",
};

/* Rows that one call of the table access method inserts, and payloads of so many bytes, or one more. */
#define INSERT_BATCH 50
#define INSERT_BATCH_BYTES (1024 * 1024)

/*
 * A payload without headers and of at most so many bytes is a column of its
 * event, for every version of the row is to have room on its page.
 */
#define MAX_INLINE_PAYLOAD 512

/* A table of an open store. */
typedef struct Table
{
	EvqTableNo no;
	Relation rel; /* NULL = not opened yet, as with all below */
	EvqColumnMap map;
	TupleTableSlot *slot; /* the row fetched last */
	TupleTableSlot *row;  /* evq's columns of it; the same slot where the table has no others */
	TupleTableSlot *new_slot;
	TupleTableSlot *lock_slot; /* see lock_row(); NULL = not needed yet */
	ExprState **defaults;      /* of columns of users */
	ResultRelInfo *info;       /* with all indexes: to add entries to them */
	TupleTableSlot **batch;    /* of INSERT_BATCH rows to insert */
	Relation key;              /* see use_key() */
	IndexScanDesc by_key;
	IndexFetchTableData *by_hint;
	BlockNumber blocks; /* so many there were when by_hint was begun */
	bool is_empty;      /* see delete_rows_of() */
} Table;

/* Where the session saw the row of a live event last. */
typedef struct Hint
{
	pg_uuid_t event_id;
	ItemPointerData tid;
} Hint;

#define HINTS 4096

static Hint *hints; /* HINTS of them, NULL = none yet */

struct EvqStore
{
	MemoryContext context; /* of all below: the caller may free what it reads, row by row */
	LOCKMODE lock;         /* of the tables: what a verb needs to write, or a reader to read */
	EState *estate;
	Table tables[EVQ_TABLE_COUNT];
	Relation walk_index;
	IndexScanDesc walk;
	TupleTableSlot *walk_slot;
	TupleTableSlot *walk_row;   /* as in Table */
	MemoryContext walk_context; /* of the strings of the row met last */
	ScanKeyData walk_from[2];   /* where the walk begins, as does the next */
	pg_uuid_t walk_from_id;
	bool passes_over_changed; /* see evq_store_pass_over_changed() */
	bool sees_present;        /* see evq_store_see_present() */
	bool batching;            /* rows of finished events are collected, */
	int collected;            /* so many by now */
};

/* ---------- opening ---------- */

/* Does the store see what the transaction's snapshot sees, whatever others commit? */
static bool
keeps_snapshot(const EvqStore *store)
{
	return IsolationUsesXactSnapshot() && !store->sees_present;
}

static void
push_snapshot(const EvqStore *store)
{
	/* In READ COMMITTED the row may be younger than the statement's own snapshot. */
	PushCopiedSnapshot(keeps_snapshot(store) ? GetTransactionSnapshot() : GetLatestSnapshot());
	UpdateActiveSnapshotCommandId();
}

/* Opens the store for a verb that writes; function is its name, for error messages. */
EvqStore *
evq_store_open(const char *function)
{
	EvqStore *store = palloc0(sizeof(EvqStore));

	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	store->context = CurrentMemoryContext;
	store->lock = RowExclusiveLock;
	push_snapshot(store);
	return store;
}

/* Opens the store for a query that sees what the statement around it sees; it may be on a standby or in a parallel worker. */
EvqStore *
evq_store_open_to_read(void)
{
	EvqStore *store = palloc0(sizeof(EvqStore));

	store->context = CurrentMemoryContext;
	store->lock = AccessShareLock;
	PushActiveSnapshot(GetActiveSnapshot());
	return store;
}

static void
end_scan(Table *table)
{
	if (table->by_key != NULL)
		index_endscan(table->by_key);
	if (table->by_hint != NULL)
		table_index_fetch_end(table->by_hint);
	table->by_key = NULL;
	table->by_hint = NULL;
}

static void
end_scans(EvqStore *store)
{
	evq_store_walk_end(store);
	for (int i = 0; i < EVQ_TABLE_COUNT; i++)
		end_scan(&store->tables[i]);
}

/* lock: to give back; NoLock = it stays until the end of the transaction. */
static void
close_table(Table *table, LOCKMODE lock)
{
	if (table->rel == NULL)
		return;
	end_scan(table);
	if (table->row != table->slot)
		ExecDropSingleTupleTableSlot(table->row);
	ExecDropSingleTupleTableSlot(table->slot);
	ExecDropSingleTupleTableSlot(table->new_slot);
	if (table->lock_slot != NULL)
		ExecDropSingleTupleTableSlot(table->lock_slot);
	for (int i = 0; table->batch != NULL && i < INSERT_BATCH && table->batch[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(table->batch[i]);
	if (table->info != NULL)
		ExecCloseIndices(table->info);
	if (table->key != NULL)
		index_close(table->key, lock);
	table_close(table->rel, lock);
	memset(table, 0, sizeof(*table));
}

void
evq_store_close(EvqStore *store)
{
	Assert(store->collected == 0);
	end_scans(store);
	for (int i = 0; i < EVQ_TABLE_COUNT; i++)
		close_table(&store->tables[i], NoLock);
	if (store->walk_row != store->walk_slot)
		ExecDropSingleTupleTableSlot(store->walk_row);
	if (store->walk_slot != NULL)
		ExecDropSingleTupleTableSlot(store->walk_slot);
	if (store->walk_context != NULL)
		MemoryContextDelete(store->walk_context);
	if (store->estate != NULL)
		FreeExecutorState(store->estate);
	PopActiveSnapshot();
	pfree(store);
}

/* Looks at the tables anew: sees what others have committed meanwhile. Whoever decides again comes by here. */
void
evq_store_refresh(EvqStore *store)
{
	CHECK_FOR_INTERRUPTS();
	end_scans(store);
	PopActiveSnapshot();
	push_snapshot(store);
}

/*
 * Whether the store sees what is committed by now, also in a transaction that
 * keeps a snapshot: whose turn it is depends on what others do, of which an
 * older snapshot knows nothing.
 */
void
evq_store_see_present(EvqStore *store, bool present)
{
	bool kept = keeps_snapshot(store);

	store->sees_present = present;
	if (keeps_snapshot(store) != kept)
		evq_store_refresh(store);
}

/*
 * From now on, who does not wait for a row passes over one that has changed
 * since the snapshot of a transaction that keeps one: it is EVQ_STORE_BUSY and
 * no serialization failure, for any other row will do.
 */
void
evq_store_pass_over_changed(EvqStore *store)
{
	store->passes_over_changed = true;
}

/* Was the row of pg_class written by a transaction that the snapshot does not see? */
static bool
is_younger_than_snapshot(Relation rel)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(RelationGetRelid(rel)));
	TransactionId xmin;

	if (!HeapTupleIsValid(tuple))
		return false;
	xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	ReleaseSysCache(tuple);
	return !TransactionIdIsCurrentTransactionId(xmin) && XidInMVCCSnapshot(xmin, GetActiveSnapshot());
}

/*
 * ALTER TABLE may have written the table anew while its lock was waited for.
 * It keeps the newest version of each row, as if it had made it itself: to an
 * older snapshot the table is empty.
 */
static void
heed_rewrite(EvqStore *store, EvqTableNo no, Relation rel)
{
	static Oid seen[EVQ_TABLE_COUNT];

	if (rel->rd_rel->relfilenode == seen[no] || store->lock != RowExclusiveLock)
		return;
	if (is_younger_than_snapshot(rel))
	{
		if (keeps_snapshot(store))
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("table evq.%s was changed after this transaction began",
								   RelationGetRelationName(rel)),
							errhint("Retry the transaction.")));
		Assert(store->walk == NULL);
		evq_store_refresh(store);
	}
	seen[no] = rel->rd_rel->relfilenode;
}

static void
take_table(EvqStore *store, EvqTableNo no, Relation rel, const EvqColumnMap *map)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	Table *table = &store->tables[no];

	heed_rewrite(store, no, rel);

	table->no = no;
	table->rel = rel;
	table->map = *map;
	table->slot = table_slot_create(rel, NULL);
	table->row = map->is_plain ? table->slot : evq_tables_make_slot(no);
	table->new_slot = table_slot_create(rel, NULL);
	MemoryContextSwitchTo(previous);
}

static Table *
use_table(EvqStore *store, EvqTableNo no)
{
	Table *table = &store->tables[no];

	if (table->rel == NULL)
	{
		EvqColumnMap map;
		Relation rel = evq_tables_open(no, store->lock, &map);

		take_table(store, no, rel, &map);
	}
	return table;
}

/* Most verbs write a heap-only row version and add no index entry: then all this is not needed. */
static void
use_indexes(EvqStore *store, Table *table)
{
	MemoryContext previous;

	if (table->info != NULL)
		return;
	previous = MemoryContextSwitchTo(store->context);
	if (store->estate == NULL)
		store->estate = CreateExecutorState();
	table->info = makeNode(ResultRelInfo);
	InitResultRelInfo(table->info, table->rel, 0, NULL, 0);
	ExecOpenIndices(table->info, false);
	MemoryContextSwitchTo(previous);
}

/*
 * Was the index built after the snapshot was taken, and over rows that had
 * changed in place? It may lack what such a snapshot sees.
 */
static bool
is_too_young(Relation index)
{
	return index->rd_index->indcheckxmin &&
		   XidInMVCCSnapshot(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), GetActiveSnapshot());
}

/* Refuses to search an index that may lack rows: it is being built beside writers, or that has failed, or it is too young. */
static void
check_index(Relation index)
{
	if (!index->rd_index->indisvalid)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("index evq.%s is not valid", RelationGetRelationName(index)),
			 errhint("Wait until CREATE INDEX CONCURRENTLY has ended; if it failed, REINDEX INDEX evq.%s.",
					 RelationGetRelationName(index))));
	if (is_too_young(index))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("index evq.%s is younger than this transaction", RelationGetRelationName(index)),
				 errhint("Retry the transaction.")));
}

/* Opens an index of a table, to search it; NULL = its primary key. */
static Relation
open_index(Relation rel, const char *name, LOCKMODE lock)
{
	Relation opened;
	Oid index = name == NULL ? EVQ_PRIMARY_KEY_INDEX(rel)
							 : get_relname_relid(name, RelationGetNamespace(rel));

	if (!OidIsValid(index))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table evq.%s has no %s", RelationGetRelationName(rel),
							   name == NULL ? "primary key" : psprintf("index %s", name)),
						errhint("Create it again as the extension did.")));
	opened = index_open(index, lock);
	check_index(opened);
	return opened;
}

/* The index by which the rows of an event are found. */
static Relation
use_key(const EvqStore *store, Table *table)
{
	if (table->key == NULL)
		table->key = open_index(table->rel, event_id_indexes[table->no], store->lock);
	return table->key;
}

/* ---------- single rows ---------- */

/* Makes evq's columns of a row that was fetched readable. */
static void
read_columns(const EvqColumnMap *map, TupleTableSlot *slot, TupleTableSlot *row)
{
	if (row == slot)
		slot_getallattrs(slot);
	else
		evq_columns_read(map, slot, row);
}

/*
 * The next row of a scan, and the root of its chain of heap-only versions:
 * where index entries point to, which stays as long as the row is not moved.
 */
static bool
next_row(IndexScanDesc scan, const EvqColumnMap *map, TupleTableSlot *slot, TupleTableSlot *row,
		 ItemPointerData *root)
{
	const ItemPointerData *tid;

	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		*root = *tid;
		if (index_fetch_heap(scan, slot))
		{
			read_columns(map, slot, row);
			return true;
		}
	}
	return false;
}

/* Finds a visible row with the id of an event; root may be NULL. */
static bool
fetch_by_id(EvqStore *store, Table *table, const pg_uuid_t *event_id, ItemPointerData *root)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	ItemPointerData ignored;
	ScanKeyData key;
	bool found;

	if (table->by_key == NULL)
	{
		Relation index = use_key(store, table);

		table->by_key = EVQ_INDEX_BEGINSCAN(table->rel, index, GetActiveSnapshot(), 1);
	}
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(event_id));
	index_rescan(table->by_key, &key, 1, NULL, 0);
	found = next_row(table->by_key, &table->map, table->slot, table->row, root == NULL ? &ignored : root);
	MemoryContextSwitchTo(previous);
	return found;
}

/* Finds the next one. */
static bool
fetch_next(EvqStore *store, Table *table)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	ItemPointerData ignored;
	bool found = next_row(table->by_key, &table->map, table->slot, table->row, &ignored);

	MemoryContextSwitchTo(previous);
	return found;
}

/*
 * Finds the visible row with this id where it is said to be. False says
 * nothing: it may have been moved.
 */
static bool
fetch_by_hint(EvqStore *store, Table *table, const pg_uuid_t *event_id, const ItemPointerData *root)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	ItemPointerData tid = *root;
	bool again = false;
	bool all_dead = false;
	bool found;

	Assert(ItemPointerIsValid(root));
	if (table->by_hint == NULL)
	{
		table->by_hint = table_index_fetch_begin(table->rel);
		/* The table does not shrink while we hold our lock on it. */
		table->blocks = RelationGetNumberOfBlocks(table->rel);
	}
	found = ItemPointerGetBlockNumber(&tid) < table->blocks &&
			table_index_fetch_tuple(table->by_hint, &tid, GetActiveSnapshot(), table->slot, &again,
									&all_dead);
	if (found)
	{
		read_columns(&table->map, table->slot, table->row);
		found = memcmp(DatumGetUUIDP(table->row->tts_values[EVENT_ID]), event_id, UUID_LEN) == 0;
	}
	MemoryContextSwitchTo(previous);
	return found;
}

/* Makes the verb see what it has just written. */
static void
after_write(void)
{
	CommandCounterIncrement();
	UpdateActiveSnapshotCommandId();
}

/* What a column of a user is to have in a new row: as in the row before, or its default. */
static void
fill_other_column(EvqStore *store, Table *table, TupleTableSlot *slot, TupleTableSlot *before, int column)
{
	if (before != NULL)
	{
		slot->tts_values[column] = before->tts_values[column];
		slot->tts_isnull[column] = before->tts_isnull[column];
		return;
	}
	slot->tts_isnull[column] = true;
	if (table->defaults[column] != NULL)
		slot->tts_values[column] = ExecEvalExpr(table->defaults[column],
												GetPerTupleExprContext(store->estate),
												&slot->tts_isnull[column]);
}

static void
prepare_defaults(EvqStore *store, Table *table)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	TupleDesc row_type = RelationGetDescr(table->rel);

	table->defaults = palloc0(row_type->natts * sizeof(ExprState *));
	for (int i = 0; i < row_type->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(row_type, i);
		bool is_other = !attribute->attisdropped && attribute->attgenerated == '\0' &&
						!evq_columns_has(&table->map, i + 1);
		Node *value = is_other ? build_column_default(table->rel, i + 1) : NULL;

		if (value != NULL)
			table->defaults[i] = ExecPrepareExpr((Expr *) value, store->estate);
	}
	MemoryContextSwitchTo(previous);
}

/* As fill_slot(), where a table has other columns than evq's own. */
static pg_noinline void
fill_mapped_slot(EvqStore *store, Table *table, TupleTableSlot *slot, const Datum *values, const bool *nulls,
				 TupleTableSlot *before)
{
	const EvqColumnMap *map = &table->map;
	int columns = slot->tts_tupleDescriptor->natts;

	if (map->has_others)
	{
		use_indexes(store, table);
		if (table->defaults == NULL)
			prepare_defaults(store, table);
	}
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, columns * sizeof(bool));
	for (int i = 0; i < columns && map->has_others; i++)
		fill_other_column(store, table, slot, before, i);
	for (int i = 0; i < map->count; i++)
	{
		if (map->numbers[i] == InvalidAttrNumber)
			continue;
		slot->tts_values[map->numbers[i] - 1] = values[i];
		slot->tts_isnull[map->numbers[i] - 1] = nulls[i];
	}
	ExecStoreVirtualTuple(slot);
}

/* What the executor would do for the user who added columns and constraints. */
static pg_noinline void
heed_users(EvqStore *store, Table *table, TupleTableSlot *slot)
{
	use_indexes(store, table);
	if (table->map.is_generated)
		ExecComputeStoredGenerated(table->info, store->estate, slot, CMD_INSERT);
	if (table->map.is_constrained)
		ExecConstraints(table->info, slot, store->estate);
	ResetPerTupleExprContext(store->estate);
}

/* Makes a row of evq's columns; before: the one that it replaces, NULL = none. */
static void
fill_slot(EvqStore *store, Table *table, TupleTableSlot *slot, const Datum *values, const bool *nulls,
		  TupleTableSlot *before)
{
	if (table->map.is_plain)
	{
		int columns = slot->tts_tupleDescriptor->natts;

		ExecClearTuple(slot);
		memcpy(slot->tts_values, values, columns * sizeof(Datum));
		memcpy(slot->tts_isnull, nulls, columns * sizeof(bool));
		ExecStoreVirtualTuple(slot);
	}
	else
		fill_mapped_slot(store, table, slot, values, nulls, before);
	if (table->map.is_generated || table->map.is_constrained)
		heed_users(store, table, slot);
}

static void
insert_index_entries(EvqStore *store, Table *table, TupleTableSlot *slot, bool update,
					 EvqUpdateIndexes updated)
{
	use_indexes(store, table);
	if (table->info->ri_NumIndices == 0)
		return;
	(void) EVQ_INSERT_INDEX_TUPLES(table->info, slot, store->estate, update, updated);
	ResetPerTupleExprContext(store->estate);
}

static void
insert_row(EvqStore *store, Table *table, const Datum *values, const bool *nulls)
{
	fill_slot(store, table, table->new_slot, values, nulls, NULL);
	table_tuple_insert(table->rel, table->new_slot, GetCurrentCommandId(true), 0, NULL);
	insert_index_entries(store, table, table->new_slot, false, EVQ_ALL_INDEXES);
}

/* The slot of a row in the batch to insert. */
static TupleTableSlot *
batch_slot(EvqStore *store, Table *table, int index)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);

	if (table->batch == NULL)
		table->batch = palloc0(INSERT_BATCH * sizeof(TupleTableSlot *));
	if (table->batch[index] == NULL)
		table->batch[index] = table_slot_create(table->rel, NULL);
	MemoryContextSwitchTo(previous);
	return table->batch[index];
}

static bool
have_equal_keys(const IndexInfo *index, TupleTableSlot *a, TupleTableSlot *b)
{
	for (int i = 0; i < index->ii_NumIndexKeyAttrs; i++)
	{
		AttrNumber column = index->ii_IndexAttrNumbers[i];
		Form_pg_attribute attribute;
		Datum value_a;
		Datum value_b;
		bool null_a;
		bool null_b;

		if (column <= 0)
			return false;
		attribute = TupleDescAttr(a->tts_tupleDescriptor, column - 1);
		value_a = slot_getattr(a, column, &null_a);
		value_b = slot_getattr(b, column, &null_b);
		if (null_a || null_b || !datumIsEqual(value_a, value_b, attribute->attbyval, attribute->attlen))
			return false;
	}
	return true;
}

/* Is any row entered? */
static bool
is_total(const IndexInfo *index)
{
	return index->ii_Predicate == NIL;
}

/*
 * A BRIN index, which summarizes pages, learns nothing from a row with the key
 * of the row before on the same page: it is passed over for such a row, unless
 * the one before may not be in it.
 */
static void
pass_over_summaries(Table *table, TupleTableSlot *before, TupleTableSlot *slot)
{
	bool is_same_page = before != NULL && ItemPointerGetBlockNumber(&before->tts_tid) ==
											  ItemPointerGetBlockNumber(&slot->tts_tid);

	for (int i = 0; i < table->info->ri_NumIndices; i++)
	{
		Relation index = table->info->ri_IndexRelationDescs[i];
		IndexInfo *info = table->info->ri_IndexRelationInfo[i];

		if (index->rd_rel->relam == BRIN_AM_OID)
			info->ii_ReadyForInserts = index->rd_index->indisready && !(is_same_page && is_total(info) &&
																		have_equal_keys(info, before, slot));
	}
}

/* The next rows come by themselves. */
static void
heed_summaries(Table *table)
{
	for (int i = 0; i < table->info->ri_NumIndices; i++)
		table->info->ri_IndexRelationInfo[i]->ii_ReadyForInserts = table->info->ri_IndexRelationDescs[i]
																	   ->rd_index->indisready;
}

/* Inserts the first rows of the batch, of events if they are: one WAL record for each page that they fill. */
static void
insert_batch(EvqStore *store, Table *table, int count, EvqEvent *events)
{
	use_indexes(store, table);
	table_multi_insert(table->rel, table->batch, count, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < count; i++)
	{
		pass_over_summaries(table, i == 0 ? NULL : table->batch[i - 1], table->batch[i]);
		insert_index_entries(store, table, table->batch[i], false, EVQ_ALL_INDEXES);
	}
	heed_summaries(table);
	for (int i = 0; i < count; i++)
	{
		if (events != NULL)
			events[i].tid = table->batch[i]->tts_tid;
		ExecClearTuple(table->batch[i]);
	}
}

/* What a failed change of a row means; in READ COMMITTED the caller goes on with the newest version. */
static EvqStoreResult
judge(EvqStore *store, TM_Result result, bool wait)
{
	switch (result)
	{
		case TM_Ok:
			return EVQ_STORE_DONE;
		case TM_BeingModified:
		case TM_WouldBlock:
			return EVQ_STORE_BUSY;
		case TM_Updated:
		case TM_Deleted:
			if (keeps_snapshot(store) && !wait && store->passes_over_changed)
				return EVQ_STORE_BUSY;
			if (keeps_snapshot(store))
				ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
								errmsg("could not serialize access due to concurrent update"),
								errhint("Retry the transaction.")));
			evq_store_refresh(store);
			return EVQ_STORE_CHANGED;
		default:
			elog(ERROR, "unexpected table tuple status: %d", (int) result);
	}
	return EVQ_STORE_BUSY; /* keep compiler quiet */
}

/*
 * May the table access method be asked not to wait for another transaction that
 * is changing the row? It answers TM_BeingModified then, but a server that was
 * built with assertions takes for granted that no update is ever asked for so.
 */
static bool
may_refuse_to_wait(void)
{
	static int answer = -1;

	if (answer < 0)
		answer = strcmp(GetConfigOption("debug_assertions", false, false), "off") == 0;
	return answer;
}

/* Locks the row fetched last, unless another transaction has it: then the answer is TM_WouldBlock. */
static TM_Result
lock_row(EvqStore *store, Table *table)
{
	TM_FailureData failure;

	if (table->lock_slot == NULL)
	{
		MemoryContext previous = MemoryContextSwitchTo(store->context);

		table->lock_slot = table_slot_create(table->rel, NULL);
		MemoryContextSwitchTo(previous);
	}
	return table_tuple_lock(table->rel, &table->slot->tts_tid, GetActiveSnapshot(), table->lock_slot,
							GetCurrentCommandId(true), LockTupleNoKeyExclusive, LockWaitSkip, 0, &failure);
}

static TM_Result
replace_row(Table *table, bool wait, EvqUpdateIndexes *update_indexes)
{
	TM_FailureData failure;
	LockTupleMode lock_mode;

	return EVQ_TABLE_UPDATE(table->rel, &table->slot->tts_tid, table->new_slot, GetCurrentCommandId(true),
							GetActiveSnapshot(), wait, &failure, &lock_mode, update_indexes);
}

/*
 * Replaces the row without waiting for another transaction. What is locked by
 * this one, or by one that an update need not wait for, is found out by locking
 * it, which writes a WAL record.
 */
static TM_Result
replace_free_row(EvqStore *store, Table *table, EvqUpdateIndexes *update_indexes)
{
	TM_Result result = may_refuse_to_wait() ? replace_row(table, false, update_indexes) : TM_BeingModified;

	if (result != TM_BeingModified)
		return result;
	result = lock_row(store, table);
	return result == TM_Ok ? replace_row(table, true, update_indexes) : result;
}

/*
 * Replaces the row fetched last, which values may point into. wait: for a transaction that is changing it. tid: set if it
 * moves; NULL = of no interest.
 */
static EvqStoreResult
update_row(EvqStore *store, Table *table, const Datum *values, const bool *nulls, bool wait,
		   ItemPointerData *tid)
{
	EvqUpdateIndexes update_indexes;
	TM_Result result;

	Assert(!TTS_EMPTY(table->slot));
	fill_slot(store, table, table->new_slot, values, nulls, table->slot);
	result = wait ? replace_row(table, true, &update_indexes)
				  : replace_free_row(store, table, &update_indexes);
	if (result == TM_Ok)
	{
		if (EVQ_UPDATES_INDEXES(update_indexes))
			insert_index_entries(store, table, table->new_slot, true, update_indexes);
		if (tid != NULL && EVQ_MOVES_ROW(update_indexes))
			*tid = table->new_slot->tts_tid;
		after_write();
	}
	return judge(store, result, wait);
}

/* Deletes the row fetched last. */
static EvqStoreResult
delete_row(EvqStore *store, Table *table, bool wait)
{
	TM_FailureData failure;
	TM_Result result;

	Assert(!TTS_EMPTY(table->slot));
	result = EVQ_TABLE_DELETE(table->rel, &table->slot->tts_tid, GetCurrentCommandId(true),
							  GetActiveSnapshot(), wait, &failure);
	if (result == TM_BeingModified)
	{
		result = lock_row(store, table);
		if (result == TM_Ok)
			result = EVQ_TABLE_DELETE(table->rel, &table->slot->tts_tid, GetCurrentCommandId(true),
									  GetActiveSnapshot(), true, &failure);
	}
	return judge(store, result, wait);
}

static Datum
optional_text(const char *text, bool *is_null)
{
	*is_null = text == NULL;
	return text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
}

static char *
optional_cstring(Datum value, bool is_null)
{
	return is_null ? NULL : TextDatumGetCString(value);
}

static Datum
optional_no(int32 no, bool *is_null)
{
	*is_null = no == 0;
	return Int32GetDatum(no);
}

/* ---------- live events ---------- */

static int64
read_answered_permit(const TupleTableSlot *row, int column)
{
	return row->tts_isnull[column] ? 0 : DatumGetInt64(row->tts_values[column]);
}

/* The columns before flow_id: none of them takes memory. */
static void
read_event_briefly(TupleTableSlot *slot, EvqEvent *event)
{
	const Datum *values = slot->tts_values;

	event->event_id = *DatumGetUUIDP(values[EVENT_ID]);
	event->published_at = DatumGetTimestampTz(values[EVENT_PUBLISHED_AT]);
	event->attempt_scheduled_at = DatumGetTimestampTz(values[EVENT_ATTEMPT_SCHEDULED_AT]);
	event->due_at = DatumGetTimestampTz(values[EVENT_DUE_AT]);
	event->event_type_no = DatumGetInt32(values[EVENT_TYPE_NO]);
	event->flow_no = DatumGetInt32(values[EVENT_FLOW_NO]);
	event->priority = DatumGetInt16(values[EVENT_PRIORITY]);
	event->chain_depth = DatumGetInt16(values[EVENT_CHAIN_DEPTH]);
	event->ordered = DatumGetBool(values[EVENT_ORDERED]);
	event->state = evq_transition_state_from_code(DatumGetChar(values[EVENT_STATE]));
	event->attempts_used = DatumGetInt16(values[EVENT_ATTEMPTS_USED]);
	event->state_due_at = DatumGetTimestampTz(values[EVENT_STATE_DUE_AT]);
	event->state_since = DatumGetTimestampTz(values[EVENT_STATE_SINCE]);
	event->attempt_started_at = event->state == EVQ_STATE_BEING_PROCESSED ? event->state_since : DT_NOEND;
	event->permit = DatumGetInt64(values[EVENT_PERMIT]);
	event->transition = EVQ_NO_TRANSITION;
	ItemPointerSetInvalid(&event->tid);
}

static void
read_event(TupleTableSlot *slot, EvqEvent *event, int answered_permit_column)
{
	const Datum *values = slot->tts_values;
	const bool *nulls = slot->tts_isnull;

	read_event_briefly(slot, event);
	event->flow_id = TextDatumGetCString(values[EVENT_FLOW_ID]);
	event->has_parent = !nulls[EVENT_PARENT_ID];
	if (event->has_parent)
		event->parent_id = *DatumGetUUIDP(values[EVENT_PARENT_ID]);
	event->on_fail_event_type_no = nulls[EVENT_ON_FAIL_NO] ? 0 : DatumGetInt32(values[EVENT_ON_FAIL_NO]);
	event->worker = optional_cstring(values[EVENT_WORKER], nulls[EVENT_WORKER]);
	event->answered_permit = read_answered_permit(slot, answered_permit_column);
}

/* The columns that live and finished events share, but for the payload, which is NULL. */
static void
write_event(const EvqEvent *event, Datum *values, bool *nulls)
{
	memset(nulls, 0, EVENT_SHARED_COLUMNS * sizeof(bool));
	values[EVENT_ID] = UUIDPGetDatum(&event->event_id);
	values[EVENT_PUBLISHED_AT] = TimestampTzGetDatum(event->published_at);
	values[EVENT_ATTEMPT_SCHEDULED_AT] = TimestampTzGetDatum(event->attempt_scheduled_at);
	values[EVENT_DUE_AT] = TimestampTzGetDatum(event->due_at);
	values[EVENT_TYPE_NO] = Int32GetDatum(event->event_type_no);
	values[EVENT_FLOW_NO] = Int32GetDatum(event->flow_no);
	values[EVENT_PRIORITY] = Int16GetDatum(event->priority);
	values[EVENT_CHAIN_DEPTH] = Int16GetDatum(event->chain_depth);
	values[EVENT_ORDERED] = BoolGetDatum(event->ordered);
	values[EVENT_STATE] = CharGetDatum(evq_transition_state_code(event->state));
	values[EVENT_ATTEMPTS_USED] = Int16GetDatum(event->attempts_used);
	values[EVENT_STATE_DUE_AT] = TimestampTzGetDatum(event->state_due_at);
	values[EVENT_STATE_SINCE] = TimestampTzGetDatum(event->state_since);
	values[EVENT_PERMIT] = Int64GetDatum(event->permit);
	values[EVENT_FLOW_ID] = CStringGetTextDatum(event->flow_id);
	values[EVENT_PARENT_ID] = UUIDPGetDatum(&event->parent_id);
	nulls[EVENT_PARENT_ID] = !event->has_parent;
	values[EVENT_ON_FAIL_NO] = optional_no(event->on_fail_event_type_no, &nulls[EVENT_ON_FAIL_NO]);
	values[EVENT_WORKER] = optional_text(event->worker, &nulls[EVENT_WORKER]);
	nulls[EVENT_PAYLOAD] = true;
}

/*
 * A change of the configuration moves the end of the lifespan of all live
 * events of a type. Their rows stay as they are: the shift, a sum over the
 * changes after their publish, is added when a row is read and taken off when
 * it is written. What times out with the lifespan moves along.
 */
static EvqLifespanShift lifespan_shift;

/* Tells the store whom to ask, for it does not know the configuration. */
void
evq_store_set_lifespan_shift(EvqLifespanShift shift)
{
	lifespan_shift = shift;
}

/* Adds the shift to a live event that was read. */
static void
move_lifespan(EvqEvent *event)
{
	TimestampTz stored_due_at = event->due_at;
	int64 shift = lifespan_shift(event->event_type_no, event->published_at);

	if (shift == 0)
		return;
	event->due_at = evq_retry_add(stored_due_at, shift);
	/* A shorter lifespan leaves the permit that was granted as it is. */
	if (event->state_due_at == stored_due_at ||
		(event->state_due_at > event->due_at && event->state_due_at != DT_NOEND &&
		 event->state != EVQ_STATE_BEING_PROCESSED))
		event->state_due_at = event->due_at;
}

static void
read_live(TupleTableSlot *slot, EvqEvent *event)
{
	read_event(slot, event, EVENT_ANSWERED_PERMIT);
	move_lifespan(event);
}

/* As write_event(), of a live event. */
static void
write_live(const EvqEvent *event, Datum *values, bool *nulls)
{
	int64 shift = lifespan_shift(event->event_type_no, event->published_at);

	write_event(event, values, nulls);
	if (shift == 0)
		return;
	values[EVENT_DUE_AT] = TimestampTzGetDatum(evq_retry_add(event->due_at, -shift));
	if (event->state_due_at == event->due_at)
		values[EVENT_STATE_DUE_AT] = values[EVENT_DUE_AT];
}

/* The payload goes along with its event from one row to the next. */
static void
carry_payload(const Table *from, Datum *values, bool *nulls)
{
	Assert(!TTS_EMPTY(from->row));
	values[EVENT_PAYLOAD] = from->row->tts_values[EVENT_PAYLOAD];
	nulls[EVENT_PAYLOAD] = from->row->tts_isnull[EVENT_PAYLOAD];
}

/* answer: 0 = none. The column after it is that of the permit, in live and in finished events. */
static void
write_answer(const EvqEvent *event, Datum answer, Datum *values, bool *nulls, int column)
{
	values[column] = answer;
	nulls[column] = answer == (Datum) 0;
	values[column + 1] = Int64GetDatum(event->answered_permit);
	nulls[column + 1] = event->answered_permit == 0;
}

/* So does the answer, unless it counts no more. */
static void
carry_answer(const EvqEvent *event, const Table *from, int from_column, Datum *values, bool *nulls,
			 int column)
{
	bool is_kept = event->answered_permit != 0 && !from->row->tts_isnull[from_column];

	write_answer(event, is_kept ? from->row->tts_values[from_column] : (Datum) 0, values, nulls, column);
}

/* The place for what is remembered of an event; what was there is forgotten. */
static Hint *
hint_for(const pg_uuid_t *event_id)
{
	uint32 random;

	memcpy(&random, &event_id->data[UUID_LEN - sizeof(random)], sizeof(random));
	return &hints[random % HINTS];
}

/*
 * Says where the row of a live event was seen, which saves the next fetch of it
 * in this session the search in the index. It may be wrong by then: the row
 * found there must be visible and have the id, otherwise it is searched for.
 */
void
evq_store_hint(const pg_uuid_t *event_id, const ItemPointerData *tid)
{
	Hint *hint;

	if (!ItemPointerIsValid(tid))
		return;
	if (hints == NULL)
		hints = MemoryContextAllocZero(TopMemoryContext, HINTS * sizeof(Hint));
	hint = hint_for(event_id);
	hint->event_id = *event_id;
	hint->tid = *tid;
}

static bool
fetch_live(EvqStore *store, Table *table, const pg_uuid_t *event_id, ItemPointerData *root)
{
	const Hint *hint = hints == NULL ? NULL : hint_for(event_id);

	/* An empty place has the nil UUID, which an event may be asked for by. */
	if (hint != NULL && ItemPointerIsValid(&hint->tid) && memcmp(&hint->event_id, event_id, UUID_LEN) == 0)
	{
		*root = hint->tid;
		if (fetch_by_hint(store, table, event_id, root))
			return true;
	}
	return fetch_by_id(store, table, event_id, root);
}

/* Reads a live event; its strings are in the current memory context. False = there is none. */
bool
evq_store_fetch(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event)
{
	Table *table = use_table(store, EVQ_TABLE_EVENT);
	ItemPointerData root;

	if (!fetch_live(store, table, event_id, &root))
		return false;
	read_live(table->row, event);
	event->tid = root;
	evq_store_hint(event_id, &root);
	return true;
}

static bool
is_inline(Datum payload, Datum headers)
{
	return headers == (Datum) 0 && VARSIZE_ANY(DatumGetPointer(payload)) <= MAX_INLINE_PAYLOAD;
}

static void
write_payload(const pg_uuid_t *event_id, Datum payload, Datum headers, Datum *values, bool *nulls)
{
	values[PAYLOAD_EVENT_ID] = UUIDPGetDatum(event_id);
	values[PAYLOAD_PAYLOAD] = payload;
	values[PAYLOAD_HEADERS] = headers;
	nulls[PAYLOAD_EVENT_ID] = nulls[PAYLOAD_PAYLOAD] = false;
	nulls[PAYLOAD_HEADERS] = headers == (Datum) 0;
}

/* Stores new events with their payloads and headers (jsonb, 0 = none; NULL = none at all). */
void
evq_store_insert(EvqStore *store, EvqEvent *events, const Datum *payloads, const Datum *headers, int count)
{
	Table *event_table = use_table(store, EVQ_TABLE_EVENT);
	MemoryContext batch_context = NULL;
	MemoryContext previous = CurrentMemoryContext;
	int collected = 0;
	int payloads_collected = 0;
	Size bytes_collected = 0;

	/* A batch costs more than a row; its memory is freed before the next. */
	if (count > 1)
	{
		batch_context = AllocSetContextCreate(previous, "evq batch", ALLOCSET_DEFAULT_SIZES);
		MemoryContextSwitchTo(batch_context);
	}
	for (int i = 0; i < count; i++)
	{
		Datum event_headers = headers == NULL ? (Datum) 0 : headers[i];
		bool inlined = is_inline(payloads[i], event_headers);
		Datum event_values[EVENT_COLUMNS];
		bool event_nulls[EVENT_COLUMNS];
		Datum payload_values[PAYLOAD_COLUMNS];
		bool payload_nulls[PAYLOAD_COLUMNS];

		CHECK_FOR_INTERRUPTS();
		write_live(&events[i], event_values, event_nulls);
		write_answer(&events[i], (Datum) 0, event_values, event_nulls, EVENT_ANSWER);
		if (inlined)
		{
			event_values[EVENT_PAYLOAD] = payloads[i];
			event_nulls[EVENT_PAYLOAD] = false;
		}
		else
			write_payload(&events[i].event_id, payloads[i], event_headers, payload_values, payload_nulls);

		if (count == 1)
		{
			insert_row(store, event_table, event_values, event_nulls);
			events[i].tid = event_table->new_slot->tts_tid;
			if (!inlined)
				insert_row(store, use_table(store, EVQ_TABLE_PAYLOAD), payload_values, payload_nulls);
			break;
		}
		fill_slot(store, event_table, batch_slot(store, event_table, collected++), event_values, event_nulls,
				  NULL);
		if (!inlined)
		{
			Table *payload_table = use_table(store, EVQ_TABLE_PAYLOAD);

			fill_slot(store, payload_table, batch_slot(store, payload_table, payloads_collected++),
					  payload_values, payload_nulls, NULL);
		}
		bytes_collected += VARSIZE_ANY(DatumGetPointer(payloads[i]));
		if (collected == INSERT_BATCH || bytes_collected > INSERT_BATCH_BYTES || i == count - 1)
		{
			insert_batch(store, event_table, collected, &events[i + 1 - collected]);
			if (payloads_collected > 0)
				insert_batch(store, use_table(store, EVQ_TABLE_PAYLOAD), payloads_collected, NULL);
			collected = payloads_collected = 0;
			bytes_collected = 0;
			MemoryContextReset(batch_context);
		}
	}
	MemoryContextSwitchTo(previous);
	if (batch_context != NULL)
		MemoryContextDelete(batch_context);
	after_write();
}

/*
 * Writes a new version of the live event fetched last. wait: for a transaction
 * that is changing it; otherwise such a row is EVQ_STORE_BUSY.
 */
EvqStoreResult
evq_store_update(EvqStore *store, EvqEvent *event, bool wait)
{
	Table *table = use_table(store, EVQ_TABLE_EVENT);
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS];

	write_live(event, values, nulls);
	carry_payload(table, values, nulls);
	carry_answer(event, table, EVENT_ANSWER, values, nulls, EVENT_ANSWER);
	return update_row(store, table, values, nulls, wait, &event->tid);
}

/* ---------- finished events ---------- */

static Datum
uuid_array(const pg_uuid_t *ids, int count)
{
	Datum *elements = palloc(count * sizeof(Datum));

	for (int i = 0; i < count; i++)
		elements[i] = UUIDPGetDatum(&ids[i]);
	return PointerGetDatum(construct_array(elements, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

static void
insert_collected(EvqStore *store)
{
	if (store->collected > 0)
		insert_batch(store, &store->tables[EVQ_TABLE_HISTORY], store->collected, NULL);
	store->collected = 0;
}

/* Opens a partition of the history, in place of another; NULL = it is one no more. */
static Table *
use_partition(EvqStore *store, Oid relid)
{
	Table *table = &store->tables[EVQ_TABLE_HISTORY];
	EvqColumnMap map;
	Relation rel;

	if (table->rel != NULL && RelationGetRelid(table->rel) == relid)
		return table;
	insert_collected(store);
	close_table(table, NoLock);
	rel = try_table_open(relid, store->lock);
	if (rel == NULL)
		return NULL;
	if (!rel->rd_rel->relispartition && relid != evq_tables_relid(EVQ_TABLE_HISTORY, false))
	{
		table_close(rel, store->lock);
		return NULL;
	}
	evq_tables_map(EVQ_TABLE_HISTORY, rel, &map);
	take_table(store, EVQ_TABLE_HISTORY, rel, &map);
	return table;
}

/* Opens the partition of the history for events that finished at a time. */
static Table *
use_history(EvqStore *store, TimestampTz finished_at)
{
	for (;;)
	{
		Oid relid = evq_partition_at(evq_tables_relid(EVQ_TABLE_HISTORY, false), finished_at);
		Table *table;

		CHECK_FOR_INTERRUPTS();
		if (!OidIsValid(relid))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("table evq.event_history has no partition for an event that finishes now"),
					 errhint("Attach evq.event_history_default to it again as its default partition.")));
		/* One that was dropped meanwhile is not known any more once we have asked for its lock. */
		table = use_partition(store, relid);
		if (table != NULL)
			return table;
	}
}

/* The values may be gone by the time the row is written. */
static void
collect_finished(EvqStore *store, Table *history, const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot = batch_slot(store, history, store->collected);

	fill_slot(store, history, slot, values, nulls, NULL);
	ExecMaterializeSlot(slot);
	if (++store->collected == INSERT_BATCH)
		insert_collected(store);
}

/*
 * From here to evq_store_end_batch() finished events are written many at once.
 * The caller begins no subtransaction in between: what one that is rolled back
 * had collected would be written.
 */
void
evq_store_begin_batch(EvqStore *store)
{
	Assert(!store->batching && store->collected == 0);
	store->batching = true;
}

void
evq_store_end_batch(EvqStore *store)
{
	Assert(store->batching);
	insert_collected(store);
	after_write();
	store->batching = false;
}

/* Moves the live event fetched last, with its outcome, to the finished ones. */
EvqStoreResult
evq_store_finish(EvqStore *store, const EvqEvent *event, const EvqOutcome *outcome, bool wait)
{
	Datum values[HISTORY_COLUMNS];
	bool nulls[HISTORY_COLUMNS] = {false};
	Table *table = use_table(store, EVQ_TABLE_EVENT);
	Table *history;
	EvqStoreResult result = delete_row(store, table, wait);

	if (result != EVQ_STORE_DONE)
		return result;

	write_event(event, values, nulls);
	carry_payload(table, values, nulls);
	carry_answer(event, table, EVENT_ANSWER, values, nulls, HISTORY_ANSWER);
	values[HISTORY_ATTEMPT_STARTED_AT] = TimestampTzGetDatum(event->attempt_started_at);
	values[HISTORY_REASON] = optional_text(outcome->reason, &nulls[HISTORY_REASON]);
	values[HISTORY_RESULT] = outcome->result;
	nulls[HISTORY_RESULT] = !outcome->has_result;
	nulls[HISTORY_SPINOFF_IDS] = outcome->spinoff_count == 0;
	if (outcome->spinoff_count > 0)
		values[HISTORY_SPINOFF_IDS] = uuid_array(outcome->spinoff_ids, outcome->spinoff_count);
	history = use_history(store, event->state_since);
	if (store->batching)
		collect_finished(store, history, values, nulls);
	else
		insert_row(store, history, values, nulls);
	after_write();
	return EVQ_STORE_DONE;
}

/* Deletes an event's rows of another table. */
static void
delete_rows_of(EvqStore *store, EvqTableNo no, const pg_uuid_t *event_id)
{
	Table *table = use_table(store, no);
	bool found;

	/* What belongs to an event was written by a statement before: asking once is enough. */
	if (!table->is_empty && table->by_key == NULL)
		table->is_empty = RelationGetNumberOfBlocks(table->rel) == 0;
	if (table->is_empty)
		return;
	found = fetch_by_id(store, table, event_id, NULL);
	while (found)
	{
		CHECK_FOR_INTERRUPTS();
		if (delete_row(store, table, true) == EVQ_STORE_DONE)
			found = fetch_next(store, table);
		else
		{
			after_write();
			found = fetch_by_id(store, table, event_id, NULL);
		}
	}
}

/* Deletes the live event fetched last and all that is its. */
EvqStoreResult
evq_store_delete(EvqStore *store, const EvqEvent *event)
{
	Table *table = use_table(store, EVQ_TABLE_EVENT);
	bool is_inline = !table->row->tts_isnull[EVENT_PAYLOAD];
	EvqStoreResult result = delete_row(store, table, true);

	if (result != EVQ_STORE_DONE)
		return result;
	if (!is_inline)
		delete_rows_of(store, EVQ_TABLE_PAYLOAD, &event->event_id);
	delete_rows_of(store, EVQ_TABLE_ERROR, &event->event_id);
	delete_rows_of(store, EVQ_TABLE_IDEMPOTENCY, &event->event_id);
	after_write();
	return EVQ_STORE_DONE;
}

static void
read_spinoff_ids(Datum value, EvqOutcome *outcome)
{
	Datum *elements;
	pg_uuid_t *ids;

	deconstruct_array(DatumGetArrayTypeP(value), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &elements, NULL,
					  &outcome->spinoff_count);
	ids = palloc(outcome->spinoff_count * sizeof(pg_uuid_t));
	for (int i = 0; i < outcome->spinoff_count; i++)
		ids[i] = *DatumGetUUIDP(elements[i]);
	outcome->spinoff_ids = ids;
}

/* Finds the finished event in a partition. One that was opened for this, in vain, is not kept locked. */
static bool
fetch_from_partition(EvqStore *store, Oid relid, const pg_uuid_t *event_id)
{
	Table *table = &store->tables[EVQ_TABLE_HISTORY];
	bool was_open = table->rel != NULL && RelationGetRelid(table->rel) == relid;

	if (use_partition(store, relid) == NULL)
		return false;
	if (fetch_by_id(store, table, event_id, NULL))
		return true;
	if (!was_open)
		close_table(table, store->lock);
	return false;
}

/*
 * Finds the finished event, one partition after the other, so that never more
 * than one is locked for it. It finished between since and now, unless the
 * clock was set back: where everywhere, the other partitions come last.
 */
static bool
fetch_from_history(EvqStore *store, const pg_uuid_t *event_id, TimestampTz since, bool everywhere)
{
	TimestampTz now = GetCurrentTimestamp();
	Oid parent = evq_tables_relid(EVQ_TABLE_HISTORY, false);
	EvqPartition *partitions;
	bool found = false;
	int count;

	/* To open one may have the session's copy of them renewed. */
	partitions = evq_partitions_copy(parent, &count);
	for (int round = 0; round < (everywhere ? 2 : 1) && !found; round++)
	{
		for (int i = 0; i < count && !found; i++)
		{
			const EvqPartition *one = &partitions[i];
			bool is_likely = one->is_default || (one->to > since && one->from <= now);

			CHECK_FOR_INTERRUPTS();
			if (is_likely == (round == 0))
				found = fetch_from_partition(store, one->relid, event_id);
		}
	}
	pfree(partitions);
	return found;
}

static bool
fetch_finished(EvqStore *store, const pg_uuid_t *event_id, TimestampTz since, bool everywhere,
			   EvqEvent *event, EvqOutcome *outcome)
{
	const Table *table = &store->tables[EVQ_TABLE_HISTORY];
	const Datum *values;
	const bool *nulls;

	if (store->collected > 0)
	{
		insert_collected(store);
		after_write();
	}
	if (!fetch_from_history(store, event_id, since, everywhere))
		return false;
	values = table->row->tts_values;
	nulls = table->row->tts_isnull;

	memset(outcome, 0, sizeof(*outcome));
	read_event(table->row, event, HISTORY_ANSWERED_PERMIT);
	outcome->reason = optional_cstring(values[HISTORY_REASON], nulls[HISTORY_REASON]);
	if (!nulls[HISTORY_SPINOFF_IDS])
		read_spinoff_ids(values[HISTORY_SPINOFF_IDS], outcome);
	return true;
}

/* Reads a finished event; its result is left out. False = there is none. */
bool
evq_store_fetch_finished(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event, EvqOutcome *outcome)
{
	return fetch_finished(store, event_id, evq_uuid_time(event_id), true, event, outcome);
}

/* The same of an event that finished at this time or later, if it is there: the rest of the history is not looked at. */
bool
evq_store_fetch_finished_since(EvqStore *store, const pg_uuid_t *event_id, TimestampTz since, EvqEvent *event,
							   EvqOutcome *outcome)
{
	return fetch_finished(store, event_id, since, false, event, outcome);
}

/* The row of a finished event, until the next one is fetched; NULL = there is none. */
TupleTableSlot *
evq_store_fetch_finished_row(EvqStore *store, const pg_uuid_t *event_id)
{
	return fetch_from_history(store, event_id, evq_uuid_time(event_id), true)
			   ? store->tables[EVQ_TABLE_HISTORY].slot
			   : NULL;
}

/* Moves the finished event fetched last back to the live ones. */
EvqStoreResult
evq_store_revive(EvqStore *store, const EvqEvent *event)
{
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS];
	Table *table = &store->tables[EVQ_TABLE_HISTORY];
	EvqStoreResult result = delete_row(store, table, true);

	if (result != EVQ_STORE_DONE)
		return result;
	write_live(event, values, nulls);
	carry_payload(table, values, nulls);
	carry_answer(event, table, HISTORY_ANSWER, values, nulls, EVENT_ANSWER);
	insert_row(store, use_table(store, EVQ_TABLE_EVENT), values, nulls);
	after_write();
	return EVQ_STORE_DONE;
}

/* ---------- payloads, answers and errors ---------- */

/* Finds the payload of the live event fetched last, as it is stored, with its headers (0 = none). False = it is missing. */
static bool
find_payload(EvqStore *store, const EvqEvent *event, Datum *payload, Datum *headers)
{
	Table *table = use_table(store, EVQ_TABLE_EVENT);

	*headers = (Datum) 0;
	if (!table->row->tts_isnull[EVENT_PAYLOAD])
	{
		*payload = table->row->tts_values[EVENT_PAYLOAD];
		return true;
	}
	table = use_table(store, EVQ_TABLE_PAYLOAD);
	if (!fetch_by_id(store, table, &event->event_id, NULL))
		return false;
	*payload = table->row->tts_values[PAYLOAD_PAYLOAD];
	if (!table->row->tts_isnull[PAYLOAD_HEADERS])
		*headers = table->row->tts_values[PAYLOAD_HEADERS];
	return true;
}

/*
 * Copies payload and headers (0 = none) of the live event fetched last into the
 * current memory context. False = its payload is missing.
 */
bool
evq_store_fetch_payload(EvqStore *store, const EvqEvent *event, Datum *payload, Datum *headers)
{
	if (!find_payload(store, event, payload, headers))
		return false;
	*payload = PointerGetDatum(PG_DETOAST_DATUM_COPY(*payload));
	if (*headers != (Datum) 0)
		*headers = PointerGetDatum(PG_DETOAST_DATUM_COPY(*headers));
	return true;
}

/* The same for the payload alone, where it has at most so many bytes; a larger one is not even read. */
bool
evq_store_fetch_small_payload(EvqStore *store, const EvqEvent *event, Size most, Datum *payload)
{
	Datum headers;

	if (!find_payload(store, event, payload, &headers) || toast_raw_datum_size(*payload) > most)
		return false;
	*payload = PointerGetDatum(PG_DETOAST_DATUM_COPY(*payload));
	return true;
}

static Datum
copy_answer(const Table *table, int column)
{
	if (table->rel == NULL || table->row->tts_isnull[column])
		return (Datum) 0;
	return PointerGetDatum(PG_DETOAST_DATUM_COPY(table->row->tts_values[column]));
}

/* Copies the answer (0 = none) of the live event fetched last, or of the finished one, into the current memory context. */
Datum
evq_store_fetch_answer(EvqStore *store, const EvqEvent *event)
{
	if (event->answered_permit == 0)
		return (Datum) 0;
	if (evq_transition_is_final(event->state))
		return copy_answer(&store->tables[EVQ_TABLE_HISTORY], HISTORY_ANSWER);
	return copy_answer(&store->tables[EVQ_TABLE_EVENT], EVENT_ANSWER);
}

/* Can live events keep an answer? Those of a version of the tables that is not upgraded yet cannot. */
bool
evq_store_keeps_answers(EvqStore *store)
{
	return use_table(store, EVQ_TABLE_EVENT)->map.numbers[EVENT_ANSWERED_PERMIT] != InvalidAttrNumber;
}

/* As evq_store_update(), waiting, with an answer (jsonb, 0 = none) in place of the one there was. */
EvqStoreResult
evq_store_update_with_answer(EvqStore *store, EvqEvent *event, Datum answer)
{
	Table *table = use_table(store, EVQ_TABLE_EVENT);
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS];

	write_live(event, values, nulls);
	carry_payload(table, values, nulls);
	write_answer(event, answer, values, nulls, EVENT_ANSWER);
	return update_row(store, table, values, nulls, true, &event->tid);
}

/* The same with another payload; the one it had has been fetched. */
EvqStoreResult
evq_store_update_with_payload(EvqStore *store, EvqEvent *event, Datum answer, Datum payload, Datum headers)
{
	Table *table = use_table(store, EVQ_TABLE_EVENT);
	bool was_inline = !table->row->tts_isnull[EVENT_PAYLOAD];
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS];
	Datum payload_values[PAYLOAD_COLUMNS];
	bool payload_nulls[PAYLOAD_COLUMNS];
	EvqStoreResult result;

	write_live(event, values, nulls);
	write_answer(event, answer, values, nulls, EVENT_ANSWER);
	if (was_inline && is_inline(payload, headers))
	{
		values[EVENT_PAYLOAD] = payload;
		nulls[EVENT_PAYLOAD] = false;
	}
	result = update_row(store, table, values, nulls, true, &event->tid);
	if (result != EVQ_STORE_DONE || !nulls[EVENT_PAYLOAD])
		return result;

	write_payload(&event->event_id, payload, headers, payload_values, payload_nulls);
	table = use_table(store, EVQ_TABLE_PAYLOAD);
	if (!was_inline)
		return update_row(store, table, payload_values, payload_nulls, true, NULL);
	insert_row(store, table, payload_values, payload_nulls);
	after_write();
	return EVQ_STORE_DONE;
}

void
evq_store_insert_error(EvqStore *store, const EvqFailure *failure)
{
	Datum values[ERROR_COLUMNS];
	bool nulls[ERROR_COLUMNS] = {false};

	values[ERROR_EVENT_ID] = UUIDPGetDatum(&failure->event_id);
	values[ERROR_FAILED_AT] = TimestampTzGetDatum(failure->failed_at);
	values[ERROR_ATTEMPT] = Int16GetDatum(failure->attempt);
	values[ERROR_OUTCOME] = CStringGetTextDatum(failure->outcome);
	values[ERROR_MESSAGE] = CStringGetTextDatum(failure->error_message);
	values[ERROR_STACK_TRACE] = optional_text(failure->stack_trace, &nulls[ERROR_STACK_TRACE]);
	values[ERROR_WORKER] = optional_text(failure->worker, &nulls[ERROR_WORKER]);
	insert_row(store, use_table(store, EVQ_TABLE_ERROR), values, nulls);
	after_write();
}

/* ---------- walks ---------- */

/* An index of the events that is open; NULL = there is none of this name. */
static Relation
find_index(const Table *table, const char *name)
{
	for (int i = 0; i < table->info->ri_NumIndices; i++)
	{
		if (strcmp(RelationGetRelationName(table->info->ri_IndexRelationDescs[i]), name) == 0)
			return table->info->ri_IndexRelationDescs[i];
	}
	return NULL;
}

/* Chooses the index to walk over. */
static void
choose_walk_index(EvqStore *store, const char *name)
{
	Table *table = use_table(store, EVQ_TABLE_EVENT);

	evq_store_walk_end(store);
	use_indexes(store, table);
	store->walk_index = find_index(table, name);
	if (store->walk_index == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("index evq.%s does not exist", name),
						errhint("Create it again as the extension did.")));
}

static void
begin_walk(EvqStore *store, ScanKey keys, int key_count)
{
	Table *table = use_table(store, EVQ_TABLE_EVENT);
	Relation index = store->walk_index;
	MemoryContext previous = MemoryContextSwitchTo(store->context);

	if (is_too_young(index) && !keeps_snapshot(store))
		evq_store_refresh(store);
	check_index(index);
	store->walk_index = index;
	if (store->walk_slot == NULL)
	{
		store->walk_slot = table_slot_create(table->rel, NULL);
		store->walk_context = AllocSetContextCreate(store->context, "evq walk", ALLOCSET_SMALL_SIZES);
		store->walk_row = table->map.is_plain ? store->walk_slot : evq_tables_make_slot(EVQ_TABLE_EVENT);
	}
	store->walk = EVQ_INDEX_BEGINSCAN(table->rel, store->walk_index, GetActiveSnapshot(), key_count);
	index_rescan(store->walk, keys, key_count, NULL, 0);
	MemoryContextSwitchTo(previous);
}

/* Can a walk over due events begin within an instant? Otherwise, until the extension is updated, it begins with all of it. */
bool
evq_store_walk_splits_instants(const EvqStore *store)
{
	return RelationGetNumberOfAttributes(store->walk_index) > 2;
}

/* Walks over the live events of a flow whose next attempt is due from a place in its line on, earliest first. */
void
evq_store_walk_due(EvqStore *store, int32 flow_no, const EvqLinePlace *from)
{
	ScanKeyData keys[2];
	ScanKey place = store->walk_from;

	choose_walk_index(store, DUE_INDEX);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(flow_no));
	if (!evq_store_walk_splits_instants(store))
		ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
					TimestampTzGetDatum(from->at));
	else
	{
		/* (attempt_scheduled_at, event_id) >= (...) */
		store->walk_from_id = from->event_id;
		ScanKeyInit(&place[0], 2, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_CMP,
					TimestampTzGetDatum(from->at));
		ScanKeyInit(&place[1], 3, BTGreaterEqualStrategyNumber, F_UUID_CMP,
					UUIDPGetDatum(&store->walk_from_id));
		place[0].sk_flags = SK_ROW_MEMBER;
		place[1].sk_flags = SK_ROW_MEMBER | SK_ROW_END;
		memset(&keys[1], 0, sizeof(ScanKeyData));
		keys[1].sk_flags = SK_ROW_HEADER;
		keys[1].sk_attno = 2;
		keys[1].sk_strategy = BTGreaterEqualStrategyNumber;
		keys[1].sk_argument = PointerGetDatum(place);
	}
	begin_walk(store, keys, 2);
}

/* A scan key's value must live as long as the scan. */
static Datum
flow_id_text(EvqStore *store, const char *flow_id)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	Datum text = CStringGetTextDatum(flow_id);

	MemoryContextSwitchTo(previous);
	return text;
}

/* Walks over the live ordered events of one flow_id, in publish order. */
void
evq_store_walk_flow_id(EvqStore *store, int32 flow_no, const char *flow_id)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(flow_no));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, flow_id_text(store, flow_id));
	keys[1].sk_collation = DEFAULT_COLLATION_OID;
	choose_walk_index(store, FLOW_ID_INDEX);
	begin_walk(store, keys, 2);
}

static bool
walk_on(EvqStore *store, ItemPointerData *root)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	bool found = next_row(store->walk, &store->tables[EVQ_TABLE_EVENT].map, store->walk_slot, store->walk_row,
						  root);

	MemoryContextSwitchTo(previous);
	return found;
}

/* The next event of the walk; its strings hold until the one after it, or the next walk, is asked for. */
bool
evq_store_walk_next(EvqStore *store, EvqEvent *event)
{
	ItemPointerData root;
	bool found = walk_on(store, &root);
	MemoryContext previous = CurrentMemoryContext;

	if (found)
	{
		MemoryContextReset(store->walk_context);
		MemoryContextSwitchTo(store->walk_context);
		read_live(store->walk_row, event);
		event->tid = root;
	}
	MemoryContextSwitchTo(previous);
	return found;
}

/* The same without its strings, and what comes behind them in the row: these are not set. */
bool
evq_store_walk_next_briefly(EvqStore *store, EvqEvent *event)
{
	ItemPointerData root;

	if (!walk_on(store, &root))
		return false;
	read_event_briefly(store->walk_row, event);
	move_lifespan(event);
	event->tid = root;
	return true;
}

/* Has this transaction written what the walk has just met? */
bool
evq_store_walk_is_own(const EvqStore *store)
{
	bool is_null;

	return TransactionIdIsCurrentTransactionId(
		DatumGetTransactionId(slot_getsysattr(store->walk_slot, MinTransactionIdAttributeNumber, &is_null)));
}

void
evq_store_walk_end(EvqStore *store)
{
	if (store->walk != NULL)
	{
		index_endscan(store->walk);
		ExecClearTuple(store->walk_slot);
	}
	store->walk = NULL;
	store->walk_index = NULL;
}

/* Enters an idempotency key, unless it is there. */
static bool
insert_key(const Datum *values)
{
	static SPIPlanPtr plan;
	Oid types[KEY_COLUMNS] = {INT4OID, TEXTOID, UUIDOID, INT8OID};
	EvqIdentity previous;
	bool inserted;

	evq_tables_become_owner(&previous);
	if (plan == NULL)
	{
		SPIPlanPtr fresh = SPI_prepare(
			"INSERT INTO evq.idempotency VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", KEY_COLUMNS, types);

		if (fresh == NULL || SPI_keepplan(fresh) != 0)
			elog(ERROR, "could not prepare the claim of an idempotency key");
		plan = fresh;
	}
	if (SPI_execute_plan(plan, unconstify(Datum *, values), NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not claim an idempotency key");
	inserted = SPI_processed == 1;
	evq_tables_become_oneself(&previous);
	UpdateActiveSnapshotCommandId();
	return inserted;
}

/* Reads the row of an idempotency key; false = there is none. */
static bool
fetch_key(EvqStore *store, Datum event_type_no, Datum key, pg_uuid_t *event_id, int64 *content_hash)
{
	Table *table = use_table(store, EVQ_TABLE_IDEMPOTENCY);
	Relation index = open_index(table->rel, NULL, store->lock);
	ScanKeyData keys[2];
	IndexScanDesc scan;
	bool found;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, event_type_no);
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, key);
	keys[1].sk_collation = DEFAULT_COLLATION_OID;
	scan = EVQ_INDEX_BEGINSCAN(table->rel, index, GetActiveSnapshot(), 2);
	index_rescan(scan, keys, 2, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, table->slot);
	if (found)
	{
		read_columns(&table->map, table->slot, table->row);
		*event_id = *DatumGetUUIDP(table->row->tts_values[KEY_EVENT_ID]);
		*content_hash = DatumGetInt64(table->row->tts_values[KEY_CONTENT_HASH]);
	}
	ExecClearTuple(table->slot);
	index_endscan(scan);
	index_close(index, NoLock);
	return found;
}

/*
 * Claims an idempotency key for an event. False = the key is taken; then the
 * first event's id and content hash are returned. A key that another
 * transaction is claiming, or deleting with its event, is waited for.
 */
bool
evq_store_claim_key(EvqStore *store, int32 event_type_no, const char *key, const pg_uuid_t *event_id,
					int64 content_hash, pg_uuid_t *first_id, int64 *first_hash)
{
	Datum values[KEY_COLUMNS] = {Int32GetDatum(event_type_no), CStringGetTextDatum(key),
								 UUIDPGetDatum(event_id), Int64GetDatum(content_hash)};

	/* It is SQL that writes; the table is looked at as the others are. */
	(void) use_table(store, EVQ_TABLE_IDEMPOTENCY);
	for (;;)
	{
		if (insert_key(values))
			return true;
		if (!keeps_snapshot(store))
			evq_store_refresh(store);
		if (fetch_key(store, values[0], values[1], first_id, first_hash))
			return false;
		/* It is gone again, or our snapshot is too old to see it. */
		if (keeps_snapshot(store))
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("could not serialize access to idempotency key \"%s\"", key),
							errhint("Retry the transaction.")));
	}
}
