# evq-worker: any program as a worker.
#
# Almost every event brings its handler along: the flow_id is a shell script.
# The workers poll so rarely that what they find, they heard of.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw(tempdir);
use IPC::Run ();
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Pooler;
use Evq::Server qw(make_server start_again wait_for_dispatcher wait_for_result wait_until);
use Evq::Test ();

# The slow tests put another build in its place.
my $program = $ENV{EVQ_WORKER_PROGRAM} // 'evq-worker';
my @flow_id = ('--', 'sh', '-c', 'eval "$EVQ_FLOW_ID"');
my $folder = tempdir(CLEANUP => 1);

# ---------- the command line ----------

sub run_program
{
	my ($stdout, $stderr) = ('', '');

	IPC::Run::run([ $program, @_ ], '<', \undef, '>', \$stdout, '2>', \$stderr);
	return ($? >> 8, $stdout, $stderr);
}

my ($status, $help, $stderr) = run_program('--help');
is("$status $stderr", '0 ', '--help');
for (
	[ qr/--flow is missing/, '--', 'cat' ],
	[ qr/handler is missing/, '--flow', 'FLOW_B' ],
	[ qr/"\/no\/such" is not a program/, '--flow', 'FLOW_B', '--', '/no/such' ],
	[ qr/"no-such" is not a program/, '--flow', 'FLOW_B', 'no-such' ],
	[ qr/"\/tmp" is not a program/, '--flow', 'FLOW_B', '/tmp' ],
	[ qr/--concurrency takes a whole number from 1 to 256, not "0"/, '--flow=FLOW_B', '--concurrency=0', 'cat' ],
	[ qr/--concurrency .* not "many"/, '--flow=FLOW_B', '-c', 'many', 'cat' ],
	[ qr/--batch .* not "10001"/, '--flow=FLOW_B', '--batch', '10001', 'cat' ],
	[ qr/--poll takes seconds .* not "nan"/, '--flow=FLOW_B', '--poll', 'nan', 'cat' ],
	[ qr/--drain .* not "-1"/, '--flow=FLOW_B', '--drain', '-1', 'cat' ],
	[ qr/--types takes event types .* not "A,,B"/, '--flow=FLOW_B', '--types', 'A,,B', 'cat' ],
	[ qr/--types .* not "A,"/, '--flow=FLOW_B', '--types', 'A,', 'cat' ],
	[ qr/--name takes 1 to 255 bytes/, '--flow=FLOW_B', '--name', 'x' x 256, 'cat' ],
	[ qr/--flow takes the name of a flow/, '--flow==3', 'cat' ],
	[ qr/--flow takes a weight from 1 to 1000, not "0"/, '--flow=FLOW_B=0', 'cat' ],
	[ qr/--flow takes a weight from 1 to 1000, not "1x"/, '--flow=FLOW_B=1x', 'cat' ],
	[ qr/--flow names "FLOW_B" twice/, '--flow=FLOW_B=2', '--flow=FLOW_B', 'cat' ],
	[ qr/unrecognized option '--nonsense'/, '--flow=FLOW_B', '--nonsense', 'cat' ],
	[ qr/option '--flow' requires an argument/, '--flow' ])
{
	my ($message, @arguments) = @$_;
	my ($status, $stdout, $stderr) = run_program(@arguments);

	is("$status $stdout", '64 ', "refused: $message");
	like($stderr, qr/evq-worker\S*: .*$message.*\n.*--help/, '... with a reason');
}

