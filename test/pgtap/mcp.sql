-- evq_http.mcp(): every method, tool, resource and refusal, in both eras of the protocol.
BEGIN;
SELECT * FROM no_plan();

SELECT evq_configure_flow('FLOW_MCP'), evq_configure('RIDE', 'FLOW_MCP'), evq_configure('a:b', 'FLOW_MCP') \g /dev/null

-- An answer as one value: its status beside its body, which must be JSON on one line.
CREATE FUNCTION pg_temp.ask(body text, headers jsonb DEFAULT NULL, allow_writes boolean DEFAULT true) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	got record := evq_http.mcp(headers, body, allow_writes);
BEGIN
	IF got.answer ~ E'\n' THEN
		RAISE EXCEPTION 'more than one line: %', got.answer;
	END IF;
	RETURN jsonb_build_object('status', got.status, 'body', got.answer::jsonb);
END
$$;

-- A request of the legacy era: what comes of it is its result or its error.
CREATE FUNCTION pg_temp.legacy(method text, params jsonb DEFAULT '{}', allow_writes boolean DEFAULT true) RETURNS jsonb LANGUAGE sql AS $$
	SELECT coalesce(a #> '{body,result}', a #> '{body,error}') FROM pg_temp.ask(jsonb_build_object('jsonrpc', '2.0', 'id', 1, 'method', method,
		'params', params)::text, allow_writes => allow_writes) a
