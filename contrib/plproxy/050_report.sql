-- Reports of workers: to the shard of the permit. evq_heartbeat, evq_succeed_many and evq_fail_many go to many shards and
-- answer NULL, with a WARNING, for the events of one that does not answer.

CREATE FUNCTION evq_succeed(event_id uuid, permit bigint DEFAULT NULL, result anycompatible DEFAULT NULL, spinoffs anycompatible DEFAULT NULL,
	flow_id text DEFAULT NULL)
RETURNS uuid[] LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
	shard int := evq_router.shard_for_report(permit, flow_id);
BEGIN
	RETURN evq_router.succeed(shard, event_id, evq_router.shard_permit(permit),
		evq_router.json_of(result, 'result'), evq_router.json_of(spinoffs, 'spinoffs'));
EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
	PERFORM evq_router.complain(shard, SQLSTATE, SQLERRM);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION evq_succeed(uuid, bigint, anycompatible, anycompatible, text) IS
$$As on a shard; spinoffs have the same flow_id, so they are on the same shard and in the same transaction as the success.
Errors: as there; EQ006 neither permit nor flow_id tells the shard; 08001, 08007 as evq_publish.$$;

CREATE FUNCTION evq_fail(event_id uuid, error_message text, permit bigint DEFAULT NULL, stack_trace text DEFAULT NULL,
	retryable boolean DEFAULT true, retry_in interval DEFAULT NULL, flow_id text DEFAULT NULL)
RETURNS evq.event_state LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
	shard int := evq_router.shard_for_report(permit, flow_id);
BEGIN
	RETURN evq_router.fail(shard, event_id, error_message, evq_router.shard_permit(permit), stack_trace, retryable, retry_in);
EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
	PERFORM evq_router.complain(shard, SQLSTATE, SQLERRM);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION evq_fail(uuid, text, bigint, text, boolean, interval, text) IS 'As on a shard. Errors: as evq_succeed';

CREATE FUNCTION evq_snooze(event_id uuid, permit bigint, run_at timestamptz) RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
	shard int := evq_router.shard_for_report(permit);
BEGIN
	PERFORM evq_router.snooze(shard, event_id, evq_router.shard_permit(permit), run_at);
EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
	PERFORM evq_router.complain(shard, SQLSTATE, SQLERRM);
END
$$;
COMMENT ON FUNCTION evq_snooze(uuid, bigint, timestamptz) IS 'As on a shard. Errors: as evq_succeed';

CREATE FUNCTION evq_release(event_id uuid, permit bigint) RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
	shard int := evq_router.shard_for_report(permit);
BEGIN
	PERFORM evq_router.release(shard, event_id, evq_router.shard_permit(permit));
EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
	PERFORM evq_router.complain(shard, SQLSTATE, SQLERRM);
END
$$;
COMMENT ON FUNCTION evq_release(uuid, bigint) IS 'As on a shard. Errors: as evq_succeed';

CREATE FUNCTION evq_suspend(event_id uuid, permit bigint, timeout interval DEFAULT NULL) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
	shard int := evq_router.shard_for_report(permit);
BEGIN
	RETURN evq_router.suspend(shard, event_id, evq_router.shard_permit(permit), timeout);
EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
	PERFORM evq_router.complain(shard, SQLSTATE, SQLERRM);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION evq_suspend(uuid, bigint, interval) IS 'As on a shard. Errors: as evq_succeed';

CREATE FUNCTION evq_router.by_shard(event_ids uuid[], permits bigint[],
	OUT shard int, OUT event_ids_there uuid[], OUT permits_there bigint[])
