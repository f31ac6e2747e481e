/*
 * search.c
 *		What evq_acquire_next() finds by itself: in the table, and in its own transaction.
 *
 * Where no dispatcher puts events on offer, all due events of the flow are read,
 * whatever stands before those that can be had. The first of them, by priority
 * and time, are kept in the session for the next calls: so a long backlog is
 * read once for thousands of acquisitions. Whoever takes one from the list
 * reads its row before he believes it. Where none can be had, the whole line is
 * read for a small share of the time only.
 *
 * What a transaction has itself published, or brought back to waiting, no
 * dispatcher sees before its commit. Such events come after what is on offer.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/guc.h"
#include "session/order.h"
#include "session/pending.h"
#include "session/search.h"
#include "tables/batches.h"
#include "tables/events.h"
#include "tables/walk.h"

/* Events that are kept in the list; while it is made, up to twice as many. */
#define LIST_SIZE 4096

/* A list serves for evq.poll_interval, or for so many times as long as it took to make, if that is longer. */
#define LIST_REST 10

/*
 * Where many events stand in line that cannot be had, so many times as long as it
 * took to read them all, only what was scheduled since is read, and what may have
 * been about to be published then.
 */
#define READING_REST 10
#define READING_MARGIN (10 * USECS_PER_SEC)

/* A session that asks several flows in turn, or for several sets of types, has a list of each. */
#define LISTS 4

/* What was found last, and of what search. Entries are changes for the sake of their order: most of them is not set. */
typedef struct FoundList
{
	EvqChange *found; /* in TopMemoryContext, NULL = no list was ever made, as the next */
	int32 *event_type_nos;
	int event_type_count;
	int32 flow_no; /* 0 = it is of no use */
	uint64 configuration;
	uint64 upsets; /* see evq_pending_upsets() */
	int64 made_at; /* by the monotonic clock */
	int64 took;
	TimestampTz read_at; /* by the clock of events */
	int read;            /* events that were read for it; 0 = not all that is due by now may have been seen */
	int count;
	int next;
	bool is_cut; /* there were more */
	uint64 used; /* by the number of searches, when it was last of use */
} FoundList;

static FoundList lists[LISTS];
static FoundList *list = &lists[0]; /* of the search at hand */

/* Is an event type among those that the search is for? */
bool
evq_search_is_wanted(const EvqSearch *search, int32 event_type_no)
{
	for (int i = 0; i < search->event_type_count; i++)
	{
		if (search->event_type_nos[i] == event_type_no)
			return true;
	}
	return search->event_type_count == 0;
}

/* step: the flow's priority_step. */
static int
compare_found(const void *a, const void *b, void *step)
{
	return evq_change_compare(a, b, *(const int64 *) step);
}

static void
sort_found(EvqChange *found, int count, int64 step)
{
	qsort_arg(found, count, sizeof(EvqChange), compare_found, &step);
}

/* ---------- the list ---------- */

/* Sorts the list and cuts it to its size. */
static void
sort_list(int64 step)
{
	sort_found(list->found, list->count, step);
	list->is_cut |= list->count > LIST_SIZE;
	list->count = Min(list->count, LIST_SIZE);
}

/* Where it is, and what its place in the order is. */
static EvqChange
change_of(const EvqEvent *event)
{
	EvqChange change = {.event_id = event->event_id,
						.tid = event->tid,
						.at = event->attempt_scheduled_at,
						.priority = event->priority};

	return change;
}

/* Keeps an event, if it is among the first ones. */
static void
keep(const EvqChange *change, int64 step)
{
	if (list->is_cut && evq_change_compare(change, &list->found[LIST_SIZE - 1], step) > 0)
		return;
	list->found[list->count++] = *change;
	if (list->count == 2 * LIST_SIZE)
		sort_list(step);
}

/* What the list is filled with. */
typedef struct Filling
{
	const EvqSearch *search;
	const EvqChange *after; /* only what comes after that; NULL = all */
	TimestampTz now;
	int read;
} Filling;

/* Of a batch it is not known here how many of its events nobody has yet. */
static bool
keep_batch(void *context, const EvqWaitingBatch *waiting)
{
	Filling *filling = context;
	EvqEvent event = {.event_type_no = waiting->event_type_no,
					  .flow_no = filling->search->flow->flow_no,
					  .state = EVQ_STATE_AWAITING_PROCESSING,
					  .attempt_scheduled_at = waiting->attempt_scheduled_at,
					  .due_at = DT_NOEND};
	EvqChange change = {.event_id = waiting->batch_id,
						.at = waiting->attempt_scheduled_at,
						.priority = waiting->priority,
						.events = waiting->events};
	int64 step = filling->search->flow->priority_step;

	filling->read++;
	ItemPointerSetInvalid(&change.tid);
	if (evq_lifecycle_may_acquire(&event, filling->now) &&
		evq_search_is_wanted(filling->search, waiting->event_type_no) &&
		(filling->after == NULL || evq_change_compare(filling->after, &change, step) < 0))
		keep(&change, step);
	return false;
}

