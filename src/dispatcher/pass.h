/*
 * pass.h
 *		Reading the tables for what nobody told, and for what there was no memory for.
 */
#ifndef EVQ_PASS_H
#define EVQ_PASS_H

#include "dispatcher/live.h"
#include "tables/store.h"

typedef struct EvqPass EvqPass;

extern EvqPass *evq_pass_create(EvqLive *live);
extern void evq_pass_begin_anew(EvqPass *pass);
extern bool evq_pass_is_under_way(const EvqPass *pass);
extern bool evq_pass_has_read(const EvqPass *pass);
extern bool evq_pass_is_due(EvqPass *pass, TimestampTz now);
extern TimestampTz evq_pass_next_at(const EvqPass *pass, TimestampTz now);

/* In a transaction. */
extern bool evq_pass_any_prepared(void);
extern void evq_pass_run(EvqPass *pass, EvqStore *store, TimestampTz now);

#endif /* EVQ_PASS_H */
