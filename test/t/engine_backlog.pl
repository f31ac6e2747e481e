# A backlog of which the dispatcher remembers the beginning only: it reads on from there, in order, and what is urgent or
# of another flow does not wait for its end.
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

# Publishes so many events of a type, each scheduled a moment after the one before, numbered from 1 on.
sub publish_line
{
	my ($event_type, $count) = @_;

	run(qq{DO \$\$ BEGIN
		FOR i IN 1 .. $count LOOP PERFORM evq_publish('$event_type', NULL, i::text); COMMIT; END LOOP;
	END \$\$});
}

run(q{SELECT evq_configure_flow(flow, delivery => delivery, max_dispatched => 10)
		FROM (VALUES ('PULL', 'pull'), ('PUSH', 'push'), ('OTHER', 'pull')) f (flow, delivery);
	SELECT evq_configure(lower(flow), flow, attempt_delays => '{0}') FROM unnest('{PULL, PUSH, OTHER}'::text[]) flow});

for my $flow (qw(PULL PUSH))
{
	my @done;

	publish_line(lc $flow, 2000);
	ok(poll_until("$flow is done", sub { push @done, work($flow, 10) for 1 .. 50; @done >= 2000 }), "$flow: a backlog is read to its end");
	is(run("SELECT count(*) FROM evq.event"), 0, '... and nothing is left');
	is_deeply(\@done, [ 1 .. 2000 ], '... in its order');
}

# Many flows share the memory: none is forgotten.
run(q{SELECT evq_configure_flow('MANY_' || n, delivery => 'pull', max_dispatched => 10) FROM generate_series(1, 20) n;
	SELECT evq_configure('many_' || n, 'MANY_' || n, attempt_delays => '{0}') FROM generate_series(1, 20) n});
publish_line("many_$_", 100) for 1 .. 20;
my %done_of = map { $_ => [] } 1 .. 20;
ok(poll_until('the end', sub {
	for my $flow (1 .. 20) { push @{ $done_of{$flow} }, work("MANY_$flow", 10) }
	!grep { @$_ < 100 } values %done_of;
}), 'the backlogs of many flows are read to their ends');
is_deeply([ grep { "@{ $done_of{$_} }" ne join ' ', 1 .. 100 } 1 .. 20 ], [], '... in their order');

# Told while the memory is full, and in a transaction of which the dispatcher hears only that it should look.
for my $told ('evq.max_pending_per_transaction = 10000', 'evq.max_pending_per_transaction = 0')
{
	my @done;

	publish_line('pull', 2000);
	poll_until('a part', sub { push @done, work('PULL', 10) for 1 .. 10; @done >= 300 });
	run("SET $told");
	run(q{SELECT evq_publish('pull', NULL, 'urgent', priority => 1::smallint), evq_publish('other', NULL, 'other')});
	run('RESET evq.max_pending_per_transaction');
	my $other_after;
	ok(poll_until('the end', sub {
		for (1 .. 50)
		{
			push @done, work('PULL', 10);
			$other_after //= @done if work('OTHER', 1);
		}
		@done >= 2001;
	}), "$told: a backlog is read to its end, although more is published");
	my ($urgent_after) = grep { $done[$_] eq 'urgent' } 0 .. $#done;
	cmp_ok($urgent_after, '<', 1000, '... the urgent event overtakes it');
	cmp_ok($other_after, '<', 1000, '... and so does another flow');
	is_deeply([ grep { $_ ne 'urgent' } @done ], [ 1 .. 2000 ], '... which stays in order');
}

# Behind a backlog for which nobody comes, a lifespan ends all the same.
publish_line('pull', 2000);
run(q{SELECT evq_configure('brief', 'PULL', lifespan => '1 second', attempt_delays => '{0}')});
my $brief = run(q{SELECT evq_publish('brief', NULL, 'brief')});
ok(poll_until('the end of a lifespan', sub {
	run(q{SELECT evq_configure('other', 'OTHER', attempt_delays => '{0}')});    # then all events are looked at
	run("SELECT state FROM evq.events WHERE event_id = '$brief'") eq 'expired';
}), 'a lifespan ends in the middle of a backlog');
my @without;
poll_until('the end', sub { push @without, work('PULL', 10) for 1 .. 50; @without >= 2000 });
is_deeply(\@without, [ 1 .. 2000 ], '... which loses nothing else');

# ---------- a backlog that cannot go ----------

# More events of a suspended type than a near sweep reads, a minute old, so that what is new is not among them.
$node->append_conf('postgresql.conf', "evq.poll_interval = '100ms'");
$node->reload;
run(q{SELECT evq_configure('late', 'PULL', attempt_delays => '{0}'), evq_suspend_event_type('pull');
	SET evq.debug_clock_offset = -60});
publish_line('pull', 2000);
run('RESET evq.debug_clock_offset');
is(scalar(work('PULL', 10)), 0, 'what is of a suspended type cannot be had');
run('SET evq.debug_lose_wakeups = on');
run(q{SELECT evq_publish('late', NULL, 'late')});
run('RESET evq.debug_lose_wakeups');
my @late;
ok(poll_until('the event behind them', sub { @late = work('PULL', 10) }), 'an event behind them, of which nobody told, is found');
is_deeply(\@late, ['late'], '... and no other');

my @freed;
run(q{SELECT evq_unsuspend_event_type('pull')});
ok(poll_until('all of them', sub { push @freed, work('PULL', 10) for 1 .. 50; @freed >= 2000 }), 'all come when their type may go on');
is_deeply(\@freed, [ 1 .. 2000 ], '... in order');

# ---------- what sleeps for long ----------

# Bytes that the dispatcher has for what it remembers of events.
sub remembered
{
	my $offset = log_end($node);

	run("SELECT pg_log_backend_memory_contexts(dispatcher_pid) FROM evq_status()");
	wait_for_log($node, qr/evq tracked events: \d+ total/, $offset);
	my ($bytes) = PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset) =~ /evq tracked events: (\d+) total/;
	return $bytes;
}

my $before = remembered();
run(q{SELECT evq_configure('job', 'FLOW', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}')});
for (1 .. 60)
{
	run(q{SELECT count(*) FROM evq_publish_many('job', NULL, array_fill('case'::text, ARRAY[50]), array_fill('{}'::jsonb, ARRAY[50]))});
	my $suspended = 0;
	poll_until('suspended ones', sub { ($suspended += run(q{SELECT count(evq_suspend(event_id, permit)) FROM evq_acquire_next('FLOW', 50)})) == 50 });
}
is(run(q{SELECT count(*) FROM evq.event WHERE state = 'u'}), 3000, 'many are suspended for a day');
cmp_ok(remembered() - $before, '<', 3000 * 100, '... and not remembered meanwhile');
my $one = run(q{SELECT event_id FROM evq.event LIMIT 1});
run("SELECT evq_activate('$one')");
ok(poll_until('its offer', sub { run("SELECT event_id FROM evq_acquire_next('FLOW')") eq $one }), '... but offered when they are activated');

end_session($session);
$node->stop;
done_testing();
