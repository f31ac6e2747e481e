-- Metrics: what the engine counts, and the same as Prometheus reads it.

CREATE FUNCTION evq.counters(OUT no int, OUT name text, OUT value bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_counters' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION evq.counters() IS
$$The counters in shared memory, times in microseconds. no is an event_type_no for verb/from_state/to_state (publish/origin/to_state)
and live/state, a flow_no for wait/bucket, processing/bucket and their sums, oldest_due and oldest_permit, and 0 for the rest.
No rows without preloading, and from the server's start until the dispatcher has taken back the counters and counted the live events.$$;

CREATE FUNCTION evq.label(name text, value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN name || '="' || replace(replace(replace(value, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') || '"';
COMMENT ON FUNCTION evq.label(text, text) IS 'A label of a metric, escaped';

CREATE FUNCTION evq.samples(OUT family text, OUT suffix text, OUT labels text, OUT value float8, OUT bound float8)
RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off ROWS 1000
AS $$
WITH counter AS MATERIALIZED (
	SELECT c.no, split_part(c.name, '/', 1) AS what, split_part(c.name, '/', 2) AS origin, split_part(c.name, '/', 3) AS target, c.value
	FROM evq.counters() c),
free AS (
	SELECT sum(c.value) FILTER (WHERE c.what = 'free_event_types') AS event_types,
		sum(c.value) FILTER (WHERE c.what = 'free_flows') AS flows
	FROM counter c HAVING count(*) > 0),
flow AS (
	SELECT f.flow_no, evq.label('flow_type', f.flow_type) AS labels, coalesce(f.paused_until > clock_timestamp(), false) AS is_paused,
		f.flow_no IN (SELECT c.no FROM counter c WHERE c.what = 'oldest_due') AS counted
	FROM evq.flow f),
event_type AS (
	SELECT t.event_type_no, t.flow_no, evq.label('event_type', t.event_type) AS labels, t.is_suspended,
		t.event_type_no IN (SELECT c.no FROM counter c WHERE c.what = 'live') AS counted
	FROM evq.event_type t WHERE NOT t.dropped),
-- A type or flow that nothing has happened to yet is counted too: as zero, if there is room for it.
counted_type AS (
	SELECT t.event_type_no, t.flow_no, f.labels AS flow, f.labels || ',' || t.labels AS labels
	FROM event_type t JOIN flow f USING (flow_no), free WHERE t.counted OR free.event_types > 0),
counted_flow AS (SELECT f.flow_no, f.labels FROM flow f, free WHERE f.counted OR free.flows > 0),
live AS (
	SELECT t.flow || ',' || evq.label('status', upper(s.state COLLATE "C")) AS labels, sum(coalesce(c.value, 0)) AS events
	FROM counted_type t
	CROSS JOIN unnest('{awaiting_processing, dispatched, being_processed, suspended}'::text[]) s(state)
	LEFT JOIN counter c ON c.no = t.event_type_no AND c.what = 'live' AND c.origin = s.state
	GROUP BY t.flow, s.state),
bucket AS (
	SELECT h.what, f.labels, h.bound, sum(coalesce(c.value, 0)) OVER (PARTITION BY h.what, f.labels ORDER BY h.bound::float8) AS events
	FROM counted_flow f
	CROSS JOIN (SELECT DISTINCT c.what, c.origin AS bound FROM counter c WHERE c.what IN ('wait', 'processing') AND c.origin <> 'sum') h
	LEFT JOIN counter c ON c.no = f.flow_no AND c.what = h.what AND c.origin = h.bound)

SELECT 'evq_build_info', '', evq.label('version', x.extversion) || ',' || evq.label('postgresql', current_setting('server_version')), 1, 0
FROM pg_extension x WHERE x.extname = 'evq'
UNION ALL
SELECT m.family, '', live.labels, live.events, 0 FROM live, (VALUES ('evq_events'), ('event_engine_queue_size')) m(family)
UNION ALL
SELECT CASE c.what WHEN 'oldest_due' THEN 'evq_oldest_due_age_seconds' ELSE 'evq_oldest_permit_age_seconds' END, '', f.labels, c.value / 1e6, 0
FROM flow f JOIN counter c ON c.no = f.flow_no AND c.what IN ('oldest_due', 'oldest_permit')
UNION ALL
SELECT 'evq_event_type_suspended', '', t.labels, t.is_suspended::int, 0 FROM event_type t
UNION ALL
SELECT 'evq_flow_paused', '', f.labels, f.is_paused::int, 0 FROM flow f
UNION ALL
SELECT 'evq_events_published_total', '', t.labels || ',' || evq.label('origin', o.origin), coalesce(c.value, 0), 0
FROM counted_type t
CROSS JOIN unnest('{api, spinoff, on_fail}'::text[]) o(origin)
LEFT JOIN counter c ON c.no = t.event_type_no AND c.what = 'publish' AND c.origin = o.origin
UNION ALL
SELECT 'evq_events_dispatched_total', '', t.flow, sum(coalesce(c.value, 0)), 0
FROM counted_type t LEFT JOIN counter c ON c.no = t.event_type_no
	AND (c.what = 'dispatch' OR (c.what = 'acquire' AND c.origin = 'awaiting_processing'))
GROUP BY t.flow
UNION ALL
SELECT 'evq_permits_total', '', t.flow || ',' || evq.label('result', 'granted'), sum(coalesce(c.value, 0)), 0
FROM counted_type t LEFT JOIN counter c ON c.no = t.event_type_no AND c.what = 'acquire'
GROUP BY t.flow
UNION ALL
SELECT 'evq_attempts_total', '', t.labels || ',' || evq.label('outcome', o.outcome), sum(coalesce(c.value, 0)), 0
FROM counted_type t
CROSS JOIN unnest('{succeed, fail, permit_timeout, suspend, snooze, release, cancel}'::text[],
	'{succeeded, failed, timed_out, suspended, snoozed, released, canceled}'::text[]) o(verb, outcome)
LEFT JOIN counter c ON c.no = t.event_type_no AND c.what = o.verb AND c.origin = 'being_processed'
GROUP BY t.labels, o.outcome
UNION ALL
SELECT 'evq_events_ended_total', '', t.labels || ',' || evq.label('status', upper(s.state COLLATE "C")), sum(coalesce(c.value, 0)), 0
FROM counted_type t
CROSS JOIN unnest('{succeeded, failed, expired, canceled}'::text[]) s(state)
LEFT JOIN counter c ON c.no = t.event_type_no AND c.target = s.state
GROUP BY t.labels, s.state
UNION ALL
SELECT 'evq_events_never_acquired_total', '', t.labels, sum(coalesce(c.value, 0)), 0
FROM counted_type t LEFT JOIN counter c ON c.no = t.event_type_no AND c.what = 'lifespan_unused'
GROUP BY t.labels
UNION ALL
SELECT format('evq_event_%s_seconds', b.what), '_bucket', b.labels || ',' || evq.label('le', b.bound), b.events, b.bound::float8 FROM bucket b
UNION ALL
SELECT format('evq_event_%s_seconds', b.what), '_count', b.labels, b.events, 'NaN' FROM bucket b WHERE b.bound = '+Inf'
UNION ALL
SELECT format('evq_event_%s_seconds', h.what), '_sum', f.labels, coalesce(c.value, 0) / 1e6, 'NaN'
FROM counted_flow f CROSS JOIN unnest('{wait, processing}'::text[]) h(what)
LEFT JOIN counter c ON c.no = f.flow_no AND c.what = h.what AND c.origin = 'sum'
UNION ALL
SELECT 'evq_sweep_seconds_total', '', '', c.value / 1e6, 0 FROM counter c WHERE c.what = 'sweep'
UNION ALL
SELECT 'evq_uncounted_event_types', '', '', count(t) FILTER (WHERE NOT t.counted AND free.event_types = 0), 0
FROM free LEFT JOIN event_type t ON true GROUP BY free
UNION ALL
SELECT 'evq_uncounted_flows', '', '', count(f) FILTER (WHERE NOT f.counted AND free.flows = 0), 0
FROM free LEFT JOIN flow f ON true GROUP BY free
UNION ALL
SELECT m.family, '', '', m.value, 0
FROM @extschema@.evq_status() s, LATERAL (VALUES
	('evq_dispatcher_up', s.running::int::float8),
	('evq_dispatcher_last_turn_timestamp_seconds', extract(epoch FROM s.last_turn_at)::float8),
	('evq_dispatcher_errors_total', s.errors::float8),
	('evq_ring_overflows_total', s.ring_overflows::float8)) m(family, value)
WHERE m.value IS NOT NULL
UNION ALL
SELECT 'evq_schedule_runs_total', '', evq.label('schedule', s.name) || ',' || evq.label('outcome', o.outcome), o.value, 0
FROM evq.schedule s, LATERAL (VALUES ('published', s.published), ('skipped', s.skipped), ('failed', s.failed)) o(outcome, value)
UNION ALL
SELECT 'evq_notify_queue_ratio', '', '', pg_notification_queue_usage(), 0
UNION ALL
SELECT 'evq_table_bytes', '', evq.label('table', c.relname), pg_total_relation_size(c.oid), 0
FROM pg_class c WHERE c.relnamespace = 'evq'::regnamespace AND c.relkind = 'r'
$$;
COMMENT ON FUNCTION evq.samples() IS 'The samples of evq_metrics(): metric family, suffix of the name, labels, value, and the bound of a bucket';

CREATE FUNCTION @extschema@.evq_metrics() RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
SELECT string_agg(format(E'# HELP %s %s\n# TYPE %s %s\n%s', m.family, m.help, m.family, m.type, s.lines), '' ORDER BY m.rank)
FROM (VALUES
	(1, 'evq_build_info', 'gauge', 'Version of evq and of the server; the value is 1.'),
	(2, 'evq_dispatcher_up', 'gauge', 'Whether the dispatcher of this database runs.'),
	(3, 'evq_dispatcher_last_turn_timestamp_seconds', 'gauge', 'When the dispatcher last had something to do.'),
	(4, 'evq_dispatcher_errors_total', 'counter', 'Turns of the dispatcher that failed.'),
	(5, 'evq_events', 'gauge', 'Live events by state.'),
	(6, 'event_engine_queue_size', 'gauge', 'Live events by state; the same as evq_events.'),
	(7, 'evq_oldest_due_age_seconds', 'gauge', 'How long the longest waiting due event has been due; 0 when none is.'),
	(8, 'evq_oldest_permit_age_seconds', 'gauge', 'How long the longest running attempt has been running; 0 when none is.'),
	(9, 'evq_event_type_suspended', 'gauge', 'Whether the event type is suspended.'),
	(10, 'evq_events_published_total', 'counter', 'Events published, by who published them: a caller, a success, a failure.'),
	(11, 'evq_events_dispatched_total', 'counter', 'Times an event was dispatched to the workers, or taken by one without that.'),
	(12, 'evq_permits_total', 'counter', 'Permits to process an event.'),
	(13, 'evq_attempts_total', 'counter', 'Attempts that ended, by how.'),
	(14, 'evq_events_ended_total', 'counter', 'Events that reached a final state.'),
	(15, 'evq_event_wait_seconds', 'histogram', 'Time from an event being due to its being acquired.'),
	(16, 'evq_event_processing_seconds', 'histogram', 'Time from an event being acquired to the report on it.'),
	(17, 'evq_ring_overflows_total', 'counter', 'Times that changes did not fit between sessions and dispatcher, so that the tables were read.'),
	(18, 'evq_sweep_seconds_total', 'counter', 'Time spent reading the tables for work that nobody told of.'),
	(19, 'evq_notify_queue_ratio', 'gauge', 'Share of the notification queue of the server that is in use.'),
	(20, 'evq_table_bytes', 'gauge', 'Size of a table with its indexes.'),
	(21, 'evq_uncounted_event_types', 'gauge', 'Event types without counters, because too many others have some.'),
	(22, 'evq_uncounted_flows', 'gauge', 'Flows without histograms, because too many others have some.'),
	(24, 'evq_events_never_acquired_total', 'counter', 'Events whose lifespan ended before any worker had acquired them.'),
	(23, 'evq_schedule_runs_total', 'counter', 'Events of a schedule published, missed times skipped, and tries that failed.'),
	(25, 'evq_flow_paused', 'gauge', 'Whether the flow is paused.')) m(rank, family, type, help)
JOIN (
	SELECT s.family,
		string_agg(s.family || s.suffix || coalesce('{' || nullif(s.labels, '') || '}', '') || ' ' || s.value || E'\n', ''
			ORDER BY regexp_replace(s.labels, ',le=.*', ''), s.bound, s.suffix, s.labels) AS lines
	FROM evq.samples() s GROUP BY s.family) s USING (family)
$$;
COMMENT ON FUNCTION @extschema@.evq_metrics() IS
$$Metrics of the engine for Prometheus, from counters: no table of events is read. doc/metrics.md names them.
Returns: its text format, 0.0.4.$$;
