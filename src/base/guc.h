/*
 * guc.h
 *		Settings; guc.c describes each.
 */
#ifndef EVQ_GUC_H
#define EVQ_GUC_H

/* fixed at server start */
extern int evq_max_databases;
extern int evq_ring_size;
extern int evq_ready_size;

/* changed by reload */
extern bool evq_enabled;
extern int evq_poll_interval; /* milliseconds */
extern int evq_dispatch_batch;
extern int evq_max_tracked;
extern int evq_housekeeping_interval; /* milliseconds */
extern bool evq_trace;                /* see trace.h */

/* changed in a session */
extern int evq_max_pending_per_transaction;
extern int evq_max_payload; /* bytes */
extern int evq_max_chain_depth;
extern int evq_store_batches_from; /* events, 0 = never */

/* for tests */
extern int evq_debug_clock_offset; /* seconds */
extern bool evq_debug_lose_wakeups;
extern char *evq_debug_wait_at; /* see debug.c */

extern void evq_guc_init(void);

#endif /* EVQ_GUC_H */
