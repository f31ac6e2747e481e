-- What names an event by its id alone, and what concerns all shards.

CREATE FUNCTION evq_router.ask_for(event_id uuid, flow_id text, verb text, argument text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	shard int;
	answer text;
	silent int;
	why text;
BEGIN
	IF verb = 'event' THEN
		PERFORM evq_router.require_mapping();
	ELSE
		PERFORM evq_router.enter();
	END IF;
	FOREACH shard IN ARRAY evq_router.shards_to_ask(flow_id) LOOP
		BEGIN
			EXECUTE format('SELECT evq_router.%I($1, $2, $3)', verb) INTO answer USING shard, event_id, argument;
			RETURN answer;
		EXCEPTION
			WHEN SQLSTATE 'EQ002' THEN
				CONTINUE;
			WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
				silent := shard;
				why := SQLERRM;
		END;
	END LOOP;
	IF silent IS NOT NULL THEN
		RAISE EXCEPTION 'event % may be on shard %, which does not answer', event_id, silent
			USING ERRCODE = '08006', DETAIL = why, HINT = 'No other shard that was asked has it. Try again when the shard is back.';
	END IF;
	RAISE EXCEPTION 'no event %', event_id
		USING ERRCODE = 'EQ002', HINT = 'Check the id, and flow_id if you passed one; finished events are kept only as long as their type''s retention says.';
END
$$;
COMMENT ON FUNCTION evq_router.ask_for(uuid, text, text, text) IS
$$Does a verb on the shard of flow_id, or on the first of all shards that knows the event.
Errors: EQ002 no shard knows it, 08006 one that may know it does not answer.$$;

CREATE FUNCTION evq_activate(event_id uuid, payload_patch anycompatible DEFAULT NULL, answer anycompatible DEFAULT NULL, permit bigint DEFAULT NULL,
	flow_id text DEFAULT NULL) RETURNS evq.event_state
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	SELECT evq_router.ask_for($1, $5, 'activate',
		jsonb_build_object('payload_patch', evq_router.json_of($2, 'payload_patch'), 'answer', evq_router.json_of($3, 'answer'), 'permit', evq_router.shard_permit($4))::text)::evq.event_state
$$;
COMMENT ON FUNCTION evq_activate(uuid, anycompatible, anycompatible, bigint, text) IS
	'As on a shard. flow_id: tells the shard; NULL = all are asked for the event. Errors: as there; 08006 a shard that may have it does not answer';

CREATE FUNCTION evq_cancel(event_id uuid, reason text DEFAULT NULL, flow_id text DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$ SELECT evq_router.ask_for($1, $3, 'cancel', $2) $$;
COMMENT ON FUNCTION evq_cancel(uuid, text, text) IS
	'As on a shard. flow_id: tells the shard; NULL = all are asked for the event. Errors: as there; 08006 a shard that may have it does not answer';

CREATE FUNCTION evq_retry(event_id uuid, flow_id text DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$ SELECT evq_router.ask_for($1, $2, 'retry') $$;
COMMENT ON FUNCTION evq_retry(uuid, text) IS
	'As on a shard. flow_id: tells the shard; NULL = all are asked for the event. Errors: as there; 08006 a shard that may have it does not answer';

CREATE FUNCTION evq_event(event_id uuid, flow_id text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$ SELECT evq_router.ask_for($1, $2, 'event')::jsonb $$;
COMMENT ON FUNCTION evq_event(uuid, text) IS
	'As on a shard. flow_id: tells the shard; NULL = all are asked for the event. Errors: as there; 08006 a shard that may have it does not answer';

CREATE FUNCTION evq_router.count_all(wanted_flow text, OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
	shards int := evq_router.shard_count();
	flow_types text[] := '{}';
	event_types text[] := '{}';
	states evq.event_state[] := '{}';
	counts bigint[] := '{}';
	missing int[] := '{}';
	found record;
BEGIN
	PERFORM evq_router.require_mapping();
	FOR shard IN 0 .. shards - 1 LOOP
		BEGIN
			FOR found IN SELECT * FROM evq_router.counts(shard, wanted_flow) LOOP
				flow_types := flow_types || found.flow_type;
				event_types := event_types || found.event_type;
				states := states || found.state;
				counts := counts || found.events;
			END LOOP;
		EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
			IF NOT evq_router.is_lost(SQLSTATE, SQLERRM) THEN
				RAISE;
			END IF;
			missing := missing || shard;
			PERFORM evq_router.warn_of(shard, SQLSTATE, SQLERRM, 'its events are missing from the counts');
		END;
	END LOOP;
	IF cardinality(missing) = shards THEN
		RAISE EXCEPTION 'none of the % shards can be reached', shards
			USING ERRCODE = '08001', HINT = 'SELECT * FROM evq_shards() shows why.';
	END IF;
	RETURN QUERY SELECT c.flow_type, c.event_type, c.state, sum(c.events)::bigint
		FROM unnest(flow_types, event_types, states, counts) AS c (flow_type, event_type, state, events) GROUP BY 1, 2, 3;
END
$$;
COMMENT ON FUNCTION evq_router.count_all(text) IS 'What evq_counts() does';

CREATE FUNCTION evq_counts(flow_type text DEFAULT NULL,
	OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint)
RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 50
AS 'SELECT * FROM evq_router.count_all($1)';
COMMENT ON FUNCTION evq_counts(text) IS
$$As on a shard, summed over all that answer; each that does not is named by a WARNING of SQLSTATE 08006.
Errors: 08001 no shard can be reached; 42704 no user mapping.$$;

CREATE FUNCTION evq_shards(OUT shard int, OUT connection text, OUT version text, OUT running boolean, OUT live_events bigint, OUT problem text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 4
AS $$
DECLARE
	hint text;
BEGIN
	FOR shard, connection IN
		SELECT substring(o.option FROM '^p(\d+)=')::int, substring(o.option FROM '^p\d+=(.*)')
		FROM pg_catalog.pg_foreign_server s, unnest(s.srvoptions) AS o (option)
		WHERE s.srvname = 'evq' AND o.option ~ '^p\d+=' ORDER BY 1
	LOOP
		version := NULL;
		running := NULL;
		live_events := NULL;
		problem := NULL;
		BEGIN
			PERFORM evq_router.require_mapping();
			version := evq_router.ping(shard);
			SELECT s.running, s.problem INTO running, problem FROM evq_router.status(shard) s;
			live_events := (SELECT coalesce(sum(c.events), 0) FROM evq_router.counts(shard, NULL) c);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
			problem := problem || coalesce('. ' || nullif(hint, ''), '');
		END;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION evq_shards() IS
$$The shards: number, where, version of evq, whether the dispatcher is running, how many live events, and what is wrong,
be it that it cannot be reached. It never fails because a shard is away.$$;
