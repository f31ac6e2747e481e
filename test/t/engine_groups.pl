# A group at its limit of which far more waits than the dispatcher remembers: it hides no other, and is read on in its order.
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

# Publishes so many events of a group, each scheduled a moment after the one before, numbered from the first on.
sub publish_line
{
	my ($group, $first, $last) = @_;

	run(qq{DO \$\$ BEGIN
		FOR i IN $first .. $last LOOP PERFORM evq_publish('step', NULL, '$group/' || i); COMMIT; END LOOP;
	END \$\$});
}

# Acquires up to so many events; their flow_ids in the order of acquisition.
sub take { return split /\n/, run("SELECT flow_id FROM evq_acquire_next('GROUPS', $_[0])") }

# The same, and finishes them.
sub work
{
	return split /\n/, run("SELECT flow_id FROM evq_acquire_next('GROUPS', $_[0]) a, evq_succeed(a.event_id, a.permit)");
}

# Does one of these until there is something to be had.
sub some
{
	my ($code, $count) = @_;

	return poll_until('some', sub { my @some = $code->($count); @some && \@some });
}

# Waits until an event is to be had, and finishes it.
sub work_on
{
	my ($flow_id) = @_;

	return poll_until($flow_id, sub { grep { $_ eq $flow_id } work(1) });
}

sub end_dispatcher
{
	my $pid = dispatcher_pid($node, 'db');

	run("SELECT pg_terminate_backend($pid)");
	return wait_for_dispatcher($node, 'db', $pid);
}

run(q{SELECT evq_configure_flow('GROUPS', delivery => 'pull', group_by => 'flow_id/1', max_processing_per_group => 1);
	SELECT evq_configure('step', 'GROUPS', attempt_delays => '{0}', attempt_timeout => '1 hour', lifespan => '1 day')});

publish_line('big', 1, 1500);
is_deeply(some(\&take, 10), ['big/1'], 'one of a group is to be had');
for my $n (1 .. 5)
{
	publish_line('small', $n, $n);
	ok(work_on("small/$n"), "another group's event goes, behind those of a group at its limit ($n)");
}
is(run("SELECT count(*) FROM evq.event WHERE state = 'd'"), 0, '... of which none is dispatched');
is(run("SELECT waiting FROM evq.groups WHERE group_key = 'big'"), 1499, '... and all others wait');

end_dispatcher();
publish_line('small', 6, 6);
ok(work_on('small/6'), "after a restart of the dispatcher another group's event goes");
$node->restart;
wait_for_dispatcher($node, 'db');
$session = session($node, 'db');
publish_line('small', 7, 7);
ok(work_on('small/7'), '... and after one of the server');

# Events that nobody told of, in a transaction too large for that.
run('SET evq.max_pending_per_transaction = 0');
publish_line('big', 1501, 1600);
run('RESET evq.max_pending_per_transaction');

# It is read on in its order; the last of what waits may go meanwhile.
my @done;
run(q{SELECT count(evq_succeed(event_id)) FROM evq.events WHERE state = 'being_processed';
	SELECT evq_cancel(event_id) FROM evq.event WHERE flow_id = 'big/1600'});
ok(poll_until('the end', sub { push @done, work(1) for 1 .. 50; @done >= 1598 }), 'the group is read on');
is_deeply(\@done, [ map { "big/$_" } 2 .. 1599 ], '... to its end, in its order');
is(run('SELECT count(*) FROM evq.event'), 0, '... and nothing is left');

# What is urgent in a group does not wait for what was left of it before.
publish_line('big', 1, 300);
poll_until('a first', sub { take(1) });
run(q{SELECT evq_publish('step', NULL, 'big/urgent', priority => 1::smallint)});
is_deeply([ take(1) ], [], 'what is urgent waits for room in its group');
run(q{SELECT count(evq_succeed(event_id)) FROM evq.events WHERE state = 'being_processed'});
is_deeply(some(\&work, 1), ['big/urgent'], '... and goes first then');
run(q{SELECT count(evq_cancel(event_id)) FROM evq.event});

# More groups than are remembered, each with more than it may have at a time: all come to their ends, each in its order.
run(q{DO $$ BEGIN FOR i IN 1 .. 4 LOOP FOR g IN 1 .. 250 LOOP PERFORM evq_publish('step', NULL, g || '/' || i); COMMIT; END LOOP; END LOOP; END $$});
my %done;
my $count = 0;
ok(poll_until('the end', sub {
	for my $flow_id (map { work(50) } 1 .. 10)
	{
		my ($group, $n) = split m{/}, $flow_id;

		push @{ $done{$group} }, $n;
		$count++;
	}
	$count >= 1000;
}), 'more groups than are remembered are read to their ends');
is_deeply([ grep { "@{ $done{$_} // [] }" ne '1 2 3 4' } 1 .. 250 ], [], '... each in its order');

# The limit is taken away while most of a group is in the table alone.
publish_line('big', 1, 500);
poll_until('a first', sub { take(1) });
run(q{SELECT evq_configure_flow('GROUPS', max_processing_per_group => 0)});
@done = ();
ok(poll_until('the end', sub { push @done, work(10) for 1 .. 10; @done >= 499 }), 'a limit that is taken away hides nothing');
is_deeply([ sort { $a <=> $b } map { m{/(\d+)$} } @done ], [ 2 .. 500 ], '... and repeats nothing');

$session->quit;
$node->stop;
done_testing();
