/*
 * aging.h
 *		How priorities rise while events wait.
 *
 * An event counts as one more urgent for each step that it has waited: its priority is p + (now - at) / step. Whatever the time
 * is, that compares two events as at - p * step does, the other way round. So the order of those that wait never changes, and
 * nothing has to be sorted anew.
 */
#ifndef EVQ_AGING_H
#define EVQ_AGING_H

#include "common/int.h"

#include "base/types.h"

/* The time by which an event stands in line, as if it had priority 0. step: microseconds, above 0. */
static inline TimestampTz
evq_aged_at(TimestampTz at, int16 priority, int64 step)
{
	int64 lead;
	TimestampTz aged_at;

	if (pg_mul_s64_overflow(priority, step, &lead) || pg_sub_s64_overflow(at, lead, &aged_at))
		return priority > 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return aged_at;
}

/* The place of an event among the offers of its flow, whose groups do not take turns: 0 = behind what is there. */
static inline int64
evq_aged_place(int64 step, TimestampTz at, int16 priority)
{
	return step > 0 ? evq_aged_at(at, priority, step) : 0;
}

#endif /* EVQ_AGING_H */
