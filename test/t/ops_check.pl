# The doctor on a running server: faults that are made for real appear in evq_check(), and go away with their cause.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', "evq.poll_interval = '200ms'", 'evq.ring_size = 16', 'max_replication_slots = 5', 'max_wal_senders = 5',
	'wal_level = replica', 'hot_standby = on', 'fsync = on');
make_database($node, 'doctor');

# What it says of a subject: findings, or "ok".
sub said
{
	my ($subject, $patience) = @_;

	return $node->safe_psql('doctor', "SELECT concat_ws(': ', severity, finding) FROM evq_check('" . ($patience // '0 s') . "') WHERE subject = '$subject'");
}

sub wait_for_finding
{
	my ($subject, $pattern, $what) = @_;

	return ok(poll_until("$subject $pattern", sub { said($subject) =~ $pattern }), $what) || diag(said($subject));
}

ok(is_dispatching($node, 'doctor'), 'the dispatcher works');
$node->safe_psql('doctor', 'SELECT evq_cancel(event_id) FROM evq.event');
is($node->safe_psql('doctor', q{SELECT string_agg(concat_ws(' ', severity, subject, finding), ', ') FROM evq_check() WHERE severity <> 'ok'}), '', 'a sound server: all is well');

# ---------- the dispatcher ----------

my $pid = dispatcher_pid($node, 'doctor');
kill STOP => $pid;
my $event = $node->safe_psql('doctor', q{SET evq.debug_lose_wakeups = on; SELECT evq_publish('job', NULL, 'late')});
wait_for_finding('dispatcher', qr/^error: the dispatcher, PID $pid, had its last turn at/, 'a dispatcher that hangs');
is(said('dispatcher', '1 hour'), 'ok', '... is given a minute');
kill CONT => $pid;
$node->safe_psql('doctor', q{SELECT evq_publish('job', NULL, 'wakes it')});
ok(wait_for_state($node, 'doctor', $event, 'dispatched'), 'it goes on');
wait_for_finding('dispatcher', qr/^ok$/, '... and is well');

wait_for_finding('flows', qr/^warning: in flow FLOW an event has been due since .*, and no worker holds one$/, 'nobody takes what is offered');
$node->safe_psql('doctor', q{SELECT evq_succeed(event_id, permit) FROM evq_acquire_next('FLOW', 100)});
wait_for_finding('flows', qr/^ok$/, '... somebody did');

$node->safe_psql('doctor', 'ALTER INDEX evq.event_flow_no_attempt_scheduled_at_idx RENAME TO hidden');
$node->safe_psql('doctor', q{SELECT evq_publish('job', NULL, 'fails')});
wait_for_finding('dispatcher', qr/^error: the dispatcher fails: .*event_flow_no_attempt_scheduled_at_idx/, 'a dispatcher that fails');
$node->safe_psql('doctor', 'ALTER INDEX evq.hidden RENAME TO event_flow_no_attempt_scheduled_at_idx');
wait_for_finding('dispatcher', qr/^ok$/, '... and does not any more');

$node->append_conf('postgresql.conf', 'evq.enabled = off');
$node->reload;
wait_for_finding('dispatcher', qr/^error: dispatchers are switched off$/, 'evq.enabled = off');
$node->append_conf('postgresql.conf', 'evq.enabled = on');
$node->reload;
wait_for_finding('dispatcher', qr/^ok$/, '... and on');

# ---------- the ring ----------

is(said('ring'), 'ok', 'the ring is large enough');
$node->safe_psql('doctor', q{SELECT count(evq_publish('job', NULL, n::text)) FROM generate_series(1, 500) n}) for 1 .. 3;
wait_for_finding('ring', qr/^warning: the ring overflowed \d+ times since/, 'the ring is too small');
$node->safe_psql('doctor', 'SELECT count(evq_cancel(event_id)) FROM evq.event');
$node->append_conf('postgresql.conf', 'evq.ring_size = 8192');

# ---------- durability and autovacuum ----------

$node->append_conf('postgresql.conf', "fsync = off\nfull_page_writes = off\nautovacuum = off\ntrack_counts = off\nwal_level = minimal\nmax_wal_senders = 0");
$node->restart;
wait_for_dispatcher($node, 'doctor');
is(said('ring'), 'ok', 'the ring is large enough again');
is(said('durability') =~ s/: [^:\n]*$//mgr, "error: fsync is off\nerror: full_page_writes is off\nwarning: wal_level is minimal", 'settings that endanger events');
is(said('autovacuum'), "error: autovacuum is off: dead rows stay\nerror: track_counts is off: dead rows stay", '... and that keep dead rows');
$node->append_conf('postgresql.conf', "fsync = on\nfull_page_writes = on\nautovacuum = on\ntrack_counts = on\nwal_level = replica\nmax_wal_senders = 5");
$node->restart;
wait_for_dispatcher($node, 'doctor');
is(said('durability') . said('autovacuum'), 'okok', '... are right again');

# ---------- snapshots and listeners ----------

my $holder = session($node, 'doctor');
$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$holder->query_safe('SELECT 1');
my $holder_pid = $holder->query_safe('SELECT pg_backend_pid()');
wait_for_finding('snapshots', qr/^warning: PID $holder_pid, \w+, doctor, .*idle in transaction has held a snapshot since/, 'a held snapshot');
is(said('snapshots', '1 hour'), 'ok', '... may be held for a while');
$holder->query_safe('COMMIT');
wait_for_finding('snapshots', qr/^ok$/, '... is given back');

is(said('notifications'), 'ok', 'the notification queue is empty');
$holder->query_safe('LISTEN evq_flow');
$holder->query_safe('BEGIN');
$node->safe_psql('doctor', q{SELECT count(pg_notify('evq_flow', n || repeat('x', 7900))) FROM generate_series(1, 12000) n});
wait_for_finding('notifications', qr/^warning: the notification queue is \d+\.\d % full: .*the oldest transaction is that of PID $holder_pid, /, 'a listener that does not read');
$node->safe_psql('doctor', "SELECT pg_terminate_backend($holder_pid)");
wait_for_finding('notifications', qr/^ok$/, '... is gone');

# ---------- a slot whose standby is gone ----------

$node->safe_psql('postgres', q{SELECT pg_create_physical_replication_slot('standby')});
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "primary_slot_name = 'standby'\nhot_standby_feedback = on\nwal_receiver_status_interval = 1");
$standby->start;
ok($node->poll_query_until('postgres', q{SELECT xmin IS NOT NULL FROM pg_replication_slots}), 'a standby holds back vacuum');
is(said('snapshots'), 'ok', '... which is all right while it is there');
is($standby->safe_psql('doctor', q{SELECT concat_ws(': ', severity, finding) FROM evq_check() WHERE subject = 'dispatcher'}), 'ok', 'a standby needs no dispatcher');
$standby->stop;
wait_for_finding('snapshots', qr/^warning: replication slot standby is not in use and holds back vacuum/, 'its slot is left');
$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot('standby')});
wait_for_finding('snapshots', qr/^ok$/, '... and dropped');

# ---------- without preloading ----------

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is(said('dispatcher'), 'warning: evq is not preloaded: no dispatcher runs', 'not preloaded');
$node->safe_psql('doctor', q{SELECT evq_publish('job', NULL, 'due'); SELECT evq_suspend_event_type('job')});
is(said('event types'), 'warning: job is suspended, and events of it wait', 'without counters: a suspended type');
is(said('flows'), 'ok', '... is no reason to start workers');
$node->safe_psql('doctor', q{SELECT evq_unsuspend_event_type('job')});
like(said('flows'), qr/^warning: in flow FLOW an event has been due since .*, and no worker holds one$/, '... but it is when it may go on');
$node->safe_psql('doctor', q{SELECT evq_acquire(event_id) FROM evq.event; SELECT evq_publish('job', NULL, 'due')});
like(said('flows'), qr/^warning: in flow FLOW an event has been due since .*: its workers do not keep up, or it is held up$/, '... or they do not keep up');
$node->safe_psql('doctor', 'SELECT evq_cancel(event_id) FROM evq.event');
is(said('flows') . said('event types'), 'okok', 'all is done');

$node->stop;
done_testing();
