-- From the JSON of HTTP requests to the values that the verbs take, and back.
-- A function of a route is evq_http.<verb>(target, query, headers, body): the variable part of its path, the query
-- string as an object of strings, the request's headers by lower-case name, and the body. It returns the answer.

CREATE FUNCTION evq_http.object_of(given jsonb, known text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	unknown text;
BEGIN
	IF coalesce(given, 'null') = 'null' THEN
		RETURN '{}';
	END IF;
	IF jsonb_typeof(given) <> 'object' THEN
		RAISE EXCEPTION 'the body is not a JSON object'
			USING ERRCODE = 'EQ006', HINT = 'Send an object, or no body where nothing is required.';
	END IF;
	SELECT k INTO unknown FROM jsonb_object_keys(given) k WHERE k <> ALL (known) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'unknown key "%"', left(unknown, 63)
			USING ERRCODE = 'EQ006',
				HINT = CASE WHEN known = '{}' THEN 'None is known here.' ELSE format('Known are: %s.', array_to_string(known, ', ')) END;
	END IF;
	RETURN given;
END
$$;
COMMENT ON FUNCTION evq_http.object_of(jsonb, text[]) IS 'The object, {} for NULL and null; EQ006 where it is none or has a key that is not known';

CREATE FUNCTION evq_http.refuse(key text, what text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION '% is not %', key, what
		USING ERRCODE = 'EQ006', HINT = format('Pass %s, or leave it out where it is not required.', what);
END
$$;
COMMENT ON FUNCTION evq_http.refuse(text, text) IS 'Raises EQ006 for a key whose value is not what it should be';

CREATE FUNCTION evq_http.text_of(given jsonb, key text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF jsonb_typeof(given -> key) NOT IN ('string', 'null') THEN
		PERFORM evq_http.refuse(key, 'a string');
	END IF;
	RETURN given ->> key;
END
$$;
COMMENT ON FUNCTION evq_http.text_of(jsonb, text) IS 'A string of an object; NULL where it has none';

CREATE FUNCTION evq_http.texts_of(given jsonb, key text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF coalesce(jsonb_typeof(given -> key), 'null') = 'null' THEN
		RETURN NULL;
	END IF;
	IF jsonb_typeof(given -> key) <> 'array' OR jsonb_path_exists(given -> key, 'strict $[*] ? (@.type() <> "string")') THEN
		PERFORM evq_http.refuse(key, 'an array of strings');
	END IF;
	RETURN ARRAY(SELECT jsonb_array_elements_text(given -> key));
END
$$;
COMMENT ON FUNCTION evq_http.texts_of(jsonb, text) IS 'An array of strings of an object; NULL where it has none';

CREATE FUNCTION evq_http.integers_of(given jsonb, key text) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF coalesce(jsonb_typeof(given -> key), 'null') = 'null' THEN
		RETURN NULL;
	END IF;
	IF jsonb_typeof(given -> key) <> 'array' OR EXISTS (
		SELECT FROM jsonb_array_elements(given -> key) e WHERE jsonb_typeof(e) <> 'number' OR e::text !~ '^-?[0-9]{1,18}$') THEN
		PERFORM evq_http.refuse(key, 'an array of whole numbers');
	END IF;
	RETURN ARRAY(SELECT e::bigint FROM jsonb_array_elements_text(given -> key) e);
END
$$;
COMMENT ON FUNCTION evq_http.integers_of(jsonb, text) IS 'An array of whole numbers of an object; NULL where it has none';

-- A bigint does not fit every client's number, and the query string has strings only: digits in a string will do.
CREATE FUNCTION evq_http.integer_of(given jsonb, key text, lowest bigint, highest bigint) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	value text := given ->> key;
BEGIN
	IF value !~ '^-?[0-9]{1,19}$' OR value::numeric NOT BETWEEN lowest AND highest THEN
		PERFORM evq_http.refuse(key, format('a whole number from %s to %s', lowest, highest));
	END IF;
	RETURN value::bigint;
END
$$;
COMMENT ON FUNCTION evq_http.integer_of(jsonb, text, bigint, bigint) IS 'A whole number of an object, within bounds; NULL where it has none';

CREATE FUNCTION evq_http.permit_of(given jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN evq_http.integer_of(given, 'permit', '-9223372036854775808', '9223372036854775807');
COMMENT ON FUNCTION evq_http.permit_of(jsonb) IS 'The permit of an object; NULL where it has none';

CREATE FUNCTION evq_http.number_of(given jsonb, key text) RETURNS float8
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF jsonb_typeof(given -> key) NOT IN ('number', 'null') THEN
		PERFORM evq_http.refuse(key, 'a number');
	END IF;
	-- What a float8 cannot be is refused here: to catch the error would need a subtransaction.
	IF abs((given ->> key)::numeric) > 1e308 OR (abs((given ->> key)::numeric) < 1e-307 AND (given ->> key)::numeric <> 0) THEN
		PERFORM evq_http.refuse(key, 'a number');
	END IF;
	RETURN (given ->> key)::float8;
END
$$;
COMMENT ON FUNCTION evq_http.number_of(jsonb, text) IS 'A number of an object; NULL where it has none';

CREATE FUNCTION evq_http.boolean_of(given jsonb, key text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF jsonb_typeof(given -> key) NOT IN ('boolean', 'null') THEN
		PERFORM evq_http.refuse(key, 'true or false');
	END IF;
	RETURN (given ->> key)::boolean;
END
$$;
COMMENT ON FUNCTION evq_http.boolean_of(jsonb, text) IS 'A boolean of an object; NULL where it has none';

-- Whoever catches errors begins a subtransaction, which a parallel query may not.
CREATE FUNCTION evq_http.duration_of(value jsonb, key text) RETURNS interval
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	CASE coalesce(jsonb_typeof(value), 'null')
		WHEN 'null' THEN RETURN NULL;
		WHEN 'number' THEN RETURN (value #>> '{}')::float8 * interval '1 second';
		WHEN 'string' THEN RETURN (value #>> '{}')::interval;
		ELSE NULL;
	END CASE;
	PERFORM evq_http.refuse(key, 'a number of seconds or an interval such as "90 s"');
EXCEPTION WHEN data_exception THEN
	PERFORM evq_http.refuse(key, 'a number of seconds or an interval such as "90 s"');
END
$$;
COMMENT ON FUNCTION evq_http.duration_of(jsonb, text) IS 'An interval, or a number of seconds; NULL for null. key: named in the error';

CREATE FUNCTION evq_http.durations_of(given jsonb, key text) RETURNS interval[]
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF coalesce(jsonb_typeof(given -> key), 'null') = 'null' THEN
		RETURN NULL;
	END IF;
	IF jsonb_typeof(given -> key) <> 'array' THEN
		PERFORM evq_http.refuse(key, 'an array of intervals');
	END IF;
	RETURN ARRAY(SELECT evq_http.duration_of(element, key) FROM jsonb_array_elements(given -> key) element);
END
$$;
COMMENT ON FUNCTION evq_http.durations_of(jsonb, text) IS 'An array of intervals of an object; NULL where it has none';

CREATE FUNCTION evq_http.time_of(given jsonb, key text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN evq_http.text_of(given, key)::timestamptz;
EXCEPTION WHEN data_exception THEN
	PERFORM evq_http.refuse(key, 'a time such as "2030-01-31T12:00:00Z"');
END
$$;
COMMENT ON FUNCTION evq_http.time_of(jsonb, text) IS 'A time of an object; NULL where it has none';

CREATE FUNCTION evq_http.id_of(given text, key text DEFAULT 'the event id') RETURNS uuid
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF given COLLATE "C" !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
		PERFORM evq_http.refuse(key, 'a UUID');
	END IF;
	RETURN given::uuid;
END
$$;
COMMENT ON FUNCTION evq_http.id_of(text, text) IS 'A UUID from its text; NULL for NULL. key: named in the error';

CREATE FUNCTION evq_http.limit_of(query jsonb) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(evq_http.integer_of(query, 'limit', 1, 500), 50);
COMMENT ON FUNCTION evq_http.limit_of(jsonb) IS 'Length of a page: 1 to 500, by default 50';

-- In HTTP a state is called status and written in upper case.
CREATE FUNCTION evq_http.status_of(state evq.event_state) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN upper(state::text COLLATE "C");
COMMENT ON FUNCTION evq_http.status_of(evq.event_state) IS 'A state as HTTP writes it';

CREATE FUNCTION evq_http.row_of(given jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (given - 'state'::text) || jsonb_build_object('status', upper((given ->> 'state') COLLATE "C"));
COMMENT ON FUNCTION evq_http.row_of(jsonb) IS 'A row with its state called status';
