/*
 * batches.c
 *		Batches of events that were published together: what never changes of them, and which of them are not done.
 *
 * The rows of evq.log have no index entry each, only a summary of their pages. Where they are is written in the row of
 * their batch. That is a hint, as VACUUM FULL and a restore move rows: each row is believed by its id, and where one is
 * not in its place, they are looked for by the summary, until housekeeping has written their places anew.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/random.h"
#include "rules/uuid.h"
#include "tables/batches.h"
#include "tables/events_internal.h"
#include "tables/partitions.h"
#include "tables/rows.h"
#include "tables/walk.h"

static const char backlog_index[] = "backlog_flow_no_attempt_scheduled_at_idx";

/* Those of a version of the tables that is not upgraded yet do not. */
bool
evq_batches_exist(void)
{
	return OidIsValid(evq_tables_relid(EVQ_TABLE_BATCH, true));
}

/* ---------- publish ---------- */

/* Begins a batch of events like this one; the writer lives in the current memory context, until the end of the batch. */
void
evq_batches_begin(EvqStore *store, EvqBatchWriter *writer, const EvqEvent *event)
{
	EvqBatch *batch = &writer->batch;

	memset(batch, 0, sizeof(*batch));
	batch->batch_id = evq_uuid_make_batch(event->published_at);
	batch->published_at = event->published_at;
	batch->attempt_scheduled_at = event->attempt_scheduled_at;
	batch->due_at = event->due_at;
	batch->event_type_no = event->event_type_no;
	batch->flow_no = event->flow_no;
	batch->priority = event->priority;
	batch->on_fail_event_type_no = event->on_fail_event_type_no;
	batch->places = writer->places;
	writer->log = evq_store_use_partition_at(store, EVQ_TABLE_LOG, evq_uuid_time(&batch->batch_id),
											 "events that are published now", evq_store_use_partition);
	writer->collected = 0;
	writer->bytes = 0;
	writer->context = AllocSetContextCreate(CurrentMemoryContext, "evq batch", ALLOCSET_DEFAULT_SIZES);
}

/* Of the support functions of a BRIN index, the one that says what it keeps (BRIN_PROCNUM_OPCINFO). */
#define SUMMARY_OF_WHAT 1

/* Does the index keep nothing of a page but its lowest and its highest id? */
static bool
knows_bounds_only(const EvqStoreTable *table, int index)
{
	Relation rel = table->info->ri_IndexRelationDescs[index];
	const IndexInfo *info = table->info->ri_IndexRelationInfo[index];

	return rel->rd_rel->relam == BRIN_AM_OID && info->ii_NumIndexAttrs == 1 && info->ii_Predicate == NIL &&
		   info->ii_IndexAttrNumbers[0] == table->map.numbers[LOG_EVENT_ID] &&
		   index_getprocid(rel, 1, SUMMARY_OF_WHAT) == F_BRIN_MINMAX_OPCINFO;
}

/* Adds index entries for the first and the last row of a place: evq's own index needs no more. One of a user may need all. */
static void
enter_place(EvqStore *store, EvqStoreTable *table, int first, int last)
{
	bool summarizes = true;

	for (int i = 0; i < table->info->ri_NumIndices; i++)
		summarizes &= knows_bounds_only(table, i);
	for (int i = first; i <= last; i++)
	{
		if (summarizes && i != first && i != last)
			continue;
		(void) EVQ_INSERT_INDEX_TUPLES(table->info, table->batch[i], store->estate, false, EVQ_ALL_INDEXES);
		ResetPerTupleExprContext(store->estate);
	}
}

