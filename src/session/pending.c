/*
 * pending.c
 *		From a transaction's changes to the dispatcher.
 *
 * The model, from a change of an event to the dispatcher that hears of it:
 *
 * 1. A verb writes the event's row, and then says here what it changed. The table says
 *	  it too, after the commit; what follows is so that the dispatcher, and a worker
 *	  that waits, know at once and need not search.
 *
 * 2. What is said is kept in this backend twice: as a change, for the dispatcher, and in
 *	  a tally of equal changes, for the counters. Of more changes than
 *	  evq.max_pending_per_transaction only that there were more is kept: the dispatcher
 *	  will read the tables. The tallies are complete.
 *
 * 3. With its first change the transaction counts "announcing" up in the slot. Until
 *	  "announced" follows, a sweep may miss what is not committed yet; so the dispatcher
 *	  goes on with sweeps.
 *
 * 4. Each change has the level of the subtransaction that made it. A savepoint that is
 *	  rolled back takes its changes along, a released one leaves them to its parent.
 *
 * 5. The commit is told of when the rows are visible to others. Nothing may fail there,
 *	  for an error would be a PANIC: all memory was allocated before, and what is called
 *	  allocates and raises nothing. In this order, in settle_commit():
 *	  - the tallies are added to the counters, before "announced" says that they are: so
 *	    a recount knows whom its snapshot and the counters tell of;
 *	  - new events of direct flows are put on offer. A worker may have one, and announce
 *	    that, before the dispatcher hears that it is new: see absorb_published() in
 *	    memory.c;
 *	  - the changes go into the ring, and say what is on offer;
 *	  - events that an evq_tick() dispatched are put on offer: who takes one announces it
 *	    after them. What the dispatcher dispatched is on offer before it announces
 *	    anything, and before PostgreSQL sends its notifications;
 *	  - "announced" is counted up.
 *
 * 6. The dispatcher is woken only where it would sleep too long (must_wake()). It writes
 *	  until when it sleeps and then looks at the ring; we write to the ring and then
 *	  look until when it sleeps: one of the two sees the other.
 *
 * 7. Others see a change of the catalogs or the configuration by its invalidations,
 *	  which are sent after that. So who changed these tells all only in after_release(),
 *	  when the invalidations are out and the locks released.
 *
 * 8. A rollback has nothing to tell but this: events that the transaction took off the
 *	  offer are given back through the ring, those of a savepoint with that.
 *
 * 9. A prepared transaction is committed perhaps by another session, which knows nothing
 *	  of it. So PREPARE sets "prepared" in the slot: sweeps go on while any prepared
 *	  transaction is left, or the launcher looks where no dispatcher runs. COMMIT
 *	  PREPARED has all looked at.
 *
 * 10. By its end a slot may have become another database's. Then nothing is told, for
 *	  there is nobody to tell it to: see evq_shmem_begin_settling().
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/guc.h"
#include "rules/transition.h"
#include "session/pending.h"
#include "tables/tables.h"

/* Equal changes are tallied together if so few others came in between. */
#define MERGE_REACH 16

typedef struct PendingList
{
	EvqChange *changes;
	int *levels; /* of the subtransaction that made the change */
	int count;
	int room;
} PendingList;

typedef struct Tallies
{
	EvqTally *tallies;
	int count;
	int room;
} Tallies;

static PendingList pending; /* to announce at commit */
static PendingList taken;   /* events popped from an offer queue: to give back at abort */
static bool overflowed;
static uint64 upsets;                           /* see evq_pending_upsets() */
static Tallies tallies;                         /* to count at commit: of all changes, overflowed or not */
static EvqSlot *announcing_in;                  /* where we have said that an announcement may come, */
static uint64 announcing_owner;                 /* and whose it was */
static TimestampTz own_batches_from = DT_NOEND; /* see evq_pending_own_batches_from() */

/* settled at commit, dropped at abort, and not undone by a savepoint: looking once too often is harmless */
static bool look_at_commit;
static bool schedules_changed;
static bool pause_changed;
static bool databases_changed;
static bool turn_given;
static Oid created_database;
static bool committed;

