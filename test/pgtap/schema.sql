-- The surface: schemas, types, tables, views, functions, roles. A changed signature is a visible change here.
BEGIN;
SELECT * FROM no_plan();

CREATE TEMP VIEW members AS
SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
WHERE x.extname = 'evq' AND d.deptype = 'e';
CREATE TEMP VIEW functions AS
SELECT p.*, p.oid::regprocedure::text AS signature, l.lanname FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
JOIN pg_language l ON l.oid = p.prolang;

-- Relations and types.
SELECT set_eq($$SELECT relname::text FROM pg_class JOIN members ON classid = 'pg_class'::regclass AND objid = oid WHERE relkind IN ('r', 'p')$$,
	ARRAY['flow', 'event_type', 'event', 'event_payload', 'event_history', 'event_history_default', 'event_error', 'idempotency', 'epoch', 'counter',
		  'pause', 'housekeeping', 'schedule', 'restriction', 'home', 'lifespan_change', 'flow_group', 'named_limit', 'audit_entry',
		  'log', 'log_default', 'log_type', 'batch', 'backlog', 'run', 'exception'], 'tables');
SELECT is_empty(
	$$SELECT oid::regclass FROM pg_class c WHERE relnamespace = 'evq'::regnamespace AND relkind IN ('r', 'p')
		AND oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_class'::regclass)
		AND oid NOT IN (SELECT inhrelid FROM pg_inherits WHERE inhparent IN ('evq.event_history'::regclass, 'evq.log'::regclass))$$,
	'other tables are partitions of the history and of evq.log');
SELECT views_are('evq', ARRAY['flows', 'event_types', 'events', 'queue', 'errors', 'workers', 'transition', 'payloads', 'schedules', 'restrictions', 'blocked_flows', 'limits', 'groups', 'audit', 'live_event', 'live_batch', 'batch_event', 'batch_stretch', 'batch_count']);
SELECT enums_are('evq', ARRAY['event_state']);
SELECT enum_has_labels('evq', 'event_state', ARRAY['awaiting_processing', 'dispatched', 'being_processed', 'suspended',
	'succeeded', 'failed', 'expired', 'canceled'], 'states, the live ones first');
SELECT results_eq(
	$$SELECT (attname::text || ' ' || format_type(atttypid, atttypmod)) COLLATE "default" FROM pg_attribute
	  WHERE attrelid = 'evq.acquired'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum$$,
	ARRAY['event_id uuid', 'permit bigint', 'event_type text', 'flow_type text', 'flow_id text', 'attempt integer', 'attempts_left integer',
		  'payload jsonb', 'headers jsonb', 'attempt_due_at timestamp with time zone', 'due_at timestamp with time zone', 'answer jsonb'],
	'evq.acquired');
SELECT results_eq(
	$$SELECT (attname::text || ' ' || format_type(atttypid, atttypmod)) COLLATE "default" FROM pg_attribute
	  WHERE attrelid = 'evq.pending_event'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum$$,
	ARRAY['event_id uuid', 'event_type text', 'flow_type text', 'flow_id text', 'state evq.event_state', 'attempt integer', 'attempts_left integer',
		  'priority integer', 'published_at timestamp with time zone', 'attempt_scheduled_at timestamp with time zone',
		  'due_at timestamp with time zone'],
	'evq.pending_event');

