/*
 * zone.c
 *		The times that a cron expression stands for on the clocks of a time zone.
 *
 * Clocks that are set forward leave out some times, and clocks that are set
 * back show some twice. An expression whose field of the hour begins with a
 * star goes by what clocks show: nothing for a time that is left out, each of
 * the two otherwise. Any other one names times of the day, and each of them
 * comes once: the first of two, and, where it is left out, the moment when the
 * clocks are set.
 *
 * A local time is kept as the TimestampTz that it would be in UTC. Between two
 * settings of the clocks it differs by a fixed offset.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "rules/zone.h"

/* Clocks are not set further than this, and not twice within it. */
#define LONGEST_SHIFT USECS_PER_DAY

/* From one setting of the clocks to the next. */
typedef struct Stretch
{
	int64 offset;     /* what local time is ahead of UTC */
	bool ends;        /* false = the clocks are never set again */
	TimestampTz end;  /* when they are set */
	int64 end_offset; /* the offset from then on */
} Stretch;

/*
 * Is this a rule, such as UTC+3, in place of a name? PostgreSQL gives a rule
 * in upper case back, and names as they are in the database of time zones.
 */
static bool
is_rule(const char *canonical)
{
	static const char *const names[] = {"EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT", "GMT0", "GMT+0", "GMT-0"};

	if (strpbrk(canonical, "0123456789") == NULL || strpbrk(canonical, "abcdefghijklmnopqrstuvwxyz") != NULL)
		return false;
	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(canonical, names[i]) == 0)
			return false;
	}
	return true;
}

/*
 * The time zone of this name, which lives as long as the process; NULL = there is
 * none. A POSIX rule (XYZ-2) counts as none: its sign says the opposite of what
 * one would think.
 */
pg_tz *
evq_zone_find(const char *name)
{
	pg_tz *zone = pg_tzset(name);

	return zone != NULL && pg_tz_acceptable(zone) && !is_rule(pg_get_timezone_name(zone)) ? zone : NULL;
}

static pg_time_t
to_unix(TimestampTz time)
{
	return timestamptz_to_time_t(time) - (time % USECS_PER_SEC < 0 ? 1 : 0);
}

/* The stretch that a time lies in. */
static Stretch
stretch_at(pg_tz *zone, TimestampTz time)
{
	pg_time_t from = to_unix(time);
	pg_time_t boundary;
	long before;
	long after = 0;
	int before_is_dst;
	int after_is_dst;
	int result = pg_next_dst_boundary(&from, &before, &before_is_dst, &boundary, &after, &after_is_dst, zone);
	Stretch stretch = {.ends = result > 0};

	if (result < 0)
		return stretch;
	stretch.offset = before * USECS_PER_SEC;
	if (stretch.ends)
	{
		stretch.end = time_t_to_timestamptz(boundary);
		stretch.end_offset = after * USECS_PER_SEC;
	}
	return stretch;
}

/*
 * Local times of the stretch that a time lies in count after this one: those
 * up to it have been, the time itself included.
 */
static TimestampTz
local_after(const EvqCron *cron, pg_tz *zone, TimestampTz time, const Stretch *stretch)
{
	TimestampTz local = time + stretch->offset;

	if (!cron->any_hour)
	{
		Stretch before = stretch_at(zone, time - LONGEST_SHIFT);

		/* Set back a short time ago: what clocks showed before that does not count again. */
		if (before.ends && before.end <= time && before.end_offset < before.offset)
			local = Max(local, before.end + before.offset - USECS_PER_SEC);
	}
	return local;
}

/* Local times of the stretch that begins where this one ends count after this one. */
static TimestampTz
local_after_end(const EvqCron *cron, const Stretch *stretch)
{
	int64 offset = cron->any_hour ? stretch->end_offset : Max(stretch->offset, stretch->end_offset);

	return stretch->end + offset - USECS_PER_SEC;
}

/* Does a local time that clocks leave out at the end of the stretch ring then? */
static bool
rings_at_end(const EvqCron *cron, const Stretch *stretch, TimestampTz local)
{
	return !cron->any_hour && local < stretch->end + stretch->end_offset;
}

/* The first time after one; false = none comes. */
bool
evq_zone_next(const EvqCron *cron, pg_tz *zone, TimestampTz after, TimestampTz *slot)
{
	Stretch stretch = stretch_at(zone, after);
	TimestampTz local = local_after(cron, zone, after, &stretch);

	for (;;)
	{
		TimestampTz match;

		CHECK_FOR_INTERRUPTS();
		if (!evq_cron_next(cron, local, &match))
			return false;
		if (!stretch.ends || match < stretch.end + stretch.offset)
		{
			*slot = match - stretch.offset;
			return IS_VALID_TIMESTAMP(*slot);
		}
		if (rings_at_end(cron, &stretch, match))
		{
			*slot = stretch.end;
			return true;
		}
		/* Far ahead the stretch is the one that the match lies in, or one before it. */
		local = local_after_end(cron, &stretch);
		if (match - local > 4 * LONGEST_SHIFT)
		{
			TimestampTz near = match - 2 * LONGEST_SHIFT;

			stretch = stretch_at(zone, near);
			local = local_after(cron, zone, near, &stretch);
		}
		else
			stretch = stretch_at(zone, stretch.end);
	}
}

/* The last time before one, or at it; false = there was none. */
bool
evq_zone_previous(const EvqCron *cron, pg_tz *zone, TimestampTz until, TimestampTz *slot)
{
	TimestampTz early;
	TimestampTz late = until;

	/* By the calendar: no time lies further from its local one than this. */
	if (!evq_cron_previous(cron, until - 2 * LONGEST_SHIFT, &early))
		return false;
	early -= 2 * LONGEST_SHIFT;
	/* After early comes one that is not too late, after late comes none. */
	while (late - early > USECS_PER_SEC)
	{
		TimestampTz middle = early + (late - early) / 2;

		if (evq_zone_next(cron, zone, middle, slot) && *slot <= until)
			early = middle;
		else
			late = middle;
	}
	return evq_zone_next(cron, zone, early, slot) && *slot <= until;
}

/* How many times there are after one and up to another, that included. */
int64
evq_zone_count(const EvqCron *cron, pg_tz *zone, TimestampTz after, TimestampTz until)
{
	Stretch stretch = stretch_at(zone, after);
	TimestampTz local = local_after(cron, zone, after, &stretch);
	int64 count = 0;

	if (after >= until)
		return 0;
	while (stretch.ends && stretch.end <= until)
	{
		TimestampTz begin = stretch.end + stretch.end_offset;
		TimestampTz match;

		CHECK_FOR_INTERRUPTS();
		count += evq_cron_count(cron, local, stretch.end + stretch.offset - USECS_PER_SEC);
		/* One for all that is left out; what clocks show then is counted with the rest. */
		if (stretch.end_offset > stretch.offset &&
			evq_cron_next(cron, stretch.end + stretch.offset - USECS_PER_SEC, &match) &&
			rings_at_end(cron, &stretch, match) && evq_cron_count(cron, begin - USECS_PER_SEC, begin) == 0)
			count++;
		local = local_after_end(cron, &stretch);
		stretch = stretch_at(zone, stretch.end);
	}
	return count + evq_cron_count(cron, local, until + stretch.offset);
}
