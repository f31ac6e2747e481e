# Events that are stored in batches, with a dispatcher: they are offered without a search, come back from whoever gives them
# up or vanishes, and each succeeds once, over crashes of the dispatcher and of the server; and what is done is forgotten.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use IPC::Run ();
use Test::More;

# The sweep is so rare that what is seen here is not its work.
my $node = make_server('main', "evq.store_batches_from = 1\nevq.poll_interval = '1h'");
make_database($node, 'db');

sub run { return $node->safe_psql('db', $_[0]) }

run(q{
	SELECT evq_configure_flow('F', delivery => 'pull', dispatch_timeout => '1 h');
	SELECT evq_configure('A', 'F', lifespan => '1 day', attempt_timeout => '1 h', attempt_delays => '{0}', max_attempts => 100);
	SELECT evq_configure('B', 'F', lifespan => '1 day', attempt_timeout => '1 h');
	CREATE TABLE done (event_id uuid);
	CREATE FUNCTION batch(events int, event_type text DEFAULT 'A', run_at timestamptz DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
		SELECT count(*) FROM evq_publish_many(event_type, NULL, (SELECT array_agg(n::text) FROM generate_series(1, events) n), array_fill('{}'::jsonb, ARRAY[events]), run_at)
	$$;
	-- A turn of a worker, whose work is a row of done.
	CREATE FUNCTION work(most int) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		b record;
	BEGIN
		SELECT * INTO b FROM evq_acquire_batch('F', most);
		IF NOT FOUND THEN
			RETURN 0;
		END IF;
		INSERT INTO done SELECT unnest(b.event_ids);
		ASSERT (SELECT count(*) FROM evq_succeed_batch(b.token)) = 0;
		RETURN cardinality(b.event_ids);
	END
	$$;
	CREATE VIEW states AS SELECT e.event_type, e.state, count(*) FROM evq.events e GROUP BY 1, 2;
	CREATE PROCEDURE clean() LANGUAGE sql AS $$
		TRUNCATE evq.event, evq.event_history, evq.event_error, evq.log, evq.batch, evq.backlog, evq.run, evq.exception, done
	$$});
my $new_dispatcher = sub { my $pid = dispatcher_pid($node, 'db'); run("SELECT pg_terminate_backend($pid)"); wait_for_dispatcher($node, 'db', $pid) };

sub wait_for { my ($what, $query, $wanted) = @_; return ok(poll_until($what, sub { run($query) eq $wanted }), $what) || diag(run($query)) }

# What is done is forgotten when the dispatcher wakes for something else, or polls.
sub wait_until_forgotten
{
	publish($node, 'db');
	wait_for($_[0], 'SELECT count(*) FROM evq.backlog', 0);
	return run('TRUNCATE evq.event');
}

# ---------- offers ----------

my $listener = listen_to($node, 'db', 'evq_f');
is(run('SELECT batch(2500)'), 2500, 'batches are published');
ok(wait_for_notifications($listener, 1), '... and listeners are told that there is something');
is(run('SELECT sum(events) FROM evq.backlog'), 2500, '... and stored so');
is(run("SELECT work(700)"), 700, 'a worker has what he asked for, of one batch');
my $more = run("SELECT sum(work(400)) FROM generate_series(1, 3)");
cmp_ok($more, '>', 0, '... others more');
ok(poll_until('all', sub { run('SELECT work(1000)'); run('SELECT count(*) FROM done') == 2500 }), 'all are offered, as there is room');
is(run('SELECT count(DISTINCT event_id) FROM done'), 2500, '... each once');
is(run('SELECT * FROM states'), 'A|succeeded|2500', '... and all have succeeded');
is(run('SELECT count(*) FROM evq.event'), 0, '... none had a row of its own');
wait_until_forgotten('batches that are done are forgotten');

# What is rolled back is offered again: acquired, or published and acquired.
run('CALL clean(); SELECT batch(100)');
ok(poll_until('offered', sub { run("BEGIN; SELECT work(60); ROLLBACK") =~ /60/ }), 'what was acquired and rolled back');
ok(poll_until('offered', sub { run('SELECT work(100)'); run('SELECT count(*) FROM done') == 100 }), '... is offered again');
run('CALL clean(); BEGIN; SELECT batch(100); SAVEPOINT s; SELECT batch(100); ROLLBACK TO s; SELECT work(10); COMMIT');
ok(poll_until('offered', sub { run('SELECT work(100)'); run('SELECT count(*) FROM done') == 100 }), 'so is the rest of what a transaction publishes and acquires');
is(run('SELECT * FROM states'), 'A|succeeded|100', '... and nothing that it rolled back');

# One that is taken out of the middle, and one that comes back.
run('CALL clean(); SELECT batch(10)');
run(q{SELECT evq_cancel(event_id) FROM evq.events WHERE flow_id = '4'});
ok(poll_until('offered', sub { run('SELECT work(100)'); run('SELECT count(*) FROM done') == 9 }), 'all but one that was canceled are had');
wait_until_forgotten('... and the batch is done');

# Prepared transactions say nothing when they commit.
run('CALL clean()');
run("BEGIN; SELECT batch(50); PREPARE TRANSACTION 'batch'");
run("COMMIT PREPARED 'batch'");
ok(poll_until('offered', sub { run('SELECT work(100)'); run('SELECT count(*) FROM done') == 50 }), 'what a prepared transaction published is offered');

# Later, and longer than the dispatcher remembers.
run("CALL clean(); SELECT batch(10, run_at => clock_timestamp() + '10 min')");
is(run('SELECT work(100)'), 0, 'what is due later waits');
$node->safe_psql('postgres', 'ALTER SYSTEM SET evq.debug_clock_offset = 660; SELECT pg_reload_conf()');
ok(poll_until('offered', sub { run('SELECT work(100)'); run('SELECT count(*) FROM done') == 10 }), '... until it is due');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET evq.debug_clock_offset; SELECT pg_reload_conf()');

# A flow that is paused or of which a type is.
run(q{CALL clean(); SELECT evq_suspend_event_type('B')});
run(q{SELECT batch(10, 'B'), batch(10)});
ok(poll_until('offered', sub { run('SELECT work(100)'); run('SELECT count(*) FROM done') == 10 }), 'of a suspended type nothing is had');
run(q{SELECT evq_unsuspend_event_type('B')});
ok(poll_until('offered', sub { run('SELECT work(100)'); run('SELECT count(*) FROM done') == 20 }), '... until it is no more');

# ---------- a permit, and a life ----------

run(q{CALL clean(); SELECT batch(30); SELECT evq_configure('B', attempt_timeout => '1 ms', attempt_delays => '{0}', max_attempts => 1); SELECT batch(20, 'B')});
ok(poll_until('acquired', sub { run(q{SELECT count(*) FROM evq_acquire_next('F', 100, '{B}')}); run('SELECT count(*) FROM evq.run') > 0 }), 'events are acquired');
wait_for('whose permit runs out fails', q{SELECT coalesce(sum(count), 0) FROM states WHERE state = 'failed'}, 20);
is(run(q{SELECT count(*), count(DISTINCT event_id) FROM evq.errors}), '20|20', '... each, with its error');
run(q{SELECT evq_configure('A', lifespan => '1 h', attempt_timeout => '10 min')});
$node->safe_psql('postgres', 'ALTER SYSTEM SET evq.debug_clock_offset = 7200; SELECT pg_reload_conf()');
wait_for('what nobody acquires expires', q{SELECT coalesce(sum(count), 0) FROM states WHERE state = 'expired'}, 30);
$node->safe_psql('postgres', 'ALTER SYSTEM RESET evq.debug_clock_offset; SELECT pg_reload_conf()');
wait_until_forgotten('... and nothing is left');
run(q{SELECT evq_configure('A', lifespan => '1 day', attempt_timeout => '1 h')});

# So does what was looked at before, by the clock alone.
run(q{CALL clean(); SELECT evq_configure('brief', 'F', lifespan => '5 s'); SELECT batch(5, 'brief')});
$new_dispatcher->();
wait_for('what a new dispatcher has offered expires, too', q{SELECT coalesce(sum(count), 0) FROM states WHERE state = 'expired'}, 5);

# ---------- a new dispatcher, and a crash ----------

run('CALL clean(); SELECT batch(1500)');
ok(poll_until('acquired', sub { run(q{SELECT count(*) FROM evq_acquire_next('F', 100)}) == 100 }), 'a hundred are in process');
cmp_ok(run('SELECT work(200)'), '==', 200, '... two hundred have succeeded');
$new_dispatcher->();
ok(poll_until('offered', sub { run('SELECT work(1000)'); run('SELECT count(*) FROM done') == 1400 }), 'a new dispatcher offers the rest, and nothing else');
is(run(q{SELECT * FROM states ORDER BY 2}), "A|being_processed|100\nA|succeeded|1400", '... and leaves alone who works');
run('SELECT batch(500)');
$node->stop('immediate');
$node->start;
wait_for_dispatcher($node, 'db');
ok(poll_until('offered', sub { run('SELECT work(1000)'); run('SELECT count(*) FROM done') == 1900 }), 'so after a crash of the server');
is(run(q{SELECT * FROM states ORDER BY 2}), "A|being_processed|100\nA|succeeded|1900", '... and nobody lost anything');
wait_for('the live events are counted', q{SELECT string_agg(state || ' ' || events, ', ') FROM evq_counts()}, 'being_processed 100');

# ---------- in line with others ----------

# Events of a flow come by priority and time, however they are stored, and no more are on offer than the flow may have.
run(q{CALL clean(); SELECT evq_configure_flow('LINE', delivery => 'pull', max_dispatched => 10, dispatch_timeout => '1 h');
	SELECT evq_configure('low', 'LINE', lifespan => '1 day'); SELECT evq_configure('high', 'LINE', lifespan => '1 day', priority => 5)});
my $single = sub { run("SET evq.store_batches_from = 0; SELECT evq_publish('$_[0]', NULL, '$_[1]')") };
my $line = listen_to($node, 'db', 'evq_line');
run(q{SELECT batch(30, 'low')});
ok(wait_for_notifications($line, 1), 'listeners are told of a batch longer than a flow may offer');
$single->('high', 'alone');
run(q{SELECT batch(5, 'high')});
my @types;
ok(poll_until('all', sub { push @types, split /\n/, run(q{SELECT event_type FROM evq_acquire_next('LINE', 1)}); @types == 36 }), 'all of it is had');
is("@types", join(' ', ('low') x 10, ('high') x 6, ('low') x 20), '... what has a higher priority as soon as there is room');

run(q{CALL clean(); SELECT evq_configure_flow('LINE', max_dispatched => 100)});
run(q{SELECT evq_pause_flow('LINE')});
$single->('low', 'first');
run(q{SELECT batch(5, 'low')});
$single->('low', 'second');
run(q{SELECT batch(5, 'low')});
$single->('high', 'urgent');
run(q{SELECT evq_resume_flow('LINE')});
my @flow_ids;
ok(poll_until('all', sub { push @flow_ids, split /\n/, run(q{SELECT flow_id FROM evq_acquire_next('LINE', 100)}); @flow_ids == 13 }), 'rows and batches are offered together');
is("@flow_ids", 'urgent first 1 2 3 4 5 second 1 2 3 4 5', '... in one line');
end_session($line);

# What is pushed out where there are more offers than room comes back when somebody asks.
my $narrow = make_server('narrow', "evq.store_batches_from = 1\nevq.poll_interval = '1h'", 'evq.ready_size = 16');
make_database($narrow, 'db');
$narrow->safe_psql('db', q{SELECT count(evq_configure_flow('M' || n, delivery => 'pull', dispatch_timeout => '1 h')), count(evq_configure('m' || n, 'M' || n, lifespan => '1 day')) FROM generate_series(1, 30) n});
$narrow->safe_psql('db', q{SELECT count(*) FROM generate_series(1, 30) n, evq_publish_many('m' || n, NULL, array_fill('f'::text, '{8}'), array_fill('{}'::jsonb, '{8}'))});
my $had = 0;
ok(poll_until('all', sub {
	$had += $narrow->safe_psql('db', "SELECT count(*) FROM evq_acquire_next('M$_', 100)") for 1 .. 30;
	$had == 240;
}), 'of more batches than there is room for offers all is had') or diag($had);
$narrow->stop;

# So does what there was no memory for, 33 batches here.
my $forgetful = make_server('forgetful', "evq.store_batches_from = 1\nevq.poll_interval = '1h'", 'evq.max_tracked = 100');
make_database($forgetful, 'db');
$forgetful->safe_psql('db', q{SELECT evq_configure_flow('F', delivery => 'pull', max_dispatched => 10, dispatch_timeout => '1 h'), evq_configure('a', 'F', lifespan => '1 day')});
$forgetful->safe_psql('db', q{SELECT count(*) FROM generate_series(1, 100) n, evq_publish_many('a', NULL, array_fill('f' || n, '{3}'), '{1, 2, 3}'::jsonb[])});
$had = 0;
ok(poll_until('all', sub {
	$had += $forgetful->safe_psql('db', q{
		SELECT count(*) FROM evq_acquire_next('F', 100) \g /dev/null
		SELECT count(*) FROM (SELECT array_agg(event_id) AS ids, array_agg(permit) AS permits FROM evq.events WHERE state = 'being_processed') e, evq_succeed_many(e.ids, e.permits) s WHERE s.accepted});
	return $had == 300;
}), 'of more batches than are remembered all is had') or diag($had);
$forgetful->stop;

# ---------- all at once ----------

# Workers acquire, roll back, vanish, fail, report in parts, and others cancel, while dispatchers come and go. Little is remembered.
run(q{CALL clean(); SELECT evq_configure('A', attempt_timeout => '2 s', max_attempts => 10000)});
$node->append_conf('postgresql.conf', "evq.max_tracked = 100\nevq.poll_interval = '100 ms'");
$node->reload;
my $events = 200 * 40;
my @workers;
for my $n (1 .. 4)
{
	my ($out, $err) = ('', '');
	my $worker = qq{
		SELECT setseed(0.1 * $n);
		DO \$\$
		DECLARE
			b record;
			later uuid[];
		BEGIN
			WHILE (SELECT count(*) FROM done) < $events LOOP
				SELECT * INTO b FROM evq_acquire_batch('F', 1 + (random() * 90)::int, worker => '$n');
				IF NOT FOUND OR random() < 0.1 THEN
					ROLLBACK;
					PERFORM pg_sleep(0.01);
				ELSIF random() < 0.05 THEN
					COMMIT; -- and is not heard of again
				ELSE
					COMMIT;
					later := CASE WHEN random() < 0.3 THEN (b.event_ids)[1:1 + (random() * 5)::int] ELSE '{}' END;
					INSERT INTO done SELECT id FROM unnest(b.event_ids) id WHERE id <> ALL (later) AND id NOT IN (SELECT * FROM evq_succeed_batch(b.token, later));
					PERFORM evq_fail_batch(b.token, 'later', later);
					IF random() < 0.1 THEN
						ROLLBACK;
					END IF;
					COMMIT;
				END IF;
			END LOOP;
		END
		\$\$;};
	my $input = $worker;
	push @workers, { err => \$err, run => IPC::Run::start([ 'psql', '--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1', '--dbname', $node->connstr('db') ], '<', \$input, '>', \$out, '2>', \$err) };
}
for my $n (1 .. 200)
{
	run('SELECT batch(40)');
	$new_dispatcher->() if $n % 50 == 0;
}
for my $worker (@workers)
{
	$worker->{run}->finish;
	is(${ $worker->{err} }, '', 'a worker had no error');
}
is(run('SELECT count(*), count(DISTINCT event_id) FROM done'), "$events|$events", 'each event had its effect once');
is(run('SELECT * FROM states'), "A|succeeded|$events", '... and has succeeded');
wait_for('... and all is forgotten', 'SELECT (SELECT count(*) FROM evq.backlog) + (SELECT count(*) FROM evq.event)', 0);
is(run('SELECT count(*) FROM evq_counts()'), 0, '... by the counters too');
end_session($listener);
done_testing();
