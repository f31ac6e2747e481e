/*
 * history.c
 *		Finished events, in the partitions of evq.event_history.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/uuid.h"
#include "tables/events_internal.h"
#include "tables/history.h"
#include "tables/partitions.h"
#include "tables/rows.h"

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
		evq_rows_insert_batch(store, evq_store_table(store, EVQ_TABLE_HISTORY), store->collected, NULL);
	store->collected = 0;
}

/* Opens a partition of the history, as evq_store_use_partition(). */
static EvqStoreTable *
use_partition(EvqStore *store, EvqTableNo no, Oid relid)
{
	const EvqStoreTable *table = evq_store_table(store, EVQ_TABLE_HISTORY);

	if (table->rel == NULL || RelationGetRelid(table->rel) != relid)
		insert_collected(store);
	return evq_store_use_partition(store, no, relid);
}

/* Opens the partition of the history for events that finished at a time. */
static EvqStoreTable *
use_history(EvqStore *store, TimestampTz finished_at)
{
	return evq_store_use_partition_at(store, EVQ_TABLE_HISTORY, finished_at, "an event that finishes now",
									  use_partition);
}

/* The values may be gone by the time the row is written. */
static void
collect_finished(EvqStore *store, EvqStoreTable *history, const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot = evq_rows_batch_slot(store, history, store->collected);

	evq_rows_fill(store, history, slot, values, nulls, NULL);
	ExecMaterializeSlot(slot);
	if (++store->collected == INSERT_BATCH)
		insert_collected(store);
}

/*
 * From here to evq_history_end_batch() finished events are written many at once.
 * The caller begins no subtransaction in between: what one that is rolled back
 * had collected would be written.
 */
void
evq_history_begin_batch(EvqStore *store)
{
	Assert(!store->batching && store->collected == 0);
	store->batching = true;
}

/* Writes what was collected since evq_history_begin_batch(). */
void
evq_history_end_batch(EvqStore *store)
{
	Assert(store->batching);
	insert_collected(store);
	evq_rows_written();
	store->batching = false;
}

/* Moves the live event fetched last, with its outcome, to the finished ones. wait, and what it returns: see evq_rows_update(). */
EvqStoreResult
evq_history_finish(EvqStore *store, const EvqEvent *event, const EvqOutcome *outcome, bool wait)
{
	Datum values[HISTORY_COLUMNS];
	bool nulls[HISTORY_COLUMNS] = {false};
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_EVENT);
	EvqStoreTable *history;
	EvqStoreResult result = evq_rows_delete(store, table, wait);

	if (result != EVQ_STORE_DONE)
		return result;

	evq_events_write(event, values, nulls);
	evq_events_carry_payload(table, values, nulls);
	evq_events_carry_answer(event, table, EVENT_ANSWER, values, nulls, HISTORY_ANSWER);
	values[HISTORY_ATTEMPT_STARTED_AT] = TimestampTzGetDatum(event->attempt_started_at);
	values[HISTORY_REASON] = evq_rows_text(outcome->reason, &nulls[HISTORY_REASON]);
	values[HISTORY_RESULT] = outcome->result;
	nulls[HISTORY_RESULT] = !outcome->has_result;
	nulls[HISTORY_SPINOFF_IDS] = outcome->spinoff_count == 0;
	if (outcome->spinoff_count > 0)
		values[HISTORY_SPINOFF_IDS] = uuid_array(outcome->spinoff_ids, outcome->spinoff_count);
	history = use_history(store, event->state_since);
	if (store->batching)
		collect_finished(store, history, values, nulls);
	else
		evq_rows_insert(store, history, values, nulls);
	evq_rows_written();
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
	EvqStoreTable *table = evq_store_table(store, EVQ_TABLE_HISTORY);
	bool was_open = table->rel != NULL && RelationGetRelid(table->rel) == relid;

	if (use_partition(store, EVQ_TABLE_HISTORY, relid) == NULL)
		return false;
	if (evq_rows_fetch_by_id(store, table, event_id, NULL))
		return true;
	if (!was_open)
		evq_store_close_table(table, store->lock);
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
			bool is_likely = one->to > since && one->from <= now;

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
	const EvqStoreTable *table = evq_store_table(store, EVQ_TABLE_HISTORY);
	const Datum *values;
	const bool *nulls;

	if (store->collected > 0)
	{
		insert_collected(store);
		evq_rows_written();
	}
	if (!fetch_from_history(store, event_id, since, everywhere))
		return false;
	values = table->row->tts_values;
	nulls = table->row->tts_isnull;

	memset(outcome, 0, sizeof(*outcome));
	evq_events_read(table->row, event, HISTORY_ANSWER);
	outcome->reason = evq_rows_cstring(values[HISTORY_REASON], nulls[HISTORY_REASON]);
	if (!nulls[HISTORY_SPINOFF_IDS])
		read_spinoff_ids(values[HISTORY_SPINOFF_IDS], outcome);
	return true;
}

/* Reads a finished event; its result is left out. False = there is none. */
bool
evq_history_fetch(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event, EvqOutcome *outcome)
{
	return fetch_finished(store, event_id, evq_uuid_time(event_id), true, event, outcome);
}

/* The same of an event that finished at this time or later, if it is there: the rest of the history is not looked at. */
bool
evq_history_fetch_since(EvqStore *store, const pg_uuid_t *event_id, TimestampTz since, EvqEvent *event,
						EvqOutcome *outcome)
{
	return fetch_finished(store, event_id, since, false, event, outcome);
}

/* The row of a finished event, until the next one is fetched; NULL = there is none. */
TupleTableSlot *
evq_history_fetch_row(EvqStore *store, const pg_uuid_t *event_id)
{
	return fetch_from_history(store, event_id, evq_uuid_time(event_id), true)
			   ? evq_store_table(store, EVQ_TABLE_HISTORY)->slot
			   : NULL;
}

/* Moves the finished event fetched last back to the live ones. It waits for a transaction that is changing it. */
EvqStoreResult
evq_history_revive(EvqStore *store, const EvqEvent *event)
{
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS];
	EvqStoreTable *table = evq_store_table(store, EVQ_TABLE_HISTORY);
	EvqStoreResult result = evq_rows_delete(store, table, true);

	if (result != EVQ_STORE_DONE)
		return result;
	evq_events_write_live(event, values, nulls);
	evq_events_carry_payload(table, values, nulls);
	evq_events_carry_answer(event, table, HISTORY_ANSWER, values, nulls, EVENT_ANSWER);
	evq_rows_insert(store, evq_store_use_table(store, EVQ_TABLE_EVENT), values, nulls);
	evq_rows_written();
	return EVQ_STORE_DONE;
}
