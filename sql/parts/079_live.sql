-- What is live, at a cost that does not grow with how much that is: numbers from the counters of the engine, and the rest from
-- the first events in the line of each flow. What is not exact says so.

CREATE VIEW evq.live_event AS
SELECT e.event_id, e.published_at, e.attempt_scheduled_at, l.due_at, e.event_type_no, e.flow_no, e.priority, e.chain_depth, e.ordered,
	e.state, e.attempts_used,
	CASE WHEN e.state_due_at = e.due_at THEN l.due_at
		WHEN e.state IN ('d', 'u') THEN least(e.state_due_at, l.due_at)
		ELSE nullif(e.state_due_at, 'infinity') END AS state_due_at,
	e.state_since, e.permit, e.flow_id, e.parent_id, e.on_fail_event_type_no, e.worker, e.answer, e.group_key
FROM evq.event e
CROSS JOIN LATERAL (
	SELECT e.due_at + coalesce((SELECT pg_catalog.sum(c.shift) FROM evq.lifespan_change c
								WHERE c.event_type_no = e.event_type_no AND c.changed_at > e.published_at), '0') AS due_at) l;
COMMENT ON VIEW evq.live_event IS 'The rows of evq.event with the end of their lifespan as it is since the last change of evq.lifespan_change';

CREATE FUNCTION evq.live_counts(OUT event_type_no int, OUT state "char", OUT events bigint, OUT is_exact boolean)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'evq_sql_live_counts' LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION evq.live_counts() IS
$$How many events of each type are in each live state, 0 included, by the counters in shared memory: as committed by now, and what this
transaction has changed. is_exact: false = they are to be counted anew. No rows as with evq.counters(), and none for a type without counters.$$;

CREATE FUNCTION evq.first_in_line(flow_no int, most int, after timestamptz DEFAULT '-infinity', OUT event_id uuid, OUT event_type_no int,
	OUT state "char", OUT flow_id text, OUT ordered boolean, OUT attempt_scheduled_at timestamptz, OUT published_at timestamptz, OUT state_since timestamptz)
RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET jit = off ROWS 1000
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
BEGIN
	RETURN QUERY
	SELECT e.event_id, e.event_type_no, e.state, e.flow_id, e.ordered, e.attempt_scheduled_at, e.published_at, e.state_since
	FROM evq.event e
	WHERE e.flow_no = first_in_line.flow_no AND e.attempt_scheduled_at > after
	ORDER BY e.attempt_scheduled_at, e.event_id
	LIMIT most;
END
$$;
COMMENT ON FUNCTION evq.first_in_line(int, int, timestamptz) IS
	'The live events of a flow whose next attempt is scheduled after a time, in that order, at most so many';

CREATE FUNCTION evq.line(flow_no int, in_batches boolean, most int, after timestamptz DEFAULT '-infinity', OUT event_type_no int, OUT state "char",
	OUT events bigint, OUT attempt_scheduled_at timestamptz, OUT published_at timestamptz, OUT state_since timestamptz, OUT state_due_at timestamptz,
	OUT worker text, OUT batch_id uuid, OUT first int, OUT last int)
RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET jit = off ROWS 1000
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
	IF in_batches THEN
		RETURN QUERY
		SELECT s.event_type_no, s.state, s.events, s.attempt_scheduled_at, evq.id_time(s.batch_id), coalesce(s.state_since, evq.id_time(s.batch_id)),
			CASE WHEN s.state = 'p' THEN (SELECT CASE s.state_due_at WHEN b.stored_due_at THEN b.due_at ELSE s.state_due_at END
										  FROM evq.live_batch b WHERE b.batch_id = s.batch_id) END,
			s.worker, s.batch_id, s.first, s.last
		FROM evq.batch_stretch s
		WHERE s.flow_no = line.flow_no AND s.attempt_scheduled_at > after
		ORDER BY s.attempt_scheduled_at, s.batch_id
		LIMIT most;
	ELSE
		RETURN QUERY
		SELECT l.event_type_no, l.state, 1::bigint, l.attempt_scheduled_at, l.published_at, l.state_since, NULL::timestamptz, NULL::text, NULL::uuid, NULL::int, NULL::int
		FROM evq.first_in_line(line.flow_no, most, after) l;
	END IF;
