/*
 * lifecycle_publish.c
 *		The verbs that make new events.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/guc.h"
#include "rules/uuid.h"
#include "session/lifecycle_batch.h"
#include "session/lifecycle_internal.h"
#include "session/pending.h"
#include "tables/events.h"
#include "tables/keys.h"

/* Bytes of payloads that are in memory at a time, beside the argument that they are a part of. */
#define PAYLOADS_AT_A_TIME (1024 * 1024)

/*
 * The payload of a request. A large one that is a part of an argument is made
 * each time it is needed, and freed at once: there is never one copy of all.
 */
static Datum
payload_of(const EvqPublish *request)
{
	return request->payload_part == NULL
			   ? request->payload
			   : JsonbPGetDatum(JsonbValueToJsonb(unconstify(JsonbValue *, request->payload_part)));
}

static void
free_payload(const EvqPublish *request, Datum payload)
{
	if (request->payload_part != NULL)
		pfree(DatumGetPointer(payload));
}

static int64
content_hash(const EvqPublish *request)
{
	Datum payload = payload_of(request);
	uint64 payload_hash = DatumGetUInt64(DirectFunctionCall2(jsonb_hash_extended, payload, Int64GetDatum(0)));

	free_payload(request, payload);
	return (int64) hash_bytes_extended((const unsigned char *) request->flow_id, strlen(request->flow_id),
									   payload_hash);
}

static void
check_group_key(const char *group_key)
{
	size_t length = strlen(group_key);

	if (length == 0 || length > EVQ_MAX_GROUP_KEY)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("group_key has %zu bytes", length),
						errhint("Pass 1 to %d bytes, or NULL where the flow's group_by says it, or for none.",
								EVQ_MAX_GROUP_KEY)));
}

/* The group of a new event: what its publisher says, or its parent's, or what the flow's group_by says; NULL = none. */
static const char *
group_key_of(const EvqPublish *request, const EvqFlow *flow, const EvqEvent *parent, const char *flow_id)
{
	const char *group_key = request->group_key;
	bool needs_payload;
	Datum payload;

	if (group_key == NULL && parent != NULL)
		group_key = parent->group_key;
	if (group_key != NULL || flow == NULL || flow->group_by == NULL)
		return group_key;
	needs_payload = flow->group_by->source == EVQ_GROUP_BY_PAYLOAD &&
					(request->payload != (Datum) 0 || request->payload_part != NULL);
	payload = needs_payload ? payload_of(request) : (Datum) 0;
	group_key = evq_group_key_of(flow->group_by, flow_id, payload, request->headers);
	if (needs_payload)
		free_payload(request, payload);
	if (group_key != NULL)
		check_group_key(group_key);
	return group_key;
}

/* Raises EQ005 or EQ006 for an event that cannot be published as it is. */
void
evq_lifecycle_check_request(const EvqPublish *request)
{
	size_t length = strlen(request->flow_id);
	Datum payload;

	if (length == 0 || length > EVQ_MAX_FLOW_ID)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("flow_id has %zu bytes", length),
						errhint("Pass 1 to %d bytes.", EVQ_MAX_FLOW_ID)));
	if (request->has_run_at && (TIMESTAMP_NOT_FINITE(request->run_at) || request->run_at >= EVQ_END_OF_TIME))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("run_at is out of range"),
						errhint("Pass a time before the year 10000, or NULL for now.")));
	if (request->idempotency_key != NULL &&
		(request->idempotency_key[0] == '\0' || strlen(request->idempotency_key) > EVQ_MAX_IDEMPOTENCY_KEY))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
						errmsg("idempotency_key has %zu bytes", strlen(request->idempotency_key)),
						errhint("Pass 1 to %d bytes.", EVQ_MAX_IDEMPOTENCY_KEY)));
	if (request->group_key != NULL)
		check_group_key(request->group_key);
	payload = payload_of(request);
	evq_lifecycle_check_payload_size(request->event_type, payload);
	free_payload(request, payload);
	if (request->headers != (Datum) 0)
		evq_lifecycle_check_size("headers", request->headers);
}

