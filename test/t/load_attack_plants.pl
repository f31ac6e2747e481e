# The checker of the attack tests (slow/load_attack.pl) finds each fault that is planted into a copy of a short story that is
# always the same: so chance cannot take a plant its place.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Attack;

my $attack = Evq::Attack->new(seed => 1, clients => 0);
$attack->finish;
$attack->check(plants => 1);
done_testing();
