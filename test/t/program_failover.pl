# evq-gateway and evq-worker where what they need hangs: a host of several, a name server, whoever reads their logs.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl qw(F_SETFL F_SETFD O_NONBLOCK);
use IO::Socket::INET;
use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server make_standby start_again wait_for_dispatcher wait_for_result wait_until);

my $program = $ENV{EVQ_WORKER_PROGRAM} // 'evq-worker';
my $folder = PostgreSQL::Test::Utils::tempdir();
my $node = make_server('main', allows_streaming => 1);
$node->safe_psql('postgres', q{SELECT evq_configure_flow('FLOW_W', delivery => 'pull'); SELECT evq_configure('STEP', 'FLOW_W', 1, '1 hour')});
my $standby = make_standby($node, 'standby');
$standby->start;

my ($socket_folder, $port) = ($node->host, $node->port);

# It listens and never says a word, as a server that has lost its power behind a proxy that has not.
my $silent = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1') or die "listen: $!";
my $silent_port = $silent->sockport;

my @workers;

sub start_worker
{
	my ($conninfo, @arguments) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/worker_" . (1 + @workers) . '.log';
	my $worker = { log => $log, run => IPC::Run::start([ $program, '--flow=FLOW_W', '--poll=0.2', "--dbname=$conninfo", @arguments ],
		'<', '/dev/null', '>', '/dev/null', '2>', $log) };

	push @workers, $worker;
	return $worker;
}

sub finish_worker
{
	my ($worker, $what) = @_;

	$worker->{run}->signal('TERM');
	wait_until(60, sub { !$worker->{run}->pumpable }) or die "$what: it does not end";
	$worker->{run}->finish;
	is($worker->{run}->full_result(0), 0, "$what: it ends when told to");
	return;
}

sub succeeds
{
	my ($what) = @_;
	my $event = $node->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'failover')});

	return ok(wait_until(60, sub { $node->safe_psql('postgres', "SELECT state FROM evq.events WHERE event_id = '$event'") eq 'succeeded' }), $what);
}

# ---------- hosts ----------

my $hosts = "host=127.0.0.1,$socket_folder port=$silent_port,$port dbname=postgres connect_timeout=2";
my $gateway = Evq::Gateway->new_ready($node, '--database', $hosts);
pass('the gateway gets past a host that hangs');
my $worker = start_worker($hosts, '--', 'true');
succeeds('so does the worker');
$node->stop('fast');
Evq::Gateway::wait_until('503', sub { $gateway->get('/health')->{status} == 503 });
start_again($node);
$gateway->wait_until_up;
pass('and again when its server went and came back');
succeeds('... the worker too');
finish_worker($worker, 'the worker');
is($gateway->stop, 0, 'the gateway ends');

my $answer = '';
IPC::Run::run([ 'evq-gateway', '--mcp-stdio', '--database', $hosts ], '<', \qq({"jsonrpc":"2.0","id":7,"method":"ping"}\n), '>', \$answer, '2>', \my $said);
like($answer, qr/"id" ?: ?7.*"result"/, 'MCP over stdio gets past it');

# A service, and lists that do not match: as libpq has it.
append_to_file("$folder/services", "[evq]\nhost=127.0.0.1,$socket_folder\nport=$silent_port,$port\ndbname=postgres\nconnect_timeout=2\n");
{
	local $ENV{PGSERVICEFILE} = "$folder/services";
	$gateway = Evq::Gateway->new_ready($node, '--database', 'service=evq');
	pass('hosts of a service');
	is($gateway->stop, 0, '... it ends');
}
$gateway = Evq::Gateway->new($node, '--database', "host=a,b port=1,2,3 dbname=postgres");
$gateway->wait_for_log(qr/could not match 3 port numbers to 2 hosts/);
is($gateway->stop, 0, 'ports that are no match are refused by libpq');

# A server that only reads will do for nothing that a worker does.
$worker = start_worker("host=@{[ $standby->host ]},$socket_folder port=@{[ $standby->port ]},$port dbname=postgres", '--', 'true');
succeeds('a worker gets past a standby');
finish_worker($worker, 'the worker');
$standby->stop;

# ---------- names ----------

