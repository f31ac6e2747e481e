# An event exists if and only if its transaction commits, however that ends.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main');
make_database($node, 'db');
my $session = session($node, 'db');

sub run { return $session->query_safe($_[0]) }

sub wait_for
{
	my ($query, $expected) = @_;

	return poll_until($query, sub { run($query) eq $expected });
}

my $dispatched = q{SELECT string_agg(flow_id, ' ' ORDER BY event_id) FROM evq.events WHERE state = 'dispatched'};

# ---------- savepoints ----------

my $other = session($node, 'db');
$other->query_safe(q{
	BEGIN;
	SELECT evq_publish('job', NULL, 'before');
	SAVEPOINT a;
	SELECT evq_publish('job', NULL, 'lost');
	SAVEPOINT b;
	SELECT evq_publish('job', NULL, 'lost with its parent');
	RELEASE b;
	ROLLBACK TO a;
	SELECT evq_publish('job', NULL, 'after');
	SAVEPOINT c;
	SELECT evq_publish('job', NULL, 'kept');
	RELEASE c});
is(run('SELECT count(*) FROM evq.events'), 0, 'nothing is there before the commit');
$other->query_safe('COMMIT');
ok(wait_for($dispatched, 'before after kept'), 'savepoints: what was kept is dispatched');
is(run('SELECT count(*) FROM evq.events'), 3, 'and what was rolled back does not exist');

$other->query_safe(q{BEGIN; SELECT evq_publish('job', NULL, 'rolled back'); ROLLBACK});
$other->query_safe(q{BEGIN; SELECT evq_publish('job', NULL, 'late')});
ok(is_dispatching($node, 'db'), 'a transaction that stays open hinders no other');
is(run(q{SELECT count(*) FROM evq.events WHERE flow_id IN ('late', 'rolled back')}), 0, 'and shows nothing');
$other->query_safe('COMMIT');
ok(wait_for(q{SELECT state FROM evq.events WHERE flow_id = 'late'}, 'dispatched'), 'its event is dispatched at its commit');

# ---------- reports roll back too ----------

my $event = run(q{SELECT event_id FROM evq.events WHERE flow_id = 'before'});
my $permit = run("SELECT permit FROM evq_acquire('$event')");
$other->query_safe(qq{
	BEGIN;
	SELECT evq_succeed('$event', $permit, spinoffs => '[{"event_type": "job"}, {"event_type": "job"}]');
	ROLLBACK});
is(run("SELECT state FROM evq.events WHERE event_id = '$event'"), 'being_processed', 'a success rolled back: the event is held as before');
is(run("SELECT count(*) FROM evq.events WHERE parent_id = '$event'"), 0, 'and has no spinoffs');
$other->query_safe(qq{SELECT evq_succeed('$event', $permit, spinoffs => '[{"event_type": "job"}, {"event_type": "job"}]')});
ok(wait_for("SELECT count(*) FROM evq.events WHERE parent_id = '$event' AND state = 'dispatched'", 2), 'committed: its spinoffs are dispatched');

# ---------- two-phase commit ----------

my $prepared = q{SELECT state FROM evq.events WHERE flow_id = };
run(q{BEGIN; SELECT evq_publish('job', NULL, 'prepared'); PREPARE TRANSACTION 'one'});
run(q{BEGIN; SELECT evq_publish('job', NULL, 'given up'); PREPARE TRANSACTION 'two'});
ok(is_dispatching($node, 'db'), 'prepared transactions hinder no other');
is(run(q{SELECT count(*) FROM evq.events WHERE flow_id IN ('prepared', 'given up')}), 0, 'and show nothing');
$other->query_safe(q{COMMIT PREPARED 'one'});
ok(wait_for("$prepared 'prepared'", 'dispatched'), 'COMMIT PREPARED in another session: dispatched');
$other->query_safe(q{ROLLBACK PREPARED 'two'});
ok(is_dispatching($node, 'db'), 'ROLLBACK PREPARED hinders nothing');
is(run(q{SELECT count(*) FROM evq.events WHERE flow_id = 'given up'}), 0, 'and leaves nothing');

run(q{BEGIN; SELECT evq_publish('job', NULL, 'over the restart'); PREPARE TRANSACTION 'three'});
$event = run(q{SELECT evq_publish('job', NULL, 'to acquire')});
wait_for_state($node, 'db', $event, 'dispatched');
run("BEGIN; SELECT FROM evq_acquire('$event'); PREPARE TRANSACTION 'four'");
end_session($_) for $session, $other;
$node->restart;
wait_for_dispatcher($node, 'db');
$session = session($node, 'db');
is(run("SELECT state FROM evq.events WHERE event_id = '$event'"), 'dispatched', 'restart: an acquire that is prepared is not there yet');
is(run("SELECT count(*) FROM evq_acquire('$event')"), 0, 'but keeps others away, without a wait');
ok(is_dispatching($node, 'db'), 'the dispatcher is at work');
run(q{COMMIT PREPARED 'three'});
ok(wait_for("$prepared 'over the restart'", 'dispatched'), 'COMMIT PREPARED after a restart: dispatched');
run(q{COMMIT PREPARED 'four'});
is(run("SELECT state FROM evq.events WHERE event_id = '$event'"), 'being_processed', 'and the acquire is there');

