/*
 * evq.c
 *		The library: every module of it that has to be set up is set up from here.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/guc.h"
#include "dispatcher/engine.h"
#include "dispatcher/launcher.h"
#include "session/config.h"
#include "session/hooks.h"
#include "session/order.h"
#include "session/pending.h"
#include "shared/shmem.h"
#include "tables/epoch.h"
#include "tables/home.h"
#include "tables/partitions.h"
#include "tables/tables.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	evq_guc_init();
	evq_shmem_init();
	evq_partitions_init();
	evq_tables_init();
	evq_epoch_init();
	evq_home_init();
	evq_config_init();
	evq_pending_init();
	evq_order_init();
	evq_engine_init();
	evq_hooks_init();
	evq_launcher_init();
}
