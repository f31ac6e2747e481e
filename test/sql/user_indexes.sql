-- Indexes that users add to evq's tables: each has the entries that a scan of the table finds, whatever its kind.
CREATE FUNCTION pg_temp.same(query text) RETURNS TABLE (events bigint, equal boolean) LANGUAGE plpgsql AS $$
DECLARE
	by_scan text;
	by_index text;
	plan text := '';
	line text;
BEGIN
	SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_seqscan = on;
	EXECUTE 'SELECT count(*), string_agg(q::text, '','' ORDER BY q) FROM (' || query || ') q' INTO events, by_scan;
	SET LOCAL enable_indexscan = on; SET LOCAL enable_bitmapscan = on; SET LOCAL enable_indexonlyscan = on; SET LOCAL enable_seqscan = off;
	EXECUTE 'SELECT string_agg(q::text, '','' ORDER BY q) FROM (' || query || ') q' INTO by_index;
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		plan := plan || line;
	END LOOP;
	equal := by_scan IS NOT DISTINCT FROM by_index AND plan !~ 'Seq Scan';
	RETURN NEXT;
END $$;
SELECT evq_configure('uia', 'UI', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}') \gset
SELECT evq_configure('uib', 'UI', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}') \gset
SELECT event_type_no AS no_b, flow_no FROM evq.event_type WHERE event_type = 'uib' \gset
BEGIN;
DELETE FROM evq.event_history; DELETE FROM evq.event; DELETE FROM evq.event_payload;
CREATE INDEX ON evq.event (upper(flow_id));
CREATE INDEX ON evq.event (published_at) WHERE flow_id LIKE 'b%';
CREATE INDEX ON evq.event (worker) INCLUDE (permit);
CREATE INDEX ON evq.event USING hash (flow_id);
CREATE INDEX ON evq.event_payload USING gin (payload);
-- evq's own would serve instead of them.
DO $$
DECLARE
	no_b int := (SELECT event_type_no FROM evq.event_type WHERE event_type = 'uib');
	p regclass;
	i regclass;
BEGIN
	FOR p IN SELECT relation FROM evq.history_partitions() LOOP
		FOR i IN SELECT x.indexrelid FROM pg_index x WHERE x.indrelid = p AND NOT x.indisprimary LOOP
			EXECUTE format('DROP INDEX %s', i);
		END LOOP;
		EXECUTE format('CREATE INDEX ON %s USING brin (finished_at) WHERE event_type_no = %s', p, no_b);
		EXECUTE format('CREATE INDEX ON %s ((result->>''n'')) WHERE state = ''s''', p);
		EXECUTE format('CREATE INDEX ON %s USING brin (chain_depth, flow_no)', p);
		EXECUTE format('CREATE INDEX ON %s USING brin (permit)', p);
	END LOOP;
END $$;
SELECT evq_publish('uia', NULL, 'a', '{"n": 0}') AS first \gset
SELECT evq_cancel(:'first');
SELECT brin_summarize_new_values(c.oid) IS NOT NULL FROM pg_class c JOIN pg_am m ON m.oid = c.relam AND m.amname = 'brin' WHERE c.relnamespace = 'evq'::regnamespace \g /dev/null

-- Of rows that finish together a summary learns once; one that it does not cover teaches it nothing.
SELECT evq_publish('uia', NULL, 'x') AS a, evq_publish('uib', NULL, 'x') AS b \gset
SELECT count(s) FROM evq_acquire(:'a') a, evq_acquire(:'b') b, evq_succeed_many(ARRAY[a.event_id, b.event_id], ARRAY[a.permit, b.permit]) s;
SELECT sum(events), bool_and(equal) FROM evq.history_partitions() p, pg_temp.same(format('SELECT event_id FROM %s WHERE event_type_no = %s AND finished_at > now() - interval ''1 day''', p.relation, :no_b));

-- Published one by one and in many; changed in place and not; finished one by one and in many.
SELECT evq_publish('uia', NULL, 'b1', '{"n": 1}') AS one, evq_publish('uib', NULL, 'a1', jsonb_build_object('n', 2, 'text', repeat('x', 1000))) AS two \gset
SELECT count(*) FROM evq_publish_many('uia', NULL, ARRAY(SELECT (ARRAY['a', 'b'])[1 + n % 2] || n FROM generate_series(2, 121) n), array_fill('{}'::jsonb, ARRAY[120]));
SELECT count(*) FROM evq_publish_many('uib', NULL, ARRAY(SELECT (ARRAY['a', 'b'])[1 + n % 2] || n FROM generate_series(2, 121) n), array_fill('{"n": 3}'::jsonb, ARRAY[120]));
SELECT evq_fail(:'one', 'no', permit) FROM evq_acquire(:'one', 'me');
SELECT evq_succeed(:'two', permit, '{"n": 2}') FROM evq_acquire(:'two', 'me');
WITH a AS (SELECT array_agg(event_id) AS i, array_agg(permit) AS p FROM evq_acquire_next('UI', 200, worker => 'many'))
SELECT count(s) FROM a, evq_succeed_many(i, p) s;
SELECT count(*) FROM evq_acquire_next('UI', 20, worker => 'later');

