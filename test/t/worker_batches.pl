# evq-worker --events-per-run: one handler for a batch. The events say themselves what the handler shall do.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw(tempdir);
use IPC::Run ();
use JSON::PP qw(decode_json encode_json);
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Server qw(make_server start_again wait_for_dispatcher wait_for_result wait_until);
use Evq::Test qw(end_session session);

my $program = $ENV{EVQ_WORKER_PROGRAM} // 'evq-worker';
my $folder = tempdir(CLEANUP => 1);

# The first event's type names what is written down of the run; of the payloads, "report" is reported of the event,
# "line" as it is; "complain", "wait" (for a file), "die" (by a signal) and "exit" are for the whole run.
append_to_file("$folder/handler", <<'END');
use strict;
use warnings;
use JSON::PP;
my $json = JSON::PP->new->canonical;
my @events = map { decode_json $_ } <STDIN>;
my ($folder) = @ARGV;
my %all = map { %{ $_->{payload} } } reverse @events;
my $file = "$folder/$events[0]{event_type}.$$";
open my $run, '>', "$file.new" or die;
print $run $json->encode({ events => \@events, environment => { map { /^EVQ_(?!\w+_PROGRAM)/ ? ($_ => $ENV{$_}) : () } keys %ENV } });
close $run;
rename "$file.new", $file or die;
open my $report, '>', $ENV{EVQ_REPORT} or die;
$report->autoflush;
for my $event (@events)
{
	print $report $json->encode({ event_id => $event->{event_id}, %{ $event->{payload}{report} } }), "\n" if $event->{payload}{report};
	print $report $event->{payload}{line} =~ s/ID/$event->{event_id}/r =~ s/NUL/\0/r if defined $event->{payload}{line};
}
print STDERR $all{complain} if defined $all{complain};
if ($all{wait})
{
	local $SIG{TERM} = sub { exit 1 } if $all{ends};
	select undef, undef, undef, 0.05 until -e "$folder/$all{wait}";
}
kill $all{die}, $$ if $all{die};
exit($all{exit} // 0);
END
our @handler = ('--', $^X, "$folder/handler", $folder);

# ---------- the command line ----------

for (
	[ qr/--events-per-run takes a whole number from 1 to 1000, not "1001"/, '--events-per-run=1001' ],
	[ qr/--events-per-run .* not "0"/, '--events-per-run=0' ],
	[ qr/--batch is for handlers of one event/, '--events-per-run=5', '--batch=5' ])
{
	my ($message, @arguments) = @$_;
	my ($stdout, $stderr) = ('', '');

	IPC::Run::run([ $program, '--flow=FLOW', @arguments, 'cat' ], '<', \undef, '>', \$stdout, '2>', \$stderr);
	is($? >> 8, 64, "refused: $message");
	like($stderr, $message, '... with a reason');
}

# ---------- workers, events and runs ----------

my $node = make_server('main', conf => "evq.poll_interval = 1h\n");
$node->safe_psql('postgres', q{
	CREATE ROLE worker LOGIN IN ROLE evq_worker;
	SELECT evq_configure_flow('FLOW', dispatch_timeout => '1 s'), evq_configure('next', 'FLOW', 1)});
wait_for_dispatcher($node);
sub query { return $node->safe_psql('postgres', @_) }

my $started = 0;
sub start_worker
{
	my ($type, @arguments) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/batches-" . ++$started . '.log';
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => 'worker');
	my $run = IPC::Run::start([ $program, '--flow=FLOW', "--types=$type", "--name=worker-$started", '--poll=600', '--events-per-run=10', @arguments, @handler ],
		'<', '/dev/null', '>', '/dev/null', '2>', $log);

	return { run => $run, log => $log };
}

sub wait_for_log
{
	my ($worker, $pattern) = @_;
	return wait_until(60, sub { -e $worker->{log} && slurp_file($worker->{log}) =~ $pattern }) || die "no $pattern in " . slurp_file($worker->{log});
}

