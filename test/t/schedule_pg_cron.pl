# Schedules with the real pg_cron: the jobs it is given, that they run, and one event for each time whoever comes.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Server qw(sqlstate);
use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';

# Runs what must fail; returns the error.
sub refused
{
	my ($node, $where, $sql) = @_;
	my ($status, undef, $stderr) = $node->psql($where, "\\set VERBOSITY verbose\n$sql");

	isnt($status, 0, "refused: $sql");
	return $stderr;
}

# ---------- a server without pg_cron ----------

my $plain = make_server('plain', 'evq.enabled = off');
$plain->safe_psql($database, "CREATE EXTENSION evq; SELECT evq_configure('job', 'FLOW')");
my $schedule = q{SELECT evq_schedule('nightly', '0 3 * * *', 'job', NULL, 'case')};
like(refused($plain, $database, $schedule), qr/ERROR:  EQ007: pg_cron is not installed\nHINT:  Put pg_cron into shared_preload_libraries/, 'without pg_cron');
like(refused($plain, $database, "SET cron.database_name = 'postgres'; $schedule"), qr/EQ007: pg_cron is not installed/, 'a setting made up changes nothing');
is($plain->safe_psql($database, 'SELECT count(*) FROM evq.schedules'), 0, 'no schedule was made');
$plain->safe_psql($database, q{SELECT evq_schedule('nightly', '0 3 * * *', 'job', NULL, 'case', make_job => false)});
$plain->safe_psql($database, q{UPDATE evq.schedule SET done_until = done_until - interval '2 days'});
is($plain->safe_psql($database, 'SELECT evq.catch_up_schedules()'), 1, 'it can be run by something else');
$plain->safe_psql($database, q{UPDATE evq.schedule SET has_job = true});
is($plain->safe_psql($database, q{SELECT evq_unschedule('nightly')}), '', 'what is left after pg_cron has gone can be removed');
$plain->stop;

# ---------- jobs, in the database of pg_cron and in another one ----------

my $node = make_server('main', "shared_preload_libraries = 'evq,pg_cron'", "cron.database_name = '$database'", 'cron.use_background_workers = on');
my $user = $node->safe_psql($database, 'SELECT current_user');
$node->safe_psql($database, "CREATE EXTENSION evq; SELECT evq_configure('job', 'FLOW', lifespan => '1 day')");
make_database($node, 'far');
sub has_job { return $node->safe_psql($_[0], q{SELECT has_job FROM evq.schedule WHERE name = 'nightly'}) }
$node->safe_psql($database, $schedule);
is(has_job($database), 'f', 'without the extension pg_cron the engine runs a schedule alone');
$node->safe_psql($database, 'CREATE EXTENSION pg_cron');

sub jobs { return $node->safe_psql($database, 'SELECT jobname, schedule, command, database, username, active FROM cron.job ORDER BY jobname') }

sub job
{
	my ($where, $name, $cron) = @_;

	return "evq $where $name|$cron|SELECT evq.run_due_schedule('$name')|$where|$user|t";
}

$node->safe_psql($database, $schedule);
is(jobs(), job($database, 'nightly', '0 3 * * *'), 'a schedule has a job');
$node->safe_psql($database, q{SELECT evq_schedule('nightly', ' @yearly ', 'job', NULL, 'case')});
is(jobs(), job($database, 'nightly', '0 0 1 1 *'), 'replaced: the job is changed; pg_cron is given the five fields');
$node->psql($database, q{BEGIN; SELECT evq_schedule('rolled_back', '0 3 * * *', 'job', NULL, 'case'); ROLLBACK});
is(jobs(), job($database, 'nightly', '0 0 1 1 *'), 'rolled back: no job');
is(sqlstate($node, q{SELECT evq_schedule('bad', '0 0 30 2 *', 'job', NULL, 'case')}), 'EQ006', 'a time that never comes');
$node->safe_psql($database, q{SELECT evq_pause_schedule('nightly'); DELETE FROM cron.job; SELECT evq_resume_schedule('nightly')});
is(jobs(), job($database, 'nightly', '0 0 1 1 *'), 'resuming makes a job that was lost');
$node->safe_psql($database, q{SELECT evq_unschedule('nightly')});
is(jobs(), '', 'unscheduled: the job is gone');

# What evq takes, pg_cron takes too.
for my $cron ('* * * * *', '*/15 * * * *', '5-59/20 * * * *', '0,30 9-17 * * *', '0 12 * * mon-fri', '0 12 * * SUN', '0 12 * * 7', '0 0 * feb,JUL *', '0 0 29 2 *',
	'07 010 * * *', '* * * * sat,1-3', '@hourly', '@daily', '@weekly', '@monthly', '@yearly')
{
	is($node->psql($database, "BEGIN; SELECT evq_schedule('tried', '$cron', 'job', NULL, 'case'); ROLLBACK"), 0, "pg_cron takes $cron");
}

