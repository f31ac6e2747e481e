-- Which databases are the shards, and which of them a flow_id, a permit or an error belongs to.

DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'evq') THEN
		RAISE EXCEPTION 'this database has a schema "evq": it is a shard, or a router already'
			USING ERRCODE = 'duplicate_schema', HINT = 'Make the router in a database of its own, without the extension evq.';
	END IF;
END
$$;

CREATE SCHEMA evq;
COMMENT ON SCHEMA evq IS 'The types of evq, as the shards have them';
CREATE SCHEMA evq_router;
COMMENT ON SCHEMA evq_router IS 'What the router is made of';

CREATE TYPE evq.event_state AS ENUM ('awaiting_processing', 'dispatched', 'being_processed', 'suspended',
	'succeeded', 'failed', 'expired', 'canceled');
CREATE TYPE evq.acquired AS (
	event_id uuid, permit bigint, event_type text, flow_type text, flow_id text,
	attempt int, attempts_left int, payload jsonb, headers jsonb,
	attempt_due_at timestamptz, due_at timestamptz, answer jsonb);

CREATE FUNCTION evq_router.shard_count() RETURNS int LANGUAGE plpgsql STABLE
AS $$
DECLARE
	shards int;
BEGIN
	SELECT count(*) INTO shards
	FROM pg_catalog.pg_foreign_server s, unnest(s.srvoptions) AS o (option)
	WHERE s.srvname = 'evq' AND o.option ~ '^p\d+=';
	IF shards = 0 THEN
		RAISE EXCEPTION 'the router has no shards' USING ERRCODE = 'undefined_object', HINT = 'Define them with evq_router.set_shards().';
	END IF;
	RETURN shards;
END
$$;
COMMENT ON FUNCTION evq_router.shard_count() IS 'How many shards there are';

CREATE FUNCTION evq_router.set_shards(VARIADIC connections text[]) RETURNS int LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	shards int := cardinality(connections);
	present int := (SELECT count(*) FROM pg_catalog.pg_foreign_server WHERE srvname = 'evq');
	options text;
BEGIN
	IF shards NOT IN (1, 2, 4, 8, 16, 32, 64, 128) OR array_position(connections, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'the number of shards is %, not a power of two up to 128', shards
			USING ERRCODE = 'EQ006', HINT = 'Several shards may be databases of one server.';
	ELSIF EXISTS (SELECT FROM unnest(connections) AS c WHERE c ~* '\m(password|user)\s*=') THEN
		RAISE EXCEPTION 'a connection string has a user or a password'
			USING ERRCODE = 'EQ006', HINT = 'Everybody can read these strings. Use CREATE USER MAPPING ... SERVER evq.';
	ELSIF (SELECT count(DISTINCT c) FROM unnest(connections) AS c) < shards THEN
		RAISE EXCEPTION 'two shards have the same connection string' USING ERRCODE = 'EQ006', HINT = 'Each shard is a database of its own.';
	END IF;
	IF present = 0 THEN
		SELECT string_agg(format('p%s %L', n - 1, c), ', ' ORDER BY n) INTO options FROM unnest(connections) WITH ORDINALITY AS a (c, n);
		EXECUTE format('CREATE SERVER evq FOREIGN DATA WRAPPER plproxy OPTIONS (%s)', options);
		GRANT USAGE ON FOREIGN SERVER evq TO evq_publisher, evq_worker, evq_operator, evq_monitor;
		RETURN shards;
	END IF;
	present := evq_router.shard_count();
	IF shards NOT IN (present, 2 * present) THEN
		RAISE EXCEPTION 'there are % shards, so there can be % or %, not %', present, present, 2 * present, shards
			USING ERRCODE = 'EQ006', HINT = 'Pass one connection string for each, in the order of their numbers.';
	END IF;
	SELECT string_agg(format('%s p%s %L', CASE WHEN n <= present THEN 'SET' ELSE 'ADD' END, n - 1, c), ', ' ORDER BY n) INTO options
	FROM unnest(connections) WITH ORDINALITY AS a (c, n);
	EXECUTE format('ALTER SERVER evq OPTIONS (%s)', options);
	RETURN shards;
END
$$;
COMMENT ON FUNCTION evq_router.set_shards(text[]) IS
$$Defines the shards, numbered from 0, by libpq connection strings without user and password; returns how many.
Again: with as many strings where the shards now are, with twice as many after each was split in two (shard n into n and
n + the old number). Errors: EQ006 bad argument.$$;

CREATE FUNCTION evq_router.shard_of(flow_id text) RETURNS int LANGUAGE sql STABLE PARALLEL SAFE
AS $$
	SELECT CASE WHEN $1 IS NULL THEN 0
		ELSE get_byte(sha256(convert_to($1, 'UTF8')), 0) & (evq_router.shard_count() - 1) END
$$;
COMMENT ON FUNCTION evq_router.shard_of(text) IS
$$The number of the shard that has the events of a flow_id: the first byte of its SHA-256, modulo the number of shards,
so that any program can compute it. NULL = 0, where evq refuses it.$$;

-- Who calls. PL/Proxy lets a role without a user mapping through at its second call, by its own name.
CREATE FUNCTION evq_router.require_mapping() RETURNS void LANGUAGE plpgsql STABLE
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_user_mappings m
		WHERE m.srvname = 'evq' AND (m.umuser = 0 OR m.usename = current_user)) THEN
		RAISE EXCEPTION 'role "%" has no user mapping: the router does not know who it is on the shards', current_user
			USING ERRCODE = '42704', HINT = format('CREATE USER MAPPING FOR %I SERVER evq OPTIONS (user ..., password ...), as a superuser too.', current_user);
	END IF;
