-- Limits by group: max_processing_per_group, and groups with limits of their own.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure_flow('F', group_by => 'flow_id/1', max_processing_per_group => 2), evq_configure('A', 'F', 3, lifespan => '2 hours', attempt_delays => '{0 s}') \gset
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY(SELECT g || '/' || n FROM unnest('{a,b}'::text[]) g, generate_series(1, 5) n ORDER BY g, n),
	array_fill('{}'::text, ARRAY[10]));
SELECT evq_publish('A', NULL, 'c/1') \gset
CREATE VIEW lab.on_their_way AS
SELECT string_agg(flow_id, ' ' ORDER BY event_id) FILTER (WHERE state = 'dispatched') AS dispatched,
	string_agg(flow_id, ' ' ORDER BY event_id) FILTER (WHERE state = 'being_processed') AS processing FROM evq.events;

-- A group that is full holds up no other.
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;
SELECT dispatched FROM evq_tick();
SELECT count(*) FROM evq_acquire(ev('a/3'));
-- What is acquired counts on; what ends makes room: a success, a failure, one given back, one canceled; not one that is suspended.
SELECT flow_id FROM evq_acquire_next('F', 10) ORDER BY flow_id;
SELECT dispatched FROM evq_tick();
SELECT FROM evq_succeed(ev('a/1'));
SELECT evq_fail(ev('b/1'), 'no');
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;
SELECT FROM evq_cancel(ev('a/2'));
SELECT FROM evq_release(ev('b/2'), permit('b/2'));
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;
SELECT FROM evq_acquire(ev('a/3'));
SELECT count(evq_suspend(ev('a/3'), permit('a/3')));
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;
-- A permit that runs out.
SELECT FROM evq_acquire(ev('a/4'));
SET evq.debug_clock_offset = '10 min';
SELECT dispatched FROM evq_tick();
RESET evq.debug_clock_offset;
SELECT flow_id, state, attempts_used FROM evq.events WHERE flow_id = 'a/4';

-- What is seen of it.
SELECT flow_type, group_key, max_processing, waiting, on_offer, processing, due_since IS NOT NULL AS waits FROM evq.groups ORDER BY 1, 2;
SELECT flow_type, limit_name, most, in_use, waiting FROM evq.limits ORDER BY 1, 2;
SELECT flow_type, waiting, why FROM evq.blocked_flows ORDER BY 1, 3;

-- Changed at any time: more, fewer, for one group, none.
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY(SELECT g || '/' || n FROM unnest('{a,b}'::text[]) g, generate_series(1, 6) n ORDER BY g, n),
	array_fill('{}'::text, ARRAY[12])) \g /dev/null
SELECT evq_configure_group('F', 'b', max_processing => 3);
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;
SELECT evq_configure_flow('F', max_processing_per_group => 1);
SELECT dispatched FROM evq_tick();
SELECT evq_configure_flow('F', max_processing_per_group => 4);
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;
SELECT group_key, max_processing FROM evq.groups ORDER BY 1;
SELECT evq_configure_group('F', 'b');
SELECT dispatched FROM evq_tick();
SELECT group_key, max_processing FROM evq.groups ORDER BY 1;
SELECT evq_configure_group('F', 'z', 5);
SELECT group_key, max_processing, waiting FROM evq.groups ORDER BY 1;
-- With both limits the lower one counts.
SELECT evq_configure_flow('F', max_processing => 9);
SELECT dispatched FROM evq_tick();
SELECT evq_configure_flow('F', max_processing => 0, max_processing_per_group => 0);
SELECT group_key, max_processing FROM evq.groups ORDER BY 1;
-- Without limits an event need not be dispatched.
SELECT count(*) FROM evq_acquire_next('F', 100);

-- Events of no group have no limit by group; nor have those of before, if it comes later.
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT evq_configure_flow('F', group_by => '') \gset
SELECT count(*) FROM evq_publish_many('A', NULL, '{n1,n2,n3}', '{1,2,3}') \g /dev/null
SELECT evq_configure_flow('F', group_by => 'flow_id', max_processing_per_group => 1) \gset
SELECT dispatched FROM evq_tick();
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- A session gives turns to events of its own transaction, within the limit.
SELECT evq_publish('A', NULL, 'x') \gset
SELECT dispatched FROM evq_tick();
BEGIN;
SELECT evq_publish('A', NULL, 'x') \gset
SELECT evq_publish('A', NULL, 'y') \gset
SELECT evq_publish('A', NULL, 'y') \gset
SELECT flow_id FROM evq_acquire_next('F', 10);
SELECT flow_id FROM evq_acquire_next('F', 10);
COMMIT;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- In an ordered flow both hold: of a flow_id the oldest one, of a group so many.
SELECT evq_configure_flow('O', ordered => true, group_by => 'flow_id/1', max_processing_per_group => 2), evq_configure('B', 'O') \gset
SELECT count(*) FROM evq_publish_many('B', NULL, '{a/1,a/1,a/2,a/3,b/1}', array_fill('{}'::text, ARRAY[5]));
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;
SELECT count(evq_succeed(a.event_id)) FROM evq_acquire((SELECT e.event_id FROM evq.event e WHERE e.flow_id = 'a/1' AND e.state = 'd')) a;
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;

-- A rate is kept by a dispatcher, which does not run here: the events wait.
SELECT evq_configure_flow('R', rate => 1000), evq_configure('C', 'R'), evq_configure_flow('P', group_by => 'flow_id', rate_per_group => 1000), evq_configure('D', 'P') \gset
SELECT evq_publish('C', NULL, 'r') \gset
SELECT evq_publish('D', NULL, 'p') \gset
SELECT dispatched FROM evq_tick();
BEGIN;
SELECT evq_publish('C', NULL, 'own') \gset
SELECT count(*) FROM evq_acquire_next('R');
ROLLBACK;
SELECT flow_type, limit_name, most, per, burst, in_use, waiting FROM evq.limits WHERE limit_name ~ 'rate' ORDER BY 1, 2;
SELECT flow_type, waiting, why FROM evq.blocked_flows WHERE flow_type IN ('R', 'P') ORDER BY 1, 3;

-- Refused.
CALL refused($$SELECT evq_configure_flow('F', max_processing_per_group => -1)$$);
SELECT argument, sqlstate(format('SELECT evq_configure_flow(''F'', %s)', argument))
FROM unnest('{max_processing_per_group => 1000001,rate => -1,rate => 1e10,rate => 1e400,rate => ''NaN'',rate => ''Infinity'',per => ''0'',per => ''-1 s'',per => ''3651 days'',burst => -1,
	burst => 1000001,rate_per_group => -1,per_per_group => ''1 us'',burst_per_group => 1000001}'::text[]) argument;
CALL refused($$SELECT evq_configure_group('NONE', 'a', 1)$$);
CALL refused($$SELECT evq_configure_group('F', '', 1)$$);
CALL refused($$SELECT evq_configure_group('F', NULL, 1)$$);
CALL refused($$SELECT evq_configure_group('F', repeat('x', 10000000), 1)$$);
CALL refused($$SELECT evq_configure_group('F', 'a', 0)$$);
CALL refused($$SELECT evq_configure_group('F', 'a', rate => 5)$$);
CALL refused($$SELECT evq_configure_group('P', 'a', 5)$$);
CALL refused($$SELECT evq_configure_group('P', 'a', rate => 0)$$);
CALL refused($$SELECT evq_configure_group('P', 'a', rate => 1e400)$$);

-- The audit tells who changed them.
SELECT verb, object, detail FROM evq.audit WHERE verb = 'configure_group' ORDER BY entry_id DESC LIMIT 2;
