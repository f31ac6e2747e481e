/*
 * ready.c
 *		Events on offer: one linked list a flow, in one pool of entries in shared memory,
 *		which a hash finds by event id, and another hash the list by flow.
 *
 * Nothing here can fail: entries are pushed right after a commit. And nothing
 * takes longer the more flows or offers there are.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "port/pg_bitutils.h"

#include "shared/ready.h"

Size
evq_ready_bytes(int size)
{
	return MAXALIGN(sizeof(EvqReady)) + MAXALIGN((Size) size * sizeof(EvqReadyEntry)) +
		   MAXALIGN((Size) size * sizeof(EvqReadyQueue)) + 2 * (Size) size * sizeof(int32);
}

static void
empty_all(EvqReady *ready)
{
	for (int i = 0; i < ready->size; i++)
	{
		ready->entries[i].next = i + 1 < ready->size ? i + 1 : EVQ_READY_NONE;
		ready->buckets[i] = ready->queue_buckets[i] = EVQ_READY_NONE;
	}
	for (int i = 0; i < EVQ_READY_LENGTHS; i++)
		ready->by_length[i] = EVQ_READY_NONE;
	ready->free = 0;
	ready->queues_used = 0;
	ready->last_empty = EVQ_READY_NONE;
	ready->missing = ready->asked = false;
}

void
evq_ready_init(EvqReady *ready, int size, LWLock *lock)
{
	char *after = (char *) ready + MAXALIGN(sizeof(EvqReady));

	ready->lock = lock;
	ready->size = size;
	ready->entries = (EvqReadyEntry *) after;
	after += MAXALIGN((Size) size * sizeof(EvqReadyEntry));
	ready->queues = (EvqReadyQueue *) after;
	after += MAXALIGN((Size) size * sizeof(EvqReadyQueue));
	ready->buckets = (int32 *) after;
	ready->queue_buckets = ready->buckets + size;
	empty_all(ready);
}

void
evq_ready_clear(EvqReady *ready)
{
	LWLockAcquire(ready->lock, LW_EXCLUSIVE);
	empty_all(ready);
	LWLockRelease(ready->lock);
}

/* ---------- queues ---------- */

/* The link that leads, or would lead, to the flow's queue. */
static int32 *
find_queue_link(EvqReady *ready, int32 flow_no)
{
	int32 *link = &ready->queue_buckets[hash_bytes_uint32(flow_no) % ready->size];

	Assert(LWLockHeldByMe(ready->lock));
	while (*link != EVQ_READY_NONE && ready->queues[*link].flow_no != flow_no)
		link = &ready->queues[*link].next_in_bucket;
	return link;
}

/* The list in which queues of this length are. */
static int
length_list(int32 count)
{
	return count == 0 ? 0 : 1 + pg_leftmost_one_pos32(count);
}

static void
leave_length_list(EvqReady *ready, EvqReadyQueue *queue)
{
	if (queue->previous == EVQ_READY_NONE)
		ready->by_length[length_list(queue->count)] = queue->next;
	else
		ready->queues[queue->previous].next = queue->next;
	if (queue->next != EVQ_READY_NONE)
		ready->queues[queue->next].previous = queue->previous;
	else if (queue->count == 0)
		ready->last_empty = queue->previous;
}

static void
enter_length_list(EvqReady *ready, EvqReadyQueue *queue)
{
	int32 *first = &ready->by_length[length_list(queue->count)];
	int32 index = queue - ready->queues;

	queue->previous = EVQ_READY_NONE;
	queue->next = *first;
	if (*first != EVQ_READY_NONE)
		ready->queues[*first].previous = index;
	else if (queue->count == 0)
		ready->last_empty = index;
	*first = index;
}

static void
set_count(EvqReady *ready, EvqReadyQueue *queue, int32 count)
{
	Assert(count >= 0 && LWLockHeldByMeInMode(ready->lock, LW_EXCLUSIVE));
	if (length_list(count) == length_list(queue->count))
	{
		queue->count = count;
		return;
	}
	leave_length_list(ready, queue);
	queue->count = count;
	enter_length_list(ready, queue);
}

/*
 * The queue of a flow, made if it has none: one never used, or the one that has
 * been empty for longest. There is one while an entry is free: not all have one.
 */
