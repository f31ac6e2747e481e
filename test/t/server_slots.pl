# Places of dispatchers: who has one and for how long, and what changes that without a word - prepared transactions,
# sessions that fire no ordinary triggers, templates.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;

my $node = make_server('main', "evq.poll_interval = '200ms'", 'evq.max_databases = 2', 'evq.ring_size = 16', 'wal_level = logical',
	'max_wal_senders = 3', 'max_replication_slots = 3');
my $other = session($node, 'postgres');
my ($event, $held);

# What evq_metrics() says of all types together.
sub metric
{
	my ($database, $name) = @_;
	my $metrics = $node->safe_psql($database, 'SELECT evq_metrics()');
	my $sum = 0;

	$sum += $1 while $metrics =~ /^$name(?:\{.*\})? (\d+)$/mg;
	return $sum;
}

sub comes
{
	my ($what, $code, $seconds) = @_;

	return ok(poll_until($what, $code, $seconds), $what);
}

sub create
{
	my ($database) = @_;
	my (undef, undef, $warning) = $node->psql($database, q{CREATE EXTENSION evq; SELECT evq_configure('job', 'FLOW', lifespan => '1 day', attempt_delays => '{0}')});

	return $warning;
}

sub problem { return $node->safe_psql($_[0], 'SELECT problem FROM evq_status()') }

# ---------- a full ring ----------

make_database($node, 'first');
ok(is_dispatching($node, 'first'), 'a dispatcher');
$node->safe_psql('postgres', q{ALTER SYSTEM SET evq.poll_interval = '1h'; SELECT pg_reload_conf()});
ok(is_dispatching($node, 'first'), 'that polls no more');
my $pid = dispatcher_pid($node, 'first');
my $overflows = $node->safe_psql('first', 'SELECT ring_overflows FROM evq_status()');
kill STOP => $pid;
my $publisher = session($node, 'first');
$publisher->query_safe(q{SELECT evq_publish('job', NULL, 'ring')}) for 1 .. 60;
cmp_ok($node->safe_psql('first', 'SELECT ring_overflows FROM evq_status()'), '>', $overflows, '60 transactions, a dispatcher that hangs: not all find room in the ring');
kill CONT => $pid;
comes('they are dispatched, all of them', sub { $node->safe_psql('first', q{SELECT count(*) FROM evq.events WHERE flow_id = 'ring' AND state = 'dispatched'}) == 60 }, 60);
$node->safe_psql('postgres', q{ALTER SYSTEM RESET evq.poll_interval; SELECT pg_reload_conf()});

# ---------- counters ----------

my $published = metric('first', 'evq_events_published_total');
cmp_ok($published, '>', 60, 'they are counted');
$publisher->query_safe('BEGIN; SAVEPOINT s; DROP EXTENSION evq CASCADE; ROLLBACK TO s; COMMIT');
is(metric('first', 'evq_events_published_total'), $published, 'DROP EXTENSION rolled back to a savepoint: they still are');
$publisher->query_safe(q{BEGIN; SAVEPOINT s; DROP EXTENSION evq CASCADE; CREATE EXTENSION evq; SAVEPOINT t; RELEASE t; ROLLBACK TO s; SELECT evq_publish('job', NULL, 'one more'); COMMIT});
is(metric('first', 'evq_events_published_total'), $published + 1, '... with CREATE EXTENSION, too');
ok(is_dispatching($node, 'first'), 'and the dispatcher goes on');
end_session($publisher);

# ---------- slots that become free, and whose they are ----------

make_database($node, 'second');
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(third fourth);
like(create('third'), qr/WARNING:  no dispatcher will run in this database: all slots are taken/, 'a database without a slot: CREATE EXTENSION says so');
is(problem('third'), 'no dispatcher is assigned to this database', '... and evq_status()');
create('fourth');
publish($node, $_) for qw(third fourth);

$node->safe_psql('first', 'DROP EXTENSION evq CASCADE');
comes('DROP EXTENSION elsewhere: one of them has its slot', sub { dispatcher_pid($node, 'third') ne '' || dispatcher_pid($node, 'fourth') ne '' }, 60);
$node->safe_psql('postgres', 'DROP DATABASE second');
comes('DROP DATABASE: the other, too', sub { dispatcher_pid($node, 'third') ne '' && dispatcher_pid($node, 'fourth') ne '' }, 60);
ok(is_dispatching($node, $_), "$_: events are dispatched") for qw(third fourth);

