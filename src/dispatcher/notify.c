/*
 * notify.c
 *		The notifications of one turn, sent together at its end.
 *
 * Nothing depends on them: what nobody acquires is offered again. So a turn
 * neither fails nor waits for long where they cannot be sent.
 */
#include "postgres.h"

#include "catalog/pg_database.h"
#include "commands/async.h"
#include "fmgr.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"

#include "base/clock.h"
#include "dispatcher/notify.h"

/* Above this share of the notification queue nothing is notified: offers time out and are repeated. */
#define MAX_QUEUE_USAGE 0.9

/* How often to try for the lock of NOTIFY, a millisecond apart. */
#define LOCK_TRIES 50

typedef struct Notification
{
	char *channel;
	char *text;
} Notification;

static void
warn_not_notified(const char *problem, const char *hint)
{
	static int64 warned_at;

	if (!evq_clock_once_a_minute(&warned_at))
		return;
	ereport(WARNING,
			(errmsg("evq: workers are not notified: %s", problem),
			 errdetail("They can poll with evq_acquire_next(); what nobody acquires is offered again."),
			 errhint("%s", hint)));
}

/* Is there room for notifications? A listener that does not read can fill the queue. Warns once a minute where there is none. */
bool
evq_notify_has_room(void)
{
	if (DatumGetFloat8(OidFunctionCall0(F_PG_NOTIFICATION_QUEUE_USAGE)) < MAX_QUEUE_USAGE)
		return true;
	warn_not_notified("the notification queue is almost full",
					  "End the session that listens without reading.");
	return false;
}

/* Adds one to the list, with copies of the strings, in the current context. */
List *
evq_notify_add(List *notifications, const char *channel, const char *text)
{
	Notification *notification = palloc(sizeof(Notification));

	notification->channel = pstrdup(channel);
	notification->text = pstrdup(text);
	return lappend(notifications, notification);
}

/*
 * Any session that waits for a synchronous standby in the commit of a NOTIFY
 * keeps this lock meanwhile: see PostgreSQL's async.c. It is had until the end of
 * the transaction.
 */
static bool
try_lock_notify(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, InvalidOid, 0);
	for (int i = 0; i < LOCK_TRIES; i++)
	{
		if (LockAcquire(&tag, AccessExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
			return true;
		pg_usleep(1000);
	}
	return false;
}

/* Sends them with the commit of this transaction; where "waits" is false, not if the lock of NOTIFY cannot be had soon. */
void
evq_notify_send(const List *notifications, bool waits)
{
	ListCell *cell;

	if (notifications == NIL)
		return;
	if (!waits && !try_lock_notify())
	{
		warn_not_notified("another session holds the lock of NOTIFY",
						  "It may wait for a synchronous standby; see pg_locks and pg_stat_activity.");
		return;
	}
	foreach(cell, notifications)
	{
		const Notification *notification = lfirst(cell);

		Async_Notify(notification->channel, notification->text);
	}
}
