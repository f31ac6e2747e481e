/*
 * pass.c
 *		Reading the tables for what nobody told, and for what there was no memory for.
 *
 * A pass goes over the due index of each flow, a bounded number of rows in a
 * turn, the flows taking turns: so a long backlog in one does not hide what is
 * in the others. It is made in two tours. The near one reads what ought to be
 * remembered, and is repeated while there is work that nobody may tell of. The
 * far one reads the rest, where something on its way, or urgent, may have gone
 * unnoticed; once in a while is enough. While there is work to offer, both
 * leave most of the time to it.
 *
 * Of a long backlog only what comes first is remembered: of the highest
 * priority the beginning. As that is worked off, reading on brings the next
 * part, from where the last one ended: so each row is read once, whatever its
 * place in the line, unless events of different priorities were left unread.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/guc.h"
#include "dispatcher/pass.h"
#include "session/config.h"

/*
 * Rows that a tour, or reading on, takes in one turn; more only where they are scheduled for
 * the same instant and the index is still that of 0.2. Few while there is work to offer, once
 * all was seen. To begin with a flow costs as much as some rows.
 */
#define TOUR_BATCH 20000
#define TOUR_BATCH_BESIDE_WORK 500
#define FLOW_COST 5

/* Beside work, they rest so many times as long as they took. A far tour finds little, in much. */
#define NEAR_REST_BESIDE_WORK 9
#define FAR_REST_BESIDE_WORK 19

/*
 * Of one flow, a near tour reads so many times as many rows as can be
 * remembered, and those of the last moments: it is not to be held up by millions
 * that cannot go, say because their event type is suspended.
 */
#define NEAR_ROWS_SHARE 2

/*
 * A near tour goes back at least so far before the last one: transactions that
 * commit late bring earlier events. Once in a while one begins at the very
 * beginning, and is followed by a far one.
 */
#define TOUR_MARGIN (10 * USECS_PER_SEC)
#define COMPLETE_AFTER USECS_PER_MINUTE

typedef struct Tour
{
	bool under_way;
	uint32 number;
	uint32 first_flow; /* where its next turn begins */
	int64 rests_until; /* by the monotonic clock */
} Tour;

struct EvqPass
{
	EvqLive *live;
	Tour near;
	Tour far;
	bool is_complete;   /* the near tour began at the beginning, and a far one follows */
	bool far_wanted;    /* ... when that is over, and the last far one too */
	bool has_read;      /* a near tour has ended */
	bool is_hurried;    /* no consideration for work, until a near tour is over: see evq_pass_begin_anew() */
	int64 last_near_at; /* when one began, by the monotonic clock, as the next */
	int64 last_near_took;   /* what it took, its rests included */
	int64 last_complete_at; /* when a far one ended */
	uint32 complete_pass;   /* see evq_track_begin_pass(): the last one that began at the beginning */
	uint64 announcing_seen;
	bool reads_ahead;       /* the first ones look for what is on its way beyond the horizon, too */
	TimestampTz latest_met; /* ... the latest of that */
};

EvqPass *
evq_pass_create(EvqLive *live)
{
	EvqPass *pass = MemoryContextAllocZero(live->context, sizeof(EvqPass));

	pass->live = live;
	return pass;
}

static bool
is_near_due(const EvqPass *pass)
{
	return pass->near.under_way || pass->live->pass_wanted;
}

static bool
is_far_due(const EvqPass *pass)
{
	return pass->far.under_way || pass->far_wanted;
}

/* Has a pass begun that needs further turns? */
bool
evq_pass_is_under_way(const EvqPass *pass)
{
	return pass->near.under_way || is_far_due(pass);
}

/* Has it read what comes first in each flow? */
bool
evq_pass_has_read(const EvqPass *pass)
{
	return pass->has_read;
}

/* ---------- reading a flow ---------- */

/* Notes what has been waiting longest, for a worker and for a worker's report. */
static void
note_oldest(EvqTrackedFlow *flow, const EvqEvent *event, TimestampTz now)
{
	if (event->state == EVQ_STATE_BEING_PROCESSED)
		flow->permit_since = Min(flow->permit_since, event->state_since);
	else if ((event->state == EVQ_STATE_AWAITING_PROCESSING || event->state == EVQ_STATE_DISPATCHED) &&
			 event->attempt_scheduled_at <= now && event->attempt_scheduled_at < flow->due_since &&
			 !evq_live_is_type_suspended(event->event_type_no))
		flow->due_since = event->attempt_scheduled_at;
}

