/*
 * pass.c
 *		Reading the tables for what nobody told, and for what there was no memory for.
 *
 * A pass goes over the due index of each flow, a bounded number of rows in a
 * turn, the flows taking turns: so a long backlog in one does not hide what is
 * in the others. While there is work to offer, passes leave most of the time to
 * it.
 *
 * Of a long backlog only the beginning is remembered. As that is worked off,
 * reading on brings the next part, from where the last one ended: so each row
 * is read once, whatever its place in the line.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "config.h"
#include "guc.h"
#include "pass.h"

/*
 * Rows that a pass reads in one turn; more only where they are scheduled for
 * the same instant. Few while there is work to offer, once all was seen.
 */
#define PASS_BATCH 20000
#define PASS_BATCH_BESIDE_WORK 500

/* Beside work, a pass rests so many times as long as it took. */
#define REST_BESIDE_WORK 9

/* Reading on brings so many times more in a turn than can be dispatched in it. */
#define READ_AHEAD 2

/*
 * A pass goes back at least so far before the last one: transactions that
 * commit late bring earlier events. A complete one is made once in a while.
 */
#define PASS_MARGIN (10 * USECS_PER_SEC)
#define COMPLETE_PASS_AFTER USECS_PER_MINUTE

struct EvqPass
{
	EvqLive *live;
	bool under_way;
	bool is_complete;       /* the present one reads all, not what ought to be remembered only */
	uint32 number;          /* of the present one */
	uint32 first_flow;      /* where its next turn begins */
	int64 rests_until;      /* by the monotonic clock, as the next */
	int64 last_at;          /* when one ended */
	int64 last_complete_at; /* ... one that read all */
	uint64 announcing_seen;
};

EvqPass *
evq_pass_create(EvqLive *live)
{
	EvqPass *pass = MemoryContextAllocZero(live->context, sizeof(EvqPass));

	pass->live = live;
	return pass;
}

/* Has a pass begun that needs further turns? */
bool
evq_pass_is_under_way(const EvqPass *pass)
{
	return pass->under_way;
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
	UNTIL_FULL,   /* as much as there is memory for */
	ALL
} Extent;

static bool
is_enough(const EvqLive *live, const EvqTrackedFlow *flow, Extent extent, TimestampTz at)
{
	return (extent == UNTIL_UNREAD && at > flow->unread_from) ||
		   (extent == UNTIL_FULL && evq_track_is_full(live->track, flow, evq_max_tracked));
}

/*
 * Reads the flow's events that are due soon, from a time on. false = it stopped
 * before the end of the extent, since "rows" were read, which it counts down.
 * Then, and where memory is full, "from" is the time to go on from.
 */
