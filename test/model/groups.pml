/*
 * groups.pml
 *		A limit of what is processed at a time, of a flow or of each group in it: the counts in src/dispatcher/memory_groups.c
 *		against workers, reports and crashes.
 *
 * Events of one group, of which LIMIT may be dispatched or in process at a time. The dispatcher counts what it remembers:
 * what it dispatched, what sessions told it, which may come late, and what sweeps met. A session tells after its
 * commit is visible, so others may have acted on that before the dispatcher hears of it. Dispatches are committed
 * asynchronously: a crash of the server undoes them, unless an acquire, which waits for the disk, came after it.
 *
 * Each MUTANT_... breaks one rule; a check of each must find the error.
 */

#define EVENTS 2
#ifndef LIMIT
#define LIMIT 1
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#define RING 2
#ifndef MISHAPS
#define MISHAPS 1
#endif

#define ABSENT 0
#define AWAITING 1
#define DISPATCHED 2
#define PROCESSED 3
#define FINISHED 4

/* the table, as others see it */
byte row[EVENTS];
byte since[EVENTS]; /* state_since: the later, the higher */
byte attempts[EVENTS];
bool durable[EVENTS]; /* the last dispatch is on disk */
bool open[EVENTS];    /* a worker has the row in a transaction that is not committed */

bool held[EVENTS]; /* a worker is at it, and its permit holds */
byte mishaps; /* what goes wrong, or is done by hand, so often in all: restarts, timeouts, rollbacks, retries */

/* the ring: what sessions have told */
chan ring = [RING] of { byte, byte, byte };
bool overflowed;

/* the dispatcher's memory */
byte known[EVENTS]; /* ABSENT = nothing is remembered, AWAITING = ready */
byte known_since[EVENTS];
bool look[EVENTS]; /* its row is to be looked at */
bool seen_all;

#define counts(state) ((state) == DISPATCHED || (state) == PROCESSED)
#define agrees(event) (known[event] == (row[event] == FINISHED -> ABSENT : row[event]))
#define in_hands (held[0] + held[1])
#define on_their_way (counts(row[0]) + counts(row[1]))

#ifdef MUTANT_COUNT_PROCESSING
#define is_counted(state) ((state) == PROCESSED)
#else
#define is_counted(state) counts(state)
#endif
#define counted (is_counted(known[0]) + is_counted(known[1]))

#ifdef MUTANT_OFFER
#define may_acquire(event) (row[event] == AWAITING && known[event] == DISPATCHED)
#else
#define may_acquire(event) (row[event] == DISPATCHED)
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

/* A worker takes what was dispatched, works, and reports; any attempt may fail, and the last one succeeds. */
proctype worker(byte event)
{
	byte mine;
	byte told;
	byte at;

end:
	do
	:: atomic { may_acquire(event) && !open[event] ->
		open[event] = true;
		held[event] = true;
		mine = attempts[event];
		assert(in_hands <= LIMIT) }
		if
		:: atomic { open[event] ->
			open[event] = false;
			row[event] = PROCESSED;
			since[event]++;
			at = since[event];
#ifdef MUTANT_ASYNC_ACQUIRE
			durable[event] = false
#else
			durable[event] = true
#endif
			}
			tell(event, PROCESSED, at);
			/* the report, or the permit has run out meanwhile */
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
			fi
		/* it rolls back, and gives the offer back */
		:: atomic { open[event] && mishaps < MISHAPS -> mishaps++; open[event] = false; held[event] = false }
		:: atomic { !open[event] -> skip } /* a crash ended its transaction */
		fi;
		atomic { mine = 0; told = 0; at = 0 }
	od
}

/* An operator retries what is finished. */
active proctype operator()
{
	byte at;

end:
	do
	:: atomic { mishaps < MISHAPS && row[0] == FINISHED ->
		mishaps++;
		attempts[0] = ATTEMPTS - 1;
		row[0] = AWAITING;
		since[0]++;
		at = since[0] }
		tell(0, AWAITING, at);
		at = 0
	od
}

/* What the table says of an event that a sweep meets, or that is looked at. */
inline see(event)
{
	known[event] = (row[event] == FINISHED -> ABSENT : row[event]);
	known_since[event] = since[event];
	look[event] = false
}

