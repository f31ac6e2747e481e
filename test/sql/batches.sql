-- Events that are stored in batches: every verb does to them what it does to others.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure_flow('F', delivery => 'pull') \gset
SELECT evq_configure('A', 'F', attempt_timeout => '5 min', lifespan => '1 day', max_attempts => 3, attempt_delays => '{0}') \gset
SELECT evq_configure('B', 'F', on_fail_event_type => 'A') \gset
SELECT evq_configure('brief', 'F', retention => '0') \gset
SELECT evq_configure_flow('PUSH', delivery => 'push'), evq_configure('pushed', 'PUSH') \gset
SELECT evq_configure_flow('ORDERED', delivery => 'pull', ordered => true), evq_configure('ordered', 'ORDERED') \gset
SELECT evq_configure_flow('LIMITED', delivery => 'pull', max_processing => 3), evq_configure('limited', 'LIMITED') \gset

CREATE FUNCTION lab.names(ids uuid[]) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(coalesce(e.flow_id, '-'), ' ' ORDER BY i.ordinality)
	FROM unnest(ids) WITH ORDINALITY i (event_id) LEFT JOIN evq.events e USING (event_id)
$$;
-- Publishes events with these flow_ids, and their places in that as payloads.
CREATE FUNCTION lab.publish(event_type text, flow_ids text, run_at timestamptz DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	SELECT count(*) FROM evq_publish_many(event_type, NULL, string_to_array(flow_ids, ' '),
		(SELECT array_agg(to_jsonb(n)) FROM generate_series(1, cardinality(string_to_array(flow_ids, ' '))) n), run_at)
$$;
-- What is stored: batches not done, runs with their states, exceptions, rows of their own.
CREATE VIEW lab.stored AS
SELECT (SELECT count(*) FROM evq.backlog) AS backlog,
	(SELECT string_agg(format('%s%s', r.events, r.state), ' ' ORDER BY r.last_id) FROM evq.run r) AS runs,
	(SELECT string_agg(format('%s%s', x.state, evq.ordinal(x.event_id)), ' ' ORDER BY x.event_id) FROM evq.exception x) AS exceptions,
	(SELECT count(*) FROM evq.event) AS live, (SELECT count(*) FROM evq.event_history) AS finished;
-- All events but those that one is not interested in any more.
CREATE VIEW lab.states AS
SELECT e.state, count(*), lab.names(array_agg(e.event_id ORDER BY e.event_id)) FROM evq.events e GROUP BY 1 ORDER BY 1;
CREATE PROCEDURE lab.clean() LANGUAGE sql AS $$
	TRUNCATE evq.event, evq.event_payload, evq.event_history, evq.event_error, evq.idempotency, evq.log, evq.batch, evq.backlog, evq.run, evq.exception
$$;

-- By default eight are, and seven are not; none where the setting says so.
SELECT publish('A', 'a b c d e f g h'), publish('A', 'i j k l m n o');
SELECT (SELECT count(*) FROM evq.log) AS in_batches, (SELECT count(*) FROM evq.event) AS rows;
CALL clean();
SET evq.store_batches_from = 0;
SELECT publish('A', 'a b c d e f g h i j');
SELECT count(*) FROM evq.log;
CALL clean();

-- Alike events, of one call, of a pull flow without order or limit, and small.
SET evq.store_batches_from = 8;
SELECT publish('A', 'a b c d e f g');
SELECT publish('brief', 'a b c d e f g h');
SELECT publish('pushed', 'a b c d e f g h');
SELECT publish('ordered', 'a b c d e f g h');
SELECT publish('limited', 'a b c d e f g h');
SELECT count(*) FROM evq_publish_many((SELECT jsonb_agg(jsonb_build_object('event_type', 'A', 'flow_id', n::text, 'idempotency_key', n::text)) FROM generate_series(1, 8) n));
SELECT count(*) FROM evq_publish_many('A', NULL, array_fill('large'::text, '{8}'), array_fill(to_jsonb(repeat('x', 9000)), '{8}'));
SELECT count(*) FROM evq_publish_many((SELECT jsonb_agg(jsonb_build_object('event_type', 'A', 'flow_id', n::text, 'priority', n)) FROM generate_series(1, 8) n));
SELECT count(*) FROM evq.log;
SELECT publish('A', 'a b c d e f g h');
SELECT count(*) FROM evq_publish_many((SELECT jsonb_agg(jsonb_build_object('event_type', CASE WHEN n > 9 THEN 'B' ELSE 'A' END, 'flow_id', n::text,
	'headers', jsonb_build_object('n', n))) FROM generate_series(1, 12) n));
SELECT events, event_type_no = (SELECT event_type_no FROM evq.event_type WHERE event_type = 'A') AS is_a FROM evq.batch ORDER BY batch_id;
SELECT count(*) FROM evq_publish_many('A', NULL, array_fill('long'::text, '{2500}'), array_fill('{}'::jsonb, '{2500}'));
SELECT events FROM evq.batch ORDER BY batch_id OFFSET 2;
CALL clean();
SET evq.store_batches_from = 1;

-- A batch is acquired in parts, which are runs, and succeeds.
SELECT publish('A', 'a b c d e f g h i j');
SELECT * FROM stored;
SELECT flow_id, state, payload, attempts_used, permit, worker, state_since = published_at AS since_published, state_due_at
FROM evq.events JOIN evq.payloads USING (event_id) WHERE flow_id IN ('a', 'j') ORDER BY event_id;
SELECT token AS one, names(event_ids), flow_ids, event_types, attempts, attempts_left, payloads, headers IS NULL AND answers IS NULL AS no_others,
	seconds(attempt_due_at - now()) BETWEEN 295 AND 305 AS five_minutes, due_at > now() + interval '23 h' AS a_day
FROM evq_acquire_batch('F', 4, NULL, 'w') \gset
SELECT :'names', :'flow_ids', :'event_types', :'attempts', :'attempts_left', :'payloads', :'no_others', :'five_minutes', :'a_day';
SELECT names(array_agg(event_id)) AS names, count(DISTINCT permit) AS permits, array_agg(event_id) AS ids, array_agg(permit) AS two FROM evq_acquire_next('F', 3) \gset
SELECT :'names', :permits;
SELECT * FROM stored;
SELECT * FROM states;
SELECT evq.are_held(:'ids', :'two'), evq.are_held(:'ids', ARRAY(SELECT permit + 1 FROM unnest(:'two'::bigint[]) permit));
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'one') lost;
SELECT * FROM stored;
-- The same again is accepted again; a part of the others.
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'one') lost;
SELECT names(ARRAY[event_id]), accepted FROM evq_succeed_many((:'ids'::uuid[])[2:2], (:'two'::bigint[])[2:2]);
SELECT * FROM stored;
SELECT flow_id, state, attempts_used, attempt_started_at <= finished_at AS in_time, finished_at = state_since AS is_since, worker
FROM evq.events WHERE flow_id IN ('d', 'e', 'f') ORDER BY event_id;
-- What is left of them, one by one; the last one ends the run.
SELECT evq_succeed(ev('e'), (:'two'::bigint[])[1]);
SELECT evq_succeed(ev('e'), (:'two'::bigint[])[1]);
SELECT evq_succeed(ev('g'), (:'two'::bigint[])[3]);
SELECT * FROM stored;
SELECT names(ARRAY[event_id]), accepted FROM evq_succeed_many(:'ids', :'two');
CALL refused(format('SELECT evq_succeed(%L, %s)', ev('e'), (:'two'::bigint[])[1] + 1));
CALL refused(format('SELECT evq_succeed(%L)', ev('e')));
CALL refused(format('SELECT evq_succeed(%L)', ev('h')));
CALL refused(format('SELECT evq_retry(%L)', ev('e')));
CALL refused(format('SELECT evq_cancel(%L)', ev('e')));
-- The engine finds out when a batch is done.
SELECT * FROM evq_tick();
SELECT backlog FROM stored;
SELECT names(event_ids), token AS three FROM evq_acquire_batch('F', 100) \gset
SELECT count(*) FROM evq_succeed_batch(:'three');
SELECT * FROM evq_tick();
SELECT * FROM stored;
SELECT * FROM states;
SELECT x ->> 'state' AS state, x -> 'payload' AS payload, jsonb_path_query_array(x -> 'timeline', '$[*].what') FROM evq_event(ev('b')) x;

