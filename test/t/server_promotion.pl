# Standbys: nothing runs there; a promoted one goes on with what it has, and
# knows which permits are no longer worth anything.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);

use Evq::Load;
use Evq::Server
  qw(kill_for_good make_server make_standby sqlstate start_again wait_for_dispatcher wait_for_result wait_until);

my $configuration = q{
	SELECT evq_configure_flow('FLOW_B', dispatch_timeout => '1 s');
	SELECT evq_configure('STEP', 'FLOW_B', 100, '1 day', '{0 s}', attempt_timeout => '1 hour');
	SELECT evq_configure_flow('BULK', delivery => 'pull', dispatch_timeout => '1 s');
	SELECT evq_configure('PARCEL', 'BULK', 100, '1 day', '{0 s}', attempt_timeout => '1 hour');
};
my $stores_batches = "evq.store_batches_from = 2\n";

sub publish
{
	my ($node, $flow_id) = @_;
	return $node->safe_psql('postgres', "SELECT evq_publish('STEP', 'FLOW_B', '$flow_id')");
}

sub wait_for_state
{
	my ($node, $event, $state) = @_;
	wait_for_result($node, "SELECT state FROM evq.events WHERE event_id = '$event'", $state);
	return;
}

# Waits until the engine offers the event, then acquires it; returns the permit.
sub acquire
{
	my ($node, $event, $permit_for) = @_;
	my $permit = '';

	wait_until(
		60,
		sub {
			$permit = $node->safe_psql('postgres',
				"SELECT permit FROM evq_acquire('$event', permit_for => '$permit_for')");
			return $permit ne '';
		}) or die "event $event is not granted";
	return $permit;
}

# Events that are stored together; so many of them, as soon as they are offered: their flow_ids and their token.
sub publish_batch
{
	my ($node, @flow_ids) = @_;
	my $ids = join ',', @flow_ids;
	return $node->safe_psql('postgres', "SELECT count(*) FROM evq_publish_many('PARCEL', NULL, '{$ids}', array_fill(jsonb '{}', ARRAY[cardinality('{$ids}'::text[])]))");
}

sub acquire_batch
{
	my ($node, $most, $permit_for) = @_;
	my $found = '';

	wait_until(
		60,
		sub {
			$found = $node->safe_psql('postgres',
				"SELECT array_to_string(flow_ids, ' '), token FROM evq_acquire_batch('BULK', $most, permit_for => '$permit_for')");
			return $found ne '';
		}) or die 'no batch is granted';
	return split /\|/, $found;
}

sub succeed_batch
{
	my ($node, $token) = @_;
	return sqlstate($node, "SELECT evq_succeed_batch('$token')");
}

sub succeed
{
	my ($node, $event, $permit) = @_;
	return sqlstate($node, "SELECT evq_succeed('$event', $permit)");
}

