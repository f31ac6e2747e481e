-- Who may do what. Nothing is for PUBLIC; each role has its list; only the owner touches the tables.
BEGIN;
SELECT * FROM no_plan();

CREATE TEMP VIEW members AS
SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
WHERE x.extname = 'evq' AND d.deptype = 'e';
CREATE TEMP VIEW functions AS
SELECT p.oid, p.oid::regprocedure::text AS signature, CASE p.pronamespace WHEN 'evq_http'::regnamespace THEN 'evq_http.' ELSE '' END || p.proname AS proname, p.proargtypes FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;
CREATE TEMP VIEW relations AS
SELECT c.oid, c.oid::regclass::text AS name, c.relkind, c.relispartition, c.relacl, c.relowner FROM pg_class c
WHERE c.relnamespace = 'evq'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S');
CREATE ROLE evq_test_nobody;
CREATE ROLE evq_test_somebody;

-- Runs a statement as a role, takes back what it did, and tells how it ended.
CREATE FUNCTION pg_temp.as_role(role name, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE statement;
	RAISE EXCEPTION USING ERRCODE = 'P0000';
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN 'P0000' THEN 'done' ELSE SQLSTATE END;
END
$$;

-- PUBLIC.  Types of arrays and of tables' rows, members of an extension since PostgreSQL 17, give nothing away.
SELECT is_empty(
	$$SELECT signature FROM functions JOIN pg_proc USING (oid), aclexplode(coalesce(proacl, acldefault('f', proowner))) a WHERE a.grantee = 0$$,
	'no function for PUBLIC');
SELECT is_empty(
	$$SELECT name FROM relations, aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) a WHERE a.grantee = 0$$,
	'no relation for PUBLIC');
SELECT is_empty($$SELECT FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a WHERE nspname IN ('evq', 'evq_http') AND a.grantee = 0$$,
	'no schema for PUBLIC');
SELECT is_empty(
	$$SELECT t.oid::regtype FROM pg_type t JOIN members ON classid = 'pg_type'::regclass AND objid = t.oid
	  LEFT JOIN pg_class c ON c.oid = t.typrelid CROSS JOIN aclexplode(coalesce(typacl, acldefault('T', typowner))) a
	  WHERE a.grantee = 0 AND t.typcategory <> 'A' AND coalesce(c.relkind, 'c') = 'c'$$,
	'no type for PUBLIC');

