/*
 * rate.h
 *		Token buckets: how many events may begin in a time.
 */
#ifndef EVQ_RATE_H
#define EVQ_RATE_H

/* So many events a time, and so many at once; see rate.c. */
typedef struct EvqRate
{
	int64 every; /* nanoseconds in which one token comes; 0 = no limit */
	int burst;   /* what the bucket holds */
} EvqRate;

typedef struct EvqBucket
{
	int64 tokens; /* less than 0: so many are owed */
	int64 since;  /* nanoseconds, by a clock that is never set back: tokens of the time before are in it */
} EvqBucket;

#define EVQ_RATE_NEVER PG_INT64_MAX

extern EvqRate evq_rate_make(double events, int64 per, int burst);
extern void evq_bucket_begin(EvqBucket *bucket, int64 now);
extern bool evq_bucket_fill(EvqBucket *bucket, const EvqRate *rate, int given, int64 now);
extern void evq_bucket_take(EvqBucket *bucket);
extern int64 evq_bucket_next_at(const EvqBucket *bucket, const EvqRate *rate, int given);
extern void evq_bucket_pay(EvqBucket *bucket, int64 tokens);
extern int64 evq_bucket_when(const EvqBucket *bucket, const EvqRate *rate, int given, int tokens);
extern bool evq_bucket_is_full(const EvqBucket *bucket, const EvqRate *rate, int64 now);
extern bool evq_bucket_is_full_since(const EvqRate *rate, int64 since, int64 now);

#endif /* EVQ_RATE_H */
