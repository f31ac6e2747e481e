-- The doctor: every finding appears with its fault and goes away with it. What takes a dispatcher is in t/ops_check.pl.
-- Commits, statistics and settings of a database are needed, so this has one of its own.
CREATE DATABASE check_up;
\connect check_up
SET client_min_messages = error;
CREATE EXTENSION pgtap;
CREATE EXTENSION evq;
SELECT * FROM no_plan();

CREATE FUNCTION pg_temp.said(subject text, patience interval DEFAULT '0 s') RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(': ', c.severity, c.finding), '; ') FROM public.evq_check(said.patience) c WHERE c.subject = said.subject
$$;
-- One finding that looks like this comes and, by the second statement, goes.
CREATE FUNCTION pg_temp.comes_and_goes(subject text, come text, looks_like text, go text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	before text := pg_temp.said(subject);
BEGIN
	EXECUTE come;
	RETURN NEXT matches(pg_temp.said(subject), looks_like, subject || ': ' || come);
	RETURN NEXT is((SELECT count(*)::int FROM evq_check('0 s') c WHERE c.subject = comes_and_goes.subject AND c.severity <> 'ok' AND advice IS NULL), 0,
		'... with advice');
	EXECUTE go;
	RETURN NEXT is(pg_temp.said(subject), before, '... and goes: ' || go);
END
$$;

SELECT set_eq($$SELECT DISTINCT subject FROM evq_check()$$, ARRAY['dispatcher', 'ring', 'clock', 'version', 'flows', 'event types', 'schedules',
	'notifications', 'snapshots', 'prepared transactions', 'autovacuum', 'bloat', 'durability', 'tables', 'privileges'], 'each subject is told of');
SELECT matches(pg_temp.said('tables'), '^warning: the history has no partition for now', 'no housekeeping, no partitions');
SELECT ok(partitions_dropped = 0, 'evq_purge() makes them') FROM evq_purge();
SELECT results_eq($$SELECT severity, subject, finding FROM evq_check() WHERE severity <> 'ok' AND subject NOT IN ('durability', 'autovacuum')$$,
	$$VALUES ('error', 'dispatcher', 'dispatchers are switched off')$$, 'nothing is wrong with a new installation but that its dispatcher is off here');
SELECT throws_ok('SELECT evq_check(NULL)', 'EQ006');
SELECT throws_ok($$SELECT evq_check('-1 s')$$, 'EQ006');

-- Privileges.
CREATE ROLE evq_test_other;
SELECT pg_temp.comes_and_goes('privileges', 'GRANT ' || what, looks_like, 'REVOKE ' || replace(what, ' TO ', ' FROM ')) FROM (VALUES
	('SELECT ON evq.event TO PUBLIC', 'error: PUBLIC has SELECT on evq.event$'),
	('SELECT ON evq.events TO PUBLIC', 'error: PUBLIC has SELECT on evq.events$'),
	('EXECUTE ON FUNCTION evq_tick() TO PUBLIC', 'error: PUBLIC has EXECUTE on public.evq_tick\(\)$'),
	('USAGE ON SCHEMA evq TO PUBLIC', 'error: PUBLIC has USAGE on schema evq$'),
	('USAGE ON TYPE evq.acquired TO PUBLIC', 'error: PUBLIC has USAGE on evq.acquired$'),
	('TRIGGER, REFERENCES ON evq.event_history TO evq_test_other', 'error: evq_test_other has REFERENCES, TRIGGER on evq.event_history$'),
	('UPDATE (state) ON evq.event TO evq_test_other', 'error: evq_test_other has UPDATE on evq.event.state$'),
	('USAGE ON SEQUENCE evq.flow_flow_no_seq TO evq_test_other', 'error: evq_test_other has USAGE on evq.flow_flow_no_seq$'),
	('USAGE ON SCHEMA evq_http TO PUBLIC', 'error: PUBLIC has USAGE on schema evq_http$'),
	('CREATE ON SCHEMA evq_http TO evq_test_other', 'error: evq_test_other has CREATE on schema evq_http$'),
	('CREATE ON SCHEMA evq TO evq_test_other', 'error: evq_test_other has CREATE on schema evq$')) v(what, looks_like);
SELECT is(pg_temp.said('privileges'), 'ok', 'all is as before');
SELECT pg_temp.comes_and_goes('privileges', 'ALTER VIEW evq.queue OWNER TO evq_test_other', 'error: evq.queue belongs to evq_test_other',
	format('ALTER VIEW evq.queue OWNER TO %I', current_user));
SELECT pg_temp.comes_and_goes('privileges', 'ALTER FUNCTION evq_event(uuid) RESET search_path', 'error: public.evq_event\(uuid\) runs with its owner''s rights',
	'ALTER FUNCTION evq_event(uuid) SET search_path = pg_catalog, pg_temp');
SELECT pg_temp.comes_and_goes('privileges', 'CREATE FUNCTION public.evq_retry(text) RETURNS void LANGUAGE sql AS $f$ SELECT public.evq_retry($1::uuid) $f$',
	'error: function public.evq_retry\(text\), of \S+, is named as one of evq''s and is not', 'DROP FUNCTION public.evq_retry(text)');
CREATE SCHEMA evq_test_schema AUTHORIZATION evq_test_other;
SELECT pg_temp.comes_and_goes('privileges', 'SET ROLE evq_test_other; CREATE FUNCTION evq_test_schema.evq_cancel(uuid, text) RETURNS void LANGUAGE sql AS $f$ SELECT $f$; RESET ROLE',
	'error: function evq_test_schema.evq_cancel\(uuid,text\), of evq_test_other, is named', 'DROP FUNCTION evq_test_schema.evq_cancel(uuid, text)');
SELECT pg_temp.comes_and_goes('privileges', format('CREATE FUNCTION evq_test_schema.%s RETURNS void LANGUAGE sql AS $f$ SELECT $f$', name),
	format('error: function evq_test_schema.%s.*, of \S+, has the name that one of evq''s had before 0.3', split_part(name, '(', 1)), format('DROP FUNCTION evq_test_schema.%s', name))
FROM unnest('{"evq_http_publish(text, jsonb, jsonb, jsonb)", evq_mcp(text)}'::text[]) name;
SELECT pg_temp.comes_and_goes('privileges', format('CREATE FUNCTION %s RETURNS void LANGUAGE sql AS $f$ SELECT $f$', name),
	format('error: function %s.*, of \S+, is not evq''s and stands in a schema that is', split_part(name, '(', 1)), format('DROP FUNCTION %s', name))
FROM unnest('{evq_http.publish(text), evq.evq_ours()}'::text[]) name;
CREATE FUNCTION evq_test_schema.evq_ours() RETURNS void LANGUAGE sql AS $$ SELECT $$;
SELECT is(pg_temp.said('privileges'), 'ok', 'a name that evq has not is nobody''s business');
DROP SCHEMA evq_test_schema CASCADE;
SELECT evq_configure('A', 'F', attempt_delays => '{0 s}') \g /dev/null
SELECT evq_grant_worker('evq_test_other', 'F') \g /dev/null
SELECT pg_temp.comes_and_goes('privileges', 'ALTER ROLE evq_test_other RENAME TO evq_test_another',
	'warning: a restriction of role evq_test_other is left, which is called evq_test_another by now', 'ALTER ROLE evq_test_another RENAME TO evq_test_other');
SELECT pg_temp.comes_and_goes('privileges', 'DROP ROLE evq_test_other',
	'warning: a restriction of role evq_test_other is left, which does not exist', $$SELECT evq_revoke_worker('evq_test_other')$$);

-- Tables.
SELECT pg_temp.comes_and_goes('tables', come, looks_like, go) FROM (VALUES
	('ALTER TABLE evq.event REPLICA IDENTITY NOTHING', 'error: evq.event has no replica identity', 'ALTER TABLE evq.event REPLICA IDENTITY DEFAULT'),
	('ALTER TABLE evq.pause REPLICA IDENTITY DEFAULT', 'error: evq.pause has no replica identity', 'ALTER TABLE evq.pause REPLICA IDENTITY FULL'),
	($$SET client_min_messages = error; CREATE PUBLICATION parts FOR TABLE evq.event WHERE (state = 'a'), evq.flow (flow_no, flow_type)$$,
		'warning: publication parts has a row filter or a column list for evq.event; warning: publication parts has a row filter or a column list for evq.flow', 'DROP PUBLICATION parts'),
	('ALTER TABLE evq.event_history_default REPLICA IDENTITY DEFAULT; CREATE PUBLICATION whole FOR ALL TABLES WITH (publish_via_partition_root)',
		'warning: publication whole publishes the history through its root, and the replica identity of evq.event_history_default is not FULL',
		'ALTER TABLE evq.event_history_default REPLICA IDENTITY FULL; DROP PUBLICATION whole')) v(come, looks_like, go);
CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
SELECT pg_temp.comes_and_goes('tables', come, looks_like, go) FROM (VALUES
	('CREATE TRIGGER mine AFTER INSERT ON evq.flow EXECUTE FUNCTION public.nothing()', '^error: evq.flow has a trigger, mine$', 'DROP TRIGGER mine ON evq.flow'),
	('CREATE RULE mine AS ON INSERT TO evq.flow DO ALSO SELECT 1', '^error: evq.flow has a rule, mine$', 'DROP RULE mine ON evq.flow'),
	('ALTER TABLE evq.pause DISABLE TRIGGER pause_changed', '^error: the trigger pause_changed of evq.pause does not fire in every session$', 'ALTER TABLE evq.pause ENABLE ALWAYS TRIGGER pause_changed'),
	('ALTER TABLE evq.flow ENABLE TRIGGER flow_emptied', '^error: the trigger flow_emptied of evq.flow does not fire in every session$', 'ALTER TABLE evq.flow ENABLE ALWAYS TRIGGER flow_emptied'),
	('ALTER TABLE evq.event ADD CONSTRAINT mine CHECK (flow_id <> '''')', '^warning: evq.event has a constraint that is not evq''s, mine$', 'ALTER TABLE evq.event DROP CONSTRAINT mine'),
	('ALTER TABLE evq.event_history ADD CONSTRAINT mine CHECK (flow_id <> '''')', '^warning: evq.event_history has a constraint that is not evq''s, mine$', 'ALTER TABLE evq.event_history DROP CONSTRAINT mine'),
	('ALTER TABLE evq.event_history ADD COLUMN mine int', '^warning: evq.event_history has a column that is not evq''s, mine$', 'ALTER TABLE evq.event_history DROP COLUMN mine'),
	('CREATE INDEX mine ON evq.event_history (flow_id)', '^warning: index evq.mine is one of the whole history', 'DROP INDEX evq.mine'),
	('ALTER TABLE evq.restriction ADD COLUMN mine int', '^warning: evq.restriction has a column that is not evq''s, mine$', 'ALTER TABLE evq.restriction DROP COLUMN mine'),
	('UPDATE pg_index SET indisvalid = false WHERE indexrelid = ''evq.event_pkey''::regclass', 'error: index evq.event_pkey is not valid$', 'UPDATE pg_index SET indisvalid = true WHERE indexrelid = ''evq.event_pkey''::regclass'),
	('ALTER TABLE evq.event ENABLE ROW LEVEL SECURITY', '^error: evq.event has row security$', 'ALTER TABLE evq.event DISABLE ROW LEVEL SECURITY'),
	('CREATE POLICY mine ON evq.event', '^error: evq.event has row security$', 'DROP POLICY mine ON evq.event'),
	('ALTER TABLE evq.event SET UNLOGGED', '^error: evq.event is not logged', 'ALTER TABLE evq.event SET LOGGED'),
	('CREATE TABLE public.heir () INHERITS (evq.event)', '^error: public.heir inherits from evq.event$', 'DROP TABLE public.heir'),
	('CREATE TABLE evq.mine ()', '^warning: evq.mine in schema evq is not evq''s$', 'DROP TABLE evq.mine'),
	('CREATE INDEX mine ON evq.event (state)', '^warning: index evq.mine makes', 'DROP INDEX evq.mine'),
	('CREATE INDEX mine ON evq.run (state_since)', '^warning: index evq.mine makes', 'DROP INDEX evq.mine'),
	('CREATE INDEX mine ON evq.log (flow_id)', '^warning: index evq.mine is one of the whole evq.log, which', 'DROP INDEX evq.mine'),
	('ALTER TABLE evq.batch ADD CONSTRAINT mine CHECK (events > 0)', '^warning: evq.batch has a constraint that is not evq''s, mine$', 'ALTER TABLE evq.batch DROP CONSTRAINT mine'),
	('ALTER TABLE evq.exception ADD COLUMN mine int', '^warning: evq.exception has a column that is not evq''s, mine$', 'ALTER TABLE evq.exception DROP COLUMN mine'),
	('ALTER TABLE evq.backlog REPLICA IDENTITY NOTHING', '^error: evq.backlog has no replica identity', 'ALTER TABLE evq.backlog REPLICA IDENTITY DEFAULT'),
	('ALTER TABLE evq.log_default REPLICA IDENTITY DEFAULT; CREATE PUBLICATION whole FOR ALL TABLES WITH (publish_via_partition_root)',
		'warning: publication whole publishes evq.log through its root, and the replica identity of evq.log_default is not FULL',
		'ALTER TABLE evq.log_default REPLICA IDENTITY FULL; DROP PUBLICATION whole'),
	('DROP INDEX evq.log_default_event_id_idx', '^warning: evq.log_default has no summary of its ids',
		'CREATE INDEX log_default_event_id_idx ON evq.log_default USING brin (event_id) WITH (pages_per_range = 32)'),
	('CREATE INDEX mine ON evq.event (flow_id) WHERE worker IS NULL', '^warning: index evq.mine makes', 'DROP INDEX evq.mine')) v(come, looks_like, go);
-- Refused where evq's code would pass them over.
CREATE TABLE public.users (event_id uuid, n int PRIMARY KEY, attempt smallint UNIQUE);
SELECT throws_ok(refused, '0A000', NULL, refused) FROM unnest(ARRAY[
	'CREATE TRIGGER mine AFTER INSERT ON evq.event EXECUTE FUNCTION public.nothing()',
	'CREATE TRIGGER mine AFTER INSERT ON evq.event_history FOR EACH ROW EXECUTE FUNCTION public.nothing()',
	'CREATE TRIGGER mine AFTER INSERT ON evq.event_history_default EXECUTE FUNCTION public.nothing()',
	'CREATE RULE mine AS ON INSERT TO evq.event_error DO ALSO SELECT 1',
	'CREATE TRIGGER mine AFTER INSERT ON evq.run EXECUTE FUNCTION public.nothing()',
	'CREATE TRIGGER mine AFTER INSERT ON evq.log_default EXECUTE FUNCTION public.nothing()',
	'ALTER TABLE evq.event_payload ADD UNIQUE (payload) DEFERRABLE',
	'ALTER TABLE evq.event ADD FOREIGN KEY (event_type_no) REFERENCES evq.event_type',
	'ALTER TABLE evq.event_error ADD FOREIGN KEY (attempt) REFERENCES public.users (attempt)',
	'ALTER TABLE public.users ADD FOREIGN KEY (event_id) REFERENCES evq.event',
	'CREATE TABLE public.more (event_id uuid REFERENCES evq.event_history_default)']) refused;
SELECT lives_ok('ALTER TABLE public.users ADD FOREIGN KEY (n) REFERENCES evq.event_type', 'what SQL writes can have them');
DROP TABLE public.users;
SELECT is(pg_temp.said('tables'), 'ok', 'nothing is left');

-- Batches: where their rows are, and whether the backlog says of them what runs and exceptions say.
SELECT evq_configure_flow('PULLED', delivery => 'pull'), evq_configure('BATCHED', 'PULLED', lifespan => '1 day') \g /dev/null
SET evq.store_batches_from = 1;
SET evq.debug_clock_offset = '-1 h';
SELECT count(*) FROM evq_publish_many('BATCHED', NULL, '{a, b, c}'::text[], '{1, 2, 3}'::jsonb[]) \g /dev/null
RESET evq.debug_clock_offset;
CREATE TABLE public.batch AS TABLE evq.batch;
CREATE TABLE public.logged AS SELECT * FROM evq.log WHERE flow_id = 'b';
SELECT pg_temp.comes_and_goes('tables', come, looks_like, go) FROM (VALUES
	('UPDATE evq.batch SET places = ''''', '^warning: rows of evq.log are not where their batches say', 'UPDATE evq.batch SET places = evq.find_places(batch_id)'),
	('INSERT INTO evq.run SELECT evq.id_in_batch(batch_id, 2), 3, ''s'', now() - interval ''1 h'', ''infinity'', now() - interval ''1 h'', 1 FROM evq.batch',
		'^warning: 1 batches are done, and in the backlog still', 'DELETE FROM evq.run'),
	('DELETE FROM evq.backlog', '^error: batch \S+ is not in the backlog, and 3 of its events have no end: nobody offers them$',
		'INSERT INTO evq.backlog SELECT flow_no, attempt_scheduled_at, batch_id, event_type_no, priority, events FROM evq.batch'),
	('INSERT INTO evq.exception SELECT batch_id, ''m'', now() - interval ''1 h'' FROM evq.batch; DELETE FROM evq.backlog', '^error: batch \S+ is not in the backlog, and 2 of its events',
		'DELETE FROM evq.exception; INSERT INTO evq.backlog SELECT flow_no, attempt_scheduled_at, batch_id, event_type_no, priority, events FROM evq.batch'),
	('DELETE FROM evq.log WHERE flow_id = ''b''', '^error: rows of evq.log are missing, of 1 events of batch \S+ for one', 'INSERT INTO evq.log TABLE public.logged; UPDATE evq.batch SET places = coalesce(evq.find_places(batch_id), places)'),
	('DELETE FROM evq.batch', '^error: \S+ is in the backlog, and there is no such batch$', 'INSERT INTO evq.batch TABLE public.batch')) v(come, looks_like, go);
SELECT count(evq_cancel(event_id)) FROM evq.events WHERE event_type = 'BATCHED' \g /dev/null
SELECT evq_tick() \g /dev/null
SELECT is(pg_temp.said('tables'), 'ok', 'a batch that its events have left is done');

-- What finished before there were partitions, as after an upgrade: the one for now cannot be made, and needs not.
DO $$ DECLARE p regclass; BEGIN FOR p IN SELECT relation FROM evq.history_partitions() WHERE from_at IS NOT NULL LOOP EXECUTE format('DROP TABLE %s', p); END LOOP; END $$;
SELECT matches(pg_temp.said('tables'), '^warning: the history has no partition for now', 'no partitions');
SELECT evq_publish('A', NULL, 'x') AS early \gset
SELECT evq_cancel(:'early') \g /dev/null
SELECT matches(pg_temp.said('tables'), '^warning: the history has no partition for now', '... and something that finished');
SELECT ok(evq_purge() IS NOT NULL, 'the advice is followed');
SELECT is(pg_temp.said('tables'), 'ok', '... and helps');

-- The server.
SELECT pg_temp.comes_and_goes('autovacuum', 'ALTER TABLE evq.event SET (autovacuum_enabled = off)', 'error: it is off for evq.event', 'ALTER TABLE evq.event RESET (autovacuum_enabled)');
SELECT pg_temp.comes_and_goes('durability', 'SET synchronous_commit = off', 'warning: synchronous_commit is off: ', 'RESET synchronous_commit');
SELECT pg_temp.comes_and_goes('durability', 'ALTER DATABASE check_up SET synchronous_commit = off', 'warning: synchronous_commit is off in database check_up: ',
	'ALTER DATABASE check_up RESET synchronous_commit');
SELECT pg_temp.comes_and_goes('durability', 'ALTER ROLE evq_worker SET synchronous_commit = off', 'warning: synchronous_commit is off for role evq_worker: ',
	'ALTER ROLE evq_worker RESET synchronous_commit');
SELECT pg_temp.comes_and_goes('version', $$UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'evq'$$, '^error: the library is version .*, the extension in this database 0.0.1',
	$$UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'evq') WHERE extname = 'evq'$$);
