-- Named limits, which event types of several flows share.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure_limit('api', max_processing => 3);
SELECT evq_configure('A', 'F', attempt_delays => '{0 s}', limits => '{api}'), evq_configure('PLAIN', 'F'), evq_configure('B', 'G', limits => '{api}') \gset
SELECT count(*) FROM evq_publish_many('A', NULL, '{a1,a2,a3,a4}', array_fill('{}'::text, '{4}')) \g /dev/null
SELECT count(*) FROM evq_publish_many('PLAIN', NULL, '{p1,p2}', array_fill('{}'::text, '{2}')) \g /dev/null
SELECT count(*) FROM evq_publish_many('B', NULL, '{b1,b2}', array_fill('{}'::text, '{2}')) \g /dev/null
CREATE VIEW lab.on_their_way AS
SELECT count(*) FILTER (WHERE event_type IN ('A', 'B') AND state = 'dispatched') AS dispatched,
	count(*) FILTER (WHERE event_type IN ('A', 'B') AND state = 'being_processed') AS processing,
	string_agg(flow_id, ' ' ORDER BY flow_id) FILTER (WHERE event_type = 'PLAIN' AND state = 'dispatched') AS plain FROM evq.events;

-- Three of both flows together; what the limit does not concern passes by.
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;
SELECT dispatched FROM evq_tick();
SELECT flow_type, limit_name, kind, most, in_use, waiting, by_group, event_types FROM evq.limits WHERE flow_type IS NULL;
SELECT DISTINCT regexp_replace(why, '[AB]:', 'X:') AS why FROM evq.blocked_flows ORDER BY 1;
-- What is acquired counts on, and not before it is dispatched; what ends makes room, and what waits for another attempt.
SELECT count(*) FROM evq_acquire((SELECT event_id FROM evq.events WHERE event_type = 'A' AND state = 'awaiting_processing' LIMIT 1));
CREATE TEMP TABLE held AS SELECT event_id, permit FROM evq.events e CROSS JOIN LATERAL evq_acquire(e.event_id) q(id, granted) WHERE e.event_type IN ('A', 'B') AND e.state = 'dispatched';
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;
SELECT count(evq_succeed(event_id)) FROM (SELECT event_id FROM held LIMIT 1) h;
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;
SELECT count(evq_cancel(event_id)) FROM (SELECT event_id FROM evq.events WHERE event_type IN ('A', 'B') AND state = 'being_processed' LIMIT 1) h;
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;

-- Changed at any time.
SELECT evq_configure_limit('api', max_processing => 5);
SELECT dispatched FROM evq_tick();
SELECT * FROM on_their_way;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT evq_configure_limit('api', max_processing => 1);
SELECT count(*) FROM evq_publish_many('A', NULL, '{a1,a2,a3}', array_fill('{}'::text, '{3}')) \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT dispatched FROM evq_tick();
SELECT evq_configure('A', limits => '{}');
SELECT dispatched FROM evq_tick();
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- Each limit of an event must have room; a lane that waits for one does not keep the other's room from others.
SELECT evq_configure_limit('few', max_processing => 1), evq_configure('A', limits => '{api,few}'), evq_configure('B2', 'F', limits => '{api}'), evq_configure_limit('api', max_processing => 2) \gset
SELECT count(*) FROM evq_publish_many('A', NULL, '{a1,a2}', array_fill('{}'::text, '{2}'), priority => 5) \g /dev/null
SELECT count(*) FROM evq_publish_many('B2', NULL, '{b1,b2}', array_fill('{}'::text, '{2}')) \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT dispatched FROM evq_tick();
SELECT event_type, count(*) FROM evq.events WHERE state = 'dispatched' GROUP BY 1 ORDER BY 1;
SELECT limit_name, most, in_use, event_types FROM evq.limits WHERE flow_type IS NULL ORDER BY 1;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- By group: each has the limit by itself, in all flows together. Who is of no group has none.
SELECT evq_configure_limit('per_tenant', max_processing => 1, by_group => true), evq_configure('A', limits => '{per_tenant}'), evq_configure('B', limits => '{per_tenant}') \gset
SELECT evq_publish(t, NULL, concat(t, '-', g, '-', n), group_key => g) FROM unnest('{A,B}'::text[]) t, unnest('{x,y}'::text[]) g, generate_series(1, 2) n \g /dev/null
SELECT evq_publish('A', NULL, 'none') FROM generate_series(1, 2) \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT group_key, count(*) FROM evq.events WHERE state = 'dispatched' GROUP BY 1 ORDER BY 1;
SELECT kind, most, in_use, waiting, by_group FROM evq.limits WHERE limit_name = 'per_tenant';
SELECT why FROM evq.blocked_flows ORDER BY 1;
SELECT evq_cancel(event_id) FROM evq.events WHERE state = 'dispatched' AND group_key = 'x' \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT group_key, count(*) FROM evq.events WHERE state = 'dispatched' GROUP BY 1 ORDER BY 1;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- With the limits of a flow and of its groups both hold, and one that is closed by those does not take the room.
SELECT evq_configure_limit('api', max_processing => 2), evq_configure('A', limits => '{api}'), evq_configure('B', limits => '{api}'), evq_configure_flow('F', max_processing_per_group => 1) \gset
SELECT evq_publish('A', NULL, 'a' || n, group_key => 'x') FROM generate_series(1, 3) n \g /dev/null
SELECT evq_publish('A', NULL, 'a4', group_key => 'y') \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq.events WHERE state = 'dispatched' ORDER BY 1;
SELECT evq_cancel(event_id) FROM evq.events WHERE flow_id = 'a4' \g /dev/null
SELECT evq_publish('B', NULL, 'b1') \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq.events WHERE state = 'dispatched' ORDER BY 1;
-- A paused flow does not keep the room from others.
SELECT evq_configure_limit('api', max_processing => 1) \gset
SELECT evq_publish('B', NULL, 'b2') \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT evq_pause_flow('F') \gset
SELECT evq_cancel(event_id) FROM evq.events WHERE state = 'dispatched' \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq.events WHERE state = 'dispatched' ORDER BY 1;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null
SELECT evq_resume_flow('F'), evq_configure_flow('F', max_processing_per_group => 0) \gset

