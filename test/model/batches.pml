/*
 * batches.pml
 *		Events of one batch, whose state is kept by runs: tables/runs.c and session/lifecycle_batch.c.
 *
 * A run is a row for some neighbours of the batch that were acquired together, keyed by its last one; an exception is a
 * row for one event that left its run, or was canceled before it had one. Who changes anything takes the lock of the
 * batch, looks at runs and exceptions as they are, changes of open transactions included, writes, and gives the lock
 * back at once. It never waits while it has it. Its transaction ends later.
 *
 * Sessions are offered any neighbours, at any time, whatever others have of them; they report on any run that somebody
 * was told of, all of it or a part, several times in a transaction, with savepoints. An operator cancels. Permits and
 * lifespans run out at any moment. The server may crash and lose what was committed asynchronously. When all events are
 * final, the dispatcher deletes the row that says that there is something to do.
 *
 * The mutations MUTANT_... each break one rule; a check of each must find the error.
 */

#define EVENTS 3
#define ALL 7			/* a set of events has a bit for each */
#ifdef SAVEPOINTS
#define VERBS 2			/* in a transaction */
#else
#define VERBS 1
#endif
#ifdef CRASH
#define CRASHES 1
#else
#define CRASHES 0
#endif

/* who: sessions 1 and 2, and */
#define DISPATCHER 3
#define WHO 7
#define SUB 8			/* after a savepoint */

#define NONE 0			/* no row, or one of a transaction that was rolled back */
#define PROCESSED 1
/*
 * Succeeded, expired, canceled, or moved because it failed: from there on it has a row of its own, as all events of
 * before. What tells these apart is no matter here.
 */
#define ENDED 2

/* state is what is committed; next, what a transaction that is still open makes of it */
typedef Row {
	byte state;
	byte next;
	byte by
}

Row runs[EVENTS];		/* at the number of its last event */
byte run_first[EVENTS];
byte said[EVENTS];		/* the events of which the open change of the run was told */
Row exceptions[EVENTS];
bool backlog = true;

/* what a crash leaves */
byte durable_run[EVENTS];
byte durable_exception[EVENTS];
bool durable_backlog = true;

byte lock;				/* who has it */
byte waits_for[4];
byte life;				/* counts crashes: sessions of before are gone */

#define of_whom(row) (row.by & WHO)
#define is_mine(row) (of_whom(row) == me)
#define is_others(row) (row.by != 0 && of_whom(row) != me)

/* SnapshotDirty: what is committed, and what any open transaction has written */
#ifdef MUTANT_COMMITTED
#define is_there(row) (row.state != NONE || is_mine(row))
#else
#define is_there(row) (row.state != NONE || row.by != 0)
#endif
#define set_of(first, last) ((2 << (last)) - (1 << (first)))
#define set_where(condition_0, condition_1, condition_2) ((condition_0) + 2 * (condition_1) + 4 * (condition_2))
#define exceptions_there set_where(is_there(exceptions[0]), is_there(exceptions[1]), is_there(exceptions[2]))
#define exceptions_open set_where(is_others(exceptions[0]), is_others(exceptions[1]), is_others(exceptions[2]))
#define is_known(row) (row.state != NONE || is_mine(row))
#define exceptions_known set_where(is_known(exceptions[0]), is_known(exceptions[1]), is_known(exceptions[2]))
#define exceptions_committed set_where(exceptions[0].state != NONE, exceptions[1].state != NONE, exceptions[2].state != NONE)

/* The run that ends first at an event or after it: the only one that may begin before what follows it. */
#define run_from(event) \
	((event) <= 0 && is_there(runs[0]) -> 0 : ((event) <= 1 && is_there(runs[1]) -> 1 : (is_there(runs[2]) -> 2 : EVENTS)))
#define is_in_other_run(first, last) \
	((runs[0].state + runs[0].by > 0 && run_first[0] <= last && 0 >= first) || \
	 (runs[1].state + runs[1].by > 0 && run_first[1] <= last && 1 >= first) || \
	 (runs[2].state + runs[2].by > 0 && run_first[2] <= last && 2 >= first))

