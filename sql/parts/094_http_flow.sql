-- Routes of a flow.

CREATE FUNCTION evq_http.configure_flow(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{channel, max_dispatched, max_processing, dispatch_timeout, delivery, ordered, notify_payload, group_by, max_processing_per_group, rate, per, burst,
		rate_per_group, per_per_group, burst_per_group, fair, priority_step}');
BEGIN
	PERFORM @extschema@.evq_configure_flow(target,
		channel => evq_http.text_of(given, 'channel'),
		max_dispatched => evq_http.integer_of(given, 'max_dispatched', -2147483648, 2147483647)::int,
		max_processing => evq_http.integer_of(given, 'max_processing', -2147483648, 2147483647)::int,
		dispatch_timeout => evq_http.duration_of(given -> 'dispatch_timeout', 'dispatch_timeout'),
		delivery => evq_http.text_of(given, 'delivery'),
		ordered => evq_http.boolean_of(given, 'ordered'),
		notify_payload => evq_http.boolean_of(given, 'notify_payload'),
		group_by => evq_http.text_of(given, 'group_by'),
		max_processing_per_group => evq_http.integer_of(given, 'max_processing_per_group', -2147483648, 2147483647)::int,
		rate => evq_http.number_of(given, 'rate')::numeric,
		per => evq_http.duration_of(given -> 'per', 'per'),
		burst => evq_http.integer_of(given, 'burst', -2147483648, 2147483647)::int,
		rate_per_group => evq_http.number_of(given, 'rate_per_group')::numeric,
		per_per_group => evq_http.duration_of(given -> 'per_per_group', 'per_per_group'),
		burst_per_group => evq_http.integer_of(given, 'burst_per_group', -2147483648, 2147483647)::int,
		fair => evq_http.boolean_of(given, 'fair'),
		priority_step => evq_http.duration_of(given -> 'priority_step', 'priority_step'));
	RETURN evq_http.flow_named(target);
END
$$;
COMMENT ON FUNCTION evq_http.configure_flow(text, jsonb, jsonb, jsonb) IS
'PUT /api/flows/{flow}: makes or changes a flow, as evq_configure_flow() does, and returns it. Errors: as evq_configure_flow';

CREATE FUNCTION evq_http.flow_named(flow_type text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_jsonb(f) FROM evq.flows f WHERE f.flow_type = flow_named.flow_type $$;
COMMENT ON FUNCTION evq_http.flow_named(text) IS 'The flow of that name as HTTP shows it';

CREATE FUNCTION evq_http.pause_flow(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{until, reason}');
BEGIN
	PERFORM @extschema@.evq_pause_flow(target, evq_http.time_of(given, 'until'), evq_http.text_of(given, 'reason'));
	RETURN evq_http.flow_named(target);
END
$$;
COMMENT ON FUNCTION evq_http.pause_flow(text, jsonb, jsonb, jsonb) IS
'POST /api/flows/{flow}/pause: until, reason. Returns the flow. Errors: as evq_pause_flow';

CREATE FUNCTION evq_http.resume_flow(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq_http.object_of(body, '{}');
	PERFORM @extschema@.evq_resume_flow(target);
	RETURN evq_http.flow_named(target);
END
$$;
COMMENT ON FUNCTION evq_http.resume_flow(text, jsonb, jsonb, jsonb) IS
'POST /api/flows/{flow}/resume. Returns the flow. Errors: as evq_resume_flow';
