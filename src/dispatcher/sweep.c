/*
 * sweep.c
 *		Reading the tables for what nobody told, and for what there was no memory for.
 *
 * A sweep goes over the due index of each flow, a bounded number of rows in a
 * turn, the flows taking turns: so a long backlog in one does not hide what is
 * in the others. There are two. The near one reads what ought to be
 * remembered, and is repeated while there is work that nobody may tell of. The
 * far one reads the rest, where something on its way, or urgent, may have gone
 * unnoticed; once in a while is enough. While there is work to offer, both
 * leave most of the time to it.
 *
 * Of a long backlog only what comes first is remembered: of the highest
 * priority the beginning. As that is worked off, reading on brings the next
 * part, from where the last one ended: so each row is read once, whatever its
 * position in the line, unless events of different priorities were left unread.
 * Of groups with limits the same is done for each by itself.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/guc.h"
#include "base/trace.h"
#include "dispatcher/sweep.h"
#include "session/config.h"
#include "tables/events.h"
#include "tables/walk.h"

/*
 * Rows that a sweep, or reading on, takes in one turn; more only where they are scheduled for
 * the same instant and the index is still that of 0.2. Few while there is work to offer, once
 * all was seen. To begin with a flow costs as much as some rows.
 */
#define SWEEP_BATCH 20000
#define SWEEP_BATCH_BESIDE_WORK 500
#define FLOW_COST 5

/* Rows that reading on in groups takes in one turn. */
#define GROUPS_BATCH 2000

/* Beside work, they rest so many times as long as they took. A far sweep finds little, in much. */
#define NEAR_REST_BESIDE_WORK 9
#define FAR_REST_BESIDE_WORK 19

/*
 * Of one flow, a near sweep reads so many times as many rows as can be
 * remembered, and those of the last moments: it is not to be held up by millions
 * that cannot go, say because their event type is suspended.
 */
#define NEAR_ROWS_SHARE 2

/*
 * A near sweep goes back at least so far before the last one: transactions that
 * commit late bring earlier events. Once in a while one begins at the very
 * beginning, and is followed by a far one.
 */
#define SWEEP_MARGIN (10 * USECS_PER_SEC)
#define COMPLETE_AFTER USECS_PER_MINUTE

typedef struct Sweep
{
	bool under_way;
	uint32 number;
	uint32 first_flow; /* where its next turn begins */
	int64 rests_until; /* by the monotonic clock */
} Sweep;

struct EvqSweeper
{
	MemoryContext context;
	EvqMemory *memory;
	EvqSlot *slot; /* NULL = no shared memory */
	List *flows;   /* of FlowSweep, by the memory's index of the flow */
	Sweep near;
	Sweep far;
	bool near_wanted;
	bool is_complete;       /* the near sweep began at the beginning, and a far one follows */
	bool far_wanted;        /* ... when that is over, and the last far one too */
	bool has_read;          /* a near sweep has ended */
	bool all_seen;          /* a complete sweep was made: no event on its way is unknown */
	bool is_hurried;        /* no consideration for work, until a near sweep is over: see begin_anew() */
	int64 last_near_at;     /* when one began, by the monotonic clock, as the next */
	int64 last_near_took;   /* what it took, its rests included */
	int64 last_complete_at; /* when a far one ended */
	uint32 complete_sweep;  /* number of the last near one that began at the beginning */
	uint64 announcing_seen;
	bool reads_ahead;       /* the first ones look for what is on its way beyond the horizon, too */
	TimestampTz latest_met; /* ... the latest of that */
};

/* Where a sweep over the flows stands in one of them. */
typedef struct Stand
{
	uint32 entered;      /* number of the last sweep that came here */
	uint32 done;         /* ... and had all of it */
	EvqDuePosition from; /* where that goes on */
	int64 rows;          /* that it has read here */
} Stand;

