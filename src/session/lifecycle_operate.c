/*
 * lifecycle_operate.c
 *		The verbs of operators and triggers: activate, cancel, retry.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "base/errors.h"
#include "rules/transition.h"
#include "rules/uuid.h"
#include "session/lifecycle_batch.h"
#include "session/lifecycle_internal.h"
#include "session/pending.h"
#include "tables/events.h"
#include "tables/history.h"

static void
refuse_verb(const pg_uuid_t *event_id, EvqState state, EvqVerb verb, const char *hint)
{
	char id[EVQ_UUID_TEXT_SIZE];

	ereport(ERROR, (errcode(EVQ_ERRCODE_WRONG_STATE),
					errmsg("event %s is %s: it cannot %s", evq_uuid_text(event_id, id),
						   evq_lifecycle_state_name(state), evq_transition_verb_name(verb)),
					errhint("%s", hint)));
}

/* Reads an event, or raises an error. */
static void
must_fetch_any(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, EvqEvent *event)
{
	EvqAttempt any = {.event_id = *event_id};
	EvqOutcome outcome;

	if ((!evq_lifecycle_fetch(store, now, &any, EVQ_TAKE_OUT_LIVE, event) &&
		 !evq_history_fetch(store, event_id, event, &outcome) &&
		 !evq_lifecycle_fetch_in_batch(store, event_id, event)) ||
		!evq_lifecycle_caller_may(EVQ_RIGHT_PUBLISH | EVQ_RIGHT_WORK, event))
		evq_lifecycle_refuse(EVQ_NO_SUCH_EVENT, event_id, NULL);
}

/* Reads an event that the verb applies to, or raises an error. */
static void
must_fetch(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, EvqVerb verb, const char *hint,
		   EvqEvent *event)
{
	must_fetch_any(store, now, event_id, event);
	if (!evq_transition_can(event->state, verb))
		refuse_verb(event_id, event->state, verb, hint);
}

/* The event's payload with the patch merged into it; its headers stay. */
static Datum
merge_payload(EvqStore *store, const EvqEvent *event, Datum patch, Datum *headers)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);
	Datum payload;

	if (!evq_events_fetch_payload(store, event, &payload, headers))
		ereport(ERROR, (errcode(EVQ_ERRCODE_WRONG_STATE), errmsg("the event's payload is missing"),
						errhint("Activate it without payload_patch, or cancel it.")));
	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(payload)))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("the event's payload is not a JSON object"),
						errhint("Activate it without payload_patch.")));
	payload = DirectFunctionCall2(jsonb_concat, payload, patch);
	if (event_type != NULL)
		evq_lifecycle_check_payload_size(event_type, payload);
	return payload;
}

/* Is this what the attempt was activated with? */
static bool
is_same_answer(EvqStore *store, const EvqEvent *event, Datum answer)
{
	Datum known = evq_events_fetch_answer(store, event);

	if (known == (Datum) 0 || answer == (Datum) 0)
		return known == answer;
	return DatumGetBool(DirectFunctionCall2(jsonb_eq, known, answer));
}

static void
refuse_activation(const pg_uuid_t *event_id, int sqlstate, const char *problem, const char *hint)
{
	char id[EVQ_UUID_TEXT_SIZE];

	ereport(ERROR, (errcode(sqlstate), errmsg("event %s %s", evq_uuid_text(event_id, id), problem),
					errhint("%s", hint)));
}

/*
 * Is the activation one that was told before, so that nothing is left to do?
 * Raises an error if it comes too late, or is the second one of its attempt.
 * An epoch that has ended meanwhile voids reports, but not the answer to what
 * was asked in it.
 */
static bool
is_repeated(EvqStore *store, const EvqEvent *event, const EvqActivation *activation)
{
	bool is_open = event->state == EVQ_STATE_BEING_PROCESSED || event->state == EVQ_STATE_SUSPENDED;

	if (activation->permit.given && event->answered_permit != 0 &&
		event->answered_permit == activation->permit.value)
	{
		if (is_same_answer(store, event, activation->answer))
			return true;
		refuse_activation(&event->event_id, EVQ_ERRCODE_WRONG_STATE,
						  "was activated in this attempt with another answer", "The first answer counts.");
	}
	if (activation->permit.given && (!is_open || event->permit != activation->permit.value))
		refuse_activation(&event->event_id, EVQ_ERRCODE_PERMIT_LOST,
						  psprintf("is %s: the attempt that this activation is for is over",
								   evq_lifecycle_state_name(event->state)),
						  "Drop the answer: a later attempt asks anew.");
	if (event->state == EVQ_STATE_BEING_PROCESSED && event->answered_permit == event->permit)
		refuse_activation(&event->event_id, EVQ_ERRCODE_WRONG_STATE, "was activated in this attempt already",
						  "The first answer counts; it is kept until the event is suspended.");
	return false;
}

