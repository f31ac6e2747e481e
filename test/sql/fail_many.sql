-- evq_fail_many: many failures with one message, each fenced by its permit.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', 2) \gset
SELECT evq_configure('ONCE', 'F', 1) \gset
SELECT evq_publish_many('A', NULL, '{a, b, c}', '{1, 2, 3}') \g /dev/null
SELECT evq_publish('ONCE', NULL, 'once') \gset
SELECT count(*) FROM evq_acquire_next('F', 10, NULL, 'w');
SELECT e.flow_id, r.accepted, r.state
FROM evq_fail_many(ARRAY[ev('a'), ev('b'), ev('once'), ev('a'), '00000000-0000-0000-0000-000000000000'],
				   ARRAY[permit('a'), permit('b') + 1, permit('once'), permit('a'), 1], 'shut down') WITH ORDINALITY AS r (event_id, accepted, state, i)
LEFT JOIN evq.events e USING (event_id) ORDER BY i;
SELECT flow_id, state, attempts_used FROM evq.events ORDER BY event_id;
SELECT flow_id, r.state FROM evq_fail_many(ARRAY[ev('b'), ev('c')], ARRAY[permit('b'), permit('c')], 'bad', false) r JOIN evq.events USING (event_id) ORDER BY 1;
SELECT flow_id, attempt, outcome, error_message, worker FROM evq.errors ORDER BY flow_id;
SELECT * FROM evq_fail_many('{}', '{}', 'none');

-- Refused.
CALL refused($$SELECT evq_fail_many(NULL, '{1}', 'x')$$);
CALL refused($$SELECT evq_fail_many(ARRAY[ev('a')], NULL, 'x')$$);
CALL refused($$SELECT evq_fail_many(ARRAY[ev('a')], '{1, 2}', 'x')$$);
CALL refused($$SELECT evq_fail_many(ARRAY[ev('a')], '{1}', NULL)$$);
CALL refused($$SELECT evq_fail_many(ARRAY[NULL]::uuid[], '{1}', 'x')$$);
