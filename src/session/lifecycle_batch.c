/*
 * lifecycle_batch.c
 *		The verbs on events of batches, many at a time, and how one of them comes to a row of its own.
 *
 * What most events go through, publish, acquire and success, is done here for neighbours at once. For anything else an
 * event leaves its batch: an exception says so, and a row of evq.event takes its place, which the verb then changes as any
 * other. test/model/batches.pml is the model of what is done under the lock of a batch.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/guc.h"
#include "rules/transition.h"
#include "session/lifecycle_batch.h"
#include "session/lifecycle_internal.h"
#include "session/pending.h"
#include "tables/events.h"
#include "tables/history.h"

/* So many events whose rows are missing are told of a minute. */
#define WARNED_A_MINUTE 10

/* ---------- publish ---------- */

/* May an event be published in a batch? */
static bool
fits_batch(const EvqPublish *request)
{
	const EvqFlow *flow = evq_config_flow(request->event_type->flow_no);
	Size size;

	if (flow == NULL || !evq_flow_takes_batches(flow) || request->event_type->retention == 0 ||
		request->idempotency_key != NULL || request->group_key != NULL || flow->group_by != NULL ||
		request->payload_part != NULL)
		return false;
	size = VARSIZE_ANY(DatumGetPointer(request->payload));
	if (request->headers != (Datum) 0)
		size += VARSIZE_ANY(DatumGetPointer(request->headers));
	return size <= EVQ_BATCH_PAYLOAD;
}

static bool
is_alike(const EvqPublish *a, const EvqPublish *b)
{
	return a->event_type == b->event_type && a->on_fail_event_type_no == b->on_fail_event_type_no &&
		   a->has_run_at == b->has_run_at && (!a->has_run_at || a->run_at == b->run_at) &&
		   a->has_priority == b->has_priority && (!a->has_priority || a->priority == b->priority);
}

/* How many of the requests, from the first one on, are alike and could be in batches; in_batches: they are so many that they will. */
int
evq_lifecycle_count_alike(EvqStore *store, const EvqPublish *requests, int count, bool *in_batches)
{
	int alike = 0;

	*in_batches = false;
	if (evq_store_batches_from == 0 || count < evq_store_batches_from)
		return 0;
	while (alike < count && fits_batch(&requests[alike]) && is_alike(&requests[0], &requests[alike]))
		alike++;
	*in_batches = alike >= evq_store_batches_from && evq_batches_exist() && !evq_events_have_more(store);
	return alike;
}

/* Publishes alike events. model: as evq_lifecycle_make_event() makes one of them. */
void
evq_lifecycle_publish_batches(EvqStore *store, const EvqEvent *model, const EvqPublish *requests, int count,
							  pg_uuid_t *ids)
{
	EvqBatchWriter *writer = palloc(sizeof(EvqBatchWriter));
	bool is_open = false;

	for (int i = 0; i < count; i++)
	{
		EvqLogged logged = {
			.flow_id = requests[i].flow_id,
			.payload = requests[i].payload,
			.headers = requests[i].headers,
		};

		CHECK_FOR_INTERRUPTS();
		if (!is_open)
			evq_batches_begin(store, writer, model);
		logged.event_id = ids[i] = evq_uuid_in_batch(&writer->batch.batch_id, writer->batch.events);
		is_open = evq_batches_add(store, writer, &logged);
		if (!is_open || i == count - 1)
		{
			EvqEvent first = *model;
			int32 limit = evq_lifecycle_offer_limit(&first);

			evq_batches_end(store, writer);
			first.event_id = writer->batch.batch_id;
			first.tid = writer->batch.tid;
			/* The dispatcher offers parts. */
			evq_pending_published_batch(&first, writer->batch.events,
										writer->batch.events <= limit ? limit : 0);
		}
	}
	pfree(writer);
}

/* ---------- acquire ---------- */

/* What is known of the events of a run that is being acquired. */
typedef struct Acquiring
{
	EvqStore *store;
	EvqBatchAcquisition *wanted;
	EvqAcquired acquired; /* as the first one; the rest of each is set when it is told */
	EvqOrdinals unreadable;
	bool has_unreadable;
	int told;
} Acquiring;

