# Limits that two flows share hold while backends, dispatcher, launcher and postmaster are killed, and while the configuration
# changes: a checker beside evq looks how many events of both were worked on at a time, how many of a group, and how many
# tokens were taken in any time.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Killer qw(rampage);
use Evq::Load;
use Evq::Server qw(make_server wait_for_dispatcher);

my $events = $ENV{EVQ_LIMITED_EVENTS} // 40; # of each flow and group
my @groups = map { "g$_" } 1 .. 4;

# Of the events in the CTE "seen" (what, at, step), how many were under way at a time, at most.
my $most = 'SELECT what, max(n) AS most FROM (SELECT what, sum(step) OVER (PARTITION BY what ORDER BY at, step) AS n FROM seen) s GROUP BY what';

my $node = make_server('shared_limits');
$node->safe_psql(
	'postgres', q{
	SELECT evq_configure_limit('both', max_processing => 5, rate => 100, burst => 15), evq_configure_limit('tenant', max_processing => 2, by_group => true);
	SELECT evq_configure_flow(f, dispatch_timeout => '1 s', delivery => 'pull', group_by => 'flow_id/1') FROM unnest('{LEFT,RIGHT}'::text[]) f;
	SELECT evq_configure('LEFT', 'LEFT', 1000, '1 hour', '{0 s}', attempt_timeout => '3 s', limits => '{both,tenant}');
	SELECT evq_configure('RIGHT', 'RIGHT', 1000, '1 hour', '{0 s}', attempt_timeout => '3 s', limits => '{tenant,both}', cost => 3);
	SELECT evq_configure('FREE', 'RIGHT', 1000, '1 hour', '{0 s}', attempt_timeout => '3 s');
});
my $load = Evq::Load->new($node, { flow => 'LEFT', channel => 'evq_left', holds => 1, fail => { LEFT => 0.1 }, work_seconds => 0.1 });

for my $group (@groups)
{
	$load->start_publisher(type => $_, flow => $_, count => $events, rate => $group eq 'g4' ? 2.5 : 200, prefix => "$group/$_") for 'LEFT', 'RIGHT';
}
$load->start_publisher(type => 'FREE', flow => 'RIGHT', count => $events, rate => 10, prefix => 'g1/free');
$load->start_workers(2, sessions => 4, flow => $_) for 'LEFT', 'RIGHT';
$load->start_workers(1, sessions => 2, batch => 3, flow => $_) for 'LEFT', 'RIGHT';

# Another limit is another one each time.
my $round  = 0;
my $killed = rampage(
	$node,
	every => [ 1, 2 ],
	while => sub {
		$node->psql('postgres', 'SELECT evq_configure_limit($$other$$, ' . (1 + $round++ % 5) . ')');
		return !$load->is_published;
	});
$load->drain(120 + 10 * $events);
wait_for_dispatcher($node);
$load->stop;
ok($killed->{$_} > 0, "a $_ was killed") for sort keys %$killed;
$load->check;
$load->none('every event succeeded', q{FROM load_event WHERE state <> 'succeeded'});

$node->safe_psql('postgres', q{CREATE TABLE held AS
	SELECT e.group_key, e.event_type, split_part(l.note, ' ', 1)::numeric AS began_at, split_part(l.note, ' ', 2)::numeric AS ended_at
	FROM load_worker_log l JOIN load_event e USING (event_id) WHERE l.what = 'held'});
my $limited = q{FROM held WHERE event_type <> 'FREE'};
is($node->safe_psql('postgres', "WITH seen AS (SELECT '' AS what, began_at AS at, 1 AS step $limited UNION ALL SELECT '', ended_at, -1 $limited) SELECT most FROM ($most) m"),
	5, 'five of both flows were in processing at a time, and no more');
is($node->safe_psql('postgres', "WITH seen AS (SELECT group_key AS what, began_at AS at, 1 AS step $limited UNION ALL SELECT group_key, ended_at, -1 $limited)
	SELECT string_agg(DISTINCT most::text, ' ') FROM ($most) m"), 2, 'of each group two');
cmp_ok(
	$node->safe_psql('postgres', q{
		SELECT max(taken - 100 * at - least_before) - 15 FROM (
			SELECT taken, at, min(taken - cost - 100 * at) OVER (ORDER BY taken) AS least_before FROM (
				SELECT at, cost, sum(cost) OVER (ORDER BY at, event_id) AS taken FROM (
					SELECT event_id, extract(epoch FROM attempt_started_at) AS at, CASE event_type WHEN 'RIGHT' THEN 3 ELSE 1 END AS cost
					FROM load_event WHERE event_type <> 'FREE') s) t) w}),
	'<=', 0.001, 'no more tokens were taken in any time than the rate allows');
diag('limits: ', $load->figures, '; killed ', join(', ', map { "$killed->{$_} ${_}s" } sort keys %$killed));
$node->stop;
done_testing();
