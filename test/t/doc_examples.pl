# The examples do what they say: those in SQL end with what stands in their last comment; the workers ship what can be
# shipped, share it, and report what cannot.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main', "evq.poll_interval = '500ms'");
make_database($node, $_) for qw(db parcels);

# What does not depend on the width of columns.
sub essence { return shift =~ s/-{2,}/-/gr =~ s/ {2,}/ /gr =~ s/^ +| +$//mgr =~ s/\n+\z//r }

sub run_sql
{
	my ($database, $file) = @_;
	my $output;

	my $result = run_log([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', $file ], '>', \$output, '2>&1');
	ok($result, $file) or diag $output;
	return $output;
}

# ---------- SQL ----------

for my $file (grep { !/shipments/ } sort glob('examples/*.sql'))
{
	my ($promised) = slurp_file($file) =~ /^-- It ends with:\n((?:--.*\n)+)\z/m;
	my $output = run_sql('db', $file);

	$promised =~ s/^-- ?//mg;
	$promised = essence($promised) =~ s/\A\n+//r;
	is(essence(substr(essence($output), -length $promised)), $promised, "$file ends with what it says") or diag $output;
}

# ---------- workers ----------

run_sql('parcels', 'examples/shipments.sql');

sub ships
{
	my ($name, @command) = @_;

	my $worker = do
	{
		local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'parcels', PGUSER => 'parcel_worker');
		IPC::Run::start([@command], '<', '/dev/null', '>&', "$PostgreSQL::Test::Utils::log_path/example_$name.log");
	};

	$node->safe_psql('parcels', qq{
		SELECT evq_publish('PARCEL_SENT', NULL, flow_id) FROM unnest(ARRAY['$name 1', '$name 2', 'nowhere']) AS flow_id});
	ok(poll_until("parcels of $name", sub {
		$node->safe_psql('parcels', qq{
			SELECT (SELECT count(*) = 2 FROM shipment WHERE flow_id LIKE '$name _' AND worker = '$name')
				AND (SELECT count(*) = 2 FROM evq.events WHERE flow_id LIKE '$name _' AND state = 'succeeded' AND worker = '$name')
				AND NOT EXISTS (SELECT FROM evq.events WHERE finished_at IS NULL)}) eq 't' }), "$name: ships what can be shipped");
	is($node->safe_psql('parcels', q{SELECT DISTINCT state, attempts_used FROM evq.events WHERE flow_id = 'nowhere'}), 'failed|3', '... and reports what cannot');
	$worker->signal('TERM');
	eval { $worker->finish; };
}

ships('shell', './examples/worker.sh');
ships('python', '/usr/bin/python3', 'examples/worker.py');
SKIP:
{
	my $folder = $ENV{NODE_DRIVERS} or skip 'NODE_DRIVERS names no folder with node-postgres; test/run makes one', 2;
	local $ENV{NODE_PATH} = "$folder/node_modules";
	ships('node', 'node', 'examples/worker.js');
}

done_testing();
