/*
 * batch.c
 *		SQL functions that acquire and report many events as one batch, named by a token.
 *
 * What they do with each event is what the functions of one event do with it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/clock.h"
#include "base/errors.h"
#include "functions/work.h"
#include "session/token.h"
#include "tables/epoch.h"
#include "tables/events.h"

PG_FUNCTION_INFO_V1(evq_sql_acquire_batch);
PG_FUNCTION_INFO_V1(evq_sql_succeed_batch);
PG_FUNCTION_INFO_V1(evq_sql_succeed_batch_and_acquire);
PG_FUNCTION_INFO_V1(evq_sql_fail_batch);
PG_FUNCTION_INFO_V1(evq_sql_heartbeat_batch);
PG_FUNCTION_INFO_V1(evq_sql_release_batch);
PG_FUNCTION_INFO_V1(evq_sql_batch_permits);

/* A batch ends early when its payloads and headers have come to so many bytes: it is all in memory at once. */
#define BATCH_BYTES ((Size) 32 * 1024 * 1024)

/* ---------- acquire ---------- */

/* One column of evq.acquired_batch that has an element for each event. */
typedef struct Elements
{
	Datum *values;
	bool *nulls;
	bool has_any;
} Elements;

/* What was acquired by now. */
typedef struct Batch
{
	MemoryContext context;
	int count;
	int room;
	Size bytes;
	pg_uuid_t *event_ids;
	int64 *permits;
	Elements ids;
	Elements event_types;
	Elements flow_ids;
	Elements attempts;
	Elements attempts_left;
	Elements payloads;
	Elements headers;
	Elements answers;
	TimestampTz attempt_due_at;
	TimestampTz due_at;
	int32 event_type_no; /* of the event before, whose name is the same text */
	Datum event_type;
} Batch;

static void
grow_elements(Elements *elements, int room)
{
	elements->values = elements->values == NULL ? palloc(room * sizeof(Datum))
												: repalloc(elements->values, room * sizeof(Datum));
	elements->nulls = elements->nulls == NULL ? palloc(room * sizeof(bool))
											  : repalloc(elements->nulls, room * sizeof(bool));
}

static void
grow(Batch *batch)
{
	int room = batch->room == 0 ? 64 : 2 * batch->room;

	grow_elements(&batch->ids, room);
	grow_elements(&batch->event_types, room);
	grow_elements(&batch->flow_ids, room);
	grow_elements(&batch->attempts, room);
	grow_elements(&batch->attempts_left, room);
	grow_elements(&batch->payloads, room);
	grow_elements(&batch->headers, room);
	grow_elements(&batch->answers, room);
	batch->permits = batch->permits == NULL ? palloc(room * sizeof(int64))
											: repalloc(batch->permits, room * sizeof(int64));
	batch->event_ids = batch->event_ids == NULL ? palloc(room * sizeof(pg_uuid_t))
												: repalloc(batch->event_ids, room * sizeof(pg_uuid_t));
	batch->room = room;
}

static void
add(Batch *batch, Elements *elements, Datum value)
{
	elements->values[batch->count] = value;
	elements->nulls[batch->count] = false;
	elements->has_any = true;
}

/* value: jsonb, 0 = none */
static void
add_json(Batch *batch, Elements *elements, Datum value)
{
	if (value == (Datum) 0)
	{
		elements->values[batch->count] = value;
		elements->nulls[batch->count] = true;
		return;
	}
	value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	batch->bytes += VARSIZE_ANY(DatumGetPointer(value));
	add(batch, elements, value);
}

