-- The functions of the HTTP gateway's routes: what they take, what they answer, what they refuse.
BEGIN;
SELECT * FROM no_plan();

SELECT evq_configure('STEP', 'FLOW_H', 3, '1 hour', '{0 s}', attempt_timeout => '10 min');
SELECT evq_configure('NEXT_STEP', 'FLOW_H');

-- call('publish', body => ..., ...): the answer of a route's function; error(...): SQLSTATE, message and hint.
CREATE FUNCTION pg_temp.call(verb text, body text DEFAULT NULL, target text DEFAULT NULL, query text DEFAULT '{}', headers text DEFAULT '{}')
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	EXECUTE format('SELECT answer FROM evq_http.%s($1, $2, $3, $4) AS answer', verb) INTO answer USING target, query::jsonb, headers::jsonb, body::jsonb;
	RETURN answer;
END
$$;
CREATE FUNCTION pg_temp.error(verb text, body text DEFAULT NULL, target text DEFAULT NULL, query text DEFAULT '{}', headers text DEFAULT '{}')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	PERFORM pg_temp.call(verb, body, target, query, headers);
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || CASE WHEN hint = '' THEN '' ELSE ' ' || hint END;
END
$$;
CREATE FUNCTION pg_temp.new(flow_id text DEFAULT 'case') RETURNS text LANGUAGE sql AS $$ SELECT evq_publish('STEP', NULL, flow_id)::text $$;
CREATE FUNCTION pg_temp.taken(flow_id text DEFAULT 'case', OUT id text, OUT permit text) LANGUAGE plpgsql AS $$
BEGIN
	id := pg_temp.new(flow_id);
	permit := pg_temp.call('acquire', target => id) ->> 'permit';
END
$$;
CREATE FUNCTION pg_temp.keys(given jsonb) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(k, ' ' ORDER BY k) FROM jsonb_object_keys(given) k $$;

-- Publish.
SELECT pg_temp.call('publish', '{"event_type": "STEP", "flow_type": "FLOW_H", "flow_id": "a", "payload": {"n": 1}, "run_at": "2999-01-01", "priority": 5, "headers": {"h": 1}}') AS answer \gset
SELECT is(pg_temp.keys(:'answer'), 'event_id', 'publish answers the id');
SELECT results_eq($$SELECT flow_id, priority, attempt_scheduled_at FROM evq.events$$, $$VALUES ('a', 5, '2999-01-01'::timestamptz)$$, 'publish: every key');
SELECT is(evq_event((:'answer'::jsonb ->> 'event_id')::uuid) -> 'payload', '{"n": 1}', 'publish: the payload');
SELECT is(pg_temp.call('publish', '{"event_type": "STEP", "flow_id": "k", "payload": "text"}', headers => '{"idempotency-key": "k1"}'),
		  pg_temp.call('publish', '{"event_type": "STEP", "flow_id": "k", "payload": "text", "idempotency_key": "k1"}'), 'the header Idempotency-Key is idempotency_key');
SELECT is(pg_temp.error('publish', '{"event_type": "STEP", "flow_id": "k", "idempotency_key": "k2"}', headers => '{"idempotency-key": "k1"}'),
		  'EQ006 the header Idempotency-Key and idempotency_key differ Send one of them.', 'but not another one');
SELECT matches(pg_temp.error('publish', '{"event_type": "STEP", "flow_id": "k", "payload": "other"}', headers => '{"idempotency-key": "k1"}'), '^EQ008 ', 'reused key');
SELECT matches(pg_temp.error('publish', '{"event_type": "NONE_SUCH", "flow_id": "k"}'), '^EQ001 .* Configure it', 'unknown type');
SELECT matches(pg_temp.error('publish', '{"event_type": "STEP", "flow_id": "k", "colour": 1}'), '^EQ006 unknown key "colour" ', 'unknown key');
SELECT matches(pg_temp.error('publish', body), '^(EQ006|22007) ', 'publish ' || coalesce(body, 'nothing'))
FROM (VALUES (NULL), ('{}'), ('[]'), ('1'), ('"a"'), ('null'), ('{"event_type": null}'), ('{"event_type": 1}'), ('{"event_type": "STEP", "flow_id": {}}'), ('{"event_type": "STEP", "flow_id": "a", "run_at": "soon"}')) bad (body);

SELECT pg_temp.call('publish_batch', '[{"event_type": "STEP", "flow_id": "b1"}, {"event_type": "NEXT_STEP", "flow_id": "b2"}]') AS answer \gset
SELECT is((SELECT array_agg(flow_id ORDER BY place) FROM jsonb_array_elements_text(:'answer'::jsonb -> 'event_ids') WITH ORDINALITY a (id, place) JOIN evq.events ON event_id = id::uuid),
	'{b1, b2}', 'publish_batch answers the ids in the order of its events');
SELECT is(pg_temp.call('publish_batch', '[]'), '{"event_ids": []}', 'an empty batch');
SELECT array_agg(answer::text) AS answers FROM evq_http.publish_each(
	ARRAY['{"event_type": "STEP", "flow_id": "e1", "run_at": "2100-01-01"}', '{"event_type": "STEP", "flow_id": "e2", "run_at": "2100-01-01"}']::jsonb[], ARRAY[NULL, 'each']) answer \gset
SELECT is(:'answers'::text[], array_agg(jsonb_build_object('event_id', event_id)::text ORDER BY flow_id), 'publish_each answers each as publish does') FROM evq.events WHERE flow_id IN ('e1', 'e2');
SELECT is(answer::jsonb, pg_temp.call('publish', '{"event_type": "STEP", "flow_id": "e2"}', headers => '{"idempotency-key": "each"}'), '... and knows the same keys')
FROM evq_http.publish_each(ARRAY['{"event_type": "STEP", "flow_id": "e2", "idempotency_key": "each"}']::jsonb[], '{each}') answer;
SELECT is((SELECT count(*) FROM evq_http.publish_each('{}', '{}')), 0::bigint, '... or nobody');
SELECT throws_ok(format('SELECT evq_http.publish_each(%L, %L)', events, keys), 'EQ006', message, 'publish_each: ' || message)
FROM (VALUES (NULL, NULL, 'events is NULL'), (ARRAY['[]'], NULL, 'event is not an object'), (ARRAY['1'], NULL, 'event is not an object'), (ARRAY['null'], NULL, 'event_type is NULL'),
	(ARRAY['{"event_type": "STEP", "flow_id": "e"}'], '{a,b}', '1 events but 2 idempotency_keys'),
	(ARRAY['{"event_type": "STEP", "flow_id": "e", "idempotency_key": "a"}'], '{b}', 'the key beside an event and its idempotency_key differ')) bad (events, keys, message);
SELECT matches(pg_temp.error('publish_batch', body), '^EQ006 ', 'publish_batch ' || coalesce(body, 'nothing')) FROM (VALUES (NULL), ('{}'), ('[1]')) bad (body);
SELECT matches(pg_temp.error('publish_batch', '[]', headers => '{"idempotency-key": "k"}'), '^EQ006 ', 'a batch has no key of its own');

