/*
 * types.h
 *		What every module knows: states, events, permits.
 */
#ifndef EVQ_TYPES_H
#define EVQ_TYPES_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "utils/uuid.h"

typedef enum EvqState
{
	EVQ_STATE_NONE, /* not published yet, or gone */
	EVQ_STATE_AWAITING_PROCESSING,
	EVQ_STATE_DISPATCHED,
	EVQ_STATE_BEING_PROCESSED,
	EVQ_STATE_SUSPENDED,
	EVQ_STATE_SUCCEEDED,
	EVQ_STATE_FAILED,
	EVQ_STATE_EXPIRED,
	EVQ_STATE_CANCELED
} EvqState;

#define EVQ_STATE_COUNT (EVQ_STATE_CANCELED + 1)

/*
 * A position in the line of a flow's events: by the time of the next attempt, and
 * within one instant, which a million may share, by the event's id.
 */
typedef struct EvqDuePosition
{
	TimestampTz at;
	pg_uuid_t event_id; /* zero = before all of that instant */
} EvqDuePosition;

static inline EvqDuePosition
evq_due_position(TimestampTz at)
{
	EvqDuePosition position = {.at = at};

	return position;
}

static inline bool
evq_due_is_before(const EvqDuePosition *a, const EvqDuePosition *b)
{
	return a->at != b->at ? a->at < b->at : memcmp(&a->event_id, &b->event_id, sizeof(pg_uuid_t)) < 0;
}

static inline EvqDuePosition
evq_due_first(EvqDuePosition a, EvqDuePosition b)
{
	return evq_due_is_before(&b, &a) ? b : a;
}

/* Who published an event. */
typedef enum EvqOrigin
{
	EVQ_ORIGIN_API,
	EVQ_ORIGIN_SPINOFF,
	EVQ_ORIGIN_ON_FAIL
} EvqOrigin;

#define EVQ_ORIGIN_COUNT (EVQ_ORIGIN_ON_FAIL + 1)

#define EVQ_NO_TRANSITION (-1)

/* A row of evq.event. Strings live in the caller's memory context. */
typedef struct EvqEvent
{
	pg_uuid_t event_id;
	TimestampTz published_at;
	TimestampTz attempt_scheduled_at;
	TimestampTz due_at; /* end of the lifespan */
	int32 event_type_no;
	int32 flow_no;
	int16 priority;
	int16 chain_depth;
	bool ordered;
	EvqState state;
	int16 attempts_used;
	TimestampTz state_due_at; /* when the present state times out */
	TimestampTz state_since;
	TimestampTz
		attempt_started_at; /* as it was read: when the attempt now running began; infinity = none runs */
	int64 permit;           /* the last one granted */
	const char *flow_id;
	bool has_parent;
	pg_uuid_t parent_id;
	int32 on_fail_event_type_no; /* 0 = none of its own */
	const char *worker;          /* NULL = none */
	int64 answered_permit; /* of the attempt that was activated since the last suspension began, 0 = none */
	const char *group_key; /* whose it is, for limits by group; NULL = nobody's */

	/* not in the row: where it is, or was; see evq_events_hint() */
	ItemPointerData tid;

	/* nor these: for the counters */
	int16 transition; /* what changed its state since it was read: a row of the transition table */
	EvqOrigin origin; /* of a new event */
	int64 waited;     /* microseconds: from due to acquired, or from there to the end of the attempt */

	int64 place; /* nor this: where it is put among the offers of its flow, least first */
} EvqEvent;

/* What a finish adds to an event: the rest of a row of evq.event_history. */
typedef struct EvqOutcome
{
	const char *reason; /* NULL = none */
	Datum result;       /* jsonb */
	bool has_result;
	const pg_uuid_t *spinoff_ids;
	int spinoff_count;
} EvqOutcome;

/*
 * A permit is an epoch, changed at promotion and restore, and a number drawn at
 * random: a server whose data was set back, unseen, does not grant it again.
 */
#define EVQ_PERMIT_EPOCH(permit) ((int32) ((permit) >> 32))
#define EVQ_PERMIT_MAKE(epoch, number) (((int64) (epoch) << 32) | (int64) (uint32) (number))

/* Error texts are cut to these lengths, in bytes. */
#define EVQ_MAX_ERROR_MESSAGE 8192
#define EVQ_MAX_STACK_TRACE 32768

/* No time that users pass lies in the year 10000 or later. */
#define EVQ_END_OF_TIME ((int64) (8000 * 365 + 1940) * USECS_PER_DAY)

#define EVQ_MAX_FLOW_ID 255
#define EVQ_MAX_GROUP_KEY 255
#define EVQ_MAX_IDEMPOTENCY_KEY 255
#define EVQ_MAX_WORKER_NAME 255

#endif /* EVQ_TYPES_H */
