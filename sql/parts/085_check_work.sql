-- What evq_check() finds about the engine and the work it has. It reads the counters in shared memory, which a dispatcher
-- keeps, and where there is none, the longest due events of each flow, and of the errors those of a day: never a whole table.

CREATE FUNCTION evq.check_engine(patience interval) RETURNS SETOF evq.finding
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off ROWS 5
AS $$
WITH status AS MATERIALIZED (SELECT * FROM @extschema@.evq_status()),
present AS (SELECT clock_timestamp() + interval '1 minute' AS soon,
	clock_timestamp() - least(patience, greatest(interval '1 minute', 3 * current_setting('evq.poll_interval', true)::interval)) AS late)

SELECT CASE WHEN s.preloaded THEN 'error' ELSE 'warning' END, 'dispatcher',
	s.problem || coalesce(': ' || CASE WHEN s.running THEN s.last_error END, ''), s.hint
FROM status s WHERE s.problem IS NOT NULL AND NOT pg_is_in_recovery()
UNION ALL
-- Events that came due after its last turn. Order and limits may keep them waiting without one.
SELECT 'error', 'dispatcher', format('the dispatcher, PID %s, had its last turn at %s, and events have come due since', s.dispatcher_pid, s.last_turn_at),
	format('See what it waits for in pg_stat_activity and pg_locks; pg_terminate_backend(%s) has it start anew.', s.dispatcher_pid)
FROM status s, present p
WHERE s.problem IS NULL AND EXISTS (
	SELECT FROM evq.flow f CROSS JOIN LATERAL (
		SELECT FROM evq.event e JOIN evq.event_type t USING (event_type_no)
		WHERE e.flow_no = f.flow_no AND e.state = 'a' AND NOT t.is_suspended AND e.attempt_scheduled_at > s.last_turn_at AND e.attempt_scheduled_at <= p.late
		UNION ALL
		SELECT FROM evq.line(f.flow_no, true, 1000, s.last_turn_at) l JOIN evq.event_type t USING (event_type_no)
		WHERE l.state = 'a' AND l.events > 0 AND NOT t.is_suspended AND l.attempt_scheduled_at <= p.late
		LIMIT 1) late
	WHERE NOT f.ordered AND num_nonnulls(f.max_processing, f.max_processing_per_group, f.rate, f.rate_per_group) = 0
		AND NOT EXISTS (SELECT FROM evq.event_type y WHERE y.flow_no = f.flow_no AND NOT y.dropped AND y.limits IS NOT NULL) AND coalesce(f.paused_until < clock_timestamp() - patience, true))
UNION ALL
SELECT 'warning', 'ring', format('the ring overflowed %s times since %s: all due events are read each time', s.ring_overflows, pg_postmaster_start_time()),
	format('Raise evq.ring_size, now %s, and restart; publish fewer events a transaction.', current_setting('evq.ring_size', true))
FROM status s WHERE s.ring_overflows > extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) / 3600
UNION ALL
-- Ids begin with the time of the publish.
SELECT 'error', 'clock', 'there are events published in the future: the clock was ahead and went back',
	'Events published meanwhile are due, and time out, when the clock comes there; see evq.events ORDER BY event_id DESC.'
FROM present p
WHERE EXISTS (
	SELECT FROM evq.event e
	WHERE e.event_id > evq.first_id(p.soon)
	UNION ALL
	SELECT FROM evq.batch b JOIN evq.backlog k USING (flow_no, attempt_scheduled_at, batch_id)
	WHERE b.batch_id > evq.first_id(p.soon))
UNION ALL
SELECT 'error', 'clock', format('%s at %s, in the future: the clock was ahead and went back', c.what, c.at), 'Restart the server when the clock is right.'
FROM present p, status s, LATERAL (
	VALUES ('the dispatcher started', s.started_at), ('the dispatcher had its last turn', s.last_turn_at), ('the server started', pg_postmaster_start_time()),
		('the permits'' epoch began', (SELECT max(began_at) FROM evq.epoch))) c(what, at)
