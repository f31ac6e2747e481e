-- Model Context Protocol: messages. No state is kept from one to the next, in either era.

-- NULL = there is no such method in this era.
CREATE FUNCTION evq_http.mcp_result(method text, params jsonb, modern boolean, allow_writes boolean) RETURNS json
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	server json := (SELECT json_build_object('name', 'evq', 'title', 'evq event engine', 'version', x.extversion)
					FROM pg_extension x WHERE x.extname = 'evq');
	capabilities json := '{"tools": {}, "resources": {}}';
	instructions text := 'Events are jobs that workers take, run and report. An event has a type, a flow and a flow_id, and lives '
		'AWAITING_PROCESSING, DISPATCHED, BEING_PROCESSED, then SUCCEEDED, FAILED, EXPIRED or CANCELED. Begin with queue_status and list_events.';
	supported text[] := (evq_http.mcp_versions()).legacy;
	paged boolean := method IN ('tools/list', 'resources/list', 'resources/templates/list');
	result json;
BEGIN
	IF paged AND jsonb_typeof(params -> 'cursor') <> 'string' OR method <> 'resources/list' AND paged AND params ? 'cursor' THEN
		RAISE EXCEPTION 'params.cursor is not one that this server gave' USING ERRCODE = 'EQ006';
	ELSIF method = 'resources/read' AND jsonb_typeof(params -> 'uri') IS DISTINCT FROM 'string' THEN
		RAISE EXCEPTION 'params.uri must be a string' USING ERRCODE = 'EQ006';
	ELSIF method = 'initialize' AND NOT modern AND jsonb_typeof(params -> 'protocolVersion') IS DISTINCT FROM 'string' THEN
		RAISE EXCEPTION 'params.protocolVersion must be a string' USING ERRCODE = 'EQ006';
	END IF;
	result := CASE
		WHEN method = 'tools/list' THEN evq_http.mcp_tools_list(allow_writes)
		WHEN method = 'tools/call' THEN evq_http.mcp_tools_call(params, allow_writes)
		WHEN method = 'resources/list' THEN evq_http.mcp_resources_list(params ->> 'cursor')
		WHEN method = 'resources/templates/list' THEN evq_http.mcp_resource_templates_list()
		WHEN method = 'resources/read' THEN evq_http.mcp_resources_read(params ->> 'uri')
		WHEN method = 'server/discover' AND modern THEN json_build_object(
			'supportedVersions', (evq_http.mcp_versions()).modern, 'capabilities', capabilities, 'instructions', instructions)
		WHEN method = 'ping' AND NOT modern THEN '{}'
		WHEN method = 'initialize' AND NOT modern THEN json_build_object(
			'protocolVersion', coalesce((SELECT v FROM unnest(supported) v WHERE v = params ->> 'protocolVersion'), supported[1]),
			'capabilities', capabilities, 'serverInfo', server, 'instructions', instructions)
		END;
	IF NOT modern THEN
		RETURN result;
	END IF;
	RETURN (
		SELECT json_object_agg(key, value) FROM (
			SELECT * FROM json_each(result)
			UNION ALL VALUES ('resultType', '"complete"'::json), ('_meta', json_build_object('io.modelcontextprotocol/serverInfo', server))
			UNION ALL SELECT * FROM json_each(CASE
				WHEN method IN ('resources/list', 'resources/read') THEN '{"ttlMs": 0, "cacheScope": "private"}'::json
				WHEN method = 'tools/list' THEN '{"ttlMs": 300000, "cacheScope": "private"}'
				WHEN method <> 'tools/call' THEN '{"ttlMs": 300000, "cacheScope": "public"}' END)) members
		WHERE result IS NOT NULL);
END
$$;
COMMENT ON FUNCTION evq_http.mcp_result(text, jsonb, boolean, boolean) IS 'The result of a method';

CREATE FUNCTION evq_http.mcp_respond(message jsonb, headers jsonb, allow_writes boolean, OUT status int, OUT answer json) RETURNS record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	id jsonb := message -> 'id';
	method text := message ->> 'method';
	params jsonb := coalesce(message -> 'params', '{}');
	header_version text := headers ->> 'mcp-protocol-version';
	modern boolean;
	result json;
