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
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "partitions.h"

static MemoryContext copy_context;
static Oid copy_parent;
static bool copy_is_valid;
static uint64 invalidations;
static EvqPartition *partitions; /* by time, the default one last */
static int partition_count;

static void
mark_stale(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == copy_parent)
	{
		copy_is_valid = false;
		invalidations++;
	}
}

void
evq_partitions_init(void)
{
	CacheRegisterRelcacheCallback(mark_stale, (Datum) 0);
}

static void
add_partition(Oid relid, TimestampTz from, TimestampTz to, bool is_default)
{
	EvqPartition *partition = &partitions[partition_count++];

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

/* Fills the copy, which is empty. */
static void
read_partitions(Relation parent)
{
	PartitionDesc description;
	const PartitionBoundInfoData *bounds;

	if (parent->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
	{
		partitions = MemoryContextAlloc(copy_context, sizeof(EvqPartition));
		add_partition(RelationGetRelid(parent), DT_NOBEGIN, DT_NOEND, true);
		return;
	}
	description = RelationGetPartitionDesc(parent, true);
	bounds = description->boundinfo;
	partitions = MemoryContextAlloc(copy_context, Max(description->nparts, 1) * sizeof(EvqPartition));
	/* Entry i of the indexes tells of what is below bound i. */
	for (int i = 1; bounds != NULL && i < bounds->ndatums; i++)
	{
		if (bounds->indexes[i] >= 0)
			add_partition(description->oids[bounds->indexes[i]], bound_time(bounds, i - 1),
						  bound_time(bounds, i), false);
	}
	if (bounds != NULL && bounds->default_index >= 0)
		add_partition(description->oids[bounds->default_index], DT_NOBEGIN, DT_NOEND, true);
}

/*
 * The partitions of a table that is partitioned by ranges of one time, in
 * order, the default one last; a plain table counts as its own default. They
 * hold until the next call.
 */
const EvqPartition *
evq_partitions(Oid parent, int *count)
{
	while (!copy_is_valid || copy_parent != parent)
	{
		Relation rel = table_open(parent, AccessShareLock);
		uint64 before = invalidations;

		copy_parent = parent;
		copy_is_valid = false;
		if (copy_context == NULL)
			copy_context = AllocSetContextCreate(TopMemoryContext, "evq partitions", ALLOCSET_SMALL_SIZES);
		MemoryContextReset(copy_context);
		partition_count = 0;
		read_partitions(rel);
		copy_is_valid = invalidations == before; /* none came while we read */
		table_close(rel, AccessShareLock);
	}
	*count = partition_count;
	return partitions;
}

/* The same, in the current memory context: it stays. */
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
