-- Odd arguments to every function: an error of evq's own or an answer, never an internal error. (Those of HTTP: pgtap/http.sql.)
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset
SELECT evq_publish('A', NULL, 'awaiting') \gset
SELECT evq_publish('A', NULL, 'held') \gset
SELECT count(*) FROM evq_acquire(ev('held'));
SELECT checksum() AS before \gset

CREATE VIEW lab.functions AS
SELECT p.oid, CASE p.pronamespace WHEN 'evq_http'::regnamespace THEN 'evq_http.' ELSE '' END || p.proname AS name, p.pronargs AS count, p.proargnames AS names,
	ARRAY(SELECT CASE WHEN type = 'anycompatible'::regtype THEN 'jsonb' WHEN type = 'anynonarray'::regtype THEN 'bigint' WHEN type = 'anyarray'::regtype THEN 'text[]'
				 WHEN type <> 'anycompatiblearray'::regtype THEN type WHEN p.proargnames[place] = 'payloads' THEN 'jsonb[]'
				 WHEN p.proargnames[place] = 'attempt_delays' THEN 'interval[]' ELSE 'uuid[]' END
		  FROM unnest(p.proargtypes::regtype[]) WITH ORDINALITY AS a (type, place) ORDER BY place)::regtype[] AS types
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq'
WHERE (p.proname ~ '^evq_' AND p.proname <> 'evq_pause') OR p.oid = 'evq_http.mcp'::regproc;

-- All NULL.
SELECT name, count, sqlstate(format('SELECT %s(%s)', name, (SELECT string_agg('NULL::' || t::regtype, ', ') FROM unnest(types) t)))
FROM lab.functions WHERE count > 0 AND name <> 'evq_counts' ORDER BY 1, 2;
SELECT checksum() = :'before' AS unchanged;

-- A sound value for each argument by its name, and odd ones by its type.
CREATE FUNCTION lab.sound(name text, type regtype) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT format('%L::%s', coalesce(
		CASE name
			WHEN 'event_id' THEN ev('held')::text
			WHEN 'event_ids' THEN ARRAY[ev('held')]::text
			WHEN 'permit' THEN permit('held')::text
			WHEN 'permits' THEN ARRAY[permit('held')]::text
			WHEN 'event_type' THEN 'A' WHEN 'flow_type' THEN 'F' WHEN 'flow_id' THEN CASE type WHEN 'bigint'::regtype THEN '7' ELSE 'f' END
			WHEN 'flow_ids' THEN '{f}' WHEN 'payloads' THEN '{1}' WHEN 'event_types' THEN '{A}' WHEN 'flow_types' THEN '{F}' WHEN 'weights' THEN '{1}'
			WHEN 'events' THEN '[{"event_type": "A", "flow_id": "f"}]' WHEN 'payload' THEN '{}'
			WHEN 'max_events' THEN '1' WHEN 'error_message' THEN 'no' WHEN 'run_at' THEN 'now' WHEN 'since' THEN '-infinity'
		END), type)
