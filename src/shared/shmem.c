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
#define LOCKS_PER_PLACE 2

EvqShared *evq_shared;

static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;

static Size
header_bytes(void)
{
	return MAXALIGN(offsetof(EvqShared, places) + sizeof(EvqPlace) * evq_max_databases);
}

static Size
place_bytes(void)
{
	return MAXALIGN(evq_ring_bytes(evq_ring_size)) + MAXALIGN(evq_ready_bytes(evq_ready_size)) +
		   MAXALIGN(evq_counters_bytes());
}

static Size
total_bytes(void)
{
	return add_size(header_bytes(), mul_size(place_bytes(), evq_max_databases));
}

static void
request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(total_bytes());
	RequestNamedLWLockTranche(TRANCHE, 1 + LOCKS_PER_PLACE * evq_max_databases);
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
		evq_shared->place_count = evq_max_databases;
		for (int i = 0; i < evq_max_databases; i++)
		{
			EvqPlace *place = &evq_shared->places[i];

			pg_atomic_init_u64(&place->owner, 0);
			pg_atomic_init_u64(&place->announcing, 0);
			pg_atomic_init_u64(&place->settling, 0);
			pg_atomic_init_u64(&place->announced, 0);
			pg_atomic_init_u32(&place->prepared, 0);
			pg_atomic_init_u32(&place->is_offering, 0);
			pg_atomic_init_u32(&place->look_now, 0);
			pg_atomic_init_u32(&place->schedules_changed, 0);
			pg_atomic_init_u32(&place->wants_changes, 0);
			pg_atomic_init_u64(&place->full_flows, 0);
			pg_atomic_init_u64(&place->direct_flows, 0);
			pg_atomic_init_u64(&place->sleeping_until, 0);
			pg_atomic_init_u64(&place->recount_at, 0);
			pg_atomic_init_u64(&place->watched_until, 0);
			pg_atomic_init_u64(&place->clock_reached, 0);
			place->ring = (EvqRing *) next;
			next += MAXALIGN(evq_ring_bytes(evq_ring_size));
			evq_ring_init(place->ring, evq_ring_size, &(locks++)->lock);
			place->ready = (EvqReady *) next;
			next += MAXALIGN(evq_ready_bytes(evq_ready_size));
			evq_ready_init(place->ready, evq_ready_size, &(locks++)->lock);
			place->counters = (EvqCounters *) next;
			next += MAXALIGN(evq_counters_bytes());
			evq_counters_clear(place->counters);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

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

/* The place of a database, or NULL. Caller holds the lock, or can stand to be wrong. */
EvqPlace *
evq_shmem_find(Oid database)
{
	for (int i = 0; i < evq_shared->place_count; i++)
	{
		if (evq_shared->places[i].database == database)
			return &evq_shared->places[i];
	}
	return NULL;
}

/* Can another database have it? */
static bool
is_unused(const EvqPlace *place)
{
	return (place->state == EVQ_PLACE_FREE || place->state == EVQ_PLACE_ABSENT) && place->holds == 0 &&
		   place->pid == 0 && place->housekeeper_pid == 0;
}

/* Is there a place for a database that has none? Caller holds the lock. */
bool
evq_shmem_has_room(void)
{
	for (int i = 0; i < evq_shared->place_count; i++)
	{
		if (is_unused(&evq_shared->places[i]))
			return true;
	}
	return false;
}

/* Is no transaction just telling of what it did? */
static bool
is_settled(EvqPlace *place)
{
	uint64 announced = pg_atomic_read_u64(&place->announced);

	/* Each begins before it ends: if as many had begun later as had ended now, nobody was in between. */
	pg_memory_barrier();
	return pg_atomic_read_u64(&place->settling) == announced;
}

/* From here on no transaction that began before tells anything here, but one that is telling just now. */
static void
set_owner(EvqPlace *place, Oid database)
{
	uint64 number = (pg_atomic_read_u64(&place->owner) >> 32) + 1;

	(void) pg_atomic_exchange_u64(&place->owner, number << 32 | database);
	place->database = database;
}

/* Takes a place away from its database. Caller holds the lock exclusively, and knows that nobody works there. */
void
evq_shmem_free(EvqPlace *place)
{
	set_owner(place, InvalidOid);
	place->state = EVQ_PLACE_FREE;
}

/* Gives a place that is not used to a database; false = not now. */
static bool
hand_over(EvqPlace *place, Oid database)
{
	Oid before = place->database;

	if (!is_settled(place))
		return false;
	set_owner(place, database);
	if (!is_settled(place))
	{
		/* What was told to nobody meanwhile is in the tables. */
		set_owner(place, before);
		pg_atomic_write_u32(&place->look_now, 1);
		evq_counters_want_recount(place->counters, true);
		return false;
	}
	place->state = EVQ_PLACE_FREE;
	place->check_extension = place->lacks_worker = false;
	place->started_at = place->restart_at = place->last_turn_at = place->refused_since = 0;
	place->failures = 0;
	place->turns = place->dispatched = place->errors = 0;
	place->last_error[0] = '\0';
	place->is_failing = false;
	pg_atomic_write_u32(&place->prepared, 0);
	pg_atomic_write_u32(&place->look_now, 0);
	pg_atomic_write_u32(&place->wants_changes, 0);
	pg_atomic_write_u64(&place->full_flows, 0);
	pg_atomic_write_u64(&place->direct_flows, 0);
	place->counted_roughly = false;
	pg_atomic_write_u64(&place->recount_at, 0);
	pg_atomic_write_u64(&place->watched_until, 0);
	pg_atomic_write_u64(&place->clock_reached, 0);
	evq_ring_clear(place->ring);
	evq_ready_clear(place->ready);
	evq_counters_clear(place->counters);
	return true;
}

/*
 * The place of a database, made if there is none yet; NULL when all are taken.
 * Caller holds the lock exclusively. Where no place is free, that of a database
 * without evq, or of a paused one, is taken over: what transactions do that are
 * still open there is not told to anybody then.
 */
EvqPlace *
evq_shmem_find_or_make(Oid database)
{
	EvqPlace *place = evq_shmem_find(database);

	Assert(LWLockHeldByMeInMode(evq_shared->lock, LW_EXCLUSIVE));
	for (int free = 1; free >= 0 && place == NULL; free--)
	{
		for (int i = 0; i < evq_shared->place_count && place == NULL; i++)
		{
			EvqPlace *candidate = &evq_shared->places[i];

			if (OidIsValid(candidate->database) != free && is_unused(candidate) &&
				hand_over(candidate, database))
				place = candidate;
		}
	}
	return place;
}

/* ---------- transactions ---------- */

/*
 * A transaction of this session is going to announce something in its place;
 * false = it is another database's by now. owner: for its end.
 */
bool
evq_shmem_begin_announcing(EvqPlace *place, uint64 *owner)
{
	*owner = pg_atomic_read_u64(&place->owner);
	if ((Oid) *owner != MyDatabaseId)
		return false;
	pg_atomic_fetch_add_u64(&place->announcing, 1);
	return true;
}

/* That transaction ends. True = the place is still its database's, and stays so until evq_shmem_end_settling(). */
bool
evq_shmem_begin_settling(EvqPlace *place, uint64 owner)
{
	pg_atomic_fetch_add_u64(&place->settling, 1);
	return pg_atomic_read_u64(&place->owner) == owner;
}

/* It has told all there is to tell. */
void
evq_shmem_end_settling(EvqPlace *place)
{
	pg_atomic_fetch_add_u64(&place->announced, 1);
}

/* The place of this session's database, or NULL; needs no lock. */
EvqPlace *
evq_shmem_mine(void)
{
	static EvqPlace *mine;

	if (evq_shared == NULL || !OidIsValid(MyDatabaseId))
		return NULL;
	if (mine == NULL || mine->database != MyDatabaseId)
		mine = evq_shmem_find(MyDatabaseId);
	return mine;
}

/* Does anybody want to be told of state changes? */
bool
evq_shmem_is_watched(EvqPlace *place)
{
	TimestampTz until = (TimestampTz) pg_atomic_read_u64(&place->watched_until);

	return until != 0 && GetCurrentTimestamp() < until;
}

/*
 * May turns have been given by a later clock than this? Not where all of them
 * are known to have been noted. place: NULL = no shared memory, nobody knows.
 */
bool
evq_shmem_clock_was_ahead(EvqPlace *place, TimestampTz now)
{
	uint64 reached = place == NULL ? 0 : pg_atomic_read_u64(&place->clock_reached);

	return reached == 0 || (TimestampTz) reached > now;
}

static void
raise_clock(EvqPlace *place, TimestampTz now, bool begin)
{
	uint64 reached = place == NULL ? 0 : pg_atomic_read_u64(&place->clock_reached);

	while (place != NULL && (reached != 0 || begin) && (TimestampTz) reached < now)
	{
		if (pg_atomic_compare_exchange_u64(&place->clock_reached, &reached, (uint64) now))
			break;
	}
}

/* A turn is given by this clock. */
void
evq_shmem_note_clock(EvqPlace *place, TimestampTz now)
{
	raise_clock(place, now, false);
}

/* Whatever is on its way was given its turn by this clock or an earlier one. */
void
evq_shmem_begin_noting_clock(EvqPlace *place, TimestampTz now)
{
	raise_clock(place, now, true);
}

/* Cannot fail. */
void
evq_shmem_wake_dispatcher(EvqPlace *place)
{
	Latch *latch = place->latch;

	/* A dispatcher that leaves clears the pointer first; a latch set late wakes someone for nothing. */
	if (latch != NULL)
		SetLatch(latch);
}

/* This session's database changed in a way that no entry of the ring tells. Cannot fail. */
void
evq_shmem_look_now(void)
{
	EvqPlace *place = evq_shmem_mine();

	if (place == NULL)
		return;
	pg_atomic_write_u32(&place->look_now, 1);
	pg_atomic_write_u32(&place->schedules_changed, 1);
	evq_shmem_wake_dispatcher(place);
}

/* Schedules of this session's database are due at other times now. Cannot fail. */
void
evq_shmem_schedules_changed(void)
{
	EvqPlace *place = evq_shmem_mine();

	if (place == NULL)
		return;
	pg_atomic_write_u32(&place->schedules_changed, 1);
	evq_shmem_wake_dispatcher(place);
}

/* The tables of this session's database changed in a way that no counter tells. Cannot fail. */
void
evq_shmem_recount(void)
{
	EvqPlace *place = evq_shmem_mine();

	if (place == NULL)
		return;
	evq_counters_want_recount(place->counters, true);
	evq_shmem_wake_dispatcher(place);
}

void
evq_shmem_wake_launcher(void)
{
	Latch *latch = evq_shared->launcher_latch;

	if (latch != NULL)
		SetLatch(latch);
}
