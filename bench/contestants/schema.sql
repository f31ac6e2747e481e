-- In each database: when clients began (begin), that all is published (published), what workers had done at times
-- (window) and in all (end).
CREATE FUNCTION micros() RETURNS bigint LANGUAGE sql VOLATILE
RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
CREATE TABLE mark (what text NOT NULL, client int, at bigint NOT NULL DEFAULT micros(), done bigint NOT NULL DEFAULT 0);
