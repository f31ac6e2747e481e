-- Model Context Protocol: tools that publish and work.

CREATE FUNCTION evq_http.mcp_worker_tools() RETURNS SETOF evq_http.mcp_tool
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 6
AS $tools$
VALUES
('publish_event', 'Publish an event',
	'Publishes one event, that is a job, which workers of its flow will be offered. With an idempotency_key a repeated call returns the first event.',
	true, false, false,
$${
  "type": "object",
  "properties": {
    "event_type": {"type": "string", "description": "A configured event type; resources config://{eventType}"},
    "flow_type": {"type": "string", "description": "The event type's flow; may be left out, and a wrong one is an error"},
    "flow_id": {"type": ["string", "integer"], "minLength": 1, "maxLength": 255, "description": "What the events of one case have in common, such as an order number"},
    "payload": {"description": "Any JSON value, {} if left out"},
    "on_fail_event_type": {"type": "string", "description": "Event type published when this event fails for good or expires"},
    "run_at": {"type": "string", "format": "date-time", "description": "Not before this time; now if left out"},
    "priority": {"type": "integer", "minimum": -32768, "maximum": 32767, "description": "Higher is offered earlier; the event type's if left out"},
    "idempotency_key": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Unique per event type"},
    "headers": {"type": "object", "description": "Metadata for workers"},
    "group_key": {"type": ["string", "integer"], "minLength": 1, "maxLength": 255, "description": "Whose event it is, for limits by group; what the flow's group_by says if left out"}
  },
  "required": ["event_type", "flow_id"],
  "additionalProperties": false
}$$::json,
$${
  "type": "object",
  "properties": {"event_id": {"type": "string", "format": "uuid"}},
  "required": ["event_id"]
}$$::json,
$$SELECT evq_http.publish(NULL, NULL, NULL, $1)$$),

('acquire_processing_permit', 'Acquire the permit to process an event',
	'Takes one event for processing. acquired false means not granted: another worker has it, it is not due, its type is suspended, or it is finished. The permit is needed to report the outcome, before attempt_due_at.',
	true, false, false,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "worker": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Name of the worker, shown to operators"},
    "permit_for": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "How long the permit holds, an ISO 8601 duration such as PT5M; the event type's attempt_timeout if left out"}
  },
  "required": ["event_id"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "acquired": {"type": "boolean"},
    "event_id": {"type": "string", "format": "uuid"},
    "permit": {"type": "integer", "description": "Proof of the acquisition, for the report"},
    "event_type": {"type": "string"},
    "flow_type": {"type": "string"},
    "flow_id": {"type": "string"},
    "attempt": {"type": "integer"},
    "attempts_left": {"type": "integer"},
    "payload": {},
    "answer": {"description": "What the activation of the event brought since it was suspended last; null if nothing"},
    "attempt_due_at": {"type": "string", "format": "date-time", "description": "When the permit runs out"},
    "due_at": {"type": "string", "format": "date-time", "description": "End of the event's lifespan"}
  },
  "required": ["acquired"]
}$$,
$$SELECT evq_http.acquire($1 ->> 'event_id', NULL, NULL, $1 - 'event_id')$$),

('report_success', 'Report success',
	'Ends an acquired event as succeeded and publishes its spinoff events, all or nothing. Reporting the same success again with the same permit is not an error.',
	true, false, true,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "permit": {"type": "integer", "minimum": 0, "maximum": 9007199254740991, "description": "From acquire_processing_permit; the attempt now running, whoever runs it, if left out"},
    "result": {"description": "Any JSON value, kept with the event"},
    "spinoffs": {
      "type": "array",
      "description": "Events that follow from this one, in the same flow with the same flow_id",
      "items": {
        "type": "object",
        "properties": {
          "event_type": {"type": "string"},
          "payload": {"description": "Any JSON value, {} if left out"},
          "on_fail_event_type": {"type": "string"},
          "run_at": {"type": "string", "format": "date-time"},
          "priority": {"type": "integer", "minimum": -32768, "maximum": 32767},
          "headers": {"type": "object"},
          "group_key": {"type": ["string", "integer"], "minLength": 1, "maxLength": 255, "description": "That of the event if left out"}
        },
        "required": ["event_type"],
        "additionalProperties": false
      }
    }
  },
  "required": ["event_id"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "acknowledged": {"type": "boolean"},
    "spinoff_event_ids": {"type": "array", "items": {"type": "string", "format": "uuid"}}
  },
  "required": ["acknowledged", "spinoff_event_ids"]
}$$,
$$SELECT evq_http.succeed($1 ->> 'event_id', NULL, NULL, $1 - 'event_id')$$),

