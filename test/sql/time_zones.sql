-- Times of schedules to the second, and on the clocks of a time zone: what becomes of hours that come twice or never.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab
SET timezone = 'Asia/Tokyo';
SET datestyle = 'ISO';

CREATE FUNCTION lab.times(cron text, zone text, after timestamptz, most int) RETURNS SETOF timestamptz LANGUAGE sql AS $$
	WITH RECURSIVE t (n, at) AS (
		SELECT 1, evq.cron_next(cron, after, zone)
		UNION ALL SELECT n + 1, evq.cron_next(cron, at, zone) FROM t WHERE n < most)
	SELECT at FROM t
$$;
CREATE FUNCTION lab.told(cron text, zone text, after timestamptz, most int) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(to_char(at AT TIME ZONE 'UTC', 'DD HH24:MI:SS'), ', ' ORDER BY at) FROM lab.times(cron, zone, after, most) at
$$;

-- Six fields begin with the second.
SELECT cron, told(cron, 'UTC', '2026-11-25 10:17:30.5+00', 3), evq.cron_fields(cron), evq.cron_previous(cron, '2026-11-25 10:17:30.5+00') AT TIME ZONE 'UTC' AS previous
FROM unnest('{* * * * * *, */10 * * * * *, 30 * * * * *, 31 17 10 * * *, "5,50 59 23 * * fri", 0 0 3 * * *}'::text[]) cron;
SELECT cron, d, evq.cron_count(cron, '2026-11-25 10:17:30+00', timestamptz '2026-11-25 10:17:30+00' + d) FROM unnest('{* * * * * *, 30 * * * * *, 15 0 0 * * *}'::text[]) cron, unnest('{1 s, 1 min, 1 day}'::interval[]) d;

-- New York sets its clocks forward on March 8, 2026 at 7:00 UTC, back on November 1 at 6:00 UTC.
SELECT cron, told(cron, 'America/New_York', '2026-03-07 12:00+00', 2) AS forward, told(cron, 'America/New_York', '2026-10-31 12:00+00', 3) AS back
FROM unnest('{30 2 * * *, 30 1 * * *, 0 3 * * *, 59 1-2 * * *}'::text[]) cron;
SELECT cron, told(cron, 'America/New_York', '2026-03-08 05:59+00', 4) AS forward, told(cron, 'America/New_York', '2026-11-01 04:59+00', 5) AS back
FROM unnest('{0 * * * *, 30 */1 * * *}'::text[]) cron;

-- The same as what PostgreSQL's clocks show, minute by minute, for days around changes of all kinds.
CREATE FUNCTION lab.expected(cron text, zone text, from_at timestamptz, until_at timestamptz) RETURNS SETOF timestamptz LANGUAGE sql AS $$
	WITH minute AS MATERIALIZED (SELECT t, t AT TIME ZONE zone AS local FROM generate_series(from_at - interval '25 hours', until_at + interval '25 hours', '1 min') t),
	label AS (SELECT l FROM generate_series((from_at - interval '25 hours') AT TIME ZONE zone, (until_at + interval '25 hours') AT TIME ZONE zone, '1 min') l
		WHERE evq.cron_previous(cron, l AT TIME ZONE 'UTC') = l AT TIME ZONE 'UTC'),
	slot AS (
		-- What clocks show, for an hour that begins with a star.
		SELECT m.t FROM minute m JOIN label ON label.l = m.local WHERE split_part(cron, ' ', 2) LIKE '*%'
		UNION
		-- Each label once: when it is shown first, or else when a later one is.
		SELECT (SELECT min(m.t) FROM minute m WHERE m.local >= label.l)
		FROM label WHERE split_part(cron, ' ', 2) NOT LIKE '*%')
	SELECT DISTINCT t FROM slot WHERE t > from_at AND t <= until_at
$$;
CREATE TEMP TABLE compared AS
SELECT zone, cron, from_at, until_at,
	ARRAY(SELECT e FROM lab.expected(cron, zone, from_at, until_at) e ORDER BY e) AS expected,
	ARRAY(SELECT t FROM lab.times(cron, zone, from_at, 200) t WHERE t <= until_at ORDER BY t) AS found
FROM (VALUES ('Europe/Berlin', '2026-03-28 20:00+00'::timestamptz), ('Europe/Berlin', '2026-10-24 20:00+00'), ('America/New_York', '2026-11-01 00:00+00'),
	('Australia/Lord_Howe', '2026-04-04 08:00+00'), ('Australia/Lord_Howe', '2026-10-03 08:00+00'), ('America/Sao_Paulo', '2018-11-03 20:00+00'),
	('America/Sao_Paulo', '2018-02-17 20:00+00'), ('Pacific/Apia', '2011-12-30 00:00+00'), ('Asia/Kolkata', '2026-01-01+00')) z(zone, from_at),
	LATERAL (SELECT from_at + interval '16 hours') u(until_at), unnest('{*/15 * * * *, 10 */3 * * *, 30 2 * * *, 0 0 * * *, "15,45 0-3 * * *", 0 1 * * sun}'::text[]) cron;
SELECT zone, cron, from_at, expected, found FROM compared WHERE expected <> found;
SELECT zone, count(*), sum(cardinality(found)) AS times FROM compared GROUP BY 1 ORDER BY 1;
SELECT zone, cron FROM compared WHERE evq.cron_count(cron, from_at, until_at, zone) <> cardinality(found);
SELECT zone, cron, at FROM compared, unnest(found) WITH ORDINALITY f(at, n)
WHERE evq.cron_previous(cron, at, zone) <> at OR (n > 1 AND evq.cron_previous(cron, at - interval '1 s', zone) <> found[n - 1]);

-- Far away.
SELECT evq.cron_next('0 12 29 2 *', '2026-01-01+00', 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin' AS next,
	evq.cron_previous('0 12 29 2 *', '2026-01-01+00', 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin' AS previous,
	evq.cron_count('0 12 * * *', '2020-01-01+00', '2026-01-01+00', 'Europe/Berlin') AS days;
CALL refused($$SELECT evq.cron_next('0 12 * * *', now(), 'Europe/Nowhere')$$);
CALL refused($$SELECT evq.cron_next('0 12 * * *', now(), '')$$);
CALL refused($$SELECT evq.cron_next('0 12 30 2 *', now(), 'Europe/Berlin')$$);
CALL refused($$SELECT evq.cron_next('60 0 12 * * *', now(), 'UTC')$$);
CALL refused($$SELECT evq.cron_previous('0 12 * * *', 'infinity', 'Europe/Berlin')$$);

-- Names only, in any case: PostgreSQL would read UTC+3 and +02:00 as rules of the opposite sign, and a slip of the pen as well.
SELECT zone, evq.cron_next('30 2 * * *', '2026-12-01 12:00+00', zone) AT TIME ZONE 'UTC' AS next
FROM unnest(ARRAY['Europe/Berlin', 'europe/berlin', 'Etc/GMT+2', 'etc/gmt+2', 'utc']) zone;
CALL refused($$SELECT evq.cron_next('30 2 * * *', now(), 'UTC+3')$$);
CALL refused($$SELECT evq.cron_next('30 2 * * *', now(), '+02:00')$$);
CALL refused($$SELECT evq.cron_next('30 2 * * *', now(), '<+07>-7')$$);
CALL refused($$SELECT evq.cron_next('30 2 * * *', now(), 'Foo5')$$);
CALL refused($$SELECT evq.cron_next('30 2 * * *', now(), 'GMT+2')$$);
CALL refused($$SELECT evq.cron_next('30 2 * * *', now(), '')$$);
