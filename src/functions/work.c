/*
 * work.c
 *		SQL functions that a worker calls.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/clock.h"
#include "base/errors.h"
#include "functions/work.h"
#include "session/lifecycle_batch.h"
#include "session/named_flows.h"
#include "tables/events.h"
#include "tables/history.h"

PG_FUNCTION_INFO_V1(evq_sql_acquire);
PG_FUNCTION_INFO_V1(evq_sql_acquire_next);
PG_FUNCTION_INFO_V1(evq_sql_acquire_next_of_flows);
PG_FUNCTION_INFO_V1(evq_sql_heartbeat);
PG_FUNCTION_INFO_V1(evq_sql_succeed);
PG_FUNCTION_INFO_V1(evq_sql_succeed_many);
PG_FUNCTION_INFO_V1(evq_sql_succeed_and_acquire);
PG_FUNCTION_INFO_V1(evq_sql_fail);
PG_FUNCTION_INFO_V1(evq_sql_fail_many);
PG_FUNCTION_INFO_V1(evq_sql_snooze);
PG_FUNCTION_INFO_V1(evq_sql_release);
PG_FUNCTION_INFO_V1(evq_sql_suspend);

/* Adds a row to the answer of a set-returning function. */
void
evq_work_put_row(FunctionCallInfo fcinfo, const Datum *values, const bool *nulls)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	tuplestore_putvalues(result->setResult, result->setDesc, unconstify(Datum *, values),
						 unconstify(bool *, nulls));
}

/*
 * A context for what one event of many needs, which may be several times its
 * payload: the caller resets it before the next, and deletes it at the end.
 */
MemoryContext
evq_work_make_row_context(void)
{
	return AllocSetContextCreate(CurrentMemoryContext, "evq row", ALLOCSET_SMALL_SIZES);
}

static void
end_row(MemoryContext row_context, MemoryContext previous)
{
	MemoryContextSwitchTo(previous);
	MemoryContextReset(row_context);
}

/* ---------- acquire ---------- */

/* The columns of evq.acquired. */
enum
{
	ACQUIRED_EVENT_ID,
	ACQUIRED_PERMIT,
	ACQUIRED_EVENT_TYPE,
	ACQUIRED_FLOW_TYPE,
	ACQUIRED_FLOW_ID,
	ACQUIRED_ATTEMPT,
	ACQUIRED_ATTEMPTS_LEFT,
	ACQUIRED_PAYLOAD,
	ACQUIRED_HEADERS,
	ACQUIRED_PERMIT_UNTIL,
	ACQUIRED_DUE_AT,
	ACQUIRED_ANSWER,
	ACQUIRED_COLUMNS
};

static void
put_acquired(FunctionCallInfo fcinfo, const EvqAcquired *acquired, Datum answer)
{
	const EvqEvent *event = &acquired->event;
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);
	const EvqFlow *flow = evq_config_flow(event->flow_no);
	Datum values[ACQUIRED_COLUMNS] = {0};
	bool nulls[ACQUIRED_COLUMNS] = {false};

	values[ACQUIRED_EVENT_ID] = UUIDPGetDatum(&event->event_id);
	values[ACQUIRED_PERMIT] = Int64GetDatum(event->permit);
	values[ACQUIRED_EVENT_TYPE] = CStringGetTextDatum(event_type->event_type);
	values[ACQUIRED_FLOW_TYPE] = CStringGetTextDatum(flow->flow_type);
	values[ACQUIRED_FLOW_ID] = CStringGetTextDatum(event->flow_id);
	values[ACQUIRED_ATTEMPT] = Int32GetDatum(event->attempts_used + 1);
	values[ACQUIRED_ATTEMPTS_LEFT] = Int32GetDatum(
		Max(event_type->max_attempts - event->attempts_used - 1, 0));
	values[ACQUIRED_PAYLOAD] = acquired->payload;
	values[ACQUIRED_HEADERS] = acquired->headers;
	nulls[ACQUIRED_HEADERS] = acquired->headers == (Datum) 0;
	values[ACQUIRED_PERMIT_UNTIL] = TimestampTzGetDatum(event->state_due_at);
	values[ACQUIRED_DUE_AT] = TimestampTzGetDatum(event->due_at);
	values[ACQUIRED_ANSWER] = answer;
	nulls[ACQUIRED_ANSWER] = answer == (Datum) 0;
	evq_work_put_row(fcinfo, values, nulls);
}

