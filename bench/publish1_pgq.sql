\set case random(1, 1000000)
SELECT pgq.insert_event('q0', :case, :payload);