-- Functions: names, arguments with their defaults, results. \df evq_* looks for them as here.
CREATE TEMP VIEW shown AS
SELECT p.oid, p.proname, p.pronargs, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
FROM pg_proc p WHERE p.proname ~ '^(evq_.*)$' AND pg_function_is_visible(p.oid);
SELECT set_eq(
	$$SELECT proname || '(' || arguments || ') ' || result FROM shown$$,
	ARRAY[
	'evq_publish(event_type text, flow_type text, flow_id text, payload anycompatible DEFAULT NULL::unknown, on_fail_event_type text DEFAULT NULL::text, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, priority bigint DEFAULT NULL::bigint, idempotency_key text DEFAULT NULL::text, headers anycompatible DEFAULT NULL::unknown, group_key text DEFAULT NULL::text) uuid',
	'evq_publish(event_type text, flow_type text, flow_id anynonarray, payload anycompatible DEFAULT NULL::unknown, on_fail_event_type text DEFAULT NULL::text, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, priority bigint DEFAULT NULL::bigint, idempotency_key text DEFAULT NULL::text, headers anycompatible DEFAULT NULL::unknown, group_key text DEFAULT NULL::text) uuid',
	'evq_publish_many(events anycompatible) SETOF uuid',
	'evq_publish_many(event_type text, flow_type text, flow_ids anyarray, payloads anycompatiblearray, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, priority bigint DEFAULT NULL::bigint, group_keys text[] DEFAULT NULL::text[]) SETOF uuid',
	'evq_publish_many(event_type text, flow_type text, flow_ids text, payloads anycompatiblearray, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, priority bigint DEFAULT NULL::bigint, group_keys text[] DEFAULT NULL::text[]) SETOF uuid',
	'evq_acquire(event_id uuid, worker text DEFAULT NULL::text, permit_for interval DEFAULT NULL::interval) SETOF evq.acquired',
	'evq_acquire_next(flow_type text, max_events bigint DEFAULT 1, event_types text[] DEFAULT NULL::text[], worker text DEFAULT NULL::text, permit_for interval DEFAULT NULL::interval) SETOF evq.acquired',
	'evq_acquire_next(flow_types text[], max_events bigint DEFAULT 1, event_types text[] DEFAULT NULL::text[], worker text DEFAULT NULL::text, permit_for interval DEFAULT NULL::interval, weights bigint[] DEFAULT NULL::bigint[]) SETOF evq.acquired',
	'evq_heartbeat(event_ids anycompatiblearray, permits bigint[], extend_by interval DEFAULT NULL::interval, OUT event_id uuid, OUT held boolean, OUT cancel_requested boolean, OUT attempt_due_at timestamp with time zone) SETOF record',
	'evq_succeed(event_id uuid, permit bigint DEFAULT NULL::bigint, result anycompatible DEFAULT NULL::unknown, spinoffs anycompatible DEFAULT NULL::unknown) uuid[]',
	'evq_succeed_many(event_ids anycompatiblearray, permits bigint[], OUT event_id uuid, OUT accepted boolean) SETOF record',
	'evq_succeed_and_acquire(flow_type text, event_ids anycompatiblearray, permits bigint[], max_events bigint DEFAULT 1, event_types text[] DEFAULT NULL::text[], worker text DEFAULT NULL::text, permit_for interval DEFAULT NULL::interval) SETOF evq.acquired',
	'evq_acquire_batch(flow_type text, max_events bigint DEFAULT 100, event_types text[] DEFAULT NULL::text[], worker text DEFAULT NULL::text, permit_for interval DEFAULT NULL::interval) SETOF evq.acquired_batch',
	'evq_succeed_batch(token text, except_ids anycompatiblearray DEFAULT NULL::uuid[]) SETOF uuid',
	'evq_succeed_batch_and_acquire(token text, flow_type text, max_events bigint DEFAULT 100, event_types text[] DEFAULT NULL::text[], worker text DEFAULT NULL::text, permit_for interval DEFAULT NULL::interval, except_ids anycompatiblearray DEFAULT NULL::uuid[]) SETOF evq.acquired_batch',
	'evq_fail_batch(token text, error_message text, event_ids anycompatiblearray DEFAULT NULL::uuid[], retryable boolean DEFAULT true, OUT event_id uuid, OUT accepted boolean, OUT state evq.event_state) SETOF record',
	'evq_heartbeat_batch(token text, extend_by interval DEFAULT NULL::interval, OUT event_id uuid, OUT held boolean, OUT cancel_requested boolean, OUT attempt_due_at timestamp with time zone) SETOF record',
	'evq_release_batch(token text) SETOF uuid',
	'evq_batch_permits(token text, OUT event_id uuid, OUT permit bigint) SETOF record',
	'evq_fail(event_id uuid, error_message text, permit bigint DEFAULT NULL::bigint, stack_trace text DEFAULT NULL::text, retryable boolean DEFAULT true, retry_in interval DEFAULT NULL::interval) evq.event_state',
	'evq_fail_many(event_ids anycompatiblearray, permits bigint[], error_message text, retryable boolean DEFAULT true, OUT event_id uuid, OUT accepted boolean, OUT state evq.event_state) SETOF record',
	'evq_snooze(event_id uuid, permit bigint, run_at timestamp with time zone) void',
	'evq_release(event_id uuid, permit bigint) void',
	'evq_suspend(event_id uuid, permit bigint, timeout interval DEFAULT NULL::interval) timestamp with time zone',
	'evq_activate(event_id uuid, payload_patch anycompatible DEFAULT NULL::unknown, answer anycompatible DEFAULT NULL::unknown, permit bigint DEFAULT NULL::bigint) evq.event_state',
	'evq_cancel(event_id uuid, reason text DEFAULT NULL::text) void',
	'evq_retry(event_id uuid) void',
	'evq_redrive(event_type text, since timestamp with time zone, max_events bigint DEFAULT 1000) bigint',
	'evq_configure(event_type text, flow_type text DEFAULT NULL::text, max_attempts integer DEFAULT NULL::integer, lifespan interval DEFAULT NULL::interval, attempt_delays anycompatiblearray DEFAULT NULL::text[], backoff_factor double precision DEFAULT NULL::double precision, max_delay interval DEFAULT NULL::interval, jitter double precision DEFAULT NULL::double precision, attempt_timeout interval DEFAULT NULL::interval, on_suspend_timeout text DEFAULT NULL::text, on_fail_event_type text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, max_payload_bytes integer DEFAULT NULL::integer, retention interval DEFAULT NULL::interval, limits text[] DEFAULT NULL::text[], cost integer DEFAULT NULL::integer) void',
	'evq_pause_flow(flow_type text, until timestamp with time zone DEFAULT NULL::timestamp with time zone, reason text DEFAULT NULL::text) void',
	'evq_resume_flow(flow_type text) boolean',
	'evq_pause_group(flow_type text, group_key text, until timestamp with time zone DEFAULT NULL::timestamp with time zone, reason text DEFAULT NULL::text) void',
	'evq_resume_group(flow_type text, group_key text) boolean',
	'evq_configure_flow(flow_type text, channel text DEFAULT NULL::text, max_dispatched integer DEFAULT NULL::integer, max_processing integer DEFAULT NULL::integer, dispatch_timeout interval DEFAULT NULL::interval, delivery text DEFAULT NULL::text, ordered boolean DEFAULT NULL::boolean, notify_payload boolean DEFAULT NULL::boolean, group_by text DEFAULT NULL::text, max_processing_per_group integer DEFAULT NULL::integer, rate numeric DEFAULT NULL::numeric, per interval DEFAULT NULL::interval, burst integer DEFAULT NULL::integer, rate_per_group numeric DEFAULT NULL::numeric, per_per_group interval DEFAULT NULL::interval, burst_per_group integer DEFAULT NULL::integer, fair boolean DEFAULT NULL::boolean, priority_step interval DEFAULT NULL::interval) void',
	'evq_configure_group(flow_type text, group_key text, max_processing integer DEFAULT NULL::integer, rate numeric DEFAULT NULL::numeric, per interval DEFAULT NULL::interval, burst integer DEFAULT NULL::integer, weight integer DEFAULT NULL::integer) void',
	'evq_configure_limit(limit_name text, max_processing integer DEFAULT NULL::integer, rate numeric DEFAULT NULL::numeric, per interval DEFAULT NULL::interval, burst integer DEFAULT NULL::integer, by_group boolean DEFAULT NULL::boolean) void',
	'evq_drop_limit(limit_name text) void',
	'evq_suspend_event_type(event_type text) void',
	'evq_unsuspend_event_type(event_type text) void',
	'evq_drop_event_type(event_type text) void',
	'evq_pause(reason text DEFAULT NULL::text) void',
	'evq_resume() boolean',
	'evq_purge(OUT partitions_dropped integer, OUT events_deleted bigint, OUT leftovers_deleted bigint) record',
	'evq_schedule(name text, cron text, event_type text, flow_type text, flow_id text, payload anycompatible DEFAULT NULL::unknown, misfire text DEFAULT ''once''::text, priority bigint DEFAULT NULL::bigint, on_fail_event_type text DEFAULT NULL::text, make_job boolean DEFAULT true, time_zone text DEFAULT ''UTC''::text, overlap text DEFAULT ''allow''::text, group_key text DEFAULT NULL::text) void',
	'evq_schedule(name text, cron text, event_type text, flow_type text, flow_id anynonarray, payload anycompatible DEFAULT NULL::unknown, misfire text DEFAULT ''once''::text, priority bigint DEFAULT NULL::bigint, on_fail_event_type text DEFAULT NULL::text, make_job boolean DEFAULT true, time_zone text DEFAULT ''UTC''::text, overlap text DEFAULT ''allow''::text, group_key text DEFAULT NULL::text) void',
	'evq_unschedule(name text, remove_job boolean DEFAULT true) void',
	'evq_pause_schedule(name text) void',
	'evq_resume_schedule(name text) void',
	'evq_run_schedule(name text) uuid',
	'evq_grant_worker(role_name name, flow_type text) void',
	'evq_revoke_worker(role_name name, flow_type text DEFAULT NULL::text) void',
	'evq_grant_publisher(role_name name, flow_type text) void',
	'evq_revoke_publisher(role_name name, flow_type text DEFAULT NULL::text) void',
	'evq_event(event_id uuid) jsonb',
	'evq_check(patience interval DEFAULT ''00:15:00''::interval, OUT severity text, OUT subject text, OUT finding text, OUT advice text) SETOF record',
	'evq_pending(flow_type text, max_events bigint DEFAULT 100) SETOF evq.pending_event',
	'evq_counts(flow_type text DEFAULT NULL::text, OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint) SETOF record',
	'evq_tick(OUT dispatched integer, OUT timed_out integer, OUT expired integer) record',
	'evq_status(OUT preloaded boolean, OUT enabled boolean, OUT running boolean, OUT dispatcher_pid integer, OUT started_at timestamp with time zone, OUT last_turn_at timestamp with time zone, OUT turns bigint, OUT events_dispatched bigint, OUT ring_overflows bigint, OUT errors bigint, OUT last_error text, OUT problem text, OUT hint text) record',
	'evq_watch(duration interval DEFAULT ''00:01:00''::interval) timestamp with time zone',
	'evq_metrics() text',
	'evq_version() text'],
	'\df evq_* shows the functions that users call');
