-- Events. src/tables/tables.h knows the columns of these tables by number: change both together.
-- Nothing that a dispatch or an acquire changes is indexed, so those updates stay
-- on the row's page (HOT); the fill factor leaves room there for every version of it.

CREATE TABLE evq.event (
	event_id uuid NOT NULL,
	published_at timestamptz NOT NULL,
	attempt_scheduled_at timestamptz NOT NULL,
	due_at timestamptz NOT NULL,
	event_type_no int NOT NULL,
	flow_no int NOT NULL,
	priority smallint NOT NULL,
	chain_depth smallint NOT NULL,
	ordered boolean NOT NULL,
	state "char" NOT NULL,
	attempts_used smallint NOT NULL,
	state_due_at timestamptz NOT NULL,
	state_since timestamptz NOT NULL,
	permit bigint NOT NULL,
	flow_id text NOT NULL,
	parent_id uuid,
	on_fail_event_type_no int,
	worker text,
	payload jsonb,
	answer jsonb,
	answered_permit bigint,
	group_key text,
	CONSTRAINT event_pkey PRIMARY KEY (event_id)
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
		autovacuum_vacuum_cost_delay = 0);
CREATE INDEX event_flow_no_attempt_scheduled_at_idx ON evq.event (flow_no, attempt_scheduled_at, event_id);
CREATE INDEX event_flow_no_flow_id_event_id_idx ON evq.event (flow_no, flow_id, event_id) WHERE ordered;
CREATE INDEX event_flow_no_group_key_attempt_scheduled_at_idx ON evq.event (flow_no, group_key, attempt_scheduled_at, event_id) WHERE group_key IS NOT NULL;
COMMENT ON TABLE evq.event IS 'Live events, one row each; read them through evq.events';
COMMENT ON COLUMN evq.event.attempt_scheduled_at IS 'When the next attempt may start';
COMMENT ON COLUMN evq.event.due_at IS 'End of the lifespan';
COMMENT ON COLUMN evq.event.state_due_at IS 'When the present state times out: dispatch, permit or suspension; infinity while awaiting';
COMMENT ON COLUMN evq.event.attempts_used IS 'Attempts that ended in failure or timeout';
COMMENT ON COLUMN evq.event.permit IS 'The last permit granted: epoch (high 32 bits) and a random number (low 32 bits)';
COMMENT ON COLUMN evq.event.payload IS 'What the publisher wrote; NULL = it is in evq.event_payload';
COMMENT ON COLUMN evq.event.answer IS 'What the last activation brought; gone when the event is suspended again';
COMMENT ON COLUMN evq.event.answered_permit IS
	'Permit of the attempt that was activated; NULL = none since the last suspension began. If it is the permit, a suspension ends at once';
COMMENT ON COLUMN evq.event.group_key IS 'Whose it is, for limits by group; NULL = nobody''s';

CREATE TABLE evq.event_payload (
	event_id uuid NOT NULL,
	payload jsonb NOT NULL,
	headers jsonb,
	CONSTRAINT event_payload_pkey PRIMARY KEY (event_id)
);
COMMENT ON TABLE evq.event_payload IS 'Payloads that are large or come with headers: no transition rewrites them; read all payloads through evq.payloads';

-- The columns of evq.event up to the payload, two of them with another meaning, and then the outcome.
-- Housekeeping makes a partition for each stretch of time (see 064_history); each has
-- the indexes of the default one, which holds what finished before its partition was made.
CREATE TABLE evq.event_history (
	event_id uuid NOT NULL,
	published_at timestamptz NOT NULL,
	attempt_scheduled_at timestamptz NOT NULL,
	due_at timestamptz NOT NULL,
	event_type_no int NOT NULL,
	flow_no int NOT NULL,
	priority smallint NOT NULL,
	chain_depth smallint NOT NULL,
	ordered boolean NOT NULL,
	state "char" NOT NULL,
	attempts_used smallint NOT NULL,
	attempt_started_at timestamptz NOT NULL,
	finished_at timestamptz NOT NULL,
	permit bigint NOT NULL,
	flow_id text NOT NULL,
	parent_id uuid,
	on_fail_event_type_no int,
	worker text,
	payload jsonb,
	reason text,
	result jsonb,
	spinoff_ids uuid[],
	answer jsonb,
	answered_permit bigint,
	group_key text
) PARTITION BY RANGE (finished_at);
COMMENT ON TABLE evq.event_history IS 'Finished events, one row each; read them through evq.events';
COMMENT ON COLUMN evq.event_history.attempts_used IS 'Attempts made, the successful one included';
COMMENT ON COLUMN evq.event_history.attempt_started_at IS 'When the attempt that ended it began; infinity = none was running';
COMMENT ON COLUMN evq.event_history.payload IS 'What the publisher wrote; NULL = it is in evq.event_payload';
COMMENT ON COLUMN evq.event_history.reason IS 'Why it was canceled, failed or expired';
COMMENT ON COLUMN evq.event_history.answer IS 'What the last activation brought, since the last suspension began';
COMMENT ON COLUMN evq.event_history.group_key IS 'Whose it was';

