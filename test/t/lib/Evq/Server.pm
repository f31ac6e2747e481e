
=head1 NAME

Evq::Server - servers with evq, and what can happen to them

=cut

package Evq::Server;

use strict;
use warnings;

use Exporter qw(import);
use PostgreSQL::Test::Cluster;
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(dump_engine kill_for_good kill_process kill_server make_server make_standby
  postmaster_pid process_id sqlstate start_again wait_for_dispatcher wait_for_result wait_until);

# The superuser, as whom all connect that name no other role, is the same whoever runs the tests.
$ENV{PGUSER} = 'postgres';
{
	no warnings 'redefine';
	my $init = \&PostgreSQL::Test::Cluster::init;

	*PostgreSQL::Test::Cluster::init = sub {
		my ($node, %options) = @_;

		return $init->($node, %options, extra => [ '--username=postgres', @{ $options{extra} // [] } ]);
	};
}

# A psql that finds no server may be gone before it is told what to do, and IPC::Run would end the test for that: then it
# has failed like any other that has no connection.
{
	no warnings 'redefine';
	my $psql = \&PostgreSQL::Test::Cluster::psql;

	*PostgreSQL::Test::Cluster::psql = sub {
		my ($node, $database, $sql, %options) = @_;
		my $wants_list = wantarray;
		my @result = eval { $wants_list ? $psql->($node, $database, $sql, %options) : scalar $psql->($node, $database, $sql, %options) };

		if (my $error = $@)
		{
			die $error if $options{on_error_die} || $error !~ /Broken pipe/;
			@result = (2, '', $error);
		}
		return $wants_list ? @result : $result[0];
	};
}

# Longest time for the server, and for the dispatcher, to come back.
my $come_back_seconds = 60;

# make_server(NAME, options of init, conf => lines of postgresql.conf): a running server with the extension in "postgres",
# unless extension => 0.
sub make_server
{
	my ($name, %options) = @_;
	my $conf = delete $options{conf} // '';
	my $extension = delete $options{extension} // 1;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%options);
	$node->append_conf('postgresql.conf', <<"END");
shared_preload_libraries = 'evq'
log_statement = none
restart_after_crash = on
max_connections = 100
shared_buffers = 32MB
evq.poll_interval = 1s
$conf
END
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION evq') if $extension;
	return $node;
}

# wait_until(SECONDS, CONDITION): true as soon as CONDITION is, false when the time is over.
sub wait_until
{
	my ($seconds, $condition) = @_;
	my $give_up_at = time + $seconds;

	until ($condition->())
	{
		return 0 if time > $give_up_at;
		sleep 0.1;
	}
	return 1;
}

# make_standby(PRIMARY, NAME, options of init_from_backup): a streaming standby, not yet started.
sub make_standby
{
	my ($primary, $name, %options) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$primary->backup("for_$name");
	$standby->init_from_backup($primary, "for_$name", has_streaming => 1, %options);
	return $standby;
}

# Waits until the query returns what is wanted; dies, and shows the engine, when it does not.
sub wait_for_result
{
	my ($node, $sql, $wanted) = @_;
	my ($status, $rows);

	return
	  if wait_until($come_back_seconds,
		sub { ($status, $rows) = $node->psql('postgres', $sql); return $status == 0 && $rows eq $wanted });
	dump_engine($node);
	die "within $come_back_seconds seconds this did not come to be $wanted, it is $rows: $sql";
}

# The SQLSTATE with which the statements fail; '' = they do not.
sub sqlstate
{
	my ($node, $sql) = @_;
	my ($status, undef, $error) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$sql");

	return $status == 0 ? '' : $error =~ /ERROR:  (\w{5})$/ ? $1 : $error;
}

# The pid of a process by its type, as pg_stat_activity says.
sub process_id
{
	my ($node, $backend_type) = @_;

	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$backend_type'");
}

# Waits for a running dispatcher and returns its pid; dies when there is none.
sub wait_for_dispatcher
{
	my ($node, $database) = @_;
	my $pid;

	return $pid
	  if wait_until(
		$come_back_seconds,
		sub {
			(my $status, $pid) = $node->psql($database // 'postgres',
				'SELECT dispatcher_pid FROM evq_status() WHERE running');
			return $status == 0 && $pid ne '';
		});
	dump_engine($node);
	die "no dispatcher within $come_back_seconds seconds";
}

# Shows, as diagnostics, what the engine is at.
sub dump_engine
{
	my ($node) = @_;

	for my $sql (
		'SELECT * FROM evq_status()',
		'SELECT * FROM evq.queue',
		'SELECT now(), * FROM evq.event ORDER BY state_since LIMIT 20',
		'SELECT pid, backend_type, application_name, state, wait_event_type, wait_event, xact_start, query FROM pg_stat_activity')
	{
		my ($status, $rows, $error) = $node->psql('postgres', "\\x\n$sql", timeout => 30, timed_out => \my $timed_out);
		Test::More::diag($sql, "\n", $rows // '', $error // '', $timed_out ? ' (timed out)' : '');
	}
	return;
}

# Waits until the server accepts connections again, after it has lost them all.
sub _wait_for_connections
{
	my ($node, $why) = @_;

	return
	  if wait_until($come_back_seconds,
		sub { return $node->psql('postgres', 'SELECT', stdout => \my $out, stderr => \my $err) == 0 });
	die "no connection within $come_back_seconds seconds after $why; end of the log:\n"
	  . substr(PostgreSQL::Test::Utils::slurp_file($node->logfile), -4000);
}

# kill_process(NODE, WHERE condition on pg_stat_activity): kill -9 of one such process, chosen at random; false = there
# is none. The server restarts by itself; returns when it is back.
sub kill_process
{
	my ($node, $condition) = @_;
	my ($status, $found) = $node->psql(
		'postgres', qq{
		SELECT pid, (SELECT pg_postmaster_start_time()) FROM pg_stat_activity
		WHERE pid <> pg_backend_pid() AND ($condition) ORDER BY random() LIMIT 1});
	return 0 if $status != 0 || $found eq '';
	my ($pid) = split /\|/, $found;

	return 0 if kill(9, $pid) != 1;
	_wait_for_connections($node, "kill -9 of a process where $condition");
	return 1;
}

# kill -9 of the postmaster, and a new one.
sub kill_server
{
	my ($node) = @_;

	kill_for_good($node);
	start_again($node);
	return;
}

sub postmaster_pid
{
	my ($node) = @_;
	my ($pid) = split /\n/, PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/postmaster.pid');

	return $pid;
}

# kill -9 of the postmaster.
sub kill_for_good
{
	my ($node) = @_;
	my $pid = postmaster_pid($node);

	$node->kill9;
	wait_until($come_back_seconds, sub { return !kill 0, $pid })
	  or die "the killed postmaster $pid is still there";
	return;
}

# Starts a server that was killed or stopped. Processes that have lost their postmaster may still be on their way out.
sub start_again
{
	my ($node) = @_;

	wait_until($come_back_seconds, sub { return $node->start(fail_ok => 1) })
	  or die "the server did not start within $come_back_seconds seconds";
	return;
}

1;
