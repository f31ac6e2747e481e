-- Whatever text evq_http.mcp() is given, it answers: with JSON on one line, or nothing, and a status that fits. Bodies are
-- mutations of good ones, the same in every run.
BEGIN;
SELECT * FROM no_plan();

SELECT evq_configure('RIDE', 'FLOW_MCP'), evq_publish('RIDE', NULL, 'one') AS id \gset

CREATE TEMP TABLE seed (n int GENERATED ALWAYS AS IDENTITY, body text);
INSERT INTO seed (body)
SELECT jsonb_build_object('jsonrpc', '2.0', 'id', 1, 'method', method, 'params', params::jsonb || meta)::text
FROM (VALUES
	('initialize', '{"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}'),
	('ping', '{}'), ('server/discover', '{}'), ('tools/list', '{}'), ('resources/list', '{"cursor": "config://A"}'), ('resources/templates/list', '{}'),
	('resources/read', '{"uri": "metrics://queues"}'), ('resources/read', '{"uri": "config://RIDE"}'), ('resources/read', '{"uri": "events://pending/FLOW_MCP"}'),
	('resources/read', '{"uri": "event://' || :'id' || '"}'),
	('tools/call', '{"name": "publish_event", "arguments": {"event_type": "RIDE", "flow_id": "f", "payload": {"a": [1, "b", null]}, "priority": 1, "run_at": "2030-01-01T00:00:00Z"}}'),
	('tools/call', '{"name": "acquire_processing_permit", "arguments": {"event_id": "' || :'id' || '", "worker": "w", "permit_for": "PT5M"}}'),
	('tools/call', '{"name": "report_success", "arguments": {"event_id": "' || :'id' || '", "permit": 4294967297, "result": 1, "spinoffs": [{"event_type": "RIDE"}]}}'),
	('tools/call', '{"name": "report_failure", "arguments": {"event_id": "' || :'id' || '", "error_message": "e", "retryable": true, "retry_in": "PT1S"}}'),
	('tools/call', '{"name": "update_lifecycle_config", "arguments": {"event_type": "RIDE", "max_attempts": 5, "attempt_delays": ["PT0S", "PT10S"], "jitter": 0.5}}'),
	('tools/call', '{"name": "list_events", "arguments": {"limit": 5, "status": "SUCCEEDED", "after": "' || :'id' || '"}}'),
	('tools/call', '{"name": "queue_status"}'), ('tools/call', '{"name": "cancel_event", "arguments": {"event_id": "' || :'id' || '"}}')) requests (method, params),
	unnest(ARRAY['{}', '{"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}']::jsonb[]) meta;
INSERT INTO seed (body) SELECT '[' || string_agg(body, ',') || ']' FROM seed;
INSERT INTO seed (body) VALUES ('{"jsonrpc": "2.0", "method": "notifications/initialized"}'), ('{"jsonrpc": "2.0", "id": 1, "result": {}}');

