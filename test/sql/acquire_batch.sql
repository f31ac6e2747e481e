-- Many events as one batch: evq_acquire_batch, and reports by its token.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', attempt_timeout => '5 min', lifespan => '1 day', max_attempts => 3, attempt_delays => '{0}') \gset
SELECT evq_configure('B', 'F') \gset
SELECT evq_configure('G', 'G') \gset
CREATE FUNCTION lab.names(ids uuid[]) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(coalesce(e.flow_id, '-'), ' ' ORDER BY i.ordinality)
	FROM unnest(ids) WITH ORDINALITY i (event_id) LEFT JOIN evq.events e USING (event_id)
$$;
SELECT * FROM evq_acquire_batch('F');

-- One row, with all that evq_acquire_next() tells; headers and answers only where there are any.
SELECT evq_publish_many('A', NULL, '{a, b, c}', '{"1", "{\"n\": [1, \"}\"]}", "null"}') \g /dev/null
SELECT evq_publish('B', NULL, 'd', '4', headers => '{"h": 1}') \gset
SELECT names(event_ids) AS names, flow_type, event_types, flow_ids, attempts, attempts_left, payloads, headers, answers IS NULL AS no_answers,
	seconds(attempt_due_at - now()) BETWEEN 295 AND 305 AS five_minutes, due_at > now() + interval '23 h' AS a_day, token AS one
FROM evq_acquire_batch('F', 10, NULL, 'w') \gset
SELECT :'names' AS names, :'flow_type' AS flow_type, :'event_types' AS event_types, :'flow_ids' AS flow_ids, :'attempts' AS attempts,
	:'attempts_left' AS attempts_left, :'five_minutes' AS five_minutes, :'a_day' AS a_day;
SELECT :'payloads' AS payloads, :'headers' AS headers, :'no_answers' AS no_answers;
SELECT flow_id, state, worker FROM evq.events ORDER BY event_id;
-- Its permits are those of the rows.
SELECT flow_id, p.permit = e.permit AS is_its_permit FROM evq_batch_permits(:'one') p JOIN evq.events e USING (event_id) ORDER BY event_id;

-- Heartbeat: a row an event.
SELECT names(ARRAY[h.event_id]), h.held, h.cancel_requested, seconds(h.attempt_due_at - now()) FROM evq_heartbeat_batch(:'one', '1 h') h;

-- Success of all but two; these stay held, and are reported otherwise.
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'one', ARRAY[ev('b'), ev('c')]) lost;
SELECT flow_id, state FROM evq.events ORDER BY event_id;
-- The same again is accepted again.
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'one', ARRAY[ev('b')::text, ev('c')::text]) lost;
SELECT names(ARRAY[event_id]), accepted, state FROM evq_fail_batch(:'one', 'no luck', ARRAY[ev('b')], retryable => false);
SELECT evq_snooze(event_id, permit, now() + interval '1 h') FROM evq_batch_permits(:'one') WHERE event_id = ev('c');
SELECT flow_id, state FROM evq.events ORDER BY event_id;
SELECT error_message, attempt FROM evq.errors;
-- Nothing is held any more: those that did not succeed are told.
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'one') lost;
SELECT names(ARRAY[lost]) FROM evq_release_batch(:'one') lost;
SELECT names(ARRAY[event_id]), held FROM evq_heartbeat_batch(:'one');
SELECT names(ARRAY[event_id]), accepted, state FROM evq_fail_batch(:'one', 'too late');

-- A turn: the batch succeeds, and the next one is there. NULL: there was none.
SELECT evq_publish_many('A', NULL, '{e, f, g, h}', '{5, 6, 7, 8}') \g /dev/null
SELECT names(event_ids), token AS two FROM evq_succeed_batch_and_acquire(NULL, 'F', 2) \gset
SELECT names(event_ids), token AS three FROM evq_succeed_batch_and_acquire(:'two', 'F', 2, except_ids => ARRAY[ev('f')]) \gset
SELECT flow_id, state FROM evq.events WHERE flow_id >= 'e' ORDER BY event_id;
SELECT state, names(ARRAY[event_id]) FROM evq_fail_batch(:'two', 'later', ARRAY[ev('f')]);
-- Canceled meanwhile: a warning, and the other one is recorded.
SELECT evq_cancel(ev('g'));
SELECT names(ARRAY[event_id]), held, cancel_requested FROM evq_heartbeat_batch(:'three');
SELECT names(event_ids), attempts, token AS four FROM evq_succeed_batch_and_acquire(:'three', 'F', 5) \gset
SELECT :'names' AS names, :'attempts' AS attempts;
SELECT names(ARRAY[lost]) FROM evq_release_batch(:'four') lost;
SELECT flow_id, state, attempts_used FROM evq.events WHERE flow_id >= 'e' ORDER BY event_id;

-- Of one type only; with an answer; published and acquired in one transaction, by one that keeps its snapshot.
SELECT evq_cancel(ev('f'));
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT evq_publish_many('A', NULL, '{i, j}', '{9, 10}') \g /dev/null
SELECT evq_publish('B', NULL, 'k') \gset
SELECT names(event_ids), token AS five FROM evq_acquire_batch('F', 10, '{A}') \gset
SELECT :'names' AS names;
SELECT count(*) FROM evq_succeed_batch(:'five');
COMMIT;
SELECT event_id, permit FROM evq_acquire_next('F') \gset
SELECT evq_activate(:'event_id', answer => '{"yes": true}', permit => :permit) \gset
SELECT evq_suspend(:'event_id', :permit) \gset
SELECT names(event_ids), answers, token AS six FROM evq_acquire_batch('F') \gset
SELECT :'names' AS names, :'answers' AS answers;
SELECT count(*) FROM evq_succeed_batch(:'six');

