/*
 * logged.c
 *		SQL functions behind the views of events in batches.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "rules/uuid.h"
#include "tables/batches.h"

PG_FUNCTION_INFO_V1(evq_sql_ordinal);
PG_FUNCTION_INFO_V1(evq_sql_id_in_batch);
PG_FUNCTION_INFO_V1(evq_sql_logged_events);
PG_FUNCTION_INFO_V1(evq_sql_may_be_of_batch);
PG_FUNCTION_INFO_V1(evq_sql_find_places);
PG_FUNCTION_INFO_V1(evq_sql_is_in_place);

Datum
evq_sql_ordinal(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(evq_uuid_ordinal(PG_GETARG_UUID_P(0)));
}

Datum
evq_sql_id_in_batch(PG_FUNCTION_ARGS)
{
	int32 ordinal = PG_GETARG_INT32(1);
	pg_uuid_t *id = palloc(sizeof(pg_uuid_t));

	if (ordinal < 0 || ordinal >= EVQ_UUID_BATCH_ROOM)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("no batch has an event %d", ordinal),
				 errhint("Pass a number from 0 to %d.", EVQ_UUID_BATCH_ROOM - 1)));
	*id = evq_uuid_in_batch(PG_GETARG_UUID_P(0), ordinal);
	PG_RETURN_UUID_P(id);
}

static void
put_logged(void *context, const EvqLogged *event)
{
	ReturnSetInfo *result = context;
	Datum values[4] = {UUIDPGetDatum(&event->event_id), CStringGetTextDatum(event->flow_id), event->payload,
					   event->headers};
	bool nulls[4] = {false, false, false, event->headers == (Datum) 0};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t));
}

/* Those of the ids that may be of batches, in order. */
static pg_uuid_t *
sort_ids(ArrayType *array, int *count)
{
	ArrayIterator iterator = array_create_iterator(array, 0, NULL);
	pg_uuid_t *ids = palloc(Max(ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)), 1) * sizeof(pg_uuid_t));
	Datum id;
	bool is_null;

	*count = 0;
	while (array_iterate(iterator, &id, &is_null))
	{
		if (!is_null && evq_uuid_is_of_batch(DatumGetUUIDP(id)))
			ids[(*count)++] = *DatumGetUUIDP(id);
	}
	qsort(ids, *count, sizeof(pg_uuid_t), compare_ids);
	return ids;
}

/* The last of the neighbours in a batch that the ids from here on are, each of them once or more; next: after those. */
static int
end_of_neighbours(const pg_uuid_t *ids, int count, int first, int *next)
{
	int last = evq_uuid_ordinal(&ids[first]);

	for (*next = first + 1; *next < count && evq_uuid_is_same_batch(&ids[first], &ids[*next]) &&
							evq_uuid_ordinal(&ids[*next]) <= last + 1;
		 (*next)++)
		last = evq_uuid_ordinal(&ids[*next]);
	return last;
}

/* The rows of evq.log with these ids, each once, by what their batches know of where they are. */
Datum
evq_sql_logged_events(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EvqStore *store;
	pg_uuid_t *ids;
	int count;
	int next;

	InitMaterializedSRF(fcinfo, 0);
	ids = sort_ids(PG_GETARG_ARRAYTYPE_P(0), &count);
	if (count == 0)
		return (Datum) 0;
	store = evq_store_open_to_read();
	for (int i = 0; i < count; i = next)
	{
		EvqRange range = {.first = evq_uuid_ordinal(&ids[i])};
		EvqBatch batch;

		range.last = end_of_neighbours(ids, count, i, &next);
		if (!evq_batches_fetch(store, &ids[i], NULL, &batch))
			continue;
		range.last = Min(range.last, batch.events - 1);
		evq_batches_read(store, &batch, range, put_logged, result);
	}
	evq_store_close(store);
	return (Datum) 0;
}

/* May one of the ids be that of an event in a batch? */
Datum
evq_sql_may_be_of_batch(PG_FUNCTION_ARGS)
{
	ArrayIterator iterator = array_create_iterator(PG_GETARG_ARRAYTYPE_P(0), 0, NULL);
	Datum id;
	bool is_null;
	bool found = false;

	while (!found && array_iterate(iterator, &id, &is_null))
		found = !is_null && evq_uuid_is_of_batch(DatumGetUUIDP(id));
	PG_RETURN_BOOL(found);
}

/* Where the rows of a batch are, as evq.batch has it; NULL = where that says, or there is no such batch. */
Datum
evq_sql_find_places(PG_FUNCTION_ARGS)
{
	EvqStore *store = evq_store_open_to_read();
	EvqBatch batch;
	bytea *places = NULL;

	if (evq_batches_fetch(store, PG_GETARG_UUID_P(0), NULL, &batch) &&
		!evq_batches_are_in_place(store, &batch))
		places = evq_batches_find_places(&batch);
	evq_store_close(store);
	if (places == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(places);
}

/* Are the rows of a batch where that says? NULL = there is no such batch. */
Datum
evq_sql_is_in_place(PG_FUNCTION_ARGS)
{
	EvqStore *store = evq_store_open_to_read();
	EvqBatch batch;
	bool found = evq_batches_fetch(store, PG_GETARG_UUID_P(0), NULL, &batch);
	bool is_in_place = found && evq_batches_are_in_place(store, &batch);

	evq_store_close(store);
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_BOOL(is_in_place);
}
