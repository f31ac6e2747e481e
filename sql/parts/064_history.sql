-- Partitions of the history, and what becomes of finished events after their retention. Those in batches: 066_log.
--
-- A partition is dropped when the retention of every type is over for all of it; where it is
-- over for some types only, their events are deleted. Then payloads, errors and idempotency
-- keys of events that are gone are deleted too. Each call of evq.keep_house() is one step.
-- What is no plain table, a foreign one say, somebody has attached: it is theirs to drop.

CREATE FUNCTION evq.history_partitions(OUT relation regclass, OUT from_at timestamptz, OUT to_at timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_history_partitions' LANGUAGE c STABLE PARALLEL SAFE ROWS 30;
COMMENT ON FUNCTION evq.history_partitions() IS
	'The partitions of evq.event_history: each holds what finished from from_at on and before to_at; the default one has no times';

CREATE FUNCTION evq.first_id(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (lpad(to_hex(greatest(floor(extract(epoch FROM at) * 1000), 0)::bigint), 12, '0') || '00000000000000000000')::uuid;
COMMENT ON FUNCTION evq.first_id(timestamptz) IS 'The least id that an event published at a time can have';

CREATE FUNCTION evq.id_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN timestamptz 'epoch' + ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint * interval '1 millisecond';
COMMENT ON FUNCTION evq.id_time(uuid) IS 'When an event with this id was published, to the millisecond';

CREATE FUNCTION evq.partition_name(prefix text, from_at timestamptz) RETURNS name
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN prefix || CASE WHEN date_trunc('day', from_at AT TIME ZONE 'UTC') = from_at AT TIME ZONE 'UTC'
				 THEN to_char(from_at AT TIME ZONE 'UTC', 'YYYYMMDD')
				 ELSE to_char(from_at AT TIME ZONE 'UTC', 'YYYYMMDD_HH24') END;
COMMENT ON FUNCTION evq.partition_name(text, timestamptz) IS 'The name of the partition that begins at a time, after a prefix';

-- Where partitions of another length are there, a new one begins behind them.
CREATE FUNCTION evq.missing_partitions(present tstzrange[], ahead int, at timestamptz, OUT first_at timestamptz, OUT end_at timestamptz)
RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	unit text := current_setting('evq.history_partition');
	step interval := ('1 ' || unit)::interval;
	start timestamp := date_trunc(unit, at AT TIME ZONE 'UTC');
BEGIN
	FOR n IN 0 .. ahead LOOP
		first_at := (start + n * step) AT TIME ZONE 'UTC';
		end_at := (start + (n + 1) * step) AT TIME ZONE 'UTC';
		SELECT coalesce(max(upper(one_range)), first_at) INTO first_at FROM unnest(present) one_range WHERE one_range && tstzrange(first_at, end_at);
		IF first_at < end_at THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION evq.missing_partitions(tstzrange[], int, timestamptz) IS
	'The times of the partitions to make beside those that are present: for a time and so many next ones, as long as evq.history_partition says';

CREATE FUNCTION evq.prepare_history(ahead int DEFAULT 2, at timestamptz DEFAULT clock_timestamp())
RETURNS int LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
-- The bounds go through text: in another style "IST" of India would be read as that of Israel.
SET timezone = 'UTC' SET datestyle = 'ISO' SET default_table_access_method = 'heap'
AS $$
DECLARE
	missing record;
	name name;
	made int := 0;
BEGIN
	LOCK TABLE evq.housekeeping IN SHARE UPDATE EXCLUSIVE MODE;
	FOR missing IN
		SELECT m.* FROM evq.missing_partitions(ARRAY(SELECT tstzrange(p.from_at, p.to_at) FROM evq.history_partitions() p WHERE p.to_at IS NOT NULL), ahead, at) m
		WHERE NOT EXISTS (SELECT FROM evq.event_history_default h WHERE h.finished_at >= m.first_at AND h.finished_at < m.end_at)
	LOOP
		name := evq.partition_name('event_history_', missing.first_at);
		EXECUTE format('CREATE TABLE evq.%I PARTITION OF evq.event_history (PRIMARY KEY (event_id)) FOR VALUES FROM (%L) TO (%L)',
			name, missing.first_at, missing.end_at);
		EXECUTE format('CREATE INDEX ON evq.%I USING brin (finished_at)', name);
		EXECUTE format('ALTER TABLE evq.%I REPLICA IDENTITY FULL', name);
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
		WHERE p.to_at <= clock_timestamp() - (SELECT coalesce(max(t.retention), '0 s') FROM evq.event_type t) AND c.relkind = 'r'
		ORDER BY p.to_at
	LOOP
		BEGIN
			-- While somebody reads the history, it stays; nobody waits for us longer than the timeout.
			EXECUTE format('DROP TABLE %s', doomed.relation);
			DELETE FROM evq.housekeeping k WHERE k.relation = doomed.relname;
			PERFORM evq.look_for_leftovers(doomed.to_at);
			RETURN doomed.relname;
		EXCEPTION WHEN lock_not_available OR dependent_objects_still_exist THEN
			RAISE LOG 'evq: partition % is not dropped yet: %', doomed.relname, SQLERRM;
		END;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION evq.drop_history() IS
	'Drops the oldest partition of the history in which the retention of all types is over, unless it is in use, or something depends on it; returns its name';

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
	WHERE o.event_type_nos IS NOT NULL AND c.relkind = 'r' AND (k.relation IS NULL OR k.next_block IS NOT NULL OR NOT o.event_type_nos <@ k.event_type_nos)
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
	-- To a snapshot from before an ALTER TABLE that wrote evq.event anew there is no event.
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RETURN NULL;
	END IF;
	SELECT k.relation, k.next_id, k.end_id INTO task FROM evq.housekeeping k
	WHERE k.next_id IS NOT NULL AND k.relation IN ('event_payload', 'event_error', 'idempotency') ORDER BY k.relation LIMIT 1;
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
rows it deleted, NULL = there is nothing left to look for, or the transaction keeps an older snapshot.$$;

CREATE FUNCTION evq.index_history()
RETURNS name LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms'
AS $$
DECLARE
	closed record;
BEGIN
	FOR closed IN
		SELECT p.relation, c.relname, i.name AS index
		FROM evq.history_partitions() p JOIN pg_class c ON c.oid = p.relation, LATERAL (SELECT left(c.relname, 50) || '_flow_id_idx' AS name) i
		WHERE p.to_at <= clock_timestamp() AND c.relkind = 'r' AND to_regclass(format('evq.%I', i.name)) IS NULL
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

-- A day of a retention has 24 hours, whatever the clocks of the caller's time zone do.
CREATE FUNCTION evq.keep_house(OUT more boolean, OUT dropped name, OUT events bigint, OUT leftovers bigint)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
BEGIN
	LOCK TABLE evq.housekeeping IN SHARE UPDATE EXCLUSIVE MODE;
	events := 0;
	leftovers := 0;
	dropped := coalesce(evq.drop_history(), evq.drop_log());
	more := dropped IS NOT NULL;
	IF NOT more THEN
		SELECT t.partition IS NOT NULL, coalesce(t.events, 0) INTO more, events FROM evq.thin_history() t;
	END IF;
	IF NOT more THEN
		SELECT t.partition IS NOT NULL, coalesce(t.events, 0) INTO more, events FROM evq.thin_log() t;
	END IF;
	IF NOT more THEN
		events := evq.thin_default_history() + evq.thin_default_log();
		more := events > 0;
	END IF;
	IF NOT more THEN
		leftovers := coalesce(evq.delete_leftovers(), evq.delete_batches());
		more := leftovers IS NOT NULL;
		leftovers := coalesce(leftovers, 0);
	END IF;
	IF NOT more THEN
		more := evq.index_history() IS NOT NULL;
	END IF;
	IF NOT more THEN
		more := evq.renew_places();
	END IF;
	IF NOT more THEN
		more := evq.thin_audit() > 0;
	END IF;
	IF NOT more THEN
		PERFORM evq.summarize_log();
	END IF;
END
$$;
COMMENT ON FUNCTION evq.keep_house() IS
$$The next step of housekeeping; more = there may be another. Returns the partition of the history, or of evq.log, that it dropped, how many
events it deleted one by one, and how many rows that belonged to events that are gone.$$;

CREATE FUNCTION @extschema@.evq_purge(OUT partitions_dropped int, OUT events_deleted bigint, OUT leftovers_deleted bigint)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	step record;
BEGIN
	PERFORM evq.prepare_history(), evq.prepare_log();
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
	IF partitions_dropped + events_deleted + leftovers_deleted > 0 THEN
		PERFORM evq.record('purge', NULL, NULL, jsonb_build_object('partitions', partitions_dropped, 'events', events_deleted));
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.evq_purge() IS
$$Deletes finished events past the retention of their type, in this transaction, and makes partitions ahead: what the engine
does by itself every evq.housekeeping_interval. Without preloading, call it from pg_cron.
Returns: how many partitions of the history and of events in batches it dropped, how many events it deleted from others, and how
many payloads, errors, idempotency keys, batches and the like of events that are gone.$$;