my $fault = "$folder/names.so";
system_or_bail('cc', '-shared', '-fPIC', '-o', $fault, "$FindBin::Bin/../fault/names.c", '-ldl');
{
	local $ENV{LD_PRELOAD} = $fault;
	local $ENV{SLOW_NAMES} = "$folder/answers";
	# A build that checks memory would like to be the first that is loaded.
	local $ENV{ASAN_OPTIONS} = 'verify_asan_link_order=0';

	$gateway = Evq::Gateway->new($node, '--database', "host=nobody.slow port=$port dbname=postgres");
	is($gateway->get('/')->{status}, 200, 'while a name server does not answer, pages are served');
	is($gateway->get('/health')->{status}, 503, '... and health says that there is no database');
	is($gateway->stop, 0, '... and the gateway ends when told to');

	$worker = start_worker("host=nobody.slow port=$port dbname=postgres", '--', 'true');
	wait_until(60, sub { -s $worker->{log} }) or die 'no log';
	finish_worker($worker, 'a worker that waits for a name');

	$hosts = "host=nobody.slow,$socket_folder port=$port dbname=postgres connect_timeout=2";
	$gateway = Evq::Gateway->new_ready($node, '--database', $hosts);
	pass('the gateway goes on to the next host');
	$worker = start_worker($hosts, '--', 'true');
	succeeds('so does the worker');
	finish_worker($worker, 'the worker');
	is($gateway->stop, 0, 'the gateway ends');

	# A name is looked up, and its address is used.
	append_to_file("$folder/answers", '');
	$gateway = Evq::Gateway->new($node, '--database', "host=somebody.slow port=$silent_port dbname=postgres");
	my $peer = $silent->accept;
	ok($peer, 'a name that is answered leads to its host');
	close $peer;
	is($gateway->stop, 0, 'the gateway ends');
}
$gateway = Evq::Gateway->new($node, '--database', 'host=none-such.invalid dbname=postgres');
$gateway->wait_for_log(qr/could not translate host name "none-such.invalid" to address/);
is($gateway->stop, 0, 'a name that there is not is told');

# ---------- logs ----------

# A pipe that nobody reads, of the smallest size.
sub make_pipe
{
	pipe my $reader, my $writer or die "pipe: $!";
	fcntl $writer, 1031, 4096 or die "F_SETPIPE_SZ: $!";
	fcntl $_, F_SETFD, 0 or die for $writer;
	return ($reader, $writer);
}

my ($reader, $writer) = make_pipe();
$gateway = bless { port => PostgreSQL::Test::Cluster::get_free_port(), log => '/dev/null' }, 'Evq::Gateway';
$gateway->{host} = "localhost:$gateway->{port}";
$gateway->{pid} = fork // die "fork: $!";
if ($gateway->{pid} == 0)
{
	open STDERR, '>&', $writer or die;
	exec $ENV{EVQ_GATEWAY_PROGRAM} // 'evq-gateway', '--port', $gateway->{port}, '--database', $node->connstr('postgres') or die;
}
close $writer;
wait_until(60, sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $gateway->{port}) }) or die 'it does not listen';
my $many = 4000;
my $client = $gateway->socket;
my $answers = '';
for (1 .. $many / 50)
{
	syswrite $client, $gateway->request_bytes('GET', '/none') x 50;
	$answers = Evq::Gateway::read_until($client, sub { (() = $_[0] =~ m{HTTP/1\.1 404}g) == 50 });
}
is($gateway->get('/')->{status}, 200, "after $many lines of a log that nobody reads requests are answered");
# Whoever reads it in the end is told what is missing.
my $text = '';
my $wanted = wait_until(
	60,
	sub {
		$gateway->get('/none');
		sysread $reader, $text, 65536, length $text;
		return $text =~ /error lines of the log are lost count=\d+$/m;
	});
ok($wanted, '... and the log tells that some are lost');
is((grep { !/^\d{4}-\d\d-\d\dT[\d:.]+Z \w+ / } $text =~ /(.+)\n/g), 0, '... all others are whole');
close $reader;
is($gateway->stop, 0, '... and it ends');

($reader, $writer) = make_pipe();
my $pid = fork // die "fork: $!";
if ($pid == 0)
{
	open STDERR, '>&', $writer or die;
	exec $program, '--flow=FLOW_W', '--poll=0.2', '--show-stderr', '--dbname=' . $node->connstr('postgres'), '--', 'sh', '-c', 'seq 20000 >&2' or die;
}
close $writer;
succeeds('a worker whose log nobody reads goes on');
succeeds('... and on');
kill 'TERM', $pid;
wait_until(60, sub { waitpid($pid, POSIX::WNOHANG()) == $pid }) or die 'the worker does not end';
is($?, 0, '... and ends');

$node->stop;
done_testing();
