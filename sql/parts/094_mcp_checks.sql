-- Model Context Protocol: what is refused. The modern era is that of 2026-07-28, where each request says its version in
-- params._meta; the legacy era is that of the versions before, which begin with initialize.

CREATE FUNCTION evq_http.mcp_versions(OUT modern text[], OUT legacy text[]) RETURNS record
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT '{2026-07-28}'::text[], '{2025-11-25, 2025-06-18, 2025-03-26}'::text[] $$;
COMMENT ON FUNCTION evq_http.mcp_versions() IS 'Versions of the protocol that evq_http.mcp() speaks, the newest first';

CREATE FUNCTION evq_http.mcp_error(id jsonb, code int, message text, data json DEFAULT NULL) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT json_strip_nulls(json_build_object('jsonrpc', '2.0', 'id', id,
	'error', json_build_object('code', code, 'message', message, 'data', data)))
$$;
COMMENT ON FUNCTION evq_http.mcp_error(jsonb, int, text, json) IS 'An error response of JSON-RPC; id NULL = the request had no readable one';

CREATE FUNCTION evq_http.mcp_unsupported_version(id jsonb, requested text) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT evq_http.mcp_error(id, -32022, 'Unsupported protocol version',
	json_build_object('supported', to_json(v.modern || v.legacy), 'requested', left(requested, 100)))
FROM evq_http.mcp_versions() v
$$;
COMMENT ON FUNCTION evq_http.mcp_unsupported_version(jsonb, text) IS 'The error response to a version that evq_http.mcp() does not speak';

-- In HTTP the headers repeat what the body says, so that whoever routes by them and whoever executes the body agree.
CREATE FUNCTION evq_http.mcp_modern_refusal(id jsonb, method text, params jsonb, headers jsonb) RETURNS json
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	version jsonb := params #> '{_meta,io.modelcontextprotocol/protocolVersion}';
	header text;
	wanted text;
	sent text;
