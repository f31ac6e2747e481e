/*
 * ring.c
 *		A bounded queue in shared memory: many sessions write, one dispatcher reads.
 *
 * Writers come right after their commit, where nothing may fail: no memory is
 * allocated here and no error raised. What does not fit is dropped and the
 * ring remembers that something was.
 */
#include "postgres.h"

#include "shared/ring.h"

/* How much shared memory a ring of this size takes. */
Size
evq_ring_bytes(int size)
{
	return offsetof(EvqRing, entries) + (Size) size * sizeof(EvqChange);
}

/* Makes an empty ring of memory that nobody else sees yet. */
void
evq_ring_init(EvqRing *ring, int size, LWLock *lock)
{
	ring->lock = lock;
	ring->size = size;
	ring->head = ring->tail = 0;
	ring->overflowed = false;
	ring->overflow_count = 0;
}

/*
 * Appends changes, as many as there is room for. overflowed: the writer itself had
 * more to say than it kept. true = something was lost, or the ring is half full,
 * so that it should be read now.
 */
bool
evq_ring_push(EvqRing *ring, const EvqChange *changes, int count, bool overflowed)
{
	uint32 filled;

	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	for (int i = 0; i < count; i++)
	{
		uint32 next = (ring->head + 1) % ring->size;

		if (next == ring->tail)
		{
			overflowed = true;
			break;
		}
		ring->entries[ring->head] = changes[i];
		ring->head = next;
	}
	if (overflowed)
	{
		ring->overflowed = true;
		ring->overflow_count++;
	}
	Assert(ring->head < ring->size && ring->tail < ring->size);
	filled = (ring->head + ring->size - ring->tail) % ring->size;
	LWLockRelease(ring->lock);
	return overflowed || filled > ring->size / 2;
}

/* Takes up to max changes out, the oldest first; returns how many. overflowed: some were lost since the last call. */
int
evq_ring_pop(EvqRing *ring, EvqChange *changes, int max, bool *overflowed)
{
	int count = 0;

	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	while (count < max && ring->tail != ring->head)
	{
		changes[count++] = ring->entries[ring->tail];
		ring->tail = (ring->tail + 1) % ring->size;
	}
	*overflowed = ring->overflowed;
	ring->overflowed = false;
	LWLockRelease(ring->lock);
	return count;
}

/* Is there nothing to take out, and was nothing lost? */
bool
evq_ring_is_empty(EvqRing *ring)
{
	bool empty;

	LWLockAcquire(ring->lock, LW_SHARED);
	empty = ring->tail == ring->head && !ring->overflowed;
	LWLockRelease(ring->lock);
	return empty;
}

/* Forgets all changes: the ring becomes another database's. */
void
evq_ring_clear(EvqRing *ring)
{
	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	ring->head = ring->tail = 0;
	ring->overflowed = false;
	LWLockRelease(ring->lock);
}
