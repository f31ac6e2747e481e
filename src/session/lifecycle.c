/*
 * lifecycle.c
 *		The verbs: the only code that changes an event's state.
 *
 * Each verb reads the event, decides, and writes. Where another transaction
 * has changed the row in between, the write tells so and the verb begins again
 * with the newest version; see store.c. A verb writes the event before anything
 * that follows from it (spinoffs, on-fail event, error), so a lost race leaves
 * nothing behind.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/guc.h"
#include "base/random.h"
#include "rules/json_size.h"
#include "rules/transition.h"
#include "rules/uuid.h"
#include "session/lifecycle.h"
#include "session/wake.h"
#include "tables/epoch.h"

/* Bytes of payloads that are in memory at a time, beside the argument that they are a part of. */
#define PAYLOADS_AT_A_TIME (1024 * 1024)

/* The one place where an event's state changes. */
static void
move(EvqEvent *event, EvqVerb verb, EvqState to, TimestampTz now)
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

static const char *
state_name(EvqState state)
{
	const char *name = evq_transition_state_name(state);

	return name == NULL ? "unknown" : name;
}

/* ---------- publish ---------- */

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

static bool
is_readable(Datum value)
{
	const Jsonb *json = DatumGetJsonbP(value);

	return !evq_json_text_exceeds(json, text_limit(json));
}

static void
check_readable(const char *what, Datum value)
{
	if (!is_readable(value))
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_PAYLOAD_TOO_LARGE), errmsg("the text of %s is too long", what),
				 errdetail("The limit is %zu bytes.", text_limit(DatumGetJsonbP(value))),
				 errhint("Numbers with large exponents print all their digits: pass them as strings.")));
}

/* Headers, results and answers are held to the general limit. */
static void
check_size(const char *what, Datum value)
{
	Size size = VARSIZE_ANY_EXHDR(DatumGetPointer(value));

	if (size > evq_max_payload)
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_PAYLOAD_TOO_LARGE), errmsg("%s of %zu bytes is too large", what, size),
				 errdetail("The limit is %d bytes.", evq_max_payload),
				 errhint("Store large data in a table, or raise evq.max_payload.")));
	check_readable(what, value);
}

static void
check_payload_size(const EvqEventType *event_type, Datum payload)
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

static void
check_request(const EvqPublish *request)
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
	payload = payload_of(request);
	check_payload_size(request->event_type, payload);
	free_payload(request, payload);
	if (request->headers != (Datum) 0)
		check_size("headers", request->headers);
}

/* Makes the row of a new event. parent: NULL = none. */
static void
make_event(EvqEvent *event, const EvqPublish *request, EvqOrigin origin, const EvqEvent *parent,
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
	move(event, EVQ_VERB_PUBLISH, EVQ_STATE_AWAITING_PROCESSING, now);
}

/* The longest queue in which a new event may be offered without the dispatcher, 0 = in none: it keeps order and limits. */
static int32
offer_limit(const EvqEvent *event)
{
	const EvqFlow *flow = evq_config_flow(event->flow_no);
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);

	if (flow == NULL || event_type == NULL || !flow->pull || evq_flow_is_regulated(flow) ||
		event_type->is_suspended || event->attempt_scheduled_at > event->published_at)
		return 0;
	return flow->max_dispatched;
}

static void
insert_events(EvqStore *store, EvqEvent *events, const Datum *payloads, const Datum *headers, int count)
{
	evq_store_insert(store, events, payloads, headers, count);
	for (int i = 0; i < count; i++)
		evq_wake_published(&events[i], offer_limit(&events[i]));
}

