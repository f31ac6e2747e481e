/*
 * retry.c
 *		Arithmetic of attempts, delays and lifespan.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"

#include "rules/retry.h"

/*
 * Delay before an attempt (1 = the first), in microseconds. The list says it;
 * beyond the list each delay is the one before it times backoff_factor, at
 * most max_delay, moved by up to jitter of itself. random: 0 to 1.
 */
int64
evq_retry_delay(const EvqRetryRule *rule, int attempt, double random)
{
	int64 last = rule->delays[rule->delay_count - 1];
	double delay;

	if (attempt <= rule->delay_count)
		return rule->delays[attempt - 1];

	if (last == 0)
		return 0;
	delay = (double) last * pow(rule->backoff_factor, attempt - rule->delay_count);
	delay = Min(delay, 1e17) * (1 + rule->jitter * (2 * random - 1));
	/* A list may say more than max_delay itself. */
	return (int64) Min(delay, (double) Max(rule->max_delay, last));
}

/* Is there a next attempt after a delay, within max_attempts and before due_at? Then next_at is set. */
bool
evq_retry_next(const EvqRetryRule *rule, int attempts_used, TimestampTz now, TimestampTz due_at, int64 delay,
			   TimestampTz *next_at)
{
	if (attempts_used >= rule->max_attempts)
		return false;
	*next_at = evq_retry_add(now, delay);
	return *next_at < due_at;
}

/* Adds without overflow; a time past the end of the calendar is its end. */
TimestampTz
evq_retry_add(TimestampTz time, int64 delay)
{
	TimestampTz sum;

	if (pg_add_s64_overflow(time, delay, &sum) || !IS_VALID_TIMESTAMP(sum))
		return END_TIMESTAMP - 1;
	return sum;
}

/* The smallest of the fixed times to live, in seconds, that covers what is left (microseconds). */
int64
evq_retry_ttl(int64 left)
{
	static const int64 steps[] = {30, 75, 150, 300, 600, 1200, 3600, 7200, 86400};

	for (int i = 0; i < lengthof(steps); i++)
	{
		if (left <= steps[i] * USECS_PER_SEC)
			return steps[i];
	}
	return steps[lengthof(steps) - 1];
}
