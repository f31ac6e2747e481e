-- Model Context Protocol: the tools that operate.

CREATE FUNCTION evq_http.mcp_operator_tools() RETURNS SETOF evq_http.mcp_tool
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 10
AS $tools$
VALUES
('suspend_event_type', 'Suspend an event type',
	'Stops the dispatch and the acquisition of all events of a type; events published meanwhile wait. Returns its configuration.',
	true, true, true,
$${
  "type": "object",
  "properties": {"event_type": {"type": "string"}},
  "required": ["event_type"],
  "additionalProperties": false
}$$::json,
$${
  "type": "object",
  "properties": {"event_type": {"type": "string"}, "is_suspended": {"type": "boolean"}},
  "required": ["event_type", "is_suspended"]
}$$::json,
$$SELECT evq_http.suspend_event_type($1 ->> 'event_type', NULL, NULL, NULL)$$),

('unsuspend_event_type', 'Unsuspend an event type',
	'Lets the events of a suspended type go on. Returns its configuration.',
	true, false, true,
$${
  "type": "object",
  "properties": {"event_type": {"type": "string"}},
  "required": ["event_type"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {"event_type": {"type": "string"}, "is_suspended": {"type": "boolean"}},
  "required": ["event_type", "is_suspended"]
}$$,
$$SELECT evq_http.unsuspend_event_type($1 ->> 'event_type', NULL, NULL, NULL)$$),

('pause_flow', 'Pause a flow',
	'Lets nothing of a flow be dispatched or acquired, until a time or until resume_flow; what workers hold goes on, and lifespans run. Returns the flow.',
	true, true, true,
$${
  "type": "object",
  "properties": {
    "flow_type": {"type": "string"},
    "until": {"type": "string", "format": "date-time", "description": "When it goes on by itself; without it, when it is resumed"},
    "reason": {"type": "string", "description": "Shown with the flow"}
  },
  "required": ["flow_type"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "flow_type": {"type": "string"},
    "is_paused": {"type": "boolean"},
    "paused_until": {"type": ["string", "null"], "description": "null = until it is resumed, or it is not paused"},
    "pause_reason": {"type": ["string", "null"]}
  },
  "required": ["flow_type", "is_paused"]
}$$,
$$SELECT evq_http.pause_flow($1 ->> 'flow_type', NULL, NULL, $1 - 'flow_type')$$),

('resume_flow', 'Resume a flow',
	'Lets a paused flow go on. Returns the flow.',
	true, false, true,
$${
  "type": "object",
  "properties": {"flow_type": {"type": "string"}},
  "required": ["flow_type"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "flow_type": {"type": "string"},
    "is_paused": {"type": "boolean"},
    "paused_until": {"type": ["string", "null"], "description": "null = until it is resumed, or it is not paused"},
    "pause_reason": {"type": ["string", "null"]}
  },
  "required": ["flow_type", "is_paused"]
}$$,
$$SELECT evq_http.resume_flow($1 ->> 'flow_type', NULL, NULL, NULL)$$),

('pause_group', 'Pause a group of a flow',
	'Lets nothing of a group, say a tenant, be dispatched or acquired, until a time or until resume_group; other groups of the flow go on. Returns the group.',
	true, true, true,
$${
  "type": "object",
  "properties": {
    "flow_type": {"type": "string"},
    "group_key": {"type": "string"},
    "until": {"type": "string", "format": "date-time", "description": "When it goes on by itself; without it, when it is resumed"},
    "reason": {"type": "string", "description": "Shown with the group"}
  },
  "required": ["flow_type", "group_key"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "flow_type": {"type": "string"},
    "group_key": {"type": "string"},
    "max_processing": {"type": ["integer", "null"]},
    "rate": {"type": ["number", "null"]},
    "is_paused": {"type": "boolean"},
    "paused_until": {"type": ["string", "null"], "description": "null = until it is resumed, or it is not paused"},
    "pause_reason": {"type": ["string", "null"]}
  },
  "required": ["flow_type", "group_key", "is_paused"]
}$$,
$$SELECT evq_http.pause_group($1 ->> 'flow_type', NULL, NULL, $1 - 'flow_type')$$),

('resume_group', 'Resume a group of a flow',
	'Lets a paused group of a flow go on. Returns the group.',
	true, false, true,
$${
  "type": "object",
  "properties": {"flow_type": {"type": "string"}, "group_key": {"type": "string"}},
  "required": ["flow_type", "group_key"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "flow_type": {"type": "string"},
    "group_key": {"type": "string"},
    "max_processing": {"type": ["integer", "null"]},
    "rate": {"type": ["number", "null"]},
    "is_paused": {"type": "boolean"},
    "paused_until": {"type": ["string", "null"], "description": "null = until it is resumed, or it is not paused"},
    "pause_reason": {"type": ["string", "null"]}
  },
  "required": ["flow_type", "group_key", "is_paused"]
}$$,
$$SELECT evq_http.resume_group($1 ->> 'flow_type', NULL, NULL, $1 - 'flow_type')$$),

('configure_group', 'Give a group of a flow limits of its own',
	'Sets limits of one group, say a tenant, in place of what its flow says of each; what is left out is as the flow says. The flow must have a limit of that kind. Returns the group.',
	true, true, true,
$${
  "type": "object",
  "properties": {
    "flow_type": {"type": "string"},
    "group_key": {"type": "string"},
    "max_processing": {"type": "integer", "minimum": 1, "maximum": 1000000, "description": "At most so many of its events offered or in processing at once"},
    "rate": {"type": "number", "description": "So many of its events begin in the time per, beyond the burst"},
    "per": {"type": "string", "description": "The time of the rate, in ISO 8601, such as PT1M"},
    "burst": {"type": "integer", "minimum": 1, "maximum": 1000000}
  },
  "required": ["flow_type", "group_key"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "flow_type": {"type": "string"},
    "group_key": {"type": "string"},
    "max_processing": {"type": ["integer", "null"]},
    "rate": {"type": ["number", "null"]},
    "is_paused": {"type": "boolean"},
    "paused_until": {"type": ["string", "null"], "description": "null = until it is resumed, or it is not paused"},
    "pause_reason": {"type": ["string", "null"]}
  },
  "required": ["flow_type", "group_key", "is_paused"]
}$$,
$$SELECT evq_http.configure_group($1 ->> 'flow_type', NULL, NULL, $1 - 'flow_type')$$),

('update_lifecycle_config', 'Change the configuration of an event type',
	'Changes what is passed and leaves the rest; a new event type needs flow_type. Takes effect at once, for events already published too. Returns the configuration as it is then. Durations are ISO 8601, such as PT30S, PT1H or P7D.',
	true, true, true,
$${
  "type": "object",
  "properties": {
    "event_type": {"type": "string"},
    "flow_type": {"type": "string", "description": "The flow its events belong to; made if it is new"},
    "max_attempts": {"type": "integer", "minimum": 1, "maximum": 10000, "description": "Attempts in all, the first one included"},
    "lifespan": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "Time for all attempts together"},
    "attempt_delays": {"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$"}, "description": "Delay before attempt 1, 2, ...; the last one repeats"},
    "backoff_factor": {"type": "number", "description": "Beyond attempt_delays each delay is the one before times this, 1 to 100"},
    "max_delay": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "No delay beyond attempt_delays is longer than this"},
    "jitter": {"type": "number", "description": "Delays beyond attempt_delays move at random by up to this share, 0 to 1"},
    "attempt_timeout": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "How long a permit holds without heartbeat"},
    "on_suspend_timeout": {"type": "string", "enum": ["expire", "retry"], "description": "What becomes of a suspended event whose trigger never came"},
    "on_fail_event_type": {"type": "string", "description": "Published when an event fails for good or expires; empty = none"},
    "priority": {"type": "integer", "minimum": -32768, "maximum": 32767, "description": "Higher is offered earlier"},
    "max_payload_bytes": {"type": "integer", "minimum": 2, "maximum": 268435455},
    "retention": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "How long a finished event is kept; with PT0S one that succeeds leaves nothing"},
    "limits": {"type": "array", "maxItems": 8, "items": {"type": "string"}, "description": "Named limits that its events have, made before; empty = none"},
    "cost": {"type": "integer", "minimum": 1, "maximum": 1000000, "description": "Tokens that an event takes of each of these that has a rate"}
  },
  "required": ["event_type"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "event_type": {"type": "string"},
    "flow_type": {"type": "string"},
    "max_attempts": {"type": "integer"},
    "lifespan": {"type": "string"},
    "attempt_delays": {"type": "array", "items": {"type": "string"}},
    "attempt_timeout": {"type": "string"},
    "is_suspended": {"type": "boolean"},
    "priority": {"type": "integer"},
    "retention": {"type": "string"},
    "limits": {"type": "array", "items": {"type": "string"}},
    "cost": {"type": "integer"}
  },
  "required": ["event_type", "flow_type", "max_attempts", "lifespan", "attempt_delays", "attempt_timeout", "is_suspended", "priority", "retention"]
}$$,
$$SELECT evq_http.configure($1 ->> 'event_type', NULL, NULL, $1 - 'event_type')$$),

('cancel_event', 'Cancel an event',
	'Cancels a live event for good; a worker that holds it learns so. An event canceled already stays as it is.',
	true, true, true,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "reason": {"type": "string", "description": "Kept with the event"}
  },
  "required": ["event_id"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {"acknowledged": {"type": "boolean"}, "status": {"type": "string", "enum": ["CANCELED"]}},
  "required": ["acknowledged", "status"]
}$$,
$$SELECT evq_http.cancel($1 ->> 'event_id', NULL, NULL, $1 - 'event_id')$$),

('retry_event', 'Retry an event',
	'Brings a failed, expired or canceled event back, due now, with fresh attempts and lifespan.',
	true, false, false,
$${
  "type": "object",
  "properties": {"event_id": {"type": "string", "format": "uuid"}},
  "required": ["event_id"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {"acknowledged": {"type": "boolean"}, "status": {"type": "string", "enum": ["AWAITING_PROCESSING"]}},
  "required": ["acknowledged", "status"]
}$$,
$$SELECT evq_http.retry($1 ->> 'event_id', NULL, NULL, NULL)$$)
$tools$;
COMMENT ON FUNCTION evq_http.mcp_operator_tools() IS 'Tools of evq_http.mcp() that operate';
