/*
 * acquire.h
 *		How workers come by events: from the offer, from the table, from their own transaction.
 */
#ifndef EVQ_ACQUIRE_H
#define EVQ_ACQUIRE_H

#include "session/search.h"

/* What evq_acquire_next() is asked for. */
typedef struct EvqAcquireNext
{
	EvqSearch search;
	int max_events;     /* lowered when the callback has enough */
	const char *worker; /* NULL = unknown */
	int64 permit_for;   /* microseconds; EVQ_DEFAULT_TIME = the event types' */
	EvqAcquiredCallback acquired;
	void *context; /* of that */

	/* Set by evq_acquire_next(). */
	EvqStore *store;
	int count; /* of those acquired by now */
} EvqAcquireNext;

/* A flow among several. */
typedef struct EvqWeightedFlow
{
	const EvqFlow *flow;
	int64 weight;
} EvqWeightedFlow;

extern EvqGrant evq_acquire_one(EvqStore *store, TimestampTz now, const EvqAcquisition *wanted,
								EvqAcquiredCallback acquired, void *context);
extern void evq_acquire_next(EvqStore *store, EvqAcquireNext *wanted);
extern void evq_acquire_next_of(EvqStore *store, const EvqAcquireNext *wanted, const EvqWeightedFlow *flows,
								int flow_count);

#endif /* EVQ_ACQUIRE_H */
