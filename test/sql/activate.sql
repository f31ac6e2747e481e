-- Suspend, then ask: early, late and repeated activations, answers, and the suspender's report.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('LOST', 'F') \gset
SELECT evq_configure('A', 'F', 3, '1 day', attempt_delays => '{0 s}', attempt_timeout => '5 min', on_fail_event_type => 'LOST') \gset
-- Publishes an event and acquires it; keeps its permit in lab.FLOW_ID.
CREATE FUNCTION lab.begin(name text) RETURNS bigint LANGUAGE sql AS $$
	SELECT set_config('lab.' || name, permit::text, false)::bigint FROM evq_acquire(evq_publish('A', NULL, name, '{"n": 1}'), 'w')
$$;
CREATE FUNCTION lab.again(name text) RETURNS bigint LANGUAGE sql AS $$
	SELECT set_config('lab.' || name, permit::text, false)::bigint FROM evq_acquire(ev(name), 'w')
$$;
CREATE FUNCTION lab.token(name text) RETURNS bigint LANGUAGE sql AS $$ SELECT current_setting('lab.' || name)::bigint $$;

-- The answer comes first: it is kept, and the suspend finds the event awake.
SELECT lab.begin('early') \gset
SELECT evq_activate(ev('early'), answer => '{"yes": true}', permit => token('early'));
SELECT evq_suspend(ev('early'), token('early'));
SELECT state, attempts_used, answer FROM evq.events WHERE flow_id = 'early';
SELECT attempt, payload, answer FROM evq_acquire(ev('early'));
SELECT evq_succeed(ev('early'));
SELECT state, answer, result FROM evq.events WHERE flow_id = 'early';
SELECT evq_event(ev('early')) -> 'answer' AS answer;

-- Before the first attempt there is none to be activated, by no permit.
SELECT evq_publish('A', NULL, 'new') \gset
CALL refused($$SELECT evq_activate(ev('new'), permit => 0)$$);
SELECT evq_cancel(ev('new')) \gset

-- Without permit, and without answer.
SELECT lab.begin('bare') \gset
SELECT evq_activate(ev('bare'));
CALL refused($$SELECT evq_activate(ev('bare'))$$);
SELECT evq_suspend(ev('bare'), token('bare')) IS NULL AS awake;
SELECT answer FROM evq_acquire(ev('bare'));

-- An early patch is in the payload at once; its worker keeps what it was given.
SELECT lab.begin('patch') \gset
SELECT evq_activate(ev('patch'), '{"n": 2}', '"a"');
SELECT evq_suspend(ev('patch'), token('patch')) IS NULL AS awake;
SELECT payload, answer FROM evq_acquire(ev('patch'));

-- A kept activation is of its attempt: the next one sees the answer, and sleeps when it suspends.
SELECT lab.begin('kept') \gset
SELECT evq_activate(ev('kept'), answer => '1') \gset
SELECT evq_fail(ev('kept'), 'died in between', token('kept'));
SELECT count(evq_tick()) \gset
SELECT attempt, answer FROM (SELECT a.*, set_config('lab.kept', permit::text, false) FROM evq_acquire(ev('kept')) a) a;
SELECT evq_suspend(ev('kept'), token('kept')) IS NULL AS awake;
SELECT state, answer FROM evq.events WHERE flow_id = 'kept';
SELECT evq_activate(ev('kept'), answer => '2', permit => token('kept'));
-- The answer stays over a retry, a release, a snooze.
SELECT lab.again('kept') \gset
SELECT evq_release(ev('kept'), token('kept')) \gset
SELECT answer FROM evq_acquire(ev('kept'));
SELECT evq_fail(ev('kept'), 'again');
SELECT answer FROM evq_acquire(ev('kept'));
SELECT evq_fail(ev('kept'), 'for good', retryable => false);
SELECT state, answer FROM evq.events WHERE flow_id = 'kept' AND event_type = 'A';
SELECT evq_retry(ev('kept', 'A')) \gset
SELECT answer FROM evq_acquire(ev('kept', 'A'));
-- So does one that came early, to an attempt that then failed for good; but the suspension of a later attempt is a new question.
SELECT lab.begin('again') \gset
SELECT evq_activate(ev('again'), answer => '"yes"', permit => token('again')) \gset
SELECT evq_fail(ev('again'), 'for good', token('again'), retryable => false) \gset
SELECT evq_retry(ev('again', 'A')) \gset
CALL refused($$SELECT evq_activate(ev('again', 'A'), answer => '"no"', permit => token('again'))$$);
SELECT attempt, answer, set_config('lab.again', permit::text, false) <> '' AS kept FROM evq_acquire(ev('again', 'A'));
SELECT evq_suspend(ev('again', 'A'), token('again')) > now() AS sleeps;
SELECT state, answer FROM evq.events WHERE flow_id = 'again' AND event_type = 'A';

