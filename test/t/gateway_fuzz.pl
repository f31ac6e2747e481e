# Random bytes for what evq-gateway takes apart, for some seconds; see test/fuzz/gateway.c.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{EVQ_FUZZ_SECONDS} // 5;
my $corpus = PostgreSQL::Test::Utils::tempdir();
my $n = 0;

# To begin with: something of each kind that is well formed.
append_to_file("$corpus/" . $n++, $_)
  for "0/api/events/01a21047-1f0b-7d36-8b4b-6e4ad2b9f1c0/acquire?a=b&c=%C3%A9+d", '0/ws', "1evq.example:80 https://shop.example", '1[::1]:8080 http://[::1]:8080',
  "2# tokens\nevq_operator 0123456789abcdef\n\nevq_worker\tfedcba9876543210\r\n", "3a \"quoted\" \\ line\n\xc3\xa9\xf0\x9f\x8e\x89\xff", '3EQ004';
command_ok([ 'evq-gateway-fuzz', "-max_total_time=$seconds", '-max_len=600', '-timeout=10', "-artifact_prefix=$corpus/", $corpus ], "$seconds seconds of random bytes");
done_testing();
