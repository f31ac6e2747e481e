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

CREATE FUNCTION evq_activate(event_id uuid, payload_patch jsonb DEFAULT NULL, answer jsonb DEFAULT NULL, permit bigint DEFAULT NULL,
	flow_id text DEFAULT NULL) RETURNS evq.event_state
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	SELECT evq_router.ask_for($1, $5, 'activate',
		jsonb_build_object('payload_patch', $2, 'answer', $3, 'permit', evq_router.shard_permit($4))::text)::evq.event_state
$$;
COMMENT ON FUNCTION evq_activate(uuid, jsonb, jsonb, bigint, text) IS
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

CREATE FUNCTION evq_router.counts_or_complaint(shard int, wanted_flow text,
	OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint)
RETURNS SETOF record LANGUAGE plpgsql
AS $$
BEGIN
	RETURN QUERY SELECT c.* FROM evq_router.counts(shard, wanted_flow) c;
EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
	PERFORM evq_router.complain(shard, SQLSTATE, SQLERRM);
END
$$;
COMMENT ON FUNCTION evq_router.counts_or_complaint(int, text) IS 'evq_counts() of a shard. Errors: 08001, 08007 as evq_publish';

CREATE FUNCTION evq_counts(flow_type text DEFAULT NULL,
	OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint)
RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 50
AS $$
	SELECT c.flow_type, c.event_type, c.state, sum(c.events)::bigint
	FROM generate_series(0, evq_router.shard_count() - 1) AS s (shard), evq_router.counts_or_complaint(s.shard, $1) c
	GROUP BY 1, 2, 3
$$;
COMMENT ON FUNCTION evq_counts(text) IS
	'As on a shard, summed over all of them. Errors: 08001 a shard cannot be reached: evq_shards() tells what the others have';

CREATE FUNCTION evq_shards(OUT shard int, OUT connection text, OUT version text, OUT running boolean, OUT live_events bigint, OUT problem text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 4
AS $$
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
			version := evq_router.ping(shard);
			SELECT s.running, s.problem INTO running, problem FROM evq_router.status(shard) s;
			live_events := (SELECT coalesce(sum(c.events), 0) FROM evq_router.counts(shard, NULL) c);
		EXCEPTION WHEN OTHERS THEN
			problem := SQLERRM;
		END;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION evq_shards() IS
$$The shards: number, where, version of evq, whether the dispatcher is running, how many live events, and what is wrong,
be it that it cannot be reached. It never fails because a shard is away.$$;