# Asks it so many times to end, and returns its exit status when it has.
sub stop_worker
{
	my ($worker, $times) = @_;

	for my $time (1 .. $times // 1)
	{
		$worker->{run}->signal('TERM');
		wait_for_log($worker, $time == 1 ? qr/told to end, / : qr/told to end at once/);
	}
	wait_until(60, sub { !$worker->{run}->pumpable }) or die 'the worker does not end: ' . slurp_file($worker->{log});
	$worker->{run}->finish;
	return $worker->{run}->full_result(0) >> 8;
}

# publish(TYPE, PAYLOAD...): their ids, when all can be had.
sub publish
{
	my ($type, @payloads) = @_;
	my $events = encode_json([ map { { event_type => $type, flow_id => 'case', payload => $_ } } @payloads ]);
	my @ids = split /\n/, $node->safe_psql('postgres', q{SELECT evq_publish_many(:'events')}, extra_params => [ '-v', "events=$events" ]);

	wait_until(60, sub { query("SELECT count(*) FROM evq.event e JOIN evq.event_type t USING (event_type_no) WHERE t.event_type = '$type' AND state = 'd'") == @ids }) or die 'no dispatch';
	return @ids;
}

sub type { my ($type, @more) = @_; query("SELECT evq_configure(" . join(', ', "'$type'", "'FLOW'", "attempt_delays => '{0 s, 1 h}'", @more) . ')'); return $type }

sub runs
{
	my ($type) = @_;
	return map { decode_json(slurp_file($_)) } grep { !/\.new$/ } glob "$folder/$type.*";
}

# A worker whose handler has so many events in one run. What was offered a moment later than the others is given back first.
sub start_with
{
	my ($type, $events, @arguments) = @_;

	for my $try (1 .. 20)
	{
		my $worker = start_worker($type, @arguments);

		wait_until(60, sub { scalar runs($type) }) or die 'no run: ' . slurp_file($worker->{log});
		return $worker if (runs($type))[0]{environment}{EVQ_EVENTS} == $events;
		stop_worker($worker, 2);
		unlink glob "$folder/$type.*";
	}
	die "no run with $events events";
}

sub touch { my ($name) = @_; append_to_file("$folder/$name", ''); return }
sub of { my ($event, $columns) = @_; return query("SELECT $columns FROM evq.events WHERE event_id = '$event'") }
sub errors_of { my ($event) = @_; return query("SELECT string_agg(error_message, '; ') FROM evq.errors WHERE event_id = '$event'") }

# become(NAME, IDS, STATES): do the events come to these states?
sub become
{
	my ($name, $ids, @states) = @_;
	my $are;

	wait_until(60, sub { $are = join ' ', map { of($_, 'state') } @$ids; return $are eq "@states" });
	return is($are, "@states", $name);
}

# what becomes of a run: the states and messages of events with these payloads
sub try_run
{
	my ($name, $states, @payloads) = @_;
	my $type = type($name =~ tr/a-zA-Z/_/cr);
	my @ids = publish($type, @payloads);
	my $worker = start_worker($type);

	become($name, \@ids, @$states);
	is(stop_worker($worker), 0, '... and the worker ends when told to');
	return @ids;
}

# ---------- all of them ----------

type('many');
publish('many', map { {} } 1 .. 25);
my $worker = start_worker('many', '--concurrency=2');
ok(wait_until(60, sub { query(q{SELECT count(*) FROM evq.events WHERE event_type = 'many' AND state = 'succeeded'}) == 25 }), 'all events succeed');
my @runs = runs('many');
my %seen;
$seen{ $_->{event_id} }++ for map { @{ $_->{events} } } @runs;
is(scalar(keys %seen), 25, '... each was handed to a handler');
is_deeply([ grep { $_ != 1 } values %seen ], [], '... once');
cmp_ok(scalar @runs, '<', 25, '... several in a run');
is_deeply([ grep { @{ $_->{events} } > 10 } @runs ], [], '... and no more than asked for');
is_deeply([ map { scalar @{ $_->{events} } } @runs ], [ map { $_->{environment}{EVQ_EVENTS} } @runs ], 'EVQ_EVENTS is their number');
is(join(' ', sort keys %{ $runs[0]{environment} }), 'EVQ_EVENTS EVQ_FLOW_TYPE EVQ_REPORT EVQ_TOKEN EVQ_WORKER', 'the environment of a handler');
is(join(' ', sort keys %{ $runs[0]{events}[0] }), 'answer attempt attempt_due_at attempts_left due_at event_id event_type flow_id flow_type headers payload permit', 'an event has the columns of evq.acquired');
is(query("SELECT string_agg(event_id::text || permit, ' ') FROM evq_batch_permits('$runs[0]{environment}{EVQ_TOKEN}')"),
	join(' ', map { $_->{event_id} . $_->{permit} } @{ $runs[0]{events} }), 'EVQ_TOKEN is that of the batch, in the order of the lines');
is(stop_worker($worker), 0, 'the worker ends when told to');

# ---------- each of them ----------

my $no = { error_message => 'no such stop' };
my @some = try_run('some are different', [qw(succeeded failed awaiting_processing awaiting_processing succeeded succeeded)],
	{}, { report => { %$no, retryable => JSON::PP::false, stack_trace => 'here' } }, { report => $no }, { report => { snooze_seconds => 3600 } },
	{ report => { result => { n => 1 }, spinoffs => [ { event_type => 'next', payload => 'x' } ] } }, { report => {} });
is(of($some[4], 'result'), '{"n": 1}', '... one has a result');
is(query("SELECT count(*) FROM evq.events WHERE parent_id = '$some[4]' AND event_type = 'next'"), 1, '... and a spinoff');
is(query("SELECT concat_ws('|', error_message, stack_trace, outcome) FROM evq.errors WHERE event_id = '$some[1]'"), 'no such stop|here|failed', '... one has an error');
is(of($some[$_], 'attempts_used'), $_ == 2 ? 1 : 0, "... attempts used of $_") for 2, 3;
is(errors_of($some[3]), '', '... and one that sleeps has none');

my @failed = try_run('the others failed', [qw(awaiting_processing succeeded succeeded failed awaiting_processing)], { exit => 3, complain => "first\nthe disk is full" },
	{ report => {} }, { report => { result => 7 } }, { report => { %$no, retryable => JSON::PP::false } }, {});
is(errors_of($failed[$_]), "first\nthe disk is full", '... with the end of stderr') for 0, 4;
is(errors_of($failed[3]), 'no such stop', '... but one, with its own');
is(of($failed[2], 'result'), 7, '... those that were done are done');

my @final = try_run('the others failed for good', [qw(failed succeeded)], { exit => 65 }, { report => {} });
is(errors_of($final[0]), 'handler exited with status 65', '... with the status');

my @later = try_run('the others later', [qw(awaiting_processing succeeded failed)], { exit => 75 }, { report => {} }, { report => { %$no, retryable => JSON::PP::false } });
like(of($later[0], q{attempts_used || ' ' || (attempt_scheduled_at > now())}), qr/^0 t/, '... without an attempt used');

my @itself = try_run('a handler that has reported by itself', [qw(being_processed being_processed)], { exit => 79 }, { report => $no });

my @killed = try_run('killed by a signal', [qw(succeeded awaiting_processing awaiting_processing)], { report => {} }, { die => 9 }, { line => '{"event_id": "ID", "result"' });
like(errors_of($killed[$_]), qr/^handler was killed by signal 9/, '... what it has said counts, but for half a line') for 1, 2;

for (
	[ 'a line that is not JSON', '{"event_id": "ID",', qr/^handler's report was refused: line 1 is not JSON: invalid input syntax for type json$/ ],
	[ 'a line that is no object', "\n[1]\n", qr/^handler's report was refused: line 2 is not an object with an event_id$/ ],
	[ 'an event of another batch', '{"event_id": "00000000-0000-7000-8000-000000000000"}', qr/^handler's report was refused: line 1 names an event that is not of the batch/ ],
	[ 'a key that nobody knows', '{"event_id": "ID", "error": "no"}', qr/^handler's report was refused: line 1 has keys that no success has$/ ],
	[ 'a message that is none', '{"event_id": "ID", "error_message": 5}', qr/^handler's report was refused: line 1 has a value of another type$/ ],
	[ 'a byte of zero', 'NUL', qr/^handler wrote a NUL byte into its report$/ ])
{
	my ($name, $line, $message) = @$_;
	my @refused = try_run($name, [qw(awaiting_processing awaiting_processing)], { line => $line }, {});

	like(errors_of($refused[0]), $message, '... and says why');
	is(errors_of($refused[1]), errors_of($refused[0]), '... of each');
}
my @unfit = try_run('a spinoff that evq does not take', [qw(succeeded awaiting_processing succeeded)], {}, { report => { spinoffs => [ { event_type => 'unknown' } ] } }, {});
like(errors_of($unfit[1]), qr/^handler's report was refused: .*unknown/, '... fails that event alone, and says why');

# ---------- permits ----------

type('beats', "attempt_timeout => '2 s'");
my @beats = publish('beats', { wait => 'beats-go', report => { result => 1 } }, {});
$worker = start_with('beats', 2, '--timeout=0');
my $first = (runs('beats'))[0]{events}[0]{attempt_due_at};
ok(wait_until(60, sub { query("SELECT bool_and(state_due_at > '$first'::timestamptz + interval '3 seconds') FROM evq.events WHERE event_type = 'beats'") eq 't' }), 'heartbeats extend the permits of all');
touch('beats-go');
become('then they succeed', \@beats, 'succeeded', 'succeeded');
is(of($_, 'attempts_used'), 1, '... in their first attempt') for @beats;
is(stop_worker($worker), 0, 'the worker ends when told to');

type('slow', "attempt_timeout => '1 s'");
my @slow = publish('slow', { wait => 'never' }, { report => {} });
$worker = start_with('slow', 2);
become('a handler that runs for longer than attempt_timeout is ended', \@slow, 'awaiting_processing', 'succeeded');
like(errors_of($slow[0]), qr/^handler ran for longer than 1\.\d seconds and was ended$/, '... and says so');
is(stop_worker($worker), 0, 'the worker ends when told to');

type('canceled', "attempt_timeout => '2 s'");
my @canceled = publish('canceled', { wait => 'canceled-go' }, {}, {});
$worker = start_with('canceled', 3, '--timeout=0');
query("SELECT evq_cancel('$canceled[1]')");
wait_for_log($worker, qr/permits of the batch are lost.* events=3 lost=1/);
touch('canceled-go');
become('one that is canceled meanwhile stays so, the others succeed', \@canceled, 'succeeded', 'canceled', 'succeeded');
is(stop_worker($worker), 0, 'the worker ends when told to');

type('gone', "attempt_timeout => '2 s'");
my @gone = publish('gone', { wait => 'never' }, {});
$worker = start_with('gone', 2, '--timeout=0');
query("SELECT evq_cancel(event_id) FROM evq.events WHERE event_type = 'gone'");
wait_for_log($worker, qr/handler ended.*signal=15/);
ok(1, 'where all are canceled the handler is told to end');
is(stop_worker($worker), 0, 'the worker ends when told to');

# ---------- the end, of the worker, of the connection, of the server ----------

type('drained');
my @drained = publish('drained', { wait => 'never', ends => 1 }, { report => {} }, { report => { result => 1 } });
$worker = start_with('drained', 3, '--drain=0.1');
is(stop_worker($worker), 0, 'the worker ends when told to');
become('what its handler has not finished is released, what it has is done', \@drained, 'dispatched', 'succeeded', 'succeeded');
is(of($drained[0], 'attempts_used'), 0, '... without an attempt used');

type('lost');
my @lost = publish('lost', { wait => 'lost-go' }, { report => { result => 1 } }, { report => $no });
$worker = start_with('lost', 3);
$node->stop('fast');
touch('lost-go');
wait_for_log($worker, qr/handler ended/);
start_again($node);
become('a report that found no server is made when it is back', \@lost, 'succeeded', 'succeeded', 'awaiting_processing');
is(of($lost[0], 'attempts_used'), 1, '... in the first attempt');
is(stop_worker($worker), 0, 'the worker ends when told to');

# Of two batches one has the report of an event on its way when the connection is lost; the next answer is the other's.
{
	my $locker = session($node, 'postgres');
	my $wait = sub { wait_for_result($node, q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'worker' AND wait_event_type = 'Lock'}, 1) };
	type('two');
	my @two = publish('two', { wait => 'two-other', report => { result => 1 } });

	# Reports are made in the order in which the worker took the events.
	$worker = start_worker('two', '--concurrency=2');
	wait_until(60, sub { runs('two') == 1 }) or die 'no run: ' . slurp_file($worker->{log});
	push @two, query(q{SELECT evq_publish('two', NULL, 'case', '{"wait": "two-lost", "report": {"result": 1}}')});
	wait_until(60, sub { runs('two') == 2 }) or die 'no second run: ' . slurp_file($worker->{log});
	# Nothing can end meanwhile; a heartbeat comes first.
	$locker->query_safe('BEGIN; LOCK TABLE evq.event_history IN SHARE MODE');
	touch('two-lost');
	$wait->();
	touch('two-other');
	wait_for_log($worker, qr/msg="handler ended".*msg="handler ended"/s);
	query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'worker'});
	wait_for_log($worker, qr/no connection.*msg=connected/s);
	$wait->();
	$locker->query_safe('ROLLBACK');
	end_session($locker);
	become('after a lost connection the report of another batch is accepted, and that of an event that was on its way is sent again', \@two, 'succeeded', 'succeeded');
	is(of($two[1], 'attempts_used'), 1, '... in the first attempt');
	is(stop_worker($worker), 0, 'the worker ends when told to');
}

{
	my $type = type('unstartable');
	my @waiting = publish($type, {}, {});
	local @handler = ('--', "$folder/unstartable");

	append_to_file("$folder/unstartable", "#!/no/such/interpreter\n");
	chmod 0755, "$folder/unstartable";
	$worker = start_worker($type);
	wait_for_log($worker, qr/handler cannot be started, batch is given back.*events=2/);
	is(stop_worker($worker), 0, 'a handler that cannot be started: the worker ends when told to');
	ok(wait_until(60, sub { query("SELECT count(*) FROM evq.events WHERE event_type = '$type' AND attempts_used = 0 AND state IN ('awaiting_processing', 'dispatched')") == 2 }), '... and the events are given back');
}

# Before 0.3 there are no batches.
$node->safe_psql('postgres', 'CREATE DATABASE old');
$node->safe_psql('old', q{CREATE EXTENSION evq VERSION '0.2'; SELECT evq_configure_flow('FLOW')});
my ($stdout, $stderr) = ('', '');
IPC::Run::run([ $program, '--dbname', $node->connstr('old') . ' user=worker', '--flow=FLOW', '--events-per-run=10', 'cat' ], '<', \undef, '>', \$stdout, '2>', \$stderr);
is($? >> 8, 78, 'with evq 0.2 it ends');
like($stderr, qr/cannot ask for events.*evq_acquire_batch/, '... and says why');

$node->stop;
done_testing();
