# Backlogs longer than what the dispatcher remembers: priorities hold in them, and one whose events are all due at the same
# instant is read once.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;

# The sweep is so rare that nothing here is its work.
my $node = make_server('main', "evq.max_tracked = 100\nevq.poll_interval = '1h'");
make_database($node, 'db');
my $session = session($node, 'db');

sub run { return $session->query_safe($_[0]) }

# Acquires and finishes up to so many events of a flow; their flow_ids in the order of acquisition.
sub work
{
	my ($flow, $count) = @_;

	return split /\n/, run("SELECT flow_id FROM evq_acquire_next('$flow', $count) a, evq_succeed(a.event_id, a.permit)");
}

# Works until so many events are done; their flow_ids.
sub work_off
{
	my ($flow, $count) = @_;
	my @done;

	poll_until('the end', sub { push @done, work($flow, 10) for 1 .. 20; @done >= $count });
	return @done;
}

sub publish_many
{
	my ($event_type, $flow_id, $count, $priority) = @_;

	run("SELECT count(*) FROM evq_publish_many('$event_type', NULL, array_fill('$flow_id'::text, ARRAY[$count]), array_fill('{}'::jsonb, ARRAY[$count]),
		priority => @{[ $priority // 0 ]}::smallint)");
}

run(q{SELECT evq_configure_flow('PULL', delivery => 'pull', max_dispatched => 10), evq_configure_flow('PUSH', max_dispatched => 10);
	SELECT evq_configure('pull', 'PULL', lifespan => '1 day', attempt_delays => '{0}'), evq_configure('push', 'PUSH', lifespan => '1 day', attempt_delays => '{0}')});

# ---------- priorities ----------

# All are there before any is offered.
for my $flow ('PULL', 'PUSH')
{
	my $type = lc $flow;

	run("SELECT evq_suspend_event_type('$type')");
	run(qq{DO \$\$ BEGIN
		FOR i IN 1 .. 1500 LOOP PERFORM evq_publish('$type', NULL, i::text, priority => (ARRAY[5, -1, 0, 1, 5])[1 + i % 5]::smallint); COMMIT; END LOOP;
	END \$\$});
	run("SELECT evq_unsuspend_event_type('$type')");
	my @priority = (5, -1, 0, 1, 5);
	my @wanted = sort { $priority[ $b % 5 ] <=> $priority[ $a % 5 ] or $a <=> $b } 1 .. 1500;
	is_deeply([ work_off($flow, 1500) ], \@wanted, "$flow: a backlog of several priorities goes by them, and within each by time");
}

# ... and, where priorities rise while events wait, by both: published at times of before, one a second.
run(q{SELECT evq_configure_flow('PULL', priority_step => '100 s'), evq_configure_flow('PUSH', priority_step => '100 s')});
for my $flow ('PULL', 'PUSH')
{
	my $type = lc $flow;

	run("SELECT evq_suspend_event_type('$type')");
	run(qq{DO \$\$ BEGIN
		FOR i IN 1 .. 1500 LOOP
			PERFORM set_config('evq.debug_clock_offset', (i - 1600)::text, false);
			PERFORM evq_publish('$type', NULL, i::text, priority => (ARRAY[5, -1, 0, 1, 5])[1 + i % 5]::smallint);
			COMMIT;
		END LOOP;
	END \$\$; RESET evq.debug_clock_offset});
	my $wanted = run(q{SELECT string_agg(flow_id, ' ' ORDER BY attempt_scheduled_at - priority * interval '100 s') FROM evq.events WHERE state = 'awaiting_processing'});
	run("SELECT evq_unsuspend_event_type('$type')");
	is_deeply([ work_off($flow, 1500) ], [ split / /, $wanted ], "$flow: ... by what they are with a priority_step");
}
# Those on offer are overtaken as well.
run(q{SELECT evq_suspend_event_type('pull')});
publish_many('pull', 'low', 100, 0);
run(q{SELECT evq_unsuspend_event_type('pull')});
poll_until('offers', sub { @{ [ work('PULL', 1) ] } });
run(q{SELECT evq_publish('pull', NULL, 'high', priority => 1::smallint)});
my @rising = work_off('PULL', 99 + 1);
my ($overtakes) = grep { $rising[$_] eq 'high' } 0 .. $#rising;
cmp_ok($overtakes, '<', 50, 'one that is more urgent overtakes what is on offer');
run(q{SELECT evq_configure_flow('PULL', priority_step => '0'), evq_configure_flow('PUSH', priority_step => '0')});

# While another flow has work that nobody comes for, and the least urgent are the first in line.
publish_many('push', 'left', 50);
run("SELECT evq_suspend_event_type('pull')");
publish_many('pull', 'low', 1500, 1);
publish_many('pull', 'high', 10, 2);
run("SELECT evq_unsuspend_event_type('pull')");
is_deeply([ (work_off('PULL', 1510))[ 0 .. 10 ] ], [ ('high') x 10, 'low' ], 'the most urgent of what is available again goes first, whatever other work there is');
is(scalar(work_off('PUSH', 50)), 50, '... which goes as well');

# Told while the memory is full of others, in rows or in a batch.
for my $case ([ 1, 2, 8 ], [ -5, 0, 0 ], [ 3, 4, 8 ], [ 3, 4, 0 ])
{
	my ($low, $high, $batches_from) = @$case;

	run("SET evq.store_batches_from = $batches_from");
	publish_many('pull', 'low', 600, $low);
	poll_until('offers', sub { @{ [ work('PULL', 1) ] } });
	run("SELECT count(evq_publish('pull', NULL, 'high', priority => $high\::smallint)) FROM generate_series(1, 150)");
	my @done = work_off('PULL', 749);
	my ($last) = grep { $done[$_] eq 'high' } reverse 0 .. $#done;
	cmp_ok($last, '<', 190, "150 events of priority $high overtake 600 of priority $low that were there before, " . ($batches_from > 0 ? 'in a batch' : 'in rows'));
	is(scalar(@done), 749, '... of which none is lost');
}

# A dispatcher that starts anew, before a backlog.
publish_many('pull', 'low', 600, 1);
poll_until('offers', sub { @{ [ work('PULL', 1) ] } });
run('SET evq.debug_lose_wakeups = on');
run(q{SELECT evq_publish('pull', NULL, 'high', priority => 2::smallint)});
run('RESET evq.debug_lose_wakeups');
my $pid = dispatcher_pid($node, 'db');
run("SELECT pg_terminate_backend($pid)");
wait_for_dispatcher($node, 'db', $pid);
my @done = work_off('PULL', 600);
my ($place) = grep { $done[$_] eq 'high' } 0 .. $#done;
cmp_ok($place, '<', 50, 'it finds the one of high priority at the end');
is(scalar(@done), 600, '... and all others');

# ---------- one instant ----------

run(q{SELECT count(*) FROM evq_publish_many('pull', NULL, (SELECT array_agg(n::text ORDER BY n) FROM generate_series(1, 5000) n), array_fill('{}'::jsonb, ARRAY[5000]))});
is(run('SELECT count(DISTINCT attempt_scheduled_at) FROM evq.event'), 1, 'thousands are due at the same instant');
is_deeply([ work_off('PULL', 5000) ], [ 1 .. 5000 ], '... and go in the order of publishing');
run('RESET evq.store_batches_from');
run(q{SELECT count(*) FROM evq_publish_many('pull', NULL, (SELECT array_agg(n::text ORDER BY n) FROM generate_series(1, 5000) n), array_fill('{}'::jsonb, ARRAY[5000]))});
is(run('SELECT sum(events), count(DISTINCT attempt_scheduled_at) FROM evq.backlog'), '5000|1', 'the same in batches');
is_deeply([ work_off('PULL', 5000) ], [ 1 .. 5000 ], '... go in the order of publishing, too');
run('SET evq.store_batches_from = 0');

# Nobody comes for these. Somewhere behind them is one whose lifespan is over, which a far sweep finds.
run(q{SELECT evq_configure('brief', 'PUSH', lifespan => '1 s', attempt_delays => '{0}')});
publish_many('push', 'many', 10_000);
ok(poll_until('offers', sub { run(q{SELECT count(*) FROM evq.event WHERE state = 'd'}) == 10 }), 'a flow is full');
run('SET evq.debug_lose_wakeups = on');
my $brief = run(q{SELECT evq_publish('brief', NULL, 'brief')});
run('RESET evq.debug_lose_wakeups');
poll_until('the end of its lifespan', sub { run(qq{SELECT due_at < now() FROM evq.events WHERE event_id = '$brief'}) eq 't' });
my $turns = run('SELECT turns FROM evq_status()');
run(q{SELECT evq_configure('more', 'FLOW')});    # then all events are looked at
ok(poll_until('its end', sub { run("SELECT state FROM evq.events WHERE event_id = '$brief'") eq 'expired' }), '... and read to its end');
cmp_ok(run('SELECT turns FROM evq_status()') - $turns, '>', 12, '... in many turns, between which others have theirs');
run('SELECT count(evq_cancel(event_id)) FROM evq.event');

# The index of a database that was not upgraded yet.
run(q{DROP INDEX evq.event_flow_no_attempt_scheduled_at_idx; CREATE INDEX event_flow_no_attempt_scheduled_at_idx ON evq.event (flow_no, attempt_scheduled_at)});
publish_many('pull', 'many', 1000);
is(scalar(work_off('PULL', 1000)), 1000, 'with the index of 0.2 all go as well');

end_session($session);
$node->stop;
done_testing();