-- Each role's functions.
CREATE TEMP TABLE granted (proname text, publisher bool, worker bool, operator bool, monitor bool);
INSERT INTO granted VALUES
	('evq_publish', true, false, true, false),
	('evq_publish_many', true, false, true, false),
	('publish', false, false, false, false),
	('publish_many', true, false, true, false),
	('heartbeat', false, true, true, false),
	('succeed', false, true, true, false),
	('activate', true, true, true, false),
	('configure', false, false, true, false),
	('evq_acquire', false, true, true, false),
	('evq_acquire_next', false, true, true, false),
	('evq_heartbeat', false, true, true, false),
	('evq_succeed', false, true, true, false),
	('evq_succeed_many', false, true, true, false),
	('evq_succeed_and_acquire', false, true, true, false),
	('evq_acquire_batch', false, true, true, false),
	('evq_succeed_batch', false, true, true, false),
	('evq_succeed_batch_and_acquire', false, true, true, false),
	('evq_fail_batch', false, true, true, false),
	('evq_heartbeat_batch', false, true, true, false),
	('evq_release_batch', false, true, true, false),
	('evq_batch_permits', false, true, true, false),
	('events_of_batch', false, true, true, false),
	('read_batch_report', false, true, true, false),
	('succeed_batch_and_acquire', false, true, true, false),
	('succeed_batch', false, true, true, false),
	('fail_batch', false, true, true, false),
	('evq_fail', false, true, true, false),
	('evq_fail_many', false, true, true, false),
	('evq_snooze', false, true, true, false),
	('evq_release', false, true, true, false),
	('evq_suspend', false, true, true, false),
	('evq_activate', true, true, true, false),
	('evq_cancel', false, false, true, false),
	('evq_retry', false, false, true, false),
	('evq_redrive', false, false, true, false),
	('evq_pause', false, false, true, false),
	('evq_resume', false, false, true, false),
	('evq_purge', false, false, true, false),
	('history_partitions', false, false, false, false),
	('first_id', false, false, false, false),
	('partition_name', false, false, false, false),
	('missing_partitions', false, false, false, false),
	('prepare_history', false, false, false, false),
	('look_for_leftovers', false, false, false, false),
	('drop_history', false, false, false, false),
	('thin_history', false, false, false, false),
	('thin_default_history', false, false, false, false),
	('delete_leftovers', false, false, false, false),
	('index_history', false, false, false, false),
	('log_partitions', false, false, false, false),
	('is_in_place', false, false, false, false),
	('find_places', false, false, false, false),
	('prepare_log', false, false, false, false),
	('note_log_types', false, false, false, false),
	('is_log_over', false, false, false, false),
	('look_for_batches', false, false, false, false),
	('drop_log', false, false, false, false),
	('thin_log', false, false, false, false),
	('thin_default_log', false, false, false, false),
	('delete_batch', false, false, false, false),
	('delete_batches', false, false, false, false),
	('renew_places', false, false, false, false),
	('summarize_log', false, false, false, false),
	('open_events', false, false, false, false),
	('missing_events', false, false, false, false),
	('check_log', false, false, false, false),
	('keep_house', false, false, false, false),
	('known_columns', false, false, false, false),
	('pause_changed', false, false, false, false),
	('keep_own', false, false, false, false),
	('evq_configure', false, false, true, false),
	('evq_configure_flow', false, false, true, false),
	('evq_pause_flow', false, false, true, false),
	('evq_resume_flow', false, false, true, false),
	('require_flow', false, false, false, false),
	('evq_pause_group', false, false, true, false),
	('evq_resume_group', false, false, true, false),
	('note_paused_groups', false, false, false, false),
	('forget_groups', false, false, false, false),
	('evq_configure_group', false, false, true, false),
	('evq_configure_limit', false, false, true, false),
	('evq_drop_limit', false, false, true, false),
	('require_limits', false, false, false, false),
	('check_costs', false, false, false, false),
	('burst_of', false, false, false, false),
	('evq_suspend_event_type', false, false, true, false),
	('evq_unsuspend_event_type', false, false, true, false),
	('evq_drop_event_type', false, false, true, false),
	('evq_schedule', false, false, true, false),
	('evq_unschedule', false, false, true, false),
	('evq_pause_schedule', false, false, true, false),
	('evq_resume_schedule', false, false, true, false),
	('evq_run_schedule', false, false, true, false),
	('run_due_schedule', false, false, true, false),
	('catch_up_schedules', false, false, true, false),
	('cron_fields', false, false, true, true),
	('cron_next', false, false, true, true),
	('cron_previous', false, false, true, true),
	('cron_count', false, false, true, true),
	('cron_failures', false, false, true, true),
	('clock_now', false, false, true, true),
	('cron_database', false, false, false, false),
	('job_name', false, false, false, false),
	('job_call', false, false, false, false),
	('job_removal_call', false, false, false, false),
	('dblink_function', false, false, false, false),
	('conninfo', false, false, false, false),
	('call_cron', false, false, false, false),
	('lock_schedule', false, false, false, false),
	('minute_now', false, false, false, false),
	('second_now', false, false, false, false),
	('slot_name', false, false, false, false),
	('is_at_work', false, false, false, false),
	('is_paused', false, false, false, false),
	('due_at', false, false, false, false),
	('cron_next_if_any', false, false, false, false),
	('ring_at', false, false, false, false),
	('ring_schedules', false, false, false, false),
	('engine_rings', false, false, false, false),
	('make_job', false, false, false, false),
	('jobs', false, false, false, false),
	('check_schedules', false, false, false, false),
	('schedules_changed', false, false, false, false),
	('publish_scheduled', false, false, false, false),
	('run_schedule', false, false, false, false),
	('evq_grant_worker', false, false, false, false),
	('evq_revoke_worker', false, false, false, false),
	('evq_grant_publisher', false, false, false, false),
	('evq_revoke_publisher', false, false, false, false),
	('change_restriction', false, false, false, false),
	('are_held', false, true, true, false),
	('caller_may_work', true, true, true, true),
	('caller_may_publish', true, true, true, true),
	('evq_check', false, false, true, true),
	('check_engine', false, false, false, false),
	('check_work', false, false, false, false),
	('expired_lately', false, false, false, false),
	('check_server', false, false, false, false),
	('check_tables', false, false, false, false),
	('check_privileges', false, false, false, false),
	('library_version', false, false, false, false),
	('timeline', false, false, false, false),
	('finished_events', false, false, true, false),
	('ordinal', false, true, true, true),
	('id_in_batch', false, true, true, true),
	('logged_events', false, false, false, false),
	('batch_events_by_id', false, false, false, false),
	('ids_in_batches', false, false, false, false),
	('may_be_of_batch', false, false, false, false),
	('live_counts', false, false, false, false),
	('first_in_line', false, false, false, false),
	('line', false, false, false, false),
	('survey', false, false, false, false),
	('counts', false, true, true, true),
	('is_due_line_longer', false, true, true, true),
	('queues', false, false, true, true),
	('holders', false, false, true, true),
	('group_usage', false, false, true, true),
	('limits_in_use', false, false, true, true),
	('blocks', false, false, true, true),
	('state_of', false, false, true, true),
	('named_events', false, false, false, false),
	('stream_of_events', false, false, false, false),
	('has_values', false, false, false, false),
	('id_time', false, false, false, false),
	('events_by_id', false, false, true, false),
	('payloads_by_id', false, false, true, false),
	('evq_event', false, false, true, false),
	('evq_tick', false, false, true, false),
	('evq_pending', false, true, true, true),
	('evq_counts', false, true, true, true),
	('evq_status', false, true, true, true),
	('evq_watch', false, true, true, true),
	('evq_version', false, true, true, true),
	('evq_http.mcp', true, true, true, true),
	('evq_http.mcp_respond', true, true, true, true),
	('evq_http.mcp_result', true, true, true, true),
	('evq_http.mcp_modern_refusal', true, true, true, true),
	('evq_http.mcp_unsupported_version', true, true, true, true),
	('evq_http.mcp_error', true, true, true, true),
	('evq_http.mcp_versions', true, true, true, true),
	('evq_http.mcp_tools_list', true, true, true, true),
	('evq_http.mcp_tools_call', true, true, true, true),
	('evq_http.mcp_resources_list', true, true, true, true),
	('evq_http.mcp_resource_templates_list', true, true, true, true),
	('evq_http.mcp_resources_read', true, true, true, true),
	('evq_http.mcp_tools', true, true, true, true),
	('evq_http.mcp_worker_tools', true, true, true, true),
	('evq_http.mcp_operator_tools', true, true, true, true),
	('evq_http.mcp_reading_tools', true, true, true, true),
	('evq_http.mcp_violation', true, true, true, true),
	('evq_http.mcp_queues', true, true, true, true),
	('evq_metrics', false, false, true, true),
	('counters', false, false, true, true),
	('samples', false, false, false, false),
	('label', false, false, false, false),
	('transitions', false, true, true, true),
	('state_name', false, true, true, true),
	('evq_http.publish', true, false, true, false),
	('evq_http.publish_batch', true, false, true, false), ('evq_http.publish_each', true, false, true, false),
	('evq_http.acquire', false, true, true, false),
	('evq_http.acquire_next', false, true, true, false),
	('evq_http.acquire_of_flows', false, true, true, false),
	('evq_http.acquire_batch', false, true, true, false),
	('evq_http.succeed_batch', false, true, true, false),
	('evq_http.lost_of_success', false, true, true, false),
	('evq_http.fail_batch', false, true, true, false),
	('evq_http.heartbeat_batch', false, true, true, false),
	('evq_http.release_batch', false, true, true, false),
	('evq_http.wait_of', false, true, true, false),
	('evq_http.waiting_for', false, true, true, false),
	('evq_http.succeed', false, true, true, false),
	('evq_http.fail', false, true, true, false),
	('evq_http.heartbeat', false, true, true, false),
	('evq_http.snooze', false, true, true, false),
	('evq_http.release', false, true, true, false),
	('evq_http.suspend', false, true, true, false),
	('evq_http.activate', true, true, true, false),
	('evq_http.cancel', false, false, true, false),
	('evq_http.retry', false, false, true, false),
	('evq_http.event', false, false, true, false),
	('evq_http.events', false, false, true, false),
	('evq_http.errors', false, false, true, false),
	('evq_http.configure', false, false, true, false),
	('evq_http.configure_flow', false, false, true, false),
	('evq_http.pause_flow', false, false, true, false),
	('evq_http.groups', false, false, true, true),
	('evq_http.group_named', false, false, true, true),
	('evq_http.configure_group', false, false, true, false),
	('evq_http.pause_group', false, false, true, false),
	('evq_http.resume_group', false, false, true, false),
	('evq_http.resume_flow', false, false, true, false),
	('evq_http.flow_named', false, false, true, false),
	('evq_http.suspend_event_type', false, false, true, false),
	('evq_http.unsuspend_event_type', false, false, true, false),
	('evq_http.pause_schedule', false, false, true, false),
	('evq_http.resume_schedule', false, false, true, false),
	('evq_http.run_schedule', false, false, true, false),
	('evq_http.schedule_named', false, false, true, false),
	('evq_http.schedules', false, false, true, true),
	('evq_http.schedule_of', false, false, true, true),
	('evq_http.pending', false, true, true, true),
	('evq_http.counts', false, true, true, true),
	('evq_http.health', false, true, true, true),
	('evq_http.flows', true, true, true, true),
	('evq_http.rights', true, true, true, true),
	('evq_http.operations', true, true, true, true),
	('evq_http.mcp_may_use', true, true, true, true),
	('evq_http.event_types', true, true, true, true),
	('evq_http.object_of', true, true, true, true),
	('evq_http.refuse', true, true, true, true),
	('evq_http.text_of', true, true, true, true),
	('evq_http.texts_of', true, true, true, true),
	('evq_http.integers_of', true, true, true, true),
	('evq_http.integer_of', true, true, true, true),
	('evq_http.permit_of', true, true, true, true),
	('evq_http.number_of', true, true, true, true),
	('evq_http.boolean_of', true, true, true, true),
	('evq_http.duration_of', true, true, true, true),
	('evq_http.durations_of', true, true, true, true),
	('evq_http.time_of', true, true, true, true),
	('evq_http.id_of', true, true, true, true),
	('evq_http.limit_of', true, true, true, true),
	('evq_http.status_of', true, true, true, true),
	('evq_http.row_of', true, true, true, true),
	('evq_http.acknowledged', true, true, true, true),
	('evq_http.search_of', true, true, true, true),
	('evq_http.states_of', true, true, true, true),
	('evq_http.configured', true, true, true, true),
	('configuration_changed', false, false, false, false),
	('announce_extension', false, false, false, false),
	('audit_retention', false, false, false, false),
	('keep_audit', false, false, false, false),
	('record', false, false, false, false),
	('settle_home', false, false, false, false),
	('record_change', false, false, false, false),
	('thin_audit', false, false, false, false),
	('schedule_arguments', false, false, false, false),
	('raise_bad_configuration', false, false, false, false),
	('attempts_that_fit', false, false, false, false),
	('warn_of_configuration', false, false, false, false),
	('forgets_keys', false, false, false, false),
	('shift_lifespan', false, false, false, false),
	('require_event_type', false, false, false, false);
