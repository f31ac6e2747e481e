-- What evq_check() finds about the server around evq.

CREATE FUNCTION evq.check_server(patience interval) RETURNS SETOF evq.finding
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off ROWS 10
AS $$
WITH session AS MATERIALIZED (
	SELECT a.pid, a.backend_xmin, a.xact_start, a.datname,
		concat_ws(', ', format('PID %s', a.pid), a.usename, a.datname, nullif(a.application_name, ''), a.state) AS who
	FROM pg_stat_activity a WHERE a.pid <> pg_backend_pid()),
queue AS MATERIALIZED (SELECT pg_notification_queue_usage() AS usage)

-- A session that listens reads the queue between its transactions only, in whichever database it is.
SELECT CASE WHEN q.usage < 0.5 THEN 'warning' ELSE 'error' END, 'notifications',
	format('the notification queue is %s %% full: a session that listens does not read it', round((100 * q.usage)::numeric, 1))
		|| coalesce('; the oldest transaction is that of ' || s.who || ', since ' || s.xact_start, ''),
	format('End that transaction%s. When the queue is full, no notification goes out; workers then poll.',
		   coalesce(', or pg_terminate_backend(' || s.pid || ')', ''))
FROM queue q LEFT JOIN (SELECT * FROM session WHERE xact_start IS NOT NULL ORDER BY xact_start LIMIT 1) s ON true
WHERE q.usage >= 0.01
UNION ALL
(SELECT 'warning', 'snapshots', format('%s has held a snapshot since %s: no row that died since can be removed', s.who, s.xact_start),
	format('End its transaction, or pg_terminate_backend(%s); set idle_in_transaction_session_timeout.', s.pid)
 FROM session s
 WHERE s.backend_xmin IS NOT NULL AND s.datname = current_database() AND s.xact_start <= clock_timestamp() - patience
 ORDER BY s.xact_start LIMIT 5)
UNION ALL
SELECT 'warning', 'snapshots', format('replication slot %I is not in use and holds back vacuum: xmin is %s transactions old', r.slot_name, age(r.xmin)),
	format('Start its standby, or SELECT pg_drop_replication_slot(%L).', r.slot_name)
FROM pg_replication_slots r WHERE r.xmin IS NOT NULL AND NOT r.active
UNION ALL
(SELECT 'warning', 'prepared transactions', format('transaction %L of %I is prepared since %s: it keeps its locks, and no row that died since can be removed',
		p.gid, p.owner, p.prepared),
	format('COMMIT PREPARED %1$L or ROLLBACK PREPARED %1$L; its coordinator knows which.', p.gid)
 FROM pg_prepared_xacts p WHERE p.database = current_database() AND p.prepared <= clock_timestamp() - patience
 ORDER BY p.prepared LIMIT 5)
UNION ALL
SELECT 'error', 'autovacuum', format('%s is off: dead rows stay', s.name), format('Set %s = on and reload.', s.name)
FROM pg_settings s WHERE s.name IN ('autovacuum', 'track_counts') AND s.setting = 'off'
UNION ALL
SELECT 'error', 'autovacuum', format('it is off for %s: dead rows stay', c.oid::regclass), format('ALTER TABLE %s RESET (autovacuum_enabled).', c.oid::regclass)
FROM pg_class c, pg_options_to_table(c.reloptions) o
WHERE c.relnamespace = 'evq'::regnamespace AND o.option_name = 'autovacuum_enabled' AND NOT o.option_value::boolean
UNION ALL
SELECT 'warning', 'bloat', format('%s.%s has %s dead rows beside %s live ones', t.schemaname, t.relname, t.n_dead_tup, t.n_live_tup)
		|| coalesce('; last autovacuum ' || t.last_autovacuum::text, '; it was never vacuumed automatically'),
	'See the findings on snapshots and autovacuum; VACUUM removes dead rows, and after long trouble VACUUM FULL the space.'
FROM pg_stat_all_tables t
WHERE t.schemaname = 'evq' AND t.n_dead_tup > 100000 AND t.n_dead_tup > t.n_live_tup
UNION ALL
SELECT d.severity, 'durability', d.finding, format('Set %s = %s%s.', d.name, d.wanted, CASE d.name WHEN 'wal_level' THEN ' and restart' ELSE '' END)
FROM (VALUES
	('fsync', 'off', 'error', 'fsync is off: a crash of the machine can destroy the database', 'on'),
	('full_page_writes', 'off', 'error', 'full_page_writes is off: a crash of the machine can destroy pages', 'on'),
	('synchronous_commit', 'off', 'warning', 'synchronous_commit is off: a crash can lose events whose publish was acknowledged', 'on'),
	('wal_level', 'minimal', 'warning', 'wal_level is minimal: no standby and no continuous backup is possible', 'replica')
	) AS d(name, bad, severity, finding, wanted)
WHERE current_setting(d.name) = d.bad
UNION ALL
SELECT 'warning', 'durability', format('synchronous_commit is off%s%s: a crash can lose events whose publish was acknowledged',
		CASE WHEN d.setrole <> 0 THEN format(' for role %s', d.setrole::regrole) ELSE '' END,
		CASE WHEN d.setdatabase <> 0 THEN format(' in database %I', current_database()) ELSE '' END),
	'ALTER ROLE or ALTER DATABASE ... RESET synchronous_commit, if its events matter.'
FROM pg_db_role_setting d
WHERE d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) AND 'synchronous_commit=off' = ANY (d.setconfig)
$$;
COMMENT ON FUNCTION evq.check_server(interval) IS 'Findings: what in the server hinders evq or endangers its events';
