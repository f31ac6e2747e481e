# doc/functions.md is what the comments of the database say; and the macros of `make psql` work.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main');
make_database($node, 'db');
local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'db');

my $made = "$PostgreSQL::Test::Utils::log_path/functions.md";
is(system("scripts/function-reference >$made"), 0, 'the reference can be made');
my ($difference) = run_command([ 'diff', '-u', 'doc/functions.md', $made ]);
is($difference, '', 'doc/functions.md is what the comments say') or diag('make docs writes it anew');

my $event = publish($node, 'db');
wait_for_state($node, 'db', $event, 'dispatched');
$node->safe_psql('db', q{
	SELECT evq_configure('held', 'SIDE'), evq_suspend_event_type('held');
	SELECT evq_publish('held', NULL, 'waits', run_at => now() - interval '1 second')});
local $ENV{PSQLRC} = 'scripts/psqlrc';
for my $macro ([ queue => qr/FLOW +\| job +\| dispatched +\| +1/ ], [ blocked => qr/event type held is suspended/ ], [ event => qr/"flow_id": "waits"/ ], [ trace => qr/\| published +\|/ ])
{
	my ($name, $shows) = @$macro;
	my ($output, $error);

	run_log([ 'psql' ], '<', \":$name\n", '>', \$output, '2>', \$error);
	like($output, $shows, ":$name");
	is($error, '', '... without a complaint');
}

# Where the private copy is the first of PATH, as `make server` says, evq is still built for the server that was copied.
chomp(my ($copy, $found) = map { scalar qx($_) } "sh -c 'command -v pg_config'", 'scripts/pg-config');
like($copy, qr{/pg/.*/pg_config$}, 'a private copy is the first of PATH');
unlike($found, qr{/pg/.*/pg_config$}, '... and not what the next build is for') or diag($found);

done_testing();
