/*
 * lifecycle_batch.h
 *		The verbs on events of batches, many at a time, and how one of them comes to a row of its own.
 */
#ifndef EVQ_LIFECYCLE_BATCH_H
#define EVQ_LIFECYCLE_BATCH_H

#include "session/lifecycle.h"
#include "tables/runs.h"

/* Neighbours in a batch that a worker asks for, on these terms. */
typedef struct EvqBatchAcquisition
{
	const pg_uuid_t *first_id;
	int events;
	int most;                    /* of them */
	const ItemPointerData *hint; /* where the batch is, NULL = not known */
	const char *worker;          /* NULL = unknown */
	int64 permit_for;            /* microseconds; EVQ_DEFAULT_TIME = the event type's */
	EvqAcquiredCallback acquired;
	void *context; /* of that */

	/* Set by the verb. */
	int count;      /* of those acquired */
	bool is_enough; /* the callback says */
	int left;       /* ... and of the last ones that were not looked at, for that was enough */
} EvqBatchAcquisition;

/* Which events of batches get a row of their own, so that a verb can change them by that. */
typedef enum EvqTakeOut
{
	EVQ_TAKE_OUT_LIVE,
	EVQ_TAKE_OUT_HELD /* in process with the permit of the attempt */
} EvqTakeOut;

typedef enum EvqTakenOut
{
	EVQ_TAKEN_OUT,  /* it has a row, perhaps since before */
	EVQ_NOT_WANTED, /* the event is as it was read */
	EVQ_TAKE_BUSY,  /* somebody is changing it, and we did not wait */
	EVQ_TAKE_GONE,  /* its row is missing: it has left its batch, and is nowhere */
	EVQ_NOT_OF_BATCH
} EvqTakenOut;

extern int
evq_lifecycle_count_alike(EvqStore *store, const EvqPublish *requests, int count, bool *in_batches);
extern void evq_lifecycle_publish_batches(EvqStore *store, const EvqEvent *model, const EvqPublish *requests,
										  int count, pg_uuid_t *ids);
extern EvqGrant
evq_lifecycle_acquire_from_batch(EvqStore *store, TimestampTz now, EvqBatchAcquisition *wanted);
extern EvqGrant evq_lifecycle_acquire_in_batch(EvqStore *store, TimestampTz now, const EvqAcquisition *wanted,
											   EvqAcquired *acquired);
extern int evq_lifecycle_succeed_in_batch(EvqStore *store, TimestampTz now, const EvqAttempt *attempts,
										  int count, EvqVerdict *verdicts);
extern int
evq_lifecycle_extend_in_batch(EvqStore *store, TimestampTz now, const EvqAttempt *attempts, int count,
							  int64 extend_by, EvqVerdict *verdicts, TimestampTz *due_at);
extern EvqTakenOut evq_lifecycle_take_out(EvqStore *store, TimestampTz now, const EvqAttempt *attempt,
										  EvqTakeOut which, bool wait, EvqEvent *event);
extern bool evq_lifecycle_fetch(EvqStore *store, TimestampTz now, const EvqAttempt *attempt, EvqTakeOut which,
								EvqEvent *event);
extern bool evq_lifecycle_fetch_in_batch(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event);

#endif /* EVQ_LIFECYCLE_BATCH_H */
