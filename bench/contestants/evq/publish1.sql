\set case random(1, 1000000)
SELECT evq_publish('BENCH', 'BENCH', :case, :payload);
