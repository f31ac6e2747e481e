-- Model Context Protocol: what can be read, by tools and as resources.

CREATE FUNCTION evq_http.mcp_queues() RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object(
	'engine', (SELECT jsonb_strip_nulls(to_jsonb(s)) FROM @extschema@.evq_status() s),
	'queues', (
		SELECT coalesce(jsonb_agg(jsonb_build_object('flow_type', q.flow_type, 'event_type', q.event_type, 'status', upper(q.state::text COLLATE "C"),
				'events', q.events, 'due', q.due, 'is_exact', q.is_exact, 'looked_at', q.looked_at, 'longest_in_state_seconds', extract(epoch FROM q.longest_in_state),
				'oldest_seconds', extract(epoch FROM q.oldest)) ORDER BY q.flow_type, q.event_type, q.state), '[]')
		FROM evq.queue q))
$$;
COMMENT ON FUNCTION evq_http.mcp_queues() IS 'Health of the engine, and the live events by flow, type and status';

CREATE FUNCTION evq_http.mcp_reading_tools() RETURNS SETOF evq_http.mcp_tool
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp ROWS 3
AS $tools$
VALUES
('get_event', 'Get an event',
	'All that is known of one event: status, times, payload, errors of its attempts, parent and children.',
	false, false, true,
$${
  "type": "object",
  "properties": {"event_id": {"type": "string", "format": "uuid"}},
  "required": ["event_id"],
  "additionalProperties": false
}$$::json,
$${
  "type": "object",
  "properties": {
    "event_id": {"type": "string", "format": "uuid"},
    "event_type": {"type": "string"},
    "flow_type": {"type": "string"},
    "flow_id": {"type": "string"},
    "status": {"type": "string", "enum": ["AWAITING_PROCESSING", "DISPATCHED", "BEING_PROCESSED", "SUSPENDED", "SUCCEEDED", "FAILED", "EXPIRED", "CANCELED"]},
    "published_at": {"type": "string", "format": "date-time"},
    "attempt_scheduled_at": {"type": "string", "format": "date-time", "description": "When the next attempt may start"},
    "due_at": {"type": "string", "format": "date-time", "description": "End of the lifespan"},
    "attempts_used": {"type": "integer"},
    "max_attempts": {"type": "integer"},
    "payload": {},
    "answer": {"description": "What its activation brought since it was suspended last"},
    "group_key": {"type": ["string", "null"], "description": "Whose it is, for limits by group"},
    "errors": {"type": "array", "items": {"type": "object"}},
    "children": {"type": "array", "items": {"type": "object"}}
  },
  "required": ["event_id", "event_type", "flow_type", "flow_id", "status", "published_at", "attempt_scheduled_at", "due_at", "attempts_used", "max_attempts", "payload", "errors", "children"]
}$$::json,
$$SELECT evq_http.event($1 ->> 'event_id', NULL, NULL, NULL)$$),

('list_events', 'List events',
	'Lists events, live and finished, the newest first, without payloads. next, passed as after, gives the next page; with filters a page may be empty and yet have a next one.',
	false, false, true,
$${
  "type": "object",
  "properties": {
    "flow_type": {"type": "string"},
    "event_type": {"type": "string"},
    "flow_id": {"type": "string"},
    "status": {"type": "string", "enum": ["AWAITING_PROCESSING", "DISPATCHED", "BEING_PROCESSED", "SUSPENDED", "SUCCEEDED", "FAILED", "EXPIRED", "CANCELED"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": 500, "description": "50 if left out"},
    "after": {"type": "string", "format": "uuid", "description": "next of the page before"}
  },
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "events": {
      "type": "array",
      "items": {
        "type": "object",
        "properties": {
          "event_id": {"type": "string", "format": "uuid"},
          "event_type": {"type": "string"},
          "flow_type": {"type": "string"},
          "flow_id": {"type": "string"},
          "status": {"type": "string"},
          "published_at": {"type": "string", "format": "date-time"},
          "attempt_scheduled_at": {"type": "string", "format": "date-time"},
          "due_at": {"type": "string", "format": "date-time"},
          "attempts_used": {"type": "integer"},
          "max_attempts": {"type": "integer"}
        },
        "required": ["event_id", "event_type", "flow_type", "flow_id", "status", "published_at", "attempt_scheduled_at", "due_at", "attempts_used", "max_attempts"]
      }
    },
    "next": {"description": "Id to pass as after; null at the end"},
    "searched": {
      "type": "object",
      "properties": {
        "events": {"type": "integer", "description": "So many were looked at for this page"},
        "back_to": {"description": "Those published since then; null when there are no more"}
      }
    }
  },
  "required": ["events", "next"]
}$$,
$$SELECT evq_http.events(NULL, $1, NULL, NULL)$$),

('queue_status', 'Status of the queues',
	'Health of the engine, and how many live events each flow and event type has in each status, how many are due, and how old. Where millions wait, the times are of those that are to go first.',
	false, false, true,
$${
  "type": "object",
  "additionalProperties": false
}$$,
$${
  "type": "object",
  "properties": {
    "engine": {"type": "object", "properties": {"running": {"type": "boolean"}, "problem": {"type": "string"}, "hint": {"type": "string"}}, "required": ["running"]},
    "queues": {
      "type": "array",
      "items": {
        "type": "object",
        "properties": {
          "flow_type": {"type": "string"},
          "event_type": {"type": "string"},
          "status": {"type": "string"},
          "events": {"type": "integer"},
          "due": {"type": "integer"},
          "is_exact": {"type": "boolean", "description": "false: events and due are at least so many"},
          "looked_at": {"description": "The times are of so many events of the flow; null: of all"},
          "longest_in_state_seconds": {"type": ["number", "null"]},
          "oldest_seconds": {"type": ["number", "null"]}
        },
        "required": ["flow_type", "event_type", "status", "events", "due"]
      }
    }
  },
  "required": ["engine", "queues"]
}$$,
$$SELECT evq_http.mcp_queues()$$)
$tools$;
COMMENT ON FUNCTION evq_http.mcp_reading_tools() IS 'Tools of evq_http.mcp() that only read';