-- Acquire.
SELECT pg_temp.new('acquire') AS id \gset
SELECT pg_temp.call('acquire', '{"worker": "w", "permit_for": 60}', :'id') AS answer \gset
SELECT is(pg_temp.keys(:'answer'), 'acquired answer attempt attempt_due_at attempts_left due_at event_id event_type flow_id flow_type headers payload permit', 'acquire: the columns of evq.acquired');
SELECT ok((:'answer'::jsonb ->> 'attempt_due_at')::timestamptz BETWEEN now() + interval '60 s' AND clock_timestamp() + interval '60 s', 'permit_for: a number is seconds');
SELECT is((SELECT worker FROM evq.events WHERE event_id = :'id'), 'w', 'acquire: worker');
SELECT is(pg_temp.call('acquire', target => :'id'), '{"acquired": false}', 'acquired already');
SELECT is(pg_temp.call('acquire', target => gen_random_uuid()::text), '{"acquired": false}', 'no such event');
SELECT is(pg_temp.error('acquire', target => 'x'), 'EQ006 the event id is not a UUID Pass a UUID, or leave it out where it is not required.', 'not an id');
SELECT is(pg_temp.error('acquire', '{"who": 1}', :'id'), 'EQ006 unknown key "who" Known are: worker, permit_for.', 'unknown key');
SELECT matches(pg_temp.error('acquire', format('{"permit_for": %s}', bad), :'id'), '^EQ006 permit_for is ', 'permit_for ' || bad)
FROM unnest('{true, [], 0, -1, 1e300, "\"soon\"", "\"\""}'::text[]) bad;

