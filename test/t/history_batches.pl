# Events in batches are kept in partitions by the time they were published, for the retention of their type from when their batches are done, and
# then go with all that is theirs; and they are found where a rewritten table has put them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', 'evq.store_batches_from = 1', "evq.poll_interval = '200ms'", 'autovacuum = off');
make_database($node, 'db');

sub run { return $node->safe_psql('db', @_) }

# Names of the partitions, the default one as "default".
sub partitions { return run(q{SELECT string_agg(replace(relation::text, 'evq.log_', ''), ' ' ORDER BY from_at) FROM evq.log_partitions()}) }
sub purge { return run('SELECT partitions_dropped, events_deleted FROM evq_purge()') }
# Partitions without times are the default one; those of a day so long ago.
sub partition_of { return run("SELECT relation FROM evq.log_partitions() WHERE from_at <= now() - interval '$_[0] days' AND to_at > now() - interval '$_[0] days'") }

# A batch of 20 events that was published so many days ago; one is canceled, and the others succeed, unless some are left.
sub batch
{
	my ($type, $days, $left) = @_;
	my $offset = -86400 * $days;
	my $most = 20 - ($left // 0);

	return run(qq{
		SET evq.debug_lose_wakeups = on;
		SET evq.debug_clock_offset = $offset;
		SELECT min(id::text) AS first FROM evq_publish_many('$type', NULL, array_fill('$type $days'::text, '{20}'), (SELECT array_agg(to_jsonb('$type $days: ' || n)) FROM generate_series(0, 19) n)) id \\gset
		SELECT evq_cancel(:'first', 'no more') \\gset
		SELECT token AS token FROM evq_acquire_batch('FLOW', $most - 1, ARRAY['$type']) \\gset
		SELECT count(*) AS lost FROM evq_succeed_batch(:'token') \\gset
		SELECT count(*) AS turns FROM evq_tick() \\gset
		SELECT :'first'});
}
# Rows of a batch: events of the log, itself, runs, exceptions, backlog.
sub remains
{
	my ($id) = @_;

	return run(join q{ || ' ' || }, "SELECT (SELECT count(*) FROM evq.log WHERE evq.id_in_batch(event_id, 0) = '$id')", "(SELECT count(*) FROM evq.batch WHERE batch_id = '$id')",
		"(SELECT count(*) FROM evq.run WHERE evq.id_in_batch(last_id, 0) = '$id')", "(SELECT count(*) FROM evq.exception WHERE evq.id_in_batch(event_id, 0) = '$id')",
		"(SELECT count(*) FROM evq.backlog WHERE batch_id = '$id')");
}
# As if those of a partition had been done when its time was over.
sub backdate { return run("UPDATE evq.log_type t SET done_at = p.to_at FROM evq.log_partitions() p JOIN pg_class c ON c.oid = p.relation WHERE c.relname = t.relation AND isfinite(t.done_at)") }

my $kept = '20 1 1 1 0';
my $gone = '0 0 0 0 0';

# ---------- made ahead ----------

ok(poll_until('partitions', sub { run('SELECT count(*) FROM evq.log_partitions()') == 4 }), 'the engine makes partitions');
is(partitions(), run(q{SELECT string_agg(to_char((now() AT TIME ZONE 'UTC')::date + n, 'YYYYMMDD'), ' ' ORDER BY n) || ' default' FROM generate_series(0, 2) n}),
	'... for today and two days more');
is(run('SELECT evq.prepare_log()'), 0, '... once');

# Its housekeeper would delete what is old before the test has looked at it.
stop_engine($node);
run(q{SELECT evq_configure_flow('FLOW', delivery => 'pull'), evq_configure(t, 'FLOW', lifespan => '3000 days', attempt_timeout => '3000 days', retention => r::interval)
	FROM (VALUES ('brief', '1 day'), ('job', '7 days'), ('long', '30 days')) v(t, r)});
my $today = batch('job', 0);
is(run("SELECT DISTINCT tableoid::regclass FROM evq.log"), partition_of(0), 'what is published goes into the one of its time');
is(remains($today), $kept, '... with what became of it');

# ---------- dropped, and thinned ----------

run(qq{SELECT evq.prepare_log(0, now() - make_interval(days => d)) FROM unnest('{3, 10, 40}'::int[]) d});
my %batch = map { my $days = $_; map { ("$_ $days" => batch($_, $days)) } qw(brief job long) } 3, 10, 40;
is(join(' ', map { remains($_) eq $kept ? 'kept' : remains($_) } values %batch), join(' ', ('kept') x 9), 'batches of before are there, and not in the backlog');
is(purge(), '0|6', 'nothing goes whose batches have just been done, but events that have left them');
is(run('SELECT count(*), count(done_at) FROM evq.log_type'), '9|9', '... but it is noted that they are');
backdate();

my $reader = session($node, 'db');
$reader->query_safe('BEGIN; SELECT count(*) FROM evq.events');
my $day_40 = partition_of(40);
is(purge(), '0|60', 'while somebody reads events, some are deleted but no partition is dropped');
is(remains(batch('job', 0)), $kept, '... and nothing waits for that: a batch is published, and done');
$reader->query_safe('COMMIT');
end_session($reader);
is(purge(), '1|0', 'later it is dropped');
is(run("SELECT to_regclass('$day_40') IS NULL"), 't', '... that of which the retention of all types is over');

my %is_kept = map { $_ => 1 } 'job 3', 'long 3', 'long 10';
is(remains($batch{$_}), $is_kept{$_} ? $kept : $gone, ($is_kept{$_} ? 'kept: ' : 'gone: ') . $_) for sort keys %batch;
is(run(q{SELECT count(*) FROM evq.events WHERE flow_id LIKE '% 10' AND state = 'succeeded'}), 19, 'evq.events shows those that are kept');
is(run(qq{SELECT evq_event('$batch{'long 10'}') ->> 'payload'}), 'long 10: 0', 'an event that left its batch has its payload');
is(run(qq{SELECT payload FROM evq.payloads_by_id(ARRAY[evq.id_in_batch('$batch{'long 10'}', 7)])}), '"long 10: 7"', '... as have those in it');
like(($node->psql('db', qq{\\set VERBOSITY sqlstate\nSELECT evq_event(evq.id_in_batch('$batch{'job 10'}', 1))}))[2], qr/ERROR:  EQ002/, 'what is gone cannot be read');
is(purge(), '0|0', 'a purge after the purge finds nothing');
is(run(q{SELECT string_agg(finding, ', ') FROM evq_check() WHERE subject = 'tables' AND severity <> 'ok'}), '', 'nothing is to be said of the tables');

# Retention that grows shorter counts for what is there.
run(q{SELECT evq_configure('long', retention => '2 days')});
backdate();
is(purge(), '1|22', 'a shorter retention deletes more, and those that left their batches');
is(remains($batch{'long 3'}), $gone, '... of that type');
is(remains($batch{'job 3'}), $kept, '... and not of others');

# ---------- not yet ----------

# A batch that is not done keeps its partition, and its type's others with it; those of other types go.
run(q{SELECT evq_configure('long', retention => '30 days'), evq.prepare_log(0, now() - interval '50 days')});
my $day_50 = partition_of(50);
my $done = batch('long', 50);
my $open = batch('long', 50, 1);
my $brief = batch('brief', 50);
purge();
backdate();
is(purge(), '0|20', 'one event that is not final keeps the partition');
is(remains($brief), $gone, '... from which others are deleted');
is(remains($open), '20 1 1 1 1', '... as it is');
my $permit = run("SELECT permit FROM evq_acquire(evq.id_in_batch('$open', 19))");
is(run("SELECT payload FROM evq.payloads_by_id(ARRAY[evq.id_in_batch('$open', 19)])"), '"long 50: 19"', 'it is had');

# One who began to publish before the time was over.
my $late = session($node, 'db');
$late->query_safe(q{SET evq.debug_clock_offset = '-50 d'; BEGIN});
my $late_id = $late->query_safe(q{SELECT min(id::text) FROM evq_publish_many('job', NULL, array_fill('late'::text, '{3}'), '{1, 2, 3}'::jsonb[]) id});
run("SELECT evq_succeed(evq.id_in_batch('$open', 19), $permit, '42')");
run('SELECT count(*) FROM evq_tick()');
purge();
backdate();
is(purge(), '0|0', 'one who may publish into it keeps it');
$late->query_safe('COMMIT');
is(purge(), '0|40', '... and so does what has come of that, but others go from there');
is(remains($late_id), '3 1 0 0 1', '... which is there');
is(run("SELECT names FROM (SELECT string_agg(payload::text, ' ' ORDER BY event_id) AS names FROM evq_acquire_next('FLOW', 10, '{job}')) n"), '1 2 3', '... and can be had');
run("SELECT count(*) FROM (SELECT array_agg(event_id) AS ids, array_agg(permit) AS permits FROM evq.events WHERE flow_id = 'late') e, evq_succeed_many(e.ids, e.permits)");
run('SELECT count(*) FROM evq_tick()');
purge();
backdate();
is(run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT partitions_dropped FROM evq_purge(); COMMIT'), 0, 'a purge with a snapshot of before drops no partition');
is(run("SELECT partitions_dropped FROM evq_purge()"), 1, 'done, it goes');
is(run("SELECT to_regclass('$day_50') IS NULL"), 't', '... with the partition');
is(remains($_), $gone, '... and all that was of it') for $open, $done, $late_id;
is(run("SELECT payload FROM evq.payloads_by_id(ARRAY[evq.id_in_batch('$open', 19)])"), '"long 50: 19"', 'an event that left its batch before has its payload')
	or diag(run("SELECT * FROM evq.events_by_id(ARRAY[evq.id_in_batch('$open', 19)])"));
end_session($late);

# One who has published into a partition by the time that it is locked to be dropped, of a type of which all was done before.
run(q{SELECT evq.prepare_log(0, now() - interval '60 days')});
batch('job', 60);
purge();
backdate();
$late = session($node, 'db');
$late->query_safe(q{SET evq.debug_clock_offset = '-60 d'; BEGIN});
$late_id = $late->query_safe(q{SELECT min(id::text) FROM evq_publish_many('job', NULL, array_fill('late'::text, '{3}'), '{1, 2, 3}'::jsonb[]) id});
my $dropper = session($node, 'db');
$dropper->query_until(qr/begun/, "\\echo begun\nSELECT evq.drop_log();\n");
$late->query_safe(q{
	DO $$
	BEGIN
		FOR n IN 1 .. 1000 LOOP
			EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE relation IN (SELECT relation FROM evq.log_partitions()) AND NOT granted);
			PERFORM pg_sleep(0.005);
		END LOOP;
	END $$;
	COMMIT});
end_session($dropper);
is(remains($late_id), '3 1 0 0 1', 'what is published until a partition is locked keeps it');
is(run("SELECT count(*) FROM evq_acquire_next('FLOW', 10, '{job}')"), 3, '... and can be had');
run("SELECT count(*) FROM (SELECT array_agg(event_id) AS ids, array_agg(permit) AS permits FROM evq.events WHERE flow_id = 'late' AND state = 'being_processed') e, evq_succeed_many(e.ids, e.permits)");
run('SELECT count(*) FROM evq_tick()');
purge();
backdate();
is(run('SELECT partitions_dropped FROM evq_purge()'), 1, '... until it is done');
end_session($late);

# What a transaction that keeps its snapshot may not see it does not delete.
my $nowhere = batch('brief', 20);
is(run("SELECT DISTINCT tableoid::regclass FROM evq.log WHERE flow_id = 'brief 20'"), 'evq.log_default', 'without a partition of its time a batch goes into the default one');
is(run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT partitions_dropped, events_deleted FROM evq_purge(); COMMIT"), '0|1', 'a purge with a snapshot of before leaves batches alone');
is(remains($nowhere), $kept, '... that are past their retention');
is(purge(), '0|20', 'they are deleted from there, too');
is(remains($nowhere), $gone, '... with all that is theirs');

# ---------- without retention ----------

run(q{SELECT evq_configure('brief', retention => '0 s'), evq.prepare_log(0, now() - interval '1 day')});
is(run(q{SELECT count(*) FROM evq_publish_many('brief', NULL, array_fill('none'::text, '{3}'), '{1, 2, 3}'::jsonb[]); SELECT count(*) FROM evq.log WHERE flow_id = 'none'}), "3\n0", 'a type without retention has no batches');
run(q{SELECT evq_configure('brief', retention => '1 s')});
my $short = batch('brief', 1);
run(q{SELECT evq_configure('brief', retention => '0 s')});
is(run('SELECT partitions_dropped FROM evq_purge()'), 1, 'what there is of one goes when its day is over');
is(remains($short), $gone, '... and leaves nothing');

# ---------- where rows are ----------

my $moved = batch('job', 0);
run(q{DELETE FROM evq.log WHERE flow_id = 'job 0' AND evq.ordinal(event_id) = 5});
my $waits = batch('long', 0, 10);
run('VACUUM FULL evq.log');
is(run("SELECT evq.is_in_place('$waits')"), 'f', 'rows are not where their batch says, after VACUUM FULL');
is(run(q{SELECT payload FROM evq_acquire_next('FLOW', 1, '{long}')}), '"long 0: 10"', '... and are found');
is(run("SELECT payload FROM evq.payloads_by_id(ARRAY[evq.id_in_batch('$moved', 7)])"), '"job 0: 7"', '... those of done ones, too');
ok(run('SELECT count(*) FROM evq_purge()') == 1, 'housekeeping');
is(run("SELECT evq.is_in_place('$waits')"), 't', '... notes where they are');
is(run("SELECT event_id = evq.id_in_batch('$moved', 6) FROM evq.logged_events(ARRAY[evq.id_in_batch('$moved', 6)])"), 't', '... beside those that are gone');
is(run("SELECT string_agg(payload::text, ' ' ORDER BY event_id) FROM evq_acquire_next('FLOW', 3, '{long}')"), '"long 0: 11" "long 0: 12" "long 0: 13"', '... and they are had');
is(run(qq{SELECT brin_summarize_new_values(indexrelid) FROM pg_index WHERE indrelid = '} . partition_of(0) . q{'::regclass}), 0, '... and has new pages summarized');

# A copy by pg_dump.
$node->safe_psql('postgres', 'CREATE DATABASE copy');
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '--format=custom', '--file', $dump, $node->connstr('db') ], 'dumped');
$node->command_ok([ 'pg_restore', '--exit-on-error', '--dbname', $node->connstr('copy'), $dump ], '... and restored');
my $contents = q{SELECT count(*), count(DISTINCT event_id), sum(hashtext(event_id::text || state || flow_id)) FROM evq.events};
is($node->safe_psql('copy', $contents), run($contents), '... all is there');
is($node->safe_psql('copy', 'SELECT * FROM evq.log_type ORDER BY 1, 2'), run('SELECT * FROM evq.log_type ORDER BY 1, 2'), '... and since when it is kept');
is($node->safe_psql('copy', q{SELECT count(*) FROM evq_purge(); SELECT count(*) FROM evq.batch WHERE NOT evq.is_in_place(batch_id) AND batch_id NOT IN (SELECT evq.id_in_batch(event_id, 0) FROM evq.events GROUP BY 1 HAVING count(*) < 20)}),
	"1\n0", '... and where its batches know it to be');

# ---------- by the engine itself ----------

run(q{SELECT evq_configure('job', retention => '1 day'), evq.note_log_types()});
backdate();
start_engine($node, 'db', "evq.housekeeping_interval = '100ms'");
ok(poll_until('housekeeping', sub { run("SELECT count(*) FROM evq.log_partitions() p WHERE p.to_at < now() - interval '1 day'") == 0 && remains($batch{'job 3'}) eq $gone }),
	'the engine drops by itself') || diag(partitions(), run('SELECT * FROM evq.log_type'));
is(run("SELECT count(*) FROM evq.log WHERE flow_id = 'job 0'"), 57, 'what is not old is kept');
run('DROP EXTENSION evq');
is(run(q{SELECT count(*) FROM pg_class WHERE relname ~ '^log_'}), 0, 'DROP EXTENSION takes the partitions along');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'no crash');
done_testing();
