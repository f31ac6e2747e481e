/*
 * wake_up.pml
 *		A due event is offered although the dispatcher sleeps: src/session/pending.c and src/shared/ring.c against src/dispatcher/dispatcher.c.
 *
 * Publishers commit events of one flow with room for one at a time; a worker finishes what is dispatched. The ring is
 * so small that it overflows. Nothing happens by the passing of time: the dispatcher sleeps until its latch is set, or,
 * with LOSE, until a poll finds a reason for a sweep. When all stand still, everything must have been done.
 *
 * LOSE: sessions may lose what they would tell, as with evq.debug_lose_wakeups; the dispatcher polls.
 * The mutations MUTANT_... each break one rule; a check of each must find the error.
 */

#define EVENTS 2
#ifndef RING_SIZE
#define RING_SIZE 2
#endif

/* states of a row, as committed */
#define ABSENT 0
#define AWAITING 1
#define DISPATCHED 2
#define FINISHED 3

/* sleeping_until: every event here is due now, so earlier than SLEEPING */
#define SLEEPING 0
#define NOEND 1

#define UNKNOWN 255 /* announcing_seen: UINT64_MAX */

byte row[EVENTS];

/* EvqRing; an entry is an event, plus EVENTS where it is a change of an event and not a new one */
chan ring = [RING_SIZE] of { byte };
bool overflowed;

/* EvqSlot */
bool latch;
byte sleeping_until = NOEND;
bool wants_changes;
bool full_flow;
#ifdef LOSE
byte announcing;
byte announced;
#define begin_announcing announcing++
#define end_announcing announced++
#else
#define begin_announcing skip
#define end_announcing skip
#endif

/* the engine's memory */
bool ready[EVENTS];
bool under_way[EVENTS];
bool sweep_wanted = true;
#ifdef LOSE
byte announcing_seen;
#endif

#define has_ready (ready[0] || ready[1])
#define has_room (!under_way[0] && !under_way[1])
#define all_finished (row[0] == FINISHED && row[1] == FINISHED)

/* evq_ring_push(): one LWLock, so one step. woken: something was lost, or the ring is half full. */
inline push(entry, woken)
{
	atomic {
		if
		:: nfull(ring) -> ring!entry; woken = len(ring) > RING_SIZE / 2
		:: full(ring) ->
#ifndef MUTANT_OVERFLOW
			overflowed = true;
#endif
			woken = true
		fi
	}
}

/* must_wake() in pending.c, for an event that is due now: it reads one word after the other. */
inline must_wake(is_new, until, woken)
{
	if
	:: !woken && is_new ->
		until = sleeping_until;
		woken = !(full_flow && until == SLEEPING); /* if so, it can wait in the ring */
		until = 0
	:: !woken && !is_new -> woken = wants_changes
	:: woken
	fi
}

/* announce() in pending.c */
inline announce(entry, is_new, until, woken)
{
	if
#ifdef LOSE
	:: true
#endif
	:: true ->
#ifdef MUTANT_LOOK_FIRST
		must_wake(is_new, until, woken);
		push(entry, until);
		until = 0;
#else
		push(entry, woken);
		must_wake(is_new, until, woken);
#endif
		atomic {
			latch = latch || woken;
			woken = false }
	fi
}

proctype publisher(byte event)
{
	byte until;
	bool woken;

	begin_announcing;
	row[event] = AWAITING;		/* the commit becomes visible */
	announce(event, true, until, woken);
	end_announcing
}

active proctype worker()
{
	byte until, event;
	bool woken;

	do
	:: atomic {
		/* takes one, finishes it and commits, as one step: nobody else looks at a dispatched event */
		if
		:: row[0] == DISPATCHED -> event = 0
		:: row[1] == DISPATCHED -> event = 1
		fi;
		begin_announcing;
		row[event] = FINISHED }
		announce(event + EVENTS, false, until, woken);
		atomic { end_announcing; event = 0 }
	:: atomic { all_finished -> break }
	od
}

/* evq_engine_hear(): the lock is held for a batch; here for all that is there. */
inline drain(entry)
{
	d_step {
		do
		:: nempty(ring) ->
			ring?entry;
			if
			:: entry < EVENTS -> ready[entry] = !under_way[entry] && row[entry] == AWAITING
			:: else -> ready[entry - EVENTS] = false; under_way[entry - EVENTS] = false
			fi
		:: empty(ring) -> break
		od;
		if
		:: overflowed -> sweep_wanted = true; overflowed = false
		:: else
		fi;
		entry = 0
	}
}

/* go_on(): what the tables show in one snapshot. */
inline sweep(event)
{
	d_step {
		event = 0;
		do
		:: event < EVENTS ->
			ready[event] = row[event] == AWAITING;
			under_way[event] = row[event] == DISPATCHED;
			event++
		:: else -> break
		od;
		event = 0
	}
}

/* begin_near(): the two are not read at the same moment */
inline count_announcements(seen)
{
#ifdef LOSE
	seen = announced;
	announcing_seen = announcing;
	if
#ifndef MUTANT_COUNT
	:: announcing_seen != seen -> announcing_seen = UNKNOWN
#endif
	:: else
	fi;
	seen = 0
#else
	skip
#endif
}

/* dispatch_flows(), and the commit: the first ready event, if there is room. */
inline dispatch(event)
{
	d_step {
		event = 0;
		do
		:: event < EVENTS && ready[event] && has_room ->
			ready[event] = false;
			if
			:: row[event] == AWAITING -> row[event] = DISPATCHED; under_way[event] = true
			:: else
			fi;
			event++
		:: event < EVENTS && !(ready[event] && has_room) -> event++
		:: else -> break
		od;
		event = 0
	}
}

/* wait_ms(), which may be for ever */
inline wait()
{
	skip;
end_asleep:
	if
	:: latch
#ifdef LOSE
	/* must_poll(): something lives, or something was or will be announced */
	:: announcing != announcing_seen || has_ready || !has_room -> sweep_wanted = true
#endif
	fi;
	latch = false
}

active proctype dispatcher()
{
	byte scratch;

	do
	:: drain(scratch);
		/* guide_sessions() */
		wants_changes = has_ready && !has_room;
		full_flow = has_ready && !has_room;
		if
		:: sweep_wanted || (has_ready && has_room) ->
			drain(scratch);
			if
			:: sweep_wanted ->
				sweep_wanted = false;
				count_announcements(scratch);
				sweep(scratch)
			:: else
			fi;
			dispatch(scratch)
		:: else ->
			/* sleep_until_due() */
			sleeping_until = SLEEPING;
			if
			:: empty(ring) && !overflowed -> wait()
			:: nempty(ring) || overflowed
			fi;
			sleeping_until = NOEND
		fi
	od
}

init
{
	atomic {
		run publisher(0);
		run publisher(1)
	};
	timeout -> assert(all_finished)
}
