
# The server's clock jumps: back by a day, and forward again. Things come early or late then, but nothing new waits for the
# day to pass, and nothing succeeds twice. The sweep is an hour away, and hides nothing.
use strict;
use warnings;

use Fcntl;
use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;

my $library = PostgreSQL::Test::Utils::tempdir() . '/set_clock.so';
my $clock = PostgreSQL::Test::Utils::tempdir() . '/clock';
PostgreSQL::Test::Utils::system_or_bail('gcc', '-shared', '-fPIC', '-o', $library, "$FindBin::Bin/lib/set_clock.c");

# How far the test's own clock has been set, where it has (TEST_DATE).
my $shift = $ENV{SET_CLOCK_FILE} ? unpack('q', PostgreSQL::Test::Utils::slurp_file($ENV{SET_CLOCK_FILE})) : 0;

# Sets the clock of all processes of the server, so many seconds from that of the test.
sub set_clock
{
	my ($seconds) = @_;

	sysopen my $file, $clock, O_WRONLY | O_CREAT or die "$clock: $!";
	syswrite $file, pack('q', $shift + $seconds);
	return close $file;
}

# A server by that clock. The monotonic one, which measures spans, goes on, as it does where a real clock is set.
sub make_server_by_clock
{
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{SET_CLOCK_FILE} = $clock;

	return make_server('main');
}

set_clock(0);
my $node = make_server_by_clock();
make_database($node, 'db');

sub run { return $node->safe_psql('db', $_[0]) }

# Reports success; returns the state that the event has then.
sub finish
{
	my ($event_id, $permit) = @_;

	run("SELECT evq_succeed('$event_id', $permit)");
	return state_of($node, 'db', $event_id);
}

# Waits until the event is on offer, and takes it; returns the permit.
sub acquire
{
	my ($event_id, $permit_for) = @_;

	return poll_until("a permit for $event_id", sub { run("SELECT permit FROM evq_acquire('$event_id', permit_for => '$permit_for')") });
}

run(q{SELECT evq_configure_flow('FLOW', dispatch_timeout => '1 s');
	SELECT evq_configure('again', 'FLOW', max_attempts => 3, lifespan => '10 days', attempt_delays => '{0, 1 s, 6 hours}')});
my $earlier = publish($node, 'db');
my $permit = acquire($earlier, '1 hour');

# ---------- back ----------

my $before = run('SELECT now()');
set_clock(-24 * 60 * 60);
is(run("SELECT now() < '$before'::timestamptz - interval '23 hours'"), 't', 'the clock is back by a day');

ok(is_dispatching($node, 'db'), 'an event published then is dispatched');
ok(is_dispatching($node, 'db'), 'the next one, too') for 1 .. 2;

my $again = run(q{SELECT evq_publish('again', 'FLOW', 'case')});
run("SELECT evq_fail('$again', 'no', @{[ acquire($again, '1 hour') ]})");
my $second = acquire($again, '1 s');
ok($second, 'a failed event has its second attempt, a second later');
ok(wait_for_state($node, 'db', $again, 'awaiting_processing'), '... whose permit runs out in time');
ok(run("SELECT attempt_scheduled_at < '$before' FROM evq.events WHERE event_id = '$again'") eq 't', '... and the third is hours away');

is(finish($earlier, $permit), 'succeeded', 'a permit of before is still good');

# ---------- forward ----------

set_clock(0);
my $third = acquire($again, '1 hour');
ok($third, 'when the clock is put right, what was hours away is due');
isnt(($node->psql('db', "SELECT evq_succeed('$again', $second)"))[0], 0, 'the permit that ran out stays void');
is(finish($again, $third), 'succeeded', 'the last one is good');
ok(is_dispatching($node, 'db'), 'new events are dispatched');
is(run(q{SELECT count(*), count(DISTINCT event_id) FROM evq.event_history WHERE state = 'succeeded'}), '2|2', 'each has succeeded once');

# ---------- back, and a dispatcher that was not there before ----------

# In each of these flows one event holds up the next; in the last one nothing does, and so it tells that all flows had their turn.
run(q{SELECT evq_configure_flow('LINE', ordered => true), evq_configure_flow('ONE', max_processing => 1), evq_configure_flow('OTHER', max_processing => 1);
	SELECT evq_configure('step', 'LINE'), evq_configure('single', 'ONE'), evq_configure('other', 'OTHER')});
sub publish_as { return run("SELECT evq_publish('$_[0]', NULL, 'case')") }
my %holder = map { $_ => publish_as($_) } qw(step single);
my %held = map { $_ => acquire($holder{$_}, '10 hours') } sort keys %holder;

set_clock(-2 * 60 * 60);
my $gone = dispatcher_pid($node, 'db');
run("SELECT pg_terminate_backend($gone)");
wait_for_dispatcher($node, 'db', $gone);
my %next = map { $_ => publish_as($_) } qw(step single);
ok(wait_for_state($node, 'db', publish_as('other'), 'dispatched'), 'a new dispatcher gives turns by a clock that went back');
is(state_of($node, 'db', $next{step}), 'awaiting_processing', '... but none beside an event of the flow_id that is in processing since a later time');
is(state_of($node, 'db', $next{single}), 'awaiting_processing', '... nor beyond max_processing');
stop_engine($node);
run('SELECT evq_tick()');
is(state_of($node, 'db', $next{$_}), 'awaiting_processing', "... nor does evq_tick(): $_") for sort keys %next;
start_engine($node, 'db');
is(finish($holder{$_}, $held{$_}), 'succeeded', "the one before it succeeds: $_") for sort keys %holder;
ok(wait_for_state($node, 'db', $next{$_}, 'dispatched'), '... and the next one has its turn') for sort keys %next;
set_clock(0);

# ---------- far ahead ----------

# One that sleeps so long that the dispatcher does not remember it.
my $asleep = run(q{SELECT evq_publish('again', 'FLOW', 'case')});
run("SELECT evq_suspend('$asleep', @{[ acquire($asleep, '1 hour') ]}, '2 hours')");
set_clock(3 * 60 * 60);
run(q{SELECT evq_configure_flow('FLOW')});    # all are looked at
ok(wait_for_state($node, 'db', $asleep, 'expired'), 'a long suspension times out when its time has come');

# ---------- back, while no dispatcher is there ----------

$node->safe_psql('postgres', q{ALTER SYSTEM SET evq.poll_interval = '5s'; SELECT pg_reload_conf()});
my $launcher = run(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'evq launcher'});

# How often has the launcher gone to sleep?
sub sleeps { return (PostgreSQL::Test::Utils::slurp_file("/proc/$launcher/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m)[0] }

# A dispatcher that does not last starts again after a pause that grows: in the fourth the launcher has found out when, and stands still.
my $slept;
for my $time (1 .. 4)
{
	$gone = wait_for_dispatcher($node, 'db', $gone);
	$slept = sleeps();
	run("SELECT pg_terminate_backend($gone)");
	wait_for_no_dispatcher($node, 'db');
}
poll_until('the launcher has seen it go, and sleeps', sub {
	my $before = $slept;

	return ($slept = sleeps()) == $before;
});
kill 'STOP', $launcher or die "no launcher $launcher";
set_clock(0);
kill 'CONT', $launcher;
ok(wait_for_dispatcher($node, 'db', $gone), 'what was to start at a time that is far away again starts soon');
ok(is_dispatching($node, 'db'), '... and works');

$node->stop;
done_testing();
