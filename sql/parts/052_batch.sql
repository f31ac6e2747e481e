-- Many events as one batch. Why arrays of ids are declared polymorphic: see 040_publish; where one is left out, PostgreSQL wants
-- to know which it would have been.

CREATE FUNCTION @extschema@.evq_acquire_batch(flow_type text, max_events bigint DEFAULT 100, event_types text[] DEFAULT NULL,
	worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired_batch AS 'MODULE_PATHNAME', 'evq_sql_acquire_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_acquire_batch(text, bigint, text[], text, interval) IS
$$Acquires as evq_acquire_next does, and returns all events in one row, with one token for them: what any session reports them with. The token
is a value to pass on as it is; its form may change. No row = nothing ready. A batch ends before max_events where its payloads come to 32 MB.
Errors: EQ001 unknown flow or event type, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_succeed_batch(token text, except_ids anycompatiblearray DEFAULT NULL::uuid[])
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_succeed_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_succeed_batch(text, anycompatiblearray) IS
$$Reports success of a batch, but for except_ids, which stay held: report them with evq_fail_batch, or one by one with their permits of
evq_batch_permits. Returns the ids of those that were not accepted, as evq_succeed_many tells them: their permits are lost. No row = all were accepted.
The same success may be reported again. except_ids: an array of uuid, or of their text.
Errors: EQ004 a token of another database, or of before a promotion or restore, EQ006 not a whole token, or an id that is not of the batch.$$;

CREATE FUNCTION @extschema@.evq_succeed_batch_and_acquire(token text, flow_type text, max_events bigint DEFAULT 100, event_types text[] DEFAULT NULL,
	worker text DEFAULT NULL, permit_for interval DEFAULT NULL, except_ids anycompatiblearray DEFAULT NULL::uuid[])
RETURNS SETOF evq.acquired_batch AS 'MODULE_PATHNAME', 'evq_sql_succeed_batch_and_acquire' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_succeed_batch_and_acquire(text, text, bigint, text[], text, interval, anycompatiblearray) IS
$$A busy worker's turn in one transaction: evq_succeed_batch of the finished batch (token: NULL = there is none yet), then evq_acquire_batch.
Lost permits are passed over with a WARNING of SQLSTATE EQ004. Errors: as evq_succeed_batch and evq_acquire_batch.$$;

CREATE FUNCTION @extschema@.evq_fail_batch(token text, error_message text, event_ids anycompatiblearray DEFAULT NULL::uuid[], retryable boolean DEFAULT true,
	OUT event_id uuid, OUT accepted boolean, OUT state evq.event_state)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_fail_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_fail_batch(text, text, anycompatiblearray, boolean) IS
$$Reports failure of event_ids of a batch (NULL = of all), with one message, as evq_fail_many does: one row an event.
event_ids: an array of uuid, or of their text. Errors: EQ004 and EQ006 as evq_succeed_batch.$$;

CREATE FUNCTION @extschema@.evq_heartbeat_batch(token text, extend_by interval DEFAULT NULL,
	OUT event_id uuid, OUT held boolean, OUT cancel_requested boolean, OUT attempt_due_at timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_heartbeat_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_heartbeat_batch(text, interval) IS
'Extends the permits of a batch, as evq_heartbeat does: one row an event. Errors: EQ004 and EQ006 as evq_succeed_batch';

CREATE FUNCTION @extschema@.evq_release_batch(token text)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_release_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_release_batch(text) IS
$$Gives a batch back at once; no attempt is used up. Returns the ids of those that were not accepted: reported meanwhile, or their permits are lost.
Errors: EQ004 and EQ006 as evq_succeed_batch.$$;

CREATE FUNCTION @extschema@.evq_batch_permits(token text, OUT event_id uuid, OUT permit bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_batch_permits' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_batch_permits(text) IS
'The permits of a batch, to report one of its events by evq_fail, evq_snooze, evq_suspend and the like. It reads only the token. Errors: EQ006 not a whole token';
