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

/* What sessions need to wake the dispatcher for, and what they can do without it. */
typedef struct EvqGuide
{
	bool wants_changes; /* a flow waits for room, so that every change matters */
	uint64 full_flows;  /* classes of flows none of which has room for what is ready already */
	uint64
		direct_flows; /* ... of pull flows whose new events sessions may put on offer: none waits before them */
} EvqGuide;

extern void evq_engine_init(void);
extern EvqEngine *evq_engine_create(EvqSlot *slot);
extern void evq_engine_destroy(EvqEngine *engine);

/* Outside of a transaction. */
extern bool evq_engine_hear(EvqEngine *engine, TimestampTz now);
extern EvqGuide evq_engine_guide(EvqEngine *engine, TimestampTz now);
extern void evq_engine_isolate_events(EvqEngine *engine);
extern bool evq_engine_is_sweeping(const EvqEngine *engine);
extern bool evq_engine_has_read(const EvqEngine *engine);
extern bool evq_engine_is_due(EvqEngine *engine, TimestampTz now);
extern TimestampTz evq_engine_next_at(EvqEngine *engine, TimestampTz now);

/* In a transaction. */
extern bool evq_engine_turn(EvqEngine *engine, TimestampTz now, EvqTurn *turn);

#endif /* EVQ_ENGINE_H */
