/*
 * rate.c
 *		Token buckets: how many events may begin in a time. Pure: the caller knows the time.
 *
 * An event that is dispatched takes a token, and begins when a worker acquires it, perhaps much later. Until then its
 * token counts as being in the bucket still, which holds "burst" of them: tokens that are there and tokens that are given
 * out are never more. A new token comes "every" so many nanoseconds while there is room for it. So in any time t no more
 * events begin than burst + t / every: those whose tokens were there, or given out, when it began, and those whose tokens
 * came in it. The part of a token that had come by then is no more than the room that there was for it.
 *
 * This holds if the bucket is filled (evq_bucket_fill()) right before "given" goes down, for while it was full no time
 * counts. One begun empty, with what is given out by then, goes on from any other of which nothing is known.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "datatype/timestamp.h"

#include "rules/rate.h"

#define NANOSECONDS 1000
#define LONGEST_EVERY (INT64CONST(3650) * USECS_PER_DAY * NANOSECONDS)

/* Without a burst it is what comes in this time, and one at least. */
#define BURST_TIME (USECS_PER_SEC / 10)
#define MAX_BURST 1000000

/* A rate of so many events in so many microseconds; burst: 0 = as many as come in a tenth of a second, one at least. */
EvqRate
evq_rate_make(double events, int64 per, int burst)
{
	EvqRate rate = {.burst = burst};
	double every = events > 0 ? ceil((double) per * NANOSECONDS / events) : 0;

	if (events <= 0)
		return rate;
	rate.every = every >= (double) LONGEST_EVERY ? LONGEST_EVERY : Max((int64) every, 1);
	if (burst == 0)
		rate.burst = Max(Min(BURST_TIME * NANOSECONDS / rate.every, MAX_BURST), 1);
	return rate;
}

/* An empty bucket. */
void
evq_bucket_begin(EvqBucket *bucket, int64 now)
{
	bucket->tokens = 0;
	bucket->since = now;
}

/* Adds the tokens that have come; given: how many of before are given out and not used yet. Is there one to take? */
bool
evq_bucket_fill(EvqBucket *bucket, const EvqRate *rate, int given, int64 now)
{
	int64 room = Max(rate->burst - given, 0);
	int64 come = (now - bucket->since) / rate->every;

	if (bucket->tokens >= room || come >= room - bucket->tokens)
	{
		bucket->tokens = room;
		bucket->since = now;
	}
	else
	{
		bucket->tokens += come;
		bucket->since += come * rate->every;
	}
	return bucket->tokens > 0;
}

/* Takes one of the tokens that are there; it is given out from now on. */
void
evq_bucket_take(EvqBucket *bucket)
{
	if (bucket->tokens > 0)
		bucket->tokens--;
}

/* When the next token comes, to a bucket just filled in which there is none; EVQ_RATE_NEVER = not before one that is given out was used. */
int64
evq_bucket_next_at(const EvqBucket *bucket, const EvqRate *rate, int given)
{
	return given >= rate->burst ? EVQ_RATE_NEVER : bucket->since + rate->every;
}

/* Takes so many tokens, whether they are there or not: what is not is owed, and comes first. */
void
evq_bucket_pay(EvqBucket *bucket, int64 tokens)
{
	bucket->tokens -= tokens;
}

/* When so many tokens are in a bucket just filled in which they are not yet; EVQ_RATE_NEVER = not before some that are given out were used. */
int64
evq_bucket_when(const EvqBucket *bucket, const EvqRate *rate, int given, int tokens)
{
	int64 time;

	if ((int64) given + tokens > rate->burst ||
		pg_mul_s64_overflow(tokens - bucket->tokens, rate->every, &time) ||
		pg_add_s64_overflow(bucket->since, time, &time))
		return EVQ_RATE_NEVER;
	return time;
}

/* Would it be full now, if nothing of it was given out? */
bool
evq_bucket_is_full(const EvqBucket *bucket, const EvqRate *rate, int64 now)
{
	return (now - bucket->since) / rate->every >= rate->burst - bucket->tokens;
}

/* Would a bucket that was empty then be full now? */
bool
evq_bucket_is_full_since(const EvqRate *rate, int64 since, int64 now)
{
	return (now - since) / rate->every >= rate->burst;
}
