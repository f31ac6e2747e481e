-- As on a shard: nothing for PUBLIC, the four roles what they may do there. The shards check the roles of the user mapping.

DO $$
DECLARE
	name text;
	routine regprocedure;
BEGIN
	FOREACH name IN ARRAY ARRAY['evq_publisher', 'evq_worker', 'evq_operator', 'evq_monitor'] LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) THEN
			EXECUTE format('CREATE ROLE %I NOLOGIN', name);
		END IF;
	END LOOP;
	FOR routine IN
		SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
		WHERE n.nspname = 'evq_router' OR n.nspname = 'public' AND p.proname LIKE 'evq\_%'
	LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
	END LOOP;
END
$$;

GRANT USAGE ON SCHEMA evq, evq_router TO evq_publisher, evq_worker, evq_operator, evq_monitor;
GRANT SELECT ON evq_router.hold TO evq_publisher, evq_worker, evq_operator, evq_monitor;
GRANT EXECUTE ON FUNCTION
	evq_router.shard_count(), evq_router.shard_of(text), evq_router.shards_to_ask(text), evq_router.permit(int, bigint),
	evq_router.shard_permit(bigint), evq_router.shard_of_permit(bigint, text), evq_router.by_shard(uuid[], bigint[]),
	evq_router.is_lost(text, text), evq_router.complain(int, text, text), evq_router.warn_of(int, text, text, text),
	evq_router.avoid(int), evq_router.is_avoided(int), evq_router.ping(int), evq_router.check_shard(int),
	evq_router.ask_for(uuid, text, text, text), evq_router.require_mapping(), evq_router.target(int), evq_router.is_held(),
	evq_router.enter(), evq_router.shard_for(text), evq_router.shard_for_report(bigint, text), evq_router.json_of(anyelement, text)
TO evq_publisher, evq_worker, evq_operator, evq_monitor;

-- The calls to a shard, to the roles whose functions need them.
DO $$
DECLARE
	routine record;
BEGIN
	FOR routine IN
		SELECT p.oid::regprocedure AS signature, CASE
			WHEN p.proname IN ('publish', 'publish_many') THEN 'evq_publisher, evq_operator'
			WHEN p.proname = 'activate' THEN 'evq_publisher, evq_worker, evq_operator'
			WHEN p.proname IN ('cancel', 'retry', 'event') THEN 'evq_operator'
			WHEN p.proname = 'counts' THEN 'evq_worker, evq_operator, evq_monitor'
			WHEN p.proname = 'status' THEN 'evq_operator, evq_monitor'
			ELSE 'evq_worker, evq_operator' END AS roles
		FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
		WHERE p.pronamespace = 'evq_router'::regnamespace
			AND l.lanname = 'plproxy' AND p.proname <> 'ping'
	LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', routine.signature, routine.roles);
	END LOOP;
END
$$;

GRANT EXECUTE ON FUNCTION
	evq_publish(text, text, text, anycompatible, text, timestamptz, bigint, text, anycompatible, text),
	evq_publish(text, text, anynonarray, anycompatible, text, timestamptz, bigint, text, anycompatible, text),
	evq_publish_many(anycompatible),
	evq_publish_many(text, text, text, anycompatiblearray, timestamptz, bigint, text[]),
	evq_publish_many(text, text, anyarray, anycompatiblearray, timestamptz, bigint, text[])
TO evq_publisher, evq_operator;

GRANT EXECUTE ON FUNCTION
	evq_acquire(uuid, text, interval, text),
	evq_acquire_next(text, bigint, text[], text, interval),
	evq_succeed_and_acquire(text, anycompatiblearray, bigint[], bigint, text[], text, interval),
	evq_heartbeat(anycompatiblearray, bigint[], interval),
	evq_succeed(uuid, bigint, anycompatible, anycompatible, text),
	evq_succeed_many(anycompatiblearray, bigint[]),
	evq_fail(uuid, text, bigint, text, boolean, interval, text),
	evq_fail_many(anycompatiblearray, bigint[], text, boolean),
	evq_snooze(uuid, bigint, timestamptz),
	evq_release(uuid, bigint),
	evq_suspend(uuid, bigint, interval)
TO evq_worker, evq_operator;

GRANT EXECUTE ON FUNCTION evq_activate(uuid, anycompatible, anycompatible, bigint, text) TO evq_publisher, evq_worker, evq_operator;
GRANT EXECUTE ON FUNCTION evq_cancel(uuid, text, text), evq_retry(uuid, text), evq_event(uuid, text) TO evq_operator;
GRANT EXECUTE ON FUNCTION evq_counts(text), evq_router.count_all(text) TO evq_worker, evq_operator, evq_monitor;
GRANT EXECUTE ON FUNCTION evq_shards() TO evq_operator, evq_monitor;
