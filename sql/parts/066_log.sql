-- Partitions of evq.log, and what becomes of events in batches after their retention.
--
-- A partition holds what was published in a stretch of time. When that is over, it is known of which event types it has
-- batches (evq.log_type), and of each since when none is in the backlog any more: its retention counts from then on. The
-- partition is dropped when it is over for all of them; where it is over for some only, their events are deleted. Then
-- batches, runs and exceptions are deleted whose events are gone. Events that left their batch have their payload with them.

CREATE FUNCTION evq.log_partitions(OUT relation regclass, OUT from_at timestamptz, OUT to_at timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_log_partitions' LANGUAGE c STABLE PARALLEL SAFE ROWS 30;
COMMENT ON FUNCTION evq.log_partitions() IS
	'The partitions of evq.log: each holds what was published from from_at on and before to_at; the default one has no times';

CREATE FUNCTION evq.is_in_place(batch_id uuid) RETURNS boolean
AS 'MODULE_PATHNAME', 'evq_sql_is_in_place' LANGUAGE c STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.is_in_place(uuid) IS 'Are the rows of a batch where that says?';

CREATE FUNCTION evq.find_places(batch_id uuid) RETURNS bytea
AS 'MODULE_PATHNAME', 'evq_sql_find_places' LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION evq.find_places(uuid) IS 'Where the rows of a batch are, for evq.batch.places; NULL = where that says';

CREATE FUNCTION evq.prepare_log(ahead int DEFAULT 2, at timestamptz DEFAULT clock_timestamp())
RETURNS int LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' SET default_table_access_method = 'heap'
AS $$
DECLARE
	missing record;
	name name;
	made int := 0;
BEGIN
	LOCK TABLE evq.housekeeping IN SHARE UPDATE EXCLUSIVE MODE;
	FOR missing IN
		SELECT m.*, evq.first_id(m.first_at) AS first_id, evq.first_id(m.end_at) AS end_id
		FROM evq.missing_partitions(ARRAY(SELECT tstzrange(p.from_at, p.to_at) FROM evq.log_partitions() p WHERE p.to_at IS NOT NULL), ahead, at) m
		WHERE NOT EXISTS (SELECT FROM evq.log_default l WHERE l.event_id >= evq.first_id(m.first_at) AND l.event_id < evq.first_id(m.end_at))
	LOOP
		name := evq.partition_name('log_', missing.first_at);
		EXECUTE format('CREATE TABLE evq.%I PARTITION OF evq.log FOR VALUES FROM (%L) TO (%L)', name, missing.first_id, missing.end_id);
		EXECUTE format('CREATE INDEX %I ON evq.%I USING brin (event_id) WITH (pages_per_range = 32)', name || '_event_id_idx', name);
		EXECUTE format('ALTER TABLE evq.%I REPLICA IDENTITY FULL', name);
		INSERT INTO evq.housekeeping (relation, filenode) VALUES (name, pg_relation_filenode('evq.' || quote_ident(name)))
		ON CONFLICT ON CONSTRAINT housekeeping_pkey DO UPDATE SET filenode = EXCLUDED.filenode, event_type_nos = NULL, next_block = NULL, next_id = NULL;
		DELETE FROM evq.log_type t WHERE t.relation = name;
		made := made + 1;
	END LOOP;
	RETURN made;
END
$$;
COMMENT ON FUNCTION evq.prepare_log(int, timestamptz) IS
$$Makes the partitions of evq.log for a time and so many next ones, as long as the setting evq.history_partition says, where they are
missing and the default partition holds nothing of their time. Returns how many it made.$$;

-- ---------- the steps ----------

CREATE FUNCTION evq.note_log_types()
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $$
DECLARE
	closed record;
BEGIN
	FOR closed IN
		SELECT c.relname, evq.first_id(p.from_at) AS first_id, evq.first_id(p.to_at) AS end_id
		FROM evq.log_partitions() p JOIN pg_class c ON c.oid = p.relation
		WHERE p.to_at <= clock_timestamp() AND c.relkind = 'r'
	LOOP
		IF NOT EXISTS (SELECT FROM evq.log_type t WHERE t.relation = closed.relname) THEN
			INSERT INTO evq.log_type (relation, event_type_no)
			SELECT DISTINCT closed.relname, b.event_type_no FROM evq.batch b WHERE b.batch_id >= closed.first_id AND b.batch_id < closed.end_id;
		END IF;
		UPDATE evq.log_type t SET done_at = clock_timestamp()
		WHERE t.relation = closed.relname AND t.done_at IS NULL AND NOT EXISTS (
			SELECT FROM evq.backlog k WHERE k.event_type_no = t.event_type_no AND k.batch_id >= closed.first_id AND k.batch_id < closed.end_id);
	END LOOP;
END
$$;
COMMENT ON FUNCTION evq.note_log_types() IS 'Notes of which event types the partitions of evq.log whose time is over have batches, and which of these are done';

CREATE FUNCTION evq.is_log_over(relation name, event_type_no int) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT coalesce(t.done_at + coalesce((SELECT y.retention FROM evq.event_type y WHERE y.event_type_no = t.event_type_no), '0 s') <= clock_timestamp(), false)
		FROM evq.log_type t WHERE t.relation = is_log_over.relation AND t.event_type_no = is_log_over.event_type_no);
