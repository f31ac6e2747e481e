# Thousands of flows: each has its offers, its priorities and its order, and an event of any is found by evq_acquire_next().
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

# So few offers that the flows outnumber them. The sweep is so rare that nothing here is its work.
my $node = make_server('main', "evq.ready_size = 400\nevq.poll_interval = '1h'");
make_database($node, 'db');
my $session = session($node, 'db');

sub run { return $session->query_safe($_[0]) }

run(q{
	SELECT count(evq_configure('t' || n, 'W' || n, lifespan => '1 day')) FROM generate_series(1, 600) n;
	SELECT count(evq_configure_flow('W' || n, delivery => 'pull')) FROM generate_series(1, 600, 3) n;
	SELECT count(evq_configure_flow('W' || n, ordered => true)) FROM generate_series(2, 600, 3) n});

# ---------- one event in each ----------

my %open = map { $_ => 1 } 1 .. 600;
run(q{SELECT count(evq_publish('t' || n, NULL, 'case')) FROM generate_series(1, 600) n});
ok(poll_until('an event of each flow', sub {
	for my $flow (sort { $a <=> $b } keys %open)
	{
		delete $open{$flow}
		  if run("SELECT a.flow_type FROM evq_acquire_next('W$flow') a, evq_succeed(a.event_id, a.permit)") eq "W$flow";
	}
	!%open;
}), 'the event of each of 600 flows is had');
is(run('SELECT count(*) FROM evq.event'), 0, '... once');

# The queues of flows that have none on offer any more serve others.
run(q{SELECT count(evq_publish('t' || n, NULL, 'again')) FROM generate_series(600, 1, -1) n});
ok(poll_until('an event of each flow', sub {
	run(q{SELECT count(evq_succeed(a.event_id, a.permit)) FROM generate_series(1, 600) n, evq_acquire_next('W' || n) a});
	run('SELECT count(*) FROM evq.event') == 0;
}), '... and again');

# ---------- a flow that came late ----------

run(q{SELECT evq_configure('hot', 'LATE', lifespan => '1 day'); SELECT evq_configure_flow('LATE', ordered => true);
	SELECT evq_configure('ranked', 'RANKED', lifespan => '1 day'); SELECT evq_configure_flow('RANKED', max_dispatched => 5, dispatch_timeout => '1 hour')});
run(q{SELECT count(*) FROM evq_publish_many('hot', NULL, array_fill('hot'::text, ARRAY[10001]), array_fill('{}'::jsonb, ARRAY[10001]));
	SELECT count(evq_publish('hot', NULL, 'case-' || n)) FROM generate_series(1, 200) n});
my %had;
ok(poll_until('all flow_ids', sub {
	$had{$_}++ for split /\n/, run(q{SELECT flow_id FROM evq_acquire_next('LATE', 100)});
	keys %had == 201;
}), 'ordered: behind 10,001 events of one flow_id the other 200 have their turn');
is(scalar(grep { $_ > 1 } values %had), 0, '... and that one is in order: its second event waits');

run(q{SELECT count(*) FROM evq_publish_many('ranked', NULL, array_fill('low'::text, ARRAY[2000]), array_fill('{}'::jsonb, ARRAY[2000]))});
poll_until('offers', sub { run(q{SELECT count(*) FROM evq.events WHERE flow_type = 'RANKED' AND state = 'dispatched'}) == 5 });
run(q{SELECT evq_publish('ranked', NULL, 'high', priority => 100::smallint)});
my @ranked;
poll_until('the high one', sub {
	push @ranked, split /\n/, run(q{SELECT flow_id FROM evq_acquire_next('RANKED')});
	grep { $_ eq 'high' } @ranked or @ranked > 50;
});
cmp_ok(scalar(@ranked), '<=', 20, 'priority: one event of a high one overtakes what is not on offer yet') or diag("@ranked");

# ---------- flows that sessions cannot tell apart ----------

# One that is full has the class of flows of another, which is not: what is published there wakes the dispatcher all the same,
# which would find it in a minute without that.
my $beside = run(q{SELECT event_type FROM evq.event_type JOIN evq.flow f USING (flow_no)
	WHERE flow_type ~ '^W' AND delivery = 'push' AND NOT ordered AND (SELECT r.flow_no - f.flow_no FROM evq.flow r WHERE r.flow_type = 'RANKED') % 64 = 0 LIMIT 1});
my ($turns, $same) = (-1, 0);
poll_until('quiet', sub {
	my $before = $turns;
	$turns = run('SELECT turns FROM evq_status()');
	$same = $turns == $before ? $same + 1 : 0;
	return $same == 20;
});
is(run(q{SELECT count(*) > 0 FROM evq.events WHERE flow_type = 'RANKED' AND state = 'awaiting_processing'}), 't', 'a flow is full');
run(q{ALTER SYSTEM SET evq.trace = on; SELECT pg_reload_conf()});
wait_for_log($node, qr/evq: sleeps for up to/, 0);
my $log = log_end($node);
my $event = run("SELECT evq_publish('$beside', NULL, 'beside')");
ok(wait_for_log($node, qr/evq: event $event: dispatched/, $log), '... and an event of another one is dispatched');
my ($until) = slurp_file($node->logfile, $log) =~ /^(.*?)evq: event $event: dispatched/s;
like($until, qr/evq: woken by its latch/, '... because its session asked for that');

end_session($session);
$node->stop;
done_testing();
