# The server under valgrind, with the SQL tests and a dispatcher at work: no error of memory where evq is on the stack. PostgreSQL is
# the packaged one, whose own allocator valgrind does not know: only whole blocks are watched, and values never set.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Basename qw(basename);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Server qw(wait_until);

plan skip_all => 'valgrind is not installed' unless grep { -x "$_/valgrind" } split /:/, $ENV{PATH};
plan skip_all => 'ENGINE_SOURCES does not name the source files; test/run does it' unless $ENV{ENGINE_SOURCES};

my $tests = "$FindBin::Bin/../..";
my $patience = 600;
my $logs = "$PostgreSQL::Test::Utils::log_path/valgrind";
my $node = PostgreSQL::Test::Cluster->new('main');

mkdir $logs;
$node->init;
$node->append_conf('postgresql.conf', <<'END');
shared_preload_libraries = 'evq,pg_cron'
cron.database_name = 'contrib_regression'
max_prepared_transactions = 10
max_connections = 20
shared_buffers = 16MB
autovacuum = off
evq.poll_interval = 1s
log_statement = none
END

my ($postgres) = grep { -x } map { "$_/postgres" } split /:/, $ENV{PATH};
my $postmaster = fork // die "fork: $!";
if ($postmaster == 0)
{
	open STDIN, '<', '/dev/null';
	open STDOUT, '>>', $node->logfile;
	open STDERR, '>&', \*STDOUT;
	exec 'valgrind', '--quiet', '--leak-check=no', '--trace-children=yes', '--error-limit=no', '--num-callers=30', '--vgdb=no', "--suppressions=$tests/fault/valgrind.supp",
	  "--log-file=$logs/%p.log", $postgres, '-D', $node->data_dir
	  or die "valgrind: $!";
}

END { kill 'INT', $postmaster if $postmaster }

# In this server, sessions are slow to come and to go.
sub answers
{
	my ($database, $sql) = @_;
	my ($status, $rows) = $node->psql($database, $sql, stderr => \my $error);

	return $status == 0 ? $rows : undef;
}

ok(wait_until($patience, sub { defined answers('postgres', 'SELECT 1') }), 'the server starts') or BAIL_OUT('no server');

# ---------- a dispatcher, and what it hands out ----------

$node->safe_psql('postgres', q{
	CREATE EXTENSION evq;
	SELECT evq_configure('rescue', 'FLOW'), evq_configure_flow('FLOW', dispatch_timeout => '1 s', notify_payload => true), evq_configure_flow('ORDERED', ordered => true), evq_configure_flow('PULL', delivery => 'pull');
	SELECT evq_configure('job', 'FLOW', 2, '1 hour', '{0 s}', attempt_timeout => '1 s', on_fail_event_type => 'rescue');
	SELECT evq_configure('brief', 'FLOW', 2, '1 s', '{0 s}');
	SELECT evq_configure('in_order', 'ORDERED'), evq_configure('pulled', 'PULL')});
ok(wait_until($patience, sub { (answers('postgres', 'SELECT running FROM evq_status()') // '') eq 't' }), 'the dispatcher starts');
$node->safe_psql('postgres', q{
	SELECT evq_watch('1 min');
	SELECT count(evq_publish(type, NULL, 'f' || n % 7, to_jsonb(repeat('x', n)))) FROM unnest('{job,brief,in_order,pulled}'::text[]) AS type, generate_series(1, 60) n});
ok(wait_until($patience, sub {
		answers('postgres', q{
			SELECT count(evq_fail(event_id, 'no', permit)) FROM evq_acquire_next('FLOW', 20);
			SELECT count(*) FROM evq_acquire_next('FLOW', 20);
			SELECT count(*) FROM evq_acquire_next('FLOW', 20) a, LATERAL evq_succeed_and_acquire('FLOW', ARRAY[a.event_id], ARRAY[a.permit], 1);
			SELECT count(evq_succeed(event_id, permit)) FROM evq_acquire_next('ORDERED', 50);
			SELECT count(evq_succeed(event_id, permit)) FROM evq_acquire_next('PULL', 50);
			SELECT evq_metrics(), evq_check()});
		return (answers('postgres', q{SELECT count(*) FROM evq.event JOIN evq.event_type USING (event_type_no) WHERE event_type <> 'rescue'}) // '') eq '0';
	}), 'events of all kinds come to their end');

# ---------- the SQL tests ----------

$node->safe_psql('postgres', 'ALTER SYSTEM SET evq.enabled = off; SELECT pg_reload_conf()');
$node->safe_psql('postgres', 'CREATE DATABASE contrib_regression');
$node->safe_psql('contrib_regression', 'CREATE EXTENSION evq');
local $ENV{PG_ABS_SRCDIR} = $tests;
my @files = sort glob "$tests/sql/*.sql";
for my $file (@files)
{
	IPC::Run::run([ 'psql', '--no-psqlrc', '--quiet', '--dbname', $node->connstr('contrib_regression'), '--file', $file ], '<', '/dev/null', '>', \my $said, '2>', \my $error);
	ok($? == 0 && $error !~ /server closed|could not connect/, basename($file));
}
system_or_bail('pg_ctl', '--pgdata', $node->data_dir, '--timeout', $patience, '--mode', 'fast', 'stop');
waitpid $postmaster, 0;
$postmaster = 0;

# ---------- what valgrind found ----------

my %ours = map { $_ => 1 } split / /, $ENV{ENGINE_SOURCES};
my (@with_evq, $without);
for my $log (glob "$logs/*.log")
{
	for my $found (split /^==\d+== \n/m, slurp_file($log))
	{
		next unless $found =~ /^==\d+==    at /m;
		if ($found =~ /evq\.so/ || grep { $ours{$_} } $found =~ /\((\w+\.c):\d+\)/g) { push @with_evq, $found }
		else { $without++ }
	}
}
is(join("\n", @with_evq[ 0 .. (@with_evq < 5 ? $#with_evq : 4) ]), '', 'no error of memory with evq on the stack');
unlike(slurp_file($node->logfile), qr/PANIC:|TRAP:|terminated by signal/, 'no process crashed');
diag(sprintf '%d SQL tests and a dispatcher; %d errors with evq on the stack, %d in PostgreSQL alone', scalar @files, scalar @with_evq, $without // 0);
done_testing();
