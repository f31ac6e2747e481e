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

CREATE FUNCTION evq.logged_events(event_ids uuid[]) RETURNS SETOF evq.log
AS 'MODULE_PATHNAME', 'evq_sql_logged_events' LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION evq.logged_events(uuid[]) IS 'The rows of evq.log with these ids';

-- An event has the state of its exception, or else that of the run that it is in; or else nobody has acquired it yet.
CREATE VIEW evq.batch_event AS
SELECT l.event_id, b.published_at, b.attempt_scheduled_at, d.due_at, b.event_type_no, b.flow_no, b.priority,
	coalesce(x.state, r.state, 'a') AS state, coalesce(x.state_since, r.state_since, b.published_at) AS state_since,
	CASE WHEN x.event_id IS NULL AND r.state = 'p' THEN r.state_due_at END AS state_due_at, r.attempt_started_at,
	coalesce(r.permit, 0) AS permit, l.flow_id, b.on_fail_event_type_no, r.worker
FROM evq.log l
JOIN evq.batch b ON b.batch_id = evq.id_in_batch(l.event_id, 0)
CROSS JOIN LATERAL (
	SELECT b.due_at + coalesce((SELECT pg_catalog.sum(c.shift) FROM evq.lifespan_change c
								WHERE c.event_type_no = b.event_type_no AND c.changed_at > b.published_at), '0') AS due_at) d
LEFT JOIN LATERAL (
	SELECT u.* FROM evq.run u WHERE u.last_id >= l.event_id AND u.last_id <= evq.id_in_batch(l.event_id, 1023) ORDER BY u.last_id LIMIT 1) r
	ON evq.ordinal(l.event_id) > evq.ordinal(r.last_id) - r.events
LEFT JOIN evq.exception x ON x.event_id = l.event_id
WHERE x.state IS DISTINCT FROM 'm';
COMMENT ON VIEW evq.batch_event IS 'Events that are in a batch and have no row of their own';

-- By run, which takes a small part of the time that the events would: of those that an exception took out, it counts how many.
CREATE VIEW evq.batch_count AS
SELECT k.flow_no, k.event_type_no, k.batch_id, s.state, s.events
FROM evq.backlog k
CROSS JOIN LATERAL (
	SELECT coalesce(sum(r.events), 0) AS in_runs, coalesce(sum(r.events) FILTER (WHERE r.state = 'p'), 0) AS held,
		coalesce(sum(o.events), 0) AS out_of_runs, coalesce(sum(o.events) FILTER (WHERE r.state = 'p'), 0) AS out_of_held
	FROM evq.run r
	CROSS JOIN LATERAL (
		SELECT count(*) AS events FROM evq.exception x
		WHERE x.event_id <= r.last_id AND x.event_id >= evq.id_in_batch(r.last_id, evq.ordinal(r.last_id) - r.events + 1)) o
	WHERE r.last_id >= k.batch_id AND r.last_id <= evq.id_in_batch(k.batch_id, 1023)) n
CROSS JOIN LATERAL (
	SELECT count(*) AS events FROM evq.exception x
	WHERE x.event_id >= k.batch_id AND x.event_id <= evq.id_in_batch(k.batch_id, 1023)) e
CROSS JOIN LATERAL (
	VALUES ('a'::"char", k.events - n.in_runs - (e.events - n.out_of_runs)), ('p', n.held - n.out_of_held)) s(state, events)
WHERE s.events > 0;
COMMENT ON VIEW evq.batch_count IS 'How many events of each batch that is not done wait, or are being processed, and have no row of their own';

CREATE VIEW evq.payloads AS
	SELECT event_id, payload, NULL::jsonb AS headers FROM evq.event WHERE payload IS NOT NULL
	UNION ALL SELECT event_id, payload, NULL FROM evq.event_history WHERE payload IS NOT NULL
	UNION ALL SELECT event_id, payload, headers FROM evq.event_payload
	UNION ALL SELECT l.event_id, l.payload, l.headers FROM evq.log l
		WHERE NOT EXISTS (SELECT FROM evq.exception x WHERE x.event_id = l.event_id AND x.state = 'm');
COMMENT ON VIEW evq.payloads IS 'Payload and headers of every event, live or finished';
