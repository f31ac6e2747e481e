/*
 * engine.h
 *		The turn: what is due is timed out, expired or dispatched.
 */
#ifndef EVQ_ENGINE_H
#define EVQ_ENGINE_H

#include "shared/shmem.h"

typedef struct EvqEngine EvqEngine;

typedef struct EvqTurn
{
	int dispatched;
	int timed_out;
	int expired;
	bool is_paused; /* the database is: nothing was done */
} EvqTurn;

extern void evq_engine_init(void);
extern EvqEngine *evq_engine_create(EvqSlot *slot);
extern void evq_engine_destroy(EvqEngine *engine);

/* Outside of a transaction. */
extern bool evq_engine_hear(EvqEngine *engine, TimestampTz now);
extern void evq_engine_want_sweep(EvqEngine *engine);
extern void evq_engine_be_careful(EvqEngine *engine);
extern bool evq_engine_is_sweeping(const EvqEngine *engine);
extern bool evq_engine_has_read(const EvqEngine *engine);
extern bool evq_engine_is_blocked(const EvqEngine *engine);
extern uint64 evq_engine_full_flows(const EvqEngine *engine);
extern uint64 evq_engine_direct_flows(const EvqEngine *engine);
extern bool evq_engine_is_due(EvqEngine *engine, TimestampTz now);
extern TimestampTz evq_engine_next_at(const EvqEngine *engine, TimestampTz now);

/* In a transaction. */
extern bool evq_engine_turn(EvqEngine *engine, TimestampTz now, EvqTurn *turn);

#endif /* EVQ_ENGINE_H */