-- A package that was upgraded, and a server that was not restarted.
SELECT pg_temp.comes_and_goes('version', $$UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'evq';
	CREATE OR REPLACE FUNCTION evq.library_version() RETURNS text LANGUAGE sql AS 'SELECT ''0.0.1'''$$, '^warning: evq .* is installed, and the server still works with the library of 0.0.1$',
	format('%s; UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = ''evq'') WHERE extname = ''evq''',
		pg_get_functiondef('evq.library_version()'::regprocedure)));

-- Dead rows.
ALTER TABLE evq.event SET (autovacuum_enabled = off);
SELECT count(evq_publish('A', NULL, n::text)) FROM generate_series(1, 2000) n;
BEGIN; -- so that none can be pruned meanwhile
SELECT format('UPDATE evq.event SET worker = %L', n) FROM generate_series(1, 51) n \gexec
COMMIT;
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT matches(pg_temp.said('bloat'), '^warning: evq.event has 1\d{5} dead rows beside 2000 live ones; it was never vacuumed automatically$', 'bloat: dead rows');
VACUUM evq.event;
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT is(pg_temp.said('bloat'), 'ok', '... are removed');
ALTER TABLE evq.event RESET (autovacuum_enabled);
SELECT count(evq_cancel(event_id)) FROM evq.event;