/* Makes a new event in memory; its strings are those of the request. parent: NULL = none; its flow_id is taken over. */
void
evq_lifecycle_make_event(EvqEvent *event, const EvqPublish *request, EvqOrigin origin, const EvqEvent *parent,
						 TimestampTz now)
{
	const EvqEventType *event_type = request->event_type;
	const EvqFlow *flow = evq_config_flow(event_type->flow_no);
	TimestampTz from = request->has_run_at ? Max(request->run_at, now) : now;
	EvqRetryRule rule = evq_config_retry_rule(event_type);

	memset(event, 0, sizeof(*event));
	event->transition = EVQ_NO_TRANSITION;
	event->event_id = evq_uuid_make(now);
	event->published_at = now;
	event->due_at = evq_retry_add(from, event_type->lifespan);
	/* A delay longer than the lifespan: it expires without an attempt. */
	event->attempt_scheduled_at = Min(evq_retry_add(from, evq_retry_delay(&rule, 1, 0.5)), event->due_at);
	event->event_type_no = event_type->event_type_no;
	event->flow_no = event_type->flow_no;
	event->priority = request->has_priority ? request->priority : event_type->priority;
	event->ordered = flow != NULL && flow->ordered;
	event->flow_id = request->flow_id;
	event->on_fail_event_type_no = request->on_fail_event_type_no;
	event->origin = origin;
	if (parent != NULL)
	{
		event->has_parent = true;
		event->parent_id = parent->event_id;
		event->chain_depth = parent->chain_depth + 1;
		event->flow_id = parent->flow_id;
	}
	event->group_key = group_key_of(request, flow, parent, event->flow_id);
	if (flow != NULL && !flow->fair)
		event->place = evq_aged_place(flow->priority_step, event->attempt_scheduled_at, event->priority);
	evq_lifecycle_move(event, EVQ_VERB_PUBLISH, EVQ_STATE_AWAITING_PROCESSING, now);
}

/* The longest queue in which a new event may be offered without the dispatcher, 0 = in none: it keeps order and limits. */
int32
evq_lifecycle_offer_limit(const EvqEvent *event)
{
	const EvqFlow *flow = evq_config_flow(event->flow_no);
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);

	if (flow == NULL || event_type == NULL || !flow->pull || evq_flow_is_lined_up(flow) ||
		event_type->is_suspended || evq_flow_is_paused(flow, event->published_at) ||
		event->attempt_scheduled_at > event->published_at)
		return 0;
	return flow->max_dispatched;
}

/*
 * Stores new events, and remembers them for the dispatcher. payloads, headers:
 * as evq_events_insert() takes them.
 */
void
evq_lifecycle_insert_events(EvqStore *store, EvqEvent *events, const Datum *payloads, const Datum *headers,
							int count)
{
	evq_events_insert(store, events, payloads, headers, count);
	for (int i = 0; i < count; i++)
		evq_pending_published(&events[i], evq_lifecycle_offer_limit(&events[i]));
}

/* Inserts the events of requests; of payloads that are made for this there are so many bytes at a time, or one more. */
void
evq_lifecycle_insert_requested(EvqStore *store, EvqEvent *events, const EvqPublish *const *requests,
							   int count)
{
	Datum *payloads = palloc(Max(count, 1) * sizeof(Datum));
	Datum *headers = palloc(Max(count, 1) * sizeof(Datum));
	Size made = 0;
	int begin = 0;

	for (int i = 0; i < count; i++)
	{
		payloads[i] = payload_of(requests[i]);
		headers[i] = requests[i]->headers;
		if (requests[i]->payload_part != NULL)
			made += VARSIZE(DatumGetPointer(payloads[i]));
		if (made < PAYLOADS_AT_A_TIME && i < count - 1)
			continue;
		evq_lifecycle_insert_events(store, &events[begin], &payloads[begin], &headers[begin], i + 1 - begin);
		for (; begin <= i; begin++)
			free_payload(requests[begin], payloads[begin]);
		made = 0;
	}
}

/* A request with an idempotency key. */
typedef struct Claim
{
	int index;
	const EvqPublish *request;
} Claim;