# An asynchronous standby that has not heard of everything.
sub test_asynchronous
{
	my $primary = make_server('primary', allows_streaming => 1, conf => $stores_batches);
	my $standby = make_standby($primary, 'standby');
	$primary->safe_psql('postgres', $configuration);
	$standby->start;

	my ($never, $before, $after) = map { publish($primary, $_) } qw(never before after);
	wait_for_state($primary, $_, 'dispatched') for $never, $before, $after;
	my $before_permit = acquire($primary, $before, '20 s');
	publish_batch($primary, 'a' .. 'f');
	my ($early, $early_token) = acquire_batch($primary, 2, '20 s');
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

	is($standby->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE state = 'being_processed') FROM evq.events}), '9|3', 'a standby shows the events');
	is($standby->safe_psql('postgres', q{SELECT string_agg(evq_event(event_id) ->> 'state', ' ' ORDER BY flow_id) FROM evq.events WHERE flow_id IN ('a', 'f')}),
		'being_processed awaiting_processing', '... those of batches too');
	is( $standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'evq%'}),
		0, '... and neither launcher nor dispatcher runs there');
	is( $standby->safe_psql('postgres', q{SELECT running, problem IS NOT NULL FROM evq_status()}),
		'f|t', '... which evq_status() says');
	is(sqlstate($standby, $_), '25006', "... $_ is refused")
	  for "SELECT evq_publish('STEP', 'FLOW_B', 'x')",
	  q{SELECT evq_publish_many('[{"event_type": "STEP", "flow_id": "x"}]')},
	  "SELECT evq_publish_many('STEP', 'FLOW_B', '{x}', ARRAY[jsonb '{}'])",
	  "SELECT evq_acquire('$after')",
	  "SELECT evq_acquire_next('FLOW_B')",
	  "SELECT evq_acquire_batch('BULK')",
	  "SELECT evq_succeed_batch('$early_token')",
	  q{SELECT evq_cancel(event_id) FROM evq.events WHERE flow_id = 'f'},
	  "SELECT evq_heartbeat('{$before}', '{$before_permit}')",
	  "SELECT evq_succeed('$before', $before_permit)",
	  "SELECT evq_succeed_many('{$before}', '{$before_permit}')",
	  "SELECT evq_succeed_and_acquire('FLOW_B', '{$before}', '{$before_permit}')",
	  "SELECT evq_fail('$before', 'x', $before_permit)",
	  "SELECT evq_fail_many('{$before}', '{$before_permit}', 'x')",
	  "SELECT evq_snooze('$before', $before_permit, now())",
	  "SELECT evq_release('$before', $before_permit)",
	  "SELECT evq_suspend('$before', $before_permit)",
	  "SELECT evq_activate('$before')",
	  "SELECT evq_cancel('$before')",
	  "SELECT evq_retry('$before')",
	  "SELECT evq_configure('STEP', max_attempts => 3)",
	  "SELECT evq_suspend_event_type('STEP')",
	  "SELECT evq_pause_flow('FLOW_B')",
	  "SELECT evq_resume_flow('FLOW_B')",
	  'SELECT evq_tick()';
	is(sqlstate($standby, $_), '', "... $_ works")
	  for "SELECT evq_event('$after')", "SELECT evq_pending('FLOW_B')", 'SELECT evq_counts()', 'SELECT evq_version()',
	  'SELECT * FROM evq.queue, evq.errors, evq.workers, evq.transition';

	# The standby is away while events are acquired, finished and published; then the primary is lost.
	$standby->stop;
	my $lost_permit    = acquire($primary, $never, '1 hour');
	my $success_permit = acquire($primary, $after, '1 hour');
	is(succeed($primary, $after, $success_permit), '', 'a success that the standby will not hear of');
	publish($primary, 'unheard of');
	my ($lost, $lost_token) = acquire_batch($primary, 2, '1 hour');
	my ($done, $done_token) = acquire_batch($primary, 1, '1 hour');
	is("$early, $lost, $done", 'a b, c d, e', 'the same with parts of a batch');
	is(succeed_batch($primary, $done_token), '', '... one of which succeeds');
	publish_batch($primary, 'g', 'h');
	kill_for_good($primary);
	$standby->start;
	is( $standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'evq%'}),
		0, 'nothing runs on a standby that was started again');
	$standby->promote;
	wait_for_dispatcher($standby);
	pass('the dispatcher starts when the standby is promoted');

	is(succeed($standby, $never, $lost_permit),
		'EQ004', 'the permit of an acquire that was lost is refused before the event is acquired again');
	is(succeed($standby, $before, $before_permit),
		'EQ004', 'a permit of the old primary is refused, although its acquire was not lost');
	my $again = acquire($standby, $never, '1 hour');
	isnt($again, $lost_permit, 'the event is offered again, and the new permit is another one');
	is(succeed($standby, $never, $lost_permit), 'EQ004', '... the old one is refused');
	is($standby->safe_psql('postgres', "SELECT held FROM evq_heartbeat('{$never}', '{$lost_permit}')"),
		'f', '... and not held');
	is(sqlstate($standby, "SELECT evq_fail('$never', 'x', $lost_permit)"), 'EQ004', '... not for a failure either');
	is(succeed($standby, $never, $again), '', '... the new one is good');

	my $before_again = acquire($standby, $before, '1 hour');
	is(succeed($standby, $before, $before_again), '', 'an event held at the promotion comes back when its permit runs out');
	my $after_again = acquire($standby, $after, '1 hour');
	is(succeed($standby, $after, $success_permit), 'EQ004', 'the report of a success that was lost does not count again');
	is(succeed($standby, $after, $after_again),    '',      '... its second run does');

	is(succeed_batch($standby, $_), 'EQ004', 'a token of the old primary is refused') for $early_token, $lost_token, $done_token;
	my %again = map { $_ => 0 } 'a' .. 'f';
	wait_until(60, sub {
		my ($names, $token) = acquire_batch($standby, 10, '1 hour');
		is(succeed_batch($standby, $token), '', "what is offered again succeeds: $names");
		$again{$_}++ for split / /, $names;
		return !grep { $_ == 0 } values %again;
	});
	is(join(' ', map { "$_ $again{$_}" } sort keys %again), 'a 1 b 1 c 1 d 1 e 1 f 1', 'all of the batch is offered again, once');
	is($standby->safe_psql('postgres', q{SELECT state, count(*) FROM evq.events WHERE event_type = 'PARCEL' GROUP BY 1}), 'succeeded|6', '... and has succeeded');

	my $new = publish($standby, 'new');
	wait_for_state($standby, $new, 'dispatched');
	is(succeed($standby, $new, acquire($standby, $new, '1 hour')), '', 'life goes on');
	$standby->stop;
	return;
}

