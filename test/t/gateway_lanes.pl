# evq-gateway: what waits or takes long holds up nothing else, and what shares a connection does not notice the others.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server);
use Evq::Test qw(end_session session);

my $node = make_server('main');
my $folder = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql(
	'postgres', q{
	SELECT evq_configure_flow('FLOW_A', delivery => 'pull'), evq_configure_flow('FLOW_B', delivery => 'pull');
	SELECT evq_configure('A', 'FLOW_A', 3, '1 hour'), evq_configure('B', 'FLOW_B', 3, '1 hour'), evq_configure('B2', 'FLOW_B', 3, '1 hour');
	CREATE ROLE tenant;
	SELECT evq_grant_publisher('tenant', 'FLOW_B');
	CREATE ROLE watcher;
	GRANT EXECUTE ON FUNCTION evq_watch(interval) TO watcher});
my @roles = qw(evq_publisher evq_operator evq_monitor tenant watcher);
append_to_file("$folder/tokens", join '', map { "$_ token-of-the-role-$_\n" } @roles);
chmod 0600, "$folder/tokens";
sub as { return (Authorization => "Bearer token-of-the-role-$_[0]") }

my $gateway = Evq::Gateway->new_ready($node, '--tokens', "$folder/tokens", '--statement-timeout', 120);
my $holder = session($node, 'postgres');

sub query { return $node->safe_psql('postgres', $_[0]) }

# Begins a request and leaves the answer for later.
sub begin
{
	my (@request) = @_;
	my $socket = $gateway->socket;

	syswrite $socket, $gateway->request_bytes(@request);
	return $socket;
}

sub finish { return Evq::Gateway::read_answer($_[0]) }

# How many of them have an answer.
sub answered
{
	my $ready = '';

	vec($ready, fileno $_, 1) = 1 for @_;
	return scalar select $ready, undef, undef, 0;
}

