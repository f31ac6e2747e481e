# evq-gateway pointed at a standby: the reads of the web UI work there, and what writes is refused.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server make_standby wait_for_result);

my $primary = make_server('primary', allows_streaming => 1);
my $standby = make_standby($primary, 'standby');
$standby->start;
$primary->safe_psql('postgres', q{SELECT evq_configure('STEP', 'FLOW_B', 3)});
my ($parcel) = split /\n/, $primary->safe_psql('postgres', q{
	SELECT evq_configure_flow('BULK', delivery => 'pull') \gset
	SELECT evq_configure('PARCEL', 'BULK') \gset
	SET evq.store_batches_from = 1;
	SELECT evq_publish_many('PARCEL', NULL, '{a,b}', ARRAY[jsonb '{"a": 3}', '{"a": 4}'])});
my $event = $primary->safe_psql('postgres', q{SELECT evq_publish('STEP', NULL, 'x', '{"a": 1}')});
wait_for_result($primary, "SELECT state FROM evq.events WHERE event_id = '$event'", 'dispatched');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

my $gateway = Evq::Gateway->new($standby);
Evq::Gateway::wait_until('the gateway to have its database', sub { $gateway->get('/api/counts')->{status} == 200 });
for my $path (
	qw(/ /metrics /api/counts /api/flows /api/event-types /api/errors /api/schedules /api/events /api/events/pending/FLOW_B),
	"/api/events/$event", "/api/events/$parcel", '/api/events/pending/BULK')
{
	is($gateway->get($path)->{status}, 200, "GET $path works");
}
my $metrics = $gateway->get('/metrics')->{text};
like($metrics, qr/^evq_dispatcher_up 0$/m, 'metrics say that no dispatcher runs here');
unlike($metrics, qr/^evq_events\{/m, '... and do not claim to know what the primary counts');
is($gateway->get('/health')->{json}{status}, 'degraded', '... and so does /health');
is($gateway->get("/api/events/$event")->{json}{payload}{a}, 1, 'an event is shown with its payload');
is($gateway->get("/api/events/$parcel")->{json}{payload}{a}, 3, '... one of a batch, too');

for my $request (
	[ '/api/events', { event_type => 'STEP', flow_id => 'y' } ],
	[ "/api/events/$event/acquire", {} ],
	[ '/api/flows/FLOW_B/acquire', {} ],
	[ "/api/events/$event/cancel", {} ],
	[ '/api/event-types/STEP/suspend', {} ])
{
	my $answer = $gateway->post(@$request);
	is("$answer->{status} " . ($answer->{json}{sqlstate} // ''), '503 25006', "POST $request->[0] is refused");
}
my $answer = $gateway->get('/api/stream');
is("$answer->{status} $answer->{json}{sqlstate}", '503 55000', 'so is the live stream: it is the dispatcher that tells of changes');

is($primary->safe_psql('postgres', 'SELECT count(*) FROM evq.events'), 3, 'nothing has changed');
is($gateway->stop, 0, 'the gateway ends well');
$standby->stop;
$primary->stop;
done_testing();
