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

# ---------- whatever stands before it ----------

# Publishes so many events with one call.
sub publish_many
{
	my ($event_type, $flow_id, $count) = @_;

	run("SELECT count(*) FROM evq_publish_many('$event_type', NULL, array_fill('$flow_id'::text, ARRAY[$count]), array_fill('{}'::jsonb, ARRAY[$count]))");
}

run(q{SELECT evq_configure('stopped', 'LONG', lifespan => '1 day'), evq_configure('good', 'LONG', lifespan => '1 day'), evq_suspend_event_type('stopped')});
publish_many('stopped', 'stopped', 10_001);
run(q{SELECT evq_publish('good', NULL, 'good')});
for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	is(run("BEGIN ISOLATION LEVEL $level; SELECT flow_id FROM evq_acquire_next('LONG'); ROLLBACK"), 'good',
		"an event behind 10,001 of a suspended type is found, $level");
}

publish_many('good', 'low', 9000);
run(q{SELECT evq_publish('good', NULL, 'high', priority => 3::smallint), evq_publish('good', NULL, 'lowest', priority => -1::smallint)});
is(run(q{SELECT flow_id FROM evq_acquire_next('LONG')}), 'high', 'a high priority comes first, whatever the length of the backlog');
is(run(q{BEGIN; SELECT flow_id FROM evq_acquire_next('LONG'); ROLLBACK}), 'good', 'then the earliest');
is(run(q{SELECT flow_id FROM evq_acquire_next('LONG')}), 'good', '... also when it was given back');
run(q{SELECT evq_publish('good', NULL, 'higher', priority => 4::smallint)});
is(run(q{SELECT flow_id FROM evq_acquire_next('LONG')}), 'higher', 'what the session itself has published since is not overlooked');

my $holder = session($node, 'postgres');
$holder->query_safe(q{BEGIN; SELECT count(*) FROM evq_acquire_next('LONG', 8999)});
is(run(q{SELECT count(*) FROM evq_acquire_next('LONG')}), 1, 'behind thousands that another transaction is taking, one is found');
is(run(q{SELECT flow_id FROM evq_acquire_next('LONG')}), 'lowest', '... and the last one');
is(run(q{SELECT count(*) FROM evq_acquire_next('LONG')}), 0, '... but none of those');
$holder->query_safe('ROLLBACK');
is(run(q{SELECT count(*) FROM evq_acquire_next('LONG', 10000)}), 8999, '... until they are given back');
end_session($holder);

run(q{SELECT evq_configure('hot', 'HOT', lifespan => '1 day'); SELECT evq_configure_flow('HOT', ordered => true)});
publish_many('hot', 'hot', 10_001);
run(q{SELECT count(evq_publish('hot', NULL, 'case-' || n)) FROM generate_series(1, 300) n});
is(run(q{SELECT dispatched FROM evq_tick()}), 301, 'ordered: one of each flow_id is dispatched');
is(run(q{SELECT count(DISTINCT flow_id) FROM evq_acquire_next('HOT', 1000)}), 301, '... and found behind 10,001 of one');

# One that waits for its time holds back the rest of its flow_id, and nothing of another flow.
run(q{SELECT evq_configure_flow('COLD', ordered => true), evq_configure_flow('COLD_TOO', ordered => true);
	SELECT evq_configure('cold', 'COLD', lifespan => '1 day'), evq_configure('cold_too', 'COLD_TOO', lifespan => '1 day')});
run(q{SELECT evq_publish('cold', NULL, 'x', run_at => clock_timestamp() + interval '1 hour')});
publish_many('cold', 'x', 1500);
run(q{SELECT evq_publish('cold', NULL, 'y'), evq_publish('cold_too', NULL, 'x')});
is(run(q{SELECT dispatched FROM evq_tick()}), 2, 'ordered: 1,500 events behind one that is not due hold up no others');
is(run(q{SELECT count(*) FROM evq_acquire_next('COLD', 10) WHERE flow_id = 'y'}), 1, '... of the flow');
is(run(q{SELECT count(*) FROM evq_acquire_next('COLD_TOO', 10) WHERE flow_id = 'x'}), 1, '... and none of another one');

# ---------- in a transaction that rolls back ----------

run(q{SELECT evq_configure_flow('LIMITED', max_processing => 2); SELECT evq_configure('limited', 'LIMITED')});
for my $type ('job', 'pull', 'ordered', 'limited')
{
	my $flow = { job => 'FLOW', pull => 'PULL', ordered => 'ORDERED', limited => 'LIMITED' }->{$type};

	is(run(qq{BEGIN; SELECT evq_publish('$type', NULL, 'own') \\g /dev/null
		SELECT flow_id FROM evq_acquire_next('$flow', 10); ROLLBACK}), 'own', "a session gets its own event before it is committed: $type");
	is(run("SELECT count(*) FROM evq.events WHERE flow_id = 'own'"), 0, '... and leaves none');
}

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

# ---------- what a preloaded library would have refused ----------

sub fails
{
	my ($sql, $pattern, $what) = @_;
	my (undef, undef, $error) = $node->psql('postgres', $sql, on_error_stop => 1);

	return like($error, $pattern, $what);
}

sub said { return run(q{SELECT concat_ws(': ', severity, finding) FROM evq_check('1 hour') WHERE subject = 'tables' AND finding !~ 'no partition'}) }

run(q{ALTER TABLE evq.event ADD CONSTRAINT mine FOREIGN KEY (event_type_no) REFERENCES evq.event_type});
fails(q{SELECT evq_publish('job', NULL, 'refused')}, qr/ERROR:  table evq.event has a trigger or a foreign key/, 'a foreign key: refused, not passed over');
is(said(), 'error: evq.event has a foreign key, mine', '... and evq_check() says so');
run(q{ALTER TABLE evq.event DROP CONSTRAINT mine});
run(q{CREATE TABLE mine (event_id uuid CONSTRAINT mine REFERENCES evq.event)});
fails(q{SELECT evq_publish('job', NULL, 'refused')}, qr/ERROR:  table evq.event has a trigger or a foreign key/, '... of another table too');
is(said(), 'error: public.mine has a foreign key, mine', '... which is told by its name');
run(q{DROP TABLE mine; SELECT evq_publish('job', NULL, 'accepted')});
is(said(), '', 'all is well again');
run(q{SELECT evq_cancel(event_id) FROM evq.events WHERE flow_id = 'accepted'});

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
