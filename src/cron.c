/*
 * cron.c
 *		The times that a cron expression stands for, in UTC.
 *
 * A text that is accepted here means to pg_cron 1.4 what it means here. Not
 * the other way round: pg_cron reads "1.5" as 1, "6-0" as never, and ignores a
 * sixth field; here these are mistakes.
 */
#include "postgres.h"

#include <ctype.h>

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/datetime.h"

#include "cron.h"

#define MINUTES_A_DAY (24 * 60)

/* The calendar repeats, days of the week included, after so many days. */
#define DAYS_A_CYCLE 146097

#define MAX_WORD 9

typedef struct CronField
{
	const char *name;
	int low;
	int high;
	int first_word; /* value of words[0] */
	const char *const *words;
} CronField;

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
										  "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
static const char *const no_names[] = {NULL};

static const CronField minute_field = {"minute", 0, 59, 0, no_names};
static const CronField hour_field = {"hour", 0, 23, 0, no_names};
static const CronField day_field = {"day of month", 1, 31, 0, no_names};
static const CronField month_field = {"month", 1, 12, 1, month_names};
static const CronField weekday_field = {"day of week", 0, 7, 0, weekday_names};

/* The five fields that a word such as @daily stands for; any other text as it is, without blanks before it. */
const char *
evq_cron_expand(const char *text)
{
	static const struct
	{
		const char *word;
		const char *fields;
	} words[] = {{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
				 {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
				 {"@hourly", "0 * * * *"}};

	text += strspn(text, " \t");
	for (int i = 0; i < lengthof(words); i++)
	{
		size_t length = strlen(words[i].word);

		if (strncmp(text, words[i].word, length) == 0 && text[length + strspn(text + length, " \t")] == '\0')
			return words[i].fields;
	}
	return text;
}

/* Reads a number, or a name of the field. NULL = done; otherwise what is wrong. */
static const char *
read_value(const char **at, const CronField *field, int *value)
{
	char word[MAX_WORD + 1];
	int length = 0;

	while (isalnum((unsigned char) **at))
	{
		if (length == MAX_WORD)
			return "has a number or name that is too long";
		word[length++] = *(*at)++;
	}
	word[length] = '\0';
	if (length == 0)
		return "lacks a number";
	for (int i = 0; field->words[i] != NULL; i++)
	{
		if (pg_strcasecmp(word, field->words[i]) == 0)
		{
			*value = field->first_word + i;
			return NULL;
		}
	}
	if (strspn(word, "0123456789") != length)
		return "has a name that it does not know";
	*value = atoi(word);
	return NULL;
}

/* Reads VALUE, FROM-TO, FROM-TO/STEP, * or *\/STEP. */
static const char *
read_range(const char **at, const CronField *field, uint64 *set)
{
	static const CronField step_field = {"step", 0, 0, 0, no_names};
	const char *problem;
	int from = field->low;
	int to = field->high;
	int step = 1;
	bool is_range = true;

	if (**at == '*')
		(*at)++;
	else
	{
		if ((problem = read_value(at, field, &from)) != NULL)
			return problem;
		is_range = **at == '-';
		to = from;
		if (is_range)
		{
			(*at)++;
			if ((problem = read_value(at, field, &to)) != NULL)
				return problem;
		}
	}
	if (from < field->low || from > field->high || to < field->low || to > field->high)
		return "has a number that is out of range";
	if (from > to)
		return "has a range that runs backwards";
	if (**at == '/')
	{
		(*at)++;
		if (!is_range)
			return "has a step without a range";
		if ((problem = read_value(at, &step_field, &step)) != NULL)
			return problem;
		if (step == 0)
			return "has a step of 0";
	}
	for (int value = from; value <= to; value += step)
		*set |= UINT64CONST(1) << value;
	return NULL;
}

/* Reads a list of ranges, and the blanks behind it. */
static bool
read_field(const char **at, const CronField *field, uint64 *set, EvqCronProblem *problem)
{
	problem->field = field->name;
	problem->what = **at == '\0' ? "is missing" : NULL;
	*set = 0;
	while (problem->what == NULL)
	{
		problem->what = read_range(at, field, set);
		if (problem->what != NULL || **at != ',')
			break;
		(*at)++;
	}
	if (problem->what == NULL && strchr(" \t", **at) == NULL)
		problem->what = "has something that is no list of numbers, names, ranges and steps";
	*at += strspn(*at, " \t");
	return problem->what == NULL;
}

/* false = the text is not five fields; then problem says why. */
bool
evq_cron_parse(const char *fields, EvqCron *cron, EvqCronProblem *problem)
{
	bool any_day;

	fields += strspn(fields, " \t");
	if (!read_field(&fields, &minute_field, &cron->minutes, problem) ||
		!read_field(&fields, &hour_field, &cron->hours, problem))
		return false;
	/* It is the star at the beginning that counts, as Vixie's cron has it: of "*" and of a step of it. */
	any_day = *fields == '*';
	if (!read_field(&fields, &day_field, &cron->days, problem) ||
		!read_field(&fields, &month_field, &cron->months, problem))
		return false;
	any_day |= *fields == '*';
	if (!read_field(&fields, &weekday_field, &cron->weekdays, problem))
		return false;
	cron->either_day = !any_day;
	if (cron->weekdays & (UINT64CONST(1) << 7))
		cron->weekdays |= 1;
	problem->what = "is followed by something";
	return *fields == '\0';
}

static bool
has(uint64 set, int value)
{
	return (set >> value) & 1;
}

static bool
is_day(const EvqCron *cron, int julian_day)
{
	int year;
	int month;
	int day;
	bool of_month;
	bool of_week;

	j2date(julian_day, &year, &month, &day);
	of_month = has(cron->days, day);
	of_week = has(cron->weekdays, j2day(julian_day));
	return has(cron->months, month) && (cron->either_day ? of_month || of_week : of_month && of_week);
}

/* Takes a time apart, rounded down to the minute. */
static void
split(TimestampTz time, int *julian_day, int *minute)
{
	int64 day = time / USECS_PER_DAY - (time % USECS_PER_DAY < 0);

	*julian_day = (int) day + POSTGRES_EPOCH_JDATE;
	*minute = (int) ((time - day * USECS_PER_DAY) / USECS_PER_MINUTE);
}

/*
 * The first match in one direction (step 1 or -1), from a minute on, that
 * included. false = there is none in a whole cycle of the calendar, or before
 * the end of PostgreSQL's.
 */
static bool
search(const EvqCron *cron, int julian_day, int minute, int step, TimestampTz *slot)
{
	for (int i = 0; i <= DAYS_A_CYCLE && julian_day >= 0; i++)
	{
		if (is_day(cron, julian_day))
		{
			for (; minute >= 0 && minute < MINUTES_A_DAY; minute += step)
			{
				if (has(cron->hours, minute / 60) && has(cron->minutes, minute % 60))
				{
					*slot = (julian_day - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY + minute * USECS_PER_MINUTE;
					return IS_VALID_TIMESTAMP(*slot);
				}
			}
		}
		julian_day += step;
		minute = step > 0 ? 0 : MINUTES_A_DAY - 1;
	}
	return false;
}

/* The first match after a time. */
bool
evq_cron_next(const EvqCron *cron, TimestampTz after, TimestampTz *slot)
{
	int julian_day;
	int minute;

	split(after, &julian_day, &minute);
	return search(cron, julian_day, minute + 1, 1, slot);
}

/* The last match before a time or at it. */
bool
evq_cron_previous(const EvqCron *cron, TimestampTz until, TimestampTz *slot)
{
	int julian_day;
	int minute;

	split(until, &julian_day, &minute);
	return search(cron, julian_day, minute, -1, slot);
}

/* Matches of a day, up to a minute, that included. */
static int
count_day(const EvqCron *cron, int julian_day, int until)
{
	int count = 0;

	if (!is_day(cron, julian_day))
		return 0;
	if (until == MINUTES_A_DAY - 1)
		return pg_popcount64(cron->hours) * pg_popcount64(cron->minutes);
	for (int minute = 0; minute <= until; minute++)
		count += has(cron->hours, minute / 60) && has(cron->minutes, minute % 60);
	return count;
}

/* How many matches there are after a time, up to another one, that included. */
int64
evq_cron_count(const EvqCron *cron, TimestampTz after, TimestampTz until)
{
	int first_day;
	int first_minute;
	int last_day;
	int last_minute;
	int64 count;

	if (after >= until)
		return 0;
	split(after, &first_day, &first_minute);
	split(until, &last_day, &last_minute);
	count = count_day(cron, last_day, last_minute) - count_day(cron, first_day, first_minute);
	for (int day = first_day; day < last_day; day++)
	{
		CHECK_FOR_INTERRUPTS();
		count += count_day(cron, day, MINUTES_A_DAY - 1);
	}
	return count;
}
