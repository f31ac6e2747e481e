-- evq_pause_flow: nothing of a flow is dispatched or acquired until it goes on; publishing, reports and timeouts go on.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab
SET datestyle = ISO;

SELECT coalesce(max(entry_id), 0) AS audited FROM evq.audit \gset
SELECT evq_configure('A', 'F'), evq_configure('B', 'F', lifespan => '1 min'), evq_configure('OTHER', 'G') \g /dev/null
SELECT evq_configure('SECOND', 'F'), evq_configure('LAST', 'F') \g /dev/null
SELECT evq_publish_many('A', NULL, '{running, failing, offered}', '{1, 2, 3}') \g /dev/null
SELECT flow_id FROM evq_acquire(ev('running'));
SELECT flow_id FROM evq_acquire(ev('failing'));
SELECT dispatched FROM evq_tick();

SELECT evq_pause_flow('F', reason => 'the API is down');
SELECT flow_type, is_paused, paused_at IS NOT NULL AS has_begun, paused_until, pause_reason FROM evq.flows ORDER BY 1;
-- In effect at once in its own transaction, for what was offered before, and for what comes.
SELECT evq_publish('A', NULL, 'new') \gset
SELECT evq_publish('OTHER', NULL, 'other') \gset
SELECT evq_publish_many('A', NULL, '{many, more}', '{1, 2}') \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT count(*) FROM evq_acquire(ev('new'));
SELECT count(*) FROM evq_acquire(ev('offered'));
SELECT count(*) FROM evq_acquire_next('F', 10);
SELECT count(*) FROM evq_acquire_batch('F', 10);
SELECT flow_id FROM evq_acquire_next('G', 10);
SELECT count(*) FROM evq_pending('F');
SELECT flow_type, flow_id, blocked_by, state, since IS NOT NULL AS has_begun, waiting, why FROM evq.blocked_flows;
-- What runs goes on, and its spinoffs wait.
SELECT held FROM evq_heartbeat(ARRAY[ev('running')], ARRAY[permit('running')]);
SELECT evq_succeed(ev('running'), permit('running'), spinoffs => '[{"event_type": "SECOND"}]') IS NOT NULL AS succeeded;
SELECT count(*) FROM evq_succeed_and_acquire('F', '{}'::uuid[], '{}', 10);
SELECT count(*) FROM evq_acquire(ev('running', 'SECOND'));
SELECT evq_fail(ev('failing'), 'no', permit('failing'), retry_in => '0');
SELECT count(*) FROM evq_acquire(ev('failing'));
SELECT flow_id, event_type, state FROM evq.events WHERE flow_type = 'F' ORDER BY flow_id COLLATE "C", event_type;
-- So do dispatches, permits and lifespans; nothing is dispatched again.
SELECT evq_publish('B', NULL, 'brief') \gset
SET evq.debug_clock_offset = 61;
SELECT * FROM evq_tick();
SELECT flow_id, state FROM evq.events WHERE flow_id IN ('brief', 'offered') ORDER BY 1;
RESET evq.debug_clock_offset;
-- To configure the flow leaves it paused.
SELECT evq_configure_flow('F', max_dispatched => 100) \g /dev/null
SELECT evq_configure('A', 'F', max_attempts => 5) \g /dev/null
SELECT is_paused, max_dispatched FROM evq.flows WHERE flow_type = 'F';
-- Events can be canceled, retried and activated.
SELECT evq_cancel(ev('many')) \g /dev/null
SELECT evq_retry(ev('many')) \g /dev/null
SELECT count(*) FROM evq_acquire(ev('many'));

SELECT evq_resume_flow('F');
SELECT evq_resume_flow('F');
SELECT is_paused, paused_at, paused_until, pause_reason FROM evq.flows WHERE flow_type = 'F';
SELECT count(*) FROM evq.blocked_flows;
SELECT count(*) FROM evq_pending('F');
SELECT dispatched FROM evq_tick();
SELECT flow_id, event_type FROM evq_acquire_next('F', 10) ORDER BY flow_id COLLATE "C";

-- Until a time; the clock alone ends it, for whoever looks.
TRUNCATE evq.event, evq.event_history;
SELECT evq_publish('A', NULL, 'one'), evq_publish('A', NULL, 'two') \g /dev/null
SELECT evq_pause_flow('F', clock_timestamp() + interval '1 hour', 'until the morning');
SELECT seconds(paused_until - paused_at), pause_reason FROM evq.flows WHERE flow_type = 'F';
SELECT masked(why) FROM evq.blocked_flows;
SELECT count(*) FROM evq_acquire(ev('one'));
SET evq.debug_clock_offset = 3500;
SELECT count(*) FROM evq_acquire(ev('one'));
SELECT dispatched FROM evq_tick();
SET evq.debug_clock_offset = 3610;
SELECT count(*) FROM evq_acquire(ev('one'));
SELECT dispatched FROM evq_tick();
SELECT evq_resume_flow('F');
RESET evq.debug_clock_offset;
SELECT evq_pause_flow('F', 'infinity');
SELECT paused_until FROM evq.flows WHERE flow_type = 'F';
-- Once more: its end and its reason are the new ones, its beginning is the first.
SELECT paused_at FROM evq.flow WHERE flow_type = 'F' \gset
SELECT evq_pause_flow('F', clock_timestamp() + interval '1 hour', 'longer');
SELECT paused_at = :'paused_at' AS same_beginning, paused_until < 'infinity' AS has_end, pause_reason FROM evq.flow WHERE flow_type = 'F';
SELECT evq_pause_flow('F');
SELECT paused_at = :'paused_at' AS same_beginning, paused_until, pause_reason FROM evq.flow WHERE flow_type = 'F';
SELECT evq_resume_flow('F');

