# Random statements by sqlsmith, as an operator: whatever they call, no process crashes, evq has no internal error, and what it stores stays
# sound. EVQ_SMITH_QUERIES and EVQ_SMITH_SEED say how many and which. Random arguments of each function: sql/bad_arguments.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PostgreSQL::Test::Utils;
use Test::More;

use Evq::Server qw(make_server wait_for_dispatcher wait_for_result);

my ($sqlsmith) = grep { -x } map { "$_/sqlsmith" } split /:/, $ENV{PATH};
plan skip_all => 'sqlsmith is not installed' unless $sqlsmith;
plan skip_all => 'ENGINE_SOURCES does not name the source files; test/run does it' unless $ENV{ENGINE_SOURCES};

my $queries = $ENV{EVQ_SMITH_QUERIES} // 8000;
my $seed = $ENV{EVQ_SMITH_SEED} // 1;
my $longest = 300;

my $node = make_server('main', conf => <<'END');
log_error_verbosity = verbose
track_functions = all
log_min_error_statement = panic
log_line_prefix = '%m [%p] %q%a '
evq.poll_interval = 200ms
END

# sqlsmith wants tables that it may write; what stands in them are arguments.
$node->safe_psql('postgres', q{
	SELECT evq_configure('job', 'FLOW', 5, '1 hour', '{0 s}');
	SELECT evq_configure('other', 'ORDERED', 5, '1 hour', '{0 s}', on_fail_event_type => 'last') FROM (SELECT evq_configure('last', 'ORDERED')) AS c;
	SELECT evq_configure_flow('ORDERED', ordered => true);
	CREATE ROLE smith LOGIN IN ROLE evq_publisher, evq_worker, evq_operator, evq_monitor;
	CREATE SCHEMA smith AUTHORIZATION smith;
	SET ROLE smith;
	-- sqlsmith calls what it finds in pg_proc: evq's functions, and others that make values of their types.
	CREATE VIEW smith.pg_proc AS SELECT p.* FROM pg_catalog.pg_proc p
	WHERE proname ~ '^evq_' OR (pronamespace = 'evq_http'::regnamespace AND proargnames[1] IN ('target', 'headers'))
		OR (pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'i' AND prokind = 'f' AND oid::bigint % 5 = 0
		AND NOT EXISTS (SELECT FROM unnest(proargtypes || prorettype) AS t WHERE t::regtype::text !~ '^(uuid|text|bigint|integer|smallint|boolean|jsonb|interval|timestamp with time zone|double precision)'));
	CREATE TABLE smith.held AS SELECT event_id, permit, flow_type, event_type, flow_id, payload, attempt_due_at, due_at, interval '1 s' AS duration, true AS yes, ARRAY[event_id] AS event_ids,
		ARRAY[permit] AS permits, ARRAY[event_type] AS event_types, 5 AS few, 'nightly'::text AS name, jsonb_build_array(jsonb_build_object('event_type', event_type, 'flow_id', flow_id)) AS events
	FROM generate_series(1, 100) n, LATERAL evq_acquire(evq_publish('job', NULL, n::text, to_jsonb(n)));
	CREATE TABLE smith.waiting AS SELECT event_id, 'other'::text AS event_type, ARRAY[event_id] AS event_ids, now() AS run_at
	FROM evq_publish_many('other', NULL, array_fill('case'::text, '{100}'), array_fill('{}'::jsonb, '{100}')) AS event_id});
wait_for_dispatcher($node);

my $log = -s $node->logfile;
my $connection = $node->connstr('postgres') . " user=smith options='-c search_path=smith,public,pg_catalog -c statement_timeout=1s -c lock_timeout=1s -c idle_in_transaction_session_timeout=10s'";
my ($said, $error) = ('', '');
IPC::Run::run([ 'timeout', $longest, $sqlsmith, "--target=$connection", "--seed=$seed", "--max-queries=$queries", '--exclude-catalog' ],
	'<', '/dev/null', '>', \$said, '2>', \$error);
