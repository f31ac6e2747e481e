\set queue :client_id % :queues
\if :made = 0
SELECT array_agg(n)::text AS cases, array_fill(:payload::jsonb, ARRAY[:batch::int])::text AS payloads
FROM generate_series(1, :batch) AS n \gset
\set made 1
\endif
SELECT count(pgq.insert_event('q' || :queue, case_id, payload::text))
FROM unnest(:cases::text[], :payloads::jsonb[]) AS given (case_id, payload);