/* Inserts the events of requests; of payloads that are made for this there are so many bytes at a time, or one more. */
static void
insert_requested(EvqStore *store, EvqEvent *events, const EvqPublish *const *requests, int count)
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
		insert_events(store, &events[begin], &payloads[begin], &headers[begin], i + 1 - begin);
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

	if (evq_store_claim_key(store, request->event_type->event_type_no, request->idempotency_key, event_id,
							hash, first_id, &first_hash))
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
 * Publishes events; ids: one a request. An event whose key was used before is
 * not published again. what: what errors call one of them, NULL where there is
 * but one.
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
	bool *known = palloc0(Max(count, 1) * sizeof(bool));
	EvqPosition position;
	int claim_count = 0;
	int fresh = 0;

	evq_position_begin(&position, what);
	for (int i = 0; i < count; i++)
	{
		const EvqPublish *request = &requests[i];

		position.index = i;
		evq_config_require(EVQ_RIGHT_PUBLISH, request->event_type->flow_no);
		check_request(request);
		make_event(&events[i], request, EVQ_ORIGIN_API, NULL, now);
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
		if (known[i])
			continue;
		events[fresh] = events[i];
		published[fresh++] = &requests[i];
	}
	insert_requested(store, events, published, fresh);
}

/* ---------- permits ---------- */

/* A new epoch begins, among others, after a restore, whose events nobody counted. */
static int32
current_epoch(void)
{
	bool begun;
	int32 epoch = evq_epoch(&begun);

	if (begun)
		evq_shmem_recount();
	return epoch;
}

/* To a caller who may not have it, an event is one that does not exist: nothing tells it from that. */
static bool
caller_may(int rights, const EvqEvent *event)
{
	return evq_config_may(GetUserId(), rights, event->flow_no);
}

/* A permit that differs from the last one of the event. */
static int64
draw_permit(int64 last)
{
	int64 permit;

	do
		permit = EVQ_PERMIT_MAKE(current_epoch(), evq_random());
	while (permit == last);
	return permit;
}

static EvqVerdict
judge_finished(EvqStore *store, const pg_uuid_t *event_id, EvqPermit permit, EvqEvent *event,
			   EvqOutcome *outcome)
{
	if (!evq_store_fetch_finished(store, event_id, event, outcome) || !caller_may(EVQ_RIGHT_WORK, event))
		return EVQ_NO_SUCH_EVENT;
	if (!permit.given)
		return EVQ_WRONG_STATE;
	if (permit.value != event->permit || event->state != EVQ_STATE_SUCCEEDED)
		return EVQ_PERMIT_LOST;
	return EVQ_ACCEPTED_BEFORE;
}

/*
 * Reads the event and judges whether the holder of the permit may report on
 * it. or_suspended: also when the event was suspended with that very permit.
 */
static EvqVerdict
fetch_held(EvqStore *store, const pg_uuid_t *event_id, EvqPermit permit, bool or_suspended, EvqEvent *event,
		   EvqOutcome *outcome)
{
	if (!evq_store_fetch(store, event_id, event))
		return judge_finished(store, event_id, permit, event, outcome);
	if (!caller_may(EVQ_RIGHT_WORK, event))
		return EVQ_NO_SUCH_EVENT;
	if (!permit.given)
		return event->state == EVQ_STATE_BEING_PROCESSED ? EVQ_ACCEPTED : EVQ_WRONG_STATE;
	if (permit.value != event->permit ||
		(event->state != EVQ_STATE_BEING_PROCESSED &&
		 !(or_suspended && event->state == EVQ_STATE_SUSPENDED)) ||
		EVQ_PERMIT_EPOCH(event->permit) != current_epoch())
		return EVQ_PERMIT_LOST;
	return EVQ_ACCEPTED;
}

