/*
 * store.c
 *		All access to events: opening the tables, and the snapshot of a verb.
 *
 * Rows are read through their primary key and written with the table access
 * method's own calls, as the executor does for an UPDATE, but without planning
 * one. What the executor would do besides is done in rows.c or ruled out: the
 * transaction must not be read-only; index entries are added where a new row
 * version is not heap-only; in REPEATABLE READ and above a row changed by
 * someone else is a serialization failure; otherwise the caller fetches the
 * newest version and decides again. The tables have no triggers that fire
 * here, no row security, and privileges are those of the functions.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "tables/partitions.h"
#include "tables/store_internal.h"

/* The indexes of tables whose primary key does not begin with the event's id. */
static const char *const event_id_indexes[EVQ_TABLE_COUNT] = {
	[EVQ_TABLE_ERROR] = "event_error_event_id_idx",
	[EVQ_TABLE_IDEMPOTENCY] = "idempotency_event_id_idx",
};

/* Does the store see what the transaction's snapshot sees, whatever others commit? */
bool
evq_store_keeps_snapshot(const EvqStore *store)
{
	return IsolationUsesXactSnapshot() && !store->sees_present;
}

static void
push_snapshot(const EvqStore *store)
{
	/* In READ COMMITTED the row may be younger than the statement's own snapshot. */
	PushCopiedSnapshot(evq_store_keeps_snapshot(store) ? GetTransactionSnapshot() : GetLatestSnapshot());
	UpdateActiveSnapshotCommandId();
}

/* Ends the walk under way, if any. */
void
evq_store_end_walk(EvqStore *store)
{
	if (store->walk != NULL)
	{
		index_endscan(store->walk);
		ExecClearTuple(store->walk_slot);
	}
	store->walk = NULL;
	store->walk_index = NULL;
}

/*
 * Opens the store for a verb that writes. function: its name in SQL, for the error
 * where the transaction is read-only or in parallel mode. The tables are locked
 * (RowExclusive) when they are first needed, until the end of the transaction.
 */
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

/*
 * Opens the store for a query that sees what the statement around it sees; it may
 * be on a standby or in a parallel worker. Nothing is to be written with it.
 */
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
end_scan(EvqStoreTable *table)
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
	evq_store_end_walk(store);
	for (int i = 0; i < EVQ_TABLE_COUNT; i++)
	{
		if (store->tables[i] != NULL)
			end_scan(store->tables[i]);
	}
}

/* A table of the store, open or not. A verb uses few of them, and pays for no other. */
EvqStoreTable *
evq_store_table(EvqStore *store, EvqTableNo no)
{
	if (store->tables[no] == NULL)
		store->tables[no] = MemoryContextAllocZero(store->context, sizeof(EvqStoreTable));
	return store->tables[no];
}

/* Closes a table, if it is open. lock: to give back; NoLock = it stays until the end of the transaction. */
void
evq_store_close_table(EvqStoreTable *table, LOCKMODE lock)
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

/*
 * Closes the tables, whose locks stay until the end of the transaction, and
 * frees the store. Batches have been ended.
 */
void
evq_store_close(EvqStore *store)
{
	Assert(store->collected == 0);
	end_scans(store);
	for (int i = 0; i < EVQ_TABLE_COUNT; i++)
	{
		if (store->tables[i] == NULL)
			continue;
		evq_store_close_table(store->tables[i], NoLock);
		pfree(store->tables[i]);
	}
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

/*
 * Takes a new snapshot, which sees what others have committed meanwhile, unless the
 * transaction keeps its own. Walks and fetched rows end. Whoever decides again
 * comes by here, so this heeds interrupts.
 */
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
	bool kept = evq_store_keeps_snapshot(store);

	store->sees_present = present;
	if (evq_store_keeps_snapshot(store) != kept)
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
		if (evq_store_keeps_snapshot(store))
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("table evq.%s was changed after this transaction began",
								   RelationGetRelationName(rel)),
							errhint("Retry the transaction.")));
		Assert(store->walk == NULL);
		evq_store_refresh(store);
	}
	seen[no] = rel->rd_rel->relfilenode;
}

