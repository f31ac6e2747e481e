-- The jobs of pg_cron that run schedules. pg_cron keeps all jobs of a server in one database, which may be another one:
-- then dblink leads there, as the owner of these functions and over the server's socket.

CREATE FUNCTION evq.cron_database() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	-- By its context a setting that the server knows is told from one that somebody made up.
	SELECT s.setting FROM pg_settings s WHERE s.name = 'cron.database_name' AND s.context = 'postmaster'
	AND (s.setting <> current_database() OR EXISTS (SELECT FROM pg_extension x WHERE x.extname = 'pg_cron'))
$$;
COMMENT ON FUNCTION evq.cron_database() IS 'The database that has pg_cron''s jobs; NULL where pg_cron is not preloaded, or is to be here and is not';

CREATE FUNCTION evq.job_name(schedule text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN octet_length(full_name) <= 63 THEN full_name ELSE 'evq ' || md5(full_name) END
	FROM format('evq %s %s', current_database(), schedule) full_name
$$;
COMMENT ON FUNCTION evq.job_name(text) IS 'The name of a schedule''s job: one of its own in all databases, and no longer than pg_cron takes';

CREATE FUNCTION evq.job_call(schedule text, cron text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('cron.schedule_in_database(%L, %L, %L, %L, %L, true)', evq.job_name(schedule), cron,
		format('SELECT evq.run_due_schedule(%L)', schedule), current_database(), current_user)
$$;
COMMENT ON FUNCTION evq.job_call(text, text) IS 'What makes, or changes, the job of a schedule in pg_cron''s database';

CREATE FUNCTION evq.job_removal_call(schedule text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('cron.unschedule(j.jobid) FROM cron.job j WHERE j.jobname = %L AND j.username = %L', evq.job_name(schedule), current_user)
$$;
COMMENT ON FUNCTION evq.job_removal_call(text) IS 'What removes the job of a schedule in pg_cron''s database';

CREATE FUNCTION evq.dblink_function() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('%I.%I', n.nspname, p.proname)
	FROM pg_extension x
	JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
	JOIN pg_proc p ON p.oid = d.objid AND p.proname = 'dblink_exec' AND p.proargtypes = '25 25'
	JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE x.extname = 'dblink'
$$;
COMMENT ON FUNCTION evq.dblink_function() IS 'The function dblink_exec(text, text) of the extension dblink; NULL where that is not installed';

CREATE FUNCTION evq.conninfo(database text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT string_agg(format('%s=''%s''', keyword, regexp_replace(value, E'([''\\\\])', E'\\\\\\1', 'g')), ' ')
	FROM (VALUES
		('host', coalesce(nullif(btrim(split_part(current_setting('unix_socket_directories'), ',', 1)), ''), 'localhost')),
		('port', current_setting('port')), ('dbname', database), ('user', current_user), ('connect_timeout', '10'),
		('application_name', 'evq schedules'), ('options', '-c search_path=pg_catalog -c statement_timeout=30s')) t(keyword, value)
$$;
COMMENT ON FUNCTION evq.conninfo(text) IS 'How to connect to another database of this server, as the current user';

CREATE FUNCTION evq.call_cron(call text, otherwise text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	place text := evq.cron_database();
	dblink text := evq.dblink_function();
	-- Without the extension anybody might have made a schema "cron". PERFORM looks at it only when it comes to that.
	command text := format('DO %L', format($do$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_cron') THEN
		RAISE EXCEPTION 'extension pg_cron does not exist' USING ERRCODE = 'undefined_object';
	END IF;
	PERFORM %s;
END$do$, call));
BEGIN
	IF place IS NULL THEN
		RAISE EXCEPTION 'pg_cron is not installed'
			USING ERRCODE = 'EQ007', HINT = format('Put pg_cron into shared_preload_libraries, restart the server, and run '
				'CREATE EXTENSION pg_cron in the database that cron.database_name says. Without it, have another timer call '
				'evq.catch_up_schedules(), and %s.', otherwise);
	ELSIF place = current_database() THEN
		EXECUTE command;
	ELSIF dblink IS NULL THEN
		RAISE EXCEPTION 'pg_cron is in database "%"', place
			USING ERRCODE = 'EQ007', HINT = format('Run CREATE EXTENSION dblink here. Or run in database "%s": SELECT %s; and then %s.',
				place, call, otherwise);
	ELSE
		BEGIN
			EXECUTE format('SELECT %s($1, $2)', dblink) USING evq.conninfo(place), command;
		EXCEPTION WHEN OTHERS THEN
			RAISE EXCEPTION 'pg_cron in database "%" cannot be used from here', place
				USING ERRCODE = 'EQ007', DETAIL = SQLERRM,
					HINT = format('Mend that. Or run in database "%s": SELECT %s; and then %s.', place, call, otherwise);
		END;
	END IF;
END
$$;
COMMENT ON FUNCTION evq.call_cron(text, text) IS
$$Calls a function of pg_cron in its database. otherwise: what the HINT says to do in evq where that is not possible. From another
database it takes effect at once, whatever becomes of the transaction. Errors: EQ007 pg_cron is not there or out of reach.$$;

CREATE FUNCTION evq.engine_rings() RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT s.preloaded AND current_setting('evq.enabled')::boolean FROM @extschema@.evq_status() s $$;
COMMENT ON FUNCTION evq.engine_rings() IS 'Does this server have an engine, whose dispatcher runs schedules?';

CREATE FUNCTION evq.make_job(schedule text, cron text, time_zone text, otherwise text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	fields text := evq.cron_fields(cron);
	engine_rings boolean := evq.engine_rings();
	place text := evq.cron_database();
BEGIN
	IF time_zone <> 'UTC' OR cardinality(string_to_array(fields, ' ')) = 6 THEN
		IF NOT engine_rings THEN
			RAISE EXCEPTION 'pg_cron knows neither seconds nor time zones'
				USING ERRCODE = 'EQ007', HINT = format('Preload evq, whose engine runs such schedules. Without it, have another timer call evq.catch_up_schedules(), and %s.', otherwise);
		END IF;
		RETURN false;
	ELSIF NOT engine_rings THEN
		PERFORM evq.call_cron(evq.job_call(schedule, fields), otherwise);
		RETURN true;
	ELSIF place IS NULL OR (place <> current_database() AND evq.dblink_function() IS NULL) THEN
		RETURN false;
	END IF;
	BEGIN
		PERFORM evq.call_cron(evq.job_call(schedule, fields), otherwise);
		RETURN true;
	EXCEPTION WHEN OTHERS THEN
		RAISE NOTICE 'schedule "%" has no job of pg_cron, and is run by the engine alone', schedule USING DETAIL = SQLERRM;
		RETURN false;
	END;
END
$$;
COMMENT ON FUNCTION evq.make_job(text, text, text, text) IS
$$Makes, or changes, the job of a schedule; false = it has none, and the engine alone runs it. Errors: EQ007 neither pg_cron nor an engine
can run it, those of evq.cron_fields()$$;

CREATE FUNCTION evq.jobs(OUT name text, OUT is_active boolean) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 10
AS $$
BEGIN
	RETURN QUERY EXECUTE $q$
		SELECT s.name, j.active FROM evq.schedule s
		JOIN cron.job j ON j.jobname = evq.job_name(s.name) AND j.username = current_user
		WHERE s.has_job$q$;
END
$$;
COMMENT ON FUNCTION evq.jobs() IS 'The jobs of schedules that there are, where pg_cron is in this database';
