-- The plain call, with the types that literals, SQL functions and drivers bring: what has none, json, text, varchar, whole numbers, uuid.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', priority => 1) \gset

-- Literals, in every notation.
SELECT evq_publish('A', NULL, 'literal') \gset
SELECT evq_publish('A', NULL, 'literals', '{"n": 1}', priority => 5, headers => '{"h": 1}') \gset
SELECT evq_publish(event_type => 'A', flow_type => 'F', flow_id => 'named', payload => '{"n": 2}') \gset
SELECT evq_publish('A', NULL, 'nulls', NULL, NULL, NULL, NULL, NULL, NULL) \gset
SELECT evq_publish('A', NULL, 'json null', 'null', headers => 'null') \gset
SELECT evq_publish('A', NULL, 'only headers', headers => '{"h": 2}') \gset
-- A flow_id that is a number or a uuid.
SELECT evq_publish('A', NULL, 42) \gset
SELECT evq_publish('A', NULL, 43::bigint, '{"n": 3}', priority => 5::smallint) \gset
SELECT evq_publish('A', NULL, 44::smallint, jsonb_build_object('n', 4)) \gset
SELECT evq_publish('A', NULL, '11111111-1111-4111-8111-111111111111'::uuid, json_build_object('n', 5)) \gset
SELECT evq_publish(event_type => 'A', flow_type => NULL, flow_id => -1) \gset
-- json and text in place of jsonb, also beside others.
SELECT evq_publish('A', NULL, 'json', json_build_object('n', 6)) \gset
SELECT evq_publish('A', NULL, 'json twice', json_build_object('n', 7), headers => json_build_object('h', 7)) \gset
SELECT evq_publish('A', NULL, 'json header', headers => json_build_object('h', 8)) \gset
SELECT evq_publish('A', NULL, 'text'::varchar, '{"n": 9}'::text, priority => 9) \gset
SELECT evq_publish('A', NULL, 'varchar', '{"n": 10}'::varchar, headers => '{"h": 10}'::varchar) \gset
SELECT evq_publish('A', NULL, 'jsonb beside a literal', jsonb_build_object('n', 11), headers => '{"h": 11}') \gset
CREATE DOMAIN lab.document AS json CHECK (json_typeof(VALUE) = 'object');
CREATE DOMAIN lab.order_no AS int;
SELECT evq_publish('A', NULL, 45::lab.order_no, '{"n": 12}'::lab.document) \gset
SELECT b.flow_id, b.priority, p.payload, p.headers FROM evq.events b JOIN evq.payloads p USING (event_id) ORDER BY b.event_id;
TRUNCATE evq.event, evq.event_payload;

-- Many events of one statement, with constants and with columns.
SELECT count(evq_publish('A', NULL, 'many ' || n, '{"same": true}', headers => '{"h": 1}')) FROM generate_series(1, 3) n;
SELECT count(evq_publish('A', NULL, n, json_build_object('n', n), priority => n)) FROM generate_series(1, 3) n;
SELECT b.flow_id, b.priority, p.payload, p.headers FROM evq.events b JOIN evq.payloads p USING (event_id) ORDER BY b.event_id;
TRUNCATE evq.event, evq.event_payload;

