/*
 * config.c
 *		The configuration as this session knows it.
 *
 * The tables are small and read whole. A change of any sends a relation cache
 * invalidation of an index of evq.event_type at commit (see the triggers in
 * sql/parts/020_configuration.sql), which marks the copy as stale in every
 * session. Pointers into the copy hold until the next evq_config_use().
 *
 * Which restrictions apply to a role depends on memberships too. That is judged
 * when it is first asked for, and anew after each change of a role.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "session/config.h"
#include "tables/events.h"
#include "tables/home.h"

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

/* What was read, all in a context of its own. */
typedef struct Copy
{
	MemoryContext context;
	Lookup event_types;
	Lookup flows_by;
	EvqEventType *types;
	int type_count;
	EvqFlow *flows;
	int flow_count;
	bool any_flow_paused; /* or was, until a time that has come */
	bool paused;
	bool paused_by_restore;
	bool any_lifespan_changed;
	EvqRestriction *restrictions;
	int restriction_count;
	EvqLimit *limits;
	int limit_count;
	HTAB *groups; /* of GroupEntry; NULL = not read yet */
	uint64 rates_digest;
} Copy;

/* A group with limits of its own. */
typedef struct GroupId
{
	uint64 group_hash;
	int64 flow_no; /* wide, so that there is no padding */
} GroupId;

typedef struct GroupEntry
{
	GroupId id; /* hash key */
	EvqGroup group;
} GroupEntry;

/* So often the tables are read in one call if they go on changing: what comes later the next call sees. */
#define READS_A_CALL 3

static Copy *copy; /* NULL = none yet; always a whole one */
static bool copy_is_valid;
static Oid copy_relid;
static Oid signal_relid;
static uint64 generation;
static Oid judged_role; /* whom "applies" of the restrictions is about; InvalidOid = nobody */
static int
	judged_rights; /* EVQ_RIGHT_*: what that role has in flows that a restriction names, and in no others */
static uint64 role_changes;

static void
mark_stale(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == copy_relid || relid == signal_relid)
		copy_is_valid = false;
}

static void
forget_judgement(Datum arg, int cache, uint32 hash)
{
	judged_role = InvalidOid;
	role_changes++;
}

/* By how much the end of an event's lifespan has moved since it was written. */
static int64
lifespan_shift(int32 event_type_no, TimestampTz published_at)
{
	const EvqEventType *event_type;
	int64 shift = 0;

	if (copy == NULL || !copy->any_lifespan_changed)
		return 0;
	event_type = evq_config_event_type(event_type_no);
	for (int i = 0; event_type != NULL && i < event_type->lifespan_change_count &&
					event_type->lifespan_changes[i].changed_at > published_at;
		 i++)
		shift += event_type->lifespan_changes[i].shift;
	return shift;
}

/* Has the copy renewed when the configuration changes, and lifespans moved. Called by _PG_init(). */
void
evq_config_init(void)
{
	evq_events_set_lifespan_shift(lifespan_shift);
	CacheRegisterRelcacheCallback(mark_stale, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, forget_judgement, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, forget_judgement, (Datum) 0);
}

/* At commit, every session reads the configuration anew. */
void
evq_config_invalidate(void)
{
	Oid relid = evq_config_rows_signal_relid();

	if (OidIsValid(relid))
		CacheInvalidateRelcacheByRelid(relid);
}

