/*
 * permits.pml
 *		A permit is granted once and is worth something until its time is over: src/session/lifecycle.c.
 *
 * Two workers acquire one event again and again and report on it, late or not at all; the answer to a report may be
 * lost, and then it is made again. Permits run out at any moment. The server may crash and lose what was committed
 * asynchronously; with FAILOVER, a standby that has not heard of everything may take over.
 *
 * The mutations MUTANT_... each break one rule; a check of each must find the error.
 */

#define WORKERS 2
#define ATTEMPTS 3
#define CRASHES 1

#define AWAITING 0
#define BEING_PROCESSED 1
#define SUCCEEDED 2
#define FAILED 3

/* the event's row; a permit is an epoch and a version */
typedef Row {
	byte state;
	byte version;
	byte permit_epoch;
	byte epoch;		/* evq.epoch: in the same database, so it goes the same ways */
	byte successes	/* how many successes the tables hold: rows of the worker's own, say */
};

Row now_;		/* what transactions see */
Row durable;	/* what a crash leaves */
Row standby;	/* what a promotion leaves */

/* how often each permit was granted, at [epoch * (ATTEMPTS + 1) + version] */
byte granted[2 * (ATTEMPTS + 1)];
byte crashes;
bool promoted;
byte attempts;
/* counts crashes and promotions: sessions of before are gone */
byte life;

inline copy(from, to)
{
	to.state = from.state;
	to.version = from.version;
	to.permit_epoch = from.permit_epoch;
	to.epoch = from.epoch;
	to.successes = from.successes
}

/* a commit that waits until it is on disk, and all before it */
#define sync_commit copy(now_, durable)

/* evq_events_update(): writes only if the row is still as it was read, and says so. */
#define unchanged (now_.state == read_state && now_.version == read_version && now_.permit_epoch == read_epoch)

/* fetch_held(): is the permit that of the row, as read, and of the present epoch? */
#define is_mine (read_version == version && read_epoch == epoch)
#ifdef MUTANT_NO_EPOCH
#define is_held (is_mine && read_state == BEING_PROCESSED)
#else
#define is_held (is_mine && read_state == BEING_PROCESSED && read_epoch == now_.epoch)
#endif

proctype worker()
{
	byte epoch, version;			/* the permit it was told */
	byte read_state, read_version, read_epoch, read_life;
	bool accepted;

	do
	/* evq_lifecycle_acquire(): the row as read is the row as written, or it begins again */
	:: atomic {
		now_.state == AWAITING && attempts < ATTEMPTS ->
		attempts++;
		now_.state = BEING_PROCESSED;
		now_.version++;
		now_.permit_epoch = now_.epoch;
#ifdef MUTANT_ASYNC_ACQUIRE
		if
		:: copy(now_, durable)
		:: skip
		fi;
#else
		sync_commit;
#endif
		epoch = now_.permit_epoch;
		version = now_.version;
		granted[epoch * (ATTEMPTS + 1) + version]++;
		assert(granted[epoch * (ATTEMPTS + 1) + version] == 1);
		accepted = false;
		read_life = life }

		/* evq_lifecycle_succeed(): reads and judges, then writes; perhaps more than once */
		do
		:: atomic {
			read_state = now_.state;
			read_version = now_.version;
			read_epoch = now_.permit_epoch;
			read_life = life }
			if
			/* its session is gone: it asks again */
			:: atomic { read_life != life -> skip }
			/* EVQ_ACCEPTED_BEFORE: the same answer as the first time */
			:: atomic { read_life == life && is_mine && read_state == SUCCEEDED ->
				assert(now_.successes == 1);
				break }
			/* EVQ_PERMIT_LOST: never said of a success that was acknowledged, but by a standby that has not heard of it */
			:: atomic { read_life == life && !is_mine || read_life == life && is_mine && read_state != SUCCEEDED && !is_held ->
				assert(!accepted || now_.epoch != epoch);
				break }
			:: atomic { read_life == life && is_held ->
				if
#ifndef MUTANT_BLIND_WRITE
				:: !unchanged -> skip /* EVQ_STORE_CHANGED: begins again */
				:: unchanged ->
#else
				:: true ->
#endif
					/* nobody else was granted the event meanwhile, and nobody has ended it */
					assert(now_.state == BEING_PROCESSED && now_.version == version && now_.permit_epoch == epoch);
					now_.state = SUCCEEDED;
					now_.successes++;
					assert(now_.successes == 1);
					sync_commit;
					accepted = true
				fi }
				/* the answer came, or it is asked for again */
				if
				:: break
				:: skip
				fi
			fi
		:: break /* it never reports */
		od;
		atomic { epoch = 0; version = 0; read_state = 0; read_version = 0; read_epoch = 0; read_life = 0; accepted = false }
	:: atomic { now_.state != AWAITING && now_.state != BEING_PROCESSED -> break }
	:: atomic { attempts == ATTEMPTS && now_.state == AWAITING -> break }
	od
}

/* evq_lifecycle_settle(): the permit's time is over. The dispatcher commits asynchronously: the WAL may be flushed or not. */
active proctype dispatcher()
{
end:
	do
	:: atomic {
		now_.state == BEING_PROCESSED ->
		if
		:: now_.version < ATTEMPTS -> now_.state = AWAITING
		:: now_.version >= ATTEMPTS -> now_.state = FAILED
		fi;
		if
		:: copy(now_, durable)
		:: skip
		fi }
	od
}

active proctype fate()
{
end:
	do
	:: atomic {
		crashes < CRASHES && (now_.state != durable.state || now_.version != durable.version) ->
		crashes++;
		life++;
		copy(durable, now_) }
#ifdef FAILOVER
	:: atomic { !promoted && (standby.state != durable.state || standby.version != durable.version) ->
		copy(durable, standby) }
	:: atomic { !promoted ->
		promoted = true;
		life++;
		copy(standby, now_);
#ifndef MUTANT_NO_EPOCH
		now_.epoch = 1;
#endif
		copy(now_, durable) }
#endif
	od
}

init
{
	atomic {
		run worker();
		run worker()
	}
}