WHERE c.at > p.soon
UNION ALL
SELECT 'error', 'version', format('the library is version %s, the extension in this database %s', evq.library_version(), x.extversion),
	CASE WHEN a.default_version = x.extversion THEN 'Restart the server, so that it loads the library that is installed.'
		 ELSE 'ALTER EXTENSION evq UPDATE, and restart the server if its library is the older one.' END
FROM pg_extension x LEFT JOIN pg_available_extensions a ON a.name = x.extname
WHERE x.extname = 'evq' AND x.extversion <> evq.library_version()
UNION ALL
SELECT 'warning', 'version', format('evq %s is installed, and the server still works with the library of %s', a.default_version, x.extversion),
	'Restart the server, so that it loads the library that is installed; then ALTER EXTENSION evq UPDATE in each database.'
FROM pg_extension x JOIN pg_available_extensions a ON a.name = x.extname
WHERE x.extname = 'evq' AND x.extversion = evq.library_version()
	AND string_to_array(a.default_version, '.')::int[] > string_to_array(x.extversion, '.')::int[]
$$;
COMMENT ON FUNCTION evq.check_engine(interval) IS 'Findings: does the engine run, in time, and as installed?';

-- By the index on the time, however few rows there are.
CREATE FUNCTION evq.expired_lately(error_message text, most int) RETURNS TABLE (event_id uuid, failed_at timestamptz)
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off ROWS 10
AS $$
	SELECT r.event_id, r.failed_at FROM evq.event_error r
	WHERE r.failed_at > now() - interval '1 day' AND r.outcome = 'expired' AND r.error_message = expired_lately.error_message
	LIMIT most
$$;
COMMENT ON FUNCTION evq.expired_lately(text, int) IS 'Events that expired with this message within a day; no more than so many, whichever they are';

CREATE FUNCTION evq.check_schedules(patience interval) RETURNS SETOF evq.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp ROWS 5
AS $$
DECLARE
	has_jobs boolean := evq.cron_database() = current_database();
	one evq.schedule;
	due timestamptz;
	job text;
BEGIN
	FOR one IN SELECT * FROM evq.schedule s WHERE NOT s.is_paused LOOP
		BEGIN
			due := evq.due_at(one);
		EXCEPTION WHEN OTHERS THEN
			RETURN NEXT ('error', 'schedules', format('the times of schedule %s cannot be told: %s', one.name, SQLERRM), 'Make it again with evq_schedule().')::evq.finding;
			CONTINUE;
		END;
		IF one.done_until > evq.clock_now() + interval '1 minute' THEN
			RETURN NEXT ('error', 'schedules', format('schedule %s is done until %s, in the future: the clock was ahead and went back', one.name, one.done_until),
				format('Its times until then have no event. Once the clock is right: UPDATE evq.schedule SET done_until = now() WHERE name = %L.', one.name))::evq.finding;
		ELSIF due < evq.clock_now() - patience AND one.last_error IS NULL AND NOT evq.is_paused() AND NOT (one.overlap = 'queue' AND evq.is_at_work(one)) THEN
			RETURN NEXT ('error', 'schedules', format('schedule %s has had no event since %s, when one was due: nothing runs it', one.name, due),
				'See the findings about the dispatcher, and whether pg_cron runs; SELECT evq.catch_up_schedules() does it once.')::evq.finding;
		END IF;
		IF has_jobs AND one.has_job THEN
			job := (SELECT CASE WHEN j.is_active THEN 'there' ELSE 'not active' END FROM evq.jobs() j WHERE j.name = one.name);
			IF job IS DISTINCT FROM 'there' THEN
				RETURN NEXT ('warning', 'schedules', format('the job of pg_cron for schedule %s is %s', one.name, coalesce(job, 'gone')),
					format('SELECT @extschema@.evq_resume_schedule(%L) makes it anew; until then the engine alone runs it, if there is one.', one.name))::evq.finding;
			END IF;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION evq.check_schedules(interval) IS 'Findings: schedules that nothing runs';

