/*
 * events.c
 *		Live events, with their payloads, answers and errors.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_index.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "rules/retry.h"
#include "rules/transition.h"
#include "tables/events.h"
#include "tables/events_internal.h"
#include "tables/rows.h"

/*
 * A payload without headers and of at most so many bytes is a column of its
 * event, for every version of the row is to have room on its page.
 */
#define MAX_INLINE_PAYLOAD 512

/* Where the session saw the row of a live event last. */
typedef struct Hint
{
	pg_uuid_t event_id;
	ItemPointerData tid;
} Hint;

#define HINT_BITS 12
#define HINTS (1 << HINT_BITS)

/* Every bit of a number decides about the highest ones of its product with this. */
#define HINT_FACTOR 0x9e3779b9u

static Hint *hints; /* HINTS of them, NULL = none yet */

/* Reads the columns before flow_id, none of which takes memory; of the rest of the event only the group key is set, as none. */
void
evq_events_read_briefly(TupleTableSlot *slot, EvqEvent *event)
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
	event->group_key = NULL;
	event->place = 0;
	ItemPointerSetInvalid(&event->tid);
}

/* Behind the column of the answer come these, in live and in finished events. */
#define ANSWERED_PERMIT_AFTER (EVENT_ANSWERED_PERMIT - EVENT_ANSWER)
#define GROUP_KEY_AFTER (EVENT_GROUP_KEY - EVENT_ANSWER)

StaticAssertDecl(HISTORY_ANSWERED_PERMIT - HISTORY_ANSWER == ANSWERED_PERMIT_AFTER, "order of columns");
StaticAssertDecl(HISTORY_GROUP_KEY - HISTORY_ANSWER == GROUP_KEY_AFTER, "order of columns");

/*
 * Reads the columns that live and finished events share, with their strings.
 * answer_column: where that of the answer is.
 */
void
evq_events_read(TupleTableSlot *slot, EvqEvent *event, int answer_column)
{
	const Datum *values = slot->tts_values;
	const bool *nulls = slot->tts_isnull;

	evq_events_read_briefly(slot, event);
	event->flow_id = TextDatumGetCString(values[EVENT_FLOW_ID]);
	event->has_parent = !nulls[EVENT_PARENT_ID];
	if (event->has_parent)
		event->parent_id = *DatumGetUUIDP(values[EVENT_PARENT_ID]);
	event->on_fail_event_type_no = nulls[EVENT_ON_FAIL_NO] ? 0 : DatumGetInt32(values[EVENT_ON_FAIL_NO]);
	event->worker = evq_rows_cstring(values[EVENT_WORKER], nulls[EVENT_WORKER]);
	event->answered_permit = nulls[answer_column + ANSWERED_PERMIT_AFTER]
								 ? 0
								 : DatumGetInt64(values[answer_column + ANSWERED_PERMIT_AFTER]);
	event->group_key = evq_rows_cstring(values[answer_column + GROUP_KEY_AFTER],
										nulls[answer_column + GROUP_KEY_AFTER]);
}

/* Writes the columns that live and finished events share, but for the payload, which is NULL. */
void
evq_events_write(const EvqEvent *event, Datum *values, bool *nulls)
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
	values[EVENT_ON_FAIL_NO] = evq_rows_no(event->on_fail_event_type_no, &nulls[EVENT_ON_FAIL_NO]);
	values[EVENT_WORKER] = evq_rows_text(event->worker, &nulls[EVENT_WORKER]);
	nulls[EVENT_PAYLOAD] = true;
}

/*
 * A change of the configuration moves the end of the lifespan of all live
 * events of a type. Their rows stay as they are: the shift, a sum over the
 * changes after their publish, is added when a row is read and taken off when
 * it is written. What times out with the lifespan moves along.
 */
static EvqLifespanShift lifespan_shift;

/* Says whom to ask for the shift of lifespans, for the configuration is above this folder. Once a process, before any event is read. */
void
evq_events_set_lifespan_shift(EvqLifespanShift shift)
{
	lifespan_shift = shift;
}

/* Adds the shift to a live event that was read. */
void
evq_events_move_lifespan(EvqEvent *event)
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

/* Reads the row of a live event, its lifespan as it is configured now. */
void
evq_events_read_live(TupleTableSlot *slot, EvqEvent *event)
{
	evq_events_read(slot, event, EVENT_ANSWER);
	evq_events_move_lifespan(event);
}

/* As evq_events_write(), of a live event. */
void
evq_events_write_live(const EvqEvent *event, Datum *values, bool *nulls)
{
	int64 shift = lifespan_shift(event->event_type_no, event->published_at);

	evq_events_write(event, values, nulls);
	if (shift == 0)
		return;
	values[EVENT_DUE_AT] = TimestampTzGetDatum(evq_retry_add(event->due_at, -shift));
	if (event->state_due_at == event->due_at)
		values[EVENT_STATE_DUE_AT] = values[EVENT_DUE_AT];
}

