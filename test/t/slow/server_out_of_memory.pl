# Memory runs out in each place of each verb: a clean error, nothing is left behind, and the same session goes on. test/fault/malloc.c
# lets single allocations of a process fail, or all from one on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Evq::Test;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $library = "$PostgreSQL::Test::Utils::tmp_check/malloc.so";
my $fault = "$PostgreSQL::Test::Utils::tmp_check/fault";
system('cc', '-O1', '-fPIC', '-shared', '-o', $library, "$FindBin::Bin/../../fault/malloc.c") == 0 or die 'test/fault/malloc.c does not compile';
append_to_file($fault, "\0" x 32);

# PL/pgSQL is loaded, as PostgreSQL ends a session in which that fails half-way.
my $node;
{
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{EVQ_FAULT_FILE} = $fault;
	$node = make_server('main', "evq.poll_interval = '200ms'", "shared_preload_libraries = 'evq,plpgsql'", 'log_error_verbosity = verbose');
}
make_database($node, 'db');
$node->safe_psql('db', q{
	SELECT evq_configure('rescue', 'FLOW');
	SELECT evq_configure('frail', 'FLOW', 1, '1 day', '{0}', attempt_timeout => '1 hour', on_fail_event_type => 'rescue')});

my $large = q{(SELECT jsonb_agg(repeat(n::text, 8)) FROM generate_series(1, 20000) n)};
my $event = q{evq_publish('job', NULL, 'f', (SELECT jsonb_object_agg(n, md5(n::text)) FROM generate_series(1, 200) n))};
my $held = "SELECT event_id::text, permit FROM evq_acquire($event)";
my $held_frail = q{SELECT event_id::text, permit FROM evq_acquire(evq_publish('frail', NULL, 'f'))};

# psycopg2's way to write parameters.
my %statements = (
	publish => { call => q{SELECT evq_publish('job', NULL, 'f', '{"a": 1}')} },
	publish_large => { call => "SELECT evq_publish('job', NULL, 'f', $large, headers => '{\"a\": 1}', idempotency_key => clock_timestamp()::text)" },
	publish_many => { call => q{SELECT count(*) FROM evq_publish_many((SELECT jsonb_agg(jsonb_build_object('event_type', 'job', 'flow_id', n::text, 'payload', n)) FROM generate_series(1, 1000) n))} },
	publish_arrays => { call => q{SELECT count(*) FROM evq_publish_many('job', NULL, array_fill('f'::text, '{1000}'), array_fill('{"a": 1}'::jsonb, '{1000}'))} },
	acquire => { before => "SELECT $event", call => 'SELECT payload FROM evq_acquire(%(1)s)' },
	acquire_next => { before => "SELECT count(*) FROM evq_publish_many('job', NULL, array_fill('f'::text, '{20}'), array_fill('{\"a\": 1}'::jsonb, '{20}'))",
		call => q{SELECT count(*) FROM evq_acquire_next('FLOW', 10)} },
	heartbeat => { before => $held, call => 'SELECT held FROM evq_heartbeat(ARRAY[%(1)s::uuid], ARRAY[%(2)s])' },
	succeed => { before => $held, call => q{SELECT evq_succeed(%(1)s, %(2)s, '{"r": 1}',
		(SELECT jsonb_agg(jsonb_build_object('event_type', 'job', 'payload', n)) FROM generate_series(1, 500) n))} },
	succeed_and_acquire => { before => $held, call => q{SELECT count(*) FROM evq_succeed_and_acquire('FLOW', ARRAY[%(1)s::uuid], ARRAY[%(2)s], 50)} },
	fail => { before => $held_frail, call => q{SELECT evq_fail(%(1)s, repeat('x', 100000), %(2)s, repeat('y', 100000))} },
	suspend => { before => $held, call => 'SELECT evq_suspend(%(1)s, %(2)s)' },
	activate => { before => "SELECT event_id::text FROM ($held) AS h, LATERAL (SELECT evq_suspend(event_id::uuid, permit)) AS s",
		call => q{SELECT evq_activate(%(1)s, '{"b": 2}')} },
	cancel => { before => "SELECT $event", call => q{SELECT evq_cancel(%(1)s, 'why')} },
	retry => { before => "SELECT event_id::text FROM (SELECT $event AS event_id) AS e, LATERAL (SELECT evq_cancel(event_id)) AS c", call => q{SELECT evq_retry(%(1)s)} },
	configure => { call => q{SELECT evq_configure('rescue', max_attempts => 5)} },
	tick => { call => 'SELECT evq_tick()' },
	event => { before => "SELECT $event", call => 'SELECT evq_event(%(1)s)' },
	events => { call => q{SELECT * FROM evq.events LEFT JOIN evq.payloads USING (event_id) LIMIT 100} },
	metrics => { call => 'SELECT evq_metrics(), evq_counts()' },
	status => { call => 'SELECT evq_status(), evq_check()' },
);
my $wanted = $ENV{EVQ_STATEMENTS} // '';
delete @statements{ grep { $wanted ne '' && $wanted !~ /\b$_\b/ } keys %statements };

