# State changes are told to those who watch, and to nobody else.  The sweep runs once an hour.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_server('main');
make_database($node, 'db');
my $session = session($node, 'db');
my $listener = listen_to($node, 'db', 'evq_events');

sub run { return $session->query_safe($_[0]) }

# The messages so far, as rows of the columns given, without those that a filter leaves out.
sub told
{
	my ($columns, $filter, @messages) = @_;

	return run("SELECT $columns FROM (SELECT *, row_number() OVER () AS n FROM unnest(ARRAY["
			. join(', ', map { "'$_'" } @messages)
			. "]::jsonb[]) AS m) AS told WHERE $filter ORDER BY n");
}

# ---------- nobody has asked ----------

my $unseen = publish($node, 'db', q('"before"'));
ok(wait_for_state($node, 'db', $unseen, 'dispatched'), 'an event is dispatched');

# ---------- a whole life ----------

my $until = run(q{SELECT evq_watch('1 hour') > now() + interval '59 minutes', evq_watch('1 second') > now() + interval '59 minutes'});
is($until, 't|t', 'evq_watch() returns until when; a shorter time does not end a longer one');

my $event = publish($node, 'db', q('"seen"'));
wait_for_notifications($listener, 2);
run(qq{SELECT evq_acquire('$event')});
wait_for_notifications($listener, 3);
run(qq{SELECT evq_fail('$event', 'no')});
wait_for_notifications($listener, 5);
run(qq{SELECT evq_acquire('$event'); SELECT evq_succeed('$event')});
my @messages = wait_for_notifications($listener, 7);
is(told(q{m ->> 'status', m -> 'attempts_used'}, qq{m ->> 'event_id' = '$event'}, @messages), <<'END' =~ s/\n\z//r,
AWAITING_PROCESSING|0
DISPATCHED|0
BEING_PROCESSED|0
AWAITING_PROCESSING|1
DISPATCHED|1
BEING_PROCESSED|1
SUCCEEDED|2
END
	'each state of an event is told once, in order');
is(told('1', qq{m ->> 'event_id' IS DISTINCT FROM '$event'}, @messages), '', 'and nothing of the event before');
is(run("SELECT string_agg(key, ' ' ORDER BY key) FROM jsonb_object_keys('$messages[0]') key"),
	'attempts_used event_id event_type flow_id flow_type seq state_since status', 'with the keys of the documentation');
is(told(q{m ->> 'event_type', m ->> 'flow_type', m ->> 'flow_id', (m ->> 'state_since')::timestamptz <= now()}, 'n = 1', @messages),
	'job|FLOW|case|t', 'and their values');
is(run("SELECT count(DISTINCT split_part(m ->> 'seq', '-', 1)), array_agg(split_part(m ->> 'seq', '-', 2)::int ORDER BY n) = ARRAY[1, 2, 3, 4, 5, 6, 7]"
			. ' FROM unnest(ARRAY[' . join(', ', map { "'$_'" } @messages) . ']::jsonb[]) WITH ORDINALITY AS told (m, n)'),
	'1|t', 'their sequence has no gap');

# ---------- what did not happen ----------

run(q{BEGIN; SELECT evq_publish('job', NULL, 'rolled back'); SAVEPOINT s; SELECT evq_publish('job', NULL, 'twice'); ROLLBACK});
run(q{BEGIN; SELECT evq_publish('job', NULL, 'kept'); SAVEPOINT s; SELECT evq_publish('job', NULL, 'savepoint'); ROLLBACK TO s; COMMIT});
@messages = wait_for_notifications($listener, 9);
is(told(q{m ->> 'flow_id', m ->> 'status'}, 'n > 7', @messages), "kept|AWAITING_PROCESSING\nkept|DISPATCHED", 'what is rolled back is not told');

# ---------- the engine's own doing ----------

run(q{SELECT evq_configure('brief', 'FLOW', 1, '50 ms', on_fail_event_type => 'job'); SELECT evq_publish('brief', NULL, 'expires')});
ok(poll_until('expired', sub {
		@messages = map { $_->[1] } notifications($listener);
		return told(q{m ->> 'status'}, q{m ->> 'event_type' = 'brief'}, @messages) =~ /\bEXPIRED\b/
			&& told(q{m ->> 'status'}, q{m ->> 'event_type' = 'job' AND m ->> 'flow_id' = 'expires'}, @messages) eq "AWAITING_PROCESSING\nDISPATCHED";
	}), 'what the engine expires is told, and its on-fail event');

# ---------- an event that leaves nothing ----------

run(q{SELECT evq_configure('fleeting', 'FLOW', retention => '0 s')});
my $fleeting = run(q{SELECT evq_publish('fleeting', NULL, 'gone')});
run(qq{SELECT evq_succeed('$fleeting', permit) FROM evq_acquire('$fleeting')});
ok(poll_until('succeeded', sub {
		@messages = map { $_->[1] } notifications($listener);
		return told(q{m ->> 'status'}, qq{m ->> 'event_id' = '$fleeting'}, @messages) =~ /\bSUCCEEDED\b/;
	}), 'the success of an event without retention is told');
is(told(q{m ->> 'event_type', m ->> 'flow_type', m ->> 'attempts_used', m ? 'flow_id'}, qq{m ->> 'event_id' = '$fleeting' AND m ->> 'status' = 'SUCCEEDED'}, @messages),
	'fleeting|FLOW|1|f', 'without its flow_id');

# ---------- more than can be followed ----------

my $before = @messages;
run(q{SELECT evq_configure_flow('FLOW', max_dispatched => 10); SELECT count(*) FROM evq_publish_many('job', NULL, array_fill('many'::text, ARRAY[3000]), array_fill('{}'::jsonb, ARRAY[3000]))});
my $sum = q{(SELECT count(*) FILTER (WHERE m ? 'event_id') || ' ' || sum((m ->> 'skipped')::int) FROM unnest(ARRAY[%s]::jsonb[]) AS m)};
ok(poll_until('skipped', sub {
		@messages = map { $_->[1] } notifications($listener);
		splice(@messages, 0, $before);
		return 0 if !@messages;
		my ($one_by_one, $skipped) = split / /, run('SELECT ' . sprintf($sum, join(', ', map { "'$_'" } @messages)));
		return defined $skipped && $one_by_one + $skipped >= 3000;
	}), 'of thousands of changes at once a part is told, the rest is counted');
cmp_ok(scalar(@messages), '<', 1000, 'and not all');

# ---------- bad arguments ----------

for my $duration (q('0'), q('-1 s'), q('61 min'), 'NULL', q('infinity'))
{
	my ($status, undef, $error) = $node->psql('db', "\\set VERBOSITY verbose\nSELECT evq_watch($duration)");
	like($error, qr/EQ006|22007/, "evq_watch($duration) is refused");
}
$node->stop;

done_testing();
