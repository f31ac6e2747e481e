# A paused flow, with a dispatcher: nothing of it is dispatched, offered or told of, others go on; it goes on when it is resumed,
# or by itself when its time has come, whatever happened to dispatcher, server and clock meanwhile.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

# The sweep is so rare, and offers are repeated so late, that what is seen here is not their work.
my $node = make_server('main', 'evq.store_batches_from = 100');
make_database($node, 'db');

sub run { return $node->safe_psql('db', $_[0]) }
sub wait_for { my ($what, $query, $wanted) = @_; return ok(poll_until($what, sub { run($query) eq $wanted }), $what) || diag(run($query)) }

my @flows = qw(PUSH PULL ORDERED LIMITED);
run(q{
	SELECT evq_configure_flow('PUSH', dispatch_timeout => '1 day'), evq_configure_flow('PULL', delivery => 'pull', dispatch_timeout => '1 day'),
		evq_configure_flow('ORDERED', ordered => true, dispatch_timeout => '1 day'), evq_configure_flow('LIMITED', max_processing => 1000, dispatch_timeout => '1 day');
	SELECT evq_configure(lower(f), f, lifespan => '10 days', attempt_timeout => '1 day', attempt_delays => '{0}')
	FROM unnest('{PUSH, PULL, ORDERED, LIMITED}'::text[]) f;
	CREATE FUNCTION acquired(flow text) RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM evq_acquire_next(flow, 1000) $$});

sub pause { my (@more) = @_; run("SELECT evq_pause_flow('$_'" . join('', map { ", $_" } @more) . ')') for @flows; return }
sub resume { run("SELECT evq_resume_flow('$_')") for @flows; return }
sub publish_each { run(qq{SELECT evq_publish('\L$_\E', NULL, '$_[0]')}) for @flows; return }

# Whether a dispatcher has had its say: what is published after them, in a flow of its own, is dispatched.
sub pass_by { return is_dispatching($node, 'db') || BAIL_OUT('nothing is dispatched') }
sub nothing_goes
{
	my ($when) = @_;

	pass_by();
	is(run(q{SELECT count(*) FROM evq.events WHERE flow_type <> 'FLOW' AND state = 'dispatched'}), 0, "$when: nothing is dispatched");
	is(run("SELECT acquired('$_')"), 0, "... $_: nor acquired") for @flows;
	return;
}
sub all_go
{
	my ($when, $wanted) = @_;

	for my $flow (@flows)
	{
		my $got = 0;
		ok(poll_until("$flow goes on", sub { $got += run("SELECT acquired('$flow')"); $got >= $wanted }), "$when: $flow goes on");
		is($got, $wanted, '... with all that waited');
	}
	return;
}

# ---------- pause and resume ----------

pause();
my $push = listen_to($node, 'db', 'evq_push');
my $pull = listen_to($node, 'db', 'evq_pull');
publish_each('one');
publish_each('two');
nothing_goes('paused');
my $offered = run('SELECT events_dispatched FROM evq_status()');
is(run(q{SELECT count(*) FROM evq_publish_many('pull', NULL, array_fill('batched'::text, ARRAY[100]), array_fill('1'::jsonb, ARRAY[100]))}), 100, 'events in a batch');
nothing_goes('with a batch');
pass_by();
cmp_ok(run('SELECT events_dispatched FROM evq_status()') - $offered, '<', 10, '... nor is it put on offer');
is(scalar(notifications($_)), 0, 'nobody is told') for $push, $pull;
is(run(q{SELECT count(*) FROM evq_acquire((SELECT event_id FROM evq.events WHERE flow_id = 'batched' LIMIT 1))}), 0, '... nor is one of them acquired by its id');
my $turns = run('SELECT turns FROM evq_status()');
pass_by();
cmp_ok(run('SELECT turns FROM evq_status()') - $turns, '<', 100, 'the dispatcher does not keep trying');
resume();
ok(wait_for_notifications($push, 2), 'resumed: listeners of a push flow are told of its events');
ok(wait_for_notifications($pull, 1), '... those of a pull flow that there are some');
run(q{SELECT count(*) FROM evq_acquire_next('PULL', 100)});
run(q{SELECT count(*) FROM evq_acquire_next('PUSH', 100)}) for 1 .. 2;
wait_for('all of the pull flow are had', q{SELECT acquired('PULL') * 0 + count(*) FROM evq.events WHERE flow_type = 'PULL' AND state = 'awaiting_processing'}, 0);
run('SELECT acquired(f) FROM unnest(\'{ORDERED, LIMITED, PUSH}\'::text[]) f');
wait_for('... and of the others', q{SELECT sum(acquired(f)) * 0 + (SELECT count(*) FROM evq.events WHERE flow_type <> 'FLOW' AND state NOT IN ('being_processed'))
	FROM unnest('{ORDERED, LIMITED, PUSH}'::text[]) f}, 0);