static void
make_lookup(Lookup *lookup, int count, MemoryContext context)
{
	HASHCTL by_no = {.keysize = sizeof(int32), .entrysize = sizeof(NoEntry), .hcxt = context};
	HASHCTL by_name = {.keysize = NAMEDATALEN, .entrysize = sizeof(NameEntry), .hcxt = context};

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

/* Finds the limits that an event type names, and tells its flow. */
static void
find_limits(const Copy *fresh, EvqEventType *event_type)
{
	int count = 0;

	for (int i = 0; i < event_type->limit_count && !event_type->dropped; i++)
	{
		for (int j = 0; j < fresh->limit_count; j++)
		{
			if (strcmp(fresh->limits[j].limit_name, event_type->limit_names[i]) == 0)
				event_type->limits[count++] = &fresh->limits[j];
		}
	}
	event_type->limit_count = count;
	for (int i = 0; count > 0 && i < fresh->flow_count; i++)
		fresh->flows[i].has_named_limits |= fresh->flows[i].flow_no == event_type->flow_no;
}

/* Makes a copy in the current memory context. */
static Copy *
read_copy(void)
{
	Copy *fresh = palloc0(sizeof(Copy));

	fresh->context = CurrentMemoryContext;
	fresh->type_count = evq_config_rows_event_types(&fresh->types);
	fresh->flow_count = evq_config_rows_flows(&fresh->flows);
	fresh->paused = evq_config_rows_is_paused(&fresh->paused_by_restore);
	fresh->restriction_count = evq_config_rows_restrictions(&fresh->restrictions);

	fresh->limit_count = evq_config_rows_limits(&fresh->limits);

	make_lookup(&fresh->event_types, fresh->type_count, fresh->context);
	for (int i = 0; i < fresh->type_count; i++)
	{
		EvqEventType *event_type = &fresh->types[i];

		add_to_lookup(&fresh->event_types, event_type->event_type_no, event_type->event_type,
					  event_type->dropped, event_type);
		find_limits(fresh, event_type);
		if (event_type->lifespan_change_count > 0)
			fresh->any_lifespan_changed = true;
	}

	make_lookup(&fresh->flows_by, fresh->flow_count, fresh->context);
	for (int i = 0; i < fresh->flow_count; i++)
	{
		add_to_lookup(&fresh->flows_by, fresh->flows[i].flow_no, fresh->flows[i].flow_type, false,
					  &fresh->flows[i]);
		fresh->any_flow_paused |= !TIMESTAMP_IS_NOBEGIN(fresh->flows[i].paused_until);
	}
	return fresh;
}

/* Replaces the copy by a fresh one; an error leaves what was there, stale, and whole. */
static void
renew_copy(void)
{
	MemoryContext previous = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "evq configuration",
												  ALLOCSET_SMALL_SIZES);
	Copy *fresh;

	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		copy_is_valid = true; /* an invalidation that comes while we read sets it back */
		fresh = read_copy();
		MemoryContextSwitchTo(previous);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(previous);
		MemoryContextDelete(context);
		copy_is_valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (copy != NULL)
		MemoryContextDelete(copy->context);
	copy = fresh;
	judged_role = InvalidOid;
	generation++;
}

/*
 * Makes sure that what follows sees every committed change of the configuration, and
 * that this database is no copy of another that nobody has resumed: see
 * evq_home_settle(). Returns a number that moves whenever the copy is read anew.
 * Needs a transaction; raises an error where the extension is missing.
 */
uint64
evq_config_use(void)
{
	AcceptInvalidationMessages();
	for (int i = 0; !copy_is_valid && i < READS_A_CALL; i++)
	{
		CHECK_FOR_INTERRUPTS();
		evq_home_settle();
		copy_relid = evq_config_rows_relid();
		signal_relid = evq_config_rows_signal_relid();
		renew_copy();
	}
	return generation;
}

static const void *
find_no(const Lookup *lookup, int32 no)
{
	const NoEntry *entry = hash_search(lookup->by_no, &no, HASH_FIND, NULL);

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
	return copy == NULL ? NULL : find_no(&copy->event_types, event_type_no);
}

/* Are events of the type to stay where they are? So are those of a type that is gone. */
bool
evq_config_is_type_suspended(int32 event_type_no)
{
	const EvqEventType *event_type = evq_config_event_type(event_type_no);

	return event_type == NULL || event_type->is_suspended;
}

