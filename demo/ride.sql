-- The ride demo's configuration: six event types in FLOW_B, each the next step of a ride.
-- Load it with psql; "-v speed=20" divides the delays by 20.

\set ON_ERROR_STOP on
\if :{?speed} \else
	\set speed 1
\endif

BEGIN;

-- lifespan: time for all attempts together. delays: before attempt 1, 2, 3.
SELECT count(evq_configure(event_type, 'FLOW_B', max_attempts, lifespan,
			ARRAY(SELECT delay / :speed FROM unnest(delays::interval[]) WITH ORDINALITY AS d(delay, n) ORDER BY n)))
	AS "event types"
FROM (VALUES
	('RIDE_REQUESTED',    3, interval '600 s',  '{0 s, 5 s, 10 s}'),
	('DRIVER_MATCHED',    3, interval '600 s',  '{0 s, 5 s, 10 s}'),
	('DRIVER_ARRIVED',    2, interval '300 s',  '{0 s, 5 s}'),
	('TRIP_STARTED',      1, interval '3600 s', '{0 s}'),
	('TRIP_COMPLETED',    1, interval '600 s',  '{0 s}'),
	('PAYMENT_PROCESSED', 3, interval '600 s',  '{0 s, 10 s, 20 s}')
) AS step(event_type, max_attempts, lifespan, delays);

-- What the workers did, written in the transaction that reports the success. It has no
-- unique constraint on purpose: work done twice would show here.
CREATE TABLE ride_step (
	flow_id text NOT NULL,
	event_type text NOT NULL,
	event_id uuid NOT NULL,
	worker text NOT NULL,
	done_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A worker may acquire and report; the ride desk publishes and looks at everything.
CREATE ROLE ride_worker LOGIN IN ROLE evq_worker;
CREATE ROLE ride_desk LOGIN IN ROLE evq_operator;
GRANT INSERT ON ride_step TO ride_worker;
GRANT SELECT ON ride_step TO ride_desk;

COMMIT;
