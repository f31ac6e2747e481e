/*
 * clock.c
 *		The clocks of the engine.
 */
#include "postgres.h"

#include "portability/instr_time.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/guc.h"

/* The time that decides about events: the server's, moved by evq.debug_clock_offset in tests. */
TimestampTz
evq_clock_now(void)
{
	return GetCurrentTimestamp() + (TimestampTz) evq_debug_clock_offset * USECS_PER_SEC;
}

/* Microseconds since some fixed moment; nobody can turn this clock back. */
int64
evq_clock_monotonic(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/*
 * Milliseconds until a time; 0 when that is over. -infinity is over too, where
 * TimestampDifferenceMilliseconds() of PostgreSQL 15 overflows.
 */
long
evq_clock_ms_until(TimestampTz now, TimestampTz at)
{
	return at <= now ? 0 : TimestampDifferenceMilliseconds(now, at);
}

/*
 * For what may be logged once a minute: true = it may be now, and "last" is set to
 * now. last: when it was, by the monotonic clock; 0 = never.
 */
bool
evq_clock_once_a_minute(int64 *last)
{
	int64 now = evq_clock_monotonic();

	if (*last != 0 && now - *last < USECS_PER_MINUTE)
		return false;
	*last = now;
	return true;
}