-- What is rolled back is offered again, and its token is worth nothing.
SELECT evq_publish_many('A', NULL, '{l, m}', '{11, 12}') \g /dev/null
BEGIN;
SELECT names(event_ids), token AS seven FROM evq_acquire_batch('F') \gset
ROLLBACK;
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'seven') lost;
SELECT names(event_ids), token AS seven FROM evq_acquire_batch('F') \gset
SELECT :'names' AS names;

-- What is no token, or not a whole one, changes nothing.
SELECT checksum() AS before \gset
CALL refused($$SELECT evq_succeed_batch(NULL)$$);
CALL refused($$SELECT evq_succeed_batch('')$$);
CALL refused($$SELECT evq_succeed_batch('no token!')$$);
CALL refused(format($$SELECT evq_succeed_batch(%L)$$, left(:'seven', -4)));
CALL refused(format($$SELECT evq_heartbeat_batch(%L)$$, substr(:'seven', 5)));
CALL refused(format($$SELECT evq_fail_batch(%L, 'no')$$, overlay(:'seven' PLACING CASE substr(:'seven', 20, 1) WHEN 'A' THEN 'B' ELSE 'A' END FROM 20)));
CALL refused(format($$SELECT evq_release_batch(%L)$$, :'seven' || 'AAAA'));
CALL refused(format($$SELECT evq_batch_permits(%L)$$, :'seven' || ' '));
CALL refused(format($$SELECT evq_succeed_batch_and_acquire(%L, 'F')$$, reverse(:'seven')));
CALL refused(format($$SELECT evq_succeed_batch(%L, ARRAY[%L, %L])$$, :'seven', ev('l'), ev('a')));
CALL refused(format($$SELECT evq_succeed_batch(%L, ARRAY[NULL]::uuid[])$$, :'seven'));
CALL refused(format($$SELECT evq_fail_batch(%L, NULL)$$, :'seven'));
CALL refused(format($$SELECT evq_fail_batch(%L, 'no', ARRAY[1])$$, :'seven'));
CALL refused(format($$SELECT evq_heartbeat_batch(%L, '-1 s')$$, :'seven'));
CALL refused(format($$SELECT evq_succeed_batch_and_acquire(%L, 'NONE_SUCH')$$, :'seven'));
CALL refused(format($$SELECT evq_succeed_batch_and_acquire(NULL, 'F', except_ids => ARRAY[%L])$$, ev('l')));
CALL refused($$SELECT evq_acquire_batch('F', 0)$$);
CALL refused($$SELECT evq_acquire_batch(NULL)$$);
SELECT checksum() = :'before' AS unchanged;

-- A token of before a promotion or a restore, which begin an epoch.
CREATE FUNCTION lab.later_epoch(by int) RETURNS void LANGUAGE sql AS $$ UPDATE evq.epoch SET epoch = epoch + by $$;
SELECT later_epoch(1);
\c
SET search_path = public, lab;
SELECT checksum() AS before \gset
CALL refused(format($$SELECT evq_succeed_batch(%L)$$, :'seven'));
CALL refused(format($$SELECT evq_heartbeat_batch(%L)$$, :'seven'));
CALL refused(format($$SELECT evq_succeed_batch_and_acquire(%L, 'G')$$, :'seven'));
CALL refused(format($$SELECT evq_release_batch(%L)$$, :'seven'));
SELECT checksum() = :'before' AS unchanged;
-- But what succeeded before is told so again.
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'six') lost;
SELECT later_epoch(-1);
\c
SET search_path = public, lab;
SELECT names(ARRAY[lost]) FROM evq_succeed_batch(:'seven') lost;
SELECT flow_id, state FROM evq.events WHERE flow_id >= 'l' ORDER BY event_id;

-- Nor is it worth anything in another database.
SELECT current_database() AS here \gset
CREATE DATABASE acquire_batch_elsewhere TEMPLATE template0;
\c acquire_batch_elsewhere
CREATE EXTENSION evq;
SELECT evq_succeed_batch(:'seven');
SELECT evq_heartbeat_batch(:'seven');
SELECT evq_release_batch(:'seven');
\c :here
DROP DATABASE acquire_batch_elsewhere;
SET search_path = public, lab;

-- A batch is in memory as a whole: it ends at 32 MB of payloads, and the others stay on offer.
SELECT evq_publish('G', NULL, n::text, jsonb_build_object('p', repeat('x', 1000000))) FROM generate_series(1, 40) n \g /dev/null
SELECT cardinality(event_ids) AS events, token AS eight FROM evq_acquire_batch('G', 40) \gset
SELECT :events AS events;
SELECT cardinality(event_ids) AS events FROM evq_succeed_batch_and_acquire(:'eight', 'G', 40);
SELECT state, count(*) FROM evq.events WHERE event_type = 'G' GROUP BY state ORDER BY state;

-- Ten thousand.
SELECT evq_publish_many('B', NULL, array_agg(n::text), array_agg('{}'::jsonb)) FROM generate_series(1, 10000) n \g /dev/null
SELECT cardinality(event_ids) AS events, token AS nine FROM evq_acquire_batch('F', 10000) \gset
SELECT :events AS events, count(*) AS lost FROM evq_succeed_batch(:'nine');
