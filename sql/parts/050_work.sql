-- What a worker calls. Why json and arrays of ids are declared polymorphic: see 040_publish.

CREATE FUNCTION @extschema@.evq_acquire(event_id uuid, worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired AS 'MODULE_PATHNAME', 'evq_sql_acquire' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_acquire(uuid, text, interval) IS
$$Acquires one event: it is being_processed then, with a new permit. It never waits for another worker.
event_id: of a notification, say.
worker: a name to be seen in evq.workers and with errors, up to 255 bytes; NULL = none.
permit_for: how long the permit holds without heartbeat, above 0 and up to 3650 days, and never past the event's due_at; NULL
= the type's attempt_timeout.
Returns: its row, or none where it is not granted: another worker has it, it is not due, its type is suspended, it is
finished or unknown, or the database is paused.
Errors: EQ006 bad argument.$$;
COMMENT ON COLUMN evq.acquired.permit IS 'What the report, and heartbeats, have to bring';
COMMENT ON COLUMN evq.acquired.attempt IS 'Which attempt this is: 1, 2, ...';
COMMENT ON COLUMN evq.acquired.attempts_left IS 'How many are left after it';
COMMENT ON COLUMN evq.acquired.payload IS 'What the publisher wrote';
COMMENT ON COLUMN evq.acquired.headers IS 'Beside the payload; NULL = none';
COMMENT ON COLUMN evq.acquired.attempt_due_at IS 'Until when the permit holds';
COMMENT ON COLUMN evq.acquired.answer IS 'What evq_activate brought since it was suspended last; NULL = nothing';

CREATE FUNCTION @extschema@.evq_acquire_next(flow_type text, max_events bigint DEFAULT 1, event_types text[] DEFAULT NULL,
	worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired AS 'MODULE_PATHNAME', 'evq_sql_acquire_next' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_acquire_next(text, bigint, text[], text, interval) IS
$$Acquires events of a flow that are ready now, highest priority and oldest first. It never waits.
flow_type: the flow.
max_events: how many at most, 1 to 10000.
event_types: only of these types, up to 100; NULL = of all.
worker: a name to be seen in evq.workers and with errors, up to 255 bytes; NULL = none.
permit_for: how long each permit holds without heartbeat, as in evq_acquire.
Returns: a row for each event; none = nothing is ready.
Errors: EQ001 unknown flow or event type, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_acquire_next(flow_types text[], max_events bigint DEFAULT 1, event_types text[] DEFAULT NULL,
	worker text DEFAULT NULL, permit_for interval DEFAULT NULL, weights bigint[] DEFAULT NULL)
RETURNS SETOF evq.acquired AS 'MODULE_PATHNAME', 'evq_sql_acquire_next_of_flows' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_acquire_next(text[], bigint, text[], text, interval, bigint[]) IS
$$The same of several flows: each has a share of max_events in proportion to its weight, drawn so that on average over calls
it is exact, and what it does not have ready is for the others. Within a flow, highest priority and oldest first, as ever;
priorities of different flows are not compared.
flow_types: up to 100 flows, each once.
max_events: how many at most in all, 1 to 10000.
event_types: only of these types, up to 100; NULL = of all.
worker: a name to be seen in evq.workers and with errors, up to 255 bytes; NULL = none.
permit_for: how long each permit holds without heartbeat, as in evq_acquire.
weights: of each flow, 1 to 1000, in the same order; NULL = equal ones.
Returns: a row for each event; none = nothing is ready in any of them.
Errors: EQ001 unknown flow or event type, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_heartbeat(event_ids anycompatiblearray, permits bigint[], extend_by interval DEFAULT NULL,
	OUT event_id uuid, OUT held boolean, OUT cancel_requested boolean, OUT attempt_due_at timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_heartbeat' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_heartbeat(anycompatiblearray, bigint[], interval) IS
$$Extends the permits of events in hand, and tells which of them do not hold any more.
event_ids: an array of uuid, or of their text.
permits: that of each event, in the same order.
extend_by: how long from now, above 0 and up to 3650 days, never past the event's due_at; NULL = the type's attempt_timeout.
Returns: a row for each event: held = the permit holds, until attempt_due_at (that of a suspended event does until the
suspension ends); cancel_requested = the event was canceled meanwhile. Not held = stop the work.
Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_succeed(event_id uuid, permit bigint DEFAULT NULL, result anycompatible DEFAULT NULL,
	spinoffs anycompatible DEFAULT NULL)
RETURNS uuid[] AS 'MODULE_PATHNAME', 'evq_sql_succeed' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_succeed(uuid, bigint, anycompatible, anycompatible) IS
$$Reports that the work is done: the event has succeeded.
event_id: the event.
permit: that of the acquisition; NULL = the attempt now running, whoever runs it. Who has suspended the event may still
report with its permit.
result: what came out, to be read in evq.events, as jsonb, json or their text; NULL = nothing.
spinoffs: events to publish in the same transaction, in the same flow with the same flow_id: an array of objects
{"event_type", "payload", "on_fail_event_type", "run_at", "priority", "headers"}, of the same SQL type as result; NULL =
none.
Returns: the ids of the spinoffs. The same success reported again with the same permit returns the same ids.
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ005 result too large, EQ009 chain too long; for
spinoffs as evq_publish.$$;

CREATE FUNCTION @extschema@.evq_succeed_many(event_ids anycompatiblearray, permits bigint[], OUT event_id uuid, OUT accepted boolean)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_succeed_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_succeed_many(anycompatiblearray, bigint[]) IS
$$Reports that the work of many events is done, each by its permit.
event_ids: an array of uuid, or of their text.
permits: that of each event, in the same order.
Returns: a row for each event: accepted = its success is recorded. One whose permit is lost, or that its worker has
suspended, is not accepted and hinders none of the others.
Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_succeed_and_acquire(flow_type text, event_ids anycompatiblearray, permits bigint[], max_events bigint DEFAULT 1,
	event_types text[] DEFAULT NULL, worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired AS 'MODULE_PATHNAME', 'evq_sql_succeed_and_acquire' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_succeed_and_acquire(text, anycompatiblearray, bigint[], bigint, text[], text, interval) IS
$$A busy worker's turn in one transaction: evq_succeed_many of what is done, then evq_acquire_next.
event_ids, permits: what is done, as in evq_succeed_many; may be empty. A lost permit is passed over with a WARNING of
SQLSTATE EQ004.
flow_type, max_events, event_types, worker, permit_for: what to take, as in evq_acquire_next.
Returns: a row for each event that was acquired.
Errors: as evq_acquire_next.$$;

CREATE FUNCTION @extschema@.evq_fail(event_id uuid, error_message text, permit bigint DEFAULT NULL, stack_trace text DEFAULT NULL,
	retryable boolean DEFAULT true, retry_in interval DEFAULT NULL)
RETURNS evq.event_state AS 'MODULE_PATHNAME', 'evq_sql_fail' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_fail(uuid, text, bigint, text, boolean, interval) IS
$$Reports that an attempt failed; what follows is configured with the event's type. The error is a row of evq.errors.
event_id: the event.
error_message: what went wrong; cut at 8192 bytes.
permit: that of the acquisition, also after the event was suspended with it; NULL = the attempt now running, whoever runs it.
stack_trace: more of what went wrong; cut at 32768 bytes; NULL = nothing.
retryable: false = the event fails for good, however many attempts are left.
retry_in: delay until the next attempt, from 0 to 3650 days, in place of the configured one; NULL = that one.
Returns: awaiting_processing (there will be another attempt), or failed (for good: its on-fail event is published in the same
transaction).
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_fail_many(event_ids anycompatiblearray, permits bigint[], error_message text, retryable boolean DEFAULT true,
	OUT event_id uuid, OUT accepted boolean, OUT state evq.event_state)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_fail_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_fail_many(anycompatiblearray, bigint[], text, boolean) IS
$$Reports that attempts of many events failed, for one reason.
event_ids: an array of uuid, or of their text.
permits: that of each event, in the same order.
error_message, retryable: as in evq_fail, for all of them.
Returns: a row for each event: accepted = the failure is recorded, and the state that follows. One whose permit is lost is
not accepted and hinders none of the others.
Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_snooze(event_id uuid, permit bigint, run_at timestamptz)
RETURNS void AS 'MODULE_PATHNAME', 'evq_sql_snooze' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_snooze(uuid, bigint, timestamptz) IS
$$Gives an event back until a time; no attempt is used up.
event_id: the event.
permit: that of the acquisition; NULL = the attempt now running, whoever runs it.
run_at: when it is to be offered again, not in the past. Past the end of its lifespan it is accepted with a NOTICE: the event
expires then.
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_release(event_id uuid, permit bigint)
RETURNS void AS 'MODULE_PATHNAME', 'evq_sql_release' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_release(uuid, bigint) IS
$$Gives an event back at once; no attempt is used up.
event_id: the event.
permit: that of the acquisition; NULL = the attempt now running, whoever runs it.
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost.$$;

CREATE FUNCTION @extschema@.evq_suspend(event_id uuid, permit bigint, timeout interval DEFAULT NULL)
RETURNS timestamptz AS 'MODULE_PATHNAME', 'evq_sql_suspend' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_suspend(uuid, bigint, interval) IS
$$Puts an event to sleep until evq_activate brings an answer; no attempt is used up. evq_fail and evq_succeed with this permit
are accepted while it sleeps, say where asking failed.
event_id: the event.
permit: that of the acquisition; NULL = the attempt now running, whoever runs it.
timeout: how long at most, above 0 and up to 3650 days; NULL = until the lifespan ends. on_suspend_timeout of the type says
what follows: by default the event expires.
Returns: when the suspension times out, or NULL where the answer has come already: the event does not sleep then but is
awaiting_processing, due now.
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ006 bad argument.$$;

CREATE FUNCTION evq.are_held(event_ids uuid[], permits bigint[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT NOT EXISTS (
		SELECT FROM unnest(event_ids, permits) p (event_id, permit)
		WHERE NOT EXISTS (SELECT FROM evq.event e WHERE e.event_id = p.event_id AND e.permit = p.permit AND e.state = 'p')
			AND NOT EXISTS (
				SELECT FROM evq.run r
				WHERE r.last_id >= p.event_id AND r.last_id <= evq.id_in_batch(p.event_id, 1023) AND r.permit = p.permit AND r.state = 'p'
					AND evq.ordinal(p.event_id) > evq.ordinal(r.last_id) - r.events
					AND NOT EXISTS (SELECT FROM evq.exception x WHERE x.event_id = p.event_id)))
$$;
COMMENT ON FUNCTION evq.are_held(uuid[], bigint[]) IS
	'Do all of these permits hold? It only reads: a worker asks each second, and by evq_heartbeat() which does not';
