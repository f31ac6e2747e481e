/*
 * debug.c
 *		Points at which a test can hold a session.
 *
 * What happens between two steps of a session is otherwise out of a test's
 * reach. There are such points only where nothing is done often.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/inval.h"

#include "base/debug.h"
#include "base/guc.h"

/* As pg_advisory_lock(1) takes it. */
#define KEY 1
#define SINGLE_KEY_CLASS 1

/*
 * Where evq.debug_wait_at names this point, waits until nobody has the lock of
 * pg_advisory_lock(1), and processes the invalidations of other sessions. Needs a
 * transaction.
 */
void
evq_debug_point(const char *name)
{
	LOCKTAG tag;

	if (strcmp(evq_debug_wait_at, name) != 0)
		return;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, KEY, SINGLE_KEY_CLASS);
	(void) LockAcquire(&tag, ShareLock, false, false);
	(void) LockRelease(&tag, ShareLock, false);
	AcceptInvalidationMessages();
}
