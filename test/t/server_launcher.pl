# What comes in while the launcher waits for a dispatcher to start.  A server whose postmaster is stopped starts no
# process: so long the launcher waits, with the list of databases that it had read before.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Server qw(postmaster_pid);
use Evq::Test;
use Test::More;

my $node = make_server('main');

# In this order they have their places, and in this order the launcher looks at them.
make_database($node, $_) for qw(first second model);
my %session = map { $_ => session($node, $_) } qw(postgres first second);

sub pause
{
	for my $database (@_)
	{
		$session{$database}->query_safe('SELECT evq_pause()');
		wait_for_no_dispatcher($node, $database);
	}
}

# Runs code while the launcher waits for the dispatcher of a paused database that goes on.
sub while_it_waits
{
	my ($database, $run) = @_;
	my $postmaster = postmaster_pid($node);

	kill 'STOP', $postmaster;
	$session{$database}->query_safe('SELECT evq_resume()');
	my $waits = poll_until('the launcher waits', sub { $session{postgres}->query_safe(
		q{SELECT lower(wait_event) = 'bgworkerstartup' FROM pg_stat_activity WHERE backend_type = 'evq launcher'}) eq 't' });
	$run->();
	kill 'CONT', $postmaster;
	ok($waits, 'the launcher waited');
}

pause(qw(first second));
while_it_waits('second', sub { $session{first}->query_safe('SELECT evq_resume()') });
ok(is_dispatching($node, 'second'), 'the dispatcher that it waited for starts');
ok(is_dispatching($node, 'first'), 'and that of a database that it had looked at before');

pause('first');
while_it_waits('first', sub { $session{postgres}->query_safe('CREATE DATABASE made TEMPLATE model') });
ok(is_dispatching($node, 'first'), 'the dispatcher that it waited for starts');
ok(is_dispatching($node, 'model'), 'and that of a template');
ok(is_dispatching($node, 'made'), 'and that of a database that was not there when the list was read');

end_session($_) for values %session;
$node->stop;
done_testing();