/* The event type of a name, without dropped ones; NULL = none. */
const EvqEventType *
evq_config_find_event_type(const char *name)
{
	return copy == NULL ? NULL : find_name(&copy->event_types, name);
}

/* The flow of a number; NULL = there is none. */
const EvqFlow *
evq_config_flow(int32 flow_no)
{
	return copy == NULL ? NULL : find_no(&copy->flows_by, flow_no);
}

/* The flow of a name; NULL = there is none. */
const EvqFlow *
evq_config_find_flow(const char *name)
{
	return copy == NULL ? NULL : find_name(&copy->flows_by, name);
}

static uint64
digest_of_rate(const EvqRateRow *row, int32 flow_no, uint64 group_hash)
{
	struct
	{
		uint64 group_hash;
		int64 flow_no;
		double events;
		int64 per;
		int64 burst;
	} all = {group_hash, flow_no, row->events, row->per, row->burst};

	return hash_bytes_extended((const unsigned char *) &all, sizeof(all), 0);
}

/* Makes sure that the limits of groups are known, which most sessions never ask for. In a transaction, after evq_config_use(). */
void
evq_config_use_groups(void)
{
	HASHCTL control = {.keysize = sizeof(GroupId), .entrysize = sizeof(GroupEntry)};
	EvqGroup *groups;
	HTAB *read;
	int count;

	if (copy->groups != NULL)
		return;
	control.hcxt = copy->context;
	count = evq_config_rows_groups(&groups);
	read = hash_create("evq groups", Max(count, 16), &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < count; i++)
	{
		GroupId id = {.group_hash = groups[i].group_hash, .flow_no = groups[i].flow_no};
		bool found;
		GroupEntry *entry = hash_search(read, &id, HASH_ENTER, &found);

		if (!found)
			entry->group = groups[i];
		else
		{
			/* Counted together: the least. */
			entry->group.max_processing = entry->group.rate.burst = 1;
			entry->group.paused_until = Max(entry->group.paused_until, groups[i].paused_until);
		}
		copy->rates_digest += digest_of_rate(&groups[i].rate, groups[i].flow_no, groups[i].group_hash);
	}
	for (int i = 0; i < copy->flow_count; i++)
		copy->rates_digest += digest_of_rate(&copy->flows[i].rate_per_group, copy->flows[i].flow_no, 0);
	copy->groups = read;
}

/* A number that is another one when the rate of any group is; known after evq_config_use_groups(). */
uint64
evq_config_rates_digest(void)
{
	return copy == NULL ? 0 : copy->rates_digest;
}

/* A rate; own: what it has in place of what the other says of it, NULL = nothing. */
static EvqRate
make_rate(const EvqRateRow *row, const EvqRateRow *own)
{
	bool has_own_burst = own != NULL && own->burst > 0;
	bool has_own_per = own != NULL && own->per > 0;
	int64 per = has_own_per ? own->per : row->per;

	if (row->events <= 0)
		return (EvqRate){0};
	return evq_rate_make(own != NULL && own->events > 0 ? own->events : row->events,
						 per > 0 ? per : USECS_PER_SEC, has_own_burst ? own->burst : row->burst);
}

/* The rate of a flow. */
EvqRate
evq_config_rate(const EvqFlow *flow)
{
	return make_rate(&flow->rate, NULL);
}

/*
 * What a group may have: what its flow says of each, unless it has its own, which is known after evq_config_use_groups().
 * group_hash: 0 = of the events of no group, which have no limits.
 */
