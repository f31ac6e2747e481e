-- Every verb moves its counters and no other; what is rolled back moves none; evq_metrics() says the same.
-- Only commits count, so this has a database of its own.
CREATE DATABASE metrics;
\connect metrics
SET client_min_messages = error;
CREATE EXTENSION pgtap;
CREATE EXTENSION evq;
SELECT * FROM no_plan();

SELECT evq_configure('A', 'F', max_attempts => 2, attempt_delays => '{0 s}', lifespan => '1 hour', attempt_timeout => '10 min'),
	evq_configure('RESCUE', 'F', lifespan => '1 hour'), evq_configure('B', 'F', max_attempts => 1, attempt_delays => '{0 s}', on_fail_event_type => 'RESCUE'),
	evq_configure('R', 'F', attempt_delays => '{0 s}', on_suspend_timeout => 'retry', lifespan => '1 hour') \g /dev/null
SELECT evq_configure_flow('F', dispatch_timeout => '1 min') \g /dev/null

-- What was counted since the last call: changes by event type, times by flow.
CREATE TEMP TABLE seen AS SELECT * FROM evq.counters() WITH NO DATA;
CREATE FUNCTION pg_temp.moved() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	moved text;
BEGIN
	CREATE TEMP TABLE now_seen AS SELECT * FROM evq.counters();
	SELECT string_agg(d.what || ' ' || d.moved, ', ' ORDER BY d.what) INTO moved FROM (
		SELECT CASE WHEN n.name ~ '/.*/' THEN t.event_type || ' ' || n.name ELSE f.flow_type || ' ' || split_part(n.name, '/', 1) END AS what,
			sum(n.value - coalesce(s.value, 0)) AS moved
		FROM now_seen n LEFT JOIN seen s USING (no, name)
		LEFT JOIN evq.event_type t ON t.event_type_no = n.no LEFT JOIN evq.flow f ON f.flow_no = n.no
		WHERE n.name ~ '/.*/' OR n.name ~ '^(wait|processing)/[^s]' GROUP BY 1) d WHERE d.moved <> 0;
	DROP TABLE seen;
	ALTER TABLE now_seen RENAME TO seen;
	RETURN coalesce(moved, 'nothing');
END
$$;
-- The live events of the counters, and those of the table.
CREATE TEMP VIEW told AS SELECT t.event_type, split_part(c.name, '/', 2) AS state, c.value AS events
	FROM evq.counters() c JOIN evq.event_type t ON t.event_type_no = c.no WHERE c.name ~ '^live/' AND c.value <> 0;
CREATE TEMP VIEW stored AS SELECT event_type, state::text, events FROM evq.queue;
SELECT pg_temp.moved() \g /dev/null

-- Each verb.
SELECT evq_publish('A', NULL, 'x') AS id \gset
SELECT is(pg_temp.moved(), 'A publish/api/awaiting_processing 1', 'publish');
SELECT evq_tick() \g /dev/null
SELECT is(pg_temp.moved(), 'A dispatch/awaiting_processing/dispatched 1', 'dispatch');
SET evq.debug_clock_offset = 120;
SELECT evq_tick() \g /dev/null
SELECT is(pg_temp.moved(), 'A dispatch/awaiting_processing/dispatched 1, A dispatch_timeout/dispatched/awaiting_processing 1',
	'dispatch timeout, and dispatched again');
SELECT permit FROM evq_acquire(:'id') \gset
SELECT is(pg_temp.moved(), 'A acquire/dispatched/being_processed 1, F wait 1', 'acquire');
SELECT held FROM evq_heartbeat(ARRAY[:'id']::uuid[], ARRAY[:permit]::bigint[]) \g /dev/null
SELECT is(pg_temp.moved(), 'nothing', 'heartbeat');
SELECT count(*) FROM evq_acquire(:'id') \g /dev/null
SELECT throws_ok(format('SELECT evq_succeed(%L, 1)', :'id'), 'EQ004', NULL, 'a lost permit');
SELECT is(pg_temp.moved(), 'nothing', '... and an acquire that is not granted');
SELECT evq_snooze(:'id', :permit, clock_timestamp() + interval '2 min 1 s') \g /dev/null
SELECT is(pg_temp.moved(), 'A snooze/being_processed/awaiting_processing 1, F processing 1', 'snooze');
SET evq.debug_clock_offset = 240;
SELECT permit FROM evq_acquire(:'id') \gset
SELECT is(pg_temp.moved(), 'A acquire/awaiting_processing/being_processed 1, F wait 1', 'acquire of what was not dispatched');
SELECT evq_release(:'id', :permit) \g /dev/null
SELECT is(pg_temp.moved(), 'A release/being_processed/awaiting_processing 1, F processing 1', 'release');
SELECT permit FROM evq_acquire(:'id') \gset
SELECT evq_fail(:'id', 'no', :permit) \g /dev/null
SELECT is(pg_temp.moved(),
	'A acquire/awaiting_processing/being_processed 1, A fail/being_processed/awaiting_processing 1, F processing 1, F wait 1', 'fail: once more');
