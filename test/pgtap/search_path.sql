-- A hostile search_path: what a low role puts into a schema of its own, or into
-- pg_temp, is never called by evq, whose functions run with the owner's rights.
BEGIN;
SELECT * FROM no_plan();

CREATE ROLE evq_test_attacker;
GRANT evq_publisher, evq_worker, evq_operator, evq_monitor TO evq_test_attacker;
CREATE SCHEMA hostile AUTHORIZATION evq_test_attacker;
GRANT TEMPORARY ON DATABASE :DBNAME TO evq_test_attacker;
SET LOCAL check_function_bodies = off;

-- A function of each name that evq's SQL calls, and of each operator, for the types in use. Any call is an error.
SET LOCAL ROLE evq_test_attacker;
DO $$
DECLARE
	name text;
	type text;
	types text[] := ARRAY['text', 'text[]', 'name', 'int', 'bigint', 'smallint', 'float8', 'boolean', 'uuid', 'uuid[]', 'jsonb', 'interval', 'interval[]',
						  'timestamptz', '"char"', 'regclass', 'oid', 'numeric', 'evq.event_state'];
BEGIN
	FOREACH type IN ARRAY types LOOP
		FOREACH name IN ARRAY ARRAY['lower', 'length', 'format', 'quote_ident', 'quote_literal', 'to_jsonb', 'jsonb_build_object', 'cardinality', 'unnest',
			'array_length', 'pg_get_constraintdef', 'evq_retry', 'evq_configure_flow', 'evq_configure', 'evq_publish', 'state_name', 'require_event_type',
			'raise_bad_configuration', 'least', 'greatest', 'int4', 'int8', 'text', 'regclass', 'timestamptz', 'interval', 'now', 'clock_timestamp'] LOOP
			EXECUTE format('CREATE FUNCTION hostile.%I(VARIADIC %s[]) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''captured''''; END''',
				name, CASE WHEN type ~ '\[\]$' THEN 'text' ELSE type END, type);
			EXIT WHEN type ~ '\[\]$';
			EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''captured''''; END''', name, type, type);
		END LOOP;
	END LOOP;
EXCEPTION WHEN duplicate_function THEN NULL;
END
$$;
DO $$
DECLARE
	sign text;
	type text;
	names text[] := '{}';
	right_type text;
BEGIN
	FOREACH type IN ARRAY ARRAY['text', 'int', 'bigint', 'smallint', 'float8', 'boolean', 'uuid', 'jsonb', 'interval', 'timestamptz', '"char"', 'oid'] LOOP
		EXECUTE format('CREATE FUNCTION hostile.compare(%s, %s) RETURNS boolean LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''captured''''; END''', type, type);
		EXECUTE format('CREATE FUNCTION hostile.combine(%s, %s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''captured''''; END''', type, type, type);
		FOREACH sign IN ARRAY ARRAY['=', '<>', '<', '<=', '>', '>=', '~', '!~', '~*'] LOOP
			EXECUTE format('CREATE OPERATOR hostile.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = hostile.compare)', sign, type, type);
		END LOOP;
		FOREACH sign IN ARRAY ARRAY['||', '+', '-', '*'] LOOP
			EXECUTE format('CREATE OPERATOR hostile.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = hostile.combine)', sign, type, type);
		END LOOP;
	END LOOP;
END
$$;
CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''captured''; END';
CREATE FUNCTION hostile.count_state(bigint) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''captured''; END';
CREATE AGGREGATE hostile.count(*) (SFUNC = hostile.count_state, STYPE = bigint, INITCOND = '0');

-- Relations of evq's and the catalog's names, in the schema and as temporary ones, all of them empty.
DO $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'evq'::regnamespace AND relkind IN ('r', 'v')
		UNION SELECT unnest('{pg_extension, pg_constraint, pg_roles, pg_class, pg_proc, pg_database}'::text[]) LOOP
		EXECUTE format('CREATE TABLE hostile.%I ()', name);
		EXECUTE format('CREATE TEMP TABLE %I ()', name);
	END LOOP;
END
$$;
CREATE DOMAIN hostile.event_state AS text CHECK (value = 'captured');
CREATE TYPE hostile.acquired AS (captured int);
RESET ROLE;

