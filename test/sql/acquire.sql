-- evq_acquire: one event, one permit at a time.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', 3, '1 hour', attempt_timeout => '20 min') \gset
SELECT evq_configure('TIMED', 'F', 3, '1 hour', attempt_timeout => '7 min') \gset
SELECT evq_configure('PAUSED', 'F') \gset

-- What a worker gets. attempt_timeout is by default lifespan / max_attempts.
SELECT evq_publish('A', NULL, 'a', '{"n": 1}', headers => '{"h": 2}') \gset
\x on
SELECT event_id = ev('a') AS id_is_right, permit > 0 AS has_permit, event_type, flow_type, flow_id, attempt, attempts_left, payload, headers,
	seconds(attempt_due_at - clock_timestamp()) BETWEEN 1190 AND 1200 AS in_20_min, seconds(due_at - clock_timestamp()) BETWEEN 3590 AND 3600 AS in_1_h
FROM evq_acquire(ev('a'), 'worker-1');
SELECT state, attempts_used, worker, seconds(state_due_at - state_since) AS permit_holds FROM evq.events;
\x off

-- Not granted twice.
SELECT count(*) FROM evq_acquire(ev('a'));
SELECT count(*) FROM evq_acquire(ev('a'), 'worker-2');
SELECT worker FROM evq.events;

-- No permit is that of before; the attempt goes up when one was used.
SELECT permit('a') AS first \gset
SELECT evq_release(ev('a'), :first) \gset
SELECT permit <> :first AS another, attempt, attempts_left, headers FROM evq_acquire(ev('a'));
SELECT permit('a') AS second \gset
SELECT evq_fail(ev('a'), 'no', :second, retry_in => '0');
SELECT permit <> :second AS another, attempt, attempts_left FROM evq_acquire(ev('a'));
SELECT evq_fail(ev('a'), 'no', permit('a'), retry_in => '0');
SELECT attempt, attempts_left FROM evq_acquire(ev('a'));

-- How long it holds: as asked, or as the type says, but never past the end of the lifespan.
SELECT evq_publish('TIMED', NULL, 't1'), evq_publish('TIMED', NULL, 't2'), evq_publish('TIMED', NULL, 't3') \gset
SELECT flow_id FROM evq_acquire(ev('t1'));
SELECT flow_id FROM evq_acquire(ev('t2'), permit_for => '90 s');
SELECT flow_id, attempt_due_at = due_at AS is_capped FROM evq_acquire(ev('t3'), permit_for => '3650 days');
SELECT flow_id, seconds(state_due_at - state_since) AS permit_holds FROM evq.events WHERE flow_id ~ '^t' AND flow_id <> 't3' ORDER BY flow_id;

-- Not due yet, not any more, suspended type, finished, unknown: no row, no error.
SELECT evq_publish('A', NULL, 'later', run_at => now() + interval '1 hour') \gset
SELECT count(*) FROM evq_acquire(ev('later'));
SELECT evq_publish('A', NULL, 'late') \gset
SET evq.debug_clock_offset = 3601;
SELECT count(*) FROM evq_acquire(ev('late'));
RESET evq.debug_clock_offset;
SELECT evq_publish('PAUSED', NULL, 'paused') \gset
SELECT evq_suspend_event_type('PAUSED') \gset
SELECT count(*) FROM evq_acquire(ev('paused'));
SELECT evq_publish('A', NULL, 'canceled') \gset
SELECT evq_cancel(ev('canceled')) \gset
SELECT count(*) FROM evq_acquire(ev('canceled'));
SELECT evq_succeed(ev('a')) \gset
SELECT count(*) FROM evq_acquire(ev('a'));
SELECT count(*) FROM evq_acquire('00000000-0000-0000-0000-000000000000');
SELECT flow_id, state FROM evq.events WHERE flow_id !~ '^t' ORDER BY flow_id;

-- A dispatched event is granted as well.
SELECT evq_publish('A', NULL, 'dispatched') \gset
SELECT dispatched > 0 AS dispatched FROM evq_tick();
SELECT state FROM evq.events WHERE flow_id = 'dispatched';
SELECT flow_id, attempt FROM evq_acquire(ev('dispatched'));

-- In one statement for many.
SELECT evq_publish_many('A', NULL, '{m1, m2, m3}', '{1, 2, 3}') \g /dev/null
SELECT a.flow_id, a.payload FROM evq.events e, LATERAL evq_acquire(e.event_id) a WHERE e.flow_id ~ '^m' ORDER BY 1;

-- Refused.
CALL refused($$SELECT evq_acquire(NULL)$$);
CALL refused($$SELECT evq_acquire(ev('later'), permit_for => '0')$$);
CALL refused($$SELECT evq_acquire(ev('later'), permit_for => '-1 s')$$);
CALL refused($$SELECT evq_acquire(ev('later'), permit_for => '3651 days')$$);
CALL refused($$SELECT evq_acquire(ev('later'), repeat('w', 256))$$);
SELECT evq_publish('A', NULL, 'long name') \gset
SELECT flow_id FROM evq_acquire(ev('long name'), repeat('w', 255));

-- More attempts were made than there may be by now.
SELECT evq_configure('fewer', 'F', 3, '1 day', '{0}') \gset
SELECT evq_publish('fewer', NULL, 'fewer') \gset
SELECT attempt, attempts_left FROM evq_acquire(ev('fewer'));
SELECT evq_fail(ev('fewer'), 'once');
SELECT attempt, attempts_left FROM evq_acquire(ev('fewer'));
SELECT evq_fail(ev('fewer'), 'twice');
SELECT evq_configure('fewer', max_attempts => 1) \gset
SELECT attempt, attempts_left FROM evq_acquire(ev('fewer'));

-- A grant is safe once it is committed, whatever the session says of its commits.
SELECT evq_publish_many('A', NULL, (SELECT array_agg('safe' || n) FROM generate_series(1, 50) n), array_fill('{}'::jsonb, '{50}')) \g /dev/null
SET synchronous_commit = off;
DO $$
DECLARE
	event uuid;
	written pg_lsn;
	flushed int := 0;
BEGIN
	FOR event IN SELECT event_id FROM evq.events WHERE flow_id ~ '^safe' LOOP
		PERFORM evq_acquire(event);
		written := pg_current_wal_insert_lsn();
		COMMIT;
		flushed := flushed + (pg_current_wal_flush_lsn() >= written)::int;
	END LOOP;
	RAISE INFO '% grants are on disk', flushed;
END
$$;
RESET synchronous_commit;