SELECT permit FROM evq_acquire(:'id') \gset
SELECT evq_succeed(:'id', :permit, spinoffs => '[{"event_type": "A"}, {"event_type": "R"}]') \g /dev/null
SELECT is(pg_temp.moved(), 'A acquire/awaiting_processing/being_processed 1, A publish/spinoff/awaiting_processing 1,'
	' A succeed/being_processed/succeeded 1, F processing 1, F wait 1, R publish/spinoff/awaiting_processing 1', 'succeed with spinoffs');
SELECT evq_succeed(:'id', :permit) \g /dev/null
SELECT is(pg_temp.moved(), 'nothing', 'the same success again');

SELECT event_id AS id FROM evq.events WHERE event_type = 'R' \gset
SELECT permit FROM evq_acquire(:'id') \gset
SELECT evq_suspend(:'id', :permit, '1 min') \g /dev/null
SELECT is(pg_temp.moved(), 'F processing 1, F wait 1, R acquire/awaiting_processing/being_processed 1, R suspend/being_processed/suspended 1', 'suspend');
SELECT evq_activate(:'id', '{"a": 1}') \g /dev/null
SELECT is(pg_temp.moved(), 'R activate/suspended/awaiting_processing 1', 'activate');
SELECT permit FROM evq_acquire(:'id') \gset
SELECT evq_suspend(:'id', :permit, '1 min') \g /dev/null
SELECT pg_temp.moved() \g /dev/null
UPDATE evq.event_type SET is_suspended = true; -- nothing else is to be dispatched
SET evq.debug_clock_offset = 400;
SELECT evq_tick() \g /dev/null
SELECT is(pg_temp.moved(), 'R suspend_timeout/suspended/awaiting_processing 1', 'a suspension that timed out: once more');
SELECT evq_cancel(:'id') \g /dev/null
SELECT is(pg_temp.moved(), 'R cancel/awaiting_processing/canceled 1', 'cancel');
SELECT evq_retry(:'id') \g /dev/null
SELECT is(pg_temp.moved(), 'R retry/canceled/awaiting_processing 1', 'retry');
UPDATE evq.event_type SET is_suspended = false;

SELECT evq_publish('B', NULL, 'x') AS id \gset
SELECT permit FROM evq_acquire(:'id') \gset
SELECT evq_fail(:'id', 'no', :permit) \g /dev/null
SELECT is(pg_temp.moved(), 'B acquire/awaiting_processing/being_processed 1, B fail/being_processed/failed 1, B publish/api/awaiting_processing 1,'
	' F processing 1, F wait 1, RESCUE publish/on_fail/awaiting_processing 1', 'fail for good, with an on-fail event');
SELECT evq_publish('B', NULL, 'x') AS id \gset
SELECT permit FROM evq_acquire(:'id') \gset
SELECT pg_temp.moved() \g /dev/null
UPDATE evq.event_type SET is_suspended = true;
SET evq.debug_clock_offset = 7000;
SELECT evq_tick() \g /dev/null
SELECT is(pg_temp.moved(), 'A lifespan_unused/awaiting_processing/expired 1, B permit_timeout/being_processed/failed 1, R lifespan_over/awaiting_processing/expired 1,'
	' RESCUE lifespan_unused/awaiting_processing/expired 1, RESCUE publish/on_fail/awaiting_processing 1',
	'a permit that ran out, and lifespans: no time of work');
UPDATE evq.event_type SET is_suspended = false;
SELECT results_eq('TABLE told ORDER BY 1, 2', 'TABLE stored ORDER BY 1, 2', 'the live events are those of the table');

