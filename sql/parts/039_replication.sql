-- What a subscriber of a publication of these tables keeps for itself.

CREATE FUNCTION evq.keep_own() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	has_own boolean := true;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_stat_get_activity(pg_backend_pid()) a WHERE a.backend_type LIKE 'logical replication%') THEN
		RETURN coalesce(NEW, OLD);
	END IF;
	IF TG_RELID = 'evq.pause'::regclass THEN
		has_own := EXISTS (SELECT FROM evq.pause);
	END IF;
	RETURN CASE WHEN NOT has_own THEN NEW END;
END
$$;
COMMENT ON FUNCTION evq.keep_own() IS
'Trigger: what comes by a subscription does not replace what is this server''s own; a pause comes where there is none';

CREATE TRIGGER keep_own BEFORE INSERT ON evq.pause FOR EACH ROW EXECUTE FUNCTION evq.keep_own();
CREATE TRIGGER keep_own BEFORE INSERT OR UPDATE OR DELETE ON evq.home FOR EACH ROW EXECUTE FUNCTION evq.keep_own();
CREATE TRIGGER keep_own BEFORE INSERT OR UPDATE OR DELETE ON evq.counter FOR EACH ROW EXECUTE FUNCTION evq.keep_own();
CREATE TRIGGER keep_own BEFORE INSERT OR UPDATE OR DELETE ON evq.housekeeping FOR EACH ROW EXECUTE FUNCTION evq.keep_own();
ALTER TABLE evq.pause ENABLE REPLICA TRIGGER keep_own;
ALTER TABLE evq.home ENABLE REPLICA TRIGGER keep_own;
ALTER TABLE evq.counter ENABLE REPLICA TRIGGER keep_own;
ALTER TABLE evq.housekeeping ENABLE REPLICA TRIGGER keep_own;
