/*
 * database.c
 *		Statements in the database, many at once.
 *
 * Each lane has connections of its own, so that what waits or takes long in one holds up no other. What comes while all
 * of them are busy waits its turn: the roles in turn, and of each role the oldest first; where there are several
 * connections, no role has them all.
 *
 * Changes wait for another's lock for a short time. What would wait longer is done again in the lane for that.
 *
 * What does not find its function may have been sent to another release of the extension than there is by now: the
 * release is asked for, and where it has changed the call goes again, by the other name. Nothing of it was done.
 *
 * Calls that may share a transaction go together when they have waited: the busier the database, the more of them share
 * the cost of a commit, and of a statement where one does them all, and none waits where nothing is to be gained. What fails together
 * is repeated one by one, so that no call notices the others.
 */
#include "database.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "memory.h"
#include "options.h"
#include "release.h"

#define CHECK_EVERY 1000
#define LONGEST_BATCH 64
#define MOST_SHARED 4
#define LONGEST_CONTROL 5000
#define SHORT_LOCK_WAIT 500
#define STOP_SQL "SELECT pg_catalog.pg_cancel_backend($1::pg_catalog.int4)"

/* The calls of one role in a lane. */
typedef struct Turn
{
	char *role; /* NULL = that of the connection */
	Call *first;
	Call *last;
	int running; /* lines that have calls of it */
	struct Turn *next;
} Turn;

typedef struct LaneLines
{
	ConnectionUser setting;
	Line *lines;
	int count;
	Turn *turns; /* of the roles that have calls here, the next one first */
} LaneLines;

static LaneLines lanes[LANE_COUNT];
static Timer check_timer;
static bool ending;

/* Calls with results that count unless the release has changed, which is to be asked for, and is being asked for. */
static Call *doubted;
static Call *asked;
static Call release_call;

static void serve(LaneLines *lane);

static void
answer(Call *call, const PGresult *result)
{
	PGresult *own = call->result;

	call->next = NULL;
	call->result = NULL;
	call->state = CALL_IDLE;
	call->done(call, result);
	PQclear(own);
}

static void
answer_all(Call *calls, LineEnd end, const PGresult *error)
{
	Call *next;

	for (Call *call = calls; call != NULL; call = next)
	{
		next = call->next;
		answer(call, end == LINE_COMMITTED ? call->result : end == LINE_FAILED ? error : NULL);
	}
}

/* ---------- turns ---------- */

static bool
is_of(const Turn *turn, const char *role)
{
	return turn->role == NULL || role == NULL ? turn->role == role : strcmp(turn->role, role) == 0;
}

static Turn *
find_turn(LaneLines *lane, const char *role)
{
	Turn **link = &lane->turns;

	while (*link != NULL && !is_of(*link, role))
		link = &(*link)->next;
	if (*link == NULL)
	{
		*link = memory_new(sizeof(Turn));
		(*link)->role = role != NULL ? memory_string(role) : NULL;
	}
	return *link;
}

static void
remove_turn(LaneLines *lane, Turn *turn)
{
	Turn **link = &lane->turns;

	while (*link != turn)
		link = &(*link)->next;
	*link = turn->next;
	turn->next = NULL;
}

static void
free_empty_turns(LaneLines *lane)
{
	Turn *next;

	for (Turn *turn = lane->turns; turn != NULL; turn = next)
	{
		next = turn->next;
		if (turn->first != NULL || turn->running > 0)
			continue;
		remove_turn(lane, turn);
		free(turn->role);
		free(turn);
	}
}

static void
wait_for_turn(LaneLines *lane, Call *call)
{
	Turn *turn = find_turn(lane, call->role);

	call->state = CALL_WAITING;
	call->next = NULL;
	if (turn->first == NULL)
		turn->first = call;
	else
		turn->last->next = call;
	turn->last = call;
}

/* They have waited already, and now go one by one. */
static void
wait_in_front(LaneLines *lane, Call *calls)
{
	Turn *turn = find_turn(lane, calls->role);
	Call *call = calls;

	for (;; call = call->next)
	{
		call->state = CALL_WAITING;
		call->may_share = false;
		if (call->next == NULL)
			break;
	}
	call->next = turn->first;
	turn->first = calls;
	if (call->next == NULL)
		turn->last = call;
}

/* Takes a call out that waits behind the previous one; NULL = the first. */
static void
take_out(Turn *turn, Call *call, Call *previous)
{
	if (previous != NULL)
		previous->next = call->next;
	else
		turn->first = call->next;
	if (turn->last == call)
		turn->last = previous;
	call->next = NULL;
}

