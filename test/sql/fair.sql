-- In a fair flow groups take turns, by their weights.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure_flow('F', group_by => 'flow_id/1', max_dispatched => 6, fair => true), evq_configure('A', 'F', 3, lifespan => '2 hours', attempt_delays => '{0 s}') \gset
CREATE FUNCTION lab.publish(group_key text, events int) RETURNS void LANGUAGE sql AS
$$SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY(SELECT publish.group_key || '/' || n FROM generate_series(1, events) n), array_fill('{}'::text, ARRAY[events]))$$;
-- How many of each group are offered, and of the first one which.
CREATE VIEW lab.offered AS
SELECT split_part(flow_id, '/', 1) AS group_key, count(*), string_agg(flow_id, ' ' ORDER BY event_id) AS events FROM evq.events WHERE state = 'dispatched' GROUP BY 1 ORDER BY 1;

-- Whoever has more, or came first, has no more turns than another.
SELECT publish('a', 20), publish('b', 20), publish('c', 1) \gset
SELECT dispatched FROM evq_tick();
SELECT * FROM offered;
-- What is on its way counts as turns that a group has had.
SELECT publish('d', 20) \gset
SELECT evq_configure_flow('F', max_dispatched => 10) \gset
SELECT dispatched FROM evq_tick();
SELECT * FROM offered;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- By weight.
SELECT evq_configure_group('F', 'b', weight => 3);
SELECT publish('a', 20), publish('b', 20), publish('c', 20) \gset
SELECT dispatched FROM evq_tick();
SELECT * FROM offered;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT evq_configure_group('F', 'b');

-- Events of no group are one group; within a group priority counts, between groups it does not.
SELECT evq_configure_flow('F', group_by => '', max_dispatched => 4) \gset
SELECT count(evq_publish('A', NULL, 'none/' || n)) FROM generate_series(1, 5) n;
SELECT count(evq_publish('A', NULL, 'x/' || n, priority => n::smallint, group_key => 'x')) FROM generate_series(1, 5) n;
SELECT dispatched FROM evq_tick();
SELECT * FROM offered;
-- No longer fair: by priority and time.
SELECT evq_configure_flow('F', fair => false, max_dispatched => 7) \gset
SELECT dispatched FROM evq_tick();
SELECT * FROM offered;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- With limits: a group that has reached its own leaves its turns to others.
SELECT evq_configure_flow('F', fair => true, max_processing_per_group => 2, max_dispatched => 7) \gset
SELECT evq_configure_group('F', 'c', max_processing => 20, weight => 2) \gset
SELECT count(evq_publish('A', NULL, g || '/' || n, group_key => g)) FROM unnest('{a,b,c}'::text[]) g, generate_series(1, 20) n;
SELECT dispatched FROM evq_tick();
SELECT * FROM offered;
SELECT group_key, max_processing, weight FROM evq.groups ORDER BY 1;
SELECT evq_configure_group('F', 'c', max_processing => 1) \gset
SELECT group_key, max_processing, weight FROM evq.groups ORDER BY 1;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- Events of a fair flow are not stored in batches.
SELECT evq_configure_flow('F', delivery => 'pull', max_processing_per_group => 0), set_config('evq.store_batches_from', '2', false) \gset
SELECT publish('', 10) \gset
SELECT count(*) FROM evq.event;

-- Refused.
CALL refused($$SELECT evq_configure_group('F', 'a', weight => 0)$$);
CALL refused($$SELECT evq_configure_group('F', 'a', weight => 1001)$$);
SELECT evq_configure_flow('F', fair => false) \gset
CALL refused($$SELECT evq_configure_group('F', 'a', weight => 2)$$);
