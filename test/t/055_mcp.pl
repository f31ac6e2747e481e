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
my @stdio = ('env', 'PGHOST=' . $node->host, 'PGPORT=' . $node->port, 'PGDATABASE=postgres', "$FindBin::Bin/../mcp/serve.py");
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
$node->stop;
done_testing();
