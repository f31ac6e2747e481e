/*
 * verbs.c
 *		evq's SQL functions, as far as a worker calls them. JSON is made and taken apart in SQL.
 *
 * Everything is called by its schema's name: a worker's search_path is not to
 * decide what it runs. In the statements @ stands for the extension's schema.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "verbs.h"

#define SAME "OPERATOR(pg_catalog.=)"

/* For evq.acquired and evq_heartbeat(): times as seconds, to be subtracted here. */
#define DUE_AND_NOW \
	"pg_catalog.date_part('epoch', a.attempt_due_at), pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())"

/* Of the answer the extension's version may know nothing yet. */
#define ACQUIRED_COLUMNS                                                                      \
	"a.event_id, a.permit, a.event_type, a.flow_type, a.flow_id, a.attempt, a.attempts_left," \
	" j.event, pg_catalog.jsonb_extract_path(j.event, 'answer'), " DUE_AND_NOW

/* Follows the call that returns evq.acquired. */
#define AS_ACQUIRED " a CROSS JOIN LATERAL pg_catalog.to_jsonb(a) j (event)"

/* A worker without work is idle, and shall not lose its session for that. */
static const char hello[] =
	"SELECT pg_catalog.quote_ident(n.nspname), f.channel,"
	" pg_catalog.set_config('idle_session_timeout', '0', false) FROM pg_catalog.pg_extension x"
	" JOIN pg_catalog.pg_namespace n ON n.oid " SAME " x.extnamespace"
	" CROSS JOIN pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY w (flow_type, place)"
	" LEFT JOIN evq.flows f ON f.flow_type " SAME " w.flow_type"
	" WHERE x.extname " SAME " 'evq' ORDER BY w.place";

static const char acquire[] = "SELECT " ACQUIRED_COLUMNS " FROM @.evq_acquire_next($1, $2::pg_catalog.int4,"
							  " $3::pg_catalog.text[], $4,"
							  " pg_catalog.make_interval(secs => $5::pg_catalog.float8))" AS_ACQUIRED;

static const char succeed_and_acquire[] =
	"SELECT " ACQUIRED_COLUMNS
	" FROM @.evq_succeed_and_acquire($1, $6::pg_catalog.uuid[], $7::pg_catalog.int8[],"
	" $2::pg_catalog.int4, $3::pg_catalog.text[], $4,"
	" pg_catalog.make_interval(secs => $5::pg_catalog.float8))" AS_ACQUIRED;

/* Side by side, as the answer is in the order of the question: two permits of one event may be asked for. */
static const char heartbeat[] =
	"SELECT a.event_id, a.permit, a.held, a.cancel_requested, " DUE_AND_NOW " FROM ROWS FROM ("
	"@.evq_heartbeat($1::pg_catalog.uuid[], $2::pg_catalog.int8[],"
	" pg_catalog.make_interval(secs => $3::pg_catalog.float8)), pg_catalog.unnest($2::pg_catalog.int8[]))"
	" a (event_id, held, cancel_requested, attempt_due_at, permit)";

#define BATCH_COLUMNS                                                         \
	"a.token, a.flow_type, pg_catalog.cardinality(a.event_ids), " DUE_AND_NOW \
	", (SELECT pg_catalog.string_agg(e.event::pg_catalog.text, E'\\n')"       \
	" FROM evq.events_of_batch(a) e (event))"

static const char acquire_batch[] =
	"SELECT " BATCH_COLUMNS " FROM @.evq_acquire_batch($1, $2::pg_catalog.int8, $3::pg_catalog.text[], $4,"
	" pg_catalog.make_interval(secs => $5::pg_catalog.float8)) a";

static const char succeed_batch_and_acquire[] =
	"SELECT " BATCH_COLUMNS
	" FROM evq.succeed_batch_and_acquire($6, $1, $2::pg_catalog.int8, $3::pg_catalog.text[], $4,"
	" pg_catalog.make_interval(secs => $5::pg_catalog.float8), $7::pg_catalog.uuid[]) a";

static const char heartbeat_batch[] =
	"SELECT pg_catalog.count(*) FILTER (WHERE a.held),"
	" pg_catalog.date_part('epoch', pg_catalog.min(a.attempt_due_at) FILTER (WHERE a.held)),"
	" pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())"
	" FROM @.evq_heartbeat_batch($1, pg_catalog.make_interval(secs => $2::pg_catalog.float8)) a";

static const char are_held[] = "SELECT evq.are_held($1::pg_catalog.uuid[], $2::pg_catalog.int8[])";

