-- What evq_check() finds about evq's own objects: who else may touch them, and what was done to them.

CREATE FUNCTION evq.check_privileges() RETURNS SETOF evq.finding
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 10
AS $$
WITH extension AS (SELECT x.oid, x.extowner FROM pg_extension x WHERE x.extname = 'evq'),
member AS (
	SELECT d.classid, d.objid FROM pg_depend d JOIN extension x ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
	WHERE d.deptype = 'e'),
acl AS (
	SELECT format('schema %s', n.nspname) AS object, n.nspowner AS owner, 'n' AS kind, a.grantee, a.privilege_type
	FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname IN ('evq', 'evq_http')
	UNION ALL
	SELECT c.oid::regclass::text, c.relowner, CASE c.relkind WHEN 'v' THEN 'v' ELSE 'r' END, a.grantee, a.privilege_type
	FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = 'evq'::regnamespace
	UNION ALL
	SELECT format('%s.%I', c.oid::regclass, b.attname), c.relowner, 'r', a.grantee, a.privilege_type
	FROM pg_class c JOIN pg_attribute b ON b.attrelid = c.oid, aclexplode(b.attacl) a
	WHERE c.relnamespace = 'evq'::regnamespace AND b.attacl IS NOT NULL
	UNION ALL
	SELECT p.oid::regprocedure::text, p.proowner, 'f', a.grantee, a.privilege_type
	FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid,
		aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
	UNION ALL
	SELECT t.oid::regtype::text, t.typowner, 't', a.grantee, a.privilege_type
	-- Newer versions list the row and array types of members as members too: they show nothing that a table does not.
	FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid LEFT JOIN pg_class c ON c.oid = t.typrelid
	CROSS JOIN aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a
	WHERE t.typcategory <> 'A' AND coalesce(c.relkind, 'c') = 'c'),
group_role AS (
	SELECT o.oid, v.* FROM (VALUES ('work', 'evq_worker'::name, 'evq_restricted_worker'::name), ('publish', 'evq_publisher', 'evq_restricted_publisher')) v(may, free, restricted)
	JOIN pg_roles o ON o.rolname = v.restricted)

SELECT 'error', 'privileges',
	format('%s has %s on %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
		   string_agg(DISTINCT a.privilege_type, ', '), a.object),
	CASE WHEN a.grantee = 0 THEN 'REVOKE it: nothing of evq is for PUBLIC, only for the four roles.'
		 ELSE 'REVOKE it: what evq runs as the owner must not be changed by others; roles work through functions and views.' END
FROM acl a
WHERE a.grantee <> a.owner AND (a.grantee = 0 OR a.kind = 'r' OR (a.kind = 'n' AND a.privilege_type = 'CREATE'))
GROUP BY a.object, a.grantee
UNION ALL
SELECT 'error', 'privileges', format('%s belongs to %s, not to the owner of the extension', c.oid::regclass, c.relowner::regrole),
	format('ALTER TABLE %s OWNER TO %s.', c.oid::regclass, x.extowner::regrole)
FROM pg_class c, extension x WHERE c.relnamespace = 'evq'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND c.relowner <> x.extowner
UNION ALL
SELECT 'error', 'privileges', format('%s runs with its owner''s rights and the caller''s search_path', p.oid::regprocedure),
	format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp.', p.oid::regprocedure)
FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
WHERE p.prosecdef AND 'search_path=pg_catalog, pg_temp' = ANY (p.proconfig) IS NOT TRUE
UNION ALL
-- Whoever calls one of ours without its schema may get this one, by its arguments or by the search_path.
SELECT 'error', 'privileges', format('function %s, of %I, is named as one of evq''s and is not', p.oid::regprocedure, o.rolname),
	format('DROP FUNCTION %s, or name it otherwise; until then call evq''s functions by their schema, %I.', p.oid::regprocedure, x.nspname)
FROM (SELECT n.oid, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'evq') x
JOIN pg_proc p ON EXISTS (SELECT FROM pg_proc ours JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = ours.oid
						  WHERE ours.proname = p.proname AND ours.pronamespace = x.oid)
JOIN pg_roles o ON o.oid = p.proowner
WHERE p.proname LIKE E'evq\\_%' AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
UNION ALL
SELECT 'error', 'privileges', format('function %s, of %I, has the name that one of evq''s had before 0.3', p.oid::regprocedure, o.rolname),
	format('DROP FUNCTION %s, or name it otherwise: an evq-gateway of 0.2 that is still at work calls it.', p.oid::regprocedure)
FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
WHERE p.proname COLLATE "C" ~ '^evq_(http_.*|mcp)$'
UNION ALL
SELECT 'error', 'privileges', format('function %s, of %I, is not evq''s and stands in a schema that is', p.oid::regprocedure, o.rolname),
	'Move it to another schema: what runs as the owner might call it, and DROP EXTENSION would fail.'
FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
WHERE p.pronamespace IN ('evq'::regnamespace, 'evq_http'::regnamespace)
	AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
UNION ALL
SELECT 'warning', 'privileges', format('a restriction of role %I is left, which %s', r.role_name,
		CASE WHEN o.oid IS NULL THEN 'does not exist' ELSE format('is called %I by now', o.rolname) END),
	'Make it anew with evq_grant_worker() or evq_grant_publisher() for the role it is meant for, and end this one with evq_revoke_*().'
FROM evq.restriction r LEFT JOIN pg_roles o ON o.oid = r.role_oid
WHERE NOT EXISTS (SELECT FROM pg_roles n WHERE n.rolname = r.role_name)
UNION ALL
SELECT 'error', 'privileges', format('role %I, which is restricted, is a member of %s as well: by SET ROLE it could use every flow', o.rolname, g.free),
	format('REVOKE %s FROM %I, or from the role through which it has it, when every database of the server has evq 0.3 or later.', g.free, o.rolname)
FROM group_role g JOIN pg_roles o ON o.oid IN (SELECT r.role_oid FROM evq.restriction r WHERE r.may = g.may UNION SELECT m.member FROM pg_auth_members m WHERE m.roleid = g.oid)
WHERE NOT o.rolsuper AND NOT pg_has_role(o.oid, 'evq_operator', 'MEMBER') AND pg_has_role(o.oid, g.free, 'MEMBER')
UNION ALL
SELECT 'error', 'privileges', format('role %I is restricted here, and not in other databases of the server', o.rolname),
	format('GRANT %s TO %I: then it may do nothing where no flow was granted to it.', g.restricted, o.rolname)
FROM group_role g JOIN evq.restriction r ON r.may = g.may JOIN pg_roles o ON o.oid = r.role_oid
WHERE NOT o.rolsuper AND NOT pg_has_role(o.oid, g.oid, 'MEMBER')
UNION ALL
SELECT 'warning', 'privileges', format('role %I is restricted, and has no flow in this database: it may %s nothing here', o.rolname,
		CASE g.may WHEN 'work' THEN 'work on' ELSE 'publish' END),
	format('Give it one with evq_grant_%s(); if it has no business here, keep it out: REVOKE CONNECT ON DATABASE %I FROM PUBLIC.',
		   CASE g.may WHEN 'work' THEN 'worker' ELSE 'publisher' END, current_database())
FROM group_role g JOIN pg_auth_members m ON m.roleid = g.oid JOIN pg_roles o ON o.oid = m.member
WHERE NOT o.rolsuper AND has_database_privilege(o.oid, current_database(), 'CONNECT')
	AND NOT EXISTS (SELECT FROM evq.restriction r WHERE r.may = g.may AND (pg_has_role(o.oid, r.role_oid, 'USAGE') OR r.role_name = o.rolname))
$$;
COMMENT ON FUNCTION evq.check_privileges() IS 'Findings: who has rights on evq''s objects that nobody should have';

