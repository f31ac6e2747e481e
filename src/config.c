/*
 * config.c
 *		The configuration as this session knows it.
 *
 * Both tables are small and read whole. A change of either sends a relation
 * cache invalidation of evq.event_type at commit (see the triggers in
 * sql/parts/020_configuration.sql), which marks the copy as stale in every
 * session. Pointers into the copy hold until the next evq_config_use().
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "config.h"

typedef struct Lookup
{
	HTAB *by_no;
	HTAB *by_name; /* those that are not dropped */
} Lookup;

typedef struct NoEntry
{
	int32 no;
	const void *row;
} NoEntry;

typedef struct NameEntry
{
	char name[NAMEDATALEN];
	const void *row;
} NameEntry;

static MemoryContext copy_context;
static bool copy_is_valid;
static Oid copy_relid;
static uint64 generation;

static EvqFlow *flows;
static int flow_count;
static bool paused;
static Lookup event_type_lookup;
static Lookup flow_lookup;

static void
mark_stale(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == copy_relid)
		copy_is_valid = false;
}

void
evq_config_init(void)
{
	CacheRegisterRelcacheCallback(mark_stale, (Datum) 0);
}

/* At commit, every session reads the configuration anew. */
void
evq_config_invalidate(void)
{
	Oid relid = evq_store_configuration_relid();

	if (OidIsValid(relid))
		CacheInvalidateRelcacheByRelid(relid);
}

static void
make_lookup(Lookup *lookup, int count)
{
	HASHCTL by_no = {.keysize = sizeof(int32), .entrysize = sizeof(NoEntry), .hcxt = copy_context};
	HASHCTL by_name = {.keysize = NAMEDATALEN, .entrysize = sizeof(NameEntry), .hcxt = copy_context};

	lookup->by_no = hash_create("evq numbers", Max(count, 16), &by_no, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	lookup->by_name = hash_create("evq names", Max(count, 16), &by_name,
								  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static void
add_to_lookup(Lookup *lookup, int32 no, const char *name, bool dropped, const void *row)
{
	NoEntry *numbered = hash_search(lookup->by_no, &no, HASH_ENTER, NULL);

	numbered->row = row;
	if (!dropped)
	{
		NameEntry *named = hash_search(lookup->by_name, name, HASH_ENTER, NULL);

		named->row = row;
	}
}

/* Fills copy_context, which is empty. */
static void
read_copy(void)
{
	MemoryContext previous = MemoryContextSwitchTo(copy_context);
	EvqEventType *event_types;
	int event_type_count;

	event_type_count = evq_store_read_event_types(&event_types);
	flow_count = evq_store_read_flows(&flows);
	paused = evq_store_is_paused();

	make_lookup(&event_type_lookup, event_type_count);
	for (int i = 0; i < event_type_count; i++)
		add_to_lookup(&event_type_lookup, event_types[i].event_type_no, event_types[i].event_type,
					  event_types[i].dropped, &event_types[i]);

	make_lookup(&flow_lookup, flow_count);
	for (int i = 0; i < flow_count; i++)
		add_to_lookup(&flow_lookup, flows[i].flow_no, flows[i].flow_type, false, &flows[i]);

	MemoryContextSwitchTo(previous);
}

/*
 * Makes sure that what follows sees every committed change; returns a number
 * that moves whenever the copy is read anew. Needs a transaction.
 */
uint64
evq_config_use(void)
{
	AcceptInvalidationMessages();
	while (!copy_is_valid)
	{
		MemoryContext old_copy = copy_context;

		copy_relid = evq_store_configuration_relid();
		copy_is_valid = true; /* an invalidation that comes while we read sets it back */
		copy_context = AllocSetContextCreate(TopMemoryContext, "evq configuration", ALLOCSET_SMALL_SIZES);
		PG_TRY();
		{
			read_copy();
		}
		PG_CATCH();
		{
			/* What the lookups point to is gone: the next use must read anew. */
			copy_is_valid = false;
			MemoryContextDelete(copy_context);
			copy_context = old_copy;
			PG_RE_THROW();
		}
		PG_END_TRY();
		if (old_copy != NULL)
			MemoryContextDelete(old_copy);
		generation++;
	}
	return generation;
}

static const void *
find_no(const Lookup *lookup, int32 no)
{
	const NoEntry *entry;

	/* A dispatcher is told of events before its first turn reads the configuration. */
	if (lookup->by_no == NULL)
		return NULL;
	entry = hash_search(lookup->by_no, &no, HASH_FIND, NULL);
	return entry == NULL ? NULL : entry->row;
}

static const void *
find_name(const Lookup *lookup, const char *name)
{
	const NameEntry *entry;

	if (strlen(name) >= NAMEDATALEN)
		return NULL;
	entry = hash_search(lookup->by_name, name, HASH_FIND, NULL);
	return entry == NULL ? NULL : entry->row;
}

/* The event type of a number, dropped ones included; NULL = none. */
const EvqEventType *
evq_config_event_type(int32 event_type_no)
{
	return find_no(&event_type_lookup, event_type_no);
}

/* The event type of a name, without dropped ones; NULL = none. */
const EvqEventType *
evq_config_find_event_type(const char *name)
{
	return find_name(&event_type_lookup, name);
}

const EvqFlow *
evq_config_flow(int32 flow_no)
{
	return find_no(&flow_lookup, flow_no);
}

const EvqFlow *
evq_config_find_flow(const char *name)
{
	return find_name(&flow_lookup, name);
}

/* All flows. */
const EvqFlow *
evq_config_flows(int *count)
{
	*count = flow_count;
	return flows;
}

/* Is nothing of this database to be dispatched or acquired? */
bool
evq_config_is_paused(void)
{
	return paused;
}

EvqRetryRule
evq_config_retry_rule(const EvqEventType *event_type)
{
	EvqRetryRule rule = {
		.max_attempts = event_type->max_attempts,
		.delays = event_type->delays,
		.delay_count = event_type->delay_count,
		.backoff_factor = event_type->backoff_factor,
		.max_delay = event_type->max_delay,
		.jitter = event_type->jitter,
	};

	return rule;
}
