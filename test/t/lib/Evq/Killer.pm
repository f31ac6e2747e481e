
=head1 NAME

Evq::Killer - kill -9, again and again, of whatever runs

=cut

package Evq::Killer;

use strict;
use warnings;

use Exporter qw(import);
use List::Util qw(shuffle);
use Test::More ();
use Time::HiRes qw(sleep time);

use Evq::Server qw(kill_process kill_server wait_for_dispatcher);

our @EXPORT_OK = qw(rampage);

my %strikes = (
	backend    => sub { return kill_process($_[0], "backend_type = 'client backend'") },
	dispatcher => sub { wait_for_dispatcher($_[0]); return kill_process($_[0], "backend_type = 'evq dispatcher'") },
	launcher   => sub { return kill_process($_[0], "backend_type = 'evq launcher'") },
	postmaster => sub { kill_server($_[0]); return 1 },
);

# rampage(NODE, while => CONDITION, every => [shortest, longest] seconds): each kind in turn, in random order, one
# round after the other. Returns how many of each kind it killed.
sub rampage
{
	my ($node, %options) = @_;
	my ($shortest, $longest) = @{ $options{every} };
	my %killed = map { $_ => 0 } keys %strikes;
	my @next;

	for (;;)
	{
		my $strike_at = time + $shortest + rand($longest - $shortest);

		while (time < $strike_at)
		{
			return \%killed unless $options{while}->();
			sleep 0.1;
		}
		@next = shuffle keys %strikes unless @next;
		my $kind = shift @next;
		$killed{$kind}++ if $strikes{$kind}->($node);
		Test::More::note("killed a $kind");
	}
}

1;
