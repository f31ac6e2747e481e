/*
 * lifecycle_end.c
 *		How an event, or an attempt, ends without success.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "base/guc.h"
#include "rules/uuid.h"
#include "session/lifecycle_internal.h"
#include "session/pending.h"
#include "tables/events.h"
#include "tables/history.h"

static void
push_string(EvqJsonbBuilder *builder, const char *key, const char *value)
{
	JsonbValue item = {.type = jbvString};

	item.val.string.val = unconstify(char *, key);
	item.val.string.len = strlen(key);
	EVQ_JSONB_PUSH(builder, WJB_KEY, &item);
	item.val.string.val = unconstify(char *, value);
	item.val.string.len = strlen(value);
	EVQ_JSONB_PUSH(builder, WJB_VALUE, &item);
}

/* The payload of an on-fail event: what failed, why, and its payload. */
static Datum
on_fail_payload(EvqStore *store, const EvqEvent *event, const char *event_type, const char *reason)
{
	EvqJsonbBuilder builder = {0};
	JsonbValue key = {.type = jbvString};
	JsonbValue item;
	char id[EVQ_UUID_TEXT_SIZE];
	Datum payload;
	Datum headers;

	EVQ_JSONB_PUSH(&builder, WJB_BEGIN_OBJECT, NULL);
	push_string(&builder, "event_id", evq_uuid_text(&event->event_id, id));
	push_string(&builder, "event_type", event_type);
	push_string(&builder, "state", evq_lifecycle_state_name(event->state));
	push_string(&builder, "error", reason);
	key.val.string.val = "attempts";
	key.val.string.len = strlen("attempts");
	EVQ_JSONB_PUSH(&builder, WJB_KEY, &key);
	item.type = jbvNumeric;
	item.val.numeric = DatumGetNumeric(
		DirectFunctionCall1(int4_numeric, Int32GetDatum(event->attempts_used)));
	EVQ_JSONB_PUSH(&builder, WJB_VALUE, &item);
	if (evq_events_fetch_payload(store, event, &payload, &headers) && evq_lifecycle_is_readable(payload))
	{
		key.val.string.val = "payload";
		key.val.string.len = strlen("payload");
		EVQ_JSONB_PUSH(&builder, WJB_KEY, &key);
		JsonbToJsonbValue(DatumGetJsonbP(payload), &item);
		EVQ_JSONB_PUSH(&builder, WJB_VALUE, &item);
	}
	EVQ_JSONB_PUSH(&builder, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(builder.result));
}

/* Adds what is no failure of an attempt to the errors of an event: a note, or that it expired, as one that fails has an error too. */
void
evq_lifecycle_record_error(EvqStore *store, const EvqEvent *event, TimestampTz now, const char *outcome,
						   int attempt, const char *message)
{
	EvqFailure failure = {
		.event_id = event->event_id,
		.failed_at = now,
		.attempt = attempt,
		.outcome = outcome,
		.error_message = message,
		.worker = event->worker,
	};

	evq_events_insert_error(store, &failure);
}

/* The type of the event to publish when this one fails for good; NULL = none, and why where one was asked for. */
static const EvqEventType *
on_fail_event_type(const EvqEvent *event, const EvqEventType *event_type, const char **problem)
{
	const EvqEventType *wanted = NULL;

	if (event->on_fail_event_type_no != 0)
		wanted = evq_config_event_type(event->on_fail_event_type_no);
	else if (event_type != NULL && event_type->on_fail_event_type[0] != '\0')
		wanted = evq_config_find_event_type(event_type->on_fail_event_type);
	else
		return NULL;

	if (wanted == NULL || wanted->dropped || wanted->flow_no != event->flow_no)
		*problem = "on-fail event not published: its event type is not configured in this flow";
	else if (event->chain_depth >= evq_max_chain_depth)
		*problem = "on-fail event not published: evq.max_chain_depth is reached";
	else
		return wanted;
	return NULL;
}

/*
 * Ends an event, already moved to failed or expired, and publishes its on-fail
 * event, if any. reason: for the history and that event's payload. wait, and what it
 * returns: see evq_rows_update().
 */
