# What evq-gateway lets in: names and pages, tokens and roles, and bytes that are not as they should be.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Evq::Gateway;
use Evq::Server qw(make_server);

my $node = make_server('main');
$node->safe_psql('postgres', q{SELECT evq_configure('STEP', 'FLOW_B')});
my $folder = PostgreSQL::Test::Utils::tempdir();

sub token_file
{
	my ($name, $text) = @_;

	append_to_file("$folder/$name", $text);
	chmod 0600, "$folder/$name";
	return "$folder/$name";
}

my %tokens = map { $_ => "token-of-the-$_-0123456789" } qw(publisher worker operator monitor);
my $tokens = token_file('tokens', "# roles and their tokens\n\n" . join '', map { "evq_$_  $tokens{$_}\n" } sort keys %tokens);
my @limits = ('--max-body', 4096, '--max-header', 8192, '--header-timeout', 2, '--body-timeout', 2, '--idle-timeout', 3, '--max-connections-per-client', 20);
my $gateway = Evq::Gateway->new_ready($node, '--tokens', $tokens, '--host', 'evq.example', '--host', 'other.example:8443', '--origin', 'https://shop.example', @limits);
my $port = $gateway->{port};
my @bearer = (Authorization => "Bearer $tokens{operator}");

sub status { my ($name, $answer, $status) = @_; is($answer->{status}, $status, $name) or diag($answer->{bytes}); return $answer }

# ---------- names and pages ----------

