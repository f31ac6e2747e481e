-- Publishing.
-- What is jsonb is declared anycompatible, so that json and text do too: what has no type in the call, as a literal or a
-- parameter of many drivers, is text. An overload for each type would be ambiguous then.

CREATE FUNCTION @extschema@.evq_publish(event_type text, flow_type text, flow_id text, payload anycompatible DEFAULT NULL,
	on_fail_event_type text DEFAULT NULL, run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL,
	idempotency_key text DEFAULT NULL, headers anycompatible DEFAULT NULL)
RETURNS uuid AS 'MODULE_PATHNAME', 'evq_sql_publish' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_publish(text, text, text, anycompatible, text, timestamptz, bigint, text, anycompatible) IS
$$Publishes one event and returns its id (UUIDv7). It exists if and only if the transaction commits.
flow_type: NULL = the event type's own. flow_id: what the events of one case have in common, 1 to 255 bytes.
payload, headers: jsonb, json or their text, both of one type; NULL = {} and none.
run_at: not before this time; NULL or past = now. priority: higher first, -32768 to 32767; NULL = the event type's.
idempotency_key: per event type, 1 to 255 bytes; the same key again returns the first event's id, as long as that event
is kept: until the type's retention after its end.
Errors: EQ001 unknown event type or flow, EQ005 payload too large, EQ006 bad argument, EQ008 key reused with another payload or flow_id.$$;

CREATE FUNCTION @extschema@.evq_publish(event_type text, flow_type text, flow_id anynonarray, payload anycompatible DEFAULT NULL,
	on_fail_event_type text DEFAULT NULL, run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL,
	idempotency_key text DEFAULT NULL, headers anycompatible DEFAULT NULL)
RETURNS uuid AS 'MODULE_PATHNAME', 'evq_sql_publish' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_publish(text, text, anynonarray, anycompatible, text, timestamptz, bigint, text, anycompatible) IS
	'The same for a flow_id that is a whole number (smallint, integer, bigint) or a uuid: its text is the flow_id. Errors: as there';

CREATE FUNCTION @extschema@.evq_publish_many(events anycompatible)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_publish_many_json' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_publish_many(anycompatible) IS
$$Publishes an array of objects, any mix of types; the keys are the argument names of evq_publish. events: jsonb, json or its text.
A flow_id may be a whole number; null is the same as no key.
Returns the ids in the order of the array. All or nothing. Errors: as evq_publish, with the position in CONTEXT.$$;

CREATE FUNCTION @extschema@.evq_publish_many(event_type text, flow_type text, flow_ids anyarray, payloads anycompatiblearray,
	run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_publish_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_publish_many(text, text, anyarray, anycompatiblearray, timestamptz, bigint) IS
$$The fast path: publishes events of one type, one for each flow_id, with the payload at the same place of payloads, an array of
jsonb, json or their text; NULL there = {}. flow_ids: an array of text, whole numbers or uuid. Returns the ids in order.
All or nothing. Errors: as evq_publish.$$;

CREATE FUNCTION @extschema@.evq_publish_many(event_type text, flow_type text, flow_ids text, payloads anycompatiblearray,
	run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_publish_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_publish_many(text, text, text, anycompatiblearray, timestamptz, bigint) IS
	'The same for flow_ids that have no type in the call, as a literal or a parameter of many drivers: {a,b}. Errors: as there';
