# What reading costs does not grow with the history, nor, where only some events are asked for, with the backlog: pages read are
# counted, beside few events and beside many.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

# Each event has a row here: history_batch_costs.pl is about batches.
my $node = make_server('main', 'autovacuum = off', 'synchronous_commit = off', 'evq.store_batches_from = 0');
make_database($node, 'db');
sub run { return $node->safe_psql('db', @_) }
run(q{
	SELECT evq_configure_flow('PULL', delivery => 'pull'), evq_configure('T', 'PULL', lifespan => '30 days', max_attempts => 1), evq_configure('S', 'PULL', lifespan => '30 days');
	SELECT evq.prepare_history(0, now() - interval '3 days')});

# Finished events, one in 100 of them failed, the rest canceled.
sub add_history
{
	my ($count) = @_;

	run(qq{
		SELECT count(*) FROM evq_publish_many('T', 'PULL', (SELECT array_agg('case ' || n % 50) FROM generate_series(1, $count) AS n), array_fill('{"a": 1}'::jsonb, ARRAY[$count]));
		SELECT count(evq_fail(event_id, 'no', permit, 'trace')) FROM evq_acquire_next('PULL', $count / 100);
		SELECT count(evq_cancel(event_id)) FROM evq.event WHERE flow_no = (SELECT flow_no FROM evq.flow WHERE flow_type = 'PULL')});
}
sub add_backlog
{
	my ($count) = @_;

	run("SELECT count(*) FROM evq_publish_many('T', 'PULL', array_fill('waiting'::text, ARRAY[$count]), array_fill('{\"a\": 1}'::jsonb, ARRAY[$count]))");
}

