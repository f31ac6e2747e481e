/*
 * runs.h
 *		What happened to the events of batches: runs of neighbours, and exceptions.
 *
 * Who decides about events of a batch takes its lock, looks at runs and exceptions as they are now, writes, and gives the
 * lock back at once; test/model/batches.pml has shown that this suffices. Nobody waits while he has it.
 */
#ifndef EVQ_RUNS_H
#define EVQ_RUNS_H

#include "rules/uuid.h"
#include "tables/batches.h"

/* A row of evq.run. */
typedef struct EvqRun
{
	EvqRange range;
	EvqState state;
	TimestampTz state_since;
	TimestampTz state_due_at;
	TimestampTz attempt_started_at;
	int64 permit;
	const char *worker;    /* NULL = unknown */
	TransactionId changer; /* somebody else's, still open, that made it or is changing it; invalid = none */
	bool is_unseen;        /* to the snapshot that the transaction keeps it is not there, or not so */
} EvqRun;

/* Events of a batch, a bit for each. */
typedef struct EvqOrdinals
{
	uint64 words[EVQ_UUID_BATCH_ROOM / 64];
} EvqOrdinals;

static inline bool
evq_ordinals_have(const EvqOrdinals *set, int ordinal)
{
	return (set->words[ordinal / 64] & UINT64CONST(1) << (ordinal % 64)) != 0;
}

static inline void
evq_ordinals_add(EvqOrdinals *set, int ordinal)
{
	set->words[ordinal / 64] |= UINT64CONST(1) << (ordinal % 64);
}

static inline void
evq_ordinals_remove(EvqOrdinals *set, int ordinal)
{
	set->words[ordinal / 64] &= ~(UINT64CONST(1) << (ordinal % 64));
}

static inline bool
evq_ordinals_have_any(const EvqOrdinals *set)
{
	for (int i = 0; i < lengthof(set->words); i++)
	{
		if (set->words[i] != 0)
			return true;
	}
	return false;
}

/* The exceptions of a range. */
typedef struct EvqExceptions
{
	EvqOrdinals succeeded; /* committed, or by this transaction, as the next */
	EvqOrdinals moved;
	EvqOrdinals open;                           /* others', which may still be rolled back */
	TransactionId open_of[EVQ_UUID_BATCH_ROOM]; /* by ordinal, whose they are */
	bool has_unseen;                            /* as of runs */
} EvqExceptions;

#define EVQ_EXCEPTION_SUCCEEDED 's'
#define EVQ_EXCEPTION_MOVED 'm'

extern void evq_runs_lock(EvqStore *store, const EvqBatch *batch);
extern void evq_runs_unlock(const EvqBatch *batch);
extern void evq_runs_wait(EvqStore *store, TransactionId other);

/* These are for who has the lock, or wants no more than a hint. */
extern bool evq_runs_find(EvqStore *store, const EvqBatch *batch, int ordinal, EvqRun *run);
extern void
evq_runs_find_exceptions(EvqStore *store, const EvqBatch *batch, EvqRange range, EvqExceptions *found);
extern bool evq_runs_find_gap(EvqStore *store, const EvqBatch *batch, EvqRange within, EvqRange *gap);
extern void evq_runs_fail_if_unseen(bool is_unseen);

extern void evq_runs_insert(EvqStore *store, const EvqBatch *batch, const EvqRun *run);
extern void evq_runs_update(EvqStore *store, const EvqBatch *batch, const EvqRun *run);
extern void
evq_runs_insert_exception(EvqStore *store, const EvqBatch *batch, int ordinal, char state, TimestampTz now);
extern void evq_runs_written(void);

#endif /* EVQ_RUNS_H */