/* Inserts the rows collected, and notes where they are. */
static void
insert_collected(EvqStore *store, EvqBatchWriter *writer)
{
	EvqStoreTable *table = writer->log;
	EvqBatch *batch = &writer->batch;
	EvqPlace *place = batch->place_count == 0 ? NULL : &writer->places[batch->place_count - 1];
	MemoryContext previous = MemoryContextSwitchTo(writer->context);
	int begun_at = 0;

	evq_store_use_indexes(store, table);
	table_multi_insert(table->rel, table->batch, writer->collected, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < writer->collected; i++)
	{
		const ItemPointerData *tid = &table->batch[i]->tts_tid;

		if (place != NULL && place->page == ItemPointerGetBlockNumber(tid) &&
			place->first + place->events == ItemPointerGetOffsetNumber(tid))
		{
			place->events++;
			continue;
		}
		if (i > begun_at)
			enter_place(store, table, begun_at, i - 1);
		begun_at = i;
		place = &writer->places[batch->place_count++];
		place->page = ItemPointerGetBlockNumber(tid);
		place->first = ItemPointerGetOffsetNumber(tid);
		place->events = 1;
	}
	enter_place(store, table, begun_at, writer->collected - 1);
	for (int i = 0; i < writer->collected; i++)
		ExecClearTuple(table->batch[i]);
	writer->collected = 0;
	writer->bytes = 0;
	MemoryContextSwitchTo(previous);
	MemoryContextReset(writer->context);
}

/* Adds the next event, whose payload and headers stay where they are until the batch ends; its id is the batch's with the next ordinal. false = it has to be the last one. */
bool
evq_batches_add(EvqStore *store, EvqBatchWriter *writer, const EvqLogged *event)
{
	EvqStoreTable *table = writer->log;
	MemoryContext previous = MemoryContextSwitchTo(writer->context);
	Datum values[LOG_COLUMNS];
	bool nulls[LOG_COLUMNS] = {false};
	pg_uuid_t *event_id = palloc(sizeof(pg_uuid_t));

	*event_id = event->event_id;
	values[LOG_EVENT_ID] = UUIDPGetDatum(event_id);
	values[LOG_FLOW_ID] = CStringGetTextDatum(event->flow_id);
	values[LOG_PAYLOAD] = event->payload;
	values[LOG_HEADERS] = event->headers;
	nulls[LOG_HEADERS] = event->headers == (Datum) 0;
	evq_rows_fill(store, table, evq_rows_batch_slot(store, table, writer->collected++), values, nulls, NULL);
	writer->bytes += VARSIZE_ANY(DatumGetPointer(event->payload));
	MemoryContextSwitchTo(previous);
	writer->batch.events++;
	if (writer->collected == INSERT_BATCH || writer->bytes > INSERT_BATCH_BYTES)
		insert_collected(store, writer);
	return writer->batch.events < EVQ_BATCH_EVENTS &&
		   writer->batch.place_count + INSERT_BATCH < EVQ_BATCH_PLACES;
}

/* Ends the batch, of one event at least. */
void
evq_batches_end(EvqStore *store, EvqBatchWriter *writer)
{
	EvqBatch *batch = &writer->batch;
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_BATCH);
	Size size = VARHDRSZ + EVQ_BATCH_PLACES * sizeof(EvqPlace);
	bytea *places = palloc(size);
	Datum values[BATCH_COLUMNS];
	bool nulls[BATCH_COLUMNS] = {false};
	Datum backlog[BACKLOG_COLUMNS];
	bool backlog_nulls[BACKLOG_COLUMNS] = {false};

	if (writer->collected > 0)
		insert_collected(store, writer);
	Assert(batch->events > 0 && batch->place_count <= EVQ_BATCH_PLACES);
	SET_VARSIZE(places, VARHDRSZ + batch->place_count * sizeof(EvqPlace));
	memcpy(VARDATA(places), writer->places, batch->place_count * sizeof(EvqPlace));
	values[BATCH_ID] = UUIDPGetDatum(&batch->batch_id);
	values[BATCH_PUBLISHED_AT] = TimestampTzGetDatum(batch->published_at);
	values[BATCH_ATTEMPT_SCHEDULED_AT] = TimestampTzGetDatum(batch->attempt_scheduled_at);
	values[BATCH_DUE_AT] = TimestampTzGetDatum(batch->due_at);
	values[BATCH_EVENT_TYPE_NO] = Int32GetDatum(batch->event_type_no);
	values[BATCH_FLOW_NO] = Int32GetDatum(batch->flow_no);
	values[BATCH_PRIORITY] = Int16GetDatum(batch->priority);
	values[BATCH_EVENTS] = Int16GetDatum(batch->events);
	values[BATCH_ON_FAIL_NO] = evq_rows_no(batch->on_fail_event_type_no, &nulls[BATCH_ON_FAIL_NO]);
	values[BATCH_PLACES] = PointerGetDatum(places);
	evq_rows_insert(store, table, values, nulls);
	batch->tid = table->new_slot->tts_tid;

	backlog[BACKLOG_FLOW_NO] = Int32GetDatum(batch->flow_no);
	backlog[BACKLOG_ATTEMPT_SCHEDULED_AT] = TimestampTzGetDatum(batch->attempt_scheduled_at);
	backlog[BACKLOG_BATCH_ID] = UUIDPGetDatum(&batch->batch_id);
	backlog[BACKLOG_EVENT_TYPE_NO] = Int32GetDatum(batch->event_type_no);
	backlog[BACKLOG_PRIORITY] = Int16GetDatum(batch->priority);
	backlog[BACKLOG_EVENTS] = Int16GetDatum(batch->events);
	evq_rows_insert(store, evq_store_use_table(store, EVQ_TABLE_BACKLOG), backlog, backlog_nulls);
	evq_rows_written();
	pfree(places);
	MemoryContextDelete(writer->context);
}

