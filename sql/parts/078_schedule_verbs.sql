-- Schedules are made, removed, paused and run by hand.

CREATE FUNCTION evq.schedule_arguments(schedule evq.schedule) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_jsonb(schedule) - '{payload, is_paused, done_until, last_run_at, last_event_id, last_error, last_error_at, published, skipped, failed}'::text[] $$;
COMMENT ON FUNCTION evq.schedule_arguments(evq.schedule) IS 'What the audit tells of a schedule: its arguments, without the payload';

CREATE FUNCTION @extschema@.evq_schedule(name text, cron text, event_type text, flow_type text, flow_id text, payload anycompatible DEFAULT NULL,
	misfire text DEFAULT 'once', priority bigint DEFAULT NULL, on_fail_event_type text DEFAULT NULL, make_job boolean DEFAULT true,
	time_zone text DEFAULT 'UTC', overlap text DEFAULT 'allow', group_key text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule;
	before jsonb := (SELECT evq.schedule_arguments(s) FROM evq.schedule s WHERE s.name = evq_schedule.name);
	fields text := evq.cron_fields(cron);
	had_job boolean;
	made_job boolean := false;
BEGIN
	misfire := coalesce(misfire, 'once');
	IF name IS NULL OR name COLLATE "C" !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$' THEN
		RAISE EXCEPTION 'schedule % is not a valid name', coalesce(quote_literal(left(name, 100)), 'NULL')
			USING ERRCODE = 'EQ006', HINT = 'Use letters, digits, and any of _ . : - after the first, 63 bytes at most.';
	ELSIF cron IS NULL THEN
		RAISE EXCEPTION 'cron is NULL' USING ERRCODE = 'EQ006', HINT = 'Pass a cron expression such as ''0 3 * * *'', at 3:00.';
	ELSIF misfire NOT IN ('skip', 'once', 'all') THEN
		RAISE EXCEPTION 'misfire is %', quote_literal(left(misfire, 63))
			USING ERRCODE = 'EQ006', HINT = 'Pass skip, once or all: what becomes of times that were missed.';
	ELSIF priority NOT BETWEEN -32768 AND 32767 THEN
		RAISE EXCEPTION 'priority is out of range' USING ERRCODE = 'EQ006', HINT = 'Pass a number between -32768 and 32767.';
	ELSIF pg_typeof(payload) NOT IN ('jsonb'::regtype, 'json', 'text', 'varchar') THEN
		RAISE EXCEPTION 'payload cannot be of type %', pg_typeof(payload)
			USING ERRCODE = 'EQ006', HINT = 'Pass jsonb, json or its text; to_jsonb() makes jsonb of other values.';
	ELSIF overlap IS NOT NULL AND overlap NOT IN ('allow', 'skip', 'queue') THEN
		RAISE EXCEPTION 'overlap is %', quote_literal(left(overlap, 63))
			USING ERRCODE = 'EQ006', HINT = 'Pass allow, skip or queue: what becomes of a time that comes while the last event is live.';
	END IF;
	wanted.cron := btrim(evq_schedule.cron, E' \t');
	wanted.time_zone := coalesce(evq_schedule.time_zone, 'UTC');
	wanted.overlap := coalesce(evq_schedule.overlap, 'allow');
	-- Raises an error for a time zone that is not known.
	PERFORM evq.cron_next(wanted.cron, evq.second_now(), wanted.time_zone);
	wanted.name := name;
	wanted.event_type := event_type;
	wanted.flow_type := flow_type;
	wanted.flow_id := flow_id;
	wanted.payload := coalesce(nullif(payload::text::jsonb, 'null'), '{}');
	wanted.priority := priority;
	wanted.on_fail_event_type := on_fail_event_type;
	wanted.group_key := group_key;
	-- Whether its event can be published is best found out by publishing it; that is taken back at once.
	BEGIN
		PERFORM evq.publish_scheduled(wanted);
		RAISE EXCEPTION USING ERRCODE = 'EQ0OK';
	EXCEPTION WHEN SQLSTATE 'EQ0OK' THEN NULL;
	END;
	INSERT INTO evq.schedule AS s (name, cron, event_type, flow_type, flow_id, payload, misfire, priority, on_fail_event_type, has_job, done_until, time_zone, overlap, group_key)
	VALUES (wanted.name, wanted.cron, wanted.event_type, wanted.flow_type, wanted.flow_id, wanted.payload, evq_schedule.misfire,
			wanted.priority, wanted.on_fail_event_type, false, evq.second_now(), wanted.time_zone, wanted.overlap, wanted.group_key)
	ON CONFLICT ON CONSTRAINT schedule_pkey DO UPDATE SET
		cron = EXCLUDED.cron, event_type = EXCLUDED.event_type, flow_type = EXCLUDED.flow_type, flow_id = EXCLUDED.flow_id,
		payload = EXCLUDED.payload, misfire = EXCLUDED.misfire, priority = EXCLUDED.priority, on_fail_event_type = EXCLUDED.on_fail_event_type,
		time_zone = EXCLUDED.time_zone, overlap = EXCLUDED.overlap, group_key = EXCLUDED.group_key, last_error = NULL, last_error_at = NULL,
		done_until = CASE WHEN (s.cron, s.time_zone) = (EXCLUDED.cron, EXCLUDED.time_zone) THEN s.done_until ELSE greatest(s.done_until, EXCLUDED.done_until) END
	RETURNING s.has_job INTO had_job;
	IF make_job IS DISTINCT FROM false THEN
		made_job := evq.make_job(name, cron, wanted.time_zone, 'pass make_job => false to evq_schedule()');
	END IF;
	IF had_job AND NOT made_job AND make_job IS DISTINCT FROM false THEN
		PERFORM evq.call_cron(evq.job_removal_call(name), 'pass make_job => false to evq_schedule()');
	END IF;
	UPDATE evq.schedule s SET has_job = made_job WHERE s.name = wanted.name AND s.has_job <> made_job;
	PERFORM evq.record_change('schedule', name, before, (SELECT evq.schedule_arguments(s) FROM evq.schedule s WHERE s.name = evq_schedule.name));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_schedule(text, text, text, text, text, anycompatible, text, bigint, text, boolean, text, text, text) IS
$$Makes a schedule, or replaces the one of that name: an event at each time of a cron expression. A replaced schedule stays
paused if it was; times already missed stay due unless cron or time_zone changes.
name: 1 to 63 bytes: letters, digits, and any of _ . : - after the first.
cron: five fields, six of which the first is the second, or a word such as @daily.
event_type, flow_type, flow_id, payload, priority, on_fail_event_type, group_key: of its events, as in evq_publish.
misfire: what becomes of times that were missed. skip = nothing, after 5 minutes; once = one event for all of them; all = one
for each, of the latest 1,000.
make_job: false = no job of pg_cron; otherwise it gets one where pg_cron can be reached and knows such times.
time_zone: on whose clocks the expression is read, by name.
overlap: what becomes of a time that comes while the last event is live. allow = one more event; skip = none; queue = its
event when that one is finished.
Errors: EQ001 unknown event type or flow, EQ005 payload too large, EQ006 bad argument, EQ007 neither an engine nor pg_cron.$$;

CREATE FUNCTION @extschema@.evq_schedule(name text, cron text, event_type text, flow_type text, flow_id anynonarray, payload anycompatible DEFAULT NULL,
	misfire text DEFAULT 'once', priority bigint DEFAULT NULL, on_fail_event_type text DEFAULT NULL, make_job boolean DEFAULT true,
	time_zone text DEFAULT 'UTC', overlap text DEFAULT 'allow', group_key text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pg_typeof(flow_id) NOT IN ('smallint'::regtype, 'integer', 'bigint', 'uuid') THEN
		RAISE EXCEPTION 'flow_id cannot be of type %', pg_typeof(flow_id)
			USING ERRCODE = 'EQ006', HINT = 'Pass text, a whole number or a uuid.';
	END IF;
	PERFORM @extschema@.evq_schedule(name, cron, event_type, flow_type, flow_id::text, payload, misfire, priority, on_fail_event_type, make_job, time_zone, overlap, group_key);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_schedule(text, text, text, text, anynonarray, anycompatible, text, bigint, text, boolean, text, text, text) IS
$$The same for a flow_id that is a whole number or a uuid: its text is the flow_id. Errors: as there, EQ006 for another type$$;

CREATE FUNCTION @extschema@.evq_unschedule(name text, remove_job boolean DEFAULT true)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	doomed evq.schedule := evq.lock_schedule(name);
BEGIN
	DELETE FROM evq.schedule s WHERE s.name = doomed.name;
	PERFORM evq.record('unschedule', NULL, doomed.name, evq.schedule_arguments(doomed));
	IF doomed.has_job AND remove_job IS DISTINCT FROM false AND evq.cron_database() IS NOT NULL THEN
		PERFORM evq.call_cron(evq.job_removal_call(doomed.name), 'pass remove_job => false to evq_unschedule()');
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_unschedule(text, boolean) IS
$$Removes a schedule and its job of pg_cron; its events stay.
name: the schedule.
remove_job: false = leave the job alone, where it cannot be reached from here.
Errors: EQ002 no such schedule, EQ007 pg_cron is out of reach.$$;

CREATE FUNCTION @extschema@.evq_pause_schedule(name text)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule := evq.lock_schedule(name);
BEGIN
	UPDATE evq.schedule s SET is_paused = true WHERE s.name = wanted.name AND NOT s.is_paused;
	PERFORM evq.record('pause_schedule', NULL, wanted.name, NULL);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_pause_schedule(text) IS
$$Lets the times of a schedule pass without an event, until evq_resume_schedule.
name: the schedule.
Errors: EQ002 no such schedule.$$;

CREATE FUNCTION @extschema@.evq_resume_schedule(name text)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule := evq.lock_schedule(name);
BEGIN
	UPDATE evq.schedule s SET is_paused = false, done_until = greatest(s.done_until, evq.second_now()) WHERE s.name = wanted.name AND s.is_paused;
	PERFORM evq.record('resume_schedule', NULL, wanted.name, NULL);
	IF wanted.has_job THEN
		UPDATE evq.schedule s SET has_job = evq.make_job(wanted.name, wanted.cron, wanted.time_zone, 'replace the schedule: pass make_job => false to evq_schedule()')
		WHERE s.name = wanted.name;
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_resume_schedule(text) IS
$$Ends a pause: the next time counts, those that passed meanwhile do not. Makes the job of pg_cron if it is lost, as after the
database was renamed or restored.
name: the schedule.
Errors: EQ002 no such schedule, EQ007 pg_cron is not there or out of reach.$$;

CREATE FUNCTION @extschema@.evq_run_schedule(name text)
RETURNS uuid LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule := evq.lock_schedule(name);
	published_id uuid := evq.publish_scheduled(wanted);
BEGIN
	UPDATE evq.schedule s SET last_run_at = evq.clock_now(), last_event_id = published_id, published = s.published + 1
	WHERE s.name = wanted.name;
	PERFORM evq.record('run_schedule', published_id, wanted.name, NULL);
	RETURN published_id;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_run_schedule(text) IS
$$Publishes the event of a schedule now, paused or not, besides its times.
name: the schedule.
Returns: the event's id.
Errors: EQ002 no such schedule, and those of evq_publish.$$;
