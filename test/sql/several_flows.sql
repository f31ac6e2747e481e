-- evq_acquire_next() of several flows: each has its share by its weight, and what it has not is for the others.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'FA'), evq_configure('B', 'FB'), evq_configure('C', 'FC'), evq_configure('A2', 'FA', priority => 5) \g /dev/null
CREATE FUNCTION lab.publish(a int, b int, c int) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(evq_publish(t, NULL, t || n)) FROM (VALUES ('A', a), ('B', b), ('C', c)) v(t, most), generate_series(1, most) n
$$;
SELECT publish(100, 100, 100);

-- Shares of one call, to within one event.
SELECT flow_type, count(*) FROM evq_acquire_next(ARRAY['FA', 'FB'], 20) GROUP BY 1 ORDER BY 1;
SELECT flow_type, count(*) FROM evq_acquire_next('{FA,FB,FC}'::text[], 24, weights => '{3,2,1}') GROUP BY 1 ORDER BY 1;
SELECT flow_type, count(*) FROM evq_acquire_next(flow_types => ARRAY['FC', 'FA'], max_events => 10, weights => ARRAY[1, 4]) GROUP BY 1 ORDER BY 1;
-- What one has not is for the others, whoever they are.
TRUNCATE evq.event;
SELECT publish(3, 100, 100);
SELECT flow_type, CASE flow_type WHEN 'FA' THEN count(*) = 3 ELSE count(*) IN (13, 14) END AS fair FROM evq_acquire_next(ARRAY['FA', 'FB', 'FC'], 30, weights => '{8, 1, 1}') GROUP BY 1 ORDER BY 1;
SELECT flow_type, count(*) IN (86, 87) AS rest FROM evq_acquire_next(ARRAY['FA', 'FC'], 200) GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM evq_acquire_next(ARRAY['FA', 'FC'], 200);
SELECT count(*) IN (86, 87) AS rest FROM evq_acquire_next(ARRAY['FA', 'FB'], 200);
SELECT count(*) FROM evq_acquire_next(ARRAY['FA', 'FB', 'FC'], 200);

-- One at a time: which flow is drawn, by weight, on average. Further from it than here is less likely than one in a trillion.
TRUNCATE evq.event;
SELECT publish(800, 800, 800);
SELECT sum(n) AS acquired, bool_and(abs(n - share) < 140) AS fair FROM (
	SELECT a.flow_type, count(*) AS n, max(CASE a.flow_type WHEN 'FA' THEN 600 WHEN 'FB' THEN 300 ELSE 100 END) AS share
	FROM generate_series(1, 1000) n, LATERAL evq_acquire_next(ARRAY['FA', 'FB', 'FC'], 1 + n * 0, weights => '{6,3,1}') a GROUP BY 1) s;

-- Without a dispatcher the line of each is read once, not with every call.
TRUNCATE evq.event;
SELECT publish(500, 500, 500);
BEGIN;
SELECT count(a) FROM generate_series(1, 300) n, LATERAL evq_acquire_next(ARRAY['FA', 'FB', 'FC'], 1 + n * 0) a;
SELECT pg_stat_get_xact_tuples_returned('evq.event_flow_no_attempt_scheduled_at_idx'::regclass) BETWEEN 500 AND 10000 AS read_once;
COMMIT;

-- Within a flow priority and time, as ever; of some types only; with a name and a time.
TRUNCATE evq.event;
SELECT evq_publish('A', NULL, 'first') \g /dev/null
SELECT evq_publish('A', NULL, 'second') \g /dev/null
SELECT evq_publish('A2', NULL, 'urgent') \g /dev/null
SELECT evq_publish('B', NULL, 'other') \g /dev/null
SELECT flow_id FROM evq_acquire_next(ARRAY['FA', 'FC'], 2);
SELECT count(*) FROM evq_acquire_next(ARRAY['FB', 'FC'], 2, '{C}');
SELECT flow_id, seconds(attempt_due_at - now()) BETWEEN 50 AND 60 AS as_asked FROM evq_acquire_next(ARRAY['FB', 'FC'], 2, '{B, C}', 'me', '1 min');
SELECT worker FROM evq.events WHERE event_id = ev('other');
-- Not of a paused one, and of its own transaction too.
SELECT evq_pause_flow('FA') \g /dev/null
BEGIN;
SELECT publish(1, 1, 1);
SELECT event_type FROM evq_acquire_next(ARRAY['FA', 'FB', 'FC'], 10) ORDER BY 1;
ROLLBACK;
SELECT evq_resume_flow('FA') \g /dev/null
SELECT flow_id FROM evq_acquire_next(ARRAY['FA', 'FB', 'FC'], 10);

-- One flow by name is one flow; without a type it is a name, or the text of an array, which no name is.
TRUNCATE evq.event;
SELECT publish(2, 2, 2);
SELECT event_type FROM evq_acquire_next('FA');
SELECT count(*) FROM evq_acquire_next('{FA,FB}', 3);
PREPARE untyped AS SELECT count(*) FROM evq_acquire_next($1, $2);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'untyped';
EXECUTE untyped ('FC', '1');
EXECUTE untyped ('{"FC","FA"}', '5');
DEALLOCATE untyped;
SELECT publish(1, 0, 0);
SELECT (SELECT count(*) FROM evq_acquire_next('FA'::varchar)), (SELECT count(*) FROM evq_acquire_next('FA'::name)), (SELECT count(*) FROM evq_acquire_next(ARRAY['FA']::varchar[], weights => ARRAY[1]::smallint[]));

-- A role that is held to some flows may name no other.
CREATE ROLE evq_test_held;
SELECT evq_grant_worker('evq_test_held', 'FA') \g /dev/null
GRANT USAGE ON SCHEMA lab TO evq_test_held;
SET ROLE evq_test_held;
SELECT count(*) FROM evq_acquire_next(ARRAY['FA']);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA', 'FB'])$$);
CALL refused($$SELECT evq_acquire_next('{FB}')$$);
RESET ROLE;
SELECT evq_revoke_worker('evq_test_held') \g /dev/null
REVOKE USAGE ON SCHEMA lab FROM evq_test_held;
DROP ROLE evq_test_held;

CALL refused($$SELECT evq_acquire_next(NULL::text[])$$);
CALL refused($$SELECT evq_acquire_next('{}'::text[])$$);
CALL refused($$SELECT evq_acquire_next('{}')$$);
CALL refused($$SELECT evq_acquire_next('{')$$);
CALL refused($$SELECT evq_acquire_next('')$$);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA', NULL])$$);
CALL refused($$SELECT evq_acquire_next(ARRAY[['FA'], ['FB']])$$);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA', 'NONE'])$$);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA', 'FB', 'FA'])$$);
CALL refused($$SELECT evq_acquire_next(array_fill('FA'::text, ARRAY[101]))$$);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA', 'FB'], weights => '{1}')$$);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA', 'FB'], weights => '{1, 0}')$$);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA', 'FB'], weights => '{1001, 1}')$$);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA', 'FB'], weights => '{1, NULL}')$$);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA', 'FB'], weights => '{1, -9223372036854775808}')$$);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA'], 0)$$);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA'], 10001)$$);
CALL refused($$SELECT evq_acquire_next(ARRAY['FA'], 1, '{NONE}')$$);
