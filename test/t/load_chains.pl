# Success and its spinoffs, terminal failure and its on-fail event: both or
# neither, whatever is killed in between.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Killer qw(rampage);
use Evq::Load;
use Evq::Server qw(kill_process kill_server make_server wait_for_dispatcher wait_for_result);

my $configuration = q{
	SELECT evq_configure_flow('CHAINS', dispatch_timeout => '1 s');
	SELECT evq_configure('CLEANUP', 'CHAINS', 1000, '1 hour', '{0 s}', attempt_timeout => '2 s');
	SELECT evq_configure('LEAF', 'CHAINS', 1, '1 hour', '{0 s}', attempt_timeout => '2 s', on_fail_event_type => 'CLEANUP');
	SELECT evq_configure('FORK', 'CHAINS', 2, '1 hour', '{0 s}', attempt_timeout => '2 s', on_fail_event_type => 'CLEANUP');
};

# One event, acquired, whose report is under way when the server dies: with the transaction open, or after its commit.
sub test_report
{
	my ($node, $name, $report, $state, $children) = @_;

	for my $committed (0, 1)
	{
		my $event = $node->safe_psql('postgres', "SELECT evq_publish('LEAF', 'CHAINS', '$name $committed')");
		wait_for_result($node, "SELECT state FROM evq.events WHERE event_id = '$event'", 'dispatched');
		my $permit =
		  $node->safe_psql('postgres', "SELECT permit FROM evq_acquire('$event', permit_for => '30 minutes')");
		my $call  = $report =~ s/EVENT/'$event'/r =~ s/PERMIT/$permit/r;
		my $count = "SELECT count(*) FROM evq.events WHERE parent_id = '$event'";
		my $facts = "SELECT state, (SELECT count(*) FROM evq.events c WHERE c.parent_id = e.event_id) FROM evq.events e WHERE event_id = '$event'";

		my $worker = $node->background_psql('postgres', on_error_stop => 0);
		$worker->query_safe('SET application_name = reporter; BEGIN');
		$worker->query_safe($call);
		is($worker->query_safe($count), $children, "$name: the transaction sees its $children children");
		if ($committed)
		{
			$worker->query_safe('COMMIT');
			kill_server($node);
			is($node->safe_psql('postgres', $facts), "$state|$children", '... committed before the crash: both are there');
		}
		else
		{
			is(kill_process($node, "application_name = 'reporter'"), 1, '... killed before its commit');
			is($node->safe_psql('postgres', $facts), 'being_processed|0', '... neither is there');
			$node->safe_psql('postgres', $call);
			is($node->safe_psql('postgres', $facts), "$state|$children", '... and the report can be made again');
		}
		eval { $worker->quit };
	}
	return;
}

my $node = make_server('main');
$node->safe_psql('postgres', $configuration);
wait_for_dispatcher($node);
test_report($node, 'success with spinoffs',
	q{SELECT evq_succeed(event_id => EVENT, permit => PERMIT, spinoffs => '[{"event_type": "CLEANUP"}, {"event_type": "CLEANUP"}]')},
	'succeeded', 2);
test_report($node, 'terminal failure with on-fail event',
	q{SELECT evq_fail(event_id => EVENT, permit => PERMIT, error_message => 'broken')},
	'failed', 1);
$node->stop;

# Many short chains under kills: spinoffs by the workers, on-fail events by workers and by the dispatcher.
my $storm = make_server('storm');
$storm->safe_psql('postgres', $configuration);
my $load = Evq::Load->new(
	$storm,
	{   flow    => 'CHAINS',
		channel => 'evq_chains',
		next    => { FORK => [ 'LEAF', 'LEAF', 'LEAF' ] },
		fail    => { LEAF => 0.3, FORK => 0.2 },
		dawdle  => 0.05,
	});
$load->start_publisher(type => 'FORK', count => 700, rate => 28);
$load->start_workers(6);
$load->start_workers(2, by => 'notify');
my $killed = rampage($storm, while => sub { return !$load->is_published }, every => [ 0.5, 2 ]);
$load->drain(150);
$load->stop;
$load->check;
cmp_ok($load->count(q{FROM load_event WHERE event_type = 'CLEANUP'}), '>', 100, 'many on-fail events were published');
cmp_ok($load->count(q{FROM evq.event_error WHERE error_message LIKE 'the permit ran out%' AND outcome = 'failed'}),
	'>', 10, '... also for permits that ran out');
diag($load->figures, '; kills: ', join ', ', map { "$killed->{$_} $_" } sort keys %$killed);
$storm->stop;
done_testing();
