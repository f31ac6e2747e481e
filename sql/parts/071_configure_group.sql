-- Limits of single groups.

CREATE FUNCTION evq.forget_groups(flow_no int) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DELETE FROM evq.flow_group g WHERE g.flow_no = forget_groups.flow_no AND coalesce(g.paused_until <= evq.clock_now(), true)
	AND jsonb_strip_nulls(to_jsonb(g) - '{flow_no, group_key, paused_at, paused_until, pause_reason}'::text[]) = '{}'
$$;
COMMENT ON FUNCTION evq.forget_groups(int) IS 'Deletes the groups of a flow that have no limits of their own, and are not paused any more';

CREATE FUNCTION @extschema@.evq_configure_group(flow_type text, group_key text, max_processing int DEFAULT NULL,
	rate numeric DEFAULT NULL, per interval DEFAULT NULL, burst int DEFAULT NULL, weight int DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
DECLARE
	flow evq.flow;
	before jsonb;
	violated text;
	limits_only CONSTANT text[] := '{flow_no, paused_at, paused_until, pause_reason}';
BEGIN
	SELECT * INTO flow FROM evq.flow f WHERE f.flow_type = evq_configure_group.flow_type FOR SHARE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown flow %', coalesce(quote_ident(left(flow_type, 63)), 'NULL')
			USING ERRCODE = 'EQ001', HINT = 'Configure it with evq_configure_flow().';
	ELSIF group_key IS NULL OR octet_length(group_key) NOT BETWEEN 1 AND 255 THEN
		RAISE EXCEPTION 'group_key has % bytes', coalesce(octet_length(group_key), 0)
			USING ERRCODE = 'EQ006', HINT = 'Pass 1 to 255 bytes.';
	ELSIF max_processing IS NOT NULL AND flow.max_processing_per_group IS NULL THEN
		RAISE EXCEPTION 'flow % has no max_processing_per_group, of which this would be an exception', flow.flow_type
			USING ERRCODE = 'EQ006', HINT = 'Set it first with evq_configure_flow(): 1000000 is as good as no limit.';
	ELSIF (rate IS NOT NULL OR per IS NOT NULL OR burst IS NOT NULL) AND flow.rate_per_group IS NULL THEN
		RAISE EXCEPTION 'flow % has no rate_per_group, of which this would be an exception', flow.flow_type
			USING ERRCODE = 'EQ006', HINT = 'Set it first with evq_configure_flow(): 1000000 a second is as good as no limit.';
	ELSIF weight IS NOT NULL AND NOT flow.fair THEN
		RAISE EXCEPTION 'flow % is not fair, so its groups have no weight', flow.flow_type
			USING ERRCODE = 'EQ006', HINT = 'Set it first with evq_configure_flow(fair => true).';
	END IF;
	before := (SELECT to_jsonb(g) - limits_only FROM evq.flow_group g WHERE g.flow_no = flow.flow_no AND g.group_key = evq_configure_group.group_key);
	IF num_nonnulls(max_processing, rate, per, burst, weight) = 0 THEN
		UPDATE evq.flow_group g SET max_processing = NULL, rate = NULL, per = NULL, burst = NULL, weight = NULL
		WHERE g.flow_no = flow.flow_no AND g.group_key = evq_configure_group.group_key;
		PERFORM evq.forget_groups(flow.flow_no);
	ELSE
		INSERT INTO evq.flow_group AS g (flow_no, group_key, max_processing, rate, per, burst, weight)
		VALUES (flow.flow_no, evq_configure_group.group_key, evq_configure_group.max_processing, evq_configure_group.rate,
				evq_configure_group.per, evq_configure_group.burst, evq_configure_group.weight)
		ON CONFLICT ON CONSTRAINT flow_group_pkey DO UPDATE SET
			max_processing = EXCLUDED.max_processing, rate = EXCLUDED.rate, per = EXCLUDED.per, burst = EXCLUDED.burst,
			weight = EXCLUDED.weight;
	END IF;
	PERFORM evq.record_change('configure_group', flow.flow_type, before,
		coalesce((SELECT to_jsonb(g) - limits_only FROM evq.flow_group g WHERE g.flow_no = flow.flow_no AND g.group_key = evq_configure_group.group_key),
				 jsonb_build_object('group_key', group_key, 'max_processing', NULL, 'rate', NULL, 'per', NULL, 'burst', NULL, 'weight', NULL)));
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS violated = CONSTRAINT_NAME;
	PERFORM evq.raise_bad_configuration('evq.flow_group', violated);
WHEN numeric_value_out_of_range THEN
	RAISE EXCEPTION 'rate is out of range' USING ERRCODE = 'EQ006', HINT = 'Pass a number above 0, up to 1000000000.';
END
$$;
COMMENT ON FUNCTION @extschema@.evq_configure_group(text, text, int, numeric, interval, int, int) IS
$$Gives a group of a flow limits of its own, in place of what the flow says of each group, and its weight, or takes them away. Takes effect at
commit.
flow_type: the flow.
group_key: the group, 1 to 255 bytes.
max_processing: at most so many of its events offered or in processing at once, in place of max_processing_per_group; NULL = as
the flow says, as all that follows.
rate, per, burst: in place of rate_per_group, per_per_group and burst_per_group.
weight: in a fair flow, so many turns of it where a group of weight 1 has one, 1 to 1000; NULL = 1. With all of these NULL the
group has nothing of its own any more.
Errors: EQ001 unknown flow, EQ006 value out of range, or the flow has no limit of this kind for its groups, or is not fair.$$;
