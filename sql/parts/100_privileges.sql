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

REVOKE ALL ON TYPE evq.event_state, evq.acquired, evq.acquired_batch, evq.pending_event, evq.finding, evq_http.mcp_tool FROM PUBLIC;
GRANT USAGE ON TYPE evq.event_state, evq.acquired, evq.acquired_batch, evq.pending_event, evq_http.mcp_tool TO evq_publisher, evq_worker, evq_operator, evq_monitor;
GRANT USAGE ON SCHEMA evq, evq_http TO evq_publisher, evq_worker, evq_operator, evq_monitor;

GRANT EXECUTE ON FUNCTION
	@extschema@.evq_publish(text, text, text, anycompatible, text, timestamptz, bigint, text, anycompatible, text),
	@extschema@.evq_publish(text, text, anynonarray, anycompatible, text, timestamptz, bigint, text, anycompatible, text),
	@extschema@.evq_publish_many(anycompatible),
	@extschema@.evq_publish_many(text, text, text, anycompatiblearray, timestamptz, bigint, text[]),
	@extschema@.evq_publish_many(text, text, anyarray, anycompatiblearray, timestamptz, bigint, text[]),
	evq.publish_many(jsonb)
TO evq_publisher, evq_operator;

GRANT EXECUTE ON FUNCTION
	@extschema@.evq_acquire(uuid, text, interval),
	@extschema@.evq_acquire_next(text, bigint, text[], text, interval),
	@extschema@.evq_acquire_next(text[], bigint, text[], text, interval, bigint[]),
	@extschema@.evq_heartbeat(anycompatiblearray, bigint[], interval),
	@extschema@.evq_succeed(uuid, bigint, anycompatible, anycompatible),
	@extschema@.evq_succeed_many(anycompatiblearray, bigint[]),
	@extschema@.evq_succeed_and_acquire(text, anycompatiblearray, bigint[], bigint, text[], text, interval),
	@extschema@.evq_fail(uuid, text, bigint, text, boolean, interval),
	@extschema@.evq_fail_many(anycompatiblearray, bigint[], text, boolean),
	@extschema@.evq_snooze(uuid, bigint, timestamptz),
	@extschema@.evq_release(uuid, bigint),
	@extschema@.evq_suspend(uuid, bigint, interval),
	@extschema@.evq_acquire_batch(text, bigint, text[], text, interval),
	@extschema@.evq_succeed_batch(text, anycompatiblearray),
	@extschema@.evq_succeed_batch_and_acquire(text, text, bigint, text[], text, interval, anycompatiblearray),
	@extschema@.evq_fail_batch(text, text, anycompatiblearray, boolean),
	@extschema@.evq_heartbeat_batch(text, interval),
	@extschema@.evq_release_batch(text),
	@extschema@.evq_batch_permits(text),
	evq.heartbeat(uuid[], bigint[], interval),
	evq.succeed(uuid, bigint, jsonb, jsonb),
	evq.succeed_batch(text, uuid[]),
	evq.fail_batch(text, text, uuid[], boolean),
	evq.events_of_batch(evq.acquired_batch),
	evq.read_batch_report(text, text, boolean),
	evq.succeed_batch_and_acquire(text, text, bigint, text[], text, interval, uuid[]),
	evq.are_held(uuid[], bigint[])
TO evq_worker, evq_operator;

GRANT EXECUTE ON FUNCTION
	@extschema@.evq_activate(uuid, anycompatible, anycompatible, bigint),
	evq.activate(uuid, jsonb, jsonb, bigint)
TO evq_publisher, evq_worker, evq_operator;

