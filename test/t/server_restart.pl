# What a stop and a start of the server leave of events, offers and permits.
# Nothing is polled for here: evq.poll_interval is an hour.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Server
  qw(kill_for_good make_server process_id sqlstate start_again wait_for_dispatcher wait_for_result wait_until);

my $node = make_server('main', conf => "evq.poll_interval = '1h'\n");

$node->safe_psql(
	'postgres', q{
	SELECT evq_configure_flow('BULK'), evq_configure_flow('SINGLE'),
		   evq_configure_flow('REPEATED', dispatch_timeout => '2 s');
	SELECT evq_configure(flow_type || '_EVENT', flow_type, 3, '1 day', '{0 s}', attempt_timeout => '1 hour')
	FROM evq.flow;
});
wait_for_dispatcher($node);

sub publish
{
	my ($flow, $flow_id, $run_at) = @_;
	return $node->safe_psql('postgres',
		"SELECT evq_publish('${flow}_EVENT', '$flow', '$flow_id', run_at => " . ($run_at // 'NULL') . ')');
}

sub state_of
{
	my ($event) = @_;
	return $node->safe_psql('postgres', "SELECT state FROM evq.events WHERE event_id = '$event'");
}

sub wait_for_state
{
	my ($event, $state) = @_;
	wait_for_result($node, "SELECT state FROM evq.events WHERE event_id = '$event'", $state);
	pass("... $state");
	return;
}

# acquire(EVENT, PERMIT_FOR): its permit, '' = not granted.
sub acquire
{
	my ($event, $permit_for) = @_;
	return $node->safe_psql('postgres',
		"SELECT permit FROM evq_acquire('$event', permit_for => " . (defined $permit_for ? "'$permit_for'" : 'NULL') . ')');
}

sub acquire_next
{
	my ($flow, $max_events) = @_;
	return $node->safe_psql('postgres', "SELECT event_id FROM evq_acquire_next('$flow', $max_events) ORDER BY 1");
}

sub succeed
{
	my ($event, $permit) = @_;
	return sqlstate($node, "SELECT evq_succeed('$event', $permit)");
}

# An immediate stop, with changes in shared memory that the dispatcher has not seen: it is made to stand still before.
my $events = 500;
kill 'STOP', process_id($node, 'evq dispatcher');
$node->safe_psql('postgres',
	"SELECT count(evq_publish('BULK_EVENT', 'BULK', 'bulk-' || n)) FROM generate_series(1, $events) n");
my $later   = publish('SINGLE', 'later',      "now() + interval '8 s'");
my $tonight = publish('SINGLE', 'much later', "now() + interval '5 hours'");
is( $node->safe_psql('postgres', q{SELECT DISTINCT state FROM evq.events}),
	'awaiting_processing', 'nothing was dispatched before the stop');
$node->stop('immediate');
start_again($node);

wait_for_result($node, q{SELECT state, count(*) FROM evq.events WHERE flow_type = 'BULK' GROUP BY state},
	"dispatched|$events");
pass('what stood in the ring is dispatched after the start');
is(scalar(split /\n/, acquire_next('BULK', 1000)), $events, '... and taken by a worker');

my $fresh = publish('SINGLE', 'fresh');
wait_for_state($fresh, 'dispatched');
wait_for_state($later, 'dispatched');
is( $node->safe_psql(
		'postgres', "SELECT state_since >= attempt_scheduled_at FROM evq.events WHERE event_id = '$later'"),
	't', 'an event scheduled before the stop is dispatched after its time, not before');
is(state_of($tonight), 'awaiting_processing', 'an event scheduled for later still waits');
is($node->safe_psql('postgres', q{SELECT count(*) FROM evq_acquire_next('SINGLE', 10)}), 2, '... and is not taken');

# The server dies between a commit and its announcement.
my $unsaid = $node->safe_psql('postgres',
	q{SET evq.debug_lose_wakeups = on; SELECT evq_publish('SINGLE_EVENT', 'SINGLE', 'unsaid')});
is(state_of($unsaid), 'awaiting_processing', 'nobody tells of an event');
Evq::Server::kill_for_good($node);
start_again($node);
wait_for_state($unsaid, 'dispatched');
is($node->safe_psql('postgres', q{SELECT event_id FROM evq_acquire_next('SINGLE')}), $unsaid,
	'... it is found and offered after the crash');

# Offered before the stop, taken by nobody.
my $unclaimed = publish('SINGLE', 'unclaimed');
my $repeated  = publish('REPEATED', 'repeated');
wait_for_state($_, 'dispatched') for $unclaimed, $repeated;
$node->stop('immediate');
start_again($node);
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN evq_repeated');
wait_for_result($node, q{SELECT event_id FROM evq_acquire_next('SINGLE')}, $unclaimed);
pass('what was offered before the stop is offered after it to those who ask');
{
	my $heard = '';
	wait_until(60, sub { $heard = $listener->query('SELECT'); return $heard =~ /\Q$repeated\E/ });
	like($heard, qr/"event_id":"\Q$repeated\E"/, '... and notified again when the offer has timed out');
}
$listener->quit;

# Permits held over a stop.
for my $mode (qw(fast immediate))
{
	my $kept  = publish('SINGLE', 'kept');
	my $short = publish('SINGLE', 'short');
	wait_for_state($_, 'dispatched') for $kept, $short;
	my $kept_permit  = acquire($kept);
	my $short_permit = acquire($short, '3 s');
	$node->stop($mode);
	start_again($node);
	wait_for_dispatcher($node);

	is(succeed($kept, $kept_permit), '', "a permit held over a $mode stop is good after the start");
	wait_for_result($node,
		"SELECT state, attempts_used, (SELECT count(*) FROM evq.event_error r WHERE r.event_id = e.event_id) FROM evq.events e WHERE event_id = '$short'",
		'dispatched|1|1');
	pass('a permit that runs out over a stop is taken back after the start, and the event offered again');
	is(succeed($short, $short_permit), 'EQ004', '... the old permit is refused');
	my $permit = acquire($short);
	isnt($permit, $short_permit, '... the next permit is another one');
	is(succeed($short, $permit), '', '... and is good');
}

# A permit that a worker was told must not come again. So an acquire is durable, even where the worker commits
# asynchronously and the crash comes before anything else writes the log.
{
	my $event = publish('SINGLE', 'kept');
	wait_for_state($event, 'dispatched');
	my $wal_writer = process_id($node, 'walwriter');

	kill 'STOP', $wal_writer;
	my $worker = $node->background_psql('postgres');
	$worker->query_safe('SET synchronous_commit = off');
	my $permit = $worker->query_safe("SELECT permit FROM evq_acquire('$event')");
	kill_for_good($node);
	kill 'KILL', $wal_writer;
	start_again($node);
	eval { $worker->quit };

	wait_for_dispatcher($node);
	is( $node->safe_psql('postgres', "SELECT state, permit FROM evq.events WHERE event_id = '$event'"),
		"being_processed|$permit", 'an acquire committed asynchronously outlives a crash');
	is(acquire($event), '', '... the event is not granted again');
	is(succeed($event, $permit), '', '... and its permit is good');
}

$node->stop;
done_testing();
