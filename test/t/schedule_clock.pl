# The dispatcher as the clock of schedules: to the second, in a time zone, without pg_cron; with a rule for what overlaps.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Evq::Test;
use Test::More;

my $database = 'clock';
my $node     = make_server('main', "evq.poll_interval = '1s'");
make_database($node, $database);
wait_for_dispatcher($node, $database);

sub run { return $node->safe_psql($database, @_) }
sub comes { my ($what, $sql) = @_; return ok(poll_until($what, sub { run($sql) eq 't' }), $what) }

run(q{SELECT evq_configure('TICK', 'TICKING', lifespan => '1 day')});

# ---------- each second, and no more than one event for it ----------

run(q{SELECT evq_schedule('second', '* * * * * *', 'TICK', NULL, 'second', misfire => 'all')});
is(run(q{SELECT has_job, time_zone, overlap FROM evq.schedule}), 'f|UTC|allow', 'without pg_cron a schedule needs no job');
comes('the dispatcher runs a schedule', q{SELECT published >= 3 FROM evq.schedules WHERE name = 'second'});
ok(run_workers($node, $database, 4, 'SELECT evq.catch_up_schedules()'), 'other clocks ring too');
run(q{SELECT evq_pause_schedule('second')});
is( run(q{SELECT count(*) = s.published, count(DISTINCT i.idempotency_key) = count(*), extract(epoch FROM max(slot) - min(slot)) = count(*) - 1
	FROM evq.schedules s, evq.idempotency i, LATERAL (SELECT (split_part(i.idempotency_key, ' ', 3))::timestamptz AS slot) k GROUP BY s.published}),
	't|t|t', 'each second has one event, whoever rings');

# ---------- a time zone ----------

run(q{SELECT evq_schedule('zone', '0 3 * * *', 'TICK', NULL, 'zone', time_zone => 'Europe/Berlin')});
is(run(q{SELECT to_char(next_run_at AT TIME ZONE 'Europe/Berlin', 'HH24:MI'), time_zone FROM evq.schedules WHERE name = 'zone'}), '03:00|Europe/Berlin', 'on the clocks of a time zone');
run(q{UPDATE evq.schedule SET done_until = done_until - interval '25 hours' WHERE name = 'zone'; UPDATE evq.schedule SET cron = cron WHERE name = 'zone'});
comes('what is due there is published', q{SELECT published = 1 AND next_run_at > now() FROM evq.schedules WHERE name = 'zone'});

# The engine does not wait for pg_cron.
is(run(q{UPDATE evq.schedule SET has_job = true WHERE name = 'zone'; SELECT evq.ring_at(s) = evq.due_at(s) FROM evq.schedule s WHERE name = 'zone'}), 't', 'what pg_cron has a job for is run when it is due');
run(q{UPDATE evq.schedule SET has_job = false});

# ---------- what overlaps ----------

run(q{SELECT evq_schedule('skip', '* * * * * *', 'TICK', NULL, 'skip', overlap => 'skip'), evq_schedule('queue', '* * * * * *', 'TICK', NULL, 'queue', overlap => 'queue')});
comes('skip: times pass without an event', q{SELECT published = 1 AND skipped >= 2 FROM evq.schedules WHERE name = 'skip'});
comes('queue: a time waits', q{SELECT published = 1 AND skipped = 0 AND next_run_at < now() - interval '1 s' FROM evq.schedules WHERE name = 'queue'});
is(run(q{SELECT count(*) FROM evq_check('1 ms') WHERE subject = 'schedules' AND severity <> 'ok'}), 0, '... which is no finding');
run(q{SELECT evq_cancel(last_event_id) FROM evq.schedules WHERE name IN ('skip', 'queue')});
comes('queue: it has its event when the last one is finished', q{SELECT published = 2 FROM evq.schedules WHERE name = 'queue'});
comes('skip: the next time has an event again', q{SELECT published = 2 FROM evq.schedules WHERE name = 'skip'});
is(run(q{SELECT count(*) FROM evq.event e JOIN evq.schedule s ON s.flow_id = e.flow_id WHERE s.overlap <> 'allow' AND e.event_id <> s.last_event_id}), 0, 'none is live beside the last');

# ---------- a paused database rings nothing ----------

run('SELECT evq_pause()');
comes('the dispatcher leaves', 'SELECT NOT running FROM evq_status()');
my $published = run('SELECT sum(published) FROM evq.schedules');
run(q{SELECT evq_resume_schedule('second'); UPDATE evq.schedule SET done_until = done_until - interval '1 hour'});
is(run(q{SELECT evq.catch_up_schedules() + evq.run_due_schedule('second')}), 0, 'paused: no clock rings');
is(run('SELECT sum(published) FROM evq.schedules'), $published, '... and nothing is published');
run('SELECT evq_resume()');
comes('resumed: what was missed follows', q{SELECT bool_and(done_until > now() - interval '1 min') FROM evq.schedule WHERE name IN ('second', 'skip')});

# ---------- what errs, and what is changed by hand ----------

run(q{SELECT evq_schedule('broken', '* * * * * *', 'TICK', NULL, 'broken'); UPDATE evq.schedule SET cron = 'x' WHERE name = 'broken'});
comes('a broken one is told', q{SELECT count(*) > 0 FROM evq_check() WHERE finding ~ 'the times of schedule broken cannot be told'});
run(q{SELECT evq_unschedule('broken'); UPDATE evq.schedule SET done_until = now() + interval '1 hour' WHERE name = 'zone'});
is(run(q{SELECT count(*) FROM evq_check() WHERE finding ~ 'schedule zone is done until .* in the future'}), 1, 'a time until which one is done is compared with the clock');
run(q{UPDATE evq.schedule SET done_until = now() WHERE name = 'zone'});

# ---------- with none, nothing is done ----------

run('SELECT evq_unschedule(name) FROM evq.schedules');
is(run('SELECT errors FROM evq_status()'), 0, 'the dispatcher had no errors');
$node->stop;
done_testing();
