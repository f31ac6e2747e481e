-- A read-only transaction: every verb is refused, every look is allowed.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset
SELECT evq_publish_many('A', NULL, '{awaiting, processing, suspended, failed}', '{1, 2, 3, 4}') \g /dev/null
SELECT count(*) FROM evq_acquire(ev('processing'));
SELECT count(*) FROM evq_acquire(ev('suspended'));
SELECT count(evq_suspend(ev('suspended'), permit('suspended')));
SELECT count(*) FROM evq_acquire(ev('failed'));
SELECT evq_fail(ev('failed'), 'no', retryable => false);
SELECT checksum() AS before \gset

BEGIN READ ONLY;
CALL refused($$SELECT evq_publish('A', NULL, 'x')$$);
CALL refused($$SELECT evq_publish('A', NULL, 'x', idempotency_key => 'k')$$);
CALL refused($$SELECT evq_publish_many('[{"event_type": "A", "flow_id": "x"}]')$$);
CALL refused($$SELECT evq_publish_many('A', NULL, '{x}', '{1}')$$);
CALL refused($$SELECT evq_acquire(ev('awaiting'))$$);
CALL refused($$SELECT evq_acquire_next('F')$$);
CALL refused($$SELECT evq_heartbeat(ARRAY[ev('processing')], ARRAY[permit('processing')])$$);
CALL refused($$SELECT evq_succeed(ev('processing'))$$);
CALL refused($$SELECT evq_succeed_many(ARRAY[ev('processing')], ARRAY[permit('processing')])$$);
CALL refused($$SELECT evq_succeed_and_acquire('F', ARRAY[ev('processing')], ARRAY[permit('processing')])$$);
CALL refused($$SELECT evq_fail(ev('processing'), 'no')$$);
CALL refused($$SELECT evq_fail_many(ARRAY[ev('processing')], ARRAY[permit('processing')], 'no')$$);
CALL refused($$SELECT evq_snooze(ev('processing'), permit('processing'), now())$$);
CALL refused($$SELECT evq_release(ev('processing'), permit('processing'))$$);
CALL refused($$SELECT evq_suspend(ev('processing'), permit('processing'))$$);
CALL refused($$SELECT evq_activate(ev('suspended'))$$);
CALL refused($$SELECT evq_cancel(ev('awaiting'))$$);
CALL refused($$SELECT evq_retry(ev('failed'))$$);
CALL refused($$SELECT evq_redrive('A', '-infinity')$$);
CALL refused($$SELECT evq_configure('A', 'F')$$);
CALL refused($$SELECT evq_configure_flow('F')$$);
CALL refused($$SELECT evq_suspend_event_type('A')$$);
CALL refused($$SELECT evq_unsuspend_event_type('A')$$);
CALL refused($$SELECT evq_drop_event_type('A')$$);
CALL refused($$SELECT evq_tick()$$);

SELECT evq_event(ev('awaiting')) ->> 'state' AS state;
SELECT count(*) FROM evq_pending('F');
SELECT count(*) FROM evq_counts();
SELECT count(*) FROM evq_status();
SELECT count(*) FROM evq.transition;
SELECT count(*) FROM evq.workers;
COMMIT;
SELECT checksum() = :'before' AS unchanged;