SELECT set_eq($$SELECT DISTINCT proname FROM functions$$, $$SELECT proname FROM granted$$, 'the list below names every function');
SELECT is(
	(has_function_privilege('evq_publisher', oid, 'EXECUTE'), has_function_privilege('evq_worker', oid, 'EXECUTE'),
	 has_function_privilege('evq_operator', oid, 'EXECUTE'), has_function_privilege('evq_monitor', oid, 'EXECUTE')),
	(publisher, worker, operator, monitor), signature || ': publisher, worker, operator, monitor')
FROM functions JOIN granted USING (proname) ORDER BY signature;
SELECT is(
	(has_function_privilege('evq_restricted_publisher', oid, 'EXECUTE'), has_function_privilege('evq_restricted_worker', oid, 'EXECUTE')),
	(publisher, worker AND proname <> 'evq_watch'), signature || ': restricted publisher, restricted worker')
FROM functions JOIN granted USING (proname) ORDER BY signature;
SELECT is_empty(
	$$SELECT signature FROM functions JOIN pg_proc USING (oid), aclexplode(proacl) a
	  WHERE a.grantee <> proowner AND (a.is_grantable OR a.grantee::regrole::text NOT IN ('evq_publisher', 'evq_worker', 'evq_operator', 'evq_monitor', 'evq_restricted_publisher', 'evq_restricted_worker'))$$,
	'functions are granted to nobody else, and not to be granted on');

