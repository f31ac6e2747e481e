CREATE EXTENSION evq;
SELECT evq_configure_flow('BENCH', delivery => :'delivery', max_dispatched => 20000, dispatch_timeout => '10 min');
SELECT evq_configure('BENCH', 'BENCH');
