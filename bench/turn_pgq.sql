-- A batch of PgQ is what lies between two ticks: the backlog was loaded with a tick every so many events.
SELECT coalesce(pgq.next_batch('q' || :client_id, 'worker'), 0) AS n \gset
\if :n > 0
SELECT count(*) AS events, array_agg(ev_data) AS payloads FROM pgq.get_batch_events(:n) \gset
SELECT pgq.finish_batch(:n) AS accepted, micros() AS last_at \gset
\endif
