-- Cron expressions: which times they stand for, and what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab
SET timezone = 'America/New_York';
SET datestyle = 'ISO';

-- The next three times of each, told in UTC whatever the session's time zone.
CREATE FUNCTION next_times(cron text, after timestamptz, most int DEFAULT 3) RETURNS text LANGUAGE sql AS $$
	WITH RECURSIVE t (n, at) AS (
		SELECT 1, evq.cron_next(cron, after)
		UNION ALL SELECT n + 1, evq.cron_next(cron, at) FROM t WHERE n < most)
	SELECT string_agg(to_char(at AT TIME ZONE 'UTC', 'Dy YYYY-MM-DD HH24:MI'), ', ' ORDER BY n) FROM t
$$;
SELECT cron, next_times(cron, '2026-11-25 10:17:30+00') FROM (VALUES
	(1, '* * * * *'), (2, '17 * * * *'), (3, '18 * * * *'), (4, '*/15 * * * *'), (5, '5-59/20 * * * *'), (6, '0,30 9-17 * * *'),
	(7, '0 3 * * *'), (8, '0 0 1 * *'), (9, '0 0 31 * *'), (10, '0 12 * * mon-fri'), (11, '0 12 * * SUN'), (12, '0 12 * * 0'), (13, '0 12 * * 7'),
	(14, '0 12 * * 6-7'), (15, '0 12 * * 5-7/2'), (16, '0 0 * feb,JUL *'), (17, '0 0 29 2 *'), (18, '59 23 31 12 *'), (19, '07 010 * * *'),
	(20, '*/70 * * * *'), (21, '* * * * sat,1-3'), (22, E' \t0  3\t* * *  ')) e(n, cron) ORDER BY n;

-- Day of month and day of week: one is enough, unless one of them begins with a star, be it that of a step.
SELECT cron, next_times(cron, '2026-11-25 00:00+00', 5) FROM (VALUES
	(1, '0 0 13 * fri'), (2, '0 0 * * fri'), (3, '0 0 13 * *'), (4, '0 0 */10 * fri'), (5, '0 0 13 * */5'), (6, '0 0 1-31 * fri'), (7, '0 0 13 * 0-7')) e(n, cron) ORDER BY n;

-- Words.
SELECT cron, evq.cron_fields(cron), next_times(cron, '2026-11-25 10:17:30+00', 2)
FROM unnest('{@hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually, " @daily "}'::text[]) cron;
SELECT evq.cron_fields(E'\t0   3 *\t* mon-fri ');

-- Leap days; those of a century that has none; one that is a Sunday comes once in 28 years, or 40.
SELECT next_times('0 0 29 2 *', '2024-02-28 23:59+00', 2), next_times('0 0 29 2 *', '2096-03-01+00', 2);
SELECT next_times('0 0 29 2 */7', '2026-01-01+00', 4);

-- Neither daylight saving nor the session's time zone moves anything.
SELECT next_times('30 2 * * *', '2026-03-07 12:00+00'), next_times('30 6 * * *', '2026-10-31 12:00+00');

-- At the time itself, right before it and after it; seconds do not count.
SELECT evq.cron_next('0 3 * * *', at) AT TIME ZONE 'UTC' AS next, evq.cron_previous('0 3 * * *', at) AT TIME ZONE 'UTC' AS previous
FROM unnest('{2026-11-25 02:59:59.999999+00, 2026-11-25 03:00+00, 2026-11-25 03:00:00.000001+00, 2026-11-25 03:01+00}'::timestamptz[]) at;
SELECT evq.cron_previous(cron, '2026-11-25 10:17:30+00') AT TIME ZONE 'UTC' AS previous
FROM unnest('{* * * * *, 0 0 31 * *, 0 0 29 2 *, @yearly, 0 0 29 2 */7}'::text[]) cron;
SELECT evq.cron_previous('* * * * *', '1999-12-31 23:59:59+00') AT TIME ZONE 'UTC' AS before_2000,
	evq.cron_next('0 0 1 1 *', '0044-03-15 BC') AT TIME ZONE 'UTC' AS before_christ;

