/*
 * housekeeper.h
 *		The background worker that keeps a database's tables in order.
 */
#ifndef EVQ_HOUSEKEEPER_H
#define EVQ_HOUSEKEEPER_H

extern void evq_housekeeper_start(Oid database, int slot_index);
extern PGDLLEXPORT void evq_housekeeper_main(Datum main_arg);

#endif /* EVQ_HOUSEKEEPER_H */
