-- Looking inside.

CREATE FUNCTION evq.transitions(OUT from_state evq.event_state, OUT verb text, OUT to_state evq.event_state, OUT note text)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_transitions' LANGUAGE c STABLE PARALLEL SAFE ROWS 40;
COMMENT ON FUNCTION evq.transitions() IS 'The table in the code that every change of state is checked against';

CREATE VIEW evq.transition AS SELECT * FROM evq.transitions();
COMMENT ON VIEW evq.transition IS 'The state machine: from_state NULL = not published yet';
COMMENT ON COLUMN evq.transition.from_state IS 'The state before; NULL = not published yet';
COMMENT ON COLUMN evq.transition.verb IS 'What changes it';
COMMENT ON COLUMN evq.transition.to_state IS 'The state after';
COMMENT ON COLUMN evq.transition.note IS 'When it is this one, of several';

CREATE VIEW evq.flows AS
SELECT f.flow_type, f.channel, f.delivery, f.ordered, f.max_dispatched, f.max_processing, f.dispatch_timeout, f.notify_payload,
	p.is_paused, CASE WHEN p.is_paused THEN f.paused_at END AS paused_at,
	CASE WHEN p.is_paused THEN nullif(f.paused_until, 'infinity') END AS paused_until, CASE WHEN p.is_paused THEN f.pause_reason END AS pause_reason,
	f.group_by, f.max_processing_per_group, f.rate, f.per, f.burst, f.rate_per_group, f.per_per_group, f.burst_per_group, f.fair, f.priority_step
FROM evq.flow f CROSS JOIN LATERAL (SELECT coalesce(f.paused_until > clock_timestamp(), false) AS is_paused) p;
COMMENT ON VIEW evq.flows IS 'The configuration of flows, which evq_configure_flow() changes, and whether evq_pause_flow() has paused them';
COMMENT ON COLUMN evq.flows.is_paused IS 'None of its events is dispatched or acquired now';
COMMENT ON COLUMN evq.flows.paused_at IS 'Since when';
COMMENT ON COLUMN evq.flows.paused_until IS 'When it goes on by itself; NULL = when evq_resume_flow() is called, or it is not paused';
COMMENT ON COLUMN evq.flows.pause_reason IS 'Why, as whoever paused it said';

CREATE VIEW evq.event_types AS
SELECT t.event_type, f.flow_type, t.max_attempts::int, t.lifespan, t.attempt_delays, t.backoff_factor, t.max_delay,
	t.jitter, coalesce(t.attempt_timeout, t.lifespan / t.max_attempts) AS attempt_timeout, t.is_suspended,
	t.on_suspend_timeout, t.on_fail_event_type, t.priority::int, t.max_payload_bytes, t.retention,
	coalesce(t.limits, '{}') AS limits, coalesce(t.cost, 1) AS cost
FROM evq.event_type t
JOIN evq.flow f USING (flow_no)
WHERE NOT t.dropped;
COMMENT ON VIEW evq.event_types IS 'The configuration of event types; evq_configure() changes it';

CREATE VIEW evq.events AS
SELECT e.event_id, t.event_type, f.flow_type, e.flow_id, evq.state_name(e.state) AS state, e.published_at,
	e.attempt_scheduled_at, e.due_at, e.attempts_used::int, t.max_attempts::int, e.priority::int, e.state_since, e.state_due_at,
	CASE WHEN e.state = 'p' THEN e.state_since END AS attempt_started_at, NULL::timestamptz AS finished_at,
	e.permit, e.worker, e.parent_id, e.chain_depth::int, o.event_type AS on_fail_event_type,
	NULL::text AS reason, NULL::jsonb AS result, NULL::uuid[] AS spinoff_ids, e.answer, e.group_key
FROM evq.live_event e
JOIN evq.event_type t USING (event_type_no)
JOIN evq.flow f ON f.flow_no = e.flow_no
LEFT JOIN evq.event_type o ON o.event_type_no = e.on_fail_event_type_no
UNION ALL
SELECT h.event_id, t.event_type, f.flow_type, h.flow_id, evq.state_name(h.state), h.published_at,
	h.attempt_scheduled_at, h.due_at, h.attempts_used::int, t.max_attempts::int, h.priority::int,
	h.finished_at, NULL, nullif(h.attempt_started_at, 'infinity'), h.finished_at,
	h.permit, h.worker, h.parent_id, h.chain_depth::int, o.event_type,
	h.reason, h.result, h.spinoff_ids, h.answer, h.group_key
