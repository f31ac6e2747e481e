-- A long list can be canceled while it is read and checked. Here a statement that was told to end meets something wrong later.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F') \gset
SELECT evq_publish('A', NULL, 'first') \gset
\set canceled 'CASE WHEN pg_cancel_backend(pg_backend_pid()) THEN'

SELECT evq_publish_many(:canceled '[1]'::jsonb END);
SELECT evq_publish_many('A', NULL, '{a}'::text[], :canceled '{not JSON}'::text[] END);
SELECT evq_publish('A', NULL, :canceled repeat('x', 300) END);
SELECT evq_succeed(event_id, permit, NULL, :canceled '[1]'::jsonb END) FROM evq_acquire_next('F');