-- A session does not give turns to events of its own transaction: another flow shares the limit, which it has no lock of.
BEGIN;
SELECT evq_publish('A', NULL, 'own') \g /dev/null
SELECT evq_publish('PLAIN', NULL, 'own plain') \g /dev/null
SELECT flow_id FROM evq_acquire_next('F', 10);
ROLLBACK;

-- In an ordered flow both hold.
SELECT evq_configure_flow('O', ordered => true), evq_configure('C', 'O', limits => '{api}'), evq_configure_limit('api', max_processing => 2) \gset
SELECT count(*) FROM evq_publish_many('C', NULL, '{o1,o1,o2,o3}', array_fill('{}'::text, '{4}')) \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT flow_id FROM evq.events WHERE state = 'dispatched' ORDER BY 1;
SELECT evq_cancel(event_id) FROM evq.event \g /dev/null

-- A rate is kept by a dispatcher, which does not run here: the events wait, and others do not.
SELECT evq_configure_limit('tokens', rate => 600, per => '1 min', burst => 10), evq_configure('A', limits => '{tokens}', cost => 10) \gset
SELECT evq_publish('A', NULL, 'a') \g /dev/null
SELECT evq_publish('PLAIN', NULL, 'p') \g /dev/null
SELECT dispatched FROM evq_tick();
SELECT limit_name, kind, most, per, burst, in_use, waiting, event_types FROM evq.limits WHERE limit_name = 'tokens';
SELECT flow_type, waiting, why FROM evq.blocked_flows;
SELECT event_type, limits, cost FROM evq.event_types ORDER BY 1;

-- Refused.
CALL refused($$SELECT evq_configure('A', limits => '{nosuch}')$$);
CALL refused($$SELECT evq_configure('A', limits => '{api,api}')$$);
CALL refused($$SELECT evq_configure('A', limits => '{api,NULL}')$$);
CALL refused($$SELECT evq_configure('A', limits => '{{api}}')$$);
CALL refused($$SELECT evq_configure('A', cost => 11)$$);
CALL refused($$SELECT evq_configure_limit('tokens', burst => 9)$$);
CALL refused($$SELECT evq_configure_limit('tokens', burst => 0)$$);
CALL refused($$SELECT evq_configure_limit('api', rate => 5), evq_configure('B', cost => 2)$$);
SELECT argument, sqlstate(format('SELECT evq_configure_limit(''api'', %s)', argument))
FROM unnest('{max_processing => -1,max_processing => 1000001,rate => -1,rate => 1e10,rate => 1e400,rate => ''NaN'',per => ''0'',per => ''-1 s'',per => ''3651 days'',burst => -1,burst => 1000001}'::text[]) argument;
SELECT argument, sqlstate(format('SELECT evq_configure(''A'', %s)', argument)) FROM unnest('{cost => 0,cost => -1,cost => 1000001}'::text[]) argument;
CALL refused($$SELECT evq_configure_limit(NULL)$$);
CALL refused($$SELECT evq_configure_limit('')$$);
CALL refused($$SELECT evq_configure_limit('two words')$$);
CALL refused($$SELECT evq_configure_limit(repeat('x', 10000000))$$);
CALL refused($$SELECT evq_drop_limit('api')$$);
CALL refused($$SELECT evq_drop_limit('nosuch')$$);
CALL refused($$SELECT evq_drop_limit(NULL)$$);
SELECT evq_drop_limit('few'), evq_drop_limit('per_tenant');
SELECT limit_name FROM evq.limits WHERE flow_type IS NULL ORDER BY 1;

-- The audit tells who changed them.
SELECT verb, object, detail FROM evq.audit WHERE verb IN ('configure_limit', 'drop_limit') ORDER BY entry_id DESC LIMIT 3;
SELECT detail FROM evq.audit WHERE verb = 'configure' AND object = 'A' ORDER BY entry_id DESC LIMIT 1;
