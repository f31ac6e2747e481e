-- Windows of a flow: max_dispatched, max_processing; higher priority first.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure_flow('F', max_dispatched => 3) \gset
SELECT evq_configure('A', 'F', lifespan => '2 hours') \gset
SELECT evq_configure_flow('G') \gset
SELECT evq_configure('B', 'G') \gset
SELECT evq_publish_many('A', NULL, '{a1, a2, a3, a4, a5}', '{1, 2, 3, 4, 5}') \g /dev/null
SELECT evq_publish('A', NULL, 'low', priority => -1::smallint) \gset
SELECT evq_publish('A', NULL, 'high', priority => 5::smallint) \gset
SELECT evq_publish('B', NULL, 'b') \gset

-- No more on offer than the window holds; a full flow hinders no other.
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq.events WHERE state = 'dispatched' ORDER BY flow_id;
SELECT dispatched FROM evq_tick();
-- What is acquired leaves the window.
SELECT flow_id FROM evq_acquire(ev('high'));
SELECT flow_id FROM evq_acquire(ev('a1'));
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq.events WHERE state = 'dispatched' ORDER BY flow_id;
-- A window made wider or narrower takes effect.
SELECT evq_configure_flow('F', max_dispatched => 4) \gset
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq.events WHERE state = 'dispatched' ORDER BY flow_id;
SELECT evq_configure_flow('F', max_dispatched => 1) \gset
SELECT dispatched FROM evq_tick();

-- max_processing counts what is offered and what is in processing.
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT evq_configure_flow('F', max_dispatched => 1000, max_processing => 2) \gset
SELECT evq_publish_many('A', NULL, '{p1, p2, p3, p4}', '{1, 2, 3, 4}') \g /dev/null
-- Only what was dispatched is granted.
SELECT count(*) FROM evq_acquire(ev('p1'));
SELECT count(*) FROM evq_acquire_next('F', 10);
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq_acquire_next('F', 10) ORDER BY flow_id;
SELECT dispatched FROM evq_tick();
SELECT evq_succeed(ev('p1')) \gset
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq_acquire_next('F', 10) ORDER BY flow_id;
SELECT count(evq_suspend(ev('p2'), permit('p2')));
SELECT dispatched FROM evq_tick();
SELECT flow_id, state FROM evq.events WHERE flow_id ~ '^p' ORDER BY flow_id;
SELECT evq_configure_flow('F', max_processing => 0) \gset
SELECT evq_publish('A', NULL, 'p5') \gset
SELECT count(*) FROM evq_acquire(ev('p5'));
-- A session that looks for room for an event of its own transaction counts what is offered, too.
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT evq_configure_flow('F', max_processing => 1) \gset
SELECT evq_configure('OWN', 'F') \gset
SELECT evq_publish('A', NULL, 'p6') \gset
SELECT dispatched FROM evq_tick();
BEGIN;
SELECT evq_publish('OWN', NULL, 'own') \gset
SELECT count(*) FROM evq_acquire_next('F', 1, '{OWN}');
SELECT evq_cancel(ev('p6')) \gset
SELECT flow_id FROM evq_acquire_next('F', 1, '{OWN}');
COMMIT;
