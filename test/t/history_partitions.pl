# A history of many partitions: whoever looks for one event locks a few of them, and waits for none in which it cannot be.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main');
make_database($node, 'db');
sub run { return $node->safe_psql('db', @_) }

run(q{
	SELECT evq_configure('job', retention => '3000 days', lifespan => '3000 days');
	SELECT evq_configure_flow('PULL', delivery => 'pull'), evq_configure('brief', 'PULL', retention => '0 s');
	SELECT evq.prepare_history(100, now() - interval '100 days')});
cmp_ok(run('SELECT count(*) FROM evq.history_partitions()'), '>', 100, 'there are many partitions');
my $old = run(q{SELECT relation FROM evq.history_partitions() WHERE from_at <= now() - interval '90 days' ORDER BY from_at DESC LIMIT 1});

# An event that went through its life so many days ago; how many days it took.
sub finish
{
	my ($days, $took, $verb) = @_;
	$verb //= q{evq_fail(:'id', 'no more', permit, retryable => false) FROM evq_acquire(:'id')};
	my ($published_at, $finished_at) = (-86400 * $days, -86400 * ($days - $took));

	return run(qq{
		SET evq.debug_lose_wakeups = on;
		SET evq.debug_clock_offset = $published_at;
		SELECT evq_publish('job', NULL, 'case', '{"text": "x"}') AS id \\gset
		SET evq.debug_clock_offset = $finished_at;
		SELECT $verb \\gset
		SELECT :'id'});
}

# Locks on partitions of the history and their indexes that a statement leaves.
sub locks_after
{
	my ($statement) = @_;

	return run(qq{
		BEGIN;
		SELECT FROM evq_version();
		$statement;
		SELECT 'locks ' || count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN (
			SELECT relation FROM evq.history_partitions() UNION SELECT i.indexrelid FROM pg_index i JOIN evq.history_partitions() p ON p.relation = i.indrelid)})
	  =~ /locks (\d+)/ ? $1 : undef;
}

# ---------- locks ----------

my %event = (today => finish(0, 0), old => finish(80, 0), 'of a long life' => finish(80, 30), gone => '01900000-0000-7000-8000-000000000000');
# The clock was set back: it finished before it was published.
$event{'of another clock'} = finish(10, -20, q{evq_cancel(:'id')});
is(run("SELECT count(*), count(DISTINCT tableoid) FROM evq.event_history"), '4|4', 'events finished at different times');
for my $which (sort keys %event)
{
	my $id = $event{$which};
	my $is_there = $which eq 'gone' ? 0 : 1;

	is(run("SELECT count(*) FROM evq.events_by_id('{$id}')"), $is_there, "an event $which is found by its id, if it is there");
	cmp_ok(locks_after($_), '<', 10, "few locks after: $_ of an event $which") for
	  "SELECT count(*) FROM evq.events_by_id('{$id}')", "SELECT held FROM evq_heartbeat('{$id}', '{1}')",
	  "SELECT accepted FROM evq_succeed_many('{$id}', '{1}')", ($is_there ? ("SELECT evq_event('$id') IS NULL", "SELECT evq_retry('$id')") : ());
}
my $all = join ',', values %event;
is(run("SELECT count(*) FROM evq.events_by_id('{$all, $event{today}, NULL}')"), 4, 'many at once, each once');
is(run("SELECT count(*) FROM evq.errors WHERE event_id = ANY ('{$all}')"), 3, '... and their errors');

# A list reads the newest partitions first, and others when these are not enough. It misses what finished, by the clock, a day before it was published.
my $by_clock = "event_id <> '$event{'of another clock'}'";
cmp_ok(locks_after(qq{SELECT evq_http.events('', '{"limit": 1}', NULL, NULL)}), '<', 30, 'few locks after a page of the newest events');
is(run(qq{SELECT count(DISTINCT e ->> 'event_id') FROM jsonb_array_elements(evq_http.events('', '{"limit": 100}', NULL, NULL) -> 'events') e}),
	run("SELECT count(*) FROM evq.events WHERE $by_clock"), 'a page with room lists all events, of all partitions');
is(run(qq{SELECT string_agg(e ->> 'event_id', ' ') FROM jsonb_array_elements(evq_http.events('', '{"limit": 100}', NULL, NULL) -> 'events') e}),
	run("SELECT string_agg(event_id::text, ' ' ORDER BY event_id DESC) FROM evq.events WHERE $by_clock"), '... the newest first');

# ---------- beside somebody who locks a partition ----------

my $holder = session($node, 'db');
$holder->query_safe("BEGIN; LOCK TABLE $old IN ACCESS EXCLUSIVE MODE");
is(run("SET lock_timeout = '20s'; SELECT evq_event(id) IS NOT NULL FROM unnest(ARRAY['$event{$_}'::uuid]) id"), 't', "an event $_ is found beside a locked partition of before")
  for 'today', 'old', 'of a long life';

# Whoever watches is told of events that leave nothing, and of those that finished: where each is looked for, no old partition is.
my $listener = listen_to($node, 'db', 'evq_events');
$listener->query_safe("SELECT evq_watch('10 minutes')");
my $kept = publish($node, 'db');
poll_until('dispatch', sub { run("SELECT evq.state_name(state) FROM evq.event WHERE event_id = '$kept'") eq 'dispatched' });
run("SET lock_timeout = '20s'; SELECT evq_succeed('$kept', permit) FROM evq_acquire('$kept')");
my $brief = run("SET lock_timeout = '20s'; SELECT evq_publish('brief', NULL, 'case')");
run("SET lock_timeout = '20s'; SELECT evq_succeed('$brief', permit) FROM evq_acquire('$brief')");
my $told = sub { join ' ', map { /"event_id":"(?:$kept|$brief)".*"status":"(\w+)"/ ? lc $1 : () } map { $_->[1] } notifications($listener) };
poll_until('messages', sub { (() = $told->() =~ /succeeded/g) == 2 });
like($told->(), qr/succeeded.*succeeded/, 'a watcher is told of all that happens beside it');
$holder->query_safe('COMMIT');

end_session($_) for $holder, $listener;
done_testing();