/* The payload of the event fetched last, if it is in its row, goes along into the new row. */
void
evq_events_carry_payload(const EvqStoreTable *from, Datum *values, bool *nulls)
{
	Assert(!TTS_EMPTY(from->row));
	values[EVENT_PAYLOAD] = from->row->tts_values[EVENT_PAYLOAD];
	nulls[EVENT_PAYLOAD] = from->row->tts_isnull[EVENT_PAYLOAD];
}

/* Writes the answer (0 = none), whose column this is, and what comes behind it. */
static void
write_answer(const EvqEvent *event, Datum answer, Datum *values, bool *nulls, int column)
{
	values[column] = answer;
	nulls[column] = answer == (Datum) 0;
	values[column + ANSWERED_PERMIT_AFTER] = Int64GetDatum(event->answered_permit);
	nulls[column + ANSWERED_PERMIT_AFTER] = event->answered_permit == 0;
	values[column + GROUP_KEY_AFTER] = evq_rows_text(event->group_key, &nulls[column + GROUP_KEY_AFTER]);
}

/* So does the answer, unless it counts no more. from_column, column: that of the answer in the old and the new row. */
void
evq_events_carry_answer(const EvqEvent *event, const EvqStoreTable *from, int from_column, Datum *values,
						bool *nulls, int column)
{
	bool is_kept = event->answered_permit != 0 && !from->row->tts_isnull[from_column];

	write_answer(event, is_kept ? from->row->tts_values[from_column] : (Datum) 0, values, nulls, column);
}

/* The place for what is remembered of an event; what was there is forgotten. Of batches the last bits of ids are alike. */
static Hint *
hint_for(const pg_uuid_t *event_id)
{
	uint32 random;

	memcpy(&random, &event_id->data[UUID_LEN - sizeof(random)], sizeof(random));
	return &hints[(random * HINT_FACTOR) >> (32 - HINT_BITS)];
}

/*
 * Says where the row of a live event was seen, which saves the next fetch of it
 * in this session the search in the index. It may be wrong by then: the row
 * found there must be visible and have the id, otherwise it is searched for.
 */
void
evq_events_hint(const pg_uuid_t *event_id, const ItemPointerData *tid)
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
fetch_live(EvqStore *store, EvqStoreTable *table, const pg_uuid_t *event_id, ItemPointerData *root)
{
	const Hint *hint = hints == NULL ? NULL : hint_for(event_id);

	/* An empty place has the nil UUID, which an event may be asked for by. */
	if (hint != NULL && ItemPointerIsValid(&hint->tid) && memcmp(&hint->event_id, event_id, UUID_LEN) == 0)
	{
		*root = hint->tid;
		if (evq_rows_fetch_by_hint(store, table, event_id, root))
			return true;
	}
	return evq_rows_fetch_by_id(store, table, event_id, root);
}

/* Reads a live event; its strings are in the current memory context. False = there is none. */
bool
evq_events_fetch(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_EVENT);
	ItemPointerData root;

	if (!fetch_live(store, table, event_id, &root))
		return false;
	evq_events_read_live(table->row, event);
	event->tid = root;
	evq_events_hint(event_id, &root);
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

/*
 * Stores new events with their payloads and headers (jsonb, 0 = none; headers NULL =
 * none at all), and sets their tid.
 */
void
evq_events_insert(EvqStore *store, EvqEvent *events, const Datum *payloads, const Datum *headers, int count)
{
	EvqStoreTable *event_table = evq_store_use_table(store, EVQ_TABLE_EVENT);
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
		evq_events_write_live(&events[i], event_values, event_nulls);
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
			evq_rows_insert(store, event_table, event_values, event_nulls);
			events[i].tid = event_table->new_slot->tts_tid;
			if (!inlined)
				evq_rows_insert(store, evq_store_use_table(store, EVQ_TABLE_PAYLOAD), payload_values,
								payload_nulls);
			break;
		}
		evq_rows_fill(store, event_table, evq_rows_batch_slot(store, event_table, collected++), event_values,
					  event_nulls, NULL);
		if (!inlined)
		{
			EvqStoreTable *payload_table = evq_store_use_table(store, EVQ_TABLE_PAYLOAD);

			evq_rows_fill(store, payload_table,
						  evq_rows_batch_slot(store, payload_table, payloads_collected++), payload_values,
						  payload_nulls, NULL);
		}
		bytes_collected += VARSIZE_ANY(DatumGetPointer(payloads[i]));
		if (collected == INSERT_BATCH || bytes_collected > INSERT_BATCH_BYTES || i == count - 1)
		{
			evq_rows_insert_batch(store, event_table, collected, &events[i + 1 - collected]);
			if (payloads_collected > 0)
				evq_rows_insert_batch(store, evq_store_use_table(store, EVQ_TABLE_PAYLOAD),
									  payloads_collected, NULL);
			collected = payloads_collected = 0;
			bytes_collected = 0;
			MemoryContextReset(batch_context);
		}
	}
	MemoryContextSwitchTo(previous);
	if (batch_context != NULL)
		MemoryContextDelete(batch_context);
	evq_rows_written();
}

