-- What operators look at: views, evq_event, evq_pending, evq_counts.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', on_fail_event_type => '') \gset
SELECT evq_configure('B', 'F') \gset
SELECT evq_configure('C', 'G') \gset

-- The configuration; what a dropped type was is not shown.
SELECT evq_configure('DROPPED', 'F') \gset
SELECT evq_drop_event_type('DROPPED') \gset
SELECT evq_configure('C', max_attempts => 2, lifespan => '1 hour', attempt_delays => '{1 s, 2 s}', priority => 3) \gset
SELECT * FROM evq.flows ORDER BY flow_type;
\x on
SELECT * FROM evq.event_types WHERE event_type = 'C';
\x off
SELECT event_type, flow_type, attempt_timeout FROM evq.event_types ORDER BY event_type;
SELECT evq_configure('C', attempt_delays => '{0 s, 10 s}', priority => 0) \gset

-- Empty.
SELECT count(*) FROM evq.events;
SELECT count(*) FROM evq.queue;
SELECT count(*) FROM evq.errors;
SELECT count(*) FROM evq.workers;
SELECT * FROM evq_counts();
SELECT * FROM evq_pending('F');

SELECT evq_publish('A', NULL, 'a1', '{"n": 1}', idempotency_key => 'k', headers => '{"h": 1}') \gset
SELECT evq_publish('A', NULL, 'a2') \gset
SELECT evq_publish('A', NULL, 'a3', run_at => now() + interval '1 hour') \gset
SELECT evq_publish('B', NULL, 'b1') \gset
SELECT evq_publish('C', NULL, 'c1') \gset
SELECT evq_publish('C', NULL, 'c2') \gset
SELECT evq_cancel(ev('c2'), 'by hand') \gset
SELECT count(*) FROM evq_acquire(ev('b1'), 'worker-1');
SELECT count(*) FROM evq_acquire(ev('a2'), 'worker-1');
SELECT count(*) FROM evq_acquire(ev('c1'));

-- evq.events: live and finished ones.
SELECT event_type, flow_type, flow_id, state, worker, reason FROM evq.events ORDER BY flow_id;
SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'evq' AND table_name = 'events' ORDER BY ordinal_position;

-- evq.queue and evq_counts: live events only.
SELECT flow_type, event_type, state, events, due, longest_in_state >= '0' AND longest_in_state < '10 min' AS in_state, oldest >= '0' AS has_age FROM evq.queue ORDER BY 1, 2, 3;
SELECT * FROM evq_counts() ORDER BY 1, 2, 3;
SELECT * FROM evq_counts('G') ORDER BY 1, 2, 3;
SELECT * FROM evq_counts('NONE_SUCH');

-- evq.workers: who holds permits.
SELECT worker, flow_type, events, oldest_acquired_at <= clock_timestamp() AS since, next_permit_due_at > clock_timestamp() AS until FROM evq.workers ORDER BY 1, 2;

-- evq_pending: due and not acquired, of types that are not suspended.
SELECT flow_id, event_type, flow_type, state, attempt, attempts_left, priority, attempt_scheduled_at <= now() AS due FROM evq_pending('F');
SELECT dispatched FROM evq_tick();
SELECT flow_id, state FROM evq_pending('F');
SELECT evq_publish('B', NULL, 'b2') \gset
SELECT flow_id FROM evq_pending('F');
SELECT flow_id FROM evq_pending('F', 1);
CALL refused($$SELECT evq_pending('NONE_SUCH')$$);
CALL refused($$SELECT evq_pending(NULL)$$);
CALL refused($$SELECT evq_pending('F', 0)$$);
CALL refused($$SELECT evq_pending('F', NULL)$$);

-- evq.errors: one row a failed attempt.
SELECT evq_fail(ev('b1'), 'first', permit('b1'), 'trace') \gset
SET evq.debug_clock_offset = 11;
SELECT count(*) FROM evq_acquire(ev('b1'), 'worker-2');
SELECT evq_fail(ev('b1'), 'second', permit('b1'), retryable => false) \gset
RESET evq.debug_clock_offset;
SELECT event_id = ev('b1') AS is_b1, event_type, flow_type, flow_id, state, attempt, outcome, error_message, stack_trace, worker FROM evq.errors ORDER BY attempt;

-- evq_event: all of one event.
SELECT key FROM jsonb_object_keys(evq_event(ev('a1'))) AS key ORDER BY key COLLATE "C";
SELECT e ->> 'event_id' = ev('a1')::text AS is_a1, e -> 'state' AS state, e -> 'payload' AS payload, e -> 'headers' AS headers,
	e -> 'idempotency_key' AS key, e -> 'errors' AS errors, e -> 'children' AS children, e -> 'parent_id' AS parent
FROM evq_event(ev('a1')) e;
SELECT e -> 'state' AS state, e -> 'reason' AS reason, jsonb_array_length(e -> 'errors') AS errors, e #> '{errors,0,error_message}' AS first,
	e #> '{errors,1,attempt}' AS attempt, e #> '{errors,1,worker}' AS worker
FROM evq_event(ev('b1')) e;
SELECT evq_succeed(ev('a2'), permit('a2'), '{"r": 1}', '[{"event_type": "B"}, {"event_type": "A"}]') \g /dev/null
SELECT e -> 'result' AS result, jsonb_path_query_array(e, '$.children[*].event_type') AS types, jsonb_path_query_array(e, '$.children[*].state') AS states
FROM evq_event(ev('a2', 'A')) e;
SELECT e ->> 'parent_id' = ev('a2', 'A')::text AS has_parent, e -> 'chain_depth' AS depth, e -> 'payload' AS payload FROM evq_event(ev('a2', 'B')) e;
CALL refused($$SELECT evq_event('00000000-0000-0000-0000-000000000000')$$);
CALL refused($$SELECT evq_event(NULL)$$);
