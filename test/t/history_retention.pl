# Finished events are kept in partitions by the time they finished, for the retention of their type, and then go with all that is theirs.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', "evq.poll_interval = '200ms'");
make_database($node, 'db');
my $large = 'x' x 1000;

sub run { return $node->safe_psql('db', @_) }

# Names of the partitions, the default one as "default".
sub partitions { return run(q{SELECT string_agg(replace(relation::text, 'evq.event_history_', ''), ' ' ORDER BY from_at) FROM evq.history_partitions()}) }

# An event that went through its life so many days ago: with a large payload, an idempotency key and an error.
sub finish
{
	my ($type, $days, $verb) = @_;
	my $offset = -86400 * $days;

	return run(qq{
		SET evq.debug_lose_wakeups = on;
		SET evq.debug_clock_offset = $offset;
		SELECT evq_publish('$type', NULL, '$type $days', '{"text": "$large"}', idempotency_key => '$type $days') AS id \\gset
		SELECT permit FROM evq_acquire(:'id') \\gset
		SELECT evq_fail(:'id', 'not yet', :permit, retry_in => '0') \\gset
		SELECT permit FROM evq_acquire(:'id') \\gset
		SELECT $verb \\gset
		SELECT :'id'});
}

# Rows that belong to an event: in the history, payloads, errors, keys.
sub remains
{
	my ($id) = @_;

	return run(join ' UNION ALL ', map { "SELECT count(*) FROM evq.$_ WHERE event_id = '$id'" } qw(event_history event_payload event_error idempotency));
}

# What evq.event says, for evq.events looks at the history too.
sub state_of_live { return run("SELECT evq.state_name(state) FROM evq.event WHERE event_id = '$_[0]'") }

my $kept = "1\n1\n1\n1";
my $gone = "0\n0\n0\n0";

# ---------- made ahead ----------

poll_until('partitions', sub { run('SELECT count(*) FROM evq.history_partitions()') == 4 });
is(partitions(), run(q{SELECT string_agg(to_char((now() AT TIME ZONE 'UTC')::date + n, 'YYYYMMDD'), ' ' ORDER BY n) || ' default' FROM generate_series(0, 2) n}),
	'the engine makes partitions for today and two days more');
is(run('SELECT evq.prepare_history()'), 0, 'once');

# Its housekeeper would delete what is old before the test has looked at it.
stop_engine($node);
run(q{SELECT evq_configure(t, 'FLOW', lifespan => '3000 days', attempt_timeout => '3000 days', retention => r::interval) FROM (VALUES ('brief', '1 day'), ('job', '7 days'), ('long', '30 days')) v(t, r)});
my $today = finish('job', 0, 'evq_succeed(:\'id\', :permit)');
is(run(qq{SELECT tableoid::regclass = (SELECT relation FROM evq.history_partitions() WHERE from_at <= now() AND to_at > now()) FROM evq.event_history WHERE event_id = '$today'}),
	't', 'an event that finishes goes into the one of its time');
is(run(qq{SELECT evq_succeed('$today', (SELECT permit FROM evq.events WHERE event_id = '$today'))}), '{}', 'and is found there');

# ---------- deleted ----------

run(qq{SELECT evq.prepare_history(0, now() - make_interval(days => d)) FROM unnest('{3, 10, 40}'::int[]) d});
my %event = map { my $days = $_; map { ("$_ $days" => finish($_, $days, "evq_fail(:'id', 'no more', :permit, retryable => false)")) } qw(brief job long) } 3, 10, 40;
my $nowhere = finish('job', 20, "evq_succeed(:'id', :permit)");
is(run(qq{SELECT tableoid::regclass FROM evq.event_history WHERE event_id = '$nowhere'}), 'evq.event_history_default', 'without a partition of its time it goes into the default one');
my $live = publish($node, 'db', qq{jsonb_build_object('text', '$large'), run_at => now() + interval '1 day', idempotency_key => 'live'});

my $reader = session($node, 'db');
$reader->query_safe("BEGIN; SELECT count(*) FROM evq.events");
is(run('SELECT partitions_dropped, events_deleted FROM evq_purge()'), '0|4', 'while somebody reads the history, events are deleted but no partition is dropped');
is(remains(finish('job', 0.5, "evq_succeed(:'id', :permit)")), $kept, 'nothing is waiting for that: an event finishes');
is(remains($today), $kept, '... beside others');
$reader->query_safe('COMMIT');
end_session($reader);
is(run('SELECT partitions_dropped, events_deleted FROM evq_purge()'), '1|0', 'later it is dropped');

my %is_kept = map { $_ => 1 } 'job 3', 'long 3', 'long 10';
is(remains($event{$_}), $is_kept{$_} ? "1\n1\n2\n1" : $gone, ($is_kept{$_} ? 'kept: ' : 'gone: ') . $_) for sort keys %event;
is(remains($nowhere), $gone, 'gone: what was in the default partition');
is(run(qq{SELECT payload->>'text' = '$large' FROM evq.payloads WHERE event_id = '$live'}), 't', 'the payload of a live event stays');
is(publish($node, 'db', qq{jsonb_build_object('text', '$large'), run_at => now() + interval '1 day', idempotency_key => 'live'}), $live, 'and its key');
is(run(qq{SELECT evq_event('$event{'long 10'}')->'payload'->>'text' = '$large'}), 't', 'what is kept can be read');
my (undef, undef, $stderr) = $node->psql('db', "\\set VERBOSITY sqlstate\nSELECT evq_event('$event{'job 10'}')");
like($stderr, qr/ERROR:  EQ002/, 'what is gone cannot');
isnt(run(q{SELECT evq_publish('job', NULL, 'job 10', idempotency_key => 'job 10')}), $event{'job 10'}, 'its key publishes a new event');
is(run('SELECT * FROM evq_purge()'), '0|0|0', 'a purge after the purge finds nothing');

