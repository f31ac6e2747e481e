
=head1 NAME

Evq::Load - work for a server, and the proof that none was lost or done twice

=head1 SYNOPSIS

    my $load = Evq::Load->new($node, $plan);
    $load->start_publisher(type => 'RIDE_REQUESTED', count => 1000, rate => 50);
    $load->start_workers(16);
    ...                                  # whatever the server must survive
    $load->drain(120);
    $load->stop;
    $load->check;

The workers are processes of load_worker.py, the publishers of
load_publisher.py. What the server acknowledged to them they write to files,
which check() compares with the tables. The plan:

    flow, channel     where the workers find their work
    next              { event type => [event types of its spinoffs] }
    fail              { event type => chance of a reported failure }
    dawdle            chance that a worker works on past its permit
    work_seconds      longest time that the work takes
    exclusive         check that nobody else works on an event at the same time
    holds             log from when to when each event is worked on
    effect            SQL that is the work, in the transaction of the report
    accounts          so many rows it is done to: that of the payload's number, modulo this
    bear              SQLSTATEs that workers and publishers meet as they meet a lost connection

=cut

package Evq::Load;

use strict;
use warnings;

use File::Basename qw(dirname);
use JSON::PP   ();
use POSIX qw(WNOHANG);
use Test::More ();
use Time::HiRes qw(time);

use Evq::Server qw(dump_engine wait_until);

my $programs = dirname(dirname(__FILE__));

sub new
{
	my ($class, $node, $plan) = @_;
	my $folder = $node->basedir;
	my $self   = bless {
		node     => $node,
		plan     => $plan,
		folder   => $folder,
		dsn      => $node->connstr('postgres'),
		programs => [] },
	  $class;

	$self->{plan_file} = "$folder/plan.json";
	open my $file, '>', $self->{plan_file} or die "$self->{plan_file}: $!";
	print $file JSON::PP->new->canonical->encode($plan);
	close $file;

	$node->safe_psql(
		'postgres', q{
		CREATE ROLE load_worker LOGIN IN ROLE evq_worker;
		CREATE ROLE load_publisher LOGIN IN ROLE evq_publisher;
		CREATE TABLE load_success (event_id uuid NOT NULL, permit bigint NOT NULL, worker text NOT NULL);
		CREATE INDEX ON load_success (event_id);
		GRANT SELECT, INSERT ON load_success TO load_worker;
		CREATE TABLE load_worker_log (what text, worker text, event_id uuid, permit bigint, attempt int, note text);
		CREATE TABLE load_publisher_log (what text, idempotency_key text, flow_id text, event_id uuid);
	});
	return $self;
}

# also_at(NODE): workers and publishers go to whichever of the servers takes writes.
sub also_at
{
	my ($self, $node) = @_;
	my @nodes = ($self->{node}, $node);

	$self->{dsn} = sprintf 'host=%s port=%s dbname=postgres target_session_attrs=read-write',
	  join(',', map { $_->host } @nodes), join(',', map { $_->port } @nodes);
	return;
}

# through(DSN): workers and publishers go there instead, to a pooler say.
sub through
{
	my ($self, $dsn) = @_;

	$self->{dsn} = $dsn;
	return;
}

# moved_to(NODE): from now on the tables are there.
sub moved_to
{
	my ($self, $node) = @_;

	$self->{node} = $node;
	return;
}

sub _start
{
	my ($self, $kind, $name, @arguments) = @_;
	my $log = "$self->{folder}/$name.tsv";
	my $dsn = "$self->{dsn} user=load_$kind";

	# The program ends when its standard input does. This pipe, unlike those of IPC::Run, is not passed on to a
	# server that is started meanwhile.
	my $pid = open my $stdin, '|-', '/usr/bin/python3', "$programs/load_$kind.py", "--dsn=$dsn", "--log=$log", @arguments
	  or die "could not start $name: $!";
	push @{ $self->{programs} }, { kind => $kind, name => $name, log => $log, pid => $pid, stdin => $stdin };
	return;
}

# Asks a program to end, where it has not, and returns its exit status; what it had to say is in the test's log.
sub _finish
{
	my ($program) = @_;

	if (!exists $program->{status})
	{
		close $program->{stdin};
		$program->{status} = $?;
	}
	return $program->{status};
}

# start_workers(PROCESSES, sessions => N in each, by => next|notify|many|token, batch => N, flow => another, seed => N)
# by many and by token are reported together, with permits or by the token of a batch.
sub start_workers
{
	my ($self, $processes, %options) = @_;

	for (1 .. $processes)
	{
		my $name = "worker" . ++$self->{worker_count};
		$self->_start(
			'worker', $name,
			"--name=$name",
			"--plan=$self->{plan_file}",
			map { "--$_=$options{$_}" } sort keys %options);
	}
	return;
}

