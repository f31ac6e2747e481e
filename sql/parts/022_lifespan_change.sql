-- What became of the lifespans of events that were published already, see evq_configure(). The store adds what is here to
-- the due_at of a live event when it reads it, so that a change costs the same however many there are.

CREATE TABLE evq.lifespan_change (
	event_type_no int NOT NULL,
	changed_at timestamptz NOT NULL,
	shift interval NOT NULL,
	CONSTRAINT lifespan_change_pkey PRIMARY KEY (event_type_no, changed_at)
);
COMMENT ON TABLE evq.lifespan_change IS
	'Changes of lifespans that count for live events published before them: their rows in evq.event stay as they are';
COMMENT ON COLUMN evq.lifespan_change.shift IS 'By how much the end of the lifespan has moved; hours and less';

SELECT pg_catalog.pg_extension_config_dump('evq.lifespan_change', '');