#define ended_run(at) (runs[at].state == ENDED -> set_of(run_first[at], at) : 0)
#define ended (ended_run(0) | ended_run(1) | ended_run(2) | exceptions_committed)
#define ending_run(at) (runs[at].state == ENDED || runs[at].next == ENDED -> set_of(run_first[at], at) : 0)
#define ended_or_ending \
	(ending_run(0) | ending_run(1) | ending_run(2) | set_where(exceptions[0].state + exceptions[0].by > 0, \
	 exceptions[1].state + exceptions[1].by > 0, exceptions[2].state + exceptions[2].by > 0))

#ifdef MUTANT_NO_LOCK
#define can_lock true
#define take_lock skip
#else
#define can_lock (lock == 0)
#define take_lock lock = me
#endif
#define give_lock lock = (lock == me -> 0 : lock)

/* what no run has and no exception took out, changes of open transactions included */
#define taken_run(at) (is_there(runs[at]) -> set_of(run_first[at], at) : 0)
#define not_taken (ALL & ~(taken_run(0) | taken_run(1) | taken_run(2) | exceptions_there))

/* what a run has left that nobody is ending just now */
#ifdef MUTANT_BLIND_TIMEOUT
#define left_of_run(at) (set_of(run_first[at], at) & ~exceptions_committed)
#define timed_out(at) (runs[at].state == PROCESSED && left_of_run(at) != 0)
#else
#define left_of_run(at) (set_of(run_first[at], at) & ~exceptions_there)
#define timed_out(at) (runs[at].state == PROCESSED && runs[at].by == 0 && left_of_run(at) != 0)
#endif

#define nothing_open \
	(runs[0].by + runs[1].by + runs[2].by + exceptions[0].by + exceptions[1].by + exceptions[2].by == 0)

/* ---------- the ends of transactions ---------- */

inline clear(row)
{
	row.next = NONE;
	row.by = 0
}

inline end_exception(event)
{
	if
	:: !is_mine(exceptions[event]) -> skip
	:: is_mine(exceptions[event]) ->
		/* It left its run once: the run had not ended with it in it. */
		assert(exceptions[event].state == NONE);
		assert(((ended_run(0) | ended_run(1) | ended_run(2)) & (1 << event)) == 0);
		exceptions[event].state = exceptions[event].next;
		clear(exceptions[event])
	fi
}

inline end_run(at)
{
	if
	:: !is_mine(runs[at]) -> skip
	:: is_mine(runs[at]) ->
		/* Nobody is given what has ended; and nothing is taken to have ended of which nobody said so. */
		assert(runs[at].next == ENDED || (set_of(run_first[at], at) & exceptions_committed) == 0);
		assert(runs[at].next == PROCESSED || (set_of(run_first[at], at) & ~exceptions_committed & ~said[at]) == 0);
		runs[at].state = runs[at].next;
		said[at] = 0;
		clear(runs[at])
	fi
}

/* XactLockTableWait() returns. */
inline wake_up()
{
	waits_for[1] = (waits_for[1] == me -> 0 : waits_for[1]);
	waits_for[2] = (waits_for[2] == me -> 0 : waits_for[2])
}

inline commit(is_synchronous)
{
	end_exception(0);
	end_exception(1);
	end_exception(2);
	end_run(0);
	end_run(1);
	end_run(2);
	wake_up();
#ifdef CRASH
	if
	:: true ->
		durable_run[0] = runs[0].state;
		durable_run[1] = runs[1].state;
		durable_run[2] = runs[2].state;
		durable_exception[0] = exceptions[0].state;
		durable_exception[1] = exceptions[1].state;
		durable_exception[2] = exceptions[2].state;
		durable_backlog = backlog
	:: !is_synchronous -> skip
	fi
#endif
}