SELECT set_eq('SELECT oid FROM shown', $$SELECT oid FROM functions WHERE pronamespace NOT IN ('evq'::regnamespace, 'evq_http'::regnamespace)$$,
	'... and there are no others beside them: what the engine calls is in the schema evq, what the gateway calls in evq_http');
SELECT is_empty($$SELECT proname, pronargs, length(arguments) FROM shown WHERE pronargs > CASE proname WHEN 'evq_configure_flow' THEN 20 WHEN 'evq_configure' THEN 16 ELSE 14 END OR length(arguments) > 12 * 80$$,
	'... each with at most 14 arguments, in twelve lines of a terminal: what is more is hard to find one''s way in; the limits of a flow are so many, and what there is of a type');
SELECT is_empty(
	$$SELECT signature FROM functions WHERE pronamespace = 'evq_http'::regnamespace AND proargnames[1:4] = '{target, query, headers, body}' AND proname NOT IN ('acquire_next', 'acquire_of_flows', 'acquire_batch')
		AND (pg_get_function_arguments(oid), pg_get_function_result(oid)) <> ('target text, query jsonb, headers jsonb, body jsonb', 'jsonb')$$,
	'a route of the gateway is a function of the same arguments');
SELECT set_eq(
	$$SELECT proname || '(' || pg_get_function_arguments(oid) || ') ' || pg_get_function_result(oid) FROM functions WHERE oid::regproc IN ('evq_http.acquire_next'::regproc, 'evq_http.acquire_of_flows'::regproc, 'evq_http.acquire_batch'::regproc, 'evq_http.mcp'::regproc)$$,
	ARRAY['acquire_batch(target text, query jsonb, headers jsonb, body jsonb, OUT answer jsonb, OUT wait_ms integer, OUT channel text, OUT choice text) record',
	'acquire_next(target text, query jsonb, headers jsonb, body jsonb, OUT answer jsonb, OUT wait_ms integer, OUT channel text, OUT choice text) record',
	'acquire_of_flows(target text, query jsonb, headers jsonb, body jsonb, OUT answer jsonb, OUT wait_ms integer, OUT channel text, OUT choice text) record',
	'mcp(headers jsonb, body text, allow_writes boolean DEFAULT false, OUT status integer, OUT answer text) record'], '... but four');