/* The same for reports that, other than a success, cannot be repeated. */
static EvqVerdict
fetch_running(EvqStore *store, const pg_uuid_t *event_id, EvqPermit permit, bool or_suspended,
			  EvqEvent *event)
{
	EvqOutcome found;
	EvqVerdict verdict = fetch_held(store, event_id, permit, or_suspended, event, &found);

	return verdict == EVQ_ACCEPTED_BEFORE ? EVQ_WRONG_STATE : verdict;
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
					 errmsg("permit for event %s is lost: it is %s", id, state_name(event->state)),
					 errdetail("The permit ran out, was granted anew, or the event was canceled."),
					 errhint("Drop this attempt's result; extend permits in time with evq_heartbeat().")));
			break;
		default:
			ereport(ERROR, (errcode(EVQ_ERRCODE_WRONG_STATE),
							errmsg("event %s is %s, not being_processed", id, state_name(event->state)),
							errhint("Acquire it first; report each attempt once.")));
	}
}

/* ---------- acquire ---------- */

/* May the event be acquired when it has been dispatched, and not before? */
static bool
needs_dispatch(const EvqEvent *event)
{
	const EvqFlow *flow = evq_config_flow(event->flow_no);

	return event->state == EVQ_STATE_AWAITING_PROCESSING &&
		   (event->ordered || flow == NULL || evq_flow_is_regulated(flow));
}

/* May an attempt begin: by the event's type and flow, and its lifespan? */
static bool
may_begin(const EvqEvent *event, TimestampTz now)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);

	return event_type != NULL && !event_type->is_suspended && evq_config_flow(event->flow_no) != NULL &&
		   event->due_at > now;
}