# A transaction of a database that loses its slot.
$held = session($node, 'third');
$held->query_safe(q{BEGIN; SELECT count(evq_publish('job', NULL, 'old')) FROM generate_series(1, 50)});
$node->safe_psql('third', 'SELECT evq_pause()');
wait_for_no_dispatcher($node, 'third');
create('first');
comes('a paused database gives its slot to another', sub { dispatcher_pid($node, 'first') ne '' }, 60);
publish($node, 'first');
$held->query_safe('COMMIT');
is(metric('first', 'evq_events_published_total'), 1, 'what a transaction does that is still open is not counted there');
is(metric('first', 'evq_events'), 1, '... nor as live');
$node->safe_psql('third', 'SELECT evq_resume()');
is(problem('third'), 'no dispatcher is assigned to this database', 'it waits for a slot itself, when it goes on');
$node->safe_psql('fourth', 'SELECT evq_pause()');
comes('and gets it', sub { dispatcher_pid($node, 'third') ne '' }, 60);
comes('with all that was published', sub { $node->safe_psql('third', q{SELECT count(*) FROM evq.events WHERE flow_id = 'old' AND state = 'dispatched'}) == 50 }, 60);
comes('and counted', sub { metric('third', 'evq_events') == $node->safe_psql('third', 'SELECT count(*) FROM evq.event') }, 60);
end_session($held);
$node->safe_psql('postgres', 'DROP DATABASE fourth');

# ---------- prepared transactions ----------

$node->safe_psql('first', q{SELECT evq_configure('suspended', 'FLOW')});
sub prepare
{
	my ($database, $sql) = @_;
	my $session = session($node, $database);

	$session->query_safe("BEGIN; $sql; PREPARE TRANSACTION 'it'");
	end_session($session);
	return;
}

prepare('first', q{SELECT evq_pause('prepared')});
ok(is_dispatching($node, 'first'), 'a pause that is prepared is none yet');
$node->safe_psql('first', q{COMMIT PREPARED 'it'});
ok(wait_for_no_dispatcher($node, 'first'), 'COMMIT PREPARED: it is');
$event = publish($node, 'first');
prepare('first', 'SELECT evq_resume()');
is(dispatcher_pid($node, 'first'), '', 'a resume that is prepared is none yet');
$node->restart;
$other = session($node, 'postgres');
$node->safe_psql('first', q{COMMIT PREPARED 'it'});
ok(wait_for_state($node, 'first', $event, 'dispatched', 60), 'COMMIT PREPARED after a restart: the database goes on');
prepare('first', q{SELECT evq_suspend_event_type('suspended')});
$node->safe_psql('first', q{COMMIT PREPARED 'it'});
$event = $node->safe_psql('first', q{SELECT evq_publish('suspended', NULL, 'x')});
ok(is_dispatching($node, 'first'), 'others are dispatched');
is(state_of($node, 'first', $event), 'awaiting_processing', 'a type that was suspended so is not');
prepare('first', q{SELECT evq_unsuspend_event_type('suspended')});
$node->safe_psql('first', q{COMMIT PREPARED 'it'});
ok(wait_for_state($node, 'first', $event, 'dispatched', 60), '... until the contrary is');

prepare('third', 'DROP EXTENSION evq CASCADE');
isnt(dispatcher_pid($node, 'third'), '', 'a prepared DROP EXTENSION');
$node->safe_psql('third', q{COMMIT PREPARED 'it'});
ok(wait_for_no_dispatcher($node, 'third'), 'its COMMIT PREPARED: the dispatcher leaves');
prepare('third', 'CREATE EXTENSION evq');
$node->safe_psql('third', q{COMMIT PREPARED 'it'});
ok(wait_for_dispatcher($node, 'third', undef, 60), 'a prepared CREATE EXTENSION: it comes');
$node->safe_psql('third', q{SELECT evq_configure('job', 'FLOW')});
ok(is_dispatching($node, 'third'), 'and works');
# Not shown before its dispatcher has counted what is there.
comes('counting from zero', sub { metric('third', 'evq_events_published_total') == 1 });

# ---------- sessions without ordinary triggers ----------

my $old = session($node, 'first');
$old->query_safe(q{SELECT evq_publish('job', NULL, 'warm')});
my $replica = session($node, 'first');
$replica->query_safe('SET session_replication_role = replica');
$replica->query_safe(q{SELECT evq_configure('late', 'FLOW')});
like($old->query_safe(q{SELECT evq_publish('late', NULL, 'x')}), qr/^[0-9a-f-]{36}$/, 'a type configured by a replica: an older session knows it');
$replica->query_safe('SELECT evq_pause()');
ok(wait_for_no_dispatcher($node, 'first'), 'paused by a replica');
$event = publish($node, 'first');
is($old->query_safe(q{SELECT count(*) FROM evq_acquire_next('FLOW', 10)}), 0, 'nothing is acquired');
$replica->query_safe('SELECT evq_resume()');
ok(wait_for_state($node, 'first', $event, 'dispatched', 60), 'and resumed');
$replica->query_safe('TRUNCATE evq.restriction');
end_session($replica);

