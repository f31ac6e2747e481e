# Roles belong to the server, restrictions to a database: what a role was granted in one gives it nothing in another, nor after
# CREATE EXTENSION anew.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;

my $node = make_server('main');
make_database($node, $_) for qw(one other);

sub as_role
{
	my ($role, $database, $statement) = @_;
	my (undef, undef, $error) = $node->psql($database, "\\set VERBOSITY sqlstate\nSET SESSION AUTHORIZATION $role;\n$statement");

	return $error =~ /ERROR:\s+(\w+)/ ? $1 : '00000';
}

sub findings { return $node->safe_psql($_[0], q{SELECT severity || ' ' || finding FROM evq_check() WHERE subject = 'privileges' AND severity <> 'ok' ORDER BY 1}) }

$node->safe_psql('postgres', 'CREATE ROLE tenant; CREATE ROLE shop IN ROLE evq_worker, evq_publisher');
$node->safe_psql($_, q{SELECT evq_configure('A', 'TENANT_A'), evq_configure('PAY', 'PAYMENTS'), evq_publish('PAY', NULL, 'order-1', '{"card": 4111}')}) for qw(one other);
$node->safe_psql('one', q{SELECT evq_grant_worker('tenant', 'TENANT_A'), evq_grant_publisher('tenant', 'TENANT_A')});

my %does = (
	acquire => q{SELECT * FROM evq_acquire_next('%s')},
	publish => q{SELECT evq_publish('%2$s', NULL, 'x')},
	pending => q{SELECT evq_pending('%s')},
);

sub may
{
	my ($role, $database) = @_;

	return join ' ', map { my $what = $_; map { as_role($role, $database, sprintf $does{$what}, @$_) } [qw(TENANT_A A)], [qw(PAYMENTS PAY)] } sort keys %does;
}

my $own = '00000 42501 00000 42501 00000 42501';
my $none = join ' ', ('42501') x 6;
my $all = join ' ', ('00000') x 6;

is(may('tenant', 'one'), $own, 'its flow where it was granted');
is(may('tenant', 'other'), $none, 'none in the other database');
is($node->safe_psql('other', 'SET ROLE tenant; SELECT count(*) FROM evq_counts()'), '0', 'nor does it count there');
isnt(as_role('tenant', 'other', "SET ROLE $_; SELECT evq_acquire_next('PAYMENTS')"), '00000', "nor as $_") for qw(evq_worker evq_restricted_worker);
is(may('shop', $_), $all, "a member without restriction works on all of $_") for qw(one other);
is(findings('one'), '', 'evq_check() finds nothing where it is restricted');
like(findings('other'), qr/^warning role tenant is restricted, and has no flow in this database: it may publish nothing here$/m, 'and says where it has no flow');
$node->safe_psql('other', 'REVOKE CONNECT ON DATABASE other FROM PUBLIC');
is(findings('other'), '', 'unless it cannot come in');

# A flow there is one flow there.
$node->safe_psql('other', q{SELECT evq_grant_worker('tenant', '*')});
is(as_role('tenant', 'other', q{SELECT evq_acquire_next('PAYMENTS')}), '00000', 'every flow of the other database');
is(may('tenant', 'one'), $own, 'changes nothing in the first');

# The restriction goes with the extension, the membership stays.
$node->safe_psql('one', 'DROP EXTENSION evq; CREATE EXTENSION evq');
$node->safe_psql('one', q{SELECT evq_configure('A', 'TENANT_A'), evq_configure('PAY', 'PAYMENTS')});
is(may('tenant', 'one'), $none, 'nothing after DROP and CREATE EXTENSION');
is(may('shop', 'one'), $all, 'all for the other role');
$node->safe_psql('one', q{SELECT evq_grant_worker('tenant', 'TENANT_A'), evq_grant_publisher('tenant', 'TENANT_A')});
is(may('tenant', 'one'), $own, 'its flow, when it is granted anew');

# Sessions learn of it that have asked before.
my $session = session($node, 'one');
$session->query_safe('SET ROLE shop');
is($session->query_safe(q{SELECT count(*) FROM evq_acquire_next('PAYMENTS') WHERE false}), '0', 'a session that may');
$node->safe_psql('other', q{SELECT evq_grant_worker('shop', 'TENANT_A')});
$session->{stderr} = '';
$session->query(q{SELECT count(*) FROM evq_acquire_next('PAYMENTS')});
like($session->{stderr}, qr/permission denied for flow "PAYMENTS"/, 'may no more once its role is restricted in another database');
end_session($session);

# ---------- in a schema of its own, that PUBLIC may not use ----------

$node->safe_psql('postgres', 'CREATE DATABASE apart');
$node->safe_psql('apart', q{CREATE SCHEMA jobs; CREATE EXTENSION evq SCHEMA jobs; SELECT jobs.evq_configure('T', 'F'), jobs.evq_grant_worker('tenant', 'F')});
$node->safe_psql('postgres', 'CREATE ROLE watcher IN ROLE evq_monitor; CREATE ROLE producer IN ROLE evq_publisher; CREATE ROLE boss IN ROLE evq_operator; CREATE ROLE stranger');
is(as_role(@$_[0], 'apart', @$_[1]), @$_[2], "@$_[0] in schema jobs") for
	[ 'producer', q{SELECT jobs.evq_publish('T', NULL, 'x')}, '00000' ], [ 'tenant', q{SELECT jobs.evq_acquire_next('F')}, '00000' ],
	[ 'watcher', 'SELECT jobs.evq_status()', '00000' ], [ 'boss', q{SELECT jobs.evq_configure('T', max_attempts => 2)}, '00000' ],
	[ 'stranger', q{SELECT jobs.evq_publish('T', NULL, 'x')}, '42501' ];
is($node->safe_psql('apart', q{SELECT count(*) FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = 'jobs' AND a.grantee = 0}), '0', 'which is still not for PUBLIC');
like($node->safe_psql('apart', q{SELECT jobs.evq_publish('T', NULL, 'y'); SELECT jobs.evq_suspend_event_type('T'); SELECT advice FROM jobs.evq_check() WHERE finding ~ '^T is suspended'}),
	qr/^SELECT jobs\.evq_unsuspend_event_type\('T'\) when/m, 'statements that evq_check() advises have the schema');

$node->stop;
done_testing();
