# pg_dump and restore keep everything; permits of the old database are void in the new one, and nothing happens there until evq_resume().
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', "evq.poll_interval = '200ms'");
make_database($node, 'old');
$node->safe_psql('old', q{
	SELECT evq_configure_flow('FLOW', max_dispatched => 77, dispatch_timeout => '1 hour');
	SELECT evq_configure('rescue', 'FLOW', attempt_delays => '{1 s, 2 min}', jitter => 0.5);
	SELECT evq_configure('job', on_fail_event_type => 'rescue', max_attempts => 2);
	SELECT evq_configure('job', lifespan => '20 days');
	SELECT evq_configure('gone', 'SIDE'), evq_pause_flow('SIDE', reason => 'it stays so');
	SELECT evq_publish('gone', NULL, 'of a dropped type');
	SELECT evq_cancel(event_id, 'its type goes') FROM evq.event;
	SELECT evq_drop_event_type('gone');
	SELECT evq_schedule('nightly', '@daily', 'job', NULL, 'case', '{"n": 1}', make_job => false), evq_run_schedule('nightly');
	SELECT evq_cancel(last_event_id) FROM evq.schedule});

my ($permit, %event) = events_in_each_state($node, 'old');

# In batches: some have succeeded, one was canceled, some are held, some wait.
$node->safe_psql('old', q{
	SELECT evq_configure_flow('BATCHES', delivery => 'pull'), evq_configure('stored', 'BATCHES', lifespan => '1 day', attempt_timeout => '1 hour');
	SET evq.store_batches_from = 1;
	SELECT count(*) FROM evq_publish_many('stored', NULL, string_to_array('a b c d e f g h', ' '), ARRAY(SELECT to_jsonb(n) FROM generate_series(1, 8) n));
	SELECT evq_succeed_batch(token) FROM evq_acquire_batch('BATCHES', 2);
	SELECT evq_succeed(b.event_ids[1], p.permit) FROM evq_acquire_batch('BATCHES', 3) b, evq_batch_permits(b.token) p WHERE p.event_id = b.event_ids[1];
	SELECT evq_cancel(event_id) FROM evq.events WHERE flow_id = 'g'});

# All rows of all tables, but not what the new database adds by itself.
my @tables = qw(flow event_type lifespan_change event event_payload event_history event_error idempotency schedule log batch backlog run exception);

sub contents
{
	my ($server, $database) = @_;

	return join "\n", map { "$_: " . $server->safe_psql($database, "SELECT t FROM evq.$_ t ORDER BY t::text") } @tables;
}

my $wanted = contents($node, 'old');
like($wanted, qr/^$_: .+/m, "there are rows in evq.$_") for @tables;
is($node->safe_psql('old', q{SELECT string_agg(DISTINCT state::text, ' ') FROM evq.events}),
	'awaiting_processing being_processed canceled dispatched failed succeeded suspended', 'events in many states');

my $folder = $node->basedir;
$node->command_ok([ 'pg_dump', '--dbname', $node->connstr('old'), '--file', "$folder/plain.sql" ], 'pg_dump');
$node->command_ok([ 'pg_dump', '--dbname', $node->connstr('old'), '--file', "$folder/custom", '--format', 'custom' ], 'pg_dump --format=custom');
$node->command_ok([ 'pg_dump', '--dbname', $node->connstr('old'), '--file', "$folder/folder", '--format', 'directory', '--jobs', 2 ],
	'pg_dump --format=directory --jobs=2');
$node->command_ok([ 'pg_dump', '--dbname', $node->connstr('old'), '--file', "$folder/schema.sql", '--schema-only' ], 'pg_dump --schema-only');

# In the same server, and in another one.
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->append_conf('postgresql.conf', "shared_preload_libraries = 'evq'\nmax_worker_processes = 20\nlog_statement = none\n");
$other->start;

my %restore = (
	plain     => sub { [ 'psql', '--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1', '--dbname', $_[0], '--file', "$folder/plain.sql" ] },
	custom    => sub { [ 'pg_restore', '--exit-on-error', '--dbname', $_[0], "$folder/custom" ] },
	single    => sub { [ 'pg_restore', '--exit-on-error', '--single-transaction', '--dbname', $_[0], "$folder/custom" ] },
	directory => sub { [ 'pg_restore', '--exit-on-error', '--jobs', 2, '--dbname', $_[0], "$folder/folder" ] });
