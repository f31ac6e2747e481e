/*
 * schedule.c
 *		SQL functions about schedules: their times, and telling the dispatcher of them.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/errors.h"
#include "rules/zone.h"
#include "session/pending.h"

PG_FUNCTION_INFO_V1(evq_sql_clock_now);
PG_FUNCTION_INFO_V1(evq_sql_cron_fields);
PG_FUNCTION_INFO_V1(evq_sql_cron_next);
PG_FUNCTION_INFO_V1(evq_sql_cron_next_if_any);
PG_FUNCTION_INFO_V1(evq_sql_cron_previous);
PG_FUNCTION_INFO_V1(evq_sql_cron_count);
PG_FUNCTION_INFO_V1(evq_sql_schedules_changed);

#define FORM_OF_CRON                                                                                          \
	"Write minute, hour, day of month, month and day of week, as in \"30 2 * * mon-fri\", the second before " \
	"them if need be, or @hourly, @daily, @weekly, @monthly or @yearly."

static void
refuse_never(const char *text)
{
	ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
					errmsg("the time of cron expression \"%s\" never comes", text),
					errhint("No year of the calendar has that day: correct the day of month or the month.")));
}

/* Parses a cron expression; returns its five fields. */
static const char *
read_cron(const char *text, EvqCron *cron)
{
	const char *fields = evq_cron_expand(text);
	EvqCronProblem problem;

	if (strncmp(fields, "@reboot", 7) == 0)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
						errmsg("cron expression \"%s\" names no times", text), errhint(FORM_OF_CRON)));
	if (!evq_cron_parse(fields, cron, &problem))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("\"%s\" is not a cron expression", text),
						errdetail("The %s %s.", problem.field, problem.what), errhint(FORM_OF_CRON)));
	return fields;
}

static TimestampTz
finite_time(TimestampTz time)
{
	if (TIMESTAMP_NOT_FINITE(time))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("the time is infinite"),
						errhint("Pass a time within the calendar.")));
	return time;
}

Datum
evq_sql_clock_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(evq_clock_now());
}

Datum
evq_sql_cron_fields(PG_FUNCTION_ARGS)
{
	char *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	StringInfoData result;
	EvqCron cron;
	TimestampTz slot;
	const char *fields = read_cron(given, &cron);

	if (!evq_cron_next(&cron, 0, &slot))
		refuse_never(given);
	initStringInfo(&result);
	for (const char *at = fields; *at != '\0';)
	{
		int length = (int) strcspn(at, " \t");

		if (result.len > 0)
			appendStringInfoChar(&result, ' ');
		appendBinaryStringInfo(&result, at, length);
		at += length;
		at += strspn(at, " \t");
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(result.data, result.len));
}

/* The time zone that an argument names; NULL = UTC, as where there is no such argument. */
static pg_tz *
read_zone(FunctionCallInfo fcinfo, int argno)
{
	char *name;
	pg_tz *zone;

	if (PG_NARGS() <= argno)
		return NULL;
	name = text_to_cstring(PG_GETARG_TEXT_PP(argno));
	if (pg_strcasecmp(name, "UTC") == 0)
		return NULL;
	zone = evq_zone_find(name);
	if (zone == NULL)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("time zone \"%s\" is not known", name),
						errhint("Pass a name of pg_timezone_names, such as UTC or Europe/Berlin.")));
	return zone;
}

/* zone: NULL = UTC; false = there is none. */
static bool
find_next(const EvqCron *cron, pg_tz *zone, TimestampTz after, TimestampTz *slot)
{
	return zone == NULL ? evq_cron_next(cron, after, slot) : evq_zone_next(cron, zone, after, slot);
}

Datum
evq_sql_cron_next(PG_FUNCTION_ARGS)
{
	char *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TimestampTz after = finite_time(PG_GETARG_TIMESTAMPTZ(1));
	pg_tz *zone = read_zone(fcinfo, 2);
	EvqCron cron;
	TimestampTz slot;

	read_cron(given, &cron);
	if (!find_next(&cron, zone, after, &slot))
		refuse_never(given);
	PG_RETURN_TIMESTAMPTZ(slot);
}

/* The same, and NULL where that errs: whoever looks through all schedules need not catch errors. */
Datum
evq_sql_cron_next_if_any(PG_FUNCTION_ARGS)
{
	const char *fields = evq_cron_expand(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	TimestampTz after = PG_GETARG_TIMESTAMPTZ(1);
	const char *zone_name = text_to_cstring(PG_GETARG_TEXT_PP(2));
	bool is_utc = pg_strcasecmp(zone_name, "UTC") == 0;
	pg_tz *zone = is_utc ? NULL : evq_zone_find(zone_name);
	EvqCronProblem problem;
	EvqCron cron;
	TimestampTz slot;

	if (TIMESTAMP_NOT_FINITE(after) || (zone == NULL && !is_utc) || !evq_cron_parse(fields, &cron, &problem))
		PG_RETURN_NULL();
	if (!find_next(&cron, zone, after, &slot))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(slot);
}

Datum
evq_sql_cron_previous(PG_FUNCTION_ARGS)
{
	char *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TimestampTz until = finite_time(PG_GETARG_TIMESTAMPTZ(1));
	pg_tz *zone = read_zone(fcinfo, 2);
	EvqCron cron;
	TimestampTz slot;

	read_cron(given, &cron);
	if (zone == NULL ? !evq_cron_previous(&cron, until, &slot)
					 : !evq_zone_previous(&cron, zone, until, &slot))
		refuse_never(given);
	PG_RETURN_TIMESTAMPTZ(slot);
}

Datum
evq_sql_cron_count(PG_FUNCTION_ARGS)
{
	char *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TimestampTz after = finite_time(PG_GETARG_TIMESTAMPTZ(1));
	TimestampTz until = finite_time(PG_GETARG_TIMESTAMPTZ(2));
	pg_tz *zone = read_zone(fcinfo, 3);
	EvqCron cron;

	read_cron(given, &cron);
	PG_RETURN_INT64(zone == NULL ? evq_cron_count(&cron, after, until)
								 : evq_zone_count(&cron, zone, after, until));
}

/* The trigger of evq.schedule: the dispatcher looks again when the next one is due. */
Datum
evq_sql_schedules_changed(PG_FUNCTION_ARGS)
{
	evq_pending_schedules_changed();
	PG_RETURN_POINTER(NULL);
}
