# pg_upgrade keeps everything; nothing happens meanwhile, permits of before are void afterwards, and the engine goes on by itself, where it was not
# paused. OLD_PREFIX = the installation of an older version to upgrade from, by copying and by linking; without it, from this version to itself.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd;
use Evq::Test;
use File::Temp;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Since 18 initdb switches checksums on, and pg_upgrade wants them as they were.
my @initdb = qw(--no-data-checksums);

sub make_cluster
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, %options);

	$node->init(extra => $node->pg_version >= 18 ? \@initdb : []);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'evq'\nevq.poll_interval = '200ms'\nmax_worker_processes = 20\nlog_statement = none\n");
	return $node;
}

my $old = make_cluster('old', $ENV{OLD_PREFIX} ? (install_path => $ENV{OLD_PREFIX}) : ());
$old->start;
note('from ' . $old->safe_psql('postgres', 'SHOW server_version') . ' to ' . (`pg_config --version`));

# ---------- an event in each state, and a history of days ----------

make_database($old, $_) for qw(shop paused);
$old->safe_psql('shop', q{
	SELECT evq_configure('rescue', 'FLOW', attempt_delays => '{1 s, 2 min}', jitter => 0.5);
	SELECT evq_configure('job', on_fail_event_type => 'rescue', max_attempts => 3);
	SELECT evq_configure('brief', 'BRIEF', lifespan => '1 day');
	SELECT evq_configure('blocked', 'SIDE');
	SELECT evq_suspend_event_type('blocked');
	SELECT evq_publish('blocked', NULL, 'case');
	SELECT evq_schedule('nightly', '@daily', 'job', NULL, 'case', '{"n": 1}', make_job => false), evq_run_schedule('nightly');
	SELECT evq.prepare_history(0, now() - make_interval(days => d)) FROM unnest('{1, 2}'::int[]) d;
	SELECT evq_configure_flow('BULK', delivery => 'pull'), evq_configure('parcel', 'BULK', lifespan => '1 day', attempt_timeout => '1 hour');
	SET evq.store_batches_from = 1;
	SELECT count(*) FROM evq_publish_many('parcel', NULL, string_to_array('a b c d e f', ' '), array_fill(jsonb '{"batch": 1}', '{6}'));
	SELECT evq_succeed_batch(token) FROM evq_acquire_batch('BULK', 1);
	SELECT evq_cancel(event_id) FROM evq.events WHERE flow_id = 'f'});
my ($token, $had) = split /[|]/, $old->safe_psql('shop', q{SELECT token, array_to_string(flow_ids, '') FROM evq_acquire_batch('BULK', 2)});
my $left = join(' ', grep { !/[$had]/ } 'b' .. 'e'); # it may have been one only
my ($permit, %event) = events_in_each_state($old, 'shop', q('large'), q(repeat('x', 1000)));
for my $days (1, 2, 5)
{
	$old->safe_psql('shop', "SET evq.debug_clock_offset = " . -86400 * $days . "; SELECT evq_cancel(evq_publish('job', NULL, 'of $days days ago'), 'old')");
}
$old->safe_psql('shop', q{SET evq.debug_clock_offset = -172800; SELECT evq_publish('brief', NULL, 'case')});
poll_until('expired event', sub { $old->safe_psql('shop', q{SELECT state FROM evq.events WHERE event_type = 'brief'}) eq 'expired' });
$old->safe_psql('paused', q{SELECT evq_pause('for the upgrade')});
wait_for_no_dispatcher($old, 'paused');

$old->append_conf('postgresql.conf', 'evq.enabled = off');
$old->reload;
wait_for_no_dispatcher($old, 'shop');
$event{due} = publish($old, 'shop');
my $waiting = publish($old, 'paused');

my @tables = qw(flow event_type event event_payload event_history event_error idempotency schedule epoch log batch backlog run exception);

