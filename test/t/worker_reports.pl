# evq-worker: one report's fate is not another's, whatever happens to the connection and the statement between them.
#
# Each event brings its handler along: the flow_id is a shell script. The worker works on two at once.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw(tempdir);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Server qw(make_server wait_for_dispatcher wait_for_result wait_until);
use Evq::Test qw(end_session session);

my $program = $ENV{EVQ_WORKER_PROGRAM} // 'evq-worker';
my $folder = tempdir(CLEANUP => 1);
my $node = make_server('main');
$node->safe_psql(
	'postgres', q{
	CREATE ROLE worker LOGIN IN ROLE evq_worker;
	SELECT evq_configure_flow('FLOW_B', delivery => 'pull'), evq_configure('work', 'FLOW_B', 3, '1 hour', '{0 s}')});
my $locker = session($node, 'postgres');
my $log = "$PostgreSQL::Test::Utils::log_path/worker.log";
my $run;

sub query { return $node->safe_psql('postgres', $_[0]) }
sub of { my ($event, $columns) = @_; return query("SELECT $columns FROM evq.events WHERE event_id = '$event'") }
sub touch { append_to_file("$folder/$_[0]", ''); return }

sub start_worker
{
	my (@arguments) = @_;
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => 'worker');

	unlink $log;
	$run = IPC::Run::start([ $program, '--flow=FLOW_B', '--name=worker', @arguments, '--', 'sh', '-c', 'eval "$EVQ_FLOW_ID"' ],
		'<', '/dev/null', '>', '/dev/null', '2>', $log);
	return;
}

sub stop_worker
{
	$run->signal('TERM');
	wait_until(60, sub { !$run->pumpable }) or die 'the worker does not end';
	$run->finish;
	is($run->full_result(0), 0, 'the worker ends when told to');
	undef $run;
	return;
}

sub wait_for_log { my ($pattern) = @_; return wait_until(60, sub { -e $log && slurp_file($log) =~ $pattern }) || die "no $pattern in $log" }

# A handler that runs until it is let go, and what it says then.
my $events = 0;
sub begin
{
	my ($says) = @_;
	my $name = 'event-' . ++$events;
	my $script = "touch $folder/$name; until [ -e $folder/$name.end ]; do sleep 0.05; done; $says";
	my $id = $node->safe_psql('postgres', q{SELECT evq_publish('work', NULL, :'script')}, extra_params => [ '-v', "script=$script" ]);

	wait_until(60, sub { -e "$folder/$name" }) or die "$name does not begin";
	return { id => $id, name => $name };
}
sub end { touch("$_[0]{name}.end"); return wait_for_log(qr/msg="handler ended" event_id=$_[0]{id}/) }
sub lock_event { $locker->query_safe("BEGIN; SELECT FROM evq.event WHERE event_id = '$_[0]{id}' FOR UPDATE"); return }
sub wait_for_lock_wait { wait_for_result($node, q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'worker' AND wait_event_type = 'Lock'}, 1); return }
sub succeeds
{
	my ($event, $what) = @_;
	my $is;

	return ok(wait_until(60, sub { $is = of($event->{id}, "state || ' ' || attempts_used"); return $is eq 'succeeded 1' }), $what) || diag "it is $is";
}
my $output = q(echo '{"result": 1}' >"$EVQ_REPORT");

# The connection is lost while a report is on its way; the next one on the new connection is another.
start_worker('--concurrency=2', '--poll=600');
my ($other, $lost) = (begin($output), begin($output));
lock_event($lost);
end($lost);
wait_for_lock_wait();
end($other);
query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'worker'});
succeeds($other, 'after a lost connection another report is accepted');
wait_for_lock_wait();
$locker->query_safe('ROLLBACK');
succeeds($lost, '... and the one that was on its way is sent again');

# A turn that had a success with it fails; the next report is another.
($other, $lost) = (begin($output), begin(':'));
lock_event($lost);
end($lost);
wait_for_lock_wait();
end($other);
query(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'worker' AND wait_event_type = 'Lock'});
wait_for_log(qr/msg="cannot ask for events" .*sqlstate=57014/);
succeeds($other, 'after a turn that failed another report is accepted');
wait_for_lock_wait();
$locker->query_safe('ROLLBACK');
succeeds($lost, '... and the success that went with the turn is sent again');