BEGIN
	status := 400;
	IF NOT (CASE jsonb_typeof(id)
		WHEN 'number' THEN id::numeric % 1 = 0 AND abs(id::numeric) < 9223372036854775808
		WHEN 'string' THEN length(id #>> '{}') <= 1000
		ELSE id IS NULL END) THEN
		answer := evq_http.mcp_error(NULL, -32600, 'Invalid request: id must be a string of at most 1000 characters or a 64-bit integer');
		RETURN;
	END IF;
	IF message -> 'jsonrpc' IS DISTINCT FROM '"2.0"' THEN
		answer := evq_http.mcp_error(id, -32600, 'Invalid request: it must be an object with "jsonrpc": "2.0"');
		RETURN;
	ELSIF method IS NULL AND (message ? 'result' OR message ? 'error') AND header_version = ANY ((evq_http.mcp_versions()).modern) THEN
		answer := evq_http.mcp_error(NULL, -32600, 'Invalid request: a client sends no responses');
		RETURN;
	ELSIF method IS NULL AND (message ? 'result' OR message ? 'error') THEN
		status := 202;
		RETURN;
	ELSIF jsonb_typeof(message -> 'method') IS DISTINCT FROM 'string' THEN
		answer := evq_http.mcp_error(id, -32600, 'Invalid request: method must be a string');
		RETURN;
	ELSIF jsonb_typeof(params) <> 'object' THEN
		answer := evq_http.mcp_error(id, -32600, 'Invalid request: params must be an object');
		RETURN;
	ELSIF id IS NULL THEN
		status := 202;
		RETURN;
	END IF;

	modern := method = 'server/discover' OR params #> '{_meta,io.modelcontextprotocol/protocolVersion}' IS NOT NULL
		OR coalesce(header_version = ANY ((evq_http.mcp_versions()).modern), false) AND method <> 'initialize';
	IF modern THEN
		answer := evq_http.mcp_modern_refusal(id, method, params, headers);
	ELSIF NOT header_version = ANY ((evq_http.mcp_versions()).legacy) AND method <> 'initialize' THEN
		answer := evq_http.mcp_unsupported_version(id, header_version);
	END IF;
	IF answer IS NOT NULL THEN
		RETURN;
	END IF;

	status := 200;
	BEGIN
		result := evq_http.mcp_result(method, params, modern, allow_writes);
	EXCEPTION
		WHEN SQLSTATE 'EQ006' THEN
			answer := evq_http.mcp_error(id, -32602, 'Invalid params: ' || SQLERRM);
		WHEN SQLSTATE 'EQ001' OR SQLSTATE 'EQ002' THEN
			answer := evq_http.mcp_error(id, CASE WHEN modern THEN -32602 ELSE -32002 END, 'Resource not found: ' || SQLERRM,
				json_build_object('uri', left(params ->> 'uri', 1000)));
		WHEN OTHERS THEN
			answer := evq_http.mcp_error(id, -32603, 'Internal error: ' || SQLERRM, json_build_object('sqlstate', SQLSTATE));
	END;
	IF answer IS NOT NULL THEN
		RETURN;
	ELSIF result IS NULL THEN
		answer := evq_http.mcp_error(id, -32601, 'Method not found: ' || left(method, 100));
		status := CASE WHEN modern THEN 404 ELSE 200 END;
	ELSE
		answer := json_build_object('jsonrpc', '2.0', 'id', id, 'result', result);
	END IF;
END
$$;
COMMENT ON FUNCTION evq_http.mcp_respond(jsonb, jsonb, boolean) IS
	'The answer to one message, NULL where there is none to give, and its HTTP status; headers have lower-case names';

CREATE FUNCTION evq_http.mcp(headers jsonb, body text, allow_writes boolean DEFAULT false, OUT status int, OUT answer text)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET intervalstyle = iso_8601
AS $$
DECLARE
	lower_headers jsonb;
	message jsonb;
BEGIN
	IF jsonb_typeof(headers) <> 'object' THEN
		RAISE EXCEPTION 'headers must be an object or NULL'
			USING ERRCODE = 'EQ006', HINT = 'Pass the HTTP headers by name, or NULL for a message that came by other means.';
	ELSIF headers IS NOT NULL THEN
		lower_headers := (SELECT coalesce(jsonb_object_agg(lower(key COLLATE "C"), value), '{}') FROM jsonb_each(headers));
	END IF;
	BEGIN
		message := body::jsonb;
	EXCEPTION WHEN OTHERS THEN
		status := 400;
		answer := evq_http.mcp_error(NULL, -32700, 'Parse error: ' || SQLERRM);
		RETURN;
	END;
	IF jsonb_typeof(message) = 'object' THEN
		SELECT r.status, r.answer INTO status, answer FROM evq_http.mcp_respond(message, lower_headers, allow_writes) r;
	ELSIF (CASE jsonb_typeof(message) WHEN 'array' THEN jsonb_array_length(message) BETWEEN 1 AND 100 END)
		AND coalesce(lower_headers ->> 'mcp-protocol-version', '2025-03-26') = '2025-03-26' THEN
		SELECT '[' || string_agg((evq_http.mcp_respond(element, lower_headers, allow_writes)).answer::text, ', ' ORDER BY place) || ']' INTO answer
		FROM jsonb_array_elements(message) WITH ORDINALITY elements (element, place);
		status := CASE WHEN answer IS NULL THEN 202 ELSE 200 END;
	ELSE
		status := 400;
		answer := evq_http.mcp_error(NULL, -32600, 'Invalid request: send one message, an object (in version 2025-03-26 also an array of 1 to 100)');
	END IF;
	-- Over stdio a message is one line; in JSON these stand between tokens only.
	answer := translate(answer, E'\n\r\t', '');
END
$$;
COMMENT ON FUNCTION evq_http.mcp(jsonb, text, boolean) IS
$$Answers one message of the Model Context Protocol: the HTTP status, and the body, NULL = empty. headers: those of the HTTP request by
name; NULL = the message came by other means, such as stdio. Tools that write are there only if allow_writes, which is the operator's to
say, never the client's. The caller's grants decide what a tool may do; what fails in it is told in the answer.
Errors: EQ006 headers is no object.$$;
