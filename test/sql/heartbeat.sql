-- evq_heartbeat: a worker shows that it is alive, and learns whether it may go on.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', 3, '1 hour', attempt_timeout => '10 min') \gset
SELECT evq_publish_many('A', NULL, '{a, b, c}', '{1, 2, 3}') \g /dev/null
SELECT count(*) FROM evq_acquire_next('F', 3);
CREATE TEMP VIEW held AS SELECT flow_id, state, round(seconds(state_due_at - state_since) / 60.0) AS minutes FROM evq.events ORDER BY event_id;

-- From now on by the type's attempt_timeout, or as asked; the permit stays the same.
SET evq.debug_clock_offset = 300;
SELECT permit('a') AS permit \gset
SELECT flow_id, held, cancel_requested, seconds(h.attempt_due_at - published_at) BETWEEN 900 AND 930 AS extended
FROM evq_heartbeat(ARRAY[ev('a')], ARRAY[permit('a')]) h JOIN evq.events USING (event_id);
SELECT permit('a') = :permit AS same_permit;
SELECT * FROM held;
SELECT flow_id, held FROM evq_heartbeat(ARRAY[ev('b'), ev('c')], ARRAY[permit('b'), permit('c')], '3 min') JOIN evq.events USING (event_id) ORDER BY flow_id;
SELECT * FROM held;

-- The engine leaves an extended permit alone, and ends the others.
SET evq.debug_clock_offset = 601;
SELECT * FROM evq_tick();
SELECT * FROM held;

-- Never past the end of the lifespan.
SELECT held, attempt_due_at = due_at AS is_capped FROM evq_heartbeat(ARRAY[ev('a')], ARRAY[permit('a')], '2 hours') JOIN evq.events USING (event_id);

-- What does not hold any more: lost, taken by another, canceled, finished, unknown.
SELECT flow_id, held, cancel_requested, h.attempt_due_at FROM evq_heartbeat(ARRAY[ev('c')], ARRAY[permit('c')]) h JOIN evq.events USING (event_id);
SET evq.debug_clock_offset = 612;
SELECT permit('b') AS stale \gset
SELECT attempt FROM evq_acquire(ev('b'));
SELECT held, cancel_requested, attempt_due_at FROM evq_heartbeat(ARRAY[ev('b')], ARRAY[:stale]);
SELECT held, cancel_requested FROM evq_heartbeat(ARRAY[ev('b')], ARRAY[permit('b')]);
-- Who only asks: not by a stale permit, nor for what is given back, nor where one of several is lost.
SELECT evq.are_held(ARRAY[ev('b')], ARRAY[permit('b')]), evq.are_held(ARRAY[ev('b')], ARRAY[:stale]), evq.are_held(ARRAY[ev('b'), ev('b')], ARRAY[permit('b'), :stale]), evq.are_held('{}', '{}');
SELECT permit('b') AS given_back \gset
SELECT evq_suspend(ev('b'), :given_back) \gset
SELECT evq.are_held(ARRAY[ev('b')], ARRAY[:given_back]);
SELECT evq_activate(ev('b')) \gset
SELECT evq.are_held(ARRAY[ev('b')], ARRAY[:given_back]);
SELECT attempt FROM evq_acquire(ev('b'));
SELECT evq_cancel(ev('b')) \gset
SELECT held, cancel_requested, attempt_due_at FROM evq_heartbeat(ARRAY[ev('b')], ARRAY[permit('b')]);
SELECT evq_succeed(ev('a')) \gset
SELECT held, cancel_requested, attempt_due_at FROM evq_heartbeat(ARRAY[ev('a')], ARRAY[permit('a')]);
SELECT * FROM evq_heartbeat(ARRAY['00000000-0000-0000-0000-000000000000'::uuid], '{1}');
SELECT * FROM evq_heartbeat('{}', '{}');
RESET evq.debug_clock_offset;

-- Refused.
CALL refused($$SELECT evq_heartbeat(NULL, '{1}')$$);
CALL refused($$SELECT evq_heartbeat(ARRAY[ev('a')], NULL)$$);
CALL refused($$SELECT evq_heartbeat(ARRAY[ev('a')], '{1, 2}')$$);
CALL refused($$SELECT evq_heartbeat(ARRAY[ev('a')], '{NULL}')$$);
CALL refused($$SELECT evq_heartbeat(ARRAY[ev('a')], '{1}', '0')$$);
CALL refused($$SELECT evq_heartbeat(ARRAY[ev('a')], '{1}', '-1 s')$$);
CALL refused($$SELECT evq_heartbeat(ARRAY[ev('a')], '{1}', '3651 days')$$);