-- A prepared transaction, and its snapshot.
SELECT is(pg_temp.said('prepared transactions'), 'ok', 'no prepared transaction');
BEGIN;
SELECT evq_publish('A', NULL, 'prepared') \g /dev/null
PREPARE TRANSACTION 'evq test';
SELECT matches(pg_temp.said('prepared transactions'), $$^warning: transaction 'evq test' of .* is prepared since$$, 'a prepared transaction');
SELECT is(pg_temp.said('prepared transactions', '1 hour'), 'ok', '... may last for a while');
ROLLBACK PREPARED 'evq test';
SELECT is(pg_temp.said('prepared transactions'), 'ok', '... and is gone');

-- The clock. The ids of events tell when they were published.
SET evq.debug_clock_offset = 3600;
SELECT evq_publish('A', NULL, 'future') AS id \gset
RESET evq.debug_clock_offset;
SELECT is(pg_temp.said('clock'), 'error: there are events published in the future: the clock was ahead and went back', 'clock: events of the future');
SELECT evq_cancel(:'id') \g /dev/null
SELECT is(pg_temp.said('clock'), 'ok', '... are done');
SELECT pg_temp.comes_and_goes('clock', $$INSERT INTO evq.epoch VALUES (-1, 0, 0, 0, 0, now() + interval '1 day')$$, 'error: the permits'' epoch began at .*, in the future',
	'DELETE FROM evq.epoch WHERE epoch = -1');