FROM evq.event_history h
JOIN evq.event_type t USING (event_type_no)
JOIN evq.flow f ON f.flow_no = h.flow_no
LEFT JOIN evq.event_type o ON o.event_type_no = h.on_fail_event_type_no
UNION ALL
SELECT b.event_id, t.event_type, f.flow_type, b.flow_id, evq.state_name(b.state), b.published_at,
	b.attempt_scheduled_at, b.due_at, CASE b.state WHEN 's' THEN 1 ELSE 0 END, t.max_attempts::int, b.priority::int,
	b.state_since, b.state_due_at, b.attempt_started_at, CASE WHEN b.state = 's' THEN b.state_since END,
	b.permit, b.worker, NULL, 0, o.event_type,
	NULL, NULL, NULL, NULL, NULL
FROM evq.batch_event b
JOIN evq.event_type t USING (event_type_no)
JOIN evq.flow f ON f.flow_no = b.flow_no
LEFT JOIN evq.event_type o ON o.event_type_no = b.on_fail_event_type_no;
COMMENT ON VIEW evq.events IS
$$All events, live and finished, one row each; the payload is in evq_event(event_id). By id ask evq.events_by_id(ids): a query of the
view by id opens, and locks, every partition of the history.$$;
COMMENT ON COLUMN evq.events.event_id IS 'Its id, a UUID of version 7: ids are in the order of the publishes';
COMMENT ON COLUMN evq.events.event_type IS 'What kind of event';
COMMENT ON COLUMN evq.events.flow_type IS 'The flow of its type';
COMMENT ON COLUMN evq.events.flow_id IS 'What the events of one case have in common';
COMMENT ON COLUMN evq.events.state IS 'Where it is in its life: evq.transition has the states and the ways between them';
COMMENT ON COLUMN evq.events.published_at IS 'When it was published';
COMMENT ON COLUMN evq.events.attempt_scheduled_at IS 'When the next attempt may start';
COMMENT ON COLUMN evq.events.due_at IS 'End of its lifespan';
COMMENT ON COLUMN evq.events.attempts_used IS 'Attempts that ended in failure or timeout; of a finished event, all';
COMMENT ON COLUMN evq.events.max_attempts IS 'Attempts in all, as its type has it now';
COMMENT ON COLUMN evq.events.priority IS 'Higher is offered earlier';
COMMENT ON COLUMN evq.events.state_since IS 'Since when it is in this state';
COMMENT ON COLUMN evq.events.state_due_at IS 'When this state times out: dispatch, permit or suspension; NULL = it does not';
COMMENT ON COLUMN evq.events.attempt_started_at IS 'When the attempt now running, or the one that ended it, began; NULL = none';
COMMENT ON COLUMN evq.events.finished_at IS 'When it succeeded, failed, expired or was canceled; NULL = it lives';
COMMENT ON COLUMN evq.events.permit IS 'The last permit that was granted; 0 = none was';
COMMENT ON COLUMN evq.events.worker IS 'Who was granted it, by the name that it gave itself';
COMMENT ON COLUMN evq.events.parent_id IS 'The event of which this is a spinoff or the on-fail event';
COMMENT ON COLUMN evq.events.chain_depth IS 'How many events are before it in its chain';
COMMENT ON COLUMN evq.events.on_fail_event_type IS 'Published when it fails for good or expires, in place of that of its type';
COMMENT ON COLUMN evq.events.reason IS 'Why it failed, expired or was canceled';
COMMENT ON COLUMN evq.events.result IS 'What its worker reported with the success';
COMMENT ON COLUMN evq.events.spinoff_ids IS 'The events that were published with its success';
COMMENT ON COLUMN evq.events.answer IS 'What the last activation brought; gone when the event is suspended again';
COMMENT ON COLUMN evq.events.group_key IS 'Whose it is, for limits by group; NULL = nobody''s';

