# evq-gateway on the releases before, and while the extension is updated: each group of routes goes on, without a restart.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Run ();
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server wait_for_dispatcher);

my $node = make_server('main', extension => 0);
my $folder = PostgreSQL::Test::Utils::tempdir();
my ($database, $gateway, $stdio);

sub query { return $node->safe_psql($database, @_) }

# An answer, in short: its status, and what is wrong with it.
sub status
{
	my ($answer) = @_;
	return join ' ', $answer->{status}, map { $answer->{json}{$_} // () } $answer->{status} < 400 ? () : qw(title detail);
}

# Not granted while the dispatcher is at the event.
sub acquired
{
	my ($id) = @_;
	my $permit;

	Evq::Gateway::wait_until('the permit', sub { $permit = $gateway->post("/api/events/$id/acquire", { worker => 'w', permit_for => 60 })->{json}{permit} });
	return $permit;
}

sub is_status { my ($answer, $status, $name) = @_; return is(status($answer), $status, $name) }

# What a client of each group of routes does; $since: since which release the database has been.
sub use_routes
{
	my ($when, $since) = @_;
	my $publish = sub {
		my $answer = $gateway->post('/api/events', { event_type => 'STEP', flow_id => 'case', @_ });
		is_status($answer, 201, "$when: publish");
		return $answer->{json}{event_id};
	};
	my $id = $publish->(payload => { n => 1 });
	my $batch = $gateway->post('/api/events/batch', [ map { { event_type => 'STEP', flow_id => "batch-$_" } } 1 .. 3 ]);
	is(scalar @{ $batch->{json}{event_ids} // [] }, 3, "$when: publish a batch");

	my $permit = acquired($id);
	is($gateway->post("/api/events/$id/heartbeat", { permit => $permit })->{json}{held}, JSON::PP::true, "$when: heartbeat");
	is($gateway->post("/api/events/$id/success", { permit => $permit, result => 1 })->{json}{acknowledged}, JSON::PP::true, "$when: success");
	$id = $publish->();
	for my $report ([ failure => { error_message => 'no' } ], [ snooze => { run_at => '2090-01-01T00:00:00Z' } ], [ release => {} ], [ suspend => {} ])
	{
		my ($verb, $body) = @$report;
		my $event = $publish->();
		is_status($gateway->post("/api/events/$event/$verb", { %$body, permit => acquired($event) }), 200, "$when: $verb");
		is($gateway->post("/api/events/$event/activate")->{json}{status}, 'AWAITING_PROCESSING', "$when: activate") if $verb eq 'suspend';
		is($gateway->post("/api/events/$event/cancel", { reason => 'over' })->{json}{status}, 'CANCELED', "$when: cancel");
		is($gateway->post("/api/events/$event/retry")->{json}{status}, 'AWAITING_PROCESSING', "$when: retry");
	}
	my $next = $gateway->post('/api/flows/FLOW_B/acquire', { max_events => 2, wait => 30, worker => 'w' });
	cmp_ok(scalar @{ $next->{json}{events} // [] }, '>', 0, "$when: acquire the next");
	is($gateway->post('/api/flows/EMPTY/acquire', { wait => 0.1 })->{text}, qq({"events": []}\n), "$when: wait in vain");

	is($gateway->get("/api/events/$id")->{json}{event_id}, $id, "$when: an event");
	is_status($gateway->get($_), 200, "$when: GET $_") for '/api/events?flow_id=case&limit=5', '/api/events/pending/FLOW_B', '/api/counts', '/api/flows', '/api/event-types', '/api/errors';
	is_status($gateway->call('PUT', '/api/event-types/STEP', { priority => 1 }), 200, "$when: configure a type");
	is($gateway->post('/api/event-types/STEP/suspend')->{json}{is_suspended}, JSON::PP::true, "$when: suspend a type");
	is($gateway->post('/api/event-types/STEP/unsuspend')->{json}{is_suspended}, JSON::PP::false, "$when: unsuspend it");
	if ($since ne '0.1')
	{
		is_status($gateway->call('PUT', '/api/flows/FLOW_B', { max_dispatched => 1000 }), 200, "$when: configure a flow");
		is($gateway->get('/api/schedules')->{json}{schedules}[0]{name}, 'nightly', "$when: schedules");
		is_status($gateway->post("/api/schedules/nightly/$_"), $_ eq 'run' ? 201 : 200, "$when: $_ a schedule") for qw(pause resume run);
	}
	if ($since eq '0.3')
	{
		is_status($gateway->get('/api/rights'), 200, "$when: rights");
		my $taken = $gateway->post('/api/flows/FLOW_B/acquire-batch', { wait => 30 })->{json};
		like($taken->{token}, qr/./, "$when: a batch");
		is_status($gateway->post('/api/batches/release', { token => $taken->{token} }), 200, "$when: release it");
	}
	else
	{
		my $answer = $gateway->get('/api/rights');
		is($answer->{status}, 501, "$when: a route that it has not");
		is($answer->{json}{hint}, 'ALTER EXTENSION evq UPDATE may bring it.', '... and what brings it');
	}

	my $version = query('SELECT evq_version()');
	my $health = $gateway->get('/health');
	is($health->{json}{version}, $version, "$when: health") or diag($health->{text});
	like($gateway->get('/metrics')->{text}, qr/^evq_build_info\{version="\Q$version\E"/m, "$when: metrics");
	is_status($gateway->post('/mcp', { jsonrpc => '2.0', id => 1, method => 'tools/list' }, 'MCP-Protocol-Version' => '2025-11-25'), 200, "$when: MCP");
	is(event_over_stdio($id), $id, "$when: MCP over stdio");
	is(event_of_stream(), 'told', "$when: the stream");
	return;
}

# ---------- a program that speaks MCP ----------

sub start_stdio
{
	my %at = (in => '', out => '', error => '');

	$at{run} = IPC::Run::start([ 'evq-gateway', '--mcp-stdio', '--mcp-write', '--database', $node->connstr($database) ], '<', \$at{in}, '>', \$at{out}, '2>', \$at{error});
	return \%at;
}

sub event_over_stdio
{
	my ($id) = @_;

	$stdio->{out} = '';
	$stdio->{in} .= encode_json({ jsonrpc => '2.0', id => 1, method => 'tools/call', params => { name => 'get_event', arguments => { event_id => $id } } }) . "\n";
	$stdio->{run}->pump until $stdio->{out} =~ /\n/;
	return decode_json($stdio->{out})->{result}{structuredContent}{event_id} // "$stdio->{out} $stdio->{error}";
}

# ---------- a reader of the stream ----------

my ($stream, $heard);
sub event_of_stream
{
	my $id = query(q{SELECT evq_publish('STEP', NULL, 'streamed')});

	# What was told before the dispatcher was asked to tell is not told: one more.
	Evq::Gateway::wait_until('the stream', sub {
		query("SELECT evq_cancel('$id'), evq_retry('$id')");
		$heard = Evq::Gateway::read_until($stream, sub { length $_[0] > length $heard }, $heard);
		return $heard =~ /event_update.*"$id"/;
	});
	return 'told';
}

# ---------- publishers and workers that go on ----------

# Until it is told to stop, what the code does; each status that it returns but the first wanted one is written down.
sub go_on
{
	my ($name, $wanted, $code) = @_;
	my $pid = fork // die;

	return $pid if $pid;
	my $enough = 0;
	local $SIG{TERM} = sub { $enough = 1 };
	my %seen;
	until ($enough)
	{
		my $status = $code->();
		append_to_file("$folder/$name", "$status\n") if $status ne $wanted || !$seen{$status}++;
	}
	POSIX::_exit(0);
}

sub work_once
{
	my $answer = $gateway->post('/api/flows/LOAD/acquire', { max_events => 5, wait => 0.2 });

	return status($answer) if $answer->{status} != 200;
	for my $event (@{ $answer->{json}{events} })
	{
		my $done = $gateway->post("/api/events/$event->{event_id}/success", { permit => $event->{permit} });
		return status($done) if $done->{status} != 200;
	}
	return '200';
}

for my $from (qw(0.1 0.2))
{
	$database = "from_$from" =~ tr/./_/r;
	my $new = $node->safe_psql('postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'evq'});

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	query(qq{
		CREATE EXTENSION evq VERSION '$from';
		SELECT evq_configure('STEP', 'FLOW_B', 3, '1 hour', '{0 s}', attempt_timeout => '10 min');
		SELECT evq_configure_flow('EMPTY', delivery => 'pull'), evq_configure_flow('LATER', delivery => 'pull'), evq_configure_flow('LOAD', delivery => 'pull');
		SELECT evq_configure('LATE', 'LATER', attempt_delays => '{0 s}'), evq_configure('LOAD', 'LOAD', attempt_delays => '{0 s}', attempt_timeout => '10 min')});
	my $schedule = q{SELECT evq_schedule('nightly', '@daily', 'STEP', NULL, 'scheduled', make_job => false)};
	query($schedule) if $from ne '0.1';
	# Nobody's functions are called for their names, before the update or after it.
	query(q{
		CREATE FUNCTION planted(target text, query jsonb, headers jsonb, body jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'captured'; END $$;
		CREATE SCHEMA evq_http;
		CREATE FUNCTION evq_http.flows(target text, query jsonb, headers jsonb, body jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'captured'; END $$;
		CREATE FUNCTION evq_http.health(target text, query jsonb, headers jsonb, body jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'captured'; END $$});
	wait_for_dispatcher($node, $database);
	# Nobody reads the stream while all the others are at work.
	$gateway = Evq::Gateway->new_ready($node, '--database', $node->connstr($database) . ' application_name=evq-gateway', '--stream-backlog', 1_000_000);
	$stdio = start_stdio();
	$stream = $gateway->socket;
	syswrite $stream, $gateway->request_bytes('GET', '/api/stream');
	$heard = Evq::Gateway::read_until($stream, sub { $_[0] =~ /\r\n\r\n/ });
	use_routes("under $from", $from);

	# ---------- updated while requests come and wait ----------

	my $waiting = $gateway->socket;
	syswrite $waiting, $gateway->request_bytes('POST', '/api/flows/LATER/acquire', { wait => 60 });
	my @going = (
		go_on("publish $from", '201', sub { status($gateway->post('/api/events', { event_type => 'LOAD', flow_id => 'load' })) }),
		(map { go_on("work $from", '200', \&work_once) } 1 .. 2),
		go_on("read $from", '200', sub { status($gateway->get('/api/events?flow_id=load&limit=10')) }),
		go_on("configure $from", '200', sub { status($gateway->call('PUT', '/api/event-types/LOAD', { priority => 0 })) }),
		go_on("MCP $from", '200', sub { status($gateway->post('/mcp', { jsonrpc => '2.0', id => 1, method => 'resources/list' }, 'MCP-Protocol-Version' => '2025-11-25')) }));
	my $finished = q{SELECT count(*) FROM evq.events WHERE event_type = 'LOAD' AND finished_at IS NOT NULL};
	Evq::Gateway::wait_until('some work', sub { query($finished) > 30 });
	like(($node->psql($database, 'ALTER EXTENSION evq UPDATE'))[2], qr/schema "evq_http" already exists/, "$from: not where another has the schema");
	query('DROP SCHEMA evq_http CASCADE; ALTER EXTENSION evq UPDATE');
	my $before = query($finished);
	Evq::Gateway::wait_until('more work', sub { query($finished) > $before + 30 });
	kill 'TERM', @going;
	waitpid $_, 0 for @going;
	is(slurp_file("$folder/$_->[0] $from"), "$_->[1]\n", "$from: to $_->[0] goes on through the update") for [ publish => 201 ], [ work => "200\n200" ], [ read => 200 ], [ configure => 200 ], [ MCP => 200 ];
	query($schedule) if $from eq '0.1';
	query(q{SELECT evq_publish('LATE', NULL, 'awaited')});
	my $late = Evq::Gateway::read_answer($waiting);
	is($late->{json}{events}[0]{flow_id}, 'awaited', "$from: what waited before the update is answered after it");
	use_routes("updated from $from", '0.3');
	is(query('SELECT evq_version()'), $new, 'by the new version');
	is($gateway->stop, 0, 'it stops');
	$stdio->{run}->kill_kill;
}

# ---------- the names of before, when they are free ----------

# A session at rest finds another's function where ours was.
query(q{DROP EXTENSION evq CASCADE; CREATE EXTENSION evq VERSION '0.2'; SELECT evq_configure_flow('FLOW_B')});
$gateway = Evq::Gateway->new_ready($node, '--database', $node->connstr($database) . ' application_name=evq-gateway');
is($gateway->get('/api/flows')->{json}{flows}[0]{flow_type}, 'FLOW_B', 'a route of 0.2') for 1 .. 6;
query('ALTER EXTENSION evq UPDATE; ALTER FUNCTION planted(text, jsonb, jsonb, jsonb) RENAME TO evq_http_flows');
is($gateway->get('/api/flows')->{json}{flows}[0]{flow_type}, 'FLOW_B', 'after the update: the function of evq') for 1 .. 6;
like(query(q{SELECT string_agg(finding, '; ') FROM evq_check() WHERE subject = 'privileges'}),
	qr/function public\.evq_http_flows\(text,jsonb,jsonb,jsonb\), of postgres, has the name that one of evq's had before 0\.3/, 'evq_check() tells of the other');
query('DROP FUNCTION evq_http_flows');

# And back, by an operator who wants the release of before.
query(q{DROP EXTENSION evq CASCADE; CREATE EXTENSION evq VERSION '0.2'; SELECT evq_configure_flow('FLOW_OLD')});
is($gateway->get('/api/flows')->{json}{flows}[0]{flow_type}, 'FLOW_OLD', 'where 0.2 is installed anew, its functions are called') for 1 .. 6;
is($gateway->stop, 0, 'it stops');
done_testing();
