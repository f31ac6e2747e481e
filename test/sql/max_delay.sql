-- max_delay bounds what grows beyond the list of delays, and never makes a delay shorter than the list's last one.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

-- The delays before the attempts of an event that fails each time, in seconds.
CREATE FUNCTION lab.delays(event_type text, attempts int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id uuid := evq_publish(event_type, NULL, 'case');
	delays text;
BEGIN
	FOR n IN 1..attempts LOOP
		UPDATE evq.event SET attempt_scheduled_at = published_at WHERE event_id = id;
		PERFORM evq_acquire(id);
		PERFORM evq_fail(id, 'no');
		delays := concat_ws(' ', delays, (SELECT seconds(e.attempt_scheduled_at - e.state_since) FROM evq.events e WHERE e.event_id = id));
	END LOOP;
	RETURN delays;
END
$$;

SELECT evq_configure(t, 'F', 10, attempt_delays => '{0 s, 30 s, 100 s}', max_delay => m::interval, backoff_factor => b)
FROM (VALUES ('BELOW', '50 s', 1), ('BELOW_GROWING', '50 s', 3), ('ZERO', '0 s', 2), ('BETWEEN', '250 s', 2), ('ABOVE', '1 day', 2)) v (t, m, b) \g /dev/null
SELECT t, lab.delays(t, 6) FROM unnest('{BELOW, BELOW_GROWING, ZERO, BETWEEN, ABOVE}'::text[]) t;
-- With a jitter, that of each time lies within its share, and the bound holds.
SELECT evq_configure('JITTER', 'F', 1000, attempt_delays => '{0 s, 100 s}', max_delay => '50 s', jitter => 0.5) \gset
SELECT min(d) BETWEEN 50 AND 99 AS shorter, max(d) = 100 AS bounded FROM unnest(string_to_array(lab.delays('JITTER', 200), ' ')::int[]) WITH ORDINALITY AS x (d, n) WHERE n > 1;
-- What is counted beforehand is the same.
SELECT evq.attempts_that_fit(10, '430 s', '{0 s, 30 s, 100 s}', 3, '50 s'), evq.attempts_that_fit(10, '431 s', '{0 s, 30 s, 100 s}', 3, '50 s');

-- What the list says is not moved by jitter, and no delay stays none, however many attempts were made.
SELECT evq_configure('jitter', 'F', 5, '1 day', '{0, 10 s}', jitter => 1) \gset
SELECT evq_publish('jitter', NULL, 'jitter') \gset
SELECT evq_fail(ev('jitter'), 'no') FROM evq_acquire(ev('jitter'));
SELECT attempt_scheduled_at - state_since AS delay FROM evq.events WHERE flow_id = 'jitter';
SELECT evq.attempts_that_fit(1000, '1 day', '{0 s}', 100, '1 day');