inline roll_back_exception(event, least)
{
	if
	:: is_mine(exceptions[event]) && exceptions[event].by >= least -> clear(exceptions[event])
	:: !(is_mine(exceptions[event]) && exceptions[event].by >= least) -> skip
	fi
}

inline roll_back_run(at, least)
{
	if
	:: is_mine(runs[at]) && runs[at].by >= least ->
		clear(runs[at]);
		said[at] = 0;
		run_first[at] = (runs[at].state == NONE -> 0 : run_first[at])
	:: !(is_mine(runs[at]) && runs[at].by >= least) -> skip
	fi
}

/* least: 1 for all of the transaction, SUB for what came after the savepoint */
inline roll_back(least)
{
	roll_back_exception(0, least);
	roll_back_exception(1, least);
	roll_back_exception(2, least);
	roll_back_run(0, least);
	roll_back_run(1, least);
	roll_back_run(2, least);
	wake_up()
}

/* ---------- under the lock ---------- */

/* A run from first to last may be made if there is nothing of it yet, be it of an open transaction: nobody waits here. */
inline look_for_room()
{
	at = run_from(first);
	is_free = at == EVENTS || run_first[at] > last;
	at = 0;
#ifdef MUTANT_EARLY_RELEASE
	give_lock
#endif
}

/* state_made: acquired; or expired, unless somebody was faster */
inline make_run(state_made)
{
#ifndef MUTANT_RUNS_ALONE
	is_free = is_free && (exceptions_there & set_of(first, last)) == 0;
#endif
	if
	:: !is_free -> skip
	:: is_free ->
		assert(!is_in_other_run(first, last));
		run_first[last] = first;
		runs[last].next = state_made;
		runs[last].by = me + sub;
		said[last] = (state_made == PROCESSED -> 0 : set_of(first, last))
	fi;
	give_lock;
	first = 0;
	last = 0;
	is_free = false
}

inline add_exception(event)
{
	if
	:: (set & (1 << event)) == 0 -> skip
	:: (set & (1 << event)) != 0 ->
		/* else the unique index would make us wait while we have the lock */
		assert(!is_there(exceptions[event]));
		exceptions[event].next = ENDED;
		exceptions[event].by = me + sub
	fi
}

/* What all that ends events writes: the run, if nothing is left of it; or else exceptions. */
inline end_events(is_gone)
{
	if
	:: at < EVENTS && (set_of(run_first[at], at) & ~set & ~(is_gone)) == 0 ->
		if
		:: runs[at].state == PROCESSED && runs[at].by == 0 ->
			said[at] = set;
			runs[at].next = ENDED;
			runs[at].by = me + sub
		:: !(runs[at].state == PROCESSED && runs[at].by == 0) -> skip /* EVQ_STORE_CHANGED: never, under the lock */
		fi
	:: at == EVENTS || (set_of(run_first[at], at) & ~set & ~(is_gone)) != 0 ->
		add_exception(0);
		add_exception(1);
		add_exception(2)
	fi
}

/* Gives the lock back first. */
inline begin_waiting(row)
{
	must_wait = true;
	waits_for[me] = of_whom(row);
#ifndef MUTANT_WAIT_WITH_LOCK
	give_lock
#endif
}

/* ---------- a session's verbs that end events ---------- */

/*
 * at: the run of a report. A cancel is of one event, with or without a run: it looks for it, each time.
 *
 * One that ends all of a run writes only where the row is as it was read: may it do without the lock? No.
 */
inline look_at_run()
{
#ifdef MUTANT_UNLOCKED_FINISH
	lock = (!is_cancel && set == set_of(run_first[at], at) -> lock : me);
#else
	take_lock;
#endif
	if
	:: !is_cancel -> skip
	:: is_cancel ->
		at = run_from(event);
		at = (at < EVENTS && run_first[at] <= event -> at : EVENTS)
	fi;
	/* EVQ_PERMIT_LOST, or accepted before: the run has ended, or it is one only when this transaction commits. */
#ifdef MUTANT_LATE
	may_end = at == EVENTS || runs[at].by == 0;
#else
	may_end = at == EVENTS || runs[at].by == 0 && runs[at].state == PROCESSED;
#endif
	if
	:: at < EVENTS && is_others(runs[at]) -> begin_waiting(runs[at])
	:: at == EVENTS || !is_others(runs[at]) -> must_wait = false
	fi
}

