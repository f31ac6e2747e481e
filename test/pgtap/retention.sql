-- The edges of retention: which finished events, and what is theirs, go at a moment, and which stay. All times are relative to now.
BEGIN;
SELECT * FROM no_plan();
SET LOCAL client_min_messages = warning;
SET LOCAL TimeZone = 'UTC';	-- a day has 24 hours in what follows
DELETE FROM evq.event_type;
DELETE FROM evq.housekeeping;

SELECT evq_configure(t, 'FLOW_R', retention => '100 days') FROM unnest('{brief, middle, long}'::text[]) t \g /dev/null
-- A day of before, with a partition; to a moment in it, from a moment on, is how long ago.
SELECT evq.prepare_history(0, clock_timestamp() - interval '10 days') \g /dev/null
SELECT relation AS day, from_at, to_at FROM evq.history_partitions() WHERE from_at <= clock_timestamp() - interval '10 days' AND to_at > clock_timestamp() - interval '10 days' \gset
CREATE FUNCTION pg_temp.since(at timestamptz) RETURNS interval LANGUAGE sql AS 'SELECT clock_timestamp() - at';

-- A finished event with a payload, an error and an idempotency key.
CREATE FUNCTION pg_temp.finish(name text, type text, published_at timestamptz, finished_at timestamptz) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
	id uuid := (left(evq.first_id(published_at)::text, 14) || '7' || substr(gen_random_uuid()::text, 16))::uuid;
	t evq.event_type := (SELECT e FROM evq.event_type e WHERE e.event_type = type);
BEGIN
	INSERT INTO evq.event_history (event_id, published_at, attempt_scheduled_at, due_at, event_type_no, flow_no, priority, chain_depth, ordered, state,
		attempts_used, attempt_started_at, finished_at, permit, flow_id)
	VALUES (id, finish.published_at, finish.published_at, finish.published_at, t.event_type_no, t.flow_no, 0, 0, false, 'f', 1, 'infinity', finish.finished_at, 1, name);
	INSERT INTO evq.event_payload VALUES (id, '{}');
	INSERT INTO evq.event_error VALUES (id, finish.finished_at, 1, 'failed', 'no');
	INSERT INTO evq.idempotency VALUES (t.event_type_no, name, id, 0);
	RETURN id;
END
$$;
-- What is there, by name; what has lost something, or is gone but for something, with how many rows of four are left.
CREATE TEMP TABLE events (name text, id uuid);
CREATE FUNCTION pg_temp.there() RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(name || CASE WHEN rows < 4 THEN ' ' || rows ELSE '' END, ', ' ORDER BY name), '') FROM events, LATERAL (
		SELECT (SELECT count(*) FROM evq.event_history h WHERE h.event_id = id) + (SELECT count(*) FROM evq.event_payload p WHERE p.event_id = id)
			+ (SELECT count(*) FROM evq.event_error r WHERE r.event_id = id) + (SELECT count(*) FROM evq.idempotency i WHERE i.event_id = id) AS rows) r
	WHERE rows > 0
$$;
CREATE FUNCTION pg_temp.keep_house() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM evq_purge(); END';

INSERT INTO events
SELECT v.name, pg_temp.finish(v.name, v.type, v.published_at, v.finished_at) FROM (VALUES
	('brief', 'brief', :'from_at'::timestamptz + interval '1 hour', :'from_at'::timestamptz + interval '2 hours'),
	('brief of the day before', 'brief', :'from_at'::timestamptz - interval '30 days', :'from_at'::timestamptz + interval '2 hours'),
	('brief, late', 'brief', :'to_at'::timestamptz - interval '2 minutes', :'to_at'::timestamptz - interval '1 minute'),
	('long', 'long', :'from_at'::timestamptz + interval '1 hour', :'from_at'::timestamptz + interval '2 hours'),
	('middle', 'middle', :'from_at'::timestamptz + interval '1 hour', :'from_at'::timestamptz + interval '2 hours'),
	('today', 'long', clock_timestamp(), clock_timestamp())) v(name, type, published_at, finished_at);
SELECT is((SELECT count(*)::int FROM evq.event_history WHERE tableoid = :'day'::regclass), 5, 'events of one day are in its partition');
\set all 'brief, brief of the day before, brief, late, long, middle, today'
SELECT pg_temp.keep_house() \g /dev/null
SELECT is(pg_temp.there(), :'all', 'nothing is past its retention');