-- By id: the id tells when an event was published, so the partitions of the history are looked at one by one from there
-- on, each locked by itself. A query of the whole view would look at, and lock, all of them. The columns are named: a plan that
-- is kept does not hear of columns that users add to a table and drop.
CREATE FUNCTION evq.finished_events(event_ids uuid[]) RETURNS TABLE (
	event_id uuid, published_at timestamptz, attempt_scheduled_at timestamptz, due_at timestamptz, event_type_no int,
	flow_no int, priority smallint, chain_depth smallint, ordered boolean, state "char", attempts_used smallint,
	attempt_started_at timestamptz, finished_at timestamptz, permit bigint, flow_id text, parent_id uuid,
	on_fail_event_type_no int, worker text, payload jsonb, reason text, result jsonb, spinoff_ids uuid[], answer jsonb,
	answered_permit bigint, group_key text)
AS 'MODULE_PATHNAME', 'evq_sql_finished_events' LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION evq.finished_events(uuid[]) IS 'The rows of the history with these ids';

-- They read what the views say, from the events with these ids. One plan serves a session, whatever is in the tables by then. The
-- last part of each view, that of batches, is only asked where an id may be of one.
DO $do$
DECLARE
	what record;
BEGIN
	FOR what IN
		SELECT v.relid, v.name, replace(replace(array_to_string(parts[:cardinality(parts) - 1], 'UNION ALL'), 'evq.event_history h',
			'evq.finished_events($1) h'), 'evq.event_history', 'evq.finished_events($1) event_history') AS query,
			replace(replace(rtrim(parts[cardinality(parts)], ';'), 'evq.batch_event b', 'evq.batch_events_by_id($1) b'),
				'evq.log l', 'evq.logged_events($1) l') AS batch_query
		FROM (VALUES ('evq.events'::regclass, 'events_by_id'), ('evq.payloads', 'payloads_by_id')) v(relid, name),
			string_to_array(pg_get_viewdef(v.relid), 'UNION ALL') parts
	LOOP
		ASSERT what.query LIKE '%finished_events%' AND what.query NOT LIKE '%evq.log%' AND what.batch_query ~ 'logged_events|batch_events_by_id';
		EXECUTE format($function$
			CREATE OR REPLACE FUNCTION evq.%1$I(event_ids uuid[]) RETURNS SETOF %2$s
			LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 1
			SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
			AS %3$L$function$,
			what.name, what.relid,
			format(E'#variable_conflict use_column\nBEGIN\nRETURN QUERY SELECT * FROM (%s) b WHERE b.event_id = ANY ($1);\nIF evq.may_be_of_batch($1) THEN\nRETURN QUERY SELECT * FROM (%s) b WHERE b.event_id = ANY ($1);\nEND IF;\nEND',
				what.query, what.batch_query));
		EXECUTE format('COMMENT ON FUNCTION evq.%I(uuid[]) IS %L', what.name,
			format('The rows of %s with these ids, whose cost does not grow with the number of events or of partitions', what.relid));
	END LOOP;
END
$do$;

CREATE VIEW evq.queue AS
SELECT q.flow_type, q.event_type, q.state, q.events, q.due, q.longest_in_state, q.oldest, q.is_exact, q.looked_at FROM evq.queues() q;
COMMENT ON VIEW evq.queue IS 'Live events by flow, type and state: how many, how many due, how long in this state, how old';
COMMENT ON COLUMN evq.queue.events IS 'How many';
COMMENT ON COLUMN evq.queue.due IS 'How many of those that wait are due, and could be dispatched';
COMMENT ON COLUMN evq.queue.longest_in_state IS 'How long the first of them has been in this state';
COMMENT ON COLUMN evq.queue.oldest IS 'How long ago the first of them was published';
COMMENT ON COLUMN evq.queue.is_exact IS 'events and due are exact; otherwise there are at least so many';
COMMENT ON COLUMN evq.queue.looked_at IS 'longest_in_state and oldest are of so many events of the flow, those that are to go first; NULL = of all';

CREATE VIEW evq.errors AS
SELECT r.event_id, t.event_type, f.flow_type, b.flow_id, evq.state_name(b.state) AS state, r.attempt::int, r.failed_at, r.outcome,
	r.error_message, r.stack_trace, r.worker
FROM evq.event_error r
CROSS JOIN LATERAL (
	SELECT e.event_type_no, e.flow_no, e.flow_id, e.state FROM evq.event e WHERE e.event_id = r.event_id
	UNION ALL
	SELECT h.event_type_no, h.flow_no, h.flow_id, h.state FROM evq.finished_events(ARRAY[r.event_id]) h) b
