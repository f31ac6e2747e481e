-- A queue and a consumer for each worker: a batch of PgQ goes to one consumer.
-- Each call of the ticker makes a tick in each queue that has new events, and soon another one without any: the last
-- tick may have counted events which its snapshot did not see.
CREATE EXTENSION pgq;
SELECT pgq.create_queue(queue), pgq.register_consumer(queue, 'worker'), pgq.set_queue_config(queue, 'ticker_max_count', '1'),
	pgq.set_queue_config(queue, 'ticker_max_lag', '20 ms')
FROM (SELECT 'q' || n FROM generate_series(0, :workers - 1) AS n) AS queues (queue);
SELECT pgq.ticker();
