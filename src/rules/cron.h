/*
 * cron.h
 *		The times that a cron expression stands for, on a clock that is never set. Pure: no SQL, no clock, no memory context.
 */
#ifndef EVQ_CRON_H
#define EVQ_CRON_H

#include "base/types.h"

/* Bit n: the field has the value n. */
typedef struct EvqCron
{
	uint64 seconds; /* 0 alone, where there is no such field */
	uint64 minutes;
	uint64 hours;
	uint64 days;
	uint64 months;
	uint64 weekdays; /* 0 = Sunday */
	bool has_seconds;
	bool any_hour;   /* the field of the hour begins with a star */
	bool either_day; /* day of month or day of week will do: neither begins with a star */
} EvqCron;

/* Why a text is no cron expression. */
typedef struct EvqCronProblem
{
	const char *field;
	const char *what; /* follows the name of the field */
} EvqCronProblem;

extern const char *evq_cron_expand(const char *text);
extern bool evq_cron_parse(const char *fields, EvqCron *cron, EvqCronProblem *problem);
extern bool evq_cron_next(const EvqCron *cron, TimestampTz after, TimestampTz *slot);
extern bool evq_cron_previous(const EvqCron *cron, TimestampTz until, TimestampTz *slot);
extern int64 evq_cron_count(const EvqCron *cron, TimestampTz after, TimestampTz until);

#endif /* EVQ_CRON_H */
