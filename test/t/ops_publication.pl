# A publication of all tables: every verb and the housekeeping work under it, a subscriber has what the publisher has, and takes over.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('publisher', "wal_level = logical", "max_wal_senders = 10", "evq.poll_interval = '200ms'");
my $subscriber = make_server('subscriber', "wal_level = logical", 'evq.enabled = off');
make_database($node, 'db');
$subscriber->safe_psql('postgres', 'CREATE DATABASE db');
$subscriber->safe_psql('db', 'CREATE EXTENSION evq');
sub run { return $node->safe_psql('db', @_) }
sub there { return $subscriber->safe_psql('db', @_) }

run('CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root)');
run(q{SELECT pg_create_logical_replication_slot('decoded', 'test_decoding')});
my $connection = $node->connstr('db') =~ s/'/''/gr;
there("CREATE SUBSCRIPTION theirs CONNECTION '$connection' PUBLICATION everything");
$subscriber->wait_for_subscription_sync($node, 'theirs', 'db');

# ---------- every verb ----------

my $days = run(q{
	SELECT evq.prepare_history(0, now() - interval '3 days');
	SELECT extract(epoch FROM clock_timestamp() - from_at) / 86400 - 0.5 FROM evq.history_partitions() WHERE to_at < now() ORDER BY from_at DESC LIMIT 1}) =~ /\n(.*)/ ? $1 : undef;
my $large = 'x' x 3000;
run(qq{
	SELECT evq_configure('job', 'FLOW', max_attempts => 2, attempt_delays => '{0}', lifespan => '30 days', on_fail_event_type => '', retention => '30 days');
	SELECT evq_configure('brief', 'FLOW', lifespan => '30 days', retention => '1 day'), evq_configure('nothing', 'FLOW', retention => '0'), evq_configure('dropped', 'FLOW');
	SELECT evq_configure('job', on_fail_event_type => 'brief', retention => '40 days'), evq_configure_flow('FLOW', delivery => 'pull', dispatch_timeout => '1 min');
	SELECT evq_drop_event_type('dropped'), evq_suspend_event_type('nothing'), evq_unsuspend_event_type('nothing'), evq_pause_flow('FLOW'), evq_resume_flow('FLOW');
	CREATE ROLE tenant; SELECT evq_grant_worker('tenant', 'FLOW'), evq_grant_publisher('tenant', 'FLOW'); SELECT evq_revoke_publisher('tenant');
	SELECT evq_schedule('often', '0 0 1 1 *', 'job', NULL, 'scheduled', make_job => false), evq_pause_schedule('often'), evq_resume_schedule('often');
	SELECT evq_run_schedule('often');
	SELECT evq_schedule('gone', '0 0 1 1 *', 'job', NULL, 'scheduled', make_job => false); SELECT evq_unschedule('gone')});
is(run(q{SELECT evq_pause('moving')}) . run('SELECT evq_resume()') . run('SELECT count(*) FROM evq.pause'), 't0', 'evq_pause() and evq_resume()');

