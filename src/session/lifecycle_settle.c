/*
 * lifecycle_settle.c
 *		The verbs of the engine: what the clock asks, and dispatch.
 */
#include "postgres.h"

#include "session/lifecycle_internal.h"
#include "tables/events.h"

/* Does what the clock asks of a live event; see EvqSettled. event: as it is then, unless it is busy or gone. It waits for nobody. */
EvqSettled
evq_lifecycle_settle(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, EvqEvent *event)
{
	EvqFailureReport timeout = {
		.error_message = "the permit ran out without a report",
		.retryable = true,
		.retry_in = EVQ_DEFAULT_TIME,
	};
	const EvqEventType *event_type;
	EvqStoreResult result = EVQ_STORE_DONE;
	EvqSettled settled;

	do
	{
		if (!evq_events_fetch(store, event_id, event))
			return EVQ_SETTLED_GONE;

		settled = EVQ_SETTLED_TIMED_OUT;
		switch (event->state)
		{
			case EVQ_STATE_AWAITING_PROCESSING:
			case EVQ_STATE_DISPATCHED:
				if (event->due_at <= now)
				{
					result = evq_lifecycle_expire(store, event, now);
					settled = EVQ_SETTLED_EXPIRED;
				}
				else if (event->state == EVQ_STATE_DISPATCHED && event->state_due_at <= now)
				{
					evq_lifecycle_move(event, EVQ_VERB_DISPATCH_TIMEOUT, EVQ_STATE_AWAITING_PROCESSING, now);
					result = evq_lifecycle_write(store, event, false);
				}
				else
					return EVQ_SETTLED_NOTHING;
				break;

			case EVQ_STATE_BEING_PROCESSED:
				if (event->state_due_at > now)
					return EVQ_SETTLED_NOTHING;
				result = evq_lifecycle_end_attempt(store, event, now, EVQ_VERB_PERMIT_TIMEOUT, &timeout,
												   false);
				break;

			case EVQ_STATE_SUSPENDED:
				if (event->state_due_at > now)
					return EVQ_SETTLED_NOTHING;
				event_type = evq_config_event_type(event->event_type_no);
				if (event_type != NULL && event_type->retry_on_suspend_timeout && event->due_at > now)
				{
					evq_lifecycle_move(event, EVQ_VERB_SUSPEND_TIMEOUT, EVQ_STATE_AWAITING_PROCESSING, now);
					event->attempt_scheduled_at = now;
					result = evq_lifecycle_write(store, event, false);
				}
				else
				{
					evq_lifecycle_move(event, EVQ_VERB_SUSPEND_TIMEOUT, EVQ_STATE_EXPIRED, now);
					result = evq_lifecycle_finish_badly(store, event, now, "the suspension timed out", false);
					if (result == EVQ_STORE_DONE)
						evq_lifecycle_record_error(store, event, now, "expired", event->attempts_used + 1,
												   "the suspension timed out");
					settled = EVQ_SETTLED_EXPIRED;
				}
				break;

			default:
				/* A row that evq did not write: not ours to judge. */
				return EVQ_SETTLED_NOTHING;
		}
	} while (result == EVQ_STORE_CHANGED);
	return result == EVQ_STORE_BUSY ? EVQ_SETTLED_BUSY : settled;
}

/* Marks an event, just read and due, as dispatched; false = somebody else is changing it, and it is not. It waits for nobody. */
bool
evq_lifecycle_dispatch(EvqStore *store, TimestampTz now, EvqEvent *event, int64 dispatch_timeout)
{
	evq_lifecycle_move(event, EVQ_VERB_DISPATCH, EVQ_STATE_DISPATCHED, now);
	event->state_due_at = Min(evq_retry_add(now, dispatch_timeout), event->due_at);
	return evq_lifecycle_write(store, event, false) == EVQ_STORE_DONE;
}