typedef enum Extent
{
	UNTIL_UNREAD, /* what ought to be remembered */
	UNTIL_FULL,   /* as much as there is memory for, and all that comes before any of that */
	ALL
} Extent;

/* Is memory full of events whose turn is before that of all unread ones, which come later in line? */
static bool
is_full_of_first(const EvqLive *live, const EvqTrackedFlow *flow)
{
	const EvqTracked *last = evq_track_last_waiting(flow);

	return evq_track_is_full(live->track, flow, evq_max_tracked) &&
		   (last == NULL || last->facts.priority >= flow->unread.priority);
}

static bool
is_enough(const EvqLive *live, const EvqTrackedFlow *flow, Extent extent, const EvqLinePlace *place)
{
	return (extent == UNTIL_UNREAD && evq_line_is_before(&flow->unread.from, place)) ||
		   (extent == UNTIL_FULL && is_full_of_first(live, flow));
}

/*
 * Must the flow be read beyond the horizon? What is on its way there was given
 * its turn before the clock was set back, and counts in a flow that keeps order
 * or limits.
 */
static bool
must_read_ahead(const EvqPass *pass, const EvqTrackedFlow *flow)
{
	const EvqFlow *configured = pass->reads_ahead ? evq_config_flow(flow->flow_no) : NULL;

	return configured != NULL && evq_flow_is_regulated(configured);
}

/*
 * Reads the flow's events that are due soon, from a place on. false = it stopped
 * before the end of the extent, since "rows" were read, which it counts down.
 * Then, and where memory is full, "from" is the place to go on from.
 */
static bool
read_flow(EvqPass *pass, EvqStore *store, EvqTrackedFlow *flow, EvqLinePlace *from, int *rows, Extent extent,
		  TimestampTz now)
{
	EvqLive *live = pass->live;
	bool reads_ahead = must_read_ahead(pass, flow);
	bool finished = true;
	bool splits_instants;
	EvqEvent event;

	evq_store_walk_due(store, flow->flow_no, from);
	splits_instants = evq_store_walk_splits_instants(store);
	*rows -= FLOW_COST;
	while (evq_store_walk_next(store, &event))
	{
		TimestampTz at = event.attempt_scheduled_at;

		CHECK_FOR_INTERRUPTS();
		finished = *rows > 0 || (!splits_instants && at == from->at);
		*from = evq_line_place(at);
		if (splits_instants)
			from->event_id = event.event_id;
		if (at > now + EVQ_LIVE_HORIZON && !(reads_ahead && extent == ALL))
		{
			evq_live_note_future(live, at);
			if (reads_ahead)
				flow->left_out_from = evq_line_first(flow->left_out_from, *from);
			break;
		}
		if (!finished || is_enough(live, flow, extent, from))
			break;
		(*rows)--;
		if (event.state != EVQ_STATE_AWAITING_PROCESSING)
			pass->latest_met = Max(pass->latest_met, at);
		else if (at > now + EVQ_LIVE_HORIZON)
		{
			evq_live_note_future(live, at);
			continue;
		}
		flow->first_live_at = Min(flow->first_live_at, at);
		note_oldest(flow, &event, now);
		evq_live_see(live, &event, now);
	}
	evq_store_walk_end(store);
	return finished;
}

static bool
has_work(const EvqTrackedFlow *flow)
{
	return flow->count[EVQ_TRACK_READY] > 0 || flow->count[EVQ_TRACK_OFFERED] > 0;
}

static bool
is_beside_work(const EvqPass *pass)
{
	return !pass->is_hurried && pass->live->all_seen && evq_live_any_flow(pass->live, has_work);
}

/* ---------- reading on ---------- */

/* Is it time to read on? It begins when half of the memory is free again, and ends when none is. */
static bool
wants_reading_on(const EvqPass *pass, const EvqTrackedFlow *flow)
{
	return flow->is_reading_on || (evq_track_is_unread(flow) && pass->live->all_seen &&
								   !evq_track_is_full(pass->live->track, flow, evq_max_tracked / 2));
}

