/*
 * cron.c
 *		The times that a cron expression stands for, on a clock that is never set.
 *
 * Five fields that are accepted here mean to pg_cron 1.4 what they mean here.
 * Not the other way round: pg_cron reads "1.5" as 1 and "6-0" as never; here
 * these are mistakes. Six fields begin with the second, which pg_cron does not
 * know.
 */
#include "postgres.h"

#include <ctype.h>

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/datetime.h"

#include "rules/cron.h"

#define SECONDS_A_DAY (24 * 60 * 60)

/* The Gregorian calendar repeats, days of the week included, after 400 years: so many days. */
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

static const CronField second_field = {"second", 0, 59, 0, no_names};
static const CronField minute_field = {"minute", 0, 59, 0, no_names};
static const CronField hour_field = {"hour", 0, 23, 0, no_names};
static const CronField day_field = {"day of month", 1, 31, 0, no_names};
static const CronField month_field = {"month", 1, 12, 1, month_names};
static const CronField weekday_field = {"day of week", 0, 7, 0, weekday_names};

/* The five fields that a word such as @daily stands for; of any other text the rest behind its leading blanks. Nothing is allocated. */
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

static int
count_fields(const char *fields)
{
	int count = 0;

	while (*fields != '\0')
	{
		count++;
		fields += strcspn(fields, " \t");
		fields += strspn(fields, " \t");
	}
	return count;
}

/* Takes an expression of five or six fields apart; false = it is none, and problem says why, in strings that are not to be freed. */
bool
evq_cron_parse(const char *fields, EvqCron *cron, EvqCronProblem *problem)
{
	bool any_day;

	fields += strspn(fields, " \t");
	cron->seconds = 1;
	cron->has_seconds = count_fields(fields) == 6;
	if (cron->has_seconds && !read_field(&fields, &second_field, &cron->seconds, problem))
		return false;
	if (!read_field(&fields, &minute_field, &cron->minutes, problem))
		return false;
	cron->any_hour = *fields == '*';
	if (!read_field(&fields, &hour_field, &cron->hours, problem))
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

/* Takes a time apart, rounded down to the second. */
static void
split(TimestampTz time, int *julian_day, int *second)
{
	int64 day = time / USECS_PER_DAY - (time % USECS_PER_DAY < 0);

	*julian_day = (int) day + POSTGRES_EPOCH_JDATE;
	*second = (int) ((time - day * USECS_PER_DAY) / USECS_PER_SEC);
}

/* The first value of a set from one on, in one direction (step 1 or -1), that included; -1 = there is none. */
static int
find_value(uint64 set, int value, int step, int last)
{
	for (; value >= 0 && value <= last; value += step)
	{
		if (has(set, value))
			return value;
	}
	return -1;
}

/* The first match on a day from a second on, in one direction, that included; -1 = there is none. */
static int
find_second(const EvqCron *cron, int second, int step)
{
	int first = step > 0 ? 0 : 59; /* of the minutes of an hour, and of the seconds of a minute */
	int hour = second / 3600;
	int minute = second / 60 % 60;

	second %= 60;
	while (hour >= 0 && hour < 24)
	{
		if (!has(cron->hours, hour))
			minute = -1;
		for (; minute >= 0 && minute < 60; minute += step, second = first)
		{
			if (has(cron->minutes, minute) && (second = find_value(cron->seconds, second, step, 59)) >= 0)
				return (hour * 60 + minute) * 60 + second;
		}
		hour += step;
		minute = second = first;
	}
	return -1;
}

/*
 * The first match in one direction (step 1 or -1), from a second on, that
 * included. false = there is none in a whole cycle of the calendar, or before
 * the end of PostgreSQL's.
 */
static bool
search(const EvqCron *cron, int julian_day, int second, int step, TimestampTz *slot)
{
	for (int i = 0; i <= DAYS_A_CYCLE && julian_day >= 0; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (second >= 0 && second < SECONDS_A_DAY && is_day(cron, julian_day))
		{
			int found = find_second(cron, second, step);

			if (found >= 0)
			{
				*slot = (julian_day - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY + found * USECS_PER_SEC;
				return IS_VALID_TIMESTAMP(*slot);
			}
		}
		julian_day += step;
		second = step > 0 ? 0 : SECONDS_A_DAY - 1;
	}
	return false;
}

/* The first match after a time; false = none comes. */
bool
evq_cron_next(const EvqCron *cron, TimestampTz after, TimestampTz *slot)
{
	int julian_day;
	int second;

	split(after, &julian_day, &second);
	return search(cron, julian_day, second + 1, 1, slot);
}

/* The last match before a time or at it; false = there was none. */
bool
evq_cron_previous(const EvqCron *cron, TimestampTz until, TimestampTz *slot)
{
	int julian_day;
	int second;

	split(until, &julian_day, &second);
	return search(cron, julian_day, second, -1, slot);
}

static int64
count_all(const EvqCron *cron)
{
	return (int64) pg_popcount64(cron->hours) * pg_popcount64(cron->minutes) * pg_popcount64(cron->seconds);
}

/* Matches of a day, up to a second, that included. */
static int64
count_day(const EvqCron *cron, int julian_day, int until)
{
	uint64 hours = cron->hours & ((UINT64CONST(1) << (until / 3600)) - 1);
	uint64 minutes = cron->minutes & ((UINT64CONST(1) << (until / 60 % 60)) - 1);
	uint64 seconds = cron->seconds & ((UINT64CONST(2) << (until % 60)) - 1);
	int64 count;

	if (!is_day(cron, julian_day))
		return 0;
	/* those of the hours before, of the minutes before in this hour, of this minute */
	count = (int64) pg_popcount64(hours) * pg_popcount64(cron->minutes) * pg_popcount64(cron->seconds);
	if (has(cron->hours, until / 3600))
	{
		count += (int64) pg_popcount64(minutes) * pg_popcount64(cron->seconds);
		if (has(cron->minutes, until / 60 % 60))
			count += pg_popcount64(seconds);
	}
	return count;
}

/* How many matches there are after a time, up to another one, that included. */
int64
evq_cron_count(const EvqCron *cron, TimestampTz after, TimestampTz until)
{
	int first_day;
	int first_second;
	int last_day;
	int last_second;
	int64 count;

	if (after >= until)
		return 0;
	split(after, &first_day, &first_second);
	split(until, &last_day, &last_second);
	count = count_day(cron, last_day, last_second) - count_day(cron, first_day, first_second);
	for (int day = first_day; day < last_day; day++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_day(cron, day))
			count += count_all(cron);
	}
	return count;
}
