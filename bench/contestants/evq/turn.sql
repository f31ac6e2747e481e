SELECT count(*) AS n, array_agg(event_id) AS ids, array_agg(permit) AS permits, array_agg(payload) AS payloads
FROM evq_acquire_next('BENCH', :batch) \gset
\if :n > 0
SELECT count(*) AS finished, micros() AS last_at FROM evq_succeed_many(:ids, :permits) WHERE accepted \gset
\endif
