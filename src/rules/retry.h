/*
 * retry.h
 *		Arithmetic of attempts, delays and lifespan. Pure: no SQL, no clock, no random source.
 */
#ifndef EVQ_RETRY_H
#define EVQ_RETRY_H

#include "base/types.h"

/* All times in microseconds. */
typedef struct EvqRetryRule
{
	int max_attempts;
	const int64 *delays; /* before attempt 1, 2, ...; at least one */
	int delay_count;
	double backoff_factor;
	int64 max_delay;
	double jitter; /* 0 to 1 */
} EvqRetryRule;

extern int64 evq_retry_delay(const EvqRetryRule *rule, int attempt, double random);
extern bool evq_retry_next(const EvqRetryRule *rule, int attempts_used, TimestampTz now, TimestampTz due_at,
						   int64 delay, TimestampTz *next_at);
extern TimestampTz evq_retry_add(TimestampTz time, int64 delay);
extern int64 evq_retry_ttl(int64 left);

#endif /* EVQ_RETRY_H */