/*
 * Fills the list with the events that can be had: of those scheduled at a time or
 * later, those that come after a certain one; NULL = all. Returns how many it read.
 */
static int
fill_list(EvqStore *store, const EvqSearch *search, TimestampTz since, const EvqChange *after,
		  TimestampTz now)
{
	EvqDuePosition from = evq_due_position(since);
	Filling filling = {.search = search, .after = after, .now = now};
	int64 step = search->flow->priority_step;
	EvqEvent event;

	list->flow_no = 0; /* until it is complete */
	list->count = list->next = 0;
	list->is_cut = false;
	evq_walk_due(store, search->flow->flow_no, &from);
	while (evq_walk_next_briefly(store, &event) && event.attempt_scheduled_at <= now)
	{
		EvqChange change = change_of(&event);

		CHECK_FOR_INTERRUPTS();
		filling.read++;
		if (evq_lifecycle_may_acquire(&event, now) && evq_search_is_wanted(search, event.event_type_no) &&
			(after == NULL || evq_change_compare(after, &change, step) < 0))
			keep(&change, step);
	}
	evq_walk_end(store);
	if (evq_batches_are_left(store))
		evq_batches_walk(store, search->flow->flow_no, &from, now, keep_batch, &filling);
	sort_list(step);
	list->flow_no = search->flow->flow_no;
	return filling.read;
}

static void
make_list(EvqStore *store, const EvqSearch *search, TimestampTz now)
{
	Size types_size = search->event_type_count * sizeof(int32);
	int64 began_at = evq_clock_monotonic();

	list->flow_no = 0;
	if (list->found == NULL)
		list->found = MemoryContextAllocZero(TopMemoryContext, 2 * LIST_SIZE * sizeof(EvqChange));
	if (list->event_type_nos != NULL)
		pfree(list->event_type_nos);
	list->event_type_nos = NULL;
	list->event_type_count = search->event_type_count;
	if (types_size > 0)
		list->event_type_nos = memcpy(MemoryContextAlloc(TopMemoryContext, types_size),
									  search->event_type_nos, types_size);
	list->configuration = search->configuration;
	list->upsets = evq_pending_upsets();
	list->read = fill_list(store, search, DT_NOBEGIN, NULL, now);
	if (IsolationUsesXactSnapshot())
		list->read = 0;
	list->read_at = now;
	list->made_at = evq_clock_monotonic();
	list->took = list->made_at - began_at;
}

/* Was the list made for a search like this one, and has nothing happened since that concerns all of it? */
static bool
is_list_for(const EvqSearch *search)
{
	return list->flow_no == search->flow->flow_no && list->configuration == search->configuration &&
		   list->upsets == evq_pending_upsets() && list->event_type_count == search->event_type_count &&
		   (search->event_type_count == 0 || memcmp(list->event_type_nos, search->event_type_nos,
													search->event_type_count * sizeof(int32)) == 0);
}

/* Chooses the list of the search: the one that was made for one like it, or else the one that has been of no use for longest. */
static void
choose_list(const EvqSearch *search)
{
	static uint64 searches;
	FoundList *oldest = &lists[0];

	for (int i = 0; i < LISTS && !is_list_for(search); i++)
	{
		list = &lists[i];
		if (list->used < oldest->used)
			oldest = list;
	}
	if (!is_list_for(search))
		list = oldest;
	list->used = ++searches;
}

/* Is something left in the list, and may it be relied on for this search? */
static bool
is_list_of_use(const EvqSearch *search)
{
	return is_list_for(search) && list->next < list->count &&
		   evq_clock_monotonic() - list->made_at <
			   Max((int64) evq_poll_interval * 1000, LIST_REST * list->took);
}

/* Was everything in line tried a short while ago? */
static bool
is_line_known(const EvqSearch *search, TimestampTz now)
{
	return is_list_for(search) && list->next == list->count && !list->is_cut && list->read > LIST_SIZE &&
		   !IsolationUsesXactSnapshot() && now >= list->read_at &&
		   evq_clock_monotonic() - list->made_at < READING_REST * list->took;
}

