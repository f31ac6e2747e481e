-- Configuration verbs. Every argument but the name means "leave as it is" when NULL,
-- or the column's default where the row is new. One statement may make thousands of rows: a plan that was made for a small table
-- must not read all of them each time.

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
	ordered boolean DEFAULT NULL, notify_payload boolean DEFAULT NULL, group_by text DEFAULT NULL, max_processing_per_group int DEFAULT NULL,
	rate numeric DEFAULT NULL, per interval DEFAULT NULL, burst int DEFAULT NULL,
	rate_per_group numeric DEFAULT NULL, per_per_group interval DEFAULT NULL, burst_per_group int DEFAULT NULL,
	fair boolean DEFAULT NULL, priority_step interval DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
DECLARE
	before jsonb := (SELECT to_jsonb(f) - 'is_paused'::text FROM evq.flows f WHERE f.flow_type = evq_configure_flow.flow_type);
	violated text;
BEGIN
	IF flow_type IS NULL OR flow_type COLLATE "C" !~ '^[A-Za-z][A-Za-z0-9_]{0,58}$' THEN
		RAISE EXCEPTION 'flow type % is not a valid name', coalesce(quote_literal(flow_type), 'NULL')
			USING ERRCODE = 'EQ006', HINT = 'Use a letter, then letters, digits and underscores, 59 bytes at most.';
	END IF;
	channel := coalesce(channel, (SELECT f.channel FROM evq.flow f WHERE f.flow_type = evq_configure_flow.flow_type),
						'evq_' || lower(flow_type COLLATE "C"));
	IF channel = 'evq_events'
		OR EXISTS (SELECT FROM evq.flow f WHERE f.channel = evq_configure_flow.channel
										 AND f.flow_type <> evq_configure_flow.flow_type) THEN
		RAISE EXCEPTION 'channel "%" of flow "%" is taken', channel, flow_type
			USING ERRCODE = 'EQ006', HINT = 'Name the flow otherwise or pass another channel.';
	END IF;
	INSERT INTO evq.flow AS f (flow_type, channel, max_dispatched, max_processing, dispatch_timeout, delivery, ordered, notify_payload, group_by,
		max_processing_per_group, rate, per, burst, rate_per_group, per_per_group, burst_per_group, fair, priority_step)
	VALUES (evq_configure_flow.flow_type, evq_configure_flow.channel,
			coalesce(evq_configure_flow.max_dispatched, 1000), nullif(evq_configure_flow.max_processing, 0),
			coalesce(evq_configure_flow.dispatch_timeout, '30 s'), coalesce(evq_configure_flow.delivery, 'push'),
			coalesce(evq_configure_flow.ordered, false), coalesce(evq_configure_flow.notify_payload, false),
			nullif(evq_configure_flow.group_by, ''), nullif(evq_configure_flow.max_processing_per_group, 0),
			nullif(evq_configure_flow.rate, 0), evq_configure_flow.per, nullif(evq_configure_flow.burst, 0),
			nullif(evq_configure_flow.rate_per_group, 0), evq_configure_flow.per_per_group, nullif(evq_configure_flow.burst_per_group, 0),
			coalesce(evq_configure_flow.fair, false), nullif(evq_configure_flow.priority_step, '0'))
	ON CONFLICT ON CONSTRAINT flow_flow_type_key DO UPDATE SET
		channel = EXCLUDED.channel,
		max_dispatched = coalesce(evq_configure_flow.max_dispatched, f.max_dispatched),
		max_processing = nullif(coalesce(evq_configure_flow.max_processing, f.max_processing), 0),
		dispatch_timeout = coalesce(evq_configure_flow.dispatch_timeout, f.dispatch_timeout),
		delivery = coalesce(evq_configure_flow.delivery, f.delivery),
		ordered = coalesce(evq_configure_flow.ordered, f.ordered),
		notify_payload = coalesce(evq_configure_flow.notify_payload, f.notify_payload),
		group_by = nullif(coalesce(evq_configure_flow.group_by, f.group_by), ''),
		max_processing_per_group = nullif(coalesce(evq_configure_flow.max_processing_per_group, f.max_processing_per_group), 0),
		rate = nullif(coalesce(evq_configure_flow.rate, f.rate), 0),
		per = coalesce(evq_configure_flow.per, f.per),
		burst = nullif(coalesce(evq_configure_flow.burst, f.burst), 0),
		rate_per_group = nullif(coalesce(evq_configure_flow.rate_per_group, f.rate_per_group), 0),
		per_per_group = coalesce(evq_configure_flow.per_per_group, f.per_per_group),
		burst_per_group = nullif(coalesce(evq_configure_flow.burst_per_group, f.burst_per_group), 0),
		fair = coalesce(evq_configure_flow.fair, f.fair),
		priority_step = nullif(coalesce(evq_configure_flow.priority_step, f.priority_step), '0');
	PERFORM evq.record_change('configure_flow', flow_type, before,
		(SELECT to_jsonb(f) - 'is_paused'::text FROM evq.flows f WHERE f.flow_type = evq_configure_flow.flow_type));
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS violated = CONSTRAINT_NAME;
	PERFORM evq.raise_bad_configuration('evq.flow', violated);
