-- What evq_check() finds about events in batches: partitions, places, and whether the backlog says what runs and exceptions say.

CREATE FUNCTION evq.open_events(batch_id uuid) RETURNS int
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
	SELECT b.events - (
		SELECT count(DISTINCT o.ordinal)::int FROM (
			SELECT evq.ordinal(r.last_id) - n AS ordinal FROM evq.run r, generate_series(0, r.events - 1) n
			WHERE r.state = 's' AND r.last_id >= b.batch_id AND r.last_id <= evq.id_in_batch(b.batch_id, 1023)
			UNION ALL
			SELECT evq.ordinal(x.event_id) FROM evq.exception x WHERE x.event_id >= b.batch_id AND x.event_id <= evq.id_in_batch(b.batch_id, 1023)) o)
	FROM evq.batch b WHERE b.batch_id = open_events.batch_id);
COMMENT ON FUNCTION evq.open_events(uuid) IS 'How many events of a batch have no end, and have not left it, by runs and exceptions';

CREATE FUNCTION evq.missing_events(batch_id uuid) RETURNS int
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
	SELECT b.events - (
		SELECT count(DISTINCT o.ordinal)::int FROM (
			SELECT evq.ordinal(l.event_id) AS ordinal FROM evq.logged_events(ARRAY(SELECT evq.id_in_batch(b.batch_id, n) FROM generate_series(0, b.events - 1) n)) l
			UNION ALL
			SELECT evq.ordinal(x.event_id) FROM evq.exception x WHERE x.event_id >= b.batch_id AND x.event_id <= evq.id_in_batch(b.batch_id, 1023)) o)
	FROM evq.batch b WHERE b.batch_id = missing_events.batch_id);
COMMENT ON FUNCTION evq.missing_events(uuid) IS 'How many events of a batch have no row in evq.log, and no exception that says what became of them';

-- Of batches it looks at some of those published last, and some of those that have waited longest: never at all.
CREATE FUNCTION evq.check_log() RETURNS SETOF evq.finding
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off ROWS 5
AS $$
WITH newest AS MATERIALIZED (
	SELECT b.*, EXISTS (SELECT FROM evq.backlog k WHERE k.event_type_no = b.event_type_no AND k.batch_id = b.batch_id) AS is_waiting
	FROM evq.batch b WHERE b.batch_id < evq.first_id(clock_timestamp() - interval '1 minute') ORDER BY b.batch_id DESC LIMIT 20),
oldest AS MATERIALIZED (
	SELECT k.* FROM evq.event_type t CROSS JOIN LATERAL (
		SELECT b.* FROM evq.backlog b WHERE b.event_type_no = t.event_type_no AND b.batch_id < evq.first_id(clock_timestamp() - interval '1 minute')
		ORDER BY b.batch_id LIMIT 2) k
	ORDER BY k.batch_id LIMIT 20)
SELECT 'warning', 'tables', 'evq.log has no partition for now: batches are published into evq.log_default',
	'SELECT @extschema@.evq_purge() makes it; the server''s log says why the engine''s housekeeping does not.'
WHERE NOT EXISTS (SELECT FROM evq.log_partitions() p WHERE p.from_at <= clock_timestamp() AND p.to_at > clock_timestamp())
	AND pg_relation_size('evq.log_default') > 0
	-- What was published before partitions were made stands in the way until the next one begins.
	AND NOT EXISTS (SELECT FROM evq.log_partitions() p WHERE p.from_at > clock_timestamp())
UNION ALL
SELECT 'error', 'tables', format('partition %s of evq.log is not a plain table: no batch can be published before %s', p.relation, p.to_at),
	format('ALTER TABLE evq.log DETACH PARTITION %s.', p.relation)
FROM evq.log_partitions() p JOIN pg_class c ON c.oid = p.relation
WHERE c.relkind <> 'r' AND p.from_at <= clock_timestamp() + interval '2 days' AND p.to_at > clock_timestamp()
UNION ALL
SELECT 'warning', 'tables', format('%s is to be dropped since %s: its batches are done, and the retention of their types is over', p.relation, d.since),
	'DROP TABLE tells what depends on it; otherwise somebody has read it whenever housekeeping came by, and the server''s log says so.'