CREATE FUNCTION evq.known_columns(OUT table_name text, OUT column_name text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'evq_sql_known_columns' LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION evq.known_columns() IS 'The columns that the library knows of the tables that it reads';

CREATE FUNCTION evq.check_tables() RETURNS SETOF evq.finding
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off ROWS 10
AS $$
WITH relation AS (
	SELECT c.* FROM pg_class c WHERE c.relnamespace = 'evq'::regnamespace AND c.relkind IN ('r', 'p')),
-- The tables that C code reads, and those that it writes, past triggers and rules; partitions have the columns of their table.
known AS MATERIALIZED (SELECT k.* FROM evq.known_columns() k),
known_relation AS (
	SELECT c.oid, coalesce(p.relname, c.relname)::text AS table_name,
		coalesce(p.relname, c.relname) IN ('event', 'event_payload', 'event_history', 'event_error', 'idempotency', 'epoch',
			'log', 'batch', 'backlog', 'run', 'exception') AS is_direct
	FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition LEFT JOIN pg_class p ON p.oid = i.inhparent
	WHERE coalesce(p.relnamespace, c.relnamespace) = 'evq'::regnamespace AND coalesce(p.relname, c.relname)::text IN (SELECT k.table_name FROM known k)),
attribute AS (
	SELECT r.oid, r.table_name, a.attname FROM known_relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped)
SELECT 'error', 'tables', format('%s has a trigger, %I', t.tgrelid::regclass, t.tgname),
	'Drop it: evq is not made for it, and refuses to write a table of events that has one.'
FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid
WHERE NOT t.tgisinternal AND t.tgfoid NOT IN ('evq.configuration_changed'::regproc, 'evq.pause_changed'::regproc, 'evq.schedules_changed'::regproc, 'evq.keep_own'::regproc, 'evq.keep_audit'::regproc)
UNION ALL
SELECT 'error', 'tables', format('the trigger %I of %s does not fire in every session', t.tgname, t.tgrelid::regclass),
	format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I.', t.tgrelid::regclass, t.tgname)
FROM pg_trigger t WHERE t.tgfoid IN ('evq.configuration_changed'::regproc, 'evq.pause_changed'::regproc) AND t.tgenabled <> 'A'
UNION ALL
SELECT 'error', 'tables', format('%s has a foreign key, %I', c.conrelid::regclass, c.conname),
	format('ALTER TABLE %s DROP CONSTRAINT %I: evq refuses to write where it would have to be passed over. Keep the id without it.', c.conrelid::regclass, c.conname)
FROM pg_constraint c
WHERE c.contype = 'f' AND c.conparentid = 0 AND EXISTS (SELECT FROM known_relation r WHERE r.is_direct AND r.oid IN (c.conrelid, c.confrelid))
UNION ALL
SELECT 'warning', 'tables', format('%s has a constraint that is not evq''s, %I', c.conrelid::regclass, c.conname),
	'It is heeded: what violates it fails, in the dispatcher too. Drop it if that is not wanted.'
FROM pg_constraint c JOIN known_relation r ON r.oid = c.conrelid
WHERE c.contype = 'c' AND r.is_direct AND c.coninhcount = 0
UNION ALL
SELECT 'warning', 'tables', format('%s has a column that is not evq''s, %I', a.oid::regclass, a.attname),
	'A dump can only be restored where it was added before the data, see doc/operations.md. It gets its default, and keeps its value while the row lives; '
	'a finished event does not take it along. Better keep it in a table of your own, by event_id.'
FROM attribute a JOIN relation r ON r.oid = a.oid AND NOT r.relispartition
WHERE NOT EXISTS (SELECT FROM known k WHERE k.table_name = a.table_name AND k.column_name = a.attname::text)
UNION ALL
SELECT 'error', 'tables', format('index %s is not valid', i.indexrelid::regclass),
	format('Wait until CREATE INDEX CONCURRENTLY has ended. If it failed: REINDEX INDEX %s, or drop it if it is not evq''s.', i.indexrelid::regclass)
FROM pg_index i JOIN known_relation r ON r.oid = i.indrelid WHERE NOT i.indisvalid
UNION ALL
SELECT 'error', 'tables', format('%s has a rule, %I', w.ev_class::regclass, w.rulename), 'Drop it: evq''s own code does not heed it.'
FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class
UNION ALL
SELECT 'error', 'tables', format('%s has row security', r.oid::regclass),
	format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY and drop its policies: functions and views of evq decide who sees what.', r.oid::regclass)
FROM relation r WHERE r.relrowsecurity OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = r.oid)
UNION ALL
SELECT 'warning', 'tables', 'the history has no partition for now: events finish into evq.event_history_default',
	'SELECT @extschema@.evq_purge() makes it; the server''s log says why the engine''s housekeeping does not.'
WHERE NOT EXISTS (SELECT FROM evq.history_partitions() p WHERE p.from_at <= clock_timestamp() AND p.to_at > clock_timestamp())
	-- What finished before partitions were made, after an upgrade say, stands in the way until the next one begins.
	AND NOT (EXISTS (SELECT FROM evq.history_partitions() p WHERE p.from_at > clock_timestamp())
		AND pg_relation_size('evq.event_history_default') > 0)
UNION ALL
SELECT 'error', 'tables', format('partition %s of the history is not a plain table: no event can finish before %s', p.relation, p.to_at),
	format('ALTER TABLE evq.event_history DETACH PARTITION %s. A foreign table, or one with partitions of its own, can hold only what has finished.', p.relation)
FROM evq.history_partitions() p JOIN pg_class c ON c.oid = p.relation
WHERE c.relkind <> 'r' AND p.from_at <= clock_timestamp() + interval '2 days' AND p.to_at > clock_timestamp()
UNION ALL
SELECT 'warning', 'tables', format('%s is to be dropped since %s: the retention of all types is over for it', p.relation, d.since),
	'DROP TABLE tells what depends on it; otherwise somebody has read it whenever housekeeping came by, and the server''s log says so.'
FROM evq.history_partitions() p JOIN pg_class c ON c.oid = p.relation,
	LATERAL (SELECT p.to_at + (SELECT coalesce(max(t.retention), '0 s') FROM evq.event_type t) AS since) d
