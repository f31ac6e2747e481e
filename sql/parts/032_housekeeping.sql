-- Where housekeeping has come to, see 064_history and 066_log.

-- How far each task has come. Not dumped: without it, a task begins again.
CREATE TABLE evq.housekeeping (
	relation name NOT NULL,
	event_type_nos int[],
	next_block bigint,
	next_id uuid,
	end_id uuid,
	filenode oid,
	CONSTRAINT housekeeping_pkey PRIMARY KEY (relation)
);
COMMENT ON TABLE evq.housekeeping IS 'How far housekeeping has come with each table';
COMMENT ON COLUMN evq.housekeeping.event_type_nos IS 'Event types whose events are being deleted from this partition, or are gone from it';
COMMENT ON COLUMN evq.housekeeping.next_block IS 'Where to go on deleting them; NULL = they are gone';
COMMENT ON COLUMN evq.housekeeping.next_id IS 'Where to go on looking for rows whose event is gone, or for batches whose rows were moved; NULL = nothing to look for';
COMMENT ON COLUMN evq.housekeeping.end_id IS 'Up to where';
COMMENT ON COLUMN evq.housekeeping.filenode IS 'Of a partition of evq.log: its file, of which batches know where their rows are';