COMMENT ON FUNCTION evq.is_log_over(name, int) IS 'Is the retention of a type over for all its events in a partition of evq.log?';

CREATE FUNCTION evq.look_for_batches(first_id uuid, end_id uuid)
RETURNS void LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
INSERT INTO evq.housekeeping AS k (relation, next_id, end_id) VALUES ('batch', first_id, end_id)
ON CONFLICT (relation) DO UPDATE SET next_id = least(k.next_id, excluded.next_id),
	end_id = CASE WHEN k.next_id IS NULL THEN excluded.end_id ELSE greatest(k.end_id, excluded.end_id) END
$$;
COMMENT ON FUNCTION evq.look_for_batches(uuid, uuid) IS
	'Events of batches with ids from one on and before another have been deleted: later steps delete these batches, their runs and exceptions';

CREATE FUNCTION evq.drop_log()
RETURNS name LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' SET enable_seqscan = off
AS $$
DECLARE
	doomed record;
BEGIN
	-- An older snapshot does not show all that there is.
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RETURN NULL;
	END IF;
	PERFORM evq.note_log_types();
	FOR doomed IN
		SELECT p.relation, c.relname, evq.first_id(p.from_at) AS first_id, evq.first_id(p.to_at) AS end_id
		FROM evq.log_partitions() p JOIN pg_class c ON c.oid = p.relation
		WHERE p.to_at <= clock_timestamp() AND c.relkind = 'r'
			AND NOT EXISTS (SELECT FROM evq.log_type t WHERE t.relation = c.relname AND NOT evq.is_log_over(t.relation, t.event_type_no))
		ORDER BY p.to_at
	LOOP
		BEGIN
			-- While somebody reads events, it stays; nobody waits for us longer than the timeout.
			LOCK TABLE ONLY evq.log IN ACCESS EXCLUSIVE MODE;
			EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', doomed.relation);
			-- A transaction that began before the time was over may have published into it since we looked.
			INSERT INTO evq.log_type AS t (relation, event_type_no, done_at)
			SELECT doomed.relname, b.event_type_no, CASE WHEN NOT bool_or(k.batch_id IS NOT NULL) THEN clock_timestamp() END
			FROM evq.batch b LEFT JOIN evq.backlog k USING (event_type_no, batch_id)
			WHERE b.batch_id >= doomed.first_id AND b.batch_id < doomed.end_id
			GROUP BY b.event_type_no
			ON CONFLICT ON CONSTRAINT log_type_pkey DO UPDATE SET done_at = NULL WHERE EXCLUDED.done_at IS NULL;
			CONTINUE WHEN EXISTS (SELECT FROM evq.log_type t WHERE t.relation = doomed.relname AND NOT evq.is_log_over(t.relation, t.event_type_no));
			EXECUTE format('DROP TABLE %s', doomed.relation);
			DELETE FROM evq.housekeeping k WHERE k.relation = doomed.relname;
			DELETE FROM evq.log_type t WHERE t.relation = doomed.relname;
			PERFORM evq.look_for_batches(doomed.first_id, doomed.end_id);
			RETURN doomed.relname;
		EXCEPTION WHEN lock_not_available OR dependent_objects_still_exist THEN
			RAISE LOG 'evq: partition % is not dropped yet: %', doomed.relname, SQLERRM;
		END;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION evq.drop_log() IS
