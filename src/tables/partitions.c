/*
 * partitions.c
 *		Which partition of a table holds what time.
 *
 * The catalog knows; each session keeps a copy until an invalidation of the
 * partitioned table comes. So a writer locks the one partition it writes to,
 * and a partition can be made or dropped beside it.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/debug.h"
#include "tables/partitions.h"

/* What was read, all in a context of its own. */
typedef struct Copy
{
	MemoryContext context;
	Oid parent;
	int count;
	EvqPartition partitions[FLEXIBLE_ARRAY_MEMBER]; /* by time, the default one last */
} Copy;

/* So often the catalog is read in one call if it goes on changing: what comes later the next call sees. */
#define READS_A_CALL 3

static Copy *copy; /* NULL = none yet; always a whole one */
static bool copy_is_valid;
static Oid read_parent; /* the table that was read last */
static uint64 invalidations;

static void
mark_stale(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == read_parent)
	{
		copy_is_valid = false;
		invalidations++;
	}
}

/* Has the copy renewed when partitions change. Called by _PG_init(). */
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

static TimestampTz
bound_time(const PartitionBoundInfoData *bounds, int index)
{
	switch (bounds->kind[index][0])
	{
		case PARTITION_RANGE_DATUM_MINVALUE:
			return DT_NOBEGIN;
		case PARTITION_RANGE_DATUM_MAXVALUE:
			return DT_NOEND;
		default:
			return DatumGetTimestampTz(bounds->datums[index][0]);
	}
}

/* Makes a copy in a context. */
static Copy *
read_partitions(Relation parent, MemoryContext context)
{
	bool is_partitioned = parent->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	PartitionDesc description = is_partitioned ? RelationGetPartitionDesc(parent, true) : NULL;
	const PartitionBoundInfoData *bounds = is_partitioned ? description->boundinfo : NULL;
	int room = is_partitioned ? description->nparts : 1;
	Copy *fresh = MemoryContextAllocZero(context, offsetof(Copy, partitions) + room * sizeof(EvqPartition));

	fresh->context = context;
	fresh->parent = RelationGetRelid(parent);
	if (!is_partitioned)
		add_partition(fresh, RelationGetRelid(parent), DT_NOBEGIN, DT_NOEND, true);
	/* Entry i of the indexes tells of what is below bound i. */
	for (int i = 1; bounds != NULL && i < bounds->ndatums; i++)
	{
		if (bounds->indexes[i] >= 0)
			add_partition(fresh, description->oids[bounds->indexes[i]], bound_time(bounds, i - 1),
						  bound_time(bounds, i), false);
	}
	if (bounds != NULL && bounds->default_index >= 0)
		add_partition(fresh, description->oids[bounds->default_index], DT_NOBEGIN, DT_NOEND, true);
	Assert(fresh->count <= room);
	evq_debug_point("partitions");
	return fresh;
}

/* Replaces the copy by a fresh one; an error leaves what was there, stale, and whole. */
static void
renew_copy(Oid parent)
{
	Relation rel = table_open(parent, AccessShareLock);
	uint64 before = invalidations;
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "evq partitions", ALLOCSET_SMALL_SIZES);
	Copy *fresh;

	copy_is_valid = false;
	read_parent = parent;
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
	if (copy != NULL)
		MemoryContextDelete(copy->context);
	copy = fresh;
	copy_is_valid = invalidations == before; /* none came while we read */
	table_close(rel, AccessShareLock);
}

/*
 * The partitions of a table that is partitioned by ranges of one time, in
 * order, the default one last; a plain table counts as its own default. They
 * hold until the next call.
 */
const EvqPartition *
evq_partitions(Oid parent, int *count)
{
	for (int i = 0; (!copy_is_valid || copy->parent != parent) && i < READS_A_CALL; i++)
	{
		CHECK_FOR_INTERRUPTS();
		renew_copy(parent);
	}
	*count = copy->count;
	return copy->partitions;
}

/* The same as a copy in the current memory context, which the caller may free: it outlasts the next call. */
EvqPartition *
evq_partitions_copy(Oid parent, int *count)
{
	const EvqPartition *known = evq_partitions(parent, count);
	EvqPartition *copy = palloc(Max(*count, 1) * sizeof(EvqPartition));

	memcpy(copy, known, *count * sizeof(EvqPartition));
	return copy;
}

/* The partition for a time; InvalidOid = there is none. */
Oid
evq_partition_at(Oid parent, TimestampTz at)
{
	int count;
	const EvqPartition *known = evq_partitions(parent, &count);

	/* Most often it is one of the newest. */
	for (int i = count - 1; i >= 0; i--)
	{
		if (!known[i].is_default && known[i].from <= at && at < known[i].to)
			return known[i].relid;
	}
	return count > 0 && known[count - 1].is_default ? known[count - 1].relid : InvalidOid;
}