-- A late answer of an earlier round wakes no later one, and is refused for good.
SELECT lab.begin('late') AS first \gset
SELECT evq_suspend(ev('late'), :first) > now() AS sleeps;
SELECT evq_activate(ev('late'), answer => '"first"', permit => :first);
SELECT set_config('lab.first', :first::text, false) \gset
SELECT lab.again('late') \gset
-- Told again it changes nothing, and is no error; another answer is one.
SELECT checksum() AS before \gset
SELECT evq_activate(ev('late'), answer => '"first"', permit => :first);
CALL refused($$SELECT evq_activate(ev('late'), answer => '"other"', permit => token('first'))$$);
CALL refused($$SELECT evq_activate(ev('late'), permit => token('first'))$$);
SELECT checksum() = :'before' AS unchanged;
SELECT evq_suspend(ev('late'), token('late')) > now() AS sleeps;
SELECT checksum() AS before \gset
CALL refused($$SELECT evq_activate(ev('late'), answer => '"first"', permit => token('first'))$$);
CALL refused($$SELECT evq_activate(ev('late'), answer => '"first"', permit => token('late') + 1)$$);
SELECT checksum() = :'before' AS unchanged;
SELECT evq_activate(ev('late'), answer => '"second"', permit => token('late'));
SELECT evq_activate(ev('late'), answer => '"second"', permit => token('late'));
CALL refused($$SELECT evq_activate(ev('late'), answer => '"third"')$$);
SELECT answer FROM evq_acquire(ev('late'));
SELECT evq_succeed(ev('late'));
CALL refused($$SELECT evq_activate(ev('late'), answer => '"third"', permit => token('first'))$$);
SELECT evq_activate(ev('late'), answer => '"second"', permit => token('late'));
CALL refused($$SELECT evq_activate(ev('late'))$$);

