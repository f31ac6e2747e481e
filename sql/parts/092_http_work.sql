-- Routes that change events.

CREATE FUNCTION evq_http.publish(target text, query jsonb, headers jsonb, body jsonb)
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
	RETURN (SELECT jsonb_build_object('event_id', id) FROM evq.publish_many(jsonb_build_array(event)) id);
END
$$;
COMMENT ON FUNCTION evq_http.publish(text, jsonb, jsonb, jsonb) IS
'POST /api/events: publishes the body, whose keys are the arguments of evq_publish(). Errors: as evq_publish';

CREATE FUNCTION evq_http.publish_each(bodies jsonb[], idempotency_keys text[])
RETURNS SETOF json AS 'MODULE_PATHNAME', 'evq_sql_publish_each' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION evq_http.publish_each(jsonb[], text[]) IS
$$POST /api/events of several clients in one call, all or none: what evq_http.publish() answers to each, in the order of the bodies.
idempotency_keys: the headers Idempotency-Key, NULL for a request without one; NULL = there are none. Errors: as evq_publish; the
gateway then publishes each by itself, so whoever is refused is told why by evq_http.publish().$$;

CREATE FUNCTION evq_http.publish_batch(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF headers ? 'idempotency-key' THEN
		RAISE EXCEPTION 'a batch has no Idempotency-Key'
			USING ERRCODE = 'EQ006', HINT = 'Give each event its own idempotency_key.';
	END IF;
	RETURN jsonb_build_object('event_ids',
		(SELECT coalesce(jsonb_agg(id ORDER BY place), '[]')
		 FROM evq.publish_many(coalesce(body, 'null')) WITH ORDINALITY published (id, place)));
END
$$;
COMMENT ON FUNCTION evq_http.publish_batch(text, jsonb, jsonb, jsonb) IS
'POST /api/events/batch: publishes an array of events, all or none. Errors: as evq_publish_many';

CREATE FUNCTION evq_http.acquire(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{worker, permit_for}');
	answer jsonb;
BEGIN
	SELECT to_jsonb(a) INTO answer
	FROM @extschema@.evq_acquire(evq_http.id_of(target), evq_http.text_of(given, 'worker'),
								 evq_http.duration_of(given -> 'permit_for', 'permit_for')) a;
	RETURN jsonb_build_object('acquired', answer IS NOT NULL) || coalesce(answer, '{}');
END
$$;
COMMENT ON FUNCTION evq_http.acquire(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/acquire: worker, permit_for. Errors: as evq_acquire';

CREATE FUNCTION evq_http.wait_of(given jsonb) RETURNS interval
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	longest interval := coalesce(evq_http.duration_of(given -> 'wait', 'wait'), '0');
BEGIN
	IF longest NOT BETWEEN '0' AND '60 s' THEN
		PERFORM evq_http.refuse('wait', 'a time from 0 to 60 seconds');
	END IF;
	RETURN longest;
END
$$;
COMMENT ON FUNCTION evq_http.wait_of(jsonb) IS 'How long the client is willing to wait; 0 where it does not say';

-- Names of channels have no blanks.
CREATE FUNCTION evq_http.waiting_for(flow_types text[], event_types text[], longest interval, OUT wait_ms int, OUT channel text, OUT choice text)
RETURNS record LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT (extract(epoch FROM longest) * 1000)::int,
		(SELECT string_agg(f.channel, ' ' ORDER BY f.channel COLLATE "C") FROM evq.flows f WHERE f.flow_type = ANY (flow_types)),
		(SELECT string_agg(t, ',' ORDER BY t) FROM (SELECT DISTINCT unnest(event_types)) types (t))
$$;
COMMENT ON FUNCTION evq_http.waiting_for(text[], text[], interval) IS
'What the gateway is to know of a client that waits for events of flows: see acquire_next';

CREATE FUNCTION evq_http.acquire_next(target text, query jsonb, headers jsonb, body jsonb,
	OUT answer jsonb, OUT wait_ms int, OUT channel text, OUT choice text)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{max_events, event_types, worker, permit_for, wait}');
	longest interval := evq_http.wait_of(given);
	event_types text[] := evq_http.texts_of(given, 'event_types');
	events jsonb;
BEGIN
	SELECT jsonb_agg(to_jsonb(a)) INTO events
	FROM @extschema@.evq_acquire_next(target, coalesce(evq_http.integer_of(given, 'max_events', 1, 10000), 1),
									  event_types, evq_http.text_of(given, 'worker'),
									  evq_http.duration_of(given -> 'permit_for', 'permit_for')) a;
	answer := jsonb_build_object('events', coalesce(events, '[]'));
	IF events IS NULL AND longest > '0' THEN
		SELECT w.* INTO wait_ms, channel, choice FROM evq_http.waiting_for(ARRAY[target], event_types, longest) w;
	END IF;
END
$$;
COMMENT ON FUNCTION evq_http.acquire_next(text, jsonb, jsonb, jsonb) IS
$$POST /api/flows/{flow}/acquire: max_events, event_types, worker, permit_for, wait. wait_ms, channel and choice are set where there
was nothing and the client is willing to wait: ask again when the channel is notified, for so long at most; one of those of the flow
who have the same choice is enough. choice is NULL for events of all types. Errors: as evq_acquire_next.$$;

CREATE FUNCTION evq_http.acquire_of_flows(target text, query jsonb, headers jsonb, body jsonb,
	OUT answer jsonb, OUT wait_ms int, OUT channel text, OUT choice text)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{flow_types, weights, max_events, event_types, worker, permit_for, wait}');
	longest interval := evq_http.wait_of(given);
	flow_types text[] := evq_http.texts_of(given, 'flow_types');
	event_types text[] := evq_http.texts_of(given, 'event_types');
	events jsonb;
BEGIN
	SELECT jsonb_agg(to_jsonb(a)) INTO events
	FROM @extschema@.evq_acquire_next(flow_types, coalesce(evq_http.integer_of(given, 'max_events', 1, 10000), 1),
									  event_types, evq_http.text_of(given, 'worker'),
									  evq_http.duration_of(given -> 'permit_for', 'permit_for'), evq_http.integers_of(given, 'weights')) a;
	answer := jsonb_build_object('events', coalesce(events, '[]'));
	IF events IS NULL AND longest > '0' THEN
		SELECT w.* INTO wait_ms, channel, choice FROM evq_http.waiting_for(flow_types, event_types, longest) w;
	END IF;
END
$$;
COMMENT ON FUNCTION evq_http.acquire_of_flows(text, jsonb, jsonb, jsonb) IS
$$POST /api/acquire: flow_types, weights, max_events, event_types, worker, permit_for, wait. wait_ms, channel and choice as in
acquire_next; channel has those of all flows, with blanks between. Errors: as evq_acquire_next.$$;

CREATE FUNCTION evq_http.succeed(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{permit, result, spinoffs}');
BEGIN
	RETURN jsonb_build_object('acknowledged', true, 'spinoff_event_ids',
		evq.succeed(evq_http.id_of(target), evq_http.permit_of(given), nullif(given -> 'result', 'null'), nullif(given -> 'spinoffs', 'null')));
END
$$;
COMMENT ON FUNCTION evq_http.succeed(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/success: permit, result, spinoffs. Errors: as evq_succeed, EQ002 among them';

-- What a verb without an answer of its own answers: the state that it leads to.
CREATE FUNCTION evq_http.acknowledged(state evq.event_state) RETURNS jsonb
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN jsonb_build_object('acknowledged', true, 'status', evq_http.status_of(state));
COMMENT ON FUNCTION evq_http.acknowledged(evq.event_state) IS 'The answer of a verb that was done';

CREATE FUNCTION evq_http.fail(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{permit, error_message, stack_trace, retryable, retry_in}');
BEGIN
	RETURN evq_http.acknowledged(
		@extschema@.evq_fail(evq_http.id_of(target), evq_http.text_of(given, 'error_message'), evq_http.permit_of(given),
							 evq_http.text_of(given, 'stack_trace'), evq_http.boolean_of(given, 'retryable'),
							 evq_http.duration_of(given -> 'retry_in', 'retry_in')));
END
$$;
COMMENT ON FUNCTION evq_http.fail(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/failure: permit, error_message, stack_trace, retryable, retry_in. Errors: as evq_fail, EQ002 among them';

CREATE FUNCTION evq_http.heartbeat(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{permit, extend_by}');
	permit bigint := evq_http.permit_of(given);
BEGIN
	IF permit IS NULL THEN
		PERFORM evq_http.refuse('permit', 'a number');
	END IF;
	RETURN (SELECT to_jsonb(h) FROM evq.heartbeat(ARRAY[evq_http.id_of(target)], ARRAY[permit],
												  evq_http.duration_of(given -> 'extend_by', 'extend_by')) h);
END
$$;
COMMENT ON FUNCTION evq_http.heartbeat(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/heartbeat: permit, extend_by. Errors: as evq_heartbeat';

CREATE FUNCTION evq_http.snooze(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{permit, run_at}');
BEGIN
	PERFORM @extschema@.evq_snooze(evq_http.id_of(target), evq_http.permit_of(given), evq_http.time_of(given, 'run_at'));
	RETURN evq_http.acknowledged('awaiting_processing');
END
$$;
COMMENT ON FUNCTION evq_http.snooze(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/snooze: permit, run_at. Errors: as evq_snooze, EQ002 among them';

CREATE FUNCTION evq_http.release(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM @extschema@.evq_release(evq_http.id_of(target), evq_http.permit_of(evq_http.object_of(body, '{permit}')));
	RETURN evq_http.acknowledged('awaiting_processing');
END
$$;
COMMENT ON FUNCTION evq_http.release(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/release: permit. Errors: as evq_release, EQ002 among them';

CREATE FUNCTION evq_http.suspend(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{permit, timeout}');
	until timestamptz := @extschema@.evq_suspend(evq_http.id_of(target), evq_http.permit_of(given), evq_http.duration_of(given -> 'timeout', 'timeout'));
BEGIN
	RETURN evq_http.acknowledged(CASE WHEN until IS NULL THEN 'awaiting_processing' ELSE 'suspended' END::evq.event_state) ||
		jsonb_build_object('state_due_at', until);
END
$$;
COMMENT ON FUNCTION evq_http.suspend(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/suspend: permit, timeout; status AWAITING_PROCESSING where it was activated before. Errors: as evq_suspend, EQ002 among them';

CREATE FUNCTION evq_http.activate(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{payload_patch, answer, permit}');
BEGIN
	RETURN evq_http.acknowledged(
		evq.activate(evq_http.id_of(target), nullif(given -> 'payload_patch', 'null'), nullif(given -> 'answer', 'null'), evq_http.permit_of(given)));
END
$$;
COMMENT ON FUNCTION evq_http.activate(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/activate: payload_patch, answer, permit; status BEING_PROCESSED where it is kept for the suspend. Errors: as evq_activate, EQ002 among them';

CREATE FUNCTION evq_http.cancel(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM @extschema@.evq_cancel(evq_http.id_of(target), evq_http.text_of(evq_http.object_of(body, '{reason}'), 'reason'));
	RETURN evq_http.acknowledged('canceled');
END
$$;
COMMENT ON FUNCTION evq_http.cancel(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/cancel: reason. Errors: as evq_cancel, EQ002 among them';

CREATE FUNCTION evq_http.retry(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq_http.object_of(body, '{}');
	PERFORM @extschema@.evq_retry(evq_http.id_of(target));
	RETURN evq_http.acknowledged('awaiting_processing');
END
$$;
COMMENT ON FUNCTION evq_http.retry(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/retry. Errors: as evq_retry, EQ002 among them';
