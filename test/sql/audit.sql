-- Who did what: an entry for each change by an operator, in whose name, from where; none for publishing and working.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab
GRANT USAGE ON SCHEMA lab TO PUBLIC;

BEGIN; -- roles belong to the server: they go with the transaction
CREATE ROLE evq_test_boss IN ROLE evq_operator;
CREATE ROLE evq_test_tenant;
SET LOCAL application_name = 'the console';
SELECT coalesce(max(entry_id), 0) AS before FROM evq.audit \gset
CREATE FUNCTION lab.entries(before bigint) RETURNS TABLE (role text, session text, application text, verb text, event text, object text, detail jsonb)
LANGUAGE sql AS $$
	SELECT CASE a.role WHEN session_user THEN 'session' ELSE a.role END, CASE a.session_role WHEN session_user THEN 'session' END, a.application_name, a.verb,
		(SELECT e.flow_id FROM evq.events e WHERE e.event_id = a.event_id),
		CASE a.object WHEN current_database() THEN 'this database' ELSE a.object END, a.detail
	FROM evq.audit a WHERE a.entry_id > before AND a.done_at BETWEEN now() AND clock_timestamp() ORDER BY a.entry_id
$$;

SELECT evq_configure('A', 'FLOW', max_attempts => 5, lifespan => '1 hour', attempt_timeout => '1 min') \gset
SELECT evq_configure('A', max_attempts => 5) \gset
SELECT evq_publish('A', NULL, 'case ' || n) FROM generate_series(1, 4) n \g /dev/null
SELECT evq_succeed(event_id, permit) FROM evq_acquire_next('FLOW') \g /dev/null
SELECT evq_fail(event_id, 'no', permit, retryable => false) FROM evq_acquire_next('FLOW') \g /dev/null
SET LOCAL ROLE evq_test_boss;
SELECT evq_configure('A', max_attempts => 7, lifespan => '1 day', attempt_timeout => NULL) \gset
SELECT evq_configure_flow('FLOW', max_processing => 3) \gset
SELECT evq_suspend_event_type('A'), evq_unsuspend_event_type('A') \gset
SELECT evq_cancel(event_id, 'not wanted') FROM evq.events WHERE flow_id = 'case 3' \gset
SELECT evq_cancel(event_id, 'again') FROM evq.events WHERE flow_id = 'case 3' \gset
SELECT evq_retry(event_id) FROM evq.events WHERE flow_id = 'case 3' \gset
SELECT evq_redrive('A', '-infinity');
SELECT evq_pause('repairs'), evq_pause('more repairs') \gset
SELECT evq_resume(), evq_resume();
SELECT evq_schedule('nightly', '0 3 * * *', 'A', NULL, 'n', '{"secret": 1}', make_job => false) \gset
SELECT evq_schedule('nightly', '0 4 * * *', 'A', NULL, 'n', '{"secret": 1}', make_job => false) \gset
SELECT evq_pause_schedule('nightly'), evq_resume_schedule('nightly'), evq_run_schedule('nightly') IS NOT NULL, evq_unschedule('nightly', false) \gset
SELECT evq_configure('B', 'FLOW'), evq_drop_event_type('B') \gset
RESET ROLE;
SELECT evq_grant_worker('evq_test_tenant', 'FLOW'), evq_revoke_worker('evq_test_tenant') \gset
\x
SELECT role, session, application, verb, event, object,
	CASE WHEN verb IN ('redrive', 'resume') THEN detail - '{since, paused_at}'::text[] WHEN verb = 'configure' AND NOT detail ? 'lifespan' THEN '{}'
		 WHEN verb = 'configure' AND detail #> '{lifespan, from}' IS NULL THEN detail -> 'max_attempts' WHEN verb = 'configure_flow' AND detail ? 'channel' THEN '{}' WHEN verb IN ('schedule', 'unschedule') AND detail ? 'name' THEN detail -> 'name' ELSE detail END AS detail
FROM entries(:before);
\x
-- What is refused leaves none.
SELECT max(entry_id) AS last FROM evq.audit \gset
CALL refused($$SELECT evq_cancel('01900000-0000-7000-8000-000000000000')$$);
CALL refused($$SELECT evq_configure('A', max_attempts => 0)$$);
CALL refused($$SELECT evq_unschedule('none')$$);
SELECT count(*) FROM evq.audit WHERE entry_id > :last;
SELECT count(*) AS payloads FROM entries(:before) WHERE detail::text ~ 'secret';

-- It is in the event's timeline.
SELECT t ->> 'what' AS what, replace(t ->> 'detail', session_user, 'SESSION') AS detail FROM jsonb_array_elements(evq_event(ev('case 3')) -> 'timeline') t WHERE t ->> 'what' IN ('cancel', 'retry');
SELECT a ->> 'verb' AS verb, a ->> 'role' AS role, a ->> 'application_name' AS application, a -> 'detail' AS detail FROM jsonb_array_elements(evq_event(ev('case 3')) -> 'audit') a;

-- Entries stay as they are until their time is over.
CALL refused('UPDATE evq.audit_entry SET verb = verb');
CALL refused('DELETE FROM evq.audit_entry');
CALL refused('DELETE FROM evq.audit');
CALL refused('TRUNCATE evq.audit_entry');
INSERT INTO evq.audit_entry (done_at, session_role, role, application_name, verb)
SELECT clock_timestamp() - at::interval, 'x', 'x', '', 'test' FROM unnest('{1 day, 364 days, 366 days, 3 years}'::text[]) at;
SELECT evq.thin_audit();
SELECT evq.thin_audit();
SELECT count(*) FROM evq.audit WHERE verb = 'test';
-- Only operators read it.
SELECT has_table_privilege(r, 'evq.audit', 'SELECT') AS may_read, has_table_privilege(r, 'evq.audit', 'INSERT, UPDATE, DELETE, TRUNCATE') AS may_write, r
FROM unnest('{evq_operator, evq_monitor, evq_worker, evq_publisher, evq_restricted_worker}'::name[]) r;
ROLLBACK;
