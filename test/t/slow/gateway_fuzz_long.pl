# Random bytes for what evq-gateway takes apart, for longer; see gateway_fuzz.pl.
use strict;
use warnings;

use FindBin;

# Loaded later, they would not be set up.
use PostgreSQL::Test::Utils;

$ENV{EVQ_FUZZ_SECONDS} //= 120;
do "$FindBin::Bin/../gateway_fuzz.pl" or die $@ || $!;
