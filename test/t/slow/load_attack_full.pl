# Every verb at random, at any isolation level, in one phase and in two, with savepoints, under DDL, changed configuration,
# pauses, kills, promotions and a clock that is set: what the sessions were told, what the WAL says of each event and what is
# in the tables in the end must be one story, without a loss, a double or an inversion.
#
# EVQ_SEED=N repeats the choices of a run, EVQ_SECONDS=N has it last so long.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;

use Evq::Attack;

my $attack = Evq::Attack->new(seed => $ENV{EVQ_SEED} // time, clients => 2, sessions => 6);
$attack->rage($ENV{EVQ_SECONDS} // 600, promotions => $ENV{EVQ_PROMOTIONS} // 3);
$attack->finish;
$attack->check;
done_testing();