SELECT q, s.* FROM unnest(ARRAY[
	$$SELECT event_id FROM evq.event WHERE upper(flow_id) = 'B1'$$,
	$$SELECT event_id FROM evq.event WHERE published_at > '-infinity' AND flow_id LIKE 'b%'$$,
	$$SELECT event_id FROM evq.event WHERE worker = 'later'$$,
	$$SELECT event_id FROM evq.event WHERE flow_id = 'b1'$$,
	$$SELECT event_id FROM evq.event_payload WHERE payload @> '{"n": 2}'$$]) q, pg_temp.same(q) s;
SELECT sum(events), bool_and(equal) FROM evq.history_partitions() p, pg_temp.same(format('SELECT event_id FROM %s WHERE event_type_no = %s AND finished_at > now() - interval ''1 day''', p.relation, :no_b));
SELECT sum(events), bool_and(equal) FROM evq.history_partitions() p, pg_temp.same(format('SELECT event_id FROM %s WHERE result->>''n'' = ''2'' AND state = ''s''', p.relation));
SELECT sum(events), bool_and(equal) FROM evq.history_partitions() p, pg_temp.same(format('SELECT event_id FROM %s WHERE flow_no = %s AND chain_depth = 0', p.relation, :flow_no));
-- Of rows that finish together and have other keys a summary learns each.
SELECT bool_and(equal AND events > 0) FROM (SELECT tableoid::regclass AS relation, max(permit) FROM evq.event_history GROUP BY 1) h,
	pg_temp.same(format('SELECT event_id FROM %s WHERE permit >= %s', h.relation, h.max));
ROLLBACK;

-- Of a batch, whose rows evq's own index learns of page by page.
BEGIN;
DELETE FROM evq.exception; DELETE FROM evq.run;
SELECT evq_configure_flow('UI', delivery => 'pull') \gset
SET LOCAL evq.store_batches_from = 1;
SELECT count(*) FROM evq_publish_many('uia', NULL, ARRAY['x'], ARRAY[jsonb '0']);
CREATE INDEX ON evq.log USING brin (flow_id);
CREATE INDEX ON evq.log USING brin (event_id uuid_bloom_ops);
CREATE INDEX ON evq.run (worker);
CREATE INDEX ON evq.exception (state) WHERE state = 's';
SELECT brin_summarize_new_values(c.oid) FROM pg_partition_tree('evq.log') t JOIN pg_index i ON i.indrelid = t.relid
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam WHERE t.isleaf AND m.amname = 'brin' \g /dev/null
SELECT count(*) FROM evq_publish_many('uia', NULL, ARRAY(SELECT CASE WHEN n = 30 THEN 'zz' ELSE 'edge' END FROM generate_series(1, 99) n), array_fill('{}'::jsonb, ARRAY[99]));
WITH a AS (SELECT array_agg(event_id) AS i, array_agg(permit) AS p FROM evq_acquire_next('UI', 70, worker => 'many'))
SELECT count(s) FROM a, evq_succeed_many(i[11:], p[11:]) s;
SELECT event_id AS middle FROM evq.log WHERE flow_id = 'zz' \gset
SELECT s.* FROM unnest(ARRAY[
	$$SELECT event_id FROM evq.log WHERE flow_id = 'zz'$$,
	format($$SELECT event_id FROM evq.log WHERE event_id = %L$$, :'middle'),
	$$SELECT last_id FROM evq.run WHERE worker = 'many'$$,
	$$SELECT event_id FROM evq.exception WHERE state = 's'$$]) q, pg_temp.same(q) s;
ROLLBACK;

-- An index that is not valid, because it is being built or that has failed, is not searched, but gets its entries.
BEGIN;
SELECT evq_publish('uia', NULL, 'before') AS before \gset
UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('evq.event_flow_no_attempt_scheduled_at_idx'::regclass, 'evq.event_error_event_id_idx'::regclass);
SELECT evq_publish('uia', NULL, 'meanwhile') AS meanwhile \gset
SAVEPOINT s;
SELECT dispatched FROM evq_tick();
ROLLBACK TO s;
UPDATE pg_index SET indisvalid = true WHERE indexrelid IN ('evq.event_flow_no_attempt_scheduled_at_idx'::regclass, 'evq.event_error_event_id_idx'::regclass);
SELECT dispatched >= 2 AS both FROM evq_tick();
SELECT flow_id, state FROM evq.events WHERE event_id IN (:'before', :'meanwhile') ORDER BY flow_id;
ROLLBACK;
SELECT evq_drop_event_type('uia'), evq_drop_event_type('uib');
