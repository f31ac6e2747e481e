-- The route that configures a flow.

CREATE FUNCTION evq_http.configure_flow(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{channel, max_dispatched, max_processing, dispatch_timeout, delivery, ordered, notify_payload}');
BEGIN
	PERFORM @extschema@.evq_configure_flow(target,
		channel => evq_http.text_of(given, 'channel'),
		max_dispatched => evq_http.integer_of(given, 'max_dispatched', -2147483648, 2147483647)::int,
		max_processing => evq_http.integer_of(given, 'max_processing', -2147483648, 2147483647)::int,
		dispatch_timeout => evq_http.duration_of(given -> 'dispatch_timeout', 'dispatch_timeout'),
		delivery => evq_http.text_of(given, 'delivery'),
		ordered => evq_http.boolean_of(given, 'ordered'),
		notify_payload => evq_http.boolean_of(given, 'notify_payload'));
	RETURN (SELECT to_jsonb(f) FROM evq.flows f WHERE f.flow_type = target);
END
$$;
COMMENT ON FUNCTION evq_http.configure_flow(text, jsonb, jsonb, jsonb) IS
'PUT /api/flows/{flow}: makes or changes a flow, as evq_configure_flow() does, and returns it. Errors: as evq_configure_flow';
