
=head1 NAME

Evq::Gateway - evq-gateway at work, and clients of it, polite and other

=cut

package Evq::Gateway;

use strict;
use warnings;

use Carp qw(croak);
use IO::Socket::INET;
use JSON::PP ();
use POSIX qw(WNOHANG);
use Socket qw(SOL_SOCKET SO_RCVBUF inet_aton pack_sockaddr_in);
use PostgreSQL::Test::Utils;
use Test::More ();
use Time::HiRes qw(sleep time);

our $longest = $PostgreSQL::Test::Utils::timeout_default;
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $started = 0;

# new(NODE, OPTION...): a gateway to the database "postgres" of a server, at a free port. PROGRAM in the environment as
# EVQ_GATEWAY_PROGRAM is used in place of evq-gateway.
sub new
{
	my ($class, $node, @options) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/gateway_" . ++$started . "_$$.log";
	my $self = bless { log => $log, scheme => (grep { $_ eq '--tls-key' } @options) ? 'https' : 'http' }, $class;

	@options = ('--port', 0, '--database', $node->connstr('postgres') . ' application_name=evq-gateway', @options);
	$self->{pid} = fork // die "fork: $!";
	if ($self->{pid} == 0)
	{
		open STDIN, '<', '/dev/null' or die;
		open STDOUT, '>>', $log or die;
		open STDERR, '>&', \*STDOUT or die;
		exec $ENV{EVQ_GATEWAY_PROGRAM} // 'evq-gateway', @options or die;
	}
	$self->wait_for_log(qr/listening address=\S+ port=(\d+)/);
	($self->{port}) = $self->log =~ /listening address=\S+ port=(\d+)/;
	$self->{host} = "localhost:$self->{port}";
	return $self;
}

# The same, when it is connected to the database.
sub new_ready
{
	my ($class, @arguments) = @_;
	my $self = $class->new(@arguments);

	$self->wait_until_up;
	return $self;
}

sub wait_until
{
	my ($what, $condition, $seconds) = @_;
	my $end = time + ($seconds // $longest);

	until ($condition->())
	{
		croak "waited too long for $what" if time > $end;
		sleep 0.02;
	}
	return 1;
}

sub wait_until_up
{
	my ($self) = @_;

	return wait_until('the gateway to have its database', sub { $self->get('/health')->{status} == 200 });
}

sub log
{
	my ($self) = @_;

	return -e $self->{log} ? slurp_file($self->{log}) : '';
}

sub wait_for_log
{
	my ($self, $pattern) = @_;

	return wait_until(
		"$pattern in the log of the gateway",
		sub {
			$self->is_running || $self->log =~ $pattern || die "the gateway ended: " . $self->log;
			return $self->log =~ $pattern;
		});
}

# ---------- its process ----------

sub is_running
{
	my ($self) = @_;

	return 0 if defined $self->{exit};
	return 1 if waitpid($self->{pid}, WNOHANG) == 0;
	$self->{exit} = $?;
	return 0;
}

sub signal
{
	my ($self, $signal) = @_;

	return kill $signal, $self->{pid};
}

# Asks it to stop and returns its exit code when it has.
sub stop
{
	my ($self) = @_;

	$self->signal('TERM') if $self->is_running;
	return $self->exit_code;
}

sub exit_code
{
	my ($self) = @_;

	wait_until('the gateway to end', sub { !$self->is_running });
	return $self->{exit} & 127 ? "signal @{[ $self->{exit} & 127 ]}: " . $self->log : $self->{exit} >> 8;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;

	if ($self->{pid} && $self->is_running)
	{
		$self->signal('KILL');
		waitpid $self->{pid}, 0;
	}
	return;
}

# ---------- requests ----------

# A connection; buffer: how much the kernel shall keep of what is not read.
sub socket
{
	my ($self, $buffer) = @_;
	my $socket = IO::Socket::INET->new(Proto => 'tcp') // die "socket: $!";

	$socket->setsockopt(SOL_SOCKET, SO_RCVBUF, $buffer) if $buffer;
	$socket->connect(pack_sockaddr_in($self->{port}, inet_aton('127.0.0.1'))) or die "cannot connect to the gateway: $!";
	return $socket;
}

# Bytes that a socket brings until the condition on all of them holds or it is closed.
sub read_until
{
	my ($socket, $condition, $seen) = @_;
	my $bytes = $seen // '';
	my $end = time + $longest;

	until ($condition->($bytes))
	{
		my $ready = '';
		vec($ready, fileno $socket, 1) = 1;
		croak "the gateway does not answer; so far: $bytes" if time > $end;
		next unless select $ready, undef, undef, 1;
		last unless sysread $socket, $bytes, 65536, length $bytes;
	}
	return $bytes;
}

# Takes an answer apart.
sub parse
{
	my ($bytes) = @_;
	my ($head, $body) = split /\r\n\r\n/, $bytes, 2;
	return { status => 0, bytes => $bytes, headers => {}, text => '' } unless defined $head && $head =~ m{^HTTP/1\.[01] (\d+)};
	my $status = $1;
	my %headers = map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () } split /\r\n/, $head;
	my $answer = { status => $status, headers => \%headers, text => $body // '', bytes => $bytes };

	$answer->{json} = eval { $json->decode($body) } if ($headers{'content-type'} // '') =~ /json/;
	return $answer;
}

# One answer of a socket.
sub read_answer
{
	my ($socket, $is_head) = @_;

	return parse(
		read_until(
			$socket,
			sub {
				my ($head, $body) = split /\r\n\r\n/, $_[0], 2;
				return 0 unless defined $body;
				return 1 if $is_head || $head =~ m{^HTTP/1\.1 (204|304)};
				return $head =~ /^Content-Length: (\d+)/mi && length $body >= $1;
			}));
}

# raw(BYTES): the answer to them, on a connection of their own.
sub raw
{
	my ($self, $bytes) = @_;
	my $socket = $self->socket;

	local $SIG{PIPE} = 'IGNORE';
	syswrite $socket, $bytes;
	return read_answer($socket, $bytes =~ /^HEAD /);
}

# The bytes of a request. body: a string as it is, or what becomes JSON.
sub request_bytes
{
	my ($self, $method, $path, $body, %headers) = @_;
	my %all = (Host => $self->{host}, %headers);

	if (defined $body)
	{
		$all{'Content-Type'} //= 'application/json';
		$body = $json->encode($body) if ref $body;
		$all{'Content-Length'} //= length $body;
	}
	return "$method $path HTTP/1.1\r\n" . join('', map { defined $all{$_} ? "$_: $all{$_}\r\n" : () } sort keys %all) . "\r\n" . ($body // '');
}

sub call
{
	my ($self, @request) = @_;

	return $self->raw($self->request_bytes(@request));
}

sub get { my ($self, $path, %headers) = @_; return $self->call('GET', $path, undef, %headers) }
sub post { my ($self, $path, $body, %headers) = @_; return $self->call('POST', $path, $body, %headers) }

1;