/* The outermost subtransaction in which that was done and not rolled back, 0 = none. */
static int extension_created;
static int extension_dropped;

/* ---------- telling the dispatcher ---------- */

/* Would the dispatcher sleep longer than one of these changes allows? */
static bool
must_wake(EvqSlot *slot, const EvqChange *changes, int count)
{
	TimestampTz sleeping_until = (TimestampTz) pg_atomic_read_u64(&slot->sleeping_until);
	bool wants_changes = pg_atomic_read_u32(&slot->wants_changes) != 0;
	uint64 full_flows = pg_atomic_read_u64(&slot->full_flows);

	if (evq_shmem_is_watched(slot))
		return true;
	for (int i = 0; i < count; i++)
	{
		if (changes[i].is_returned || changes[i].was_empty)
			return true;
		/* Workers find it; the dispatcher has time to learn of it. */
		if (changes[i].is_offered && changes[i].due_at >= sleeping_until)
			continue;
		/* It would be left where it is, in the ring or in memory. */
		if (changes[i].is_new && (full_flows & EVQ_FLOW_CLASS(changes[i].flow_no)) != 0 &&
			changes[i].due_at >= sleeping_until)
			continue;
		if (evq_transition_is_final((EvqState) changes[i].state) ? changes[i].ordered
																 : changes[i].at < sleeping_until)
			return true;
		/* It may have made room; a new one needs room. */
		if (wants_changes && !changes[i].is_new)
			return true;
	}
	return false;
}

/*
 * For the dispatcher's own transactions: keeps the changes that it has to hear of,
 * and returns how many. Those are the events that it published; of its other changes
 * it knows, but watchers, if there are any, are told of them.
 */
static int
keep_news(EvqSlot *slot, EvqChange *changes, int count)
{
	bool watched = evq_shmem_is_watched(slot);
	int kept = 0;

	for (int i = 0; i < count; i++)
	{
		changes[i].is_own = !changes[i].is_new;
		if (changes[i].is_new || watched)
			changes[kept++] = changes[i];
	}
	return kept;
}

static void
announce(EvqSlot *slot, const EvqChange *changes, int count, bool more)
{
	if (count == 0 && !more)
		return;
	if (evq_ring_push(slot->ring, changes, count, more) || must_wake(slot, changes, count))
		evq_shmem_wake_dispatcher(slot);
}

/* ---------- remembering ---------- */

static void
remember(PendingList *list, const EvqChange *change)
{
	Assert(list->count <= list->room);
	if (list->count == list->room)
	{
		int room = Max(64, 2 * list->room);

		if (list->room == 0)
		{
			list->changes = MemoryContextAlloc(TopMemoryContext, room * sizeof(EvqChange));
			list->levels = MemoryContextAlloc(TopMemoryContext, room * sizeof(int));
		}
		else
		{
			list->changes = repalloc_huge(list->changes, room * sizeof(EvqChange));
			list->levels = repalloc_huge(list->levels, room * sizeof(int));
		}
		list->room = room;
	}
	list->changes[list->count] = *change;
	list->levels[list->count] = GetCurrentTransactionNestLevel();
	list->count++;
}

/* The tallies of one level are the last ones: deeper levels are over. */
static void
tally(const EvqTally *new)
{
	for (int i = tallies.count - 1; i >= Max(0, tallies.count - MERGE_REACH); i--)
	{
		if (evq_counters_merge_tally(&tallies.tallies[i], new))
			return;
	}
	if (tallies.count == tallies.room)
	{
		int room = Max(64, 2 * tallies.room);

		if (tallies.room == 0)
			tallies.tallies = MemoryContextAlloc(TopMemoryContext, room * sizeof(EvqTally));
		else
			tallies.tallies = repalloc_huge(tallies.tallies, room * sizeof(EvqTally));
		tallies.room = room;
	}
	tallies.tallies[tallies.count++] = *new;
}

static EvqSlot *
begin_announcing(void)
{
	EvqSlot *slot = evq_shmem_mine();

	if (slot != NULL && announcing_in == NULL)
	{
		if (!evq_shmem_begin_announcing(slot, &announcing_owner))
			return NULL;
		announcing_in = slot;
	}
	return slot;
}

