-- evq_cancel: any live event ends at once.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset
SELECT evq_publish_many('A', NULL, '{processing, suspended, dispatched}', '{1, 2, 3}') \g /dev/null
SELECT count(*) FROM evq_acquire(ev('processing'));
SELECT count(*) FROM evq_acquire(ev('suspended'));
SELECT count(evq_suspend(ev('suspended'), permit('suspended')));
SELECT dispatched FROM evq_tick();
SELECT evq_publish('A', NULL, 'awaiting') \gset
SELECT flow_id, state FROM evq.events ORDER BY flow_id;

SELECT evq_cancel(ev('awaiting'), 'not needed'), evq_cancel(ev('dispatched')), evq_cancel(ev('suspended'), ''), evq_cancel(ev('processing'), repeat('x', 20000));
SELECT flow_id, state, attempts_used, left(reason, 10) AS reason, length(reason), finished_at IS NOT NULL AS finished FROM evq.events ORDER BY flow_id;
SELECT count(*) FROM evq.event;

-- Its worker learns so.
SELECT held, cancel_requested FROM evq_heartbeat(ARRAY[ev('processing')], ARRAY[permit('processing')]);
CALL refused($$SELECT evq_succeed(ev('processing'), permit('processing'))$$);
CALL refused($$SELECT evq_fail(ev('processing'), 'no', permit('processing'))$$);
CALL refused($$SELECT evq_snooze(ev('processing'), permit('processing'), now())$$);
CALL refused($$SELECT evq_release(ev('processing'), permit('processing'))$$);
CALL refused($$SELECT evq_suspend(ev('processing'), permit('processing'))$$);
CALL refused($$SELECT evq_succeed(ev('processing'))$$);

-- Once more changes nothing.
SELECT checksum() AS before \gset
SELECT evq_cancel(ev('awaiting'), 'other reason');
SELECT checksum() = :'before' AS unchanged;
SELECT dispatched FROM evq_tick();

-- Not what has finished otherwise, not what is unknown.
SELECT evq_publish('A', NULL, 'done') \gset
SELECT count(*) FROM evq_acquire(ev('done'));
SELECT evq_succeed(ev('done')) \gset
CALL refused($$SELECT evq_cancel(ev('done'))$$);
SELECT evq_publish('A', NULL, 'failed') \gset
SELECT count(*) FROM evq_acquire(ev('failed'));
SELECT evq_fail(ev('failed'), 'no', retryable => false) \gset
CALL refused($$SELECT evq_cancel(ev('failed'))$$);
CALL refused($$SELECT evq_cancel('00000000-0000-0000-0000-000000000000')$$);
CALL refused($$SELECT evq_cancel(NULL)$$);