-- Rolled back, it never was; it may be in a savepoint.
BEGIN;
SELECT evq_pause_flow('F');
SELECT count(*) FROM evq_acquire_next('F', 10);
ROLLBACK;
BEGIN;
SAVEPOINT one;
SELECT evq_pause_flow('F');
ROLLBACK TO one;
SELECT count(*) FROM evq_acquire_next('F', 1);
COMMIT;
BEGIN;
SAVEPOINT one;
SELECT evq_pause_flow('F');
RELEASE one;
COMMIT;
SELECT count(*) FROM evq_acquire_next('F', 10);
BEGIN;
SELECT evq_resume_flow('F');
ROLLBACK;
SELECT count(*) FROM evq_acquire_next('F', 10);
SELECT evq_resume_flow('F');

-- In a session whose triggers do not fire, too.
BEGIN;
SET LOCAL session_replication_role = replica;
SELECT evq_pause_flow('F');
COMMIT;
SELECT count(*) FROM evq_acquire_next('F', 10);
BEGIN;
SET LOCAL session_replication_role = replica;
SELECT evq_resume_flow('F');
COMMIT;
SELECT evq_publish('A', NULL, 'after replica') \g /dev/null
SELECT flow_id FROM evq_acquire_next('F', 10);

-- Flows that keep order or a limit, pull flows with events in batches, and a transaction's own events.
SELECT evq_configure_flow('ORDERED', ordered => true), evq_configure('O', 'ORDERED'),
	evq_configure_flow('LIMITED', max_processing => 1), evq_configure('L', 'LIMITED'),
	evq_configure_flow('PULL', delivery => 'pull'), evq_configure('P', 'PULL') \g /dev/null
SELECT evq_pause_flow('ORDERED'), evq_pause_flow('LIMITED'), evq_pause_flow('PULL') \g /dev/null
BEGIN;
SELECT evq_publish('O', NULL, 'ordered'), evq_publish('L', NULL, 'limited'), evq_publish('P', NULL, 'pulled') \g /dev/null
SELECT (SELECT count(*) FROM evq_acquire_next('ORDERED')), (SELECT count(*) FROM evq_acquire_next('LIMITED')), (SELECT count(*) FROM evq_acquire_next('PULL'));
SELECT (SELECT count(*) FROM evq_acquire(ev('ordered'))), (SELECT count(*) FROM evq_acquire(ev('limited'))), (SELECT count(*) FROM evq_acquire(ev('pulled')));
COMMIT;
SELECT count(*) FROM evq_publish_many('P', NULL, array_fill('batched'::text, ARRAY[200]), array_fill('1'::jsonb, ARRAY[200]));
SELECT dispatched FROM evq_tick();
SELECT (SELECT count(*) FROM evq_acquire_next('ORDERED')), (SELECT count(*) FROM evq_acquire_next('LIMITED')), (SELECT count(*) FROM evq_acquire_next('PULL', 1000));
SELECT (SELECT count(*) FROM evq_acquire(ev('batched'))), (SELECT count(*) FROM evq_acquire_batch('PULL', 1000));
SELECT evq_resume_flow('ORDERED'), evq_resume_flow('LIMITED'), evq_resume_flow('PULL');
SELECT dispatched > 0 AS dispatched FROM evq_tick();
SELECT (SELECT count(*) FROM evq_acquire_next('ORDERED')), (SELECT count(*) FROM evq_acquire_next('LIMITED')), (SELECT count(*) FROM evq_acquire_next('PULL', 1000));

-- The audit tells what changed something.
SELECT verb, object, detail - '{paused_at, until}'::text[] AS detail, detail ? 'until' AS has_end FROM evq.audit
WHERE verb IN ('pause_flow', 'resume_flow') AND object = 'F' AND entry_id > :audited ORDER BY entry_id;

CALL refused($$SELECT evq_pause_flow('NONE_SUCH')$$);
CALL refused($$SELECT evq_pause_flow(NULL)$$);
CALL refused($$SELECT evq_resume_flow('NONE_SUCH')$$);
CALL refused($$SELECT evq_resume_flow(NULL)$$);
CALL refused($$SELECT evq_pause_flow('F', '2020-01-01 00:00:00+00')$$);
CALL refused($$SELECT evq_pause_flow('F', '-infinity')$$);
CALL refused($$SELECT evq_pause_flow('F', reason => repeat('x', 10001))$$);
SELECT is_paused FROM evq.flows WHERE flow_type = 'F';
