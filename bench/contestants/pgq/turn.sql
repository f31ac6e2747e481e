-- A batch of PgQ is what lies between two ticks, however much that is.
\set n 0
SELECT coalesce(pgq.next_batch('q' || :client_id, 'worker'), 0) AS batch_id \gset
\if :batch_id > 0
SELECT count(*) AS n, array_agg(ev_data) AS payloads FROM pgq.get_batch_events(:batch_id) \gset
SELECT pgq.finish_batch(:batch_id) AS accepted, micros() AS turn_at \gset
\endif
\if :n > 0
\set finished :n
\set last_at :turn_at
\endif
