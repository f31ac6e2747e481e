-- The tables that a publish writes, without the engine: no code, no dispatcher's work.
CREATE EXTENSION evq;
CREATE TABLE limit_event (LIKE evq.event INCLUDING ALL);
CREATE TABLE limit_payload (LIKE evq.event_payload INCLUDING ALL);
SELECT format('ALTER TABLE limit_event SET (%s)', array_to_string(reloptions, ', '))
FROM pg_class WHERE oid = 'evq.event'::regclass \gexec

-- Ids in the order of time, as evq's are.
CREATE SEQUENCE limit_no CACHE 1000;
