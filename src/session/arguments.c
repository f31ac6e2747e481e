/*
 * arguments.c
 *		From SQL and JSON values to what the verbs take.
 *
 * The caller has called evq_config_use().
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "rules/transition.h"
#include "session/arguments.h"

#define MAX_EVENTS_A_CALL 10000
#define MAX_EVENT_TYPES 100

/* Payloads of more bytes are not copied out of the argument before they are stored. */
#define LARGE_PAYLOAD 8192

static void
refuse_null(const char *name)
{
	ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("%s is NULL", name),
					errhint("Pass a value for %s.", name)));
}

static void
refuse_array(const char *name)
{
	ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("%s must be a plain array without NULLs", name),
					errhint("Leave out what has no value.")));
}

/* An event id; NULL is an error. */
pg_uuid_t
evq_argument_event_id(FunctionCallInfo fcinfo, int argno)
{
	if (PG_ARGISNULL(argno))
		refuse_null("event_id");
	return *PG_GETARG_UUID_P(argno);
}

/* A permit; NULL is an error where it is required. */
EvqPermit
evq_argument_permit(FunctionCallInfo fcinfo, int argno, bool required)
{
	EvqPermit permit = {.given = !PG_ARGISNULL(argno)};

	if (permit.given)
		permit.value = PG_GETARG_INT64(argno);
	else if (required)
		refuse_null("permit");
	return permit;
}

/* A text; NULL for NULL. */
const char *
evq_argument_text(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(argno));
}

/* A text; NULL is an error, which calls the argument by this name. */
const char *
evq_argument_required_text(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (PG_ARGISNULL(argno))
		refuse_null(name);
	return text_to_cstring(PG_GETARG_TEXT_PP(argno));
}

/* Is it a type of flow_ids that are no text? */
static bool
is_flow_id_type(Oid type)
{
	Oid base = getBaseType(type);

	return base == INT2OID || base == INT4OID || base == INT8OID || base == UUIDOID;
}

/*
 * A flow_id: text, or whatever the second of the overloaded functions takes
 * without a cast. Other types are refused, for they may well be an argument in
 * the wrong place.
 */
const char *
evq_argument_flow_id(FunctionCallInfo fcinfo, int argno)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, argno);
	Oid output;
	bool is_varlena;

	if (PG_ARGISNULL(argno))
		refuse_null("flow_id");
	if (type == TEXTOID || !OidIsValid(type))
		return text_to_cstring(PG_GETARG_TEXT_PP(argno));
	if (!is_flow_id_type(type))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
						errmsg("flow_id cannot be of type %s", format_type_be(type)),
						errhint("Pass text, a whole number or a uuid.")));
	getTypeOutputInfo(type, &output, &is_varlena);
	return OidOutputFunctionCall(output, PG_GETARG_DATUM(argno));
}

/* How jsonb comes in. */
typedef enum JsonSource
{
	JSON_IS_JSONB,
	JSON_IS_TEXT
} JsonSource;

static JsonSource
json_source(Oid type, const char *name)
{
	Oid base = getBaseType(type);

	if (base == JSONBOID)
		return JSON_IS_JSONB;
	if (base == JSONOID || base == TEXTOID || base == VARCHAROID)
		return JSON_IS_TEXT;
	ereport(ERROR,
			(errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("%s cannot be of type %s", name, format_type_be(type)),
			 errhint("Pass jsonb, json or its text; to_jsonb() makes jsonb of other values.")));
	return JSON_IS_TEXT; /* keep compiler quiet */
}

static Datum
jsonb_from_text(Datum value)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(TextDatumGetCString(value)));
}

static bool
is_json_null(Datum json)
{
	Jsonb *jsonb = DatumGetJsonbP(json);
	JsonbValue value;

	return JB_ROOT_IS_SCALAR(jsonb) && JsonbExtractScalar(&jsonb->root, &value) && value.type == jbvNull;
}

static bool
is_constant(FunctionCallInfo fcinfo, int argno)
{
	const FuncExpr *call = (const FuncExpr *) fcinfo->flinfo->fn_expr;

	return call != NULL && IsA(call, FuncExpr) && argno < list_length(call->args) &&
		   IsA(list_nth(call->args, argno), Const);
}