my $man = slurp_file(`pg_config --mandir` =~ s/\n//r . '/man1/evq-worker.1') =~ s/\\-/-/gr;
is_deeply([ grep { $man !~ /^\.B[RI]? .*?--\Q$_\E\b/m } $help =~ /--([a-z-]+)/g ], [], 'the man page has every option');

# ---------- workers and events ----------

# The standby that does not exist is not waited for, until synchronous_commit is on.
my $node = make_server('main', allows_streaming => 1,
	conf => "evq.poll_interval = 1h\nsynchronous_standby_names = 'nobody'\nsynchronous_commit = local\n");
$node->safe_psql(
	'postgres', q{
	CREATE ROLE worker LOGIN IN ROLE evq_worker;
	SELECT evq_configure_flow('FLOW_B', dispatch_timeout => '1 s');
	SELECT evq_configure('once', 'FLOW_B', 1, '1 hour');
	SELECT evq_configure('again', 'FLOW_B', 3, '1 hour', '{0 s}');
	SELECT evq_configure('short', 'FLOW_B', 3, '1 hour', '{0 s}', attempt_timeout => '2 s');
	SELECT evq_configure('next', 'FLOW_B', 1, '1 hour');
	SELECT evq_configure('Odd.type:1-a', 'FLOW_B', 1, '1 hour');
});
is((run_program('--version'))[1], 'evq-worker ' . query(q{SELECT extversion FROM pg_extension WHERE extname = 'evq'}) . "\n", '--version');
wait_for_dispatcher($node);
my $through = { PGHOST => $node->host, PGPORT => $node->port };

my @workers;

# start_worker(NAME, ARGUMENT...)
sub start_worker
{
	my ($name, @arguments) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/$name.log";
	local %ENV = (%ENV, %$through, PGDATABASE => 'postgres', PGUSER => 'worker');
	my $run = IPC::Run::start([ $program, '--flow=FLOW_B', "--name=$name", '--poll=600', @arguments ],
		'<', '/dev/null', '>', '/dev/null', '2>', $log);
	my $worker = { name => $name, run => $run, log => $log };

	push @workers, $worker;
	return $worker;
}

sub log_has
{
	my ($worker, $pattern) = @_;
	return -e $worker->{log} && slurp_file($worker->{log}) =~ $pattern;
}

sub wait_for_worker_log
{
	my ($worker, $pattern) = @_;

	wait_until(60, sub { log_has($worker, $pattern) }) or die "no $pattern in $worker->{log}";
	return;
}

sub signal_worker
{
	my ($worker, $name) = @_;

	$worker->{run}->signal($name);
	return;
}

# Waits for the end of a worker that was told to end, and returns its exit status.
sub finish_worker
{
	my ($worker) = @_;

	@workers = grep { $_ != $worker } @workers;
	wait_until(60, sub { !$worker->{run}->pumpable }) or die "$worker->{name} does not end";
	$worker->{run}->finish;
	return $worker->{run}->full_result(0) >> 8;
}

sub stop_worker
{
	my ($worker) = @_;

	signal_worker($worker, 'TERM');
	is(finish_worker($worker), 0, "$worker->{name} ends when told to");
	return;
}

# publish(TYPE, SCRIPT, SQL of the payload)
sub publish
{
	my ($type, $script, $payload) = @_;
	$payload //= "'{}'";

	return $node->safe_psql('postgres', "SELECT evq_publish('$type', NULL, :'script', $payload)",
		extra_params => [ '-v', "script=$script" ]);
}

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

sub of
{
	my ($event, $columns) = @_;
	return query("SELECT $columns FROM evq.events WHERE event_id = '$event'");
}

sub error_of
{
	my ($event) = @_;
	return query("SELECT string_agg(error_message, '; ') FROM evq.errors WHERE event_id = '$event'");
}

sub wait_for
{
	my ($event, $columns, $wanted) = @_;
	my $is;

	return 1 if wait_until(60, sub { $is = of($event, $columns); return $is eq $wanted });
	diag("event $event has not become $wanted, it is $is: ", error_of($event) // '');
	return 0;
}

sub exists_file
{
	my ($name) = @_;
	return ok(wait_until(60, sub { -e "$folder/$name" }), "$name is there");
}

# Is the process gone whose id is in the file?
sub is_gone
{
	my ($name) = @_;
	my $pid = slurp_file("$folder/$name") =~ s/\n//r;

	return wait_until(60, sub { !kill 0, $pid });
}

sub touch
{
	my ($name) = @_;
	append_to_file("$folder/$name", '');
	return;
}

sub waiting_for
{
	my ($name) = @_;
	return "until [ -e $folder/$name ]; do sleep 0.05; done";
}

# ---------- what a handler can do ----------

my $worker = start_worker('worker-1', '--concurrency=4', '--types=once,Odd.type:1-a', '--show-stderr', '--report-stdout', @flow_id);

my %plain = (
	'says nothing'               => ':',
	'says nothing but space'     => 'echo; echo " "',
	'closes its pipes'           => 'exec <&- >&- 2>&-',
	'reads and closes stdout'    => 'exec >&-; cat >/dev/null',
	'leaves a process behind'    => "sleep 600 & echo \$! >$folder/left; exit 0",
	'reports by itself, then again' => q{psql -XqAt -c "SELECT evq_succeed('$EVQ_EVENT_ID', $EVQ_PERMIT, '1')"},
);
my %plain_event = map { $_ => publish('once', $plain{$_}) } sort keys %plain;
my $torn     = publish('once', q(psql -XqAt -c "SELECT evq_succeed('$EVQ_EVENT_ID', $EVQ_PERMIT)"; exit 1));
my $ignored  = publish('once', ':', q(to_jsonb(repeat('x', 500000))));
my $odd      = publish('Odd.type:1-a', "cat >$folder/odd; env >$folder/env", q('{"n": [1, "\u00e9"]}'));
my $result   = publish('once', q(cat >/dev/null; echo '{"result": {"n": 1}, "spinoffs": [{"event_type": "next", "payload": {"a": "b"}}]}'));
my $null     = publish('once', q(printf '\n {"spinoffs": [], "result": null}\n\n'));
my $full     = publish('once', q(printf '{"result": "full"}'; head -c $((4194304 - 18)) /dev/zero | tr '\0' ' '));
my $wide     = publish('once', q(printf '{"result": "'; head -c 1000000 /dev/zero | tr '\0' x; echo '"}'));

# Handlers that suspend their event themselves.
my $suspend = q{psql -XAtqc "SELECT evq_suspend('$EVQ_EVENT_ID', $EVQ_PERMIT, '1 hour')" >/dev/null; };
my $asking   = publish('once', qq(if [ -n "\$EVQ_ANSWER" ]; then echo "{\\"result\\": \$EVQ_ANSWER}"; else $suspend fi));
my $asking_much = publish('once', qq(if [ -e $folder/asked ]; then cat >$folder/much; echo '{"result": 3}'; else touch $folder/asked; $suspend fi));
my $unasked  = publish('once', $suspend . 'echo "nobody to ask" >&2; exit 1');

my %failing = (
	'echo first >&2; echo "no driver" >&2; exit 3' => "first\nno driver",
	'exit 4'                                       => 'handler exited with status 4',
	'echo " " >&2; exit 5'                         => 'handler exited with status 5',
	'kill -SEGV $$'                                => 'handler was killed by signal 11 (Segmentation fault)',
	q(printf 'a\033[1mb' >&2; exit 1)                => "a\033[1mb",
	'echo before >&2; kill -KILL $$'               => "before\nhandler was killed by signal 9 (Killed)",
	'printf "a\377b\0c" >&2; exit 1'               => 'a?b?c',
	q(echo '{"result":')                           => qr/^handler's report was refused: invalid input syntax for type json/,
	q(printf '{"result": "\377"}')                 => qr/^handler's report was refused: invalid byte sequence/,
	q(echo '{"result": 1} {}')                     => qr/^handler's report was refused: invalid input syntax for type json/,
	'echo 1'           => q(handler's report was refused: it is not a JSON object that has "result" and "spinoffs" only),
	q(echo '[1]')      => q(handler's report was refused: it is not a JSON object that has "result" and "spinoffs" only),
	q(echo '{"spinoff": []}')  => q(handler's report was refused: it is not a JSON object that has "result" and "spinoffs" only),
	q(printf '{}\000')         => 'handler wrote a NUL byte into its report',
	q(echo '{"spinoffs": 1}')  => qr/^handler's report was refused: .*array/,
	q(echo '{"spinoffs": [{"event_type": "unknown"}]}')   => qr/^handler's report was refused: .*unknown/,
	q(echo '{"result": "\u0000"}')                        => qr/^handler's report was refused: unsupported Unicode escape sequence/,
	'head -c 10000000 /dev/zero; sleep 600'               => 'handler reported more than 4194304 bytes',
	q(echo '{"snooze_seconds": "long"}'; exit 75)         => qr/^handler's report was refused: invalid input syntax for type double/,
	q(echo '{"seconds": 1}'; exit 75)   => q(handler's report was refused: it is not a JSON object that has "snooze_seconds" only),
	q(echo '{"snooze_seconds": -1}'; exit 75)             => qr/^handler's report was refused: run_at lies in the past/,
	q(echo '{"snooze_seconds": 1e300}'; exit 75)          => qr/^handler's report was refused: .* out of range/,
);
my %failing_event = map { $_ => publish('once', $_) } sort keys %failing;
my $verbose = publish('once', 'echo begin >&2; seq 100000 >&2; exit 1');
my $snoozed = publish('once', 'exit 75');
my $longer  = publish('once', q(echo '{"snooze_seconds": 1800}'; exit 75));
my $at_once = publish('once', "[ ! -e $folder/at_once ] || exit 0; touch $folder/at_once; echo '{\"snooze_seconds\": 0}'; exit 75");

for my $what (sort keys %plain)
{
	ok(wait_for($plain_event{$what}, "state || coalesce(result::text, '-')", $what =~ /itself/ ? 'succeeded1' : 'succeeded-'), "a handler that $what succeeds");
}
wait_for_worker_log($worker, qr/msg="report was refused, it is dropped" report=failure event_id=$torn sqlstate=EQ003/);
is(of($torn, 'state'), 'succeeded', 'what a handler has reported before it failed stands');
ok(is_gone('left'), 'what a handler leaves behind is killed');
ok(wait_for($ignored, 'state', 'succeeded'), 'a handler need not read a large event');
ok(wait_for($null, "state || ' ' || (result IS NULL)", 'succeeded true'), 'an object with space around it is accepted');
ok(wait_for($wide, "state || ' ' || length(result::text)", 'succeeded 1000002'), 'a large result is accepted');
ok(wait_for($full, "state || ' ' || result", 'succeeded "full"'), 'so is a report of as many bytes as there may be');
ok(wait_for($result, "state || ' ' || result", 'succeeded {"n": 1}'), 'a result is stored');
is( query("SELECT event_type, evq_event(event_id)->'payload' FROM evq.events WHERE parent_id = '$result'"),
	'next|{"a": "b"}', '... and its spinoff published');
is(of($result, 'worker'), 'worker-1', '... under the name of the worker');

ok(wait_for($odd, 'state', 'succeeded'), 'a type with a long name is served');
my $event = decode_json(slurp_file("$folder/odd"));
is( join(' ', sort keys %$event),
	query(q{SELECT string_agg(attname, ' ' ORDER BY attname COLLATE "C") FROM pg_attribute WHERE attrelid = 'evq.acquired'::regclass}),
	'stdin is what evq_acquire_next() returns');
is_deeply($event->{payload}, { n => [ 1, "\x{e9}" ] }, '... with the payload');
my %environment = slurp_file("$folder/env") =~ /^(EVQ_\w+)=(.*)$/mg;
delete $environment{EVQ_WORKER_PROGRAM};
delete $environment{EVQ_FLOW_ID};
is_deeply(
	\%environment,
	{   EVQ_EVENT_ID      => $odd,
		EVQ_EVENT_TYPE    => 'Odd.type:1-a',
		EVQ_FLOW_TYPE     => 'FLOW_B',
		EVQ_ATTEMPT       => 1,
		EVQ_ATTEMPTS_LEFT => 0,
		EVQ_PERMIT        => $event->{permit},
		EVQ_WORKER        => 'worker-1',
		EVQ_REPORT        => '/dev/fd/1' },
	'the environment says the same');

ok(wait_for($asking, 'state', 'suspended'), 'a handler suspends its event, and its end is no success');
query("SELECT evq_activate('$asking', answer => '{\"to\": [1]}', permit => permit) FROM evq.events WHERE event_id = '$asking'");
ok(wait_for($asking, "state || ' ' || result", 'succeeded {"to": [1]}'), '... it is called again with the answer');
ok(wait_for($asking_much, 'state', 'suspended'), '... another one');
query("SELECT evq_activate('$asking_much', answer => to_jsonb(repeat('x', 300000)), permit => permit) FROM evq.events WHERE event_id = '$asking_much'");
ok(wait_for($asking_much, "state || ' ' || result", 'succeeded 3'), '... is called again with an answer that is too long for its environment');
is(length decode_json(slurp_file("$folder/much"))->{answer}, 300000, '... and finds it on its standard input');
ok(wait_for($unasked, 'state', 'failed'), 'a handler that suspends its event and cannot ask fails');
is(error_of($unasked), 'nobody to ask', '... for its reason');

for my $script (sort keys %failing)
{
	wait_for($failing_event{$script}, 'state', 'failed');
	my $message = error_of($failing_event{$script});
	ref $failing{$script}
	  ? like($message, $failing{$script}, "the failure of: $script")
	  : is($message, $failing{$script}, "the failure of: $script");
}
wait_for($verbose, 'state', 'failed');
my ($message, $trace) = split /\|/, query("SELECT error_message, stack_trace FROM evq.errors WHERE event_id = '$verbose'");
is($message, join("\n", 99_835 .. 100_000), 'of much on stderr the last lines are the message');
like($trace, qr/^\d*\n.*\Q$message\E$/s, '... and the stack trace has more');
cmp_ok(length $trace, '==', 32767, '... but not all');
ok(log_has($worker, qr/msg="handler says" event_id=$failing_event{'echo first >&2; echo "no driver" >&2; exit 3'} .* text="no driver"$/m),
	'--show-stderr logs it');
unlike(slurp_file($worker->{log}), qr/\033/, 'the log has no control characters');

my $in = 'round(extract(epoch FROM attempt_scheduled_at - state_since))';
ok(wait_for($snoozed, "state || ' ' || attempts_used || ' ' || $in", 'awaiting_processing 0 60'), 'exit 75 snoozes for a minute');
ok(wait_for($longer, "state || ' ' || attempts_used || ' ' || $in", 'awaiting_processing 0 1800'), '... or for as long as stdout says');
ok(wait_for($at_once, "state || ' ' || (finished_at >= published_at + interval '1 s')", 'succeeded true'), '... for a second at least');
is(query(q{SELECT string_agg(DISTINCT state::text, ' ') FROM evq.events WHERE event_type = 'next'}), 'dispatched', 'events of other types are left alone');
stop_worker($worker);

# ---------- at the same time ----------

my $together = 'touch ' . "$folder/at-\$EVQ_ATTEMPT-\$EVQ_EVENT_ID; until [ \$(ls $folder/at-* | wc -l) -ge 3 ]; do sleep 0.05; done";
$worker = start_worker('worker-2', '--concurrency=3', '--batch=2', '--types=once', @flow_id);
my @parallel = map { publish('once', $together) } 1 .. 6;
ok(wait_for($_, 'state', 'succeeded'), 'three handlers run at once') for @parallel;

# ---------- heartbeats ----------

stop_worker($worker);
$worker = start_worker('worker-3', '--concurrency=4', '--types=short', '--grace=3', '--timeout=0', @flow_id);
my $long = publish('short', waiting_for('end-long'));
ok(wait_for($long, "state || ' ' || (clock_timestamp() > state_since + interval '5 s')", 'being_processed true'), 'a handler runs for longer than attempt_timeout');
touch('end-long');
ok(wait_for($long, "state || ' ' || attempts_used", 'succeeded 1'), '... in one attempt, thanks to heartbeats');

my $canceled = publish('short', "trap 'touch $folder/told; exit 0' TERM; touch $folder/canceled; while :; do sleep 0.05; done");
my $stubborn = publish('short', "trap '' TERM; echo \$\$ >$folder/stubborn; while :; do sleep 0.05; done");
exists_file('canceled');
exists_file('stubborn');
query("SELECT evq_cancel('$canceled'), evq_cancel('$stubborn')");
exists_file('told');
ok(is_gone('stubborn'), 'the handler of a canceled event that ignores SIGTERM is killed');
is(of($_, 'state'), 'canceled', '... the event stays canceled') for $canceled, $stubborn;
ok(log_has($worker, qr/level=warning msg="event was canceled, its handler is told to end" event_id=$canceled/), '... and the log has it');
wait_for_worker_log($worker, qr/msg="handler ended" event_id=$_ /) for $canceled, $stubborn;
stop_worker($worker);
unlike(slurp_file($worker->{log}), qr/report was refused/, '... and nothing is reported for it');

# Where the permit does not end when the attempt does, a handler may run for longer.
$worker = start_worker('worker-3b', '--types=again', '--permit-for=1', @flow_id);
my $patient = publish('again', waiting_for('end-patient'));
ok(wait_for($patient, "state || ' ' || (clock_timestamp() > attempt_started_at + interval '3 s')", 'being_processed true'), 'a handler runs for longer than --permit-for');
touch('end-patient');
ok(wait_for($patient, "state || ' ' || attempts_used", 'succeeded 1'), '... in one attempt');
stop_worker($worker);

# ---------- the end of a worker ----------

$worker = start_worker('worker-4', '--concurrency=2', '--types=again', @flow_id);
my $drained = publish('again', "touch $folder/draining; " . waiting_for('end-drained'));
exists_file('draining');
signal_worker($worker, 'TERM');
wait_for_worker_log($worker, qr/msg="told to end, waiting for handlers" running=1/);
my $next = publish('again', "echo 'for the next' >&2; exit 1");
touch('end-drained');
is(finish_worker($worker), 0, 'a worker told to end');
is(of($drained, 'state'), 'succeeded', '... waits for its handlers');
is(of($next, "state IN ('awaiting_processing', 'dispatched')"), 't', '... and takes nothing new');
query("SELECT evq_cancel('$next')");

$worker = start_worker('worker-5', '--concurrency=3', '--types=again', '--drain=0.2', '--grace=3', @flow_id);
my $endless = publish('again', "echo \$\$ >$folder/endless; while :; do sleep 0.05; done");
my $tidy    = publish('again', "trap 'exit 75' TERM; touch $folder/tidy; while :; do sleep 0.05; done");
my $deaf    = publish('again', "trap '' TERM; echo \$\$ >$folder/deaf; while :; do sleep 0.05; done");
exists_file($_) for qw(endless tidy deaf);
stop_worker($worker);
ok(is_gone($_), '... after --drain its handlers are ended') for qw(endless deaf);
is(of($_, "state IN ('awaiting_processing', 'dispatched') AND attempts_used = 0"), 't', '... what was not done is given back') for $endless, $deaf;
is(of($tidy, "state || ' ' || $in"), 'awaiting_processing 60', '... a handler that snoozes is heard');
query("SELECT evq_cancel('$_')") for $endless, $tidy, $deaf;

$worker = start_worker('worker-6', '--types=again', '--drain=600', '--grace=600', @flow_id);
my $hurried = publish('again', "trap '' TERM; echo \$\$ >$folder/hurried; while :; do sleep 0.05; done");
exists_file('hurried');
signal_worker($worker, 'INT');
wait_for_worker_log($worker, qr/told to end, waiting/);
signal_worker($worker, 'TERM');
is(finish_worker($worker), 0, 'a second signal ends a worker at once');
ok(is_gone('hurried'), '... and its handler');
is(of($hurried, "state IN ('awaiting_processing', 'dispatched') AND attempts_used = 0"), 't', '... the event is given back');
query("SELECT evq_cancel('$hurried')");

# ---------- kill -9 ----------

$worker = start_worker('worker-7', '--types=short', '--permit-for=2', @flow_id);
my $retried = publish('short', "[ \$EVQ_ATTEMPT = 2 ] || { echo \$\$ >$folder/orphan; while :; do sleep 0.05; done; }");
exists_file('orphan');
signal_worker($worker, 'KILL');
@workers = ();
eval { $worker->{run}->finish };
ok(is_gone('orphan'), 'the handler of a killed worker is told to end');
$worker = start_worker('worker-8', '--types=short,again', '--concurrency=2', '--timeout=0', @flow_id);
ok(wait_for($retried, "state || ' ' || attempts_used || ' ' || worker", 'succeeded 2 worker-8'), 'when the permit has run out another worker has the event');
is(error_of($retried), 'the permit ran out without a report', '... which is on record');

# ---------- the server goes and comes back ----------

sub note_run { return "echo run >>$folder/$_[0].runs; " }

sub is_done_once
{
	my ($event, $name, $what) = @_;

	ok(wait_for($event, "state || ' ' || attempts_used", 'succeeded 1'), "$what: the success is reported");
	is(slurp_file("$folder/$name.runs"), "run\n", '... its handler ran once');
	is(query("SELECT count(*) FROM evq.events WHERE parent_id = '$event'"), 1, '... there is one spinoff');
	is(error_of($event), '', '... and no failure');
	return;
}
my $spinoff = q(; echo '{"spinoffs": [{"event_type": "next"}]}' >"$EVQ_REPORT");

my $restarted = publish('again', note_run('restarted') . waiting_for('end-restarted') . $spinoff);
exists_file('restarted.runs');
$node->restart;
wait_for_dispatcher($node);
touch('end-restarted');
is_done_once($restarted, 'restarted', 'after a restart');

my $away = publish('again', note_run('away') . waiting_for('end-away') . $spinoff);
exists_file('away.runs');
$node->stop('immediate');
touch('end-away');
wait_for_worker_log($worker, qr/msg="handler ended" event_id=$away/);
start_again($node);
wait_for_dispatcher($node);
is_done_once($away, 'away', 'a handler that ended while the server was away');

# One that is told to end meanwhile says that it leaves something behind.
my $left = publish('again', "touch $folder/left-behind; " . waiting_for('end-left'));
exists_file('left-behind');
$node->stop('immediate');
touch('end-left');
wait_for_worker_log($worker, qr/msg="handler ended" event_id=$left/);
signal_worker($worker, 'TERM');
is(finish_worker($worker), 69, 'a worker that ends while the server is away and has not reported');
ok(log_has($worker, qr/level=error msg="event is left to its permit's timeout" event_id=$left .*unreported=success/), '... says for which event');
start_again($node);
wait_for_dispatcher($node);
query("SELECT evq_cancel('$left')");
$worker = start_worker('worker-8b', '--types=short,again', '--concurrency=2', '--timeout=0', @flow_id);

# The commit of the report, cut off in its wait for a standby, is done; the worker cannot know.
my $unsure = publish('again', note_run('unsure') . waiting_for('end-unsure') . $spinoff);
exists_file('unsure.runs');
query(q{ALTER SYSTEM SET synchronous_commit = on});
$node->reload;
wait_for_result($node, 'SHOW synchronous_commit', 'on');
touch('end-unsure');
wait_for_result($node, q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'worker' AND wait_event = 'SyncRep'}, 1);
query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'worker'});
query(q{ALTER SYSTEM RESET synchronous_commit});
$node->reload;
wait_for_worker_log($worker, qr/msg=reported report=success event_id=$unsure/);
is_done_once($unsure, 'unsure', 'a report whose answer was lost');

# The same for a report that was rolled back.
my $undone = publish('again', note_run('undone') . waiting_for('end-undone') . $spinoff);
exists_file('undone.runs');
{
	my $locker = Evq::Test::session($node, 'postgres');
	$locker->query_safe("BEGIN; SELECT FROM evq.event WHERE event_id = '$undone' FOR UPDATE");
	touch('end-undone');
	wait_for_result($node, q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'worker' AND wait_event_type = 'Lock'}, 1);
	query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'worker'});
	$locker->query_safe('ROLLBACK');
	Evq::Test::end_session($locker);
}
is_done_once($undone, 'undone', 'a report that was rolled back');

