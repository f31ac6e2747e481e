# A base backup and the archived WAL bring back a moment: what was committed by then is there, what came later is not, and
# permits of the time that never was are refused.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Server qw(make_server);
use Evq::Test qw(is_dispatching poll_until publish state_of wait_for_dispatcher wait_for_state);
use PostgreSQL::Test::Cluster;
use Test::More;

my $main = make_server('main', has_archiving => 1, allows_streaming => 1);
my $database = 'postgres';
$main->safe_psql($database, q{SELECT evq_configure('job', 'FLOW', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}');
	SELECT evq_configure_flow('BULK', delivery => 'pull'), evq_configure('parcel', 'BULK', lifespan => '1 day', attempt_timeout => '1 hour')});
poll_until('partitions', sub { $main->safe_psql($database, 'SELECT count(*) FROM evq.history_partitions()') > 1 });
$main->backup('base');

my %event = map { $_ => publish($main, $database, "'\"$_\"'") } qw(done held waiting);
wait_for_state($main, $database, $event{$_}, 'dispatched') for sort keys %event;
$main->safe_psql($database, "SELECT evq_succeed(event_id, permit) FROM evq_acquire('$event{done}')");
my $permit = $main->safe_psql($database, "SELECT permit FROM evq_acquire('$event{held}')");
# Events a to h in a batch: by the moment a and b are done, c and d held; later those are done, too, and the others held.
$main->safe_psql($database, q{SET evq.store_batches_from = 1; SELECT count(*) FROM evq_publish_many('parcel', NULL, '{a,b,c,d,e,f,g,h}', array_fill(jsonb '{}', '{8}'))});
sub acquire_batch
{
	my ($node, $most, $token) = @_;
	return ok(poll_until('batch', sub { ($token) = $node->safe_psql($database, "SELECT array_to_string(flow_ids, ' ') || '|' || token FROM evq_acquire_batch('BULK', $most)"); $token }), 'a batch is offered')
	  && split /\|/, $token;
}
my $stored = q{SELECT string_agg(flow_id || ' ' || state, ', ' ORDER BY event_id) FROM evq.events WHERE event_type = 'parcel'};
my (undef, $done_token) = acquire_batch($main, 2);
$main->safe_psql($database, "SELECT evq_succeed_batch('$done_token')");
my (undef, $held_token) = acquire_batch($main, 2);
$main->safe_psql($database, q{SELECT pg_create_restore_point('the moment')});
my (undef, $late_token) = acquire_batch($main, 4);
$main->safe_psql($database, "SELECT evq_succeed_batch('$held_token'); SELECT count(*) FROM evq_fail_batch('$late_token', 'no')");
$main->safe_psql($database, q{SET evq.store_batches_from = 1; SELECT count(*) FROM evq_publish_many('parcel', NULL, '{i,j}', array_fill(jsonb '{}', '{2}'))});

my $late = publish($main, $database, q{'"late"'});
wait_for_state($main, $database, $late, 'dispatched');
my $late_permit = $main->safe_psql($database, "SELECT permit FROM evq_acquire('$event{waiting}')");
$main->safe_psql($database, "SELECT evq_succeed('$event{waiting}', $late_permit)");
$main->safe_psql($database, 'SELECT pg_switch_wal()');
$main->stop;

my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($main, 'base', has_restoring => 1, standby => 0);
$restored->append_conf('postgresql.conf', "recovery_target_name = 'the moment'\nrecovery_target_action = 'promote'\n");
$restored->start;
poll_until('end of the recovery', sub { $restored->safe_psql($database, 'SELECT pg_is_in_recovery()') eq 'f' });
ok(wait_for_dispatcher($restored, $database), 'the dispatcher starts');

is($restored->safe_psql($database, "SELECT count(*) FROM evq.events WHERE event_id = '$late'"), 0, 'what came after the moment is not there');
is(state_of($restored, $database, $event{done}), 'succeeded', 'what was done is done');
is(state_of($restored, $database, $event{held}), 'being_processed', 'what was held is held');
for (qw(held waiting))
{
	my (undef, undef, $stderr) = $restored->psql($database, "\\set VERBOSITY sqlstate\nSELECT evq_succeed('$event{$_}', " . ($_ eq 'held' ? $permit : $late_permit) . ')');
	like($stderr, qr/ERROR:  EQ004/, "a permit of before is refused: $_");
}
is(state_of($restored, $database, $event{held}), 'being_processed', 'and changes nothing');
is($restored->safe_psql($database, $stored), 'a succeeded, b succeeded, c being_processed, d being_processed, e awaiting_processing, f awaiting_processing, g awaiting_processing, h awaiting_processing',
	'the events of a batch are as they were');
like(($restored->psql($database, "\\set VERBOSITY sqlstate\nSELECT evq_succeed_batch('$_')"))[2], qr/ERROR:  EQ004/, '... tokens are refused') for $held_token, $late_token;
my ($names, $token) = acquire_batch($restored, 10);
is($names, 'e f g h', '... and what was not acquired by then is offered');
is($restored->safe_psql($database, "SELECT count(*) FROM evq_succeed_batch('$token')"), 0, '... with a token of its own');
ok(wait_for_state($restored, $database, $event{waiting}, 'dispatched'), 'what was not acquired by then is offered');
isnt($restored->safe_psql($database, "SELECT permit FROM evq_acquire('$event{waiting}')"), $late_permit, 'with another permit');
ok(is_dispatching($restored, $database), 'and new events are too');
is($restored->safe_psql($database, "SELECT count(*) FROM evq.event_history WHERE event_id = '$event{done}' AND tableoid::regclass::text !~ 'default'"), 1, 'in its partition');

$restored->stop;
done_testing();