/*
 * evq_memory_absorb(): what is told of an event on its way may be of before that, whether it says that it is so no more, or
 * that it is. Then it is not believed, and the row is looked at.
 */
inline hear(event, state, at)
{
	if
#ifndef MUTANT_BELIEVE_LATE
	:: counts(known[event]) && (at < known_since[event] || (at == known_since[event] && !counts(state))) -> look[event] = true
	:: else ->
#else
	:: true ->
#endif
		known[event] = (state == FINISHED -> ABSENT : state);
		known_since[event] = at
	fi
}

/* dispatch_ready(): by the count, and then by the row. */
inline dispatch(event)
{
	atomic { known[event] == AWAITING && seen_all && !overflowed && counted < LIMIT ->
		if
		:: row[event] == AWAITING ->
#ifndef MUTANT_OFFER
			row[event] = DISPATCHED;
			since[event]++;
			durable[event] = false;
			assert(on_their_way <= LIMIT);
#endif
			known[event] = DISPATCHED;
#ifndef MUTANT_NOT_NOTED
			known_since[event] = since[event]
#endif
		:: else -> see(event)
		fi }
}

/* Timers, and looks at rows of which something else was told; an open transaction is not disturbed. */
inline settle(event)
{
	if
	:: atomic { look[event] && !open[event] -> see(event) }
	/* nobody acquired it; a permit has run out: the dispatcher does it itself */
	:: atomic { row[event] == DISPATCHED && known[event] == DISPATCHED && !open[event] && mishaps < MISHAPS ->
		mishaps++; row[event] = AWAITING; since[event]++; see(event) }
	:: atomic { row[event] == PROCESSED && known[event] == PROCESSED && held[event] && attempts[event] < ATTEMPTS - 1 && mishaps < MISHAPS ->
		mishaps++; row[event] = AWAITING; since[event]++; attempts[event]++; held[event] = false; see(event) }
	fi
}

inline undo(event)
{
	if
	:: open[event] -> open[event] = false; held[event] = false
	:: else
	fi;
	if
	:: row[event] == DISPATCHED && !durable[event] -> row[event] = AWAITING; since[event]--
#ifdef MUTANT_ASYNC_ACQUIRE
	:: row[event] == PROCESSED && !durable[event] -> row[event] = AWAITING; since[event] = since[event] - 2
#endif
	:: else
	fi;
	known[event] = ABSENT;
	known_since[event] = 0;
	look[event] = false
}

active proctype dispatcher()
{
	byte event;
	byte state;
	byte at;

end:
	do
	:: atomic { ring ? event, state, at -> hear(event, state, at); event = 0; state = 0; at = 0 }
	/* a sweep, which a full ring wants; it looks at all that is on its way */
	:: atomic { overflowed || !agrees(0) || !agrees(1) || !seen_all ->
		see(0); see(1);
		overflowed = false;
		seen_all = true }
	:: dispatch(0)
	:: dispatch(1)
	:: settle(0)
	:: settle(1)
	/* a new engine, which knows nothing until its complete sweep */
	:: atomic { mishaps < MISHAPS ->
		mishaps++;
		known[0] = ABSENT; known[1] = ABSENT; known_since[0] = 0; known_since[1] = 0; look[0] = false; look[1] = false;
#ifdef MUTANT_BEFORE_SWEEP
		known[0] = (row[0] == AWAITING -> AWAITING : ABSENT); known[1] = (row[1] == AWAITING -> AWAITING : ABSENT)
#else
		seen_all = false
#endif
		}
#ifdef CRASH
	/* the server: what is not on disk is undone, open transactions are rolled back, the ring is empty; workers work on */
	:: atomic { mishaps < MISHAPS ->
		mishaps++;
		do
		:: nempty(ring) -> ring ? event, state, at
		:: empty(ring) -> break
		od;
		event = 0; state = 0; at = 0;
		undo(0); undo(1);
		overflowed = false;
		seen_all = false }
#endif
	od
}

init
{
	atomic {
		run publisher(0);
		run publisher(1);
		run worker(0);
		run worker(1)
	}
	timeout -> assert(row[0] == FINISHED && row[1] == FINISHED)
}