for my $host ("localhost:$port", 'localhost', "127.0.0.1:$port", "[::1]:$port", 'LOCALHOST', 'evq.example', "evq.example:$port", 'EVQ.Example:1', 'other.example:8443')
{
	status("Host $host", $gateway->get('/api/flows', @bearer, Host => $host), 200);
}
for my $host ('evil.example', 'localhost.evil.example', 'evq.example.', 'evq.example@evil.example', 'other.example', 'other.example:8444', "localhost:$port:1", 'localhost:', 'localhost:x', '[::1', '[]', ' ', '127.0.0.1.evil.example', 'local', '127.0.0', "\xff")
{
	status("Host $host", $gateway->get($_, @bearer, Host => $host), 403) for '/api/flows', '/health', '/', '/ws', '/metrics';
}
status('no Host', $gateway->get('/api/flows', @bearer, Host => undef), 400);
status('an empty Host', $gateway->get('/api/flows', @bearer, Host => ''), 403);
for my $origin ("http://localhost:$port", "https://localhost:$port", 'https://shop.example')
{
	status("Origin $origin", $gateway->get('/api/flows', @bearer, Origin => $origin), 200);
}
for my $origin ('null', 'https://evil.example', 'http://localhost', 'http://localhost:1', 'http://shop.example', 'https://shop.example:444', 'https://shop.example.evil.example', '', 'x', 'ftp://localhost', "http://127.0.0.1:$port")
{
	status("Origin $origin", $gateway->get($_, @bearer, Origin => $origin), 403) for '/api/flows', '/health', '/', '/ws', '/api/stream';
	status("Origin $origin cannot publish", $gateway->post('/api/events', { event_type => 'STEP', flow_id => 'evil' }, @bearer, Origin => $origin), 403);
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM evq.events'), 0, 'nothing was published');
my $allowed = $gateway->get('/api/flows', @bearer, Origin => 'https://shop.example');
is($allowed->{headers}{'access-control-allow-origin'}, 'https://shop.example', 'a listed page may read the answer');
is($allowed->{headers}{vary}, 'Origin', '... and caches know it');
is($gateway->get('/api/flows', @bearer)->{headers}{'access-control-allow-origin'}, undef, 'without Origin nothing is said');
my %preflight = ('Access-Control-Request-Method' => 'POST');
my $preflight = status('a preflight', $gateway->call('OPTIONS', '/api/events', undef, Origin => 'https://shop.example', %preflight), 204);
like($preflight->{headers}{'access-control-allow-headers'}, qr/Authorization.*Idempotency-Key/, 'names the headers');
status('a preflight of our own page', $gateway->call('OPTIONS', '/api/events', undef, Origin => "http://localhost:$port", %preflight), 405);
status('a preflight of another', $gateway->call('OPTIONS', '/api/events', undef, Origin => 'https://evil.example', %preflight), 403);

# ---------- tokens and roles ----------

my $refused = status('no token', $gateway->get('/api/flows'), 401);
is($refused->{headers}{'www-authenticate'}, 'Bearer', 'says what is missing');
status("Authorization '$_'", $gateway->get('/api/flows', Authorization => $_), 401)
  for '', 'Bearer', 'Bearer ', "Bearer $tokens{operator}x", 'Bearer ' . substr($tokens{operator}, 0, -1), "Basic $tokens{operator}", "Bearer  $tokens{operator}", "Bearer " . uc $tokens{operator}, 'Bearer ' . 'x' x 1000, 'Bearer evq_operator';
status('bearer in lower case', $gateway->get('/api/flows', Authorization => "bearer $tokens{operator}"), 200);
status('the token alone is not enough in a query', $gateway->get("/api/flows?token=$tokens{operator}"), 401);
status("$_ needs no token", $gateway->get($_), 200) for '/health', '/', '/openapi.json';
status("$_ needs one", $gateway->get($_), 401) for '/metrics', '/api/stream', '/ws', '/api/events';
status('/mcp needs one', $gateway->post('/mcp', {}), 401);
status('unknown paths are known to be so', $gateway->get('/none'), 404);

my $event = $node->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'roles')});
$node->safe_psql('postgres', q{SELECT evq_schedule('nightly', '@daily', 'STEP', NULL, 'roles', make_job => false)});
my @routes = (
	[ 'publisher', 'POST', '/api/events', { event_type => 'STEP', flow_id => 'x' }, 201 ],
	[ 'worker', 'POST', "/api/events/$event/acquire", undef, 200 ],
	[ 'worker', 'POST', '/api/flows/FLOW_B/acquire', undef, 200 ],
	[ 'none', 'GET', "/api/events/$event", undef, 200 ],
	[ 'none', 'GET', '/api/events', undef, 200 ],
	[ 'none', 'PUT', '/api/event-types/STEP', {}, 200 ],
	[ 'none', 'PUT', '/api/flows/FLOW_B', {}, 200 ],
	[ 'none', 'POST', '/api/event-types/STEP/unsuspend', undef, 200 ],
	[ 'monitor', 'GET', '/api/schedules', undef, 200 ],
	[ 'none', 'POST', '/api/schedules/nightly/run', undef, 201 ],
	[ 'worker|monitor', 'GET', '/api/counts', undef, 200 ],
	[ 'publisher|worker|monitor', 'GET', '/api/flows', undef, 200 ]);
for my $role (sort keys %tokens)
{
	for my $route (@routes)
	{
		my ($may, $method, $path, $body, $status) = @$route;
		my $answer = $gateway->call($method, $path, $body, Authorization => "Bearer $tokens{$role}");

		if ($role eq 'operator' || $role =~ /^($may)$/) { status("$role: $method $path", $answer, $status) }
		else { is("$answer->{status} $answer->{json}{sqlstate}", '403 42501', "$role may not $method $path") }
	}
}
ok($gateway->wait_for_log(qr/route=\/api\/flows status=200 ms=\d+ client=127.0.0.1 role=evq_monitor/), 'the log has the role');
unlike($gateway->log, qr/0123456789/, 'and no token');

# Requests of several roles, one after the other. That a role ends with its request is in gateway_lanes.pl.
status('monitor', $gateway->get('/api/flows', Authorization => "Bearer $tokens{monitor}"), 200) for 1 .. 20;
status('operator afterwards', $gateway->get('/api/events', @bearer), 200) for 1 .. 20;

