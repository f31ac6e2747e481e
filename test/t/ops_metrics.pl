# Counters and gauges beside a dispatcher: over restarts, crashes, prepared transactions, under load; and what reads them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Server qw(kill_server);
use Evq::Test;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', "evq.poll_interval = '200ms'", 'max_connections = 50');
make_database($node, 'db');
$node->safe_psql('db', q{
	SELECT evq_configure_flow('FLOW', max_dispatched => 1000000, dispatch_timeout => '1 hour');
	SELECT evq_configure('other', 'PULL', attempt_delays => '{0 s, 0 s}', max_attempts => 3), evq_configure_flow('PULL', delivery => 'pull')});

sub run { return $node->safe_psql('db', $_[0]) }

# The counters that go on after a restart.
my $kept = q{SELECT string_agg(no || ' ' || name || ' ' || value, E'\n' ORDER BY no, name) FROM evq.counters() WHERE value <> 0
	AND name !~ '^(live|oldest|free|sweep)'};

# Waits until the gauges are those of the table, and says whether they came to be.
sub are_right
{
	my ($what, $seconds) = @_;
	my $told = q{SELECT no, split_part(name, '/', 2), value FROM evq.counters() WHERE name ~ '^live/' AND value <> 0};
	my $stored = q{SELECT event_type_no, evq.state_name(state)::text, count(*) FROM evq.event GROUP BY 1, 2};

	return ok(
		poll_until($what, sub {
			run(qq{SELECT count(*) > 0 FROM evq.counters()}) eq 't'
			  && run(qq{SELECT count(*) FROM (($told EXCEPT $stored) UNION ALL ($stored EXCEPT $told)) d}) eq '0';
		}, $seconds),
		"$what: the gauges are right");
}

sub published { return run(q{SELECT sum(value) FROM evq.counters() WHERE name ~ '^publish/'}) }

# Runs statements in sessions that go on until the load is ended.
sub start_load
{
	my ($name, $statements, $clients, $seconds) = @_;
	my $file = $node->basedir . "/$name.sql";

	append_to_file($file, $statements);
	return IPC::Run::start(
		[ 'pgbench', '--no-vacuum', '--client', $clients, '--time', $seconds, '--file', $file, '--host', $node->host, '--port', $node->port, 'db' ],
		'<', '/dev/null', '>&', $node->basedir . "/$name.log");
}

# ---------- Prometheus ----------

my @jobs = map { publish($node, 'db') } 1 .. 6;
wait_for_state($node, 'db', $_, 'dispatched') for @jobs;
run(qq{SELECT evq_succeed(event_id, permit, spinoffs => '[{"event_type": "job"}]') FROM evq_acquire('$jobs[0]');
	SELECT evq_fail(event_id, 'no', permit, retry_in => '1 hour') FROM evq_acquire('$jobs[1]');
	SELECT evq_suspend(event_id, permit) FROM evq_acquire('$jobs[2]');
	SELECT FROM evq_acquire('$jobs[3]'); SELECT evq_cancel('$jobs[4]')});
are_right('after some work');

# promtool says what is wrong, or nothing.
sub promtool
{
	my ($input, @arguments) = @_;

	IPC::Run::run([ 'promtool', @arguments ], '<', \$input, '>', \my $out, '2>', \my $complaints);
	return ($out, $complaints);
}

my $metrics = run('SELECT evq_metrics()') . "\n";
my (undef, $complaints) = promtool($metrics, qw(check metrics));
is($complaints, '', 'promtool check metrics has no complaint');
is((promtool("$metrics# TYPE evq_bad counter\nevq_bad 1\n", qw(check metrics)))[1] ne '', 1, '... although it can');

my %family = $metrics =~ /^# TYPE (\w+) (\w+)$/mg;
my %series = map { $_ => 1 } map { $family{$_} eq 'histogram' ? ("${_}_bucket", "${_}_sum", "${_}_count") : $_ } keys %family;

# Everything that asks for metrics asks for some that there are.
sub asks_well
{
	my ($file, @expressions) = @_;
	my @unknown = grep { !$series{$_} } map { /\b((?:evq|event_engine)_\w+)/g } @expressions;

	cmp_ok(scalar @expressions, '>', 5, "$file asks for something");
	return is_deeply(\@unknown, [], '... that there is');
}

