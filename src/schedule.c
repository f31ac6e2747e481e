/*
 * schedule.c
 *		SQL functions about the times of schedules.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "cron.h"
#include "errors.h"

PG_FUNCTION_INFO_V1(evq_sql_clock_now);
PG_FUNCTION_INFO_V1(evq_sql_cron_fields);
PG_FUNCTION_INFO_V1(evq_sql_cron_next);
PG_FUNCTION_INFO_V1(evq_sql_cron_previous);
PG_FUNCTION_INFO_V1(evq_sql_cron_count);

#define FORM_OF_CRON                                                                                    \
	"Write minute, hour, day of month, month and day of week, as in \"30 2 * * mon-fri\", or @hourly, " \
	"@daily, @weekly, @monthly or @yearly. Times are UTC."

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

static Datum
find_slot(FunctionCallInfo fcinfo, bool (*find)(const EvqCron *, TimestampTz, TimestampTz *))
{
	char *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	EvqCron cron;
	TimestampTz slot;

	read_cron(given, &cron);
	if (!find(&cron, finite_time(PG_GETARG_TIMESTAMPTZ(1)), &slot))
		refuse_never(given);
	PG_RETURN_TIMESTAMPTZ(slot);
}

Datum
evq_sql_cron_next(PG_FUNCTION_ARGS)
{
	return find_slot(fcinfo, evq_cron_next);
}

Datum
evq_sql_cron_previous(PG_FUNCTION_ARGS)
{
	return find_slot(fcinfo, evq_cron_previous);
}

Datum
evq_sql_cron_count(PG_FUNCTION_ARGS)
{
	char *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	EvqCron cron;

	read_cron(given, &cron);
	PG_RETURN_INT64(
		evq_cron_count(&cron, finite_time(PG_GETARG_TIMESTAMPTZ(1)), finite_time(PG_GETARG_TIMESTAMPTZ(2))));
}
