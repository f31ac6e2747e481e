/*
 * runs.c
 *		What happened to the events of batches: runs of neighbours, and exceptions.
 *
 * Rows are looked at with a snapshot that shows what is committed and what any open transaction has written: what one of
 * those takes is taken, until it is rolled back. Who has to know how it ends waits for it, without the lock, and looks again.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "rules/transition.h"
#include "tables/rows.h"
#include "tables/runs.h"

/* An advisory lock of a class that SQL cannot take; two batches may share one. */
#define BATCH_LOCK_CLASS 0xE7

/* ---------- the lock ---------- */

static void
set_tag(LOCKTAG *tag, const EvqBatch *batch)
{
	uint32 high;
	uint32 low;

	/* The bits of a fraction of a millisecond and the random ones. */
	memcpy(&high, &batch->batch_id.data[6], sizeof(high));
	memcpy(&low, &batch->batch_id.data[10], sizeof(low));
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, high, low, BATCH_LOCK_CLASS);
}

/*
 * Takes the lock of a batch; whoever has it waits for nothing. It is gone at the latest with the transaction. The locks of
 * the tables, for which one may have to wait, are taken before.
 */
void
evq_runs_lock(EvqStore *store, const EvqBatch *batch)
{
	LOCKTAG tag;

	(void) evq_store_use_key(store, evq_store_use_table(store, EVQ_TABLE_RUN));
	(void) evq_store_use_key(store, evq_store_use_table(store, EVQ_TABLE_EXCEPTION));
	set_tag(&tag, batch);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* Gives it back. */
void
evq_runs_unlock(const EvqBatch *batch)
{
	LOCKTAG tag;

	set_tag(&tag, batch);
	(void) LockRelease(&tag, ExclusiveLock, false);
}

/* Waits for the end of a transaction; whoever calls has given the lock back, and looks at everything again. */
void
evq_runs_wait(EvqStore *store, TransactionId other)
{
	XactLockTableWait(other, NULL, NULL, XLTW_None);
	evq_store_refresh(store);
}

/* ---------- looking ---------- */

/* Begins to read the rows of a table whose keys are those of a range of the batch, in their order. */
static void
begin_looking(EvqStore *store, EvqStoreTable *table, const EvqBatch *batch, int first, int last)
{
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	ScanKeyData keys[2];

	if (table->by_key == NULL)
	{
		InitDirtySnapshot(store->dirty);
		table->by_key = EVQ_INDEX_BEGINSCAN(table->rel, evq_store_use_key(store, table), &store->dirty, 2);
	}
	table->first_key = evq_uuid_in_batch(&batch->batch_id, first);
	table->last_key = evq_uuid_in_batch(&batch->batch_id, last);
	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_UUID_GE, UUIDPGetDatum(&table->first_key));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_UUID_LE, UUIDPGetDatum(&table->last_key));
	index_rescan(table->by_key, keys, 2, NULL, 0);
	MemoryContextSwitchTo(previous);
}

/* Does the snapshot that the transaction keeps, if it does, not show the row in the slot as it is? */
static bool
is_unseen(const EvqStore *store, const EvqStoreTable *table)
{
	TransactionId maker;
	bool is_null;

	if (!evq_store_keeps_snapshot(store))
		return false;
	maker = DatumGetTransactionId(slot_getsysattr(table->slot, MinTransactionIdAttributeNumber, &is_null));
	return !TransactionIdIsCurrentTransactionId(maker) && XidInMVCCSnapshot(maker, GetActiveSnapshot());
}

/* The next of them; changer: somebody else's open transaction that made it or is changing it. */
static bool
look_at_next(EvqStore *store, EvqStoreTable *table, TransactionId *changer)
{
	/* What the scan keeps of dead rows lives as long as the scan. */
	MemoryContext previous = MemoryContextSwitchTo(store->context);
	bool found = index_getnext_slot(table->by_key, ForwardScanDirection, table->slot);

	MemoryContextSwitchTo(previous);
	if (!found)
		return false;
	*changer = TransactionIdIsValid(store->dirty.xmin) ? store->dirty.xmin : store->dirty.xmax;
	evq_rows_read(&table->map, table->slot, table->row);
	return true;
}

