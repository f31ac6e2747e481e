# Events that are stored in batches, as those see them who watch, measure and check while a dispatcher runs.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', "evq.store_batches_from = 1\nevq.poll_interval = '100 ms'");
make_database($node, 'db');
my $session = session($node, 'db');

sub run { return $session->query_safe($_[0]) }
sub wait_for { my ($what, $query, $wanted) = @_; return ok(poll_until($what, sub { run($query) =~ $wanted }), $what) || diag(run($query)) }

run(q{
	SELECT evq_configure_flow('F', delivery => 'pull', dispatch_timeout => '1 h');
	SELECT evq_configure('A', 'F', lifespan => '1 day', attempt_timeout => '1 h', attempt_delays => '{0}');
	SELECT evq_configure('B', 'F', lifespan => '1 day');
	CREATE FUNCTION batch(first int, last int, event_type text DEFAULT 'A') RETURNS bigint LANGUAGE sql AS $$
		SELECT count(*) FROM evq_publish_many(event_type, NULL, (SELECT array_agg(n::text) FROM generate_series(first, last) n), array_fill('{}'::jsonb, ARRAY[last - first + 1]))
	$$});

# ---------- gauges, counts, findings ----------

my $age = q{SELECT coalesce(max(c.value), 0) / 1000000 FROM evq.counters() c WHERE c.name = '%s'};
run('SELECT batch(1, 5000)');
wait_for('the live events are counted', q{SELECT string_agg(state || ' ' || events, ', ') FROM evq_counts()}, qr/^awaiting_processing 5000$/);
is(run('SELECT event_type, state, events, due, is_exact, looked_at FROM evq.queue'), 'A|awaiting_processing|5000|5000|t|', 'evq.queue has them all');
run('SELECT set_config($$lab.token$$, token, false) FROM evq_acquire_batch($$F$$, 100, worker => $$w$$)');
wait_for('... in each state', q{SELECT string_agg(state || ' ' || events || ' ' || due, ', ' ORDER BY state) FROM evq.queue}, qr/^awaiting_processing 4900 4900, being_processed 100 0$/);
is(run('SELECT worker, events, next_permit_due_at > now() FROM evq.workers'), 'w|100|t', 'evq.workers knows who has some');
# As if all that had been so for two hours.
$node->safe_psql('db', q{UPDATE evq.batch SET attempt_scheduled_at = attempt_scheduled_at - interval '2 h';
	UPDATE evq.backlog SET attempt_scheduled_at = attempt_scheduled_at - interval '2 h'; UPDATE evq.run SET attempt_started_at = attempt_started_at - interval '2 h'});
my $pid = dispatcher_pid($node, 'db');
run("SELECT pg_terminate_backend($pid)");
wait_for_dispatcher($node, 'db', $pid);
wait_for('the longest due', sprintf($age, 'oldest_due'), qr/^7[2-9]\d\d$/);
wait_for('the longest held', sprintf($age, 'oldest_permit'), qr/^7[2-9]\d\d$/);
like(run(q{SELECT finding FROM evq_check('1 hour') WHERE subject = 'flows'}), qr/^in flow F an event has been due since .*: its workers do not keep up/, 'evq_check() finds that they wait');
run('SELECT count(*) FROM evq_succeed_batch(current_setting($$lab.token$$))');
wait_for('... until it is done', sprintf($age, 'oldest_permit'), qr/^0$/);
ok(poll_until('acquired', sub { run(q{SELECT count(*) FROM evq_acquire_next('F', 5000)}); run('SELECT sum(events) FROM evq.workers') eq '4900' }), '... and others are acquired');
wait_for('... and nothing waits', sprintf($age, 'oldest_due'), qr/^0$/);
run(q{SELECT count(*) FROM evq_succeed_many((SELECT array_agg(event_id) FROM evq.events WHERE state = 'being_processed'), (SELECT array_agg(permit) FROM evq.events WHERE state = 'being_processed'))});
wait_for('all are done', 'SELECT count(*) FROM evq_counts()', qr/^0$/);

wait_for('... and the dispatcher has heard of that', 'SELECT count(*) FROM evq.backlog', qr/^0$/);

# ---------- watchers ----------

