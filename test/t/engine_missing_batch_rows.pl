# Rows of the tables of batches are not there: deleted by hand, in any order. Nothing crashes, nothing fails for a reason that
# it cannot name, and no other event of their batch is lost.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', "evq.store_batches_from = 1", "evq.poll_interval = '20ms'");
make_database($node, 'db');
sub run { return $node->safe_psql('db', $_[0]) }
run(q{
	SELECT evq_configure_flow('F', delivery => 'pull');
	SELECT evq_configure('rescue', 'F');
	SELECT evq_configure('A', 'F', lifespan => '1 day', attempt_timeout => '5 min', attempt_delays => '{0}', max_attempts => 3);
	SELECT evq_configure('once', 'F', lifespan => '1 day', attempt_timeout => '5 min', max_attempts => 1, on_fail_event_type => 'rescue');
	CREATE FUNCTION publish(event_type text, flow_ids text) RETURNS bigint LANGUAGE sql AS $$
		SELECT count(*) FROM evq_publish_many(event_type, NULL, string_to_array(flow_ids, ' '), array_fill('{"a": 1}'::jsonb, ARRAY[cardinality(string_to_array(flow_ids, ' '))]))
	$$;
	CREATE PROCEDURE clean() LANGUAGE sql AS $$
		TRUNCATE evq.event, evq.event_history, evq.event_error, evq.event_payload, evq.log, evq.batch, evq.backlog, evq.run, evq.exception
	$$;
	CREATE FUNCTION ev(flow_id text) RETURNS uuid LANGUAGE sql STABLE AS 'SELECT event_id FROM evq.events e WHERE e.flow_id = ev.flow_id';
	CREATE FUNCTION permit(flow_id text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT permit FROM evq.events e WHERE e.flow_id = permit.flow_id'});
stop_engine($node);

# ---------- in one session ----------

# One in each of the ways in which an event of a batch can be: in a run, or with an exception, or without either.
run(q{SELECT publish('A', 'held succeeded failed canceled waiting second')});
my $token = run(q{SELECT token FROM evq_acquire_batch('F', 4)});
run(q{SELECT evq_succeed(ev('succeeded'), permit('succeeded')); SELECT evq_fail(ev('failed'), 'x', permit('failed')); SELECT evq_cancel(ev('canceled'))});
is(run(q{SELECT string_agg(flow_id || ' ' || state, ', ' ORDER BY event_id) FROM evq.events}),
	'held being_processed, succeeded succeeded, failed awaiting_processing, canceled canceled, waiting awaiting_processing, second awaiting_processing', 'there are events in each state');
my @verbs = ('evq_tick()', 'evq_counts()', 'evq_status()', 'evq_check()', 'evq_metrics()', 'evq_purge()', q{evq_redrive('A', '-infinity')}, q{evq_suspend_event_type('A')},
	q{publish('A', 'a b c')}, q{evq_configure('A', lifespan => '1 hour')}, q{evq_configure_flow('F', ordered => true)}, q{evq_drop_event_type('rescue')},
	q{(evq_acquire_next('F', 10)).event_id}, q{(evq_acquire_batch('F', 10)).token}, 'count(*) FROM evq.events', 'count(*) FROM evq.queue', 'count(*) FROM evq.payloads', 'count(*) FROM evq.workers',
	q{evq_http.events('', '{"limit": 10}', NULL, NULL)},
	map { s/TOKEN/$token/gr } q{evq_succeed_batch('TOKEN')}, q{evq_heartbeat_batch('TOKEN')}, q{evq_release_batch('TOKEN')}, q{evq_fail_batch('TOKEN', 'x')}, q{evq_batch_permits('TOKEN')});
my %event = map { $_ => run("SELECT ev('$_')") } qw(held succeeded failed canceled waiting second);
my $permit = run(q{SELECT permit('held')});
for my $id (sort values %event)
{
	push @verbs, map { s/ID/$id/gr =~ s/PERMIT/$permit/gr } "(evq_acquire('ID')).permit", "evq_heartbeat('{ID}', '{PERMIT}')", "evq_succeed_many('{ID}', '{PERMIT}')", "evq_fail_many('{ID}', '{PERMIT}', 'x')",
	  "evq_succeed('ID', PERMIT, '1', '[{\"event_type\": \"A\"}]')", "evq_fail('ID', 'x', PERMIT)", "evq_snooze('ID', PERMIT, now() + interval '1 h')", "evq_release('ID', PERMIT)", "evq_suspend('ID', PERMIT)",
	  "evq_activate('ID', '{\"b\": 1}')", "evq_cancel('ID')", "evq_retry('ID')", "evq_event('ID')", "count(*) FROM evq.events_by_id('{ID}')";
}
my $verbs = join ",\n", map { "\$v\$$_\$v\$" } @verbs;
run(qq{
	CREATE PROCEDURE try_all(deletion text) LANGUAGE plpgsql AS \$\$
	DECLARE
		verb text;
	BEGIN
		FOREACH verb IN ARRAY ARRAY[$verbs] LOOP
			-- The rows stay as they were for the next verb.
			BEGIN
				EXECUTE deletion;
				-- With the clock of now, and when all has timed out.
				EXECUTE 'SELECT ' || verb;
				SET LOCAL evq.debug_clock_offset = '2 d';
				EXECUTE 'SELECT ' || verb;
				RAISE SQLSTATE 'ZZ000';
			EXCEPTION
				WHEN SQLSTATE 'ZZ000' THEN NULL;
				WHEN internal_error OR null_value_not_allowed OR assert_failure OR syntax_error_or_access_rule_violation THEN
					RAISE WARNING 'after %: %: % %', deletion, verb, SQLSTATE, SQLERRM;
				WHEN OTHERS THEN NULL;
			END;
		END LOOP;
	END \$\$});
my @tables = qw(log batch backlog run exception);
# Each table, two of them, all; and each row of one.
my @deletions = map { join '; ', map { "DELETE FROM evq.$_" } @$_ } (map { [$_] } @tables), [@tables], map { my $first = $_; map { [ $tables[$first], $tables[$_] ] } $first + 1 .. $#tables } 0 .. $#tables - 1;
push @deletions, map { ("DELETE FROM evq.log WHERE flow_id = '$_'", "DELETE FROM evq.exception WHERE event_id = '$event{$_}'") } sort keys %event;
my ($status, $out, $err) = $node->psql('db', join('', map { "CALL try_all('" . s/'/''/gr . "');\n" } @deletions), on_error_stop => 0);
is($status, 0, 'no verb ends the session, whatever rows are missing');
is(join("\n", $err =~ /(after DELETE.*)/g), '', '... and none fails with an internal error');
is(run('SELECT count(*) FROM evq.events'), 6, '... and all of it was undone');

# ---------- neighbours ----------

start_engine($node, 'db');
sub states { return run(q{SELECT coalesce(string_agg(flow_id || ' ' || state, ', ' ORDER BY flow_id), '-') FROM evq.events WHERE event_type <> 'rescue'}) }
sub wait_for { my ($what, $query, $wanted) = @_; return ok(poll_until($what, sub { run($query) eq $wanted }), $what) || diag(run($query)) }
my $done = 'SELECT count(*) FROM evq.backlog';

# Nobody has acquired them.
my $log = log_end($node);
run(q{CALL clean(); SELECT publish('A', 'a b c d e'); DELETE FROM evq.log WHERE flow_id = 'c'});
my @had;
ok(poll_until('the others', sub { push @had, split /\n/, run(q{SELECT flow_id FROM evq_acquire_next('F', 10)}); @had == 4 }), 'of a batch in which a row is missing the others are had');
is("@had", 'a b d e', '... each once');
run(q{SELECT evq_succeed(event_id, permit) FROM evq.events WHERE state = 'being_processed'});
wait_for('... and the batch is done when they are', $done, 0);
is(states(), 'a succeeded, b succeeded, d succeeded, e succeeded', '... and the one is gone');
like(slurp_file($node->logfile, $log), qr/WARNING:.*has no row in evq\.log any more, and is given up/, '... which is told of');
unlike(slurp_file($node->logfile, $log), qr/put off|Failed|ERROR/, '... and stops nothing');
is(run('SELECT count(*) FROM evq_counts()'), 0, '... nor does it count');

# Somebody has; his permit runs out. The row is missed by the dispatcher.
run(q{CALL clean(); SELECT publish('once', 'a b c d e')});
ok(poll_until('acquired', sub { run(q{SELECT count(*) FROM evq_acquire_next('F', 10, '{once}')}) == 5 }), 'all are had');
$log = log_end($node);
run(q{DELETE FROM evq.log WHERE flow_id IN ('a', 'e'); UPDATE evq.run SET state_due_at = now(); SELECT evq_configure('once', attempt_timeout => '6 min')});
wait_for('whose permit runs out fails', q{SELECT count(*) FROM evq.events WHERE event_type = 'once' AND state = 'failed'}, 3);
wait_for('... and the batch is done', $done, 0);
is(states(), 'b failed, c failed, d failed', '... without those whose rows are missing');
wait_for('... the others have their on-fail events', q{SELECT count(*) FROM evq.events WHERE event_type = 'rescue'}, 3);
unlike(slurp_file($node->logfile, $log), qr/put off|ERROR/, '... and nothing failed');

# Nobody comes for them.
run(q{CALL clean(); SELECT publish('A', 'a b c'), publish('A', 'd e f'); DELETE FROM evq.log WHERE flow_id IN ('a', 'd', 'e', 'f')});
$node->safe_psql('postgres', q{ALTER SYSTEM SET evq.debug_clock_offset = '2 d'; SELECT pg_reload_conf()});
wait_for('what nobody acquires expires', q{SELECT count(*) FROM evq.events WHERE state = 'expired'}, 2);
wait_for('... and the batches are done', $done, 0);
is(states(), 'b expired, c expired', '... without those whose rows are missing');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET evq.debug_clock_offset; SELECT pg_reload_conf()');

# One that cannot be processed for another reason is put off, and its neighbours are not: its own row has the place of the one that it would get.
run(q{CALL clean(); SELECT publish('once', 'a b c d e'); SELECT evq_release(event_id, permit) FROM evq_acquire(ev('c')); SELECT evq_suspend_event_type('once')});
is(run('SELECT count(*) FROM evq.exception'), 1, 'an event has left its batch');
run(q{DELETE FROM evq.exception});
$log = log_end($node);
$node->safe_psql('postgres', q{ALTER SYSTEM SET evq.debug_clock_offset = '2 d'; SELECT pg_reload_conf()});
wait_for('its neighbours expire', q{SELECT count(DISTINCT flow_id) FROM evq.events WHERE state = 'expired' AND flow_id <> 'c'}, 4);
ok(wait_for_log($node, qr/could not be processed and is put off: duplicate key/, $log), '... and it is put off');
run(q{INSERT INTO evq.exception SELECT event_id, 'm', now() FROM evq.log WHERE flow_id = 'c'});
$node->safe_psql('postgres', 'ALTER SYSTEM RESET evq.debug_clock_offset; SELECT pg_reload_conf()');
run(q{SELECT evq_unsuspend_event_type('once')});

# A run, and what is known of the backlog. What nobody knows is told of by evq_check(), with what helps.
run(q{CALL clean(); SELECT publish('A', 'a b c d')});
ok(poll_until('acquired', sub { run(q{SELECT count(*) FROM evq_acquire_next('F', 2)}) == 2 }), 'some are had');
run(q{DELETE FROM evq.run; SELECT evq_configure('A', attempt_timeout => '7 min')});
@had = ();
ok(poll_until('all', sub { push @had, split /\n/, run(q{SELECT flow_id FROM evq_acquire_next('F', 10)}); @had >= 4 }), 'when their run is gone, they wait again');
is(join(' ', sort @had), 'a b c d', '... each once, and the others too');
run(q{DELETE FROM evq.backlog});
run(q{SELECT count(*) FROM evq_succeed_many((SELECT array_agg(event_id) FROM evq.events), (SELECT array_agg(permit) FROM evq.events))});
is(states(), 'a succeeded, b succeeded, c succeeded, d succeeded', 'what is not in the backlog can be reported all the same');
run(q{CALL clean(); SELECT publish('A', 'a b'), publish('A', 'c d'); DELETE FROM evq.batch b USING evq.log l WHERE l.event_id = b.batch_id AND l.flow_id = 'a'});
@had = ();
ok(poll_until('the others', sub { push @had, split /\n/, run(q{SELECT flow_id FROM evq_acquire_next('F', 10)}); @had >= 2 }), 'a batch that is gone stops no other');
is("@had", 'c d', '... and nothing of it is had');
unlike(slurp_file($node->logfile), qr/terminated by signal|TRAP:|PANIC:/, 'no process has died');

done_testing();