/* What sweeps know of a flow. */
typedef struct FlowSweep
{
	EvqTrackedFlow *flow;
	Stand near;
	Stand far;
	EvqDuePosition left_out_from; /* where the near sweep left rows out; infinity = nowhere */
	EvqDuePosition far_from;      /* ... the last one that had all else */
	TimestampTz first_live_at;    /* the earliest scheduled event that the last sweep met, less a margin */
	TimestampTz
		due_since; /* of the longest waiting event that this sweep met; infinity = none, as the next */
	TimestampTz permit_since;       /* ... of the oldest permit */
	EvqDuePosition reading_on_from; /* reading on has come so far */
} FlowSweep;

/* What is known of a flow; made when the first sweep comes there. */
static FlowSweep *
use_flow(EvqSweeper *sweeper, EvqTrackedFlow *flow)
{
	int index = evq_memory_flow_index(flow);
	MemoryContext previous;

	if (index < list_length(sweeper->flows))
		return list_nth(sweeper->flows, index);
	previous = MemoryContextSwitchTo(sweeper->context);
	for (int i = list_length(sweeper->flows); i <= index; i++)
	{
		FlowSweep *here = palloc0(sizeof(FlowSweep));

		here->flow = evq_memory_flow(sweeper->memory, i);
		here->first_live_at = DT_NOBEGIN;
		here->left_out_from = here->far_from = evq_due_position(DT_NOEND);
		sweeper->flows = lappend(sweeper->flows, here);
	}
	MemoryContextSwitchTo(previous);
	return list_nth(sweeper->flows, index);
}

/* Makes the sweeper of a memory, in the context. slot: NULL = without shared memory. */
EvqSweeper *
evq_sweep_create(MemoryContext context, EvqSlot *slot, EvqMemory *memory)
{
	EvqSweeper *sweeper = MemoryContextAllocZero(context, sizeof(EvqSweeper));

	sweeper->context = context;
	sweeper->memory = memory;
	sweeper->slot = slot;
	return sweeper;
}

static bool
is_near_due(const EvqSweeper *sweeper)
{
	return sweeper->near.under_way || sweeper->near_wanted || evq_memory_is_in_doubt(sweeper->memory);
}

static bool
is_far_due(const EvqSweeper *sweeper)
{
	return sweeper->far.under_way || sweeper->far_wanted;
}

/* Has a sweep begun that needs further turns? */
bool
evq_sweep_is_under_way(const EvqSweeper *sweeper)
{
	return sweeper->near.under_way || is_far_due(sweeper);
}

/* The number of the near sweep that began last. */
uint32
evq_sweep_number(const EvqSweeper *sweeper)
{
	return sweeper->near.number;
}

/* Did that begin at the very beginning: is all that is remembered to be looked at? */
bool
evq_sweep_is_complete(const EvqSweeper *sweeper)
{
	return sweeper->is_complete;
}

/* Has a near sweep ended, so that what comes first in each flow was read? */
bool
evq_sweep_has_read(const EvqSweeper *sweeper)
{
	return sweeper->has_read;
}

/* Was a complete sweep made, so that no event on its way is unknown? */
bool
evq_sweep_has_seen_all(const EvqSweeper *sweeper)
{
	return sweeper->all_seen;
}

/* ---------- reading a flow ---------- */

/* Notes what has been waiting longest, for a worker and for a worker's report. */
static void
note_oldest(FlowSweep *here, const EvqEvent *event, TimestampTz now)
{
	if (event->state == EVQ_STATE_BEING_PROCESSED)
		here->permit_since = Min(here->permit_since, event->state_since);
	else if ((event->state == EVQ_STATE_AWAITING_PROCESSING || event->state == EVQ_STATE_DISPATCHED) &&
			 event->attempt_scheduled_at <= now && event->attempt_scheduled_at < here->due_since &&
			 !evq_config_is_type_suspended(event->event_type_no))
		here->due_since = event->attempt_scheduled_at;
}

typedef enum Extent
{
	UNTIL_UNREAD, /* what ought to be remembered */
	UNTIL_FULL,   /* as much as there is memory for, and all that comes before any of that */
	ALL
} Extent;

/* Which rows are read. */
typedef struct Reading
{
	FlowSweep *here;
	EvqTrackedGroup *group; /* NULL = the flow as a whole */
	const char *group_key;
	Extent extent;
} Reading;

