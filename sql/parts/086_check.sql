-- The doctor.

CREATE FUNCTION @extschema@.evq_check(patience interval DEFAULT '15 minutes',
	OUT severity text, OUT subject text, OUT finding text, OUT advice text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 20
AS $$
#variable_conflict use_column
DECLARE
	subjects text[] := '{dispatcher, ring, clock, version, flows, event types, schedules, notifications, snapshots,
		prepared transactions, autovacuum, bloat, durability, tables, privileges}';
BEGIN
	IF patience IS NULL OR patience < interval '0' THEN
		RAISE EXCEPTION 'patience is NULL or negative' USING ERRCODE = 'EQ006', HINT = 'Pass how long something may last before it is a finding.';
	END IF;
	RETURN QUERY
	WITH found AS MATERIALIZED (
		SELECT * FROM evq.check_engine(patience)
		UNION ALL SELECT * FROM evq.check_work(patience)
		UNION ALL SELECT * FROM evq.check_server(patience)
		UNION ALL SELECT * FROM evq.check_tables()
		UNION ALL SELECT * FROM evq.check_privileges())
	SELECT f.* FROM (
		SELECT * FROM found
		UNION ALL
		SELECT 'ok', s, NULL, NULL FROM unnest(subjects) s WHERE s NOT IN (SELECT o.subject FROM found o)) f
	ORDER BY array_position('{error, warning, ok}', f.severity), array_position(subjects, f.subject), f.finding;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_check(interval) IS
$$The doctor: what is wrong with evq in this database and what to do about it. It reads counters, settings and catalogs, no
large table: cheap enough for every minute.
patience: how long a transaction, a due event or a stalled dispatcher may last before it is a finding, 0 or more.
Returns: a row for each finding with its severity (error, warning), errors first, and a row ok for each subject without one.
Errors: EQ006 bad patience.$$;