-- Of a partition, events of a type go when its retention is over for the whole partition, not for its beginning.
SELECT evq_configure('brief', retention => pg_temp.since(:'from_at') - interval '23 hours') \g /dev/null
SELECT pg_temp.keep_house() \g /dev/null
SELECT is(pg_temp.there(), :'all', 'the retention of a type is over for the beginning of a partition: its events stay');
SELECT evq_configure('brief', retention => pg_temp.since(:'to_at') - interval '1 second') \g /dev/null
SELECT pg_temp.keep_house() \g /dev/null
SELECT is(pg_temp.there(), 'long, middle, today', 'for its end: they go, with what is theirs, whenever they were published');

-- Another type's retention is over later: the partition is gone through again.
SELECT evq_configure('middle', retention => pg_temp.since(:'to_at') - interval '1 second') \g /dev/null
SELECT pg_temp.keep_house() \g /dev/null
SELECT is(pg_temp.there(), 'long, today', 'a second type goes from a partition that was thinned for a first');

-- It is dropped when the longest retention is over for its end.
SELECT evq_configure('long', retention => pg_temp.since(:'from_at') - interval '23 hours') \g /dev/null
SELECT pg_temp.keep_house() \g /dev/null
SELECT is(pg_temp.there(), 'long, today', 'the longest retention is over for the beginning of a partition: it stays');
SELECT is_empty($$SELECT finding FROM evq_check() WHERE finding LIKE '%is to be dropped since%'$$, '... and nobody wonders why');
-- What a user has made of it hinders no other step.
SELECT format('CREATE VIEW pg_temp.of_the_day AS SELECT * FROM %s', :'day') \gexec
SAVEPOINT kept;
UPDATE evq.event_type SET retention = '1 hour';
SELECT lives_ok('SELECT pg_temp.keep_house()', 'a view of a partition that is to be dropped is no error');
SELECT is(to_regclass(:'day') IS NULL, false, '... and keeps it');
SELECT results_eq($$SELECT severity, subject, regexp_replace(finding, ' since .*', '') FROM evq_check() WHERE finding LIKE '%is to be dropped since%'$$,
	format($$VALUES ('warning', 'tables', '%s is to be dropped')$$, :'day'), '... of which evq_check() tells');
ROLLBACK TO kept;
DROP VIEW pg_temp.of_the_day;
SELECT is(to_regclass(:'day') IS NULL, false, '... with its table');
DELETE FROM evq.housekeeping;
SELECT evq_configure('long', retention => pg_temp.since(:'to_at') - interval '1 second') \g /dev/null
SELECT pg_temp.keep_house() \g /dev/null
SELECT is(pg_temp.there(), 'today', 'for its end: its events are gone');
SELECT is(to_regclass(:'day') IS NULL, true, '... and its table');

-- In the default partition each event goes by the retention of its own type.
SELECT evq_configure('brief', retention => '2 days'), evq_configure('middle', retention => '20 days'), evq_configure('long', retention => '100 days') \g /dev/null
TRUNCATE events;
INSERT INTO events
SELECT v.name, pg_temp.finish(v.name, v.type, clock_timestamp() - v.ago - interval '1 hour', clock_timestamp() - v.ago) FROM (VALUES
	('brief 1.9', 'brief', interval '1 day 21 hours'), ('brief 2.1', 'brief', interval '2 days 3 hours'), ('middle 2.1', 'middle', interval '2 days 3 hours'),
	('middle 19', 'middle', interval '19 days'), ('middle 21', 'middle', interval '21 days'), ('long 21', 'long', interval '21 days'),
	('long 101', 'long', interval '101 days')) v(name, type, ago);
SELECT is((SELECT count(*)::int FROM evq.event_history_default WHERE flow_id <> 'today'), 7, 'events of other days are in the default partition');
SELECT pg_temp.keep_house() \g /dev/null
SELECT is(pg_temp.there(), 'brief 1.9, long 21, middle 19, middle 2.1', 'each of them goes by the retention of its own type, neither the shortest nor the longest of any');
-- In the caller's time zone clocks have been put forward by 12 hours these days: a day has 24 all the same.
INSERT INTO events SELECT 'middle 19.7', pg_temp.finish('middle 19.7', 'middle', clock_timestamp() - interval '20 days', clock_timestamp() - interval '19 days 17 hours');
SELECT set_config('TimeZone', format('STD0DST-12,J%s/0,J%s/0', least(extract(doy FROM now() - interval '3 days'), 365), least(extract(doy FROM now() + interval '3 days'), 365)), true) \g /dev/null
SELECT cmp_ok(clock_timestamp() - interval '20 days', '>', clock_timestamp() - interval '480 hours' + interval '11 hours', 'days that are shorter');
SELECT pg_temp.keep_house() \g /dev/null
SET LOCAL TimeZone = 'UTC';
SELECT is(pg_temp.there(), 'brief 1.9, long 21, middle 19, middle 19.7, middle 2.1', '... do not count in a retention');
SELECT evq_configure('brief', retention => '0') \g /dev/null
SELECT pg_temp.keep_house() \g /dev/null
SELECT is(pg_temp.there(), 'long 21, middle 19, middle 19.7, middle 2.1', 'a retention of 0 lets events of its type go at once, and no others');

