-- Looking at schedules.

CREATE FUNCTION evq.cron_failures(OUT name text, OUT failed_at timestamptz, OUT message text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 10
AS $$
BEGIN
	IF evq.cron_database() = current_database() THEN
		-- pg_cron keeps its runs for good and has them in the order of runid.
		RETURN QUERY EXECUTE $q$
			SELECT DISTINCT ON (s.name) s.name, r.start_time, r.return_message
			FROM (SELECT * FROM cron.job_run_details d ORDER BY d.runid DESC LIMIT 1000) r
			JOIN cron.job j ON j.jobid = r.jobid
			JOIN evq.schedule s ON j.jobname = evq.job_name(s.name)
			WHERE r.status = 'failed' AND j.username = current_user
			ORDER BY s.name, r.runid DESC$q$;
	END IF;
END
$$;
COMMENT ON FUNCTION evq.cron_failures() IS
'The last failure of each schedule''s job among pg_cron''s latest 1,000 runs, such as that it could not connect; none where pg_cron is in another database';

CREATE FUNCTION evq.state_of(event_id uuid) RETURNS evq.event_state
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN (SELECT e.state FROM evq.events_by_id(ARRAY[event_id]) e);
END
$$;
COMMENT ON FUNCTION evq.state_of(uuid) IS 'The state of an event; NULL = there is none';

CREATE VIEW evq.schedules AS
SELECT s.name, s.cron, s.event_type, coalesce(s.flow_type, t.flow_type) AS flow_type, s.flow_id, s.misfire, s.priority::int, s.is_paused,
	CASE WHEN NOT s.is_paused THEN evq.cron_next(s.cron, s.done_until, s.time_zone) END AS next_run_at,
	s.last_run_at, s.last_event_id, evq.state_of(s.last_event_id) AS last_state,
	CASE WHEN s.last_error IS NOT NULL THEN 'failed' WHEN s.last_event_id IS NOT NULL THEN 'published' END AS last_outcome,
	s.last_error, s.last_error_at, f.failed_at AS cron_failed_at, f.message AS cron_message, s.published, s.skipped, s.failed,
	s.time_zone, s.overlap, s.group_key
FROM evq.schedule s
LEFT JOIN evq.event_types t ON t.event_type = s.event_type
LEFT JOIN evq.cron_failures() f ON f.name = s.name;
COMMENT ON VIEW evq.schedules IS 'Schedules: their times, the next and the last one, what became of it; evq_schedule() makes them';
COMMENT ON COLUMN evq.schedules.name IS 'Its name';
COMMENT ON COLUMN evq.schedules.cron IS 'Its times';
COMMENT ON COLUMN evq.schedules.is_paused IS 'Its times pass without an event';
COMMENT ON COLUMN evq.schedules.last_event_id IS 'The event that it published last';
COMMENT ON COLUMN evq.schedules.last_error_at IS 'When that was';
COMMENT ON COLUMN evq.schedules.cron_failed_at IS 'When that was';
COMMENT ON COLUMN evq.schedules.next_run_at IS 'The earliest time without an event; if it has passed, the schedule is overdue, or waits for its last event (overlap queue)';
COMMENT ON COLUMN evq.schedules.last_run_at IS 'The time of the schedule that the last event is for, or when it was run by hand';
COMMENT ON COLUMN evq.schedules.last_state IS 'State of the last event; NULL when that is gone';
COMMENT ON COLUMN evq.schedules.last_outcome IS 'published, or failed: then last_error says why, and the times stay due';
COMMENT ON COLUMN evq.schedules.cron_message IS 'pg_cron''s last failure to run the job, at cron_failed_at, where it is in this database';