EvqStoreResult
evq_lifecycle_finish_badly(EvqStore *store, EvqEvent *event, TimestampTz now, const char *reason, bool wait)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);
	const char *problem = NULL;
	const EvqEventType *follower = on_fail_event_type(event, event_type, &problem);
	EvqOutcome outcome = {.reason = reason};
	EvqEvent child;
	EvqStoreResult result;

	if (follower != NULL)
	{
		EvqPublish request = {.event_type = follower, .flow_id = event->flow_id};

		evq_lifecycle_make_event(&child, &request, EVQ_ORIGIN_ON_FAIL, event, now);
		outcome.spinoff_ids = &child.event_id;
		outcome.spinoff_count = 1;
	}

	result = evq_history_finish(store, event, &outcome, wait);
	if (result != EVQ_STORE_DONE)
		return result;
	evq_pending_changed(event);
	if (follower != NULL)
	{
		Datum payload = on_fail_payload(store, event, event_type == NULL ? "" : event_type->event_type,
										reason);

		evq_lifecycle_insert_events(store, &child, &payload, NULL, 1);
	}
	if (problem != NULL)
		evq_lifecycle_record_error(store, event, now, "note", event->attempts_used, problem);
	return EVQ_STORE_DONE;
}

/* Why an event ends with its lifespan. */
static const char *
expiry_reason(const EvqEvent *event)
{
	if (event->attempt_scheduled_at >= event->due_at)
		return "the lifespan is over: the next attempt was to begin at its end or later";
	if (event->permit == 0)
		return "the lifespan is over, and no worker has acquired the event";
	return "the lifespan is over";
}

/* Ends an event whose lifespan is over; that too is an error on record. It waits for nobody. */
EvqStoreResult
evq_lifecycle_expire(EvqStore *store, EvqEvent *event, TimestampTz now)
{
	const char *reason = expiry_reason(event);
	EvqStoreResult result;

	evq_lifecycle_move(event, event->permit == 0 ? EVQ_VERB_LIFESPAN_UNUSED : EVQ_VERB_LIFESPAN_OVER,
					   EVQ_STATE_EXPIRED, now);
	result = evq_lifecycle_finish_badly(store, event, now, reason, false);
	if (result == EVQ_STORE_DONE)
		evq_lifecycle_record_error(store, event, now, "expired", 0, reason);
	return result;
}

/*
 * Ends an attempt without success, by this verb: the event waits for the next
 * attempt where the configuration leaves it one, else it fails. wait, and what it
 * returns: see evq_rows_update().
 */
EvqStoreResult
evq_lifecycle_end_attempt(EvqStore *store, EvqEvent *event, TimestampTz now, EvqVerb verb,
						  const EvqFailureReport *report, bool wait)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);
	EvqFailure failure = {
		.event_id = event->event_id,
		.failed_at = now,
		.attempt = event->attempts_used + 1,
		.error_message = evq_lifecycle_clip(report->error_message, EVQ_MAX_ERROR_MESSAGE),
		.stack_trace = evq_lifecycle_clip(report->stack_trace, EVQ_MAX_STACK_TRACE),
		.worker = event->worker,
	};
	const char *reason = failure.error_message;
	EvqStoreResult result;
	TimestampTz next_at;
	bool again = false;

	event->attempts_used++;
	if (report->retryable && event_type != NULL)
	{
		EvqRetryRule rule = evq_config_retry_rule(event_type);
		int64 delay = report->retry_in;

		if (delay == EVQ_DEFAULT_TIME)
			delay = evq_retry_delay(&rule, event->attempts_used + 1, pg_prng_double(&pg_global_prng_state));
		again = evq_retry_next(&rule, event->attempts_used, now, event->due_at, delay, &next_at);
		if (!again && event->attempts_used < rule.max_attempts)
			reason = psprintf("%s (attempt %d of %d would begin after the end of the lifespan)", reason,
							  event->attempts_used + 1, rule.max_attempts);
	}

	if (again)
	{
		evq_lifecycle_move(event, verb, EVQ_STATE_AWAITING_PROCESSING, now);
		event->attempt_scheduled_at = next_at;
		result = evq_lifecycle_write(store, event, wait);
	}
	else
	{
		evq_lifecycle_move(event, verb, EVQ_STATE_FAILED, now);
		result = evq_lifecycle_finish_badly(store, event, now, reason, wait);
	}
	if (result == EVQ_STORE_DONE)
	{
		failure.outcome = again ? "retry" : "failed";
		evq_events_insert_error(store, &failure);
	}
	return result;
}