static void
remember_change(const EvqEvent *event, int events, int32 offer_limit, bool is_moved)
{
	EvqSlot *slot = begin_announcing();
	EvqChange change;

	if (event->state == EVQ_STATE_DISPATCHED ||
		(event->state == EVQ_STATE_AWAITING_PROCESSING && event->attempt_scheduled_at <= event->state_since))
		upsets++;
	if (slot != NULL && event->transition != EVQ_NO_TRANSITION)
	{
		EvqTally new;

		evq_counters_make_tally(&new, event, GetCurrentTransactionNestLevel());
		if (events > 0)
		{
			new.count = events;
			new.waited *= events;
		}
		tally(&new);
	}
	if (pending.count >= evq_max_pending_per_transaction)
	{
		overflowed = true;
		return;
	}
	evq_change_from_event(&change, event);
	change.events = events;
	change.is_moved = is_moved;
	change.offer_limit = offer_limit;
	remember(&pending, &change);
}

/* This transaction brought an event into the state it is in. */
void
evq_pending_changed(const EvqEvent *event)
{
	remember_change(event, 0, 0, false);
}

/*
 * This transaction published an event. offer_limit: it is due and nothing hinders
 * it, so it may be offered at once in a queue shorter than this; 0 = not so.
 */
void
evq_pending_published(const EvqEvent *event, int32 offer_limit)
{
	remember_change(event, 0, offer_limit, false);
}

/* The same for neighbours in a batch, to which the same was done. */
void
evq_pending_changed_range(const EvqEvent *first, int events)
{
	remember_change(first, events, 0, false);
}

/* The same for neighbours that it published together; see evq_pending_published(). */
void
evq_pending_published_batch(const EvqEvent *first, int events, int32 offer_limit)
{
	own_batches_from = Min(own_batches_from, first->attempt_scheduled_at);
	remember_change(first, events, offer_limit, false);
}

/* An event has left its batch, as it was there; the same as it is now, in a row of its own, comes after this. */
void
evq_pending_moved(const EvqEvent *event, bool is_in_batch)
{
	remember_change(event, is_in_batch ? 1 : 0, 0, true);
}

static void
fill_returned(EvqChange *change, int32 flow_no, const EvqTakenOffer *event)
{
	memset(change, 0, sizeof(*change));
	change->event_id = event->event_id;
	change->tid = event->tid;
	change->event_type_no = event->event_type_no;
	change->events = event->events;
	change->flow_no = flow_no;
	change->is_returned = true;
}

/* This transaction took an event off the offer: if it aborts, the event is on offer again. */
void
evq_pending_taken(int32 flow_no, const EvqTakenOffer *event)
{
	EvqChange change;

	fill_returned(&change, flow_no, event);
	remember(&taken, &change);
}

/* An event taken off the offer could not be had just now: it is on offer again at once. */
void
evq_pending_return_offer(EvqSlot *slot, int32 flow_no, const EvqTakenOffer *event)
{
	EvqChange change;

	fill_returned(&change, flow_no, event);
	announce(slot, &change, 1, false);
}

/* How many changes of this transaction are remembered. */
int
evq_pending_changes(void)
{
	return pending.count;
}

/* When the first of the batches is scheduled that this transaction has published, or a savepoint that was rolled back; infinity = there is none. */
TimestampTz
evq_pending_own_batches_from(void)
{
	return own_batches_from;
}

/*
 * The events of a flow that this transaction has made wait, until a time, with
 * its first so many pending; in no order, in the current context. What has
 * become of them since is for the caller to see. false = it has changed more
 * events than are remembered.
 */
bool
evq_pending_own_waiting(int32 flow_no, TimestampTz until, int change_count, EvqChange **own, int *count)
{
	*own = NULL;
	*count = 0;
	for (int i = 0; i < change_count; i++)
	{
		const EvqChange *change = &pending.changes[i];

		if (change->flow_no != flow_no || change->events > 0 ||
			change->state != EVQ_STATE_AWAITING_PROCESSING || change->at > until)
			continue;
		if (*own == NULL)
			*own = palloc((change_count - i) * sizeof(EvqChange));
		(*own)[(*count)++] = *change;
	}
	return !overflowed;
}

