-- Roles that may work on, or publish into, some flows only.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

BEGIN; -- roles belong to the server: they go with the transaction
CREATE ROLE evq_test_red;
CREATE ROLE "evq_test Blue";
CREATE ROLE evq_test_anybody IN ROLE evq_worker;
CREATE ROLE evq_test_boss IN ROLE evq_operator, evq_test_red;
GRANT USAGE ON SCHEMA lab TO PUBLIC;
SELECT evq_configure('R', 'RED', attempt_delays => '{0 s, 1 hour}') \gset
SELECT evq_configure('B', 'BLUE') \gset
SELECT evq_publish('R', NULL, 'r' || n, to_jsonb('red secret ' || n), idempotency_key => 'r' || n) FROM generate_series(1, 9) n \g /dev/null
SELECT evq_publish('B', NULL, 'b' || n, to_jsonb('blue secret ' || n), idempotency_key => 'b' || n) FROM generate_series(1, 9) n \g /dev/null

-- What is refused.
CALL refused($$SELECT evq_grant_worker('evq_test_nobody', 'RED')$$);
CALL refused($$SELECT evq_grant_worker(NULL, 'RED')$$);
CALL refused($$SELECT evq_grant_worker('evq_test_red', 'GREEN')$$);
CALL refused($$SELECT evq_grant_worker('evq_test_red', NULL)$$);
CALL refused($$SELECT evq_grant_worker('evq_worker', 'RED')$$);
CALL refused($$SELECT evq_grant_worker('evq_test_boss', 'RED')$$);
CALL refused($$SELECT evq_grant_publisher(current_user, 'RED')$$);
CALL refused($$SELECT evq_revoke_worker(NULL)$$);
CALL refused($$SELECT evq_revoke_worker('evq_test_red', 'GREEN')$$);
SELECT * FROM evq.restrictions;

SELECT evq_grant_worker('evq_test_red', 'RED');
SELECT evq_grant_worker('evq_test_red', 'RED');
SELECT evq_grant_worker('evq_test Blue', 'BLUE'), evq_grant_publisher('evq_test Blue', 'BLUE');
SELECT role_name, may, flow_types FROM evq.restrictions ORDER BY 1, 2;