-- Tables and sequences: nobody but the owner; views: by list.
SELECT is_empty(
	$$SELECT name, a.grantee::regrole, a.privilege_type FROM relations, aclexplode(relacl) a WHERE relkind <> 'v' AND a.grantee <> relowner$$,
	'nobody but the owner has a right on a table or sequence');
SELECT is_empty(
	$$SELECT attrelid::regclass, attname FROM pg_attribute JOIN relations ON oid = attrelid WHERE attacl IS NOT NULL$$, 'nor on a column');
SELECT set_eq(
	$$SELECT name || ' ' || a.grantee::regrole || ' ' || a.privilege_type FROM relations, aclexplode(relacl) a WHERE relkind = 'v' AND a.grantee <> relowner$$,
	ARRAY['evq.flows evq_publisher SELECT', 'evq.flows evq_worker SELECT', 'evq.flows evq_operator SELECT', 'evq.flows evq_monitor SELECT',
		  'evq.event_types evq_publisher SELECT', 'evq.event_types evq_worker SELECT', 'evq.event_types evq_operator SELECT',
		  'evq.event_types evq_monitor SELECT',
		  'evq.flows evq_restricted_publisher SELECT', 'evq.flows evq_restricted_worker SELECT',
		  'evq.event_types evq_restricted_publisher SELECT', 'evq.event_types evq_restricted_worker SELECT',
		  'evq.events evq_operator SELECT', 'evq.payloads evq_operator SELECT', 'evq.errors evq_operator SELECT', 'evq.audit evq_operator SELECT',
		  'evq.transition evq_operator SELECT', 'evq.transition evq_monitor SELECT',
		  'evq.queue evq_operator SELECT', 'evq.queue evq_monitor SELECT',
		  'evq.workers evq_operator SELECT', 'evq.workers evq_monitor SELECT',
		  'evq.schedules evq_operator SELECT', 'evq.schedules evq_monitor SELECT',
		  'evq.restrictions evq_operator SELECT', 'evq.restrictions evq_monitor SELECT',
		  'evq.blocked_flows evq_operator SELECT', 'evq.blocked_flows evq_monitor SELECT',
		  'evq.limits evq_operator SELECT', 'evq.limits evq_monitor SELECT', 'evq.groups evq_operator SELECT', 'evq.groups evq_monitor SELECT'],
	'views');