static int
count_wanting_reading_on(const EvqPass *pass)
{
	int count = 0;
	ListCell *cell;

	foreach(cell, evq_track_flows(pass->live->track))
		count += wants_reading_on(pass, lfirst(cell));
	return count;
}

/* Reads some of the flow's unread events. What is left unread now is all that is, when it has come to its end. */
static void
read_on_in(EvqPass *pass, EvqStore *store, EvqTrackedFlow *flow, int rows, TimestampTz now)
{
	EvqLive *live = pass->live;
	bool finished;

	if (!flow->is_reading_on)
	{
		flow->is_reading_on = true;
		flow->reading_on_from = flow->unread.from;
		evq_track_leave_none_unread(&flow->unread_anew);
	}
	live->is_reading_on = true;
	finished = read_flow(pass, store, flow, &flow->reading_on_from, &rows, UNTIL_FULL, now);
	live->is_reading_on = false;
	if (!finished)
		return;
	if (is_full_of_first(live, flow))
		evq_track_leave_unread(&flow->unread_anew, &flow->reading_on_from, flow->unread.priority);
	flow->unread = flow->unread_anew;
	flow->is_reading_on = false;
}

/* Each flow has its share of what is read in a turn. */
static void
read_on(EvqPass *pass, EvqStore *store, TimestampTz now)
{
	int flow_count = count_wanting_reading_on(pass);
	int batch = is_beside_work(pass) ? TOUR_BATCH_BESIDE_WORK : TOUR_BATCH;
	ListCell *cell;

	foreach(cell, evq_track_flows(pass->live->track))
	{
		EvqTrackedFlow *flow = lfirst(cell);

		if (wants_reading_on(pass, flow))
			read_on_in(pass, store, flow, FLOW_COST + Max(batch / Max(flow_count, 1), 1), now);
	}
}

/* ---------- passes ---------- */

/*
 * A prepared transaction may commit without a word: while there is one, passes
 * go on. It is asked before the pass takes its snapshot, which so sees the work
 * of all that are gone by then.
 */
static void
watch_prepared_transactions(EvqPlace *place)
{
	if (place != NULL && pg_atomic_exchange_u32(&place->prepared, 0) != 0 && evq_pass_any_prepared())
		pg_atomic_write_u32(&place->prepared, 1);
}

/* Is there any prepared transaction in this database? In a transaction. */
bool
evq_pass_any_prepared(void)
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
begin_near(EvqPass *pass, TimestampTz wall)
{
	EvqLive *live = pass->live;
	EvqPlace *place = live->place;
	int64 now = evq_clock_monotonic();

	pass->is_complete = live->complete_wanted ||
						(!is_far_due(pass) && now - pass->last_complete_at >= COMPLETE_AFTER);
	pass->last_near_at = now;
	live->pass_wanted = live->complete_wanted = false;
	live->parked_anew = false;
	live->future_anew = DT_NOEND;
	if (!live->all_seen)
		pass->reads_ahead = evq_shmem_clock_was_ahead(place, wall);
	if (place != NULL)
	{
		/* While a transaction has yet to announce something, this pass is not the last one. */
		uint64 announced = pg_atomic_read_u64(&place->announced);

		pass->announcing_seen = pg_atomic_read_u64(&place->announcing);
		if (pass->announcing_seen != announced)
			pass->announcing_seen = PG_UINT64_MAX;
	}
	watch_prepared_transactions(place);
	pass->near.number = evq_track_begin_pass(live->track);
	if (pass->is_complete && !is_far_due(pass))
		pass->complete_pass = pass->near.number;
}

/*
 * Finished events leave dead index entries behind, all of them early ones; only
 * a complete pass goes over those again.
 */
static void
enter_near(EvqPass *pass, EvqTrackedFlow *flow, TimestampTz now)
{
	flow->near.from = evq_line_place(DT_NOBEGIN);
	if (!pass->is_complete)
		flow->near.from = evq_line_first(evq_line_place(flow->first_live_at), flow->unread.from);
	flow->left_out_from = evq_line_place(DT_NOEND);
	flow->first_live_at = now - TOUR_MARGIN;
	flow->due_since = flow->permit_since = DT_NOEND;
}