-- What is left over by many is looked for once, up to the latest of them.
SELECT evq.look_for_leftovers('2030-01-02'), evq.look_for_leftovers('2030-01-01') \g /dev/null
SELECT set_eq('SELECT end_id FROM evq.housekeeping WHERE next_id IS NOT NULL', $$SELECT evq.first_id('2030-01-02')$$, 'leftovers are looked for up to the latest time that was asked for');
UPDATE evq.housekeeping SET next_id = evq.first_id('2025-01-01') WHERE next_id IS NOT NULL;
SELECT evq.look_for_leftovers('2030-01-01') \g /dev/null
SELECT set_eq('SELECT next_id FROM evq.housekeeping WHERE next_id IS NOT NULL', $$SELECT '00000000-0000-0000-0000-000000000000'::uuid$$, '... from the beginning again');
DELETE FROM evq.housekeeping;

-- What is past needs an index that what is to come would pay for.
SELECT evq.prepare_history(0, clock_timestamp() - interval '5 days') \g /dev/null
SELECT pg_temp.keep_house() \g /dev/null
SELECT set_eq($$SELECT p.to_at <= clock_timestamp(), EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
		WHERE i.indrelid = p.relation AND a.attname = 'flow_id') FROM evq.history_partitions() p WHERE p.to_at IS NOT NULL$$,
	$$VALUES (true, true), (false, false)$$, 'partitions that get no more events have an index on flow_id, and no others');

-- A partition of many pages is gone through to its end, and what is left over by many events too.
DELETE FROM evq.housekeeping;
SELECT p.relation AS past, p.from_at AS past_at FROM evq.history_partitions() p WHERE p.to_at <= clock_timestamp() ORDER BY p.to_at DESC LIMIT 1 \gset
INSERT INTO evq.event_history (event_id, published_at, attempt_scheduled_at, due_at, event_type_no, flow_no, priority, chain_depth, ordered, state,
	attempts_used, attempt_started_at, finished_at, permit, flow_id)
SELECT gen_random_uuid(), at, at, at, t.event_type_no, t.flow_no, 0, 0, false, 'f', 1, 'infinity', at, 1, 'many'
FROM evq.event_type t, generate_series(1, 25000), (SELECT :'past_at'::timestamptz + interval '1 hour' AS at) a WHERE t.event_type = 'brief';
SELECT is(pg_relation_size(:'past'::regclass) / current_setting('block_size')::int > 256, true, 'a partition has more pages than a step of housekeeping goes through');
INSERT INTO evq.event_error
SELECT (left(evq.first_id(:'past_at')::text, 14) || '7' || substr(gen_random_uuid()::text, 16))::uuid, :'past_at', 1, 'failed', 'left over' FROM generate_series(1, 2500);
SELECT pg_temp.keep_house() \g /dev/null
SELECT is((SELECT count(*)::int FROM evq.event_history WHERE flow_id = 'many'), 0, 'all that is past its retention goes from it');
SELECT is((SELECT count(*)::int FROM evq.event_error WHERE error_message = 'left over'), 0, '... and the errors of thousands of events that are gone');

-- A partition is made ahead only where the default one has nothing of its time.
INSERT INTO events SELECT 'tomorrow', pg_temp.finish('tomorrow', 'long', clock_timestamp(), date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + interval '3 days');
SELECT is(evq.prepare_history(4), 1, 'none is made for a time of which the default partition has an event, but those around it are');
SELECT is((SELECT tableoid::regclass::text FROM evq.event_history WHERE flow_id = 'tomorrow'), 'evq.event_history_default', '... which stays there');

-- A time without a partition is the default one's, although there are earlier ones.
SELECT format('DROP TABLE %s', relation) FROM evq.history_partitions() WHERE to_at > clock_timestamp() \gexec
SELECT evq_publish('long', NULL, 'now') AS now_id \gset
SELECT evq_cancel(:'now_id') \g /dev/null
SELECT is((SELECT tableoid::regclass::text FROM evq.event_history WHERE event_id = :'now_id'), 'evq.event_history_default', 'an event that finishes when there is no partition for it goes into the default one');
SELECT cmp_ok((SELECT count(*)::int FROM evq.history_partitions() WHERE to_at <= clock_timestamp()), '>', 0, '... and not into an earlier one');

SELECT * FROM finish();
ROLLBACK;