/* The role whose turn it is, which then has to wait for all others; NULL = none. */
static Turn *
next_turn(LaneLines *lane)
{
	for (Turn *turn = lane->turns; turn != NULL; turn = turn->next)
	{
		/* One line is left for the others, who may come. */
		int most = lane->count > 1 && turn->role != NULL ? lane->count - 1 : lane->count;

		if (turn->first != NULL && turn->running < most)
		{
			Turn **end = &lane->turns;

			remove_turn(lane, turn);
			while (*end != NULL)
				end = &(*end)->next;
			*end = turn;
			return turn;
		}
	}
	return NULL;
}

/* The first call, and those behind it that can be with it. */
static Call *
take_batch(Turn *turn)
{
	Call *first = turn->first;
	Call *last = first;
	int count = 1;

	while (first->may_share && last->next != NULL && count < LONGEST_BATCH && last->next->may_share &&
		   last->next->sql == first->sql)
	{
		last = last->next;
		count++;
	}
	turn->first = last->next;
	if (turn->first == NULL)
		turn->last = NULL;
	last->next = NULL;
	return first;
}

/* ---------- lanes ---------- */

static Line *
free_line(LaneLines *lane)
{
	for (int i = 0; i < lane->count; i++)
	{
		if (line_is_up(&lane->lines[i]) && lane->lines[i].calls == NULL && !lane->lines[i].is_stopping)
			return &lane->lines[i];
	}
	return NULL;
}

static bool
send_calls(Line *line, Turn *turn, Call *calls)
{
	if (!line_send(line, calls))
		return false;
	line->turn_of = turn;
	turn->running++;
	return true;
}

/* Gives its lines what waits for them. */
static void
serve(LaneLines *lane)
{
	Line *line;
	Turn *turn;

	while (!ending && (line = free_line(lane)) != NULL && (turn = next_turn(lane)) != NULL)
	{
		Call *calls = take_batch(turn);

		if (!send_calls(line, turn, calls))
		{
			/* The line is broken, and its timer ends it. */
			answer_all(calls, LINE_LOST, NULL);
			return;
		}
	}
}

/* The statement that the connection had prepared is not what it was: an upgrade came between, or its preparing failed. */
static bool
is_outdated(Line *line, const Call *call, const PGresult *error)
{
	const char *sqlstate = PQresultErrorField(error, PG_DIAG_SQLSTATE);
	const char *function = PQresultErrorField(error, PG_DIAG_SOURCE_FUNCTION);
	const char *sql = line->is_joint ? call->joint_sql : call->sql;

	if (sqlstate == NULL || function == NULL || call->is_repeated)
		return false;
	if (strcmp(sqlstate, "0A000") == 0 && strcmp(function, "RevalidateCachedQuery") == 0)
	{
		for (int i = 0; i < lanes[line->lane].count; i++)
			statements_forget(&lanes[line->lane].lines[i].statements, sql, call->role);
		return true;
	}
	return strcmp(sqlstate, "26000") == 0 && strcmp(function, "FetchPreparedStatement") == 0;
}

/* It waited for a lock as long as it may in its lane, and somebody waits for it. */
static bool
needs_patience(const Call *call, const PGresult *error)
{
	const char *sqlstate = PQresultErrorField(error, PG_DIAG_SQLSTATE);

	return sqlstate != NULL && strcmp(sqlstate, "55P03") == 0 && lanes[call->lane].setting.lock_timeout > 0 &&
		   call->lane != LANE_CONTROL && !call->is_abandoned;
}

/* ---------- another release ---------- */

static void ask_for_release(void);

/* It has failed, or brought no row, and nothing was done. */
static bool
may_be_of_other_release(const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (sqlstate == NULL)
		return PQntuples(result) == 0;
	/* No such function, no such schema, or it went while it was at work. */
	return strcmp(sqlstate, "42883") == 0 || strcmp(sqlstate, "3F000") == 0 || strcmp(sqlstate, "XX000") == 0;
}

static void
doubt(Call *call, PGresult *result)
{
	if (call->result != result)
		PQclear(call->result);
	call->state = CALL_DOUBTED;
	call->result = result;
	call->next = doubted;
	doubted = call;
	ask_for_release();
}

