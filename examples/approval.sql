-- Waiting for somebody: a worker asks for an approval, suspends the event, and goes on with other work. The answer
-- activates the event, which is offered again as the same attempt, with the answer. Without one in time it is asked again.

SELECT evq_configure('EXPENSE', 'FLOW_EXPENSES', on_suspend_timeout => 'retry');
CREATE TABLE IF NOT EXISTS approval_wanted (event_id uuid PRIMARY KEY, permit bigint NOT NULL, cents int NOT NULL);
CREATE TABLE IF NOT EXISTS expense (flow_id text, cents int, approved_by text);

SELECT evq_publish('EXPENSE', NULL, 'trip-to-oslo', '{"cents": 98000}') \g /dev/null

-- One turn of the worker: until it has had an event.
CREATE OR REPLACE PROCEDURE handle_expense() LANGUAGE plpgsql AS $$
DECLARE
	event evq.acquired;
BEGIN
	LOOP
		SELECT * INTO event FROM evq_acquire_next('FLOW_EXPENSES');
		EXIT WHEN FOUND;
		COMMIT;
		PERFORM pg_sleep(0.1);
	END LOOP;
	IF event.answer IS NULL THEN
		-- The permit goes along with the question, and comes back with the answer: it says which round that belongs to.
		INSERT INTO approval_wanted VALUES (event.event_id, event.permit, (event.payload ->> 'cents')::int)
		ON CONFLICT (event_id) DO UPDATE SET permit = EXCLUDED.permit;
		PERFORM evq_suspend(event.event_id, event.permit, timeout => '3 days');
	ELSE
		INSERT INTO expense VALUES (event.flow_id, (event.payload ->> 'cents')::int, event.answer ->> 'by');
		PERFORM evq_succeed(event.event_id, event.permit);
	END IF;
END
$$;
CALL handle_expense();

-- Somebody approves, in one transaction with what they leave behind. Their role needs evq_publisher.
WITH answered AS (DELETE FROM approval_wanted RETURNING *)
SELECT evq_activate(event_id, answer => '{"by": "olga"}', permit => permit) FROM answered;
CALL handle_expense();

SELECT * FROM expense;

-- It ends with:
--
--    flow_id    | cents | approved_by
-- --------------+-------+-------------
--  trip-to-oslo | 98000 | olga
-- (1 row)