CREATE FUNCTION pg_temp.mutated(body text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	tokens text[] := ARRAY['{', '}', '[', ']', ',', ':', '"', '\', '\u0000', '\ud800', '\udc00\ud800', '\u00e9', 'null', 'true', '-', '0', '1e5', '1e400', '-0.0', '1e-999999',
		'99999999999999999999', '""', '{}', '[]', '[[[[[[[[', '"jsonrpc"', '"id"', '"method"', '"params"', '"_meta"', '"arguments"', '"name"', '2026-07-28', '2025-03-26', E'\n', E'\t',
		E'\x01', E'\x7f', 'ü', '日本', '😀', '%s', '$1', '''', ';', '--', '=?base64?', 'PT1S', 'infinity', '-infinity', 'NaN', 'epoch', 'event://', repeat('9', 200), repeat('x', 3000)];
	place int;
	length int;
BEGIN
	FOR n IN 0 .. floor(random() * random() * 3)::int LOOP
		place := floor(random() * char_length(body))::int;
		length := floor(random() * random() * 30)::int;
		CASE floor(random() * 12)::int
		WHEN 0 THEN body := overlay(body PLACING '' FROM place + 1 FOR length);
		WHEN 1 THEN body := overlay(body PLACING tokens[1 + floor(random() * cardinality(tokens))::int] FROM place + 1 FOR 0);
		WHEN 2 THEN body := overlay(body PLACING tokens[1 + floor(random() * cardinality(tokens))::int] FROM place + 1 FOR length);
		WHEN 3 THEN body := overlay(body PLACING substr(body, floor(random() * char_length(body))::int + 1, length) FROM place + 1 FOR 0);
		WHEN 4 THEN body := left(body, place);
		ELSE
			-- One value of the JSON becomes another one, so that the body stays well-formed.
			body := regexp_replace(body, '("[^"]*"|[0-9]+|\{\}|\[\]|null|true)(?=\s*[,}\]])', (ARRAY['null', 'true', '-1', '0.5', '1e30', '""', '"x"', '{}', '[]', '[{}]', '{"a": 1}', '"2026-07-28"',
				'"tools/call"', '99999999999999999999', '"\n\u00fc"'])[1 + floor(random() * 15)::int], 1, 1 + floor(random() * 14)::int);
		END CASE;
	END LOOP;
	RETURN body;
END
$$;

-- Each body goes in as it comes by stdio and by HTTP with one of several sets of headers.
CREATE TEMP TABLE answered (body text, status int, answer text, failure text);
DO $$
DECLARE
	variants jsonb[] := ARRAY[NULL, NULL, NULL, '{}', '{"mcp-protocol-version": "2025-11-25"}', '{"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "publish_event"}',
		'{"mcp-protocol-version": "2025-03-26"}', '{"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}', '{"mcp-protocol-version": null, "mcp-name": ["x"]}'];
	seeds text[] := (SELECT array_agg(body ORDER BY n) FROM seed);
	given text;
	got answered;
BEGIN
	PERFORM setseed(0.55);
	FOR n IN 1 .. 4000 LOOP
		given := pg_temp.mutated(seeds[1 + n % cardinality(seeds)]);
		got := (given, NULL, NULL, NULL);
		BEGIN
			SELECT m.status, m.answer INTO got.status, got.answer FROM evq_http.mcp(variants[1 + n % cardinality(variants)], given, n % 3 > 0) m;
			PERFORM got.answer::json;
		EXCEPTION WHEN OTHERS THEN
			got.failure := SQLSTATE || ' ' || SQLERRM;
		END;
		INSERT INTO answered SELECT got.*;
	END LOOP;
END
$$;
SELECT is_empty('SELECT failure, body FROM answered WHERE failure IS NOT NULL', 'nothing raises an error or is no JSON');
SELECT is_empty($$SELECT body, answer FROM answered WHERE answer ~ E'[\n\r]'$$, 'no answer has more than one line');
SELECT is_empty($$SELECT body, status, answer FROM answered WHERE CASE status
	WHEN 200 THEN answer::json ->> 'jsonrpc' IS DISTINCT FROM '2.0' AND json_typeof(answer::json) <> 'array'
		OR json_typeof(answer::json) = 'object' AND (answer::json -> 'result' IS NULL) = (answer::json -> 'error' IS NULL)
	WHEN 202 THEN answer IS NOT NULL
	WHEN 400 THEN answer::json #>> '{error,code}' NOT IN ('-32700', '-32600', '-32602', '-32020', '-32022')
	WHEN 404 THEN answer::json #>> '{error,code}' <> '-32601'
	ELSE true END$$, 'each has a status that fits it');
SELECT is_empty($$SELECT body, answer FROM answered WHERE answer::json #>> '{error,code}' = '-32603'$$, 'none is an internal error');
SELECT cmp_ok((SELECT count(*)::int FROM answered WHERE status = wanted), '>', 0, 'some had the status ' || wanted) FROM unnest('{200, 202, 400, 404}'::int[]) wanted;
SELECT cmp_ok((SELECT count(*)::int FROM answered WHERE answer ~ '"isError" : true'), '>', 100, 'some were errors of tools');

SELECT * FROM finish();
ROLLBACK;