void
evq_config_limits_of_group(int32 flow_no, uint64 group_hash, EvqGroupLimits *limits)
{
	const EvqFlow *flow = evq_config_flow(flow_no);
	GroupId id = {.group_hash = group_hash, .flow_no = flow_no};
	const GroupEntry *entry = NULL;

	memset(limits, 0, sizeof(*limits));
	limits->paused_until = DT_NOBEGIN;
	limits->weight = 1;
	if (flow == NULL || group_hash == 0)
		return;
	if (copy->groups != NULL)
		entry = hash_search(copy->groups, &id, HASH_FIND, NULL);
	limits->max_processing = flow->max_processing_per_group;
	if (flow->max_processing_per_group > 0 && entry != NULL && entry->group.max_processing > 0)
		limits->max_processing = entry->group.max_processing;
	limits->rate = make_rate(&flow->rate_per_group, entry == NULL ? NULL : &entry->group.rate);
	if (entry != NULL)
		limits->paused_until = entry->group.paused_until;
	if (entry != NULL && entry->group.weight > 0)
		limits->weight = entry->group.weight;
}

/* Is nothing of a group to be dispatched or acquired at this time? group_hash: 0 = of none. In a transaction. */
bool
evq_config_is_group_paused(int32 flow_no, uint64 group_hash, TimestampTz now)
{
	const EvqFlow *flow = group_hash == 0 ? NULL : evq_config_flow(flow_no);
	EvqGroupLimits limits;

	if (flow == NULL || flow->groups_paused_until <= now)
		return false;
	evq_config_use_groups();
	evq_config_limits_of_group(flow_no, group_hash, &limits);
	return limits.paused_until > now;
}

/* The rate of a named limit. */
EvqRate
evq_config_rate_of_limit(const EvqLimit *limit)
{
	return make_rate(&limit->rate, NULL);
}

/* A number that is another one when a named limit, or what an event type has or takes of it, is. */
uint64
evq_config_limit_digest(const EvqLimit *limit)
{
	EvqRate rate = make_rate(&limit->rate, NULL);
	uint64 digest = hash_combine64(hash_bytes_uint32_extended((uint32) limit->limit_no, 0),
								   hash_bytes_uint32_extended((uint32) limit->max_processing,
															  limit->by_group));

	digest = hash_combine64(digest, (uint64) rate.every);
	digest = hash_combine64(digest, (uint64) rate.burst);
	for (int i = 0; i < copy->type_count; i++)
	{
		const EvqEventType *type = &copy->types[i];

		for (int j = 0; j < type->limit_count; j++)
		{
			if (type->limits[j] == limit)
				digest += hash_bytes_uint32_extended((uint32) type->event_type_no, (uint64) type->cost);
		}
	}
	return digest;
}

/* All named limits. */
const EvqLimit *
evq_config_limits(int *count)
{
	*count = copy == NULL ? 0 : copy->limit_count;
	return copy == NULL ? NULL : copy->limits;
}

/* All event types, dropped ones included. */
const EvqEventType *
evq_config_event_types(int *count)
{
	*count = copy == NULL ? 0 : copy->type_count;
	return copy == NULL ? NULL : copy->types;
}

/* All flows. */
const EvqFlow *
evq_config_flows(int *count)
{
	*count = copy == NULL ? 0 : copy->flow_count;
	return copy == NULL ? NULL : copy->flows;
}

/* Is nothing of the flow to be dispatched or acquired at this time? */
bool
evq_config_is_flow_paused(int32 flow_no, TimestampTz now)
{
	const EvqFlow *flow;

	if (copy == NULL || !copy->any_flow_paused)
		return false;
	flow = evq_config_flow(flow_no);
	return flow != NULL && evq_flow_is_paused(flow, now);
}

/* When the first of the paused flows goes on by itself; infinity = none does. */
TimestampTz
evq_config_first_resume(TimestampTz now)
{
	TimestampTz first = DT_NOEND;

	for (int i = 0; copy != NULL && copy->any_flow_paused && i < copy->flow_count; i++)
	{
		if (evq_flow_is_paused(&copy->flows[i], now))
			first = Min(first, copy->flows[i].paused_until);
	}
	return first;
}

/* Is nothing of this database to be dispatched or acquired? */
bool
evq_config_is_paused(void)
{
	return copy != NULL && copy->paused;
}