/* Finds the run that ends first at an event or after it; of the events before that run, none after this one has one. */
bool
evq_runs_find(EvqStore *store, const EvqBatch *batch, int ordinal, EvqRun *run)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_RUN);
	const Datum *values;

	begin_looking(store, table, batch, ordinal, EVQ_UUID_BATCH_ROOM - 1);
	if (!look_at_next(store, table, &run->changer))
		return false;
	values = table->row->tts_values;
	run->range.last = evq_uuid_ordinal(DatumGetUUIDP(values[RUN_LAST_ID]));
	run->range.first = run->range.last - DatumGetInt16(values[RUN_EVENTS]) + 1;
	run->state = evq_transition_state_from_code(DatumGetChar(values[RUN_STATE]));
	run->state_since = DatumGetTimestampTz(values[RUN_STATE_SINCE]);
	run->state_due_at = DatumGetTimestampTz(values[RUN_STATE_DUE_AT]);
	if (run->state_due_at == batch->due_at)
		run->state_due_at = evq_batches_due_at(batch);
	run->attempt_started_at = DatumGetTimestampTz(values[RUN_ATTEMPT_STARTED_AT]);
	run->permit = DatumGetInt64(values[RUN_PERMIT]);
	run->worker = evq_rows_cstring(values[RUN_WORKER], table->row->tts_isnull[RUN_WORKER]);
	run->is_unseen = is_unseen(store, table);
	return true;
}

/* Begins to read the exceptions of a range; NULL = there are none at all. */
static EvqStoreTable *
begin_exceptions(EvqStore *store, const EvqBatch *batch, EvqRange range)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_EXCEPTION);

	if (evq_store_is_empty(table))
		return NULL;
	begin_looking(store, table, batch, range.first, range.last);
	return table;
}

/* Finds the exceptions of a range. */
void
evq_runs_find_exceptions(EvqStore *store, const EvqBatch *batch, EvqRange range, EvqExceptions *found)
{
	EvqStoreTable *table = begin_exceptions(store, batch, range);
	TransactionId changer;

	memset(&found->succeeded, 0, sizeof(found->succeeded));
	memset(&found->moved, 0, sizeof(found->moved));
	memset(&found->open, 0, sizeof(found->open));
	found->has_unseen = false;
	while (table != NULL && look_at_next(store, table, &changer))
	{
		int ordinal = evq_uuid_ordinal(DatumGetUUIDP(table->row->tts_values[EXCEPTION_EVENT_ID]));

		if (TransactionIdIsValid(changer))
		{
			evq_ordinals_add(&found->open, ordinal);
			found->open_of[ordinal] = changer;
			continue;
		}
		found->has_unseen |= is_unseen(store, table);
		if (DatumGetChar(table->row->tts_values[EXCEPTION_STATE]) == EVQ_EXCEPTION_SUCCEEDED)
			evq_ordinals_add(&found->succeeded, ordinal);
		else
			evq_ordinals_add(&found->moved, ordinal);
	}
}

/* Finds the first exception of a range. */
static bool
find_exception(EvqStore *store, const EvqBatch *batch, EvqRange range, int *ordinal)
{
	EvqStoreTable *table = begin_exceptions(store, batch, range);
	TransactionId changer;

	if (table == NULL || !look_at_next(store, table, &changer))
		return false;
	*ordinal = evq_uuid_ordinal(DatumGetUUIDP(table->row->tts_values[EXCEPTION_EVENT_ID]));
	return true;
}