/* Makes an open and locked relation a table of the store, which closes it. map: where it has evq's columns. */
void
evq_store_take_table(EvqStore *store, EvqTableNo no, Relation rel, const EvqColumnMap *map)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	EvqStoreTable *table = evq_store_table(store, no);

	heed_rewrite(store, no, rel);

	table->no = no;
	table->rel = rel;
	table->map = *map;
	table->slot = table_slot_create(rel, NULL);
	table->row = map->is_plain ? table->slot : evq_tables_make_slot(no);
	table->new_slot = table_slot_create(rel, NULL);
	MemoryContextSwitchTo(previous);
}

/*
 * A table of the store, opened and locked when it is first needed. Raises an
 * error where evq cannot work with it.
 */
EvqStoreTable *
evq_store_use_table(EvqStore *store, EvqTableNo no)
{
	EvqStoreTable *table = evq_store_table(store, no);

	if (table->rel == NULL)
	{
		EvqColumnMap map;
		Relation rel = evq_tables_open(no, store->lock, &map);

		evq_store_take_table(store, no, rel, &map);
	}
	return table;
}

/*
 * Opens a partition of a table, in place of another; NULL = it is one no more, or
 * none that we can read and write: a foreign table, say.
 */
EvqStoreTable *
evq_store_use_partition(EvqStore *store, EvqTableNo no, Oid relid)
{
	EvqStoreTable *table = evq_store_table(store, no);
	EvqColumnMap map;
	Relation rel;
	bool is_member;

	if (table->rel != NULL && RelationGetRelid(table->rel) == relid)
		return table;
	evq_store_close_table(table, NoLock);
	rel = try_table_open(relid, store->lock);
	if (rel == NULL)
		return NULL;
	is_member = rel->rd_rel->relispartition || relid == evq_tables_relid(no, false);
	if (!is_member || rel->rd_rel->relkind != RELKIND_RELATION)
	{
		table_close(rel, store->lock);
		return NULL;
	}
	evq_tables_map(no, rel, &map);
	evq_store_take_table(store, no, rel, &map);
	return table;
}

static void
require_plain_table(EvqTableNo no, Oid relid, const char *what)
{
	char kind = get_rel_relkind(relid);

	if (kind != RELKIND_RELATION && kind != '\0')
		ereport(
			ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("partition %s of evq.%s, for %s, is not a plain table",
					quote_identifier(get_rel_name(relid)), evq_tables_name(no), what),
			 errhint(
				 "Detach it: a foreign table, or one with partitions of its own, can hold only the past.")));
}

/* Opens, with this function, the partition of a table for a time that is now. what: is to be written, for the error where there is none. */
EvqStoreTable *
evq_store_use_partition_at(EvqStore *store, EvqTableNo no, TimestampTz at, const char *what,
						   EvqUsePartition use)
{
	for (;;)
	{
		Oid relid = evq_partition_at(evq_tables_relid(no, false), at);
		EvqStoreTable *table;

		CHECK_FOR_INTERRUPTS();
		if (!OidIsValid(relid))
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("table evq.%s has no partition for %s", evq_tables_name(no), what),
							errhint("Attach evq.%s_default to it again as its default partition.",
									evq_tables_name(no))));
		require_plain_table(no, relid, what);
		/*
		 * One that was dropped meanwhile is not known any more once we have asked for its lock. Nor does one hold the
		 * time then whose bounds were changed, or, of the default one, for which another was made.
		 */
		table = use(store, no, relid);
		if (table != NULL && evq_partition_at(evq_tables_relid(no, false), at) == relid)
			return table;
	}
}

