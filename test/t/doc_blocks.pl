# The documentation does what it says: README.md and doc/*.md, read from the
# current folder.
#
# The ```sql blocks of a page run in order in one psql session, in a database
# of their own.  A ```text block right after one is its output; ids, times and
# the width of columns do not count.  The ```sh blocks of doc/workers.md are a
# handler and how to run it, the tables of doc/configuration.md and doc/errors.md
# name what there is.
use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $end_of_block = 'end of a block';
my $wait_for_dispatcher = <<'SQL';
DO $$ BEGIN
	FOR n IN 1 .. 600 LOOP
		EXIT WHEN (evq_status()).running AND EXISTS (SELECT FROM evq.counters());
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
SQL

my $node = PostgreSQL::Test::Cluster->new('documentation');
$node->init;
# A dispatcher for each page.
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'evq'\nTimeZone = 'UTC'\nevq.max_databases = 30\nmax_worker_processes = 40");
$node->start;

sub blocks
{
	my ($page, $language) = @_;
	return $page =~ /^```$language\n(.*?)^```$/msg;
}

# psql prints a notification after any command, so these are compared on their own.
my $notification = qr/^Asynchronous notification .*\n?/m;

# What does not depend on the hour and the place.
sub essence
{
	my ($output) = @_;
	for ($output)
	{
		s/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/ID/g;
		s/\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?[-+]\d\d(:\d\d)?/TIME/g;
		s/\b\d{10,11}\b/PERMIT/g;	# an epoch below 24 and a random number
		s/\bPID \d+/PID/g;
		s/^psql:<stdin>:\d+: //mg;
		s/$notification//g;
		s/-{2,}/-/g;
		s/ {2,}/ /g;
		s/ $//mg;
		s/\n+/\n/g;
		s/^\n|\n$//g;
	}
	return $output;
}

# Begins to run a page's SQL. The pages run at once: most of the time they sleep.
sub start_sql
{
	my ($file, $page) = @_;
	my @blocks = (grep { /CREATE EXTENSION evq;/ } blocks($page, 'sql')) ? () : ({ sql => "CREATE EXTENSION evq;\n" });
	my ($script, $output) = ('');

	while ($page =~ /^```sql\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?/msg)
	{
		push @blocks, { sql => $1, said => $2 };
	}
	for my $sql (map { $_->{sql} } @blocks)
	{
		$script .= $sql . ($sql =~ /CREATE EXTENSION/ ? $wait_for_dispatcher : '') . "SELECT '$end_of_block';\n";
	}
	my $psql = IPC::Run::start(
		[ 'psql', '--no-psqlrc', '--dbname', $node->connstr($file) ],
		'<' => \$script,
		'>' => \$output,
		'2>&1');
	return { file => $file, blocks => \@blocks, psql => $psql, output => \$output };
}

# What a page's psql said, once it has ended.
sub check_sql
{
	my ($run) = @_;
	my ($file, @blocks) = ($run->{file}, @{ $run->{blocks} });

	$run->{psql}->finish or die "psql failed: ${ $run->{output} }";
	my @outputs = split /^ +\?column\? +\n-+\n +\Q$end_of_block\E\n\(1 row\)\n\n/m, ${ $run->{output} };
	my $said = join '', map { $_->{said} // '' } @blocks;

	if ($said =~ $notification)
	{
		is_deeply(
			[ map { essence("- $_") } ${ $run->{output} } =~ /$notification/g ],
			[ map { essence("- $_") } $said =~ /$notification/g ],
			"$file: notifications");
	}
	for my $n (0 .. $#blocks)
	{
		my ($first_line) = $blocks[$n]{sql} =~ /(.*)/;

		if (defined $blocks[$n]{said})
		{
			is(essence($outputs[$n]), essence($blocks[$n]{said}), "$file: $first_line");
		}
		else
		{
			unlike($outputs[$n], qr/^(psql:<stdin>:\d+: )?(ERROR|FATAL|PANIC|invalid|error)/m, "$file: $first_line");
		}
	}
}

# evq-worker, called as the page says, runs the page's handler.
sub check_handler
{
	my ($file, $page) = @_;
	my ($handler, $command) = blocks($page, 'sh');
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my ($name) = $command =~ /(\S+)$/;

	append_to_file("$folder/$name", $handler);
	chmod 0755, "$folder/$name";
	$command =~ s/^(PG\w+=\S+ )+//;
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => $file);
	my $worker = IPC::Run::start([ 'sh', '-c', "cd $folder && exec $command" ],
		'<', '/dev/null', '>&', "$PostgreSQL::Test::Utils::log_path/evq-worker.log");

	ok( $node->poll_query_until($file, <<~SQL),
		SELECT (SELECT state FROM evq.events WHERE event_type = 'BILL' AND flow_id = 'nowhere') = 'failed'
			AND (SELECT evq_event(event_id)->'payload' FROM evq.events WHERE event_type = 'BILL_SENT') = '{"attempt": 1}'
		SQL
		"$file: the handler works");
	is($node->safe_psql($file, q{SELECT error_message FROM evq.errors WHERE flow_id = 'nowhere'}),
		'no address', "$file: and fails as it should");
	$worker->signal('TERM');
	ok($worker->finish, "$file: evq-worker ends when told to");
	return;
}

# The first cells of the tables' rows that match, in order.
sub first_cells
{
	my ($page, $pattern) = @_;
	return sort $page =~ /^\| `($pattern)` \|/mg;
}

my %pages = map { $_ => slurp_file($_) } 'README.md', glob('doc/*.md');

for my $file (sort keys %pages)
{
	$node->safe_psql('postgres', qq(CREATE DATABASE "$file"));
}
check_sql($_) for map { start_sql($_, $pages{$_}) } sort keys %pages;

check_handler('doc/workers.md', $pages{'doc/workers.md'});

# Who pastes a block knows as whom.
unlike($pages{$_}, qr/\A(?!.*(?:superuser|a member of)).*^```sql/ms, "$_ says as which role its blocks run") for grep { $pages{$_} =~ /^```sql/m } sort keys %pages;

my @settings = split /\n/, $node->safe_psql('README.md', <<~'SQL');
	SELECT format('%s | %s', name, boot_val) FROM pg_settings
	WHERE name LIKE 'evq.%' AND name NOT LIKE 'evq.debug%' ORDER BY 1
	SQL
is_deeply(
	[ map { s/` \|/ |/r } sort $pages{'doc/configuration.md'} =~ /^\| `(evq\.[a-z_]+` \| \w+) \|/mg ],
	\@settings, 'doc/configuration.md has every setting with its default');

my @columns = split /\n/, $node->safe_psql('README.md', <<~'SQL');
	SELECT DISTINCT attname FROM pg_attribute
	WHERE attrelid IN ('evq.event_types'::regclass, 'evq.flows'::regclass) AND attnum > 0 AND attname <> 'event_type'
	ORDER BY 1
	SQL
my ($configuration) = $pages{'doc/configuration.md'} =~ /^## Event types and flows\n(.*?)^## /ms;
is_deeply([ first_cells($configuration, '[a-z_]+') ], \@columns, '... and every column of configuration');

my @errors = split /\n/, $node->safe_psql('README.md', <<~'SQL');
	SELECT DISTINCT (regexp_matches(description, 'EQ\d\d\d', 'g'))[1] FROM pg_description ORDER BY 1
	SQL
is_deeply([ first_cells($pages{'doc/errors.md'}, 'EQ\d{3}') ], \@errors, 'doc/errors.md has every SQLSTATE');

$node->stop;
done_testing();