/* Finds the first events of a range that have neither a run nor an exception, be it of an open transaction. */
bool
evq_runs_find_gap(EvqStore *store, const EvqBatch *batch, EvqRange within, EvqRange *gap)
{
	*gap = within;
	while (gap->first <= within.last)
	{
		EvqRun run;
		int exception;

		gap->last = within.last;
		if (evq_runs_find(store, batch, gap->first, &run))
		{
			if (run.range.first <= gap->first)
			{
				gap->first = run.range.last + 1;
				continue;
			}
			gap->last = Min(gap->last, run.range.first - 1);
		}
		if (!find_exception(store, batch, *gap, &exception))
			return true;
		if (exception > gap->first)
		{
			gap->last = exception - 1;
			return true;
		}
		gap->first++;
	}
	return false;
}

/* A transaction that keeps its snapshot cannot decide by what that does not show. */
void
evq_runs_fail_if_unseen(bool is_unseen)
{
	if (is_unseen)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access due to concurrent update"),
						errhint("Retry the transaction.")));
}

/* ---------- writing ---------- */

/* A permit that ends with the lifespan is stored as the end that this had when the batch was published, and moves along with it. */
static TimestampTz
stored_due_at(const EvqBatch *batch, const EvqRun *run)
{
	return run->state_due_at == evq_batches_due_at(batch) ? batch->due_at : run->state_due_at;
}

static void
write_run(const EvqBatch *batch, const EvqRun *run, pg_uuid_t *last_id, Datum *values, bool *nulls)
{
	*last_id = evq_uuid_in_batch(&batch->batch_id, run->range.last);
	memset(nulls, 0, RUN_COLUMNS * sizeof(bool));
	values[RUN_LAST_ID] = UUIDPGetDatum(last_id);
	values[RUN_EVENTS] = Int16GetDatum(run->range.last - run->range.first + 1);
	values[RUN_STATE] = CharGetDatum(evq_transition_state_code(run->state));
	values[RUN_STATE_SINCE] = TimestampTzGetDatum(run->state_since);
	values[RUN_STATE_DUE_AT] = TimestampTzGetDatum(stored_due_at(batch, run));
	values[RUN_ATTEMPT_STARTED_AT] = TimestampTzGetDatum(run->attempt_started_at);
	values[RUN_PERMIT] = Int64GetDatum(run->permit);
	values[RUN_WORKER] = evq_rows_text(run->worker, &nulls[RUN_WORKER]);
}

/* Inserts a run, where there is none yet: under the lock, after a look. */
void
evq_runs_insert(EvqStore *store, const EvqBatch *batch, const EvqRun *run)
{
	Datum values[RUN_COLUMNS];
	bool nulls[RUN_COLUMNS];
	pg_uuid_t last_id;

	write_run(batch, run, &last_id, values, nulls);
	evq_rows_insert(store, evq_store_use_table(store, EVQ_TABLE_RUN), values, nulls);
}

/* Replaces the run found last. Nobody else can be changing it. */
void
evq_runs_update(EvqStore *store, const EvqBatch *batch, const EvqRun *run)
{
	Datum values[RUN_COLUMNS];
	bool nulls[RUN_COLUMNS];
	pg_uuid_t last_id;

	write_run(batch, run, &last_id, values, nulls);
	if (evq_rows_update(store, evq_store_use_table(store, EVQ_TABLE_RUN), values, nulls, true, NULL) !=
		EVQ_STORE_DONE)
		elog(ERROR, "evq: a run was changed without the lock of its batch");
}

/* The same for the exception of an event. */
void
evq_runs_insert_exception(EvqStore *store, const EvqBatch *batch, int ordinal, char state, TimestampTz now)
{
	pg_uuid_t event_id = evq_uuid_in_batch(&batch->batch_id, ordinal);
	Datum values[EXCEPTION_COLUMNS];
	bool nulls[EXCEPTION_COLUMNS] = {false};

	values[EXCEPTION_EVENT_ID] = UUIDPGetDatum(&event_id);
	values[EXCEPTION_STATE] = CharGetDatum(state);
	values[EXCEPTION_STATE_SINCE] = TimestampTzGetDatum(now);
	evq_rows_insert(store, evq_store_use_table(store, EVQ_TABLE_EXCEPTION), values, nulls);
}

/* The transaction sees what it has written here, from now on. */
void
evq_runs_written(void)
{
	evq_rows_written();
}
