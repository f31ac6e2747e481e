-- evq_configure: one row an event type, each value checked.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

-- The defaults; the flow is made with its own.
SELECT evq_configure('ORDER', 'SHOP') \gset
\x on
SELECT * FROM evq.event_type;
\x off
SELECT flow_type, channel, delivery FROM evq.flow;

-- Values given; NULL leaves what is there.
SELECT evq_configure('ORDER_FAILED', 'SHOP') \gset
SELECT evq_configure('ORDER', 'SHOP', 5, '2 hours', '{0 s, 1 min, 5 min}', 2, '1 hour', 0.5, '10 min', 'retry',
	'ORDER_FAILED', 9, 2000, '3 days') \gset
SELECT evq_configure('ORDER') \gset
\x on
SELECT * FROM evq.event_type WHERE event_type = 'ORDER';
\x off
SELECT evq_configure('ORDER', max_attempts => 1, on_fail_event_type => '') \gset
SELECT max_attempts, lifespan, on_fail_event_type FROM evq.event_type WHERE event_type = 'ORDER';

-- A new type needs a flow.
CALL refused($$SELECT evq_configure('NEW')$$);

-- Names.
SELECT evq_configure('a.b:c-d_1', 'SHOP') \gset
SELECT evq_configure('1', 'SHOP') \gset
SELECT evq_configure(repeat('x', 63), 'SHOP') \gset
CALL refused($$SELECT evq_configure(repeat('x', 64), 'SHOP')$$);
CALL refused($$SELECT evq_configure(NULL, 'SHOP')$$);
CALL refused($$SELECT evq_configure('', 'SHOP')$$);
CALL refused($$SELECT evq_configure('it''s', 'SHOP')$$);
CALL refused($$SELECT evq_configure('a"b', 'SHOP')$$);
CALL refused($$SELECT evq_configure('two words', 'SHOP')$$);
CALL refused($$SELECT evq_configure('.hidden', 'SHOP')$$);
CALL refused($$SELECT evq_configure(E'line\n', 'SHOP')$$);
CALL refused($$SELECT evq_configure('ORDER', 'no flow')$$);

-- Values out of range.
CALL refused($$SELECT evq_configure('ORDER', max_attempts => 0)$$);
CALL refused($$SELECT evq_configure('ORDER', max_attempts => 10001)$$);
CALL refused($$SELECT evq_configure('ORDER', max_attempts => 100000)$$);
CALL refused($$SELECT evq_configure('ORDER', lifespan => '0')$$);
CALL refused($$SELECT evq_configure('ORDER', lifespan => '-1 hour')$$);
CALL refused($$SELECT evq_configure('ORDER', lifespan => '3651 days')$$);
CALL refused($$SELECT evq_configure('ORDER', attempt_delays => '{}')$$);
CALL refused($$SELECT evq_configure('ORDER', attempt_delays => '{1 s, NULL}')$$);
CALL refused($$SELECT evq_configure('ORDER', attempt_delays => '{-1 s}')$$);
CALL refused($$SELECT evq_configure('ORDER', attempt_delays => array_fill('1 s'::interval, '{101}'))$$);
SELECT sqlstate($$SELECT evq_configure('ORDER', attempt_delays => '{{1 s, 2 s}, {3 s, 4 s}}')$$);
CALL refused($$SELECT evq_configure('ORDER', backoff_factor => 0.5)$$);
CALL refused($$SELECT evq_configure('ORDER', backoff_factor => 'NaN')$$);
CALL refused($$SELECT evq_configure('ORDER', backoff_factor => 'Infinity')$$);
CALL refused($$SELECT evq_configure('ORDER', max_delay => '-1 s')$$);
CALL refused($$SELECT evq_configure('ORDER', jitter => 1.5)$$);
CALL refused($$SELECT evq_configure('ORDER', jitter => 'NaN')$$);
CALL refused($$SELECT evq_configure('ORDER', attempt_timeout => '0')$$);
CALL refused($$SELECT evq_configure('ORDER', on_suspend_timeout => 'wait')$$);
CALL refused($$SELECT evq_configure('ORDER', priority => 40000)$$);
CALL refused($$SELECT evq_configure('ORDER', max_payload_bytes => 0)$$);
CALL refused($$SELECT evq_configure('ORDER', retention => '-1 day')$$);
CALL refused($$SELECT evq_configure('ORDER', on_fail_event_type => 'NONE_SUCH')$$);

