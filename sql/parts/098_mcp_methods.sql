-- Model Context Protocol: the methods. Each returns the result; an error of evq's own is raised and becomes one of the protocol.

CREATE FUNCTION evq_http.mcp_tools(allow_writes boolean) RETURNS SETOF evq_http.mcp_tool
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 12
AS $$
SELECT t.* FROM (
	SELECT * FROM evq_http.mcp_worker_tools()
	UNION ALL SELECT * FROM evq_http.mcp_operator_tools()
	UNION ALL SELECT * FROM evq_http.mcp_reading_tools()) t
WHERE allow_writes OR NOT t.writes
ORDER BY t.name COLLATE "C"
$$;
COMMENT ON FUNCTION evq_http.mcp_tools(boolean) IS 'The tools of evq_http.mcp(), those that write only if allowed';

-- The function of a route tells by its own grants; that of queue_status is for all, and reads what is not.
CREATE FUNCTION evq_http.mcp_may_use(tool evq_http.mcp_tool) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN tool.statement COLLATE "C" ~ E'evq_http\\.mcp_queues'
	THEN has_table_privilege('evq.queue', 'SELECT')
	ELSE has_function_privilege(format('%s(text, jsonb, jsonb, jsonb)', substring(tool.statement COLLATE "C" FROM E'evq_http\\.[a-z_]+')), 'EXECUTE') END
$$;
COMMENT ON FUNCTION evq_http.mcp_may_use(evq_http.mcp_tool) IS 'May the current user call what a tool calls?';

CREATE FUNCTION evq_http.mcp_tools_list(allow_writes boolean) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT json_build_object('tools', coalesce(json_agg(json_build_object('name', t.name, 'title', t.title, 'description', t.description,
	'inputSchema', t.input_schema, 'outputSchema', t.output_schema,
	'annotations', json_build_object('readOnlyHint', NOT t.writes, 'destructiveHint', t.destructive, 'idempotentHint', t.idempotent,
									 'openWorldHint', false)) ORDER BY t.name COLLATE "C"), '[]'))
FROM evq_http.mcp_tools(allow_writes) t WHERE evq_http.mcp_may_use(t)
$$;
COMMENT ON FUNCTION evq_http.mcp_tools_list(boolean) IS 'Result of tools/list: the tools that the current user may use';

-- What goes wrong inside a tool is a result, for the model to read, and leaves nothing half done.
CREATE FUNCTION evq_http.mcp_tools_call(params jsonb, allow_writes boolean) RETURNS json
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	tool evq_http.mcp_tool;
	arguments jsonb := coalesce(nullif(params -> 'arguments', 'null'), '{}');
	schema jsonb;
	structured jsonb;
	problem text;
	problem_detail text;
	problem_hint text;
BEGIN
	IF jsonb_typeof(params -> 'name') IS DISTINCT FROM 'string' THEN
		RAISE EXCEPTION 'params.name must be a string' USING ERRCODE = 'EQ006';
	ELSIF jsonb_typeof(arguments) <> 'object' THEN
		RAISE EXCEPTION 'params.arguments must be an object' USING ERRCODE = 'EQ006';
	END IF;
	SELECT * INTO tool FROM evq_http.mcp_tools(true) t WHERE t.name = params ->> 'name';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown tool: %', left(params ->> 'name', 100) USING ERRCODE = 'EQ006';
	ELSIF tool.writes AND NOT allow_writes THEN
		RAISE EXCEPTION 'unknown tool: % (it writes, and this server is read-only)', tool.name USING ERRCODE = 'EQ006';
	END IF;
	-- null is as left out, where that may be.
	schema := tool.input_schema::jsonb;
	arguments := (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(arguments)
				  WHERE value <> 'null' OR NOT coalesce(schema -> 'properties', '{}') ? key OR coalesce(schema -> 'required', '[]') ? key);
	problem := 'EQ006: ' || evq_http.mcp_violation(arguments, schema);
	IF problem IS NULL THEN
		BEGIN
			EXECUTE tool.statement INTO STRICT structured USING arguments;
			RETURN json_build_object('content', json_build_array(json_build_object('type', 'text', 'text', structured::text)),
				'structuredContent', structured, 'isError', false);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS problem_detail = PG_EXCEPTION_DETAIL, problem_hint = PG_EXCEPTION_HINT;
			problem := concat_ws(E'\n', SQLSTATE || ': ' || SQLERRM, 'DETAIL: ' || nullif(problem_detail, ''), 'HINT: ' || nullif(problem_hint, ''));
		END;
	END IF;
	RETURN json_build_object('content', json_build_array(json_build_object('type', 'text', 'text', problem)), 'isError', true);
