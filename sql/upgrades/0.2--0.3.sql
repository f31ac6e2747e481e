-- From 0.2 to 0.3: what changes in what users have stored. The Makefile adds the parts of the install script whose
-- functions and views take the place of the old ones. A function whose arguments or result change is dropped here first.

SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL quote_all_identifiers = off;
SET LOCAL datestyle = 'ISO';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL timezone = 'UTC';
SET LOCAL default_table_access_method = heap;

-- What is altered below, in the order in which sessions use it: while they are at work an upgrade waits, and none is lost.
LOCK TABLE evq.event, evq.event_history, evq.event_error;

-- Restricted roles are members of roles of their own, in place of evq_publisher and evq_worker. Those of before stay what they
-- were as well: other databases of the server may not know the new roles yet.
DO $$
DECLARE
	role_name text;
	restricted record;
BEGIN
	FOREACH role_name IN ARRAY ARRAY['evq_restricted_publisher', 'evq_restricted_worker']
	LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
		END IF;
	END LOOP;
	FOR restricted IN
		SELECT o.rolname, r.may FROM evq.restriction r JOIN pg_catalog.pg_roles o ON o.oid = r.role_oid OR o.rolname = r.role_name
	LOOP
		EXECUTE pg_catalog.format('GRANT %s TO %I',
			CASE restricted.may WHEN 'work' THEN 'evq_restricted_worker' ELSE 'evq_restricted_publisher' END, restricted.rolname);
	END LOOP;
END
$$;
COMMENT ON COLUMN evq.restriction.flow_nos IS 'These flows; empty = none, 0 = every one';
-- Under a publication of updates or deletes a table without a replica identity cannot be changed.
ALTER TABLE evq.pause REPLICA IDENTITY FULL;
ALTER TABLE evq.epoch REPLICA IDENTITY FULL;
ALTER TABLE evq.event_error REPLICA IDENTITY FULL;
ALTER TABLE evq.event_history REPLICA IDENTITY FULL;
DO $$
DECLARE
	partition regclass;
BEGIN
	FOR partition IN SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'evq.event_history'::regclass LOOP
		EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', partition);
	END LOOP;
END
$$;
COMMENT ON COLUMN evq.event.permit IS 'The last permit granted: epoch (high 32 bits) and a random number (low 32 bits)';

-- The newest errors are read first.
DROP INDEX evq.event_error_failed_at_idx;
CREATE INDEX event_error_failed_at_idx ON evq.event_error (failed_at);
DROP FUNCTION @extschema@.evq_http_acquire_next(text, jsonb, jsonb, jsonb);

-- What evq-gateway calls has a schema of its own. It is moved, so that what was granted on it stays, as does the way there.
CREATE SCHEMA evq_http;
COMMENT ON SCHEMA evq_http IS 'evq: what evq-gateway calls, a function for each route of HTTP, and those that they share';
ALTER TYPE evq.mcp_tool SET SCHEMA evq_http;
COMMENT ON TYPE evq_http.mcp_tool IS
	'A tool of evq_http.mcp(): statement is the SQL that answers a call, by the function of the HTTP route that does the same; $1 are the arguments, checked against input_schema';
DO $$
DECLARE
	moved record;
	granted record;
BEGIN
	FOR granted IN
		SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS role_name
		FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'evq' AND a.privilege_type = 'USAGE' AND a.grantee <> n.nspowner
	LOOP
		EXECUTE format('GRANT USAGE ON SCHEMA evq_http TO %s', granted.role_name);
	END LOOP;
	FOR moved IN
		SELECT p.oid, p.proname::text AS name,
			coalesce(helper.name, substring(p.proname::text FROM '^evq_http_(.*)$'), substring(p.proname::text FROM '^evq_(mcp)$'), p.proname::text) AS new_name
		FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension x ON d.refclassid = 'pg_extension'::regclass AND x.oid = d.refobjid AND x.extname = 'evq'
		LEFT JOIN (VALUES ('http_object', 'object_of'), ('http_refuse', 'refuse'), ('http_text', 'text_of'), ('http_texts', 'texts_of'),
			('http_integer', 'integer_of'), ('http_permit', 'permit_of'), ('http_number', 'number_of'), ('http_boolean', 'boolean_of'),
			('http_duration', 'duration_of'), ('http_durations', 'durations_of'), ('http_time', 'time_of'), ('http_id', 'id_of'),
			('http_limit', 'limit_of'), ('http_status', 'status_of'), ('http_row', 'row_of'), ('http_acknowledged', 'acknowledged'),
			('http_search', 'search_of'), ('http_states', 'states_of'), ('http_configured', 'configured'), ('http_schedule', 'schedule_of'),
			('http_schedule_named', 'schedule_named')) helper (old_name, name) ON helper.old_name = p.proname
		WHERE p.proname ~ '^(evq_)?(http_|mcp)'
	LOOP
		EXECUTE format('ALTER FUNCTION %s SET SCHEMA evq_http', moved.oid::regprocedure);
		IF moved.new_name <> moved.name THEN
			EXECUTE format('ALTER FUNCTION %s RENAME TO %I', moved.oid::regprocedure, moved.new_name);
		END IF;
	END LOOP;
