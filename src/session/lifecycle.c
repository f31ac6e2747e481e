/*
 * lifecycle.c
 *		The verbs: the only code that changes an event's state. What all of them need.
 *
 * Each verb reads the event, decides, and writes. Where another transaction
 * has changed the row in between, the write tells so and the verb begins again
 * with the newest version; see store.c. A verb writes the event before anything
 * that follows from it (spinoffs, on-fail event, error), so a lost race leaves
 * nothing behind.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/jsonb.h"

#include "base/errors.h"
#include "base/guc.h"
#include "rules/json_size.h"
#include "rules/transition.h"
#include "rules/uuid.h"
#include "session/lifecycle_internal.h"
#include "session/pending.h"
#include "shared/shmem.h"
#include "tables/epoch.h"
#include "tables/events.h"

/*
 * The one place where an event's state changes, in memory: the caller writes it.
 * Raises an error where the transition table has no such row. Times of the new state
 * are infinity; what they are is for the caller to set.
 */
void
evq_lifecycle_move(EvqEvent *event, EvqVerb verb, EvqState to, TimestampTz now)
{
	int transition = evq_transition_find(event->state, verb, to);

	/* Once, since it was read. */
	Assert(event->transition == EVQ_NO_TRANSITION);
	if (transition == EVQ_NO_TRANSITION)
		elog(ERROR, "evq: no transition %s from state %d to state %d", evq_transition_verb_name(verb),
			 event->state, to);
	event->transition = transition;
	event->waited = now -
					(verb == EVQ_VERB_ACQUIRE ? event->attempt_scheduled_at : event->attempt_started_at);
	event->state = to;
	event->state_since = now;
	event->state_due_at = DT_NOEND;
}

/*
 * Writes the row of a live event that was moved, and remembers it for the
 * dispatcher. EVQ_STORE_CHANGED: nothing was done; the caller fetches it and decides
 * again. EVQ_STORE_BUSY: where it does not wait.
 */
EvqStoreResult
evq_lifecycle_write(EvqStore *store, EvqEvent *event, bool wait)
{
	EvqStoreResult result = evq_events_update(store, event, wait);

	if (result == EVQ_STORE_DONE)
		evq_pending_changed(event);
	return result;
}

/* The name of a state for error messages, also of one that evq does not know. */
const char *
evq_lifecycle_state_name(EvqState state)
{
	const char *name = evq_transition_state_name(state);

	return name == NULL ? "unknown" : name;
}

/* The epoch of permits, begun where need be: among others after a restore, whose events nobody counted. */
int32
evq_lifecycle_current_epoch(void)
{
	bool begun;
	int32 epoch = evq_epoch(&begun);

	if (begun)
		evq_shmem_recount();
	return epoch;
}

/*
 * May the current user do this with an event? rights: see evq_config_may(). If not,
 * the caller answers as if the event did not exist: nothing is to tell it from that.
 */
bool
evq_lifecycle_caller_may(int rights, const EvqEvent *event)
{
	return evq_config_may(GetUserId(), rights, event->flow_no);
}

/* Raises the error for a report that was not accepted. event: as read, where there is one. */
void
evq_lifecycle_refuse(EvqVerdict verdict, const pg_uuid_t *event_id, const EvqEvent *event)
{
	char id[EVQ_UUID_TEXT_SIZE];

	evq_uuid_text(event_id, id);
	switch (verdict)
	{
		case EVQ_NO_SUCH_EVENT:
			ereport(ERROR,
					(errcode(EVQ_ERRCODE_NO_SUCH_EVENT), errmsg("no event %s", id),
					 errhint(
						 "Look for it in evq.events; finished events are kept for their type's retention.")));
			break;
		case EVQ_PERMIT_LOST:
			ereport(ERROR,
					(errcode(EVQ_ERRCODE_PERMIT_LOST),
					 errmsg("permit for event %s is lost: it is %s", id,
							evq_lifecycle_state_name(event->state)),
					 errdetail("The permit ran out, was granted anew, or the event was canceled."),
					 errhint("Drop this attempt's result; extend permits in time with evq_heartbeat().")));
			break;
		default:
			ereport(ERROR, (errcode(EVQ_ERRCODE_WRONG_STATE),
							errmsg("event %s is %s, not being_processed", id,
								   evq_lifecycle_state_name(event->state)),
							errhint("Acquire it first; report each attempt once.")));
	}
}

/*
 * How long a value may be as text, for who prints it needs room for that: four
 * times what evq.max_payload allows it to be as jsonb, or four times what it is
 * where its type allows more.
 */
static Size
text_limit(const Jsonb *value)
{
	return 4 * Max(VARSIZE(value), (Size) evq_max_payload);
}

/* Is a jsonb value short enough as text for everybody to print it? */
bool
evq_lifecycle_is_readable(Datum value)
{
	const Jsonb *json = DatumGetJsonbP(value);

	return !evq_json_text_exceeds(json, text_limit(json));
}

