/*
 * change.h
 *		What a session tells the dispatcher about an event it changed.
 */
#ifndef EVQ_CHANGE_H
#define EVQ_CHANGE_H

#include "rules/aging.h"

typedef struct EvqChange
{
	pg_uuid_t event_id;
	TimestampTz at; /* awaiting: when the next attempt is due; else: state_due_at */
	TimestampTz due_at;
	TimestampTz state_since;
	uint64 flow_id_hash;
	uint64 group_hash;   /* 0 = it is of no group */
	int64 place;         /* among the offers of its flow, least first */
	ItemPointerData tid; /* see evq_events_hint() */
	int32 flow_no;
	int32 event_type_no;
	int16 priority;
	int16 attempts_used;
	bool ordered;
	uint8 state;      /* an EvqState: the state it is in now */
	bool is_new;      /* it was published, not given back or activated */
	bool is_returned; /* it was taken off the offer in vain: only its ids and numbers count here */
	bool is_own;      /* the dispatcher did it itself: only watchers want to know */
	bool is_offered;  /* the session that published it has put it on offer */
	bool was_empty;   /* ... in a queue that was empty: listeners are to be told */
	bool is_moved;    /* it left its batch, as which it is told, and then with the row of its own */
	int16
		events; /* so many of a batch from this one on; 0 = it has a row of its own, and tid is where that is */
	int32 offer_limit; /* how long the queue may be for that; 0 = it is the dispatcher's to offer */
} EvqChange;

/*
 * Which of two events of a flow is offered first: -1 = a. Highest priority first, then the longest due, then the oldest. step: the
 * flow's priority_step.
 */
static inline int
evq_change_compare(const EvqChange *a, const EvqChange *b, int64 step)
{
	if (step > 0)
	{
		TimestampTz at_a = evq_aged_at(a->at, a->priority, step);
		TimestampTz at_b = evq_aged_at(b->at, b->priority, step);

		if (at_a != at_b)
			return at_a < at_b ? -1 : 1;
	}
	else if (a->priority != b->priority)
		return a->priority > b->priority ? -1 : 1;
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return memcmp(&a->event_id, &b->event_id, sizeof(pg_uuid_t));
}

/* The position of an event that waits. */
static inline EvqDuePosition
evq_change_position(const EvqChange *change)
{
	EvqDuePosition position = {.at = change->at, .event_id = change->event_id};

	return position;
}

extern uint64 evq_change_group_hash(const char *group_key);
extern void evq_change_from_event(EvqChange *change, const EvqEvent *event);

#endif /* EVQ_CHANGE_H */
