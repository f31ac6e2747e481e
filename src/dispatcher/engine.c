/*
 * engine.c
 *		The turn: what is due is timed out, expired or dispatched.
 *
 * The model, from one turn to the next:
 *
 * 1. The dispatcher has an engine as long as it runs; evq_tick() makes one for the
 *	  call. An engine knows nothing that the tables do not say: it may be thrown away
 *	  at any time, and another one begins by reading them.
 *
 * 2. Between turns the dispatcher's engine hears. evq_engine_hear() takes out of the
 *	  ring what sessions have announced, and the memory (memory.c) keeps what it will
 *	  need of that. No table is read and no event is touched. Where the ring has
 *	  overflowed, all that is remembered is in doubt, and the tables are to be read.
 *
 * 3. evq_engine_is_due() tells whether a turn would find anything to do. If not, the
 *	  dispatcher sleeps until evq_engine_next_at(), and sessions wake it before that
 *	  only for what evq_engine_guide() says.
 *
 * 4. A turn is one transaction. It begins with a lock that is never waited for, so
 *	  that one turn at a time runs in a database, in whatever process. Therefore order
 *	  within a flow_id, and the limits of a flow, are kept by one who sees all. In a
 *	  database that is paused a turn does nothing.
 *
 * 5. First it learns: a sweep (sweep.c) reads some rows of the tables into the memory,
 *	  if one is wanted; a configuration that has changed wants one. What is too much
 *	  for one turn goes on in the next.
 *
 * 6. Then it does what the clock asks (engine_event.c). Each remembered event has a
 *	  timer. Those whose timer has come are looked at, a batch at most: their row is
 *	  read and says whether the lifespan is over, a dispatch, a permit or a suspension
 *	  has timed out, or the next attempt is due. This comes before the dispatch, for it
 *	  makes room and brings events back.
 *
 * 7. Where the event in front of a flow_id has gone, the next one is read.
 *
 * 8. Then the flows dispatch (engine_dispatch.c), each its share of a batch, as many
 *	  events as it has room for, in their order, however they are stored. In a pull flow,
 *	  and in a push flow that is drained, an event is put on offer and its row stays as it is. Otherwise the row
 *	  is read, and marked as dispatched; the event is on offer when this has committed.
 *	  In a flow that keeps order or a limit all events go this second way, and only
 *	  where the turn has the lock of the flow's order (engine_flows.c): a session that
 *	  gives turns to its own events has it meanwhile.
 *
 * 9. Last it tells: one notification for each event dispatched in a push flow, one for
 *	  a pull flow whose offer was empty, and what watchers want to know. The lock of
 *	  NOTIFY, which holds up the commits of others, is so taken at the end of the turn.
 *
 * 10. It commits without waiting for the disk: what a crash undoes is dispatched
 *	  again. What a turn did itself is in the memory already; the ring brings only the
 *	  events that it has published.
 *
 * 11. An error rolls the turn back, but not the memory: so the engine is thrown away.
 *	  For some time after that each event is handled in a subtransaction of its own. One
 *	  that fails is put off, longer each time, and the others go on.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "base/trace.h"
#include "dispatcher/engine_internal.h"
#include "dispatcher/notify.h"

/* So many changes are taken out of the ring under one lock. */
#define HEARD_AT_ONCE 512

/* Batches that are looked at in a turn. */
#define LOOKS_AT_ONCE 200

/* The turn's lock is an advisory one of a class that SQL cannot take, which has 1 and 2 (PostgreSQL's lockfuncs.c). */
#define TURN_LOCK_CLASS 0xE5

