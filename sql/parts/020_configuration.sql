-- Configuration: one row a flow, one row an event type.

CREATE TABLE evq.flow (
	flow_no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	flow_type text NOT NULL UNIQUE CHECK (flow_type ~ '^[A-Za-z][A-Za-z0-9_]{0,58}$'),
	channel text NOT NULL UNIQUE CHECK (channel ~ '^[a-z][a-z0-9_]{0,62}$'),
	max_dispatched int NOT NULL DEFAULT 1000 CHECK (max_dispatched BETWEEN 1 AND 1000000),
	max_processing int CHECK (max_processing BETWEEN 1 AND 1000000),
	dispatch_timeout interval NOT NULL DEFAULT '30 s'
		CHECK (dispatch_timeout BETWEEN '10 ms' AND '30 days'),
	delivery text NOT NULL DEFAULT 'push' CHECK (delivery IN ('push', 'pull')),
	ordered boolean NOT NULL DEFAULT false,
	notify_payload boolean NOT NULL DEFAULT false,
	paused_at timestamptz,
	paused_until timestamptz,
	pause_reason text,
	group_by text CHECK (group_by ~ '^(flow_id(/[1-9])?|header:.+|payload:(/.*)?)$' AND pg_catalog.octet_length(group_by) <= 255),
	max_processing_per_group int CHECK (max_processing_per_group BETWEEN 1 AND 1000000),
	rate float8 CHECK (rate > 0 AND rate <= 1e9),
	per interval CHECK (per BETWEEN '1 ms' AND '3650 days'),
	burst int CHECK (burst BETWEEN 1 AND 1000000),
	rate_per_group float8 CHECK (rate_per_group > 0 AND rate_per_group <= 1e9),
	per_per_group interval CHECK (per_per_group BETWEEN '1 ms' AND '3650 days'),
	burst_per_group int CHECK (burst_per_group BETWEEN 1 AND 1000000),
	groups_paused_until timestamptz,
	fair boolean NOT NULL DEFAULT false,
	priority_step interval CHECK (priority_step BETWEEN '1 ms' AND '365 days')
);
COMMENT ON TABLE evq.flow IS 'One row a flow: how its events reach workers';
COMMENT ON COLUMN evq.flow.channel IS 'Channel of the dispatch notifications: LISTEN to it';
COMMENT ON COLUMN evq.flow.max_dispatched IS 'Dispatch window: at most so many events offered and not yet acquired';
COMMENT ON COLUMN evq.flow.max_processing IS 'At most so many events offered or in processing at once; NULL = no limit';
COMMENT ON COLUMN evq.flow.dispatch_timeout IS 'An event that nobody acquired for so long is offered again';
COMMENT ON COLUMN evq.flow.delivery IS 'push: each event is notified; pull: one wake-up when work comes, workers call evq_acquire_next';
COMMENT ON COLUMN evq.flow.ordered IS 'One live attempt per flow_id at a time, in publish order; holds for events published after it was set';
COMMENT ON COLUMN evq.flow.notify_payload IS 'Put the payload into notifications; off by default, since any role may LISTEN';
COMMENT ON COLUMN evq.flow.paused_at IS 'Since when it has been paused';
COMMENT ON COLUMN evq.flow.paused_until IS 'Nothing of it is dispatched or acquired before; infinity = until evq_resume_flow(), NULL = it is not paused';
COMMENT ON COLUMN evq.flow.group_by IS 'Where the group key of an event comes from whose publisher gives none: flow_id, flow_id/N, header:NAME or payload:POINTER; NULL = nowhere';
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