/*
 * Writes a new version of the live event fetched last, with the payload and the
 * answer that it has. wait, and what it returns: see evq_rows_update().
 */
EvqStoreResult
evq_events_update(EvqStore *store, EvqEvent *event, bool wait)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_EVENT);
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS];

	evq_events_write_live(event, values, nulls);
	evq_events_carry_payload(table, values, nulls);
	evq_events_carry_answer(event, table, EVENT_ANSWER, values, nulls, EVENT_ANSWER);
	return evq_rows_update(store, table, values, nulls, wait, &event->tid);
}

/* Has a table an index, other than its key, that keeps rows out? */
static bool
has_other_unique_index(Relation rel)
{
	List *indexes = RelationGetIndexList(rel);
	bool found = false;
	ListCell *cell;

	foreach(cell, indexes)
	{
		HeapTuple row = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
		Form_pg_index index;

		if (!HeapTupleIsValid(row))
			continue; /* dropped just now */
		index = (Form_pg_index) GETSTRUCT(row);
		found |= (index->indisunique || index->indisexclusion) && !index->indisprimary;
		ReleaseSysCache(row);
	}
	list_free(indexes);
	return found;
}

/*
 * Have users given the table of live events columns, conditions or unique indexes, which what is stored in another way would
 * not have?
 */
bool
evq_events_have_more(EvqStore *store)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_EVENT);
	TupleDesc row_type = RelationGetDescr(table->rel);
	bool has_check = row_type->constr != NULL && row_type->constr->num_check > 0;
	int columns = 0;

	for (int i = 0; i < row_type->natts && !table->map.is_plain; i++)
		columns += !TupleDescAttr(row_type, i)->attisdropped;
	return columns > EVENT_COLUMNS || has_check || has_other_unique_index(table->rel);
}

/* Deletes an event's rows of another table. */
static void
delete_rows_of(EvqStore *store, EvqTableNo no, const pg_uuid_t *event_id)
{
	EvqStoreTable *table = evq_store_use_table(store, no);
	bool found;

	/* What belongs to an event was written by a statement before: asking once is enough. */
	if (!table->is_empty && table->by_key == NULL)
		table->is_empty = RelationGetNumberOfBlocks(table->rel) == 0;
	if (table->is_empty)
		return;
	found = evq_rows_fetch_by_id(store, table, event_id, NULL);
	while (found)
	{
		CHECK_FOR_INTERRUPTS();
		if (evq_rows_delete(store, table, true) == EVQ_STORE_DONE)
			found = evq_rows_fetch_next(store, table);
		else
		{
			evq_rows_written();
			found = evq_rows_fetch_by_id(store, table, event_id, NULL);
		}
	}
}

/* Deletes the live event fetched last, with its payload, errors and keys. It waits for a transaction that is changing it. */
EvqStoreResult
evq_events_delete(EvqStore *store, const EvqEvent *event)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_EVENT);
	bool is_inline = !table->row->tts_isnull[EVENT_PAYLOAD];
	EvqStoreResult result = evq_rows_delete(store, table, true);

	if (result != EVQ_STORE_DONE)
		return result;
	if (!is_inline)
		delete_rows_of(store, EVQ_TABLE_PAYLOAD, &event->event_id);
	delete_rows_of(store, EVQ_TABLE_ERROR, &event->event_id);
	delete_rows_of(store, EVQ_TABLE_IDEMPOTENCY, &event->event_id);
	evq_rows_written();
	return EVQ_STORE_DONE;
}

/* Finds the payload of the live event fetched last, as it is stored, with its headers (0 = none). False = it is missing. */
static bool
find_payload(EvqStore *store, const EvqEvent *event, Datum *payload, Datum *headers)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_EVENT);

	*headers = (Datum) 0;
	if (!table->row->tts_isnull[EVENT_PAYLOAD])
	{
		*payload = table->row->tts_values[EVENT_PAYLOAD];
		return true;
	}
	table = evq_store_use_table(store, EVQ_TABLE_PAYLOAD);
	if (!evq_rows_fetch_by_id(store, table, &event->event_id, NULL))
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
evq_events_fetch_payload(EvqStore *store, const EvqEvent *event, Datum *payload, Datum *headers)
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
evq_events_fetch_small_payload(EvqStore *store, const EvqEvent *event, Size most, Datum *payload)
{
	Datum headers;

	if (!find_payload(store, event, payload, &headers) || toast_raw_datum_size(*payload) > most)
		return false;
	*payload = PointerGetDatum(PG_DETOAST_DATUM_COPY(*payload));
	return true;
}

