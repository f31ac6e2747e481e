/*
 * lifecycle_report.c
 *		The verbs of workers: acquire, and what they report.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/guc.h"
#include "base/random.h"
#include "session/lifecycle_batch.h"
#include "session/lifecycle_internal.h"
#include "session/pending.h"
#include "tables/events.h"
#include "tables/history.h"

/* Ends an event, already moved to succeeded; of a type without retention it leaves nothing. */
static EvqStoreResult
finish_well(EvqStore *store, const EvqEvent *event, const EvqOutcome *outcome)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);

	if (event_type != NULL && event_type->retention == 0)
		return evq_events_delete(store, event);
	return evq_history_finish(store, event, outcome, true);
}

/* A permit that differs from the last one of the event. */
int64
evq_lifecycle_draw_permit(int64 last)
{
	int64 permit;

	do
		permit = EVQ_PERMIT_MAKE(evq_lifecycle_current_epoch(), evq_random());
	while (permit == last);
	return permit;
}

/*
 * Ends an event just acquired whose payload nobody could read: what was stored
 * before its text was measured would fail whoever acquires it, and all that was
 * acquired with it.
 */
void
evq_lifecycle_end_unreadable(EvqStore *store, EvqEvent *event, TimestampTz now)
{
	static const EvqFailureReport report = {
		.error_message =
			"the payload is too long as text: numbers with large exponents print all their digits",
	};

	pg_uuid_t event_id = event->event_id;

	if (!evq_events_fetch(store, &event_id, event) ||
		evq_lifecycle_end_attempt(store, event, now, EVQ_VERB_FAIL, &report, false) != EVQ_STORE_DONE)
		elog(ERROR, "evq: could not end an event with an unreadable payload");
}

/*
 * Acquires an event; see EvqGrant. acquired: set where it was granted. It waits for
 * nobody. An event whose payload nobody could read ends here, and is refused.
 */
EvqGrant
evq_lifecycle_acquire(EvqStore *store, TimestampTz now, const EvqAcquisition *wanted, EvqAcquired *acquired)
{
	EvqEvent *event = &acquired->event;
	int64 permit_for;

	for (;;)
	{
		if (!evq_events_fetch(store, wanted->event_id, event))
			return evq_lifecycle_acquire_in_batch(store, now, wanted, acquired);
		if (!evq_lifecycle_caller_may(EVQ_RIGHT_WORK, event))
			return EVQ_GRANT_REFUSED;
		if (!evq_lifecycle_may_acquire(event, now))
			return evq_lifecycle_is_held_up(event, now) ? EVQ_GRANT_LATER : EVQ_GRANT_REFUSED;
		/* During a restore an event may be there before its payload. */
		if (!evq_events_fetch_payload(store, event, &acquired->payload, &acquired->headers))
			return EVQ_GRANT_REFUSED;

		permit_for = evq_lifecycle_permit_time(wanted->permit_for, event->event_type_no);
		evq_lifecycle_move(event, EVQ_VERB_ACQUIRE, EVQ_STATE_BEING_PROCESSED, now);
		event->state_due_at = Min(evq_retry_add(now, permit_for), event->due_at);
		event->permit = evq_lifecycle_draw_permit(event->permit);
		event->worker = wanted->worker;
		switch (evq_events_update(store, event, false))
		{
			case EVQ_STORE_DONE:
				/* A permit lost in a crash would be granted again, to somebody else. */
				ForceSyncCommit();
				evq_pending_changed(event);
				if (!evq_lifecycle_is_readable(acquired->payload) ||
					(acquired->headers != (Datum) 0 && !evq_lifecycle_is_readable(acquired->headers)))
				{
					evq_lifecycle_end_unreadable(store, event, now);
					return EVQ_GRANT_REFUSED;
				}
				return EVQ_GRANTED;
			case EVQ_STORE_BUSY:
				return EVQ_GRANT_LATER;
			case EVQ_STORE_CHANGED:
				break;
		}
	}
}

static EvqVerdict
judge_finished(EvqStore *store, const EvqAttempt *attempt, EvqEvent *event, EvqOutcome *outcome)
{
	if ((!evq_history_fetch(store, &attempt->event_id, event, outcome) &&
		 !evq_lifecycle_fetch_in_batch(store, &attempt->event_id, event)) ||
		!evq_lifecycle_caller_may(EVQ_RIGHT_WORK, event))
		return EVQ_NO_SUCH_EVENT;
	if (!attempt->permit.given)
		return EVQ_WRONG_STATE;
	if (attempt->permit.value != event->permit || event->state != EVQ_STATE_SUCCEEDED)
		return EVQ_PERMIT_LOST;
	return EVQ_ACCEPTED_BEFORE;
}

