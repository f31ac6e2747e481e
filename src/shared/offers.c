/*
 * offers.c
 *		Events on offer: one linked list a flow, in one pool of entries in shared memory,
 *		which a hash finds by event id, and another hash the list by flow.
 *
 * Nothing here can fail: entries are pushed right after a commit. And nothing
 * takes longer the more flows or offers there are.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "port/pg_bitutils.h"

#include "rules/uuid.h"
#include "shared/offers.h"

/* How far the place of an entry is looked for from either end of its queue. */
#define MOST_STEPS 1000

/* How much shared memory offers of this size take. */
Size
evq_offers_bytes(int size)
{
	return MAXALIGN(sizeof(EvqOffers)) + MAXALIGN((Size) size * sizeof(EvqOffer)) +
		   MAXALIGN((Size) size * sizeof(EvqOfferQueue)) + 2 * (Size) size * sizeof(int32);
}

static void
empty_all(EvqOffers *offers)
{
	for (int i = 0; i < offers->size; i++)
	{
		offers->entries[i].next = i + 1 < offers->size ? i + 1 : EVQ_OFFERS_NONE;
		offers->buckets[i] = offers->queue_buckets[i] = EVQ_OFFERS_NONE;
	}
	for (int i = 0; i < EVQ_OFFERS_LENGTHS; i++)
		offers->by_length[i] = EVQ_OFFERS_NONE;
	offers->free = 0;
	offers->queues_used = 0;
	offers->last_empty = EVQ_OFFERS_NONE;
	offers->missing = offers->asked = false;
}

/* Makes empty offers of memory that nobody else sees yet. */
void
evq_offers_init(EvqOffers *offers, int size, LWLock *lock)
{
	char *after = (char *) offers + MAXALIGN(sizeof(EvqOffers));

	offers->lock = lock;
	offers->size = size;
	offers->entries = (EvqOffer *) after;
	after += MAXALIGN((Size) size * sizeof(EvqOffer));
	offers->queues = (EvqOfferQueue *) after;
	after += MAXALIGN((Size) size * sizeof(EvqOfferQueue));
	offers->buckets = (int32 *) after;
	offers->queue_buckets = offers->buckets + size;
	empty_all(offers);
}

/* Takes all events off the offer. */
void
evq_offers_clear(EvqOffers *offers)
{
	LWLockAcquire(offers->lock, LW_EXCLUSIVE);
	empty_all(offers);
	LWLockRelease(offers->lock);
}

/* ---------- queues ---------- */

/* The link that leads, or would lead, to the flow's queue. */
static int32 *
find_queue_link(EvqOffers *offers, int32 flow_no)
{
	int32 *link = &offers->queue_buckets[hash_bytes_uint32(flow_no) % offers->size];

	Assert(LWLockHeldByMe(offers->lock));
	while (*link != EVQ_OFFERS_NONE && offers->queues[*link].flow_no != flow_no)
		link = &offers->queues[*link].next_in_bucket;
	return link;
}

/* The list in which queues of this length are. */
static int
length_list(int32 count)
{
	return count == 0 ? 0 : 1 + pg_leftmost_one_pos32(count);
}

static void
leave_length_list(EvqOffers *offers, EvqOfferQueue *queue)
{
	if (queue->previous == EVQ_OFFERS_NONE)
		offers->by_length[length_list(queue->count)] = queue->next;
	else
		offers->queues[queue->previous].next = queue->next;
	if (queue->next != EVQ_OFFERS_NONE)
		offers->queues[queue->next].previous = queue->previous;
	else if (queue->count == 0)
		offers->last_empty = queue->previous;
}

static void
enter_length_list(EvqOffers *offers, EvqOfferQueue *queue)
{
	int32 *first = &offers->by_length[length_list(queue->count)];
	int32 index = queue - offers->queues;

	queue->previous = EVQ_OFFERS_NONE;
	queue->next = *first;
	if (*first != EVQ_OFFERS_NONE)
		offers->queues[*first].previous = index;
	else if (queue->count == 0)
		offers->last_empty = index;
	*first = index;
}

static void
set_count(EvqOffers *offers, EvqOfferQueue *queue, int32 count)
{
	Assert(count >= 0 && LWLockHeldByMeInMode(offers->lock, LW_EXCLUSIVE));
	if (length_list(count) == length_list(queue->count))
	{
		queue->count = count;
		return;
	}
	leave_length_list(offers, queue);
	queue->count = count;
	enter_length_list(offers, queue);
}

/*
 * The queue of a flow, made if it has none: one never used, or the one that has
 * been empty for longest. There is one while an entry is free: not all have one.
 */