static bool
is_enough(const EvqMemory *memory, const Reading *reading, const EvqDuePosition *position)
{
	EvqTrackedFlow *flow = reading->here->flow;

	switch (reading->extent)
	{
		case UNTIL_UNREAD:
			return evq_due_is_before(evq_memory_unread_from(flow), position);
		case UNTIL_FULL:
			return reading->group == NULL ? evq_memory_is_full_of_first(memory, flow, position)
										  : evq_memory_is_group_full_of_first(memory, reading->group);
		case ALL:
			break;
	}
	return false;
}

static void
begin_walk(EvqStore *store, const Reading *reading, const EvqDuePosition *from)
{
	int32 flow_no = evq_memory_flow_no(reading->here->flow);

	if (reading->group == NULL)
		evq_walk_due(store, flow_no, from);
	else
		evq_walk_group(store, flow_no, reading->group_key, from);
}

/*
 * Must the flow be read beyond the horizon? What is on its way there was given
 * its turn before the clock was set back, and counts in a flow that keeps order
 * or limits.
 */
static bool
must_read_ahead(const EvqSweeper *sweeper, const EvqTrackedFlow *flow)
{
	const EvqFlow *configured = sweeper->reads_ahead ? evq_config_flow(evq_memory_flow_no(flow)) : NULL;

	return configured != NULL && evq_flow_is_regulated(configured);
}

/*
 * Reads events of a flow, or of a group, that are due soon, from a position on. false = it
 * stopped before the end of the extent, since "rows" were read, which it counts down.
 * Then, and where memory is full, "from" is the position to go on from.
 */
static bool
read_rows(EvqSweeper *sweeper, EvqStore *store, const Reading *reading, EvqDuePosition *from, int *rows,
		  TimestampTz now)
{
	EvqMemory *memory = sweeper->memory;
	FlowSweep *here = reading->here;
	Extent extent = reading->extent;
	bool reads_ahead = must_read_ahead(sweeper, here->flow);
	bool finished = true;
	bool splits_instants;
	EvqEvent event;

	begin_walk(store, reading, from);
	splits_instants = evq_walk_splits_instants(store);
	*rows -= FLOW_COST;
	while (evq_walk_next(store, &event))
	{
		TimestampTz at = event.attempt_scheduled_at;

		CHECK_FOR_INTERRUPTS();
		finished = *rows > 0 || (!splits_instants && at == from->at);
		*from = evq_due_position(at);
		if (splits_instants)
			from->event_id = event.event_id;
		if (at > now + EVQ_MEMORY_HORIZON && !(reads_ahead && extent == ALL))
		{
			evq_memory_note_future(memory, at);
			if (reads_ahead)
				here->left_out_from = evq_due_first(here->left_out_from, *from);
			break;
		}
		if (!finished || is_enough(memory, reading, from))
			break;
		(*rows)--;
		if (event.state != EVQ_STATE_AWAITING_PROCESSING)
			sweeper->latest_met = Max(sweeper->latest_met, at);
		else if (at > now + EVQ_MEMORY_HORIZON)
		{
			evq_memory_note_future(memory, at);
			continue;
		}
		here->first_live_at = Min(here->first_live_at, at);
		note_oldest(here, &event, now);
		if (extent == UNTIL_FULL)
			evq_memory_see_unread(memory, &event, reading->group != NULL, now);
		else
			evq_memory_see(memory, &event, now);
	}
	evq_walk_end(store);
	return finished;
}

/* Is there work to offer, which reading is not to hold up? */
static bool
is_beside_work(const EvqSweeper *sweeper)
{
	return !sweeper->is_hurried && sweeper->all_seen && evq_memory_has_work(sweeper->memory);
}

/* ---------- reading on ---------- */

/* In how many flows it is time to read on. */
static int
count_wanting_reading_on(const EvqSweeper *sweeper)
{
	const EvqMemory *memory = sweeper->memory;
	int count = 0;

	if (!sweeper->all_seen)
		return 0;
	for (int i = 0; i < evq_memory_flow_count(memory); i++)
		count += evq_memory_wants_reading_on(memory, evq_memory_flow(memory, i));
	return count;
}

