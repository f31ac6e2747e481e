-- evq_suspend_event_type: no event of the type is dispatched or acquired until it goes on.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset
SELECT evq_configure('B', 'F') \gset
SELECT evq_publish_many('A', NULL, '{running, offered, waiting}', '{1, 2, 3}') \g /dev/null
SELECT flow_id FROM evq_acquire(ev('running'));
SELECT evq_cancel(ev('waiting')) \gset
SELECT dispatched FROM evq_tick();

SELECT evq_suspend_event_type('A') \gset
SELECT is_suspended FROM evq.event_type WHERE event_type = 'A';
-- Publishing goes on; nothing is offered or granted, dispatched before or not.
SELECT evq_publish('A', NULL, 'new') \gset
SELECT evq_publish('B', NULL, 'other') \gset
SELECT dispatched FROM evq_tick();
SELECT count(*) FROM evq_acquire(ev('new'));
SELECT count(*) FROM evq_acquire(ev('offered'));
SELECT flow_id FROM evq_acquire_next('F', 10);
SELECT flow_id FROM evq_pending('F');
-- What runs goes on and reports.
SELECT held FROM evq_heartbeat(ARRAY[ev('running')], ARRAY[permit('running')]);
SELECT evq_fail(ev('running'), 'no', permit('running'), retry_in => '0');
SELECT flow_id, state FROM evq.events ORDER BY flow_id;
-- Its next attempt waits. To suspend the type again changes nothing.
SELECT evq_suspend_event_type('A') \gset
SELECT count(*) FROM evq_acquire(ev('running'));

SELECT evq_unsuspend_event_type('A') \gset
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq_acquire_next('F', 10) ORDER BY flow_id;
SELECT evq_unsuspend_event_type('A') \gset

-- Rolled back, it never was.
BEGIN;
SELECT evq_suspend_event_type('B') \gset
ROLLBACK;
SELECT evq_publish('B', NULL, 'after rollback') \gset
SELECT flow_id FROM evq_acquire_next('F');

CALL refused($$SELECT evq_suspend_event_type('NONE_SUCH')$$);
CALL refused($$SELECT evq_unsuspend_event_type('NONE_SUCH')$$);
CALL refused($$SELECT evq_suspend_event_type(NULL)$$);
