/*
 * live.h
 *		The live events as an engine knows them, and what of them is on offer.
 *
 * Filled in two ways: sessions tell of each change (absorb), and sweeps read
 * the tables (see).
 */
#ifndef EVQ_LIVE_H
#define EVQ_LIVE_H

#include "dispatcher/track.h"
#include "shared/shmem.h"

/* Events due within this time are remembered; later ones stay in the table. */
#define EVQ_LIVE_HORIZON (60 * USECS_PER_SEC)

/* A flow_id of an ordered flow whose event in front has gone. */
typedef struct EvqSuccessor
{
	int32 flow_no;
	char *flow_id;
} EvqSuccessor;

typedef struct EvqLive
{
	MemoryContext context;
	EvqSlot *slot; /* NULL = no shared memory */
	EvqTrack *track;
	List *successors;     /* of EvqSuccessor */
	int offered_directly; /* by sessions, since somebody asked */

	bool sweep_wanted;
	bool complete_wanted; /* ... one that reads all */
	bool is_reading_on;   /* what is met now was left unread: see sweep.c */
	bool suspended_met;   /* due events were passed by since their event type is suspended */

	/* What was met since the last sweep ended, and since the present one began, which is what remains of it. */
	bool parked; /* due events that cannot go yet stay in the table: they must be looked for */
	bool parked_anew;
	TimestampTz future_at; /* the earliest event beyond the horizon */
	TimestampTz future_anew;
} EvqLive;

extern EvqLive *evq_live_create(MemoryContext context, EvqSlot *slot);
extern void evq_live_want_sweep(EvqLive *live);
extern bool evq_live_any_flow(const EvqLive *live, bool (*is_so)(const EvqTrackedFlow *));

extern void evq_live_absorb(EvqLive *live, const EvqChange *change, TimestampTz now);
extern void evq_live_see(EvqLive *live, const EvqEvent *event, TimestampTz now);

extern EvqTracked *evq_live_remember(EvqLive *live, const EvqChange *facts, TimestampTz now);
extern void evq_live_forget(EvqLive *live, EvqTracked *tracked);
extern void evq_live_park(EvqLive *live, bool type_suspended);
extern void evq_live_note_future(EvqLive *live, TimestampTz at);
extern bool evq_live_is_type_suspended(int32 event_type_no);

extern bool evq_live_keeps_offer(const EvqLive *live);
extern bool evq_live_offer(EvqLive *live, const EvqChange *facts, bool *was_empty);
extern bool evq_live_is_offer_missing(const EvqLive *live);
extern void evq_live_offer_missing(EvqLive *live);

#endif /* EVQ_LIVE_H */
