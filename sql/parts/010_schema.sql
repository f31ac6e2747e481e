-- Schemas, types and roles.

-- Whoever may create objects in the target schema must not lend this script, or
-- what it defines, an operator: names are looked up in pg_catalog alone, and
-- everything else is written with its schema.
SET LOCAL search_path = pg_catalog, pg_temp;
-- What this script makes of other definitions is the same for everybody; and tables are such as evq's own code can write.
SET LOCAL quote_all_identifiers = off;
SET LOCAL datestyle = 'ISO';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL timezone = 'UTC';
SET LOCAL default_table_access_method = heap;

CREATE SCHEMA evq;
COMMENT ON SCHEMA evq IS 'evq: tables, views and types of the event engine; its functions are called evq_*';
CREATE SCHEMA evq_http;
COMMENT ON SCHEMA evq_http IS 'evq: what evq-gateway calls, a function for each route of HTTP, and those that they share';

-- A library that the server loaded before it was replaced knows nothing of what follows.
DO $$
DECLARE
	script text := (SELECT x.extversion FROM pg_catalog.pg_extension x WHERE x.extname OPERATOR(pg_catalog.=) 'evq');
	library text := '0';
BEGIN
	BEGIN
		CREATE FUNCTION evq.library_version() RETURNS text
		AS 'MODULE_PATHNAME', 'evq_sql_library_version' LANGUAGE c VOLATILE PARALLEL UNSAFE;
		library := evq.library_version();
	EXCEPTION WHEN undefined_function THEN
	END;
	IF pg_catalog.string_to_array(library, '.')::int[] OPERATOR(pg_catalog.<) pg_catalog.string_to_array(script, '.')::int[] THEN
		RAISE EXCEPTION 'the server has loaded an older library of evq, and the script is for %', script
			USING ERRCODE = '55000', HINT = 'Restart the server, so that it loads the library that is installed.';
	END IF;
END
$$;
COMMENT ON FUNCTION evq.library_version() IS 'Version of the library that this session uses';

CREATE TYPE evq.event_state AS ENUM (
	'awaiting_processing', 'dispatched', 'being_processed', 'suspended',
	'succeeded', 'failed', 'expired', 'canceled');
COMMENT ON TYPE evq.event_state IS
	'State of an event; the first four are live, the last four are final';

CREATE TYPE evq.pending_event AS (
	event_id uuid, event_type text, flow_type text, flow_id text, state evq.event_state,
	attempt int, attempts_left int, priority int, published_at timestamptz, attempt_scheduled_at timestamptz, due_at timestamptz);
COMMENT ON TYPE evq.pending_event IS 'An event that waits for a worker';

-- Roles belong to the whole server and outlive the extension, so another
-- database may have made them already.
DO $$
DECLARE
	role_name text;
BEGIN
	FOREACH role_name IN ARRAY ARRAY['evq_publisher', 'evq_worker', 'evq_operator', 'evq_monitor',
								  'evq_restricted_publisher', 'evq_restricted_worker']
	LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
		END IF;
	END LOOP;
END
$$;

-- A state is stored as one byte; this is the only place in SQL that knows the codes.
CREATE FUNCTION evq.state_name(code "char") RETURNS evq.event_state
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE code
	WHEN 'a' THEN 'awaiting_processing'::evq.event_state
	WHEN 'd' THEN 'dispatched'::evq.event_state
	WHEN 'p' THEN 'being_processed'::evq.event_state
	WHEN 'u' THEN 'suspended'::evq.event_state
	WHEN 's' THEN 'succeeded'::evq.event_state
	WHEN 'f' THEN 'failed'::evq.event_state
	WHEN 'e' THEN 'expired'::evq.event_state
	WHEN 'c' THEN 'canceled'::evq.event_state
END;
COMMENT ON FUNCTION evq.state_name("char") IS
	'The state that a stored one-byte code stands for; NULL for a code that evq does not write';