static bool
is_waiting_and_due(const EvqEvent *event, TimestampTz now)
{
	return event->state == EVQ_STATE_AWAITING_PROCESSING && event->attempt_scheduled_at <= now;
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

static EvqStoreResult end_attempt(EvqStore *store, EvqEvent *event, TimestampTz now, EvqVerb verb,
								  const EvqFailureReport *report, bool wait);

/*
 * Ends an event just acquired whose payload nobody could read: what was stored
 * before its text was measured would fail whoever acquires it, and all that was
 * acquired with it.
 */
static void
end_unreadable(EvqStore *store, EvqEvent *event, TimestampTz now)
{
	static const EvqFailureReport report = {
		.error_message =
			"the payload is too long as text: numbers with large exponents print all their digits",
	};

	pg_uuid_t event_id = event->event_id;

	if (!evq_store_fetch(store, &event_id, event) ||
		end_attempt(store, event, now, EVQ_VERB_FAIL, &report, false) != EVQ_STORE_DONE)
		elog(ERROR, "evq: could not end an event with an unreadable payload");
}

/* Acquires an event. It waits for nobody. */
EvqGrant
evq_lifecycle_acquire(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, const char *worker,
					  int64 permit_for, EvqEvent *event, Datum *payload, Datum *headers)
{
	for (;;)
	{
		if (!evq_store_fetch(store, event_id, event) || !caller_may(EVQ_RIGHT_WORK, event))
			return EVQ_GRANT_REFUSED;
		if (!evq_lifecycle_may_acquire(event, now))
		{
			const EvqEventType *event_type = evq_config_event_type(event->event_type_no);

			return (event_type != NULL && event_type->is_suspended) || needs_dispatch(event)
					   ? EVQ_GRANT_LATER
					   : EVQ_GRANT_REFUSED;
		}
		/* During a restore an event may be there before its payload. */
		if (!evq_store_fetch_payload(store, event, payload, headers))
			return EVQ_GRANT_REFUSED;

		if (permit_for == EVQ_DEFAULT_TIME)
			permit_for = evq_config_event_type(event->event_type_no)->attempt_timeout;
		move(event, EVQ_VERB_ACQUIRE, EVQ_STATE_BEING_PROCESSED, now);
		event->state_due_at = Min(evq_retry_add(now, permit_for), event->due_at);
		event->permit = draw_permit(event->permit);
		event->worker = worker;
		switch (evq_store_update(store, event, false))
		{
			case EVQ_STORE_DONE:
				/* A permit lost in a crash would be granted again, to somebody else. */
				ForceSyncCommit();
				evq_wake_changed(event);
				if (!is_readable(*payload) || (*headers != (Datum) 0 && !is_readable(*headers)))
				{
					end_unreadable(store, event, now);
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

/* ---------- reports ---------- */

/* Ends an event, already moved to succeeded; of a type without retention it leaves nothing. */
static EvqStoreResult
finish_well(EvqStore *store, const EvqEvent *event, const EvqOutcome *outcome)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);

	if (event_type != NULL && event_type->retention == 0)
		return evq_store_delete(store, event);
	return evq_store_finish(store, event, outcome, true);
}

/*
 * Success, with its spinoffs, which go on in the event's flow. Their ids are
 * returned, those of the first report where this one repeats it. outcome: NULL
 * = none, in a report of many, which ends no event that its worker has
 * suspended: there the success is that of the suspending.
 */
EvqVerdict
evq_lifecycle_succeed(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, EvqPermit permit,
					  const EvqOutcome *outcome, EvqPublish *spinoffs, int spinoff_count, EvqEvent *event,
					  const pg_uuid_t **spinoff_ids, int *spinoff_id_count)
{
	bool in_passing = outcome == NULL;
	EvqPosition position;
	EvqEvent *children = NULL;
	pg_uuid_t *ids = NULL;
	const EvqPublish **published = NULL;

	if (!in_passing && outcome->has_result)
		check_size("result", outcome->result);
	for (;;)
	{
		EvqOutcome written = {0};
		EvqVerdict verdict = fetch_held(store, event_id, permit, !in_passing, event, &written);

		if (verdict != EVQ_ACCEPTED)
		{
			*spinoff_ids = written.spinoff_ids;
			*spinoff_id_count = written.spinoff_count;
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
				check_request(&spinoffs[i]);
				make_event(&children[i], &spinoffs[i], EVQ_ORIGIN_SPINOFF, event, now);
				ids[i] = children[i].event_id;
				published[i] = &spinoffs[i];
			}
			evq_position_end(&position);
		}

		if (!in_passing)
			written = *outcome;
		move(event, EVQ_VERB_SUCCEED, EVQ_STATE_SUCCEEDED, now);
		event->attempts_used++;
		written.spinoff_ids = ids;
		written.spinoff_count = spinoff_count;
		if (finish_well(store, event, &written) == EVQ_STORE_DONE)
			break;
	}

	evq_wake_changed(event);
	if (spinoff_count > 0)
		insert_requested(store, children, published, spinoff_count);
	*spinoff_ids = ids;
	*spinoff_id_count = spinoff_count;
	return EVQ_ACCEPTED;
}

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
	push_string(&builder, "state", state_name(event->state));
	push_string(&builder, "error", reason);
	key.val.string.val = "attempts";
	key.val.string.len = strlen("attempts");
	EVQ_JSONB_PUSH(&builder, WJB_KEY, &key);
	item.type = jbvNumeric;
	item.val.numeric = DatumGetNumeric(
		DirectFunctionCall1(int4_numeric, Int32GetDatum(event->attempts_used)));
	EVQ_JSONB_PUSH(&builder, WJB_VALUE, &item);
	if (evq_store_fetch_payload(store, event, &payload, &headers) && is_readable(payload))
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
static void
record(EvqStore *store, const EvqEvent *event, TimestampTz now, const char *outcome, int attempt,
	   const char *message)
{
	EvqFailure failure = {
		.event_id = event->event_id,
		.failed_at = now,
		.attempt = attempt,
		.outcome = outcome,
		.error_message = message,
		.worker = event->worker,
	};

	evq_store_insert_error(store, &failure);
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
 * event.
 */
static EvqStoreResult
finish_badly(EvqStore *store, EvqEvent *event, TimestampTz now, const char *reason, bool wait)
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

		make_event(&child, &request, EVQ_ORIGIN_ON_FAIL, event, now);
		outcome.spinoff_ids = &child.event_id;
		outcome.spinoff_count = 1;
	}

	result = evq_store_finish(store, event, &outcome, wait);
	if (result != EVQ_STORE_DONE)
		return result;
	evq_wake_changed(event);
	if (follower != NULL)
	{
		Datum payload = on_fail_payload(store, event, event_type == NULL ? "" : event_type->event_type,
										reason);

		insert_events(store, &child, &payload, NULL, 1);
	}
	if (problem != NULL)
		record(store, event, now, "note", event->attempts_used, problem);
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

/* Ends an event whose lifespan is over; that too is an error on record. */
static EvqStoreResult
expire(EvqStore *store, EvqEvent *event, TimestampTz now)
{
	const char *reason = expiry_reason(event);
	EvqStoreResult result;

	move(event, event->permit == 0 ? EVQ_VERB_LIFESPAN_UNUSED : EVQ_VERB_LIFESPAN_OVER, EVQ_STATE_EXPIRED,
		 now);
	result = finish_badly(store, event, now, reason, false);
	if (result == EVQ_STORE_DONE)
		record(store, event, now, "expired", 0, reason);
	return result;
}

static const char *
clip(const char *text, int limit)
{
	int length;

	if (text == NULL)
		return NULL;
	length = strlen(text);
	return length <= limit ? text : pnstrdup(text, pg_mbcliplen(text, length, limit));
}

/* Ends an attempt without success: the engine alone decides whether there is another. */
static EvqStoreResult
end_attempt(EvqStore *store, EvqEvent *event, TimestampTz now, EvqVerb verb, const EvqFailureReport *report,
			bool wait)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);
	EvqFailure failure = {
		.event_id = event->event_id,
		.failed_at = now,
		.attempt = event->attempts_used + 1,
		.error_message = clip(report->error_message, EVQ_MAX_ERROR_MESSAGE),
		.stack_trace = clip(report->stack_trace, EVQ_MAX_STACK_TRACE),
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
		move(event, verb, EVQ_STATE_AWAITING_PROCESSING, now);
		event->attempt_scheduled_at = next_at;
		result = evq_store_update(store, event, wait);
		if (result == EVQ_STORE_DONE)
			evq_wake_changed(event);
	}
	else
	{
		move(event, verb, EVQ_STATE_FAILED, now);
		result = finish_badly(store, event, now, reason, wait);
	}
	if (result == EVQ_STORE_DONE)
	{
		failure.outcome = again ? "retry" : "failed";
		evq_store_insert_error(store, &failure);
	}
	return result;
}

