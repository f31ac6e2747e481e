\set case random(1, 1000000)
WITH event AS (
	INSERT INTO limit_event
	SELECT limit_id(now(), :client_id, 1), now(), now(), now() + '1 hour', 1, 1, 0, 0, false, 'a', 0, 'infinity', now(), 0, :case
	RETURNING event_id)
INSERT INTO limit_payload SELECT event_id, :payload FROM event;
