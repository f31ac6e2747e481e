-- evq_publish_many: JSON objects of any types, and the fast path for one type.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', priority => 2) \gset
SELECT evq_configure('B', 'G', max_payload_bytes => 100) \gset
SELECT evq_configure('A_FAILED', 'F') \gset

CREATE TEMP TABLE published (place bigint, event_id uuid);
CREATE TEMP VIEW seen AS
SELECT place, flow_id, event_type, flow_type, priority, on_fail_event_type, payload, headers,
	CASE WHEN attempt_scheduled_at > published_at THEN attempt_scheduled_at END AS later
FROM published JOIN evq.events USING (event_id) JOIN evq.payloads USING (event_id);

-- Any mix of types; ids in the order of the array; null means as if left out.
INSERT INTO published SELECT ordinality, id FROM evq_publish_many('[
	{"event_type": "A", "flow_id": "1"},
	{"event_type": "B", "flow_id": "2", "flow_type": "G", "payload": {"n": 1}, "priority": 7, "headers": {"h": 1}},
	{"event_type": "A", "flow_id": "3", "payload": "text", "on_fail_event_type": "A_FAILED", "run_at": "2000-01-01", "idempotency_key": "k"},
	{"event_type": "A", "flow_id": "4", "flow_type": null, "payload": null, "on_fail_event_type": null, "run_at": null,
	 "priority": null, "idempotency_key": null, "headers": null}
]') WITH ORDINALITY AS id;
SELECT * FROM seen ORDER BY place;

-- The fast path.
TRUNCATE published;
INSERT INTO published SELECT ordinality, id
FROM evq_publish_many('A', 'F', '{x, y, x}', ARRAY['1', 'null', '{"n": 2}']::jsonb[], '2200-01-01', 5::smallint) WITH ORDINALITY AS id;
INSERT INTO published SELECT 4, id FROM evq_publish_many('A', NULL, '{z}', '{1}') AS id;
SELECT * FROM seen ORDER BY place;

-- Nothing to publish.
SELECT * FROM evq_publish_many('[]');
SELECT * FROM evq_publish_many(NULL);
SELECT * FROM evq_publish_many('A', NULL, '{}', '{}');

-- Many, and ids rise with the order.
SELECT count(*), count(DISTINCT id), bool_and(id > earlier) AS rising
FROM (SELECT id, lag(id) OVER (ORDER BY ordinality) AS earlier
	  FROM evq_publish_many('A', NULL, (SELECT array_agg('many-' || i) FROM generate_series(1, 2000) i),
							(SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 2000) i)) WITH ORDINALITY AS id) many;
SELECT count(*) FROM evq.events JOIN evq.payloads USING (event_id) WHERE flow_id = 'many-' || payload::text;

-- All or nothing, whatever is wrong with one; CONTEXT says with which.
SELECT checksum() AS before \gset
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1"}, {"event_type": "NONE_SUCH", "flow_id": "2"}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1"}, {"flow_id": "2"}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1"}, {"event_type": "A"}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1"}, {"event_type": "A", "flow_id": ""}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1"}, {"event_type": "A", "flow_id": true}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1"}, {"event_type": "A", "flow_type": "G", "flow_id": "2"}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1"}, 2]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1"}, null]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1"}, []]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1", "colour": "red"}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1", "Priority": 1}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1", "priority": "high"}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1", "priority": 1.5}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1", "priority": 32768}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1", "priority": 1e999}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1", "run_at": 5}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1", "run_at": "infinity"}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1", "run_at": "soon"}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1"}, {"event_type": "A", "flow_id": "2", "on_fail_event_type": "B"}]')$$);
CALL refused($$SELECT evq_publish_many(jsonb_build_array('{"event_type": "A", "flow_id": "1"}'::jsonb,
	jsonb_build_object('event_type', 'B', 'flow_id', '2', 'payload', repeat('x', 100))))$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "1", "idempotency_key": "k"}, {"event_type": "A", "flow_id": "3", "idempotency_key": "k", "payload": 3}]')$$);

-- Not an array.
CALL refused($$SELECT evq_publish_many('{"event_type": "A", "flow_id": "1"}')$$);
CALL refused($$SELECT evq_publish_many('"A"')$$);
CALL refused($$SELECT evq_publish_many('null')$$);

-- The fast path.
CALL refused($$SELECT evq_publish_many('A', NULL, '{x, y}', '{1}')$$);
CALL refused($$SELECT evq_publish_many('A', NULL, '{x, NULL}', '{1, 2}')$$);
CALL refused($$SELECT evq_publish_many('A', NULL, '{x, ""}', '{1, 2}')$$);
CALL refused($$SELECT evq_publish_many('A', NULL, '{{x, y}}', '{1, 2}')$$);
CALL refused($$SELECT evq_publish_many('A', NULL, NULL, '{1}')$$);
CALL refused($$SELECT evq_publish_many('A', NULL, '{x}', NULL)$$);
CALL refused($$SELECT evq_publish_many(NULL, NULL, '{x}', '{1}')$$);
CALL refused($$SELECT evq_publish_many('A', 'G', '{x}', '{1}')$$);
CALL refused($$SELECT evq_publish_many('A', NULL, '{x}', '{1}', 'infinity')$$);
CALL refused($$SELECT evq_publish_many('B', NULL, '{x, y}', ARRAY['1', to_jsonb(repeat('x', 100))])$$);
SELECT checksum() = :'before' AS unchanged;