JOIN evq.event_type t USING (event_type_no)
JOIN evq.flow f ON f.flow_no = b.flow_no;
COMMENT ON VIEW evq.errors IS 'Failed and expired attempts, one row each, with the event they belong to';
COMMENT ON COLUMN evq.errors.state IS 'That of the event now';
COMMENT ON COLUMN evq.errors.attempt IS 'Which attempt; 0 = none was running';
COMMENT ON COLUMN evq.errors.failed_at IS 'When';
COMMENT ON COLUMN evq.errors.outcome IS 'What came of it: retry, failed, expired, or the engine''s note';
COMMENT ON COLUMN evq.errors.error_message IS 'What the worker reported, or the engine found';
COMMENT ON COLUMN evq.errors.stack_trace IS 'More of it, where the worker gave it';
COMMENT ON COLUMN evq.errors.worker IS 'Who made the attempt';

CREATE VIEW evq.workers AS
SELECT h.worker, h.flow_type, h.events, h.oldest_acquired_at, h.next_permit_due_at FROM evq.holders() h;
COMMENT ON VIEW evq.workers IS
$$Who holds permits: events in processing by worker and flow. A row without times: so many more of the flow, which are not among the first
10,000 of its line, or in the first 1,000 stretches of its batches; events NULL = it is not known how many.$$;
COMMENT ON COLUMN evq.workers.worker IS 'The name that it gave itself; NULL = none';
COMMENT ON COLUMN evq.workers.events IS 'How many it holds';
COMMENT ON COLUMN evq.workers.oldest_acquired_at IS 'Since when it has held the first of them';
COMMENT ON COLUMN evq.workers.next_permit_due_at IS 'When the first of their permits runs out';

CREATE VIEW evq.blocked_flows AS
SELECT b.flow_type, b.flow_id, b.blocked_by, b.state, b.since, b.waiting, b.why, b.looked_at FROM evq.blocks() b;
COMMENT ON VIEW evq.blocked_flows IS
	'What holds events up: in ordered flows the event that the others of a flow_id wait for; full flows, suspended types and paused flows, with flow_id NULL';
COMMENT ON COLUMN evq.blocked_flows.flow_id IS 'Whose events wait; NULL = those of the whole flow, or of a type';
COMMENT ON COLUMN evq.blocked_flows.blocked_by IS 'The event for which they wait; NULL = no event';
COMMENT ON COLUMN evq.blocked_flows.state IS 'That of this event';
COMMENT ON COLUMN evq.blocked_flows.since IS 'Since when';
COMMENT ON COLUMN evq.blocked_flows.waiting IS 'How many events wait';
COMMENT ON COLUMN evq.blocked_flows.why IS 'In words: what this event does, which limit is reached, of which group (of 20 with the most that wait), which type is suspended, until when the flow is paused';
COMMENT ON COLUMN evq.blocked_flows.looked_at IS 'Of so many events of the flow, those that are to go first; NULL = of all';

CREATE FUNCTION evq.is_due_line_longer(flow_type text, most bigint) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
	wanted_no int;
BEGIN
	SELECT f.flow_no INTO wanted_no FROM evq.flow f WHERE f.flow_type = is_due_line_longer.flow_type AND evq.caller_may_work(f.flow_type);
	RETURN EXISTS (SELECT FROM evq.event e WHERE e.flow_no = wanted_no AND e.attempt_scheduled_at <= clock_timestamp() OFFSET most)
		OR EXISTS (SELECT FROM evq.line(wanted_no, true, 1001) l WHERE l.attempt_scheduled_at <= clock_timestamp() OFFSET 1000);
END
$$;
COMMENT ON FUNCTION evq.is_due_line_longer(text, bigint) IS
	'Has a flow more due events than so many, or in batches more than 1,000 stretches?';

CREATE FUNCTION @extschema@.evq_pending(flow_type text, max_events bigint DEFAULT 100)
RETURNS SETOF evq.pending_event LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 100
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
AS $$
DECLARE
	most bigint := greatest(max_events, 10000);
	listed bigint;
	wanted_no int;
	in_batches uuid[];
	paused boolean;
