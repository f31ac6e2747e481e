/*
 * limits.pml
 *		A named limit that two flows share: the counts and the waiting lanes in src/dispatcher/memory_limits.c against workers,
 *		reports told late, crashes, a flow that is paused, and sessions that work on their own events. An acquire is one step here; groups.pml has it in two.
 *
 * Event 0 and, with THREE, event 2 are of flow 0, event 1 is of flow 1; LIMIT of them may be dispatched or in process at a
 * time, whatever their flow. Each is a lane of its own. With THREE all are remembered from the start, and no dispatcher ends. What of groups.pml is the same here is explained there.
 *
 * Each MUTANT_... breaks one rule; a check of each must find the error.
 */

#define EVENTS 3
#ifndef LIMIT
#define LIMIT 1
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef MISHAPS
#define MISHAPS 1
#endif
#ifndef RING
#define RING 1
#endif

#define ABSENT 0
#define AWAITING 1
#define DISPATCHED 2
#define PROCESSED 3
#define FINISHED 4

#define flow_of(event) ((event) % 2)

/* the table, as others see it */
byte row[EVENTS];
byte since[EVENTS];
byte attempts[EVENTS];
bool durable[EVENTS]; /* the last dispatch is on disk */
bool held[EVENTS];    /* a worker is at it, and its permit holds */
bool paused;          /* flow 0 is, for good */
byte mishaps;

/* the ring */
chan ring = [RING] of { byte, byte, byte };
bool overflowed;

/* the dispatcher's memory */
byte known[EVENTS];
byte known_since[EVENTS];
bool look[EVENTS];
bool waits[EVENTS]; /* the lane waits for room */
bool room;          /* there may be some again: one that counted does no more */
bool openable[2];   /* in this flow more lanes may be opened */
bool seen_all;

#define counts(state) ((state) == DISPATCHED || (state) == PROCESSED)
#define agrees(event) (known[event] == (row[event] == FINISHED -> ABSENT : row[event]))
#define in_hands (held[0] + held[1] + held[2])
#define on_their_way (counts(row[0]) + counts(row[1]) + counts(row[2]))
#define counted (counts(known[0]) + counts(known[1]) + counts(known[2]))
#define is_candidate(event) (known[event] == AWAITING && !waits[event])
#define has_candidate(flow) (flow == 0 && (is_candidate(0) || is_candidate(2)) || flow == 1 && is_candidate(1))
#define is_done(event) (row[event] == FINISHED || row[event] == ABSENT || (paused && flow_of(event) == 0))

#ifdef MUTANT_PER_FLOW
#define has_room(event) (event % 2 == 0 && counts(known[0]) + counts(known[2]) < LIMIT || event % 2 == 1 && counts(known[1]) < LIMIT)
#else
#define has_room(event) (counted < LIMIT)
#endif

inline tell(event, state, at)
{
	atomic {
		if
		:: nfull(ring) -> ring ! event, state, at
		:: full(ring) -> overflowed = true
		fi }
}

proctype publisher(byte event)
{
	atomic { row[event] = AWAITING; since[event] = 1 }
	tell(event, AWAITING, 1)
}

proctype worker(byte event)
{
	byte mine;
	byte told;
	byte at;

end:
	do
	:: atomic { row[event] == DISPATCHED && !(paused && flow_of(event) == 0) ->
		held[event] = true;
		mine = attempts[event];
		assert(in_hands <= LIMIT);
		row[event] = PROCESSED;
		since[event]++;
		at = since[event];
		durable[event] = true }
		tell(event, PROCESSED, at);
		if
		:: atomic { held[event] && row[event] == PROCESSED && attempts[event] == mine ->
			held[event] = false;
			attempts[event]++;
			since[event]++;
			at = since[event];
			if
			:: attempts[event] < ATTEMPTS -> row[event] = AWAITING
			:: row[event] = FINISHED
			fi;
			told = row[event] }
			tell(event, told, at)
		:: atomic { !(held[event] && row[event] == PROCESSED && attempts[event] == mine) -> skip }
		fi;
		atomic { mine = 0; told = 0; at = 0 }
	od
}

#ifdef THREE
/* Somebody cancels an event that waits, or pauses a flow. */
active proctype operator()
{
end:
	do
	:: atomic { mishaps < MISHAPS && row[0] == AWAITING ->
		mishaps++;
		row[0] = FINISHED;
		since[0]++ }
		tell(0, FINISHED, since[0])
	:: atomic { mishaps < MISHAPS && !paused -> mishaps++; paused = true }
	od
}
#endif

#ifdef MUTANT_SESSION
/* A session gives a turn to an event of its own transaction, by what it sees of the table, under the lock of its flow alone. */
proctype own(byte event)
{
	byte at;

	atomic { on_their_way < LIMIT -> skip }
	atomic { row[event] = PROCESSED; since[event] = 1; durable[event] = true; held[event] = true; attempts[event] = ATTEMPTS;
		assert(on_their_way <= LIMIT) }
	tell(event, PROCESSED, 1);
	atomic { held[event] = false; row[event] = FINISHED; since[event]++; at = since[event] }
	tell(event, FINISHED, at)
}
#endif

/* What is remembered of an event is this from now on. */
inline set(event, state, at)
{
	if
	:: counts(known[event]) && !counts(state) -> room = true
	:: else
	fi;
	if
	:: state != AWAITING -> waits[event] = false
	:: else
	fi;
	known[event] = state;
	known_since[event] = at
}

inline see(event)
{
	set(event, (row[event] == FINISHED -> ABSENT : row[event]), since[event]);
	look[event] = false
}

