# doc/http.md does what it says: its ```sh blocks run in order in one shell, against a gateway; the block right after one
# is what it prints. Ids, times and permits do not count. Its routes are all there are.
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
wait_for_dispatcher($node);
my $gateway = Evq::Gateway->new_ready($node);
my $page = slurp_file('doc/http.md');

sub essence
{
	my ($text) = @_;

	for ($text)
	{
		s/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/ID/g;
		s/\b\d{4}-\d\d-\d\dT[\d:.]+(\+00:00|Z)/TIME/g;
		s/\b\d{10,}\b/PERMIT/g;
		s/\s+$//mg;
	}
	return $text;
}

my (@blocks, $output);
while ($page =~ /^```sh\n(.*?)^```\n(?:\n```(?:json|text)\n(.*?)^```\n)?/msg)
{
	push @blocks, { script => $1, says => $2 // '' };
}
my $script = "URL=http://localhost:$gateway->{port}\n" . join '', map { "$_->{script}echo END OF BLOCK\n" } @blocks;
IPC::Run::run([ 'bash', '-u' ], '<', \$script, '>', \$output, '2>&1');
my @outputs = split /^END OF BLOCK\n/m, $output;

cmp_ok(scalar @blocks, '>', 10, 'there are examples');
for my $n (0 .. $#blocks)
{
	my ($first_line) = $blocks[$n]{script} =~ /(.*)/;
	is(essence($outputs[$n]), essence($blocks[$n]{says}), $first_line);
}

my ($routes) = run_command([ 'evq-gateway', '--routes' ]);
for my $route (split /\n/, $routes)
{
	my ($method, $path) = split / /, $route;
	my $last = $path =~ m{\}/([a-z]+)$} ? $1 : undef;
	ok($page =~ /`$method \Q$path\E`/ || ($last && $page =~ m{`/?$last`}), "$method $path is described");
}
my ($help) = run_command([ 'evq-gateway', '--help' ]);
my %options = map { $_ => 1 } $help =~ /--([a-z-]+)/g;
my ($folder) = run_command([ 'pg_config', '--mandir' ]);
my $manual = slurp_file("$folder/man1/evq-gateway.1") =~ s/\\-/-/gr;
is_deeply([ sort keys %{ { map { $_ => 1 } $manual =~ /--([a-z-]+)/g } } ], [ sort keys %options ], 'the man page has the options');
for my $file (glob 'doc/*.md')
{
	my @named = map { /evq-gateway|`--/ ? /(?<![\w-])--([a-z][a-z-]+)/g : () } split /\n/, $file =~ /http|security/ ? slurp_file($file) : '';
	is_deeply([ grep { !$options{$_} } @named ], [], "$file names options that there are") if @named;
}

is($gateway->stop, 0, 'it stops');
done_testing();