/* ---------- a batch ---------- */

/* Reads the batch of an event, by its id; the places are in the current memory context. hint: where it is, NULL = not known. */
bool
evq_batches_fetch(EvqStore *store, const pg_uuid_t *id, const ItemPointerData *hint, EvqBatch *batch)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_BATCH);
	pg_uuid_t batch_id = evq_uuid_in_batch(id, 0);
	const Datum *values;
	bytea *places;
	ItemPointerData root;

	if (hint != NULL && ItemPointerIsValid(hint) && evq_rows_fetch_by_hint(store, table, &batch_id, hint))
		root = *hint;
	else if (!evq_rows_fetch_by_id(store, table, &batch_id, &root))
		return false;
	values = table->row->tts_values;
	batch->batch_id = batch_id;
	batch->published_at = DatumGetTimestampTz(values[BATCH_PUBLISHED_AT]);
	batch->attempt_scheduled_at = DatumGetTimestampTz(values[BATCH_ATTEMPT_SCHEDULED_AT]);
	batch->due_at = DatumGetTimestampTz(values[BATCH_DUE_AT]);
	batch->event_type_no = DatumGetInt32(values[BATCH_EVENT_TYPE_NO]);
	batch->flow_no = DatumGetInt32(values[BATCH_FLOW_NO]);
	batch->priority = DatumGetInt16(values[BATCH_PRIORITY]);
	batch->events = DatumGetInt16(values[BATCH_EVENTS]);
	batch->on_fail_event_type_no = table->row->tts_isnull[BATCH_ON_FAIL_NO]
									   ? 0
									   : DatumGetInt32(values[BATCH_ON_FAIL_NO]);
	batch->tid = root;
	places = DatumGetByteaPCopy(values[BATCH_PLACES]);
	batch->places = (const EvqPlace *) VARDATA(places);
	batch->place_count = (VARSIZE(places) - VARHDRSZ) / sizeof(EvqPlace);
	return true;
}

/* An event of the batch as it is until somebody acquires it; its flow_id is not known. */
void
evq_batches_make_event(const EvqBatch *batch, int ordinal, EvqEvent *event)
{
	memset(event, 0, sizeof(*event));
	event->transition = EVQ_NO_TRANSITION;
	event->event_id = evq_uuid_in_batch(&batch->batch_id, ordinal);
	event->published_at = event->state_since = batch->published_at;
	event->attempt_scheduled_at = batch->attempt_scheduled_at;
	event->due_at = batch->due_at;
	event->event_type_no = batch->event_type_no;
	event->flow_no = batch->flow_no;
	event->priority = batch->priority;
	event->on_fail_event_type_no = batch->on_fail_event_type_no;
	event->state = EVQ_STATE_AWAITING_PROCESSING;
	event->state_due_at = event->attempt_started_at = DT_NOEND;
	event->tid = batch->tid;
	evq_events_move_lifespan(event);
}