/*
 * Output that is not an object with the known keys only gives NULL in place of
 * calling the function. The CASEs are nested because the planner computes both
 * sides of an AND over constants, and jsonb_delete() takes no scalar.
 */
#define IF_OUTPUT_HAS_ONLY(keys, call)                                                             \
	"CASE pg_catalog.jsonb_typeof(o.output) WHEN 'object' THEN"                                    \
	" CASE WHEN pg_catalog.jsonb_eq(pg_catalog.jsonb_delete(o.output, " keys "), '{}') THEN " call \
	" END END"                                                                                     \
	" FROM (SELECT $3::pg_catalog.jsonb) o (output)"

/*
 * The success of a handler that said nothing. If it has suspended its event,
 * that is not taken for the event's own; giving it back is then refused, with
 * the reason.
 */
static const char succeed[] =
	"SELECT CASE WHEN s.accepted THEN '' ELSE @.evq_release($1::pg_catalog.uuid, $2::pg_catalog.int8)::pg_catalog.text END"
	" FROM @.evq_succeed_many(ARRAY[$1::pg_catalog.uuid], ARRAY[$2::pg_catalog.int8]) s";

/* null is what many writers of JSON give for what is absent. */
#define PRESENT(key) "NULLIF(pg_catalog.jsonb_extract_path(o.output, '" key "'), 'null')"

static const char succeed_with_output[] = "SELECT " IF_OUTPUT_HAS_ONLY(
	"'result', 'spinoffs'", "@.evq_succeed($1::pg_catalog.uuid, $2::pg_catalog.int8,"
							" " PRESENT("result") ", " PRESENT("spinoffs") ")");

#define IN_SECONDS(seconds)                                                                                      \
	"pg_catalog.timestamptz_pl_interval(pg_catalog.clock_timestamp(), pg_catalog.make_interval(secs => " seconds \
	"))"

/* A handler that is not ready is not run again within a second; a time below 0 is refused. */
#define AT_LEAST_A_SECOND(seconds) \
	"CASE WHEN pg_catalog.float8ge(" seconds ", 0) THEN GREATEST(" seconds ", 1) ELSE " seconds " END"

static const char snooze[] = "SELECT @.evq_snooze($1::pg_catalog.uuid, $2::pg_catalog.int8, " IN_SECONDS(
	AT_LEAST_A_SECOND("$3::pg_catalog.float8")) ")";

static const char snooze_with_output[] = "SELECT " IF_OUTPUT_HAS_ONLY(
	"'snooze_seconds'",
	"@.evq_snooze($1::pg_catalog.uuid, $2::pg_catalog.int8, " IN_SECONDS(AT_LEAST_A_SECOND(
		"COALESCE(pg_catalog.jsonb_extract_path_text(o.output, 'snooze_seconds'), $4)::pg_catalog.float8")) ")::pg_catalog.text");

static const char fail[] =
	"SELECT @.evq_fail($1::pg_catalog.uuid, $3, $2::pg_catalog.int8, $4, $5::pg_catalog.bool)";

static const char release[] = "SELECT @.evq_release($1::pg_catalog.uuid, $2::pg_catalog.int8)";

static const char read_report[] =
	"SELECT r.event_id, r.permit, r.outcome, r.output, r.error_message, r.stack_trace,"
	" r.retryable FROM evq.read_batch_report($1, $2, $3::pg_catalog.bool) r";

#define ALL_BUT                                                                    \
	"ARRAY(SELECT p.event_id FROM @.evq_batch_permits($1) p WHERE NOT p.event_id " \
	"OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.uuid[]))"

static const char succeed_batch[] = "SELECT s.id FROM evq.succeed_batch($1, $2::pg_catalog.uuid[]) s (id)";
static const char succeed_some[] = "SELECT s.id FROM evq.succeed_batch($1, " ALL_BUT ") s (id)";

static const char fail_batch[] = "SELECT f.event_id FROM evq.fail_batch($1, $3, " ALL_BUT
								 ", $4::pg_catalog.bool) f WHERE NOT f.accepted";

/* What was reported before is not given back. */
static const char release_batch[] = "SELECT r.id FROM @.evq_release_batch($1) r (id)";

struct Verbs
{
	Database *database;
	const Options *options;
	char permit_for[32]; /* seconds, "" = as configured */
	char snooze[32];     /* seconds */
	char *schema;        /* of the extension, quoted */
	char **channels;     /* of the flows */
};