static EvqReadyQueue *
use_queue(EvqReady *ready, int32 flow_no)
{
	int32 *link = find_queue_link(ready, flow_no);
	EvqReadyQueue *queue;

	if (*link != EVQ_READY_NONE)
		return &ready->queues[*link];
	if (ready->queues_used < ready->size)
		queue = &ready->queues[ready->queues_used++];
	else
	{
		queue = &ready->queues[ready->last_empty];
		leave_length_list(ready, queue);
		*find_queue_link(ready, queue->flow_no) = queue->next_in_bucket;
	}
	memset(queue, 0, sizeof(*queue));
	queue->flow_no = flow_no;
	queue->first = queue->last = queue->next_in_bucket = EVQ_READY_NONE;
	link = find_queue_link(ready, flow_no);
	*link = queue - ready->queues;
	enter_length_list(ready, queue);
	return queue;
}

/* ---------- entries ---------- */

/* The link that leads, or would lead, to the event's entry. */
static int32 *
find_link(EvqReady *ready, const pg_uuid_t *event_id)
{
	uint32 hash = hash_bytes(event_id->data, UUID_LEN);
	int32 *link = &ready->buckets[hash % ready->size];

	Assert(LWLockHeldByMe(ready->lock));
	while (*link != EVQ_READY_NONE && memcmp(&ready->entries[*link].event_id, event_id, UUID_LEN) != 0)
		link = &ready->entries[*link].next_in_bucket;
	return link;
}

static void
remove_entry(EvqReady *ready, int32 index)
{
	EvqReadyEntry *entry = &ready->entries[index];
	EvqReadyQueue *queue = &ready->queues[*find_queue_link(ready, entry->flow_no)];

	*find_link(ready, &entry->event_id) = entry->next_in_bucket;
	if (entry->previous == EVQ_READY_NONE)
		queue->first = entry->next;
	else
		ready->entries[entry->previous].next = entry->next;
	if (entry->next == EVQ_READY_NONE)
		queue->last = entry->previous;
	else
		ready->entries[entry->next].previous = entry->previous;
	set_count(ready, queue, queue->count - 1);
	entry->next = ready->free;
	ready->free = index;
}

/* Takes the oldest entry of one of the longest queues out: its flow can best do without a hint. */
static void
make_room(EvqReady *ready)
{
	int list = EVQ_READY_LENGTHS - 1;

	while (ready->by_length[list] == EVQ_READY_NONE)
		list--;
	Assert(list > 0);
	remove_entry(ready, ready->queues[ready->by_length[list]].first);
	ready->missing = true;
}

static void
append_entry(EvqReady *ready, int32 flow_no, int32 event_type_no, const pg_uuid_t *event_id,
			 const ItemPointerData *tid, bool *was_empty)
{
	EvqReadyQueue *queue;
	EvqReadyEntry *entry;
	int32 index;

	if (ready->free == EVQ_READY_NONE)
		make_room(ready);
	queue = use_queue(ready, flow_no);
	index = ready->free;
	entry = &ready->entries[index];
	ready->free = entry->next;

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
	set_count(ready, queue, queue->count + 1);
}

/*
 * Puts an event at the end of its flow's queue, unless it is there already;
 * false when the queue has as many as the limit.
 */
bool
evq_ready_push(EvqReady *ready, int32 flow_no, int32 event_type_no, const pg_uuid_t *event_id,
			   const ItemPointerData *tid, int32 limit, bool *was_empty)
{
	int32 queue;
	bool has_room;

	*was_empty = false;
	LWLockAcquire(ready->lock, LW_EXCLUSIVE);
	queue = *find_queue_link(ready, flow_no);
	has_room = queue == EVQ_READY_NONE || ready->queues[queue].count < limit;
	if (has_room && *find_link(ready, event_id) == EVQ_READY_NONE)
		append_entry(ready, flow_no, event_type_no, event_id, tid, was_empty);
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

/* Takes up to max events out of a flow's queue, first come first. event_type_count 0 = of all types. */
int
evq_ready_pop(EvqReady *ready, int32 flow_no, const int32 *event_type_nos, int event_type_count,
			  EvqReadyTaken *taken, int max)
{
	int32 queue;
	int count = 0;

	LWLockAcquire(ready->lock, LW_EXCLUSIVE);
	queue = *find_queue_link(ready, flow_no);
	if (queue != EVQ_READY_NONE)
	{
		int32 index = ready->queues[queue].first;

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
		ready->queues[queue].taken += count;
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
	int32 queue;
	uint64 taken;

	LWLockAcquire(ready->lock, LW_SHARED);
	queue = *find_queue_link(ready, flow_no);
	taken = queue == EVQ_READY_NONE ? 0 : ready->queues[queue].taken;
	LWLockRelease(ready->lock);
	return taken;
}