static void
tell_acquired(void *context, const EvqLogged *logged)
{
	Acquiring *acquiring = context;
	EvqAcquired *acquired = &acquiring->acquired;

	acquiring->told++;
	acquired->event.event_id = logged->event_id;
	acquired->event.flow_id = logged->flow_id;
	acquired->payload = PointerGetDatum(PG_DETOAST_DATUM(logged->payload));
	acquired->headers = logged->headers == (Datum) 0 ? (Datum) 0
													 : PointerGetDatum(PG_DETOAST_DATUM(logged->headers));
	if (!evq_lifecycle_is_readable(acquired->payload) ||
		(acquired->headers != (Datum) 0 && !evq_lifecycle_is_readable(acquired->headers)))
	{
		evq_ordinals_add(&acquiring->unreadable, evq_uuid_ordinal(&logged->event_id));
		acquiring->has_unreadable = true;
		return;
	}
	acquiring->wanted->count++;
	acquiring->wanted->is_enough |= acquiring->wanted->acquired(acquiring->wanted->context, acquiring->store,
																acquired);
}

/* Ends those that nobody could read: see evq_lifecycle_end_unreadable(). */
static void
end_unreadable(EvqStore *store, TimestampTz now, const EvqBatch *batch, const EvqOrdinals *unreadable)
{
	for (int i = 0; i < batch->events; i++)
	{
		EvqAttempt attempt = {.event_id = evq_uuid_in_batch(&batch->batch_id, i)};
		EvqEvent event;

		if (!evq_ordinals_have(unreadable, i))
			continue;
		if (evq_lifecycle_take_out(store, now, &attempt, EVQ_TAKE_OUT_LIVE, false, &event) != EVQ_TAKEN_OUT)
			elog(ERROR, "evq: could not take an event with an unreadable payload out of its batch");
		evq_lifecycle_end_unreadable(store, &event, now);
	}
}

static void
note_present(void *context, const EvqLogged *logged)
{
	evq_ordinals_add(context, evq_uuid_ordinal(&logged->event_id));
}

/* Gives up those of a range whose rows are missing. */
static void
give_up_missing(EvqStore *store, TimestampTz now, const EvqBatch *batch, EvqRange range)
{
	EvqOrdinals present = {.words = {0}};

	evq_batches_read(store, batch, range, note_present, &present);
	for (int i = range.first; i <= range.last; i++)
	{
		EvqAttempt attempt = {.event_id = evq_uuid_in_batch(&batch->batch_id, i)};
		EvqEvent event;

		if (!evq_ordinals_have(&present, i))
			(void) evq_lifecycle_take_out(store, now, &attempt, EVQ_TAKE_OUT_LIVE, false, &event);
	}
}

/* Makes a run of the first events of a range that nobody has; false = there are none, or it is enough. */
static bool
acquire_gap(EvqStore *store, TimestampTz now, const EvqBatch *batch, EvqRange *within,
			EvqBatchAcquisition *wanted)
{
	MemoryContext context;
	MemoryContext previous;
	Acquiring acquiring = {.store = store, .wanted = wanted};
	EvqEvent *event = &acquiring.acquired.event;
	int64 permit = evq_lifecycle_draw_permit(0);
	int64 permit_for = evq_lifecycle_permit_time(wanted->permit_for, batch->event_type_no);
	EvqRange gap;
	bool found;

	evq_runs_lock(store, batch);
	found = evq_runs_find_gap(store, batch, *within, &gap);
	gap.last = Min(gap.last, gap.first + wanted->most - wanted->count - 1);
	within->first = found ? gap.last + 1 : within->last + 1;
	if (found)
	{
		EvqRun run = {.range = gap};

		evq_batches_make_event(batch, gap.first, event);
		evq_lifecycle_move(event, EVQ_VERB_ACQUIRE, EVQ_STATE_BEING_PROCESSED, now);
		event->state_due_at = Min(evq_retry_add(now, permit_for), event->due_at);
		event->permit = run.permit = permit;
		event->worker = run.worker = wanted->worker;
		run.state = event->state;
		run.state_since = run.attempt_started_at = event->state_since;
		run.state_due_at = event->state_due_at;
		evq_runs_insert(store, batch, &run);
	}
	evq_runs_unlock(batch);
	if (!found)
		return false;

	/* A permit lost in a crash would be granted again, to somebody else. */
	ForceSyncCommit();
	evq_runs_written();
	evq_pending_changed_range(event, gap.last - gap.first + 1);
	context = AllocSetContextCreate(CurrentMemoryContext, "evq run", ALLOCSET_DEFAULT_SIZES);
	previous = MemoryContextSwitchTo(context);
	evq_batches_read(store, batch, gap, tell_acquired, &acquiring);
	if (acquiring.has_unreadable)
		end_unreadable(store, now, batch, &acquiring.unreadable);
	if (acquiring.told <= gap.last - gap.first)
		give_up_missing(store, now, batch, gap);
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(context);
	return !wanted->is_enough && wanted->count < wanted->most;
}