-- Prepared, as drivers do: without types (node-postgres, psycopg), with all text or varchar (JDBC), with what a number needs.
PREPARE untyped AS SELECT evq_publish('A', NULL, $1, $2);
EXECUTE untyped ('untyped', '{"n": 1}') \gset
PREPARE untyped_all AS SELECT evq_publish($1, $2, $3, $4, $5, $6, $7, $8, $9);
EXECUTE untyped_all ('A', NULL, 'untyped all', '{"n": 2}', NULL, NULL, '5', 'k', '{"h": 2}') \gset
EXECUTE untyped_all ('A', NULL, 'untyped nulls', NULL, NULL, NULL, NULL, NULL, NULL) \gset
PREPARE varchars (varchar, varchar, varchar, varchar) AS SELECT evq_publish($1, $2, $3, $4);
EXECUTE varchars ('A', 'F', 'varchars', '{"n": 3}') \gset
PREPARE texts (text, text, text, text) AS SELECT evq_publish($1, $2, $3, $4);
EXECUTE texts ('A', 'F', 'texts', '{"n": 4}') \gset
PREPARE number (text, text, int, json) AS SELECT evq_publish($1, $2, $3, $4);
EXECUTE number ('A', NULL, 5, '{"n": 5}') \gset
PREPARE number_untyped (unknown, unknown, bigint, unknown) AS SELECT evq_publish($1, $2, $3, $4);
EXECUTE number_untyped ('A', NULL, 6, '{"n": 6}') \gset
PREPARE small (text, int2) AS SELECT evq_publish('A', NULL, $1, '{"n": 7}', priority => $2);
EXECUTE small ('small', -7) \gset
PREPARE long (text, bigint) AS SELECT evq_publish('A', NULL, $1, '{"n": 8}', priority => $2);
EXECUTE long ('long', -8) \gset
SELECT name, parameter_types FROM pg_prepared_statements WHERE name LIKE 'untyped%' ORDER BY 1;
SELECT b.flow_id, b.priority, p.payload, p.headers FROM evq.events b JOIN evq.payloads p USING (event_id) ORDER BY b.event_id;
TRUNCATE evq.event, evq.event_payload;

-- From PL/pgSQL, where one expression is evaluated with one value after another.
DO $$
DECLARE
	document text;
	numbers json;
BEGIN
	FOREACH document IN ARRAY ARRAY['{"n": 1}', '{"n": 2}', NULL] LOOP
		PERFORM evq_publish('A', NULL, 'plpgsql', document);
	END LOOP;
	FOR n IN 3..4 LOOP
		numbers := json_build_object('n', n);
		PERFORM evq_publish('A', NULL, n, numbers, priority => n);
	END LOOP;
END
$$;
SELECT b.flow_id, b.priority, p.payload FROM evq.events b JOIN evq.payloads p USING (event_id) ORDER BY b.event_id;
TRUNCATE evq.event, evq.event_payload;

-- Many at once: arrays of jsonb, json, text, varchar and of what has no type; a NULL is no payload.
SELECT count(*) FROM evq_publish_many('A', NULL, '{a, b}', '{"{\"n\": 1}", NULL}');
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY['c', 'd'], ARRAY['{"n": 2}', 'null'], priority => 5);
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY['e']::varchar[], ARRAY['{"n": 3}']::varchar[]);
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY['f'], ARRAY['{"n": 4}']::json[]);
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY['g', 'h'], ARRAY['{"n": 5}', NULL]::jsonb[]);
PREPARE many AS SELECT count(*) FROM evq_publish_many($1, $2, $3, $4, priority => $5);
EXECUTE many ('A', NULL, '{i}', '{"{\"n\": 6}"}', '6');
-- ... of flow_ids that are whole numbers or uuids.
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY[11, 12], ARRAY['{"n": 8}', NULL], priority => 5000::bigint);
SELECT count(*) FROM evq_publish_many('A', 'F', ARRAY[9007199254740993, -1], ARRAY['{"n": 9}', '{}']::json[]);
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY[13]::smallint[], '{"{\"n\": 10}"}');
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY['22222222-2222-4222-8222-222222222222']::uuid[], ARRAY['{"n": 11}']::jsonb[]);
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY[14]::lab.order_no[], ARRAY['{"n": 12}']);
SELECT count(*) FROM evq_publish_many('A', NULL, '{}', '{}');
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY[]::bigint[], '{}');
PREPARE many_numbers (bigint[], jsonb[]) AS SELECT count(*) FROM evq_publish_many('A', NULL, $1, $2);
EXECUTE many_numbers ('{15}', '{"{\"n\": 13}"}');
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'many';
SELECT count(*) FROM evq_publish_many('[{"event_type": "A", "flow_id": 7, "payload": null, "priority": null, "run_at": null, "headers": null, "idempotency_key": null}]');
SELECT count(*) FROM evq_publish_many(json_build_array(json_build_object('event_type', 'A', 'flow_id', 'j', 'payload', json_build_object('n', 7))));
SELECT count(*) FROM evq_publish_many('[{"event_type": "A", "flow_id": "k"}]'::varchar);
PREPARE many_objects AS SELECT count(*) FROM evq_publish_many($1);
EXECUTE many_objects ('[{"event_type": "A", "flow_id": 9007199254740993}]');
SELECT b.flow_id, b.priority, p.payload FROM evq.events b JOIN evq.payloads p USING (event_id) ORDER BY b.event_id;

