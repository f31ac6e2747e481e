-- Schedules: events that are published at the times of a cron expression.

CREATE FUNCTION evq.cron_fields(cron text) RETURNS text
AS 'MODULE_PATHNAME', 'evq_sql_cron_fields' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_fields(text) IS
$$The five fields of a cron expression, which a word such as @daily stands for too, or six, of which the first is the second. Of five,
fields, lists, ranges, steps and names mean what they mean to pg_cron. Errors: EQ006 not a cron expression, or one of a day that no year has.$$;

CREATE FUNCTION evq.cron_next(cron text, after timestamptz) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_cron_next' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_next(text, timestamptz) IS
'The first time of a cron expression, in UTC, after the one given. Errors: as evq.cron_fields(), and EQ006 infinite time';

CREATE FUNCTION evq.cron_previous(cron text, until timestamptz) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_cron_previous' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_previous(text, timestamptz) IS
'The last time of a cron expression, in UTC, before the one given or at it. Errors: as evq.cron_next()';

CREATE FUNCTION evq.cron_count(cron text, after timestamptz, until timestamptz) RETURNS bigint
AS 'MODULE_PATHNAME', 'evq_sql_cron_count' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_count(text, timestamptz, timestamptz) IS
'How many times of a cron expression lie after one time and not after another. Errors: as evq.cron_next()';

CREATE FUNCTION evq.clock_now() RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_clock_now' LANGUAGE c VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION evq.clock_now() IS 'The time by the clock that decides about events';

CREATE FUNCTION evq.cron_next(cron text, after timestamptz, time_zone text) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_cron_next' LANGUAGE c STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_next(text, timestamptz, text) IS
$$The first time of a cron expression, on the clocks of a time zone, after the one given. Where the field of the hour begins with *, it is
what clocks show: twice where they are set back, never where they are set forward. Any other expression has each of its times once: the
first of two, and the moment when the clocks are set for one that they leave out. Errors: as evq.cron_next(cron, after), and EQ006 no such time zone$$;

CREATE FUNCTION evq.cron_next_if_any(cron text, after timestamptz, time_zone text) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_cron_next_if_any' LANGUAGE c STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_next_if_any(text, timestamptz, text) IS 'As evq.cron_next(cron, after, time_zone), and NULL where that errs';

CREATE FUNCTION evq.cron_previous(cron text, until timestamptz, time_zone text) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'evq_sql_cron_previous' LANGUAGE c STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_previous(text, timestamptz, text) IS
'The last time of a cron expression, on the clocks of a time zone, before the one given or at it. Errors: as evq.cron_next()';

CREATE FUNCTION evq.cron_count(cron text, after timestamptz, until timestamptz, time_zone text) RETURNS bigint
AS 'MODULE_PATHNAME', 'evq_sql_cron_count' LANGUAGE c STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION evq.cron_count(text, timestamptz, timestamptz, text) IS
'How many times of a cron expression, on the clocks of a time zone, lie after one time and not after another. Errors: as evq.cron_next()';