CREATE TABLE evq.event_type (
	event_type_no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	event_type text NOT NULL UNIQUE CHECK (event_type ~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$'),
	flow_no int NOT NULL,
	max_attempts smallint NOT NULL DEFAULT 3 CHECK (max_attempts BETWEEN 1 AND 10000),
	lifespan interval NOT NULL DEFAULT '14 days'
		CHECK (lifespan BETWEEN '1 ms' AND '3650 days'),
	attempt_delays interval[] NOT NULL DEFAULT '{0 s, 10 s}'
		CHECK (CASE WHEN pg_catalog.array_ndims(attempt_delays) = 1 AND pg_catalog.cardinality(attempt_delays) <= 100
			   THEN pg_catalog.array_position(attempt_delays, NULL) IS NULL
					AND '0 s' <= ALL (attempt_delays) AND '3650 days' >= ALL (attempt_delays)
			   ELSE false END),
	backoff_factor float8 NOT NULL DEFAULT 1 CHECK (backoff_factor BETWEEN 1 AND 100),
	max_delay interval NOT NULL DEFAULT '1 day' CHECK (max_delay BETWEEN '0 s' AND '3650 days'),
	jitter float8 NOT NULL DEFAULT 0 CHECK (jitter BETWEEN 0 AND 1),
	attempt_timeout interval DEFAULT '5 minutes' CHECK (attempt_timeout BETWEEN '1 ms' AND '3650 days'),
	is_suspended boolean NOT NULL DEFAULT false,
	on_suspend_timeout text NOT NULL DEFAULT 'expire' CHECK (on_suspend_timeout IN ('expire', 'retry')),
	on_fail_event_type text,
	priority smallint NOT NULL DEFAULT 0,
	max_payload_bytes int CHECK (max_payload_bytes BETWEEN 2 AND 268435455),
	retention interval NOT NULL DEFAULT '7 days' CHECK (retention BETWEEN '0 s' AND '36500 days'),
	dropped boolean NOT NULL DEFAULT false,
	limits text[] CHECK (pg_catalog.array_ndims(limits) = 1 AND pg_catalog.cardinality(limits) <= 8 AND pg_catalog.array_position(limits, NULL) IS NULL),
	cost int CHECK (cost BETWEEN 1 AND 1000000)
);
CREATE INDEX event_type_on_fail_event_type_idx ON evq.event_type (on_fail_event_type);
COMMENT ON TABLE evq.event_type IS 'One row an event type: its rules of attempts, time and failure';
COMMENT ON COLUMN evq.event_type.max_attempts IS 'Attempts in all, the first one included';
COMMENT ON COLUMN evq.event_type.lifespan IS 'Time for all attempts together, counted from run_at or from the publish; an event that is not done by then expires';
COMMENT ON COLUMN evq.event_type.attempt_delays IS 'Delay before attempt 1, 2, ...; the last one repeats';
COMMENT ON COLUMN evq.event_type.backoff_factor IS 'Beyond attempt_delays each delay is the one before it times this';
COMMENT ON COLUMN evq.event_type.max_delay IS 'No delay beyond attempt_delays is longer than this';
COMMENT ON COLUMN evq.event_type.jitter IS 'Each delay beyond attempt_delays moves at random by up to this share of itself';
COMMENT ON COLUMN evq.event_type.attempt_timeout IS 'How long a permit holds without heartbeat; NULL, from before 0.3, = lifespan / max_attempts';
COMMENT ON COLUMN evq.event_type.is_suspended IS 'No event of a suspended type is dispatched or acquired';
COMMENT ON COLUMN evq.event_type.on_suspend_timeout IS 'What becomes of a suspended event whose trigger never came';
COMMENT ON COLUMN evq.event_type.on_fail_event_type IS 'Published in the same flow when an event of this type fails for good or expires';
COMMENT ON COLUMN evq.event_type.priority IS 'Higher is offered earlier';
COMMENT ON COLUMN evq.event_type.max_payload_bytes IS 'Largest payload, as jsonb bytes; NULL = the setting evq.max_payload';
COMMENT ON COLUMN evq.event_type.retention IS 'How long a finished event is kept; 0 = one that succeeds leaves nothing, neither payload nor errors nor idempotency key. Keys are known as long as their events';
COMMENT ON COLUMN evq.event_type.dropped IS 'Kept only to name old events';
COMMENT ON COLUMN evq.event_type.limits IS 'Named limits that its events have, of evq_configure_limit(); NULL = none';
COMMENT ON COLUMN evq.event_type.cost IS 'Tokens that an event takes of each of these that has a rate; NULL = 1';

SELECT pg_catalog.pg_extension_config_dump('evq.flow', '');
SELECT pg_catalog.pg_extension_config_dump('evq.flow_flow_no_seq', '');
SELECT pg_catalog.pg_extension_config_dump('evq.event_type', '');
SELECT pg_catalog.pg_extension_config_dump('evq.event_type_event_type_no_seq', '');

-- Sessions cache these rows. Whoever changes them, by whatever statement,
-- makes every session read them anew when the change commits.
CREATE FUNCTION evq.configuration_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'evq_sql_configuration_changed' LANGUAGE c;
COMMENT ON FUNCTION evq.configuration_changed() IS
	'Trigger: sends an invalidation of the cached configuration to every session at commit';

-- For each row and always: what logical replication applies fires no others.
CREATE TRIGGER flow_changed AFTER INSERT OR UPDATE OR DELETE ON evq.flow FOR EACH ROW EXECUTE FUNCTION evq.configuration_changed();
CREATE TRIGGER flow_emptied AFTER TRUNCATE ON evq.flow FOR EACH STATEMENT EXECUTE FUNCTION evq.configuration_changed();
CREATE TRIGGER event_type_changed AFTER INSERT OR UPDATE OR DELETE ON evq.event_type FOR EACH ROW EXECUTE FUNCTION evq.configuration_changed();
CREATE TRIGGER event_type_emptied AFTER TRUNCATE ON evq.event_type FOR EACH STATEMENT EXECUTE FUNCTION evq.configuration_changed();
ALTER TABLE evq.flow ENABLE ALWAYS TRIGGER flow_changed, ENABLE ALWAYS TRIGGER flow_emptied;
ALTER TABLE evq.event_type ENABLE ALWAYS TRIGGER event_type_changed, ENABLE ALWAYS TRIGGER event_type_emptied;
