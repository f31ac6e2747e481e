-- evq_succeed_many and evq_succeed_and_acquire: many reports at once, each fenced by its permit.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset
SELECT evq_publish_many('A', NULL, '{a, b, c, d, e, f, g}', '{1, 2, 3, 4, 5, 6, 7}') \g /dev/null
SELECT flow_id FROM evq_acquire_next('F', 4) ORDER BY event_id;

-- A lost permit hinders none of the others; a report repeated in the same call is accepted.
SELECT e.flow_id, accepted
FROM evq_succeed_many(ARRAY[ev('a'), ev('b'), ev('c'), ev('e'), ev('a'), '00000000-0000-0000-0000-000000000000'],
					  ARRAY[permit('a'), permit('b') + 1, permit('c'), 1, permit('a'), 1]) WITH ORDINALITY AS r
LEFT JOIN evq.events e USING (event_id) ORDER BY r.ordinality;
SELECT flow_id, state FROM evq.events ORDER BY event_id;
SELECT * FROM evq_succeed_many('{}', '{}');

-- The busy worker's turn.
SELECT flow_id, attempt, payload FROM evq_succeed_and_acquire('F', ARRAY[ev('b')], ARRAY[permit('b')], 2) ORDER BY event_id;
SELECT flow_id, state FROM evq.events ORDER BY event_id;
-- One lost permit of two: a warning; the other one is recorded and the next event is acquired.
SELECT flow_id, attempt FROM evq_succeed_and_acquire('F', ARRAY[ev('e'), ev('f')], ARRAY[permit('e') + 1, permit('f')], 1, '{A}', 'w', '1 min');
SELECT flow_id, state, worker, seconds(state_due_at - state_since) AS permit_holds FROM evq.events WHERE flow_id >= 'e' ORDER BY event_id;
-- Nothing to report, nothing to take.
SELECT flow_id FROM evq_succeed_and_acquire('F', '{}', '{}');

-- Refused; nothing is recorded.
SELECT checksum() AS before \gset
CALL refused($$SELECT evq_succeed_many(NULL, '{1}')$$);
CALL refused($$SELECT evq_succeed_many('{}', NULL)$$);
CALL refused($$SELECT evq_succeed_many(ARRAY[ev('d')], '{}')$$);
CALL refused($$SELECT evq_succeed_many(ARRAY[ev('d'), NULL], '{1, 2}')$$);
CALL refused($$SELECT evq_succeed_many(ARRAY[ev('d')], '{NULL}')$$);
CALL refused($$SELECT evq_succeed_many(ARRAY[[ev('d')]], '{1}')$$);
CALL refused($$SELECT evq_succeed_and_acquire(NULL, '{}', '{}')$$);
CALL refused($$SELECT evq_succeed_and_acquire('F', NULL, '{}')$$);
CALL refused($$SELECT evq_succeed_and_acquire('F', ARRAY[ev('d')], '{1, 2}')$$);
CALL refused($$SELECT evq_succeed_and_acquire('NONE_SUCH', ARRAY[ev('d')], ARRAY[permit('d')])$$);
CALL refused($$SELECT evq_succeed_and_acquire('F', ARRAY[ev('d')], ARRAY[permit('d')], 0)$$);
CALL refused($$SELECT evq_succeed_and_acquire('F', ARRAY[ev('d')], ARRAY[permit('d')], 1, '{NONE_SUCH}')$$);
SELECT checksum() = :'before' AS unchanged;

-- The index on the time of the finish knows of every batch: its summary of the pages is made before, and read after.
SELECT i.indexrelid::regclass AS brin FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam AND a.amname = 'brin'
WHERE i.indrelid = (SELECT tableoid FROM evq.event_history ORDER BY finished_at DESC LIMIT 1) \gset
SELECT brin_summarize_new_values(:'brin') >= 0 AS summarized;
SELECT clock_timestamp() AS before \gset
SELECT count(*) FROM evq_publish_many('A', NULL, array_fill('later'::text, ARRAY[510]), array_fill('{}'::jsonb, ARRAY[510]));
SELECT count(*) FROM generate_series(100, 104) AS n, LATERAL (SELECT array_agg(event_id) AS ids, array_agg(permit) AS permits FROM evq_acquire_next('F', n)) AS held,
	evq_succeed_many(ids, permits) WHERE accepted;
SET enable_seqscan = off;
CREATE FUNCTION pg_temp.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END $$;
SELECT count(*) > 0 AS by_index FROM pg_temp.plan('SELECT count(*) FROM evq.event_history WHERE finished_at >= now()') line
WHERE line ~ ('Bitmap Index Scan on ' || split_part(:'brin', '.', 2));
SELECT count(*), count(DISTINCT finished_at) FROM evq.event_history WHERE finished_at >= :'before';
RESET enable_seqscan;
