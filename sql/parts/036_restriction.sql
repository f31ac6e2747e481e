-- Roles that are held to some flows, see 072_restrict.

-- By name, for a dump, and by oid, for a role that was renamed; src/session/config.c reads both.
CREATE TABLE evq.restriction (
	role_name name NOT NULL,
	may text NOT NULL CHECK (may IN ('publish', 'work')),
	role_oid oid NOT NULL,
	flow_nos int[] NOT NULL CHECK (pg_catalog.array_position(flow_nos, NULL) IS NULL),
	CONSTRAINT restriction_pkey PRIMARY KEY (role_name, may)
);
COMMENT ON TABLE evq.restriction IS 'Roles that may publish into, or work on, some flows only; read it through evq.restrictions';
COMMENT ON COLUMN evq.restriction.flow_nos IS 'These flows; empty = none, 0 = every one';

CREATE TRIGGER restriction_changed AFTER INSERT OR UPDATE OR DELETE ON evq.restriction FOR EACH ROW EXECUTE FUNCTION evq.configuration_changed();
CREATE TRIGGER restriction_emptied AFTER TRUNCATE ON evq.restriction FOR EACH STATEMENT EXECUTE FUNCTION evq.configuration_changed();
ALTER TABLE evq.restriction ENABLE ALWAYS TRIGGER restriction_changed, ENABLE ALWAYS TRIGGER restriction_emptied;
SELECT pg_catalog.pg_extension_config_dump('evq.restriction', '');