END
$$;
COMMENT ON FUNCTION evq.line(int, boolean, int, timestamptz) IS
$$As evq.first_in_line(), or of those in batches: a row for neighbours whose state is the same, events of which are live; that may be none$$;

CREATE FUNCTION evq.counts(only_flow text, warns boolean,
	OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint, OUT is_exact boolean)
RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off ROWS 50
AS $$
#variable_conflict use_column
DECLARE
	most CONSTANT int := 10000;
	most_stretches CONSTANT int := 1000;
	inexact int := 0;
BEGIN
	FOR flow_type, event_type, state, events, is_exact IN
	WITH counted AS MATERIALIZED (SELECT c.* FROM evq.live_counts() c),
	wanted AS MATERIALIZED (
		SELECT t.event_type_no, t.event_type, f.flow_no, f.flow_type,
			EXISTS (SELECT FROM counted c WHERE c.event_type_no = t.event_type_no AND c.is_exact) AS is_counted
		FROM evq.event_type t JOIN evq.flow f USING (flow_no)
		WHERE (only_flow IS NULL OR f.flow_type = only_flow) AND evq.caller_may_work(f.flow_type)),
	-- Of flows with a type that no counter tells of.
	seen AS MATERIALIZED (
		SELECT w.flow_no, v.in_batches, l.event_type_no, l.state, l.events
		FROM (SELECT DISTINCT u.flow_no FROM wanted u WHERE NOT u.is_counted) w
		CROSS JOIN (VALUES (false, most), (true, most_stretches)) v(in_batches, most) CROSS JOIN LATERAL evq.line(w.flow_no, v.in_batches, v.most + 1) l),
	long_flow AS (SELECT s.flow_no FROM seen s GROUP BY s.flow_no, s.in_batches HAVING count(*) > CASE WHEN s.in_batches THEN most_stretches ELSE most END),
	numbers AS (
		SELECT w.event_type_no, c.state, c.events, c.is_exact FROM wanted w JOIN counted c USING (event_type_no)
		WHERE w.is_counted OR w.flow_no IN (SELECT l.flow_no FROM long_flow l)
		UNION ALL
		SELECT w.event_type_no, s.state, sum(s.events)::bigint, w.flow_no NOT IN (SELECT l.flow_no FROM long_flow l) FROM wanted w JOIN seen s USING (event_type_no)
		WHERE NOT w.is_counted GROUP BY w.event_type_no, w.flow_no, s.state)
	SELECT w.flow_type, w.event_type, evq.state_name(n.state), max(n.events), bool_and(n.is_exact)
	FROM numbers n JOIN wanted w USING (event_type_no)
	GROUP BY w.flow_type, w.event_type, n.state HAVING max(n.events) > 0
	LOOP
		inexact := inexact + (NOT is_exact)::int;
		RETURN NEXT;
	END LOOP;
	IF warns AND inexact > 0 THEN
		RAISE WARNING '% of these numbers are not exact: the engine has not counted all live events', inexact
			USING HINT = 'Ask again later. If evq_status() has a problem, mend that; SELECT count(*) FROM evq.events reads them all.';
	END IF;
END
$$;
COMMENT ON FUNCTION evq.counts(text, boolean) IS
$$As evq_counts(), and whether each number is exact. Where the engine does not count, or is to count anew, the first 10,000 events of a
flow are counted, and of those in batches the first 1,000 stretches: a number that is not exact is that of those, or what the engine had. warns: with a WARNING then.$$;

CREATE FUNCTION evq.survey(OUT flow_no int, OUT event_type_no int, OUT state "char", OUT events bigint, OUT due bigint, OUT due_since timestamptz,
	OUT state_since timestamptz, OUT published_at timestamptz, OUT is_exact boolean, OUT looked_at int)
RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp SET jit = off ROWS 50
AS $$
#variable_conflict use_column
DECLARE
	most CONSTANT int := 1000;
	present CONSTANT timestamptz := clock_timestamp();
BEGIN
	RETURN QUERY
	WITH counted AS MATERIALIZED (SELECT t.flow_no, c.* FROM evq.live_counts() c JOIN evq.event_type t USING (event_type_no)),
	flow AS MATERIALIZED (
		SELECT DISTINCT t.flow_no FROM evq.event_type t
		WHERE EXISTS (SELECT FROM counted c WHERE c.event_type_no = t.event_type_no AND (c.events > 0 OR NOT c.is_exact))
			OR NOT EXISTS (SELECT FROM counted c WHERE c.event_type_no = t.event_type_no)),
	near AS MATERIALIZED (
		SELECT f.flow_no, v.in_batches, l.* FROM flow f CROSS JOIN (VALUES (false), (true)) v(in_batches) CROSS JOIN LATERAL evq.line(f.flow_no, v.in_batches, most + 1) l),
	-- Where more are due, those to come are looked at: what is due is what waits less these, unless they are as many.
	reach AS MATERIALIZED (
		SELECT n.flow_no, n.in_batches, count(*) > most AS is_long, count(*) > most AND max(n.attempt_scheduled_at) <= present AS has_more_due
		FROM near n GROUP BY 1, 2),
	far AS MATERIALIZED (
		SELECT r.flow_no, r.in_batches, l.* FROM reach r CROSS JOIN LATERAL evq.line(r.flow_no, r.in_batches, most + 1, present) l WHERE r.has_more_due),
	looked AS MATERIALIZED (
		SELECT r.flow_no, bool_or(r.is_long) AS is_long, bool_or(r.has_more_due) AS has_more_due,
			bool_and((SELECT count(*) FROM far x WHERE x.flow_no = r.flow_no AND x.in_batches = r.in_batches) <= most) AS is_far_end_seen
		FROM reach r GROUP BY 1),
	seen AS (
		SELECT s.flow_no, s.event_type_no, s.state, sum(s.events)::bigint AS events,
			coalesce(sum(s.events) FILTER (WHERE s.state = 'a' AND s.attempt_scheduled_at <= present), 0)::bigint AS due,
			coalesce(sum(s.events) FILTER (WHERE s.state = 'a' AND s.attempt_scheduled_at > present), 0)::bigint AS to_come,
			min(s.attempt_scheduled_at) FILTER (WHERE s.attempt_scheduled_at <= present) AS due_since,
			min(s.state_since) AS state_since, min(s.published_at) AS published_at
		FROM (SELECT * FROM near UNION ALL SELECT * FROM far) s WHERE s.events > 0 GROUP BY 1, 2, 3),
	numbers AS (
		SELECT r.flow_no, k.event_type_no, k.state, s.due, s.to_come, s.due_since, s.state_since, s.published_at, r.is_long, r.has_more_due,
			CASE WHEN r.is_long AND c.events IS NOT NULL THEN greatest(c.events, CASE WHEN NOT c.is_exact THEN s.events END) ELSE s.events END AS events,
			NOT r.is_long OR coalesce(c.is_exact, false) AS is_counted, r.is_far_end_seen
		FROM (SELECT s.flow_no, s.event_type_no, s.state FROM seen s UNION SELECT c.flow_no, c.event_type_no, c.state FROM counted c WHERE c.events > 0) k
		JOIN looked r USING (flow_no)
		LEFT JOIN seen s USING (flow_no, event_type_no, state)
		LEFT JOIN counted c USING (flow_no, event_type_no, state))
	SELECT n.flow_no, n.event_type_no, n.state, n.events,
		CASE WHEN n.state = 'a' AND n.has_more_due AND n.is_counted AND n.is_far_end_seen
			THEN greatest(n.due, n.events - coalesce(n.to_come, 0)) ELSE coalesce(n.due, 0) END,
		n.due_since, n.state_since, n.published_at,
		n.is_counted AND (n.state <> 'a' OR NOT n.has_more_due OR n.is_far_end_seen),
		CASE WHEN n.is_long THEN most END
	FROM numbers n WHERE n.events > 0;
