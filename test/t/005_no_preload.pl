# Without shared_preload_libraries everything works, by evq_tick() and by search.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "max_prepared_transactions = 5\nlog_statement = none\n");
$node->start;

my ($status, undef, $stderr) = $node->psql('postgres', 'CREATE EXTENSION evq');
is($status, 0, 'CREATE EXTENSION works');
like($stderr, qr/WARNING:  evq is not preloaded.*HINT:  Add evq to shared_preload_libraries/s, 'and says what is missing');
is($node->safe_psql('postgres', q{SELECT preloaded, running, dispatcher_pid IS NULL, turns IS NULL, problem LIKE 'evq is not preloaded%',
	hint LIKE '%shared_preload_libraries%' FROM evq_status()}), 'f|f|t|t|t|t', 'evq_status() does so, too');
is($node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE line LIKE 'evq_dispatcher_up 0'), count(*) FILTER (WHERE line LIKE 'evq_events%')
	FROM regexp_split_to_table(evq_metrics(), E'\n') line}), '1|0', 'evq_metrics() counts nothing');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'evq %'}), 0, 'there are no processes');

my $session = session($node, 'postgres');
sub run { return $session->query_safe($_[0]) }

run(q{
	SELECT evq_configure('rescue', 'FLOW');
	SELECT evq_configure('job', 'FLOW', max_attempts => 2, attempt_delays => '{0}', attempt_timeout => '10 min', on_fail_event_type => 'rescue');
	SELECT evq_configure('pull', 'PULL');
	SELECT evq_configure_flow('PULL', delivery => 'pull');
	SELECT evq_configure_flow('ORDERED', ordered => true);
	SELECT evq_configure('ordered', 'ORDERED')});
my $listener = listen_to($node, 'postgres', 'evq_flow', 'evq_pull');

# ---------- the engine by hand ----------

