# Four servers as shards behind the router of contrib/plproxy: each flow_id has its shard, a shard that is away takes
# nothing else with it and loses nothing, and shards can be split.
use strict;
use warnings;

use Digest::SHA qw(sha256);
use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Server qw(make_server sqlstate wait_for_dispatcher wait_until);

my $contrib = "$FindBin::Bin/../../contrib/plproxy";
my $configuration = q{
	SELECT evq_configure('STEP', 'FLOW_B', 5, '1 day', '{0 s}', attempt_timeout => '1 hour');
	SELECT evq_configure('NEXT', 'FLOW_B', 5, '1 day', '{0 s}', attempt_timeout => '1 hour');
	SELECT evq_configure_flow('FLOW_C', delivery => 'pull');
	SELECT evq_configure('OTHER', 'FLOW_C', 5, '1 day', '{0 s}', attempt_timeout => '1 hour');
};

my @shards = map { make_server("shard_$_", conf => "max_connections = 40\nevq.store_batches_from = 2\nevq.max_databases = " . ($_ == 3 ? 1 : 2) . "\n") } 0 .. 3;
my $router_server = $shards[0];

# ---------- the router, in a database of the first server ----------

# What Evq::Server takes for a node, with another database.
package Router
{
	sub psql { my ($self, $database, @rest) = @_; return $router_server->psql('router', @rest) }
}
my $router = bless {}, 'Router';

