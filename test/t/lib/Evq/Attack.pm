
=head1 NAME

Evq::Attack - every verb at random, under everything that can happen to a server, and the proof of what became of it

=head1 SYNOPSIS

    my $attack = Evq::Attack->new(seed => 1, sessions => 8);
    $attack->rage(60, promotions => 1);
    $attack->finish;
    $attack->check;

Sessions (attack_client.py) call the verbs and keep journals; operators
(attack_operator.py) do DDL, configure and pause; rage() kills, sets the clock
and promotes standbys. The changes of every event are read from the WAL, in the
order of their commits (attack_record.py), and attack_check.py compares them with
the journals and the tables. attack_plants.py tests attack_check.py; that it always
finds where to plant, attack_certain.py sees to.

=cut

package Evq::Attack;

use strict;
use warnings;

use Fcntl;
use File::Basename qw(basename dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils qw(slurp_file system_or_bail);
use Test::More ();
use POSIX ();
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime sleep time);

use Evq::Server qw(dump_engine kill_for_good kill_process make_server make_standby start_again wait_for_dispatcher wait_until);

my $programs = dirname(dirname(__FILE__));

# new(seed => ..., clients => N processes, sessions => N in each)
sub new
{
	my ($class, %options) = @_;
	# It stays when the test has failed, as the servers' folders do.
	my $folder = "$PostgreSQL::Test::Utils::tmp_check/attack_" . basename($0, ".pl");
	my $self = bless { clients => 2, sessions => 5, %options, folder => $folder, done => {}, seconds => 0, offset => 0, latest => 0, parts => 0, programs => [] }, $class;

	mkdir $folder or die "$folder: $!";
	srand $self->{seed};
	Test::More::note("EVQ_SEED=$self->{seed}");
	$self->{library} = "$folder/set_clock.so";
	$self->{clock}   = "$folder/clock";
	system_or_bail('gcc', '-shared', '-fPIC', '-o', $self->{library}, "$programs/set_clock.c");
	# How far the test's own clock has been set, where it has (TEST_DATE).
	$self->{shift} = $ENV{SET_CLOCK_FILE} ? unpack('q', slurp_file($ENV{SET_CLOCK_FILE})) : 0;
	$self->_set_clock(0);

	$self->{node} = $self->_by_clock(
		sub {
			return make_server('attack' . ++$self->{servers}, allows_streaming => 'logical', conf => <<'END');
max_wal_senders = 10
max_replication_slots = 5
max_prepared_transactions = 100
wal_sender_timeout = 0
wal_receiver_timeout = 0
max_wal_size = 1GB
evq.housekeeping_interval = 5s
evq.ring_size = 512
evq.ready_size = 128
evq.store_batches_from = 2
END
		});
	$self->{node}->safe_psql('postgres', q{
		CREATE ROLE attack_client LOGIN IN ROLE evq_operator;
		CREATE TABLE attack_mark (txn text PRIMARY KEY);
		GRANT SELECT, INSERT ON attack_mark TO attack_client});
	$self->_configure;
	$self->_record('begin', $self->_dsn, $self->_part('state'));
	$self->_tell_where;
	$self->_start('client', "client$_", '--sessions', $self->{sessions}, '--name', "client$_") for 1 .. $self->{clients};
	$self->_start('operator', 'operator');
	return $self;
}

sub _psql { my ($self, $sql) = @_; return $self->{node}->safe_psql('postgres', $sql) }
sub _configure { my ($self) = @_; return $self->_psql(scalar `/usr/bin/python3 '$programs/attack_world.py'`) }
sub _dsn { my ($self) = @_; return $self->{node}->connstr('postgres') . ' user=postgres' }

sub _part
{
	my ($self, $what) = @_;
	return sprintf '%s/%s%02d.json', $self->{folder}, $what, $self->{parts};
}

