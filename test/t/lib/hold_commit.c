/*
 * hold_commit.c
 *		Loaded into a session: holds each of its commits, after the others see it and before evq tells of it,
 *		as long as the file that hold_commit.file names exists.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xact.h"
#include "fmgr.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

extern void _PG_init(void);

static char *file;

/* What is registered last is called first. */
static void
hold(XactEvent event, void *arg)
{
	while (event == XACT_EVENT_COMMIT && file != NULL && access(file, F_OK) == 0)
		pg_usleep(10 * 1000);
}

void
_PG_init(void)
{
	DefineCustomStringVariable("hold_commit.file", "Commits wait while this file exists.", NULL, &file, "",
							   PGC_USERSET, 0, NULL, NULL, NULL);
	RegisterXactCallback(hold, NULL);
}
