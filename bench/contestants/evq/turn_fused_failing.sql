-- As turn_fused.sql; what fails is in bad_ids and bad_permits.
\set finished :n - :bad
\if :bad > 0
SELECT count(*) AS failed FROM evq_fail_many(:bad_ids::uuid[], :bad_permits::bigint[], 'bad luck') WHERE accepted \gset
\endif
SELECT count(*) AS n, count(*) FILTER (WHERE is_bad) AS bad, array_agg(payload) AS payloads, micros() AS turn_at,
	coalesce(array_agg(event_id) FILTER (WHERE NOT is_bad), '{}') AS ids, coalesce(array_agg(permit) FILTER (WHERE NOT is_bad), '{}') AS permits,
	coalesce(array_agg(event_id) FILTER (WHERE is_bad), '{}') AS bad_ids, coalesce(array_agg(permit) FILTER (WHERE is_bad), '{}') AS bad_permits
FROM (SELECT *, attempt = 1 AND flow_id::int % 10 = 0 AS is_bad FROM evq_succeed_and_acquire('BENCH', :ids::uuid[], :permits::bigint[], :batch)) a \gset
\if :finished > 0
\set last_at :turn_at
\endif
