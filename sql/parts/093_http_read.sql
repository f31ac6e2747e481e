-- Routes that read. Lists come in pages: next is the value of after for the page that follows, null at the end.

CREATE FUNCTION evq_http.event(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	event jsonb;
BEGIN
	PERFORM evq_http.object_of(query, '{}');
	event := @extschema@.evq_event(evq_http.id_of(target));
	RETURN evq_http.row_of(event) || jsonb_build_object('children',
		(SELECT coalesce(jsonb_agg(evq_http.row_of(child) ORDER BY place), '[]')
		 FROM jsonb_array_elements(event -> 'children') WITH ORDINALITY children (child, place)));
END
$$;
COMMENT ON FUNCTION evq_http.event(text, jsonb, jsonb, jsonb) IS
'GET /api/events/{id}: all that is known of an event. Errors: EQ002 no such event, EQ006 not a UUID';

-- The words of a search, as the other filters of a list of events:
-- flow:NAME type:NAME status:NAME id:ID payload.PATH:VALUE, and bare words, which are ids too.
CREATE FUNCTION evq_http.search_of(q text, OUT flow_types text[], OUT event_types text[], OUT statuses text[],
	OUT ids text[], OUT paths text[], OUT path_values text[])
RETURNS record LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	words text[] := regexp_split_to_array(btrim(q), E'\\s+');
	word text;
	part text[];
BEGIN
	IF cardinality(words) > 20 THEN
		RAISE EXCEPTION 'q has % words', cardinality(words) USING ERRCODE = 'EQ006', HINT = 'Search for at most 20.';
	END IF;
	FOREACH word IN ARRAY coalesce(words, '{}') LOOP
		part := regexp_match(word, E'^(flow|type|status|id|payload\\.[^:]+):(.+)$');
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
COMMENT ON FUNCTION evq_http.search_of(text) IS 'Takes the words of a search apart; an id is that of an event, or a flow_id, with * at its end for the beginning of one';

CREATE FUNCTION evq_http.states_of(statuses text[]) RETURNS "char"[]
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	states text[] := lower(statuses::text COLLATE "C");
BEGIN
	IF NOT states <@ enum_range(NULL::evq.event_state)::text[] THEN
		RAISE EXCEPTION 'unknown status in %', array_to_string(statuses, ',')
			USING ERRCODE = 'EQ006', HINT = format('Known are: %s.', upper(array_to_string(enum_range(NULL::evq.event_state), ', ') COLLATE "C"));
	END IF;
	RETURN ARRAY(SELECT chr(n)::"char" FROM generate_series(97, 122) n WHERE evq.state_name(chr(n)::"char")::text = ANY (states));
END
$$;
COMMENT ON FUNCTION evq_http.states_of(text[]) IS 'Stored codes of states by the names that HTTP gives them; EQ006 for another name';

-- evq.events cannot be read in the order of its ids, but the tables behind it can; so the ids are found there. Whoever may
-- call this may read evq.events and evq_event(), and it tells nothing else.
CREATE FUNCTION evq.named_events() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'SELECT e.event_id, e.flow_no, e.event_type_no, e.state, e.flow_id, e.payload FROM evq.event e WHERE e.event_id = ANY ($9)
	UNION ALL SELECT e.event_id, e.flow_no, e.event_type_no, e.state, e.flow_id, e.payload FROM evq.finished_events($9) e
	UNION ALL SELECT e.event_id, e.flow_no, e.event_type_no, e.state, e.flow_id, e.payload FROM evq.batch_events_by_id($9) e';
COMMENT ON FUNCTION evq.named_events() IS 'SQL for the events with the ids $9, as evq.stream_of_events() has for all';

CREATE FUNCTION evq.stream_of_events(has_flow_id boolean, most int, since timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
WITH source AS (
	SELECT 'evq.event' AS name, false AS has_index
	UNION ALL
	SELECT p.relation::text, has_flow_id AND EXISTS (
		SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = p.relation AND i.indisvalid AND i.indpred IS NULL AND a.attname = 'flow_id')
	FROM evq.history_partitions() p
	-- A clock may have been set back, but not for so long.
	WHERE since IS NULL OR p.to_at IS NULL OR p.to_at > since - interval '1 day')
SELECT string_agg(format('(SELECT e.event_id, e.flow_no, e.event_type_no, e.state, e.flow_id, e.payload FROM %s e
		WHERE ($1 IS NULL OR e.event_id < $1) AND ($10 IS NULL OR e.event_id >= $10) %s)',
	s.name, CASE WHEN s.has_index THEN 'AND e.flow_id = ANY ($7) OFFSET 0' ELSE format('ORDER BY e.event_id DESC LIMIT %s', most) END), E'\nUNION ALL ')
FROM source s
$$;
COMMENT ON FUNCTION evq.stream_of_events(boolean, int, timestamptz) IS
$$SQL for the events with rows of their own and ids below $1 and from $10 on, at least the so many newest, to be read in the order of
their ids as far as needed. Partitions that end before since, the time of $10, hold none. Where only those of the flow_ids $7 are wanted, the
partitions with an index on it give these alone.$$;

CREATE FUNCTION evq.ids_in_batches(before_id uuid, from_id uuid, most int) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
	ids uuid[] := '{}';
	batch record;
BEGIN
	FOR batch IN
		SELECT b.batch_id, b.events FROM evq.batch b
		WHERE (before_id IS NULL OR b.batch_id < before_id) AND (from_id IS NULL OR b.batch_id >= evq.id_in_batch(from_id, 0))
		ORDER BY b.batch_id DESC
	LOOP
		ids := ids || ARRAY(
			SELECT i.event_id FROM generate_series(batch.events - 1, 0, -1) n CROSS JOIN LATERAL (SELECT evq.id_in_batch(batch.batch_id, n) AS event_id) i
			WHERE (before_id IS NULL OR i.event_id < before_id) AND (from_id IS NULL OR i.event_id >= from_id)
			ORDER BY i.event_id DESC LIMIT most - cardinality(ids));
		EXIT WHEN cardinality(ids) >= most;
	END LOOP;
	RETURN ids;
END
$$;
COMMENT ON FUNCTION evq.ids_in_batches(uuid, uuid, int) IS
	'Ids of events published in batches, below one and from another on, newest first, at most so many; some may have left their batch, or be gone';

CREATE FUNCTION evq.has_values(payload jsonb, paths text[], path_values text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN NOT EXISTS (
	SELECT FROM unnest(paths, path_values) wanted (path, value)
	WHERE payload #>> string_to_array(wanted.path, '.') IS DISTINCT FROM wanted.value);
COMMENT ON FUNCTION evq.has_values(jsonb, text[], text[]) IS 'Has a payload each of these values at its path?';

-- What passes no filter is read too, so a page looks at a bounded number of events, and of payloads, and not for long.
CREATE FUNCTION evq_http.events(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
	most_events CONSTANT int := 10000;
	most_payloads CONSTANT int := 2000;
	until CONSTANT timestamptz := clock_timestamp() + interval '1 second';
	given jsonb := evq_http.object_of(query, '{flow_type, event_type, status, flow_id, q, after, limit}');
	page int := evq_http.limit_of(given);
	after_id uuid := evq_http.id_of(given ->> 'after', 'after');
	search record := evq_http.search_of(given ->> 'q');
	flow_types text[] := array_remove(search.flow_types || (given ->> 'flow_type'), NULL);
	event_types text[] := array_remove(search.event_types || (given ->> 'event_type'), NULL);
	flow_ids text[] := CASE WHEN given ? 'flow_id' THEN ARRAY[given ->> 'flow_id']
							WHEN search.ids IS NOT NULL AND NOT EXISTS (SELECT FROM unnest(search.ids) id WHERE right(id, 1) = '*') THEN search.ids END;
	-- Events that have a word of the search as their id come first, wherever they are in the list.
	named uuid[] := ARRAY(SELECT id::uuid FROM unnest(search.ids) id WHERE id COLLATE "C" ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$');
	one record;
	found uuid[] := '{}';
	before_id uuid := after_id;
	last_id uuid;
	states CONSTANT "char"[] := evq_http.states_of(string_to_array(given ->> 'status', ','));
	searched_states CONSTANT "char"[] := evq_http.states_of(search.statuses);
	is_named boolean := named <> '{}' AND after_id IS NULL;
	source text;
	-- The stretch of time that is read next: the latest day, then four times as long, and so on. Few partitions hold what is young.
	-- Of events in batches it holds so many at most: it may end with one of them.
	present CONSTANT timestamptz := coalesce(evq.id_time(after_id), clock_timestamp());
	stretch interval := '1 day';
	since timestamptz;
	from_id uuid;
	in_batches uuid[];
	most_in_batches int := CASE WHEN coalesce(states, '{a}') && '{a, p, s}' AND coalesce(searched_states, '{a}') && '{a, p, s}' THEN 500 END; -- NULL = none
	oldest CONSTANT timestamptz := (SELECT min(p.from_at) FROM evq.history_partitions() p);
	events int := 0;
	payloads int := 0;
	more boolean := false;
BEGIN
	LOOP
		IF is_named THEN
			source := evq.named_events();
			in_batches := '{}';
		ELSE
			since := CASE WHEN present - stretch > oldest THEN present - stretch END;
			from_id := evq.first_id(since);
			in_batches := CASE WHEN most_in_batches > 0 THEN evq.ids_in_batches(before_id, from_id, most_in_batches) ELSE '{}' END;
			IF cardinality(in_batches) = most_in_batches THEN
				from_id := in_batches[most_in_batches];
				most_in_batches := 4 * most_in_batches;
			ELSE
				stretch := 4 * stretch;
			END IF;
			source := evq.stream_of_events(flow_ids IS NOT NULL, most_events + 1, since) || E'\nUNION ALL
				SELECT e.event_id, e.flow_no, e.event_type_no, e.state, e.flow_id, e.payload FROM evq.batch_events_by_id($11) e';
			page := page + cardinality(found) * (before_id IS NOT DISTINCT FROM after_id)::int;
		END IF;
		FOR one IN EXECUTE format($events$
			SELECT s.event_id, s.payload,
				($2 = '{}' OR s.flow_no IN (SELECT f.flow_no FROM evq.flow f WHERE f.flow_type = ALL ($2)))
					AND ($3 = '{}' OR s.event_type_no IN (SELECT t.event_type_no FROM evq.event_type t WHERE t.event_type = ALL ($3)))
					AND ($4 IS NULL OR s.state = ANY ($4)) AND ($5 IS NULL OR s.state = ANY ($5))
					AND ($6 IS NULL OR s.flow_id = $6)
					AND ($8 IS NULL OR NOT EXISTS (
						SELECT FROM unnest($8) id WHERE s.event_id::text <> lower(id COLLATE "C") AND s.flow_id <> id
							AND NOT (right(id, 1) = '*' AND starts_with(s.flow_id, rtrim(id, '*'))))) AS passes
			FROM (%s) s ORDER BY s.event_id DESC LIMIT %s
			$events$, source, most_events + 1)
		USING before_id, flow_types, event_types, states, searched_states, given ->> 'flow_id', flow_ids, search.ids, named, from_id, in_batches
		LOOP
			more := cardinality(found) >= page OR events >= most_events OR payloads >= most_payloads OR clock_timestamp() > until;
			EXIT WHEN more;
			events := events + 1;
			last_id := one.event_id;
			CONTINUE WHEN NOT one.passes OR one.event_id = ANY (found);
			IF search.paths IS NOT NULL THEN
				payloads := payloads + 1;
				CONTINUE WHEN NOT evq.has_values(coalesce(one.payload, (SELECT p.payload FROM evq.event_payload p WHERE p.event_id = one.event_id)),
												 search.paths, search.path_values);
			END IF;
			CONTINUE WHEN after_id IS NOT NULL AND one.event_id = ANY (named);
			found := found || one.event_id;
		END LOOP;
		IF NOT is_named THEN
			more := more OR (cardinality(found) >= page AND from_id IS NOT NULL);
			EXIT WHEN more OR from_id IS NULL;
			before_id := from_id;
		END IF;
		is_named := false;
	END LOOP;
	RETURN jsonb_build_object(
		'events', (SELECT coalesce(jsonb_agg(evq_http.row_of(to_jsonb(e)) ORDER BY array_position(found, e.event_id)), '[]') FROM evq.events_by_id(found) e),
		'next', CASE WHEN more THEN last_id END,
		'searched', jsonb_build_object('events', events, 'back_to', CASE WHEN more THEN evq.id_time(last_id) END));
END
$$;
COMMENT ON FUNCTION evq_http.events(text, jsonb, jsonb, jsonb) IS
$$GET /api/events: events, newest first; flow_type, event_type, status (several with commas), flow_id, q, after, limit.
A page looks at 10,000 events, or at the payloads of 2,000, or for a second, at most: it may be short and yet have a next one.
searched: how many events it looked at, and back to which time; null = to the end. Errors: EQ006 bad argument.$$;

CREATE FUNCTION evq_http.pending(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	page int := evq_http.limit_of(evq_http.object_of(query, '{limit}'));
BEGIN
	RETURN (
		SELECT jsonb_build_object('events', coalesce(jsonb_agg(evq_http.row_of(to_jsonb(p))), '[]'),
			'is_complete', count(*) = page OR NOT evq.is_due_line_longer(target, 10000))
		FROM @extschema@.evq_pending(target, page::bigint) p);
END
$$;
COMMENT ON FUNCTION evq_http.pending(text, jsonb, jsonb, jsonb) IS
'GET /api/events/pending/{flow}: the events that have been due the longest; limit. is_complete: false = only the first 10,000 due events were looked at. Errors: EQ001 unknown flow, EQ006 bad argument';

CREATE FUNCTION evq_http.counts(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(query, '{flow_type}');
BEGIN
	RETURN jsonb_build_object('counts',
		(SELECT coalesce(jsonb_agg(evq_http.row_of(to_jsonb(c)) ORDER BY c.flow_type, c.event_type, c.state), '[]')
		 FROM evq.counts(given ->> 'flow_type', false) c));
END
$$;
COMMENT ON FUNCTION evq_http.counts(text, jsonb, jsonb, jsonb) IS
'GET /api/counts: live events by flow, type and status, and whether each number is exact; flow_type. Errors: EQ006 unknown key';

CREATE FUNCTION evq_http.operations(OUT operation text, OUT routine regprocedure) RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 40
AS $$
	SELECT o.operation, to_regprocedure(o.routine)
	FROM (
		SELECT operation, format('evq_http.%s(text, jsonb, jsonb, jsonb)', verb)
		FROM (VALUES ('publish', 'publish'), ('publishBatch', 'publish_batch'), ('listEvents', 'events'), ('getEvent', 'event'),
			('listPending', 'pending'), ('acquire', 'acquire'), ('succeed', 'succeed'), ('fail', 'fail'), ('heartbeat', 'heartbeat'),
			('snooze', 'snooze'), ('release', 'release'), ('suspend', 'suspend'), ('activate', 'activate'), ('cancel', 'cancel'),
			('retry', 'retry'), ('acquireNext', 'acquire_next'), ('acquireOfFlows', 'acquire_of_flows'), ('acquireBatch', 'acquire_batch'), ('succeedBatch', 'succeed_batch'),
			('failBatch', 'fail_batch'), ('heartbeatBatch', 'heartbeat_batch'), ('releaseBatch', 'release_batch'), ('counts', 'counts'), ('listFlows', 'flows'),
			('configureFlow', 'configure_flow'), ('pauseFlow', 'pause_flow'), ('resumeFlow', 'resume_flow'), ('listGroups', 'groups'),
			('configureGroup', 'configure_group'), ('pauseGroup', 'pause_group'), ('resumeGroup', 'resume_group'), ('listEventTypes', 'event_types'), ('configure', 'configure'),
			('suspendEventType', 'suspend_event_type'), ('unsuspendEventType', 'unsuspend_event_type'), ('listErrors', 'errors'),
			('listSchedules', 'schedules'), ('pauseSchedule', 'pause_schedule'), ('resumeSchedule', 'resume_schedule'),
			('runSchedule', 'run_schedule'), ('rights', 'rights'), ('health', 'health')) route (operation, verb)
		UNION ALL VALUES ('stream', '@extschema@.evq_watch(interval)'), ('websocket', '@extschema@.evq_watch(interval)'),
			('mcp', 'evq_http.mcp(jsonb, text, boolean)'), ('metrics', '@extschema@.evq_metrics()')
		) o (operation, routine)
$$;
COMMENT ON FUNCTION evq_http.operations() IS 'The operations of the HTTP API, by their names in openapi.json, and the functions that answer them';

CREATE FUNCTION evq_http.rights(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq_http.object_of(query, '{}');
	RETURN (
		SELECT jsonb_build_object('role', current_user,
			'operations', (SELECT jsonb_agg(o.operation ORDER BY o.operation COLLATE "C") FROM evq_http.operations() o WHERE has_function_privilege(o.routine, 'EXECUTE')),
			'publish_flows', CASE WHEN NOT bool_and(f.may_publish) THEN coalesce(jsonb_agg(f.flow_type ORDER BY f.flow_type) FILTER (WHERE f.may_publish), '[]') END,
			'work_flows', CASE WHEN NOT bool_and(f.may_work) THEN coalesce(jsonb_agg(f.flow_type ORDER BY f.flow_type) FILTER (WHERE f.may_work), '[]') END)
		FROM (SELECT l.flow_type, evq.caller_may_publish(l.flow_type) AS may_publish, evq.caller_may_work(l.flow_type) AS may_work FROM evq.flows l) f);
END
$$;
COMMENT ON FUNCTION evq_http.rights(text, jsonb, jsonb, jsonb) IS
$$GET /api/rights: the role behind the request, the operations it may call, and the flows that it may publish into and work on
where it is restricted to some; null = every flow. Errors: EQ006 unknown key$$;

CREATE FUNCTION evq_http.flows(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(query, '{after, limit}');
	page int := evq_http.limit_of(given);
BEGIN
	RETURN (
		SELECT jsonb_build_object('flows', coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.flow_type), '[]'),
								  'next', CASE WHEN count(*) = page THEN max(f.flow_type) END)
		FROM (SELECT * FROM evq.flows l WHERE given ->> 'after' IS NULL OR l.flow_type > given ->> 'after'
			  ORDER BY l.flow_type LIMIT page) f);
END
$$;
COMMENT ON FUNCTION evq_http.flows(text, jsonb, jsonb, jsonb) IS
'GET /api/flows: the flows by name; after, limit. Errors: EQ006 bad argument';

CREATE FUNCTION evq_http.event_types(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(query, '{flow_type, after, limit}');
	page int := evq_http.limit_of(given);
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
COMMENT ON FUNCTION evq_http.event_types(text, jsonb, jsonb, jsonb) IS
'GET /api/event-types: the event types by name; flow_type, after, limit. Errors: EQ006 bad argument';

-- As evq_http.events: the newest errors are found in their table.
CREATE FUNCTION evq_http.errors(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(query, '{flow_type, event_type, event_id, after, limit}');
	page int := evq_http.limit_of(given);
	examine int := CASE WHEN given ?| '{flow_type, event_type}' THEN 2000 ELSE page END;
	after_parts text[] := regexp_match(given ->> 'after', '^([0-9]{1,18})_([-0-9a-f]{36})_([0-9]{1,5})$');
	answer jsonb;
BEGIN
	IF given ? 'after' AND after_parts IS NULL THEN
		PERFORM evq_http.refuse('after', 'the "next" of a page');
	END IF;
	EXECUTE $errors$
		WITH examined AS MATERIALIZED (
			SELECT r.* FROM evq.event_error r
			WHERE ($1 IS NULL OR (r.failed_at, r.event_id, r.attempt) < ($1, $2, $3)) AND ($4 IS NULL OR r.event_id = $4)
			ORDER BY r.failed_at DESC, r.event_id DESC, r.attempt DESC
			LIMIT $8),
		found AS MATERIALIZED (
			SELECT x.failed_at, x.event_id, x.attempt, evq_http.row_of(
				jsonb_build_object('event_type', b.event_type, 'flow_type', b.flow_type, 'flow_id', b.flow_id, 'state', b.state) || to_jsonb(x)) AS error
			FROM examined x JOIN evq.events_by_id(ARRAY(SELECT i.event_id FROM examined i)) b USING (event_id)
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
	USING timestamptz 'epoch' + after_parts[1]::bigint * interval '1 microsecond', evq_http.id_of(after_parts[2], 'after'),
		after_parts[3]::int, evq_http.id_of(given ->> 'event_id', 'event_id'), given ->> 'flow_type', given ->> 'event_type', page, examine;
	RETURN answer;
END
$$;
COMMENT ON FUNCTION evq_http.errors(text, jsonb, jsonb, jsonb) IS
'GET /api/errors: failed attempts, newest first; flow_type, event_type, event_id, after, limit. Errors: EQ006 bad argument';

CREATE FUNCTION evq_http.health(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_build_object(
		'status', CASE WHEN s.problem IS NULL THEN 'ok' ELSE 'degraded' END, 'database', 'up',
		'version', @extschema@.evq_version(),
		'engine', jsonb_build_object('running', s.running, 'last_turn_at', s.last_turn_at, 'problem', s.problem, 'hint', s.hint))
	FROM @extschema@.evq_status() s
$$;
COMMENT ON FUNCTION evq_http.health(text, jsonb, jsonb, jsonb) IS
'GET /health: the engine as evq_status() sees it. Errors: none of its own';

-- Configuration.

CREATE FUNCTION evq_http.configured(event_type text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_jsonb(t) FROM evq.event_types t WHERE t.event_type = configured.event_type $$;
COMMENT ON FUNCTION evq_http.configured(text) IS 'The row of an event type';

CREATE FUNCTION evq_http.configure(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given jsonb := evq_http.object_of(body, '{flow_type, max_attempts, lifespan, attempt_delays, backoff_factor, max_delay, jitter,
		attempt_timeout, on_suspend_timeout, on_fail_event_type, priority, max_payload_bytes, retention, limits, cost}');
BEGIN
	PERFORM evq.configure(target,
		flow_type => evq_http.text_of(given, 'flow_type'),
		max_attempts => evq_http.integer_of(given, 'max_attempts', -2147483648, 2147483647)::int,
		lifespan => evq_http.duration_of(given -> 'lifespan', 'lifespan'),
		attempt_delays => evq_http.durations_of(given, 'attempt_delays'),
		backoff_factor => evq_http.number_of(given, 'backoff_factor'),
		max_delay => evq_http.duration_of(given -> 'max_delay', 'max_delay'),
		jitter => evq_http.number_of(given, 'jitter'),
		attempt_timeout => evq_http.duration_of(given -> 'attempt_timeout', 'attempt_timeout'),
		on_suspend_timeout => evq_http.text_of(given, 'on_suspend_timeout'),
		on_fail_event_type => evq_http.text_of(given, 'on_fail_event_type'),
		priority => evq_http.integer_of(given, 'priority', -2147483648, 2147483647)::int,
		max_payload_bytes => evq_http.integer_of(given, 'max_payload_bytes', -2147483648, 2147483647)::int,
		retention => evq_http.duration_of(given -> 'retention', 'retention'),
		limits => evq_http.texts_of(given, 'limits'),
		cost => evq_http.integer_of(given, 'cost', -2147483648, 2147483647)::int);
	RETURN evq_http.configured(target);
END
$$;
COMMENT ON FUNCTION evq_http.configure(text, jsonb, jsonb, jsonb) IS
'PUT /api/event-types/{type}: makes or changes an event type, as evq_configure() does. Errors: as evq_configure';

CREATE FUNCTION evq_http.suspend_event_type(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq_http.object_of(body, '{}');
	PERFORM @extschema@.evq_suspend_event_type(target);
	RETURN evq_http.configured(target);
END
$$;
COMMENT ON FUNCTION evq_http.suspend_event_type(text, jsonb, jsonb, jsonb) IS
'POST /api/event-types/{type}/suspend. Errors: EQ001 unknown event type';

CREATE FUNCTION evq_http.unsuspend_event_type(target text, query jsonb, headers jsonb, body jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq_http.object_of(body, '{}');
	PERFORM @extschema@.evq_unsuspend_event_type(target);
	RETURN evq_http.configured(target);
END
$$;
COMMENT ON FUNCTION evq_http.unsuspend_event_type(text, jsonb, jsonb, jsonb) IS
'POST /api/event-types/{type}/unsuspend. Errors: EQ001 unknown event type';
