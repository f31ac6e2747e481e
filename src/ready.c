/*
 * ready.c
 *		Events on offer: one linked list a flow, in one pool of entries in shared memory,
 *		which a hash finds by event id.
 *
 * Nothing here can fail: entries are pushed right after a commit.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "ready.h"

Size
evq_ready_bytes(int size)
{
	return MAXALIGN(sizeof(EvqReady)) + MAXALIGN((Size) size * sizeof(EvqReadyEntry)) +
		   (Size) size * sizeof(int32);
}

static void
empty_all(EvqReady *ready)
{
	memset(ready->queues, 0, sizeof(ready->queues));
	for (int i = 0; i < ready->size; i++)
	{
		ready->entries[i].next = i + 1 < ready->size ? i + 1 : EVQ_READY_NONE;
		ready->buckets[i] = EVQ_READY_NONE;
	}
	ready->free = 0;
	ready->missing = ready->asked = false;
}

void
evq_ready_init(EvqReady *ready, int size, LWLock *lock)
{
	char *after = (char *) ready + MAXALIGN(sizeof(EvqReady));

	ready->lock = lock;
	ready->size = size;
	ready->entries = (EvqReadyEntry *) after;
	ready->buckets = (int32 *) (after + MAXALIGN((Size) size * sizeof(EvqReadyEntry)));
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

/* The link that leads, or would lead, to the event's entry. */
static int32 *
find_link(EvqReady *ready, const pg_uuid_t *event_id)
{
	uint32 hash = hash_bytes(event_id->data, UUID_LEN);
	int32 *link = &ready->buckets[hash % ready->size];

	while (*link != EVQ_READY_NONE && memcmp(&ready->entries[*link].event_id, event_id, UUID_LEN) != 0)
		link = &ready->entries[*link].next_in_bucket;
	return link;
}

static void
remove_entry(EvqReady *ready, int32 index)
{
	EvqReadyEntry *entry = &ready->entries[index];
	EvqReadyQueue *queue = find_queue(ready, entry->flow_no);

	*find_link(ready, &entry->event_id) = entry->next_in_bucket;
	if (entry->previous == EVQ_READY_NONE)
		queue->first = entry->next;
	else
		ready->entries[entry->previous].next = entry->next;
	if (entry->next == EVQ_READY_NONE)
		queue->last = entry->previous;
	else
		ready->entries[entry->next].previous = entry->previous;
	queue->count--;
	entry->next = ready->free;
	ready->free = index;
}

/* Takes the oldest entry of the longest queue out: its flow can best do without a hint. */
static void
make_room(EvqReady *ready)
{
	EvqReadyQueue *longest = &ready->queues[0];

	for (int i = 1; i < EVQ_READY_FLOWS; i++)
	{
		if (ready->queues[i].count > longest->count)
			longest = &ready->queues[i];
	}
	remove_entry(ready, longest->first);
	ready->missing = true;
}

/*
 * Puts an event at the end of its flow's queue, unless it is there already;
 * false when the queue has as many as the limit, or the flow can have none,
 * since others have them all.
 */
bool
evq_ready_push(EvqReady *ready, int32 flow_no, int32 event_type_no, const pg_uuid_t *event_id,
			   const ItemPointerData *tid, int32 limit, bool *was_empty)
{
	EvqReadyQueue *queue;
	bool has_room;

	*was_empty = false;
	LWLockAcquire(ready->lock, LW_EXCLUSIVE);
	queue = find_queue(ready, flow_no);
	has_room = queue != NULL && queue->count < limit;
	if (has_room && *find_link(ready, event_id) == EVQ_READY_NONE)
	{
		EvqReadyEntry *entry;
		int32 index;

		if (ready->free == EVQ_READY_NONE)
			make_room(ready);
		index = ready->free;
		entry = &ready->entries[index];
		ready->free = entry->next;

		if (queue->flow_no == 0)
		{
			queue->flow_no = flow_no;
			queue->first = queue->last = EVQ_READY_NONE;
		}
		*was_empty = queue->count == 0;
		entry->event_id = *event_id;
		entry->tid = *tid;
		entry->event_type_no = event_type_no;
		entry->flow_no = flow_no;
		entry->next = EVQ_READY_NONE;
		entry->previous = queue->last;
		entry->next_in_bucket = EVQ_READY_NONE;
		*find_link(ready, event_id) = index;
		if (queue->last == EVQ_READY_NONE)
			queue->first = index;
		else
			ready->entries[queue->last].next = index;
		queue->last = index;
		queue->count++;
	}
	LWLockRelease(ready->lock);
	return has_room;
}