static bool
add_event(void *context, EvqStore *store, const EvqAcquired *acquired)
{
	Batch *batch = context;
	const EvqEvent *event = &acquired->event;
	Datum answer = evq_events_fetch_answer(store, event);
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);
	MemoryContext previous = MemoryContextSwitchTo(batch->context);

	if (batch->count == batch->room)
		grow(batch);
	if (batch->count == 0 || batch->event_type_no != event->event_type_no)
	{
		batch->event_type_no = event->event_type_no;
		batch->event_type = CStringGetTextDatum(event_type->event_type);
	}
	batch->event_ids[batch->count] = event->event_id;
	batch->permits[batch->count] = event->permit;
	add(batch, &batch->event_types, batch->event_type);
	add(batch, &batch->flow_ids, CStringGetTextDatum(event->flow_id));
	add(batch, &batch->attempts, Int32GetDatum(event->attempts_used + 1));
	add(batch, &batch->attempts_left,
		Int32GetDatum(Max(event_type->max_attempts - event->attempts_used - 1, 0)));
	add_json(batch, &batch->payloads, acquired->payload);
	add_json(batch, &batch->headers, acquired->headers);
	add_json(batch, &batch->answers, answer);
	batch->attempt_due_at = batch->count == 0 ? event->state_due_at
											  : Min(batch->attempt_due_at, event->state_due_at);
	batch->due_at = batch->count == 0 ? event->due_at : Min(batch->due_at, event->due_at);
	batch->count++;
	MemoryContextSwitchTo(previous);
	return batch->bytes >= BATCH_BYTES;
}

/* NULL where no event has any. */
static void
put_elements(Batch *batch, const Elements *elements, Oid type, Datum *value, bool *is_null)
{
	int length = batch->count;
	int lower_bound = 1;
	int16 type_length = type == UUIDOID ? UUID_LEN : (type == INT4OID ? (int16) sizeof(int32) : -1);

	*is_null = !elements->has_any;
	if (elements->has_any)
		*value = PointerGetDatum(construct_md_array(elements->values, elements->nulls, 1, &length,
													&lower_bound, type, type_length, type == INT4OID,
													type == UUIDOID ? TYPALIGN_CHAR : TYPALIGN_INT));
}

/* The columns of evq.acquired_batch. No event: no row. */
static void
put_batch(FunctionCallInfo fcinfo, Batch *batch, const EvqFlow *flow)
{
	Datum values[12] = {0};
	bool nulls[12] = {false};

	if (batch->count == 0)
		return;
	for (int i = 0; i < batch->count; i++)
	{
		batch->ids.values[i] = UUIDPGetDatum(&batch->event_ids[i]);
		batch->ids.nulls[i] = false;
	}
	batch->ids.has_any = true;
	values[0] = evq_token_make(batch->event_ids, batch->permits, batch->count);
	values[1] = CStringGetTextDatum(flow->flow_type);
	put_elements(batch, &batch->ids, UUIDOID, &values[2], &nulls[2]);
	put_elements(batch, &batch->event_types, TEXTOID, &values[3], &nulls[3]);
	put_elements(batch, &batch->flow_ids, TEXTOID, &values[4], &nulls[4]);
	put_elements(batch, &batch->attempts, INT4OID, &values[5], &nulls[5]);
	put_elements(batch, &batch->attempts_left, INT4OID, &values[6], &nulls[6]);
	put_elements(batch, &batch->payloads, JSONBOID, &values[7], &nulls[7]);
	put_elements(batch, &batch->headers, JSONBOID, &values[8], &nulls[8]);
	values[9] = TimestampTzGetDatum(batch->attempt_due_at);
	values[10] = TimestampTzGetDatum(batch->due_at);
	put_elements(batch, &batch->answers, JSONBOID, &values[11], &nulls[11]);
	evq_work_put_row(fcinfo, values, nulls);
}

static void
acquire_batch(FunctionCallInfo fcinfo, EvqAcquireNext *wanted, EvqStore *store)
{
	Batch batch = {.context = CurrentMemoryContext};

	wanted->acquired = add_event;
	wanted->context = &batch;
	evq_acquire_next(store, wanted);
	put_batch(fcinfo, &batch, wanted->search.flow);
}