# A synchronous standby takes over under load: nothing that was acknowledged is lost.
sub test_synchronous
{
	my $primary = make_server('first', allows_streaming => 1, conf => "max_wal_senders = 10\n$stores_batches");
	my $standby = make_standby($primary, 'second');
	$standby->start;
	$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'\n");
	$primary->reload;
	$primary->safe_psql('postgres', $configuration . q{SELECT evq_configure('STEP', attempt_timeout => '3 s'), evq_configure('PARCEL', attempt_timeout => '3 s')});

	my $load = Evq::Load->new($primary, { flow => 'FLOW_B', channel => 'evq_flow_b', fail => { STEP => 0.05, PARCEL => 0.02 } });
	$load->also_at($standby);
	$load->start_publisher(type => 'STEP', count => 1500, rate => 100);
	$load->start_workers(4);
	$load->start_workers(2, by => 'notify');
	$load->start_publisher(type => 'PARCEL', flow => 'BULK', count => 4500, rate => 300, together => 40);
	$load->start_workers(2, by => 'token', batch => 25, flow => 'BULK');
	wait_for_result($primary, q{SELECT count(*) > 500 FROM evq.event_history}, 't');
	kill_for_good($primary);
	$load->is_published and die 'all was published before the primary was killed';
	$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
	$standby->promote;
	$load->moved_to($standby);
	$load->drain(180);
	$load->stop;
	$load->check;
	is($load->count('FROM (SELECT DISTINCT epoch FROM evq.epoch) e'), 2, 'the promotion began an epoch');
	diag($load->figures);
	$standby->stop;
	return;
}

# A fast stop while the synchronous standby is missing: commits of sessions wait for it, the dispatcher must not.
sub test_missing
{
	my $node = make_server('lonely', allows_streaming => 1);
	$node->safe_psql('postgres', $configuration . q{
		SELECT evq_configure('LAST', 'FLOW_B', 1, '1 day', '{0 s}', attempt_timeout => '1 s')});
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'\n");
	$node->reload;
	wait_for_result($node, 'SHOW synchronous_standby_names', 'nobody');

	my $event = $node->safe_psql('postgres',
		"SET synchronous_commit = local; SELECT evq_publish('STEP', 'FLOW_B', 'x')");
	wait_for_state($node, $event, 'dispatched');
	pass('the dispatcher does not wait for a missing standby');
	my $last = $node->safe_psql('postgres',
		"SET synchronous_commit = local; SELECT evq_publish('LAST', 'FLOW_B', 'x')");
	wait_for_state($node, $last, 'dispatched');
	$node->safe_psql('postgres', "SET synchronous_commit = local; SELECT evq_acquire('$last')");
	wait_for_state($node, $last, 'failed');
	pass('... nor for the end of a permit that ran out');

	my $waiter = $node->background_psql('postgres', on_error_stop => 0);
	$waiter->query_until(qr/published/, "\\echo published\nSELECT evq_publish('STEP', 'FLOW_B', 'waits');\n");
	wait_for_result($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'}, 1);
	my $began_at = time;
	is(PostgreSQL::Test::Utils::system_log('pg_ctl', '-D', $node->data_dir, '-m', 'fast', '-t', '60', 'stop'),
		0, 'a fast stop ends');
	note(sprintf 'after %.1f s', time - $began_at);
	eval { $waiter->quit };
	$node->_update_pid(0);

	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
	$node->start;
	wait_for_dispatcher($node);
	wait_for_result($node, q{SELECT count(*) FROM evq.event WHERE state = 'd'}, 2);
	pass('what waited for the standby is there after the start, and offered');
	$node->stop;
	return;
}

test_asynchronous();
test_synchronous();
test_missing();
done_testing();
