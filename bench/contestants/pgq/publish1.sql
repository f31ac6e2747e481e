\set case random(1, 1000000)
\set queue :client_id % :queues
SELECT pgq.insert_event('q' || :queue, :case, :payload);