GRANT EXECUTE ON FUNCTION
	@extschema@.evq_cancel(uuid, text),
	@extschema@.evq_retry(uuid),
	@extschema@.evq_redrive(text, timestamptz, bigint),
	@extschema@.evq_configure_flow(text, text, int, int, interval, text, boolean, boolean, text, int, numeric, interval, int, numeric, interval, int, boolean, interval),
	@extschema@.evq_configure_group(text, text, int, numeric, interval, int, int),
	@extschema@.evq_configure_limit(text, int, numeric, interval, int, boolean),
	@extschema@.evq_drop_limit(text),
	@extschema@.evq_configure(text, text, int, interval, anycompatiblearray, float8, interval, float8, interval, text, text, int, int, interval, text[], int),
	evq.configure(text, text, int, interval, interval[], float8, interval, float8, interval, text, text, int, int, interval, text[], int),
	@extschema@.evq_pause_flow(text, timestamptz, text),
	@extschema@.evq_resume_flow(text),
	@extschema@.evq_pause_group(text, text, timestamptz, text),
	@extschema@.evq_resume_group(text, text),
	@extschema@.evq_suspend_event_type(text),
	@extschema@.evq_unsuspend_event_type(text),
	@extschema@.evq_drop_event_type(text),
	@extschema@.evq_pause(text),
	@extschema@.evq_resume(),
	@extschema@.evq_purge(),
	@extschema@.evq_schedule(text, text, text, text, text, anycompatible, text, bigint, text, boolean, text, text, text),
	@extschema@.evq_schedule(text, text, text, text, anynonarray, anycompatible, text, bigint, text, boolean, text, text, text),
	@extschema@.evq_unschedule(text, boolean),
	@extschema@.evq_pause_schedule(text),
	@extschema@.evq_resume_schedule(text),
	@extschema@.evq_run_schedule(text),
	evq.run_due_schedule(text),
	evq.catch_up_schedules(),
	@extschema@.evq_event(uuid),
	@extschema@.evq_tick()
TO evq_operator;
GRANT SELECT ON evq.events, evq.payloads, evq.errors, evq.audit TO evq_operator;
GRANT EXECUTE ON FUNCTION evq.events_by_id(uuid[]), evq.payloads_by_id(uuid[]) TO evq_operator;
-- What evq.errors calls.
GRANT EXECUTE ON FUNCTION evq.finished_events(uuid[]) TO evq_operator;

GRANT EXECUTE ON FUNCTION
	@extschema@.evq_pending(text, bigint),
	@extschema@.evq_counts(text),
	evq.counts(text, boolean),
	evq.is_due_line_longer(text, bigint),
	@extschema@.evq_status(),
	@extschema@.evq_watch(interval),
	@extschema@.evq_version(),
	evq.transitions(),
	evq.state_name("char"),
	evq.ordinal(uuid),
	evq.id_in_batch(uuid, int)
TO evq_worker, evq_operator, evq_monitor;
GRANT EXECUTE ON FUNCTION @extschema@.evq_metrics(), evq.counters(), @extschema@.evq_check(interval) TO evq_operator, evq_monitor;
GRANT SELECT ON evq.flows, evq.event_types TO evq_publisher, evq_worker, evq_operator, evq_monitor;
GRANT SELECT ON evq.transition, evq.queue, evq.workers, evq.schedules, evq.restrictions, evq.blocked_flows, evq.limits, evq.groups TO evq_operator, evq_monitor;
-- What these views call.
GRANT EXECUTE ON FUNCTION
	evq.queues(),
	evq.holders(),
	evq.blocks(),
	evq.group_usage(),
	evq.limits_in_use(),
	evq.state_of(uuid),
	evq.cron_fields(text),
	evq.cron_next(text, timestamptz),
	evq.cron_previous(text, timestamptz),
	evq.cron_count(text, timestamptz, timestamptz),
	evq.cron_next(text, timestamptz, text),
	evq.cron_previous(text, timestamptz, text),
	evq.cron_count(text, timestamptz, timestamptz, text),
	evq.cron_failures(),
	evq.clock_now()
TO evq_operator, evq_monitor;

-- The routes of the HTTP gateway: to whoever may call what they call.
GRANT EXECUTE ON FUNCTION
	evq_http.publish(text, jsonb, jsonb, jsonb),
	evq_http.publish_batch(text, jsonb, jsonb, jsonb),
	evq_http.publish_each(jsonb[], text[])