/* Reads some of the flow's unread events. */
static void
read_on_in(EvqSweeper *sweeper, EvqStore *store, FlowSweep *here, int rows, TimestampTz now)
{
	Reading reading = {.here = here, .extent = UNTIL_FULL};

	evq_memory_begin_reading_on(here->flow, &here->reading_on_from);
	if (read_rows(sweeper, store, &reading, &here->reading_on_from, &rows, now))
		evq_memory_end_reading_on(sweeper->memory, here->flow, &here->reading_on_from);
}

/* Each flow has its share of what is read in a turn. */
static void
read_on(EvqSweeper *sweeper, EvqStore *store, TimestampTz now)
{
	EvqMemory *memory = sweeper->memory;
	int wanting = count_wanting_reading_on(sweeper);
	int batch = is_beside_work(sweeper) ? SWEEP_BATCH_BESIDE_WORK : SWEEP_BATCH;

	for (int i = 0; wanting > 0 && i < evq_memory_flow_count(memory); i++)
	{
		EvqTrackedFlow *flow = evq_memory_flow(memory, i);

		if (evq_memory_wants_reading_on(memory, flow))
			read_on_in(sweeper, store, use_flow(sweeper, flow), FLOW_COST + Max(batch / wanting, 1), now);
	}
}

/* The key of a group, from an event of it where it is not known; NULL = that has gone. */
static const char *
find_group_key(EvqMemory *memory, EvqStore *store, EvqTrackedGroup *group)
{
	EvqEvent event;

	if (evq_memory_group_key(group) == NULL &&
		(!evq_events_fetch(store, evq_memory_left_of_group(group), &event) ||
		 !evq_memory_learn_group_key(memory, group, event.group_key)))
		return NULL;
	return evq_memory_group_key(group);
}

/* Reads unread events of the groups that may go and have few in memory. */
static void
read_on_in_groups(EvqSweeper *sweeper, EvqStore *store, TimestampTz now)
{
	EvqMemory *memory = sweeper->memory;
	int rows = GROUPS_BATCH;
	EvqTrackedGroup *group;

	while (sweeper->all_seen && rows > 0 && (group = evq_memory_next_hungry(memory)) != NULL)
	{
		Reading reading = {.group = group, .extent = UNTIL_FULL};

		reading.group_key = find_group_key(memory, store, group);
		if (reading.group_key == NULL)
		{
			evq_memory_give_up_group(memory, group);
			continue;
		}
		reading.here = use_flow(sweeper, evq_memory_use_flow(memory, evq_memory_flow_no_of_group(group)));
		if (read_rows(sweeper, store, &reading, evq_memory_begin_reading_on_group(group), &rows, now))
			evq_memory_end_reading_on_group(memory, group);
	}
}

/* ---------- sweeps ---------- */

/*
 * A prepared transaction may commit without a word: while there is one, sweeps
 * go on. It is asked before the sweep takes its snapshot, which so sees the work
 * of all that are gone by then.
 */
static void
watch_prepared_transactions(EvqSlot *slot)
{
	if (slot != NULL && pg_atomic_exchange_u32(&slot->prepared, 0) != 0 && evq_sweep_any_prepared())
		pg_atomic_write_u32(&slot->prepared, 1);
}