-- An on-fail event type is one of the same flow; a type may name itself.
SELECT evq_configure('PARCEL', 'POST') \gset
CALL refused($$SELECT evq_configure('ORDER', on_fail_event_type => 'PARCEL')$$);
CALL refused($$SELECT evq_configure('NEW', 'SHOP', on_fail_event_type => 'PARCEL')$$);
SELECT evq_configure('AGAIN', 'SHOP', on_fail_event_type => 'AGAIN') \gset

-- A refused change leaves a type as it is; what was refused is not there.
SELECT max_attempts, lifespan, attempt_delays FROM evq.event_type WHERE event_type = 'ORDER';
SELECT count(*) FROM evq.event_type WHERE event_type = 'NEW';

-- A type moves to another flow when it has no live events.
SELECT evq_publish('PARCEL', NULL, 'p') \gset
CALL refused($$SELECT evq_configure('PARCEL', 'SHOP')$$);
SELECT evq_configure('PARCEL', 'POST', max_attempts => 2) \gset
SELECT evq_cancel(ev('p')) \gset
SELECT evq_configure('PARCEL', 'SHOP') \gset
SELECT flow_type FROM evq.event_type JOIN evq.flow USING (flow_no) WHERE event_type = 'PARCEL';
SELECT flow_type FROM evq.events WHERE flow_id = 'p';

-- On-fail events stay in the flow: neither end of such a link moves away from the other.
SELECT evq_configure('BREAD', 'BAKERY') \gset
SELECT evq_configure('CAKE', 'BAKERY', on_fail_event_type => 'BREAD') \gset
SELECT sqlstate($$SELECT evq_configure('CAKE', 'SHOP')$$);
SELECT sqlstate($$SELECT evq_configure('BREAD', 'SHOP')$$);
SELECT evq_configure('CAKE', 'SHOP', on_fail_event_type => '') \gset

-- A change holds for what follows in the same session, at once.
SELECT evq_configure('ORDER', priority => 3) \gset
SELECT evq_publish('ORDER', NULL, 'o') \gset
SELECT priority FROM evq.events WHERE flow_id = 'o';

-- A change that is rolled back never was.
BEGIN;
SELECT evq_configure('BRIEF', 'SHOP') \gset
SELECT evq_publish('BRIEF', NULL, 'b') \gset
ROLLBACK;
CALL refused($$SELECT evq_publish('BRIEF', NULL, 'b')$$);
BEGIN;
SAVEPOINT s;
SELECT evq_configure('ORDER', priority => 4) \gset
ROLLBACK TO s;
SELECT evq_publish('ORDER', NULL, 'o2') \gset
COMMIT;
SELECT priority FROM evq.events WHERE flow_id = 'o2';

-- Plans of statements that read the configuration outlast a change of it: this one stays, though another one would be made by now.
BEGIN;
LOCK TABLE evq.event_type IN SHARE UPDATE EXCLUSIVE MODE; -- no ANALYZE
SET LOCAL plan_cache_mode = force_generic_plan;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
PREPARE known AS SELECT priority FROM evq.event_type WHERE event_type_no = $1;
EXPLAIN (COSTS OFF) EXECUTE known (1);
SET LOCAL enable_seqscan = on;
SET LOCAL enable_indexscan = off;
SELECT evq_configure('ORDER', priority => 5) \gset
EXPLAIN (COSTS OFF) EXECUTE known (1);
DEALLOCATE known;
ROLLBACK;
