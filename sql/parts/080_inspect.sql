-- Looking inside.

CREATE FUNCTION evq.transitions(OUT from_state evq.event_state, OUT verb text, OUT to_state evq.event_state, OUT note text)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_transitions' LANGUAGE c STABLE PARALLEL SAFE ROWS 40;
COMMENT ON FUNCTION evq.transitions() IS 'The table in the code that every change of state is checked against';

CREATE VIEW evq.transition AS SELECT * FROM evq.transitions();
COMMENT ON VIEW evq.transition IS 'The state machine: from_state NULL = not published yet';

CREATE VIEW evq.flows AS
SELECT f.flow_type, f.channel, f.delivery, f.ordered, f.max_dispatched, f.max_processing, f.dispatch_timeout, f.notify_payload
FROM evq.flow f;
COMMENT ON VIEW evq.flows IS 'The configuration of flows; evq_configure_flow() changes it';

CREATE VIEW evq.event_types AS
SELECT t.event_type, f.flow_type, t.max_attempts::int, t.lifespan, t.attempt_delays, t.backoff_factor, t.max_delay,
	t.jitter, coalesce(t.attempt_timeout, t.lifespan / t.max_attempts) AS attempt_timeout, t.is_suspended,
	t.on_suspend_timeout, t.on_fail_event_type, t.priority::int, t.max_payload_bytes, t.retention
FROM evq.event_type t
JOIN evq.flow f USING (flow_no)
WHERE NOT t.dropped;
COMMENT ON VIEW evq.event_types IS 'The configuration of event types; evq_configure() changes it';

CREATE VIEW evq.events AS
SELECT e.event_id, t.event_type, f.flow_type, e.flow_id, evq.state_name(e.state) AS state, e.published_at,
	e.attempt_scheduled_at,
	e.due_at + coalesce((SELECT pg_catalog.sum(c.shift) FROM evq.lifespan_change c WHERE c.event_type_no = e.event_type_no AND c.changed_at > e.published_at), '0') AS due_at,
	e.attempts_used::int, t.max_attempts::int, e.priority::int,
	e.state_since, CASE WHEN e.state_due_at = e.due_at
		THEN e.due_at + coalesce((SELECT pg_catalog.sum(c.shift) FROM evq.lifespan_change c WHERE c.event_type_no = e.event_type_no AND c.changed_at > e.published_at), '0')
		WHEN e.state IN ('d', 'u') THEN least(e.state_due_at,
			e.due_at + coalesce((SELECT pg_catalog.sum(c.shift) FROM evq.lifespan_change c WHERE c.event_type_no = e.event_type_no AND c.changed_at > e.published_at), '0'))
		ELSE nullif(e.state_due_at, 'infinity') END AS state_due_at,
	CASE WHEN e.state = 'p' THEN e.state_since END AS attempt_started_at, NULL::timestamptz AS finished_at,
	e.permit, e.worker, e.parent_id, e.chain_depth::int, o.event_type AS on_fail_event_type,
	NULL::text AS reason, NULL::jsonb AS result, NULL::uuid[] AS spinoff_ids, e.answer
FROM evq.event e
JOIN evq.event_type t USING (event_type_no)
JOIN evq.flow f ON f.flow_no = e.flow_no
LEFT JOIN evq.event_type o ON o.event_type_no = e.on_fail_event_type_no
UNION ALL
SELECT h.event_id, t.event_type, f.flow_type, h.flow_id, evq.state_name(h.state), h.published_at,
	h.attempt_scheduled_at, h.due_at, h.attempts_used::int, t.max_attempts::int, h.priority::int,
	h.finished_at, NULL, nullif(h.attempt_started_at, 'infinity'), h.finished_at,
	h.permit, h.worker, h.parent_id, h.chain_depth::int, o.event_type,
	h.reason, h.result, h.spinoff_ids, h.answer
FROM evq.event_history h
JOIN evq.event_type t USING (event_type_no)
JOIN evq.flow f ON f.flow_no = h.flow_no
LEFT JOIN evq.event_type o ON o.event_type_no = h.on_fail_event_type_no;
COMMENT ON VIEW evq.events IS 'All events, live and finished, one row each; the payload is in evq_event(event_id)';

-- By id: the id tells when an event was published, so the partitions of the history are looked at one by one from there
-- on, each locked by itself. A query of the whole view would look at, and lock, all of them.
CREATE FUNCTION evq.finished_events(event_ids uuid[]) RETURNS SETOF evq.event_history
AS 'MODULE_PATHNAME', 'evq_sql_finished_events' LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION evq.finished_events(uuid[]) IS 'The rows of the history with these ids';

