# The crash test with ten thousand rides; see load_crash.pl.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;

use Evq::Rides qw(run_rides);

my $rides = $ENV{EVQ_RIDES} // 10_000;

run_rides(rides => $rides, rate => 25, every => [ 2, 5 ], drain => 600);
done_testing();
