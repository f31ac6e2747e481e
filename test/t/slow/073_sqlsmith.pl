# B1: random queries over everything that a database with evq has, by a role without rights and by each of evq's roles.
# The server does not crash, the dispatcher has no errors, and events do not suffer. EVQ_QUERIES: how many by each role.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $queries = $ENV{EVQ_QUERIES} // 4000;
my $seed = $ENV{EVQ_SEED} // 20261125;
my $node = make_server('main', "evq.poll_interval = '1s'", "statement_timeout = '2s'", "log_min_messages = fatal", "log_min_error_statement = panic");
make_database($node, 'db');

my @roles = qw(nobody evq_publisher evq_worker evq_operator evq_monitor);
$node->safe_psql('db', join '', 'CREATE ROLE smith_nobody LOGIN;', map { "CREATE ROLE smith_$_ LOGIN IN ROLE $_;" } grep { /^evq/ } @roles);
$node->safe_psql('db', q{SELECT count(*) FROM evq_publish_many('job', NULL, array_fill('before'::text, ARRAY[100]), array_fill('{}'::jsonb, ARRAY[100]))});

for my $role (@roles)
{
	# What a role may not do, sqlsmith tries all the same.
	my $log = "$PostgreSQL::Test::Utils::log_path/sqlsmith_$role.log";
	my $run = system("sqlsmith --target=\"@{[ $node->connstr('db') ]} user=smith_$role\" --exclude-catalog --seed=$seed --max-queries=$queries --verbose >$log 2>&1");
	my $said = slurp_file($log);

	is($run, 0, "$role: sqlsmith came to its end") or diag(substr $said, -2000);
	my ($done) = $said =~ /.*queries: (\d+)/s;
	note("$role: ", $done // 'no', ' queries reported');
	is($node->safe_psql('db', 'SELECT 1'), 1, '... the server answers');
}

my $log = slurp_file($node->logfile);
unlike($log, qr/terminated by signal|PANIC|TRAP:/, 'no process crashed');
is($node->safe_psql('db', q{SELECT count(*) FROM evq.events WHERE flow_id = 'before'}), 100, 'no event is lost');
is($node->safe_psql('db', q{SELECT count(*) FROM (SELECT event_id FROM evq.events GROUP BY 1 HAVING count(*) > 1) AS twice}), 0, 'nor doubled');
is($node->safe_psql('db', 'SELECT errors FROM evq_status()'), 0, 'the dispatcher had no errors');

$node->stop;
done_testing();
