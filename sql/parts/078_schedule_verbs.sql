-- Schedules are made, removed, paused and run by hand.

CREATE FUNCTION evq.schedule_arguments(schedule evq.schedule) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_jsonb(schedule) - '{payload, is_paused, done_until, last_run_at, last_event_id, last_error, last_error_at, published, skipped, failed}'::text[] $$;
COMMENT ON FUNCTION evq.schedule_arguments(evq.schedule) IS 'What the audit tells of a schedule: its arguments, without the payload';

CREATE FUNCTION @extschema@.evq_schedule(name text, cron text, event_type text, flow_type text, flow_id text, payload anycompatible DEFAULT NULL,
	misfire text DEFAULT 'once', priority int DEFAULT NULL, on_fail_event_type text DEFAULT NULL, make_job boolean DEFAULT true)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule;
	before jsonb := (SELECT evq.schedule_arguments(s) FROM evq.schedule s WHERE s.name = evq_schedule.name);
	fields text := evq.cron_fields(cron);
BEGIN
	misfire := coalesce(misfire, 'once');
	IF name IS NULL OR name COLLATE "C" !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$' THEN
		RAISE EXCEPTION 'schedule % is not a valid name', coalesce(quote_literal(left(name, 100)), 'NULL')
			USING ERRCODE = 'EQ006', HINT = 'Use letters, digits, and any of _ . : - after the first, 63 bytes at most.';
	ELSIF cron IS NULL THEN
		RAISE EXCEPTION 'cron is NULL' USING ERRCODE = 'EQ006', HINT = 'Pass a cron expression such as ''0 3 * * *'', at 3:00 UTC.';
	ELSIF misfire NOT IN ('skip', 'once', 'all') THEN
		RAISE EXCEPTION 'misfire is %', quote_literal(left(misfire, 63))
			USING ERRCODE = 'EQ006', HINT = 'Pass skip, once or all: what becomes of times that were missed.';
	ELSIF priority NOT BETWEEN -32768 AND 32767 THEN
		RAISE EXCEPTION 'priority is out of range' USING ERRCODE = 'EQ006', HINT = 'Pass a number between -32768 and 32767.';
	ELSIF pg_typeof(payload)::text NOT IN ('jsonb', 'json', 'text', 'character varying') THEN
		RAISE EXCEPTION 'payload cannot be of type %', pg_typeof(payload)
			USING ERRCODE = 'EQ006', HINT = 'Pass jsonb, json or its text; to_jsonb() makes jsonb of other values.';
	END IF;
	wanted.name := name;
	wanted.event_type := event_type;
	wanted.flow_type := flow_type;
	wanted.flow_id := flow_id;
	wanted.payload := coalesce(nullif(payload::text::jsonb, 'null'), '{}');
	wanted.priority := priority;
	wanted.on_fail_event_type := on_fail_event_type;
	-- Whether its event can be published is best found out by publishing it; that is taken back at once.
	BEGIN
		PERFORM evq.publish_scheduled(wanted);
		RAISE EXCEPTION USING ERRCODE = 'EQ0OK';
	EXCEPTION WHEN SQLSTATE 'EQ0OK' THEN NULL;
	END;
	INSERT INTO evq.schedule AS s (name, cron, event_type, flow_type, flow_id, payload, misfire, priority, on_fail_event_type, has_job, done_until)
	VALUES (wanted.name, btrim(evq_schedule.cron, E' \t'), wanted.event_type, wanted.flow_type, wanted.flow_id, wanted.payload, evq_schedule.misfire,
			wanted.priority, wanted.on_fail_event_type, make_job IS DISTINCT FROM false, evq.minute_now())
	ON CONFLICT ON CONSTRAINT schedule_pkey DO UPDATE SET
		cron = EXCLUDED.cron, event_type = EXCLUDED.event_type, flow_type = EXCLUDED.flow_type, flow_id = EXCLUDED.flow_id,
		payload = EXCLUDED.payload, misfire = EXCLUDED.misfire, priority = EXCLUDED.priority, on_fail_event_type = EXCLUDED.on_fail_event_type,
		has_job = EXCLUDED.has_job, last_error = NULL, last_error_at = NULL,
		done_until = CASE WHEN s.cron = EXCLUDED.cron THEN s.done_until ELSE greatest(s.done_until, EXCLUDED.done_until) END;
	IF make_job IS DISTINCT FROM false THEN
		PERFORM evq.call_cron(evq.job_call(name, fields), 'pass make_job => false to evq_schedule()');
	END IF;
	PERFORM evq.record_change('schedule', name, before, (SELECT evq.schedule_arguments(s) FROM evq.schedule s WHERE s.name = evq_schedule.name));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_schedule(text, text, text, text, text, anycompatible, text, int, text, boolean) IS
