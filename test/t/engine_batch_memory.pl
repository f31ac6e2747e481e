# What the dispatcher remembers of batches, where there is memory for few: what cannot go hides nothing behind it, what is
# urgent overtakes, what there was no memory for is read in its turn, and no turn ends more attempts than those of single events.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

# There is memory for 33 batches, and the sweep is so rare that nothing here is its work, unless it is asked for.
my $node = make_server('main', "evq.store_batches_from = 1", "evq.max_tracked = 100", "evq.poll_interval = '1h'");
make_database($node, 'db');
my $session = session($node, 'db');
sub run { return $session->query_safe($_[0]) }
run(q{
	SELECT evq_configure_flow('F', delivery => 'pull', max_dispatched => 20);
	SELECT evq_configure(t, 'F', lifespan => '1 day', attempt_timeout => '1 h', attempt_delays => '{0}', max_attempts => 100) FROM unnest('{free, stuck, other}'::text[]) t;
	CREATE FUNCTION batches(event_type text, first int, last int, priority smallint DEFAULT 0) RETURNS bigint LANGUAGE sql AS $$
		SELECT count(*) FROM generate_series(first, last) n CROSS JOIN LATERAL evq_publish_many(event_type, NULL, array_fill(n::text, '{4}'), array_fill('{}'::jsonb, '{4}'), priority => priority)
	$$;
	CREATE PROCEDURE clean() LANGUAGE sql AS $$
		TRUNCATE evq.event, evq.event_history, evq.event_error, evq.log, evq.batch, evq.backlog, evq.run, evq.exception
	$$});
sub work { my ($count) = @_; return split /\n/, run("SELECT flow_id FROM evq_acquire_next('F', $count) a, evq_succeed(a.event_id, a.permit)") }
sub distinct { my %seen; return grep { !$seen{$_}++ } @_ }
# All that is to be had, in order: the work of so many calls.
sub drain { my ($what, $count) = @_; my @done; ok(poll_until($what, sub { push @done, work(8) for 1 .. 20; @done >= $count }), $what) or diag(scalar(@done)); return @done }
sub look_at_all { return run(q{SELECT evq_configure('other', lifespan => '1 day')}) }

# ---------- a suspended type ----------

run(q{SELECT evq_suspend_event_type('stuck'), batches('stuck', 1, 200)});
is(scalar(work(8)), 0, 'of a suspended type nothing is had');
run(q{SELECT batches('free', 201, 260)});
my @done = drain('what is behind a suspended type is had', 240);
is_deeply([ distinct(@done) ], [ 201 .. 260 ], '... in its order');

# So it is for a dispatcher that begins with them, and for what nobody told of.
run(q{SELECT batches('free', 301, 340)});
my $pid = dispatcher_pid($node, 'db');
run("SELECT pg_terminate_backend($pid)");
wait_for_dispatcher($node, 'db', $pid);
is_deeply([ distinct(drain('... also when a dispatcher begins', 160)) ], [ 301 .. 340 ], '... in its order');
run(q{SET evq.debug_lose_wakeups = on; SELECT batches('free', 401, 410); RESET evq.debug_lose_wakeups});
look_at_all();
is_deeply([ distinct(drain('... and what nobody told of', 40)) ], [ 401 .. 410 ], '... in its order');

# A type that is suspended while its batches are remembered gives their place to others.
run(q{SELECT batches('other', 501, 600); SELECT evq_suspend_event_type('other'); SELECT batches('free', 601, 640)});
is_deeply([ distinct(drain('what comes after a type was suspended is had', 160)) ], [ 601 .. 640 ], '... in its order');
run(q{SELECT evq_unsuspend_event_type('other')});
is_deeply([ distinct(drain('the type goes on', 400)) ], [ 501 .. 600 ], '... in its order');

# So it is for who asks for some types only: what is on offer of a suspended one is in nobody's way.
run(q{SELECT batches('other', 651, 660), batches('free', 661, 662)});
ok(poll_until('offered', sub { run("BEGIN; SELECT count(*) FROM evq_acquire_next('F', 1); ROLLBACK") =~ /1/ }), 'a type is on offer');
is(scalar(() = run(q{SELECT flow_id FROM evq_acquire_next('F', 8, '{free}')}) =~ /\d+/g), 0, '... and fills it');
run(q{SELECT evq_suspend_event_type('other')});
my @other;
ok(poll_until('offered', sub { push @other, run(q{SELECT flow_id FROM evq_acquire_next('F', 8, '{free}') a, evq_succeed(a.event_id, a.permit)}) =~ /\d+/g; @other == 8 }), '... until it is suspended');
run(q{SELECT evq_unsuspend_event_type('other')});
is_deeply([ distinct(drain('it goes on', 40)) ], [ 651 .. 660 ], '... in its order');

