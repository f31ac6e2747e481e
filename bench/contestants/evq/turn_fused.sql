-- What the turn before acquired is in ids and permits.
\set finished :n
SELECT count(*) AS n, coalesce(array_agg(event_id), '{}') AS ids, coalesce(array_agg(permit), '{}') AS permits,
	array_agg(payload) AS payloads, micros() AS turn_at
FROM evq_succeed_and_acquire('BENCH', :ids, :permits, :batch) \gset
\if :finished > 0
\set last_at :turn_at
\endif
