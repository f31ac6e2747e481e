# A dispatcher that starts anew, by a restart or because the last one ended: what it does not know yet counts, and what is
# far ahead is not forgotten.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;

# The sweep is so rare that nothing here is its work.
my $node = make_server('main', "evq.max_tracked = 100\nevq.poll_interval = '1h'");
make_database($node, 'db');

sub run { return $node->safe_psql('db', $_[0]) }

sub end_dispatcher
{
	my $pid = dispatcher_pid($node, 'db');

	run("SELECT pg_terminate_backend($pid)");
	return wait_for_dispatcher($node, 'db', $pid);
}

# Moves the dispatcher's clock.
sub move_clock
{
	my ($seconds) = @_;

	return $node->safe_psql('postgres', "ALTER SYSTEM SET evq.debug_clock_offset = $seconds; SELECT pg_reload_conf()");
}

# ---------- far ahead ----------

for my $how ('told', 'after a restart')
{
	my $far = publish($node, 'db', "run_at => clock_timestamp() + interval '3 min'");
	my $farther = publish($node, 'db', "run_at => clock_timestamp() + interval '20 min'");

	if ($how ne 'told')
	{
		$node->restart;
		wait_for_dispatcher($node, 'db');
	}
	# It goes to sleep: whatever it has to read at its start is read.
	ok(is_dispatching($node, 'db'), "$how: the dispatcher works");
	is(state_of($node, 'db', $far), 'awaiting_processing', '... an event due in minutes waits');
	run("SELECT evq_cancel(event_id) FROM evq.event WHERE state = 'd'");
	move_clock(200);
	ok(wait_for_state($node, 'db', $far, 'dispatched'), '... and is dispatched when it is due');
	is(state_of($node, 'db', $farther), 'awaiting_processing', '... and no other');
	move_clock(1300);
	ok(wait_for_state($node, 'db', $farther, 'dispatched'), '... which follows in its time');
	run("SELECT evq_cancel(event_id) FROM evq.event");
	move_clock(0);
}

# ---------- limits and order before all was seen ----------

# More events wait than are read in a turn, and those on their way are behind all of them.
run(q{SELECT evq_configure_flow('LIMITED', max_processing => 2), evq_configure_flow('ORDERED', ordered => true), evq_configure_flow('PULL', delivery => 'pull');
	SELECT evq_configure('limited', 'LIMITED', lifespan => '1 day'), evq_configure('ordered', 'ORDERED', lifespan => '1 day', attempt_delays => '{0}', max_attempts => 1),
		evq_configure('pull', 'PULL', lifespan => '1 day');
	SELECT evq_publish('limited', NULL, 'first') FROM generate_series(1, 2)});
my $limited = q{SELECT string_agg(flow_id, ' ' ORDER BY event_id DESC) FROM evq.events WHERE flow_type = 'LIMITED' AND state IN ('dispatched', 'being_processed')};
my $acquired = 0;
ok(poll_until('both', sub { ($acquired += run(q{SELECT count(*) FROM evq_acquire_next('LIMITED', 2)})) == 2 }), 'two events are in processing, as many as may be');
run(q{SET evq.debug_clock_offset = -60;
	SELECT count(*) FROM evq_publish_many('limited', NULL, array_fill('more'::text, ARRAY[25000]), array_fill('{}'::jsonb, ARRAY[25000]))});
end_dispatcher();
# Order is kept only when all was seen: an event of an ordered flow tells of that.
my $canary = run(q{SELECT evq_publish('ordered', NULL, gen_random_uuid()::text)});
ok(wait_for_state($node, 'db', $canary, 'dispatched'), 'a new dispatcher has seen all');
is(run($limited), 'first first', '... and has not let others go beside them');
run(q{SELECT evq_succeed(event_id) FROM evq.events WHERE flow_id = 'first' LIMIT 1});
ok(poll_until('the next one', sub { run($limited) eq 'first more' }), '... until there is room');
run(q{TRUNCATE evq.event});
end_dispatcher();

# While it cannot look at the tables, what is published is not put before what it does not know.
run(q{SELECT evq_publish('pull', NULL, 'first')});
my $index = 'event_flow_no_attempt_scheduled_at_idx';
run("ALTER INDEX evq.$index RENAME TO hidden");
end_dispatcher();
ok(poll_until('its first tries', sub { run('SELECT errors FROM evq_status()') >= 3 }), 'a new dispatcher cannot look at the tables');
run(q{SELECT evq_publish('pull', NULL, 'second')});
my (undef, undef, $error) = $node->psql('db', q{SELECT flow_id FROM evq_acquire_next('PULL')});
like($error, qr/index evq.$index does not exist/, '... nor can a worker, who is told so instead of having what was published then');
run("ALTER INDEX evq.hidden RENAME TO $index");
is(run(q{SELECT flow_id FROM evq_acquire_next('PULL')}), 'first', '... and then has what was there before');
run(q{SELECT evq_cancel(event_id) FROM evq.event});

# Before a new dispatcher has had its first turn, a worker finds what is in the tables.
my $turn = session($node, 'db');
$turn->query_safe('BEGIN; SELECT evq_tick()');
run(q{SET evq.debug_lose_wakeups = on; SELECT evq_publish('pull', NULL, 'unread')});
end_dispatcher();
is(run(q{SELECT flow_id FROM evq_acquire_next('PULL')}), 'unread', 'what a new dispatcher has not offered yet can be had');
$turn->query_safe('ROLLBACK');
end_session($turn);
run(q{SELECT evq_cancel(event_id) FROM evq.event});

# ---------- suspended events of ordered flows ----------

# An older event that is brought back waits for a younger one of its flow_id that is suspended.
my $older = run(q{SELECT evq_publish('ordered', NULL, 'x', '1')});
my $younger = run(q{SELECT evq_publish('ordered', NULL, 'x', '2')});
wait_for_state($node, 'db', $older, 'dispatched');
run("SELECT evq_fail('$older', 'no', permit, retryable => false) FROM evq_acquire('$older')");
wait_for_state($node, 'db', $younger, 'dispatched');
run("SELECT evq_suspend('$younger', permit, '1 day') FROM evq_acquire('$younger')");
for my $how ('told', 'a new dispatcher')
{
	if ($how eq 'told') { run("SELECT evq_retry('$older')") }
	else                { end_dispatcher() }
	$canary = run(q{SELECT evq_publish('ordered', NULL, gen_random_uuid()::text)});
	ok(wait_for_state($node, 'db', $canary, 'dispatched'), "$how: others go on");
	is(state_of($node, 'db', $older), 'awaiting_processing', '... an event waits for the suspended one of its flow_id');
}

# The suspended one ends without a word: what waits for it is not held up for ever.
run(qq{SET evq.debug_lose_wakeups = on; SELECT evq_cancel('$younger')});
run(q{SELECT evq_configure('more', 'FLOW')});    # then all events are looked at
ok(wait_for_state($node, 'db', $older, 'dispatched'), 'when the suspended one has gone unheard, the next one comes');

$node->stop;
done_testing();