EvqVerdict
evq_lifecycle_fail(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, EvqPermit permit,
				   const EvqFailureReport *report, EvqEvent *event)
{
	for (;;)
	{
		EvqVerdict verdict = fetch_running(store, event_id, permit, true, event);

		if (verdict != EVQ_ACCEPTED)
			return verdict;
		if (end_attempt(store, event, now, EVQ_VERB_FAIL, report, true) == EVQ_STORE_DONE)
			return EVQ_ACCEPTED;
	}
}

/* Writes a held event back; CHANGED sends the caller round its loop. */
static bool
write_held(EvqStore *store, EvqEvent *event)
{
	if (evq_store_update(store, event, true) != EVQ_STORE_DONE)
		return false;
	evq_wake_changed(event);
	return true;
}

/*
 * Extends a permit; on PERMIT_LOST the event's state tells whether it was
 * canceled. That of a suspended event holds as long as the suspension.
 */
EvqVerdict
evq_lifecycle_extend(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, EvqPermit permit,
					 int64 extend_by, EvqEvent *event)
{
	for (;;)
	{
		EvqVerdict verdict = fetch_running(store, event_id, permit, true, event);

		if (verdict != EVQ_ACCEPTED || event->state == EVQ_STATE_SUSPENDED)
			return verdict;
		if (extend_by == EVQ_DEFAULT_TIME)
		{
			const EvqEventType *event_type = evq_config_event_type(event->event_type_no);

			extend_by = event_type == NULL ? 0 : event_type->attempt_timeout;
		}
		event->state_due_at = Min(evq_retry_add(now, extend_by), event->due_at);
		if (write_held(store, event))
			return EVQ_ACCEPTED;
	}
}

