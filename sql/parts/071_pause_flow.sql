-- Pausing a flow. Its row in evq.flow says until when; who reads that compares it with the clock, so a pause ends by itself
-- whether anybody is there to end it or not.

CREATE FUNCTION evq.require_flow(flow_type text) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_no int;
BEGIN
	SELECT f.flow_no INTO found_no FROM evq.flow f WHERE f.flow_type = require_flow.flow_type FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown flow %', coalesce(quote_ident(flow_type), 'NULL')
			USING ERRCODE = 'EQ001', HINT = 'Configure it with evq_configure_flow().';
	END IF;
	RETURN found_no;
END
$$;
COMMENT ON FUNCTION evq.require_flow(text) IS 'Locks the row of a flow and returns its number; EQ001 where there is none';

CREATE FUNCTION @extschema@.evq_pause_flow(flow_type text, until timestamptz DEFAULT NULL, reason text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted_no int := evq.require_flow(flow_type);
	present CONSTANT timestamptz := evq.clock_now();
BEGIN
	IF until <= present THEN
		RAISE EXCEPTION 'until is past: %', until
			USING ERRCODE = 'EQ006', HINT = 'Pass a time to come, or NULL for a pause that evq_resume_flow() ends.';
	END IF;
	IF octet_length(reason) > 10000 THEN
		RAISE EXCEPTION 'reason has % bytes', octet_length(reason)
			USING ERRCODE = 'EQ006', HINT = 'Pass 10000 bytes at most.';
	END IF;
	UPDATE evq.flow f SET paused_at = CASE WHEN f.paused_until > present THEN f.paused_at ELSE present END,
		paused_until = coalesce(until, 'infinity'), pause_reason = reason
	WHERE f.flow_no = wanted_no
		AND (f.paused_until, f.pause_reason) IS DISTINCT FROM (coalesce(until, 'infinity'), reason);
	IF FOUND THEN
		PERFORM evq.record('pause_flow', NULL, flow_type, jsonb_strip_nulls(jsonb_build_object('until', nullif(until, 'infinity'), 'reason', reason)));
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_pause_flow(text, timestamptz, text) IS
$$Pauses a flow at commit: none of its events is dispatched, offered or acquired. Events can be published, workers report on
what they hold and extend their permits, and permits and lifespans go on. Of a flow that is paused already, end and reason
become these.
flow_type: the flow.
until: when it goes on by itself; NULL = when evq_resume_flow is called.
reason: to be read in evq.flows, evq.blocked_flows and evq_check(); NULL = none.
Errors: EQ001 unknown flow, EQ006 until is past, or reason is longer than 10,000 bytes.$$;

CREATE FUNCTION @extschema@.evq_resume_flow(flow_type text)
RETURNS boolean LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted_no int := evq.require_flow(flow_type);
	paused evq.flow;
BEGIN
	SELECT * INTO paused FROM evq.flow f WHERE f.flow_no = wanted_no;
	IF paused.paused_until IS NOT NULL THEN
		UPDATE evq.flow f SET paused_at = NULL, paused_until = NULL, pause_reason = NULL WHERE f.flow_no = wanted_no;
	END IF;
	IF coalesce(paused.paused_until <= evq.clock_now(), true) THEN
		RETURN false;
	END IF;
	PERFORM evq.record('resume_flow', NULL, flow_type, jsonb_strip_nulls(jsonb_build_object('paused_at', paused.paused_at,
		'until', nullif(paused.paused_until, 'infinity'), 'reason', paused.pause_reason)));
	RETURN true;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_resume_flow(text) IS
$$Lets a paused flow go on at commit.
flow_type: the flow.
Returns: false = it was not paused, or went on by itself.
Errors: EQ001 unknown flow.$$;
