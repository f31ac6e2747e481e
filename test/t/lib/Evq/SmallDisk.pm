
=head1 NAME

Evq::SmallDisk - a disk that can be made full

=head1 SYNOPSIS

    my $disk = Evq::SmallDisk->mine(128) or plan skip_all => 'no disk can be mounted here';
    $disk->fill;
    $disk->make_space;

It is a file system in memory that only this test and its children see: the test
runs itself again in a mount namespace of its own, where the kernel lets it.

=cut

package Evq::SmallDisk;

use strict;
use warnings;

use POSIX qw(ENOSPC);
use PostgreSQL::Test::Utils;
use Test::More ();

# mine(MEGABYTES): the disk; undef where it is not permitted. Does not return at first: the test begins again.
sub mine
{
	my ($class, $megabytes) = @_;
	my $folder = "$PostgreSQL::Test::Utils::tmp_check/small_disk";
	my @unshare = qw(unshare --user --map-current-user --mount --keep-caps);

	return bless { folder => $folder, ballast => "$folder/ballast" }, $class if $ENV{EVQ_SMALL_DISK};
	mkdir $folder;
	return undef if system("@unshare mount -t tmpfs evq $folder 2>/dev/null") != 0;
	$ENV{EVQ_SMALL_DISK} = 1;
	open STDOUT, '>&', Test::More->builder->output or die "stdout: $!";
	open STDERR, '>&', Test::More->builder->failure_output or die "stderr: $!";
	exec @unshare, 'sh', '-ec',
	  'mount -t tmpfs -o "size=$1m,mode=0700" evq "$2"; shift 2; exec setpriv --inh-caps=-all --ambient-caps=-all "$@"',
	  'sh', $megabytes, $folder, $^X, $0
	  or die "unshare: $!";
}

sub folder
{
	my ($self) = @_;

	return $self->{folder};
}

# Takes what is left, and what became free since.
sub fill
{
	my ($self) = @_;

	open my $file, '>>', $self->{ballast} or die "$self->{ballast}: $!";
	for my $size (1 << 20, 4096)
	{
		1 while syswrite $file, "\0" x $size;
		$! == ENOSPC or die "$self->{ballast}: $!";
	}
	return;
}

sub make_space
{
	my ($self) = @_;

	unlink $self->{ballast} or die "$self->{ballast}: $!";
	return;
}

1;
