-- Priorities that rise while events wait: the order of the dispatcher, and of a session that searches the table.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure_flow('F', delivery => 'pull', max_dispatched => 2), evq_configure('A', 'F', 3, lifespan => '2 hours', attempt_delays => '{0 s}') \gset
-- Published so many minutes ago, with this priority.
CREATE PROCEDURE lab.publish(minutes int, priority int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('evq.debug_clock_offset', (-60 * minutes)::text, true);
	PERFORM evq_publish('A', NULL, format('%s min, %s', minutes, priority), priority => publish.priority::smallint);
	PERFORM set_config('evq.debug_clock_offset', '0', true);
END
$$;
CREATE PROCEDURE lab.publish_all() LANGUAGE plpgsql AS $$
BEGIN
	CALL publish(9, 0); CALL publish(8, 3); CALL publish(3, 5); CALL publish(1, 5); CALL publish(20, -32768); CALL publish(2, 10);
END
$$;

-- By default the highest priority goes first, however long others wait.
CALL publish_all();
SELECT flow_id FROM evq_acquire_next('F', 10);
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

SELECT evq_configure_flow('F', priority_step => '1 min');
CALL publish_all();
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq.events WHERE state = 'dispatched' ORDER BY 1;
SELECT flow_id FROM evq_acquire_next('F', 10);
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
-- In a transaction of its own.
BEGIN;
CALL publish_all();
SELECT flow_id FROM evq_acquire_next('F', 10);
ROLLBACK;

-- A very long step is as good as none, a short one as good as no priorities; nothing runs over.
SELECT evq_configure_flow('F', priority_step => '365 days');
CALL publish_all();
SELECT flow_id FROM evq_acquire_next('F', 10);
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT evq_configure_flow('F', priority_step => '1 ms');
CALL publish_all();
SELECT flow_id FROM evq_acquire_next('F', 10);
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- Of a fair flow, within each group.
SELECT evq_configure_flow('F', priority_step => '1 min', fair => true);
CALL publish_all();
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq.events WHERE state = 'dispatched' ORDER BY 1;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

SELECT evq_configure_flow('F', priority_step => '0', fair => false);
SELECT priority_step FROM evq.flows;
CALL refused($$SELECT evq_configure_flow('F', priority_step => '1 us')$$);
CALL refused($$SELECT evq_configure_flow('F', priority_step => '-1 s')$$);
CALL refused($$SELECT evq_configure_flow('F', priority_step => '366 days')$$);
