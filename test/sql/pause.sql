-- A paused database: nothing is dispatched, acquired, timed out or expired; publishing and reporting go on.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset
SELECT evq_configure('BRIEF', 'F', lifespan => '1 ms') \gset
SELECT evq_publish('A', NULL, 'a') \gset
SELECT evq_publish('A', NULL, 'b') \gset
SELECT permit FROM evq_acquire(ev('a')) \gset

SELECT evq_pause('moving to a new server');
SELECT evq_pause('once more');
SELECT reason FROM evq.pause;
SELECT problem, hint FROM evq_status();
SELECT evq_publish('A', NULL, 'c') \gset
SELECT evq_publish('BRIEF', NULL, 'brief') \gset
SELECT count(*) FROM evq_acquire(ev('b'));
SELECT count(*) FROM evq_acquire_next('F', 10);
SELECT count(*) FROM evq_succeed_and_acquire('F', ARRAY[ev('a')], ARRAY[:permit::bigint], 10);
SELECT state FROM evq.events WHERE event_id = ev('a');
SET evq.debug_clock_offset = 10;
SELECT * FROM evq_tick();
SELECT flow_id, state FROM evq.events WHERE finished_at IS NULL ORDER BY 1;

-- Rolled back, it stays paused.
BEGIN;
SELECT evq_resume();
SELECT count(*) FROM evq_acquire(ev('b'));
ROLLBACK;
SELECT count(*) FROM evq_acquire(ev('c'));
SELECT evq_resume();
SELECT evq_resume();
SELECT count(*) FROM evq.pause;
SELECT expired FROM evq_tick();
SELECT count(*) FROM evq_acquire(ev('b'));

-- A copy that nobody has used yet stays resumed.
UPDATE evq.home SET database_oid = 1;
\c -
SELECT evq_resume();
SELECT database_oid = (SELECT oid FROM pg_database WHERE datname = current_database()) AS at_home FROM evq.home;
\c -
SELECT evq_publish('A', NULL, 'copy') \gset
SELECT count(*) FROM evq.pause;

-- What was found out in a savepoint that is rolled back is found out again.
UPDATE evq.home SET database_oid = 1;
\c -
BEGIN;
SAVEPOINT one;
SELECT count(*) FROM evq_acquire_next('F');
ROLLBACK TO one;
SELECT count(*) FROM evq_acquire_next('F');
SELECT reason FROM evq.pause;
ROLLBACK;
UPDATE evq.home SET database_oid = (SELECT oid FROM pg_database WHERE datname = current_database());

-- A permit of another database is refused, also before anybody has looked whether this is a copy of it.
SELECT event_id AS id, permit FROM evq_acquire_next('F') \gset
UPDATE evq.epoch SET database_oid = 1;
\c -
CALL lab.refused(format('SELECT evq_succeed(%L, %s)', :'id', :permit));
