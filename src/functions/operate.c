/*
 * operate.c
 *		SQL functions that an operator, or the trigger of a suspended event, calls.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "base/clock.h"
#include "base/errors.h"
#include "session/arguments.h"
#include "session/pending.h"
#include "tables/audit.h"
#include "tables/home.h"

PG_FUNCTION_INFO_V1(evq_sql_activate);
PG_FUNCTION_INFO_V1(evq_sql_cancel);
PG_FUNCTION_INFO_V1(evq_sql_retry);
PG_FUNCTION_INFO_V1(evq_sql_attempts_that_fit);
PG_FUNCTION_INFO_V1(evq_sql_configuration_changed);
PG_FUNCTION_INFO_V1(evq_sql_pause_changed);
PG_FUNCTION_INFO_V1(evq_sql_settle_home);

Datum
evq_sql_activate(PG_FUNCTION_ARGS)
{
	pg_uuid_t event_id = evq_argument_event_id(fcinfo, 0);
	EvqActivation activation = {0};
	Oid result_type = get_func_rettype(fcinfo->flinfo->fn_oid);
	EvqStore *store;
	EvqState state;

	activation.payload_patch = evq_argument_json(fcinfo, 1, "payload_patch");
	if (activation.payload_patch != (Datum) 0 && !JB_ROOT_IS_OBJECT(DatumGetJsonbP(activation.payload_patch)))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("payload_patch is not a JSON object"),
						errhint("Pass an object with the keys to set, or NULL.")));
	/* Before 0.3 there were two arguments, and no result. */
	if (PG_NARGS() > 2)
	{
		activation.answer = evq_argument_json(fcinfo, 2, "answer");
		activation.permit = evq_argument_permit(fcinfo, 3, false);
	}
	evq_config_use();
	store = evq_store_open("evq_activate()");
	state = evq_lifecycle_must_activate(store, evq_clock_now(), &event_id, &activation);
	evq_store_close(store);
	if (result_type == VOIDOID)
		PG_RETURN_VOID();
	PG_RETURN_DATUM(evq_argument_state_datum(state, result_type));
}

Datum
evq_sql_cancel(PG_FUNCTION_ARGS)
{
	pg_uuid_t event_id = evq_argument_event_id(fcinfo, 0);
	const char *reason = evq_argument_text(fcinfo, 1);
	EvqStore *store;
	bool changed;

	evq_config_use();
	store = evq_store_open("evq_cancel()");
	changed = evq_lifecycle_must_cancel(store, evq_clock_now(), &event_id, reason);
	evq_store_close(store);
	if (changed)
		evq_audit_event("cancel", &event_id, reason);
	PG_RETURN_VOID();
}

Datum
evq_sql_retry(PG_FUNCTION_ARGS)
{
	pg_uuid_t event_id = evq_argument_event_id(fcinfo, 0);
	EvqStore *store;

	evq_config_use();
	store = evq_store_open("evq_retry()");
	evq_lifecycle_must_retry(store, evq_clock_now(), &event_id);
	evq_store_close(store);
	evq_audit_event("retry", &event_id, NULL);
	PG_RETURN_VOID();
}

/* How many attempts can begin within a lifespan, if each fails at once? */
Datum
evq_sql_attempts_that_fit(PG_FUNCTION_ARGS)
{
	int max_attempts = PG_GETARG_INT32(0);
	int64 left = evq_config_rows_interval(PG_GETARG_DATUM(1));
	EvqRetryRule rule = {
		.backoff_factor = PG_GETARG_FLOAT8(3),
		.max_delay = evq_config_rows_interval(PG_GETARG_DATUM(4)),
	};
	Datum *elements = evq_argument_elements(fcinfo, 2, "attempt_delays", INTERVALOID, &rule.delay_count);
	int64 *delays = palloc(Max(rule.delay_count, 1) * sizeof(int64));
	int attempts = 0;

	for (int i = 0; i < rule.delay_count; i++)
		delays[i] = evq_config_rows_interval(elements[i]);
	rule.delays = delays;
	while (rule.delay_count > 0 && attempts < max_attempts)
	{
		left -= evq_retry_delay(&rule, attempts + 1, 0.5);
		if (left <= 0)
			break;
		attempts++;
	}
	PG_RETURN_INT32(attempts);
}

/* The trigger of the configuration tables. */
Datum
evq_sql_configuration_changed(PG_FUNCTION_ARGS)
{
	evq_config_invalidate();
	evq_pending_look();
	PG_RETURN_POINTER(NULL);
}

/* The trigger of evq.pause, which counts as configuration. */
Datum
evq_sql_pause_changed(PG_FUNCTION_ARGS)
{
	evq_config_invalidate();
	evq_pending_pause_changed();
	PG_RETURN_POINTER(NULL);
}

/* Finds out whether this database is a copy, before it is resumed. */
Datum
evq_sql_settle_home(PG_FUNCTION_ARGS)
{
	evq_home_settle();
	PG_RETURN_VOID();
}