CREATE TABLE evq.event_history_default PARTITION OF evq.event_history (
	CONSTRAINT event_history_default_pkey PRIMARY KEY (event_id)
) DEFAULT;
CREATE INDEX event_history_default_finished_at_idx ON evq.event_history_default USING brin (finished_at);
COMMENT ON TABLE evq.event_history_default IS 'Finished events that no other partition of evq.event_history is for';
-- A publication may publish the history through its root, which has no key of its own.
ALTER TABLE evq.event_history REPLICA IDENTITY FULL;
ALTER TABLE evq.event_history_default REPLICA IDENTITY FULL;

CREATE TABLE evq.event_error (
	event_id uuid NOT NULL,
	failed_at timestamptz NOT NULL,
	attempt smallint NOT NULL,
	outcome text NOT NULL,
	error_message text NOT NULL,
	stack_trace text,
	worker text
);
CREATE INDEX event_error_event_id_idx ON evq.event_error (event_id);
CREATE INDEX event_error_failed_at_idx ON evq.event_error (failed_at);
CREATE INDEX event_error_expired_idx ON evq.event_error (failed_at) WHERE outcome = 'expired';
ALTER TABLE evq.event_error REPLICA IDENTITY FULL;
COMMENT ON TABLE evq.event_error IS 'One row a failed attempt; append-only';
COMMENT ON COLUMN evq.event_error.attempt IS '0 = none was running';
COMMENT ON COLUMN evq.event_error.outcome IS 'What came of it: retry, failed, expired, or the engine''s note';

CREATE TABLE evq.idempotency (
	event_type_no int NOT NULL,
	idempotency_key text NOT NULL,
	event_id uuid NOT NULL,
	content_hash bigint NOT NULL,
	CONSTRAINT idempotency_pkey PRIMARY KEY (event_type_no, idempotency_key)
);
CREATE INDEX idempotency_event_id_idx ON evq.idempotency (event_id);
COMMENT ON TABLE evq.idempotency IS 'Which event each idempotency key made';

-- Rows are only added: a restore may find one here already.
CREATE TABLE evq.epoch (
	epoch int NOT NULL,
	system_identifier bigint NOT NULL,
	database_oid oid NOT NULL,
	event_table_oid oid NOT NULL,
	timeline int NOT NULL,
	began_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
ALTER TABLE evq.epoch REPLICA IDENTITY FULL;
COMMENT ON TABLE evq.epoch IS
	'A new row for each server, database, installation and timeline that granted permits; permits of older epochs are void';

-- Not dumped: a restored database counts from zero.
CREATE TABLE evq.counter (
	no int NOT NULL,
	name text NOT NULL,
	value bigint NOT NULL,
	CONSTRAINT counter_pkey PRIMARY KEY (no, name)
);
COMMENT ON TABLE evq.counter IS 'The counters while the server is stopped; a running dispatcher has taken them out, see evq.counters()';
COMMENT ON COLUMN evq.counter.no IS 'event_type_no or flow_no, as the name says; 0 = of the database';

SELECT pg_catalog.pg_extension_config_dump('evq.event', '');
SELECT pg_catalog.pg_extension_config_dump('evq.event_payload', '');
SELECT pg_catalog.pg_extension_config_dump('evq.event_history_default', '');
SELECT pg_catalog.pg_extension_config_dump('evq.event_error', '');
SELECT pg_catalog.pg_extension_config_dump('evq.idempotency', '');
SELECT pg_catalog.pg_extension_config_dump('evq.epoch', '');
