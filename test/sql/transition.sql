-- The state machine: the table in the code, and that it says what the contract says.
\getenv srcdir PG_ABS_SRCDIR
\set lab :srcdir /lab.psql
\i :lab

SELECT * FROM evq.transition;

-- Rules of the contract that the code lacks, and rules of the code that the contract lacks.
CREATE TEMP TABLE contract (from_state evq.event_state, verb text, to_state evq.event_state);
INSERT INTO contract VALUES
	(NULL, 'publish', 'awaiting_processing'),
	('awaiting_processing', 'dispatch', 'dispatched'),
	('dispatched', 'dispatch_timeout', 'awaiting_processing'),
	('dispatched', 'acquire', 'being_processed'),
	('awaiting_processing', 'acquire', 'being_processed'),
	('being_processed', 'succeed', 'succeeded'),
	('being_processed', 'fail', 'awaiting_processing'),
	('being_processed', 'permit_timeout', 'awaiting_processing'),
	('being_processed', 'fail', 'failed'),
	('being_processed', 'permit_timeout', 'failed'),
	('being_processed', 'suspend', 'suspended'),
	('being_processed', 'suspend', 'awaiting_processing'),
	('being_processed', 'snooze', 'awaiting_processing'),
	('being_processed', 'release', 'awaiting_processing'),
	('suspended', 'activate', 'awaiting_processing'),
	('suspended', 'succeed', 'succeeded'),
	('suspended', 'fail', 'awaiting_processing'),
	('suspended', 'fail', 'failed'),
	('suspended', 'suspend_timeout', 'awaiting_processing'),
	('suspended', 'suspend_timeout', 'expired'),
	('awaiting_processing', 'lifespan_over', 'expired'),
	('awaiting_processing', 'lifespan_unused', 'expired'),
	('dispatched', 'lifespan_unused', 'expired'),
	('dispatched', 'lifespan_over', 'expired'),
	('awaiting_processing', 'cancel', 'canceled'),
	('dispatched', 'cancel', 'canceled'),
	('being_processed', 'cancel', 'canceled'),
	('suspended', 'cancel', 'canceled'),
	('failed', 'retry', 'awaiting_processing'),
	('expired', 'retry', 'awaiting_processing'),
	('canceled', 'retry', 'awaiting_processing');
SELECT * FROM contract EXCEPT SELECT from_state, verb, to_state FROM evq.transition;
SELECT from_state, verb, to_state FROM evq.transition EXCEPT SELECT * FROM contract;

-- Each rule is there once; each state can be reached.
SELECT from_state, verb, to_state FROM evq.transition GROUP BY 1, 2, 3 HAVING count(*) > 1;
SELECT unnest(enum_range(NULL::evq.event_state)) EXCEPT SELECT to_state FROM evq.transition;

-- The codes in which states are stored.
SELECT code, evq.state_name(code::"char") FROM unnest('{a,d,p,u,s,f,e,c,x,""}'::text[]) AS code;