/* Gives an event back, at once or until run_at. */
EvqVerdict
evq_lifecycle_give_back(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, EvqPermit permit,
						bool snooze, TimestampTz run_at, EvqEvent *event)
{
	for (;;)
	{
		EvqVerdict verdict = fetch_running(store, event_id, permit, false, event);

		if (verdict != EVQ_ACCEPTED)
			return verdict;
		move(event, snooze ? EVQ_VERB_SNOOZE : EVQ_VERB_RELEASE, EVQ_STATE_AWAITING_PROCESSING, now);
		/* Past the end of the lifespan there is no attempt: it expires there. */
		event->attempt_scheduled_at = snooze ? Min(Max(run_at, now), event->due_at) : now;
		if (write_held(store, event))
			break;
	}
	if (snooze && run_at >= event->due_at)
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
evq_lifecycle_suspend(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, EvqPermit permit,
					  int64 timeout, EvqEvent *event)
{
	for (;;)
	{
		EvqVerdict verdict = fetch_running(store, event_id, permit, false, event);

		if (verdict != EVQ_ACCEPTED)
			return verdict;
		if (event->answered_permit == event->permit)
		{
			move(event, EVQ_VERB_SUSPEND, EVQ_STATE_AWAITING_PROCESSING, now);
			event->attempt_scheduled_at = now;
		}
		else
		{
			move(event, EVQ_VERB_SUSPEND, EVQ_STATE_SUSPENDED, now);
			event->state_due_at = timeout == EVQ_DEFAULT_TIME
									  ? event->due_at
									  : Min(evq_retry_add(now, timeout), event->due_at);
			/* What was answered before is the answer to another question. */
			event->answered_permit = 0;
		}
		if (write_held(store, event))
			return EVQ_ACCEPTED;
	}
}

/* ---------- operators and triggers ---------- */

static void
refuse_verb(const pg_uuid_t *event_id, EvqState state, EvqVerb verb, const char *hint)
{
	char id[EVQ_UUID_TEXT_SIZE];

	ereport(ERROR, (errcode(EVQ_ERRCODE_WRONG_STATE),
					errmsg("event %s is %s: it cannot %s", evq_uuid_text(event_id, id), state_name(state),
						   evq_transition_verb_name(verb)),
					errhint("%s", hint)));
}

/* Reads an event, or raises an error. */
static void
must_fetch_any(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event)
{
	EvqOutcome outcome;

	if ((!evq_store_fetch(store, event_id, event) &&
		 !evq_store_fetch_finished(store, event_id, event, &outcome)) ||
		!caller_may(EVQ_RIGHT_PUBLISH | EVQ_RIGHT_WORK, event))
		evq_lifecycle_refuse(EVQ_NO_SUCH_EVENT, event_id, NULL);
}

/* Reads an event that the verb applies to, or raises an error. */
static void
must_fetch(EvqStore *store, const pg_uuid_t *event_id, EvqVerb verb, const char *hint, EvqEvent *event)
{
	must_fetch_any(store, event_id, event);
	if (!evq_transition_can(event->state, verb))
		refuse_verb(event_id, event->state, verb, hint);
}

/* The event's payload with the patch merged into it; its headers stay. */
static Datum
merge_payload(EvqStore *store, const EvqEvent *event, Datum patch, Datum *headers)
{
	const EvqEventType *event_type = evq_config_event_type(event->event_type_no);
	Datum payload;

	if (!evq_store_fetch_payload(store, event, &payload, headers))
		ereport(ERROR, (errcode(EVQ_ERRCODE_WRONG_STATE), errmsg("the event's payload is missing"),
						errhint("Activate it without payload_patch, or cancel it.")));
	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(payload)))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("the event's payload is not a JSON object"),
						errhint("Activate it without payload_patch.")));
	payload = DirectFunctionCall2(jsonb_concat, payload, patch);
	if (event_type != NULL)
		check_payload_size(event_type, payload);
	return payload;
}

