-- PREPARE TRANSACTION: no verb takes NOTIFY or anything else that cannot be prepared.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset
SELECT evq_publish_many('A', NULL, '{a, b, c, d, e, f, g, h}', array_fill('{}'::jsonb, '{8}')) \g /dev/null

-- Publishing.
BEGIN;
SELECT evq_publish('A', NULL, 'p', idempotency_key => 'p') \gset
SELECT count(*) FROM evq_publish_many('[{"event_type": "A", "flow_id": "p"}]');
SELECT count(*) FROM evq_publish_many('A', NULL, '{p, p}', '{1, 2}');
PREPARE TRANSACTION 'publish';
SELECT count(*) FROM evq.events WHERE flow_id = 'p';
SELECT count(*) FROM evq_acquire_next('F', 100);
SELECT evq_release(event_id, permit) FROM evq.event \g /dev/null
COMMIT PREPARED 'publish';
SELECT count(*) FROM evq.events WHERE flow_id = 'p';

BEGIN;
SELECT evq_publish('A', NULL, 'q', idempotency_key => 'q') \gset
PREPARE TRANSACTION 'publish';
ROLLBACK PREPARED 'publish';
SELECT count(*) FROM evq.events WHERE flow_id = 'q';
SELECT evq_publish('A', NULL, 'q', idempotency_key => 'q') IS NOT NULL AS key_is_free;
SELECT evq_cancel(event_id) FROM evq.events WHERE flow_id IN ('p', 'q') \g /dev/null

-- Acquire; meanwhile nobody else gets the event, and nobody waits for it.
BEGIN;
SELECT flow_id FROM evq_acquire(ev('a'));
SELECT count(*) FROM evq_acquire_next('F', 3);
PREPARE TRANSACTION 'acquire';
SELECT flow_id, state FROM evq.events WHERE flow_id = 'a';
SELECT count(*) FROM evq_acquire(ev('a'));
SELECT count(*) FROM evq_acquire_next('F', 100);
SELECT dispatched FROM evq_tick();
COMMIT PREPARED 'acquire';
SELECT flow_id, state FROM evq.events WHERE flow_id = 'a';
SELECT held FROM evq_heartbeat(ARRAY[ev('a')], ARRAY[permit('a')]);

-- Reports and all the others.
SELECT flow_id, state FROM evq.events WHERE flow_id ~ '^[a-h]$' ORDER BY 1;
SELECT count(evq_suspend(ev('h'), permit('h')));
BEGIN;
SELECT held FROM evq_heartbeat(ARRAY[ev('a')], ARRAY[permit('a')]);
SELECT cardinality(evq_succeed(ev('a'), permit('a'), '1', '[{"event_type": "A"}]'));
SELECT evq_fail(ev('b'), 'no', permit('b'));
SELECT evq_fail(ev('c'), 'no', permit('c'), retryable => false);
SELECT evq_snooze(ev('d'), permit('d'), now() + interval '1 min') \gset
SELECT evq_release(ev('e'), permit('e')) \gset
SELECT count(evq_suspend(ev('f'), permit('f')));
SELECT evq_cancel(ev('g')) \gset
SELECT evq_activate(ev('h')) \gset
PREPARE TRANSACTION 'reports';
SELECT flow_id, state FROM evq.events WHERE flow_id ~ '^[a-h]$' ORDER BY 1;
COMMIT PREPARED 'reports';
SELECT flow_id, state FROM evq.events WHERE flow_id ~ '^[a-h]$' ORDER BY chain_depth, 1;

-- Undone.
SELECT checksum() AS before \gset
BEGIN;
SELECT count(*) FROM evq_acquire(ev('e'));
SELECT evq_succeed(ev('e'), permit('e'), spinoffs => '[{"event_type": "A"}]') \g /dev/null
SELECT evq_retry(ev('c')) \gset
SELECT evq_retry(ev('g')) \gset
SELECT evq_activate(ev('f'), '{}') \gset
PREPARE TRANSACTION 'undone';
ROLLBACK PREPARED 'undone';
SELECT checksum() = :'before' AS unchanged;
BEGIN;
SELECT evq_retry(ev('g')) \gset
SELECT evq_redrive('A', '-infinity');
PREPARE TRANSACTION 'retry';
COMMIT PREPARED 'retry';
SELECT flow_id, state FROM evq.events WHERE flow_id IN ('c', 'g') ORDER BY 1;

-- Many at once, and the busy worker's turn.
SELECT count(*) FROM evq_acquire_next('F', 2);
BEGIN;
SELECT accepted FROM evq_succeed_many((SELECT array_agg(event_id ORDER BY event_id) FROM evq.events WHERE state = 'being_processed'),
	(SELECT array_agg(permit ORDER BY event_id) FROM evq.events WHERE state = 'being_processed'));
SELECT count(*) FROM evq_succeed_and_acquire('F', '{}', '{}');
PREPARE TRANSACTION 'turn';
COMMIT PREPARED 'turn';
SELECT count(*) FROM evq.events WHERE state = 'being_processed';

-- Configuration.
BEGIN;
SELECT evq_configure('NEW', 'NEW_FLOW') \gset
SELECT evq_configure_flow('F', max_dispatched => 5) \gset
SELECT evq_suspend_event_type('A') \gset
PREPARE TRANSACTION 'configuration';
CALL refused($$SELECT evq_publish('NEW', NULL, 'n')$$);
COMMIT PREPARED 'configuration';
SELECT evq_publish('NEW', NULL, 'n') \gset
SELECT flow_type, max_dispatched FROM evq.flow ORDER BY flow_no;

-- Nor can the turn that a session gives to its own event, where there is order or a limit.
SELECT evq_configure('L', 'LIMITED') \gset
SELECT evq_configure_flow('LIMITED', max_processing => 1) \gset
BEGIN;
SELECT evq_publish('L', NULL, 'own') \gset
SELECT flow_id FROM evq_acquire_next('LIMITED');
PREPARE TRANSACTION 'own';
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT evq_publish('L', NULL, 'own') \gset
PREPARE TRANSACTION 'own';
COMMIT PREPARED 'own';

-- A turn cannot be prepared: it would keep the engine from the next one.
BEGIN;
SELECT dispatched > 0 AS dispatched FROM evq_tick();
PREPARE TRANSACTION 'tick';
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database();

-- What a transaction has found out about a copy, and written, is gone when it is rolled back after it was prepared.
UPDATE evq.home SET database_oid = 1;
\c -
BEGIN;
SELECT evq_publish('A', NULL, 'copy') \gset
PREPARE TRANSACTION 'copy';
ROLLBACK PREPARED 'copy';
SELECT count(*) FROM evq.pause;
SELECT evq_publish('A', NULL, 'copy') \gset
SELECT reason FROM evq.pause;
SELECT evq_resume();
SELECT database_oid = (SELECT oid FROM pg_database WHERE datname = current_database()) AS at_home FROM evq.home;

-- So is an epoch that it has begun: the permits that the session grants later are of one that is on record.
DELETE FROM evq.epoch;
\c -
BEGIN;
SELECT count(*) FROM evq_acquire_next('NEW_FLOW');
PREPARE TRANSACTION 'epoch';
ROLLBACK PREPARED 'epoch';
SELECT count(*) FROM evq.epoch;
SELECT count(*) FROM evq_acquire_next('NEW_FLOW');
SELECT count(*) FROM evq.epoch;