SELECT is_empty(
	$$SELECT signature FROM functions WHERE lanname = 'c' AND (provolatile <> 'v' OR proparallel <> 'u') AND proname NOT IN ('transitions', 'live_counts', 'cron_fields', 'cron_next', 'cron_next_if_any', 'cron_previous', 'cron_count', 'caller_may_work', 'caller_may_publish', 'finished_events', 'history_partitions', 'log_partitions', 'is_in_place', 'attempts_that_fit',
		'ordinal', 'id_in_batch', 'logged_events', 'may_be_of_batch')$$,
	'functions in C are VOLATILE and PARALLEL UNSAFE, but what only calculates or reads the code');
SELECT is_empty($$SELECT signature FROM functions WHERE lanname = 'c' AND prosecdef$$, 'functions in C need no SECURITY DEFINER');
SELECT is_empty(
	$$SELECT signature FROM functions WHERE prosecdef AND 'search_path=pg_catalog, pg_temp' = ANY (proconfig) IS NOT TRUE$$,
	'SECURITY DEFINER functions have their search_path pinned');
SELECT is_empty(
	$$SELECT signature FROM functions WHERE lanname <> 'c' AND prosqlbody IS NULL AND 'search_path=pg_catalog, pg_temp' = ANY (proconfig) IS NOT TRUE$$,
	'so has every function whose body is parsed when it runs');