CREATE FUNCTION evq.check_work(patience interval) RETURNS SETOF evq.finding
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off ROWS 5
AS $$
WITH counter AS MATERIALIZED (SELECT c.* FROM evq.counters() c WHERE (SELECT s.running FROM @extschema@.evq_status() s)),
sample AS MATERIALIZED (
	SELECT e.* FROM evq.flow f CROSS JOIN LATERAL (
		SELECT o.flow_no, o.event_type_no, o.state, o.attempt_scheduled_at FROM evq.event o
		WHERE o.flow_no = f.flow_no AND o.attempt_scheduled_at <= clock_timestamp() ORDER BY o.attempt_scheduled_at LIMIT 1000) e
	WHERE NOT EXISTS (SELECT FROM counter)
	UNION ALL
	SELECT f.flow_no, l.event_type_no, l.state, l.attempt_scheduled_at FROM evq.flow f CROSS JOIN LATERAL evq.line(f.flow_no, true, 1000) l
	WHERE l.events > 0 AND l.attempt_scheduled_at <= clock_timestamp() AND NOT EXISTS (SELECT FROM counter)),
oldest AS (
	SELECT c.no AS flow_no, clock_timestamp() - c.value * interval '1 microsecond' AS since FROM counter c WHERE c.name = 'oldest_due' AND c.value > 0
	UNION ALL
	SELECT s.flow_no, min(s.attempt_scheduled_at) FROM sample s JOIN evq.event_type t USING (event_type_no)
	WHERE s.state IN ('a', 'd') AND NOT t.is_suspended GROUP BY s.flow_no),
held AS (
	SELECT t.flow_no FROM counter c JOIN evq.event_type t ON t.event_type_no = c.no WHERE c.name = 'live/being_processed' AND c.value > 0
	UNION SELECT s.flow_no FROM sample s WHERE s.state = 'p'),
waiting AS (
	SELECT c.no AS event_type_no, format('%s events', sum(c.value)) AS events FROM counter c
	WHERE c.name IN ('live/awaiting_processing', 'live/dispatched') AND c.value > 0 GROUP BY 1
	UNION ALL SELECT s.event_type_no, 'events' FROM sample s WHERE s.state IN ('a', 'd') GROUP BY 1),
unanswered AS MATERIALIZED (
	SELECT x.* FROM evq.expired_lately('the suspension timed out', 20) x
	WHERE NOT EXISTS (SELECT FROM counter) OR EXISTS (SELECT FROM counter c WHERE c.name = 'suspend_timeout/suspended/expired' AND c.value > 0))
SELECT 'warning', 'flows',
	format('in flow %s an event has been due since %s', f.flow_type, o.since) ||
		CASE WHEN h.flow_no IS NULL THEN ', and no worker holds one' ELSE ': its workers do not keep up, or it is held up' END,
	CASE WHEN h.flow_no IS NULL THEN 'Start its workers: they call evq_acquire_next() or listen on ' || f.channel || '.'
		 ELSE 'See evq.blocked_flows and evq.workers; start more workers.' END
FROM oldest o JOIN evq.flow f USING (flow_no) LEFT JOIN held h USING (flow_no)
WHERE o.since <= clock_timestamp() - patience AND coalesce(f.paused_until < clock_timestamp(), true)
UNION ALL
SELECT 'warning', 'flows',
	format('flow %s has been paused since %s', f.flow_type, f.paused_at) || coalesce(': ' || f.pause_reason, '') ||
		coalesce(', and ' || (SELECT sum(c.value) FROM counter c JOIN evq.event_type t ON t.event_type_no = c.no
			WHERE t.flow_no = f.flow_no AND c.name IN ('live/awaiting_processing', 'live/dispatched')) || ' events wait', ''),
	format('SELECT @extschema@.evq_resume_flow(%L) when it may go on; lifespans run meanwhile.', f.flow_type)