# SIGHUP reads the tokens anew; a bad file changes nothing.
append_to_file($tokens, "evq_monitor another-token-0123456789\n");
status('not yet', $gateway->get('/api/flows', Authorization => 'Bearer another-token-0123456789'), 401);
$gateway->signal('HUP');
$gateway->wait_for_log(qr/tokens read .* count=5/);
status('a new token', $gateway->get('/api/flows', Authorization => 'Bearer another-token-0123456789'), 200);
append_to_file($tokens, "evq_monitor fifteen-bytes-x\n");
$gateway->signal('HUP');
$gateway->wait_for_log(qr/tokens refused file=\S+ line=8 error="a token has 16 to 255 characters"/);
status('the old ones hold', $gateway->get('/api/flows', @bearer), 200);
for my $bad ([ "evq_monitor\n", 'a role, a token and' ], [ "evq_monitor a-good-token-0123456789 more\n", 'a token expires at' ], [ "evq_monitor bad;token;0123456789\n", 'consists of' ],
	[ "a twice-used-token-01234\nb twice-used-token-01234\n", 'there already' ], [ "# nothing\n", 'no token' ], [ "evq_monitor a-good-token\0-0123456789\n", 'NUL' ], [ 'x' x 64 . " a-good-token-0123456789\n", '63 bytes' ])
{
	my $file = token_file('bad' . ++$refused->{number}, $bad->[0]);
	command_fails_like([ 'evq-gateway', '--port', 0, '--tokens', $file ], qr/tokens refused .*$bad->[1]/, "tokens: $bad->[1]");
}
chmod 0644, $tokens;
command_fails_like([ 'evq-gateway', '--port', 0, '--tokens', $tokens ], qr/others may read or change it/, 'tokens that others may read');
command_fails_like([ 'evq-gateway', '--port', 0, '--tokens', "$folder/none" ], qr/cannot read file=/, 'tokens that are not there');

# A role for those without a token.
my $anonymous = Evq::Gateway->new_ready($node, '--tokens', token_file('more', "evq_operator $tokens{operator}\n"), '--anonymous-role', 'evq_monitor');
status('anonymous: what the role may', $anonymous->get('/api/counts'), 200);
status('anonymous: what it may not', $anonymous->get('/api/events'), 403);
status('with a token', $anonymous->get('/api/events', @bearer), 200);
status('with a wrong token', $anonymous->get('/api/counts', Authorization => 'Bearer wrong-token-0123456789'), 401);
$anonymous->stop;
my $unknown = Evq::Gateway->new_ready($node, '--anonymous-role', 'none_such');
status('a role that is not there', $unknown->get('/api/flows'), 400);
$unknown->stop;

# ---------- bytes ----------

my $head = "Host: localhost\r\nAuthorization: Bearer $tokens{operator}\r\nContent-Type: application/json\r\n";
my $body = '{"event_type": "STEP", "flow_id": "smuggled"}';
my $length = length $body;

sub raw_status { my ($name, $bytes, $status) = @_; return status($name, $gateway->raw($bytes), $status) }

# closes(NAME, BYTES, STATUS): and what follows on the connection is not taken for a request. STATUS '' = without an
# answer; 'A|B' = A, or B where libmicrohttpd 1.0 refuses it by itself.
sub closes
{
	my ($name, $bytes, $status) = @_;
	my $socket = $gateway->socket;

	syswrite $socket, $bytes . "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
	my $all = Evq::Gateway::read_until($socket, sub { 0 });
	my $allowed = join '|', map { $_ eq '' ? '^$' : "^HTTP/1\\.1 $_ " } split /\|/, $status, -1;
	like($all, $status eq '' ? qr{^$} : qr{$allowed}, $name);
	unlike($all, qr{HTTP/1\.1 200}, '... and the connection ends');
	return;
}

