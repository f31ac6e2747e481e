-- evq.read_batch_report(): what a handler of evq-worker says of events of its batch.
BEGIN;
SELECT * FROM no_plan();

SELECT evq_configure('SAID', 'FLOW_SAID', attempt_delays => '{0 s}') \g /dev/null
SELECT evq_publish_many('SAID', NULL, array_fill('case'::text, '{4}'), array_fill('{}'::jsonb, '{4}')) \g /dev/null
SELECT token, event_ids FROM evq_acquire_batch('FLOW_SAID') \gset
SELECT format('CREATE FUNCTION pg_temp.id(n int) RETURNS text LANGUAGE sql AS %L', format('SELECT (%L::uuid[])[n]::text', :'event_ids')) \gexec
CREATE FUNCTION pg_temp.read(report text, with_rest boolean DEFAULT false) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE $q$SELECT concat_ws(' ', array_position(b.event_ids, r.event_id), r.outcome, r.output, r.error_message, r.stack_trace, r.retryable)
		FROM batch b, evq.read_batch_report(b.token, $1, $2) r ORDER BY array_position(b.event_ids, r.event_id)$q$ USING report, with_rest;
END
$$;
CREATE FUNCTION pg_temp.error(report text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT string_agg(r, ', ') FROM pg_temp.read(report) r);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
CREATE TEMP TABLE batch AS SELECT :'token' AS token, :'event_ids'::uuid[] AS event_ids;

SELECT is_empty($$SELECT pg_temp.read('')$$, 'nothing');
SELECT is_empty($$SELECT pg_temp.read(E'\n \t\r\n')$$, 'blank lines');
SELECT results_eq($$SELECT pg_temp.read('', true)$$, ARRAY['1', '2', '3', '4'], 'nothing, and the rest');
SELECT results_eq(format($$SELECT pg_temp.read(%L)$$, format(E'{"event_id": "%s"}\r\n\n{"event_id": "%s", "error_message": "no", "stack_trace": "at\\nb", "retryable": false}\n'
	'{"event_id": "%s", "result": {"a": null}, "spinoffs": null}\n{"event_id": "%s", "snooze_seconds": 5}', pg_temp.id(4), upper(pg_temp.id(2)), pg_temp.id(1), pg_temp.id(3))),
	ARRAY['1 success {"result": {"a": null}} t', E'2 failure no at\nb f', '3 snooze {"snooze_seconds": 5} t', '4 success t'], 'one of each');
SELECT results_eq(format($$SELECT pg_temp.read(%L, true)$$, format('{"event_id": "%s", "error_message": null, "result": null}', pg_temp.id(3))),
	ARRAY['1', '2', '3 success t', '4'], 'null is as left out');
SELECT results_eq(format($$SELECT r.permit FROM evq.read_batch_report(%L, '', true) r ORDER BY r.event_id$$, :'token'), format($$SELECT p.permit FROM evq_batch_permits(%L) p ORDER BY p.event_id$$, :'token'), 'permits');
SELECT matches(pg_temp.error(replace(report, 'ID', pg_temp.id(1))), wanted, report) FROM (VALUES
	('{"event_id": "ID"', '^EQ006 line 1 is not JSON'), (E'\n\n{"event_id": "ID"} x', '^EQ006 line 3 is not JSON'), ('{"event_id": "ID", "result": "\u0000"}', '^EQ006 line 1 is not JSON'),
	(repeat('[', 100000), '^EQ006 line 1 is not JSON'),
	('[]', '^EQ006 line 1 is not an object with an event_id'), ('"x"', '^EQ006 line 1 is not an object'), ('null', '^EQ006 line 1 is not an object'), ('{}', '^EQ006 line 1 is not an object with'),
	('{"event_id": 5}', '^EQ006 line 1 names an event that is not of the batch'), ('{"event_id": "x"}', '^EQ006 line 1 names'), (E'{"event_id": "ID"}\n{"event_id": "ID"}', '^EQ006 line 2 names .* or was named before'),
	('{"event_id": "ID", "resutl": 1}', '^EQ006 line 1 has keys that no success has'), ('{"event_id": "ID", "result": 1, "snooze_seconds": 1}', '^EQ006 line 1 has keys that no snooze has'),
	('{"event_id": "ID", "error_message": "no", "result": 1}', '^EQ006 line 1 has keys that no failure has'),
	('{"event_id": "ID", "error_message": 1}', '^EQ006 line 1 has a value of another type'), ('{"event_id": "ID", "error_message": "no", "retryable": "no"}', '^EQ006 line 1 has a value of another type'),
	('{"event_id": "ID", "error_message": "no", "stack_trace": []}', '^EQ006 line 1 has a value of another type')) v (report, wanted);
SELECT throws_ok($$SELECT evq.read_batch_report('x', '', false)$$, 'EQ006', NULL, 'no token');

SELECT * FROM finish();
ROLLBACK;
