-- Routes of batches. The token is in the body, for it is too long for a path.

CREATE FUNCTION evq_http.acquire_batch(target text, query jsonb, headers jsonb, body jsonb,
	OUT answer jsonb, OUT wait_ms int, OUT channel text, OUT choice text)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{max_events, event_types, worker, permit_for, wait, token, except_ids}');
	longest interval := evq_http.wait_of(given);
	event_types text[] := evq_http.texts_of(given, 'event_types');
	lost jsonb := '{}';
	batch evq.acquired_batch;
BEGIN
	-- Two calls of one transaction, for only the first tells which were lost. A report is not repeated: it does not wait.
	IF coalesce(given -> 'token', 'null') <> 'null' OR coalesce(given -> 'except_ids', 'null') <> 'null' THEN
		lost := jsonb_build_object('lost_event_ids', evq_http.lost_of_success(given));
		longest := '0';
	END IF;
	SELECT * INTO batch
	FROM @extschema@.evq_acquire_batch(target, coalesce(evq_http.integer_of(given, 'max_events', 1, 10000), 100),
									   event_types, evq_http.text_of(given, 'worker'),
									   evq_http.duration_of(given -> 'permit_for', 'permit_for')) a;
	answer := lost || jsonb_build_object('token', batch.token,
		'events', CASE WHEN batch.token IS NULL THEN '[]' ELSE (SELECT jsonb_agg(e) FROM evq.events_of_batch(batch) e) END);
	IF batch.token IS NULL AND longest > '0' THEN
		SELECT w.* INTO wait_ms, channel, choice FROM evq_http.waiting_for(ARRAY[target], event_types, longest) w;
	END IF;
END
$$;
COMMENT ON FUNCTION evq_http.acquire_batch(text, jsonb, jsonb, jsonb) IS
$$POST /api/flows/{flow}/acquire-batch: max_events, event_types, worker, permit_for, wait; token and except_ids of a batch that is done,
whose success is reported before, in the same transaction. wait_ms, channel and choice as in acquire_next; with a token it does
not wait. Errors: as evq_acquire_batch and evq_succeed_batch.$$;

CREATE FUNCTION evq_http.lost_of_success(given jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN (SELECT coalesce(jsonb_agg(id), '[]')
			FROM evq.succeed_batch(evq_http.text_of(given, 'token'), evq_http.texts_of(given, 'except_ids')::uuid[]) id);
END
$$;
COMMENT ON FUNCTION evq_http.lost_of_success(jsonb) IS
'Reports the success of the batch of token, but for except_ids, and returns the ids that were not accepted';

CREATE FUNCTION evq_http.succeed_batch(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN jsonb_build_object('acknowledged', true,
		'lost_event_ids', evq_http.lost_of_success(evq_http.object_of(body, '{token, except_ids}')));
END
$$;
COMMENT ON FUNCTION evq_http.succeed_batch(text, jsonb, jsonb, jsonb) IS
'POST /api/batches/success: token, except_ids. Errors: as evq_succeed_batch';

CREATE FUNCTION evq_http.fail_batch(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{token, error_message, event_ids, retryable}');
BEGIN
	RETURN (
		SELECT jsonb_build_object('events', coalesce(jsonb_agg(jsonb_build_object(
			'event_id', f.event_id, 'accepted', f.accepted, 'status', evq_http.status_of(f.state))), '[]'))
		FROM evq.fail_batch(evq_http.text_of(given, 'token'), evq_http.text_of(given, 'error_message'),
			evq_http.texts_of(given, 'event_ids')::uuid[], coalesce(evq_http.boolean_of(given, 'retryable'), true)) f);
END
$$;
COMMENT ON FUNCTION evq_http.fail_batch(text, jsonb, jsonb, jsonb) IS
'POST /api/batches/failure: token, error_message, event_ids, retryable. Errors: as evq_fail_batch';

CREATE FUNCTION evq_http.heartbeat_batch(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{token, extend_by}');
BEGIN
	RETURN (
		SELECT jsonb_build_object('events', coalesce(jsonb_agg(to_jsonb(h)), '[]'))
		FROM @extschema@.evq_heartbeat_batch(evq_http.text_of(given, 'token'),
											 evq_http.duration_of(given -> 'extend_by', 'extend_by')) h);
END
$$;
COMMENT ON FUNCTION evq_http.heartbeat_batch(text, jsonb, jsonb, jsonb) IS
'POST /api/batches/heartbeat: token, extend_by. Errors: as evq_heartbeat_batch';

CREATE FUNCTION evq_http.release_batch(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{token}');
BEGIN
	RETURN (
		SELECT jsonb_build_object('acknowledged', true, 'lost_event_ids', coalesce(jsonb_agg(id), '[]'))
		FROM @extschema@.evq_release_batch(evq_http.text_of(given, 'token')) id);
END
$$;
COMMENT ON FUNCTION evq_http.release_batch(text, jsonb, jsonb, jsonb) IS
'POST /api/batches/release: token. Errors: as evq_release_batch';