static void
check_readable(const char *what, Datum value)
{
	if (!evq_lifecycle_is_readable(value))
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_PAYLOAD_TOO_LARGE), errmsg("the text of %s is too long", what),
				 errdetail("The limit is %zu bytes.", text_limit(DatumGetJsonbP(value))),
				 errhint("Numbers with large exponents print all their digits: pass them as strings.")));
}

/* Raises EQ005 for headers, results and answers ("what") that are larger than evq.max_payload, or too long as text. */
void
evq_lifecycle_check_size(const char *what, Datum value)
{
	Size size = VARSIZE_ANY_EXHDR(DatumGetPointer(value));

	if (size > evq_max_payload)
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_PAYLOAD_TOO_LARGE), errmsg("%s of %zu bytes is too large", what, size),
				 errdetail("The limit is %d bytes.", evq_max_payload),
				 errhint("Store large data in a table, or raise evq.max_payload.")));
	check_readable(what, value);
}

/* Raises EQ005 for a payload that is larger than its event type allows, or too long as text. */
void
evq_lifecycle_check_payload_size(const EvqEventType *event_type, Datum payload)
{
	Size limit = event_type->max_payload_bytes > 0 ? event_type->max_payload_bytes : evq_max_payload;
	Size size = VARSIZE_ANY_EXHDR(DatumGetPointer(payload));

	if (size > limit)
		ereport(
			ERROR,
			(errcode(EVQ_ERRCODE_PAYLOAD_TOO_LARGE),
			 errmsg("payload of %zu bytes is too large for event type \"%s\"", size, event_type->event_type),
			 errdetail("The limit is %zu bytes.", limit),
			 errhint(
				 "Store large data in a table and publish its key, or raise max_payload_bytes with evq_configure().")));
	check_readable("payload", payload);
}

/* How long a permit is to hold, in microseconds. asked: EVQ_DEFAULT_TIME = as long as the event type says, 0 where that is gone. */
int64
evq_lifecycle_permit_time(int64 asked, int32 event_type_no)
{
	const EvqEventType *event_type;

	if (asked != EVQ_DEFAULT_TIME)
		return asked;
	event_type = evq_config_event_type(event_type_no);
	return event_type == NULL ? 0 : event_type->attempt_timeout;
}

/*
 * A text of at most so many bytes, cut between characters where it is longer;
 * NULL for NULL. It may be the text itself.
 */
const char *
evq_lifecycle_clip(const char *text, int limit)
{
	int length;

	if (text == NULL)
		return NULL;
	length = strlen(text);
	return length <= limit ? text : pnstrdup(text, pg_mbcliplen(text, length, limit));
}

/* May the event be acquired when it has been dispatched, and not before? */
static bool
needs_dispatch(const EvqEvent *event)
{
	const EvqFlow *flow = evq_config_flow(event->flow_no);

	return event->state == EVQ_STATE_AWAITING_PROCESSING &&
		   (event->ordered || flow == NULL || evq_flow_is_regulated(flow));
}

static bool
is_group_paused(const EvqEvent *event, TimestampTz now)
{
	return event->group_key != NULL &&
		   evq_config_is_group_paused(event->flow_no, evq_change_group_hash(event->group_key), now);
}

/* May an attempt begin: by the event's type, flow and group, and its lifespan? */
static bool
may_begin(const EvqEvent *event, TimestampTz now)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);
	const EvqFlow *flow = evq_config_flow(event->flow_no);

	return event_type != NULL && !event_type->is_suspended && flow != NULL &&
		   !evq_flow_is_paused(flow, now) && event->due_at > now && !is_group_paused(event, now);
}

static bool
is_waiting_and_due(const EvqEvent *event, TimestampTz now)
{
	return event->state == EVQ_STATE_AWAITING_PROCESSING && event->attempt_scheduled_at <= now;
}

/* Does something hold the event up that will pass: its type, its flow, its group, or that it was not dispatched? */
bool
evq_lifecycle_is_held_up(const EvqEvent *event, TimestampTz now)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);

	return (event_type != NULL && event_type->is_suspended) ||
		   evq_config_is_flow_paused(event->flow_no, now) || is_group_paused(event, now) ||
		   needs_dispatch(event);
}

/* May the event be dispatched now, by its own row and the configuration? */
bool
evq_lifecycle_may_dispatch(const EvqEvent *event, TimestampTz now)
{
	return is_waiting_and_due(event, now) && may_begin(event, now);
}

/* May the event be acquired now, by its own row and the configuration? */
bool
evq_lifecycle_may_acquire(const EvqEvent *event, TimestampTz now)
{
	return (event->state == EVQ_STATE_DISPATCHED || is_waiting_and_due(event, now)) &&
		   may_begin(event, now) && !needs_dispatch(event);
}
