-- An event type without retention: an event of it that succeeds leaves nothing. Every other end is kept.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', 3, '1 hour', '{0 s}', attempt_timeout => '10 min', retention => '0 s') \gset
SELECT evq_configure('B', 'F', 3, '1 hour') \gset
CREATE VIEW lab.remains AS
SELECT (SELECT count(*) FROM evq.event) AS events, (SELECT count(*) FROM evq.event_payload) AS payloads, (SELECT count(*) FROM evq.event_error) AS errors,
	(SELECT count(*) FROM evq.idempotency) AS keys, (SELECT count(*) FROM evq.event_history) AS finished;

-- What belongs to an event goes with it: its payload, wherever that is, its errors and its key; what belongs to others stays.
SELECT evq_publish('A', NULL, 'small', '[1]') AS small, evq_publish('A', NULL, 'large', to_jsonb(repeat('x', 5000)), headers => '{"h": 1}', idempotency_key => 'k') AS large,
	evq_publish('A', NULL, 'other', to_jsonb(repeat('y', 5000)), idempotency_key => 'o') AS other \gset
SELECT evq_fail(event_id, flow_id, permit) FROM evq_acquire_next('F', 10) ORDER BY flow_id;
SELECT evq_fail(event_id, flow_id, permit) FROM evq_acquire_next('F', 10) ORDER BY flow_id;
SELECT flow_id, attempt FROM evq_acquire_next('F', 10) ORDER BY flow_id;
SELECT * FROM remains;
SELECT evq_succeed(:'large', permit('large'), '{"answer": 42}');
SELECT evq_succeed(:'small', permit('small'));
SELECT * FROM remains;
SELECT flow_id, state, attempts_used, octet_length(payload::text) AS bytes FROM evq.events JOIN evq.payloads USING (event_id);
SELECT count(*) AS errors, count(*) FILTER (WHERE event_id = :'other') AS of_other FROM evq.event_error;

-- It is no event any more; its key publishes another one.
SELECT sqlstate(format('SELECT evq_succeed(%L, 1)', :'large')), sqlstate(format('SELECT evq_event(%L)', :'large')), sqlstate(format('SELECT evq_acquire(%L)', :'large'));
SELECT evq_publish('A', NULL, 'again', '[2]', idempotency_key => 'k') <> :'large' AS another;
SELECT evq_publish('A', NULL, 'other', to_jsonb(repeat('y', 5000)), idempotency_key => 'o') = :'other' AS same;

-- Rolled back, it is as it was.
BEGIN;
SELECT evq_succeed(:'other', permit('other'));
SELECT * FROM remains;
ROLLBACK;
SELECT * FROM remains;
SELECT evq_succeed(:'other', permit('other'));
SELECT * FROM remains;

-- Spinoffs go on; that of a type with retention is kept. Many at once, mixed, one of them reported twice.
SELECT cardinality(evq_succeed(event_id, permit, spinoffs => '[{"event_type": "A"}, {"event_type": "B", "payload": [3]}]')) FROM evq_acquire_next('F', 1);
SELECT flow_id, event_type, state, chain_depth, parent_id IS NOT NULL AS has_parent FROM evq.events ORDER BY event_type;
SELECT count(*) FROM evq_publish_many('A', NULL, array_fill('many'::text, '{120}'), array_fill('{"a": 1}'::jsonb, '{120}'));
CREATE TABLE lab.held AS SELECT * FROM evq_acquire_next('F', 200);
SELECT event_type, count(*) FROM held GROUP BY 1 ORDER BY 1;
SELECT count(*) AS reports, count(*) FILTER (WHERE accepted) AS accepted FROM (SELECT array_agg(event_id) || min(event_id::text)::uuid AS ids, array_agg(permit) || min(permit) AS permits FROM held WHERE event_type = 'A') h, evq_succeed_many(ids, permits);
SELECT * FROM remains;
SELECT count(*) FROM held h, evq_succeed_and_acquire('F', ARRAY[h.event_id], ARRAY[h.permit], 1) WHERE h.event_type = 'B';
SELECT * FROM remains;
SELECT flow_id, event_type, state FROM evq.events;

-- Failed, canceled: kept, and can be retried. Then a success leaves nothing, errors included.
SELECT evq_publish('A', NULL, 'fails', '[4]') AS fails, evq_publish('A', NULL, 'canceled', '[5]') AS canceled \gset
SELECT evq_fail(:'fails', 'no', permit, retryable => false) FROM evq_acquire(:'fails');
SELECT evq_cancel(:'canceled', 'not wanted');
SELECT flow_id, state, reason FROM evq.events WHERE event_type = 'A' ORDER BY event_id;
SELECT evq_retry(:'fails'), evq_retry(:'canceled');
SELECT evq_succeed(event_id, permit) FROM evq_acquire_next('F', 10);
SELECT * FROM remains;

-- With a retention again, a success is kept.
SELECT evq_configure('A', retention => '1 day') \gset
SELECT evq_publish('A', NULL, 'kept') AS kept \gset
SELECT evq_succeed(:'kept', permit) FROM evq_acquire(:'kept');
SELECT flow_id, state FROM evq.events WHERE event_type = 'A';
