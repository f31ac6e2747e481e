\echo Use "ALTER EXTENSION evq UPDATE" to load this file. \quit
-- From 0.1 to 0.2. The Makefile adds the parts of the install script that are new, those whose
-- functions and views are replaced, and the privileges.

SET LOCAL search_path = pg_catalog, pg_temp;

-- In the order of sessions that publish and work, for what comes after this version needs both.
LOCK TABLE evq.event, evq.event_history;

-- The table of finished events becomes the default partition of a new one: it stays where it is.
ALTER TABLE evq.event_history RENAME TO event_history_default;
ALTER TABLE evq.event_history_default RENAME CONSTRAINT event_history_pkey TO event_history_default_pkey;
ALTER INDEX evq.event_history_finished_at_idx RENAME TO event_history_default_finished_at_idx;
CREATE TABLE evq.event_history (LIKE evq.event_history_default INCLUDING COMMENTS) PARTITION BY RANGE (finished_at);
ALTER TABLE evq.event_history ATTACH PARTITION evq.event_history_default DEFAULT;
COMMENT ON TABLE evq.event_history IS 'Finished events, one row each; read them through evq.events';
COMMENT ON TABLE evq.event_history_default IS 'Finished events that no other partition of evq.event_history is for';
COMMENT ON COLUMN evq.event_history_default.attempts_used IS NULL;
COMMENT ON COLUMN evq.event_history_default.attempt_started_at IS NULL;
COMMENT ON COLUMN evq.event_history_default.payload IS NULL;
COMMENT ON COLUMN evq.event_history_default.reason IS NULL;

COMMENT ON COLUMN evq.event_type.retention IS 'How long a finished event is kept; 0 = one that succeeds leaves nothing, neither payload nor errors nor idempotency key';

CREATE OR REPLACE VIEW evq.payloads AS
	SELECT event_id, payload, NULL::jsonb AS headers FROM evq.event WHERE payload IS NOT NULL
	UNION ALL SELECT event_id, payload, NULL FROM evq.event_history WHERE payload IS NOT NULL
	UNION ALL SELECT event_id, payload, headers FROM evq.event_payload;
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

