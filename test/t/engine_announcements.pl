# What sessions tell the dispatcher, where that goes wrong: the ring is full, or a commit is seen long before it is told of.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

# The sweep is so rare that nothing here is its work.
my $node = make_server('main', "evq.ring_size = 16\nevq.poll_interval = '1h'");
make_database($node, 'db');
my $session = session($node, 'db');

sub run { return $session->query_safe($_[0]) }

# ---------- a full ring ----------

my $overflows = run('SELECT ring_overflows FROM evq_status()');
my $pid = dispatcher_pid($node, 'db');
kill 'STOP', $pid;
run(q{DO $$ BEGIN FOR n IN 1 .. 60 LOOP PERFORM evq_publish('job', NULL, n::text); COMMIT; END LOOP; END $$});
kill 'CONT', $pid;
ok(poll_until('all', sub { run(q{SELECT count(*) FROM evq.event WHERE state = 'd'}) == 60 }), '60 transactions, and room for 15: all events are dispatched');
cmp_ok(run('SELECT ring_overflows FROM evq_status()'), '>', $overflows, '... for the ring says that it was full');

# That is said once: then there is nothing left to do.
run(q{SELECT evq_cancel(event_id) FROM evq.event});
ok(is_dispatching($node, 'db'), 'the dispatcher goes on');
run(q{SELECT evq_cancel(event_id) FROM evq.event});
my ($turns, $same) = (-1, 0);
ok(poll_until('quiet', sub {
	my $before = $turns;
	$turns = run('SELECT turns FROM evq_status()');
	$same = $turns == $before ? $same + 1 : 0;
	return $same == 20;
}), '... until nothing is left to do');

# What was ready, and is gone without a word, takes nobody's place on offer.
run(q{SELECT evq_configure_flow('FEW', delivery => 'pull', max_dispatched => 10); SELECT evq_configure('few', 'FEW'); SET evq.store_batches_from = 0});
run(q{SELECT count(*) FROM evq_publish_many('few', NULL, ARRAY(SELECT n::text FROM generate_series(1, 500) n), array_fill('{}'::jsonb, '{500}'))});
ok(is_dispatching($node, 'db'), '500 events of a flow that offers 10 are known');
run(q{SELECT evq_cancel(event_id) FROM evq.event; SELECT evq_publish('few', NULL, 'last')});
ok(poll_until('the offer', sub { run(q{SELECT string_agg(flow_id, ' ') FROM evq_acquire_next('FEW')}) eq 'last' }), '... and when all were canceled in one statement, the next one is on offer');
run(q{SELECT evq_cancel(event_id) FROM evq.event});

# ---------- commits that are seen before they are told of ----------

my $library = PostgreSQL::Test::Utils::tempdir() . '/hold_commit.so';
my $file = PostgreSQL::Test::Utils::tempdir() . '/hold';
# The private installation that the tests use has no headers.
my $major = int(run('SHOW server_version_num') / 10000);
my ($include) = grep { -f "$_/postgres.h" } $node->config_data('--includedir-server'), "/usr/include/postgresql/$major/server";
system_or_bail('gcc', '-shared', '-fPIC', "-I$include", '-o', $library, "$FindBin::Bin/lib/hold_commit.c");

my $slow = session($node, 'db');
$slow->query_safe("LOAD '$library'; SET hold_commit.file = '$file'");

# Publishes an event whose commit is held. more: further arguments of evq_publish().
sub publish_held
{
	my ($event_type, $more) = @_;

	open my $hold, '>', $file or die "$file: $!";
	close $hold;
	$slow->{stdin} .= "SELECT evq_publish('$event_type', NULL, 'held'@{[ $more // '' ]});\n";
	$slow->{run}->pump_nb;
	return poll_until('the row', sub { $slow->{run}->pump_nb; run(q{SELECT event_id FROM evq.event WHERE flow_id = 'held'}) });
}

sub release
{
	unlink $file;
	return $slow->query_safe('SELECT 1');
}

# The dispatcher meets an event, and hears that a worker has it, before it hears that it is new.
run(q{SELECT evq_configure_flow('PULL', delivery => 'pull', dispatch_timeout => '1 day'); SELECT evq_configure('pull', 'PULL', lifespan => '1 day', attempt_delays => '{0, 1 hour}')});
my $held = publish_held('pull');
ok($held, 'a commit is held');
run(q{SELECT evq_configure('more', 'FLOW')});    # then all events are looked at
ok(poll_until('the offer', sub { run(q{SELECT count(*) FROM evq_acquire_next('PULL', permit_for => '2 s')}) }), 'its event is had');
ok(is_dispatching($node, 'db'), '... as the dispatcher hears');
is(state_of($node, 'db', $held), 'being_processed', '... and is in processing');
release();
ok(is_dispatching($node, 'db'), 'then it hears that the event is new');
ok(wait_for_state($node, 'db', $held, 'awaiting_processing'), '... and has not forgotten the permit, which runs out');
run(q{SELECT evq_cancel(event_id) FROM evq.event});

# The live events are counted while a transaction that can be seen has not counted its own yet. They are due tomorrow: no turn
# changes what is counted.
sub live { return $node->safe_psql('db', q{SELECT coalesce(sum(value), 0) FROM evq.counters() WHERE name ~ '^live/'}) }
ok(poll_until('the counters', sub { live() == 0 }), 'nothing is counted');
my $tomorrow = q{, run_at => now() + interval '1 day'};
publish_held('job', $tomorrow);
run(qq{BEGIN; SELECT evq_publish('job', NULL, 'prepared'$tomorrow); PREPARE TRANSACTION 'p'});
run(q{COMMIT PREPARED 'p'});
ok(poll_until('the count', sub { live() == 2 }), 'the live events are counted while a transaction has not ended');
release();
ok(poll_until('the right count', sub { live() == 2 }), '... and once more when it has');

end_session($_) for $session, $slow;
$node->stop;
done_testing();
