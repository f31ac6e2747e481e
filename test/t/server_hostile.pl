# Settings, objects and damage that must not stop the dispatcher.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = make_server('main', "evq.poll_interval = '200ms'");

# Waits until the dispatcher has gone over the table so many times: it finds events there of which nobody told.
sub wait_for_sweeps
{
	my ($database, $count) = @_;

	for (1 .. $count)
	{
		my $unsaid = $node->safe_psql($database, q{SET evq.debug_lose_wakeups = on; SELECT evq_publish('job', NULL, 'unsaid')});
		wait_for_state($node, $database, $unsaid, 'dispatched');
	}
	return;
}

# ---------- settings of database and roles ----------

make_database($node, 'settings');
my %hostile = (
	statement_timeout => '1ms', lock_timeout => '1ms', idle_in_transaction_session_timeout => '1ms', idle_session_timeout => '1ms',
	default_transaction_read_only => 'on', default_transaction_isolation => 'serializable', default_transaction_deferrable => 'on',
	search_path => 'nowhere', row_security => 'off', datestyle => 'SQL, DMY', intervalstyle => 'sql_standard', timezone => 'Asia/Kathmandu',
	extra_float_digits => '-15', standard_conforming_strings => 'off', backslash_quote => 'off', array_nulls => 'off', transform_null_equals => 'on',
	enable_indexscan => 'off', enable_seqscan => 'off', plan_cache_mode => 'force_generic_plan', work_mem => '64kB', jit => 'on', jit_above_cost => '0',
	client_min_messages => 'debug5', synchronous_commit => 'on', role => 'lowly', application_name => 'disguised');
delete $hostile{standard_conforming_strings} if $node->safe_psql('postgres', 'SHOW server_version_num') >= 190000; # it cannot be off there
my %sane = (
	statement_timeout => 0, idle_session_timeout => 0, idle_in_transaction_session_timeout => 0, default_transaction_read_only => 'off',
	search_path => 'public', client_min_messages => 'notice', role => 'postgres', datestyle => 'ISO', jit => 'off');
my $sane = $node->connstr('settings') . " options='" . join(' ', map { "-c $_=$sane{$_}" } sort keys %sane) . "'";

sub in_settings
{
	my ($query) = @_;

	return $node->safe_psql('settings', $query, connstr => $sane);
}

$node->safe_psql('postgres', 'CREATE ROLE lowly');
$node->safe_psql('postgres', join '', map { "ALTER DATABASE settings SET $_ = " . ($_ eq 'datestyle' ? $hostile{$_} : "'$hostile{$_}'") . ";\n" }
	sort keys %hostile);