/* When the lifespan of its events ends, as it is configured now. */
TimestampTz
evq_batches_due_at(const EvqBatch *batch)
{
	EvqEvent event;

	evq_batches_make_event(batch, 0, &event);
	return event.due_at;
}

/* ---------- its events ---------- */

static void
tell_logged(const Datum *values, const bool *nulls, EvqTakeLogged take, void *context)
{
	EvqLogged event;

	event.event_id = *DatumGetUUIDP(values[LOG_EVENT_ID]);
	event.flow_id = TextDatumGetCString(values[LOG_FLOW_ID]);
	event.payload = values[LOG_PAYLOAD];
	event.headers = nulls[LOG_HEADERS] ? (Datum) 0 : values[LOG_HEADERS];
	take(context, &event);
}

typedef void (*TakeFound)(void *context, const ItemPointerData *tid, const Datum *values, const bool *nulls);

/* Looks for the rows of a range by the summary, and tells of them in their order, in the current memory context. */
static void
search_log(const EvqBatch *batch, EvqRange range, TakeFound take, void *context)
{
	Oid types[2] = {UUIDOID, UUIDOID};
	pg_uuid_t ids[2] = {evq_uuid_in_batch(&batch->batch_id, range.first),
						evq_uuid_in_batch(&batch->batch_id, range.last)};
	Datum arguments[2] = {UUIDPGetDatum(&ids[0]), UUIDPGetDatum(&ids[1])};
	MemoryContext caller = CurrentMemoryContext;
	EvqIdentity previous;
	SPITupleTable *found;

	evq_tables_become_owner(&previous);
	if (SPI_execute_with_args(
			"SELECT event_id, flow_id, payload, headers, ctid FROM evq.log"
			" WHERE event_id OPERATOR(pg_catalog.>=) $1 AND event_id OPERATOR(pg_catalog.<=) $2"
			" ORDER BY event_id",
			2, types, arguments, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not search evq.log");
	found = SPI_tuptable;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum values[LOG_COLUMNS + 1];
		bool nulls[LOG_COLUMNS + 1];
		MemoryContext spi = MemoryContextSwitchTo(caller);

		heap_deform_tuple(found->vals[i], found->tupdesc, values, nulls);
		take(context, (const ItemPointerData *) DatumGetPointer(values[LOG_COLUMNS]), values, nulls);
		MemoryContextSwitchTo(spi);
	}
	evq_tables_become_oneself(&previous);
}

/* Who is to be told of rows. */
typedef struct Listener
{
	EvqTakeLogged take;
	void *context;
} Listener;

static void
tell_found(void *context, const ItemPointerData *tid, const Datum *values, const bool *nulls)
{
	const Listener *listener = context;

	tell_logged(values, nulls, listener->take, listener->context);
}

/* The partition of evq.log that has the events of a batch; NULL = none that can be read so. */
static EvqStoreTable *
use_log(EvqStore *store, const EvqBatch *batch)
{
	Oid relid = evq_partition_at(evq_tables_relid(EVQ_TABLE_LOG, false), evq_uuid_time(&batch->batch_id));

	return OidIsValid(relid) ? evq_store_use_partition(store, EVQ_TABLE_LOG, relid) : NULL;
}

/* Fetches the row of an event that is said to be the n-th of a place. */
static bool
fetch_in_place(EvqStore *store, EvqStoreTable *table, const pg_uuid_t *event_id, const EvqPlace *place, int n)
{
	ItemPointerData tid;

	ItemPointerSet(&tid, place->page, place->first + n);
	return evq_rows_fetch_by_hint(store, table, event_id, &tid);
}

/* Tells of the rows of a range, in their order; one that is gone is left out. */
void
evq_batches_read(EvqStore *store, const EvqBatch *batch, EvqRange range, EvqTakeLogged take, void *context)
{
	Listener listener = {.take = take, .context = context};
	EvqStoreTable *table = use_log(store, batch);
	int ordinal = 0;

	for (int i = 0; table != NULL && i < batch->place_count && ordinal <= range.last; i++)
	{
		const EvqPlace *place = &batch->places[i];
		int end = ordinal + place->events;

		while (range.first < end && range.first <= range.last)
		{
			pg_uuid_t event_id = evq_uuid_in_batch(&batch->batch_id, range.first);

			CHECK_FOR_INTERRUPTS();
			if (!fetch_in_place(store, table, &event_id, place, range.first - ordinal))
			{
				search_log(batch, range, tell_found, &listener);
				return;
			}
			tell_logged(table->row->tts_values, table->row->tts_isnull, take, context);
			range.first++;
		}
		ordinal = end;
	}
	if (range.first <= range.last)
		search_log(batch, range, tell_found, &listener);
}

/* ---------- where they are ---------- */

/* Are the rows where the batch says? It looks at the first one of each place. */
bool
evq_batches_are_in_place(EvqStore *store, const EvqBatch *batch)
{
	EvqStoreTable *table = use_log(store, batch);
	int ordinal = 0;

	for (int i = 0; table != NULL && i < batch->place_count; i++)
	{
		pg_uuid_t event_id = evq_uuid_in_batch(&batch->batch_id, ordinal);

		if (!fetch_in_place(store, table, &event_id, &batch->places[i], 0))
			return false;
		ordinal += batch->places[i].events;
	}
	return table != NULL && ordinal == batch->events;
}

/* Places that are being put together. */
typedef struct Placing
{
	EvqPlace *places;
	int count;
	int ordinal; /* of the event that comes next */
} Placing;

static void
add_place(Placing *placing, BlockNumber page, int first, int events)
{
	EvqPlace *place = placing->count == 0 ? NULL : &placing->places[placing->count - 1];

	if (place != NULL && place->page == page && place->first + place->events == first)
		place->events += events;
	else if (placing->count < EVQ_BATCH_PLACES)
	{
		place = &placing->places[placing->count++];
		place->page = page;
		place->first = first;
		place->events = events;
	}
	placing->ordinal += events;
}

static void
place_found(void *context, const ItemPointerData *tid, const Datum *values, const bool *nulls)
{
	Placing *placing = context;
	int gap = evq_uuid_ordinal(DatumGetUUIDP(values[LOG_EVENT_ID])) - placing->ordinal;

	/* Of rows that are gone: a place where nothing is. */
	if (gap > 0)
		add_place(placing, InvalidBlockNumber, FirstOffsetNumber, gap);
	add_place(placing, ItemPointerGetBlockNumberNoCheck(tid), ItemPointerGetOffsetNumberNoCheck(tid), 1);
}

/* Looks where the rows are, as a value for evq.batch.places; those that are in too many places are left out at its end. */
bytea *
evq_batches_find_places(const EvqBatch *batch)
{
	Size size = VARHDRSZ + EVQ_BATCH_PLACES * sizeof(EvqPlace);
	bytea *places = palloc0(size);
	Placing placing = {.places = (EvqPlace *) VARDATA(places)};
	EvqRange all = {.first = 0, .last = batch->events - 1};

	search_log(batch, all, place_found, &placing);
	SET_VARSIZE(places, VARHDRSZ + placing.count * sizeof(EvqPlace));
	return places;
}

/* ---------- those that are not done ---------- */

static void
read_waiting(EvqStoreTable *table, EvqWaitingBatch *waiting)
{
	TransactionId maker;
	bool is_null;

	evq_rows_read(&table->map, table->slot, table->row);
	waiting->attempt_scheduled_at = DatumGetTimestampTz(table->row->tts_values[BACKLOG_ATTEMPT_SCHEDULED_AT]);
	waiting->batch_id = *DatumGetUUIDP(table->row->tts_values[BACKLOG_BATCH_ID]);
	waiting->flow_no = DatumGetInt32(table->row->tts_values[BACKLOG_FLOW_NO]);
	waiting->event_type_no = DatumGetInt32(table->row->tts_values[BACKLOG_EVENT_TYPE_NO]);
	waiting->priority = DatumGetInt16(table->row->tts_values[BACKLOG_PRIORITY]);
	waiting->events = DatumGetInt16(table->row->tts_values[BACKLOG_EVENTS]);
	maker = DatumGetTransactionId(slot_getsysattr(table->slot, MinTransactionIdAttributeNumber, &is_null));
	waiting->is_own = TransactionIdIsCurrentTransactionId(maker);
}

/* May there be batches, of any flow, that are not done? */
bool
evq_batches_are_left(EvqStore *store)
{
	return evq_batches_exist() && !evq_store_is_empty(evq_store_use_table(store, EVQ_TABLE_BACKLOG));
}

/* Tells of the batches of a flow that are not done and due by a time, from a position on. */
void
evq_batches_walk(EvqStore *store, int32 flow_no, const EvqDuePosition *from, TimestampTz until,
				 EvqTakeBatch take, void *context)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_BACKLOG);
	EvqDuePosition first = *from;
	Relation index;
	IndexScanDesc scan;
	ScanKeyData keys[3];
	ScanKeyData members[2];
	bool is_enough = false;

	index = evq_store_open_index(table->rel, backlog_index, store->lock);
	scan = EVQ_INDEX_BEGINSCAN(table->rel, index, GetActiveSnapshot(), 3);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(flow_no));
	evq_walk_set_position(&keys[1], members, 2, first.at, &first.event_id);
	ScanKeyInit(&keys[2], 2, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE, TimestampTzGetDatum(until));
	index_rescan(scan, keys, 3, NULL, 0);
	while (!is_enough && index_getnext_slot(scan, ForwardScanDirection, table->slot))
	{
		EvqWaitingBatch waiting;

		CHECK_FOR_INTERRUPTS();
		read_waiting(table, &waiting);
		is_enough = take(context, &waiting);
	}
	index_endscan(scan);
	index_close(index, NoLock);
}

