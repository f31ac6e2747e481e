\echo Use "CREATE EXTENSION evq" to load this file. \quit
-- Schema, types and roles.

-- Whoever may create objects in the target schema must not lend this script, or
-- what it defines, an operator: names are looked up in pg_catalog alone, and
-- everything else is written with its schema.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA evq;
COMMENT ON SCHEMA evq IS 'evq: tables, views and types of the event engine; its functions are called evq_*';

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
	FOREACH role_name IN ARRAY ARRAY['evq_publisher', 'evq_worker', 'evq_operator', 'evq_monitor']
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
	notify_payload boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE evq.flow IS 'One row a flow: how its events reach workers';
COMMENT ON COLUMN evq.flow.channel IS 'Channel of the dispatch notifications: LISTEN to it';
COMMENT ON COLUMN evq.flow.max_dispatched IS 'Dispatch window: at most so many events offered and not yet acquired';
COMMENT ON COLUMN evq.flow.max_processing IS 'At most so many events offered or in processing at once; NULL = no limit';
COMMENT ON COLUMN evq.flow.dispatch_timeout IS 'An event that nobody acquired for so long is offered again';
COMMENT ON COLUMN evq.flow.delivery IS 'push: each event is notified; pull: one wake-up when work comes, workers call evq_acquire_next';
COMMENT ON COLUMN evq.flow.ordered IS 'One live attempt per flow_id at a time, in publish order; holds for events published after it was set';
COMMENT ON COLUMN evq.flow.notify_payload IS 'Put the payload into notifications; off by default, since any role may LISTEN';

CREATE TABLE evq.event_type (
	event_type_no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	event_type text NOT NULL UNIQUE CHECK (event_type ~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$'),
	flow_no int NOT NULL,
	max_attempts smallint NOT NULL DEFAULT 3 CHECK (max_attempts BETWEEN 1 AND 10000),
	lifespan interval NOT NULL DEFAULT '1 hour'
		CHECK (lifespan BETWEEN '1 ms' AND '3650 days'),
	attempt_delays interval[] NOT NULL DEFAULT '{0 s, 10 s}'
		CHECK (CASE WHEN pg_catalog.array_ndims(attempt_delays) = 1 AND pg_catalog.cardinality(attempt_delays) <= 100
			   THEN pg_catalog.array_position(attempt_delays, NULL) IS NULL
					AND '0 s' <= ALL (attempt_delays) AND '3650 days' >= ALL (attempt_delays)
			   ELSE false END),
	backoff_factor float8 NOT NULL DEFAULT 1 CHECK (backoff_factor BETWEEN 1 AND 100),
	max_delay interval NOT NULL DEFAULT '1 day' CHECK (max_delay BETWEEN '0 s' AND '3650 days'),
	jitter float8 NOT NULL DEFAULT 0 CHECK (jitter BETWEEN 0 AND 1),
	attempt_timeout interval CHECK (attempt_timeout BETWEEN '1 ms' AND '3650 days'),
	is_suspended boolean NOT NULL DEFAULT false,
	on_suspend_timeout text NOT NULL DEFAULT 'expire' CHECK (on_suspend_timeout IN ('expire', 'retry')),
	on_fail_event_type text,
	priority smallint NOT NULL DEFAULT 0,
	max_payload_bytes int CHECK (max_payload_bytes BETWEEN 2 AND 268435455),
	retention interval NOT NULL DEFAULT '7 days' CHECK (retention BETWEEN '0 s' AND '36500 days'),
	dropped boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE evq.event_type IS 'One row an event type: its rules of attempts, time and failure';
COMMENT ON COLUMN evq.event_type.max_attempts IS 'Attempts in all, the first one included';
COMMENT ON COLUMN evq.event_type.lifespan IS 'Time for all attempts together, counted from run_at or from the publish';
COMMENT ON COLUMN evq.event_type.attempt_delays IS 'Delay before attempt 1, 2, ...; the last one repeats';
COMMENT ON COLUMN evq.event_type.backoff_factor IS 'Beyond attempt_delays each delay is the one before it times this';
COMMENT ON COLUMN evq.event_type.max_delay IS 'No delay beyond attempt_delays is longer than this';
COMMENT ON COLUMN evq.event_type.jitter IS 'Each delay beyond attempt_delays moves at random by up to this share of itself';
COMMENT ON COLUMN evq.event_type.attempt_timeout IS 'How long a permit holds without heartbeat; NULL = lifespan / max_attempts';
COMMENT ON COLUMN evq.event_type.is_suspended IS 'No event of a suspended type is dispatched or acquired';
COMMENT ON COLUMN evq.event_type.on_suspend_timeout IS 'What becomes of a suspended event whose trigger never came';
COMMENT ON COLUMN evq.event_type.on_fail_event_type IS 'Published in the same flow when an event of this type fails for good or expires';
COMMENT ON COLUMN evq.event_type.priority IS 'Higher is offered earlier';
COMMENT ON COLUMN evq.event_type.max_payload_bytes IS 'Largest payload, as jsonb bytes; NULL = the setting evq.max_payload';
COMMENT ON COLUMN evq.event_type.retention IS 'How long a finished event is kept; 0 = one that succeeds leaves nothing, neither payload nor errors nor idempotency key';
COMMENT ON COLUMN evq.event_type.dropped IS 'Kept only to name old events';

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

CREATE TRIGGER flow_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evq.flow
	FOR EACH STATEMENT EXECUTE FUNCTION evq.configuration_changed();
CREATE TRIGGER event_type_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evq.event_type
	FOR EACH STATEMENT EXECUTE FUNCTION evq.configuration_changed();
-- Events. src/store.h knows the column numbers of these tables: change both together.
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
	CONSTRAINT event_pkey PRIMARY KEY (event_id)
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
		autovacuum_vacuum_cost_delay = 0);
CREATE INDEX event_flow_no_attempt_scheduled_at_idx ON evq.event (flow_no, attempt_scheduled_at);
CREATE INDEX event_flow_no_flow_id_event_id_idx ON evq.event (flow_no, flow_id, event_id) WHERE ordered;
COMMENT ON TABLE evq.event IS 'Live events, one row each; read them through evq.events';
COMMENT ON COLUMN evq.event.attempt_scheduled_at IS 'When the next attempt may start';
COMMENT ON COLUMN evq.event.due_at IS 'End of the lifespan';
COMMENT ON COLUMN evq.event.state_due_at IS 'When the present state times out: dispatch, permit or suspension; infinity while awaiting';
COMMENT ON COLUMN evq.event.attempts_used IS 'Attempts that ended in failure or timeout';
COMMENT ON COLUMN evq.event.permit IS 'The last permit granted: epoch (high 32 bits) and version (low 32 bits)';
COMMENT ON COLUMN evq.event.payload IS 'What the publisher wrote; NULL = it is in evq.event_payload';

CREATE TABLE evq.event_payload (
	event_id uuid NOT NULL,
	payload jsonb NOT NULL,
	headers jsonb,
	CONSTRAINT event_payload_pkey PRIMARY KEY (event_id)
);
COMMENT ON TABLE evq.event_payload IS 'Payloads that are large or come with headers: no transition rewrites them; read all payloads through evq.payloads';

-- The columns of evq.event, two of them with another meaning, and then the outcome.
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
	spinoff_ids uuid[]
) PARTITION BY RANGE (finished_at);
COMMENT ON TABLE evq.event_history IS 'Finished events, one row each; read them through evq.events';
COMMENT ON COLUMN evq.event_history.attempts_used IS 'Attempts made, the successful one included';
COMMENT ON COLUMN evq.event_history.attempt_started_at IS 'When the attempt that ended it began; infinity = none was running';
COMMENT ON COLUMN evq.event_history.payload IS 'What the publisher wrote; NULL = it is in evq.event_payload';
COMMENT ON COLUMN evq.event_history.reason IS 'Why it was canceled, failed or expired';

CREATE TABLE evq.event_history_default PARTITION OF evq.event_history (
	CONSTRAINT event_history_default_pkey PRIMARY KEY (event_id)
) DEFAULT;
CREATE INDEX event_history_default_finished_at_idx ON evq.event_history_default USING brin (finished_at);
COMMENT ON TABLE evq.event_history_default IS 'Finished events that no other partition of evq.event_history is for';

CREATE VIEW evq.payloads AS
	SELECT event_id, payload, NULL::jsonb AS headers FROM evq.event WHERE payload IS NOT NULL
	UNION ALL SELECT event_id, payload, NULL FROM evq.event_history WHERE payload IS NOT NULL
	UNION ALL SELECT event_id, payload, headers FROM evq.event_payload;
COMMENT ON VIEW evq.payloads IS 'Payload and headers of every event, live or finished';

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
CREATE INDEX event_error_failed_at_idx ON evq.event_error USING brin (failed_at);
COMMENT ON TABLE evq.event_error IS 'One row a failed attempt; append-only';
COMMENT ON COLUMN evq.event_error.outcome IS 'What came of it: retry, failed, or the engine''s note';

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
-- Publishing.

CREATE FUNCTION @extschema@.evq_publish(event_type text, flow_type text, flow_id text, payload jsonb DEFAULT '{}',
	on_fail_event_type text DEFAULT NULL, run_at timestamptz DEFAULT NULL, priority smallint DEFAULT NULL,
	idempotency_key text DEFAULT NULL, headers jsonb DEFAULT NULL)
RETURNS uuid AS 'MODULE_PATHNAME', 'evq_sql_publish' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_publish(text, text, text, jsonb, text, timestamptz, smallint, text, jsonb) IS
$$Publishes one event and returns its id (UUIDv7). It exists if and only if the transaction commits.
flow_type: NULL = the event type's own. flow_id: what the events of one case have in common, 1 to 255 bytes.
run_at: not before this time; NULL or past = now. priority: higher first; NULL = the event type's.
idempotency_key: per event type, 1 to 255 bytes; the same key again returns the first event's id.
Errors: EQ001 unknown event type or flow, EQ005 payload too large, EQ006 bad argument, EQ008 key reused with another payload or flow_id.$$;

CREATE FUNCTION @extschema@.evq_publish_many(events jsonb)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_publish_many_json' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_publish_many(jsonb) IS
$$Publishes an array of objects, any mix of types; the keys are the argument names of evq_publish.
Returns the ids in the order of the array. All or nothing. Errors: as evq_publish, with the position in CONTEXT.$$;

CREATE FUNCTION @extschema@.evq_publish_many(event_type text, flow_type text, flow_ids text[], payloads jsonb[],
	run_at timestamptz DEFAULT NULL, priority smallint DEFAULT NULL)
RETURNS SETOF uuid AS 'MODULE_PATHNAME', 'evq_sql_publish_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.evq_publish_many(text, text, text[], jsonb[], timestamptz, smallint) IS
$$The fast path: publishes events of one type, one for each flow_id, with the payload at the same place of payloads.
Returns the ids in order. All or nothing. Errors: as evq_publish.$$;
-- What a worker calls.

CREATE TYPE evq.acquired AS (
	event_id uuid, permit bigint, event_type text, flow_type text, flow_id text,
	attempt int, attempts_left int, payload jsonb, headers jsonb,
	attempt_due_at timestamptz, due_at timestamptz);
COMMENT ON TYPE evq.acquired IS
	'An event handed to a worker: permit is the fencing token for its report, attempt_due_at the time it holds until';

