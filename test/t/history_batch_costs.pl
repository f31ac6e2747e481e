# What housekeeping, the doctor, a turn and workers cost does not grow with the batches that wait, nor with those that are done: pages
# read are counted, beside few of them and beside many; and what is deleted is deleted in steps.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;

# A turn remembers 33 batches.
my $node = make_server('main', 'autovacuum = off', 'synchronous_commit = off', 'evq.store_batches_from = 1', 'evq.max_tracked = 100');
make_database($node, 'db');
stop_engine($node);
sub run { return $node->safe_psql('db', @_) }
run(q{
	SELECT evq_configure_flow('F', delivery => 'pull'), evq_configure_flow('OTHER', delivery => 'pull');
	SELECT evq_configure(t, f, lifespan => '3000 days', attempt_timeout => '3000 days', retention => '7 days') FROM (VALUES ('T', 'F'), ('S', 'F'), ('O', 'OTHER')) v(t, f);
	SELECT evq.prepare_log();
	CREATE FUNCTION batches(type text, count int) RETURNS bigint LANGUAGE sql AS $$
		SELECT count(*) FROM generate_series(1, count) n CROSS JOIN LATERAL evq_publish_many(type, NULL, array_fill('case ' || n, '{8}'), ARRAY(SELECT to_jsonb(n * i) FROM generate_series(1, 8) i)) id
	$$});

# Batches that wait, in two flows; and as many that are done.
sub add
{
	my ($count) = @_;

	run("SELECT batches('T', $count)");
	run("SELECT batches('S', $count)");
	run(q{SELECT count(*) FROM evq_acquire_batch('F', 8000, '{S}') a CROSS JOIN LATERAL evq_succeed_batch(a.token)}) for 0 .. $count / 1000;
	run(qq{
		DELETE FROM evq.backlog WHERE event_type_no = (SELECT event_type_no FROM evq.event_type WHERE event_type = 'S')});
	run('VACUUM ANALYZE');
	run('SELECT evq_purge()');
	return;
}

# Pages that a statement reads, in a session that has called it before; what it writes is undone.
sub pages
{
	my ($statement) = @_;
	my $plan = run("BEGIN; SAVEPOINT s; $statement; ROLLBACK TO s; EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, COSTS OFF) $statement; ROLLBACK");
	my ($line) = $plan =~ /^\s*Buffers: (.*)$/m;
	my $pages = 0;

	$pages += $1 while ($line // '') =~ /(?:hit|read)=(\d+)/g;
	return $pages;
}

my %statements = (
	'a step of housekeeping' => 'SELECT * FROM evq.keep_house()',
	'noting what is done' => 'SELECT evq.note_log_types()',
	'evq_check()' => 'SELECT count(*) FROM evq_check()',
	'a turn' => 'SELECT * FROM evq_tick()',
	'a publish' => q{SELECT batches('T', 1)},
	'evq_acquire_batch()' => q{SELECT cardinality(event_ids) FROM evq_acquire_batch('F', 8, '{T}')},
	'evq_acquire_next()' => q{SELECT count(*) FROM evq_acquire_next('F', 1)},
);

add(50);
run(q{SELECT batches('O', 5)});
my %few = map { $_ => pages($statements{$_}) } keys %statements;
add(4000);
for my $name (sort keys %statements)
{
	my $many = pages($statements{$name});
	# Without a dispatcher a session looks for the first 4,096 that can be had.
	cmp_ok($many, '<', 2 * $few{$name} + ($name =~ /acquire/ ? 150 : 50), "$name: $many pages beside 4,000 batches that wait and as many that are done, $few{$name} before");
}

# An id that its batch does not have is looked for nowhere.
my $batch = run('SELECT batch_id FROM evq.batch ORDER BY batch_id LIMIT 1');
my ($within, $beyond) = map { pages("SELECT count(*) FROM evq.logged_events(ARRAY[evq.id_in_batch('$batch', $_)])") } 7, 8;
cmp_ok($beyond, '<=', $within, "an id beyond the end of its batch: $beyond pages, $within for the last one");

# ---------- a turn without a dispatcher ----------

# With memory for all of them, it looks at those that come first, and at some others; calls look at all in the end.
$node->append_conf('postgresql.conf', 'evq.max_tracked = 100000');
$node->reload;
my $turn = pages($statements{'a turn'});
run(q{SELECT batches('T', 8000)});
my $turn_beside_more = pages($statements{'a turn'});
cmp_ok($turn_beside_more, '<', 2.5 * $turn, "a turn with memory for all: $turn_beside_more pages beside 12,000 batches that wait, $turn beside 4,000");
run(q{UPDATE evq.run SET state = 's' WHERE state <> 's'; INSERT INTO evq.run
	SELECT evq.id_in_batch(batch_id, events - 1), events, 's', now(), 'infinity', now(), 1 FROM (SELECT * FROM evq.backlog ORDER BY attempt_scheduled_at DESC LIMIT 3000) k});
ok(poll_until('the end', sub { run('SELECT count(*) FROM (SELECT evq_tick() FROM generate_series(1, 20)) t'); run('SELECT count(*) FROM evq.backlog') == 9055 }),
	'what is done at the end of the backlog is found all the same') or diag(run('SELECT count(*) FROM evq.backlog'));
run(q{DELETE FROM evq.backlog k USING evq.event_type t WHERE t.event_type_no = k.event_type_no AND t.event_type = 'T' AND k.batch_id IN (SELECT batch_id FROM evq.backlog ORDER BY attempt_scheduled_at DESC LIMIT 5000)});
$node->append_conf('postgresql.conf', 'evq.max_tracked = 100');
$node->reload;

# ---------- the other flow ----------

# What is at the end of no line has its turn, too: a flow with thousands of batches does not hide those of another.
start_engine($node, 'db');
ok(poll_until('offered', sub { run(q{SELECT count(*) FROM evq_acquire_next('OTHER', 40)}); run(q{SELECT count(*) FROM evq.events WHERE event_type = 'O' AND state = 'being_processed'}) == 40 }),
	'with memory for 33 batches, and 4,050 waiting in one flow, those of another are offered');

# What a transaction has published itself is found beside all that waits.
run(q{SELECT evq_configure('MINE', 'F', lifespan => '3000 days')});
my $mine = run(q{BEGIN; SELECT batches('MINE', 1); EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, COSTS OFF) SELECT count(*) FROM evq_acquire_next('F', 8, '{MINE}'); SELECT count(*) FROM evq.run r WHERE r.events = 8 AND r.state = 'p' AND r.xmin = pg_current_xact_id()::xid; ROLLBACK});
my ($mine_pages) = $mine =~ /Buffers: shared hit=(\d+)/;
like($mine, qr/^1$/m, 'a transaction has what it has published');
cmp_ok($mine_pages, '<', 300, "... for $mine_pages pages, beside 4,050 batches");
stop_engine($node);

