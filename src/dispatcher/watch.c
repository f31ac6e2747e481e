/*
 * watch.c
 *		State changes on their way from the dispatcher to those who watch.
 *
 * While somebody watches, every change wakes the dispatcher, which tells it on
 * a channel: the first at once, later ones together, a while after that. What
 * is more than a person could follow is only counted.
 *
 * Each message has a sequence of its own: the dispatcher's start and a number.
 * The dispatcher hears of changes after their commit and tells them in one
 * order, so whoever has seen a sequence has seen all before it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/pg_list.h"

#include "dispatcher/message.h"
#include "dispatcher/watch.h"
#include "rules/uuid.h"
#include "tables/batches.h"
#include "tables/events.h"
#include "tables/history.h"

/* Between two rounds of messages, and how many there are in one. */
#define ROUND_TIME (20 * USECS_PER_SEC / 1000)
#define ROUND_SIZE 256

struct EvqWatch
{
	EvqChange changes[ROUND_SIZE]; /* to tell */
	int count;
	int skipped;
	TimestampTz told_at;
};

static uint64 last_sequence;

/* Makes an empty watch in the context. It continues the sequence of messages. */
EvqWatch *
evq_watch_create(MemoryContext context)
{
	static bool is_another;

	/* What the one before had not told yet is lost: those who watch see that a message is missing. */
	if (is_another)
		last_sequence++;
	is_another = true;
	return MemoryContextAllocZero(context, sizeof(EvqWatch));
}

/*
 * A change that those who watch are to be told of, of each event that it is of;
 * what is more than a round holds is counted. Allocates nothing.
 */
void
evq_watch_note(EvqWatch *watch, const EvqChange *change)
{
	int events = Max(change->events, 1);
	int told = Min(events, ROUND_SIZE - watch->count);

	/* It left its batch for a row of its own, and is as it was. */
	if (change->is_moved)
		return;
	for (int i = 0; i < told; i++)
	{
		EvqChange *one = &watch->changes[watch->count++];

		*one = *change;
		if (change->events > 0)
			one->event_id = evq_uuid_in_batch(&change->event_id, evq_uuid_ordinal(&change->event_id) + i);
	}
	watch->skipped += events - told;
}

/* There were changes of which nobody knows how many. */
void
evq_watch_note_lost(EvqWatch *watch)
{
	watch->skipped++;
}

/* When the next round is due; infinity = there is nothing to tell. */
TimestampTz
evq_watch_due_at(const EvqWatch *watch)
{
	return watch->count == 0 && watch->skipped == 0 ? DT_NOEND : watch->told_at + ROUND_TIME;
}

static char *
next_sequence(void)
{
	return psprintf(INT64_FORMAT "-" UINT64_FORMAT, MyStartTimestamp, ++last_sequence);
}

static void
take_flow_id(void *context, const EvqLogged *logged)
{
	EvqEvent *event = context;

	event->flow_id = logged->flow_id;
}

/* Reads what never changes of an event of a batch. */
static bool
fetch_in_batch(EvqStore *store, const EvqChange *change, EvqEvent *event)
{
	EvqRange range = {.first = evq_uuid_ordinal(&change->event_id)};
	EvqBatch batch;

	if (!evq_batches_fetch(store, &change->event_id, &change->tid, &batch))
		return false;
	evq_batches_make_event(&batch, range.first, event);
	range.last = range.first;
	evq_batches_read(store, &batch, range, take_flow_id, event);
	return event->flow_id != NULL;
}

/* The message of a change. */
static char *
tell_change(EvqStore *store, const EvqChange *change)
{
	EvqOutcome outcome;
	EvqEvent event;

	if (!(change->events > 0 && fetch_in_batch(store, change, &event)) &&
		!evq_events_fetch(store, &change->event_id, &event) &&
		!evq_history_fetch_since(store, &change->event_id, change->state_since, &event, &outcome))
	{
		/* It succeeded and left nothing, or the clock was set back since. */
		memset(&event, 0, sizeof(event));
		event.event_id = change->event_id;
		event.event_type_no = change->event_type_no;
		event.flow_no = change->flow_no;
	}
	/* It may have moved on since: that is another message. */
	event.state = (EvqState) change->state;
	event.state_since = change->state_since;
	event.attempts_used = change->attempts_used;
	return evq_message_changed(next_sequence(), &event);
}

/* Takes all that is to tell: a list of messages, in the current context. In a transaction, for it reads the events. */
List *
evq_watch_tell(EvqWatch *watch, EvqStore *store, TimestampTz now)
{
	List *messages = NIL;

	for (int i = 0; i < watch->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		messages = lappend(messages, tell_change(store, &watch->changes[i]));
	}
	if (watch->skipped > 0)
		messages = lappend(messages, evq_message_skipped(next_sequence(), watch->skipped));
	watch->count = watch->skipped = 0;
	watch->told_at = now;
	return messages;
}