/* Acquires of neighbours in a batch those that nobody has. It waits for nobody. */
EvqGrant
evq_lifecycle_acquire_from_batch(EvqStore *store, TimestampTz now, EvqBatchAcquisition *wanted)
{
	EvqRange within = {.first = evq_uuid_ordinal(wanted->first_id)};
	EvqBatch batch;
	EvqEvent event;

	wanted->count = 0;
	wanted->is_enough = false;
	wanted->left = 0;
	if (!evq_batches_exist() || !evq_batches_fetch(store, wanted->first_id, wanted->hint, &batch))
		return EVQ_GRANT_REFUSED;
	within.last = Min(within.first + wanted->events, batch.events) - 1;
	evq_batches_make_event(&batch, within.first, &event);
	if (!evq_lifecycle_caller_may(EVQ_RIGHT_WORK, &event))
		return EVQ_GRANT_REFUSED;
	if (!evq_lifecycle_may_acquire(&event, now))
		return evq_lifecycle_is_held_up(&event, now) ? EVQ_GRANT_LATER : EVQ_GRANT_REFUSED;
	while (within.first <= within.last && acquire_gap(store, now, &batch, &within, wanted))
		CHECK_FOR_INTERRUPTS();
	wanted->left = Max(within.last - within.first + 1, 0);
	return wanted->count > 0 ? EVQ_GRANTED : EVQ_GRANT_REFUSED;
}

/* What was acquired, to be in a memory context that outlives the telling of it. */
typedef struct Kept
{
	MemoryContext context;
	EvqAcquired *acquired;
} Kept;

static bool
keep_acquired(void *context, EvqStore *store, const EvqAcquired *acquired)
{
	Kept *kept = context;
	MemoryContext previous = MemoryContextSwitchTo(kept->context);

	*kept->acquired = *acquired;
	kept->acquired->event.flow_id = pstrdup(acquired->event.flow_id);
	kept->acquired->payload = PointerGetDatum(PG_DETOAST_DATUM_COPY(acquired->payload));
	if (acquired->headers != (Datum) 0)
		kept->acquired->headers = PointerGetDatum(PG_DETOAST_DATUM_COPY(acquired->headers));
	MemoryContextSwitchTo(previous);
	return true;
}

/* Acquires one event that is in a batch, as a run of its own; as evq_lifecycle_acquire(). */
EvqGrant
evq_lifecycle_acquire_in_batch(EvqStore *store, TimestampTz now, const EvqAcquisition *wanted,
							   EvqAcquired *acquired)
{
	Kept kept = {.context = CurrentMemoryContext, .acquired = acquired};
	EvqBatchAcquisition one = {
		.first_id = wanted->event_id,
		.events = 1,
		.most = 1,
		.worker = wanted->worker,
		.permit_for = wanted->permit_for,
		.acquired = keep_acquired,
		.context = &kept,
	};

	if (!evq_uuid_is_of_batch(wanted->event_id))
		return EVQ_GRANT_REFUSED;
	return evq_lifecycle_acquire_from_batch(store, now, &one);
}

/* ---------- runs ---------- */

/* An event of a run, without an exception, is as that. */
static void
set_as_run(EvqEvent *event, const EvqRun *run)
{
	event->state = run->state;
	event->state_since = run->state_since;
	event->state_due_at = run->state_due_at;
	event->attempt_started_at = run->attempt_started_at;
	event->permit = run->permit;
	event->worker = run->worker;
}

