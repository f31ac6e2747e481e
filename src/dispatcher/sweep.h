/*
 * sweep.h
 *		Reading the tables for what nobody told, and for what there was no memory for.
 */
#ifndef EVQ_SWEEP_H
#define EVQ_SWEEP_H

#include "dispatcher/memory.h"
#include "tables/store.h"

typedef struct EvqSweeper EvqSweeper;

extern EvqSweeper *evq_sweep_create(MemoryContext context, EvqSlot *slot, EvqMemory *memory);
extern void evq_sweep_heed_configuration(EvqSweeper *sweeper);
extern uint32 evq_sweep_number(const EvqSweeper *sweeper);
extern bool evq_sweep_is_complete(const EvqSweeper *sweeper);
extern bool evq_sweep_has_seen_all(const EvqSweeper *sweeper);
extern bool evq_sweep_is_under_way(const EvqSweeper *sweeper);
extern bool evq_sweep_has_read(const EvqSweeper *sweeper);
extern bool evq_sweep_is_due(EvqSweeper *sweeper, TimestampTz now);
extern TimestampTz evq_sweep_next_at(const EvqSweeper *sweeper, TimestampTz now);

/* In a transaction. */
extern bool evq_sweep_any_prepared(void);
extern void evq_sweep_run(EvqSweeper *sweeper, EvqStore *store, TimestampTz now);

#endif /* EVQ_SWEEP_H */
