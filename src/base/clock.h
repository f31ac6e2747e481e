/*
 * clock.h
 *		The clocks of the engine.
 */
#ifndef EVQ_CLOCK_H
#define EVQ_CLOCK_H

#include "base/types.h"

extern TimestampTz evq_clock_now(void);
extern int64 evq_clock_monotonic(void);
extern long evq_clock_ms_until(TimestampTz now, TimestampTz at);
extern bool evq_clock_once_a_minute(int64 *last);

#endif /* EVQ_CLOCK_H */
