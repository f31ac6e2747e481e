-- evq_acquire_next: what is ready in a flow. (No dispatcher runs here: the table is searched.)
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', lifespan => '1 hour') \gset
SELECT evq_configure('B', 'F', lifespan => '1 hour') \gset
SELECT evq_configure('C', 'G', lifespan => '1 hour') \gset
SELECT evq_publish('A', NULL, 'a1') \gset
SELECT evq_publish('B', NULL, 'b1') \gset
SELECT evq_publish('A', NULL, 'a2', run_at => now() + interval '1 hour') \gset
SELECT evq_publish('C', NULL, 'c1') \gset
SELECT evq_publish('A', NULL, 'a3', '{"n": 3}') \gset
SELECT evq_publish('B', NULL, 'b2') \gset
SELECT evq_publish('A', NULL, 'a4') \gset

-- One by default, the oldest; only of this flow; only what is due.
SELECT flow_id, event_type, flow_type, attempt, payload FROM evq_acquire_next('F');
-- Only of some types.
SELECT flow_id FROM evq_acquire_next('F', 10, '{A}', 'w', '1 min') ORDER BY event_id;
SELECT flow_id, worker, seconds(state_due_at - state_since) AS permit_holds FROM evq.events WHERE worker = 'w' ORDER BY event_id;
-- Up to so many.
SELECT flow_id FROM evq_acquire_next('F', 1, '{A, B}');
SELECT flow_id FROM evq_acquire_next('F', 10);
SELECT flow_id FROM evq_acquire_next('F', 10);
SELECT flow_id, state FROM evq.events ORDER BY event_id;

-- The earliest attempt first, not the earliest publish; dispatched ones too.
SELECT evq_publish('A', NULL, 'd1', run_at => clock_timestamp() + interval '2 hours') \gset
SELECT evq_publish('A', NULL, 'd2', run_at => clock_timestamp() + interval '100 min') \gset
SET evq.debug_clock_offset = 7260;
SELECT evq_publish('A', NULL, 'd3') \gset
SELECT flow_id FROM evq_acquire_next('F', 2);
SELECT flow_id FROM evq_acquire_next('F', 10);
RESET evq.debug_clock_offset;

-- Higher priority first, then the earlier one.
SELECT evq_publish('A', NULL, 'p1') \gset
SELECT evq_publish('A', NULL, 'p2', priority => 5::smallint) \gset
SELECT evq_publish('A', NULL, 'p3', priority => -5::smallint) \gset
SELECT evq_publish('A', NULL, 'p4', priority => 5::smallint) \gset
SELECT flow_id FROM evq_acquire_next('F');
SELECT flow_id FROM evq_acquire_next('F', 10);

-- No event of a suspended type.
SELECT evq_suspend_event_type('A') \gset
SELECT evq_publish('A', NULL, 's1') \gset
SELECT evq_publish('B', NULL, 's2') \gset
SELECT flow_id FROM evq_acquire_next('F', 10);
SELECT evq_unsuspend_event_type('A') \gset
SELECT flow_id FROM evq_acquire_next('F', 10);

-- Many at once.
SELECT count(*) FROM evq_publish_many('A', NULL, (SELECT array_agg('many-' || i) FROM generate_series(1, 3000) i),
	(SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 3000) i));
SELECT count(*) FROM evq_acquire_next('F', 2500);
SELECT count(DISTINCT flow_id) FROM evq_acquire_next('F', 10000);
SELECT state, count(*) FROM evq.events WHERE flow_id ~ '^many' GROUP BY 1;
-- More than a session keeps of the line.
SELECT count(*) FROM evq_publish_many('A', NULL, array_fill('line'::text, ARRAY[5000]), array_fill('1'::jsonb, ARRAY[5000]));
SELECT count(*) FROM evq_acquire_next('F', 10000);

-- Refused.
CALL refused($$SELECT evq_acquire_next(NULL)$$);
CALL refused($$SELECT evq_acquire_next('NONE_SUCH')$$);
CALL refused($$SELECT evq_acquire_next('F', 0)$$);
CALL refused($$SELECT evq_acquire_next('F', -1)$$);
CALL refused($$SELECT evq_acquire_next('F', 10001)$$);
CALL refused($$SELECT evq_acquire_next('F', 1, '{}')$$);
CALL refused($$SELECT evq_acquire_next('F', 1, '{NULL}')$$);
CALL refused($$SELECT evq_acquire_next('F', 1, '{{A, B}}')$$);
CALL refused($$SELECT evq_acquire_next('F', 1, '{A, NONE_SUCH}')$$);
CALL refused($$SELECT evq_acquire_next('F', 1, NULL, repeat('w', 256))$$);
CALL refused($$SELECT evq_acquire_next('F', 1, NULL, NULL, '0')$$);
