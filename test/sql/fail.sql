-- evq_fail: the engine decides whether there is another attempt, and when.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

-- The list of delays; its last one repeats. An attempt is used up each time.
SELECT evq_configure('LIST', 'F', 5, '1 day', '{0 s, 10 s, 20 s}') \gset
SELECT evq_publish('LIST', NULL, 'list') \gset
SELECT attempt, attempts_left FROM evq_acquire(ev('list'), 'w');
SELECT evq_fail(ev('list'), 'first', permit('list'), 'at line 1');
SELECT state, attempts_used, seconds(attempt_scheduled_at - state_since) AS next_in, state_due_at, finished_at FROM evq.events;
SELECT count(*) FROM evq_acquire(ev('list'));
SET evq.debug_clock_offset = 11;
SELECT attempt, attempts_left FROM evq_acquire(ev('list'));
SELECT evq_fail(ev('list'), 'second');
SELECT attempts_used, seconds(attempt_scheduled_at - state_since) AS next_in FROM evq.events;
SET evq.debug_clock_offset = 32;
SELECT attempt, attempts_left FROM evq_acquire(ev('list'));
SELECT evq_fail(ev('list'), 'third');
SELECT attempts_used, seconds(attempt_scheduled_at - state_since) AS next_in FROM evq.events;
SET evq.debug_clock_offset = 53;
SELECT attempt, attempts_left FROM evq_acquire(ev('list'));
SELECT evq_fail(ev('list'), 'fourth');
SET evq.debug_clock_offset = 74;
SELECT attempt, attempts_left FROM evq_acquire(ev('list'));
-- The last attempt.
SELECT permit('list') AS permit \gset
SELECT evq_fail(ev('list'), 'fifth', :permit);
SELECT state, attempts_used, reason, spinoff_ids, finished_at IS NOT NULL AS finished FROM evq.events;
SELECT attempt, outcome, error_message, stack_trace, worker FROM evq.event_error ORDER BY attempt;
-- A failure is not reported twice.
CALL refused($$SELECT evq_fail(ev('list'), 'again', permit('list'))$$);
CALL refused($$SELECT evq_fail(ev('list'), 'again')$$);
CALL refused($$SELECT evq_succeed(ev('list'), permit('list'))$$);
RESET evq.debug_clock_offset;

-- Beyond the list each delay is the one before it times the factor, up to max_delay.
SELECT evq_configure('BACKOFF', 'F', 20, '100 days', '{0 s, 10 s}', 3, '2 min') \gset
SELECT evq_publish('BACKOFF', NULL, 'backoff') \gset
DO $$
BEGIN
	FOR i IN 1..6 LOOP
		PERFORM set_config('evq.debug_clock_offset', (1000 * i)::text, false);
		PERFORM evq_acquire(ev('backoff'));
		PERFORM evq_fail(ev('backoff'), 'no');
		RAISE INFO 'after attempt %: %', i, (SELECT seconds(attempt_scheduled_at - state_since) FROM evq.events WHERE flow_id = 'backoff');
	END LOOP;
END
$$;
RESET evq.debug_clock_offset;

-- Jitter moves each delay beyond the list by up to this share of itself.
SELECT evq_configure('JITTER', 'F', 2, '100 days', '{1000 s}', jitter => 0.1) \gset
SELECT evq_publish_many('JITTER', NULL, (SELECT array_agg('j' || i) FROM generate_series(1, 200) i),
	(SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 200) i)) \g /dev/null
SET evq.debug_clock_offset = 1001;
SELECT count(*), min(seconds(attempt_scheduled_at - published_at)), max(seconds(attempt_scheduled_at - published_at)) FROM evq.events WHERE event_type = 'JITTER';
SELECT count(evq_fail(event_id, 'no', permit)) FROM evq_acquire_next('F', 1000, '{JITTER}');
SELECT min(next_in) BETWEEN 900 AND 950 AS low, max(next_in) BETWEEN 1050 AND 1100 AS high, count(DISTINCT next_in) > 50 AS spread
FROM (SELECT seconds(attempt_scheduled_at - state_since) AS next_in FROM evq.events WHERE event_type = 'JITTER') d;
RESET evq.debug_clock_offset;

