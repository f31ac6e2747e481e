-- Pausing a group of a flow. Its row in evq.flow_group says until when, and that of the flow until when any is paused, so who has
-- to do with other flows reads no groups. See 071_pause_flow.

CREATE FUNCTION evq.note_paused_groups(flow_no int) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
UPDATE evq.flow f SET groups_paused_until = p.until
FROM (SELECT max(g.paused_until) AS until FROM evq.flow_group g WHERE g.flow_no = note_paused_groups.flow_no AND g.paused_until > evq.clock_now()) p
WHERE f.flow_no = note_paused_groups.flow_no AND f.groups_paused_until IS DISTINCT FROM p.until
$$;
COMMENT ON FUNCTION evq.note_paused_groups(int) IS 'Writes into the row of a flow, which the caller has locked, until when any group of it is paused';

CREATE FUNCTION @extschema@.evq_pause_group(flow_type text, group_key text, until timestamptz DEFAULT NULL, reason text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted_no int := evq.require_flow(flow_type);
	present CONSTANT timestamptz := evq.clock_now();
BEGIN
	IF group_key IS NULL OR octet_length(group_key) NOT BETWEEN 1 AND 255 THEN
		RAISE EXCEPTION 'group_key has % bytes', coalesce(octet_length(group_key), 0)
			USING ERRCODE = 'EQ006', HINT = 'Pass 1 to 255 bytes.';
	ELSIF until <= present THEN
		RAISE EXCEPTION 'until is past: %', until
			USING ERRCODE = 'EQ006', HINT = 'Pass a time to come, or NULL for a pause that evq_resume_group() ends.';
	ELSIF octet_length(reason) > 10000 THEN
		RAISE EXCEPTION 'reason has % bytes', octet_length(reason)
			USING ERRCODE = 'EQ006', HINT = 'Pass 10000 bytes at most.';
	END IF;
	PERFORM evq.forget_groups(wanted_no);
	INSERT INTO evq.flow_group AS g (flow_no, group_key, paused_at, paused_until, pause_reason)
	VALUES (wanted_no, evq_pause_group.group_key, present, coalesce(until, 'infinity'), reason)
	ON CONFLICT ON CONSTRAINT flow_group_pkey DO UPDATE SET
		paused_at = CASE WHEN g.paused_until > present THEN g.paused_at ELSE present END,
		paused_until = EXCLUDED.paused_until, pause_reason = EXCLUDED.pause_reason
	WHERE (g.paused_until, g.pause_reason) IS DISTINCT FROM (EXCLUDED.paused_until, EXCLUDED.pause_reason);
	IF FOUND THEN
		PERFORM evq.note_paused_groups(wanted_no);
		PERFORM evq.record('pause_group', NULL, flow_type, jsonb_strip_nulls(jsonb_build_object(
			'group_key', group_key, 'until', nullif(until, 'infinity'), 'reason', reason)));
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_pause_group(text, text, timestamptz, text) IS
$$Pauses a group of a flow at commit: none of its events is dispatched, offered or acquired; those of other groups are. Events can
be published, workers report on what they hold and extend their permits, and permits and lifespans go on. While a group of it is
paused, events of the flow are dispatched before they can be acquired. Of a group that is paused already, end and reason become these.
flow_type: the flow.
group_key: the group, 1 to 255 bytes; one of which there is no event yet can be paused.
until: when it goes on by itself; NULL = when evq_resume_group is called.
reason: to be read in evq.groups, evq.blocked_flows and evq_check(); NULL = none.
Errors: EQ001 unknown flow, EQ006 until is past, reason is longer than 10,000 bytes, or group_key is missing or longer than 255.$$;

CREATE FUNCTION @extschema@.evq_resume_group(flow_type text, group_key text)
RETURNS boolean LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted_no int := evq.require_flow(flow_type);
	paused evq.flow_group;
BEGIN
	SELECT * INTO paused FROM evq.flow_group g WHERE g.flow_no = wanted_no AND g.group_key = evq_resume_group.group_key;
	IF paused.paused_until IS NOT NULL THEN
		UPDATE evq.flow_group g SET paused_at = NULL, paused_until = NULL, pause_reason = NULL
		WHERE g.flow_no = wanted_no AND g.group_key = evq_resume_group.group_key;
		PERFORM evq.forget_groups(wanted_no);
		PERFORM evq.note_paused_groups(wanted_no);
	END IF;
	IF coalesce(paused.paused_until <= evq.clock_now(), true) THEN
		RETURN false;
	END IF;
	PERFORM evq.record('resume_group', NULL, flow_type, jsonb_strip_nulls(jsonb_build_object('group_key', group_key,
		'paused_at', paused.paused_at, 'until', nullif(paused.paused_until, 'infinity'), 'reason', paused.pause_reason)));
	RETURN true;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_resume_group(text, text) IS
$$Lets a paused group of a flow go on at commit.
flow_type: the flow.
group_key: the group.
Returns: false = it was not paused, or went on by itself.
Errors: EQ001 unknown flow.$$;