TO evq_publisher, evq_operator;
GRANT EXECUTE ON FUNCTION
	evq_http.acquire(text, jsonb, jsonb, jsonb),
	evq_http.acquire_next(text, jsonb, jsonb, jsonb),
	evq_http.acquire_of_flows(text, jsonb, jsonb, jsonb),
	evq_http.acquire_batch(text, jsonb, jsonb, jsonb),
	evq_http.succeed_batch(text, jsonb, jsonb, jsonb),
	evq_http.lost_of_success(jsonb),
	evq_http.fail_batch(text, jsonb, jsonb, jsonb),
	evq_http.heartbeat_batch(text, jsonb, jsonb, jsonb),
	evq_http.release_batch(text, jsonb, jsonb, jsonb),
	evq_http.wait_of(jsonb),
	evq_http.waiting_for(text[], text[], interval),
	evq_http.succeed(text, jsonb, jsonb, jsonb),
	evq_http.fail(text, jsonb, jsonb, jsonb),
	evq_http.heartbeat(text, jsonb, jsonb, jsonb),
	evq_http.snooze(text, jsonb, jsonb, jsonb),
	evq_http.release(text, jsonb, jsonb, jsonb),
	evq_http.suspend(text, jsonb, jsonb, jsonb)
TO evq_worker, evq_operator;
GRANT EXECUTE ON FUNCTION evq_http.activate(text, jsonb, jsonb, jsonb) TO evq_publisher, evq_worker, evq_operator;
GRANT EXECUTE ON FUNCTION
	evq_http.cancel(text, jsonb, jsonb, jsonb),
	evq_http.retry(text, jsonb, jsonb, jsonb),
	evq_http.event(text, jsonb, jsonb, jsonb),
	evq_http.events(text, jsonb, jsonb, jsonb),
	evq_http.errors(text, jsonb, jsonb, jsonb),
	evq_http.configure(text, jsonb, jsonb, jsonb),
	evq_http.configure_flow(text, jsonb, jsonb, jsonb),
	evq_http.pause_flow(text, jsonb, jsonb, jsonb),
	evq_http.resume_flow(text, jsonb, jsonb, jsonb),
	evq_http.flow_named(text),
	evq_http.configure_group(text, jsonb, jsonb, jsonb),
	evq_http.pause_group(text, jsonb, jsonb, jsonb),
	evq_http.resume_group(text, jsonb, jsonb, jsonb),
	evq_http.suspend_event_type(text, jsonb, jsonb, jsonb),
	evq_http.unsuspend_event_type(text, jsonb, jsonb, jsonb),
	evq_http.pause_schedule(text, jsonb, jsonb, jsonb),
	evq_http.resume_schedule(text, jsonb, jsonb, jsonb),
	evq_http.run_schedule(text, jsonb, jsonb, jsonb),
	evq_http.schedule_named(text)
TO evq_operator;
GRANT EXECUTE ON FUNCTION
	evq_http.groups(text, jsonb, jsonb, jsonb),
	evq_http.group_named(text, text),
	evq_http.schedules(text, jsonb, jsonb, jsonb),
	evq_http.schedule_of(evq.schedules)
TO evq_operator, evq_monitor;
GRANT EXECUTE ON FUNCTION
	evq_http.pending(text, jsonb, jsonb, jsonb),
	evq_http.counts(text, jsonb, jsonb, jsonb),
	evq_http.health(text, jsonb, jsonb, jsonb)
TO evq_worker, evq_operator, evq_monitor;
GRANT EXECUTE ON FUNCTION
	evq_http.rights(text, jsonb, jsonb, jsonb),
	evq_http.operations(),
	evq.caller_may_publish(text),
	evq.caller_may_work(text),
	evq_http.flows(text, jsonb, jsonb, jsonb),
	evq_http.event_types(text, jsonb, jsonb, jsonb)
TO evq_publisher, evq_worker, evq_operator, evq_monitor;
GRANT EXECUTE ON FUNCTION
	evq_http.object_of(jsonb, text[]),
	evq_http.refuse(text, text),
	evq_http.text_of(jsonb, text),
	evq_http.texts_of(jsonb, text),
	evq_http.integers_of(jsonb, text),
	evq_http.integer_of(jsonb, text, bigint, bigint),
	evq_http.permit_of(jsonb),
	evq_http.number_of(jsonb, text),
	evq_http.boolean_of(jsonb, text),
	evq_http.duration_of(jsonb, text),
	evq_http.durations_of(jsonb, text),
	evq_http.time_of(jsonb, text),
	evq_http.id_of(text, text),
	evq_http.limit_of(jsonb),
	evq_http.status_of(evq.event_state),
	evq_http.row_of(jsonb),
	evq_http.acknowledged(evq.event_state),
	evq_http.search_of(text),
	evq_http.states_of(text[]),
	evq_http.configured(text)