-- Reports: ids as text, results and spinoffs as json.
CREATE TABLE lab.held AS SELECT event_id, permit, flow_id FROM evq_acquire_next('F', NULL);
SELECT count(*) FROM lab.held;
PREPARE next (text, bigint) AS INSERT INTO lab.held SELECT event_id, permit, flow_id FROM evq_acquire_next($1, $2);
EXECUTE next ('F', 1);
INSERT INTO lab.held SELECT event_id, permit, flow_id FROM evq_acquire_next('F', 100, ARRAY['A']::varchar[]);
SELECT count(*) FROM lab.held;
SELECT count(*) FROM evq_heartbeat((SELECT array_agg(event_id::text) FROM lab.held), (SELECT array_agg(permit) FROM lab.held)) WHERE held;
SELECT count(*) FROM evq_heartbeat((SELECT array_agg(event_id::varchar) FROM lab.held), (SELECT array_agg(permit) FROM lab.held)) WHERE held;
SELECT count(*) FROM evq_heartbeat((SELECT array_agg(event_id) FROM lab.held), (SELECT array_agg(permit) FROM lab.held), NULL) WHERE held;
PREPARE succeed AS SELECT cardinality(evq_succeed($1, $2, $3, $4));
SELECT event_id, permit FROM lab.held WHERE flow_id = 'a' \gset
EXECUTE succeed (:'event_id', :'permit', '{"r": 1}', '[{"event_type": "A", "payload": null}]');
SELECT event_id, permit FROM lab.held WHERE flow_id = 'b' \gset
SELECT cardinality(evq_succeed(:'event_id', :permit, json_build_object('r', 2), json_build_array()));
SELECT event_id, permit FROM lab.held WHERE flow_id = 'c' \gset
SELECT cardinality(evq_succeed(:'event_id', :permit, '{"r": 3}'::varchar, 'null'));
SELECT event_id, permit FROM lab.held WHERE flow_id = 'd' \gset
SELECT cardinality(evq_succeed(:'event_id', :permit, 'null', NULL));
SELECT event_id, permit FROM lab.held WHERE flow_id = 'e' \gset
SELECT cardinality(evq_succeed(:'event_id', :permit, spinoffs => json_build_array(json_build_object('event_type', 'A'))));
SELECT flow_id, result FROM evq.events WHERE state = 'succeeded' ORDER BY flow_id;
SELECT accepted FROM evq_succeed_many((SELECT array_agg(event_id::text) FROM lab.held WHERE flow_id = 'f'), (SELECT array_agg(permit) FROM lab.held WHERE flow_id = 'f'));
SELECT accepted, state FROM evq_fail_many((SELECT array_agg(event_id::text) FROM lab.held WHERE flow_id = 'g'), (SELECT array_agg(permit) FROM lab.held WHERE flow_id = 'g'), 'no');
SELECT count(*) FROM evq_succeed_and_acquire('F', (SELECT array_agg(event_id::text) FROM lab.held WHERE flow_id = 'h'), (SELECT array_agg(permit) FROM lab.held WHERE flow_id = 'h'));
PREPARE succeed_many AS SELECT count(*) FROM evq_succeed_many($1, $2) WHERE accepted;
SELECT count(*) FROM evq_succeed_and_acquire('F', '{}', '{}', 5::bigint), evq_pending('F', 5::bigint), evq_redrive('A', now(), 5::bigint);
SELECT format('{%s}', event_id) AS ids, format('{%s}', permit) AS permits FROM lab.held WHERE flow_id = 'i' \gset
EXECUTE succeed_many (:'ids', :'permits');