my $status = $? >> 8;
ok($status == 0 || $status == 124, 'sqlsmith comes to its end') or diag(substr $error, -2000);

my $text = slurp_file($node->logfile, $log);
unlike($text, qr/PANIC:|TRAP:|terminated by signal|server process .* was terminated/, 'no process crashed');

# An entry of the log is what stands before the next time.
my %ours = map { $_ => 1 } split / /, $ENV{ENGINE_SOURCES};
my @entries = split /\n(?=\d{4}-\d\d-\d\d [\d:.]+ \w+ \[)/, $text;
my @errors = grep { /(?:ERROR|FATAL):/ } @entries;
my (%by_code, @internal, $elsewhere);
for my $index (0 .. $#entries)
{
	next unless $entries[$index] =~ /(?:ERROR|FATAL):  (\w{5}): /;
	$by_code{$1}++;
	next unless $1 =~ /^XX/;
	my $whole = join "\n", @entries[ $index .. ($index + 3 > $#entries ? $#entries : $index + 3) ];
	my ($file) = $whole =~ /LOCATION:  \w+, (\w+\.c):/;
	if (($ours{ $file // '' } // 0) || $whole =~ /CONTEXT:.*\bevq/) { push @internal, $whole }
	else { $elsewhere++ }
}
is(join("\n", @internal), '', 'evq had no internal error');
my $calls = $node->safe_psql('postgres', q{SELECT count(*), coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE schemaname = 'public' AND funcname ~ '^evq_'});
my ($functions, $times) = split /\|/, $calls;
cmp_ok($functions, '>', 20, 'many of its functions were called');

# ---------- what it left ----------

is($node->safe_psql('postgres', q{
	SELECT 'in two tables', count(*) FROM evq.event JOIN evq.event_history USING (event_id) HAVING count(*) > 0
	UNION ALL SELECT 'twice', count(*) FROM (SELECT FROM evq.events GROUP BY event_id HAVING count(*) > 1) AS t HAVING count(*) > 0
	UNION ALL SELECT 'without payload', count(*) FROM evq.events e LEFT JOIN evq.payloads p USING (event_id) WHERE p.event_id IS NULL HAVING count(*) > 0
	UNION ALL SELECT 'without state', count(*) FROM evq.events WHERE state IS NULL OR event_type IS NULL OR flow_type IS NULL HAVING count(*) > 0
	UNION ALL SELECT 'without child', count(*) FROM (SELECT unnest(spinoff_ids) AS event_id FROM evq.events) AS c LEFT JOIN evq.events e USING (event_id) WHERE e.event_id IS NULL HAVING count(*) > 0
	UNION ALL SELECT 'live and finished', count(*) FROM evq.event_history h WHERE h.finished_at IS NULL HAVING count(*) > 0}), '', 'what evq stores is sound');
$node->safe_psql('postgres', 'SELECT evq_resume()');
wait_for_dispatcher($node);
is($node->safe_psql('postgres', 'SELECT errors, last_error FROM evq_status()'), '0|', 'the dispatcher had no error');
is($node->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', subject, finding), ', ') FROM evq_check() WHERE severity = 'error' AND subject <> 'durability'}), '', 'evq_check() finds no error');
$node->safe_psql('postgres', q{SELECT evq_configure('fresh', 'FRESH')});
my $event = $node->safe_psql('postgres', q{SELECT evq_publish('fresh', NULL, 'x')});
wait_for_result($node, "SELECT state FROM evq.events WHERE event_id = '$event'", 'dispatched');
pass('the engine works');
diag(sprintf '%d statements of seed %d: %d calls of %d functions of evq; errors: %d, %d internal ones of PostgreSQL, evq\'s %s',
	$queries, $seed, $times, $functions, scalar @errors, $elsewhere // 0, join(' ', map { "$_ $by_code{$_}" } grep { /^EQ/ } sort keys %by_code));
$node->stop;
done_testing();
