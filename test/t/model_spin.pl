# Models of what must not go wrong in any order of steps, checked exhaustively with spin: no lost wake-up (K2), permits
# (K1, F1), order (K7), limits of groups, and of several flows, suspend and activate, batches. Each model is also broken on purpose, and then the error must be
# found. See test/model/README.md.
use strict;
use warnings;

use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use PostgreSQL::Test::Utils;
use Test::More;

my $models = getcwd() . '/test/model';

# check(MODEL, DEFINES): runs it through all its states; returns the number of errors found, of states, and the output.
sub check
{
	my ($model, @defines) = @_;
	my $folder = tempdir(CLEANUP => 1);
	my @define = map { "-D$_" } @defines;
	my $output = '';

	for my $command (
		[ 'spin', @define, '-a', "$models/$model.pml" ],
		[ 'gcc', '-O1', '-w', '-DSAFETY', '-DMEMLIM=1500', '-o', 'pan', 'pan.c' ],
		[ 'timeout', 600, './pan', '-m1000000' ])
	{
		my $pid = open my $out, '-|';
		defined $pid or die "fork: $!";
		if (!$pid)
		{
			chdir $folder or die "$folder: $!";
			open STDERR, '>&', \*STDOUT or die;
			exec @$command or die;
		}
		$output = join '', <$out>;
		close $out or return (undef, 0, "@$command: $output");
	}
	my ($errors) = $output =~ /errors: (\d+)/;
	my ($states) = $output =~ /(\d+) states, stored/;

	$errors = undef if !$errors && $output =~ /Search not completed|max search depth too small/;
	return ($errors, $states, $output);
}

sub holds
{
	my ($what, @model) = @_;
	my ($errors, $states, $output) = check(@model);

	is($errors, 0, "$what: holds in all states") or note($output);
	note("$what: $states states");
	return;
}

sub fails
{
	my ($what, @model) = @_;
	my ($errors, undef, $output) = check(@model);

	cmp_ok($errors // 0, '>', 0, "broken: $what") or diag($output);
	return;
}

holds('wake-up', 'wake_up');
fails('sessions look at the dispatcher before they write to the ring', 'wake_up', 'MUTANT_LOOK_FIRST');
fails('the ring does not remember that it overflowed', 'wake_up', 'MUTANT_OVERFLOW');

holds('wake-up, where all that is told may be lost', 'wake_up', 'LOSE');
fails('a sweep believes that it is the last one while a transaction is under way', 'wake_up', 'LOSE', 'MUTANT_COUNT');

holds('permits', 'permits');
holds('permits, over a promotion', 'permits', 'FAILOVER');
fails('an acquire is committed asynchronously', 'permits', 'MUTANT_ASYNC_ACQUIRE');
fails('a report writes without looking at the row again', 'permits', 'MUTANT_BLIND_WRITE');
fails('a promotion begins no epoch', 'permits', 'FAILOVER', 'MUTANT_NO_EPOCH');

holds('order', 'ordered');
fails('the dispatcher does not look for events of the flow_id on their way', 'ordered', 'MUTANT_NOT_BUSY');
fails('the dispatcher offers an event without changing its state', 'ordered', 'MUTANT_OFFER');

holds('groups', 'groups');
holds('groups, over a crash', 'groups', 'CRASH');
fails('the dispatcher counts only what is in process', 'groups', 'MUTANT_COUNT_PROCESSING');
fails('the dispatcher offers an event without changing its state', 'groups', 'MUTANT_OFFER');
fails('the dispatcher believes what is told late', 'groups', 'MUTANT_BELIEVE_LATE');
fails('the dispatcher does not note when it dispatched', 'groups', 'MUTANT_NOT_NOTED');
fails('a new dispatcher gives turns before it has seen all', 'groups', 'MUTANT_BEFORE_SWEEP');
fails('an acquire is committed asynchronously', 'groups', 'CRASH', 'MUTANT_ASYNC_ACQUIRE');

holds('limits that flows share', 'limits');
holds('limits that flows share, over a crash', 'limits', 'CRASH', 'ATTEMPTS=1');
holds('... with two lanes in a flow, that may be paused', 'limits', 'THREE', 'ATTEMPTS=1');
fails('each flow counts its own', 'limits', 'MUTANT_PER_FLOW');
fails('a session gives turns to its own events', 'limits', 'MUTANT_SESSION');
fails('a new dispatcher gives turns before it has seen all', 'limits', 'MUTANT_BEFORE_SWEEP');
fails('room opens one lane, whose flow may be paused', 'limits', 'THREE', 'ATTEMPTS=1', 'MUTANT_WAKE_ONE');
fails('room opens the first lane of a flow, and no other after it', 'limits', 'THREE', 'ATTEMPTS=1', 'MUTANT_NO_MORE');

holds('suspend and activate', 'suspend');
fails('an activation before the suspend is refused', 'suspend', 'MUTANT_REFUSE_EARLY');
fails('a suspend writes without looking at the row again', 'suspend', 'MUTANT_BLIND_WRITE');
fails('a suspend consumes the activation of an earlier round', 'suspend', 'MUTANT_CONSUME_ANY');
fails('an activation does not look whose round it is for', 'suspend', 'MUTANT_NO_TOKEN');

holds('batches', 'batches');
holds('batches, over a crash', 'batches', 'CRASH');
holds('batches, with savepoints', 'batches', 'SAVEPOINTS');
fails('a run is made without the lock', 'batches', 'MUTANT_NO_LOCK');
fails('the lock is given back before the run is written', 'batches', 'MUTANT_EARLY_RELEASE');
fails('a run is made without a look at open transactions', 'batches', 'MUTANT_COMMITTED');
fails('a run is made without a look at exceptions', 'batches', 'MUTANT_RUNS_ALONE');
fails('a session waits while it has the lock', 'batches', 'MUTANT_WAIT_WITH_LOCK');
fails('a report of all of a run does without the lock', 'batches', 'MUTANT_UNLOCKED_FINISH');
fails('a report does not look whether its run has ended', 'batches', 'MUTANT_LATE');
fails('a report of the rest counts what an open transaction has reported', 'batches', 'MUTANT_COUNT_OTHERS');
fails('a permit runs out without a look at open transactions', 'batches', 'MUTANT_BLIND_TIMEOUT');
fails('the dispatcher counts what is not committed', 'batches', 'MUTANT_COUNT_OPEN');
fails('a session remembers what it rolled back to a savepoint', 'batches', 'SAVEPOINTS', 'MUTANT_REMEMBER');

done_testing();