sub contents
{
	my ($server, $database) = @_;

	return join "\n", (map { "$_: " . $server->safe_psql($database, "SELECT t FROM evq.$_ t ORDER BY t::text") } @tables),
	  $server->safe_psql($database, 'SELECT relation, from_at, to_at FROM evq.history_partitions() ORDER BY from_at');
}

my %wanted = map { $_ => contents($old, $_) } qw(shop paused);
ok($wanted{shop} =~ /^$_: ./m, "there are rows in evq.$_") for @tables;
is($old->safe_psql('shop', q{SELECT string_agg(DISTINCT state::text, ' ') FROM evq.events}),
	'awaiting_processing being_processed canceled dispatched expired failed succeeded suspended', 'events in all states');
is($old->safe_psql('shop', 'SELECT count(DISTINCT tableoid) FROM evq.event_history'), 4, 'in three partitions of the history and the default one');

my $findings = q{SELECT finding FROM evq_check() WHERE severity = 'error' AND subject <> 'dispatcher' ORDER BY 1};
my $found = $old->safe_psql('shop', $findings);

# A database that has not been updated yet.
$old->safe_psql('postgres', 'CREATE DATABASE earlier');
my $version = $old->safe_psql('shop', 'SELECT evq_version()');
my $earlier = $old->safe_psql('earlier', q{
	CREATE EXTENSION evq VERSION '0.1';
	SELECT evq_configure('job', 'FLOW');
	SELECT evq_publish('job', NULL, 'case')}) =~ s/\s//gr;

# Any engine that runs now would dispatch what is due.
$old->stop;
$old->append_conf('postgresql.conf', 'evq.enabled = on');

# ---------- pg_upgrade ----------

# pg_upgrade leaves a script behind where it runs, and has its sockets in a folder with a short name.
my $folder = $old->basedir;
my $sockets = File::Temp->newdir(TEMPLATE => 'evq-upgrade.XXXXXX', TMPDIR => 1);

sub run_pg_upgrade
{
	my ($new, $what, @options) = @_;
	my $here = getcwd;

	chdir $folder or die "$folder: $!";
	$new->command_ok([ 'pg_upgrade', '--no-sync', '--retain', '--old-datadir', $old->data_dir, '--new-datadir', $new->data_dir,
			'--old-bindir', $old->config_data('--bindir'), '--new-bindir', $new->config_data('--bindir'),
			'--old-port', $old->port, '--new-port', $new->port, '--socketdir', $sockets, @options ], $what);
	chdir $here or die "$here: $!";
}

# All that the servers wrote while pg_upgrade ran them.
sub logs_of
{
	my ($new) = @_;
	my @logs = glob $new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_server.log';

	return join '', map { slurp_file($_) } @logs;
}