Datum
evq_sql_acquire_batch(PG_FUNCTION_ARGS)
{
	EvqStore *store;
	EvqAcquireNext wanted;

	evq_work_read_wanted(fcinfo, 0, 1, evq_config_use(), &wanted);
	InitMaterializedSRF(fcinfo, 0);
	store = evq_store_open("evq_acquire_batch()");
	acquire_batch(fcinfo, &wanted, store);
	evq_store_close(store);
	return (Datum) 0;
}

/* ---------- which events of a batch ---------- */

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t));
}

/* Are all of count chosen ids among those of the batch? chosen is sorted. */
static void
require_chosen(const EvqReports *reports, const pg_uuid_t *chosen, int count, const char *name)
{
	pg_uuid_t *ids = palloc(reports->count * sizeof(pg_uuid_t));

	for (int i = 0; i < reports->count; i++)
		ids[i] = reports->attempts[i].event_id;
	qsort(ids, reports->count, sizeof(pg_uuid_t), compare_ids);
	for (int i = 0; i < count; i++)
	{
		if (bsearch(&chosen[i], ids, reports->count, sizeof(pg_uuid_t), compare_ids) == NULL)
			ereport(ERROR,
					(errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("%s names an event of another batch", name),
					 errdetail("The batch has no event %s.",
							   DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&chosen[i])))),
					 errhint("Pass ids that were returned with the token.")));
	}
	pfree(ids);
}

/* Keeps of the reports those that the argument names, or the others. It may be NULL: nothing is named. */
static void
choose(FunctionCallInfo fcinfo, int argno, const char *name, bool keep, EvqReports *reports)
{
	pg_uuid_t *chosen;
	int chosen_count;
	int count = 0;

	if (PG_ARGISNULL(argno))
		return;
	chosen = evq_argument_event_ids(fcinfo, argno, name, &chosen_count);
	qsort(chosen, chosen_count, sizeof(pg_uuid_t), compare_ids);
	require_chosen(reports, chosen, chosen_count, name);
	for (int i = 0; i < reports->count; i++)
	{
		bool is_chosen = bsearch(&reports->attempts[i].event_id, chosen, chosen_count, sizeof(pg_uuid_t),
								 compare_ids) != NULL;

		if (is_chosen == keep)
			reports->attempts[count++] = reports->attempts[i];
	}
	reports->count = count;
	pfree(chosen);
}

/* ---------- reports ---------- */

/*
 * A report with a token of another database, or of before a promotion, of which
 * not one event was accepted, is an error: nothing of it can ever be. What was
 * accepted was reported already, and is told again.
 */
static void
require_ours(const EvqToken *token, int accepted)
{
	bool begun;

	if (accepted > 0 || token->reports.count == 0)
		return;
	if (!token->is_of_here)
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_PERMIT_LOST), errmsg("token is of another database"),
				 errhint("Report where the batch was acquired. What was restored or copied from there has "
						 "other permits: acquire again.")));
	if (EVQ_PERMIT_EPOCH(token->reports.attempts[0].permit.value) != evq_epoch(&begun))
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_PERMIT_LOST), errmsg("token is of an earlier epoch"),
				 errdetail("The server was promoted, or its data restored, after the batch was acquired."),
				 errhint("Acquire again; the events are offered when their permits have run out.")));
}

static void
put_lost(void *context, const pg_uuid_t *event_id, bool accepted)
{
	Datum values[1] = {UUIDPGetDatum(event_id)};
	bool nulls[1] = {false};

	if (!accepted)
		evq_work_put_row(context, values, nulls);
}

Datum
evq_sql_succeed_batch(PG_FUNCTION_ARGS)
{
	EvqToken token;
	EvqStore *store;

	evq_token_read(fcinfo, 0, &token);
	choose(fcinfo, 1, "except_ids", false, &token.reports);
	evq_config_use();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	store = evq_store_open("evq_succeed_batch()");
	require_ours(&token, evq_work_succeed(store, &token.reports, put_lost, fcinfo));
	evq_store_close(store);
	return (Datum) 0;
}

