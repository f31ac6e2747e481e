# evq-gateway and its database: away and back, requests that wait for events, and an orderly end.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Evq::Gateway;
use Evq::Server qw(make_server start_again wait_for_dispatcher);
use Evq::Test qw(end_session session);

my $node = make_server('main', conf => "max_prepared_transactions = 5\n");
$node->safe_psql('postgres', q{
	SELECT evq_configure('STEP', 'FLOW_B', 3, '1 hour', '{0 s}', attempt_timeout => '10 min');
	SELECT evq_configure_flow('FLOW_P', delivery => 'pull');
	SELECT evq_configure('PULLED', 'FLOW_P', 3, '1 hour', '{0 s}', attempt_timeout => '10 min')});
wait_for_dispatcher($node);
my $gateway = Evq::Gateway->new_ready($node, '--connections', 3, '--stop-timeout', 20);

# Begins a request and leaves the answer for later.
sub begin
{
	my (@request) = @_;
	my $socket = $gateway->socket;

	syswrite $socket, $gateway->request_bytes(@request);
	return $socket;
}

sub finish { return Evq::Gateway::read_answer($_[0]) }
sub events { return [ map { $_->{flow_id} } @{ $_[0]{json}{events} // [] } ] }

# Sessions of the gateway that are in this state.
sub sessions
{
	my ($condition) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evq-gateway' AND $condition");
}

# ---------- waiting for events ----------

my $began = time;
my $answer = $gateway->post('/api/flows/FLOW_B/acquire', { wait => 0.5 });
is($answer->{status}, 200, 'nothing came');
is_deeply($answer->{json}, { events => [] }, '... and that is told');
cmp_ok(time - $began, '>=', 0.5, '... after the time to wait');

for my $type ([ 'STEP', 'FLOW_B' ], [ 'PULLED', 'FLOW_P' ])
{
	my $waiting = begin('POST', "/api/flows/$type->[1]/acquire", { wait => 60, max_events => 5, worker => 'w' });

	Evq::Gateway::wait_until("LISTEN of $type->[1]", sub { sessions("query ILIKE '%listen \"evq_" . lc($type->[1]) . "\"%'") });
	$began = time;
	$node->safe_psql('postgres', "SELECT evq_publish('$type->[0]', NULL, 'awaited')");
	$answer = finish($waiting);
	is_deeply(events($answer), ['awaited'], "an event of $type->[1] that came while a request waited");
	cmp_ok(time - $began, '<', 20, '... is answered at once');
}

# One who waits for a batch has what has come.
my $for_batch = begin('POST', '/api/flows/FLOW_P/acquire-batch', { wait => 60, worker => 'w' });
Evq::Gateway::wait_until('LISTEN for a batch', sub { sessions(q{query ILIKE '%listen "evq_flow_p"%'}) });
$node->safe_psql('postgres', q{SELECT evq_publish_many('PULLED', NULL, '{a, b}', '{1, 2}')});
is_deeply(events(finish($for_batch)), [qw(a b)], 'a batch that came while a request waited');

# Several wait: each event is one's, and the others go on waiting.
my @waiting = map { begin('POST', '/api/flows/FLOW_B/acquire', { wait => 30, worker => "w$_" }) } 1 .. 4;
$node->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'for-' || n) FROM generate_series(1, 4) n});
is_deeply([ sort map { @{ events(finish($_)) } } @waiting ], [ map { "for-$_" } 1 .. 4 ], 'four wait, four come');

# Nothing is acquired for a client that has hung up.
my $gone = begin('POST', '/api/flows/FLOW_B/acquire', { wait => 60, worker => 'gone' });
Evq::Gateway::wait_until('the request to have asked', sub { sessions("query ~ 'acquire_next' AND state = 'idle'") });
close $gone;
my $left = $node->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'not for the gone')});
is_deeply(events($gateway->post('/api/flows/FLOW_B/acquire', { wait => 30, worker => 'here' })), ['not for the gone'], 'the next client has the event');
is($node->safe_psql('postgres', "SELECT worker FROM evq.events WHERE event_id = '$left'"), 'here', 'and it was offered to nobody else');

# A wait and a type that comes not.
is($gateway->post('/api/flows/FLOW_B/acquire', { wait => 10, event_types => ['NONE_SUCH'] })->{status}, 400, 'an error is told at once');

# ---------- the database goes and comes ----------

