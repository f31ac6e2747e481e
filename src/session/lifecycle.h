/*
 * lifecycle.h
 *		The verbs: the only code that changes an event's state.
 *
 * A verb reads the event, decides by what it reads and the configuration
 * (evq_config_use() has been called), writes, and remembers for the dispatcher what
 * it changed. now: the time of the call, by evq_clock_now(). The event that it hands
 * back is in the current memory context.
 *
 * Functions named _must_ raise an error where the others return a verdict. Reports
 * and _must_ wait for the transaction that is changing the event's row; acquire and
 * the verbs of the engine do not.
 */
#ifndef EVQ_LIFECYCLE_H
#define EVQ_LIFECYCLE_H

#include "utils/jsonb.h"

#include "session/config.h"
#include "tables/store.h"

/* One event to publish. */
typedef struct EvqPublish
{
	const EvqEventType *event_type;
	const char *flow_id;
	Datum payload;                  /* jsonb; 0 = it is to be made of payload_part, */
	const JsonbValue *payload_part; /* which is a part of an argument */
	Datum headers;                  /* jsonb, 0 = none */
	int32 on_fail_event_type_no;    /* 0 = the event type's */
	bool has_run_at;
	TimestampTz run_at;
	bool has_priority;
	int16 priority;
	const char *idempotency_key; /* NULL = none */
	const char *group_key;       /* NULL = that of the parent, or what the flow's group_by says */
} EvqPublish;

/* What a report found. */
typedef enum EvqVerdict
{
	EVQ_ACCEPTED,
	EVQ_ACCEPTED_BEFORE, /* the same success was reported already */
	EVQ_NO_SUCH_EVENT,
	EVQ_WRONG_STATE,
	EVQ_PERMIT_LOST
} EvqVerdict;

/* A permit as a worker shows it. */
typedef struct EvqPermit
{
	bool given; /* false = "the attempt now running" */
	int64 value;
} EvqPermit;

/* An attempt, as a worker names it. */
typedef struct EvqAttempt
{
	pg_uuid_t event_id;
	EvqPermit permit;
} EvqAttempt;

/* What a worker asks for: an event, on these terms. */
typedef struct EvqAcquisition
{
	const pg_uuid_t *event_id;
	const char *worker; /* NULL = unknown */
	int64 permit_for;   /* microseconds; EVQ_DEFAULT_TIME = the event type's */
} EvqAcquisition;

/* What it gets; all in the memory context of the call. */
typedef struct EvqAcquired
{
	EvqEvent event;
	Datum payload;
	Datum headers; /* 0 = none */
} EvqAcquired;

/* Is told of an event that was acquired; true = that is enough. What it was read into is freed when this returns. */
typedef bool (*EvqAcquiredCallback)(void *context, EvqStore *store, const EvqAcquired *acquired);

/* A success. */
typedef struct EvqSuccess
{
	const EvqOutcome *outcome; /* NULL = none, in a report of many */
	EvqPublish *spinoffs;
	int spinoff_count;

	/* Set by the verb: what was published with it, or with the success that it repeats. */
	const pg_uuid_t *spinoff_ids;
	int spinoff_id_count;
} EvqSuccess;

/* An event that goes back to waiting. */
typedef struct EvqRelease
{
	bool snooze; /* until run_at; else it is due now */
	TimestampTz run_at;
} EvqRelease;

typedef struct EvqFailureReport
{
	const char *error_message;
	const char *stack_trace; /* NULL = none */
	bool retryable;
	int64 retry_in; /* microseconds, -1 = as configured */
} EvqFailureReport;

/* What the clock asked of an event. */
typedef enum EvqSettled
{
	EVQ_SETTLED_NOTHING,   /* nothing is due; the event is as read */
	EVQ_SETTLED_TIMED_OUT, /* its state timed out; it is live or failed now */
	EVQ_SETTLED_EXPIRED,   /* its lifespan is over, or its suspension, and it is not retried */
	EVQ_SETTLED_BUSY,      /* somebody is changing it */
	EVQ_SETTLED_GONE       /* there is no such live event */
} EvqSettled;

/* What became of a wish to acquire. */
typedef enum EvqGrant
{
	EVQ_GRANTED,
	EVQ_GRANT_LATER, /* somebody is changing it, its type is suspended, or it is to be dispatched first */
	EVQ_GRANT_REFUSED
} EvqGrant;

/* What the trigger of a suspended event brings. */
typedef struct EvqActivation
{
	Datum payload_patch; /* a jsonb object merged into the payload, 0 = none */
	Datum answer;        /* jsonb, 0 = none */
	EvqPermit permit;    /* of the attempt that it is for; not given = whichever runs or sleeps */
} EvqActivation;

#define EVQ_DEFAULT_TIME (-1)

extern void evq_lifecycle_publish(EvqStore *store, TimestampTz now, const EvqPublish *requests, int count,
								  const char *what, pg_uuid_t *ids);

/* workers */
extern bool evq_lifecycle_may_dispatch(const EvqEvent *event, TimestampTz now);
extern bool evq_lifecycle_may_acquire(const EvqEvent *event, TimestampTz now);
extern EvqGrant
evq_lifecycle_acquire(EvqStore *store, TimestampTz now, const EvqAcquisition *wanted, EvqAcquired *acquired);
extern EvqVerdict evq_lifecycle_succeed(EvqStore *store, TimestampTz now, const EvqAttempt *attempt,
										EvqSuccess *success, EvqEvent *event);
extern EvqVerdict evq_lifecycle_fail(EvqStore *store, TimestampTz now, const EvqAttempt *attempt,
									 const EvqFailureReport *report, EvqEvent *event);
extern EvqVerdict evq_lifecycle_extend(EvqStore *store, TimestampTz now, const EvqAttempt *attempt,
									   int64 extend_by, EvqEvent *event);
extern EvqVerdict evq_lifecycle_release(EvqStore *store, TimestampTz now, const EvqAttempt *attempt,
										const EvqRelease *release, EvqEvent *event);
extern EvqVerdict evq_lifecycle_suspend(EvqStore *store, TimestampTz now, const EvqAttempt *attempt,
										int64 timeout, EvqEvent *event);
extern void evq_lifecycle_refuse(EvqVerdict verdict, const pg_uuid_t *event_id, const EvqEvent *event);

/* operators and triggers */
extern EvqState evq_lifecycle_must_activate(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id,
											const EvqActivation *activation);
extern bool
evq_lifecycle_must_cancel(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, const char *reason);
extern void evq_lifecycle_must_retry(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id);

/* the engine */
extern EvqSettled
evq_lifecycle_settle(EvqStore *store, TimestampTz now, const pg_uuid_t *event_id, EvqEvent *event);
extern bool evq_lifecycle_dispatch(EvqStore *store, TimestampTz now, EvqEvent *event, int64 dispatch_timeout);

#endif /* EVQ_LIFECYCLE_H */
