# Copies of a database with evq: what was started from a base backup, or made from a template, is paused and grants permits of its
# own; a promoted standby is not. Data that was set back unseen grants no permit again.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Server qw(make_server);
use Evq::Test qw(is_dispatching make_database poll_until publish state_of wait_for_dispatcher wait_for_no_dispatcher wait_for_state);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils qw(append_to_file slurp_file system_or_bail);
use Test::More;

my $database = 'postgres';
my $paused = 'this database is paused';
my $main = make_server('main', allows_streaming => 1, "evq.poll_interval = '100ms'");

sub problem { my ($node, $where) = @_; return $node->safe_psql($where // $database, 'SELECT problem FROM evq_status()') }
sub acquire { my ($node, $id) = @_; return $node->safe_psql($database, "SELECT permit FROM evq_acquire('$id')") }

sub report_is_refused
{
	my ($node, $id, $permit, $name) = @_;
	my (undef, undef, $stderr) = $node->psql($database, "\\set VERBOSITY sqlstate\nSELECT evq_succeed('$id', $permit)");

	return like($stderr, qr/ERROR:  EQ004/, $name);
}

# ---------- permits ----------

$main->safe_psql($database, q{SELECT evq_configure('job', 'FLOW', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}')});
my $one = publish($main, $database);
is($main->safe_psql($database, qq{
	CREATE TABLE permits (number bigint);
	DO \$\$ BEGIN FOR i IN 1 .. 20 LOOP
		PERFORM evq_release('$one', permit) FROM evq_acquire('$one');
		INSERT INTO permits SELECT permit & 4294967295 FROM evq.events WHERE event_id = '$one';
	END LOOP; END \$\$;
	SELECT count(DISTINCT number) = 20, max(number) - min(number) > 1000000 FROM permits}), 't|t', 'numbers of permits are drawn');

# ---------- a base backup that is started as it is ----------

my $held = publish($main, $database);
my $permit_of_before = acquire($main, $held);
my $waiting = publish($main, $database);
wait_for_state($main, $database, $waiting, 'dispatched');
make_database($main, 'empty');
$main->backup('base');
my $permit = acquire($main, $waiting);

my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($main, 'base');
$copy->start;
ok(wait_for_dispatcher($copy, 'empty'), 'a copy without events is not paused');
ok(wait_for_no_dispatcher($copy, $database), 'one with events has no dispatcher');
is(problem($copy), $paused, 'for it is paused');
is($copy->safe_psql($database, 'SELECT reason FROM evq.pause'), 'started from a base backup', 'why');
is($copy->safe_psql($database, 'SELECT count(*) FROM evq_acquire_next($$FLOW$$, 10)'), 0, 'nothing is acquired');
is($copy->safe_psql($database, 'SELECT dispatched FROM evq_tick()'), 0, 'nor dispatched');
report_is_refused($copy, $held, $permit_of_before, 'a permit of before the backup is refused');
is($copy->safe_psql($database, 'SELECT evq_resume()'), 't', 'it is resumed');
ok(is_dispatching($copy, $database), 'and works');
my $permit_of_copy = acquire($copy, $waiting);
isnt($permit_of_copy, $permit, 'it grants another permit');
report_is_refused($copy, $waiting, $permit, 'that of the original is refused');
is($copy->safe_psql($database, "SELECT evq_succeed('$waiting', $permit_of_copy)"), '{}', 'its own holds');
$copy->restart;
ok(is_dispatching($copy, $database), 'after a restart it goes on');
$copy->stop;
is($main->safe_psql($database, "SELECT evq_succeed('$waiting', $permit)"), '{}', 'the original goes on meanwhile');

# Without a dispatcher it is found out by the first who would acquire. The label is in an encoding of its own.
my $idle = PostgreSQL::Test::Cluster->new('idle');
$idle->init_from_backup($main, 'base');
my $label = $idle->data_dir . '/backup_label';
my $text = slurp_file($label) =~ s/^LABEL: .*/LABEL: d\xe9j\xe0 vu \\ /mr;
unlink $label;
append_to_file($label, $text);
$idle->append_conf('postgresql.conf', 'evq.enabled = off');
$idle->start;
is($idle->safe_psql($database, 'SELECT count(*) FROM evq_acquire_next($$FLOW$$, 10)'), 0, 'without a dispatcher nothing is acquired');
is($idle->safe_psql($database, 'SELECT reason FROM evq.pause'), 'started from a base backup', 'and it is paused');
is($idle->safe_psql($database, q{SELECT evq_resume(); SELECT reason FROM evq.pause}), 't', '... until it is resumed');
is($idle->safe_psql($database, 'SELECT count(*) FROM evq_acquire_next($$FLOW$$)'), 1, '... and then works');
$idle->safe_psql($database, 'CREATE DATABASE later');
$idle->safe_psql('later', q{CREATE EXTENSION evq; SELECT evq_configure('job', 'FLOW'); SELECT evq_publish('job', NULL, 'x')});
is($idle->safe_psql('later', 'SELECT count(*), (SELECT count(*) FROM evq.pause) FROM evq_acquire_next($$FLOW$$)'), '1|0', 'an extension made there is at home');
$idle->stop;

# ---------- a standby that is promoted goes on by itself ----------

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($main, 'base', has_streaming => 1);
$standby->start;
$main->wait_for_catchup($standby);
$standby->promote;
ok(is_dispatching($standby, $database), 'a promoted standby goes on');
is($standby->safe_psql($database, 'SELECT count(*) FROM evq.pause'), 0, 'without a pause');
$standby->stop;

# ---------- a copy made from a template ----------

wait_for_state($main, $database, publish($main, $database), 'dispatched');
$main->safe_psql('empty', q{SELECT evq_configure('job', 'FLOW', attempt_delays => '{0}')});
$main->safe_psql('template1', 'CREATE DATABASE made TEMPLATE empty');
ok(is_dispatching($main, 'made'), 'made from a template without events: it works at once');
is($main->safe_psql('made', 'SELECT count(*) FROM evq.pause'), 0, 'without a pause');
wait_for_state($main, 'made', publish($main, 'made'), 'dispatched');
$main->safe_psql('template1', 'CREATE DATABASE second TEMPLATE made');
ok(poll_until('pause', sub { problem($main, 'second') eq $paused }), 'made from one with events: it is paused');
is($main->safe_psql('second', 'SELECT reason FROM evq.pause'), 'created from another database', 'why');
ok(is_dispatching($main, 'made'), 'the template goes on');
is($main->safe_psql('second', 'SELECT evq_resume()'), 't', 'the copy is resumed');
ok(is_dispatching($main, 'second'), 'and works');

# ---------- data that is set back ----------

my $rewound = publish($main, $database);
wait_for_state($main, $database, $rewound, 'dispatched');
my $data = $main->data_dir;
$main->stop;
system_or_bail('cp', '-R', $data, "$data.before");
$main->start;
my $lost = acquire($main, $rewound);
$main->stop('immediate');
system_or_bail('rm', '-rf', $data);
rename "$data.before", $data or die "cannot rename: $!";
$main->start;
ok(wait_for_dispatcher($main, $database), 'a server whose data was set back is not known from one that crashed');
my $again = acquire($main, $rewound);
like($again, qr/^\d+$/, 'it grants a permit');
is($again >> 32, $lost >> 32, 'of the same epoch');
isnt($again, $lost, 'but another one');
report_is_refused($main, $rewound, $lost, 'the one that was lost is refused');
is($main->safe_psql($database, "SELECT evq_succeed('$rewound', $again)"), '{}', 'its own holds');

$main->stop;
done_testing();
