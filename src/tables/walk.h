/*
 * walk.h
 *		Walks over live events in the order of an index.
 */
#ifndef EVQ_WALK_H
#define EVQ_WALK_H

#include "access/skey.h"

#include "tables/store.h"

extern void
evq_walk_set_position(ScanKey key, ScanKey members, int column, TimestampTz at, const pg_uuid_t *id);
extern void evq_walk_due(EvqStore *store, int32 flow_no, const EvqDuePosition *from);
extern void evq_walk_group(EvqStore *store, int32 flow_no, const char *group_key, const EvqDuePosition *from);
extern bool evq_walk_splits_instants(const EvqStore *store);
extern void evq_walk_flow_id(EvqStore *store, int32 flow_no, const char *flow_id);
extern bool evq_walk_next(EvqStore *store, EvqEvent *event);
extern bool evq_walk_next_briefly(EvqStore *store, EvqEvent *event);
extern bool evq_walk_is_own(const EvqStore *store);
extern void evq_walk_end(EvqStore *store);

#endif /* EVQ_WALK_H */
