-- What a function says of itself to parallel queries is so: what it calls says no less, and called in one it answers as ever.
BEGIN;
SELECT * FROM no_plan();
SET LOCAL client_min_messages = warning;

SELECT evq_configure('PARALLEL', 'FLOW_PARALLEL', attempt_delays => '{0}') \g /dev/null
CREATE TEMP TABLE made AS
SELECT evq_publish('PARALLEL', 'FLOW_PARALLEL', 'one', '{"n": 1}', idempotency_key => 'key') AS live,
	evq_publish('PARALLEL', 'FLOW_PARALLEL', 'two', '{"n": 2}') AS finished;
SELECT evq_fail(event_id, 'no', permit, retryable => false) FROM made, evq_acquire(finished) \g /dev/null
SELECT evq_schedule('parallel', '@hourly', 'PARALLEL', NULL, 'three', make_job => false) \g /dev/null
SELECT live, finished FROM made \gset

-- Without what it only writes about.
CREATE TEMP TABLE functions AS
SELECT p.oid, CASE p.pronamespace WHEN 'evq_http'::regnamespace THEN 'evq_http.' ELSE '' END || p.proname AS name, p.proparallel AS label, l.lanname,
	regexp_replace(p.prosrc || coalesce(pg_get_function_sqlbody(p.oid), ''), $$'[^']*'$$, '', 'g') AS source
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq';
-- What a source may name: functions, views by what they call, and what PostgreSQL brings.
CREATE TEMP TABLE callable AS
SELECT name || '(' AS text, max(CASE label WHEN 's' THEN 0 WHEN 'r' THEN 1 ELSE 2 END) AS rank FROM functions GROUP BY name
UNION ALL
SELECT proname || '(', min(CASE proparallel WHEN 's' THEN 0 WHEN 'r' THEN 1 ELSE 2 END) FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY proname
HAVING min(CASE proparallel WHEN 's' THEN 0 WHEN 'r' THEN 1 ELSE 2 END) > 0;
INSERT INTO callable
SELECT 'evq.' || c.relname, max(f.rank) FROM pg_class c JOIN callable f ON pg_get_viewdef(c.oid) ~ ('\m' || replace(f.text, '(', '\('))
WHERE c.relnamespace = 'evq'::regnamespace AND c.relkind = 'v' GROUP BY c.relname;
SELECT is_empty(
	$$SELECT format('%s calls %s', f.oid::regprocedure, c.text) FROM functions f JOIN callable c ON f.source ~ ('\m' || replace(replace(c.text, '.', '\.'), '(', '\s*\('))
	  WHERE f.lanname <> 'c' AND f.name !~ '^evq_http.mcp_.*_tools$' AND c.rank > CASE f.label WHEN 's' THEN 0 WHEN 'r' THEN 1 ELSE 2 END$$, 'no function says more than what it calls');
SELECT isnt_empty($$SELECT FROM functions f JOIN callable c ON strpos(f.source, c.text) > 0 WHERE c.rank > 0$$, '... and some call what is not safe');
SELECT is_empty($$SELECT oid::regprocedure FROM functions WHERE label <> 'u' AND lanname = 'plpgsql' AND source ~ '\mEXCEPTION\s+WHEN\M'$$,
	'none begins a subtransaction that says it may be called there');
SELECT is_empty($$SELECT oid::regprocedure FROM functions WHERE label <> 'u' AND source ~ '\m(INSERT INTO|UPDATE evq|DELETE FROM|LOCK TABLE|FOR UPDATE|FOR SHARE|TRUNCATE)\M' AND name !~ '^evq_http.mcp_'$$,
	'... nor writes');