# Link mode comes last, for it leaves no old cluster behind. Within a version copying is enough.
my %options = (copy => [], link => ['--link']);
for my $mode ($ENV{OLD_PREFIX} ? qw(copy link) : 'copy')
{
	my $new = make_cluster($mode);

	run_pg_upgrade($new, "$mode: pg_upgrade --check", @{ $options{$mode} }, '--check') if $ENV{OLD_PREFIX};
	run_pg_upgrade($new, "$mode: pg_upgrade", @{ $options{$mode} });
	my $logs = logs_of($new);
	like($logs, qr/database system is ready/, "$mode: its servers have a log");
	unlike($logs, qr/evq (launcher|dispatcher|housekeeper)/, "$mode: in which there is no engine");

	# Looked at before the engine runs.
	$new->append_conf('postgresql.conf', 'evq.enabled = off');
	$new->start;
	is(contents($new, $_), $wanted{$_}, "$mode: all is there in $_") for sort keys %wanted;
	$new->append_conf('postgresql.conf', 'evq.enabled = on');
	$new->reload;

	ok(wait_for_dispatcher($new, 'shop'), "$mode: the engine goes on by itself");
	is($new->safe_psql('shop', 'SELECT problem FROM evq_status()'), '', "$mode: without complaint");
	ok(wait_for_state($new, 'shop', $event{due}, 'dispatched'), "$mode: what was due is dispatched");
	my (undef, undef, $stderr) = $new->psql('shop', "\\set VERBOSITY sqlstate\nSELECT evq_succeed('$event{held}', $permit)");
	like($stderr, qr/ERROR:  EQ004/, "$mode: a permit of before is refused");
	is($new->safe_psql('shop', "SELECT held FROM evq_heartbeat(ARRAY['$event{held}']::uuid[], ARRAY[$permit]::bigint[])"), 'f', "$mode: and cannot be extended");
	is(state_of($new, 'shop', $event{held}), 'being_processed', "$mode: its event is not free before its time");
	$new->safe_psql('shop', "SELECT evq_fail('$event{held}', 'upgraded', retry_in => '0 s')");
	ok(wait_for_state($new, 'shop', $event{held}, 'dispatched'), "$mode: but when somebody says so");
	isnt($new->safe_psql('shop', "SELECT permit FROM evq_acquire('$event{held}')"), $permit, "$mode: and then has another permit");
	is($new->safe_psql('shop', "SELECT payload->>'state', headers FROM evq_acquire('$event{dispatched}')"), 'dispatched|{"h": 1}', "$mode: what was dispatched can be acquired");
	$new->safe_psql('shop', "SELECT evq_retry('$event{failed}'), evq_activate('$event{suspended}')");
	ok(wait_for_state($new, 'shop', $event{$_}, 'dispatched'), "$mode: $_ goes on") for qw(failed suspended);
	is(publish($new, 'shop', "jsonb_build_object('state', 'held', 'large', repeat('x', 1000)), idempotency_key => 'key of held', headers => '{\"h\": 1}'"), $event{held}, "$mode: keys are known");
	is($new->safe_psql('shop', q{SELECT evq_run_schedule('nightly') IS NOT NULL}), 't', "$mode: schedules run");
	like(($new->psql('shop', "\\set VERBOSITY sqlstate\nSELECT evq_succeed_batch('$token')"))[2], qr/ERROR:  EQ004/, "$mode: a token of before is refused");
	is($new->safe_psql('shop', q{SELECT array_to_string(flow_ids, ' '), payloads[1] FROM evq_acquire_batch('BULK', 10)}), "$left|{\"batch\": 1}", "$mode: what nobody had of a batch is there");
	is($new->safe_psql('shop', $findings), $found, "$mode: evq_check() finds no more than before");

	is($new->safe_psql('paused', 'SELECT problem FROM evq_status()'), 'this database is paused', "$mode: what was paused stays so");
	is(dispatcher_pid($new, 'paused'), '', "$mode: without a dispatcher");
	is($new->safe_psql('paused', 'SELECT evq_resume()'), 't', "$mode: until it is resumed");
	ok(wait_for_state($new, 'paused', $waiting, 'dispatched'), "$mode: then it goes on");

	is($new->safe_psql('earlier', 'SELECT evq_version()'), '0.1', "$mode: an earlier version of evq is there");
	ok(wait_for_state($new, 'earlier', $earlier, 'dispatched'), "$mode: goes on");
	$new->safe_psql('earlier', 'ALTER EXTENSION evq UPDATE');
	is($new->safe_psql('earlier', "SELECT evq_version(), count(evq_succeed(event_id, permit)) FROM evq_acquire('$earlier')"), "$version|1", "$mode: and can be updated");

	# It is an extension as any other.
	is($new->safe_psql('shop', q{SELECT count(*) FROM pg_extension WHERE extname = 'evq'}), 1, "$mode: the extension is known");
	$new->command_ok([ 'pg_dump', '--dbname', $new->connstr('shop'), '--file', "$folder/$mode.dump", '--format', 'custom' ], "$mode: pg_dump");
	$new->safe_psql('paused', 'DROP EXTENSION evq');
	is($new->safe_psql('paused', q{SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = 'evq'}), 0, "$mode: DROP EXTENSION takes all of it");
	$new->stop;
}

done_testing();
