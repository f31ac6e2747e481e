/*
 * recount.h
 *		The counters and the tables: what is put away at a stop, taken back at the start, and put right.
 */
#ifndef EVQ_RECOUNT_H
#define EVQ_RECOUNT_H

#include "shared/shmem.h"

extern bool evq_recount_is_wanted(EvqPlace *place);
extern bool evq_recount_is_take_back_due(EvqPlace *place);
extern bool evq_recount_is_due(EvqPlace *place);
extern bool evq_recount_is_quiet(EvqPlace *place);
extern void evq_recount_put_off(EvqPlace *place);

/* In a transaction each; the first is followed by evq_recount_taken_back() when it has committed. */
extern void evq_recount_take_back(void);
extern void evq_recount_put_away(EvqPlace *place);
extern void evq_recount_run(EvqPlace *place);

/* Outside of a transaction. */
extern void evq_recount_taken_back(EvqPlace *place);

#endif /* EVQ_RECOUNT_H */
