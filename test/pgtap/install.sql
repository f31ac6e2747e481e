-- CREATE EXTENSION into a schema of the user's choice, where somebody has set traps before.
BEGIN;
SELECT * FROM no_plan();

DROP EXTENSION evq;
SELECT hasnt_schema(name, 'DROP EXTENSION takes the schema along: ' || name) FROM unnest('{evq, evq_http}'::name[]) name;
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc WHERE proname ~ '^evq_'$$, '... and the functions');

CREATE ROLE evq_test_attacker;
CREATE SCHEMA app;
GRANT CREATE, USAGE ON SCHEMA app TO evq_test_attacker;
SET LOCAL ROLE evq_test_attacker;
DO $$
DECLARE
	sign text;
	type text;
	name text;
BEGIN
	FOREACH type IN ARRAY ARRAY['text', 'name', 'int', 'smallint', 'bigint', 'float8', 'boolean', 'uuid', 'jsonb', 'interval', 'timestamptz', '"char"', 'oid', 'regclass'] LOOP
		EXECUTE format('CREATE FUNCTION app.compare(%s, %s) RETURNS boolean LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''captured''''; END''', type, type);
		EXECUTE format('CREATE FUNCTION app.combine(%s, %s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''captured''''; END''', type, type, type);
		FOREACH sign IN ARRAY ARRAY['=', '<>', '<', '<=', '>', '>=', '~', '!~'] LOOP
			EXECUTE format('CREATE OPERATOR app.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = app.compare)', sign, type, type);
		END LOOP;
		FOREACH sign IN ARRAY ARRAY['||', '+', '-', '*', '/'] LOOP
			EXECUTE format('CREATE OPERATOR app.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = app.combine)', sign, type, type);
		END LOOP;
		FOREACH name IN ARRAY ARRAY['lower', 'format', 'cardinality', 'now', 'clock_timestamp', 'unnest', 'array_position', 'min', 'count', 'quote_ident', 'quote_literal'] LOOP
			EXECUTE format('CREATE FUNCTION app.%I(%s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''captured''''; END''', name, type, type);
		END LOOP;
	END LOOP;
	FOREACH name IN ARRAY ARRAY['flow', 'event', 'event_type', 'pg_roles', 'pg_extension', 'pg_depend', 'pg_constraint'] LOOP
		EXECUTE format('CREATE TABLE app.%I ()', name);
	END LOOP;
END
$$;
-- Mixed types, which pg_catalog has no exact operator for, are the ones most easily captured.
CREATE FUNCTION app.compare(smallint, int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''captured''; END';
CREATE OPERATOR app.>= (LEFTARG = smallint, RIGHTARG = int, FUNCTION = app.compare);
CREATE OPERATOR app.<= (LEFTARG = smallint, RIGHTARG = int, FUNCTION = app.compare);
CREATE FUNCTION app.compare("char", text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''captured''; END';
CREATE OPERATOR app.= (LEFTARG = "char", RIGHTARG = text, FUNCTION = app.compare);
CREATE FUNCTION app.compare(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''captured''; END';
CREATE OPERATOR app.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = app.compare);
CREATE FUNCTION app.divide(interval, int) RETURNS interval LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''captured''; END';
CREATE OPERATOR app./ (LEFTARG = interval, RIGHTARG = int, FUNCTION = app.divide);
CREATE FUNCTION app.divide(interval, smallint) RETURNS interval LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''captured''; END';
CREATE OPERATOR app./ (LEFTARG = interval, RIGHTARG = smallint, FUNCTION = app.divide);
RESET ROLE;

SELECT lives_ok('CREATE EXTENSION evq SCHEMA app', 'CREATE EXTENSION into that schema');
SELECT is(extnamespace::regnamespace::text, 'app', 'it is there') FROM pg_extension WHERE extname = 'evq';

-- It works there, also where that schema is not in the path.
SELECT lives_ok($$SELECT app.evq_configure('A', 'F', 3, '1 hour', on_suspend_timeout => 'retry')$$, 'configure');
SELECT lives_ok($$SELECT app.evq_configure('B', 'G', 3, '1 hour')$$, 'configure makes the flow');
SELECT isnt(app.evq_publish('A', NULL, 'f', idempotency_key => 'k'), NULL, 'publish');
SELECT is((SELECT dispatched FROM app.evq_tick()), 1, 'dispatch');
SELECT is((SELECT app.evq_succeed(event_id, permit) FROM app.evq_acquire_next('F')), '{}', 'acquire and succeed');
SELECT is((SELECT state::text FROM evq.events), 'succeeded', 'events');
SELECT isnt(app.evq_publish('A', NULL, 'g'), NULL, 'publish');
SELECT is((SELECT app.evq_fail(event_id, 'no', permit, retryable => false)::text FROM app.evq_acquire_next('F')), 'failed', 'fail');
SELECT is(app.evq_redrive('A', '-infinity'), 1::bigint, 'redrive finds evq_retry in that schema');
SELECT lives_ok($$SELECT app.evq_drop_event_type('B'), app.evq_version(), app.evq_status(), (SELECT sum(events) FROM app.evq_counts())$$, 'the others');
SELECT lives_ok('TABLE evq.' || name, 'evq.' || name) FROM unnest('{flows, event_types, events, queue, workers, errors, transition}'::text[]) name;
SELECT is(app.evq_event(event_id) ->> 'flow_id', flow_id, 'evq_event: ' || flow_id) FROM evq.events ORDER BY event_id;

SELECT lives_ok('DROP OWNED BY evq_test_attacker', 'nothing depends on a trap');

-- Roles of an earlier installation are taken as they are.
SELECT lives_ok('DROP EXTENSION evq', 'DROP EXTENSION');
SELECT has_role('evq_operator', 'leaves the roles');
SELECT throws_ok('CREATE EXTENSION evq SCHEMA ' || name, '3F000', NULL, 'a schema of the extension''s own: ' || name) FROM unnest('{evq, evq_http}'::name[]) name;

SELECT * FROM finish();
ROLLBACK;
