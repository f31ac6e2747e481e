# Rows of evq's tables are not there: deleted by hand, or restored later than others. Nothing crashes, and nothing fails for a
# reason that it cannot name, whatever is missing; and when the rows are back, all goes on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', "evq.poll_interval = '20ms'");
make_database($node, 'db');
$node->safe_psql('db', q{
	SELECT evq_configure('rescue', 'FLOW');
	SELECT evq_configure('job', max_attempts => 2, on_fail_event_type => 'rescue');
	SELECT evq_configure('strict', 'STRICT', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}');
	SELECT evq_configure_flow('STRICT', ordered => true, max_processing => 1);
	SELECT evq_configure('pulled', 'PULL', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}');
	SELECT evq_configure_flow('PULL', delivery => 'pull');
	CREATE ROLE tenant LOGIN;
	SELECT evq_grant_publisher('tenant', 'FLOW'), evq_grant_worker('tenant', 'FLOW')});
my ($permit, %event) = events_in_each_state($node, 'db');
$node->safe_psql('db', q{SELECT evq_publish(t, NULL, f, '{"a": 1}', headers => '{"h": 1}') FROM unnest('{strict, pulled}'::text[]) t, unnest('{a, a, b}'::text[]) f});
is($node->safe_psql('db', 'SELECT count(DISTINCT state) >= 7 FROM evq.events'), 't', 'there are events in almost each state');

# ---------- in one session ----------

# Every verb, on an event in each state.
my @tables = qw(event_type flow event event_payload event_history event_error idempotency epoch housekeeping counter restriction);
my @verbs = map {
	("evq_publish('$_', NULL, 'f')", "evq_publish('$_', 'FLOW', 'f', on_fail_event_type => 'rescue', idempotency_key => 'new', headers => '{}')")
} qw(job strict pulled);
push @verbs, q{evq_publish('job', NULL, 'case', '{"state": "held"}', idempotency_key => 'key of held')}, 'evq_tick()', 'evq_counts()', 'evq_status()', 'evq_check()', 'evq_metrics()',
  'evq_purge()', q{evq_redrive('job', '-infinity')}, q{evq_configure('job', max_attempts => 3)}, q{evq_configure_flow('FLOW', max_dispatched => 7)},
  q{evq_suspend_event_type('job')}, q{evq_drop_event_type('rescue')}, 'evq_resume()', q{evq_pause('x')}, 'evq_resume()';
push @verbs, "(evq_acquire_next('$_', 10)).event_id" for qw(FLOW STRICT PULL);
for my $id (sort values %event)
{
	push @verbs, map { s/ID/$id/gr =~ s/PERMIT/$permit/gr } "(evq_acquire('ID')).permit", "evq_heartbeat('{ID}', '{PERMIT}')", "evq_succeed_many('{ID}', '{PERMIT}')", "evq_fail_many('{ID}', '{PERMIT}', 'x')",
	  "evq_succeed_and_acquire('FLOW', '{ID}', '{PERMIT}', 3)", "evq_succeed('ID', PERMIT, '1', '[{\"event_type\": \"job\"}]')", "evq_fail('ID', 'x', PERMIT, retryable => false)", "evq_fail('ID', 'x', PERMIT)",
	  "evq_snooze('ID', PERMIT, now() + interval '1 h')", "evq_release('ID', PERMIT)", "evq_suspend('ID', PERMIT)", "evq_activate('ID')", "evq_activate('ID', '{\"b\": 1}')", "evq_cancel('ID')", "evq_retry('ID')", "evq_event('ID')";
}
my $verbs = join ",\n", map { "\$v\$$_\$v\$" } @verbs;
$node->safe_psql('db', qq{
	CREATE PROCEDURE try_all(tables text[]) LANGUAGE plpgsql AS \$\$
	DECLARE
		verb text;
	BEGIN
		FOREACH verb IN ARRAY ARRAY[$verbs] LOOP
			-- The table stays as it was for the next verb.
			BEGIN
				EXECUTE (SELECT string_agg('DELETE FROM evq.' || t, ';') FROM unnest(tables) t);
				-- With the clock of now, and when all has timed out.
				EXECUTE 'SELECT ' || verb;
				SET LOCAL evq.debug_clock_offset = '2 d';
				EXECUTE 'SELECT ' || verb;
				RAISE SQLSTATE 'ZZ000';
			EXCEPTION
				WHEN SQLSTATE 'ZZ000' THEN NULL;
				WHEN internal_error OR data_corrupted OR null_value_not_allowed OR assert_failure OR syntax_error_or_access_rule_violation THEN
					RAISE WARNING 'without %: %: % %', tables, verb, SQLSTATE, SQLERRM;
				WHEN OTHERS THEN NULL;
			END;
		END LOOP;
	END \$\$});

# Each table, two of those that all verbs read, and all.
my @missing = (@tables, join(',', @tables), map { my $first = $_; map { "$tables[$first],$tables[$_]" } $first + 1 .. 4 } 0 .. 3);
my ($status, $out, $err) = $node->psql('db', join('', map { "CALL try_all('{$_}');\n" } @missing), on_error_stop => 0);
is($status, 0, 'no verb ends the session, whatever tables are empty');
is(join("\n", $err =~ /(without \{.*)/g), '', '... and none fails with an internal error');
is($node->safe_psql('db', "SELECT count(*) FROM evq.event WHERE event_id = '$event{held}'"), '1', '... and all of it was undone');

# ---------- beside the dispatcher ----------

my $log = log_end($node);
my $turns = q{SELECT turns FROM evq_status()};

# Lets the dispatcher look at everything. When it has seen that no event is left it rests.
sub let_it_turn
{
	my ($before, $last, $same) = ($node->safe_psql('db', $turns), -1, 0);

	return poll_until('turns of the dispatcher', sub {
		my ($now, $is_left) = split /[|]/, $node->safe_psql('db', "SELECT ($turns), EXISTS (TABLE evq.event)");
		$same = $now == $last && $is_left eq 'f' ? $same + 1 : 0;
		$last = $now;
		return $now >= $before + 2 || $same == 20;
	});
}

for my $table (@tables)
{
	# Of a table that is dumped the rows come back.
	$node->safe_psql('db', "CREATE TABLE kept AS TABLE evq.$table; DELETE FROM evq.$table");
	let_it_turn();
	$node->psql('db', "SELECT evq_publish('job', NULL, 'f'), evq_tick()");
	$node->psql('db', "SELECT count(*) FROM evq_acquire_next('$_', 10, permit_for => '10 ms')") for qw(FLOW STRICT PULL);
	let_it_turn();
	$node->safe_psql('db', "INSERT INTO evq.$table OVERRIDING SYSTEM VALUE TABLE kept ON CONFLICT DO NOTHING; DROP TABLE kept");
	ok(is_dispatching($node, 'db'), "$table was empty, and is not any more: an event is dispatched");
}
unlike(slurp_file($node->logfile, $log), qr/terminated by signal|TRAP:|PANIC:/, 'no process has died');

done_testing();
