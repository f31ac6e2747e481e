# In a fair flow workers acquire the events of groups in turns, by weight; a group that has just got work is had within a round,
# whatever stands before it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;

my $node = make_server('main', "evq.max_tracked = 3000");
make_database($node, 'db');
my $session = session($node, 'db');

sub run { return $session->query_safe($_[0]) }

# As many events of a group, a transaction.
sub bring
{
	my ($group, $events) = @_;

	return run("SELECT count(*) FROM evq_publish_many('JOB', NULL, ARRAY(SELECT '$group/' || n FROM generate_series(1, $events) n),
		array_fill('{}'::jsonb, ARRAY[$events]))");
}

# The groups of the next events, in the order in which they are acquired; each is finished.
sub work
{
	my ($events) = @_;

	return split /\n/, run("SELECT split_part(a.flow_id, '/', 1) FROM evq_acquire_next('FAIR', $events) a, evq_succeed(a.event_id, a.permit)");
}

# So many of them, one after the other, waiting for the dispatcher.
sub work_on
{
	my ($events, $at_a_time) = @_;
	my @had;

	poll_until("$events events", sub {
		push @had, work($at_a_time) for 1 .. 20;
		@had >= $events;
	});
	return @had;
}

run(q{SELECT evq_configure_flow('FAIR', delivery => 'pull', group_by => 'flow_id/1', fair => true), evq_configure('JOB', 'FAIR', lifespan => '1 day')});

# ---------- weights ----------

run(q{SELECT evq_configure_group('FAIR', 'two', weight => 2), evq_configure_group('FAIR', 'five', weight => 5)});
bring('one', 8000);
bring('two', 8000);
bring('five', 8000);
my @had = (work_on(10000, 10))[ 0 .. 9999 ];
my %share = (one => 1 / 8, two => 2 / 8, five => 5 / 8);
for my $group (sort keys %share)
{
	my $had = grep { $_ eq $group } @had;

	cmp_ok(abs($had / @had / $share{$group} - 1), '<', 0.05, "group $group has its share of 10,000 events within 5 %") or diag("$had of " . @had);
}
run('SELECT count(evq_cancel(event_id)) FROM evq.event');

# ---------- who comes late ----------

# With a limit what is on offer can be counted.
run(q{SELECT evq_configure_flow('FAIR', max_processing => 100000, max_dispatched => 500)});

sub wait_for_window
{
	return poll_until('a window full of offers', sub { run(q{SELECT count(*) FROM evq.event WHERE state = 'd'}) == 500 });
}

my @late = map { "late$_" } 1 .. 9;

bring('big', 5000);
wait_for_window();
work(20);
bring($_, 3) for @late;
my @next = map { wait_for_window(); work(1) } 1 .. 31;
# One was on its way to the worker before they came.
is(scalar(keys %{ { map { $_ => 1 } grep { /late/ } @next[ 0 .. 10 ] } }), 9, 'groups that got work behind 5,000 events of another are had within a round') or diag("@next");
is(scalar(grep { /late/ } @next), 27, '... and take turns with it') or diag("@next");

# Who has been served does not gain by having nothing for a while.
run('SELECT count(evq_cancel(event_id)) FROM evq.event');
bring($_, 3000) for 'a', 'b';
work_on(100, 10);
run(q{SELECT count(evq_cancel(event_id)) FROM evq.event WHERE flow_id ~ '^b'});
work_on(500, 10);
bring('b', 3000);
my $returned = grep { $_ eq 'b' } (work_on(1500, 10))[ 0 .. 1499 ];
cmp_ok(abs($returned - 750), '<', 75, 'a group that had no work for a while has its share again, and catches nothing up') or diag($returned);

# ---------- switched while events wait ----------

run(q{SELECT evq_configure_flow('FAIR', fair => false)});
run('SELECT count(evq_cancel(event_id)) FROM evq.event');
bring($_, 1000) for 'a', 'b';
wait_for_window();
run(q{SELECT evq_configure_flow('FAIR', fair => true)});
my $rest = work_on(2000, 50);
is($rest, 2000, 'nothing is lost when a flow comes to be fair');
is(run('SELECT count(*) FROM evq.event'), 0, '... nor had twice');

done_testing();