WHEN numeric_value_out_of_range THEN
	RAISE EXCEPTION 'rate is out of range' USING ERRCODE = 'EQ006', HINT = 'Pass a number above 0, up to 1000000000.';
END
$$;
COMMENT ON FUNCTION @extschema@.evq_configure_flow(text, text, int, int, interval, text, boolean, boolean, text, int, numeric, interval, int, numeric, interval, int, boolean, interval) IS
$$Makes or changes a flow. NULL leaves a value as it is, or sets the default for a new flow. Takes effect at commit.
flow_type: 1 to 59 bytes: a letter, then letters, digits and underscores.
channel: of its notifications; by default evq_ and the flow type in lower case.
max_dispatched: at most so many events offered and not yet acquired; by default 1000.
max_processing: at most so many events offered or in processing at once; 0 = no limit, which is the default.
dispatch_timeout: an event that nobody acquired for so long is offered again; by default 30 seconds.
delivery: push = each event is notified; pull = one wake-up when work comes; by default push.
ordered: one event of a flow_id at a time, in the order of their publication, of those published from then on; by default
false.
notify_payload: whether notifications carry the payload, which any role that listens can read; by default false.
group_by: where the group key of an event comes from whose publisher gives none: flow_id; flow_id/1, what comes before its
first slash; header:NAME; payload:/a/b, a JSON pointer; '' = nowhere, which is the default.
max_processing_per_group: at most so many events of one group offered or in processing at once; 0 = no limit, the default.
rate, per, burst: at most so many events begin in that time (by default a second), and burst of them at once (by default as
many as the rate allows in a tenth of a second, one at least): in any time t never more than burst + rate * t. rate 0 = no
limit, the default; burst 0 = the default. Only a dispatcher keeps a rate: without one these events wait.
rate_per_group, per_per_group, burst_per_group: the same for the events of one group.
fair: whether groups that have work take turns, by the weights that evq_configure_group() gives them, and events of no group as
one; by default false: the order is by priority and time, whose they are. Only a dispatcher knows whose turn it is.
priority_step: an event's priority counts as one higher for each such time that it has waited, 1 ms to 365 days, so that none
waits for ever; 0 = never, the default.
Errors: EQ006 bad name, taken channel, value out of range.$$;

CREATE FUNCTION evq.attempts_that_fit(max_attempts int, lifespan interval, attempt_delays interval[], backoff_factor float8, max_delay interval)
RETURNS int AS 'MODULE_PATHNAME', 'evq_sql_attempts_that_fit' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.attempts_that_fit(int, interval, interval[], float8, interval) IS
	'How many attempts can begin within a lifespan by their delays alone, if each fails at once';

-- As evq_rate_make() has it.
CREATE FUNCTION evq.burst_of(rate float8, per interval, burst int) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(burst, greatest(least(floor(1e8 / least(greatest(ceil(extract(epoch FROM coalesce(per, '1 s'))::float8 * 1e9 / rate), 1), 315360000000000000)), 1000000), 1))::int
$$;
COMMENT ON FUNCTION evq.burst_of(float8, interval, int) IS 'How many tokens the bucket of a rate holds';