/* A constant is converted once for all calls of a statement. */
static Datum
jsonb_from_text_argument(FunctionCallInfo fcinfo, int argno)
{
	FmgrInfo *flinfo = fcinfo->flinfo;
	MemoryContext previous;
	Datum *converted; /* by argument; 0 = not yet */

	if (!is_constant(fcinfo, argno))
		return jsonb_from_text(PG_GETARG_DATUM(argno));
	if (flinfo->fn_extra == NULL)
		flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt, PG_NARGS() * sizeof(Datum));
	converted = flinfo->fn_extra;
	if (converted[argno] == (Datum) 0)
	{
		previous = MemoryContextSwitchTo(flinfo->fn_mcxt);
		converted[argno] = jsonb_from_text(PG_GETARG_DATUM(argno));
		MemoryContextSwitchTo(previous);
	}
	return converted[argno];
}

/*
 * jsonb from jsonb, json or text, for the argument is polymorphic: what has no
 * type of its own in the call is text. 0 for NULL and for JSON's null.
 */
Datum
evq_argument_json(FunctionCallInfo fcinfo, int argno, const char *name)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, argno);
	Datum json;

	if (PG_ARGISNULL(argno))
		return (Datum) 0;
	if (type == JSONBOID || !OidIsValid(type) || json_source(type, name) == JSON_IS_JSONB)
		json = PointerGetDatum(PG_DETOAST_DATUM(PG_GETARG_DATUM(argno)));
	else
		json = jsonb_from_text_argument(fcinfo, argno);
	return is_json_null(json) ? (Datum) 0 : json;
}

/* {} as jsonb. */
Datum
evq_argument_empty_object(void)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
}

/* The same of each element of an array; {} where there is none. The array itself may not be NULL. */
Datum *
evq_argument_json_elements(FunctionCallInfo fcinfo, int argno, const char *name, int *count)
{
	ArrayType *array;
	Datum *elements;
	bool *nulls;
	JsonSource source;
	int16 length;
	bool by_value;
	char align;

	if (PG_ARGISNULL(argno))
		refuse_null(name);
	array = PG_GETARG_ARRAYTYPE_P(argno);
	if (ARR_NDIM(array) > 1)
		refuse_array(name);
	source = json_source(ARR_ELEMTYPE(array), name);
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &elements, &nulls, count);
	for (int i = 0; i < *count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!nulls[i])
			elements[i] = source == JSON_IS_JSONB ? PointerGetDatum(PG_DETOAST_DATUM(elements[i]))
												  : jsonb_from_text(elements[i]);
		if (nulls[i] || is_json_null(elements[i]))
			elements[i] = evq_argument_empty_object();
	}
	return elements;
}

static int16
check_priority(double priority)
{
	if (!(priority >= PG_INT16_MIN && priority <= PG_INT16_MAX))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("priority is out of range"),
						errhint("Pass a number between -32768 and 32767.")));
	return (int16) priority;
}

/* A whole number: a bigint, or what it was before 0.3, until the extension is updated. */
static int64
whole_number(FunctionCallInfo fcinfo, int argno)
{
	switch (get_fn_expr_argtype(fcinfo->flinfo, argno))
	{
		case INT2OID:
			return PG_GETARG_INT16(argno);
		case INT4OID:
			return PG_GETARG_INT32(argno);
		default:
			return PG_GETARG_INT64(argno);
	}
}

/* A priority; false for NULL. */
bool
evq_argument_priority(FunctionCallInfo fcinfo, int argno, int16 *priority)
{
	if (PG_ARGISNULL(argno))
		return false;
	*priority = check_priority(whole_number(fcinfo, argno));
	return true;
}

/* An interval in microseconds; EVQ_DEFAULT_TIME for NULL. */
int64
evq_argument_duration(FunctionCallInfo fcinfo, int argno, const char *name, bool zero_allowed)
{
	const int64 longest = INT64CONST(3650) * USECS_PER_DAY;
	const Interval *interval;
	double duration;

	if (PG_ARGISNULL(argno))
		return EVQ_DEFAULT_TIME;
	interval = PG_GETARG_INTERVAL_P(argno);
	duration = (double) interval->time +
			   ((double) interval->day + (double) interval->month * DAYS_PER_MONTH) * USECS_PER_DAY;
	if (duration < 0 || duration > longest || (duration == 0 && !zero_allowed))
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("%s is out of range", name),
				 errhint("Pass an interval %s 0 and up to 3650 days.", zero_allowed ? "from" : "above")));
	return (int64) duration;
}