/* Returns an event that was acquired as a row. */
static bool
put_one(void *fcinfo, EvqStore *store, const EvqAcquired *acquired)
{
	put_acquired(fcinfo, acquired, evq_events_fetch_answer(store, &acquired->event));
	return false;
}

static int64
permit_duration(FunctionCallInfo fcinfo, int argno)
{
	return evq_argument_duration(fcinfo, argno, "permit_for", false);
}

Datum
evq_sql_acquire(PG_FUNCTION_ARGS)
{
	pg_uuid_t event_id = evq_argument_event_id(fcinfo, 0);
	EvqAcquisition wanted = {
		.event_id = &event_id,
		.worker = evq_argument_worker(fcinfo, 1),
		.permit_for = permit_duration(fcinfo, 2),
	};
	EvqStore *store;

	evq_config_use();
	InitMaterializedSRF(fcinfo, 0);
	if (evq_config_is_paused())
	{
		evq_config_tell_paused();
		return (Datum) 0;
	}
	store = evq_store_open("evq_acquire()");
	(void) evq_acquire_one(store, evq_clock_now(), &wanted, put_one, fcinfo);
	evq_store_close(store);
	return (Datum) 0;
}

/* Reads the arguments of evq_acquire_next() that follow the flow, from argno on. */
static void
read_wanted(FunctionCallInfo fcinfo, int argno, EvqAcquireNext *wanted)
{
	EvqSearch *search = &wanted->search;

	wanted->max_events = evq_argument_max_events(fcinfo, argno);
	search->event_type_nos = evq_argument_event_type_nos(fcinfo, argno + 1, &search->event_type_count);
	wanted->worker = evq_argument_worker(fcinfo, argno + 2);
	wanted->permit_for = permit_duration(fcinfo, argno + 3);
	wanted->acquired = put_one;
	wanted->context = fcinfo;
}

/* Reads flow_type and, from argno on, the arguments of evq_acquire_next() that follow it. */
void
evq_work_read_wanted(FunctionCallInfo fcinfo, int flow_argno, int argno, uint64 configuration,
					 EvqAcquireNext *wanted)
{
	EvqSearch *search = &wanted->search;

	memset(wanted, 0, sizeof(*wanted));
	search->configuration = configuration;
	search->flow = evq_argument_flow(evq_argument_required_text(fcinfo, flow_argno, "flow_type"));
	evq_config_require(EVQ_RIGHT_WORK, search->flow->flow_no);
	read_wanted(fcinfo, argno, wanted);
}

/* flow_types is the text of an array, or one; weights_argno: below 0 = there are none. */
static Datum
acquire_next_of_flows(FunctionCallInfo fcinfo, bool is_text, int weights_argno)
{
	EvqStore *store;
	EvqAcquireNext wanted = {.search.configuration = evq_config_use()};
	int flow_count;
	EvqWeightedFlow *flows = evq_named_flows_read(fcinfo, 0, is_text, weights_argno, &flow_count);

	read_wanted(fcinfo, 1, &wanted);
	InitMaterializedSRF(fcinfo, 0);
	store = evq_store_open("evq_acquire_next()");
	evq_acquire_next_of(store, &wanted, flows, flow_count);
	evq_store_close(store);
	return (Datum) 0;
}

Datum
evq_sql_acquire_next_of_flows(PG_FUNCTION_ARGS)
{
	return acquire_next_of_flows(fcinfo, false, 5);
}

Datum
evq_sql_acquire_next(PG_FUNCTION_ARGS)
{
	EvqStore *store;
	EvqAcquireNext wanted;

	/* Drivers send an array without a type, which is text to the parser. */
	if (evq_named_flows_are_array(fcinfo, 0))
		return acquire_next_of_flows(fcinfo, true, -1);
	evq_work_read_wanted(fcinfo, 0, 1, evq_config_use(), &wanted);
	InitMaterializedSRF(fcinfo, 0);
	store = evq_store_open("evq_acquire_next()");
	evq_acquire_next(store, &wanted);
	evq_store_close(store);
	return (Datum) 0;
}

/* ---------- success ---------- */

/* The attempt that a call for one event reports on. */
static EvqAttempt
read_attempt(FunctionCallInfo fcinfo, int permit_argno, bool permit_required)
{
	EvqAttempt attempt = {.event_id = evq_argument_event_id(fcinfo, 0)};

	attempt.permit = evq_argument_permit(fcinfo, permit_argno, permit_required);
	return attempt;
}