-- Counting is as counting one by one.
SELECT cron, evq.cron_count(cron, after, until),
	evq.cron_count(cron, after, until) = (SELECT count(*) FROM generate_series(date_trunc('minute', after) + interval '1 min', until, '1 min') m
										   WHERE evq.cron_previous(cron, m) = m) AS right
FROM (VALUES ('* * * * *', timestamptz '2026-11-24 22:10:30+00', timestamptz '2026-11-27 03:05+00'), ('*/7 8-20 * * mon-wed', '2026-11-20 12:00+00', '2026-12-04 08:07+00'),
	('0 3 * * *', '2026-11-24 03:00+00', '2026-11-26 03:00+00'), ('0 3 * * *', '2026-11-24 02:59+00', '2026-11-24 03:00+00'), ('0 3 * * *', '2026-11-24 03:00+00', '2026-11-24 03:00+00'),
	('15 4 13 * fri', '2026-11-01+00', '2026-11-30+00')) e(cron, after, until);
SELECT evq.cron_count('* * * * *', '2026-11-25', '2026-11-24') AS backwards, evq.cron_count('0 0 29 2 *', '1600-01-01', '2000-01-01') AS leap_days_of_a_cycle;
SELECT bool_and(evq.cron_next(cron, evq.cron_previous(cron, at) - interval '1 min') = evq.cron_previous(cron, at)) AS inverse
FROM unnest('{*/7 * * * *, 0 3 1 * *, 0 0 29 2 *, 1 2 3 4 5}'::text[]) cron, generate_series(timestamptz '2024-01-01', '2030-01-01', '37 days 11:13:17') at;

-- What is refused: each with the field and the reason.
DO $$
DECLARE
	cron text;
BEGIN
	FOREACH cron IN ARRAY ARRAY['', ' ', '* * * *', '* * * * * * *', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * 32 * *', '* * * 13 *', '* * * 0 *', '* * * * 8', '-1 * * * *',
		'1- * * * *', '1/5 * * * *', '*/0 * * * *', '*/ * * * *', '*/x * * * *', '5-3 * * * *', '* * * * sat-sun', '* * * * fri-0', '1,,2 * * * *', ',1 * * * *', '1, * * * *',
		'1.5 * * * *', '** * * * *', '*-5 * * * *', '1-5-7 * * * *', 'x * * * *', 'mon * * * *', '* * * mon *', '* * * * jan', '* * * * monday', '99999999999 * * * *',
		'9999999999999999999999 * * * *', '30 seconds', '# * * * *', E'* * *\n* *', E'\n* * * * *', '@reboot', '@Daily', '@daily 1', '@dailyx', '@', '? * * * *', '0 0 L * *', '0 0 $ * *',
		'0 0 * * 5#2', '* * * * *;', 'é * * * *', '30 2 31 2 *', '0 0 30 2 *', '0 0 31 4,6,9,11 *', '0 0 31 2 */7']
	LOOP
		CALL refused(format('SELECT evq.cron_fields(%L)', cron));
	END LOOP;
END
$$;
CALL refused($$SELECT evq.cron_next('0 0 30 2 *', now())$$);
CALL refused($$SELECT evq.cron_previous('0 0 30 2 *', now())$$);
CALL refused($$SELECT evq.cron_next('x', now())$$);
CALL refused($$SELECT evq.cron_next('* * * * *', 'infinity')$$);
CALL refused($$SELECT evq.cron_count('* * * * *', '-infinity', now())$$);
CALL refused($$SELECT evq.cron_next('0 0 1 1 *', '294276-12-31 12:00+00')$$);
CALL refused($$SELECT evq.cron_previous('0 0 1 1 *', '4714-11-24 00:00+00 BC')$$);
SELECT evq.cron_next(NULL, now()) IS NULL AS nothing_of_nothing;
-- Before the year 2000, where PostgreSQL's times are below zero.
SELECT evq.cron_next('30 2 * * *', '1999-12-30 12:00+00') AT TIME ZONE 'UTC' AS next, evq.cron_previous('30 2 * * *', '1999-12-30 12:00+00') AT TIME ZONE 'UTC' AS previous,
	evq.cron_count('30 2 * * *', '1999-12-29 12:00+00', '2000-01-02 02:30+00') AS between;
