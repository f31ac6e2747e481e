-- As turn.sql; of those that come for the first time, each tenth is to come again.
\set n 0
\set bad 0
SELECT coalesce(pgq.next_batch('q' || :client_id, 'worker'), 0) AS batch_id \gset
\if :batch_id > 0
SELECT count(*) AS n, count(pgq.event_retry(:batch_id, ev_id, 0)) FILTER (WHERE ev_retry IS NULL AND ev_id % 10 = 0) AS bad, array_agg(ev_data) AS payloads
FROM pgq.get_batch_events(:batch_id) \gset
SELECT pgq.finish_batch(:batch_id) AS accepted, micros() AS turn_at \gset
\endif
\if :n > 0
\set finished :n - :bad
\set last_at :turn_at
\endif
