/*
 * zone.h
 *		The times that a cron expression stands for on the clocks of a time zone. Pure: no SQL, no clock.
 */
#ifndef EVQ_ZONE_H
#define EVQ_ZONE_H

#include "pgtime.h"

#include "rules/cron.h"

extern pg_tz *evq_zone_find(const char *name);
extern bool evq_zone_next(const EvqCron *cron, pg_tz *zone, TimestampTz after, TimestampTz *slot);
extern bool evq_zone_previous(const EvqCron *cron, pg_tz *zone, TimestampTz until, TimestampTz *slot);
extern int64 evq_zone_count(const EvqCron *cron, pg_tz *zone, TimestampTz after, TimestampTz until);

#endif /* EVQ_ZONE_H */
