-- After turn_end.sql: what was done when each stretch of window microseconds was over; the end comes with the last one.
\set stretch (:last_at - :begun_at) / :window
\if :last_at > 0 and :stretch > :stretches
\set stretches :stretch
INSERT INTO mark VALUES ('window', :client_id, :last_at, :done);
\if :stretch >= :windows
INSERT INTO mark VALUES ('end', :client_id, :last_at, :done);
SELECT 1 / 0;
\endif
\endif