static void
leave_near(EvqPass *pass, EvqTrackedFlow *flow)
{
	EvqPlace *place = pass->live->place;

	flow->far_from = flow->left_out_from;
	if (place != NULL)
		evq_counters_set_oldest(place->counters, flow->flow_no, flow->due_since, flow->permit_since);
}

static void
end_near(EvqPass *pass, TimestampTz now)
{
	EvqLive *live = pass->live;

	pass->has_read = true;
	pass->last_near_took = evq_clock_monotonic() - pass->last_near_at;
	pass->far_wanted |= pass->is_complete;
	live->parked = live->parked_anew;
	live->future_at = live->future_anew;
	evq_track_look_at_unseen(live->track, pass->near.number, false, now);
}

static void
end_far(EvqPass *pass, TimestampTz now)
{
	pass->last_complete_at = evq_clock_monotonic();
	if (!pass->live->all_seen)
		evq_shmem_begin_noting_clock(pass->live->place, Max(now, pass->latest_met));
	pass->live->all_seen = true;
	pass->reads_ahead = false;
	evq_track_look_at_unseen(pass->live->track, pass->complete_pass, true, now);
}

/* The near tour has read much of the flow: it leaves out what comes before the last moments. */
static void
leave_out(EvqTrackedFlow *flow, TimestampTz now)
{
	if (flow->near.rows < NEAR_ROWS_SHARE * (int64) evq_max_tracked ||
		flow->near.from.at >= now - TOUR_MARGIN)
		return;
	flow->left_out_from = flow->near.from;
	flow->near.from = evq_line_place(now - TOUR_MARGIN);
}

/* Enters the flow, if this is the tour's first turn there, and reads some of its rows; true = it has had all of it. */
static bool
visit(EvqPass *pass, Tour *tour, EvqTrackedFlow *flow, EvqStore *store, int *rows, TimestampTz now)
{
	bool is_near = tour == &pass->near;
	EvqTrackedTour *here = is_near ? &flow->near : &flow->far;
	int before = *rows;

	if (here->entered != tour->number)
	{
		here->entered = tour->number;
		here->rows = 0;
		if (is_near)
			enter_near(pass, flow, now);
		else
			here->from = evq_line_first(flow->unread.from, flow->far_from);
	}
	if (read_flow(pass, store, flow, &here->from, rows, is_near ? UNTIL_UNREAD : ALL, now))
	{
		here->done = tour->number;
		if (is_near)
			leave_near(pass, flow);
		return true;
	}
	here->rows += before - *rows;
	if (is_near)
		leave_out(flow, now);
	return false;
}

/* Goes on with a tour, a bounded number of rows; true = it has been everywhere. */
static bool
go_on(EvqPass *pass, Tour *tour, EvqStore *store, TimestampTz now)
{
	int flow_count;
	const EvqFlow *flows = evq_config_flows(&flow_count);
	int rows = is_beside_work(pass) ? TOUR_BATCH_BESIDE_WORK : TOUR_BATCH;
	bool is_over = true;

	for (int i = 0; i < flow_count; i++)
	{
		int32 flow_no = flows[(tour->first_flow + i) % flow_count].flow_no;
		EvqTrackedFlow *flow = evq_track_use_flow(pass->live->track, flow_no);

		CHECK_FOR_INTERRUPTS();
		if ((tour == &pass->near ? flow->near : flow->far).done == tour->number)
			continue;
		is_over &= rows > 0 && visit(pass, tour, flow, store, &rows, now);
	}
	tour->first_flow++;
	return is_over;
}

static bool
is_resting(const EvqPass *pass, const Tour *tour)
{
	return is_beside_work(pass) && evq_clock_monotonic() < tour->rests_until;
}

static bool
may_run_near(const EvqPass *pass)
{
	return is_near_due(pass) && !is_resting(pass, &pass->near);
}

static bool
may_run_far(const EvqPass *pass)
{
	return is_far_due(pass) && !is_resting(pass, &pass->far);
}

/* Notes how long a turn of a tour took, and when the next one may be. */
static void
end_turn(EvqPass *pass, Tour *tour, int64 began_at, int rest)
{
	int64 took = evq_clock_monotonic() - began_at;

	tour->rests_until = began_at + (1 + rest) * took;
	if (pass->live->place != NULL)
		evq_counters_add_sweep(pass->live->place->counters, took);
}

