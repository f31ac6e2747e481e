/*
 * shmem.c
 *		The shared memory of the engine.
 *
 * Without preloading there is none: then evq_shared is NULL, and everything
 * works by evq_tick() and by reading the tables.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "shared/shmem.h"

#define TRANCHE "evq"
#define LOCKS_PER_SLOT 2

EvqShared *evq_shared;

static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;

static Size
header_bytes(void)
{
	return MAXALIGN(offsetof(EvqShared, slots) + sizeof(EvqSlot) * evq_max_databases);
}

static Size
slot_bytes(void)
{
	return MAXALIGN(evq_ring_bytes(evq_ring_size)) + MAXALIGN(evq_offers_bytes(evq_ready_size)) +
		   MAXALIGN(evq_counters_bytes());
}

static Size
total_bytes(void)
{
	return add_size(header_bytes(), mul_size(slot_bytes(), evq_max_databases));
}

static void
request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(total_bytes());
	RequestNamedLWLockTranche(TRANCHE, 1 + LOCKS_PER_SLOT * evq_max_databases);
}

static void
startup(void)
{
	bool found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	evq_shared = ShmemInitStruct("evq", total_bytes(), &found);
	if (!found)
	{
		LWLockPadded *locks = GetNamedLWLockTranche(TRANCHE);
		char *next = (char *) evq_shared + header_bytes();

		memset(evq_shared, 0, header_bytes());
		evq_shared->lock = &(locks++)->lock;
		evq_shared->slot_count = evq_max_databases;
		for (int i = 0; i < evq_max_databases; i++)
		{
			EvqSlot *slot = &evq_shared->slots[i];

			pg_atomic_init_u64(&slot->owner, 0);
			pg_atomic_init_u64(&slot->announcing, 0);
			pg_atomic_init_u64(&slot->settling, 0);
			pg_atomic_init_u64(&slot->announced, 0);
			pg_atomic_init_u32(&slot->prepared, 0);
			pg_atomic_init_u32(&slot->is_offering, 0);
			pg_atomic_init_u32(&slot->look_now, 0);
			pg_atomic_init_u32(&slot->schedules_changed, 0);
			pg_atomic_init_u32(&slot->wants_changes, 0);
			pg_atomic_init_u64(&slot->full_flows, 0);
			pg_atomic_init_u64(&slot->direct_flows, 0);
			pg_atomic_init_u64(&slot->sleeping_until, 0);
			pg_atomic_init_u64(&slot->recount_at, 0);
			pg_atomic_init_u64(&slot->watched_until, 0);
			pg_atomic_init_u64(&slot->clock_reached, 0);
			slot->ring = (EvqRing *) next;
			next += MAXALIGN(evq_ring_bytes(evq_ring_size));
			evq_ring_init(slot->ring, evq_ring_size, &(locks++)->lock);
			slot->offers = (EvqOffers *) next;
			next += MAXALIGN(evq_offers_bytes(evq_ready_size));
			evq_offers_init(slot->offers, evq_ready_size, &(locks++)->lock);
			slot->counters = (EvqCounters *) next;
			next += MAXALIGN(evq_counters_bytes());
			evq_counters_clear(slot->counters);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Asks for the shared memory, where evq is preloaded. Called by _PG_init(). */
void
evq_shmem_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup;
}

/* The slot of a database; NULL = it has none. The caller holds the lock, or can stand to be late. */
EvqSlot *
evq_shmem_find(Oid database)
{
	for (int i = 0; i < evq_shared->slot_count; i++)
	{
		if (evq_shared->slots[i].database == database)
			return &evq_shared->slots[i];
	}
	return NULL;
}

/* Can another database have it? */
static bool
is_unused(const EvqSlot *slot)
{
	return (slot->state == EVQ_SLOT_FREE || slot->state == EVQ_SLOT_ABSENT) && slot->holds == 0 &&
		   slot->pid == 0 && slot->housekeeper_pid == 0;
}

/* Is there a slot for a database that has none? The caller holds the lock. */
bool
evq_shmem_has_room(void)
{
	for (int i = 0; i < evq_shared->slot_count; i++)
	{
		if (is_unused(&evq_shared->slots[i]))
			return true;
	}
	return false;
}

