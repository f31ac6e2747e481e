-- A session remembers where it saw an event's row. The row may be elsewhere by the time it is needed again.

SELECT evq_configure('job', 'FLOW', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}') \gset
CREATE TABLE held (flow_id text PRIMARY KEY, event_id uuid, permit bigint, was_at tid);
CREATE FUNCTION take(the_flow_id text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO held
	SELECT e.flow_id, a.event_id, a.permit, e.ctid FROM evq.event e, evq_acquire(e.event_id) a WHERE e.flow_id = the_flow_id;
	UPDATE held h SET was_at = e.ctid FROM evq.event e WHERE e.event_id = h.event_id AND h.flow_id = the_flow_id;
$$;
CREATE FUNCTION finish(the_flow_id text) RETURNS text LANGUAGE sql AS $$
	SELECT evq_succeed(event_id, permit) FROM held WHERE flow_id = the_flow_id;
	SELECT state FROM evq.events WHERE flow_id = the_flow_id;
$$;

-- Another event's row is where it was.
SELECT evq_publish('job', NULL, 'a') \gset
SELECT take('a') \gset
UPDATE evq.event SET attempt_scheduled_at = attempt_scheduled_at - interval '1 s' WHERE flow_id = 'a';
VACUUM evq.event;
SELECT count(evq_publish('job', NULL, 'b ' || n)) FROM generate_series(1, 10) n;
SELECT bool_or(b.ctid IN (h.was_at, '(0,1)')) AS taken, count(*) FILTER (WHERE a.ctid = h.was_at) AS still_there
FROM held h JOIN evq.event a USING (event_id), evq.event b WHERE b.flow_id LIKE 'b %';
SELECT finish('a');
SELECT state, count(*) FROM evq.events GROUP BY state ORDER BY state;

-- The page on which it was is gone.
SELECT count(evq_publish('job', NULL, 'c ' || n)) FROM generate_series(1, 500) n;
SELECT take('c 500') \gset
SELECT count(evq_cancel(event_id)) FROM evq.event WHERE flow_id <> 'c 500';
VACUUM FULL evq.event;
SELECT (h.was_at::text::point)[0] > 0 AS was_behind, e.ctid FROM held h JOIN evq.event e USING (event_id);
SELECT finish('c 500');

-- A row that was rolled back.
BEGIN;
SELECT evq_publish('job', NULL, 'd') AS d \gset
SELECT flow_id, attempt FROM evq_acquire(:'d');
ROLLBACK;
SELECT count(*) FROM evq_acquire(:'d');
DROP FUNCTION take, finish;
DROP TABLE held;