$$Drops the oldest partition of evq.log whose batches are all done and the retention of their types over, unless it is in use, or something
depends on it; returns its name.$$;

CREATE FUNCTION evq.thin_log(OUT partition name, OUT events bigint)
RETURNS record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $$
DECLARE
	blocks CONSTANT int := 256;
	thin record;
	start bigint;
BEGIN
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RETURN;
	END IF;
	SELECT p.relation, c.relname, evq.first_id(p.from_at) AS first_id, evq.first_id(p.to_at) AS end_id, k.next_block,
		pg_relation_size(p.relation) / current_setting('block_size')::int AS pages,
		o.event_type_nos <@ coalesce(k.event_type_nos, '{}') AS begun, o.event_type_nos
	INTO thin
	FROM evq.log_partitions() p
	JOIN pg_class c ON c.oid = p.relation
	CROSS JOIN LATERAL (SELECT array_agg(t.event_type_no ORDER BY t.event_type_no) AS event_type_nos
						FROM evq.log_type t WHERE t.relation = c.relname AND evq.is_log_over(t.relation, t.event_type_no)) o
	LEFT JOIN evq.housekeeping k ON k.relation = c.relname
	WHERE o.event_type_nos IS NOT NULL AND c.relkind = 'r'
		AND (k.event_type_nos IS NULL OR k.next_block IS NOT NULL OR NOT o.event_type_nos <@ k.event_type_nos)
		AND EXISTS (SELECT FROM evq.log_type t WHERE t.relation = c.relname AND NOT t.event_type_no = ANY (o.event_type_nos))
	ORDER BY p.to_at LIMIT 1;
	IF NOT FOUND THEN
		RETURN;
	END IF;

	start := CASE WHEN thin.begun THEN thin.next_block ELSE 0 END;
	EXECUTE format($query$
		DELETE FROM %s l WHERE l.ctid >= $1 AND l.ctid < $2 AND EXISTS (
			SELECT FROM evq.batch b WHERE b.batch_id = evq.id_in_batch(l.event_id, 0) AND b.event_type_no = ANY ($3)
				AND NOT EXISTS (SELECT FROM evq.backlog k WHERE k.event_type_no = b.event_type_no AND k.batch_id = b.batch_id) OFFSET 0)$query$, thin.relation)
	USING format('(%s,0)', start)::tid, format('(%s,0)', start + blocks)::tid, thin.event_type_nos;
	GET DIAGNOSTICS events = ROW_COUNT;
	INSERT INTO evq.housekeeping (relation, event_type_nos, next_block)
	VALUES (thin.relname, thin.event_type_nos, CASE WHEN start + blocks < thin.pages THEN start + blocks END)
	ON CONFLICT (relation) DO UPDATE SET event_type_nos = excluded.event_type_nos, next_block = excluded.next_block;
	IF start + blocks >= thin.pages THEN
		UPDATE evq.log_type t SET done_at = '-infinity' WHERE t.relation = thin.relname AND t.event_type_no = ANY (thin.event_type_nos) AND t.done_at IS NOT NULL;
	END IF;
	IF events > 0 THEN
		PERFORM evq.look_for_batches(thin.first_id, thin.end_id);
	END IF;
	partition := thin.relname;
END
$$;
COMMENT ON FUNCTION evq.thin_log() IS
$$Deletes, from a stretch of a partition of evq.log, the events of types whose retention is over for all of it while that of
others is not. Returns the partition, NULL = there is none, and how many events it deleted.$$;

