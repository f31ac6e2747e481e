# Somebody holds an old snapshot for the whole run, so that no dead row can be
# removed: work flows on, and is found.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Load;
use Evq::Server qw(make_server sqlstate);

my $node = make_server('main', conf => "autovacuum_naptime = 1s\nevq.store_batches_from = 2\n");
$node->safe_psql(
	'postgres', q{
	SELECT evq_configure_flow('FLOW_B', dispatch_timeout => '1 s', max_dispatched => 50);
	SELECT evq_configure('STEP', 'FLOW_B', 3, '1 hour', '{0 s, 10 ms}', attempt_timeout => '1 minute');
	SELECT evq_configure('NEXT_STEP', 'FLOW_B', 3, '1 hour', '{0 s, 10 ms}', attempt_timeout => '1 minute');
	SELECT evq_configure_flow('BULK', delivery => 'pull', dispatch_timeout => '1 s', max_dispatched => 50);
	SELECT evq_configure('PARCEL', 'BULK', 3, '1 hour', '{0 s, 10 ms}', attempt_timeout => '1 minute');
	ALTER TABLE evq.event SET (autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);
});

my $load = Evq::Load->new($node,
	{ flow => 'FLOW_B', channel => 'evq_flow_b', next => { STEP => ['NEXT_STEP'] }, fail => { STEP => 0.1, PARCEL => 0.02 } });
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($holder->query_safe('SELECT count(*) FROM evq.events'), 0, 'the snapshot is older than all events');
my $xmin = q{SELECT backend_xmin FROM pg_stat_activity WHERE pid = };
$xmin .= $holder->query_safe('SELECT pg_backend_pid()');
my $held = $node->safe_psql('postgres', $xmin);

$load->start_workers(3);
$load->start_workers(1, by => 'notify');
$load->start_workers(2, by => 'token', batch => 20, flow => 'BULK');
$load->start_publisher(type => 'STEP', count => 3000);
$load->start_publisher(type => 'PARCEL', flow => 'BULK', count => 20000, together => 30);
$load->drain(180);

is($node->safe_psql('postgres', $xmin), $held, 'the snapshot was held all the while');
is($holder->query_safe('SELECT count(*) FROM evq.events'), 0, '... and still sees nothing of it');
cmp_ok($node->safe_psql('postgres', q{SELECT pg_relation_size('evq.event') / 8192}),
	'>', 100, '... so that the dead rows are still there');

cmp_ok($load->count('FROM evq.batch'), '>', 500, '... and were many batches, of which none is left in the backlog');

# A transaction with an old snapshot publishes and works like any other, where nobody else changed the event.
my $late = $holder->query_safe(q{SELECT evq_publish('STEP', 'FLOW_B', 'late')});
$holder->query_safe('COMMIT');
$holder->quit;
$load->drain(60);
is($node->safe_psql('postgres', "SELECT state FROM evq.events WHERE event_id = '$late'"),
	'succeeded', 'what the holder of the snapshot published was worked on after its commit');

$load->stop;
$node->safe_psql('postgres', "INSERT INTO load_publisher_log VALUES ('published', NULL, 'late', '$late')");
$load->check;
diag($load->figures);
$node->stop;
done_testing();
