/*
 * batch_track_look.c
 *		Looking at a batch: reads what its rows say, and does what they ask.
 *
 * Attempts whose permit ran out are ended, what nobody has acquired in time expires, events are taken out where their flow is
 * no longer one of batches, and the batch is forgotten when nothing of it is left. All these leave their batch one by one, in
 * a turn no more than of other events; the rest is for the next turn.
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"

#include "base/guc.h"
#include "dispatcher/batch_track_internal.h"
#include "session/lifecycle_batch.h"

/* When to look again at what somebody else is changing. */
#define BUSY_DELAY (USECS_PER_SEC / 10)

/* What its rows say. */
typedef struct Looked
{
	EvqBatchTrack *track;
	EvqStore *store;
	TimestampTz now;
	EvqBatchWork *work;
	EvqBatch batch;
	EvqExceptions exceptions;
	EvqOrdinals in_run;
	int ended;
	bool is_unsettled;      /* somebody is at it, or it is more than a turn may do */
	TimestampTz held_since; /* the first attempt of those under way */
	TimestampTz look_at;    /* when it is to be looked at again */
} Looked;

/* Somebody has changed the state of it, or is about to. */
static bool
has_exception(const Looked *looked, int ordinal)
{
	return evq_ordinals_have(&looked->exceptions.open, ordinal) ||
		   evq_ordinals_have(&looked->exceptions.moved, ordinal) ||
		   evq_ordinals_have(&looked->exceptions.succeeded, ordinal);
}

/* It is to be looked at again then, and not to be forgotten before. */
static void
look_again(Looked *looked, TimestampTz at)
{
	looked->look_at = Min(looked->look_at, at);
	looked->is_unsettled = true;
}

/* An event that leaves its batch, and what became of it. */
typedef struct Leaving
{
	Looked *looked;
	pg_uuid_t event_id;
	EvqTakenOut taken_out;
	EvqSettled settled;
	EvqEvent event;
} Leaving;

/* Takes an event out of the batch and does what the clock asks of it, if anything. */
static void
leave(EvqStore *store, void *subject)
{
	Leaving *leaving = subject;
	EvqAttempt attempt = {.event_id = leaving->event_id};
	TimestampTz now = leaving->looked->now;

	leaving->taken_out = evq_lifecycle_take_out(store, now, &attempt, EVQ_TAKE_OUT_LIVE, false,
												&leaving->event);
	if (leaving->taken_out == EVQ_TAKEN_OUT)
		leaving->settled = evq_lifecycle_settle(store, now, &leaving->event_id, &leaving->event);
}

/* Notes what became of it. */
static void
note_left(Looked *looked, const Leaving *leaving)
{
	EvqChange facts;

	if (leaving->taken_out != EVQ_TAKEN_OUT && leaving->taken_out != EVQ_TAKE_GONE)
	{
		look_again(looked, looked->now + BUSY_DELAY);
		return;
	}
	looked->ended++;
	if (leaving->taken_out == EVQ_TAKE_GONE || leaving->settled == EVQ_SETTLED_GONE)
		return;
	looked->work->timed_out += leaving->settled == EVQ_SETTLED_TIMED_OUT;
	looked->work->expired += leaving->settled == EVQ_SETTLED_EXPIRED;
	evq_change_from_event(&facts, &leaving->event);
	(void) evq_memory_remember(looked->track->memory, &facts, looked->now);
}

/* Has an event leave the batch, if the turn may do that. */
static void
take_out(Looked *looked, int ordinal)
{
	Leaving leaving = {.looked = looked, .event_id = evq_uuid_in_batch(&looked->batch.batch_id, ordinal)};
	EvqBatchWork *work = looked->work;
	int64 put_off = 0;

	CHECK_FOR_INTERRUPTS();
	if (work->left == 0)
	{
		look_again(looked, looked->now);
		return;
	}
	work->left--;
	if (work->apart == NULL)
		leave(looked->store, &leaving);
	else
		put_off = work->apart(work, &leaving.event_id, leave, &leaving);
	if (put_off > 0)
		look_again(looked, looked->now + put_off);
	else
		note_left(looked, &leaving);
}

/* Looks at a run: what of it has ended, and whether its permit ran out. */
static void
look_at_run(Looked *looked, const EvqRun *run)
{
	bool is_over = run->state == EVQ_STATE_BEING_PROCESSED && run->state_due_at <= looked->now;

	for (int i = run->range.first; i <= run->range.last; i++)
	{
		evq_ordinals_add(&looked->in_run, i);
		if (TransactionIdIsValid(run->changer))
			continue;
		if (run->state == EVQ_STATE_SUCCEEDED || evq_ordinals_have(&looked->exceptions.moved, i) ||
			evq_ordinals_have(&looked->exceptions.succeeded, i))
			looked->ended++;
		else if (is_over && !has_exception(looked, i))
			take_out(looked, i);
		else if (run->state == EVQ_STATE_BEING_PROCESSED)
			looked->held_since = Min(looked->held_since, run->attempt_started_at);
	}
	if (TransactionIdIsValid(run->changer))
		look_again(looked, looked->now + (int64) evq_poll_interval * 1000);
	else if (run->state == EVQ_STATE_BEING_PROCESSED && !is_over)
		looked->look_at = Min(looked->look_at, run->state_due_at);
}

