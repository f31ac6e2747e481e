-- Acquiring: whichever shard has work. A shard commits what it hands out, so what one has given is never thrown away
-- because another fails.

CREATE FUNCTION evq_acquire_next(flow_type text, max_events bigint DEFAULT 1, event_types text[] DEFAULT NULL,
	worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 1
AS $$
DECLARE
	shards int;
	first_shard int;
	shard int;
	wanted bigint := coalesce(max_events, 1);
	answered int := 0;
	event evq.acquired;
BEGIN
	PERFORM evq_router.require_mapping();
	IF evq_router.is_held() THEN
		RETURN;
	END IF;
	shards := evq_router.shard_count();
	first_shard := floor(random() * shards);
	FOR n IN 0 .. shards - 1 LOOP
		shard := (first_shard + n) % shards;
		CONTINUE WHEN evq_router.is_avoided(shard);
		BEGIN
			FOR event IN SELECT * FROM evq_router.acquire_next(shard, flow_type, wanted, event_types, worker, permit_for) LOOP
				event.permit := evq_router.permit(shard, event.permit);
				wanted := wanted - 1;
				RETURN NEXT event;
			END LOOP;
			answered := answered + 1;
		EXCEPTION WHEN OTHERS THEN
			IF evq_router.is_lost(SQLSTATE, SQLERRM) THEN
				PERFORM evq_router.avoid(shard);
			ELSIF answered = 0 THEN
				RAISE;
			END IF;
			PERFORM evq_router.warn_of(shard, SQLSTATE, SQLERRM, 'it gave no events');
		END;
		EXIT WHEN wanted <= 0;
	END LOOP;
	IF answered = 0 THEN
		RAISE EXCEPTION 'none of the % shards can be reached', shards
			USING ERRCODE = '08001', HINT = 'SELECT * FROM evq_shards() shows why. Each is tried again after some seconds.';
	END IF;
END
$$;
COMMENT ON FUNCTION evq_acquire_next(text, bigint, text[], text, interval) IS
$$As on a shard, from as many shards as it takes to get max_events, beginning with a random one; the order of priority and age
is that of each shard. The permits tell the router the shard. A shard that cannot be reached is passed over with a WARNING of
SQLSTATE 08006, and by this session for 5 seconds. Errors: as on a shard; 08001 no shard can be reached.$$;

-- A session's memory of shards that are away, so that not each call waits for each of them.
CREATE FUNCTION evq_router.avoid(shard int) RETURNS void LANGUAGE sql VOLATILE
AS $$ SELECT set_config('evq_router.avoid_' || $1, (clock_timestamp() + interval '5 s')::text, false) $$;
COMMENT ON FUNCTION evq_router.avoid(int) IS 'Lets this session acquire nothing from a shard for 5 seconds';

CREATE FUNCTION evq_router.is_avoided(shard int) RETURNS boolean LANGUAGE sql VOLATILE
AS $$ SELECT coalesce(nullif(current_setting('evq_router.avoid_' || $1, true), '')::timestamptz > clock_timestamp(), false) $$;
COMMENT ON FUNCTION evq_router.is_avoided(int) IS 'Does this session acquire nothing from a shard for a while?';

CREATE FUNCTION evq_acquire(event_id uuid, worker text DEFAULT NULL, permit_for interval DEFAULT NULL, flow_id text DEFAULT NULL)
RETURNS SETOF evq.acquired LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 1
AS $$
DECLARE
	shard int;
	event evq.acquired;
BEGIN
	PERFORM evq_router.require_mapping();
	IF evq_router.is_held() THEN
		RETURN;
	END IF;
	FOREACH shard IN ARRAY evq_router.shards_to_ask(flow_id) LOOP
		FOR event IN SELECT * FROM evq_router.acquire(shard, event_id, worker, permit_for) LOOP
			event.permit := evq_router.permit(shard, event.permit);
			RETURN NEXT event;
			RETURN;
		END LOOP;
	END LOOP;
EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
	PERFORM evq_router.complain(shard, SQLSTATE, SQLERRM);
END
$$;
COMMENT ON FUNCTION evq_acquire(uuid, text, interval, text) IS
$$As on a shard. With flow_id its shard is asked, without it one after the other until one grants the event; so pass it.
Errors: as on a shard; 08001, 08007 as evq_publish.$$;

CREATE FUNCTION evq_router.shards_to_ask(flow_id text) RETURNS int[] LANGUAGE sql STABLE
AS $$
	SELECT CASE WHEN $1 IS NOT NULL THEN ARRAY[evq_router.shard_of($1)]
		ELSE ARRAY(SELECT generate_series(0, evq_router.shard_count() - 1)) END
$$;
COMMENT ON FUNCTION evq_router.shards_to_ask(text) IS 'The shard of a flow_id; NULL = all shards';
