# From publish to worker.  The sweep runs once an hour: nothing here may wait for it.
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

# One statement in a session that stays.
sub run { return $session->query_safe($_[0]) }

sub wait_for
{
	my ($query, $expected) = @_;

	return poll_until($query, sub { run($query) eq $expected });
}

sub value_of
{
	my ($message, $key) = @_;

	return run("SELECT '$message'::jsonb ->> '$key'");
}

# Takes the next event of a flow as soon as there is one: "event_id permit".
sub acquire_next
{
	my ($flow) = @_;

	return poll_until("event of $flow", sub { run("SELECT event_id || ' ' || permit FROM evq_acquire_next('$flow')") });
}

run(q{SELECT evq_configure_flow('FLOW', dispatch_timeout => '1 hour')});

# ---------- notification ----------

my $listener = listen_to($node, 'db', 'evq_flow');
my $event = publish($node, 'db');
my ($message) = wait_for_notifications($listener, 1);
is(run("SELECT string_agg(key, ' ' ORDER BY key) FROM jsonb_object_keys('$message') key"),
	'attempt event_id event_type expires_at flow_id flow_type ttl', 'a published event is notified, with the keys of the contract');
is(run(qq{SELECT m ->> 'event_id' = e.event_id::text, m ->> 'event_type', m ->> 'flow_type', m ->> 'flow_id', m -> 'attempt',
		(m ->> 'expires_at')::timestamptz = e.due_at, m -> 'ttl'
	FROM evq.events e, (SELECT '$message'::jsonb AS m) AS message WHERE e.event_id = '$event'}),
	't|job|FLOW|case|1|t|86400', 'and with their values');
is(state_of($node, 'db', $event), 'dispatched', 'the event is dispatched');

run(qq{SELECT evq_publish('job', NULL, repeat(E'\\x01', 255))});
my @messages = wait_for_notifications($listener, 2);
is(run(qq{SELECT repeat(E'\\x01', 255) = '$messages[1]'::jsonb ->> 'flow_id'}), 't', 'the longest flow_id, all of it escaped');

run(q{SELECT evq_configure('job', max_attempts => 3); SELECT evq_configure_flow('FLOW', notify_payload => true)});
run(q{SELECT evq_publish('job', NULL, 'small', '{"a": [1, "two"]}')});
run(q{SELECT evq_publish('job', NULL, 'large', to_jsonb(repeat('x', 7900)))});
run(q{SELECT evq_publish('job', NULL, 'largest', to_jsonb(repeat('x', 500000)))});
run(q{SELECT evq_publish('job', NULL, 'fits', to_jsonb(repeat('x', 7700)))});
@messages = wait_for_notifications($listener, 6);
is(value_of($messages[2], 'payload'), '{"a": [1, "two"]}', 'notify_payload: a small payload is there');
is(join(' ', map { run("SELECT '$messages[$_]'::jsonb ? 'payload', octet_length('$messages[$_]') < 8000") } 3, 4, 5),
	'f|t f|t t|t', 'one that does not fit is left out');
run(q{SELECT evq_configure_flow('FLOW', notify_payload => false)});

# ---------- ttl ----------

my @ttl = (
	[ '20 s', 30 ], [ '70 s', 75 ], [ '140 s', 150 ], [ '290 s', 300 ], [ '590 s', 600 ], [ '1190 s', 1200 ],
	[ '3590 s', 3600 ], [ '7190 s', 7200 ], [ '86390 s', 86400 ], [ '30 days', 86400 ], [ '31 s', 75 ]);
