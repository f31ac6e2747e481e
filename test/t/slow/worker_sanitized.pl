# The test of evq-worker, with a build that checks every access to memory and leaves none behind.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

# Loaded later, they would not be set up.
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

$ENV{EVQ_WORKER_PROGRAM} = 'evq-worker-sanitized';
do "$FindBin::Bin/../worker_handlers.pl" or die $@ || $!;
