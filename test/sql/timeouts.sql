-- What the clock asks: dispatch, permit, suspension and lifespan run out. Virtual time, one turn at a time.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure_flow('F', dispatch_timeout => '30 s') \gset
SELECT evq_configure('A', 'F', 2, '1 hour', '{0 s, 10 s}', attempt_timeout => '5 min') \gset

-- Dispatched and not acquired: offered again, no attempt used up.
SELECT evq_publish('A', NULL, 'a') \gset
SELECT * FROM evq_tick();
SELECT state, attempts_used, seconds(state_due_at - state_since) AS offered_for FROM evq.events;
SELECT * FROM evq_tick();
SET evq.debug_clock_offset = 15;
SELECT * FROM evq_tick();
SET evq.debug_clock_offset = 31;
SELECT timed_out FROM evq_tick();
SET evq.debug_clock_offset = 32;
SELECT timed_out FROM evq_tick();
SELECT state, attempts_used FROM evq.events;

-- Permit run out: an attempt is used up, the delay of the next one applies.
SELECT attempt FROM evq_acquire(ev('a'), 'w');
SET evq.debug_clock_offset = 300;
SELECT * FROM evq_tick();
SELECT state FROM evq.events;
SET evq.debug_clock_offset = 333;
SELECT * FROM evq_tick();
SELECT state, attempts_used, seconds(attempt_scheduled_at - state_since) AS next_in FROM evq.events;
SELECT attempt, outcome, error_message, worker FROM evq.event_error;
CALL refused($$SELECT evq_succeed(ev('a'), permit('a'))$$);
-- None left: failed.
SET evq.debug_clock_offset = 344;
SELECT attempt, attempts_left FROM evq_acquire(ev('a'));
SET evq.debug_clock_offset = 645;
SELECT * FROM evq_tick();
SELECT state, attempts_used, reason FROM evq.events;
SELECT attempt, outcome FROM evq.event_error ORDER BY attempt;
CALL refused($$SELECT evq_succeed(ev('a'), permit('a'))$$);
RESET evq.debug_clock_offset;

-- A report that comes late, but before the engine's turn, is accepted.
SELECT evq_publish('A', NULL, 'late') \gset
SELECT attempt FROM evq_acquire(ev('late'));
SET evq.debug_clock_offset = 301;
SELECT evq_succeed(ev('late'), permit('late'));
RESET evq.debug_clock_offset;

-- The lifespan ends while it waits, while it is dispatched, while its type is suspended.
SELECT evq_configure('PAUSED', 'F', 3, '1 hour') \gset
SELECT evq_suspend_event_type('PAUSED') \gset
SELECT evq_publish('PAUSED', NULL, 'paused') \gset
SELECT evq_publish('A', NULL, 'waiting') \gset
SELECT count(*) FROM evq_acquire(ev('waiting'));
SELECT evq_snooze(ev('waiting'), permit('waiting'), now() + interval '50 min') \gset
SELECT evq_configure_flow('LONG', dispatch_timeout => '2 hours') \gset
SELECT evq_configure('LONG', 'LONG', lifespan => '1 hour') \gset
SELECT evq_publish('LONG', NULL, 'dispatched') \gset
SELECT dispatched FROM evq_tick();
SELECT flow_id, state_due_at = due_at AS is_capped FROM evq.events WHERE flow_id = 'dispatched';
SET evq.debug_clock_offset = 3500;
SELECT expired FROM evq_tick();
SET evq.debug_clock_offset = 3601;
SELECT expired FROM evq_tick();
SELECT flow_id, state, attempts_used, reason, finished_at >= due_at AS in_time FROM evq.events WHERE flow_id <> 'a' AND flow_id <> 'late' ORDER BY flow_id;
SELECT count(*) FROM evq.event_error WHERE event_id IN (ev('paused'), ev('waiting'), ev('dispatched'));
RESET evq.debug_clock_offset;

-- A first delay beyond the lifespan: never offered, expired when the lifespan ends.
SELECT evq_configure('NEVER', 'F', lifespan => '10 min', attempt_delays => '{2 hours}') \gset
SELECT evq_publish('NEVER', NULL, 'never') \gset
SET evq.debug_clock_offset = 601;
SELECT * FROM evq_tick();
SELECT state FROM evq.events WHERE flow_id = 'never';
RESET evq.debug_clock_offset;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- Processing past the lifespan: the permit ends with it, and there is no other attempt.
SELECT evq_publish('A', NULL, 'over') \gset
SELECT attempt_due_at = due_at AS is_capped FROM evq_acquire(ev('over'), permit_for => '2 hours');
SET evq.debug_clock_offset = 3601;
SELECT * FROM evq_tick();
SELECT state, attempts_used, reason FROM evq.events WHERE flow_id = 'over';
RESET evq.debug_clock_offset;

-- The suspension times out: the type says expire, or retry; the end of the lifespan is the end.
SELECT evq_configure('WAIT', 'F', lifespan => '1 hour') \gset
SELECT evq_configure('WAIT_RETRY', 'F', lifespan => '1 hour', on_suspend_timeout => 'retry') \gset
SELECT evq_publish('WAIT', NULL, 'expires') \gset
SELECT evq_publish('WAIT_RETRY', NULL, 'retries') \gset
SELECT evq_publish('WAIT_RETRY', NULL, 'ends') \gset
SELECT count(*) FROM evq_acquire_next('F', 3);
SELECT evq_suspend(ev('expires'), permit('expires'), '10 min') \gset
SELECT evq_suspend(ev('retries'), permit('retries'), '10 min') \gset
SELECT evq_suspend(ev('ends'), permit('ends')) = due_at AS is_default FROM evq.events WHERE flow_id = 'ends';
SELECT flow_id, state, seconds(state_due_at - state_since) AS waits FROM evq.events WHERE flow_id IN ('expires', 'retries') ORDER BY flow_id;
SET evq.debug_clock_offset = 500;
SELECT * FROM evq_tick();
SET evq.debug_clock_offset = 601;
SELECT timed_out, expired FROM evq_tick();
SELECT flow_id, state IN ('awaiting_processing', 'dispatched') AS is_back, CASE WHEN finished_at IS NOT NULL THEN state END AS ended, attempts_used, reason
FROM evq.events WHERE event_type ~ 'WAIT' ORDER BY flow_id;
SET evq.debug_clock_offset = 602;
SELECT attempt FROM evq_acquire(ev('retries'));
SELECT evq_succeed(ev('retries'));
SET evq.debug_clock_offset = 3601;
SELECT timed_out, expired FROM evq_tick();
SELECT flow_id, state, reason FROM evq.events WHERE event_type ~ 'WAIT' ORDER BY flow_id;
RESET evq.debug_clock_offset;

-- Nothing is left to do.
SELECT * FROM evq_tick();
