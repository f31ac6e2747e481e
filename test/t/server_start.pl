# Dispatchers come and go with the extension, by themselves.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main');

# ---------- the extension is created ----------

make_database($node, 'one');
ok(is_dispatching($node, 'one'), 'CREATE EXTENSION starts a dispatcher');
is(dispatcher_pid($node, 'postgres'), '', 'a database without evq has none');

is($node->safe_psql('one', q{
	SELECT preloaded, enabled, running, dispatcher_pid = a.pid, started_at <= now(), last_turn_at <= now(),
		turns > 0, events_dispatched, ring_overflows, errors, last_error IS NULL, problem IS NULL, hint IS NULL
	FROM evq_status(), pg_stat_activity a
	WHERE a.backend_type = 'evq dispatcher' AND a.datname = 'one'}),
	't|t|t|t|t|t|t|1|0|0|t|t|t', 'evq_status() says that all is well');
is($node->safe_psql('one', q{
	SELECT application_name, state, wait_event_type FROM pg_stat_activity WHERE backend_type = 'evq dispatcher'}),
	'evq dispatcher|idle|Extension', 'pg_stat_activity shows the dispatcher');

$node->safe_psql('postgres', 'BEGIN; CREATE EXTENSION evq; ROLLBACK');
$node->safe_psql('postgres', 'BEGIN; SAVEPOINT s; CREATE EXTENSION evq; ROLLBACK TO s; COMMIT');
make_database($node, 'two');
is(dispatcher_pid($node, 'postgres'), '', 'nor has one whose CREATE EXTENSION was rolled back');

$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE two');
wait_for_dispatcher($node, 'copy');
ok(is_dispatching($node, 'copy'), 'a database made from a template with evq has a dispatcher');
ok(is_dispatching($node, 'two'), 'and the template has its own again');

# ---------- restart ----------

my $log = log_end($node);
$node->restart;
wait_for_dispatcher($node, $_) for qw(one two copy);
ok(is_dispatching($node, $_), "restart: $_ has its dispatcher") for qw(one two copy);
my @started = slurp_file($node->logfile, $log) =~ /LOG:  evq dispatcher of database "(\w+)" started/g;
is_deeply([ sort @started ], [qw(copy one two)], 'one each, and none where there is no evq');

# ---------- the extension is dropped ----------

my $pid = dispatcher_pid($node, 'one');
$node->safe_psql('one', 'BEGIN; DROP EXTENSION evq CASCADE; ROLLBACK');
ok(is_dispatching($node, 'one'), 'DROP EXTENSION rolled back: events are dispatched');
is(dispatcher_pid($node, 'one'), $pid, 'by the same dispatcher');

$node->safe_psql('one', 'DROP EXTENSION evq CASCADE');
ok(wait_for_no_dispatcher($node, 'one'), 'it leaves when the extension has been dropped');
ok(is_dispatching($node, 'two'), 'the others stay');

$node->safe_psql('one', q{CREATE EXTENSION evq; SELECT evq_configure('job', 'FLOW')});
wait_for_dispatcher($node, 'one');
ok(is_dispatching($node, 'one'), 'created again: it is back');

$node->safe_psql('one', q{
	BEGIN; DROP EXTENSION evq CASCADE; CREATE EXTENSION evq; SELECT evq_configure('job', 'FLOW'); COMMIT});
ok(is_dispatching($node, 'one'), 'dropped and created in one transaction: it goes on');

$node->safe_psql('one', 'DROP EXTENSION evq CASCADE');
ok(wait_for_no_dispatcher($node, 'one'), 'dropped again: it leaves again');

# ---------- someone ends the processes ----------

$pid = dispatcher_pid($node, 'two');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for_dispatcher($node, 'two', $pid);
ok(is_dispatching($node, 'two'), 'a terminated dispatcher comes back');

my $launcher_pid = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'evq launcher'";
my $launcher = $node->safe_psql('postgres', $launcher_pid);
isnt($launcher, '', 'there is a launcher');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
poll_until('another launcher', sub { $node->safe_psql('postgres', "$launcher_pid AND pid <> $launcher") });
ok(is_dispatching($node, 'two'), 'a terminated launcher comes back, the dispatcher did not notice');

$node->safe_psql('postgres',
	"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'evq %'");
wait_for_dispatcher($node, $_) for qw(two copy);
ok(is_dispatching($node, 'copy'), 'all terminated: all come back');

# ---------- switched off ----------

$node->safe_psql('postgres', 'ALTER SYSTEM SET evq.enabled = off; SELECT pg_reload_conf()');
wait_for_no_dispatcher($node, $_) for qw(two copy);
is($node->safe_psql('two', 'SELECT enabled, running, problem, hint IS NOT NULL FROM evq_status()'),
	'f|f|dispatchers are switched off|t', 'evq.enabled = off: the dispatchers leave and evq_status() says why');
my $event = publish($node, 'two');
$node->safe_psql('postgres', 'ALTER SYSTEM SET evq.enabled = on; SELECT pg_reload_conf()');
wait_for_dispatcher($node, $_) for qw(two copy);
ok(wait_for_state($node, 'two', $event, 'dispatched'), 'on again: what was published meanwhile is dispatched');

$node->stop;
done_testing();