# An old event comes back to life, and finishes in the partition of now.
run("SELECT evq_retry('$event{'long 10'}')");
is(state_of($node, 'db', $event{'long 10'}) =~ /awaiting_processing|dispatched/, 1, 'retried');
is(run("SELECT evq_succeed('$event{'long 10'}', permit) FROM evq_acquire('$event{'long 10'}')"), '{}', 'and done');
is(run("SELECT h.finished_at > now() - interval '1 minute' AND tableoid::regclass::text !~ 'default' FROM evq.event_history h WHERE event_id = '$event{'long 10'}'"), 't', 'now');

# Retention that grows shorter counts for what is there.
run(q{SELECT evq_configure('long', retention => '2 days')});
run('SELECT evq_purge()');
is(remains($event{'long 3'}), $gone, 'a shorter retention deletes more');
is(remains($event{'job 3'}), "1\n1\n2\n1", 'but not of other types');

# ---------- flow_id ----------

is(run(q{SELECT count(*) FROM evq.history_partitions() p WHERE (p.to_at < now()) IS TRUE AND NOT EXISTS (
	SELECT FROM pg_index i WHERE i.indrelid = p.relation AND pg_get_indexdef(i.indexrelid) ~ '\(flow_id\)')}), 0, 'partitions of the past are indexed by flow_id');

# ---------- by the engine itself ----------

run(q{SELECT evq_configure(t, retention => '1 day') FROM unnest('{brief, job, long}'::text[]) t});
start_engine($node, 'db', "evq.housekeeping_interval = '100ms'");
ok(poll_until('housekeeping', sub { run("SELECT count(*) FROM evq.event_history WHERE finished_at < now() - interval '2 days'") == 0 && remains($event{'job 3'}) eq $gone }),
	'the engine deletes by itself');
is(run(q{SELECT count(*) FROM evq.history_partitions() p WHERE p.to_at < now() - interval '1 day'}), 0, 'and drops partitions');
is(remains($today), $kept, 'what is not old is kept');

# ---------- lengths ----------

$node->append_conf('postgresql.conf', "evq.housekeeping_interval = '1h'\nevq.history_partition = 'hour'\n");
$node->reload;
poll_until('setting', sub { run('SHOW evq.history_partition') eq 'hour' });
is(run('SELECT evq.prepare_history()'), 0, 'shorter partitions do not overlap the longer ones that are there');

# ---------- a partition that goes while a session cannot look ----------

my ($first, $second) = map { publish($node, 'db') } 1 .. 2;
wait_for_state($node, 'db', $_, 'dispatched') for $first, $second;
stop_engine($node);    # its housekeeper would make the partition again
my $worker = session($node, 'db');
my $locker = session($node, 'db');
$worker->query_safe("SELECT evq_succeed('$first', permit) FROM evq_acquire('$first')");
my $permit = run("SELECT permit FROM evq_acquire('$second')");
run(q{DO $$ BEGIN EXECUTE (SELECT 'DROP TABLE ' || relation FROM evq.history_partitions() WHERE from_at <= now() AND to_at > now()); END $$});
$locker->query_safe('BEGIN; LOCK TABLE evq.event_history IN ACCESS EXCLUSIVE MODE');
$worker->query("SET lock_timeout = '100ms'");
$worker->query("SELECT evq_succeed('$second', $permit)");
is(state_of_live($second), 'being_processed', 'a report that cannot look at the partitions fails');
$locker->query_safe('COMMIT');
is(scalar $worker->query("SELECT evq_succeed('$second', $permit)"), '{}', 'the next one looks again');
is(run("SELECT tableoid::regclass FROM evq.event_history WHERE event_id = '$second'"), 'evq.event_history_default', 'and finds that the partition has gone');
end_session($_) for $worker, $locker;

my $end = run('SELECT max(to_at) FROM evq.history_partitions()');
is(run("SELECT evq.prepare_history(2, '$end'::timestamptz - interval '1 hour')"), 2, 'they follow them');
$node->append_conf('postgresql.conf', "evq.history_partition = 'week'\n");
$node->reload;
poll_until('setting', sub { run('SHOW evq.history_partition') eq 'week' });
cmp_ok(run("SELECT evq.prepare_history(1, '$end')"), '>=', 1, 'and weeks follow hours');
is(run(q{SELECT count(*) FROM (SELECT from_at, lag(to_at) OVER (ORDER BY from_at) AS before FROM evq.history_partitions()) p WHERE from_at <> before}), 0, 'without a gap');

# ---------- the end ----------

start_engine($node, 'db');
run('DROP EXTENSION evq');
is(run(q{SELECT count(*) FROM pg_class WHERE relname ~ '^event_history'}), 0, 'DROP EXTENSION takes the partitions along');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'no crash');
$node->stop;
done_testing();
