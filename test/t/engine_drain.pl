# A push flow whose workers come for a backlog by themselves is drained: its events are offered without being dispatched
# one by one, and those that nobody takes are dispatched after all.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;

my $node = make_server('main');
make_database($node, 'db');
my $session = session($node, 'db');

sub run { return $session->query_safe($_[0]) }

# Events of the flow in a state.
sub count_of { return run("SELECT count(*) FROM evq.events WHERE flow_type = 'FLOW' AND state = '$_[0]'") }

# Takes and finishes so many events, fifty a transaction, without looking around.
sub work { return run("DO \$\$ BEGIN FOR i IN 1 .. $_[0] LOOP PERFORM evq_succeed(event_id, permit) FROM evq_acquire_next('FLOW', 50); COMMIT; END LOOP; END \$\$") }

sub taken_directly { return run(q{SELECT coalesce(sum(value), 0) FROM evq.counters() WHERE name = 'acquire/awaiting_processing/being_processed'}) }

# ---------- drained ----------

run(q{SELECT evq_configure_flow('FLOW', max_dispatched => 100);
	SELECT count(*) FROM evq_publish_many('job', NULL, array_fill('case'::text, ARRAY[5000]), array_fill('{}'::jsonb, ARRAY[5000]))});
ok(poll_until('a full window', sub { count_of('dispatched') == 100 }), 'while no worker comes, as many as the window has room for are dispatched');
poll_until('drained', sub { work(20); taken_directly() > 0 });
cmp_ok(taken_directly(), '>', 0, 'while workers come, events go to them without a dispatch');
my $left = run('SELECT count(*) FROM evq.event');
ok(poll_until('a full window', sub { count_of('dispatched') == ($left < 100 ? $left : 100) }), 'when they come no more, what is on offer is dispatched again');
is(run('SELECT count(*) FROM evq.event'), $left, 'nothing has gone');
poll_until('the end', sub { work(20); run('SELECT count(*) FROM evq.event') == 0 });
is(count_of('succeeded'), 5000, 'all are done, once');

# ---------- never ----------

run(q{SELECT evq_configure_flow('LIMITED', max_processing => 50), evq_configure_flow('ORDERED', ordered => true);
	SELECT evq_configure('limited', 'LIMITED', attempt_delays => '{0}'), evq_configure('ordered', 'ORDERED', attempt_delays => '{0}')});
my $before = taken_directly();
for my $flow (qw(LIMITED ORDERED))
{
	my $type = lc $flow;

	run(qq{SELECT count(*) FROM evq_publish_many('$type', NULL, (SELECT array_agg('case ' || n % 100) FROM generate_series(1, 500) n), array_fill('{}'::jsonb, ARRAY[500]))});
	ok(poll_until("$flow is done", sub {
		run(qq{SELECT count(evq_succeed(event_id, permit)) FROM evq_acquire_next('$flow', 50)});
		run('SELECT count(*) FROM evq.event') == 0;
	}), "$flow: all are done");
	is(run(qq{SELECT count(*) FROM evq.events WHERE flow_type = '$flow' AND state = 'succeeded'}), 500, '... once');
}
is(taken_directly(), $before,
	'where order or a limit is to be kept, each event is dispatched');

end_session($session);
$node->stop;

# ---------- many flows ----------

# More of them than the offers in shared memory are enough for: none is lost until its dispatch times out.
$node = make_server('small', 'evq.ready_size = 64');
make_database($node, 'db');
$session = session($node, 'db');
run(q{SELECT evq_configure_flow('FLOW_' || n, dispatch_timeout => '1 hour') FROM generate_series(1, 20) n;
	SELECT evq_configure('job_' || n, 'FLOW_' || n, attempt_delays => '{0}') FROM generate_series(1, 20) n});
for my $n (1 .. 20)
{
	run("SELECT count(*) FROM evq_publish_many('job_$n', NULL, array_fill('case'::text, ARRAY[50]), array_fill('{}'::jsonb, ARRAY[50]))");
	poll_until('dispatched events', sub { run("SELECT count(*) FROM evq.events WHERE flow_type = 'FLOW_$n' AND state = 'dispatched'") > 0 });
}
ok(poll_until('the end', sub {
	run("SELECT count(evq_succeed(event_id, permit)) FROM generate_series(1, 20) n, evq_acquire_next('FLOW_' || n, 5)");
	run('SELECT count(*) FROM evq.event') == 0;
}), 'what had no room on offer comes back when there is some');

end_session($session);
$node->stop;
done_testing();
