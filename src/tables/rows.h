/*
 * rows.h
 *		Single rows of an open store: found by the id of their event, inserted, updated, deleted.
 *
 * A row that was fetched is in table->slot, and evq's columns of it in table->row,
 * until the next one of that table is fetched or the store is refreshed.
 */
#ifndef EVQ_ROWS_H
#define EVQ_ROWS_H

#include "tables/store_internal.h"

extern void evq_rows_read(const EvqColumnMap *map, TupleTableSlot *slot, TupleTableSlot *row);
extern bool evq_rows_next(IndexScanDesc scan, const EvqColumnMap *map, TupleTableSlot *slot,
						  TupleTableSlot *row, ItemPointerData *root);
extern bool
evq_rows_fetch_by_id(EvqStore *store, EvqStoreTable *table, const pg_uuid_t *event_id, ItemPointerData *root);
extern bool evq_rows_fetch_next(EvqStore *store, EvqStoreTable *table);
extern bool evq_rows_fetch_by_hint(EvqStore *store, EvqStoreTable *table, const pg_uuid_t *event_id,
								   const ItemPointerData *root);
extern void evq_rows_written(void);
extern void evq_rows_fill(EvqStore *store, EvqStoreTable *table, TupleTableSlot *slot, const Datum *values,
						  const bool *nulls, TupleTableSlot *before);
extern void evq_rows_insert(EvqStore *store, EvqStoreTable *table, const Datum *values, const bool *nulls);
extern TupleTableSlot *evq_rows_batch_slot(EvqStore *store, EvqStoreTable *table, int index);
extern void evq_rows_insert_batch(EvqStore *store, EvqStoreTable *table, int count, EvqEvent *events);
extern EvqStoreResult evq_rows_update(EvqStore *store, EvqStoreTable *table, const Datum *values,
									  const bool *nulls, bool wait, ItemPointerData *tid);
extern EvqStoreResult evq_rows_delete(EvqStore *store, EvqStoreTable *table, bool wait);
extern Datum evq_rows_text(const char *text, bool *is_null);
extern char *evq_rows_cstring(Datum value, bool is_null);
extern Datum evq_rows_no(int32 no, bool *is_null);

#endif /* EVQ_ROWS_H */