CREATE FUNCTION evq.thin_default_log()
RETURNS bigint LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $$
DECLARE
	doomed uuid[];
	rows bigint;
BEGIN
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RETURN 0;
	END IF;
	SELECT array_agg(o.batch_id) INTO doomed FROM (
		SELECT b.batch_id
		-- The index passes over what is young.
		FROM (SELECT d.event_id FROM evq.log_default d
			  WHERE d.event_id < evq.first_id(clock_timestamp() - (SELECT min(y.retention) FROM evq.event_type y)) AND evq.ordinal(d.event_id) = 0 OFFSET 0) l
		CROSS JOIN LATERAL (SELECT * FROM evq.batch a WHERE a.batch_id = l.event_id OFFSET 0) b
		JOIN evq.event_type t USING (event_type_no)
		WHERE NOT EXISTS (SELECT FROM evq.backlog k WHERE k.event_type_no = b.event_type_no AND k.batch_id = b.batch_id)
			AND greatest(b.published_at,
				(SELECT max(r.state_since) FROM evq.run r WHERE r.last_id >= b.batch_id AND r.last_id <= evq.id_in_batch(b.batch_id, 1023)),
				(SELECT max(x.state_since) FROM evq.exception x WHERE x.event_id >= b.batch_id AND x.event_id <= evq.id_in_batch(b.batch_id, 1023)))
				< clock_timestamp() - t.retention
		LIMIT 100) o;
	IF doomed IS NULL THEN
		RETURN 0;
	END IF;
	DELETE FROM evq.log_default l WHERE evq.id_in_batch(l.event_id, 0) = ANY (doomed);
	GET DIAGNOSTICS rows = ROW_COUNT;
	PERFORM evq.delete_batch(d.batch_id) FROM unnest(doomed) d(batch_id);
	RETURN rows;
END
$$;
COMMENT ON FUNCTION evq.thin_default_log() IS
	'Deletes some batches past the retention of their type whose events are in the default partition of evq.log; returns how many events that are';

CREATE FUNCTION evq.delete_batch(doomed_id uuid)
RETURNS bigint LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	end_id uuid := evq.id_in_batch(doomed_id, 1023);
	deleted bigint;
	rows bigint := 0;
BEGIN
	DELETE FROM evq.run r WHERE r.last_id >= doomed_id AND r.last_id <= end_id;
	GET DIAGNOSTICS deleted = ROW_COUNT;
	rows := rows + deleted;
	DELETE FROM evq.exception x WHERE x.event_id >= doomed_id AND x.event_id <= end_id;
	GET DIAGNOSTICS deleted = ROW_COUNT;
	rows := rows + deleted;
	DELETE FROM evq.batch b WHERE b.batch_id = doomed_id;
	GET DIAGNOSTICS deleted = ROW_COUNT;
	RETURN rows + deleted;
END
$$;
COMMENT ON FUNCTION evq.delete_batch(uuid) IS 'Deletes a batch with its runs and exceptions; returns how many rows';

CREATE FUNCTION evq.delete_batches()
RETURNS bigint LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $$
DECLARE
	task record;
	present tstzrange[];
	one record;
	looked_at int := 0;
	events int := 0;
	rows bigint := 0;
BEGIN
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RETURN NULL;
	END IF;
	SELECT k.next_id, k.end_id INTO task FROM evq.housekeeping k WHERE k.relation = 'batch' AND k.next_id IS NOT NULL;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	present := ARRAY(SELECT tstzrange(p.from_at, p.to_at) FROM evq.log_partitions() p WHERE p.to_at IS NOT NULL);
	FOR one IN
		SELECT b.batch_id, b.events, b.event_type_no FROM evq.batch b WHERE b.batch_id >= task.next_id AND b.batch_id < task.end_id ORDER BY b.batch_id LIMIT 1000
	LOOP
		EXIT WHEN events > 20000;
		looked_at := looked_at + 1;
		task.next_id := evq.id_in_batch(one.batch_id, 1023);
		CONTINUE WHEN EXISTS (SELECT FROM evq.backlog k WHERE k.event_type_no = one.event_type_no AND k.batch_id = one.batch_id);
		-- Where no partition of its time is left, a look into the default one is all that it takes.
		IF NOT EXISTS (SELECT FROM evq.logged_events(ARRAY[one.batch_id])) THEN
			rows := rows + evq.delete_batch(one.batch_id);
			events := events + one.events;
		END IF;
	END LOOP;
	UPDATE evq.housekeeping k SET next_id = CASE WHEN looked_at > 0 THEN task.next_id END WHERE k.relation = 'batch';
	RETURN rows;
