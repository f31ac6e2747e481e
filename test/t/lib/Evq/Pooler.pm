
=head1 NAME

Evq::Pooler - pgbouncer in transaction mode before a server

=cut

package Evq::Pooler;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);

use Evq::Server qw(wait_until);

sub is_installed
{
	return scalar grep { -x "$_/pgbouncer" } split /:/, $ENV{PATH};
}

# new(NODE, SESSIONS, ROLES): far fewer sessions than clients, and none kept from one transaction to the next.
sub new
{
	my ($class, $node, $sessions, @roles) = @_;
	my $folder = $node->basedir;
	my $self = bless { node => $node, port => PostgreSQL::Test::Cluster::get_free_port(), pid_file => "$folder/pgbouncer.pid" }, $class;

	append_to_file("$folder/users.txt", join '', map { qq("$_" ""\n) } 'postgres', @roles);
	append_to_file("$folder/pgbouncer.ini", <<"END");
[databases]
postgres = host=@{[ $node->host ]} port=@{[ $node->port ]} dbname=postgres
[pgbouncer]
listen_addr =
listen_port = $self->{port}
unix_socket_dir = @{[ $node->host ]}
auth_type = trust
auth_file = $folder/users.txt
admin_users = postgres
pool_mode = transaction
default_pool_size = $sessions
max_client_conn = 100
server_round_robin = 1
pidfile = $self->{pid_file}
logfile = $folder/pgbouncer.log
END
	$node->command_ok([ 'pgbouncer', '--daemon', '--quiet', "$folder/pgbouncer.ini" ], 'pgbouncer starts');
	wait_until(60, sub { $node->psql('postgres', 'SELECT', connstr => $self->connstr('postgres'), stdout => \my $out, stderr => \my $err) == 0 })
	  or die 'pgbouncer accepts no connections';
	return $self;
}

# The connection string, for a role or without one.
sub connstr
{
	my ($self, $role) = @_;
	my $connstr = 'host=' . $self->{node}->host . " port=$self->{port} dbname=postgres";

	return defined $role ? "$connstr user=$role" : $connstr;
}

sub stop
{
	my ($self) = @_;

	$self->_terminate;
	return wait_until(60, sub { !-e $self->{pid_file} });
}

sub _terminate
{
	my ($self) = @_;

	kill 'TERM', slurp_file($self->{pid_file}) =~ s/\s//gr if -e $self->{pid_file};
	return;
}

# Whatever happens, it does not outlive the test.
sub DESTROY
{
	my ($self) = @_;

	$self->_terminate;
	return;
}

1;
