
=head1 NAME

Evq::Rides - rides of six events, and parcels in batches, by workers that fail at random, on a server that is killed again and again

=cut

package Evq::Rides;

use strict;
use warnings;

use Exporter qw(import);
use Test::More;
use Time::HiRes qw(time);

use Evq::Killer qw(rampage);
use Evq::Load;
use Evq::Server qw(make_server wait_for_dispatcher);

our @EXPORT_OK = qw(run_rides);

my @steps = qw(RIDE_REQUESTED DRIVER_MATCHED DRIVER_ARRIVED TRIP_STARTED TRIP_COMPLETED PAYMENT_PROCESSED);

my $configuration = q{
	SELECT evq_configure_flow('FLOW_B', dispatch_timeout => '1 s');
	SELECT evq_configure('RIDE_ABANDONED', 'FLOW_B', 100, '1 hour', '{0 s}', attempt_timeout => '3 s');
	SELECT evq_configure(event_type, 'FLOW_B', attempts, '1 hour', '{0 s, 50 ms, 100 ms}',
						 attempt_timeout => '3 s', on_fail_event_type => 'RIDE_ABANDONED')
	FROM (VALUES ('RIDE_REQUESTED', 3), ('DRIVER_MATCHED', 3), ('DRIVER_ARRIVED', 2),
				 ('TRIP_STARTED', 1), ('TRIP_COMPLETED', 1), ('PAYMENT_PROCESSED', 3)) AS step(event_type, attempts);
	SELECT evq_configure_flow('PARCELS', delivery => 'pull', dispatch_timeout => '1 s');
	SELECT evq_configure('PARCEL_LOST', 'PARCELS', 100, '1 hour', '{0 s}', attempt_timeout => '3 s');
	SELECT evq_configure('PARCEL', 'PARCELS', 3, '1 hour', '{0 s, 50 ms, 100 ms}', attempt_timeout => '3 s', on_fail_event_type => 'PARCEL_LOST');
};

my %plan = (
	flow    => 'FLOW_B',
	channel => 'evq_flow_b',
	next    => { map { $steps[$_] => [ $steps[ $_ + 1 ] ] } 0 .. $#steps - 1 },
	fail    => { RIDE_REQUESTED => 1 / 8, DRIVER_MATCHED => 1 / 15, DRIVER_ARRIVED => 1 / 20, PAYMENT_PROCESSED => 1 / 10, PARCEL => 1 / 10 },
	dawdle  => 0.005,
);

# run_rides(rides => N, rate => rides a second, every => [shortest, longest] seconds between two kills, drain => seconds)
sub run_rides
{
	my (%options) = @_;
	my $node = make_server('rides', conf => 'evq.store_batches_from = 2');
	$node->safe_psql('postgres', $configuration);
	my $load     = Evq::Load->new($node, \%plan);
	my $began_at = time;

	for my $publisher (1 .. 2)
	{
		$load->start_publisher(
			type   => $steps[0],
			count  => int($options{rides} / 2),
			rate   => $options{rate} / 2,
			prefix => "ride-$publisher",
			seed   => $publisher);
	}
	$load->start_publisher(
		type     => 'PARCEL',
		flow     => 'PARCELS',
		count    => $options{rides} * 5,
		rate     => $options{rate} * 5,
		prefix   => 'parcel',
		together => 60);
	$load->start_workers(8);
	$load->start_workers(4, batch => 4);
	$load->start_workers(4, by    => 'notify');
	$load->start_workers(2, by => 'token', batch => 40, flow => 'PARCELS');
	$load->start_workers(1, by => 'many',  batch => 20, flow => 'PARCELS');
	$load->start_workers(1, flow => 'PARCELS');

	my $killed = rampage($node, while => sub { return !$load->is_published }, every => $options{every});
	my $killing = time - $began_at;

	$load->drain($options{drain});
	my $whole = time - $began_at;
	wait_for_dispatcher($node);
	$load->stop;

	ok($killed->{$_} > 0, "a $_ was killed") for sort keys %$killed;
	check_rides($load, $options{rides});
	diag(
		sprintf '%d rides: %s; killed %s; %.0f s under kills, %.0f s in all',
		$options{rides}, $load->figures, join(', ', map { "$killed->{$_} ${_}s" } sort keys %$killed),
		$killing, $whole);
	$node->stop;
	return;
}

sub check_rides
{
	my ($load, $rides) = @_;

	$load->check;

	# A ride without a key whose publish was not acknowledged may exist or not.
	my $acknowledged = $load->count(q{FROM (SELECT DISTINCT flow_id FROM load_publisher_log WHERE what = 'published' AND flow_id LIKE 'ride-%') AS r});
	my $forgone = $load->count(
		q{FROM (SELECT flow_id FROM load_publisher_log WHERE flow_id LIKE 'ride-%' GROUP BY flow_id HAVING every(what = 'unanswered')) AS r});
	is($acknowledged + $forgone, $rides, 'every ride was asked for');

	$load->none('every ride is one chain from its request to its end', q{
		FROM (SELECT flow_id, count(*) AS events, max(chain_depth) + 1 AS length, count(DISTINCT chain_depth) AS depths,
				  count(*) FILTER (WHERE parent_id IS NULL) AS roots,
				  count(*) FILTER (WHERE event_type IN ('PAYMENT_PROCESSED', 'RIDE_ABANDONED') AND state = 'succeeded') AS ends
			  FROM load_event WHERE flow_id LIKE 'ride-%' GROUP BY flow_id) AS rides
		WHERE events <> length OR depths <> length OR roots <> 1 OR ends <> 1});

	my $completed = $load->count(q{FROM load_event WHERE event_type = 'PAYMENT_PROCESSED' AND state = 'succeeded'});
	cmp_ok($completed, '>', $rides / 2, 'most rides came to their end');

	$load->none('every parcel has arrived, or is known to be lost', q{
		FROM (SELECT flow_id, count(*) FILTER (WHERE state = 'succeeded') AS ends FROM load_event WHERE flow_id LIKE 'parcel-%' GROUP BY 1) AS parcels
		WHERE ends <> 1});
	cmp_ok($load->count(q{FROM load_event WHERE event_type = 'PARCEL' AND state = 'succeeded'}), '>', $rides, 'most of them have arrived');
	cmp_ok($load->count(q{FROM evq.batch_event WHERE state = 's'}), '>', $rides, '... without ever having a row of their own');
	return;
}

1;
