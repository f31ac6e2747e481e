-- The on-fail event: published with the failure or expiry, in the same flow.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('FAILED', 'F', priority => 6, lifespan => '1 hour') \gset
SELECT evq_configure('FAILED_TOO', 'F', lifespan => '1 hour') \gset
SELECT evq_configure('A', 'F', 2, '1 hour', '{0 s}', on_fail_event_type => 'FAILED') \gset

-- Not while there are attempts left; what it carries.
SELECT evq_publish('A', NULL, 'a', '{"n": 1}', headers => '{"h": 1}') \gset
SELECT count(*) FROM evq_acquire(ev('a'));
SELECT evq_fail(ev('a'), 'first');
SELECT count(*) FROM evq_acquire(ev('a'));
SELECT evq_fail(ev('a'), 'second');
SELECT event_type, flow_type, state, attempts_used, chain_depth, priority, parent_id = ev('a', 'A') AS has_parent FROM evq.events WHERE flow_id = 'a' ORDER BY chain_depth;
SELECT spinoff_ids = ARRAY[ev('a', 'FAILED')] AS is_its_spinoff FROM evq.events WHERE event_id = ev('a', 'A');
SELECT masked(jsonb_pretty(payload)) AS payload, headers, payload ->> 'event_id' = ev('a', 'A')::text AS id_is_right
FROM evq.payloads WHERE event_id = ev('a', 'FAILED');

-- Not retryable.
SELECT evq_publish('A', NULL, 'hopeless', '[1]') \gset
SELECT count(*) FROM evq_acquire(ev('hopeless'));
SELECT evq_fail(ev('hopeless'), 'no', retryable => false);
SELECT masked(payload::text) FROM evq.payloads WHERE event_id = ev('hopeless', 'FAILED');

-- The event's own on-fail event comes before its type's.
SELECT evq_publish('A', NULL, 'own', on_fail_event_type => 'FAILED_TOO') \gset
SELECT count(*) FROM evq_acquire(ev('own'));
SELECT evq_fail(ev('own'), 'no', retryable => false);
SELECT event_type, state FROM evq.events WHERE flow_id = 'own' ORDER BY chain_depth;

-- On expiry.
SELECT evq_publish('A', NULL, 'expired', '"p"') \gset
SET evq.debug_clock_offset = 3601;
SELECT expired FROM evq_tick();
SELECT event_type, state, attempts_used, reason FROM evq.events WHERE flow_id = 'expired' ORDER BY chain_depth;
SELECT masked(payload::text) FROM evq.payloads WHERE event_id = ev('expired', 'FAILED');
RESET evq.debug_clock_offset;

-- On a permit timeout without attempts left.
SELECT evq_configure('ONCE', 'F', 1, '1 hour', attempt_timeout => '1 min', on_fail_event_type => 'FAILED') \gset
SELECT evq_publish('ONCE', NULL, 'lost') \gset
SELECT count(*) FROM evq_acquire(ev('lost'));
SET evq.debug_clock_offset = 61;
SELECT count(*) FROM evq_tick();
SELECT event_type, state IN ('awaiting_processing', 'dispatched') AS is_new, reason FROM evq.events WHERE flow_id = 'lost' ORDER BY chain_depth;
RESET evq.debug_clock_offset;

-- Not on cancel, not on success.
SELECT evq_publish('A', NULL, 'c') \gset
SELECT evq_cancel(ev('c')) \gset
SELECT evq_publish('A', NULL, 's') \gset
SELECT count(*) FROM evq_acquire(ev('s'));
SELECT evq_succeed(ev('s'));
SELECT event_type, state FROM evq.events WHERE flow_id IN ('c', 's') ORDER BY flow_id;

-- Undone with the failure.
SELECT evq_publish('A', NULL, 'undone') \gset
SELECT count(*) FROM evq_acquire(ev('undone'));
BEGIN;
SELECT evq_fail(ev('undone'), 'no', retryable => false);
ROLLBACK;
SELECT event_type, state FROM evq.events WHERE flow_id = 'undone';

-- Where it cannot be published the failure stands, with a note.
SELECT evq_configure('GONE', 'F', lifespan => '1 hour') \gset
SELECT evq_publish('A', NULL, 'note', on_fail_event_type => 'GONE') \gset
SELECT evq_drop_event_type('GONE') \gset
SELECT count(*) FROM evq_acquire(ev('note'));
SELECT evq_fail(ev('note'), 'no', retryable => false);
SELECT event_type, state, spinoff_ids FROM evq.events WHERE flow_id = 'note';
SELECT attempt, outcome, error_message FROM evq.event_error WHERE event_id = ev('note') ORDER BY outcome;
-- The same where its type has moved to another flow.
SELECT evq_configure('MOVED', 'F', lifespan => '1 hour') \gset
SELECT evq_publish('A', NULL, 'moved', on_fail_event_type => 'MOVED') \gset
SELECT evq_configure('MOVED', 'G') \gset
SELECT count(*) FROM evq_acquire(ev('moved'));
SELECT evq_fail(ev('moved'), 'no', retryable => false);
SELECT event_type, flow_type, state, spinoff_ids FROM evq.events WHERE flow_id = 'moved';
SELECT outcome, error_message FROM evq.event_error WHERE event_id = ev('moved') ORDER BY outcome;

-- A cycle A -> B -> A ends at evq.max_chain_depth, with a note.
SELECT evq_configure('PING', 'F', lifespan => '1 hour') \gset
SELECT evq_configure('PONG', 'F', lifespan => '1 hour', on_fail_event_type => 'PING') \gset
SELECT evq_configure('PING', on_fail_event_type => 'PONG') \gset
SET evq.max_chain_depth = 3;
SELECT evq_publish('PING', NULL, 'cycle') \gset
DO $$
DECLARE
	picked uuid;
BEGIN
	LOOP
		SELECT event_id INTO picked FROM evq_acquire_next('F', 1, '{PING, PONG}');
		EXIT WHEN NOT FOUND;
		PERFORM evq_fail(picked, 'no', retryable => false);
	END LOOP;
END
$$;
RESET evq.max_chain_depth;
SELECT event_type, state, chain_depth, spinoff_ids IS NOT NULL AS has_child FROM evq.events WHERE flow_id = 'cycle' ORDER BY chain_depth;
SELECT event_type, outcome, error_message FROM evq.errors WHERE flow_id = 'cycle' ORDER BY failed_at, outcome;
