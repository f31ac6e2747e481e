-- Whether a database is paused, see 065_pause_verbs.

-- Not dumped: a restored database is paused by its own CREATE EXTENSION, see below.
CREATE TABLE evq.pause (
	paused_at timestamptz NOT NULL,
	reason text
);
CREATE UNIQUE INDEX pause_one_row_idx ON evq.pause ((true));
ALTER TABLE evq.pause REPLICA IDENTITY FULL;
COMMENT ON TABLE evq.pause IS 'Has a row while this database is paused: nothing is dispatched, acquired, timed out or expired';

CREATE FUNCTION evq.pause_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'evq_sql_pause_changed' LANGUAGE c;
COMMENT ON FUNCTION evq.pause_changed() IS
	'Trigger: tells every session, and the dispatcher or who starts it, at commit';
CREATE TRIGGER pause_changed AFTER INSERT OR UPDATE OR DELETE ON evq.pause FOR EACH ROW EXECUTE FUNCTION evq.pause_changed();
CREATE TRIGGER pause_emptied AFTER TRUNCATE ON evq.pause FOR EACH STATEMENT EXECUTE FUNCTION evq.pause_changed();
ALTER TABLE evq.pause ENABLE ALWAYS TRIGGER pause_changed, ENABLE ALWAYS TRIGGER pause_emptied;

-- What pg_dump writes begins with SET row_security = off, which no other session has a reason for.
DO $$
BEGIN
	IF pg_catalog.current_setting('row_security') = 'off' THEN
		INSERT INTO evq.pause VALUES (pg_catalog.clock_timestamp(), 'restored');
		RAISE WARNING 'evq is paused in this database, which is being restored'
			USING HINT = 'When all is there, and this is to be the database that works, call evq_resume().';
	END IF;
END
$$;
