\if :made = 0
SELECT jsonb_agg(jsonb_build_object('event_type', 'BENCH' || n % :types, 'flow_id', n::text, 'payload', :payload::jsonb))::text AS events
FROM generate_series(1, :batch) AS n \gset
\set made 1
\endif
SELECT count(*) FROM evq_publish_many(:events::jsonb);