my $event = run(q{SELECT evq_publish('job', NULL, 'a', '{"n": 1}')});
run(q{SELECT evq_publish('pull', NULL, 'a')});
is(run('SELECT * FROM evq_tick()'), '2|0|0', 'evq_tick() dispatches');
my @messages = sort(wait_for_notifications($listener, 2));
like($messages[0], qr/^{"event_id":"$event","event_type":"job"/, 'and notifies') or diag("@messages");
like($messages[1], qr/"flow_type":"PULL"/, 'events of pull flows, too');
is(run('SELECT * FROM evq_tick()'), '0|0|0', 'each once');

is(run("SELECT attempt, payload FROM evq_acquire('$event')"), '1|{"n": 1}', 'evq_acquire()');
is(run(q{SET evq.debug_clock_offset = '11 min'; SELECT * FROM evq_tick()}), '2|2|0', 'evq_tick() times out permits and dispatches, and offers again');
is(run("SELECT evq_fail('$event', 'beyond repair', permit, retryable => false) FROM evq_acquire('$event')"), 'failed', 'evq_fail()');
is(run(q{SELECT string_agg(event_type || ' ' || state, ', ' ORDER BY event_id) FROM evq.events WHERE flow_type = 'FLOW'}),
	'job failed, rescue awaiting_processing', 'publishes the on-fail event');
run(q{RESET evq.debug_clock_offset; SELECT evq_cancel(event_id) FROM evq.event});

# ---------- by search ----------

run(q{SELECT evq_publish('job', NULL, n::text, priority => n::smallint) FROM generate_series(1, 5) n});
is(run(q{SELECT count(*) FROM evq_acquire_next('FLOW', 3, worker => 'me')}), 3, 'evq_acquire_next() finds what is due');
is(run(q{SELECT count(*) FROM evq_acquire_next('FLOW', 3, ARRAY['rescue'])}), 0, 'of the types asked for');
is(run(q{SELECT count(*) FROM evq_acquire_next('FLOW', 3)}), 2, 'to the last');
is(run(q{SELECT count(*) FROM evq_acquire_next('FLOW', 3)}), 0, 'and nothing twice');
is(run(q{SELECT count(*) FILTER (WHERE accepted) FROM evq_succeed_many(
	(SELECT array_agg(event_id ORDER BY event_id) FROM evq.event), (SELECT array_agg(permit ORDER BY event_id) FROM evq.event))}), 5, 'evq_succeed_many()');

run(q{SELECT evq_publish('job', NULL, 'first'); SELECT evq_publish('job', NULL, 'second')});
is(run(q{
	SELECT b.flow_id, c.flow_id FROM evq_acquire_next('FLOW') AS a,
		evq_succeed_and_acquire('FLOW', ARRAY[a.event_id], ARRAY[a.permit]) AS b, evq.events AS c WHERE c.event_id = a.event_id}),
	'second|first', 'evq_succeed_and_acquire()');
is(run(q{BEGIN; SELECT count(*) FROM evq_acquire_next('FLOW'); ROLLBACK}), 0, 'nothing is left');

$event = run(q{SELECT evq_publish('pull', NULL, 'b')});
run(q{BEGIN; SELECT FROM evq_acquire_next('PULL'); ROLLBACK});
is(run(q{SELECT event_id FROM evq_acquire_next('PULL')}), $event, 'what was rolled back is found again, in pull flows as well');

run(q{SELECT evq_publish('ordered', NULL, 'a'), evq_publish('ordered', NULL, 'a')});
is(run(q{SELECT count(*) FROM evq_acquire_next('ORDERED', 10)}), 0, 'order is kept: a search gets no event of an ordered flow');
is(run(q{SELECT dispatched FROM evq_tick()}), 1, 'until evq_tick() has offered it');
is(run(q{SELECT count(*) FROM evq_acquire_next('ORDERED', 10)}), 1, 'then it does');

# ---------- at once from many sessions ----------

run(q{
	CREATE TABLE done (event_id uuid);
	CREATE PROCEDURE work() LANGUAGE plpgsql AS $$
	DECLARE
		got evq.acquired;
		empty int := 0;
	BEGIN
		WHILE empty < 3 LOOP
			SELECT * INTO got FROM evq_acquire_next('FLOW');
			IF got.event_id IS NULL THEN
				empty := empty + 1;
			ELSE
				PERFORM evq_succeed(got.event_id, got.permit);
				INSERT INTO done VALUES (got.event_id);
			END IF;
			COMMIT;
		END LOOP;
	END $$;
	SELECT count(evq_publish('job', NULL, n::text)) FROM generate_series(1, 200) n});
ok(run_workers($node, 'postgres', 4, 'CALL work()'), 'four workers');
is(run(q{SELECT count(*), count(DISTINCT event_id) FROM done}), '200|200', 'each event is had once');
is(run(q{SELECT count(*) FROM evq.event WHERE state = 'a' AND flow_no = (SELECT flow_no FROM evq.flow WHERE flow_type = 'FLOW')}), 0, 'and all are');

# ---------- the rest ----------

run(q{BEGIN; SELECT evq_publish('job', NULL, 'prepared'); PREPARE TRANSACTION 'p'});
run(q{COMMIT PREPARED 'p'});
is(run(q{SELECT dispatched FROM evq_tick()}), 1, 'two-phase commit');
is($node->psql('postgres', 'CREATE DATABASE other TEMPLATE template0; DROP DATABASE other'), 0, 'databases come and go');
($status, undef, $stderr) = $node->psql('postgres', 'DROP EXTENSION evq');
is($status, 0, 'DROP EXTENSION') or diag($stderr);

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'evq'\n");
end_session($_) for $session, $listener;
$node->safe_psql('postgres', q{DROP TABLE done; DROP PROCEDURE work; SET client_min_messages = error; CREATE EXTENSION evq; SELECT evq_configure('job', 'FLOW')});
$event = publish($node, 'postgres');
$node->restart;
ok(wait_for_state($node, 'postgres', $event, 'dispatched'), 'preloaded at last: the dispatcher takes over');
$node->stop;
done_testing();
