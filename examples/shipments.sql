-- What the workers in Python, in Node and of evq-worker work on: parcels that leave, each a row of a table. As a superuser.

SELECT evq_configure('PARCEL_SENT', 'FLOW_PARCELS', max_attempts => 3, attempt_delays => '{0 s, 1 s}');
CREATE TABLE IF NOT EXISTS shipment (flow_id text NOT NULL CHECK (flow_id <> 'nowhere'), worker text NOT NULL);

DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'parcel_worker') THEN
		CREATE ROLE parcel_worker LOGIN;
	END IF;
END $$;
GRANT evq_worker TO parcel_worker;
GRANT INSERT ON shipment TO parcel_worker;

-- The last one cannot be shipped: its attempts fail.
SELECT evq_publish('PARCEL_SENT', NULL, flow_id) FROM unnest(ARRAY['oslo', 'rome', 'nowhere']) AS flow_id \g /dev/null