END
$$;
COMMENT ON FUNCTION evq.survey() IS
$$Live events by type and state. due: of those that wait. due_since, state_since, published_at: the earliest of those looked at. is_exact:
events and due are exact, otherwise there are at least so many. looked_at: of so many events of the flow, the first in its line, and of those
in batches as many stretches; NULL = of all.$$;

CREATE FUNCTION evq.queues(OUT flow_type text, OUT event_type text, OUT state evq.event_state, OUT events bigint, OUT due bigint,
	OUT longest_in_state interval, OUT oldest interval, OUT is_exact boolean, OUT looked_at int)
RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off ROWS 50
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT f.flow_type, t.event_type, evq.state_name(s.state), s.events, s.due,
		clock_timestamp() - s.state_since, clock_timestamp() - s.published_at, s.is_exact, s.looked_at
	FROM evq.survey() s JOIN evq.flow f USING (flow_no) JOIN evq.event_type t USING (event_type_no);
END
$$;
COMMENT ON FUNCTION evq.queues() IS 'The rows of evq.queue';

CREATE FUNCTION evq.holders(OUT worker text, OUT flow_type text, OUT events bigint, OUT oldest_acquired_at timestamptz, OUT next_permit_due_at timestamptz)
RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off ROWS 50
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
	most CONSTANT int := 10000;
	most_stretches CONSTANT int := 1000;
BEGIN
	RETURN QUERY
	WITH counted AS MATERIALIZED (SELECT t.flow_no, c.* FROM evq.live_counts() c JOIN evq.event_type t USING (event_type_no)),
	-- held: NULL = not known.
	flow AS MATERIALIZED (
		SELECT t.flow_no, CASE WHEN bool_and(coalesce(c.is_exact, false)) THEN sum(c.events) FILTER (WHERE c.state = 'p')::bigint END AS held,
			CASE WHEN bool_and(coalesce(c.is_exact, false)) THEN sum(c.events) <= most ELSE false END AS is_short
		FROM evq.event_type t LEFT JOIN counted c USING (event_type_no) GROUP BY 1),
	found AS MATERIALIZED (
		SELECT f.flow_no, h.*
		FROM flow f
		CROSS JOIN LATERAL (
			SELECT w.worker, w.state_since, w.state_due_at, 1 AS events
			FROM (SELECT e.worker, e.state, e.state_since, e.state_due_at FROM evq.live_event e WHERE e.flow_no = f.flow_no
				  ORDER BY e.attempt_scheduled_at, e.event_id LIMIT most) w
			WHERE w.state = 'p'
			LIMIT CASE WHEN f.is_short THEN NULL ELSE f.held END) h
		WHERE f.held IS DISTINCT FROM 0
		UNION ALL
		SELECT f.flow_no, l.worker, l.state_since, l.state_due_at, l.events
		FROM flow f CROSS JOIN LATERAL evq.line(f.flow_no, true, most_stretches) l
		WHERE f.held IS DISTINCT FROM 0 AND l.state = 'p' AND l.events > 0),
	rest AS (
		SELECT f.flow_no, f.held - coalesce((SELECT sum(h.events)::bigint FROM found h WHERE h.flow_no = f.flow_no), 0) AS events FROM flow f
		WHERE NOT f.is_short AND CASE WHEN f.held IS NULL THEN EXISTS (SELECT FROM evq.event e WHERE e.flow_no = f.flow_no
				ORDER BY e.attempt_scheduled_at, e.event_id OFFSET most LIMIT 1)
			OR EXISTS (SELECT FROM evq.line(f.flow_no, true, most_stretches + 1) OFFSET most_stretches) ELSE f.held > 0 END)
	SELECT h.worker, f.flow_type, sum(h.events)::bigint, min(h.state_since), min(h.state_due_at) FROM found h JOIN evq.flow f USING (flow_no) GROUP BY 1, 2
	UNION ALL
	SELECT NULL, f.flow_type, r.events, NULL, NULL FROM rest r JOIN evq.flow f USING (flow_no) WHERE r.events IS NULL OR r.events > 0;
