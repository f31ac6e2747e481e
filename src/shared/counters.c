/*
 * counters.c
 *		What is counted, in shared memory: changes of state by event type, times by flow.
 *
 * An event type has a counter for each row of the transition table; a publish
 * has one for each origin instead. Every number of events that can be asked for
 * is a sum of these: those in a live state are the changes into it less the
 * changes out of it.
 *
 * Sessions add after their commit, where nothing may fail: all is made of
 * atomics, and an entry is taken, once, by writing its number. A reader in
 * between sees one change and not yet the next.
 */
#include "postgres.h"

#include "port/atomics.h"

#include "base/clock.h"
#include "shared/counters.h"

#define TYPE_COUNTERS (EVQ_MAX_TRANSITIONS + EVQ_ORIGIN_COUNT)

/* Upper bounds of the histograms' buckets, in microseconds; the last bucket has none. */
static const int64 bounds[] =
	{1000,    3000,     10000,    30000,    100000,    300000,    1000000,
	 3000000, 10000000, 30000000, 60000000, 300000000, 900000000, INT64CONST(3600000000)};

#define BUCKETS (lengthof(bounds) + 1)

typedef enum HistogramNo
{
	WAIT,       /* from due to acquired */
	PROCESSING, /* from acquired to the report */
	HISTOGRAMS
} HistogramNo;

static const char *const histogram_names[HISTOGRAMS] = {[WAIT] = "wait", [PROCESSING] = "processing"};

static const char *const origin_names[EVQ_ORIGIN_COUNT] = {
	[EVQ_ORIGIN_API] = "api",
	[EVQ_ORIGIN_SPINOFF] = "spinoff",
	[EVQ_ORIGIN_ON_FAIL] = "on_fail",
};

typedef struct TypeEntry
{
	pg_atomic_uint32 no; /* 0 = free */
	pg_atomic_uint64 counters[TYPE_COUNTERS];
	pg_atomic_uint64 corrections[EVQ_LIVE_STATES]; /* signed; what recounts found */
} TypeEntry;

typedef struct Histogram
{
	pg_atomic_uint64 buckets[BUCKETS];
	pg_atomic_uint64 sum; /* microseconds */
} Histogram;

typedef struct FlowEntry
{
	pg_atomic_uint32 no; /* 0 = free */
	Histogram histograms[HISTOGRAMS];
	pg_atomic_uint64 due_since
		[2]; /* TimestampTz, 0 = none; as the last sweep saw it, as the next; [1] = of those in batches */
	pg_atomic_uint64 permit_since[2];
} FlowEntry;

typedef enum Recount
{
	RECOUNT_NOT_WANTED,
	RECOUNT_WANTED,
	RECOUNT_BEGUN
} Recount;

struct EvqCounters
{
	pg_atomic_uint32 phase;
	pg_atomic_uint32 recount; /* a Recount */
	pg_atomic_uint64 sweep;   /* microseconds */
	TypeEntry types[EVQ_COUNTED_TYPES];
	FlowEntry flows[EVQ_COUNTED_FLOWS];
};

/* ---------- entries ---------- */

/* How much shared memory the counters of a slot take. */
Size
evq_counters_bytes(void)
{
	return sizeof(EvqCounters);
}

static void
clear_numbers(pg_atomic_uint64 *numbers, int count)
{
	for (int i = 0; i < count; i++)
		pg_atomic_init_u64(&numbers[i], 0);
}

/* Counting begins: with the server, or anew because the tables are others than before. Nobody counts meanwhile. */
void
evq_counters_clear(EvqCounters *counters)
{
	pg_atomic_init_u32(&counters->phase, EVQ_COUNTERS_NEW);
	pg_atomic_init_u32(&counters->recount, RECOUNT_NOT_WANTED);
	pg_atomic_init_u64(&counters->sweep, 0);
	for (int i = 0; i < EVQ_COUNTED_TYPES; i++)
	{
		TypeEntry *type = &counters->types[i];

		pg_atomic_init_u32(&type->no, 0);
		clear_numbers(type->counters, lengthof(type->counters));
		clear_numbers(type->corrections, lengthof(type->corrections));
	}
	for (int i = 0; i < EVQ_COUNTED_FLOWS; i++)
	{
		FlowEntry *flow = &counters->flows[i];

		pg_atomic_init_u32(&flow->no, 0);
		for (HistogramNo no = 0; no < HISTOGRAMS; no++)
		{
			clear_numbers(flow->histograms[no].buckets, BUCKETS);
			pg_atomic_init_u64(&flow->histograms[no].sum, 0);
		}
		clear_numbers(flow->due_since, lengthof(flow->due_since));
		clear_numbers(flow->permit_since, lengthof(flow->permit_since));
	}
}

