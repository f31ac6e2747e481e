-- Nothing is executable or readable by PUBLIC; nobody but the owner touches a base table.

DO $$
DECLARE
	routine regprocedure;
BEGIN
	FOR routine IN
		SELECT d.objid::regprocedure FROM pg_catalog.pg_depend d
		JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq'
		WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
	END LOOP;
END
$$;

REVOKE ALL ON TYPE evq.event_state, evq.acquired, evq.pending_event FROM PUBLIC;
GRANT USAGE ON TYPE evq.event_state, evq.acquired, evq.pending_event TO evq_publisher, evq_worker, evq_operator, evq_monitor;
GRANT USAGE ON SCHEMA evq TO evq_publisher, evq_worker, evq_operator, evq_monitor;

GRANT EXECUTE ON FUNCTION
	evq_publish(text, text, text, jsonb, text, timestamptz, smallint, text, jsonb),
	evq_publish_many(jsonb),
	evq_publish_many(text, text, text[], jsonb[], timestamptz, smallint)
TO evq_publisher, evq_operator;

GRANT EXECUTE ON FUNCTION
	evq_acquire(uuid, text, interval),
	evq_acquire_next(text, int, text[], text, interval),
	evq_heartbeat(uuid[], bigint[], interval),
	evq_succeed(uuid, bigint, jsonb, jsonb),
	evq_succeed_many(uuid[], bigint[]),
	evq_succeed_and_acquire(text, uuid[], bigint[], int, text[], text, interval),
	evq_fail(uuid, text, bigint, text, boolean, interval),
	evq_fail_many(uuid[], bigint[], text, boolean),
	evq_snooze(uuid, bigint, timestamptz),
	evq_release(uuid, bigint),
	evq_suspend(uuid, bigint, interval)
TO evq_worker, evq_operator;

GRANT EXECUTE ON FUNCTION evq_activate(uuid, jsonb) TO evq_publisher, evq_worker, evq_operator;

GRANT EXECUTE ON FUNCTION
	evq_cancel(uuid, text),
	evq_retry(uuid),
	evq_redrive(text, timestamptz, int),
	evq_configure_flow(text, text, int, int, interval, text, boolean, boolean),
	evq_configure(text, text, int, interval, interval[], float8, interval, float8, interval, text, text, int, int, interval),
	evq_suspend_event_type(text),
	evq_unsuspend_event_type(text),
	evq_drop_event_type(text),
	evq_event(uuid),
	evq_tick()
TO evq_operator;
GRANT SELECT ON evq.events, evq.errors TO evq_operator;

GRANT EXECUTE ON FUNCTION
	evq_pending(text, int),
	evq_counts(text),
	evq_status(),
	evq_version(),
	evq.transitions(),
	evq.state_name("char")
TO evq_worker, evq_operator, evq_monitor;
GRANT SELECT ON evq.transition, evq.queue, evq.workers TO evq_operator, evq_monitor;