SELECT is_empty(
	$$SELECT signature FROM functions WHERE proparallel = 's' AND provolatile = 'v'$$, 'nothing volatile is PARALLEL SAFE');

-- Tables.
SELECT is_empty(
	$$SELECT oid::regclass FROM pg_class c WHERE relnamespace = 'evq'::regnamespace AND relkind IN ('r', 'p') AND relreplident <> 'f'
		AND NOT (relreplident = 'd' AND NOT relispartition AND EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary AND indisvalid))$$,
	'every table has a primary key, or all columns, as its replica identity; partitions of the history, which may be published through their root, all columns');
SELECT set_eq(
	$$SELECT oid::regclass::text FROM pg_class JOIN members ON classid = 'pg_class'::regclass AND objid = oid WHERE relkind IN ('r', 'p', 'S')$$,
	$$SELECT unnest(extconfig)::regclass::text FROM pg_extension WHERE extname = 'evq' UNION ALL SELECT unnest('{evq.counter, evq.home, evq.housekeeping, evq.pause, evq.event_history, evq.log}'::text[])$$,
	'every table and sequence is dumped with its rows, but those that tell of this server, and the parents of partitions');
SELECT is_empty($$SELECT FROM pg_extension, unnest(extcondition) c WHERE extname = 'evq' AND c <> ''$$, '... all of them');
SELECT is_empty($$SELECT FROM pg_class WHERE relnamespace = 'evq'::regnamespace AND relkind IN ('r', 'p') AND (relrowsecurity OR relhasrules OR relpersistence <> 'p')$$,
	'tables are logged, without rules and row security');