-- Whatever else befalls an event, it leaves its batch for that.
CALL clean();
SELECT publish('A', 'waits canceled acquired fails dies sleeps answered snoozes released beats result spins late');
SELECT evq_cancel(ev('canceled'), 'no more');
SELECT evq_cancel(ev('canceled'), 'no more');
SELECT flow_id, attempt, payload FROM evq_acquire(ev('acquired'), 'me');
SELECT * FROM evq_acquire(ev('acquired'), 'you');
SELECT * FROM stored;
-- It is passed over.
SELECT names(array_agg(event_id)) FROM evq_acquire_next('F', 1);
SELECT names(array_agg(event_id)), count(DISTINCT permit) FROM evq_acquire_next('F', 100);
SELECT * FROM stored;
SELECT evq_fail(ev('fails'), 'no luck', permit('fails'));
SELECT evq_fail(ev('dies'), 'no hope', permit('dies'), retryable => false);
SELECT evq_suspend(ev('sleeps'), permit('sleeps'), '1 h') > now() AS sleeps;
SELECT evq_activate(ev('answered'), answer => '42', permit => permit('answered'));
SELECT evq_suspend(ev('answered'), permit('answered'));
SELECT evq_snooze(ev('snoozes'), permit('snoozes'), now() + interval '1 h');
SELECT evq_release(ev('released'), permit('released'));
SELECT held, seconds(attempt_due_at - now()) FROM evq_heartbeat(ARRAY[ev('beats')], ARRAY[permit('beats')], '1 h');
SELECT evq_succeed(ev('result'), permit('result'), '{"well": "done"}');
SELECT cardinality(evq_succeed(ev('spins'), permit('spins'), spinoffs => '[{"event_type": "A", "payload": "child"}]'));
SELECT * FROM stored;
SELECT * FROM states;
SELECT flow_id, attempt, outcome, error_message, state FROM evq.errors ORDER BY failed_at;
SELECT e.flow_id, p.payload, e.result, e.reason FROM evq.events e JOIN evq.payloads p USING (event_id) ORDER BY event_id;
-- Each once.
SELECT count(*), count(DISTINCT event_id) FROM evq.events;
SELECT count(*), count(DISTINCT event_id) FROM evq.payloads;
SELECT flow_id, attempt, answer FROM evq_acquire_next('F', 100) ORDER BY flow_id;
-- Wrong permits move nothing.
SELECT checksum() AS before \gset
CALL refused(format('SELECT evq_fail(%L, %L, %s)', ev('waits'), 'no', permit('waits') + 1));
CALL refused(format('SELECT evq_fail(%L, %L, %s)', ev('late'), 'no', 0));
CALL refused(format('SELECT evq_snooze(%L, %s, now())', ev('waits'), 1));
SELECT names(ARRAY[event_id]), accepted FROM evq_succeed_many(ARRAY[ev('waits'), ev('late')], ARRAY[permit('waits') + 1, 7]);
SELECT checksum() = :'before' AS unchanged;
-- Nor does a report that is told again, of an event that was alone in its run.
SELECT evq_publish('A', NULL, 'alone') AS alone \gset
SELECT permit AS its FROM evq_acquire(:'alone') \gset
SELECT evq_succeed(:'alone', :its, '1');
SELECT checksum() AS before \gset
SELECT evq_succeed(:'alone', :its), (SELECT held FROM evq_heartbeat(ARRAY[:'alone'::uuid], ARRAY[:its]));
SELECT checksum() = :'before' AS unchanged;