RETURNS SETOF record LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM evq_router.enter();
	IF event_ids IS NULL OR cardinality(event_ids) IS DISTINCT FROM cardinality(permits) OR array_position(permits, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'there is not one permit for each event' USING ERRCODE = 'EQ006', HINT = 'Pass the permits that the acquire returned.';
	END IF;
	RETURN QUERY
		SELECT evq_router.shard_of_permit(e.permit), array_agg(e.event_id), array_agg(evq_router.shard_permit(e.permit))
		FROM unnest(event_ids, permits) AS e (event_id, permit) GROUP BY 1 ORDER BY 1;
END
$$;
COMMENT ON FUNCTION evq_router.by_shard(uuid[], bigint[]) IS 'Events and permits for each shard that they belong to. Errors: EQ006 bad argument';

CREATE FUNCTION evq_heartbeat(event_ids anycompatiblearray, permits bigint[], extend_by interval DEFAULT NULL,
	OUT event_id uuid, OUT held boolean, OUT cancel_requested boolean, OUT attempt_due_at timestamptz)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10
AS $$
DECLARE
	part record;
BEGIN
	FOR part IN SELECT * FROM evq_router.by_shard(event_ids::uuid[], permits) LOOP
		BEGIN
			RETURN QUERY SELECT h.* FROM evq_router.heartbeat(part.shard, part.event_ids_there, part.permits_there, extend_by) h;
		EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
			PERFORM evq_router.warn_of(part.shard, SQLSTATE, SQLERRM, 'it is not known whether its permits hold');
			RETURN QUERY SELECT e.*, NULL::boolean, NULL::boolean, NULL::timestamptz FROM unnest(part.event_ids_there) AS e;
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION evq_heartbeat(anycompatiblearray, bigint[], interval) IS
	'As on a shard, but in any order; held is NULL, with a WARNING, where the shard does not answer. Errors: EQ006 bad argument';

CREATE FUNCTION evq_succeed_many(event_ids anycompatiblearray, permits bigint[], OUT event_id uuid, OUT accepted boolean)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10
AS $$
DECLARE
	part record;
BEGIN
	FOR part IN SELECT * FROM evq_router.by_shard(event_ids::uuid[], permits) LOOP
		BEGIN
			RETURN QUERY SELECT s.* FROM evq_router.succeed_many(part.shard, part.event_ids_there, part.permits_there) s;
		EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
			PERFORM evq_router.warn_of(part.shard, SQLSTATE, SQLERRM, 'it is not known whether it has heard of its successes');
			RETURN QUERY SELECT e.*, NULL::boolean FROM unnest(part.event_ids_there) AS e;
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION evq_succeed_many(anycompatiblearray, bigint[]) IS
$$As on a shard, but in any order and one transaction a shard; accepted is NULL, with a WARNING, where the shard does not answer:
report these again. Errors: EQ006 bad argument.$$;

CREATE FUNCTION evq_fail_many(event_ids anycompatiblearray, permits bigint[], error_message text, retryable boolean DEFAULT true,
	OUT event_id uuid, OUT accepted boolean, OUT state evq.event_state)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10
AS $$
DECLARE
	part record;
BEGIN
	FOR part IN SELECT * FROM evq_router.by_shard(event_ids::uuid[], permits) LOOP
		BEGIN
			RETURN QUERY SELECT f.* FROM evq_router.fail_many(part.shard, part.event_ids_there, part.permits_there, error_message, retryable) f;
		EXCEPTION WHEN internal_error OR SQLSTATE '57P01' OR SQLSTATE '57P02' OR SQLSTATE '57P03' THEN
			PERFORM evq_router.warn_of(part.shard, SQLSTATE, SQLERRM, 'it is not known whether it has heard of its failures');
			RETURN QUERY SELECT e.*, NULL::boolean, NULL::evq.event_state FROM unnest(part.event_ids_there) AS e;
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION evq_fail_many(anycompatiblearray, bigint[], text, boolean) IS
	'As on a shard, but in any order; accepted is NULL, with a WARNING, where the shard does not answer. Errors: EQ006 bad argument';

CREATE FUNCTION evq_succeed_and_acquire(flow_type text, event_ids anycompatiblearray, permits bigint[], max_events bigint DEFAULT 1,
	event_types text[] DEFAULT NULL, worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 1
AS $$
DECLARE
	lost uuid;
BEGIN
	FOR lost IN SELECT s.event_id FROM evq_succeed_many(event_ids, permits) s WHERE NOT s.accepted LOOP
		RAISE WARNING 'permit for event % is lost', lost USING ERRCODE = 'EQ004';
	END LOOP;
	RETURN QUERY SELECT * FROM evq_acquire_next(flow_type, max_events, event_types, worker, permit_for);
END
$$;
COMMENT ON FUNCTION evq_succeed_and_acquire(text, anycompatiblearray, bigint[], bigint, text[], text, interval) IS
	'evq_succeed_many(), then evq_acquire_next(), with the WARNINGs of both; not one transaction, as on a shard it is. Errors: as evq_acquire_next';
