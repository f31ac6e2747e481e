-- A queue and a consumer for each worker: a batch of PgQ goes to one consumer.
-- Each call of the ticker makes a tick in each queue that has new events.
CREATE EXTENSION pgq;
SELECT pgq.create_queue('q' || n), pgq.register_consumer('q' || n, 'worker'),
	pgq.set_queue_config('q' || n, 'ticker_max_count', '1') FROM generate_series(0, :workers - 1) AS n;
SELECT pgq.ticker();
