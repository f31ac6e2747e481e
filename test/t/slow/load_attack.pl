# Every verb at random, under DDL, changed configuration, pauses, kills, a promotion and a clock that is set: what the sessions
# were told, what the WAL says of each event and what is in the tables in the end must be one story. For half a minute; and the
# checker that says so must find each fault that is planted into a copy of what it has read.
#
# load_attack_full.pl does it for longer. EVQ_SEED=N repeats the choices of a run.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;

use Evq::Attack;

my $attack = Evq::Attack->new(seed => $ENV{EVQ_SEED} // time, clients => 2, sessions => 4);
$attack->rage(25, promotions => 1, every => [ 0.5, 2.5 ]);
$attack->finish;
$attack->check(plants => 1);
done_testing();