TO evq_publisher, evq_worker, evq_operator, evq_monitor;

-- These run with the caller's rights, so that each tool is for those who may call what it calls.
GRANT EXECUTE ON FUNCTION
	evq_http.mcp(jsonb, text, boolean),
	evq_http.mcp_respond(jsonb, jsonb, boolean),
	evq_http.mcp_result(text, jsonb, boolean, boolean),
	evq_http.mcp_modern_refusal(jsonb, text, jsonb, jsonb),
	evq_http.mcp_unsupported_version(jsonb, text),
	evq_http.mcp_error(jsonb, int, text, json),
	evq_http.mcp_versions(),
	evq_http.mcp_tools_list(boolean),
	evq_http.mcp_tools_call(jsonb, boolean),
	evq_http.mcp_resources_list(text),
	evq_http.mcp_resource_templates_list(),
	evq_http.mcp_resources_read(text),
	evq_http.mcp_tools(boolean),
	evq_http.mcp_may_use(evq_http.mcp_tool),
	evq_http.mcp_worker_tools(),
	evq_http.mcp_operator_tools(),
	evq_http.mcp_reading_tools(),
	evq_http.mcp_violation(jsonb, jsonb, text),
	evq_http.mcp_queues()
TO evq_publisher, evq_worker, evq_operator, evq_monitor;

-- A schema that was made for evq may be closed to PUBLIC, and so may public.
DO $$
DECLARE
	target oid := (SELECT x.extnamespace FROM pg_extension x WHERE x.extname = 'evq');
	role_name name;
BEGIN
	FOREACH role_name IN ARRAY ARRAY['evq_publisher', 'evq_worker', 'evq_operator', 'evq_monitor', 'evq_restricted_publisher', 'evq_restricted_worker']
	LOOP
		IF NOT pg_catalog.has_schema_privilege(role_name, target, 'USAGE') THEN
			GRANT USAGE ON SCHEMA @extschema@ TO evq_publisher, evq_worker, evq_operator, evq_monitor, evq_restricted_publisher, evq_restricted_worker;
		END IF;
	END LOOP;
END
$$;

-- Restricted roles, see 072_restrict, may call what others may; on which events is judged there.
DO $$
DECLARE
	restricted record;
	target text;
BEGIN
	FOR restricted IN SELECT * FROM (VALUES ('evq_publisher', 'evq_restricted_publisher'), ('evq_worker', 'evq_restricted_worker')) r(free, restricted)
	LOOP
		FOR target IN
			SELECT CASE d.classid WHEN 'pg_catalog.pg_proc'::regclass THEN 'EXECUTE ON FUNCTION ' || d.objid::regprocedure
				WHEN 'pg_catalog.pg_type'::regclass THEN 'USAGE ON TYPE ' || d.objid::regtype
				WHEN 'pg_catalog.pg_namespace'::regclass THEN 'USAGE ON SCHEMA ' || d.objid::regnamespace
				ELSE 'SELECT ON ' || d.objid::regclass END
			FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq'
			WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e' AND EXISTS (
				SELECT FROM pg_catalog.aclexplode(CASE d.classid
					WHEN 'pg_catalog.pg_proc'::regclass THEN (SELECT p.proacl FROM pg_catalog.pg_proc p WHERE p.oid = d.objid)
					WHEN 'pg_catalog.pg_type'::regclass THEN (SELECT t.typacl FROM pg_catalog.pg_type t WHERE t.oid = d.objid)
					WHEN 'pg_catalog.pg_namespace'::regclass THEN (SELECT n.nspacl FROM pg_catalog.pg_namespace n WHERE n.oid = d.objid)
					WHEN 'pg_catalog.pg_class'::regclass THEN (SELECT c.relacl FROM pg_catalog.pg_class c WHERE c.oid = d.objid) END) a
				WHERE a.grantee = restricted.free::regrole)
		LOOP
			EXECUTE pg_catalog.format('GRANT %s TO %I', target, restricted.restricted);
		END LOOP;
	END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION @extschema@.evq_watch(interval) FROM evq_restricted_worker;