/* How far the counters have come since the start; see EvqCountersPhase. */
EvqCountersPhase
evq_counters_phase(EvqCounters *counters)
{
	return (EvqCountersPhase) pg_atomic_read_u32(&counters->phase);
}

/* Sets that. Only the dispatcher does, who takes counters back and puts them away, and who has made the tables anew. */
void
evq_counters_set_phase(EvqCounters *counters, EvqCountersPhase phase)
{
	pg_atomic_exchange_u32(&counters->phase, (uint32) phase);
}

/* The live events were counted, so the counters can be read from now on, unless they were put away meanwhile. */
void
evq_counters_open(EvqCounters *counters)
{
	uint32 expected = EVQ_COUNTERS_UNCHECKED;

	(void) pg_atomic_compare_exchange_u32(&counters->phase, &expected, EVQ_COUNTERS_OPEN);
}

/* The live events are to be counted: what was begun before this does not do. May be called at any time. */
void
evq_counters_want_recount(EvqCounters *counters)
{
	pg_atomic_exchange_u32(&counters->recount, RECOUNT_WANTED);
}

/* Begins a recount. It stays wanted until evq_counters_end_recount(). */
void
evq_counters_begin_recount(EvqCounters *counters)
{
	pg_atomic_exchange_u32(&counters->recount, RECOUNT_BEGUN);
}

/* The recount was made: none is wanted, unless another one was asked for since it began. */
void
evq_counters_end_recount(EvqCounters *counters)
{
	uint32 expected = RECOUNT_BEGUN;

	(void) pg_atomic_compare_exchange_u32(&counters->recount, &expected, RECOUNT_NOT_WANTED);
}

/* Are the live events to be counted? */
bool
evq_counters_is_recount_wanted(EvqCounters *counters)
{
	return pg_atomic_read_u32(&counters->recount) != RECOUNT_NOT_WANTED;
}

/*
 * The entry of an event type or flow, taken for it if it has none; NULL = all are
 * taken by others. entries: "count" structs of "size" bytes, each of which begins
 * with the number that it belongs to.
 */
static void *
use_entry(void *entries, Size size, int count, int32 no)
{
	for (uint32 i = 0; i < count; i++)
	{
		char *entry = (char *) entries + ((uint32) no + i) % count * size;
		pg_atomic_uint32 *entry_no = (pg_atomic_uint32 *) entry;
		uint32 found = pg_atomic_read_u32(entry_no);

		if (found == (uint32) no ||
			(found == 0 && pg_atomic_compare_exchange_u32(entry_no, &found, (uint32) no)) ||
			found == (uint32) no)
			return entry;
	}
	return NULL;
}

static TypeEntry *
use_type(EvqCounters *counters, int32 no)
{
	return use_entry(counters->types, sizeof(TypeEntry), EVQ_COUNTED_TYPES, no);
}

static FlowEntry *
use_flow(EvqCounters *counters, int32 no)
{
	return use_entry(counters->flows, sizeof(FlowEntry), EVQ_COUNTED_FLOWS, no);
}

/* ---------- counting ---------- */

/* The histogram that a verb adds to, HISTOGRAMS = none: what ends an attempt without a report is no time of work. */
static HistogramNo
histogram_of(EvqVerb verb)
{
	switch (verb)
	{
		case EVQ_VERB_ACQUIRE:
			return WAIT;
		case EVQ_VERB_SUCCEED:
		case EVQ_VERB_FAIL:
		case EVQ_VERB_SUSPEND:
		case EVQ_VERB_SNOOZE:
		case EVQ_VERB_RELEASE:
			return PROCESSING;
		default:
			return HISTOGRAMS;
	}
}

static int
bucket_of(int64 time)
{
	int bucket = 0;

	while (bucket < BUCKETS - 1 && time > bounds[bucket])
		bucket++;
	return bucket;
}

/* Fills a tally with what there is to count about an event whose state was changed. level: of the subtransaction. */
void
evq_counters_make_tally(EvqTally *tally, const EvqEvent *event, int level)
{
	EvqVerb verb = evq_transition_table[event->transition].verb;
	HistogramNo histogram = histogram_of(verb);

	tally->event_type_no = event->event_type_no;
	tally->flow_no = event->flow_no;
	tally->counter = verb == EVQ_VERB_PUBLISH ? EVQ_MAX_TRANSITIONS + event->origin : event->transition;
	tally->bucket = -1;
	tally->level = level;
	tally->count = 1;
	tally->waited = 0;
	if (histogram != HISTOGRAMS)
	{
		tally->waited = Max(event->waited, 0);
		tally->bucket = histogram * BUCKETS + bucket_of(tally->waited);
	}
}