END
$$;
COMMENT ON FUNCTION evq.holders() IS 'The rows of evq.workers';

CREATE FUNCTION evq.group_usage(OUT flow_no int, OUT group_key text, OUT waiting bigint, OUT on_offer bigint, OUT processing bigint,
	OUT due_since timestamptz, OUT max_processing int, OUT rate float8, OUT per interval, OUT burst int, OUT looked_at int,
	OUT paused_at timestamptz, OUT paused_until timestamptz, OUT pause_reason text)
RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off ROWS 50
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
	most CONSTANT int := 10000;
	present CONSTANT timestamptz := clock_timestamp();
BEGIN
	RETURN QUERY
	WITH flow AS MATERIALIZED (
		SELECT f.* FROM evq.flow f
		WHERE f.max_processing_per_group IS NOT NULL OR f.rate_per_group IS NOT NULL OR f.group_by IS NOT NULL OR f.fair
			OR EXISTS (SELECT FROM evq.flow_group g WHERE g.flow_no = f.flow_no)),
	line AS MATERIALIZED (
		SELECT f.flow_no, l.* FROM flow f CROSS JOIN LATERAL (
			SELECT e.group_key, e.state, e.attempt_scheduled_at FROM evq.event e WHERE e.flow_no = f.flow_no
			ORDER BY e.attempt_scheduled_at, e.event_id LIMIT most + 1) l),
	reach AS (SELECT l.flow_no, CASE WHEN count(*) > most THEN most END AS looked_at FROM line l GROUP BY 1),
	seen AS (
		SELECT l.flow_no, l.group_key, count(*) FILTER (WHERE l.state = 'a' AND l.attempt_scheduled_at <= present) AS waiting,
			count(*) FILTER (WHERE l.state = 'd') AS on_offer, count(*) FILTER (WHERE l.state = 'p') AS processing,
			min(l.attempt_scheduled_at) FILTER (WHERE l.state = 'a' AND l.attempt_scheduled_at <= present) AS due_since
		FROM line l WHERE l.group_key IS NOT NULL GROUP BY 1, 2),
	known AS (
		SELECT s.flow_no, s.group_key FROM seen s
		UNION SELECT g.flow_no, g.group_key FROM evq.flow_group g)
	SELECT k.flow_no, k.group_key, coalesce(s.waiting, 0), coalesce(s.on_offer, 0), coalesce(s.processing, 0), s.due_since,
		CASE WHEN f.max_processing_per_group IS NOT NULL THEN coalesce(g.max_processing, f.max_processing_per_group) END,
		CASE WHEN f.rate_per_group IS NOT NULL THEN coalesce(g.rate, f.rate_per_group) END,
		CASE WHEN f.rate_per_group IS NOT NULL THEN coalesce(g.per, f.per_per_group, '1 s') END,
		CASE WHEN f.rate_per_group IS NOT NULL THEN coalesce(g.burst, f.burst_per_group) END, r.looked_at,
		CASE WHEN g.paused_until > present THEN g.paused_at END, CASE WHEN g.paused_until > present THEN g.paused_until END,
		CASE WHEN g.paused_until > present THEN g.pause_reason END
	FROM known k JOIN flow f USING (flow_no)
	LEFT JOIN seen s USING (flow_no, group_key) LEFT JOIN evq.flow_group g USING (flow_no, group_key) LEFT JOIN reach r USING (flow_no);
END
$$;
COMMENT ON FUNCTION evq.group_usage() IS
$$What each group has of its flow, and may have: of those with an event among the first 10,000 in the line of their flow, and those with limits
of their own. looked_at: 10,000 where there are more in the line; NULL = all were counted.$$;