/* Tells of batches that are not done, of any flow, in so many pages of the table, which begin anywhere: each batch is told of as often as any other. */
void
evq_batches_sample(EvqStore *store, int pages, EvqTakeBatch take, void *context)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_BACKLOG);
	BlockNumber all = RelationGetNumberOfBlocks(table->rel);
	BlockNumber first;
	ItemPointerData from;
	ItemPointerData to;
	TableScanDesc scan;
	bool is_enough = false;

	if (all == 0)
		return;
	/* Those at the end are as likely as others, if the stretch may begin before the first page. */
	first = (BlockNumber) (evq_random() % (all + pages - 1));
	ItemPointerSet(&from, first < pages ? 0 : first - pages + 1, FirstOffsetNumber);
	ItemPointerSet(&to, Min(first, all - 1), MaxOffsetNumber);
	scan = table_beginscan_tidrange(table->rel, GetActiveSnapshot(), &from, &to);
	while (!is_enough && table_scan_getnextslot_tidrange(scan, ForwardScanDirection, table->slot))
	{
		EvqWaitingBatch waiting;

		CHECK_FOR_INTERRUPTS();
		read_waiting(table, &waiting);
		is_enough = take(context, &waiting);
	}
	table_endscan(scan);
}

/* Nothing is left to do for the batch. */
void
evq_batches_done(EvqStore *store, const EvqBatch *batch)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_BACKLOG);
	Relation index = evq_store_open_index(table->rel, backlog_index, store->lock);
	IndexScanDesc scan = EVQ_INDEX_BEGINSCAN(table->rel, index, GetActiveSnapshot(), 3);
	ScanKeyData keys[3];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(batch->flow_no));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TIMESTAMPTZ_EQ,
				TimestampTzGetDatum(batch->attempt_scheduled_at));
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&batch->batch_id));
	index_rescan(scan, keys, 3, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, table->slot))
		(void) evq_rows_delete(store, table, false);
	index_endscan(scan);
	index_close(index, NoLock);
	evq_rows_written();
}
