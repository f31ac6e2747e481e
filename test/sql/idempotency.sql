-- Idempotency keys: the same key makes one event while that exists.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset
SELECT evq_configure('B', 'F') \gset

-- The same key again returns the first event's id; spacing and order of keys in the payload do not matter.
SELECT evq_publish('A', NULL, 'f', '{"a": 1, "b": 2}', idempotency_key => 'k') AS first \gset
SELECT evq_publish('A', NULL, 'f', '{"b":2,  "a":1}', idempotency_key => 'k') = :'first' AS same;
SELECT evq_publish('A', 'F', 'f', '{"a": 1, "b": 2}', run_at => now() + interval '1 day', priority => 5::smallint,
	idempotency_key => 'k', headers => '{"h": 1}') = :'first' AS same;
SELECT count(*) FROM evq.events;

-- With another payload or flow_id it is an error.
CALL refused($$SELECT evq_publish('A', NULL, 'f', '{"a": 1}', idempotency_key => 'k')$$);
CALL refused($$SELECT evq_publish('A', NULL, 'g', '{"a": 1, "b": 2}', idempotency_key => 'k')$$);
SELECT evq_publish('A', NULL, 'f', idempotency_key => 'k');
\echo :LAST_ERROR_SQLSTATE

-- Another key, another case of it, another type: independent.
SELECT evq_publish('A', NULL, 'f', '{"a": 1, "b": 2}', idempotency_key => 'K') = :'first' AS same;
SELECT evq_publish('B', NULL, 'f', '{"c": 3}', idempotency_key => 'k') = :'first' AS same;
-- No key: always a new event.
SELECT evq_publish('A', NULL, 'f', '{"a": 1, "b": 2}') = :'first' AS same;

-- Twice in one call.
SELECT count(DISTINCT id) FROM evq_publish_many('[
	{"event_type": "A", "flow_id": "twice", "payload": 1, "idempotency_key": "t"},
	{"event_type": "A", "flow_id": "twice", "payload": 1, "idempotency_key": "t"}]') AS id;
SELECT count(*) FROM evq.events WHERE flow_id = 'twice';
SELECT id = ev('twice') AS same FROM evq_publish_many('[
	{"event_type": "A", "flow_id": "new", "payload": 1},
	{"event_type": "A", "flow_id": "twice", "payload": 1, "idempotency_key": "t"}]') AS id;
CALL refused($$SELECT evq_publish_many('[
	{"event_type": "A", "flow_id": "u", "payload": 1, "idempotency_key": "u"},
	{"event_type": "A", "flow_id": "u", "payload": 2, "idempotency_key": "u"}]')$$);
SELECT count(*) FROM evq.events WHERE flow_id = 'u';

-- Twice in one transaction; a key whose event was rolled back is free.
BEGIN;
SELECT evq_publish('A', NULL, 'tx', idempotency_key => 'tx') AS in_tx \gset
SELECT evq_publish('A', NULL, 'tx', idempotency_key => 'tx') = :'in_tx' AS same;
SAVEPOINT s;
SELECT evq_publish('A', NULL, 'sp', idempotency_key => 'sp') AS in_sp \gset
ROLLBACK TO s;
SELECT evq_publish('A', NULL, 'sp2', idempotency_key => 'sp') = :'in_sp' AS same;
COMMIT;
SELECT flow_id FROM evq.events WHERE flow_id ~ '^(tx|sp)' ORDER BY 1;

-- The key holds in every live state and after the event has finished.
SELECT state FROM evq.events WHERE event_id = :'first';
SELECT event_id = :'first' AS acquired FROM evq_acquire(:'first');
SELECT evq_publish('A', NULL, 'f', '{"a": 1, "b": 2}', idempotency_key => 'k') = :'first' AS same;
SELECT evq_succeed(:'first') AS spinoffs;
SELECT evq_publish('A', NULL, 'f', '{"a": 1, "b": 2}', idempotency_key => 'k') = :'first' AS same;
SELECT evq_cancel(ev('twice')) \gset
SELECT evq_publish('A', NULL, 'twice', '1', idempotency_key => 't') = ev('twice') AS same;
SELECT state, count(*) FROM evq.events WHERE flow_id IN ('f', 'twice') AND event_id IN (:'first', ev('twice')) GROUP BY 1 ORDER BY 1;

-- evq_event tells the key.
SELECT evq_event(:'first') ->> 'idempotency_key' AS key;
