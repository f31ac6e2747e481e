# What is done with many events in one call or turn needs the memory of a few payloads, not of all.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

# Shared buffers count as a process's memory when it has used them.
my $node = make_server('main', "shared_buffers = '4MB'", "evq.poll_interval = '100ms'", "max_wal_size = '2GB'");
make_database($node, 'db');
my $events = 150;
my $bound = 64;

# The most memory, in MB, that a process has had.
sub peak { return slurp_file("/proc/$_[0]/status") =~ /^VmHWM:\s+(\d+) kB/m ? $1 / 1024 : die 'no VmHWM' }

$node->safe_psql('db', q{
	SELECT evq_configure_flow('NOTIFIED', notify_payload => true, max_dispatched => 10000), evq_configure_flow('PULLED', delivery => 'pull');
	SELECT evq_configure('rescue', 'PULLED');
	SELECT evq_configure('notified', 'NOTIFIED', lifespan => '1 day', attempt_timeout => '1 day');
	SELECT evq_configure('frail', 'PULLED', 1, lifespan => '1 day', attempt_timeout => '1 day', on_fail_event_type => 'rescue');
	SELECT evq_configure('tough', 'PULLED', 1, lifespan => '1 day', attempt_timeout => '1 day');
	SELECT evq_suspend_event_type('notified'), evq_suspend_event_type('rescue');
	CREATE TABLE held (event_id uuid, permit bigint)});

# Events with a payload of a megabyte each, published one by one.
sub publish_large
{
	my ($type) = @_;

	$node->safe_psql('db', "SELECT count(evq_publish('$type', NULL, 'f', jsonb_build_object('a', repeat('x', 1000000)))) FROM generate_series(1, $events)");
	return;
}

# below(PID, WHAT, CODE): how much more memory than before the process has after it.
sub below
{
	my ($pid, $what, $code) = @_;
	my $before = peak($pid);

	$code->();
	my $more = peak($pid) - $before;
	ok($more < $bound, "$what: less than $bound MB more") or diag("it took $more MB");
	return;
}

sub count_is
{
	my ($what, $condition) = @_;

	return poll_until($what, sub { $node->safe_psql('db', "SELECT count(*) FROM evq.events WHERE $condition") == $events });
}

