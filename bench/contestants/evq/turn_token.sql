-- What the turn before acquired is in token.
\set finished :n
SELECT coalesce(cardinality(b.event_ids), 0) AS n, coalesce(b.token, '-') AS token, b.payloads, micros() AS turn_at
FROM (SELECT) one LEFT JOIN evq_succeed_batch_and_acquire(nullif(:token, '-'), 'BENCH', :batch) b ON true \gset
\if :finished > 0
\set last_at :turn_at
\endif