/* Makes an engine with a context of its own, which evq_engine_destroy() frees. slot: NULL = without shared memory. */
EvqEngine *
evq_engine_create(EvqSlot *slot)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "evq engine", ALLOCSET_DEFAULT_SIZES);
	EvqEngine *engine = MemoryContextAllocZero(context, sizeof(EvqEngine));

	engine->context = context;
	engine->turn_context = AllocSetContextCreate(context, "evq turn", ALLOCSET_DEFAULT_SIZES);
	engine->event_context = AllocSetContextCreate(context, "evq event", ALLOCSET_DEFAULT_SIZES);
	engine->slot = slot;
	engine->memory = evq_memory_create(context, slot);
	engine->batches = evq_batch_track_create(context, slot, engine->memory);
	engine->sweeper = evq_sweep_create(context, slot, engine->memory);
	engine->watch = evq_watch_create(context);
	return engine;
}

/* Frees the engine and all that it remembers. */
void
evq_engine_destroy(EvqEngine *engine)
{
	MemoryContextDelete(engine->context);
}

/* Has a sweep begun that needs further turns? */
bool
evq_engine_is_sweeping(const EvqEngine *engine)
{
	return evq_sweep_is_under_way(engine->sweeper) || evq_batch_track_has_more(engine->batches);
}

/* Has it read what comes first in each flow? */
bool
evq_engine_has_read(const EvqEngine *engine)
{
	return evq_sweep_has_read(engine->sweeper);
}

/* ---------- hearing ---------- */

static void
absorb(EvqEngine *engine, const EvqChange *change, TimestampTz now)
{
	if (change->is_own)
		return;
	if (change->events > 0)
		evq_batch_track_hear(engine->batches, change, now);
	else
		evq_memory_absorb(engine->memory, change, now);
	if (!change->is_new)
		return;
	if (change->is_offered)
		engine->offered_directly += Max(change->events, 1);
	if (change->was_empty)
		evq_engine_use_flow(engine, change->flow_no)->tell_ready = true;
}

/* Takes in all that sessions have told the dispatcher; false = they told more than there was room for. */
bool
evq_engine_hear(EvqEngine *engine, TimestampTz now)
{
	EvqSlot *slot = engine->slot;
	EvqChange changes[HEARD_AT_ONCE];
	bool heard_all = true;
	bool overflowed;
	int heard = 0;
	int count;

	do
	{
		count = evq_ring_pop(slot->ring, changes, HEARD_AT_ONCE, &overflowed);
		heard += count;
		if (overflowed)
		{
			heard_all = false;
			evq_memory_doubt(engine->memory);
			evq_batch_track_want_walk(engine->batches, true);
			if (evq_shmem_is_watched(slot))
				evq_watch_note_lost(engine->watch);
		}
		for (int i = 0; i < count; i++)
		{
			if (!changes[i].is_returned && evq_shmem_is_watched(slot))
				evq_watch_note(engine->watch, &changes[i]);
			absorb(engine, &changes[i], now);
		}
	} while (count == HEARD_AT_ONCE);
	if (heard > 0 || !heard_all)
		EVQ_TRACE(DEBUG1, "evq: heard of %d changes%s", heard,
				  heard_all ? "" : "; others were lost for want of room, so the tables are read");
	return heard_all;
}

/* ---------- the turn's lock ---------- */

static bool turn_taken; /* by this transaction */

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE && turn_taken)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot PREPARE a transaction that has called evq_tick()"),
						errhint("It would keep the engine from its next turn.")));
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		turn_taken = false;
}

/* Sees to it that a transaction that took a turn cannot be prepared. Called by _PG_init(). */
void
evq_engine_init(void)
{
	RegisterXactCallback(at_end_of_transaction, NULL);
}

static bool
lock_turn(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, TURN_LOCK_CLASS);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	turn_taken = true;
	return true;
}

/* ---------- when ---------- */

/* Would a turn now do anything? */
bool
evq_engine_is_due(EvqEngine *engine, TimestampTz now)
{
	EvqProspects flows = evq_engine_look_at_flows(engine, now);

	return evq_sweep_is_due(engine->sweeper, now) || evq_memory_is_due(engine->memory, now) ||
		   evq_batch_track_next_at(engine->batches, now) <= now || flows.can_dispatch || flows.must_tell ||
		   evq_watch_due_at(engine->watch) <= now;
}

