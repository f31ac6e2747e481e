-- Events that one call published together. src/tables/tables.h knows the columns of these
-- tables: change both together. A batch and its rows of evq.log never change. What happened to its events is kept for neighbours
-- that were acquired together by one row, a run; an event that left its run, or never had one, has an exception.

-- Housekeeping makes a partition for each stretch of time (see 066_log), by when events were published, which their ids tell.
CREATE TABLE evq.log (
	event_id uuid NOT NULL,
	flow_id text NOT NULL,
	payload jsonb NOT NULL,
	headers jsonb
) PARTITION BY RANGE (event_id);
ALTER TABLE evq.log REPLICA IDENTITY FULL;
COMMENT ON TABLE evq.log IS 'What was published in batches, one row an event; read it through evq.events and evq.payloads';

CREATE TABLE evq.log_default PARTITION OF evq.log DEFAULT;
CREATE INDEX log_default_event_id_idx ON evq.log_default USING brin (event_id) WITH (pages_per_range = 32);
ALTER TABLE evq.log_default REPLICA IDENTITY FULL;
COMMENT ON TABLE evq.log_default IS 'What was published while no other partition of evq.log was for it';

CREATE TABLE evq.batch (
	batch_id uuid NOT NULL,
	published_at timestamptz NOT NULL,
	attempt_scheduled_at timestamptz NOT NULL,
	due_at timestamptz NOT NULL,
	event_type_no int NOT NULL,
	flow_no int NOT NULL,
	priority smallint NOT NULL,
	events smallint NOT NULL,
	on_fail_event_type_no int,
	places bytea NOT NULL,
	CONSTRAINT batch_pkey PRIMARY KEY (batch_id)
);
ALTER TABLE evq.batch ALTER COLUMN places SET STORAGE PLAIN;
COMMENT ON TABLE evq.batch IS 'What the events of a batch have in common';
COMMENT ON COLUMN evq.batch.batch_id IS 'The id of its first event; those of the others count up in the last ten bits';
COMMENT ON COLUMN evq.batch.places IS 'Where its rows of evq.log are, if nothing has moved them since: page, first item, number of items';

-- One row while a batch has an event that is not final: what the engine walks when it begins.
CREATE TABLE evq.backlog (
	flow_no int NOT NULL,
	attempt_scheduled_at timestamptz NOT NULL,
	batch_id uuid NOT NULL,
	event_type_no int NOT NULL,
	priority smallint NOT NULL,
	events smallint NOT NULL,
	CONSTRAINT backlog_pkey PRIMARY KEY (event_type_no, batch_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX backlog_flow_no_attempt_scheduled_at_idx ON evq.backlog (flow_no, attempt_scheduled_at, batch_id);
COMMENT ON TABLE evq.backlog IS 'The batches of which something is left to do';

CREATE TABLE evq.run (
	last_id uuid NOT NULL,
	events smallint NOT NULL,
	state "char" NOT NULL,
	state_since timestamptz NOT NULL,
	state_due_at timestamptz NOT NULL,
	attempt_started_at timestamptz NOT NULL,
	permit bigint NOT NULL,
	worker text,
	CONSTRAINT run_pkey PRIMARY KEY (last_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE evq.run IS 'Neighbours of a batch that were acquired together, and what became of those of them that have no exception';
COMMENT ON COLUMN evq.run.last_id IS 'The last of them';

CREATE TABLE evq.exception (
	event_id uuid NOT NULL,
	state "char" NOT NULL,
	state_since timestamptz NOT NULL,
	CONSTRAINT exception_pkey PRIMARY KEY (event_id)
);
COMMENT ON TABLE evq.exception IS 'Events of batches that went another way than their run, or had none';
COMMENT ON COLUMN evq.exception.state IS 's = succeeded; m = moved: from then on it is a row of evq.event or evq.event_history';

CREATE TABLE evq.log_type (
	relation name NOT NULL,
	event_type_no int NOT NULL,
	done_at timestamptz,
	CONSTRAINT log_type_pkey PRIMARY KEY (relation, event_type_no)
);
COMMENT ON TABLE evq.log_type IS 'Of which event types a partition of evq.log has batches, once its time is over';
COMMENT ON COLUMN evq.log_type.done_at IS 'Since when none of them is in the backlog; NULL = some are, -infinity = their events have been deleted';

SELECT pg_catalog.pg_extension_config_dump('evq.log_default', '');
SELECT pg_catalog.pg_extension_config_dump('evq.batch', '');
SELECT pg_catalog.pg_extension_config_dump('evq.backlog', '');
SELECT pg_catalog.pg_extension_config_dump('evq.run', '');
SELECT pg_catalog.pg_extension_config_dump('evq.exception', '');
SELECT pg_catalog.pg_extension_config_dump('evq.log_type', '');