static int
compare_claims(const void *a, const void *b)
{
	const Claim *claim_a = a;
	const Claim *claim_b = b;
	int32 type_a = claim_a->request->event_type->event_type_no;
	int32 type_b = claim_b->request->event_type->event_type_no;
	int order = strcmp(claim_a->request->idempotency_key, claim_b->request->idempotency_key);

	if (type_a != type_b)
		return type_a < type_b ? -1 : 1;
	return order != 0 ? order : claim_a->index - claim_b->index;
}

/* Claims the key of a request for an event; false = it is another's, whose id is returned. */
static bool
claim_key(EvqStore *store, const EvqPublish *request, const pg_uuid_t *event_id, pg_uuid_t *first_id)
{
	int64 hash = content_hash(request);
	int64 first_hash;

	if (evq_keys_claim(store, request->event_type->event_type_no, request->idempotency_key, event_id, hash,
					   first_id, &first_hash))
		return true;
	if (first_hash != hash)
		ereport(ERROR, (errcode(EVQ_ERRCODE_KEY_REUSED),
						errmsg("idempotency key \"%s\" of event type \"%s\" was used with other content",
							   request->idempotency_key, request->event_type->event_type),
						errhint("Use a new key for a new event; the same key must come with the same flow_id"
								" and payload.")));
	return false;
}

/*
 * Publishes events. ids: of "count" elements, set to the id of each; of one whose key
 * was used before, which is not published again, to that of the first. what: what
 * errors call one of them, NULL where there is but one. Raises EQ005, EQ006, EQ008,
 * and an error where the current user may not publish into the flow.
 *
 * Keys are claimed in one order, whatever the order of the requests: who waits
 * for another session's claim has no key that the other one has yet to claim.
 */
void
evq_lifecycle_publish(EvqStore *store, TimestampTz now, const EvqPublish *requests, int count,
					  const char *what, pg_uuid_t *ids)
{
	EvqEvent *events = palloc(Max(count, 1) * sizeof(EvqEvent));
	const EvqPublish **published = palloc(Max(count, 1) * sizeof(EvqPublish *));
	Claim *claims = palloc(Max(count, 1) * sizeof(Claim));
	bool *known = palloc0(Max(count, 1) * sizeof(bool)); /* it is not to be published by itself */
	int *batches = palloc0(Max(count, 1) * sizeof(int)); /* so many alike begin here */
	EvqPosition position;
	int claim_count = 0;
	int fresh = 0;
	int alike = 0; /* requests from here on that are, and fit into batches */
	bool in_batches = false;

	evq_position_begin(&position, what);
	for (int i = 0; i < count; i++)
	{
		const EvqPublish *request = &requests[i];

		CHECK_FOR_INTERRUPTS();
		position.index = i;
		evq_config_require(EVQ_RIGHT_PUBLISH, request->event_type->flow_no);
		evq_lifecycle_check_request(request);
		if (alike == 0)
		{
			alike = evq_lifecycle_count_alike(store, request, count - i, &in_batches);
			batches[i] = in_batches ? alike : 0;
		}
		if (alike > 0)
			alike--;
		known[i] = in_batches;
		if (!in_batches || batches[i] > 0)
			evq_lifecycle_make_event(&events[i], request, EVQ_ORIGIN_API, NULL, now);
		if (in_batches)
			continue;
		ids[i] = events[i].event_id;
		if (request->idempotency_key != NULL)
			claims[claim_count++] = (Claim){i, request};
	}
	qsort(claims, claim_count, sizeof(Claim), compare_claims);
	for (int i = 0; i < claim_count; i++)
	{
		int index = claims[i].index;

		position.index = index;
		known[index] = !claim_key(store, claims[i].request, &events[index].event_id, &ids[index]);
	}
	evq_position_end(&position);

	for (int i = 0; i < count; i++)
	{
		if (batches[i] > 0)
			evq_lifecycle_publish_batches(store, &events[i], &requests[i], batches[i], &ids[i]);
		if (known[i])
			continue;
		events[fresh] = events[i];
		published[fresh++] = &requests[i];
	}
	evq_lifecycle_insert_requested(store, events, published, fresh);
}
