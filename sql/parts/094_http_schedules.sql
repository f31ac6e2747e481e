-- Routes of schedules.

CREATE FUNCTION evq_http.schedules(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(query, '{after, limit}');
	page int := evq_http.limit_of(given);
BEGIN
	RETURN (
		SELECT jsonb_build_object('schedules', coalesce(jsonb_agg(evq_http.schedule_of(s) ORDER BY s.name), '[]'),
								  'next', CASE WHEN count(*) = page THEN max(s.name) END)
		FROM (SELECT * FROM evq.schedules l WHERE given ->> 'after' IS NULL OR l.name > given ->> 'after' ORDER BY l.name LIMIT page) s);
END
$$;
COMMENT ON FUNCTION evq_http.schedules(text, jsonb, jsonb, jsonb) IS
'GET /api/schedules: the schedules by name; after, limit. Errors: EQ006 bad argument';

CREATE FUNCTION evq_http.schedule_of(schedule evq.schedules) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (to_jsonb(schedule) - 'last_state'::text) || jsonb_build_object('last_status', evq_http.status_of(schedule.last_state)) $$;
COMMENT ON FUNCTION evq_http.schedule_of(evq.schedules) IS 'A schedule as HTTP shows it';

CREATE FUNCTION evq_http.schedule_named(name text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq_http.schedule_of(s) FROM evq.schedules s WHERE s.name = schedule_named.name $$;
COMMENT ON FUNCTION evq_http.schedule_named(text) IS 'The schedule of that name as HTTP shows it';

CREATE FUNCTION evq_http.pause_schedule(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq_http.object_of(body, '{}');
	PERFORM @extschema@.evq_pause_schedule(target);
	RETURN evq_http.schedule_named(target);
END
$$;
COMMENT ON FUNCTION evq_http.pause_schedule(text, jsonb, jsonb, jsonb) IS
'POST /api/schedules/{name}/pause. Errors: as evq_pause_schedule';

CREATE FUNCTION evq_http.resume_schedule(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq_http.object_of(body, '{}');
	PERFORM @extschema@.evq_resume_schedule(target);
	RETURN evq_http.schedule_named(target);
END
$$;
COMMENT ON FUNCTION evq_http.resume_schedule(text, jsonb, jsonb, jsonb) IS
'POST /api/schedules/{name}/resume. Errors: as evq_resume_schedule';

CREATE FUNCTION evq_http.run_schedule(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq_http.object_of(body, '{}');
	RETURN jsonb_build_object('event_id', @extschema@.evq_run_schedule(target));
END
$$;
COMMENT ON FUNCTION evq_http.run_schedule(text, jsonb, jsonb, jsonb) IS
'POST /api/schedules/{name}/run: publishes its event now. Errors: as evq_run_schedule';
