-- Pausing a whole database.

CREATE FUNCTION @extschema@.evq_pause(reason text DEFAULT NULL)
RETURNS void LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	WITH paused AS (INSERT INTO evq.pause VALUES (clock_timestamp(), $1) ON CONFLICT DO NOTHING RETURNING reason)
	SELECT evq.record('pause', NULL, current_database(), jsonb_build_object('reason', p.reason)) FROM paused p
$$;
COMMENT ON FUNCTION @extschema@.evq_pause(text) IS
$$Pauses this database at commit: nothing is dispatched, acquired, timed out or expired until evq_resume. Events can be
published, and what is in processing can be reported. A database that is paused already stays so, with its first reason.
reason: to be read in evq_check(); NULL = none.
Errors: none of its own.$$;

CREATE FUNCTION evq.settle_home() RETURNS void
AS 'MODULE_PATHNAME', 'evq_sql_settle_home' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION evq.settle_home() IS 'Finds out whether this database is a copy that nobody has used yet, and pauses it then';

-- A copy that is resumed before it is known as one would be paused after all, by whoever comes next.
CREATE FUNCTION @extschema@.evq_resume()
RETURNS boolean LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error
AS $$
DECLARE
	resumed boolean;
BEGIN
	PERFORM evq.settle_home();
	WITH gone AS (DELETE FROM evq.pause RETURNING paused_at, reason),
	told AS MATERIALIZED (
		SELECT evq.record('resume', NULL, current_database(), jsonb_build_object('paused_at', g.paused_at, 'reason', g.reason)) FROM gone g)
	SELECT count(*) > 0 INTO resumed FROM told;
	RETURN resumed;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_resume() IS
$$Lets a paused database go on at commit, after evq_pause or after a restore.
Returns: false = it was not paused.$$;