-- Its own flow: every verb.
SET LOCAL ROLE evq_test_red;
SELECT flow_id, payload FROM evq_acquire_next('RED', 4) ORDER BY flow_id;
RESET ROLE;
CREATE FUNCTION lab.ids(flow_ids text[]) RETURNS uuid[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, lab AS
	'SELECT array_agg(lab.ev(f) ORDER BY n) FROM unnest(flow_ids) WITH ORDINALITY AS u (f, n)';
CREATE FUNCTION lab.permits(flow_ids text[]) RETURNS bigint[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, lab AS
	'SELECT array_agg(lab.permit(f) ORDER BY n) FROM unnest(flow_ids) WITH ORDINALITY AS u (f, n)';
SET LOCAL ROLE evq_test_red;
SELECT held, cancel_requested FROM evq_heartbeat(ids('{r1}'), permits('{r1}'));
SELECT evq_release((ids('{r1}'))[1], (permits('{r1}'))[1]);
SELECT payload FROM evq_acquire((ids('{r1}'))[1]);
SELECT evq_suspend((ids('{r1}'))[1], (permits('{r1}'))[1]) IS NOT NULL AS suspended;
SELECT evq_activate((ids('{r1}'))[1]);
SELECT payload FROM evq_acquire((ids('{r1}'))[1]);
SELECT evq_fail((ids('{r1}'))[1], 'no', (permits('{r1}'))[1]);
SELECT accepted, state FROM evq_fail_many(ids('{r2}'), permits('{r2}'), 'no');
SELECT evq_succeed((ids('{r3}'))[1], (permits('{r3}'))[1], spinoffs => '[{"event_type": "R"}]') IS NOT NULL AS succeeded;
SELECT payload FROM evq_succeed_and_acquire('RED', ids('{r4}'), permits('{r4}'));
SELECT accepted FROM evq_succeed_many(ids('{r5}'), permits('{r5}'));
SELECT evq_snooze((ids('{r6}'))[1], (SELECT permit FROM evq_acquire((ids('{r6}'))[1])), now() + interval '1 min');
SELECT count(*) > 0 AS pending FROM evq_pending('RED');
SELECT DISTINCT flow_type FROM evq_counts();
RESET ROLE;

-- Nor by a role that it could set.
SELECT pg_has_role('evq_test_red', r, 'MEMBER') AS may_set, r FROM unnest('{evq_worker, evq_publisher, evq_restricted_worker}'::name[]) r;
SET LOCAL ROLE evq_restricted_worker;
CALL refused($$SELECT evq_acquire_next('RED')$$);
RESET ROLE;

-- Another one: every verb is refused, whatever the event's state and the permit.
SELECT evq_acquire_next('BLUE', 4) \g /dev/null
SELECT evq_succeed(ev('b2'), permit('b2')) \g /dev/null
SELECT evq_suspend(ev('b3'), permit('b3')) \g /dev/null
SELECT evq_cancel(ev('b4')) \g /dev/null
CREATE FUNCTION lab.as_role(role name, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE statement;
	RESET ROLE;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || lab.masked(SQLERRM);
END
$$;
CREATE TABLE lab.verbs (verb text);
INSERT INTO lab.verbs VALUES
	('SELECT * FROM evq_acquire(%1$L)'),
	('SELECT * FROM evq_heartbeat(ARRAY[%1$L]::uuid[], ARRAY[%2$s])'),
	('SELECT evq_succeed(%1$L, %2$s)'),
	('SELECT evq_succeed(%1$L)'),
	('SELECT * FROM evq_succeed_many(ARRAY[%1$L]::uuid[], ARRAY[%2$s])'),
	('SELECT * FROM evq_succeed_and_acquire(''RED'', ARRAY[%1$L]::uuid[], ARRAY[%2$s])'),
	('SELECT evq_fail(%1$L, ''no'', %2$s)'),
	('SELECT evq_fail(%1$L, ''no'')'),
	('SELECT * FROM evq_fail_many(ARRAY[%1$L]::uuid[], ARRAY[%2$s], ''no'')'),
	('SELECT evq_snooze(%1$L, %2$s, now() + interval ''1 min'')'),
	('SELECT evq_release(%1$L, %2$s)'),
	('SELECT evq_suspend(%1$L, %2$s)'),
	('SELECT evq_activate(%1$L)'),
	('SELECT * FROM evq_http.acquire(%1$L, NULL, NULL, ''{}'')'),
	('SELECT * FROM evq_http.succeed(%1$L, NULL, NULL, ''{"permit": "%2$s"}'')'),
	('SELECT * FROM evq_http.fail(%1$L, NULL, NULL, ''{"permit": "%2$s", "error_message": "no"}'')'),
	('SELECT * FROM evq_http.release(%1$L, NULL, NULL, ''{"permit": "%2$s"}'')'),
	('SELECT * FROM evq_acquire_next(''BLUE'')'),
	('SELECT * FROM evq_succeed_and_acquire(''BLUE'', ''{}'', ''{}'')'),
	('SELECT * FROM evq_pending(''BLUE'')'),
	('SELECT * FROM evq_http.acquire_next(''BLUE'', NULL, NULL, NULL)'),
	('SELECT * FROM evq_http.pending(''BLUE'', NULL, NULL, NULL)');
SET client_min_messages = error;
CREATE VIEW lab.blue AS SELECT md5(string_agg(e::text, ',' ORDER BY event_id)) AS checksum FROM evq.events e WHERE flow_type = 'BLUE';
SELECT checksum AS before FROM blue \gset
SELECT verb, array_agg(DISTINCT as_role('evq_test_red', format(verb, ev(flow_id), permit(flow_id)))) AS of_b1_to_b5
FROM verbs, unnest('{b1, b2, b3, b4, b5}'::text[]) flow_id GROUP BY verb ORDER BY verb COLLATE "C";
-- Its events cannot be told from events that do not exist.
CREATE FUNCTION lab.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	hint text;
	found text;
BEGIN
	SET LOCAL ROLE evq_test_red;
	EXECUTE format('SELECT string_agg(to_jsonb(x)::text, '','') FROM (%s) x', statement) INTO found;
	RESET ROLE;
	RETURN coalesce(lab.masked(found), 'no row');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RETURN lab.masked(concat_ws(' | ', SQLSTATE, message, hint));
END
$$;
SELECT verb, outcome(format(verb, ev(flow_id), permit(flow_id))) AS of_blue, outcome(format(verb, unknown, permit(flow_id))) AS of_none
FROM verbs, unnest('{b1, b2, b3, b4, b5}'::text[]) flow_id, (SELECT '01900000-0000-7000-8000-000000000000' AS unknown) n
WHERE verb ~ '%1' AND outcome(format(verb, ev(flow_id), permit(flow_id))) IS DISTINCT FROM outcome(format(verb, unknown, permit(flow_id)));
SELECT checksum = :'before' AS nothing_changed FROM blue;
RESET client_min_messages;
SELECT as_role('evq_test_red', 'SELECT evq_succeed(gen_random_uuid())');
CALL refused('SELECT evq_watch(interval ''1 s'') FROM (SELECT set_config(''role'', ''evq_test_red'', true) OFFSET 0) r');
RESET ROLE;
CREATE FUNCTION lab.refused_as(role name, statement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	CALL lab.refused(statement);
	RESET ROLE;
END
$$;
SELECT refused_as('evq_test_red', $$SELECT evq_acquire_next('BLUE')$$);
SELECT refused_as('evq_test_red', $$SELECT evq_pending('BLUE')$$);

-- Publishing: a key of another flow finds nothing.
SELECT refused_as('evq_test Blue', $$SELECT evq_publish('R', NULL, 'r1', '"red secret 1"', idempotency_key => 'r1')$$);
SELECT as_role('evq_test Blue', statement) FROM unnest(ARRAY[
	$$SELECT evq_publish('B', NULL, 'b', on_fail_event_type => 'B')$$,
	$$SELECT evq_publish_many('B', NULL, '{b}', '{1}')$$,
	$$SELECT evq_publish_many('[{"event_type": "B", "flow_id": "b"}, {"event_type": "R", "flow_id": "b"}]')$$,
	$$SELECT evq_publish_many('R', NULL, '{b}', '{1}')$$,
	$$SELECT evq_http.publish(NULL, NULL, NULL, '{"event_type": "R", "flow_id": "b"}')$$,
	$$SELECT evq_http.publish_batch(NULL, NULL, NULL, '[{"event_type": "R", "flow_id": "b"}]')$$]) statement;

-- Members are restricted with it, but operators; a plain member of evq_worker is not.
CREATE ROLE evq_test_member IN ROLE evq_test_red, evq_worker;
SELECT role, as_role(role, $$SELECT evq_acquire_next('BLUE')$$) AS blue, as_role(role, $$SELECT evq_acquire_next('RED')$$) AS red
FROM unnest('{evq_test_member, evq_test_boss, evq_test_anybody}'::name[]) role;

-- SECURITY DEFINER: its owner's restrictions count, as all of the owner's rights do.
CREATE FUNCTION lab.next_blue() RETURNS SETOF evq.acquired LANGUAGE sql SECURITY DEFINER AS $$ SELECT * FROM public.evq_acquire_next('BLUE') $$;
SELECT as_role('evq_test_red', 'SELECT lab.next_blue()') AS of_superuser;
ALTER FUNCTION lab.next_blue() OWNER TO evq_test_red;
SELECT as_role('evq_test Blue', 'SELECT lab.next_blue()') AS of_red;
CALL refused('SELECT lab.next_blue()');

-- A role that is renamed stays restricted; one that gets its name is restricted too.
ALTER ROLE evq_test_red RENAME TO evq_test_crimson;
CREATE ROLE evq_test_red IN ROLE evq_worker;
SELECT role, as_role(role, $$SELECT evq_acquire_next('BLUE')$$) AS blue, as_role(role, $$SELECT evq_acquire_next('RED')$$) AS red
FROM unnest('{evq_test_crimson, evq_test_red}'::name[]) role;
DROP ROLE evq_test_red;
ALTER ROLE evq_test_crimson RENAME TO evq_test_red;

-- One right in a flow is not the other.
CREATE ROLE evq_test_both;
SELECT evq_grant_worker('evq_test_both', 'RED'), evq_grant_publisher('evq_test_both', 'BLUE');
SELECT as_role('evq_test_both', statement) FROM unnest(ARRAY[
	$$SELECT evq_acquire_next('RED')$$, $$SELECT evq_publish('R', NULL, 'both')$$,
	$$SELECT evq_acquire_next('BLUE')$$, $$SELECT evq_publish('B', NULL, 'both')$$]) statement;
SELECT evq_revoke_worker('evq_test_both'), evq_revoke_publisher('evq_test_both');

-- Every flow, also one that is configured later.
SELECT evq_grant_worker('evq_test Blue', '*');
SELECT evq_configure('G', 'GREEN') \gset
SELECT as_role('evq_test Blue', format('SELECT evq_acquire_next(%L)', f)) FROM unnest('{RED, BLUE, GREEN}'::text[]) f;
SELECT role_name, may, flow_types FROM evq.restrictions ORDER BY 1, 2;
SELECT evq_revoke_worker('evq_test Blue', '*');
SELECT as_role('evq_test Blue', format('SELECT evq_acquire_next(%L)', f)) FROM unnest('{RED, BLUE, GREEN}'::text[]) f;

-- A membership alone, as in another database, is for no flow; evq_check() says so.
CREATE ROLE evq_test_elsewhere IN ROLE evq_restricted_worker, evq_restricted_publisher;
CREATE ROLE evq_test_heir IN ROLE evq_test_elsewhere;
SELECT role, as_role(role, statement) FROM unnest('{evq_test_elsewhere, evq_test_heir}'::name[]) role, unnest(ARRAY[
	$$SELECT evq_acquire_next('RED')$$, $$SELECT evq_publish('R', NULL, 'r')$$, $$SELECT evq_pending('RED')$$,
	format('SELECT evq_activate(%L)', ev('r1')), format('SELECT evq_succeed(%L)', ev('r1')), $$SELECT evq_watch()$$]) statement;
SET LOCAL ROLE evq_test_elsewhere;
SELECT count(*) FROM evq_counts();
RESET ROLE;
SELECT severity, finding, advice FROM evq_check() WHERE subject = 'privileges' AND finding ~ 'elsewhere|red' ORDER BY finding;
-- One of before 0.3 gets what binds it.
CREATE ROLE evq_test_old IN ROLE evq_worker;
INSERT INTO evq.restriction SELECT 'evq_test_old', 'work', 'evq_test_old'::regrole, ARRAY[flow_no] FROM evq.flow WHERE flow_type = 'RED';
SELECT severity, finding, advice FROM evq_check() WHERE subject = 'privileges' AND finding ~ 'old' ORDER BY finding;
SELECT evq_grant_worker('evq_test_old', 'RED');
SELECT severity, finding, advice FROM evq_check() WHERE subject = 'privileges' AND finding ~ 'old' ORDER BY finding;
SELECT as_role('evq_test_old', format('SELECT evq_acquire_next(%L)', f)) FROM unnest('{RED, BLUE}'::text[]) f;

-- Events of batches, by a token that came to others than it was granted to.
SELECT evq_configure_flow('REDS', delivery => 'pull'), evq_configure('RS', 'REDS', attempt_delays => '{0}') \gset
SELECT evq_configure_flow('BLUES', delivery => 'pull'), evq_configure('BS', 'BLUES') \gset
SELECT evq_grant_worker('evq_test_red', 'REDS'), evq_grant_worker('evq_test Blue', 'BLUES');
SET LOCAL evq.store_batches_from = 1;
SELECT count(*) FROM evq_publish_many('RS', NULL, '{rs1,rs2,rs3,rs4}', array_fill(jsonb '"red secret"', '{4}'));
SELECT count(*) FROM evq_publish_many('BS', NULL, '{bs1,bs2}', array_fill(jsonb '"blue secret"', '{2}'));
SELECT count(*) FROM evq.batch;
SET LOCAL ROLE evq_test_red;
SELECT flow_ids, token FROM evq_acquire_batch('REDS', 3) \gset
SELECT :'flow_ids';
RESET ROLE;
SELECT as_role('evq_test_red', $$SELECT evq_acquire_batch('BLUES')$$), as_role('evq_test_red', format('SELECT evq_cancel(%L)', ev('bs1')));
SET LOCAL ROLE "evq_test Blue";
SELECT count(*) FROM evq_succeed_batch(:'token');
SELECT count(*) FILTER (WHERE held) FROM evq_heartbeat_batch(:'token');
SELECT count(*) FILTER (WHERE accepted) FROM evq_fail_batch(:'token', 'no');
SELECT count(*) FROM evq_release_batch(:'token');
SELECT count(*) FROM evq_acquire((ids('{rs4}'))[1]);
RESET ROLE;
SELECT as_role('evq_test Blue', format(statement, ev('rs1'), permit('rs1'))) FROM unnest(ARRAY['SELECT evq_succeed(%L, %s)', 'SELECT evq_fail(%L, %L, %2$s)',
	'SELECT evq_snooze(%L, %s, now())', 'SELECT evq_cancel(%L)', 'SELECT evq_activate(%L)', 'SELECT evq_event(%L)']) statement;
SELECT flow_id, state, attempts_used FROM evq.events WHERE flow_id ~ '^[rb]s' ORDER BY 1;
SET LOCAL ROLE evq_test_red;
SELECT count(*) FILTER (WHERE held) FROM evq_heartbeat_batch(:'token');
SELECT accepted, state FROM evq_fail_batch(:'token', 'no', ids('{rs2}'));
SELECT count(*) FROM evq_succeed_batch(:'token');
RESET ROLE;
SELECT flow_id, state, attempts_used FROM evq.events WHERE flow_id ~ '^[rb]s' ORDER BY 1;

-- Without its last flow it may work on nothing.
SELECT evq_grant_worker('evq_test_red', 'BLUE');
SELECT as_role('evq_test_red', $$SELECT evq_acquire_next('BLUE')$$);
SELECT evq_revoke_worker('evq_test_red', 'RED');
SELECT evq_revoke_worker('evq_test_red', 'BLUE');
SELECT evq_revoke_worker('evq_test_red', 'REDS'), evq_revoke_worker('evq_test Blue', 'BLUES');
SELECT * FROM evq.restrictions WHERE role_name = 'evq_test_red';
SELECT as_role('evq_test_red', $$SELECT evq_acquire_next('RED')$$);
-- The end of the restriction is the end of the membership.
GRANT evq_test_anybody TO evq_test_red;
CALL refused($$SELECT evq_revoke_worker('evq_test_red')$$);
SELECT as_role('evq_test_red', $$SELECT evq_acquire_next('RED')$$);
REVOKE evq_test_anybody FROM evq_test_red;
SELECT evq_revoke_worker('evq_test_red');
SELECT as_role('evq_test_red', $$SELECT evq_acquire_next('RED')$$);
SELECT evq_revoke_publisher('evq_test Blue');
SELECT as_role('evq_test Blue', $$SELECT evq_publish('B', NULL, 'b')$$);
SELECT * FROM evq.restrictions ORDER BY 1;
ROLLBACK;
