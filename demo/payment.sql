-- A purchase in three events: PAYMENT_ATTEMPT -> PAYMENT_CAPTURE (waits for the bank) -> RECEIPT.
-- Shows that a purchase ordered twice, an attempt that fails, a bank that answers later and a worker
-- that goes silent still charge the card exactly once.
--
-- Run it with psql in any database that has the extension; one session plays all roles here, in
-- reality they are programs of their own. It stops at the first thing that is not as it says.

\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\pset footer off
\pset linestyle ascii
SET client_min_messages = warning;

DROP SCHEMA IF EXISTS payment_demo CASCADE;
CREATE SCHEMA payment_demo;

-- The ledger. Its rows are written in the transaction that reports the event's success.
CREATE TABLE payment_demo.charge (
	purchase text PRIMARY KEY,
	amount numeric NOT NULL,
	bank_reference text NOT NULL,
	charged_by text NOT NULL
);

-- Waits until a query says true, looking again and again in transactions of their own.
-- Where no dispatcher runs it turns the engine itself.
CREATE PROCEDURE payment_demo.wait_until(condition text, at_most interval DEFAULT '15 s')
LANGUAGE plpgsql AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + at_most;
	met boolean;
BEGIN
	LOOP
		IF NOT (evq_status()).running THEN
			PERFORM evq_tick();
		END IF;
		EXECUTE condition INTO met;
		COMMIT;
		EXIT WHEN met;
		IF clock_timestamp() > deadline THEN
			RAISE EXCEPTION 'waited % in vain for: %', at_most, condition;
		END IF;
		PERFORM pg_sleep(0.02);
	END LOOP;
END
$$;

CREATE PROCEDURE payment_demo.wait_for(event_id uuid, state evq.event_state)
LANGUAGE plpgsql AS $$
BEGIN
	CALL payment_demo.wait_until(format('SELECT state = %L FROM evq.events_by_id(ARRAY[%L::uuid])', state, event_id));
END
$$;

SELECT 'purchase-' || extract(epoch FROM clock_timestamp())::bigint AS purchase
\gset

\echo
\echo '== 1. Three event types in a new flow'
\echo
\set ECHO queries

SELECT evq_configure('PAYMENT_ATTEMPT', 'FLOW_PAYMENT', max_attempts => 3, lifespan => '60 s',
                     attempt_delays => '{0 s, 1 s, 2 s}'),
       evq_configure('PAYMENT_CAPTURE', 'FLOW_PAYMENT', max_attempts => 3, lifespan => '60 s',
                     attempt_delays => '{0 s, 500 ms}', attempt_timeout => '10 s'),
       evq_configure('RECEIPT', 'FLOW_PAYMENT', max_attempts => 3, lifespan => '60 s')
\g /dev/null

\echo
\echo '== 2. The browser sends the order twice: the idempotency key makes it one event'
\echo

SELECT evq_publish('PAYMENT_ATTEMPT', 'FLOW_PAYMENT', :'purchase', '{"amount": 42.00}',
                   idempotency_key => :'purchase') AS first_order
\gset
SELECT evq_publish('PAYMENT_ATTEMPT', 'FLOW_PAYMENT', :'purchase', '{"amount": 42.00}',
                   idempotency_key => :'purchase') AS second_order
\gset
SELECT :'first_order' AS first_order, :'second_order' AS second_order;

\echo '-- The same key with another amount is a mistake, and refused:'
\echo

\set ON_ERROR_STOP off
SELECT evq_publish('PAYMENT_ATTEMPT', 'FLOW_PAYMENT', :'purchase', '{"amount": 4200.00}',
                   idempotency_key => :'purchase');
\set other_content :SQLSTATE
\set ON_ERROR_STOP on

\echo
\echo '== 3. A worker takes the event, the bank does not answer: the attempt fails and is tried again'
\echo

CALL payment_demo.wait_for(:'first_order', 'dispatched');
SELECT permit, attempt, attempts_left FROM evq_acquire(:'first_order', worker => 'worker-1')
\gset
SELECT evq_fail(:'first_order', 'the bank does not answer', :permit);
SELECT state, attempts_used, attempt_scheduled_at - state_since AS tried_again_in
FROM evq.events_by_id(ARRAY[:'first_order'::uuid]);

CALL payment_demo.wait_for(:'first_order', 'dispatched');
SELECT permit, attempt, attempts_left FROM evq_acquire(:'first_order', worker => 'worker-1')
\gset
\echo
\echo '-- Attempt' :attempt 'succeeds. The event that follows is published in the same transaction:'
\echo
SELECT (evq_succeed(:'first_order', :permit, spinoffs =>
        '[{"event_type": "PAYMENT_CAPTURE", "payload": {"amount": 42.00}}]'))[1] AS capture
