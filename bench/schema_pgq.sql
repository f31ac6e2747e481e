-- A queue and a consumer for each worker: a batch of PgQ goes to one consumer.
-- Each call of the ticker makes a tick, if there are new events.
CREATE EXTENSION pgq;
SELECT pgq.create_queue('q' || n), pgq.register_consumer('q' || n, 'worker'),
	pgq.set_queue_config('q' || n, 'ticker_max_count', '1') FROM generate_series(0, 7) AS n;
SELECT pgq.ticker();
