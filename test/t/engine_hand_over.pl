# A pull flow's new event goes from its publisher's commit straight to the next worker: here the dispatcher is stopped meanwhile.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main');
make_database($node, 'db');
my $session = session($node, 'db');
my $listener = listen_to($node, 'db', 'evq_flow');

sub run { return $session->query_safe($_[0]) }

# Stops the dispatcher while it sleeps, and only then: it may hold no lock.
sub stop_dispatcher
{
	my $pid = dispatcher_pid($node, 'db');
	my $asleep = "SELECT 1 FROM pg_stat_activity WHERE pid = $pid AND wait_event_type = 'Extension' AND backend_xid IS NULL AND state = 'idle'";

	poll_until('the dispatcher sleeps', sub {
		return 0 if run($asleep) ne '1';
		kill 'STOP', $pid;
		return 1 if run($asleep) eq '1';
		kill 'CONT', $pid;
		return 0;
	}) or die 'it never does';
	return $pid;
}

# The flow_ids that a worker gets.
sub acquired
{
	my ($max, $flow) = @_;
	$flow //= 'FLOW';

	return run("SELECT string_agg(flow_id, ' ' ORDER BY flow_id) FROM evq_acquire_next('$flow', $max)");
}

sub wait_for_acquired
{
	my ($expected, $max, $flow) = @_;
	my $got = '';

	poll_until("$expected", sub {
		my $more = acquired($max, $flow);
		$got = join(' ', sort split(/ /, "$got $more")) =~ s/^ +//r if $more ne '';
		return $got eq $expected;
	});
	return $got;
}

run(q{SELECT evq_configure_flow('FLOW', delivery => 'pull', dispatch_timeout => '1 hour');
	SELECT evq_configure('brief', 'FLOW', 3, attempt_timeout => '1 hour')});
run(q{SELECT evq_publish('job', NULL, 'first')});
is(wait_for_acquired('first', 1), 'first', 'an event of a pull flow is offered');

# ---------- without the dispatcher ----------

my $pid = stop_dispatcher();
run(q{SELECT evq_publish('job', NULL, 'a')});
is(acquired(9), 'a', 'a new event is offered at its commit');
run(q{SELECT evq_succeed(event_id, spinoffs => '[{"event_type": "job"}, {"event_type": "job"}]') FROM evq.events WHERE flow_id = 'a'});
is(acquired(9), 'a a', 'so are spinoffs');
run(q{BEGIN; SELECT evq_publish('job', NULL, 'rolled back'); ROLLBACK;
	BEGIN; SAVEPOINT s; SELECT evq_publish('job', NULL, 'savepoint'); ROLLBACK TO s; SELECT evq_publish('job', NULL, 'b'); COMMIT});
is(acquired(9), 'b', 'what is rolled back is not');
run(q{SELECT evq_publish('job', NULL, 'later', run_at => now() + interval '2 s'); SELECT evq_publish('brief', NULL, 'brief')});
is(run(q{SELECT flow_id FROM evq_acquire_next('FLOW', 9, permit_for => '50 ms')}), 'brief', 'nor is what is due later');
run(q{SELECT evq_publish('job', NULL, 'c'); BEGIN});
is(acquired(9), 'c', 'acquired in a transaction ...');
run('ROLLBACK');
is(acquired(9), '', '... that is rolled back, it waits for the dispatcher to offer it again');
run(q{SELECT evq_publish('job', NULL, 'd')});
is(run(q{SELECT state FROM evq.events WHERE flow_id = 'd'}), 'awaiting_processing', 'one more is not acquired');
kill 'CONT', $pid;

is(wait_for_acquired('brief c d later', 9), 'brief c d later', 'the dispatcher takes over: what was given back, timed out or became due');
is(run(q{SELECT attempts_used FROM evq.events WHERE flow_id = 'brief'}), 1, 'the permit that timed out used up an attempt');
is(run(q{SELECT count(*) FROM (SELECT event_id FROM evq.event WHERE state <> 'p') AS idle}), 0, 'nothing is left');

# ---------- limits ----------