/* Is no transaction just telling of what it did? */
static bool
is_settled(EvqSlot *slot)
{
	uint64 announced = pg_atomic_read_u64(&slot->announced);

	/* Each begins before it ends: if as many had begun later as had ended now, nobody was in between. */
	pg_memory_barrier();
	return pg_atomic_read_u64(&slot->settling) == announced;
}

/* From here on no transaction that began before tells anything here, but one that is telling just now. */
static void
set_owner(EvqSlot *slot, Oid database)
{
	uint64 number = (pg_atomic_read_u64(&slot->owner) >> 32) + 1;

	(void) pg_atomic_exchange_u64(&slot->owner, number << 32 | database);
	slot->database = database;
}

/* Takes a slot away from its database. The caller holds the lock exclusively, and knows that nobody works there. */
void
evq_shmem_free(EvqSlot *slot)
{
	set_owner(slot, InvalidOid);
	slot->state = EVQ_SLOT_FREE;
}

/* Gives a slot that is not used to a database; false = not now. */
static bool
hand_over(EvqSlot *slot, Oid database)
{
	Oid before = slot->database;

	if (!is_settled(slot))
		return false;
	set_owner(slot, database);
	if (!is_settled(slot))
	{
		/* What was told to nobody meanwhile is in the tables. */
		set_owner(slot, before);
		pg_atomic_write_u32(&slot->look_now, 1);
		evq_counters_want_recount(slot->counters);
		return false;
	}
	slot->state = EVQ_SLOT_FREE;
	slot->check_extension = slot->lacks_worker = false;
	slot->started_at = slot->restart_at = slot->last_turn_at = slot->refused_since = 0;
	slot->failures = 0;
	slot->turns = slot->dispatched = slot->errors = 0;
	slot->last_error[0] = '\0';
	slot->is_failing = false;
	pg_atomic_write_u32(&slot->prepared, 0);
	pg_atomic_write_u32(&slot->look_now, 0);
	pg_atomic_write_u32(&slot->wants_changes, 0);
	pg_atomic_write_u64(&slot->full_flows, 0);
	pg_atomic_write_u64(&slot->direct_flows, 0);
	slot->counted_roughly = false;
	pg_atomic_write_u64(&slot->recount_at, 0);
	pg_atomic_write_u64(&slot->watched_until, 0);
	pg_atomic_write_u64(&slot->clock_reached, 0);
	evq_ring_clear(slot->ring);
	evq_offers_clear(slot->offers);
	evq_counters_clear(slot->counters);
	return true;
}

/*
 * The slot of a database, made if there is none yet; NULL = all are taken. The
 * caller holds the lock exclusively. Where no slot is free, that of a database
 * without evq, or of a paused one, is taken over: what transactions do that are
 * still open there is not told to anybody then.
 */
EvqSlot *
evq_shmem_find_or_make(Oid database)
{
	EvqSlot *slot = evq_shmem_find(database);

	Assert(LWLockHeldByMeInMode(evq_shared->lock, LW_EXCLUSIVE));
	for (int free = 1; free >= 0 && slot == NULL; free--)
	{
		for (int i = 0; i < evq_shared->slot_count && slot == NULL; i++)
		{
			EvqSlot *candidate = &evq_shared->slots[i];

			if (OidIsValid(candidate->database) != free && is_unused(candidate) &&
				hand_over(candidate, database))
				slot = candidate;
		}
	}
	return slot;
}

/* ---------- transactions ---------- */

/*
 * A transaction of this session is going to announce something in its slot: from
 * now on the dispatcher knows that something may come. false = the slot is another
 * database's by now. owner: what the end of the transaction hands to
 * evq_shmem_begin_settling().
 */
bool
evq_shmem_begin_announcing(EvqSlot *slot, uint64 *owner)
{
	*owner = pg_atomic_read_u64(&slot->owner);
	if ((Oid) *owner != MyDatabaseId)
		return false;
	pg_atomic_fetch_add_u64(&slot->announcing, 1);
	return true;
}

