/*
 * recount.c
 *		The counters and the tables: what is put away at a stop, taken back at the start, and put right.
 *
 * At a stop the dispatcher puts the counters away in a table, and takes them
 * out of it at the next start, for good. After a crash there is nothing to
 * take: they begin at zero. Going on from some earlier value would be worse
 * than that, for whoever reads them takes a value that went down for a new
 * beginning and adds all of it. For the same reason nothing shows them while
 * they are put away or not taken back yet.
 *
 * The numbers of live events follow from the counters as long as everything is
 * counted. The events are counted in their table where that may not be so: at
 * every start, for the last commits before a stop may have come after the
 * dispatcher's; after COMMIT PREPARED, which says nothing; after a restore.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/clock.h"
#include "base/debug.h"
#include "dispatcher/recount.h"
#include "rules/transition.h"
#include "session/config.h"
#include "tables/tables.h"

/* Recounts take at most this part of the time. */
#define TIME_SHARE 100

/* After one that could not be done. */
#define PUT_OFF USECS_PER_MINUTE

static EvqReading *taken; /* in TopMemoryContext */
static int taken_count;

/* ---------- the tables ---------- */

/*
 * Takes the counters that were put away out of their table, into an array in
 * the current memory context: only this once, whatever happens to the server.
 */
static int
take_counters(EvqReading **readings)
{
	MemoryContext caller = CurrentMemoryContext;
	EvqIdentity previous;
	int count;

	evq_tables_become_owner(&previous);
	if (SPI_execute("DELETE FROM evq.counter RETURNING no, name, value", false, 0) != SPI_OK_DELETE_RETURNING)
		elog(ERROR, "could not take back the counters");
	count = SPI_processed;
	*readings = MemoryContextAllocZero(caller, Max(count, 1) * sizeof(EvqReading));
	for (int i = 0; i < count; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		EvqReading *reading = &(*readings)[i];
		bool is_null;

		reading->no = DatumGetInt32(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &is_null));
		text_to_cstring_buffer(DatumGetTextPP(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &is_null)),
							   reading->name, sizeof(reading->name));
		reading->value = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 3, &is_null));
	}
	evq_tables_become_oneself(&previous);
	if (count > 0)
		ForceSyncCommit();
	return count;
}

/* Puts counters away in their table, in place of those that are there. */
static void
put_counters(const EvqReading *readings, int count)
{
	Datum *columns[3];
	Oid element_types[3] = {INT4OID, TEXTOID, INT8OID};
	Oid types[3] = {INT4ARRAYOID, TEXTARRAYOID, INT8ARRAYOID};
	Datum arrays[3];
	EvqIdentity previous;

	for (int i = 0; i < 3; i++)
		columns[i] = palloc(Max(count, 1) * sizeof(Datum));
	for (int i = 0; i < count; i++)
	{
		columns[0][i] = Int32GetDatum(readings[i].no);
		columns[1][i] = CStringGetTextDatum(readings[i].name);
		columns[2][i] = Int64GetDatum(readings[i].value);
	}
	for (int i = 0; i < 3; i++)
		arrays[i] = PointerGetDatum(construct_array_builtin(columns[i], count, element_types[i]));

	evq_tables_become_owner(&previous);
	if (SPI_execute("DELETE FROM evq.counter", false, 0) != SPI_OK_DELETE ||
		SPI_execute_with_args(
			"INSERT INTO evq.counter SELECT * FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))",
			3, types, arrays, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not put the counters away");
	evq_tables_become_oneself(&previous);
}

#define COUNT_EVENTS "SELECT event_type_no, state, pg_catalog.count(*) FROM evq.event GROUP BY 1, 2"

static const char count_events[] = COUNT_EVENTS;

/* The same of those in batches, too, which tables of an older version do not have. */
static const char count_all[] =
	"SELECT event_type_no, state, pg_catalog.sum(events)::pg_catalog.int8 FROM (" COUNT_EVENTS
	" UNION ALL SELECT event_type_no, state, events::pg_catalog.int8 FROM evq.batch_count) live(event_type_no, state, events)"
	" GROUP BY 1, 2";

/* Counts the live events by type and state, as the active snapshot sees them. */
static int
count_live(EvqLiveCount **counts)
{
	MemoryContext caller = CurrentMemoryContext;
	EvqIdentity previous;
	int count;

	evq_tables_become_owner(&previous);
	if (SPI_execute(evq_tables_has("backlog") ? count_all : count_events, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not count the live events");
	count = SPI_processed;
	*counts = MemoryContextAlloc(caller, Max(count, 1) * sizeof(EvqLiveCount));
	for (int i = 0; i < count; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		EvqLiveCount *live = &(*counts)[i];
		bool is_null;

		live->event_type_no = DatumGetInt32(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &is_null));
		live->state = evq_transition_state_from_code(
			DatumGetChar(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &is_null)));
		live->count = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 3, &is_null));
	}
	evq_tables_become_oneself(&previous);
	return count;
}

/* ---------- when, and how ---------- */

static void
put_off(EvqSlot *slot, int64 pause)
{
	pg_atomic_write_u64(&slot->recount_at, evq_clock_monotonic() + pause);
}

static bool
is_put_off(EvqSlot *slot)
{
	return evq_clock_monotonic() < (int64) pg_atomic_read_u64(&slot->recount_at);
}

/* Is there anything left to do about the counters? */
bool
evq_recount_is_wanted(EvqSlot *slot)
{
	return evq_counters_phase(slot->counters) != EVQ_COUNTERS_OPEN ||
		   evq_counters_is_recount_wanted(slot->counters);
}

