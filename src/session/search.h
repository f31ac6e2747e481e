/*
 * search.h
 *		What evq_acquire_next() finds by itself: in the table, and in its own transaction.
 */
#ifndef EVQ_SEARCH_H
#define EVQ_SEARCH_H

#include "session/lifecycle.h"
#include "shared/change.h"

typedef struct EvqSearch
{
	const EvqFlow *flow;
	const int32 *event_type_nos; /* event_type_count of them, 0 = all */
	int event_type_count;
	uint64 configuration; /* see evq_config_use() */
} EvqSearch;

/* Is told of an event that may be had, or with "events" of a batch of so many; true = that is enough. Its place is all that counts of it. */
typedef bool (*EvqSearchFound)(void *context, const EvqChange *found);

extern bool evq_search_is_wanted(const EvqSearch *search, int32 event_type_no);
extern void evq_search_table(EvqStore *store, const EvqSearch *search, EvqSearchFound found, void *context);
extern void evq_search_own(EvqStore *store, const EvqSearch *search, int change_count, EvqSearchFound found,
						   void *context);

#endif /* EVQ_SEARCH_H */