/* That transaction ends. true = the slot is still its database's, and stays so until evq_shmem_end_settling(), which follows in any case. */
bool
evq_shmem_begin_settling(EvqSlot *slot, uint64 owner)
{
	pg_atomic_fetch_add_u64(&slot->settling, 1);
	return pg_atomic_read_u64(&slot->owner) == owner;
}

/* The transaction that began to settle has told all there is to tell, or never will. */
void
evq_shmem_end_settling(EvqSlot *slot)
{
	pg_atomic_fetch_add_u64(&slot->announced, 1);
}

/* The slot of this session's database; NULL = it has none, or there is no shared memory. Needs no lock. */
EvqSlot *
evq_shmem_mine(void)
{
	static EvqSlot *mine;

	if (evq_shared == NULL || !OidIsValid(MyDatabaseId))
		return NULL;
	if (mine == NULL || mine->database != MyDatabaseId)
		mine = evq_shmem_find(MyDatabaseId);
	return mine;
}

/* Does anybody want to be told of state changes? */
bool
evq_shmem_is_watched(EvqSlot *slot)
{
	TimestampTz until = (TimestampTz) pg_atomic_read_u64(&slot->watched_until);

	return until != 0 && GetCurrentTimestamp() < until;
}

/*
 * May turns have been given by a later clock than this? Not where all of them
 * are known to have been noted. slot: NULL = no shared memory, nobody knows.
 */
bool
evq_shmem_clock_was_ahead(EvqSlot *slot, TimestampTz now)
{
	uint64 reached = slot == NULL ? 0 : pg_atomic_read_u64(&slot->clock_reached);

	return reached == 0 || (TimestampTz) reached > now;
}

static void
raise_clock(EvqSlot *slot, TimestampTz now, bool begin)
{
	uint64 reached = slot == NULL ? 0 : pg_atomic_read_u64(&slot->clock_reached);

	while (slot != NULL && (reached != 0 || begin) && (TimestampTz) reached < now)
	{
		if (pg_atomic_compare_exchange_u64(&slot->clock_reached, &reached, (uint64) now))
			break;
	}
}

/* A turn is given by this clock: it is noted, if it is the latest. */
void
evq_shmem_note_clock(EvqSlot *slot, TimestampTz now)
{
	raise_clock(slot, now, false);
}

/* Whatever is on its way was given its turn by this clock or an earlier one. */
void
evq_shmem_begin_noting_clock(EvqSlot *slot, TimestampTz now)
{
	raise_clock(slot, now, true);
}

/* Sets the latch of the slot's dispatcher, if it has one. Needs no lock. */
void
evq_shmem_wake_dispatcher(EvqSlot *slot)
{
	Latch *latch = slot->latch;

	/* A dispatcher that leaves clears the pointer first; a latch set late wakes someone for nothing. */
	if (latch != NULL)
		SetLatch(latch);
}

/* This session's database changed in a way that no entry of the ring tells: the dispatcher is to read it. Needs no lock. */
void
evq_shmem_look_now(void)
{
	EvqSlot *slot = evq_shmem_mine();

	if (slot == NULL)
		return;
	pg_atomic_write_u32(&slot->look_now, 1);
	pg_atomic_write_u32(&slot->schedules_changed, 1);
	evq_shmem_wake_dispatcher(slot);
}

/* Schedules of this session's database are due at other times now: the dispatcher is to look. Needs no lock. */
void
evq_shmem_schedules_changed(void)
{
	EvqSlot *slot = evq_shmem_mine();

	if (slot == NULL)
		return;
	pg_atomic_write_u32(&slot->schedules_changed, 1);
	evq_shmem_wake_dispatcher(slot);
}

/* The tables of this session's database changed in a way that no counter tells: they are to be counted. Needs no lock. */
void
evq_shmem_recount(void)
{
	EvqSlot *slot = evq_shmem_mine();

	if (slot == NULL)
		return;
	evq_counters_want_recount(slot->counters);
	evq_shmem_wake_dispatcher(slot);
}

/* Sets the launcher's latch, if it runs. There is shared memory. Needs no lock. */
void
evq_shmem_wake_launcher(void)
{
	Latch *latch = evq_shared->launcher_latch;

	if (latch != NULL)
		SetLatch(latch);
}
