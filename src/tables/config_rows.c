/*
 * config_rows.c
 *		Reads what users configure: types of events, flows, the pause, restrictions.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "shared/change.h"
#include "tables/config_rows.h"
#include "tables/tables.h"

#define SIGNAL_INDEX "event_type_pkey"

/* An interval in microseconds, a month of 30 days. */
int64
evq_config_rows_interval(Datum value)
{
	const Interval *interval = DatumGetIntervalP(value);

	return interval->time + (interval->day + (int64) interval->month * DAYS_PER_MONTH) * USECS_PER_DAY;
}

static void
copy_name(char *name, Datum value)
{
	text_to_cstring_buffer(DatumGetTextPP(value), name, NAMEDATALEN);
}

static void
read_limit_names(Datum value, EvqEventType *event_type)
{
	Datum *names;
	bool *nulls;
	int count;

	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &count);
	event_type->limit_names = palloc0(Max(count, 1) * NAMEDATALEN);
	for (int i = 0; i < count && event_type->limit_count < EVQ_MOST_LIMITS; i++)
	{
		if (!nulls[i])
			copy_name(event_type->limit_names[event_type->limit_count++], names[i]);
	}
}

static void
read_event_type(TupleTableSlot *slot, void *row)
{
	EvqEventType *event_type = row;
	const Datum *values = slot->tts_values;
	const bool *nulls = slot->tts_isnull;
	Datum *delays;

	event_type->event_type_no = DatumGetInt32(values[TYPE_NO]);
	copy_name(event_type->event_type, values[TYPE_EVENT_TYPE]);
	event_type->flow_no = DatumGetInt32(values[TYPE_FLOW_NO]);
	event_type->max_attempts = DatumGetInt16(values[TYPE_MAX_ATTEMPTS]);
	event_type->lifespan = evq_config_rows_interval(values[TYPE_LIFESPAN]);
	deconstruct_array(DatumGetArrayTypeP(values[TYPE_ATTEMPT_DELAYS]), INTERVALOID, sizeof(Interval), false,
					  TYPALIGN_DOUBLE, &delays, NULL, &event_type->delay_count);
	event_type->delays = palloc(event_type->delay_count * sizeof(int64));
	for (int i = 0; i < event_type->delay_count; i++)
		event_type->delays[i] = evq_config_rows_interval(delays[i]);
	event_type->backoff_factor = DatumGetFloat8(values[TYPE_BACKOFF_FACTOR]);
	event_type->max_delay = evq_config_rows_interval(values[TYPE_MAX_DELAY]);
	event_type->jitter = DatumGetFloat8(values[TYPE_JITTER]);
	event_type->attempt_timeout = nulls[TYPE_ATTEMPT_TIMEOUT]
									  ? Max(event_type->lifespan / event_type->max_attempts,
											USECS_PER_SEC / 1000)
									  : evq_config_rows_interval(values[TYPE_ATTEMPT_TIMEOUT]);
	event_type->is_suspended = DatumGetBool(values[TYPE_IS_SUSPENDED]);
	event_type->retry_on_suspend_timeout = strcmp(TextDatumGetCString(values[TYPE_ON_SUSPEND_TIMEOUT]),
												  "retry") == 0;
	if (!nulls[TYPE_ON_FAIL_EVENT_TYPE])
		copy_name(event_type->on_fail_event_type, values[TYPE_ON_FAIL_EVENT_TYPE]);
	event_type->priority = DatumGetInt16(values[TYPE_PRIORITY]);
	event_type->max_payload_bytes = nulls[TYPE_MAX_PAYLOAD_BYTES]
										? 0
										: DatumGetInt32(values[TYPE_MAX_PAYLOAD_BYTES]);
	event_type->retention = evq_config_rows_interval(values[TYPE_RETENTION]);
	event_type->dropped = DatumGetBool(values[TYPE_DROPPED]);
	event_type->cost = nulls[TYPE_COST] ? 1 : DatumGetInt32(values[TYPE_COST]);
	if (!nulls[TYPE_LIMITS])
		read_limit_names(values[TYPE_LIMITS], event_type);
}

/* Reads a rate, whose columns begin with this one. */
static void
read_rate(const TupleTableSlot *slot, int column, EvqRateRow *rate)
{
	const Datum *values = slot->tts_values + column;
	const bool *nulls = slot->tts_isnull + column;

	rate->events = nulls[0] ? 0 : DatumGetFloat8(values[0]);
	rate->per = nulls[1] ? 0 : evq_config_rows_interval(values[1]);
	rate->burst = nulls[2] ? 0 : DatumGetInt32(values[2]);
}

/* Reads until when something is paused; DT_NOBEGIN = it is not. */
static TimestampTz
read_time(const TupleTableSlot *slot, int column)
{
	return slot->tts_isnull[column] ? DT_NOBEGIN : DatumGetTimestampTz(slot->tts_values[column]);
}

