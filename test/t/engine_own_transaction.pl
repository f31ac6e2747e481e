# A session's own events, before it commits, where a dispatcher is at work: evq_acquire_next() gives them, in the order of
# their flow and within its limits, in each isolation level. And what transactions that keep a snapshot find of the others'.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;

my $node = make_server('main');
make_database($node, 'db');
my $one = session($node, 'db');
my $two = session($node, 'db');

sub run { return $one->query_safe($_[0]) }

run(q{
	SELECT evq_configure_flow('PULL', delivery => 'pull'), evq_configure_flow('ORDERED', ordered => true), evq_configure_flow('LIMITED', max_processing => 2);
	SELECT evq_configure('push', 'PUSH', lifespan => '1 day'), evq_configure('pull', 'PULL', lifespan => '1 day'),
		evq_configure('ordered', 'ORDERED', lifespan => '1 day', attempt_delays => '{0}'), evq_configure('limited', 'LIMITED', lifespan => '1 day')});

# ---------- each kind of flow ----------

for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	for my $flow ('PUSH', 'PULL', 'ORDERED', 'LIMITED')
	{
		my $type = lc $flow;

		is(run(qq{BEGIN ISOLATION LEVEL $level;
			SELECT evq_publish('$type', NULL, 'late', run_at => now() + interval '1 hour'), evq_publish('$type', NULL, 'low', priority => -1::smallint),
				evq_publish('$type', NULL, 'high', priority => 1::smallint) \\g /dev/null
			SELECT string_agg(flow_id, ' ') FROM evq_acquire_next('$flow', 10); ROLLBACK}), 'high low', "$level, $flow: what is due, by priority");
	}
}
is(run('SELECT count(*) FROM evq.event'), 0, 'nothing is left of them');
for my $level ('READ COMMITTED', 'REPEATABLE READ')
{
	is(run(qq{BEGIN ISOLATION LEVEL $level; SET LOCAL evq.store_batches_from = 1;
		SELECT i FROM (VALUES ('low', -1), ('high', 1)) v (n, p), evq_publish_many('pull', NULL, ARRAY[n || 'a', n || 'b'], ARRAY[jsonb '1', '2'], priority => p) i \\g /dev/null
		SELECT string_agg(flow_id, ' ') FROM evq_acquire_next('PULL', 10); ROLLBACK}), 'higha highb lowa lowb', "$level: of batches, too");
}

is(run(q{BEGIN; SELECT evq_publish('ordered', NULL, 'a', '1'), evq_publish('ordered', NULL, 'a', '2'), evq_publish('ordered', NULL, 'b', '1') \g /dev/null
	SELECT string_agg(flow_id || payload, ' ') FROM evq_acquire_next('ORDERED', 10);
	SELECT evq_succeed(event_id) FROM evq.events WHERE flow_id = 'a' AND state = 'being_processed' \g /dev/null
	SELECT string_agg(flow_id || payload, ' ') FROM evq_acquire_next('ORDERED', 10); ROLLBACK}), "a1 b1\na2", 'ordered: one of a flow_id at a time');
is(run(q{BEGIN; SELECT evq_publish('limited', NULL, n::text) FROM generate_series(1, 5) n \g /dev/null
	SELECT count(*) FROM evq_acquire_next('LIMITED', 10); ROLLBACK}), 2, 'max_processing: no more than that');
is(run(q{BEGIN; SELECT evq_publish('ordered', NULL, 'a') \g /dev/null
	SELECT attempt FROM evq_acquire_next('ORDERED'); SELECT evq_fail(event_id, 'no') FROM evq.event \g /dev/null
	SELECT attempt FROM evq_acquire_next('ORDERED'); ROLLBACK}), "1\n2", 'a second attempt, too');
is(run(q{BEGIN; SELECT evq_publish('ordered', NULL, 'a') \g /dev/null
	SAVEPOINT s; SELECT count(*) FROM evq_acquire_next('ORDERED'); ROLLBACK TO s;
	SELECT count(*) FROM evq_acquire_next('ORDERED'); SELECT count(*) FROM evq_acquire_next('ORDERED'); ROLLBACK}), "1\n1\n0", 'savepoints');
is(run(q{BEGIN; SAVEPOINT s; SELECT evq_publish('ordered', NULL, 'a') \g /dev/null
	ROLLBACK TO s; SELECT count(*) FROM evq_acquire_next('ORDERED'); ROLLBACK}), 0, 'what a savepoint took back is not there');
is(run(q{SET evq.max_pending_per_transaction = 2; BEGIN; SELECT evq_publish('ordered', NULL, n::text) FROM generate_series(1, 5) n \g /dev/null
	SELECT count(*) FROM evq_acquire_next('ORDERED', 10); ROLLBACK; RESET evq.max_pending_per_transaction}), 5,
	'more changes than are remembered');
is(run(q{BEGIN; SELECT evq_publish('ordered', NULL, 'a') \g /dev/null
	SELECT count(*) FROM evq_acquire_next('ORDERED', 10, ARRAY['ordered']);
	SELECT evq_publish('push', NULL, 'a') \g /dev/null
	SELECT count(*) FROM evq_acquire_next('ORDERED', 10); ROLLBACK}), "1\n0", 'of the flow and the types asked for');