END
$$;
-- New defaults; what is configured stays: where the timeout of an attempt followed from the lifespan, it is now what it was then.
ALTER TABLE evq.event_type ALTER COLUMN lifespan SET DEFAULT '14 days', ALTER COLUMN attempt_timeout SET DEFAULT '5 minutes';
UPDATE evq.event_type SET attempt_timeout = greatest(lifespan / max_attempts, '1 ms') WHERE attempt_timeout IS NULL;
COMMENT ON COLUMN evq.event_type.lifespan IS 'Time for all attempts together, counted from run_at or from the publish; an event that is not done by then expires';
COMMENT ON COLUMN evq.event_type.attempt_timeout IS 'How long a permit holds without heartbeat; NULL, from before 0.3, = lifespan / max_attempts';
COMMENT ON COLUMN evq.event_type.retention IS 'How long a finished event is kept; 0 = one that succeeds leaves nothing, neither payload nor errors nor idempotency key. Keys are known as long as their events';

-- Each configuration of a type asks for whom it is the on-fail event.
CREATE INDEX event_type_on_fail_event_type_idx ON evq.event_type (on_fail_event_type);

-- An expiry is an error on record.
CREATE INDEX event_error_expired_idx ON evq.event_error (failed_at) WHERE outcome = 'expired';
COMMENT ON COLUMN evq.event_error.attempt IS '0 = none was running';
COMMENT ON COLUMN evq.event_error.outcome IS 'What came of it: retry, failed, expired, or the engine''s note';

-- json and text do where jsonb is wanted, arrays of text where arrays of uuid are, and any whole number as a priority.
DROP FUNCTION @extschema@.evq_configure(text, text, int, interval, interval[], float8, interval, float8, interval, text, text, int, int, interval);
DROP FUNCTION @extschema@.evq_publish(text, text, text, jsonb, text, timestamptz, smallint, text, jsonb);
DROP FUNCTION @extschema@.evq_publish_many(jsonb);
DROP FUNCTION @extschema@.evq_publish_many(text, text, text[], jsonb[], timestamptz, smallint);
DROP FUNCTION @extschema@.evq_heartbeat(uuid[], bigint[], interval);
DROP FUNCTION @extschema@.evq_succeed(uuid, bigint, jsonb, jsonb);
DROP FUNCTION @extschema@.evq_succeed_many(uuid[], bigint[]);
DROP FUNCTION @extschema@.evq_acquire_next(text, int, text[], text, interval);
DROP FUNCTION @extschema@.evq_pending(text, int);
DROP FUNCTION @extschema@.evq_redrive(text, timestamptz, int);
DROP FUNCTION @extschema@.evq_succeed_and_acquire(text, uuid[], bigint[], int, text[], text, interval);
DROP FUNCTION @extschema@.evq_fail_many(uuid[], bigint[], text, boolean);
DROP FUNCTION @extschema@.evq_schedule(text, text, text, text, text, jsonb, text, smallint, text, boolean);
DROP FUNCTION @extschema@.evq_configure_flow(text, text, int, int, interval, text, boolean, boolean);
-- What an activation brings is a column of its own, and may come before the suspension.
ALTER TABLE evq.event ADD COLUMN answer jsonb, ADD COLUMN answered_permit bigint;
ALTER TABLE evq.event_history ADD COLUMN answer jsonb, ADD COLUMN answered_permit bigint;
-- Whose an event is.
ALTER TABLE evq.event ADD COLUMN group_key text;
ALTER TABLE evq.event_history ADD COLUMN group_key text;
CREATE INDEX event_flow_no_group_key_attempt_scheduled_at_idx ON evq.event (flow_no, group_key, attempt_scheduled_at, event_id) WHERE group_key IS NOT NULL;
COMMENT ON COLUMN evq.event.group_key IS 'Whose it is, for limits by group; NULL = nobody''s';
COMMENT ON COLUMN evq.event_history.group_key IS 'Whose it was';
COMMENT ON COLUMN evq.event.answer IS 'What the last activation brought; gone when the event is suspended again';
COMMENT ON COLUMN evq.event.answered_permit IS
	'Permit of the attempt that was activated; NULL = none since the last suspension began. If it is the permit, a suspension ends at once';