-- Each is called by a parallel worker, or beside one where it must not leave the leader, in a session that has loaded nothing of evq yet.
CREATE TEMP TABLE calls (name text, call text);
INSERT INTO calls VALUES
	('are_held', $$evq.are_held('{}', '{}')$$),
	('caller_may_work', $$evq.caller_may_work('FLOW_PARALLEL')$$), ('caller_may_publish', $$evq.caller_may_publish('FLOW_PARALLEL')$$), ('evq_pending', $$(SELECT count(*) FROM evq_pending('FLOW_PARALLEL'))$$),
	('evq_counts', $$(SELECT sum(events) FROM evq_counts('FLOW_PARALLEL'))$$), ('cron_previous', $$evq.cron_previous('@hourly', '2030-01-01')$$),
	('cron_next', $$evq.cron_next('@hourly', '2030-01-01')$$), ('cron_fields', $$evq.cron_fields('@hourly')$$),
	('cron_count', $$evq.cron_count('@hourly', '2030-01-01', '2030-01-02')$$), ('finished_events', format($$(SELECT array_agg(h.event_id) FROM evq.finished_events('{%s}') h)$$, :'finished')),
	('ordinal', format($$evq.ordinal(%L)$$, :'live')), ('may_be_of_batch', format($$evq.may_be_of_batch('{%s}')$$, :'live')), ('id_in_batch', format($$evq.id_in_batch(%L, 1)$$, :'live')),
	('logged_events', format($$(SELECT count(*) FROM evq.logged_events('{%s}'))$$, :'live')),
	('batch_events_by_id', format($$(SELECT count(*) FROM evq.batch_events_by_id('{%s}'))$$, :'live')), ('ids_in_batches', 'evq.ids_in_batches(NULL, NULL, 10)'),
	('transitions', $$(SELECT count(*) FROM evq.transitions())$$), ('evq_http.states_of', $$evq_http.states_of('{FAILED}')$$), ('timeline', format($$evq.timeline(%L)$$, :'finished')),
	('evq_event', format($$evq_event(%L)$$, :'finished')), ('events_by_id', format($$(SELECT string_agg(e::text, '' ORDER BY e.event_id) FROM evq.events_by_id('{%s, %s}') e)$$, :'live', :'finished')),
	('payloads_by_id', format($$(SELECT string_agg(e::text, '' ORDER BY e.event_id) FROM evq.payloads_by_id('{%s, %s}') e)$$, :'live', :'finished')),
	('evq_http.event', format($$evq_http.event(%L, NULL, NULL, NULL)$$, :'live')), ('evq_http.events', $$evq_http.events('', '{"flow_type": "FLOW_PARALLEL", "q": "payload.n:1", "status": "DISPATCHED,FAILED,AWAITING_PROCESSING"}', NULL, NULL)$$),
	('evq_http.errors', $$evq_http.errors('', '{"flow_type": "FLOW_PARALLEL"}', NULL, NULL)$$), ('evq_http.refuse', $$(SELECT count(*) FROM evq_http.refuse('a', 'b') WHERE false)$$),
	('evq_http.waiting_for', $$evq_http.waiting_for('{FLOW_PARALLEL}', '{B, A}', '1 s')$$), ('evq_http.object_of', $$evq_http.object_of('{"a": 1}', '{a}')$$), ('evq_http.text_of', $$evq_http.text_of('{"a": "1"}', 'a')$$), ('evq_http.texts_of', $$evq_http.texts_of('{"a": ["1"]}', 'a')$$),
	('evq_http.integers_of', $$evq_http.integers_of('{"a": [1]}', 'a')$$), ('evq_http.group_named', $$evq_http.group_named('FLOW_PARALLEL', 'g')$$), ('evq_http.groups', $$evq_http.groups('FLOW_PARALLEL', '{}', NULL, NULL)$$),
	('evq_http.flow_named', $$evq_http.flow_named('FLOW_PARALLEL')$$),
	('evq_http.integer_of', $$evq_http.integer_of('{"a": 1}', 'a', 0, 2)$$), ('evq_http.number_of', $$evq_http.number_of('{"a": 1.5}', 'a')$$), ('evq_http.boolean_of', $$evq_http.boolean_of('{"a": true}', 'a')$$),
	('evq_http.id_of', $$evq_http.id_of('00000000-0000-0000-0000-000000000000')$$), ('evq_http.pending', $$evq_http.pending('FLOW_PARALLEL', '{}', NULL, NULL)$$),
	('evq_http.search_of', $$evq_http.search_of('flow:F payload.a:1 b')$$), ('evq_http.counts', $$evq_http.counts('', '{"flow_type": "FLOW_PARALLEL"}', NULL, NULL)$$),
	('evq_http.flows', $$evq_http.flows('', '{"after": "FLOW_PA"}', NULL, NULL)$$), ('evq_http.rights', $$evq_http.rights('', '{}', NULL, NULL)$$), ('evq_http.event_types', $$evq_http.event_types('', '{"flow_type": "FLOW_PARALLEL"}', NULL, NULL)$$),
	('evq_http.mcp_modern_refusal', $$evq_http.mcp_modern_refusal('1', 'tools/list', '{}', '{}')$$), ('evq_http.mcp_violation', $$evq_http.mcp_violation('1', '{"type": "string"}', 'it')$$),
	('evq_http.configured', $$evq_http.configured('PARALLEL')$$), ('evq_http.mcp_versions', $$evq_http.mcp_versions()$$), ('evq_http.mcp_error', $$evq_http.mcp_error('1', 1, 'a', NULL)$$),
	('evq_http.mcp_unsupported_version', $$evq_http.mcp_unsupported_version('1', 'a')$$), ('evq_http.mcp_resources_list', $$evq_http.mcp_resources_list(NULL)$$),
	('check_privileges', $$(SELECT count(*) FROM evq.check_privileges())$$), ('label', $$evq.label('a', 'b')$$), ('evq_http.mcp_resource_templates_list', $$evq_http.mcp_resource_templates_list()$$),
	('evq_http.limit_of', $$evq_http.limit_of('{}')$$), ('evq_http.status_of', $$evq_http.status_of('failed')$$), ('conninfo', $$evq.conninfo('a')$$), ('dblink_function', $$evq.dblink_function()$$),
	('job_removal_call', $$evq.job_removal_call('a')$$), ('job_call', $$evq.job_call('a', 'b')$$), ('evq_http.row_of', $$evq_http.row_of('{"state": "failed"}')$$),
	('evq_http.mcp_worker_tools', $$(SELECT count(*) FROM evq_http.mcp_worker_tools())$$), ('evq_http.acknowledged', $$evq_http.acknowledged('failed')$$),
	('evq_http.schedule_of', $$(SELECT evq_http.schedule_of(s) FROM evq.schedules s WHERE s.name = 'parallel' OFFSET 0)$$), ('state_name', $$evq.state_name('f')$$),
	('evq_http.mcp_operator_tools', $$(SELECT count(*) FROM evq_http.mcp_operator_tools())$$), ('job_name', $$evq.job_name('a')$$), ('partition_name', $$evq.partition_name('x_', '2030-01-01')$$), ('missing_partitions', $$(SELECT count(*) FROM evq.missing_partitions('{}', 2, '2030-01-01'))$$),
	('is_log_over', $$evq.is_log_over('log_20300101', 1)$$), ('is_in_place', format($$evq.is_in_place(%L)$$, :'live')), ('open_events', format($$evq.open_events(%L)$$, :'live')), ('missing_events', format($$evq.missing_events(%L)$$, :'live')),
	('first_id', $$evq.first_id('2030-01-01')$$), ('evq_version', $$evq_version()$$), ('cron_database', $$evq.cron_database()$$), ('evq_http.mcp_reading_tools', $$(SELECT count(*) FROM evq_http.mcp_reading_tools())$$),
	('evq_http.mcp_tools', $$(SELECT count(*) FROM evq_http.mcp_tools(true))$$), ('evq_http.mcp_tools_list', $$evq_http.mcp_tools_list(true)$$), ('evq_http.mcp_may_use', $$(SELECT count(*) FROM evq_http.mcp_tools(true) t WHERE evq_http.mcp_may_use(t))$$),
	('evq_http.operations', $$(SELECT count(*) FROM evq_http.operations())$$), ('evq_http.permit_of', $$evq_http.permit_of('{"permit": 1}')$$),
	('named_events', 'evq.named_events()'), ('stream_of_events', 'evq.stream_of_events(true, 10, NULL)'), ('history_partitions', '(SELECT count(*) FROM evq.history_partitions())'), ('log_partitions', '(SELECT count(*) FROM evq.log_partitions())'), ('has_values', $$evq.has_values('{"a": 1}', '{a}', '{1}')$$),
	('burst_of', $$evq.burst_of(5, NULL, NULL)$$), ('attempts_that_fit', $$evq.attempts_that_fit(3, '1 hour', '{10 s}', 1, '1 day')$$),
	('forgets_keys', $$(SELECT count(*) FROM evq.event_type t WHERE evq.forgets_keys(t))$$),
	('cron_next_if_any', $$evq.cron_next_if_any('@hourly', '2030-01-01', 'UTC')$$), ('live_counts', $$(SELECT sum(c.events) FROM evq.live_counts() c)$$), ('first_in_line', $$(SELECT count(*) FROM evq.flow f, evq.first_in_line(f.flow_no, 10))$$),
	('line', $$(SELECT sum(l.events) FROM evq.flow f, unnest('{true, false}'::boolean[]) in_batches, evq.line(f.flow_no, in_batches, 10) l)$$),
	('survey', $$(SELECT sum(s.events) FROM evq.survey() s)$$), ('counts', $$(SELECT sum(c.events) FROM evq.counts('FLOW_PARALLEL', false) c)$$),
	('queues', $$(SELECT sum(q.events) FROM evq.queues() q)$$), ('holders', $$(SELECT count(*) FROM evq.holders())$$), ('blocks', $$(SELECT count(*) FROM evq.blocks())$$),
	('group_usage', $$(SELECT count(*) FROM evq.group_usage())$$), ('limits_in_use', $$(SELECT count(*) FROM evq.limits_in_use())$$),
	('is_due_line_longer', $$evq.is_due_line_longer('FLOW_PARALLEL', 1)$$), ('state_of', format($$evq.state_of(%L)$$, :'finished')),
	('id_time', $$evq.id_time('01900000-0000-7000-8000-000000000000')$$),
	('audit_retention', $$evq.audit_retention()$$), ('schedule_arguments', $$(SELECT evq.schedule_arguments(s) FROM evq.schedule s WHERE s.name = 'parallel' OFFSET 0)$$),
	('the view events', $$(SELECT count(*) FROM evq.events WHERE flow_type = 'FLOW_PARALLEL')$$), ('the view errors', $$(SELECT count(*) FROM evq.errors WHERE flow_type = 'FLOW_PARALLEL')$$),
	('the view payloads', $$(SELECT count(*) FROM evq.payloads WHERE event_id IN (SELECT e.event_id FROM evq.events e WHERE flow_type = 'FLOW_PARALLEL'))$$),
	('the view queue', $$(SELECT sum(events) FROM evq.queue WHERE flow_type = 'FLOW_PARALLEL')$$), ('the view workers', $$(SELECT count(*) FROM evq.workers)$$),
	('the view blocked_flows', $$(SELECT count(*) FROM evq.blocked_flows)$$), ('the view limits', $$(SELECT count(*) FROM evq.limits)$$), ('the view groups', $$(SELECT count(*) FROM evq.groups)$$);
SELECT bag_eq($$SELECT DISTINCT name FROM functions WHERE label <> 'u'$$, $$SELECT name FROM calls WHERE name !~ ' '$$, 'the list below names every function that may be called there');

CREATE FUNCTION pg_temp.answer(call text, forced boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	setting text := (SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query'));
	answer text;
BEGIN
	PERFORM set_config(setting, CASE WHEN forced THEN 'regress' ELSE 'off' END, true);
	EXECUTE format('SELECT (%s)::text FROM (SELECT count(*) FROM evq.event_type) beside', call) INTO answer;
	PERFORM set_config(setting, 'off', true);
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLERRM;
END
$$;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT is(pg_temp.answer(call, true), pg_temp.answer(call, false), name) FROM calls;

SELECT * FROM finish();
ROLLBACK;
