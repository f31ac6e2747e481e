-- Publishing.

CREATE FUNCTION @extschema@.evq_publish(event_type text, flow_type text, flow_id text, payload jsonb DEFAULT '{}',
	on_fail_event_type text DEFAULT NULL, run_at timestamptz DEFAULT NULL, priority smallint DEFAULT NULL,
	idempotency_key text DEFAULT NULL, headers jsonb DEFAULT NULL)
RETURNS uuid AS 'MODULE_PATHNAME', 'evq_sql_publish' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_publish(text, text, text, jsonb, text, timestamptz, smallint, text, jsonb) IS
$$Publishes one event and returns its id (UUIDv7). It exists if and only if the transaction commits.
flow_type: NULL = the event type's own. flow_id: what the events of one case have in common, 1 to 255 bytes.
run_at: not before this time; NULL or past = now. priority: higher first; NULL = the event type's.
idempotency_key: per event type, 1 to 255 bytes; the same key again returns the first event's id.
Errors: EQ001 unknown event type or flow, EQ005 payload too large, EQ006 bad argument, EQ008 key reused with another payload or flow_id.$$;

CREATE FUNCTION @extschema@.evq_publish_many(events jsonb)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_publish_many_json' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_publish_many(jsonb) IS
$$Publishes an array of objects, any mix of types; the keys are the argument names of evq_publish.
Returns the ids in the order of the array. All or nothing. Errors: as evq_publish, with the position in CONTEXT.$$;

CREATE FUNCTION @extschema@.evq_publish_many(event_type text, flow_type text, flow_ids text[], payloads jsonb[],
	run_at timestamptz DEFAULT NULL, priority smallint DEFAULT NULL)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_publish_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_publish_many(text, text, text[], jsonb[], timestamptz, smallint) IS
$$The fast path: publishes events of one type, one for each flow_id, with the payload at the same place of payloads.
Returns the ids in order. All or nothing. Errors: as evq_publish.$$;