sub query { my ($sql) = @_; return $router_server->safe_psql('router', "SET client_min_messages = error;\n$sql") }
sub fails_with { my ($sql, $sqlstate, $name) = @_; return is(sqlstate($router, $sql), $sqlstate, $name) }
sub shard_of { my ($flow_id, $count) = @_; return ord(sha256($flow_id)) & (($count // 4) - 1) }

# The first flow_id of the given prefix that belongs to a shard.
sub flow_id_on
{
	my ($shard, $prefix) = @_;
	my $n = 0;

	$n++ until shard_of("$prefix-$n") == $shard;
	return "$prefix-$n";
}

sub connection { my ($node, $database) = @_; return sprintf "dbname=%s host=%s port=%s", $database // 'postgres', $node->host, $node->port }

sub set_shards
{
	my (@connections) = @_;

	return 'SELECT evq_router.set_shards(' . join(', ', map { "'$_'" } @connections) . ')';
}

sub make_router
{
	$_->safe_psql('postgres', $configuration . 'CREATE ROLE shop LOGIN; GRANT evq_publisher, evq_worker TO shop') for @shards;

	my ($status, undef, $error) = $router_server->psql('postgres', "\\i $contrib/router.sql");
	like($error, qr/it is a shard, or a router already/, 'a shard cannot be made the router');

	$router_server->safe_psql('postgres', 'CREATE DATABASE router');
	$router_server->safe_psql('router', "\\i $contrib/router.sql");
	fails_with(q{SELECT evq_publish('STEP', NULL, 'x')}, '42704', 'a router without shards says so');
	fails_with(set_shards(map { "dbname=$_" } 1 .. 3), 'EQ006', 'three shards are refused');
	fails_with(set_shards('dbname=a password=x', 'dbname=b'), 'EQ006', 'a password that all could read is refused');
	fails_with(set_shards('dbname=a', 'dbname=a'), 'EQ006', 'one database as two shards is refused');
	is(query(set_shards(map { connection($_) } @shards)), 4, 'the router has four shards');
	fails_with(set_shards('dbname=a', 'dbname=b'), 'EQ006', 'fewer shards are refused');
	query(q{
		CREATE USER MAPPING FOR postgres SERVER evq OPTIONS (user 'postgres');
		CREATE USER MAPPING FOR shop SERVER evq OPTIONS (user 'shop');
		GRANT evq_publisher, evq_worker TO shop;
		CREATE ROLE stranger;
		CREATE ROLE watcher IN ROLE evq_monitor;
		CREATE USER MAPPING FOR watcher SERVER evq OPTIONS (user 'postgres');
		CREATE TABLE done (event_id uuid PRIMARY KEY, flow_id text);
		GRANT SELECT, INSERT ON done TO shop;
		CREATE PROCEDURE work(name text, wanted bigint) LANGUAGE plpgsql AS $$
		DECLARE
			event evq.acquired;
		BEGIN
			LOOP
				FOR event IN SELECT * FROM evq_acquire_next('FLOW_B', 5, worker => name) LOOP
					IF event.attempt = 1 AND event.flow_id LIKE '%3' THEN
						PERFORM evq_fail(event.event_id, 'the first attempt of some', event.permit);
					ELSE
						PERFORM evq_succeed(event.event_id, event.permit, spinoffs =>
							CASE WHEN event.event_type = 'STEP' AND event.flow_id LIKE '%7' THEN jsonb '[{"event_type": "NEXT"}]' END);
						INSERT INTO done VALUES (event.event_id, event.flow_id);
					END IF;
				END LOOP;
				COMMIT;
				EXIT WHEN (SELECT count(*) >= wanted FROM done);
				PERFORM pg_sleep(0.02);
			END LOOP;
		END $$;
		GRANT EXECUTE ON PROCEDURE work TO shop});
	return;
}

# Workers of the role "shop" until so many events are done.
sub work_off
{
	my ($wanted) = @_;
	my @workers = map {
		IPC::Run::start([
				'psql', '--no-psqlrc', '--quiet', '--set=ON_ERROR_STOP=1', '--dbname', $router_server->connstr('router'),
				'--command', 'SET ROLE shop; SET client_min_messages = error', '--command', "CALL work('worker $_', $wanted)" ],
			'<', \'', '>', \my $out, '2>', \my $error, IPC::Run::timeout(180))
	} 1 .. 3;
	my $failed = grep { !$_->finish } @workers;
	is($failed, 0, 'the workers end well');
	return;
}

# All shards together: SQL that returns rows.
sub everywhere
{
	my ($sql) = @_;
	return map { split /\n/, $_->safe_psql('postgres', $sql) } @shards;
}

# What belongs to no shard but its own, seen on the shards themselves.
sub check_places
{
	my ($name) = @_;
	my $misplaced = 0;

	for my $n (0 .. 3)
	{
		$misplaced += grep { shard_of($_) != $n } split /\n/, $shards[$n]->safe_psql('postgres', 'SELECT flow_id FROM evq.events');
	}
	is($misplaced, 0, $name);
	return;
}

sub check_finished
{
	my ($wanted, $name) = @_;
	my @finished = everywhere(q{SELECT event_id FROM evq.events WHERE state = 'succeeded'});
	my %of = map { $_ => 1 } @finished;

	is(scalar @finished, $wanted, "$name: all events succeeded");
	is(scalar keys %of, $wanted, '... each on one shard only');
	is(query('SELECT count(*) FROM done'), $wanted, '... and was reported once');
	is_deeply([ sort split /\n/, query('SELECT event_id FROM done') ], [ sort @finished ], '... they are the ones that the workers had');
	check_places('... on the shard of the flow_id');
	return;
}

# ---------- what works ----------

sub test_publish_and_work
{
	my @singles = split /\n/, query(q{SELECT evq_publish('STEP', 'FLOW_B', 'single-' || n % 30, to_jsonb(n)) FROM generate_series(1, 100) AS n});
	my @many = split /\n/, query(q{
		SELECT evq_publish_many((SELECT jsonb_agg(jsonb_build_object('event_type', 'STEP', 'flow_id', 'many-' || n % 40, 'payload', n) ORDER BY n)
			FROM generate_series(1, 200) AS n))});
	my @fast = split /\n/, query(q{
		SELECT evq_publish_many('STEP', NULL, array_agg('fast-' || n % 20 ORDER BY n), array_agg(to_jsonb(n) ORDER BY n)) FROM generate_series(1, 100) AS n});
	my %payload = map { split /\|/ } everywhere('SELECT event_id, payload FROM evq.payloads');

	is_deeply([ map { $payload{$_} } @singles, @many, @fast ], [ 1 .. 100, 1 .. 200, 1 .. 100 ], 'ids come in the order of what was published');
	check_places('each event is on the shard of its flow_id');
	is(scalar(grep { $_->safe_psql('postgres', 'SELECT count(*) FROM evq.events') > 20 } @shards), 4, 'all shards have some');
	is(query('SELECT sum(events) FROM evq_counts()'), 400, 'evq_counts() sums over the shards');
	is(query(q{SELECT count(*) FROM evq_counts('FLOW_C')}), 0, '... of one flow, if asked');
	is(query('SELECT sum(live_events), count(*) FILTER (WHERE running) FROM evq_shards()'), '400|4', 'evq_shards() shows them');

	my $spinoffs = grep { /7$/ } everywhere('SELECT flow_id FROM evq.events');
	cmp_ok($spinoffs, '>', 10, 'some will have a spinoff');
	work_off(400 + $spinoffs);
	check_finished(400 + $spinoffs, 'worked off through the router');
	cmp_ok(scalar(everywhere('SELECT 1 FROM evq.errors')), '>', 10, 'some took two attempts');
	return 400 + $spinoffs;
}

sub acquired
{
	my ($event, $flow_id) = @_;

	my $permit;

	wait_until(60, sub {
		return $permit = query("SELECT permit FROM evq_acquire('$event'" . ($flow_id ? ", flow_id => '$flow_id')" : ')')) });
	return $permit;
}

sub test_verbs
{
	my $event = query(q{SELECT evq_publish('OTHER', NULL, 'verbs', '{"a": 1}')});
	my $permit = acquired($event);
	my $on_shard = $permit & ((1 << 55) - 1);

	is(query("SELECT event_id, accepted FROM evq_fail_many('{$event}', '{@{[ $permit - 1 ]}}', 'x')"), "$event|f", 'fail_many: not with another permit');
	is(query("SELECT held, cancel_requested FROM evq_heartbeat('{$event}', '{$permit}')"), 't|f', 'heartbeat');
	query("SELECT evq_release('$event', $permit)");
	fails_with("SELECT evq_succeed('$event', $permit)", 'EQ004', 'a permit that was given back is lost');
	$permit = acquired($event, 'verbs');
	query("SELECT evq_snooze('$event', $permit, now() + interval '1 s')");
	$permit = acquired($event);
	query("SELECT evq_suspend('$event', $permit, '1 hour')");
	is(query(qq(SELECT evq_activate('$event', '{"b": 2}', '"yes"', $permit))), 'awaiting_processing', 'activate, with an answer and the permit');
	$permit = acquired($event);
	is(query("SELECT evq_event('$event', 'verbs')->'payload'"), '{"a": 1, "b": 2}', 'suspend and activate');
	is(query("SELECT evq_fail('$event', 'no', $permit, retryable => false)"), 'failed', 'fail');
	query("SELECT evq_retry('$event')");
	query("SELECT evq_cancel('$event', 'enough', flow_id => 'verbs')");
	is(query("SELECT evq_event('$event')->>'state'"), 'canceled', 'retry and cancel');

	fails_with("SELECT evq_succeed('$event')", 'EQ006', 'a report without permit and flow_id tells no shard');
	fails_with("SELECT evq_succeed('$event', $on_shard)", 'EQ006', 'nor does a permit that a shard gave');
	fails_with("SELECT evq_succeed('$event', $on_shard, flow_id => 'verbs')", 'EQ004', '... but it does with flow_id');
	fails_with("SELECT evq_succeed('$event', 9223372036854775807)", 'EQ006', 'a permit of a shard that is not there');
	fails_with("SELECT evq_heartbeat('{$event}', '{}')", 'EQ006', 'a permit is missing');
	fails_with("SELECT evq_$_('00000000-0000-7000-8000-000000000000')", 'EQ002', "evq_$_ of an event that is on no shard")
	  for qw(event cancel retry activate);
	fails_with(q{SELECT evq_publish('NOPE', NULL, 'x')}, 'EQ001', 'an error of the shard keeps its SQLSTATE');
	fails_with(q{SELECT evq_publish('STEP', NULL, NULL)}, 'EQ006', 'a flow_id is required');
	fails_with(q{SELECT evq_publish_many('{}')}, 'EQ006', 'evq_publish_many wants an array');
	fails_with(q{SELECT evq_publish_many('STEP', NULL, '{a,b}', ARRAY[jsonb '1'])}, 'EQ006', '... and a payload for each flow_id');
	fails_with(q{SELECT evq_acquire_next('NO_FLOW')}, 'EQ001', 'an unknown flow');
	fails_with(q{SET ROLE stranger; SELECT evq_publish('STEP', NULL, 'x')}, '42501', 'a role without grants may nothing');
	my (undef, undef, $refused) = $router->psql('router', qq{\\set VERBOSITY verbose\nGRANT evq_publisher, evq_monitor TO stranger; SET ROLE stranger;
		SELECT evq_publish('STEP', NULL, 'x');\nSELECT evq_publish('STEP', NULL, 'x');\nSELECT evq_router.publish(0, 'STEP', NULL, 'x', '{}', NULL, NULL, NULL, NULL, NULL, NULL);
		SELECT evq_counts();\nSELECT evq_router.ping(0)}, on_error_stop => 0);
	is(scalar(() = $refused =~ /ERROR:  42704: (?:role "stranger" has no user mapping|user mapping not found)/g), 5, 'a role without a mapping is refused, and again');
	is(query('SET ROLE stranger; SELECT count(*) FROM evq_shards() WHERE problem ~ $$CREATE USER MAPPING FOR stranger$$'), 4, '... and told what to do');
	fails_with(q{SET ROLE watcher; SELECT evq_router.publish(0, 'STEP', NULL, 'x', '{}', NULL, NULL, NULL, NULL, NULL, NULL)}, '42501',
		'a monitor may not publish, whoever it is on the shards');
	is(query('SET ROLE watcher; SELECT count(*) FROM evq_counts()') . query('SET ROLE watcher; SELECT count(*) - count(problem) FROM evq_shards()'),
		'04', '... it sees counts, and four shards without problems');
	is(query(q{SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE (n.nspname = 'evq_router' OR p.proname LIKE 'evq\_%') AND obj_description(p.oid, 'pg_proc') IS NULL}), 0, 'every function has a comment');
	fails_with(q{SET ROLE shop; SELECT evq_cancel('00000000-0000-7000-8000-000000000000')}, '42501', 'a worker may not what only operators may');
	fails_with(q{SET ROLE shop; } . set_shards('dbname=a', 'dbname=b'), '42501', '... nor define shards');
	return;
}

# The plain calls of drivers, which know text only, and of those who write json and numbers.
sub test_types
{
	my $plain = query(q{SELECT evq_publish('OTHER', NULL, 17, '{"a": 1}'::json, priority => 5)});
	my $prepared = query(q{PREPARE p AS SELECT evq_publish($1, $2, $3, $4, headers => $5); EXECUTE p ('OTHER', NULL, 'types', '{"a": 2}', '{"h": 1}')});
	my @many = split /\n/, query(q{SELECT evq_publish_many('[{"event_type": "OTHER", "flow_id": 17}]'::text);
		SELECT evq_publish_many('OTHER', NULL, '{types}', ARRAY['{"a": 3}'], priority => 1)});
	my $row = join "\n", map { query("SELECT e->>'flow_id', e->>'priority', e->'payload'->>'a' FROM evq_event('$_') e") } $plain, $prepared, @many;

	is($row, "17|5|1\ntypes|0|2\n17|0|\ntypes|1|3", 'json, text, whole numbers');
	my $permit = acquired($plain);
	is(query("SELECT held FROM evq_heartbeat(ARRAY['$plain'], ARRAY[$permit])"), 't', 'ids as text');
	query("SELECT evq_suspend('$plain', $permit)");
	is(query("SELECT evq_activate('$plain', NULL, '{}'::json, $permit)"), 'awaiting_processing', 'an answer of json');
	$permit = acquired($plain);
	query("SELECT evq_succeed('$plain', $permit, '{\"r\": 1}'::json)");
	is(query("SELECT evq_event('$plain')->>'result'"), '{"r": 1}', 'a result of json');
	fails_with(q{SELECT evq_publish('OTHER', NULL, 'x', 5)}, 'EQ006', 'a payload that is no JSON');
	fails_with(q{SELECT evq_publish('OTHER', NULL, 1.5)}, 'EQ006', 'a flow_id that is no whole number');
	query("SELECT evq_cancel('$_')") for $prepared, @many;
	return;
}

# The programs need a shard.
sub test_programs
{
	my %programs = (
		'evq-worker' => [ '--dbname', $router_server->connstr('router'), '--flow=FLOW_B', '--', 'cat' ],
		'evq-gateway' => [ '--database', $router_server->connstr('router'), '--port', 0 ]);

	for my $name (sort keys %programs)
	{
		my $said = '';
		my $status = IPC::Run::run([ $name, @{ $programs{$name} } ], '<', \'', '>', \$said, '2>&1', IPC::Run::timeout(60));
		ok(!$status, "$name ends at a router");
		like($said, qr/if it is a router, name a shard/, '... and says what to do');
	}
	return;
}

# ---------- a part of a batch fails ----------

sub test_partial_batch
{
	my @flow_ids = map { flow_id_on($_, 'partial') } 0 .. 3;
	my $batch = join ', ', map { qq({"event_type": "OTHER", "flow_id": "$_", "idempotency_key": "$_"}) } reverse @flow_ids;

	$shards[3]->safe_psql('postgres', q{SELECT evq_drop_event_type('OTHER')});
	my (undef, undef, $error) = $router->psql('router', "\\set VERBOSITY verbose\nSELECT evq_publish_many('[$batch]')");
	like($error, qr/ERROR:  EQ001: shard 3 did not publish its part/, 'a batch that one shard refuses');
	like($error, qr/DETAIL:  Of 4 events those at \{4,3,2\} are published/, '... tells what the others have');
	is(query(q{SELECT sum(events) FROM evq_counts('FLOW_C')}), 3, '... and they have it');
	$shards[3]->safe_psql('postgres', $configuration);
	my @ids = split /\n/, query("SELECT evq_publish_many('[$batch]')");
	is(scalar @ids, 4, 'repeated with idempotency keys');
	is(query(q{SELECT sum(events) FROM evq_counts('FLOW_C')}), 4, '... nothing is there twice');
	query(join ';', map { "SELECT evq_cancel('$_')" } @ids);
	return;
}

# ---------- a shard is away ----------

sub test_dead_shard
{
	my ($before) = @_;
	my $dead = flow_id_on(2, 'dead');
	my @alive = map { flow_id_on($_, 'alive') } 0, 1, 3;
	my $alive_array = join ',', @alive;

	my $held = query("SELECT evq_publish('OTHER', NULL, '$dead')");
	my $held_permit = acquired($held);
	my $other = query("SELECT evq_publish('OTHER', NULL, '$alive[0]')");
	my $other_permit = acquired($other);
	query("SELECT evq_publish('STEP', NULL, '$dead', to_jsonb(n)) FROM generate_series(1, 40) AS n");

	my $session = $router_server->background_psql('router', on_error_stop => 0);
	$session->query_until(qr/ready/, "SELECT evq_counts();\n\\echo ready\n");
	$shards[2]->stop('immediate');

	my $said = $session->query_until(qr/then 08001/,
		"\\set VERBOSITY verbose\nSELECT evq_publish('STEP', NULL, '$dead');\n\\echo first :SQLSTATE\n"
		  . "SELECT evq_publish('STEP', NULL, '$dead');\n\\echo then :SQLSTATE\n");
	like($said, qr/first 0800[17]/, 'a session that was connected to the shard hears that the connection is lost');
	like($said, qr/then 08001/, '... then that the shard cannot be reached');
	$session->quit;

	my (undef, undef, $error) = $router->psql('router', "SELECT evq_publish('STEP', NULL, '$dead')");
	like($error, qr/ERROR:  shard 2 cannot be reached\nDETAIL:  .*HINT:  Nothing was done there/s, 'a publish for a shard that is away has a clear error');
	fails_with("SELECT evq_publish('STEP', NULL, '$dead')", '08001', '... with an SQLSTATE');
	is(scalar(split /\n/, query("SELECT evq_publish('STEP', NULL, f, to_jsonb(n)) FROM generate_series(1, 20) AS n, unnest('{$alive_array}'::text[]) AS f")),
		60, 'publishing for the other shards goes on');
	fails_with("SELECT evq_publish_many('STEP', NULL, '{$alive_array,$dead}', ARRAY[jsonb '1', '2', '3', '4'])", '08001', 'a batch with events for it fails');
	is(scalar(split /\n/, query("SELECT evq_publish_many('STEP', NULL, '{$alive_array}', ARRAY[jsonb '1', '2', '3'])")), 3, '... one without does not');

	(undef, undef, $error) = $router->psql('router', q{SELECT evq_release(a.event_id, a.permit) FROM evq_acquire_next('FLOW_B', 1000) a});
	like($error, qr/WARNING:  shard 2: it gave no events/, 'an acquire says which shard it passes over');
	work_off($before + 63);
	is(query('SELECT count(*) FROM done'), $before + 63, '... and the other shards\' events are worked off');

	fails_with("SELECT evq_succeed('$held', $held_permit)", '08001', 'a report to it fails');
	is(query("SELECT accepted IS NULL FROM evq_succeed_many('{$held,$other}', '{$held_permit,$other_permit}') ORDER BY event_id = '$other'"),
		"t\nf", 'many reports: what is known of each');
	is(query("SELECT held IS NULL FROM evq_heartbeat('{$held}', '{$held_permit}')"), 't', 'a heartbeat: not known');
	is(query("SELECT evq_event('$other')->>'state'"), 'succeeded', 'the events of the others are shown');
	fails_with("SELECT evq_event('$held')", '08006', '... of one that may be there it says so');
	my $counted_event = query("SELECT evq_publish('OTHER', NULL, '$alive[1]')");
	(undef, my $counted, $error) = $router->psql('router', 'SELECT sum(events) FROM evq_counts()');
	like($error, qr/WARNING:  shard 2: its events are missing from the counts/, 'evq_counts() says which shard is missing');
	is($counted, 1, '... and counts what the others have');
	query("SELECT evq_cancel('$counted_event', flow_id => '$alive[1]')");
	is(query(q{SELECT string_agg((problem IS NULL)::text, ',' ORDER BY shard) FROM evq_shards()}), 'true,true,false,true', '... evq_shards() tells which');

	$shards[2]->start;
	wait_for_dispatcher($shards[2]);
	is($shards[2]->safe_psql('postgres', q{SELECT count(*) FROM evq.events WHERE state NOT IN ('succeeded', 'canceled')}), 41, 'after the restart nothing is lost');
	query("SELECT evq_succeed('$held', $held_permit)");
	is(query("SELECT evq_event('$held')->>'state'"), 'succeeded', '... and the permit of before is still good');
	work_off($before + 103);
	query("INSERT INTO done VALUES ('$held', ''), ('$other', '')");
	check_finished($before + 105, 'all that was acknowledged');
	return $before + 105;
}

# ---------- each shard is split in two ----------

# Runs the script: its status, and what it said. It is killed instead of its so many-th call of psql.
sub split_shards
{
	my ($count, $calls) = @_;
	my $said = '';
	my $folder = PostgreSQL::Test::Utils::tempdir;
	my ($psql) = grep { -x } map { "$_/psql" } split /:/, $ENV{PATH};
	local $ENV{PATH} = "$folder:$ENV{PATH}";

	append_to_file("$folder/calls", ($calls // 10_000) . "\n");
	append_to_file("$folder/psql", <<"END");
#!/bin/sh
left=\$((\$(cat $folder/calls) - 1))
echo \$left >$folder/calls
[ \$left -gt 0 ] || { kill -KILL \$(cat $folder/pid); exit 1; }
exec $psql "\$@"
END
	chmod 0700, "$folder/psql" or die;
	IPC::Run::run([ 'sh', '-c', "echo \$\$ >$folder/pid; exec \"\$\@\"", 'sh', "$contrib/split", '--wait', '0', $count, $router_server->connstr('router'), $shards[1]->connstr('router2') ], '<', \'', '>', \$said, '2>&1', IPC::Run::timeout(180));
	note($said);
	return ($? & 127 ? 137 : $? >> 8, $said);
}

# Each shard's server has the two halves.
sub live_on
{
	my ($shard) = @_;
	my $database = $shard < 4 ? 'postgres' : "postgres_$shard";

	return sort split /\n/, $shards[ $shard % 4 ]->safe_psql($database, q{SELECT event_id FROM evq.events WHERE finished_at IS NULL});
}

sub test_split
{
	my @flow_ids = map { "split-$_" } 1 .. 80;
	my @ids = split /\n/, query(q{SELECT evq_publish('OTHER', NULL, 'split-' || n, to_jsonb(n), headers => '{"h": 1}') FROM generate_series(1, 40) AS n;
		SELECT evq_publish_many('OTHER', NULL, array_agg('split-' || n), array_agg(to_jsonb(n))) FROM generate_series(41, 80) AS n});
	cmp_ok(scalar(everywhere('SELECT 1 FROM evq.batch')), '>=', 4, 'some are stored in batches');
	my %shard;
	@shard{@ids} = map { shard_of($_, 8) } @flow_ids;
	my $past = sub {
		my ($flow_id) = @_;
		my $id = $shards[0]->safe_psql('postgres', "SELECT evq_publish('OTHER', NULL, '$flow_id')");
		$shard{$id} = 4;
		return $id;
	};
	my ($for_four) = grep { shard_of($_, 8) == 4 } map { "four-$_" } 1 .. 1000;
	my ($for_five) = grep { shard_of($_, 8) == 5 } map { "five-$_" } 1 .. 1000;
	$_->safe_psql('postgres', "SELECT evq_schedule('daily', '0 3 1 1 *', 'OTHER', NULL, '$for_four', make_job => false)") for $shards[0];

	# Who may connect, settings, and a second router.
	$shards[2]->safe_psql('postgres', q{
		REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT, TEMPORARY ON DATABASE postgres TO shop WITH GRANT OPTION;
		ALTER DATABASE postgres SET search_path = "$user", public, "Odd One"; ALTER ROLE shop IN DATABASE postgres SET work_mem = '5MB'});
	$shards[1]->safe_psql('postgres', 'CREATE DATABASE router2');
	$shards[1]->safe_psql('router2', "\\i $contrib/router.sql");
	$shards[1]->safe_psql('router2', set_shards(map { connection($_) } @shards) . q{; CREATE USER MAPPING FOR postgres SERVER evq OPTIONS (user 'postgres')});

	# Checks come before anything is changed.
	my ($status, $said) = split_shards(16);
	like($said, qr/has 4 shards: they can become 8/, 'a wrong number of shards');
	($status, $said) = split_shards(8);
	is($status, 1, 'a server that could not have dispatchers for all is refused');
	like($said, qr/will have 2, and evq.max_databases is 1/, '... and it says why');
	is(scalar(everywhere('SELECT 1 FROM evq.pause')), 0, '... nothing is paused');
	$shards[3]->append_conf('postgresql.conf', "evq.max_databases = 2\n");
	$shards[3]->restart;
	wait_for_dispatcher($shards[3]);

	my $held = $ids[0];
	my $permit = acquired($held);
	($status, $said) = split_shards(8);
	like($said, qr/1 events are still in processing/, 'what workers hold is waited for');
	query("SELECT evq_release('$held', $permit)");

	# A session of the router stays connected to all shards. The first run is broken off at the last shard.
	my $session = $router_server->background_psql('router', on_error_stop => 0);
	$session->query_until(qr/ready/, "SELECT evq_counts();\n\\echo ready\n");
	$shards[3]->safe_psql('template1', 'CREATE DATABASE postgres_7');
	$shards[3]->safe_psql('postgres_7', 'CREATE EXTENSION evq');
	($status, $said) = split_shards(8);
	is($status, 1, 'a database that is no copy is not overwritten');
	like($said, qr/there is a database postgres_7 that is no copy of shard 3/, '... and it says so');
	fails_with("SET evq_router.hold_timeout = '10 ms'; SELECT evq_publish('OTHER', NULL, 'x')", '55000', 'publishes are held meanwhile');
	is(query(q{SELECT count(*) FROM evq_acquire_next('FLOW_C')}), 0, '... and nothing is acquired');
	my $waiting = IPC::Run::start([ 'psql', '--no-psqlrc', '-Atqc', "SET evq_router.hold_timeout = '180 s'; SELECT evq_publish('OTHER', NULL, '$for_five')", $router_server->connstr('router') ],
		'<', \'', '>', \my $published, '2>', \my $problem, IPC::Run::timeout(180));

	# What is published past the routers while it is broken off is copied again; a door that is closed is opened.
	$past->($for_four);
	$shard{ $past->(flow_id_on(2, 'stray')) } = 0;    # belongs to neither half of where it is
	$shards[3]->safe_psql('template1', 'DROP DATABASE postgres_7');
	$shards[1]->safe_psql('template1', 'ALTER DATABASE postgres ALLOW_CONNECTIONS false');
	my ($runs, $all_said) = (0, '');
	do
	{
		($status, $said) = split_shards(8, 14 + 8 * $runs++);
		$all_said .= $said;
	} until $status == 0 || $runs > 20;
	is($status, 0, 'the split, run again and killed again');
	cmp_ok($runs, '>', 4, '... at several steps');
	like($all_said, qr/shard 0 has changed since it was copied: again/, '... with what came meanwhile');
	ok($waiting->finish, 'a publish that waited for it goes on') or diag($problem);
	chomp $published;
	$shard{$published} = 5;
	$session->quit;

	my $places_are_right = sub {
		my ($name) = @_;
		my @wrong = grep {
			my $n = $_;
			my @wanted = sort grep { $shard{$_} == $n } keys %shard;
			join(',', live_on($n)) ne join(',', @wanted)
		} 0 .. 7;
		return is("@wrong", '', $name);
	};
	$places_are_right->('every live event is on its shard, once');
	is(query('SELECT count(*) FROM evq_shards() WHERE live_events > 0'), 8, 'all shards have some');
	is(scalar(everywhere(q{SELECT 1 FROM evq.events WHERE reason LIKE 'is on shard%'})), 0, '... and no trace of what moved');
	is(scalar(everywhere(q{SELECT 1 FROM evq.event_payload p WHERE NOT EXISTS (SELECT FROM evq.events e WHERE e.event_id = p.event_id)})), 0, '... nor payloads of it');
	is($shards[0]->safe_psql($_->[0], 'SELECT count(*) FROM evq.schedules'), $_->[1], "schedules in $_->[0]") for [ 'postgres', 0 ], [ 'postgres_4', 1 ];
	is(query("SELECT evq_event('$ids[$_]')->>'state' IN ('canceled')"), 'f', "an event is found where it is live")
	  for grep { $shard{ $ids[$_] } > 3 } 0 .. 9;

	is($shards[1]->safe_psql('router2', 'SELECT evq_router.shard_count(), count(*) FROM evq_router.hold'), '8|0', 'the other router has them too');
	is($shards[2]->safe_psql('postgres', qq{SELECT array_agg(a ORDER BY a) FROM (SELECT DISTINCT a::text FROM pg_database, aclexplode(datacl) a WHERE datname = '$_') x}),
		$shards[2]->safe_psql('postgres', q{SELECT array_agg(a ORDER BY a) FROM (SELECT DISTINCT a::text FROM pg_database, aclexplode(datacl) a WHERE datname = 'postgres') x}),
		'grants are copied') for 'postgres_6';
	is($shards[2]->safe_psql('template1', q{SELECT count(*), count(DISTINCT (setrole, setconfig)) FROM pg_db_role_setting WHERE setdatabase IN (SELECT oid FROM pg_database WHERE datname IN ('postgres', 'postgres_6'))}),
		'4|2', '... and settings');

	($status, $said) = split_shards(8);
	like($said, qr/there are 8 shards, nothing is to be done/, 'run again after all is done');

	# As if it had been broken off after the switch, and had been overtaken by a publish past the router.
	my $lonely = $past->($for_four);
	query('INSERT INTO evq_router.hold (shards_before) VALUES (4)');
	($status, $said) = split_shards(8);
	is($status, 0, 'run again after the switch');
	like($said, qr/WARNING: 1 live events of shard 4 are on its other half only/, '... an event that the copy does not have is told of');
	$shard{$lonely} = 0;
	$places_are_right->('... and not lost');

	for my $node (@shards)
	{
		my ($copy) = $node->safe_psql('postgres', q{SELECT datname FROM pg_database WHERE datname LIKE 'postgres\_%'});
		wait_for_dispatcher($node, $_) for 'postgres', $copy;
	}
	my %seen;
	wait_until(120, sub
	{
		$seen{$_}++ for split /\n/, query(q{
			SELECT a.event_id FROM evq_acquire_next('FLOW_C', 100) a, evq_succeed(a.event_id, a.permit) s});
		return keys %seen == keys %shard;
	});
	is_deeply([ sort keys %seen ], [ sort keys %shard ], 'all events are worked off');
	is(scalar(grep { $_ > 1 } values %seen), 0, '... once each');
	return;
}

make_router();
my $done = test_publish_and_work();
test_verbs();
test_partial_batch();
test_dead_shard($done);
test_types();
test_programs();
test_split();
$_->stop for @shards;
done_testing();
