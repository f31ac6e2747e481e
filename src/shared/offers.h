/*
 * offers.h
 *		Events on offer, by flow: evq_acquire_next() takes them from here without a search.
 *
 * Entries are hints: whoever takes one looks at the event's row before he believes it. One entry may be for neighbours in a
 * batch, of which workers take from the first one on.
 * These functions take the lock of the offers, but for the first two and where one
 * says otherwise; they allocate nothing and raise nothing.
 */
#ifndef EVQ_OFFERS_H
#define EVQ_OFFERS_H

#include "storage/lwlock.h"

#include "shared/change.h"

#define EVQ_OFFERS_NONE (-1)

#define EVQ_OFFERS_NO_LIMIT PG_INT32_MAX

/* An event is here at most once. Links are indexes of entries, or EVQ_OFFERS_NONE. */
typedef struct EvqOffer
{
	pg_uuid_t event_id;
	ItemPointerData tid; /* see evq_events_hint() */
	int32 event_type_no;
	int32 flow_no;
	int64 place; /* in its queue, least first */
	int32
		events; /* neighbours in a batch, this one the first; 0 = it has a row of its own, and tid is of that */
	int32 next; /* in its flow's queue, or in the free list */
	int32 previous;
	int32 next_in_bucket;
} EvqOffer;

typedef struct EvqTakenOffer
{
	pg_uuid_t event_id;
	ItemPointerData tid;
	int32 event_type_no;
	int32 events; /* as in EvqOffer */
} EvqTakenOffer;

/* The offers of one flow. An empty queue may become another flow's. Links are indexes of queues, or EVQ_OFFERS_NONE. */
typedef struct EvqOfferQueue
{
	int32 flow_no;
	int32 first;
	int32 last;
	int32 count; /* of events */
	int32 next_in_bucket;
	int32 next; /* in the list of its length, see EvqOffers */
	int32 previous;
	uint64 taken; /* by workers, since the queue is this flow's: of events with a row of their own */
} EvqOfferQueue;

/* Queues by length: 0, 1, 2 to 3, 4 to 7 and so on. */
#define EVQ_OFFERS_LENGTHS 32

typedef struct EvqOffers
{
	LWLock *lock; /* protects all below, but for a first look at the two flags; set at start-up */
	int32 size;
	int32 free;     /* first free entry */
	bool missing;   /* offers were pushed out, which may be wanted now that there is room */
	bool asked;     /* ... and a worker who found nothing wants them */
	int32 *buckets; /* "size" of them: first entry of each, by event id */
	EvqOffer *entries;

	/* As many queues as entries: each flow with an offer has one. */
	EvqOfferQueue *queues;
	int32 queues_used;
	int32 *queue_buckets;                /* "size" of them: first queue of each, by flow */
	int32 by_length[EVQ_OFFERS_LENGTHS]; /* first queue of each list */
	int32 last_empty;                    /* the one that has been empty for longest */
} EvqOffers;

extern Size evq_offers_bytes(int size);
extern void evq_offers_init(EvqOffers *offers, int size, LWLock *lock);
extern void evq_offers_clear(EvqOffers *offers);
extern bool evq_offers_push(EvqOffers *offers, const EvqChange *change, int32 limit, bool *was_empty);
extern void evq_offers_remove(EvqOffers *offers, const pg_uuid_t *event_id);
extern int evq_offers_pop(EvqOffers *offers, int32 flow_no, const int32 *event_type_nos, int event_type_count,
						  EvqTakenOffer *taken, int max);

extern bool evq_offers_ask_for_missing(EvqOffers *offers);
extern bool evq_offers_is_asked(const EvqOffers *offers);
extern bool evq_offers_answer(EvqOffers *offers);
extern uint64 evq_offers_taken(EvqOffers *offers, int32 flow_no);

#endif /* EVQ_OFFERS_H */