('report_failure', 'Report failure',
	'Ends the running attempt of an acquired event, or of one that was suspended with this permit, as failed. The engine decides what follows: another attempt (status AWAITING_PROCESSING), or the end (FAILED) with the on-fail event.',
	true, false, false,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "error_message": {"type": "string", "description": "What went wrong"},
    "permit": {"type": "integer", "minimum": 0, "maximum": 9007199254740991, "description": "From acquire_processing_permit; the attempt now running, whoever runs it, if left out"},
    "stack_trace": {"type": "string"},
    "retryable": {"type": "boolean", "description": "false = no further attempt; true if left out"},
    "retry_in": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "Delay of the next attempt in place of the configured one, an ISO 8601 duration such as PT30S"}
  },
  "required": ["event_id", "error_message"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "acknowledged": {"type": "boolean"},
    "status": {"type": "string", "enum": ["AWAITING_PROCESSING", "FAILED"]}
  },
  "required": ["acknowledged", "status"]
}$$,
$$SELECT evq_http.fail($1 ->> 'event_id', NULL, NULL, $1 - 'event_id')$$),

('suspend_event', 'Suspend an event',
	'Puts an acquired event to sleep until activate_event is called, by whoever gets the answer that it waits for. status AWAITING_PROCESSING means that the answer came before: the event is offered again at once. When the timeout passes first, the event expires, or is offered again if its type says so.',
	true, false, false,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "permit": {"type": "integer", "minimum": 0, "maximum": 9007199254740991, "description": "From acquire_processing_permit"},
    "timeout": {"type": "string", "pattern": "^P([0-9]+[YMWD])*(T([0-9.]+[HMS])+)?$", "description": "How long to wait at most, an ISO 8601 duration such as PT1H; to the end of the lifespan if left out"}
  },
  "required": ["event_id", "permit"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "acknowledged": {"type": "boolean"},
    "status": {"type": "string", "enum": ["SUSPENDED", "AWAITING_PROCESSING"]},
    "state_due_at": {"description": "When the suspension times out; null if the event is awake"}
  },
  "required": ["acknowledged", "status"]
}$$,
$$SELECT evq_http.suspend($1 ->> 'event_id', NULL, NULL, $1 - 'event_id')$$),

('activate_event', 'Activate a suspended event',
	'Wakes a suspended event with the answer that it waits for. Of an event still in processing the activation is kept for the moment when it is suspended (status BEING_PROCESSED). The same activation told again with the same permit is not an error.',
	true, false, false,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "answer": {"description": "Any JSON value, handed to the worker that goes on with the event"},
    "permit": {"type": "integer", "minimum": 0, "maximum": 9007199254740991, "description": "Of the attempt that asked: an answer that comes when that is over is refused; whichever attempt there is, if left out"},
    "payload_patch": {"type": "object", "description": "Merged into the payload, for good"}
  },
  "required": ["event_id"],
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "acknowledged": {"type": "boolean"},
    "status": {"type": "string"}
  },
  "required": ["acknowledged", "status"]
}$$,
$$SELECT evq_http.activate($1 ->> 'event_id', NULL, NULL, $1 - 'event_id')$$)
$tools$;
COMMENT ON FUNCTION evq_http.mcp_worker_tools() IS 'Tools of evq_http.mcp() that publish and work';