FROM evq.flow f WHERE f.paused_until > clock_timestamp() AND f.paused_at <= clock_timestamp() - patience
UNION ALL
(SELECT 'warning', 'flows',
	format('group %s of flow %s has been paused since %s', g.group_key, f.flow_type, g.paused_at) || coalesce(': ' || g.pause_reason, ''),
	format('SELECT @extschema@.evq_resume_group(%L, %L) when it may go on; lifespans run meanwhile.', f.flow_type, g.group_key)
FROM evq.flow f JOIN evq.flow_group g USING (flow_no)
WHERE f.groups_paused_until > clock_timestamp() AND g.paused_until > clock_timestamp() AND g.paused_at <= clock_timestamp() - patience
ORDER BY g.paused_at LIMIT 20)
UNION ALL
SELECT 'warning', 'event types', format('%s is suspended, and %s of it wait', t.event_type, w.events),
	format('SELECT @extschema@.evq_unsuspend_event_type(%L) when they may go on; their lifespan runs.', t.event_type)
FROM evq.event_type t JOIN waiting w USING (event_type_no) WHERE t.is_suspended
UNION ALL
SELECT 'warning', 'event types', format('suspended events of %s have expired since %s, because nobody activated them in time', e.event_type, min(u.failed_at)),
	'See evq.errors, outcome expired, and whether what calls evq_activate() works. on_suspend_timeout => ''retry'' offers such events again.'
FROM unanswered u CROSS JOIN LATERAL evq.events_by_id(ARRAY[u.event_id]) e
GROUP BY e.event_type
UNION ALL
SELECT 'error', 'event types', format('the on-fail event type %s of %s is not configured in its flow', t.on_fail_event_type, t.event_type),
	format('Configure it: SELECT @extschema@.evq_configure(%L, %L).', t.on_fail_event_type, f.flow_type)
FROM evq.event_type t JOIN evq.flow f USING (flow_no)
WHERE NOT t.dropped AND t.on_fail_event_type IS NOT NULL AND NOT EXISTS (
	SELECT FROM evq.event_type o WHERE o.event_type = t.on_fail_event_type AND o.flow_no = t.flow_no AND NOT o.dropped)
UNION ALL
SELECT 'error', 'event types', format('%s belongs to no flow', t.event_type), format('Configure it again: SELECT @extschema@.evq_configure(%L, flow_type).', t.event_type)
FROM evq.event_type t WHERE NOT t.dropped AND NOT EXISTS (SELECT FROM evq.flow f WHERE f.flow_no = t.flow_no)
UNION ALL
SELECT 'warning', 'event types',
	format('%s events of %s have expired within a day%s', CASE WHEN x.expired = 1000 THEN 'at least 1000' ELSE x.expired::text END, t.event_type,
		coalesce(', ' || nullif(x.untried, 0) || ' of them without an attempt', '')),
	format('Start workers for flow %s, or give the type a longer lifespan than %s; SELECT @extschema@.evq_redrive(%L, now() - interval ''1 day'') brings them back.',
		f.flow_type, t.lifespan, t.event_type)
FROM (
	SELECT h.event_type_no, count(*) AS expired, count(*) FILTER (WHERE h.attempts_used = 0) AS untried
	FROM (SELECT * FROM evq.event_error e WHERE e.outcome = 'expired' AND e.attempt = 0 AND e.failed_at > evq.clock_now() - interval '1 day' LIMIT 1000) r
	JOIN evq.event_history h ON h.event_id = r.event_id AND h.finished_at = r.failed_at GROUP BY 1) x
JOIN evq.event_type t USING (event_type_no) JOIN evq.flow f USING (flow_no)
UNION ALL
SELECT 'warning', 'event types',
	format('idempotency keys of %s are forgotten %s after their event''s end: the same key publishes again then', t.event_type, t.retention),
	format('Raise its retention above the time within which a call may be repeated: SELECT @extschema@.evq_configure(%L, retention => ''7 days'').', t.event_type)
FROM evq.event_type t WHERE NOT t.dropped AND evq.forgets_keys(t)
UNION ALL
SELECT * FROM evq.check_schedules(patience)
UNION ALL
SELECT 'error', 'schedules', format('schedule %s published nothing at %s: %s', s.name, s.last_error_at, s.last_error),
	'Correct what its error names; the next time it runs is its next try.'
FROM evq.schedule s WHERE s.last_error IS NOT NULL AND NOT s.is_paused
$$;
COMMENT ON FUNCTION evq.check_work(interval) IS 'Findings: work that does not get done';