END
$$;
COMMENT ON FUNCTION evq_router.require_mapping() IS 'Errors: 42704 the current role has no user mapping, nor has PUBLIC';

CREATE FUNCTION evq_router.target(shard int) RETURNS int LANGUAGE plpgsql STABLE
AS $$
BEGIN
	PERFORM evq_router.require_mapping();
	RETURN shard;
END
$$;
COMMENT ON FUNCTION evq_router.target(int) IS 'The shard itself, for a role that may go there. Errors: 42704 the role has no user mapping';

-- While shards are split, calls are held. Each call reads this table, and so keeps a lock on it until its transaction ends:
-- who has written the row under an exclusive lock knows that no call of before is on its way.
CREATE TABLE evq_router.hold (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	shards_before int NOT NULL,
	since timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE evq_router.hold IS 'Has a row while the shards are being split: publishes and reports wait, acquires find nothing';
COMMENT ON COLUMN evq_router.hold.shards_before IS 'How many shards there were';

CREATE FUNCTION evq_router.is_held() RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	RETURN EXISTS (SELECT FROM evq_router.hold);
END
$$;
COMMENT ON FUNCTION evq_router.is_held() IS 'Are the shards being split?';

CREATE FUNCTION evq_router.enter() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	latest timestamptz := clock_timestamp() + coalesce(nullif(current_setting('evq_router.hold_timeout', true), ''), '60 s')::interval;
BEGIN
	PERFORM evq_router.require_mapping();
	WHILE evq_router.is_held() LOOP
		IF clock_timestamp() >= latest THEN
			RAISE EXCEPTION 'calls are held while shards are being split'
				USING ERRCODE = '55000', HINT = 'Nothing was done. Try again later; if the split was broken off, run it again.';
		END IF;
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;
COMMENT ON FUNCTION evq_router.enter() IS
$$Every call that changes something begins here, before it looks for its shard: waits while the shards are being split, as long
as the setting evq_router.hold_timeout says (an interval; 60 s). Errors: 42704 no user mapping, 55000 waited too long.$$;

CREATE FUNCTION evq_router.hold_calls() RETURNS int LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	before int := (SELECT h.shards_before FROM evq_router.hold h);
BEGIN
	IF before IS NULL THEN
		LOCK TABLE evq_router.hold IN ACCESS EXCLUSIVE MODE;
		INSERT INTO evq_router.hold (shards_before) SELECT evq_router.shard_count()
		ON CONFLICT DO NOTHING RETURNING shards_before INTO before;
	END IF;
	RETURN before;
END
$$;
COMMENT ON FUNCTION evq_router.hold_calls() IS
$$Holds all calls from its commit on, when none of before is on its way any more; returns how many shards there were when
calls were held first. Errors: 55P03 a transaction with a call goes on for longer than lock_timeout.$$;

CREATE FUNCTION evq_router.shard_for(flow_id text) RETURNS int LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM evq_router.enter();
	RETURN evq_router.shard_of(flow_id);
END
$$;
COMMENT ON FUNCTION evq_router.shard_for(text) IS 'The shard of a flow_id, for a call to it. Errors: as evq_router.enter()';

-- Why json and arrays of ids are declared polymorphic: as on a shard, so that the same plain calls work.
CREATE FUNCTION evq_router.json_of(value anyelement, name text) RETURNS jsonb LANGUAGE plpgsql STABLE
AS $$
BEGIN
	IF pg_typeof(value) NOT IN ('jsonb'::regtype, 'json'::regtype, 'text'::regtype, 'varchar'::regtype) THEN
		RAISE EXCEPTION '% cannot be of type %', name, pg_typeof(value)
			USING ERRCODE = 'EQ006', HINT = 'Pass jsonb, json or its text; to_jsonb() makes jsonb of other values.';
	END IF;
	RETURN value::jsonb;
END
$$;
COMMENT ON FUNCTION evq_router.json_of(anyelement, text) IS 'jsonb of jsonb, json or its text. Errors: EQ006 another type';

-- A permit of the router is that of the shard with the shard's number + 1 in the highest bits, where the epoch of a shard
-- (it grows with each promotion and restore) does not come.
CREATE FUNCTION evq_router.permit(shard int, permit bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS 'SELECT $2 | (($1 + 1)::bigint << 55)';
COMMENT ON FUNCTION evq_router.permit(int, bigint) IS 'The permit that the router gives for one of a shard';

CREATE FUNCTION evq_router.shard_permit(permit bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS 'SELECT $1 & ((1::bigint << 55) - 1)';
COMMENT ON FUNCTION evq_router.shard_permit(bigint) IS 'The permit of the shard in one of the router';

CREATE FUNCTION evq_router.shard_of_permit(permit bigint, flow_id text DEFAULT NULL) RETURNS int LANGUAGE plpgsql STABLE
AS $$
BEGIN
	IF permit >> 55 BETWEEN 1 AND evq_router.shard_count() THEN
		RETURN (permit >> 55) - 1;
	ELSIF permit >> 55 IS DISTINCT FROM 0 AND permit IS NOT NULL THEN
		RAISE EXCEPTION 'permit % is of no shard', permit USING ERRCODE = 'EQ006', HINT = 'Pass the permit that the acquire returned.';
	ELSIF flow_id IS NULL THEN
		RAISE EXCEPTION 'neither a permit of this router nor a flow_id tells the shard'
			USING ERRCODE = 'EQ006', HINT = 'Pass the permit that the router''s acquire returned, or flow_id.';
	END IF;
	RETURN evq_router.shard_of(flow_id);
END
$$;
COMMENT ON FUNCTION evq_router.shard_of_permit(bigint, text) IS
	'The shard of a report: that of its permit, or of the flow_id when the permit is NULL or was given by a shard. Errors: EQ006 neither tells';

CREATE FUNCTION evq_router.shard_for_report(permit bigint, flow_id text DEFAULT NULL) RETURNS int LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM evq_router.enter();
	RETURN evq_router.shard_of_permit(permit, flow_id);
END
$$;
COMMENT ON FUNCTION evq_router.shard_for_report(bigint, text) IS
	'The shard of a report, for a call to it. Errors: as evq_router.shard_of_permit() and evq_router.enter()';

-- PL/Proxy reports all that happens to connections as an internal error. Errors of the shard itself keep their SQLSTATE.
CREATE FUNCTION evq_router.is_lost(state text, message text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT $1 IN ('57P01', '57P02', '57P03') OR $1 = 'XX000' AND $2 LIKE 'PL/Proxy function %' $$;
COMMENT ON FUNCTION evq_router.is_lost(text, text) IS 'Does this error mean that the connection to a shard was not made, or is lost?';

CREATE FUNCTION evq_router.complain(shard int, state text, message text) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
	IF NOT evq_router.is_lost(state, message) THEN
		RAISE EXCEPTION '%', message USING ERRCODE = state;
	ELSIF message ~ 'PQconnect|connect timeout' THEN
		RAISE EXCEPTION 'shard % cannot be reached', shard
			USING ERRCODE = '08001', DETAIL = message,
				HINT = 'Nothing was done there. Events of other shards are not affected; try again when the shard is back.';
	ELSE
		RAISE EXCEPTION 'the connection to shard % was lost', shard
			USING ERRCODE = '08007', DETAIL = message,
				HINT = 'It is not known whether the call was done. Repeat it: a report with its permit, or a publish with its idempotency_key, is not done twice.';
	END IF;
END
$$;
COMMENT ON FUNCTION evq_router.complain(int, text, text) IS
$$Raises the error of a call to a shard: 08001 the shard cannot be reached, 08007 the connection was lost during the call,
or the shard's own.$$;

CREATE FUNCTION evq_router.warn_of(shard int, state text, message text, consequence text) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
	RAISE WARNING 'shard %: %', shard, consequence
		USING ERRCODE = CASE WHEN evq_router.is_lost(state, message) THEN '08006' ELSE state END, DETAIL = message;
END
$$;
COMMENT ON FUNCTION evq_router.warn_of(int, text, text, text) IS 'Says with a WARNING that a shard could not do its part of a call';
