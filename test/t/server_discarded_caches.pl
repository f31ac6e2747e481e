# Whatever PostgreSQL and evq keep of catalogs and configuration is forgotten at each opportunity (debug_discard_caches, which
# servers built with assertions have): every verb does what it does otherwise, and ends.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', "evq.poll_interval = '1s'");

plan skip_all => 'the server has no assertions' if $node->safe_psql('postgres', 'SHOW debug_assertions') ne 'on';
make_database($node, 'db');
$node->safe_psql('db', q{
	SELECT evq_configure('rescue', 'FLOW');
	SELECT evq_configure('frail', 'FLOW', 1, '1 day', '{0}', attempt_timeout => '1 hour', on_fail_event_type => 'rescue');
	SELECT evq.prepare_history()});

my $session = session($node, 'db');
sub run { return $session->query_safe($_[0]) }

# ---------- the dispatcher ----------

$node->safe_psql('postgres', 'ALTER SYSTEM SET debug_discard_caches = 1');
$node->reload;
ok(is_dispatching($node, 'db'), 'the dispatcher dispatches');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET debug_discard_caches');
$node->reload;
poll_until('the setting to be gone', sub { $node->safe_psql('postgres', 'SHOW debug_discard_caches') eq '0' });

# ---------- a session ----------

# What sessions ask for first is read without that.
my %event = map { $_ => publish($node, 'db') } qw(succeeded failed suspended canceled);
$event{frail} = $node->safe_psql('db', q{SELECT evq_publish('frail', NULL, 'f')});
run('SET debug_discard_caches = 1');

my %permit = map { $_ => run("SELECT permit FROM evq_acquire('$event{$_}')") } qw(succeeded failed suspended frail);
is(scalar(grep { /^\d+$/ } values %permit), 4, 'evq_acquire()');
is(run("SELECT held FROM evq_heartbeat('{$event{succeeded}}', '{$permit{succeeded}}')"), 't', 'evq_heartbeat()');
is(run(qq{SELECT cardinality(evq_succeed('$event{succeeded}', $permit{succeeded}, '1', '[{"event_type": "job"}]'))}), '1', 'evq_succeed()');
is(run("SELECT evq_fail('$event{failed}', 'x', $permit{failed})"), 'awaiting_processing', 'evq_fail(), and there is another attempt');
is(run("SELECT evq_fail('$event{frail}', 'x', $permit{frail})"), 'failed', '... and the last one');
is(run("SELECT evq_suspend('$event{suspended}', $permit{suspended}) > now()"), 't', 'evq_suspend()');
is(run(qq{SELECT evq_activate('$event{suspended}', '{"b": 2}')}), 'awaiting_processing', 'evq_activate()');
is(run("SELECT evq_cancel('$event{canceled}')"), '', 'evq_cancel()');
is(run("SELECT evq_retry('$event{canceled}')"), '', 'evq_retry()');
is(run(q{SELECT evq_publish('job', NULL, 'f', '{}', idempotency_key => 'k') = evq_publish('job', NULL, 'f', '{}', idempotency_key => 'k')}), 't', 'evq_publish(), with a key');
is(run(q{SELECT count(*) FROM evq_publish_many('job', NULL, '{a,b}', '{1,2}')}), '2', 'evq_publish_many()');
is(run(q{SET evq.store_batches_from = 1; SELECT evq_configure_flow('BULK', delivery => 'pull'), evq_configure('parcel', 'BULK'); SELECT count(*) FROM evq_publish_many('parcel', NULL, '{a,b,c,d}', '{1,2,3,4}')}) =~ s/^\|\n//r, '4', '... a batch');
is(run(q{SELECT count(*) FROM evq.batch}), '1', '... stored as one');
my $token = run(q{SELECT token FROM evq_acquire_batch('BULK', 3)});
like($token, qr/./, 'evq_acquire_batch()');
is(run("SELECT count(*) FROM evq_heartbeat_batch('$token') WHERE held"), '3', 'evq_heartbeat_batch()');
is(run("SELECT accepted FROM evq_fail_batch('$token', 'x', ARRAY[(SELECT event_id FROM evq.log WHERE flow_id = 'b')])"), 't', 'evq_fail_batch()');
is(run("SELECT count(*) FROM evq_succeed_batch('$token', ARRAY[(SELECT event_id FROM evq.log WHERE flow_id = 'c')])"), '1', 'evq_succeed_batch(), after that');
like(run(q{SELECT count(*) FROM evq_acquire_next('FLOW', 2)}), qr/^\d$/, 'evq_acquire_next()');
like(run('SELECT (evq_tick()).dispatched'), qr/^\d+$/, 'evq_tick()');
is(run(q{SELECT evq_configure('job', max_attempts => 7)}), '', 'evq_configure()');
run('RESET debug_discard_caches');

my %state = (succeeded => 'succeeded', failed => 'awaiting_processing|dispatched|being_processed', suspended => 'awaiting_processing|dispatched|being_processed', canceled => 'awaiting_processing|dispatched|being_processed', frail => 'failed');
like(state_of($node, 'db', $event{$_}), qr/^($state{$_})$/, "the event that was $_") for sort keys %state;
is($node->safe_psql('db', q{SELECT count(*) FROM evq.events WHERE event_type = 'rescue'}), '1', '... and its on-fail event');

done_testing();