COMMENT ON COLUMN evq.event_history.answer IS 'What the last activation brought, since the last suspension began';
ALTER TYPE evq.acquired ADD ATTRIBUTE answer jsonb;
COMMENT ON TYPE evq.acquired IS
	'An event handed to a worker: permit is the fencing token for its report, attempt_due_at the time it holds until, answer what evq_activate() brought since it was suspended last';
CREATE TYPE evq.acquired_batch AS (
	token text, flow_type text, event_ids uuid[], event_types text[], flow_ids text[],
	attempts int[], attempts_left int[], payloads jsonb[], headers jsonb[],
	attempt_due_at timestamptz, due_at timestamptz, answers jsonb[]);
COMMENT ON TYPE evq.acquired_batch IS
	'Events handed to a worker as one batch: token reports all of them, from any session; the arrays have an element for each event, as evq.acquired has columns, and headers and answers are NULL where no event has any; attempt_due_at, due_at: the earliest of them';
DROP FUNCTION @extschema@.evq_activate(uuid, jsonb);

-- Events of one instant are read in the order of their ids. The index keeps its name, by which scripts of operators know it.
DROP INDEX evq.event_flow_no_attempt_scheduled_at_idx;
CREATE INDEX event_flow_no_attempt_scheduled_at_idx ON evq.event (flow_no, attempt_scheduled_at, event_id);
-- For each row and always: what logical replication applies, and sessions whose session_replication_role is replica, fire no others.
DROP TRIGGER flow_changed ON evq.flow;
DROP TRIGGER event_type_changed ON evq.event_type;
DROP TRIGGER pause_changed ON evq.pause;
DROP TRIGGER restriction_changed ON evq.restriction;
CREATE TRIGGER flow_changed AFTER INSERT OR UPDATE OR DELETE ON evq.flow FOR EACH ROW EXECUTE FUNCTION evq.configuration_changed();
CREATE TRIGGER flow_emptied AFTER TRUNCATE ON evq.flow FOR EACH STATEMENT EXECUTE FUNCTION evq.configuration_changed();
CREATE TRIGGER event_type_changed AFTER INSERT OR UPDATE OR DELETE ON evq.event_type FOR EACH ROW EXECUTE FUNCTION evq.configuration_changed();
CREATE TRIGGER event_type_emptied AFTER TRUNCATE ON evq.event_type FOR EACH STATEMENT EXECUTE FUNCTION evq.configuration_changed();
ALTER TABLE evq.flow ENABLE ALWAYS TRIGGER flow_changed, ENABLE ALWAYS TRIGGER flow_emptied;
ALTER TABLE evq.event_type ENABLE ALWAYS TRIGGER event_type_changed, ENABLE ALWAYS TRIGGER event_type_emptied;
CREATE TRIGGER pause_changed AFTER INSERT OR UPDATE OR DELETE ON evq.pause FOR EACH ROW EXECUTE FUNCTION evq.pause_changed();
CREATE TRIGGER pause_emptied AFTER TRUNCATE ON evq.pause FOR EACH STATEMENT EXECUTE FUNCTION evq.pause_changed();
ALTER TABLE evq.pause ENABLE ALWAYS TRIGGER pause_changed, ENABLE ALWAYS TRIGGER pause_emptied;
CREATE TRIGGER restriction_changed AFTER INSERT OR UPDATE OR DELETE ON evq.restriction FOR EACH ROW EXECUTE FUNCTION evq.configuration_changed();
CREATE TRIGGER restriction_emptied AFTER TRUNCATE ON evq.restriction FOR EACH STATEMENT EXECUTE FUNCTION evq.configuration_changed();
ALTER TABLE evq.restriction ENABLE ALWAYS TRIGGER restriction_changed, ENABLE ALWAYS TRIGGER restriction_emptied;
-- Schedules: the dispatcher runs them; seconds, time zones, and what becomes of a time that comes while the last event is live.
ALTER TABLE evq.schedule ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC',
	ADD COLUMN overlap text NOT NULL DEFAULT 'allow' CHECK (overlap IN ('allow', 'skip', 'queue')),
	ADD COLUMN group_key text;
COMMENT ON COLUMN evq.schedule.group_key IS 'That of its events; NULL = what the flow''s group_by says';
COMMENT ON COLUMN evq.schedule.time_zone IS 'Whose clocks the times of cron are read from';
COMMENT ON COLUMN evq.schedule.overlap IS
'What becomes of a time that comes while the last event is live: allow = one more event, skip = nothing, queue = its event when that one is finished';
CREATE FUNCTION evq.schedules_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'evq_sql_schedules_changed' LANGUAGE c;
COMMENT ON FUNCTION evq.schedules_changed() IS 'Trigger: at commit the dispatcher looks when the next schedule is due';
CREATE TRIGGER schedules_changed AFTER INSERT OR UPDATE OF name, cron, is_paused, has_job, time_zone, overlap ON evq.schedule
	FOR EACH STATEMENT EXECUTE FUNCTION evq.schedules_changed();