inline look_and_end()
{
	if
	:: !may_end -> set = 0
	:: may_end && (exceptions_open & set & 1) != 0 -> begin_waiting(exceptions[0])
	:: may_end && (exceptions_open & set & 3) == 2 -> begin_waiting(exceptions[1])
	:: may_end && (exceptions_open & set) == 4 -> begin_waiting(exceptions[2])
	:: may_end && (exceptions_open & set) == 0 ->
		known = exceptions_known;
#ifdef MUTANT_COUNT_OTHERS
		known = known | exceptions_open;
#endif
#ifdef MUTANT_REMEMBER
		known = exceptions_committed | remembered;
#endif
		/* some of them may have ended before */
		set = set & ~known;
		if
		:: set == 0 -> skip
		:: set != 0 -> end_events(known)
		fi;
#ifdef MUTANT_REMEMBER
		remembered = remembered | set;
#endif
		set = 0
	fi;
	if
	:: set != 0 -> skip
	:: set == 0 ->
		give_lock;
		at = 0;
		event = 0;
		known = 0;
		is_cancel = false;
		may_end = false;
		must_wait = false
	fi
}

#define was_granted(at) (runs[at].state != NONE)

proctype session(byte me)
{
	byte sub, verbs, at, first, last, event, set, known, life_seen;
	bool is_free, is_cancel, may_end, must_wait;
#ifdef MUTANT_REMEMBER
	byte remembered;
#endif

	do
	:: true -> {
		do
		/* acquire: neighbours that were offered, or offered wrongly */
		:: atomic { set == 0 && verbs < VERBS && can_lock ->
			verbs++;
			take_lock;
			if
			:: first = 0; last = 1
			:: first = 1; last = 2
#ifndef SAVEPOINTS
			:: first = 0; last = 2
#endif
			fi;
			look_for_room() }
			atomic { make_run(PROCESSED) }
		/* a report with a token that somebody was given: of all of it, of the first one, of the others */
		:: atomic { set == 0 && verbs < VERBS && can_lock && (was_granted(0) || was_granted(1) || was_granted(2)) ->
			verbs++;
			if
			:: was_granted(0) -> at = 0
			:: was_granted(1) -> at = 1
			:: was_granted(2) -> at = 2
			fi;
			if
			:: set = set_of(run_first[at], at)
			:: run_first[at] < at -> set = set_of(run_first[at], run_first[at])
			:: run_first[at] < at -> set = set_of(run_first[at] + 1, at)
			fi;
			look_at_run() }
#ifndef SAVEPOINTS
		:: atomic { set == 0 && verbs < VERBS && can_lock ->
			verbs++;
			is_cancel = true;
			if
			:: event = 0
			:: event = 1
			:: event = 2
			fi;
			set = 1 << event;
			look_at_run() }
#endif
		:: atomic { set != 0 && !must_wait -> look_and_end() }
		/* the other has ended, in whatever way: look again */
		:: atomic { set != 0 && must_wait && waits_for[me] == 0 && can_lock -> look_at_run() }
		/* they wait for each other, and this one is the victim */
		:: atomic { set != 0 && must_wait && waits_for[me] != 0 && waits_for[waits_for[me]] == me ->
			waits_for[me] = 0;
			roll_back(1);
			verbs = 0; sub = 0; at = 0; event = 0; set = 0; known = 0;
			is_cancel = false; may_end = false; must_wait = false }
#ifdef SAVEPOINTS
		:: atomic { me == 1 && set == 0 && sub == 0 && verbs < VERBS -> sub = SUB }
		/* ROLLBACK TO SAVEPOINT */
		:: atomic { set == 0 && sub != 0 && verbs > 0 ->
			roll_back(SUB);
			sub = 0 }
#endif
		:: atomic { set == 0 && verbs > 0 ->
			commit(true);
			verbs = 0;
			sub = 0 }
#ifdef MUTANT_REMEMBER
			remembered = 0
#endif
		:: atomic { set == 0 && verbs > 0 ->
			roll_back(1);
			verbs = 0;
			sub = 0 }
#ifdef MUTANT_REMEMBER
			remembered = 0
#endif
		od
		} unless { atomic { life != life_seen ->
			life_seen = life;
			verbs = 0; sub = 0; at = 0; first = 0; last = 0; event = 0; set = 0; known = 0;
			is_free = false; is_cancel = false; may_end = false; must_wait = false } }
	od
}

