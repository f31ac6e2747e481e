# Publishers and workers behind a pooler that gives each transaction another session.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Load;
use Evq::Server qw(make_server wait_until);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

my ($program) = grep { -x } map { "$_/pgbouncer" } split /:/, $ENV{PATH};
plan skip_all => 'pgbouncer is not installed' unless $program;

my $node = make_server('main', conf => "evq.poll_interval = 1h\n");
$node->safe_psql(
	'postgres', q{
	SELECT evq_configure_flow('FLOW_B', dispatch_timeout => '1 s');
	SELECT evq_configure('STEP', 'FLOW_B', 3, '1 hour', '{0 s, 10 ms}', attempt_timeout => '1 minute');
	SELECT evq_configure('NEXT_STEP', 'FLOW_B', 3, '1 hour', '{0 s, 10 ms}', attempt_timeout => '1 minute');
});
my $load = Evq::Load->new($node,
	{ flow => 'FLOW_B', channel => 'evq_flow_b', next => { STEP => ['NEXT_STEP'] }, fail => { STEP => 0.1 } });

# Far fewer sessions than clients, and none kept from one transaction to the next.
my $folder = $node->basedir;
my $port = PostgreSQL::Test::Cluster::get_free_port();
append_to_file("$folder/users.txt", qq("load_worker" ""\n"load_publisher" ""\n"postgres" ""\n));
append_to_file("$folder/pgbouncer.ini", <<"END");
[databases]
postgres = host=@{[ $node->host ]} port=@{[ $node->port ]} dbname=postgres
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = @{[ $node->host ]}
auth_type = trust
auth_file = $folder/users.txt
admin_users = postgres
pool_mode = transaction
default_pool_size = 2
max_client_conn = 100
server_round_robin = 1
pidfile = $folder/pgbouncer.pid
logfile = $folder/pgbouncer.log
END
$node->command_ok([ $program, '--daemon', '--quiet', "$folder/pgbouncer.ini" ], 'pgbouncer starts');

my $pooler = 'host=' . $node->host . " port=$port dbname=postgres";
ok(wait_until(60, sub { $node->psql('postgres', 'SELECT 1', connstr => "$pooler user=postgres") == 0 }), 'and accepts connections');

$load->through($pooler);
$load->start_workers(2, sessions => 8);
$load->start_workers(1, sessions => 4, batch => 5);
$load->start_publisher(type => 'STEP', count => 500);
$load->drain(120);
is($node->safe_psql('postgres', q{SELECT count(*) <= 2 FROM pg_stat_activity WHERE usename = 'load_worker'}), 't', '20 workers shared two sessions');
$load->stop;
$load->check;

# All of a worker's verbs, each of which may run in another session.
my $event = $node->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'by hand')}, connstr => "$pooler user=postgres");
ok(wait_until(60, sub { $node->safe_psql('postgres', "SELECT state FROM evq.events WHERE event_id = '$event'") eq 'dispatched' }), 'dispatched');

sub pooled { return $node->safe_psql('postgres', $_[0], connstr => "$pooler user=postgres") }

my $permit = pooled("SELECT permit FROM evq_acquire('$event')");
is(pooled("SELECT held FROM evq_heartbeat(ARRAY['$event']::uuid[], ARRAY[$permit]::bigint[])"), 't', 'evq_heartbeat()');
pooled("SELECT evq_suspend('$event', $permit)");
pooled("SELECT evq_activate('$event')");
ok(wait_until(60, sub { $permit = pooled("SELECT permit FROM evq_acquire_next('FLOW_B')"); $permit ne '' }), 'suspended, activated, acquired again');
pooled("SELECT evq_snooze('$event', $permit, now() + interval '0.1 s')");
ok(wait_until(60, sub { $permit = pooled("SELECT permit FROM evq_acquire_next('FLOW_B')"); $permit ne '' }), 'snoozed, acquired again');
is(pooled("SELECT evq_fail('$event', 'no luck', $permit)"), 'awaiting_processing', 'failed');
pooled("SELECT evq_cancel('$event')");
is(pooled("SELECT state FROM evq.events WHERE event_id = '$event'"), 'canceled', 'canceled');

is($node->safe_psql('postgres', 'SELECT errors FROM evq_status()'), 0, 'the dispatcher had no errors');
kill 'TERM', slurp_file("$folder/pgbouncer.pid") =~ s/\s//gr;
ok(wait_until(60, sub { !-e "$folder/pgbouncer.pid" }), 'pgbouncer stops');
$node->stop;
done_testing();
END
{
	# Whatever happens, it does not outlive the test.
	my $pid_file = $node ? $node->basedir . '/pgbouncer.pid' : '';

	kill 'TERM', slurp_file($pid_file) =~ s/\s//gr if -e $pid_file;
}