-- They read what the views say, from the events with these ids. One plan serves a session, whatever is in the tables by then.
DO $do$
DECLARE
	what record;
BEGIN
	FOR what IN
		SELECT v.relid, v.name, replace(replace(pg_get_viewdef(v.relid), 'evq.event_history h', 'evq.finished_events($1) h'),
			'evq.event_history', 'evq.finished_events($1) event_history') AS query
		FROM (VALUES ('evq.events'::regclass, 'events_by_id'), ('evq.payloads', 'payloads_by_id')) v(relid, name)
	LOOP
		ASSERT what.query LIKE '%finished_events%';
		EXECUTE format($function$
			CREATE OR REPLACE FUNCTION evq.%1$I(event_ids uuid[]) RETURNS SETOF %2$s
			LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 1
			SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
			AS %3$L$function$,
			what.name, what.relid,
			format(E'#variable_conflict use_column\nBEGIN\nRETURN QUERY SELECT * FROM (%s) b WHERE b.event_id = ANY ($1);\nEND', rtrim(what.query, ';')));
		EXECUTE format('COMMENT ON FUNCTION evq.%I(uuid[]) IS %L', what.name,
			format('The rows of %s with these ids, whose cost does not grow with the number of events or of partitions', what.relid));
	END LOOP;
END
$do$;

CREATE VIEW evq.queue AS
SELECT f.flow_type, t.event_type, evq.state_name(e.state) AS state, pg_catalog.count(*) AS events,
	pg_catalog.count(*) FILTER (WHERE e.state = 'a' AND e.attempt_scheduled_at <= pg_catalog.clock_timestamp()) AS due,
	pg_catalog.clock_timestamp() - pg_catalog.min(e.state_since) AS longest_in_state,
	pg_catalog.clock_timestamp() - pg_catalog.min(e.published_at) AS oldest
FROM evq.event e
JOIN evq.event_type t USING (event_type_no)
JOIN evq.flow f ON f.flow_no = e.flow_no
GROUP BY 1, 2, e.state;
COMMENT ON VIEW evq.queue IS 'Live events by flow, type and state: how many, how many due, how long in this state, how old';

CREATE VIEW evq.errors AS
SELECT r.event_id, b.event_type, b.flow_type, b.flow_id, b.state, r.attempt::int, r.failed_at, r.outcome,
	r.error_message, r.stack_trace, r.worker
FROM evq.event_error r
CROSS JOIN LATERAL evq.events_by_id(ARRAY[r.event_id]) b;
COMMENT ON VIEW evq.errors IS 'Failed and expired attempts, one row each, with the event they belong to';

CREATE VIEW evq.workers AS
SELECT e.worker, f.flow_type, pg_catalog.count(*) AS events, pg_catalog.min(e.state_since) AS oldest_acquired_at,
	pg_catalog.min(e.state_due_at) AS next_permit_due_at
FROM evq.event e
JOIN evq.flow f ON f.flow_no = e.flow_no
WHERE e.state = 'p'
GROUP BY 1, 2;
COMMENT ON VIEW evq.workers IS 'Who holds permits: events in processing by worker and flow';

CREATE VIEW evq.blocked_flows AS
WITH head AS (
	SELECT DISTINCT ON (e.flow_no, e.flow_id) e.*, pg_catalog.count(*) OVER (PARTITION BY e.flow_no, e.flow_id) - 1 AS waiting
	FROM evq.event e WHERE e.ordered
	ORDER BY e.flow_no, e.flow_id, e.event_id),
usage AS (
	SELECT e.flow_no, pg_catalog.count(*) FILTER (WHERE e.state = 'd') AS dispatched, pg_catalog.count(*) FILTER (WHERE e.state = 'p') AS processing,
		pg_catalog.count(*) FILTER (WHERE e.state = 'a' AND e.attempt_scheduled_at <= pg_catalog.clock_timestamp()) AS waiting,
		pg_catalog.min(e.attempt_scheduled_at) FILTER (WHERE e.state = 'a') AS since
	FROM evq.event e GROUP BY e.flow_no)
SELECT f.flow_type, h.flow_id, h.event_id AS blocked_by, evq.state_name(h.state) AS state, h.state_since AS since, h.waiting,
	CASE
		WHEN h.state = 'p' THEN pg_catalog.concat('in processing', ' by ' || h.worker, '; its permit holds until ', h.state_due_at)
		WHEN h.state = 'u' THEN pg_catalog.format('suspended until %s, or until its trigger comes', (SELECT s.state_due_at FROM evq.events s WHERE s.event_id = h.event_id))
		WHEN t.is_suspended THEN pg_catalog.format('its type, %s, is suspended', t.event_type)
		WHEN h.state = 'd' THEN 'dispatched, and no worker has acquired it'
		WHEN h.attempt_scheduled_at > pg_catalog.clock_timestamp()
			THEN pg_catalog.format('it waits for attempt %s, at %s', h.attempts_used + 1, h.attempt_scheduled_at)
		ELSE 'due, and not dispatched yet'
	END AS why
