# The tests of evq-gateway, with a build that checks every access to memory and leaves none behind.
use strict;
use warnings;

use FindBin;

use PostgreSQL::Test::Utils;
use Test::More;

$ENV{EVQ_GATEWAY_PROGRAM} = 'evq-gateway-sanitized';
$ENV{EVQ_WORKER_PROGRAM} = 'evq-worker-sanitized';
for my $file (glob("$FindBin::Bin/../05[0-49]_gateway*.pl"), "$FindBin::Bin/../041_failover.pl")
{
	my ($name) = $file =~ m{([^/]+)$};
	is(system("$^X $file >$PostgreSQL::Test::Utils::log_path/$name.tap 2>&1"), 0, $name) or diag(slurp_file("$PostgreSQL::Test::Utils::log_path/$name.tap"));
}
done_testing();