SELECT set_eq(
	$$SELECT tgrelid::regclass::text || ' ' || tgfoid::regproc::text FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'evq'::regnamespace AND NOT tgisinternal$$,
	ARRAY['evq.flow evq.configuration_changed', 'evq.flow_group evq.configuration_changed', 'evq.named_limit evq.configuration_changed', 'evq.event_type evq.configuration_changed', 'evq.pause evq.pause_changed', 'evq.restriction evq.configuration_changed',
		  'evq.pause evq.keep_own', 'evq.home evq.keep_own', 'evq.counter evq.keep_own', 'evq.housekeeping evq.keep_own',
		  'evq.audit_entry evq.keep_audit', 'evq.schedule evq.schedules_changed'],
	'only the configuration and the audit have triggers, and what a subscriber keeps for itself');
SELECT is_empty($$SELECT FROM pg_trigger WHERE tgfoid = 'evq.keep_own'::regproc AND tgenabled <> 'R'$$, '... which fire for nobody else');
SELECT is_empty(
	$$SELECT indexrelid::regclass FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indexrelid
	  WHERE i.indrelid = 'evq.event'::regclass AND (a.attname IN ('state', 'attempts_used', 'state_due_at', 'state_since', 'permit', 'worker')
		OR pg_get_expr(i.indpred, i.indrelid) ~ 'state|permit|worker|attempts')$$,
	'no index of evq.event hinders HOT updates by dispatch and acquire');
SELECT isnt_empty($$SELECT FROM pg_class WHERE oid = 'evq.event'::regclass AND reloptions::text ~ 'fillfactor=[1-5]'$$,
	'evq.event leaves room on its pages');

-- Roles.
SELECT is_empty(
	$$SELECT wanted FROM unnest('{evq_publisher, evq_worker, evq_operator, evq_monitor}'::name[]) wanted
	  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted AND NOT rolcanlogin AND NOT rolsuper AND NOT rolcreaterole
						AND NOT rolcreatedb AND NOT rolbypassrls AND NOT rolreplication)$$,
	'the four roles exist and have no attributes');
SELECT is_empty(
	$$SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname ~ '^evq_'$$, 'they are members of no other role');

-- The extension.
SELECT is((SELECT extversion FROM pg_extension WHERE extname = 'evq'), (SELECT default_version FROM pg_available_extensions WHERE name = 'evq'),
	'installed in its default version');
SELECT is(evq_version(), (SELECT extversion FROM pg_extension WHERE extname = 'evq'), 'evq_version() says so');

SELECT results_eq(
	format($$SELECT c.name, c.type::regtype FROM pg_proc p, unnest(p.proargnames, p.proallargtypes, p.proargmodes) WITH ORDINALITY c (name, type, mode, n)
		WHERE p.oid = %L::regproc AND c.mode = 't' ORDER BY c.n$$, f),
	format('SELECT a.attname::text, a.atttypid::regtype FROM pg_attribute a WHERE a.attrelid = %L::regclass AND a.attnum > 0 ORDER BY a.attnum', r),
	format('%s() has the columns of %s', f, r))
FROM (VALUES ('evq.finished_events', 'evq.event_history'), ('evq.logged_events', 'evq.log')) v (f, r);

SELECT * FROM finish();
ROLLBACK;
