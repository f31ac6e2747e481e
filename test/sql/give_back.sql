-- evq_snooze and evq_release: an event given back uses up no attempt.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', 2, '1 hour') \gset
SELECT evq_publish('A', NULL, 'a') \gset

-- Release: due again at once.
SELECT attempt FROM evq_acquire(ev('a'), 'w');
SELECT permit('a') AS first \gset
SELECT evq_release(ev('a'), :first);
SELECT state, attempts_used, seconds(attempt_scheduled_at - state_since) AS next_in, state_due_at FROM evq.events;
SELECT attempt, permit <> :first AS new_permit FROM evq_acquire(ev('a'));

-- Snooze: not before run_at.
SELECT evq_snooze(ev('a'), permit('a'), clock_timestamp() + interval '10 min');
SELECT state, attempts_used, seconds(attempt_scheduled_at - state_since) AS next_in FROM evq.events;
SELECT count(*) FROM evq_acquire(ev('a'));
SELECT dispatched FROM evq_tick();
SET evq.debug_clock_offset = 601;
SELECT attempt FROM evq_acquire(ev('a'));
-- The present is no time of the past.
SELECT evq_snooze(ev('a'), permit('a'), now()) \gset
SELECT seconds(attempt_scheduled_at - state_since) AS next_in FROM evq.events;
SELECT dispatched FROM evq_tick();
SELECT attempt FROM evq_acquire(ev('a'));
RESET evq.debug_clock_offset;
SELECT count(*) FROM evq.event_error;

-- Refused; the event stays as it is.
SELECT set_config('lab.first', :'first', false) \g /dev/null
SELECT checksum() AS before \gset
CALL refused($$SELECT evq_snooze(ev('a'), permit('a'), now() - interval '1 us')$$);
CALL refused($$SELECT evq_snooze(ev('a'), permit('a'), '2000-01-01')$$);
CALL refused($$SELECT evq_snooze(ev('a'), permit('a'), '10000-01-01 00:00+00')$$);
CALL refused($$SELECT evq_snooze(ev('a'), permit('a'), 'infinity')$$);
CALL refused($$SELECT evq_snooze(ev('a'), permit('a'), '-infinity')$$);
CALL refused($$SELECT evq_snooze(ev('a'), permit('a'), NULL)$$);
CALL refused($$SELECT evq_snooze(ev('a'), NULL, now())$$);
CALL refused($$SELECT evq_snooze(NULL, 1, now())$$);
CALL refused($$SELECT evq_release(ev('a'), NULL)$$);
CALL refused($$SELECT evq_release(NULL, 1)$$);
CALL refused($$SELECT evq_snooze(ev('a'), current_setting('lab.first')::bigint, now())$$);
CALL refused($$SELECT evq_release(ev('a'), current_setting('lab.first')::bigint)$$);
CALL refused($$SELECT evq_release('00000000-0000-0000-0000-000000000000', 1)$$);
CALL refused($$SELECT evq_snooze('00000000-0000-0000-0000-000000000000', 1, now())$$);
SELECT checksum() = :'before' AS unchanged;

-- Not in any other state.
SELECT evq_release(ev('a'), permit('a')) \gset
CALL refused($$SELECT evq_release(ev('a'), permit('a'))$$);
CALL refused($$SELECT evq_snooze(ev('a'), permit('a'), now())$$);
SELECT evq_publish('A', NULL, 'new') \gset
CALL refused($$SELECT evq_release(ev('new'), 1)$$);
SELECT count(*) FROM evq_acquire(ev('a'));
SELECT evq_succeed(ev('a')) \gset
CALL refused($$SELECT evq_release(ev('a'), permit('a'))$$);
CALL refused($$SELECT evq_snooze(ev('a'), permit('a'), now())$$);

-- Past the end of its lifespan an event is snoozed until that end, where it expires: that costs no attempt.
SET client_min_messages = warning;
SELECT evq_publish('A', NULL, 'too late') \gset
SELECT evq_publish('A', NULL, 'at its end') \gset
SELECT evq_publish('A', NULL, 'much too late') \gset
SELECT count(a) FROM unnest('{too late, at its end, much too late}'::text[]) f, evq_acquire(ev(f)) a;
SELECT evq_snooze(ev('too late'), permit('too late'), now() + interval '61 min') \gset
SELECT evq_snooze(event_id, permit, due_at) FROM evq.events WHERE flow_id = 'at its end' \gset
SELECT evq_snooze(ev('much too late'), permit('much too late'), '9999-12-31') \gset
RESET client_min_messages;
SELECT flow_id, state, attempts_used, attempt_scheduled_at = due_at AS at_its_end FROM evq.events WHERE flow_id ~ 'late|end' ORDER BY flow_id;
SET evq.debug_clock_offset = 3590;
SELECT dispatched, timed_out, expired FROM evq_tick();
SET evq.debug_clock_offset = 3601;
SELECT expired FROM evq_tick();
SELECT flow_id, state, attempts_used, reason FROM evq.events WHERE flow_id ~ 'late|end' ORDER BY flow_id;
SELECT flow_id, attempt, outcome, error_message FROM evq.errors ORDER BY flow_id;
RESET evq.debug_clock_offset;
