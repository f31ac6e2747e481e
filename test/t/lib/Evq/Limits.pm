
=head1 NAME

Evq::Limits - limits of a flow and of its groups, and a checker beside evq

=head1 SYNOPSIS

    run_limits(events => 60, workers => [4, 4], batches => [2, 2], every => [1, 2]);
    run_limits(..., cancels => 1, promotes => 1);

Backends, dispatcher, launcher and postmaster are killed, the configuration changes, and with "promotes" a standby takes
over. Then it is looked how many events of a group were worked on at a time, and how many began in any time.

=cut

package Evq::Limits;

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use Evq::Killer qw(rampage);
use Evq::Load;
use Evq::Server qw(kill_for_good make_server make_standby wait_for_dispatcher wait_for_result);

our @EXPORT_OK = qw(run_limits);

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

sub configure
{
	my ($node) = @_;

	$node->safe_psql(
		'postgres', q{
		SELECT evq_configure_flow('FLOW_L', dispatch_timeout => '1 s', delivery => 'pull', group_by => 'flow_id/1', max_processing_per_group => 2,
			rate => 40, burst => 8, rate_per_group => 12, burst_per_group => 3);
		SELECT evq_configure_group('FLOW_L', 'g1', max_processing => 1), evq_configure_group('FLOW_L', 'g2', max_processing => 4, rate => 30, burst => 6);
		SELECT evq_configure('STEP', 'FLOW_L', 1000, '1 day', '{0 s}', attempt_timeout => '3 s');
	});
	return;
}

# Another group has another limit each time, one group is paused and goes on, and of what came last something is canceled, if that is asked for.
sub change
{
	my ($node, $round, $cancels) = @_;

	$node->psql('postgres', 'SELECT evq_configure_group($$FLOW_L$$, $$other$$, ' . (1 + $round % 5) . ')');
	$node->psql('postgres', $round % 2 ? 'SELECT evq_pause_group($$FLOW_L$$, $$g5$$)' : 'SELECT evq_resume_group($$FLOW_L$$, $$g5$$)');
	$node->psql('postgres', q{SELECT evq_cancel(event_id) FROM (SELECT event_id FROM evq.event WHERE state = 'a' ORDER BY attempt_scheduled_at DESC LIMIT 1) e
		WHERE (SELECT count(*) FROM evq.event) > 200}) if $cancels;
	return;
}

# The server that works, and the load; its standby, which takes over with promote().
sub begin
{
	my (%options) = @_;
	my $node = make_server('limits', $options{promotes} ? (allows_streaming => 1, conf => "max_wal_senders = 10\n") : ());
	my $standby;

	configure($node);
	my $load = Evq::Load->new($node, { flow => 'FLOW_L', channel => 'evq_flow_l', holds => 1, fail => { STEP => 0.1 }, work_seconds => 0.3 });
	if ($options{promotes})
	{
		$standby = make_standby($node, 'limits_standby');
		$standby->start;
		$load->also_at($standby);
	}
	return ($node, $standby, $load);
}

# Loses the server when all that it has committed is at its standby, and promotes that.
sub promote
{
	my ($node, $standby, $load) = @_;

	$node->append_conf('postgresql.conf', "synchronous_standby_names = '*'\n");
	$node->reload;
	wait_for_result($node, q{SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'}, 1);
	kill_for_good($node);
	$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
	$standby->promote;
	$load->moved_to($standby);
	return $standby;
}

sub is_half_done
{
	my ($node, $events) = @_;
	my ($status, $answer) = $node->psql('postgres', 'SELECT count(*) >= ' . $events * @groups / 2 . ' FROM evq.event_history');

	return $status == 0 && $answer eq 't';
}

# events: of each group. workers, batches: processes and the sessions of each, that take one event or three. every: seconds between kills.
sub run_limits
{
	my (%options) = @_;
	my ($node, $standby, $load) = begin(%options);
	my $events = $options{events};
	my $round = 0;

	for my $group (@groups)
	{
		$load->start_publisher(type => 'STEP', count => $events, rate => $group eq 'g6' ? 4 : 200, prefix => "$group/case");
	}
	$load->start_workers($options{workers}[0], sessions => $options{workers}[1]);
	$load->start_workers($options{batches}[0], sessions => $options{batches}[1], batch => 3);
	my $attack = sub {
		my ($until) = @_;

		return rampage(
			$node,
			every => $options{every},
			while => sub { change($node, $round++, $options{cancels}); return !$load->is_published && !$until->() });
	};
	my $killed = $attack->(sub { return $standby && is_half_done($node, $events) });
	if ($standby)
	{
		$node = promote($node, $standby, $load);
		my $more = $attack->(sub { return 0 });
		$killed->{$_} += $more->{$_} for keys %$more;
	}
	$node->safe_psql('postgres', q{SELECT evq_resume_group('FLOW_L', 'g5')});
	$load->drain(120 + $events);
	wait_for_dispatcher($node);
	$load->stop;
	check($node, $load, $killed);
	diag('limits: ', $load->figures, '; killed ', join(', ', map { "$killed->{$_} ${_}s" } sort keys %$killed));
	$node->stop;
	return;
}

# What was worked on at a time, and how much began in any time.
sub check
{
	my ($node, $load, $killed) = @_;

	ok($killed->{$_} > 0, "a $_ was killed") for sort keys %$killed;
	$load->check;
	$load->none('every event succeeded, or was canceled', q{FROM load_event WHERE state NOT IN ('succeeded', 'canceled')});

	$node->safe_psql('postgres', q{CREATE TABLE held AS
		SELECT e.group_key, split_part(l.note, ' ', 1)::numeric AS began_at, split_part(l.note, ' ', 2)::numeric AS ended_at
		FROM load_worker_log l JOIN load_event e USING (event_id) WHERE l.what = 'held'});
	is($node->safe_psql('postgres', "WITH seen AS (SELECT group_key AS what, began_at AS at, 1 AS step FROM held UNION ALL SELECT group_key, ended_at, -1 FROM held)
		SELECT string_agg(concat(what, ' ', most), ', ' ORDER BY what) FROM ($most) m WHERE most > CASE what WHEN 'g1' THEN 1 WHEN 'g2' THEN 4 ELSE 2 END"),
		'', 'no group had more in processing than it may');
	is($node->safe_psql('postgres', "WITH seen AS (SELECT group_key AS what, began_at AS at, 1 AS step FROM held UNION ALL SELECT group_key, ended_at, -1 FROM held)
		SELECT count(*) FROM ($most) m WHERE most = CASE what WHEN 'g1' THEN 1 WHEN 'g2' THEN 4 ELSE 2 END"),
		scalar @groups, '... and each had so many at some time');

	my $started = q{SELECT %s AS what, extract(epoch FROM attempt_started_at) AS at FROM (SELECT * FROM load_event WHERE isfinite(attempt_started_at)) e};
	my $excess = $node->safe_psql('postgres', excess(sprintf($started, q{''}), 40, 8));
	cmp_ok($excess, '<=', 0.001, 'no more events began in any time than the rate of the flow allows');
	for my $group (@groups)
	{
		my ($rate, $burst) = $group eq 'g2' ? (30, 6) : (12, 3);

		$excess = $node->safe_psql('postgres', excess(sprintf($started, 'group_key') . " WHERE group_key = '$group'", $rate, $burst));
		cmp_ok($excess, '<=', 0.001, "... nor of group $group than its own");
	}
	return;
}

1;