# Takes an event that a verb is for; the verb as SQL of event_id and permit.
sub with_event
{
	my ($verb, $type, $more) = @_;
	my $id = run(qq{SELECT evq_publish('@{[ $type // 'job' ]}', NULL, 'case', '{"text": "$large"}', headers => '{"h": 1}', idempotency_key => gen_random_uuid()::text)});

	run(qq{SELECT $verb FROM evq_acquire('$id'); @{[ $more // '' ]}} =~ s/:id/'$id'/gr);
	return $id;
}
with_event(q{evq_succeed(event_id, permit, '{"answer": 42}', '[{"event_type": "job"}]')});
with_event(q{(SELECT count(*) FROM evq_succeed_many(ARRAY[event_id], ARRAY[permit]))});
with_event(q{(SELECT count(*) FROM evq_succeed_and_acquire('FLOW', ARRAY[event_id], ARRAY[permit]))}, 'nothing');
my $failed = with_event(q{evq_fail(event_id, 'no', permit, 'trace', retryable => false)});
with_event(q{(SELECT count(*) FROM evq_fail_many(ARRAY[event_id], ARRAY[permit], 'no'))});
with_event(q{evq_snooze(event_id, permit, now() + interval '1 hour')});
with_event(q{(SELECT count(*) FROM evq_heartbeat(ARRAY[event_id], ARRAY[permit])), evq_release(event_id, permit)});
with_event(q{evq_suspend(event_id, permit)}, 'job', q{SELECT evq_activate(:id, '{"more": 1}')});
with_event(q{evq_cancel(event_id, 'not wanted')}, 'job', 'SELECT evq_retry(:id)');
with_event(q{evq_cancel(event_id, 'not wanted')}, 'brief');
run("SELECT evq_retry('$failed')");
with_event(q{evq_fail(event_id, 'no', permit, retryable => false)});
is(run(q{SELECT evq_redrive('job', '-infinity')}), 1, 'evq_redrive()');
run(q{SET evq.store_batches_from = 0; SELECT count(*) FROM evq_publish_many('job', NULL, array_fill('many'::text, '{100}'), array_fill('{"a": 1}'::jsonb, '{100}')); SELECT evq_tick()});

# The same of a batch; two of it stay held.
run(q{
	SET evq.store_batches_from = 1;
	SELECT evq_configure_flow('BULK', delivery => 'pull'), evq_configure('parcel', 'BULK', max_attempts => 2, attempt_delays => '{0}', lifespan => '30 days') \gset
	SELECT count(*) AS n FROM evq_publish_many('parcel', NULL, string_to_array('a b c d e f g h i j', ' '), array_fill(jsonb '{"a": 1}', '{10}')) \gset
});
my $token;
ok(poll_until('a batch', sub { $token = run(q{SELECT token FROM evq_acquire_batch('BULK', 9)}) }), 'events of a batch are acquired');
run(qq{\\set token '$token'\n} . q{
	SELECT event_ids[2] AS b, event_ids[3] AS c, event_ids[4] AS d, event_ids[5] AS e FROM evq_heartbeat_batch(:'token') h, (SELECT array_agg(event_id ORDER BY event_id) AS event_ids FROM evq.log) l LIMIT 1 \gset
	SELECT evq_succeed(:'b', permit, '{"answer": 1}') FROM evq_batch_permits(:'token') WHERE event_id = :'b' \gset
	SELECT evq_suspend(:'c', permit) FROM evq_batch_permits(:'token') WHERE event_id = :'c' \gset
	SELECT count(*) AS n FROM evq_fail_batch(:'token', 'no', ARRAY[:'d']::uuid[]) \gset
	SELECT evq_cancel(:'e') \gset
	SELECT count(*) AS n FROM evq_succeed_batch(:'token', (SELECT array_agg(event_id) FROM evq.log WHERE flow_id IN ('h', 'i'))) \gset
});
ok(poll_until('the last of a batch', sub { run(q{SELECT count(*) FROM (SELECT evq_succeed_batch(token) FROM evq_acquire_batch('BULK', 1, '{parcel}')) s; SELECT count(*) FROM evq.events WHERE flow_id = 'j' AND state = 'succeeded'}) =~ /1\z/ }), 'the last of a batch is acquired, too');
is(run(q{SELECT string_agg(flow_id || ' ' || state, ', ' ORDER BY event_id) FROM evq.events WHERE event_type = 'parcel'}),
	'a succeeded, b succeeded, c suspended, d awaiting_processing, e canceled, f succeeded, g succeeded, h being_processed, i being_processed, j succeeded', 'events of a batch');

# ---------- housekeeping ----------

my $offset = -86400 * $days;
my @old = map { run(qq{
	SET evq.debug_lose_wakeups = on; SET evq.debug_clock_offset = $offset;
	SELECT evq_publish('$_', NULL, 'old', '{"text": "$large"}', idempotency_key => 'old $_') AS id \\gset
	SELECT evq_fail(:'id', 'no', permit, retryable => false) FROM evq_acquire(:'id') \\gset
	SELECT :'id'}) } 'brief', 'job';
is(run("SELECT count(*) FROM evq.event_history h JOIN evq.history_partitions() p ON p.relation = h.tableoid WHERE p.to_at < now() AND h.event_id IN ('$old[0]', '$old[1]')"),
	2, 'events finished into a partition of before');
run('DELETE FROM evq.housekeeping');
my $remains = join ' + ', map { "(SELECT count(*) FROM evq.$_ WHERE event_id = '$old[0]')" } qw(event_history event_payload event_error idempotency);
ok(poll_until('housekeeping', sub { run('SELECT count(*) FROM evq_purge()'); run("SELECT $remains") eq '0' }), 'what is past its retention is deleted');

# ---------- the subscriber ----------

stop_engine($node);    # nothing is to change while both are read

my @tables = split /\n/, run(q{SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'evq'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
	AND relname NOT IN ('counter', 'housekeeping', 'home', 'epoch') ORDER BY 1});
my $contents = sub { my ($ask) = @_; return map { $ask->("SELECT '$_', count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM $_ t") } @tables };
my $same = sub {
	$node->wait_for_catchup('theirs');
	return join("\n", $contents->(\&run)) eq join("\n", $contents->(\&there));
};
ok(poll_until('subscriber', $same), 'the subscriber has the same rows in every table');
is(join("\n", $contents->(\&there)), join("\n", $contents->(\&run)), '... in each');
cmp_ok(there('SELECT count(*) FROM evq.event_history'), '>', 3, '... and there are some');

my $decoded = run(q{SELECT count(*), count(*) FILTER (WHERE data LIKE '%no-tuple-data%') FROM pg_logical_slot_get_changes('decoded', NULL, NULL) WHERE data LIKE 'table evq.%'});
like($decoded, qr/^[1-9]\d+\|0$/, 'test_decoding decodes each change with the identity of its row');

# ---------- it takes over ----------

# What is a server's own stays so; a pause that comes where there is one changes nothing.
my $home = there('SELECT * FROM evq.home');
there(q{SELECT evq_pause('its own')});
run(q{SELECT evq_pause('moving'); UPDATE evq.home SET backup_label = 'another'});
$node->wait_for_catchup('theirs');
is(there('SELECT reason FROM evq.pause'), 'its own', 'a pause of the publisher does not stop a subscriber that is paused');
is(there('SELECT * FROM evq.home'), $home, 'its home is its own');
run(q{SELECT evq_resume(); UPDATE evq.home SET backup_label = ''});
there('SELECT evq_resume()');
$node->wait_for_catchup('theirs');
is(there('SELECT count(*) FROM evq.pause'), 0, '... and it is resumed by itself alone');

like(there(q{SELECT string_agg(concat(severity, ' ', finding), ' ') FROM evq_check() WHERE subject = 'tables'}),
	qr/error subscription theirs writes evq.event while this database is not paused/, 'evq_check() tells of a subscriber that is not paused');
my $held = run(q{SELECT event_id, permit FROM evq_acquire_next('FLOW')});
run(q{SELECT evq_pause('moved')});
@tables = grep { $_ ne 'evq.audit_entry' } @tables;	# has the subscriber's own entries by now
ok(poll_until('subscriber', $same), 'the pause comes too');
unlike(there(q{SELECT string_agg(finding, ' ') FROM evq_check() WHERE subject = 'tables'}), qr/subscription/, '... then evq_check() has nothing to say');
there('DROP SUBSCRIPTION theirs');
for my $sequence (split /\n/, run(q{SELECT sequencename FROM pg_sequences WHERE schemaname = 'evq'}))
{
	my $value = run("SELECT last_value FROM evq.$sequence");
	there("SELECT setval('evq.$sequence', $value)");
}
$subscriber->append_conf('postgresql.conf', 'evq.enabled = on');
$subscriber->reload;
is(there('SELECT evq_resume()'), 't', 'it is resumed');
is(there(q{SELECT string_agg(flow_id || ' ' || payload, ', ' ORDER BY event_id) FROM evq.events JOIN evq.payloads USING (event_id) WHERE flow_id IN ('a', 'i') AND event_type = 'parcel'}),
	'a {"a": 1}, i {"a": 1}', 'events of a batch are there');
is(there(qq{SELECT string_agg(flow_id, ' ' ORDER BY flow_id) FROM evq_succeed_batch('$token') AS lost JOIN evq.events ON event_id = lost}), 'c d e h i', '... its token holds nothing here: what had ended is told again');
is(there(q{SELECT string_agg(flow_id || ' ' || state, ', ' ORDER BY flow_id) FROM evq.events WHERE flow_id IN ('h', 'i') AND event_type = 'parcel'}), 'h being_processed, i being_processed', '... and ends nothing');
is(there(q{SELECT evq_fail(event_id, 'moved', permit => NULL) FROM evq.events WHERE flow_id = 'i' AND event_type = 'parcel'}), 'awaiting_processing', '... and they go on');
there(q{SELECT evq_configure('new', 'NEW')});
my $new = there(q{SELECT evq_publish('new', NULL, 'x')});
ok(wait_for_state($subscriber, 'db', $new, 'dispatched'), 'it works on: a new type, a new event');
my ($event, $permit) = split /\|/, $held;
like(($subscriber->psql('db', "\\set VERBOSITY sqlstate\nSELECT evq_release('$event', $permit)"))[2], qr/EQ004/, 'a permit of the publisher is lost');
ok(there("SELECT permit FROM evq_acquire('$new')") >> 32 > $permit >> 32, '... as its own are of a later epoch');

done_testing();