# Does something with the server's programs running by the clock that _set_clock() sets.
sub _by_clock
{
	my ($self, $code) = @_;
	local $ENV{LD_PRELOAD}     = $self->{library};
	local $ENV{SET_CLOCK_FILE} = $self->{clock};

	return $code->();
}

sub _set_clock
{
	my ($self, $offset) = @_;

	sysopen my $file, $self->{clock}, O_WRONLY | O_CREAT or die "$self->{clock}: $!";
	syswrite $file, pack('q', $self->{shift} + $offset);
	close $file or die "$self->{clock}: $!";
	$self->{offset} = $offset;
	$self->{latest} = $offset if $offset > $self->{latest};
	return;
}

# Where sessions find the server: a file, replaced as a whole.
sub _tell_where
{
	my ($self) = @_;

	open my $file, '>', "$self->{folder}/where.new" or die "where: $!";
	print $file $self->{node}->connstr('postgres');
	close $file;
	rename "$self->{folder}/where.new", "$self->{folder}/where" or die "where: $!";
	return;
}

sub _record
{
	my ($self, @arguments) = @_;

	system_or_bail('/usr/bin/python3', "$programs/attack_record.py", @arguments);
	return;
}

sub _start
{
	my ($self, $kind, $name, @arguments) = @_;
	my $log = "$self->{folder}/$name.log";

	# See Evq::Load on this pipe.
	my $pid = open my $stdin, '|-', '/usr/bin/python3', "$programs/attack_$kind.py", "--where=$self->{folder}/where",
	  "--seed=$self->{seed}", "--log=$log", @arguments
	  or die "could not start $name: $!";
	$stdin->autoflush;
	push @{ $self->{programs} }, { kind => $kind, name => $name, log => $log, pid => $pid, stdin => $stdin };
	return;
}

sub _tell
{
	my ($self, $kind, $command) = @_;

	print { $_->{stdin} } "$command\n" for grep { $_->{kind} eq $kind } @{ $self->{programs} };
	return;
}

sub _journals
{
	my ($self) = @_;
	return map { $_->{log} } grep { $_->{kind} eq 'client' } @{ $self->{programs} };
}

# ---------- what happens to the server ----------

my %deeds = (
	'kill -9 of a session'        => [ 4, sub { return kill_process($_[0]{node}, "application_name LIKE 'client%'") } ],
	'kill -9 of the dispatcher'   => [ 3, sub { return kill_process($_[0]{node}, "backend_type = 'evq dispatcher'") } ],
	'kill -9 of the launcher'     => [ 1, sub { return kill_process($_[0]{node}, "backend_type = 'evq launcher'") } ],
	'kill -9 of the housekeeper'  => [ 1, sub { return kill_process($_[0]{node}, "backend_type = 'evq housekeeper'") } ],
	'kill -9 of the postmaster'   => [ 3, \&_kill_postmaster ],
	'kill -9 of the standby'      => [ 1, \&_kill_standby ],
	'stop'                        => [ 2, \&_stop ],
	'end of a session'            => [ 3, sub { return $_[0]->_terminate("application_name LIKE 'client%'") } ],
	'end of the dispatcher'       => [ 3, sub { return $_[0]->_terminate("backend_type = 'evq dispatcher'") } ],
	'clock'                       => [ 6, \&_step_clock ],
	'evq.enabled off and on'      => [ 1, \&_disable ],
	'checkpoint'                  => [ 1, sub { return $_[0]->_try('CHECKPOINT') } ],
);

# Runs a statement; a server that is just on its way up or down may refuse it.
sub _try
{
	my ($self, $sql) = @_;
	my ($status, $rows) = $self->{node}->psql('postgres', $sql, stdout => \my $out, stderr => \my $err);

	return 0 + ($status == 0);
}

sub _terminate
{
	my ($self, $condition) = @_;
	return $self->_try("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND $condition ORDER BY random() LIMIT 1");
}