/* The name of a worker; NULL for NULL. */
const char *
evq_argument_worker(FunctionCallInfo fcinfo, int argno)
{
	const char *worker = evq_argument_text(fcinfo, argno);

	if (worker != NULL && strlen(worker) > EVQ_MAX_WORKER_NAME)
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("worker name has %zu bytes", strlen(worker)),
				 errhint("Pass at most %d bytes.", EVQ_MAX_WORKER_NAME)));
	return worker;
}

/* How many events are asked for; 1 for NULL. */
int
evq_argument_max_events(FunctionCallInfo fcinfo, int argno)
{
	int64 max_events = PG_ARGISNULL(argno) ? 1 : whole_number(fcinfo, argno);

	if (max_events < 1 || max_events > MAX_EVENTS_A_CALL)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("max_events is out of range"),
						errhint("Pass 1 to %d.", MAX_EVENTS_A_CALL)));
	return (int) max_events;
}

static Datum *
plain_elements(ArrayType *array, const char *name, Oid type, int *count)
{
	Datum *elements;
	int16 length;
	bool by_value;
	char align;

	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		refuse_array(name);
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &elements, NULL, count);
	return elements;
}

/* The array of text that an argument is the text of, as one without a type is. */
static ArrayType *
array_of_text(FunctionCallInfo fcinfo, int argno)
{
	return DatumGetArrayTypeP(OidFunctionCall3(F_ARRAY_IN,
											   CStringGetDatum(text_to_cstring(PG_GETARG_TEXT_PP(argno))),
											   ObjectIdGetDatum(TEXTOID), Int32GetDatum(-1)));
}

/* The elements of a one-dimensional array without NULLs. */
Datum *
evq_argument_elements(FunctionCallInfo fcinfo, int argno, const char *name, Oid type, int *count)
{
	if (PG_ARGISNULL(argno))
		refuse_null(name);
	return plain_elements(PG_GETARG_ARRAYTYPE_P(argno), name, type, count);
}

/* The same of an argument that is the text of an array of text. */
Datum *
evq_argument_elements_of_text(FunctionCallInfo fcinfo, int argno, const char *name, int *count)
{
	return plain_elements(array_of_text(fcinfo, argno), name, TEXTOID, count);
}

/*
 * The flow_ids of a call: an array of text or of what a flow_id can be, or the text of an array
 * of text, which is what an argument without a type is.
 */
const char **
evq_argument_flow_ids(FunctionCallInfo fcinfo, int argno, int *count)
{
	ArrayType *array;
	Oid type;
	Oid base;
	Oid output;
	bool is_varlena;
	FmgrInfo output_function;
	Datum *elements;
	const char **flow_ids;

	if (PG_ARGISNULL(argno))
		refuse_null("flow_ids");
	if (get_fn_expr_argtype(fcinfo->flinfo, argno) == TEXTOID)
		array = array_of_text(fcinfo, argno);
	else
		array = PG_GETARG_ARRAYTYPE_P(argno);
	type = ARR_ELEMTYPE(array);
	base = getBaseType(type);
	if (base != TEXTOID && base != VARCHAROID && !is_flow_id_type(type))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
						errmsg("flow_ids cannot be of type %s", format_type_be(get_array_type(type))),
						errhint("Pass an array of text, whole numbers or uuid.")));
	elements = plain_elements(array, "flow_ids", type, count);
	flow_ids = palloc(Max(*count, 1) * sizeof(const char *));
	getTypeOutputInfo(type, &output, &is_varlena);
	fmgr_info(output, &output_function);
	for (int i = 0; i < *count; i++)
		flow_ids[i] = OutputFunctionCall(&output_function, elements[i]);
	return flow_ids;
}

/*
 * An array of text with one element for each of "count" others, whose NULLs stay NULL; NULL for NULL, and where the extension is
 * older. others, name: for errors, what one of the others is, and one of these.
 */
const char **
evq_argument_texts_beside(FunctionCallInfo fcinfo, int argno, int count, const char *others, const char *name)
{
	ArrayType *array;
	Datum *elements;
	bool *nulls;
	int element_count;
	const char **texts;

	if (PG_NARGS() <= argno || PG_ARGISNULL(argno))
		return NULL;
	array = PG_GETARG_ARRAYTYPE_P(argno);
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &element_count);
	if (ARR_NDIM(array) > 1 || element_count != count)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
						errmsg("%d %ss but %d %ss", count, others, element_count, name),
						errhint("Pass one %s for each %s, in the same order, or no array.", name, others)));
	texts = palloc(Max(count, 1) * sizeof(const char *));
	for (int i = 0; i < count; i++)
		texts[i] = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
	return texts;
}

