-- The calls to a shard, each by its number. What they run commits there at once.

CREATE FUNCTION evq_router.ping(shard int) RETURNS text LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT public.evq_version(); $$;

CREATE FUNCTION evq_router.check_shard(shard int) RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	RETURN evq_router.ping(shard);
EXCEPTION WHEN OTHERS THEN
	PERFORM evq_router.complain(shard, SQLSTATE, SQLERRM);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION evq_router.check_shard(int) IS 'The version of evq on a shard. Errors: 08001 it cannot be reached';

CREATE FUNCTION evq_router.publish(shard int, event_type text, flow_type text, flow_id text, payload jsonb, on_fail_event_type text,
	run_at timestamptz, priority bigint, idempotency_key text, headers jsonb, group_key text)
RETURNS uuid LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT public.evq_publish($2, $3, $4, $5, $6, $7, $8, $9, $10, $11); $$;

CREATE FUNCTION evq_router.publish_many(shard int, events jsonb) RETURNS SETOF uuid LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT public.evq_publish_many($2); $$;

CREATE FUNCTION evq_router.acquire(shard int, event_id uuid, worker text, permit_for interval)
RETURNS SETOF evq.acquired LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT * FROM public.evq_acquire($2, $3, $4); $$;

CREATE FUNCTION evq_router.acquire_next(shard int, flow_type text, max_events bigint, event_types text[], worker text, permit_for interval)
RETURNS SETOF evq.acquired LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT * FROM public.evq_acquire_next($2, $3, $4, $5, $6); $$;

CREATE FUNCTION evq_router.heartbeat(shard int, event_ids uuid[], permits bigint[], extend_by interval,
	OUT event_id uuid, OUT held boolean, OUT cancel_requested boolean, OUT attempt_due_at timestamptz)
RETURNS SETOF record LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT * FROM public.evq_heartbeat($2, $3, $4); $$;

CREATE FUNCTION evq_router.succeed(shard int, event_id uuid, permit bigint, result jsonb, spinoffs jsonb) RETURNS uuid[] LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT public.evq_succeed($2, $3, $4, $5); $$;

CREATE FUNCTION evq_router.succeed_many(shard int, event_ids uuid[], permits bigint[], OUT event_id uuid, OUT accepted boolean)
RETURNS SETOF record LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT * FROM public.evq_succeed_many($2, $3); $$;

CREATE FUNCTION evq_router.fail(shard int, event_id uuid, error_message text, permit bigint, stack_trace text, retryable boolean, retry_in interval)
RETURNS evq.event_state LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT public.evq_fail($2, $3, $4, $5, $6, $7); $$;

CREATE FUNCTION evq_router.fail_many(shard int, event_ids uuid[], permits bigint[], error_message text, retryable boolean,
	OUT event_id uuid, OUT accepted boolean, OUT state evq.event_state)
RETURNS SETOF record LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT * FROM public.evq_fail_many($2, $3, $4, $5); $$;

CREATE FUNCTION evq_router.snooze(shard int, event_id uuid, permit bigint, run_at timestamptz) RETURNS text LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT public.evq_snooze($2, $3, $4)::text; $$;

CREATE FUNCTION evq_router.release(shard int, event_id uuid, permit bigint) RETURNS text LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT public.evq_release($2, $3)::text; $$;

CREATE FUNCTION evq_router.suspend(shard int, event_id uuid, permit bigint, timeout interval) RETURNS timestamptz LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT public.evq_suspend($2, $3, $4); $$;

-- What evq_router.ask_for() calls: all of one form.
CREATE FUNCTION evq_router.activate(shard int, event_id uuid, arguments text) RETURNS text LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard);
	SELECT public.evq_activate($2, nullif(a.given -> 'payload_patch', 'null'), nullif(a.given -> 'answer', 'null'), (a.given ->> 'permit')::bigint)::text
	FROM (SELECT $3::jsonb) a (given); $$;

CREATE FUNCTION evq_router.cancel(shard int, event_id uuid, reason text) RETURNS text LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT public.evq_cancel($2, $3)::text; $$;

CREATE FUNCTION evq_router.retry(shard int, event_id uuid, nothing text) RETURNS text LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT public.evq_retry($2)::text; $$;

CREATE FUNCTION evq_router.event(shard int, event_id uuid, nothing text) RETURNS text LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT public.evq_event($2)::text; $$;

CREATE FUNCTION evq_router.counts(shard int, wanted_flow text,
	OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint)
RETURNS SETOF record LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT * FROM public.evq_counts($2); $$;

CREATE FUNCTION evq_router.status(shard int, OUT running boolean, OUT problem text) RETURNS record LANGUAGE plproxy
AS $$ CLUSTER 'evq'; RUN ON evq_router.target(shard); SELECT s.running, s.problem FROM public.evq_status() s; $$;

DO $$
DECLARE
	routine record;
BEGIN
	FOR routine IN
		SELECT p.oid::regprocedure AS signature, p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
		WHERE l.lanname = 'plproxy' AND p.pronamespace = 'evq_router'::regnamespace
	LOOP
		EXECUTE format('COMMENT ON FUNCTION %s IS %L', routine.signature,
			CASE WHEN routine.proname = 'ping' THEN 'evq_version() of a shard' ELSE format('evq_%s() on a shard, by its number', routine.proname) END);
	END LOOP;
END
$$;