inline hear(event, state, at)
{
	if
	:: counts(known[event]) && (at < known_since[event] || (at == known_since[event] && !counts(state))) -> look[event] = true
	:: else -> set(event, (state == FINISHED -> ABSENT : state), at)
	fi
}

/* evq_memory_limits_let_go(): a lane for whose event there is no room waits, and another may have the turn. */
inline dispatch(event)
{
	atomic { is_candidate(event) && seen_all && !overflowed && !(paused && flow_of(event) == 0) ->
		if
		:: !has_room(event) -> waits[event] = true
		:: has_room(event) && row[event] == AWAITING ->
			row[event] = DISPATCHED;
			since[event]++;
			durable[event] = false;
			assert(on_their_way <= LIMIT);
			set(event, DISPATCHED, since[event])
		:: has_room(event) && row[event] != AWAITING -> see(event)
		fi }
}

/* evq_memory_refill_limits(): the first lane of each flow is opened, and others may be. */
inline use_room()
{
	atomic { room ->
		room = false;
		if
		:: counted < LIMIT ->
#ifdef MUTANT_WAKE_ONE
			if
			:: waits[0] -> waits[0] = false
			:: else -> if :: waits[1] -> waits[1] = false :: else -> waits[2] = false fi
			fi
#else
			if
			:: waits[0] -> waits[0] = false
			:: else -> waits[2] = false
			fi;
			waits[1] = false;
			openable[0] = true;
			openable[1] = true
#endif
		:: else
		fi }
}

/* evq_memory_open_lanes(): a flow that has nothing else to give a turn to opens the next lane, if there is room. */
inline open_lanes(flow)
{
	atomic { openable[flow] && !has_candidate(flow) && !(paused && flow == 0) ->
		if
		:: counted < LIMIT && flow == 0 && waits[0] -> waits[0] = false
		:: counted < LIMIT && flow == 0 && !waits[0] && waits[2] -> waits[2] = false
		:: counted < LIMIT && flow == 1 && waits[1] -> waits[1] = false
		:: else -> openable[flow] = false
		fi }
}

inline settle(event)
{
	if
	:: atomic { look[event] -> see(event) }
	/* in a paused flow nobody acquires it, so it does not keep the room for long */
	:: atomic { row[event] == DISPATCHED && known[event] == DISPATCHED && (mishaps < MISHAPS || (paused && flow_of(event) == 0)) ->
		if
		:: paused && flow_of(event) == 0 -> skip
		:: else -> mishaps++
		fi;
		row[event] = AWAITING; since[event]++; see(event) }
	:: atomic { row[event] == PROCESSED && known[event] == PROCESSED && held[event] && attempts[event] < ATTEMPTS - 1 && mishaps < MISHAPS ->
		mishaps++; row[event] = AWAITING; since[event]++; attempts[event]++; held[event] = false; see(event) }
	fi
}

inline undo(event)
{
	if
	:: row[event] == DISPATCHED && !durable[event] -> row[event] = AWAITING; since[event]--
	:: else
	fi;
	forget(event)
}

inline forget(event)
{
	known[event] = ABSENT;
	known_since[event] = 0;
	look[event] = false;
	waits[event] = false
}

inline begin_anew()
{
	room = false;
	openable[0] = false;
	openable[1] = false;
#ifndef MUTANT_BEFORE_SWEEP
	seen_all = false
#endif
}

active proctype dispatcher()
{
	byte event;
	byte state;
	byte at;

end:
	do
	:: atomic { ring ? event, state, at -> hear(event, state, at); event = 0; state = 0; at = 0 }
	/* a sweep looks at all that is on its way */
	:: atomic { overflowed || !agrees(0) || !agrees(1) || !agrees(2) || !seen_all ->
		see(0); see(1); see(2);
		overflowed = false;
		seen_all = true }
	:: dispatch(0)
	:: dispatch(1)
	:: dispatch(2)
	:: use_room()
#ifndef MUTANT_NO_MORE
	:: open_lanes(0)
	:: open_lanes(1)
#endif
	:: settle(0)
	:: settle(1)
	:: settle(2)
#ifndef THREE
	/* a new engine */
	:: atomic { mishaps < MISHAPS ->
		mishaps++;
		forget(0); forget(1); forget(2);
#ifdef MUTANT_BEFORE_SWEEP
		known[0] = (row[0] == AWAITING -> AWAITING : ABSENT);
		known[1] = (row[1] == AWAITING -> AWAITING : ABSENT);
#endif
		begin_anew() }
#endif
#ifdef CRASH
	:: atomic { mishaps < MISHAPS ->
		mishaps++;
		do
		:: nempty(ring) -> ring ? event, state, at
		:: empty(ring) -> break
		od;
		event = 0; state = 0; at = 0;
		undo(0); undo(1); undo(2);
		overflowed = false;
		begin_anew() }
#endif
	od
}

init
{
	atomic {
		run worker(0);
#ifdef THREE
		row[0] = AWAITING; row[1] = AWAITING; row[2] = AWAITING;
		since[0] = 1; since[1] = 1; since[2] = 1;
		known[0] = AWAITING; known[1] = AWAITING; known[2] = AWAITING;
		known_since[0] = 1; known_since[1] = 1; known_since[2] = 1;
		seen_all = true;
		run worker(1);
		run worker(2)
#else
		run publisher(0);
#ifdef MUTANT_SESSION
		run own(1)
#else
		run publisher(1);
		run worker(1)
#endif
#endif
	}
	timeout -> assert(is_done(0) && is_done(1) && is_done(2))
}
