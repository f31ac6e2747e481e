# The tests of evq-gateway, with a build that checks every access to memory and leaves none behind.
use strict;
use warnings;

use FindBin;

use PostgreSQL::Test::Utils;
use Test::More;

$ENV{EVQ_GATEWAY_PROGRAM} = 'evq-gateway-sanitized';
$ENV{EVQ_WORKER_PROGRAM} = 'evq-worker-sanitized';
# Clients of npm and a browser would need builds of their own; the fuzzers are built like this anyway.
for my $file (grep { !/_(fuzz|mcp|ui)\.pl$/ } glob("$FindBin::Bin/../{gateway_*,program_failover}.pl"))
{
	my ($name) = $file =~ m{([^/]+)$};
	is(system("$^X $file >$PostgreSQL::Test::Utils::log_path/$name.tap 2>&1"), 0, $name) or diag(slurp_file("$PostgreSQL::Test::Utils::log_path/$name.tap"));
}
done_testing();
