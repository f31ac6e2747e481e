/*
 * epoch.c
 *		The epoch: what makes the permits of this server, in this database, differ from all others.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/timestamp.h"

#include "tables/epoch.h"
#include "tables/tables.h"

static int32 epoch; /* 0 = unknown */
static Oid epoch_event_table;
static bool begun_by_this_transaction;

/* The tables may be other ones now. */
static void
forget_epoch_of_tables(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == epoch_event_table)
		epoch = 0;
}

/* The row of this epoch may have been rolled back, or may yet be, where it was prepared: by anybody, who tells us nothing. */
static void
forget_epoch(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || (event == XACT_EVENT_PREPARE && begun_by_this_transaction))
		epoch = 0;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		begun_by_this_transaction = false;
}

static void
forget_epoch_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		epoch = 0;
}

/*
 * Has the epoch forgotten when it may have been rolled back, or the tables are
 * others. Called by _PG_init().
 */
void
evq_epoch_init(void)
{
	RegisterXactCallback(forget_epoch, NULL);
	RegisterSubXactCallback(forget_epoch_of_subtransaction, NULL);
	CacheRegisterRelcacheCallback(forget_epoch_of_tables, (Datum) 0);
}

typedef struct EpochRow
{
	int32 epoch;
	bool is_ours;
} EpochRow;

static void
read_epoch(TupleTableSlot *slot, void *row)
{
	EpochRow *found = row;
	const Datum *values = slot->tts_values;

	found->epoch = DatumGetInt32(values[EPOCH_EPOCH]);
	found->is_ours = DatumGetInt64(values[EPOCH_SYSTEM_IDENTIFIER]) == (int64) GetSystemIdentifier() &&
					 DatumGetObjectId(values[EPOCH_DATABASE_OID]) == MyDatabaseId &&
					 DatumGetObjectId(values[EPOCH_EVENT_TABLE_OID]) ==
						 evq_tables_relid(EVQ_TABLE_EVENT, false) &&
					 DatumGetInt32(values[EPOCH_TIMELINE]) == (int32) GetWALInsertionTimeLine();
}

/* Writes the row of an epoch of this server. */
static void
begin_epoch(int32 number)
{
	Oid types[EPOCH_COLUMNS] = {INT4OID, INT8OID, OIDOID, OIDOID, INT4OID, TIMESTAMPTZOID};
	Datum values[EPOCH_COLUMNS] = {Int32GetDatum(number),
								   Int64GetDatum((int64) GetSystemIdentifier()),
								   ObjectIdGetDatum(MyDatabaseId),
								   ObjectIdGetDatum(epoch_event_table),
								   Int32GetDatum((int32) GetWALInsertionTimeLine()),
								   TimestampTzGetDatum(GetCurrentTimestamp())};
	EvqIdentity previous;

	evq_tables_become_owner(&previous);
	if (SPI_execute_with_args("INSERT INTO evq.epoch VALUES ($1, $2, $3, $4, $5, $6)", EPOCH_COLUMNS, types,
							  values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not begin an epoch");
	evq_tables_become_oneself(&previous);
}

/*
 * The epoch of the permits that this server grants in this database. It is the
 * newest one in the table, if that was begun on this system and timeline, in this
 * database and for these tables. Otherwise this transaction begins a new one: it
 * writes the row, commits synchronously, and "begun" is set. Two sessions may begin
 * the same epoch at once: they write equal rows.
 */
int32
evq_epoch(bool *begun)
{
	EpochRow *rows;
	EpochRow newest = {0, false};
	int count;

	*begun = false;
	if (epoch != 0)
		return epoch;

	count = evq_tables_read_all(EVQ_TABLE_EPOCH, read_epoch, sizeof(EpochRow), (void **) &rows);
	for (int i = 0; i < count; i++)
	{
		if (rows[i].epoch > newest.epoch)
			newest = rows[i];
	}
	pfree(rows);

	epoch_event_table = evq_tables_relid(EVQ_TABLE_EVENT, false);
	if (newest.is_ours)
		epoch = newest.epoch;
	else
	{
		begun_by_this_transaction = true;
		begin_epoch(newest.epoch + 1);
		/* As the permits that come with it. */
		ForceSyncCommit();
		epoch = newest.epoch + 1;
		*begun = true;
	}
	return epoch;
}
