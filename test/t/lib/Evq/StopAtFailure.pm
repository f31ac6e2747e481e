
=head1 NAME

Evq::StopAtFailure - ends a test at its first failure: for who only wants to know whether there is one

=cut

package Evq::StopAtFailure;

use strict;
use warnings;

use Test2::API qw(test2_add_callback_context_init test2_stack);

my $is_listening = 0;

test2_add_callback_context_init(
	sub {
		return if $is_listening++;
		test2_stack()->top->listen(sub { my ($hub, $event) = @_; exit 1 if $event->causes_fail }, inherit => 0);
	});

1;
