# evq-gateway: each route with what it answers and what it refuses.
use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server wait_for_dispatcher);

my $node = make_server('main');
# What the gateway answers is in UTC, whatever the database's time zone.
$node->safe_psql('postgres', q{ALTER DATABASE postgres SET TimeZone = 'Asia/Kathmandu'});
my $gateway = Evq::Gateway->new_ready($node);
my $nobody = '00000000-0000-7000-8000-000000000000';

$node->safe_psql('postgres', q{
	SELECT evq_configure('STEP', 'FLOW_B', 3, '1 hour', '{0 s}', attempt_timeout => '10 min');
	SELECT evq_configure('NEXT_STEP', 'FLOW_B');
	SELECT evq_configure('OTHER', 'FLOW_C')});
wait_for_dispatcher($node);

# answers(NAME, ANSWER, STATUS, MORE): more is what the JSON of the answer has, as far as it is named.
sub answers
{
	my ($name, $answer, $status, $more) = @_;

	subtest $name => sub {
		is($answer->{status}, $status, 'status') or diag($answer->{bytes});
		is($answer->{headers}{'content-type'}, $status < 400 ? 'application/json' : 'application/problem+json', 'content type');
		if ($status >= 400)
		{
			is($answer->{json}{status}, $status, 'the problem has the status too');
			ok($answer->{json}{title}, 'and a title');
		}
		for my $key (sort keys %{ $more // {} })
		{
			my ($has, $wanted) = ($answer->{json}{$key}, $more->{$key});
			ref $wanted eq 'Regexp' ? like($has, $wanted, $key) : is_deeply($has, $wanted, $key);
		}
	};
	return $answer->{json};
}

sub refuses { my ($name, $answer, $status, $sqlstate) = @_; return answers($name, $answer, $status, { sqlstate => $sqlstate }) }

sub publish { return $gateway->post('/api/events', { event_type => 'STEP', flow_id => 'case', @_ })->{json}{event_id} }

sub acquired
{
	my $id = publish();
	return ($id, $gateway->post("/api/events/$id/acquire")->{json}{permit});
}

my $uuid = qr/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

# Publish.
my $id = answers('publish', $gateway->post('/api/events', { event_type => 'STEP', flow_type => 'FLOW_B', flow_id => 'case', payload => { n => 1 } }),
	201, { event_id => $uuid })->{event_id};
is($node->safe_psql('postgres', "SELECT evq_event('$id') -> 'payload'"), '{"n": 1}', 'it is there');
refuses('unknown type', $gateway->post('/api/events', { event_type => 'NONE_SUCH', flow_id => 'case' }), 400, 'EQ001');
refuses('unknown key', $gateway->post('/api/events', { event_type => 'STEP', flow_id => 'case', colour => 'red' }), 400, 'EQ006');
refuses('no body', $gateway->post('/api/events'), 400, 'EQ006');
refuses('not JSON', $gateway->post('/api/events', '{"event_type":'), 400, '22P02');
refuses('a character that jsonb cannot hold', $gateway->post('/api/events', '{"event_type": "STEP", "flow_id": "a", "payload": "\u0000"}'), 400, '22P05');
refuses('not UTF-8', $gateway->post('/api/events', qq({"event_type": "STEP", "flow_id": "\xff"})), 400, '22021');
answers('a NUL', $gateway->post('/api/events', qq({"event_type": "STEP", "flow_id": "a\0"})), 400, { title => qr/NUL/ });
refuses('not a time', $gateway->post('/api/events', { event_type => 'STEP', flow_id => 'case', run_at => 'soon' }), 400, '22007');
refuses('payload too large', $gateway->post('/api/events', { event_type => 'STEP', flow_id => 'case', payload => 'x' x 1_100_000 }), 413, 'EQ005');
my %keyed = (event_type => 'STEP', flow_id => 'keyed', payload => { n => 1 });
my $keyed = answers('Idempotency-Key', $gateway->post('/api/events', \%keyed, 'Idempotency-Key' => 'key "1"'), 201)->{event_id};
answers('the same again', $gateway->post('/api/events', \%keyed, 'Idempotency-Key' => 'key "1"'), 201, { event_id => $keyed });
refuses('with another payload', $gateway->post('/api/events', { %keyed, payload => 2 }, 'Idempotency-Key' => 'key "1"'), 409, 'EQ008');
my $batch = answers('batch', $gateway->post('/api/events/batch', [ map { { event_type => 'STEP', flow_id => "batch-$_" } } 1 .. 3 ]), 201);
is($node->safe_psql('postgres', "SELECT flow_id FROM evq.events WHERE event_id = '$batch->{event_ids}[2]'"), 'batch-3', 'ids in order');
refuses('batch: not an array', $gateway->post('/api/events/batch', {}), 400, 'EQ006');

# Acquire and report.
$id = publish(payload => { 'ключ' => "\x{1F389}" });
my $permit = answers('acquire', $gateway->post("/api/events/$id/acquire", { worker => 'w' }), 200,
	{ acquired => JSON::PP::true, event_id => $id, flow_id => 'case', attempt => 1, payload => { 'ключ' => "\x{1F389}" } })->{permit};
answers('acquired already', $gateway->post("/api/events/$id/acquire"), 200, { acquired => JSON::PP::false });
answers('acquire: no such event', $gateway->post("/api/events/$nobody/acquire"), 200, { acquired => JSON::PP::false });
refuses('acquire: not an id', $gateway->post('/api/events/x/acquire'), 400, 'EQ006');
answers('heartbeat', $gateway->post("/api/events/$id/heartbeat", { permit => $permit, extend_by => '5 min' }), 200, { held => JSON::PP::true });
refuses('heartbeat without permit', $gateway->post("/api/events/$id/heartbeat", {}), 400, 'EQ006');
my $success = { permit => $permit, result => { ok => 1 }, spinoffs => [ { event_type => 'NEXT_STEP', payload => { m => 2 } } ] };
refuses('success with another permit', $gateway->post("/api/events/$id/success", { permit => $permit + 1 }), 409, 'EQ004');
my $done = answers('success', $gateway->post("/api/events/$id/success", $success), 200, { acknowledged => JSON::PP::true });
like($done->{spinoff_event_ids}[0], $uuid, 'its spinoff');
answers('success, again', $gateway->post("/api/events/$id/success", $success), 200, $done);
refuses('success of no event', $gateway->post("/api/events/$nobody/success", {}), 404, 'EQ002');
($id, $permit) = acquired();
answers('failure', $gateway->post("/api/events/$id/failure", { permit => $permit, error_message => 'no', stack_trace => 'at x', retry_in => 60 }), 200,
	{ acknowledged => JSON::PP::true, status => 'AWAITING_PROCESSING' });
refuses('failure, again', $gateway->post("/api/events/$id/failure", { permit => $permit, error_message => 'no' }), 409, 'EQ004');
refuses('failure without message', $gateway->post("/api/events/$id/failure", {}), 400, 'EQ006');
($id, $permit) = acquired();
answers('failure for good', $gateway->post("/api/events/$id/failure", { permit => $permit, error_message => 'no', retryable => JSON::PP::false }), 200, { status => 'FAILED' });
answers('retry', $gateway->post("/api/events/$id/retry"), 200, { status => 'AWAITING_PROCESSING' });
refuses('retry, again', $gateway->post("/api/events/$id/retry"), 409, 'EQ003');
($id, $permit) = acquired();
answers('suspend', $gateway->post("/api/events/$id/suspend", { permit => $permit, timeout => '1 min' }), 200, { status => 'SUSPENDED', state_due_at => qr/^2/ });
refuses('suspend, again', $gateway->post("/api/events/$id/suspend", { permit => $permit }), 409, 'EQ004');
answers('activate', $gateway->post("/api/events/$id/activate", { payload_patch => { driver => 7 } }), 200, { status => 'AWAITING_PROCESSING' });
refuses('activate, again', $gateway->post("/api/events/$id/activate"), 409, 'EQ003');
refuses('activate: not an object', $gateway->post("/api/events/$id/activate", { payload_patch => 1 }), 400, 'EQ006');
$permit = $gateway->post("/api/events/$id/acquire")->{json}{permit};
refuses("snooze until $_", $gateway->post("/api/events/$id/snooze", { permit => $permit, run_at => $_ }), 400, 'EQ006')
	for qw(2000-01-01T00:00:00Z infinity -infinity 99999-01-01T00:00:00Z);
refuses('snooze until nothing', $gateway->post("/api/events/$id/snooze", { permit => $permit }), 400, 'EQ006');
refuses('a negative time to retry', $gateway->post("/api/events/$id/failure", { permit => $permit, error_message => 'no', retry_in => -5 }), 400, 'EQ006');
answers('snooze', $gateway->post("/api/events/$id/snooze", { permit => $permit, run_at => '2999-01-01T00:00:00Z' }), 200, { status => 'AWAITING_PROCESSING' });
$node->safe_psql('postgres', "SELECT evq_cancel('$id'), evq_retry('$id')");
$permit = $gateway->post("/api/events/$id/acquire")->{json}{permit};
answers('release', $gateway->post("/api/events/$id/release", { permit => $permit }), 200, { status => 'AWAITING_PROCESSING' });
refuses('release, again', $gateway->post("/api/events/$id/release", { permit => $permit }), 409, 'EQ004');
answers('cancel', $gateway->post("/api/events/$id/cancel", { reason => 'enough' }), 200, { status => 'CANCELED' });
refuses('cancel: not a string', $gateway->post("/api/events/$id/cancel", { reason => 1 }), 400, 'EQ006');
refuses('cancel of no event', $gateway->post("/api/events/$nobody/cancel"), 404, 'EQ002');
answers('acquire of a flow, where there is nothing', $gateway->post('/api/flows/FLOW_C/acquire'), 200, { events => [] });
publish(event_type => 'OTHER', flow_id => 'next');
my $next = answers('... where there is something soon', $gateway->post('/api/flows/FLOW_C/acquire', { max_events => 100, event_types => ['OTHER'], wait => 60 }), 200);
is($next->{events}[0]{flow_id}, 'next', 'the event');
refuses('... of no flow', $gateway->post('/api/flows/NONE_SUCH/acquire'), 400, 'EQ001');
{
	# Whichever of the flows has something, who waits for both is told.
	my $several = sub { return $gateway->post('/api/acquire', { flow_types => [ 'FLOW_G', 'FLOW_F' ], @_ }) };
	$gateway->call('PUT', "/api/event-types/IN_$_", { flow_type => "FLOW_$_" }) for 'F', 'G';
	answers('acquire of several flows, where there is nothing', $several->(), 200, { events => [] });
	for my $flow ('F', 'G')
	{
		$gateway->post('/api/events', { event_type => "IN_$flow", flow_id => 'several', run_at => $node->safe_psql('postgres', q{SELECT clock_timestamp() + interval '1 s'}) });
		my $got = answers("... where there is something soon in FLOW_$flow", $several->(weights => [ 1, 2 ], max_events => 10, wait => 60), 200);
		is(join(' ', map { $_->{flow_type} } @{ $got->{events} }), "FLOW_$flow", '... which it gets');
	}
	refuses('... of no flow', $gateway->post('/api/acquire', { flow_types => ['NONE_SUCH'] }), 400, 'EQ001');
	refuses('... of none', $gateway->post('/api/acquire'), 400, 'EQ006');
}
refuses('... too many', $gateway->post('/api/flows/FLOW_B/acquire', { max_events => 100_000 }), 400, 'EQ006');

# Batches.
{
	my $acquire = sub { return $gateway->post('/api/flows/FLOW_E/acquire-batch', @_) };
	my $report = sub { my ($verb, %body) = @_; return $gateway->post("/api/batches/$verb", \%body) };

	$node->safe_psql('postgres', q{SELECT evq_configure('BATCHED', 'FLOW_E', attempt_delays => '{0 s}')});
	answers('a batch, where there is nothing', $acquire->(), 200, { token => undef, events => [] });
	$gateway->post('/api/events', { event_type => 'BATCHED', flow_id => "token-$_" }) for 1 .. 4;
	my $waiting = q{SELECT count(*) FROM evq.events WHERE flow_id LIKE 'token-%' AND state = 'dispatched'};
	Evq::Gateway::wait_until('four events', sub { $node->safe_psql('postgres', $waiting) == 4 });
	my $batch = answers('... where there is something', $acquire->({ worker => 'w', wait => 60 }), 200, { token => qr/^[\w+\/=]+$/ });
	my @events = map { $_->{event_id} } @{ $batch->{events} };
	my $token = $batch->{token};
	is(join(' ', map { $_->{flow_id} } @{ $batch->{events} }), 'token-1 token-2 token-3 token-4', '... is all of it');
	is_deeply([ map { $_->{held} } @{ $report->('heartbeat', token => $token, extend_by => '5 min')->{json}{events} } ], [ (JSON::PP::true) x 4 ], 'heartbeat of a batch');
	is_deeply($report->('failure', token => $token, error_message => 'no', event_ids => [ $events[1] ], retryable => JSON::PP::false)->{json}{events},
		[ { event_id => $events[1], accepted => JSON::PP::true, status => 'FAILED' } ], 'failure of one of it');
	answers('one of it by its own permit', $gateway->post("/api/events/$events[2]/snooze", { permit => $batch->{events}[2]{permit}, run_at => '2090-01-01T00:00:00Z' }), 200, { status => 'AWAITING_PROCESSING' });
	answers('the others are done, and the next batch', $acquire->({ token => $token, except_ids => [ @events[ 1, 2 ] ] }), 200, { token => undef, lost_event_ids => [] });
	answers('success again', $report->('success', token => $token), 200, { acknowledged => JSON::PP::true, lost_event_ids => [ @events[ 1, 2 ] ] });
	is($node->safe_psql('postgres', q{SELECT string_agg(state::text, ' ' ORDER BY flow_id) FROM evq.events WHERE flow_id LIKE 'token-%'}), 'succeeded failed awaiting_processing succeeded', 'each is as it was reported');
	answers('release: what is not held is told', $report->('release', token => $token), 200, { lost_event_ids => \@events });
	refuses('failure of no token', $report->('failure', token => 'x', error_message => 'no'), 400, 'EQ006');
	refuses("$_ of a part of a token", $report->($_, token => substr $token, 4), 400, 'EQ006') for qw(success heartbeat release);
}

# Read.
answers('event', $gateway->get("/api/events/$id"), 200, { event_id => $id, status => 'CANCELED', reason => 'enough', payload => { driver => 7 }, published_at => qr/\+00:00$/ });
refuses('no such event', $gateway->get("/api/events/$nobody"), 404, 'EQ002');
refuses('not an id', $gateway->get('/api/events/x'), 400, 'EQ006');
my $page = answers('events', $gateway->get('/api/events?flow_type=FLOW_C&event_type=OTHER&status=AWAITING_PROCESSING,BEING_PROCESSED&flow_id=next'), 200, { next => undef });
is(scalar @{ $page->{events} }, 1, 'one event');
$page = answers('a page of them', $gateway->get('/api/events?limit=1'), 200, { next => $uuid });
answers('the next page', $gateway->get("/api/events?limit=1&after=$page->{next}"), 200, { next => $uuid });
is($gateway->get('/api/events?q=flow%3AFLOW_B+payload.driver:7')->{json}{events}[0]{event_id}, $id, 'a search, encoded');
is($gateway->get('/api/events?q=payload.%D0%BA%D0%BB%D1%8E%D1%87:%F0%9F%8E%89')->{json}{events}[0]{status}, 'SUCCEEDED', 'a search for what is not ASCII');
refuses('events: unknown key', $gateway->get('/api/events?colour=red'), 400, 'EQ006');
refuses('events: unknown status', $gateway->get('/api/events?status=DONE'), 400, 'EQ006');
publish(flow_id => 'pending');
answers('pending', $gateway->get('/api/events/pending/FLOW_B'), 200, { events => qr/ARRAY/ });
refuses('pending of no flow', $gateway->get('/api/events/pending/NONE_SUCH'), 400, 'EQ001');
ok((grep { $_->{status} eq 'BEING_PROCESSED' } @{ answers('counts', $gateway->get('/api/counts?flow_type=FLOW_C'), 200)->{counts} }), 'counts by status');
refuses('counts: unknown key', $gateway->get('/api/counts?x=1'), 400, 'EQ006');
is_deeply([ map { $_->{flow_type} } @{ answers('flows', $gateway->get('/api/flows'), 200)->{flows} } ], [ 'FLOW_B', 'FLOW_C', 'FLOW_E', 'FLOW_F', 'FLOW_G' ], 'the flows');
refuses('flows: bad limit', $gateway->get('/api/flows?limit=0'), 400, 'EQ006');
is(@{ answers('event types', $gateway->get('/api/event-types?flow_type=FLOW_B'), 200)->{event_types} }, 2, 'the types');
is(answers('errors', $gateway->get('/api/errors?flow_type=FLOW_B'), 200)->{errors}[0]{error_message}, 'no', 'the errors');
refuses('errors: bad cursor', $gateway->get('/api/errors?after=x'), 400, 'EQ006');

# Configure.
answers('configure', $gateway->call('PUT', '/api/event-types/NEW.TYPE', { flow_type => 'FLOW_B', max_attempts => 5, lifespan => '2 hours' }), 200,
	{ event_type => 'NEW.TYPE', max_attempts => 5, lifespan => '02:00:00' });
refuses('configure: out of range', $gateway->call('PUT', '/api/event-types/NEW.TYPE', { max_attempts => 0 }), 400, 'EQ006');
refuses('configure: a bad name', $gateway->call('PUT', '/api/event-types/bad%20name', { flow_type => 'FLOW_B' }), 400, 'EQ006');
answers('configure a flow', $gateway->call('PUT', '/api/flows/FLOW_D', { max_dispatched => 20, dispatch_timeout => '45 s' }), 200,
	{ flow_type => 'FLOW_D', channel => 'evq_flow_d', max_dispatched => 20, dispatch_timeout => '00:00:45' });
refuses('configure a flow: out of range', $gateway->call('PUT', '/api/flows/FLOW_D', { max_dispatched => 0 }), 400, 'EQ006');
answers('pause a flow', $gateway->post('/api/flows/FLOW_D/pause', { until => '2100-01-01T00:00:00Z', reason => 'why' }), 200, { is_paused => JSON::PP::true, pause_reason => 'why' });
answers('resume it', $gateway->post('/api/flows/FLOW_D/resume'), 200, { is_paused => JSON::PP::false, pause_reason => undef });
refuses('pause until a time that is past', $gateway->post('/api/flows/FLOW_D/pause', { until => '2000-01-01T00:00:00Z' }), 400, 'EQ006');
refuses('pause no flow', $gateway->post('/api/flows/NONE_SUCH/pause'), 400, 'EQ001');
answers('suspend a type', $gateway->post('/api/event-types/NEW.TYPE/suspend'), 200, { is_suspended => JSON::PP::true });
answers('unsuspend it', $gateway->post('/api/event-types/NEW.TYPE/unsuspend'), 200, { is_suspended => JSON::PP::false });
refuses('suspend no type', $gateway->post('/api/event-types/NONE_SUCH/suspend'), 400, 'EQ001');

# Health, metrics, pages.
answers('health', $gateway->get('/health'), 200, { status => 'ok', database => 'up', version => $node->safe_psql('postgres', 'SELECT evq_version()') });
my $metrics = $gateway->get('/metrics');
is($metrics->{headers}{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8', 'metrics');
IPC::Run::run([ 'promtool', 'check', 'metrics' ], '<', \$metrics->{text}, '>&', \my $complaints);
is($complaints, '', 'promtool has no complaint about them');
like($metrics->{text}, qr/^evq_events\{.*^evq_gateway_requests_total\{/ms, 'they are the engine\'s and the gateway\'s');
my $index = $gateway->get('/');
is($index->{headers}{'content-type'}, 'text/html; charset=utf-8', 'the page at /');
like($index->{headers}{'content-security-policy'}, qr/script-src 'self';/, 'has a policy');
is($gateway->get('/index.html')->{text}, $index->{text}, '/index.html is the same');
is($gateway->get('/', 'If-None-Match' => $index->{headers}{etag})->{status}, 304, 'not modified');
is($gateway->get('/', 'If-None-Match' => '"x"')->{status}, 200, 'modified');
my $head = $gateway->call('HEAD', '/');
is($head->{status} . $head->{headers}{'content-length'} . $head->{text}, 200 . $index->{headers}{'content-length'}, 'HEAD /');
is($gateway->call('HEAD', '/api/flows')->{status}, 200, 'HEAD of a route');
is($gateway->get($_)->{status}, 404, $_) for '/../evq.control', '/..%2f..%2fetc/passwd', '/index.html/', '//index.html', '/INDEX.HTML', '/embed';

# The Model Context Protocol is evq_http.mcp()'s; the gateway hands it headers, body and whether tools may write.
sub mcp { my ($to, $method, %more) = @_; return $to->post('/mcp', { jsonrpc => '2.0', id => 1, method => $method, %more }, 'MCP-Protocol-Version' => '2025-11-25') }
my $writing = Evq::Gateway->new_ready($node, '--mcp-write');
my %tools = map { $_->[0] => { map { $_->{name} => 1 } @{ mcp($_->[1], 'tools/list')->{json}{result}{tools} } } } [ reading => $gateway ], [ writing => $writing ];
ok($tools{reading}{get_event} && !$tools{reading}{publish_event}, 'MCP: tools that read');
ok($tools{writing}{get_event} && $tools{writing}{publish_event}, '--mcp-write: those that write too');
$writing->stop;
my $accepted = $gateway->post('/mcp', { jsonrpc => '2.0', method => 'notifications/initialized' }, 'MCP-Protocol-Version' => '2025-11-25');
is("$accepted->{status} $accepted->{text}", '202 ', 'MCP: a notification');
is($gateway->post('/mcp', '{')->{json}{error}{code}, -32700, 'MCP: not JSON');
is($gateway->post('/mcp', {}, Origin => 'https://evil.example')->{status}, 403, 'MCP: another origin');

# What there is not.
answers('unknown path', $gateway->get('/api/none'), 404, { hint => qr/openapi/ });
answers($_, $gateway->get($_), 404) for '/api', '/api/', '/api/events/', '/api/events//acquire', "/api/events/$nobody/acquire/", "/api/events/$nobody/none", '/a/b/c/d/e/f/g/h', '/API/events';
is($gateway->post('/')->{status}, 404, 'POST of a page');
my %wrong = ('/api/events' => 'DELETE', '/api/events/batch' => 'PUT', "/api/events/$nobody/acquire" => 'GET', '/api/flows' => 'POST', '/health' => 'POST', '/mcp' => 'GET', '/api/stream' => 'HEAD', '/ws' => 'HEAD');
for my $path (sort keys %wrong)
{
	my $answer = $gateway->call($wrong{$path}, $path);
	is($answer->{status}, 405, "$wrong{$path} $path");
	like($answer->{headers}{allow}, qr/^(GET|POST|PUT)(, (GET|POST|PUT))*$/, '... with Allow');
}
is($gateway->call('DELETE', '/api/events')->{headers}{allow}, 'POST, GET', 'Allow names the methods');
for my $type ('text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonx', '')
{
	answers("content type '$type'", $gateway->post('/api/events', '{}', 'Content-Type' => $type), 415);
}
answers('a body that is compressed', $gateway->post('/api/events', '{}', 'Content-Encoding' => 'gzip'), 415);
answers('... or says that it is not', $gateway->post('/api/events', { event_type => 'no such' }, 'Content-Encoding' => 'identity'), 400, { sqlstate => 'EQ001' });
answers('JSON with a charset', $gateway->post('/api/events', { event_type => 'STEP', flow_id => 'a' }, 'Content-Type' => 'Application/JSON; charset=utf-8'), 201);
answers('a GET with a body', $gateway->call('GET', '/api/flows', '{}'), 400);
answers("GET $_", $gateway->get($_), 400) for '/api/events?q=%', '/api/events?q=%zz', '/api/events?q=%00', '/api/events?q=%0a', '/api/events?q=%ff', '/api/events?q=a&q=b', '/api/events/%C0%AF',
  '/api/events?' . join('&', map { "a$_=1" } 1 .. 17), 'http://localhost/api/events', '*';
answers('... what is there twice is told', $gateway->get('/api/events?limit=1&limit=2'), 400, { title => qr/twice/ });

# A route whose function is not there.
$node->safe_psql('postgres', 'ALTER FUNCTION evq_http.counts(text, jsonb, jsonb, jsonb) RENAME TO counts_gone');
answers('a route without its function', $gateway->get('/api/counts'), 501, { title => qr/does not have this/, sqlstate => '42883' });
$node->safe_psql('postgres', 'ALTER FUNCTION evq_http.counts_gone(text, jsonb, jsonb, jsonb) RENAME TO counts');

# What is not the caller's fault is not shown to him.
$node->safe_psql('postgres', 'ALTER TABLE evq.flow RENAME TO flow_gone');
my $broken = answers('an internal error', $gateway->get('/api/events/pending/FLOW_B'), 500, { title => 'internal error', detail => undef });
ok($gateway->wait_for_log(qr/statement failed function=evq_http.pending sqlstate=42P01 error="relation/), 'it is logged');
$node->safe_psql('postgres', 'ALTER TABLE evq.flow_gone RENAME TO flow');
$node->safe_psql('postgres', q{
	ALTER FUNCTION evq_http.counts(text, jsonb, jsonb, jsonb) RENAME TO counts_gone;
	CREATE FUNCTION evq_http.counts(target text, query jsonb, headers jsonb, body jsonb) RETURNS jsonb LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = 'XX000', DETAIL = 'within', HINT = 'within'; END $$});
answers('... nor is what is said of it', $gateway->get('/api/counts'), 500, { title => 'internal error', detail => undef, hint => undef });
$node->safe_psql('postgres', q{
	DROP FUNCTION evq_http.counts(text, jsonb, jsonb, jsonb);
	ALTER FUNCTION evq_http.counts_gone(text, jsonb, jsonb, jsonb) RENAME TO counts});

# The description names what there is.
my ($routes) = run_command([ 'evq-gateway', '--routes' ]);
my %routes = map { /^(\S+) (\S+) (\S+)$/ ? ("$1 $2" => $3) : () } split /\n/, $routes;
my $description = $gateway->get('/openapi.json')->{json};
is($description->{openapi}, '3.1.0', 'OpenAPI');
is($description->{info}{version}, $node->safe_psql('postgres', 'SELECT evq_version()'), 'its version is that of the extension');
is_deeply(
	[ sort map { my $path = $_; map { uc($_) . " $path" } keys %{ $description->{paths}{$path} } } keys %{ $description->{paths} } ],
	[ sort keys %routes ], 'it has the routes');
is_deeply($gateway->get('/api/rights')->{json}{operations}, [ sort map { map { $_->{operationId} } values %$_ } values %{ $description->{paths} } ], 'rights are told by its names');
my %statuses = map { my $path = $_; map { (uc($_) . " $path" => $description->{paths}{$path}{$_}{responses}) } keys %{ $description->{paths}{$path} } } keys %{ $description->{paths} };
my (@refers, @dangling);
my $look;
$look = sub {
	my ($value) = @_;
	if (ref $value eq 'HASH')
	{
		push @refers, $value->{'$ref'} if $value->{'$ref'};
		$look->($_) for values %$value;
	}
	elsif (ref $value eq 'ARRAY') { $look->($_) for @$value }
};
$look->($description);
for my $reference (@refers)
{
	my $found = $description;
	$found = ref $found eq 'HASH' ? $found->{$_} : undef for split m{/}, $reference =~ s{^#/}{}r;
	push @dangling, $reference unless $found;
}
ok(@refers > 50 && !@dangling, 'nothing in it refers to nothing') or diag("@dangling");

# Its keys are those that the functions know.
my %known = split /[\n|]/, $node->safe_psql('postgres', <<'SQL');
	SELECT oid::regproc, regexp_replace((regexp_match(prosrc, 'object_of\((?:body|query), ''{([^}]*)}'''))[1], '\s+', ' ', 'g')
	FROM pg_proc WHERE pronamespace = 'evq_http'::regnamespace AND prosrc ~ 'object_of'
SQL
for my $route (sort keys %routes)
{
	next unless defined $known{ $routes{$route} };
	my ($method, $path) = split / /, $route;
	my $operation = $description->{paths}{$path}{ lc $method };
	my $schema = $operation->{requestBody}{content}{'application/json'}{schema} // {};
	$schema = $description->{components}{schemas}{ $1 } if ($schema->{'$ref'} // '') =~ m{([^/]+)$};
	my @described = $method eq 'GET' ? map { $_->{name} } grep { $_->{in} eq 'query' } @{ $operation->{parameters} // [] } : keys %{ $schema->{properties} // {} };
	is_deeply([ sort @described ], [ sort split /[\s,]+/, $known{ $routes{$route} } ], "$route: its keys are described");
}

# The program.
my ($version) = run_command([ 'evq-gateway', '--version' ]);
is($version, 'evq-gateway ' . $node->safe_psql('postgres', 'SELECT evq_version()'), '--version');
my ($help) = run_command([ 'evq-gateway', '--help' ]);
like($help, qr/--database.*--tokens.*--routes/s, '--help');
command_fails_like([ 'evq-gateway', @$_ ], qr/^evq-gateway: /, "evq-gateway @$_")
  for ['--none-such'], [ 'one', 'two' ], [ '--port', 'x' ], [ '--port', 65536 ], [ '--connections', 0 ], [ '--host', 'a b' ], [ '--origin', 'example.com' ],
  [ '--log-level', 'loud' ], [ '--tls-key', 'x' ], [ '--listen', '0.0.0.0' ], [ '--listen', '::' ], [ '--listen', '0.0.0.0', '--tokens', 'x' ],
  [ '--listen', '192.0.2.1', '--tls-certificate', 'x', '--tls-key', 'y' ];
command_fails_like([ 'evq-gateway', '--listen', 'localhost', '--insecure' ], qr/not an IP address/, '--listen wants an address');

command_fails_like([ 'evq-gateway', '--port', $gateway->{port}, $node->connstr('postgres') ], qr/cannot listen/, 'a port that is taken');

is($gateway->stop, 0, 'it stops');
ok($gateway->wait_for_log(qr/request method=POST route=\/api\/events\/\{id\}\/success status=409 ms=\d+ client=127\.0\.0\.1 role=- sqlstate=EQ004$/m), 'a line for each request');
unlike($gateway->log, qr/$id|ключ|driver/, 'without ids and payloads');
done_testing();