my %keyed = (event_type => 'STEP', flow_id => 'keyed', payload => { n => 1 });
my $first = $gateway->post('/api/events', \%keyed, 'Idempotency-Key' => 'once')->{json}{event_id};
my $waits = begin('POST', '/api/flows/FLOW_P/acquire', { wait => 60 });
$node->stop('fast');
$answer = finish($waits);
is($answer->{status}, 503, 'a request that waits is told that the database went');
$answer = $gateway->post('/api/events', \%keyed, 'Idempotency-Key' => 'once');
is($answer->{status}, 503, '503 while it is away');
ok($answer->{headers}{'retry-after'}, '... with Retry-After');
is($answer->{json}{title}, 'the database is away', '... and a title');
like($answer->{json}{hint}, qr/Idempotency-Key/, '... and a hint');
is($gateway->get('/health')->{status}, 503, 'health');
is_deeply($gateway->get('/health')->{json}, { status => 'down', database => 'away' }, '... says why');
my $metrics = $gateway->get('/metrics');
is($metrics->{status}, 200, 'metrics of the gateway alone');
like($metrics->{text}, qr/^evq_gateway_database_up 0$/m, '... with the database down');
like($metrics->{text}, qr/^evq_gateway_requests_total\{route="\/api\/events",method="POST",code="503"\} 1$/m, '... and the requests');
is($gateway->get('/')->{status}, 200, 'pages are served');
ok($gateway->is_running, 'it runs on');
start_again($node);
$gateway->wait_until_up;
is($gateway->post('/api/events', \%keyed, 'Idempotency-Key' => 'once')->{json}{event_id}, $first, 'the same publish again is the same event');
is($node->safe_psql('postgres', q{SELECT count(*) FROM evq.events WHERE flow_id = 'keyed'}), 1, '... which is there once');
ok($gateway->wait_for_log(qr/database away error=.*database back/s), 'the log tells both, once');
is(() = $gateway->log =~ /database back/g, 1, '... once');
wait_for_dispatcher($node);
$node->safe_psql('postgres', "SELECT evq_cancel('$first')");
my $again = begin('POST', '/api/flows/FLOW_B/acquire', { wait => 60 });
Evq::Gateway::wait_until('LISTEN again', sub { sessions(q{query ILIKE '%listen "evq_flow_b"%'}) });
$node->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'after')});
is_deeply(events(finish($again)), ['after'], 'it listens again');

# Publishing on while the server is restarted: each key is one event, whatever the client saw.
my $published = PostgreSQL::Test::Utils::tempdir() . '/published';
my $publishing = fork // die;
if ($publishing == 0)
{
	my $enough = 0;
	local $SIG{TERM} = sub { $enough = 1 };

	for (my $n = 1; !$enough; $n++)
	{
		for my $time (1 .. 2)
		{
			sleep 0.02
			  until $gateway->post('/api/events', { event_type => 'STEP', flow_id => 'restart', payload => $n }, 'Idempotency-Key' => "restart-$n")->{status} == 201;
		}
		append_to_file($published, "$n\n");
	}
	POSIX::_exit(0);
}
for my $mode ('fast', 'immediate', 'fast')
{
	my $count = q{SELECT count(*) FROM evq.events WHERE flow_id = 'restart'};
	my $before = $node->safe_psql('postgres', $count);
	Evq::Gateway::wait_until('some more events', sub { $node->safe_psql('postgres', $count) > $before + 20 });
	$node->stop($mode);
	start_again($node);
}
kill 'TERM', $publishing;
waitpid $publishing, 0;
is($?, 0, 'the publisher came through');
my $times = () = slurp_file($published) =~ /\n/g;
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT (evq_event(event_id) ->> 'payload')) FROM evq.events WHERE flow_id = 'restart'}),
	"$times|$times", 'each key made one event');

# ---------- what takes long ----------

$gateway->wait_until_up;
my $event = $node->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'locked')});
my $holder = session($node, 'postgres');
$holder->query_safe('BEGIN');
$holder->query_safe("SELECT evq_cancel('$event')");
my $blocked = begin('POST', "/api/events/$event/cancel");
Evq::Gateway::wait_until('the request to wait for the lock', sub { sessions(q{wait_event_type = 'Lock'}) == 1 });
is($gateway->get('/api/flows')->{status}, 200, 'others are served meanwhile') for 1 .. 6;
$holder->query_safe('ROLLBACK');
is(finish($blocked)->{json}{status}, 'CANCELED', 'then it is answered');

my $impatient = Evq::Gateway->new_ready($node, '--statement-timeout', 1);
$event = $node->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'locked')});
$holder->query_safe('BEGIN');
$holder->query_safe("SELECT evq_cancel('$event')");
$answer = $impatient->post("/api/events/$event/cancel");
is("$answer->{status} $answer->{json}{sqlstate}", '503 57014', 'statement_timeout');
$holder->query_safe('ROLLBACK');
$impatient->stop;

