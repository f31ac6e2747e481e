/*
 * store.h
 *		All access to events: opening the tables, and the snapshot of a verb.
 *
 * A store is open for the length of one verb. It holds one snapshot, which
 * sees what the verb itself has written, and is renewed when a row turns out
 * to be changed by someone else.
 *
 * What is read from it is in the caller's current memory context, what the store
 * itself needs in the one in which it was opened. All that takes a store may raise
 * an error; the end of the (sub)transaction cleans up then, and the store is of no
 * use any more.
 */
#ifndef EVQ_STORE_H
#define EVQ_STORE_H

#include "base/types.h"

typedef struct EvqStore EvqStore;

typedef enum EvqStoreResult
{
	EVQ_STORE_DONE,
	EVQ_STORE_BUSY,   /* another transaction is changing the row, and we did not wait */
	EVQ_STORE_CHANGED /* another transaction has changed the row: fetch it again and decide again */
} EvqStoreResult;

extern EvqStore *evq_store_open(const char *function);
extern EvqStore *evq_store_open_to_read(void);
extern void evq_store_close(EvqStore *store);
extern void evq_store_refresh(EvqStore *store);
extern void evq_store_see_present(EvqStore *store, bool present);
extern void evq_store_pass_over_changed(EvqStore *store);

#endif /* EVQ_STORE_H */
