-- What follows when an event fails for good: its on-fail event, published in the same transaction. Its payload says what
-- failed, why, and with which payload, so that it can be undone or told to somebody.

SELECT evq_configure('REFUND_WANTED', 'FLOW_MONEY');
SELECT evq_configure('CHARGE', 'FLOW_MONEY', max_attempts => 2, attempt_delays => '{0 s}', on_fail_event_type => 'REFUND_WANTED');

SELECT evq_publish('CHARGE', NULL, 'customer-7', '{"cents": 4200}') \g /dev/null

-- Every charge fails; what to do then is an event like any other.
CREATE OR REPLACE PROCEDURE handle_money() LANGUAGE plpgsql AS $$
DECLARE
	event evq.acquired;
BEGIN
	LOOP
		FOR event IN SELECT * FROM evq_acquire_next('FLOW_MONEY', max_events => 10) LOOP
			IF event.event_type = 'CHARGE' THEN
				PERFORM evq_fail(event.event_id, 'card declined', event.permit);
			ELSE
				RAISE NOTICE '% of % cents: %', event.event_type, event.payload #>> '{payload,cents}', event.payload ->> 'error';
				PERFORM evq_succeed(event.event_id, event.permit);
			END IF;
		END LOOP;
		COMMIT;
		EXIT WHEN NOT EXISTS (SELECT FROM evq.queue WHERE flow_type = 'FLOW_MONEY');
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;
CALL handle_money();

SELECT event_type, state, attempts_used FROM evq.events WHERE flow_id = 'customer-7' ORDER BY chain_depth;

-- It ends with:
--
--   event_type   |   state   | attempts_used
-- ---------------+-----------+---------------
--  CHARGE        | failed    |             2
--  REFUND_WANTED | succeeded |             1
-- (2 rows)
