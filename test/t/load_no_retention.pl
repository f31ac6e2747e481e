# An event type without retention, under kills: each event succeeds exactly once, and nothing is left of any.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IPC::Run;
use Test::More;

use Evq::Killer qw(rampage);
use Evq::Server qw(dump_engine make_server wait_until);

my $events = 1200;
my $node = make_server('main');
$node->safe_psql(
	'postgres', qq{
	SELECT evq_configure_flow('FLOW', dispatch_timeout => '1 s');
	SELECT evq_configure('job', 'FLOW', 1000, '1 day', '{0 s}', attempt_timeout => '1 s', retention => '0 s');
	CREATE TABLE wanted (n int PRIMARY KEY, event_id uuid NOT NULL);
	CREATE TABLE entry (event_id uuid NOT NULL);

	-- A hundred a second; goes on where a killed one was. Every third payload is too large for its event's row.
	CREATE PROCEDURE publish() LANGUAGE plpgsql AS \$\$
	BEGIN
		FOR i IN (SELECT coalesce(max(n), 0) + 1 FROM wanted) .. $events LOOP
			INSERT INTO wanted SELECT i, evq_publish('job', NULL, 'case', to_jsonb(repeat('x', i % 3 * 400)), idempotency_key => i::text);
			COMMIT;
			PERFORM pg_sleep(0.01);
		END LOOP;
	END \$\$;

	CREATE PROCEDURE work() LANGUAGE plpgsql AS \$\$
	DECLARE
		event record;
	BEGIN
		LOOP
			SELECT * INTO event FROM evq_acquire_next('FLOW', 1);
			COMMIT;
			EXIT WHEN event IS NULL AND (SELECT count(*) FROM wanted) = $events AND NOT EXISTS (SELECT FROM evq.event);
			IF event IS NULL THEN
				PERFORM pg_sleep(0.01);
				CONTINUE;
			END IF;
			BEGIN
				IF random() < 0.1 THEN
					PERFORM evq_fail(event.event_id, 'once more', event.permit);
				ELSE
					INSERT INTO entry VALUES (event.event_id);
					PERFORM evq_succeed(event.event_id, event.permit);
				END IF;
			EXCEPTION WHEN SQLSTATE 'EQ004' OR SQLSTATE 'EQ002' THEN
				NULL; -- the permit ran out; the event may be gone by now
			END;
			COMMIT;
		END LOOP;
	END \$\$;
});

# A session that calls a procedure, again when it was killed, until that comes to its end.
my @callers = map { my $call = "CALL $_()"; IPC::Run::start([ 'sh', '-c', 'until psql --no-psqlrc --quiet --dbname "$1" --command "$2"; do sleep 0.1; done',
	'sh', $node->connstr('postgres'), $call ], '>', '/dev/null', '2>', '/dev/null') } qw(publish work work work);
my $publishes = sub { return $callers[0]->pumpable };
my $killed = rampage($node, while => $publishes, every => [ 0.3, 1 ]);
my $drained = wait_until(120, sub { return !grep { $_->pumpable } @callers });
dump_engine($node) unless $drained;
$_->kill_kill for $drained ? () : @callers;
ok($drained, 'all events came to their end');

sub count { return $node->safe_psql('postgres', "SELECT count(*) FROM $_[0]") }

is(count('wanted'), $events, 'all were published');
is(count('wanted FULL JOIN entry USING (event_id) WHERE n IS NULL OR entry.event_id IS NULL'), 0, 'each published event succeeded, and no other');
is(count('(SELECT FROM entry GROUP BY event_id HAVING count(*) > 1) twice'), 0, 'none twice');
is(count("evq.$_"), 0, "nothing is left in evq.$_") for qw(event event_payload event_error idempotency event_history);
diag('kills: ', join ', ', map { "$killed->{$_} $_" } sort keys %$killed);
$node->stop;
done_testing();