# Statements in a session of their own.
sub session_below
{
	my ($what, $statement, $expected) = @_;
	my $session = session($node, 'db');
	my $pid = $session->query_safe(q{SELECT count(*) FROM evq.events; SELECT pg_backend_pid()}) =~ /(\d+)\s*\z/ ? $1 : die;

	below($pid, $what, sub { is($session->query_safe($statement), $expected // $events, $what) });
	end_session($session);
	return;
}

# ---------- the dispatcher ----------

publish_large('notified');
below(
	dispatcher_pid($node, 'db'),
	'notifications of large events',
	sub {
		$node->safe_psql('db', q{SELECT evq_unsuspend_event_type('notified')});
		ok(count_is('all dispatched', "event_type = 'notified' AND state = 'dispatched'"), 'all are dispatched');
	});

publish_large('frail');
$node->safe_psql('db', q{SELECT pg_terminate_backend(dispatcher_pid) FROM evq_status()});
wait_for_dispatcher($node, 'db');
ok(count_is('all held', "event_type = 'frail' AND state = 'awaiting_processing'"), 'all wait for workers');
session_below('evq_acquire_next()', "SELECT count(*) FROM evq_acquire_next('PULLED', $events, permit_for => '1 s')");
below(
	dispatcher_pid($node, 'db'),
	'permits of large events time out, with on-fail events',
	sub {
		ok(count_is('all failed', "event_type = 'frail' AND state = 'failed'"), 'all fail');
	});
ok(count_is('all rescued', "event_type = 'rescue'"), '... and each has an on-fail event');

# ---------- sessions ----------

session_below('evq_retry()', q{SELECT count(evq_retry(event_id)) FROM evq.events WHERE event_type = 'frail' AND state = 'failed'});
session_below('evq_acquire()', q{WITH taken AS (INSERT INTO held SELECT a.event_id, a.permit FROM evq.events e, evq_acquire(e.event_id) a WHERE e.event_type = 'frail' RETURNING 1) SELECT count(*) FROM taken});
session_below('evq_heartbeat()', q{SELECT count(*) FILTER (WHERE b.held) FROM (SELECT array_agg(event_id) i, array_agg(permit) p FROM held) h, evq_heartbeat(h.i, h.p) b});
session_below('evq_fail_many()', q{SELECT count(*) FILTER (WHERE b.accepted) FROM (SELECT array_agg(event_id) i, array_agg(permit) p FROM held) h, evq_fail_many(h.i, h.p, repeat('e', 8000)) b});
session_below('evq_redrive()', q{SELECT evq_redrive('frail', '-infinity')});
$node->safe_psql('db', q{DELETE FROM held; INSERT INTO held SELECT a.event_id, a.permit FROM evq.events e, evq_acquire(e.event_id) a WHERE e.event_type = 'frail' AND e.state = 'awaiting_processing'});
session_below('evq_succeed_many()', q{SELECT count(*) FILTER (WHERE b.accepted) FROM (SELECT array_agg(event_id) i, array_agg(permit) p FROM held) h, evq_succeed_many(h.i, h.p) b});
session_below('evq_publish() and evq_acquire_next()', qq{SELECT count(evq_publish('tough', NULL, 'f', jsonb_build_object('a', repeat('x', 1000000)), headers => '{}')) FROM generate_series(1, $events)});
$node->safe_psql('db', q{SELECT evq_pause('x'); SELECT evq_resume()});
session_below('evq_cancel()', q{SELECT count(evq_cancel(event_id)) FROM evq.events WHERE event_type = 'tough' AND state = 'awaiting_processing'});
session_below('evq_tick()', q{UPDATE evq.event_type SET is_suspended = true WHERE event_type = 'rescue'; SELECT count(evq_tick()) FROM generate_series(1, 3)}, 3);

# In batches: all of a batch may leave it in one turn.
$node->safe_psql('db', q{
	SELECT evq_configure_flow('BATCHES', delivery => 'pull', max_dispatched => 100000);
	SELECT evq_configure('stored', 'BATCHES', lifespan => '1 day', attempt_timeout => '1 day', attempt_delays => '{0}', max_attempts => 9);
	SET evq.store_batches_from = 1;
	SELECT count(*) FROM generate_series(1, 12) n, evq_publish_many('stored', NULL, array_fill('f' || n, '{1000}'), array_fill(jsonb_build_object('a', repeat('x', 8000)), '{1000}'));
	CREATE TABLE token (token text)});
is($node->safe_psql('db', 'SELECT count(*), sum(events) FROM evq.batch'), '12|12000', 'batches of large events');
session_below('evq_acquire_next(), of batches', q{WITH a AS (INSERT INTO held SELECT event_id, permit FROM evq_acquire_next('BATCHES', 10000) RETURNING 1) SELECT count(*) FROM a}, 10000);
session_below('evq_heartbeat(), of batches', q{SELECT count(*) FILTER (WHERE b.held) FROM (SELECT array_agg(event_id) i, array_agg(permit) p FROM held JOIN evq.log USING (event_id)) h, evq_heartbeat(h.i, h.p) b}, 10000);
session_below('evq_fail_many(), of batches', q{SELECT count(*) FILTER (WHERE b.accepted) FROM (SELECT (array_agg(event_id ORDER BY event_id))[:4000] i, (array_agg(permit ORDER BY event_id))[:4000] p FROM held JOIN evq.log USING (event_id)) h, evq_fail_many(h.i, h.p, 'e') b}, 4000);
session_below('evq_succeed_many(), of batches', q{SELECT count(*) FILTER (WHERE b.accepted) FROM (SELECT (array_agg(event_id ORDER BY event_id))[4001:8500] i, (array_agg(permit ORDER BY event_id))[4001:8500] p FROM held JOIN evq.log USING (event_id)) h, evq_succeed_many(h.i, h.p) b}, 4500);
below(
	dispatcher_pid($node, 'db'),
	'permits of events in batches time out',
	sub {
		$node->safe_psql('db', q{UPDATE evq.run SET state_due_at = now() WHERE state = 'p'; SELECT pg_notify('x', ''); SELECT evq_configure('stored', max_attempts => 8)});
		ok(poll_until('all out', sub { $node->safe_psql('db', q{SELECT count(*) FROM evq.errors WHERE event_type = 'stored' AND error_message LIKE 'the permit%'}) >= 1500 }), 'all of them');
	});

# What is passed in one argument is there as a whole; inserting it takes no more.
session_below('evq_publish_many()', q{SELECT count(*) FROM evq_publish_many('tough', NULL, array_fill('f'::text, '{20}'), array_fill(jsonb_build_object('a', repeat('x', 1000000)), '{20}'))}, 20);


# So it is with a list in JSON, which is read once before. It is made in a session that is over by then.
$node->safe_psql('db', q{
	SELECT evq_configure('next', 'PULLED');
	CREATE TABLE argument AS
	SELECT name, (SELECT jsonb_agg(jsonb_build_object('payload', jsonb_build_object('a', repeat('x', 1000000), 'n', n), 'event_type', 'next') || extra) FROM generate_series(1, 150) n) AS events
	FROM (VALUES ('list', jsonb_build_object('flow_id', 'f')), ('keys', '{"flow_id": "f"}'), ('spinoffs', '{}')) AS v (name, extra);
	UPDATE argument SET events = (SELECT jsonb_agg(e.value || jsonb_build_object('idempotency_key', e.n::text)) FROM jsonb_array_elements(events) WITH ORDINALITY AS e (value, n)) WHERE name = 'keys'});
sub list_below
{
	my ($what, $name, $statement, $expected) = @_;
	my $session = session($node, 'db');
	my $pid = $session->query_safe("SELECT sum(length(e.value #>> '{payload,a}')) FROM argument, jsonb_array_elements(events) e WHERE name = '$name'; SELECT count(*) FROM evq_counts(); SELECT pg_backend_pid()") =~ /(\d+)\s*\z/ ? $1 : die;

	below($pid, $what, sub { is($session->query_safe($statement), $expected, $what) });
	end_session($session);
	return;
}
list_below('evq_publish_many() of JSON', 'list', q{SELECT count(*) FROM argument, evq_publish_many(events) WHERE name = 'list'}, 150);
list_below('... with keys', 'keys', q{SELECT count(*) FROM argument, evq_publish_many(events) WHERE name = 'keys'}, 150);
is($node->safe_psql('db', q{SELECT count(*), count(DISTINCT length(p.payload ->> 'a')) FROM evq.events e JOIN evq.payloads p USING (event_id) WHERE e.event_type = 'next'}), '300|1', '... all of which are as they were given');
my $parent = $node->safe_psql('db', q{SELECT evq_publish('next', NULL, 'parent', priority => 100)});
list_below('spinoffs', 'spinoffs', qq{SELECT cardinality(evq_succeed('$parent', permit, NULL, events)) FROM argument, evq_acquire('$parent') WHERE name = 'spinoffs'}, 150);

done_testing();
