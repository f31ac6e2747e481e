\if :made = 0
SELECT array_agg(n)::text AS cases, array_fill(:payload::jsonb, ARRAY[:batch::int])::text AS payloads
FROM generate_series(1, :batch) AS n \gset
\set made 1
\endif
WITH event AS MATERIALIZED (
	SELECT limit_id(now(), :client_id, row_no) AS event_id, case_id, payload
	FROM unnest(:cases::text[], :payloads::jsonb[]) WITH ORDINALITY AS given (case_id, payload, row_no)),
	inserted AS (
	INSERT INTO limit_event
	SELECT event_id, now(), now(), now() + '1 hour', 1, 1, 0, 0, false, 'a', 0, 'infinity', now(), 0, case_id FROM event)
INSERT INTO limit_payload SELECT event_id, payload FROM event;