$$;
CREATE FUNCTION pg_temp.call(tool text, arguments jsonb DEFAULT '{}', allow_writes boolean DEFAULT true) RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.legacy('tools/call', jsonb_build_object('name', tool, 'arguments', arguments), allow_writes)
$$;
-- The structured result of a call, which must be what the tool's output schema promises, or the text of its error.
CREATE FUNCTION pg_temp.use(tool text, arguments jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	result jsonb := pg_temp.call(tool, arguments);
	violation text := (SELECT evq_http.mcp_violation(result -> 'structuredContent', t.output_schema::jsonb) FROM evq_http.mcp_tools(true) t WHERE name = tool);
BEGIN
	IF result ->> 'isError' = 'true' THEN
		RETURN result #> '{content,0,text}';
	ELSIF violation IS NOT NULL OR (result #>> '{content,0,text}')::jsonb <> result -> 'structuredContent' THEN
		RAISE EXCEPTION '%: % %', tool, violation, result;
	END IF;
	RETURN result -> 'structuredContent';
END
$$;
CREATE FUNCTION pg_temp.read(uri text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT coalesce((r #>> '{contents,0,text}')::jsonb, r) FROM pg_temp.legacy('resources/read', jsonb_build_object('uri', uri)) r
$$;

-- A request of the modern era, with the headers that go with it and changes to them.
CREATE FUNCTION pg_temp.modern(method text, params jsonb DEFAULT '{}', headers jsonb DEFAULT '{}', meta jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.ask(
		jsonb_build_object('jsonrpc', '2.0', 'id', 'one', 'method', method, 'params', params || jsonb_build_object('_meta', jsonb_strip_nulls(
			'{"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}' || meta)))::text,
		jsonb_strip_nulls(jsonb_build_object('MCP-Protocol-Version', '2026-07-28', 'Mcp-Method', method,
			'Mcp-Name', coalesce(params ->> 'name', params ->> 'uri')) || headers))
$$;

-- The legacy era: beginning.
SELECT is(pg_temp.legacy('initialize', jsonb_build_object('protocolVersion', asked)) ->> 'protocolVersion', answered, 'initialize ' || asked)
FROM (VALUES ('2025-11-25', '2025-11-25'), ('2025-06-18', '2025-06-18'), ('2025-03-26', '2025-03-26'), ('2024-11-05', '2025-11-25'),
	('2026-07-28', '2025-11-25'), ('', '2025-11-25')) v (asked, answered);
SELECT is(pg_temp.legacy('initialize', '{"protocolVersion": "2025-11-25"}') - 'instructions',
	jsonb_build_object('protocolVersion', '2025-11-25', 'capabilities', '{"tools": {}, "resources": {}}'::jsonb,
		'serverInfo', jsonb_build_object('name', 'evq', 'title', 'evq event engine', 'version', evq_version())), 'initialize: the whole answer');
SELECT is(pg_temp.legacy('initialize', params) ->> 'code', '-32602', 'initialize needs a version') FROM unnest('{"{}", "{\"protocolVersion\": 1}"}'::jsonb[]) params;
SELECT is(pg_temp.legacy('ping'), '{}', 'ping');
SELECT is(pg_temp.ask('{"jsonrpc": "2.0", "method": "notifications/initialized"}'), '{"status": 202, "body": null}', 'notifications have no answer');
SELECT is(pg_temp.ask('{"jsonrpc": "2.0", "id": 7, "result": {}}'), '{"status": 202, "body": null}', 'responses have none');
SELECT is(pg_temp.ask('{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}', jsonb_build_object('mcp-protocol-version', version)) ->> 'status', status, 'version in the header: ' || version)
FROM (VALUES ('2025-11-25', '200'), ('2025-06-18', '200'), ('2025-03-26', '200'), ('2024-11-05', '400'), ('x', '400'), ('2026-07-28', '400')) v (version, status);
SELECT is(pg_temp.ask('{"jsonrpc": "2.0", "id": 1, "method": "ping"}', '{"mcp-protocol-version": "2024-11-05"}') #> '{body,error}',
	'{"code": -32022, "message": "Unsupported protocol version",
	  "data": {"supported": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"], "requested": "2024-11-05"}}', 'a version that is not spoken');
SELECT is(pg_temp.ask('{"jsonrpc": "2.0", "id": 1, "method": "prompts/list"}', '{}') - 'x',
	'{"status": 200, "body": {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Method not found: prompts/list"}}}', 'an unknown method');

-- The modern era.
SELECT is((pg_temp.modern('server/discover') #> '{body,result}') - 'instructions', jsonb_build_object('resultType', 'complete', 'ttlMs', 300000, 'cacheScope', 'public',
	'supportedVersions', '["2026-07-28"]'::jsonb, 'capabilities', '{"tools": {}, "resources": {}}'::jsonb, '_meta', jsonb_build_object(
	'io.modelcontextprotocol/serverInfo', jsonb_build_object('name', 'evq', 'title', 'evq event engine', 'version', evq_version()))), 'server/discover');
SELECT is(pg_temp.ask('{"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
	"io.modelcontextprotocol/clientCapabilities": {}}}}') ->> 'status', '200', 'without headers, as by stdio');
SELECT is((pg_temp.modern(method, params) #> '{body,result}') - '{tools,resources,resourceTemplates,contents,content,structuredContent,isError,_meta}'::text[], members, method)
FROM (VALUES
	('tools/list', '{}'::jsonb, '{"resultType": "complete", "ttlMs": 300000, "cacheScope": "private"}'::jsonb),
	('resources/templates/list', '{}', '{"resultType": "complete", "ttlMs": 300000, "cacheScope": "public"}'),
	('resources/list', '{}', '{"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}'),
	('resources/read', '{"uri": "metrics://queues"}', '{"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}'),
	('tools/call', '{"name": "queue_status"}', '{"resultType": "complete"}')) v (method, params, members);
SELECT is((pg_temp.modern(method) ->> 'status') || ' ' || (pg_temp.modern(method) #>> '{body,error,code}'), '404 -32601', 'not of this era: ' || method)
FROM unnest('{initialize, ping, logging/setLevel, subscriptions/listen}'::text[]) method;
SELECT is((a ->> 'status') || ' ' || (a #>> '{body,error,code}') || ' ' || (a #>> '{body,error,message}'), wanted, what) FROM (VALUES
	('no version', pg_temp.modern('tools/list', meta => '{"io.modelcontextprotocol/protocolVersion": null}'),
		'400 -32602 params._meta["io.modelcontextprotocol/protocolVersion"] must be a string'),
	('a version of the other era', pg_temp.modern('tools/list', meta => '{"io.modelcontextprotocol/protocolVersion": "2025-11-25"}'), '400 -32022 Unsupported protocol version'),
	('no capabilities', pg_temp.modern('tools/list', meta => '{"io.modelcontextprotocol/clientCapabilities": null}'),
		'400 -32602 params._meta["io.modelcontextprotocol/clientCapabilities"] must be an object'),
	('header without version', pg_temp.modern('tools/list', headers => '{"MCP-Protocol-Version": null}'), '400 -32020 Header mismatch: MCP-Protocol-Version is missing'),
	('header with another version', pg_temp.modern('tools/list', headers => '{"MCP-Protocol-Version": "2025-11-25"}'),
		'400 -32020 Header mismatch: MCP-Protocol-Version does not match the body'),
	('header without method', pg_temp.modern('tools/list', headers => '{"Mcp-Method": null}'), '400 -32020 Header mismatch: Mcp-Method is missing'),
	('header with another method', pg_temp.modern('tools/list', headers => '{"Mcp-Method": "tools/call"}'), '400 -32020 Header mismatch: Mcp-Method does not match the body'),
	('header without name', pg_temp.modern('tools/call', '{"name": "queue_status"}', '{"Mcp-Name": null}'), '400 -32020 Header mismatch: Mcp-Name is missing'),
	('header with another name', pg_temp.modern('tools/call', '{"name": "queue_status"}', '{"Mcp-Name": "get_event"}'), '400 -32020 Header mismatch: Mcp-Name does not match the body'),
	('header with another URI', pg_temp.modern('resources/read', '{"uri": "config://A"}', '{"Mcp-Name": "config://B"}'), '400 -32020 Header mismatch: Mcp-Name does not match the body'),
	('header with a name that only looks encoded', pg_temp.modern('tools/call', '{"name": "=?base64?cQ==?="}'), '400 -32020 Header mismatch: Mcp-Name does not match the body'),
	('response', pg_temp.ask('{"jsonrpc": "2.0", "id": 1, "result": {}}', '{"mcp-protocol-version": "2026-07-28"}'), '400 -32600 Invalid request: a client sends no responses'),
	('unknown resource', pg_temp.modern('resources/read', '{"uri": "config://NONE"}'), '200 -32602 Resource not found: nothing has this URI'))
	v (what, a, wanted);
SELECT is(pg_temp.modern('tools/call', '{"name": "queue_status"}', '{"Mcp-Name": "=?base64?cXVldWVfc3RhdHVz?="}') ->> 'status', '200', 'header with an encoded name');
SELECT is(pg_temp.modern('resources/read', jsonb_build_object('uri', 'config://' || repeat('ü', 100)),
	jsonb_build_object('Mcp-Name', '=?base64?' || replace(encode(convert_to('config://' || repeat('ü', 100), 'UTF8'), 'base64'), E'\n', '') || '?=')) #>> '{body,error,code}',
	'-32602', 'a long one: it goes on to the method');

-- Tools: the list.
SELECT set_eq($$SELECT name FROM evq_http.mcp_tools(true)$$, '{publish_event, acquire_processing_permit, report_success, report_failure, suspend_event, activate_event, pause_flow, resume_flow, suspend_event_type,
	unsuspend_event_type, pause_group, resume_group, configure_group, update_lifecycle_config, get_event, list_events, queue_status, cancel_event, retry_event}'::text[], 'the tools');
SELECT is(jsonb_path_query_array(pg_temp.legacy('tools/list'), '$.tools[*].name'), (SELECT jsonb_agg(name ORDER BY name COLLATE "C") FROM evq_http.mcp_tools(true)), 'tools/list: in stable order');
SELECT is(jsonb_path_query_array(pg_temp.legacy('tools/list', allow_writes => false), '$.tools[*].name'), '["get_event", "list_events", "queue_status"]', 'read-only: tools/list');
SELECT is_empty($$SELECT t FROM jsonb_array_elements(pg_temp.legacy('tools/list') -> 'tools') t
	WHERE NOT t ?& '{name, title, description, inputSchema, outputSchema, annotations}' OR t #>> '{inputSchema,additionalProperties}' IS DISTINCT FROM 'false'
		OR t #>> '{inputSchema,type}' || (t #>> '{outputSchema,type}') <> 'objectobject'
		OR (SELECT count(*) FROM jsonb_object_keys(t -> 'annotations')) <> 4$$, 'each tool says all that there is to say, and takes no other arguments');
SELECT ok((evq_http.mcp(NULL, '{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}', true)).answer ~ '"event_type".*"flow_type".*"flow_id".*"payload".*"on_fail_event_type"',
	'properties keep their order');
SELECT is_empty($$
	WITH RECURSIVE node (tool, schema) AS (
		SELECT t.name, s FROM evq_http.mcp_tools(true) t, unnest(ARRAY[t.input_schema::jsonb, t.output_schema::jsonb]) s
		UNION ALL
		SELECT n.tool, c FROM node n, LATERAL (
			SELECT value FROM jsonb_each(n.schema -> 'properties') UNION ALL SELECT n.schema -> 'items' WHERE n.schema ? 'items') children (c))
	SELECT tool, key FROM node, jsonb_object_keys(schema) key
	WHERE key NOT IN ('type', 'properties', 'required', 'additionalProperties', 'description', 'enum', 'minimum', 'maximum', 'minLength', 'maxLength',
		'minItems', 'maxItems', 'pattern', 'format', 'items') OR schema ->> 'format' NOT IN ('uuid', 'date-time')$$, 'schemas use only what is checked');

-- Tools: calls. Writes in read-only mode, and what is no call.
SELECT is(pg_temp.call(name, allow_writes => false), jsonb_build_object('code', -32602, 'message',
	'Invalid params: unknown tool: ' || name || ' (it writes, and this server is read-only)'), 'read-only: ' || name) FROM evq_http.mcp_tools(true) WHERE writes;
SELECT is((evq_http.mcp('{"allow_writes": "true", "allow-writes": "true"}', '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "suspend_event_type",
	"arguments": {"event_type": "RIDE"}, "allow_writes": true}, "allow_writes": true}')).answer::jsonb #>> '{error,code}', '-32602', 'read-only is the default, whatever the client sends');
SELECT is(pg_temp.legacy('tools/call', params) ->> 'message', 'Invalid params: ' || message, message) FROM (VALUES
	('{}'::jsonb, 'params.name must be a string'), ('{"name": null}', 'params.name must be a string'), ('{"name": "drop_all"}', 'unknown tool: drop_all'),
	('{"name": "get_event", "arguments": []}', 'params.arguments must be an object'), ('{"name": "get_event", "arguments": "x"}', 'params.arguments must be an object')) v (params, message);

CREATE TEMP TABLE made AS SELECT n, (pg_temp.use('publish_event', jsonb_build_object('event_type', 'RIDE', 'flow_id', 'mcp', 'payload', jsonb_build_object('n', n))) ->> 'event_id') AS id
FROM generate_series(1, 4) n;
CREATE FUNCTION pg_temp.id(n int) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('event_id', id) FROM made WHERE made.n = id.n $$;
SELECT is((SELECT jsonb_agg(evq_event(id::uuid) -> 'payload' ORDER BY n) FROM made), '[{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]', 'publish_event');
SELECT is(pg_temp.use('publish_event', full_call), pg_temp.use('publish_event', full_call), 'publish_event with all arguments, twice with one key')
FROM (SELECT '{"event_type": "RIDE", "flow_type": "FLOW_MCP", "flow_id": "full", "payload": [1, null], "on_fail_event_type": "a:b", "run_at": "2030-01-01T00:00:00.5+01:00",
	"priority": -3, "idempotency_key": "k", "headers": {"h": 1}}'::jsonb) v (full_call);
SELECT results_eq($$SELECT on_fail_event_type, attempt_scheduled_at, priority, evq_event(event_id) -> 'payload', evq_event(event_id) -> 'headers' FROM evq.events WHERE flow_id = 'full'$$,
	$$VALUES ('a:b', timestamptz '2029-12-31 23:00:00.5+00', -3, '[1, null]'::jsonb, '{"h": 1}'::jsonb)$$, '... which are taken');
SELECT matches(pg_temp.use('publish_event', '{"event_type": "RIDE", "flow_id": "full", "idempotency_key": "k"}') #>> '{}', '^EQ008: .*\nHINT: ', 'an error has its SQLSTATE, message and hint');
SELECT is(pg_temp.use('acquire_processing_permit', pg_temp.id(1) || '{"worker": "model", "permit_for": "PT5M"}') - '{attempt_due_at,due_at,permit}'::text[],
	pg_temp.id(1) || '{"acquired": true, "event_type": "RIDE", "flow_type": "FLOW_MCP", "flow_id": "mcp", "attempt": 1, "attempts_left": 2, "payload": {"n": 1}, "headers": null, "answer": null}', 'acquire_processing_permit');
SELECT is((SELECT worker || ' ' || (state_due_at - state_since) FROM evq.events WHERE pg_temp.id(1) ->> 'event_id' = event_id::text), 'model 00:05:00', '... with all arguments');
SELECT is(pg_temp.use('acquire_processing_permit', pg_temp.id(1)), '{"acquired": false}', '... not granted');
SELECT matches(pg_temp.use('report_success', pg_temp.id(1) || '{"permit": 1}') #>> '{}', '^EQ004: ', 'report_success with a lost permit');
SELECT matches(pg_temp.use('report_success', pg_temp.id(1) || '{"spinoffs": [{"event_type": "a:b"}, {"event_type": "NONE"}]}') #>> '{}', '^EQ001: ', 'report_success with a bad spinoff');
SELECT is((SELECT count(*)::int FROM evq.events WHERE event_type = 'a:b'), 0, '... leaves nothing half done');
SELECT is(jsonb_array_length(pg_temp.use('report_success', pg_temp.id(1) || '{"result": null, "spinoffs": [{"event_type": "a:b", "payload": 1, "priority": 2}, {"event_type": "RIDE"}]}')
	-> 'spinoff_event_ids'), 2, 'report_success');
SELECT is(pg_temp.use('get_event', pg_temp.id(1)) - '{children}'::text[], (evq_event((pg_temp.id(1) ->> 'event_id')::uuid) - '{state,children}'::text[]) || '{"status": "SUCCEEDED"}', 'get_event');
SELECT is(jsonb_path_query_array(pg_temp.use('get_event', pg_temp.id(1)), '$.children[*].status'), '["AWAITING_PROCESSING", "AWAITING_PROCESSING"]', '... and its children');
SELECT matches(pg_temp.use('report_failure', pg_temp.id(2) || '{"error_message": "x"}') #>> '{}', '^EQ003: ', 'report_failure of what is not acquired');
SELECT is(pg_temp.use('acquire_processing_permit', pg_temp.id(2)) ->> 'acquired', 'true');
SELECT is(pg_temp.use('report_failure', pg_temp.id(2) || '{"error_message": "no", "stack_trace": "line 1", "retry_in": "PT0S"}'),
	'{"acknowledged": true, "status": "AWAITING_PROCESSING"}', 'report_failure: again');
SELECT is(pg_temp.use('acquire_processing_permit', pg_temp.id(2)) ->> 'attempt', '2');
SELECT is(pg_temp.use('report_failure', pg_temp.id(2) || '{"error_message": "no", "retryable": false}'), '{"acknowledged": true, "status": "FAILED"}', '... for good');
SELECT is(jsonb_path_query_array(pg_temp.use('get_event', pg_temp.id(2)), '$.errors[*].outcome'), '["retry", "failed"]', '... both are kept');
SELECT is(pg_temp.use('retry_event', pg_temp.id(2)), '{"acknowledged": true, "status": "AWAITING_PROCESSING"}', 'retry_event');
SELECT matches(pg_temp.use('retry_event', pg_temp.id(1)) #>> '{}', '^EQ003: ', '... of one that succeeded');
SELECT is(pg_temp.use('cancel_event', pg_temp.id(3) || '{"reason": "why not"}'), '{"acknowledged": true, "status": "CANCELED"}', 'cancel_event');
SELECT is((SELECT reason FROM evq.events WHERE pg_temp.id(3) ->> 'event_id' = event_id::text), 'why not', '... with its reason');
SELECT is(pg_temp.use('acquire_processing_permit', pg_temp.id(2)) -> 'answer', 'null', 'no answer yet');
SELECT set_config('mcp.permit', (SELECT permit::text FROM evq.events WHERE event_id = (pg_temp.id(2) ->> 'event_id')::uuid), false) \g /dev/null
SELECT is(pg_temp.use('activate_event', pg_temp.id(2) || jsonb_build_object('answer', 'early', 'permit', current_setting('mcp.permit')::bigint)),
	'{"acknowledged": true, "status": "BEING_PROCESSED"}', 'activate_event: early');
SELECT is(pg_temp.use('suspend_event', pg_temp.id(2) || jsonb_build_object('permit', current_setting('mcp.permit')::bigint, 'timeout', 'PT1H')),
	'{"acknowledged": true, "status": "AWAITING_PROCESSING", "state_due_at": null}', 'suspend_event: it is awake');
SELECT is(pg_temp.use('acquire_processing_permit', pg_temp.id(2)) -> 'answer', '"early"', '... with its answer');
SELECT is(pg_temp.use('report_failure', pg_temp.id(2) || '{"error_message": "no", "retryable": false}') ->> 'status', 'FAILED');
SELECT is(pg_temp.use('pause_flow', '{"flow_type": "FLOW_MCP", "until": "2100-01-01T00:00:00Z", "reason": "why"}') ->> 'is_paused', 'true', 'pause_flow');
SELECT is((SELECT is_paused || ' ' || pause_reason FROM evq.flows WHERE flow_type = 'FLOW_MCP'), 'true why', '... it is');
SELECT is(pg_temp.use('resume_flow', '{"flow_type": "FLOW_MCP"}') ->> 'is_paused', 'false', 'resume_flow');
SELECT is((SELECT is_paused FROM evq.flows WHERE flow_type = 'FLOW_MCP'), false, '... it is not');
SELECT matches(pg_temp.use('pause_flow', '{"flow_type": "NONE"}') #>> '{}', '^EQ001: ', '... of an unknown flow');
SELECT is(pg_temp.use('pause_group', '{"flow_type": "FLOW_MCP", "group_key": "acme", "until": "2100-01-01T00:00:00Z", "reason": "why"}') ->> 'is_paused', 'true', 'pause_group');
SELECT is((SELECT group_key || ' ' || is_paused || ' ' || pause_reason FROM evq.groups WHERE flow_type = 'FLOW_MCP'), 'acme true why', '... it is');
SELECT is(pg_temp.use('resume_group', '{"flow_type": "FLOW_MCP", "group_key": "acme"}') ->> 'is_paused', 'false', 'resume_group');
SELECT matches(pg_temp.use('configure_group', '{"flow_type": "FLOW_MCP", "group_key": "acme", "max_processing": 3}') #>> '{}', '^EQ006: .*max_processing_per_group.*HINT: ', 'configure_group: of a flow without limits by group');
SELECT evq_configure_flow('FLOW_MCP', max_processing_per_group => 1) \g /dev/null
SELECT is(pg_temp.use('configure_group', '{"flow_type": "FLOW_MCP", "group_key": "acme", "max_processing": 3}') ->> 'max_processing', '3', 'configure_group');
SELECT is(pg_temp.use('configure_group', '{"flow_type": "FLOW_MCP", "group_key": "acme"}') ->> 'is_paused', 'false', '... and back');
SELECT evq_configure_flow('FLOW_MCP', max_processing_per_group => 0) \g /dev/null
SELECT is(pg_temp.use('suspend_event_type', '{"event_type": "RIDE"}') ->> 'is_suspended', 'true', 'suspend_event_type');
SELECT is((SELECT is_suspended FROM evq.event_types WHERE event_type = 'RIDE'), true, '... it is');
SELECT is(pg_temp.use('unsuspend_event_type', '{"event_type": "RIDE"}') ->> 'is_suspended', 'false', 'unsuspend_event_type');
SELECT is((SELECT is_suspended FROM evq.event_types WHERE event_type = 'RIDE'), false, '... it is not');
SELECT evq_configure_limit('model', rate => 100, burst => 10) \g /dev/null
SELECT is(pg_temp.use('update_lifecycle_config', configuration) , configuration || '{"is_suspended": false}', 'update_lifecycle_config, all of it')
FROM (SELECT '{"event_type": "NEW", "flow_type": "FLOW_NEW", "max_attempts": 5, "lifespan": "P1DT2H", "attempt_delays": ["PT0S", "PT1.5S"], "backoff_factor": 2.5, "max_delay": "PT1H",
	"jitter": 0.25, "attempt_timeout": "PT10M", "on_suspend_timeout": "retry", "on_fail_event_type": "NEW", "priority": 7, "max_payload_bytes": 1000, "retention": "P2D", "limits": ["model"], "cost": 3}'::jsonb) v (configuration);
SELECT is(pg_temp.use('update_lifecycle_config', '{"event_type": "NEW", "max_attempts": 6}') - 'max_attempts' , pg_temp.read('config://NEW') - 'max_attempts', '... or a part');
SELECT matches(pg_temp.use('update_lifecycle_config', '{"event_type": "NEWER", "max_attempts": 6}') #>> '{}', '^EQ006: .* needs a flow type', '... a new type needs a flow');
SELECT matches(pg_temp.use('update_lifecycle_config', '{"event_type": "NEW", "jitter": 2}') #>> '{}', '^EQ006: jitter is out of range\nDETAIL: .*\nHINT: ', '... out of range');
SELECT is(pg_temp.use('get_event', jsonb_build_object('event_id', gen_random_uuid())) #>> '{}' ~ '^EQ002: ', true, 'get_event of none');

-- list_events: filters and pages.
SELECT is(jsonb_path_query_array(pg_temp.use('list_events', '{"flow_id": "mcp", "event_type": "RIDE"}'), '$.events[*].event_id'),
	(SELECT jsonb_agg(event_id ORDER BY event_id DESC) FROM evq.events WHERE flow_id = 'mcp' AND event_type = 'RIDE'), 'list_events: newest first');
SELECT is(jsonb_array_length(pg_temp.use('list_events', filter) -> 'events'), events, 'list_events ' || filter::text) FROM (VALUES
	('{}'::jsonb, 7), ('{"status": "SUCCEEDED"}', 1), ('{"status": "CANCELED", "flow_type": "FLOW_MCP"}', 1), ('{"flow_type": "FLOW_NEW"}', 0), ('{"event_type": "a:b"}', 1),
	('{"flow_id": "none"}', 0), ('{"flow_type": "NONE"}', 0), ('{"limit": 3}', 3)) v (filter, events);
WITH RECURSIVE pages (page) AS (
	SELECT pg_temp.use('list_events', '{"limit": 2}')
	UNION ALL SELECT pg_temp.use('list_events', jsonb_build_object('limit', 2, 'after', page -> 'next')) FROM pages WHERE page ->> 'next' IS NOT NULL)
SELECT is(jsonb_agg(event), (SELECT jsonb_agg(event_id ORDER BY event_id DESC) FROM evq.events), 'list_events: pages')
FROM pages, jsonb_path_query(page, '$.events[*].event_id') event;
SELECT pg_temp.use('publish_event', '{"event_type": "RIDE", "flow_id": 42, "flow_type": null, "payload": null, "on_fail_event_type": null,
	"run_at": null, "priority": null, "idempotency_key": null, "headers": null}') ->> 'event_id' AS numbered \gset
SELECT is((SELECT flow_id FROM evq.events WHERE event_id = :'numbered'), '42', 'a number as flow_id, and null in place of no argument');
SELECT is((SELECT sum((q ->> 'events')::bigint) FROM jsonb_array_elements(pg_temp.use('queue_status') -> 'queues') q), (SELECT sum(events) FROM evq.queue), 'queue_status');
SELECT is(pg_temp.use('queue_status') #> '{engine,running}', 'false', '... and the engine');

-- null is as left out, where that may be.
SELECT pg_temp.use('publish_event', '{"event_type": "RIDE", "flow_type": null, "flow_id": "nulls", "payload": null, "on_fail_event_type": null, "run_at": null, "priority": null,
	"idempotency_key": null, "headers": null}') ->> 'event_id' AS id \gset
SELECT is(evq_event(:'id') -> 'payload', '{}', 'publish_event: null is as left out');
SELECT is(pg_temp.use('acquire_processing_permit', jsonb_build_object('event_id', :'id', 'worker', null, 'permit_for', null)) ->> 'acquired', 'true', 'acquire_processing_permit: null is as left out');
SELECT is(pg_temp.call('queue_status', NULL) ->> 'isError', 'false', 'no arguments at all');

-- Arguments that the schema does not allow.
SELECT is(pg_temp.use(tool, arguments) #>> '{}', 'EQ006: ' || message, tool || ' ' || left(arguments::text, 100)) FROM (VALUES
	('get_event', '{}'::jsonb, 'argument "event_id" is missing'),
	('get_event', '{"event_id": 1}', 'argument "event_id" must be of type string, not number'),
	('get_event', '{"event_id": null}', 'argument "event_id" is missing'),
	('publish_event', '{"event_type": "RIDE", "flow_id": 1.5}', 'argument "flow_id" must be of type string or integer, not fraction'),
	('get_event', '{"event_id": "x"}', 'argument "event_id" must have the format uuid'),
	('queue_status', '{"flow_type": "F"}', 'unknown argument "flow_type"'),
	('queue_status', '{"flow_type": null}', 'unknown argument "flow_type"'),
	('publish_event', '{"event_type": "RIDE", "flow_id": ""}', 'argument "flow_id" must have 1 to 255 characters'),
	('publish_event', '{"event_type": "RIDE", "flow_id": "f", "priority": 1.5}', 'argument "priority" must be of type integer, not fraction'),
	('publish_event', '{"event_type": "RIDE", "flow_id": "f", "priority": 40000}', 'argument "priority" must be from -32768 to 32767'),
	('publish_event', '{"event_type": "RIDE", "flow_id": "f", "run_at": "tomorrow"}', 'argument "run_at" must have the format date-time'),
	('publish_event', '{"event_type": "RIDE", "flow_id": "f", "headers": []}', 'argument "headers" must be of type object, not array'),
	('report_success', '{"event_id": "00000000-0000-0000-0000-000000000000", "spinoffs": {}}', 'argument "spinoffs" must be of type array, not object'),
	('report_success', '{"event_id": "00000000-0000-0000-0000-000000000000", "spinoffs": [1]}', 'argument "spinoffs[0]" must be of type object, not number'),
	('report_success', '{"event_id": "00000000-0000-0000-0000-000000000000", "spinoffs": [{"event_type": "a"}, {"event_type": "b", "flow_id": "f"}]}', 'unknown argument "spinoffs[1].flow_id"'),
	('report_failure', '{"event_id": "00000000-0000-0000-0000-000000000000", "error_message": "x", "retryable": "no"}', 'argument "retryable" must be of type boolean, not string'),
	('report_failure', '{"event_id": "00000000-0000-0000-0000-000000000000", "error_message": "x", "permit": -1}', 'argument "permit" must be from 0 to 9007199254740991'),
	('list_events', '{"status": "DONE"}', 'argument "status" must be one of ["AWAITING_PROCESSING", "DISPATCHED", "BEING_PROCESSED", "SUSPENDED", "SUCCEEDED", "FAILED", "EXPIRED", "CANCELED"]'),
	('list_events', '{"limit": 0}', 'argument "limit" must be from 1 to 500'),
	('update_lifecycle_config', '{"event_type": "RIDE", "attempt_delays": []}', 'argument "attempt_delays" must have 1 to 100 items'),
	('update_lifecycle_config', '{"event_type": "RIDE", "attempt_delays": ["1 s"]}', 'argument "attempt_delays[0]" must match the pattern ^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$'),
	('update_lifecycle_config', '{"event_type": "RIDE", "lifespan": 5}', 'argument "lifespan" must be of type string, not number')) v (tool, arguments, message);
SELECT is(pg_temp.use('publish_event', '{"event_type": "RIDE", "flow_id": "f", "priority": 3.0}') ? 'event_id', true, '3.0 is an integer');
SELECT matches(pg_temp.use('publish_event', '{"event_type": "RIDE", "flow_id": "f", "run_at": "2026-13-01T00:00:00Z"}') #>> '{}', '^22008: date/time field value out of range', 'no such month');
SELECT matches(pg_temp.use('update_lifecycle_config', '{"event_type": "RIDE", "lifespan": "P"}') #>> '{}', '^EQ006: lifespan is not ', 'no such duration');

-- Resources.
SELECT is(jsonb_path_query_array(pg_temp.legacy('resources/list'), '$.resources[*].uri'),
	'["config://NEW", "config://RIDE", "config://a%3Ab", "events://pending/FLOW_MCP", "events://pending/FLOW_NEW", "metrics://queues"]', 'resources/list');
SELECT is(jsonb_path_query_array(pg_temp.legacy('resources/templates/list'), '$.resourceTemplates[*].uriTemplate'),
	'["config://{eventType}", "event://{eventId}", "events://pending/{flowType}"]', 'resources/templates/list');
SELECT is(pg_temp.read('event://' || (pg_temp.id(1) ->> 'event_id')), pg_temp.use('get_event', pg_temp.id(1)), 'event://{eventId}');
SELECT is((SELECT count(*) FROM jsonb_path_query(pg_temp.read('events://pending/FLOW_MCP'), '$.events[*] ? (@.status == "AWAITING_PROCESSING")')),
	(SELECT count(*) FROM evq_pending('FLOW_MCP')), 'events://pending/{flowType}');
SELECT is(pg_temp.read('config://' || name) ->> 'event_type', 'a:b', 'config://' || name) FROM unnest('{a:b, a%3Ab, a%3ab}'::text[]) name;
SELECT is(pg_temp.read('metrics://queues') -> 'engine', pg_temp.use('queue_status') -> 'engine', 'metrics://queues');
SELECT is(pg_temp.read(uri) - 'message', jsonb_build_object('code', -32002, 'data', jsonb_build_object('uri', uri)), 'no resource: ' || uri) FROM unnest(ARRAY[
	'', 'x', 'config://', 'config://NONE', 'config://a/b', 'events://pending/', 'events://pending/NONE', 'events://RIDE', 'event://', 'event://1', 'metrics://x', 'file:///etc/passwd',
	'event://00000000-0000-0000-0000-000000000000', E'config://RIDE\n']) uri;
SELECT is(pg_temp.legacy(method, params) ->> 'code', '-32602', method || ' ' || params::text) FROM (VALUES
	('resources/read', '{}'::jsonb), ('resources/read', '{"uri": 1}'), ('resources/list', '{"cursor": 1}'), ('tools/list', '{"cursor": "x"}'), ('resources/templates/list', '{"cursor": "x"}'))
	v (method, params);
SELECT evq_configure('PAGE_' || n, 'FLOW_MCP') FROM generate_series(1, 250) n \g /dev/null
WITH RECURSIVE pages (page) AS (
	SELECT pg_temp.legacy('resources/list')
	UNION ALL SELECT pg_temp.legacy('resources/list', jsonb_build_object('cursor', page -> 'nextCursor')) FROM pages WHERE page ? 'nextCursor')
SELECT is(array_agg(jsonb_array_length(page -> 'resources')), '{200, 56}', 'resources/list: pages') FROM pages;

-- What is no request.
SELECT is((a ->> 'status') || ' ' || (a #>> '{body,error,code}'), wanted, left(coalesce(body, 'NULL'), 80)) FROM (VALUES
	(NULL, '400 -32600'), ('', '400 -32700'), ('{', '400 -32700'), ('nonsense', '400 -32700'), ('{"a": 1}}', '400 -32700'), (repeat('[', 100000), '400 -32700'),
	(repeat('{"a":', 100000), '400 -32700'), ('{"jsonrpc": "2.0", "id": 1, "method": "\u0000"}', '400 -32700'), ('{"jsonrpc": "2.0", "id": 1, "method": "\ud800"}', '400 -32700'),
	('{"id": 1e999999}', '400 -32700'), ('1', '400 -32600'), ('null', '400 -32600'), ('"ping"', '400 -32600'), ('[]', '400 -32600'), ('{}', '400 -32600'),
	('{"jsonrpc": "1.0", "id": 1, "method": "ping"}', '400 -32600'), ('{"jsonrpc": 2.0, "id": 1, "method": "ping"}', '400 -32600'),
	('{"jsonrpc": "2.0", "id": 1}', '400 -32600'), ('{"jsonrpc": "2.0", "id": 1, "method": 7}', '400 -32600'), ('{"jsonrpc": "2.0", "id": 1, "method": null}', '400 -32600'),
	('{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}', '400 -32600'), ('{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": "x"}', '400 -32600'),
	('{"jsonrpc": "2.0", "id": null, "method": "ping"}', '400 -32600'), ('{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', '400 -32600'),
	('{"jsonrpc": "2.0", "id": true, "method": "ping"}', '400 -32600'), ('{"jsonrpc": "2.0", "id": [1], "method": "ping"}', '400 -32600'),
	('{"jsonrpc": "2.0", "id": 9223372036854775808, "method": "ping"}', '400 -32600'), ('{"jsonrpc": "2.0", "id": 1e1000, "method": "ping"}', '400 -32600'),
	('{"jsonrpc": "2.0", "id": "' || repeat('x', 1001) || '", "method": "ping"}', '400 -32600'),
	('{"jsonrpc": "2.0", "id": 1, "method": "' || repeat('x', 100000) || '"}', '200 -32601')) v (body, wanted), pg_temp.ask(body) a;
SELECT is(pg_temp.ask('{"jsonrpc": "2.0", "id": ' || id || ', "method": "ping"}') #> '{body,id}', id::jsonb, 'id ' || left(id, 40))
FROM unnest(ARRAY['0', '-1', '9223372036854775807', '1.0', '""', '"ü\n"', '"' || repeat('x', 1000) || '"']) id;
SELECT throws_ok($$SELECT evq_http.mcp('[]', '{}')$$, 'EQ006', 'headers must be an object or NULL');

-- Batches belong to 2025-03-26, which is also the version of who names none.
SELECT is(pg_temp.ask('[{"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"jsonrpc": "2.0", "method": "notifications/initialized"}, {"jsonrpc": "2.0", "id": 2, "method": "x"}, 5]', headers),
	'{"status": 200, "body": [{"jsonrpc": "2.0", "id": 1, "result": {}}, {"jsonrpc": "2.0", "id": 2, "error": {"code": -32601, "message": "Method not found: x"}},
	  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid request: it must be an object with \"jsonrpc\": \"2.0\""}}]}', 'a batch')
FROM unnest(ARRAY[NULL, '{}', '{"Mcp-Protocol-Version": "2025-03-26"}']::jsonb[]) headers;
SELECT is(pg_temp.ask('[{"jsonrpc": "2.0", "method": "notifications/initialized"}]'), '{"status": 202, "body": null}', 'a batch of notifications');
SELECT is(pg_temp.ask('[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', jsonb_build_object('mcp-protocol-version', version)) #>> '{body,error,code}', '-32600', 'none in ' || version)
FROM unnest('{2025-06-18, 2025-11-25, 2026-07-28}'::text[]) version;
SELECT is(pg_temp.ask('[' || repeat('{"jsonrpc": "2.0", "id": 1, "method": "ping"},', n - 1) || '{"jsonrpc": "2.0", "id": 1, "method": "ping"}]') ->> 'status', status, n || ' in a batch')
FROM (VALUES (100, '200'), (101, '400')) v (n, status);

-- Who may what: the caller's grants decide.
CREATE FUNCTION pg_temp.as_role(role name, tool text, arguments jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	body text := jsonb_build_object('jsonrpc', '2.0', 'id', 1, 'method', 'tools/call', 'params', jsonb_build_object('name', tool, 'arguments', arguments));
	answer jsonb;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	answer := (SELECT m.answer FROM evq_http.mcp(NULL, body, true) m);
	RESET ROLE;
	RETURN coalesce(left(answer #>> '{result,content,0,text}', CASE answer #>> '{result,isError}' WHEN 'true' THEN 5 ELSE 0 END), answer::text);
END
$$;
SELECT is(pg_temp.as_role(('evq_' || role)::name, tool, arguments), CASE WHEN allowed THEN '' ELSE '42501' END, role || ': ' || tool)
FROM (VALUES
	('publish_event', '{"event_type": "RIDE", "flow_id": "role"}'::jsonb, '{publisher, operator}'::text[]),
	('acquire_processing_permit', pg_temp.id(4), '{worker, operator}'),
	('suspend_event_type', '{"event_type": "a:b"}', '{operator}'),
	('pause_flow', '{"flow_type": "FLOW_MCP"}', '{operator}'),
	('resume_flow', '{"flow_type": "FLOW_MCP"}', '{operator}'),
	('pause_group', '{"flow_type": "FLOW_MCP", "group_key": "acme"}', '{operator}'),
	('resume_group', '{"flow_type": "FLOW_MCP", "group_key": "acme"}', '{operator}'),
	('configure_group', '{"flow_type": "FLOW_MCP", "group_key": "acme"}', '{operator}'),
	('update_lifecycle_config', '{"event_type": "a:b"}', '{operator}'),
	('get_event', pg_temp.id(4), '{operator}'),
	('list_events', '{}', '{operator}'),
	('queue_status', '{}', '{operator, monitor}')) v (tool, arguments, roles),
	unnest('{publisher, worker, operator, monitor}'::text[]) role, LATERAL (SELECT role = ANY (roles)) x (allowed);

CREATE FUNCTION pg_temp.tools_of(role name, allow_writes boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	answer := (SELECT m.answer FROM evq_http.mcp(NULL, '{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}', allow_writes) m);
	RESET ROLE;
	RETURN (SELECT string_agg(name #>> '{}', ' ') FROM jsonb_path_query(answer, '$.result.tools[*].name') name);
END
$$;
SELECT is(pg_temp.tools_of(('evq_' || role)::name, true), tools, role || ': the tools that it is offered are those that it may use')
FROM (VALUES ('monitor', 'queue_status'), ('publisher', 'activate_event publish_event'),
	('worker', 'acquire_processing_permit activate_event report_failure report_success suspend_event'),
	('operator', (SELECT string_agg(t.name, ' ' ORDER BY t.name COLLATE "C") FROM evq_http.mcp_tools(true) t))) v (role, tools);
SELECT is(pg_temp.tools_of('evq_publisher', false), NULL, '... which may be none');

-- A transaction that may only read.
SET TRANSACTION READ ONLY;
SELECT matches(pg_temp.use('publish_event', '{"event_type": "RIDE", "flow_id": "f"}') #>> '{}', '^25006: ', 'read-only transaction: publish_event');
SELECT is(pg_temp.use('get_event', pg_temp.id(1)) ->> 'status', 'SUCCEEDED', 'read-only transaction: get_event');

SELECT * FROM finish();
ROLLBACK;
