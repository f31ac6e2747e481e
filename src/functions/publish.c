/*
 * publish.c
 *		SQL functions that publish.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/clock.h"
#include "base/errors.h"
#include "session/arguments.h"

PG_FUNCTION_INFO_V1(evq_sql_publish);
PG_FUNCTION_INFO_V1(evq_sql_publish_many_json);
PG_FUNCTION_INFO_V1(evq_sql_publish_many);
PG_FUNCTION_INFO_V1(evq_sql_publish_each);

static void
publish(const char *function, const EvqPublish *requests, int count, const char *what, pg_uuid_t *ids)
{
	EvqStore *store = evq_store_open(function);

	evq_config_tell_paused();
	evq_lifecycle_publish(store, evq_clock_now(), requests, count, what, ids);
	evq_store_close(store);
}

Datum
evq_sql_publish(PG_FUNCTION_ARGS)
{
	EvqPublish request = {0};
	pg_uuid_t *id = palloc(sizeof(pg_uuid_t));
	const char *event_type = evq_argument_required_text(fcinfo, 0, "event_type");

	evq_config_use();
	request.event_type = evq_argument_event_type(event_type, evq_argument_text(fcinfo, 1));
	request.flow_id = evq_argument_flow_id(fcinfo, 2);
	request.payload = evq_argument_json(fcinfo, 3, "payload");
	if (request.payload == (Datum) 0)
		request.payload = evq_argument_empty_object();
	request.on_fail_event_type_no = evq_argument_on_fail(evq_argument_text(fcinfo, 4), request.event_type);
	request.has_run_at = !PG_ARGISNULL(5);
	if (request.has_run_at)
		request.run_at = PG_GETARG_TIMESTAMPTZ(5);
	request.has_priority = evq_argument_priority(fcinfo, 6, &request.priority);
	request.idempotency_key = evq_argument_text(fcinfo, 7);
	request.headers = evq_argument_json(fcinfo, 8, "headers");
	if (PG_NARGS() > 9)
		request.group_key = evq_argument_text(fcinfo, 9);

	publish("evq_publish()", &request, 1, NULL, id);
	PG_RETURN_UUID_P(id);
}

static Datum
return_ids(FunctionCallInfo fcinfo, const pg_uuid_t *ids, int count)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	for (int i = 0; i < count; i++)
	{
		Datum value = UUIDPGetDatum(&ids[i]);
		bool is_null = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &value, &is_null);
	}
	return (Datum) 0;
}

Datum
evq_sql_publish_many_json(PG_FUNCTION_ARGS)
{
	EvqPublish *requests;
	pg_uuid_t *ids;
	int count;

	evq_config_use();
	requests = evq_argument_events(evq_argument_json(fcinfo, 0, "events"), "event", false, &count);
	ids = palloc(Max(count, 1) * sizeof(pg_uuid_t));
	publish("evq_publish_many()", requests, count, "event", ids);
	return return_ids(fcinfo, ids, count);
}

/* The idempotency key that came beside an event: its own, if it has one, may only be the same. */
static void
take_key(EvqPublish *request, const char *key)
{
	if (request->idempotency_key != NULL && strcmp(request->idempotency_key, key) != 0)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
						errmsg("the key beside an event and its idempotency_key differ"),
						errhint("Send one of them.")));
	request->idempotency_key = key;
}

/* The answer to who published one event, as evq_http.publish() makes it. */
static Datum
answer_of(const pg_uuid_t *id)
{
	char *text = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));

	return CStringGetTextDatum(psprintf("{\"event_id\": \"%s\"}", text));
}

Datum
evq_sql_publish_each(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum *events;
	const char **keys;
	EvqPublish *requests;
	pg_uuid_t *ids;
	int count;

	evq_config_use();
	events = evq_argument_json_elements(fcinfo, 0, "events", &count);
	keys = evq_argument_texts_beside(fcinfo, 1, count, "event", "idempotency_key");
	requests = palloc(Max(count, 1) * sizeof(EvqPublish));
	ids = palloc(Max(count, 1) * sizeof(pg_uuid_t));
	for (int i = 0; i < count; i++)
	{
		evq_argument_event(events[i], &requests[i]);
		if (keys != NULL && keys[i] != NULL)
			take_key(&requests[i], keys[i]);
	}
	publish("evq_publish_many()", requests, count, "event", ids);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	for (int i = 0; i < count; i++)
	{
		Datum value = answer_of(&ids[i]);
		bool is_null = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &value, &is_null);
	}
	return (Datum) 0;
}

Datum
evq_sql_publish_many(PG_FUNCTION_ARGS)
{
	const char *event_type = evq_argument_required_text(fcinfo, 0, "event_type");
	EvqPublish common = {0};
	EvqPublish *requests;
	const char **flow_ids;
	const char **group_keys;
	Datum *payloads;
	pg_uuid_t *ids;
	int count;
	int payload_count;

	evq_config_use();
	common.event_type = evq_argument_event_type(event_type, evq_argument_text(fcinfo, 1));
	flow_ids = evq_argument_flow_ids(fcinfo, 2, &count);
	payloads = evq_argument_json_elements(fcinfo, 3, "payloads", &payload_count);
	if (payload_count != count)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
						errmsg("%d flow_ids but %d payloads", count, payload_count),
						errhint("Pass one payload for each flow_id, in the same order.")));
	common.has_run_at = !PG_ARGISNULL(4);
	if (common.has_run_at)
		common.run_at = PG_GETARG_TIMESTAMPTZ(4);
	common.has_priority = evq_argument_priority(fcinfo, 5, &common.priority);
	group_keys = evq_argument_texts_beside(fcinfo, 6, count, "flow_id", "group_key");

	requests = palloc(Max(count, 1) * sizeof(EvqPublish));
	ids = palloc(Max(count, 1) * sizeof(pg_uuid_t));
	for (int i = 0; i < count; i++)
	{
		requests[i] = common;
		requests[i].flow_id = flow_ids[i];
		requests[i].payload = payloads[i];
		requests[i].group_key = group_keys == NULL ? NULL : group_keys[i];
	}
	publish("evq_publish_many()", requests, count, "event", ids);
	return return_ids(fcinfo, ids, count);
}
