/*
 * events_internal.h
 *		What rows of live and of finished events have in common.
 */
#ifndef EVQ_EVENTS_INTERNAL_H
#define EVQ_EVENTS_INTERNAL_H

#include "tables/events.h"
#include "tables/rows.h"

extern void evq_events_read_briefly(TupleTableSlot *slot, EvqEvent *event);
extern void evq_events_read(TupleTableSlot *slot, EvqEvent *event, int answer_column);
extern void evq_events_write(const EvqEvent *event, Datum *values, bool *nulls);
extern void evq_events_move_lifespan(EvqEvent *event);
extern void evq_events_read_live(TupleTableSlot *slot, EvqEvent *event);
extern void evq_events_write_live(const EvqEvent *event, Datum *values, bool *nulls);
extern void evq_events_carry_payload(const EvqStoreTable *from, Datum *values, bool *nulls);
extern void evq_events_carry_answer(const EvqEvent *event, const EvqStoreTable *from, int from_column,
									Datum *values, bool *nulls, int column);

#endif /* EVQ_EVENTS_INTERNAL_H */
