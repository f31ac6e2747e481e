-- As turn_token.sql; what fails is in bad_ids.
\set finished :n - :bad
\if :bad > 0
SELECT count(*) AS failed FROM evq_fail_batch(:token, 'bad luck', :bad_ids::uuid[]) WHERE accepted \gset
\endif
SELECT coalesce(cardinality(event_ids), 0) AS n, coalesce(token, '-') AS token, payloads, bad_ids, cardinality(bad_ids) AS bad, micros() AS turn_at
FROM (SELECT b.*, ARRAY(SELECT e.id FROM unnest(b.event_ids, b.flow_ids, b.attempts) e (id, flow_id, attempt)
						WHERE e.attempt = 1 AND e.flow_id::int % 10 = 0) AS bad_ids
	FROM (SELECT) one
	LEFT JOIN evq_succeed_batch_and_acquire(nullif(:token, '-'), 'BENCH', :batch, except_ids => nullif(:bad_ids, '{}')::uuid[]) b ON true) a \gset
\if :finished > 0
\set last_at :turn_at
\endif
