-- Ordered flows: one event of a flow_id at a time, in publish order.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure_flow('F', ordered => true) \gset
SELECT evq_configure('A', 'F', 3, '1 hour', '{0 s, 10 s}') \gset
SELECT evq_publish_many('A', NULL, '{x, x, x, y, y, z}', '{1, 2, 3, 1, 2, 1}') \g /dev/null
CREATE TEMP VIEW places AS
SELECT flow_id, payload AS n, state FROM evq.events JOIN evq.payloads USING (event_id) ORDER BY event_id;
CREATE FUNCTION lab.nth(flow_id text, n int) RETURNS uuid LANGUAGE sql STABLE AS $$
	SELECT event_id FROM evq.events JOIN evq.payloads USING (event_id) WHERE events.flow_id = nth.flow_id AND payload = to_jsonb(nth.n)
$$;

-- Before the dispatcher has looked, nobody gets any.
SELECT count(*) FROM evq_acquire(ev('x'));
SELECT count(*) FROM evq_acquire_next('F', 10);

-- The oldest of each flow_id.
SELECT dispatched FROM evq_tick();
SELECT * FROM places;
SELECT dispatched FROM evq_tick();
SELECT count(*) FROM evq_acquire(nth('x', 2));
SELECT flow_id, payload FROM evq_acquire_next('F', 10) ORDER BY 1;
SELECT dispatched FROM evq_tick();

-- Success lets the next one come; failure keeps the place until the last attempt.
SELECT evq_succeed(nth('x', 1)) \gset
SELECT evq_fail(nth('y', 1), 'no');
SELECT dispatched FROM evq_tick();
SELECT * FROM places;
SET evq.debug_clock_offset = 11;
SELECT dispatched FROM evq_tick();
SELECT * FROM places;

-- Given back, it keeps its place too; suspended, it blocks.
SELECT flow_id, payload, attempt FROM evq_acquire_next('F', 10) ORDER BY 1;
SELECT evq_snooze(nth('x', 2), permit, clock_timestamp() + interval '1 min') FROM evq.events WHERE event_id = nth('x', 2) \g /dev/null
SELECT count(evq_suspend(nth('y', 1), permit)) FROM evq.events WHERE event_id = nth('y', 1);
SELECT dispatched FROM evq_tick();
SELECT * FROM places;
SELECT evq_activate(nth('y', 1)) \gset
SELECT dispatched FROM evq_tick();

-- Cancel and final failure make room as well.
SELECT evq_cancel(nth('x', 2)) \gset
SELECT count(*) FROM evq_acquire(nth('y', 1));
SELECT evq_fail(nth('y', 1), 'no', retryable => false);
SELECT dispatched FROM evq_tick();
SELECT * FROM places;

-- A spinoff comes behind what was published before.
SELECT evq_publish('A', NULL, 'z', '2') \gset
SELECT evq_succeed(nth('z', 1), spinoffs => '[{"event_type": "A", "payload": 3}]') \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT * FROM places WHERE flow_id = 'z';

-- An old event brought back takes its place again, but waits for the one under way.
SELECT evq_retry(nth('y', 1)) \gset
SELECT dispatched FROM evq_tick();
SELECT count(*) FROM evq_acquire(nth('y', 2));
SELECT dispatched FROM evq_tick();
SELECT evq_fail(nth('y', 2), 'no', retry_in => '0');
SELECT dispatched FROM evq_tick();
SELECT * FROM places WHERE flow_id = 'y';

-- In the transaction that has published them the session gives the turn: to the oldest, though others wait behind it.
SELECT evq_configure('OWN', 'F') \gset
BEGIN;
SELECT evq_publish('OWN', NULL, 'own', to_jsonb(n)) FROM generate_series(1, 3) n \g /dev/null
SELECT payload FROM evq_acquire_next('F', 10, '{OWN}');
SELECT payload FROM evq_acquire_next('F', 10, '{OWN}');
SELECT evq_succeed(nth('own', 1)) \g /dev/null
SELECT payload FROM evq_acquire_next('F', 10, '{OWN}');
COMMIT;

-- Where it has changed more events than are remembered, it finds its own in the table, and no others.
SELECT evq_publish('OWN', NULL, 'of others') \gset
SET evq.max_pending_per_transaction = 2;
BEGIN;
SELECT evq_publish('OWN', NULL, 'own ' || n) FROM generate_series(1, 4) n \g /dev/null
SELECT flow_id FROM evq_acquire_next('F', 10, '{OWN}') ORDER BY 1;
ROLLBACK;
RESET evq.max_pending_per_transaction;
SELECT evq_cancel(ev('of others')) \gset

-- The order holds for events published after it was set, and until they are finished.
SELECT evq_configure_flow('F', ordered => false) \gset
SELECT evq_publish('A', NULL, 'y', '3') \gset
SELECT dispatched FROM evq_tick();
SELECT * FROM places WHERE flow_id = 'y';
RESET evq.debug_clock_offset;
