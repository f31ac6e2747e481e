-- Publishing: each event on the shard of its flow_id.

CREATE FUNCTION evq_publish(event_type text, flow_type text, flow_id text, payload anycompatible DEFAULT NULL,
	on_fail_event_type text DEFAULT NULL, run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL,
	idempotency_key text DEFAULT NULL, headers anycompatible DEFAULT NULL, group_key text DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
	shard int := evq_router.shard_for(flow_id);
BEGIN
	RETURN evq_router.publish(shard, event_type, flow_type, flow_id, evq_router.json_of(payload, 'payload'),
		on_fail_event_type, run_at, priority, idempotency_key, evq_router.json_of(headers, 'headers'), group_key);
EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
	PERFORM evq_router.complain(shard, SQLSTATE, SQLERRM);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION evq_publish(text, text, text, anycompatible, text, timestamptz, bigint, text, anycompatible, text) IS
$$As on a shard, run on the shard of the flow_id, where it commits at once, whatever becomes of the caller's transaction.
Errors: as there; 08001 the shard cannot be reached; 08007 connection lost, repeat with the same idempotency_key.$$;

CREATE FUNCTION evq_publish(event_type text, flow_type text, flow_id anynonarray, payload anycompatible DEFAULT NULL,
	on_fail_event_type text DEFAULT NULL, run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL,
	idempotency_key text DEFAULT NULL, headers anycompatible DEFAULT NULL, group_key text DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
BEGIN
	IF pg_typeof(flow_id) NOT IN ('smallint'::regtype, 'int'::regtype, 'bigint'::regtype, 'uuid'::regtype) THEN
		RAISE EXCEPTION 'flow_id cannot be of type %', pg_typeof(flow_id)
			USING ERRCODE = 'EQ006', HINT = 'Pass text, a whole number or a uuid.';
	END IF;
	RETURN evq_publish(event_type, flow_type, flow_id::text, payload, on_fail_event_type, run_at, priority, idempotency_key, headers, group_key);
END
$$;
COMMENT ON FUNCTION evq_publish(text, text, anynonarray, anycompatible, text, timestamptz, bigint, text, anycompatible, text) IS
	'The same for a flow_id that is a whole number or a uuid: its text is the flow_id. Errors: as there, EQ006 for another type';

CREATE FUNCTION evq_publish_many(events anycompatible) RETURNS SETOF uuid LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE ROWS 100
AS $$
DECLARE
	all_events jsonb := evq_router.json_of(events, 'events');
	part record;
	published int[] := '{}';
	ids uuid[] := '{}';
	ids_of_part uuid[];
BEGIN
	IF jsonb_typeof(all_events) <> 'array' THEN
		RAISE EXCEPTION 'events is not an array' USING ERRCODE = 'EQ006', HINT = 'Pass an array of objects.';
	END IF;
	PERFORM evq_router.enter();
	FOR part IN
		WITH event AS (
			SELECT evq_router.shard_of(a.event->>'flow_id') AS shard, a.event, a.place
			FROM jsonb_array_elements(all_events) WITH ORDINALITY AS a (event, place)),
		part AS (
			SELECT e.shard, jsonb_agg(e.event ORDER BY e.place) AS events, array_agg(e.place::int ORDER BY e.place) AS places
			FROM event e GROUP BY e.shard)
		-- All answer before the first one publishes: one that is known to be away makes no half of a batch.
		SELECT p.*, CASE WHEN count(*) OVER () > 1 THEN evq_router.check_shard(p.shard) END FROM part p ORDER BY p.shard
	LOOP
		BEGIN
			ids_of_part := ARRAY(SELECT evq_router.publish_many(part.shard, part.events));
		EXCEPTION WHEN OTHERS THEN
			IF published = '{}' THEN
				IF NOT evq_router.is_lost(SQLSTATE, SQLERRM) THEN
					RAISE;
				END IF;
				PERFORM evq_router.complain(part.shard, SQLSTATE, SQLERRM);
			END IF;
			RAISE EXCEPTION 'shard % did not publish its part of the batch: %', part.shard, SQLERRM
				USING ERRCODE = CASE WHEN evq_router.is_lost(SQLSTATE, SQLERRM) THEN '08007' ELSE SQLSTATE END,
					DETAIL = format('Of %s events those at %s are published.', jsonb_array_length(all_events), published),
					HINT = 'Repeat the call when the cause is gone; events with an idempotency_key are not published twice.';
		END;
		FOR n IN 1 .. cardinality(part.places) LOOP
			ids[part.places[n]] := ids_of_part[n];
		END LOOP;
		published := published || part.places;
	END LOOP;
	RETURN QUERY SELECT unnest(ids);
END
$$;
COMMENT ON FUNCTION evq_publish_many(anycompatible) IS
$$As on a shard; each shard gets its part in one call. Returns the ids in the order of the array. All or nothing on each shard,
not over all of them: when one fails after others have committed, DETAIL tells the places (from 1) of what is published.
Errors: as evq_publish.$$;

CREATE FUNCTION evq_publish_many(event_type text, flow_type text, flow_ids anyarray, payloads anycompatiblearray,
	run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL, group_keys text[] DEFAULT NULL)
RETURNS SETOF uuid LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 100
AS $$
BEGIN
	IF pg_typeof(flow_ids) NOT IN ('text[]'::regtype, 'varchar[]'::regtype, 'smallint[]'::regtype, 'int[]'::regtype, 'bigint[]'::regtype, 'uuid[]'::regtype) THEN
		RAISE EXCEPTION 'flow_ids cannot be of type %', pg_typeof(flow_ids)
			USING ERRCODE = 'EQ006', HINT = 'Pass an array of text, whole numbers or uuid.';
	ELSIF cardinality(flow_ids) IS DISTINCT FROM cardinality(payloads) OR flow_ids IS NULL THEN
		RAISE EXCEPTION 'flow_ids and payloads are not of the same length' USING ERRCODE = 'EQ006', HINT = 'Pass one payload for each flow_id.';
	ELSIF cardinality(flow_ids) <> cardinality(group_keys) THEN
		RAISE EXCEPTION 'flow_ids and group_keys are not of the same length' USING ERRCODE = 'EQ006', HINT = 'Pass one group key for each flow_id.';
	END IF;
	RETURN QUERY SELECT evq_publish_many(coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('event_type', event_type,
			'flow_type', flow_type, 'flow_id', f.flow_id, 'run_at', run_at, 'priority', priority, 'group_key', f.group_key))
			|| jsonb_build_object('payload', f.payload) ORDER BY f.place), '[]'))
		FROM unnest(flow_ids::text[], payloads::jsonb[], group_keys) WITH ORDINALITY AS f (flow_id, payload, group_key, place);
END
$$;
COMMENT ON FUNCTION evq_publish_many(text, text, anyarray, anycompatiblearray, timestamptz, bigint, text[]) IS
	'As on a shard; the same as an array of objects that differ in flow_id, payload and group_key. Errors: as there';

CREATE FUNCTION evq_publish_many(event_type text, flow_type text, flow_ids text, payloads anycompatiblearray,
	run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL, group_keys text[] DEFAULT NULL)
RETURNS SETOF uuid LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 100
AS $$
BEGIN
	RETURN QUERY SELECT evq_publish_many(event_type, flow_type, flow_ids::text[], payloads, run_at, priority, group_keys);
END
$$;
COMMENT ON FUNCTION evq_publish_many(text, text, text, anycompatiblearray, timestamptz, bigint, text[]) IS
	'The same for flow_ids that have no type in the call. Errors: as there';