$listener = listen_to($node, 'db', 'evq_ttl');
run("SELECT evq_configure('ttl$_', 'TTL', lifespan => '$ttl[$_][0]', attempt_delays => '{0 s}')") for 0 .. $#ttl;
run("SELECT evq_publish('ttl$_', NULL, '$_')") for 0 .. $#ttl;
is_deeply({ map { value_of($_, 'flow_id') => value_of($_, 'ttl') } wait_for_notifications($listener, scalar @ttl) },
	{ map { $_ => $ttl[$_][1] } 0 .. $#ttl }, 'ttl is the smallest step that covers the time left');
run(q{SELECT evq_cancel(event_id) FROM evq.events WHERE flow_type = 'TTL'}); # their timers must wake nobody

# ---------- time ----------

$listener = listen_to($node, 'db', 'evq_time');
run(q{
	SELECT evq_configure('rescue', 'TIME');
	SELECT evq_configure('later', 'TIME', attempt_delays => '{0, 0.7 s}', max_attempts => 2);
	SELECT evq_configure('short', 'TIME', attempt_timeout => '0.4 s', attempt_delays => '{0}');
	SELECT evq_configure('dying', 'TIME', lifespan => '0.6 s', attempt_delays => '{0 s}', on_fail_event_type => 'rescue')});

$event = run(q{SELECT evq_publish('later', NULL, 'run_at', run_at => now() + '1 s')});
wait_for_notifications($listener, 1);
is(run("SELECT state, attempt_scheduled_at > published_at, state_since >= attempt_scheduled_at FROM evq.events WHERE event_id = '$event'"),
	'dispatched|t|t', 'an event due later is dispatched when it is due, not before');

$event = run(q{SELECT evq_publish('later', NULL, 'retry')});
wait_for_notifications($listener, 2);
run("SELECT evq_fail(event_id, 'no luck', permit) FROM evq_acquire('$event')");
@messages = wait_for_notifications($listener, 3);
is(value_of($messages[2], 'event_id') . ' ' . value_of($messages[2], 'attempt'), "$event 2", 'a failed attempt is followed by the next');
is(run("SELECT e.state_since - r.failed_at BETWEEN '0.7 s' AND '3 s' FROM evq.events e JOIN evq.errors r USING (event_id) WHERE event_id = '$event'"),
	't', 'after its delay');

$event = run(q{SELECT evq_publish('short', NULL, 'permit')});
wait_for_notifications($listener, 4);
run("SELECT FROM evq_acquire('$event', 'sleeper')");
@messages = wait_for_notifications($listener, 5);
is(value_of($messages[4], 'event_id') . ' ' . value_of($messages[4], 'attempt'), "$event 2", 'a permit that runs out leads to the next attempt');
is(run("SELECT attempt, outcome, worker FROM evq.errors WHERE event_id = '$event'"), '1|retry|sleeper', 'and is kept as an error');
run("SELECT evq_cancel('$event')");

$event = run(q{SELECT evq_publish('dying', NULL, 'expiry', '{"important": true}')});
@messages = wait_for_notifications($listener, 7);
is(state_of($node, 'db', $event), 'expired', 'an event that nobody took expires at the end of its lifespan');
is(value_of($messages[6], 'event_type') . ' ' . value_of($messages[6], 'flow_id'), 'rescue expiry', 'and its on-fail event is dispatched');
is(run("SELECT e.parent_id = '$event', evq_event(event_id) -> 'payload' ->> 'state', evq_event(event_id) -> 'payload' -> 'payload' ->> 'important'
	FROM evq.events e WHERE event_type = 'rescue'"), 't|expired|true', 'which tells what failed');

$listener = listen_to($node, 'db', 'evq_timeout');
run(q{SELECT evq_configure_flow('TIMEOUT', dispatch_timeout => '0.3 s'); SELECT evq_configure('unheard', 'TIMEOUT')});
$event = run(q{SELECT evq_publish('unheard', NULL, 'x')});
@messages = wait_for_notifications($listener, 3);
is(join(' ', map { value_of($_, 'event_id') . ' ' . value_of($_, 'attempt') } @messages[ 0 .. 2 ]), join(' ', ("$event 1") x 3),
	'an event that nobody acquires is offered again, the attempt is not used up');
run("SELECT evq_cancel('$event')");

# A suspension times out.
run(q{SELECT evq_configure('asleep', 'SLEEP'); SELECT evq_configure_flow('SLEEP', dispatch_timeout => '1 hour')});
$event = run(q{SELECT evq_publish('asleep', NULL, 'x')});
poll_until('dispatch', sub { state_of($node, 'db', $event) eq 'dispatched' });
run("SELECT evq_suspend('$event', permit, '0.5 s') FROM evq_acquire('$event')");
ok(wait_for_state($node, 'db', $event, 'expired'), 'a suspension that nobody ends times out');

# ---------- order ----------

$listener = listen_to($node, 'db', 'evq_priority');
run(q{SELECT evq_configure('p', 'PRIORITY'); SELECT evq_suspend_event_type('p')});
my @published = map { run("SELECT evq_publish('p', NULL, '$_', priority => '$_')") } 1, 5, 3, 5, -7, 32767;
is(run(q{SELECT dispatched FROM evq_tick()}), 0, 'a suspended type is not dispatched');
is(run("SELECT count(*) FROM evq_acquire('$published[0]')"), 0, 'nor acquired');
is(run(q{SELECT count(*) FROM evq.events WHERE event_type = 'p' AND state = 'awaiting_processing'}), 6, 'its events wait');
run(q{SELECT evq_unsuspend_event_type('p')});
@messages = wait_for_notifications($listener, 6);
is(join(' ', map { value_of($_, 'flow_id') } @messages), '32767 5 5 3 1 -7', 'unsuspended: they come at once, highest priority first');
is(join(' ', map { value_of($_, 'event_id') } @messages[ 1, 2 ]), "$published[1] $published[3]", 'oldest first within a priority');

# ---------- hand-over, and giving back ----------

run(q{SELECT evq_configure_flow('HAND', dispatch_timeout => '1 hour'); SELECT evq_configure('hand', 'HAND')});
my @handed = map { run("SELECT evq_publish('hand', NULL, '$_')") } 1 .. 3;
wait_for(q{SELECT count(*) FROM evq.events WHERE event_type = 'hand' AND state = 'dispatched'}, 3);
is(join(' ', map { (split / /, acquire_next('HAND'))[0] } 1 .. 3), "@handed", 'evq_acquire_next() hands dispatched events over, in order');
is(run(q{SELECT count(*) FROM evq_acquire_next('HAND')}), 0, 'and no more than there are');
is(run(q{SELECT count(*) FROM evq_acquire_next('HAND', 10, ARRAY['hand'])}), 0, 'of no type');
run(q{SELECT evq_configure('foot', 'HAND'); SELECT evq_publish('hand', NULL, 'one'); SELECT evq_publish('foot', NULL, 'other')});
wait_for(q{SELECT count(*) FROM evq.events WHERE flow_type = 'HAND' AND state = 'dispatched'}, 2);
is(run(q{SELECT event_type FROM evq_acquire_next('HAND', 10, ARRAY['foot'])}), 'foot', 'of what is on offer, only the types asked for');
is(run(q{SELECT event_type FROM evq_acquire_next('HAND', 10)}), 'hand', 'the others stay there');

$event = run(q{SELECT evq_publish('hand', NULL, 'back')});
poll_until('dispatch', sub { state_of($node, 'db', $event) eq 'dispatched' });
my $other = session($node, 'db');
is($other->query_safe(q{BEGIN; SELECT event_id FROM evq_acquire_next('HAND')}), $event, 'acquired, not committed');
is(run(q{SELECT count(*) FROM evq_acquire_next('HAND')}), 0, 'nobody else gets it');
$other->query_safe('ROLLBACK');
like(acquire_next('HAND'), qr/^$event /, 'ROLLBACK gives it back');
run("SELECT evq_release('$event', permit) FROM evq.events WHERE event_id = '$event'");
poll_until('dispatch', sub { state_of($node, 'db', $event) eq 'dispatched' });

is($other->query_safe(q{BEGIN; SAVEPOINT s; SELECT event_id FROM evq_acquire_next('HAND')}), $event, 'acquired in a savepoint');
$other->query_safe('ROLLBACK TO s');
like(acquire_next('HAND'), qr/^$event /, 'ROLLBACK TO gives it back, before the transaction ends');
$other->query_safe('COMMIT');
run("SELECT evq_release('$event', permit) FROM evq.events WHERE event_id = '$event'");
poll_until('dispatch', sub { state_of($node, 'db', $event) eq 'dispatched' });

is($other->query_safe(q{BEGIN; SELECT event_id FROM evq_acquire_next('HAND')}), $event, 'acquired, not committed');
end_session($other);
like(acquire_next('HAND'), qr/^$event /, 'the end of the session gives it back');

# ---------- pull ----------

$listener = listen_to($node, 'db', 'evq_pull');
run(q{SELECT evq_configure_flow('PULL', delivery => 'pull', dispatch_timeout => '1 hour'); SELECT evq_configure('pull', 'PULL', max_attempts => 5)});
run(q{SELECT evq_publish_many('pull', NULL, ARRAY['1', '2', '3'], ARRAY['{}', '{}', '{}']::jsonb[])});
@messages = wait_for_notifications($listener, 1);
is($messages[0], '{"flow_type":"PULL","ready":true}', 'pull: one wake-up');
my $updates = q{SELECT n_tup_upd FROM pg_stat_xact_all_tables WHERE schemaname = 'evq' AND relname = 'event'};
my $updates_before;
poll_until('event on offer', sub {
	run('BEGIN');
	$updates_before = run($updates);
	return 1 if run(q{SELECT flow_id FROM evq_acquire_next('PULL')}) ne '';
	run('ROLLBACK');
	return 0;
});
is(run($updates) - $updates_before, 1, 'one update');
is(run(q{SELECT string_agg(state::text, ' ' ORDER BY flow_id) FROM evq.events WHERE event_type = 'pull'}),
	'being_processed awaiting_processing awaiting_processing', 'from awaiting_processing to being_processed');
run('ROLLBACK');
is(join(' ', map { scalar acquire_next('PULL') =~ s/ .*//r } 1 .. 3) =~ tr/ //, 2, 'given back at ROLLBACK: all three are there');
run(q{SELECT evq_fail(event_id, 'again', permit, retry_in => '0 s') FROM evq.events WHERE event_type = 'pull'});
acquire_next('PULL') for 1 .. 3;
is(run(q{SELECT string_agg(DISTINCT attempts_used::text, ' ') FROM evq.events WHERE event_type = 'pull' AND state = 'being_processed'}), 1,
	'pull: failed attempts come back');

# ---------- limits ----------

run(q{SELECT evq_configure_flow('WINDOW', max_dispatched => 2, dispatch_timeout => '1 hour'); SELECT evq_configure('window', 'WINDOW')});
run(q{SELECT evq_publish_many('window', NULL, ARRAY['1', '2', '3', '4', '5', '6', '7'], array_fill('{}'::jsonb, ARRAY[7]))});
my $window = q{SELECT string_agg(flow_id, ' ' ORDER BY flow_id) FROM evq.events WHERE event_type = 'window' AND state = };
ok(wait_for("$window 'dispatched'", '1 2'), 'max_dispatched: no more are offered');
run(q{SELECT FROM evq.events e, evq_acquire(e.event_id) WHERE e.event_type = 'window' AND e.flow_id = '1'});
ok(wait_for("$window 'dispatched'", '2 3'), 'the window moves on when one is acquired');
run(q{SELECT evq_cancel(event_id) FROM evq.events WHERE event_type = 'window' AND flow_id = '2'});
ok(wait_for("$window 'dispatched'", '3 4'), 'or canceled');
run(q{SELECT evq_configure_flow('WINDOW', max_dispatched => 4)});
ok(wait_for("$window 'dispatched'", '3 4 5 6'), 'a wider window takes effect at once');
run(q{SELECT evq_configure_flow('WINDOW', max_processing => 6)});
run(q{SELECT FROM evq.events e, evq_acquire(e.event_id) WHERE e.event_type = 'window' AND e.flow_id = '3'});
ok(wait_for("$window 'dispatched'", '4 5 6 7'), 'max_processing leaves room for one more');

run(q{
	CREATE TABLE noted (flow_type text, flow_id text, n int, live int, at bigserial);
	-- A worker of a flow: until all is done, or half a minute has passed, takes an event, notes how many are live,
	-- and reports; every seventh fails at first.
	CREATE PROCEDURE work(the_flow text, per_flow_id boolean) LANGUAGE plpgsql AS $$
	DECLARE
		got evq.acquired;
		most int;
		stop_at timestamptz := clock_timestamp() + interval '30 s';
	BEGIN
		LOOP
			SELECT * INTO got FROM evq_acquire_next(the_flow, 1, NULL, pg_backend_pid()::text);
			COMMIT;
			IF got.event_id IS NULL THEN
				EXIT WHEN NOT EXISTS (SELECT FROM evq.queue q WHERE q.flow_type = the_flow) OR clock_timestamp() > stop_at;
				COMMIT;
				PERFORM pg_sleep(0.003);
				CONTINUE;
			END IF;
			SELECT max(live) INTO most FROM (
				SELECT count(*) AS live FROM evq.events e
				WHERE e.flow_type = the_flow AND e.state IN ('dispatched', 'being_processed')
				GROUP BY CASE WHEN per_flow_id THEN e.flow_id END) AS counts;
			COMMIT;
			IF got.attempt = 1 AND (got.payload ->> 'n')::int % 7 = 0 THEN
				PERFORM evq_fail(got.event_id, 'the seventh', got.permit);
			ELSE
				INSERT INTO noted VALUES (the_flow, got.flow_id, (got.payload ->> 'n')::int, most);
				PERFORM evq_succeed(got.event_id, got.permit);
			END IF;
			COMMIT;
		END LOOP;
	END $$;
	SELECT evq_configure_flow('LIMITED', max_processing => 3, dispatch_timeout => '1 hour');
	SELECT evq_configure('limited', 'LIMITED', attempt_delays => '{0}');
	SELECT evq_configure_flow('LIMITED_PULL', max_processing => 3, delivery => 'pull', dispatch_timeout => '1 hour');
	SELECT evq_configure('limited_pull', 'LIMITED_PULL', attempt_delays => '{0}');
	SELECT evq_configure_flow('ORDERED', ordered => true, dispatch_timeout => '1 hour');
	SELECT evq_configure('ordered', 'ORDERED', attempt_delays => '{0, 0.01 s}');
	SELECT evq_configure_flow('ORDERED_PULL', ordered => true, delivery => 'pull', dispatch_timeout => '1 hour');
	SELECT evq_configure('ordered_pull', 'ORDERED_PULL', attempt_delays => '{0, 0.01 s}')});

for my $flow (qw(LIMITED LIMITED_PULL))
{
	run("SELECT evq_publish('\L$flow\E', NULL, n::text, jsonb_build_object('n', n)) FROM generate_series(1, 60) n");
	ok(run_workers($node, 'db', 8, "CALL work('$flow', false)"), "$flow: 8 workers");
	is(run("SELECT count(*), count(DISTINCT n), max(live) <= 3 FROM noted WHERE flow_type = '$flow'"), '60|60|t',
		"$flow: never more than max_processing at once");
}

for my $flow (qw(ORDERED ORDERED_PULL))
{
	run("SELECT evq_publish('\L$flow\E', NULL, (n % 10)::text, jsonb_build_object('n', n)) FROM generate_series(1, 200) n");
	ok(run_workers($node, 'db', 8, "CALL work('$flow', true)"), "$flow: 8 workers");
	is(run("SELECT count(*), count(DISTINCT n), max(live) FROM noted WHERE flow_type = '$flow'"), '200|200|1',
		"$flow: one live attempt per flow_id");
	is(run("SELECT count(*) FROM (SELECT n < lag(n) OVER (PARTITION BY flow_id ORDER BY at) AS wrong FROM noted WHERE flow_type = '$flow') s WHERE wrong"), 0,
		"$flow: in publish order");
}

# A dispatcher that starts anew while a worker's acquire is not yet committed, and an older event turns up. What it offers
# then, it offers after the event of another flow_id that is published last.
sub take_next { return $_[0]->query_safe("SELECT concat_ws('|', flow_id, payload) FROM evq_acquire_next('$_[1]')") }

for my $flow (qw(ORDERED ORDERED_PULL))
{
	my ($late, $first, $second) = map { session($node, 'db') } 1 .. 3;
	my $publish = "SELECT evq_publish('\L$flow\E', NULL";

	$late->query_safe("BEGIN; $publish, 'case', '1')");
	run("$publish, 'case', '2')");
	$first->query_safe('BEGIN');
	is(poll_until('an offer', sub { take_next($first, $flow) }), 'case|2', "$flow: a worker takes an event");
	$late->query_safe('COMMIT');

	my $pid = dispatcher_pid($node, 'db');
	run("SELECT pg_terminate_backend($pid)");
	wait_for_dispatcher($node, 'db', $pid);
	run("$publish, 'other', '3')");
	is(poll_until('an offer', sub { take_next($second, $flow) }), 'other|3',
		'... and until it has committed, a new dispatcher offers none before that one');
	is(take_next($second, $flow), '', '... and none after that');
	$first->query_safe('COMMIT');
	run("SELECT evq_succeed(event_id, permit) FROM evq.events WHERE flow_type = '$flow' AND state = 'being_processed'");
	is(poll_until('an offer', sub { take_next($second, $flow) }), 'case|1', '... but when it is done');
	run("SELECT evq_succeed(event_id, permit) FROM evq.events WHERE flow_type = '$flow' AND state = 'being_processed'");
	end_session($_) for $late, $first, $second;
}

is(run('SELECT errors, problem IS NULL FROM evq_status()'), '0|t', 'the dispatcher had no errors');
$node->stop;
done_testing();