/* Those that were sent to another release go again, the others are answered. result: NULL = the connection was lost. */
static void
take_release(Call *release, const PGresult *result)
{
	Call *calls = asked;
	Call *next;

	(void) release;
	asked = NULL;
	if (result != NULL)
		release_learn(result);
	for (Call *call = calls; call != NULL; call = next)
	{
		PGresult *own = call->result;

		next = call->next;
		call->next = NULL;
		if (!ending && result != NULL && call->was_old != release_is_old())
		{
			PQclear(own);
			call->result = NULL;
			call->is_repeated = false;
			wait_in_front(&lanes[call->lane], call);
			serve(&lanes[call->lane]);
		}
		else
			answer(call, result != NULL ? own : NULL);
	}
	ask_for_release();
}

/* For those of whom it is not known whether it has been asked for since. */
static void
ask_for_release(void)
{
	if (asked != NULL || doubted == NULL)
		return;
	asked = doubted;
	doubted = NULL;
	release_call = (Call){.sql = RELEASE_SQL, .lane = LANE_CONTROL, .done = take_release};
	if (!database_submit(&release_call))
		take_release(&release_call, NULL);
}

/* ---------- the end of a batch ---------- */

/* The batch was done, but for those that have asked an old release, and there is a new one. */
static void
finish_committed(Call *calls)
{
	Call *next;

	for (Call *call = calls; call != NULL; call = next)
	{
		next = call->next;
		if (call->was_old && may_be_of_other_release(call->result))
			doubt(call, call->result);
		else
			answer(call, call->result);
	}
}

/* Nothing of the batch was done: its calls are answered, or go again. The error is not the caller's any more. */
static void
finish_failed(Line *line, Call *calls, PGresult *error)
{
	bool is_alone = calls->next == NULL;

	if (!ending && is_alone && calls->old_sql != NULL && may_be_of_other_release(error))
	{
		doubt(calls, error);
		return;
	}
	if (!ending && is_outdated(line, calls, error))
		calls->is_repeated = is_alone;
	else if (!ending && is_alone && needs_patience(calls, error))
	{
		calls->lane = LANE_PATIENT;
		wait_for_turn(&lanes[LANE_PATIENT], calls);
		serve(&lanes[LANE_PATIENT]);
		calls = NULL;
	}
	else if (ending || is_alone)
	{
		answer_all(calls, LINE_FAILED, error);
		calls = NULL;
	}
	if (calls != NULL)
		wait_in_front(&lanes[line->lane], calls);
	PQclear(error);
}

static void
end_calls(Line *line, Call *calls, LineEnd end, PGresult *error)
{
	LaneLines *lane = &lanes[line->lane];
	Turn *turn = line->turn_of;

	line->turn_of = NULL;
	turn->running--;
	if (end == LINE_FAILED)
		finish_failed(line, calls, error);
	else
	{
		PQclear(error);
		if (end == LINE_COMMITTED)
			finish_committed(calls);
		else
			answer_all(calls, end, NULL);
	}
	free_empty_turns(lane);
	serve(lane);
}

static void
take_line(Line *line)
{
	serve(&lanes[line->lane]);
}

static bool
is_up(void)
{
	for (int l = 0; l < LANE_COUNT; l++)
	{
		for (int i = 0; i < lanes[l].count; i++)
		{
			if (line_is_up(&lanes[l].lines[i]))
				return true;
		}
	}
	return false;
}

/* Those who have waited for too long, or all, are told so. */
static void
refuse_waiting(LaneLines *lane, int64_t came_before, bool has_waited_too_long)
{
	Call *refused = NULL;
	Call *next_call;

	for (Turn *turn = lane->turns; turn != NULL; turn = turn->next)
	{
		Call *previous = NULL;

		for (Call *call = turn->first; call != NULL; call = next_call)
		{
			next_call = call->next;
			if (call->since > came_before)
			{
				previous = call;
				continue;
			}
			take_out(turn, call, previous);
			call->next = refused;
			refused = call;
		}
	}
	free_empty_turns(lane);
	/* Whoever is told may come again, so the lane is left alone first. */
	for (Call *call = refused; call != NULL; call = next_call)
	{
		next_call = call->next;
		call->has_waited_too_long = has_waited_too_long;
		answer(call, NULL);
	}
}

/* Without any connection there is nothing to wait for. */
static void
lose_line(Line *line)
{
	line->is_stopping = false;
	if (is_up())
		return;
	for (int l = 0; l < LANE_COUNT; l++)
		refuse_waiting(&lanes[l], INT64_MAX, false);
}

static const LineUser line_user = {take_line, end_calls, lose_line};

static void
check_lanes(Timer *timer)
{
	for (int l = 0; l < LANE_COUNT; l++)
	{
		for (int i = 0; i < lanes[l].count; i++)
			line_check(&lanes[l].lines[i]);
		refuse_waiting(&lanes[l], loop_now() - lanes[l].setting.statement_timeout, true);
	}
	loop_set_timer(timer, CHECK_EVERY);
}

