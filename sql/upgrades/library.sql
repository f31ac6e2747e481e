SET LOCAL search_path = pg_catalog, pg_temp;

-- A library that the server loaded before it was replaced knows nothing of what follows.
DO $$
DECLARE
	script text := (SELECT x.extversion FROM pg_catalog.pg_extension x WHERE x.extname OPERATOR(pg_catalog.=) 'evq');
	library text;
BEGIN
	BEGIN
		-- In 0.1 neither the extension nor the library has it.
		IF pg_catalog.to_regprocedure('evq.library_version()') IS NULL THEN
			CREATE FUNCTION evq.library_version() RETURNS text
			AS 'MODULE_PATHNAME', 'evq_sql_library_version' LANGUAGE c VOLATILE PARALLEL UNSAFE;
		END IF;
		library := evq.library_version();
	EXCEPTION WHEN undefined_function THEN
	END;
	IF library IS NULL OR pg_catalog.string_to_array(library, '.')::int[] OPERATOR(pg_catalog.<) pg_catalog.string_to_array(script, '.')::int[] THEN
		RAISE EXCEPTION 'the server has loaded %, and the script is for %', coalesce('the library of evq ' OPERATOR(pg_catalog.||) library, 'an older library of evq'), script
			USING ERRCODE = '55000', HINT = 'Restart the server, so that it loads the library that is installed; then run ALTER EXTENSION evq UPDATE again.';
	END IF;
END
$$;

