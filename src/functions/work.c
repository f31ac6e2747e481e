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
#include "session/wake.h"

PG_FUNCTION_INFO_V1(evq_sql_acquire);
PG_FUNCTION_INFO_V1(evq_sql_acquire_next);
PG_FUNCTION_INFO_V1(evq_sql_heartbeat);
PG_FUNCTION_INFO_V1(evq_sql_succeed);
PG_FUNCTION_INFO_V1(evq_sql_succeed_many);
PG_FUNCTION_INFO_V1(evq_sql_succeed_and_acquire);
PG_FUNCTION_INFO_V1(evq_sql_fail);
PG_FUNCTION_INFO_V1(evq_sql_fail_many);
PG_FUNCTION_INFO_V1(evq_sql_snooze);
PG_FUNCTION_INFO_V1(evq_sql_release);
PG_FUNCTION_INFO_V1(evq_sql_suspend);

/*
 * A transaction that keeps its snapshot may not see what is on offer. After so
 * many for each one wanted, and at least, it searches the table for what it sees.
 */
#define UNSEEN_FACTOR 4
#define UNSEEN_LEAST 100

static void
put_row(FunctionCallInfo fcinfo, const Datum *values, const bool *nulls)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	tuplestore_putvalues(result->setResult, result->setDesc, unconstify(Datum *, values),
						 unconstify(bool *, nulls));
}

/*
 * What one event of many needs may be several times its payload: it is in a
 * context of its own, which is emptied before the next.
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
static bool
put_acquired(void *context, const EvqEvent *event, Datum payload, Datum headers, Datum answer)
{
	FunctionCallInfo fcinfo = context;
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);
	const EvqFlow *flow = evq_config_flow(event->flow_no);
	Datum values[12] = {0};
	bool nulls[12] = {false};

	values[0] = UUIDPGetDatum(&event->event_id);
	values[1] = Int64GetDatum(event->permit);
	values[2] = CStringGetTextDatum(event_type->event_type);
	values[3] = CStringGetTextDatum(flow->flow_type);
	values[4] = CStringGetTextDatum(event->flow_id);
	values[5] = Int32GetDatum(event->attempts_used + 1);
	values[6] = Int32GetDatum(Max(event_type->max_attempts - event->attempts_used - 1, 0));
	values[7] = payload;
	values[8] = headers;
	nulls[8] = headers == (Datum) 0;
	values[9] = TimestampTzGetDatum(event->state_due_at);
	values[10] = TimestampTzGetDatum(event->due_at);
	values[11] = answer;
	nulls[11] = answer == (Datum) 0;
	put_row(fcinfo, values, nulls);
	return false;
}

/* Tries to acquire one event; is_enough: what is told of it says so. */
static EvqGrant
acquire(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, const char *worker, int64 permit_for,
		EvqWorkAcquired take, void *context, bool *is_enough)
{
	EvqEvent event;
	Datum payload;
	Datum headers;
	MemoryContext row_context = evq_work_make_row_context();
	MemoryContext previous = MemoryContextSwitchTo(row_context);
	EvqGrant grant = evq_lifecycle_acquire(store, now, event_id, worker, permit_for, &event, &payload,
										   &headers);

	*is_enough = grant == EVQ_GRANTED &&
				 take(context, &event, payload, headers, evq_store_fetch_answer(store, &event));
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(row_context);
	return grant;
}

/* Tries to acquire one event more. */
static EvqGrant
acquire_one_of(EvqWanted *wanted, const pg_uuid_t *event_id)
{
	bool is_enough;
	EvqGrant grant = acquire(wanted->store, evq_clock_now(), event_id, wanted->worker, wanted->permit_for,
							 wanted->take, wanted->context, &is_enough);

	wanted->acquired += grant == EVQ_GRANTED;
	if (is_enough)
		wanted->max_events = wanted->acquired;
	return grant;
}

/*
 * Takes from what the dispatcher put on offer. What cannot be had just now is
 * given back at the end, so that it is not met again in the same call. false =
 * that does not tell what there is: no dispatcher runs, or it has not read all
 * flows yet, or too many offers cannot be seen by this transaction.
 */