# A session that is terminated: its requests are lost, the others are not.
$holder->query_safe('BEGIN');
$holder->query_safe("SELECT evq_cancel('$event')");
$blocked = begin('POST', "/api/events/$event/cancel");
Evq::Gateway::wait_until('the request to wait for the lock', sub { sessions(q{wait_event_type = 'Lock'}) == 1 });
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'evq-gateway' AND wait_event_type = 'Lock'});
is(finish($blocked)->{status}, 503, 'a session that is terminated');
$holder->query_safe('ROLLBACK');
is($gateway->get('/api/flows')->{status}, 200, 'and the next request');

# One that is terminated when its function has answered, and its commit waits: what was answered does not count.
$node->safe_psql('postgres', q{
	CREATE TABLE checked (id int);
	CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON checked DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit();
	ALTER FUNCTION evq_http.publish(text, jsonb, jsonb, jsonb) RENAME TO kept_publish;
	CREATE FUNCTION evq_http.publish(target text, query jsonb, headers jsonb, body jsonb) RETURNS jsonb LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO checked VALUES (1); RETURN evq_http.kept_publish(target, query, headers, body); END $$});
my $log_before = -s $node->logfile;
$holder->query_safe('BEGIN; SELECT pg_advisory_xact_lock(42)');
$blocked = begin('POST', '/api/events', { event_type => 'STEP', flow_id => 'at the commit' });
Evq::Gateway::wait_until('the commit to wait with patience', sub {
	slurp_file($node->logfile, $log_before) =~ /canceling statement due to lock timeout/ && sessions(q{wait_event_type = 'Lock'}) == 1 });
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'evq-gateway' AND wait_event_type = 'Lock'});
is(finish($blocked)->{status}, 503, 'a session that is terminated in its commit');
$holder->query_safe('ROLLBACK');
is($node->safe_psql('postgres', q{SELECT count(*) FROM evq.events WHERE flow_id = 'at the commit'}), 0, '... the event is not there');
$node->safe_psql('postgres', q{
	DROP FUNCTION evq_http.publish(text, jsonb, jsonb, jsonb);
	ALTER FUNCTION evq_http.kept_publish(text, jsonb, jsonb, jsonb) RENAME TO publish});

# ---------- publishes that share a transaction ----------

# While the one session for publishes stands still, requests come, and share it afterwards.
my $narrow = Evq::Gateway->new_ready($node, '--connections', 1);

sub publish_together
{
	my (@requests) = @_;
	my $first = $narrow->post('/api/events', { event_type => 'PULLED', flow_id => 'first' });
	my $session = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE application_name = 'evq-gateway'
		AND state = 'idle' AND query ~ 'evq_http.publish' ORDER BY state_change DESC LIMIT 1});
	my @begun;

	kill 'STOP', $session or die "no session $session";
	for my $request ({ event_type => 'PULLED', flow_id => 'alone' }, @requests)
	{
		push @begun, $narrow->socket;
		syswrite $begun[-1], $narrow->request_bytes('POST', '/api/events', $request);
		# What was sent before a page was asked for has come when the page has.
		$narrow->get('/') for 1 .. 2;
	}
	kill 'CONT', $session;
	return map { finish($_) } @begun;
}

# Of a pull flow the dispatcher does not change the rows.
sub transactions
{
	my ($condition) = @_;
	return $node->safe_psql('postgres', "SELECT count(*), count(DISTINCT xmin::text) FROM evq.event WHERE $condition");
}

my @answers = publish_together(map { { event_type => 'PULLED', flow_id => 'together', payload => $_ } } 1 .. 5);
is_deeply([ map { $_->{status} } @answers ], [ (201) x 6 ], 'publishes that waited are answered');
is(transactions(q{flow_id = 'together'}), '5|1', '... and had one transaction');
for my $n (1 .. 5)
{
	my $event = $narrow->get("/api/events/$answers[$n]{json}{event_id}")->{json};
	is($event->{payload}, $n, "... each with the id of its own event, $n");
}

@answers = publish_together(map { { event_type => $_, flow_id => 'apart' } } 'PULLED', 'NONE_SUCH', 'PULLED');
is_deeply([ map { $_->{status} } @answers ], [ 201, 201, 400, 201 ], 'one that fails fails alone');
is($answers[2]{json}{sqlstate}, 'EQ001', '... for its own reason');
is(transactions(q{flow_id = 'apart'}), '2|2', '... and the others are there, once');
$narrow->stop;
$node->safe_psql('postgres', q{SELECT evq_cancel(event_id) FROM evq.events WHERE event_type = 'PULLED' AND state = 'awaiting_processing'});

# ---------- statements that are prepared, and functions that change ----------