/* What nobody has acquired is to be offered, or expires, or leaves the batch for its flow is no longer one of batches. */
static void
look_at_rest(Looked *looked, EvqTrackedBatch *tracked, const EvqEvent *event)
{
	const EvqFlow *flow = evq_config_flow(event->flow_no);
	bool is_of_batches = flow != NULL && evq_flow_takes_batches(flow);
	bool is_over = event->due_at <= looked->now;
	bool is_offer_over = tracked->offered_until <= looked->now;
	bool keeps_offer = evq_memory_keeps_offer(looked->track->memory);
	bool is_due = flow != NULL && event->attempt_scheduled_at <= looked->now &&
				  !evq_config_is_type_suspended(event->event_type_no);
	bool tell_ready = false;

	/* What is suspended takes no room from others: it may be offered again when it goes on. */
	if (is_offer_over || evq_config_is_type_suspended(event->event_type_no))
	{
		evq_batch_track_take_off(looked->track, tracked, 0, tracked->events);
		tracked->offered_until = DT_NOEND;
	}
	for (int i = 0; i < looked->batch.events; i++)
	{
		if (evq_ordinals_have(&looked->in_run, i) || has_exception(looked, i))
		{
			looked->ended += !evq_ordinals_have(&looked->in_run, i) &&
							 !evq_ordinals_have(&looked->exceptions.open, i);
			evq_batch_track_take_one_off(tracked, i);
			continue;
		}
		looked->look_at = Min(looked->look_at, event->due_at);
		if (is_over || !is_of_batches)
		{
			evq_batch_track_take_one_off(tracked, i);
			take_out(looked, i);
		}
		else if (is_due && !keeps_offer)
			/* Workers find it in the tables. */
			tell_ready |= !evq_flow_is_paused(flow, looked->now);
		else if (is_due && !evq_ordinals_have(&tracked->on_offer, i))
			evq_ordinals_add(&tracked->to_offer, i);
	}
	if (event->attempt_scheduled_at > looked->now)
		looked->look_at = Min(looked->look_at, event->attempt_scheduled_at);
	/* Nobody came for it. */
	tell_ready |= is_offer_over && evq_ordinals_have_any(&tracked->to_offer);
	if (tell_ready)
		evq_batch_track_tell_ready(looked->track, tracked->flow);
	evq_batch_track_set_waiting(tracked);
}

/* Reads what its rows say, and does what they ask; tracked: what is remembered of it. */
static void
look(Looked *looked, EvqTrackedBatch *tracked)
{
	EvqRange all = {.first = 0, .last = looked->batch.events - 1};
	EvqEvent event;
	EvqRun run;
	int next = 0;

	evq_batches_make_event(&looked->batch, 0, &event);
	evq_runs_find_exceptions(looked->store, &looked->batch, all, &looked->exceptions);
	if (evq_ordinals_have_any(&looked->exceptions.open))
		look_again(looked, looked->now + (int64) evq_poll_interval * 1000);
	while (next < looked->batch.events && evq_runs_find(looked->store, &looked->batch, next, &run))
	{
		look_at_run(looked, &run);
		next = run.range.last + 1;
	}
	look_at_rest(looked, tracked, &event);
}

/* Forgets what was to be offered of it, and takes its facts from its row. */
static void
begin_anew(EvqBatchTrack *track, EvqTrackedBatch *tracked, const EvqBatch *batch)
{
	evq_batch_track_set_idle(track, tracked, false);
	memset(&tracked->to_offer, 0, sizeof(tracked->to_offer));
	evq_batch_track_set_waiting(tracked);
	tracked->tid = batch->tid;
	tracked->events = batch->events;
	tracked->priority = batch->priority;
	tracked->at = batch->attempt_scheduled_at;
}

/* Looks at a batch that is remembered. */
void
evq_batch_track_look(EvqBatchTrack *track, const pg_uuid_t *batch_id, EvqStore *store, TimestampTz now,
					 EvqBatchWork *work)
{
	EvqTrackedBatch *tracked = evq_batch_track_find(track, batch_id);
	Looked *looked = palloc0(sizeof(Looked));

	Assert(tracked != NULL);
	looked->track = track;
	looked->store = store;
	looked->now = now;
	looked->work = work;
	looked->look_at = looked->held_since = DT_NOEND;
	if (!evq_batches_fetch(store, &tracked->batch_id, &tracked->tid, &looked->batch))
	{
		evq_batch_track_forget(track, tracked);
		return;
	}
	begin_anew(track, tracked, &looked->batch);
	look(looked, tracked);
	tracked->ended = looked->ended;
	tracked->held_since = looked->held_since;
	tracked->is_changed = false;
	if (looked->ended == looked->batch.events)
	{
		evq_batches_done(store, &looked->batch);
		evq_batch_track_forget(track, tracked);
		return;
	}
	tracked->looked = ++track->looks;
	evq_batch_track_set_idle(track, tracked,
							 !looked->is_unsettled && looked->held_since == DT_NOEND &&
								 !evq_ordinals_have_any(&tracked->on_offer));
	evq_batch_track_set_timer(track, tracked, Max(Min(looked->look_at, tracked->offered_until), now + 1));
}

/* It could not be looked at: not again before that time. */
void
evq_batch_track_put_off(EvqBatchTrack *track, const pg_uuid_t *batch_id, TimestampTz until)
{
	EvqTrackedBatch *tracked = evq_batch_track_find(track, batch_id);

	if (tracked == NULL)
		return;
	evq_batch_track_set_idle(track, tracked, false);
	evq_batch_track_set_timer(track, tracked, until);
}
