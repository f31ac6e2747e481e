# T2: the server's clock goes back one day, and forward again, while the dispatcher runs: it does not sleep for a day.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my ($library) = glob '/usr/lib/*/faketime/libfaketime.so.1';
plan skip_all => 'no libfaketime here' unless $library;

my $clock = "$PostgreSQL::Test::Utils::tmp_check/clock";

# The server's clock, beside the true one.
sub set_clock
{
	my ($offset) = @_;

	open my $file, '>', "$clock.new" or die "$clock.new: $!";
	print $file "$offset\n";
	close $file;
	rename "$clock.new", $clock or die "$clock: $!";
	return;
}

set_clock('+0');
my $node;
{
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{FAKETIME_TIMESTAMP_FILE} = $clock;
	local $ENV{FAKETIME_NO_CACHE} = 1;
	local $ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
	$node = make_server('main', "evq.poll_interval = '1h'");
}
make_database($node, 'db');

ok(is_dispatching($node, 'db'), 'by the true clock: an event is dispatched');
$node->safe_psql('db', q{
	SELECT evq_configure('later', 'LATER', lifespan => '3 days', attempt_timeout => '1 s', attempt_delays => '{0}');
	SELECT evq_publish('later', NULL, 'soon', run_at => clock_timestamp() + '20 s')});
my $held = publish($node, 'db');
ok(wait_for_state($node, 'db', $held, 'dispatched'), 'one more');
my $permit = $node->safe_psql('db', "SELECT permit FROM evq_acquire('$held')");

set_clock('-1d');
cmp_ok(time - $node->safe_psql('db', 'SELECT extract(epoch FROM clock_timestamp())::bigint'), '>', 86000, 'the clock is a day back');
my $begin = time;
ok(is_dispatching($node, 'db'), "the next event is dispatched at once ($_)") for 1 .. 3;
cmp_ok(time - $begin, '<', 30, '... no poll was needed');
is($node->safe_psql('db', "SELECT evq_succeed('$held', $permit)"), '{}', 'a permit of before is good');
is($node->safe_psql('db', 'SELECT dispatched FROM evq_tick()') >= 0, 1, 'evq_tick() too goes on');
my $short = $node->safe_psql('db', q{SELECT evq_publish('later', NULL, 'short')});
ok(wait_for_state($node, 'db', $short, 'dispatched'), 'another flow works');
$node->safe_psql('db', "SELECT evq_acquire('$short')");
ok(poll_until('timeout', sub { $node->safe_psql('db', "SELECT count(*) FROM evq.errors WHERE event_id = '$short'") eq '1' }),
	'a permit granted after the jump runs out in its time');

set_clock('+0');
ok(is_dispatching($node, 'db'), 'forward again: an event is dispatched');
ok(poll_until('due', sub { $node->safe_psql('db', q{SELECT state FROM evq.events WHERE flow_id = 'soon'}) eq 'dispatched' }),
	'what was published for a moment after the jump comes when the clock gets there');
is($node->safe_psql('db', q{SELECT count(*) FROM (SELECT event_id FROM evq.events GROUP BY 1 HAVING count(*) > 1) AS twice}), 0, 'no event is there twice');
is($node->safe_psql('db', 'SELECT errors FROM evq_status()'), 0, 'the dispatcher had no errors');

$node->stop;
done_testing();