closes('CL and TE', "POST /api/events HTTP/1.1\r\n${head}Content-Length: $length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
closes('TE and CL', "POST /api/events HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\nContent-Length: $length\r\n\r\n0\r\n\r\n", 400);
closes('two CL', "POST /api/events HTTP/1.1\r\n${head}Content-Length: $length\r\nContent-Length: 0\r\n\r\n$body", 400);
closes('two equal CL', "POST /api/events HTTP/1.1\r\n${head}Content-Length: $length\r\nContent-Length: $length\r\n\r\n$body", 400);
closes("CL $_", "POST /api/events HTTP/1.1\r\n${head}Content-Length: $_\r\n\r\n$body", 400) for "+$length", "-$length", "$length, $length", "0x$length", "$length\t1";
# A blank at the end is no part of the value. libmicrohttpd before 1.0 takes it for one, and it is refused.
my $trimmed = $body =~ s/smuggled/trimmed/r;
like($gateway->raw("POST /api/events HTTP/1.1\r\n${head}Content-Length: " . length($trimmed) . " \r\n\r\n$trimmed")->{status},
	qr/^(400|201)$/, 'CL and a blank');
closes('chunked', "POST /api/events HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411);
closes('another TE', "POST /api/events HTTP/1.1\r\n${head}Transfer-Encoding: xchunked\r\n\r\n", '411|501|400');
closes('two TE', "POST /api/events HTTP/1.1\r\n${head}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", '400|501');
closes('a bare LF after the request line', "GET /api/flows HTTP/1.1\n${head}\r\n", 400);
closes('a bare LF after a header', "GET /api/flows HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400);
closes('a bare LF after the last header', "GET /api/flows HTTP/1.1\r\n${head}X: y\n\r\n", 400);
closes('a bare LF at the end', "GET /api/flows HTTP/1.1\r\n${head}X: y\r\n\n", 400);
closes('bare LFs', "GET /api/flows HTTP/1.1\nHost: localhost\n\n", 400);
closes('a bare CR in a header', "GET /api/flows HTTP/1.1\r\n${head}X: y\rTransfer-Encoding: chunked\r\n\r\n", 400);
closes('a folded header', "GET /api/flows HTTP/1.1\r\n${head}X: y\r\n z\r\n\r\n", 400);
closes('a blank before the colon', "POST /api/events HTTP/1.1\r\n${head}Content-Length : $length\r\n\r\n$body", 400);
closes('a header without colon', "GET /api/flows HTTP/1.1\r\n${head}nothing\r\n\r\n", 400);
closes('a NUL in a header', "GET /api/flows HTTP/1.1\r\n${head}X: y\0z\r\n\r\n", 400);
closes('a control character in a header', "GET /api/flows HTTP/1.1\r\n${head}X: y\x01\r\n\r\n", 400);
closes('two Hosts', "GET /api/flows HTTP/1.1\r\n${head}Host: localhost\r\n\r\n", 400);
closes('two keys', "GET /api/flows HTTP/1.1\r\n${head}Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n", 400);
closes('two Authorizations', "GET /api/flows HTTP/1.1\r\n${head}Authorization: x\r\n\r\n", 400);
closes('a target with blanks', "GET /api/flows /x HTTP/1.1\r\n${head}\r\n", '|400');
closes('not HTTP', "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", '');
closes('a body too large', "POST /api/events HTTP/1.1\r\n${head}Content-Length: 4097\r\n\r\n" . 'x' x 4097, 413);
closes('a body far too large', "POST /api/events HTTP/1.1\r\n${head}Content-Length: 999999999999\r\n\r\n", 413);
closes('a body beyond numbers', "POST /api/events HTTP/1.1\r\n${head}Content-Length: 99999999999999999999\r\n\r\n", '413|400');
raw_status('a body as large as may be', "POST /api/events HTTP/1.1\r\n${head}Content-Length: 4096\r\n\r\n" . ' ' x 4096, 400);
raw_status('a giant header', "GET /api/flows HTTP/1.1\r\n${head}X: " . 'x' x 20000 . "\r\n\r\n", 431);
raw_status('many headers', "GET /api/flows HTTP/1.1\r\n${head}" . join('', map { "X-$_: y\r\n" } 1 .. 2000) . "\r\n", 431);
raw_status('a giant target', 'GET /' . 'x' x 20000 . " HTTP/1.1\r\n${head}\r\n", 414);
raw_status('HTTP/1.0 with Host', "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n", 200);
raw_status('a later HTTP', "GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n", 505);
raw_status('an unknown method', "BREW /health HTTP/1.1\r\n${head}\r\n", 405);
is($node->safe_psql('postgres', q{SELECT count(*) FROM evq.events WHERE flow_id = 'smuggled'}), 0, 'nothing was smuggled');

# Requests one after the other, and several at once, on one connection.
my $socket = $gateway->socket;
for my $n (1 .. 3)
{
	syswrite $socket, $gateway->request_bytes('POST', '/api/events', { event_type => 'STEP', flow_id => "kept-$n" }, @bearer);
	status("request $n of a connection", Evq::Gateway::read_answer($socket), 201);
	syswrite $socket, $gateway->request_bytes('GET', '/none');
	status('... and one that is refused', Evq::Gateway::read_answer($socket), 404);
}
syswrite $socket, $gateway->request_bytes('POST', '/api/events', { event_type => 'STEP', flow_id => 'piped' }, @bearer) x 5;
my $piped = Evq::Gateway::read_until($socket, sub { (() = $_[0] =~ /event_id/g) == 5 });
is((() = $piped =~ m{HTTP/1.1 201}g), 5, 'five requests at once');
close $socket;

# Expect: 100-continue: what is refused is refused before the body is sent.
$socket = $gateway->socket;
syswrite $socket, "POST /api/events HTTP/1.1\r\n${head}Expect: 100-continue\r\nContent-Length: 9999\r\n\r\n";
status('100-continue of what is too large', Evq::Gateway::read_answer($socket), 413);
$socket = $gateway->socket;
syswrite $socket, "POST /api/events HTTP/1.1\r\n${head}Expect: 100-continue\r\nContent-Length: $length\r\n\r\n";
like(Evq::Gateway::read_until($socket, sub { $_[0] =~ /\r\n\r\n/ }), qr{^HTTP/1\.1 100 }, '100-continue');
syswrite $socket, $body;
status('... and then the answer', Evq::Gateway::read_answer($socket), 201);

# ---------- slow and many ----------

# A byte now and then does not keep a connection: the deadline is for the whole.
sub is_dropped
{
	my ($name, $first, $drip, $seconds) = @_;
	my $slow = $gateway->socket;
	my $began = time;
	my $bytes = '';

	local $SIG{PIPE} = 'IGNORE';
	syswrite $slow, $first;
	while (time - $began < $seconds + 30)
	{
		my $ready = '';
		vec($ready, fileno $slow, 1) = 1;
		syswrite $slow, $drip or last if $drip ne '';
		next unless select $ready, undef, undef, 0.1;
		last unless sysread $slow, $bytes, 4096, length $bytes;
	}
	my $took = time - $began;
	cmp_ok($took, '<', $seconds + 15, "$name: dropped after $took seconds");
	return $bytes;
}

is_dropped('nothing sent', '', '', 2);
is_dropped('a slow header', "GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", 'x', 2);
is_dropped('a slow body', "POST /api/events HTTP/1.1\r\n${head}Content-Length: 4000\r\n\r\n{", ' ', 2);
like(is_dropped('a slow second request', $gateway->request_bytes('GET', '/health') . "GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", 'x', 3), qr/^HTTP\/1.1 200/, 'its first was answered');
status('others are served meanwhile', $gateway->get('/health'), 200);

my @sockets = map { $gateway->socket } 1 .. 20;
my $many = status('too many connections', $gateway->get('/health'), 429);
ok($many->{headers}{'retry-after'}, 'with Retry-After');
@sockets = ();
Evq::Gateway::wait_until('room for another connection', sub { $gateway->get('/health')->{status} == 200 });

is($gateway->stop, 0, 'it stops');
done_testing();
