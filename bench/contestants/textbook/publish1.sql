\set case random(1, 1000000)
INSERT INTO job (case_id, payload) VALUES (:case, :payload);
