-- Every object that a user meets says what it is: \df+, \dt+ and \dv+ are the first manual.
-- Types of arrays and rows, members of an extension since PostgreSQL 17, are not met.
BEGIN;
SELECT * FROM no_plan();

SELECT is_empty(
	$$SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
	  WHERE x.extname = 'evq' AND d.deptype = 'e' AND coalesce(obj_description(d.objid, d.classid::regclass::name), '') = ''
	  AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.objid AND d.classid = 'pg_class'::regclass AND c.relkind = 'S')
	  AND NOT EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
	                  WHERE t.oid = d.objid AND d.classid = 'pg_type'::regclass AND (t.typcategory = 'A' OR c.relkind <> 'c'))$$,
	'functions, types, tables, views and the schema have comments');
SELECT isnt(obj_description(oid, 'pg_extension'), NULL, 'so has the extension') FROM pg_extension WHERE extname = 'evq';

-- Each argument of the configuration functions is a column that says what it means.
SELECT is_empty(
	$$SELECT p.proname, argument FROM pg_proc p, unnest(p.proargnames) argument
	  WHERE p.proname IN ('evq_configure', 'evq_configure_flow') AND argument NOT IN ('event_type', 'flow_type')
	  AND col_description(CASE p.proname WHEN 'evq_configure' THEN 'evq.event_type' ELSE 'evq.flow' END::regclass,
		(SELECT attnum FROM pg_attribute WHERE attname = argument
		 AND attrelid = CASE p.proname WHEN 'evq_configure' THEN 'evq.event_type' ELSE 'evq.flow' END::regclass)) IS NULL$$,
	'configuration columns have comments');

-- The comment of a function names the SQLSTATEs it raises.
SELECT is_empty(
	$$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	  JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq'
	  WHERE (p.proname ~ '^evq_' OR p.oid IN (SELECT routine FROM evq_http.operations())) AND p.pronargs > 0 AND obj_description(p.oid, 'pg_proc') !~ 'Errors?:'$$,
	'comments of functions with arguments name their errors');
SELECT is_empty(
	$$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	  JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq'
	  WHERE p.proname ~ '^evq_' AND 'event_id' = (p.proargnames)[1] AND p.proname <> 'evq_acquire' AND obj_description(p.oid, 'pg_proc') !~ 'EQ002'
	  AND p.proargmodes IS NULL$$,
	'... EQ002 where they take one event''s id');

-- ... and explains each argument, and what comes back: doc/functions.md is made of these lines.
SELECT is_empty(
	$$SELECT p.oid::regprocedure, argument FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	  JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq', unnest(p.proargnames[1:p.pronargs]) AS argument
	  WHERE p.proname ~ '^evq_' AND obj_description(p.oid, 'pg_proc') !~ '^The same '
	  AND obj_description(p.oid, 'pg_proc') !~ ('(^|\n)([a-z_]+,\s)*' || argument || '(,\s[a-z_]+)*: ')$$,
	'comments of functions explain each argument in a line of its own, or together with its like');
SELECT is_empty(
	$$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	  JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'evq'
	  WHERE p.proname ~ '^evq_' AND p.prorettype <> 'void'::regtype AND p.proname <> 'evq_version'
	  AND obj_description(p.oid, 'pg_proc') !~ '^The same ' AND obj_description(p.oid, 'pg_proc') !~ '\nReturns: '$$,
	'... and what they return');

SELECT * FROM finish();
ROLLBACK;
