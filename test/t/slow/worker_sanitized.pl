# The tests of evq-worker, with a build that checks every access to memory and leaves none behind.
use strict;
use warnings;

use FindBin;

use PostgreSQL::Test::Utils;
use Test::More;

$ENV{EVQ_WORKER_PROGRAM} = 'evq-worker-sanitized';
for my $name (qw(worker_handlers worker_batches worker_reports))
{
	is(system("$^X $FindBin::Bin/../$name.pl >$PostgreSQL::Test::Utils::log_path/$name.tap 2>&1"), 0, $name) or diag(slurp_file("$PostgreSQL::Test::Utils::log_path/$name.tap"));
}
done_testing();
