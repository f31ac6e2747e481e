-- Publishing.
-- What is jsonb is declared anycompatible, so that json and text do too: what has no type in the call, as a literal or a
-- parameter of many drivers, is text. An overload for each type would be ambiguous then.

CREATE FUNCTION @extschema@.evq_publish(event_type text, flow_type text, flow_id text, payload anycompatible DEFAULT NULL,
	on_fail_event_type text DEFAULT NULL, run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL,
	idempotency_key text DEFAULT NULL, headers anycompatible DEFAULT NULL, group_key text DEFAULT NULL)
RETURNS uuid AS 'MODULE_PATHNAME', 'evq_sql_publish' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_publish(text, text, text, anycompatible, text, timestamptz, bigint, text, anycompatible, text) IS
$$Publishes one event. It exists if and only if the transaction commits.
event_type: a configured type.
flow_type: NULL = the event type's own; another flow is refused.
flow_id: what the events of one case have in common, such as an order's number; 1 to 255 bytes.
payload: an object or any other JSON, as jsonb, json or their text; NULL = {}.
on_fail_event_type: of the same flow, published when this event fails for good or expires; NULL = the event type's.
run_at: not before this time; NULL or past = now.
priority: higher first, -32768 to 32767; NULL = the event type's.
idempotency_key: per event type, 1 to 255 bytes. The same key again publishes nothing and returns the first event's id, as
long as that event is kept: until the retention of its type after its end.
headers: JSON beside the payload, for traces and the like, of the same SQL type as payload; NULL = none.
group_key: whose event it is, for limits by group, 1 to 255 bytes; NULL = what the flow's group_by says, or nobody's.
Returns: the event's id, a UUID of version 7, in which the time of the publish is.
Errors: EQ001 unknown event type or flow, EQ005 payload or headers too large, EQ006 bad argument, EQ008 key reused with
another payload or flow_id.$$;

CREATE FUNCTION @extschema@.evq_publish(event_type text, flow_type text, flow_id anynonarray, payload anycompatible DEFAULT NULL,
	on_fail_event_type text DEFAULT NULL, run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL,
	idempotency_key text DEFAULT NULL, headers anycompatible DEFAULT NULL, group_key text DEFAULT NULL)
RETURNS uuid AS 'MODULE_PATHNAME', 'evq_sql_publish' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_publish(text, text, anynonarray, anycompatible, text, timestamptz, bigint, text, anycompatible, text) IS
$$The same for a flow_id that is a whole number (smallint, integer, bigint) or a uuid: its text is the flow_id. Errors: as
there, EQ006 for another type$$;

CREATE FUNCTION @extschema@.evq_publish_many(events anycompatible)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_publish_many_json' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_publish_many(anycompatible) IS
$$Publishes many events, of any mix of types: all or nothing.
events: an array of objects, as jsonb, json or its text; the keys are the names of the arguments of evq_publish. A flow_id
may be a whole number; null is the same as no key.
Returns: the ids in the order of the array.
Errors: as evq_publish; CONTEXT names the position.$$;

CREATE FUNCTION @extschema@.evq_publish_many(event_type text, flow_type text, flow_ids anyarray, payloads anycompatiblearray,
	run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL, group_keys text[] DEFAULT NULL)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_publish_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_publish_many(text, text, anyarray, anycompatiblearray, timestamptz, bigint, text[]) IS
$$Publishes many events of one type, one for each flow_id: the fastest way, all or nothing.
event_type, flow_type, run_at, priority: as in evq_publish, for all of them.
flow_ids: an array of text, whole numbers or uuid, without NULLs.
payloads: an array of jsonb, json or their text, as long as flow_ids, each at the place of its flow_id; NULL there = {}.
group_keys: as group_key in evq_publish, each at the place of its flow_id; NULL = none is given.
Returns: the ids in the same order.
Errors: as evq_publish.$$;

CREATE FUNCTION @extschema@.evq_publish_many(event_type text, flow_type text, flow_ids text, payloads anycompatiblearray,
	run_at timestamptz DEFAULT NULL, priority bigint DEFAULT NULL, group_keys text[] DEFAULT NULL)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_publish_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_publish_many(text, text, text, anycompatiblearray, timestamptz, bigint, text[]) IS
$$The same for flow_ids that have no type in the call, as a literal or a parameter of many drivers: {a,b}. Errors: as there$$;
