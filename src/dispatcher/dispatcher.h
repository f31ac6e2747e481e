/*
 * dispatcher.h
 *		The background worker of one database.
 */
#ifndef EVQ_DISPATCHER_H
#define EVQ_DISPATCHER_H

#include "postmaster/bgworker.h"

#include "shared/shmem.h"

extern void evq_dispatcher_describe(BackgroundWorker *worker, Oid database, int slot_index, const char *name);
extern PGDLLEXPORT void evq_dispatcher_main(Datum main_arg);

#endif /* EVQ_DISPATCHER_H */