/* Adds another tally to this one; false = they are of different changes. */
bool
evq_counters_merge_tally(EvqTally *tally, const EvqTally *other)
{
	if (tally->event_type_no != other->event_type_no || tally->flow_no != other->flow_no ||
		tally->counter != other->counter || tally->bucket != other->bucket || tally->level != other->level)
		return false;
	tally->count += other->count;
	tally->waited += other->waited;
	return true;
}

/* Adds what a committed transaction did. An event type or flow that finds no free entry is not counted. */
void
evq_counters_add_tally(EvqCounters *counters, const EvqTally *tally)
{
	TypeEntry *type = use_type(counters, tally->event_type_no);
	FlowEntry *flow;

	if (type != NULL)
		pg_atomic_fetch_add_u64(&type->counters[tally->counter], tally->count);
	if (tally->bucket >= 0 && (flow = use_flow(counters, tally->flow_no)) != NULL)
	{
		Histogram *histogram = &flow->histograms[tally->bucket / BUCKETS];

		pg_atomic_fetch_add_u64(&histogram->buckets[tally->bucket % BUCKETS], tally->count);
		pg_atomic_fetch_add_u64(&histogram->sum, tally->waited);
	}
}

/* Time, in microseconds, that a sweep of the tables took. */
void
evq_counters_add_sweep(EvqCounters *counters, int64 time)
{
	pg_atomic_fetch_add_u64(&counters->sweep, time);
}

/* Since when the flow's longest waiting event is due, and its oldest permit held, of its events with rows of their own or of those in batches; infinity = there is none. */
void
evq_counters_set_oldest(EvqCounters *counters, int32 flow_no, bool in_batches, TimestampTz due_since,
						TimestampTz permit_since)
{
	FlowEntry *flow = use_flow(counters, flow_no);

	if (flow == NULL)
		return;
	pg_atomic_write_u64(&flow->due_since[in_batches], TIMESTAMP_IS_NOEND(due_since) ? 0 : (uint64) due_since);
	pg_atomic_write_u64(&flow->permit_since[in_batches],
						TIMESTAMP_IS_NOEND(permit_since) ? 0 : (uint64) permit_since);
}

/* ---------- names ---------- */

/* verb/from/to; a new event comes from its origin. False = there is no such counter. */
static bool
name_type_counter(int counter, char *name)
{
	const EvqTransition *transition = &evq_transition_table[counter];
	const char *from;

	if (counter >= EVQ_MAX_TRANSITIONS)
	{
		transition = &evq_transition_table[evq_transition_find(EVQ_STATE_NONE, EVQ_VERB_PUBLISH,
															   EVQ_STATE_AWAITING_PROCESSING)];
		from = origin_names[counter - EVQ_MAX_TRANSITIONS];
	}
	else if (counter >= evq_transition_count || transition->verb == EVQ_VERB_PUBLISH)
		return false;
	else
		from = evq_transition_state_name(transition->from);
	snprintf(name, NAMEDATALEN, "%s/%s/%s", evq_transition_verb_name(transition->verb), from,
			 evq_transition_state_name(transition->to));
	return true;
}

/* histogram/upper bound in seconds */
static void
name_bucket(HistogramNo histogram, int bucket, char *name)
{
	if (bucket == BUCKETS - 1)
		snprintf(name, NAMEDATALEN, "%s/+Inf", histogram_names[histogram]);
	else
		snprintf(name, NAMEDATALEN, "%s/%g", histogram_names[histogram],
				 (double) bounds[bucket] / USECS_PER_SEC);
}

static void
name_sum(HistogramNo histogram, char *name)
{
	snprintf(name, NAMEDATALEN, "%s/sum", histogram_names[histogram]);
}

#define SWEEP_NAME "sweep"

/* ---------- reading ---------- */

static int64
read_counter(pg_atomic_uint64 *counter)
{
	return (int64) pg_atomic_read_u64(counter);
}

