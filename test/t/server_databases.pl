# Nobody waits for a dispatcher: commands that need a database for themselves, DROP EXTENSION, shutdown.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = make_server('main', "evq.poll_interval = '100ms'");

# A database with a flow whose events are offered again and again.
sub make_busy_database
{
	my ($database) = @_;

	make_database($node, $database);
	$node->safe_psql($database, q{
		SELECT evq_configure_flow('LOAD', max_dispatched => 100000, dispatch_timeout => '0.5 s');
		SELECT evq_configure('load', 'LOAD', lifespan => '1 day')});
}

make_busy_database($_) for qw(busy other own);

# Sessions that publish all the time, in the databases named, until they are told to stop.
my @publishers;

sub start_publishers
{
	for my $database (@_)
	{
		my $log = '';
		my $script = $node->basedir . '/publish.sql';

		append_to_file($script, "SELECT evq_publish('load', NULL, 'x');\n") unless -e $script;
		push @publishers, IPC::Run::start([
			'pgbench', '--no-vacuum', '--client', 2, '--time', 600, '--rate', 50, '--host', $node->host,
			'--port', $node->port, '--file', $script, $database ], '>', \$log, '2>', \$log);
	}
}

sub stop_publishers
{
	for my $publisher (splice @publishers)
	{
		$publisher->signal('TERM');
		eval { $publisher->finish };
	}
}

