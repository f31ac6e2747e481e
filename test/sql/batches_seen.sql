-- Nobody has to know which events are stored in batches: the same story, told of events with rows of their own and of such, is
-- the same in every list and look-up.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

CREATE TABLE lab.said (stored boolean, moment int, list text, place bigint, line text);
-- Without ids, times and permits.
CREATE FUNCTION lab.plain(line text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT regexp_replace(regexp_replace(regexp_replace(regexp_replace(line, '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<id>', 'g'),
		'[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+([-+][0-9:]+)?', '<time>', 'g'), '"permit": -?[1-9][0-9]*', '"permit": <permit>', 'g'),
		'[A-Z][a-z]{2} [A-Z][a-z]{2} [0-9]{2} [0-9:.]+ [0-9]{4} [A-Z]+', '<time>', 'g')
$$;
-- Every list that can be asked, with its rows in order where it has one.
CREATE FUNCTION lab.lists() RETURNS TABLE (list text, query text) LANGUAGE sql AS $$
	VALUES ('queue', $q$SELECT to_jsonb(q) || jsonb_build_object('longest_in_state', longest_in_state >= '0', 'oldest', oldest >= longest_in_state)
			FROM evq.queue q ORDER BY flow_type, event_type, state$q$),
		('workers', 'SELECT to_jsonb(w) FROM evq.workers w ORDER BY worker'),
		('blocked', 'SELECT to_jsonb(b) FROM evq.blocked_flows b ORDER BY b::text'),
		('pending', $q$SELECT to_jsonb(p) FROM evq_pending('F') p$q$),
		('pending 3', $q$SELECT to_jsonb(p) FROM evq_pending('F', 3) p$q$),
		('counts', 'SELECT to_jsonb(c) FROM evq_counts() c ORDER BY event_type, state'),
		('errors', 'SELECT to_jsonb(r) FROM evq.errors r ORDER BY flow_id, attempt'),
		('events', 'SELECT to_jsonb(e) FROM evq.events e ORDER BY event_id'),
		('by id', 'SELECT to_jsonb(b) FROM evq.events e, evq.events_by_id(ARRAY[e.event_id, e.event_id]) b ORDER BY e.event_id'),
		('payloads', 'SELECT to_jsonb(p) FROM evq.payloads p ORDER BY event_id'),
		('event', 'SELECT evq_event(e.event_id) FROM evq.events e ORDER BY event_id'),
		('findings', $q$SELECT to_jsonb(c) FROM evq.check_work('-1 s') c ORDER BY c::text$q$),
		('http pending', $q$SELECT evq_http.pending('F', '{}', NULL, NULL)$q$),
		('http counts', $q$SELECT evq_http.counts(NULL, '{"flow_type": "F"}', NULL, NULL)$q$),
		('http errors', $q$SELECT evq_http.errors(NULL, '{}', NULL, NULL)$q$),
		('http event', $q$SELECT evq_http.event(lab.ev('b')::text, '{}', NULL, NULL)$q$)
	UNION ALL
	SELECT 'http events ' || f, format('SELECT evq_http.events(NULL, %L, NULL, NULL) #- ''{searched,events}''', replace(f, 'ID', lab.ev('c')::text))
	FROM unnest('{"{}", "{\"limit\": \"4\"}", "{\"status\": \"AWAITING_PROCESSING,BEING_PROCESSED\"}", "{\"status\": \"SUCCEEDED\"}", "{\"status\": \"FAILED,CANCELED\"}",
		"{\"flow_id\": \"c\"}", "{\"q\": \"d\"}", "{\"q\": \"ID\"}", "{\"q\": \"type:B\"}", "{\"event_type\": \"A\", \"q\": \"status:succeeded\"}",
		"{\"q\": \"payload.n:3\"}", "{\"flow_type\": \"NONE\"}"}'::text[]) f
	UNION ALL VALUES ('http next page', $q$SELECT evq_http.events(NULL, jsonb_build_object('limit', '4', 'after', lab.ev('f')), NULL, NULL)$q$),
		('mcp', $q$SELECT answer FROM evq_http.mcp('{"mcp-protocol-version": "2025-06-18"}', '{"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "evq://flows/F/pending"}}')$q$)
$$;
CREATE PROCEDURE lab.look(stored boolean, moment int) LANGUAGE plpgsql AS $$
DECLARE
	l record;
BEGIN
	FOR l IN SELECT * FROM lists() LOOP
		EXECUTE format('INSERT INTO lab.said SELECT %L, %s, %L, row_number() OVER (), lab.plain(a.answer::text) FROM (%s) a(answer)', stored, moment, l.list, l.query);
	END LOOP;
END
$$;
CREATE PROCEDURE lab.tell(stored boolean) LANGUAGE plpgsql AS $$
DECLARE
	one record;
BEGIN
	PERFORM set_config('evq.store_batches_from', stored::int::text, false);
	TRUNCATE evq.event, evq.event_payload, evq.event_history, evq.event_error, evq.idempotency, evq.log, evq.batch, evq.backlog, evq.run, evq.exception;
	PERFORM evq_unsuspend_event_type('B');
	COMMIT;
	PERFORM evq_publish_many('A', NULL, string_to_array('a b c d e f g h i j', ' '), (SELECT array_agg(jsonb_build_object('n', n)) FROM generate_series(1, 10) n));
	COMMIT;
	PERFORM evq_publish_many((SELECT jsonb_agg(jsonb_build_object('event_type', 'B', 'flow_id', f, 'payload', f, 'headers', jsonb_build_object('h', f))) FROM unnest('{k, l}'::text[]) f));
	PERFORM evq_publish_many('A', NULL, '{m, n}', '{1, 2}', clock_timestamp() + '1 h');
	PERFORM evq_publish('B', NULL, 'single');
	COMMIT;
	CALL lab.look(stored, 1);
	SELECT * INTO one FROM evq_acquire_batch('F', 5, '{A}', 'w');
	COMMIT;
	PERFORM evq_acquire_next('F', 1, '{A}');
	PERFORM evq_acquire(lab.ev('i'), 'by id');
	COMMIT;
	CALL lab.look(stored, 2);
	PERFORM evq_succeed_batch(one.token, (one.event_ids)[3:5]);
	COMMIT;
	PERFORM evq_fail_batch(one.token, 'no luck', (one.event_ids)[3:3], retryable => false);
	COMMIT;
	PERFORM evq_fail_batch(one.token, 'not yet', (one.event_ids)[4:4]);
	COMMIT;
	PERFORM evq_cancel(lab.ev('h'), 'why not');
	COMMIT;
	PERFORM evq_suspend(lab.ev('f'), lab.permit('f'));
	PERFORM evq_suspend_event_type('B');
	COMMIT;
	CALL lab.look(stored, 3);
	PERFORM evq_succeed(lab.ev('e'), lab.permit('e'), spinoffs => '[{"event_type": "A", "payload": "child"}]');
	PERFORM evq_succeed(lab.ev('i'), lab.permit('i'), '{"all": "well"}');
	PERFORM evq_retry(lab.ev('c'));
	COMMIT;
	CALL lab.look(stored, 4);
END
$$;
SELECT evq_configure_flow('F', delivery => 'pull'), evq_configure_flow('NONE', delivery => 'pull') \gset
SELECT evq_configure('A', 'F', lifespan => '1 day', max_attempts => 3, attempt_delays => '{0}'), evq_configure('B', 'F', priority => 5) \gset

CALL tell(false);
CALL tell(true);
SELECT coalesce(a.stored, b.stored) AS stored, coalesce(a.moment, b.moment) AS moment, coalesce(a.list, b.list) AS list, place, a.line AS row, b.line AS in_batch
FROM (SELECT * FROM said WHERE NOT stored) a FULL JOIN (SELECT * FROM said WHERE stored) b USING (moment, list, place)
WHERE a.line IS DISTINCT FROM b.line ORDER BY 2, 3, 4;
SELECT list, array_agg(lines ORDER BY moment) AS lines FROM (SELECT moment, list, count(*) AS lines FROM said WHERE stored GROUP BY 1, 2) s GROUP BY 1 ORDER BY 1;
SELECT moment, list, line FROM said WHERE stored AND list IN ('queue', 'workers', 'blocked', 'counts', 'findings') ORDER BY 2, 1, place;
SELECT count(*) AS in_batches FROM evq.batch_event;

-- Long lists come in pages, each event once, newest first.
CREATE FUNCTION lab.pages(query jsonb) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb := evq_http.events(NULL, query, NULL, NULL);
	ids uuid[] := '{}';
BEGIN
	LOOP
		ids := ids || ARRAY(SELECT (e ->> 'event_id')::uuid FROM jsonb_array_elements(answer -> 'events') WITH ORDINALITY l (e, n) ORDER BY n);
		EXIT WHEN answer ->> 'next' IS NULL;
		answer := evq_http.events(NULL, query || jsonb_build_object('after', answer -> 'next'), NULL, NULL);
	END LOOP;
	RETURN ids;
END
$$;
TRUNCATE evq.event, evq.event_payload, evq.event_history, evq.event_error, evq.log, evq.batch, evq.backlog, evq.run, evq.exception;
SET evq.store_batches_from = 8;
SELECT count(evq_publish('A', NULL, 'alone')) FROM generate_series(1, 3);
SELECT count(*) FROM evq_publish_many('A', NULL, array_fill('many'::text, '{2600}'), (SELECT array_agg(to_jsonb(n)) FROM generate_series(1, 2600) n));
SELECT count(evq_publish('A', NULL, 'alone')) FROM generate_series(1, 3);
SELECT count(*) FROM evq_publish_many('A', NULL, array_fill('more'::text, '{20}'), array_fill('{}'::jsonb, '{20}'));
SELECT count(evq_cancel(event_id)) FROM (SELECT event_id FROM evq.events WHERE flow_id = 'many' ORDER BY event_id OFFSET 990 LIMIT 20) e;
SELECT count(*) FROM evq.batch;
SELECT q, pages(q) = ARRAY(SELECT e.event_id FROM evq.events e WHERE q ->> 'flow_id' IS NULL OR e.flow_id = q ->> 'flow_id' ORDER BY e.event_id DESC) AS all_once
FROM unnest('{"{\"limit\": \"500\"}", "{\"limit\": \"499\", \"flow_id\": \"many\"}", "{\"limit\": \"500\", \"flow_id\": \"alone\"}"}'::jsonb[]) q;
SELECT cardinality(pages('{"status": "CANCELED"}')) AS canceled, cardinality(pages('{"q": "payload.n:no"}')) AS none;
SELECT evq_http.events(NULL, '{"q": "payload:x", "limit": "1"}', NULL, NULL) -> 'searched' -> 'events' AS searched;

-- What waits, in its order, over batches and rows.
SELECT array_agg(flow_id || count) FROM (
	SELECT flow_id, count(*) FROM evq_pending('F', 3000) WITH ORDINALITY p GROUP BY flow_id, ordinality - (CASE WHEN flow_id = 'alone' THEN 0 ELSE ordinality END) ORDER BY min(ordinality)) p;
SELECT count(*), count(DISTINCT event_id), bool_and(state = 'awaiting_processing') FROM evq_pending('F', 2700);
SELECT count(*) FROM evq_pending('F', 2605);
SELECT flow_id, count(*) FROM evq_pending('F', 5) GROUP BY 1 ORDER BY 1;

-- Without a dispatcher, too, what comes first is had first: by priority, then by time.
TRUNCATE evq.event, evq.event_payload, evq.event_history, evq.event_error, evq.log, evq.batch, evq.backlog, evq.run, evq.exception;
SET evq.store_batches_from = 2;
SELECT count(evq_publish('A', NULL, 'first'));
SELECT count(*) FROM evq_publish_many('A', NULL, '{second, third}', '{1, 2}');
SELECT count(evq_publish('A', NULL, 'fourth'));
SELECT count(*) FROM evq_publish_many((SELECT jsonb_agg(jsonb_build_object('event_type', 'A', 'flow_id', 'urgent ' || n, 'priority', 9)) FROM generate_series(1, 4) n));
SELECT count(evq_publish('A', NULL, 'most urgent', priority => 10));
SELECT array_agg(flow_id) FROM evq_acquire_next('F', 2);
SELECT array_agg(flow_id) FROM evq_acquire_next('F', 2);
SELECT array_agg(flow_id) FROM evq_acquire_next('F', 100);

-- A schedule's last event may be in one.
SET evq.store_batches_from = 1;
SELECT evq_schedule('s', '0 0 1 1 *', 'A', 'F', 'scheduled', overlap => 'skip', make_job => false) \gset
SELECT count(evq_run_schedule('s'));
SELECT count(*) FROM evq.batch_event WHERE flow_id = 'scheduled';
SELECT evq.is_at_work(s) FROM evq.schedule s;
SELECT evq_succeed(event_id, permit) FROM evq_acquire(ev('scheduled'));
SELECT evq.is_at_work(s) FROM evq.schedule s;

-- A permit that ends with the lifespan moves along with that.
TRUNCATE evq.event, evq.event_payload, evq.event_history, evq.event_error, evq.log, evq.batch, evq.backlog, evq.run, evq.exception;
SELECT evq_configure('A', lifespan => '1000 s', attempt_timeout => '10 s') \gset
SELECT count(*) FROM evq_publish_many('A', NULL, '{to the end, short}', '{1, 2}');
SELECT flow_id FROM evq_acquire_next('F', 1, permit_for => '1 day');
SELECT flow_id FROM evq_acquire_next('F', 1);
SELECT evq_configure('A', lifespan => '5000 s') \gset
CREATE VIEW lab.ends AS SELECT flow_id, seconds(state_due_at - published_at), state FROM evq.events ORDER BY event_id;
SELECT * FROM ends;
SELECT max(seconds(next_permit_due_at - oldest_acquired_at)) FROM evq.workers;
SELECT evq_heartbeat(ARRAY[ev('to the end')], ARRAY[permit('to the end')], '1 day') IS NOT NULL AS held;
SELECT * FROM ends;
SELECT evq_configure('A', lifespan => '100 s') \gset
SELECT * FROM ends;
SET evq.debug_clock_offset = 50;
SELECT timed_out, expired FROM evq_tick();
SET evq.debug_clock_offset = 101;
SELECT timed_out, expired FROM evq_tick();
RESET evq.debug_clock_offset;
SELECT * FROM ends;

-- What users have added to the table of live events is for all of them.
SELECT evq_configure('A', lifespan => '1 day') \gset
TRUNCATE evq.event, evq.event_payload, evq.event_history, evq.event_error, evq.log, evq.batch, evq.backlog, evq.run, evq.exception;
BEGIN;
ALTER TABLE evq.event ADD COLUMN mine text DEFAULT 'mine';
SELECT count(*) FROM evq_publish_many('A', NULL, '{a, b}', '{1, 2}');
SELECT count(*), min(mine) FROM evq.event;
ALTER TABLE evq.event DROP COLUMN mine;
SELECT count(*) FROM evq_publish_many('A', NULL, '{a, b}', '{1, 2}');
SELECT (SELECT count(*) FROM evq.event), (SELECT count(*) FROM evq.log);
ALTER TABLE evq.event ADD CONSTRAINT mine CHECK (flow_id <> 'bad');
SELECT sqlstate($$SELECT count(*) FROM evq_publish_many('A', NULL, '{good, bad}', '{1, 2}')$$);
ALTER TABLE evq.event DROP CONSTRAINT mine;
CREATE INDEX ON evq.event (flow_id);
SELECT count(*) FROM evq_publish_many('A', NULL, '{c, c}', '{1, 2}');
SELECT (SELECT count(*) FROM evq.event), (SELECT count(*) FROM evq.log);
CREATE UNIQUE INDEX ON evq.event (flow_id) WHERE flow_id = 'only one';
SELECT sqlstate($$SELECT count(*) FROM evq_publish_many('A', NULL, '{only one, only one}', '{1, 2}')$$);
ROLLBACK;
