-- The tables that a publish writes, without the engine; limit.py copies them from evq's.
CREATE EXTENSION evq;
SELECT evq_configure('BENCH', 'BENCH');

-- Ids in the order of time, as evq's are; no two the same if the client never passes the same two numbers at once.
CREATE FUNCTION limit_id(at timestamptz, client bigint, row_no bigint) RETURNS uuid LANGUAGE sql STABLE
RETURN (lpad(to_hex((extract(epoch FROM at) * 1000000)::bigint), 16, '0')
	|| lpad(to_hex(client * 1000000 + row_no), 16, '0'))::uuid;
