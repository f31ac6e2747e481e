/*
 * shmem.h
 *		The shared memory of the engine: one slot a database.
 */
#ifndef EVQ_SHMEM_H
#define EVQ_SHMEM_H

#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#include "shared/counters.h"
#include "shared/offers.h"
#include "shared/ring.h"

#define EVQ_LAST_ERROR_SIZE 256

/* Flows are told apart by 64 bits; a bit of full_flows or direct_flows is set where it holds for all flows that share it. */
#define EVQ_FLOW_CLASS(flow_no) (UINT64CONST(1) << ((uint32) (flow_no) % 64))

typedef enum EvqSlotState
{
	EVQ_SLOT_FREE,     /* of no database */
	EVQ_SLOT_WANTED,   /* the launcher shall start a dispatcher */
	EVQ_SLOT_STARTING, /* the launcher did; it is not known yet whether the extension is there */
	EVQ_SLOT_RUNNING,  /* the dispatcher is at work */
	EVQ_SLOT_STOPPED,  /* it ended; the launcher starts it again after a pause */
	EVQ_SLOT_ABSENT    /* the database has no evq */
} EvqSlotState;

/* What the engine shares about one database. "lock" is EvqShared.lock. */
typedef struct EvqSlot
{
	Oid database;           /* lock; InvalidOid = free */
	pg_atomic_uint64 owner; /* the database (low half), and a number that is another each time it changes */
	EvqSlotState state;     /* lock */
	int holds; /* lock; sessions that want the database empty: its dispatcher leaves, none may start */
	bool check_extension; /* lock; the extension may have been dropped, or made, or the database changed */
	bool lacks_worker;    /* lock; no background worker was free for its dispatcher */
	int pid;      /* 0 = no dispatcher; lock, but who can stand to be late by a moment reads it without */
	Latch *latch; /* the dispatcher's, NULL = none; as pid */
	int housekeeper_pid;    /* lock; 0 = none */
	bool counted_roughly;   /* see evq_recount_run(); who may run it may write this */
	TimestampTz started_at; /* lock */
	TimestampTz restart_at; /* launcher only */
	int failures;           /* launcher only; starts in a row that did not last */

	TimestampTz last_turn_at;             /* lock; this and the next are written by the dispatcher */
	TimestampTz refused_since;            /* lock; another session's evq_tick() has kept the turn, 0 = no */
	uint64 turns;                         /* lock */
	uint64 dispatched;                    /* lock */
	uint64 errors;                        /* lock */
	char last_error[EVQ_LAST_ERROR_SIZE]; /* lock */
	bool is_failing;                      /* lock; the last turn did not come to its end */

	/*
	 * Transactions that are about to announce something, those that have come
	 * to their end, and those that have announced it or never will. While the
	 * first and the last differ, or the first has moved since the last look, an
	 * announcement may be lost: the dispatcher keeps reading the tables. While
	 * the last two differ, the slot goes to no other database.
	 */
	pg_atomic_uint64 announcing;
	pg_atomic_uint64 settling;
	pg_atomic_uint64 announced;
	pg_atomic_uint32 prepared; /* such a transaction was prepared: its commit cannot be seen */
	pg_atomic_uint32
		is_offering; /* what comes first in each flow was read and put on offer: no offer = there is nothing */
	pg_atomic_uint32 look_now;          /* the tables changed in a way that no entry of the ring tells */
	pg_atomic_uint32 schedules_changed; /* the dispatcher is to see when the next one is due */
	pg_atomic_uint32 wants_changes;     /* some flow waits for room: wake the dispatcher for every change */
	pg_atomic_uint64 full_flows;     /* EVQ_FLOW_CLASS() of flows without room, whose new events can wait */
	pg_atomic_uint64 sleeping_until; /* TimestampTz; the dispatcher need not be woken for later things */

	pg_atomic_uint64
		direct_flows; /* EVQ_FLOW_CLASS() of pull flows whose new events sessions offer themselves */
	pg_atomic_uint64 recount_at;    /* by the monotonic clock; the live events are not counted before */
	pg_atomic_uint64 watched_until; /* TimestampTz; until then state changes are told on a channel */

	pg_atomic_uint64 clock_reached; /* TimestampTz; the latest by which a turn was given, 0 = not known */

	EvqRing *ring;
	EvqOffers *offers;
	EvqCounters *counters;
} EvqSlot;

typedef struct EvqShared
{
	LWLock *lock;
	Latch *launcher_latch; /* NULL = no launcher; as EvqSlot.pid */
	bool is_short;         /* lock; a database got no slot: the launcher looks for it when one can be had */
	int slot_count;
	EvqSlot slots[FLEXIBLE_ARRAY_MEMBER];
} EvqShared;

/* NULL when evq is not preloaded. */
extern EvqShared *evq_shared;

extern void evq_shmem_init(void);

/* None of these raises an error, or allocates anything. */
extern EvqSlot *evq_shmem_find(Oid database);
extern EvqSlot *evq_shmem_find_or_make(Oid database);
extern bool evq_shmem_has_room(void);
extern void evq_shmem_free(EvqSlot *slot);
extern EvqSlot *evq_shmem_mine(void);
extern bool evq_shmem_begin_announcing(EvqSlot *slot, uint64 *owner);
extern bool evq_shmem_begin_settling(EvqSlot *slot, uint64 owner);
extern void evq_shmem_end_settling(EvqSlot *slot);
extern bool evq_shmem_is_watched(EvqSlot *slot);
extern bool evq_shmem_clock_was_ahead(EvqSlot *slot, TimestampTz now);
extern void evq_shmem_note_clock(EvqSlot *slot, TimestampTz now);
extern void evq_shmem_begin_noting_clock(EvqSlot *slot, TimestampTz now);
extern void evq_shmem_wake_dispatcher(EvqSlot *slot);
extern void evq_shmem_look_now(void);
extern void evq_shmem_schedules_changed(void);
extern void evq_shmem_recount(void);
extern void evq_shmem_wake_launcher(void);

#endif /* EVQ_SHMEM_H */