-- Permits that run out, and lifespans.
SELECT evq_succeed(ev('waits'), permit('waits'));
SET evq.debug_clock_offset = '6 min';
SELECT * FROM evq_tick();
SELECT * FROM states;
SELECT flow_id, attempt, outcome, error_message FROM evq.errors WHERE error_message LIKE 'the permit%' ORDER BY event_id;
SET evq.debug_clock_offset = '2 d';
SELECT * FROM evq_tick();
RESET evq.debug_clock_offset;
SELECT * FROM states;
SELECT * FROM stored;
CALL clean();
SELECT publish('B', 'p q r');
SELECT names(array_agg(event_id)) FROM evq_acquire_next('F', 1);
SET evq.debug_clock_offset = '20 d';
SELECT * FROM evq_tick();
RESET evq.debug_clock_offset;
SELECT event_type, state, flow_id, reason FROM evq.events ORDER BY event_id;
SELECT * FROM stored;

-- A heartbeat of all that is left of a run is one for the run; that of a part gives those rows.
CALL clean();
SELECT publish('A', 'a b c d e');
SELECT names(event_ids), token AS beat FROM evq_acquire_batch('F', 4) \gset
SELECT names(ARRAY[event_id]), held, cancel_requested, seconds(attempt_due_at - now()) FROM evq_heartbeat_batch(:'beat', '1 h');
SELECT seconds(state_due_at - now()) FROM evq.run;
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'beat', ARRAY[ev('a'), ev('c'), ev('d')]) lost;
SELECT evq_cancel(ev('d'));
SELECT names(ARRAY[event_id]), held, cancel_requested, seconds(attempt_due_at - now()) FROM evq_heartbeat_batch(:'beat', '2 h');
SELECT * FROM stored;
SELECT names(ARRAY[event_id]), held, seconds(attempt_due_at - now()) FROM evq_heartbeat(ARRAY[ev('c')], ARRAY[permit('c')]);
SELECT * FROM stored;
SELECT names(ARRAY[event_id]), held, seconds(attempt_due_at - now()) FROM evq_heartbeat(ARRAY[ev('a')], ARRAY[permit('a') + 1]);
SELECT flow_id, seconds(state_due_at - now()) FROM evq.events WHERE state = 'being_processed' ORDER BY event_id;
SET evq.debug_clock_offset = '6 min';
SELECT * FROM evq_tick();
RESET evq.debug_clock_offset;
SELECT * FROM states;

