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

CREATE FUNCTION evq.second_now() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT date_trunc('second', evq.clock_now(), 'UTC') $$;
COMMENT ON FUNCTION evq.second_now() IS 'When the present second began';

CREATE FUNCTION evq.slot_name(slot timestamptz) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT to_char(slot AT TIME ZONE 'UTC', CASE WHEN extract(second FROM slot) = 0 THEN 'YYYY-MM-DD"T"HH24:MI"Z"' ELSE 'YYYY-MM-DD"T"HH24:MI:SS"Z"' END)
$$;
COMMENT ON FUNCTION evq.slot_name(timestamptz) IS 'A time of a schedule as headers and idempotency keys have it: in UTC, with seconds if there are any';

CREATE FUNCTION evq.publish_scheduled(schedule evq.schedule, slot timestamptz DEFAULT NULL) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT evq.publish(schedule.event_type, schedule.flow_type, schedule.flow_id, schedule.payload, schedule.on_fail_event_type,
		NULL, schedule.priority, 'schedule ' || schedule.name || ' ' || due.name,
		jsonb_strip_nulls(jsonb_build_object('schedule', schedule.name, 'slot', due.name)), schedule.group_key)
	FROM (SELECT evq.slot_name(slot) AS name) due
$$;
COMMENT ON FUNCTION evq.publish_scheduled(evq.schedule, timestamptz) IS
'Publishes the event of a schedule, for one of its times or NULL. Its headers tell the schedule and the time';

CREATE FUNCTION evq.is_at_work(schedule evq.schedule) RETURNS boolean
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM evq.event e WHERE e.event_id = schedule.last_event_id)
		OR (evq.may_be_of_batch(ARRAY[schedule.last_event_id]) AND EXISTS (
			SELECT FROM evq.batch_events_by_id(ARRAY[schedule.last_event_id]) b WHERE b.state IN ('a', 'p')))
$$;
COMMENT ON FUNCTION evq.is_at_work(evq.schedule) IS 'Is the last event of a schedule still live?';

CREATE FUNCTION evq.run_schedule(schedule evq.schedule) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	until timestamptz := evq.second_now();
	after timestamptz := CASE schedule.misfire WHEN 'skip' THEN greatest(schedule.done_until, until - interval '5 min') ELSE schedule.done_until END;
	most int := CASE schedule.misfire WHEN 'all' THEN 1000 ELSE 1 END;
	missed bigint;
	slot timestamptz;
	slots timestamptz[] := '{}';
	event_id uuid := schedule.last_event_id;
BEGIN
	missed := evq.cron_count(schedule.cron, schedule.done_until, until, schedule.time_zone);
	IF missed = 0 THEN
		RETURN 0;
	END IF;
	IF schedule.overlap <> 'allow' AND evq.is_at_work(schedule) THEN
		IF schedule.overlap = 'queue' THEN
			RETURN 0;
		END IF;
		most := 0;
	END IF;
	-- The latest ones, as many as there may be.
	slot := evq.cron_previous(schedule.cron, until, schedule.time_zone);
	WHILE slot > after AND cardinality(slots) < most LOOP
		slots := slot || slots;
		slot := evq.cron_previous(schedule.cron, slot - interval '1 second', schedule.time_zone);
	END LOOP;
	-- They would overlap with one another.
	IF schedule.overlap <> 'allow' AND cardinality(slots) > 1 THEN
		IF schedule.overlap = 'queue' THEN
			until := slots[1];
			missed := evq.cron_count(schedule.cron, schedule.done_until, until, schedule.time_zone);
			slots := slots[1:1];
		ELSE
			slots := slots[cardinality(slots):];
		END IF;
	END IF;
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
the times are due again when it is called again; so they are when overlap is queue and the last event is live.$$;

CREATE FUNCTION evq.is_paused() RETURNS boolean
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT EXISTS (SELECT FROM evq.pause) $$;
COMMENT ON FUNCTION evq.is_paused() IS 'Is the database paused, by evq_pause() or since a restore?';

CREATE FUNCTION evq.run_due_schedule(name text) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule := evq.lock_schedule(name);
BEGIN
	IF wanted.is_paused OR evq.is_paused() THEN
		RETURN 0;
	END IF;
	RETURN evq.run_schedule(wanted);
END
$$;
COMMENT ON FUNCTION evq.run_due_schedule(text) IS
$$What the job of pg_cron calls: publishes what is due of a schedule and returns how many events that was, 0 for a paused one and in a
paused database.
Errors: EQ002 no such schedule; others are a warning, and kept in evq.schedules.$$;

CREATE FUNCTION evq.catch_up_schedules() RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule;
	events int := 0;
BEGIN
	IF evq.is_paused() THEN
		RETURN 0;
	END IF;
	FOR wanted IN SELECT * FROM evq.schedule s WHERE NOT s.is_paused ORDER BY s.name FOR UPDATE SKIP LOCKED LOOP
		events := events + evq.run_schedule(wanted);
	END LOOP;
	RETURN events;
END
$$;
COMMENT ON FUNCTION evq.catch_up_schedules() IS
$$Publishes what is due of every schedule that is neither paused nor being run by someone else, and returns how many events that was;
in a paused database nothing. For the time after the server was down, and for other clocks. A schedule that errs does not stop the others.$$;

CREATE FUNCTION evq.due_at(schedule evq.schedule) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.cron_next(schedule.cron, schedule.done_until, schedule.time_zone) $$;
COMMENT ON FUNCTION evq.due_at(evq.schedule) IS 'The earliest time of a schedule that has no event and is not done with otherwise. Errors: as evq.cron_next()';

CREATE FUNCTION evq.ring_at(schedule evq.schedule) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	due_at timestamptz := evq.cron_next_if_any(schedule.cron, schedule.done_until, schedule.time_zone);
BEGIN
	IF due_at IS NULL THEN
		-- Running it notes the error in its row.
		RETURN coalesce(schedule.last_error_at + interval '10 min', schedule.done_until);
	END IF;
	RETURN greatest(due_at, schedule.last_error_at + interval '10 s');
END
$$;
COMMENT ON FUNCTION evq.ring_at(evq.schedule) IS
'When the dispatcher runs a schedule: when it is due, whether or not pg_cron has a job for it; after an error it waits for a while';

CREATE FUNCTION evq.ring_schedules() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule;
	present timestamptz := evq.clock_now();
BEGIN
	IF evq.is_paused() THEN
		RETURN NULL;
	END IF;
	FOR wanted IN SELECT * FROM evq.schedule s WHERE NOT s.is_paused AND evq.ring_at(s) <= present ORDER BY s.name FOR UPDATE SKIP LOCKED LOOP
		PERFORM evq.run_schedule(wanted);
	END LOOP;
	present := evq.clock_now();
	-- What is due still is being run by someone else, or waits for its last event.
	RETURN (SELECT min(CASE WHEN n.ring_at > present THEN n.ring_at ELSE present + interval '1 second' END)
			FROM (SELECT evq.ring_at(s) AS ring_at FROM evq.schedule s WHERE NOT s.is_paused) n);
END
$$;
COMMENT ON FUNCTION evq.ring_schedules() IS
'What the dispatcher calls: publishes what schedules have due, and returns when it is to call again; NULL = not before a schedule is changed';