BEGIN
	SELECT f.flow_no, coalesce(f.paused_until > clock_timestamp(), false) INTO wanted_no, paused FROM evq.flow f WHERE f.flow_type = evq_pending.flow_type;
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
	IF paused THEN
		RETURN;
	END IF;
	in_batches := ARRAY(
		SELECT i.event_id
		FROM (
			SELECT l.batch_id, l.first, l.last, sum(l.events) OVER (ORDER BY l.attempt_scheduled_at, l.batch_id, l.first) - l.events AS before
			FROM evq.line(wanted_no, true, 1000) l JOIN evq.event_type t USING (event_type_no)
			WHERE l.state = 'a' AND l.events > 0 AND l.attempt_scheduled_at <= clock_timestamp() AND NOT t.is_suspended) s
		CROSS JOIN LATERAL generate_series(s.first, s.last) n
		CROSS JOIN LATERAL (SELECT evq.id_in_batch(s.batch_id, n) AS event_id) i
		WHERE s.before < max_events AND NOT EXISTS (SELECT FROM evq.exception x WHERE x.event_id = i.event_id));
	RETURN QUERY
	SELECT e.event_id, e.event_type, evq_pending.flow_type, e.flow_id, e.state, e.attempts_used + 1, e.max_attempts - e.attempts_used - 1,
		e.priority, e.published_at, e.attempt_scheduled_at, e.due_at
	FROM (
		-- Limited here, too: what follows may be sorted, and reads all of it then.
		(SELECT l.event_id, t.event_type, l.flow_id, evq.state_name(l.state) AS state, l.attempts_used::int, t.max_attempts::int, l.priority::int,
			l.published_at, l.attempt_scheduled_at, l.due_at
		FROM (
			SELECT v.* FROM evq.live_event v
			WHERE v.flow_no = wanted_no AND v.attempt_scheduled_at <= clock_timestamp()
			ORDER BY v.attempt_scheduled_at, v.event_id
			LIMIT most) l
		JOIN evq.event_type t USING (event_type_no)
		WHERE l.state IN ('a', 'd') AND NOT t.is_suspended
		ORDER BY l.attempt_scheduled_at, l.event_id
		LIMIT max_events)
		UNION ALL
		SELECT b.event_id, b.event_type, b.flow_id, b.state, b.attempts_used, b.max_attempts, b.priority, b.published_at, b.attempt_scheduled_at, b.due_at
		FROM evq.events_by_id(in_batches) b) e
	ORDER BY e.attempt_scheduled_at, e.event_id
	LIMIT max_events;
	GET DIAGNOSTICS listed = ROW_COUNT;
	IF listed < max_events AND evq.is_due_line_longer(flow_type, most) THEN
		RAISE WARNING 'only the first % due events of flow % were looked at', most, quote_ident(flow_type)
			USING HINT = 'Most of them are suspended, of a suspended type, or in processing: see evq.queue.';
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_pending(text, bigint) IS
$$Events of a flow that are due and not acquired, oldest first: a look at what a worker would get. It looks at 10,000 due
events, or max_events if that is more, and at the first 1,000 stretches of batches, and says so in a WARNING where there are others.
A paused flow has none.
flow_type: the flow.
max_events: how many at most, 1 or more.
Returns: a row for each event, without its payload.
Errors: EQ001 unknown flow, EQ006 bad argument, 42501 restricted to other flows.$$;

CREATE FUNCTION @extschema@.evq_counts(flow_type text DEFAULT NULL,
	OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 50
AS $$ SELECT c.flow_type, c.event_type, c.state, c.events FROM evq.counts($1, true) c $$;
COMMENT ON FUNCTION @extschema@.evq_counts(text) IS
$$How many live events each event type has in each state, as committed by now and changed in this transaction. From the
counters of the engine; where it does not count, of the first 10,000 events of a flow, and a WARNING says so.
flow_type: the flow; NULL = all of them, or those that the caller is restricted to.
Returns: a row for each flow, type and state of which there are events.
Errors: none of its own.$$;

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
$$All that is known of one event, live or finished.
event_id: the event.
Returns: an object: its row of evq.events, payload, headers, errors of its attempts, parent_id, its children (spinoffs,
on-fail event), the audit of who canceled or retried it, and the timeline of all that: an array of {"at", "what", "detail"},
in order.
Errors: EQ002 no such event.$$;
