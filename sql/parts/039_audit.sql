-- Who did what: one row for each change that an operator made. Publishing, acquiring and reporting write none.

CREATE TABLE evq.audit_entry (
	entry_id bigint GENERATED ALWAYS AS IDENTITY,
	done_at timestamptz NOT NULL,
	session_role name NOT NULL,
	role name NOT NULL,
	application_name text NOT NULL,
	verb text NOT NULL,
	event_id uuid,
	object text,
	detail jsonb,
	-- With the time, for entries of a server that this one subscribed to have numbers of their own.
	CONSTRAINT audit_entry_pkey PRIMARY KEY (entry_id, done_at)
);
CREATE INDEX audit_entry_event_id_idx ON evq.audit_entry (event_id) WHERE event_id IS NOT NULL;
COMMENT ON TABLE evq.audit_entry IS 'What operators did, append-only; read it through evq.audit. Kept for the setting evq.audit_retention';
COMMENT ON COLUMN evq.audit_entry.session_role IS 'Who connected';
COMMENT ON COLUMN evq.audit_entry.role IS 'In whose name: the role of SET ROLE, which the gateway sets to that of the token; else who connected';
COMMENT ON COLUMN evq.audit_entry.application_name IS 'application_name of the session; through the gateway with the client''s User-Agent';
COMMENT ON COLUMN evq.audit_entry.event_id IS 'The event; NULL = the verb is not about one';
COMMENT ON COLUMN evq.audit_entry.object IS 'The event type, flow, schedule or role that it is about';
COMMENT ON COLUMN evq.audit_entry.detail IS 'The arguments, or what changed: {"column": {"from", "to"}}';
SELECT pg_catalog.pg_extension_config_dump('evq.audit_entry', '');
SELECT pg_catalog.pg_extension_config_dump('evq.audit_entry_entry_id_seq', '');

CREATE FUNCTION evq.audit_retention() RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT nullif(coalesce(current_setting('evq.audit_retention', true), '365d')::interval, '0') $$;
COMMENT ON FUNCTION evq.audit_retention() IS 'How long entries of the audit are kept; NULL = for ever';

CREATE FUNCTION evq.keep_audit() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		IF OLD.done_at < clock_timestamp() - evq.audit_retention() THEN
			RETURN OLD;
		END IF;
	END IF;
	RAISE EXCEPTION 'evq.audit_entry is append-only'
		USING ERRCODE = '55000', HINT = 'Housekeeping deletes what is older than the setting evq.audit_retention.';
END
$$;
COMMENT ON FUNCTION evq.keep_audit() IS 'Trigger: refuses to change or delete entries of the audit before their time';
CREATE TRIGGER keep_audit BEFORE UPDATE OR DELETE ON evq.audit_entry FOR EACH ROW EXECUTE FUNCTION evq.keep_audit();
CREATE TRIGGER keep_audit_whole BEFORE TRUNCATE ON evq.audit_entry FOR EACH STATEMENT EXECUTE FUNCTION evq.keep_audit();

-- src/tables/audit.c calls it too.
CREATE FUNCTION evq.record(verb text, event_id uuid, object text, detail jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
	INSERT INTO evq.audit_entry (done_at, session_role, role, application_name, verb, event_id, object, detail)
	VALUES (clock_timestamp(), session_user, coalesce(nullif(current_setting('role'), 'none'), session_user),
		coalesce(current_setting('application_name'), ''), verb, event_id, object, detail);
END
$$;
COMMENT ON FUNCTION evq.record(text, uuid, text, jsonb) IS 'Adds an entry to the audit';

CREATE FUNCTION evq.record_change(verb text, object text, before jsonb, after jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	changed jsonb := (
		SELECT jsonb_object_agg(a.key, CASE WHEN before IS NULL THEN a.value ELSE jsonb_build_object('from', before -> a.key, 'to', a.value) END)
		FROM jsonb_each(after) a WHERE a.value IS DISTINCT FROM coalesce(before -> a.key, 'null'));
BEGIN
	IF changed IS NOT NULL THEN
		PERFORM evq.record(verb, NULL, object, changed);
	END IF;
END
$$;
COMMENT ON FUNCTION evq.record_change(text, text, jsonb, jsonb) IS
	'Adds an entry that tells what changed between two rows, or what a new one has; none where nothing did';

CREATE VIEW evq.audit AS
SELECT a.entry_id, a.done_at, a.session_role, a.role, a.application_name, a.verb, a.event_id, a.object, a.detail FROM evq.audit_entry a;
COMMENT ON VIEW evq.audit IS 'Who did what and when: cancel, retry, redrive, pause, configuration, schedules, grants';
COMMENT ON COLUMN evq.audit.entry_id IS 'In the order in which they were written';
COMMENT ON COLUMN evq.audit.done_at IS 'When';
COMMENT ON COLUMN evq.audit.verb IS 'What was done: cancel, retry, configure, ...';

CREATE FUNCTION evq.thin_audit() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	entries bigint;
BEGIN
	WITH oldest AS (SELECT a.entry_id, a.done_at FROM evq.audit_entry a ORDER BY a.entry_id LIMIT 5000)
	DELETE FROM evq.audit_entry a USING oldest o
	WHERE a.entry_id = o.entry_id AND a.done_at = o.done_at AND o.done_at < clock_timestamp() - evq.audit_retention();
	GET DIAGNOSTICS entries = ROW_COUNT;
	RETURN entries;
END
$$;
COMMENT ON FUNCTION evq.thin_audit() IS 'Deletes some entries of the audit past their retention; returns how many';