static void
read_flow(TupleTableSlot *slot, void *row)
{
	EvqFlow *flow = row;
	const Datum *values = slot->tts_values;
	const bool *nulls = slot->tts_isnull;

	flow->flow_no = DatumGetInt32(values[FLOW_NO]);
	copy_name(flow->flow_type, values[FLOW_FLOW_TYPE]);
	copy_name(flow->channel, values[FLOW_CHANNEL]);
	flow->max_dispatched = DatumGetInt32(values[FLOW_MAX_DISPATCHED]);
	flow->max_processing = nulls[FLOW_MAX_PROCESSING] ? 0 : DatumGetInt32(values[FLOW_MAX_PROCESSING]);
	flow->dispatch_timeout = evq_config_rows_interval(values[FLOW_DISPATCH_TIMEOUT]);
	flow->pull = strcmp(TextDatumGetCString(values[FLOW_DELIVERY]), "pull") == 0;
	flow->ordered = DatumGetBool(values[FLOW_ORDERED]);
	flow->notify_payload = DatumGetBool(values[FLOW_NOTIFY_PAYLOAD]);
	flow->paused_until = read_time(slot, FLOW_PAUSED_UNTIL);
	flow->groups_paused_until = read_time(slot, FLOW_GROUPS_PAUSED_UNTIL);
	flow->has_paused_groups = flow->groups_paused_until > evq_clock_now();
	flow->max_processing_per_group = nulls[FLOW_MAX_PROCESSING_PER_GROUP]
										 ? 0
										 : DatumGetInt32(values[FLOW_MAX_PROCESSING_PER_GROUP]);
	read_rate(slot, FLOW_RATE, &flow->rate);
	read_rate(slot, FLOW_RATE_PER_GROUP, &flow->rate_per_group);
	flow->fair = !nulls[FLOW_FAIR] && DatumGetBool(values[FLOW_FAIR]);
	flow->priority_step = nulls[FLOW_PRIORITY_STEP] ? 0
													: evq_config_rows_interval(values[FLOW_PRIORITY_STEP]);
	if (!nulls[FLOW_GROUP_BY])
		flow->group_by = evq_group_rule_parse(TextDatumGetCString(values[FLOW_GROUP_BY]));
}

static void
read_restriction(TupleTableSlot *slot, void *row)
{
	EvqRestriction *restriction = row;
	const Datum *values = slot->tts_values;
	Datum *flow_nos;

	strlcpy(restriction->role_name, NameStr(*DatumGetName(values[RESTRICTION_ROLE_NAME])), NAMEDATALEN);
	restriction->role = DatumGetObjectId(values[RESTRICTION_ROLE_OID]);
	restriction->right = strcmp(TextDatumGetCString(values[RESTRICTION_MAY]), "work") == 0
							 ? EVQ_RIGHT_WORK
							 : EVQ_RIGHT_PUBLISH;
	deconstruct_array(DatumGetArrayTypeP(values[RESTRICTION_FLOW_NOS]), INT4OID, sizeof(int32), true,
					  TYPALIGN_INT, &flow_nos, NULL, &restriction->flow_count);
	restriction->flow_nos = palloc(restriction->flow_count * sizeof(int32));
	for (int i = 0; i < restriction->flow_count; i++)
		restriction->flow_nos[i] = DatumGetInt32(flow_nos[i]);
}

static void
read_lifespan_change(TupleTableSlot *slot, void *row)
{
	EvqLifespanChange *change = row;
	const Datum *values = slot->tts_values;

	change->event_type_no = DatumGetInt32(values[LIFESPAN_CHANGE_TYPE_NO]);
	change->changed_at = DatumGetTimestampTz(values[LIFESPAN_CHANGE_CHANGED_AT]);
	change->shift = evq_config_rows_interval(values[LIFESPAN_CHANGE_SHIFT]);
}

/* By type, the latest first. */
static int
compare_lifespan_changes(const void *a, const void *b)
{
	const EvqLifespanChange *change_a = a;
	const EvqLifespanChange *change_b = b;

	if (change_a->event_type_no != change_b->event_type_no)
		return change_a->event_type_no < change_b->event_type_no ? -1 : 1;
	if (change_a->changed_at != change_b->changed_at)
		return change_a->changed_at > change_b->changed_at ? -1 : 1;
	return 0;
}

static void
add_lifespan_changes(EvqEventType *event_types, int count)
{
	EvqLifespanChange *changes;
	int change_count;

	/* The tables may be of a version that knows none. */
	if (!OidIsValid(evq_tables_relid(EVQ_TABLE_LIFESPAN_CHANGE, true)))
		return;
	change_count = evq_tables_read_all(EVQ_TABLE_LIFESPAN_CHANGE, read_lifespan_change,
									   sizeof(EvqLifespanChange), (void **) &changes);
	qsort(changes, change_count, sizeof(EvqLifespanChange), compare_lifespan_changes);
	for (int first = 0, next = 0; first < change_count; first = next)
	{
		while (next < change_count && changes[next].event_type_no == changes[first].event_type_no)
			next++;
		for (int i = 0; i < count; i++)
		{
			if (event_types[i].event_type_no == changes[first].event_type_no)
			{
				event_types[i].lifespan_changes = &changes[first];
				event_types[i].lifespan_change_count = next - first;
			}
		}
	}
}

