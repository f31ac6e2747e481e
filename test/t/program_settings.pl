# evq-gateway and evq-worker under settings of the database that would take their sessions from them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server wait_for_dispatcher wait_for_result wait_until);
use Evq::Test qw(session);

my $node = make_server('main');
sub query { return $node->safe_psql('postgres', $_[0]) }

query(q{SELECT evq_configure('job', 'FLOW')});
wait_for_dispatcher($node);
query("ALTER DATABASE postgres SET $_") for "idle_session_timeout = '100ms'", q{default_transaction_isolation = 'serializable'};

my $gateway = Evq::Gateway->new_ready($node);
my $worker = do
{
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');
	IPC::Run::start([ $ENV{EVQ_WORKER_PROGRAM} // 'evq-worker', '--flow=FLOW', '--', 'true' ],
		'<', '/dev/null', '>', '/dev/null', '2>', "$PostgreSQL::Test::Utils::log_path/worker.log");
};
sub sessions { return [ split /\n/, query(q{SELECT pid FROM pg_stat_activity WHERE application_name IN ('evq-gateway', 'evq-worker') ORDER BY 1}) ] }
sub wait_for_work { my ($name) = @_; return wait_for_result($node, "SELECT state FROM evq.events WHERE flow_id = '$name'", 'succeeded') }

is($gateway->post('/api/events', { event_type => 'job', flow_id => 'first' })->{status}, 201, 'a publish');
wait_for_work('first');
my $before = sessions();

# One that has no more to do than these, and does nothing against it.
my $other = session($node, 'postgres');
my $pid = $other->query_safe('SELECT pg_backend_pid()');
ok(wait_until(60, sub { query("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") == 0 }), 'a session that is idle ends');
my %after = map { $_ => 1 } @{ sessions() };
is_deeply([ grep { !$after{$_} } @$before ], [], '... but those of gateway and worker are all there still');
# It comes back at once when it is lost, so that a look in between may not see it.
unlike(slurp_file("$PostgreSQL::Test::Utils::log_path/worker.log"), qr/no connection/, '... the worker had none before');
is($gateway->get('/health')->{json}{status}, 'ok', '... the gateway is well');
is($gateway->post('/api/events', { event_type => 'job', flow_id => 'second' })->{status}, 201, '... and publishes');
wait_for_work('second');

$worker->signal('TERM');
$worker->finish;
$gateway->stop;
done_testing();