-- What is rolled back.
SELECT pg_temp.moved() \g /dev/null
BEGIN;
SELECT evq_publish('A', NULL, 'x') \g /dev/null
SELECT evq_tick() \g /dev/null
ROLLBACK;
SELECT is(pg_temp.moved(), 'nothing', 'ROLLBACK');
BEGIN;
SELECT evq_publish('A', NULL, 'kept') \g /dev/null
SAVEPOINT a;
SELECT evq_publish('B', NULL, 'lost') \g /dev/null
SAVEPOINT b;
SELECT evq_publish('R', NULL, 'lost') \g /dev/null
SELECT evq_publish('A', NULL, 'lost') \g /dev/null
RELEASE b;
ROLLBACK TO a;
SELECT evq_publish('A', NULL, 'kept') \g /dev/null
SAVEPOINT c;
SELECT evq_publish('A', NULL, 'kept') \g /dev/null
SELECT evq_publish('R', NULL, 'kept') \g /dev/null
RELEASE c;
SAVEPOINT d;
SELECT evq_publish('A', NULL, 'lost') \g /dev/null
ROLLBACK TO d;
SELECT is((SELECT sum(value) FROM evq.counters() WHERE name ~ '^publish'), (SELECT sum(value) FROM seen WHERE name ~ '^publish'),
	'nothing is counted before the commit');
COMMIT;
SELECT is(pg_temp.moved(), 'A publish/api/awaiting_processing 3, R publish/api/awaiting_processing 1', 'savepoints: what was kept');
DO $$
BEGIN
	FOR n IN 1 .. 300 LOOP
		BEGIN
			PERFORM evq_publish(CASE WHEN n % 2 = 0 THEN 'A' ELSE 'R' END, NULL, 'loop');
			IF n % 3 = 0 THEN
				RAISE EXCEPTION USING ERRCODE = 'P0000';
			END IF;
		EXCEPTION WHEN SQLSTATE 'P0000' THEN
			NULL;
		END;
	END LOOP;
END
$$;
SELECT is(pg_temp.moved(), 'A publish/api/awaiting_processing 100, R publish/api/awaiting_processing 100', 'a loop of subtransactions, a third of them rolled back');
SELECT throws_ok($$SELECT evq_publish('A', NULL, 'x'), 1 / 0$$, '22012', NULL, 'an error');
SELECT is(pg_temp.moved(), 'nothing', '... takes back the statement''s counts');

-- More than is announced one by one.
SET evq.max_pending_per_transaction = 10;
SELECT count(*) FROM evq_publish_many('A', NULL, array_fill('many'::text, ARRAY[1000]), array_fill('{}'::jsonb, ARRAY[1000])) \g /dev/null
SELECT is(pg_temp.moved(), 'A publish/api/awaiting_processing 1000', 'evq.max_pending_per_transaction limits no count');
RESET evq.max_pending_per_transaction;

-- A mix.
SELECT count(CASE n % 7
		WHEN 0 THEN evq_succeed(event_id, permit)::text
		WHEN 1 THEN evq_fail(event_id, 'no', permit)::text
		WHEN 2 THEN evq_suspend(event_id, permit)::text
		WHEN 3 THEN evq_snooze(event_id, permit, clock_timestamp() + interval '130 min')::text
		WHEN 4 THEN evq_release(event_id, permit)::text
		WHEN 5 THEN evq_cancel(event_id)::text END)
FROM (SELECT row_number() OVER () AS n, a.* FROM evq_acquire_next('F', 500) a) a \g /dev/null
SELECT evq_tick() \g /dev/null
SELECT evq_redrive('B', '-infinity') \g /dev/null
SELECT isnt_empty($$TABLE stored EXCEPT SELECT event_type, 'awaiting_processing', events FROM stored$$, 'after a mix there are events in many states');
SELECT results_eq('TABLE told ORDER BY 1, 2', 'TABLE stored ORDER BY 1, 2', '... as many as in the table');
SELECT is(sum(value) FILTER (WHERE name LIKE '%/succeeded'), (SELECT count(*) FROM evq.event_history WHERE state = 's')::numeric, '... and as many succeeded')
FROM evq.counters();

-- The text.
CREATE TEMP VIEW line AS SELECT line FROM regexp_split_to_table(evq_metrics(), E'\n') line;
CREATE FUNCTION pg_temp.sample(series text) RETURNS float8 LANGUAGE sql AS
	$$SELECT substr(line, length(series) + 2)::float8 FROM pg_temp.line WHERE starts_with(line, series || ' ')$$;
SELECT set_eq($$SELECT split_part(line, ' ', 3) || ' ' || split_part(line, ' ', 4) FROM line WHERE line ~ '^# TYPE'$$, ARRAY[
	'event_engine_queue_size gauge', 'evq_attempts_total counter', 'evq_build_info gauge', 'evq_dispatcher_errors_total counter',
	'evq_dispatcher_up gauge', 'evq_event_processing_seconds histogram',
	'evq_events_dispatched_total counter', 'evq_events_ended_total counter', 'evq_events_never_acquired_total counter', 'evq_events gauge', 'evq_events_published_total counter',
	'evq_event_type_suspended gauge', 'evq_flow_paused gauge', 'evq_event_wait_seconds histogram', 'evq_notify_queue_ratio gauge', 'evq_oldest_due_age_seconds gauge',
	'evq_oldest_permit_age_seconds gauge', 'evq_permits_total counter', 'evq_ring_overflows_total counter', 'evq_sweep_seconds_total counter',
	'evq_table_bytes gauge', 'evq_uncounted_event_types gauge', 'evq_uncounted_flows gauge'], 'the families of a database without dispatcher');