/* ---------- reports ---------- */

/* A report on events of a batch with one permit. */
typedef struct Report
{
	EvqBatch batch;
	int64 permit;
	bool extends;                        /* it extends permits; otherwise it is a success */
	int64 extend_by;                     /* ... as in evq_lifecycle_extend() */
	TimestampTz due_at;                  /* ... and until when they hold now */
	EvqOrdinals wanted;                  /* those not dealt with yet */
	uint8 verdicts[EVQ_UUID_BATCH_ROOM]; /* by ordinal */
	EvqExceptions exceptions;
} Report;

/* The event's row, or another look, has to tell. */
#define UNDECIDED 0xff

static void
decide(Report *report, int ordinal, uint8 verdict)
{
	report->verdicts[ordinal] = verdict;
	evq_ordinals_remove(&report->wanted, ordinal);
}

static void
decide_all(Report *report, EvqRange range, uint8 verdict)
{
	for (int i = range.first; i <= range.last; i++)
	{
		if (evq_ordinals_have(&report->wanted, i))
			decide(report, i, verdict);
	}
}

/* Somebody else's open transaction that ends one of the events wanted; invalid = none. */
static TransactionId
find_open(const Report *report, EvqRange range)
{
	for (int i = range.first; i <= range.last; i++)
	{
		if (evq_ordinals_have(&report->wanted, i) && evq_ordinals_have(&report->exceptions.open, i))
			return report->exceptions.open_of[i];
	}
	return InvalidTransactionId;
}

/* Tells of the success of neighbours; it is one change for all of them. */
static void
tell_success(const Report *report, const EvqRun *run, EvqRange range, TimestampTz now)
{
	EvqEvent event;

	evq_batches_make_event(&report->batch, range.first, &event);
	event.state = EVQ_STATE_BEING_PROCESSED;
	event.attempt_started_at = run->attempt_started_at;
	event.permit = run->permit;
	evq_lifecycle_move(&event, EVQ_VERB_SUCCEED, EVQ_STATE_SUCCEEDED, now);
	event.attempts_used++;
	evq_pending_changed_range(&event, range.last - range.first + 1);
}

/* Is the report on all that is left of the run? What others are ending just now is left: they may yet be rolled back. */
static bool
is_whole_run(const Report *report, const EvqRun *run)
{
	bool is_whole = true;

	for (int i = run->range.first; i <= run->range.last && is_whole; i++)
		is_whole = evq_ordinals_have(&report->wanted, i) ||
				   evq_ordinals_have(&report->exceptions.succeeded, i) ||
				   evq_ordinals_have(&report->exceptions.moved, i);
	return is_whole;
}

/* Writes that events of a run succeeded: in the run, if nothing is left of it, or else an exception for each. */
static void
end_well(EvqStore *store, Report *report, EvqRun *run, TimestampTz now)
{
	EvqRange told = {.first = -1};
	bool is_whole = is_whole_run(report, run);

	if (is_whole)
	{
		run->state = EVQ_STATE_SUCCEEDED;
		run->state_since = now;
		run->state_due_at = DT_NOEND;
		evq_runs_update(store, &report->batch, run);
	}
	for (int i = run->range.first; i <= run->range.last; i++)
	{
		bool ends = evq_ordinals_have(&report->wanted, i);

		if (ends && !is_whole)
			evq_runs_insert_exception(store, &report->batch, i, EVQ_EXCEPTION_SUCCEEDED, now);
		if (ends)
			decide(report, i, EVQ_ACCEPTED);
		if (ends && told.first < 0)
			told.first = i;
		told.last = ends ? i : told.last;
		if (told.first >= 0 && (!ends || i == run->range.last))
		{
			tell_success(report, run, told, now);
			told.first = -1;
		}
	}
}

/* Extends the permit of a run; a part of one is extended in rows of their own. */
static void
extend_run(EvqStore *store, Report *report, EvqRun *run, TimestampTz now)
{
	EvqEvent event;

	if (!is_whole_run(report, run))
	{
		decide_all(report, run->range, UNDECIDED);
		return;
	}
	evq_batches_make_event(&report->batch, run->range.first, &event);
	report->due_at = run->state_due_at = Min(evq_retry_add(now,
														   evq_lifecycle_permit_time(report->extend_by,
																					 event.event_type_no)),
											 event.due_at);
	evq_runs_update(store, &report->batch, run);
	set_as_run(&event, run);
	evq_pending_changed_range(&event, run->range.last - run->range.first + 1);
	decide_all(report, run->range, EVQ_ACCEPTED);
}