/*
 * Reads the event and judges whether the holder of the permit may report on
 * it. or_suspended: also when the event was suspended with that very permit.
 */
static EvqVerdict
fetch_held(EvqStore *store, TimestampTz now, const EvqAttempt *attempt, bool or_suspended, EvqEvent *event,
		   EvqOutcome *outcome)
{
	if (!evq_lifecycle_fetch(store, now, attempt, EVQ_TAKE_OUT_HELD, event))
		return judge_finished(store, attempt, event, outcome);
	if (!evq_lifecycle_caller_may(EVQ_RIGHT_WORK, event))
		return EVQ_NO_SUCH_EVENT;
	if (!attempt->permit.given)
		return event->state == EVQ_STATE_BEING_PROCESSED ? EVQ_ACCEPTED : EVQ_WRONG_STATE;
	if (attempt->permit.value != event->permit ||
		(event->state != EVQ_STATE_BEING_PROCESSED &&
		 !(or_suspended && event->state == EVQ_STATE_SUSPENDED)) ||
		EVQ_PERMIT_EPOCH(event->permit) != evq_lifecycle_current_epoch())
		return EVQ_PERMIT_LOST;
	return EVQ_ACCEPTED;
}

/* The same for reports that, other than a success, cannot be repeated. */
static EvqVerdict
fetch_running(EvqStore *store, TimestampTz now, const EvqAttempt *attempt, bool or_suspended, EvqEvent *event)
{
	EvqOutcome found;
	EvqVerdict verdict = fetch_held(store, now, attempt, or_suspended, event, &found);

	return verdict == EVQ_ACCEPTED_BEFORE ? EVQ_WRONG_STATE : verdict;
}

/*
 * Success, with its spinoffs, which go on in the event's flow. A report of many
 * (success->outcome is NULL) ends no event that its worker has suspended: there the
 * success is that of the suspending. Raises an error, and so accepts nothing, where
 * the result or a spinoff is not as it may be.
 */
EvqVerdict
evq_lifecycle_succeed(EvqStore *store, TimestampTz now, const EvqAttempt *attempt, EvqSuccess *success,
					  EvqEvent *event)
{
	const EvqOutcome *outcome = success->outcome;
	EvqPublish *spinoffs = success->spinoffs;
	int spinoff_count = success->spinoff_count;
	bool in_passing = outcome == NULL;
	EvqPosition position;
	EvqEvent *children = NULL;
	pg_uuid_t *ids = NULL;
	const EvqPublish **published = NULL;

	if (!in_passing && outcome->has_result)
		evq_lifecycle_check_size("result", outcome->result);
	for (;;)
	{
		EvqOutcome written = {0};
		EvqVerdict verdict = fetch_held(store, now, attempt, !in_passing, event, &written);

		if (verdict != EVQ_ACCEPTED)
		{
			success->spinoff_ids = written.spinoff_ids;
			success->spinoff_id_count = written.spinoff_count;
			return verdict;
		}

		if (spinoff_count > 0 && children == NULL)
		{
			if (event->chain_depth >= evq_max_chain_depth)
				ereport(ERROR, (errcode(EVQ_ERRCODE_LIMIT_REACHED),
								errmsg("chain of events is %d long", event->chain_depth + 1),
								errhint("Publish the next event on its own, or raise evq.max_chain_depth.")));
			children = palloc(spinoff_count * sizeof(EvqEvent));
			ids = palloc(spinoff_count * sizeof(pg_uuid_t));
			published = palloc(spinoff_count * sizeof(EvqPublish *));
			evq_position_begin(&position, "spinoff");
			for (int i = 0; i < spinoff_count; i++)
			{
				CHECK_FOR_INTERRUPTS();
				position.index = i;
				if (spinoffs[i].event_type->flow_no != event->flow_no)
					ereport(
						ERROR,
						(errcode(EVQ_ERRCODE_BAD_ARGUMENT),
						 errmsg("spinoff event type \"%s\" is of another flow",
								spinoffs[i].event_type->event_type),
						 errhint(
							 "Spinoffs go on in the same flow; publish into another flow with evq_publish().")));
				spinoffs[i].flow_id = event->flow_id;
				evq_lifecycle_check_request(&spinoffs[i]);
				evq_lifecycle_make_event(&children[i], &spinoffs[i], EVQ_ORIGIN_SPINOFF, event, now);
				ids[i] = children[i].event_id;
				published[i] = &spinoffs[i];
			}
			evq_position_end(&position);
		}

		if (!in_passing)
			written = *outcome;
		evq_lifecycle_move(event, EVQ_VERB_SUCCEED, EVQ_STATE_SUCCEEDED, now);
		event->attempts_used++;
		written.spinoff_ids = ids;
		written.spinoff_count = spinoff_count;
		if (finish_well(store, event, &written) == EVQ_STORE_DONE)
			break;
	}

	evq_pending_changed(event);
	if (spinoff_count > 0)
		evq_lifecycle_insert_requested(store, children, published, spinoff_count);
	success->spinoff_ids = ids;
	success->spinoff_id_count = spinoff_count;
	return EVQ_ACCEPTED;
}

