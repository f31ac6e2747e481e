-- Routes that change events.

CREATE FUNCTION @extschema@.evq_http_publish(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	event jsonb := coalesce(nullif(body, 'null'), '{}');
	key jsonb := headers -> 'idempotency-key';
BEGIN
	IF key IS NOT NULL AND jsonb_typeof(event) = 'object' THEN
		IF coalesce(event -> 'idempotency_key', 'null') NOT IN ('null', key) THEN
			RAISE EXCEPTION 'the header Idempotency-Key and idempotency_key differ'
				USING ERRCODE = 'EQ006', HINT = 'Send one of them.';
		END IF;
		event := event || jsonb_build_object('idempotency_key', key);
	END IF;
	RETURN (SELECT jsonb_build_object('event_id', id) FROM @extschema@.evq_publish_many(jsonb_build_array(event)) id);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_publish(text, jsonb, jsonb, jsonb) IS
'POST /api/events: publishes the body, whose keys are the arguments of evq_publish(). Errors: as evq_publish';

CREATE FUNCTION @extschema@.evq_http_publish_batch(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF headers ? 'idempotency-key' THEN
		RAISE EXCEPTION 'a batch has no Idempotency-Key'
			USING ERRCODE = 'EQ006', HINT = 'Give each event its own idempotency_key.';
	END IF;
	RETURN jsonb_build_object('event_ids',
		(SELECT coalesce(jsonb_agg(id ORDER BY place), '[]')
		 FROM @extschema@.evq_publish_many(coalesce(body, 'null')) WITH ORDINALITY published (id, place)));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_publish_batch(text, jsonb, jsonb, jsonb) IS
'POST /api/events/batch: publishes an array of events, all or none. Errors: as evq_publish_many';

CREATE FUNCTION @extschema@.evq_http_acquire(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{worker, permit_for}');
	answer jsonb;
BEGIN
	SELECT to_jsonb(a) INTO answer
	FROM @extschema@.evq_acquire(evq.http_id(target), evq.http_text(given, 'worker'),
								 evq.http_duration(given -> 'permit_for', 'permit_for')) a;
	RETURN jsonb_build_object('acquired', answer IS NOT NULL) || coalesce(answer, '{}');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_acquire(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/acquire: worker, permit_for. Errors: as evq_acquire';

CREATE FUNCTION @extschema@.evq_http_acquire_next(target text, query jsonb, headers jsonb, body jsonb,
	OUT answer jsonb, OUT wait_ms int, OUT channel text, OUT choice text)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{max_events, event_types, worker, permit_for, wait}');
	longest interval := coalesce(evq.http_duration(given -> 'wait', 'wait'), '0');
	event_types text[] := evq.http_texts(given, 'event_types');
	events jsonb;
BEGIN
	IF longest NOT BETWEEN '0' AND '60 s' THEN
		PERFORM evq.http_refuse('wait', 'a time from 0 to 60 seconds');
	END IF;
	SELECT jsonb_agg(to_jsonb(a)) INTO events
	FROM @extschema@.evq_acquire_next(target, coalesce(evq.http_integer(given, 'max_events', 1, 10000)::int, 1),
									  event_types, evq.http_text(given, 'worker'),
									  evq.http_duration(given -> 'permit_for', 'permit_for')) a;
	answer := jsonb_build_object('events', coalesce(events, '[]'));
	IF events IS NULL AND longest > '0' THEN
		wait_ms := (extract(epoch FROM longest) * 1000)::int;
		channel := (SELECT f.channel FROM evq.flows f WHERE f.flow_type = target);
		choice := (SELECT string_agg(t, ',' ORDER BY t) FROM (SELECT DISTINCT unnest(event_types)) types (t));
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_acquire_next(text, jsonb, jsonb, jsonb) IS
$$POST /api/flows/{flow}/acquire: max_events, event_types, worker, permit_for, wait. wait_ms, channel and choice are set where there
was nothing and the client is willing to wait: ask again when the channel is notified, for so long at most; one of those of the flow
who have the same choice is enough. choice is NULL for events of all types. Errors: as evq_acquire_next.$$;

CREATE FUNCTION @extschema@.evq_http_succeed(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{permit, result, spinoffs}');
BEGIN
	RETURN jsonb_build_object('acknowledged', true, 'spinoff_event_ids',
		@extschema@.evq_succeed(evq.http_id(target), evq.http_permit(given),
								nullif(given -> 'result', 'null'), nullif(given -> 'spinoffs', 'null')));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_succeed(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/success: permit, result, spinoffs. Errors: as evq_succeed, EQ002 among them';

-- What a verb without an answer of its own answers: the state that it leads to.
CREATE FUNCTION evq.http_acknowledged(state evq.event_state) RETURNS jsonb
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN jsonb_build_object('acknowledged', true, 'status', evq.http_status(state));
COMMENT ON FUNCTION evq.http_acknowledged(evq.event_state) IS 'The answer of a verb that was done';

CREATE FUNCTION @extschema@.evq_http_fail(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{permit, error_message, stack_trace, retryable, retry_in}');
BEGIN
	RETURN evq.http_acknowledged(
		@extschema@.evq_fail(evq.http_id(target), evq.http_text(given, 'error_message'), evq.http_permit(given),
							 evq.http_text(given, 'stack_trace'), evq.http_boolean(given, 'retryable'),
							 evq.http_duration(given -> 'retry_in', 'retry_in')));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_fail(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/failure: permit, error_message, stack_trace, retryable, retry_in. Errors: as evq_fail, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_heartbeat(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{permit, extend_by}');
	permit bigint := evq.http_permit(given);
BEGIN
	IF permit IS NULL THEN
		PERFORM evq.http_refuse('permit', 'a number');
	END IF;
	RETURN (SELECT to_jsonb(h) FROM @extschema@.evq_heartbeat(ARRAY[evq.http_id(target)], ARRAY[permit],
															  evq.http_duration(given -> 'extend_by', 'extend_by')) h);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_heartbeat(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/heartbeat: permit, extend_by. Errors: as evq_heartbeat';

CREATE FUNCTION @extschema@.evq_http_snooze(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{permit, run_at}');
BEGIN
	PERFORM @extschema@.evq_snooze(evq.http_id(target), evq.http_permit(given), evq.http_time(given, 'run_at'));
	RETURN evq.http_acknowledged('awaiting_processing');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_snooze(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/snooze: permit, run_at. Errors: as evq_snooze, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_release(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM @extschema@.evq_release(evq.http_id(target), evq.http_permit(evq.http_object(body, '{permit}')));
	RETURN evq.http_acknowledged('awaiting_processing');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_release(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/release: permit. Errors: as evq_release, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_suspend(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{permit, timeout}');
	until timestamptz := @extschema@.evq_suspend(evq.http_id(target), evq.http_permit(given), evq.http_duration(given -> 'timeout', 'timeout'));
BEGIN
	RETURN evq.http_acknowledged(CASE WHEN until IS NULL THEN 'awaiting_processing' ELSE 'suspended' END::evq.event_state) ||
		jsonb_build_object('state_due_at', until);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_suspend(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/suspend: permit, timeout; status AWAITING_PROCESSING where it was activated before. Errors: as evq_suspend, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_activate(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{payload_patch, answer, permit}');
BEGIN
	RETURN evq.http_acknowledged(
		@extschema@.evq_activate(evq.http_id(target), nullif(given -> 'payload_patch', 'null'), nullif(given -> 'answer', 'null'),
								 evq.http_permit(given)));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_activate(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/activate: payload_patch, answer, permit; status BEING_PROCESSED where it is kept for the suspend. Errors: as evq_activate, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_cancel(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM @extschema@.evq_cancel(evq.http_id(target), evq.http_text(evq.http_object(body, '{reason}'), 'reason'));
	RETURN evq.http_acknowledged('canceled');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_cancel(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/cancel: reason. Errors: as evq_cancel, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_retry(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.http_object(body, '{}');
	PERFORM @extschema@.evq_retry(evq.http_id(target));
	RETURN evq.http_acknowledged('awaiting_processing');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_retry(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/retry. Errors: as evq_retry, EQ002 among them';