static EvqVerdict
succeed_plainly(EvqStore *store, TimestampTz now, const EvqAttempt *attempt, EvqEvent *event)
{
	EvqSuccess success = {.outcome = NULL};

	return evq_lifecycle_succeed(store, now, attempt, &success, event);
}

static bool
is_accepted(EvqVerdict verdict)
{
	return verdict == EVQ_ACCEPTED || verdict == EVQ_ACCEPTED_BEFORE;
}

Datum
evq_sql_succeed(PG_FUNCTION_ARGS)
{
	EvqAttempt attempt = read_attempt(fcinfo, 1, false);
	EvqOutcome outcome = {0};
	EvqSuccess success = {.outcome = &outcome};
	Datum spinoff_list;
	Datum *elements;
	TimestampTz now = evq_clock_now();
	EvqStore *store;
	EvqEvent event;
	EvqVerdict verdict = EVQ_NO_SUCH_EVENT;

	evq_config_use();
	outcome.result = evq_argument_json(fcinfo, 2, "result");
	outcome.has_result = outcome.result != (Datum) 0;
	spinoff_list = evq_argument_json(fcinfo, 3, "spinoffs");
	if (spinoff_list != (Datum) 0)
		success.spinoffs = evq_argument_events(spinoff_list, "spinoff", true, &success.spinoff_count);

	store = evq_store_open("evq_succeed()");
	if (!outcome.has_result && success.spinoff_count == 0)
		(void) evq_lifecycle_succeed_in_batch(store, now, &attempt, 1, &verdict);
	if (verdict == EVQ_NO_SUCH_EVENT)
		verdict = evq_lifecycle_succeed(store, now, &attempt, &success, &event);
	if (!is_accepted(verdict))
		evq_lifecycle_refuse(verdict, &attempt.event_id, &event);
	evq_store_close(store);

	elements = palloc(Max(success.spinoff_id_count, 1) * sizeof(Datum));
	for (int i = 0; i < success.spinoff_id_count; i++)
		elements[i] = UUIDPGetDatum(&success.spinoff_ids[i]);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(elements, success.spinoff_id_count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* Reports success of each. tell: NULL = nobody wants to know which. */
int
evq_work_succeed(EvqStore *store, const EvqReports *reports, EvqWorkReported tell, void *context)
{
	TimestampTz now = evq_clock_now();
	MemoryContext row_context = evq_work_make_row_context();
	EvqVerdict verdicts[EVQ_UUID_BATCH_ROOM];
	int accepted = 0;

	evq_history_begin_batch(store);
	for (int i = 0; i < reports->count;)
	{
		MemoryContext previous = MemoryContextSwitchTo(row_context);
		const EvqAttempt *attempts = &reports->attempts[i];
		int count = evq_lifecycle_succeed_in_batch(store, now, attempts, reports->count - i, verdicts);

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < count; j++)
		{
			EvqEvent event;
			bool was_accepted;

			if (verdicts[j] == EVQ_NO_SUCH_EVENT)
				verdicts[j] = succeed_plainly(store, now, &attempts[j], &event);
			was_accepted = is_accepted(verdicts[j]);
			accepted += was_accepted;
			if (tell != NULL)
				tell(context, &attempts[j].event_id, was_accepted);
		}
		i += count;
		end_row(row_context, previous);
	}
	evq_history_end_batch(store);
	return accepted;
}

/* Warns the client where reports on some of many events were not accepted; nothing where lost is 0. */
void
evq_work_warn_of_lost(int lost, int count)
{
	if (lost > 0)
		ereport(WARNING, (errcode(EVQ_ERRCODE_PERMIT_LOST),
						  errmsg("%d of %d permits were lost: their successes are not recorded", lost, count),
						  errhint("Extend permits in time with evq_heartbeat().")));
}

/* The columns of evq_succeed_many(). */
static void
put_reported(void *context, const pg_uuid_t *event_id, bool accepted)
{
	Datum values[2] = {UUIDPGetDatum(event_id), BoolGetDatum(accepted)};
	bool nulls[2] = {false, false};

	evq_work_put_row(context, values, nulls);
}

Datum
evq_sql_succeed_many(PG_FUNCTION_ARGS)
{
	EvqReports reports;
	EvqStore *store;

	evq_argument_reports(fcinfo, 0, 1, &reports);
	evq_config_use();
	InitMaterializedSRF(fcinfo, 0);
	store = evq_store_open("evq_succeed_many()");
	evq_work_succeed(store, &reports, put_reported, fcinfo);
	evq_store_close(store);
	return (Datum) 0;
}

Datum
evq_sql_succeed_and_acquire(PG_FUNCTION_ARGS)
{
	EvqReports reports;
	EvqStore *store;
	EvqAcquireNext wanted;
	uint64 configuration = evq_config_use();

	evq_argument_reports(fcinfo, 1, 2, &reports);
	evq_work_read_wanted(fcinfo, 0, 3, configuration, &wanted);
	InitMaterializedSRF(fcinfo, 0);
	store = evq_store_open("evq_succeed_and_acquire()");
	evq_work_warn_of_lost(reports.count - evq_work_succeed(store, &reports, NULL, NULL), reports.count);
	evq_acquire_next(store, &wanted);
	evq_store_close(store);
	return (Datum) 0;
}

/* ---------- failure ---------- */

Datum
evq_sql_fail(PG_FUNCTION_ARGS)
{
	EvqAttempt attempt = read_attempt(fcinfo, 2, false);
	EvqFailureReport report = {
		.error_message = evq_argument_required_text(fcinfo, 1, "error_message"),
		.stack_trace = evq_argument_text(fcinfo, 3),
		.retryable = PG_ARGISNULL(4) || PG_GETARG_BOOL(4),
		.retry_in = evq_argument_duration(fcinfo, 5, "retry_in", true),
	};
	EvqStore *store;
	EvqEvent event;
	EvqVerdict verdict;

	evq_config_use();
	store = evq_store_open("evq_fail()");
	verdict = evq_lifecycle_fail(store, evq_clock_now(), &attempt, &report, &event);
	if (verdict != EVQ_ACCEPTED)
		evq_lifecycle_refuse(verdict, &attempt.event_id, &event);
	evq_store_close(store);
	PG_RETURN_DATUM(evq_argument_state_datum(event.state, get_func_rettype(fcinfo->flinfo->fn_oid)));
}

/* Reports failure of each. The columns of evq_fail_many(). */
int
evq_work_fail(FunctionCallInfo fcinfo, const char *function, const EvqReports *reports,
			  const EvqFailureReport *report)
{
	TimestampTz now = evq_clock_now();
	EvqStore *store = evq_store_open(function);
	MemoryContext row_context = evq_work_make_row_context();
	Oid enum_type = TupleDescAttr(((ReturnSetInfo *) fcinfo->resultinfo)->setDesc, 2)->atttypid;
	int accepted_count = 0;

	for (int i = 0; i < reports->count; i++)
	{
		MemoryContext previous = MemoryContextSwitchTo(row_context);
		EvqEvent event;
		bool accepted = evq_lifecycle_fail(store, now, &reports->attempts[i], report, &event) == EVQ_ACCEPTED;
		Datum values[3] = {UUIDPGetDatum(&reports->attempts[i].event_id), BoolGetDatum(accepted), (Datum) 0};
		bool nulls[3] = {false, false, !accepted};

		CHECK_FOR_INTERRUPTS();
		accepted_count += accepted;
		if (accepted)
			values[2] = evq_argument_state_datum(event.state, enum_type);
		evq_work_put_row(fcinfo, values, nulls);
		end_row(row_context, previous);
	}
	evq_store_close(store);
	return accepted_count;
}

Datum
evq_sql_fail_many(PG_FUNCTION_ARGS)
{
	EvqFailureReport report = {
		.error_message = evq_argument_required_text(fcinfo, 2, "error_message"),
		.retryable = PG_ARGISNULL(3) || PG_GETARG_BOOL(3),
		.retry_in = EVQ_DEFAULT_TIME,
	};
	EvqReports reports;

	evq_argument_reports(fcinfo, 0, 1, &reports);
	evq_config_use();
	InitMaterializedSRF(fcinfo, 0);
	evq_work_fail(fcinfo, "evq_fail_many()", &reports, &report);
	return (Datum) 0;
}

/* ---------- other reports ---------- */

static void
put_extended(FunctionCallInfo fcinfo, const pg_uuid_t *event_id, EvqVerdict verdict, const EvqEvent *event)
{
	bool held = verdict == EVQ_ACCEPTED;
	bool canceled = verdict != EVQ_NO_SUCH_EVENT && event->state == EVQ_STATE_CANCELED;
	Datum values[4] = {UUIDPGetDatum(event_id), BoolGetDatum(held), BoolGetDatum(canceled),
					   TimestampTzGetDatum(event->state_due_at)};
	bool nulls[4] = {false, false, false, !held};

	evq_work_put_row(fcinfo, values, nulls);
}

/* Extends each permit. The columns of evq_heartbeat(). */
int
evq_work_extend(FunctionCallInfo fcinfo, const char *function, const EvqReports *reports, int64 extend_by)
{
	TimestampTz now = evq_clock_now();
	EvqStore *store = evq_store_open(function);
	MemoryContext row_context = evq_work_make_row_context();
	EvqVerdict verdicts[EVQ_UUID_BATCH_ROOM];
	int held_count = 0;

	for (int i = 0; i < reports->count;)
	{
		MemoryContext previous = MemoryContextSwitchTo(row_context);
		const EvqAttempt *attempts = &reports->attempts[i];
		TimestampTz due_at = 0;
		int count = evq_lifecycle_extend_in_batch(store, now, attempts, reports->count - i, extend_by,
												  verdicts, &due_at);

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < count; j++)
		{
			EvqEvent event = {.state = EVQ_STATE_NONE, .state_due_at = due_at};

			if (verdicts[j] == EVQ_NO_SUCH_EVENT)
				verdicts[j] = evq_lifecycle_extend(store, now, &attempts[j], extend_by, &event);
			put_extended(fcinfo, &attempts[j].event_id, verdicts[j], &event);
			held_count += verdicts[j] == EVQ_ACCEPTED;
		}
		i += count;
		end_row(row_context, previous);
	}
	evq_store_close(store);
	return held_count;
}

