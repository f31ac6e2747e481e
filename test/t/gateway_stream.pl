# evq-gateway's live stream: server-sent events and WebSocket, and readers that are slow, silent or rude.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server start_again wait_for_dispatcher);

my $node = make_server('main');
my $backlog = 100;

my $gateway = Evq::Gateway->new_ready($node, '--stream-backlog', $backlog);
wait_for_dispatcher($node);
$node->safe_psql('postgres', q{SELECT evq_configure('STEP', 'FLOW_B')});

my $told = 0;

# Tells of so many changes; more: how much each carries.
sub announce
{
	my ($count, $more) = @_;
	my $first = $told + 1;

	$told += $count;
	$node->safe_psql('postgres', sprintf(
		q{SELECT count(pg_notify('evq_events', jsonb_build_object('event_id', 'e' || n, 'more', repeat('x', %d))::text)) FROM generate_series(%d, %d) n},
		$more // 0, $first, $told));
	return map { "e$_" } $first .. $told;
}

sub is_listening { return $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evq-gateway' AND query = 'LISTEN "evq_events"'}) }
sub clients { my ($kind) = @_; my ($count) = $gateway->get('/metrics')->{text} =~ /evq_gateway_clients\{kind="$kind"\} (\d+)/; return $count }
sub wait_for_clients { my ($kind, $count) = @_; return Evq::Gateway::wait_until("$count clients of $kind", sub { clients($kind) == $count }) }

# Waits until a stream has had so many resets.
sub wait_for_reset
{
	my ($stream, $count) = @_;

	$stream->{bytes} = Evq::Gateway::read_until($stream->{socket}, sub { (() = $_[0] =~ /"type":"reset"/g) >= $count && $_[0] =~ /\n\n\r\n\z/ }, $stream->{bytes});
	return;
}

# ---------- server-sent events ----------

sub open_stream
{
	my (@headers) = @_;
	my $stream = { socket => $gateway->socket(4096), bytes => '' };

	syswrite $stream->{socket}, $gateway->request_bytes('GET', '/api/stream', undef, @headers);
	$stream->{bytes} = Evq::Gateway::read_until($stream->{socket}, sub { $_[0] =~ /\r\n\r\n.*\n\n/s });
	return $stream;
}

# The messages of a stream so far: [id, JSON] each.
sub messages
{
	my ($stream) = @_;
	my ($head, $body) = split /\r\n\r\n/, $stream->{bytes}, 2;
	my $text = '';

	while ($body =~ /\G([0-9A-F]+)\r\n/gci)
	{
		my $length = hex $1;
		last if length($body) < pos($body) + $length + 2;
		$text .= substr $body, pos $body, $length;
		pos($body) += $length + 2;
	}
	return map { /^id: (\S+)\ndata: (.*)$/ ? [ $1, decode_json($2) ] : () } split /\n\n/, $text;
}

# The events that were told until this one has come, and the resets.
sub events_until
{
	my ($stream, $last) = @_;

	$stream->{bytes} = Evq::Gateway::read_until($stream->{socket}, sub { $_[0] =~ /"event_id": "$last"/ && $_[0] =~ /\n\n\r\n\z/ }, $stream->{bytes});
	return map { $_->[1]{type} eq 'reset' ? 'reset' : $_->[1]{event}{event_id} } grep { ($_->[1]{event}{flow_id} // '') ne 'told' } messages($stream);
}

my $stream = open_stream();
like($stream->{bytes}, qr{^HTTP/1.1 200 OK\r\n.*Content-Type: text/event-stream\r\n}si, 'a stream of events');
like($stream->{bytes}, qr/retry: \d+\nid: \S+\n\n/, 'begins with a place');
wait_for_reset($stream, 1);
my @events = announce(3);
is_deeply([ events_until($stream, $events[-1]) ], [ 'reset', @events ], 'what happens, in order, behind a reset');
is_deeply((messages($stream))[-1][1], { type => 'event_update', event => { event_id => 'e3', more => '' } }, 'a message');

# The engine tells what happens to an event.
my $event = $gateway->post('/api/events', { event_type => 'STEP', flow_id => 'told' })->{json}{event_id};
$gateway->post("/api/events/$event/cancel");
$stream->{bytes} = Evq::Gateway::read_until($stream->{socket}, sub { $_[0] =~ /"status":"CANCELED".*\n\n\r\n\z/s }, $stream->{bytes});
my @told = map { $_->[1]{event} } grep { ($_->[1]{event}{flow_id} // '') eq 'told' } messages($stream);
is_deeply([ grep { $_->{event_id} ne $event } @told ], [], 'the engine tells of an event');
is_deeply([ map { $_->{status} } @told ]->[-1], 'CANCELED', '... and its state');

# Going on from a place.
my $last_id = (messages($stream))[-1][0];
my $more = open_stream();
@events = (@events, announce(4));
is_deeply([ events_until($more, $events[-1]) ], [ @events[ 3 .. 6 ] ], 'a second reader has what comes');
is_deeply([ events_until(open_stream('Last-Event-ID' => $last_id), $events[-1]) ], [ @events[ 3 .. 6 ] ], 'Last-Event-ID: what came since');
push @events, announce($backlog);
events_until($stream, $events[-1]);
is_deeply([ (events_until(open_stream('Last-Event-ID' => $_), (push(@events, announce(1)), $events[-1])[1]))[0] ], ['reset'], "Last-Event-ID $_: a reset")
  for $last_id, 'x', '0-1', $last_id =~ s/-.*/-999999/r, $last_id =~ s/^./f/r, '99999999999999999999-1';
ok(events_until($stream, $events[-1]) == 1 + @events, 'the first reader has had all of it');
is_deeply([ grep { $_ ne 'reset' } events_until($stream, $events[-1]) ], \@events, '... in order');

# Text that would break the form.
$node->safe_psql('postgres', q{SELECT pg_notify('evq_events', E'{"event_id": "split",\n\r "x":\n\n1}'), pg_notify('evq_events', E'\n\ndata: forged'), pg_notify('evq_events', '')});
push @events, announce(1);
is((events_until($stream, $events[-1]))[-2], 'split', 'line ends do not end a message, and what is not an object is none');

# The dispatcher numbers what it tells: where a number is missing, or another dispatcher tells, something may have been missed.
for my $number ('7-1', '7-2', '7-4', '8-5', '8-6')
{
	$node->safe_psql('postgres', qq{SELECT pg_notify('evq_events', '{"seq":"$number", "event_id": "numbered", "flow_id": "told"}')});
}
push @events, announce(1);
events_until($stream, $events[-1]);
my $numbered = join ' ', map { $_->[1]{type} eq 'reset' ? 'reset' : $_->[1]{event}{seq} // 'other' } messages($stream);
like($numbered, qr/ reset 7-1 7-2 reset 7-4 reset 8-5 8-6 other$/, 'a reset stands where something may have been missed');
my $resets = () = $numbered =~ /reset/g;

# ---------- WebSocket ----------

sub websocket_headers
{
	return (Upgrade => 'websocket', Connection => 'Upgrade', 'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version' => 13, @_);
}

sub open_websocket
{
	my (@headers) = @_;
	my $web = { socket => $gateway->socket(4096) };

	syswrite $web->{socket}, $gateway->request_bytes('GET', '/ws', undef, websocket_headers(@headers));
	my $bytes = Evq::Gateway::read_until($web->{socket}, sub { $_[0] =~ /\r\n\r\n/ });
	($web->{head}, $web->{bytes}) = split /\r\n\r\n/, $bytes, 2;
	return $web;
}

# A frame as clients send it.
sub frame
{
	my ($opcode, $data, %options) = @_;
	my $mask = $options{unmasked} ? '' : 'mask';
	my $length = length $data;
	my $bit = $mask eq '' ? 0 : 128;
	my $head = pack 'C', ($options{part} ? 0 : 128) | $opcode;

	$head .= $length < 126 ? pack('C', $bit | $length) : $length < 65536 ? pack('Cn', $bit | 126, $length) : pack('CQ>', $bit | 127, $length);
	$data ^= substr($mask x (1 + $length / 4), 0, $length) if $mask ne '';
	return $head . $mask . $data;
}

# Frames that have come: [opcode, data] each.
sub frames
{
	my ($bytes) = @_;
	my @frames;

	while (length $bytes >= 2)
	{
		my ($first, $length) = unpack 'CC', $bytes;
		my $head = 2;

		if ($length == 126) { last if length $bytes < 4; $length = unpack 'x2n', $bytes; $head = 4 }
		last if length $bytes < $head + $length;
		push @frames, [ $first & 15, substr $bytes, $head, $length ];
		$bytes = substr $bytes, $head + $length;
	}
	return @frames;
}

sub frames_until
{
	my ($web, $condition) = @_;

	$web->{bytes} = Evq::Gateway::read_until($web->{socket}, sub { grep { $condition->($_) } frames($_[0]) }, $web->{bytes});
	return frames($web->{bytes});
}

# The code with which the gateway closes, and whether it then hangs up.
sub close_code
{
	my ($web) = @_;
	my ($close) = grep { $_->[0] == 8 } frames_until($web, sub { $_->[0] == 8 });

	local $SIG{PIPE} = 'IGNORE';
	syswrite $web->{socket}, frame(8, $close->[1]);
	Evq::Gateway::read_until($web->{socket}, sub { 0 });
	return scalar unpack 'n', $close->[1];
}

my $web = open_websocket('Sec-WebSocket-Protocol' => 'x, evq');
like($web->{head}, qr{^HTTP/1.1 101 }, 'WebSocket');
like($web->{head}, qr{^Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r?$}mi, 'with the proof');
like($web->{head}, qr{^Sec-WebSocket-Protocol: evq\r?$}mi, 'and the protocol');
push @events, announce(2);
my @frames = frames_until($web, sub { $_->[1] =~ /"$events[-1]"/ });
is_deeply([ map { [ $_->[0], decode_json($_->[1])->{event}{event_id} ] } @frames ], [ map { [ 1, $_ ] } @events[ -2, -1 ] ], 'the same messages, as text');
syswrite $web->{socket}, frame(9, 'are you there') . frame(1, 'hello') . frame(2, "\0\1") . frame(1, 'par', part => 1) . frame(0, 't');
is((grep { $_->[0] == 10 } frames_until($web, sub { $_->[0] == 10 }))[0][1], 'are you there', 'ping and pong; what clients say is ignored');
syswrite $web->{socket}, frame(1, 'x' x 65536);
push @events, announce(1);
ok((grep { $_->[1] =~ /"$events[-1]"/ } frames_until($web, sub { $_->[1] =~ /"$events[-1]"/ })), 'a message of 64 kB');
syswrite $web->{socket}, frame(8, pack 'n', 1000);
is(close_code($web), 1000, 'a client that closes');
is_deeply([ map { close_code($_->[1]) } @$_ ], [ map { $_->[0] } @$_ ], 'clients that are rude')
  for [ map { my $rude = open_websocket(); syswrite $rude->{socket}, $_->[1]; [ $_->[0], $rude ] }
	  [ 1009, frame(1, 'x' x 65537) ], [ 1009, join '', frame(1, 'x' x 40000, part => 1), frame(0, 'x' x 40000) ], [ 1002, frame(1, 'x', unmasked => 1) ], [ 1002, frame(3, 'x') ],
	  [ 1002, frame(0, 'x') ], [ 1007, frame(1, "\xff") ], [ undef, frame(9, 'x' x 126) ], [ undef, "\xff\xff\xff\xff\xff\xff" ], [ 1002, frame(8, "\x00\x01") ] ];
my %bad = (
	'no Upgrade' => [ 426, Upgrade => undef ], 'another Upgrade' => [ 426, Upgrade => 'h2c' ], 'another version' => [ 426, 'Sec-WebSocket-Version' => 8 ],
	'no key' => [ 400, 'Sec-WebSocket-Key' => undef ], 'a short key' => [ 400, 'Sec-WebSocket-Key' => 'x' ], 'an origin' => [ 403, Origin => 'https://evil.example' ]);
is($gateway->get('/ws', websocket_headers(@{ $bad{$_} }[ 1, 2 ]))->{status}, $bad{$_}[0], $_) for sort keys %bad;

# Bytes behind the request, in the same packet.
my $early = $gateway->socket;
syswrite $early, $gateway->request_bytes('GET', '/ws', undef, websocket_headers()) . frame(9, 'early');
like(Evq::Gateway::read_until($early, sub { $_[0] =~ /early/ }), qr/\x8a\x05early/, 'frames right behind the request');
close $early;
close $web->{socket};
wait_for_clients('websocket', 0);

# ---------- slow readers ----------

close $more->{socket};
my $slow = open_stream();
my $slow_web = open_websocket();
my $large = 7000;
my $rounds = 0;
Evq::Gateway::wait_until(
	'slow readers to be dropped',
	sub {
		$rounds++;
		push @events, announce(20, $large);
		events_until($stream, $events[-1]);
		return clients('sse') == 1 && clients('websocket') == 0;
	});
cmp_ok(20 * $rounds, '<', 3 * $backlog, 'slow readers are dropped when what they have not read is no more in the backlog');
is_deeply([ grep { $_ ne 'reset' && $_ ne 'split' } events_until($stream, $events[-1]) ], \@events, 'one that is not slow has had everything');
is($gateway->get('/health')->{status}, 200, 'and the gateway is well');

# ---------- many readers ----------

# Kilobytes of the gateway in memory.
sub memory { return slurp_file("/proc/$gateway->{pid}/status") =~ /^VmRSS:\s+(\d+) kB/m ? $1 : die 'no VmRSS' }

my $crowd = 1000;
my $first_gateway = $gateway;
# So many sockets on either side.
SKIP:
{
	my ($files) = slurp_file('/proc/self/limits') =~ /^Max open files\s+(\d+)/m;
	skip "no $crowd open files are allowed", 4 if $files < $crowd + 50;
	$gateway = Evq::Gateway->new_ready($node, '--max-connections', $crowd + 50, '--max-connections-per-client', 0, '--log-level', 'warning');
	my $before = memory();
	my @crowd = map { open_stream() } 1 .. $crowd;
	is(clients('sse'), $crowd, "$crowd readers");
	my $connected = memory();
	my @heard = announce(1);
	is((grep { (events_until($_, $heard[-1]))[-1] eq $heard[-1] } @crowd), $crowd, 'each hears of an event');
	for (1 .. 20)
	{
		@heard = announce(1, 1000);
		Evq::Gateway::read_until($_->{socket}, sub { $_[0] =~ /"event_id": "$heard[-1]"/ && $_[0] =~ /\n\n\r\n\z/ }) for @crowd;
	}
	note sprintf('memory in kB: %d, with %d readers %d, after more messages %d', $before, $crowd, $connected, memory());
	cmp_ok(memory() - $before, '<', 64 * $crowd, 'memory: less than 64 kB a reader');
	close $_->{socket} for @crowd;
	wait_for_clients('sse', 0);
	is($gateway->stop, 0, 'and it stops');
}
$gateway = $first_gateway;

# ---------- the database goes and comes ----------

$node->stop('fast');
Evq::Gateway::wait_until('503', sub { $gateway->get('/api/flows')->{status} == 503 });
start_again($node);
wait_for_reset($stream, $resets + 1);
push @events, announce(1);
is_deeply([ (events_until($stream, $events[-1]))[ -2, -1 ] ], [ 'reset', $events[-1] ], 'the stream goes on, behind a reset');

# Who watches no more is not listened for.
close $stream->{socket};
Evq::Gateway::wait_until('UNLISTEN', sub { announce(1); !is_listening() });
pass('when nobody watches, it does not listen');

# ---------- who may watch ----------

my $folder = PostgreSQL::Test::Utils::tempdir();
append_to_file("$folder/tokens", "evq_operator token-of-the-operator.1\nevq_publisher token-of-the-publisher.1\n");
chmod 0600, "$folder/tokens";
my $open = $gateway;
$gateway = Evq::Gateway->new_ready($node, '--tokens', "$folder/tokens", '--header-timeout', 1, '--body-timeout', 1, '--idle-timeout', 1);
is($gateway->get('/ws', websocket_headers())->{status}, 401, 'WebSocket without a token');
is($gateway->get('/ws', websocket_headers('Sec-WebSocket-Protocol' => 'evq, bearer.token-of-the-nobody.1'))->{status}, 401, '... with a wrong one');
is($gateway->get('/ws', websocket_headers('Sec-WebSocket-Protocol' => 'evq, bearer.token-of-the-publisher.1'))->{status}, 403, '... of a role that may not');
$web = open_websocket('Sec-WebSocket-Protocol' => 'evq, bearer.token-of-the-operator.1');
like($web->{head}, qr{^HTTP/1.1 101 .*^Sec-WebSocket-Protocol: evq\r?$}msi, '... with a token among the protocols, which is not sent back');
is($gateway->get('/api/stream', Authorization => 'Bearer token-of-the-publisher.1')->{status}, 403, 'a stream: a role that may not');
frames_until($web, sub { $_->[1] =~ /"reset"/ });
$stream = open_stream(Authorization => 'Bearer token-of-the-operator.1');
push @events, announce(1);
ok(events_until($stream, $events[-1]), 'a role that may');

# A place of this run is gone on from; one of the run before is not, although there is a message of its number.
my $watcher = 'Bearer token-of-the-operator.1';
my ($this_run, $run_before) = map { /^(.*)-/ } (messages($stream))[-1][0], $last_id;
isnt($this_run, $run_before, 'each run has its own places');
my %resumed = map { $_ => open_stream(Authorization => $watcher, 'Last-Event-ID' => "$_-1") } $this_run, $run_before;
push @events, announce(1);
isnt((events_until($resumed{$this_run}, $events[-1]))[0], 'reset', 'a place of this run: what came since');
is_deeply([ events_until($resumed{$run_before}, $events[-1]) ], [ 'reset', $events[-1] ], 'a place of the run before: a reset, and what comes');

# A stream outlives the timeouts of requests, and the end of the program is told.
$gateway->wait_for_log(qr/route=\/health/);
Evq::Gateway::wait_until('idle connections to be closed', sub { my $idle = $gateway->socket; sysread $idle, my $byte, 1; 1 });
push @events, announce(1);
ok(events_until($stream, $events[-1]), 'a stream is not idle');
ok((grep { $_->[1] =~ /"$events[-1]"/ } frames_until($web, sub { $_->[1] =~ /"$events[-1]"/ })), 'nor is a WebSocket');
$gateway->signal('TERM');
is(close_code($web), 1001, 'the end: WebSocket');
like(Evq::Gateway::read_until($stream->{socket}, sub { 0 }), qr/0\r\n\r\n\z/, 'the end: stream');
is($gateway->exit_code, 0, 'it stops');
is($open->stop, 0, 'the other too');
done_testing();