/*
 * Nobody who restored a schema for a test database may know that this has
 * paused it: so the first call of a session says it.
 */
void
evq_config_tell_paused(void)
{
	static bool told;

	if (told || copy == NULL || !copy->paused_by_restore)
		return;
	told = true;
	ereport(WARNING,
			(errmsg("evq is paused in this database, which was restored: nothing is dispatched or acquired"),
			 errhint("If this is to be a database that works, call evq_resume().")));
}

/* ---------- restrictions ---------- */

static bool
has_privileges_of_named(Oid role, const char *name)
{
	Oid named = get_role_oid(name, true);

	return OidIsValid(named) && has_privs_of_role(role, named);
}

/*
 * A restriction is found by the role's name, which a dump carries, and by its
 * oid, so that renaming it does not set it free. Operators may read and change
 * every event anyway; superusers have the privileges of every role.
 *
 * Memberships are the server's, restrictions the database's: who came to a
 * right by a grant of some flows has it, where no restriction is, in none.
 */
static void
judge(Oid role)
{
	uint64 changes_before = role_changes;
	bool is_free;

	/* Until all is known, nobody is judged: an error on the way leaves it so. */
	judged_role = InvalidOid;
	is_free = has_privileges_of_named(role, "evq_operator");
	judged_rights = EVQ_RIGHT_PUBLISH | EVQ_RIGHT_WORK;
	if (is_free || !has_privileges_of_named(role, "evq_restricted_publisher"))
		judged_rights &= ~EVQ_RIGHT_PUBLISH;
	if (is_free || !has_privileges_of_named(role, "evq_restricted_worker"))
		judged_rights &= ~EVQ_RIGHT_WORK;
	for (int i = 0; i < copy->restriction_count; i++)
	{
		EvqRestriction *restriction = &copy->restrictions[i];

		restriction->applies = !is_free && (has_privileges_of_named(role, restriction->role_name) ||
											has_privs_of_role(role, restriction->role));
		if (restriction->applies)
			judged_rights |= restriction->right;
	}
	/* A change that came while we looked makes the next call judge anew. */
	if (role_changes == changes_before)
		judged_role = role;
}

/* Is the role held to some flows, or none, in one of the rights? */
bool
evq_config_is_restricted(Oid role, int rights)
{
	Assert(copy != NULL);
	if (role != judged_role)
		judge(role);
	return (judged_rights & rights) != 0;
}

/*
 * May the role do this in a flow? rights: one or both of EVQ_RIGHT_*; of both,
 * what one of them allows. It may where it is not restricted.
 */
bool
evq_config_may(Oid role, int rights, int32 flow_no)
{
	if (!evq_config_is_restricted(role, rights))
		return true;
	for (int i = 0; i < copy->restriction_count; i++)
	{
		const EvqRestriction *restriction = &copy->restrictions[i];

		if (!restriction->applies || !(restriction->right & rights))
			continue;
		for (int j = 0; j < restriction->flow_count; j++)
		{
			if (restriction->flow_nos[j] == flow_no || restriction->flow_nos[j] == EVQ_EVERY_FLOW)
				return true;
		}
	}
	return false;
}

/*
 * The same for the current user, who is also the one whose right to call the
 * function was checked; raises an error.
 */
void
evq_config_require(int rights, int32 flow_no)
{
	const EvqFlow *flow;

	if (evq_config_may(GetUserId(), rights, flow_no))
		return;
	flow = evq_config_flow(flow_no);
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("permission denied for flow \"%s\"", flow == NULL ? "" : flow->flow_type),
					errhint("Role \"%s\" is restricted to other flows; %s() adds one.",
							GetUserNameFromId(GetUserId(), false),
							rights == EVQ_RIGHT_PUBLISH ? "evq_grant_publisher" : "evq_grant_worker")));
}

/* What the configuration of an event type says of attempts. It points into the event type. */
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