SELECT is_empty($$SELECT line FROM line WHERE line <> '' AND line !~ '^# (HELP|TYPE) ' AND line !~
	'^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+$'$$, 'every line is a sample or says what they are');
SELECT is_empty($$SELECT line FROM line WHERE line !~ '^#' AND line ~ '[0-9a-f]{8}-|kept|loop|many'$$, 'no id and no flow_id is in it');
SELECT is(pg_temp.sample(format('%s{flow_type="F",status="%s"}', family, upper(state))),
	(SELECT coalesce(sum(events), 0) FROM stored t WHERE t.state = s.state)::float8, family || ' ' || state)
FROM unnest('{evq_events, event_engine_queue_size}'::text[]) family,
	unnest('{awaiting_processing, dispatched, being_processed, suspended}'::text[]) s(state);
SELECT is(pg_temp.sample(format('evq_events_ended_total{flow_type="F",event_type="A",status="%s"}', upper(state))),
	(SELECT count(*) FROM evq.events e WHERE e.event_type = 'A' AND e.state::text = s.state)::float8, 'ended ' || state)
FROM unnest('{succeeded, failed, expired, canceled}'::text[]) s(state);
SELECT is(pg_temp.sample('evq_events_published_total{flow_type="F",event_type="A",origin="spinoff"}'), 1::float8, 'published');
SELECT is(pg_temp.sample('evq_events_dispatched_total{flow_type="F"}'),
	(SELECT sum(value) FROM evq.counters() WHERE name ~ '^(dispatch|acquire/awaiting_processing)/')::float8, 'dispatched, or taken without that');
SELECT is(pg_temp.sample(format('evq_attempts_total{flow_type="F",event_type="%s",outcome="canceled"}', event_type)), (SELECT coalesce(sum(value), 0)
	FROM evq.counters() c WHERE c.no = t.event_type_no AND name ~ '^cancel/being_processed/')::float8, 'attempts that a cancel ended: ' || event_type)
FROM evq.event_type t WHERE event_type IN ('A', 'R');
SELECT is(pg_temp.sample('evq_permits_total{flow_type="F",result="granted"}'),
	(SELECT sum(value) FROM evq.counters() WHERE name ~ '^acquire')::float8, 'permits');
SELECT is(pg_temp.sample('evq_event_wait_seconds_count{flow_type="F"}'), pg_temp.sample('evq_permits_total{flow_type="F",result="granted"}'),
	'each permit has a wait');
SELECT is(pg_temp.sample('evq_event_wait_seconds_bucket{flow_type="F",le="+Inf"}'), pg_temp.sample('evq_event_wait_seconds_count{flow_type="F"}'),
	'the last bucket has them all');
SELECT cmp_ok(pg_temp.sample('evq_event_wait_seconds_bucket{flow_type="F",le="10"}'), '<', pg_temp.sample('evq_event_wait_seconds_count{flow_type="F"}'),
	'another one does not');
SELECT is(pg_temp.sample('evq_attempts_total{flow_type="F",event_type="B",outcome="timed_out"}'), 1::float8, 'attempts that timed out');
SELECT cmp_ok(pg_temp.sample('evq_oldest_permit_age_seconds{flow_type="F"}'), '>=', 0::float8, 'the oldest permit');
SELECT cmp_ok(pg_temp.sample('evq_table_bytes{table="event"}'), '>', 8192::float8, 'table sizes');
SELECT evq_suspend_event_type('B') \g /dev/null
SELECT is(pg_temp.sample('evq_event_type_suspended{event_type="B"}') + pg_temp.sample('evq_event_type_suspended{event_type="A"}'), 1::float8, 'a suspended type');
SELECT evq_pause_flow('F') \g /dev/null
SELECT is(pg_temp.sample('evq_flow_paused{flow_type="F"}'), 1::float8, 'a paused flow');
SELECT evq_resume_flow('F') \g /dev/null
SELECT is(pg_temp.sample('evq_flow_paused{flow_type="F"}'), 0::float8, '... that goes on');
SELECT is(evq.label('a', E'x\\y"z\n'), E'a="x\\\\y\\"z\\n"', 'labels are escaped');
CREATE ROLE evq_test_monitor IN ROLE evq_monitor;
SET ROLE evq_test_monitor;
SELECT evq_metrics() IS NOT NULL AS monitored, (SELECT count(*) > 0 FROM evq.counters()) AS counted \gset
RESET ROLE;
SELECT ok(:'monitored' AND :'counted', 'evq_monitor may read them');
DROP ROLE evq_test_monitor;