/* Event ids, from an array of uuid or, as some drivers send it, of text. name: for errors. */
pg_uuid_t *
evq_argument_event_ids(FunctionCallInfo fcinfo, int argno, const char *name, int *count)
{
	Oid type = UUIDOID;
	Datum *elements;
	pg_uuid_t *ids;

	if (!PG_ARGISNULL(argno))
		type = ARR_ELEMTYPE(PG_GETARG_ARRAYTYPE_P(argno));
	if (type != UUIDOID && type != TEXTOID && type != VARCHAROID)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
						errmsg("%s cannot be of type %s", name, format_type_be(type)),
						errhint("Pass an array of uuid, or of their text.")));
	elements = evq_argument_elements(fcinfo, argno, name, type, count);
	ids = palloc(Max(*count, 1) * sizeof(pg_uuid_t));
	for (int i = 0; i < *count; i++)
	{
		Datum id = elements[i];

		if (type != UUIDOID)
			id = DirectFunctionCall1(uuid_in, CStringGetDatum(TextDatumGetCString(id)));
		ids[i] = *DatumGetUUIDP(id);
	}
	return ids;
}

/* The attempts that a call reports on, from an array of event ids and one of their permits. */
void
evq_argument_reports(FunctionCallInfo fcinfo, int ids_argno, int permits_argno, EvqReports *reports)
{
	int permit_count;
	Datum *permits;
	const pg_uuid_t *event_ids = evq_argument_event_ids(fcinfo, ids_argno, "event_ids", &reports->count);

	permits = evq_argument_elements(fcinfo, permits_argno, "permits", INT8OID, &permit_count);
	if (permit_count != reports->count)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT),
						errmsg("%d event ids but %d permits", reports->count, permit_count),
						errhint("Pass one permit for each event, in the same order.")));
	reports->attempts = palloc(Max(reports->count, 1) * sizeof(EvqAttempt));
	for (int i = 0; i < reports->count; i++)
	{
		reports->attempts[i].event_id = event_ids[i];
		reports->attempts[i].permit.given = true;
		reports->attempts[i].permit.value = DatumGetInt64(permits[i]);
	}
}

/* ---------- names ---------- */

/* As much of a name as an error message shows: the length of the longest that could be right. */
static const char *
shown(const char *name)
{
	int length = strlen(name);

	return length < NAMEDATALEN ? name : pnstrdup(name, pg_mbcliplen(name, length, NAMEDATALEN - 1));
}

/* The flow of an event type; there is none only where the tables were changed by hand. */
static const EvqFlow *
flow_of(const EvqEventType *event_type)
{
	const EvqFlow *flow = evq_config_flow(event_type->flow_no);

	if (flow == NULL)
		ereport(ERROR, (errcode(EVQ_ERRCODE_UNKNOWN_TYPE),
						errmsg("event type \"%s\" has no flow", event_type->event_type),
						errhint("Configure it again with evq_configure().")));
	return flow;
}

/* The event type of a name, in the session's copy of the configuration. flow_type: NULL = the type's own; another one is an error. */
const EvqEventType *
evq_argument_event_type(const char *event_type, const char *flow_type)
{
	const EvqEventType *found = evq_config_find_event_type(event_type);
	const EvqFlow *flow;

	if (found == NULL)
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_UNKNOWN_TYPE), errmsg("unknown event type \"%s\"", shown(event_type)),
				 errhint("Configure it with evq_configure().")));
	if (flow_type == NULL)
		return found;
	flow = evq_argument_flow(flow_type);
	if (flow->flow_no != found->flow_no)
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_UNKNOWN_TYPE),
				 errmsg("event type \"%s\" is not of flow \"%s\"", event_type, flow_type),
				 errhint("Pass NULL for the event type's own flow, \"%s\".", flow_of(found)->flow_type)));
	return found;
}

/* The flow of a name, in the session's copy of the configuration. */
const EvqFlow *
evq_argument_flow(const char *flow_type)
{
	const EvqFlow *flow = evq_config_find_flow(flow_type);

	if (flow == NULL)
		ereport(ERROR,
				(errcode(EVQ_ERRCODE_UNKNOWN_TYPE), errmsg("unknown flow \"%s\"", shown(flow_type)),
				 errhint(
					 "Configure it with evq_configure_flow(), or with an event type by evq_configure().")));
	return flow;
}