ALTER TABLE evq.schedule ENABLE ALWAYS TRIGGER schedules_changed;
-- The dispatcher looks at once.
UPDATE evq.schedule SET cron = cron;
-- Housekeeping knows of batches.
ALTER TABLE evq.housekeeping ADD COLUMN filenode oid;
COMMENT ON COLUMN evq.housekeeping.next_id IS 'Where to go on looking for rows whose event is gone, or for batches whose rows were moved; NULL = nothing to look for';
COMMENT ON COLUMN evq.housekeeping.filenode IS 'Of a partition of evq.log: its file, of which batches know where their rows are';
DROP FUNCTION evq.history_partition_name(timestamptz);
-- A flow can be paused.
ALTER TABLE evq.flow ADD COLUMN paused_at timestamptz, ADD COLUMN paused_until timestamptz, ADD COLUMN pause_reason text;
COMMENT ON COLUMN evq.flow.paused_at IS 'Since when it has been paused';
COMMENT ON COLUMN evq.flow.paused_until IS 'Nothing of it is dispatched or acquired before; infinity = until evq_resume_flow(), NULL = it is not paused';
ALTER TABLE evq.flow ADD COLUMN group_by text CHECK (group_by ~ '^(flow_id(/[1-9])?|header:.+|payload:(/.*)?)$' AND octet_length(group_by) <= 255);
ALTER TABLE evq.flow ADD COLUMN max_processing_per_group int CHECK (max_processing_per_group BETWEEN 1 AND 1000000),
	ADD COLUMN rate float8 CHECK (rate > 0 AND rate <= 1e9),
	ADD COLUMN per interval CHECK (per BETWEEN '1 ms' AND '3650 days'),
	ADD COLUMN burst int CHECK (burst BETWEEN 1 AND 1000000),
	ADD COLUMN rate_per_group float8 CHECK (rate_per_group > 0 AND rate_per_group <= 1e9),
	ADD COLUMN per_per_group interval CHECK (per_per_group BETWEEN '1 ms' AND '3650 days'),
	ADD COLUMN burst_per_group int CHECK (burst_per_group BETWEEN 1 AND 1000000),
	ADD COLUMN groups_paused_until timestamptz,
	ADD COLUMN fair boolean NOT NULL DEFAULT false,
	ADD COLUMN priority_step interval CHECK (priority_step BETWEEN '1 ms' AND '365 days');
COMMENT ON COLUMN evq.flow.max_processing_per_group IS 'At most so many events of a group offered or in processing at once; NULL = no limit';
COMMENT ON COLUMN evq.flow.rate IS 'At most so many events begin, in the time "per", beyond the burst; NULL = no limit';
COMMENT ON COLUMN evq.flow.per IS 'The time of rate; NULL = a second';
COMMENT ON COLUMN evq.flow.burst IS 'So many may begin at once; NULL = as many as the rate allows in a tenth of a second, one at least';
COMMENT ON COLUMN evq.flow.rate_per_group IS 'As rate, for the events of a group';
COMMENT ON COLUMN evq.flow.per_per_group IS 'The time of rate_per_group; NULL = a second';
COMMENT ON COLUMN evq.flow.burst_per_group IS 'As burst, for the events of a group';
COMMENT ON COLUMN evq.flow.groups_paused_until IS 'Some group of it is paused until then; NULL = none has been since evq_resume_group()';
COMMENT ON COLUMN evq.flow.fair IS 'Groups that have work take turns, by their weights; false = by priority and time alone';
COMMENT ON COLUMN evq.flow.priority_step IS 'An event''s priority counts as one higher for each such time that it has waited; NULL = it stays what it is';
COMMENT ON COLUMN evq.flow.group_by IS 'Where the group key of an event comes from whose publisher gives none: flow_id, flow_id/N, header:NAME or payload:POINTER; NULL = nowhere';
-- Event types have named limits.
ALTER TABLE evq.event_type ADD COLUMN limits text[] CHECK (array_ndims(limits) = 1 AND cardinality(limits) <= 8 AND array_position(limits, NULL) IS NULL),
	ADD COLUMN cost int CHECK (cost BETWEEN 1 AND 1000000);
COMMENT ON COLUMN evq.event_type.limits IS 'Named limits that its events have, of evq_configure_limit(); NULL = none';
COMMENT ON COLUMN evq.event_type.cost IS 'Tokens that an event takes of each of these that has a rate; NULL = 1';