CREATE FUNCTION evq.blocks(OUT flow_type text, OUT flow_id text, OUT blocked_by uuid, OUT state evq.event_state, OUT since timestamptz,
	OUT waiting bigint, OUT why text, OUT looked_at int)
RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off ROWS 50
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
	most CONSTANT int := 1000;
	present CONSTANT timestamptz := clock_timestamp();
BEGIN
	RETURN QUERY
	WITH surveyed AS MATERIALIZED (SELECT * FROM evq.survey()),
	line AS MATERIALIZED (
		SELECT f.flow_no, f.looked_at, l.event_id, l.flow_id, l.ordered
		FROM (SELECT DISTINCT s.flow_no, s.looked_at FROM surveyed s) f CROSS JOIN LATERAL evq.first_in_line(f.flow_no, most) l),
	head AS (
		SELECT h.*, c.looked_at, c.events - (SELECT count(*) FROM line l WHERE l.event_id = h.event_id) AS waiting
		FROM (SELECT l.flow_no, l.flow_id, min(l.looked_at) AS looked_at, count(*) AS events FROM line l WHERE l.ordered GROUP BY 1, 2) c
		CROSS JOIN LATERAL (
			SELECT e.* FROM evq.live_event e WHERE e.flow_no = c.flow_no AND e.flow_id = c.flow_id AND e.ordered ORDER BY e.event_id LIMIT 1) h),
	usage AS (
		SELECT s.flow_no, coalesce(sum(s.events) FILTER (WHERE s.state = 'd'), 0) AS dispatched, coalesce(sum(s.events) FILTER (WHERE s.state = 'p'), 0) AS processing,
			sum(s.due)::bigint AS waiting, min(s.due_since) FILTER (WHERE s.state = 'a') AS since, min(s.looked_at) AS looked_at
		FROM surveyed s GROUP BY 1)
	SELECT f.flow_type, h.flow_id, h.event_id, evq.state_name(h.state), h.state_since, h.waiting,
		CASE
			WHEN h.state = 'p' THEN concat('in processing', ' by ' || h.worker, '; its permit holds until ', h.state_due_at)
			WHEN h.state = 'u' THEN format('suspended until %s, or until its trigger comes', h.state_due_at)
			WHEN t.is_suspended THEN format('its type, %s, is suspended', t.event_type)
			WHEN h.state = 'd' THEN 'dispatched, and no worker has acquired it'
			WHEN h.attempt_scheduled_at > present THEN format('it waits for attempt %s, at %s', h.attempts_used + 1, h.attempt_scheduled_at)
			ELSE 'due, and not dispatched yet'
		END, h.looked_at
	FROM head h JOIN evq.flow f USING (flow_no) JOIN evq.event_type t USING (event_type_no)
	WHERE h.waiting > 0
	UNION ALL
	SELECT f.flow_type, NULL, NULL, NULL, u.since, u.waiting,
		CASE WHEN u.dispatched + u.processing >= f.max_processing
			THEN format('%s dispatched and %s in processing: max_processing is %s', u.dispatched, u.processing, f.max_processing)
			ELSE format('%s dispatched and not acquired: max_dispatched is %s', u.dispatched, f.max_dispatched)
		END, u.looked_at
	FROM usage u JOIN evq.flow f USING (flow_no)
	WHERE u.waiting > 0 AND coalesce(f.paused_until <= present, true) AND (u.dispatched + u.processing >= f.max_processing OR u.dispatched >= f.max_dispatched)
	UNION ALL
	SELECT f.flow_type, NULL, NULL, NULL, u.since, u.waiting,
		format('at most %s events begin in %s: rate', f.rate, coalesce(f.per, '1 s')), u.looked_at
	FROM usage u JOIN evq.flow f USING (flow_no)
	WHERE u.waiting > 0 AND f.rate IS NOT NULL AND u.dispatched < f.max_dispatched
		AND (f.max_processing IS NULL OR u.dispatched + u.processing < f.max_processing)
	UNION ALL
	(SELECT f.flow_type, NULL, NULL, NULL, g.due_since, g.waiting,
		CASE
			WHEN g.paused_until IS NOT NULL
			THEN concat('group ', g.group_key, ' is paused until ', coalesce(nullif(g.paused_until, 'infinity')::text, 'evq_resume_group() is called'), ': ' || g.pause_reason)
			WHEN g.on_offer + g.processing >= g.max_processing
			THEN format('group %s: %s dispatched and %s in processing: max_processing_per_group is %s', g.group_key, g.on_offer, g.processing, g.max_processing)
			ELSE format('group %s: at most %s events begin in %s: rate_per_group', g.group_key, g.rate, g.per)
		END, g.looked_at
	FROM evq.group_usage() g JOIN evq.flow f USING (flow_no)
	WHERE g.waiting > 0 AND (g.on_offer + g.processing >= g.max_processing OR g.rate IS NOT NULL OR g.paused_until IS NOT NULL)
	ORDER BY g.waiting DESC, g.group_key LIMIT 20)
	UNION ALL
	SELECT f.flow_type, NULL, NULL, NULL, w.since, w.waiting,
		CASE WHEN n.by_group THEN format('event type %s: limit %s, of each group: %s', t.event_type, n.limit_name, concat_ws(', ', 'max_processing is ' || n.max_processing,
				'at most ' || n.rate || ' tokens in ' || coalesce(n.per, '1 s')))
			WHEN v.in_use >= n.max_processing THEN format('event type %s: %s events dispatched or in processing: max_processing of limit %s is %s', t.event_type, v.in_use, n.limit_name, n.max_processing)
			ELSE format('event type %s: at most %s tokens in %s: rate of limit %s', t.event_type, n.rate, coalesce(n.per, '1 s'), n.limit_name)
		END, w.looked_at
	FROM evq.named_limit n JOIN evq.event_type t ON n.limit_name = ANY (t.limits) JOIN evq.flow f USING (flow_no)
	CROSS JOIN LATERAL (SELECT sum(s.due)::bigint AS waiting, min(s.due_since) AS since, min(s.looked_at) AS looked_at FROM surveyed s WHERE s.event_type_no = t.event_type_no AND s.state = 'a') w
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(s.events), 0) AS in_use FROM surveyed s JOIN evq.event_type o USING (event_type_no) WHERE n.limit_name = ANY (o.limits) AND s.state IN ('d', 'p')) v
	WHERE w.waiting > 0 AND (n.rate IS NOT NULL OR CASE WHEN n.by_group THEN n.max_processing IS NOT NULL ELSE v.in_use >= n.max_processing END)
	UNION ALL
	SELECT f.flow_type, NULL, NULL, NULL, min(s.due_since), sum(CASE s.state WHEN 'a' THEN s.due ELSE s.events END)::bigint,
		format('event type %s is suspended', t.event_type), min(s.looked_at)
	FROM surveyed s JOIN evq.event_type t USING (event_type_no) JOIN evq.flow f ON f.flow_no = s.flow_no
	WHERE t.is_suspended AND (s.due > 0 OR s.state = 'd')
	GROUP BY f.flow_type, t.event_type
	UNION ALL
	SELECT f.flow_type, NULL, NULL, NULL, f.paused_at, coalesce(sum(CASE s.state WHEN 'a' THEN s.due WHEN 'd' THEN s.events END), 0)::bigint,
		concat('the flow is paused until ', coalesce(nullif(f.paused_until, 'infinity')::text, 'evq_resume_flow() is called'), ': ' || f.pause_reason), min(s.looked_at)
	FROM evq.flow f LEFT JOIN surveyed s USING (flow_no)
	WHERE f.paused_until > present
	GROUP BY f.flow_no;
END
$$;
COMMENT ON FUNCTION evq.blocks() IS 'The rows of evq.blocked_flows';