SELECT is_empty(
	$$SELECT r, n FROM unnest('{evq_publisher, evq_worker, evq_operator, evq_monitor, evq_restricted_publisher, evq_restricted_worker}'::name[]) r, unnest('{evq, evq_http}'::text[]) n
	  WHERE has_schema_privilege(r, n, 'CREATE') OR NOT has_schema_privilege(r, n, 'USAGE')$$,
	'the roles may look into the schemas evq and evq_http, not create there');

-- A role without grants can touch nothing.
SELECT is(pg_temp.as_role('evq_test_nobody', format('SELECT %s(%s)', oid::regproc,
	(SELECT string_agg(format('NULL::%s', CASE t::regtype::text WHEN 'anycompatiblearray' THEN 'text[]' ELSE t::regtype::text END), ', ') FROM unnest(string_to_array(proargtypes::text, ' ')::oid[]) t))),
	'42501', 'nobody: ' || signature)
FROM functions WHERE proname NOT IN ('configuration_changed', 'keep_audit') ORDER BY signature;
SELECT is(pg_temp.as_role('evq_test_nobody', format(statement, name)), '42501', 'nobody: ' || format(statement, name))
FROM relations, unnest(ARRAY['SELECT FROM %s', 'DELETE FROM %s', 'TRUNCATE %s', 'LOCK TABLE %s', 'COMMENT ON TABLE %s IS NULL']) statement
WHERE relkind = 'r' OR (relkind = 'v' AND statement ~ 'SELECT') ORDER BY name, statement;
SELECT is(pg_temp.as_role('evq_test_nobody', format('SELECT nextval(%L)', name)), '42501', 'nobody: nextval of ' || name) FROM relations WHERE relkind = 'S' ORDER BY name;
SELECT is(pg_temp.as_role('evq_test_nobody', statement), '42501', 'nobody: ' || statement) FROM unnest(ARRAY[
	'CREATE TABLE evq.mine ()', 'CREATE FUNCTION evq.mine() RETURNS int LANGUAGE sql AS ''SELECT 1''', 'CREATE VIEW evq.mine AS SELECT 1',
	'DROP EXTENSION evq', 'ALTER EXTENSION evq UPDATE', 'DROP SCHEMA evq CASCADE', 'SET evq.debug_clock_offset = 1', 'SET evq.debug_lose_wakeups = on',
	'SET evq.max_payload = ''200MB''', 'SET evq.max_chain_depth = 1000', 'COMMENT ON SCHEMA evq IS NULL']) statement;