my $old = 'evq_http.counts(text, jsonb, jsonb, jsonb)';
my $counts = sub { return $gateway->get('/api/counts?flow_type=FLOW_P') };
my $on_each_connection = sub {
	my %statuses = map { $counts->()->{status} => 1 } 1 .. 12;
	return [ sort keys %statuses ];
};

$node->safe_psql('postgres', "ALTER FUNCTION $old RENAME TO kept_counts");
is($counts->()->{status}, 501, 'a function that is not there') for 1 .. 4;
$node->safe_psql('postgres', 'CREATE FUNCTION evq_http.counts(target text, query jsonb, headers jsonb, body jsonb) RETURNS jsonb RETURN $$"one"$$::jsonb');
is_deeply($on_each_connection->(), [200], '... and is made');
is($counts->()->{json}, 'one', '... is called');
$node->safe_psql('postgres', "DROP FUNCTION $old; CREATE FUNCTION evq_http.counts(target text, query jsonb, headers jsonb, body jsonb) RETURNS json RETURN '\"other\"'::json");
is_deeply($on_each_connection->(), [200], 'one of another type in its place');
is($counts->()->{json}, 'other', '... is called');
$node->safe_psql('postgres', "DROP FUNCTION $old; ALTER FUNCTION evq_http.kept_counts(text, jsonb, jsonb, jsonb) RENAME TO counts");
is_deeply($on_each_connection->(), [200], 'and the first one again');
is(ref $counts->()->{json}{counts}, 'ARRAY', '... is called');

# A database without evq, what is not there, and what it may not use: the gateway says so and ends.
for my $database (
	[ 'dbname=template1', qr/the extension evq is not installed in database template1/ ],
	[ 'dbname=none_such', qr/database "none_such" does not exist/ ],
	[ 'dbname=postgres user=none_such', qr/role "none_such" does not exist/ ])
{
	my $other = Evq::Gateway->new($node, '--database', $node->connstr . " $database->[0]");
	is($other->exit_code, 1, "$database->[0]: it ends");
	ok($other->wait_for_log(qr/error cannot serve this database error=".*$database->[1]/), '... and says why');
	is(() = $other->log =~ /cannot serve/g, 1, '... once');
}

# One that has been served may come back.
$node->safe_psql('postgres', 'CREATE DATABASE comes_back');
$node->safe_psql('comes_back', 'CREATE EXTENSION evq');
my $other = Evq::Gateway->new_ready($node, '--database', $node->connstr('comes_back'));
$node->safe_psql('comes_back', 'DROP EXTENSION evq CASCADE');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'comes_back' AND backend_type = 'client backend'});
$other->wait_for_log(qr/the extension evq is not installed in database comes_back/);
like($other->get('/api/flows')->{json}{detail}, qr/the extension evq is not installed/, 'where evq goes, 503 and why');
$node->safe_psql('comes_back', 'CREATE EXTENSION evq');
$other->wait_until_up;
is($other->stop, 0, '... and when it comes back it is served');

# ---------- the end ----------

$holder->query_safe('BEGIN');
$holder->query_safe("SELECT evq_cancel('$event')");
$blocked = begin('POST', "/api/events/$event/cancel");
my $long = begin('POST', '/api/flows/FLOW_P/acquire', { wait => 60 });
my $idle = begin('GET', '/health');
finish($idle);
Evq::Gateway::wait_until('the request to wait for the lock', sub { sessions(q{wait_event_type = 'Lock'}) == 1 });
$gateway->signal('TERM');
$gateway->wait_for_log(qr/info stopping$/m);
is_deeply(finish($long)->{json}, { events => [] }, 'a request that waits has its answer');
is(sysread($idle, my $nothing, 1), 0, 'an idle connection is closed');
is(IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $gateway->{port}), undef, 'no new connection is accepted');
ok($gateway->is_running, 'it waits for the request in flight');
$holder->query_safe('ROLLBACK');
$answer = finish($blocked);
is($answer->{json}{status}, 'CANCELED', 'which is answered');
is(lc $answer->{headers}{connection}, 'close', '... as the last one of its connection');
is($gateway->exit_code, 0, 'then it ends');
is(sessions('true'), 0, 'and leaves no session');

# What does not end in time is cut off.
$gateway = Evq::Gateway->new_ready($node, '--stop-timeout', 1);
$event = $node->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'locked')});
$holder->query_safe('BEGIN');
$holder->query_safe("SELECT evq_cancel('$event')");
$blocked = begin('POST', "/api/events/$event/cancel");
Evq::Gateway::wait_until('the request to wait for the lock', sub { sessions(q{wait_event_type = 'Lock'}) == 1 });
is($gateway->stop, 0, 'it ends without the request');
$holder->query_safe('ROLLBACK');
end_session($holder);
done_testing();