/* Deals with those wanted that the run of the first of them has; under the lock. Returns whom to wait for before another look. */
static TransactionId
end_in_run(EvqStore *store, Report *report, int first, TimestampTz now)
{
	EvqRun run;
	TransactionId other;
	bool has_held = false;

	if (!evq_runs_find(store, &report->batch, first, &run) || run.range.first > first)
	{
		decide(report, first, UNDECIDED);
		return InvalidTransactionId;
	}
	if (TransactionIdIsValid(run.changer))
		return run.changer;
	if (run.permit != report->permit ||
		(run.state != EVQ_STATE_BEING_PROCESSED && (run.state != EVQ_STATE_SUCCEEDED || report->extends)))
	{
		decide_all(report, run.range, UNDECIDED);
		return InvalidTransactionId;
	}
	evq_runs_find_exceptions(store, &report->batch, run.range, &report->exceptions);
	other = find_open(report, run.range);
	if (TransactionIdIsValid(other))
		return other;
	evq_runs_fail_if_unseen(run.is_unseen || report->exceptions.has_unseen);
	for (int i = run.range.first; i <= run.range.last; i++)
	{
		if (!evq_ordinals_have(&report->wanted, i))
			continue;
		if (evq_ordinals_have(&report->exceptions.moved, i) ||
			(report->extends && evq_ordinals_have(&report->exceptions.succeeded, i)))
			decide(report, i, UNDECIDED);
		else if (evq_ordinals_have(&report->exceptions.succeeded, i) || run.state == EVQ_STATE_SUCCEEDED)
			decide(report, i, EVQ_ACCEPTED_BEFORE);
		else
			has_held = true;
	}
	/* A report that is told again changes nothing. */
	if (has_held && report->extends)
		extend_run(store, report, &run, now);
	else if (has_held)
		end_well(store, report, &run, now);
	return InvalidTransactionId;
}

/* Makes a report on the first attempts; see evq_lifecycle_succeed_in_batch(). */
static int
make_report(EvqStore *store, TimestampTz now, Report *report, const EvqAttempt *attempts, int count,
			EvqVerdict *verdicts)
{
	const pg_uuid_t *first_id = &attempts[0].event_id;
	EvqEvent event;
	int reported = 1;

	report->permit = attempts[0].permit.value;
	verdicts[0] = EVQ_NO_SUCH_EVENT;
	if (!evq_uuid_is_of_batch(first_id) || !attempts[0].permit.given || !evq_batches_exist() ||
		!evq_batches_fetch(store, first_id, NULL, &report->batch))
		return 1;
	evq_batches_make_event(&report->batch, 0, &event);
	if (!evq_lifecycle_caller_may(EVQ_RIGHT_WORK, &event) ||
		EVQ_PERMIT_EPOCH(report->permit) != evq_lifecycle_current_epoch())
		return 1;
	memset(&report->wanted, 0, sizeof(report->wanted));
	memset(report->verdicts, UNDECIDED, sizeof(report->verdicts));
	while (reported < count && reported < EVQ_UUID_BATCH_ROOM && attempts[reported].permit.given &&
		   attempts[reported].permit.value == report->permit &&
		   evq_uuid_is_same_batch(first_id, &attempts[reported].event_id))
		reported++;
	for (int i = 0; i < reported; i++)
		evq_ordinals_add(&report->wanted, evq_uuid_ordinal(&attempts[i].event_id));

	for (int i = 0; i < EVQ_UUID_BATCH_ROOM; i++)
	{
		while (evq_ordinals_have(&report->wanted, i))
		{
			TransactionId other;

			evq_runs_lock(store, &report->batch);
			other = end_in_run(store, report, i, now);
			evq_runs_unlock(&report->batch);
			if (TransactionIdIsValid(other))
				evq_runs_wait(store, other);
		}
	}
	evq_runs_written();
	for (int i = 0; i < reported; i++)
	{
		uint8 verdict = report->verdicts[evq_uuid_ordinal(&attempts[i].event_id)];

		verdicts[i] = verdict == UNDECIDED ? EVQ_NO_SUCH_EVENT : (EvqVerdict) verdict;
	}
	return reported;
}