-- Roles with grants cannot plant code on the tables, nor read or change them.
GRANT evq_publisher, evq_worker, evq_operator, evq_monitor TO evq_test_somebody;
GRANT CREATE ON SCHEMA public TO evq_test_somebody;
SELECT is(pg_temp.as_role('evq_test_somebody', 'CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql AS ''BEGIN RETURN NULL; END'''), 'done',
	'somebody may write a function');
CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
ALTER FUNCTION public.planted() OWNER TO evq_test_somebody;
SELECT is(pg_temp.as_role('evq_test_somebody', format(statement, name)), '42501', 'somebody: ' || format(statement, name))
FROM relations, unnest(ARRAY[
	'CREATE TRIGGER planted AFTER INSERT ON %s EXECUTE FUNCTION public.planted()', 'CREATE RULE planted AS ON INSERT TO %s DO ALSO SELECT 1',
	'CREATE INDEX planted ON %s ((1))', 'ALTER TABLE %s ADD COLUMN planted int', 'ALTER TABLE %s ENABLE ROW LEVEL SECURITY',
	'CREATE POLICY planted ON %s', 'ALTER TABLE %s SET (fillfactor = 100)', 'CREATE TABLE public.heir () INHERITS (%s)',
	'CREATE PUBLICATION planted FOR TABLE %s', 'SELECT FROM %s', 'SELECT FROM %s FOR UPDATE', 'DELETE FROM %s', 'TRUNCATE %s', 'LOCK TABLE %s IN ACCESS SHARE MODE']) statement
