-- evq_succeed: result and spinoffs, fenced by the permit.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset
SELECT evq_configure('B', 'F', priority => 4, max_payload_bytes => 100) \gset
SELECT evq_configure('B_FAILED', 'F') \gset
SELECT evq_configure('OTHER', 'G') \gset

-- Without spinoffs; attempts_used counts the successful one.
SELECT evq_publish('A', NULL, 'plain') \gset
SELECT count(*) FROM evq_acquire(ev('plain'), 'w');
SELECT evq_succeed(ev('plain'), permit('plain'), '{"answer": 42}');
SELECT state, attempts_used, worker, result, reason, spinoff_ids, finished_at IS NOT NULL AS finished, state_due_at FROM evq.events WHERE flow_id = 'plain';
SELECT count(*) FROM evq.event;

-- With spinoffs: same flow, same flow_id, parent, one deeper.
SELECT evq_publish('A', NULL, 'chain') \gset
SELECT count(*) FROM evq_acquire(ev('chain'));
SELECT permit('chain') AS permit \gset
SELECT evq_succeed(ev('chain'), :permit, 'null', '[
	{"event_type": "B", "payload": {"n": 1}, "on_fail_event_type": "B_FAILED", "run_at": "2200-01-01", "priority": -1, "headers": {"h": 1}},
	{"event_type": "A"}]') AS spinoffs \gset
SELECT cardinality(:'spinoffs'::uuid[]);
SELECT i, event_type, flow_type, flow_id, state, parent_id = ev('chain', 'A') AS has_parent, chain_depth, priority, on_fail_event_type,
	attempt_scheduled_at > now() + interval '100 years' AS is_later, payload, headers
FROM unnest(:'spinoffs'::uuid[]) WITH ORDINALITY AS s (event_id, i) JOIN evq.events USING (event_id) JOIN evq.payloads USING (event_id) ORDER BY i;
SELECT state, result, spinoff_ids = :'spinoffs' AS same_ids FROM evq.events WHERE event_id = ev('chain');

-- The same report again returns the same ids and changes nothing, whatever else it says.
SELECT checksum() AS before \gset
SELECT evq_succeed(ev('chain'), :permit) = :'spinoffs' AS same_ids;
SELECT evq_succeed(ev('chain'), :permit, '"other"', '[{"event_type": "A"}]') = :'spinoffs' AS same_ids;
SELECT evq_succeed(ev('plain'), permit('plain')) AS spinoffs;
-- Without the permit nobody can tell that it is the same report.
CALL refused($$SELECT evq_succeed(ev('chain'))$$);

-- A spinoff's own chain.
SELECT (:'spinoffs'::uuid[])[2] AS child \gset
SELECT checksum() = :'before' AS unchanged;
SELECT count(*) FROM evq_acquire(:'child');
SELECT cardinality(evq_succeed(:'child', spinoffs => '[{"event_type": "A"}]'));
SELECT flow_id, chain_depth, state FROM evq.events WHERE parent_id = :'child';

-- An empty list is no spinoff.
SELECT evq_publish('A', NULL, 'empty') \gset
SELECT count(*) FROM evq_acquire(ev('empty'));
SELECT evq_succeed(ev('empty'), NULL, NULL, '[]');

-- Stale permits, wrong states, unknown events.
SELECT evq_publish('A', NULL, 's') \gset
CALL refused($$SELECT evq_succeed(ev('s'))$$);
CALL refused($$SELECT evq_succeed(ev('s'), 1)$$);
SELECT permit AS stale FROM evq_acquire(ev('s')) \gset
SELECT evq_release(ev('s'), :stale) \gset
SELECT permit AS current FROM evq_acquire(ev('s')) \gset
SELECT checksum() AS before \gset
SELECT set_config('lab.stale', :'stale', false) \g /dev/null
CALL refused($$SELECT evq_succeed(ev('s'), current_setting('lab.stale')::bigint)$$);
CALL refused($$SELECT evq_succeed(ev('s'), permit('s') + 1)$$);
CALL refused($$SELECT evq_succeed(ev('s'), 0)$$);
CALL refused($$SELECT evq_succeed(ev('s'), -1)$$);
-- A permit of another epoch, as after a restore.
CALL refused($$SELECT evq_succeed(ev('s'), permit('s') + (1::bigint << 32))$$);
CALL refused($$SELECT evq_succeed(ev('plain'), permit('plain') + 1)$$);
CALL refused($$SELECT evq_succeed('00000000-0000-0000-0000-000000000000')$$);
CALL refused($$SELECT evq_succeed('00000000-0000-0000-0000-000000000000', 1)$$);
CALL refused($$SELECT evq_succeed(NULL)$$);

-- Bad spinoffs leave the event as it was.
CALL refused($$SELECT evq_succeed(ev('s'), permit('s'), NULL, '[{"event_type": "A"}, {"event_type": "OTHER"}]')$$);
CALL refused($$SELECT evq_succeed(ev('s'), permit('s'), NULL, '[{"event_type": "A"}, {"event_type": "NONE_SUCH"}]')$$);
CALL refused($$SELECT evq_succeed(ev('s'), permit('s'), NULL, '[{"event_type": "A"}, {}]')$$);
CALL refused($$SELECT evq_succeed(ev('s'), permit('s'), NULL, '[{"event_type": "A"}, {"event_type": "A", "flow_id": "x"}]')$$);
CALL refused($$SELECT evq_succeed(ev('s'), permit('s'), NULL, '[{"event_type": "A", "idempotency_key": "x"}]')$$);
CALL refused($$SELECT evq_succeed(ev('s'), permit('s'), NULL, '[{"event_type": "A", "on_fail_event_type": "OTHER"}]')$$);
CALL refused($$SELECT evq_succeed(ev('s'), permit('s'), NULL, '[{"event_type": "A"}, 5]')$$);
CALL refused($$SELECT evq_succeed(ev('s'), permit('s'), NULL, '{"event_type": "A"}')$$);
CALL refused($$SELECT evq_succeed(ev('s'), permit('s'), NULL, '"A"')$$);
CALL refused($$SELECT evq_succeed(ev('s'), permit('s'), NULL, '[{"event_type": "A", "run_at": "infinity"}]')$$);
CALL refused($$SELECT evq_succeed(ev('s'), permit('s'), NULL,
	jsonb_build_array('{"event_type": "A"}'::jsonb, jsonb_build_object('event_type', 'B', 'payload', repeat('x', 100))))$$);
SELECT checksum() = :'before' AS unchanged;
SELECT evq_succeed(ev('s'), :current);

-- A chain is not longer than evq.max_chain_depth; without spinoffs its last event succeeds.
SET evq.max_chain_depth = 1;
SELECT evq_publish('A', NULL, 'deep') \gset
SELECT count(*) FROM evq_acquire(ev('deep'));
SELECT (evq_succeed(ev('deep'), spinoffs => '[{"event_type": "B"}]'))[1] IS NOT NULL AS has_spinoff;
SELECT count(*) FROM evq_acquire(ev('deep', 'B'));
CALL refused($$SELECT evq_succeed(ev('deep', 'B'), spinoffs => '[{"event_type": "A"}]')$$);
SELECT evq_succeed(ev('deep', 'B'));
RESET evq.max_chain_depth;
SELECT event_type, state, chain_depth FROM evq.events WHERE flow_id = 'deep' ORDER BY chain_depth;
