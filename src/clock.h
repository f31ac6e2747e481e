/*
 * clock.h
 *		The one clock of the engine.
 */
#ifndef EVQ_CLOCK_H
#define EVQ_CLOCK_H

#include "types.h"

extern TimestampTz evq_clock_now(void);
extern int64 evq_clock_monotonic(void);

#endif /* EVQ_CLOCK_H */
