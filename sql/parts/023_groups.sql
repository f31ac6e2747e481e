-- Groups with limits of their own, see evq_configure_group().

CREATE TABLE evq.flow_group (
	flow_no int NOT NULL,
	group_key text NOT NULL,
	max_processing int CHECK (max_processing BETWEEN 1 AND 1000000),
	rate float8 CHECK (rate > 0 AND rate <= 1e9),
	per interval CHECK (per BETWEEN '1 ms' AND '3650 days'),
	burst int CHECK (burst BETWEEN 1 AND 1000000),
	paused_at timestamptz,
	paused_until timestamptz,
	pause_reason text,
	weight int CHECK (weight BETWEEN 1 AND 1000),
	CONSTRAINT flow_group_pkey PRIMARY KEY (flow_no, group_key)
);
COMMENT ON TABLE evq.flow_group IS 'One row a group that has limits of its own in a flow, in place of what the flow says of each, or is paused; read it through evq.groups';
COMMENT ON COLUMN evq.flow_group.max_processing IS 'At most so many of its events offered or in processing at once; NULL = as the flow says, as all that follows';
COMMENT ON COLUMN evq.flow_group.rate IS 'At most so many of its events begin, in the time "per", beyond the burst';
COMMENT ON COLUMN evq.flow_group.burst IS 'So many of its events may begin at once';
COMMENT ON COLUMN evq.flow_group.paused_until IS 'Nothing of it is dispatched or acquired before; infinity = until evq_resume_group(), NULL = it is not paused';
COMMENT ON COLUMN evq.flow_group.weight IS 'So many turns it has in a fair flow where another has one; NULL = 1';

CREATE TRIGGER flow_group_changed AFTER INSERT OR UPDATE OR DELETE ON evq.flow_group FOR EACH ROW EXECUTE FUNCTION evq.configuration_changed();
CREATE TRIGGER flow_group_emptied AFTER TRUNCATE ON evq.flow_group FOR EACH STATEMENT EXECUTE FUNCTION evq.configuration_changed();
ALTER TABLE evq.flow_group ENABLE ALWAYS TRIGGER flow_group_changed, ENABLE ALWAYS TRIGGER flow_group_emptied;
SELECT pg_catalog.pg_extension_config_dump('evq.flow_group', '');
