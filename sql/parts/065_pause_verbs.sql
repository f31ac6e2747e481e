-- Pausing a whole database.

CREATE FUNCTION @extschema@.evq_pause(reason text DEFAULT NULL)
RETURNS void LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ INSERT INTO evq.pause VALUES (clock_timestamp(), $1) ON CONFLICT DO NOTHING $$;
COMMENT ON FUNCTION @extschema@.evq_pause(text) IS
$$Pauses this database at commit: nothing is dispatched, acquired, timed out or expired until evq_resume(). Events can be published,
and what is in processing can be reported. A database that is paused already stays so, with its first reason. Errors: none of its own.$$;

CREATE FUNCTION @extschema@.evq_resume()
RETURNS boolean LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ WITH gone AS (DELETE FROM evq.pause RETURNING 1) SELECT count(*) > 0 FROM gone $$;
COMMENT ON FUNCTION @extschema@.evq_resume() IS
	'Lets a paused database go on at commit, after evq_pause() or after a restore; false = it was not paused';