# An error of the commit comes after the rows.
my ($identity, $arguments, $result, $names) = split /\|/, query(q{
	SELECT pg_get_function_identity_arguments(oid), pg_get_function_arguments(oid), pg_get_function_result(oid), array_to_string(proargnames, ', ')
	FROM pg_proc WHERE proname = 'evq_succeed'});
query(qq{
	CREATE SEQUENCE commits;
	CREATE TABLE checked (id int);
	CREATE FUNCTION refuse_once() RETURNS trigger LANGUAGE plpgsql AS \$\$
	BEGIN
		IF nextval('commits') = 1 THEN
			RAISE EXCEPTION 'not at the commit' USING ERRCODE = '40001';
		END IF;
		RETURN NULL;
	END \$\$;
	CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON checked DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_once();
	GRANT INSERT ON checked TO PUBLIC;
	GRANT USAGE ON SEQUENCE commits TO PUBLIC;
	ALTER FUNCTION evq_succeed($identity) RENAME TO kept_succeed;
	CREATE FUNCTION evq_succeed($arguments) RETURNS $result LANGUAGE plpgsql AS \$\$
	BEGIN
		INSERT INTO public.checked VALUES (1);
		RETURN public.kept_succeed($names);
	END \$\$});
my $refused = begin($output);
end($refused);
succeeds($refused, 'a report whose commit failed is sent again');
wait_for_log(qr/msg="report will be repeated" event_id=$refused->{id} .*reason="not at the commit"/);
is(() = slurp_file($log) =~ /msg=reported .*event_id=$refused->{id}/g, 1, '... and taken for done once');
query("DROP FUNCTION evq_succeed($identity); ALTER FUNCTION kept_succeed($identity) RENAME TO evq_succeed");

stop_worker();

# A permit that is lost meanwhile. There is no room for the event in the worker itself.
start_worker('--concurrency=1', '--poll=600');
for my $case ([ $output, qr/level=warning msg="report was refused, it is dropped" report=success event_id=%s sqlstate=EQ004 / ], [ ':', qr/level=warning msg="1 of 1 permits were lost[^"]*" sqlstate=EQ004$/m ])
{
	my ($says, $pattern) = @$case;
	my $taken = begin($says);

	query("SELECT evq_fail('$taken->{id}', 'by hand')");
	my $permit = query("SELECT permit FROM evq_acquire('$taken->{id}', 'another')");
	isnt($permit, '', 'an event is another\'s');
	end($taken);
	$pattern =~ s/%s/$taken->{id}/;
	ok(wait_until(60, sub { slurp_file($log) =~ $pattern }), '... the log has EQ004 for the report of the first') || diag slurp_file($log);
	is(of($taken->{id}, "state || ' ' || worker"), 'being_processed another', '... and it is the other\'s still');
	query("SELECT evq_succeed('$taken->{id}', $permit)");
}
stop_worker();

# The answer to an acquisition comes when the worker has been told to end.
my $late = $node->safe_psql('postgres', q{SELECT evq_publish('work', NULL, :'script')}, extra_params => [ '-v', "script=touch $folder/late" ]);
$locker->query_safe('BEGIN; LOCK TABLE evq.event IN ACCESS EXCLUSIVE MODE');
start_worker('--poll=600');
wait_for_lock_wait();
$run->signal('TERM');
wait_for_log(qr/msg="told to end, waiting for handlers"/);
$locker->query_safe('COMMIT');
stop_worker();
ok(!-e "$folder/late", 'what is acquired after SIGTERM is not begun');
is(of($late, "state || ' ' || attempts_used"), 'awaiting_processing 0', '... and given back');
wait_for_log(qr/msg=reported report=release event_id=$late/);

end_session($locker);
$node->stop;
done_testing();

END
{
	# Whatever happens, it does not outlive the test.
	kill 'KILL', $run->{KIDS}[0]{PID} if $run;
}