-- Work.
SELECT pg_temp.comes_and_goes('event types', $$UPDATE evq.event_type SET on_fail_event_type = 'NONE' WHERE event_type = 'A'$$,
	'^error: the on-fail event type NONE of A is not configured in its flow$', $$SELECT evq_configure('A', on_fail_event_type => '')$$);
SELECT pg_temp.comes_and_goes('event types', $$UPDATE evq.event_type SET flow_no = -1 WHERE event_type = 'A'$$,
	'^error: A belongs to no flow$', $$SELECT evq_configure('A', 'F')$$);
SELECT evq_publish('A', NULL, 'due') AS id \gset
SELECT matches(pg_temp.said('flows'), '^warning: in flow F an event has been due since .*, and no worker holds one$', 'flows: nobody works');
SELECT is(pg_temp.said('flows', '1 hour'), 'ok', '... which may last for a while');
SELECT is(pg_temp.said('event types'), 'ok', 'its type is not suspended');
SELECT evq_suspend_event_type('A') \g /dev/null
SELECT is(pg_temp.said('flows'), 'ok', '... nor does it, while its type is suspended');
SELECT matches(pg_temp.said('event types'), '^warning: A is suspended, and .*events of it wait$', '... of which is told');
SELECT evq_unsuspend_event_type('A') \g /dev/null
SELECT is(pg_temp.said('event types'), 'ok', '... until it is not');
SELECT evq_pause_flow('F', reason => 'the API is down') \g /dev/null
SELECT matches(pg_temp.said('flows'), '^warning: flow F has been paused since .*: the API is down', 'a paused flow');
SELECT is(pg_temp.said('flows', '1 hour'), 'ok', '... which may be for a while');
SELECT evq_resume_flow('F') \g /dev/null
SELECT evq_publish('A', NULL, 'due too') AS other \gset
SELECT count(*) FROM evq_acquire(:'id');
SELECT matches(pg_temp.said('flows'), '^warning: in flow F an event has been due since .*: its workers do not keep up', 'flows: somebody works');
SELECT evq_succeed(:'id'), evq_cancel(:'other') \g /dev/null
SELECT is(pg_temp.said('flows'), 'ok', '... it is done');

