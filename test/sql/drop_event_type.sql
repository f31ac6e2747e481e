-- evq_drop_event_type: a type goes, its finished events stay readable.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT evq_configure('A', 'F', max_attempts => 7) \gset
SELECT evq_configure('B', 'F', on_fail_event_type => 'A') \gset
SELECT evq_publish('A', NULL, 'a') \gset

CALL refused($$SELECT evq_drop_event_type('A')$$);
SELECT evq_cancel(ev('a')) \gset
CALL refused($$SELECT evq_drop_event_type('A')$$);
SELECT evq_configure('B', on_fail_event_type => '') \gset
SELECT evq_drop_event_type('A') \gset

-- It is gone for all who name it.
CALL refused($$SELECT evq_drop_event_type('A')$$);
CALL refused($$SELECT evq_publish('A', NULL, 'a2')$$);
CALL refused($$SELECT evq_publish('B', NULL, 'b', on_fail_event_type => 'A')$$);
CALL refused($$SELECT evq_suspend_event_type('A')$$);
CALL refused($$SELECT evq_acquire_next('F', event_types => '{A}')$$);
CALL refused($$SELECT evq_retry(ev('a'))$$);
CALL refused($$SELECT evq_redrive('A', '-infinity')$$);
CALL refused($$SELECT evq_configure('A')$$);
CALL refused($$SELECT evq_configure('B', on_fail_event_type => 'A')$$);
SELECT flow_id, event_type, state FROM evq.events;

-- Unknown names.
CALL refused($$SELECT evq_drop_event_type('NONE_SUCH')$$);
CALL refused($$SELECT evq_drop_event_type(NULL)$$);

-- It may be configured anew, and is as new.
SELECT evq_configure('A', 'F') \gset
SELECT max_attempts FROM evq.event_type WHERE event_type = 'A';
SELECT evq_retry(ev('a')) \gset
SELECT flow_id, event_type, state FROM evq.events;

-- A type that names itself as on-fail event does not hinder its own end.
SELECT evq_configure('C', 'F', on_fail_event_type => 'C') \gset
SELECT evq_drop_event_type('C') \gset
