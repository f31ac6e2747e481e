# Limits of a flow and of its groups hold while backends, dispatcher, launcher and postmaster are killed: a checker beside evq
# looks how many events of a group were worked on at a time, and how many began in any time.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Killer qw(rampage);
use Evq::Load;
use Evq::Server qw(make_server wait_for_dispatcher);

my $events = $ENV{EVQ_LIMITED_EVENTS} // 60; # of each group
my @groups = map { "g$_" } 1 .. 6;

# Of the events in the CTE "seen" (what, at, step), how many were under way at a time, at most.
my $most = 'SELECT what, max(n) AS most FROM (SELECT what, sum(step) OVER (PARTITION BY what ORDER BY at, step) AS n FROM seen) s GROUP BY what';

# How many more began than burst + rate * t, in the time t that had the most of them.
sub excess
{
	my ($starts, $rate, $burst) = @_;

	return "SELECT max(n - $rate * at - least_before) + 1 - $burst AS excess FROM (
		SELECT what, n, at, min(n - $rate * at) OVER (PARTITION BY what ORDER BY n) AS least_before FROM (
			SELECT what, at, row_number() OVER (PARTITION BY what ORDER BY at) AS n FROM ($starts) t) s) w";
}

my $node = make_server('limits');
$node->safe_psql(
	'postgres', q{
	SELECT evq_configure_flow('FLOW_L', dispatch_timeout => '1 s', delivery => 'pull', group_by => 'flow_id/1', max_processing_per_group => 2,
		rate => 40, burst => 8, rate_per_group => 12, burst_per_group => 3);
	SELECT evq_configure_group('FLOW_L', 'g1', max_processing => 1), evq_configure_group('FLOW_L', 'g2', max_processing => 4, rate => 30, burst => 6);
	SELECT evq_configure('STEP', 'FLOW_L', 1000, '1 hour', '{0 s}', attempt_timeout => '3 s');
});
my $load = Evq::Load->new($node, { flow => 'FLOW_L', channel => 'evq_flow_l', holds => 1, fail => { STEP => 0.1 }, work_seconds => 0.3 });

for my $group (@groups)
{
	$load->start_publisher(type => 'STEP', count => $events, rate => $group eq 'g6' ? 4 : 200, prefix => "$group/case");
}
$load->start_workers(4, sessions => 4);
$load->start_workers(2, sessions => 2, batch => 3);

# The configuration is written again and again, and another group has another limit each time.
my $round = 0;
my $killed = rampage(
	$node,
	every => [ 1, 2 ],
	while => sub {
		$node->psql('postgres', 'SELECT evq_configure_group($$FLOW_L$$, $$other$$, ' . (1 + $round++ % 5) . ')');
		return !$load->is_published;
	});
$load->drain(120 + $events);
wait_for_dispatcher($node);
$load->stop;
ok($killed->{$_} > 0, "a $_ was killed") for sort keys %$killed;
$load->check;
$load->none('every event succeeded', q{FROM load_event WHERE state <> 'succeeded'});

$node->safe_psql('postgres', q{CREATE TABLE held AS
	SELECT e.group_key, split_part(l.note, ' ', 1)::numeric AS began_at, split_part(l.note, ' ', 2)::numeric AS ended_at
	FROM load_worker_log l JOIN load_event e USING (event_id) WHERE l.what = 'held'});
is($node->safe_psql('postgres', "WITH seen AS (SELECT group_key AS what, began_at AS at, 1 AS step FROM held UNION ALL SELECT group_key, ended_at, -1 FROM held)
	SELECT string_agg(concat(what, ' ', most), ', ' ORDER BY what) FROM ($most) m WHERE most > CASE what WHEN 'g1' THEN 1 WHEN 'g2' THEN 4 ELSE 2 END"),
	'', 'no group had more in processing than it may');
is($node->safe_psql('postgres', "WITH seen AS (SELECT group_key AS what, began_at AS at, 1 AS step FROM held UNION ALL SELECT group_key, ended_at, -1 FROM held)
	SELECT count(*) FROM ($most) m WHERE most = CASE what WHEN 'g1' THEN 1 WHEN 'g2' THEN 4 ELSE 2 END"),
	scalar @groups, '... and each had so many at some time');

my $started = q{SELECT %s AS what, extract(epoch FROM attempt_started_at) AS at FROM load_event};
my $excess = $node->safe_psql('postgres', excess(sprintf($started, q{''}), 40, 8));
cmp_ok($excess, '<=', 0.001, 'no more events began in any time than the rate of the flow allows');
for my $group (@groups)
{
	my ($rate, $burst) = $group eq 'g2' ? (30, 6) : (12, 3);

	$excess = $node->safe_psql('postgres', excess(sprintf($started, 'group_key') . " WHERE group_key = '$group'", $rate, $burst));
	cmp_ok($excess, '<=', 0.001, "... nor of group $group than its own");
}
diag('limits: ', $load->figures, '; killed ', join(', ', map { "$killed->{$_} ${_}s" } sort keys %$killed));
$node->stop;
done_testing();
