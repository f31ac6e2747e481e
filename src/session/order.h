/*
 * order.h
 *		Whose turn it is in a flow that is ordered or has limits of what is processed.
 */
#ifndef EVQ_ORDER_H
#define EVQ_ORDER_H

#include "tables/config_rows.h"
#include "tables/store.h"

extern void evq_order_init(void);
extern void evq_order_lock(int32 flow_no);
extern bool evq_order_try_lock(int32 flow_no);
extern bool evq_order_front(EvqStore *store, int32 flow_no, const char *flow_id, EvqEvent *front);
extern bool evq_order_may_go(EvqStore *store, const EvqFlow *flow, const EvqEvent *event);

#endif /* EVQ_ORDER_H */
