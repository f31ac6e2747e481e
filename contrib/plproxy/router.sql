-- Makes the current database a router over databases that have evq: run it with psql, as a superuser. README.md tells more.

\set ON_ERROR_STOP on
BEGIN;
SET LOCAL search_path = public, pg_temp;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS plproxy SCHEMA public;
\ir 010_shards.sql
\ir 020_remote.sql
\ir 030_publish.sql
\ir 040_acquire.sql
\ir 050_report.sql
\ir 060_operate.sql
\ir 070_privileges.sql
COMMIT;