/* Are those that were put away to be taken back now? */
bool
evq_recount_is_take_back_due(EvqSlot *slot)
{
	EvqCountersPhase phase = evq_counters_phase(slot->counters);

	return (phase == EVQ_COUNTERS_NEW || phase == EVQ_COUNTERS_PUT_AWAY) && !is_put_off(slot);
}

/* Are the live events to be counted now? */
bool
evq_recount_is_due(EvqSlot *slot)
{
	EvqCountersPhase phase = evq_counters_phase(slot->counters);

	return evq_recount_is_wanted(slot) && (phase == EVQ_COUNTERS_OPEN || phase == EVQ_COUNTERS_UNCHECKED) &&
		   !is_put_off(slot);
}

/* Something failed, or could not be done: not again at once. */
void
evq_recount_put_off(EvqSlot *slot)
{
	put_off(slot, PUT_OFF);
}

/* Is there no transaction that has changed events and may yet be counted? announcing: as it was then. */
static bool
is_quiet(EvqSlot *slot, uint64 *announcing)
{
	uint64 announced = pg_atomic_read_u64(&slot->announced);

	pg_memory_barrier();
	*announcing = pg_atomic_read_u64(&slot->announcing);
	return *announcing == announced;
}

/* Is it a good moment to count the live events? */
bool
evq_recount_is_quiet(EvqSlot *slot)
{
	uint64 announcing;

	return is_quiet(slot, &announcing);
}

/* Takes out of the table what was put away, for good: evq_recount_taken_back() follows when this has committed. */
void
evq_recount_take_back(void)
{
	MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);

	taken_count = take_counters(&taken);
	MemoryContextSwitchTo(previous);
}

/* Adds what evq_recount_take_back() has taken out to the counters, now that this has committed. Raises nothing. */
void
evq_recount_taken_back(EvqSlot *slot)
{
	/* What the same server put away is still here. */
	bool was_away = evq_counters_phase(slot->counters) == EVQ_COUNTERS_PUT_AWAY;

	for (int i = 0; i < taken_count && !was_away; i++)
		evq_counters_restore(slot->counters, &taken[i]);
	pfree(taken);
	taken_count = 0;
	evq_counters_set_phase(slot->counters, EVQ_COUNTERS_UNCHECKED);
	slot->counted_roughly = false;
	put_off(slot, 0);
}

/*
 * Counts the live events and puts their numbers right.
 *
 * Transactions count what they did before they say, in "announced", that they
 * are over. So while none is at work between two looks at "announcing", the
 * counters and a snapshot taken there tell of the same transactions. Otherwise
 * the count is a rough one, made once, and to be made again.
 */
void
evq_recount_run(EvqSlot *slot)
{
	int64 began_at = evq_clock_monotonic();
	EvqLiveCopy copy;
	EvqLiveCount *found;
	uint64 announcing;
	bool quiet;
	int count;

	/* To a snapshot from before the end of an ALTER TABLE that writes it anew the table is empty. */
	LockRelationOid(evq_tables_relid(EVQ_TABLE_EVENT, false), AccessShareLock);

	/* What is wanted from now on is wanted again. Where it does not come to its end, it is so still, in a while. */
	evq_counters_begin_recount(slot->counters);
	put_off(slot, PUT_OFF);
	evq_debug_point("recount");
	quiet = is_quiet(slot, &announcing);
	evq_counters_copy_live(slot->counters, copy);
	PushActiveSnapshot(GetLatestSnapshot());
	pg_memory_barrier();
	quiet = quiet && pg_atomic_read_u64(&slot->announcing) == announcing;

	if (quiet || !slot->counted_roughly)
	{
		count = count_live(&found);
		evq_counters_correct_live(slot->counters, copy, found, count);
		evq_counters_open(slot->counters);
		slot->counted_roughly = !quiet;
		put_off(slot, TIME_SHARE * (evq_clock_monotonic() - began_at));
	}
	else
		put_off(slot, PUT_OFF);
	if (quiet)
		evq_counters_end_recount(slot->counters);
	else
		evq_counters_want_recount(slot->counters);
	PopActiveSnapshot();
}

typedef struct PutAway
{
	EvqReading *readings;
	int count;
	int room;
} PutAway;

/* Event types that were dropped make room for others. */
static void
put_away_reading(const EvqReading *reading, void *arg)
{
	PutAway *kept = arg;

	if (!reading->is_kept || reading->value == 0)
		return;
	if (reading->of == EVQ_COUNTED_EVENT_TYPE)
	{
		const EvqEventType *event_type = evq_config_event_type(reading->no);

		if (event_type == NULL || event_type->dropped)
			return;
	}
	if (kept->count == kept->room)
	{
		kept->room *= 2;
		kept->readings = repalloc(kept->readings, kept->room * sizeof(EvqReading));
	}
	kept->readings[kept->count++] = *reading;
}

/* Writes the counters into the table, for the next start; from now on they are not to be read here. In a transaction. */
void
evq_recount_put_away(EvqSlot *slot)
{
	EvqCountersPhase phase = evq_counters_phase(slot->counters);
	PutAway kept = {.room = 256};

	if (phase != EVQ_COUNTERS_OPEN && phase != EVQ_COUNTERS_UNCHECKED)
		return;
	evq_counters_set_phase(slot->counters, EVQ_COUNTERS_PUT_AWAY);
	evq_config_use();
	kept.readings = palloc(kept.room * sizeof(EvqReading));
	evq_counters_read(slot->counters, put_away_reading, &kept);
	put_counters(kept.readings, kept.count);
}