# A command that must succeed, soon.
sub soon
{
	my ($what, $command, $database) = @_;
	my $begin = time;
	my ($status, undef, $stderr) = $node->psql($database // 'postgres', $command);

	is($status, 0, $what) or diag($stderr);
	cmp_ok(time - $begin, '<', 10, "$what: within seconds");
}

start_publishers(qw(busy other));
ok(poll_until('load', sub { $node->safe_psql($_, 'SELECT events_dispatched > 20 FROM evq_status()') eq 't' }), "$_: events are dispatched")
  for qw(busy other);

# ---------- other databases, and one with an idle dispatcher ----------

soon('CREATE DATABASE', 'CREATE DATABASE fresh');
soon('DROP DATABASE without evq', 'DROP DATABASE fresh');
soon('CREATE DATABASE ... TEMPLATE', 'CREATE DATABASE made TEMPLATE own');
ok(wait_for_dispatcher($node, 'made'), 'its dispatcher starts');
ok(wait_for_dispatcher($node, 'own'), 'that of the template comes back');
soon('ALTER DATABASE ... RENAME', 'ALTER DATABASE own RENAME TO renamed');
ok(is_dispatching($node, 'renamed'), 'the renamed database has its dispatcher');
$node->safe_psql('postgres', "SET allow_in_place_tablespaces = on; CREATE TABLESPACE place LOCATION ''");
soon('ALTER DATABASE ... SET TABLESPACE', 'ALTER DATABASE renamed SET TABLESPACE place');
ok(is_dispatching($node, 'renamed'), 'the moved database has its dispatcher');
soon('DROP DATABASE', 'DROP DATABASE renamed');
is(dispatcher_pid($node, 'renamed'), '', 'its dispatcher is gone');
$node->safe_psql('postgres', 'CREATE DATABASE own TEMPLATE made STRATEGY file_copy');
ok(is_dispatching($node, 'own'), 'with the other strategy too');
soon('DROP DATABASE ... WITH (FORCE)', 'DROP DATABASE own WITH (FORCE)');

# ---------- a database whose dispatcher is busy ----------

# Nobody is connected there: the dispatcher offers the same events for ever.
$node->safe_psql('made', q{
	SELECT evq_configure_flow('LOAD', dispatch_timeout => '10 ms');
	SELECT count(*) FROM evq_publish_many('load', NULL, array_fill('x'::text, ARRAY[5000]), array_fill('{}'::jsonb, ARRAY[5000]))});
ok(poll_until('load', sub { $node->safe_psql('made', 'SELECT events_dispatched > 20000 FROM evq_status()') eq 't' }),
	'a busy dispatcher');
soon('busy: CREATE DATABASE ... TEMPLATE', 'CREATE DATABASE second TEMPLATE made');
soon('busy: ALTER DATABASE ... RENAME', 'ALTER DATABASE second RENAME TO third');
is($node->safe_psql('third', 'SELECT evq_resume()'), 't', 'a copy with events is paused');
ok(wait_for_dispatcher($node, 'third'), 'its dispatcher starts when it is resumed');
soon('busy: ALTER DATABASE ... SET TABLESPACE', 'ALTER DATABASE third SET TABLESPACE place');
soon('busy: DROP DATABASE', 'DROP DATABASE third');
soon('busy: DROP DATABASE', 'DROP DATABASE made');

# ---------- commands that fail ----------

make_busy_database('own');
my $pid = wait_for_dispatcher($node, 'own');
$node->safe_psql('postgres', 'CREATE ROLE nobody');
for my $command ('DROP DATABASE own', 'ALTER DATABASE own RENAME TO renamed', 'CREATE DATABASE copied TEMPLATE own')
{
	isnt($node->psql('postgres', "SET ROLE nobody;\n$command"), 0, "$command: not for everybody");
	is(dispatcher_pid($node, 'own'), $pid, '... and the dispatcher stays');
}
my $guest = session($node, 'own');
my ($status, undef, $stderr) = $node->psql('postgres', 'DROP DATABASE own');
isnt($status, 0, 'DROP DATABASE fails while someone is connected');
like($stderr, qr/There is 1 other session using the database/, 'because of that session alone');
ok(wait_for_dispatcher($node, 'own', $pid), 'the dispatcher comes back');
ok(is_dispatching($node, 'own'), 'and works');
isnt($node->psql('postgres', 'ALTER DATABASE own RENAME TO renamed'), 0, 'ALTER DATABASE ... RENAME fails');
isnt($node->psql('postgres', 'DROP DATABASE missing'), 0, 'DROP DATABASE of none fails');
is($node->psql('postgres', 'DROP DATABASE IF EXISTS missing'), 0, 'or does nothing');
$pid = wait_for_dispatcher($node, 'own');
my $patient = session($node, 'postgres');
$patient->query_safe(q{BEGIN; DO $$BEGIN ALTER DATABASE own RENAME TO renamed; EXCEPTION WHEN object_in_use THEN NULL; END$$});
ok(wait_for_dispatcher($node, 'own', $pid), 'a command that failed in a transaction that goes on: the dispatcher comes back at once');
$patient->query_safe('COMMIT');
end_session($patient);
$node->psql('postgres', 'BEGIN; DROP DATABASE own; COMMIT');
end_session($guest);
ok(is_dispatching($node, 'own'), 'the dispatcher is there in the end');
soon('DROP DATABASE after the guest has left', 'DROP DATABASE own');

# A session that ends in the middle of such a command lets the dispatcher go on.
make_database($node, 'own');
$guest = session($node, 'own');
my $dropper = IPC::Run::start([ 'psql', '--no-psqlrc', '--dbname', $node->connstr('postgres'),
	'--command', 'DROP DATABASE own' ], '>', \my $output, '2>', \my $errors);
poll_until('DROP DATABASE', sub { $node->safe_psql('postgres',
	"SELECT count(*) FROM pg_stat_activity WHERE query = 'DROP DATABASE own'") eq '1' });
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'DROP DATABASE own'");
$dropper->finish;
ok(is_dispatching($node, 'own'), 'DROP DATABASE whose session is terminated: the dispatcher is back');
end_session($guest);

# ---------- a housekeeper that has much to do ----------

$node->safe_psql('postgres', 'CREATE DATABASE laden');
$node->safe_psql('laden', q{
	BEGIN;
	CREATE EXTENSION evq;
	CREATE OR REPLACE FUNCTION evq.prepare_history(ahead int DEFAULT 2, at timestamptz DEFAULT clock_timestamp()) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$ BEGIN PERFORM pg_sleep(60); RETURN 0; END $$;
	COMMIT});
ok(poll_until('housekeeper', sub { $node->safe_psql('postgres',
	"SELECT count(*) FROM pg_stat_activity WHERE datname = 'laden' AND backend_type = 'evq housekeeper' AND wait_event = 'PgSleep'") eq '1' }), 'a housekeeper is at work');
soon('DROP DATABASE beside a housekeeper', 'DROP DATABASE laden');

# ---------- DROP EXTENSION ----------

soon('DROP EXTENSION while events are dispatched, rolled back', 'BEGIN; DROP EXTENSION evq CASCADE; ROLLBACK', 'busy');
ok(is_dispatching($node, 'busy'), 'the dispatcher goes on');
stop_publishers();
start_publishers('other', 'busy');
my $log = log_end($node);
soon('DROP EXTENSION while events are published', 'DROP EXTENSION evq CASCADE', 'busy');
ok(wait_for_no_dispatcher($node, 'busy'), 'the dispatcher leaves');
$node->safe_psql('busy', q{
	CREATE EXTENSION evq; SELECT evq_configure('job', 'FLOW', lifespan => '1 day'); SELECT evq_configure('load', 'LOAD')});
ok(is_dispatching($node, 'busy'), 'created again: events are dispatched');
is(scalar(() = slurp_file($node->logfile, $log) =~ /PANIC|FATAL:  (?!terminating connection|connection to client lost|the database system)/g), 0, 'no process came to harm');

# A transaction that has dropped the extension and takes its time.
my $slow = session($node, 'busy');
$slow->query_safe('BEGIN; DROP EXTENSION evq CASCADE');
ok(is_dispatching($node, 'other'), 'DROP EXTENSION under way: other databases go on');
soon('CREATE DATABASE meanwhile', 'CREATE DATABASE meanwhile');
$slow->query_safe('ROLLBACK');
ok(is_dispatching($node, 'busy'), 'rolled back at last: the dispatcher goes on');
end_session($slow);

# ---------- shutdown ----------

start_publishers(qw(busy other));
ok(is_dispatching($node, 'busy'), 'under load');
my $begin = time;
$node->stop('fast');
cmp_ok(time - $begin, '<', 20, 'fast shutdown is quick');
stop_publishers();
$node->start;
ok(is_dispatching($node, 'busy'), 'started again');
start_publishers(qw(busy other));
ok(is_dispatching($node, 'other'), 'under load');
$begin = time;
$node->stop('immediate');
cmp_ok(time - $begin, '<', 20, 'immediate shutdown is quick');
stop_publishers();
$node->start;
ok(is_dispatching($node, 'busy'), 'started again after the recovery');
$node->stop;
done_testing();
