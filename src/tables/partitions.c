/*
 * partitions.c
 *		Which partition of a table holds what time.
 *
 * A table is partitioned by a time, or by ids, which begin with one. The catalog knows; each session keeps a copy until an
 * invalidation of the partitioned table comes. So a writer locks the one partition it writes to,
 * and a partition can be made or dropped beside it.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/partcache.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/debug.h"
#include "rules/uuid.h"
#include "tables/partitions.h"

/* What was read, all in a context of its own. */
typedef struct Copy
{
	MemoryContext context;
	int count;
	EvqPartition partitions[FLEXIBLE_ARRAY_MEMBER]; /* by time, the default one last */
} Copy;

/* What a session knows of a partitioned table. */
typedef struct Known
{
	Oid parent;
	Copy *copy; /* NULL = none yet; always a whole one */
	bool is_valid;
	uint64 invalidations;
} Known;

/* So many partitioned tables there are; one more, as after DROP and CREATE EXTENSION, takes the place of another. */
#define PARENTS 2

/* So often the catalog is read in one call if it goes on changing: what comes later the next call sees. */
#define READS_A_CALL 3

static Known known[PARENTS];

static void
mark_stale(Datum arg, Oid relid)
{
	for (int i = 0; i < PARENTS; i++)
	{
		if (relid != InvalidOid && relid != known[i].parent)
			continue;
		known[i].is_valid = false;
		known[i].invalidations++;
	}
}

/* Has the copies renewed when partitions change. Called by _PG_init(). */
void
evq_partitions_init(void)
{
	CacheRegisterRelcacheCallback(mark_stale, (Datum) 0);
}

static void
add_partition(Copy *to_copy, Oid relid, TimestampTz from, TimestampTz to, bool is_default)
{
	EvqPartition *partition = &to_copy->partitions[to_copy->count++];

	partition->relid = relid;
	partition->from = from;
	partition->to = to;
	partition->is_default = is_default;
}

/* A bound that is an id stands for the time when that would be made. */
static TimestampTz
bound_time(const PartitionBoundInfoData *bounds, int index, bool by_id)
{
	switch (bounds->kind[index][0])
	{
		case PARTITION_RANGE_DATUM_MINVALUE:
			return DT_NOBEGIN;
		case PARTITION_RANGE_DATUM_MAXVALUE:
			return DT_NOEND;
		default:
			return by_id ? evq_uuid_time(DatumGetUUIDP(bounds->datums[index][0]))
						 : DatumGetTimestampTz(bounds->datums[index][0]);
	}
}

/* Makes a copy in a context. */
static Copy *
read_partitions(Relation parent, MemoryContext context)
{
	bool is_partitioned = parent->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	PartitionDesc description = is_partitioned ? RelationGetPartitionDesc(parent, true) : NULL;
	const PartitionBoundInfoData *bounds = is_partitioned ? description->boundinfo : NULL;
	bool by_id = is_partitioned && RelationGetPartitionKey(parent)->parttypid[0] == UUIDOID;
	int room = is_partitioned ? description->nparts : 1;
	Copy *fresh = MemoryContextAllocZero(context, offsetof(Copy, partitions) + room * sizeof(EvqPartition));

	fresh->context = context;
	if (!is_partitioned)
		add_partition(fresh, RelationGetRelid(parent), DT_NOBEGIN, DT_NOEND, true);
	/* Entry i of the indexes tells of what is below bound i. */
	for (int i = 1; bounds != NULL && i < bounds->ndatums; i++)
	{
		if (bounds->indexes[i] >= 0)
			add_partition(fresh, description->oids[bounds->indexes[i]], bound_time(bounds, i - 1, by_id),
						  bound_time(bounds, i, by_id), false);
	}
	if (bounds != NULL && bounds->default_index >= 0)
		add_partition(fresh, description->oids[bounds->default_index], DT_NOBEGIN, DT_NOEND, true);
	Assert(fresh->count <= room);
	evq_debug_point("partitions");
	return fresh;
}

/* Replaces the copy by a fresh one; an error leaves what was there, stale, and whole. */
static void
renew_copy(Known *table)
{
	Relation rel = table_open(table->parent, AccessShareLock);
	uint64 before = table->invalidations;
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "evq partitions", ALLOCSET_SMALL_SIZES);
	Copy *fresh;

	table->is_valid = false;
	PG_TRY();
	{
		fresh = read_partitions(rel, context);
	}
	PG_CATCH();
	{
		MemoryContextDelete(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (table->copy != NULL)
		MemoryContextDelete(table->copy->context);
	table->copy = fresh;
	table->is_valid = table->invalidations == before; /* none came while we read */
	table_close(rel, AccessShareLock);
}

/* What is known of a table, perhaps nothing yet. */
static Known *
use_known(Oid parent)
{
	static int replaced;
	Known *table;

	for (int i = 0; i < PARENTS; i++)
	{
		if (known[i].parent == parent)
			return &known[i];
	}
	for (int i = 0; i < PARENTS; i++)
	{
		if (!OidIsValid(known[i].parent))
			replaced = i;
	}
	table = &known[replaced];
	replaced = (replaced + 1) % PARENTS;
	/* What it was of is not to be taken for this one's, should an error come before it is read. */
	if (table->copy != NULL)
		MemoryContextDelete(table->copy->context);
	table->copy = NULL;
	table->parent = parent;
	table->is_valid = false;
	return table;
}

/*
 * The partitions of a table that is partitioned by ranges of one time, in
 * order, the default one last; a plain table counts as its own default. They
 * hold until the next call.
 */
const EvqPartition *
evq_partitions(Oid parent, int *count)
{
	Known *table = use_known(parent);

	for (int i = 0; !table->is_valid && i < READS_A_CALL; i++)
	{
		CHECK_FOR_INTERRUPTS();
		renew_copy(table);
	}
	*count = table->copy->count;
	return table->copy->partitions;
}

/* The same as a copy in the current memory context, which the caller may free: it outlasts the next call. */
EvqPartition *
evq_partitions_copy(Oid parent, int *count)
{
	const EvqPartition *partitions = evq_partitions(parent, count);
	EvqPartition *copy = palloc(Max(*count, 1) * sizeof(EvqPartition));

	memcpy(copy, partitions, *count * sizeof(EvqPartition));
	return copy;
}

/* The partition for a time; InvalidOid = there is none. */
Oid
evq_partition_at(Oid parent, TimestampTz at)
{
	int count;
	const EvqPartition *partitions = evq_partitions(parent, &count);

	/* Most often it is one of the newest. */
	for (int i = count - 1; i >= 0; i--)
	{
		if (!partitions[i].is_default && partitions[i].from <= at && at < partitions[i].to)
			return partitions[i].relid;
	}
	return count > 0 && partitions[count - 1].is_default ? partitions[count - 1].relid : InvalidOid;
}
