-- Schedules: what is due when, and what becomes of it. The clock is moved by evq.debug_clock_offset; nothing waits, and
-- nothing but the test runs a schedule: this database is not pg_cron's.
BEGIN;
SELECT * FROM no_plan();
SET LOCAL timezone = 'Asia/Kathmandu';

-- A minute is just beginning, so none ends in the middle of the test.
SELECT set_config('evq.debug_clock_offset', (61 - floor(extract(second FROM clock_timestamp())))::text, true) \g /dev/null
SELECT evq_configure('TICK', 'FLOW_T', priority => 3);
SELECT evq_configure('OTHER', 'FLOW_O');
SELECT evq_configure('RESCUE', 'FLOW_T');

CREATE FUNCTION pg_temp.error(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || CASE WHEN hint = '' THEN '' ELSE ' | ' || hint END;
END
$$;
CREATE FUNCTION pg_temp.minutes_later(minutes int) RETURNS text LANGUAGE sql AS $$
	SELECT set_config(name, (setting::int + minutes * 60)::text, true) FROM pg_settings WHERE name = 'evq.debug_clock_offset'
$$;
-- Events of a schedule: the slots in minutes from the present minute, oldest first.
CREATE FUNCTION pg_temp.slots(schedule text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg((extract(epoch FROM (evq_event(event_id) #>> '{headers, slot}')::timestamptz - evq.minute_now()) / 60)::int::text, ' '
					  ORDER BY evq_event(event_id) #>> '{headers, slot}')
	FROM evq.events WHERE evq_event(event_id) #>> '{headers, schedule}' = schedule
$$;
CREATE FUNCTION pg_temp.miss(minutes int, wanted text DEFAULT '') RETURNS void LANGUAGE sql AS $$
	UPDATE evq.schedule SET done_until = evq.minute_now() - minutes * interval '1 min' WHERE starts_with(name, wanted)
$$;

-- A schedule and its events.
SELECT lives_ok($$SELECT evq_schedule('every', ' * * * * * ', 'TICK', NULL, 'case', '{"n": 1}', priority => 7::smallint, on_fail_event_type => 'RESCUE', make_job => false)$$);
SELECT is(evq.run_due_schedule('every'), 0, 'the minute in which it was made does not count');
SELECT is((SELECT count(*)::int FROM evq.events), 0, 'trying out whether its event can be published leaves none');
SELECT pg_temp.minutes_later(1);
SELECT is(evq.run_due_schedule('every'), 1, 'the next one does');
SELECT is(evq.run_due_schedule('every'), 0, '... once');
SELECT results_eq($$SELECT event_type, flow_type, flow_id, priority, on_fail_event_type, evq_event(event_id) -> 'payload' FROM evq.events$$,
	$$VALUES ('TICK', 'FLOW_T', 'case', 7, 'RESCUE', '{"n": 1}'::jsonb)$$, 'the event is what was asked for');
SELECT is(evq_event(event_id) ->> 'idempotency_key', 'schedule every ' || to_char(evq.minute_now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'),
	'its idempotency key is the minute in UTC') FROM evq.events;
SELECT is(evq_event(event_id) -> 'headers', jsonb_build_object('schedule', 'every', 'slot', to_char(evq.minute_now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"')),
	'its headers tell schedule and slot') FROM evq.events;
SELECT results_eq($$SELECT cron, event_type, flow_type, flow_id, misfire, is_paused, next_run_at, last_run_at, last_event_id, last_state::text, last_outcome, last_error, published, skipped, failed FROM evq.schedules$$,
	$$SELECT '* * * * *', 'TICK', 'FLOW_T', 'case', 'once', false, evq.minute_now() + interval '1 min', evq.minute_now(), event_id, 'awaiting_processing', 'published', NULL::text, 1::bigint, 0::bigint, 0::bigint
	  FROM evq.events$$, 'evq.schedules');
SELECT pg_temp.miss(1);
SELECT is(evq.run_due_schedule('every'), 1, 'the same minute once more');
SELECT is((SELECT count(*)::int FROM evq.events), 1, '... is the same event: by its key');

-- Missed times.
SELECT evq_schedule('m_' || misfire, '*/2 * * * *', 'TICK', NULL, 'missed', misfire => misfire, make_job => false) FROM unnest('{skip, once, all}'::text[]) misfire;
SELECT pg_temp.minutes_later(1 + (extract(minute FROM evq.minute_now() AT TIME ZONE 'UTC')::int + 1) % 2) \g /dev/null
SELECT is(extract(minute FROM evq.minute_now() AT TIME ZONE 'UTC')::int % 2, 0, 'an even minute');
SELECT pg_temp.miss(20, 'm_');
SELECT is(evq.catch_up_schedules(), 1 + 1 + 1 + 10, 'catching up publishes of all: that of each minute, and skip, once, all');
SELECT is(pg_temp.slots('m_skip'), '0', 'skip: the present one only');
SELECT is(pg_temp.slots('m_once'), '0', 'once: the last one');
SELECT is(pg_temp.slots('m_all'), '-18 -16 -14 -12 -10 -8 -6 -4 -2 0', 'all: each');
SELECT results_eq($$SELECT name, published, skipped FROM evq.schedules WHERE name ~ '^m_' ORDER BY name$$,
	$$VALUES ('m_all', 10::bigint, 0::bigint), ('m_once', 1, 9), ('m_skip', 1, 9)$$, '... what was skipped is counted');
SELECT is(evq.catch_up_schedules(), 0, 'all is done');
-- Late: within five minutes, and later.
SELECT evq_schedule('late_' || misfire, to_char(evq.minute_now() AT TIME ZONE 'UTC' + interval '10 min', 'MI HH24 * * *'), 'TICK', NULL, 'late', misfire => misfire, make_job => false)
FROM unnest('{skip, once, all}'::text[]) misfire;
SELECT evq_schedule('later_' || substr(name, 6), cron, event_type, flow_type, flow_id, misfire => misfire, make_job => false) FROM evq.schedules WHERE name ~ '^late_';
SELECT pg_temp.minutes_later(14);
SELECT is(evq.run_due_schedule('late_' || misfire), 1, misfire || ': 4 minutes late') FROM unnest('{skip, once, all}'::text[]) misfire;
SELECT pg_temp.minutes_later(1);
SELECT is(evq.run_due_schedule('later_' || misfire), CASE misfire WHEN 'skip' THEN 0 ELSE 1 END, misfire || ': 5 minutes late') FROM unnest('{skip, once, all}'::text[]) misfire;
SELECT is(evq.run_due_schedule('later_' || misfire), 0, misfire || ': that was it') FROM unnest('{skip, once, all}'::text[]) misfire;
-- A long time, and a bound.
SELECT pg_temp.miss(400 * 24 * 60, 'm_');
SELECT is(evq.run_due_schedule('m_all'), 1000, 'all: the latest 1,000 after a year');
SELECT matches(pg_temp.slots('m_all'), CASE extract(minute FROM evq.minute_now() AT TIME ZONE 'UTC')::int % 2 WHEN 0 THEN ' -2 0$' ELSE ' -3 -1$' END, '... up to now');
SELECT is((SELECT skipped FROM evq.schedules WHERE name = 'm_all'), 400 * 24 * 30 - 1000::bigint, '... the others are counted');
SELECT is(evq.run_due_schedule('m_once'), 1, 'once: one event for a year');
SELECT evq_unschedule(name) FROM evq.schedules WHERE name ~ '^(m|later?)_';

-- What comes while the last event is live, of which misfire lets but one be missed, or each be made up for.
SELECT evq_schedule(format('o_%s_%s', overlap, misfire), '* * * * *', 'TICK', NULL, 'overlap', misfire => misfire, overlap => overlap, make_job => false)
FROM unnest('{allow, skip, queue}'::text[]) overlap, unnest('{once, all}'::text[]) misfire;
SELECT pg_temp.minutes_later(1);
SELECT is(evq.run_due_schedule(name), 1, name || ': the first time') FROM evq.schedules WHERE name ~ '^o_' ORDER BY name;
SELECT pg_temp.minutes_later(3);
SELECT is(evq.run_due_schedule(name), CASE WHEN overlap <> 'allow' THEN 0 WHEN misfire = 'all' THEN 3 ELSE 1 END, name || ': three times more, while the last event is live')
FROM evq.schedules WHERE name ~ '^o_' ORDER BY name;
SELECT evq_cancel(last_event_id) FROM evq.schedules WHERE name ~ '^o_';
SELECT is(evq.run_due_schedule(name), (overlap = 'queue')::int, name || ': when it is finished') FROM evq.schedules WHERE name ~ '^o_' ORDER BY name;
SELECT results_eq($$SELECT name, published, skipped FROM evq.schedules WHERE name ~ '^o_' ORDER BY name$$,
	$$VALUES ('o_allow_all', 4::bigint, 0::bigint), ('o_allow_once', 2, 2), ('o_queue_all', 2, 0), ('o_queue_once', 2, 2), ('o_skip_all', 1, 3), ('o_skip_once', 1, 3)$$,
	'... and what became of each time is counted');
SELECT evq_cancel(last_event_id) FROM evq.schedules WHERE name = 'o_queue_all';
SELECT is(evq.run_due_schedule('o_queue_all'), 1, 'queue, all: the next of those that were missed');
SELECT evq_unschedule(name) FROM evq.schedules WHERE name ~ '^o_';

-- Pause.
SELECT evq_pause_schedule('every');
SELECT pg_temp.minutes_later(3);
SELECT is((evq.run_due_schedule('every'), evq.catch_up_schedules()), (0, 0), 'paused: nothing');
SELECT results_eq($$SELECT is_paused, next_run_at FROM evq.schedules WHERE name = 'every'$$, $$VALUES (true, NULL::timestamptz)$$, '... and no next time');
SELECT isnt(evq_run_schedule('every'), NULL, '... but by hand');
SELECT lives_ok($$SELECT evq_schedule('every', '* * * * *', 'TICK', NULL, 'case', make_job => false)$$);
SELECT is((SELECT is_paused FROM evq.schedules WHERE name = 'every'), true, 'a replaced schedule stays paused');
SELECT evq_resume_schedule('every');
SELECT is(evq.run_due_schedule('every'), 0, 'resumed: what passed meanwhile is not due');
SELECT pg_temp.minutes_later(1);
SELECT is(evq.run_due_schedule('every'), 1, '... what comes then is');

-- By hand.
SELECT evq_run_schedule('every') AS id \gset
SELECT is((SELECT last_event_id FROM evq.schedules WHERE name = 'every'), :'id', 'by hand: the last event');
SELECT isnt(evq_run_schedule('every'), :'id', '... each time another one');
SELECT is(evq_event(:'id') ->> 'idempotency_key', NULL, '... without a key');
SELECT is(evq_event(:'id') -> 'headers', '{"schedule": "every"}', '... and for no slot');
SELECT pg_temp.minutes_later(1);
SELECT is(evq.run_due_schedule('every'), 1, '... besides its times');

-- Replacing.
SELECT pg_temp.minutes_later(1);
SELECT evq_schedule('every', '* * * * *', 'OTHER', 'FLOW_O', 'else', make_job => false);
SELECT is(evq.run_due_schedule('every'), 1, 'replaced with the same times: what is due stays due');
SELECT is((SELECT e.event_type FROM evq.events e JOIN evq.schedules s ON e.event_id = s.last_event_id WHERE s.name = 'every'), 'OTHER', '... as the new event');
SELECT pg_temp.minutes_later(1);
SELECT evq_schedule('every', '*/1 * * * *', 'OTHER', NULL, 'else', make_job => false);
SELECT is(evq.run_due_schedule('every'), 0, 'with other times: nothing of before is due');

-- A time is named by the second where that is not the first of its minute.
SELECT is(evq.slot_name(at), name, name) FROM (VALUES (timestamptz '2030-01-02 03:04:00Z', '2030-01-02T03:04Z'), ('2030-01-02 03:04:05Z', '2030-01-02T03:04:05Z')) t(at, name);

-- Errors are kept, others go on, and what failed is due again.
SELECT evq_schedule('broken', '* * * * *', 'TICK', NULL, 'broken', misfire => 'all', make_job => false);
SELECT pg_temp.minutes_later(2);
UPDATE evq.schedule SET event_type = 'GONE' WHERE name = 'broken';
SELECT is(evq.catch_up_schedules(), 1, 'one errs, the other is published');
SELECT results_eq($$SELECT last_outcome, last_error, last_error_at - evq.clock_now() BETWEEN '-1 min' AND '0 s', failed, published FROM evq.schedules WHERE name = 'broken'$$,
	$$VALUES ('failed', 'EQ001: unknown event type "GONE"', true, 1::bigint, 0::bigint)$$, 'the error is shown');
SELECT is((SELECT evq.ring_at(s) - s.last_error_at FROM evq.schedule s WHERE s.name = 'broken'), '10 s', '... and the dispatcher waits before it tries again');
SELECT is(evq.run_due_schedule('broken'), 0, 'it errs again, without an error');
SELECT matches(pg_temp.error($$SELECT evq_run_schedule('broken')$$), '^EQ001 ', 'by hand there is one');
UPDATE evq.schedule SET event_type = 'TICK' WHERE name = 'broken';
SELECT pg_temp.minutes_later(1);
SELECT is(evq.run_due_schedule('broken'), 3, 'mended: what is due is published');
SELECT results_eq($$SELECT last_outcome, last_error, last_error_at, failed, published FROM evq.schedules WHERE name = 'broken'$$,
	$$VALUES ('published', NULL::text, NULL::timestamptz, 2::bigint, 3::bigint)$$, '... the error is no longer shown');
UPDATE evq.schedule SET cron = 'x' WHERE name = 'broken';
SELECT is(evq.run_due_schedule('broken'), 0, 'even where somebody has changed the row by hand');
SELECT evq_unschedule('broken');

-- The clock goes back: nothing is published twice, and it goes on when the time has come again.
SELECT pg_temp.minutes_later(1);
SELECT is(evq.catch_up_schedules(), 1, 'before the clock goes back');
SELECT pg_temp.minutes_later(-10);
SELECT is(evq.catch_up_schedules(), 0, 'ten minutes back: nothing');
SELECT pg_temp.minutes_later(11);
SELECT is(evq.catch_up_schedules(), 1, '... until it is later than before');

-- Metrics.
SELECT matches(evq_metrics(), format(E'\nevq_schedule_runs_total\\{schedule="every",outcome="published"\\} %s\n', published), 'evq_metrics(): published') FROM evq.schedules;
SELECT matches(evq_metrics(), format(E'\nevq_schedule_runs_total\\{schedule="every",outcome="skipped"\\} %s\n', skipped), 'skipped') FROM evq.schedules;
SELECT matches(evq_metrics(), E'\nevq_schedule_runs_total\\{schedule="every",outcome="failed"\\} 0\n', 'failed');

-- Removing.
SELECT lives_ok($$SELECT evq_unschedule('every')$$);
SELECT is_empty('TABLE evq.schedules', 'no schedule is left');
SELECT isnt_empty($$SELECT FROM evq.events WHERE flow_id = 'else'$$, 'its events stay');

-- What is refused changes nothing.
SELECT is(pg_temp.error(format('SELECT %s(''none'')', f)), 'EQ002 no schedule "none" | evq.schedules lists them. A job of pg_cron that is left over goes with cron.unschedule().', f || ': no such schedule')
FROM unnest('{evq_unschedule, evq_pause_schedule, evq_resume_schedule, evq_run_schedule, evq.run_due_schedule}'::text[]) f;
SELECT matches(pg_temp.error(format('SELECT %s(NULL)', f)), '^EQ002 no schedule NULL ', f || ': NULL')
FROM unnest('{evq_unschedule, evq_pause_schedule, evq_resume_schedule, evq_run_schedule, evq.run_due_schedule}'::text[]) f;
SELECT matches(pg_temp.error(format('SELECT evq_schedule(%s, make_job => false)', arguments)), wanted, arguments) FROM (VALUES
	($$NULL, '* * * * *', 'TICK', NULL, 'f'$$, '^EQ006 schedule NULL is not a valid name \| Use letters'),
	($$'', '* * * * *', 'TICK', NULL, 'f'$$, '^EQ006 '), ($$'a b', '* * * * *', 'TICK', NULL, 'f'$$, '^EQ006 '), ($$E'a\nb', '* * * * *', 'TICK', NULL, 'f'$$, '^EQ006 '),
	($$'a''b', '* * * * *', 'TICK', NULL, 'f'$$, '^EQ006 '), ($$repeat('a', 64), '* * * * *', 'TICK', NULL, 'f'$$, '^EQ006 '),
	($$'a', NULL, 'TICK', NULL, 'f'$$, '^EQ006 cron is NULL'), ($$'a', '* * * *', 'TICK', NULL, 'f'$$, '^EQ006 .*\| Write minute'), ($$'a', '0 0 30 2 *', 'TICK', NULL, 'f'$$, '^EQ006 .* never comes'),
	($$'a', '* * * * *', NULL, NULL, 'f'$$, '^EQ006 '), ($$'a', '* * * * *', 'GONE', NULL, 'f'$$, '^EQ001 '), ($$'a', '* * * * *', 'TICK', 'FLOW_O', 'f'$$, '^EQ00[16] '),
	($$'a', '* * * * *', 'TICK', 'GONE', 'f'$$, '^EQ001 '), ($$'a', '* * * * *', 'TICK', NULL, NULL$$, '^EQ006 '), ($$'a', '* * * * *', 'TICK', NULL, repeat('f', 256)$$, '^EQ006 '),
	($$'a', '* * * * *', 'TICK', NULL, 'f', to_jsonb(repeat('p', 2000000))$$, '^EQ005 '),
	($$'a', '* * * * *', 'TICK', NULL, 'f', misfire => 'twice'$$, '^EQ006 misfire is ''twice'' \| Pass skip'),
	($$'a', '* * * * *', 'TICK', NULL, 'f', on_fail_event_type => 'GONE'$$, '^EQ001 ')) bad (arguments, wanted);
SELECT is_empty('TABLE evq.schedules', '... and nothing was made');

-- pg_cron is in another database.
SELECT is(pg_temp.error($$SELECT evq_schedule('far', '@daily', 'TICK', NULL, 'f')$$),
	format('EQ007 pg_cron is in database "%s" | Run CREATE EXTENSION dblink here. Or run in database "%1$s": SELECT cron.schedule_in_database(''evq %s far'', ''0 0 * * *'', '
		'''SELECT evq.run_due_schedule(''''far'''')'', %L, %L, true); and then pass make_job => false to evq_schedule().',
		current_setting('cron.database_name'), current_database(), current_database(), current_user), 'the error says what to do there');
SELECT is_empty('TABLE evq.schedules', '... and nothing was made');
SELECT evq_schedule('far', '@daily', 'TICK', NULL, 'f', make_job => false);
UPDATE evq.schedule SET has_job = true;
SELECT matches(pg_temp.error($$SELECT evq_unschedule('far')$$), '^EQ007 .* SELECT cron.unschedule\(j.jobid\) FROM cron.job j WHERE j.jobname = ''evq \w+ far'' AND j.username = .* remove_job => false',
	'nor is its job removed from here');
SELECT lives_ok($$SELECT evq_unschedule('far', false)$$);
SELECT is(length(evq.job_name(repeat('x', 63))) <= 63, true, 'names of jobs fit');
SELECT is((SELECT count(*) FROM evq.cron_failures()), 0::bigint, 'what pg_cron says cannot be seen from here');

-- A setting that somebody made up leads nowhere.
SELECT is((SELECT setting FROM pg_settings WHERE name = 'cron.database_name'), evq.cron_database(), 'the real setting');

SELECT * FROM finish();
ROLLBACK;