/* How many events more are in a state for each change that a counter counts: 1, 0 or -1. */
static int
change_of_live(int counter, EvqState state)
{
	/* A new event awaits processing, whatever its origin. */
	EvqState from = counter < evq_transition_count ? evq_transition_table[counter].from : EVQ_STATE_NONE;
	EvqState to = counter < evq_transition_count ? evq_transition_table[counter].to
												 : EVQ_STATE_AWAITING_PROCESSING;

	return (to == state) - (from == state);
}

static int64
count_live(TypeEntry *type, EvqState state)
{
	int64 count = read_counter(&type->corrections[state - 1]);

	for (int i = 0; i < TYPE_COUNTERS; i++)
	{
		int change = change_of_live(i, state);

		if (change != 0)
			count += change * read_counter(&type->counters[i]);
	}
	return count;
}

static void
read_type(TypeEntry *type, EvqReading *reading, EvqTakeReading take, void *arg)
{
	reading->is_kept = true;
	for (int i = 0; i < TYPE_COUNTERS; i++)
	{
		if (!name_type_counter(i, reading->name))
			continue;
		reading->value = read_counter(&type->counters[i]);
		take(reading, arg);
	}
	reading->is_kept = false;
	for (EvqState state = EVQ_STATE_NONE + 1; state <= EVQ_LIVE_STATES; state++)
	{
		snprintf(reading->name, NAMEDATALEN, "live/%s", evq_transition_state_name(state));
		/* Two changes may be told in the wrong order. */
		reading->value = Max(count_live(type, state), 0);
		take(reading, arg);
	}
}

static int64
age(pg_atomic_uint64 *since)
{
	TimestampTz at = (TimestampTz) pg_atomic_read_u64(since);

	return at == 0 ? 0 : Max(evq_clock_now() - at, 0);
}

static void
read_flow(FlowEntry *flow, EvqReading *reading, EvqTakeReading take, void *arg)
{
	reading->is_kept = true;
	for (HistogramNo no = 0; no < HISTOGRAMS; no++)
	{
		for (int i = 0; i < BUCKETS; i++)
		{
			name_bucket(no, i, reading->name);
			reading->value = read_counter(&flow->histograms[no].buckets[i]);
			take(reading, arg);
		}
		name_sum(no, reading->name);
		reading->value = read_counter(&flow->histograms[no].sum);
		take(reading, arg);
	}
	reading->is_kept = false;
	strlcpy(reading->name, "oldest_due", NAMEDATALEN);
	reading->value = Max(age(&flow->due_since[0]), age(&flow->due_since[1]));
	take(reading, arg);
	strlcpy(reading->name, "oldest_permit", NAMEDATALEN);
	reading->value = Max(age(&flow->permit_since[0]), age(&flow->permit_since[1]));
	take(reading, arg);
}

/* Hands every number to take(), which may allocate and raise; the reading is good for that call alone. Times are in microseconds. */
void
evq_counters_read(EvqCounters *counters, EvqTakeReading take, void *arg)
{
	EvqReading reading;
	int free_types = 0;
	int free_flows = 0;

	reading.of = EVQ_COUNTED_EVENT_TYPE;
	for (int i = 0; i < EVQ_COUNTED_TYPES; i++)
	{
		reading.no = (int32) pg_atomic_read_u32(&counters->types[i].no);
		if (reading.no == 0)
			free_types++;
		else
			read_type(&counters->types[i], &reading, take, arg);
	}

	reading.of = EVQ_COUNTED_FLOW;
	for (int i = 0; i < EVQ_COUNTED_FLOWS; i++)
	{
		reading.no = (int32) pg_atomic_read_u32(&counters->flows[i].no);
		if (reading.no == 0)
			free_flows++;
		else
			read_flow(&counters->flows[i], &reading, take, arg);
	}

	reading.of = EVQ_COUNTED_SLOT;
	reading.no = 0;
	reading.is_kept = true;
	strlcpy(reading.name, SWEEP_NAME, NAMEDATALEN);
	reading.value = read_counter(&counters->sweep);
	take(&reading, arg);
	reading.is_kept = false;
	strlcpy(reading.name, "free_event_types", NAMEDATALEN);
	reading.value = free_types;
	take(&reading, arg);
	strlcpy(reading.name, "free_flows", NAMEDATALEN);
	reading.value = free_flows;
	take(&reading, arg);
}

/* ---------- the other way ---------- */

static pg_atomic_uint64 *
find_type_counter(EvqCounters *counters, const EvqReading *reading)
{
	char name[NAMEDATALEN];

	for (int i = 0; i < TYPE_COUNTERS; i++)
	{
		TypeEntry *type;

		if (name_type_counter(i, name) && strcmp(name, reading->name) == 0)
			return (type = use_type(counters, reading->no)) == NULL ? NULL : &type->counters[i];
	}
	return NULL;
}

