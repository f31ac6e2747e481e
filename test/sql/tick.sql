-- evq_tick, evq_status, evq_version and the settings.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset

-- Nothing to do.
SELECT * FROM evq_tick();
-- What it did is undone with its transaction.
SELECT evq_publish_many('A', NULL, '{a, b, c}', '{1, 2, 3}') \g /dev/null
BEGIN;
SELECT * FROM evq_tick();
SELECT * FROM evq_tick();
ROLLBACK;
SELECT state, count(*) FROM evq.events GROUP BY 1;
-- Events of the same transaction count too.
BEGIN;
SELECT evq_publish('A', NULL, 'd') \gset
SELECT * FROM evq_tick();
COMMIT;
SELECT state, count(*) FROM evq.events GROUP BY 1;

-- A turn in a function that then fails leaves no trace.
SELECT evq_publish('A', NULL, 'e') \gset
DO $$ BEGIN PERFORM evq_tick(); RAISE EXCEPTION 'undo'; EXCEPTION WHEN raise_exception THEN NULL; END $$;
SELECT state FROM evq.events WHERE flow_id = 'e';
SELECT * FROM evq_tick();

-- Many: one batch a turn (evq.dispatch_batch).
SELECT count(*) FROM evq_publish_many('A', NULL, array_fill('m'::text, '{1200}'), array_fill('{}'::jsonb, '{1200}'));
SELECT evq_configure_flow('F', max_dispatched => 100000) \gset
SELECT * FROM evq_tick();
SELECT * FROM evq_tick();
SELECT * FROM evq_tick();

-- A row that evq did not write is passed over.
SELECT evq_publish('A', NULL, 'corrupt') \gset
SELECT evq_publish('A', NULL, 'sound') \gset
UPDATE evq.event SET state = 'x' WHERE flow_id = 'corrupt';
SELECT dispatched FROM evq_tick();
SELECT count(*) FROM evq_acquire(ev('corrupt'));
SELECT flow_id, state FROM evq.events WHERE flow_id IN ('corrupt', 'sound') ORDER BY 1;
CALL refused($$SELECT evq_succeed(ev('corrupt'))$$);
SELECT sqlstate($$SELECT evq_cancel(ev('corrupt'))$$);
DELETE FROM evq.event WHERE flow_id = 'corrupt';

-- Health, where dispatchers are switched off.
\x on
SELECT preloaded, enabled, running, dispatcher_pid, started_at, last_turn_at, last_error, problem, hint FROM evq_status();
\x off
SELECT evq_version() = extversion AS is_installed_version FROM pg_extension WHERE extname = 'evq';

-- The settings. Unknown names are refused.
SELECT name, boot_val, unit, min_val, max_val, context FROM pg_settings WHERE name ~ '^evq[.]' ORDER BY name COLLATE "C";
SELECT name FROM pg_settings WHERE name ~ '^evq[.]' AND (short_desc IS NULL OR short_desc = '');
SET evq.nonsense = 1;
\echo :LAST_ERROR_SQLSTATE
