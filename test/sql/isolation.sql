-- Isolation levels: what another session does meanwhile.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

\setenv PGDATABASE :DBNAME
SELECT evq_configure('A', 'F') \gset
SELECT evq_publish_many('A', NULL, '{a, b, c, d}', '{1, 2, 3, 4}') \g /dev/null

-- READ COMMITTED: each call sees what is committed.
BEGIN;
SELECT count(*) FROM evq.events;
\! psql -XAtq -c "SELECT count(evq_publish('A', NULL, 'e'))"
SELECT flow_id FROM evq_acquire(ev('e'));
\! psql -XAtq -c "SELECT count(*) FROM evq.events, evq_acquire(event_id) WHERE events.flow_id = 'a'"
SELECT count(*) FROM evq_acquire(ev('a'));
SELECT evq_succeed(ev('a'), permit('a'));
COMMIT;

-- REPEATABLE READ: a later event is not there.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM evq.events;
\set later `psql -XAtq -c "SELECT evq_publish('A', NULL, 'f')"`
SELECT set_config('lab.later', :'later', false) \g /dev/null
SELECT count(*) FROM evq_acquire(current_setting('lab.later')::uuid);
CALL refused($$SELECT evq_cancel(current_setting('lab.later')::uuid)$$);
CALL refused($$SELECT evq_succeed(current_setting('lab.later')::uuid)$$);
SELECT held FROM evq_heartbeat(ARRAY[current_setting('lab.later')::uuid], '{1}');
SELECT flow_id FROM evq_acquire_next('F', 10) ORDER BY 1;
SELECT flow_id FROM evq_acquire_next('F', 10);
COMMIT;
SELECT flow_id FROM evq_acquire_next('F', 10);

-- REPEATABLE READ: what another session changed meanwhile is a serialization failure.
SELECT evq_release(event_id, permit) FROM evq.events WHERE flow_id IN ('b', 'c', 'd') \g /dev/null
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM evq.events;
\! psql -XAtq -c "SELECT count(evq_cancel(event_id)) FROM evq.events WHERE flow_id = 'b'"
\! psql -XAtq -c "SELECT count(*) FROM evq.events, evq_acquire(event_id) WHERE events.flow_id = 'c'"
CALL refused($$SELECT evq_acquire(ev('b'))$$);
CALL refused($$SELECT evq_acquire(ev('c'))$$);
CALL refused($$SELECT evq_cancel(ev('b'))$$);
CALL refused($$SELECT evq_cancel(ev('c'))$$);
SELECT count(*) FROM evq_acquire(ev('d'));
COMMIT;
SELECT flow_id, state FROM evq.events WHERE flow_id ~ '^[bcd]$' ORDER BY 1;

-- SERIALIZABLE: the whole life of an event, alone.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT evq_publish('A', NULL, 's', idempotency_key => 's') \gset
SELECT evq_publish('A', NULL, 's', idempotency_key => 's') = ev('s') AS same;
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq_acquire(ev('s'));
SELECT cardinality(evq_succeed(ev('s'), permit('s'), NULL, '[{"event_type": "A"}]'));
COMMIT;
SELECT state, chain_depth FROM evq.events WHERE flow_id = 's' ORDER BY chain_depth;
SELECT evq_publish('A', NULL, 't', idempotency_key => 't') \gset
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT flow_id FROM evq_acquire(ev('t'));
\! psql -XAtq -c "SELECT count(evq_publish('A', NULL, 'u'))"
SELECT evq_fail(ev('t'), 'no');
COMMIT;
SELECT flow_id, state, attempts_used FROM evq.events WHERE flow_id IN ('t', 'u') ORDER BY 1;

-- An idempotency key claimed after the snapshot was taken.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) > 0 AS snapshot FROM evq.events;
\! psql -XAtq -c "SELECT count(evq_publish('A', NULL, 'k', idempotency_key => 'key'))"
SELECT sqlstate($$SELECT evq_publish('A', NULL, 'k', idempotency_key => 'key')$$);
COMMIT;
SELECT evq_publish('A', NULL, 'k', idempotency_key => 'key') = ev('k') AS same;