-- Calls as the attacker, in whose path the hostile schema comes first.
CREATE FUNCTION pg_temp.attacked(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	SET LOCAL ROLE evq_test_attacker;
	SET LOCAL search_path = hostile, pg_temp, pg_catalog, public, evq;
	EXECUTE statement INTO answer;
	SET LOCAL search_path = public, pg_catalog;
	RESET ROLE;
	RETURN answer;
END
$$;
SELECT throws_ok($$SELECT pg_temp.attacked('SELECT now()')$$, 'P0001', 'captured', 'the trap works: functions');
SELECT throws_ok($$SELECT pg_temp.attacked('SELECT ''a''::text = ''b''::text')$$, 'P0001', 'captured', 'the trap works: operators');
SELECT is(pg_temp.attacked('SELECT FROM flow LIMIT 1'), NULL, 'the trap works: tables');

-- Every function that users call; one of another schema is spoken of by its full name.
SELECT lives_ok(format('SELECT pg_temp.attacked(%L)', statement), statement) FROM unnest(ARRAY[
	$$SELECT public.evq_configure_flow('HOSTILE', 'hostile', 100, 50, '30 s', 'push', false, false)$$,
	$$SELECT public.evq_configure('FAILED', 'HOSTILE')$$,
	$$SELECT public.evq_configure('HOSTILE', 'HOSTILE', 3, '1 hour', '{0 s, 1 s}', 1, '1 day', 0, '1 min', 'expire', 'FAILED', 0, 1000, '1 day')$$,
	$$SELECT public.evq_configure('HOSTILE_NEW', 'HOSTILE_NEW')$$,
	$$SELECT public.evq_pause_flow('HOSTILE', '2100-01-01', 'why'), public.evq_resume_flow('HOSTILE')$$,
	$$SELECT public.evq_pause_group('HOSTILE', 'g', '2100-01-01', 'why'), public.evq_resume_group('HOSTILE', 'g')$$,
	$$SELECT public.evq_suspend_event_type('HOSTILE')$$,
	$$SELECT public.evq_unsuspend_event_type('HOSTILE')$$,
	$$SELECT public.evq_drop_event_type('HOSTILE_NEW')$$,
	$$SELECT public.evq_publish('HOSTILE', 'HOSTILE', 'one', '{"n": 1}', 'FAILED', pg_catalog.now(), 1::int2, 'key', '{}')$$,
	$$SELECT public.evq_publish('HOSTILE', 'HOSTILE', 'one', '{"n": 1}', idempotency_key => 'key')$$,
	$$SELECT public.evq_publish_many('[{"event_type": "HOSTILE", "flow_id": "two", "run_at": "2000-01-01", "priority": 1}]')$$,
	$$SELECT public.evq_publish_many('HOSTILE', NULL, '{three, four, five, six}', '{1, 1, 1, 1}')$$,
	$$SELECT public.evq_counts()$$, $$SELECT public.evq_counts('HOSTILE')$$, $$SELECT public.evq_pending('HOSTILE')$$,
	$$SELECT evq_http.mcp(NULL, '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_events"}}')$$,
	$$SELECT public.evq_check()$$, $$SELECT public.evq_status()$$, $$SELECT public.evq_version()$$, $$SELECT evq.transitions()$$,
	$$TABLE evq.flows$$, $$TABLE evq.event_types$$, $$TABLE evq.events$$, $$TABLE evq.queue$$, $$TABLE evq.workers$$, $$TABLE evq.blocked_flows$$, $$TABLE evq.limits$$, $$TABLE evq.groups$$, $$TABLE evq.restrictions$$, $$TABLE evq.errors$$, $$TABLE evq.transition$$, $$TABLE evq.payloads$$,
	$$SELECT evq_http.publish(NULL, '{}', '{"idempotency-key": "key"}', '{"event_type": "HOSTILE", "flow_id": "one", "payload": {"n": 1}}')$$,
	$$SELECT evq_http.publish_batch(NULL, '{}', '{}', '[]')$$,
	$$SELECT evq_http.publish_each('{}', NULL)$$,
	$$SELECT evq_http.events(NULL, '{"q": "payload.n:1 o*", "status": "FAILED,EXPIRED", "flow_type": "HOSTILE"}', '{}', NULL)$$,
	$$SELECT evq_http.errors(NULL, '{"flow_type": "HOSTILE", "after": "1_00000000-0000-0000-0000-000000000000_1"}', '{}', NULL)$$,
	$$SELECT evq_http.counts(NULL, '{}', '{}', NULL), evq_http.pending('HOSTILE', '{"limit": "5"}', '{}', NULL)$$,
	$$SELECT evq_http.rights(NULL, '{}', '{}', NULL)$$,
	$$SELECT evq_http.flows(NULL, '{"after": "A"}', '{}', NULL), evq_http.event_types(NULL, '{"after": "A"}', '{}', NULL)$$,
	$$SELECT evq_http.health(NULL, '{}', '{}', NULL)$$,
	$$SELECT evq_http.configure('HOSTILE', '{}', '{}', '{"lifespan": 3600, "attempt_delays": [0, "1 s"], "jitter": 0}')$$,
	$$SELECT evq_http.configure_flow('HOSTILE', '{}', '{}', '{"dispatch_timeout": "30 s", "max_dispatched": 1000, "ordered": false}')$$,
	$$SELECT evq_http.groups('HOSTILE', '{}', '{}', NULL), evq_http.configure_group('HOSTILE', '{}', '{}', '{"group_key": "g"}')$$,
	$$SELECT evq_http.pause_group('HOSTILE', '{}', '{}', '{"group_key": "g", "until": "2100-01-01T00:00:00Z"}'), evq_http.resume_group('HOSTILE', '{}', '{}', '{"group_key": "g"}')$$,
	$$SELECT evq_http.pause_flow('HOSTILE', '{}', '{}', '{"until": "2100-01-01T00:00:00Z", "reason": "why"}'), evq_http.resume_flow('HOSTILE', '{}', '{}', NULL)$$,
	$$SELECT evq_http.suspend_event_type('HOSTILE', '{}', '{}', NULL), evq_http.unsuspend_event_type('HOSTILE', '{}', '{}', NULL)$$,
	$$SELECT public.evq_schedule('hostile', '@hourly', 'HOSTILE', NULL, 'seven', '{"n": 1}', 'all', 1::int2, 'FAILED', false)$$,
	$$SELECT public.evq_pause_schedule('hostile'), public.evq_resume_schedule('hostile'), evq.run_due_schedule('hostile'), evq.catch_up_schedules()$$,
	$$TABLE evq.schedules$$, $$SELECT evq_http.schedules(NULL, '{"after": "A"}', '{}', NULL), evq_http.pause_schedule('hostile', '{}', '{}', NULL)$$,
	$$SELECT public.evq_unschedule('hostile')$$,
	$$SELECT public.evq_tick()$$]) statement;
SELECT is(pg_temp.attacked('SELECT public.evq_version()'), (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'evq'), 'it reads the real catalog');
SELECT is((SELECT count(*)::int FROM evq.events WHERE flow_type = 'HOSTILE'), 6, 'events are in the real table');
SELECT is(pg_temp.attacked($$SELECT pg_catalog.jsonb_agg(c.events) FROM public.evq_counts('HOSTILE') c$$), '[6]', 'counts are the real ones');

CREATE FUNCTION pg_temp.id(flow_id text) RETURNS uuid LANGUAGE sql AS $$ SELECT event_id FROM evq.events e WHERE e.flow_id = id.flow_id AND chain_depth = 0 $$;
CREATE FUNCTION pg_temp.permit(flow_id text) RETURNS bigint LANGUAGE sql AS $$ SELECT permit FROM evq.events WHERE event_id = pg_temp.id(permit.flow_id) $$;
SELECT lives_ok(format('SELECT pg_temp.attacked(%L)', statement), regexp_replace(statement, '[0-9a-f]{8}-[-0-9a-f]{27}|[0-9]{10,}', '...', 'g')) FROM unnest(ARRAY[
	format($$SELECT public.evq_acquire(%L, 'w', '1 min')$$, pg_temp.id('one')),
	$$SELECT public.evq_acquire_next('HOSTILE', 10, '{HOSTILE, FAILED}', 'w', '1 min')$$]) statement;
SELECT lives_ok(format('SELECT pg_temp.attacked(%L)', statement), regexp_replace(statement, '[0-9a-f]{8}-[-0-9a-f]{27}|[0-9]{10,}', '...', 'g')) FROM unnest(ARRAY[
	format($$SELECT public.evq_heartbeat('{%s}', '{%s}', '1 min')$$, pg_temp.id('one'), pg_temp.permit('one')),
	format($$SELECT public.evq_succeed(%L, %L, '{}', '[{"event_type": "HOSTILE"}]')$$, pg_temp.id('one'), pg_temp.permit('one')),
	format($$SELECT public.evq_succeed(%L, %L)$$, pg_temp.id('one'), pg_temp.permit('one')),
	format($$SELECT public.evq_succeed_many('{%s}', '{%s}')$$, pg_temp.id('two'), pg_temp.permit('two')),
	format($$SELECT public.evq_succeed_and_acquire('HOSTILE', '{%s}', '{%s}')$$, pg_temp.id('three'), pg_temp.permit('three')),
	format($$SELECT public.evq_fail(%L, 'no', %L, 'trace', false, '1 s')$$, pg_temp.id('four'), pg_temp.permit('four')),
	format($$SELECT public.evq_fail_many('{%s}', '{%s}', 'no', false)$$, pg_temp.id('five'), pg_temp.permit('five')),
	format($$SELECT public.evq_suspend(%L, %L, '1 min')$$, pg_temp.id('six'), pg_temp.permit('six')),
	format($$SELECT public.evq_activate(%L)$$, pg_temp.id('six')),
	format($$SELECT public.evq_event(%L)$$, pg_temp.id('four')),
	format($$SELECT public.evq_retry(%L)$$, pg_temp.id('four')),
	format($$SELECT public.evq_cancel(%L, 'no')$$, pg_temp.id('four')),
	format($$SELECT evq_http.event(%1$L, '{}', '{}', NULL), evq_http.acquire(%1$L, '{}', '{}', '{"permit_for": 1}'), evq_http.acquire_next('HOSTILE', '{}', '{}', '{"event_types": ["FAILED"], "wait": "1 s"}')$$, pg_temp.id('four')),
	$$SELECT evq_http.acquire_of_flows(NULL, '{}', '{}', '{"flow_types": ["HOSTILE"], "weights": [2], "event_types": ["FAILED"], "wait": "1 s"}')$$,
	$$SELECT evq_http.acquire_batch('HOSTILE', '{}', '{}', '{"event_types": ["FAILED"], "wait": "1 s"}')$$,
	format($$SELECT evq_http.heartbeat(%1$L, '{}', '{}', '{"permit": 1, "extend_by": 1}'), evq_http.succeed(%2$L, '{}', '{}', '{"permit": %3$s}')$$,
		pg_temp.id('four'), pg_temp.id('one'), pg_temp.permit('one')),
	$$SELECT public.evq_redrive('HOSTILE', '-infinity')$$,
	$$SELECT public.evq_schedule('hostile', '@hourly', 'HOSTILE', NULL, 'seven', '{"n": 1}', 'all', 1::int2, 'FAILED', false)$$,
	$$SELECT public.evq_pause_schedule('hostile'), public.evq_resume_schedule('hostile'), evq.run_due_schedule('hostile'), evq.catch_up_schedules()$$,
	$$TABLE evq.schedules$$, $$SELECT evq_http.schedules(NULL, '{"after": "A"}', '{}', NULL), evq_http.pause_schedule('hostile', '{}', '{}', NULL)$$,
	$$SELECT public.evq_unschedule('hostile')$$,
	$$SELECT public.evq_tick()$$]) statement;
SELECT results_eq(
	$$SELECT e.flow_id, state::text FROM evq.events e WHERE flow_type = 'HOSTILE' AND chain_depth = 0 ORDER BY published_at, event_id$$,
	$$VALUES ('one', 'succeeded'), ('two', 'succeeded'), ('three', 'succeeded'), ('four', 'canceled'), ('five', 'dispatched'), ('six', 'dispatched')$$,
	'every verb did its work on the real table');

-- Errors of evq's own are raised as ever.
SELECT throws_ok(format('SELECT pg_temp.attacked(%L)', statement), wanted) FROM (VALUES
	($$SELECT public.evq_configure('HOSTILE', lifespan => '0')$$, 'EQ006'), ($$SELECT public.evq_configure_flow('HOSTILE', max_dispatched => 0)$$, 'EQ006'),
	($$SELECT public.evq_pending('NONE_SUCH')$$, 'EQ001'), ($$SELECT public.evq_event(NULL)$$, 'EQ002'),
	($$SELECT public.evq_publish('HOSTILE', NULL, 'one', '{"n": 2}', idempotency_key => 'key')$$, 'EQ008')) refused (statement, wanted);

SELECT * FROM finish();
ROLLBACK;
