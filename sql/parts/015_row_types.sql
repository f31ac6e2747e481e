-- Types of rows that functions return.

CREATE TYPE evq.acquired AS (
	event_id uuid, permit bigint, event_type text, flow_type text, flow_id text,
	attempt int, attempts_left int, payload jsonb, headers jsonb,
	attempt_due_at timestamptz, due_at timestamptz, answer jsonb);
COMMENT ON TYPE evq.acquired IS
	'An event handed to a worker: permit is the fencing token for its report, attempt_due_at the time it holds until, answer what evq_activate() brought since it was suspended last';

CREATE TYPE evq.acquired_batch AS (
	token text, flow_type text, event_ids uuid[], event_types text[], flow_ids text[],
	attempts int[], attempts_left int[], payloads jsonb[], headers jsonb[],
	attempt_due_at timestamptz, due_at timestamptz, answers jsonb[]);
COMMENT ON TYPE evq.acquired_batch IS
	'Events handed to a worker as one batch: token reports all of them, from any session; the arrays have an element for each event, as evq.acquired has columns, and headers and answers are NULL where no event has any; attempt_due_at, due_at: the earliest of them';

CREATE TYPE evq.finding AS (severity text, subject text, finding text, advice text);
COMMENT ON TYPE evq.finding IS 'A row of evq_check()';

CREATE TYPE evq_http.mcp_tool AS (
	name text, title text, description text, writes boolean, destructive boolean, idempotent boolean,
	input_schema json, output_schema json, statement text);
COMMENT ON TYPE evq_http.mcp_tool IS
	'A tool of evq_http.mcp(): statement is the SQL that answers a call, by the function of the HTTP route that does the same; $1 are the arguments, checked against input_schema';