my $listener = listen_to($node, 'db', 'evq_events');
run(q{SELECT evq_watch('1 hour')});

# What was told of the events with these flow_ids, state by state.
sub told
{
	my ($first, $last) = @_;
	my @messages = map { $_->[1] } notifications($listener);
	return '' if !@messages;
	return run("SELECT string_agg(flow_id || ' ' || said, E'\\n' ORDER BY flow_id::int) FROM ("
			. "SELECT m ->> 'flow_id' AS flow_id, string_agg(concat_ws(' ', m ->> 'event_type', m ->> 'flow_type', m ->> 'status', m ->> 'attempts_used'), ', ' ORDER BY n) AS said "
			. 'FROM unnest(ARRAY[' . join(', ', map { "'$_'" } @messages) . "]::jsonb[]) WITH ORDINALITY AS told (m, n) GROUP BY 1) t WHERE flow_id::int BETWEEN $first AND $last");
}

sub wait_until_told { my ($what, $first, $last, $wanted) = @_; return ok(poll_until($what, sub { told($first, $last) eq $wanted }), $what) || diag(told($first, $last)) }

run('SELECT batch(10001, 10004)');
run(q{SELECT evq_cancel(event_id) FROM evq.events WHERE flow_id = '10002'});
run(q{SELECT set_config('lab.token', token, false) FROM evq_acquire_batch('F', 3)});
run(q{SELECT count(*) FROM evq_succeed_batch(current_setting('lab.token'), (SELECT array_agg(event_id) FROM evq.events WHERE flow_id = '10004'))});
run(q{SELECT evq_fail(event_id, 'no', permit, retryable => false) FROM evq.events WHERE flow_id = '10004'});
my $well = '%s A F AWAITING_PROCESSING 0, A F BEING_PROCESSED 0, A F SUCCEEDED 1';
wait_until_told('each state of each event is told once, in order', 10001, 10004, join("\n", sprintf($well, 10001),
		'10002 A F AWAITING_PROCESSING 0, A F CANCELED 0', sprintf($well, 10003),
		'10004 A F AWAITING_PROCESSING 0, A F BEING_PROCESSED 0, A F FAILED 1'));
run(q{BEGIN; SELECT batch(11001, 11003); SAVEPOINT s; SELECT batch(11004, 11005); ROLLBACK TO s; COMMIT});
run(q{SELECT count(*) FROM evq_acquire_next('F', 1)});
wait_until_told('... and what is rolled back is not', 11001, 11005, join("\n", '11001 A F AWAITING_PROCESSING 0, A F BEING_PROCESSED 0',
		map { "$_ A F AWAITING_PROCESSING 0" } 11002, 11003));

my $before = notifications($listener);
run('SELECT batch(20001, 23000)');
my $sum = q{SELECT count(*) FILTER (WHERE m ? 'event_id') || ' ' || coalesce(sum((m ->> 'skipped')::int), 0) FROM unnest(ARRAY[%s]::jsonb[]) AS m};
my @messages;
ok(poll_until('skipped', sub {
		@messages = map { $_->[1] } notifications($listener);
		splice(@messages, 0, $before);
		return 0 if !@messages;
		my ($one_by_one, $skipped) = split / /, run(sprintf($sum, join(', ', map { "'$_'" } @messages)));
		return $one_by_one + $skipped == 3000;
	}), 'of thousands at once a part is told, the rest is counted');
cmp_ok(scalar(@messages), '<', 1000, '... and not all');
end_session($listener);

# ---------- without a dispatcher ----------

$node->safe_psql('postgres', 'ALTER SYSTEM SET evq.enabled = off; SELECT pg_reload_conf()');
wait_for('the dispatcher goes', 'SELECT running FROM evq_status()', qr/^f$/);
run(q{TRUNCATE evq.event, evq.log, evq.batch, evq.backlog, evq.run, evq.exception; SELECT batch(1, 3)});
$listener = listen_to($node, 'db', 'evq_f');
run('SELECT evq_tick()');
is((wait_for_notifications($listener, 1))[0], '{"flow_type":"F","ready":true}', 'evq_tick() tells listeners that there is something in batches');
is(run(q{SELECT count(*) FROM evq_acquire_next('F', 10)}), 3, '... to be had');
end_session($listener);
done_testing();
