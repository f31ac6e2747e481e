# kill -9 of backends, dispatcher, launcher and postmaster under load: what
# went in comes out, once. EVQ_RIDES is the number of rides, six events each;
# slow/load_crash_full.pl runs the same with many.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Rides qw(run_rides);

my $rides = $ENV{EVQ_RIDES} // 700;

run_rides(rides => $rides, rate => 16, every => [ 1, 3 ], drain => 120 + $rides / 10);
done_testing();