$$Makes a schedule, or replaces the one of that name: an event at each time of the cron expression, in UTC. The other arguments are
those of evq_publish(). A replaced schedule stays paused if it was; times already missed stay due unless cron changes.
misfire: what becomes of times that were missed. skip: nothing, after 5 minutes; once: one event for all of them; all: one for
each, of the latest 1,000. make_job: false = something else than a job of pg_cron made here calls evq.run_due_schedule(name) or
evq.catch_up_schedules(). Errors: EQ001 unknown event type or flow, EQ005 payload too large, EQ006 bad argument, EQ007 no pg_cron.$$;

CREATE FUNCTION @extschema@.evq_schedule(name text, cron text, event_type text, flow_type text, flow_id anynonarray, payload anycompatible DEFAULT NULL,
	misfire text DEFAULT 'once', priority int DEFAULT NULL, on_fail_event_type text DEFAULT NULL, make_job boolean DEFAULT true)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pg_typeof(flow_id)::text NOT IN ('smallint', 'integer', 'bigint', 'uuid') THEN
		RAISE EXCEPTION 'flow_id cannot be of type %', pg_typeof(flow_id)
			USING ERRCODE = 'EQ006', HINT = 'Pass text, a whole number or a uuid.';
	END IF;
	PERFORM @extschema@.evq_schedule(name, cron, event_type, flow_type, flow_id::text, payload, misfire, priority, on_fail_event_type, make_job);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_schedule(text, text, text, text, anynonarray, anycompatible, text, int, text, boolean) IS
	'The same for a flow_id that is a whole number or a uuid: its text is the flow_id. Errors: as there, EQ006 for another type';

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
$$Removes a schedule and its job of pg_cron; its events stay. remove_job: false = leave the job alone, where it cannot be reached
from here. Errors: EQ002 no such schedule, EQ007 pg_cron is out of reach.$$;

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
'Lets the times of a schedule pass without an event, until evq_resume_schedule(). Errors: EQ002 no such schedule';

CREATE FUNCTION @extschema@.evq_resume_schedule(name text)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule := evq.lock_schedule(name);
BEGIN
	UPDATE evq.schedule s SET is_paused = false, done_until = greatest(s.done_until, evq.minute_now()) WHERE s.name = wanted.name AND s.is_paused;
	PERFORM evq.record('resume_schedule', NULL, wanted.name, NULL);
	IF wanted.has_job THEN
		PERFORM evq.call_cron(evq.job_call(wanted.name, evq.cron_fields(wanted.cron)),
							  'replace the schedule: pass make_job => false to evq_schedule()');
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_resume_schedule(text) IS
$$Ends a pause: the next time counts, those that passed meanwhile do not. Makes the job of pg_cron if it is lost, as after the
database was renamed or restored. Errors: EQ002 no such schedule, EQ007 pg_cron is not there or out of reach.$$;

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
$$Publishes the event of a schedule now, paused or not, besides its times; returns the event's id.
Errors: EQ002 no such schedule, and those of evq_publish().$$;
