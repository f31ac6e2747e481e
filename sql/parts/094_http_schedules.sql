-- Routes of schedules.

CREATE FUNCTION @extschema@.evq_http_schedules(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(query, '{after, limit}');
	page int := evq.http_limit(given);
BEGIN
	RETURN (
		SELECT jsonb_build_object('schedules', coalesce(jsonb_agg(evq.http_schedule(s) ORDER BY s.name), '[]'),
								  'next', CASE WHEN count(*) = page THEN max(s.name) END)
		FROM (SELECT * FROM evq.schedules l WHERE given ->> 'after' IS NULL OR l.name > given ->> 'after' ORDER BY l.name LIMIT page) s);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_schedules(text, jsonb, jsonb, jsonb) IS
'GET /api/schedules: the schedules by name; after, limit. Errors: EQ006 bad argument';

CREATE FUNCTION evq.http_schedule(schedule evq.schedules) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (to_jsonb(schedule) - 'last_state'::text) || jsonb_build_object('last_status', evq.http_status(schedule.last_state)) $$;
COMMENT ON FUNCTION evq.http_schedule(evq.schedules) IS 'A schedule as HTTP shows it';

CREATE FUNCTION evq.http_schedule_named(name text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.http_schedule(s) FROM evq.schedules s WHERE s.name = http_schedule_named.name $$;
COMMENT ON FUNCTION evq.http_schedule_named(text) IS 'The schedule of that name as HTTP shows it';

CREATE FUNCTION @extschema@.evq_http_pause_schedule(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.http_object(body, '{}');
	PERFORM @extschema@.evq_pause_schedule(target);
	RETURN evq.http_schedule_named(target);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_pause_schedule(text, jsonb, jsonb, jsonb) IS
'POST /api/schedules/{name}/pause. Errors: as evq_pause_schedule';

CREATE FUNCTION @extschema@.evq_http_resume_schedule(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.http_object(body, '{}');
	PERFORM @extschema@.evq_resume_schedule(target);
	RETURN evq.http_schedule_named(target);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_resume_schedule(text, jsonb, jsonb, jsonb) IS
'POST /api/schedules/{name}/resume. Errors: as evq_resume_schedule';

CREATE FUNCTION @extschema@.evq_http_run_schedule(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.http_object(body, '{}');
	RETURN jsonb_build_object('event_id', @extschema@.evq_run_schedule(target));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_run_schedule(text, jsonb, jsonb, jsonb) IS
'POST /api/schedules/{name}/run: publishes its event now. Errors: as evq_run_schedule';
