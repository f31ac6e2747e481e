-- Savepoints and transactions: what is rolled back never was.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset
SELECT evq_publish_many('A', NULL, '{awaiting, processing, suspended, failed}', array_fill('{}'::jsonb, '{4}')) \g /dev/null
SELECT count(*) FROM evq_acquire(ev('processing'));
SELECT count(*) FROM evq_acquire(ev('suspended'));
SELECT count(evq_suspend(ev('suspended'), permit('suspended')));
SELECT count(*) FROM evq_acquire(ev('failed'));
SELECT evq_fail(ev('failed'), 'no', retryable => false);
SELECT checksum() AS before \gset

-- Each verb, undone with its savepoint.
BEGIN;
SAVEPOINT s;
SELECT evq_publish('A', NULL, 'x', idempotency_key => 'x') \g /dev/null
ROLLBACK TO s;
SELECT evq_publish_many('A', NULL, '{x, y}', '{1, 2}') \g /dev/null
ROLLBACK TO s;
SELECT evq_acquire(ev('awaiting')) \g /dev/null
ROLLBACK TO s;
SELECT evq_acquire_next('F', 10) \g /dev/null
ROLLBACK TO s;
SELECT evq_heartbeat(ARRAY[ev('processing')], ARRAY[permit('processing')]) \g /dev/null
ROLLBACK TO s;
SELECT evq_succeed(ev('processing'), NULL, '1', '[{"event_type": "A"}]') \g /dev/null
ROLLBACK TO s;
SELECT evq_fail(ev('processing'), 'no') \g /dev/null
ROLLBACK TO s;
SELECT evq_fail(ev('processing'), 'no', retryable => false) \g /dev/null
ROLLBACK TO s;
SELECT evq_snooze(ev('processing'), permit('processing'), now()) \g /dev/null
ROLLBACK TO s;
SELECT evq_suspend(ev('processing'), permit('processing')) \g /dev/null
ROLLBACK TO s;
SELECT evq_activate(ev('suspended'), '{}') \g /dev/null
ROLLBACK TO s;
SELECT evq_cancel(ev('awaiting')) \g /dev/null
ROLLBACK TO s;
SELECT evq_retry(ev('failed')) \g /dev/null
ROLLBACK TO s;
SELECT evq_configure('A', max_attempts => 9) \g /dev/null
ROLLBACK TO s;
SELECT evq_suspend_event_type('A') \g /dev/null
ROLLBACK TO s;
SELECT evq_tick() \g /dev/null
ROLLBACK TO s;
COMMIT;
SELECT checksum() = :'before' AS unchanged;

-- A whole life, undone with the transaction; its changes saw each other.
BEGIN;
SELECT evq_publish('A', NULL, 'brief') \gset
SELECT dispatched FROM evq_tick();
SELECT flow_id, attempt FROM evq_acquire(ev('brief'));
SELECT evq_fail(ev('brief'), 'no', permit('brief'), retry_in => '0');
SELECT flow_id, attempt FROM evq_acquire(ev('brief'));
SELECT cardinality(evq_succeed(ev('brief'), permit('brief'), spinoffs => '[{"event_type": "A"}]'));
SELECT state, chain_depth FROM evq.events WHERE flow_id = 'brief' ORDER BY chain_depth;
ROLLBACK;
SELECT checksum() = :'before' AS unchanged;

-- What was done before a savepoint stays, what was done after it goes.
BEGIN;
SELECT evq_publish('A', NULL, 'kept') \gset
SAVEPOINT one;
SELECT evq_publish('A', NULL, 'gone') \gset
SAVEPOINT two;
SELECT evq_cancel(ev('kept')) \gset
RELEASE two;
ROLLBACK TO one;
SELECT evq_publish('A', NULL, 'kept too') \gset
RELEASE one;
COMMIT;
SELECT flow_id, state FROM evq.events WHERE flow_id ~ '^(kept|gone)' ORDER BY flow_id;

-- The epoch that a permit is of is on record, though the row of the first attempt to begin it was undone.
BEGIN;
ROLLBACK;
BEGIN;
DELETE FROM evq.epoch;
SAVEPOINT one;
SELECT flow_id FROM evq_acquire(ev('kept'));
ROLLBACK TO one;
SELECT permit >> 32 AS epoch FROM evq_acquire(ev('kept')) \gset
SELECT :epoch = (SELECT epoch FROM evq.epoch) AS is_on_record;
ROLLBACK;

-- Both verbs in one statement: the second sees the first.
SELECT flow_id FROM evq_acquire(ev('kept'));
CALL refused($$SELECT evq_succeed(ev('kept')), evq_fail(ev('kept'), 'no')$$);
SELECT state FROM evq.events WHERE flow_id = 'kept';
SELECT evq_release(ev('kept'), permit('kept')), evq_cancel(ev('kept')), evq_retry(ev('kept'));
SELECT state FROM evq.events WHERE flow_id = 'kept';
