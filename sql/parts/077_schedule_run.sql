-- What is due of a schedule, and publishing it: one event for each time, whoever comes to do it, because the row is locked
-- meanwhile and the time is the event's idempotency key.

CREATE FUNCTION evq.lock_schedule(name text) RETURNS evq.schedule
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_schedule evq.schedule;
BEGIN
	SELECT * INTO found_schedule FROM evq.schedule s WHERE s.name = lock_schedule.name FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no schedule %', coalesce('"' || left(name, 63) || '"', 'NULL')
			USING ERRCODE = 'EQ002', HINT = 'evq.schedules lists them. A job of pg_cron that is left over goes with cron.unschedule().';
	END IF;
	RETURN found_schedule;
END
$$;
COMMENT ON FUNCTION evq.lock_schedule(text) IS 'Locks the row of a schedule and returns it; EQ002 where there is none';

CREATE FUNCTION evq.minute_now() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT date_trunc('minute', evq.clock_now(), 'UTC') $$;
COMMENT ON FUNCTION evq.minute_now() IS 'When the present minute began';

CREATE FUNCTION evq.publish_scheduled(schedule evq.schedule, slot timestamptz DEFAULT NULL) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT @extschema@.evq_publish(schedule.event_type, schedule.flow_type, schedule.flow_id, schedule.payload, schedule.on_fail_event_type,
		priority => schedule.priority, idempotency_key => 'schedule ' || schedule.name || ' ' || due.minute,
		headers => jsonb_strip_nulls(jsonb_build_object('schedule', schedule.name, 'slot', due.minute)))
	FROM (SELECT to_char(slot AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"') AS minute) due
$$;
COMMENT ON FUNCTION evq.publish_scheduled(evq.schedule, timestamptz) IS
'Publishes the event of a schedule, for one of its times or NULL. Its headers tell the schedule and the time';

CREATE FUNCTION evq.run_schedule(schedule evq.schedule) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	until timestamptz := evq.minute_now();
	after timestamptz := CASE schedule.misfire WHEN 'skip' THEN greatest(schedule.done_until, until - interval '5 min') ELSE schedule.done_until END;
	most int := CASE schedule.misfire WHEN 'all' THEN 1000 ELSE 1 END;
	missed bigint;
	slot timestamptz;
	slots timestamptz[] := '{}';
	event_id uuid := schedule.last_event_id;
BEGIN
	missed := evq.cron_count(schedule.cron, schedule.done_until, until);
	IF missed = 0 THEN
		RETURN 0;
	END IF;
	-- The latest ones, as many as there may be.
	slot := evq.cron_previous(schedule.cron, until);
	WHILE slot > after AND cardinality(slots) < most LOOP
		slots := slot || slots;
		slot := evq.cron_previous(schedule.cron, slot - interval '1 min');
	END LOOP;
	FOREACH slot IN ARRAY slots LOOP
		event_id := evq.publish_scheduled(schedule, slot);
	END LOOP;
	UPDATE evq.schedule s SET done_until = until, last_run_at = coalesce(slots[cardinality(slots)], s.last_run_at), last_event_id = event_id,
		last_error = NULL, last_error_at = NULL, published = s.published + cardinality(slots), skipped = s.skipped + missed - cardinality(slots)
	WHERE s.name = schedule.name;
	RETURN cardinality(slots);
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING 'schedule "%" published nothing: %', schedule.name, SQLERRM;
	UPDATE evq.schedule s SET last_error = format('%s: %s', SQLSTATE, left(SQLERRM, 1000)), last_error_at = evq.clock_now(), failed = s.failed + 1
	WHERE s.name = schedule.name;
	RETURN 0;
END
$$;
COMMENT ON FUNCTION evq.run_schedule(evq.schedule) IS
$$Publishes what is due of a schedule whose row is locked, and returns how many events that was. An error is kept in the row, and
the times are due again when it is called again.$$;

CREATE FUNCTION evq.run_due_schedule(name text) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule := evq.lock_schedule(name);
BEGIN
	IF wanted.is_paused THEN
		RETURN 0;
	END IF;
	RETURN evq.run_schedule(wanted);
END
$$;
COMMENT ON FUNCTION evq.run_due_schedule(text) IS
$$What the job of pg_cron calls: publishes what is due of a schedule and returns how many events that was, 0 for a paused one.
Errors: EQ002 no such schedule; others are a warning, and kept in evq.schedules.$$;

CREATE FUNCTION evq.catch_up_schedules() RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule;
	events int := 0;
BEGIN
	FOR wanted IN SELECT * FROM evq.schedule s WHERE NOT s.is_paused ORDER BY s.name FOR UPDATE SKIP LOCKED LOOP
		events := events + evq.run_schedule(wanted);
	END LOOP;
	RETURN events;
END
$$;
COMMENT ON FUNCTION evq.catch_up_schedules() IS
$$Publishes what is due of every schedule that is neither paused nor being run by someone else, and returns how many events that was.
For the time after the server, or pg_cron, was down. A schedule that errs does not stop the others.$$;