-- A single id without a type is a uuid, for drivers that ask for the types and hold one; one of text has to be cast.
PREPARE one_id AS SELECT evq_event($1), evq_succeed($2, $3), evq_cancel($4);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'one_id';
CALL refused($$SELECT evq_event(text '00000000-0000-7000-8000-000000000000')$$);

-- Activations: the patch and the answer as json, as text and without a type; null is none.
CREATE FUNCTION lab.activated(flow_id text, OUT payload jsonb, OUT answer jsonb) LANGUAGE sql AS $$
	SELECT p.payload, e.answer FROM evq.events e JOIN evq.payloads p USING (event_id) WHERE e.flow_id = activated.flow_id
$$;
SELECT evq_publish('A', 'F', 'answered', '{"n": 1}') \gset
SELECT permit FROM evq_acquire(ev('answered')) \gset
SELECT evq_suspend(ev('answered'), :permit) \gset
SELECT evq_activate(ev('answered'), json_build_object('a', 1), json_build_object('by', 'json'));
SELECT * FROM lab.activated('answered');
SELECT permit FROM evq_acquire(ev('answered')) \gset
SELECT evq_suspend(ev('answered'), :permit) \gset
SELECT evq_activate(ev('answered'), '{"a": 2}'::varchar, '{"by": "varchar"}'::text, :permit);
SELECT * FROM lab.activated('answered');
SELECT permit FROM evq_acquire(ev('answered')) \gset
SELECT evq_suspend(ev('answered'), :permit) \gset
PREPARE activate AS SELECT evq_activate($1, $2, $3, $4);
EXECUTE activate (ev('answered'), '{"a": 3}', '{"by": "driver"}', :permit);
SELECT * FROM lab.activated('answered');
SELECT permit FROM evq_acquire(ev('answered')) \gset
SELECT evq_suspend(ev('answered'), :permit) \gset
SELECT evq_activate(ev('answered'), 'null', '4');
SELECT * FROM lab.activated('answered');
SELECT permit FROM evq_acquire(ev('answered')) \gset
SELECT evq_suspend(ev('answered'), :permit) \gset
SELECT evq_activate(ev('answered'), payload_patch => json_build_object('a', 5));
SELECT * FROM lab.activated('answered');

-- Delays: an array of interval, of text, or what has no type; NULL leaves them as they are.
SELECT evq_configure('D', 'F', attempt_delays => ARRAY['0 s', '1 min']) \gset
SELECT attempt_delays FROM evq.event_types WHERE event_type = 'D';
SELECT evq_configure('D', attempt_delays => '{2 s}') \gset
SELECT evq_configure('D', priority => 3, attempt_delays => NULL) \gset
SELECT attempt_delays FROM evq.event_types WHERE event_type = 'D';
SELECT evq_configure('D', attempt_delays => ARRAY['3 s', '4 s']::varchar[]) \gset
SELECT attempt_delays FROM evq.event_types WHERE event_type = 'D';
SELECT evq_configure('D', attempt_delays => ARRAY[interval '5 s']) \gset
SELECT attempt_delays FROM evq.event_types WHERE event_type = 'D';
PREPARE configure AS SELECT evq_configure($1, attempt_delays => $2);
EXECUTE configure ('D', '{6 s, 7 s}') \gset
SELECT attempt_delays FROM evq.event_types WHERE event_type = 'D';

