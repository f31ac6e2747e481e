/*
 * batches.h
 *		Batches of events that were published together: what never changes of them, and which of them are not done.
 */
#ifndef EVQ_BATCHES_H
#define EVQ_BATCHES_H

#include "tables/store.h"

/* Events that a batch may have. */
#define EVQ_BATCH_EVENTS 1000

/* A batch ends early when its rows are in so many places: its own row is to fit on a page. */
#define EVQ_BATCH_PLACES 500

/* Payload and headers of an event of a batch have so many bytes at most, so that those of a run can be in memory together. */
#define EVQ_BATCH_PAYLOAD 8192

/* Rows of evq.log that are neighbours on a page, as evq.batch keeps them. */
typedef struct EvqPlace
{
	uint32 page;
	uint16 first; /* item on the page */
	uint16 events;
} EvqPlace;

/* A row of evq.batch. */
typedef struct EvqBatch
{
	pg_uuid_t batch_id;
	TimestampTz published_at;
	TimestampTz attempt_scheduled_at;
	TimestampTz due_at;
	int32 event_type_no;
	int32 flow_no;
	int16 priority;
	int16 events;
	int32 on_fail_event_type_no; /* 0 = none of its own */
	ItemPointerData tid;
	const EvqPlace *places;
	int place_count;
} EvqBatch;

/* A batch that is being published. */
typedef struct EvqBatchWriter
{
	EvqBatch batch;
	struct EvqStoreTable *log; /* the partition for its events */
	EvqPlace places[EVQ_BATCH_PLACES];
	int collected;
	Size bytes; /* of those collected */
	MemoryContext context;
} EvqBatchWriter;

/* A row of evq.log; what it points to is good until the next one. */
typedef struct EvqLogged
{
	pg_uuid_t event_id;
	const char *flow_id;
	Datum payload;
	Datum headers; /* 0 = none */
} EvqLogged;

/* Neighbours in a batch, whose state is the same. */
typedef struct EvqRange
{
	int first;
	int last;
} EvqRange;

typedef void (*EvqTakeLogged)(void *context, const EvqLogged *event);

/* A row of evq.backlog. */
typedef struct EvqWaitingBatch
{
	pg_uuid_t batch_id;
	int32 flow_no;
	TimestampTz attempt_scheduled_at;
	int32 event_type_no;
	int16 priority;
	int16 events;
	bool is_own; /* this transaction has published it */
} EvqWaitingBatch;

/* Is told of a batch that is not done; true = that is enough. */
typedef bool (*EvqTakeBatch)(void *context, const EvqWaitingBatch *waiting);

extern bool evq_batches_exist(void);
extern void evq_batches_begin(EvqStore *store, EvqBatchWriter *writer, const EvqEvent *event);
extern bool evq_batches_add(EvqStore *store, EvqBatchWriter *writer, const EvqLogged *event);
extern void evq_batches_end(EvqStore *store, EvqBatchWriter *writer);
extern bool
evq_batches_fetch(EvqStore *store, const pg_uuid_t *id, const ItemPointerData *hint, EvqBatch *batch);
extern TimestampTz evq_batches_due_at(const EvqBatch *batch);
extern void evq_batches_make_event(const EvqBatch *batch, int ordinal, EvqEvent *event);
extern void
evq_batches_read(EvqStore *store, const EvqBatch *batch, EvqRange range, EvqTakeLogged take, void *context);
extern bool evq_batches_are_in_place(EvqStore *store, const EvqBatch *batch);
extern bytea *evq_batches_find_places(const EvqBatch *batch);
extern bool evq_batches_are_left(EvqStore *store);
extern void evq_batches_walk(EvqStore *store, int32 flow_no, const EvqDuePosition *from, TimestampTz until,
							 EvqTakeBatch take, void *context);
extern void evq_batches_sample(EvqStore *store, int pages, EvqTakeBatch take, void *context);
extern void evq_batches_done(EvqStore *store, const EvqBatch *batch);

#endif /* EVQ_BATCHES_H */