# Sessions of the gateway that are in this state.
sub sessions { return query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evq-gateway' AND $_[0]") }
sub status { my ($answer, $status, $what) = @_; return is($answer->{status}, $status, $what) || diag $answer->{bytes} }

# In place of the function of a route one of our own, and the original again.
my $arguments = 'text, jsonb, jsonb, jsonb';
sub replace_function
{
	my ($name, $result, $body) = @_;

	query("ALTER FUNCTION $name($arguments) RENAME TO @{[ kept($name) ]};
		CREATE FUNCTION $name(target text, query jsonb, headers jsonb, body jsonb$result LANGUAGE plpgsql AS \$\$ $body \$\$");
	return;
}
sub restore_function { my ($name) = @_; query("DROP FUNCTION $name($arguments); ALTER FUNCTION evq_http.@{[ kept($name) ]}($arguments) RENAME TO @{[ $name =~ s/.*\.//r ]}"); return }
sub kept { return 'kept_' . $_[0] =~ s/.*\.//r }

# ---------- what waits for a lock ----------

$holder->query_safe('BEGIN');
$holder->query_safe(q{SELECT evq_publish('A', NULL, 'held', idempotency_key => 'key')});
my @waiting = map { begin('POST', '/api/events', { event_type => 'A', flow_id => 'held', idempotency_key => 'key' }, as('evq_publisher')) } 1 .. 12;
Evq::Gateway::wait_until('a publish to wait for its key', sub { sessions(q{wait_event_type = 'Lock'}) > 0 });
for my $round (1 .. 3)
{
	status($gateway->post('/api/events', { event_type => 'A', flow_id => 'free' }, as('evq_publisher')), 201, 'while publishes wait for a key: another of the role');
	status($gateway->post('/api/events', { event_type => 'B', flow_id => 'free' }, as('tenant')), 201, '... one of another role');
	status($gateway->get('/api/flows', as('evq_operator')), 200, '... a read');
	status($gateway->post('/api/flows/FLOW_B/acquire', undef, as('evq_operator')), 200, '... an acquire');
	status($gateway->get('/health'), 200, '... health');
}
is(answered(@waiting), 0, '... and they are waiting still');
$holder->query_safe('ROLLBACK');
my @ids = map { finish($_)->{json}{event_id} } @waiting;
is(scalar(grep { defined && $_ eq $ids[0] } @ids), 12, 'then all have the one event of the key');

my @events = map { query("SELECT evq_publish('A', NULL, 'locked-$_')") } 1 .. 12;
$holder->query_safe('BEGIN');
$holder->query_safe("SELECT evq_cancel('$_')") for @events;
@waiting = map { begin('POST', "/api/events/$_/cancel", undef, as('evq_operator')) } @events;
Evq::Gateway::wait_until('a cancel to wait for a lock', sub { sessions(q{wait_event_type = 'Lock'}) > 0 });
for my $round (1 .. 3)
{
	status($gateway->get('/api/flows', as('evq_operator')), 200, 'while changes wait for locks: a read');
	status($gateway->get('/api/events', as('evq_operator')), 200, '... a search');
	status($gateway->post('/api/events', { event_type => 'A', flow_id => 'free' }, as('evq_publisher')), 201, '... a publish');
	status($gateway->post("/api/events/$ids[0]/acquire", undef, as('evq_operator')), 200, '... another change');
	status($gateway->get('/health'), 200, '... health');
}
is(answered(@waiting), 0, '... and they are waiting still');
$holder->query_safe('ROLLBACK');
is_deeply([ map { finish($_)->{json}{status} } @waiting ], [ ('CANCELED') x 12 ], 'then all are done');

# Who asks and leaves waits for no lock any more, nor for a turn to wait, though it is with those that have patience by then.
my $log_before = -s $node->logfile;
$holder->query_safe('BEGIN; LOCK TABLE evq.event IN ACCESS EXCLUSIVE MODE');
@waiting = map { begin('GET', '/api/events', undef, as('evq_operator')) } 1 .. 6;
Evq::Gateway::wait_until('each to give up its first wait', sub {
	my $times = () = slurp_file($node->logfile, $log_before) =~ /canceling statement due to lock timeout/g;
	return $times >= @waiting && sessions(q{wait_event_type = 'Lock'}) > 0;
});
close $_ for @waiting;
Evq::Gateway::wait_until('questions without a client to be stopped', sub { sessions(q{wait_event_type = 'Lock'}) == 0 });
$holder->query_safe('ROLLBACK');
status($gateway->get('/api/events', as('evq_operator')), 200, 'those who leave hold up nobody');

# Who waits for too long is told so.
{
	my $impatient = Evq::Gateway->new_ready($node, '--connections', 1, '--statement-timeout', 1);
	my @locked = map { query("SELECT evq_publish('A', NULL, 'locked')") } 1 .. 6;
	$holder->query_safe('BEGIN');
	$holder->query_safe("SELECT evq_cancel('$_')") for @locked;
	my @late = map { my $socket = $impatient->socket; syswrite $socket, $impatient->request_bytes('POST', "/api/events/$_/cancel"); $socket } @locked;
	my @answers = map { finish($_) } @late;
	is_deeply([ map { $_->{status} } @answers ], [ (503) x 6 ], 'changes that wait for too long');
	like($_->{json}{sqlstate} // $_->{json}{title}, qr/^57014$|^the database is busy$/, '... are told why') for @answers;
	cmp_ok(scalar(grep { $_->{json}{title} eq 'the database is busy' } @answers), '>', 1, '... some of them before they had a turn to wait for a lock');
	$holder->query_safe('ROLLBACK');
	is($impatient->stop, 0, 'it stops');
}

# ---------- what takes long ----------

replace_function('evq_http.events', ') RETURNS jsonb', q{
	BEGIN
		IF query ->> 'q' = 'slow' THEN PERFORM pg_sleep(600); END IF;
		RETURN '{"events": []}';
	END});
query(q{GRANT EXECUTE ON FUNCTION evq_http.events(text, jsonb, jsonb, jsonb) TO PUBLIC});
my $asleep = q{wait_event = 'PgSleep'};
my @slow = map { begin('GET', '/api/events?q=slow', undef, as('evq_operator')) } 1 .. 4;
Evq::Gateway::wait_until('a long search', sub { sessions($asleep) == 1 });
for my $round (1 .. 3)
{
	status($gateway->get('/api/events', as('evq_monitor')), 200, 'while one role searches: another role does');
	status($gateway->get('/api/flows', as('evq_operator')), 200, '... reads are done');
	status($gateway->post('/api/events', { event_type => 'A', flow_id => 'free' }, as('evq_publisher')), 201, '... and publishes');
	status($gateway->post("/api/events/$ids[0]/acquire", undef, as('evq_operator')), 200, '... and changes');
	status($gateway->get('/health'), 200, '... and health');
}
is(answered(@slow), 0, '... and the searches go on');
is(sessions($asleep), 1, '... one at a time');
close $_ for @slow;
Evq::Gateway::wait_until('searches without a client to be stopped', sub { sessions($asleep) == 0 && $gateway->get('/api/events', as('evq_operator'))->{status} == 200 });
pass('searches whose clients have left are stopped');
is(sessions($asleep), 0, '... those too that waited for their turn');
restore_function('evq_http.events');

# ---------- in the same connection ----------

# A role ends with its request: health, on the connection on which a stream was let in, has that of the gateway.
query(q{REVOKE EXECUTE ON FUNCTION evq_http.health(text, jsonb, jsonb, jsonb) FROM PUBLIC});
my $stream = begin('GET', '/api/stream', undef, as('watcher'));
like(Evq::Gateway::read_until($stream, sub { $_[0] =~ /\r\n\r\n/ }), qr{^HTTP/1\.1 200 }, 'a role that may watch and nothing else');
status($gateway->get('/health'), 200, 'health does not run as that role') for 1 .. 3;
close $stream;

# Publishes that wait for one connection share a transaction with those of their role only.
my $narrow = Evq::Gateway->new_ready($node, '--tokens', "$folder/tokens", '--connections', 1);
status($narrow->post('/api/events', { event_type => 'A', flow_id => 'first' }, as('evq_publisher')), 201, 'a publish');
my $session = query(q{SELECT pid FROM pg_stat_activity WHERE application_name = 'evq-gateway' AND state = 'idle' AND query ~ 'evq_http.publish' ORDER BY state_change DESC LIMIT 1});
kill 'STOP', $session or die "no session $session";
my @publishes;
for my $role ('evq_publisher', 'evq_publisher', 'tenant', 'evq_monitor', 'evq_publisher', 'watcher')
{
	push @publishes, $narrow->socket;
	syswrite $publishes[-1], $narrow->request_bytes('POST', '/api/events', { event_type => 'A', flow_id => "shared-$role" }, as($role));
	# What was sent before a page was asked for has come when the page has.
	$narrow->get('/') for 1 .. 2;
}
kill 'CONT', $session;
is_deeply([ map { finish($_)->{status} } @publishes ], [ 201, 201, 403, 403, 201, 403 ], 'each publish has the rights of its own role');
is(query(q{SELECT string_agg(flow_id, ' ' ORDER BY event_id) FROM evq.events WHERE flow_id LIKE 'shared-%'}), join(' ', ('shared-evq_publisher') x 3), '... and what was refused is not there');
is($narrow->stop, 0, 'it stops');

# An error of the commit is one.
query(q{
	CREATE TABLE checked (id int);
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not at the commit' USING ERRCODE = 'EQ006'; END $$;
	CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON checked DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
	GRANT INSERT ON checked TO PUBLIC});
for my $case ([ 'evq_http.publish', '/api/events', { event_type => 'A', flow_id => 'at the commit' } ], [ 'evq_http.cancel', "/api/events/$ids[0]/cancel", undef ])
{
	my ($function, $path, $body) = @$case;

	replace_function($function, ') RETURNS jsonb', "BEGIN INSERT INTO checked VALUES (1); RETURN evq_http.@{[ kept($function) ]}(target, query, headers, body); END");
	query("GRANT EXECUTE ON FUNCTION $function($arguments) TO PUBLIC");
	my $answer = $gateway->post($path, $body, as('evq_operator'));
	is("$answer->{status} $answer->{json}{title}", '400 not at the commit', "$function: an error at the commit is told");
	restore_function($function);
}
is(query(q{SELECT count(*) FROM evq.events WHERE flow_id = 'at the commit'}), 0, '... the event is not there');
isnt(query("SELECT state FROM evq.events WHERE event_id = '$ids[0]'"), 'canceled', '... and the other not canceled');

# ---------- many who wait for an event ----------

query(q{SELECT evq_cancel(event_id) FROM evq.events WHERE flow_type = 'FLOW_B' AND finished_at IS NULL});
replace_function('evq_http.acquire_next', ', OUT answer jsonb, OUT wait_ms int, OUT channel text, OUT choice text) RETURNS record', q{
	BEGIN
		INSERT INTO asked VALUES (body ->> 'worker');
		SELECT * INTO answer, wait_ms, channel, choice FROM evq_http.kept_acquire_next(target, query, headers, body);
	END});
query(q{CREATE TABLE asked (worker text); GRANT INSERT ON asked TO PUBLIC; GRANT EXECUTE ON FUNCTION evq_http.acquire_next(text, jsonb, jsonb, jsonb) TO PUBLIC});
sub asked { return query('SELECT count(*) FROM asked') }
my $crowd = 40;
my %crowd = map { ("w$_" => begin('POST', '/api/flows/FLOW_B/acquire', { worker => "w$_", wait => 60, event_types => ['B'] }, as('evq_operator'))) } 1 .. $crowd;
my $other = begin('POST', '/api/flows/FLOW_B/acquire', { worker => 'other', wait => 60, event_types => ['B2'] }, as('evq_operator'));
Evq::Gateway::wait_until('all to have asked', sub { query('SELECT count(DISTINCT worker) FROM asked') == $crowd + 1 });
Evq::Gateway::wait_until('LISTEN', sub { sessions(q{query = 'LISTEN "evq_flow_b"'}) == 1 });

# Those that have an answer, by their names.
sub take_answered
{
	my %taken;

	for my $name (keys %crowd)
	{
		next unless answered($crowd{$name});
		$taken{$name} = finish(delete $crowd{$name});
	}
	return \%taken;
}
my $before = asked();
for my $n (1 .. 2)
{
	query("SELECT evq_publish('B', NULL, 'one-$n')");
	my $taken = {};
	Evq::Gateway::wait_until('an answer', sub { %$taken = (%$taken, %{ take_answered() }); return %$taken > 0 });
	is_deeply([ map { $_->{json}{events}[0]{flow_id} } values %$taken ], ["one-$n"], 'an event is for one of those who wait');
}
cmp_ok(asked() - $before, '<', $crowd, '... and few have asked for it');
query('SELECT evq_publish(\'B2\', NULL, \'other\')');
is(finish($other)->{json}{events}[0]{flow_id}, 'other', 'one of another type is for who waits for that');
query("SELECT evq_publish('B', NULL, 'many-' || n) FROM generate_series(1, $crowd - 2) n");
my %all;
Evq::Gateway::wait_until('all to have an event', sub { my $taken = take_answered(); $all{ $_->{json}{events}[0]{flow_id} }++ for values %$taken; return !%crowd });
is_deeply([ sort keys %all ], [ sort map { "many-$_" } 1 .. $crowd - 2 ], 'many events: each who waits has one');
restore_function('evq_http.acquire_next');

# ---------- what it is sent, and what it has ----------

my $deep = '[' x 50000 . ']' x 50000;
for my $body (qq({"event_type": "A", "flow_id": "deep", "payload": $deep}), $deep)
{
	my $answer = $gateway->post('/api/events', $body, as('evq_operator'));
	is("$answer->{status} $answer->{json}{title}", '400 the JSON is nested too deep', 'JSON that is nested too deep is the fault of who sends it');
}
is($gateway->post('/api/events/batch', "[$deep]", as('evq_operator'))->{status}, 400, '... in a batch');
is($gateway->post("/api/events/$ids[0]/success", qq({"result": $deep}), as('evq_operator'))->{status}, 400, '... in a result');
is($gateway->post('/mcp', $deep, as('evq_operator'))->{status}, 400, '... by MCP');
is($gateway->get('/health')->{status}, 200, '... and the gateway is well');

my $log = "$folder/few_files.log";
system("ulimit -n 60; exec evq-gateway --port 0 --database '@{[ $node->connstr('postgres') ]}' >$log 2>&1");
is($? >> 8, 1, 'where too few files may be open, it does not start');
like(slurp_file($log), qr/error too few open files are allowed limit=60 needed=\d+/, '... and says so');

is($gateway->stop, 0, 'it stops');
end_session($holder);
$node->stop;
done_testing();