-- Schedules.
SELECT evq_schedule('s1', '0 0 * * *', 'A', NULL, 's', priority => 5, make_job => false) \gset
SELECT evq_schedule('s2', '0 0 * * *', 'A', NULL, 42, json_build_object('n', 1), misfire => NULL, make_job => false) \gset
SELECT evq_schedule('s3', '0 0 * * *', 'A', NULL, 's', '{"n": 2}', make_job => false) \gset
SELECT evq_schedule('s4', '0 0 * * *', 'A', NULL, 's', NULL, make_job => false) \gset
SELECT name, flow_id, payload, priority, misfire FROM evq.schedule ORDER BY 1;

-- Out of range or of a type that can only be a mistake: refused, nothing published.
SELECT checksum() AS before \gset
CALL refused($$SELECT evq_publish('A', NULL, 'p', priority => 40000)$$);
CALL refused($$SELECT evq_publish('A', NULL, 'p', priority => -32769)$$);
CALL refused($$SELECT evq_publish('A', NULL, 'p', priority => 5000000000)$$);
CALL refused($$SELECT evq_publish_many('A', NULL, ARRAY['p'], ARRAY['{}'], priority => 40000)$$);
CALL refused($$SELECT evq_publish_many('A', NULL, ARRAY[1.5], ARRAY['{}'])$$);
CALL refused($$SELECT evq_publish_many('A', NULL, ARRAY['{}'::jsonb], ARRAY['{}'])$$);
CALL refused($$SELECT evq_publish_many('A', NULL, ARRAY[[1]], ARRAY['{}'])$$);
CALL refused($$SELECT evq_publish_many('A', NULL, ARRAY[1, NULL], ARRAY['{}', '{}'])$$);
CALL refused($$SELECT evq_publish_many('A', NULL, NULL, ARRAY['{}'])$$);
CALL refused($$SELECT evq_publish_many('A', NULL, 'p', ARRAY['{}'])$$);
CALL refused($$SELECT evq_publish_many('A', NULL, 1, ARRAY['{}'])$$);
CALL refused($$SELECT evq_acquire_next('F', 5000000000)$$);
CALL refused($$SELECT evq_succeed_and_acquire('F', '{}', '{}', 5000000000)$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "p", "priority": 40000}]')$$);
CALL refused($$SELECT evq_schedule('s5', '0 0 * * *', 'A', NULL, 'p', priority => 40000, make_job => false)$$);
CALL refused($$SELECT evq_publish('A', NULL, 4.2, '{}')$$);
CALL refused($$SELECT evq_publish('A', 'F', '{}'::jsonb)$$);
CALL refused($$SELECT evq_publish('A', 'F', 'p', 5)$$);
CALL refused($$SELECT evq_publish('A', NULL, NULL::int)$$);
CALL refused($$SELECT evq_publish('A', NULL, 'p', '{')$$);
CALL refused($$SELECT evq_publish_many('A', NULL, ARRAY['p'], ARRAY[1])$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": 1.5}]')$$);
CALL refused($$SELECT evq_publish_many('null'::jsonb)$$);
CALL refused($$SELECT evq_heartbeat(ARRAY['x'], ARRAY[1])$$);
CALL refused($$SELECT evq_heartbeat(ARRAY[1], ARRAY[1])$$);
CALL refused($$SELECT evq_schedule('s5', '0 0 * * *', 'A', NULL, 'p', 5, make_job => false)$$);
CALL refused($$SELECT evq_schedule('s5', '0 0 * * *', 'A', NULL, 4.2, make_job => false)$$);
CALL refused($$SELECT evq_activate(ev('answered'), '[]'::text)$$);
CALL refused($$SELECT evq_activate(ev('answered'), '{')$$);
CALL refused($$SELECT evq_activate(ev('answered'), 5)$$);
CALL refused($$SELECT evq_configure('D', attempt_delays => ARRAY['soon'])$$);
CALL refused($$SELECT evq_configure('D', attempt_delays => ARRAY[5])$$);
CALL refused($$SELECT evq_configure('D', attempt_delays => ARRAY['-5 s'])$$);
CALL refused($$SELECT evq_configure('D', attempt_delays => ARRAY[]::text[])$$);
SELECT checksum() = :'before' AS unchanged;
