-- What an operator, or the outside trigger of a suspended event, calls.

CREATE FUNCTION @extschema@.evq_activate(event_id uuid, payload_patch anycompatible DEFAULT NULL,
	answer anycompatible DEFAULT NULL, permit bigint DEFAULT NULL)
RETURNS evq.event_state AS 'MODULE_PATHNAME', 'evq_sql_activate' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_activate(uuid, anycompatible, anycompatible, bigint) IS
$$Wakes a suspended event: awaiting_processing, due now. Of an event in processing the activation is kept, and wakes it when
the attempt now running suspends it.
event_id: the event.
payload_patch: an object whose keys are merged into the payload, for good, as jsonb, json or their text; NULL = none.
answer: handed to the event's worker as column answer until the event is suspended again, of the same SQL type as
payload_patch; NULL = none.
permit: of the attempt that asked; an activation that comes when that is over is refused, and one that is told again with the
same answer changes nothing. NULL = whichever attempt there is.
Returns: the state in which the event is then: awaiting_processing, or being_processed where it is not suspended yet.
Errors: EQ002 no such event, EQ003 neither suspended nor in processing, or activated already, EQ004 its attempt is over,
EQ005 payload or answer too large, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_cancel(event_id uuid, reason text DEFAULT NULL)
RETURNS void AS 'MODULE_PATHNAME', 'evq_sql_cancel' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_cancel(uuid, text) IS
$$Cancels a live event, for good; only evq_retry brings it back. A worker that holds it learns so from evq_heartbeat or from
its refused report. An event canceled already stays as it is.
event_id: the event.
reason: to be read in evq.events and evq.audit; NULL = none.
Errors: EQ002 no such event, EQ003 finished already.$$;

CREATE FUNCTION @extschema@.evq_retry(event_id uuid)
RETURNS void AS 'MODULE_PATHNAME', 'evq_sql_retry' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_retry(uuid) IS
$$Brings a failed, expired or canceled event back: awaiting_processing, due now, with fresh attempts and a fresh lifespan.
event_id: the event.
Errors: EQ001 its type was dropped, EQ002 no such event, EQ003 live or succeeded.$$;

CREATE FUNCTION @extschema@.evq_redrive(event_type text, since timestamptz, max_events bigint DEFAULT 1000)
RETURNS bigint LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	picked uuid;
	redriven bigint := 0;
	wanted_no int;
BEGIN
	IF event_type IS NULL OR since IS NULL OR max_events IS NULL OR max_events < 1 THEN
		RAISE EXCEPTION 'event_type, since and a max_events above 0 are required'
			USING ERRCODE = 'EQ006', HINT = 'Pass the event type, the earliest finish time and how many at most.';
	END IF;
	SELECT t.event_type_no INTO wanted_no FROM evq.event_type t
	WHERE t.event_type = evq_redrive.event_type AND NOT t.dropped;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown event type "%"', event_type
			USING ERRCODE = 'EQ001', HINT = 'Configure it with evq_configure().';
	END IF;
	FOR picked IN
		SELECT h.event_id FROM evq.event_history h
		WHERE h.finished_at >= since AND h.event_type_no = wanted_no AND h.state IN ('f', 'e')
		ORDER BY h.finished_at, h.event_id
		LIMIT max_events
		FOR UPDATE SKIP LOCKED
	LOOP
		PERFORM @extschema@.evq_retry(picked);
		redriven := redriven + 1;
	END LOOP;
	PERFORM evq.record('redrive', NULL, event_type, jsonb_build_object('since', since, 'max_events', max_events, 'events', redriven));
	RETURN redriven;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_redrive(text, timestamptz, bigint) IS
$$Retries the failed and expired events of a type, oldest first.
event_type: a configured type.
since: only those that finished then or later.
max_events: how many at most, 1 or more; call again for the rest.
Returns: how many it was.
Errors: EQ001 unknown event type, EQ006 bad argument.$$;
