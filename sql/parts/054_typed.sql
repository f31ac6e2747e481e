-- What evq's own SQL calls in place of the polymorphic functions. Whoever may create functions in the extension's schema can
-- put one there whose types fit better, and what runs with the owner's rights, or for the gateway, would call that. evq-worker
-- calls those of batches.

CREATE FUNCTION evq.publish(event_type text, flow_type text, flow_id text, payload jsonb, on_fail_event_type text, run_at timestamptz,
	priority bigint, idempotency_key text, headers jsonb, group_key text)
RETURNS uuid AS 'MODULE_PATHNAME', 'evq_sql_publish' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION evq.publish(text, text, text, jsonb, text, timestamptz, bigint, text, jsonb, text) IS 'evq_publish()';

CREATE FUNCTION evq.publish_many(events jsonb)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_publish_many_json' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION evq.publish_many(jsonb) IS 'evq_publish_many()';

CREATE FUNCTION evq.heartbeat(event_ids uuid[], permits bigint[], extend_by interval,
	OUT event_id uuid, OUT held boolean, OUT cancel_requested boolean, OUT attempt_due_at timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_heartbeat' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION evq.heartbeat(uuid[], bigint[], interval) IS 'evq_heartbeat()';

CREATE FUNCTION evq.succeed(event_id uuid, permit bigint, result jsonb, spinoffs jsonb)
RETURNS uuid[] AS 'MODULE_PATHNAME', 'evq_sql_succeed' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION evq.succeed(uuid, bigint, jsonb, jsonb) IS 'evq_succeed()';

CREATE FUNCTION evq.activate(event_id uuid, payload_patch jsonb, answer jsonb, permit bigint)
RETURNS evq.event_state AS 'MODULE_PATHNAME', 'evq_sql_activate' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION evq.activate(uuid, jsonb, jsonb, bigint) IS 'evq_activate()';

CREATE FUNCTION evq.succeed_batch(token text, except_ids uuid[])
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_succeed_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION evq.succeed_batch(text, uuid[]) IS 'evq_succeed_batch()';

CREATE FUNCTION evq.fail_batch(token text, error_message text, event_ids uuid[], retryable boolean,
	OUT event_id uuid, OUT accepted boolean, OUT state evq.event_state)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_fail_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION evq.fail_batch(text, text, uuid[], boolean) IS 'evq_fail_batch()';

CREATE FUNCTION evq.succeed_batch_and_acquire(token text, flow_type text, max_events bigint, event_types text[], worker text, permit_for interval,
	except_ids uuid[])
RETURNS SETOF evq.acquired_batch AS 'MODULE_PATHNAME', 'evq_sql_succeed_batch_and_acquire' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION evq.succeed_batch_and_acquire(text, text, bigint, text[], text, interval, uuid[]) IS 'evq_succeed_batch_and_acquire()';