Verbs *
verbs_create(Database *database, const Options *options)
{
	Verbs *verbs = memory_new(sizeof(Verbs));

	verbs->database = database;
	verbs->options = options;
	verbs->channels = memory_array((size_t) options->flow_count, sizeof(char *));
	if (options->permit_for > 0)
		snprintf(verbs->permit_for, sizeof(verbs->permit_for), "%.3f", options->permit_for);
	snprintf(verbs->snooze, sizeof(verbs->snooze), "%.3f", options->snooze);
	return verbs;
}

void
verbs_destroy(Verbs *verbs)
{
	free(verbs->schema);
	for (int i = 0; i < verbs->options->flow_count; i++)
		free(verbs->channels[i]);
	free(verbs->channels);
	free(verbs);
}

static const char *
permit_for(const Verbs *verbs)
{
	return verbs->permit_for[0] == '\0' ? NULL : verbs->permit_for;
}

static void
send_statement(Verbs *verbs, Millis now, const char *statement, int count, const char *const *values)
{
	Buffer text = {0};
	const char *at;

	while ((at = strchr(statement, '@')) != NULL)
	{
		buffer_append(&text, statement, (size_t) (at - statement));
		buffer_text(&text, verbs->schema);
		statement = at + 1;
	}
	buffer_text(&text, statement);
	database_send(verbs->database, now, text.data, count, values);
	buffer_free(&text);
}

/* NULL for SQL's null. */
static const char *
value(const Verbs *verbs, int row, int column)
{
	const PGresult *reply = database_reply(verbs->database);

	return PQgetisnull(reply, row, column) ? NULL : PQgetvalue(reply, row, column);
}

int
verbs_rows(const Verbs *verbs)
{
	return PQntuples(database_reply(verbs->database));
}

/* ---------- hello ---------- */

void
verbs_send_hello(Verbs *verbs, Millis now)
{
	const char *values[] = {verbs->options->flows};

	send_statement(verbs, now, hello, 1, values);
}

/* False = one of the flows is not there, or evq is not (unknown_flow NULL); what is known from before stays. */
bool
verbs_take_hello(Verbs *verbs, const char **unknown_flow)
{
	int count = verbs->options->flow_count;

	*unknown_flow = NULL;
	if (verbs_rows(verbs) != count)
		return false;
	for (int i = 0; i < count; i++)
	{
		if (value(verbs, i, 1) == NULL)
		{
			*unknown_flow = verbs->options->flow_names[i];
			return false;
		}
	}
	free(verbs->schema);
	verbs->schema = memory_string(value(verbs, 0, 0));
	for (int i = 0; i < count; i++)
	{
		free(verbs->channels[i]);
		verbs->channels[i] = memory_string(value(verbs, i, 1));
	}
	return true;
}

void
verbs_send_listen(Verbs *verbs, Millis now, int flow)
{
	char *channel = database_quoted(verbs->database, verbs->channels[flow]);
	Buffer statement = {0};

	buffer_text(&statement, "LISTEN ");
	buffer_text(&statement, channel == NULL ? "" : channel);
	database_send(verbs->database, now, statement.data, 0, NULL);
	buffer_free(&statement);
	free(channel);
}

/* -1 = none of ours. */
int
verbs_flow_of_channel(const Verbs *verbs, const char *channel)
{
	for (int i = 0; i < verbs->options->flow_count; i++)
	{
		if (verbs->channels[i] != NULL && strcmp(verbs->channels[i], channel) == 0)
			return i;
	}
	return -1;
}

/* ---------- acquire ---------- */

/* done, with: what has succeeded, in the form of the statement; NULL = nothing has. */
static void
send_acquire(Verbs *verbs, Millis now, const char *statement, int flow, int max_events, const char *done,
			 const char *with)
{
	char count[16];
	const char *values[] = {verbs->options->flow_names[flow],
							count,
							verbs->options->types,
							verbs->options->name,
							permit_for(verbs),
							done,
							with};

	snprintf(count, sizeof(count), "%d", max_events);
	send_statement(verbs, now, statement, done == NULL ? 5 : 7, values);
}

void
verbs_send_acquire(Verbs *verbs, Millis now, int flow, int max_events)
{
	send_acquire(verbs, now, acquire, flow, max_events, NULL, NULL);
}

void
verbs_send_succeed_and_acquire(Verbs *verbs, Millis now, int flow, const EventList *succeeded, int max_events)
{
	send_acquire(verbs, now, succeed_and_acquire, flow, max_events, succeeded->ids.data,
				 succeeded->permits.data);
}

/* DUE_AND_NOW begins at the column. */
static Millis
time_left(const Verbs *verbs, int row, int column)
{
	const char *due = value(verbs, row, column);

	return due == NULL ? 0
					   : (Millis) ((strtod(due, NULL) - strtod(value(verbs, row, column + 1), NULL)) * 1000);
}