BEGIN
	IF jsonb_typeof(version) IS DISTINCT FROM 'string' THEN
		RETURN evq_http.mcp_error(id, -32602, 'params._meta["io.modelcontextprotocol/protocolVersion"] must be a string');
	ELSIF NOT version #>> '{}' = ANY ((evq_http.mcp_versions()).modern) THEN
		RETURN evq_http.mcp_unsupported_version(id, version #>> '{}');
	ELSIF jsonb_typeof(params #> '{_meta,io.modelcontextprotocol/clientCapabilities}') IS DISTINCT FROM 'object' THEN
		RETURN evq_http.mcp_error(id, -32602, 'params._meta["io.modelcontextprotocol/clientCapabilities"] must be an object');
	END IF;
	IF headers IS NULL THEN
		RETURN NULL;
	END IF;
	FOR header, wanted IN VALUES
		('MCP-Protocol-Version', version #>> '{}'),
		('Mcp-Method', method),
		('Mcp-Name', CASE method WHEN 'tools/call' THEN params ->> 'name' WHEN 'resources/read' THEN params ->> 'uri' END)
	LOOP
		sent := headers ->> lower(header COLLATE "C");
		IF sent IS NULL AND wanted IS NOT NULL THEN
			RETURN evq_http.mcp_error(id, -32020, format('Header mismatch: %s is missing', header));
		ELSIF sent LIKE '=?base64?%?=' AND header = 'Mcp-Name' THEN
			wanted := '=?base64?' || translate(encode(convert_to(wanted, 'UTF8'), 'base64'), E'\n', '') || '?=';
		END IF;
		IF sent <> wanted THEN
			RETURN evq_http.mcp_error(id, -32020, format('Header mismatch: %s does not match the body', header));
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION evq_http.mcp_modern_refusal(jsonb, text, jsonb, jsonb) IS
	'Why a request of the modern era is refused before its method is looked at: an error response, or NULL; headers NULL = not by HTTP';

-- The keywords of JSON Schema that the tools use, and no other.
CREATE FUNCTION evq_http.mcp_violation(value jsonb, schema jsonb, path text DEFAULT '') RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	subject text := CASE path WHEN '' THEN 'arguments' ELSE format('argument "%s"', path) END;
	kind text := jsonb_typeof(value);
	wanted text[] := CASE jsonb_typeof(schema -> 'type') WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(schema -> 'type'))
		ELSE ARRAY[schema ->> 'type'] END;
	content text := value #>> '{}';
	member text;
	item jsonb;
	place bigint;
	violation text;
BEGIN
	IF kind = 'number' AND 'integer' = ANY (wanted) THEN
		kind := CASE WHEN value::numeric % 1 = 0 THEN 'integer' ELSE 'fraction' END;
	END IF;
	IF kind <> ALL (wanted) THEN
		RETURN format('%s must be of type %s, not %s', subject, array_to_string(wanted, ' or '), kind);
	END IF;
	IF NOT schema -> 'enum' @> value THEN
		RETURN format('%s must be one of %s', subject, schema ->> 'enum');
	END IF;
	CASE kind
	WHEN 'integer' THEN
		IF value::numeric < (schema -> 'minimum')::numeric OR value::numeric > (schema -> 'maximum')::numeric THEN
			RETURN format('%s must be from %s to %s', subject, schema -> 'minimum', schema -> 'maximum');
		END IF;
	WHEN 'string' THEN
		IF length(content) < (schema -> 'minLength')::int OR length(content) > (schema -> 'maxLength')::int THEN
			RETURN format('%s must have %s to %s characters', subject, schema -> 'minLength', schema -> 'maxLength');
		ELSIF content COLLATE "C" !~ (schema ->> 'pattern') THEN
			RETURN format('%s must match the pattern %s', subject, schema ->> 'pattern');
		ELSIF content COLLATE "C" !~* (CASE schema ->> 'format'
			WHEN 'uuid' THEN '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
			WHEN 'date-time' THEN E'^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?(Z|[-+]\\d\\d:\\d\\d)$' END) THEN
			RETURN format('%s must have the format %s', subject, schema ->> 'format');
		END IF;
	WHEN 'array' THEN
		IF jsonb_array_length(value) < (schema -> 'minItems')::int OR jsonb_array_length(value) > (schema -> 'maxItems')::int THEN
			RETURN format('%s must have %s to %s items', subject, schema -> 'minItems', schema -> 'maxItems');
		END IF;
		IF schema ? 'items' THEN
			FOR item, place IN SELECT * FROM jsonb_array_elements(value) WITH ORDINALITY LOOP
				violation := evq_http.mcp_violation(item, schema -> 'items', format('%s[%s]', path, place - 1));
				EXIT WHEN violation IS NOT NULL;
			END LOOP;
		END IF;
	WHEN 'object' THEN
		FOR member IN SELECT jsonb_array_elements_text(schema -> 'required') LOOP
			IF NOT value ? member OR (value -> member = 'null' AND schema #> ARRAY['properties', member, 'type'] IS NOT NULL) THEN
				RETURN format('argument "%s" is missing', concat_ws('.', nullif(path, ''), member));
			END IF;
		END LOOP;
		FOR member, item IN SELECT * FROM jsonb_each(value) LOOP
			-- null is the same as no argument.
			CONTINUE WHEN item = 'null' AND schema -> 'properties' ? member;
			IF schema -> 'properties' ? member THEN
				violation := evq_http.mcp_violation(item, schema -> 'properties' -> member, concat_ws('.', nullif(path, ''), member));
			ELSIF schema -> 'additionalProperties' = 'false' THEN
				violation := format('unknown argument "%s"', concat_ws('.', nullif(path, ''), left(member, 100)));
			END IF;
			EXIT WHEN violation IS NOT NULL;
		END LOOP;
	ELSE
		NULL;
	END CASE;
	RETURN violation;
END
$$;
COMMENT ON FUNCTION evq_http.mcp_violation(jsonb, jsonb, text) IS
	'How a value violates a JSON Schema, with the path to the place; NULL = it does not';