static bool
read_flow(EvqLive *live, EvqStore *store, EvqTrackedFlow *flow, TimestampTz *from, int *rows, Extent extent,
		  TimestampTz now)
{
	bool finished = true;
	EvqEvent event;

	evq_store_walk_due(store, flow->flow_no, *from);
	while (evq_store_walk_next(store, &event))
	{
		TimestampTz at = event.attempt_scheduled_at;

		CHECK_FOR_INTERRUPTS();
		finished = *rows > 0 || at == *from;
		*from = at;
		if (at > now + EVQ_LIVE_HORIZON)
			evq_live_note_future(live, at);
		if (at > now + EVQ_LIVE_HORIZON || !finished || is_enough(live, flow, extent, at))
			break;
		flow->first_live_at = Min(flow->first_live_at, at);
		note_oldest(flow, &event, now);
		evq_live_see(live, &event, now);
		(*rows)--;
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
	return pass->live->all_seen && evq_live_any_flow(pass->live, has_work);
}

/* ---------- reading on ---------- */

/* Is it time to read on? It begins when half of the memory is free again, and ends when none is. */
static bool
wants_reading_on(const EvqPass *pass, const EvqTrackedFlow *flow)
{
	return evq_track_is_unread(flow) && pass->live->all_seen &&
		   !evq_track_is_full(pass->live->track, flow,
							  flow->is_reading_on ? evq_max_tracked : evq_max_tracked / 2);
}

static bool
any_wants_reading_on(const EvqPass *pass)
{
	ListCell *cell;

	foreach(cell, evq_track_flows(pass->live->track))
	{
		if (wants_reading_on(pass, lfirst(cell)))
			return true;
	}
	return false;
}

static void
read_on(EvqPass *pass, EvqStore *store, TimestampTz now)
{
	EvqLive *live = pass->live;
	ListCell *cell;

	foreach(cell, evq_track_flows(live->track))
	{
		EvqTrackedFlow *flow = lfirst(cell);
		int rows = Max(READ_AHEAD * evq_dispatch_batch, PASS_BATCH_BESIDE_WORK);
		TimestampTz from = flow->unread_from;

		flow->is_reading_on = wants_reading_on(pass, flow);
		if (!flow->is_reading_on)
			continue;
		flow->unread_from = DT_NOEND;
		if (!read_flow(live, store, flow, &from, &rows, UNTIL_FULL, now) ||
			evq_track_is_full(live->track, flow, evq_max_tracked))
			evq_track_leave_unread(flow, from);
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
	if (place == NULL || pg_atomic_exchange_u32(&place->prepared, 0) == 0)
		return;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute("SELECT FROM pg_catalog.pg_prepared_xact() p JOIN pg_catalog.pg_database d"
					" ON p.dbid OPERATOR(pg_catalog.=) d.oid"
					" WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() LIMIT 1",
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for prepared transactions");
	if (SPI_processed > 0)
		pg_atomic_write_u32(&place->prepared, 1);
	SPI_finish();
}

static void
begin_pass(EvqPass *pass)
{
	EvqLive *live = pass->live;
	EvqPlace *place = live->place;

	pass->is_complete = live->complete_wanted ||
						evq_clock_monotonic() - pass->last_complete_at >= COMPLETE_PASS_AFTER;
	live->pass_wanted = live->complete_wanted = false;
	live->parked_anew = false;
	live->future_anew = DT_NOEND;
	pass->under_way = true;
	if (place != NULL)
	{
		/* While a transaction has yet to announce something, this pass is not the last one. */
		uint64 announced = pg_atomic_read_u64(&place->announced);

		pass->announcing_seen = pg_atomic_read_u64(&place->announcing);
		if (pass->announcing_seen != announced)
			pass->announcing_seen = PG_UINT64_MAX;
	}
	watch_prepared_transactions(place);
	pass->number = evq_track_begin_pass(live->track);
}

static void
end_pass(EvqPass *pass, TimestampTz now)
{
	EvqLive *live = pass->live;

	pass->under_way = false;
	pass->last_at = evq_clock_monotonic();
	if (pass->is_complete)
	{
		pass->last_complete_at = pass->last_at;
		live->all_seen = true;
	}
	live->parked = live->parked_anew;
	live->future_at = live->future_anew;
	evq_track_look_at_unseen(live->track, now);
}

/*
 * The pass comes to a flow. Finished events leave dead index entries behind,
 * all of them early ones; only a complete pass goes over those again.
 */
static void
enter_flow(EvqPass *pass, EvqTrackedFlow *flow, TimestampTz now)
{
	flow->entered_in_pass = pass->number;
	flow->pass_from = pass->is_complete ? DT_NOBEGIN : Min(flow->first_live_at, flow->unread_from);
	flow->first_live_at = now - PASS_MARGIN;
	flow->due_since = flow->permit_since = DT_NOEND;
}

static void
leave_flow(EvqPass *pass, EvqTrackedFlow *flow)
{
	EvqPlace *place = pass->live->place;

	flow->done_in_pass = pass->number;
	if (place != NULL)
		evq_counters_set_oldest(place->counters, flow->flow_no, flow->due_since, flow->permit_since);
}

/* Goes on with the pass, a bounded number of rows. */
static void
go_on(EvqPass *pass, EvqStore *store, TimestampTz now)
{
	EvqLive *live = pass->live;
	int flow_count;
	const EvqFlow *flows = evq_config_flows(&flow_count);
	int rows = is_beside_work(pass) ? PASS_BATCH_BESIDE_WORK : PASS_BATCH;
	bool is_over = true;

	for (int i = 0; i < flow_count; i++)
	{
		EvqTrackedFlow *flow = evq_track_use_flow(live->track,
												  flows[(pass->first_flow + i) % flow_count].flow_no);

		if (flow->done_in_pass == pass->number)
			continue;
		if (rows <= 0)
		{
			is_over = false;
			break;
		}
		if (flow->entered_in_pass != pass->number)
			enter_flow(pass, flow, now);
		if (read_flow(live, store, flow, &flow->pass_from, &rows, pass->is_complete ? ALL : UNTIL_UNREAD,
					  now))
			leave_flow(pass, flow);
		else
			is_over = false;
	}
	pass->first_flow++;
	if (is_over)
		end_pass(pass, now);
}

static bool
is_resting(const EvqPass *pass)
{
	return is_beside_work(pass) && evq_clock_monotonic() < pass->rests_until;
}

/* Reads what is to be read in this turn. */
void
evq_pass_run(EvqPass *pass, EvqStore *store, TimestampTz now)
{
	EvqLive *live = pass->live;
	int64 began_at = evq_clock_monotonic();
	int64 took;

	read_on(pass, store, now);
	if (is_resting(pass) || (!pass->under_way && !live->pass_wanted))
		return;
	if (!pass->under_way)
		begin_pass(pass);
	go_on(pass, store, now);
	took = evq_clock_monotonic() - began_at;
	pass->rests_until = began_at + (1 + REST_BESIDE_WORK) * took;
	if (live->place != NULL)
		evq_counters_add_sweep(live->place->counters, took);
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

/* Microseconds until a pass is made whatever was told. */
static int64
time_to_poll(const EvqPass *pass)
{
	return Max(pass->last_at + (int64) evq_poll_interval * 1000 - evq_clock_monotonic(), 0);
}

/* Is something to be read now? */
bool
evq_pass_is_due(EvqPass *pass, TimestampTz now)
{
	EvqLive *live = pass->live;

	if (live->place != NULL && pg_atomic_exchange_u32(&live->place->look_now, 0) != 0)
		evq_live_want_pass(live);
	if (!pass->under_way &&
		((must_poll(pass) && time_to_poll(pass) == 0) || live->future_at - EVQ_LIVE_HORIZON / 2 <= now))
		live->pass_wanted = true;
	return any_wants_reading_on(pass) || ((pass->under_way || live->pass_wanted) && !is_resting(pass));
}

/* The time until which nothing is to be read, if nobody tells of anything. */
TimestampTz
evq_pass_next_at(const EvqPass *pass, TimestampTz now)
{
	const EvqLive *live = pass->live;
	TimestampTz next_at = now + (must_poll(pass) ? time_to_poll(pass) : (int64) evq_poll_interval * 1000);

	if (pass->under_way || live->pass_wanted)
		next_at = now + Max(pass->rests_until - evq_clock_monotonic(), 0);
	if (!TIMESTAMP_IS_NOEND(live->future_at))
		next_at = Min(next_at, live->future_at - EVQ_LIVE_HORIZON / 2);
	return next_at;
}