# start_publisher(type => ..., count => N, rate => events a second, prefix => of its flow ids, flow => another,
#     together => up to so many a call, alike, seed => N)
sub start_publisher
{
	my ($self, %options) = @_;
	my $name = "publisher" . ++$self->{publisher_count};

	$options{prefix} //= $name;
	$options{flow} //= $self->{plan}{flow};
	$options{bear} = join ',', @{ $self->{plan}{bear} } if $self->{plan}{bear};
	$self->_start('publisher', $name, map { "--$_=$options{$_}" } sort keys %options);
	return;
}

# Has every publisher ended? Dies when a program has ended that should not have.
sub is_published
{
	my ($self) = @_;
	my $published = 1;

	for my $program (grep { !exists $_->{status} } @{ $self->{programs} })
	{
		if (waitpid($program->{pid}, WNOHANG) != $program->{pid})
		{
			$published = 0 if $program->{kind} eq 'publisher';
			next;
		}
		$program->{status} = $?;
		die "$program->{name} ended with status $program->{status}"
		  if $program->{status} != 0 || $program->{kind} ne 'publisher';
	}
	return $published;
}

# Waits until all is published and final; dies, and shows the engine, when that takes too long.
sub drain
{
	my ($self, $seconds) = @_;
	my $node = $self->{node};
	my $ok   = wait_until(
		$seconds,
		sub {
			return 0 unless $self->is_published;
			my ($status, $live) = $node->psql('postgres',
				'SELECT (SELECT count(*) FROM evq.event) + (SELECT count(*) FROM evq.backlog)');
			return $status == 0 && $live eq '0';
		});

	if (!$ok)
	{
		dump_engine($node);
		die "events were not final within $seconds seconds";
	}
	return;
}

# Ends the workers; each must end well.
sub stop
{
	my ($self) = @_;
	my @bad = map { "$_->{name}: status $_->{status}" } grep { _finish($_) != 0 } @{ $self->{programs} };

	Test::More::is(join(', ', @bad), '', 'no worker and no publisher met an unexpected error');
	$self->_read_logs;
	return;
}

sub _read_logs
{
	my ($self) = @_;

	for my $program (@{ $self->{programs} })
	{
		next unless -e $program->{log};
		my $null = $program->{kind} eq 'publisher' ? "NULL ''" : "NULL '\\N'";
		$self->{node}->safe_psql('postgres',
			"\\copy load_$program->{kind}_log FROM '$program->{log}' WITH ($null)");
	}

	# Many of the checks look for children.
	$self->{node}->safe_psql(
		'postgres', q{
		CREATE TABLE load_event AS SELECT * FROM evq.events;
		CREATE INDEX ON load_event (event_id);
		CREATE INDEX ON load_event (parent_id);
		CREATE INDEX ON load_event (flow_id);
		CREATE INDEX ON load_publisher_log (flow_id);
		ANALYZE;
	});
	return;
}

sub count
{
	my ($self, $sql) = @_;
	return $self->{node}->safe_psql('postgres', "SELECT count(*) $sql");
}