# Pages that a statement reads, in a session that has called it before.
sub pages
{
	my ($statement) = @_;
	my $plan = run("$statement;\nEXPLAIN (ANALYZE, BUFFERS, TIMING OFF, COSTS OFF) $statement");
	my ($line) = $plan =~ /^\s*Buffers: (.*)$/m;
	my $pages = 0;

	$pages += $1 while ($line // '') =~ /=(\d+)/g;
	return $pages;
}

add_history(1000);
run('VACUUM ANALYZE');
my $finished = run(q{SELECT event_id FROM evq.event_history WHERE state = 'f' LIMIT 1});
my $parent = run(q{SELECT evq_publish('S', 'PULL', 'parent')});
run(qq{SELECT evq_succeed('$parent', permit, NULL, '[{"event_type": "S", "run_at": "2100-01-01"}, {"event_type": "S", "run_at": "2100-01-01"}]') FROM evq_acquire('$parent')});
my $live = run(qq{SELECT event_id FROM evq.event WHERE flow_id = 'parent' LIMIT 1});

my %reads;
for (['a finished event', $finished], ['a parent', $parent], ['a live event', $live])
{
	my ($which, $id) = @$_;

	$reads{"evq_event() of $which"} = "SELECT evq_event('$id')";
	$reads{"GET /api/events/{id} of $which"} = "SELECT evq_http.event('$id', NULL, NULL, NULL)";
	$reads{"evq.events by id of $which"} = "SELECT * FROM evq.events WHERE event_id = '$id'";
	$reads{"evq.payloads by id of $which"} = "SELECT * FROM evq.payloads WHERE event_id = '$id'";
	$reads{"evq.errors of $which"} = "SELECT * FROM evq.errors WHERE event_id = '$id'";
	$reads{"a search for the id of $which"} = "SELECT evq_http.events('', '{\"q\": \"$id\", \"limit\": 1, \"flow_type\": \"PULL\"}', NULL, NULL)";
	$reads{"get_event of $which by MCP"} = qq{SELECT evq_http.mcp(NULL, '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_event", "arguments": {"event_id": "$id"}}}', false)};
}
$reads{'the newest errors'} = 'SELECT * FROM evq.errors ORDER BY failed_at DESC LIMIT 5';
$reads{'GET /api/errors'} = "SELECT evq_http.errors('', '{\"limit\": 5}', NULL, NULL)";
$reads{'GET /api/events'} = "SELECT evq_http.events('', '{\"limit\": 20}', NULL, NULL)";
$reads{'list_events by MCP'} = q{SELECT evq_http.mcp(NULL, '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_events", "arguments": {"limit": 20}}}', false)};
$reads{'evq_pending()'} = "SELECT count(*) FROM evq_pending('PULL', 20)";
$reads{'GET /api/events/pending/{flow}'} = "SELECT evq_http.pending('PULL', '{\"limit\": 20}', NULL, NULL)";
$reads{'evq_metrics()'} = 'SELECT length(evq_metrics())';
$reads{'evq_check()'} = 'SELECT count(*) FROM evq_check()';
$reads{'evq_status()'} = 'SELECT * FROM evq_status()';
$reads{"GET $_"} = "SELECT evq_http.$_('', '{}', NULL, NULL)" for qw(flows event_types schedules health);
$reads{'evq_counts()'} = 'SELECT * FROM evq_counts()';
$reads{'GET /api/counts'} = "SELECT evq_http.counts('', '{}', NULL, NULL)";
# These look at the first events of a flow, up to a limit.
my %bounded = map { ("evq.$_" => "SELECT * FROM evq.$_") } qw(queue workers blocked_flows);
$bounded{'queue_status by MCP'} = 'SELECT evq_http.mcp_queues()';

my %all = (%reads, %bounded);
sub compare
{
	my ($what, %statements) = @_;
	my %few = map { $_ => pages($statements{$_}) } keys %statements;

	return sub {
		for my $name (sort keys %statements)
		{
			my $many = pages($statements{$name});
			# A search goes on until it has looked at 10,000 events.
			cmp_ok($many, '<', ($bounded{$name} ? 1.2 : 2) * $few{$name} + ($name =~ /search/ ? 500 : 50), "$name: $many pages beside $what, $few{$name} before");
		}
	};
}

add_backlog(200);
run('VACUUM FULL evq.event');
run('VACUUM ANALYZE');
my $beside_history = compare('30,000 finished events', %all);
add_history(10_000) for 1 .. 3;
add_backlog(200);
# What the live events have left behind is not what is measured.
run('VACUUM FULL evq.event');
run('VACUUM ANALYZE');
$beside_history->();

ok(poll_until('counted', sub { run('SELECT bool_and(is_exact) FROM evq.live_counts()') eq 't' }), 'the engine has counted the live events');
my $beside_backlog = compare('20,000 waiting events', %reads);
add_backlog(20_000);
run('VACUUM ANALYZE');
$beside_backlog->();

# ---------- what is counted ----------

# One is held; and of those that wait some are to come.
run(q{SELECT count(*) FROM evq_acquire_next('PULL', 1, ARRAY['T'], 'worker')});
run(q{SELECT count(evq_publish('T', NULL, 'to come', run_at => now() + interval '1 day')) FROM generate_series(1, 100)});
my $by_state = q{SELECT t.event_type || '|' || evq.state_name(e.state) || '|' || count(*) FROM evq.event e JOIN evq.event_type t USING (event_type_no) GROUP BY t.event_type, e.state ORDER BY 1};
my $present = run($by_state);
ok(poll_until('told', sub { run(q{SELECT event_type || '|' || state || '|' || events FROM evq_counts() ORDER BY 1}) eq $present }), 'evq_counts() counts all of them');
is(run(q{SELECT event_type || '|' || state || '|' || events FROM evq.queue ORDER BY 1}), $present, 'so does evq.queue');
is(run(q{SELECT due, is_exact, looked_at, longest_in_state > '0' FROM evq.queue WHERE event_type = 'T' AND state = 'awaiting_processing'}),
	run(q{SELECT count(*), true, 1000, true FROM evq.event e JOIN evq.event_type t USING (event_type_no) WHERE t.event_type = 'T' AND e.state = 'a' AND e.attempt_scheduled_at <= now()}),
	'... which of those that are due knows the number, since not many are to come');
is(run(q{SELECT worker, flow_type, events, oldest_acquired_at < now() FROM evq.workers}), 'worker|PULL|1|t', 'evq.workers finds the one that is held');
is(run(q{
	BEGIN;
	SELECT events AS before FROM evq_counts() WHERE event_type = 'T' AND state = 'awaiting_processing' \gset
	SELECT count(evq_publish('T', NULL, 'mine')) FROM generate_series(1, 3) \g /dev/null
	SAVEPOINT s;
	SELECT evq_publish('T', NULL, 'mine') \g /dev/null
	ROLLBACK TO s;
	SELECT events - :before FROM evq_counts() WHERE event_type = 'T' AND state = 'awaiting_processing';
	ROLLBACK}), 3, 'a transaction sees what it has changed itself');

$bounded{'evq_pending() past what cannot be had'} = q{SELECT count(*) FROM evq_pending('PULL', 20)};
run(q{SELECT evq_suspend_event_type('T')});
my $beside_more = compare('40,000 waiting events', %bounded);
add_backlog(20_000);
run('VACUUM ANALYZE');
$beside_more->();
is(run(q{SELECT evq_http.pending('PULL', '{"limit": 1}', NULL, NULL)}), '{"events": [], "is_complete": false}', 'what was looked at in part says so');
like(($node->psql('db', "SELECT * FROM evq_pending('PULL', 1)"))[2], qr/WARNING:  only the first 10000 due events of flow "PULL" were looked at/, '... in SQL by a warning');
like(run(q{SELECT why || ' ' || waiting || ' ' || looked_at FROM evq.blocked_flows WHERE why ~ 'suspended'}), qr/^event type T is suspended 4\d{4} 1000$/, 'a suspended type, and how many wait for it');
run(q{SELECT evq_unsuspend_event_type('T')});

# ---------- without a dispatcher ----------

# What no counter tells is counted up to a limit, and a worker that polls for what cannot be had does not read it all each time.
stop_engine($node);
run(q{UPDATE evq.event SET attempt_scheduled_at = attempt_scheduled_at - interval '1 hour' WHERE state = 'a'; SELECT evq_suspend_event_type('T')});
run('VACUUM ANALYZE');
my @polls = run(join ';', "SELECT count(*) FROM evq_acquire_next('PULL', 1, ARRAY['T'])", ("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, COSTS OFF) SELECT * FROM evq_acquire_next('PULL', 1, ARRAY['T'])") x 20) =~ /Function Scan.*\n\s*Buffers: shared hit=(\d+)/g;
my ($least) = sort { $a <=> $b } @polls;
cmp_ok($least // 1e9, '<', 100, 'evq_acquire_next() behind 60,000 that cannot be had reads few pages when it has done so a short while ago') or diag("@polls");
my $poller = session($node, 'db');
$poller->query_safe(q{SELECT count(*) FROM evq_acquire_next('PULL', 1, ARRAY['S'])});
run(q{SELECT evq_publish('S', NULL, 'new')});
is($poller->query_safe(q{SELECT flow_id FROM evq_acquire_next('PULL', 1, ARRAY['S'])}), 'new', '... and finds what comes then');
end_session($poller);
run(q{SELECT evq_unsuspend_event_type('T')});
start_engine($node, 'db');

# ---------- searches that find nothing, or late ----------

sub search { return run("SELECT $_[0] FROM evq_http.events('', '$_[1]', NULL, NULL) AS a") }
my $told = q{jsonb_array_length(a -> 'events') || ' ' || (a -> 'next' <> 'null') || ' ' || (a #>> '{searched,events}') || ' ' || ((a #>> '{searched,back_to}')::timestamptz < now())};
like(search($told, '{"q": "payload.none:3"}'), qr/^0 true [1-9]\d* true$/, 'a search in payloads that finds nothing says how far it looked, and where to go on');
cmp_ok(search("a #>> '{searched,events}'", '{"q": "payload.none:3"}'), '<=', 2000, '... after 2,000 events at most');
like(search($told, '{"status": "SUSPENDED"}'), qr/^0 true [1-9]\d* true$/, 'so does one by a status that none has');
cmp_ok(search("a #>> '{searched,events}'", '{"status": "SUSPENDED"}'), '<=', 10_000, '... after 10,000 at most');

# It goes on from there, to the end.
my ($events, $pages, $after) = (0, 0, '');
do
{
	my ($found, $next) = split /\|/, run("SELECT jsonb_array_length(a -> 'events'), a ->> 'next' FROM evq_http.events('', jsonb_build_object('flow_type', 'PULL', 'status', 'FAILED', 'limit', 500$after), NULL, NULL) a");
	$events += $found;
	$pages++;
	$after = $next ? ", 'after', '$next'" : '';
} while ($after && $pages < 1000);
is($events, run(q{SELECT count(*) FROM evq.event_history WHERE state = 'f'}), 'page by page it finds all that is there');
like(run("SELECT a -> 'next', a #> '{searched,back_to}', a #>> '{searched,events}' FROM evq_http.events('', '{\"after\": \"00000000-0000-0000-0000-000000000001\"}', NULL, NULL) a"),
	qr/^null\|null\|0$/, 'at the end it says so');

# Stopped, it stops.
like(($node->psql('db', "SET statement_timeout = '1ms'; SELECT evq_http.events('', '{\"q\": \"payload.none:3\"}', NULL, NULL)"))[2], qr/canceling statement/, 'it can be stopped');

# A flow_id whose events are old: partitions that get no more events have an index, and the search goes there at once.
my $old = run(q{
	SET evq.debug_lose_wakeups = on;
	SELECT extract(epoch FROM clock_timestamp() - from_at) - 43200 AS ago FROM evq.history_partitions() WHERE to_at < now() ORDER BY from_at DESC LIMIT 1 \gset
	SELECT -:ago AS offset \gset
	SET evq.debug_clock_offset = :offset;
	SELECT evq_publish('T', NULL, 'old case') AS id \gset
	SELECT evq_cancel(:'id') \gset
	SELECT :'id'});
run('SELECT count(*) FROM evq_purge()');
is(run(q{SELECT count(*) FROM pg_class WHERE relname LIKE 'event_history_%_flow_id_idx'}), 1, 'a partition of before is indexed');
for my $query ('{"flow_id": "old case"}', '{"q": "old"}')
{
	my ($found, $next);
	($pages, $after) = (0, '');
	do
	{
		($found, $next) = split /\|/, run("SELECT a #>> '{events,0,event_id}', a ->> 'next' FROM evq_http.events('', '$query'::jsonb$after, NULL, NULL) a");
		$pages++;
		$after = " || jsonb_build_object('after', '$next')" if $next;
	} until $found || !$next || $pages > 100;
	is($found // '', $query =~ /flow_id/ ? $old : '', "$query finds it by its flow_id, and nothing by a part of it, after $pages pages");
}

# ---------- configuration ----------

# Many types and flows in one statement, in tables that were small when it began: none of them is read whole each time.
make_database($node, 'configured');
$node->safe_psql('configured', 'VACUUM ANALYZE evq.flow; VACUUM ANALYZE evq.event_type; VACUUM ANALYZE evq.restriction; CREATE ROLE configured');
cmp_ok($node->safe_psql('configured', q{
	BEGIN;
	SELECT count(evq_configure('T' || n, 'F' || n)) FROM generate_series(1, 500) n \g /dev/null
	SELECT count(evq_grant_worker('configured', 'F' || n)) FROM generate_series(1, 100) n \g /dev/null
	SELECT sum(seq_tup_read) FROM pg_stat_xact_all_tables WHERE schemaname = 'evq' AND relname IN ('flow', 'event_type');
	ROLLBACK}), '<', 5000, 'configuring 500 types and flows in one statement reads each row few times');

done_testing();
