# Publishers and workers behind a pooler that gives each transaction another session.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Load;
use Evq::Pooler;
use Evq::Server qw(make_server wait_until);

plan skip_all => 'pgbouncer is not installed' unless Evq::Pooler::is_installed();

my $node = make_server('main', conf => "evq.poll_interval = 1h\n");
$node->safe_psql(
	'postgres', q{
	SELECT evq_configure_flow('FLOW_B', dispatch_timeout => '1 s');
	SELECT evq_configure('STEP', 'FLOW_B', 3, '1 hour', '{0 s, 10 ms}', attempt_timeout => '1 minute');
	SELECT evq_configure('NEXT_STEP', 'FLOW_B', 3, '1 hour', '{0 s, 10 ms}', attempt_timeout => '1 minute');
});
my $load = Evq::Load->new($node,
	{ flow => 'FLOW_B', channel => 'evq_flow_b', next => { STEP => ['NEXT_STEP'] }, fail => { STEP => 0.1 } });

my $pooler = Evq::Pooler->new($node, 2, 'load_worker', 'load_publisher');

$load->through($pooler->connstr);
$load->start_workers(2, sessions => 8);
$load->start_workers(1, sessions => 4, batch => 5);
$load->start_publisher(type => 'STEP', count => 500);
$load->drain(120);
is($node->safe_psql('postgres', q{SELECT count(*) <= 2 FROM pg_stat_activity WHERE usename = 'load_worker'}), 't', '20 workers shared two sessions');
$load->stop;
$load->check;

# All of a worker's verbs, each of which may run in another session.
my $event = $node->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'by hand')}, connstr => $pooler->connstr('postgres'));
ok(wait_until(60, sub { $node->safe_psql('postgres', "SELECT state FROM evq.events WHERE event_id = '$event'") eq 'dispatched' }), 'dispatched');

sub pooled { return $node->safe_psql('postgres', $_[0], connstr => $pooler->connstr('postgres')) }

my $permit = pooled("SELECT permit FROM evq_acquire('$event')");
is(pooled("SELECT held FROM evq_heartbeat(ARRAY['$event']::uuid[], ARRAY[$permit]::bigint[])"), 't', 'evq_heartbeat()');
pooled("SELECT evq_suspend('$event', $permit)");
pooled("SELECT evq_activate('$event')");
ok(wait_until(60, sub { $permit = pooled("SELECT permit FROM evq_acquire_next('FLOW_B')"); $permit ne '' }), 'suspended, activated, acquired again');
pooled("SELECT evq_snooze('$event', $permit, now() + interval '0.1 s')");
ok(wait_until(60, sub { $permit = pooled("SELECT permit FROM evq_acquire_next('FLOW_B')"); $permit ne '' }), 'snoozed, acquired again');
is(pooled("SELECT evq_fail('$event', 'no luck', $permit)"), 'awaiting_processing', 'failed');
pooled("SELECT evq_cancel('$event')");
is(pooled("SELECT state FROM evq.events WHERE event_id = '$event'"), 'canceled', 'canceled');

is($node->safe_psql('postgres', 'SELECT errors FROM evq_status()'), 0, 'the dispatcher had no errors');
ok($pooler->stop, 'pgbouncer stops');
$node->stop;
done_testing();