/*
 * Failure: the attempt is over, and the engine decides whether there is
 * another. event: as it is then, or was found.
 */
EvqVerdict
evq_lifecycle_fail(EvqStore *store, TimestampTz now, const EvqAttempt *attempt,
				   const EvqFailureReport *report, EvqEvent *event)
{
	for (;;)
	{
		EvqVerdict verdict = fetch_running(store, now, attempt, true, event);

		if (verdict != EVQ_ACCEPTED)
			return verdict;
		if (evq_lifecycle_end_attempt(store, event, now, EVQ_VERB_FAIL, report, true) == EVQ_STORE_DONE)
			return EVQ_ACCEPTED;
	}
}

/*
 * Extends a permit; on PERMIT_LOST the event's state tells whether it was
 * canceled. That of a suspended event holds as long as the suspension.
 */
EvqVerdict
evq_lifecycle_extend(EvqStore *store, TimestampTz now, const EvqAttempt *attempt, int64 extend_by,
					 EvqEvent *event)
{
	for (;;)
	{
		EvqVerdict verdict = fetch_running(store, now, attempt, true, event);

		if (verdict != EVQ_ACCEPTED || event->state == EVQ_STATE_SUSPENDED)
			return verdict;
		extend_by = evq_lifecycle_permit_time(extend_by, event->event_type_no);
		event->state_due_at = Min(evq_retry_add(now, extend_by), event->due_at);
		if (evq_lifecycle_write(store, event, true) == EVQ_STORE_DONE)
			return EVQ_ACCEPTED;
	}
}

/* Gives an event back, at once or until run_at. */
EvqVerdict
evq_lifecycle_release(EvqStore *store, TimestampTz now, const EvqAttempt *attempt, const EvqRelease *release,
					  EvqEvent *event)
{
	for (;;)
	{
		EvqVerdict verdict = fetch_running(store, now, attempt, false, event);

		if (verdict != EVQ_ACCEPTED)
			return verdict;
		evq_lifecycle_move(event, release->snooze ? EVQ_VERB_SNOOZE : EVQ_VERB_RELEASE,
						   EVQ_STATE_AWAITING_PROCESSING, now);
		/* Past the end of the lifespan there is no attempt: it expires there. */
		event->attempt_scheduled_at = release->snooze ? Min(Max(release->run_at, now), event->due_at) : now;
		if (evq_lifecycle_write(store, event, true) == EVQ_STORE_DONE)
			break;
	}
	if (release->snooze && release->run_at >= event->due_at)
		ereport(NOTICE, (errmsg("run_at lies past the end of the event's lifespan: it expires at %s",
								timestamptz_to_str(event->due_at)),
						 errhint("Pass an earlier time, or give the event type a longer lifespan.")));
	return EVQ_ACCEPTED;
}

/*
 * Puts an event to sleep until it is activated or the timeout passes; it is
 * awake at once when this attempt was activated before.
 */
EvqVerdict
evq_lifecycle_suspend(EvqStore *store, TimestampTz now, const EvqAttempt *attempt, int64 timeout,
					  EvqEvent *event)
{
	for (;;)
	{
		EvqVerdict verdict = fetch_running(store, now, attempt, false, event);

		if (verdict != EVQ_ACCEPTED)
			return verdict;
		if (event->answered_permit == event->permit)
		{
			evq_lifecycle_move(event, EVQ_VERB_SUSPEND, EVQ_STATE_AWAITING_PROCESSING, now);
			event->attempt_scheduled_at = now;
		}
		else
		{
			evq_lifecycle_move(event, EVQ_VERB_SUSPEND, EVQ_STATE_SUSPENDED, now);
			event->state_due_at = timeout == EVQ_DEFAULT_TIME
									  ? event->due_at
									  : Min(evq_retry_add(now, timeout), event->due_at);
			/* What was answered before is the answer to another question. */
			event->answered_permit = 0;
		}
		if (evq_lifecycle_write(store, event, true) == EVQ_STORE_DONE)
			return EVQ_ACCEPTED;
	}
}
