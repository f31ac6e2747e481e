-- Where a payload is stored: in its event's row if it is small and without headers, else beside it. Nobody who reads it can tell.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A_FAILED', 'F') \gset
SELECT evq_configure('A', 'F', 3, '1 hour', on_fail_event_type => 'A_FAILED') \gset

CREATE FUNCTION lab.sized(bytes int) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT jsonb_build_object('x', repeat('x', bytes)) $$;
CREATE VIEW lab.stored AS
SELECT events.flow_id, events.event_type, events.state, octet_length(p.payload ->> 'x') AS bytes, p.headers,
	coalesce(e.payload, h.payload) IS NOT NULL AS in_row, b.event_id IS NOT NULL AS beside_row
FROM evq.events
LEFT JOIN evq.payloads p USING (event_id)
LEFT JOIN evq.event e USING (event_id)
LEFT JOIN evq.event_history h USING (event_id)
LEFT JOIN evq.event_payload b USING (event_id)
ORDER BY events.event_id;

-- Published one by one and many at once. A jsonb of this kind takes 12 bytes more than the text in it, and 4 for its length.
SELECT evq_publish('A', NULL, 'small', sized(0)) \gset
SELECT evq_publish('A', NULL, 'limit', sized(495)) \gset
SELECT evq_publish('A', NULL, 'above', sized(500)) \gset
SELECT evq_publish('A', NULL, 'large', sized(5000)) \gset
SELECT evq_publish('A', NULL, 'headers', sized(1), headers => '{"h": 1}') \gset
SELECT count(*) FROM evq_publish_many('A', NULL, ARRAY['many 1', 'many 2', 'many 3', 'many 4'], ARRAY[sized(1), sized(1000), sized(2), sized(2000)]);
SELECT count(*) FROM evq_publish_many(jsonb_build_array(
	jsonb_build_object('event_type', 'A', 'flow_id', 'mixed 1', 'payload', sized(1), 'headers', '[1]'::jsonb),
	jsonb_build_object('event_type', 'A', 'flow_id', 'mixed 2', 'payload', sized(2)),
	jsonb_build_object('event_type', 'A', 'flow_id', 'mixed 3', 'payload', sized(3000))));
SELECT * FROM stored;

-- Acquired, and read by its id.
SELECT flow_id, octet_length(payload ->> 'x') AS bytes, headers, evq_event(event_id) -> 'payload' = payload AS same, evq_event(event_id) -> 'headers' AS read_headers
FROM evq_acquire_next('F', 100) ORDER BY event_id;

-- Finished: it goes along.
SELECT count(*) FROM evq.events, evq_succeed(event_id, permit) WHERE flow_id LIKE 'many%';
SELECT * FROM stored WHERE flow_id LIKE 'many%';

-- Failed: the on-fail event carries it.
SELECT evq_fail(ev(id), 'no', retryable => false) FROM unnest(ARRAY['small', 'large', 'headers']) AS id;
SELECT flow_id, octet_length(payload -> 'payload' ->> 'x') AS bytes FROM evq.events JOIN evq.payloads USING (event_id) WHERE event_type = 'A_FAILED' ORDER BY event_id;
SELECT * FROM stored WHERE flow_id IN ('small', 'large', 'headers');

-- Retried: it comes back.
SELECT evq_retry(ev(id, 'A')) FROM unnest(ARRAY['small', 'large', 'headers']) AS id;
SELECT * FROM stored WHERE flow_id IN ('small', 'large', 'headers');
SELECT flow_id, octet_length(payload ->> 'x') AS bytes, headers FROM unnest(ARRAY['small', 'large', 'headers']) AS id, evq_acquire(ev(id, 'A'));

-- Grown out of its row by a patch; once beside its row it stays there.
SELECT count(evq_suspend(ev('small', 'A'), permit('small', 'A')));
SELECT evq_activate(ev('small', 'A'), '{"y": 1}');
SELECT in_row, beside_row, payload FROM stored JOIN evq.payloads ON payloads.event_id = ev('small', 'A') WHERE flow_id = 'small' AND event_type = 'A';
SELECT count(*) FROM evq_acquire(ev('small', 'A'));
SELECT count(evq_suspend(ev('small', 'A'), permit('small', 'A')));
SELECT evq_activate(ev('small', 'A'), sized(4000));
SELECT * FROM stored WHERE flow_id = 'small' AND event_type = 'A';
SELECT octet_length(payload ->> 'x') AS bytes, payload -> 'y' AS y FROM evq_acquire(ev('small', 'A'));
SELECT count(evq_suspend(ev('small', 'A'), permit('small', 'A')));
SELECT evq_activate(ev('small', 'A'), sized(3));
SELECT * FROM stored WHERE flow_id = 'small' AND event_type = 'A';
SELECT payload FROM evq_acquire(ev('small', 'A'));
SELECT evq_succeed(ev('small', 'A'));
SELECT * FROM stored WHERE flow_id = 'small' AND event_type = 'A';