static bool
acquire_offered(EvqWanted *wanted, EvqPlace *place)
{
	EvqReadyTaken *taken = palloc(wanted->max_events * sizeof(EvqReadyTaken));
	int32 flow_no = wanted->search.flow->flow_no;
	bool keeps_snapshot = IsolationUsesXactSnapshot();
	int unseen = keeps_snapshot ? Max(wanted->max_events * UNSEEN_FACTOR, UNSEEN_LEAST) : PG_INT32_MAX;
	bool is_offering;
	List *later = NIL;
	ListCell *cell;

	if (place == NULL || place->pid == 0)
		return false;
	is_offering = pg_atomic_read_u32(&place->is_offering) != 0; /* before we look at the offers */
	while (wanted->acquired < wanted->max_events && list_length(later) < unseen)
	{
		int popped = evq_ready_pop(place->ready, flow_no, wanted->search.event_type_nos,
								   wanted->search.event_type_count, taken,
								   wanted->max_events - wanted->acquired);

		if (popped == 0)
		{
			/* There may be room again for what had none. */
			if (evq_ready_ask_for_missing(place->ready))
				evq_shmem_wake_dispatcher(place);
			break;
		}
		for (int i = 0; i < popped; i++)
			evq_wake_taken(flow_no, &taken[i]);

		/* What we took may be younger than our snapshot. */
		evq_store_refresh(wanted->store);
		for (int i = 0; i < popped; i++)
		{
			EvqGrant grant = EVQ_GRANT_LATER;

			CHECK_FOR_INTERRUPTS();
			if (wanted->acquired < wanted->max_events)
			{
				evq_store_hint(&taken[i].event_id, &taken[i].tid);
				grant = acquire_one_of(wanted, &taken[i].event_id);
			}
			if (grant == EVQ_GRANT_LATER || (grant == EVQ_GRANT_REFUSED && keeps_snapshot))
				later = lappend(later,
								memcpy(palloc(sizeof(EvqReadyTaken)), &taken[i], sizeof(EvqReadyTaken)));
		}
	}
	foreach(cell, later)
		evq_wake_give_back(place, flow_no, lfirst(cell));
	return list_length(later) < unseen && (is_offering || wanted->acquired > 0);
}

static bool
acquire_found(void *context, const pg_uuid_t *event_id)
{
	EvqWanted *wanted = context;

	acquire_one_of(wanted, event_id);
	return wanted->acquired >= wanted->max_events;
}

void
evq_work_acquire_next(EvqWanted *wanted, EvqStore *store)
{
	int change_count = evq_wake_changes(); /* what follows from this call is not for this call */

	if (evq_config_is_paused())
	{
		evq_config_tell_paused();
		return;
	}
	wanted->store = store;
	evq_store_pass_over_changed(store);
	if (!acquire_offered(wanted, evq_shmem_mine()))
		evq_search_table(store, &wanted->search, acquire_found, wanted);
	if (wanted->acquired < wanted->max_events)
		evq_search_own(store, &wanted->search, change_count, acquire_found, wanted);
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
	const char *worker = evq_argument_worker(fcinfo, 1);
	int64 permit_for = permit_duration(fcinfo, 2);
	EvqStore *store;
	bool is_enough;

	evq_config_use();
	InitMaterializedSRF(fcinfo, 0);
	if (evq_config_is_paused())
	{
		evq_config_tell_paused();
		return (Datum) 0;
	}
	store = evq_store_open("evq_acquire()");
	acquire(store, evq_clock_now(), &event_id, worker, permit_for, put_acquired, fcinfo, &is_enough);
	evq_store_close(store);
	return (Datum) 0;
}

/* Reads flow_type and, from argno on, the arguments of evq_acquire_next() that follow it. */
void
evq_work_read_wanted(FunctionCallInfo fcinfo, int flow_argno, int argno, uint64 configuration,
					 EvqWanted *wanted)
{
	EvqSearch *search = &wanted->search;

	memset(wanted, 0, sizeof(*wanted));
	search->configuration = configuration;
	search->flow = evq_argument_flow(evq_argument_required_text(fcinfo, flow_argno, "flow_type"));
	evq_config_require(EVQ_RIGHT_WORK, search->flow->flow_no);
	wanted->max_events = evq_argument_max_events(fcinfo, argno);
	search->event_type_nos = evq_argument_event_type_nos(fcinfo, argno + 1, &search->event_type_count);
	wanted->worker = evq_argument_worker(fcinfo, argno + 2);
	wanted->permit_for = permit_duration(fcinfo, argno + 3);
	wanted->take = put_acquired;
	wanted->context = fcinfo;
}