\gset

\echo
\echo '== 4. The capture needs an answer of the bank that comes later: suspended until then'
\echo

CALL payment_demo.wait_for(:'capture', 'dispatched');
SELECT permit FROM evq_acquire(:'capture', worker => 'worker-1')
\gset
SELECT evq_suspend(:'capture', :permit, '30 s') AS waits_until
\gset
\echo
\echo '-- The bank calls back: its answer is kept beside the payload, and the event goes on.'
\echo
SELECT evq_activate(:'capture', answer => '{"bank_reference": "BANK-7731"}', permit => :permit)
\g /dev/null
CALL payment_demo.wait_for(:'capture', 'dispatched');
SELECT state, attempts_used, answer
FROM evq.events_by_id(ARRAY[:'capture'::uuid]);

\echo '== 5. worker-1 takes it for a second and goes silent: its permit runs out, worker-2 takes over'
\echo

SELECT permit AS old_permit FROM evq_acquire(:'capture', worker => 'worker-1', permit_for => '1 s')
\gset
CALL payment_demo.wait_until(format('SELECT attempts_used = 1 FROM evq.events_by_id(ARRAY[%L::uuid])', :'capture'));
SELECT attempt, outcome, error_message, worker FROM evq.errors WHERE event_id = :'capture';
CALL payment_demo.wait_for(:'capture', 'dispatched');
SELECT permit, attempt, payload ->> 'amount' AS amount, answer ->> 'bank_reference' AS bank_reference
FROM evq_acquire(:'capture', worker => 'worker-2')
\gset

\echo
\echo '-- Now worker-1 is back and does not know. It charges and reports in one transaction; the report'
\echo '-- is refused, since its permit is not the one that holds, and the charge is undone with it:'
\echo

\set ON_ERROR_STOP off
BEGIN;
INSERT INTO payment_demo.charge VALUES (:'purchase', :amount, :'bank_reference', 'worker-1');
SELECT evq_succeed(:'capture', :old_permit);
\set late_report :SQLSTATE
ROLLBACK;
\set ON_ERROR_STOP on
SELECT count(*) AS charges FROM payment_demo.charge;

\echo '== 6. worker-2 charges and reports; both are committed, or neither'
\echo

BEGIN;
INSERT INTO payment_demo.charge VALUES (:'purchase', :amount, :'bank_reference', 'worker-2');
SELECT (evq_succeed(:'capture', :permit, spinoffs =>
        '[{"event_type": "RECEIPT", "payload": {"to": "customer@example.com"}}]'))[1] AS receipt
\gset
COMMIT;

\echo
\echo '-- Suppose the answer to COMMIT was lost. To report again is no mistake: the same answer comes.'
\echo
SELECT (evq_succeed(:'capture', :permit))[1] AS receipt_again
\gset
SELECT :'receipt' AS receipt, :'receipt_again' AS receipt_again;

CALL payment_demo.wait_for(:'receipt', 'dispatched');
SELECT permit FROM evq_acquire(:'receipt', worker => 'worker-3')
\gset
SELECT evq_succeed(:'receipt', :permit, result => '{"sent": true}')
\g /dev/null

\echo
\echo '== 7. In the end: one charge, and the whole story is on record'
\echo

SELECT * FROM payment_demo.charge;
SELECT event_type, state, attempts_used, published_at::time(3), finished_at::time(3), worker
FROM evq.events WHERE flow_id = :'purchase' ORDER BY published_at;
SELECT event_type, attempt, failed_at::time(3), error_message, outcome
FROM evq.errors WHERE flow_id = :'purchase' ORDER BY failed_at;
\pset format unaligned
\pset tuples_only on
SELECT jsonb_pretty(jsonb_strip_nulls(evq_event(:'capture')));

-- What was shown must be what was said.
\set ECHO none
SELECT (:'first_order' = :'second_order' AND :'other_content' = 'EQ008' AND :'late_report' = 'EQ004'
		AND :'receipt' = :'receipt_again'
		AND (SELECT array_agg(charged_by) = '{worker-2}' FROM payment_demo.charge)
		AND (SELECT array_agg(event_type || ' ' || state || ' ' || attempts_used ORDER BY published_at)
				= '{PAYMENT_ATTEMPT succeeded 2,PAYMENT_CAPTURE succeeded 2,RECEIPT succeeded 1}'
			 FROM evq.events WHERE flow_id = :'purchase')) IS TRUE AS as_said
\gset
\if :as_said
	\echo
	\echo '== The purchase was charged once.'
\else
	\warn 'payment.sql: the outcome is not as it should be'
	DO $$ BEGIN RAISE EXCEPTION 'see above'; END $$;
\endif