/* Is this what the attempt was activated with? */
static bool
is_same_answer(EvqStore *store, const EvqEvent *event, Datum answer)
{
	Datum known = evq_store_fetch_answer(store, event);

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
								   state_name(event->state)),
						  "Drop the answer: a later attempt asks anew.");
	if (event->state == EVQ_STATE_BEING_PROCESSED && event->answered_permit == event->permit)
		refuse_activation(&event->event_id, EVQ_ERRCODE_WRONG_STATE, "was activated in this attempt already",
						  "The first answer counts; it is kept until the event is suspended.");
	return false;
}

/*
 * Wakes a suspended event, or sees to it that the attempt now running finds it
 * awake when it suspends it. The answer stays with the event until the next
 * suspension begins. Returns the event's state.
 */
EvqState
evq_lifecycle_must_activate(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id,
							const EvqActivation *activation)
{
	EvqEvent event;
	EvqStoreResult result;
	bool is_early;

	if (activation->answer != (Datum) 0)
		check_size("answer", activation->answer);
	do
	{
		must_fetch_any(store, event_id, &event);
		if (is_repeated(store, &event, activation))
			return event.state;
		is_early = event.state == EVQ_STATE_BEING_PROCESSED && evq_store_keeps_answers(store);
		if (!is_early && !evq_transition_can(event.state, EVQ_VERB_ACTIVATE))
			refuse_verb(event_id, event.state, EVQ_VERB_ACTIVATE,
						"Only an event that is suspended or being processed can be activated.");
		if (!is_early)
		{
			move(&event, EVQ_VERB_ACTIVATE, EVQ_STATE_AWAITING_PROCESSING, now);
			event.attempt_scheduled_at = now;
		}
		event.answered_permit = event.permit;
		if (activation->payload_patch == (Datum) 0)
			result = evq_store_update_with_answer(store, &event, activation->answer);
		else
		{
			Datum headers;
			Datum payload = merge_payload(store, &event, activation->payload_patch, &headers);

			result = evq_store_update_with_payload(store, &event, activation->answer, payload, headers);
		}
	} while (result != EVQ_STORE_DONE);
	if (!is_early)
		evq_wake_changed(&event);
	return event.state;
}

/* false = it was canceled already. */
bool
evq_lifecycle_must_cancel(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, const char *reason)
{
	EvqEvent event;
	EvqOutcome outcome = {.reason = clip(reason, EVQ_MAX_ERROR_MESSAGE)};

	do
	{
		EvqOutcome found;

		if (!evq_store_fetch(store, event_id, &event))
		{
			if (evq_store_fetch_finished(store, event_id, &event, &found) &&
				event.state == EVQ_STATE_CANCELED && caller_may(EVQ_RIGHT_PUBLISH | EVQ_RIGHT_WORK, &event))
				return false;
			must_fetch(store, event_id, EVQ_VERB_CANCEL, "A finished event stays as it is.", &event);
			elog(ERROR, "evq: a finished event can be canceled");
		}
		if (!caller_may(EVQ_RIGHT_PUBLISH | EVQ_RIGHT_WORK, &event))
			evq_lifecycle_refuse(EVQ_NO_SUCH_EVENT, event_id, NULL);
		if (!evq_transition_can(event.state, EVQ_VERB_CANCEL))
			refuse_verb(event_id, event.state, EVQ_VERB_CANCEL,
						"Its row was not written by evq: correct or delete it.");
		move(&event, EVQ_VERB_CANCEL, EVQ_STATE_CANCELED, now);
	} while (evq_store_finish(store, &event, &outcome, true) != EVQ_STORE_DONE);
	evq_wake_changed(&event);
	return true;
}