WHERE relkind = 'r' AND NOT (relispartition AND statement ~ 'INHERITS') ORDER BY name, statement;
SELECT is(pg_temp.as_role('evq_test_somebody', format('CREATE TABLE public.child (id %s REFERENCES %s)',
	(SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = i.indrelid AND attnum = i.indkey[0]), i.indrelid::regclass)), '42501',
	'somebody: REFERENCES ' || i.indrelid::regclass)
FROM pg_index i JOIN relations r ON r.oid = i.indrelid WHERE i.indisprimary AND i.indnkeyatts = 1 ORDER BY 1;
SELECT is_empty(
	$$SELECT name, privilege FROM relations, unnest('{SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER}'::text[]) privilege
	  WHERE relkind IN ('r', 'p') AND has_table_privilege('evq_test_somebody', oid, privilege)$$,
	'somebody with all four roles has no right on any table');
SELECT is(pg_temp.as_role('evq_test_somebody', statement), '42501', 'somebody: ' || statement) FROM unnest(ARRAY[
	'CREATE TABLE evq.mine ()', 'CREATE FUNCTION evq.mine() RETURNS int LANGUAGE sql AS ''SELECT 1''',
	'CREATE TABLE public.mine (t int); CREATE TRIGGER t AFTER INSERT ON public.mine EXECUTE FUNCTION evq.configuration_changed()',
	'ALTER TYPE evq.event_state ADD VALUE ''mine''', 'DELETE FROM evq.events', 'UPDATE evq.queue SET events = 0',
	'SELECT evq.require_event_type(''A'')', 'SELECT evq.announce_extension()', 'SELECT evq.raise_bad_configuration(''evq.flow'', ''x'')']) statement
WHERE statement !~ '^(DELETE FROM evq.events|UPDATE evq.queue|ALTER TYPE)';
SELECT is(pg_temp.as_role('evq_test_somebody', 'ALTER TYPE evq.event_state OWNER TO evq_test_somebody'), '42501', 'somebody: ALTER TYPE');

-- With its grants a role can do its work: no table right is needed.
SELECT lives_ok($$SELECT evq_configure('PRIVILEGE', 'PRIVILEGE')$$);
SELECT evq_publish('PRIVILEGE', NULL, 'p', '{"secret": 1}', headers => '{"secret": 2}') AS id \gset
SELECT is(pg_temp.as_role('evq_publisher', $$SELECT evq_publish('PRIVILEGE', NULL, 'p', idempotency_key => 'k')$$), 'done', 'publisher publishes, with a key');
SELECT is(pg_temp.as_role('evq_publisher', format('SELECT evq_cancel(%L)', :'id')), '42501', 'publisher cannot cancel');
SELECT is(pg_temp.as_role('evq_publisher', $$SELECT evq_acquire_next('PRIVILEGE')$$), '42501', 'publisher cannot acquire');
SELECT is(pg_temp.as_role('evq_worker', $$SELECT evq_succeed(event_id, permit, '1', '[{"event_type": "PRIVILEGE"}]') FROM evq_acquire_next('PRIVILEGE')$$), 'done', 'worker works');
SELECT is(pg_temp.as_role('evq_worker', $$SELECT evq_fail(event_id, 'no', permit) FROM evq_acquire_next('PRIVILEGE')$$), 'done', 'worker fails');
SELECT is(pg_temp.as_role('evq_worker', $$SELECT evq_publish('PRIVILEGE', NULL, 'p')$$), '42501', 'worker cannot publish');
SELECT is(pg_temp.as_role('evq_worker', format('SELECT evq_event(%L)', :'id')), '42501', 'worker cannot read an event that it does not hold');
SELECT is(pg_temp.as_role('evq_operator', statement), 'done', 'operator: ' || statement) FROM unnest(ARRAY[
	$$SELECT evq_configure('OTHER', 'PRIVILEGE', max_attempts => 3)$$, $$SELECT evq_configure_flow('PRIVILEGE', ordered => true)$$,
	$$SELECT evq_pause_flow('PRIVILEGE')$$, $$SELECT evq_resume_flow('PRIVILEGE')$$, $$SELECT evq_pause_group('PRIVILEGE', 'g')$$, $$SELECT evq_resume_group('PRIVILEGE', 'g')$$,
	$$SELECT evq_suspend_event_type('PRIVILEGE')$$, $$SELECT evq_unsuspend_event_type('PRIVILEGE')$$,
	$$SELECT evq_redrive('PRIVILEGE', '-infinity')$$, $$SELECT evq_tick()$$, $$SELECT evq_event(event_id) FROM evq.events$$, $$SELECT * FROM evq.payloads$$, $$SELECT * FROM evq.errors$$,
	format('SELECT evq_cancel(%L), evq_retry(%L)', :'id', :'id'),
	$$SELECT evq_configure('OTHER', 'PRIVILEGE'), evq_drop_event_type('OTHER')$$,
	$$SELECT evq_schedule('nightly', '@daily', 'PRIVILEGE', NULL, 'p', '{"secret": 3}', make_job => false), evq_pause_schedule('nightly'),
		evq_run_schedule('nightly'), evq_resume_schedule('nightly'), evq.run_due_schedule('nightly'), evq.catch_up_schedules() FROM evq.schedules$$,
	$$SELECT evq_unschedule('nightly') FROM evq_schedule('nightly', '@daily', 'PRIVILEGE', NULL, 'p', make_job => false)$$]) statement;
