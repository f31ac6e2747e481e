-- Routes of a flow's groups.

CREATE FUNCTION evq_http.group_named(flow_type text, group_key text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce((SELECT to_jsonb(g) FROM evq.groups g WHERE g.flow_type = group_named.flow_type AND g.group_key = group_named.group_key),
	jsonb_build_object('flow_type', flow_type, 'group_key', group_key, 'is_paused', false))
$$;
COMMENT ON FUNCTION evq_http.group_named(text, text) IS 'The group of that key as HTTP shows it; little of one that evq.groups does not have';

CREATE FUNCTION evq_http.groups(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq_http.object_of(query, '{}');
	IF NOT EXISTS (SELECT FROM evq.flows f WHERE f.flow_type = target) THEN
		RAISE EXCEPTION 'unknown flow %', coalesce(quote_ident(left(target, 63)), 'NULL')
			USING ERRCODE = 'EQ001', HINT = 'Configure it with evq_configure_flow().';
	END IF;
	RETURN (
		SELECT jsonb_build_object('groups', coalesce(jsonb_agg(to_jsonb(g) ORDER BY g.waiting DESC, g.group_key), '[]'))
		FROM (SELECT l.* FROM evq.groups l WHERE l.flow_type = target ORDER BY l.waiting DESC, l.group_key LIMIT 200) g);
END
$$;
COMMENT ON FUNCTION evq_http.groups(text, jsonb, jsonb, jsonb) IS
'GET /api/flows/{flow}/groups: what each group may have, and has, of up to 200 with the most that wait. Errors: EQ001 unknown flow, EQ006 unknown key';

CREATE FUNCTION evq_http.configure_group(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{group_key, max_processing, rate, per, burst}');
	key text := evq_http.text_of(given, 'group_key');
BEGIN
	PERFORM @extschema@.evq_configure_group(target, key,
		max_processing => evq_http.integer_of(given, 'max_processing', -2147483648, 2147483647)::int,
		rate => evq_http.number_of(given, 'rate')::numeric,
		per => evq_http.duration_of(given -> 'per', 'per'),
		burst => evq_http.integer_of(given, 'burst', -2147483648, 2147483647)::int);
	RETURN evq_http.group_named(target, key);
END
$$;
COMMENT ON FUNCTION evq_http.configure_group(text, jsonb, jsonb, jsonb) IS
'PUT /api/flows/{flow}/groups: gives the group of group_key limits of its own, as evq_configure_group() does, and returns it. Errors: as evq_configure_group';

CREATE FUNCTION evq_http.pause_group(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{group_key, until, reason}');
	key text := evq_http.text_of(given, 'group_key');
BEGIN
	PERFORM @extschema@.evq_pause_group(target, key, evq_http.time_of(given, 'until'), evq_http.text_of(given, 'reason'));
	RETURN evq_http.group_named(target, key);
END
$$;
COMMENT ON FUNCTION evq_http.pause_group(text, jsonb, jsonb, jsonb) IS
'POST /api/flows/{flow}/pause-group: group_key, until, reason. Returns the group. Errors: as evq_pause_group';

CREATE FUNCTION evq_http.resume_group(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{group_key}');
	key text := evq_http.text_of(given, 'group_key');
BEGIN
	PERFORM @extschema@.evq_resume_group(target, key);
	RETURN evq_http.group_named(target, key);
END
$$;
COMMENT ON FUNCTION evq_http.resume_group(text, jsonb, jsonb, jsonb) IS
'POST /api/flows/{flow}/resume-group: group_key. Returns the group. Errors: as evq_resume_group';