static EvqOfferQueue *
use_queue(EvqOffers *offers, int32 flow_no)
{
	int32 *link = find_queue_link(offers, flow_no);
	EvqOfferQueue *queue;

	if (*link != EVQ_OFFERS_NONE)
		return &offers->queues[*link];
	if (offers->queues_used < offers->size)
		queue = &offers->queues[offers->queues_used++];
	else
	{
		queue = &offers->queues[offers->last_empty];
		leave_length_list(offers, queue);
		*find_queue_link(offers, queue->flow_no) = queue->next_in_bucket;
	}
	memset(queue, 0, sizeof(*queue));
	queue->flow_no = flow_no;
	queue->first = queue->last = queue->next_in_bucket = EVQ_OFFERS_NONE;
	link = find_queue_link(offers, flow_no);
	*link = queue - offers->queues;
	enter_length_list(offers, queue);
	return queue;
}

/* ---------- entries ---------- */

static uint32
bucket_of(const EvqOffers *offers, const pg_uuid_t *event_id)
{
	return hash_bytes(event_id->data, UUID_LEN) % offers->size;
}

/* The link that leads, or would lead, to the event's entry. */
static int32 *
find_link(EvqOffers *offers, const pg_uuid_t *event_id)
{
	int32 *link = &offers->buckets[bucket_of(offers, event_id)];

	Assert(LWLockHeldByMe(offers->lock));
	while (*link != EVQ_OFFERS_NONE && memcmp(&offers->entries[*link].event_id, event_id, UUID_LEN) != 0)
		link = &offers->entries[*link].next_in_bucket;
	return link;
}

/* How many events it is for. */
static int32
entry_length(const EvqOffer *entry)
{
	return Max(entry->events, 1);
}

static void
remove_entry(EvqOffers *offers, int32 index)
{
	EvqOffer *entry = &offers->entries[index];
	EvqOfferQueue *queue = &offers->queues[*find_queue_link(offers, entry->flow_no)];

	*find_link(offers, &entry->event_id) = entry->next_in_bucket;
	if (entry->previous == EVQ_OFFERS_NONE)
		queue->first = entry->next;
	else
		offers->entries[entry->previous].next = entry->next;
	if (entry->next == EVQ_OFFERS_NONE)
		queue->last = entry->previous;
	else
		offers->entries[entry->next].previous = entry->previous;
	set_count(offers, queue, queue->count - entry_length(entry));
	entry->next = offers->free;
	offers->free = index;
}

/* Takes the oldest entry of one of the longest queues out: its flow can best do without a hint. */
static void
make_room(EvqOffers *offers)
{
	int list = EVQ_OFFERS_LENGTHS - 1;

	while (offers->by_length[list] == EVQ_OFFERS_NONE)
		list--;
	Assert(list > 0);
	remove_entry(offers, offers->queues[offers->by_length[list]].first);
	offers->missing = true;
}

/*
 * The entry of a queue behind which one of this place belongs; EVQ_OFFERS_NONE = it comes first. It is looked for from both
 * ends, for what is new belongs near one of them; where there are very many on either side, it may not be the right one.
 */
static int32
find_previous(const EvqOffers *offers, const EvqOfferQueue *queue, int64 place)
{
	int32 from_end = queue->last;
	int32 from_start = queue->first;

	for (int steps = 0; from_end != EVQ_OFFERS_NONE && steps < MOST_STEPS; steps++)
	{
		if (offers->entries[from_end].place <= place)
			return from_end;
		if (offers->entries[from_start].place > place)
			return offers->entries[from_start].previous;
		from_end = offers->entries[from_end].previous;
		from_start = offers->entries[from_start].next;
	}
	return from_end;
}

/* Puts an entry into its queue, behind another one. */
static void
link_entry(EvqOffers *offers, EvqOfferQueue *queue, int32 index, int32 previous)
{
	EvqOffer *entry = &offers->entries[index];

	entry->previous = previous;
	entry->next = previous == EVQ_OFFERS_NONE ? queue->first : offers->entries[previous].next;
	if (previous == EVQ_OFFERS_NONE)
		queue->first = index;
	else
		offers->entries[previous].next = index;
	if (entry->next == EVQ_OFFERS_NONE)
		queue->last = index;
	else
		offers->entries[entry->next].previous = index;
	set_count(offers, queue, queue->count + entry_length(entry));
}

static void
add_entry(EvqOffers *offers, const EvqChange *change, bool *was_empty)
{
	EvqOfferQueue *queue;
	EvqOffer *entry;
	int32 index;

	if (offers->free == EVQ_OFFERS_NONE)
		make_room(offers);
	queue = use_queue(offers, change->flow_no);
	index = offers->free;
	entry = &offers->entries[index];
	offers->free = entry->next;

	*was_empty = queue->count == 0;
	entry->event_id = change->event_id;
	entry->tid = change->tid;
	entry->event_type_no = change->event_type_no;
	entry->flow_no = change->flow_no;
	entry->events = change->events;
	entry->place = change->place;
	entry->next_in_bucket = EVQ_OFFERS_NONE;
	*find_link(offers, &change->event_id) = index;
	link_entry(offers, queue, index, find_previous(offers, queue, change->place));
}

