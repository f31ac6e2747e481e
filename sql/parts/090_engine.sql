-- The engine as seen from SQL.

CREATE FUNCTION @extschema@.evq_tick(OUT dispatched int, OUT timed_out int, OUT expired int)
RETURNS record AS 'MODULE_PATHNAME', 'evq_sql_tick' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_tick() IS
$$Runs one turn of the engine in this session: times out what is overdue, dispatches what is due (notifications go out at
commit). For tests, for servers without evq in shared_preload_libraries, and for pg_cron. While it runs, no other turn does.
Returns: how many events it dispatched, timed out (dispatch, permit or suspension) and expired; zeros where another turn is
under way.$$;

CREATE FUNCTION @extschema@.evq_status(OUT preloaded boolean, OUT enabled boolean, OUT running boolean, OUT dispatcher_pid int,
	OUT started_at timestamptz, OUT last_turn_at timestamptz, OUT turns bigint, OUT events_dispatched bigint,
	OUT ring_overflows bigint, OUT errors bigint, OUT last_error text, OUT problem text, OUT hint text)
RETURNS record AS 'MODULE_PATHNAME', 'evq_sql_status' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_status() IS
$$Health of this database's dispatcher; the counters start at zero with the server.
Returns: one row. problem is NULL when all is well; otherwise it says what is wrong, and hint what to do.$$;

CREATE FUNCTION @extschema@.evq_watch(duration interval DEFAULT '1 minute') RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_watch' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.evq_watch(interval) IS
$$Has the dispatcher notify each change of an event's state on the channel evq_events. A message is {"seq", "event_id",
"event_type", "flow_type", "flow_id", "status", "attempts_used", "state_since"}, without flow_id where the event has left
nothing (see retention); changes within 20 ms come together, and where they are more than can be followed, the rest as
{"seq", "skipped": n}.
duration: for how long, up to an hour; call it again before that is over.
Returns: until when.
Errors: EQ006 longer than an hour, 55000 no dispatcher serves the database.$$;

CREATE FUNCTION @extschema@.evq_version() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT extversion FROM pg_extension WHERE extname = 'evq' $$;
COMMENT ON FUNCTION @extschema@.evq_version() IS
	'Version of the installed extension.';

CREATE FUNCTION evq.announce_extension() RETURNS void
AS 'MODULE_PATHNAME', 'evq_sql_announce_extension' LANGUAGE c VOLATILE;
COMMENT ON FUNCTION evq.announce_extension() IS 'Asks the launcher, at commit, to start this database''s dispatcher';

SELECT evq.announce_extension();