/* There is room for it. */
static void
open_index(ResultRelInfo *info, Oid relid)
{
	Relation index = index_open(relid, RowExclusiveLock);

	info->ri_IndexRelationDescs[info->ri_NumIndices] = index;
	info->ri_IndexRelationInfo[info->ri_NumIndices] = BuildIndexInfo(index);
	info->ri_NumIndices++;
}

/* As ExecOpenIndices() does, but for the index of groups: to open it and to ask its predicate costs a publish a tenth. */
static void
open_indexes(EvqStoreTable *table)
{
	ResultRelInfo *info = table->info;
	Oid group_index = evq_tables_group_index();
	List *indexes = RelationGetIndexList(table->rel);
	ListCell *cell;

	info->ri_IndexRelationDescs = palloc(list_length(indexes) * sizeof(Relation));
	info->ri_IndexRelationInfo = palloc(list_length(indexes) * sizeof(IndexInfo *));
	foreach(cell, indexes)
	{
		if (lfirst_oid(cell) == group_index)
			table->unused_index = group_index;
		else
			open_index(info, lfirst_oid(cell));
	}
	list_free(indexes);
}

/* Opens the indexes of a table, to add entries. Most verbs write a heap-only row version and need none of them. */
void
evq_store_use_indexes(EvqStore *store, EvqStoreTable *table)
{
	MemoryContext previous;

	if (table->info != NULL)
		return;
	previous = MemoryContextSwitchTo(store->context);
	if (store->estate == NULL)
		store->estate = CreateExecutorState();
	table->info = makeNode(ResultRelInfo);
	InitResultRelInfo(table->info, table->rel, 0, NULL, 0);
	if (table->no == EVQ_TABLE_EVENT)
		open_indexes(table);
	else
		ExecOpenIndices(table->info, false);
	MemoryContextSwitchTo(previous);
}

/* Opens the index of groups, too, after evq_store_use_indexes(): for the row of an event with a group, or to search it. */
void
evq_store_use_group_index(EvqStore *store, EvqStoreTable *table)
{
	MemoryContext previous;

	if (!OidIsValid(table->unused_index))
		return;
	previous = MemoryContextSwitchTo(store->context);
	open_index(table->info, table->unused_index);
	table->unused_index = InvalidOid;
	MemoryContextSwitchTo(previous);
}

/*
 * Was the index built after the snapshot was taken, and over rows that had
 * changed in place? It may lack what such a snapshot sees.
 */
bool
evq_store_is_too_young(Relation index)
{
	return index->rd_index->indcheckxmin &&
		   XidInMVCCSnapshot(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), GetActiveSnapshot());
}

/* Refuses to search an index that may lack rows: it is being built beside writers, or that has failed, or it is too young. */
void
evq_store_check_index(Relation index)
{
	if (!index->rd_index->indisvalid)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("index evq.%s is not valid", RelationGetRelationName(index)),
			 errhint("Wait until CREATE INDEX CONCURRENTLY has ended; if it failed, REINDEX INDEX evq.%s.",
					 RelationGetRelationName(index))));
	if (evq_store_is_too_young(index))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("index evq.%s is younger than this transaction", RelationGetRelationName(index)),
				 errhint("Retry the transaction.")));
}

/* Opens an index of a table, to search it; the caller closes it. name: NULL = the primary key. Raises an error where it cannot be searched. */
Relation
evq_store_open_index(Relation rel, const char *name, LOCKMODE lock)
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
	evq_store_check_index(opened);
	return opened;
}

/* Is nothing in the table, not even of an open transaction? */
bool
evq_store_is_empty(EvqStoreTable *table)
{
	/* Once there is something, it is not asked again. */
	if (!table->is_filled)
		table->is_filled = RelationGetNumberOfBlocks(table->rel) > 0;
	return !table->is_filled;
}

/* The index by which the rows of an event are found; it is open as long as the table. */
Relation
evq_store_use_key(const EvqStore *store, EvqStoreTable *table)
{
	if (table->key == NULL)
		table->key = evq_store_open_index(table->rel, event_id_indexes[table->no], store->lock);
	return table->key;
}