for my $format (sort keys %restore)
{
	my $database = "from_$format";

	$other->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	$other->command_ok($restore{$format}->($other->connstr($database)), "$format: restore");
	is(contents($other, $database), $wanted, "$format: all is there");
	is($other->safe_psql($database, q{SELECT problem FROM evq_status()}), 'this database is paused', "$format: it is paused");
	is($other->safe_psql($database, qq{
		SELECT evq_configure('new', 'NEW');
		SELECT event_type_no > (SELECT max(event_type_no) FROM evq.event_type WHERE event_type <> 'new'),
			flow_no > (SELECT max(flow_no) FROM evq.flow WHERE flow_type <> 'NEW') FROM evq.event_type WHERE event_type = 'new'}),
		"\nt|t", "$format: new configuration gets new numbers");
	is($other->safe_psql($database, "SELECT evq_publish('job', NULL, 'case', '{\"state\": \"held\"}', idempotency_key => 'key of held')"),
		$event{held}, "$format: idempotency keys are known");

	my (undef, undef, $stderr) = $other->psql($database, "\\set VERBOSITY sqlstate\nSELECT evq_succeed('$event{held}', $permit)");
	like($stderr, qr/ERROR:  EQ004/, "$format: the old permit is refused");
	is($other->safe_psql($database, "SELECT held FROM evq_heartbeat(ARRAY['$event{held}']::uuid[], ARRAY[$permit]::bigint[])"), 'f',
		"$format: and cannot be extended");
	is($other->safe_psql($database, "SELECT state FROM evq.events WHERE event_id = '$event{held}'"), 'being_processed', "$format: nothing changed");
}
is($node->safe_psql('old', "SELECT held FROM evq_heartbeat(ARRAY['$event{held}']::uuid[], ARRAY[$permit]::bigint[])"), 't',
	'in the old database the permit holds');

# Nothing happens until somebody says so; then the restored events live on.
make_database($other, 'beside');
is($other->safe_psql('from_custom', 'SELECT count(*) FROM evq_acquire_next(\'FLOW\', 100)'), 0, 'a worker gets nothing');
is(contents($other, 'from_single'), contents($other, 'from_plain'), 'nothing was dispatched');
is(dispatcher_pid($other, "from_$_"), '', "from_$_ has no dispatcher") for sort keys %restore;
for (sort keys %restore)
{
	is($other->safe_psql("from_$_", 'SELECT evq_resume()'), 't', "from_$_: resume");
	wait_for_dispatcher($other, "from_$_");
}
$other->safe_psql('from_custom', "SELECT evq_retry('$event{failed}'), evq_activate('$event{suspended}')");
ok(wait_for_state($other, 'from_custom', $event{$_}, 'dispatched'), "$_ after the restore: dispatched") for qw(failed suspended);
is($other->safe_psql('from_custom', "SELECT payload, headers, attempt FROM evq_acquire('$event{suspended}')"), '{"state": "suspended"}|{"h": 1}|1',
	'and acquired');
isnt($other->safe_psql('from_custom', "SELECT permit FROM evq_acquire('$event{dispatched}')"), $permit, 'with permits of its own');
ok(is_dispatching($other, 'from_plain'), 'new events are dispatched');
ok(poll_until('offered', sub { $other->safe_psql('from_plain', q{SELECT names FROM (SELECT array_to_string(flow_ids, ' ') || ' ' || array_to_string(payloads, ' ') AS names FROM evq_acquire_batch('BATCHES', 10)) b}) eq 'f h 6 8' }),
	'so are those of batches that nobody has had');
is($other->safe_psql('from_plain', q{SELECT string_agg(flow_id || ' ' || state, ', ' ORDER BY event_id) FROM evq.events WHERE flow_type = 'BATCHES'}),
	'a succeeded, b succeeded, c succeeded, d being_processed, e being_processed, f being_processed, g canceled, h being_processed', '... and the others are as they were');

# In the same server.
$node->safe_psql('postgres', 'CREATE DATABASE beside TEMPLATE template0');
$node->command_ok($restore{directory}->($node->connstr('beside')), 'restore beside the first');
is($node->safe_psql('beside', 'SELECT count(*) FROM evq.event'), $node->safe_psql('old', 'SELECT count(*) FROM evq.event'), 'no event was lost');
is($node->safe_psql('beside', "SELECT count(*) FROM evq.events WHERE state IN ('failed', 'expired')"),
	$node->safe_psql('old', "SELECT count(*) FROM evq.events WHERE state IN ('failed', 'expired')"), 'none came to harm');
