# evq.trace: the dispatcher says why it wakes, what it does, and until when it sleeps.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main');

make_database($node, 'db');
ok(is_dispatching($node, 'db'), 'a dispatcher runs');
my $log = log_end($node);

sub run
{
	return $node->safe_psql('db', @_);
}

# says(WHAT, PATTERN): waits until the log has the line.
sub says
{
	my ($what, $pattern) = @_;

	ok(poll_until($what, sub { slurp_file($node->logfile, $log) =~ $pattern }), "it says $what");
	return;
}

run(q{SELECT evq_configure('quiet', 'FLOW')});
my $event = run(q{SELECT evq_publish('quiet', NULL, 'one')});
ok(poll_until('a dispatch', sub { state_of($node, 'db', $event) eq 'dispatched' }), 'an event is dispatched');
unlike(slurp_file($node->logfile, $log), qr/LOG:  evq: (turn|event|woken)/, 'off: it says nothing of it');

$node->safe_psql('postgres', 'ALTER SYSTEM SET evq.trace = on');
$node->reload;
says('that it sleeps', qr/LOG:  evq: sleeps for up to \d+ ms; nothing is due before /);
$event = run(q{SELECT evq_publish('quiet', NULL, 'two')});
says('why it woke', qr/LOG:  evq: woken by its latch/);
says('what it heard', qr/LOG:  evq: heard of \d+ changes/);
says('what became of the event', qr/LOG:  evq: event $event: dispatched/);
says('what the turn did', qr/LOG:  evq: turn: 1 dispatched or offered, 0 timed out, 0 expired/);
run(q{SELECT evq_configure('another', 'FLOW')});
says('that it swept', qr/LOG:  evq: complete near sweep \d+ took \d+ ms; \d+ events are remembered.*evq: far sweep \d+ ended/s);

$node->stop;
done_testing();