# none(NAME => FROM ..., ...): there is no such row; shows the first ones otherwise.
sub none
{
	my ($self, @checks) = @_;
	my (@names, @queries);

	while (my ($name, $from) = splice @checks, 0, 2)
	{
		push @names,   $name;
		push @queries, "SELECT * $from LIMIT 5;\n\\echo ----\n";
	}
	my @found = split /^----$/m, $self->{node}->safe_psql('postgres', join '', @queries), -1;
	for my $number (0 .. $#names)
	{
		Test::More::is($found[$number] =~ s/^\n//r, '', $names[$number]);
	}
	return;
}

# What holds for any load, whatever happened to the server meanwhile.
sub check
{
	my ($self) = @_;

	$self->none(
		'every acknowledged event exists' =>
		'FROM load_publisher_log l LEFT JOIN load_event e USING (event_id) WHERE l.what = $$published$$ AND e.event_id IS NULL',
		'what was rolled back to a savepoint does not exist' => q{FROM load_event WHERE flow_id = 'rolled back'},
		'every event is final' =>
		'FROM load_event WHERE finished_at IS NULL',
		'no event is in two tables' =>
		'FROM evq.event JOIN evq.event_history USING (event_id)',
		'no event is twice in a table' =>
		'FROM (SELECT event_id FROM evq.events GROUP BY event_id HAVING count(*) > 1) AS twice',
		'every event has its payload, every payload its event' =>
		'FROM evq.payloads p FULL JOIN load_event h USING (event_id) WHERE p.event_id IS NULL OR h.event_id IS NULL',

		'a key published again gave the first id' => q{FROM (SELECT idempotency_key FROM load_publisher_log WHERE what = 'published' AND idempotency_key IS NOT NULL
				GROUP BY idempotency_key HAVING count(DISTINCT event_id) > 1) AS differ},
		'a key made one event' => q{
		FROM (SELECT flow_id FROM load_event e WHERE parent_id IS NULL GROUP BY flow_id HAVING count(*) > 1) AS twice},
		'no two publishes gave the same id' => q{
		FROM (SELECT event_id FROM load_publisher_log WHERE what = 'published'
			  GROUP BY event_id HAVING count(DISTINCT flow_id) > 1) AS same},
		'what exists was published, acknowledged or not' => q{
		FROM load_event e WHERE parent_id IS NULL AND NOT EXISTS (SELECT FROM load_publisher_log l WHERE l.flow_id = e.flow_id)},

		'no success was recorded twice' =>
		'FROM (SELECT event_id, count(*) FROM load_success GROUP BY event_id HAVING count(*) > 1) AS twice',
		'the work was done exactly for the events that succeeded' => q{
		FROM load_success s FULL JOIN (SELECT * FROM load_event WHERE state = 'succeeded') e USING (event_id)
		WHERE s.event_id IS NULL OR e.event_id IS NULL OR s.permit <> e.permit},
		'every acknowledged success is recorded' => q{
		FROM load_worker_log l LEFT JOIN load_event e USING (event_id)
		WHERE l.what = 'succeeded' AND (e.state IS DISTINCT FROM 'succeeded' OR l.permit <> e.permit
										OR l.note::uuid[] <> coalesce(e.spinoff_ids, '{}'))},
		'every acknowledged failure is recorded' => q{
		FROM load_worker_log l LEFT JOIN evq.event_error r ON r.event_id = l.event_id AND r.attempt = l.attempt
		WHERE l.what = 'failed' AND r.event_id IS NULL},
		'no permit was granted twice' => q{
		FROM (SELECT event_id, permit FROM load_worker_log WHERE what = 'acquired'
			  GROUP BY event_id, permit HAVING count(*) > 1) AS twice},
		'nobody worked on an event while another did' => q{FROM load_worker_log WHERE what = 'not_alone'},

		'every attempt ended in one success, failure or timeout' => q{
		FROM (SELECT event_id, e.state, e.attempts_used,
				  (e.state = 'succeeded')::int + (SELECT count(*) FROM evq.event_error r
												  WHERE r.event_id = e.event_id AND r.outcome IN ('retry', 'failed')) AS ends
			  FROM load_event e) AS attempts
		WHERE attempts_used <> ends});

	$self->check_chains;
	return;
}

# Parents and children fit, one to one, as the plan and the configuration say.
sub check_chains
{
	my ($self) = @_;
	my $next   = $self->{plan}{next} // {};
	my @next   = map {
		my $type = $_;
		map { "('$type', '$_')" } @{ $next->{$type} }
	} sort keys %$next;

	$self->none(
		'every spinoff that an event names exists and names it' => q{
		FROM (SELECT event_id, unnest(spinoff_ids) AS child_id FROM load_event) p LEFT JOIN load_event c ON c.event_id = p.child_id
		WHERE c.parent_id IS DISTINCT FROM p.event_id},
		'every child is named by its parent, once, and is of its flow_id' => q{
		FROM load_event c LEFT JOIN load_event p ON p.event_id = c.parent_id
		WHERE c.parent_id IS NOT NULL AND (cardinality(array_positions(p.spinoff_ids, c.event_id)) IS DISTINCT FROM 1
										   OR p.flow_id <> c.flow_id OR c.chain_depth <> p.chain_depth + 1)},
		'every end of an event had the children that it should have' => q{
		FROM (SELECT p.event_id, p.event_type, p.state,
				  ARRAY(SELECT c.event_type FROM load_event c WHERE c.parent_id = p.event_id ORDER BY 1) AS children,
				  CASE WHEN p.state = 'succeeded'
					  THEN ARRAY(SELECT n.next FROM (VALUES ('', ''), } . join(', ', @next, "('', '')") . q{) AS n(event_type, next)
								 WHERE n.event_type = p.event_type ORDER BY 1)
					  ELSE ARRAY(SELECT t.on_fail_event_type FROM evq.event_type t
								 WHERE t.event_type = p.event_type AND t.on_fail_event_type IS NOT NULL
									 AND p.state IN ('failed', 'expired'))
				  END AS wanted
			  FROM load_event p) AS ends
		WHERE children <> wanted});
	return;
}

# A line of figures for the log.
sub figures
{
	my ($self) = @_;
	return $self->{node}->safe_psql(
		'postgres', q{
		SELECT format('%s events: %s; %s attempts, %s refused reports, %s unanswered publishes',
			(SELECT count(*) FROM load_event),
			(SELECT string_agg(format('%s %s', n, state), ', ' ORDER BY state) FROM (SELECT state, count(*) AS n FROM load_event GROUP BY 1) s),
			(SELECT sum(attempts_used) FROM load_event),
			(SELECT count(*) FROM load_worker_log WHERE what = 'refused'),
			(SELECT count(*) FROM load_publisher_log WHERE what = 'unanswered'))});
}

1;