static Datum
copy_answer(const EvqStoreTable *table, int column)
{
	if (table->rel == NULL || table->row->tts_isnull[column])
		return (Datum) 0;
	return PointerGetDatum(PG_DETOAST_DATUM_COPY(table->row->tts_values[column]));
}

/* Copies the answer (0 = none) of the live event fetched last, or of the finished one, into the current memory context. */
Datum
evq_events_fetch_answer(EvqStore *store, const EvqEvent *event)
{
	if (event->answered_permit == 0)
		return (Datum) 0;
	if (evq_transition_is_final(event->state))
		return copy_answer(evq_store_table(store, EVQ_TABLE_HISTORY), HISTORY_ANSWER);
	return copy_answer(evq_store_table(store, EVQ_TABLE_EVENT), EVENT_ANSWER);
}

/* Can live events keep an answer? Those of a version of the tables that is not upgraded yet cannot. */
bool
evq_events_keeps_answers(EvqStore *store)
{
	return evq_store_use_table(store, EVQ_TABLE_EVENT)->map.numbers[EVENT_ANSWERED_PERMIT] !=
		   InvalidAttrNumber;
}

/* As evq_events_update(), waiting, with an answer (jsonb, 0 = none) in place of the one there was. */
EvqStoreResult
evq_events_update_with_answer(EvqStore *store, EvqEvent *event, Datum answer)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_EVENT);
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS];

	evq_events_write_live(event, values, nulls);
	evq_events_carry_payload(table, values, nulls);
	write_answer(event, answer, values, nulls, EVENT_ANSWER);
	return evq_rows_update(store, table, values, nulls, true, &event->tid);
}

/* The same with another payload; the one it had has been fetched. */
EvqStoreResult
evq_events_update_with_payload(EvqStore *store, EvqEvent *event, Datum answer, Datum payload, Datum headers)
{
	EvqStoreTable *table = evq_store_use_table(store, EVQ_TABLE_EVENT);
	bool was_inline = !table->row->tts_isnull[EVENT_PAYLOAD];
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS];
	Datum payload_values[PAYLOAD_COLUMNS];
	bool payload_nulls[PAYLOAD_COLUMNS];
	EvqStoreResult result;

	evq_events_write_live(event, values, nulls);
	write_answer(event, answer, values, nulls, EVENT_ANSWER);
	if (was_inline && is_inline(payload, headers))
	{
		values[EVENT_PAYLOAD] = payload;
		nulls[EVENT_PAYLOAD] = false;
	}
	result = evq_rows_update(store, table, values, nulls, true, &event->tid);
	if (result != EVQ_STORE_DONE || !nulls[EVENT_PAYLOAD])
		return result;

	write_payload(&event->event_id, payload, headers, payload_values, payload_nulls);
	table = evq_store_use_table(store, EVQ_TABLE_PAYLOAD);
	if (!was_inline)
		return evq_rows_update(store, table, payload_values, payload_nulls, true, NULL);
	evq_rows_insert(store, table, payload_values, payload_nulls);
	evq_rows_written();
	return EVQ_STORE_DONE;
}

/* Adds to the errors of an event. */
void
evq_events_insert_error(EvqStore *store, const EvqFailure *failure)
{
	Datum values[ERROR_COLUMNS];
	bool nulls[ERROR_COLUMNS] = {false};

	values[ERROR_EVENT_ID] = UUIDPGetDatum(&failure->event_id);
	values[ERROR_FAILED_AT] = TimestampTzGetDatum(failure->failed_at);
	values[ERROR_ATTEMPT] = Int16GetDatum(failure->attempt);
	values[ERROR_OUTCOME] = CStringGetTextDatum(failure->outcome);
	values[ERROR_MESSAGE] = CStringGetTextDatum(failure->error_message);
	values[ERROR_STACK_TRACE] = evq_rows_text(failure->stack_trace, &nulls[ERROR_STACK_TRACE]);
	values[ERROR_WORKER] = evq_rows_text(failure->worker, &nulls[ERROR_WORKER]);
	evq_rows_insert(store, evq_store_use_table(store, EVQ_TABLE_ERROR), values, nulls);
	evq_rows_written();
}