CREATE FUNCTION @extschema@.evq_acquire(event_id uuid, worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired AS 'MODULE_PATHNAME', 'evq_sql_acquire' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_acquire(uuid, text, interval) IS
$$Acquires one event: being_processed, with a new permit. No row = not granted (another worker has it, it is not due,
its type is suspended, or it is finished). It never waits for another worker.
permit_for: how long the permit holds without heartbeat; NULL = the type's attempt_timeout. Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_acquire_next(flow_type text, max_events int DEFAULT 1, event_types text[] DEFAULT NULL,
	worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired AS 'MODULE_PATHNAME', 'evq_sql_acquire_next' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_acquire_next(text, int, text[], text, interval) IS
$$Acquires up to max_events (1 to 10000) events of a flow that are ready now, highest priority and oldest first;
no row = nothing ready. It never waits. event_types: only of these. Errors: EQ001 unknown flow or event type, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_heartbeat(event_ids uuid[], permits bigint[], extend_by interval DEFAULT NULL,
	OUT event_id uuid, OUT held boolean, OUT cancel_requested boolean, OUT attempt_due_at timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_heartbeat' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_heartbeat(uuid[], bigint[], interval) IS
$$Extends permits: from now by extend_by, or by the type's attempt_timeout, never past due_at. One row an event: held says whether
the permit still holds, cancel_requested whether the event was canceled meanwhile. Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_succeed(event_id uuid, permit bigint DEFAULT NULL, result jsonb DEFAULT NULL, spinoffs jsonb DEFAULT NULL)
RETURNS uuid[] AS 'MODULE_PATHNAME', 'evq_sql_succeed' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_succeed(uuid, bigint, jsonb, jsonb) IS
$$Reports success. spinoffs: an array of objects {"event_type", "payload", "on_fail_event_type", "run_at", "priority", "headers"},
published in the same transaction, in the same flow with the same flow_id. Returns their ids.
The same success reported again with the same permit returns the same ids. permit: NULL = the attempt now running.
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ009 chain too deep; for spinoffs as evq_publish.$$;

CREATE FUNCTION @extschema@.evq_succeed_many(event_ids uuid[], permits bigint[], OUT event_id uuid, OUT accepted boolean)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_succeed_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_succeed_many(uuid[], bigint[]) IS
$$Reports success of many events, each with its permit. One row an event; one whose permit is lost is not accepted
and hinders none of the others. Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_succeed_and_acquire(flow_type text, event_ids uuid[], permits bigint[], max_events int DEFAULT 1,
	event_types text[] DEFAULT NULL, worker text DEFAULT NULL, permit_for interval DEFAULT NULL)
RETURNS SETOF evq.acquired AS 'MODULE_PATHNAME', 'evq_sql_succeed_and_acquire' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.evq_succeed_and_acquire(text, uuid[], bigint[], int, text[], text, interval) IS
$$A busy worker's turn in one transaction: evq_succeed_many of the finished events, then evq_acquire_next.
A lost permit is passed over with a WARNING of SQLSTATE EQ004. Errors: as evq_acquire_next.$$;

CREATE FUNCTION @extschema@.evq_fail(event_id uuid, error_message text, permit bigint DEFAULT NULL, stack_trace text DEFAULT NULL,
	retryable boolean DEFAULT true, retry_in interval DEFAULT NULL)
RETURNS evq.event_state AS 'MODULE_PATHNAME', 'evq_sql_fail' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_fail(uuid, text, bigint, text, boolean, interval) IS
$$Reports failure of the attempt; the engine decides. Returns awaiting_processing (it will be retried) or failed
(for good: its on-fail event is published in the same transaction). retry_in: in place of the configured delay.
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_fail_many(event_ids uuid[], permits bigint[], error_message text, retryable boolean DEFAULT true,
	OUT event_id uuid, OUT accepted boolean, OUT state evq.event_state)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_fail_many' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.evq_fail_many(uuid[], bigint[], text, boolean) IS
$$Reports failure of many attempts with one message. One row an event; one whose permit is lost is not accepted
and hinders none of the others. Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_snooze(event_id uuid, permit bigint, run_at timestamptz)
RETURNS void AS 'MODULE_PATHNAME', 'evq_sql_snooze' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_snooze(uuid, bigint, timestamptz) IS
$$Gives an event back until run_at; no attempt is used up. run_at must lie before the end of its lifespan.
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_release(event_id uuid, permit bigint)
RETURNS void AS 'MODULE_PATHNAME', 'evq_sql_release' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_release(uuid, bigint) IS
$$Gives an event back at once; no attempt is used up. Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost.$$;

CREATE FUNCTION @extschema@.evq_suspend(event_id uuid, permit bigint, timeout interval DEFAULT NULL)
RETURNS timestamptz AS 'MODULE_PATHNAME', 'evq_sql_suspend' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_suspend(uuid, bigint, interval) IS
$$Puts an event to sleep until evq_activate; no attempt is used up. Returns when the suspension times out:
after timeout or at the end of the lifespan, whichever comes first; the type's on_suspend_timeout says what happens then.
Errors: EQ002 no such event, EQ003 not being processed, EQ004 permit lost, EQ006 bad argument.$$;
-- What an operator, or the outside trigger of a suspended event, calls.

CREATE FUNCTION @extschema@.evq_activate(event_id uuid, payload_patch jsonb DEFAULT NULL)
RETURNS void AS 'MODULE_PATHNAME', 'evq_sql_activate' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_activate(uuid, jsonb) IS
$$Wakes a suspended event: awaiting_processing, due now. payload_patch: an object whose keys are merged into the payload.
Errors: EQ002 no such event, EQ003 not suspended, EQ005 payload too large, EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_cancel(event_id uuid, reason text DEFAULT NULL)
RETURNS void AS 'MODULE_PATHNAME', 'evq_sql_cancel' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_cancel(uuid, text) IS
$$Cancels a live event. A worker that holds it learns so from evq_heartbeat or from its refused report; an event canceled
already stays as it is. Errors: EQ002 no such event, EQ003 finished already.$$;

CREATE FUNCTION @extschema@.evq_retry(event_id uuid)
RETURNS void AS 'MODULE_PATHNAME', 'evq_sql_retry' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_retry(uuid) IS
$$Brings a failed, expired or canceled event back: awaiting_processing, due now, with fresh attempts and lifespan.
Errors: EQ001 its type was dropped, EQ002 no such event, EQ003 live or succeeded.$$;

CREATE FUNCTION @extschema@.evq_redrive(event_type text, since timestamptz, max_events int DEFAULT 1000)
RETURNS bigint LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	picked uuid;
	redriven bigint := 0;
	wanted_no int;
BEGIN
	IF event_type IS NULL OR since IS NULL OR max_events IS NULL OR max_events < 1 THEN
		RAISE EXCEPTION 'event_type, since and a max_events above 0 are required'
			USING ERRCODE = 'EQ006', HINT = 'Pass the event type, the earliest finish time and how many at most.';
	END IF;
	SELECT t.event_type_no INTO wanted_no FROM evq.event_type t
	WHERE t.event_type = evq_redrive.event_type AND NOT t.dropped;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown event type "%"', event_type
			USING ERRCODE = 'EQ001', HINT = 'Configure it with evq_configure().';
	END IF;
	FOR picked IN
		SELECT h.event_id FROM evq.event_history h
		WHERE h.finished_at >= since AND h.event_type_no = wanted_no AND h.state IN ('f', 'e')
		ORDER BY h.finished_at, h.event_id
		LIMIT max_events
		FOR UPDATE SKIP LOCKED
	LOOP
		PERFORM @extschema@.evq_retry(picked);
		redriven := redriven + 1;
	END LOOP;
	RETURN redriven;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_redrive(text, timestamptz, int) IS
$$Retries the failed and expired events of a type that finished since a time, oldest first, at most max_events; returns how many.
Errors: EQ001 unknown event type, EQ006 bad argument.$$;
-- Partitions of the history, and what becomes of finished events after their retention.
--
-- A partition is dropped when the retention of every type is over for all of it; where it is
-- over for some types only, their events are deleted. Then payloads, errors and idempotency
-- keys of events that are gone are deleted too. Each call of evq.keep_house() is one step.

-- How far each task has come. Not dumped: without it, a task begins again.
CREATE TABLE evq.housekeeping (
	relation name NOT NULL,
	event_type_nos int[],
	next_block bigint,
	next_id uuid,
	end_id uuid,
	CONSTRAINT housekeeping_pkey PRIMARY KEY (relation)
);
COMMENT ON TABLE evq.housekeeping IS 'How far housekeeping has come with each table';
COMMENT ON COLUMN evq.housekeeping.event_type_nos IS 'Event types whose events are being deleted from this partition, or are gone from it';
COMMENT ON COLUMN evq.housekeeping.next_block IS 'Where to go on deleting them; NULL = they are gone';
COMMENT ON COLUMN evq.housekeeping.next_id IS 'Where to go on looking for rows whose event is gone; NULL = nothing to look for';
COMMENT ON COLUMN evq.housekeeping.end_id IS 'Up to where';

CREATE FUNCTION evq.history_partitions(OUT relation regclass, OUT from_at timestamptz, OUT to_at timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_history_partitions' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 30;
COMMENT ON FUNCTION evq.history_partitions() IS
	'The partitions of evq.event_history: each holds what finished from from_at on and before to_at; the default one has no times';

CREATE FUNCTION evq.first_id(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (lpad(to_hex(greatest(floor(extract(epoch FROM at) * 1000), 0)::bigint), 12, '0') || '00000000000000000000')::uuid;
COMMENT ON FUNCTION evq.first_id(timestamptz) IS 'The least id that an event published at a time can have';

CREATE FUNCTION evq.history_partition_name(from_at timestamptz) RETURNS name
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN 'event_history_' || CASE WHEN date_trunc('day', from_at AT TIME ZONE 'UTC') = from_at AT TIME ZONE 'UTC'
						   THEN to_char(from_at AT TIME ZONE 'UTC', 'YYYYMMDD')
						   ELSE to_char(from_at AT TIME ZONE 'UTC', 'YYYYMMDD_HH24') END;
COMMENT ON FUNCTION evq.history_partition_name(timestamptz) IS 'The name of the partition of the history that begins at a time';

CREATE FUNCTION evq.prepare_history(ahead int DEFAULT 2, at timestamptz DEFAULT clock_timestamp())
RETURNS int LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	unit text := current_setting('evq.history_partition');
	step interval := ('1 ' || unit)::interval;
	start timestamp := date_trunc(unit, at AT TIME ZONE 'UTC');
	first_at timestamptz;
	end_at timestamptz;
	name name;
	made int := 0;
BEGIN
	LOCK TABLE evq.housekeeping IN SHARE UPDATE EXCLUSIVE MODE;
	FOR n IN 0 .. ahead LOOP
		first_at := (start + n * step) AT TIME ZONE 'UTC';
		end_at := (start + (n + 1) * step) AT TIME ZONE 'UTC';
		-- Where partitions of another length are there, the new one begins behind them.
		SELECT coalesce(max(p.to_at), first_at) INTO first_at FROM evq.history_partitions() p
		WHERE p.to_at > first_at AND p.from_at < end_at;
		CONTINUE WHEN first_at >= end_at
			OR EXISTS (SELECT FROM evq.event_history_default h WHERE h.finished_at >= first_at AND h.finished_at < end_at);
		name := evq.history_partition_name(first_at);
		EXECUTE format('CREATE TABLE evq.%I PARTITION OF evq.event_history (PRIMARY KEY (event_id)) FOR VALUES FROM (%L) TO (%L)',
			name, first_at, end_at);
		EXECUTE format('CREATE INDEX ON evq.%I USING brin (finished_at)', name);
		made := made + 1;
	END LOOP;
	RETURN made;
END
$$;
COMMENT ON FUNCTION evq.prepare_history(int, timestamptz) IS
$$Makes the partitions of the history for a time and so many next ones, as long as the setting evq.history_partition says, where they are
missing and the default partition holds nothing of their time. Returns how many it made.$$;

-- ---------- the steps ----------

CREATE FUNCTION evq.look_for_leftovers(before timestamptz)
RETURNS void LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
INSERT INTO evq.housekeeping AS k (relation, next_id, end_id)
SELECT t.relation, '00000000-0000-0000-0000-000000000000', evq.first_id(before)
FROM unnest('{event_payload, event_error, idempotency}'::name[]) t(relation)
ON CONFLICT (relation) DO UPDATE SET next_id = excluded.next_id, end_id = greatest(k.end_id, excluded.end_id)
$$;
COMMENT ON FUNCTION evq.look_for_leftovers(timestamptz) IS
	'Events published before a time have been deleted: later steps delete their payloads, errors and idempotency keys';

CREATE FUNCTION evq.drop_history()
RETURNS name LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms'
AS $$
DECLARE
	doomed record;
BEGIN
	FOR doomed IN
		SELECT p.relation, p.to_at, c.relname FROM evq.history_partitions() p
		JOIN pg_class c ON c.oid = p.relation
		WHERE p.to_at <= clock_timestamp() - (SELECT coalesce(max(t.retention), '0 s') FROM evq.event_type t)
		ORDER BY p.to_at
	LOOP
		BEGIN
			-- While somebody reads the history, it stays; nobody waits for us longer than the timeout.
			EXECUTE format('DROP TABLE %s', doomed.relation);
			DELETE FROM evq.housekeeping k WHERE k.relation = doomed.relname;
			PERFORM evq.look_for_leftovers(doomed.to_at);
			RETURN doomed.relname;
		EXCEPTION WHEN lock_not_available THEN
			RAISE LOG 'evq: partition % is in use: it will be dropped later', doomed.relname;
		END;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION evq.drop_history() IS
	'Drops the oldest partition of the history in which the retention of all types is over, unless it is in use; returns its name';

CREATE FUNCTION evq.thin_history(OUT partition name, OUT events bigint)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	blocks CONSTANT int := 256;
	thin record;
	start bigint;
BEGIN
	SELECT p.relation, c.relname, p.to_at, k.next_block,
		pg_relation_size(p.relation) / current_setting('block_size')::int AS pages,
		o.event_type_nos <@ coalesce(k.event_type_nos, '{}') AS begun, o.event_type_nos
	INTO thin
	FROM evq.history_partitions() p
	JOIN pg_class c ON c.oid = p.relation
	CROSS JOIN LATERAL (SELECT array_agg(t.event_type_no ORDER BY t.event_type_no) AS event_type_nos
						FROM evq.event_type t WHERE p.to_at <= clock_timestamp() - t.retention) o
	LEFT JOIN evq.housekeeping k ON k.relation = c.relname
	WHERE o.event_type_nos IS NOT NULL AND (k.relation IS NULL OR k.next_block IS NOT NULL OR NOT o.event_type_nos <@ k.event_type_nos)
		AND p.to_at > clock_timestamp() - (SELECT max(t.retention) FROM evq.event_type t)
	ORDER BY p.to_at LIMIT 1;
	IF NOT FOUND THEN
		RETURN;
	END IF;

	start := CASE WHEN thin.begun THEN thin.next_block ELSE 0 END;
	EXECUTE format('DELETE FROM %s WHERE ctid >= $1 AND ctid < $2 AND event_type_no = ANY ($3)', thin.relation)
	USING format('(%s,0)', start)::tid, format('(%s,0)', start + blocks)::tid, thin.event_type_nos;
	GET DIAGNOSTICS events = ROW_COUNT;
	INSERT INTO evq.housekeeping (relation, event_type_nos, next_block)
	VALUES (thin.relname, thin.event_type_nos, CASE WHEN start + blocks < thin.pages THEN start + blocks END)
	ON CONFLICT (relation) DO UPDATE SET event_type_nos = excluded.event_type_nos, next_block = excluded.next_block;
	IF events > 0 THEN
		PERFORM evq.look_for_leftovers(thin.to_at);
	END IF;
	partition := thin.relname;
END
$$;
COMMENT ON FUNCTION evq.thin_history() IS
$$Deletes, from a stretch of a partition of the history, the events of types whose retention is over for all of it while that of
others is not. Returns the partition, NULL = there is none, and how many events it deleted.$$;

CREATE FUNCTION evq.thin_default_history()
RETURNS bigint LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	events bigint;
BEGIN
	DELETE FROM evq.event_history_default h
	WHERE h.ctid = ANY (ARRAY(
		SELECT d.ctid FROM evq.event_history_default d JOIN evq.event_type t USING (event_type_no)
		WHERE d.finished_at < clock_timestamp() - t.retention
			-- Says no more, but lets the index pass over what is young: this is asked before each of the later steps.
			AND d.finished_at < clock_timestamp() - (SELECT min(y.retention) FROM evq.event_type y)
		LIMIT 5000));
	GET DIAGNOSTICS events = ROW_COUNT;
	IF events > 0 THEN
		PERFORM evq.look_for_leftovers(clock_timestamp());
	END IF;
	RETURN events;
END
$$;
COMMENT ON FUNCTION evq.thin_default_history() IS
	'Deletes some events past their retention from the default partition of the history; returns how many';

CREATE FUNCTION evq.delete_leftovers()
RETURNS bigint LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
	task record;
	rows bigint;
	last_id uuid;
BEGIN
	SELECT k.relation, k.next_id, k.end_id INTO task FROM evq.housekeeping k WHERE k.next_id IS NOT NULL ORDER BY k.relation LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	EXECUTE format($query$
		WITH stretch AS MATERIALIZED (
			SELECT DISTINCT r.event_id FROM evq.%1$I r WHERE r.event_id >= $1 AND r.event_id < $2 ORDER BY r.event_id LIMIT 1000),
		gone AS (
			DELETE FROM evq.%1$I r USING stretch s
			WHERE r.event_id = s.event_id
				AND NOT EXISTS (SELECT FROM evq.event e WHERE e.event_id = s.event_id)
				AND NOT EXISTS (SELECT FROM evq.event_history h WHERE h.event_id = s.event_id)
			RETURNING 1)
		SELECT (SELECT count(*) FROM gone), CASE WHEN count(*) = 1000 THEN max(s.event_id::text)::uuid END FROM stretch s$query$, task.relation)
	INTO rows, last_id USING task.next_id, task.end_id;
	UPDATE evq.housekeeping k SET next_id = last_id WHERE k.relation = task.relation;
	RETURN rows;
END
$$;
COMMENT ON FUNCTION evq.delete_leftovers() IS
$$Goes on, for a stretch of one table, with deleting payloads, errors and idempotency keys whose events are gone; returns how many
rows it deleted, NULL = there is nothing left to look for.$$;

CREATE FUNCTION evq.index_history()
RETURNS name LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms'
AS $$
DECLARE
	closed record;
BEGIN
	FOR closed IN
		SELECT p.relation, c.relname, i.name AS index
		FROM evq.history_partitions() p JOIN pg_class c ON c.oid = p.relation, LATERAL (SELECT left(c.relname, 50) || '_flow_id_idx' AS name) i
		WHERE p.to_at <= clock_timestamp() AND to_regclass(format('evq.%I', i.name)) IS NULL
		ORDER BY p.to_at DESC
	LOOP
		BEGIN
			EXECUTE format('CREATE INDEX %I ON %s (flow_id)', closed.index, closed.relation);
			RETURN closed.relname;
		EXCEPTION WHEN lock_not_available THEN
			RAISE LOG 'evq: partition % is in use: it will be indexed later', closed.relname;
		END;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION evq.index_history() IS
	'Indexes the flow_id of a partition of the history that gets no more events; returns its name, NULL = there is none';

CREATE FUNCTION evq.keep_house(OUT more boolean, OUT dropped name, OUT events bigint, OUT leftovers bigint)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	LOCK TABLE evq.housekeeping IN SHARE UPDATE EXCLUSIVE MODE;
	events := 0;
	leftovers := 0;
	dropped := evq.drop_history();
	more := dropped IS NOT NULL;
	IF NOT more THEN
		SELECT t.partition IS NOT NULL, coalesce(t.events, 0) INTO more, events FROM evq.thin_history() t;
	END IF;
	IF NOT more THEN
		events := evq.thin_default_history();
		more := events > 0;
	END IF;
	IF NOT more THEN
		leftovers := evq.delete_leftovers();
		more := leftovers IS NOT NULL;
		leftovers := coalesce(leftovers, 0);
	END IF;
	IF NOT more THEN
		more := evq.index_history() IS NOT NULL;
	END IF;
END
$$;
COMMENT ON FUNCTION evq.keep_house() IS
$$The next step of housekeeping; more = there may be another. Returns the partition of the history that it dropped, how many events it
deleted one by one, and how many rows that belonged to events that are gone.$$;

CREATE FUNCTION @extschema@.evq_purge(OUT partitions_dropped int, OUT events_deleted bigint, OUT leftovers_deleted bigint)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	step record;
BEGIN
	PERFORM evq.prepare_history();
	partitions_dropped := 0;
	events_deleted := 0;
	leftovers_deleted := 0;
	LOOP
		step := evq.keep_house();
		partitions_dropped := partitions_dropped + (step.dropped IS NOT NULL)::int;
		events_deleted := events_deleted + step.events;
		leftovers_deleted := leftovers_deleted + step.leftovers;
		EXIT WHEN NOT step.more;
	END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_purge() IS
$$Deletes finished events past the retention of their type, in this transaction, and makes partitions ahead: what the engine does by
itself every evq.housekeeping_interval. Without preloading, call it from pg_cron. Returns how many partitions of the history it
dropped, how many events it deleted from others, and how many payloads, errors and idempotency keys of events that are gone.$$;
-- Pausing a whole database.

-- Not dumped: a restored database is paused by its own CREATE EXTENSION, see below.
CREATE TABLE evq.pause (
	paused_at timestamptz NOT NULL,
	reason text
);
CREATE UNIQUE INDEX pause_one_row_idx ON evq.pause ((true));
COMMENT ON TABLE evq.pause IS 'Has a row while this database is paused: nothing is dispatched, acquired, timed out or expired';

CREATE FUNCTION evq.pause_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'evq_sql_pause_changed' LANGUAGE c;
COMMENT ON FUNCTION evq.pause_changed() IS
	'Trigger: tells every session, and the dispatcher or who starts it, at commit';
CREATE TRIGGER pause_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evq.pause
	FOR EACH STATEMENT EXECUTE FUNCTION evq.pause_changed();

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

-- What pg_dump writes begins with SET row_security = off, which no other session has a reason for.
DO $$
BEGIN
	IF pg_catalog.current_setting('row_security') = 'off' THEN
		INSERT INTO evq.pause VALUES (pg_catalog.clock_timestamp(), 'restored');
		RAISE WARNING 'evq is paused in this database, which is being restored'
			USING HINT = 'When all is there, and this is to be the database that works, call evq_resume().';
	END IF;
END
$$;
-- Configuration verbs. Every argument but the name means "leave as it is" when NULL,
-- or the column's default where the row is new.

-- Turns a violated CHECK of a configuration table into evq's own error.
CREATE FUNCTION evq.raise_bad_configuration(table_name regclass, constraint_name text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION '% is out of range', (
			SELECT string_agg(a.attname, ', ') FROM pg_constraint c
			JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
			WHERE c.conrelid = table_name AND c.conname = constraint_name)
		USING ERRCODE = 'EQ006',
			DETAIL = (SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c
					  WHERE c.conrelid = table_name AND c.conname = constraint_name),
			HINT = 'Pass a value that satisfies the condition.';
END
$$;
COMMENT ON FUNCTION evq.raise_bad_configuration(regclass, text) IS 'Raises EQ006 with the definition of the violated constraint';

CREATE FUNCTION @extschema@.evq_configure_flow(flow_type text, channel text DEFAULT NULL, max_dispatched int DEFAULT NULL,
	max_processing int DEFAULT NULL, dispatch_timeout interval DEFAULT NULL, delivery text DEFAULT NULL,
	ordered boolean DEFAULT NULL, notify_payload boolean DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	violated text;
BEGIN
	IF flow_type IS NULL OR flow_type !~ '^[A-Za-z][A-Za-z0-9_]{0,58}$' THEN
		RAISE EXCEPTION 'flow type % is not a valid name', coalesce(quote_literal(flow_type), 'NULL')
			USING ERRCODE = 'EQ006', HINT = 'Use a letter, then letters, digits and underscores, 59 bytes at most.';
	END IF;
	channel := coalesce(channel, (SELECT f.channel FROM evq.flow f WHERE f.flow_type = evq_configure_flow.flow_type),
						'evq_' || lower(flow_type));
	IF channel = 'evq_events'
		OR EXISTS (SELECT FROM evq.flow f WHERE f.channel = evq_configure_flow.channel
										 AND f.flow_type <> evq_configure_flow.flow_type) THEN
		RAISE EXCEPTION 'channel "%" of flow "%" is taken', channel, flow_type
			USING ERRCODE = 'EQ006', HINT = 'Name the flow otherwise or pass another channel.';
	END IF;
	INSERT INTO evq.flow AS f (flow_type, channel, max_dispatched, max_processing, dispatch_timeout, delivery, ordered, notify_payload)
	VALUES (evq_configure_flow.flow_type, evq_configure_flow.channel,
			coalesce(evq_configure_flow.max_dispatched, 1000), nullif(evq_configure_flow.max_processing, 0),
			coalesce(evq_configure_flow.dispatch_timeout, '30 s'), coalesce(evq_configure_flow.delivery, 'push'),
			coalesce(evq_configure_flow.ordered, false), coalesce(evq_configure_flow.notify_payload, false))
	ON CONFLICT ON CONSTRAINT flow_flow_type_key DO UPDATE SET
		channel = EXCLUDED.channel,
		max_dispatched = coalesce(evq_configure_flow.max_dispatched, f.max_dispatched),
		max_processing = nullif(coalesce(evq_configure_flow.max_processing, f.max_processing), 0),
		dispatch_timeout = coalesce(evq_configure_flow.dispatch_timeout, f.dispatch_timeout),
		delivery = coalesce(evq_configure_flow.delivery, f.delivery),
		ordered = coalesce(evq_configure_flow.ordered, f.ordered),
		notify_payload = coalesce(evq_configure_flow.notify_payload, f.notify_payload);
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS violated = CONSTRAINT_NAME;
	PERFORM evq.raise_bad_configuration('evq.flow', violated);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_configure_flow(text, text, int, int, interval, text, boolean, boolean) IS
$$Makes or changes a flow; NULL leaves a value as it is, or sets the default for a new flow. channel: by default evq_ and the
flow type in lower case. max_processing: 0 = no limit. Takes effect at commit. Errors: EQ006 bad name, taken channel, value out of range.$$;

CREATE FUNCTION @extschema@.evq_configure(event_type text, flow_type text DEFAULT NULL, max_attempts int DEFAULT NULL,
	lifespan interval DEFAULT NULL, attempt_delays interval[] DEFAULT NULL, backoff_factor float8 DEFAULT NULL,
	max_delay interval DEFAULT NULL, jitter float8 DEFAULT NULL, attempt_timeout interval DEFAULT NULL,
	on_suspend_timeout text DEFAULT NULL, on_fail_event_type text DEFAULT NULL, priority int DEFAULT NULL,
	max_payload_bytes int DEFAULT NULL, retention interval DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	present evq.event_type;
	is_new boolean;
	wanted_flow_no int;
	violated text;
BEGIN
	IF event_type IS NULL OR event_type !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$' THEN
		RAISE EXCEPTION 'event type % is not a valid name', coalesce(quote_literal(event_type), 'NULL')
			USING ERRCODE = 'EQ006', HINT = 'Use letters, digits, and any of _ . : - after the first, 63 bytes at most.';
	END IF;
	SELECT * INTO present FROM evq.event_type t WHERE t.event_type = evq_configure.event_type FOR UPDATE;
	is_new := NOT FOUND OR present.dropped;
	IF is_new AND flow_type IS NULL THEN
		RAISE EXCEPTION 'event type "%" is new and needs a flow type', event_type
			USING ERRCODE = 'EQ006', HINT = 'Pass flow_type.';
	END IF;
	IF flow_type IS NOT NULL THEN
		IF NOT EXISTS (SELECT FROM evq.flow f WHERE f.flow_type = evq_configure.flow_type) THEN
			PERFORM @extschema@.evq_configure_flow(flow_type);
		END IF;
		SELECT f.flow_no INTO STRICT wanted_flow_no FROM evq.flow f WHERE f.flow_type = evq_configure.flow_type;
		IF NOT is_new AND wanted_flow_no <> present.flow_no
			AND EXISTS (SELECT FROM evq.event e WHERE e.event_type_no = present.event_type_no) THEN
			RAISE EXCEPTION 'event type "%" has live events in another flow', event_type
				USING ERRCODE = 'EQ003', HINT = 'Let them finish or cancel them, then move the type.';
		END IF;
	END IF;
	IF is_new THEN
		-- A dropped type comes back as a new one, under its old number.
		INSERT INTO evq.event_type AS t (event_type, flow_no) VALUES (evq_configure.event_type, wanted_flow_no)
		ON CONFLICT ON CONSTRAINT event_type_event_type_key DO UPDATE SET
			flow_no = EXCLUDED.flow_no, max_attempts = DEFAULT, lifespan = DEFAULT, attempt_delays = DEFAULT,
			backoff_factor = DEFAULT, max_delay = DEFAULT, jitter = DEFAULT, attempt_timeout = DEFAULT,
			is_suspended = DEFAULT, on_suspend_timeout = DEFAULT, on_fail_event_type = DEFAULT, priority = DEFAULT,
			max_payload_bytes = DEFAULT, retention = DEFAULT, dropped = DEFAULT
		WHERE t.dropped;
	END IF;
	UPDATE evq.event_type t SET
		flow_no = coalesce(wanted_flow_no, t.flow_no),
		max_attempts = coalesce(evq_configure.max_attempts, t.max_attempts),
		lifespan = coalesce(evq_configure.lifespan, t.lifespan),
		attempt_delays = coalesce(evq_configure.attempt_delays, t.attempt_delays),
		backoff_factor = coalesce(evq_configure.backoff_factor, t.backoff_factor),
		max_delay = coalesce(evq_configure.max_delay, t.max_delay),
		jitter = coalesce(evq_configure.jitter, t.jitter),
		attempt_timeout = coalesce(evq_configure.attempt_timeout, t.attempt_timeout),
		on_suspend_timeout = coalesce(evq_configure.on_suspend_timeout, t.on_suspend_timeout),
		on_fail_event_type = nullif(coalesce(evq_configure.on_fail_event_type, t.on_fail_event_type), ''),
		priority = coalesce(evq_configure.priority, t.priority),
		max_payload_bytes = coalesce(evq_configure.max_payload_bytes, t.max_payload_bytes),
		retention = coalesce(evq_configure.retention, t.retention),
		dropped = false
	WHERE t.event_type = evq_configure.event_type;
	IF EXISTS (
		SELECT FROM evq.event_type t LEFT JOIN evq.event_type o ON o.event_type = t.on_fail_event_type AND NOT o.dropped
		WHERE t.event_type = evq_configure.event_type AND t.on_fail_event_type IS NOT NULL
			AND o.flow_no IS DISTINCT FROM t.flow_no) THEN
		RAISE EXCEPTION 'on-fail event type "%" is not configured in the flow of "%"',
			(SELECT t.on_fail_event_type FROM evq.event_type t WHERE t.event_type = evq_configure.event_type), event_type
			USING ERRCODE = 'EQ001', HINT = 'Configure it first, in the flow of the event type that names it.';
	END IF;
	IF EXISTS (
		SELECT FROM evq.event_type t JOIN evq.event_type o ON o.event_type = t.on_fail_event_type
		WHERE t.on_fail_event_type = evq_configure.event_type AND NOT t.dropped AND o.flow_no <> t.flow_no) THEN
		RAISE EXCEPTION 'event type "%" is the on-fail event of a type in another flow', event_type
			USING ERRCODE = 'EQ003', HINT = 'Change on_fail_event_type there first.';
	END IF;
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS violated = CONSTRAINT_NAME;
	PERFORM evq.raise_bad_configuration('evq.event_type', violated);
WHEN numeric_value_out_of_range THEN
	RAISE EXCEPTION 'max_attempts or priority is out of range'
		USING ERRCODE = 'EQ006', HINT = 'Pass max_attempts up to 10000 and a priority between -32768 and 32767.';
END
$$;
COMMENT ON FUNCTION @extschema@.evq_configure(text, text, int, interval, interval[], float8, interval, float8, interval, text, text, int, int, interval) IS
$$Makes or changes an event type, and its flow where that is new; NULL leaves a value as it is, or sets the default for a new type.
The columns of evq.event_type say what each argument means; on_fail_event_type: '' = none. Takes effect at commit, for
events already published too. Errors: EQ001 unknown on-fail type, EQ003 live events hinder a change of flow, EQ006 bad name or value.$$;

CREATE FUNCTION evq.require_event_type(event_type text) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_no int;
BEGIN
	SELECT t.event_type_no INTO found_no FROM evq.event_type t
	WHERE t.event_type = require_event_type.event_type AND NOT t.dropped FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown event type %', coalesce(quote_ident(event_type), 'NULL')
			USING ERRCODE = 'EQ001', HINT = 'Configure it with evq_configure().';
	END IF;
	RETURN found_no;
END
$$;
COMMENT ON FUNCTION evq.require_event_type(text) IS 'Locks the row of a configured event type and returns its number; EQ001 where there is none';

CREATE FUNCTION @extschema@.evq_suspend_event_type(event_type text)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted_no int := evq.require_event_type(event_type);
BEGIN
	UPDATE evq.event_type t SET is_suspended = true WHERE t.event_type_no = wanted_no;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_suspend_event_type(text) IS
	'Stops dispatch and acquire of a type at commit; events published meanwhile wait. Errors: EQ001 unknown event type';

CREATE FUNCTION @extschema@.evq_unsuspend_event_type(event_type text)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted_no int := evq.require_event_type(event_type);
BEGIN
	UPDATE evq.event_type t SET is_suspended = false WHERE t.event_type_no = wanted_no;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_unsuspend_event_type(text) IS
	'Lets a suspended type go on at commit. Errors: EQ001 unknown event type';

CREATE FUNCTION @extschema@.evq_drop_event_type(event_type text)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	doomed_no int := evq.require_event_type(event_type);
BEGIN
	IF EXISTS (SELECT FROM evq.event e WHERE e.event_type_no = doomed_no) THEN
		RAISE EXCEPTION 'event type "%" has live events', event_type
			USING ERRCODE = 'EQ003', HINT = 'Let them finish or cancel them first.';
	END IF;
	IF EXISTS (SELECT FROM evq.event_type t WHERE t.on_fail_event_type = evq_drop_event_type.event_type
											  AND NOT t.dropped AND t.event_type_no <> doomed_no) THEN
		RAISE EXCEPTION 'event type "%" is the on-fail event of another type', event_type
			USING ERRCODE = 'EQ003', HINT = 'Change on_fail_event_type there first.';
	END IF;
	UPDATE evq.event_type t SET dropped = true WHERE t.event_type_no = doomed_no;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_drop_event_type(text) IS
	'Removes an event type; its finished events stay readable. Errors: EQ001 unknown event type, EQ003 live events or another type needs it';
-- Roles that may publish into, or work on, some flows only. The C verbs check it (src/config.c), for the current
-- user, as PostgreSQL checks the right to call them. For superusers: they make a role a member of evq_publisher or evq_worker.

-- By name, for a dump, and by oid, for a role that was renamed; src/config.c reads both.
CREATE TABLE evq.restriction (
	role_name name NOT NULL,
	may text NOT NULL CHECK (may IN ('publish', 'work')),
	role_oid oid NOT NULL,
	flow_nos int[] NOT NULL CHECK (pg_catalog.array_position(flow_nos, NULL) IS NULL),
	CONSTRAINT restriction_pkey PRIMARY KEY (role_name, may)
);
COMMENT ON TABLE evq.restriction IS 'Roles that may publish into, or work on, some flows only; read it through evq.restrictions';
COMMENT ON COLUMN evq.restriction.flow_nos IS 'These flows; empty = none';

CREATE TRIGGER restriction_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evq.restriction
	FOR EACH STATEMENT EXECUTE FUNCTION evq.configuration_changed();
SELECT pg_catalog.pg_extension_config_dump('evq.restriction', '');

CREATE FUNCTION evq.change_restriction(role_name name, may text, flow_type text, granting boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	group_role name := CASE may WHEN 'work' THEN 'evq_worker' ELSE 'evq_publisher' END;
	wanted_oid oid := (SELECT oid FROM pg_roles WHERE rolname = role_name);
	is_member boolean := EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
								 WHERE g.rolname = group_role AND m.member = wanted_oid);
	wanted_no int;
BEGIN
	IF role_name IS NULL OR (granting AND wanted_oid IS NULL) THEN
		RAISE EXCEPTION 'role % does not exist', coalesce(quote_ident(role_name), 'NULL')
			USING ERRCODE = '42704', HINT = 'Make it with CREATE ROLE.';
	END IF;
	SELECT f.flow_no INTO wanted_no FROM evq.flow f WHERE f.flow_type = change_restriction.flow_type;
	IF NOT FOUND AND (granting OR flow_type IS NOT NULL) THEN
		RAISE EXCEPTION 'unknown flow %', coalesce(quote_ident(flow_type), 'NULL')
			USING ERRCODE = 'EQ001', HINT = 'Configure it with evq_configure_flow().';
	END IF;
	IF granting THEN
		IF role_name IN ('evq_publisher', 'evq_worker', 'evq_operator', 'evq_monitor') OR (SELECT rolsuper FROM pg_roles WHERE oid = wanted_oid)
			OR pg_has_role(wanted_oid, 'evq_operator', 'USAGE') THEN
			RAISE EXCEPTION 'role % cannot be restricted', quote_ident(role_name)
				USING ERRCODE = '0LP01', HINT = 'Superusers and operators may do everything; restrict a role of your own.';
		END IF;
		-- The restriction is there before the membership.
		INSERT INTO evq.restriction AS r VALUES (role_name, change_restriction.may, wanted_oid, ARRAY[wanted_no])
		ON CONFLICT ON CONSTRAINT restriction_pkey DO UPDATE SET role_oid = EXCLUDED.role_oid,
			flow_nos = CASE WHEN wanted_no = ANY (r.flow_nos) THEN r.flow_nos ELSE r.flow_nos || wanted_no END;
		IF NOT is_member THEN
			EXECUTE format('GRANT %I TO %I', group_role, role_name);
		END IF;
	ELSIF flow_type IS NOT NULL THEN
		UPDATE evq.restriction r SET flow_nos = array_remove(r.flow_nos, wanted_no)
		WHERE r.role_name = change_restriction.role_name AND r.may = change_restriction.may;
	ELSE
		IF is_member THEN
			EXECUTE format('REVOKE %I FROM %I', group_role, role_name);
		END IF;
		IF wanted_oid IS NOT NULL AND pg_has_role(wanted_oid, group_role, 'MEMBER') THEN
			RAISE EXCEPTION 'role % is a member of % through another role', quote_ident(role_name), group_role
				USING ERRCODE = '0LP01', HINT = 'End that membership first: without its restriction the role could use every flow.';
		END IF;
		DELETE FROM evq.restriction r WHERE r.role_name = change_restriction.role_name AND r.may = change_restriction.may;
	END IF;
END
$$;
COMMENT ON FUNCTION evq.change_restriction(name, text, text, boolean) IS 'What the four functions evq_grant_* and evq_revoke_* do';

CREATE FUNCTION @extschema@.evq_grant_worker(role_name name, flow_type text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'work', flow_type, true) $$;
COMMENT ON FUNCTION @extschema@.evq_grant_worker(name, text) IS
$$Lets a role work on the events of a flow: makes it a member of evq_worker that is restricted to the flows it was granted,
and with it all roles that have its privileges, but operators and superusers. Takes effect at commit. For superusers.
Errors: 42704 no such role, EQ001 unknown flow, 0LP01 a role that cannot be restricted.$$;

CREATE FUNCTION @extschema@.evq_revoke_worker(role_name name, flow_type text DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'work', flow_type, false) $$;
COMMENT ON FUNCTION @extschema@.evq_revoke_worker(name, text) IS
$$Takes a flow from a role; after the last one it is restricted to none. flow_type NULL: ends the restriction and the membership of
evq_worker. Takes effect at commit. For superusers.
Errors: 42704 role_name is NULL, EQ001 unknown flow, 0LP01 a member of evq_worker through another role.$$;

CREATE FUNCTION @extschema@.evq_grant_publisher(role_name name, flow_type text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'publish', flow_type, true) $$;
COMMENT ON FUNCTION @extschema@.evq_grant_publisher(name, text) IS
'As evq_grant_worker, for publishing: a member of evq_publisher that is restricted to flows. Errors: those of evq_grant_worker';

CREATE FUNCTION @extschema@.evq_revoke_publisher(role_name name, flow_type text DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'publish', flow_type, false) $$;
COMMENT ON FUNCTION @extschema@.evq_revoke_publisher(name, text) IS
'As evq_revoke_worker, for publishing and evq_publisher. Errors: those of evq_revoke_worker';

CREATE FUNCTION evq.caller_may_work(flow_type text) RETURNS boolean
AS 'MODULE_PATHNAME', 'evq_sql_caller_may_work' LANGUAGE c STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION evq.caller_may_work(text) IS
	'For functions that run with the owner''s rights: is the session''s role, or that of SET ROLE, not restricted to other flows?';

CREATE VIEW evq.restrictions AS
SELECT r.role_name, r.may, ARRAY(SELECT f.flow_type FROM evq.flow f WHERE f.flow_no = ANY (r.flow_nos) ORDER BY 1) AS flow_types
FROM evq.restriction r;
COMMENT ON VIEW evq.restrictions IS 'Roles that may publish into, or work on, some flows only';
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
	SELECT string_agg(format('%s=''%s''', keyword, regexp_replace(value, '([''\\])', '\\\1', 'g')), ' ')
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
-- What is due of a schedule, and publishing it: one event for each time, whoever comes to do it, because the row is locked
-- meanwhile and the time is the event's idempotency key.

CREATE FUNCTION evq.lock_schedule(name text) RETURNS evq.schedule
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_schedule evq.schedule;
BEGIN
	SELECT * INTO found_schedule FROM evq.schedule s WHERE s.name = lock_schedule.name FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no schedule %', coalesce('"' || left(name, 63) || '"', 'NULL')
			USING ERRCODE = 'EQ002', HINT = 'evq.schedules lists them. A job of pg_cron that is left over goes with cron.unschedule().';
	END IF;
	RETURN found_schedule;
END
$$;
COMMENT ON FUNCTION evq.lock_schedule(text) IS 'Locks the row of a schedule and returns it; EQ002 where there is none';

CREATE FUNCTION evq.minute_now() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT date_trunc('minute', evq.clock_now(), 'UTC') $$;
COMMENT ON FUNCTION evq.minute_now() IS 'When the present minute began';

CREATE FUNCTION evq.publish_scheduled(schedule evq.schedule, slot timestamptz DEFAULT NULL) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT @extschema@.evq_publish(schedule.event_type, schedule.flow_type, schedule.flow_id, schedule.payload, schedule.on_fail_event_type,
		priority => schedule.priority, idempotency_key => 'schedule ' || schedule.name || ' ' || due.minute,
		headers => jsonb_strip_nulls(jsonb_build_object('schedule', schedule.name, 'slot', due.minute)))
	FROM (SELECT to_char(slot AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"') AS minute) due
$$;
COMMENT ON FUNCTION evq.publish_scheduled(evq.schedule, timestamptz) IS
'Publishes the event of a schedule, for one of its times or NULL. Its headers tell the schedule and the time';

CREATE FUNCTION evq.run_schedule(schedule evq.schedule) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	until timestamptz := evq.minute_now();
	after timestamptz := CASE schedule.misfire WHEN 'skip' THEN greatest(schedule.done_until, until - interval '5 min') ELSE schedule.done_until END;
	most int := CASE schedule.misfire WHEN 'all' THEN 1000 ELSE 1 END;
	missed bigint;
	slot timestamptz;
	slots timestamptz[] := '{}';
	event_id uuid := schedule.last_event_id;
BEGIN
	missed := evq.cron_count(schedule.cron, schedule.done_until, until);
	IF missed = 0 THEN
		RETURN 0;
	END IF;
	-- The latest ones, as many as there may be.
	slot := evq.cron_previous(schedule.cron, until);
	WHILE slot > after AND cardinality(slots) < most LOOP
		slots := slot || slots;
		slot := evq.cron_previous(schedule.cron, slot - interval '1 min');
	END LOOP;
	FOREACH slot IN ARRAY slots LOOP
		event_id := evq.publish_scheduled(schedule, slot);
	END LOOP;
	UPDATE evq.schedule s SET done_until = until, last_run_at = coalesce(slots[cardinality(slots)], s.last_run_at), last_event_id = event_id,
		last_error = NULL, last_error_at = NULL, published = s.published + cardinality(slots), skipped = s.skipped + missed - cardinality(slots)
	WHERE s.name = schedule.name;
	RETURN cardinality(slots);
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING 'schedule "%" published nothing: %', schedule.name, SQLERRM;
	UPDATE evq.schedule s SET last_error = format('%s: %s', SQLSTATE, left(SQLERRM, 1000)), last_error_at = evq.clock_now(), failed = s.failed + 1
	WHERE s.name = schedule.name;
	RETURN 0;
END
$$;
COMMENT ON FUNCTION evq.run_schedule(evq.schedule) IS
$$Publishes what is due of a schedule whose row is locked, and returns how many events that was. An error is kept in the row, and
the times are due again when it is called again.$$;

CREATE FUNCTION evq.run_due_schedule(name text) RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule := evq.lock_schedule(name);
BEGIN
	IF wanted.is_paused THEN
		RETURN 0;
	END IF;
	RETURN evq.run_schedule(wanted);
END
$$;
COMMENT ON FUNCTION evq.run_due_schedule(text) IS
$$What the job of pg_cron calls: publishes what is due of a schedule and returns how many events that was, 0 for a paused one.
Errors: EQ002 no such schedule; others are a warning, and kept in evq.schedules.$$;

CREATE FUNCTION evq.catch_up_schedules() RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule;
	events int := 0;
BEGIN
	FOR wanted IN SELECT * FROM evq.schedule s WHERE NOT s.is_paused ORDER BY s.name FOR UPDATE SKIP LOCKED LOOP
		events := events + evq.run_schedule(wanted);
	END LOOP;
	RETURN events;
END
$$;
COMMENT ON FUNCTION evq.catch_up_schedules() IS
$$Publishes what is due of every schedule that is neither paused nor being run by someone else, and returns how many events that was.
For the time after the server, or pg_cron, was down. A schedule that errs does not stop the others.$$;
-- Schedules are made, removed, paused and run by hand.

CREATE FUNCTION @extschema@.evq_schedule(name text, cron text, event_type text, flow_type text, flow_id text, payload jsonb DEFAULT '{}',
	misfire text DEFAULT 'once', priority smallint DEFAULT NULL, on_fail_event_type text DEFAULT NULL, make_job boolean DEFAULT true)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule;
	fields text := evq.cron_fields(cron);
BEGIN
	IF name IS NULL OR name !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$' THEN
		RAISE EXCEPTION 'schedule % is not a valid name', coalesce(quote_literal(left(name, 100)), 'NULL')
			USING ERRCODE = 'EQ006', HINT = 'Use letters, digits, and any of _ . : - after the first, 63 bytes at most.';
	ELSIF cron IS NULL THEN
		RAISE EXCEPTION 'cron is NULL' USING ERRCODE = 'EQ006', HINT = 'Pass a cron expression such as ''0 3 * * *'', at 3:00 UTC.';
	ELSIF misfire IS NULL OR misfire NOT IN ('skip', 'once', 'all') THEN
		RAISE EXCEPTION 'misfire is %', coalesce(quote_literal(left(misfire, 63)), 'NULL')
			USING ERRCODE = 'EQ006', HINT = 'Pass skip, once or all: what becomes of times that were missed.';
	END IF;
	wanted.name := name;
	wanted.event_type := event_type;
	wanted.flow_type := flow_type;
	wanted.flow_id := flow_id;
	wanted.payload := payload;
	wanted.priority := priority;
	wanted.on_fail_event_type := on_fail_event_type;
	-- Whether its event can be published is best found out by publishing it; that is taken back at once.
	BEGIN
		PERFORM evq.publish_scheduled(wanted);
		RAISE EXCEPTION USING ERRCODE = 'EQ0OK';
	EXCEPTION WHEN SQLSTATE 'EQ0OK' THEN NULL;
	END;
	INSERT INTO evq.schedule AS s (name, cron, event_type, flow_type, flow_id, payload, misfire, priority, on_fail_event_type, has_job, done_until)
	VALUES (wanted.name, btrim(evq_schedule.cron, E' \t'), wanted.event_type, wanted.flow_type, wanted.flow_id, wanted.payload, evq_schedule.misfire,
			wanted.priority, wanted.on_fail_event_type, make_job IS DISTINCT FROM false, evq.minute_now())
	ON CONFLICT ON CONSTRAINT schedule_pkey DO UPDATE SET
		cron = EXCLUDED.cron, event_type = EXCLUDED.event_type, flow_type = EXCLUDED.flow_type, flow_id = EXCLUDED.flow_id,
		payload = EXCLUDED.payload, misfire = EXCLUDED.misfire, priority = EXCLUDED.priority, on_fail_event_type = EXCLUDED.on_fail_event_type,
		has_job = EXCLUDED.has_job, last_error = NULL, last_error_at = NULL,
		done_until = CASE WHEN s.cron = EXCLUDED.cron THEN s.done_until ELSE greatest(s.done_until, EXCLUDED.done_until) END;
	IF make_job IS DISTINCT FROM false THEN
		PERFORM evq.call_cron(evq.job_call(name, fields), 'pass make_job => false to evq_schedule()');
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_schedule(text, text, text, text, text, jsonb, text, smallint, text, boolean) IS
$$Makes a schedule, or replaces the one of that name: an event at each time of the cron expression, in UTC. The other arguments are
those of evq_publish(). A replaced schedule stays paused if it was; times already missed stay due unless cron changes.
misfire: what becomes of times that were missed. skip: nothing, after 5 minutes; once: one event for all of them; all: one for
each, of the latest 1,000. make_job: false = something else than a job of pg_cron made here calls evq.run_due_schedule(name) or
evq.catch_up_schedules(). Errors: EQ001 unknown event type or flow, EQ005 payload too large, EQ006 bad argument, EQ007 no pg_cron.$$;

CREATE FUNCTION @extschema@.evq_unschedule(name text, remove_job boolean DEFAULT true)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	doomed evq.schedule := evq.lock_schedule(name);
BEGIN
	DELETE FROM evq.schedule s WHERE s.name = doomed.name;
	IF doomed.has_job AND remove_job IS DISTINCT FROM false AND evq.cron_database() IS NOT NULL THEN
		PERFORM evq.call_cron(evq.job_removal_call(doomed.name), 'pass remove_job => false to evq_unschedule()');
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_unschedule(text, boolean) IS
$$Removes a schedule and its job of pg_cron; its events stay. remove_job: false = leave the job alone, where it cannot be reached
from here. Errors: EQ002 no such schedule, EQ007 pg_cron is out of reach.$$;

CREATE FUNCTION @extschema@.evq_pause_schedule(name text)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule := evq.lock_schedule(name);
BEGIN
	UPDATE evq.schedule s SET is_paused = true WHERE s.name = wanted.name AND NOT s.is_paused;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_pause_schedule(text) IS
'Lets the times of a schedule pass without an event, until evq_resume_schedule(). Errors: EQ002 no such schedule';

CREATE FUNCTION @extschema@.evq_resume_schedule(name text)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule := evq.lock_schedule(name);
BEGIN
	UPDATE evq.schedule s SET is_paused = false, done_until = greatest(s.done_until, evq.minute_now()) WHERE s.name = wanted.name AND s.is_paused;
	IF wanted.has_job THEN
		PERFORM evq.call_cron(evq.job_call(wanted.name, evq.cron_fields(wanted.cron)),
							  'replace the schedule: pass make_job => false to evq_schedule()');
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_resume_schedule(text) IS
$$Ends a pause: the next time counts, those that passed meanwhile do not. Makes the job of pg_cron if it is lost, as after the
database was renamed or restored. Errors: EQ002 no such schedule, EQ007 pg_cron is not there or out of reach.$$;

CREATE FUNCTION @extschema@.evq_run_schedule(name text)
RETURNS uuid LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted evq.schedule := evq.lock_schedule(name);
	published_id uuid := evq.publish_scheduled(wanted);
BEGIN
	UPDATE evq.schedule s SET last_run_at = evq.clock_now(), last_event_id = published_id, published = s.published + 1
	WHERE s.name = wanted.name;
	RETURN published_id;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_run_schedule(text) IS
$$Publishes the event of a schedule now, paused or not, besides its times; returns the event's id.
Errors: EQ002 no such schedule, and those of evq_publish().$$;
-- Looking inside.

CREATE FUNCTION evq.transitions(OUT from_state evq.event_state, OUT verb text, OUT to_state evq.event_state, OUT note text)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_transitions' LANGUAGE c STABLE PARALLEL SAFE ROWS 40;
COMMENT ON FUNCTION evq.transitions() IS 'The table in the code that every change of state is checked against';

CREATE VIEW evq.transition AS SELECT * FROM evq.transitions();
COMMENT ON VIEW evq.transition IS 'The state machine: from_state NULL = not published yet';

CREATE VIEW evq.flows AS
SELECT f.flow_type, f.channel, f.delivery, f.ordered, f.max_dispatched, f.max_processing, f.dispatch_timeout, f.notify_payload
FROM evq.flow f;
COMMENT ON VIEW evq.flows IS 'The configuration of flows; evq_configure_flow() changes it';

CREATE VIEW evq.event_types AS
SELECT t.event_type, f.flow_type, t.max_attempts::int, t.lifespan, t.attempt_delays, t.backoff_factor, t.max_delay,
	t.jitter, coalesce(t.attempt_timeout, t.lifespan / t.max_attempts) AS attempt_timeout, t.is_suspended,
	t.on_suspend_timeout, t.on_fail_event_type, t.priority::int, t.max_payload_bytes, t.retention
FROM evq.event_type t
JOIN evq.flow f USING (flow_no)
WHERE NOT t.dropped;
COMMENT ON VIEW evq.event_types IS 'The configuration of event types; evq_configure() changes it';

CREATE VIEW evq.events AS
SELECT e.event_id, t.event_type, f.flow_type, e.flow_id, evq.state_name(e.state) AS state, e.published_at,
	e.attempt_scheduled_at, e.due_at, e.attempts_used::int, t.max_attempts::int, e.priority::int,
	e.state_since, nullif(e.state_due_at, 'infinity') AS state_due_at,
	CASE WHEN e.state = 'p' THEN e.state_since END AS attempt_started_at, NULL::timestamptz AS finished_at,
	e.permit, e.worker, e.parent_id, e.chain_depth::int, o.event_type AS on_fail_event_type,
	NULL::text AS reason, NULL::jsonb AS result, NULL::uuid[] AS spinoff_ids
FROM evq.event e
JOIN evq.event_type t USING (event_type_no)
JOIN evq.flow f ON f.flow_no = e.flow_no
LEFT JOIN evq.event_type o ON o.event_type_no = e.on_fail_event_type_no
UNION ALL
SELECT h.event_id, t.event_type, f.flow_type, h.flow_id, evq.state_name(h.state), h.published_at,
	h.attempt_scheduled_at, h.due_at, h.attempts_used::int, t.max_attempts::int, h.priority::int,
	h.finished_at, NULL, nullif(h.attempt_started_at, 'infinity'), h.finished_at,
	h.permit, h.worker, h.parent_id, h.chain_depth::int, o.event_type,
	h.reason, h.result, h.spinoff_ids
FROM evq.event_history h
JOIN evq.event_type t USING (event_type_no)
JOIN evq.flow f ON f.flow_no = h.flow_no
LEFT JOIN evq.event_type o ON o.event_type_no = h.on_fail_event_type_no;
COMMENT ON VIEW evq.events IS 'All events, live and finished, one row each; the payload is in evq_event(event_id)';

CREATE VIEW evq.queue AS
SELECT f.flow_type, t.event_type, evq.state_name(e.state) AS state, pg_catalog.count(*) AS events,
	pg_catalog.count(*) FILTER (WHERE e.state = 'a' AND e.attempt_scheduled_at <= pg_catalog.clock_timestamp()) AS due,
	pg_catalog.clock_timestamp() - pg_catalog.min(e.state_since) AS longest_in_state,
	pg_catalog.clock_timestamp() - pg_catalog.min(e.published_at) AS oldest
FROM evq.event e
JOIN evq.event_type t USING (event_type_no)
JOIN evq.flow f ON f.flow_no = e.flow_no
GROUP BY 1, 2, e.state;
COMMENT ON VIEW evq.queue IS 'Live events by flow, type and state: how many, how many due, how long in this state, how old';

CREATE VIEW evq.errors AS
SELECT r.event_id, b.event_type, b.flow_type, b.flow_id, b.state, r.attempt::int, r.failed_at, r.outcome,
	r.error_message, r.stack_trace, r.worker
FROM evq.event_error r
JOIN evq.events b USING (event_id);
COMMENT ON VIEW evq.errors IS 'Failed attempts, one row each, with the event they belong to';

CREATE VIEW evq.workers AS
SELECT e.worker, f.flow_type, pg_catalog.count(*) AS events, pg_catalog.min(e.state_since) AS oldest_acquired_at,
	pg_catalog.min(e.state_due_at) AS next_permit_due_at
FROM evq.event e
JOIN evq.flow f ON f.flow_no = e.flow_no
WHERE e.state = 'p'
GROUP BY 1, 2;
COMMENT ON VIEW evq.workers IS 'Who holds permits: events in processing by worker and flow';

CREATE VIEW evq.blocked_flows AS
WITH head AS (
	SELECT DISTINCT ON (e.flow_no, e.flow_id) e.*, pg_catalog.count(*) OVER (PARTITION BY e.flow_no, e.flow_id) - 1 AS waiting
	FROM evq.event e WHERE e.ordered
	ORDER BY e.flow_no, e.flow_id, e.event_id),
usage AS (
	SELECT e.flow_no, pg_catalog.count(*) FILTER (WHERE e.state = 'd') AS dispatched, pg_catalog.count(*) FILTER (WHERE e.state = 'p') AS processing,
		pg_catalog.count(*) FILTER (WHERE e.state = 'a' AND e.attempt_scheduled_at <= pg_catalog.clock_timestamp()) AS waiting,
		pg_catalog.min(e.attempt_scheduled_at) FILTER (WHERE e.state = 'a') AS since
	FROM evq.event e GROUP BY e.flow_no)
SELECT f.flow_type, h.flow_id, h.event_id AS blocked_by, evq.state_name(h.state) AS state, h.state_since AS since, h.waiting,
	CASE
		WHEN h.state = 'p' THEN pg_catalog.concat('in processing', ' by ' || h.worker, '; its permit holds until ', h.state_due_at)
		WHEN h.state = 'u' THEN pg_catalog.format('suspended until %s, or until its trigger comes', h.state_due_at)
		WHEN t.is_suspended THEN pg_catalog.format('its type, %s, is suspended', t.event_type)
		WHEN h.state = 'd' THEN 'dispatched, and no worker has acquired it'
		WHEN h.attempt_scheduled_at > pg_catalog.clock_timestamp()
			THEN pg_catalog.format('it waits for attempt %s, at %s', h.attempts_used + 1, h.attempt_scheduled_at)
		ELSE 'due, and not dispatched yet'
	END AS why
FROM head h JOIN evq.flow f USING (flow_no) JOIN evq.event_type t USING (event_type_no)
WHERE h.waiting > 0
UNION ALL
SELECT f.flow_type, NULL, NULL, NULL, u.since, u.waiting,
	CASE WHEN u.dispatched + u.processing >= f.max_processing
		THEN pg_catalog.format('%s dispatched and %s in processing: max_processing is %s', u.dispatched, u.processing, f.max_processing)
		ELSE pg_catalog.format('%s dispatched and not acquired: max_dispatched is %s', u.dispatched, f.max_dispatched)
	END
FROM usage u JOIN evq.flow f USING (flow_no)
WHERE u.waiting > 0 AND (u.dispatched + u.processing >= f.max_processing OR u.dispatched >= f.max_dispatched)
UNION ALL
SELECT f.flow_type, NULL, NULL, NULL, pg_catalog.min(e.attempt_scheduled_at), pg_catalog.count(*), pg_catalog.format('event type %s is suspended', t.event_type)
FROM evq.event e JOIN evq.event_type t USING (event_type_no) JOIN evq.flow f ON f.flow_no = e.flow_no
WHERE t.is_suspended AND e.state IN ('a', 'd') AND e.attempt_scheduled_at <= pg_catalog.clock_timestamp()
GROUP BY f.flow_type, t.event_type;
COMMENT ON VIEW evq.blocked_flows IS
'What holds events up: in ordered flows the event that the others of a flow_id wait for; full flows and suspended types, with flow_id NULL';

CREATE FUNCTION @extschema@.evq_pending(flow_type text, max_events int DEFAULT 100)
RETURNS SETOF evq.pending_event LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 100
AS $$
DECLARE
	wanted_no int;
BEGIN
	SELECT f.flow_no INTO wanted_no FROM evq.flow f WHERE f.flow_type = evq_pending.flow_type;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown flow %', coalesce(quote_ident(flow_type), 'NULL')
			USING ERRCODE = 'EQ001', HINT = 'Configure it with evq_configure_flow().';
	END IF;
	IF max_events IS NULL OR max_events < 1 THEN
		RAISE EXCEPTION 'max_events must be at least 1'
			USING ERRCODE = 'EQ006', HINT = 'Pass how many events to list at most.';
	END IF;
	IF NOT evq.caller_may_work(flow_type) THEN
		RAISE EXCEPTION 'permission denied for flow %', quote_ident(flow_type)
			USING ERRCODE = '42501', HINT = 'Your role is restricted to other flows; evq_grant_worker() adds one.';
	END IF;
	RETURN QUERY
	SELECT e.event_id, t.event_type, evq_pending.flow_type, e.flow_id, evq.state_name(e.state),
		e.attempts_used + 1, t.max_attempts - e.attempts_used - 1, e.priority::int,
		e.published_at, e.attempt_scheduled_at, e.due_at
	FROM evq.event e JOIN evq.event_type t USING (event_type_no)
	WHERE e.flow_no = wanted_no AND e.state IN ('a', 'd') AND NOT t.is_suspended
		AND e.attempt_scheduled_at <= clock_timestamp()
	ORDER BY e.attempt_scheduled_at, e.event_id
	LIMIT max_events;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_pending(text, int) IS
	'Events of a flow that are due and not acquired, oldest first, at most max_events. Errors: EQ001 unknown flow, EQ006 bad argument, 42501 restricted to other flows';

CREATE FUNCTION @extschema@.evq_counts(flow_type text DEFAULT NULL,
	OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 50
AS $$
	SELECT q.flow_type, q.event_type, q.state, q.events FROM evq.queue q
	WHERE ($1 IS NULL OR q.flow_type = $1) AND evq.caller_may_work(q.flow_type)
$$;
COMMENT ON FUNCTION @extschema@.evq_counts(text) IS
	'How many live events each event type has in each state; NULL = of all flows, or of those that the caller is restricted to';

CREATE FUNCTION evq.timeline(event_id uuid) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH event AS MATERIALIZED (SELECT * FROM evq.events e WHERE e.event_id = $1),
	step AS (
		SELECT e.published_at AS at, 1 AS rank, 'published' AS what, concat_ws(', ', e.event_type || ' in ' || e.flow_type, 'from ' || e.parent_id) AS detail FROM event e
		UNION ALL
		SELECT r.failed_at, 2, CASE r.outcome WHEN 'note' THEN 'note' ELSE 'attempt failed' END,
			concat_ws(', ', CASE WHEN r.outcome <> 'note' THEN 'attempt ' || r.attempt END, 'worker ' || r.worker, r.error_message)
		FROM evq.event_error r WHERE r.event_id = $1
		UNION ALL
		SELECT e.attempt_started_at, 3, 'acquired',
			concat_ws(', ', 'attempt ' || CASE WHEN e.finished_at IS NULL THEN e.attempts_used + 1 ELSE e.attempts_used END, 'worker ' || e.worker)
		FROM event e WHERE e.attempt_started_at IS NOT NULL AND (e.finished_at IS NULL OR e.state = 'succeeded')
		UNION ALL
		SELECT e.state_since, 4, e.state::text, 'until ' || e.state_due_at FROM event e WHERE e.state IN ('dispatched', 'suspended')
		UNION ALL
		SELECT e.attempt_scheduled_at, 4, 'due', 'attempt ' || e.attempts_used + 1 FROM event e WHERE e.state = 'awaiting_processing'
		UNION ALL
		SELECT e.finished_at, 5, e.state::text, e.reason FROM event e WHERE e.finished_at IS NOT NULL
		UNION ALL
		SELECT c.published_at, 6, 'child published', c.event_type || ' ' || c.event_id FROM event e JOIN evq.events c ON c.event_id = ANY (e.spinoff_ids))
	SELECT coalesce(jsonb_agg(jsonb_build_object('at', s.at, 'what', s.what, 'detail', s.detail) ORDER BY s.at, s.rank), '[]') FROM step s
$$;
COMMENT ON FUNCTION evq.timeline(uuid) IS 'What happened to an event and is on record, in order; a step in the future is planned';

CREATE FUNCTION @extschema@.evq_event(event_id uuid)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	answer jsonb;
BEGIN
	SELECT to_jsonb(b) || jsonb_build_object(
		'payload', p.payload,
		'headers', p.headers,
		'idempotency_key', (SELECT i.idempotency_key FROM evq.idempotency i WHERE i.event_id = b.event_id),
		'errors', (SELECT coalesce(jsonb_agg(to_jsonb(r) - 'event_id' ORDER BY r.failed_at, r.attempt), '[]')
				   FROM evq.event_error r WHERE r.event_id = b.event_id),
		'children', (SELECT coalesce(jsonb_agg(jsonb_build_object('event_id', c.event_id, 'event_type', c.event_type, 'state', c.state)
											   ORDER BY c.event_id), '[]')
					 FROM evq.events c WHERE c.event_id = ANY (b.spinoff_ids)))
	INTO answer
	FROM evq.events b LEFT JOIN evq.payloads p USING (event_id)
	WHERE b.event_id = evq_event.event_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no event %', coalesce(event_id::text, 'NULL')
			USING ERRCODE = 'EQ002', HINT = 'Look for it in evq.events; finished events are kept for their type''s retention.';
	END IF;
	RETURN answer || jsonb_build_object('timeline', evq.timeline(event_id));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_event(uuid) IS
$$All that is known of one event: its row of evq.events, payload, headers, errors of its attempts, parent_id,
its children (spinoffs, on-fail event), and the timeline of all that: an array of {"at", "what", "detail"}, in order.
Errors: EQ002 no such event.$$;
-- Looking at schedules.

CREATE FUNCTION evq.cron_failures(OUT name text, OUT failed_at timestamptz, OUT message text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 10
AS $$
BEGIN
	IF evq.cron_database() = current_database() THEN
		-- pg_cron keeps its runs for good and has them in the order of runid.
		RETURN QUERY EXECUTE $q$
			SELECT DISTINCT ON (s.name) s.name, r.start_time, r.return_message
			FROM (SELECT * FROM cron.job_run_details d ORDER BY d.runid DESC LIMIT 1000) r
			JOIN cron.job j ON j.jobid = r.jobid
			JOIN evq.schedule s ON j.jobname = evq.job_name(s.name)
			WHERE r.status = 'failed' AND j.username = current_user
			ORDER BY s.name, r.runid DESC$q$;
	END IF;
END
$$;
COMMENT ON FUNCTION evq.cron_failures() IS
'The last failure of each schedule''s job among pg_cron''s latest 1,000 runs, such as that it could not connect; none where pg_cron is in another database';

CREATE VIEW evq.schedules AS
SELECT s.name, s.cron, s.event_type, coalesce(s.flow_type, t.flow_type) AS flow_type, s.flow_id, s.misfire, s.priority::int, s.is_paused,
	CASE WHEN NOT s.is_paused THEN evq.cron_next(s.cron, evq.clock_now()) END AS next_run_at,
	s.last_run_at, s.last_event_id, (SELECT e.state FROM evq.events e WHERE e.event_id = s.last_event_id) AS last_state,
	CASE WHEN s.last_error IS NOT NULL THEN 'failed' WHEN s.last_event_id IS NOT NULL THEN 'published' END AS last_outcome,
	s.last_error, s.last_error_at, f.failed_at AS cron_failed_at, f.message AS cron_message, s.published, s.skipped, s.failed
FROM evq.schedule s
LEFT JOIN evq.event_types t ON t.event_type = s.event_type
LEFT JOIN evq.cron_failures() f ON f.name = s.name;
COMMENT ON VIEW evq.schedules IS 'Schedules: their times, which are UTC, the next and the last one, what became of it; evq_schedule() makes them';
COMMENT ON COLUMN evq.schedules.last_run_at IS 'The time of the schedule that the last event is for, or when it was run by hand';
COMMENT ON COLUMN evq.schedules.last_state IS 'State of the last event; NULL when that is gone';
COMMENT ON COLUMN evq.schedules.last_outcome IS 'published, or failed: then last_error says why, and the times stay due';
COMMENT ON COLUMN evq.schedules.cron_message IS 'pg_cron''s last failure to run the job, at cron_failed_at, where it is in this database';
-- What evq_check() finds about evq's own objects: who else may touch them, and what was done to them.

CREATE TYPE evq.finding AS (severity text, subject text, finding text, advice text);
COMMENT ON TYPE evq.finding IS 'A row of evq_check()';

CREATE FUNCTION evq.check_privileges() RETURNS SETOF evq.finding
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 10
AS $$
WITH extension AS (SELECT x.oid, x.extowner FROM pg_extension x WHERE x.extname = 'evq'),
member AS (
	SELECT d.classid, d.objid FROM pg_depend d JOIN extension x ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
	WHERE d.deptype = 'e'),
acl AS (
	SELECT format('schema %s', n.nspname) AS object, n.nspowner AS owner, 'n' AS kind, a.grantee, a.privilege_type
	FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'evq'
	UNION ALL
	SELECT c.oid::regclass::text, c.relowner, CASE c.relkind WHEN 'v' THEN 'v' ELSE 'r' END, a.grantee, a.privilege_type
	FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = 'evq'::regnamespace
	UNION ALL
	SELECT format('%s.%I', c.oid::regclass, b.attname), c.relowner, 'r', a.grantee, a.privilege_type
	FROM pg_class c JOIN pg_attribute b ON b.attrelid = c.oid, aclexplode(b.attacl) a
	WHERE c.relnamespace = 'evq'::regnamespace AND b.attacl IS NOT NULL
	UNION ALL
	SELECT p.oid::regprocedure::text, p.proowner, 'f', a.grantee, a.privilege_type
	FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid,
		aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
	UNION ALL
	SELECT t.oid::regtype::text, t.typowner, 't', a.grantee, a.privilege_type
	-- Newer versions list the row and array types of members as members too: they show nothing that a table does not.
	FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid LEFT JOIN pg_class c ON c.oid = t.typrelid
	CROSS JOIN aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a
	WHERE t.typcategory <> 'A' AND coalesce(c.relkind, 'c') = 'c')

SELECT 'error', 'privileges',
	format('%s has %s on %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
		   string_agg(DISTINCT a.privilege_type, ', '), a.object),
	CASE WHEN a.grantee = 0 THEN 'REVOKE it: nothing of evq is for PUBLIC, only for the four roles.'
		 ELSE 'REVOKE it: what evq runs as the owner must not be changed by others; roles work through functions and views.' END
FROM acl a
WHERE a.grantee <> a.owner AND (a.grantee = 0 OR a.kind = 'r' OR (a.kind = 'n' AND a.privilege_type = 'CREATE'))
GROUP BY a.object, a.grantee
UNION ALL
SELECT 'error', 'privileges', format('%s belongs to %s, not to the owner of the extension', c.oid::regclass, c.relowner::regrole),
	format('ALTER TABLE %s OWNER TO %s.', c.oid::regclass, x.extowner::regrole)
FROM pg_class c, extension x WHERE c.relnamespace = 'evq'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND c.relowner <> x.extowner
UNION ALL
SELECT 'error', 'privileges', format('%s runs with its owner''s rights and the caller''s search_path', p.oid::regprocedure),
	format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp.', p.oid::regprocedure)
FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
WHERE p.prosecdef AND 'search_path=pg_catalog, pg_temp' = ANY (p.proconfig) IS NOT TRUE
UNION ALL
SELECT 'warning', 'privileges', format('a restriction of role %I is left, which %s', r.role_name,
		CASE WHEN o.oid IS NULL THEN 'does not exist' ELSE format('is called %I by now', o.rolname) END),
	'Make it anew with evq_grant_worker() or evq_grant_publisher() for the role it is meant for, and end this one with evq_revoke_*().'
FROM evq.restriction r LEFT JOIN pg_roles o ON o.oid = r.role_oid
WHERE NOT EXISTS (SELECT FROM pg_roles n WHERE n.rolname = r.role_name)
$$;
COMMENT ON FUNCTION evq.check_privileges() IS 'Findings: who has rights on evq''s objects that nobody should have';

CREATE FUNCTION evq.check_tables() RETURNS SETOF evq.finding
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp ROWS 10
AS $$
WITH relation AS (
	SELECT c.* FROM pg_class c WHERE c.relnamespace = 'evq'::regnamespace AND c.relkind IN ('r', 'p'))
SELECT 'error', 'tables', format('%s has a trigger, %I', t.tgrelid::regclass, t.tgname),
	'Drop it: evq writes its tables without firing triggers, and refuses to where there are some.'
FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid
WHERE NOT t.tgisinternal AND t.tgfoid NOT IN ('evq.configuration_changed'::regproc, 'evq.pause_changed'::regproc)
UNION ALL
SELECT 'error', 'tables', format('%s has a rule, %I', w.ev_class::regclass, w.rulename), 'Drop it: evq''s own code does not heed it.'
FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class
UNION ALL
SELECT 'error', 'tables', format('%s has row security', r.oid::regclass),
	format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY and drop its policies: functions and views of evq decide who sees what.', r.oid::regclass)
FROM relation r WHERE r.relrowsecurity OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = r.oid)
UNION ALL
SELECT 'warning', 'tables', 'the history has no partition for now: events finish into evq.event_history_default',
	'SELECT evq_purge() makes it; the server''s log says why the engine''s housekeeping does not.'
WHERE NOT EXISTS (SELECT FROM evq.history_partitions() p WHERE p.from_at <= clock_timestamp() AND p.to_at > clock_timestamp())
UNION ALL
SELECT 'error', 'tables', format('%s is not logged: it is empty after a crash', r.oid::regclass), format('ALTER TABLE %s SET LOGGED.', r.oid::regclass)
FROM relation r WHERE r.relpersistence <> 'p'
UNION ALL
SELECT 'error', 'tables', format('%s inherits from %s', i.inhrelid::regclass, i.inhparent::regclass), 'Drop it, or end the inheritance: its rows would count as evq''s.'
FROM pg_inherits i JOIN relation r ON r.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid WHERE NOT c.relispartition
UNION ALL
SELECT 'warning', 'tables', format('%s in schema evq is not evq''s', c.oid::regclass), 'Move it to another schema: DROP EXTENSION would fail, or take it along.'
FROM pg_class c
WHERE c.relnamespace = 'evq'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT c.relispartition
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype IN ('e', 'i'))
UNION ALL
SELECT 'warning', 'tables', format('index %s makes every dispatch and acquire slower', i.indexrelid::regclass),
	'Drop it: nothing that changes with the state may be indexed, or no update of evq.event stays on its page (HOT).'
FROM pg_index i
WHERE i.indrelid = 'evq.event'::regclass AND EXISTS (
	SELECT FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
	WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
		AND a.attname IN ('state', 'attempts_used', 'state_due_at', 'state_since', 'permit', 'worker'))
$$;
COMMENT ON FUNCTION evq.check_tables() IS 'Findings: what was added to evq''s tables that evq does not heed or that slows it down';
-- What evq_check() finds about the server around evq.

CREATE FUNCTION evq.check_server(patience interval) RETURNS SETOF evq.finding
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp ROWS 10
AS $$
WITH session AS MATERIALIZED (
	SELECT a.pid, a.backend_xmin, a.xact_start, a.datname,
		concat_ws(', ', format('PID %s', a.pid), a.usename, a.datname, nullif(a.application_name, ''), a.state) AS who
	FROM pg_stat_activity a WHERE a.pid <> pg_backend_pid()),
queue AS MATERIALIZED (SELECT pg_notification_queue_usage() AS usage)

-- A session that listens reads the queue between its transactions only, in whichever database it is.
SELECT CASE WHEN q.usage < 0.5 THEN 'warning' ELSE 'error' END, 'notifications',
	format('the notification queue is %s %% full: a session that listens does not read it', round((100 * q.usage)::numeric, 1))
		|| coalesce('; the oldest transaction is that of ' || s.who || ', since ' || s.xact_start, ''),
	format('End that transaction%s. When the queue is full, no notification goes out; workers then poll.',
		   coalesce(', or pg_terminate_backend(' || s.pid || ')', ''))
FROM queue q LEFT JOIN (SELECT * FROM session WHERE xact_start IS NOT NULL ORDER BY xact_start LIMIT 1) s ON true
WHERE q.usage >= 0.01
UNION ALL
(SELECT 'warning', 'snapshots', format('%s has held a snapshot since %s: no row that died since can be removed', s.who, s.xact_start),
	format('End its transaction, or pg_terminate_backend(%s); set idle_in_transaction_session_timeout.', s.pid)
 FROM session s
 WHERE s.backend_xmin IS NOT NULL AND s.datname = current_database() AND s.xact_start <= clock_timestamp() - patience
 ORDER BY s.xact_start LIMIT 5)
UNION ALL
SELECT 'warning', 'snapshots', format('replication slot %I is not in use and holds back vacuum: xmin is %s transactions old', r.slot_name, age(r.xmin)),
	format('Start its standby, or SELECT pg_drop_replication_slot(%L).', r.slot_name)
FROM pg_replication_slots r WHERE r.xmin IS NOT NULL AND NOT r.active
UNION ALL
(SELECT 'warning', 'prepared transactions', format('transaction %L of %I is prepared since %s: it keeps its locks, and no row that died since can be removed',
		p.gid, p.owner, p.prepared),
	format('COMMIT PREPARED %1$L or ROLLBACK PREPARED %1$L; its coordinator knows which.', p.gid)
 FROM pg_prepared_xacts p WHERE p.database = current_database() AND p.prepared <= clock_timestamp() - patience
 ORDER BY p.prepared LIMIT 5)
UNION ALL
SELECT 'error', 'autovacuum', format('%s is off: dead rows stay', s.name), format('Set %s = on and reload.', s.name)
FROM pg_settings s WHERE s.name IN ('autovacuum', 'track_counts') AND s.setting = 'off'
UNION ALL
SELECT 'error', 'autovacuum', format('it is off for %s: dead rows stay', c.oid::regclass), format('ALTER TABLE %s RESET (autovacuum_enabled).', c.oid::regclass)
FROM pg_class c, pg_options_to_table(c.reloptions) o
WHERE c.relnamespace = 'evq'::regnamespace AND o.option_name = 'autovacuum_enabled' AND NOT o.option_value::boolean
UNION ALL
SELECT 'warning', 'bloat', format('%s.%s has %s dead rows beside %s live ones', t.schemaname, t.relname, t.n_dead_tup, t.n_live_tup)
		|| coalesce('; last autovacuum ' || t.last_autovacuum::text, '; it was never vacuumed automatically'),
	'See the findings on snapshots and autovacuum; VACUUM removes dead rows, and after long trouble VACUUM FULL the space.'
FROM pg_stat_all_tables t
WHERE t.schemaname = 'evq' AND t.n_dead_tup > 100000 AND t.n_dead_tup > t.n_live_tup
UNION ALL
SELECT d.severity, 'durability', d.finding, format('Set %s = %s%s.', d.name, d.wanted, CASE d.name WHEN 'wal_level' THEN ' and restart' ELSE '' END)
FROM (VALUES
	('fsync', 'off', 'error', 'fsync is off: a crash of the machine can destroy the database', 'on'),
	('full_page_writes', 'off', 'error', 'full_page_writes is off: a crash of the machine can destroy pages', 'on'),
	('synchronous_commit', 'off', 'warning', 'synchronous_commit is off: a crash can lose events whose publish was acknowledged', 'on'),
	('wal_level', 'minimal', 'warning', 'wal_level is minimal: no standby and no continuous backup is possible', 'replica')
	) AS d(name, bad, severity, finding, wanted)
WHERE current_setting(d.name) = d.bad
UNION ALL
SELECT 'warning', 'durability', format('synchronous_commit is off%s%s: a crash can lose events whose publish was acknowledged',
		CASE WHEN d.setrole <> 0 THEN format(' for role %s', d.setrole::regrole) ELSE '' END,
		CASE WHEN d.setdatabase <> 0 THEN format(' in database %I', current_database()) ELSE '' END),
	'ALTER ROLE or ALTER DATABASE ... RESET synchronous_commit, if its events matter.'
FROM pg_db_role_setting d
WHERE d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) AND 'synchronous_commit=off' = ANY (d.setconfig)
$$;
COMMENT ON FUNCTION evq.check_server(interval) IS 'Findings: what in the server hinders evq or endangers its events';
-- What evq_check() finds about the engine and the work it has. It reads the counters in shared memory, which a dispatcher
-- keeps, and where there is none, the longest due events of each flow: never a whole table.

CREATE FUNCTION evq.library_version() RETURNS text
AS 'MODULE_PATHNAME', 'evq_sql_library_version' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION evq.library_version() IS 'Version of the library that this session uses';

CREATE FUNCTION evq.check_engine(patience interval) RETURNS SETOF evq.finding
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp ROWS 5
AS $$
WITH status AS MATERIALIZED (SELECT * FROM @extschema@.evq_status()),
present AS (SELECT clock_timestamp() AS at, clock_timestamp() + interval '1 minute' AS soon)

SELECT CASE WHEN s.preloaded THEN 'error' ELSE 'warning' END, 'dispatcher',
	s.problem || coalesce(': ' || CASE WHEN s.running THEN s.last_error END, ''), s.hint
FROM status s WHERE s.problem IS NOT NULL AND NOT pg_is_in_recovery()
UNION ALL
-- Events that came due after its last turn. Order and max_processing may keep them waiting without one.
SELECT 'error', 'dispatcher', format('the dispatcher, PID %s, had its last turn at %s, and events have come due since', s.dispatcher_pid, s.last_turn_at),
	format('See what it waits for in pg_stat_activity and pg_locks; pg_terminate_backend(%s) has it start anew.', s.dispatcher_pid)
FROM status s, present p
WHERE s.problem IS NULL AND EXISTS (
	SELECT FROM evq.flow f CROSS JOIN LATERAL (
		SELECT FROM evq.event e JOIN evq.event_type t USING (event_type_no)
		WHERE e.flow_no = f.flow_no AND e.state = 'a' AND NOT t.is_suspended AND e.attempt_scheduled_at > s.last_turn_at
			AND e.attempt_scheduled_at <= p.at - least(patience, greatest(interval '1 minute', 3 * current_setting('evq.poll_interval', true)::interval))
		LIMIT 1) late
	WHERE NOT f.ordered AND f.max_processing IS NULL)
UNION ALL
SELECT 'warning', 'ring', format('the ring overflowed %s times since %s: all due events are read each time', s.ring_overflows, pg_postmaster_start_time()),
	format('Raise evq.ring_size, now %s, and restart; publish fewer events a transaction.', current_setting('evq.ring_size', true))
FROM status s WHERE s.ring_overflows > extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) / 3600
UNION ALL
-- Ids begin with the time of the publish.
SELECT 'error', 'clock', 'there are events published in the future: the clock was ahead and went back',
	'Events published meanwhile are due, and time out, when the clock comes there; see evq.events ORDER BY event_id DESC.'
FROM present p
WHERE EXISTS (
	SELECT FROM evq.event e
	WHERE e.event_id > evq.first_id(p.soon))
UNION ALL
SELECT 'error', 'clock', format('%s at %s, in the future: the clock was ahead and went back', c.what, c.at), 'Restart the server when the clock is right.'
FROM present p, status s, LATERAL (
	VALUES ('the dispatcher started', s.started_at), ('the dispatcher had its last turn', s.last_turn_at), ('the server started', pg_postmaster_start_time()),
		('the permits'' epoch began', (SELECT max(began_at) FROM evq.epoch))) c(what, at)
WHERE c.at > p.soon
UNION ALL
SELECT 'error', 'version', format('the library is version %s, the extension in this database %s', evq.library_version(), x.extversion),
	CASE WHEN a.default_version = x.extversion THEN 'Restart the server, so that it loads the library that is installed.'
		 ELSE 'ALTER EXTENSION evq UPDATE, and restart the server if its library is the older one.' END
FROM pg_extension x LEFT JOIN pg_available_extensions a ON a.name = x.extname
WHERE x.extname = 'evq' AND x.extversion <> evq.library_version()
$$;
COMMENT ON FUNCTION evq.check_engine(interval) IS 'Findings: does the engine run, in time, and as installed?';

CREATE FUNCTION evq.check_work(patience interval) RETURNS SETOF evq.finding
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp ROWS 5
AS $$
WITH counter AS MATERIALIZED (SELECT c.* FROM evq.counters() c WHERE (SELECT s.running FROM @extschema@.evq_status() s)),
sample AS MATERIALIZED (
	SELECT e.* FROM evq.flow f CROSS JOIN LATERAL (
		SELECT o.flow_no, o.event_type_no, o.state, o.attempt_scheduled_at FROM evq.event o
		WHERE o.flow_no = f.flow_no AND o.attempt_scheduled_at <= clock_timestamp() ORDER BY o.attempt_scheduled_at LIMIT 1000) e
	WHERE NOT EXISTS (SELECT FROM counter)),
oldest AS (
	SELECT c.no AS flow_no, clock_timestamp() - c.value * interval '1 microsecond' AS since FROM counter c WHERE c.name = 'oldest_due' AND c.value > 0
	UNION ALL
	SELECT s.flow_no, min(s.attempt_scheduled_at) FROM sample s JOIN evq.event_type t USING (event_type_no)
	WHERE s.state IN ('a', 'd') AND NOT t.is_suspended GROUP BY s.flow_no),
held AS (
	SELECT t.flow_no FROM counter c JOIN evq.event_type t ON t.event_type_no = c.no WHERE c.name = 'live/being_processed' AND c.value > 0
	UNION SELECT s.flow_no FROM sample s WHERE s.state = 'p'),
waiting AS (
	SELECT c.no AS event_type_no, format('%s events', sum(c.value)) AS events FROM counter c
	WHERE c.name IN ('live/awaiting_processing', 'live/dispatched') AND c.value > 0 GROUP BY 1
	UNION ALL SELECT s.event_type_no, 'events' FROM sample s WHERE s.state IN ('a', 'd') GROUP BY 1)
SELECT 'warning', 'flows',
	format('in flow %s an event has been due since %s', f.flow_type, o.since) ||
		CASE WHEN h.flow_no IS NULL THEN ', and no worker holds one' ELSE ': its workers do not keep up, or it is held up' END,
	CASE WHEN h.flow_no IS NULL THEN 'Start its workers: they call evq_acquire_next() or listen on ' || f.channel || '.'
		 ELSE 'See evq.blocked_flows and evq.workers; start more workers.' END
FROM oldest o JOIN evq.flow f USING (flow_no) LEFT JOIN held h USING (flow_no)
WHERE o.since <= clock_timestamp() - patience
UNION ALL
SELECT 'warning', 'event types', format('%s is suspended, and %s of it wait', t.event_type, w.events),
	format('SELECT evq_unsuspend_event_type(%L) when they may go on; their lifespan runs.', t.event_type)
FROM evq.event_type t JOIN waiting w USING (event_type_no) WHERE t.is_suspended
UNION ALL
SELECT 'error', 'event types', format('the on-fail event type %s of %s is not configured in its flow', t.on_fail_event_type, t.event_type),
	format('Configure it: evq_configure(%L, %L).', t.on_fail_event_type, f.flow_type)
FROM evq.event_type t JOIN evq.flow f USING (flow_no)
WHERE NOT t.dropped AND t.on_fail_event_type IS NOT NULL AND NOT EXISTS (
	SELECT FROM evq.event_type o WHERE o.event_type = t.on_fail_event_type AND o.flow_no = t.flow_no AND NOT o.dropped)
UNION ALL
SELECT 'error', 'event types', format('%s belongs to no flow', t.event_type), format('Configure it again: evq_configure(%L, flow_type).', t.event_type)
FROM evq.event_type t WHERE NOT t.dropped AND NOT EXISTS (SELECT FROM evq.flow f WHERE f.flow_no = t.flow_no)
UNION ALL
SELECT 'error', 'schedules', format('schedule %s published nothing at %s: %s', s.name, s.last_error_at, s.last_error),
	'Correct what its error names; the next time it runs is its next try.'
FROM evq.schedule s WHERE s.last_error IS NOT NULL AND NOT s.is_paused
$$;
COMMENT ON FUNCTION evq.check_work(interval) IS 'Findings: work that does not get done';
-- The doctor.

CREATE FUNCTION @extschema@.evq_check(patience interval DEFAULT '15 minutes',
	OUT severity text, OUT subject text, OUT finding text, OUT advice text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 20
AS $$
#variable_conflict use_column
DECLARE
	subjects text[] := '{dispatcher, ring, clock, version, flows, event types, schedules, notifications, snapshots,
		prepared transactions, autovacuum, bloat, durability, tables, privileges}';
BEGIN
	IF patience IS NULL OR patience < interval '0' THEN
		RAISE EXCEPTION 'patience is NULL or negative' USING ERRCODE = 'EQ006', HINT = 'Pass how long something may last before it is a finding.';
	END IF;
	RETURN QUERY
	WITH found AS MATERIALIZED (
		SELECT * FROM evq.check_engine(patience)
		UNION ALL SELECT * FROM evq.check_work(patience)
		UNION ALL SELECT * FROM evq.check_server(patience)
		UNION ALL SELECT * FROM evq.check_tables()
		UNION ALL SELECT * FROM evq.check_privileges())
	SELECT f.* FROM (
		SELECT * FROM found
		UNION ALL
		SELECT 'ok', s, NULL, NULL FROM unnest(subjects) s WHERE s NOT IN (SELECT o.subject FROM found o)) f
	ORDER BY array_position('{error, warning, ok}', f.severity), array_position(subjects, f.subject), f.finding;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_check(interval) IS
$$The doctor: what is wrong with evq in this database and what to do about it. A row for each finding, errors first, then warnings,
and a row "ok" for each subject without one. patience: how long a transaction, a due event or a stalled dispatcher may last
before it is a finding. It reads counters, settings and catalogs, no large table: cheap enough for every minute. Errors: EQ006 bad patience.$$;
-- Metrics: what the engine counts, and the same as Prometheus reads it.

CREATE FUNCTION evq.counters(OUT no int, OUT name text, OUT value bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_counters' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION evq.counters() IS
$$The counters in shared memory, times in microseconds. no is an event_type_no for verb/from_state/to_state (publish/origin/to_state)
and live/state, a flow_no for wait/bucket, processing/bucket and their sums, oldest_due and oldest_permit, and 0 for the rest.
No rows without preloading, and from the server's start until the dispatcher has taken back the counters and counted the live events.$$;

CREATE FUNCTION evq.label(name text, value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN name || '="' || replace(replace(replace(value, '\', '\\'), '"', '\"'), E'\n', '\n') || '"';
COMMENT ON FUNCTION evq.label(text, text) IS 'A label of a metric, escaped';

CREATE FUNCTION evq.samples(OUT family text, OUT suffix text, OUT labels text, OUT value float8, OUT bound float8)
RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp ROWS 1000
AS $$
WITH counter AS MATERIALIZED (
	SELECT c.no, split_part(c.name, '/', 1) AS what, split_part(c.name, '/', 2) AS origin, split_part(c.name, '/', 3) AS target, c.value
	FROM evq.counters() c),
free AS (
	SELECT sum(c.value) FILTER (WHERE c.what = 'free_event_types') AS event_types,
		sum(c.value) FILTER (WHERE c.what = 'free_flows') AS flows
	FROM counter c HAVING count(*) > 0),
flow AS (
	SELECT f.flow_no, evq.label('flow_type', f.flow_type) AS labels,
		f.flow_no IN (SELECT c.no FROM counter c WHERE c.what = 'oldest_due') AS counted
	FROM evq.flow f),
event_type AS (
	SELECT t.event_type_no, t.flow_no, evq.label('event_type', t.event_type) AS labels, t.is_suspended,
		t.event_type_no IN (SELECT c.no FROM counter c WHERE c.what = 'live') AS counted
	FROM evq.event_type t WHERE NOT t.dropped),
-- A type or flow that nothing has happened to yet is counted too: as zero, if there is room for it.
counted_type AS (
	SELECT t.event_type_no, t.flow_no, f.labels AS flow, f.labels || ',' || t.labels AS labels
	FROM event_type t JOIN flow f USING (flow_no), free WHERE t.counted OR free.event_types > 0),
counted_flow AS (SELECT f.flow_no, f.labels FROM flow f, free WHERE f.counted OR free.flows > 0),
live AS (
	SELECT t.flow || ',' || evq.label('status', upper(s.state)) AS labels, sum(coalesce(c.value, 0)) AS events
	FROM counted_type t
	CROSS JOIN unnest('{awaiting_processing, dispatched, being_processed, suspended}'::text[]) s(state)
	LEFT JOIN counter c ON c.no = t.event_type_no AND c.what = 'live' AND c.origin = s.state
	GROUP BY t.flow, s.state),
bucket AS (
	SELECT h.what, f.labels, h.bound, sum(coalesce(c.value, 0)) OVER (PARTITION BY h.what, f.labels ORDER BY h.bound::float8) AS events
	FROM counted_flow f
	CROSS JOIN (SELECT DISTINCT c.what, c.origin AS bound FROM counter c WHERE c.what IN ('wait', 'processing') AND c.origin <> 'sum') h
	LEFT JOIN counter c ON c.no = f.flow_no AND c.what = h.what AND c.origin = h.bound)

SELECT 'evq_build_info', '', evq.label('version', x.extversion) || ',' || evq.label('postgresql', current_setting('server_version')), 1, 0
FROM pg_extension x WHERE x.extname = 'evq'
UNION ALL
SELECT m.family, '', live.labels, live.events, 0 FROM live, (VALUES ('evq_events'), ('event_engine_queue_size')) m(family)
UNION ALL
SELECT CASE c.what WHEN 'oldest_due' THEN 'evq_oldest_due_age_seconds' ELSE 'evq_oldest_permit_age_seconds' END, '', f.labels, c.value / 1e6, 0
FROM flow f JOIN counter c ON c.no = f.flow_no AND c.what IN ('oldest_due', 'oldest_permit')
UNION ALL
SELECT 'evq_event_type_suspended', '', t.labels, t.is_suspended::int, 0 FROM event_type t
UNION ALL
SELECT 'evq_events_published_total', '', t.labels || ',' || evq.label('origin', o.origin), coalesce(c.value, 0), 0
FROM counted_type t
CROSS JOIN unnest('{api, spinoff, on_fail}'::text[]) o(origin)
LEFT JOIN counter c ON c.no = t.event_type_no AND c.what = 'publish' AND c.origin = o.origin
UNION ALL
SELECT 'evq_events_dispatched_total', '', t.flow, sum(coalesce(c.value, 0)), 0
FROM counted_type t LEFT JOIN counter c ON c.no = t.event_type_no
	AND (c.what = 'dispatch' OR (c.what = 'acquire' AND c.origin = 'awaiting_processing'))
GROUP BY t.flow
UNION ALL
SELECT 'evq_permits_total', '', t.flow || ',' || evq.label('result', 'granted'), sum(coalesce(c.value, 0)), 0
FROM counted_type t LEFT JOIN counter c ON c.no = t.event_type_no AND c.what = 'acquire'
GROUP BY t.flow
UNION ALL
SELECT 'evq_attempts_total', '', t.labels || ',' || evq.label('outcome', o.outcome), sum(coalesce(c.value, 0)), 0
FROM counted_type t
CROSS JOIN unnest('{succeed, fail, permit_timeout, suspend, snooze, release, cancel}'::text[],
	'{succeeded, failed, timed_out, suspended, snoozed, released, canceled}'::text[]) o(verb, outcome)
LEFT JOIN counter c ON c.no = t.event_type_no AND c.what = o.verb AND c.origin = 'being_processed'
GROUP BY t.labels, o.outcome
UNION ALL
SELECT 'evq_events_ended_total', '', t.labels || ',' || evq.label('status', upper(s.state)), sum(coalesce(c.value, 0)), 0
FROM counted_type t
CROSS JOIN unnest('{succeeded, failed, expired, canceled}'::text[]) s(state)
LEFT JOIN counter c ON c.no = t.event_type_no AND c.target = s.state
GROUP BY t.labels, s.state
UNION ALL
SELECT format('evq_event_%s_seconds', b.what), '_bucket', b.labels || ',' || evq.label('le', b.bound), b.events, b.bound::float8 FROM bucket b
UNION ALL
SELECT format('evq_event_%s_seconds', b.what), '_count', b.labels, b.events, 'NaN' FROM bucket b WHERE b.bound = '+Inf'
UNION ALL
SELECT format('evq_event_%s_seconds', h.what), '_sum', f.labels, coalesce(c.value, 0) / 1e6, 'NaN'
FROM counted_flow f CROSS JOIN unnest('{wait, processing}'::text[]) h(what)
LEFT JOIN counter c ON c.no = f.flow_no AND c.what = h.what AND c.origin = 'sum'
UNION ALL
SELECT 'evq_sweep_seconds_total', '', '', c.value / 1e6, 0 FROM counter c WHERE c.what = 'sweep'
UNION ALL
SELECT 'evq_uncounted_event_types', '', '', count(t) FILTER (WHERE NOT t.counted AND free.event_types = 0), 0
FROM free LEFT JOIN event_type t ON true GROUP BY free
UNION ALL
SELECT 'evq_uncounted_flows', '', '', count(f) FILTER (WHERE NOT f.counted AND free.flows = 0), 0
FROM free LEFT JOIN flow f ON true GROUP BY free
UNION ALL
SELECT m.family, '', '', m.value, 0
FROM @extschema@.evq_status() s, LATERAL (VALUES
	('evq_dispatcher_up', s.running::int::float8),
	('evq_dispatcher_last_turn_timestamp_seconds', extract(epoch FROM s.last_turn_at)::float8),
	('evq_dispatcher_errors_total', s.errors::float8),
	('evq_ring_overflows_total', s.ring_overflows::float8)) m(family, value)
WHERE m.value IS NOT NULL
UNION ALL
SELECT 'evq_schedule_runs_total', '', evq.label('schedule', s.name) || ',' || evq.label('outcome', o.outcome), o.value, 0
FROM evq.schedule s, LATERAL (VALUES ('published', s.published), ('skipped', s.skipped), ('failed', s.failed)) o(outcome, value)
UNION ALL
SELECT 'evq_notify_queue_ratio', '', '', pg_notification_queue_usage(), 0
UNION ALL
SELECT 'evq_table_bytes', '', evq.label('table', c.relname), pg_total_relation_size(c.oid), 0
FROM pg_class c WHERE c.relnamespace = 'evq'::regnamespace AND c.relkind = 'r'
$$;
COMMENT ON FUNCTION evq.samples() IS 'The samples of evq_metrics(): metric family, suffix of the name, labels, value, and the bound of a bucket';

CREATE FUNCTION @extschema@.evq_metrics() RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
SELECT string_agg(format(E'# HELP %s %s\n# TYPE %s %s\n%s', m.family, m.help, m.family, m.type, s.lines), '' ORDER BY m.rank)
FROM (VALUES
	(1, 'evq_build_info', 'gauge', 'Version of evq and of the server; the value is 1.'),
	(2, 'evq_dispatcher_up', 'gauge', 'Whether the dispatcher of this database runs.'),
	(3, 'evq_dispatcher_last_turn_timestamp_seconds', 'gauge', 'When the dispatcher last had something to do.'),
	(4, 'evq_dispatcher_errors_total', 'counter', 'Turns of the dispatcher that failed.'),
	(5, 'evq_events', 'gauge', 'Live events by state.'),
	(6, 'event_engine_queue_size', 'gauge', 'Live events by state; the same as evq_events.'),
	(7, 'evq_oldest_due_age_seconds', 'gauge', 'How long the longest waiting due event has been due; 0 when none is.'),
	(8, 'evq_oldest_permit_age_seconds', 'gauge', 'How long the longest running attempt has been running; 0 when none is.'),
	(9, 'evq_event_type_suspended', 'gauge', 'Whether the event type is suspended.'),
	(10, 'evq_events_published_total', 'counter', 'Events published, by who published them: a caller, a success, a failure.'),
	(11, 'evq_events_dispatched_total', 'counter', 'Times an event was dispatched to the workers, or taken by one without that.'),
	(12, 'evq_permits_total', 'counter', 'Permits to process an event.'),
	(13, 'evq_attempts_total', 'counter', 'Attempts that ended, by how.'),
	(14, 'evq_events_ended_total', 'counter', 'Events that reached a final state.'),
	(15, 'evq_event_wait_seconds', 'histogram', 'Time from an event being due to its being acquired.'),
	(16, 'evq_event_processing_seconds', 'histogram', 'Time from an event being acquired to the report on it.'),
	(17, 'evq_ring_overflows_total', 'counter', 'Times that changes did not fit between sessions and dispatcher, so that the tables were read.'),
	(18, 'evq_sweep_seconds_total', 'counter', 'Time spent reading the tables for work that nobody told of.'),
	(19, 'evq_notify_queue_ratio', 'gauge', 'Share of the notification queue of the server that is in use.'),
	(20, 'evq_table_bytes', 'gauge', 'Size of a table with its indexes.'),
	(21, 'evq_uncounted_event_types', 'gauge', 'Event types without counters, because too many others have some.'),
	(22, 'evq_uncounted_flows', 'gauge', 'Flows without histograms, because too many others have some.'),
	(23, 'evq_schedule_runs_total', 'counter', 'Events of a schedule published, missed times skipped, and tries that failed.')) m(rank, family, type, help)
JOIN (
	SELECT s.family,
		string_agg(s.family || s.suffix || coalesce('{' || nullif(s.labels, '') || '}', '') || ' ' || s.value || E'\n', ''
			ORDER BY regexp_replace(s.labels, ',le=.*', ''), s.bound, s.suffix, s.labels) AS lines
	FROM evq.samples() s GROUP BY s.family) s USING (family)
$$;
COMMENT ON FUNCTION @extschema@.evq_metrics() IS
'Metrics of the engine in the text format of Prometheus (0.0.4), from counters: no table of events is read. See doc/metrics.md';
-- The engine as seen from SQL.

CREATE FUNCTION @extschema@.evq_tick(OUT dispatched int, OUT timed_out int, OUT expired int)
RETURNS record AS 'MODULE_PATHNAME', 'evq_sql_tick' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_tick() IS
$$Runs one turn of the engine in this session: times out what is overdue, dispatches what is due (notifications go out at commit).
For tests, for servers without evq in shared_preload_libraries, and for pg_cron. While it runs, no other turn does; it returns zeros
when another one is under way. Returns how many events it dispatched, timed out (dispatch, permit or suspension) and expired.$$;

CREATE FUNCTION @extschema@.evq_status(OUT preloaded boolean, OUT enabled boolean, OUT running boolean, OUT dispatcher_pid int,
	OUT started_at timestamptz, OUT last_turn_at timestamptz, OUT turns bigint, OUT events_dispatched bigint,
	OUT ring_overflows bigint, OUT errors bigint, OUT last_error text, OUT problem text, OUT hint text)
RETURNS record AS 'MODULE_PATHNAME', 'evq_sql_status' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_status() IS
$$Health of this database's dispatcher. problem is NULL when all is well; otherwise it says what is wrong and hint what to do.
The counters start at zero with the server.$$;

CREATE FUNCTION @extschema@.evq_watch(duration interval DEFAULT '1 minute') RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_watch' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_watch(interval) IS
$$Has the dispatcher notify each change of an event's state on the channel evq_events for so long; call it again before that is
over. Returns until when. A message is {"seq", "event_id", "event_type", "flow_type", "flow_id", "status", "attempts_used",
"state_since"}, without flow_id where the event has left nothing (see retention); changes within 20 ms come together, and where
they are more than can be followed, the rest as {"seq", "skipped": n}.
Errors: EQ006 longer than an hour, 55000 no dispatcher serves the database.$$;

CREATE FUNCTION @extschema@.evq_version() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT extversion FROM pg_extension WHERE extname = 'evq' $$;
COMMENT ON FUNCTION @extschema@.evq_version() IS 'Version of the installed extension';

CREATE FUNCTION evq.announce_extension() RETURNS void
AS 'MODULE_PATHNAME', 'evq_sql_announce_extension' LANGUAGE c VOLATILE;
COMMENT ON FUNCTION evq.announce_extension() IS 'Asks the launcher, at commit, to start this database''s dispatcher';

SELECT evq.announce_extension();
-- From the JSON of HTTP requests to the values that the verbs take, and back.
-- A function of a route is evq_http_<verb>(target, query, headers, body): the variable part of its path, the query
-- string as an object of strings, the request's headers by lower-case name, and the body. It returns the answer.

CREATE FUNCTION evq.http_object(given jsonb, known text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	unknown text;
BEGIN
	IF given IS NULL THEN
		RETURN '{}';
	END IF;
	IF jsonb_typeof(given) <> 'object' THEN
		RAISE EXCEPTION 'the body is not a JSON object'
			USING ERRCODE = 'EQ006', HINT = 'Send an object, or no body where nothing is required.';
	END IF;
	SELECT k INTO unknown FROM jsonb_object_keys(given) k WHERE k <> ALL (known) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'unknown key "%"', left(unknown, 63)
			USING ERRCODE = 'EQ006',
				HINT = CASE WHEN known = '{}' THEN 'None is known here.' ELSE format('Known are: %s.', array_to_string(known, ', ')) END;
	END IF;
	RETURN given;
END
$$;
COMMENT ON FUNCTION evq.http_object(jsonb, text[]) IS 'The object, {} for NULL; EQ006 where it is none or has a key that is not known';

CREATE FUNCTION evq.http_refuse(key text, what text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION '% is not %', key, what
		USING ERRCODE = 'EQ006', HINT = format('Pass %s, or leave it out where it is not required.', what);
END
$$;
COMMENT ON FUNCTION evq.http_refuse(text, text) IS 'Raises EQ006 for a key whose value is not what it should be';

CREATE FUNCTION evq.http_text(given jsonb, key text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF jsonb_typeof(given -> key) NOT IN ('string', 'null') THEN
		PERFORM evq.http_refuse(key, 'a string');
	END IF;
	RETURN given ->> key;
END
$$;
COMMENT ON FUNCTION evq.http_text(jsonb, text) IS 'A string of an object; NULL where it has none';

CREATE FUNCTION evq.http_texts(given jsonb, key text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF coalesce(jsonb_typeof(given -> key), 'null') = 'null' THEN
		RETURN NULL;
	END IF;
	IF jsonb_typeof(given -> key) <> 'array' OR jsonb_path_exists(given -> key, 'strict $[*] ? (@.type() <> "string")') THEN
		PERFORM evq.http_refuse(key, 'an array of strings');
	END IF;
	RETURN ARRAY(SELECT jsonb_array_elements_text(given -> key));
END
$$;
COMMENT ON FUNCTION evq.http_texts(jsonb, text) IS 'An array of strings of an object; NULL where it has none';

-- A bigint does not fit every client's number, and the query string has strings only: digits in a string will do.
CREATE FUNCTION evq.http_integer(given jsonb, key text, lowest bigint, highest bigint) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	value text := given ->> key;
BEGIN
	IF value !~ '^-?[0-9]{1,19}$' OR value::numeric NOT BETWEEN lowest AND highest THEN
		PERFORM evq.http_refuse(key, format('a whole number from %s to %s', lowest, highest));
	END IF;
	RETURN value::bigint;
END
$$;
COMMENT ON FUNCTION evq.http_integer(jsonb, text, bigint, bigint) IS 'A whole number of an object, within bounds; NULL where it has none';

CREATE FUNCTION evq.http_permit(given jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN evq.http_integer(given, 'permit', '-9223372036854775808', '9223372036854775807');
COMMENT ON FUNCTION evq.http_permit(jsonb) IS 'The permit of an object; NULL where it has none';

CREATE FUNCTION evq.http_number(given jsonb, key text) RETURNS float8
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF jsonb_typeof(given -> key) NOT IN ('number', 'null') THEN
		PERFORM evq.http_refuse(key, 'a number');
	END IF;
	RETURN (given ->> key)::float8;
EXCEPTION WHEN numeric_value_out_of_range THEN
	PERFORM evq.http_refuse(key, 'a number');
END
$$;
COMMENT ON FUNCTION evq.http_number(jsonb, text) IS 'A number of an object; NULL where it has none';

CREATE FUNCTION evq.http_boolean(given jsonb, key text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF jsonb_typeof(given -> key) NOT IN ('boolean', 'null') THEN
		PERFORM evq.http_refuse(key, 'true or false');
	END IF;
	RETURN (given ->> key)::boolean;
END
$$;
COMMENT ON FUNCTION evq.http_boolean(jsonb, text) IS 'A boolean of an object; NULL where it has none';

CREATE FUNCTION evq.http_duration(value jsonb, key text) RETURNS interval
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	CASE coalesce(jsonb_typeof(value), 'null')
		WHEN 'null' THEN RETURN NULL;
		WHEN 'number' THEN RETURN (value #>> '{}')::float8 * interval '1 second';
		WHEN 'string' THEN RETURN (value #>> '{}')::interval;
		ELSE NULL;
	END CASE;
	PERFORM evq.http_refuse(key, 'a number of seconds or an interval such as "90 s"');
EXCEPTION WHEN data_exception THEN
	PERFORM evq.http_refuse(key, 'a number of seconds or an interval such as "90 s"');
END
$$;
COMMENT ON FUNCTION evq.http_duration(jsonb, text) IS 'An interval, or a number of seconds; NULL for null. key: named in the error';

CREATE FUNCTION evq.http_durations(given jsonb, key text) RETURNS interval[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF coalesce(jsonb_typeof(given -> key), 'null') = 'null' THEN
		RETURN NULL;
	END IF;
	IF jsonb_typeof(given -> key) <> 'array' THEN
		PERFORM evq.http_refuse(key, 'an array of intervals');
	END IF;
	RETURN ARRAY(SELECT evq.http_duration(element, key) FROM jsonb_array_elements(given -> key) element);
END
$$;
COMMENT ON FUNCTION evq.http_durations(jsonb, text) IS 'An array of intervals of an object; NULL where it has none';

CREATE FUNCTION evq.http_time(given jsonb, key text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN evq.http_text(given, key)::timestamptz;
EXCEPTION WHEN data_exception THEN
	PERFORM evq.http_refuse(key, 'a time such as "2030-01-31T12:00:00Z"');
END
$$;
COMMENT ON FUNCTION evq.http_time(jsonb, text) IS 'A time of an object; NULL where it has none';

CREATE FUNCTION evq.http_id(given text, key text DEFAULT 'the event id') RETURNS uuid
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF given !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
		PERFORM evq.http_refuse(key, 'a UUID');
	END IF;
	RETURN given::uuid;
END
$$;
COMMENT ON FUNCTION evq.http_id(text, text) IS 'A UUID from its text; NULL for NULL. key: named in the error';

CREATE FUNCTION evq.http_limit(query jsonb) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(evq.http_integer(query, 'limit', 1, 500), 50);
COMMENT ON FUNCTION evq.http_limit(jsonb) IS 'Length of a page: 1 to 500, by default 50';

-- In HTTP a state is called status and written in upper case.
CREATE FUNCTION evq.http_status(state evq.event_state) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN upper(state::text);
COMMENT ON FUNCTION evq.http_status(evq.event_state) IS 'A state as HTTP writes it';

CREATE FUNCTION evq.http_row(given jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (given - 'state'::text) || jsonb_build_object('status', upper(given ->> 'state'));
COMMENT ON FUNCTION evq.http_row(jsonb) IS 'A row with its state called status';
-- Routes that change events.

CREATE FUNCTION @extschema@.evq_http_publish(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	event jsonb := coalesce(body, '{}');
	key jsonb := headers -> 'idempotency-key';
BEGIN
	IF key IS NOT NULL AND jsonb_typeof(event) = 'object' THEN
		IF coalesce(event -> 'idempotency_key', 'null') NOT IN ('null', key) THEN
			RAISE EXCEPTION 'the header Idempotency-Key and idempotency_key differ'
				USING ERRCODE = 'EQ006', HINT = 'Send one of them.';
		END IF;
		event := event || jsonb_build_object('idempotency_key', key);
	END IF;
	RETURN (SELECT jsonb_build_object('event_id', id) FROM @extschema@.evq_publish_many(jsonb_build_array(event)) id);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_publish(text, jsonb, jsonb, jsonb) IS
'POST /api/events: publishes the body, whose keys are the arguments of evq_publish(). Errors: as evq_publish';

CREATE FUNCTION @extschema@.evq_http_publish_batch(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF headers ? 'idempotency-key' THEN
		RAISE EXCEPTION 'a batch has no Idempotency-Key'
			USING ERRCODE = 'EQ006', HINT = 'Give each event its own idempotency_key.';
	END IF;
	RETURN jsonb_build_object('event_ids',
		(SELECT coalesce(jsonb_agg(id ORDER BY place), '[]')
		 FROM @extschema@.evq_publish_many(coalesce(body, 'null')) WITH ORDINALITY published (id, place)));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_publish_batch(text, jsonb, jsonb, jsonb) IS
'POST /api/events/batch: publishes an array of events, all or none. Errors: as evq_publish_many';

CREATE FUNCTION @extschema@.evq_http_acquire(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{worker, permit_for}');
	answer jsonb;
BEGIN
	SELECT to_jsonb(a) INTO answer
	FROM @extschema@.evq_acquire(evq.http_id(target), evq.http_text(given, 'worker'),
								 evq.http_duration(given -> 'permit_for', 'permit_for')) a;
	RETURN jsonb_build_object('acquired', answer IS NOT NULL) || coalesce(answer, '{}');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_acquire(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/acquire: worker, permit_for. Errors: as evq_acquire';

CREATE FUNCTION @extschema@.evq_http_acquire_next(target text, query jsonb, headers jsonb, body jsonb,
	OUT answer jsonb, OUT wait_ms int, OUT channel text)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{max_events, event_types, worker, permit_for, wait}');
	longest interval := coalesce(evq.http_duration(given -> 'wait', 'wait'), '0');
	events jsonb;
BEGIN
	IF longest NOT BETWEEN '0' AND '60 s' THEN
		PERFORM evq.http_refuse('wait', 'a time from 0 to 60 seconds');
	END IF;
	SELECT jsonb_agg(to_jsonb(a)) INTO events
	FROM @extschema@.evq_acquire_next(target, coalesce(evq.http_integer(given, 'max_events', 1, 10000)::int, 1),
									  evq.http_texts(given, 'event_types'), evq.http_text(given, 'worker'),
									  evq.http_duration(given -> 'permit_for', 'permit_for')) a;
	answer := jsonb_build_object('events', coalesce(events, '[]'));
	IF events IS NULL AND longest > '0' THEN
		wait_ms := (extract(epoch FROM longest) * 1000)::int;
		channel := (SELECT f.channel FROM evq.flows f WHERE f.flow_type = target);
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_acquire_next(text, jsonb, jsonb, jsonb) IS
$$POST /api/flows/{flow}/acquire: max_events, event_types, worker, permit_for, wait. wait_ms and channel are set where there was
nothing and the client is willing to wait: ask again when the channel is notified, for so long at most. Errors: as evq_acquire_next.$$;

CREATE FUNCTION @extschema@.evq_http_succeed(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{permit, result, spinoffs}');
BEGIN
	RETURN jsonb_build_object('acknowledged', true, 'spinoff_event_ids',
		@extschema@.evq_succeed(evq.http_id(target), evq.http_permit(given),
								nullif(given -> 'result', 'null'), nullif(given -> 'spinoffs', 'null')));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_succeed(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/success: permit, result, spinoffs. Errors: as evq_succeed, EQ002 among them';

-- What a verb without an answer of its own answers: the state that it leads to.
CREATE FUNCTION evq.http_acknowledged(state evq.event_state) RETURNS jsonb
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN jsonb_build_object('acknowledged', true, 'status', evq.http_status(state));
COMMENT ON FUNCTION evq.http_acknowledged(evq.event_state) IS 'The answer of a verb that was done';

CREATE FUNCTION @extschema@.evq_http_fail(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{permit, error_message, stack_trace, retryable, retry_in}');
BEGIN
	RETURN evq.http_acknowledged(
		@extschema@.evq_fail(evq.http_id(target), evq.http_text(given, 'error_message'), evq.http_permit(given),
							 evq.http_text(given, 'stack_trace'), evq.http_boolean(given, 'retryable'),
							 evq.http_duration(given -> 'retry_in', 'retry_in')));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_fail(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/failure: permit, error_message, stack_trace, retryable, retry_in. Errors: as evq_fail, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_heartbeat(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{permit, extend_by}');
	permit bigint := evq.http_permit(given);
BEGIN
	IF permit IS NULL THEN
		PERFORM evq.http_refuse('permit', 'a number');
	END IF;
	RETURN (SELECT to_jsonb(h) FROM @extschema@.evq_heartbeat(ARRAY[evq.http_id(target)], ARRAY[permit],
															  evq.http_duration(given -> 'extend_by', 'extend_by')) h);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_heartbeat(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/heartbeat: permit, extend_by. Errors: as evq_heartbeat';

CREATE FUNCTION @extschema@.evq_http_snooze(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{permit, run_at}');
BEGIN
	PERFORM @extschema@.evq_snooze(evq.http_id(target), evq.http_permit(given), evq.http_time(given, 'run_at'));
	RETURN evq.http_acknowledged('awaiting_processing');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_snooze(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/snooze: permit, run_at. Errors: as evq_snooze, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_release(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM @extschema@.evq_release(evq.http_id(target), evq.http_permit(evq.http_object(body, '{permit}')));
	RETURN evq.http_acknowledged('awaiting_processing');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_release(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/release: permit. Errors: as evq_release, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_suspend(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{permit, timeout}');
BEGIN
	RETURN evq.http_acknowledged('suspended') || jsonb_build_object('state_due_at',
		@extschema@.evq_suspend(evq.http_id(target), evq.http_permit(given), evq.http_duration(given -> 'timeout', 'timeout')));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_suspend(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/suspend: permit, timeout. Errors: as evq_suspend, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_activate(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM @extschema@.evq_activate(evq.http_id(target), nullif(evq.http_object(body, '{payload_patch}') -> 'payload_patch', 'null'));
	RETURN evq.http_acknowledged('awaiting_processing');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_activate(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/activate: payload_patch. Errors: as evq_activate, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_cancel(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM @extschema@.evq_cancel(evq.http_id(target), evq.http_text(evq.http_object(body, '{reason}'), 'reason'));
	RETURN evq.http_acknowledged('canceled');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_cancel(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/cancel: reason. Errors: as evq_cancel, EQ002 among them';

CREATE FUNCTION @extschema@.evq_http_retry(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.http_object(body, '{}');
	PERFORM @extschema@.evq_retry(evq.http_id(target));
	RETURN evq.http_acknowledged('awaiting_processing');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_retry(text, jsonb, jsonb, jsonb) IS
'POST /api/events/{id}/retry. Errors: as evq_retry, EQ002 among them';
-- Routes that read. Lists come in pages: next is the value of after for the page that follows, null at the end.

CREATE FUNCTION @extschema@.evq_http_event(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	event jsonb;
BEGIN
	PERFORM evq.http_object(query, '{}');
	event := @extschema@.evq_event(evq.http_id(target));
	RETURN evq.http_row(event) || jsonb_build_object('children',
		(SELECT coalesce(jsonb_agg(evq.http_row(child) ORDER BY place), '[]')
		 FROM jsonb_array_elements(event -> 'children') WITH ORDINALITY children (child, place)));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_event(text, jsonb, jsonb, jsonb) IS
'GET /api/events/{id}: all that is known of an event. Errors: EQ002 no such event, EQ006 not a UUID';

-- The words of a search, as the other filters of a list of events:
-- flow:NAME type:NAME status:NAME id:ID payload.PATH:VALUE, and bare words, which are ids too.
CREATE FUNCTION evq.http_search(q text, OUT flow_types text[], OUT event_types text[], OUT statuses text[],
	OUT ids text[], OUT paths text[], OUT path_values text[])
RETURNS record LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	words text[] := regexp_split_to_array(btrim(q), '\s+');
	word text;
	part text[];
BEGIN
	IF cardinality(words) > 20 THEN
		RAISE EXCEPTION 'q has % words', cardinality(words) USING ERRCODE = 'EQ006', HINT = 'Search for at most 20.';
	END IF;
	FOREACH word IN ARRAY coalesce(words, '{}') LOOP
		part := regexp_match(word, '^(flow|type|status|id|payload\.[^:]+):(.+)$');
		CASE
			WHEN part[1] = 'flow' THEN flow_types := array_append(flow_types, part[2]);
			WHEN part[1] = 'type' THEN event_types := array_append(event_types, part[2]);
			WHEN part[1] = 'status' THEN statuses := array_append(statuses, part[2]);
			WHEN part[1] = 'id' THEN ids := array_append(ids, part[2]);
			WHEN part[1] IS NOT NULL THEN
				paths := array_append(paths, substr(part[1], 9));
				path_values := array_append(path_values, part[2]);
			WHEN word <> '' THEN ids := array_append(ids, word);
			ELSE NULL;
		END CASE;
	END LOOP;
END
$$;
COMMENT ON FUNCTION evq.http_search(text) IS 'Takes the words of a search apart; an id is that of an event, or a flow_id, with * at its end for the beginning of one';

CREATE FUNCTION evq.http_states(statuses text[]) RETURNS "char"[]
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	states evq.event_state[];
BEGIN
	states := lower(statuses::text);
	RETURN ARRAY(SELECT chr(n)::"char" FROM generate_series(97, 122) n WHERE evq.state_name(chr(n)::"char") = ANY (states));
EXCEPTION WHEN data_exception THEN
	RAISE EXCEPTION 'unknown status in %', array_to_string(statuses, ',')
		USING ERRCODE = 'EQ006', HINT = format('Known are: %s.', upper(array_to_string(enum_range(NULL::evq.event_state), ', ')));
END
$$;
COMMENT ON FUNCTION evq.http_states(text[]) IS 'Stored codes of states by the names that HTTP gives them; EQ006 for another name';

-- evq.events cannot be read in the order of its ids, but each of its two tables can; so the ids are found there. Whoever
-- may call this may read evq.events and evq_event(), and it tells nothing else. OFFSET 0 makes each id look up its row.
-- A filter on payloads reads the payload of every event that passes the others, so one page examines a bounded number.
CREATE FUNCTION @extschema@.evq_http_events(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(query, '{flow_type, event_type, status, flow_id, q, after, limit}');
	page int := evq.http_limit(given);
	search record := evq.http_search(given ->> 'q');
	examine int := CASE WHEN search.paths IS NULL THEN page ELSE 2000 END;
	filter text := format($filter$
			SELECT e.event_id FROM %%s e
			WHERE ($1 IS NULL OR e.event_id < $1)
				AND ($2 = '{}' OR e.flow_no IN (SELECT f.flow_no FROM evq.flow f WHERE f.flow_type = ALL ($2)))
				AND ($3 = '{}' OR e.event_type_no IN (SELECT t.event_type_no FROM evq.event_type t WHERE t.event_type = ALL ($3)))
				AND ($4 IS NULL OR e.state = ANY ($4)) AND ($5 IS NULL OR e.state = ANY ($5))
				AND ($6 IS NULL OR e.flow_id = $6)
				AND ($7 IS NULL OR NOT EXISTS (
					SELECT FROM unnest($7) id WHERE e.event_id::text <> lower(id) AND e.flow_id <> id
						AND NOT (right(id, 1) = '*' AND starts_with(e.flow_id, rtrim(id, '*')))))
			ORDER BY e.event_id DESC
			LIMIT %s$filter$, examine);
	answer jsonb;
BEGIN
	EXECUTE format($events$
		WITH examined AS MATERIALIZED (
			(%s) UNION ALL (%s) ORDER BY event_id DESC LIMIT %s),
		found AS MATERIALIZED (
			SELECT x.event_id FROM examined x
			WHERE $8 IS NULL OR NOT EXISTS (
				SELECT FROM unnest($8, $9) wanted (path, value)
				WHERE @extschema@.evq_event(x.event_id) -> 'payload' #>> string_to_array(wanted.path, '.') IS DISTINCT FROM wanted.value)
			ORDER BY x.event_id DESC
			LIMIT $10)
		SELECT jsonb_build_object(
			'events', (SELECT coalesce(jsonb_agg(b.event ORDER BY f.event_id DESC), '[]') FROM found f,
					   LATERAL (SELECT evq.http_row(to_jsonb(e)) AS event FROM evq.events e WHERE e.event_id = f.event_id OFFSET 0) b),
			'next', CASE WHEN (SELECT count(*) FROM found) = $10 THEN (SELECT f.event_id FROM found f ORDER BY f.event_id LIMIT 1)
						 WHEN (SELECT count(*) FROM examined) = %3$s THEN (SELECT x.event_id FROM examined x ORDER BY x.event_id LIMIT 1) END)
		$events$, format(filter, 'evq.event'), format(filter, 'evq.event_history'), examine)
	INTO answer
	USING evq.http_id(given ->> 'after', 'after'), array_remove(search.flow_types || (given ->> 'flow_type'), NULL),
		array_remove(search.event_types || (given ->> 'event_type'), NULL), evq.http_states(string_to_array(given ->> 'status', ',')),
		evq.http_states(search.statuses), given ->> 'flow_id', search.ids, search.paths, search.path_values, page;
	RETURN answer;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_events(text, jsonb, jsonb, jsonb) IS
$$GET /api/events: events, newest first; flow_type, event_type, status (several with commas), flow_id, q, after, limit.
With a filter on payloads a page may be short and yet have a next one. Errors: EQ006 bad argument.$$;

CREATE FUNCTION @extschema@.evq_http_pending(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	page int := evq.http_limit(evq.http_object(query, '{limit}'));
BEGIN
	RETURN jsonb_build_object('events',
		(SELECT coalesce(jsonb_agg(evq.http_row(to_jsonb(p))), '[]') FROM @extschema@.evq_pending(target, page) p));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_pending(text, jsonb, jsonb, jsonb) IS
'GET /api/events/pending/{flow}: the events that have been due the longest; limit. Errors: EQ001 unknown flow, EQ006 bad argument';

CREATE FUNCTION @extschema@.evq_http_counts(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(query, '{flow_type}');
BEGIN
	RETURN jsonb_build_object('counts',
		(SELECT coalesce(jsonb_agg(evq.http_row(to_jsonb(c)) ORDER BY c.flow_type, c.event_type, c.state), '[]')
		 FROM @extschema@.evq_counts(given ->> 'flow_type') c));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_counts(text, jsonb, jsonb, jsonb) IS
'GET /api/counts: live events by flow, type and status; flow_type. Errors: EQ006 unknown key';

CREATE FUNCTION @extschema@.evq_http_flows(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(query, '{after, limit}');
	page int := evq.http_limit(given);
BEGIN
	RETURN (
		SELECT jsonb_build_object('flows', coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.flow_type), '[]'),
								  'next', CASE WHEN count(*) = page THEN max(f.flow_type) END)
		FROM (SELECT * FROM evq.flows l WHERE given ->> 'after' IS NULL OR l.flow_type > given ->> 'after'
			  ORDER BY l.flow_type LIMIT page) f);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_flows(text, jsonb, jsonb, jsonb) IS
'GET /api/flows: the flows by name; after, limit. Errors: EQ006 bad argument';

CREATE FUNCTION @extschema@.evq_http_event_types(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(query, '{flow_type, after, limit}');
	page int := evq.http_limit(given);
BEGIN
	RETURN (
		SELECT jsonb_build_object('event_types', coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.event_type), '[]'),
								  'next', CASE WHEN count(*) = page THEN max(t.event_type) END)
		FROM (SELECT * FROM evq.event_types l
			  WHERE (given ->> 'after' IS NULL OR l.event_type > given ->> 'after')
				AND (given ->> 'flow_type' IS NULL OR l.flow_type = given ->> 'flow_type')
			  ORDER BY l.event_type LIMIT page) t);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_event_types(text, jsonb, jsonb, jsonb) IS
'GET /api/event-types: the event types by name; flow_type, after, limit. Errors: EQ006 bad argument';

-- As evq_http_events: the newest errors are found in their table.
CREATE FUNCTION @extschema@.evq_http_errors(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(query, '{flow_type, event_type, event_id, after, limit}');
	page int := evq.http_limit(given);
	examine int := CASE WHEN given ?| '{flow_type, event_type}' THEN 2000 ELSE page END;
	after_parts text[] := regexp_match(given ->> 'after', '^([0-9]{1,18})_([-0-9a-f]{36})_([0-9]{1,5})$');
	answer jsonb;
BEGIN
	IF given ? 'after' AND after_parts IS NULL THEN
		PERFORM evq.http_refuse('after', 'the "next" of a page');
	END IF;
	EXECUTE $errors$
		WITH examined AS MATERIALIZED (
			SELECT r.* FROM evq.event_error r
			WHERE ($1 IS NULL OR (r.failed_at, r.event_id, r.attempt) < ($1, $2, $3)) AND ($4 IS NULL OR r.event_id = $4)
			ORDER BY r.failed_at DESC, r.event_id DESC, r.attempt DESC
			LIMIT $8),
		found AS MATERIALIZED (
			SELECT x.failed_at, x.event_id, x.attempt, evq.http_row(
				jsonb_build_object('event_type', b.event_type, 'flow_type', b.flow_type, 'flow_id', b.flow_id, 'state', b.state) || to_jsonb(x)) AS error
			FROM examined x, LATERAL (SELECT e.* FROM evq.events e WHERE e.event_id = x.event_id OFFSET 0) b
			WHERE ($5 IS NULL OR b.flow_type = $5) AND ($6 IS NULL OR b.event_type = $6)
			ORDER BY x.failed_at DESC, x.event_id DESC, x.attempt DESC
			LIMIT $7),
		last AS (
			(SELECT f.failed_at, f.event_id, f.attempt FROM found f
			 WHERE (SELECT count(*) FROM found) = $7 ORDER BY 1, 2, 3 LIMIT 1)
			UNION ALL
			(SELECT x.failed_at, x.event_id, x.attempt FROM examined x
			 WHERE (SELECT count(*) FROM examined) = $8 ORDER BY 1, 2, 3 LIMIT 1)
			ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT 1)
		SELECT jsonb_build_object(
			'errors', (SELECT coalesce(jsonb_agg(f.error ORDER BY f.failed_at DESC, f.event_id DESC, f.attempt DESC), '[]') FROM found f),
			'next', (SELECT format('%s_%s_%s', (extract(epoch FROM l.failed_at) * 1000000)::bigint, l.event_id, l.attempt) FROM last l))
		$errors$
	INTO answer
	USING timestamptz 'epoch' + after_parts[1]::bigint * interval '1 microsecond', evq.http_id(after_parts[2], 'after'),
		after_parts[3]::int, evq.http_id(given ->> 'event_id', 'event_id'), given ->> 'flow_type', given ->> 'event_type', page, examine;
	RETURN answer;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_errors(text, jsonb, jsonb, jsonb) IS
'GET /api/errors: failed attempts, newest first; flow_type, event_type, event_id, after, limit. Errors: EQ006 bad argument';

CREATE FUNCTION @extschema@.evq_http_health(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_build_object(
		'status', CASE WHEN s.problem IS NULL THEN 'ok' ELSE 'degraded' END, 'database', 'up',
		'version', @extschema@.evq_version(),
		'engine', jsonb_build_object('running', s.running, 'last_turn_at', s.last_turn_at, 'problem', s.problem, 'hint', s.hint))
	FROM @extschema@.evq_status() s
$$;
COMMENT ON FUNCTION @extschema@.evq_http_health(text, jsonb, jsonb, jsonb) IS
'GET /health: the engine as evq_status() sees it. Errors: none of its own';

-- Configuration.

CREATE FUNCTION evq.http_configured(event_type text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_jsonb(t) FROM evq.event_types t WHERE t.event_type = http_configured.event_type $$;
COMMENT ON FUNCTION evq.http_configured(text) IS 'The row of an event type';

CREATE FUNCTION @extschema@.evq_http_configure(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{flow_type, max_attempts, lifespan, attempt_delays, backoff_factor, max_delay, jitter,
		attempt_timeout, on_suspend_timeout, on_fail_event_type, priority, max_payload_bytes, retention}');
BEGIN
	PERFORM @extschema@.evq_configure(target,
		flow_type => evq.http_text(given, 'flow_type'),
		max_attempts => evq.http_integer(given, 'max_attempts', -2147483648, 2147483647)::int,
		lifespan => evq.http_duration(given -> 'lifespan', 'lifespan'),
		attempt_delays => evq.http_durations(given, 'attempt_delays'),
		backoff_factor => evq.http_number(given, 'backoff_factor'),
		max_delay => evq.http_duration(given -> 'max_delay', 'max_delay'),
		jitter => evq.http_number(given, 'jitter'),
		attempt_timeout => evq.http_duration(given -> 'attempt_timeout', 'attempt_timeout'),
		on_suspend_timeout => evq.http_text(given, 'on_suspend_timeout'),
		on_fail_event_type => evq.http_text(given, 'on_fail_event_type'),
		priority => evq.http_integer(given, 'priority', -2147483648, 2147483647)::int,
		max_payload_bytes => evq.http_integer(given, 'max_payload_bytes', -2147483648, 2147483647)::int,
		retention => evq.http_duration(given -> 'retention', 'retention'));
	RETURN evq.http_configured(target);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_configure(text, jsonb, jsonb, jsonb) IS
'PUT /api/event-types/{type}: makes or changes an event type, as evq_configure() does. Errors: as evq_configure';

CREATE FUNCTION @extschema@.evq_http_suspend_event_type(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.http_object(body, '{}');
	PERFORM @extschema@.evq_suspend_event_type(target);
	RETURN evq.http_configured(target);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_suspend_event_type(text, jsonb, jsonb, jsonb) IS
'POST /api/event-types/{type}/suspend. Errors: EQ001 unknown event type';

CREATE FUNCTION @extschema@.evq_http_unsuspend_event_type(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.http_object(body, '{}');
	PERFORM @extschema@.evq_unsuspend_event_type(target);
	RETURN evq.http_configured(target);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_unsuspend_event_type(text, jsonb, jsonb, jsonb) IS
'POST /api/event-types/{type}/unsuspend. Errors: EQ001 unknown event type';
-- The route that configures a flow.

CREATE FUNCTION @extschema@.evq_http_configure_flow(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(body, '{channel, max_dispatched, max_processing, dispatch_timeout, delivery, ordered, notify_payload}');
BEGIN
	PERFORM @extschema@.evq_configure_flow(target,
		channel => evq.http_text(given, 'channel'),
		max_dispatched => evq.http_integer(given, 'max_dispatched', -2147483648, 2147483647)::int,
		max_processing => evq.http_integer(given, 'max_processing', -2147483648, 2147483647)::int,
		dispatch_timeout => evq.http_duration(given -> 'dispatch_timeout', 'dispatch_timeout'),
		delivery => evq.http_text(given, 'delivery'),
		ordered => evq.http_boolean(given, 'ordered'),
		notify_payload => evq.http_boolean(given, 'notify_payload'));
	RETURN (SELECT to_jsonb(f) FROM evq.flows f WHERE f.flow_type = target);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_configure_flow(text, jsonb, jsonb, jsonb) IS
'PUT /api/flows/{flow}: makes or changes a flow, as evq_configure_flow() does, and returns it. Errors: as evq_configure_flow';
-- Routes of schedules.

CREATE FUNCTION @extschema@.evq_http_schedules(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq.http_object(query, '{after, limit}');
	page int := evq.http_limit(given);
BEGIN
	RETURN (
		SELECT jsonb_build_object('schedules', coalesce(jsonb_agg(evq.http_schedule(s) ORDER BY s.name), '[]'),
								  'next', CASE WHEN count(*) = page THEN max(s.name) END)
		FROM (SELECT * FROM evq.schedules l WHERE given ->> 'after' IS NULL OR l.name > given ->> 'after' ORDER BY l.name LIMIT page) s);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_schedules(text, jsonb, jsonb, jsonb) IS
'GET /api/schedules: the schedules by name; after, limit. Errors: EQ006 bad argument';

CREATE FUNCTION evq.http_schedule(schedule evq.schedules) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (to_jsonb(schedule) - 'last_state'::text) || jsonb_build_object('last_status', evq.http_status(schedule.last_state)) $$;
COMMENT ON FUNCTION evq.http_schedule(evq.schedules) IS 'A schedule as HTTP shows it';

CREATE FUNCTION evq.http_schedule_named(name text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.http_schedule(s) FROM evq.schedules s WHERE s.name = http_schedule_named.name $$;
COMMENT ON FUNCTION evq.http_schedule_named(text) IS 'The schedule of that name as HTTP shows it';

CREATE FUNCTION @extschema@.evq_http_pause_schedule(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.http_object(body, '{}');
	PERFORM @extschema@.evq_pause_schedule(target);
	RETURN evq.http_schedule_named(target);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_pause_schedule(text, jsonb, jsonb, jsonb) IS
'POST /api/schedules/{name}/pause. Errors: as evq_pause_schedule';

CREATE FUNCTION @extschema@.evq_http_resume_schedule(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.http_object(body, '{}');
	PERFORM @extschema@.evq_resume_schedule(target);
	RETURN evq.http_schedule_named(target);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_resume_schedule(text, jsonb, jsonb, jsonb) IS
'POST /api/schedules/{name}/resume. Errors: as evq_resume_schedule';

CREATE FUNCTION @extschema@.evq_http_run_schedule(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.http_object(body, '{}');
	RETURN jsonb_build_object('event_id', @extschema@.evq_run_schedule(target));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_run_schedule(text, jsonb, jsonb, jsonb) IS
'POST /api/schedules/{name}/run: publishes its event now. Errors: as evq_run_schedule';
-- Model Context Protocol: what is refused. The modern era is that of 2026-07-28, where each request says its version in
-- params._meta; the legacy era is that of the versions before, which begin with initialize.

CREATE FUNCTION evq.mcp_versions(OUT modern text[], OUT legacy text[]) RETURNS record
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT '{2026-07-28}'::text[], '{2025-11-25, 2025-06-18, 2025-03-26}'::text[] $$;
COMMENT ON FUNCTION evq.mcp_versions() IS 'Versions of the protocol that evq_mcp() speaks, the newest first';

CREATE FUNCTION evq.mcp_error(id jsonb, code int, message text, data json DEFAULT NULL) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT json_strip_nulls(json_build_object('jsonrpc', '2.0', 'id', id,
	'error', json_build_object('code', code, 'message', message, 'data', data)))
$$;
COMMENT ON FUNCTION evq.mcp_error(jsonb, int, text, json) IS 'An error response of JSON-RPC; id NULL = the request had no readable one';

CREATE FUNCTION evq.mcp_unsupported_version(id jsonb, requested text) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT evq.mcp_error(id, -32022, 'Unsupported protocol version',
	json_build_object('supported', to_json(v.modern || v.legacy), 'requested', left(requested, 100)))
FROM evq.mcp_versions() v
$$;
COMMENT ON FUNCTION evq.mcp_unsupported_version(jsonb, text) IS 'The error response to a version that evq_mcp() does not speak';

-- In HTTP the headers repeat what the body says, so that whoever routes by them and whoever executes the body agree.
CREATE FUNCTION evq.mcp_modern_refusal(id jsonb, method text, params jsonb, headers jsonb) RETURNS json
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	version jsonb := params #> '{_meta,io.modelcontextprotocol/protocolVersion}';
	header text;
	wanted text;
	sent text;
BEGIN
	IF jsonb_typeof(version) IS DISTINCT FROM 'string' THEN
		RETURN evq.mcp_error(id, -32602, 'params._meta["io.modelcontextprotocol/protocolVersion"] must be a string');
	ELSIF NOT version #>> '{}' = ANY ((evq.mcp_versions()).modern) THEN
		RETURN evq.mcp_unsupported_version(id, version #>> '{}');
	ELSIF jsonb_typeof(params #> '{_meta,io.modelcontextprotocol/clientCapabilities}') IS DISTINCT FROM 'object' THEN
		RETURN evq.mcp_error(id, -32602, 'params._meta["io.modelcontextprotocol/clientCapabilities"] must be an object');
	END IF;
	IF headers IS NULL THEN
		RETURN NULL;
	END IF;
	FOR header, wanted IN VALUES
		('MCP-Protocol-Version', version #>> '{}'),
		('Mcp-Method', method),
		('Mcp-Name', CASE method WHEN 'tools/call' THEN params ->> 'name' WHEN 'resources/read' THEN params ->> 'uri' END)
	LOOP
		sent := headers ->> lower(header);
		IF sent IS NULL AND wanted IS NOT NULL THEN
			RETURN evq.mcp_error(id, -32020, format('Header mismatch: %s is missing', header));
		ELSIF sent LIKE '=?base64?%?=' AND header = 'Mcp-Name' THEN
			wanted := '=?base64?' || translate(encode(convert_to(wanted, 'UTF8'), 'base64'), E'\n', '') || '?=';
		END IF;
		IF sent <> wanted THEN
			RETURN evq.mcp_error(id, -32020, format('Header mismatch: %s does not match the body', header));
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION evq.mcp_modern_refusal(jsonb, text, jsonb, jsonb) IS
	'Why a request of the modern era is refused before its method is looked at: an error response, or NULL; headers NULL = not by HTTP';

-- The keywords of JSON Schema that the tools use, and no other.
CREATE FUNCTION evq.mcp_violation(value jsonb, schema jsonb, path text DEFAULT '') RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	subject text := CASE path WHEN '' THEN 'arguments' ELSE format('argument "%s"', path) END;
	kind text := jsonb_typeof(value);
	wanted text := schema ->> 'type';
	content text := value #>> '{}';
	member text;
	item jsonb;
	place bigint;
	violation text;
BEGIN
	IF kind = 'number' AND wanted = 'integer' THEN
		kind := CASE WHEN value::numeric % 1 = 0 THEN 'integer' ELSE 'fraction' END;
	END IF;
	IF kind <> wanted THEN
		RETURN format('%s must be of type %s, not %s', subject, wanted, kind);
	END IF;
	IF NOT schema -> 'enum' @> value THEN
		RETURN format('%s must be one of %s', subject, schema ->> 'enum');
	END IF;
	CASE kind
	WHEN 'integer' THEN
		IF value::numeric < (schema -> 'minimum')::numeric OR value::numeric > (schema -> 'maximum')::numeric THEN
			RETURN format('%s must be from %s to %s', subject, schema -> 'minimum', schema -> 'maximum');
		END IF;
	WHEN 'string' THEN
		IF length(content) < (schema -> 'minLength')::int OR length(content) > (schema -> 'maxLength')::int THEN
			RETURN format('%s must have %s to %s characters', subject, schema -> 'minLength', schema -> 'maxLength');
		ELSIF content !~ (schema ->> 'pattern') THEN
			RETURN format('%s must match the pattern %s', subject, schema ->> 'pattern');
		ELSIF content !~* (CASE schema ->> 'format'
			WHEN 'uuid' THEN '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
			WHEN 'date-time' THEN '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)$' END) THEN
			RETURN format('%s must have the format %s', subject, schema ->> 'format');
		END IF;
	WHEN 'array' THEN
		IF jsonb_array_length(value) < (schema -> 'minItems')::int OR jsonb_array_length(value) > (schema -> 'maxItems')::int THEN
			RETURN format('%s must have %s to %s items', subject, schema -> 'minItems', schema -> 'maxItems');
		END IF;
		IF schema ? 'items' THEN
			FOR item, place IN SELECT * FROM jsonb_array_elements(value) WITH ORDINALITY LOOP
				violation := evq.mcp_violation(item, schema -> 'items', format('%s[%s]', path, place - 1));
				EXIT WHEN violation IS NOT NULL;
			END LOOP;
		END IF;
	WHEN 'object' THEN
		FOR member IN SELECT jsonb_array_elements_text(schema -> 'required') LOOP
			IF NOT value ? member THEN
				RETURN format('argument "%s" is missing', concat_ws('.', nullif(path, ''), member));
			END IF;
		END LOOP;
		FOR member, item IN SELECT * FROM jsonb_each(value) LOOP
			IF schema -> 'properties' ? member THEN
				violation := evq.mcp_violation(item, schema -> 'properties' -> member, concat_ws('.', nullif(path, ''), member));
			ELSIF schema -> 'additionalProperties' = 'false' THEN
				violation := format('unknown argument "%s"', concat_ws('.', nullif(path, ''), left(member, 100)));
			END IF;
			EXIT WHEN violation IS NOT NULL;
		END LOOP;
	ELSE
		NULL;
	END CASE;
	RETURN violation;
END
$$;
COMMENT ON FUNCTION evq.mcp_violation(jsonb, jsonb, text) IS
	'How a value violates a JSON Schema, with the path to the place; NULL = it does not';
-- Model Context Protocol: what a tool is, and those that publish and work.

CREATE TYPE evq.mcp_tool AS (
	name text, title text, description text, writes boolean, destructive boolean, idempotent boolean,
	input_schema json, output_schema json, statement text);
COMMENT ON TYPE evq.mcp_tool IS
	'A tool of evq_mcp(): statement is the SQL that answers a call, by the function of the HTTP route that does the same; $1 are the arguments, checked against input_schema';

CREATE FUNCTION evq.mcp_worker_tools() RETURNS SETOF evq.mcp_tool
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 4
AS $tools$
VALUES
('publish_event', 'Publish an event',
	'Publishes one event, that is a job, which workers of its flow will be offered. With an idempotency_key a repeated call returns the first event.',
	true, false, false,
$${
  "type": "object",
  "properties": {
    "event_type": {"type": "string", "description": "A configured event type; resources config://{eventType}"},
    "flow_type": {"type": "string", "description": "The event type's flow; may be left out, and a wrong one is an error"},
    "flow_id": {"type": "string", "minLength": 1, "maxLength": 255, "description": "What the events of one case have in common, such as an order number"},
    "payload": {"description": "Any JSON value, {} if left out"},
    "on_fail_event_type": {"type": "string", "description": "Event type published when this event fails for good or expires"},
    "run_at": {"type": "string", "format": "date-time", "description": "Not before this time; now if left out"},
    "priority": {"type": "integer", "minimum": -32768, "maximum": 32767, "description": "Higher is offered earlier; the event type's if left out"},
    "idempotency_key": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Unique per event type"},
    "headers": {"type": "object", "description": "Metadata for workers"}
  },
  "required": ["event_type", "flow_id"],
  "additionalProperties": false
}$$::json,
$${
  "type": "object",
  "properties": {"event_id": {"type": "string", "format": "uuid"}},
  "required": ["event_id"]
}$$::json,
$$SELECT @extschema@.evq_http_publish(NULL, NULL, NULL, $1)$$),

('acquire_processing_permit', 'Acquire the permit to process an event',
	'Takes one event for processing. acquired false means not granted: another worker has it, it is not due, its type is suspended, or it is finished. The permit is needed to report the outcome, before attempt_due_at.',
	true, false, false,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "worker": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Name of the worker, shown to operators"},
    "permit_for": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "How long the permit holds, an ISO 8601 duration such as PT5M; the event type's attempt_timeout if left out"}
  },
  "required": ["event_id"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "acquired": {"type": "boolean"},
    "event_id": {"type": "string", "format": "uuid"},
    "permit": {"type": "integer", "description": "Proof of the acquisition, for the report"},
    "event_type": {"type": "string"},
    "flow_type": {"type": "string"},
    "flow_id": {"type": "string"},
    "attempt": {"type": "integer"},
    "attempts_left": {"type": "integer"},
    "payload": {},
    "attempt_due_at": {"type": "string", "format": "date-time", "description": "When the permit runs out"},
    "due_at": {"type": "string", "format": "date-time", "description": "End of the event's lifespan"}
  },
  "required": ["acquired"]
}$$,
$$SELECT @extschema@.evq_http_acquire($1 ->> 'event_id', NULL, NULL, $1 - 'event_id')$$),

('report_success', 'Report success',
	'Ends an acquired event as succeeded and publishes its spinoff events, all or nothing. Reporting the same success again with the same permit is not an error.',
	true, false, true,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "permit": {"type": "integer", "minimum": 0, "maximum": 9007199254740991, "description": "From acquire_processing_permit; the attempt now running, whoever runs it, if left out"},
    "result": {"description": "Any JSON value, kept with the event"},
    "spinoffs": {
      "type": "array",
      "description": "Events that follow from this one, in the same flow with the same flow_id",
      "items": {
        "type": "object",
        "properties": {
          "event_type": {"type": "string"},
          "payload": {"description": "Any JSON value, {} if left out"},
          "on_fail_event_type": {"type": "string"},
          "run_at": {"type": "string", "format": "date-time"},
          "priority": {"type": "integer", "minimum": -32768, "maximum": 32767},
          "headers": {"type": "object"}
        },
        "required": ["event_type"],
        "additionalProperties": false
      }
    }
  },
  "required": ["event_id"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "acknowledged": {"type": "boolean"},
    "spinoff_event_ids": {"type": "array", "items": {"type": "string", "format": "uuid"}}
  },
  "required": ["acknowledged", "spinoff_event_ids"]
}$$,
$$SELECT @extschema@.evq_http_succeed($1 ->> 'event_id', NULL, NULL, $1 - 'event_id')$$),

('report_failure', 'Report failure',
	'Ends the running attempt of an acquired event as failed. The engine decides what follows: another attempt (status AWAITING_PROCESSING), or the end (FAILED) with the on-fail event.',
	true, false, false,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "error_message": {"type": "string", "description": "What went wrong"},
    "permit": {"type": "integer", "minimum": 0, "maximum": 9007199254740991, "description": "From acquire_processing_permit; the attempt now running, whoever runs it, if left out"},
    "stack_trace": {"type": "string"},
    "retryable": {"type": "boolean", "description": "false = no further attempt; true if left out"},
    "retry_in": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "Delay of the next attempt in place of the configured one, an ISO 8601 duration such as PT30S"}
  },
  "required": ["event_id", "error_message"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "acknowledged": {"type": "boolean"},
    "status": {"type": "string", "enum": ["AWAITING_PROCESSING", "FAILED"]}
  },
  "required": ["acknowledged", "status"]
}$$,
$$SELECT @extschema@.evq_http_fail($1 ->> 'event_id', NULL, NULL, $1 - 'event_id')$$)
$tools$;
COMMENT ON FUNCTION evq.mcp_worker_tools() IS 'Tools of evq_mcp() that publish and work';
-- Model Context Protocol: the tools that operate.

CREATE FUNCTION evq.mcp_operator_tools() RETURNS SETOF evq.mcp_tool
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 5
AS $tools$
VALUES
('suspend_event_type', 'Suspend an event type',
	'Stops the dispatch and the acquisition of all events of a type; events published meanwhile wait. Returns its configuration.',
	true, true, true,
$${
  "type": "object",
  "properties": {"event_type": {"type": "string"}},
  "required": ["event_type"],
  "additionalProperties": false
}$$::json,
$${
  "type": "object",
  "properties": {"event_type": {"type": "string"}, "is_suspended": {"type": "boolean"}},
  "required": ["event_type", "is_suspended"]
}$$::json,
$$SELECT @extschema@.evq_http_suspend_event_type($1 ->> 'event_type', NULL, NULL, NULL)$$),

('unsuspend_event_type', 'Unsuspend an event type',
	'Lets the events of a suspended type go on. Returns its configuration.',
	true, false, true,
$${
  "type": "object",
  "properties": {"event_type": {"type": "string"}},
  "required": ["event_type"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {"event_type": {"type": "string"}, "is_suspended": {"type": "boolean"}},
  "required": ["event_type", "is_suspended"]
}$$,
$$SELECT @extschema@.evq_http_unsuspend_event_type($1 ->> 'event_type', NULL, NULL, NULL)$$),

('update_lifecycle_config', 'Change the configuration of an event type',
	'Changes what is passed and leaves the rest; a new event type needs flow_type. Takes effect at once, for events already published too. Returns the configuration as it is then. Durations are ISO 8601, such as PT30S, PT1H or P7D.',
	true, true, true,
$${
  "type": "object",
  "properties": {
    "event_type": {"type": "string"},
    "flow_type": {"type": "string", "description": "The flow its events belong to; made if it is new"},
    "max_attempts": {"type": "integer", "minimum": 1, "maximum": 10000, "description": "Attempts in all, the first one included"},
    "lifespan": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "Time for all attempts together"},
    "attempt_delays": {"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$"}, "description": "Delay before attempt 1, 2, ...; the last one repeats"},
    "backoff_factor": {"type": "number", "description": "Beyond attempt_delays each delay is the one before times this, 1 to 100"},
    "max_delay": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "No delay beyond attempt_delays is longer than this"},
    "jitter": {"type": "number", "description": "Delays beyond attempt_delays move at random by up to this share, 0 to 1"},
    "attempt_timeout": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "How long a permit holds without heartbeat"},
    "on_suspend_timeout": {"type": "string", "enum": ["expire", "retry"], "description": "What becomes of a suspended event whose trigger never came"},
    "on_fail_event_type": {"type": "string", "description": "Published when an event fails for good or expires; empty = none"},
    "priority": {"type": "integer", "minimum": -32768, "maximum": 32767, "description": "Higher is offered earlier"},
    "max_payload_bytes": {"type": "integer", "minimum": 2, "maximum": 268435455},
    "retention": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "How long a finished event is kept; with PT0S one that succeeds leaves nothing"}
  },
  "required": ["event_type"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "event_type": {"type": "string"},
    "flow_type": {"type": "string"},
    "max_attempts": {"type": "integer"},
    "lifespan": {"type": "string"},
    "attempt_delays": {"type": "array", "items": {"type": "string"}},
    "attempt_timeout": {"type": "string"},
    "is_suspended": {"type": "boolean"},
    "priority": {"type": "integer"},
    "retention": {"type": "string"}
  },
  "required": ["event_type", "flow_type", "max_attempts", "lifespan", "attempt_delays", "attempt_timeout", "is_suspended", "priority", "retention"]
}$$,
$$SELECT @extschema@.evq_http_configure($1 ->> 'event_type', NULL, NULL, $1 - 'event_type')$$),

('cancel_event', 'Cancel an event',
	'Cancels a live event for good; a worker that holds it learns so. An event canceled already stays as it is.',
	true, true, true,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "reason": {"type": "string", "description": "Kept with the event"}
  },
  "required": ["event_id"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {"acknowledged": {"type": "boolean"}, "status": {"type": "string", "enum": ["CANCELED"]}},
  "required": ["acknowledged", "status"]
}$$,
$$SELECT @extschema@.evq_http_cancel($1 ->> 'event_id', NULL, NULL, $1 - 'event_id')$$),

('retry_event', 'Retry an event',
	'Brings a failed, expired or canceled event back, due now, with fresh attempts and lifespan.',
	true, false, false,
$${
  "type": "object",
  "properties": {"event_id": {"type": "string", "format": "uuid"}},
  "required": ["event_id"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {"acknowledged": {"type": "boolean"}, "status": {"type": "string", "enum": ["AWAITING_PROCESSING"]}},
  "required": ["acknowledged", "status"]
}$$,
$$SELECT @extschema@.evq_http_retry($1 ->> 'event_id', NULL, NULL, NULL)$$)
$tools$;
COMMENT ON FUNCTION evq.mcp_operator_tools() IS 'Tools of evq_mcp() that operate';
-- Model Context Protocol: what can be read, by tools and as resources.

CREATE FUNCTION evq.mcp_queues() RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object(
	'engine', (SELECT jsonb_strip_nulls(to_jsonb(s)) FROM @extschema@.evq_status() s),
	'queues', (
		SELECT coalesce(jsonb_agg(jsonb_build_object('flow_type', q.flow_type, 'event_type', q.event_type, 'status', upper(q.state::text),
				'events', q.events, 'due', q.due, 'longest_in_state_seconds', extract(epoch FROM q.longest_in_state),
				'oldest_seconds', extract(epoch FROM q.oldest)) ORDER BY q.flow_type, q.event_type, q.state), '[]')
		FROM evq.queue q))
$$;
COMMENT ON FUNCTION evq.mcp_queues() IS 'Health of the engine, and the live events by flow, type and status';

CREATE FUNCTION evq.mcp_reading_tools() RETURNS SETOF evq.mcp_tool
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 3
AS $tools$
VALUES
('get_event', 'Get an event',
	'All that is known of one event: status, times, payload, errors of its attempts, parent and children.',
	false, false, true,
$${
  "type": "object",
  "properties": {"event_id": {"type": "string", "format": "uuid"}},
  "required": ["event_id"],
  "additionalProperties": false
}$$::json,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "event_type": {"type": "string"},
    "flow_type": {"type": "string"},
    "flow_id": {"type": "string"},
    "status": {"type": "string", "enum": ["AWAITING_PROCESSING", "DISPATCHED", "BEING_PROCESSED", "SUSPENDED", "SUCCEEDED", "FAILED", "EXPIRED", "CANCELED"]},
    "published_at": {"type": "string", "format": "date-time"},
    "attempt_scheduled_at": {"type": "string", "format": "date-time", "description": "When the next attempt may start"},
    "due_at": {"type": "string", "format": "date-time", "description": "End of the lifespan"},
    "attempts_used": {"type": "integer"},
    "max_attempts": {"type": "integer"},
    "payload": {},
    "errors": {"type": "array", "items": {"type": "object"}},
    "children": {"type": "array", "items": {"type": "object"}}
  },
  "required": ["event_id", "event_type", "flow_type", "flow_id", "status", "published_at", "attempt_scheduled_at", "due_at", "attempts_used", "max_attempts", "payload", "errors", "children"]
}$$::json,
$$SELECT @extschema@.evq_http_event($1 ->> 'event_id', NULL, NULL, NULL)$$),

('list_events', 'List events',
	'Lists events, live and finished, the newest first, without payloads. next, passed as after, gives the next page.',
	false, false, true,
$${
  "type": "object",
  "properties": {
    "flow_type": {"type": "string"},
    "event_type": {"type": "string"},
    "flow_id": {"type": "string"},
    "status": {"type": "string", "enum": ["AWAITING_PROCESSING", "DISPATCHED", "BEING_PROCESSED", "SUSPENDED", "SUCCEEDED", "FAILED", "EXPIRED", "CANCELED"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": 500, "description": "50 if left out"},
    "after": {"type": "string", "format": "uuid", "description": "next of the page before"}
  },
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "events": {
      "type": "array",
      "items": {
        "type": "object",
        "properties": {
          "event_id": {"type": "string", "format": "uuid"},
          "event_type": {"type": "string"},
          "flow_type": {"type": "string"},
          "flow_id": {"type": "string"},
          "status": {"type": "string"},
          "published_at": {"type": "string", "format": "date-time"},
          "attempt_scheduled_at": {"type": "string", "format": "date-time"},
          "due_at": {"type": "string", "format": "date-time"},
          "attempts_used": {"type": "integer"},
          "max_attempts": {"type": "integer"}
        },
        "required": ["event_id", "event_type", "flow_type", "flow_id", "status", "published_at", "attempt_scheduled_at", "due_at", "attempts_used", "max_attempts"]
      }
    },
    "next": {"description": "Id to pass as after; null at the end"}
  },
  "required": ["events", "next"]
}$$,
$$SELECT @extschema@.evq_http_events(NULL, $1, NULL, NULL)$$),

('queue_status', 'Status of the queues',
	'Health of the engine, and how many live events each flow and event type has in each status, how many are due, and how old.',
	false, false, true,
$${
  "type": "object",
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "engine": {"type": "object", "properties": {"running": {"type": "boolean"}, "problem": {"type": "string"}, "hint": {"type": "string"}}, "required": ["running"]},
    "queues": {
      "type": "array",
      "items": {
        "type": "object",
        "properties": {
          "flow_type": {"type": "string"},
          "event_type": {"type": "string"},
          "status": {"type": "string"},
          "events": {"type": "integer"},
          "due": {"type": "integer"},
          "longest_in_state_seconds": {"type": "number"},
          "oldest_seconds": {"type": "number"}
        },
        "required": ["flow_type", "event_type", "status", "events", "due", "longest_in_state_seconds", "oldest_seconds"]
      }
    }
  },
  "required": ["engine", "queues"]
}$$,
$$SELECT evq.mcp_queues()$$)
$tools$;
COMMENT ON FUNCTION evq.mcp_reading_tools() IS 'Tools of evq_mcp() that only read';
-- Model Context Protocol: the methods. Each returns the result; an error of evq's own is raised and becomes one of the protocol.

CREATE FUNCTION evq.mcp_tools(allow_writes boolean) RETURNS SETOF evq.mcp_tool
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 12
AS $$
SELECT t.* FROM (
	SELECT * FROM evq.mcp_worker_tools()
	UNION ALL SELECT * FROM evq.mcp_operator_tools()
	UNION ALL SELECT * FROM evq.mcp_reading_tools()) t
WHERE allow_writes OR NOT t.writes
ORDER BY t.name COLLATE "C"
$$;
COMMENT ON FUNCTION evq.mcp_tools(boolean) IS 'The tools of evq_mcp(), those that write only if allowed';

CREATE FUNCTION evq.mcp_tools_list(allow_writes boolean) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT json_build_object('tools', json_agg(json_build_object('name', t.name, 'title', t.title, 'description', t.description,
	'inputSchema', t.input_schema, 'outputSchema', t.output_schema,
	'annotations', json_build_object('readOnlyHint', NOT t.writes, 'destructiveHint', t.destructive, 'idempotentHint', t.idempotent,
									 'openWorldHint', false)) ORDER BY t.name COLLATE "C"))
FROM evq.mcp_tools(allow_writes) t
$$;
COMMENT ON FUNCTION evq.mcp_tools_list(boolean) IS 'Result of tools/list';

-- What goes wrong inside a tool is a result, for the model to read, and leaves nothing half done.
CREATE FUNCTION evq.mcp_tools_call(params jsonb, allow_writes boolean) RETURNS json
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	tool evq.mcp_tool;
	arguments jsonb := coalesce(params -> 'arguments', '{}');
	structured jsonb;
	problem text;
	problem_detail text;
	problem_hint text;
BEGIN
	IF jsonb_typeof(params -> 'name') IS DISTINCT FROM 'string' THEN
		RAISE EXCEPTION 'params.name must be a string' USING ERRCODE = 'EQ006';
	ELSIF jsonb_typeof(arguments) <> 'object' THEN
		RAISE EXCEPTION 'params.arguments must be an object' USING ERRCODE = 'EQ006';
	END IF;
	SELECT * INTO tool FROM evq.mcp_tools(true) t WHERE t.name = params ->> 'name';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'unknown tool: %', left(params ->> 'name', 100) USING ERRCODE = 'EQ006';
	ELSIF tool.writes AND NOT allow_writes THEN
		RAISE EXCEPTION 'unknown tool: % (it writes, and this server is read-only)', tool.name USING ERRCODE = 'EQ006';
	END IF;
	problem := 'EQ006: ' || evq.mcp_violation(arguments, tool.input_schema::jsonb);
	IF problem IS NULL THEN
		BEGIN
			EXECUTE tool.statement INTO STRICT structured USING arguments;
			RETURN json_build_object('content', json_build_array(json_build_object('type', 'text', 'text', structured::text)),
				'structuredContent', structured, 'isError', false);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS problem_detail = PG_EXCEPTION_DETAIL, problem_hint = PG_EXCEPTION_HINT;
			problem := concat_ws(E'\n', SQLSTATE || ': ' || SQLERRM, 'DETAIL: ' || nullif(problem_detail, ''), 'HINT: ' || nullif(problem_hint, ''));
		END;
	END IF;
	RETURN json_build_object('content', json_build_array(json_build_object('type', 'text', 'text', problem)), 'isError', true);
END
$$;
COMMENT ON FUNCTION evq.mcp_tools_call(jsonb, boolean) IS 'Result of tools/call; EQ006 for what is no call of a tool that may be used';

-- A name may hold a colon, which is written as %3A in the place of a URI template's variable.
CREATE FUNCTION evq.mcp_resources_list(after text) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
WITH page AS (
	SELECT * FROM (
		SELECT 'metrics://queues' AS uri, 'queues' AS name, 'Status of the queues' AS title
		UNION ALL SELECT 'events://pending/' || f.flow_type, 'pending ' || f.flow_type, 'Pending events of ' || f.flow_type FROM evq.flows f
		UNION ALL SELECT 'config://' || replace(t.event_type, ':', '%3A'), 'config ' || t.event_type, 'Configuration of ' || t.event_type
				  FROM evq.event_types t) every
	WHERE after IS NULL OR uri COLLATE "C" > after
	ORDER BY uri COLLATE "C"
	LIMIT 200)
SELECT json_strip_nulls(json_build_object(
	'resources', coalesce(json_agg(json_build_object('uri', uri, 'name', name, 'title', title, 'mimeType', 'application/json')
								   ORDER BY uri COLLATE "C"), '[]'),
	'nextCursor', CASE WHEN count(*) = 200 THEN max(uri COLLATE "C") END))
FROM page
$$;
COMMENT ON FUNCTION evq.mcp_resources_list(text) IS 'Result of resources/list: a page of the resources after a URI; NULL = the first page';

CREATE FUNCTION evq.mcp_resource_templates_list() RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT json_build_object('resourceTemplates', json_agg(json_build_object('uriTemplate', uri_template, 'name', name, 'title', title,
	'description', description, 'mimeType', 'application/json') ORDER BY name))
FROM (VALUES
	('config://{eventType}', 'config', 'Configuration of an event type', 'Attempts, lifespan, delays and what else its events live by'),
	('event://{eventId}', 'event', 'Event', 'All that is known of one event: status, times, payload, errors, parent and children'),
	('events://pending/{flowType}', 'pending', 'Pending events of a flow', 'The first 100 events that are due and not acquired, oldest first'))
	templates (uri_template, name, title, description)
$$;
COMMENT ON FUNCTION evq.mcp_resource_templates_list() IS 'Result of resources/templates/list';

CREATE FUNCTION evq.mcp_resources_read(uri text) RETURNS json
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name text := replace(replace(substring(uri FROM '^[a-z]+://(?:pending/)?(.*)$'), '%3A', ':'), '%3a', ':');
	content jsonb;
BEGIN
	IF uri = 'metrics://queues' THEN
		content := evq.mcp_queues();
	ELSIF uri ~ '^events://pending/.' THEN
		content := @extschema@.evq_http_pending(name, '{"limit": 100}', NULL, NULL);
	ELSIF uri ~ '^config://[^/]+$' THEN
		content := evq.http_configured(name);
	ELSIF uri ~* '^event://[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
		content := @extschema@.evq_http_event(name, NULL, NULL, NULL);
	END IF;
	IF content IS NULL THEN
		RAISE EXCEPTION 'nothing has this URI' USING ERRCODE = 'EQ002';
	END IF;
	RETURN json_build_object('contents', json_build_array(json_build_object('uri', uri, 'mimeType', 'application/json', 'text', content::text)));
END
$$;
COMMENT ON FUNCTION evq.mcp_resources_read(text) IS 'Result of resources/read; EQ001 or EQ002 where there is no such resource';
-- Model Context Protocol: messages. No state is kept from one to the next, in either era.

-- NULL = there is no such method in this era.
CREATE FUNCTION evq.mcp_result(method text, params jsonb, modern boolean, allow_writes boolean) RETURNS json
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	server json := (SELECT json_build_object('name', 'evq', 'title', 'evq event engine', 'version', x.extversion)
					FROM pg_extension x WHERE x.extname = 'evq');
	capabilities json := '{"tools": {}, "resources": {}}';
	instructions text := 'Events are jobs that workers take, run and report. An event has a type, a flow and a flow_id, and lives '
		'AWAITING_PROCESSING, DISPATCHED, BEING_PROCESSED, then SUCCEEDED, FAILED, EXPIRED or CANCELED. Begin with queue_status and list_events.';
	supported text[] := (evq.mcp_versions()).legacy;
	paged boolean := method IN ('tools/list', 'resources/list', 'resources/templates/list');
	result json;
BEGIN
	IF paged AND jsonb_typeof(params -> 'cursor') <> 'string' OR method <> 'resources/list' AND paged AND params ? 'cursor' THEN
		RAISE EXCEPTION 'params.cursor is not one that this server gave' USING ERRCODE = 'EQ006';
	ELSIF method = 'resources/read' AND jsonb_typeof(params -> 'uri') IS DISTINCT FROM 'string' THEN
		RAISE EXCEPTION 'params.uri must be a string' USING ERRCODE = 'EQ006';
	ELSIF method = 'initialize' AND NOT modern AND jsonb_typeof(params -> 'protocolVersion') IS DISTINCT FROM 'string' THEN
		RAISE EXCEPTION 'params.protocolVersion must be a string' USING ERRCODE = 'EQ006';
	END IF;
	result := CASE
		WHEN method = 'tools/list' THEN evq.mcp_tools_list(allow_writes)
		WHEN method = 'tools/call' THEN evq.mcp_tools_call(params, allow_writes)
		WHEN method = 'resources/list' THEN evq.mcp_resources_list(params ->> 'cursor')
		WHEN method = 'resources/templates/list' THEN evq.mcp_resource_templates_list()
		WHEN method = 'resources/read' THEN evq.mcp_resources_read(params ->> 'uri')
		WHEN method = 'server/discover' AND modern THEN json_build_object(
			'supportedVersions', (evq.mcp_versions()).modern, 'capabilities', capabilities, 'instructions', instructions)
		WHEN method = 'ping' AND NOT modern THEN '{}'
		WHEN method = 'initialize' AND NOT modern THEN json_build_object(
			'protocolVersion', coalesce((SELECT v FROM unnest(supported) v WHERE v = params ->> 'protocolVersion'), supported[1]),
			'capabilities', capabilities, 'serverInfo', server, 'instructions', instructions)
		END;
	IF NOT modern THEN
		RETURN result;
	END IF;
	RETURN (
		SELECT json_object_agg(key, value) FROM (
			SELECT * FROM json_each(result)
			UNION ALL VALUES ('resultType', '"complete"'::json), ('_meta', json_build_object('io.modelcontextprotocol/serverInfo', server))
			UNION ALL SELECT * FROM json_each(CASE
				WHEN method IN ('resources/list', 'resources/read') THEN '{"ttlMs": 0, "cacheScope": "private"}'::json
				WHEN method <> 'tools/call' THEN '{"ttlMs": 300000, "cacheScope": "public"}' END)) members
		WHERE result IS NOT NULL);
END
$$;
COMMENT ON FUNCTION evq.mcp_result(text, jsonb, boolean, boolean) IS 'The result of a method';

CREATE FUNCTION evq.mcp_respond(message jsonb, headers jsonb, allow_writes boolean, OUT status int, OUT answer json) RETURNS record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	id jsonb := message -> 'id';
	method text := message ->> 'method';
	params jsonb := coalesce(message -> 'params', '{}');
	header_version text := headers ->> 'mcp-protocol-version';
	modern boolean;
	result json;
BEGIN
	status := 400;
	IF NOT (CASE jsonb_typeof(id)
		WHEN 'number' THEN id::numeric % 1 = 0 AND abs(id::numeric) < 9223372036854775808
		WHEN 'string' THEN length(id #>> '{}') <= 1000
		ELSE id IS NULL END) THEN
		answer := evq.mcp_error(NULL, -32600, 'Invalid request: id must be a string of at most 1000 characters or a 64-bit integer');
		RETURN;
	END IF;
	IF message -> 'jsonrpc' IS DISTINCT FROM '"2.0"' THEN
		answer := evq.mcp_error(id, -32600, 'Invalid request: it must be an object with "jsonrpc": "2.0"');
		RETURN;
	ELSIF method IS NULL AND (message ? 'result' OR message ? 'error') AND header_version = ANY ((evq.mcp_versions()).modern) THEN
		answer := evq.mcp_error(NULL, -32600, 'Invalid request: a client sends no responses');
		RETURN;
	ELSIF method IS NULL AND (message ? 'result' OR message ? 'error') THEN
		status := 202;
		RETURN;
	ELSIF jsonb_typeof(message -> 'method') IS DISTINCT FROM 'string' THEN
		answer := evq.mcp_error(id, -32600, 'Invalid request: method must be a string');
		RETURN;
	ELSIF jsonb_typeof(params) <> 'object' THEN
		answer := evq.mcp_error(id, -32600, 'Invalid request: params must be an object');
		RETURN;
	ELSIF id IS NULL THEN
		status := 202;
		RETURN;
	END IF;

	modern := method = 'server/discover' OR params #> '{_meta,io.modelcontextprotocol/protocolVersion}' IS NOT NULL
		OR coalesce(header_version = ANY ((evq.mcp_versions()).modern), false) AND method <> 'initialize';
	IF modern THEN
		answer := evq.mcp_modern_refusal(id, method, params, headers);
	ELSIF NOT header_version = ANY ((evq.mcp_versions()).legacy) AND method <> 'initialize' THEN
		answer := evq.mcp_unsupported_version(id, header_version);
	END IF;
	IF answer IS NOT NULL THEN
		RETURN;
	END IF;

	status := 200;
	BEGIN
		result := evq.mcp_result(method, params, modern, allow_writes);
	EXCEPTION
		WHEN SQLSTATE 'EQ006' THEN
			answer := evq.mcp_error(id, -32602, 'Invalid params: ' || SQLERRM);
		WHEN SQLSTATE 'EQ001' OR SQLSTATE 'EQ002' THEN
			answer := evq.mcp_error(id, CASE WHEN modern THEN -32602 ELSE -32002 END, 'Resource not found: ' || SQLERRM,
				json_build_object('uri', left(params ->> 'uri', 1000)));
		WHEN OTHERS THEN
			answer := evq.mcp_error(id, -32603, 'Internal error: ' || SQLERRM, json_build_object('sqlstate', SQLSTATE));
	END;
	IF answer IS NOT NULL THEN
		RETURN;
	ELSIF result IS NULL THEN
		answer := evq.mcp_error(id, -32601, 'Method not found: ' || left(method, 100));
		status := CASE WHEN modern THEN 404 ELSE 200 END;
	ELSE
		answer := json_build_object('jsonrpc', '2.0', 'id', id, 'result', result);
	END IF;
END
$$;
COMMENT ON FUNCTION evq.mcp_respond(jsonb, jsonb, boolean) IS
	'The answer to one message, NULL where there is none to give, and its HTTP status; headers have lower-case names';

CREATE FUNCTION @extschema@.evq_mcp(headers jsonb, body text, allow_writes boolean DEFAULT false, OUT status int, OUT answer text)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET intervalstyle = iso_8601
AS $$
DECLARE
	lower_headers jsonb;
	message jsonb;
BEGIN
	IF jsonb_typeof(headers) <> 'object' THEN
		RAISE EXCEPTION 'headers must be an object or NULL'
			USING ERRCODE = 'EQ006', HINT = 'Pass the HTTP headers by name, or NULL for a message that came by other means.';
	ELSIF headers IS NOT NULL THEN
		lower_headers := (SELECT coalesce(jsonb_object_agg(lower(key), value), '{}') FROM jsonb_each(headers));
	END IF;
	BEGIN
		message := body::jsonb;
	EXCEPTION WHEN OTHERS THEN
		status := 400;
		answer := evq.mcp_error(NULL, -32700, 'Parse error: ' || SQLERRM);
		RETURN;
	END;
	IF jsonb_typeof(message) = 'object' THEN
		SELECT r.status, r.answer INTO status, answer FROM evq.mcp_respond(message, lower_headers, allow_writes) r;
	ELSIF (CASE jsonb_typeof(message) WHEN 'array' THEN jsonb_array_length(message) BETWEEN 1 AND 100 END)
		AND coalesce(lower_headers ->> 'mcp-protocol-version', '2025-03-26') = '2025-03-26' THEN
		SELECT '[' || string_agg((evq.mcp_respond(element, lower_headers, allow_writes)).answer::text, ', ' ORDER BY place) || ']' INTO answer
		FROM jsonb_array_elements(message) WITH ORDINALITY elements (element, place);
		status := CASE WHEN answer IS NULL THEN 202 ELSE 200 END;
	ELSE
		status := 400;
		answer := evq.mcp_error(NULL, -32600, 'Invalid request: send one message, an object (in version 2025-03-26 also an array of 1 to 100)');
	END IF;
	-- Over stdio a message is one line; in JSON these stand between tokens only.
	answer := translate(answer, E'\n\r\t', '');
END
$$;
COMMENT ON FUNCTION @extschema@.evq_mcp(jsonb, text, boolean) IS
$$Answers one message of the Model Context Protocol: the HTTP status, and the body, NULL = empty. headers: those of the HTTP request by
name; NULL = the message came by other means, such as stdio. Tools that write are there only if allow_writes, which is the operator's to
say, never the client's. The caller's grants decide what a tool may do; what fails in it is told in the answer.
Errors: EQ006 headers is no object.$$;
-- Nothing is executable or readable by PUBLIC; nobody but the owner touches a base table.

DO $$
DECLARE
	routine regprocedure;
BEGIN
	FOR routine IN
		SELECT d.objid::regprocedure FROM pg_catalog.pg_depend d
		JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq'
		WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
	END LOOP;
END
$$;

REVOKE ALL ON TYPE evq.event_state, evq.acquired, evq.pending_event, evq.finding, evq.mcp_tool FROM PUBLIC;
GRANT USAGE ON TYPE evq.event_state, evq.acquired, evq.pending_event, evq.mcp_tool TO evq_publisher, evq_worker, evq_operator, evq_monitor;
GRANT USAGE ON SCHEMA evq TO evq_publisher, evq_worker, evq_operator, evq_monitor;

GRANT EXECUTE ON FUNCTION
	@extschema@.evq_publish(text, text, text, jsonb, text, timestamptz, smallint, text, jsonb),
	@extschema@.evq_publish_many(jsonb),
	@extschema@.evq_publish_many(text, text, text[], jsonb[], timestamptz, smallint)
TO evq_publisher, evq_operator;

GRANT EXECUTE ON FUNCTION
	@extschema@.evq_acquire(uuid, text, interval),
	@extschema@.evq_acquire_next(text, int, text[], text, interval),
	@extschema@.evq_heartbeat(uuid[], bigint[], interval),
	@extschema@.evq_succeed(uuid, bigint, jsonb, jsonb),
	@extschema@.evq_succeed_many(uuid[], bigint[]),
	@extschema@.evq_succeed_and_acquire(text, uuid[], bigint[], int, text[], text, interval),
	@extschema@.evq_fail(uuid, text, bigint, text, boolean, interval),
	@extschema@.evq_fail_many(uuid[], bigint[], text, boolean),
	@extschema@.evq_snooze(uuid, bigint, timestamptz),
	@extschema@.evq_release(uuid, bigint),
	@extschema@.evq_suspend(uuid, bigint, interval)
TO evq_worker, evq_operator;

GRANT EXECUTE ON FUNCTION @extschema@.evq_activate(uuid, jsonb) TO evq_publisher, evq_worker, evq_operator;

GRANT EXECUTE ON FUNCTION
	@extschema@.evq_cancel(uuid, text),
	@extschema@.evq_retry(uuid),
	@extschema@.evq_redrive(text, timestamptz, int),
	@extschema@.evq_configure_flow(text, text, int, int, interval, text, boolean, boolean),
	@extschema@.evq_configure(text, text, int, interval, interval[], float8, interval, float8, interval, text, text, int, int, interval),
	@extschema@.evq_suspend_event_type(text),
	@extschema@.evq_unsuspend_event_type(text),
	@extschema@.evq_drop_event_type(text),
	@extschema@.evq_pause(text),
	@extschema@.evq_resume(),
	@extschema@.evq_purge(),
	@extschema@.evq_schedule(text, text, text, text, text, jsonb, text, smallint, text, boolean),
	@extschema@.evq_unschedule(text, boolean),
	@extschema@.evq_pause_schedule(text),
	@extschema@.evq_resume_schedule(text),
	@extschema@.evq_run_schedule(text),
	evq.run_due_schedule(text),
	evq.catch_up_schedules(),
	@extschema@.evq_event(uuid),
	@extschema@.evq_tick()
TO evq_operator;
GRANT SELECT ON evq.events, evq.payloads, evq.errors TO evq_operator;

GRANT EXECUTE ON FUNCTION
	@extschema@.evq_pending(text, int),
	@extschema@.evq_counts(text),
	@extschema@.evq_status(),
	@extschema@.evq_watch(interval),
	@extschema@.evq_version(),
	evq.transitions(),
	evq.state_name("char")
TO evq_worker, evq_operator, evq_monitor;
GRANT EXECUTE ON FUNCTION @extschema@.evq_metrics(), evq.counters(), @extschema@.evq_check(interval) TO evq_operator, evq_monitor;
GRANT SELECT ON evq.flows, evq.event_types TO evq_publisher, evq_worker, evq_operator, evq_monitor;
GRANT SELECT ON evq.transition, evq.queue, evq.workers, evq.schedules, evq.restrictions, evq.blocked_flows TO evq_operator, evq_monitor;
-- What evq.schedules calls.
GRANT EXECUTE ON FUNCTION
	evq.cron_fields(text),
	evq.cron_next(text, timestamptz),
	evq.cron_previous(text, timestamptz),
	evq.cron_count(text, timestamptz, timestamptz),
	evq.cron_failures(),
	evq.clock_now()
TO evq_operator, evq_monitor;

-- The routes of the HTTP gateway: to whoever may call what they call.
GRANT EXECUTE ON FUNCTION
	@extschema@.evq_http_publish(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_publish_batch(text, jsonb, jsonb, jsonb)
TO evq_publisher, evq_operator;
GRANT EXECUTE ON FUNCTION
	@extschema@.evq_http_acquire(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_acquire_next(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_succeed(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_fail(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_heartbeat(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_snooze(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_release(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_suspend(text, jsonb, jsonb, jsonb)
TO evq_worker, evq_operator;
GRANT EXECUTE ON FUNCTION @extschema@.evq_http_activate(text, jsonb, jsonb, jsonb) TO evq_publisher, evq_worker, evq_operator;
GRANT EXECUTE ON FUNCTION
	@extschema@.evq_http_cancel(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_retry(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_event(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_events(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_errors(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_configure(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_configure_flow(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_suspend_event_type(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_unsuspend_event_type(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_pause_schedule(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_resume_schedule(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_run_schedule(text, jsonb, jsonb, jsonb),
	evq.http_schedule_named(text)
TO evq_operator;
GRANT EXECUTE ON FUNCTION
	@extschema@.evq_http_schedules(text, jsonb, jsonb, jsonb),
	evq.http_schedule(evq.schedules)
TO evq_operator, evq_monitor;
GRANT EXECUTE ON FUNCTION
	@extschema@.evq_http_pending(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_counts(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_health(text, jsonb, jsonb, jsonb)
TO evq_worker, evq_operator, evq_monitor;
GRANT EXECUTE ON FUNCTION
	@extschema@.evq_http_flows(text, jsonb, jsonb, jsonb),
	@extschema@.evq_http_event_types(text, jsonb, jsonb, jsonb)
TO evq_publisher, evq_worker, evq_operator, evq_monitor;
GRANT EXECUTE ON FUNCTION
	evq.http_object(jsonb, text[]),
	evq.http_refuse(text, text),
	evq.http_text(jsonb, text),
	evq.http_texts(jsonb, text),
	evq.http_integer(jsonb, text, bigint, bigint),
	evq.http_permit(jsonb),
	evq.http_number(jsonb, text),
	evq.http_boolean(jsonb, text),
	evq.http_duration(jsonb, text),
	evq.http_durations(jsonb, text),
	evq.http_time(jsonb, text),
	evq.http_id(text, text),
	evq.http_limit(jsonb),
	evq.http_status(evq.event_state),
	evq.http_row(jsonb),
	evq.http_acknowledged(evq.event_state),
	evq.http_search(text),
	evq.http_states(text[]),
	evq.http_configured(text)
TO evq_publisher, evq_worker, evq_operator, evq_monitor;

-- These run with the caller's rights, so that each tool is for those who may call what it calls.
GRANT EXECUTE ON FUNCTION
	@extschema@.evq_mcp(jsonb, text, boolean),
	evq.mcp_respond(jsonb, jsonb, boolean),
	evq.mcp_result(text, jsonb, boolean, boolean),
	evq.mcp_modern_refusal(jsonb, text, jsonb, jsonb),
	evq.mcp_unsupported_version(jsonb, text),
	evq.mcp_error(jsonb, int, text, json),
	evq.mcp_versions(),
	evq.mcp_tools_list(boolean),
	evq.mcp_tools_call(jsonb, boolean),
	evq.mcp_resources_list(text),
	evq.mcp_resource_templates_list(),
	evq.mcp_resources_read(text),
	evq.mcp_tools(boolean),
	evq.mcp_worker_tools(),
	evq.mcp_operator_tools(),
	evq.mcp_reading_tools(),
	evq.mcp_violation(jsonb, jsonb, text),
	evq.mcp_queues()
TO evq_publisher, evq_worker, evq_operator, evq_monitor;
