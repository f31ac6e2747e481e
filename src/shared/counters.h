/*
 * counters.h
 *		What is counted, in shared memory: changes of state by event type, times by flow.
 *
 * A committed transaction adds what it did. These functions take no lock, allocate
 * nothing and raise nothing.
 * What a prepared transaction did, and what somebody did to the tables by hand,
 * is not seen here: the numbers of live events are put right by a recount.
 */
#ifndef EVQ_COUNTERS_H
#define EVQ_COUNTERS_H

#include "rules/transition.h"

/* Event types and flows that have counters; those that come later are not counted. */
#define EVQ_COUNTED_TYPES 256
#define EVQ_COUNTED_FLOWS 64

#define EVQ_LIVE_STATES (EVQ_STATE_SUSPENDED - EVQ_STATE_NONE)

typedef struct EvqCounters EvqCounters;

typedef enum EvqCountersPhase
{
	EVQ_COUNTERS_NEW,       /* what was put away at the last stop is to be taken back */
	EVQ_COUNTERS_UNCHECKED, /* ... is in them; live events are to be counted */
	EVQ_COUNTERS_OPEN,      /* they can be read */
	EVQ_COUNTERS_PUT_AWAY   /* they are in the table, for the next start */
} EvqCountersPhase;

/* Equal changes of one transaction. */
typedef struct EvqTally
{
	int32 event_type_no;
	int32 flow_no;
	int16 counter; /* of the event type */
	int16 bucket;  /* of the flow's histograms, -1 = none */
	int level;     /* of the subtransaction */
	uint64 count;
	uint64 waited; /* microseconds in all */
} EvqTally;

typedef enum EvqCounted
{
	EVQ_COUNTED_EVENT_TYPE,
	EVQ_COUNTED_FLOW,
	EVQ_COUNTED_SLOT
} EvqCounted;

/* One number as it can be read. */
typedef struct EvqReading
{
	EvqCounted of;
	int32 no; /* of the event type or flow; 0 = the slot */
	char name[NAMEDATALEN];
	int64 value;
	bool is_kept; /* it goes on after a restart */
} EvqReading;

typedef void (*EvqTakeReading)(const EvqReading *reading, void *arg);

/* How many events of a type are in a state. */
typedef struct EvqLiveCount
{
	int32 event_type_no;
	EvqState state;
	int64 count;
} EvqLiveCount;

/* The numbers of live events at one moment. */
typedef int64 EvqLiveCopy[EVQ_COUNTED_TYPES][EVQ_LIVE_STATES];

extern Size evq_counters_bytes(void);
extern void evq_counters_clear(EvqCounters *counters);

extern EvqCountersPhase evq_counters_phase(EvqCounters *counters);
extern void evq_counters_set_phase(EvqCounters *counters, EvqCountersPhase phase);
extern void evq_counters_open(EvqCounters *counters);
extern void evq_counters_want_recount(EvqCounters *counters);
extern void evq_counters_begin_recount(EvqCounters *counters);
extern void evq_counters_end_recount(EvqCounters *counters);
extern bool evq_counters_is_recount_wanted(EvqCounters *counters);

/* Counting. */
extern void evq_counters_make_tally(EvqTally *tally, const EvqEvent *event, int level);
extern bool evq_counters_merge_tally(EvqTally *tally, const EvqTally *other);
extern void evq_counters_add_tally(EvqCounters *counters, const EvqTally *tally);
extern void evq_counters_add_sweep(EvqCounters *counters, int64 time);
extern void evq_counters_set_oldest(EvqCounters *counters, int32 flow_no, bool in_batches,
									TimestampTz due_since, TimestampTz permit_since);

/* Reading, and what goes the other way. */
extern void evq_counters_read(EvqCounters *counters, EvqTakeReading take, void *arg);
extern void evq_counters_restore(EvqCounters *counters, const EvqReading *reading);
extern int
evq_counters_live(EvqCounters *counters, const int32 *event_type_nos, int type_count, EvqLiveCount *counts);
extern void evq_counters_add_to_live(const EvqTally *tally, EvqLiveCount *counts, int count);
extern void evq_counters_copy_live(EvqCounters *counters, EvqLiveCopy copy);
extern void
evq_counters_correct_live(EvqCounters *counters, EvqLiveCopy copy, const EvqLiveCount *found, int count);

#endif /* EVQ_COUNTERS_H */