/* Makes a new list, or adds to what is known of the line. */
static void
read_line(EvqStore *store, const EvqSearch *search, TimestampTz now)
{
	if (is_line_known(search, now))
		(void) fill_list(store, search, list->read_at - READING_MARGIN, NULL, now);
	else
		make_list(store, search, now);
}

/*
 * Tells found() of the events and batches in the tables that can be had, by priority and time,
 * until it says that it is enough or there is none left. It may be told of one that
 * cannot be had any more. context: passed on.
 */
void
evq_search_table(EvqStore *store, const EvqSearch *search, EvqSearchFound found, void *context)
{
	TimestampTz now = evq_clock_now();
	bool is_new;

	choose_list(search);
	is_new = !is_list_of_use(search);

	if (is_new)
		read_line(store, search, now);
	for (;;)
	{
		while (list->next < list->count)
		{
			const EvqChange *next = &list->found[list->next];
			bool is_enough;

			CHECK_FOR_INTERRUPTS();
			if (next->events == 0)
				evq_events_hint(&next->event_id, &next->tid);
			is_enough = found(context, next);
			/* There may be more of a batch. */
			if (!is_enough || next->events == 0)
				list->next++;
			if (is_enough)
				return;
		}
		if (!is_new)
			read_line(store, search, now);
		else if (list->is_cut)
		{
			/* Others are at all that was in the list. */
			EvqChange last = list->found[list->count - 1];

			(void) fill_list(store, search, DT_NOBEGIN, &last, now);
		}
		else
			return;
		is_new = true;
	}
}

/* ---------- the session's own transaction ---------- */

/* The same as evq_pending_own_waiting(), by the table. */
static EvqChange *
read_own_waiting(EvqStore *store, int32 flow_no, TimestampTz until, int *count)
{
	EvqDuePosition from = evq_due_position(DT_NOBEGIN);
	int room = 1024;
	EvqChange *own = palloc(room * sizeof(EvqChange));
	EvqEvent event;

	*count = 0;
	evq_walk_due(store, flow_no, &from);
	while (evq_walk_next_briefly(store, &event) && event.attempt_scheduled_at <= until)
	{
		CHECK_FOR_INTERRUPTS();
		if (event.state != EVQ_STATE_AWAITING_PROCESSING || !evq_walk_is_own(store))
			continue;
		if (*count == room)
			own = repalloc_huge(own, (room *= 2) * sizeof(EvqChange));
		own[(*count)++] = change_of(&event);
	}
	evq_walk_end(store);
	return own;
}

/* Brings an event of this transaction into a state in which it may be had; false = it may not. */
static bool
prepare_own(EvqStore *store, const EvqSearch *search, const pg_uuid_t *event_id)
{
	TimestampTz now = evq_clock_now();
	const EvqFlow *flow = search->flow;
	EvqEvent event;
	bool done;

	if (!evq_events_fetch(store, event_id, &event) || event.flow_no != flow->flow_no ||
		!evq_search_is_wanted(search, event.event_type_no))
		return false;
	if (evq_lifecycle_may_acquire(&event, now))
		return true;
	if (!evq_lifecycle_may_dispatch(&event, now))
		return false;

	/* It waits for its turn, which no dispatcher can give it. */
	evq_order_lock(flow->flow_no);
	evq_store_see_present(store, true);
	evq_store_refresh(store);
	evq_shmem_note_clock(evq_shmem_mine(), now);
	done = evq_events_fetch(store, event_id, &event) && evq_lifecycle_may_dispatch(&event, now) &&
		   evq_order_may_go(store, flow, &event) && evq_events_fetch(store, event_id, &event) &&
		   evq_lifecycle_dispatch(store, now, &event, flow->dispatch_timeout);
	evq_store_see_present(store, false);
	return done;
}

/*
 * The same of the events that this transaction itself has made wait with its first
 * so many changes. In a flow that keeps order or a limit it gives them their turn
 * itself, and waits for the lock of evq_order_lock() before.
 */
void
evq_search_own(EvqStore *store, const EvqSearch *search, int change_count, EvqSearchFound found,
			   void *context)
{
	int32 flow_no = search->flow->flow_no;
	TimestampTz now = evq_clock_now();
	EvqChange *own;
	int count;

	if (!evq_pending_own_waiting(flow_no, now, change_count, &own, &count))
		own = read_own_waiting(store, flow_no, now, &count);
	if (count == 0)
		return;
	sort_found(own, count, search->flow->priority_step);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (prepare_own(store, search, &own[i].event_id) && found(context, &own[i]))
			return;
	}
}