FROM head h JOIN evq.flow f USING (flow_no) JOIN evq.event_type t USING (event_type_no)
WHERE h.waiting > 0
UNION ALL
SELECT f.flow_type, NULL, NULL, NULL, u.since, u.waiting,
	CASE WHEN u.dispatched + u.processing >= f.max_processing
		THEN pg_catalog.format('%s dispatched and %s in processing: max_processing is %s', u.dispatched, u.processing, f.max_processing)
		ELSE pg_catalog.format('%s dispatched and not acquired: max_dispatched is %s', u.dispatched, f.max_dispatched)
	END
FROM usage u JOIN evq.flow f USING (flow_no)
WHERE u.waiting > 0 AND (u.dispatched + u.processing >= f.max_processing OR u.dispatched >= f.max_dispatched)
UNION ALL
SELECT f.flow_type, NULL, NULL, NULL, pg_catalog.min(e.attempt_scheduled_at), pg_catalog.count(*), pg_catalog.format('event type %s is suspended', t.event_type)
FROM evq.event e JOIN evq.event_type t USING (event_type_no) JOIN evq.flow f ON f.flow_no = e.flow_no
WHERE t.is_suspended AND e.state IN ('a', 'd') AND e.attempt_scheduled_at <= pg_catalog.clock_timestamp()
GROUP BY f.flow_type, t.event_type;
COMMENT ON VIEW evq.blocked_flows IS
'What holds events up: in ordered flows the event that the others of a flow_id wait for; full flows and suspended types, with flow_id NULL';

CREATE FUNCTION @extschema@.evq_pending(flow_type text, max_events bigint DEFAULT 100)
RETURNS SETOF evq.pending_event LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 100
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
	wanted_no int;
BEGIN
	SELECT f.flow_no INTO wanted_no FROM evq.flow f WHERE f.flow_type = evq_pending.flow_type;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown flow %', coalesce(quote_ident(flow_type), 'NULL')
			USING ERRCODE = 'EQ001', HINT = 'Configure it with evq_configure_flow().';
	END IF;
	IF max_events IS NULL OR max_events < 1 THEN
		RAISE EXCEPTION 'max_events must be at least 1'
			USING ERRCODE = 'EQ006', HINT = 'Pass how many events to list at most.';
	END IF;
	IF NOT evq.caller_may_work(flow_type) THEN
		RAISE EXCEPTION 'permission denied for flow %', quote_ident(flow_type)
			USING ERRCODE = '42501', HINT = 'Your role is restricted to other flows; evq_grant_worker() adds one.';
	END IF;
	RETURN QUERY
	SELECT e.event_id, t.event_type, evq_pending.flow_type, e.flow_id, evq.state_name(e.state),
		e.attempts_used + 1, t.max_attempts - e.attempts_used - 1, e.priority::int,
		e.published_at, e.attempt_scheduled_at,
		e.due_at + coalesce((SELECT sum(c.shift) FROM evq.lifespan_change c WHERE c.event_type_no = e.event_type_no AND c.changed_at > e.published_at), '0')
	FROM evq.event e JOIN evq.event_type t USING (event_type_no)
	WHERE e.flow_no = wanted_no AND e.state IN ('a', 'd') AND NOT t.is_suspended
		AND e.attempt_scheduled_at <= clock_timestamp()
	ORDER BY e.attempt_scheduled_at
	LIMIT max_events;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_pending(text, bigint) IS
	'Events of a flow that are due and not acquired, oldest first, at most max_events. Errors: EQ001 unknown flow, EQ006 bad argument, 42501 restricted to other flows';