Datum
evq_sql_acquire_next(PG_FUNCTION_ARGS)
{
	EvqStore *store;
	EvqWanted wanted;

	evq_work_read_wanted(fcinfo, 0, 1, evq_config_use(), &wanted);
	InitMaterializedSRF(fcinfo, 0);
	store = evq_store_open("evq_acquire_next()");
	evq_work_acquire_next(&wanted, store);
	evq_store_close(store);
	return (Datum) 0;
}

/* ---------- success ---------- */

static EvqVerdict
succeed_plainly(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, EvqPermit permit,
				EvqEvent *event)
{
	const pg_uuid_t *spinoff_ids;
	int spinoff_count;

	return evq_lifecycle_succeed(store, now, event_id, permit, NULL, NULL, 0, event, &spinoff_ids,
								 &spinoff_count);
}

static bool
is_accepted(EvqVerdict verdict)
{
	return verdict == EVQ_ACCEPTED || verdict == EVQ_ACCEPTED_BEFORE;
}

Datum
evq_sql_succeed(PG_FUNCTION_ARGS)
{
	pg_uuid_t event_id = evq_argument_event_id(fcinfo, 0);
	EvqPermit permit = evq_argument_permit(fcinfo, 1, false);
	EvqOutcome outcome = {0};
	EvqPublish *spinoffs = NULL;
	Datum spinoff_list;
	int spinoff_count = 0;
	const pg_uuid_t *ids;
	int id_count;
	Datum *elements;
	EvqStore *store;
	EvqEvent event;
	EvqVerdict verdict;

	evq_config_use();
	outcome.result = evq_argument_json(fcinfo, 2, "result");
	outcome.has_result = outcome.result != (Datum) 0;
	spinoff_list = evq_argument_json(fcinfo, 3, "spinoffs");
	if (spinoff_list != (Datum) 0)
		spinoffs = evq_argument_events(spinoff_list, "spinoff", true, &spinoff_count);

	store = evq_store_open("evq_succeed()");
	verdict = evq_lifecycle_succeed(store, evq_clock_now(), &event_id, permit, &outcome, spinoffs,
									spinoff_count, &event, &ids, &id_count);
	if (!is_accepted(verdict))
		evq_lifecycle_refuse(verdict, &event_id, &event);
	evq_store_close(store);

	elements = palloc(Max(id_count, 1) * sizeof(Datum));
	for (int i = 0; i < id_count; i++)
		elements[i] = UUIDPGetDatum(&ids[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, id_count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* Reports success of each. tell: NULL = nobody wants to know which. */
int
evq_work_succeed(EvqStore *store, const EvqReports *reports, EvqWorkReported tell, void *context)
{
	TimestampTz now = evq_clock_now();
	MemoryContext row_context = evq_work_make_row_context();
	int accepted = 0;

	evq_store_begin_batch(store);
	for (int i = 0; i < reports->count; i++)
	{
		MemoryContext previous = MemoryContextSwitchTo(row_context);
		EvqEvent event;
		bool is_so = is_accepted(
			succeed_plainly(store, now, &reports->event_ids[i], reports->permits[i], &event));

		CHECK_FOR_INTERRUPTS();
		accepted += is_so;
		if (tell != NULL)
			tell(context, &reports->event_ids[i], is_so);
		end_row(row_context, previous);
	}
	evq_store_end_batch(store);
	return accepted;
}

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

	put_row(context, values, nulls);
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
	EvqWanted wanted;
	uint64 configuration = evq_config_use();

	evq_argument_reports(fcinfo, 1, 2, &reports);
	evq_work_read_wanted(fcinfo, 0, 3, configuration, &wanted);
	InitMaterializedSRF(fcinfo, 0);
	store = evq_store_open("evq_succeed_and_acquire()");
	evq_work_warn_of_lost(reports.count - evq_work_succeed(store, &reports, NULL, NULL), reports.count);
	evq_work_acquire_next(&wanted, store);
	evq_store_close(store);
	return (Datum) 0;
}

/* ---------- failure ---------- */

Datum
evq_sql_fail(PG_FUNCTION_ARGS)
{
	pg_uuid_t event_id = evq_argument_event_id(fcinfo, 0);
	EvqPermit permit = evq_argument_permit(fcinfo, 2, false);
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
	verdict = evq_lifecycle_fail(store, evq_clock_now(), &event_id, permit, &report, &event);
	if (verdict != EVQ_ACCEPTED)
		evq_lifecycle_refuse(verdict, &event_id, &event);
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
		bool accepted = evq_lifecycle_fail(store, now, &reports->event_ids[i], reports->permits[i], report,
										   &event) == EVQ_ACCEPTED;
		Datum values[3] = {UUIDPGetDatum(&reports->event_ids[i]), BoolGetDatum(accepted), (Datum) 0};
		bool nulls[3] = {false, false, !accepted};

		CHECK_FOR_INTERRUPTS();
		accepted_count += accepted;
		if (accepted)
			values[2] = evq_argument_state_datum(event.state, enum_type);
		put_row(fcinfo, values, nulls);
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

/* Extends each permit. The columns of evq_heartbeat(). */
int
evq_work_extend(FunctionCallInfo fcinfo, const char *function, const EvqReports *reports, int64 extend_by)
{
	TimestampTz now = evq_clock_now();
	EvqStore *store = evq_store_open(function);
	MemoryContext row_context = evq_work_make_row_context();
	int held_count = 0;

	for (int i = 0; i < reports->count; i++)
	{
		MemoryContext previous = MemoryContextSwitchTo(row_context);
		EvqEvent event = {.state = EVQ_STATE_NONE};
		EvqVerdict verdict = evq_lifecycle_extend(store, now, &reports->event_ids[i], reports->permits[i],
												  extend_by, &event);
		bool held = verdict == EVQ_ACCEPTED;
		bool canceled = verdict != EVQ_NO_SUCH_EVENT && event.state == EVQ_STATE_CANCELED;
		Datum values[4] = {UUIDPGetDatum(&reports->event_ids[i]), BoolGetDatum(held), BoolGetDatum(canceled),
						   TimestampTzGetDatum(event.state_due_at)};
		bool nulls[4] = {false, false, false, !held};

		CHECK_FOR_INTERRUPTS();
		held_count += held;
		put_row(fcinfo, values, nulls);
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
give_back(const char *function, const pg_uuid_t *event_id, EvqPermit permit, bool snooze, TimestampTz run_at)
{
	EvqStore *store;
	EvqEvent event;
	EvqVerdict verdict;

	evq_config_use();
	store = evq_store_open(function);
	verdict = evq_lifecycle_give_back(store, evq_clock_now(), event_id, permit, snooze, run_at, &event);
	if (verdict != EVQ_ACCEPTED)
		evq_lifecycle_refuse(verdict, event_id, &event);
	evq_store_close(store);
}

Datum
evq_sql_snooze(PG_FUNCTION_ARGS)
{
	pg_uuid_t event_id = evq_argument_event_id(fcinfo, 0);
	EvqPermit permit = evq_argument_permit(fcinfo, 1, true);

	if (PG_ARGISNULL(2) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)) ||
		PG_GETARG_TIMESTAMPTZ(2) >= EVQ_END_OF_TIME)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("run_at is NULL or out of range"),
						errhint("Pass a time, or give the event back at once with evq_release().")));
	/* What was in the future when the transaction began may be past by now. */
	if (PG_GETARG_TIMESTAMPTZ(2) < Min(GetCurrentTransactionStartTimestamp(), evq_clock_now()))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("run_at lies in the past"),
						errhint("Pass a time to come, or give the event back at once with evq_release().")));
	give_back("evq_snooze()", &event_id, permit, true, PG_GETARG_TIMESTAMPTZ(2));
	PG_RETURN_VOID();
}

Datum
evq_sql_release(PG_FUNCTION_ARGS)
{
	pg_uuid_t event_id = evq_argument_event_id(fcinfo, 0);

	give_back("evq_release()", &event_id, evq_argument_permit(fcinfo, 1, true), false, 0);
	PG_RETURN_VOID();
}

Datum
evq_sql_suspend(PG_FUNCTION_ARGS)
{
	pg_uuid_t event_id = evq_argument_event_id(fcinfo, 0);
	EvqPermit permit = evq_argument_permit(fcinfo, 1, true);
	int64 timeout = evq_argument_duration(fcinfo, 2, "timeout", false);
	EvqStore *store;
	EvqEvent event;
	EvqVerdict verdict;

	evq_config_use();
	store = evq_store_open("evq_suspend()");
	verdict = evq_lifecycle_suspend(store, evq_clock_now(), &event_id, permit, timeout, &event);
	if (verdict != EVQ_ACCEPTED)
		evq_lifecycle_refuse(verdict, &event_id, &event);
	evq_store_close(store);
	/* Activated before it was suspended. */
	if (event.state != EVQ_STATE_SUSPENDED)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(event.state_due_at);
}
