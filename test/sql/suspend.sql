-- evq_suspend and evq_activate: an event waits for a trigger from outside.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', 3, '1 hour', max_payload_bytes => 100) \gset
SELECT evq_publish('A', NULL, 'a', '{"n": 1, "keep": true}', headers => '{"h": 1}') \gset
SELECT count(*) FROM evq_acquire(ev('a'), 'w');
SELECT permit('a') AS first \gset
SELECT evq_suspend(ev('a'), :first, '10 min') AS told \gset
SELECT state, attempts_used, seconds(state_due_at - state_since) AS waits, state_due_at = :'told' AS as_told FROM evq.events;

-- Nobody gets it; its worker may still report how the attempt ended, but neither give it back nor suspend it again.
SELECT count(*) FROM evq_acquire(ev('a'));
SELECT dispatched FROM evq_tick();
SELECT set_config('lab.first', :'first', false) \g /dev/null
CALL refused($$SELECT evq_suspend(ev('a'), current_setting('lab.first')::bigint)$$);
CALL refused($$SELECT evq_succeed(ev('a'))$$);
CALL refused($$SELECT evq_release(ev('a'), current_setting('lab.first')::bigint)$$);
SELECT held, cancel_requested FROM evq_heartbeat(ARRAY[ev('a')], ARRAY[:first]);

-- Bad patches leave it suspended.
SELECT checksum() AS before \gset
CALL refused($$SELECT evq_activate(ev('a'), '[1]')$$);
CALL refused($$SELECT evq_activate(ev('a'), '"text"')$$);
CALL refused($$SELECT evq_activate(ev('a'), jsonb_build_object('large', repeat('x', 100)))$$);
CALL refused($$SELECT evq_activate(NULL)$$);
CALL refused($$SELECT evq_activate('00000000-0000-0000-0000-000000000000')$$);
SELECT checksum() = :'before' AS unchanged;

-- Activated with a patch: its keys replace and add; no attempt was used up.
SELECT evq_activate(ev('a'), '{"n": 2, "answer": {"x": 1}}');
SELECT state, attempts_used, seconds(attempt_scheduled_at - state_since) AS next_in, state_due_at FROM evq.events;
SELECT attempt, payload, headers, permit <> :first AS new_permit FROM evq_acquire(ev('a'));

-- Without a patch, and with an empty one.
SELECT count(evq_suspend(ev('a'), permit('a')));
SELECT evq_activate(ev('a')) \gset
SELECT payload FROM evq_acquire(ev('a'));
SELECT count(evq_suspend(ev('a'), permit('a')));
SELECT evq_activate(ev('a'), '{}') \gset
SELECT payload, attempt FROM evq_acquire(ev('a'));

-- The default timeout is the end of the lifespan; no timeout goes beyond it.
SELECT evq_suspend(ev('a'), permit('a')) = due_at AS is_due_at FROM evq.events;
SELECT evq_activate(ev('a')) \gset
SELECT count(*) FROM evq_acquire(ev('a'));
SELECT evq_suspend(ev('a'), permit('a'), '2 hours') = due_at AS is_due_at FROM evq.events;
SELECT evq_activate(ev('a')) \gset

-- A payload that is no object takes no patch.
SELECT evq_publish('A', NULL, 'list', '[1]') \gset
SELECT count(*) FROM evq_acquire(ev('list'));
SELECT count(evq_suspend(ev('list'), permit('list')));
CALL refused($$SELECT evq_activate(ev('list'), '{"n": 1}')$$);
SELECT state FROM evq.events WHERE flow_id = 'list';
SELECT evq_activate(ev('list')) \gset

-- Refused: only who holds the permit suspends, only what is suspended is activated.
SELECT evq_publish('A', NULL, 'r') \gset
CALL refused($$SELECT evq_suspend(ev('r'), 1)$$);
CALL refused($$SELECT evq_activate(ev('r'))$$);
SELECT count(*) FROM evq_acquire(ev('r'));
CALL refused($$SELECT evq_suspend(ev('r'), permit('r') + 1)$$);
CALL refused($$SELECT evq_suspend(ev('r'), NULL)$$);
CALL refused($$SELECT evq_suspend(NULL, 1)$$);
CALL refused($$SELECT evq_suspend(ev('r'), permit('r'), '0')$$);
CALL refused($$SELECT evq_suspend(ev('r'), permit('r'), '-1 s')$$);
CALL refused($$SELECT evq_suspend('00000000-0000-0000-0000-000000000000', 1)$$);
SELECT evq_succeed(ev('r')) \gset
CALL refused($$SELECT evq_suspend(ev('r'), permit('r'))$$);
CALL refused($$SELECT evq_activate(ev('r'))$$);