# ---------- events that left their batch ----------

# A session that has acquired them knows where they are, as of those that were never in one.
run(q{SELECT evq_configure_flow('HELD', delivery => 'pull'), evq_configure(t, 'HELD', lifespan => '3000 days', attempt_timeout => '3000 days') FROM unnest('{LEFT, SINGLE}'::text[]) t});
run(q{SELECT count(*) FROM evq_publish_many('LEFT', NULL, array_fill('case'::text, '{400}'), array_fill('1'::jsonb, '{400}'))});
run(q{SELECT evq_release_batch(token) FROM evq_acquire_batch('HELD', 400)});
run(q{SET evq.store_batches_from = 0; SELECT count(*) FROM evq_publish_many('SINGLE', NULL, array_fill('case'::text, '{400}'), array_fill('1'::jsonb, '{400}'))});
is(run('SELECT count(*) FROM evq.event'), 800, 'events of a batch have rows of their own');
sub snooze_pages
{
	my ($type) = @_;
	my $plan = run(qq{BEGIN;
		CREATE TEMPORARY TABLE held AS SELECT event_id, permit FROM evq_acquire_next('HELD', 400, '{$type}');
		ANALYZE held;
		EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, COSTS OFF) SELECT count(evq_snooze(event_id, permit, now() + interval '1 h')) FROM held; ROLLBACK});
	return $plan =~ /Buffers: shared hit=(\d+)/ ? $1 : die $plan;
}
my %held = map { $_ => snooze_pages($_) } qw(LEFT SINGLE);
cmp_ok($held{LEFT}, '<', $held{SINGLE} + 400, "... whose change costs $held{LEFT} pages for 400, those of others $held{SINGLE}");

# ---------- steps ----------

run(qq{
	SELECT evq.prepare_log(0, now() - interval '10 days');
	SET evq.debug_lose_wakeups = on;
	SET evq.debug_clock_offset = '-10 d';
	SELECT batches(t, 3000) FROM unnest('{T, S}'::text[]) t \\g /dev/null
	DELETE FROM evq.backlog k USING evq.event_type t WHERE t.event_type_no = k.event_type_no AND t.event_type = 'S'});
sub steps { my ($wanted) = @_; my @steps; while (1) { my $step = run('SELECT more, coalesce(dropped::text, $$-$$), events, leftovers FROM evq.keep_house()'); last if $step =~ /^f/; push @steps, [ split /\|/, $step ]; last if @steps > 1000 } return @steps }
steps();
run(q{UPDATE evq.log_type SET done_at = now() - interval '8 days' WHERE done_at IS NOT NULL});
my @steps = steps();
my ($events, $leftovers, $most, $most_leftovers) = (0) x 4;
for (@steps) { $events += $_->[2]; $leftovers += $_->[3]; $most = $_->[2] if $_->[2] > $most; $most_leftovers = $_->[3] if $_->[3] > $most_leftovers }
is($events, 24_000, 'events of a type are deleted from a partition of two');
is($leftovers, 3000, '... and their batches');
cmp_ok($most, '<', 24_000, "... $most at most in a step");
cmp_ok($most_leftovers, '<=', 1000, "... $most_leftovers batches");
is(run(q{SELECT count(*) FROM evq.batch b JOIN evq.event_type t USING (event_type_no) WHERE t.event_type = 'S' AND b.batch_id < evq.first_id(now() - interval '9 days')}), 0, '... all of them');
is(run(q{SELECT count(*) FROM evq.log l JOIN evq.batch b ON b.batch_id = evq.id_in_batch(l.event_id, 0) JOIN evq.event_type t USING (event_type_no)
	WHERE t.event_type = 'T' AND b.batch_id < evq.first_id(now() - interval '9 days')}), 24_000, '... and none of the other');
done_testing();
