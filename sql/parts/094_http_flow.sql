-- The route that configures a flow.

CREATE FUNCTION @extschema@.evq_http_configure_flow(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{channel, max_dispatched, max_processing, dispatch_timeout, delivery, ordered, notify_payload}');
BEGIN
	PERFORM @extschema@.evq_configure_flow(target,
		channel => evq.http_text(given, 'channel'),
		max_dispatched => evq.http_integer(given, 'max_dispatched', -2147483648, 2147483647)::int,
		max_processing => evq.http_integer(given, 'max_processing', -2147483648, 2147483647)::int,
		dispatch_timeout => evq.http_duration(given -> 'dispatch_timeout', 'dispatch_timeout'),
		delivery => evq.http_text(given, 'delivery'),
		ordered => evq.http_boolean(given, 'ordered'),
		notify_payload => evq.http_boolean(given, 'notify_payload'));
	RETURN (SELECT to_jsonb(f) FROM evq.flows f WHERE f.flow_type = target);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_configure_flow(text, jsonb, jsonb, jsonb) IS
'PUT /api/flows/{flow}: makes or changes a flow, as evq_configure_flow() does, and returns it. Errors: as evq_configure_flow';