-- The suspender reports with its permit: the asking failed, or was not needed.
SELECT lab.begin('asking') \gset
SELECT evq_suspend(ev('asking'), token('asking')) > now() AS sleeps;
SELECT held, cancel_requested, attempt_due_at = due_at AS as_long_as_it_sleeps FROM evq_heartbeat(ARRAY[ev('asking')], ARRAY[token('asking')]) JOIN evq.events USING (event_id);
CALL refused($$SELECT evq_fail(ev('asking'), 'no permit')$$);
CALL refused($$SELECT evq_fail(ev('asking'), 'another permit', token('asking') + 1)$$);
CALL refused($$SELECT evq_succeed(ev('asking'))$$);
CALL refused($$SELECT evq_release(ev('asking'), token('asking'))$$);
CALL refused($$SELECT evq_suspend(ev('asking'), token('asking'))$$);
SELECT accepted FROM evq_succeed_many(ARRAY[ev('asking')], ARRAY[token('asking')]);
SELECT evq_fail(ev('asking'), 'the bank does not answer', token('asking'));
SELECT state, attempts_used FROM evq.events WHERE flow_id = 'asking';
SELECT attempt, outcome, error_message, worker FROM evq.errors WHERE flow_id = 'asking';
CALL refused($$SELECT evq_fail(ev('asking'), 'twice', token('asking'))$$);
CALL refused($$SELECT evq_activate(ev('asking'), permit => token('asking'))$$);
SELECT lab.again('asking') \gset
SELECT evq_suspend(ev('asking'), token('asking')) \gset
SELECT accepted, state FROM evq_fail_many(ARRAY[ev('asking')], ARRAY[token('asking')], 'in a batch');
SELECT lab.again('asking') \gset
SELECT evq_suspend(ev('asking'), token('asking')) \gset
SELECT evq_fail(ev('asking'), 'no more', token('asking'));
SELECT event_type, state, attempts_used, reason FROM evq.events WHERE flow_id = 'asking' ORDER BY published_at;
SELECT lab.begin('needless') \gset
SELECT evq_suspend(ev('needless'), token('needless')) \gset
SELECT evq_succeed(ev('needless'), token('needless'), '"at once"', '[{"event_type": "A"}]') AS spinoffs \gset
SELECT evq_succeed(ev('needless'), token('needless')) = :'spinoffs' AS same_answer;
SELECT state, attempts_used, result, cardinality(spinoff_ids) AS spinoffs FROM evq.events WHERE event_id = ev('needless');
-- Activated, the permit is void.
SELECT lab.begin('woken') \gset
SELECT evq_suspend(ev('woken'), token('woken')) \gset
SELECT evq_activate(ev('woken')) \gset
CALL refused($$SELECT evq_fail(ev('woken'), 'too late', token('woken'))$$);

-- Nobody answers: the event expires, and says so.
SELECT lab.begin('silence') \gset
SELECT evq_suspend(ev('silence'), token('silence'), '10 min') \gset
SET evq.debug_clock_offset = '11 min';
SELECT expired FROM evq_tick();
RESET evq.debug_clock_offset;
SELECT event_type, state, attempts_used, reason FROM evq.events WHERE flow_id = 'silence' ORDER BY event_type;
SELECT attempt, outcome, error_message, worker FROM evq.errors WHERE flow_id = 'silence';
SELECT step ->> 'what' AS what, step ->> 'detail' AS detail FROM jsonb_array_elements(evq_event(ev('silence', 'A')) -> 'timeline') step
WHERE step ->> 'what' ~ 'expired';
CALL refused($$SELECT evq_activate(ev('silence', 'A'), permit => token('silence'))$$);
SELECT severity, subject, regexp_replace(finding, 'since .*, ', 'since <time>, ') AS finding FROM evq_check() WHERE finding ~ 'nobody activated';
-- With retry it comes back.
SELECT evq_configure('A', on_suspend_timeout => 'retry') \gset
SELECT lab.begin('retried') \gset
SELECT evq_suspend(ev('retried'), token('retried'), '10 min') \gset
SET evq.debug_clock_offset = '11 min';
SELECT timed_out, expired FROM evq_tick();
RESET evq.debug_clock_offset;
SELECT state, attempts_used FROM evq.events WHERE flow_id = 'retried';
CALL refused($$SELECT evq_activate(ev('retried'), permit => token('retried'))$$);

-- Answers are held to the limit, and to what they are.
SELECT lab.begin('large') \gset
SELECT checksum() AS before \gset
SET evq.max_payload = 1000;
CALL refused($$SELECT evq_activate(ev('large'), answer => to_jsonb(repeat('x', 1000)))$$);
SELECT checksum() = :'before' AS unchanged;
RESET evq.max_payload;
-- One that is stored out of line goes along everywhere.
SELECT evq_activate(ev('large'), answer => (SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 1000) n)) \gset
SELECT evq_suspend(ev('large'), token('large')) \gset
SELECT jsonb_array_length(answer) FROM evq_acquire(ev('large'));
SELECT evq_succeed(ev('large'));
SELECT jsonb_array_length(answer) FROM evq.events WHERE flow_id = 'large';