/* Is there any prepared transaction in this database? In a transaction. */
bool
evq_sweep_any_prepared(void)
{
	bool found;

	if (max_prepared_xacts == 0)
		return false;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute("SELECT FROM pg_catalog.pg_prepared_xact() p JOIN pg_catalog.pg_database d"
					" ON p.dbid OPERATOR(pg_catalog.=) d.oid"
					" WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() LIMIT 1",
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for prepared transactions");
	found = SPI_processed > 0;
	SPI_finish();
	return found;
}

static void
begin_near(EvqSweeper *sweeper, TimestampTz wall)
{
	EvqSlot *slot = sweeper->slot;
	int64 now = evq_clock_monotonic();

	sweeper->is_complete = evq_memory_is_in_doubt(sweeper->memory) ||
						   (!is_far_due(sweeper) && now - sweeper->last_complete_at >= COMPLETE_AFTER);
	sweeper->last_near_at = now;
	sweeper->near_wanted = false;
	sweeper->near.number = evq_memory_begin_sweep(sweeper->memory);
	if (!sweeper->all_seen)
		sweeper->reads_ahead = evq_shmem_clock_was_ahead(slot, wall);
	if (slot != NULL)
	{
		/* While a transaction has yet to announce something, this sweep is not the last one. */
		uint64 announced = pg_atomic_read_u64(&slot->announced);

		sweeper->announcing_seen = pg_atomic_read_u64(&slot->announcing);
		if (sweeper->announcing_seen != announced)
			sweeper->announcing_seen = PG_UINT64_MAX;
	}
	watch_prepared_transactions(slot);
	if (sweeper->is_complete && !is_far_due(sweeper))
		sweeper->complete_sweep = sweeper->near.number;
}

/*
 * Finished events leave dead index entries behind, all of them early ones; only
 * a complete sweep goes over those again.
 */
static void
enter_near(EvqSweeper *sweeper, FlowSweep *here, TimestampTz now)
{
	here->near.from = evq_due_position(DT_NOBEGIN);
	if (!sweeper->is_complete)
		here->near.from = evq_due_first(evq_due_position(here->first_live_at),
										*evq_memory_unread_from(here->flow));
	here->left_out_from = evq_due_position(DT_NOEND);
	here->first_live_at = now - SWEEP_MARGIN;
	here->due_since = here->permit_since = DT_NOEND;
}

static void
leave_near(EvqSweeper *sweeper, FlowSweep *here, TimestampTz now)
{
	int32 flow_no = evq_memory_flow_no(here->flow);

	here->far_from = here->left_out_from;
	if (sweeper->slot != NULL)
		evq_counters_set_oldest(sweeper->slot->counters, flow_no, false,
								evq_config_is_flow_paused(flow_no, now) ? DT_NOEND : here->due_since,
								here->permit_since);
}

static void
end_near(EvqSweeper *sweeper, TimestampTz now)
{
	sweeper->has_read = true;
	sweeper->last_near_took = evq_clock_monotonic() - sweeper->last_near_at;
	sweeper->far_wanted |= sweeper->is_complete;
	evq_memory_end_near_sweep(sweeper->memory, sweeper->near.number, sweeper->is_complete, now);
	EVQ_TRACE(DEBUG1, "evq: %s sweep %u took %lld ms; %ld events are remembered",
			  sweeper->is_complete ? "complete near" : "near", sweeper->near.number,
			  (long long) (sweeper->last_near_took / 1000), evq_memory_count(sweeper->memory));
}

static void
end_far(EvqSweeper *sweeper, TimestampTz now)
{
	sweeper->last_complete_at = evq_clock_monotonic();
	if (!sweeper->all_seen)
		evq_shmem_begin_noting_clock(sweeper->slot, Max(now, sweeper->latest_met));
	sweeper->all_seen = true;
	sweeper->reads_ahead = false;
	evq_memory_end_far_sweep(sweeper->memory, sweeper->complete_sweep, now);
	EVQ_TRACE(DEBUG1, "evq: far sweep %u ended; %ld events are remembered", sweeper->far.number,
			  evq_memory_count(sweeper->memory));
}

/* The near sweep has read much of the flow: it leaves out what comes before the last moments. */
static void
leave_out(FlowSweep *here, TimestampTz now)
{
	if (here->near.rows < NEAR_ROWS_SHARE * (int64) evq_max_tracked ||
		here->near.from.at >= now - SWEEP_MARGIN)
		return;
	here->left_out_from = here->near.from;
	here->near.from = evq_due_position(now - SWEEP_MARGIN);
}

/* Enters the flow, if this is the sweep's first turn there, and reads some of its rows; true = it has had all of it. */
static bool
visit(EvqSweeper *sweeper, Sweep *sweep, FlowSweep *here, EvqStore *store, int *rows, TimestampTz now)
{
	bool is_near = sweep == &sweeper->near;
	Reading reading = {.here = here, .extent = is_near ? UNTIL_UNREAD : ALL};
	Stand *stand = is_near ? &here->near : &here->far;
	int before = *rows;

	if (stand->entered != sweep->number)
	{
		stand->entered = sweep->number;
		stand->rows = 0;
		if (is_near)
			enter_near(sweeper, here, now);
		else
			stand->from = evq_due_first(*evq_memory_unread_from(here->flow), here->far_from);
	}
	if (read_rows(sweeper, store, &reading, &stand->from, rows, now))
	{
		stand->done = sweep->number;
		if (is_near)
			leave_near(sweeper, here, now);
		return true;
	}
	stand->rows += before - *rows;
	if (is_near)
		leave_out(here, now);
	return false;
}

/* Goes on with a sweep, a bounded number of rows; true = it has been everywhere. */
static bool
go_on(EvqSweeper *sweeper, Sweep *sweep, EvqStore *store, TimestampTz now)
{
	int flow_count;
	const EvqFlow *flows = evq_config_flows(&flow_count);
	int rows = is_beside_work(sweeper) ? SWEEP_BATCH_BESIDE_WORK : SWEEP_BATCH;
	bool is_over = true;

	for (int i = 0; i < flow_count; i++)
	{
		int32 flow_no = flows[(sweep->first_flow + i) % flow_count].flow_no;
		FlowSweep *here = use_flow(sweeper, evq_memory_use_flow(sweeper->memory, flow_no));

		CHECK_FOR_INTERRUPTS();
		if ((sweep == &sweeper->near ? here->near : here->far).done == sweep->number)
			continue;
		is_over &= rows > 0 && visit(sweeper, sweep, here, store, &rows, now);
	}
	sweep->first_flow++;
	return is_over;
}

static bool
is_resting(const EvqSweeper *sweeper, const Sweep *sweep)
{
	return is_beside_work(sweeper) && evq_clock_monotonic() < sweep->rests_until;
}

static bool
may_run_near(const EvqSweeper *sweeper)
{
	return is_near_due(sweeper) && !is_resting(sweeper, &sweeper->near);
}

static bool
may_run_far(const EvqSweeper *sweeper)
{
	return is_far_due(sweeper) && !is_resting(sweeper, &sweeper->far);
}

/* Ends a sweep's part of a turn: counts the time, and lets the sweep rest for "rest" times as long, where it is beside work. */
static void
end_turn(EvqSweeper *sweeper, Sweep *sweep, int64 began_at, int rest)
{
	int64 took = evq_clock_monotonic() - began_at;

	sweep->rests_until = began_at + (1 + rest) * took;
	if (sweeper->slot != NULL)
		evq_counters_add_sweep(sweeper->slot->counters, took);
}

static void
run_near(EvqSweeper *sweeper, EvqStore *store, TimestampTz now)
{
	int64 began_at = evq_clock_monotonic();

	if (!sweeper->near.under_way)
		begin_near(sweeper, now);
	sweeper->near.under_way = !go_on(sweeper, &sweeper->near, store, now);
	if (!sweeper->near.under_way)
		end_near(sweeper, now);
	end_turn(sweeper, &sweeper->near, began_at, NEAR_REST_BESIDE_WORK);
}

static void
run_far(EvqSweeper *sweeper, EvqStore *store, TimestampTz now)
{
	int64 began_at = evq_clock_monotonic();

	if (!sweeper->far.under_way)
	{
		sweeper->far_wanted = false;
		sweeper->far.number++;
	}
	sweeper->far.under_way = !go_on(sweeper, &sweeper->far, store, now);
	if (!sweeper->far.under_way)
		end_far(sweeper, now);
	end_turn(sweeper, &sweeper->far, began_at, FAR_REST_BESIDE_WORK);
}

/*
 * Events that sweeps went by may be available now. What comes first among them
 * is to be offered first, so what waits is forgotten, to be met again in line,
 * and sweeps under way are given up; until a near one is over, turns read as
 * much as where there is no work.
 */
static void
begin_anew(EvqSweeper *sweeper)
{
	sweeper->is_hurried = true;
	sweeper->near.under_way = false;
	sweeper->far_wanted |= sweeper->far.under_way;
	sweeper->far.under_way = false;
	evq_memory_forget_waiting(sweeper->memory);
}

/* The configuration is another: all live events are looked at again. */
void
evq_sweep_heed_configuration(EvqSweeper *sweeper)
{
	evq_memory_doubt(sweeper->memory);
	if (evq_memory_forget_passed_by(sweeper->memory) && sweeper->all_seen)
		begin_anew(sweeper);
}

/* Reads what is to be read in this turn. */
void
evq_sweep_run(EvqSweeper *sweeper, EvqStore *store, TimestampTz now)
{
	read_on(sweeper, store, now);
	read_on_in_groups(sweeper, store, now);
	if (may_run_near(sweeper))
		run_near(sweeper, store, now);
	if (sweeper->is_hurried && sweeper->near.under_way)
		return;
	if (may_run_far(sweeper))
		run_far(sweeper, store, now);
	sweeper->is_hurried = false;
}

/* ---------- when ---------- */

/* Is there work that must be looked for although nobody tells of it? */
static bool
must_poll(const EvqSweeper *sweeper)
{
	EvqSlot *slot = sweeper->slot;

	if (evq_memory_has_parked(sweeper->memory) || evq_memory_count(sweeper->memory) > 0)
		return true;
	if (slot == NULL)
		return false;
	return pg_atomic_read_u32(&slot->prepared) != 0 ||
		   pg_atomic_read_u64(&slot->announcing) != sweeper->announcing_seen;
}

/* Microseconds until a near sweep is made whatever was told. At most half of the time is spent on them. */
static int64
time_to_poll(const EvqSweeper *sweeper)
{
	int64 interval = Max((int64) evq_poll_interval * 1000, 2 * sweeper->last_near_took);

	return Max(sweeper->last_near_at + interval - evq_clock_monotonic(), 0);
}

/* Microseconds until it may be gone on with. */
static int64
time_to_rest(const Sweep *sweep)
{
	return Max(sweep->rests_until - evq_clock_monotonic(), 0);
}

/* When a sweep is to fetch what was beyond the horizon; infinity = nothing was. */
static TimestampTz
future_sweep_at(const EvqSweeper *sweeper)
{
	TimestampTz at = evq_memory_future_at(sweeper->memory);

	return TIMESTAMP_IS_NOEND(at) ? at : at - EVQ_MEMORY_HORIZON / 2;
}

/* Is something to be read now? */
bool
evq_sweep_is_due(EvqSweeper *sweeper, TimestampTz now)
{
	EvqSlot *slot = sweeper->slot;

	if (slot != NULL && pg_atomic_exchange_u32(&slot->look_now, 0) != 0)
		evq_memory_doubt(sweeper->memory);
	if (!sweeper->near.under_way &&
		((must_poll(sweeper) && time_to_poll(sweeper) == 0) || future_sweep_at(sweeper) <= now))
		sweeper->near_wanted = true;
	return count_wanting_reading_on(sweeper) > 0 ||
		   (sweeper->all_seen && evq_memory_has_hungry(sweeper->memory)) || may_run_near(sweeper) ||
		   may_run_far(sweeper);
}

/* The time until which nothing is to be read, if nobody tells of anything. */
TimestampTz
evq_sweep_next_at(const EvqSweeper *sweeper, TimestampTz now)
{
	TimestampTz next_at = now +
						  (must_poll(sweeper) ? time_to_poll(sweeper) : (int64) evq_poll_interval * 1000);

	if (is_near_due(sweeper))
		next_at = now + time_to_rest(&sweeper->near);
	if (is_far_due(sweeper))
		next_at = Min(next_at, now + time_to_rest(&sweeper->far));
	return Min(next_at, future_sweep_at(sweeper));
}