/*
 * Puts an event, or neighbours in a batch, in its place in its flow's queue, unless there is an entry that begins with the
 * first one; false = the queue has as many as the limit. Of the change only what says what it is, and where, counts. Where no
 * entry is free, the longest queue loses its first. was_empty: it is the only one of its queue now.
 */
bool
evq_offers_push(EvqOffers *offers, const EvqChange *change, int32 limit, bool *was_empty)
{
	int32 queue;
	bool has_room;

	*was_empty = false;
	LWLockAcquire(offers->lock, LW_EXCLUSIVE);
	queue = *find_queue_link(offers, change->flow_no);
	has_room = queue == EVQ_OFFERS_NONE || offers->queues[queue].count < limit;
	if (has_room && *find_link(offers, &change->event_id) == EVQ_OFFERS_NONE)
		add_entry(offers, change, was_empty);
	LWLockRelease(offers->lock);
	return has_room;
}

/* Takes an event off the offer, if it is there. */
void
evq_offers_remove(EvqOffers *offers, const pg_uuid_t *event_id)
{
	int32 index;

	LWLockAcquire(offers->lock, LW_EXCLUSIVE);
	index = *find_link(offers, event_id);
	if (index != EVQ_OFFERS_NONE)
		remove_entry(offers, index);
	LWLockRelease(offers->lock);
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

/* Takes the first events of an entry, which stays for the others. */
static void
take_part(EvqOffers *offers, int32 index, int32 events)
{
	EvqOffer *entry = &offers->entries[index];
	EvqOfferQueue *queue = &offers->queues[*find_queue_link(offers, entry->flow_no)];
	int32 *link;

	*find_link(offers, &entry->event_id) = entry->next_in_bucket;
	entry->event_id = evq_uuid_in_batch(&entry->event_id, evq_uuid_ordinal(&entry->event_id) + events);
	entry->events -= events;
	set_count(offers, queue, queue->count - events);
	/* Should another entry begin there, one of the two is wrong, as whoever takes it will see; so this one comes first. */
	link = &offers->buckets[bucket_of(offers, &entry->event_id)];
	entry->next_in_bucket = *link;
	*link = index;
}

/*
 * Takes up to max events of these types out of a flow's queue, first come first; returns how many entries that makes.
 * event_type_count: 0 = of all types.
 */
int
evq_offers_pop(EvqOffers *offers, int32 flow_no, const int32 *event_type_nos, int event_type_count,
			   EvqTakenOffer *taken, int max)
{
	int32 queue;
	int count = 0;
	int events = 0;

	LWLockAcquire(offers->lock, LW_EXCLUSIVE);
	queue = *find_queue_link(offers, flow_no);
	if (queue != EVQ_OFFERS_NONE)
	{
		int32 index = offers->queues[queue].first;

		while (index != EVQ_OFFERS_NONE && events < max)
		{
			EvqOffer *entry = &offers->entries[index];
			int32 next = entry->next;

			if (is_wanted(entry->event_type_no, event_type_nos, event_type_count))
			{
				EvqTakenOffer *one = &taken[count++];

				one->event_id = entry->event_id;
				one->tid = entry->tid;
				one->event_type_no = entry->event_type_no;
				one->events = Min(entry->events, max - events);
				events += Max(one->events, 1);
				offers->queues[queue].taken += entry->events == 0;
				if (one->events < entry->events)
					take_part(offers, index, one->events);
				else
					remove_entry(offers, index);
			}
			index = next;
		}
	}
	LWLockRelease(offers->lock);
	return count;
}

/* Clears a flag, and sets the next one, if any, in its place; returns whether it was set. A first look needs no lock. */
static bool
take_flag(EvqOffers *offers, bool *flag, bool *next)
{
	bool was_set;

	if (!*flag)
		return false;
	LWLockAcquire(offers->lock, LW_EXCLUSIVE);
	was_set = *flag;
	*flag = false;
	if (next != NULL)
		*next |= was_set;
	LWLockRelease(offers->lock);
	return was_set;
}

/* For a worker that found nothing: asks for the offers that were pushed out; false = none were, or they are asked for already. */
bool
evq_offers_ask_for_missing(EvqOffers *offers)
{
	return take_flag(offers, &offers->missing, &offers->asked);
}

/* Has a worker asked for them? Without the lock. */
bool
evq_offers_is_asked(const EvqOffers *offers)
{
	return offers->asked;
}

/* For the dispatcher: has a worker asked for them? Asks only once; they are to be offered now. */
bool
evq_offers_answer(EvqOffers *offers)
{
	return take_flag(offers, &offers->asked, NULL);
}

/* How many events workers have taken out of a flow's queue, since it has been this flow's. */
uint64
evq_offers_taken(EvqOffers *offers, int32 flow_no)
{
	int32 queue;
	uint64 taken;

	LWLockAcquire(offers->lock, LW_SHARED);
	queue = *find_queue_link(offers, flow_no);
	taken = queue == EVQ_OFFERS_NONE ? 0 : offers->queues[queue].taken;
	LWLockRelease(offers->lock);
	return taken;
}
