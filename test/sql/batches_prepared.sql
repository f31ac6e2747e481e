-- Events of batches in prepared transactions, savepoints, and sessions that fire no triggers or wait for no disk.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure_flow('F', delivery => 'pull') \gset
SELECT evq_configure('A', 'F', attempt_timeout => '5 min', lifespan => '1 day', max_attempts => 3, attempt_delays => '{0}') \gset
SET evq.store_batches_from = 1;
-- Whoever would wait for a prepared transaction gives up.
SET lock_timeout = '20 ms';

CREATE FUNCTION lab.names(ids uuid[]) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(coalesce(e.flow_id, '-'), ' ' ORDER BY i.ordinality)
	FROM unnest(ids) WITH ORDINALITY i (event_id) LEFT JOIN evq.events e USING (event_id)
$$;
CREATE FUNCTION lab.publish(flow_ids text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM evq_publish_many('A', NULL, string_to_array(flow_ids, ' '), array_fill('{}'::jsonb, ARRAY[cardinality(string_to_array(flow_ids, ' '))]))
$$;
CREATE VIEW lab.stored AS
SELECT (SELECT string_agg(format('%s%s', r.events, r.state), ' ' ORDER BY r.last_id) FROM evq.run r) AS runs,
	(SELECT string_agg(format('%s%s', x.state, evq.ordinal(x.event_id)), ' ' ORDER BY x.event_id) FROM evq.exception x) AS exceptions;
CREATE VIEW lab.states AS
SELECT e.state, lab.names(array_agg(e.event_id ORDER BY e.event_id)) AS names FROM evq.events e GROUP BY 1 ORDER BY 1;
-- What is left of the locks of batches, which nobody keeps.
CREATE VIEW lab.batch_locks AS SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 231;

-- Publishing.
BEGIN;
SELECT publish('x y z');
SAVEPOINT s;
SELECT publish('void');
ROLLBACK TO s;
PREPARE TRANSACTION 'publish';
SELECT * FROM states;
SELECT count(*) FROM evq_acquire_batch('F', 10);
ROLLBACK PREPARED 'publish';
BEGIN;
SELECT publish('a b c d e f g h');
PREPARE TRANSACTION 'publish';
SELECT * FROM states;
COMMIT PREPARED 'publish';
SELECT * FROM states;

-- Acquiring: meanwhile nobody else gets them, and nobody waits for it but who reports or cancels.
BEGIN;
SELECT names(event_ids), token AS one FROM evq_acquire_batch('F', 3) \gset
SELECT :'names';
PREPARE TRANSACTION 'acquire';
SELECT * FROM states;
SELECT names(event_ids), token AS two FROM evq_acquire_batch('F', 2) \gset
SELECT :'names';
SELECT count(*) FROM evq_acquire(ev('a'));
SELECT expired, timed_out FROM evq_tick();
SELECT sqlstate(format('SELECT evq_succeed_batch(%L)', :'one'));
SELECT sqlstate(format('SELECT evq_cancel(%L)', ev('b')));
SELECT * FROM batch_locks;
COMMIT PREPARED 'acquire';
SELECT * FROM stored;
SELECT names(ARRAY[event_id]), held FROM evq_heartbeat_batch(:'one');
-- Undone, they can be had again; the permits of then are worth nothing.
BEGIN;
SELECT names(event_ids), token AS void FROM evq_acquire_batch('F', 3) \gset
PREPARE TRANSACTION 'acquire';
ROLLBACK PREPARED 'acquire';
SELECT names(event_ids), token AS three FROM evq_acquire_batch('F', 2) \gset
SELECT :'names';
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'void') lost;
SELECT * FROM stored;

-- Reports of parts: others report theirs without waiting.
BEGIN;
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'one', ARRAY[ev('b'), ev('c')]) lost;
SELECT evq_fail(ev('b'), 'no', permit('b'));
SAVEPOINT s;
SELECT evq_succeed(ev('c'), permit('c'));
ROLLBACK TO s;
PREPARE TRANSACTION 'part';
SELECT evq_succeed(ev('c'), permit('c'));
SELECT sqlstate(format('SELECT evq_succeed_batch(%L)', :'one'));
SELECT sqlstate(format('SELECT evq_snooze(%L, %s, now())', ev('a'), permit('a')));
SELECT * FROM stored;
ROLLBACK PREPARED 'part';
SELECT * FROM stored;
SELECT * FROM states;
BEGIN;
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'one', ARRAY[ev('b')]) lost;
SELECT evq_fail(ev('b'), 'no', permit('b'));
PREPARE TRANSACTION 'part';
COMMIT PREPARED 'part';
SELECT * FROM stored;
SELECT * FROM states;

-- Of all of a run, and of what others have begun.
BEGIN;
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'two') lost;
PREPARE TRANSACTION 'whole';
SELECT sqlstate(format('SELECT evq_succeed_batch(%L)', :'two'));
SELECT sqlstate(format('SELECT evq_release_batch(%L)', :'two'));
SET evq.debug_clock_offset = '10 min';
SELECT timed_out FROM evq_tick();
RESET evq.debug_clock_offset;
SELECT * FROM states;
ROLLBACK PREPARED 'whole';
BEGIN;
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'two') lost;
SELECT names(ARRAY[lost]) FROM evq_release_batch(:'three') lost;
SELECT names(event_ids) FROM evq_acquire_batch('F', 10);
PREPARE TRANSACTION 'whole';
COMMIT PREPARED 'whole';
SELECT * FROM stored;
SELECT * FROM states;
SELECT attempt, outcome, error_message FROM evq.errors ORDER BY failed_at;

-- An error under the lock, or after it, leaves none behind.
BEGIN;
SELECT sqlstate(format('DO $$ BEGIN PERFORM evq_succeed_batch(%L); PERFORM 1 / 0; END $$', :'two'));
SELECT * FROM batch_locks;
SELECT publish('i j k');
SELECT names(event_ids) FROM evq_acquire_batch('F', 2);
SELECT * FROM batch_locks;
COMMIT;

-- A grant is safe once it is committed, whatever the session says of its commits.
SELECT publish(string_agg('safe' || n, ' ')) FROM generate_series(1, 100) n;
SET synchronous_commit = off;
DO $$
DECLARE
	written pg_lsn;
	flushed int := 0;
BEGIN
	FOR n IN 1 .. 50 LOOP
		PERFORM count(*) FROM evq_acquire_batch('F', 2);
		written := pg_current_wal_insert_lsn();
		COMMIT;
		flushed := flushed + (pg_current_wal_flush_lsn() >= written)::int;
	END LOOP;
	RAISE INFO '% grants are on disk', flushed;
END
$$;
RESET synchronous_commit;

-- In a session that fires no triggers, as what replicates and migrates does.
SET session_replication_role = replica;
SELECT publish('r s t u v');
SELECT names(event_ids), token AS four FROM evq_acquire_batch('F', 10) \gset
SELECT :'names';
SELECT evq_cancel(ev('v')), evq_fail(ev('u'), 'no', permit('u'));
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'four') lost;
SELECT timed_out FROM evq_tick();
RESET session_replication_role;
SELECT state, names FROM states WHERE state <> 'being_processed';
SELECT * FROM evq_check() WHERE severity = 'error' AND subject = 'tables';
