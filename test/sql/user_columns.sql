-- Columns and constraints that users add to evq's tables: evq goes on beside them, and heeds what they demand.
SELECT evq_configure('uc', 'UC', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}') \gset
-- One life of each kind, with a small and a large payload: published, acquired, failed, retried, succeeded.
CREATE FUNCTION live() RETURNS TABLE (flow_id text, state evq.event_state, attempts_used int, result jsonb, payload_size int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM evq_publish('uc', NULL, 'small', '{"n": 1}');
	PERFORM evq_publish('uc', NULL, 'large', jsonb_build_object('text', repeat('x', 1000)), headers => '{"h": 1}', idempotency_key => random()::text);
	PERFORM evq_publish_many('uc', NULL, '{many, many}', '{"{}", "{\"n\": 2}"}'::jsonb[]);
	PERFORM evq_fail(e.event_id, 'no', e.permit) FROM evq_acquire_next('UC', 10) e;
	PERFORM evq_succeed(e.event_id, e.permit, '{"done": true}') FROM evq_acquire_next('UC', 2) e;
	PERFORM evq_succeed_many(array_agg(e.event_id), array_agg(e.permit)) FROM evq_acquire_next('UC', 10) e;
	RETURN QUERY SELECT e.flow_id, e.state, e.attempts_used, e.result, length(p.payload::text) FROM evq.events e JOIN evq.payloads p USING (event_id)
		WHERE e.event_type = 'uc' ORDER BY e.event_id;
	DELETE FROM evq.event; DELETE FROM evq.event_history; DELETE FROM evq.event_payload;
END $$;
SELECT * FROM live();

BEGIN;
-- With a column, in every table.
ALTER TABLE evq.event ADD COLUMN note text, ADD COLUMN n int NOT NULL DEFAULT 7, ADD COLUMN sum int GENERATED ALWAYS AS (attempts_used + 1) STORED;
ALTER TABLE evq.event_payload ADD COLUMN note text DEFAULT upper('payload');
ALTER TABLE evq.event_history ADD COLUMN note text DEFAULT 'history';
ALTER TABLE evq.event_error ADD COLUMN note text;
ALTER TABLE evq.idempotency ADD COLUMN note text;
ALTER TABLE evq.epoch ADD COLUMN note text;
ALTER TABLE evq.pause ADD COLUMN note text;
ALTER TABLE evq.flow ADD COLUMN note text;
ALTER TABLE evq.event_type ADD COLUMN note text;
ALTER TABLE evq.restriction ADD COLUMN note text;
SELECT * FROM live();
-- What users write there stays while the event lives.
SELECT evq_publish('uc', NULL, 'noted') AS id \gset
UPDATE evq.event SET note = 'mine', n = 8;
SELECT permit FROM evq_acquire(:'id') \gset
SELECT e.note, e.n, e.sum FROM evq.event e;
SELECT evq_fail(:'id', 'no', :permit);
SELECT e.note, e.n, e.sum FROM evq.event e;
SELECT evq_cancel(:'id');
SELECT h.note FROM evq.event_history h;
SELECT p.note FROM evq.event_payload p;
SELECT evq_retry(:'id');
SELECT e.note, e.n, e.sum FROM evq.event e;
DELETE FROM evq.event;
-- They are dropped again, which leaves gaps.
ALTER TABLE evq.event DROP COLUMN note, DROP COLUMN n, DROP COLUMN sum;
ALTER TABLE evq.event_payload DROP COLUMN note;
ALTER TABLE evq.event_history DROP COLUMN note;
ALTER TABLE evq.event_error DROP COLUMN note;
ALTER TABLE evq.idempotency DROP COLUMN note;
ALTER TABLE evq.flow DROP COLUMN note;
ALTER TABLE evq.event_type DROP COLUMN note;
SELECT * FROM live();
SAVEPOINT s;

-- Columns that cannot be read as they should.
ALTER TABLE evq.restriction ALTER COLUMN role_oid TYPE bigint;
UPDATE evq.event_type SET priority = 0;
SELECT evq_publish('uc', NULL, 'x');
ROLLBACK TO s;
ALTER TABLE evq.event_type ALTER COLUMN lifespan DROP NOT NULL;
SELECT evq_publish('uc', NULL, 'x');
ROLLBACK TO s;
ALTER TABLE evq.flow RENAME COLUMN channel TO other;
SELECT evq_publish('uc', NULL, 'x');
ROLLBACK TO s;

-- CHECK and NOT NULL are heeded, in what is published one by one, in many, and in what is changed.
ALTER TABLE evq.event ADD CHECK (flow_id <> 'bad'), ADD CHECK (worker <> 'bad');
SAVEPOINT c;
\set VERBOSITY terse
SELECT evq_publish('uc', NULL, 'bad');
ROLLBACK TO c;
SELECT * FROM evq_publish_many('uc', NULL, '{good, bad}', '{"{}", "{}"}'::jsonb[]);
ROLLBACK TO c;
SELECT evq_publish('uc', NULL, 'good') AS id \gset
SAVEPOINT d;
SELECT flow_id FROM evq_acquire(:'id', 'bad');
ROLLBACK TO d;
SELECT flow_id FROM evq_acquire(:'id', 'good');
ROLLBACK TO s;
ALTER TABLE evq.event_history ALTER COLUMN reason SET NOT NULL;
SELECT evq_publish('uc', NULL, 'x') AS id \gset
SAVEPOINT e;
SELECT evq_cancel(:'id');
ROLLBACK TO e;
SELECT evq_cancel(:'id', 'because');
SELECT state, reason FROM evq.events WHERE event_id = :'id';
ROLLBACK;
\set VERBOSITY default
SELECT * FROM live();
DROP FUNCTION live;

-- What reads by id goes on in a session that has done so before, whatever comes to the tables and goes; in batches, too.
SELECT evq_configure_flow('UB', delivery => 'pull'), evq_configure('ub', 'UB') \gset
SET evq.store_batches_from = 1;
CREATE FUNCTION seen() RETURNS TABLE (flow_id text, state text, payload jsonb) LANGUAGE sql AS $$
	SELECT x ->> 'flow_id', x ->> 'state', x -> 'payload' FROM evq.events e, evq_event(e.event_id) x WHERE e.flow_type IN ('UC', 'UB') ORDER BY 1
$$;
SELECT evq_publish('uc', NULL, 'live', '1'), count(evq_cancel(evq_publish('uc', NULL, 'over', '2'))),
	(SELECT count(*) FROM evq_publish_many('ub', NULL, '{a, b}', '{3, 4}'::jsonb[])) \gset
SELECT * FROM seen();
ALTER TABLE evq.event_history ADD COLUMN note text DEFAULT 'history';
ALTER TABLE evq.log ADD COLUMN note text DEFAULT 'log', ADD COLUMN n int;
SELECT * FROM seen();
\c
SET evq.store_batches_from = 1;
PREPARE errors AS SELECT count(*) FROM evq.errors WHERE event_type = 'uc';
SELECT * FROM seen();
EXECUTE errors;
SELECT count(*) FROM evq_publish_many('ub', NULL, '{c, d}', '{5, 6}'::jsonb[]);
SELECT flow_id, note, n FROM evq.log ORDER BY event_id;
SELECT flow_id, payload FROM evq_acquire_next('UB', 10);
ALTER TABLE evq.event_history DROP COLUMN note;
ALTER TABLE evq.log DROP COLUMN note, DROP COLUMN n;
SELECT * FROM seen();
EXECUTE errors;
TRUNCATE evq.event, evq.event_payload, evq.event_history, evq.event_error, evq.log, evq.batch, evq.backlog, evq.run, evq.exception;
DROP FUNCTION seen;
