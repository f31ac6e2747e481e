
=head1 NAME

Evq::Test - databases with evq, sessions that listen, and waiting

=cut

package Evq::Test;

use strict;
use warnings;

use Exporter 'import';
use Test::More;
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use Evq::Server ();

our @EXPORT = qw(
  make_server make_database dispatcher_pid wait_for_dispatcher wait_for_no_dispatcher stop_engine start_engine
  poll_until session end_session listen_to notifications wait_for_notifications
  publish state_of wait_for_state events_in_each_state is_dispatching run_workers wait_for_log log_end
);

# A running server where evq is preloaded and no database has it yet.  The sweep is so rare that what a test sees is not
# its work, unless the settings say otherwise.
sub make_server
{
	my ($name, @settings) = @_;

	return Evq::Server::make_server($name,
		extension => 0,
		conf => join("\n", "evq.poll_interval = '1h'", 'restart_after_crash = off', 'max_worker_processes = 20',
			'max_prepared_transactions = 10', @settings) . "\n");
}

# Makes a database with evq, event type "job" and flow FLOW, and a dispatcher at work.
sub make_database
{
	my ($node, $database) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, q{
		CREATE EXTENSION evq;
		SELECT evq_configure('job', 'FLOW', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}')});
	wait_for_dispatcher($node, $database);
	return $database;
}

# Calls the code until it returns true, and returns that; undef when it takes too long.
sub poll_until
{
	my ($what, $code, $seconds) = @_;
	my $end = time + ($seconds // $PostgreSQL::Test::Utils::timeout_default);

	for (;;)
	{
		my $result = $code->();
		return $result if $result;
		if (time > $end)
		{
			diag("waited too long for: $what");
			return undef;
		}
		usleep(20_000);
	}
}

# ---------- dispatchers ----------

# Process ids of the dispatchers of a database, or of all.
sub dispatcher_pid
{
	my ($node, $database) = @_;
	my $condition = defined $database ? "AND datname = '$database'" : '';

	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'evq dispatcher' $condition ORDER BY pid");
}

# Waits for the dispatcher of a database, other than the one with the process id given.
sub wait_for_dispatcher
{
	my ($node, $database, $not_pid, $seconds) = @_;
	my $condition = defined $not_pid ? "AND pid <> $not_pid" : '';

	return poll_until("dispatcher of $database", sub {
		$node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'evq dispatcher'
			AND application_name = 'evq dispatcher' AND datname = '$database' $condition");
	}, $seconds);
}

sub wait_for_no_dispatcher
{
	my ($node, $database) = @_;

	return poll_until("no dispatcher of $database", sub { dispatcher_pid($node, $database) eq '' });
}

# Stops dispatchers and housekeepers, and waits until they have gone: what a test then does with the tables is not done before it
# by them. Only after the housekeeper's first run, which follows the dispatcher's start.
sub stop_engine
{
	my ($node) = @_;

	$node->append_conf('postgresql.conf', 'evq.enabled = off');
	$node->reload;
	return poll_until('no engine', sub {
		$node->safe_psql('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type IN ('evq dispatcher', 'evq housekeeper'))") eq 't';
	});
}

# Starts them again, with more settings if there are any.
sub start_engine
{
	my ($node, $database, @settings) = @_;

	$node->append_conf('postgresql.conf', join("\n", 'evq.enabled = on', @settings));
	$node->reload;
	return wait_for_dispatcher($node, $database);
}

# ---------- sessions ----------

# A session of psql that stays; see PostgreSQL::Test::BackgroundPsql.
sub session
{
	my ($node, $database) = @_;
	my $session = $node->background_psql($database, on_error_stop => 0);

	$session->set_query_timer_restart;
	return $session;
}

sub end_session
{
	my ($session) = @_;

	$session->{timeout}->start;
	return $session->quit;
}

sub listen_to
{
	my ($node, $database, @channels) = @_;
	my $session = session($node, $database);

	$session->query_safe("LISTEN $_") for @channels;
	$session->{evq_seen} = [];
	return $session;
}

# What a listening session has been notified of so far: [channel, payload] each.
sub notifications
{
	my ($session) = @_;
	my $output = $session->query('SELECT');

	while ($output =~ /Asynchronous notification "([^"]*)"(?: with payload "(.*)")? received/g)
	{
		push @{ $session->{evq_seen} }, [ $1, $2 // '' ];
	}
	return @{ $session->{evq_seen} };
}

# Waits until a session has got so many notifications; returns their payloads.
sub wait_for_notifications
{
	my ($session, $count, $seconds) = @_;

	poll_until("$count notifications", sub { notifications($session) >= $count }, $seconds);
	return map { $_->[1] } @{ $session->{evq_seen} };
}

# ---------- events ----------

# Publishes an event of type "job"; more: further arguments of evq_publish().
sub publish
{
	my ($node, $database, $more) = @_;

	$more = defined $more ? ", $more" : '';
	return $node->safe_psql($database, "SELECT evq_publish('job', NULL, 'case'$more)");
}

sub state_of
{
	my ($node, $database, $event_id) = @_;

	return $node->safe_psql($database, "SELECT state FROM evq.events WHERE event_id = '$event_id'");
}

sub wait_for_state
{
	my ($node, $database, $event_id, $state, $seconds) = @_;

	return poll_until("event $event_id $state", sub { state_of($node, $database, $event_id) eq $state }, $seconds);
}

# Publishes events of type "job", with keys and headers, and brings each into a state; "rescue" is what follows a failure.
# more: further keys and values of the payloads, beside their "state". Returns the permit of the one that is held, then ids by what became of them.
sub events_in_each_state
{
	my ($node, $database, @more) = @_;
	my %event = map { $_ => publish($node, $database, "jsonb_build_object(@{[ join ', ', q('state'), qq('$_'), @more ]}), idempotency_key => 'key of $_', headers => '{\"h\": 1}'") }
	  qw(awaiting dispatched held failed retried succeeded suspended canceled);

	wait_for_state($node, $database, $event{$_}, 'dispatched') for sort keys %event;
	$node->safe_psql($database, qq{
		SELECT evq_succeed('$event{succeeded}', permit, '{"answer": 42}', '[{"event_type": "job", "run_at": "2100-01-01"}]') FROM evq_acquire('$event{succeeded}');
		SELECT evq_fail('$event{failed}', 'beyond repair', permit, 'the trace', false) FROM evq_acquire('$event{failed}');
		SELECT evq_fail('$event{retried}', 'once more', permit, retry_in => '1 hour') FROM evq_acquire('$event{retried}');
		SELECT evq_suspend('$event{suspended}', permit) FROM evq_acquire('$event{suspended}');
		SELECT evq_snooze('$event{awaiting}', permit, now() + interval '2 hours') FROM evq_acquire('$event{awaiting}');
		SELECT evq_cancel('$event{canceled}', 'not wanted')});
	my $permit = $node->safe_psql($database, "SELECT permit FROM evq_acquire('$event{held}', 'a worker')");
	poll_until('on-fail event', sub { $node->safe_psql($database, "SELECT state FROM evq.events WHERE event_type = 'rescue'") eq 'dispatched' });
	return ($permit, %event);
}

# Is an event published now dispatched soon?
sub is_dispatching
{
	my ($node, $database, $seconds) = @_;

	return wait_for_state($node, $database, publish($node, $database), 'dispatched', $seconds);
}

# Runs a statement in so many sessions at the same time, once in each.
sub run_workers
{
	my ($node, $database, $count, $statement) = @_;
	my $script = $node->basedir . '/worker.sql';

	open my $file, '>', $script or die "$script: $!";
	print $file "$statement;\n";
	close $file;
	return $node->run_log([
		'pgbench', '--no-vacuum', '--client', $count, '--jobs', 2, '--transactions', 1,
		'--host', $node->host, '--port', $node->port, '--file', $script, $database ]);
}

# ---------- the server's log ----------

sub log_end
{
	my ($node) = @_;

	return -s $node->logfile;
}

# Waits until the log, from an offset on, matches.
sub wait_for_log
{
	my ($node, $pattern, $offset) = @_;

	return poll_until("log entry $pattern", sub { slurp_file($node->logfile, $offset) =~ $pattern });
}

# Sessions that are asked again and again would fill the log.
{
	no warnings 'redefine';
	*PostgreSQL::Test::BackgroundPsql::note = sub { };
}

1;
