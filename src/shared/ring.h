/*
 * ring.h
 *		State changes on their way from sessions to a dispatcher.
 *
 * A ring is a hint: it may lose everything, and the tables still say it all.
 */
#ifndef EVQ_RING_H
#define EVQ_RING_H

#include "storage/lwlock.h"

#include "base/types.h"

/* What a session tells the dispatcher about an event it changed. */
typedef struct EvqWake
{
	pg_uuid_t event_id;
	TimestampTz at; /* awaiting: when the next attempt is due; else: state_due_at */
	TimestampTz due_at;
	TimestampTz state_since;
	uint64 flow_id_hash;
	ItemPointerData tid; /* see evq_store_hint() */
	int32 flow_no;
	int32 event_type_no;
	int16 priority;
	int16 attempts_used;
	bool ordered;
	uint8 state;       /* an EvqState: the state it is in now */
	bool is_new;       /* it was published, not given back or activated */
	bool given_back;   /* it was taken off the offer in vain: only its ids and numbers count here */
	bool is_own;       /* the dispatcher did it itself: only watchers want to know */
	bool is_offered;   /* the session that published it has put it on offer */
	bool was_empty;    /* ... in a queue that was empty: listeners are to be told */
	int32 offer_limit; /* how long the queue may be for that; 0 = it is the dispatcher's to offer */
} EvqWake;

/* Which is offered first: -1 = a. Highest priority first, then the longest due, then the oldest. */
static inline int
evq_ring_compare(const EvqWake *a, const EvqWake *b)
{
	if (a->priority != b->priority)
		return a->priority > b->priority ? -1 : 1;
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return memcmp(&a->event_id, &b->event_id, sizeof(pg_uuid_t));
}

typedef struct EvqRing
{
	LWLock *lock; /* protects all below; set at start-up */
	uint32 size;
	uint32 head;     /* next to write */
	uint32 tail;     /* next to read; head == tail: empty */
	bool overflowed; /* something was lost since the last read */
	uint64 overflow_count;
	EvqWake entries[FLEXIBLE_ARRAY_MEMBER];
} EvqRing;

extern Size evq_ring_bytes(int size);
extern void evq_ring_init(EvqRing *ring, int size, LWLock *lock);
extern bool evq_ring_push(EvqRing *ring, const EvqWake *wakes, int count, bool overflowed);
extern void evq_ring_clear(EvqRing *ring);
extern bool evq_ring_is_empty(EvqRing *ring);
extern int evq_ring_pop(EvqRing *ring, EvqWake *wakes, int max, bool *overflowed);

#endif /* EVQ_RING_H */
