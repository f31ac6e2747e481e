# The server's queue of notifications is full, because somebody listens and does not read: only the notifications are missing.
# It takes 8 GB of disk, which is what the queue holds.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Evq::Load;
use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my ($free) = `df --output=avail --block-size=1G $PostgreSQL::Test::Utils::tmp_check` =~ /(\d+)$/;
plan skip_all => "the queue takes 8 GB, 12 GB of disk are wanted, $free are free" if $free < 12;

my $node = make_server('main', "evq.poll_interval = '500ms'");
$node->safe_psql('postgres', q{
	CREATE DATABASE other;
	CREATE EXTENSION evq;
	SELECT evq_configure('job', 'FLOW', 100, '1 hour', '{0 s}', attempt_timeout => '1 hour');
	SELECT evq_configure_flow('FLOW', dispatch_timeout => '500 ms')});
wait_for_dispatcher($node, 'postgres');

# Notifies, in transactions of many, until so much of the queue is used. One that is longer than half a page has a page of its own.
sub fill_to
{
	my ($usage) = @_;
	my (undef, $reached, $error) = $node->psql('other', qq{
		DO \$\$
		BEGIN
			WHILE pg_notification_queue_usage() < $usage - 0.02 LOOP
				PERFORM pg_notify('unread', n || repeat('x', 4200)) FROM generate_series(1, 20000) n;
				COMMIT;
			END LOOP;
			WHILE pg_notification_queue_usage() < $usage LOOP
				PERFORM pg_notify('unread', n || repeat('x', 4200)) FROM generate_series(1, 100) n;
				COMMIT;
			END LOOP;
		END
		\$\$;
		SELECT pg_notification_queue_usage()});

	return $error =~ /ERROR/ ? $error : $reached;
}

sub said
{
	return $node->safe_psql('postgres', q{SELECT concat_ws(': ', severity, finding) FROM evq_check() WHERE subject = 'notifications'});
}

my $listener = listen_to($node, 'postgres', 'evq_flow');
publish($node, 'postgres');
is(scalar(wait_for_notifications($listener, 1)) > 0, 1, 'events are notified');
$node->safe_psql('postgres', 'SELECT evq_cancel(event_id) FROM evq.event');
my $heard = notifications($listener);

# ---------- almost full ----------

my $log = log_end($node);
my $stuck = session($node, 'other');
$stuck->query_safe($_) for 'LISTEN unread', 'BEGIN';
my $stuck_pid = $stuck->query_safe('SELECT pg_backend_pid()');
my $began_at = time;
cmp_ok(fill_to(0.9), '>=', 0.9, 'a listener that does not read: the queue is almost full');
my $filled = sprintf 'to 90 %% in %.0f s', time - $began_at;

my $event = publish($node, 'postgres');
ok(wait_for_state($node, 'postgres', $event, 'dispatched'), 'an event is published and dispatched');
ok(wait_for_log($node, qr/WARNING:  evq: workers are not notified: the notification queue is almost full/, $log), '... without notification, which is logged');
like(said(), qr/^error: the notification queue is 9\d\.\d % full/, '... and evq_check() tells of it');
is(scalar(notifications($listener)), $heard, '... and no listener hears of it');
is($node->safe_psql('postgres', q{SELECT event_id FROM evq_acquire_next('FLOW')}), $event, '... but who asks gets it');
$node->safe_psql('postgres', "SELECT evq_cancel('$event')");

# ---------- full ----------

like(fill_to(1.01), qr/too many notifications in the NOTIFY queue/, 'the queue is full: a NOTIFY fails');
# The account is of what comes now.
$node->safe_psql('postgres', 'TRUNCATE evq.event_history');
my $load = Evq::Load->new($node, { flow => 'FLOW', channel => 'evq_flow', fail => { job => 0.1 } });
$load->start_publisher(type => 'job', count => 1000, rate => 200);
$load->start_workers(3);
$load->start_workers(1, by => 'notify');
$load->drain(120);
is($node->safe_psql('postgres', 'SELECT errors, last_error IS NULL FROM evq_status()'), '0|t', 'the dispatcher had no error');
$load->stop;
$load->check;
my $told = () = slurp_file($node->logfile, $log) =~ /workers are not notified/g;
cmp_ok($told, '<=', 2 + (time - $began_at) / 60, "it said so once a minute: $told times");
is(scalar(notifications($listener)), $heard, 'nothing was notified');

# ---------- there is room again ----------

$node->safe_psql('postgres', "SELECT pg_terminate_backend($stuck_pid)");
ok(poll_until('room', sub { $node->safe_psql('other', 'SELECT pg_notification_queue_usage()') < 0.1 }), 'the listener is gone: the queue is empty');
my $late = publish($node, 'postgres');
ok(poll_until('notification', sub { return grep { $_->[1] =~ /$late/ } notifications($listener) }), 'events are notified again');
end_session($listener);
eval { end_session($stuck) };
diag($load->figures, "; the queue was filled $filled");
$node->stop;
done_testing();
