# The test of limits for half an hour, with 64 workers, cancels and a promotion; see load_limits.pl. EVQ_LIMITED_EVENTS=N has N
# events in each group, of which the slowest is published at four a second.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;

use Evq::Limits qw(run_limits);

run_limits(events => $ENV{EVQ_LIMITED_EVENTS} // 7200, workers => [ 14, 4 ], batches => [ 4, 2 ], every => [ 2, 6 ], cancels => 1, promotes => 1);
done_testing();