/* ---------- from outside ---------- */

/* How many connections a lane has. Where something may take long there are two at least, so that no role has all. */
static int
lines_of(Lane lane)
{
	int half = options.connections / 2 < MOST_SHARED ? options.connections / 2 : MOST_SHARED;
	int quarter = options.connections / 4;

	switch (lane)
	{
		case LANE_CONTROL:
			return 1;
		case LANE_PUBLISH:
			return half > 0 ? half : 1;
		case LANE_WORK:
			return options.connections;
		default:
			return quarter > 2 ? quarter : 2;
	}
}

/* All connections for statements. */
int
database_sessions(void)
{
	int count = 0;

	for (int l = 0; l < LANE_COUNT; l++)
		count += lines_of((Lane) l);
	return count;
}

void
database_start(void)
{
	static const int lock_timeouts[LANE_COUNT] = {[LANE_WORK] = SHORT_LOCK_WAIT,
												  [LANE_PUBLISH] = SHORT_LOCK_WAIT,
												  [LANE_SEARCH] = SHORT_LOCK_WAIT,
												  [LANE_CONTROL] = SHORT_LOCK_WAIT};

	for (int l = 0; l < LANE_COUNT; l++)
	{
		LaneLines *lane = &lanes[l];

		lane->setting = line_connection;
		lane->setting.statement_timeout = options.statement_timeout * 1000;
		if (l == LANE_CONTROL && lane->setting.statement_timeout > LONGEST_CONTROL)
			lane->setting.statement_timeout = LONGEST_CONTROL;
		lane->setting.lock_timeout = lock_timeouts[l];
		lane->count = lines_of((Lane) l);
		lane->lines = memory_array((size_t) lane->count, sizeof(Line));
	}
	for (int l = 0; l < LANE_COUNT; l++)
	{
		for (int i = 0; i < lanes[l].count; i++)
		{
			lanes[l].lines[i].lane = (Lane) l;
			line_start(&lanes[l].lines[i], &line_user, &lanes[l].setting);
		}
	}
	check_timer.due = check_lanes;
	loop_set_timer(&check_timer, CHECK_EVERY);
}

void
database_stop(void)
{
	ending = true;
	loop_clear_timer(&check_timer);
	for (int l = 0; l < LANE_COUNT; l++)
	{
		for (int i = 0; i < lanes[l].count; i++)
			line_stop(&lanes[l].lines[i]);
	}
	for (int l = 0; l < LANE_COUNT; l++)
		refuse_waiting(&lanes[l], INT64_MAX, false);
}

/* false = there is no connection, and done() will not be called. */
bool
database_submit(Call *call)
{
	LaneLines *lane = &lanes[call->lane];

	if (ending || !is_up())
		return false;
	call->since = loop_now();
	call->has_waited_too_long = false;
	wait_for_turn(lane, call);
	serve(lane);
	return true;
}

static void
take_stop(Call *call, const PGresult *result)
{
	Line *line = LOOP_OWNER(Line, stop, call);

	(void) result;
	line->is_stopping = false;
	serve(&lanes[line->lane]);
}

/* The line has nothing new to do until the server has been asked, so that nothing else is stopped. */
static void
stop_line(Line *line)
{
	if (line->is_stopping || line->stop.state != CALL_IDLE)
		return;
	snprintf(line->stop_pid, sizeof(line->stop_pid), "%d", PQbackendPID(line->connection.pg));
	line->stop = (Call){.sql = STOP_SQL,
						.lane = LANE_CONTROL,
						.values = {line->stop_pid},
						.value_count = 1,
						.done = take_stop};
	line->is_stopping = true;
	if (!database_submit(&line->stop))
		line->is_stopping = false;
}

/* Nobody waits for the answer any more. It is answered all the same, soon. */
void
database_abandon(Call *call)
{
	LaneLines *lane = &lanes[call->lane];

	call->is_abandoned = true;
	if (call->state == CALL_WAITING)
	{
		Turn *turn = find_turn(lane, call->role);
		Call *previous = NULL;

		for (Call *other = turn->first; other != call; other = other->next)
			previous = other;
		take_out(turn, call, previous);
		free_empty_turns(lane);
		answer(call, NULL);
	}
	else if (call->state == CALL_RUNNING)
	{
		for (int i = 0; i < lane->count; i++)
		{
			if (lane->lines[i].calls == call)
				stop_line(&lane->lines[i]);
		}
	}
}
