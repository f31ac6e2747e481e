-- The lifespan: its default, what a change does to events that are there, what it cuts short, and what is said of it.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

-- How long each live event has from its publish on, and how long its state lasts, in seconds, the second to the nearest ten.
CREATE VIEW lab.lives AS
SELECT flow_id, state, seconds(due_at - published_at) AS lifespan, (seconds(state_due_at - state_since) + 5) / 10 * 10 AS state_lasts FROM evq.events;

SELECT evq_configure('A', 'F') \gset
SELECT evq_publish('A', NULL, 'default') \gset
SELECT flow_id, lifespan = 14 * 24 * 3600 AS two_weeks FROM lab.lives;
SELECT count(*) FROM evq_acquire(ev('default'));
SELECT state_lasts FROM lab.lives;
SELECT evq_cancel(ev('default')) \gset

-- A longer one reaches events in every state, and what times out with it.
SELECT evq_configure_flow('F', dispatch_timeout => '10 days') \gset
SELECT evq_configure('A', lifespan => '1000 s', attempt_timeout => '10 days') \gset
SELECT evq_publish('A', NULL, id) FROM unnest('{processing, suspended, timeout}'::text[]) id \g /dev/null
SELECT count(*) FROM evq_acquire_next('F', 3);
SELECT evq_suspend(ev('suspended'), permit('suspended')) \gset
SELECT evq_suspend(ev('timeout'), permit('timeout'), '500 s') \gset
SELECT evq_publish('A', NULL, 'dispatched') \gset
SELECT dispatched FROM evq_tick();
SELECT evq_publish('A', NULL, 'later', run_at => now() + interval '1 hour') \gset
SELECT evq_publish('A', NULL, 'new') \gset
SELECT * FROM lab.lives WHERE flow_id NOT IN ('default', 'later') ORDER BY 1;
SELECT evq_configure('A', lifespan => '5000 s') \gset
SELECT * FROM lab.lives WHERE flow_id NOT IN ('default', 'later') ORDER BY 1;
SELECT seconds(due_at - now()) - 5000 BETWEEN 3500 AND 3600 AS from_run_at FROM evq.events WHERE flow_id = 'later';
-- Published after it, and changed again: each is moved by what came after its publish.
SELECT evq_publish('A', NULL, 'newer') \gset
SELECT evq_configure('A', lifespan => '7000 s') \gset
SELECT flow_id, lifespan FROM lab.lives WHERE flow_id IN ('new', 'newer') ORDER BY 1;
-- What a verb writes is the same as before.
SELECT evq_release(ev('processing'), permit('processing')) \gset
SELECT seconds(due_at - published_at) AS lifespan, seconds(attempt_due_at - state_since) - seconds(due_at - state_since) AS permit_beyond
FROM evq_acquire(ev('processing')) JOIN (SELECT event_id, published_at, state_since FROM evq.events) e USING (event_id);
SELECT held, seconds(attempt_due_at - published_at) AS until FROM evq_heartbeat(ARRAY[ev('processing')], ARRAY[permit('processing')]) JOIN evq.events USING (event_id);
SELECT * FROM lab.lives WHERE flow_id = 'processing';
SELECT flow_id, seconds(due_at - published_at) AS lifespan FROM evq_pending('F') WHERE flow_id IN ('new', 'newer') ORDER BY 1;
-- The engine goes by it, and so does who acquires.
SET evq.debug_clock_offset = 6990;
SELECT expired FROM evq_tick();
SELECT attempt FROM evq_acquire(ev('new'));
SELECT evq_release(ev('new'), permit('new')) \gset
SET evq.debug_clock_offset = 7001;
SELECT timed_out, expired FROM evq_tick();
SELECT flow_id, state, lifespan, attempts_used FROM lab.lives JOIN evq.events USING (flow_id, state) WHERE flow_id NOT IN ('default', 'later') ORDER BY 1;
-- A retry gives a whole new one.
SELECT evq_retry(ev('newer')) \gset
SELECT seconds(due_at - state_since) AS lifespan FROM evq.events WHERE flow_id = 'newer';
SELECT evq_configure('A', lifespan => '8000 s') \gset
SELECT seconds(due_at - state_since) AS lifespan FROM evq.events WHERE flow_id = 'newer';
RESET evq.debug_clock_offset;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- A shorter one: those that are past it expire, a permit that was granted holds.
SELECT evq_configure('A', lifespan => '1 day') \gset
SELECT evq_publish('A', NULL, id) FROM unnest('{asleep, at work}'::text[]) id \g /dev/null
SELECT count(*) FROM evq_acquire_next('F', 2, permit_for => '2 hours');
SELECT evq_suspend(ev('asleep'), permit('asleep')) \gset
SELECT evq_publish('A', NULL, 'offered') \gset
SELECT evq_publish('A', NULL, 'retrying') \gset
SELECT dispatched FROM evq_tick();
SELECT evq_configure('A', lifespan => '1 hour') \gset
SELECT flow_id, state, lifespan, state_lasts FROM lab.lives WHERE flow_id IN ('asleep', 'at work', 'offered', 'retrying') ORDER BY 1;
SET evq.debug_clock_offset = 3601;
SELECT timed_out, expired FROM evq_tick();
SELECT flow_id, state, reason FROM evq.events WHERE flow_id IN ('asleep', 'at work', 'offered', 'retrying') ORDER BY 1;
SELECT evq_succeed(ev('at work'), permit('at work'));
RESET evq.debug_clock_offset;