-- Transactions and savepoints.
CALL clean();
SELECT publish('A', 'a b c d e f');
BEGIN;
SELECT names(event_ids), token AS four FROM evq_acquire_batch('F', 4) \gset
SELECT :'names';
SAVEPOINT s;
SELECT count(*) FROM evq_succeed_batch(:'four');
SELECT * FROM stored;
ROLLBACK TO s;
SELECT * FROM stored;
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'four', ARRAY[ev('b')]) lost;
SAVEPOINT t;
SELECT evq_fail(ev('b'), 'no', permit('b'));
ROLLBACK TO t;
SELECT names(array_agg(event_id)) FROM evq_acquire_next('F', 100);
ROLLBACK TO t;
COMMIT;
SELECT * FROM stored;
SELECT * FROM states;
BEGIN;
SELECT names(event_ids) FROM evq_acquire_batch('F', 100);
ROLLBACK;
SELECT names(event_ids), token AS five FROM evq_acquire_batch('F', 100) \gset
SELECT :'names';
SELECT names(ARRAY[event_id]), accepted, state FROM evq_fail_batch(:'five', 'no', ARRAY[ev('f')]);
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'five') lost;
SELECT * FROM stored;
-- Published and acquired in one transaction, by one that keeps its snapshot.
CALL clean();
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT publish('A', 'a b c');
SELECT names(event_ids), token AS six FROM evq_acquire_batch('F', 2) \gset
SELECT :'names';
SELECT count(*) FROM evq_succeed_batch(:'six');
SELECT names(ARRAY[event_id]) FROM evq_acquire_next('F', 100);
COMMIT;
SELECT * FROM stored;

