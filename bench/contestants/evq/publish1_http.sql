\set case random(1, 1000000)
SELECT * FROM evq_http.publish(NULL, '{}', '{}', jsonb_build_object('event_type', 'BENCH', 'flow_type', 'BENCH', 'flow_id', (:case)::text, 'payload', (:payload)::jsonb));
