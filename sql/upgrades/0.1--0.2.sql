-- From 0.1 to 0.2. The Makefile adds the parts of the install script that are new, those whose
-- functions and views are replaced, and the privileges.

SET LOCAL search_path = pg_catalog, pg_temp;

-- The table of finished events becomes the default partition of a new one: it stays where it is.
ALTER TABLE evq.event_history RENAME TO event_history_default;
ALTER TABLE evq.event_history_default RENAME CONSTRAINT event_history_pkey TO event_history_default_pkey;
ALTER INDEX evq.event_history_finished_at_idx RENAME TO event_history_default_finished_at_idx;
CREATE TABLE evq.event_history (LIKE evq.event_history_default INCLUDING COMMENTS) PARTITION BY RANGE (finished_at);
ALTER TABLE evq.event_history ATTACH PARTITION evq.event_history_default DEFAULT;
COMMENT ON TABLE evq.event_history IS 'Finished events, one row each; read them through evq.events';
COMMENT ON TABLE evq.event_history_default IS 'Finished events that no other partition of evq.event_history is for';
COMMENT ON COLUMN evq.event_history_default.attempts_used IS NULL;
COMMENT ON COLUMN evq.event_history_default.attempt_started_at IS NULL;
COMMENT ON COLUMN evq.event_history_default.payload IS NULL;
COMMENT ON COLUMN evq.event_history_default.reason IS NULL;

COMMENT ON COLUMN evq.event_type.retention IS 'How long a finished event is kept; 0 = one that succeeds leaves nothing, neither payload nor errors nor idempotency key';

CREATE OR REPLACE VIEW evq.payloads AS
	SELECT event_id, payload, NULL::jsonb AS headers FROM evq.event WHERE payload IS NOT NULL
	UNION ALL SELECT event_id, payload, NULL FROM evq.event_history WHERE payload IS NOT NULL
	UNION ALL SELECT event_id, payload, headers FROM evq.event_payload;