-- By type, and when it is time.
CALL clean();
SELECT publish('A', 'a b'), publish('B', 'c d'), publish('A', 'later', now() + interval '1 h');
SELECT names(event_ids) FROM evq_acquire_batch('F', 100, '{B}');
SELECT evq_suspend_event_type('A');
SELECT names(event_ids) FROM evq_acquire_batch('F', 100);
SELECT evq_unsuspend_event_type('A');
SELECT names(event_ids) FROM evq_acquire_batch('F', 100);
SELECT names(event_ids) FROM evq_acquire_batch('F', 100);
SELECT count(*) FROM evq_acquire(ev('later'));
SET evq.debug_clock_offset = '61 min';
SELECT names(event_ids) FROM evq_acquire_batch('F', 1);
RESET evq.debug_clock_offset;

-- Rows that are not where the batch knows them to be are found by their ids.
CALL clean();
SELECT publish('A', 'to be deleted'), publish('A', 'a b c d');
DELETE FROM evq.log WHERE flow_id IN ('to', 'be', 'deleted');
VACUUM FULL evq.log;
-- Those are given up, with a warning for each.
SET client_min_messages = error;
SELECT names(event_ids), payloads FROM evq_acquire_batch('F', 3) WHERE flow_ids <> '{}';
SET client_min_messages = warning;
SELECT names(event_ids), payloads FROM evq_acquire_batch('F', 3);
SELECT x -> 'payload' FROM evq_event(ev('b')) x;

-- In a flow that is no longer one of batches, events leave them for their turn.
CALL clean();
SELECT publish('A', 'a b c d');
SELECT evq_configure_flow('F', delivery => 'push');
SELECT names(event_ids) FROM evq_acquire_batch('F', 1);
SELECT * FROM evq_tick();
SELECT * FROM evq_tick();
SELECT * FROM states;
SELECT * FROM stored;
SELECT evq_configure_flow('F', delivery => 'pull', max_processing => 2);
CALL clean();
SELECT publish('A', 'e');
SELECT evq_configure_flow('F', max_processing => 0) \gset
SELECT publish('A', 'f g');
SELECT evq_configure_flow('F', max_processing => 1) \gset
SELECT * FROM evq_acquire_batch('F', 10);
SELECT * FROM evq_tick();
SELECT names(event_ids) FROM evq_acquire_batch('F', 10);
SELECT * FROM states;
SELECT evq_configure_flow('F', max_processing => 0) \gset

-- Headers come along.
CALL clean();
SELECT count(*) FROM evq_publish_many((SELECT jsonb_agg(jsonb_build_object('event_type', 'A', 'flow_id', f, 'headers', jsonb_build_object('of', f))) FROM unnest('{a,b,c}'::text[]) f));
SELECT flow_id, headers FROM evq.events JOIN evq.payloads USING (event_id) ORDER BY event_id;
SELECT flow_ids, headers FROM evq_acquire_batch('F', 1);
SELECT flow_id, headers FROM evq_acquire_next('F', 1);
SELECT evq_cancel(ev('c'));
SELECT headers FROM evq.payloads WHERE event_id = ev('c');

-- Of what stands before and behind an event that has gone both parts can be had.
CALL clean();
SELECT publish('A', 'a b gone c d');
SELECT evq_cancel(ev('gone'));
SELECT names(event_ids) FROM evq_acquire_batch('F', 10);
SELECT * FROM stored;

-- Another lifespan is theirs too.
CALL clean();
SELECT publish('A', 'a');
SELECT evq_configure('A', lifespan => '2 d');
SELECT round(extract(epoch FROM due_at - published_at) / 3600) FROM evq.events;
SET evq.debug_clock_offset = '25 h';
SELECT * FROM evq_tick();
SELECT names(event_ids), round(extract(epoch FROM due_at - now()) / 3600) FROM evq_acquire_batch('F', 10);
RESET evq.debug_clock_offset;

-- The ids of a batch number 1,024 events.
SELECT evq.ordinal(evq.id_in_batch(event_id, 1023)) FROM evq.events;
CALL refused(format('SELECT evq.id_in_batch(%L, 1024)', ev('a')));
CALL refused(format('SELECT evq.id_in_batch(%L, -1)', ev('a')));
