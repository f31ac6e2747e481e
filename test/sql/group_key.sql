-- Group keys: given by the publisher, or derived by the flow's group_by, and kept by what follows from an event.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', 1, on_fail_event_type => NULL), evq_configure('FAILED', 'F') \gset
SELECT evq_configure('A', on_fail_event_type => 'FAILED') \gset

-- Given.
SELECT evq_publish('A', NULL, 'none') \gset
SELECT evq_publish('A', NULL, 'given', group_key => 'tenant-1') \gset
SELECT evq_publish('A', NULL, 7, group_key => 'tenant-2') \gset
SELECT evq_publish_many('[{"event_type": "A", "flow_id": "json", "group_key": "tenant-3"}, {"event_type": "A", "flow_id": "number", "group_key": 12},
	{"event_type": "A", "flow_id": "null", "group_key": null}]') \g /dev/null
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY['m1', 'm2', 'm3'], ARRAY['{}', '{}', '{}'], group_keys => ARRAY['x', NULL, 'z']);
SELECT flow_id, group_key FROM evq.events ORDER BY event_id;
SELECT evq_event(ev('given')) ->> 'group_key' AS group_key;

-- Kept by spinoffs, unless they have one of their own, by on-fail events, by a retry, and when it is finished.
SELECT FROM evq_acquire(ev('given'));
SELECT FROM evq_succeed(ev('given'), NULL, NULL, '[{"event_type": "A"}, {"event_type": "A", "group_key": "other"}]');
SELECT event_type, state, group_key FROM evq.events WHERE flow_id = 'given' ORDER BY event_id;
SELECT FROM evq_acquire(ev('json'));
SELECT evq_fail(ev('json'), 'no');
SELECT event_type, state, group_key FROM evq.events WHERE flow_id = 'json' ORDER BY event_id;
SELECT FROM evq_retry(ev('json', 'A'));
SELECT event_type, state, group_key FROM evq.events WHERE flow_id = 'json' ORDER BY event_id;
SELECT FROM evq_acquire(ev('m1'));
SELECT evq_suspend(ev('m1'), permit('m1'), '1 hour') IS NOT NULL AS suspended;
SELECT evq_activate(ev('m1'), '{"n": 2}', '1');
SELECT state, group_key FROM evq.events WHERE flow_id = 'm1';

-- Derived.
CREATE FUNCTION lab.grouped(rule text, flow_id text, payload text DEFAULT '{}', headers text DEFAULT NULL, group_key text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id uuid;
BEGIN
	PERFORM evq_configure_flow('F', group_by => rule);
	id := evq_publish('A', NULL, flow_id, payload, headers => headers, group_key => group_key);
	RETURN (SELECT e.group_key FROM evq.events e WHERE e.event_id = id);
END
$$;
SELECT given.*, grouped(given.rule, given.flow_id, given.payload, given.headers)
FROM (VALUES ('flow_id', 'a/b/c', '{}', NULL), ('flow_id/1', 'a/b/c', '{}', NULL), ('flow_id/2', 'a/b/c', '{}', NULL), ('flow_id/3', 'a/b/c', '{}', NULL),
	('flow_id/1', 'abc', '{}', NULL), ('flow_id/1', '/abc', '{}', NULL),
	('header:tenant', 'f', '{}', '{"tenant": "t1"}'), ('header:tenant', 'f', '{}', '{"tenant": 5}'), ('header:tenant', 'f', '{}', '{"other": "t1"}'),
	('header:tenant', 'f', '{}', NULL), ('header:tenant', 'f', '{}', '["tenant"]'), ('header:a b', 'f', '{}', '{"a b": "spaced"}'),
	('payload:', 'f', '"all of it"', NULL), ('payload:', 'f', '{"a": 1}', NULL),
	('payload:/a', 'f', '{"a": "x"}', NULL), ('payload:/a/b', 'f', '{"a": {"b": true}}', NULL), ('payload:/a/1', 'f', '{"a": ["x", "y"]}', NULL),
	('payload:/a/2', 'f', '{"a": ["x", "y"]}', NULL), ('payload:/a/-', 'f', '{"a": ["x"]}', NULL), ('payload:/a', 'f', '{"a": {"b": 1}}', NULL),
	('payload:/a', 'f', '{"a": null}', NULL), ('payload:/a', 'f', '{"a": ""}', NULL), ('payload:/a', 'f', '[]', NULL), ('payload:/a/b', 'f', '{"a": 1}', NULL),
	('payload:/x~1y/~0z', 'f', '{"x/y": {"~z": 1.50}}', NULL), ('payload:/', 'f', '{"": "empty"}', NULL)) given (rule, flow_id, payload, headers);
SELECT grouped('flow_id', 'f', group_key => 'given counts') AS given, grouped('', 'f') AS nothing;
SELECT grouped('payload:/a', 'f', format('{"filler": "%s", "a": "large"}', repeat('x', 20000))) AS large;
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY['large'], ARRAY[format('{"filler": "%s", "a": "larger"}', repeat('x', 20000))]);
SELECT group_key FROM evq.events WHERE flow_id = 'large';
SELECT flow_type, group_by FROM evq.flows;

-- The on-fail event and the spinoffs of an event without a group have what group_by says.
SELECT evq_configure_flow('F', group_by => 'flow_id') \gset
SELECT FROM evq_acquire(ev('none'));
SELECT evq_fail(ev('none'), 'no');
SELECT event_type, state, group_key FROM evq.events WHERE flow_id = 'none' ORDER BY event_id;

-- Refused.
CALL refused($$SELECT evq_publish('A', NULL, 'f', group_key => '')$$);
CALL refused($$SELECT evq_publish('A', NULL, 'f', group_key => repeat('x', 256))$$);
CALL refused($$SELECT evq_publish('A', NULL, 'f', group_key => repeat('x', 10000000))$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "f"}, {"event_type": "A", "flow_id": "f", "group_key": ["x"]}]')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "f", "group_key": 1.5}]')$$);
CALL refused($$SELECT evq_publish_many('A', NULL, ARRAY['a', 'b'], ARRAY['{}', '{}'], group_keys => ARRAY['x'])$$);
CALL refused($$SELECT evq_publish_many('A', NULL, ARRAY['a', 'b'], ARRAY['{}', '{}'], group_keys => '{{a,b}}')$$);
CALL refused($$SELECT evq_publish_many('A', NULL, ARRAY['a', 'b'], ARRAY['{}', '{}'], group_keys => ARRAY['x', ''])$$);
CALL refused($$SELECT evq_configure_flow('F', group_by => 'payload:/a'), evq_publish('A', NULL, 'f', format('{"a": "%s"}', repeat('x', 256)))$$);

SELECT left(rule, 12) AS rule, sqlstate(format('SELECT evq_configure_flow(''F'', group_by => %L)', rule))
FROM (VALUES ('flow'), ('flow_id/0'), ('flow_id/10'), ('flow_id '), ('header:'), ('payload:a'), ('payload'), ('header:' || repeat('x', 249))) bad (rule);
CALL refused($$SELECT evq_configure_flow('F', group_by => 'flow')$$);
