-- evq_publish: what is stored, and what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', 4, '2 hours', '{5 s, 10 s}', priority => 2) \gset
SELECT evq_configure('A_FAILED', 'F') \gset
SELECT evq_configure('SMALL', 'F', max_payload_bytes => 100) \gset
SELECT evq_configure('OTHER', 'G') \gset

-- The defaults: times from the event type's configuration.
SELECT evq_publish('A', 'F', 'defaults') \gset
\x on
SELECT event_type, flow_type, flow_id, state, seconds(attempt_scheduled_at - published_at) AS first_attempt_in,
	seconds(due_at - published_at) AS lifespan, attempts_used, max_attempts, priority, state_since = published_at AS is_new,
	state_due_at, finished_at, permit, worker, parent_id, chain_depth, on_fail_event_type, reason, result, spinoff_ids
FROM evq.events;
SELECT payload, headers FROM evq.payloads;
\x off

-- Ids are UUIDs of version 7, in publish order.
SELECT substr(ev('defaults')::text, 15, 1) AS version, substr(ev('defaults')::text, 20, 1) IN ('8', '9', 'a', 'b') AS variant;
SELECT evq_publish('A', NULL, 'rising') < evq_publish('A', NULL, 'rising') AS rising;
SELECT published_at BETWEEN clock_timestamp() - interval '10 min' AND clock_timestamp() AS now FROM evq.events LIMIT 1;

-- Everything given.
SELECT evq_publish('A', NULL, 'given', '{"n": 1}', 'A_FAILED', '2200-01-01', -5::smallint, 'key', '{"trace": "x"}') \gset
SELECT attempt_scheduled_at, due_at, priority, on_fail_event_type
FROM evq.events WHERE flow_id = 'given';
SELECT payload, headers FROM evq.payloads WHERE event_id = ev('given');
SELECT idempotency_key FROM evq.idempotency WHERE event_id = ev('given');

-- A run_at in the past means now.
SELECT evq_publish('A', NULL, 'past', run_at => now() - interval '1 day') \gset
SELECT seconds(attempt_scheduled_at - published_at) AS first_attempt_in, seconds(due_at - published_at) AS lifespan
FROM evq.events WHERE flow_id = 'past';

-- Any JSON value is a payload, JSON null too; headers likewise.
SELECT evq_publish('A', NULL, 'scalar', '"text"') \gset
SELECT evq_publish('A', NULL, 'scalar', 'null') \gset
SELECT evq_publish('A', NULL, 'scalar', '[1, 2]') \gset
SELECT evq_publish('A', NULL, 'scalar', '1.50', headers => 'null') \gset
SELECT payload, headers FROM evq.events JOIN evq.payloads USING (event_id) WHERE flow_id = 'scalar' ORDER BY event_id;

-- flow_id: 1 to 255 bytes, of any characters.
SELECT evq_publish('A', NULL, repeat('x', 255)) \gset
SELECT evq_publish('A', NULL, E'it''s "a"\n\\ {}') \gset
SELECT event_type, quote_literal(flow_id) FROM evq.events WHERE flow_id ~ '^it';
CALL refused($$SELECT evq_publish('A', NULL, '')$$);
CALL refused($$SELECT evq_publish('A', NULL, repeat('x', 256))$$);
CALL refused($$SELECT evq_publish('A', NULL, repeat('x', 300))$$);
CALL refused($$SELECT evq_publish('A', NULL, repeat(U&'\00FC', 128))$$);
CALL refused($$SELECT evq_publish('A', NULL, NULL)$$);

-- Event types and flows.
CALL refused($$SELECT evq_publish('NONE_SUCH', NULL, 'f')$$);
CALL refused($$SELECT evq_publish(NULL, NULL, 'f')$$);
CALL refused($$SELECT evq_publish('', NULL, 'f')$$);
CALL refused($$SELECT evq_publish('a', NULL, 'f')$$);
CALL refused($$SELECT evq_publish('A', 'G', 'f')$$);
CALL refused($$SELECT evq_publish('A', 'NONE_SUCH', 'f')$$);
CALL refused($$SELECT evq_publish('A', '', 'f')$$);
CALL refused($$SELECT evq_publish(repeat('A', 64), NULL, 'f')$$);
CALL refused($$SELECT evq_publish('A', NULL, 'f', on_fail_event_type => 'NONE_SUCH')$$);
CALL refused($$SELECT evq_publish('A', NULL, 'f', on_fail_event_type => 'OTHER')$$);

-- Payloads: the event type's limit, or the setting's. Size is that of the jsonb value.
SELECT evq_publish('SMALL', NULL, 'small', to_jsonb(repeat('x', 92))) \gset
CALL refused($$SELECT evq_publish('SMALL', NULL, 'f', to_jsonb(repeat('x', 93)))$$);
CALL refused($$SELECT evq_publish('A', NULL, 'f', to_jsonb(repeat('x', 10 * 1024 * 1024)))$$);
SET evq.max_payload = '20MB';
SELECT evq_publish('A_FAILED', NULL, 'large', to_jsonb(repeat('x', 10 * 1024 * 1024))) \gset
RESET evq.max_payload;
SELECT length(payload::text) FROM evq.payloads WHERE event_id = ev('large');
SELECT length(payload::text) FROM evq_acquire(ev('large'));

-- Times.
CALL refused($$SELECT evq_publish('A', NULL, 'f', run_at => 'infinity')$$);
CALL refused($$SELECT evq_publish('A', NULL, 'f', run_at => '-infinity')$$);
-- At the end of the times that may be passed nothing overflows.
SELECT evq_publish('A', NULL, 'far', run_at => '9999-12-31 23:59:59 UTC') \gset
SELECT attempt_scheduled_at <= due_at AND isfinite(due_at) AS is_sound FROM evq.events WHERE flow_id = 'far';

-- Keys: 1 to 255 bytes.
SELECT evq_publish('A', NULL, 'f', idempotency_key => repeat('k', 255)) \gset
CALL refused($$SELECT evq_publish('A', NULL, 'f', idempotency_key => '')$$);
CALL refused($$SELECT evq_publish('A', NULL, 'f', idempotency_key => repeat('k', 256))$$);

-- An error that nobody catches tells the same; the transaction is undone.
SELECT count(*) AS before FROM evq.events \gset
BEGIN;
SELECT evq_publish('A', NULL, 'lost') \gset
SELECT evq_publish('NONE_SUCH', NULL, 'f');
\echo :LAST_ERROR_SQLSTATE
COMMIT;
SELECT count(*) - :before AS added FROM evq.events;
