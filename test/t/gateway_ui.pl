# The web UI in a real browser: see test/ui/*.mjs.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server wait_for_dispatcher);

my $packages = $ENV{UI_PACKAGES};
plan skip_all => 'UI_PACKAGES names no folder with the packages of test/ui; test/run makes one' unless $packages;

my $top = "$FindBin::Bin/../..";
my $node = make_server('main');
my $alone = make_server('alone');

# Types of which no worker knows, for work by hand, and the rides of the demo with workers in a hurry.
$node->safe_psql('postgres', q{SELECT evq_configure('BY_HAND', 'FLOW_HAND', 3, '1 hour', '{0 s}')});
$node->safe_psql('postgres', q{
	SELECT evq_schedule(name, '@yearly', 'BY_HAND', NULL, name, make_job => false) FROM unnest('{yearly, broken}'::text[]) name;
	UPDATE evq.schedule SET event_type = 'GONE', done_until = done_until - interval '400 days' WHERE name = 'broken';
	SELECT evq.run_due_schedule('broken')});
$node->command_ok([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-v', 'speed=4', '-f', "$top/demo/ride.sql" ], 'the configuration of rides');
wait_for_dispatcher($_) for $node, $alone;

my %of_server = (PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => 'ride_worker', RIDE_SEED => 4, RIDE_SPEED => 4);
my $worker = IPC::Run::start([ 'env', (map { "$_=$of_server{$_}" } sort keys %of_server), 'evq-worker', '--flow', 'FLOW_B', '--concurrency', 4, "$top/demo/handlers/ride" ],
	'<', '/dev/null', '>', "$PostgreSQL::Test::Utils::log_path/ui_worker.log", '2>&1');

my $tokens = "$PostgreSQL::Test::Utils::tmp_check/tokens";
my $token = 'a-token-for-the-tests-of-the-web-ui-0123456789';
append_to_file($tokens, "evq_monitor $token\n");
chmod 0600, $tokens;
my $gateway = Evq::Gateway->new_ready($node);
my $without_workers = Evq::Gateway->new_ready($alone);
my $with_tokens = Evq::Gateway->new_ready($node, '--tokens', $tokens);

# What a screen about errors shows.
my $id = $gateway->post('/api/events', { event_type => 'BY_HAND', flow_id => 'failure' })->{json}{event_id};
my $permit = $gateway->post("/api/events/$id/acquire")->{json}{permit};
$gateway->post("/api/events/$id/failure", { permit => $permit, error_message => 'it broke', stack_trace => 'at line 1', retryable => JSON::PP::false });

my $pictures = $ENV{UI_SCREENSHOTS} // "$PostgreSQL::Test::Utils::tmp_check/ui";
mkdir $pictures;
my %settings = (
	UI_URL => "http://localhost:$gateway->{port}", UI_ALONE_URL => "http://localhost:$without_workers->{port}",
	UI_TOKEN_URL => "http://localhost:$with_tokens->{port}", UI_TOKEN => $token,
	UI_PACKAGES => $packages, UI_SCREENSHOTS => $pictures);
my $said = '';
my $browser = IPC::Run::start([ 'env', (map { "$_=$settings{$_}" } sort keys %settings), "$packages/node_modules/.bin/node", "$FindBin::Bin/../ui/run.mjs", split(' ', $ENV{UI_TESTS} // '') ],
	'<', '/dev/null', '>', \$said, '2>&1', IPC::Run::timeout(3600));
my $ended_well = eval { $browser->finish };
ok($ended_well && $said =~ /^done$/m, 'the tests in the browser come to their end') or diag($said);
while ($said =~ /^(not )?ok (.*)\n(?:# (.*)\n)?/mg)
{
	my ($failed, $name, $why) = ($1, $2, $3);
	ok(!$failed, $name) or diag($why);
}
note($said);

$worker->signal('TERM');
$worker->finish;
$_->stop for $gateway, $without_workers, $with_tokens, $node, $alone;
done_testing();
