# evq-gateway over TLS: requests, the live stream and WebSocket.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server wait_for_dispatcher);

my $node = make_server('main');
my $folder = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql('postgres', q{SELECT evq_configure('STEP', 'FLOW_B')});
wait_for_dispatcher($node);
command_ok(
	[   'openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', 2, '-subj', '/CN=localhost',
		'-addext', 'subjectAltName=DNS:localhost', '-keyout', "$folder/key.pem", '-out', "$folder/certificate.pem" ],
	'a certificate');
my @tls = ('--tls-certificate', "$folder/certificate.pem", '--tls-key', "$folder/key.pem");
my $gateway = Evq::Gateway->new($node, @tls);
my $url = "https://localhost:$gateway->{port}";

sub curl
{
	my (@arguments) = @_;
	my ($out, $error) = ('', '');

	IPC::Run::run([ 'curl', '--silent', '--show-error', '--max-time', 30, '--cacert', "$folder/certificate.pem", @arguments ], '>', \$out, '2>', \$error);
	return $out . $error;
}

Evq::Gateway::wait_until('health', sub { curl("$url/health") =~ /"status": "ok"/ });
pass('health over TLS');
my @json = ('--header', 'Content-Type: application/json');
like(curl(@json, '--data', '{"event_type": "STEP", "flow_id": "a"}', "$url/api/events"), qr/"event_id": "/, 'publish');
append_to_file("$folder/large.json", '{"event_type": "STEP", "flow_id": "a", "payload": "' . 'x' x 1_000_000 . '"}');
like(curl(@json, '--data', "\@$folder/large.json", "$url/api/events"), qr/"event_id": "/, 'a large body');
cmp_ok(length curl("$url/api/events?limit=500"), '>', 500, 'a list');
like(curl('--header', 'Origin: https://evil.example', "$url/api/flows"), qr/"status":403/, 'another origin');
like(curl('--header', "Origin: $url", "$url/api/flows"), qr/"flows"/, 'our own');
# By the server: this client would speak it.
like(curl('--ciphers', 'DEFAULT@SECLEVEL=0', '--tlsv1.0', '--tls-max', $_, "$url/health"), qr/SSL_ERROR_SYSCALL|alert protocol version|unexpected eof/, "TLS $_ is refused") for qw(1.0 1.1);
is(curl('--tls-max', '1.2', "$url/health") =~ /"status": "ok"/, 1, 'TLS 1.2 is not');
is(curl('--tlsv1.3', "$url/health") =~ /"status": "ok"/, 1, 'nor is TLS 1.3');
like(curl("http://localhost:$gateway->{port}/health"), qr/^curl: /, 'plain HTTP is not spoken');
like($gateway->raw("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")->{bytes}, qr/^(?!HTTP)/, '... not even to say so');

# The live stream, while a client that never ends its handshake is there.
my $silent = $gateway->socket;
my $events = '';
my $stream = IPC::Run::start([ 'curl', '--silent', '--no-buffer', '--cacert', "$folder/certificate.pem", "$url/api/stream" ], '>', \$events);

sub announce { $node->safe_psql('postgres', qq(SELECT pg_notify('evq_events', '{"event_id": "$_[0]"}'))); return 1 }

Evq::Gateway::wait_until('an event of the stream', sub { announce('first'); $stream->pump_nb; $events =~ /data: \{"type":"event_update","event":\{"event_id": "first"\}\}\n\n/ });
pass('server-sent events over TLS');

# WebSocket: the same, with a frame of ours.
my $frames = '';
my $say = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
my $web = IPC::Run::start([ 'openssl', 's_client', '-quiet', '-connect', "localhost:$gateway->{port}", '-CAfile', "$folder/certificate.pem" ], '<', \$say, '>', \$frames, '2>', \my $chatter);

Evq::Gateway::wait_until('the handshake', sub { $web->pump_nb; $frames =~ /^HTTP\/1.1 101 .*\r\n\r\n/s });
Evq::Gateway::wait_until('an event over WebSocket', sub { announce('second'); $web->pump_nb; $frames =~ /\x81.\{"type":"event_update","event":\{"event_id": "second"\}\}/s });
$say .= "\x89\x84maskmask";
Evq::Gateway::wait_until('a pong', sub { $web->pump_nb; $frames =~ /\x8a\x04\0\0\0\0/ });
pass('WebSocket over TLS');

is($gateway->stop, 0, 'it stops');
Evq::Gateway::wait_until('the end of the stream', sub { $stream->pumpable ? do { $stream->pump_nb; 0 } : 1 });
$stream->kill_kill;
$web->kill_kill;

# What cannot be used.
command_fails_like([ 'evq-gateway', '--port', 0, '--tls-certificate', "$folder/none", '--tls-key', "$folder/key.pem" ], qr/cannot read file=/, 'no certificate');
command_fails_like([ 'evq-gateway', '--port', 0, '--tls-certificate', "$folder/key.pem", '--tls-key', "$folder/key.pem" ], qr/cannot listen/, 'not a certificate');
done_testing();