END
$$;
COMMENT ON FUNCTION evq_http.mcp_tools_call(jsonb, boolean) IS 'Result of tools/call; EQ006 for what is no call of a tool that may be used';

-- A name may hold a colon, which is written as %3A in the place of a URI template's variable.
CREATE FUNCTION evq_http.mcp_resources_list(after text) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
WITH page AS (
	SELECT * FROM (
		SELECT 'metrics://queues' AS uri, 'queues' AS name, 'Status of the queues' AS title
		UNION ALL SELECT 'events://pending/' || f.flow_type, 'pending ' || f.flow_type, 'Pending events of ' || f.flow_type FROM evq.flows f
		UNION ALL SELECT 'config://' || replace(t.event_type, ':', '%3A'), 'config ' || t.event_type, 'Configuration of ' || t.event_type
				  FROM evq.event_types t) every
	WHERE after IS NULL OR uri COLLATE "C" > after
	ORDER BY uri COLLATE "C"
	LIMIT 200)
SELECT json_strip_nulls(json_build_object(
	'resources', coalesce(json_agg(json_build_object('uri', uri, 'name', name, 'title', title, 'mimeType', 'application/json')
								   ORDER BY uri COLLATE "C"), '[]'),
	'nextCursor', CASE WHEN count(*) = 200 THEN max(uri COLLATE "C") END))
FROM page
$$;
COMMENT ON FUNCTION evq_http.mcp_resources_list(text) IS 'Result of resources/list: a page of the resources after a URI; NULL = the first page';

CREATE FUNCTION evq_http.mcp_resource_templates_list() RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT json_build_object('resourceTemplates', json_agg(json_build_object('uriTemplate', uri_template, 'name', name, 'title', title,
	'description', description, 'mimeType', 'application/json') ORDER BY name))
FROM (VALUES
	('config://{eventType}', 'config', 'Configuration of an event type', 'Attempts, lifespan, delays and what else its events live by'),
	('event://{eventId}', 'event', 'Event', 'All that is known of one event: status, times, payload, errors, parent and children'),
	('events://pending/{flowType}', 'pending', 'Pending events of a flow', 'The first 100 events that are due and not acquired, oldest first'))
	templates (uri_template, name, title, description)
$$;
COMMENT ON FUNCTION evq_http.mcp_resource_templates_list() IS 'Result of resources/templates/list';

CREATE FUNCTION evq_http.mcp_resources_read(uri text) RETURNS json
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name text := replace(replace(substring(uri FROM '^[a-z]+://(?:pending/)?(.*)$'), '%3A', ':'), '%3a', ':');
	content jsonb;
BEGIN
	IF uri = 'metrics://queues' THEN
		content := evq_http.mcp_queues();
	ELSIF uri COLLATE "C" ~ '^events://pending/.' THEN
		content := evq_http.pending(name, '{"limit": 100}', NULL, NULL);
	ELSIF uri COLLATE "C" ~ '^config://[^/]+$' THEN
		content := evq_http.configured(name);
	ELSIF uri COLLATE "C" ~* '^event://[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
		content := evq_http.event(name, NULL, NULL, NULL);
	END IF;
	IF content IS NULL THEN
		RAISE EXCEPTION 'nothing has this URI' USING ERRCODE = 'EQ002';
	END IF;
	RETURN json_build_object('contents', json_build_array(json_build_object('uri', uri, 'mimeType', 'application/json', 'text', content::text)));
END
$$;
COMMENT ON FUNCTION evq_http.mcp_resources_read(text) IS 'Result of resources/read; EQ001 or EQ002 where there is no such resource';