/*
 * Reports success of the first attempts, as many as are of one batch with one permit, and sets their verdicts; returns how
 * many, 1 where the first is not of a batch. Those with EVQ_NO_SUCH_EVENT were not found here: they may have a row of their own.
 */
int
evq_lifecycle_succeed_in_batch(EvqStore *store, TimestampTz now, const EvqAttempt *attempts, int count,
							   EvqVerdict *verdicts)
{
	Report report;

	report.extends = false;
	return make_report(store, now, &report, attempts, count, verdicts);
}

/* The same for extending their permits; due_at: until when those hold that were accepted. */
int
evq_lifecycle_extend_in_batch(EvqStore *store, TimestampTz now, const EvqAttempt *attempts, int count,
							  int64 extend_by, EvqVerdict *verdicts, TimestampTz *due_at)
{
	Report report;
	int reported;

	report.extends = true;
	report.extend_by = extend_by;
	report.due_at = 0;
	reported = make_report(store, now, &report, attempts, count, verdicts);
	*due_at = report.due_at;
	return reported;
}

/* ---------- a row of its own ---------- */

/* What is known of an event of a batch. */
typedef struct Found
{
	EvqBatch batch;
	EvqRange range; /* it alone */
	bool is_moved;
	bool has_run;
	EvqRun run;
	TransactionId other; /* open, which may change that; invalid = none */
	bool is_unseen;      /* see EvqRun */
} Found;

static bool
find_batch(EvqStore *store, const pg_uuid_t *event_id, Found *found, EvqEvent *event)
{
	int ordinal = evq_uuid_ordinal(event_id);

	if (!evq_uuid_is_of_batch(event_id) || !evq_batches_exist() ||
		!evq_batches_fetch(store, event_id, NULL, &found->batch) || ordinal >= found->batch.events)
		return false;
	found->range.first = found->range.last = ordinal;
	evq_batches_make_event(&found->batch, ordinal, event);
	return true;
}

/* Reads what runs and exceptions say of the event. */
static void
look(EvqStore *store, Found *found, EvqEvent *event)
{
	int ordinal = found->range.first;
	EvqExceptions *exceptions = palloc(sizeof(EvqExceptions));

	found->has_run = evq_runs_find(store, &found->batch, ordinal, &found->run) &&
					 found->run.range.first <= ordinal;
	evq_runs_find_exceptions(store, &found->batch, found->range, exceptions);
	found->is_unseen = exceptions->has_unseen || (found->has_run && found->run.is_unseen);
	found->is_moved = evq_ordinals_have(&exceptions->moved, ordinal);
	found->other = found->has_run ? found->run.changer : InvalidTransactionId;
	if (evq_ordinals_have(&exceptions->open, ordinal))
		found->other = exceptions->open_of[ordinal];
	if (found->has_run)
		set_as_run(event, &found->run);
	if (evq_ordinals_have(&exceptions->succeeded, ordinal))
		event->state = EVQ_STATE_SUCCEEDED;
	pfree(exceptions);
}

static void
copy_logged(void *context, const EvqLogged *logged)
{
	EvqLogged *copy = context;

	*copy = *logged;
	copy->flow_id = pstrdup(logged->flow_id);
	copy->payload = PointerGetDatum(PG_DETOAST_DATUM_COPY(logged->payload));
	if (logged->headers != (Datum) 0)
		copy->headers = PointerGetDatum(PG_DETOAST_DATUM_COPY(logged->headers));
}

