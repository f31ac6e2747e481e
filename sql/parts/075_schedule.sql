-- Schedules: events that are published at the times of a cron expression, all of them in UTC.

CREATE FUNCTION evq.cron_fields(cron text) RETURNS text
AS 'MODULE_PATHNAME', 'evq_sql_cron_fields' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_fields(text) IS
$$The five fields of a cron expression, which a word such as @daily stands for too. Fields, lists, ranges, steps and names mean what
they mean to pg_cron. Errors: EQ006 not a cron expression, or one of a day that no year has.$$;

CREATE FUNCTION evq.cron_next(cron text, after timestamptz) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_cron_next' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_next(text, timestamptz) IS
'The first time of a cron expression, in UTC, after the one given. Errors: as evq.cron_fields(), and EQ006 infinite time';

CREATE FUNCTION evq.cron_previous(cron text, until timestamptz) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_cron_previous' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_previous(text, timestamptz) IS
'The last time of a cron expression, in UTC, before the one given or at it. Errors: as evq.cron_next()';

CREATE FUNCTION evq.cron_count(cron text, after timestamptz, until timestamptz) RETURNS bigint
AS 'MODULE_PATHNAME', 'evq_sql_cron_count' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_count(text, timestamptz, timestamptz) IS
'How many times of a cron expression lie after one time and not after another. Errors: as evq.cron_next()';

CREATE FUNCTION evq.clock_now() RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_clock_now' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION evq.clock_now() IS 'The time by the clock that decides about events';

CREATE TABLE evq.schedule (
	name text NOT NULL CONSTRAINT schedule_pkey PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$'),
	cron text NOT NULL,
	event_type text NOT NULL,
	flow_type text,
	flow_id text NOT NULL,
	payload jsonb NOT NULL,
	misfire text NOT NULL CHECK (misfire IN ('skip', 'once', 'all')),
	priority smallint,
	on_fail_event_type text,
	has_job boolean NOT NULL,
	is_paused boolean NOT NULL DEFAULT false,
	done_until timestamptz NOT NULL,
	last_run_at timestamptz,
	last_event_id uuid,
	last_error text,
	last_error_at timestamptz,
	published bigint NOT NULL DEFAULT 0,
	skipped bigint NOT NULL DEFAULT 0,
	failed bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE evq.schedule IS 'One row a schedule; read them through evq.schedules';
COMMENT ON COLUMN evq.schedule.flow_type IS 'As it was given: NULL = the event type''s own';
COMMENT ON COLUMN evq.schedule.misfire IS
'What becomes of times that were missed: skip = nothing, once = one event for all of them, all = an event for each';
COMMENT ON COLUMN evq.schedule.has_job IS 'evq made the job of pg_cron, and removes it';
COMMENT ON COLUMN evq.schedule.done_until IS 'Times up to this one need no event any more';
COMMENT ON COLUMN evq.schedule.last_run_at IS 'The time of the schedule that the last event is for, or when it was run by hand';
COMMENT ON COLUMN evq.schedule.last_error IS 'Why the last try published nothing; NULL after one that did not fail';
COMMENT ON COLUMN evq.schedule.published IS 'Events, those by hand included';
COMMENT ON COLUMN evq.schedule.skipped IS 'Missed times without an event of their own';
COMMENT ON COLUMN evq.schedule.failed IS 'Tries that failed';

SELECT pg_catalog.pg_extension_config_dump('evq.schedule', '');
