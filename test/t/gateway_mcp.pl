# Clients of the Model Context Protocol, of both its eras, by HTTP and by stdio: see test/mcp/clients.mjs.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Run ();
use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server);

my $clients = $ENV{MCP_CLIENTS};
plan skip_all => 'MCP_CLIENTS names no folder with the clients; test/run makes one' unless $clients;

my $node = make_server('main', conf => "evq.enabled = off\n");
$node->safe_psql('postgres', q{SELECT evq_configure('RIDE', 'FLOW_MCP')});

my ($gateway, $reader) = (Evq::Gateway->new_ready($node, '--mcp-write'), Evq::Gateway->new_ready($node));
my @urls = map { "http://127.0.0.1:$_->{port}/mcp" } $gateway, $reader;
# The inspector gives its child no PGUSER.
my @stdio = ('evq-gateway', '--mcp-stdio', '--mcp-write', $node->connstr('postgres') . ' user=postgres');
my $said = '';
my $client = IPC::Run::start([ "$clients/node_modules/.bin/node", "$FindBin::Bin/../mcp/clients.mjs", @urls, @stdio ],
	'<', '/dev/null', '>', \$said, '2>&1', IPC::Run::timeout(300));
my $ended_well = eval { $client->finish };
ok($ended_well && $said =~ /^done$/m, 'the clients come to their end') or diag($said);
while ($said =~ /^(not )?ok (.*)\n(?:# (.*)\n)?/mg)
{
	my ($failed, $name, $difference) = ($1, $2, $3);
	ok(!$failed, $name) or diag($difference);
}
$_->stop for $gateway, $reader;

# ---------- by stdio, what well-behaved clients do not do ----------

my ($in, $out, $err) = ('', '', '');
my $stdio = IPC::Run::start([ 'evq-gateway', '--mcp-stdio', $node->connstr('postgres') ], \$in, \$out, \$err, IPC::Run::timeout(180));

# Sends a line and waits for the answer to it.
sub answer
{
	my ($line) = @_;

	$out = '';
	$in = "$line\n";
	$stdio->pump until $out =~ /\n\z/;
	return $out =~ s/\n\z//r;
}

my $ping = '{"jsonrpc": "2.0", "id": 7, "method": "ping"}';
my $pong = answer($ping);
like($pong, qr/"id" ?: ?7\b/, 'stdio: a ping is answered');
like(answer('{"jsonrpc":'), qr/-32700/, 'stdio: a line that is no JSON');
like(answer("a\0b"), qr/-32603.*NUL/, 'stdio: a NUL byte');
like(answer('{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": "publish_event", "arguments": {}}}'),
	qr/-32602/, 'stdio: read-only without --mcp-write');
like(answer('"' . 'x' x 5_000_000 . '"'), qr/-32603.*too large/, 'stdio: a message that is too large');
$node->restart;
like(answer($ping), qr/-32603|"id" ?: ?7\b/, 'stdio: a message after a restart of the database is answered, if by an error');
is(answer($ping), $pong, 'stdio: the next one as before');
# The restarted server has inherited its input, which so has no end.
$stdio->kill_kill;
my $ended = IPC::Run::run([ 'evq-gateway', '--mcp-stdio', $node->connstr('postgres') ], '<', \"$ping\n", '>', \$out, '2>', \$err, IPC::Run::timeout(60));
is_deeply([ $ended, $out ], [ 1, "$pong\n" ], 'stdio: it ends with its input, and writes nothing but answers');
$node->stop;
done_testing();
