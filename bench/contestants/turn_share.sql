-- After turn_end.sql: a client that has done its share ends itself.
\if :done >= :share
INSERT INTO mark VALUES ('end', :client_id, :last_at, :done);
SELECT 1 / 0;
\endif
