# evq-gateway: publishes of many clients that wait are one call in the database, and each of them is as it would be alone.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Gateway;
use Evq::Server qw(make_server);
use Evq::Test qw(end_session session);

my $node = make_server('main');
sub query { return $node->safe_psql('postgres', $_[0]) }
query(q{
	SELECT evq_configure_flow('FLOW_P', delivery => 'pull'), evq_configure('PULLED', 'FLOW_P', 3, '1 hour'), evq_configure('OTHER', 'FLOW_P', 3, '1 hour');
	SELECT evq_configure_flow('FLOW_O', delivery => 'pull', ordered => true), evq_configure('ORDERED', 'FLOW_O', 3, '1 hour')});
my $gateway = Evq::Gateway->new_ready($node, '--connections', 1);

sub begin
{
	my (@request) = @_;
	my $socket = $gateway->socket;

	syswrite $socket, $gateway->request_bytes('POST', '/api/events', @request);
	return $socket;
}

sub status { my ($answer, $status, $what) = @_; return is($answer->{status}, $status, $what) || diag $answer->{bytes} }
sub event { my ($flow_id, %more) = @_; return { event_type => 'PULLED', flow_id => $flow_id, %more } }

# The statement that the session for publishes had last.
sub last_statement { return query(q{SELECT query FROM pg_stat_activity WHERE application_name = 'evq-gateway' AND query ~ 'evq_http.publish' ORDER BY state_change DESC LIMIT 1}) }