/* NULL for JSON's null, too. */
static const char *
json_value(const Verbs *verbs, int row, int column)
{
	const char *json = value(verbs, row, column);

	return json == NULL || strcmp(json, "null") == 0 ? NULL : json;
}

void
verbs_read_acquired(Verbs *verbs, int row, Acquired *acquired)
{
	*acquired = (Acquired){
		.event_id = value(verbs, row, 0),
		.permit = value(verbs, row, 1),
		.event_type = value(verbs, row, 2),
		.flow_type = value(verbs, row, 3),
		.flow_id = value(verbs, row, 4),
		.attempt = value(verbs, row, 5),
		.attempts_left = value(verbs, row, 6),
		.event = value(verbs, row, 7),
		.answer = json_value(verbs, row, 8),
		.left = time_left(verbs, row, 9),
	};
}

void
verbs_send_acquire_batch(Verbs *verbs, Millis now, int flow, const char *succeeded, const char *except,
						 int max_events)
{
	send_acquire(verbs, now, succeeded == NULL ? acquire_batch : succeed_batch_and_acquire, flow, max_events,
				 succeeded, except);
}

void
verbs_read_acquired_batch(Verbs *verbs, AcquiredBatch *acquired)
{
	*acquired = (AcquiredBatch){
		.token = value(verbs, 0, 0),
		.flow_type = value(verbs, 0, 1),
		.count = value(verbs, 0, 2),
		.left = time_left(verbs, 0, 3),
		.events = value(verbs, 0, 5),
	};
}

/* ---------- heartbeat ---------- */

void
verbs_send_heartbeat(Verbs *verbs, Millis now, const EventList *running)
{
	const char *values[] = {running->ids.data, running->permits.data, permit_for(verbs)};

	send_statement(verbs, now, heartbeat, 3, values);
}

static bool
is_true(const Verbs *verbs, int row, int column)
{
	const char *boolean = value(verbs, row, column);

	return boolean != NULL && strcmp(boolean, "t") == 0;
}

void
verbs_read_heartbeat(Verbs *verbs, int row, Heartbeat *beat)
{
	*beat = (Heartbeat){
		.event_id = value(verbs, row, 0),
		.permit = value(verbs, row, 1),
		.held = is_true(verbs, row, 2),
		.canceled = is_true(verbs, row, 3),
		.left = time_left(verbs, row, 4),
	};
}

void
verbs_send_batch_heartbeat(Verbs *verbs, Millis now, const char *token)
{
	const char *values[] = {token, permit_for(verbs)};

	send_statement(verbs, now, heartbeat_batch, 2, values);
}

int
verbs_read_batch_heartbeat(Verbs *verbs, Millis *left)
{
	*left = time_left(verbs, 0, 1);
	return atoi(value(verbs, 0, 0));
}

void
verbs_send_are_held(Verbs *verbs, Millis now, const EventList *running)
{
	const char *values[] = {running->ids.data, running->permits.data};

	send_statement(verbs, now, are_held, 2, values);
}

bool
verbs_read_are_held(const Verbs *verbs)
{
	return is_true(verbs, 0, 0);
}

/* ---------- report ---------- */

void
verbs_send_report(Verbs *verbs, Millis now, const char *event_id, const char *permit, const Report *report)
{
	const char *values[5] = {event_id, permit};

	switch (report->kind)
	{
		case REPORT_SUCCESS:
			values[2] = report->output.data;
			if (report->output.length == 0)
				send_statement(verbs, now, succeed, 2, values);
			else
				send_statement(verbs, now, succeed_with_output, 3, values);
			break;
		case REPORT_FAILURE:
			values[2] = report->message.data;
			values[3] = report->trace.data;
			values[4] = report->is_final ? "f" : "t";
			send_statement(verbs, now, fail, 5, values);
			break;
		case REPORT_SNOOZE:
			values[2] = report->output.length == 0 ? verbs->snooze : report->output.data;
			values[3] = verbs->snooze;
			if (report->output.length == 0)
				send_statement(verbs, now, snooze, 3, values);
			else
				send_statement(verbs, now, snooze_with_output, 4, values);
			break;
		case REPORT_RELEASE:
			send_statement(verbs, now, release, 2, values);
			break;
	}
}

/* ---------- report on a batch ---------- */

void
verbs_send_read_report(Verbs *verbs, Millis now, const char *token, const char *text, bool with_rest)
{
	const char *values[] = {token, text, with_rest ? "t" : "f"};

	send_statement(verbs, now, read_report, 3, values);
}

