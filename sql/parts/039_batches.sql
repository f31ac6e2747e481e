-- The events of batches, as long as they have no row of their own, and the payloads of all events.

CREATE FUNCTION evq.ordinal(event_id uuid) RETURNS int
AS 'MODULE_PATHNAME', 'evq_sql_ordinal' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.ordinal(uuid) IS 'The number of an event in its batch, from 0 on';

CREATE FUNCTION evq.id_in_batch(event_id uuid, ordinal int) RETURNS uuid
AS 'MODULE_PATHNAME', 'evq_sql_id_in_batch' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.id_in_batch(uuid, int) IS 'The id of the event with this number in the same batch; of number 0 it is the batch''s too';

CREATE FUNCTION evq.may_be_of_batch(event_ids uuid[]) RETURNS boolean
AS 'MODULE_PATHNAME', 'evq_sql_may_be_of_batch' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.may_be_of_batch(uuid[]) IS 'May one of these ids be that of an event in a batch?';

-- Its columns are named: a plan that is kept does not hear of columns that users add to a table and drop.
CREATE FUNCTION evq.logged_events(event_ids uuid[]) RETURNS TABLE (event_id uuid, flow_id text, payload jsonb, headers jsonb)
AS 'MODULE_PATHNAME', 'evq_sql_logged_events' LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION evq.logged_events(uuid[]) IS 'The rows of evq.log with these ids';

CREATE VIEW evq.live_batch AS
SELECT b.batch_id, b.published_at, b.attempt_scheduled_at, b.due_at + coalesce((
		SELECT pg_catalog.sum(c.shift) FROM evq.lifespan_change c WHERE c.event_type_no = b.event_type_no AND c.changed_at > b.published_at), '0') AS due_at,
	b.event_type_no, b.flow_no, b.priority, b.events, b.on_fail_event_type_no, b.due_at AS stored_due_at
FROM evq.batch b;
COMMENT ON VIEW evq.live_batch IS 'The rows of evq.batch with the end of their lifespan as it is since the last change of evq.lifespan_change';

-- An event has the state of its exception, or else that of the run that it is in; or else nobody has acquired it yet.
CREATE VIEW evq.batch_event AS
SELECT l.event_id, b.published_at, b.attempt_scheduled_at, b.due_at, b.event_type_no, b.flow_no, b.priority,
	coalesce(x.state, r.state, 'a') AS state, coalesce(x.state_since, r.state_since, b.published_at) AS state_since,
	CASE WHEN x.event_id IS NULL AND r.state = 'p' THEN CASE r.state_due_at WHEN b.stored_due_at THEN b.due_at ELSE r.state_due_at END END AS state_due_at, r.attempt_started_at,
	coalesce(r.permit, 0) AS permit, l.flow_id, b.on_fail_event_type_no, r.worker, l.payload
FROM evq.log l
JOIN evq.live_batch b ON b.batch_id = evq.id_in_batch(l.event_id, 0)
LEFT JOIN LATERAL (
	SELECT u.* FROM evq.run u WHERE u.last_id >= l.event_id AND u.last_id <= evq.id_in_batch(l.event_id, 1023) ORDER BY u.last_id LIMIT 1) r
	ON evq.ordinal(l.event_id) > evq.ordinal(r.last_id) - r.events
LEFT JOIN evq.exception x ON x.event_id = l.event_id
WHERE x.state IS DISTINCT FROM 'm';
COMMENT ON VIEW evq.batch_event IS 'Events that are in a batch and have no row of their own';

DO $do$
BEGIN
	EXECUTE format($function$
		CREATE OR REPLACE FUNCTION evq.batch_events_by_id(event_ids uuid[]) RETURNS SETOF evq.batch_event
		LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 1
		SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
		AS %L$function$,
		format(E'BEGIN\nRETURN QUERY %s;\nEND', replace(rtrim(pg_get_viewdef('evq.batch_event'::regclass), ';'), 'evq.log l', 'evq.logged_events($1) l')));
END
$do$;
COMMENT ON FUNCTION evq.batch_events_by_id(uuid[]) IS 'The rows of evq.batch_event with these ids, whose cost does not grow with the number of events';

-- Of a batch that is not done, the neighbours whose state is the same but for exceptions: each run, and those between runs, which
-- nobody has acquired. This takes a small part of the time that the events would. Where all have ended, events is 0.
CREATE VIEW evq.batch_stretch AS
SELECT k.flow_no, k.event_type_no, k.batch_id, k.attempt_scheduled_at, s.first, s.last, s.state, s.state_since, s.state_due_at,
	s.worker, CASE WHEN s.state = 's' THEN 0 ELSE s.last - s.first + 1 - o.events END AS events
FROM evq.backlog k
CROSS JOIN LATERAL (
	SELECT u.*, pg_catalog.lag(u.last, 1, -1) OVER (ORDER BY u.last) AS before
	FROM (
		SELECT evq.ordinal(r.last_id) - r.events + 1 AS first, evq.ordinal(r.last_id) AS last, r.state, r.state_since, r.state_due_at, r.worker
		FROM evq.run r WHERE r.last_id >= k.batch_id AND r.last_id <= evq.id_in_batch(k.batch_id, 1023)
		UNION ALL
		SELECT k.events, k.events, NULL, NULL, NULL, NULL) u) n
CROSS JOIN LATERAL (
	VALUES (n.before + 1, n.first - 1, 'a'::"char", NULL::timestamptz, NULL::timestamptz, NULL::text),
		(n.first, n.last, n.state, n.state_since, n.state_due_at, n.worker)) s(first, last, state, state_since, state_due_at, worker)
CROSS JOIN LATERAL (
	SELECT count(*) AS events FROM evq.exception x
	WHERE s.state <> 's' AND x.event_id >= evq.id_in_batch(k.batch_id, s.first) AND x.event_id <= evq.id_in_batch(k.batch_id, s.last)) o
WHERE s.last >= s.first AND s.state IS NOT NULL;
COMMENT ON VIEW evq.batch_stretch IS
$$Neighbours in batches that are not done, first to last, whose state is the same: how many of them have no exception, and are live.
state_since NULL = since the batch was published$$;

CREATE VIEW evq.batch_count AS
SELECT s.flow_no, s.event_type_no, s.batch_id, s.state, s.events FROM evq.batch_stretch s WHERE s.events > 0;
COMMENT ON VIEW evq.batch_count IS
	'How many events of each batch that is not done wait, or are being processed, and have no row of their own; a row for each of its stretches';

CREATE VIEW evq.payloads AS
	SELECT event_id, payload, NULL::jsonb AS headers FROM evq.event WHERE payload IS NOT NULL
	UNION ALL SELECT event_id, payload, NULL FROM evq.event_history WHERE payload IS NOT NULL
	UNION ALL SELECT event_id, payload, headers FROM evq.event_payload
	UNION ALL SELECT l.event_id, l.payload, l.headers FROM evq.log l
		WHERE NOT EXISTS (SELECT FROM evq.exception x WHERE x.event_id = l.event_id AND x.state = 'm');
COMMENT ON VIEW evq.payloads IS 'Payload and headers of every event, live or finished';