my $alerts = 'contrib/prometheus/evq-alerts.yml';
my ($found) = promtool('', 'check', 'rules', $alerts);
like($found, qr/SUCCESS: \d+ rules found/, 'promtool check rules: the alerts are in order');
asks_well($alerts, slurp_file($alerts) =~ /^ +expr: *(.*(?:\n {10,}.*)*)/mg);
my ($tested, $failures) = promtool('', 'test', 'rules', 'contrib/prometheus/evq-alerts-test.yml');
like($tested, qr/SUCCESS/, 'the alerts fire when they should') or diag($tested, $failures);

my $dashboard = JSON::PP::decode_json(slurp_file('contrib/grafana/evq.json'));
asks_well('the dashboard', map { $_->{expr} } map { @{ $_->{targets} // [] } } @{ $dashboard->{panels} });

# ---------- stop and start ----------

my $before = run($kept);
$node->restart;
wait_for_dispatcher($node, 'db');
are_right('a restart');
is(run($kept), $before, 'and the counters go on');
is(run('SELECT count(*) FROM evq.counter'), 0, 'nothing is left put away');
publish($node, 'db');
is(run($kept) =~ s/^.*(publish|dispatch).*\n?//mgr, $before =~ s/^.*(publish|dispatch).*\n?//mgr, 'from where they were');
wait_for_dispatcher($node, 'db');
are_right('a publish after that');

$before = run($kept);
my $pid = dispatcher_pid($node, 'db');
run("SELECT pg_terminate_backend($pid)");
wait_for_dispatcher($node, 'db', $pid);
are_right('another dispatcher');
is(run($kept), $before, 'the counters stay');

# A type that was dropped is not counted from the next start on, which makes room for others.
run(q{SELECT evq_configure('gone', 'FLOW')});
my $gone = run(q{SELECT event_type_no FROM evq.event_type WHERE event_type = 'gone'});
my $counted = "SELECT count(*) FROM evq.counters() WHERE no = $gone AND value <> 0 AND name ~ '^(publish|cancel)/'";
run(q{SELECT evq_publish('gone', NULL, 'x')});
run(q{SELECT evq_cancel(event_id) FROM evq.events WHERE event_type = 'gone'});
run(q{SELECT evq_drop_event_type('gone')});
is(run($counted), 2, 'a type that was dropped');
$node->restart;
wait_for_dispatcher($node, 'db');
are_right('a restart after that');
is(run($counted), 0, '... has no counters any more');

# ---------- prepared transactions ----------

run(q{BEGIN; SELECT evq_publish('job', NULL, 'prepared') FROM generate_series(1, 3); PREPARE TRANSACTION 'one'});
run(q{BEGIN; SELECT evq_publish('job', NULL, 'given up'); PREPARE TRANSACTION 'two'});
are_right('prepared transactions');
run(q{COMMIT PREPARED 'one'});
are_right('COMMIT PREPARED');
run(q{ROLLBACK PREPARED 'two'});
run(q{BEGIN; SELECT evq_publish('job', NULL, 'prepared'); PREPARE TRANSACTION 'three'});
$node->restart;
wait_for_dispatcher($node, 'db');
are_right('a restart beside a prepared transaction');
run(q{COMMIT PREPARED 'three'});
are_right('its COMMIT PREPARED');

# ---------- more than is announced ----------

$before = published();
run(q{SELECT count(*) FROM evq_publish_many('job', NULL, array_fill('many'::text, ARRAY[25000]), array_fill('{}'::jsonb, ARRAY[25000]))});
is(published() - $before, 25000, 'a publish of 25,000 is counted');
ok(poll_until('all are dispatched', sub { run(q{SELECT count(*) FROM evq.event WHERE state = 'a' AND attempt_scheduled_at < now()}) eq '0' }),
	'and dispatched');
are_right('after that');

# ---------- a count that does not come to its end ----------

my $holder = $node->background_psql('db');
$holder->query_safe('SELECT pg_advisory_lock(1)');
run(q{ALTER DATABASE db SET evq.debug_wait_at = 'recount'});
run(q{BEGIN; SELECT evq_publish('job', NULL, 'prepared'); PREPARE TRANSACTION 'four'});
run(q{COMMIT PREPARED 'four'});
my $counting = q{SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND NOT l.granted
	AND a.backend_type = 'evq housekeeper'};
ok(poll_until('the count begins', sub { run($counting) ne '' }), 'the live events are being counted');
is(run('SELECT bool_or(is_exact) FROM evq.live_counts()'), 'f', '... and the numbers of before are not said to be exact');
run(qq{SELECT pg_cancel_backend(pid) FROM ($counting) c});
ok(poll_until('it is canceled', sub { run($counting) eq '' }), 'the count is canceled');
is(run('SELECT bool_or(is_exact) FROM evq.live_counts()'), 'f', 'it is still to be made');
run(q{ALTER DATABASE db RESET evq.debug_wait_at});
$holder->quit;

# ---------- crash ----------

kill_server($node);
wait_for_dispatcher($node, 'db');
are_right('kill -9');
is(published(), '0', 'the counters begin at zero, as those who read them expect');
run(q{SELECT evq_cancel(event_id) FROM evq.event});

# ---------- load ----------

my %load = (
	publish => q{
		SELECT evq_publish('job', NULL, 'load'), evq_publish('other', NULL, 'load');
		BEGIN; SELECT evq_publish('job', NULL, 'load'); SAVEPOINT a; SELECT evq_publish('other', NULL, 'load'); ROLLBACK TO a; COMMIT;
		BEGIN; SELECT evq_publish('job', NULL, 'load'); ROLLBACK;},
	push => q{
		SELECT evq_fail(event_id, 'no', permit, retryable => false) FROM evq_acquire_next('FLOW', 1);
		SELECT evq_succeed_and_acquire('FLOW', array_agg(event_id), array_agg(permit), 3) FROM evq_acquire_next('FLOW', 3);},
	pull => q{
		SELECT CASE WHEN attempt = 1 THEN evq_fail(event_id, 'once more', permit)::text ELSE evq_succeed(event_id, permit)::text END
		FROM evq_acquire_next('PULL', 5);});

sub wait_for_load
{
	my (@load) = @_;

	$_->finish for @load;
	return;
}

my @load = map { start_load($_, $load{$_}, 4, 8) } sort keys %load;
for my $n (1 .. 5)
{
	run("BEGIN; SELECT evq_publish('job', NULL, 'prepared'); PREPARE TRANSACTION 'under load'");
	run("COMMIT PREPARED 'under load'");
}
wait_for_load(@load);
like(slurp_file($node->basedir . "/$_.log"), qr/number of failed transactions: 0 /, "load: $_") for sort keys %load;
are_right('after a load');
is(run(q{SELECT sum(value) FROM evq.counters() WHERE name ~ '^succeed/'}), run(q{SELECT count(*) FROM evq.event_history WHERE state = 's' AND published_at >
	(SELECT pg_postmaster_start_time())}), 'each success is counted');
is(published() + 5, run(q{SELECT count(*) FROM evq.events WHERE published_at > (SELECT pg_postmaster_start_time())}), 'each publish too, but for those prepared');
is(run(q{SELECT sum(value) FROM evq.counters() WHERE name ~ '^acquire/'}), run(q{SELECT sum(value) FROM evq.counters() WHERE name ~ '^wait/[^s]'}),
	'each acquisition has its time');

# The server is stopped under load, then killed under load; each time it goes on under load.
for my $stop (sub { $node->restart }, sub { kill_server($node) })
{
	@load = map { start_load("stopped_$_", $load{$_}, 3, 60) } sort keys %load;
	poll_until('the load runs', sub { run(q{SELECT count(*) > 5 FROM pg_stat_activity WHERE datname = 'db' AND backend_type = 'client backend'}) eq 't' });
	$stop->();
	wait_for_load(@load);
	@load = map { start_load("going_on_$_", $load{$_}, 3, 4) } sort keys %load;
	wait_for_dispatcher($node, 'db');
	ok(poll_until('the counters are back', sub { run('SELECT count(*) > 0 FROM evq.counters()') eq 't' }), 'a stop under load: the counters come back');
	wait_for_load(@load);
	are_right('after that');
}

# ---------- restore ----------

my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '--dbname', $node->connstr('db'), '--file', $dump, '--format', 'custom' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '--dbname', $node->connstr('restored'), $dump ], 'pg_restore');
{
	no warnings 'redefine';
	*run = sub { return $node->safe_psql('restored', $_[0]) };
}
run('SELECT evq_resume()');
wait_for_dispatcher($node, 'restored');
run(q{SELECT evq_publish('job', NULL, 'new')});
ok(poll_until('an event is acquired', sub { run(q{SELECT count(*) FROM evq_acquire_next('FLOW')}) eq '1' }), 'the restored database works');
are_right('after a restore');

is($node->safe_psql($_, 'SELECT errors FROM evq_status()'), 0, "no turn failed in $_") for qw(db restored);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|could not (put|take|count)/, 'nor anything else');
done_testing();