WHERE c.relkind = 'r' AND d.since < clock_timestamp() - interval '1 day'
UNION ALL
SELECT 'error', 'tables', format('%s has no replica identity: where a publication publishes updates or deletes of it, they fail', r.oid::regclass),
	format('ALTER TABLE %s REPLICA IDENTITY FULL.', r.oid::regclass)
FROM relation r
WHERE (r.relispartition OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.objsubid = 0 AND d.deptype = 'e'))
	AND CASE r.relreplident WHEN 'f' THEN false WHEN 'n' THEN true
	  ELSE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = r.oid AND i.indisvalid
						   AND CASE r.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END) END
UNION ALL
SELECT 'warning', 'tables', format('publication %I publishes %s through its root, and the replica identity of %s is not FULL', p.pubname,
		CASE o.relname WHEN 'event_history' THEN 'the history' ELSE 'evq.' || o.relname END, r.oid::regclass),
	format('ALTER TABLE %s REPLICA IDENTITY FULL: until then subscribers do not find the rows to delete.', r.oid::regclass)
FROM pg_publication p, relation r JOIN pg_inherits i ON i.inhrelid = r.oid JOIN pg_class o ON o.oid = i.inhparent
WHERE p.pubviaroot AND (p.pubupdate OR p.pubdelete) AND r.relispartition AND r.relreplident <> 'f'
	AND EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = p.pubname AND t.schemaname = 'evq' AND t.tablename = o.relname)
UNION ALL
SELECT 'warning', 'tables', format('publication %I has a row filter or a column list for %s', p.pubname, r.oid::regclass),
	'Publish the whole table: evq changes rows by its own code, which does not heed them, and its SQL may fail.'
FROM pg_publication p JOIN pg_publication_rel l ON l.prpubid = p.oid JOIN relation r ON r.oid = l.prrelid
WHERE (p.pubupdate OR p.pubdelete) AND (l.prqual IS NOT NULL OR l.prattrs IS NOT NULL)
UNION ALL
SELECT 'error', 'tables', format('subscription %I writes %s while this database is not paused: two engines work on the same events', s.subname, l.srrelid::regclass),
	'SELECT @extschema@.evq_pause() here until the publisher''s engine has ended and the subscription is dropped; see doc/operations.md.'
FROM pg_subscription_rel l JOIN pg_subscription s ON s.oid = l.srsubid
WHERE l.srrelid = 'evq.event'::regclass AND s.subenabled AND NOT EXISTS (SELECT FROM evq.pause)
UNION ALL
SELECT 'error', 'tables', format('%s is not logged: it is empty after a crash', r.oid::regclass), format('ALTER TABLE %s SET LOGGED.', r.oid::regclass)
FROM relation r WHERE r.relpersistence <> 'p'
UNION ALL
SELECT 'error', 'tables', format('%s inherits from %s', i.inhrelid::regclass, i.inhparent::regclass), 'Drop it, or end the inheritance: its rows would count as evq''s.'
FROM pg_inherits i JOIN relation r ON r.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid WHERE NOT c.relispartition
UNION ALL
SELECT 'warning', 'tables', format('%s in schema %s is not evq''s', c.oid::regclass, c.relnamespace::regnamespace),
	'Move it to another schema: DROP EXTENSION would fail, or take it along.'
FROM pg_class c
WHERE c.relnamespace IN ('evq'::regnamespace, 'evq_http'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT c.relispartition
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype IN ('e', 'i'))
UNION ALL
SELECT 'warning', 'tables', format('index %s is one of the whole %s, which pg_restore does not put together again', i.indexrelid::regclass,
		CASE o.relname WHEN 'event_history' THEN 'history' ELSE 'evq.' || o.relname END),
	'Make one on each partition instead: with this one it reports errors, and with --exit-on-error or --single-transaction it restores nothing.'
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN relation o ON o.oid = i.indrelid
WHERE o.relkind = 'p' AND c.relkind = 'I'
UNION ALL
SELECT 'warning', 'tables', format('index %s makes every dispatch and acquire slower', i.indexrelid::regclass),
	format('Drop it: nothing that changes with the state may be indexed, or no update of %s stays on its page (HOT).', i.indrelid::regclass)
FROM pg_index i
WHERE i.indrelid IN ('evq.event'::regclass, 'evq.run'::regclass) AND EXISTS (
	SELECT FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
	WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
		AND a.attname IN ('state', 'attempts_used', 'state_due_at', 'state_since', 'permit', 'worker'))
UNION ALL
SELECT * FROM evq.check_log()
$$;
COMMENT ON FUNCTION evq.check_tables() IS 'Findings: what was added to evq''s tables that evq does not heed or that slows it down';