/*
 * A number that moves when this session may have brought about an event that
 * others come after: by what it did, or by undoing it. Acquisitions and finished
 * events do not count.
 */
uint64
evq_pending_upsets(void)
{
	return upsets;
}

/* Adds to numbers of live events what this transaction has changed and not told yet. */
void
evq_pending_add_own(EvqLiveCount *counts, int count)
{
	for (int i = 0; i < tallies.count; i++)
		evq_counters_add_to_live(&tallies.tallies[i], counts, count);
}

/* This transaction changed something that decides about many events. */
void
evq_pending_look(void)
{
	begin_announcing();
	look_at_commit = true;
}

/* This transaction changed when a schedule is due. */
void
evq_pending_schedules_changed(void)
{
	schedules_changed = true;
}

static void
note_level(int *outermost)
{
	int level = GetCurrentTransactionNestLevel();

	*outermost = *outermost == 0 ? level : Min(*outermost, level);
}

/* This transaction created the extension. */
void
evq_pending_extension_created(void)
{
	note_level(&extension_created);
}

/* This transaction dropped the extension. */
void
evq_pending_extension_dropped(void)
{
	note_level(&extension_dropped);
}

/* This transaction gave turns to events of a flow whose order it has locked: they are told before the lock is released. */
void
evq_pending_turn_given(void)
{
	turn_given = true;
}

/* Has this transaction given turns, as evq_pending_turn_given() was told? */
bool
evq_pending_gave_turn(void)
{
	return turn_given;
}

/* This transaction paused the database or lets it go on. */
void
evq_pending_pause_changed(void)
{
	pause_changed = true;
}

/* This transaction changed what a database is: whether it is a template, or can be connected to. */
void
evq_pending_databases_changed(void)
{
	databases_changed = true;
}

/* This transaction made a database, which may have the extension by its template. */
void
evq_pending_database_created(Oid database)
{
	created_database = database;
}

/* ---------- the end of a transaction ---------- */

/* Puts dispatched events on offer. This comes before the notification of them, which PostgreSQL sends later in the commit. */
static void
offer_dispatched(EvqSlot *slot, const EvqChange *changes, int count)
{
	bool was_empty;

	for (int i = 0; i < count && slot->pid != 0; i++)
	{
		if (changes[i].state == EVQ_STATE_DISPATCHED)
			(void) evq_offers_push(slot->offers, &changes[i], EVQ_OFFERS_NO_LIMIT, &was_empty);
	}
}

/*
 * Puts new events on offer without the dispatcher, which learns of them in its
 * own time. A worker may have taken one before the dispatcher hears that it is
 * new: see absorb_published() in memory.c.
 */
static void
offer_published(EvqSlot *slot, EvqChange *changes, int count)
{
	uint64 direct_flows = pg_atomic_read_u64(&slot->direct_flows);

	if (direct_flows == 0 || slot->pid == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		if (changes[i].offer_limit > 0 && (direct_flows & EVQ_FLOW_CLASS(changes[i].flow_no)) != 0)
			changes[i].is_offered = evq_offers_push(slot->offers, &changes[i], changes[i].offer_limit,
													&changes[i].was_empty);
	}
}

/* A database may have an extension to serve now, or no longer: its dispatcher looks, or the launcher starts one that does. */
static void
look_for_extension(Oid database, bool may_be_new)
{
	EvqSlot *slot;

	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	slot = may_be_new ? evq_shmem_find_or_make(database) : evq_shmem_find(database);
	if (slot != NULL && slot->pid != 0)
	{
		slot->check_extension = true;
		evq_shmem_wake_dispatcher(slot);
	}
	else if (slot != NULL && may_be_new && slot->state != EVQ_SLOT_STARTING)
	{
		slot->state = EVQ_SLOT_WANTED;
		slot->failures = 0;
		slot->restart_at = 0;
	}
	else if (slot == NULL && may_be_new)
		evq_shared->is_short = true;
	LWLockRelease(evq_shared->lock);
	evq_shmem_wake_launcher();
}