is(contents($node, 'beside'), $wanted, 'nothing has changed');
$node->safe_psql('beside', 'SELECT evq_resume()');
ok(wait_for_dispatcher($node, 'beside'), 'the dispatcher is there');
ok(is_dispatching($node, 'beside'), 'and at work');
my (undef, undef, $stderr) = $node->psql('beside', "\\set VERBOSITY sqlstate\nSELECT evq_succeed('$event{held}', $permit)");
like($stderr, qr/ERROR:  EQ004/, 'another database of the same server refuses the old permit as well');

# ---------- columns of users ----------

# No dump has them, for the tables are the extension's: they have to be there before the data come.
my @own = ('ALTER TABLE evq.event ADD COLUMN mine text DEFAULT $$own$$', 'ALTER TABLE evq.event_history ADD COLUMN mine int');
make_database($node, 'own');
$node->safe_psql('own', join ';', @own, q{SELECT evq_configure('rescue', 'FLOW'), evq_configure('job', on_fail_event_type => 'rescue')});
my ($own_permit, %own_event) = events_in_each_state($node, 'own');
my $own_contents = contents($node, 'own');
$node->command_ok([ 'pg_dump', '--dbname', $node->connstr('own'), '--file', "$folder/own", '--format', 'custom' ], 'pg_dump');
$other->safe_psql('postgres', 'CREATE DATABASE own TEMPLATE template0');
$other->safe_psql('own', join ';', 'SET row_security = off', 'CREATE EXTENSION evq', @own);
$other->command_ok([ 'pg_restore', '--exit-on-error', '--dbname', $other->connstr('own'), "$folder/own" ], 'restore where they are');
is(contents($other, 'own'), $own_contents, '... and all is there');
like($own_contents, qr/,own\)$/m, '... these columns too');
is($other->safe_psql('own', q{SELECT problem FROM evq_status()}), 'this database is paused', '... and paused');

# ---------- the schema alone ----------

$other->safe_psql('postgres', 'CREATE DATABASE schema_only TEMPLATE template0');
$other->command_ok([ 'psql', '--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1', '--dbname', $other->connstr('schema_only'), '--file', "$folder/schema.sql" ],
	'restore of the schema alone');
$other->safe_psql('schema_only', q{SELECT evq_configure('job', 'FLOW')});
for my $call ("evq_publish('job', NULL, 'first')", "count(*) FROM evq_acquire_next('FLOW')", "count(*) FROM evq_acquire(gen_random_uuid())",
	"count(*) FROM evq_publish_many('job', NULL, ARRAY['a'], ARRAY['{}'])")
{
	my ($code, $out, $said) = $other->psql('schema_only', "SELECT $call; SELECT $call");
	my @times = $said =~ /paused in this database, which was restored.*\n.*call evq_resume\(\)/g;
	is(@times, 1, "the first call of a session says that all is paused, and how it goes on: $call");
}
$other->safe_psql('schema_only', q{SELECT evq_resume()});
my ($code, $out, $said) = $other->psql('schema_only', "SELECT evq_publish('job', NULL, 'later')");
is($said, '', 'and nothing after evq_resume()');
$other->safe_psql('schema_only', "SELECT evq_pause('for a while')");
($code, $out, $said) = $other->psql('schema_only', "SELECT evq_publish('job', NULL, 'later')");
is($said, '', 'nor in a pause that somebody wanted');
$other->safe_psql('schema_only', q{SELECT evq_resume(), evq_cancel(event_id) FROM evq.event});
wait_for_dispatcher($other, 'schema_only');
ok(is_dispatching($other, 'schema_only'), 'gives an empty evq that works');

# ---------- dump of all ----------

$node->command_ok([ 'pg_dumpall', '--dbname', $node->connstr('postgres'), '--globals-only', '--file', "$folder/globals.sql" ], 'pg_dumpall');
like(slurp_file("$folder/globals.sql"), qr/CREATE ROLE evq_worker/, 'the roles are in it');

$_->stop for $node, $other;
done_testing();
