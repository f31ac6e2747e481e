CREATE EXTENSION evq;
SELECT evq_configure_flow('BENCH', delivery => :'delivery');
SELECT evq_configure('BENCH', 'BENCH', retention => :'retention');
