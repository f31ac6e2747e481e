/*
 * message.c
 *		The texts of evq's notifications, in JSON.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/formatting.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "dispatcher/message.h"
#include "rules/json_size.h"
#include "rules/retry.h"
#include "rules/transition.h"
#include "rules/uuid.h"
#include "tables/events.h"

/* NOTIFY takes less than this. */
#define MAX_MESSAGE 8000

/* The text of a jsonb value of more bytes than this is longer than that, and one that is longer than this is not made. */
#define MAX_STORED (8 * MAX_MESSAGE)

static void
append_time(StringInfo message, const char *key, TimestampTz at)
{
	char text[MAXDATELEN + 1];

	JsonEncodeDateTime(text, TimestampTzGetDatum(at), TIMESTAMPTZOID, NULL);
	appendStringInfo(message, ",\"%s\":\"%s\"", key, text);
}

/*
 * The part that all messages about an event have: ids and names. An event that is
 * gone has no flow_id (NULL). Names of types and flows need no escapes.
 */
static void
append_event(StringInfo message, const EvqEvent *event)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);
	const EvqFlow *flow = evq_config_flow(event->flow_no);
	char id[EVQ_UUID_TEXT_SIZE];

	appendStringInfo(message, "\"event_id\":\"%s\",\"event_type\":\"%s\",\"flow_type\":\"%s\"",
					 evq_uuid_text(&event->event_id, id), event_type == NULL ? "" : event_type->event_type,
					 flow == NULL ? "" : flow->flow_type);
	if (event->flow_id == NULL)
		return;
	appendStringInfoString(message, ",\"flow_id\":");
	escape_json(message, event->flow_id);
}

/* An event, the one fetched last, waits for a worker. All messages are in the current memory context. */
char *
evq_message_dispatched(EvqStore *store, const EvqEvent *event, TimestampTz now)
{
	const EvqFlow *flow = evq_config_flow(event->flow_no);
	StringInfoData message;
	Datum payload;

	initStringInfo(&message);
	appendStringInfoChar(&message, '{');
	append_event(&message, event);
	appendStringInfo(&message, ",\"attempt\":%d", event->attempts_used + 1);
	append_time(&message, "expires_at", event->due_at);
	appendStringInfo(&message, ",\"ttl\":" INT64_FORMAT, evq_retry_ttl(event->due_at - now));
	if (flow != NULL && flow->notify_payload &&
		evq_events_fetch_small_payload(store, event, MAX_STORED, &payload) &&
		!evq_json_text_exceeds(DatumGetJsonbP(payload), MAX_STORED))
	{
		char *text = JsonbToCString(NULL, &DatumGetJsonbP(payload)->root,
									VARSIZE_ANY_EXHDR(DatumGetPointer(payload)));

		if (message.len + strlen(text) + strlen(",\"payload\":}") < MAX_MESSAGE)
			appendStringInfo(&message, ",\"payload\":%s", text);
	}
	appendStringInfoChar(&message, '}');
	return message.data;
}

/* A pull flow has work. */
char *
evq_message_ready(const EvqFlow *flow)
{
	return psprintf("{\"flow_type\":\"%s\",\"ready\":true}", flow->flow_type);
}

/* For watchers: the event came into the state that it has here. */
char *
evq_message_changed(const char *sequence, const EvqEvent *event)
{
	char *status = asc_toupper(evq_transition_state_name(event->state),
							   strlen(evq_transition_state_name(event->state)));
	StringInfoData message;

	initStringInfo(&message);
	appendStringInfo(&message, "{\"seq\":\"%s\",", sequence);
	append_event(&message, event);
	appendStringInfo(&message, ",\"status\":\"%s\",\"attempts_used\":%d", status, event->attempts_used);
	append_time(&message, "state_since", event->state_since);
	appendStringInfoChar(&message, '}');
	return message.data;
}

/* For watchers: there were more changes than they are told. */
char *
evq_message_skipped(const char *sequence, int count)
{
	return psprintf("{\"seq\":\"%s\",\"skipped\":%d}", sequence, count);
}
