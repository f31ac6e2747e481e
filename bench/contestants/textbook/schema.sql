-- The queue of the textbooks: insert, claim with SKIP LOCKED, delete.
CREATE TABLE job (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	state text NOT NULL DEFAULT 'ready',
	created_at timestamptz NOT NULL DEFAULT now(),
	claimed_at timestamptz,
	case_id text NOT NULL,
	payload jsonb NOT NULL
);
CREATE INDEX job_ready_idx ON job (id) WHERE state = 'ready';
