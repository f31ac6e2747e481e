/*
 * ordered.pml
 *		An ordered flow has one live attempt per flow_id at a time: dispatch_ready() in src/dispatcher/engine_dispatch.c against
 *		evq_lifecycle_acquire().
 *
 * Events of one flow_id, the lower number being the older one; they become visible in any order. The dispatcher
 * offers one, two workers take what is offered, and attempts end, by success or by failure, at any moment. Workers act
 * on what they read a while ago, but write only where the row is still as it was. The dispatcher may forget all it knows.
 *
 * Push flows and pull flows do the same here. MUTANT_OFFER is what flows without order do: events on offer stay
 * awaiting_processing until they are acquired; it is not enough that workers look at the order again. Each MUTANT_...
 * breaks one rule; a check of each must find the error.
 */

#define EVENTS 3
#define ATTEMPTS 2
#ifndef RESTARTS
#define RESTARTS 1
#endif

#define ABSENT 0
#define AWAITING 1
#define DISPATCHED 2
#define PROCESSED 3
#define FINISHED 4

byte row[EVENTS];
byte attempts[EVENTS];

/* the dispatcher's memory: events that it offered; and the offer itself, in "ready" */
bool tracked[EVENTS];
bool offered[EVENTS];
byte taken[EVENTS]; /* workers that took the offer and are about to acquire */
byte restarts;

#define is_live(event) (row[event] == DISPATCHED || row[event] == PROCESSED)
#define in_processing ((row[0] == PROCESSED) + (row[1] == PROCESSED) + (row[2] == PROCESSED))

/* fetch_front(), and is an event of the flow_id known to be on its way? */
#define is_oldest(event) ((event == 0 || row[0] == ABSENT || row[0] == FINISHED) && (event < 2 || row[1] == ABSENT || row[1] == FINISHED))
#ifdef MUTANT_NOT_BUSY
#define is_busy false
#else
#define is_busy (tracked[0] || tracked[1] || tracked[2])
#endif
/* no other one of the flow_id is on its way */
#define nobody_else(event) ((event == 0 || !is_live(0)) && (event == 1 || !is_live(1)) && (event == 2 || !is_live(2)))

/* evq_lifecycle_may_acquire() */
#ifdef MUTANT_OFFER
#define may_acquire (seen == DISPATCHED || (seen == AWAITING && is_oldest(event) && nobody_else(event)))
#else
#define may_acquire (seen == DISPATCHED)
#endif

proctype publisher(byte event)
{
	row[event] = AWAITING
}

proctype worker()
{
	byte event;
	byte seen;
	byte seen_attempts;

	do
	:: atomic {
		if
		:: offered[0] -> event = 0
		:: offered[1] -> event = 1
		:: offered[2] -> event = 2
		fi;
		offered[event] = false;
		taken[event]++;
		seen = row[event];
		seen_attempts = attempts[event] }
		if
		:: may_acquire ->
			if
			:: atomic { row[event] == seen && attempts[event] == seen_attempts ->
				row[event] = PROCESSED;
				attempts[event]++;
				assert(in_processing <= 1) }
			:: atomic { !(row[event] == seen && attempts[event] == seen_attempts) -> skip } /* EVQ_STORE_CHANGED */
			fi
		:: else
		fi;
		atomic { taken[event]--; event = 0; seen = 0; seen_attempts = 0 }
	:: atomic { row[0] == FINISHED && row[1] == FINISHED && row[2] == FINISHED -> break }
	od
}

/* Attempts end: the report is one conditional write of the row. */
inline end_attempt(event)
{
	atomic { row[event] == PROCESSED ->
		if
		:: attempts[event] < ATTEMPTS -> row[event] = AWAITING
		:: row[event] = FINISHED
		fi }
}

active proctype reports()
{
end:
	do
	:: end_attempt(0)
	:: end_attempt(1)
	:: end_attempt(2)
	od
}

/* dispatch_ready() for one event: an offer, or a change of its state. */
inline dispatch(event)
{
	atomic { row[event] == AWAITING && is_oldest(event) && !is_busy ->
#ifndef MUTANT_OFFER
		row[event] = DISPATCHED;
#endif
		tracked[event] = true;
		offered[event] = true }
}

/* What the dispatcher is told: the attempt is over. A timer does not disturb a row that somebody is changing. */
inline forget(event)
{
	atomic { tracked[event] && !offered[event] && taken[event] == 0 && (row[event] == FINISHED || row[event] == AWAITING) -> tracked[event] = false }
}

active proctype dispatcher()
{
end:
	do
	:: dispatch(0)
	:: dispatch(1)
	:: dispatch(2)
	:: forget(0)
	:: forget(1)
	:: forget(2)
	/* a new engine: a complete sweep shows what the tables know, and offers what they call dispatched */
	:: atomic { restarts < RESTARTS ->
		restarts++;
		tracked[0] = is_live(0);
		tracked[1] = is_live(1);
		tracked[2] = is_live(2);
		offered[0] = row[0] == DISPATCHED;
		offered[1] = row[1] == DISPATCHED;
		offered[2] = row[2] == DISPATCHED }
	od
}

init
{
	atomic {
		run publisher(0);
		run publisher(1);
		run publisher(2);
		run worker();
		run worker()
	}
	timeout -> assert(row[0] == FINISHED && row[1] == FINISHED && row[2] == FINISHED)
}