run(q{SELECT evq_configure_flow('FLOW', max_dispatched => 5)});
run(q{SELECT evq_publish('job', NULL, 'e')});
is(wait_for_acquired('e', 1), 'e', 'a window of five');
$pid = stop_dispatcher();
run(q{SELECT count(evq_publish('job', NULL, 'n' || n)) FROM generate_series(1, 8) AS n});
is(acquired(9), 'n1 n2 n3 n4 n5', 'no more than the window is offered, the first first');
kill 'CONT', $pid;
is(wait_for_acquired('n6 n7 n8', 9), 'n6 n7 n8', 'the rest follows');

for my $case ([ 'ORDERED', 'ordered => true' ], [ 'LIMITED', 'max_processing => 1' ], [ 'PUSHED', q{delivery => 'push'} ])
{
	my ($flow, $setting) = @$case;

	run(qq{SELECT evq_configure_flow('$flow', delivery => 'pull'); SELECT evq_configure_flow('$flow', $setting); SELECT evq_configure('$flow', '$flow')});
	run(qq{SELECT evq_publish('$flow', NULL, 'once'); SELECT 1});
	is(wait_for_acquired('once', 1, $flow), 'once', "$flow: offered by the dispatcher");
	run(qq{SELECT evq_succeed(event_id) FROM evq.events WHERE flow_type = '$flow'});
	$pid = stop_dispatcher();
	run(qq{SELECT evq_publish('$flow', NULL, 'twice')});
	is(acquired(9, $flow), '', "$flow: not without it");
	kill 'CONT', $pid;
	is(wait_for_acquired('twice', 1, $flow), 'twice', "$flow: but then");
}

# ---------- listeners ----------

run(q{SELECT evq_configure_flow('FLOW', max_dispatched => 100, dispatch_timeout => '200 ms')});
run(q{SELECT evq_publish('job', NULL, 'settled')});
wait_for_acquired('settled', 1);
my $before = notifications($listener);
run(qq{SELECT evq_publish('job', NULL, '$_')}) for 'waiting', 'too';
my @messages = wait_for_notifications($listener, $before + 3);
is($messages[-1], '{"flow_type":"FLOW","ready":true}', 'listeners are told, and again while nobody comes');
is(acquired(9), 'too waiting', 'both are still on offer');

# Nobody takes an event that is on offer behind another one, whose own time is far away.
run(q{SELECT evq_configure_flow('FLOW', dispatch_timeout => '1 hour'); SELECT evq_configure_flow('CANARY'); SELECT evq_configure('canary', 'CANARY')});
$before = notifications($listener);
run(q{SELECT evq_publish('job', NULL, 'kept')});
wait_for_notifications($listener, $before + 1);
run(q{SELECT evq_configure_flow('FLOW', dispatch_timeout => '200 ms')});
wait_for_state($node, 'db', run(q{SELECT evq_publish('canary', NULL, 'x')}), 'dispatched');
run(q{SELECT evq_publish('job', NULL, 'behind')});
ok(wait_for_state($node, 'db', run(q{SELECT evq_publish('canary', NULL, 'x')}), 'dispatched'), 'the dispatcher knows of a second event on offer');
cmp_ok(scalar(my @told = wait_for_notifications($listener, $before + 2)), '>=', $before + 2, 'listeners are told again although the first one is still there');
is(acquired(9), 'behind kept', '... with the second');

# What was canceled on offer does not make the next event look like one of many.
run(q{SELECT evq_configure_flow('FLOW', dispatch_timeout => '1 hour')});
$before = notifications($listener);
my $canceled = run(q{SELECT evq_publish('job', NULL, 'canceled')});
wait_for_notifications($listener, $before + 1);
run("SELECT evq_cancel('$canceled')");
ok(wait_for_state($node, 'db', run(q{SELECT evq_publish('canary', NULL, 'x')}), 'dispatched'), 'the dispatcher knows of the cancel');
run(q{SELECT evq_publish('job', NULL, 'next')});
cmp_ok(scalar(my @all = wait_for_notifications($listener, $before + 2)), q{>=}, $before + 2, 'listeners are told of the next event');
is(acquired(9), 'next', '... which is on offer');
$node->stop;

done_testing();
