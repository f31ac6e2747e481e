-- Schedules, see 075_schedule_times and what follows it.

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
	failed bigint NOT NULL DEFAULT 0,
	time_zone text NOT NULL DEFAULT 'UTC',
	overlap text NOT NULL DEFAULT 'allow' CHECK (overlap IN ('allow', 'skip', 'queue')),
	group_key text
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

COMMENT ON COLUMN evq.schedule.time_zone IS 'Whose clocks the times of cron are read from';
COMMENT ON COLUMN evq.schedule.overlap IS
'What becomes of a time that comes while the last event is live: allow = one more event, skip = nothing, queue = its event when that one is finished';
COMMENT ON COLUMN evq.schedule.group_key IS 'That of its events; NULL = what the flow''s group_by says';

CREATE FUNCTION evq.schedules_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'evq_sql_schedules_changed' LANGUAGE c;
COMMENT ON FUNCTION evq.schedules_changed() IS 'Trigger: at commit the dispatcher looks when the next schedule is due';

CREATE TRIGGER schedules_changed AFTER INSERT OR UPDATE OF name, cron, is_paused, has_job, time_zone, overlap ON evq.schedule
	FOR EACH STATEMENT EXECUTE FUNCTION evq.schedules_changed();
ALTER TABLE evq.schedule ENABLE ALWAYS TRIGGER schedules_changed;

SELECT pg_catalog.pg_extension_config_dump('evq.schedule', '');
