/*
 * rows.c
 *		Single rows of an open store: found by the id of their event, inserted, updated, deleted.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am_d.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "tables/rows.h"

/* Makes evq's columns of the row in a slot readable: in "row", which may be the slot itself. */
void
evq_rows_read(const EvqColumnMap *map, TupleTableSlot *slot, TupleTableSlot *row)
{
	if (row == slot)
		slot_getallattrs(slot);
	else
		evq_columns_read(map, slot, row);
}

/*
 * The next visible row of a scan; false = there is none. slot: the row, row: evq's
 * columns of it. root: that of its chain of heap-only versions, where index entries
 * point to, which stays as long as the row is not moved.
 */
bool
evq_rows_next(IndexScanDesc scan, const EvqColumnMap *map, TupleTableSlot *slot, TupleTableSlot *row,
			  ItemPointerData *root)
{
	const ItemPointerData *tid;

	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		*root = *tid;
		if (index_fetch_heap(scan, slot))
		{
			evq_rows_read(map, slot, row);
			return true;
		}
	}
	return false;
}

/* Fetches a visible row with the id of an event; false = there is none. root: as of evq_rows_next(); may be NULL. */
bool
evq_rows_fetch_by_id(EvqStore *store, EvqStoreTable *table, const pg_uuid_t *event_id, ItemPointerData *root)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	ItemPointerData ignored;
	ScanKeyData key;
	bool found;

	if (table->by_key == NULL)
	{
		Relation index = evq_store_use_key(store, table);

		table->by_key = EVQ_INDEX_BEGINSCAN(table->rel, index, GetActiveSnapshot(), 1);
	}
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(event_id));
	index_rescan(table->by_key, &key, 1, NULL, 0);
	found = evq_rows_next(table->by_key, &table->map, table->slot, table->row,
						  root == NULL ? &ignored : root);
	MemoryContextSwitchTo(previous);
	return found;
}

/* Fetches the next row with the id that evq_rows_fetch_by_id() has looked for; false = there is none. */
bool
evq_rows_fetch_next(EvqStore *store, EvqStoreTable *table)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	ItemPointerData ignored;
	bool found = evq_rows_next(table->by_key, &table->map, table->slot, table->row, &ignored);

	MemoryContextSwitchTo(previous);
	return found;
}

/*
 * Fetches the visible row with this id where it is said to be. false says nothing:
 * it may have been moved.
 */
bool
evq_rows_fetch_by_hint(EvqStore *store, EvqStoreTable *table, const pg_uuid_t *event_id,
					   const ItemPointerData *root)
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
		evq_rows_read(&table->map, table->slot, table->row);
		found = memcmp(DatumGetUUIDP(table->row->tts_values[EVENT_ID]), event_id, UUID_LEN) == 0;
	}
	MemoryContextSwitchTo(previous);
	return found;
}

/* Makes the verb see what it has just written. */
void
evq_rows_written(void)
{
	CommandCounterIncrement();
	UpdateActiveSnapshotCommandId();
}

/* What a column of a user is to have in a new row: as in the row before, or its default. */
static void
fill_other_column(EvqStore *store, EvqStoreTable *table, TupleTableSlot *slot, TupleTableSlot *before,
				  int column)
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
prepare_defaults(EvqStore *store, EvqStoreTable *table)
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

