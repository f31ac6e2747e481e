-- evq_pause_group: nothing of a group is dispatched or acquired until it goes on; other groups go on, and publishing, reports and timeouts.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab
SET datestyle = ISO;

SELECT coalesce(max(entry_id), 0) AS audited FROM evq.audit \gset
SELECT evq_configure_flow('F', delivery => 'pull', group_by => 'flow_id/1'), evq_configure('A', 'F', attempt_delays => '{0}') \g /dev/null
SELECT evq_publish_many('A', NULL, '{a/running, a/offered, b/one}', '{1, 2, 3}') \g /dev/null
SELECT flow_id FROM evq_acquire(ev('a/running'));

SELECT evq_pause_group('F', 'a', reason => 'they asked for it');
SELECT group_key, is_paused, paused_at IS NOT NULL AS has_begun, paused_until, pause_reason FROM evq.groups ORDER BY 1;
-- In effect at once in its own transaction, for what was offered before, and for what comes.
SELECT evq_publish('A', NULL, 'a/new'), evq_publish('A', NULL, 'none', group_key => 'c') \g /dev/null
SELECT count(*) FROM evq_acquire(ev('a/offered'));
SELECT dispatched FROM evq_tick();
SELECT count(*) FROM evq_acquire(ev('a/offered'));
SELECT count(*) FROM evq_acquire(ev('a/new'));
SELECT flow_id FROM evq_acquire_next('F', 10) ORDER BY flow_id;
SELECT count(*) FROM evq_acquire_batch('F', 10);
SELECT flow_type, waiting, why FROM evq.blocked_flows;
-- What runs goes on, and what follows from it waits.
SELECT held FROM evq_heartbeat(ARRAY[ev('a/running')], ARRAY[permit('a/running')]);
SELECT evq_fail(ev('a/running'), 'no', permit('a/running'), retry_in => '0');
SELECT count(*) FROM evq_acquire(ev('a/running'));
SELECT dispatched FROM evq_tick();
-- A transaction's own events.
BEGIN;
SELECT evq_publish('A', NULL, 'a/own'), evq_publish('A', NULL, 'b/own') \g /dev/null
SELECT flow_id FROM evq_acquire_next('F', 10);
SELECT count(*) FROM evq_acquire(ev('a/own'));
ROLLBACK;
-- Limits of its own leave it paused, and a pause leaves them.
SELECT evq_configure_flow('F', max_processing_per_group => 5), evq_configure_group('F', 'a', max_processing => 7) \g /dev/null
SELECT group_key, max_processing, is_paused, waiting FROM evq.groups WHERE group_key = 'a';
SELECT evq_configure_group('F', 'a');
SELECT group_key, max_processing, is_paused, waiting FROM evq.groups WHERE group_key = 'a';
SELECT evq_configure_group('F', 'a', max_processing => 2);
SELECT evq_resume_group('F', 'a');
SELECT evq_resume_group('F', 'a');
SELECT group_key, max_processing, is_paused, paused_at, pause_reason FROM evq.groups WHERE group_key = 'a';
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq_acquire_next('F', 10) ORDER BY flow_id;
SELECT evq_configure_group('F', 'a'), evq_configure_flow('F', max_processing_per_group => 0) \g /dev/null
SELECT count(*) FROM evq.flow_group;

-- What was dispatched before is not to be had, and waits again when that times out.
TRUNCATE evq.event;
SELECT evq_configure_flow('F', max_processing => 10) \g /dev/null
SELECT evq_publish('A', NULL, 'a/one'), evq_publish('A', NULL, 'b/one') \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT evq_pause_group('F', 'a', clock_timestamp() + interval '1 hour', 'until the morning');
SELECT seconds(paused_until - paused_at), pause_reason FROM evq.groups WHERE is_paused;
SELECT masked(why) FROM evq.blocked_flows;
SELECT count(*) FROM evq_acquire(ev('a/one'));
SELECT flow_id FROM evq_acquire_next('F', 10);
-- Until a time; the clock alone ends it, for whoever looks.
SET evq.debug_clock_offset = 3500;
SELECT timed_out, dispatched FROM evq_tick();
SELECT count(*) FROM evq_acquire(ev('a/one'));
SET evq.debug_clock_offset = 3610;
SELECT count(*) FROM evq_acquire(ev('a/one'));
SELECT dispatched FROM evq_tick();
SELECT count(*) FROM evq_acquire(ev('a/one'));
SELECT evq_resume_group('F', 'a');
RESET evq.debug_clock_offset;

-- Once more: its end and its reason are the new ones, its beginning is the first. Groups of which nothing is there can be paused.
SELECT evq_pause_group('F', 'z', 'infinity');
SELECT paused_at FROM evq.groups WHERE group_key = 'z' \gset
SELECT evq_pause_group('F', 'z', clock_timestamp() + interval '1 hour', 'longer');
SELECT paused_at = :'paused_at' AS same_beginning, paused_until IS NOT NULL AS has_end, pause_reason FROM evq.groups WHERE group_key = 'z';
SELECT evq_pause_group('F', 'y');
SELECT groups_paused_until FROM evq.flow WHERE flow_type = 'F';
SELECT evq_resume_group('F', 'y');
SELECT groups_paused_until < 'infinity' FROM evq.flow WHERE flow_type = 'F';
SELECT evq_resume_group('F', 'z');
SELECT groups_paused_until FROM evq.flow WHERE flow_type = 'F';
-- Pauses that are over leave nothing behind.
SELECT evq_pause_group('F', 'g' || n, clock_timestamp() + interval '1 hour') FROM generate_series(1, 10) n \g /dev/null
SELECT count(*) FROM evq.flow_group;
SET evq.debug_clock_offset = 3610;
SELECT evq_pause_group('F', 'last');
SELECT group_key FROM evq.flow_group;
RESET evq.debug_clock_offset;
SELECT evq_resume_group('F', 'last');

-- Rolled back, it never was.
BEGIN;
SELECT evq_pause_group('F', 'a');
ROLLBACK;
SELECT count(*) FROM evq.groups WHERE is_paused;

SELECT verb, object, detail - '{paused_at, until}'::text[] AS detail, detail ? 'until' AS has_end FROM evq.audit
WHERE verb IN ('pause_group', 'resume_group') AND entry_id > :audited AND detail ->> 'group_key' !~ '^g' ORDER BY entry_id;

CALL refused($$SELECT evq_pause_group('NONE_SUCH', 'a')$$);
CALL refused($$SELECT evq_pause_group(NULL, 'a')$$);
CALL refused($$SELECT evq_resume_group('NONE_SUCH', 'a')$$);
CALL refused($$SELECT evq_pause_group('F', NULL)$$);
CALL refused($$SELECT evq_pause_group('F', '')$$);
CALL refused($$SELECT evq_pause_group('F', repeat('x', 256))$$);
CALL refused($$SELECT evq_pause_group('F', 'a', '2020-01-01 00:00:00+00')$$);
CALL refused($$SELECT evq_pause_group('F', 'a', reason => repeat('x', 10001))$$);
SELECT evq_resume_group('F', NULL), evq_resume_group('F', 'none such');