# They expire, though there is no memory for all of them.
run(q{SELECT evq_configure('stuck', lifespan => '1 h'); SELECT batches('stuck', 701, 800)});
$node->safe_psql('postgres', q{ALTER SYSTEM SET evq.debug_clock_offset = '2 h'; SELECT pg_reload_conf()});
look_at_all();
ok(poll_until('expired', sub { run(q{SELECT count(*) FROM evq.events WHERE state = 'expired'}) == 1200 }), 'what is suspended expires')
	or diag(run('SELECT event_type, state, count(*) FROM evq.events GROUP BY 1, 2'));
$node->safe_psql('postgres', 'ALTER SYSTEM RESET evq.debug_clock_offset; SELECT pg_reload_conf()');
run(q{CALL clean(); SELECT evq_configure('stuck', lifespan => '1 day'); SELECT batches('stuck', 1, 200)});
run(q{SELECT evq_unsuspend_event_type('stuck')});
is_deeply([ distinct(drain('all come when they may', 800)) ], [ 1 .. 200 ], '... in order');

# ---------- priorities ----------

run(q{CALL clean(); SELECT batches('free', 1, 100, -1::smallint); SELECT batches('free', 101, 102, 1::smallint)});
@done = drain('a backlog is read to its end', 408);
my ($urgent_at) = grep { $done[$_] == 102 } 0 .. $#done;
cmp_ok($urgent_at, '<', 60, 'what is urgent overtakes it');
is_deeply([ distinct(grep { $_ < 101 } @done) ], [ 1 .. 100 ], '... which stays in order');
run(q{SET evq.debug_lose_wakeups = on; SELECT batches('free', 1, 100, -1::smallint); SELECT batches('free', 101, 102, 1::smallint); RESET evq.debug_lose_wakeups});
$pid = dispatcher_pid($node, 'db');
run("SELECT pg_terminate_backend($pid)");
wait_for_dispatcher($node, 'db', $pid);
@done = drain('... so for a dispatcher that begins with it', 408);
($urgent_at) = grep { $done[$_] == 102 } 0 .. $#done;
cmp_ok($urgent_at, '<', 200, 'what is urgent overtakes it');

# ---------- attempts that end ----------

# Of a batch that is not remembered somebody has some: they come back when his permit runs out.
run(q{CALL clean(); SELECT batches('free', 1, 100)});
my $id = run(q{SELECT event_id FROM evq.log WHERE flow_id = '100' LIMIT 1});
run("SELECT permit FROM evq_acquire('$id', permit_for => '10 ms')");
ok(poll_until('timed out', sub { run("SELECT count(*) FROM evq.errors WHERE event_id = '$id'") == 1 }), 'an attempt at the end of the backlog times out');
is_deeply([ sort { $a <=> $b } (distinct(drain('all the same all are had', 400))) ], [ 1 .. 100 ], '... each once, and no other is lost');

# All at once, but no more in a turn than of events with rows of their own.
$node->append_conf('postgresql.conf', "evq.dispatch_batch = 50\nevq.trace = on");
$node->append_conf('postgresql.conf', 'evq.max_tracked = 1000');
$node->restart;
$session = session($node, 'db');
wait_for_dispatcher($node, 'db');
run(q{CALL clean(); SELECT evq_configure_flow('F', max_dispatched => 1000); SELECT evq_configure('free', attempt_timeout => '1 h', max_attempts => 1); SELECT batches('free', 1, 100)});
my $had = 0;
ok(poll_until('acquired', sub { $had += run(q{SELECT count(*) FROM evq_acquire_next('F', 400)}); $had == 400 }), 'somebody has all');
my $log = log_end($node);
run(q{UPDATE evq.run SET state_due_at = now()});
look_at_all();
ok(poll_until('failed', sub { run(q{SELECT count(*) FROM evq.events WHERE state = 'failed'}) == 400 }), 'all time out');
my @timed_out = slurp_file($node->logfile, $log) =~ /(\d+) timed out/g;
cmp_ok(scalar(grep { $_ > 50 } @timed_out), '==', 0, '... no more than 50 in a turn') or diag("@timed_out");
ok(poll_until('done', sub { run('SELECT count(*) FROM evq.backlog') == 0 }), '... and the batches are done');

end_session($session);
done_testing();