-- Schedules, where there are any.
SELECT is(pg_temp.said('schedules'), 'ok', 'schedules');
SELECT lives_ok($$SELECT evq_configure('TICK', 'TICKING'), evq_schedule('ticking', '@hourly', 'TICK', NULL, 'case', make_job => false)$$, 'a schedule');
SELECT pg_temp.comes_and_goes('schedules', $$UPDATE evq.schedule SET last_error = 'EQ001: unknown event type', last_error_at = now()$$,
	'^error: schedule ticking published nothing at .*EQ001', $$UPDATE evq.schedule SET last_error = NULL$$);
SELECT pg_temp.comes_and_goes('schedules', $$UPDATE evq.schedule SET last_error = 'no'$$, '^error: schedule ticking', $$SELECT evq_unschedule('ticking', false)$$);

-- For the monitor too; it costs no scan of a table of events.
SET ROLE evq_monitor;
SELECT isnt_empty('SELECT * FROM public.evq_check()', 'the monitor may call it');
RESET ROLE;
SELECT pg_stat_force_next_flush() \g /dev/null
CREATE TEMP TABLE scans AS SELECT relname, seq_scan FROM pg_stat_all_tables WHERE schemaname = 'evq' AND relname ~ '^event_(history|error|payload)|^event$|^idempotency$';
SELECT count(*) FROM evq_check();
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT set_eq('TABLE scans', 'SELECT s.relname, s.seq_scan FROM pg_stat_all_tables s JOIN scans c USING (relname) WHERE schemaname = ''evq''', 'no sequential scan');

SELECT * FROM finish();
\connect pgtap
DROP DATABASE check_up;