$node->safe_psql('far', $schedule);
is(has_job('far'), 'f', 'from another database, without dblink: the engine alone');
$node->safe_psql('far', 'CREATE SCHEMA "odd ""schema"; CREATE EXTENSION dblink SCHEMA "odd ""schema"');
$node->safe_psql($database, 'CREATE ROLE operator LOGIN; GRANT evq_operator TO operator');
$node->safe_psql('far', "SET ROLE operator; $schedule");
is(jobs(), job('far', 'nightly', '0 3 * * *'), '... an operator can, through dblink');
like(refused($node, 'far', q{SET ROLE operator; SELECT evq.call_cron('pg_sleep(0)', '')}), qr/42501/, '... and nothing else of the kind');
like(refused($node, $database, q{SET ROLE operator; SELECT cron.schedule_in_database('x', '* * * * *', 'SELECT', 'far')}), qr/42501/, '... nor in the database of pg_cron');
is($node->psql('far', q{SET ROLE operator; SELECT evq_schedule('it''s', '* * * * *', 'job', NULL, 'case')}), 3, 'a name with a quote is refused');
$node->safe_psql('far', q{SELECT evq_unschedule('nightly')});
is(jobs(), '', '... and the job is removed from there');

# pg_cron is not there.
$node->safe_psql($database, 'DROP EXTENSION pg_cron');
$node->safe_psql('far', $schedule);
is(has_job('far'), 'f', 'pg_cron is not installed there: the engine alone');
$node->safe_psql($database, q{CREATE SCHEMA cron; CREATE FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) RETURNS bigint
	LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'});
$node->safe_psql($_, $schedule) for $database, 'far';
is(has_job($_), 'f', "$_: what somebody else has put in its place is not called") for $database, 'far';
$node->safe_psql($database, 'DROP SCHEMA cron CASCADE; CREATE EXTENSION pg_cron');

# ---------- a minute comes ----------

for my $where ($database, 'far')
{
	$node->safe_psql($where, q{
		SELECT evq_schedule('minutely', '* * * * *', 'job', NULL, 'case', '{"by": "cron"}');
		SELECT evq_schedule('paused', '* * * * *', 'job', NULL, 'case'), evq_pause_schedule('paused')});
}
$node->safe_psql($database, q{
	SELECT evq_schedule('failing', '* * * * *', 'job', NULL, 'failing');
	UPDATE cron.job SET command = 'SELECT 1/0' WHERE jobname = 'evq postgres failing'});
ok(poll_until("a run in $_", sub { $node->safe_psql($_, q{SELECT published > 0 FROM evq.schedules WHERE name = 'minutely'}) eq 't' }, 150), "$_: pg_cron runs a schedule")
  for $database, 'far';
ok(poll_until('the failed run', sub { $node->safe_psql($database, q{SELECT cron_message FROM evq.schedules WHERE name = 'failing'}) =~ /division by zero/ }),
	"evq.schedules tells what pg_cron says of a job that failed");
for my $where ($database, 'far')
{
	$node->safe_psql($where, q{SELECT evq_pause_schedule('minutely')});
	is( $node->safe_psql($where, q{
			SELECT count(*) = s.published, bool_and(d.event #>> '{headers, schedule}' = 'minutely'), max(d.event #>> '{headers, slot}')::timestamptz = s.last_run_at, count(DISTINCT d.event #>> '{headers, slot}') = count(*),
				bool_and(d.event -> 'payload' = '{"by": "cron"}')
			FROM evq.schedules s, evq.events e, LATERAL (SELECT evq_event(e.event_id) AS event) d WHERE s.name = 'minutely' AND e.flow_id = 'case' GROUP BY s.published, s.last_run_at}),
		't|t|t|t|t', "$where: one event for the minute");
	is($node->safe_psql($where, q{SELECT published, last_event_id IS NULL FROM evq.schedules WHERE name = 'paused'}), '0|t', "$where: none of the paused one");
}
is($node->safe_psql($database, q{SELECT count(*) FROM cron.job_run_details WHERE command ~ 'paused' AND status = 'failed'}), 0, '... whose job does not fail');
like($node->safe_psql($database, q{SELECT cron_message IS NULL FROM evq.schedules WHERE name = 'minutely'}), qr/^t$/, 'of the others it says nothing');
$node->safe_psql($_, 'SELECT evq_unschedule(name) FROM evq.schedules') for $database, 'far';
is(jobs(), '', 'all jobs are gone');

# ---------- several at once ----------

sub events_of
{
	my ($name) = @_;

	return $node->safe_psql($database, "SELECT count(*) FROM evq.idempotency WHERE idempotency_key LIKE 'schedule $name %'");
}

sub miss
{
	my ($name, $minutes) = @_;

	$node->safe_psql($database, "UPDATE evq.schedule SET done_until = evq.minute_now() - interval '$minutes min' WHERE name = '$name'");
	return;
}

# The engine is not to come first.
$node->safe_psql($database, 'ALTER SYSTEM SET evq.enabled = off');
$node->reload;
ok(poll_until('no dispatcher', sub { $node->safe_psql($database, 'SELECT running FROM evq_status()') eq 'f' }), 'the engine is off');
$node->safe_psql($database, q{SELECT evq_schedule('contended', '0-58/2 * * * *', 'job', NULL, 'case', misfire => 'all', make_job => false)});
miss('contended', 600);
my $slots = $node->safe_psql($database, q{SELECT evq.cron_count(cron, done_until, evq.minute_now()) FROM evq.schedule});
ok(run_workers($node, $database, 8, q{SELECT evq.run_due_schedule('contended'), evq.catch_up_schedules()}), 'eight sessions at once');
is($node->safe_psql($database, 'SELECT count(*) FROM evq.idempotency WHERE idempotency_key LIKE ' . "'schedule contended %'"), $node->safe_psql($database, 'SELECT published FROM evq.schedules'),
	'each time has one event');
cmp_ok(events_of('contended') - $slots, '<=', 1, '... of each time');

$node->safe_psql($database, q{SELECT evq_schedule('shared', '@yearly', 'job', NULL, 'case', make_job => false)});
for my $end (qw(COMMIT ROLLBACK))
{
	my $before = events_of('shared');
	miss('shared', 600 * 24 * 60 * ($end eq 'COMMIT' ? 1 : 2));
	$node->safe_psql($database, q{DELETE FROM evq.idempotency}) if $end eq 'ROLLBACK';
	my ($first, $second) = map { session($node, $database) } 1 .. 2;

	is($first->query_safe(q{BEGIN; SELECT evq.run_due_schedule('shared')}), '1', "$end: the first session publishes");
	is($second->query_safe(q{SELECT evq.catch_up_schedules()}), '0', "$end: catching up does not wait for it");
	my $pid = $second->query_safe('SELECT pg_backend_pid()');
	$second->query_until(qr/asked/, "\\echo asked\nSELECT 'it published ' || evq.run_due_schedule('shared');\n");
	ok(poll_until('a lock', sub { $node->safe_psql($database, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid") eq 'Lock' }), "$end: the second session waits");
	$first->query_safe($end);
	is($second->query_safe('SELECT 1') =~ /it published (\d)/ ? $1 : 'nothing', $end eq 'COMMIT' ? '0' : '1', "$end: what it publishes then");
	is($node->safe_psql($database, q{SELECT count(*) FROM evq.idempotency WHERE idempotency_key LIKE 'schedule shared %'}), 1, "$end: one event in all");
	end_session($_) for $first, $second;
}

# ---------- down time ----------

$node->safe_psql($database, q{
	SELECT evq_schedule('once', '@hourly', 'job', NULL, 'case'), evq_schedule('all', '@hourly', 'job', NULL, 'case', misfire => 'all'),
		   evq_schedule('broken', '@hourly', 'job', NULL, 'case');
	UPDATE evq.schedule SET event_type = 'gone' WHERE name = 'broken'});
my $before = jobs();
miss($_, 300) for qw(once all broken);
$node->safe_psql($database, 'ALTER SYSTEM RESET evq.enabled');
$node->stop('immediate');
$node->start;
wait_for_dispatcher($node, $database);
my $runs = q{SELECT name, published, last_state FROM evq.schedules WHERE name IN ('all', 'once') ORDER BY name};
poll_until('the engine to catch up', sub { $node->safe_psql($database, $runs) =~ /^all\|5.*^once\|1/ms });
is($node->safe_psql($database, $runs) =~ s/awaiting_processing/dispatched/gr,
	"all|5|dispatched\nonce|1|dispatched", 'after a crash and five hours: what was missed, by its rule');
like($node->safe_psql($database, q{SELECT failed > 0, last_error FROM evq.schedules WHERE name = 'broken'}), qr/^t\|EQ001: unknown event type "gone"$/, 'one that errs did not stop them');
is(jobs(), $before, 'the jobs are still there');

$node->stop;
done_testing();
