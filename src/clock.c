/*
 * clock.c
 *		The clocks of the engine.
 */
#include "postgres.h"

#include "portability/instr_time.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "guc.h"

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
