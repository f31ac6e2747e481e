-- evq.blocked_flows: which event, limit or suspended type holds others up. evq_event: the timeline.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab
SET datestyle = ISO;

SELECT evq_configure('A', 'F', 3, '1 hour', '{0 s, 1 min}'), evq_configure('B', 'F') \g /dev/null
SELECT evq_configure_flow('F', ordered => true) \g /dev/null
SELECT evq_configure('P', 'PLAIN', 3, '1 hour', '{0 s}') \g /dev/null
SELECT evq_publish('A', NULL, 'x', '1'), evq_publish('B', NULL, 'x', '2'), evq_publish('B', NULL, 'x', '3'), evq_publish('A', NULL, 'alone') \g /dev/null
CREATE VIEW lab.blocked AS
SELECT flow_type, flow_id, (SELECT payload FROM evq.payloads p WHERE p.event_id = blocked_by) AS blocked_by, state, waiting, masked(why) AS why
FROM evq.blocked_flows ORDER BY 1, 2;

-- An ordered flow: each state of the oldest event.
SELECT * FROM blocked;
SELECT dispatched FROM evq_tick();
SELECT * FROM blocked;
SELECT count(*) FROM evq_acquire(ev('x'), 'w');
SELECT * FROM blocked;
SELECT evq_suspend(ev('x'), permit('x')) \g /dev/null
SELECT * FROM blocked;
SELECT evq_activate(ev('x')) \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT evq_fail(ev('x'), 'no luck', permit) FROM evq_acquire(ev('x'), 'w');
SELECT * FROM blocked;
SELECT evq_suspend_event_type('A') \g /dev/null
SELECT * FROM blocked;
SELECT evq_unsuspend_event_type('A') \g /dev/null
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT * FROM blocked;

-- Full flows and suspended types.
SELECT evq_configure_flow('PLAIN', max_dispatched => 2) \g /dev/null
SELECT evq_publish('P', NULL, n::text) FROM generate_series(1, 5) n \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT * FROM blocked;
SELECT evq_configure_flow('PLAIN', max_dispatched => 100, max_processing => 3) \g /dev/null
SELECT count(*) FROM evq_acquire(ev('1'));
SELECT dispatched FROM evq_tick();
SELECT * FROM blocked;
SELECT evq_configure_flow('PLAIN', max_processing => 0) \g /dev/null
SELECT * FROM blocked;
SELECT evq_suspend_event_type('P') \g /dev/null
SELECT * FROM blocked;
SELECT evq_unsuspend_event_type('P') \g /dev/null
SELECT * FROM blocked;

-- The timeline, from the publish to the end.
CREATE FUNCTION lab.timeline(id uuid) RETURNS TABLE (what text, detail text, sorted boolean) LANGUAGE sql AS $$
	SELECT t ->> 'what', masked(t ->> 'detail'), (t ->> 'at')::timestamptz >= coalesce(lag((t ->> 'at')::timestamptz) OVER (ORDER BY n), '-infinity')
	FROM jsonb_array_elements(evq_event(id) -> 'timeline') WITH ORDINALITY AS e (t, n)
$$;
SELECT evq_configure('RESCUE', 'LINE'), evq_configure('L', 'LINE', 2, '1 hour', '{0 s}', on_fail_event_type => 'RESCUE') \g /dev/null
SELECT evq_publish('L', NULL, 'l') \g /dev/null
SELECT * FROM timeline(ev('l'));
SELECT dispatched FROM evq_tick();
SELECT * FROM timeline(ev('l'));
SELECT count(*) FROM evq_acquire(ev('l'), 'w');
SELECT * FROM timeline(ev('l'));
SELECT evq_fail(ev('l'), 'no luck', permit('l'));
SELECT evq_suspend(ev('l'), permit) IS NOT NULL AS suspended FROM evq_acquire(ev('l'), 'v');
SELECT * FROM timeline(ev('l'));
SELECT evq_activate(ev('l')) \g /dev/null
SELECT evq_fail(ev('l'), 'no luck again', permit) FROM evq_acquire(ev('l'), 'v');
SELECT * FROM timeline(ev('l'));
SELECT evq_succeed(event_id, permit, spinoffs => '[{"event_type": "L"}]') IS NOT NULL AS succeeded FROM evq_acquire(ev('l', 'RESCUE'), 'w');
SELECT * FROM timeline(ev('l', 'RESCUE'));
