# Many workers on one flow: each event has one holder at a time, each permit
# one owner; nobody deadlocks, all is done.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Load;
use Evq::Server qw(make_server wait_until);

# test_workers(NAME, options of the flow, events, processes, options of the workers; together => of the publisher)
sub test_workers
{
	my ($name, $flow, $count, $processes, %workers) = @_;
	my %publisher = (together => delete $workers{together} // 0);
	my $node = make_server($name, conf => 'evq.store_batches_from = 2');
	$node->safe_psql(
		'postgres', qq{
		SELECT evq_configure_flow('FLOW_B', dispatch_timeout => '2 s', $flow);
		SELECT evq_configure('STEP', 'FLOW_B', 1000, '1 hour', '{0 s}', attempt_timeout => '30 minutes');
	});
	my $load = Evq::Load->new($node,
		{ flow => 'FLOW_B', channel => 'evq_flow_b', fail => { STEP => 0.2 }, exclusive => 1, work_seconds => 0.005 });

	$load->start_publisher(type => 'STEP', count => $count, %publisher);
	wait_until(120, sub { return $load->is_published }) or die 'publishing takes too long';
	$load->start_workers($processes, %workers);
	$load->drain(150);
	$load->stop;
	$load->check;
	$load->none("$name: every event succeeded", q{FROM load_event WHERE state <> 'succeeded'});
	$load->none('... no report was refused, for no permit ran out', q{FROM load_worker_log WHERE what = 'refused'});
	is($node->safe_psql('postgres', 'SELECT sum(deadlocks) FROM pg_stat_database'), 0, '... nobody deadlocked');
	cmp_ok($load->count(q{FROM (SELECT DISTINCT worker FROM load_worker_log WHERE what = 'succeeded') AS w}),
		'>', 1, '... and the work was shared');
	diag("$name: ", $load->figures);
	$node->stop;
	return;
}

test_workers('poll', q{delivery => 'push'}, 1500, 4, sessions => 16, batch => 3);
test_workers('pull', q{delivery => 'pull'}, 1500, 4, sessions => 16, batch => 3);
test_workers('token', q{delivery => 'pull'}, 3000, 4, sessions => 8, batch => 7, by => 'token', together => 1000);
test_workers('many', q{delivery => 'pull'}, 1500, 4, sessions => 8, batch => 3, by => 'many', together => 100);
test_workers('notify', q{max_dispatched => 50}, 400, 4, sessions => 4, by => 'notify');
test_workers('limited', q{max_processing => 5}, 400, 2, sessions => 8);
done_testing();