static pg_atomic_uint64 *
find_flow_counter(EvqCounters *counters, const EvqReading *reading)
{
	char name[NAMEDATALEN];

	for (HistogramNo no = 0; no < HISTOGRAMS; no++)
	{
		FlowEntry *flow;

		name_sum(no, name);
		if (strcmp(name, reading->name) == 0)
			return (flow = use_flow(counters, reading->no)) == NULL ? NULL : &flow->histograms[no].sum;
		for (int i = 0; i < BUCKETS; i++)
		{
			name_bucket(no, i, name);
			if (strcmp(name, reading->name) == 0)
				return (flow = use_flow(counters, reading->no)) == NULL ? NULL
																		: &flow->histograms[no].buckets[i];
		}
	}
	return NULL;
}

/* Adds what was read before the last stop: no and name tell where. A name that is no longer known is dropped. */
void
evq_counters_restore(EvqCounters *counters, const EvqReading *reading)
{
	pg_atomic_uint64 *counter;

	if (strcmp(reading->name, SWEEP_NAME) == 0)
		counter = &counters->sweep;
	else if ((counter = find_type_counter(counters, reading)) == NULL)
		counter = find_flow_counter(counters, reading);
	if (counter != NULL)
		pg_atomic_fetch_add_u64(counter, reading->value);
}

/* The entry of an event type; NULL = it has none. is_full: there is none that it could take either. */
static TypeEntry *
find_type(EvqCounters *counters, int32 no, bool *is_full)
{
	*is_full = true;
	for (uint32 i = 0; i < EVQ_COUNTED_TYPES; i++)
	{
		TypeEntry *type = &counters->types[((uint32) no + i) % EVQ_COUNTED_TYPES];
		uint32 found = pg_atomic_read_u32(&type->no);

		if (found == (uint32) no)
			return type;
		if (found == 0)
		{
			*is_full = false;
			break;
		}
	}
	return NULL;
}

/*
 * How many events of these types are in each live state, as committed by now:
 * EVQ_LIVE_STATES rows for each that is counted. Returns how many rows.
 */
int
evq_counters_live(EvqCounters *counters, const int32 *event_type_nos, int type_count, EvqLiveCount *counts)
{
	int count = 0;

	for (int i = 0; i < type_count; i++)
	{
		bool is_full;
		TypeEntry *type = find_type(counters, event_type_nos[i], &is_full);

		for (EvqState state = EVQ_STATE_NONE + 1; state <= EVQ_LIVE_STATES && (type != NULL || !is_full);
			 state++)
		{
			counts[count].event_type_no = event_type_nos[i];
			counts[count].state = state;
			counts[count++].count = type == NULL ? 0 : count_live(type, state);
		}
	}
	return count;
}

/* Adds to counts, of "count" elements, a tally that is not in the counters yet. */
void
evq_counters_add_to_live(const EvqTally *tally, EvqLiveCount *counts, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (counts[i].event_type_no == tally->event_type_no)
			counts[i].count += change_of_live(tally->counter, counts[i].state) * (int64) tally->count;
	}
}

/* Copies the numbers of live events, for evq_counters_correct_live(). */
void
evq_counters_copy_live(EvqCounters *counters, EvqLiveCopy copy)
{
	for (int i = 0; i < EVQ_COUNTED_TYPES; i++)
	{
		for (EvqState state = EVQ_STATE_NONE + 1; state <= EVQ_LIVE_STATES; state++)
			copy[i][state - 1] = count_live(&counters->types[i], state);
	}
}

/* Puts the numbers of live events right. copy: as counted; found: as the tables had them at that moment. copy is used up. */
void
evq_counters_correct_live(EvqCounters *counters, EvqLiveCopy copy, const EvqLiveCount *found, int count)
{
	for (int i = 0; i < count; i++)
	{
		TypeEntry *type = use_type(counters, found[i].event_type_no);

		if (type != NULL && found[i].state > EVQ_STATE_NONE && found[i].state <= EVQ_LIVE_STATES)
			copy[type - counters->types][found[i].state - 1] -= found[i].count;
	}
	for (int i = 0; i < EVQ_COUNTED_TYPES; i++)
	{
		for (int state = 0; state < EVQ_LIVE_STATES; state++)
			pg_atomic_fetch_sub_u64(&counters->types[i].corrections[state], copy[i][state]);
	}
}