Datum
evq_sql_heartbeat(PG_FUNCTION_ARGS)
{
	int64 extend_by = evq_argument_duration(fcinfo, 2, "extend_by", false);
	EvqReports reports;

	evq_argument_reports(fcinfo, 0, 1, &reports);
	evq_config_use();
	InitMaterializedSRF(fcinfo, 0);
	evq_work_extend(fcinfo, "evq_heartbeat()", &reports, extend_by);
	return (Datum) 0;
}

static void
release(const char *function, const EvqAttempt *attempt, const EvqRelease *how)
{
	EvqStore *store;
	EvqEvent event;
	EvqVerdict verdict;

	evq_config_use();
	store = evq_store_open(function);
	verdict = evq_lifecycle_release(store, evq_clock_now(), attempt, how, &event);
	if (verdict != EVQ_ACCEPTED)
		evq_lifecycle_refuse(verdict, &attempt->event_id, &event);
	evq_store_close(store);
}

Datum
evq_sql_snooze(PG_FUNCTION_ARGS)
{
	EvqAttempt attempt = read_attempt(fcinfo, 1, true);
	EvqRelease how = {.snooze = true};

	if (PG_ARGISNULL(2) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)) ||
		PG_GETARG_TIMESTAMPTZ(2) >= EVQ_END_OF_TIME)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("run_at is NULL or out of range"),
						errhint("Pass a time, or give the event back at once with evq_release().")));
	/* What was in the future when the transaction began may be past by now. */
	if (PG_GETARG_TIMESTAMPTZ(2) < Min(GetCurrentTransactionStartTimestamp(), evq_clock_now()))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("run_at lies in the past"),
						errhint("Pass a time to come, or give the event back at once with evq_release().")));
	how.run_at = PG_GETARG_TIMESTAMPTZ(2);
	release("evq_snooze()", &attempt, &how);
	PG_RETURN_VOID();
}

Datum
evq_sql_release(PG_FUNCTION_ARGS)
{
	EvqAttempt attempt = read_attempt(fcinfo, 1, true);
	EvqRelease how = {.snooze = false};

	release("evq_release()", &attempt, &how);
	PG_RETURN_VOID();
}

Datum
evq_sql_suspend(PG_FUNCTION_ARGS)
{
	EvqAttempt attempt = read_attempt(fcinfo, 1, true);
	int64 timeout = evq_argument_duration(fcinfo, 2, "timeout", false);
	EvqStore *store;
	EvqEvent event;
	EvqVerdict verdict;

	evq_config_use();
	store = evq_store_open("evq_suspend()");
	verdict = evq_lifecycle_suspend(store, evq_clock_now(), &attempt, timeout, &event);
	if (verdict != EVQ_ACCEPTED)
		evq_lifecycle_refuse(verdict, &attempt.event_id, &event);
	evq_store_close(store);
	/* Activated before it was suspended. */
	if (event.state != EVQ_STATE_SUSPENDED)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(event.state_due_at);
}
