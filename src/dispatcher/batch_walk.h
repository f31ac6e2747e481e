/*
 * batch_walk.h
 *		Reading which batches are not done, a bounded number in a turn.
 */
#ifndef EVQ_BATCH_WALK_H
#define EVQ_BATCH_WALK_H

#include "tables/batches.h"

typedef struct EvqBatchWalk EvqBatchWalk;

/* What is to follow after a batch was met. */
typedef enum EvqMet
{
	EVQ_MET,        /* the next one */
	EVQ_MET_ENOUGH, /* of its flow */
	EVQ_MET_LATER   /* the same one, in the next turn */
} EvqMet;

/* Is told of a batch that is not done. */
typedef EvqMet (*EvqMeetBatch)(void *context, int32 flow_no, const EvqWaitingBatch *waiting);

extern EvqBatchWalk *evq_batch_walk_create(void);
extern void evq_batch_walk_want(EvqBatchWalk *walk, bool completely);
extern bool evq_batch_walk_is_wanted(const EvqBatchWalk *walk);
extern bool evq_batch_walk_is_complete(const EvqBatchWalk *walk);
extern bool evq_batch_walk_begin(EvqBatchWalk *walk);
extern bool evq_batch_walk_go_on(EvqBatchWalk *walk, EvqStore *store, EvqMeetBatch meet, void *context);

#endif /* EVQ_BATCH_WALK_H */
