# evq-gateway: what goes on for long ends when the right to it ends, and takes nobody else along; what interrupts the telling ends in a reset.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PostgreSQL::Test::Utils;
use POSIX qw(strftime);
use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server wait_for_dispatcher);

my $node = make_server('main');
my $file = PostgreSQL::Test::Utils::tempdir() . '/tokens';
$node->safe_psql('postgres', q{
	SELECT evq_configure('STEP', 'FLOW_A'), evq_configure_flow('FLOW_A', delivery => 'pull');
	CREATE ROLE watcher IN ROLE evq_monitor; CREATE ROLE tenant; SELECT evq_grant_worker('tenant', 'FLOW_A')});
wait_for_dispatcher($node);

my %role = (operator => 'evq_operator', monitor => 'evq_monitor', watcher => 'watcher', tenant => 'tenant');
sub token { return "token-of-the-$_[0]-1234" }
sub as { return (Authorization => 'Bearer ' . token($_[0])) }

# The file of tokens: these, each with what follows it in its line.
sub write_tokens
{
	my (%until) = @_;

	open my $out, '>', $file or die;
	print $out join(' ', $role{$_}, token($_), $until{$_} // ''), "\n" for sort keys %until;
	close $out;
	chmod 0600, $file;
	return;
}

my ($gateway, $reads) = (undef, 0);
sub read_tokens
{
	write_tokens(@_);
	$gateway->signal('HUP');
	$reads++;
	return Evq::Gateway::wait_until('the tokens to be read', sub { (() = $gateway->log =~ /tokens read/g) > $reads });
}

my %all = map { $_ => '' } keys %role;
write_tokens(%all);
$gateway = Evq::Gateway->new_ready($node, '--tokens', $file);

sub open_stream
{
	my ($name) = @_;
	my $stream = { socket => $gateway->socket, bytes => '' };

	syswrite $stream->{socket}, $gateway->request_bytes('GET', '/api/stream', undef, as($name));
	$stream->{bytes} = Evq::Gateway::read_until($stream->{socket}, sub { $_[0] =~ /\r\n\r\n.*\n\n/s });
	return $stream;
}

sub open_websocket
{
	my ($name) = @_;
	my $web = { socket => $gateway->socket };

	syswrite $web->{socket}, $gateway->request_bytes('GET', '/ws', undef, Upgrade => 'websocket', Connection => 'Upgrade',
		'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version' => 13, 'Sec-WebSocket-Protocol' => 'evq, bearer.' . token($name));
	$web->{bytes} = Evq::Gateway::read_until($web->{socket}, sub { $_[0] =~ /\r\n\r\n/ });
	return $web;
}

# Waits until it has heard something, or has been hung up on.
sub hear { my ($reader, $pattern) = @_; $reader->{bytes} = Evq::Gateway::read_until($reader->{socket}, sub { $_[0] =~ $pattern }, $reader->{bytes}); return $reader->{bytes} =~ $pattern }
sub resets { return scalar(() = $_[0]{bytes} =~ /"type":"reset"/g) }

my $cases = 0;
sub publish { my $case = 'case-' . ++$cases; $node->safe_psql('postgres', "SELECT evq_publish('STEP', NULL, '$case')"); return $case }

# ---------- who may ----------

is($gateway->get('/api/stream', as('tenant'))->{status}, 403, 'a restricted role may not read the stream');
my $operator = open_stream('operator');
hear($operator, qr/"type":"reset"/);
my ($monitor, $watcher, $monitor_web) = (open_stream('monitor'), open_websocket('watcher'), open_websocket('monitor'));
Evq::Gateway::wait_until('two WebSockets', sub { $gateway->get('/metrics', as('operator'))->{text} =~ /clients\{kind="websocket"\} 2\n/ });
my $case = publish();
ok(hear($_, qr/"flow_id":"$case"/), 'all hear of an event') for $operator, $monitor, $watcher, $monitor_web;

# ---------- a token that is taken out of the file ----------

my $waiting = $gateway->socket;
$node->safe_psql('postgres', q{SELECT count(*) FROM evq_acquire_next('FLOW_A', 100)});
syswrite $waiting, $gateway->request_bytes('POST', '/api/flows/FLOW_A/acquire', { wait => '50 s' }, as('tenant'));
$gateway->wait_for_log(qr/role=tenant/);
Evq::Gateway::wait_until('LISTEN', sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN "evq_flow_a"'}) > 0 });
read_tokens(operator => '', watcher => '');
ok(hear($monitor, qr/\r\n0\r\n\r\n\z/), 'its stream ends');
ok(hear($monitor_web, qr/\x88\x02\x03\xf0/), 'its WebSocket is closed with 1008');
is(Evq::Gateway::read_answer($waiting)->{status}, 401, 'who waits for an event is told');
is($gateway->get('/api/counts', as('monitor'))->{status}, 401, 'as the next request is');
$case = publish();
ok(hear($_, qr/"flow_id":"$case"/), 'the others go on') for $operator, $watcher;
unlike($_->{bytes}, qr/"flow_id":"$case"/, 'what happens then is not told to it') for $monitor, $monitor_web;

# ---------- a token that gets another role, or expires ----------

read_tokens(%all);
$monitor = open_stream('monitor');
{
	local $role{monitor} = 'evq_publisher';
	read_tokens(%all);
}
ok(hear($monitor, qr/\r\n0\r\n\r\n\z/), 'a stream ends when its token stands for another role');
read_tokens(%all, monitor => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time + 4)));
is($gateway->get('/api/counts', as('monitor'))->{status}, 200, 'a token that is to expire');
$monitor = open_stream('monitor');
ok(hear($monitor, qr/\r\n0\r\n\r\n\z/), 'its stream ends by itself');
is($gateway->get('/api/counts', as('monitor'))->{status}, 401, 'when it has expired');
append_to_file($file, "evq_monitor another-token-1234567 tomorrow\n");
$gateway->signal('HUP');
$gateway->wait_for_log(qr/tokens refused .*error="a token expires at a date or a time such as/);
pass('a time that is none is refused');

# ---------- a role that loses its right in the database ----------

# The watcher came last, so it is the first of the readers.
$watcher = open_websocket('watcher');
$node->safe_psql('postgres', 'REVOKE evq_monitor FROM watcher');
ok(hear($watcher, qr/\x88\x02\x03\xf0/), 'its WebSocket is closed');
$case = publish();
ok(hear($operator, qr/"flow_id":"$case"/), 'the other goes on');
unlike($watcher->{bytes}, qr/"flow_id":"$case"/, 'without it');
$node->safe_psql('postgres', 'GRANT evq_monitor TO watcher');
$watcher = open_stream('watcher');
$node->safe_psql('postgres', 'DROP ROLE watcher');
ok(hear($watcher, qr/\r\n0\r\n\r\n\z/), 'nor does one whose role is dropped');
unlike($gateway->log, qr/watching failed/, 'watching has not failed for that');

# ---------- what interrupts the telling ----------

my $before = resets($operator);
my $dispatcher = $node->safe_psql('postgres', 'SELECT dispatcher_pid FROM evq_status()');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($dispatcher)");
Evq::Gateway::wait_until('another dispatcher', sub { $node->safe_psql('postgres', 'SELECT dispatcher_pid FROM evq_status()') !~ /^($dispatcher)?$/ });
$case = publish();
ok(hear($operator, qr/"flow_id":"$case"/), 'another dispatcher tells');
cmp_ok(resets($operator), '>', $before, '... behind a reset');
like($operator->{bytes}, qr/"type":"reset"(?!.*"type":"reset").*"flow_id":"$case"/s, '... and not before it');

$before = resets($operator);
$node->safe_psql('postgres', 'ALTER FUNCTION evq_watch(interval) RENAME TO evq_watch_away');
$gateway->wait_for_log(qr/watching failed/);
$node->safe_psql('postgres', 'ALTER FUNCTION evq_watch_away(interval) RENAME TO evq_watch');
$operator->{bytes} = Evq::Gateway::read_until($operator->{socket}, sub { (() = $_[0] =~ /"type":"reset"/g) > $before }, $operator->{bytes});
cmp_ok(resets($operator), '>', $before, 'when watching failed and works again, there is a reset');

# ---------- who did it ----------

my $id = $node->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'unwanted')});
is($gateway->post("/api/events/$id/cancel", { reason => 'not wanted' }, as('operator'), 'User-Agent' => "Console/1.0 (b\xc3\xa9ta) '\t")->{status}, 200, 'cancel');
$gateway->get('/api/flows', as('operator')) for 1 .. 20;
is($gateway->call('PUT', '/api/event-types/STEP', { priority => 3 }, as('operator'))->{status}, 200, 'configure, without a User-Agent');
is($node->safe_psql('postgres', q{SELECT verb, role, application_name, detail ->> 'reason' FROM evq.audit WHERE verb = 'cancel' OR (verb = 'configure' AND role = 'evq_operator') ORDER BY entry_id}),
	"cancel|evq_operator|evq-gateway Console/1.0 (bta) '|not wanted\nconfigure|evq_operator|evq-gateway|", 'the audit knows the role and the program, and of no other request');

is($gateway->stop, 0, 'it stops');
done_testing();
