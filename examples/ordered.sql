-- An ordered flow: of one flow_id one event is worked on at a time, in the order in which they were published, also where
-- an attempt fails. Other flow_ids do not wait for it.

SELECT evq_configure('ACCOUNT_MOVE', 'FLOW_ACCOUNTS', attempt_delays => '{0 s}');
SELECT evq_configure_flow('FLOW_ACCOUNTS', ordered => true);
CREATE TABLE IF NOT EXISTS account_log (no serial, flow_id text, move int, attempt int);

-- In one call, so that they are published in this order.
SELECT evq_publish_many('[{"event_type": "ACCOUNT_MOVE", "flow_id": "anna", "payload": {"move": 1}},
                          {"event_type": "ACCOUNT_MOVE", "flow_id": "anna", "payload": {"move": 2}},
                          {"event_type": "ACCOUNT_MOVE", "flow_id": "anna", "payload": {"move": 3}},
                          {"event_type": "ACCOUNT_MOVE", "flow_id": "bert", "payload": {"move": 1}}]') \g /dev/null

-- Takes as many as it can get; the second move of anna fails at its first attempt.
CREATE OR REPLACE PROCEDURE move_accounts() LANGUAGE plpgsql AS $$
DECLARE
	event evq.acquired;
BEGIN
	LOOP
		FOR event IN SELECT * FROM evq_acquire_next('FLOW_ACCOUNTS', max_events => 10) LOOP
			INSERT INTO account_log (flow_id, move, attempt) VALUES (event.flow_id, (event.payload ->> 'move')::int, event.attempt);
			IF event.flow_id = 'anna' AND event.payload ->> 'move' = '2' AND event.attempt = 1 THEN
				PERFORM evq_fail(event.event_id, 'the bank does not answer', event.permit);
			ELSE
				PERFORM evq_succeed(event.event_id, event.permit);
			END IF;
		END LOOP;
		COMMIT;
		EXIT WHEN NOT EXISTS (SELECT FROM evq.queue WHERE flow_type = 'FLOW_ACCOUNTS');
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;
CALL move_accounts();

SELECT flow_id, string_agg(format('%s (attempt %s)', move, attempt), ', ' ORDER BY no) AS moves FROM account_log GROUP BY flow_id ORDER BY flow_id;

-- It ends with:
--
--  flow_id |                            moves
-- ---------+--------------------------------------------------------------
--  anna    | 1 (attempt 1), 2 (attempt 1), 2 (attempt 2), 3 (attempt 1)
--  bert    | 1 (attempt 1)
-- (2 rows)
