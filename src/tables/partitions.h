/*
 * partitions.h
 *		Which partition of a table holds what time.
 */
#ifndef EVQ_PARTITIONS_H
#define EVQ_PARTITIONS_H

#include "datatype/timestamp.h"

/* Holds what is at or after "from" and before "to". */
typedef struct EvqPartition
{
	Oid relid;
	TimestampTz from;
	TimestampTz to;
	bool is_default; /* holds what the others do not; its times are all there are */
} EvqPartition;

extern void evq_partitions_init(void);
extern const EvqPartition *evq_partitions(Oid parent, int *count);
extern EvqPartition *evq_partitions_copy(Oid parent, int *count);
extern Oid evq_partition_at(Oid parent, TimestampTz at);

#endif /* EVQ_PARTITIONS_H */