/* Takes an event off the offer, if it is there. */
void
evq_ready_remove(EvqReady *ready, const pg_uuid_t *event_id)
{
	int32 index;

	LWLockAcquire(ready->lock, LW_EXCLUSIVE);
	index = *find_link(ready, event_id);
	if (index != EVQ_READY_NONE)
		remove_entry(ready, index);
	LWLockRelease(ready->lock);
}

static bool
is_wanted(int32 event_type_no, const int32 *event_type_nos, int event_type_count)
{
	for (int i = 0; i < event_type_count; i++)
	{
		if (event_type_nos[i] == event_type_no)
			return true;
	}
	return event_type_count == 0;
}

/*
 * Takes up to max events out of a flow's queue, first come first; -1 = the flow
 * can have no queue. event_type_count 0 = of all types.
 */
int
evq_ready_pop(EvqReady *ready, int32 flow_no, const int32 *event_type_nos, int event_type_count,
			  EvqReadyTaken *taken, int max)
{
	EvqReadyQueue *queue;
	int count = 0;

	LWLockAcquire(ready->lock, LW_EXCLUSIVE);
	queue = find_queue(ready, flow_no);
	if (queue == NULL)
		count = -1;
	else if (queue->flow_no == flow_no)
	{
		int32 index = queue->first;

		while (index != EVQ_READY_NONE && count < max)
		{
			EvqReadyEntry *entry = &ready->entries[index];
			int32 next = entry->next;

			if (is_wanted(entry->event_type_no, event_type_nos, event_type_count))
			{
				taken[count].event_id = entry->event_id;
				taken[count].tid = entry->tid;
				taken[count++].event_type_no = entry->event_type_no;
				remove_entry(ready, index);
			}
			index = next;
		}
		queue->taken += count;
	}
	LWLockRelease(ready->lock);
	return count;
}

/* Was the flag set? It is no longer then, but the next one is, if there is one. */
static bool
take_flag(EvqReady *ready, bool *flag, bool *next)
{
	bool was_set;

	if (!*flag)
		return false;
	LWLockAcquire(ready->lock, LW_EXCLUSIVE);
	was_set = *flag;
	*flag = false;
	if (next != NULL)
		*next |= was_set;
	LWLockRelease(ready->lock);
	return was_set;
}

/* A worker found nothing. Have offers been pushed out, which nobody has asked for since? Then he asks. */
bool
evq_ready_ask_for_missing(EvqReady *ready)
{
	return take_flag(ready, &ready->missing, &ready->asked);
}

/* Has a worker asked for them? */
bool
evq_ready_is_asked(const EvqReady *ready)
{
	return ready->asked;
}

/* If so, they are offered now. */
bool
evq_ready_answer(EvqReady *ready)
{
	return take_flag(ready, &ready->asked, NULL);
}

/* How many events workers have taken out of a flow's queue. */
uint64
evq_ready_taken(EvqReady *ready, int32 flow_no)
{
	EvqReadyQueue *queue;
	uint64 taken;

	LWLockAcquire(ready->lock, LW_SHARED);
	queue = find_queue(ready, flow_no);
	taken = queue == NULL || queue->flow_no != flow_no ? 0 : queue->taken;
	LWLockRelease(ready->lock);
	return taken;
}
