# A handler that writes to the same database and reports in the same
# transaction: its effect is there exactly once, under kills and under permits
# that run out while the work goes on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Evq::Killer qw(rampage);
use Evq::Load;
use Evq::Server qw(make_server);

my $node = make_server('main', conf => 'evq.store_batches_from = 2');
$node->safe_psql(
	'postgres', q{
	SELECT evq_configure_flow('PAYMENTS', dispatch_timeout => '1 s');
	SELECT evq_configure('PAY', 'PAYMENTS', 1000, '1 day', '{0 s}', attempt_timeout => '2 s');
	SELECT evq_configure_flow('BULK', delivery => 'pull', dispatch_timeout => '1 s');
	SELECT evq_configure('PAY_BULK', 'BULK', 1000, '1 day', '{0 s}', attempt_timeout => '2 s');
	CREATE TABLE account (number int PRIMARY KEY, balance bigint NOT NULL DEFAULT 0);
	INSERT INTO account SELECT n FROM generate_series(0, 19) n;
	CREATE TABLE entry (event_id uuid NOT NULL, account int NOT NULL, amount int NOT NULL);
});

my $load = Evq::Load->new(
	$node,
	{   flow    => 'PAYMENTS',
		channel => 'evq_payments',
		fail    => { PAY => 0.1, PAY_BULK => 0.02 },
		dawdle  => 0.1,
		bear    => ['40P01'],    # after a kill, a report is repeated beside that of the next worker
		accounts => 20,          # their order is that in which a transaction changes several
		effect  => q{
			WITH paid AS (
				UPDATE account SET balance = balance + (%(payload)s::jsonb ->> 'amount')::int
				WHERE number = (%(payload)s::jsonb ->> 'number')::int %% 20
				RETURNING number
			)
			INSERT INTO entry SELECT %(event_id)s, number, (%(payload)s::jsonb ->> 'amount')::int FROM paid}
	});
$node->safe_psql('postgres', 'GRANT SELECT, INSERT, UPDATE ON account, entry TO load_worker');
$load->start_publisher(type => 'PAY', count => 1500, rate => 60);
$load->start_publisher(type => 'PAY_BULK', flow => 'BULK', count => 2000, rate => 80, together => 20);
$load->start_workers(6);
$load->start_workers(2, by => 'token', batch => 10, flow => 'BULK');
$load->start_workers(2, by => 'many',  batch => 10, flow => 'BULK');
$load->start_workers(2, by => 'notify');
my $killed = rampage($node, while => sub { return !$load->is_published }, every => [ 0.5, 2 ]);
$load->drain(150);
$load->stop;
$load->check;

$load->none('every event succeeded', q{FROM load_event WHERE state <> 'succeeded'});
$load->none('every event has one entry', q{
	FROM (SELECT e.event_id, (SELECT count(*) FROM entry n WHERE n.event_id = e.event_id) AS entries FROM load_event e) AS events
	WHERE entries <> 1});
$load->none('every entry is of an event, and right', q{
	FROM entry LEFT JOIN evq.payloads p USING (event_id) WHERE (p.payload ->> 'amount')::int IS DISTINCT FROM amount});
$load->none('every balance is the sum of its entries', q{
	FROM (SELECT number, balance, (SELECT coalesce(sum(amount), 0) FROM entry WHERE account = number) AS sum FROM account) AS a
	WHERE balance <> sum});
cmp_ok($load->count(q{FROM load_worker_log WHERE what = 'refused'}), '>', 0, 'permits ran out at work');
cmp_ok($load->count(q{FROM evq.batch_event WHERE state = 's'}), '>', 0, 'events of batches succeeded in them');
cmp_ok($load->count(q{FROM evq.exception x JOIN evq.event_history USING (event_id) WHERE x.state = 'm'}), '>', 0, '... and others outside of theirs');
diag($load->figures, '; kills: ', join ', ', map { "$killed->{$_} $_" } sort keys %$killed);
$node->stop;
done_testing();
