-- Who may create functions in the extension's schema, as the owner of a database may in public, can put some of evq's
-- names there, with types that fit better than a polymorphic argument or one that is converted. evq's own SQL, which
-- may run with its owner's rights, calls none of them.
BEGIN;
SELECT * FROM no_plan();

CREATE ROLE evq_test_planter;
GRANT evq_publisher, evq_worker, evq_operator TO evq_test_planter;
GRANT CREATE, USAGE ON SCHEMA public TO evq_test_planter;
GRANT TEMPORARY ON DATABASE :DBNAME TO evq_test_planter;

CREATE TEMP VIEW functions AS
SELECT p.* FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
JOIN pg_extension x ON x.oid = d.refobjid WHERE x.extname = 'evq';
GRANT SELECT ON functions TO evq_test_planter;

-- Each function of the schema with other types in place of its own, as far as there is none with these.
SET LOCAL ROLE evq_test_planter;
CREATE FUNCTION pg_temp.plant(name name, types text[]) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS text LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''captured''''; END''',
		name, array_to_string(types, ', '));
	RETURN 1;
EXCEPTION WHEN duplicate_function THEN
	RETURN 0;
END
$$;
CREATE FUNCTION pg_temp.plant_all(json_type text, id_type text, number_type text) RETURNS int LANGUAGE sql AS $$
	SELECT sum(pg_temp.plant(f.proname, ARRAY(
		SELECT CASE WHEN t.type = 'anycompatible'::regtype THEN json_type
			WHEN t.type = 'anynonarray'::regtype THEN id_type
			WHEN t.type = 'anycompatiblearray'::regtype AND f.proname LIKE '%configure' THEN 'interval[]'
			WHEN t.type = 'anycompatiblearray'::regtype AND f.proname LIKE '%publish%' THEN json_type || '[]'
			WHEN t.type = 'anycompatiblearray'::regtype THEN 'uuid[]'
			WHEN t.type = 'anyarray'::regtype THEN id_type || '[]'
			WHEN t.type = 'bigint'::regtype THEN number_type
			WHEN t.type = 'jsonb'::regtype THEN json_type
			ELSE t.type::text END
		FROM unnest(f.proargtypes::oid[]::regtype[]) WITH ORDINALITY t(type, place) ORDER BY t.place)))::int
	FROM functions f WHERE f.pronamespace = 'public'::regnamespace
$$;
SELECT cmp_ok(pg_temp.plant_all(j, i, n), '>', 5, format('planted: %s, %s, %s', j, i, n))
FROM (VALUES ('jsonb', 'text', 'bigint'), ('jsonb', 'text', 'int'), ('jsonb', 'text', 'smallint'), ('text', 'int', 'bigint'), ('json', 'uuid', 'int')) v(j, i, n);
RESET ROLE;
SELECT throws_ok($$SELECT public.evq_publish('a'::text, 'b'::text, 'c'::text, '{}'::jsonb, 'd'::text, now(), 1::bigint, 'e'::text, '{}'::jsonb, 'g'::text)$$,
	'P0001', 'captured', 'the trap works');

-- Types, values and everything else are those of the gateway's calls; what is wrong with them does not matter.
SET LOCAL client_min_messages = error;
SELECT lives_ok($$SELECT evq.configure('PLANTED', 'PLANTED', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)$$, 'a type and its flow');
SELECT evq.publish('PLANTED', NULL, 'one', '{}', NULL, NULL, NULL, NULL, NULL, NULL) AS event_id \gset
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN CASE WHEN SQLERRM = 'captured' OR SQLSTATE LIKE '42%' THEN SQLSTATE || ' ' || SQLERRM ELSE 'done' END;
END
$$;
SELECT is(pg_temp.outcome(format('SELECT evq_http.%I(%L::text, %L::jsonb, %L::jsonb, %L::jsonb)', f.proname, t.target, '{}', '{}', b.body)), 'done', f.proname || ' ' || b.body)
FROM functions f, (VALUES ('{}'), ('{"permit": 1}'), ('{"event_type": "PLANTED", "flow_id": "f"}'), ('{"permit": 1, "run_at": "2030-01-01"}'),
	('{"permit": 1, "error_message": "no"}'), ('{"payload_patch": {}}'), ('{"max_attempts": 3}'), ('{"token": "none", "error_message": "no"}')) b(body), (VALUES (:'event_id'), ('PLANTED')) t(target)
WHERE f.pronamespace = 'evq_http'::regnamespace AND pg_get_function_identity_arguments(f.oid) LIKE 'target text, query jsonb, headers jsonb, body jsonb%';
SELECT is(pg_temp.outcome(t.statement), 'done', format('tool %s', t.name)) FROM (
	SELECT m.name, format('DO %L', format('DECLARE answer jsonb; BEGIN EXECUTE %L INTO answer USING %L::jsonb; END', m.statement,
		jsonb_build_object('event_id', :'event_id', 'event_type', 'PLANTED', 'flow_id', 'f'))) AS statement FROM evq_http.mcp_tools(true) m) t;
SELECT is((evq_http.mcp(NULL::jsonb, format('{"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "%s"}}', uri)::text, true)).answer ~ 'captured|not unique',
	false, uri) FROM (VALUES ('metrics://queues'), ('events://pending/PLANTED'), ('config://PLANTED'), ('event://' || :'event_id')) r(uri);
INSERT INTO evq.schedule (name, cron, event_type, flow_id, payload, misfire, has_job, done_until) VALUES ('planted', '* * * * *', 'PLANTED', 'f', '{}', 'once', false, now() - interval '1 hour');
SELECT is((SELECT count(*)::int FROM evq.ring_schedules()), 1, 'schedules ring');
SELECT is((SELECT last_error FROM evq.schedule WHERE name = 'planted'), NULL, 'without an error');
SELECT is((SELECT published FROM evq.schedule WHERE name = 'planted'), 1::bigint, 'and publish');
SELECT is(pg_temp.outcome($$SELECT public.evq_run_schedule('planted'::text)$$), 'done', 'by hand too');
SELECT isnt_empty($$SELECT FROM public.evq_check('1 hour'::interval) WHERE finding LIKE 'function % is named as one of evq''s and is not'$$, 'evq_check() tells of them');

-- A conversion of one's own is one's own doing.
SET LOCAL ROLE evq_test_planter;
CREATE TYPE pg_temp.spell AS ENUM ('1 s');
CREATE FUNCTION pg_temp.cast_spell(pg_temp.spell) RETURNS interval LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN current_user = 'evq_test_planter' THEN '2 s' ELSE '3 s' END; END $$;
CREATE CAST (pg_temp.spell AS interval) WITH FUNCTION pg_temp.cast_spell(pg_temp.spell);
SELECT lives_ok($$SELECT public.evq_configure('PLANTED'::text, attempt_delays => ARRAY['1 s'::pg_temp.spell])$$, 'delays of a type of one''s own');
RESET ROLE;
SELECT is((SELECT attempt_delays FROM evq.event_type WHERE event_type = 'PLANTED'), '{2 s}'::interval[], 'are converted by the caller, not by the owner');
SELECT set_eq($$SELECT proname::text FROM functions WHERE prosecdef AND proargtypes::oid[] && ARRAY(SELECT oid FROM pg_type WHERE typtype = 'p' AND typname LIKE 'any%')$$,
	ARRAY['evq_schedule'], 'no other function takes what it does not know with the owner''s rights; this one looks at the type first');

SELECT * FROM finish();
ROLLBACK;
