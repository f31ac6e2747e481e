# A server with nothing to do does nothing: no transaction, no WAL.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;
use Time::HiRes qw(time);

my $node = make_server('main', "evq.poll_interval = '100ms'", 'autovacuum = off', "bgwriter_lru_maxpages = 0");
make_database($node, 'db');

# What the database's transactions left behind, seen from another database.
sub activity
{
	return $node->safe_psql('postgres', q{
		SELECT xact_commit, xact_rollback, pg_current_wal_insert_lsn(), pg_current_xact_id_if_assigned() IS NULL, txid_snapshot_xmax(txid_current_snapshot())
		FROM pg_stat_database WHERE datname = 'db'});
}

# Does nothing happen over 15 poll intervals?
sub is_idle
{
	my ($what) = @_;
	my $turns;
	my $before;

	# The counters of a session appear a while after its end.
	poll_until('the counters are settled', sub {
		my $now = activity();
		my $settled = defined $before && $before->[0] eq $now && time - $before->[1] > 1.2;
		$before = [ $now, time ] unless defined $before && $before->[0] eq $now;
		return $settled;
	}) or return fail("$what: no end of transactions");
	my $begin = time;
	poll_until('time passes', sub { time - $begin > 1.5 });
	return is(activity(), $before->[0], "$what: no transaction, no WAL");
}

is_idle('a database without events');

my @events = map { publish($node, 'db') } 1 .. 3;
wait_for_state($node, 'db', $_, 'dispatched') for @events;
$node->safe_psql('db', q{
	SELECT evq_succeed(e.event_id, a.permit) FROM evq.event e, evq_acquire(e.event_id) a;
	BEGIN; SELECT evq_publish('job', NULL, 'rolled back'); ROLLBACK});
is_idle('when all is done');
my $turns = $node->safe_psql('db', 'SELECT turns FROM evq_status()');

my $later = publish($node, 'db', "run_at => now() + interval '1 day'");
is_idle('with an event scheduled for tomorrow');
is(state_of($node, 'db', $later), 'awaiting_processing', 'which waits');

$node->safe_psql('db', "SELECT evq_cancel('$later')");
is_idle('when that was canceled');
cmp_ok($node->safe_psql('db', 'SELECT turns FROM evq_status()') - $turns, '<', 10, 'few turns were made in all');

ok(is_dispatching($node, 'db', 10), 'it is awake at once when there is work');
$node->stop;
done_testing();
