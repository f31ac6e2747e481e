-- Names, states and channels are ASCII and follow the rules of ASCII, whatever the collation of the database, or of a value that comes in.
-- Which collation a database has is decided when it is made, so there is one for this.
SET client_min_messages = error;
CREATE DATABASE turkish TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'tr' LOCALE 'C.UTF-8';
\connect turkish
SET client_min_messages = error;
CREATE EXTENSION pgtap;
CREATE EXTENSION evq;
SELECT * FROM no_plan();
SELECT isnt(lower('I'), 'i', 'this is a database in which I has another lower case');

-- No function and no view changes, or compares without, case by the collation of the database.
CREATE TEMP VIEW sources AS
SELECT p.oid::regprocedure::text AS name, pg_get_functiondef(p.oid) AS source FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq'
UNION ALL
SELECT c.oid::regclass::text, pg_get_viewdef(c.oid) FROM pg_class c WHERE c.relnamespace = 'evq'::regnamespace AND c.relkind = 'v';
SELECT is_empty($$SELECT name FROM sources WHERE source ~ '\m(upper|lower|initcap)\((?!.{1,80}COLLATE "C")' AND source !~ '\m(upper|lower)\(\w*range'$$, 'upper() and lower() have a collation');
SELECT is_empty($$SELECT name FROM sources WHERE source ~ '(?<!COLLATE "C") !?~~?\* ' OR source ~* '\milike\M'$$, 'so have matches that do not heed case');
SELECT isnt_empty($$SELECT name FROM sources WHERE source ~ 'COLLATE "C" !?~\* '$$, '... of which there are some');

-- Names.
SELECT lives_ok($$SELECT evq_configure('INVOICE_I', 'INVOICES', on_fail_event_type => '')$$, 'a flow with a capital I');
SELECT is((SELECT channel FROM evq.flows WHERE flow_type = 'INVOICES'), 'evq_invoices', 'its channel');
SELECT lives_ok($$SELECT evq_schedule('INVOICES-I', '30 2 * * FRI', 'INVOICE_I', NULL, 'x', make_job => false)$$, 'a schedule; words of cron in any case');

-- States, by every way out and in.
SELECT evq_publish('INVOICE_I', NULL, 'x') AS id \gset
SELECT is((SELECT state::text FROM evq.events), 'awaiting_processing', 'a state');
SELECT evq_tick() \g /dev/null
SELECT is(evq_http.event(:'id', NULL, NULL, NULL) ->> 'status', 'DISPATCHED', 'the status of an event over HTTP');
SELECT is(evq_http.counts('', '{}', NULL, NULL) #>> '{counts,0,status}', 'DISPATCHED', '... of counts');
SELECT is(evq_http.pending('INVOICES', '{}', NULL, NULL) #>> '{events,0,status}', 'DISPATCHED', '... of what waits');
SELECT is(jsonb_array_length(evq_http.events('', jsonb_build_object('status', status), NULL, NULL) -> 'events'), 1, 'filter by status ' || status)
FROM unnest('{DISPATCHED, dispatched, "DISPATCHED,AWAITING_PROCESSING"}'::text[]) status;
SELECT is(jsonb_array_length(evq_http.events('', jsonb_build_object('q', q), NULL, NULL) -> 'events'), 1, 'search for ' || regexp_replace(q, '[0-9a-f]{8}-.*', 'an id', 'i'))
FROM unnest(ARRAY['status:DISPATCHED', 'flow:INVOICES', 'id:' || :'id', upper(:'id' COLLATE "C")]) q;
SELECT throws_like($$SELECT evq_http.events('', '{"status": "DİSPATCHED"}', NULL, NULL)$$, 'unknown status%', 'no other name is known');
SELECT is(evq_http.mcp_queues() #>> '{queues,0,status}', 'DISPATCHED', 'the status in MCP');
SELECT is(evq_http.mcp(NULL, jsonb_build_object('jsonrpc', '2.0', 'id', 1, 'method', 'tools/call', 'params', jsonb_build_object('name', 'get_event',
	'arguments', jsonb_build_object('event_id', upper(:'id' COLLATE "C"))))::text, false)::text ~ 'DISPATCHED', true, 'a tool of MCP');
SELECT ok(evq_metrics() !~ '[^ -~\n]', 'metrics are in ASCII');
SELECT is(count(*)::int, 0, 'so are the findings of evq_check()') FROM evq_check() WHERE finding ~ '[^ -~]';

-- A value may bring a collation along, one without regard for case among them.
CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE brought (flow_type text COLLATE any_case, event_type text COLLATE any_case, id text COLLATE any_case);
INSERT INTO brought VALUES ('Brought', 'Brought', :'id');
SELECT lives_ok($$SELECT evq_configure(event_type, flow_type), evq_configure_flow(flow_type, max_dispatched => 5) FROM brought$$, 'configured by values with a collation');
SELECT lives_ok($$SELECT evq_schedule(event_type, '@daily', event_type, flow_type, flow_type, make_job => false) FROM brought$$, 'scheduled');
SELECT lives_ok($$SELECT evq_publish(event_type, flow_type, flow_type) FROM brought$$, 'published');
SELECT lives_ok($$SELECT * FROM brought b, evq_pending(b.flow_type)$$, 'asked for');
SELECT lives_ok($$SELECT evq_http.event(id, NULL, NULL, NULL), evq_http.pending(flow_type, '{}', NULL, NULL) FROM brought$$, '... over HTTP');

SELECT * FROM finish();