/* As evq_rows_fill(), where a table has other columns than evq's own. */
static pg_noinline void
fill_mapped_slot(EvqStore *store, EvqStoreTable *table, TupleTableSlot *slot, const Datum *values,
				 const bool *nulls, TupleTableSlot *before)
{
	const EvqColumnMap *map = &table->map;
	int columns = slot->tts_tupleDescriptor->natts;

	if (map->has_others)
	{
		evq_store_use_indexes(store, table);
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
heed_users(EvqStore *store, EvqStoreTable *table, TupleTableSlot *slot)
{
	evq_store_use_indexes(store, table);
	if (table->map.is_generated)
		ExecComputeStoredGenerated(table->info, store->estate, slot, CMD_INSERT);
	if (table->map.is_constrained)
		ExecConstraints(table->info, slot, store->estate);
	ResetPerTupleExprContext(store->estate);
}

/*
 * Puts a row with evq's columns into a slot; it points into the values. Columns of
 * users are as in the row that it replaces ("before"), or have their defaults where
 * there is none (NULL). Raises an error where a constraint of a user is violated.
 */
void
evq_rows_fill(EvqStore *store, EvqStoreTable *table, TupleTableSlot *slot, const Datum *values,
			  const bool *nulls, TupleTableSlot *before)
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

/* Is it the row of an event with a group? */
static bool
has_group(const EvqStoreTable *table, TupleTableSlot *slot)
{
	AttrNumber number = table->map.numbers[EVENT_GROUP_KEY];

	return number != InvalidAttrNumber && !slot_attisnull(slot, number);
}

static void
insert_index_entries(EvqStore *store, EvqStoreTable *table, TupleTableSlot *slot, bool update,
					 EvqUpdateIndexes updated)
{
	evq_store_use_indexes(store, table);
	if (OidIsValid(table->unused_index) && has_group(table, slot))
		evq_store_use_group_index(store, table);
	if (table->info->ri_NumIndices == 0)
		return;
	(void) EVQ_INSERT_INDEX_TUPLES(table->info, slot, store->estate, update, updated);
	ResetPerTupleExprContext(store->estate);
}

/*
 * Inserts a row and its index entries. It is seen after evq_rows_written(),
 * which the caller calls when all are in.
 */
void
evq_rows_insert(EvqStore *store, EvqStoreTable *table, const Datum *values, const bool *nulls)
{
	evq_rows_fill(store, table, table->new_slot, values, nulls, NULL);
	table_tuple_insert(table->rel, table->new_slot, GetCurrentCommandId(true), 0, NULL);
	insert_index_entries(store, table, table->new_slot, false, EVQ_ALL_INDEXES);
}

/* The slot for row "index" of the batch to insert, below INSERT_BATCH; made when it is first needed. */
TupleTableSlot *
evq_rows_batch_slot(EvqStore *store, EvqStoreTable *table, int index)
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
 * the one before may not be in it. PostgreSQL's ExecInsertIndexTuples() passes over
 * what is not ready for inserts.
 */
static void
pass_over_summaries(EvqStoreTable *table, TupleTableSlot *before, TupleTableSlot *slot)
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
heed_summaries(EvqStoreTable *table)
{
	for (int i = 0; i < table->info->ri_NumIndices; i++)
		table->info->ri_IndexRelationInfo[i]->ii_ReadyForInserts = table->info->ri_IndexRelationDescs[i]
																	   ->rd_index->indisready;
}

/*
 * Inserts the first rows of the batch and their index entries: one WAL record for
 * each page that they fill. events: whose rows they are, told where (tid); NULL = of
 * no interest. Seen as of evq_rows_insert().
 */
void
evq_rows_insert_batch(EvqStore *store, EvqStoreTable *table, int count, EvqEvent *events)
{
	evq_store_use_indexes(store, table);
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
			if (evq_store_keeps_snapshot(store) && !wait && store->passes_over_changed)
				return EVQ_STORE_BUSY;
			if (evq_store_keeps_snapshot(store))
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
 * Locks the row fetched last as what follows will, which is not to wait: that
 * always waits where it meets a row which another transaction is changing, or a
 * lock of its own kind is in the way of.
 */
static TM_Result
lock_row(EvqStore *store, EvqStoreTable *table, LockTupleMode mode)
{
	TM_FailureData failure;

	if (table->lock_slot == NULL)
	{
		MemoryContext previous = MemoryContextSwitchTo(store->context);

		table->lock_slot = table_slot_create(table->rel, NULL);
		MemoryContextSwitchTo(previous);
	}
	return table_tuple_lock(table->rel, &table->slot->tts_tid, GetActiveSnapshot(), table->lock_slot,
							GetCurrentCommandId(true), mode, LockWaitSkip, 0, &failure);
}

/*
 * Replaces the row fetched last, which values may point into. wait: for a
 * transaction that is changing it; otherwise such a row is EVQ_STORE_BUSY. tid: set
 * if the row moves; NULL = of no interest. Where another transaction has changed it,
 * a transaction that keeps its snapshot gets a serialization failure, any other
 * EVQ_STORE_CHANGED and a new snapshot.
 */
EvqStoreResult
evq_rows_update(EvqStore *store, EvqStoreTable *table, const Datum *values, const bool *nulls, bool wait,
				ItemPointerData *tid)
{
	TM_FailureData failure;
	LockTupleMode lock_mode;
	EvqUpdateIndexes update_indexes;
	TM_Result result;

	Assert(!TTS_EMPTY(table->slot));
	if (!wait)
	{
		result = lock_row(store, table, LockTupleNoKeyExclusive);
		if (result != TM_Ok)
			return judge(store, result, wait);
	}
	evq_rows_fill(store, table, table->new_slot, values, nulls, table->slot);
	result = EVQ_TABLE_UPDATE(table->rel, &table->slot->tts_tid, table->new_slot, GetCurrentCommandId(true),
							  GetActiveSnapshot(), true, &failure, &lock_mode, &update_indexes);
	Assert(wait || result == TM_Ok);
	if (result == TM_Ok)
	{
		if (EVQ_UPDATES_INDEXES(update_indexes))
			insert_index_entries(store, table, table->new_slot, true, update_indexes);
		if (tid != NULL && EVQ_MOVES_ROW(update_indexes))
			*tid = table->new_slot->tts_tid;
		evq_rows_written();
	}
	return judge(store, result, wait);
}

/* Deletes the row fetched last; wait, and what it returns, as of evq_rows_update(). What other tables have of its event is still to be deleted. */
EvqStoreResult
evq_rows_delete(EvqStore *store, EvqStoreTable *table, bool wait)
{
	TM_FailureData failure;

	Assert(!TTS_EMPTY(table->slot));
	if (!wait)
	{
		TM_Result result = lock_row(store, table, LockTupleExclusive);

		if (result != TM_Ok)
			return judge(store, result, wait);
	}
	return judge(store,
				 EVQ_TABLE_DELETE(table->rel, &table->slot->tts_tid, GetCurrentCommandId(true),
								  GetActiveSnapshot(), true, &failure),
				 wait);
}

/* A text for a column; NULL for NULL. */
Datum
evq_rows_text(const char *text, bool *is_null)
{
	*is_null = text == NULL;
	return text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
}

/* The text of a column, in the current memory context; NULL for NULL. */
char *
evq_rows_cstring(Datum value, bool is_null)
{
	return is_null ? NULL : TextDatumGetCString(value);
}

/* A number for a column that is NULL where there is none, that is 0. */
Datum
evq_rows_no(int32 no, bool *is_null)
{
	*is_null = no == 0;
	return Int32GetDatum(no);
}