static void
run_near(EvqPass *pass, EvqStore *store, TimestampTz now)
{
	int64 began_at = evq_clock_monotonic();

	if (!pass->near.under_way)
		begin_near(pass, now);
	pass->near.under_way = !go_on(pass, &pass->near, store, now);
	if (!pass->near.under_way)
		end_near(pass, now);
	end_turn(pass, &pass->near, began_at, NEAR_REST_BESIDE_WORK);
}

static void
run_far(EvqPass *pass, EvqStore *store, TimestampTz now)
{
	int64 began_at = evq_clock_monotonic();

	if (!pass->far.under_way)
	{
		pass->far_wanted = false;
		pass->far.number++;
	}
	pass->far.under_way = !go_on(pass, &pass->far, store, now);
	if (!pass->far.under_way)
		end_far(pass, now);
	end_turn(pass, &pass->far, began_at, FAR_REST_BESIDE_WORK);
}

/*
 * Events that passes went by may be available now. What comes first among them
 * is to be offered first, so what waits is forgotten, to be met again in line,
 * and tours under way are given up; until a near one is over, turns read as
 * much as where there is no work.
 */
void
evq_pass_begin_anew(EvqPass *pass)
{
	evq_live_want_pass(pass->live);
	if (!pass->live->all_seen)
		return;
	pass->is_hurried = true;
	pass->near.under_way = false;
	pass->far_wanted |= pass->far.under_way;
	pass->far.under_way = false;
	evq_track_forget_waiting(pass->live->track);
}

/* Reads what is to be read in this turn. */
void
evq_pass_run(EvqPass *pass, EvqStore *store, TimestampTz now)
{
	read_on(pass, store, now);
	if (may_run_near(pass))
		run_near(pass, store, now);
	if (pass->is_hurried && pass->near.under_way)
		return;
	if (may_run_far(pass))
		run_far(pass, store, now);
	pass->is_hurried = false;
}

/* ---------- when ---------- */

/* Is there work that must be looked for although nobody tells of it? */
static bool
must_poll(const EvqPass *pass)
{
	EvqPlace *place = pass->live->place;

	if (pass->live->parked || evq_track_count(pass->live->track) > 0)
		return true;
	if (place == NULL)
		return false;
	return pg_atomic_read_u32(&place->prepared) != 0 ||
		   pg_atomic_read_u64(&place->announcing) != pass->announcing_seen;
}

/* Microseconds until a near tour is made whatever was told. At most half of the time is spent on them. */
static int64
time_to_poll(const EvqPass *pass)
{
	int64 interval = Max((int64) evq_poll_interval * 1000, 2 * pass->last_near_took);

	return Max(pass->last_near_at + interval - evq_clock_monotonic(), 0);
}

/* Microseconds until it may be gone on with. */
static int64
time_to_rest(const Tour *tour)
{
	return Max(tour->rests_until - evq_clock_monotonic(), 0);
}

/* Is something to be read now? */
bool
evq_pass_is_due(EvqPass *pass, TimestampTz now)
{
	EvqLive *live = pass->live;

	if (live->place != NULL && pg_atomic_exchange_u32(&live->place->look_now, 0) != 0)
		evq_live_want_pass(live);
	if (!pass->near.under_way &&
		((must_poll(pass) && time_to_poll(pass) == 0) || live->future_at - EVQ_LIVE_HORIZON / 2 <= now))
		live->pass_wanted = true;
	return count_wanting_reading_on(pass) > 0 || may_run_near(pass) || may_run_far(pass);
}

/* The time until which nothing is to be read, if nobody tells of anything. */
TimestampTz
evq_pass_next_at(const EvqPass *pass, TimestampTz now)
{
	const EvqLive *live = pass->live;
	TimestampTz next_at = now + (must_poll(pass) ? time_to_poll(pass) : (int64) evq_poll_interval * 1000);

	if (is_near_due(pass))
		next_at = now + time_to_rest(&pass->near);
	if (is_far_due(pass))
		next_at = Min(next_at, now + time_to_rest(&pass->far));
	if (!TIMESTAMP_IS_NOEND(live->future_at))
		next_at = Min(next_at, live->future_at - EVQ_LIVE_HORIZON / 2);
	return next_at;
}
