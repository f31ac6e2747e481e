# The copy of the configuration that each session and each dispatcher keeps: an error while it is read leaves the one of before,
# whole, and the change is seen when what was in the way is gone.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', "evq.poll_interval = '100ms'");
make_database($node, 'db');
# So many that what is freed is written to again.
$node->safe_psql('db', q{
	SELECT count(evq_configure_flow('F' || n)) FROM generate_series(1, 4000) n;
	SELECT evq_configure('other', 'OTHER');
	CREATE ROLE tenant;
	SELECT evq_grant_publisher('tenant', 'FLOW')});
ok(is_dispatching($node, 'db'), 'the dispatcher knows all flows');
my $dispatcher = dispatcher_pid($node, 'db');
my $log = log_end($node);
my $session = session($node, 'db');
my $tenant = session($node, 'db');
my $verb = "SELECT evq_publish('job', 'FLOW', 'f') IS NOT NULL";

is($session->query_safe($verb), 't', 'a session knows the configuration');
$tenant->query_safe('SET SESSION AUTHORIZATION tenant');
is($tenant->query_safe($verb), 't', '... and so does one of a restricted role');

# What a session says to a statement.
sub answer
{
	my ($of, $statement) = @_;
	my $answer = $of->query($statement) . $of->{stderr};

	$of->{stderr} = '';
	return $answer;
}

for my $table (qw(restriction flow event_type))
{
	my $change = $table eq 'flow' ? q{UPDATE evq.event_type SET priority = 7 WHERE event_type = 'job'} : q{UPDATE evq.flow SET max_dispatched = 7 WHERE flow_type = 'F7'};
	my $offset = log_end($node);
	my $lock = session($node, 'db');

	$lock->query_safe("BEGIN; LOCK TABLE evq.$table IN ACCESS EXCLUSIVE MODE");
	$node->safe_psql('db', $change);
	for my $one ($session, $tenant)
	{
		$one->query_safe("SET lock_timeout = '50ms'");
		like(answer($one, $verb), qr/lock timeout/, "evq.$table is locked, and another table has changed: a verb errs") for 1 .. 2;
	}
	ok(wait_for_log($node, qr/\[$dispatcher\] .*lock timeout/, $offset), '... and a turn of the dispatcher does');
	$lock->query_safe('COMMIT');
	end_session($lock);
	for my $one ($session, $tenant)
	{
		is($one->query_safe("RESET lock_timeout; $verb"), 't', '... until it is not locked any more');
	}
	like(answer($tenant, "SELECT evq_publish('other', NULL, 'f')"), qr/permission denied for flow "OTHER"/, 'the restriction holds');
}
my $event = publish($node, 'db');
is($node->safe_psql('db', "SELECT priority FROM evq.event WHERE event_id = '$event'"), '7', 'the change has taken effect');
ok(is_dispatching($node, 'db'), 'events are dispatched again');
is(dispatcher_pid($node, 'db'), $dispatcher, '... by the same process');
unlike(slurp_file($node->logfile, $log), qr/terminated by signal/, 'no process has died');

done_testing();