# What is not its own any more it reports in vain, and goes on.
my $taken = publish('again', "touch $folder/taken; " . waiting_for('end-taken'));
exists_file('taken');
query("SELECT evq_fail('$taken', 'by hand', retryable => false)");
touch('end-taken');
wait_for_worker_log($worker, qr/level=warning msg="(?:report was refused, it is dropped|permit is lost, its handler is told to end|1 of 1 permits were lost)/);
is(of($taken, 'state'), 'failed', 'a lost permit changes nothing');
ok(wait_for(publish('again', ':'), 'state', 'succeeded'), '... and the worker goes on');
stop_worker($worker);

# ---------- a handler that goes missing ----------

append_to_file("$folder/handler", "#!/bin/sh\nexit 0\n");
chmod 0755, "$folder/handler";
$worker = start_worker('worker-9', '--types=again', "$folder/handler");
ok(wait_for(publish('again', 'a'), 'state', 'succeeded'), 'a handler runs');
rename "$folder/handler", "$folder/handler.away";
my $given_back = publish('again', 'b');
wait_for_worker_log($worker, qr/msg="handler cannot be started, event is given back" event_id=$given_back .*No such file/);
rename "$folder/handler.away", "$folder/handler";
ok(wait_for($given_back, "state || ' ' || attempts_used", 'succeeded 1'), '... where it is missing, no attempt is used up');
stop_worker($worker);

# A handler has the signals that the worker was started with, whatever it holds back itself.
$worker = start_worker('worker-9b', '--types=again', '--', 'grep', 'SigBlk', '/proc/self/status');
my $mask = publish('again', 'c');
ok(wait_for($mask, 'state', 'succeeded'), 'a handler that looks at its signals');
wait_for_worker_log($worker, qr/msg="handler prints" event_id=$mask .*SigBlk:\S*\s*0{16}\b/);
stop_worker($worker);

# ---------- reports ----------

query(q{SELECT evq_configure('quick', 'FLOW_B', 3, '1 hour', '{0 s}', attempt_timeout => '1 s'), evq_configure('patient', 'OTHER', 1, '1 hour', attempt_timeout => '1 hour')});
$worker = start_worker('worker-10', '--concurrency=6', '--types=again,quick', '--grace=0.3', @flow_id);
my $reported = publish('again', q(echo 'mail sent'; echo '{"result": [1], "spinoffs": null}' >"$EVQ_REPORT"));
my $nothing  = publish('again', q(echo '{"result": null, "spinoffs": null}' >"$EVQ_REPORT"));
my $hopeless = publish('again', 'echo "no such customer" >&2; exit 65');
my $by_hand  = publish('again', q(psql -XqAt -c "SELECT evq_fail('$EVQ_EVENT_ID', 'by itself', $EVQ_PERMIT, retryable => false)" && exit 79));
my $slow     = publish('quick', "echo \$\$ >$folder/slow; [ \$EVQ_ATTEMPT = 2 ] || exec sleep 600");
my $polite   = publish('quick', "[ \$EVQ_ATTEMPT = 2 ] || { trap 'exit 0' TERM; while :; do sleep 0.05; done; }");
ok(wait_for($reported, "state || ' ' || result", 'succeeded [1]'), 'what is written to EVQ_REPORT is the report, with null for what is absent');
ok(log_has($worker, qr/msg="handler prints" event_id=$reported .* text="mail sent"$/m), '... and what is printed is logged');
ok(wait_for($nothing, "state || ' ' || (result IS NULL)", 'succeeded true'), 'null is absent');
ok(wait_for($hopeless, "state || ' ' || attempts_used", 'failed 1'), 'exit 65 is not tried again');
is(error_of($hopeless), 'no such customer', '... and says why');
ok(wait_for($by_hand, "state || ' ' || attempts_used", 'failed 1'), 'exit 79 has reported by itself');
wait_for_worker_log($worker, qr/msg="handler has reported by itself" event_id=$by_hand/);
unlike(slurp_file($worker->{log}), qr/report was refused[^\n]*$by_hand/, '... and nothing is reported for it');
ok(wait_for($slow, "state || ' ' || attempts_used", 'succeeded 2'), 'an attempt ends after attempt_timeout');
ok(wait_for($polite, "state || ' ' || attempts_used", 'succeeded 2'), '... also where the handler then says that it has succeeded');
like(error_of($_), qr/handler ran for longer than 1\.0 seconds and was ended$/, '... for that reason') for $slow, $polite;
stop_worker($worker);

# ---------- several flows, and a cancellation ----------

$worker = start_worker('worker-12', '--flow=OTHER', '--types=again,patient', '--concurrency=2', '--heartbeat=3600', @flow_id);
my @both = map { (publish('again', ':'), publish('patient', ':')) } 1 .. 3;
ok(wait_for($_, 'state', 'succeeded'), 'an event of one of two flows') for @both;
my $cut = publish('patient', "trap 'touch $folder/cut-told; exit 0' TERM; touch $folder/cut; while :; do sleep 0.05; done");
exists_file('cut');
query("SELECT evq_cancel('$cut')");
exists_file('cut-told');
ok(log_has($worker, qr/msg="event was canceled, its handler is told to end" event_id=$cut/), 'a cancellation is noticed long before a heartbeat is due');
stop_worker($worker);

# An attempt is ended by somebody else, and the same worker has the next one: that goes on.
$worker = start_worker('worker-12b', '--types=again', '--concurrency=2', '--heartbeat=3600', '--timeout=0', @flow_id);
my $twice = publish('again', "touch $folder/twice-\$EVQ_ATTEMPT; [ \$EVQ_ATTEMPT = 2 ] || exec sleep 600; " . waiting_for('end-twice'));
exists_file('twice-1');
query("SELECT evq_fail('$twice', 'by hand')");
exists_file('twice-2');
wait_for_worker_log($worker, qr/msg="permit is lost, its handler is told to end" event_id=$twice [^\n]*attempt=1/);
touch('end-twice');
ok(wait_for($twice, "state || ' ' || attempts_used", 'succeeded 2'), 'one attempt is lost, the next one of the same worker is not');
stop_worker($worker);

# What is there already is worked off, although nobody tells of it again.
query(q{SELECT evq_cancel(event_id) FROM evq.event});
query(q{SELECT evq_configure_flow('QUEUE', delivery => 'pull', dispatch_timeout => '1 hour'), evq_configure('queued', 'QUEUE', 1, '1 hour')});
my @queued = map { publish('queued', 'exit 1') } 1 .. 4;
$worker = start_worker('worker-12c', '--flow=QUEUE', '--types=queued', @flow_id);
ok(wait_for($_, 'state', 'failed'), 'a queue that was there before the worker: each event is tried') for @queued;
my ($last_asked, $same) = ('', 0);
ok(wait_until(60, sub {
	my $before = $last_asked;
	$last_asked = query(q{SELECT max(query_start) FROM pg_stat_activity WHERE usename = 'worker'});
	$same = $last_asked eq $before ? $same + 1 : 0;
	return $same == 20;
}), '... then the worker asks for no more');
stop_worker($worker);

# Of two flows neither waits until the other one has nothing more.
publish($_, 'exit 1') for ('once', 'queued') x 4;
$worker = start_worker('worker-12d', '--flow=QUEUE', '--types=once,queued', @flow_id);
wait_for_result($node, q{SELECT count(*) FROM evq.event JOIN evq.event_type USING (event_type_no) WHERE event_type IN ('once', 'queued')}, 0);
is(query(q{SELECT bool_and(f.first < f.last_of_other) FROM (
	SELECT min(finished_at) AS first, (SELECT max(o.finished_at) FROM evq.events o WHERE o.event_type IN ('once', 'queued') AND o.event_type <> e.event_type) AS last_of_other
	FROM evq.events e WHERE worker = 'worker-12d' GROUP BY event_type) f}), 't', 'two flows take turns');
stop_worker($worker);

# Each has its share, by its weight, as long as both have work.
query(q{SELECT evq_configure_flow('SIDE', delivery => 'pull', dispatch_timeout => '1 hour'), evq_configure('side', 'SIDE', 1, '1 hour')});
publish($_, 'exit 1') for ('queued', 'side') x 40;
wait_for_result($node, q{SELECT count(*) FROM evq.counters() WHERE name = 'live/awaiting_processing' AND value >= 40}, 2);
$worker = start_worker('worker-12e', '--flow=QUEUE=3', '--flow=SIDE', '--types=queued,side', @flow_id);
wait_for_result($node, q{SELECT count(*) FROM evq.event JOIN evq.event_type USING (event_type_no) WHERE event_type IN ('queued', 'side')}, 0);
my $share = query(q{SELECT count(*) FILTER (WHERE event_type = 'queued') FROM (SELECT event_type FROM evq.events WHERE worker = 'worker-12e' ORDER BY attempt_started_at LIMIT 40) e});
cmp_ok(abs($share - 30), '<=', 3, "a flow of weight 3 beside one of 1 has three of four events: $share of 40");
stop_worker($worker);

# ---------- what can never succeed ----------

query(q{CREATE ROLE publisher LOGIN; GRANT evq_publisher TO publisher; CREATE ROLE tenant LOGIN; SELECT evq_grant_worker('tenant', 'OTHER')});
for (
	[ qr/msg="cannot ask for events" reason="permission denied for function evq_acquire_next" sqlstate=42501/, '--dbname=user=publisher dbname=postgres' ],
	[ qr/msg="cannot ask for events" reason="permission denied for flow \\"FLOW_B\\"" sqlstate=42501/, '--dbname=user=tenant dbname=postgres' ],
	[ qr/msg="unknown flow, configure it with evq_configure_flow\(\)" flow=LATER/, '--flow=LATER' ],
	[ qr/msg="evq is not there, run CREATE EXTENSION evq in this database; if it is a router, name a shard" .*sqlstate=42P01/, '--dbname=template1' ],
	[ qr/msg="cannot connect" reason=.*"nowhere\\*" does not exist.* sqlstate=3D000/, '--dbname=nowhere' ],
	[ qr/msg="cannot connect" reason=.*nobody.* sqlstate=28000/, '--dbname=user=nobody dbname=postgres' ])
{
	my ($message, @arguments) = @$_;

	$worker = start_worker('worker-13', @arguments, '--', 'cat');
	is(finish_worker($worker), 78, "ends: @arguments");
	ok(log_has($worker, $message), '... with a reason') or diag(slurp_file($worker->{log}));
}
my ($limited, undef, $reason) = sub { my ($out, $err) = ('', ''); IPC::Run::run([ 'sh', '-c', 'ulimit -n 60; exec "$0" --flow=F --concurrency=20 cat', $program ], '<', \undef, '>', \$out, '2>', \$err); return ($? >> 8, $out, $err) }->();
is($limited, 64, 'fewer files than the concurrency needs are refused');
like($reason, qr/--concurrency=20 needs \d+ open files, the limit is 60/, '... with the limit');

query(q{SELECT evq_configure_flow('LATER', channel => 'select'), evq_configure('later', 'LATER', 1, '1 hour')});
$worker = start_worker('worker-14', '--flow=LATER', '--', 'cat');
ok(wait_for(publish('later', 'cat'), 'state', 'succeeded'), 'a flow with a strange channel is served');
stop_worker($worker);

# ---------- as process 1, which is the parent of what has lost its own ----------

sub children_of
{
	my ($pid) = @_;

	return map { /^(\d+) \(.*\) \S (\d+)/s && $2 == $pid ? $1 : () } map { eval { slurp_file($_) } // () } glob '/proc/[0-9]*/stat';
}

SKIP:
{
	my @apart = qw(unshare --user --map-current-user --pid --fork --kill-child);

	skip 'this user may not make processes with numbers of their own', 5 if system("@apart true 2>/dev/null") != 0;
	my $as_it_is = $program;
	$program = "$folder/as_process_1";
	append_to_file($program, qq{#!/bin/sh\nexec @apart "$as_it_is" "\$@"\n});
	chmod 0755, $program;
	$worker = start_worker('worker-15', '--types=once', @flow_id);
	$program = $as_it_is;

	ok(wait_for(publish('once', "setsid sh -c 'sleep 0.1; : >$folder/left' </dev/null >/dev/null 2>&1 & echo \$PPID >$folder/parent"), 'state', 'succeeded'), 'a handler leaves a process behind');
	ok(wait_until(60, sub { -e "$folder/left" }), '... which goes on');
	is(slurp_file("$folder/parent"), "1\n", '... below process 1');
	my ($pid) = children_of($worker->{run}{KIDS}[0]{PID});
	ok(wait_until(60, sub { !children_of($pid) }), '... and at its end is no zombie');
	kill 'TERM', $pid;
	is(finish_worker($worker), 0, "$worker->{name} ends when told to");
}

# ---------- pull, and a pooler ----------

query(q{SELECT evq_configure_flow('FLOW_B', delivery => 'pull')});
$worker = start_worker('worker-11', '--types=once', '--concurrency=4', @flow_id);
my @pulled = map { publish('once', ':') } 1 .. 10;
ok(wait_for($_, 'state', 'succeeded'), 'an event of a pull flow') for @pulled;
stop_worker($worker);

SKIP:
{
	skip 'pgbouncer is not installed', 1 unless Evq::Pooler::is_installed();
	my $pooler = Evq::Pooler->new($node, 1, 'worker');

	query(q{SELECT evq_configure_flow('FLOW_B', delivery => 'push')});
	$through = { PGHOST => $node->host, PGPORT => $pooler->{port} };
	my @pooled = map { start_worker("pooled-$_", '--types=once,short', '--no-listen', '--poll=0.1', '--concurrency=2', '--timeout=0', @flow_id) } 1 .. 2;
	my @events = map { publish($_ % 3 ? 'once' : 'short', $_ % 3 ? ':' : 'sleep 2.5') } 1 .. 12;
	ok(wait_for($_, "state || ' ' || attempts_used", 'succeeded 1'), 'an event through a pooler in transaction mode') for @events;
	is(query(q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'worker'}), 1, '... over one session');
	stop_worker($_) for @pooled;
	ok($pooler->stop, 'pgbouncer stops');
}

is(query('SELECT errors FROM evq_status()'), 0, 'the dispatcher had no errors');
$node->stop;
done_testing();

END
{
	# Whatever happens, they do not outlive the test.
	kill 'KILL', map { $_->{run}{KIDS}[0]{PID} } @workers;
}