$$;
CREATE FUNCTION lab.odd(type regtype) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
	SELECT format('%s::%s', value, type) FROM unnest(CASE type::text
		WHEN 'uuid' THEN ARRAY[$v$'00000000-0000-0000-0000-000000000000'$v$, $v$'ffffffff-ffff-ffff-ffff-ffffffffffff'$v$]
		WHEN 'uuid[]' THEN ARRAY[$v$'{}'$v$, $v$'{NULL}'$v$, $v$'{{00000000-0000-0000-0000-000000000000}}'$v$, $v$array_fill('00000000-0000-0000-0000-000000000000'::uuid, '{1000}')$v$]
		WHEN 'bigint' THEN ARRAY['0', $v$'-1'$v$, $v$'-9223372036854775808'$v$, '9223372036854775807']
		WHEN 'bigint[]' THEN ARRAY[$v$'{}'$v$, $v$'{NULL}'$v$, $v$'{{1},{2}}'$v$, $v$'{-9223372036854775808}'$v$, $v$array_fill(1::bigint, '{1000}')$v$]
		WHEN 'integer' THEN ARRAY['0', $v$'-1'$v$, '40000', $v$'-2147483648'$v$, '2147483647']
		WHEN 'smallint' THEN ARRAY[$v$'-32768'$v$, '32767']
		WHEN 'boolean' THEN ARRAY['true', 'false']
		WHEN 'double precision' THEN ARRAY[$v$'NaN'$v$, $v$'Infinity'$v$, $v$'-Infinity'$v$, $v$'1e308'$v$, $v$'-0'$v$]
		WHEN 'text' THEN ARRAY[$v$''$v$, $v$' '$v$, $v$E'\n'$v$, $v$'"'$v$, $v$'''; DROP TABLE evq.event; --'$v$, $v$'%s %n'$v$, $v$U&'\00FC\20AC\+01F600'$v$, $v$repeat('x', 100000)$v$]
		WHEN 'text[]' THEN ARRAY[$v$'{}'$v$, $v$'{NULL}'$v$, $v$'{{A},{B}}'$v$, $v$'{""}'$v$, $v$array_fill('A'::text, '{1000}')$v$, $v$'[5:6]={A,A}'$v$]
		WHEN 'jsonb' THEN ARRAY[$v$'null'$v$, $v$'{}'$v$, $v$'[]'$v$, $v$'[[]]'$v$, $v$'[null]'$v$, $v$'""'$v$, $v$'1e1000'$v$, $v$'true'$v$, $v$'[{}]'$v$, $v$'[{"event_type": null}]'$v$,
			$v$'[{"event_type": {}, "flow_id": []}]'$v$, $v$'[{"event_type": "A", "flow_id": "f", "payload": [], "headers": [[]], "run_at": "epoch", "priority": 0.5}]'$v$,
			$v$'[{"event_type": "A", "payload": 1e400, "priority": -1e400}]'$v$, $v$'[{"": ""}]'$v$, $v$(repeat('[', 5000) || repeat(']', 5000))$v$, $v$to_jsonb(repeat('x', 100000))$v$]
		WHEN 'jsonb[]' THEN ARRAY[$v$'{}'$v$, $v$'{NULL}'$v$, $v$'{{1},{2}}'$v$, $v$array_fill('{}'::jsonb, '{1000}')$v$]
		WHEN 'interval' THEN ARRAY[$v$'0'$v$, $v$'-1 us'$v$, $v$'1 us'$v$, $v$'178000000 years'$v$, $v$'-178000000 years'$v$, $v$'1 mon -31 days'$v$, $v$'2147483647 days'$v$]
		WHEN 'interval[]' THEN ARRAY[$v$'{}'$v$, $v$'{NULL}'$v$, $v$'{{0 s},{1 s}}'$v$, $v$'{-1 s}'$v$, $v$'{178000000 years}'$v$]
		WHEN 'timestamp with time zone' THEN ARRAY[$v$'infinity'$v$, $v$'-infinity'$v$, $v$'4714-11-24 00:00:00+00 BC'$v$, $v$'294276-12-31 23:59:59+00'$v$, $v$'epoch'$v$]
	END) AS value
$$;

-- Runs a statement, takes it back and tells how it ended.
CREATE FUNCTION lab.ending(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RAISE EXCEPTION USING ERRCODE = 'P0000';
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN 'P0000' THEN 'answer' ELSE SQLSTATE END;
END
$$;

-- Each argument in turn is odd, the others are sound: how the calls end, by argument.
SELECT f.name || CASE WHEN f.name = 'evq_publish_many' THEN '/' || f.count ELSE '' END || CASE WHEN 'anynonarray'::regtype = ANY (p.proargtypes) THEN '/number' WHEN 'anyarray'::regtype = ANY (p.proargtypes) THEN '/array' ELSE '' END AS function, f.names[i] AS argument,
	string_agg(DISTINCT lab.ending(format('SELECT %s(%s)', f.name,
		(SELECT string_agg(CASE WHEN j = i THEN odd ELSE lab.sound(f.names[j], f.types[j]) END, ', ' ORDER BY j) FROM generate_series(1, f.count) j))), ', ') AS endings
FROM lab.functions f JOIN pg_proc p USING (oid), generate_series(1, f.count) i, lab.odd(f.types[i]) odd
GROUP BY 1, f.name, f.count, f.names[i], i ORDER BY f.name, f.count, 1, i;
SELECT checksum() = :'before' AS unchanged;