-- Ages are those that the last sweep saw.
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT evq_publish('A', NULL, 'x') AS id \gset
SET evq.debug_clock_offset = 7100;
SELECT evq_tick() \g /dev/null
SELECT cmp_ok(pg_temp.sample('evq_oldest_due_age_seconds{flow_type="F"}'), '>=', 100::float8, 'the oldest due event');
SELECT permit FROM evq_acquire(:'id') \gset
SET evq.debug_clock_offset = 7300;
SELECT evq_tick() \g /dev/null
SELECT cmp_ok(pg_temp.sample('evq_oldest_permit_age_seconds{flow_type="F"}'), '>=', 200::float8, 'the oldest permit');
SELECT is(pg_temp.sample('evq_oldest_due_age_seconds{flow_type="F"}'), 0::float8, 'no event is due now');
SELECT evq_succeed(:'id', :permit) \g /dev/null
SELECT evq_tick() \g /dev/null
SELECT is(pg_temp.sample('evq_oldest_permit_age_seconds{flow_type="F"}'), 0::float8, 'and none held');

-- What took longer than the last bound is in the bucket that has none.
SELECT is(pg_temp.sample('evq_event_wait_seconds_bucket{flow_type="F",le="3600"}'), pg_temp.sample('evq_event_wait_seconds_count{flow_type="F"}'),
	'nothing has waited for more than an hour');
SELECT evq_unsuspend_event_type('B'), evq_publish('B', NULL, 'x') AS id \gset
SET evq.debug_clock_offset = 11000;
SELECT evq_succeed(:'id', permit) FROM evq_acquire(:'id') \g /dev/null
SELECT is(pg_temp.sample('evq_event_wait_seconds_bucket{flow_type="F",le="3600"}') + 1, pg_temp.sample('evq_event_wait_seconds_count{flow_type="F"}'),
	'an event has');

-- More event types and flows than have counters.
SELECT count(evq_configure('T' || n, 'F' || n)) FROM generate_series(1, 300) n \g /dev/null
SELECT is(pg_temp.sample('evq_uncounted_event_types') + pg_temp.sample('evq_uncounted_flows'), 0::float8, 'all are counted, as long as nothing happens');
SELECT count(evq_publish('T' || n, NULL, 'x')) FROM generate_series(1, 300) n \g /dev/null
SELECT count(evq_succeed(a.event_id, a.permit)) FROM evq.event e, evq_acquire(e.event_id) a \g /dev/null
SELECT is(pg_temp.sample('evq_uncounted_event_types'), 304 - 256::float8, 'some event types are not counted');
SELECT is(pg_temp.sample('evq_uncounted_flows'), 301 - 64::float8, 'nor the times of some flows');
SELECT is((SELECT sum(value) FROM evq.counters() WHERE name ~ '^succeed' AND no > 4), 252::numeric, '... the others are');
SELECT is_empty('TABLE told', '... and no event is left');
SELECT is(pg_temp.sample('evq_events_published_total{flow_type="F1",event_type="T1",origin="api"}'), 1::float8, 'the first have their series');
SELECT is(pg_temp.sample('evq_events_published_total{flow_type="F300",event_type="T300",origin="api"}'), NULL, 'the last have none');

-- The extension made anew counts anew.
DROP EXTENSION evq CASCADE;
CREATE EXTENSION evq;
SELECT is((SELECT coalesce(sum(value), 0) FROM evq.counters() WHERE no <> 0), 0::numeric, 'DROP EXTENSION, CREATE EXTENSION: all is zero');
SELECT evq_configure('A', 'F'), evq_publish('A', NULL, 'x') \g /dev/null
SELECT is((SELECT value FROM evq.counters() WHERE name = 'live/awaiting_processing'), 1::bigint, 'and counted');
BEGIN;
DROP EXTENSION evq CASCADE;
CREATE EXTENSION evq;
SELECT evq_configure('A', 'F') \g /dev/null
SELECT count(evq_publish('A', NULL, 'x')) FROM generate_series(1, 3) \g /dev/null
COMMIT;
SELECT is((SELECT value FROM evq.counters() WHERE name = 'live/awaiting_processing'), 3::bigint, 'in one transaction, too');

SELECT * FROM finish();
\connect pgtap
DROP DATABASE metrics;
