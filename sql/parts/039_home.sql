-- Where the data is at home; by it a copy is told from its original (src/tables/home.c).

-- Not dumped: a restored database has a home of its own.
CREATE TABLE evq.home (
	is_only boolean NOT NULL DEFAULT true CONSTRAINT home_is_only_check CHECK (is_only),
	database_oid oid NOT NULL,
	backup_label text NOT NULL,
	CONSTRAINT home_pkey PRIMARY KEY (is_only)
);
COMMENT ON TABLE evq.home IS 'One row: the database that this data was last at home in; elsewhere it is a copy, which is paused';
COMMENT ON COLUMN evq.home.backup_label IS 'The file backup_label.old of its server: from which base backup that was started, escaped as encode() does; empty = from none';
INSERT INTO evq.home (database_oid, backup_label)
SELECT d.oid, coalesce(pg_catalog.encode(pg_catalog.pg_read_binary_file('backup_label.old', 0, 8192, true), 'escape'), '')
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database();
