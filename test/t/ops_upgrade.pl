# From each release to this version, by ALTER EXTENSION, with events in flight: nothing is lost, and what is there then is what a new installation has.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;

my $node = make_server('main', "evq.poll_interval = '200ms'");
my $version = $node->safe_psql('postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'evq'});
make_database($node, 'fresh');

my ($release, $old);
sub run { return $node->safe_psql($old, @_) }
sub sqlstate_of
{
	my (undef, undef, $error) = $node->psql($old, shift, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $error =~ /ERROR:\s+(\w+)/ ? $1 : $error;
}

for my $from (qw(0.1 0.2))
{
($release, $old) = ($from, "from $from");
my $today = q{SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date};
my $day = $node->safe_psql('postgres', $today);

# ---------- the old version under the new library ----------

$node->safe_psql('postgres', qq{CREATE DATABASE "$old"});
run(qq{
	CREATE EXTENSION evq VERSION '$release';
	SELECT evq_configure('job', 'FLOW', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}');
	SELECT evq_configure('load', 'LOAD', lifespan => '1 day', attempt_delays => '{0}');
	SELECT evq_configure('plain', 'FLOW'), evq_configure('six', 'FLOW', 6, lifespan => '2 hours')});
wait_for_dispatcher($node, $old);
is(run('SELECT evq_version()'), $release, "version $release");
my %event = map { $_ => publish($node, $old, "jsonb_build_object('name', '$_', 'text', repeat('x', 1000)), idempotency_key => 'key of $_'") }
  qw(waiting held done failed suspended);
wait_for_state($node, $old, $event{$_}, 'dispatched') for sort keys %event;
run(qq{
	SELECT evq_succeed('$event{done}', permit, '{"answer": 42}') FROM evq_acquire('$event{done}');
	SELECT evq_fail('$event{failed}', 'no', permit, retryable => false) FROM evq_acquire('$event{failed}');
	SELECT evq_suspend('$event{suspended}', permit) FROM evq_acquire('$event{suspended}')});
my $permit = run("SELECT permit FROM evq_acquire('$event{held}', 'a worker')");
is(run("SELECT state FROM evq.events WHERE event_id = '$event{done}'"), 'succeeded', 'works');
is(run("SELECT evq_succeed('$event{done}', permit) FROM evq.events WHERE event_id = '$event{done}'"), '{}', 'and knows what is done');
like(sqlstate_of("SELECT evq_activate('$event{held}')"), qr/^EQ003/, 'an activation before the suspension is refused, for its tables have no room for one');
run("SELECT evq_activate('$event{suspended}')");
ok(poll_until('suspended anew', sub { run("SELECT count(evq_suspend(event_id, permit)) FROM evq_acquire('$event{suspended}')") }), 'an activated event can be suspended again');
is(run("SELECT problem FROM evq_status()"), '', 'without complaint');
run(q{DROP ROLE IF EXISTS tenant; CREATE ROLE tenant; SELECT evq_grant_worker('tenant', 'LOAD')}) if $release ne '0.1';
my $before = run('SELECT event_id, event_type, flow_id, state, published_at, finished_at, result FROM evq.events ORDER BY 1');
my $payloads = run('SELECT * FROM evq.payloads ORDER BY 1');
my $indexes = run(q{SELECT array_agg(indexrelid::regclass::text) FROM pg_index WHERE indrelid = ANY ('{evq.event, evq.event_error, evq.event_payload, evq.idempotency}'::regclass[])});

# ---------- not while the server works with the library of before ----------

{
	my $definition = $release eq '0.1' ? 'DROP FUNCTION evq.library_version()' : run(q{SELECT pg_get_functiondef('evq.library_version()'::regprocedure)});

	run(qq{CREATE OR REPLACE FUNCTION evq.library_version() RETURNS text LANGUAGE sql AS \$\$ SELECT '$release' \$\$});
	my (undef, undef, $error) = $node->psql($old, 'ALTER EXTENSION evq UPDATE');
	like($error, qr/ERROR:  the server has loaded the library of evq $release, .*HINT:  Restart the server/s, 'an older library in memory: the upgrade is refused, with what to do');
	run($definition);
}

# ---------- upgraded while publishers and workers are at it ----------

# What is published together is rows before, and batches after it; some of the rows are held across it.
run(q{SELECT evq_configure('bulk', 'BULK', lifespan => '1 day', attempt_timeout => '1 hour', attempt_delays => '{0}')});
run(q{SELECT evq_configure_flow('BULK', delivery => 'pull')}) if $release ne '0.1';
my $bulk = sub { "evq_publish_many('bulk', NULL, array_fill('many'::text, '{$_[0]}'), array_fill(jsonb '{\"a\": 1}', '{$_[0]}'))" };
run('SELECT count(*) FROM ' . $bulk->(20));
my @held;
ok(poll_until('held', sub { push @held, split /\n/, run(q{SELECT format('%L, %s', event_id, permit) FROM evq_acquire_next('BULK', 5)}); @held >= 5 }), 'rows are held');

my $upgrade = session($node, $old);
my @stress = map { $node->background_psql($old, on_error_stop => 1) } 1 .. 3;
for my $session (@stress)
{
	$session->{stdin} .= q{
DO $$ BEGIN FOR i IN 1 .. 200 LOOP
	PERFORM evq_publish('load', NULL, 'case ' || n) FROM generate_series(1, 5) n;
	PERFORM evq_succeed(event_id, permit) FROM evq_acquire_next('LOAD', 5);
	COMMIT;
END LOOP; END $$;
SELECT 'finished';
};
	$session->{run}->pump_nb;
}
push @stress, $node->background_psql($old, on_error_stop => 1);
$stress[-1]->{stdin} .= '
DO $$ BEGIN FOR i IN 1 .. 100 LOOP
	PERFORM ' . $bulk->(10) . q{;
	COMMIT;
	PERFORM evq_succeed(event_id, permit) FROM evq_acquire_next('BULK', 7);
	COMMIT;
END LOOP; END $$;
SELECT 'finished';
};
$stress[-1]->{run}->pump_nb;
ok(poll_until('load', sub { run("SELECT count(*) FROM evq.events WHERE event_type = 'load' AND finished_at IS NOT NULL") > 50 }), 'the load has begun');
# A session that was there before, and stores batches as soon as there is room for them.
my $early = session($node, $old);
my $publish_batch = q{SET evq.store_batches_from = 3; SELECT count(*) FROM evq_publish_many('parcel', NULL, '{a,b,c}', array_fill(jsonb '[1]', '{3}'))};
$early->query_safe(q{SELECT evq_configure('parcel', 'PARCELS')});
$early->query_safe(q{SELECT evq_configure_flow('PARCELS', delivery => 'pull')}) if $release ne '0.1';
is($early->query_safe($publish_batch), 3, 'where there are no tables of batches, alike events are rows');
$upgrade->query_safe('ALTER EXTENSION evq UPDATE');
$early->query_safe(q{SELECT evq_configure_flow('PARCELS', delivery => 'pull')});
is($early->query_safe($publish_batch), 3, 'the session publishes');
is(run('SELECT count(*), sum(events) FROM evq.batch'), '1|3', '... a batch');
end_session($early);
is(run('SELECT evq_version()'), $version, "version $version");
is(run("SELECT * FROM unnest('$indexes'::text[]) name WHERE to_regclass(name) IS NULL"), '', 'indexes keep the names by which scripts of operators know them');
ok(poll_until('end of load', sub { $_->{run}->pump_nb for @stress; run("SELECT count(*) FROM evq.events WHERE event_type = 'load'") == 3000 }), 'publishers and workers went through it');
ok(poll_until('events', sub { run("SELECT count(evq_succeed(event_id, permit)) FROM evq_acquire_next('LOAD', 1000)");
	run("SELECT count(*) FROM evq.event WHERE event_type_no = (SELECT event_type_no FROM evq.event_type WHERE event_type = 'load')") == 0 }), 'all are worked off');
is(run("SELECT count(*), count(DISTINCT event_id) FROM evq.events WHERE event_type = 'load' AND state = 'succeeded'"), '3000|3000', 'each succeeded once');
run(q{SELECT evq_configure_flow('BULK', delivery => 'pull')});
is(run('SELECT count(*) FROM ' . $bulk->(100) . '; SELECT count(*) >= 100 FROM evq.batch_event e JOIN evq.event_type t USING (event_type_no) WHERE event_type = \'bulk\''), "100\nt", 'what is published together is in batches now');
ok(poll_until('end of load', sub { $_->{run}->pump_nb for @stress; run("SELECT count(*) FROM evq.events WHERE event_type = 'bulk'") == 1120 }), '... also by who has published since before');
run("SELECT evq_succeed($_)") for @held;
ok(poll_until('events', sub { run("SELECT count(evq_succeed(event_id, permit)) FROM evq_acquire_next('BULK', 1000)");
	run("SELECT count(*) FROM evq.events WHERE event_type = 'bulk' AND state <> 'succeeded'") == 0 }), 'rows of before and batches are worked off');
is(run("SELECT count(*), count(DISTINCT event_id) FROM evq.events WHERE event_type = 'bulk'"), '1120|1120', '... each once');
is(run("SELECT string_agg(concat_ws(' ', event_type, lifespan, attempt_timeout), ', ' ORDER BY event_type) FROM evq.event_types WHERE event_type IN ('plain', 'six')"),
	'plain 01:00:00 00:20:00, six 02:00:00 00:20:00', 'what is configured keeps the values it had');
is(run("SELECT evq_configure('six', lifespan => '12 hours'), evq_configure('new', 'FLOW');
	SELECT string_agg(concat_ws(' ', event_type, lifespan, attempt_timeout), ', ' ORDER BY event_type) FROM evq.event_types WHERE event_type IN ('new', 'six')") =~ s/^\|\n//r,
	'new 14 days 00:05:00, six 12:00:00 00:20:00', 'the timeout no longer follows the lifespan, and new types have the new defaults');
my $due_at = run("SELECT due_at FROM evq.events WHERE event_id = '$event{waiting}'");
is(run("SELECT evq_configure('job', lifespan => '2 days'); SELECT due_at - '$due_at' FROM evq.events WHERE event_id = '$event{waiting}'") =~ s/^\n//r, '1 day',
	'a changed lifespan reaches events of before');
end_session($upgrade);
$_->quit for @stress;

# ---------- a restricted role of before ----------

if ($release ne '0.1')
{
	my $may = sub { my (undef, undef, $error) = $node->psql($_[0], "SET ROLE tenant; SELECT evq_acquire_next('$_[1]', 1)"); return $error =~ /permission denied for flow/ ? 'no' : $error ? $error : 'yes' };

	is($may->($old, 'LOAD'), 'yes', 'has its flow');
	is($may->($old, 'FLOW'), 'no', 'and no other');
	is($may->('fresh', 'FLOW'), 'no', 'nor one of another database');
	like(run(q{SELECT string_agg(advice, ' ') FROM evq_check() WHERE subject = 'privileges'}), qr/REVOKE evq_worker FROM tenant/, 'evq_check() tells what is to do');
	run('REVOKE evq_worker FROM tenant');
	is($may->($old, 'LOAD'), 'yes', 'which takes nothing from it');
}

# ---------- what was there ----------

is(run("SELECT event_id, event_type, flow_id, state, published_at, finished_at, result FROM evq.events WHERE event_type NOT IN ('load', 'parcel', 'bulk') ORDER BY 1"), $before, 'the events of before are there');
is(run("SELECT * FROM evq.payloads WHERE event_id = ANY ('{" . join(',', values %event) . "}') ORDER BY 1"), $payloads, 'with their payloads');
is(publish($node, $old, "jsonb_build_object('name', 'done', 'text', repeat('x', 1000)), idempotency_key => 'key of done'"), $event{done}, 'and keys');
is(run("SELECT evq_succeed('$event{held}', $permit)"), '{}', 'a permit of before holds');
is(run("SELECT evq_succeed('$event{done}', permit) FROM evq.events WHERE event_id = '$event{done}'"), '{}', 'a success of before can be repeated');
is(run("SELECT evq_activate('$event{waiting}', answer => '1'), evq_suspend('$event{waiting}', permit) IS NULL FROM evq_acquire('$event{waiting}')"), 'being_processed|t', 'an activation before the suspension is kept');
run("SELECT evq_retry('$event{failed}'), evq_activate('$event{suspended}', answer => '2')");
ok(wait_for_state($node, $old, $event{$_}, 'dispatched'), "$_: goes on") for qw(failed suspended);
is(run("SELECT payload->>'name', answer FROM evq_acquire('$event{waiting}')"), 'waiting|1', 'what waited is acquired');
is(run("SELECT answer FROM evq_acquire('$event{suspended}')"), 2, 'what slept has its answer');
ok(poll_until('partitions', sub { run('SELECT count(*) FROM evq.history_partitions()') > 1 }), 'partitions are made');
run("SELECT evq_configure('load', retention => '0 s'), evq_configure('job', retention => '30 days')");
run('SELECT evq_purge()');
# 0.1 had no partitions: what it finished is in the default one, which is thinned at once. A partition is when its day is over.
my $loads = run($today) ne $day ? qr/\d+/ : $release eq '0.1' ? qr/0/ : qr/3000/;
like(run("SELECT count(*) FILTER (WHERE event_type = 'load'), count(*) FILTER (WHERE event_type = 'job') FROM evq.events WHERE finished_at IS NOT NULL"), qr/^$loads\|2$/, 'retention reaches what finished before');

# ---------- the same as new ----------

# Every object with all that is known of it, but what differs between any two databases.
my $catalog = q{
	WITH member AS (SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq' AND d.refclassid = 'pg_extension'::regclass WHERE d.deptype = 'e'),
	relation AS (SELECT c.* FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid)
	SELECT 'function ' || p.oid::regprocedure || ' ' || pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') || coalesce(obj_description(p.oid, 'pg_proc'), '') FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	UNION ALL SELECT concat_ws(' ', 'relation', r.oid::regclass, r.relkind, r.relpersistence, r.relispartition, r.reloptions, r.relacl, obj_description(r.oid, 'pg_class'), pg_get_expr(r.relpartbound, r.oid), pg_get_partkeydef(r.oid),
		CASE r.relkind WHEN 'v' THEN pg_get_viewdef(r.oid) END) FROM relation r
	UNION ALL SELECT concat_ws(' ', 'column', r.oid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attstorage, a.attislocal, a.attinhcount, pg_get_expr(d.adbin, d.adrelid), col_description(r.oid, a.attnum))
		FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
	UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid) FROM pg_index i JOIN relation r ON r.oid = i.indrelid
	UNION ALL SELECT concat_ws(' ', 'constraint', r.oid::regclass, c.conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c JOIN relation r ON r.oid = c.conrelid
		WHERE c.contype <> 'n' -- what 18 calls the NOT NULL of a column
	UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), t.tgenabled) FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid
	UNION ALL SELECT concat_ws(' ', 'type', t.oid::regtype, t.typtype, t.typacl, obj_description(t.oid, 'pg_type'), (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
		(SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = t.typrelid AND t.typtype = 'c'))
		FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
	UNION ALL SELECT 'schema ' || n.nspname || n.nspacl::text || obj_description(n.oid, 'pg_namespace') FROM pg_namespace n JOIN member m ON m.classid = 'pg_namespace'::regclass AND m.objid = n.oid
	UNION ALL SELECT 'other member ' || pg_describe_object(m.classid, m.objid, 0) FROM member m WHERE m.classid NOT IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass)
	UNION ALL SELECT 'dumped ' || c::regclass FROM pg_extension, unnest(extconfig) c WHERE extname = 'evq'
	ORDER BY 1};
my @new = split /\n(?=(?:function|relation|column|index|constraint|trigger|type|schema|other member|dumped) )/, $node->safe_psql('fresh', $catalog);
my @old = split /\n(?=(?:function|relation|column|index|constraint|trigger|type|schema|other member|dumped) )/, run($catalog);
cmp_ok(scalar @new, '>', 500, scalar(@new) . ' things are known of the extension');
my %is_new = map { $_ => 1 } @new;
my %is_old = map { $_ => 1 } @old;
is(join("\n", grep { !$is_old{$_} } @new), '', 'nothing is missing after the upgrade');
is(join("\n", grep { !$is_new{$_} } @old), '', 'nothing is left over');

# ---------- dump and restore of what was upgraded ----------

my $folder = $node->basedir;
$node->command_ok([ 'pg_dump', '--dbname', $node->connstr($old), '--file', "$folder/dump $release", '--format', 'custom' ], 'pg_dump');
$node->safe_psql('postgres', qq{CREATE DATABASE "restored $old" TEMPLATE template0});
$node->command_ok([ 'pg_restore', '--exit-on-error', '--dbname', $node->connstr("restored $old"), "$folder/dump $release" ], 'pg_restore');
is($node->safe_psql("restored $old", 'SELECT count(*) FROM evq.events'), run('SELECT count(*) FROM evq.events'), 'has all events');
}

$node->stop;
done_testing();