sub _kill_postmaster
{
	my ($self) = @_;

	kill_for_good($self->{node});
	$self->_by_clock(sub { start_again($self->{node}) });
	return 1;
}

sub _kill_standby
{
	my ($self) = @_;

	return 0 unless $self->{standby};
	kill_for_good($self->{standby});
	$self->_by_clock(sub { start_again($self->{standby}) });
	return 1;
}

sub _stop
{
	my ($self) = @_;

	$self->{node}->stop('immediate');
	$self->_by_clock(sub { start_again($self->{node}) });
	return 1;
}

sub _step_clock
{
	my ($self) = @_;
	my $offset = $self->{offset} + (-1) ** int(rand 2) * (1, 5, 30, 300, 3600)[ rand 5 ] * rand;

	# It is put right, too.
	$self->_set_clock(rand() < 0.3 ? 0 : int $offset);
	return 1;
}

sub _disable
{
	my ($self) = @_;

	$self->{node}->append_conf('postgresql.conf', 'evq.enabled = off');
	$self->{node}->reload;
	sleep rand 2;
	$self->{node}->append_conf('postgresql.conf', 'evq.enabled = on');
	$self->{node}->reload;
	return 1;
}

# A clock that goes back has PostgreSQL look for deadlocks, and end a wait for a lock, that much later: who has waited for long is ended.
sub _end_long_waits
{
	my ($self) = @_;

	return if time < ($self->{look_at} // 0);
	my ($status, $waiting) = $self->{node}->psql('postgres',
		q{SELECT pid || ' ' || coalesce(xact_start::text, '') || query_start FROM pg_stat_activity
		  WHERE wait_event_type = 'Lock' AND (application_name LIKE 'client%' OR application_name IN ('ddl', 'configure'))},
		stdout => \my $out, stderr => \my $err);
	my %waiting = $status != 0 ? () : map { $_ => 1 } split /\n/, $waiting // $out // '';

	for my $stuck (grep { $self->{waited}{$_} } keys %waiting)
	{
		my ($pid) = split / /, $stuck;
		$self->{done}{'end of a long wait'}++ if $self->_try("SELECT pg_terminate_backend($pid)");
	}
	$self->{waited}  = \%waiting;
	$self->{look_at} = time + 8;
	return;
}

# ---------- standbys ----------

sub _make_standby
{
	my ($self) = @_;
	my $node = $self->{node};

	$self->{standby} = make_standby($node, 'attack' . ++$self->{servers});
	$self->{standby}->append_conf('postgresql.conf', "synchronous_standby_names = ''\nevq.enabled = on\n");
	$self->_by_clock(sub { $self->{standby}->start });
	$node->append_conf('postgresql.conf', "synchronous_standby_names = '*'\n");
	$node->reload;
	wait_until(120, sub { return ($node->psql('postgres', q{SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'}))[1] eq '1' })
	  or die 'the standby does not become synchronous';
	return;
}

# Loses the server and promotes its standby. What the lost one had committed, as far as the new one goes on from it, is written down.
sub _promote
{
	my ($self) = @_;
	my ($lost, $node) = @{$self}{qw(node standby)};

	my $since = clock_gettime(CLOCK_MONOTONIC);
	kill_for_good($lost);
	$node->promote;
	@{$self}{qw(node standby)} = ($node, undef);
	$self->_tell_where;
	$self->{done}{promotion}++;
	Test::More::note('promoted a standby');

	my ($history) = sort { $b cmp $a } glob $node->data_dir . '/pg_wal/*.history';
	my ($fork) = slurp_file($history) =~ m{^\d+\t([0-9A-F]+/[0-9A-F]+)\t[^\n]*\n*\z}m or die "no fork in $history";
	my $begun = $self->_part('history');

	# Prepared transactions are waited for by who begins to read changes: they are ended, by whoever.
	$self->{parts}++;
	my $late = "$self->{folder}/late.log";
	my $begin = fork // die "fork: $!";
	if ($begin == 0)
	{
		exec '/usr/bin/python3', "$programs/attack_record.py", 'begin', $self->_dsn, $self->_part('state'), $since or die;
	}
	while (waitpid($begin, POSIX::WNOHANG()) != $begin)
	{
		$self->_record('prepared', $self->_dsn, $late, $self->_journals);
		sleep 0.5;
	}
	die "no slot: $?" if $? != 0;

	$lost->append_conf('postgresql.conf', "evq.enabled = off\nsynchronous_standby_names = ''\n");
	$self->_by_clock(sub { start_again($lost) });
	$self->_record('history', $lost->connstr('postgres') . ' user=postgres', $fork, $begun);
	$lost->stop('immediate');
	system 'rm', '-rf', $lost->data_dir;
	return;
}

# ---------- the run ----------

# rage(SECONDS, promotions => N, every => [shortest, longest] seconds)
sub rage
{
	my ($self, $seconds, %options) = @_;
	my ($shortest, $longest) = @{ $options{every} // [ 0.5, 4 ] };
	my $promotions = $options{promotions} // 0;
	my $began_at = time;
	my @lot = map { ($_) x $deeds{$_}[0] } grep { !$ENV{EVQ_WITHOUT} || !/$ENV{EVQ_WITHOUT}/ } sort keys %deeds;

	$self->_make_standby if $promotions;
	for (my $promoted = 0; time < $began_at + $seconds || $promoted < $promotions;)
	{
		my $strike_at = time + $shortest + rand($longest - $shortest);

		while (time < $strike_at)
		{
			$self->_end_long_waits;
			sleep 0.1;
		}
		$self->_is_alive;
		if ($promoted < $promotions && time > $began_at + $seconds * ($promoted + 0.7) / $promotions)
		{
			$self->_promote;
			$promoted++;
			$self->_make_standby if $promoted < $promotions;
			next;
		}
		my $deed = $lot[ rand @lot ];
		$self->{done}{$deed}++ if $deeds{$deed}[1]->($self);
		Test::More::note($deed);
	}
	$self->{seconds} = time - $began_at;
	return;
}

sub _is_alive
{
	my ($self) = @_;

	for my $program (@{ $self->{programs} })
	{
		die "$program->{name} ended" if waitpid($program->{pid}, POSIX::WNOHANG()) != 0;
	}
	return;
}

# Lets everything come to its end.
sub finish
{
	my ($self) = @_;
	my $node = $self->{node};
	my $late = "$self->{folder}/late.log";

	# What was published while the clock was ahead is due.
	$self->_set_clock($self->{latest});
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''\nevq.enabled = on\n");
	$node->reload;
	wait_for_dispatcher($node);
	$self->_tell('operator', 'drain');
	$self->_tell('client',   'drain');
	wait_until(120, sub {
		$self->_end_long_waits;
		$self->_record('prepared', $self->_dsn, $late, $self->_journals);
		return $self->_psql('SELECT count(*) FROM pg_prepared_xacts') eq '0' && slurp_file("$self->{folder}/operator.log") =~ /^drained/m;
	}) or die 'operators do not come to an end';

	# Long suspensions, long permits and long delays are over.
	$self->_set_clock($self->{latest} + 120);
	my $over = wait_until(240, sub { $self->_end_long_waits; return $self->_psql('SELECT (SELECT count(*) FROM evq.event) + (SELECT count(*) FROM evq.backlog)') eq '0' });
	if (!$over)
	{
		Test::More::diag($self->_psql(q{SELECT flow_type, event_type, state, count(*), min(attempt_scheduled_at), max(due_at), now() FROM evq.events WHERE finished_at IS NULL GROUP BY 1, 2, 3}));
		dump_engine($node);
	}
	Test::More::ok($over, 'in the end all events are final');
	my @bad = grep { close $_->{stdin}; $? != 0 } @{ $self->{programs} };
	Test::More::is(join(', ', map { $_->{name} } @bad), '', 'no session met an error that it should not');

	$self->_tell_certain;
	$self->_check_counters;
	$self->_record('history', $self->_dsn, 'all', $self->_part('history'));
	$self->_record('tables', $self->_dsn, "$self->{folder}/tables.json");
	return;
}

# What chance may have left out, or had happen only before a promotion, happens in the last part of each run's history.
sub _tell_certain
{
	my ($self) = @_;

	$self->_configure;
	system_or_bail('/usr/bin/python3', "$programs/attack_certain.py", "--where=$self->{folder}/where", "--log=$self->{folder}/client_certain.log");
	return;
}

# The counters agree with the tables, for events in each state that lasts; the doctor has nothing to say of them.
sub _check_counters
{
	my ($self) = @_;
	my $node = $self->{node};

	$self->_psql(q{SELECT count(evq_publish('PULL.plain', NULL, 'last', run_at => clock_timestamp() + interval '50 min')) FROM generate_series(1, 7);
		SELECT evq_publish('PUSH.plain', NULL, 'last', run_at => clock_timestamp() + interval '50 min')});
	my $differ;
	my $agree = wait_until(60, sub {
		$differ = $self->_psql(q{
			SELECT t.event_type, s.state, coalesce(c.value, 0), coalesce(q.events, 0)
			FROM evq.event_type t CROSS JOIN (VALUES ('awaiting_processing'), ('dispatched'), ('being_processed'), ('suspended')) s(state)
			LEFT JOIN evq.counters() c ON c.no = t.event_type_no AND c.name = 'live/' || s.state
			LEFT JOIN evq.queue q ON q.event_type = t.event_type AND q.state::text = s.state
			WHERE coalesce(c.value, 0) <> coalesce(q.events, 0)});
		return $differ eq '';
	});
	Test::More::is($differ, '', 'the counters agree with the tables');
	Test::More::is($self->_psql(q{SELECT string_agg(subject || ': ' || finding, '; ') FROM evq_check() WHERE severity = 'error' AND subject NOT IN ('clock', 'durability')}), '', 'evq_check() finds no error');
	$self->_psql(q{SELECT evq_cancel(event_id) FROM evq.events WHERE flow_id = 'last' AND finished_at IS NULL});
	return;
}

# check(plants => 1): runs the checker, and has it find what is planted into this very run.
sub check
{
	my ($self, %options) = @_;
	my $output = "$self->{folder}/check.out";
	my $plant = $options{plants} ? " && /usr/bin/python3 '$programs/attack_plants.py' '$self->{folder}'" : '';

	system "(/usr/bin/python3 '$programs/attack_check.py' '$self->{folder}'$plant) >'$output' 2>&1";
	my $status = $?;
	my @lines = split /\n/, slurp_file($output);

	Test::More::is($status, 0, 'the checker comes to its end');
	Test::More::is(join("\n", grep { /^violation/ } @lines), '', 'nothing is lost, double, out of order or unexplained');
	Test::More::is(join("\n", grep { /^missed/ } @lines), '', 'the checker finds each fault that is planted into a copy of its data') if $options{plants};
	Test::More::diag(join ', ', "seed $self->{seed}", sprintf('%d s', $self->{seconds}), map { "$self->{done}{$_} $_" } sort keys %{ $self->{done} });
	Test::More::diag($_) for grep { /^(figures|counts)/ } @lines, split /\n/, slurp_file("$self->{folder}/operator.log");
	Test::More::diag($_) for grep { !/^(figures|violation|missed)/ } @lines;
	Test::More::is(join("\n", grep { /^unexpected/ } split /\n/, slurp_file("$self->{folder}/operator.log")), '', 'operators met no error but of locks');
	$self->{node}->stop('immediate');
	$self->{standby}->stop('immediate') if $self->{standby};
	return;
}

1;
