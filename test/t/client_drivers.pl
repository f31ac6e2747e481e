# The plain call of drivers, with the types that each of them sends: psycopg2, psycopg 3 and node-postgres.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', 'evq.enabled = off');    # no dispatcher: what is waiting stays so
$node->safe_psql('postgres', q{CREATE EXTENSION evq; SELECT evq_configure('A', 'F', attempt_delays => '{0 s}'), evq_configure_flow('NONE'), evq_configure_flow('NEITHER')});
my $dsn = $node->connstr('postgres');

# What every driver is to have published, and reported, when it is done.
sub check_driver
{
	my ($driver) = @_;

	is($node->safe_psql('postgres', q{SELECT flow_id, priority, p.payload, p.headers, state, result FROM evq.events JOIN evq.payloads p USING (event_id)
		ORDER BY flow_id COLLATE "C"}), <<'ROWS' =~ s/\n\z//r, "$driver: events");
1099511627776|0|{}||succeeded|
42|5|{"n": 1}||succeeded|{"ok": true}
43|0|{"n": 6}||succeeded|
a|0|{"n": 2}||succeeded|
b|0|{}||succeeded|
json|0|{"n": 3}|{"h": 1}|succeeded|
null|0|{}||succeeded|
object|-3|{"n": 4}||awaiting_processing|
text|0|{"n": 5}||succeeded|
ROWS
	$node->safe_psql('postgres', 'TRUNCATE evq.event, evq.event_payload, evq.event_history, evq.idempotency');
}

sub python
{
	my ($driver) = @_;
	my ($stdout, $stderr);

	my $result = run_log([ 'python3', "$FindBin::Bin/../drivers/calls.py", $driver, $dsn ], '>', \$stdout, '2>', \$stderr);
	ok($result, "$driver: no call fails") or diag $stderr;
	check_driver($driver);
}

local $ENV{PATH} = "/usr/bin:$ENV{PATH}";    # Debian's Python, for whom the modules are
python($_) for 'psycopg2', 'psycopg';

# Its module is not in the project; test/run installs it.
my $folder = $ENV{NODE_DRIVERS} or die 'NODE_DRIVERS names no folder with node-postgres; test/run makes one';
local $ENV{NODE_PATH} = "$folder/node_modules";
my ($stdout, $stderr);
my $result = run_log([ 'node', "$FindBin::Bin/../drivers/calls.cjs", $node->host, $node->port ], '>', \$stdout, '2>', \$stderr);
ok($result, 'node-postgres: no call fails') or diag $stderr;
check_driver('node-postgres');

done_testing();
