-- evq_retry and evq_redrive: an operator brings events back.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', 2, '1 hour', '{5 s}') \gset
SELECT evq_configure('B', 'F', lifespan => '1 hour') \gset

-- A failed event: due now, fresh attempts and lifespan; an old permit stays void.
SELECT evq_publish('A', NULL, 'failed', '{"n": 1}', idempotency_key => 'k') \gset
SET evq.debug_clock_offset = 6;
SELECT count(*) FROM evq_acquire(ev('failed'), 'w');
SELECT permit('failed') AS old \gset
SELECT evq_fail(ev('failed'), 'no', retryable => false);
SET evq.debug_clock_offset = 1000;
SELECT evq_retry(ev('failed'));
SELECT state, attempts_used, seconds(attempt_scheduled_at - state_since) AS next_in, seconds(due_at - state_since) AS lifespan, worker, reason, finished_at FROM evq.events;
SELECT attempt, attempts_left, payload, permit <> :old AS new_permit FROM evq_acquire(ev('failed'));
SELECT set_config('lab.old', :'old', false) \g /dev/null
CALL refused($$SELECT evq_succeed(ev('failed'), current_setting('lab.old')::bigint)$$);
SELECT evq_fail(ev('failed'), 'no again');
SELECT attempt, outcome, error_message FROM evq.errors WHERE flow_id = 'failed' ORDER BY failed_at;
-- Its key still belongs to it.
SELECT evq_publish('A', NULL, 'failed', '{"n": 1}', idempotency_key => 'k') = ev('failed') AS same;

-- Expired and canceled events.
SELECT evq_publish('B', NULL, 'expired') \gset
SELECT evq_publish('B', NULL, 'canceled') \gset
SELECT evq_cancel(ev('canceled'), 'a mistake') \gset
SET evq.debug_clock_offset = 5000;
SELECT expired FROM evq_tick();
SELECT state FROM evq.events WHERE flow_id = 'expired';
SELECT evq_retry(ev('expired')), evq_retry(ev('canceled'));
SELECT flow_id, state, reason FROM evq.events WHERE event_type = 'B' ORDER BY flow_id;
SELECT flow_id, attempt, seconds(due_at - clock_timestamp()) - 5000 BETWEEN 3590 AND 3600 AS fresh FROM evq_acquire_next('F', 10, '{B}') ORDER BY flow_id;

-- Not what lives or has succeeded.
CALL refused($$SELECT evq_retry(ev('expired'))$$);
SELECT evq_succeed(ev('expired')) \gset
CALL refused($$SELECT evq_retry(ev('expired'))$$);
CALL refused($$SELECT evq_retry('00000000-0000-0000-0000-000000000000')$$);
CALL refused($$SELECT evq_retry(NULL)$$);
RESET evq.debug_clock_offset;

-- Redrive: the failed and expired events of a type, oldest first, so many at most.
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT evq_configure('C', 'F', 1) \gset
SELECT evq_configure('D', 'F', 1) \gset
SELECT evq_publish_many('C', NULL, '{c1, c2, c3, c4, c5}', '{1, 2, 3, 4, 5}') \g /dev/null
SELECT evq_publish('D', NULL, 'd1') \gset
SELECT evq_cancel(ev('c5')) \gset
SELECT count(*) FROM evq_acquire_next('F', 10);
SELECT evq_succeed(ev('c4')) \gset
SELECT evq_fail(ev('c2'), 'no') \gset
SET evq.debug_clock_offset = 10;
SELECT evq_fail(ev('c1'), 'no') \gset
SELECT evq_fail(ev('c3'), 'no') \gset
SELECT evq_fail(ev('d1'), 'no') \gset
SELECT evq_redrive('C', '-infinity', 1);
SELECT flow_id FROM evq.event ORDER BY flow_id;
SELECT evq_redrive('C', clock_timestamp() + interval '1 hour');
SELECT evq_redrive('C', clock_timestamp() - interval '1 hour');
SELECT flow_id FROM evq.event ORDER BY flow_id;
SELECT evq_redrive('C', '-infinity');
SELECT flow_id, state FROM evq.events WHERE event_type IN ('C', 'D') ORDER BY flow_id;
CALL refused($$SELECT evq_redrive('NONE_SUCH', '-infinity')$$);
CALL refused($$SELECT evq_redrive(NULL, '-infinity')$$);
CALL refused($$SELECT evq_redrive('C', NULL)$$);
CALL refused($$SELECT evq_redrive('C', '-infinity', 0)$$);
CALL refused($$SELECT evq_redrive('C', '-infinity', NULL)$$);
RESET evq.debug_clock_offset;
