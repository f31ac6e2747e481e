-- Limits that event types share. As in 070, NULL leaves a value as it is.

CREATE FUNCTION @extschema@.evq_configure_limit(limit_name text, max_processing int DEFAULT NULL, rate numeric DEFAULT NULL, per interval DEFAULT NULL,
	burst int DEFAULT NULL, by_group boolean DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before jsonb := (SELECT to_jsonb(l) - 'limit_no'::text FROM evq.named_limit l WHERE l.limit_name = evq_configure_limit.limit_name);
	violated text;
BEGIN
	IF limit_name IS NULL OR limit_name COLLATE "C" !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$' THEN
		RAISE EXCEPTION 'limit % is not a valid name', coalesce(quote_literal(left(limit_name, 100)), 'NULL')
			USING ERRCODE = 'EQ006', HINT = 'Use letters, digits, and any of _ . : - after the first, 63 bytes at most.';
	END IF;
	INSERT INTO evq.named_limit AS l (limit_name, max_processing, rate, per, burst, by_group)
	VALUES (evq_configure_limit.limit_name, nullif(evq_configure_limit.max_processing, 0), nullif(evq_configure_limit.rate, 0), evq_configure_limit.per,
			nullif(evq_configure_limit.burst, 0), coalesce(evq_configure_limit.by_group, false))
	ON CONFLICT ON CONSTRAINT named_limit_limit_name_key DO UPDATE SET
		max_processing = nullif(coalesce(evq_configure_limit.max_processing, l.max_processing), 0),
		rate = nullif(coalesce(evq_configure_limit.rate, l.rate), 0),
		per = coalesce(evq_configure_limit.per, l.per),
		burst = nullif(coalesce(evq_configure_limit.burst, l.burst), 0),
		by_group = coalesce(evq_configure_limit.by_group, l.by_group);
	PERFORM evq.check_costs(NULL, limit_name);
	PERFORM evq.record_change('configure_limit', limit_name, before,
		(SELECT to_jsonb(l) - 'limit_no'::text FROM evq.named_limit l WHERE l.limit_name = evq_configure_limit.limit_name));
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS violated = CONSTRAINT_NAME;
	PERFORM evq.raise_bad_configuration('evq.named_limit', violated);
WHEN numeric_value_out_of_range THEN
	RAISE EXCEPTION 'rate is out of range' USING ERRCODE = 'EQ006', HINT = 'Pass a number above 0, up to 1000000000.';
END
$$;
COMMENT ON FUNCTION @extschema@.evq_configure_limit(text, int, numeric, interval, int, boolean) IS
$$Makes or changes a limit that event types share, whatever their flow: those that name it in evq_configure(limits). NULL leaves a
value as it is, or sets the default for a new limit. Takes effect at commit.
limit_name: 1 to 63 bytes: letters, digits, and any of _ . : - after the first.
max_processing: at most so many of their events offered or in processing at once; 0 = no limit, which is the default.
rate, per, burst: events that begin take at most so many tokens in that time (by default a second), and burst of them at once
(by default as many as the rate allows in a tenth of a second, one at least): in any time t never more than burst + rate * t.
An event takes as many as its type's cost. rate 0 = no limit, the default; burst 0 = the default. Only a dispatcher keeps a rate:
without one these events wait.
by_group: whether each group has the limit by itself, in all flows together; then events of no group have none. By default false.
Errors: EQ006 bad name, value out of range, or a type that has the limit costs more than the burst.$$;

CREATE FUNCTION @extschema@.evq_drop_limit(limit_name text)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	users text;
BEGIN
	PERFORM FROM evq.named_limit l WHERE l.limit_name = evq_drop_limit.limit_name FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown limit %', coalesce(quote_ident(left(limit_name, 63)), 'NULL')
			USING ERRCODE = 'EQ001', HINT = 'SELECT DISTINCT limit_name FROM evq.limits WHERE flow_type IS NULL names them all.';
	END IF;
	SELECT string_agg(t.event_type, ', ' ORDER BY t.event_type) INTO users FROM evq.event_type t WHERE NOT t.dropped AND limit_name = ANY (t.limits);
	IF users IS NOT NULL THEN
		RAISE EXCEPTION 'limit "%" is in use by %', limit_name, users
			USING ERRCODE = 'EQ003', HINT = 'Call evq_configure(event_type, limits => ...) without it for these first; {} = none.';
	END IF;
	DELETE FROM evq.named_limit l WHERE l.limit_name = evq_drop_limit.limit_name;
	PERFORM evq.record('drop_limit', NULL, limit_name, NULL);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_drop_limit(text) IS
$$Drops a limit that no event type has any more.
limit_name: the limit.
Errors: EQ001 unknown limit, EQ003 event types have it.$$;
