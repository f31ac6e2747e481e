\set seconds random(3600, 3 * 86400)
\if :made = 0
SELECT array_agg(n)::text AS cases, array_fill(:payload::jsonb, ARRAY[:batch::int])::text AS payloads
FROM generate_series(1, :batch) AS n \gset
\set made 1
\endif
SELECT count(*) FROM evq_publish_many('BENCH', 'BENCH', :cases, :payloads, run_at => now() + :seconds * interval '1 second');