# What logical replication applies.
$node->safe_psql('third', q{
	CREATE PUBLICATION configuration FOR TABLE evq.flow, evq.event_type;
	SELECT pg_create_logical_replication_slot('configuration', 'pgoutput')});
my $publisher_at = $node->connstr('third') =~ s/'/''/gr;
$node->safe_psql('first', "CREATE SUBSCRIPTION configuration CONNECTION '$publisher_at' PUBLICATION configuration WITH (create_slot = false, copy_data = false)");
$node->safe_psql('third', q{
	ALTER TABLE evq.event_type ALTER event_type_no RESTART 1000;
	ALTER TABLE evq.flow ALTER flow_no RESTART 1000;
	SELECT evq_configure('replicated', 'REPLICATED', lifespan => '1 day')});
comes('a type comes by logical replication', sub { $node->safe_psql('first', q{SELECT count(*) FROM evq.event_types WHERE event_type = 'replicated'}) == 1 });
$event = $old->query_safe(q{SELECT evq_publish('replicated', NULL, 'x')});
like($event, qr/^[0-9a-f-]{36}$/, 'an older session knows it');
ok(wait_for_state($node, 'first', $event, 'dispatched', 60), 'and the dispatcher');
$node->safe_psql('first', 'DROP SUBSCRIPTION configuration');
end_session($old);

# ---------- templates ----------

$node->safe_psql('postgres', 'CREATE ROLE dev LOGIN CREATEDB; CREATE ROLE stranger LOGIN');
sub as
{
	my ($role, $sql) = @_;
	my (undef, undef, $error) = $node->psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role");

	return $error;
}

$pid = dispatcher_pid($node, 'first');
like(as('stranger', 'DROP DATABASE first'), qr/must be owner of database first/, 'DROP DATABASE by a stranger');
like(as('stranger', 'ALTER DATABASE first RENAME TO mine'), qr/must be owner of database first/, '... and RENAME');
like(as('stranger', 'CREATE DATABASE mine TEMPLATE first'), qr/permission denied to create database/, '... and a copy');
like(as('dev', 'CREATE DATABASE mine TEMPLATE first'), qr/permission denied to copy database "first"/, '... or by who may create databases, of what is no template');
is(dispatcher_pid($node, 'first'), $pid, 'the dispatcher does not leave for them');

$node->safe_psql('postgres', 'ALTER DATABASE first IS_TEMPLATE true');
ok(wait_for_no_dispatcher($node, 'first'), 'a template: the dispatcher leaves');
is(as('dev', 'CREATE DATABASE copied TEMPLATE first'), '', 'and it can be copied');
$node->safe_psql('postgres', 'DROP DATABASE copied; ALTER DATABASE first IS_TEMPLATE false');
ok(wait_for_dispatcher($node, 'first', undef, 60), 'no template any more: the dispatcher comes');
ok(is_dispatching($node, 'first'), 'and works');
# Who changes the catalog by hand tells nobody.
$node->safe_psql('postgres', q{UPDATE pg_database SET datistemplate = true WHERE datname = 'first'});
is(as('dev', 'CREATE DATABASE copied TEMPLATE first'), '', 'a template, by UPDATE: it can be copied');
$node->safe_psql('postgres', q{UPDATE pg_database SET datistemplate = false WHERE datname = 'first'; DROP DATABASE copied; ALTER DATABASE first IS_TEMPLATE false});
ok(is_dispatching($node, 'first', 60), 'and goes on');

# ---------- a fault that ends ----------

$event = $node->safe_psql('first', q{SELECT evq_publish('job', NULL, 'due', run_at => now() + interval '1 s')});
my $errors = $node->safe_psql('first', 'SELECT errors FROM evq_status()');
my $locker = session($node, 'first');
$locker->query_safe('BEGIN; LOCK TABLE evq.event');
# Without a bound the pause would be 50 s by then.
comes('a table that is locked: the dispatcher tries again and again', sub { $node->safe_psql('first', "SELECT errors >= $errors + 10 FROM evq_status()") eq 't' });
$locker->query_safe('COMMIT');
ok(wait_for_state($node, 'first', $event, 'dispatched', 20), 'the lock is gone: it goes on soon');
end_session($locker);

# ---------- no background worker ----------

$node->append_conf('postgresql.conf', "evq.max_databases = 8\nmax_logical_replication_workers = 0\nmax_worker_processes = 1");
$node->restart;
comes('a background worker too few: evq_status() says so', sub { problem('first') eq 'no background worker is free for the dispatcher' });
is($node->safe_psql('first', q{SELECT finding FROM evq_check() WHERE subject = 'dispatcher'}), 'no background worker is free for the dispatcher', 'and evq_check()');
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
is($node->safe_psql('first', q{SELECT problem, hint ~ 'max_worker_processes' FROM evq_status()}), 'the launcher is not running, which starts dispatchers|t', 'none at all: that, too');

end_session($other);
$node->stop;
done_testing();
