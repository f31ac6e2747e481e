/*
 * suspend.pml
 *		An answer finds the round that asked for it, early or late: evq_suspend() and evq_activate() in src/session/lifecycle.c.
 *
 * Workers acquire an event, ask somebody outside, and suspend it, in this order or in the other; they may vanish, or
 * report that the asking failed, at any step. Each question carries the permit of its round. Its answer comes at any
 * time, once or twice, or never. Permits and suspensions run out at any moment.
 *
 * The mutations MUTANT_... each break one rule; a check of each must find the error.
 */

#define WORKERS 2
#define ROUNDS 2

#define AWAITING 0
#define BEING_PROCESSED 1
#define SUSPENDED 2
#define SUCCEEDED 3
#define FAILED 4

/* the event's row */
byte state;
byte permit;			/* of the last round; each acquisition begins one */
byte answered_permit;	/* of the round that was activated last; 0 = none */
byte answer;			/* the round whose question this answers; 0 = none */

bool asked[ROUNDS + 1];
bool accepted[ROUNDS + 1];	/* the trigger was told that its answer counts */
byte successes;

/* evq_events_update(): writes only if the row is still as it was read. */
#define unchanged (state == read_state && permit == read_permit && answered_permit == read_answered)
#define read_row \
	read_state = state; \
	read_permit = permit; \
	read_answered = answered_permit

/* No answer that counts leaves its round asleep; none wakes another round. */
#define check_row \
	assert(state != SUSPENDED || !accepted[permit]); \
	assert(answered_permit == 0 || answer == answered_permit)

/* evq_lifecycle_suspend() */
inline suspend()
{
	do
	:: atomic { read_row }
		if
		:: atomic { read_permit != mine || read_state != BEING_PROCESSED -> held = false; break }
		:: atomic { read_permit == mine && read_state == BEING_PROCESSED ->
			if
#ifndef MUTANT_BLIND_WRITE
			:: !unchanged -> skip /* EVQ_STORE_CHANGED: begins again */
			:: unchanged ->
#else
			:: true ->
#endif
				if
#ifdef MUTANT_CONSUME_ANY
				:: read_answered != 0 ->
#else
				:: read_answered == mine ->
#endif
					/* the activation came first: offered again, with its answer */
					assert(answer == mine);
					state = AWAITING
				:: else ->
					state = SUSPENDED;
					answered_permit = 0;
					answer = 0
				fi;
				check_row;
				break
			fi }
		fi
	od
}

/* evq_lifecycle_succeed(), _fail(): also of the event that was suspended with this permit */
inline report(to)
{
	do
	:: atomic { read_row }
		if
		:: atomic { read_permit != mine || read_state != BEING_PROCESSED && read_state != SUSPENDED -> break }
		:: atomic { read_permit == mine && (read_state == BEING_PROCESSED || read_state == SUSPENDED) ->
			if
			:: !unchanged -> skip
			:: unchanged ->
				/* nobody else works on it, and it was not given back */
				assert(permit == mine && (state == BEING_PROCESSED || state == SUSPENDED));
				state = to;
				if
				:: to == SUCCEEDED -> successes++; assert(successes == 1)
				:: else
				fi;
				break
			fi }
		fi
	od
}

proctype worker()
{
	byte mine, read_state, read_permit, read_answered, known;
	bool held;

	do
	:: atomic {
		state == AWAITING && permit < ROUNDS ->
		permit++;
		state = BEING_PROCESSED;
		mine = permit;
		known = answer;
		held = true }
		if
		/* it has what it asked for */
		:: atomic { known != 0 -> assert(asked[known]) }
			report(SUCCEEDED)
		/* it asks, and then suspends */
		:: atomic { known == 0 -> asked[mine] = true }
			if
			:: suspend()
			:: skip /* it vanishes */
			fi
		/* it has the answer of an earlier question, and has another one */
		:: atomic { known != 0 -> asked[mine] = true }
			suspend()
		/* it suspends, and then asks */
		:: atomic { known == 0 -> skip }
			suspend();
			if
			:: atomic { held -> asked[mine] = true }
			:: held -> report(AWAITING) /* the asking failed */
			:: held -> report(FAILED)
			:: skip /* it vanishes, or its permit was lost */
			fi
		fi;
		atomic { mine = 0; read_state = 0; read_permit = 0; read_answered = 0; known = 0; held = false }
	:: atomic { state >= SUCCEEDED -> break }
	:: atomic { state == AWAITING && permit == ROUNDS -> break }
	od
}

/* Answers one question, twice perhaps. */
proctype trigger(byte token)
{
	byte read_state, read_permit, read_answered;
	byte times;

end:
	atomic { asked[token] -> times = 0 }
	do
	/* evq_lifecycle_must_activate() */
	:: times < 2 ->
		do
		:: atomic { read_row }
			if
			/* told before: the same answer again */
			:: atomic { read_answered == token -> break }
#ifdef MUTANT_NO_TOKEN
			:: atomic { read_answered != token && read_state != SUSPENDED && read_state != BEING_PROCESSED -> break }
			:: atomic { read_answered != token && (read_state == SUSPENDED || read_state == BEING_PROCESSED) ->
#elif defined(MUTANT_REFUSE_EARLY)
			:: atomic { read_answered != token && (read_permit != token || read_state != SUSPENDED) ->
				/* refused, though the round goes on */
				assert(read_permit != token || read_state != BEING_PROCESSED || !unchanged);
				break }
			:: atomic { read_answered != token && read_permit == token && read_state == SUSPENDED ->
#else
			:: atomic { read_answered != token && (read_permit != token || read_state != SUSPENDED && read_state != BEING_PROCESSED) ->
				/* too late: its round was over when the row was read, and does not come back */
				assert(permit != token || state != SUSPENDED && state != BEING_PROCESSED);
				break }
			:: atomic { read_answered != token && read_permit == token && (read_state == SUSPENDED || read_state == BEING_PROCESSED) ->
#endif
				if
				:: !unchanged -> skip
				:: unchanged ->
					/* only the round that asked is woken */
					assert(state != SUSPENDED || permit == token);
					answered_permit = permit;
					answer = token;
					accepted[token] = true;
					if
					:: state == SUSPENDED -> state = AWAITING
					:: else
					fi;
					check_row;
					break
				fi }
			fi
		od;
		times++
	:: break
	od
}

/* evq_lifecycle_settle() */
active proctype dispatcher()
{
end:
	do
	:: atomic { state == BEING_PROCESSED ->
		if
		:: state = AWAITING
		:: state = FAILED
		fi }
	:: atomic { state == SUSPENDED ->
		if
		:: state = AWAITING /* on_suspend_timeout is retry */
		:: state = FAILED /* or expire */
		fi }
	od
}

init
{
	atomic {
		run worker();
		run worker();
		run trigger(1);
		run trigger(2)
	}
}
