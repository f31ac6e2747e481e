/*
 * ready.c
 *		Events on offer: one linked list a flow, in one pool of entries in shared memory.
 */
#include "postgres.h"

#include "ready.h"

Size
evq_ready_bytes(int size)
{
	return offsetof(EvqReady, entries) + (Size) size * sizeof(EvqReadyEntry);
}

static void
empty_all(EvqReady *ready)
{
	memset(ready->queues, 0, sizeof(ready->queues));
	for (int i = 0; i < ready->size; i++)
		ready->entries[i].next = i + 1 < ready->size ? i + 1 : -1;
	ready->free = 0;
}

void
evq_ready_init(EvqReady *ready, int size, LWLock *lock)
{
	ready->lock = lock;
	ready->size = size;
	empty_all(ready);
}

void
evq_ready_clear(EvqReady *ready)
{
	LWLockAcquire(ready->lock, LW_EXCLUSIVE);
	empty_all(ready);
	LWLockRelease(ready->lock);
}

/* The queue of a flow, or an unused one to become it; NULL = all are other flows'. */
static EvqReadyQueue *
find_queue(EvqReady *ready, int32 flow_no)
{
	for (int i = 0; i < EVQ_READY_FLOWS; i++)
	{
		EvqReadyQueue *queue = &ready->queues[(flow_no + i) % EVQ_READY_FLOWS];

		if (queue->flow_no == flow_no || queue->flow_no == 0)
			return queue;
	}
	return NULL;
}

/* Takes the entry behind previous (-1 = the first) out of its queue. */
static void
unlink_entry(EvqReady *ready, EvqReadyQueue *queue, int32 previous, int32 index)
{
	int32 next = ready->entries[index].next;

	if (previous < 0)
		queue->first = next;
	else
		ready->entries[previous].next = next;
	if (queue->last == index)
		queue->last = previous;
	queue->count--;
	ready->entries[index].next = ready->free;
	ready->free = index;
}

/*
 * Puts an event at the end of its flow's queue; false when there is no room.
 * drop_oldest: a flow that has half of the pool loses its first entry instead.
 * Whoever acquires by id leaves entries behind that nobody takes, and those are
 * the oldest.
 */
bool
evq_ready_push(EvqReady *ready, int32 flow_no, int32 event_type_no, const pg_uuid_t *event_id,
			   bool drop_oldest, bool *was_empty)
{
	EvqReadyQueue *queue;
	bool pushed = false;

	LWLockAcquire(ready->lock, LW_EXCLUSIVE);
	queue = find_queue(ready, flow_no);
	if (queue != NULL)
	{
		if (queue->flow_no == 0)
		{
			queue->flow_no = flow_no;
			queue->first = queue->last = -1;
		}
		*was_empty = queue->count == 0;
		if (drop_oldest && queue->count >= Max(ready->size / 2, 1))
			unlink_entry(ready, queue, -1, queue->first);
		if (ready->free >= 0)
		{
			int32 index = ready->free;
			EvqReadyEntry *entry = &ready->entries[index];

			ready->free = entry->next;
			entry->event_id = *event_id;
			entry->event_type_no = event_type_no;
			entry->next = -1;
			if (queue->last < 0)
				queue->first = index;
			else
				ready->entries[queue->last].next = index;
			queue->last = index;
			queue->count++;
			pushed = true;
		}
	}
	LWLockRelease(ready->lock);
	return pushed;
}

/*
 * Takes up to max ids out of a flow's queue, first come first; -1 = the flow
 * can have no queue, since others have them all. event_type_count 0 = of all
 * types.
 */
int
evq_ready_pop(EvqReady *ready, int32 flow_no, const int32 *event_type_nos, int event_type_count,
			  pg_uuid_t *event_ids, int max)
{
	EvqReadyQueue *queue;
	int count = 0;

	LWLockAcquire(ready->lock, LW_EXCLUSIVE);
	queue = find_queue(ready, flow_no);
	if (queue == NULL)
		count = -1;
	else if (queue->flow_no == flow_no)
	{
		int32 previous = -1;
		int32 index = queue->first;

		while (index >= 0 && count < max)
		{
			EvqReadyEntry *entry = &ready->entries[index];
			int32 next = entry->next;
			bool wanted = event_type_count == 0;

			for (int i = 0; i < event_type_count && !wanted; i++)
				wanted = event_type_nos[i] == entry->event_type_no;
			if (wanted)
			{
				event_ids[count++] = entry->event_id;
				unlink_entry(ready, queue, previous, index);
			}
			else
				previous = index;
			index = next;
		}
	}
	LWLockRelease(ready->lock);
	return count;
}
