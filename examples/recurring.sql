-- Work by the clock: a schedule publishes an event at each of its times, and the event has attempts, timeouts and a
-- record like any other. This one runs at 3:00 in Berlin; here it is run once by hand.

SELECT evq_configure('REPORT', 'FLOW_REPORTS', max_attempts => 5, attempt_delays => '{0 s, 5 min}');
SELECT evq_schedule('nightly-report', '0 3 * * *', 'REPORT', 'FLOW_REPORTS', 'all-shops', '{"format": "pdf"}',
	time_zone => 'Europe/Berlin', misfire => 'once', overlap => 'skip', make_job => false);

-- In one transaction, so that nobody else has a hand on the event.
BEGIN;
SELECT evq_run_schedule('nightly-report') AS event_id \gset
SELECT evq_succeed(event_id, permit, '{"pages": 12}') FROM evq_acquire(:'event_id') \g /dev/null
COMMIT;

SELECT name, next_run_at > now() AS will_run, last_state, e.result FROM evq.schedules JOIN evq.events e ON e.event_id = last_event_id
WHERE name = 'nightly-report';
SELECT evq_unschedule('nightly-report') \g /dev/null

-- It ends with:
--
--       name      | will_run | last_state |    result
-- ----------------+----------+------------+---------------
--  nightly-report | t        | succeeded  | {"pages": 12}
-- (1 row)
