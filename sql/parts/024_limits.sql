-- Named limits, which several event types and flows share, see evq_configure_limit().

CREATE TABLE evq.named_limit (
	limit_no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	limit_name text NOT NULL UNIQUE CHECK (limit_name ~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$'),
	max_processing int CHECK (max_processing BETWEEN 1 AND 1000000),
	rate float8 CHECK (rate > 0 AND rate <= 1e9),
	per interval CHECK (per BETWEEN '1 ms' AND '3650 days'),
	burst int CHECK (burst BETWEEN 1 AND 1000000),
	by_group boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE evq.named_limit IS 'One row a limit that event types share, whatever their flow; read it through evq.limits';
COMMENT ON COLUMN evq.named_limit.max_processing IS 'At most so many events of these types offered or in processing at once; NULL = no limit';
COMMENT ON COLUMN evq.named_limit.rate IS 'At most so many tokens are taken by events that begin, in the time "per", beyond the burst; NULL = no limit';
COMMENT ON COLUMN evq.named_limit.per IS 'The time of rate; NULL = a second';
COMMENT ON COLUMN evq.named_limit.burst IS 'So many tokens may be taken at once; NULL = as many as the rate allows in a tenth of a second, one at least';
COMMENT ON COLUMN evq.named_limit.by_group IS 'Each group has the limit by itself, in all flows together, and events of no group have none';

CREATE TRIGGER named_limit_changed AFTER INSERT OR UPDATE OR DELETE ON evq.named_limit FOR EACH ROW EXECUTE FUNCTION evq.configuration_changed();
CREATE TRIGGER named_limit_emptied AFTER TRUNCATE ON evq.named_limit FOR EACH STATEMENT EXECUTE FUNCTION evq.configuration_changed();
ALTER TABLE evq.named_limit ENABLE ALWAYS TRIGGER named_limit_changed, ENABLE ALWAYS TRIGGER named_limit_emptied;
SELECT pg_catalog.pg_extension_config_dump('evq.named_limit', '');
SELECT pg_catalog.pg_extension_config_dump('evq.named_limit_limit_no_seq', '');