FROM evq.log_partitions() p JOIN pg_class c ON c.oid = p.relation CROSS JOIN LATERAL (
	SELECT max(t.done_at + coalesce(y.retention, '0 s')) AS since FROM evq.log_type t LEFT JOIN evq.event_type y USING (event_type_no)
	WHERE t.relation = c.relname HAVING bool_and(t.done_at IS NOT NULL)) d
WHERE c.relkind = 'r' AND d.since < clock_timestamp() - interval '1 day'
UNION ALL
SELECT 'warning', 'tables', format('%s has no summary of its ids: an event that is not where its batch says is looked for in all of it', p.relation),
	format('CREATE INDEX ON %s USING brin (event_id) WITH (pages_per_range = 32).', p.relation)
FROM evq.log_partitions() p JOIN pg_class c ON c.oid = p.relation
WHERE c.relkind = 'r' AND NOT EXISTS (
	SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am a ON a.oid = x.relam JOIN pg_attribute t ON t.attrelid = p.relation AND t.attname = 'event_id'
	WHERE i.indrelid = p.relation AND i.indisvalid AND i.indkey[0] = t.attnum AND a.amname IN ('brin', 'btree'))
UNION ALL
SELECT 'warning', 'tables', format('rows of evq.log are not where their batches say, as after VACUUM FULL or a restore: that of %s, for one', min(s.batch_id::text)),
	'Reading them takes longer. Housekeeping notes where they are, at the latest after evq.housekeeping_interval; SELECT @extschema@.evq_purge() does it now.'
FROM (SELECT n.batch_id FROM newest n WHERE n.is_waiting UNION SELECT o.batch_id FROM oldest o) s WHERE NOT evq.is_in_place(s.batch_id) HAVING count(*) > 0
UNION ALL
SELECT 'error', 'tables', format('rows of evq.log are missing, of %s events of batch %s for one: somebody has deleted them', m.missing, m.batch_id),
	'The engine gives these events up when it comes to them; the others of their batch go on. Restore the rows before that, if there is a backup. Events are ended with @extschema@.evq_cancel().'
-- Of few, for this reads all their events.
FROM (SELECT s.batch_id, evq.missing_events(s.batch_id) AS missing FROM (
		(SELECT n.batch_id FROM newest n WHERE n.is_waiting ORDER BY n.batch_id DESC LIMIT 2) UNION (SELECT o.batch_id FROM oldest o ORDER BY o.batch_id LIMIT 2)) s) m
WHERE m.missing > 0
UNION ALL
SELECT 'warning', 'tables', format('%s batches are done, and in the backlog still: that of %s, for one', count(*), min(s.batch_id::text)),
	'The engine takes them out when it looks at them: see the findings about the dispatcher, or call evq_tick(). Until then they are kept.'
FROM (SELECT n.batch_id FROM newest n WHERE n.is_waiting UNION SELECT o.batch_id FROM oldest o) s WHERE evq.open_events(s.batch_id) = 0
	-- It may just have been told.
	AND NOT EXISTS (SELECT FROM evq.run r WHERE r.last_id >= s.batch_id AND r.last_id <= evq.id_in_batch(s.batch_id, 1023) AND r.state_since > clock_timestamp() - interval '1 minute')
	AND NOT EXISTS (SELECT FROM evq.exception x WHERE x.event_id >= s.batch_id AND x.event_id <= evq.id_in_batch(s.batch_id, 1023) AND x.state_since > clock_timestamp() - interval '1 minute')
HAVING count(*) > 0
UNION ALL
SELECT 'error', 'tables', format('batch %s is not in the backlog, and %s of its events have no end: nobody offers them', n.batch_id, evq.open_events(n.batch_id)),
	format('INSERT INTO evq.backlog SELECT flow_no, attempt_scheduled_at, batch_id, event_type_no, priority, events FROM evq.batch WHERE batch_id = %L.', n.batch_id)
FROM newest n WHERE NOT n.is_waiting AND evq.open_events(n.batch_id) > 0
UNION ALL
SELECT 'error', 'tables', format('%s is in the backlog, and there is no such batch', o.batch_id),
	format('DELETE FROM evq.backlog WHERE batch_id = %L.', o.batch_id)
FROM oldest o WHERE NOT EXISTS (SELECT FROM evq.batch b WHERE b.batch_id = o.batch_id)
$$;
COMMENT ON FUNCTION evq.check_log() IS 'Findings: what is wrong with the tables of events in batches';
