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

# ---------- partitions that are no plain tables ----------

# Makes one of these a partition for what finished between two times.
my %kind = (
	'a foreign table' => sub {
		return "CREATE FOREIGN TABLE archive PARTITION OF evq.event_history FOR VALUES FROM ('$_[0]') TO ('$_[1]') SERVER file
			OPTIONS (filename '/dev/null', format 'csv')";
	},
	'partitioned again' => sub {
		return "CREATE TABLE archive PARTITION OF evq.event_history FOR VALUES FROM ('$_[0]') TO ('$_[1]') PARTITION BY HASH (event_id);
			CREATE TABLE archive_all PARTITION OF archive FOR VALUES WITH (MODULUS 1, REMAINDER 0)";
	});
for my $kind (sort keys %kind)
{
	make_database($node, 'kinds');
	my $in_kinds = sub { return $node->safe_psql('kinds', @_) };
	my $finish = sub {
		return $node->psql('kinds', q{
			\set ON_ERROR_STOP 1
			SET evq.debug_lose_wakeups = on;
			SELECT evq_publish('job', NULL, 'case') AS id \gset
			SELECT evq_cancel(:'id');
			SELECT evq_event(:'id') ->> 'state'});
	};
	my ($status, $out, $err);

	$in_kinds->(q{CREATE EXTENSION file_fdw; CREATE SERVER file FOREIGN DATA WRAPPER file_fdw;
		SELECT evq_configure('job', retention => '1 day'), format('DROP TABLE %s', relation) AS drop FROM evq.history_partitions() WHERE NOT relation::text ~ 'default' \gexec});
	$in_kinds->($kind{$kind}->('2020-01-01', '2020-02-01'));
	($status, $out) = $finish->();
	is("$status " . ($out =~ /canceled$/ ? 'found' : $out), '0 found', "$kind holds old events: others finish and are found beside it");
	($status, undef, $err) = $node->psql('kinds', q{SELECT evq_retry('01000000-0000-7000-8000-000000000000')});
	like("$status $err", qr/^3 .*no event 01000000/s, '... and an event that is nowhere is looked for without it');
	is($in_kinds->('SELECT partitions_dropped FROM evq_purge()'), 0, '... and it is left alone when all in it is past its retention');
	is($in_kinds->(q{SELECT count(*) FROM evq_check() WHERE finding ~ 'not a plain table'}), 0, '... which is no finding');
	$in_kinds->(q{ALTER TABLE evq.event_history DETACH PARTITION archive; ALTER TABLE archive RENAME TO before; DELETE FROM evq.event_history});
	$in_kinds->(q{SELECT format('DROP TABLE %s', relation) AS drop FROM evq.history_partitions() WHERE NOT relation::text ~ 'default' \gexec});
	$in_kinds->($kind{$kind}->('2020-01-01', '2040-01-01') =~ s/archive_all/archive_most/r);
	($status, undef, $err) = $finish->();
	like("$status $err", qr/^3 .*partition archive of evq.event_history, for an event that finishes now, is not a plain table/s, "$kind holds the present: an event that finishes is refused");
	is($in_kinds->(q{SELECT severity FROM evq_check() WHERE finding ~ '^partition public.archive of the history is not a plain table'}), 'error', '... which is a finding');
	$in_kinds->('ALTER TABLE evq.event_history DETACH PARTITION archive');
	($status) = $finish->();
	is($status, 0, '... until it is detached');
	$node->safe_psql('postgres', 'DROP DATABASE kinds');
}

# ---------- the session in which partitions are made ----------

make_database($node, 'styles');
is($node->safe_psql('styles', q{
	SELECT format('DROP TABLE %s', relation) AS drop FROM evq.history_partitions() WHERE NOT relation::text ~ 'default' \gexec
	SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Kolkata';
	SELECT FROM evq_purge();
	SET timezone = 'UTC';
	SELECT count(*), bool_and(from_at = date_trunc('day', from_at) AND to_at = from_at + interval '1 day') FROM evq.history_partitions() WHERE from_at IS NOT NULL}) =~ s/^\n//r,
	'3|t', 'partitions begin at midnight, UTC, whatever the style and time zone of the session that makes them');

done_testing();