CREATE FUNCTION evq.require_limits(limits text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	unknown text;
BEGIN
	-- Nobody drops them, or makes them smaller, before our commit.
	PERFORM FROM evq.named_limit l WHERE l.limit_name = ANY (limits) ORDER BY l.limit_no FOR SHARE;
	SELECT u.name INTO unknown FROM unnest(limits) u(name)
	WHERE u.name IS NOT NULL AND NOT EXISTS (SELECT FROM evq.named_limit l WHERE l.limit_name = u.name) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'unknown limit %', quote_ident(left(unknown, 63))
			USING ERRCODE = 'EQ001', HINT = 'Configure it with evq_configure_limit().';
	END IF;
	IF (SELECT count(DISTINCT u.name) <> count(u.name) FROM unnest(limits) u(name)) THEN
		RAISE EXCEPTION 'limits names one twice' USING ERRCODE = 'EQ006', HINT = 'Name each limit once.';
	END IF;
END
$$;
COMMENT ON FUNCTION evq.require_limits(text[]) IS 'Locks the rows of named limits; EQ001 where one is missing, EQ006 where one is named twice';

CREATE FUNCTION evq.check_costs(only_type text, only_limit text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad record;
BEGIN
	SELECT t.event_type, coalesce(t.cost, 1) AS cost, l.limit_name, evq.burst_of(l.rate, l.per, l.burst) AS burst INTO bad
	FROM evq.event_type t JOIN evq.named_limit l ON l.limit_name = ANY (t.limits)
	WHERE NOT t.dropped AND l.rate IS NOT NULL AND coalesce(t.cost, 1) > evq.burst_of(l.rate, l.per, l.burst)
		AND (only_type IS NULL OR t.event_type = only_type) AND (only_limit IS NULL OR l.limit_name = only_limit) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'an event of type "%" costs %, and limit "%" has a burst of %: it could never begin', bad.event_type, bad.cost, bad.limit_name, bad.burst
			USING ERRCODE = 'EQ006', HINT = 'Raise the burst of the limit, or lower the cost.';
	END IF;
END
$$;
COMMENT ON FUNCTION evq.check_costs(text, text) IS 'EQ006 where an event of a type, or with a limit, costs more than the limit can ever have; NULL = of any';

-- A repeated call comes within a day, or much later where a person repeats it.
CREATE FUNCTION evq.forgets_keys(given evq.event_type) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT given.retention < interval '1 day' AND EXISTS (
	SELECT FROM evq.idempotency i WHERE i.event_type_no = given.event_type_no AND NOT starts_with(i.idempotency_key, 'schedule '))
$$;
COMMENT ON FUNCTION evq.forgets_keys(evq.event_type) IS
	'Are there idempotency keys of the type, other than those of schedules, and is its retention shorter than their use wants?';

CREATE FUNCTION evq.warn_of_configuration(given evq.event_type) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	fitting int := evq.attempts_that_fit(given.max_attempts, given.lifespan, given.attempt_delays, given.backoff_factor, given.max_delay);
BEGIN
	IF fitting < given.max_attempts THEN
		RAISE WARNING 'only % of the % attempts of event type "%" can begin within its lifespan, %', fitting, given.max_attempts, given.event_type, given.lifespan
			USING HINT = 'Give it a longer lifespan, shorter delays or fewer attempts: an event whose next attempt would begin later fails early.';
	END IF;
	IF evq.forgets_keys(given) THEN
		RAISE WARNING 'idempotency keys of event type "%" are forgotten % after the end of their event', given.event_type, given.retention
			USING HINT = 'Raise its retention above the time within which a call may be repeated.';
	END IF;
END
$$;
COMMENT ON FUNCTION evq.warn_of_configuration(evq.event_type) IS 'A WARNING where the delays of a type do not fit into its lifespan, or its retention is short for the keys it has';

CREATE FUNCTION evq.shift_lifespan(event_type_no int, shift interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	months int := 12 * extract(year FROM shift) + extract(month FROM shift);
	days int := extract(day FROM shift);
	-- As C reads an interval, whatever the calendar and the time zone say: a month has 30 days, a day 24 hours.
	exact interval := make_interval(hours => 24 * (30 * months + days)) + (shift - make_interval(months => months, days => days));
BEGIN
	-- What no live event is older than counts for none; ids know the time to the millisecond.
	DELETE FROM evq.lifespan_change c
	WHERE c.event_type_no = shift_lifespan.event_type_no AND NOT EXISTS (SELECT FROM evq.event e WHERE e.event_id < evq.first_id(c.changed_at + interval '1 ms'))
		AND NOT EXISTS (SELECT FROM evq.backlog k WHERE k.batch_id < evq.first_id(c.changed_at + interval '1 ms'));
	INSERT INTO evq.lifespan_change AS c VALUES (shift_lifespan.event_type_no, evq.clock_now(), exact)
	ON CONFLICT ON CONSTRAINT lifespan_change_pkey DO UPDATE SET shift = c.shift + EXCLUDED.shift;
	-- Of very many the first ones become one.
	WITH extra AS (
		DELETE FROM evq.lifespan_change c
		WHERE c.event_type_no = shift_lifespan.event_type_no
			AND c.changed_at < (SELECT n.changed_at FROM evq.lifespan_change n WHERE n.event_type_no = shift_lifespan.event_type_no
								ORDER BY n.changed_at DESC OFFSET 49 LIMIT 1)
		RETURNING c.shift)
	UPDATE evq.lifespan_change c SET shift = c.shift + (SELECT sum(x.shift) FROM extra x)
	WHERE c.event_type_no = shift_lifespan.event_type_no AND EXISTS (SELECT FROM extra)
		AND c.changed_at = (SELECT n.changed_at FROM evq.lifespan_change n WHERE n.event_type_no = shift_lifespan.event_type_no
							ORDER BY n.changed_at DESC OFFSET 49 LIMIT 1);
END
$$;
COMMENT ON FUNCTION evq.shift_lifespan(int, interval) IS 'Moves the end of the lifespan of all live events of a type';

CREATE FUNCTION evq.configure(event_type text, flow_type text, max_attempts int, lifespan interval, attempt_delays interval[],
	backoff_factor float8, max_delay interval, jitter float8, attempt_timeout interval, on_suspend_timeout text, on_fail_event_type text,
	priority int, max_payload_bytes int, retention interval, limits text[], cost int)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
DECLARE
	present evq.event_type;
	changed evq.event_type;
	before jsonb := (SELECT to_jsonb(t) FROM evq.event_types t WHERE t.event_type = configure.event_type);
	is_new boolean;
	wanted_flow_no int;
	violated text;
BEGIN
	IF event_type IS NULL OR event_type COLLATE "C" !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$' THEN
		RAISE EXCEPTION 'event type % is not a valid name', coalesce(quote_literal(event_type), 'NULL')
			USING ERRCODE = 'EQ006', HINT = 'Use letters, digits, and any of _ . : - after the first, 63 bytes at most.';
	END IF;
	SELECT * INTO present FROM evq.event_type t WHERE t.event_type = configure.event_type FOR UPDATE;
	is_new := NOT FOUND OR present.dropped;
	IF is_new AND flow_type IS NULL THEN
		RAISE EXCEPTION 'event type "%" is new and needs a flow type', event_type
			USING ERRCODE = 'EQ006', HINT = 'Pass flow_type.';
	END IF;
	IF flow_type IS NOT NULL THEN
		IF NOT EXISTS (SELECT FROM evq.flow f WHERE f.flow_type = configure.flow_type) THEN
			PERFORM @extschema@.evq_configure_flow(flow_type, NULL::text, NULL::int, NULL::int, NULL::interval, NULL::text, NULL::boolean, NULL::boolean, NULL::text, NULL::int,
				NULL::numeric, NULL::interval, NULL::int, NULL::numeric, NULL::interval, NULL::int, NULL::boolean, NULL::interval);
		END IF;
		SELECT f.flow_no INTO STRICT wanted_flow_no FROM evq.flow f WHERE f.flow_type = configure.flow_type;
		IF NOT is_new AND wanted_flow_no <> present.flow_no
			AND (EXISTS (SELECT FROM evq.event e WHERE e.event_type_no = present.event_type_no)
				OR EXISTS (SELECT FROM evq.batch_count c WHERE c.event_type_no = present.event_type_no)) THEN
			RAISE EXCEPTION 'event type "%" has live events in another flow', event_type
				USING ERRCODE = 'EQ003', HINT = 'Let them finish or cancel them, then move the type.';
		END IF;
	END IF;
	PERFORM evq.require_limits(limits);
	IF is_new THEN
		-- A dropped type comes back as a new one, under its old number.
		INSERT INTO evq.event_type AS t (event_type, flow_no) VALUES (configure.event_type, wanted_flow_no)
		ON CONFLICT ON CONSTRAINT event_type_event_type_key DO UPDATE SET
			flow_no = EXCLUDED.flow_no, max_attempts = DEFAULT, lifespan = DEFAULT, attempt_delays = DEFAULT,
			backoff_factor = DEFAULT, max_delay = DEFAULT, jitter = DEFAULT, attempt_timeout = DEFAULT,
			is_suspended = DEFAULT, on_suspend_timeout = DEFAULT, on_fail_event_type = DEFAULT, priority = DEFAULT,
			max_payload_bytes = DEFAULT, retention = DEFAULT, dropped = DEFAULT, limits = DEFAULT, cost = DEFAULT
		WHERE t.dropped;
	END IF;
	UPDATE evq.event_type t SET
		flow_no = coalesce(wanted_flow_no, t.flow_no),
		max_attempts = coalesce(configure.max_attempts, t.max_attempts),
		lifespan = coalesce(configure.lifespan, t.lifespan),
		attempt_delays = coalesce(configure.attempt_delays, t.attempt_delays),
		backoff_factor = coalesce(configure.backoff_factor, t.backoff_factor),
		max_delay = coalesce(configure.max_delay, t.max_delay),
		jitter = coalesce(configure.jitter, t.jitter),
		attempt_timeout = coalesce(configure.attempt_timeout, t.attempt_timeout),
		on_suspend_timeout = coalesce(configure.on_suspend_timeout, t.on_suspend_timeout),
		on_fail_event_type = nullif(coalesce(configure.on_fail_event_type, t.on_fail_event_type), ''),
		priority = coalesce(configure.priority, t.priority),
		max_payload_bytes = coalesce(configure.max_payload_bytes, t.max_payload_bytes),
		retention = coalesce(configure.retention, t.retention),
		limits = nullif(coalesce(configure.limits, t.limits), '{}'),
		cost = nullif(coalesce(configure.cost, t.cost), 1),
		dropped = false
	WHERE t.event_type = configure.event_type
	RETURNING * INTO changed;
	IF limits IS NOT NULL OR cost IS NOT NULL THEN
		PERFORM evq.check_costs(changed.event_type, NULL);
	END IF;
	IF NOT is_new AND changed.lifespan <> present.lifespan THEN
		PERFORM evq.shift_lifespan(changed.event_type_no, changed.lifespan - present.lifespan);
	END IF;
	IF EXISTS (
		SELECT FROM evq.event_type t LEFT JOIN evq.event_type o ON o.event_type = t.on_fail_event_type AND NOT o.dropped
		WHERE t.event_type = configure.event_type AND t.on_fail_event_type IS NOT NULL
			AND o.flow_no IS DISTINCT FROM t.flow_no) THEN
		RAISE EXCEPTION 'on-fail event type "%" is not configured in the flow of "%"',
			(SELECT t.on_fail_event_type FROM evq.event_type t WHERE t.event_type = configure.event_type), event_type
			USING ERRCODE = 'EQ001', HINT = 'Configure it first, in the flow of the event type that names it.';
	END IF;
	IF EXISTS (
		SELECT FROM evq.event_type t JOIN evq.event_type o ON o.event_type = t.on_fail_event_type
		WHERE t.on_fail_event_type = configure.event_type AND NOT t.dropped AND o.flow_no <> t.flow_no) THEN
		RAISE EXCEPTION 'event type "%" is the on-fail event of a type in another flow', event_type
			USING ERRCODE = 'EQ003', HINT = 'Change on_fail_event_type there first.';
	END IF;
	IF coalesce(max_attempts, 0) + coalesce(cardinality(attempt_delays), 0) + coalesce(backoff_factor, 0) > 0
		OR lifespan IS NOT NULL OR max_delay IS NOT NULL OR retention IS NOT NULL THEN
		PERFORM evq.warn_of_configuration(changed);
	END IF;
	PERFORM evq.record_change('configure', event_type, before,
		(SELECT to_jsonb(t) FROM evq.event_types t WHERE t.event_type = configure.event_type));
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS violated = CONSTRAINT_NAME;
	PERFORM evq.raise_bad_configuration('evq.event_type', violated);
WHEN numeric_value_out_of_range THEN
	RAISE EXCEPTION 'max_attempts or priority is out of range'
		USING ERRCODE = 'EQ006', HINT = 'Pass max_attempts up to 10000 and a priority between -32768 and 32767.';
END
$$;
COMMENT ON FUNCTION evq.configure(text, text, int, interval, interval[], float8, interval, float8, interval, text, text, int, int, interval, text[], int) IS
	'evq_configure(), with the owner''s rights: it takes no type whose conversion could be somebody else''s code';

CREATE FUNCTION @extschema@.evq_configure(event_type text, flow_type text DEFAULT NULL, max_attempts int DEFAULT NULL,
	lifespan interval DEFAULT NULL, attempt_delays anycompatiblearray DEFAULT NULL::text[], backoff_factor float8 DEFAULT NULL,
	max_delay interval DEFAULT NULL, jitter float8 DEFAULT NULL, attempt_timeout interval DEFAULT NULL,
	on_suspend_timeout text DEFAULT NULL, on_fail_event_type text DEFAULT NULL, priority int DEFAULT NULL,
	max_payload_bytes int DEFAULT NULL, retention interval DEFAULT NULL, limits text[] DEFAULT NULL, cost int DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM evq.configure(event_type, flow_type, max_attempts, lifespan, attempt_delays::interval[], backoff_factor, max_delay, jitter,
		attempt_timeout, on_suspend_timeout, on_fail_event_type, priority, max_payload_bytes, retention, limits, cost);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_configure(text, text, int, interval, anycompatiblearray, float8, interval, float8, interval, text, text, int, int, interval, text[], int) IS
$$Makes or changes an event type, and its flow where that is new. NULL leaves a value as it is, or sets the default for a new
type. Takes effect at commit, for events already published too. A WARNING says where delays do not fit into the lifespan, and
where keys are forgotten early.
event_type: 1 to 63 bytes: letters, digits, and any of _ . : - after the first.
flow_type: the flow of its events; required for a new type.
max_attempts: attempts in all, 1 to 10000; by default 3.
lifespan: time for all attempts together, from the publish or from run_at; by default 14 days.
attempt_delays: delay before attempt 1, 2, ...; the last one repeats. An array of interval, or of its text; by default {0 s,
10 s}.
backoff_factor: beyond that list each delay is the one before times this, 1 or more; by default 1.
max_delay: no delay grows beyond this; by default 1 day.
jitter: delays beyond the list move at random by up to this share of themselves, 0 to 1; by default 0.
attempt_timeout: how long a permit holds without heartbeat; by default 5 minutes.
on_suspend_timeout: expire or retry: what becomes of a suspended event that nobody activates; by default expire.
on_fail_event_type: published when an event fails for good or expires, of the same flow; '' = none again.
priority: higher is offered earlier, -32768 to 32767; by default 0.
max_payload_bytes: largest payload in bytes of jsonb; by default the setting evq.max_payload.
retention: how long a finished event and its idempotency key are kept, at least; by default 7 days. With 0 what succeeds
leaves nothing.
limits: names of limits of evq_configure_limit(), 8 at most, that its events have; by default none, {} = none again. An event
goes when each of them has room for it.
cost: tokens that an event takes of each of these that has a rate, 1 to its burst; by default 1.
Errors: EQ001 unknown on-fail type or limit, EQ003 live events or another type hinder a change of flow, EQ006 bad name or
value, or an event costs more than the burst of a limit.$$;

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
	PERFORM evq.record('suspend_event_type', NULL, event_type, NULL);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_suspend_event_type(text) IS
$$Stops dispatch and acquire of a type at commit; events published meanwhile wait, and their lifespan goes on.
event_type: a configured type.
Errors: EQ001 unknown event type.$$;

CREATE FUNCTION @extschema@.evq_unsuspend_event_type(event_type text)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted_no int := evq.require_event_type(event_type);
BEGIN
	UPDATE evq.event_type t SET is_suspended = false WHERE t.event_type_no = wanted_no;
	PERFORM evq.record('unsuspend_event_type', NULL, event_type, NULL);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_unsuspend_event_type(text) IS
$$Lets a suspended type go on at commit.
event_type: a configured type.
Errors: EQ001 unknown event type.$$;

CREATE FUNCTION @extschema@.evq_drop_event_type(event_type text)
RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	doomed_no int := evq.require_event_type(event_type);
BEGIN
	IF EXISTS (SELECT FROM evq.event e WHERE e.event_type_no = doomed_no)
		OR EXISTS (SELECT FROM evq.batch_count c WHERE c.event_type_no = doomed_no) THEN
		RAISE EXCEPTION 'event type "%" has live events', event_type
			USING ERRCODE = 'EQ003', HINT = 'Let them finish or cancel them first.';
	END IF;
	IF EXISTS (SELECT FROM evq.event_type t WHERE t.on_fail_event_type = evq_drop_event_type.event_type
											  AND NOT t.dropped AND t.event_type_no <> doomed_no) THEN
		RAISE EXCEPTION 'event type "%" is the on-fail event of another type', event_type
			USING ERRCODE = 'EQ003', HINT = 'Change on_fail_event_type there first.';
	END IF;
	UPDATE evq.event_type t SET dropped = true WHERE t.event_type_no = doomed_no;
	PERFORM evq.record('drop_event_type', NULL, event_type, NULL);
END
$$;
COMMENT ON FUNCTION @extschema@.evq_drop_event_type(text) IS
$$Removes an event type; its finished events stay readable.
event_type: a configured type.
Errors: EQ001 unknown event type, EQ003 it has live events, or is the on-fail event of another type.$$;
