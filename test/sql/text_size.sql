-- A jsonb of some kilobytes can have a text of gigabytes. None comes in, by whatever door; one that is there already harms nobody.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A_FAILED', 'F') \gset
SELECT evq_configure('A', 'F', 3, '1 hour', on_fail_event_type => 'A_FAILED') \gset

-- 40 numbers of 131072 digits: over the limit of four times evq.max_payload.
CREATE FUNCTION lab.bomb(numbers int) RETURNS jsonb LANGUAGE sql STABLE AS
$$ SELECT ('{"x": [{"y": [' || string_agg(CASE n % 3 WHEN 0 THEN '-1e131071' WHEN 1 THEN '1.5e131070' ELSE '[1e131071]' END, ',') || ']}]}')::jsonb FROM generate_series(1, numbers) n $$;
SELECT pg_column_size(bomb(40)) < 2000 AS small, octet_length(bomb(40)::text) > 4 * 1048576 AS long;

-- Published, alone and among others.
CALL refused($$SELECT evq_publish('A', NULL, 'x', bomb(40))$$);
CALL refused($$SELECT evq_publish('A', NULL, 'x', headers => bomb(40))$$);
CALL refused($$SELECT evq_publish_many('A', NULL, ARRAY['x', 'y'], ARRAY['{}', bomb(40)])$$);
CALL refused($$SELECT evq_publish_many(jsonb_build_array('{"event_type": "A", "flow_id": "x"}'::jsonb, jsonb_build_object('event_type', 'A', 'flow_id', 'y', 'payload', bomb(40))))$$);
CALL refused($$SELECT evq_schedule('bomb', '@daily', 'A', NULL, 'x', bomb(40))$$);
SELECT count(*) FROM evq.events;

-- By a worker.
SELECT evq_publish('A', NULL, 'a') \gset
SELECT count(*) FROM evq_acquire(ev('a'));
CALL refused($$SELECT evq_succeed(ev('a'), result => bomb(40))$$);
CALL refused($$SELECT evq_succeed(ev('a'), spinoffs => jsonb_build_array(jsonb_build_object('event_type', 'A', 'payload', bomb(40))))$$);
SELECT evq_suspend(ev('a'), permit('a')) \gset
CALL refused($$SELECT evq_activate(ev('a'), bomb(40))$$);
SELECT state FROM evq.events;

-- Below the limit, and numbers that are long as they are.
SELECT evq_activate(ev('a'), bomb(20));
SELECT octet_length(payload::text) > 1048576 AS long FROM evq_acquire(ev('a'));
SELECT evq_succeed(ev('a'));
SELECT count(*) FROM evq_publish('A', NULL, 'numbers', (SELECT jsonb_agg(n * 1e10 / 7) FROM generate_series(1, 20000) n));

-- Stored before its text was measured.
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY['good 1', 'bad', 'good 2', 'bad headers', 'good 3'], array_fill('{}'::jsonb, ARRAY[5]));
UPDATE evq.event SET payload = bomb(40) WHERE flow_id = 'bad';
INSERT INTO evq.event_payload SELECT event_id, payload, bomb(40) FROM evq.event WHERE flow_id = 'bad headers';
UPDATE evq.event SET payload = NULL WHERE flow_id = 'bad headers';
SELECT flow_id FROM evq_acquire_next('F', 10) WHERE flow_id ~ '^(good|bad)' ORDER BY 1;
SELECT e.flow_id, e.state, r.outcome, r.error_message FROM evq.events e JOIN evq.errors r USING (event_id) ORDER BY 1;
SELECT flow_id, payload - 'event_id' AS payload FROM evq.events JOIN evq.payloads USING (event_id) WHERE event_type = 'A_FAILED' ORDER BY 1;
