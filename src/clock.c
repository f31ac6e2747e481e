/*
 * clock.c
 *		The one clock of the engine: the server's, moved by evq.debug_clock_offset in tests.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "clock.h"
#include "guc.h"

TimestampTz
evq_clock_now(void)
{
	return GetCurrentTimestamp() + (TimestampTz) evq_debug_clock_offset * USECS_PER_SEC;
}
