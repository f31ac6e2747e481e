/*
 * ring.h
 *		State changes on their way from sessions to a dispatcher.
 *
 * A ring is a hint: it may lose everything, and the tables still say it all.
 * These functions take the ring's lock, but for the first two; they allocate
 * nothing and raise nothing.
 */
#ifndef EVQ_RING_H
#define EVQ_RING_H

#include "storage/lwlock.h"

#include "shared/change.h"

typedef struct EvqRing
{
	LWLock *lock; /* protects all below; set at start-up */
	uint32 size;
	uint32 head;     /* next to write */
	uint32 tail;     /* next to read; head == tail: empty */
	bool overflowed; /* something was lost since the last read */
	uint64 overflow_count;
	EvqChange entries[FLEXIBLE_ARRAY_MEMBER];
} EvqRing;

extern Size evq_ring_bytes(int size);
extern void evq_ring_init(EvqRing *ring, int size, LWLock *lock);
extern bool evq_ring_push(EvqRing *ring, const EvqChange *changes, int count, bool overflowed);
extern void evq_ring_clear(EvqRing *ring);
extern bool evq_ring_is_empty(EvqRing *ring);
extern int evq_ring_pop(EvqRing *ring, EvqChange *changes, int max, bool *overflowed);

#endif /* EVQ_RING_H */