/* The number of an on-fail event type of the same flow; 0 for NULL. */
int32
evq_argument_on_fail(const char *on_fail_event_type, const EvqEventType *event_type)
{
	if (on_fail_event_type == NULL)
		return 0;
	return evq_argument_event_type(on_fail_event_type, flow_of(event_type)->flow_type)->event_type_no;
}

/* The numbers of event types; none for NULL. */
int32 *
evq_argument_event_type_nos(FunctionCallInfo fcinfo, int argno, int *count)
{
	Datum *names;
	int32 *numbers;

	*count = 0;
	if (PG_ARGISNULL(argno))
		return NULL;
	names = evq_argument_elements(fcinfo, argno, "event_types", TEXTOID, count);
	if (*count == 0 || *count > MAX_EVENT_TYPES)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("event_types has %d elements", *count),
						errhint("Pass 1 to %d names, or NULL for all types.", MAX_EVENT_TYPES)));
	numbers = palloc(*count * sizeof(int32));
	for (int i = 0; i < *count; i++)
		numbers[i] = evq_argument_event_type(TextDatumGetCString(names[i]), NULL)->event_type_no;
	return numbers;
}

/* A value of evq.event_state, whose oid the caller knows. */
Datum
evq_argument_state_datum(EvqState state, Oid enum_type)
{
	return OidFunctionCall2(F_ENUM_IN, CStringGetDatum(evq_transition_state_name(state)),
							ObjectIdGetDatum(enum_type));
}

/* ---------- events as JSON ---------- */

typedef enum Key
{
	KEY_EVENT_TYPE,
	KEY_FLOW_TYPE,
	KEY_FLOW_ID,
	KEY_PAYLOAD,
	KEY_ON_FAIL_EVENT_TYPE,
	KEY_RUN_AT,
	KEY_PRIORITY,
	KEY_IDEMPOTENCY_KEY,
	KEY_HEADERS,
	KEY_GROUP_KEY,
	KEY_COUNT
} Key;

static const struct
{
	const char *name;
	bool in_spinoff; /* a spinoff takes the rest from its parent */
} keys[KEY_COUNT] = {
	[KEY_EVENT_TYPE] = {"event_type", true},
	[KEY_FLOW_TYPE] = {"flow_type", false},
	[KEY_FLOW_ID] = {"flow_id", false},
	[KEY_PAYLOAD] = {"payload", true},
	[KEY_ON_FAIL_EVENT_TYPE] = {"on_fail_event_type", true},
	[KEY_RUN_AT] = {"run_at", true},
	[KEY_PRIORITY] = {"priority", true},
	[KEY_IDEMPOTENCY_KEY] = {"idempotency_key", false},
	[KEY_HEADERS] = {"headers", true},
	[KEY_GROUP_KEY] = {"group_key", true},
};

static Key
find_key(const JsonbValue *name, bool is_spinoff)
{
	for (int i = 0; i < KEY_COUNT; i++)
	{
		if (strlen(keys[i].name) == name->val.string.len &&
			strncmp(keys[i].name, name->val.string.val, name->val.string.len) == 0 &&
			(keys[i].in_spinoff || !is_spinoff))
			return (Key) i;
	}
	ereport(
		ERROR,
		(errcode(EVQ_ERRCODE_BAD_ARGUMENT),
		 errmsg("unknown key \"%.*s\"", name->val.string.len, name->val.string.val),
		 errhint(
			 is_spinoff
				 ? "A spinoff has event_type, payload, on_fail_event_type, run_at, priority, headers and group_key."
				 : "The keys are the argument names of evq_publish().")));
	return KEY_COUNT; /* keep compiler quiet */
}

static const char *
json_text(const JsonbValue *value, const char *name)
{
	if (value == NULL)
		return NULL;
	if (value->type != jbvString)
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("%s is not a string", name),
						errhint("Pass a JSON string.")));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* A flow_id or a group_key may be a whole number too. */
static const char *
json_key(const JsonbValue *value, const char *name)
{
	const char *text;

	if (value == NULL || value->type != jbvNumeric)
		return json_text(value, name);
	text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	if (strspn(text, "-0123456789") != strlen(text))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("%s is not a whole number", name),
						errhint("Pass a JSON string or a whole number.")));
	return text;
}

static int16
json_priority(const JsonbValue *value)
{
	double number = 0.5;

	if (value->type == jbvNumeric)
		number = DatumGetFloat8(
			DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (number != rint(number))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("priority is not a whole number"),
						errhint("Pass a number between -32768 and 32767.")));
	return check_priority(number);
}

