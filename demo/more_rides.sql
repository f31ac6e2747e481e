-- A ride more every four seconds, for who watches the web UI; psql runs it until it is stopped.
SELECT evq_publish('RIDE_REQUESTED', 'FLOW_B', 'ride-' || left(gen_random_uuid()::text, 8), jsonb_build_object(
	'passenger', (ARRAY['Ada', 'Alan', 'Barbara', 'Dennis', 'Edsger', 'Frances', 'Grace', 'Joan', 'Ken', 'Radia'])[1 + floor(random() * 10)],
	'fare', round((6 + 30 * random())::numeric, 2)))
\watch 4
