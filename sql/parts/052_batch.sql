-- Many events as one batch. Why arrays of ids are declared polymorphic: see 040_publish; where one is left out, PostgreSQL wants
-- to know which it would have been.

CREATE FUNCTION @extschema@.evq_acquire_batch(flow_type text, max_events bigint DEFAULT 100, event_types text[] DEFAULT NULL,
	worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired_batch AS 'MODULE_PATHNAME', 'evq_sql_acquire_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_acquire_batch(text, bigint, text[], text, interval) IS
$$Acquires events as evq_acquire_next does, and returns all in one row with one token for them, by which any session reports
them.
flow_type, event_types, worker, permit_for: as in evq_acquire_next.
max_events: how many at most, 1 to 10000. A batch ends before that where its payloads come to 32 MB.
Returns: one row, or none where nothing is ready. The token is a value to pass on as it is; its form may change.
Errors: EQ001 unknown flow or event type, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_succeed_batch(token text, except_ids anycompatiblearray DEFAULT NULL::uuid[])
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_succeed_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_succeed_batch(text, anycompatiblearray) IS
$$Reports that the work of a batch is done. The same success may be reported again.
token: that of the batch.
except_ids: events that stay held, to be reported by evq_fail_batch, or one by one with their permits of evq_batch_permits:
an array of uuid, or of their text; NULL = none.
Returns: the ids of those that were not accepted, for their permits are lost; no row = all were accepted.
Errors: EQ004 a token of another database, or of before a promotion or restore, EQ006 not a whole token, or an id that is not
of the batch.$$;

CREATE FUNCTION @extschema@.evq_succeed_batch_and_acquire(token text, flow_type text, max_events bigint DEFAULT 100, event_types text[] DEFAULT NULL,
	worker text DEFAULT NULL, permit_for interval DEFAULT NULL, except_ids anycompatiblearray DEFAULT NULL::uuid[])
RETURNS SETOF evq.acquired_batch AS 'MODULE_PATHNAME', 'evq_sql_succeed_batch_and_acquire' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_succeed_batch_and_acquire(text, text, bigint, text[], text, interval, anycompatiblearray) IS
$$A busy worker's turn in one transaction: evq_succeed_batch of what is done, then evq_acquire_batch.
token: that of the batch that is done; NULL = there is none yet. Lost permits are passed over with a WARNING of SQLSTATE
EQ004.
except_ids: as in evq_succeed_batch.
flow_type, max_events, event_types, worker, permit_for: what to take, as in evq_acquire_batch.
Returns: one row, or none where nothing is ready.
Errors: as evq_succeed_batch and evq_acquire_batch.$$;

CREATE FUNCTION @extschema@.evq_fail_batch(token text, error_message text, event_ids anycompatiblearray DEFAULT NULL::uuid[], retryable boolean DEFAULT true,
	OUT event_id uuid, OUT accepted boolean, OUT state evq.event_state)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_fail_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_fail_batch(text, text, anycompatiblearray, boolean) IS
$$Reports that attempts of a batch failed, for one reason, as evq_fail_many does.
token: that of the batch.
error_message, retryable: as in evq_fail, for all of them.
event_ids: these of the batch, an array of uuid, or of their text; NULL = all.
Returns: a row for each event: accepted = the failure is recorded, and the state that follows.
Errors: EQ004 and EQ006 as evq_succeed_batch.$$;

CREATE FUNCTION @extschema@.evq_heartbeat_batch(token text, extend_by interval DEFAULT NULL,
	OUT event_id uuid, OUT held boolean, OUT cancel_requested boolean, OUT attempt_due_at timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_heartbeat_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_heartbeat_batch(text, interval) IS
$$Extends the permits of a batch, as evq_heartbeat does.
token: that of the batch.
extend_by: how long from now, above 0 and up to 3650 days, never past an event's due_at; NULL = the type's attempt_timeout.
Returns: a row for each event, as evq_heartbeat.
Errors: EQ004 and EQ006 as evq_succeed_batch.$$;

CREATE FUNCTION @extschema@.evq_release_batch(token text)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_release_batch' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_release_batch(text) IS
$$Gives a batch back at once; no attempt is used up.
token: that of the batch.
Returns: the ids of those that were not accepted: reported meanwhile, or their permits are lost.
Errors: EQ004 and EQ006 as evq_succeed_batch.$$;

CREATE FUNCTION @extschema@.evq_batch_permits(token text, OUT event_id uuid, OUT permit bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_batch_permits' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_batch_permits(text) IS
$$The permits of a batch, to report one of its events by evq_fail, evq_snooze, evq_suspend and the like. It reads only the
token.
token: that of the batch.
Returns: a row for each event with its permit.
Errors: EQ006 not a whole token.$$;

-- What hands a batch on event by event: evq-gateway and evq-worker.
CREATE FUNCTION evq.events_of_batch(batch evq.acquired_batch) RETURNS SETOF jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp ROWS 100
AS $$
	SELECT jsonb_build_object('event_id', e.event_id, 'permit', p.permit, 'event_type', e.event_type, 'flow_type', batch.flow_type,
		'flow_id', e.flow_id, 'attempt', e.attempt, 'attempts_left', e.attempts_left, 'payload', e.payload, 'headers', e.headers,
		'attempt_due_at', batch.attempt_due_at, 'due_at', batch.due_at, 'answer', e.answer)
	FROM unnest(batch.event_ids, batch.event_types, batch.flow_ids, batch.attempts, batch.attempts_left, batch.payloads, batch.headers, batch.answers)
		WITH ORDINALITY e (event_id, event_type, flow_id, attempt, attempts_left, payload, headers, answer, place)
	JOIN @extschema@.evq_batch_permits(batch.token) p USING (event_id)
	ORDER BY e.place
$$;
COMMENT ON FUNCTION evq.events_of_batch(evq.acquired_batch) IS
'Each event of a batch, in its order, as evq.acquired has columns; attempt_due_at and due_at are those of the batch';

-- What the handler of evq-worker says of single events of its batch, a line of JSON for each; see doc/workers.md.
CREATE FUNCTION evq.read_batch_report(token text, report text, with_rest boolean,
	OUT event_id uuid, OUT permit bigint, OUT outcome text, OUT output text, OUT error_message text, OUT stack_trace text, OUT retryable boolean)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp ROWS 10
AS $$
DECLARE
	permits jsonb := (SELECT jsonb_object_agg(p.event_id, p.permit) FROM @extschema@.evq_batch_permits(token) p);
	place int := 0;
	line text;
	said jsonb;
	id text;
	known text[];
BEGIN
	FOREACH line IN ARRAY string_to_array(report, E'\n') LOOP
		place := place + 1;
		CONTINUE WHEN btrim(line, E' \t\r') = '';
		BEGIN
			said := line::jsonb;
		EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
			RAISE EXCEPTION 'line % is not JSON: %', place, SQLERRM USING ERRCODE = 'EQ006';
		END;
		id := lower((said ->> 'event_id') COLLATE "C");
		IF jsonb_typeof(said) <> 'object' OR id IS NULL THEN
			RAISE EXCEPTION 'line % is not an object with an event_id', place USING ERRCODE = 'EQ006';
		ELSIF NOT permits ? id THEN
			RAISE EXCEPTION 'line % names an event that is not of the batch, or was named before', place USING ERRCODE = 'EQ006';
		END IF;
		event_id := id::uuid;
		permit := permits ->> id;
		permits := permits - id;
		-- null is what many writers of JSON give for what is absent.
		said := (SELECT coalesce(jsonb_object_agg(m.key, m.value), '{}') FROM jsonb_each(said) m WHERE m.key <> 'event_id' AND m.value <> 'null');
		outcome := CASE WHEN said ? 'error_message' THEN 'failure' WHEN said ? 'snooze_seconds' THEN 'snooze' ELSE 'success' END;
		known := CASE outcome WHEN 'failure' THEN '{error_message, stack_trace, retryable}' WHEN 'snooze' THEN '{snooze_seconds}' ELSE '{result, spinoffs}' END;
		IF said - known <> '{}' THEN
			RAISE EXCEPTION 'line % has keys that no % has', place, outcome
				USING ERRCODE = 'EQ006', HINT = format('Known are, beside event_id: %s.', array_to_string(known, ', '));
		ELSIF outcome = 'failure' AND (jsonb_typeof(said -> 'error_message') <> 'string' OR jsonb_typeof(said -> 'stack_trace') <> 'string'
									   OR jsonb_typeof(said -> 'retryable') <> 'boolean') THEN
			RAISE EXCEPTION 'line % has a value of another type', place
				USING ERRCODE = 'EQ006', HINT = 'error_message and stack_trace are strings, retryable is true or false.';
		END IF;
		output := CASE WHEN outcome <> 'failure' AND said <> '{}' THEN said::text END;
		error_message := said ->> 'error_message';
		stack_trace := said ->> 'stack_trace';
		retryable := coalesce((said ->> 'retryable')::boolean, true);
		RETURN NEXT;
	END LOOP;
	IF with_rest THEN
		RETURN QUERY SELECT r.key::uuid, r.value::bigint, NULL::text, NULL::text, NULL::text, NULL::text, NULL::boolean FROM jsonb_each_text(permits) r;
	END IF;
END
$$;
COMMENT ON FUNCTION evq.read_batch_report(text, text, boolean) IS
$$What a report says of events of a batch: outcome is success, failure or snooze, output what goes with a success or a snooze, NULL =
nothing. with_rest: those too that it does not name, with no outcome. EQ006 where the report is not what it should be.$$;