$node->safe_psql('postgres', "ALTER ROLE ALL SET $_ = '1ms'") for qw(lock_timeout idle_in_transaction_session_timeout);
my $pid = dispatcher_pid($node, 'settings');
my $log = log_end($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok(wait_for_dispatcher($node, 'settings', $pid), 'hostile settings: the dispatcher starts');

my $event = in_settings(q{SELECT evq_publish('job', NULL, 'a')});
ok(poll_until('dispatched', sub { in_settings("SELECT state FROM evq.events WHERE event_id = '$event'") eq 'dispatched' }), 'and dispatches');
in_settings(q{SELECT evq_configure('quick', 'QUICK', lifespan => '1 s', attempt_timeout => '0.3 s', attempt_delays => '{0}', on_fail_event_type => 'quick')});
$event = in_settings(q{SELECT evq_publish('quick', NULL, 'b')});
ok(poll_until('expired', sub { in_settings("SELECT state FROM evq.events WHERE event_id = '$event'") eq 'expired' }), 'expires');
ok(poll_until('on-fail event', sub { in_settings("SELECT state FROM evq.events WHERE parent_id = '$event'") ne '' }), 'publishes on-fail events');
in_settings(q{BEGIN; SELECT evq_publish('job', NULL, 'prepared'); PREPARE TRANSACTION 'p'});
in_settings(q{COMMIT PREPARED 'p'});
ok(poll_until('dispatched', sub { in_settings("SELECT state FROM evq.events WHERE flow_id = 'prepared'") eq 'dispatched' }),
	'and sees what was prepared');
is(in_settings('SELECT errors FROM evq_status()'), 0, 'without errors');
is($node->safe_psql('postgres', "SELECT application_name FROM pg_stat_activity WHERE backend_type = 'evq dispatcher' AND datname = 'settings'"),
	'evq dispatcher', 'under its own name');
in_settings(q{SELECT evq_cancel(event_id) FROM evq.event; ALTER ROLE ALL RESET ALL});

# ---------- settings under which the extension is made ----------

# What its functions, views and constraints are, seen by a sane session.
sub definitions
{
	my ($database, $schema) = @_;

	return $node->safe_psql($database, qq{
		SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
		JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq' ORDER BY p.proname, p.oid::regprocedure::text COLLATE "C";
		SELECT relname, relam = (SELECT oid FROM pg_am WHERE amname = 'heap'), CASE WHEN relkind = 'v' THEN pg_get_viewdef(oid) END
		FROM pg_class WHERE relnamespace = 'evq'::regnamespace AND relkind IN ('r', 'v') AND NOT relispartition ORDER BY relname COLLATE "C";
		SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'evq'::regnamespace ORDER BY conname COLLATE "C"},
		connstr => $node->connstr($database) . q{ options='-c quote_all_identifiers=off -c search_path=pg_catalog -c standard_conforming_strings=on}
		  . q{ -c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC'})
	  =~ s/\Q$schema\E\./public./gr;
}

my @odd = ('quote_all_identifiers = on', 'default_table_access_method = other_heap', q{datestyle = 'German'}, q{intervalstyle = 'sql_standard'},
	q{timezone = 'Asia/Kolkata'}, 'check_function_bodies = on', 'backslash_quote = off', q{bytea_output = 'escape'},
	$node->safe_psql('postgres', 'SHOW server_version_num') < 190000 ? 'standard_conforming_strings = off' : ());
$node->safe_psql('postgres', 'CREATE DATABASE odd');
$node->safe_psql('odd', 'CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler');
$node->safe_psql('postgres', "ALTER DATABASE odd SET $_") for @odd;
$node->safe_psql('odd', 'CREATE SCHEMA "My Jobs"; CREATE EXTENSION evq SCHEMA "My Jobs"');
make_database($node, 'even');
is(definitions('odd', '"My Jobs"'), definitions('even', 'public'), 'odd settings, and a schema to be quoted: the extension is made as anywhere else');
is($node->safe_psql('odd', q{
	SET search_path = "My Jobs";
	SELECT evq_configure('task', 'SIDE'), evq_schedule('s', '@daily', 'task', 'SIDE', 'case', '{}'::text), evq_schedule('n', '@daily', 'task', 'SIDE', 7);
	SELECT evq_publish('task', 'SIDE', 'x y') IS NOT NULL;
	SELECT jsonb_array_length(evq_http.events('', '{"q": "type:task flow:SIDE"}', NULL, NULL) -> 'events');
	SELECT evq.label('a', E'b\\\\c');
	SELECT count(*) FROM evq_check() WHERE subject = 'privileges' AND severity <> 'ok';
	SELECT count(*) FROM pg_class WHERE relname LIKE 'event_history_2%' AND relkind = 'r' AND relam <> (SELECT oid FROM pg_am WHERE amname = 'heap')}),
	qq{||\nt\n1\na="b\\\\c"\n0\n0}, '... and its functions work under these');

# ---------- a search_path full of traps ----------

make_database($node, 'traps');
$node->safe_psql('traps', q{
	CREATE SCHEMA evil;
	CREATE TABLE evil.caught (what text);
	DO $do$
	DECLARE
		type_name text;
		operator_name text;
		made text;
	BEGIN
		FOREACH type_name IN ARRAY ARRAY['text', 'uuid', 'int2', 'int4', 'int8', 'bool', 'timestamptz', 'interval', 'jsonb', 'float8', '"char"', 'name', 'regclass', 'oid'] LOOP
			FOREACH operator_name IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '||', '~', '!~', '?', '@>'] LOOP
				made := 'trap_' || translate(type_name, '"', '_') || '_' || md5(operator_name);
				EXECUTE format($f$CREATE FUNCTION evil.%I(a %2$s, b %2$s) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped in %2$s %3$s'; END $$$f$, made, type_name, operator_name);
				EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %2$s, RIGHTARG = %2$s, FUNCTION = evil.%3$I)', operator_name, type_name, made);
			END LOOP;
		END LOOP;
		FOREACH made IN ARRAY ARRAY['now()', 'lower(text)', 'to_jsonb(anyelement)', 'format(text, text)', 'quote_literal(text)', 'quote_ident(text)',
			'current_database()', 'pg_prepared_xact()', 'cardinality(anyarray)', 'array_position(anyarray, anyelement)', 'length(text)', 'clock_timestamp()',
			'pg_notify(text, text)', 'upper(text)'] LOOP
			EXECUTE format($f$CREATE FUNCTION evil.%s RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped in %%', %L; END $$$f$, made, made);
		END LOOP;
	END $do$;
	CREATE TABLE evil.event (event_id text);
	CREATE TABLE evil.flow (flow_type text);
	CREATE DOMAIN evil.uuid AS text CHECK (false);
	CREATE DOMAIN evil.jsonb AS text CHECK (false);
	CREATE DOMAIN evil.timestamptz AS text CHECK (false)});
is(($node->psql('traps', q{SET search_path = evil, pg_catalog; SELECT 'a'::text = 'a'::text}))[0], 3, 'the traps bite');

$node->safe_psql('postgres', 'ALTER DATABASE traps SET search_path = evil, pg_catalog, public');
$pid = dispatcher_pid($node, 'traps');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok(wait_for_dispatcher($node, 'traps', $pid), 'hostile search_path: the dispatcher starts');
my ($status, undef, $stderr) = $node->psql('traps', q{
	\set ON_ERROR_STOP 1
	BEGIN; -- the dispatcher does not interfere
	CREATE TEMP TABLE event (event_id text);
	SELECT evq_configure_flow('TRAP', dispatch_timeout => '0.3 s', notify_payload => true);
	SELECT evq_configure('rescue', 'TRAP');
	SELECT evq_configure('trap', 'TRAP', lifespan => '1 min', attempt_delays => '{0}', on_fail_event_type => 'rescue');
	SELECT evq_publish('trap', 'TRAP', 'a', '{"a": 1}', idempotency_key => 'k') AS id \gset
	SELECT evq_publish('trap', 'TRAP', 'a', '{"a": 1}', idempotency_key => 'k') AS id \gset
	SELECT evq_publish_many('[{"event_type": "trap", "flow_id": "b"}, {"event_type": "trap", "flow_id": "c"}]');
	SELECT evq_publish_many('trap', NULL, '{d,e}', ARRAY['{}', '{}']::pg_catalog.jsonb[]);
	SELECT permit FROM evq_acquire(:'id') \gset
	SELECT evq_heartbeat(ARRAY[:'id']::pg_catalog.uuid[], ARRAY[:permit]);
	SELECT evq_suspend(:'id', :permit, '1 min');
	SELECT evq_activate(:'id', '{"b": 2}');
	SELECT evq_event(:'id');
	SELECT permit FROM evq_acquire(:'id') \gset
	SELECT evq_fail(:'id', 'no luck', :permit, 'trace', false);
	SELECT evq_retry(:'id');
	SELECT evq_cancel(:'id');
	SELECT evq_redrive('trap', '-infinity');
	SELECT evq_suspend_event_type('trap');
	SELECT evq_unsuspend_event_type('trap');
	SELECT evq_pending('TRAP'), evq_counts('TRAP'), evq_status(), evq_version();
	SELECT evq_tick();
	SELECT pg_catalog.count(event_id) FROM evq.events;
	SELECT pg_catalog.count(event_type) FROM evq.queue;
	SELECT pg_catalog.count(event_id) FROM evq.errors;
	SELECT pg_catalog.count(verb) FROM evq.transition;
	COMMIT});
is($status, 0, 'every verb goes by the traps') or diag($stderr);
$event = $node->safe_psql('traps', q{SET search_path = public; SELECT evq_publish('trap', NULL, 'last')});
ok(poll_until('dispatched', sub { $node->safe_psql('traps', "SET search_path = public; SELECT state FROM evq.events WHERE event_id = '$event'") eq 'dispatched' }),
	'and so does the dispatcher');
is($node->safe_psql('traps', 'SET search_path = public; SELECT errors, last_error IS NULL FROM evq_status()'), '0|t', 'without errors');

# ---------- a row that evq did not write ----------

make_database($node, 'damaged');
$node->safe_psql('damaged', q{SELECT evq_suspend_event_type('job')});
my $strange = publish($node, 'damaged');
my @others = map { publish($node, 'damaged') } 1 .. 3;
$node->safe_psql('damaged', "UPDATE evq.event SET state = 'z' WHERE event_id = '$strange'");
$log = log_end($node);
$node->safe_psql('damaged', q{SELECT evq_unsuspend_event_type('job')});
ok(wait_for_state($node, 'damaged', $_, 'dispatched'), 'unknown state: the other events are dispatched') for @others;
ok(wait_for_log($node, qr/LOG:  evq: event $strange has an unknown state and is passed over/, $log), 'the row is passed over and logged');
is($node->safe_psql('damaged', "SELECT count(*) FROM evq_acquire('$strange')"), 0, 'nobody can acquire it');
is($node->safe_psql('damaged', "SELECT state IS NULL FROM evq.events WHERE event_id = '$strange'"), 't', 'evq.events shows it');
isnt(($node->psql('damaged', "SELECT evq_$_('$strange')"))[0], 0, "evq_$_() is refused") for qw(succeed cancel activate retry);
ok(is_dispatching($node, 'damaged'), 'work goes on');
my $told = () = slurp_file($node->logfile, $log) =~ /unknown state/g;
$node->safe_psql('damaged', "UPDATE evq.event SET state = 'a' WHERE event_id = '$strange'");
ok(wait_for_state($node, 'damaged', $strange, 'dispatched'), 'corrected by hand it is dispatched');
is($node->safe_psql('damaged', 'SELECT errors FROM evq_status()'), 0, 'none of this was an error');
cmp_ok($told, '<=', 3, 'it is not logged all the time');

# ---------- a payload that cannot be read ----------

$node->safe_psql('damaged', q{
	CREATE EXTENSION pg_surgery;
	SELECT evq_suspend_event_type('job');
	SELECT evq_configure_flow('FLOW', notify_payload => true);
	SELECT evq_cancel(event_id) FROM evq.event;
	DELETE FROM evq.event_payload});
$strange = publish($node, 'damaged', q{(SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 200) n)});
@others = map { publish($node, 'damaged') } 1 .. 3;
my $toast = $node->safe_psql('damaged', q{SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'evq.event_payload'::regclass});
$node->safe_psql('damaged', "SELECT heap_force_kill('$toast'::regclass, array_agg(ctid)) FROM $toast");
is(($node->psql('damaged', "SELECT payload::text FROM evq.event_payload WHERE event_id = '$strange'"))[0], 3, 'the payload is damaged');
$log = log_end($node);
$node->safe_psql('damaged', q{SELECT evq_unsuspend_event_type('job')});
ok(wait_for_state($node, 'damaged', $_, 'dispatched'), 'damaged payload: the other events are dispatched') for @others;
ok(wait_for_log($node, qr/LOG:  evq: event $strange could not be processed and is put off/, $log), 'the event is put off and logged');
ok(is_dispatching($node, 'damaged'), 'work goes on');
wait_for_sweeps('damaged', 10);
cmp_ok(scalar(() = slurp_file($node->logfile, $log) =~ /event $strange could not be processed/g), '<=', 5,
	'... for longer and longer: the sweep does not bring it back at once');

# Many of them, as when a disk is full: the log is not filled.
$node->safe_psql('damaged', q{SELECT evq_suspend_event_type('job')});
my @strange = map { publish($node, 'damaged', q{(SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 200) n)}) } 1 .. 30;
$node->safe_psql('damaged', "SELECT heap_force_kill('$toast'::regclass, array_agg(ctid)) FROM $toast");
$node->safe_psql('damaged', q{SELECT evq_unsuspend_event_type('job')});
ok(is_dispatching($node, 'damaged'), 'many damaged payloads: work goes on');
wait_for_sweeps('damaged', 5);
cmp_ok(scalar(() = slurp_file($node->logfile, $log) =~ /could not be processed/g), '<=', 22, '... and few of them are logged');
$node->safe_psql('damaged', "DELETE FROM evq.event WHERE event_id = '$_'") for $strange, @strange;

# ---------- a dispatcher that fails every time ----------

make_database($node, 'failing');
$node->safe_psql('failing', 'ALTER INDEX evq.event_flow_no_attempt_scheduled_at_idx RENAME TO hidden');
$log = log_end($node);
my $begin = time;
$event = $node->safe_psql('failing', q{
	SELECT DISTINCT ON (evq_publish('job', NULL, n::text)) 1 FROM generate_series(1, 3) n; SELECT event_id FROM evq.event LIMIT 1}) =~ s/.*\n//sr;
my $session = session($node, 'failing');

# Sessions that wake it all the time must not make it try more often.
poll_until('errors', sub {
	$session->query_safe(q{SELECT evq_publish('job', NULL, 'again')});
	return $session->query_safe('SELECT errors FROM evq_status()') >= 5;
}) or fail('the dispatcher fails');
like($session->query_safe('SELECT last_error FROM evq_status()'), qr/event_flow_no_attempt_scheduled_at_idx/, 'evq_status() says why it fails');
$session->query_safe(q{SELECT evq_publish('job', NULL, 'again')}) for 1 .. 50;
my $errors = $session->query_safe('SELECT errors FROM evq_status()');
cmp_ok(0.1 * (2**($errors - 1) - 1), '<=', time - $begin + 0.2, "it backs off: $errors errors");
my $reported = () = slurp_file($node->logfile, $log) =~ /ERROR:/g;
cmp_ok($reported, '<=', $errors + 1, 'each logged once');
ok(is_dispatching($node, 'damaged'), 'other databases are not affected');
$session->query_safe('ALTER INDEX evq.hidden RENAME TO event_flow_no_attempt_scheduled_at_idx');
ok(poll_until('all dispatched', sub { $session->query_safe(q{SELECT count(*) FROM evq.event WHERE state <> 'd'}) eq '0' }),
	'repaired: it goes on, and has lost nothing');
end_session($session);

$node->stop;
done_testing();
