# The disk is full, again and again, under load: what was acknowledged comes out, once, when there is space.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Load;
use Evq::Server qw(make_server postmaster_pid start_again wait_for_dispatcher wait_for_result wait_until);
use Evq::SmallDisk;

my $disk = Evq::SmallDisk->mine(128) or plan skip_all => 'the kernel does not let this user mount a disk of its own';
my $rounds = 3;
my $patience = 180;

sub start_load
{
	my ($node) = @_;

	$node->safe_psql(
		'postgres', q{
		SELECT evq_configure_flow('FLOW_B', dispatch_timeout => '1 s');
		SELECT evq_configure('CLEANUP', 'FLOW_B', 100, '1 hour', '{0 s}', attempt_timeout => '3 s');
		SELECT evq_configure('NEXT_STEP', 'FLOW_B', 100, '1 hour', '{0 s}', attempt_timeout => '3 s');
		SELECT evq_configure('STEP', 'FLOW_B', 3, '1 hour', '{0 s}', attempt_timeout => '3 s', on_fail_event_type => 'CLEANUP');
		SELECT evq_configure_flow('BULK', delivery => 'pull', dispatch_timeout => '1 s');
		SELECT evq_configure('PARCEL', 'BULK', 100, '1 hour', '{0 s}', attempt_timeout => '3 s')});
	my $load = Evq::Load->new(
		$node,
		{   flow    => 'FLOW_B',
			channel => 'evq_flow_b',
			next    => { STEP => ['NEXT_STEP'] },
			fail    => { STEP => 0.3, PARCEL => 0.02 },
			bear    => ['53100'],
		});
	$load->start_publisher(type => 'STEP', count => 4000, rate => 100);
	$load->start_publisher(type => 'PARCEL', flow => 'BULK', count => 12000, rate => 300, together => 40);
	$load->start_workers(2, by => 'token', batch => 25, flow => 'BULK');
	$load->start_workers(4);
	$load->start_workers(1, batch => 5);
	$load->start_workers(1, by => 'notify');
	return $load;
}

sub wait_for_progress
{
	my ($node, $load) = @_;
	my ($status, $finished, $now) = (1);

	wait_until($patience, sub { ($status, $finished) = $node->psql('postgres', 'SELECT count(*) FROM evq.event_history'); return $status == 0 })
	  or die 'the server does not answer';
	wait_for_result($node, "SELECT count(*) > $finished + 200 FROM evq.event_history", 't');
	$load->is_published and die 'all was published before the disk was full as often as wanted';
	return;
}

# Keeps the disk full until the server's log, from an offset on, has so many such lines.
sub fill_until
{
	my ($node, $offset, $count, $pattern) = @_;

	return wait_until($patience, sub { $disk->fill; return $count <= (() = slurp_file($node->logfile, $offset) =~ /$pattern/g) });
}

sub finish_load
{
	my ($node, $load, $what) = @_;
	my $log = slurp_file($node->logfile);

	$load->drain($patience);
	$load->stop;
	$load->check;
	diag(
		sprintf '%s: %s; out of space in %d errors and %d PANICs of the server',
		$what, $load->figures, scalar(() = $log =~ /ERROR:.*No space left on device/g), scalar(() = $log =~ /PANIC:.*No space left on device/g));
	$node->stop;
	return;
}

# The tables' disk, not that of WAL: statements fail, the server goes on.
sub test_tables
{
	my $node = make_server('tables', extension => 0, conf => "evq.store_batches_from = 2\n");
	my $tablespace = $disk->folder . '/tables';

	mkdir $tablespace or die "$tablespace: $!";
	$node->safe_psql('template1', "CREATE TABLESPACE small LOCATION '$tablespace'");
	$node->safe_psql('template1', 'ALTER DATABASE postgres SET TABLESPACE small');
	$node->safe_psql('postgres', 'CREATE EXTENSION evq');
	my $load = start_load($node);
	for my $round (1 .. $rounds)
	{
		wait_for_progress($node, $load);
		my $offset = -s $node->logfile;
		ok(fill_until($node, $offset, 20, qr/ERROR:.*No space left on device/), "tables, round $round: statements fail for want of space");
		$disk->make_space;
	}
	my $log = slurp_file($node->logfile);
	unlike($log, qr/PANIC:|terminated by signal/, 'the server never went down');
	cmp_ok(scalar(() = $log =~ /is put off/g), '<', 100, 'the dispatcher did not fill the log');
	finish_load($node, $load, 'disk of the tables');
	$node->clean_node;
	return;
}

# The disk of WAL: the server goes down when it can write none, and cannot come up before there is space. Segments are
# small and none is used again, so that another one is needed all the time.
sub test_wal
{
	my $node = make_server(
		'wal',
		extra => [ '--wal-segsize=1', '--waldir=' . $disk->folder . '/wal' ],
		conf => "wal_recycle = off\nmax_wal_size = 1GB\ncheckpoint_timeout = 1h\nevq.store_batches_from = 2\n");
	my $load = start_load($node);
	for my $round (1 .. $rounds)
	{
		wait_for_progress($node, $load);
		my $offset = -s $node->logfile;
		my $postmaster = postmaster_pid($node);
		ok(fill_until($node, $offset, 1, qr/PANIC:.*No space left on device/), "WAL, round $round: the server goes down for want of space");
		$disk->make_space;
		if (wait_until($patience, sub { !kill(0, $postmaster) || $node->psql('postgres', 'SELECT', stderr => \my $error) == 0 }) && !kill 0, $postmaster)
		{
			note('it did not come up by itself');
			$node->kill9;
			start_again($node);
		}
		wait_for_dispatcher($node);
	}
	finish_load($node, $load, 'disk of WAL');
	return;
}

test_tables();
test_wal();
done_testing();
