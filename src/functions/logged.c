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

/* The rows of evq.log with these ids, by what their batches know of where they are. */
Datum
evq_sql_logged_events(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EvqStore *store = NULL;
	ArrayIterator iterator = array_create_iterator(PG_GETARG_ARRAYTYPE_P(0), 0, NULL);
	Datum id;
	bool is_null;

	InitMaterializedSRF(fcinfo, 0);
	while (array_iterate(iterator, &id, &is_null))
	{
		EvqBatch batch;
		EvqRange range;

		if (is_null || !evq_uuid_is_of_batch(DatumGetUUIDP(id)))
			continue;
		if (store == NULL)
			store = evq_store_open_to_read();
		range.first = range.last = evq_uuid_ordinal(DatumGetUUIDP(id));
		if (evq_batches_fetch(store, DatumGetUUIDP(id), NULL, &batch) && range.last < batch.events)
			evq_batches_read(store, &batch, range, put_logged, result);
	}
	if (store != NULL)
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
