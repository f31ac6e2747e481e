-- Limits, and how much of them is in use.

CREATE FUNCTION evq.limits_in_use(OUT flow_type text, OUT limit_name text, OUT most float8, OUT per interval, OUT burst int,
	OUT in_use bigint, OUT waiting bigint, OUT looked_at int, OUT kind text, OUT by_group boolean, OUT event_types text[])
RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off ROWS 50
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH surveyed AS MATERIALIZED (SELECT * FROM evq.survey()),
	usage AS (
		SELECT s.flow_no, coalesce(sum(s.events) FILTER (WHERE s.state = 'd'), 0)::bigint AS dispatched,
			coalesce(sum(s.events) FILTER (WHERE s.state = 'p'), 0)::bigint AS processing, coalesce(sum(s.due), 0)::bigint AS waiting, min(s.looked_at) AS looked_at
		FROM surveyed s GROUP BY 1)
	SELECT f.flow_type, l.limit_name, l.most, l.per, l.burst, l.in_use, coalesce(u.waiting, 0), u.looked_at,
		CASE l.limit_name WHEN 'max_dispatched' THEN l.limit_name ELSE replace(l.limit_name, '_per_group', '') END, l.limit_name ~ '_per_group$', NULL::text[]
	FROM evq.flow f LEFT JOIN usage u USING (flow_no)
	CROSS JOIN LATERAL (VALUES
		('max_dispatched', f.max_dispatched::float8, NULL::interval, NULL::int, coalesce(u.dispatched, 0)),
		('max_processing', f.max_processing, NULL, NULL, coalesce(u.dispatched + u.processing, 0)),
		('max_processing_per_group', f.max_processing_per_group, NULL, NULL, NULL),
		('rate', f.rate, coalesce(f.per, '1 s'), f.burst, NULL),
		('rate_per_group', f.rate_per_group, coalesce(f.per_per_group, '1 s'), f.burst_per_group, NULL)) l (limit_name, most, per, burst, in_use)
	WHERE l.most IS NOT NULL
	UNION ALL
	SELECT NULL, n.limit_name, l.most, l.per, l.burst, CASE WHEN l.kind = 'max_processing' AND NOT n.by_group THEN coalesce(u.in_use, 0) END, coalesce(u.waiting, 0), u.looked_at,
		l.kind, n.by_group, coalesce(y.names, '{}')
	FROM evq.named_limit n
	CROSS JOIN LATERAL (VALUES
		('max_processing', n.max_processing::float8, NULL::interval, NULL::int),
		('rate', n.rate, coalesce(n.per, '1 s'), n.burst)) l (kind, most, per, burst)
	CROSS JOIN LATERAL (SELECT array_agg(t.event_type ORDER BY t.event_type) AS names FROM evq.event_type t WHERE NOT t.dropped AND n.limit_name = ANY (t.limits)) y
	CROSS JOIN LATERAL (
		SELECT sum(s.events) FILTER (WHERE s.state IN ('d', 'p'))::bigint AS in_use, sum(s.due)::bigint AS waiting, min(s.looked_at) AS looked_at
		FROM surveyed s JOIN evq.event_type t USING (event_type_no) WHERE n.limit_name = ANY (t.limits)) u
	WHERE l.most IS NOT NULL OR (l.kind = 'max_processing' AND n.rate IS NULL);
END
$$;
COMMENT ON FUNCTION evq.limits_in_use() IS 'The rows of evq.limits';

CREATE VIEW evq.limits AS
SELECT l.flow_type, l.limit_name, l.most, l.per, l.burst, l.in_use, l.waiting, l.looked_at, l.kind, l.by_group, l.event_types FROM evq.limits_in_use() l;
COMMENT ON VIEW evq.limits IS
'The limits of each flow, and those of evq_configure_limit(), one row each and two where there is a rate beside max_processing, and how much of them is in use';
COMMENT ON COLUMN evq.limits.flow_type IS 'The flow; NULL = a limit of evq_configure_limit()';
COMMENT ON COLUMN evq.limits.limit_name IS 'Its name: of a flow, that of the argument of evq_configure_flow()';
COMMENT ON COLUMN evq.limits.most IS 'So many events; of a rate: in the time "per"; NULL = no limit at present';
COMMENT ON COLUMN evq.limits.per IS 'The time of a rate';
COMMENT ON COLUMN evq.limits.burst IS 'So many may begin at once; NULL = as many as the rate allows in a tenth of a second, one at least';
COMMENT ON COLUMN evq.limits.in_use IS 'So many events count against it now; NULL of rates, and of what evq.groups has by group';
COMMENT ON COLUMN evq.limits.waiting IS 'So many events of the flow, or of these types, are due, and wait';
COMMENT ON COLUMN evq.limits.looked_at IS 'Of so many events of the flow, the first in its line; NULL = of all';
COMMENT ON COLUMN evq.limits.kind IS 'max_dispatched, max_processing or rate';
COMMENT ON COLUMN evq.limits.by_group IS 'Each group has it by itself';
COMMENT ON COLUMN evq.limits.event_types IS 'Those that have it; NULL = all of the flow';

CREATE VIEW evq.groups AS
SELECT f.flow_type, g.group_key, g.max_processing, g.rate, g.per, g.burst, g.waiting, g.on_offer, g.processing, g.due_since, g.looked_at,
	g.paused_until IS NOT NULL AS is_paused, g.paused_at, nullif(g.paused_until, 'infinity') AS paused_until, g.pause_reason,
	CASE WHEN f.fair THEN coalesce(w.weight, 1) END AS weight
FROM evq.group_usage() g JOIN evq.flow f USING (flow_no) LEFT JOIN evq.flow_group w USING (flow_no, group_key);
COMMENT ON VIEW evq.groups IS
$$The groups of flows that are fair, or have group_by or limits by group: what each may have, and has. Those with an event among the first 10,000 in the line of
their flow, those that evq_configure_group() has given limits or a weight of their own, and those that evq_pause_group() has paused.$$;
COMMENT ON COLUMN evq.groups.weight IS 'So many turns it has where another has one; NULL = its flow is not fair';
COMMENT ON COLUMN evq.groups.max_processing IS 'At most so many of its events offered or in processing at once; NULL = no limit';
COMMENT ON COLUMN evq.groups.rate IS 'At most so many of its events begin, in the time "per", beyond the burst; NULL = no limit';
COMMENT ON COLUMN evq.groups.per IS 'The time of its rate';
COMMENT ON COLUMN evq.groups.burst IS 'So many may begin at once; NULL = as many as the rate allows in a tenth of a second, one at least';
COMMENT ON COLUMN evq.groups.waiting IS 'How many are due, and wait';
COMMENT ON COLUMN evq.groups.on_offer IS 'How many are dispatched, and not acquired';
COMMENT ON COLUMN evq.groups.processing IS 'How many are in processing';
COMMENT ON COLUMN evq.groups.due_since IS 'Since when the first of those that wait has been due';
COMMENT ON COLUMN evq.groups.looked_at IS 'Of so many events of the flow, the first in its line; NULL = of all';
COMMENT ON COLUMN evq.groups.is_paused IS 'Is nothing of it dispatched or acquired? See evq_pause_group()';
COMMENT ON COLUMN evq.groups.paused_at IS 'Since when; NULL = it is not paused';
COMMENT ON COLUMN evq.groups.paused_until IS 'When it goes on by itself; NULL = when evq_resume_group() is called, or it is not paused';
COMMENT ON COLUMN evq.groups.pause_reason IS 'Why, as who paused it has said';