-- Not retryable: failed at once.
SELECT evq_publish('LIST', NULL, 'hopeless') \gset
SELECT attempts_left FROM evq_acquire(ev('hopeless'));
SELECT evq_fail(ev('hopeless'), 'bad input', permit('hopeless'), retryable => false);
SELECT state, attempts_used, reason FROM evq.events WHERE flow_id = 'hopeless';

-- retry_in takes the place of the configured delay, not of the limits.
SELECT evq_publish('LIST', NULL, 'asked') \gset
SELECT count(*) FROM evq_acquire(ev('asked'));
SELECT evq_fail(ev('asked'), 'later', retry_in => '5 min');
SELECT seconds(attempt_scheduled_at - state_since) AS next_in FROM evq.events WHERE flow_id = 'asked';
SET evq.debug_clock_offset = 301;
SELECT attempt FROM evq_acquire(ev('asked'));
SELECT evq_fail(ev('asked'), 'now', retry_in => '0 s', retryable => NULL);
SELECT attempt FROM evq_acquire(ev('asked'));
SELECT evq_fail(ev('asked'), 'too late', retry_in => '1 day');
SELECT state, attempts_used, reason FROM evq.events WHERE flow_id = 'asked';
RESET evq.debug_clock_offset;

-- The next attempt must start before the lifespan ends.
SELECT evq_configure('SHORT', 'F', 10, '1 min', '{0 s, 40 s}') \gset
SELECT evq_publish('SHORT', NULL, 'short') \gset
SELECT count(*) FROM evq_acquire(ev('short'));
SELECT evq_fail(ev('short'), 'first');
SET evq.debug_clock_offset = 41;
SELECT attempt, attempts_left FROM evq_acquire(ev('short'));
SELECT evq_fail(ev('short'), 'second');
SELECT state, attempts_used, reason FROM evq.events WHERE flow_id = 'short';
RESET evq.debug_clock_offset;

-- Error texts are cut at 8 kB, stack traces at 32 kB, never within a character.
SELECT evq_publish('LIST', NULL, 'long') \gset
SELECT count(*) FROM evq_acquire(ev('long'));
SELECT evq_fail(ev('long'), repeat('x', 20000), NULL, repeat('y', 40000), false);
SELECT length(error_message), length(stack_trace) FROM evq.event_error WHERE event_id = ev('long');
SELECT length(reason) FROM evq.events WHERE flow_id = 'long';
SELECT evq_publish('LIST', NULL, 'wide') \gset
SELECT count(*) FROM evq_acquire(ev('wide'));
SELECT evq_fail(ev('wide'), 'x' || repeat(U&'\20AC', 10000), NULL, 'xx' || repeat(U&'\20AC', 20000));
SELECT octet_length(error_message), length(error_message), octet_length(stack_trace) FROM evq.event_error WHERE event_id = ev('wide');
SELECT evq_publish('LIST', NULL, 'empty') \gset
SELECT count(*) FROM evq_acquire(ev('empty'));
SELECT evq_fail(ev('empty'), '');
SELECT error_message = '' AS is_empty, stack_trace FROM evq.event_error WHERE event_id = ev('empty');

-- Refused.
SELECT evq_publish('LIST', NULL, 'r') \gset
CALL refused($$SELECT evq_fail(ev('r'), 'no')$$);
SELECT count(*) FROM evq_acquire(ev('r'));
SELECT checksum() AS before \gset
CALL refused($$SELECT evq_fail(ev('r'), 'no', permit('r') + 1)$$);
CALL refused($$SELECT evq_fail(ev('r'), NULL)$$);
CALL refused($$SELECT evq_fail(NULL, 'no')$$);
CALL refused($$SELECT evq_fail(ev('r'), 'no', retry_in => '-1 s')$$);
CALL refused($$SELECT evq_fail(ev('r'), 'no', retry_in => '3651 days')$$);
CALL refused($$SELECT evq_fail('00000000-0000-0000-0000-000000000000', 'no')$$);
SELECT checksum() = :'before' AS unchanged;
