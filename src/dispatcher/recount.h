/*
 * recount.h
 *		The counters and the tables: what is put away at a stop, taken back at the start, and put right.
 */
#ifndef EVQ_RECOUNT_H
#define EVQ_RECOUNT_H

#include "shared/shmem.h"

extern bool evq_recount_is_wanted(EvqSlot *slot);
extern bool evq_recount_is_take_back_due(EvqSlot *slot);
extern bool evq_recount_is_due(EvqSlot *slot);
extern bool evq_recount_is_quiet(EvqSlot *slot);
extern void evq_recount_put_off(EvqSlot *slot);

/* In a transaction each; the first is followed by evq_recount_taken_back() when it has committed. */
extern void evq_recount_take_back(void);
extern void evq_recount_put_away(EvqSlot *slot);
extern void evq_recount_run(EvqSlot *slot);

/* Outside of a transaction. */
extern void evq_recount_taken_back(EvqSlot *slot);

#endif /* EVQ_RECOUNT_H */