/* A rollback undoes changes of events: see evq_pending_upsets(). */
static void
note_undone(void)
{
	if (pending.count > 0 || overflowed)
		upsets++;
}

/* Some database is something else now: all dispatchers look whether it is theirs, and the launcher whether one shall have a slot. */
static void
look_for_databases(void)
{
	LWLockAcquire(evq_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < evq_shared->slot_count; i++)
	{
		EvqSlot *slot = &evq_shared->slots[i];

		if (slot->pid != 0)
		{
			slot->check_extension = true;
			evq_shmem_wake_dispatcher(slot);
		}
	}
	evq_shared->is_short = true;
	LWLockRelease(evq_shared->lock);
	evq_shmem_wake_launcher();
}

/*
 * COMMIT PREPARED has just committed here what nobody told of: perhaps the
 * database has the extension now, or no longer, or is paused, or goes on.
 */
void
evq_pending_prepared_committed(void)
{
	EvqSlot *slot = evq_shmem_mine();
	bool may_be_new;

	if (evq_shared == NULL)
		return;
	evq_shmem_look_now();
	evq_shmem_recount();
	/* Our own view is of before. */
	AcceptInvalidationMessages();
	InvalidateCatalogSnapshot();
	may_be_new = slot == NULL || (slot->pid == 0 && pg_atomic_read_u32(&slot->prepared) != 0);
	look_for_extension(MyDatabaseId, may_be_new && evq_tables_exist());
}

static void
forget_changes(void)
{
	pending.count = taken.count = tallies.count = 0;
	overflowed = false;
	own_batches_from = DT_NOEND;
	announcing_in = NULL;
}

static void
forget_all(void)
{
	forget_changes();
	committed = look_at_commit = schedules_changed = pause_changed = databases_changed = turn_given = false;
	extension_created = extension_dropped = 0;
	created_database = InvalidOid;
}

/* Counts what this transaction did, and tells of it. */
static void
settle_commit(EvqSlot *slot)
{
	/* Before it is announced: see evq_recount_run(). */
	for (int i = 0; i < tallies.count; i++)
		evq_counters_add_tally(slot->counters, &tallies.tallies[i]);
	if (evq_debug_lose_wakeups)
		return;
	if (slot->pid == MyProcPid)
	{
		offer_dispatched(slot, pending.changes, pending.count);
		pending.count = keep_news(slot, pending.changes, pending.count);
		announce(slot, pending.changes, pending.count, overflowed);
	}
	else
	{
		offer_published(slot, pending.changes, pending.count);
		/* In this order: whoever takes the offer tells the dispatcher later than we do. */
		announce(slot, pending.changes, pending.count, overflowed);
		offer_dispatched(slot, pending.changes, pending.count);
	}
}

/* What a prepared transaction did becomes true without a word: until it is gone, the dispatcher or the launcher looks again and again. */
static void
settle_prepare(EvqSlot *slot)
{
	pg_atomic_write_u32(&slot->prepared, 1);
	evq_shmem_wake_dispatcher(slot);
	if (slot->pid == 0)
		evq_shmem_wake_launcher();
}

/* The transaction, which was to announce something, has committed or is prepared, or, with neither, has failed. */
static void
settle(bool is_commit, bool is_prepare)
{
	EvqSlot *slot = announcing_in;
	bool is_ours = evq_shmem_begin_settling(slot, announcing_owner);

	if (is_ours && is_commit)
		settle_commit(slot);
	else if (is_ours && is_prepare)
		settle_prepare(slot);
	evq_shmem_end_settling(slot);
	announcing_in = NULL;
}

/*
 * What others see of a commit in the catalogs and in the configuration they
 * see by its invalidations, which are sent after at_end_of_transaction(). So
 * they are told to look only now, when those are out and the locks released.
 * So are they told of events that were changed beside the configuration: with
 * that of before, the dispatcher would offer what may not be had. But whoever
 * takes the lock of a flow's order is to hear what turns were given under it:
 * see evq_pending_turn_given().
 */