is(run(q{SELECT evq_suspend_event_type('ordered') \g /dev/null
	BEGIN; SELECT evq_publish('ordered', NULL, 'a') \g /dev/null
	SELECT count(*) FROM evq_acquire_next('ORDERED', 10); ROLLBACK; SELECT evq_unsuspend_event_type('ordered') \g /dev/null}), 0, 'none of a suspended type');

# ---------- order between the session and the dispatcher ----------

sub state_of_flow_id
{
	my ($flow_id, $payload) = @_;

	return run("SELECT state FROM evq.events JOIN evq.payloads USING (event_id) WHERE flow_id = '$flow_id' AND payload = '$payload'");
}

for my $end ('ROLLBACK', 'COMMIT')
{
	is($two->query_safe(qq{BEGIN; SELECT evq_publish('ordered', NULL, '$end', '1') \\g /dev/null
		SELECT count(*) FROM evq_acquire_next('ORDERED')}), 1, "$end: a session gives a turn to its own event");
	run("SELECT evq_publish('ordered', NULL, '$end', '2')");
	my $canary = publish($node, 'db');
	ok(wait_for_state($node, 'db', $canary, 'dispatched'), '... the dispatcher goes on');
	is(state_of_flow_id($end, 2), 'awaiting_processing', '... but nobody else has a turn in this flow');
	$two->query_safe($end);
	if ($end eq 'COMMIT')
	{
		my $later = run("SELECT evq_publish('ordered', NULL, 'another')");
		ok(wait_for_state($node, 'db', $later, 'dispatched'), '... until it commits');
		is(state_of_flow_id($end, 2), 'awaiting_processing', '... and of its flow_id nobody has, for its event is on its way');
		run("SELECT evq_succeed(event_id) FROM evq.events WHERE flow_id = '$end' AND state = 'being_processed'");
	}
	ok(poll_until('the second one', sub { state_of_flow_id($end, 2) eq 'dispatched' }), '... then the second one has');
	run('SELECT evq_cancel(event_id) FROM evq.event');
}

# The configuration is changed beside it: the dispatcher hears of the turns before it can give others.
is($two->query_safe(q{BEGIN; SELECT evq_configure('push', 'PUSH', lifespan => '2 days'); SELECT evq_publish('limited', NULL, n::text) FROM generate_series(1, 3) n \g /dev/null
	SELECT count(*) FROM evq_acquire_next('LIMITED', 10); COMMIT}) =~ s/^\s+//r, 2, 'a session that changes the configuration gives turns, too');
ok(wait_for_state($node, 'db', publish($node, 'db'), 'dispatched'), '... the dispatcher goes on');
is(run(q{SELECT count(*) FROM evq.events WHERE flow_type = 'LIMITED' AND state = 'awaiting_processing'}), 1, '... and the limit of the flow holds');
run('SELECT evq_cancel(event_id) FROM evq.event');

my $front = run(q{SELECT evq_publish('ordered', NULL, 'busy')});
wait_for_state($node, 'db', $front, 'dispatched');
is($two->query_safe(q{BEGIN; SELECT evq_publish('ordered', NULL, 'busy') \g /dev/null
	SELECT event_id FROM evq_acquire_next('ORDERED', 100); ROLLBACK}), $front, 'an event behind another one of its flow_id waits');

# ---------- transactions that keep a snapshot ----------

run(q{SELECT evq_cancel(event_id) FROM evq.event});
for my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	my $seen = run(q{SELECT evq_publish('pull', NULL, 'seen')});

	$two->query_safe("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM evq.event");
	run(q{SELECT count(evq_publish('pull', NULL, 'unseen', priority => 1::smallint)) FROM generate_series(1, 500)});
	is($two->query_safe(q{SELECT flow_id FROM evq_acquire_next('PULL')}), 'seen', "$level: the event that its snapshot sees is found among 500 others");
	is($two->query_safe(q{SELECT count(*) FROM evq_acquire_next('PULL')}), 0, '... which it does not see');
	$two->query_safe('COMMIT');
	my $others = 0;
	ok(poll_until('the others', sub { $others += run(q{SELECT count(*) FROM evq_acquire_next('PULL', 1000)}); $others == 500 }), '... and others get them');

	my $changed = run(q{SELECT evq_publish('pull', NULL, 'changed')});
	my $good = run(q{SELECT evq_publish('pull', NULL, 'good')});
	$two->query_safe("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM evq.event");
	run(qq{SELECT evq_release(event_id, permit) FROM evq_acquire('$changed')});
	ok(poll_until('the offer', sub { $two->query_safe(q{SELECT flow_id FROM evq_acquire_next('PULL', 2)}) eq 'good' }),
		"$level: what has changed since the snapshot is passed over, without an error");
	$two->query_safe('COMMIT');
	ok(poll_until('the offer', sub { run(q{SELECT event_id FROM evq_acquire_next('PULL')}) eq $changed }), '... and had by others');
	run(q{SELECT evq_cancel(event_id) FROM evq.event});
}

end_session($_) for $one, $two;
$node->stop;
done_testing();
