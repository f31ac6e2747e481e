-- When the clients of a run began and had their last work done, in microseconds; see turn_*.sql.
CREATE FUNCTION micros() RETURNS bigint LANGUAGE sql VOLATILE
RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
CREATE TABLE mark (what text NOT NULL, at bigint NOT NULL DEFAULT micros());