CREATE OR REPLACE FUNCTION evq.history_partitions(OUT relation regclass, OUT from_at timestamptz, OUT to_at timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_history_partitions' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 30;
COMMENT ON FUNCTION evq.history_partitions() IS
	'The partitions of evq.event_history: each holds what finished from from_at on and before to_at; the default one has no times';

CREATE OR REPLACE FUNCTION evq.first_id(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (lpad(to_hex(greatest(floor(extract(epoch FROM at) * 1000), 0)::bigint), 12, '0') || '00000000000000000000')::uuid;
COMMENT ON FUNCTION evq.first_id(timestamptz) IS 'The least id that an event published at a time can have';

CREATE OR REPLACE FUNCTION evq.history_partition_name(from_at timestamptz) RETURNS name
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN 'event_history_' || CASE WHEN date_trunc('day', from_at AT TIME ZONE 'UTC') = from_at AT TIME ZONE 'UTC'
						   THEN to_char(from_at AT TIME ZONE 'UTC', 'YYYYMMDD')
						   ELSE to_char(from_at AT TIME ZONE 'UTC', 'YYYYMMDD_HH24') END;
COMMENT ON FUNCTION evq.history_partition_name(timestamptz) IS 'The name of the partition of the history that begins at a time';

CREATE OR REPLACE FUNCTION evq.prepare_history(ahead int DEFAULT 2, at timestamptz DEFAULT clock_timestamp())
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

CREATE OR REPLACE FUNCTION evq.look_for_leftovers(before timestamptz)
RETURNS void LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
INSERT INTO evq.housekeeping AS k (relation, next_id, end_id)
SELECT t.relation, '00000000-0000-0000-0000-000000000000', evq.first_id(before)
FROM unnest('{event_payload, event_error, idempotency}'::name[]) t(relation)
ON CONFLICT (relation) DO UPDATE SET next_id = excluded.next_id, end_id = greatest(k.end_id, excluded.end_id)
$$;
COMMENT ON FUNCTION evq.look_for_leftovers(timestamptz) IS
	'Events published before a time have been deleted: later steps delete their payloads, errors and idempotency keys';

CREATE OR REPLACE FUNCTION evq.drop_history()
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

CREATE OR REPLACE FUNCTION evq.thin_history(OUT partition name, OUT events bigint)
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

CREATE OR REPLACE FUNCTION evq.thin_default_history()
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

CREATE OR REPLACE FUNCTION evq.delete_leftovers()
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

CREATE OR REPLACE FUNCTION evq.index_history()
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

CREATE OR REPLACE FUNCTION evq.keep_house(OUT more boolean, OUT dropped name, OUT events bigint, OUT leftovers bigint)
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

CREATE OR REPLACE FUNCTION @extschema@.evq_purge(OUT partitions_dropped int, OUT events_deleted bigint, OUT leftovers_deleted bigint)
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

CREATE OR REPLACE FUNCTION evq.pause_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'evq_sql_pause_changed' LANGUAGE c;
COMMENT ON FUNCTION evq.pause_changed() IS
	'Trigger: tells every session, and the dispatcher or who starts it, at commit';
CREATE TRIGGER pause_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evq.pause
	FOR EACH STATEMENT EXECUTE FUNCTION evq.pause_changed();

CREATE OR REPLACE FUNCTION @extschema@.evq_pause(reason text DEFAULT NULL)
RETURNS void LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ INSERT INTO evq.pause VALUES (clock_timestamp(), $1) ON CONFLICT DO NOTHING $$;
COMMENT ON FUNCTION @extschema@.evq_pause(text) IS
$$Pauses this database at commit: nothing is dispatched, acquired, timed out or expired until evq_resume(). Events can be published,
and what is in processing can be reported. A database that is paused already stays so, with its first reason. Errors: none of its own.$$;

CREATE OR REPLACE FUNCTION @extschema@.evq_resume()
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

CREATE OR REPLACE FUNCTION evq.change_restriction(role_name name, may text, flow_type text, granting boolean) RETURNS void
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

CREATE OR REPLACE FUNCTION @extschema@.evq_grant_worker(role_name name, flow_type text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'work', flow_type, true) $$;
COMMENT ON FUNCTION @extschema@.evq_grant_worker(name, text) IS
$$Lets a role work on the events of a flow: makes it a member of evq_worker that is restricted to the flows it was granted,
and with it all roles that have its privileges, but operators and superusers. Takes effect at commit. For superusers.
Errors: 42704 no such role, EQ001 unknown flow, 0LP01 a role that cannot be restricted.$$;

CREATE OR REPLACE FUNCTION @extschema@.evq_revoke_worker(role_name name, flow_type text DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'work', flow_type, false) $$;
COMMENT ON FUNCTION @extschema@.evq_revoke_worker(name, text) IS
$$Takes a flow from a role; after the last one it is restricted to none. flow_type NULL: ends the restriction and the membership of
evq_worker. Takes effect at commit. For superusers.
Errors: 42704 role_name is NULL, EQ001 unknown flow, 0LP01 a member of evq_worker through another role.$$;

CREATE OR REPLACE FUNCTION @extschema@.evq_grant_publisher(role_name name, flow_type text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'publish', flow_type, true) $$;
COMMENT ON FUNCTION @extschema@.evq_grant_publisher(name, text) IS
'As evq_grant_worker, for publishing: a member of evq_publisher that is restricted to flows. Errors: those of evq_grant_worker';

CREATE OR REPLACE FUNCTION @extschema@.evq_revoke_publisher(role_name name, flow_type text DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'publish', flow_type, false) $$;
COMMENT ON FUNCTION @extschema@.evq_revoke_publisher(name, text) IS
'As evq_revoke_worker, for publishing and evq_publisher. Errors: those of evq_revoke_worker';

CREATE OR REPLACE FUNCTION evq.caller_may_work(flow_type text) RETURNS boolean
AS 'MODULE_PATHNAME', 'evq_sql_caller_may_work' LANGUAGE c STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION evq.caller_may_work(text) IS
	'For functions that run with the owner''s rights: is the session''s role, or that of SET ROLE, not restricted to other flows?';

CREATE OR REPLACE VIEW evq.restrictions AS
SELECT r.role_name, r.may, ARRAY(SELECT f.flow_type FROM evq.flow f WHERE f.flow_no = ANY (r.flow_nos) ORDER BY 1) AS flow_types
FROM evq.restriction r;
COMMENT ON VIEW evq.restrictions IS 'Roles that may publish into, or work on, some flows only';
-- Schedules: events that are published at the times of a cron expression, all of them in UTC.

CREATE OR REPLACE FUNCTION evq.cron_fields(cron text) RETURNS text
AS 'MODULE_PATHNAME', 'evq_sql_cron_fields' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_fields(text) IS
$$The five fields of a cron expression, which a word such as @daily stands for too. Fields, lists, ranges, steps and names mean what
they mean to pg_cron. Errors: EQ006 not a cron expression, or one of a day that no year has.$$;

CREATE OR REPLACE FUNCTION evq.cron_next(cron text, after timestamptz) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_cron_next' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_next(text, timestamptz) IS
'The first time of a cron expression, in UTC, after the one given. Errors: as evq.cron_fields(), and EQ006 infinite time';

CREATE OR REPLACE FUNCTION evq.cron_previous(cron text, until timestamptz) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_cron_previous' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_previous(text, timestamptz) IS
'The last time of a cron expression, in UTC, before the one given or at it. Errors: as evq.cron_next()';

CREATE OR REPLACE FUNCTION evq.cron_count(cron text, after timestamptz, until timestamptz) RETURNS bigint
AS 'MODULE_PATHNAME', 'evq_sql_cron_count' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_count(text, timestamptz, timestamptz) IS
'How many times of a cron expression lie after one time and not after another. Errors: as evq.cron_next()';

CREATE OR REPLACE FUNCTION evq.clock_now() RETURNS timestamptz
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

CREATE OR REPLACE FUNCTION evq.cron_database() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	-- By its context a setting that the server knows is told from one that somebody made up.
	SELECT s.setting FROM pg_settings s WHERE s.name = 'cron.database_name' AND s.context = 'postmaster'
	AND (s.setting <> current_database() OR EXISTS (SELECT FROM pg_extension x WHERE x.extname = 'pg_cron'))
$$;
COMMENT ON FUNCTION evq.cron_database() IS 'The database that has pg_cron''s jobs; NULL where pg_cron is not preloaded, or is to be here and is not';

CREATE OR REPLACE FUNCTION evq.job_name(schedule text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN octet_length(full_name) <= 63 THEN full_name ELSE 'evq ' || md5(full_name) END
	FROM format('evq %s %s', current_database(), schedule) full_name
$$;
COMMENT ON FUNCTION evq.job_name(text) IS 'The name of a schedule''s job: one of its own in all databases, and no longer than pg_cron takes';

CREATE OR REPLACE FUNCTION evq.job_call(schedule text, cron text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('cron.schedule_in_database(%L, %L, %L, %L, %L, true)', evq.job_name(schedule), cron,
		format('SELECT evq.run_due_schedule(%L)', schedule), current_database(), current_user)
$$;
COMMENT ON FUNCTION evq.job_call(text, text) IS 'What makes, or changes, the job of a schedule in pg_cron''s database';

CREATE OR REPLACE FUNCTION evq.job_removal_call(schedule text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('cron.unschedule(j.jobid) FROM cron.job j WHERE j.jobname = %L AND j.username = %L', evq.job_name(schedule), current_user)
$$;
COMMENT ON FUNCTION evq.job_removal_call(text) IS 'What removes the job of a schedule in pg_cron''s database';

CREATE OR REPLACE FUNCTION evq.dblink_function() RETURNS text
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

CREATE OR REPLACE FUNCTION evq.conninfo(database text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT string_agg(format('%s=''%s''', keyword, regexp_replace(value, '([''\\])', '\\\1', 'g')), ' ')
	FROM (VALUES
		('host', coalesce(nullif(btrim(split_part(current_setting('unix_socket_directories'), ',', 1)), ''), 'localhost')),
		('port', current_setting('port')), ('dbname', database), ('user', current_user), ('connect_timeout', '10'),
		('application_name', 'evq schedules'), ('options', '-c search_path=pg_catalog -c statement_timeout=30s')) t(keyword, value)
$$;
COMMENT ON FUNCTION evq.conninfo(text) IS 'How to connect to another database of this server, as the current user';

CREATE OR REPLACE FUNCTION evq.call_cron(call text, otherwise text) RETURNS void
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

CREATE OR REPLACE FUNCTION evq.lock_schedule(name text) RETURNS evq.schedule
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

CREATE OR REPLACE FUNCTION evq.minute_now() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT date_trunc('minute', evq.clock_now(), 'UTC') $$;
COMMENT ON FUNCTION evq.minute_now() IS 'When the present minute began';

CREATE OR REPLACE FUNCTION evq.publish_scheduled(schedule evq.schedule, slot timestamptz DEFAULT NULL) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT @extschema@.evq_publish(schedule.event_type, schedule.flow_type, schedule.flow_id, schedule.payload, schedule.on_fail_event_type,
		priority => schedule.priority, idempotency_key => 'schedule ' || schedule.name || ' ' || due.minute,
		headers => jsonb_strip_nulls(jsonb_build_object('schedule', schedule.name, 'slot', due.minute)))
	FROM (SELECT to_char(slot AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"') AS minute) due
$$;
COMMENT ON FUNCTION evq.publish_scheduled(evq.schedule, timestamptz) IS
'Publishes the event of a schedule, for one of its times or NULL. Its headers tell the schedule and the time';

CREATE OR REPLACE FUNCTION evq.run_schedule(schedule evq.schedule) RETURNS int
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

CREATE OR REPLACE FUNCTION evq.run_due_schedule(name text) RETURNS int
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

CREATE OR REPLACE FUNCTION evq.catch_up_schedules() RETURNS int
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

CREATE OR REPLACE FUNCTION @extschema@.evq_schedule(name text, cron text, event_type text, flow_type text, flow_id text, payload jsonb DEFAULT '{}',
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

CREATE OR REPLACE FUNCTION @extschema@.evq_unschedule(name text, remove_job boolean DEFAULT true)
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

CREATE OR REPLACE FUNCTION @extschema@.evq_pause_schedule(name text)
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

CREATE OR REPLACE FUNCTION @extschema@.evq_resume_schedule(name text)
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

CREATE OR REPLACE FUNCTION @extschema@.evq_run_schedule(name text)
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

CREATE OR REPLACE FUNCTION evq.transitions(OUT from_state evq.event_state, OUT verb text, OUT to_state evq.event_state, OUT note text)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_transitions' LANGUAGE c STABLE PARALLEL SAFE ROWS 40;
COMMENT ON FUNCTION evq.transitions() IS 'The table in the code that every change of state is checked against';

CREATE OR REPLACE VIEW evq.transition AS SELECT * FROM evq.transitions();
COMMENT ON VIEW evq.transition IS 'The state machine: from_state NULL = not published yet';

CREATE OR REPLACE VIEW evq.flows AS
SELECT f.flow_type, f.channel, f.delivery, f.ordered, f.max_dispatched, f.max_processing, f.dispatch_timeout, f.notify_payload
FROM evq.flow f;
COMMENT ON VIEW evq.flows IS 'The configuration of flows; evq_configure_flow() changes it';

CREATE OR REPLACE VIEW evq.event_types AS
SELECT t.event_type, f.flow_type, t.max_attempts::int, t.lifespan, t.attempt_delays, t.backoff_factor, t.max_delay,
	t.jitter, coalesce(t.attempt_timeout, t.lifespan / t.max_attempts) AS attempt_timeout, t.is_suspended,
	t.on_suspend_timeout, t.on_fail_event_type, t.priority::int, t.max_payload_bytes, t.retention
FROM evq.event_type t
JOIN evq.flow f USING (flow_no)
WHERE NOT t.dropped;
COMMENT ON VIEW evq.event_types IS 'The configuration of event types; evq_configure() changes it';

CREATE OR REPLACE VIEW evq.events AS
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

CREATE OR REPLACE VIEW evq.queue AS
SELECT f.flow_type, t.event_type, evq.state_name(e.state) AS state, pg_catalog.count(*) AS events,
	pg_catalog.count(*) FILTER (WHERE e.state = 'a' AND e.attempt_scheduled_at <= pg_catalog.clock_timestamp()) AS due,
	pg_catalog.clock_timestamp() - pg_catalog.min(e.state_since) AS longest_in_state,
	pg_catalog.clock_timestamp() - pg_catalog.min(e.published_at) AS oldest
FROM evq.event e
JOIN evq.event_type t USING (event_type_no)
JOIN evq.flow f ON f.flow_no = e.flow_no
GROUP BY 1, 2, e.state;
COMMENT ON VIEW evq.queue IS 'Live events by flow, type and state: how many, how many due, how long in this state, how old';

CREATE OR REPLACE VIEW evq.errors AS
SELECT r.event_id, b.event_type, b.flow_type, b.flow_id, b.state, r.attempt::int, r.failed_at, r.outcome,
	r.error_message, r.stack_trace, r.worker
FROM evq.event_error r
JOIN evq.events b USING (event_id);
COMMENT ON VIEW evq.errors IS 'Failed attempts, one row each, with the event they belong to';

CREATE OR REPLACE VIEW evq.workers AS
SELECT e.worker, f.flow_type, pg_catalog.count(*) AS events, pg_catalog.min(e.state_since) AS oldest_acquired_at,
	pg_catalog.min(e.state_due_at) AS next_permit_due_at
FROM evq.event e
JOIN evq.flow f ON f.flow_no = e.flow_no
WHERE e.state = 'p'
GROUP BY 1, 2;
COMMENT ON VIEW evq.workers IS 'Who holds permits: events in processing by worker and flow';

CREATE OR REPLACE VIEW evq.blocked_flows AS
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

CREATE OR REPLACE FUNCTION @extschema@.evq_pending(flow_type text, max_events int DEFAULT 100)
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

CREATE OR REPLACE FUNCTION @extschema@.evq_counts(flow_type text DEFAULT NULL,
	OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp ROWS 50
AS $$
	SELECT q.flow_type, q.event_type, q.state, q.events FROM evq.queue q
	WHERE ($1 IS NULL OR q.flow_type = $1) AND evq.caller_may_work(q.flow_type)
$$;
COMMENT ON FUNCTION @extschema@.evq_counts(text) IS
	'How many live events each event type has in each state; NULL = of all flows, or of those that the caller is restricted to';

CREATE OR REPLACE FUNCTION evq.timeline(event_id uuid) RETURNS jsonb
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

CREATE OR REPLACE FUNCTION @extschema@.evq_event(event_id uuid)
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

CREATE OR REPLACE FUNCTION evq.cron_failures(OUT name text, OUT failed_at timestamptz, OUT message text) RETURNS SETOF record
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

CREATE OR REPLACE VIEW evq.schedules AS
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

CREATE OR REPLACE FUNCTION evq.check_privileges() RETURNS SETOF evq.finding
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

CREATE OR REPLACE FUNCTION evq.check_tables() RETURNS SETOF evq.finding
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

CREATE OR REPLACE FUNCTION evq.check_server(patience interval) RETURNS SETOF evq.finding
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

CREATE OR REPLACE FUNCTION evq.library_version() RETURNS text
AS 'MODULE_PATHNAME', 'evq_sql_library_version' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION evq.library_version() IS 'Version of the library that this session uses';

CREATE OR REPLACE FUNCTION evq.check_engine(patience interval) RETURNS SETOF evq.finding
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

CREATE OR REPLACE FUNCTION evq.check_work(patience interval) RETURNS SETOF evq.finding
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

CREATE OR REPLACE FUNCTION @extschema@.evq_check(patience interval DEFAULT '15 minutes',
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

CREATE OR REPLACE FUNCTION evq.counters(OUT no int, OUT name text, OUT value bigint)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_counters' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION evq.counters() IS
$$The counters in shared memory, times in microseconds. no is an event_type_no for verb/from_state/to_state (publish/origin/to_state)
and live/state, a flow_no for wait/bucket, processing/bucket and their sums, oldest_due and oldest_permit, and 0 for the rest.
No rows without preloading, and from the server's start until the dispatcher has taken back the counters and counted the live events.$$;

CREATE OR REPLACE FUNCTION evq.label(name text, value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN name || '="' || replace(replace(replace(value, '\', '\\'), '"', '\"'), E'\n', '\n') || '"';
COMMENT ON FUNCTION evq.label(text, text) IS 'A label of a metric, escaped';

CREATE OR REPLACE FUNCTION evq.samples(OUT family text, OUT suffix text, OUT labels text, OUT value float8, OUT bound float8)
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

CREATE OR REPLACE FUNCTION @extschema@.evq_metrics() RETURNS text
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

CREATE OR REPLACE FUNCTION @extschema@.evq_tick(OUT dispatched int, OUT timed_out int, OUT expired int)
RETURNS record AS 'MODULE_PATHNAME', 'evq_sql_tick' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_tick() IS
$$Runs one turn of the engine in this session: times out what is overdue, dispatches what is due (notifications go out at commit).
For tests, for servers without evq in shared_preload_libraries, and for pg_cron. While it runs, no other turn does; it returns zeros
when another one is under way. Returns how many events it dispatched, timed out (dispatch, permit or suspension) and expired.$$;

CREATE OR REPLACE FUNCTION @extschema@.evq_status(OUT preloaded boolean, OUT enabled boolean, OUT running boolean, OUT dispatcher_pid int,
	OUT started_at timestamptz, OUT last_turn_at timestamptz, OUT turns bigint, OUT events_dispatched bigint,
	OUT ring_overflows bigint, OUT errors bigint, OUT last_error text, OUT problem text, OUT hint text)
RETURNS record AS 'MODULE_PATHNAME', 'evq_sql_status' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_status() IS
$$Health of this database's dispatcher. problem is NULL when all is well; otherwise it says what is wrong and hint what to do.
The counters start at zero with the server.$$;

CREATE OR REPLACE FUNCTION @extschema@.evq_watch(duration interval DEFAULT '1 minute') RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_watch' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_watch(interval) IS
$$Has the dispatcher notify each change of an event's state on the channel evq_events for so long; call it again before that is
over. Returns until when. A message is {"seq", "event_id", "event_type", "flow_type", "flow_id", "status", "attempts_used",
"state_since"}, without flow_id where the event has left nothing (see retention); changes within 20 ms come together, and where
they are more than can be followed, the rest as {"seq", "skipped": n}.
Errors: EQ006 longer than an hour, 55000 no dispatcher serves the database.$$;

CREATE OR REPLACE FUNCTION @extschema@.evq_version() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT extversion FROM pg_extension WHERE extname = 'evq' $$;
COMMENT ON FUNCTION @extschema@.evq_version() IS 'Version of the installed extension';

CREATE OR REPLACE FUNCTION evq.announce_extension() RETURNS void
AS 'MODULE_PATHNAME', 'evq_sql_announce_extension' LANGUAGE c VOLATILE;
COMMENT ON FUNCTION evq.announce_extension() IS 'Asks the launcher, at commit, to start this database''s dispatcher';

SELECT evq.announce_extension();
-- The route that configures a flow.

CREATE OR REPLACE FUNCTION @extschema@.evq_http_configure_flow(target text, query jsonb, headers jsonb, body jsonb)
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

CREATE OR REPLACE FUNCTION @extschema@.evq_http_schedules(target text, query jsonb, headers jsonb, body jsonb)
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

CREATE OR REPLACE FUNCTION evq.http_schedule(schedule evq.schedules) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (to_jsonb(schedule) - 'last_state'::text) || jsonb_build_object('last_status', evq.http_status(schedule.last_state)) $$;
COMMENT ON FUNCTION evq.http_schedule(evq.schedules) IS 'A schedule as HTTP shows it';

CREATE OR REPLACE FUNCTION evq.http_schedule_named(name text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.http_schedule(s) FROM evq.schedules s WHERE s.name = http_schedule_named.name $$;
COMMENT ON FUNCTION evq.http_schedule_named(text) IS 'The schedule of that name as HTTP shows it';

CREATE OR REPLACE FUNCTION @extschema@.evq_http_pause_schedule(target text, query jsonb, headers jsonb, body jsonb)
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

CREATE OR REPLACE FUNCTION @extschema@.evq_http_resume_schedule(target text, query jsonb, headers jsonb, body jsonb)
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

CREATE OR REPLACE FUNCTION @extschema@.evq_http_run_schedule(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.http_object(body, '{}');
	RETURN jsonb_build_object('event_id', @extschema@.evq_run_schedule(target));
END
$$;
COMMENT ON FUNCTION @extschema@.evq_http_run_schedule(text, jsonb, jsonb, jsonb) IS
'POST /api/schedules/{name}/run: publishes its event now. Errors: as evq_run_schedule';
-- Model Context Protocol: the tools that operate.

CREATE OR REPLACE FUNCTION evq.mcp_operator_tools() RETURNS SETOF evq.mcp_tool
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