-- Very many changes stay few rows, and none where no event is older.
SELECT evq_publish('A', NULL, 'old') \gset
DO $$
BEGIN
	FOR n IN 1..60 LOOP
		PERFORM evq_configure('A', lifespan => interval '1 hour' + n * interval '1 s');
		PERFORM pg_sleep(0.000001);
	END LOOP;
END
$$;
SELECT count(*) <= 50 AS few, sum(shift) FROM evq.lifespan_change;
SELECT lifespan FROM lab.lives WHERE flow_id = 'old';
SELECT evq_cancel(ev('old')) \gset
SELECT evq_configure('A', lifespan => '1 day') \gset
SELECT count(*) FROM evq.lifespan_change;
-- Months are of 30 days, as everywhere in evq.
SELECT evq_publish('A', NULL, 'months') \gset
SELECT evq_configure('A', lifespan => '1 mon 1 day') \gset
SELECT lifespan / 3600 AS hours FROM lab.lives WHERE flow_id = 'months';
SELECT evq_cancel(ev('months')) \gset

-- An expiry is an error on record, whether there was an attempt or not.
SELECT evq_configure('SHORT', 'F', lifespan => '10 s', attempt_delays => '{0 s}', max_attempts => 2) \gset
SELECT evq_publish('SHORT', NULL, 'nobody came') \gset
SELECT evq_publish('SHORT', NULL, 'tried') \gset
SELECT count(*) FROM evq_acquire(ev('tried'), 'w');
SELECT evq_fail(ev('tried'), 'no');
SET evq.debug_clock_offset = 11;
SELECT expired FROM evq_tick();
SELECT flow_id, attempt, outcome, error_message FROM evq.errors WHERE event_type = 'SHORT' ORDER BY flow_id, failed_at;
SELECT step ->> 'what' AS what, step ->> 'detail' AS detail FROM jsonb_array_elements(evq_event(ev('nobody came')) -> 'timeline') step;
SELECT severity, finding, advice FROM evq_check() WHERE finding ~ 'have expired within' ORDER BY finding;
RESET evq.debug_clock_offset;

-- Attempts that do not fit: a warning beforehand, and the reason of the event that ended early.
SELECT evq_configure('TIGHT', 'F', max_attempts => 20, attempt_delays => '{0 s, 1 s}', backoff_factor => 2, lifespan => '8 s') \gset
SELECT evq_configure('TIGHT', lifespan => '20 days') \gset
SELECT evq_configure('TIGHT', max_attempts => 5, lifespan => '15 s') \gset
SELECT evq_configure('TIGHT', lifespan => '15.001 s', priority => 1) \gset
SELECT evq_configure('TIGHT', lifespan => '5 s') \gset
SELECT evq_configure('TIGHT', priority => 2) \gset
SELECT evq_publish('TIGHT', NULL, 'tight') \gset
SELECT count(*) FROM evq_acquire(ev('tight'));
SELECT evq_fail(ev('tight'), 'no', retry_in => '10 s');
SELECT state, reason FROM evq.events WHERE flow_id = 'tight';
SELECT attempt, outcome, error_message FROM evq.errors WHERE flow_id = 'tight';
SELECT step ->> 'detail' AS detail FROM jsonb_array_elements(evq_event(ev('tight')) -> 'timeline') step WHERE step ->> 'what' = 'failed';
SELECT evq.attempts_that_fit(3, '1 hour', '{2 hours}', 1, '1 day'), evq.attempts_that_fit(10000, '3650 days', '{1 s}', 2, '1 day'),
	evq.attempts_that_fit(3, '1 ms', '{0 s}', 1, '0 s'), evq.attempts_that_fit(4, '10 s', '{0 s, 5 s}', 10, '1 s');

-- Keys that are forgotten soon: said where the type is configured, and by the doctor.
SELECT evq_configure('KEYED', 'F', retention => '1 hour') \gset
SELECT evq_publish('KEYED', NULL, 'k', idempotency_key => 'schedule s 1') \gset
SELECT count(*) FROM evq_check() WHERE finding ~ 'idempotency';
SELECT evq_publish('KEYED', NULL, 'k', idempotency_key => 'pay 1') \gset
SELECT severity, finding, advice FROM evq_check() WHERE finding ~ 'idempotency';
SELECT evq_configure('KEYED', retention => '2 hours') \gset
SELECT evq_configure('KEYED', retention => '1 day') \gset
SELECT count(*) FROM evq_check() WHERE finding ~ 'idempotency';

-- Who searches the table goes by it too.
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT evq_configure('A', lifespan => '1000 s') \gset
SELECT evq_publish('A', NULL, 'longer') \gset
SELECT evq_configure('A', lifespan => '5000 s') \gset
SET evq.debug_clock_offset = 2000;
SELECT flow_id FROM evq_acquire_next('F');
RESET evq.debug_clock_offset;
-- A suspension ends with a lifespan that has become shorter than it, and the view says so.
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT evq_publish('A', NULL, 'asleep for long') \gset
SELECT count(*) FROM evq_acquire_next('F');
SELECT evq_suspend(ev('asleep for long'), permit('asleep for long'), '4000 s') \gset
SELECT evq_configure('A', lifespan => '1000 s') \gset
SELECT flow_id, lifespan, state_due_at = due_at AS ends_with_it FROM lab.lives JOIN evq.events USING (flow_id) WHERE flow_id = 'asleep for long';