/* Its transactions are committed asynchronously, and it waits for nobody's. */
active proctype dispatcher()
{
	byte me = DISPATCHER;
	byte sub, at, first, last, set, life_seen;
	bool is_free;

	do
	:: true -> {
		skip;
end:	if
		/* lifespans are over: of what nobody has */
		:: atomic { not_taken != 0 && can_lock ->
			take_lock;
			if
			:: (not_taken & 1) != 0 -> first = 0
			:: (not_taken & 2) != 0 -> first = 1
			:: (not_taken & 4) != 0 -> first = 2
			fi;
			last = first;
			do
			:: last + 1 < EVENTS && (not_taken & (1 << (last + 1))) != 0 -> last++
			:: last + 1 == EVENTS || (not_taken & (1 << (last + 1))) == 0 -> break
			od;
			look_for_room() }
			atomic { make_run(ENDED) }
		/* a permit's time is over */
		:: atomic { can_lock && (timed_out(0) || timed_out(1) || timed_out(2)) ->
			take_lock;
			if
			:: timed_out(0) -> at = 0
			:: timed_out(1) -> at = 1
			:: timed_out(2) -> at = 2
			fi;
			set = left_of_run(at) }
			atomic {
				end_events(exceptions_committed);
				give_lock;
				at = 0; set = 0 }
		/* all are final, in its snapshot */
#ifdef MUTANT_COUNT_OPEN
		:: atomic { backlog && ended_or_ending == ALL ->
#else
		:: atomic { backlog && ended == ALL ->
#endif
			assert(ended == ALL);
			backlog = false }
		/* If no transaction is open and it has nothing to do, then nothing was lost, and nothing is left to do. */
		:: atomic { lock == 0 && nothing_open && not_taken == 0 && !timed_out(0) && !timed_out(1) && !timed_out(2) &&
			!(backlog && ended == ALL) ->
			assert(ended == ALL && !backlog) }
		fi;
		atomic { commit(false) }
		} unless { atomic { life != life_seen ->
			life_seen = life;
			at = 0; first = 0; last = 0; set = 0; is_free = false } }
	od
}

#define differs(at) (runs[at].state != durable_run[at] || exceptions[at].state != durable_exception[at])

active proctype fate()
{
	byte at;

end:
	do
	:: atomic { life < CRASHES && (!nothing_open || differs(0) || differs(1) || differs(2) || backlog != durable_backlog) ->
		life++;
		lock = 0;
		at = 0;
		do
		:: at < EVENTS ->
			clear(runs[at]);
			clear(exceptions[at]);
			runs[at].state = durable_run[at];
			run_first[at] = (runs[at].state == NONE -> 0 : run_first[at]);
			said[at] = 0;
			exceptions[at].state = durable_exception[at];
			at++
		:: else -> break
		od;
		at = 0;
		waits_for[1] = 0;
		waits_for[2] = 0;
		backlog = durable_backlog }
	od
}

init
{
	atomic {
#ifndef CRASH
		run session(2);
#endif
		run session(1)
	}
}