# While the one session for publishes stands still requests come, and it does the first of them alone, and then all others together.
# A request is its body and its headers.
sub publish_together
{
	my (@requests) = @_;

	status($gateway->post('/api/events', event('first')), 201, 'one alone');
	like(last_statement(), qr/evq_http\.publish\(/, '... is called alone');
	my $session = query(q{SELECT pid FROM pg_stat_activity WHERE application_name = 'evq-gateway' AND state = 'idle' AND query ~ 'evq_http.publish\(' ORDER BY state_change DESC LIMIT 1});
	my @begun;

	kill 'STOP', $session or die "no session $session";
	for my $request ([ event('alone') ], @requests)
	{
		push @begun, begin(@$request);
		# What was sent before a page was asked for has come when the page has.
		$gateway->get('/') for 1 .. 2;
	}
	kill 'CONT', $session;
	my ($alone, @answers) = map { Evq::Gateway::read_answer($_) } @begun;
	status($alone, 201, '... and one that the others waited for');
	return @answers;
}

sub statuses { return join ' ', map { $_->{status} } @_ }
sub stored { return query("SELECT count(*), count(DISTINCT xmin::text) FROM evq.event WHERE flow_id = '$_[0]'") }
my $in_one = qr/evq_http\.publish_each\(/;

# ---------- as rows ----------

my @payloads = (1, '"two"', '{"three": "}, {"}', '["\\\\", "\"", "\u00e4"]', 'null');
my @answers = publish_together(map { [ qq({"event_type": "PULLED", "flow_id": "together", "payload": $_}) ] } @payloads);
is(statuses(@answers), '201 201 201 201 201', 'publishes that waited');
like(last_statement(), $in_one, '... were one call');
is(stored('together'), '5|1', '... and one transaction');
for my $n (0 .. $#payloads)
{
	my $payload = query("SELECT payload FROM evq.payloads WHERE event_id = '$answers[$n]{json}{event_id}'");
	is(query("SELECT '$payload'::jsonb = coalesce(nullif(" . query("SELECT quote_literal('$payloads[$n]')") . "::jsonb, 'null'), '{}')"), 't', "... each with the id of its own event, that of $payloads[$n]");
}
my $alone = $gateway->post('/api/events', event('together'));
is($answers[0]{bytes} =~ s/[0-9a-f-]{36}|^Date: .*?$//gmr, $alone->{bytes} =~ s/[0-9a-f-]{36}|^Date: .*?$//gmr, '... and the answer that one alone has');

@answers = publish_together(map { [ { event_type => $_, flow_id => "mixed-$_" } ] } qw(PULLED ORDERED OTHER ORDERED));
is(statuses(@answers), '201 201 201 201', 'publishes of several types and flows');
like(last_statement(), $in_one, '... were one call, too');
is(query(q{SELECT string_agg(event_id::text, ' ' ORDER BY attempt_scheduled_at, event_id) FROM evq.event WHERE flow_id = 'mixed-ORDERED'}), "$answers[1]{json}{event_id} $answers[3]{json}{event_id}", '... in the order in which they came');

# ---------- bad ones ----------

my @bad = (
	[ 'an unknown type', 400, { event_type => 'NONE_SUCH', flow_id => 'bad' } ],
	[ 'no JSON', 400, '{"event_type": "PULLED", "flow_id": "bad"' ],
	[ 'two objects', 400, '{"event_type": "PULLED", "flow_id": "bad"}, {"event_type": "PULLED", "flow_id": "bad"}' ],
	[ 'an array', 400, '[{"event_type": "PULLED", "flow_id": "bad"}]' ],
	[ 'no body', 400, undef ],
	[ 'null', 400, 'null' ],
	[ 'no object', 400, '"PULLED"' ],
	[ 'no character', 400, qq({"event_type": "PULLED", "flow_id": "bad", "payload": "\xff"}) ],
	[ 'an unknown key', 400, { event_type => 'PULLED', flow_id => 'bad', nothing => 1 } ],
	[ 'two keys', 400, event('bad', idempotency_key => 'one'), 'Idempotency-Key' => 'two' ],
	[ 'an empty key', 400, event('bad'), 'Idempotency-Key' => '' ]);
for my $case (@bad)
{
	my ($what, $status, @request) = @$case;
	my $apart = $gateway->post('/api/events', @request);

	@answers = publish_together([ event("beside $what") ], \@request, [ event("beside $what") ]);
	is(statuses(@answers), "201 $status 201", "$what beside others: it alone is refused");
	is_deeply($answers[1]{json}, $apart->{json}, '... as when it comes alone');
	is(stored("beside $what"), '2|2', '... and the others are there, once');
}
is(stored('bad'), '0|0', 'what was refused is not there');

# ---------- idempotency keys ----------

my $keyed = $gateway->post('/api/events', event('keyed'), 'Idempotency-Key' => 'k1')->{json}{event_id};
@answers = publish_together(
	[ event('keyed'), 'Idempotency-Key' => 'k1' ], [ event('keyed', idempotency_key => 'k1') ],
	[ event('keyed'), 'Idempotency-Key' => 'k2' ], [ event('keyed', idempotency_key => 'k2'), 'Idempotency-Key' => 'k2' ], [ event('keyless') ]);
is(statuses(@answers), '201 201 201 201 201', 'publishes with keys');
like(last_statement(), $in_one, '... were one call');
is_deeply([ map { $_->{json}{event_id} } @answers[ 0, 1 ] ], [ $keyed, $keyed ], '... a key that was used before is that of the first event');
is($answers[3]{json}{event_id}, $answers[2]{json}{event_id}, '... and two with the same key are one event');
is(stored('keyed'), '2|2', '... which is there once');
is(stored('keyless'), '1|1', '... as is the one without a key');
@answers = publish_together([ event('other'), 'Idempotency-Key' => 'k1' ], [ event('other') ], [ event('other'), 'Idempotency-Key' => 'k3' ]);
is(statuses(@answers), '409 201 201', 'a key that was used with other content is refused, beside others that are not');
is(stored('other'), '2|2', '... which are there');

# A key that waits for another transaction: what was with it does not.
my $holder = session($node, 'postgres');
$holder->query_safe('BEGIN');
$holder->query_safe(q{SELECT evq_publish('PULLED', NULL, 'held', idempotency_key => 'held')});
my $waits;
{
	my $session = query(q{SELECT pid FROM pg_stat_activity WHERE application_name = 'evq-gateway' AND state = 'idle' AND query ~ 'evq_http.publish' ORDER BY state_change DESC LIMIT 1});
	kill 'STOP', $session or die "no session $session";
	my ($first, @others);
	for my $request ([ event('ahead') ], [ event('held'), 'Idempotency-Key' => 'held' ], [ event('beside held') ], [ event('beside held') ])
	{
		push @others, begin(@$request);
		$gateway->get('/') for 1 .. 2;
	}
	($first, $waits, @others) = @others;
	kill 'CONT', $session;
	is(statuses(map { Evq::Gateway::read_answer($_) } $first, @others), '201 201 201', 'beside one that waits for a key the others are answered');
}
$holder->query_safe('ROLLBACK');
status(Evq::Gateway::read_answer($waits), 201, '... and it is when the key is free');
is(stored('held'), '1|1', '... once');
end_session($holder);

# ---------- large ones ----------

my $large = 'x' x 100_000;
@answers = publish_together([ event('large', payload => 1) ], [ event('large', payload => $large) ], [ event('large', payload => 2) ]);
is(statuses(@answers), '201 201 201', 'a large one beside others');
is(stored('large'), '3|1', '... has their transaction');
is(join(' ', map { length query("SELECT payload FROM evq.payloads WHERE event_id = '$_->{json}{event_id}'") } @answers), '1 100002 1', '... and its own payload');

# ---------- as a batch ----------

query('ALTER SYSTEM SET evq.store_batches_from = 4');
query('SELECT pg_reload_conf()');
Evq::Gateway::wait_until('the setting', sub { query('SHOW evq.store_batches_from') eq '4' });
@answers = publish_together(map { [ event('in a batch', payload => $_) ] } 1 .. 6);
is(statuses(@answers), '201 201 201 201 201 201', 'alike ones where batches are stored');
is(query(q{SELECT count(*), (SELECT count(*) FROM evq.batch) FROM evq.log WHERE flow_id = 'in a batch'}), '6|1', '... are one');
is(join(' ', map { $gateway->get("/api/events/$_->{json}{event_id}")->{json}{payload} } @answers), '1 2 3 4 5 6', '... and each has the id of its own event');
@answers = publish_together(map { [ event('beside a batch', payload => $_), $_ == 3 ? ('Idempotency-Key' => 'in no batch') : () ] } 1 .. 8);
is(statuses(@answers), join(' ', (201) x 8), 'one with a key among them');
is(query(q{SELECT count(*) FROM evq.log WHERE flow_id = 'beside a batch'}) . '|' . stored('beside a batch'), '5|3|1', '... has a row of its own');
is(join(' ', map { $gateway->get("/api/events/$_->{json}{event_id}")->{json}{payload} } @answers), '1 2 3 4 5 6 7 8', '... and each has its id');
query('ALTER SYSTEM RESET evq.store_batches_from');
query('SELECT pg_reload_conf()');

# ---------- a function that is another ----------

my $each = 'evq_http.publish_each(bodies jsonb[], idempotency_keys text[])';
query('ALTER FUNCTION evq_http.publish_each RENAME TO kept_each');
is(statuses(publish_together(map { [ event('without', payload => $_) ] } 1 .. 3)), '201 201 201', 'without the function for all each is called alone');
is(stored('without'), '3|3', '... and there once');
query("CREATE FUNCTION $each RETURNS SETOF jsonb BEGIN ATOMIC SELECT a::jsonb FROM evq_http.kept_each(bodies, idempotency_keys) a; END");
for my $time (1 .. 2)
{
	is(statuses(publish_together(map { [ event("another $time", payload => $_) ] } 1 .. 3)), '201 201 201', "one of another type in its place, the time $time");
}
is(stored('another 2'), '3|1', '... is prepared anew');
query("DROP FUNCTION evq_http.publish_each; CREATE FUNCTION $each RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT a::jsonb FROM evq_http.kept_each(bodies, idempotency_keys) a LIMIT 1'");
@answers = publish_together(map { [ event('too few', payload => $_) ] } 1 .. 3);
is(statuses(@answers), '201 503 503', 'for whom it has no answer it is not known what was done');
query('DROP FUNCTION evq_http.publish_each; ALTER FUNCTION evq_http.kept_each RENAME TO publish_each');
is(statuses(publish_together(map { [ event('again', payload => $_) ] } 1 .. 3)), '201 201 201', 'and the first one again');

is($gateway->stop, 0, 'it stops');
done_testing();