/* A row of evq.log is missing, which nothing but a hand can have deleted. Says so, a few times a minute at most. */
static void
warn_missing(const pg_uuid_t *event_id)
{
	static int64 minute_began_at;
	static int warned;
	static int withheld;
	char id[EVQ_UUID_TEXT_SIZE];

	if (evq_clock_once_a_minute(&minute_began_at))
		warned = 0;
	if (warned++ >= WARNED_A_MINUTE)
	{
		withheld++;
		return;
	}
	ereport(WARNING,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("evq: event %s has no row in evq.log any more, and is given up",
					evq_uuid_text(event_id, id)),
			 withheld > 0 ? errdetail("So were %d others that were not told of.", withheld) : 0,
			 errhint("The others of its batch go on. Events are ended with evq_cancel(), not with DELETE.")));
	withheld = 0;
}

/* Gives an event that has left its batch a row of its own; false = there is nothing to make one of. */
static bool
make_row(EvqStore *store, const Found *found, EvqEvent *event)
{
	EvqLogged logged = {.flow_id = NULL};
	EvqEvent left = *event;

	evq_batches_read(store, &found->batch, found->range, copy_logged, &logged);
	evq_pending_moved(&left, true);
	if (logged.flow_id == NULL)
	{
		warn_missing(&event->event_id);
		evq_shmem_recount();
		return false;
	}
	event->flow_id = logged.flow_id;
	evq_events_insert(store, event, &logged.payload, &logged.headers, 1);
	evq_pending_moved(event, false);
	return true;
}

static bool
is_to_be_taken(EvqTakeOut which, const EvqAttempt *attempt, const EvqEvent *event)
{
	if (evq_transition_is_final(event->state))
		return false;
	switch (which)
	{
		case EVQ_TAKE_OUT_HELD:
			return event->state == EVQ_STATE_BEING_PROCESSED &&
				   (!attempt->permit.given ||
					(attempt->permit.value == event->permit &&
					 EVQ_PERMIT_EPOCH(event->permit) == evq_lifecycle_current_epoch()));
		default:
			return true;
	}
}

/* Sees to it that an event of a batch has a row of its own, if it is one of those. */
EvqTakenOut
evq_lifecycle_take_out(EvqStore *store, TimestampTz now, const EvqAttempt *attempt, EvqTakeOut which,
					   bool wait, EvqEvent *event)
{
	for (;;)
	{
		Found found;
		bool is_taken;

		if (!find_batch(store, &attempt->event_id, &found, event) ||
			!evq_lifecycle_caller_may(EVQ_RIGHT_PUBLISH | EVQ_RIGHT_WORK, event))
			return EVQ_NOT_OF_BATCH;
		evq_runs_lock(store, &found.batch);
		look(store, &found, event);
		if (!TransactionIdIsValid(found.other))
			evq_runs_fail_if_unseen(found.is_unseen);
		is_taken = !TransactionIdIsValid(found.other) && !found.is_moved &&
				   is_to_be_taken(which, attempt, event);
		if (is_taken)
			evq_runs_insert_exception(store, &found.batch, found.range.first, EVQ_EXCEPTION_MOVED, now);
		evq_runs_unlock(&found.batch);
		if (TransactionIdIsValid(found.other))
		{
			if (!wait)
				return EVQ_TAKE_BUSY;
			evq_runs_wait(store, found.other);
			continue;
		}
		if (found.is_moved)
		{
			/* Perhaps just now. */
			evq_store_refresh(store);
			return EVQ_TAKEN_OUT;
		}
		if (!is_taken)
			return EVQ_NOT_WANTED;
		return make_row(store, &found, event) ? EVQ_TAKEN_OUT : EVQ_TAKE_GONE;
	}
}

/* Reads an event with a row of its own, as evq_events_fetch(), or gives it one, if it is one of those. */
bool
evq_lifecycle_fetch(EvqStore *store, TimestampTz now, const EvqAttempt *attempt, EvqTakeOut which,
					EvqEvent *event)
{
	if (evq_events_fetch(store, &attempt->event_id, event))
		return true;
	return evq_uuid_is_of_batch(&attempt->event_id) &&
		   evq_lifecycle_take_out(store, now, attempt, which, true, event) == EVQ_TAKEN_OUT &&
		   evq_events_fetch(store, &attempt->event_id, event);
}

/* Reads an event that is in a batch and has no row of its own. */
bool
evq_lifecycle_fetch_in_batch(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event)
{
	Found found;

	if (!find_batch(store, event_id, &found, event))
		return false;
	look(store, &found, event);
	return !found.is_moved;
}