my $log = log_end($node);
for my $name (sort keys %statements)
{
	# The tables are to stay small, and what is to be offered few.
	$node->safe_psql('db', 'SELECT count(evq_cancel(event_id)) FROM evq.event');
	IPC::Run::run(
		[ '/usr/bin/python3', "$FindBin::Bin/../lib/out_of_memory.py", '--dsn', $node->connstr('db'), '--fault', $fault ],
		'<', \JSON::PP->new->encode({ $name => $statements{$name} }), '>', \my $said, '2>', \my $error);
	is($error, '', "$name: the sweep comes to its end");
	is(join('', grep { /^wrong/ } map { "$_\n" } split /\n/, $said), '', '... an error each time, or nothing; no lock is left, and the next call works');
	diag($_) for grep { !/^wrong/ } split /\n/, $said;
}
my $text = slurp_file($node->logfile, $log);
unlike($text, qr/PANIC:|TRAP:|terminated by signal/, 'no process crashed');
is(join("\n", grep { !/LOCATION:  guc_/ } $text =~ /FATAL:.*\n.*LOCATION:.*/g), '', 'no session ended but where PostgreSQL could not set a setting');

# ---------- the dispatcher ----------

# Few notifications: after the commit of many, PostgreSQL 15 itself allocates memory, and goes down if there is none.
$node->safe_psql('db', q{SELECT evq_configure_flow('FLOW', delivery => 'pull', dispatch_timeout => '500 ms')});

# Tells the processes which allocation shall fail.
sub write_fault
{
	my ($pid, $countdown, $lasts) = @_;

	open my $file, '+<:raw', $fault or die "$fault: $!";
	syswrite $file, pack('q<4', 0, $countdown, $lasts, 0);
	sysseek $file, 0, 0;
	syswrite $file, pack('q<', $pid);
	close $file;
	return;
}

sub failures { return unpack 'x24 q<', slurp_file($fault) }

# One allocation of the dispatcher fails, or all from one on, while it has every kind of work.
sub test_dispatcher
{
	my ($countdown, $lasts) = @_;
	my $pid = wait_for_dispatcher($node, 'db');

	write_fault($pid, $countdown, $lasts);
	$node->safe_psql('db', q{
		SELECT count(*) FROM evq_publish_many('frail', NULL, array_fill('x'::text, '{1000}'), array_fill(to_jsonb(repeat('x', 1000)), '{1000}'));
		SELECT count(*) FROM evq_acquire_next('FLOW', 300, permit_for => '1 ms')});
	poll_until('failure', sub { failures() > 0 || dispatcher_pid($node, 'db') ne $pid || live() eq '0' }, 3);
	my $met = failures() > 0;
	write_fault(0, 0, 0);
	$node->safe_psql('db', q{SELECT evq_publish('frail', NULL, 'last')});
	ok(poll_until('nothing is left', sub {
			$node->safe_psql('db', q{SELECT count(evq_succeed(event_id, permit)) FROM evq_acquire_next('FLOW', 1000, permit_for => '1 hour')});
			return live() eq '0';
		}), "dispatcher, $countdown allocations and then " . ($lasts ? 'none' : 'one not') . ': all events come to their end');
	is(dispatcher_pid($node, 'db'), $pid, '... and the process goes on') unless $lasts;
	return $met;
}

sub live { return $node->safe_psql('db', 'SELECT count(*) FROM evq.event') }

my $failed = 0;
$node->safe_psql('db', 'SELECT count(evq_cancel(event_id)) FROM evq.event');
$failed += test_dispatcher($_, 0) for 0 .. 29;
$failed += test_dispatcher($_, 1) for 0, 5, 10;
is($node->safe_psql('db', q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	WHERE a.backend_type = 'evq dispatcher' AND a.state = 'idle' AND l.locktype <> 'virtualxid'}), 0, 'it keeps no lock');
cmp_ok($failed, '>', 3, "memory was missing in $failed runs of the dispatcher");
diag("the dispatcher met $failed of 33 failures");
unlike(slurp_file($node->logfile, $log), qr/PANIC:|TRAP:|terminated by signal/, 'no process crashed');
$node->stop;
done_testing();