void
verbs_read_outcome(Verbs *verbs, int row, Outcome *outcome)
{
	const char *kind = value(verbs, row, 2);

	*outcome = (Outcome){
		.event_id = value(verbs, row, 0),
		.permit = value(verbs, row, 1),
		.is_named = kind != NULL,
		.output = value(verbs, row, 3),
		.message = value(verbs, row, 4),
		.trace = value(verbs, row, 5),
		.is_final = kind != NULL && !is_true(verbs, row, 6),
	};
	if (kind != NULL)
		outcome->kind = strcmp(kind, "failure") == 0  ? REPORT_FAILURE
						: strcmp(kind, "snooze") == 0 ? REPORT_SNOOZE
													  : REPORT_SUCCESS;
}

void
verbs_send_batch_report(Verbs *verbs, Millis now, const char *token, const char *except, const Report *report)
{
	const char *values[] = {token, except == NULL ? "{}" : except, report->message.data,
							report->is_final ? "f" : "t"};

	switch (report->kind)
	{
		case REPORT_SUCCESS:
			send_statement(verbs, now, succeed_batch, 2, values);
			break;
		case REPORT_FAILURE:
			send_statement(verbs, now, fail_batch, 4, values);
			break;
		case REPORT_RELEASE:
			send_statement(verbs, now, release_batch, 1, values);
			break;
		case REPORT_SNOOZE: /* each event has a report of its own */
			abort();
	}
}

void
verbs_send_succeed_some(Verbs *verbs, Millis now, const char *token, const char *ids)
{
	const char *values[] = {token, ids};

	send_statement(verbs, now, succeed_some, 2, values);
}

const char *
verbs_sqlstate(const Verbs *verbs)
{
	return PQresultErrorField(database_reply(verbs->database), PG_DIAG_SQLSTATE);
}

const char *
verbs_message(const Verbs *verbs)
{
	return PQresultErrorField(database_reply(verbs->database), PG_DIAG_MESSAGE_PRIMARY);
}

static bool
begins_with(const char *string, const char *beginning)
{
	return strncmp(string, beginning, strlen(beginning)) == 0;
}

/* What the reply means for a report, or for any other statement. */
Verdict
verbs_verdict(const Verbs *verbs)
{
	const char *sqlstate = verbs_sqlstate(verbs);
	ExecStatusType status = PQresultStatus(database_reply(verbs->database));

	if (status == PGRES_COMMAND_OK)
		return VERDICT_ACCEPTED;
	if (status == PGRES_TUPLES_OK)
	{
		/* See IF_OUTPUT_HAS_ONLY. */
		return verbs_rows(verbs) == 1 && PQnfields(database_reply(verbs->database)) == 1 &&
					   value(verbs, 0, 0) == NULL
				   ? VERDICT_UNFIT
				   : VERDICT_ACCEPTED;
	}
	if (sqlstate == NULL)
		return VERDICT_TRY_AGAIN;
	if (strcmp(sqlstate, "EQ002") == 0 || strcmp(sqlstate, "EQ003") == 0 || strcmp(sqlstate, "EQ004") == 0)
		return VERDICT_REFUSED;
	/* What class 22 calls data exceptions and 54 program limits: JSON that is none, too deep, too large. */
	if (begins_with(sqlstate, "EQ") || begins_with(sqlstate, "22") || begins_with(sqlstate, "54"))
		return VERDICT_UNFIT;
	/* A standby, or a server on its way down. */
	if (strcmp(sqlstate, "25006") == 0 || begins_with(sqlstate, "57P"))
		return VERDICT_ANOTHER_HOST;
	/* Functions, tables, schemas that are not there, or that the role may not use. */
	if (strcmp(sqlstate, "42883") == 0 || strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "3F000") == 0 ||
		strcmp(sqlstate, "42501") == 0)
		return VERDICT_NOT_THERE;
	return VERDICT_TRY_AGAIN;
}

/* ---------- lists ---------- */

void
list_add(Buffer *list, const char *element)
{
	/* The closing brace gives way to a comma. */
	if (list->length > 0)
		list->data[list->length - 1] = ',';
	else
		buffer_text(list, "{");
	buffer_text(list, element);
	buffer_text(list, "}");
}

void
event_list_add(EventList *list, const char *event_id, const char *permit)
{
	list_add(&list->ids, event_id);
	list_add(&list->permits, permit);
}

void
event_list_reset(EventList *list)
{
	buffer_free(&list->ids);
	buffer_free(&list->permits);
}