/*
 * Reads all event types, with the dropped ones, into the current memory
 * context; returns how many there are.
 */
int
evq_config_rows_event_types(EvqEventType **event_types)
{
	int count = evq_tables_read_all(EVQ_TABLE_EVENT_TYPE, read_event_type, sizeof(EvqEventType),
									(void **) event_types);

	add_lifespan_changes(*event_types, count);
	return count;
}

/* As evq_config_rows_event_types(), of flows. */
int
evq_config_rows_flows(EvqFlow **flows)
{
	return evq_tables_read_all(EVQ_TABLE_FLOW, read_flow, sizeof(EvqFlow), (void **) flows);
}

static void
read_group(TupleTableSlot *slot, void *row)
{
	EvqGroup *group = row;
	const Datum *values = slot->tts_values;

	group->flow_no = DatumGetInt32(values[GROUP_FLOW_NO]);
	group->group_hash = evq_change_group_hash(TextDatumGetCString(values[GROUP_GROUP_KEY]));
	group->max_processing = slot->tts_isnull[GROUP_MAX_PROCESSING]
								? 0
								: DatumGetInt32(values[GROUP_MAX_PROCESSING]);
	read_rate(slot, GROUP_RATE, &group->rate);
	group->paused_until = read_time(slot, GROUP_PAUSED_UNTIL);
	group->weight = slot->tts_isnull[GROUP_WEIGHT] ? 0 : DatumGetInt32(values[GROUP_WEIGHT]);
}

/* The same of groups that have limits of their own. */
int
evq_config_rows_groups(EvqGroup **groups)
{
	/* The tables may be of a version that knows none. */
	if (!OidIsValid(evq_tables_relid(EVQ_TABLE_FLOW_GROUP, true)))
		return 0;
	return evq_tables_read_all(EVQ_TABLE_FLOW_GROUP, read_group, sizeof(EvqGroup), (void **) groups);
}

static void
read_limit(TupleTableSlot *slot, void *row)
{
	EvqLimit *limit = row;
	const Datum *values = slot->tts_values;
	const bool *nulls = slot->tts_isnull;

	limit->limit_no = DatumGetInt32(values[LIMIT_NO]);
	copy_name(limit->limit_name, values[LIMIT_NAME]);
	limit->max_processing = nulls[LIMIT_MAX_PROCESSING] ? 0 : DatumGetInt32(values[LIMIT_MAX_PROCESSING]);
	read_rate(slot, LIMIT_RATE, &limit->rate);
	limit->by_group = DatumGetBool(values[LIMIT_BY_GROUP]);
}

/* The same of named limits. */
int
evq_config_rows_limits(EvqLimit **limits)
{
	/* The tables may be of a version that knows none. */
	if (!OidIsValid(evq_tables_relid(EVQ_TABLE_NAMED_LIMIT, true)))
		return 0;
	return evq_tables_read_all(EVQ_TABLE_NAMED_LIMIT, read_limit, sizeof(EvqLimit), (void **) limits);
}

static void
read_pause(TupleTableSlot *slot, void *row)
{
	bool *by_restore = row;

	*by_restore = !slot->tts_isnull[PAUSE_REASON] &&
				  strcmp(TextDatumGetCString(slot->tts_values[PAUSE_REASON]), "restored") == 0;
}

/* Is the database paused: is there a row in evq.pause? by_restore: CREATE EXTENSION wrote it, because the database was being restored. */
bool
evq_config_rows_is_paused(bool *by_restore)
{
	bool *rows;

	*by_restore = false;
	/* The tables may be of a version that knows no pause. */
	if (!OidIsValid(evq_tables_relid(EVQ_TABLE_PAUSE, true)) ||
		evq_tables_read_all(EVQ_TABLE_PAUSE, read_pause, sizeof(bool), (void **) &rows) == 0)
		return false;
	*by_restore = rows[0];
	return true;
}

/* As evq_config_rows_event_types(), of restrictions; none where the tables are of a version without them. */
int
evq_config_rows_restrictions(EvqRestriction **restrictions)
{
	/* The tables may be of a version that knows no restrictions. */
	if (!OidIsValid(evq_tables_relid(EVQ_TABLE_RESTRICTION, true)))
		return 0;
	return evq_tables_read_all(EVQ_TABLE_RESTRICTION, read_restriction, sizeof(EvqRestriction),
							   (void **) restrictions);
}

/* A table whose invalidation has the configuration read anew; InvalidOid = this database does not have the extension. */
Oid
evq_config_rows_relid(void)
{
	return evq_tables_relid(EVQ_TABLE_EVENT_TYPE, true);
}

/*
 * What is invalidated when the configuration changes: an index, so that the
 * plans of statements that read the table stay as they are.
 */
Oid
evq_config_rows_signal_relid(void)
{
	Oid table = evq_config_rows_relid();
	Oid index = OidIsValid(table) ? get_relname_relid(SIGNAL_INDEX, get_rel_namespace(table)) : InvalidOid;

	return OidIsValid(index) ? index : table;
}