/* The time until which nothing is due, if nobody tells of anything. */
TimestampTz
evq_engine_next_at(EvqEngine *engine, TimestampTz now)
{
	TimestampTz next_at = Min(evq_sweep_next_at(engine->sweeper, now), evq_watch_due_at(engine->watch));

	next_at = Min(next_at, evq_engine_look_at_flows(engine, now).held_until);
	next_at = Min(next_at, evq_batch_track_next_at(engine->batches, now));
	return Min(next_at, evq_memory_next_at(engine->memory));
}

/* ---------- the turn ---------- */

/* Does what is to be done about batches. What is to be read of them is read whenever a sweep begins. */
static void
attend_to_batches(EvqWork *work)
{
	EvqEngine *engine = work->engine;
	pg_uuid_t batch_id;
	int32 flow_no;

	if (engine->sweeps_seen != evq_sweep_number(engine->sweeper))
		evq_batch_track_want_walk(engine->batches, evq_sweep_is_complete(engine->sweeper));
	engine->sweeps_seen = evq_sweep_number(engine->sweeper);
	evq_batch_track_read(engine->batches, work->store, work->now);
	work->leaving = evq_dispatch_batch;
	for (int i = 0; i < LOOKS_AT_ONCE && work->leaving > 0 &&
					evq_batch_track_is_look_due(engine->batches, work->now, &batch_id);
		 i++)
		evq_engine_look_at_batch(work, &batch_id);
	evq_batch_track_rest(engine->batches);
	evq_batch_track_count_oldest(engine->batches, work->now);
	while ((flow_no = evq_batch_track_take_ready(engine->batches)) != 0)
		evq_engine_use_flow(engine, flow_no)->tell_ready = true;
}

/* What a turn does that has its lock, where the database is not paused. */
static void
run_turn(EvqEngine *engine, TimestampTz now, EvqTurn *turn, uint64 configuration)
{
	EvqWork work = {.engine = engine, .now = now, .turn = turn};
	EvqProspects flows;
	bool watch_due;

	if (engine->configuration_seen == 0 && !evq_memory_keeps_offer(engine->memory))
		engine->locked_first = evq_engine_lock_before_reading();
	if (configuration != engine->configuration_seen)
	{
		evq_config_use_groups();
		evq_memory_heed_limits(engine->memory);
		evq_memory_heed_named_limits(engine->memory);
		evq_sweep_heed_configuration(engine->sweeper);
	}
	engine->configuration_seen = configuration;

	evq_shmem_note_clock(engine->slot, now);
	work.store = evq_engine_open_store();
	evq_sweep_run(engine->sweeper, work.store, now);
	if (evq_memory_offer_missing(engine->memory))
		evq_batch_track_offer_missing(engine->batches, now);
	evq_engine_fire_timers(&work);
	evq_engine_follow_successors(&work);
	attend_to_batches(&work);
	watch_due = evq_watch_due_at(engine->watch) <= now;
	flows = evq_engine_look_at_flows(engine, now);
	work.notify = (watch_due || flows.can_dispatch || flows.must_tell) && evq_notify_has_room();
	evq_engine_dispatch(&work);
	evq_engine_tell(&work, watch_due);
	evq_store_close(work.store);
}

/*
 * One turn, in the current transaction; false = another one is under way. A
 * sweep that is too long for one turn goes on in the next. After an error the
 * engine is of no use any more.
 */
bool
evq_engine_turn(EvqEngine *engine, TimestampTz now, EvqTurn *turn)
{
	MemoryContext previous;
	uint64 configuration;

	memset(turn, 0, sizeof(*turn));
	if (!lock_turn())
		return false;
	turn->dispatched = engine->offered_directly;
	engine->offered_directly = 0;

	configuration = evq_config_use();
	turn->is_paused = evq_config_is_paused();
	if (turn->is_paused)
		return true;
	previous = MemoryContextSwitchTo(engine->turn_context);
	run_turn(engine, now, turn, configuration);
	MemoryContextSwitchTo(previous);
	MemoryContextReset(engine->turn_context);
	return true;
}