void
evq_lifecycle_must_retry(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id)
{
	EvqEvent event;

	do
	{
		const EvqEventType *event_type;

		must_fetch(store, event_id, EVQ_VERB_RETRY,
				   "Only a failed, expired or canceled event can be retried.", &event);
		event_type = evq_config_event_type(event.event_type_no);
		if (event_type == NULL || event_type->dropped)
			ereport(ERROR,
					(errcode(EVQ_ERRCODE_UNKNOWN_TYPE), errmsg("the event's type is no longer configured"),
					 errhint("Configure it again with evq_configure().")));
		move(&event, EVQ_VERB_RETRY, EVQ_STATE_AWAITING_PROCESSING, now);
		event.attempts_used = 0;
		event.attempt_scheduled_at = now;
		event.due_at = evq_retry_add(now, event_type->lifespan);
		event.worker = NULL;
	} while (evq_store_revive(store, &event) != EVQ_STORE_DONE);
	evq_wake_changed(&event);
}

/* ---------- the engine ---------- */

/* Does what the clock asks of a live event; see EvqSettled. It waits for nobody. */
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
		if (!evq_store_fetch(store, event_id, event))
			return EVQ_SETTLED_GONE;

		settled = EVQ_SETTLED_TIMED_OUT;
		switch (event->state)
		{
			case EVQ_STATE_AWAITING_PROCESSING:
			case EVQ_STATE_DISPATCHED:
				if (event->due_at <= now)
				{
					result = expire(store, event, now);
					settled = EVQ_SETTLED_EXPIRED;
				}
				else if (event->state == EVQ_STATE_DISPATCHED && event->state_due_at <= now)
				{
					move(event, EVQ_VERB_DISPATCH_TIMEOUT, EVQ_STATE_AWAITING_PROCESSING, now);
					result = evq_store_update(store, event, false);
					if (result == EVQ_STORE_DONE)
						evq_wake_changed(event);
				}
				else
					return EVQ_SETTLED_NOTHING;
				break;

			case EVQ_STATE_BEING_PROCESSED:
				if (event->state_due_at > now)
					return EVQ_SETTLED_NOTHING;
				result = end_attempt(store, event, now, EVQ_VERB_PERMIT_TIMEOUT, &timeout, false);
				break;

			case EVQ_STATE_SUSPENDED:
				if (event->state_due_at > now)
					return EVQ_SETTLED_NOTHING;
				event_type = evq_config_event_type(event->event_type_no);
				if (event_type != NULL && event_type->retry_on_suspend_timeout && event->due_at > now)
				{
					move(event, EVQ_VERB_SUSPEND_TIMEOUT, EVQ_STATE_AWAITING_PROCESSING, now);
					event->attempt_scheduled_at = now;
					result = evq_store_update(store, event, false);
					if (result == EVQ_STORE_DONE)
						evq_wake_changed(event);
				}
				else
				{
					move(event, EVQ_VERB_SUSPEND_TIMEOUT, EVQ_STATE_EXPIRED, now);
					result = finish_badly(store, event, now, "the suspension timed out", false);
					if (result == EVQ_STORE_DONE)
						record(store, event, now, "expired", event->attempts_used + 1,
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

/* Marks an event, just read and due, as dispatched; false when somebody else is changing it. */
bool
evq_lifecycle_dispatch(EvqStore *store, TimestampTz now, EvqEvent *event, int64 dispatch_timeout)
{
	move(event, EVQ_VERB_DISPATCH, EVQ_STATE_DISPATCHED, now);
	event->state_due_at = Min(evq_retry_add(now, dispatch_timeout), event->due_at);
	if (evq_store_update(store, event, false) != EVQ_STORE_DONE)
		return false;
	evq_wake_changed(event);
	return true;
}
