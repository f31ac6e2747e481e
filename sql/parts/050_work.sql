-- What a worker calls. Why json and arrays of ids are declared polymorphic: see 040_publish.

CREATE FUNCTION @extschema@.evq_acquire(event_id uuid, worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired AS 'MODULE_PATHNAME', 'evq_sql_acquire' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_acquire(uuid, text, interval) IS
$$Acquires one event: being_processed, with a new permit. No row = not granted (another worker has it, it is not due,
its type is suspended, or it is finished). It never waits for another worker.
permit_for: how long the permit holds without heartbeat; NULL = the type's attempt_timeout. Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_acquire_next(flow_type text, max_events bigint DEFAULT 1, event_types text[] DEFAULT NULL,
	worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired AS 'MODULE_PATHNAME', 'evq_sql_acquire_next' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_acquire_next(text, bigint, text[], text, interval) IS
$$Acquires up to max_events (1 to 10000) events of a flow that are ready now, highest priority and oldest first;
no row = nothing ready. It never waits. event_types: only of these. Errors: EQ001 unknown flow or event type, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_heartbeat(event_ids anycompatiblearray, permits bigint[], extend_by interval DEFAULT NULL,
	OUT event_id uuid, OUT held boolean, OUT cancel_requested boolean, OUT attempt_due_at timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_heartbeat' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_heartbeat(anycompatiblearray, bigint[], interval) IS
$$Extends permits: from now by extend_by, or by the type's attempt_timeout, never past due_at. One row an event: held says whether
the permit still holds (that of a suspended event does, until the suspension ends), cancel_requested whether the event was canceled meanwhile. event_ids: an array of uuid, or of their text. Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_succeed(event_id uuid, permit bigint DEFAULT NULL, result anycompatible DEFAULT NULL,
	spinoffs anycompatible DEFAULT NULL)
RETURNS uuid[] AS 'MODULE_PATHNAME', 'evq_sql_succeed' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_succeed(uuid, bigint, anycompatible, anycompatible) IS
$$Reports success. result, spinoffs: jsonb, json or their text, both of one type. spinoffs: an array of objects {"event_type", "payload", "on_fail_event_type", "run_at", "priority", "headers"},
published in the same transaction, in the same flow with the same flow_id. Returns their ids.
The same success reported again with the same permit returns the same ids. permit: NULL = the attempt now running; who has suspended
the event may still report with its permit. Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ009 chain too deep; for spinoffs as evq_publish.$$;

CREATE FUNCTION @extschema@.evq_succeed_many(event_ids anycompatiblearray, permits bigint[], OUT event_id uuid, OUT accepted boolean)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_succeed_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_succeed_many(anycompatiblearray, bigint[]) IS
$$Reports success of many events, each with its permit. One row an event; one whose permit is lost, or that its worker has
suspended, is not accepted and hinders none of the others. Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_succeed_and_acquire(flow_type text, event_ids anycompatiblearray, permits bigint[], max_events bigint DEFAULT 1,
	event_types text[] DEFAULT NULL, worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired AS 'MODULE_PATHNAME', 'evq_sql_succeed_and_acquire' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_succeed_and_acquire(text, anycompatiblearray, bigint[], bigint, text[], text, interval) IS
$$A busy worker's turn in one transaction: evq_succeed_many of the finished events, then evq_acquire_next.
A lost permit is passed over with a WARNING of SQLSTATE EQ004. Errors: as evq_acquire_next.$$;

CREATE FUNCTION @extschema@.evq_fail(event_id uuid, error_message text, permit bigint DEFAULT NULL, stack_trace text DEFAULT NULL,
	retryable boolean DEFAULT true, retry_in interval DEFAULT NULL)
RETURNS evq.event_state AS 'MODULE_PATHNAME', 'evq_sql_fail' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_fail(uuid, text, bigint, text, boolean, interval) IS
$$Reports failure of the attempt, also after it was suspended with this permit; the engine decides. Returns awaiting_processing (it will be retried) or failed
(for good: its on-fail event is published in the same transaction). retry_in: in place of the configured delay.
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_fail_many(event_ids anycompatiblearray, permits bigint[], error_message text, retryable boolean DEFAULT true,
	OUT event_id uuid, OUT accepted boolean, OUT state evq.event_state)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_fail_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_fail_many(anycompatiblearray, bigint[], text, boolean) IS
$$Reports failure of many attempts with one message. One row an event; one whose permit is lost is not accepted
and hinders none of the others. Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_snooze(event_id uuid, permit bigint, run_at timestamptz)
RETURNS void AS 'MODULE_PATHNAME', 'evq_sql_snooze' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_snooze(uuid, bigint, timestamptz) IS
$$Gives an event back until run_at; no attempt is used up. run_at must lie before the end of its lifespan.
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_release(event_id uuid, permit bigint)
RETURNS void AS 'MODULE_PATHNAME', 'evq_sql_release' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_release(uuid, bigint) IS
$$Gives an event back at once; no attempt is used up. Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost.$$;

CREATE FUNCTION @extschema@.evq_suspend(event_id uuid, permit bigint, timeout interval DEFAULT NULL)
RETURNS timestamptz AS 'MODULE_PATHNAME', 'evq_sql_suspend' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_suspend(uuid, bigint, interval) IS
$$Puts an event to sleep until evq_activate; no attempt is used up. Returns when the suspension times out: after timeout or at the
end of the lifespan, whichever comes first; the type's on_suspend_timeout says what happens then: by default the event expires.
NULL = this attempt was activated before, so that it does not sleep: awaiting_processing, due now. evq_fail() and evq_succeed() with
this permit are still accepted while it sleeps, say where the asking failed.
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ006 bad argument.$$;

CREATE FUNCTION evq.are_held(event_ids uuid[], permits bigint[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT NOT EXISTS (
		SELECT FROM unnest(event_ids, permits) p (event_id, permit)
		WHERE NOT EXISTS (SELECT FROM evq.event e WHERE e.event_id = p.event_id AND e.permit = p.permit AND e.state = 'p'))
$$;
COMMENT ON FUNCTION evq.are_held(uuid[], bigint[]) IS
	'Do all of these permits hold? It only reads: a worker asks each second, and by evq_heartbeat() which does not';
