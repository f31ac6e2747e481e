-- A worker in SQL. The work and its report are one transaction, so each event has its effect exactly once: if the
-- report is refused, the work is rolled back with it.

SELECT evq_configure('ORDER_PAID', 'FLOW_INVOICES');
CREATE TABLE IF NOT EXISTS invoice (order_no text PRIMARY KEY, cents int NOT NULL);

SELECT evq_publish('ORDER_PAID', NULL, 'order-' || n, jsonb_build_object('cents', n * 100)) FROM generate_series(1, 3) AS n \g /dev/null

-- Works until nothing is left. A worker that stays would not end there, but wait for a notification, a few seconds at most.
CREATE OR REPLACE PROCEDURE write_invoices() LANGUAGE plpgsql AS $$
DECLARE
	event evq.acquired;
BEGIN
	LOOP
		FOR event IN SELECT * FROM evq_acquire_next('FLOW_INVOICES', max_events => 10, worker => 'write_invoices') LOOP
			INSERT INTO invoice VALUES (event.flow_id, (event.payload ->> 'cents')::int);
			PERFORM evq_succeed(event.event_id, event.permit);
		END LOOP;
		COMMIT;
		EXIT WHEN NOT EXISTS (SELECT FROM evq.queue WHERE flow_type = 'FLOW_INVOICES');
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;
CALL write_invoices();

SELECT order_no, cents, state FROM invoice JOIN evq.events ON flow_id = order_no ORDER BY order_no;

-- It ends with:
--
--  order_no | cents |   state
-- ----------+-------+-----------
--  order-1  |   100 | succeeded
--  order-2  |   200 | succeeded
--  order-3  |   300 | succeeded
-- (3 rows)