CREATE FUNCTION @extschema@.evq_counts(flow_type text DEFAULT NULL,
	OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 50
AS $$
	SELECT q.flow_type, q.event_type, q.state, q.events FROM evq.queue q
	WHERE ($1 IS NULL OR q.flow_type = $1) AND evq.caller_may_work(q.flow_type)
$$;
COMMENT ON FUNCTION @extschema@.evq_counts(text) IS
	'How many live events each event type has in each state; NULL = of all flows, or of those that the caller is restricted to';

CREATE FUNCTION evq.timeline(event_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN (
	WITH event AS MATERIALIZED (SELECT * FROM evq.events_by_id(ARRAY[$1]) e),
	step AS (
		SELECT e.published_at AS at, 1 AS rank, 'published' AS what, concat_ws(', ', e.event_type || ' in ' || e.flow_type, 'from ' || e.parent_id) AS detail FROM event e
		UNION ALL
		SELECT r.failed_at, 2, CASE r.outcome WHEN 'note' THEN 'note' WHEN 'expired' THEN CASE r.attempt WHEN 0 THEN 'expired' ELSE 'attempt expired' END ELSE 'attempt failed' END,
			concat_ws(', ', CASE WHEN r.outcome <> 'note' THEN 'attempt ' || nullif(r.attempt, 0) END, 'worker ' || r.worker, r.error_message)
		-- An expiry without an attempt is the event's end, unless it was retried after it.
		FROM evq.event_error r WHERE r.event_id = $1 AND NOT (r.attempt = 0 AND r.outcome = 'expired' AND EXISTS (SELECT FROM event e WHERE e.finished_at = r.failed_at))
		UNION ALL
		SELECT e.attempt_started_at, 3, 'acquired',
			concat_ws(', ', 'attempt ' || CASE WHEN e.finished_at IS NULL THEN e.attempts_used + 1 ELSE e.attempts_used END, 'worker ' || e.worker)
		FROM event e WHERE e.attempt_started_at IS NOT NULL AND (e.finished_at IS NULL OR e.state = 'succeeded')
		UNION ALL
		SELECT e.state_since, 4, e.state::text, 'until ' || e.state_due_at FROM event e WHERE e.state IN ('dispatched', 'suspended')
		UNION ALL
		SELECT e.attempt_scheduled_at, 4, 'due', 'attempt ' || e.attempts_used + 1 FROM event e WHERE e.state = 'awaiting_processing'
		UNION ALL
		SELECT e.finished_at, 5, e.state::text, e.reason FROM event e WHERE e.finished_at IS NOT NULL
		UNION ALL
		SELECT a.done_at, 6, a.verb, concat_ws(', ', 'by ' || a.role || CASE WHEN a.session_role <> a.role THEN ' (session of ' || a.session_role || ')' ELSE '' END,
			'application ' || nullif(a.application_name, ''), a.detail ->> 'reason')
		FROM evq.audit_entry a WHERE a.event_id = $1
		UNION ALL
		SELECT c.published_at, 6, 'child published', c.event_type || ' ' || c.event_id FROM event e CROSS JOIN LATERAL evq.events_by_id(e.spinoff_ids) c)
	SELECT coalesce(jsonb_agg(jsonb_build_object('at', s.at, 'what', s.what, 'detail', s.detail) ORDER BY s.at, s.rank), '[]') FROM step s);
END
$$;
COMMENT ON FUNCTION evq.timeline(uuid) IS 'What happened to an event and is on record, in order; a step in the future is planned';

CREATE FUNCTION @extschema@.evq_event(event_id uuid)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	answer jsonb;
BEGIN
	SELECT to_jsonb(b) || jsonb_build_object(
		'payload', p.payload,
		'headers', p.headers,
		'idempotency_key', (SELECT i.idempotency_key FROM evq.idempotency i WHERE i.event_id = b.event_id),
		'errors', (SELECT coalesce(jsonb_agg(to_jsonb(r) - 'event_id' ORDER BY r.failed_at, r.attempt), '[]')
				   FROM evq.event_error r WHERE r.event_id = b.event_id),
		'audit', (SELECT coalesce(jsonb_agg(to_jsonb(a) - 'entry_id' - 'event_id' ORDER BY a.entry_id), '[]') FROM evq.audit_entry a WHERE a.event_id = b.event_id),
		'children', (SELECT coalesce(jsonb_agg(jsonb_build_object('event_id', c.event_id, 'event_type', c.event_type, 'state', c.state)
											   ORDER BY c.event_id), '[]')
					 FROM evq.events_by_id(b.spinoff_ids) c))
	INTO answer
	FROM evq.events_by_id(ARRAY[evq_event.event_id]) b LEFT JOIN evq.payloads_by_id(ARRAY[evq_event.event_id]) p ON true;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no event %', coalesce(event_id::text, 'NULL')
			USING ERRCODE = 'EQ002', HINT = 'Look for it in evq.events; finished events are kept for their type''s retention.';
	END IF;
	RETURN answer || jsonb_build_object('timeline', evq.timeline(event_id));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_event(uuid) IS
$$All that is known of one event: its row of evq.events, payload, headers, errors of its attempts, parent_id,
its children (spinoffs, on-fail event), the audit of who canceled or retried it, and the timeline of all that: an array of {"at", "what", "detail"}, in order.
Errors: EQ002 no such event.$$;