Datum
evq_sql_succeed_batch_and_acquire(PG_FUNCTION_ARGS)
{
	EvqToken token = {0};
	EvqStore *store;
	EvqAcquireNext wanted;
	uint64 configuration = evq_config_use();

	if (!PG_ARGISNULL(0))
		evq_token_read(fcinfo, 0, &token);
	evq_work_read_wanted(fcinfo, 1, 2, configuration, &wanted);
	if (!PG_ARGISNULL(0))
		choose(fcinfo, 6, "except_ids", false, &token.reports);
	else if (!PG_ARGISNULL(6))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("except_ids without a token"),
						errhint("Pass the token of the batch that they are of.")));
	InitMaterializedSRF(fcinfo, 0);
	store = evq_store_open("evq_succeed_batch_and_acquire()");
	if (token.reports.count > 0)
	{
		int accepted = evq_work_succeed(store, &token.reports, NULL, NULL);

		require_ours(&token, accepted);
		evq_work_warn_of_lost(token.reports.count - accepted, token.reports.count);
	}
	acquire_batch(fcinfo, &wanted, store);
	evq_store_close(store);
	return (Datum) 0;
}

Datum
evq_sql_fail_batch(PG_FUNCTION_ARGS)
{
	EvqFailureReport report = {
		.error_message = evq_argument_required_text(fcinfo, 1, "error_message"),
		.retryable = PG_ARGISNULL(3) || PG_GETARG_BOOL(3),
		.retry_in = EVQ_DEFAULT_TIME,
	};
	EvqToken token;

	evq_token_read(fcinfo, 0, &token);
	choose(fcinfo, 2, "event_ids", true, &token.reports);
	evq_config_use();
	InitMaterializedSRF(fcinfo, 0);
	require_ours(&token, evq_work_fail(fcinfo, "evq_fail_batch()", &token.reports, &report));
	return (Datum) 0;
}

Datum
evq_sql_heartbeat_batch(PG_FUNCTION_ARGS)
{
	int64 extend_by = evq_argument_duration(fcinfo, 1, "extend_by", false);
	EvqToken token;

	evq_token_read(fcinfo, 0, &token);
	evq_config_use();
	InitMaterializedSRF(fcinfo, 0);
	require_ours(&token, evq_work_extend(fcinfo, "evq_heartbeat_batch()", &token.reports, extend_by));
	return (Datum) 0;
}

Datum
evq_sql_release_batch(PG_FUNCTION_ARGS)
{
	static const EvqRelease how = {.snooze = false};
	TimestampTz now = evq_clock_now();
	EvqToken token;
	EvqStore *store;
	MemoryContext row_context;
	int accepted_count = 0;

	evq_token_read(fcinfo, 0, &token);
	evq_config_use();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	store = evq_store_open("evq_release_batch()");
	row_context = evq_work_make_row_context();
	for (int i = 0; i < token.reports.count; i++)
	{
		MemoryContext previous = MemoryContextSwitchTo(row_context);
		const EvqAttempt *attempt = &token.reports.attempts[i];
		EvqEvent event;
		bool accepted = evq_lifecycle_release(store, now, attempt, &how, &event) == EVQ_ACCEPTED;

		CHECK_FOR_INTERRUPTS();
		accepted_count += accepted;
		put_lost(fcinfo, &attempt->event_id, accepted);
		MemoryContextSwitchTo(previous);
		MemoryContextReset(row_context);
	}
	evq_store_close(store);
	require_ours(&token, accepted_count);
	return (Datum) 0;
}

Datum
evq_sql_batch_permits(PG_FUNCTION_ARGS)
{
	EvqToken token;

	evq_token_read(fcinfo, 0, &token);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < token.reports.count; i++)
	{
		Datum values[2] = {UUIDPGetDatum(&token.reports.attempts[i].event_id),
						   Int64GetDatum(token.reports.attempts[i].permit.value)};
		bool nulls[2] = {false, false};

		CHECK_FOR_INTERRUPTS();
		evq_work_put_row(fcinfo, values, nulls);
	}
	return (Datum) 0;
}
