# Limits of a flow and of its groups hold while backends, dispatcher, launcher and postmaster are killed: a checker beside evq
# looks how many events of a group were worked on at a time, and how many began in any time.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Limits qw(run_limits);

run_limits(events => $ENV{EVQ_LIMITED_EVENTS} // 60, workers => [ 4, 4 ], batches => [ 2, 2 ], every => [ 1, 2 ]);
done_testing();