run('TRUNCATE evq.event, evq.event_payload, evq.log, evq.batch, evq.backlog, evq.run, evq.exception');

# What was on offer already.
publish_each('offered');
wait_for('events are dispatched', q{SELECT count(*) FROM evq.events WHERE flow_type IN ('PUSH', 'ORDERED', 'LIMITED') AND state = 'dispatched'}, 3);
pause("reason => 'late'");
is(run("SELECT acquired('$_')"), 0, "$_: what was on offer is not acquired") for @flows;
is(run(q{SELECT count(*) FROM evq.events e, evq_acquire(e.event_id) WHERE e.flow_id = 'offered'}), 0, '... nor by its id');
$pull = listen_to($node, 'db', 'evq_pull');
resume();
ok(wait_for_notifications($pull, 1), 'listeners of a pull flow are told that it goes on');
all_go('on offer before', 1);

# ---------- by itself ----------

my ($until) = run(q{SELECT clock_timestamp() + interval '1 h'});
pause("'$until'", "'until the morning'");
publish_each('timed');
nothing_goes('until a time');
sub set_clock { $node->safe_psql('postgres', "ALTER SYSTEM SET evq.debug_clock_offset = $_[0]; SELECT pg_reload_conf()"); return }
set_clock(-7200);
nothing_goes('the clock was set back');
set_clock(3700);
ok(poll_until('session has the new clock', sub { run('SHOW evq.debug_clock_offset') =~ /^3700s?$/ }), 'the time has come by the clock');
all_go('by itself', 1);
set_clock(0);

# With the dispatcher's own timer, and no one to wake it.
run(qq{SELECT evq_resume_flow('$_'), evq_pause_flow('$_', clock_timestamp() + interval '2 s')}) for @flows;
publish_each('seconds');
wait_for('push flows are dispatched at the time', q{SELECT count(*) FROM evq.events WHERE flow_id = 'seconds' AND state = 'dispatched'}, 3);
is(run(q{SELECT bool_and(e.state_since >= f.paused_until) FROM evq.events e JOIN evq.flow f USING (flow_type) WHERE e.flow_id = 'seconds' AND e.state = 'dispatched'}), 't', '... not before');
all_go('at the time', 1);

# ---------- lifespans, permits ----------

run(q{SELECT evq_configure('brief', 'PULL', lifespan => '300 ms'), evq_configure('held', 'PULL', attempt_timeout => '300 ms', attempt_delays => '{0}', max_attempts => 2)});
my $held = run(q{SELECT evq_publish('held', NULL, 'held')});
ok(poll_until('acquired', sub { run(qq{SELECT count(*) FROM evq_acquire('$held')}) }), 'an event is held');
pause();
my $brief = run(q{SELECT evq_publish('brief', NULL, 'brief')});
ok(wait_for_state($node, 'db', $brief, 'expired'), 'an event of a paused flow expires');
ok(wait_for_state($node, 'db', $held, 'awaiting_processing'), 'a permit runs out');
is(run("SELECT acquired('PULL')"), 0, '... and its next attempt waits');
resume();
ok(poll_until('acquired', sub { run("SELECT acquired('PULL')") }), '... until the flow goes on');

# ---------- dispatcher, server, prepared transactions ----------

pause();
publish_each('restarted');
my $pid = dispatcher_pid($node, 'db');
run("SELECT pg_terminate_backend($pid)");
wait_for_dispatcher($node, 'db', $pid);
nothing_goes('a new dispatcher');
$node->stop('immediate');
$node->start;
wait_for_dispatcher($node, 'db');
nothing_goes('a server that has crashed');
run(q{BEGIN; SELECT evq_resume_flow('PUSH'), evq_resume_flow('PULL'), evq_resume_flow('ORDERED'), evq_resume_flow('LIMITED'); PREPARE TRANSACTION 'resume'});
nothing_goes('a resume that is prepared');
run(q{COMMIT PREPARED 'resume'});
all_go('COMMIT PREPARED', 1);
run(q{BEGIN; SELECT evq_pause_flow('PUSH'), evq_pause_flow('PULL'), evq_pause_flow('ORDERED'), evq_pause_flow('LIMITED'); PREPARE TRANSACTION 'pause'});
$node->restart;
wait_for_dispatcher($node, 'db');
run(q{COMMIT PREPARED 'pause'});
publish_each('prepared');
nothing_goes('a pause that was prepared');
resume();
all_go('resumed', 1);

# The time comes while no server runs.
run(qq{SELECT evq_pause_flow('$_', clock_timestamp() + interval '1 h')}) for @flows;
publish_each('down');
$node->stop;
$node->append_conf('postgresql.auto.conf', 'evq.debug_clock_offset = 3700');
$node->start;
wait_for_dispatcher($node, 'db');
all_go('its time came while the server was down', 1);

$node->stop;
done_testing();