/*
 * Wakes a suspended event, or sees to it that the attempt now running finds it
 * awake when it suspends it. The answer stays with the event until the next
 * suspension begins. The same activation of the same attempt, told again, changes
 * nothing. Returns the event's state. Raises EQ002 to EQ006.
 */
EvqState
evq_lifecycle_must_activate(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id,
							const EvqActivation *activation)
{
	EvqEvent event;
	EvqStoreResult result;
	bool is_early;

	if (activation->answer != (Datum) 0)
		evq_lifecycle_check_size("answer", activation->answer);
	do
	{
		must_fetch_any(store, now, event_id, &event);
		if (is_repeated(store, &event, activation))
			return event.state;
		is_early = event.state == EVQ_STATE_BEING_PROCESSED && evq_events_keeps_answers(store);
		if (!is_early && !evq_transition_can(event.state, EVQ_VERB_ACTIVATE))
			refuse_verb(event_id, event.state, EVQ_VERB_ACTIVATE,
						"Only an event that is suspended or being processed can be activated.");
		if (!is_early)
		{
			evq_lifecycle_move(&event, EVQ_VERB_ACTIVATE, EVQ_STATE_AWAITING_PROCESSING, now);
			event.attempt_scheduled_at = now;
		}
		event.answered_permit = event.permit;
		if (activation->payload_patch == (Datum) 0)
			result = evq_events_update_with_answer(store, &event, activation->answer);
		else
		{
			Datum headers;
			Datum payload = merge_payload(store, &event, activation->payload_patch, &headers);

			result = evq_events_update_with_payload(store, &event, activation->answer, payload, headers);
		}
	} while (result != EVQ_STORE_DONE);
	if (!is_early)
		evq_pending_changed(&event);
	return event.state;
}

/* Cancels a live event; false = it was canceled already. reason: NULL = none. Raises EQ002 or EQ003. */
bool
evq_lifecycle_must_cancel(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, const char *reason)
{
	EvqEvent event;
	EvqOutcome outcome = {.reason = evq_lifecycle_clip(reason, EVQ_MAX_ERROR_MESSAGE)};

	do
	{
		EvqAttempt any = {.event_id = *event_id};
		EvqOutcome found;

		if (!evq_lifecycle_fetch(store, now, &any, EVQ_TAKE_OUT_LIVE, &event))
		{
			if (evq_history_fetch(store, event_id, &event, &found) && event.state == EVQ_STATE_CANCELED &&
				evq_lifecycle_caller_may(EVQ_RIGHT_PUBLISH | EVQ_RIGHT_WORK, &event))
				return false;
			must_fetch(store, now, event_id, EVQ_VERB_CANCEL, "A finished event stays as it is.", &event);
			elog(ERROR, "evq: a finished event can be canceled");
		}
		if (!evq_lifecycle_caller_may(EVQ_RIGHT_PUBLISH | EVQ_RIGHT_WORK, &event))
			evq_lifecycle_refuse(EVQ_NO_SUCH_EVENT, event_id, NULL);
		if (!evq_transition_can(event.state, EVQ_VERB_CANCEL))
			refuse_verb(event_id, event.state, EVQ_VERB_CANCEL,
						"Its row was not written by evq: correct or delete it.");
		evq_lifecycle_move(&event, EVQ_VERB_CANCEL, EVQ_STATE_CANCELED, now);
	} while (evq_history_finish(store, &event, &outcome, true) != EVQ_STORE_DONE);
	evq_pending_changed(&event);
	return true;
}

/*
 * Brings a failed, expired or canceled event back, with all its attempts and a
 * new lifespan. Raises EQ002, EQ003 or EQ001.
 */
void
evq_lifecycle_must_retry(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id)
{
	EvqEvent event;

	do
	{
		const EvqEventType *event_type;

		must_fetch(store, now, event_id, EVQ_VERB_RETRY,
				   "Only a failed, expired or canceled event can be retried.", &event);
		event_type = evq_config_event_type(event.event_type_no);
		if (event_type == NULL || event_type->dropped)
			ereport(ERROR,
					(errcode(EVQ_ERRCODE_UNKNOWN_TYPE), errmsg("the event's type is no longer configured"),
					 errhint("Configure it again with evq_configure().")));
		evq_lifecycle_move(&event, EVQ_VERB_RETRY, EVQ_STATE_AWAITING_PROCESSING, now);
		event.attempts_used = 0;
		event.attempt_scheduled_at = now;
		event.due_at = evq_retry_add(now, event_type->lifespan);
		event.worker = NULL;
	} while (evq_history_revive(store, &event) != EVQ_STORE_DONE);
	evq_pending_changed(&event);
}