# ---------- events beside the configuration that they are under ----------

# Many new tables make the invalidations of a commit, and what comes before them, take their time.
my $tables = join '; ', map { "CREATE TEMPORARY TABLE t$_ () ON COMMIT DROP" } 1 .. 100;
run(q{SELECT evq_cancel(event_id) FROM evq.event; SELECT evq_configure_flow('OTHER', dispatch_timeout => '1 hour'); SELECT evq_configure('other', 'OTHER')});
my $too_early = 0;
for my $round (1 .. 20)
{
	run(qq{BEGIN; SELECT evq_suspend_event_type('job'); SELECT evq_publish('job', NULL, 'suspended') FROM generate_series(1, 3); $tables; COMMIT});
	my $other_event = run(q{SELECT evq_publish('other', NULL, 'o')});
	wait_for_state($node, 'db', $other_event, 'dispatched');
	$too_early += run(q{SELECT count(*) FROM evq.event e JOIN evq.event_type USING (event_type_no) WHERE event_type = 'job' AND state <> 'a'});
	run(q{SELECT evq_cancel(event_id) FROM evq.event; SELECT evq_unsuspend_event_type('job')});
}
is($too_early, 0, 'a type is suspended and events of it are published in one transaction: none is dispatched');
# The dispatcher knows of nothing else that is to come within the hour.
run(q{SELECT evq_suspend_event_type('job'); SELECT evq_publish('job', NULL, 'held')});
wait_for_state($node, 'db', run(q{SELECT evq_publish('other', NULL, 'o')}), 'dispatched');
run(q{SELECT evq_unsuspend_event_type('job')});
ok(wait_for(q{SELECT state FROM evq.events WHERE flow_id = 'held'}, 'dispatched'), 'a type is not suspended any more: its events are dispatched');

# ---------- lost wake-ups ----------

run(q{SELECT evq_cancel(event_id) FROM evq.event});
$node->safe_psql('postgres', q{ALTER SYSTEM SET evq.poll_interval = '200ms'; SELECT pg_reload_conf()});
run(q{SET evq.debug_lose_wakeups = on});
for my $n (1 .. 5)
{
	run("SELECT evq_publish('job', NULL, 'unheard $n')");
	ok(wait_for("SELECT state FROM evq.events WHERE flow_id = 'unheard $n'", 'dispatched'), "wake-up $n is lost: the event is dispatched");
}
is(run(q{SELECT max(state_since - published_at) < '2 s' FROM evq.events WHERE flow_id LIKE 'unheard%'}), 't', 'within the poll interval, give or take a busy machine');
run(q{BEGIN; SELECT evq_publish('job', NULL, 'unheard and late')});
ok(is_dispatching($node, 'db'), 'the sweep goes over a transaction that is open');
run('COMMIT');
ok(wait_for(q{SELECT state FROM evq.events WHERE flow_id = 'unheard and late'}, 'dispatched'), 'and finds its event after the commit');

# ---------- more than fits ----------

run(q{RESET evq.debug_lose_wakeups; SELECT evq_cancel(event_id) FROM evq.event});
$node->safe_psql('postgres', q{ALTER SYSTEM RESET evq.poll_interval; SELECT pg_reload_conf()});
run(q{SELECT evq_configure_flow('FLOW', max_dispatched => 1000000)});
my $before = run('SELECT ring_overflows FROM evq_status()');
run(q{SELECT count(*) FROM evq_publish_many('job', NULL, array_fill('many'::text, ARRAY[100000]), array_fill('{}'::jsonb, ARRAY[100000]))});
ok(wait_for(q{SELECT count(*) FROM evq.event WHERE state = 'd'}, 100000), 'a transaction of 100,000 events: all are dispatched');
cmp_ok(run('SELECT ring_overflows FROM evq_status()'), '>', $before, 'although they were not told one by one');
$event = run(q{SELECT evq_configure('side', 'SIDE'); SELECT evq_publish('side', NULL, 'beside')}) =~ s/\s//gr;
ok(wait_for(qq{SELECT state FROM evq.events WHERE event_id = '$event'}, 'dispatched'), 'what nobody takes leaves room for another flow');
is(run(qq{SELECT state_since - published_at < '10 s' FROM evq.events WHERE event_id = '$event'}), 't', 'before it is offered again');

is(run('SELECT errors FROM evq_status()'), 0, 'the dispatcher had no errors');
$node->stop;
done_testing();