/* Is it worth while to leave a value where it is until it is needed? */
static bool
is_large(const JsonbValue *value)
{
	return (value->type == jbvBinary && value->val.binary.len > LARGE_PAYLOAD) ||
		   (value->type == jbvString && value->val.string.len > LARGE_PAYLOAD);
}

static void
read_publish(JsonbContainer *object, bool is_spinoff, EvqPublish *publish)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue found[KEY_COUNT];
	JsonbValue *values[KEY_COUNT] = {NULL};
	JsonbValue item;
	const char *text;

	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		Key key;

		if (token != WJB_KEY)
			continue;
		key = find_key(&item, is_spinoff);
		(void) JsonbIteratorNext(&iterator, &found[key], true);
		if (found[key].type != jbvNull)
			values[key] = &found[key];
	}

	memset(publish, 0, sizeof(*publish));
	text = json_text(values[KEY_EVENT_TYPE], "event_type");
	if (text == NULL)
		refuse_null("event_type");
	publish->event_type = evq_argument_event_type(text, json_text(values[KEY_FLOW_TYPE], "flow_type"));
	publish->flow_id = json_key(values[KEY_FLOW_ID], "flow_id");
	if (publish->flow_id == NULL && !is_spinoff)
		refuse_null("flow_id");
	if (values[KEY_PAYLOAD] == NULL)
		publish->payload = evq_argument_empty_object();
	else if (is_large(values[KEY_PAYLOAD]))
		publish->payload_part = memcpy(palloc(sizeof(JsonbValue)), values[KEY_PAYLOAD], sizeof(JsonbValue));
	else
		publish->payload = JsonbPGetDatum(JsonbValueToJsonb(values[KEY_PAYLOAD]));
	publish->headers = values[KEY_HEADERS] == NULL ? (Datum) 0
												   : JsonbPGetDatum(JsonbValueToJsonb(values[KEY_HEADERS]));
	publish->on_fail_event_type_no = evq_argument_on_fail(json_text(values[KEY_ON_FAIL_EVENT_TYPE],
																	"on_fail_event_type"),
														  publish->event_type);
	publish->idempotency_key = json_text(values[KEY_IDEMPOTENCY_KEY], "idempotency_key");
	publish->group_key = json_key(values[KEY_GROUP_KEY], "group_key");
	text = json_text(values[KEY_RUN_AT], "run_at");
	if (text != NULL)
	{
		publish->has_run_at = true;
		publish->run_at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(text),
																  ObjectIdGetDatum(InvalidOid),
																  Int32GetDatum(-1)));
	}
	if (values[KEY_PRIORITY] != NULL)
	{
		publish->has_priority = true;
		publish->priority = json_priority(values[KEY_PRIORITY]);
	}
}

/* An event to publish, from a JSON object, which it points into. what: names it in errors. */
static void
read_object(JsonbContainer *object, const char *what, bool is_spinoff, EvqPublish *publish)
{
	if (object == NULL || !JsonContainerIsObject(object))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("%s is not an object", what),
						errhint("Pass an array of objects.")));
	read_publish(object, is_spinoff, publish);
}

/* The same of a whole value. */
void
evq_argument_event(Datum event, EvqPublish *publish)
{
	read_object(&DatumGetJsonbP(event)->root, "event", false, publish);
}

/* The events to publish, from a JSON array of objects, which they point into; 0 = there is none, an error. what: names an element in errors. */
EvqPublish *
evq_argument_events(Datum events, const char *what, bool is_spinoff, int *count)
{
	Jsonb *array = events == (Datum) 0 ? NULL : DatumGetJsonbP(events);
	EvqPosition position;
	EvqPublish *publishes;

	if (array == NULL || !JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		ereport(ERROR, (errcode(EVQ_ERRCODE_BAD_ARGUMENT), errmsg("%ss are not a JSON array", what),
						errhint("Pass an array of objects.")));
	*count = JB_ROOT_COUNT(array);
	publishes = palloc(Max(*count, 1) * sizeof(EvqPublish));

	evq_position_begin(&position, what);
	for (; position.index < *count; position.index++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(&array->root, position.index);

		CHECK_FOR_INTERRUPTS();
		read_object(element->type == jbvBinary ? element->val.binary.data : NULL, what, is_spinoff,
					&publishes[position.index]);
	}
	evq_position_end(&position);
	return publishes;
}
