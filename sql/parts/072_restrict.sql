-- Roles that may publish into, or work on, some flows only. The C verbs check it (src/session/config.c), for the current
-- user, as PostgreSQL checks the right to call them. For superusers: they make a role a member of evq_restricted_publisher
-- or evq_restricted_worker. These may call what evq_publisher and evq_worker may, and are no members of them, or a role
-- could SET ROLE to what is not restricted. A membership is the server's; in a database without a restriction it is for no flow.

CREATE FUNCTION evq.change_restriction(role_name name, may text, flow_type text, granting boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $$
DECLARE
	free_role name := CASE may WHEN 'work' THEN 'evq_worker' ELSE 'evq_publisher' END;
	group_role name := CASE may WHEN 'work' THEN 'evq_restricted_worker' ELSE 'evq_restricted_publisher' END;
	wanted_oid oid := (SELECT oid FROM pg_roles WHERE rolname = role_name);
	memberships name[] := ARRAY(SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
								WHERE g.rolname IN (free_role, group_role) AND m.member = wanted_oid);
	through name;
	wanted_no int;
BEGIN
	IF role_name IS NULL OR (granting AND wanted_oid IS NULL) THEN
		RAISE EXCEPTION 'role % does not exist', coalesce(quote_ident(role_name), 'NULL')
			USING ERRCODE = '42704', HINT = 'Make it with CREATE ROLE.';
	END IF;
	-- Beside a name texts have the collation of names, which the index has not.
	SELECT f.flow_no INTO wanted_no FROM evq.flow f WHERE f.flow_type = change_restriction.flow_type COLLATE "default"
	UNION ALL SELECT 0 WHERE flow_type = '*';
	IF NOT FOUND AND (granting OR flow_type IS NOT NULL) THEN
		RAISE EXCEPTION 'unknown flow %', coalesce(quote_ident(flow_type), 'NULL')
			USING ERRCODE = 'EQ001', HINT = 'Configure it with evq_configure_flow().';
	END IF;
	IF granting THEN
		IF role_name IN ('evq_publisher', 'evq_worker', 'evq_operator', 'evq_monitor', 'evq_restricted_publisher', 'evq_restricted_worker')
			OR (SELECT rolsuper FROM pg_roles WHERE oid = wanted_oid) OR pg_has_role(wanted_oid, 'evq_operator', 'USAGE') THEN
			RAISE EXCEPTION 'role % cannot be restricted', quote_ident(role_name)
				USING ERRCODE = '0LP01', HINT = 'Superusers and operators may do everything; restrict a role of your own.';
		END IF;
		-- The restriction is there before the membership.
		INSERT INTO evq.restriction AS r VALUES (role_name, change_restriction.may, wanted_oid, ARRAY[wanted_no])
		ON CONFLICT ON CONSTRAINT restriction_pkey DO UPDATE SET role_oid = EXCLUDED.role_oid,
			flow_nos = CASE WHEN wanted_no = ANY (r.flow_nos) THEN r.flow_nos ELSE r.flow_nos || wanted_no END;
		IF group_role <> ALL (memberships) THEN
			EXECUTE format('GRANT %I TO %I', group_role, role_name);
		END IF;
		IF free_role = ANY (memberships) THEN
			EXECUTE format('REVOKE %I FROM %I', free_role, role_name);
		END IF;
		IF pg_has_role(wanted_oid, free_role, 'MEMBER') THEN
			RAISE WARNING 'role % is a member of % through another role', quote_ident(role_name), free_role
				USING HINT = 'End that membership: by SET ROLE it could use every flow.';
		END IF;
	ELSIF flow_type IS NOT NULL THEN
		UPDATE evq.restriction r SET flow_nos = array_remove(r.flow_nos, wanted_no)
		WHERE r.role_name = change_restriction.role_name AND r.may = change_restriction.may;
	ELSE
		FOREACH through IN ARRAY memberships LOOP
			EXECUTE format('REVOKE %I FROM %I', through, role_name);
		END LOOP;
		SELECT g INTO through FROM unnest(ARRAY[free_role, group_role]) g WHERE wanted_oid IS NOT NULL AND pg_has_role(wanted_oid, g, 'MEMBER');
		IF FOUND THEN
			RAISE EXCEPTION 'role % is a member of % through another role', quote_ident(role_name), through
				USING ERRCODE = '0LP01', HINT = 'End that membership first: without its restriction the role could use every flow.';
		END IF;
		DELETE FROM evq.restriction r WHERE r.role_name = change_restriction.role_name AND r.may = change_restriction.may;
	END IF;
	PERFORM evq.record(CASE WHEN granting THEN 'grant_' ELSE 'revoke_' END || CASE may WHEN 'work' THEN 'worker' ELSE 'publisher' END,
		NULL, role_name, jsonb_build_object('flow_type', flow_type));
END
$$;
COMMENT ON FUNCTION evq.change_restriction(name, text, text, boolean) IS 'What the four functions evq_grant_* and evq_revoke_* do';

CREATE FUNCTION @extschema@.evq_grant_worker(role_name name, flow_type text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'work', flow_type, true) $$;
COMMENT ON FUNCTION @extschema@.evq_grant_worker(name, text) IS
$$Lets a role work on the events of a flow: makes it a member of evq_restricted_worker, which works on the flows that it was
granted in the same database, and on none elsewhere, and with it all roles that have its privileges, but operators and
superusers. Ends a membership of evq_worker. Takes effect at commit. For superusers.
role_name: the role.
flow_type: the flow; '*' = every flow of this database.
Errors: 42704 no such role, EQ001 unknown flow, 0LP01 a role that cannot be restricted.$$;

CREATE FUNCTION @extschema@.evq_revoke_worker(role_name name, flow_type text DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'work', flow_type, false) $$;
COMMENT ON FUNCTION @extschema@.evq_revoke_worker(name, text) IS
$$Takes a flow from a role; after the last one it is restricted to none. Takes effect at commit. For superusers.
role_name: the role.
flow_type: the flow; NULL = ends the restriction and the membership of evq_restricted_worker and evq_worker, which is that of
the whole server.
Errors: 42704 role_name is NULL, EQ001 unknown flow, 0LP01 a member of one of them through another role.$$;

CREATE FUNCTION @extschema@.evq_grant_publisher(role_name name, flow_type text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'publish', flow_type, true) $$;
COMMENT ON FUNCTION @extschema@.evq_grant_publisher(name, text) IS
$$Lets a role publish into a flow, as evq_grant_worker lets it work: makes it a member of evq_restricted_publisher.
role_name: the role.
flow_type: the flow; '*' = every flow of this database.
Errors: those of evq_grant_worker.$$;

CREATE FUNCTION @extschema@.evq_revoke_publisher(role_name name, flow_type text DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT evq.change_restriction(role_name, 'publish', flow_type, false) $$;
COMMENT ON FUNCTION @extschema@.evq_revoke_publisher(name, text) IS
$$Takes a flow from a role that may publish into it, as evq_revoke_worker does from one that works.
role_name: the role.
flow_type: the flow; NULL = ends the restriction and the memberships.
Errors: those of evq_revoke_worker.$$;

CREATE FUNCTION evq.caller_may_work(flow_type text) RETURNS boolean
AS 'MODULE_PATHNAME', 'evq_sql_caller_may_work' LANGUAGE c STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION evq.caller_may_work(text) IS
	'For functions that run with the owner''s rights: is the session''s role, or that of SET ROLE, not restricted to other flows?';

CREATE FUNCTION evq.caller_may_publish(flow_type text) RETURNS boolean
AS 'MODULE_PATHNAME', 'evq_sql_caller_may_publish' LANGUAGE c STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION evq.caller_may_publish(text) IS 'As evq.caller_may_work(), of publishing';

CREATE VIEW evq.restrictions AS
SELECT r.role_name, r.may, CASE WHEN 0 = ANY (r.flow_nos) THEN ARRAY['*'] ELSE
	ARRAY(SELECT f.flow_type FROM evq.flow f WHERE f.flow_no = ANY (r.flow_nos) ORDER BY 1) END AS flow_types
FROM evq.restriction r;
COMMENT ON VIEW evq.restrictions IS 'Roles that may publish into, or work on, some flows only';
COMMENT ON COLUMN evq.restrictions.role_name IS 'The role';
COMMENT ON COLUMN evq.restrictions.may IS 'work or publish';
COMMENT ON COLUMN evq.restrictions.flow_types IS 'In these flows; * = in every one of this database, empty = in none';