SELECT pg_temp.new('next') AS id \gset
SELECT is(answer #>> '{events, 0, flow_id}', 'b2', 'acquire_next: event_types') FROM evq_http.acquire_next('FLOW_H', '{}', '{}', '{"event_types": ["NEXT_STEP"]}');
SELECT results_eq($$SELECT jsonb_array_length(answer -> 'events'), wait_ms, channel FROM evq_http.acquire_next('FLOW_H', '{}', '{}', '{"max_events": 100, "wait": 10}')$$,
	$$VALUES (3, NULL::int, NULL::text)$$, 'acquire_next: all that is due');
SELECT results_eq($$SELECT answer, wait_ms, channel FROM evq_http.acquire_next('FLOW_H', '{}', '{}', '{"wait": "2.5 s"}')$$,
	$$VALUES ('{"events": []}'::jsonb, 2500, 'evq_flow_h')$$, 'nothing, and the client would wait');
SELECT results_eq($$SELECT answer, wait_ms, channel FROM evq_http.acquire_next('FLOW_H', '{}', '{}', NULL)$$,
	$$VALUES ('{"events": []}'::jsonb, NULL::int, NULL::text)$$, 'nothing, and the client would not');
SELECT throws_ok($$SELECT evq_http.acquire_next('NONE_SUCH', '{}', '{}', NULL)$$, 'EQ001', NULL, 'unknown flow');
SELECT evq_configure('SIDE_STEP', 'FLOW_H2'), evq_publish('SIDE_STEP', NULL, 'side') \g /dev/null
SELECT is(answer #>> '{events, 0, flow_id}', 'side', 'acquire_of_flows') FROM evq_http.acquire_of_flows(NULL, '{}', '{}', '{"flow_types": ["FLOW_H", "FLOW_H2"], "weights": [3, 1], "max_events": 5, "wait": 10}');
SELECT results_eq($$SELECT answer, wait_ms, channel, choice FROM evq_http.acquire_of_flows(NULL, '{}', '{}', '{"flow_types": ["FLOW_H2", "FLOW_H"], "wait": "2.5 s"}')$$,
	$$VALUES ('{"events": []}'::jsonb, 2500, 'evq_flow_h evq_flow_h2', NULL)$$, '... nothing, and the client would wait for any of them');
SELECT throws_ok(format($$SELECT evq_http.acquire_of_flows(NULL, '{}', '{}', %L)$$, bad), wanted, NULL, 'acquire_of_flows: ' || bad)
FROM (VALUES ('{}', 'EQ006'), ('{"flow_types": []}', 'EQ006'), ('{"flow_types": "FLOW_H"}', 'EQ006'), ('{"flow_types": ["NONE_SUCH"]}', 'EQ001'), ('{"flow_types": ["FLOW_H"], "weights": [0]}', 'EQ006'),
	('{"flow_types": ["FLOW_H"], "weights": ["1"]}', 'EQ006'), ('{"flow_types": ["FLOW_H"], "weights": 1}', 'EQ006'), ('{"flow_types": ["FLOW_H"], "weights": [1.5]}', 'EQ006'),
	('{"flow_types": ["FLOW_H"], "weights": [1e99]}', 'EQ006'), ('{"flow_types": ["FLOW_H"], "weights": [null]}', 'EQ006'), ('{"flow_types": ["FLOW_H"], "weights": [1, 1]}', 'EQ006'), ('{"flow_types": ["FLOW_H"], "x": 1}', 'EQ006')) v(bad, wanted);
SELECT throws_ok(format($$SELECT evq_http.acquire_next('FLOW_H', '{}', '{}', %L)$$, bad), 'EQ006', NULL, 'acquire_next: ' || bad)
FROM unnest(ARRAY['{"wait": 61}', '{"wait": -1}', '{"max_events": 0}', '{"max_events": 1.5}', '{"max_events": 10001}', '{"event_types": "STEP"}', '{"event_types": [1]}', '{"x": 1}', '[]']) bad;

SELECT results_eq($$SELECT choice FROM unnest(ARRAY['{"wait": 1}', '{"wait": 1, "event_types": ["STEP", "NEXT_STEP"]}', '{"wait": 1, "event_types": ["NEXT_STEP", "STEP", "STEP"]}']::jsonb[])
		WITH ORDINALITY bodies (body, place), evq_http.acquire_next('FLOW_H', '{}', '{}', body) ORDER BY place$$,
	$$VALUES (NULL), ('NEXT_STEP,STEP'), ('NEXT_STEP,STEP')$$, 'who waits for the same has the same choice');

-- null is as left out: for the body, and for each key of it.
SELECT is(pg_temp.call('cancel', 'null', pg_temp.new('null')) ->> 'acknowledged', 'true', 'a body of null is as none');
SELECT is(jsonb_typeof(pg_temp.call('publish', '{"event_type": "STEP", "flow_type": null, "flow_id": "null", "payload": null, "on_fail_event_type": null, "run_at": null, "priority": null,
	"idempotency_key": null, "headers": null}', headers => '{"idempotency-key": "null-1"}') -> 'event_id'), 'string', 'publish: null is as left out');
SELECT results_eq($$SELECT count(*) FROM evq.events WHERE flow_id = 'null' AND state = 'awaiting_processing'$$, $$VALUES (1::bigint)$$, '... and the event is there');
SELECT is(evq_event(event_id) -> 'payload', '{}', '... with the payload of an event without one') FROM evq.events WHERE flow_id = 'null' AND state = 'awaiting_processing';
SELECT is(pg_temp.call('acquire', '{"worker": null, "permit_for": null}', event_id::text) ->> 'acquired', 'true', 'acquire: null is as left out')
FROM evq.events WHERE flow_id = 'null' AND state = 'awaiting_processing';
SELECT is(answer, '{"events": []}', 'acquire_next: null is as left out')
FROM evq_http.acquire_next('FLOW_H', '{}', '{}', '{"max_events": null, "event_types": null, "worker": null, "permit_for": null, "wait": null}');

-- Reports.
SELECT * FROM pg_temp.taken('succeed') \gset
SELECT pg_temp.call('succeed', format('{"permit": %s, "result": {"ok": true}, "spinoffs": [{"event_type": "NEXT_STEP", "payload": 1}]}', :'permit'), :'id') AS answer \gset
SELECT is(pg_temp.keys(:'answer') || (:'answer'::jsonb ->> 'acknowledged'), 'acknowledged spinoff_event_idstrue', 'succeed');
SELECT is((SELECT flow_id FROM evq.events WHERE event_id = (:'answer'::jsonb -> 'spinoff_event_ids' ->> 0)::uuid), 'succeed', 'its spinoff exists');
SELECT is(pg_temp.call('succeed', format('{"permit": "%s"}', :'permit'), :'id'), :'answer', 'again, with the permit as a string');
SELECT matches(pg_temp.error('succeed', '{"permit": 1}', :'id'), '^EQ00[34] ', 'another permit');
SELECT matches(pg_temp.error('succeed', format('{"permit": %s}', bad), :'id'), '^EQ006 permit is not a whole number', 'permit ' || bad)
FROM unnest('{1.5, true, [], "\"\"", 9223372036854775808}'::text[]) bad;
SELECT matches(pg_temp.error('succeed', NULL, gen_random_uuid()::text), '^EQ002 ', 'no such event');
SELECT is(pg_temp.call('succeed', '{"permit": null, "result": null, "spinoffs": null}', id) ->> 'acknowledged', 'true', 'null is as left out') FROM pg_temp.taken('null-2');
SELECT evq_publish('NEXT_STEP', NULL, 'null-3') AS id \gset
SELECT is(pg_temp.call('acquire', target => :'id') ->> 'acquired', 'true', 'an event');
SELECT is(pg_temp.call('fail', '{"permit": null, "error_message": "no", "stack_trace": null, "retryable": null, "retry_in": null}', :'id') ->> 'acknowledged', 'true', 'fail: null is as left out');
SELECT matches(pg_temp.error('heartbeat', '{"permit": null, "extend_by": null}', id), '^EQ006 permit is not ', 'heartbeat: a permit of null is none') FROM pg_temp.taken('null-4');
SELECT is(pg_temp.call('suspend', format('{"permit": %s, "timeout": null}', permit), id) ->> 'acknowledged', 'true', 'suspend: null is as left out') FROM pg_temp.taken('null-5');
SELECT is(pg_temp.call('activate', '{"payload_patch": null}', event_id::text) ->> 'acknowledged', 'true', 'activate: null is as left out') FROM evq.events WHERE flow_id = 'null-5';
SELECT is(pg_temp.call('cancel', '{"reason": null}', event_id::text) ->> 'acknowledged', 'true', 'cancel: null is as left out') FROM evq.events WHERE flow_id = 'null-5';
SELECT is(pg_temp.call('retry', 'null', event_id::text) ->> 'acknowledged', 'true', 'retry: null is as left out') FROM evq.events WHERE flow_id = 'null-5';

SELECT * FROM pg_temp.taken('fail') \gset
SELECT is(pg_temp.call('fail', format('{"permit": %s, "error_message": "no", "stack_trace": "t", "retry_in": "1 min"}', :'permit'), :'id'),
		  '{"acknowledged": true, "status": "AWAITING_PROCESSING"}', 'fail: retried');
SELECT is(pg_temp.call('fail', '{"error_message": "no", "retryable": false}', id), '{"acknowledged": true, "status": "FAILED"}', 'fail: for good') FROM pg_temp.taken('for good');
SELECT matches(pg_temp.error('fail', '{}', :'id'), '^EQ006 error_message is NULL', 'fail without a message');
SELECT matches(pg_temp.error('fail', '{"error_message": "no", "retryable": "yes"}', :'id'), '^EQ006 retryable is not true or false', 'retryable');
SELECT matches(pg_temp.error('fail', '{"error_message": 7}', :'id'), '^EQ006 error_message is not a string', 'error_message');
SELECT matches(pg_temp.error('fail', format('{"error_message": "no", "permit": %s}', :'permit'), :'id'), '^EQ00[34] ', 'fail, twice');

SELECT * FROM pg_temp.taken('heartbeat') \gset
SELECT pg_temp.call('heartbeat', format('{"permit": %s, "extend_by": "5 min"}', :'permit'), :'id') AS answer \gset
SELECT is(pg_temp.keys(:'answer') || (:'answer'::jsonb ->> 'held'), 'attempt_due_at cancel_requested event_id heldtrue', 'heartbeat');
SELECT is(pg_temp.call('heartbeat', '{"permit": 1}', :'id') ->> 'held', 'false', 'heartbeat: another permit');
SELECT matches(pg_temp.error('heartbeat', NULL, :'id'), '^EQ006 permit is not ', 'heartbeat without permit');
SELECT is(pg_temp.call('suspend', format('{"permit": %s, "timeout": 30}', :'permit'), :'id') - 'state_due_at', '{"acknowledged": true, "status": "SUSPENDED"}', 'suspend');
SELECT is(pg_temp.call('activate', '{"payload_patch": {"a": 1}}', :'id'), '{"acknowledged": true, "status": "AWAITING_PROCESSING"}', 'activate');
SELECT is(evq_event(:'id') -> 'payload', '{"a": 1}', 'activate: payload_patch');
SELECT matches(pg_temp.error('activate', NULL, :'id'), '^EQ003 ', 'activate, twice');
SELECT pg_temp.call('acquire', NULL, :'id') ->> 'permit' AS permit \gset
SELECT is(pg_temp.call('activate', format('{"answer": ["yes"], "permit": %s}', :'permit'), :'id'), '{"acknowledged": true, "status": "BEING_PROCESSED"}', 'activate, early');
SELECT is(pg_temp.call('activate', format('{"answer": ["yes"], "permit": %s}', :'permit'), :'id'), '{"acknowledged": true, "status": "BEING_PROCESSED"}', 'activate, the same again');
SELECT matches(pg_temp.error('activate', format('{"answer": null, "permit": %s}', :'permit'), :'id'), '^EQ003 ', 'activate, another answer');
SELECT is(pg_temp.call('suspend', format('{"permit": %s}', :'permit'), :'id'), '{"acknowledged": true, "status": "AWAITING_PROCESSING", "state_due_at": null}', 'suspend: it is awake');
SELECT is(pg_temp.call('acquire', NULL, :'id') -> 'answer', '["yes"]', '... with its answer');
SELECT permit AS second FROM evq.events WHERE event_id = :'id' \gset
SELECT is(pg_temp.call('suspend', format('{"permit": %s, "timeout": 30}', :'second'), :'id') ->> 'status', 'SUSPENDED', 'suspend, once more');
SELECT matches(pg_temp.error('activate', format('{"answer": ["yes"], "permit": %s}', :'permit'), :'id'), '^EQ004 ', 'activate, too late');
SELECT is(pg_temp.call('activate', '{"answer": null, "permit": null}', :'id') ->> 'status', 'AWAITING_PROCESSING', 'activate: null is none');
SELECT is(evq_event(:'id') -> 'answer', 'null', '... no answer');
SELECT pg_temp.call('acquire', target => :'id') ->> 'permit' AS permit \gset
SELECT is(pg_temp.call('release', format('{"permit": %s}', :'permit'), :'id'), '{"acknowledged": true, "status": "AWAITING_PROCESSING"}', 'release');
SELECT pg_temp.call('acquire', target => :'id') ->> 'permit' AS permit \gset
SELECT is(pg_temp.error('snooze', format('{"permit": %s, "run_at": "soon"}', :'permit'), :'id'),
		  'EQ006 run_at is not a time such as "2030-01-31T12:00:00Z" Pass a time such as "2030-01-31T12:00:00Z", or leave it out where it is not required.', 'snooze until soon');
SELECT is(pg_temp.call('snooze', format('{"permit": %s, "run_at": "%s"}', :'permit', now() + interval '1 min'), :'id'),
		  '{"acknowledged": true, "status": "AWAITING_PROCESSING"}', 'snooze');
SELECT is(pg_temp.call('cancel', '{"reason": "enough"}', :'id'), '{"acknowledged": true, "status": "CANCELED"}', 'cancel');
SELECT is((SELECT reason FROM evq.events WHERE event_id = :'id'), 'enough', 'cancel: reason');
SELECT is(pg_temp.call('retry', NULL, :'id'), '{"acknowledged": true, "status": "AWAITING_PROCESSING"}', 'retry');
SELECT matches(pg_temp.error('retry', '{"now": true}', :'id'), '^EQ006 unknown key "now" None is known here', 'retry takes nothing');
SELECT matches(pg_temp.error(verb, body, gen_random_uuid()::text), '^EQ002 ', verb || ': no such event')
FROM (VALUES ('fail', '{"error_message": "no"}'), ('suspend', '{"permit": 1}'), ('activate', NULL), ('release', '{"permit": 1}'),
			 ('snooze', '{"permit": 1, "run_at": "2999-01-01"}'), ('cancel', NULL), ('retry', NULL), ('event', NULL)) verbs (verb, body);
SELECT matches(pg_temp.error(verb, '{"permit": 1, "zzz": 1}', gen_random_uuid()::text), '^EQ006 unknown key ', verb || ': unknown key')
FROM unnest('{acquire, succeed, fail, heartbeat, suspend, activate, release, snooze, cancel, retry}'::text[]) verb;

-- Reads.
SELECT pg_temp.call('event', target => event_id::text) AS answer FROM evq.events WHERE flow_id = 'succeed' AND event_type = 'STEP' \gset
SELECT is((:'answer'::jsonb ->> 'status') || (:'answer'::jsonb #>> '{children, 0, status}') || (:'answer'::jsonb ? 'state')::text, 'SUCCEEDEDAWAITING_PROCESSINGfalse', 'event: status, not state');
SELECT matches(pg_temp.error('event', target => gen_random_uuid()::text, query => '{"x": "1"}'), '^EQ006 unknown key "x"', 'event: unknown key');

CREATE FUNCTION pg_temp.listed(query text) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(e ->> 'flow_id', ' ' ORDER BY place) FROM jsonb_array_elements(pg_temp.call('events', query => query) -> 'events') WITH ORDINALITY l (e, place) $$;
SELECT evq_configure('OTHER', 'FLOW_S');
SELECT evq_publish('OTHER', NULL, 's-' || n, jsonb_build_object('n', n, 'deep', jsonb_build_object('text', 'x' || n))) FROM generate_series(1, 5) n;
SELECT is(pg_temp.listed('{"flow_type": "FLOW_S"}'), 's-5 s-4 s-3 s-2 s-1', 'events: newest first');
SELECT is(pg_temp.listed('{"event_type": "OTHER", "status": "awaiting_processing,SUCCEEDED", "limit": "2"}'), 's-5 s-4', 'events: type, status, limit');
SELECT is(pg_temp.listed('{"event_type": "OTHER", "flow_type": "FLOW_H"}'), NULL, 'events: both must hold');
SELECT is(pg_temp.listed('{"flow_id": "s-3"}'), 's-3', 'events: flow_id');
SELECT is(pg_temp.listed(jsonb_build_object('q', q)::text), wanted, 'events: ' || q) FROM (VALUES
	('flow:FLOW_S id:s-2', 's-2'), ('s-4', 's-4'), ('s-*', 's-5 s-4 s-3 s-2 s-1'), ('type:OTHER payload.n:3', 's-3'), ('payload.deep.text:x5', 's-5'),
	('payload.n:3 payload.deep.text:x3', 's-3'), ('payload.n:3 payload.n:4', NULL), ('flow:FLOW_S flow:FLOW_H', NULL), ('s-1 s-2', NULL),
	('status:FAILED', 'for good'), ('  flow:FLOW_S   s-1 ', 's-1'), ('colour:red', NULL), ('''; DROP TABLE evq.event; --', NULL), ('payload.n:%', NULL)) searches (q, wanted);
SELECT is(pg_temp.listed(jsonb_build_object('q', upper(event_id::text))::text), 's-1', 'events: an event''s id') FROM evq.events WHERE flow_id = 's-1';
SELECT is(pg_temp.listed('{"q": ""}'), pg_temp.listed('{}'), 'events: an empty search is none');
WITH RECURSIVE pages AS (
	SELECT pg_temp.call('events', query => '{"flow_type": "FLOW_S", "limit": "2"}') AS page
	UNION ALL
	SELECT pg_temp.call('events', query => jsonb_build_object('flow_type', 'FLOW_S', 'limit', '2', 'after', page ->> 'next')::text) FROM pages WHERE page ->> 'next' IS NOT NULL)
SELECT is(string_agg(e ->> 'flow_id', ' '), 's-5 s-4 s-3 s-2 s-1', 'events: page by page') FROM pages, jsonb_array_elements(page -> 'events') e;
SELECT matches(pg_temp.error('events', query => query), '^EQ006 ', 'events: ' || query) FROM unnest(ARRAY['{"limit": "0"}', '{"limit": "501"}', '{"limit": "x"}',
	'{"after": "x"}', '{"status": "DONE"}', '{"q": "status:DONE"}', '{"colour": "red"}']) query;
SELECT matches(pg_temp.error('events', query => jsonb_build_object('q', repeat('x ', 21))::text), '^EQ006 q has 21 words', 'events: too many words');

SELECT is(pg_temp.call('pending', target => 'FLOW_S', query => '{"limit": "2"}') #>> '{events, 1, flow_id}', 's-2', 'pending: oldest first');
SELECT is(pg_temp.call('pending', target => 'FLOW_S') #>> '{events, 0, status}', 'AWAITING_PROCESSING', 'pending: status');
SELECT is(pg_temp.call('pending', target => 'FLOW_S') -> 'is_complete', 'true', 'pending: all were looked at');
SELECT matches(pg_temp.error('pending', target => 'NONE_SUCH'), '^EQ001 ', 'pending: unknown flow');
SELECT is(pg_temp.call('counts', query => '{"flow_type": "FLOW_S"}'), '{"counts": [{"flow_type": "FLOW_S", "event_type": "OTHER", "status": "AWAITING_PROCESSING", "events": 5, "is_exact": true}]}', 'counts');
SELECT matches(pg_temp.error('counts', query => '{"x": "1"}'), '^EQ006 ', 'counts: unknown key');
SELECT is((SELECT string_agg(f ->> 'flow_type', ' ') FROM jsonb_array_elements(pg_temp.call('flows', query => '{"after": "FLOW_H"}') -> 'flows') f), 'FLOW_H2 FLOW_S', 'flows');
SELECT is(pg_temp.call('flows', query => '{"limit": "1"}') ->> 'next', 'FLOW_H', 'flows: page by page');
SELECT is(pg_temp.keys(pg_temp.call('flows') #> '{flows, 0}'), (SELECT string_agg(attname, ' ' ORDER BY attname COLLATE "C") FROM pg_attribute WHERE attrelid = 'evq.flows'::regclass AND attnum > 0), 'flows: the columns of evq.flows');
SELECT is((SELECT string_agg(t ->> 'event_type', ' ') FROM jsonb_array_elements(pg_temp.call('event_types', query => '{"flow_type": "FLOW_H"}') -> 'event_types') t), 'NEXT_STEP STEP', 'event_types');
SELECT is(pg_temp.call('event_types', query => '{"flow_type": "FLOW_H", "after": "NEXT_STEP", "limit": "1"}') ->> 'next', 'STEP', 'event_types: page by page');

-- Errors of one instant and of several come page by page, each once.
SELECT evq_fail(t.id::uuid, 'again ' || n) FROM generate_series(1, 4) n, LATERAL pg_temp.taken('error-' || n) t;
WITH RECURSIVE pages AS (
	SELECT pg_temp.call('errors', query => '{"event_type": "STEP", "limit": "1"}') AS page
	UNION ALL
	SELECT pg_temp.call('errors', query => jsonb_build_object('event_type', 'STEP', 'limit', '1', 'after', page ->> 'next')::text) FROM pages WHERE page ->> 'next' IS NOT NULL)
SELECT is(count(*) || ' ' || count(DISTINCT e), '6 6', 'errors: page by page') FROM pages, jsonb_array_elements(page -> 'errors') e;
SELECT is(pg_temp.call('errors') #>> '{errors, 0, error_message}', 'again 4', 'errors: newest first');
SELECT is(pg_temp.keys(pg_temp.call('errors') #> '{errors, 0}'), 'attempt error_message event_id event_type failed_at flow_id flow_type outcome stack_trace status worker', 'errors: the columns of evq.errors');
SELECT is(pg_temp.call('errors', query => '{"flow_type": "FLOW_S"}'), '{"errors": [], "next": null}', 'errors: of another flow');
SELECT is(pg_temp.call('errors', query => jsonb_build_object('event_id', event_id)::text) #>> '{errors, 0, flow_id}', 'error-2', 'errors: of one event') FROM evq.events WHERE flow_id = 'error-2';
SELECT matches(pg_temp.error('errors', query => query), '^EQ006 ', 'errors: ' || query) FROM unnest(ARRAY['{"after": "1"}', '{"event_id": "x"}', '{"limit": "-1"}', '{"x": "1"}']) query;

SELECT is(pg_temp.keys(pg_temp.call('health')), 'database engine status version', 'health');

-- Configuration.
SELECT pg_temp.call('configure', '{"flow_type": "FLOW_S", "max_attempts": 4, "lifespan": 7200, "attempt_delays": [0, "10 s", 1.5], "backoff_factor": 2, "max_delay": "1 hour", "jitter": 0.5,
	"attempt_timeout": 60, "on_suspend_timeout": "retry", "on_fail_event_type": "OTHER", "priority": 3, "max_payload_bytes": 1000, "retention": "1 day"}', 'NEW') AS answer \gset
SELECT is(:'answer'::jsonb, (SELECT to_jsonb(t) FROM evq.event_types t WHERE event_type = 'NEW'), 'configure answers the row');
SELECT results_eq($$SELECT max_attempts, lifespan, attempt_delays, backoff_factor, on_fail_event_type, retention FROM evq.event_types WHERE event_type = 'NEW'$$,
	$$VALUES (4, interval '2 hours', '{0 s, 10 s, 1.5 s}'::interval[], 2::float8, 'OTHER', interval '1 day')$$, 'configure: what was asked for');
SELECT is(pg_temp.call('configure', '{"priority": 4}', 'NEW') - 'priority', :'answer'::jsonb - 'priority', 'configure leaves the rest');
SELECT matches(pg_temp.error('configure', body, 'NEW'), '^EQ006 ', 'configure: ' || body) FROM unnest(ARRAY['{"max_attempts": 0}', '{"jitter": 2}', '{"jitter": 1e400}', '{"jitter": "1"}', '{"lifespan": "-1 s"}',
	'{"attempt_delays": 1}', '{"attempt_delays": [null]}', '{"attempt_delays": [[1]]}', '{"is_suspended": true}', '{"event_type": "X"}', '[]']) body;
SELECT matches(pg_temp.error('configure', '{"on_fail_event_type": "NONE_SUCH"}', 'NEW'), '^EQ001 ', 'configure: unknown on-fail type');
SELECT is(pg_temp.call('configure', (SELECT jsonb_object_agg(key, null)::text FROM jsonb_each(:'answer') WHERE key NOT IN ('event_type', 'is_suspended') AND key IN ('flow_type', 'max_attempts', 'lifespan',
	'attempt_delays', 'backoff_factor', 'max_delay', 'jitter', 'attempt_timeout', 'on_suspend_timeout', 'on_fail_event_type', 'priority', 'max_payload_bytes', 'retention')), 'NEW') - 'priority',
	:'answer'::jsonb - 'priority', 'configure: null is as left out');
SELECT is(pg_temp.call('suspend_event_type', NULL, 'NEW') ->> 'is_suspended', 'true', 'suspend_event_type');
SELECT is(pg_temp.call('unsuspend_event_type', NULL, 'NEW') ->> 'is_suspended', 'false', 'unsuspend_event_type');
SELECT matches(pg_temp.error(verb, NULL, 'NONE_SUCH'), '^EQ001 ', verb || ': unknown type') FROM unnest('{suspend_event_type, unsuspend_event_type}'::text[]) verb;
SELECT pg_temp.call('configure_flow', '{"channel": "ch_new", "max_dispatched": 50, "max_processing": 5, "dispatch_timeout": 45, "delivery": "pull", "ordered": true, "notify_payload": true}', 'FLOW_NEW') AS answer \gset
SELECT is(:'answer'::jsonb, (SELECT to_jsonb(f) FROM evq.flows f WHERE flow_type = 'FLOW_NEW'), 'configure_flow answers the row');
SELECT results_eq($$SELECT channel, max_dispatched, max_processing, dispatch_timeout, delivery, ordered, notify_payload FROM evq.flows WHERE flow_type = 'FLOW_NEW'$$,
	$$VALUES ('ch_new', 50, 5, interval '45 s', 'pull', true, true)$$, 'configure_flow: what was asked for');
SELECT is(pg_temp.call('configure_flow', '{"max_dispatched": 60}', 'FLOW_NEW'), :'answer'::jsonb || '{"max_dispatched": 60}', 'configure_flow leaves the rest');
SELECT is(pg_temp.call('configure_flow', '{"max_processing": 0}', 'FLOW_NEW') -> 'max_processing', 'null', 'configure_flow: 0 is no limit');
SELECT pg_temp.call('pause_flow', '{"until": "2100-01-01T00:00:00Z", "reason": "why"}', 'FLOW_NEW') AS paused \gset
SELECT is(:'paused'::jsonb, (SELECT to_jsonb(f) FROM evq.flows f WHERE flow_type = 'FLOW_NEW'), 'pause_flow answers the row');
SELECT results_eq($$SELECT is_paused, paused_until, pause_reason FROM evq.flows WHERE flow_type = 'FLOW_NEW'$$, $$VALUES (true, timestamptz '2100-01-01 00:00:00+00', 'why')$$, '... of what was asked for');
SELECT is(pg_temp.call('pause_flow', NULL, 'FLOW_NEW') ->> 'paused_until', NULL, '... or until it is resumed');
SELECT is(pg_temp.call('resume_flow', NULL, 'FLOW_NEW') ->> 'is_paused', 'false', 'resume_flow');
SELECT is(pg_temp.call('resume_flow', '{}', 'FLOW_NEW') ->> 'is_paused', 'false', '... of one that goes on already');
SELECT matches(pg_temp.error(verb, NULL, 'NONE_SUCH'), '^EQ001 ', verb || ': unknown flow') FROM unnest('{pause_flow, resume_flow}'::text[]) verb;
SELECT pg_temp.call('pause_group', '{"group_key": "acme", "until": "2100-01-01T00:00:00Z", "reason": "why"}', 'FLOW_NEW') AS paused \gset
SELECT is(:'paused'::jsonb, (SELECT to_jsonb(g) FROM evq.groups g WHERE flow_type = 'FLOW_NEW'), 'pause_group answers the row');
SELECT results_eq($$SELECT group_key, is_paused, paused_until, pause_reason FROM evq.groups WHERE flow_type = 'FLOW_NEW'$$, $$VALUES ('acme', true, timestamptz '2100-01-01 00:00:00+00', 'why')$$, '... of what was asked for');
SELECT is(pg_temp.call('groups', target => 'FLOW_NEW'), jsonb_build_object('groups', jsonb_build_array(:'paused'::jsonb)), 'groups');
SELECT is(pg_temp.call('resume_group', '{"group_key": "acme"}', 'FLOW_NEW'), '{"flow_type": "FLOW_NEW", "group_key": "acme", "is_paused": false}', 'resume_group');
SELECT is(pg_temp.call('groups', target => 'FLOW_NEW'), '{"groups": []}', 'groups: none');
SELECT evq_configure_flow('FLOW_NEW', max_processing_per_group => 2, rate_per_group => 5) \g /dev/null
SELECT pg_temp.call('configure_group', '{"group_key": "acme", "max_processing": 7, "rate": 1.5, "per": "1 min", "burst": 3}', 'FLOW_NEW') AS configured \gset
SELECT is(:'configured'::jsonb,
	(SELECT to_jsonb(g) FROM evq.groups g WHERE flow_type = 'FLOW_NEW' AND (max_processing, rate, per, burst) = (7, 1.5, interval '1 min', 3)), 'configure_group');
SELECT is(pg_temp.call('configure_group', '{"group_key": "acme", "max_processing": null}', 'FLOW_NEW') ->> 'is_paused', 'false', '... and back');
SELECT evq_configure_flow('FLOW_NEW', max_processing_per_group => 0, rate_per_group => 0) \g /dev/null
SELECT matches(pg_temp.error(verb, '{"group_key": "g"}', 'NONE_SUCH'), '^EQ001 ', verb || ': unknown flow') FROM unnest('{pause_group, resume_group, configure_group}'::text[]) verb;
SELECT matches(pg_temp.error('groups', NULL, 'NONE_SUCH'), '^EQ001 ', 'groups: unknown flow');
SELECT matches(pg_temp.error('groups', NULL, 'FLOW_NEW', '{"x": "1"}'), '^EQ006 ', 'groups: unknown key');
SELECT matches(pg_temp.error(verb, body, 'FLOW_NEW'), '^EQ006 ', verb || ': ' || body) FROM unnest('{pause_group, configure_group}'::text[]) verb,
	unnest(ARRAY['{}', '{"group_key": ""}', '{"group_key": 1}', '{"group_key": "g", "until": 1, "burst": "x"}', '{"group_key": "g", "x": 1}', '[]']) body;
SELECT matches(pg_temp.error('pause_flow', body, 'FLOW_NEW'), '^EQ006 ', 'pause_flow: ' || body) FROM unnest(ARRAY['{"until": "soon"}', '{"until": "2000-01-01T00:00:00Z"}', '{"until": 1}', '{"reason": 1}', '{"x": 1}', '[]']) body;
SELECT matches(pg_temp.error('configure_flow', body, 'FLOW_NEW'), '^EQ006 ', 'configure_flow: ' || body) FROM unnest(ARRAY['{"max_dispatched": 0}', '{"max_dispatched": "many"}',
	'{"max_processing": -1}', '{"dispatch_timeout": "-1 s"}', '{"delivery": "post"}', '{"ordered": "yes"}', '{"notify_payload": 1}', '{"channel": "evq_events"}', '{"channel": 1}', '{"flow_type": "X"}', '[]']) body;
SELECT matches(pg_temp.error('configure_flow', NULL, 'bad name'), '^EQ006 ', 'configure_flow: a bad name');
SELECT is((SELECT to_jsonb(f) FROM evq.flows f WHERE flow_type = 'FLOW_NEW'), :'answer'::jsonb || '{"max_dispatched": 60, "max_processing": null}', 'configure_flow: what is refused changes nothing');

-- Schedules.
SELECT evq_schedule('hourly', '@hourly', 'STEP', NULL, 'scheduled', '{"secret": 1}', make_job => false);
SELECT evq_schedule('nightly', '0 3 * * *', 'STEP', NULL, 'scheduled', make_job => false);
SELECT is(pg_temp.keys(pg_temp.call('schedules') #> '{schedules, 0}'), 'cron cron_failed_at cron_message event_type failed flow_id flow_type group_key is_paused last_error last_error_at last_event_id last_outcome'
	' last_run_at last_status misfire name next_run_at overlap priority published skipped time_zone', 'schedules: the columns of evq.schedules');
SELECT is(pg_temp.call('schedules', query => '{"limit": "1"}') - 'schedules', '{"next": "hourly"}', 'schedules: pages');
SELECT is(pg_temp.call('schedules', query => '{"limit": "2", "after": "hourly"}') #>> '{schedules, 0, name}', 'nightly', 'schedules: the next page');
SELECT is(pg_temp.call('pause_schedule', target => 'hourly'), pg_temp.call('schedules') #> '{schedules, 0}', 'pause answers the schedule');
SELECT is(pg_temp.call('schedules') #> '{schedules, 0, is_paused}', 'true', '... which is paused');
SELECT is(pg_temp.call('resume_schedule', target => 'hourly') -> 'is_paused', 'false', 'resume');
SELECT pg_temp.call('run_schedule', target => 'hourly') AS answer \gset
SELECT is(pg_temp.keys(:'answer'), 'event_id', 'run answers the id');
SELECT is(pg_temp.call('schedules') #>> '{schedules, 0, last_status}', 'AWAITING_PROCESSING', '... and the schedule tells the status of that event');
SELECT matches(pg_temp.error(verb, NULL, 'none'), '^EQ002 no schedule "none" ', verb || ': no such schedule') FROM unnest('{pause_schedule, resume_schedule, run_schedule}'::text[]) verb;
SELECT matches(pg_temp.error(verb, '{"x": 1}', 'hourly'), '^EQ006 ', verb || ' takes no body') FROM unnest('{pause_schedule, resume_schedule, run_schedule}'::text[]) verb;

-- Batches.
SELECT evq_configure('BATCHED', 'FLOW_BATCH', 3, '1 hour', '{0 s}', attempt_timeout => '10 min') \g /dev/null
SELECT evq_publish('BATCHED', NULL, 'batch') FROM generate_series(1, 4) \g /dev/null
SELECT pg_temp.call('acquire_batch', '{"worker": "w", "permit_for": 60}', 'FLOW_BATCH') AS answer \gset
SELECT :'answer'::jsonb ->> 'token' AS token \gset
SELECT is(jsonb_array_length(:'answer'::jsonb -> 'events'), 4, 'acquire_batch: all that is due');
SELECT is(pg_temp.keys((:'answer'::jsonb #> '{events, 0}')), 'answer attempt attempt_due_at attempts_left due_at event_id event_type flow_id flow_type headers payload permit', '... each as from acquire');
SELECT results_eq(format($$SELECT (e ->> 'event_id')::uuid, (e ->> 'permit')::bigint FROM jsonb_array_elements(%L::jsonb -> 'events') e$$, :'answer'), format($$SELECT * FROM evq_batch_permits(%L)$$, :'token'), '... with its permit');
SELECT is(jsonb_agg(e -> 'event_id'), (SELECT jsonb_agg(x.event_id ORDER BY x.event_id) FROM evq.events x WHERE x.worker = 'w' AND x.flow_id = 'batch'), '... in order') FROM jsonb_array_elements(:'answer'::jsonb -> 'events') e;
SELECT jsonb_agg(e ->> 'event_id') AS ids FROM jsonb_array_elements(:'answer'::jsonb -> 'events') e \gset
SELECT is(pg_temp.call('acquire_batch', NULL, 'FLOW_BATCH'), '{"token": null, "events": []}', 'nothing is left');
SELECT results_eq($$SELECT answer, wait_ms, channel, choice FROM evq_http.acquire_batch('FLOW_BATCH', '{}', '{}', '{"wait": "2.5 s", "event_types": ["BATCHED"]}')$$,
	$$VALUES ('{"token": null, "events": []}'::jsonb, 2500, 'evq_flow_batch', 'BATCHED')$$, '... and the client would wait');
SELECT is(jsonb_path_query_array(pg_temp.call('heartbeat_batch', jsonb_build_object('token', :'token', 'extend_by', '5 min')::text), '$.events[*].held'), '[true, true, true, true]', 'heartbeat_batch');
SELECT is(jsonb_path_query_array(pg_temp.call('fail_batch', jsonb_build_object('token', :'token', 'error_message', 'no', 'event_ids', jsonb_build_array(:'ids'::jsonb -> 1), 'retryable', false)::text), '$.events[*].*'),
	jsonb_build_array('FAILED', true, :'ids'::jsonb -> 1), 'fail_batch: one of it');
SELECT evq_cancel((:'ids'::jsonb ->> 3)::uuid) \g /dev/null
SELECT evq_publish('BATCHED', NULL, 'after') \g /dev/null
SELECT results_eq(format($$SELECT answer -> 'lost_event_ids', jsonb_array_length(answer -> 'events'), wait_ms FROM evq_http.acquire_batch('FLOW_BATCH', '{}', '{}', %L)$$,
		jsonb_build_object('token', :'token', 'except_ids', jsonb_build_array(:'ids'::jsonb -> 0, :'ids'::jsonb -> 1))),
	format($$VALUES (%L::jsonb, 1, NULL::int)$$, jsonb_build_array(:'ids'::jsonb -> 3)), 'acquire_batch: reports the batch before, and tells what was lost');
SELECT is(pg_temp.call('succeed_batch', jsonb_build_object('token', :'token')::text), jsonb_build_object('acknowledged', true, 'lost_event_ids', jsonb_build_array(:'ids'::jsonb -> 1, :'ids'::jsonb -> 3)), 'succeed_batch: what was left, and what was reported before');
SELECT set_eq(format($$SELECT state::text FROM evq.events WHERE flow_id = 'batch'$$), ARRAY['succeeded', 'failed', 'canceled'], '... as reported');
SELECT is(wait_ms, NULL, 'with a token it does not wait') FROM evq_http.acquire_batch('FLOW_BATCH', '{}', '{}', jsonb_build_object('token', :'token', 'wait', 10));
SELECT evq_publish('BATCHED', NULL, 'released') AS id \gset
SELECT pg_temp.call('acquire_batch', '{"max_events": 1}', 'FLOW_BATCH') ->> 'token' AS token \gset
SELECT is(pg_temp.call('release_batch', jsonb_build_object('token', :'token')::text), '{"acknowledged": true, "lost_event_ids": []}', 'release_batch');
SELECT is(pg_temp.call('release_batch', jsonb_build_object('token', :'token')::text), jsonb_build_object('acknowledged', true, 'lost_event_ids', jsonb_build_array(:'id')), '... is not accepted twice');
SELECT is(jsonb_array_length(pg_temp.call('acquire_batch', NULL, 'FLOW_BATCH') -> 'events'), 1, '... and the event is back');
SELECT matches(pg_temp.error(verb, body), '^EQ006 ', verb || ': ' || body)
FROM unnest('{succeed_batch, fail_batch, heartbeat_batch, release_batch}'::text[]) verb,
	unnest(ARRAY['{"error_message": "no"}', '{"token": "x", "error_message": "no"}', '{"token": 1, "error_message": "no"}', '{"token": "x", "error_message": "no", "y": 1}', '[]', 'null']) body;
SELECT matches(pg_temp.error('acquire_batch', body, 'FLOW_BATCH'), '^EQ006 ', 'acquire_batch: ' || body)
FROM unnest(ARRAY['{"wait": 61}', '{"max_events": 0}', '{"max_events": 10001}', '{"event_types": "STEP"}', '{"token": "x"}', '{"except_ids": []}', '{"x": 1}', '[]']) body;
SELECT matches(pg_temp.error('acquire_batch', NULL, 'NONE_SUCH'), '^EQ001 ', 'unknown flow');

-- Odd arguments to every route: an error of evq's own or an answer.
SELECT matches(pg_temp.error(proname, body, target, query), '^(EQ00|no error|22)', format('%s: %s %s %s', proname, target, query, body))
FROM pg_proc, (VALUES (NULL, NULL, NULL), ('', '[]', NULL), (gen_random_uuid()::text, '{"permit": 1}', '{"after": ""}'), ('FLOW_H', '{"permit": null}', '{"limit": "1e9"}'),
	(repeat('x', 1000), '{"a": 1}', '{"q": "* : payload.: payload.x: %"}'), (E'\x7f', '"\u00e9"', '{"status": ","}')) odd (target, body, query)
WHERE pronamespace = 'evq_http'::regnamespace AND proargnames[1:4] = '{target, query, headers, body}' ORDER BY proname;

-- A role that may call a route may call all that the route calls.
CREATE FUNCTION pg_temp.as_role(role name, verb text, body text DEFAULT NULL, target text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE format('SELECT FROM evq_http.%s($1, ''{}'', ''{}'', $2)', verb) USING target, body::jsonb;
	RAISE EXCEPTION USING ERRCODE = 'P0000';
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN 'P0000' THEN 'done' ELSE SQLSTATE END;
END
$$;
SELECT * FROM pg_temp.taken('roles') \gset
SELECT is(pg_temp.as_role(role, verb, replace(body, 'PERMIT', :'permit'), coalesce(target, :'id')),
		  CASE WHEN role = 'evq_operator' OR role ~ may THEN 'done' ELSE '42501' END, role || ': ' || verb)
FROM unnest('{evq_publisher, evq_worker, evq_operator, evq_monitor}'::text[]) role, (VALUES
	('publisher', 'publish', '{"event_type": "STEP", "flow_id": "r"}', NULL), ('publisher', 'publish_batch', '[{"event_type": "STEP", "flow_id": "r"}]', NULL),
	('worker', 'acquire', NULL, NULL), ('worker', 'acquire_next', '{"wait": 1}', 'FLOW_S'), ('worker', 'acquire_of_flows', '{"flow_types": ["FLOW_S"]}', NULL), ('worker', 'succeed', '{"permit": PERMIT}', NULL),
	('worker', 'fail', '{"permit": PERMIT, "error_message": "no", "retry_in": 1}', NULL), ('worker', 'heartbeat', '{"permit": PERMIT}', NULL),
	('worker', 'acquire_batch', NULL, 'FLOW_S'), ('worker', 'suspend', '{"permit": PERMIT}', NULL), ('worker', 'release', '{"permit": PERMIT}', NULL),
	('none', 'cancel', NULL, NULL), ('none', 'event', NULL, NULL), ('none', 'events', NULL, NULL), ('none', 'errors', NULL, NULL),
	('none', 'configure', '{}', 'STEP'), ('none', 'configure_flow', '{}', 'FLOW_H'), ('none', 'pause_flow', NULL, 'FLOW_H'), ('none', 'resume_flow', NULL, 'FLOW_H'),
	('none', 'pause_group', '{"group_key": "g"}', 'FLOW_H'), ('none', 'resume_group', '{"group_key": "g"}', 'FLOW_H'), ('none', 'configure_group', '{"group_key": "g"}', 'FLOW_H'), ('monitor', 'groups', NULL, 'FLOW_H'), ('none', 'suspend_event_type', NULL, 'STEP'), ('none', 'unsuspend_event_type', NULL, 'STEP'),
	('worker|monitor', 'pending', NULL, 'FLOW_H'), ('worker|monitor', 'counts', NULL, NULL), ('worker|monitor', 'health', NULL, NULL),
	('monitor', 'schedules', NULL, NULL), ('none', 'pause_schedule', NULL, 'hourly'), ('none', 'resume_schedule', NULL, 'hourly'), ('none', 'run_schedule', NULL, 'hourly'),
	('publisher|worker|monitor', 'rights', NULL, NULL), ('publisher|worker|monitor', 'flows', NULL, NULL), ('publisher|worker|monitor', 'event_types', NULL, NULL)) routes (may, verb, body, target)
ORDER BY verb, role;

-- The rights of a role: the operations that it may call, and the flows where it is held to some.
CREATE FUNCTION pg_temp.rights(role name) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	answer := evq_http.rights(NULL, '{}', '{}', NULL);
	RESET ROLE;
	RETURN answer;
END
$$;
SELECT set_eq($$SELECT routine::oid FROM evq_http.operations() WHERE operation NOT IN ('stream', 'websocket', 'mcp', 'metrics')$$,
	$$SELECT oid FROM pg_proc WHERE pronamespace = 'evq_http'::regnamespace AND proargnames[1:4] = '{target, query, headers, body}'$$, 'each function of a route is that of an operation');
SELECT is(pg_temp.call('rights') - 'operations', jsonb_build_object('role', current_user, 'publish_flows', NULL, 'work_flows', NULL), 'a superuser may everything everywhere');
SELECT is(jsonb_array_length(pg_temp.call('rights') -> 'operations'), (SELECT count(*)::int FROM evq_http.operations()), '... each operation');
SELECT is(pg_temp.rights('evq_monitor'), '{"role": "evq_monitor", "publish_flows": null, "work_flows": null,
	"operations": ["counts", "health", "listEventTypes", "listFlows", "listGroups", "listPending", "listSchedules", "mcp", "metrics", "rights", "stream", "websocket"]}', 'a monitor may look');
SELECT is(pg_temp.rights('evq_publisher') -> 'operations', '["activate", "listEventTypes", "listFlows", "mcp", "publish", "publishBatch", "rights"]', 'a publisher');
SELECT is(jsonb_path_exists(pg_temp.rights('evq_operator'), '$.operations[*] ? (@ == "cancel")'), true, 'an operator may cancel');
CREATE ROLE evq_test_held;
SELECT evq_grant_worker('evq_test_held', 'FLOW_H'), evq_grant_publisher('evq_test_held', 'FLOW_S') \g /dev/null
SELECT is(pg_temp.rights('evq_test_held') - 'operations', '{"role": "evq_test_held", "publish_flows": ["FLOW_S"], "work_flows": ["FLOW_H"]}', 'a restricted role has its flows');
SELECT evq_revoke_worker('evq_test_held', 'FLOW_H') \g /dev/null
SELECT is(pg_temp.rights('evq_test_held') -> 'work_flows', '[]', '... or none');
SELECT matches(pg_temp.error('rights', NULL, NULL, '{"x": 1}'), '^EQ006 ', 'no other key is known');

SELECT * FROM finish();
ROLLBACK;