SELECT evq_schedule('nightly', '@daily', 'PRIVILEGE', NULL, 'p', '{"secret": 3}', make_job => false);

-- The monitor sees counts and ages, never payloads.
SELECT is(pg_temp.as_role('evq_monitor', statement), 'done', 'monitor: ' || statement) FROM unnest(ARRAY[
	'SELECT * FROM evq.flows', 'SELECT * FROM evq.event_types', 'SELECT * FROM evq.queue', 'SELECT * FROM evq.workers', 'SELECT * FROM evq.blocked_flows', 'SELECT * FROM evq.transition', 'SELECT * FROM evq.schedules', 'SELECT * FROM evq_counts()', 'SELECT * FROM evq_status()',
	'SELECT evq_version()', 'SELECT * FROM evq_check()', 'SELECT evq_metrics()', 'SELECT * FROM evq.counters()', $$SELECT * FROM evq_pending('PRIVILEGE')$$]) statement;
SELECT is(pg_temp.as_role('evq_monitor', statement), '42501', 'monitor: ' || statement) FROM unnest(ARRAY[
	'SELECT * FROM evq.events', 'SELECT * FROM evq.errors', 'SELECT * FROM evq.payloads', 'SELECT * FROM evq.event_payload', 'SELECT * FROM evq.event_history', 'SELECT * FROM evq.idempotency', 'SELECT * FROM evq.schedule',
	$$SELECT evq_pause_flow('PRIVILEGE')$$, $$SELECT evq_resume_flow('PRIVILEGE')$$, $$SELECT evq_run_schedule('nightly')$$, $$SELECT evq_pause_schedule('nightly')$$, $$SELECT evq_unschedule('nightly')$$,
	format('SELECT evq_event(%L)', :'id'), format('SELECT evq_acquire(%L)', :'id'), 'SELECT evq_tick()']) statement;
SELECT is_empty(
	$$SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	  WHERE c.oid IN ('evq.queue'::regclass, 'evq.workers'::regclass, 'evq.schedules'::regclass, 'evq.pending_event'::regclass)
	  AND (a.atttypid IN ('jsonb'::regtype, 'json'::regtype) OR a.attname ~ 'payload|header|result|error|key')
	  AND (c.relname, a.attname) NOT IN (('schedules', 'last_error'), ('schedules', 'last_error_at'), ('schedules', 'group_key'))$$,
	'nothing that the monitor reads has room for one');

SELECT * FROM finish();
ROLLBACK;