static void
after_release(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level || !committed)
		return;
	if (look_at_commit)
		evq_shmem_look_now();
	Assert(announcing_in == NULL || !turn_given);
	if (announcing_in != NULL)
		settle(true, false);
	if (schedules_changed)
		evq_shmem_schedules_changed();
	if (evq_shared != NULL && (extension_created > 0 || extension_dropped > 0 || pause_changed))
		look_for_extension(MyDatabaseId, extension_created > 0 || pause_changed);
	if (extension_created > 0 && evq_shmem_mine() != NULL)
	{
		/* Nothing was put away in a table that is new. */
		evq_counters_set_phase(evq_shmem_mine()->counters, EVQ_COUNTERS_OPEN);
		evq_shmem_recount();
	}
	if (evq_shared != NULL && OidIsValid(created_database))
		look_for_extension(created_database, true);
	if (evq_shared != NULL && databases_changed)
		look_for_databases();
	forget_all();
}

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	bool is_commit = event == XACT_EVENT_COMMIT;
	bool is_prepare = event == XACT_EVENT_PREPARE;

	if (!is_commit && !is_prepare && event != XACT_EVENT_ABORT)
		return;
	if (event == XACT_EVENT_ABORT)
		note_undone();
	if (is_commit && extension_dropped > 0 && evq_shmem_mine() != NULL)
		evq_counters_clear(evq_shmem_mine()->counters);
	if (announcing_in != NULL && !(is_commit && look_at_commit && !turn_given))
		settle(is_commit, is_prepare);
	else if (is_prepare && (pause_changed || extension_created > 0 || extension_dropped > 0) &&
			 evq_shmem_mine() != NULL)
		settle_prepare(evq_shmem_mine());
	if (event == XACT_EVENT_ABORT && taken.count > 0 && evq_shmem_mine() != NULL)
		announce(evq_shmem_mine(), taken.changes, taken.count, false);
	committed = is_commit;
	if (!is_commit)
		forget_all();
	else if (announcing_in == NULL)
		forget_changes();
}

/* Changes of a released savepoint become its parent's. */
static void
release_level(PendingList *list, int level)
{
	for (int i = list->count - 1; i >= 0 && list->levels[i] >= level; i--)
		list->levels[i] = level - 1;
}

/* The same for tallies; there is room. */
static void
release_tallies(int level)
{
	int end = tallies.count;

	while (tallies.count > 0 && tallies.tallies[tallies.count - 1].level >= level)
		tallies.count--;
	for (int i = tallies.count; i < end; i++)
	{
		EvqTally released = tallies.tallies[i];

		released.level = level - 1;
		tally(&released);
	}
}

/* Forgets the changes of a rolled back savepoint; they are the last ones. Returns where they began. */
static int
abandon_level(PendingList *list, int level)
{
	int before = list->count;

	while (list->count > 0 && list->levels[list->count - 1] >= level)
		list->count--;
	return before - list->count;
}

/* The same for something that was done. */
static void
release_note(int *outermost, int level)
{
	if (*outermost >= level)
		*outermost = level - 1;
}

static void
abandon_note(int *outermost, int level)
{
	if (*outermost >= level)
		*outermost = 0;
}

static void
at_end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		release_level(&pending, level);
		release_level(&taken, level);
		release_tallies(level);
		release_note(&extension_created, level);
		release_note(&extension_dropped, level);
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		int is_returned;

		note_undone();
		abandon_level(&pending, level);
		abandon_note(&extension_created, level);
		abandon_note(&extension_dropped, level);
		while (tallies.count > 0 && tallies.tallies[tallies.count - 1].level >= level)
			tallies.count--;
		is_returned = abandon_level(&taken, level);
		if (is_returned > 0 && evq_shmem_mine() != NULL)
			announce(evq_shmem_mine(), taken.changes + taken.count, is_returned, false);
	}
}

/* Follows the ends of transactions and savepoints. Called by _PG_init(). */
void
evq_pending_init(void)
{
	RegisterXactCallback(at_end_of_transaction, NULL);
	RegisterSubXactCallback(at_end_of_subtransaction, NULL);
	RegisterResourceReleaseCallback(after_release, NULL);
}