END
$$;
COMMENT ON FUNCTION evq.delete_batches() IS
$$Goes on, for a stretch, with deleting batches whose events are gone; returns how many rows that were, NULL = there is nothing left to
look for, or the transaction keeps an older snapshot.$$;

CREATE FUNCTION evq.renew_places()
RETURNS boolean LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $$
DECLARE
	moved record;
	last_id uuid;
	looked_at int;
BEGIN
	-- VACUUM FULL and a restore write a table's rows into a new file, in other places.
	INSERT INTO evq.housekeeping AS k (relation, filenode, next_id)
	SELECT c.relname, pg_relation_filenode(c.oid), CASE WHEN pg_relation_size(c.oid) > 0 THEN evq.first_id(coalesce(p.from_at, 'epoch')) END
	FROM evq.log_partitions() p JOIN pg_class c ON c.oid = p.relation WHERE c.relkind = 'r'
	ON CONFLICT ON CONSTRAINT housekeeping_pkey DO UPDATE SET filenode = EXCLUDED.filenode, next_id = EXCLUDED.next_id
		WHERE k.filenode IS DISTINCT FROM EXCLUDED.filenode;
	SELECT k.relation, k.next_id, evq.first_id(coalesce(p.to_at, clock_timestamp())) AS end_id INTO moved
	FROM evq.log_partitions() p JOIN pg_class c ON c.oid = p.relation JOIN evq.housekeeping k ON k.relation = c.relname
	WHERE k.next_id IS NOT NULL ORDER BY p.to_at DESC NULLS LAST LIMIT 1;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	SELECT max(s.batch_id::text)::uuid, count(*) INTO last_id, looked_at FROM (
		SELECT b.batch_id FROM evq.batch b WHERE b.batch_id >= moved.next_id AND b.batch_id < moved.end_id ORDER BY b.batch_id LIMIT 200) s;
	UPDATE evq.batch b SET places = f.places
	FROM evq.batch o CROSS JOIN LATERAL (SELECT evq.find_places(o.batch_id) AS places) f
	WHERE b.batch_id = o.batch_id AND f.places IS NOT NULL AND o.batch_id >= moved.next_id AND o.batch_id <= last_id;
	UPDATE evq.housekeeping k SET next_id = CASE WHEN looked_at = 200 THEN evq.id_in_batch(last_id, 1023) END WHERE k.relation = moved.relation;
	RETURN true;
END
$$;
COMMENT ON FUNCTION evq.renew_places() IS
	'Goes on, for a stretch of batches whose rows a rewritten table has moved, with noting where they are; false = there are none';

CREATE FUNCTION evq.summarize_log()
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms'
AS $$
DECLARE
	one regclass;
BEGIN
	FOR one IN
		SELECT i.indexrelid FROM evq.log_partitions() p JOIN pg_index i ON i.indrelid = p.relation JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
		WHERE a.amname = 'brin' AND i.indisvalid AND (p.to_at > clock_timestamp() - interval '1 day') IS NOT FALSE AND pg_relation_size(p.relation) > 0
	LOOP
		BEGIN
			PERFORM brin_summarize_new_values(one);
		EXCEPTION WHEN lock_not_available THEN
			RAISE LOG 'evq: index % is not summarized yet: %', one, SQLERRM;
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION evq.summarize_log() IS 'Has new pages of evq.log entered into the indexes by which events are found that are not where their batch says';
