-- evq_configure_flow: one row a flow, each value checked.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

-- The defaults.
SELECT evq_configure_flow('FLOW_B') \gset
\x on
SELECT * FROM evq.flow;

-- Values given; NULL leaves what is there.
SELECT evq_configure_flow('FLOW_B', 'my_channel', 7, 3, '1 min', 'pull', true, true) \gset
SELECT evq_configure_flow('FLOW_B') \gset
SELECT * FROM evq.flow;
SELECT evq_configure_flow('FLOW_B', max_processing => 0, ordered => false) \gset
SELECT max_dispatched, max_processing, ordered, delivery FROM evq.flow;
\x off

-- Each flow has a channel of its own; that of evq's own messages is taken.
SELECT evq_configure_flow('FLOW_C') \gset
SELECT flow_type, channel FROM evq.flow ORDER BY flow_no;
CALL refused($$SELECT evq_configure_flow('flow_c')$$);
CALL refused($$SELECT evq_configure_flow('FLOW_D', 'my_channel')$$);
CALL refused($$SELECT evq_configure_flow('FLOW_C', 'my_channel')$$);
CALL refused($$SELECT evq_configure_flow('Events')$$);
SELECT evq_configure_flow('flow_c', 'evq_small_flow_c') \gset

-- Names: 59 bytes, so that the channel has 63 at most.
SELECT evq_configure_flow(repeat('x', 59)) \gset
SELECT length(flow_type), length(channel) FROM evq.flow ORDER BY flow_no DESC LIMIT 1;
CALL refused($$SELECT evq_configure_flow(repeat('x', 60))$$);
CALL refused($$SELECT evq_configure_flow(NULL)$$);
CALL refused($$SELECT evq_configure_flow('')$$);
CALL refused($$SELECT evq_configure_flow('it''s')$$);
CALL refused($$SELECT evq_configure_flow('a"b')$$);
CALL refused($$SELECT evq_configure_flow('flow b')$$);
CALL refused($$SELECT evq_configure_flow('1flow')$$);
CALL refused($$SELECT evq_configure_flow(E'flow\n')$$);
CALL refused($$SELECT evq_configure_flow('flüsse')$$);

-- Channels.
CALL refused($$SELECT evq_configure_flow('FLOW_D', 'Upper')$$);
CALL refused($$SELECT evq_configure_flow('FLOW_D', '')$$);
CALL refused($$SELECT evq_configure_flow('FLOW_D', 'a"b')$$);
CALL refused($$SELECT evq_configure_flow('FLOW_D', repeat('x', 64))$$);

-- Values out of range.
CALL refused($$SELECT evq_configure_flow('FLOW_D', max_dispatched => 0)$$);
CALL refused($$SELECT evq_configure_flow('FLOW_D', max_dispatched => 1000001)$$);
CALL refused($$SELECT evq_configure_flow('FLOW_D', max_processing => -1)$$);
CALL refused($$SELECT evq_configure_flow('FLOW_D', dispatch_timeout => '0')$$);
CALL refused($$SELECT evq_configure_flow('FLOW_D', dispatch_timeout => '-1 s')$$);
CALL refused($$SELECT evq_configure_flow('FLOW_D', dispatch_timeout => '31 days')$$);
CALL refused($$SELECT evq_configure_flow('FLOW_D', delivery => 'post')$$);

-- A refused change leaves a flow as it is; what was refused is not there.
CALL refused($$SELECT evq_configure_flow('FLOW_B', max_dispatched => 0, max_processing => 9)$$);
SELECT max_dispatched, max_processing FROM evq.flow WHERE flow_type = 'FLOW_B';
SELECT flow_type FROM evq.flow ORDER BY flow_no;
